"""The embedded market's whole chain as engine events, on given time: no venue, no frames, no sockets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from pricer.adapters.events import AnyEvent, InstrumentListed, OptionQuote, UnderlyingPrice
from pricer.adapters.instruments import Instrument
from pricer.clock import Instant, ManualClock
from pricer.simulator.listing import FAMILIES
from pricer.simulator.market import Market

SECOND = 1_000_000_000
# 2026-11-21 14:30 UTC
START = Instant(1_795_271_400 * SECOND, 5_000 * SECOND)


class EmbeddedChain:
    """BTC, coin-settled: about a thousand options. `clock` is the market's time."""

    def __init__(self, seed: int = 7, start: Instant = START) -> None:
        self.clock = ManualClock(start)
        self.market = Market(seed, start.wall_ns, families=[each for each in FAMILIES if each.name == "BTC"])
        self.chain = self.market.chains["BTC"]

    def instruments(self) -> Iterator[Instrument]:
        for name, row in zip(self.chain.names, self.chain.rows, strict=True):
            yield Instrument(
                venue="deribit",
                name=name,
                kind="option",
                underlying="BTC",
                price_index="btc_usd",
                expiry_ns=int(row["expiry_ns"]),
                strike=float(row["strike"]),
                cp=int(row["cp"]),
                settlement="inverse",
                quote_currency="BTC",
                counter_currency="USD",
                settlement_currency="BTC",
                contract_size=1.0,
                min_amount=0.1,
                tick_size=0.0001,
            )

    def listings(self) -> list[AnyEvent]:
        now = self.clock.now()
        return [InstrumentListed(venue="deribit", received=now, definition=each) for each in self.instruments()]

    def quotes(self, rows: Iterable[int] | None = None) -> list[OptionQuote]:
        """What these options (all by default) show now; a price of 0 is none."""
        now = self.clock.now()
        out = []
        for at in range(len(self.chain.names)) if rows is None else rows:
            row = self.chain.rows[at]
            out.append(
                OptionQuote(
                    venue="deribit",
                    received=now,
                    exchange_ns=now.wall_ns,
                    instrument=self.chain.names[at],
                    bid=float(row["bid"]) or math.nan,
                    ask=float(row["ask"]) or math.nan,
                    bid_size=1.0,
                    ask_size=1.0,
                    forward=float(row["forward"]),
                    index=float(row["index"]),
                )
            )
        return out

    def index(self) -> UnderlyingPrice:
        now = self.clock.now()
        return UnderlyingPrice(
            venue="deribit",
            received=now,
            exchange_ns=now.wall_ns,
            kind="index",
            price_index="btc_usd",
            price=self.chain.index,
        )

    def step(self, ns: int = SECOND // 10) -> list[AnyEvent]:
        """The market a little later: the index, and the quotes that changed."""
        self.clock.advance(ns)
        changes = self.market.step(self.clock.now().wall_ns)
        return [self.index(), *self.quotes(changes.quoted["BTC"])]
