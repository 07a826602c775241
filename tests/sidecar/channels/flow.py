"""Books and trades made by hand, and a source that has them beside snapshots."""

from __future__ import annotations

import numpy as np

from pricer.adapters.events import AnyEvent, BookDepth, BookLost, InstrumentListed, Trade
from pricer.books import BookView
from pricer.clock import Clock
from pricer.microstructure import MicroState
from pricer.orderflow import OrderFlow
from pricer.recent_trades import Tape
from tests.scene import option
from tests.sidecar.snapshots import Market, Source


class FlowSource(Source):
    """An in-memory source with an order flow, as `pricer.live` has one."""

    def __init__(self, market: Market) -> None:
        super().__init__()
        self.clock: Clock = market.clock
        self.flow = OrderFlow("deribit")
        self.wanted: list[str] = []
        self._trades = 0
        now = self.clock.now()
        names = [name for definition in market.definitions for name in definition.names]
        self.tell(*(InstrumentListed(venue="deribit", received=now, definition=option(n, 9.0, 1e5, 1)) for n in names))

    def tell(self, *events: AnyEvent) -> None:
        self.flow.apply(events)

    def trade(self, name: str, price: float = 0.05, size: float = 1.0, **changes: object) -> Trade:
        """One more trade, told."""
        self._trades += 1
        now = self.clock.now()
        fields = {"instrument": name, "trade_id": str(self._trades), "price": price, "size": size, "side": "buy"}
        fields |= {"venue": "deribit", "received": now, "exchange_ns": now.wall_ns - 2_000_000, "iv": 0.6}
        trade = Trade(**{**fields, **changes})  # type: ignore[arg-type]
        self.tell(trade)
        return trade

    def levels(self, name: str, rng: np.random.Generator) -> None:
        """A new book with up to 25 levels a side."""
        now, count = self.clock.now(), int(rng.integers(0, 26))
        bids = tuple((0.05 - 0.0005 * i, float(rng.integers(1, 90)) / 10) for i in range(count))
        asks = tuple((0.0505 + 0.0005 * i, float(rng.integers(1, 90)) / 10) for i in range(max(1, count // 2)))
        self.tell(
            BookDepth(venue="deribit", received=now, exchange_ns=now.wall_ns, instrument=name, bids=bids, asks=asks)
        )

    def lose(self, name: str) -> None:
        self.tell(BookLost(venue="deribit", received=self.clock.now(), instrument=name, reason="gap"))

    # What channels ask for

    def book(self, instrument: str) -> BookView:
        return self.flow.book(instrument, self.clock.now())

    def microstructure(self, instrument: str) -> MicroState:
        return self.flow.state(instrument, self.clock.now(), vega=0.1, points=1.0)

    def recent_trades(self, *, underlying: str = "", instrument: str = "") -> Tape:
        return self.flow.trades(underlying=underlying, instrument=instrument)

    def underlying_of(self, instrument: str) -> str | None:
        return self.flow.underlying_of(instrument)

    def want_book(self, instrument: str) -> bool:
        self.wanted.append(instrument)
        return True

    def release_book(self, instrument: str) -> None:
        self.wanted.remove(instrument)
