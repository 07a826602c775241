"""The channel `depth`: the order book of one instrument, 20 levels a side, while somebody looks at it."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

import numpy as np

from pricer.books import BookView
from pricer.clock import Instant
from pricer.conventions import NO_TIME, Reason, Status
from pricer.errors import ConfigError
from pricer.microstructure import MicroState
from pricer.sidecar.channels.channel import Channel, Market
from pricer.sidecar.channels.table import Table, chosen
from pricer.sidecar.messages import Column, Head
from pricer.sidecar.moment import Newest, names_of, stages
from pricer.sidecar.protocol import StreamKey
from pricer.sidecar.rounding import round_significant, rounded

LEVELS = 20
VALUES = ("bid_price", "bid_amount", "ask_price", "ask_amount")


@runtime_checkable
class BooksSource(Protocol):
    """A source that keeps order books, as `pricer.live` does; a replay or a test need not."""

    def book(self, instrument: str) -> BookView:
        """`ConfigError` where none are streamed."""

    def microstructure(self, instrument: str) -> MicroState:
        """`ConfigError` as for `book`."""


@runtime_checkable
class BooksOnDemand(Protocol):
    """A source that streams a book for as long as it is wanted."""

    def want_book(self, instrument: str) -> bool: ...
    def release_book(self, instrument: str) -> None: ...


class DepthChannel(Channel):
    """One row a level, the best first, prices and amounts in the venue's units."""

    name = "depth"
    columns = VALUES
    filters = frozenset({"instrument"})
    required = frozenset({"underlying", "instrument"})

    def opened(self, market: Market, key: StreamKey) -> None:
        """Ask for the book where it is not streamed anyway."""
        if isinstance(market.source, BooksOnDemand):
            market.source.want_book(key.instrument)

    def closed(self, market: Market, key: StreamKey) -> None:
        """Nobody looks at it any more."""
        if isinstance(market.source, BooksOnDemand):
            market.source.release_book(key.instrument)

    def take(self, market: Market, key: StreamKey, previous: Table | None = None) -> Table:
        """The book at this moment; one that is not right any more is shown as the history that it is."""
        now = market.snapshot.clock.now()
        found = _read(market, key.instrument)
        if isinstance(found, str):
            view, micro, detail = (
                BookView(key.venue, key.instrument, None, Status.INVALID, Reason.NO_QUOTE),
                None,
                found,
            )
        else:
            (view, micro), detail = found, ""
            if market.snapshot.is_silent(now):
                view, micro = view.stale(Reason.QUOTE_STALE), None
        pressure = _micro(micro, market.digits)
        head = {
            **stages(market.snapshot, now, _newest(view)),
            "book": _state(view, now, detail),
            "micro": pressure,
        }
        columns = chosen(_levels(view, market.digits), VALUES, key.columns)
        return Table(now, columns, head=head, news=(view.status, view.reasons, pressure))


def _read(market: Market, name: str) -> tuple[BookView, MicroState] | str:
    """The book and what it says, or why there is none."""
    source = market.source
    if not isinstance(source, BooksSource):
        return "this source keeps no books"
    try:
        return market.shared(("book", name), lambda: (source.book(name), source.microstructure(name)))
    except ConfigError:
        return "books are not streamed: see feed.books_on_demand"


def _levels(view: BookView, digits: int) -> dict[str, Column]:
    table = np.full((len(VALUES), LEVELS), math.nan)
    if view.book is not None and view.status != Status.INVALID:
        for first, side in ((0, view.book.bids[:LEVELS]), (2, view.book.asks[:LEVELS])):
            if side:
                table[first : first + 2, : len(side)] = np.array(side).T
    return dict(zip(VALUES, round_significant(table, digits), strict=True))


def _state(view: BookView, now: Instant, detail: str) -> Head:
    book = view.book
    return {
        "status": view.status.name,
        "reasons": names_of(int(view.reasons)),
        "exchange_ns": None if book is None else book.exchange_ns,
        "received_ns": None if book is None else book.received.wall_ns,
        "age_ns": view.age_ns(now),
        "detail": detail,
    }


def _micro(state: MicroState | None, digits: int) -> Head:
    """Of one level a side; vega within a point of volatility. Null where it cannot be said."""
    if state is None:
        return dict.fromkeys(("imbalance", "microprice", "spread", "bid_depth_vega", "ask_depth_vega"))
    return {
        "imbalance": rounded(state.imbalance, digits),
        "microprice": rounded(state.microprice, digits),
        "spread": rounded(state.spread, digits),
        "bid_depth_vega": rounded(state.vega_depth.bid, digits),
        "ask_depth_vega": rounded(state.vega_depth.ask, digits),
    }


def _newest(view: BookView) -> Newest:
    if view.book is None:
        return Newest()
    return Newest(NO_TIME if view.book.exchange_ns is None else view.book.exchange_ns, view.book.received.wall_ns)
