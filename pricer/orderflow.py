"""Books and trades beside the chain: written by the engine's thread, read from any other."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from pricer.adapters.events import AnyEvent
from pricer.books import BookKeeper, BookView
from pricer.clock import Instant
from pricer.microstructure import MicroState, Microstructure


class OrderFlow:
    """The newest books with their statuses, and the recent past of books and trades, of one venue."""

    def __init__(self, venue: str) -> None:
        self._venue = venue
        self._books = BookKeeper()
        self._past = Microstructure()
        self._lock = threading.Lock()

    def apply(self, events: Iterable[AnyEvent]) -> None:
        """Take in what concerns books and trades."""
        with self._lock:
            for event in events:
                self._books.apply(event)
                self._past.apply(event)

    def book(self, instrument: str, now: Instant) -> BookView:
        """The book of an instrument as it may be used now."""
        with self._lock:
            return self._books.view(self._venue, instrument, now)

    def state(self, instrument: str, now: Instant, *, vega: float, points: float) -> MicroState:
        """Pressure, depth and flow of an instrument; see `pricer.microstructure`."""
        with self._lock:
            return self._past.of(self._venue, instrument, now, vega=vega, points=points)
