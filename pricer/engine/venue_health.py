"""What concerns all numbers of one venue: its connections, its state, its clock, and how late it is.

`VenueWatch` listens; `judge` says what that does to quotes and to model numbers, which the engine lays over the
statuses that they earn by themselves:

- maintenance, or a lock, of the venue or of one index: STALE, VENUE_MAINTENANCE, until it is open again;
- no connection is up: STALE, VENUE_DOWN, until one is, or until a price comes, which proves one;
- prices come more than `LATE_NS` late: DEGRADED, OVERLOADED; later than a forward lives: STALE;
- our wall clock is off: model numbers, which count the time to expiry by it, are DEGRADED, CLOCK_SUSPECT. Quotes are
  dated by the venue's own stamps.
"""

from __future__ import annotations

from typing import NamedTuple

from pricer.adapters.events import FeedStatus, VenueClock, VenueState
from pricer.clock import NS_PER_SECOND, Instant
from pricer.conventions import NO_REASON, Reason, Status
from pricer.engine.clock_check import SUSPECT_NS, ClockCheck
from pricer.snapshot import FeedHealth, VenueHealth

LATE_NS = NS_PER_SECOND
MOST_CONNECTIONS = 64
MOST_INDICES = 256


class Verdict(NamedTuple):
    """A status and why."""

    status: Status
    reasons: Reason

    def with_worse(self, status: Status, reasons: Reason) -> Verdict:
        """The worse status, and both reasons."""
        return Verdict(max(self.status, status), self.reasons | reasons)


FINE = Verdict(Status.OK, NO_REASON)


class VenueWatch:
    """One venue as its adapters tell of it."""

    def __init__(self, venue: str) -> None:
        self.venue = venue
        self.feeds: dict[str, FeedHealth] = {}
        self.clock = ClockCheck()
        self._closed: dict[str, VenueState] = {}  # what is not open: the venue itself under the empty name
        self._is_down = False
        self.health = VenueHealth(venue)
        self.has_news = True  # something was told since `examine`

    def connection(self, event: FeedStatus) -> bool:
        """A connection's news; True where something is lost: one that was replaced loses nothing."""
        if event.reason == "rotated" and event.state == "closed":
            return False  # its successor has the same name, and has said that it lives
        self.has_news = True
        self.feeds[event.connection] = FeedHealth(
            event.venue, event.connection, event.state, event.reason, event.received
        )
        self._bound()
        # An attempt is no news; and who ends the feed knows it.
        if event.state != "connecting" and event.reason != "shutdown":
            self._is_down = not self.is_connected
        return event.state == "closed"

    def state(self, event: VenueState) -> None:
        """The venue, or one index of it, closes or opens. An opening of all of it opens every index."""
        self.has_news = True
        if event.state != "open":
            if event.price_index in self._closed or len(self._closed) < MOST_INDICES:
                self._closed[event.price_index] = event
        elif event.price_index:
            self._closed.pop(event.price_index, None)
        else:
            self._closed.clear()

    def asked(self, event: VenueClock) -> None:
        """Both clocks were compared."""
        self.has_news = True
        self.clock.heard(event)

    def priced(self, exchange_ns: int | None, received: Instant) -> None:
        """A price of the underlying came: some connection lives, and the stamp says how late it is."""
        self._is_down = False
        self.has_news = True
        self.clock.stamped(exchange_ns, received)

    def quoted(self) -> None:
        """A quote came, which proves a connection."""
        if self._is_down:
            self._is_down, self.has_news = False, True

    @property
    def is_connected(self) -> bool:
        """Is any connection up, or has none been heard of?"""
        return not self.feeds or any(feed.state in ("open", "live") for feed in self.feeds.values())

    def examine(self, now: Instant) -> list[Reason]:
        """Make `health` what it is now: now and then, and where there is news. Gives what has just come up."""
        self.has_news = False
        whole = self._closed.get("")
        reasons = Reason.VENUE_DOWN if self._is_down else NO_REASON
        if self._closed:
            reasons |= Reason.VENUE_MAINTENANCE
        if self.clock.lag_ns is not None and self.clock.lag_ns > LATE_NS:
            reasons |= Reason.OVERLOADED
        if abs(self.clock.wall_error_ns(now)) > SUSPECT_NS:
            reasons |= Reason.CLOCK_SUSPECT
        new = NO_REASON if reasons == self.health.reasons else reasons & ~self.health.reasons
        self.health = VenueHealth(
            venue=self.venue,
            state="open" if whole is None else whole.state,
            closed_indices=tuple(sorted(name for name in self._closed if name)),
            connections=sum(feed.state in ("open", "live") for feed in self.feeds.values()),
            skew_ns=self.clock.skew_ns(now),
            round_trip_ns=self.clock.round_trip_ns,
            lag_ns=self.clock.lag_ns,
            reasons=reasons,
        )
        return [Reason[name] for name in new.names] if new else []

    def judge(self, price_index: str, stale_ns: int) -> tuple[Verdict, Verdict]:
        """What `health` does to quotes, and to model numbers. Prices later than `stale_ns` make them STALE."""
        reasons = self.health.reasons
        if not reasons:
            return FINE, FINE
        quotes = FINE
        if "" in self._closed or price_index in self._closed:
            quotes = quotes.with_worse(Status.STALE, Reason.VENUE_MAINTENANCE)
        if reasons & Reason.VENUE_DOWN:
            quotes = quotes.with_worse(Status.STALE, Reason.VENUE_DOWN)
        if reasons & Reason.OVERLOADED:
            late = self.health.lag_ns is not None and self.health.lag_ns > stale_ns
            quotes = quotes.with_worse(Status.STALE if late else Status.DEGRADED, Reason.OVERLOADED)
        if reasons & Reason.CLOCK_SUSPECT:
            return quotes, quotes.with_worse(Status.DEGRADED, Reason.CLOCK_SUSPECT)
        return quotes, quotes

    def _bound(self) -> None:
        """A planner that makes ever new connections must not fill the memory: closed ones are forgotten first."""
        while len(self.feeds) > MOST_CONNECTIONS:
            closed = (name for name, feed in self.feeds.items() if feed.state == "closed")
            del self.feeds[next(closed, next(iter(self.feeds)))]


def in_words(reason: Reason, health: VenueHealth) -> str:
    """Why a venue's numbers are not fine, for a log line."""
    if reason is Reason.VENUE_MAINTENANCE:
        return f"{', '.join(health.closed_indices) or 'the venue'} is closed ({health.state})"
    if reason is Reason.OVERLOADED and health.lag_ns is not None:
        return f"prices come {health.lag_ns / NS_PER_SECOND:.1f} s late"
    if reason is Reason.CLOCK_SUSPECT and health.skew_ns is not None:
        return f"our wall clock is {health.skew_ns / NS_PER_SECOND:+.1f} s off the venue's"
    return "no connection is up" if reason is Reason.VENUE_DOWN else "not known why"
