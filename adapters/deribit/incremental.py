"""Deribit's tickers as changes, `incremental_ticker.{instrument}` (sheet 5.2), merged field by field.

A "snapshot" has all fields, a "change" those that changed: one that is missing stays, an explicit null is no value. A
change without its snapshot, or one that cannot be read, leaves the instrument unknown until the next snapshot.
"""

from __future__ import annotations

import msgspec

from pricer.adapters.deribit.tickers import Ticker, update_ticker
from pricer.adapters.wire import Note, decode_object


class IncrementalTickers:
    """The last merged ticker of each instrument on one connection; no more than `most` of them."""

    def __init__(self, most: int, note: Note) -> None:
        self._most = most
        self._note = note
        self._tickers: dict[str, Ticker] = {}

    def merge(self, name: str, data: msgspec.Raw) -> Ticker | None:
        """The whole ticker after this message; None where it is not known."""
        item = decode_object(data)
        last = self._tickers.pop(name, None)
        if item is None:
            self._note("bad_ticker")
            return None
        kind = item.get("type")
        if kind == "snapshot":
            last = Ticker()
        elif kind != "change":
            self._note("bad_field.type")
            return None
        if last is None:
            self._note("change_without_snapshot")
            return None
        update_ticker(last, item, self._note)
        if len(self._tickers) >= self._most:
            self._note("too_many_instruments")
            return None
        self._tickers[name] = last
        return last

    def forget(self, name: str) -> None:
        """The instrument has ended."""
        self._tickers.pop(name, None)

    def clear(self) -> None:
        """A new connection begins with snapshots."""
        self._tickers.clear()
