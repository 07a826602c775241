"""Books and trades beside the chain: written by the engine's thread, read from any other."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from pricer.adapters.events import (
    AnyEvent,
    BookDepth,
    BookLost,
    FeedStatus,
    InstrumentChanged,
    InstrumentExpired,
    InstrumentListed,
    Trade,
    UnderlyingPrice,
)
from pricer.books import BookKeeper, BookView
from pricer.clock import Instant
from pricer.listed_names import ListedNames
from pricer.microstructure import MicroState, Microstructure
from pricer.recent_trades import MOST_TRADES, RecentTrades, Tape

# Quotes are nearly all of what comes, and none of them is for us: by the very type, before anything is locked.
_CONCERNING = {
    BookDepth,
    BookLost,
    FeedStatus,
    InstrumentChanged,
    InstrumentExpired,
    InstrumentListed,
    Trade,
    UnderlyingPrice,
}


class OrderFlow:
    """The newest books with their statuses, the recent past of books and trades, and the last trades, of one venue."""

    def __init__(self, venue: str, most_trades: int = MOST_TRADES) -> None:
        self._venue = venue
        self._books = BookKeeper()
        self._past = Microstructure()
        self._names = ListedNames()
        self._trades = RecentTrades(self._names, most_trades)
        self._lock = threading.Lock()

    def apply(self, events: Iterable[AnyEvent]) -> None:
        """Take in what concerns books and trades."""
        ours = [event for event in events if type(event) in _CONCERNING]
        if not ours:
            return
        with self._lock:
            for event in ours:
                self._books.apply(event)
                self._past.apply(event)
                self._trades.apply(event)  # before the names: an option's last trade comes with its end
                self._names.apply(event)

    def book(self, instrument: str, now: Instant) -> BookView:
        """The book of an instrument as it may be used now."""
        with self._lock:
            return self._books.view(self._venue, instrument, now)

    def state(self, instrument: str, now: Instant, *, vega: float, points: float) -> MicroState:
        """Pressure, depth and flow of an instrument; see `pricer.microstructure`."""
        with self._lock:
            return self._past.of(self._venue, instrument, now, vega=vega, points=points)

    def trades(self, *, underlying: str = "", instrument: str = "") -> Tape:
        """The last trades of one instrument, or of all options of an underlying."""
        with self._lock:
            return self._trades.of_instrument(instrument) if instrument else self._trades.of_underlying(underlying)

    def underlying_of(self, instrument: str) -> str | None:
        """The underlying of a living instrument, futures and perpetuals included; None for an unknown name."""
        with self._lock:
            return self._names.underlying_of(instrument)
