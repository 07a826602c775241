"""What the underlying is worth: spot index, perpetual, and one forward an expiry, each with its source and age.

The forward's rule: the newest forward the venue gave among the expiry's quotes; between those, the last basis ratio
F/index times the newer index. A value is confirmed by every message that repeats it: its age counts from the last one.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pricer.adapters.events import UnderlyingPrice
from pricer.clock import Instant
from pricer.conventions import NO_REASON, NO_TIME, Reason, Status
from pricer.snapshot import UnderlyingValue


def instant_of(exchange_ns: int | None, received: Instant) -> int:
    """When it was so: the venue's own stamp, else when we knew. A stamp of 0 is none."""
    return exchange_ns or received.wall_ns


class IndexTracker:
    """The newest price of one index, by the venue's own time."""

    def __init__(self) -> None:
        self.value = math.nan
        self.exchange_ns: int | None = None
        self.received: Instant | None = None
        self.at = 0
        self._suspect = False

    def update(self, value: float, exchange_ns: int | None, received: Instant) -> bool:
        """Take a price and say so; zero, negative and absent ones, and those older than the present one, are no news.

        A new connection starts anew: one wrong stamp, far ahead, must not shut the price out for ever.
        """
        at = instant_of(exchange_ns, received)
        if not 0.0 < value < math.inf or (at < self.at and not self._suspect):
            return False
        self.value, self.exchange_ns, self.received, self.at = value, exchange_ns, received, at
        self._suspect = False
        return True

    def suspect(self) -> None:
        """The connection that carried it is gone: stale until the next message."""
        self._suspect = True

    def published(self, now: Instant, max_age_ns: int) -> UnderlyingValue:
        """The price with the status that its age earns."""
        if self.received is None:
            return UnderlyingValue()
        valid_until = self.received.mono_ns + max_age_ns
        if self._suspect:
            status, reasons = Status.STALE, Reason.UNDERLYING_STALE | Reason.RESYNCING
            # Before now, not at it: a limit that is still to pass would be a deadline, again at every pricing.
            valid_until = min(valid_until, now.mono_ns - 1)
        elif now.mono_ns > valid_until:
            status, reasons = Status.STALE, Reason.UNDERLYING_STALE
        else:
            status, reasons = Status.OK, NO_REASON
        return UnderlyingValue(self.value, "venue", self.exchange_ns, self.received, valid_until, status, reasons)


class PerpetualTracker(IndexTracker):
    """A perpetual's mid with its bid, ask and funding."""

    def __init__(self) -> None:
        super().__init__()
        self.bid = self.ask = self.funding = math.nan

    def store(self, price: UnderlyingPrice) -> None:
        if self.update(price.price, price.exchange_ns, price.received):
            self.bid, self.ask, self.funding = price.bid, price.ask, price.funding

    def published(self, now: Instant, max_age_ns: int) -> UnderlyingValue:
        value = super().published(now, max_age_ns)
        return replace(value, bid=self.bid, ask=self.ask, funding=self.funding)


class ForwardTracker:
    """The forward of one expiry."""

    def __init__(self) -> None:
        self._venue = IndexTracker()
        self._ratio = math.nan
        self._ratio_received: Instant | None = None

    def update(self, forward: float, index: float, exchange_ns: int | None, received: Instant) -> None:
        """Take the forward (and the index of the same instant) that came with a quote."""
        if self._venue.update(forward, exchange_ns, received) and 0.0 < index < math.inf:
            self._ratio = forward / index
            self._ratio_received = received

    def suspect(self) -> None:
        self._venue.suspect()

    def published(self, index: IndexTracker, now: Instant, max_age_ns: int, max_ratio_age_ns: int) -> UnderlyingValue:
        """The forward now; `basis` where the index is newer than the venue's last forward and the ratio still lives."""
        ratio_until = NO_TIME if self._ratio_received is None else self._ratio_received.mono_ns + max_ratio_age_ns
        if now.mono_ns > ratio_until or index.at <= self._venue.at:
            return self._venue.published(now, max_age_ns)
        spot = index.published(now, max_age_ns)
        until = min(spot.valid_until_ns, ratio_until)
        return UnderlyingValue(
            self._ratio * spot.value, "basis", spot.exchange_ns, spot.received, until, spot.status, spot.reasons
        )
