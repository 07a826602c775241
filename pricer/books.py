"""The latest order book of each instrument, with a status: what a bot reads before it trusts a level."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from pricer.adapters.events import (
    AnyEvent,
    BookDepth,
    BookLost,
    FeedStatus,
    InstrumentChanged,
    InstrumentExpired,
    LossReason,
)
from pricer.clock import Instant
from pricer.conventions import NO_REASON, Reason, Status

MOST_BOOKS = 20_000

_WHY_LOST: dict[LossReason, Reason] = {
    "gap": Reason.BOOK_GAP | Reason.RESYNCING,
    "checksum": Reason.CHECKSUM_FAIL | Reason.RESYNCING,
    "crossed": Reason.CROSSED | Reason.RESYNCING,
    "disagreement": Reason.RESYNCING,
    "session": Reason.RESYNCING,
    "rejected": Reason.NOT_TRADING,
    "unsubscribed": Reason.QUOTE_STALE,
}


@dataclass(frozen=True, slots=True)
class BookView:
    """One book as it may be used. Prices and sizes are in the venue's units.

    `book` is the last good one: under `STALE` it is history, with its own instants; None where there is nothing to
    show.
    """

    venue: str
    instrument: str
    book: BookDepth | None
    status: Status
    reasons: Reason

    def age_ns(self, now: Instant) -> int | None:
        """Nanoseconds since the book was received, by the monotonic clock; None without a book."""
        return None if self.book is None else now.mono_ns - self.book.received.mono_ns

    def stale(self, reason: Reason) -> BookView:
        """The same book, no better than `STALE` and for this reason."""
        return replace(self, status=max(self.status, Status.STALE), reasons=self.reasons | reason)


class _Kept:
    __slots__ = ("book", "crossed", "lost", "trading")

    def __init__(self) -> None:
        self.book: BookDepth | None = None  # the last one that was neither crossed nor locked
        self.crossed = NO_REASON
        self.lost: LossReason | None = None
        self.trading = True


class BookKeeper:
    """Keeps books from events: feed it all of them, it takes what concerns books.

    A book is an event channel: it may be silent for an hour and be right, as long as its session lives. So age alone
    makes nothing stale unless `stale_after_ns` says so.

    >>> from pricer.clock import EPOCH
    >>> keeper = BookKeeper()
    >>> keeper.apply(BookDepth(venue="v", received=EPOCH, instrument="X", bids=((9.0, 1.0),), asks=((11.0, 2.0),)))
    >>> keeper.view("v", "X", EPOCH).status.name
    'OK'
    """

    def __init__(self, *, stale_after_ns: int | None = None, most: int = MOST_BOOKS) -> None:
        self._stale_after_ns = stale_after_ns
        self._most = most
        self._kept: dict[tuple[str, str], _Kept] = {}
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    def apply(self, event: AnyEvent) -> None:
        """Take in one event; those that say nothing of books are passed over."""
        if isinstance(event, BookDepth):
            self._on_depth(event)
        elif isinstance(event, BookLost):
            self._on_lost(event)
        elif isinstance(event, InstrumentExpired):
            self._kept.pop((event.venue, event.instrument), None)
        elif isinstance(event, InstrumentChanged):
            kept = self._kept.get((event.venue, event.definition.name))
            if kept is not None:
                kept.trading = event.definition.state == "open"
        elif isinstance(event, FeedStatus) and event.state == "closed" and event.reason != "rotated":
            self._on_closed(event)

    def view(self, venue: str, instrument: str, now: Instant) -> BookView:
        """The book of an instrument with its status at `now`; `INVALID` with `NO_QUOTE` where none was ever seen."""
        kept = self._kept.get((venue, instrument))
        book = None if kept is None else kept.book
        status, reasons = (Status.INVALID, Reason.NO_QUOTE) if kept is None else self._rating(kept, now)
        return BookView(venue, instrument, book, status, reasons)

    # Inside

    def _entry(self, venue: str, instrument: str) -> _Kept | None:
        kept = self._kept.get((venue, instrument))
        if kept is None:
            if len(self._kept) >= self._most:
                self.counters["too_many_books"] += 1
                return None
            kept = self._kept[(venue, instrument)] = _Kept()
        return kept

    def _on_depth(self, event: BookDepth) -> None:
        kept = self._entry(event.venue, event.instrument)
        if kept is None:
            return
        kept.lost = None
        if event.state == "open":
            kept.book, kept.crossed = event, NO_REASON
        else:
            kept.crossed = Reason.CROSSED if event.state == "crossed" else Reason.LOCKED

    def _on_lost(self, event: BookLost) -> None:
        kept = self._entry(event.venue, event.instrument)
        if kept is not None:
            kept.lost, kept.crossed = event.reason, NO_REASON

    def _on_closed(self, event: FeedStatus) -> None:
        names = event.lost
        keys = list(self._kept) if names is None else [(event.venue, name) for name in names]
        for key in keys:
            kept = self._kept.get(key)
            if kept is not None and key[0] == event.venue and kept.lost is None:
                kept.lost, kept.crossed = "session", NO_REASON

    def _rating(self, kept: _Kept, now: Instant) -> tuple[Status, Reason]:
        book = kept.book
        nothing = Status.INVALID if book is None else Status.STALE
        if kept.lost is not None:
            return (Status.INVALID if kept.lost == "rejected" else nothing), _WHY_LOST[kept.lost]
        if kept.crossed:
            return nothing, kept.crossed
        if not kept.trading:
            return Status.INVALID, Reason.NOT_TRADING
        if book is None or not (book.bids or book.asks):
            return Status.INVALID, Reason.NO_QUOTE
        sided = NO_REASON if book.bids and book.asks else Reason.ONE_SIDED
        if self._stale_after_ns is not None and now.mono_ns - book.received.mono_ns > self._stale_after_ns:
            return Status.STALE, sided | Reason.QUOTE_STALE
        return (Status.DEGRADED if sided else Status.OK), sided
