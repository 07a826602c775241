"""A small market for engine tests: listings and quotes as events, priced by Black-76 at a known smile on given time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from pricer.adapters.events import AnyEvent, FeedStatus, InstrumentListed, OptionQuote, UnderlyingPrice
from pricer.adapters.instruments import Instrument
from pricer.clock import Instant, ManualClock
from pricer.conventions import NS_PER_DAY, ttm_years
from pricer.pricing import price

SECOND = 1_000_000_000
START = Instant(1_790_000_000 * SECOND, 5_000 * SECOND)
STRIKES = tuple(range(70_000, 135_000, 5_000))


def smirk(k: float, ttm: float) -> float:
    """A tame smile: 60 % at the money, mild skew and curvature."""
    z = k / math.sqrt(max(ttm, 1e-9))
    return 0.6 - 0.03 * z + 0.02 * z * z


@dataclass
class Scene:
    """Expiries count from `start`; `clock` is the scene's time; `forward` and `spot` may be changed between quotes."""

    expiry_days: Sequence[float] = (7.0, 30.0, 90.0)
    strikes: Sequence[float] = STRIKES
    forward: float = 100_000.0
    spot: float = 100_000.0
    smile: Callable[[float, float], float] = smirk
    half_spread_iv: float = 0.005
    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    start: Instant = START

    def instruments(self) -> Iterator[Instrument]:
        for days in self.expiry_days:
            for strike in self.strikes:
                for cp in (1, -1):
                    name = f"BTC-{days:g}D-{strike:g}-{'C' if cp > 0 else 'P'}"
                    yield option(name, days, strike, cp, self.start)

    def listings(self) -> list[AnyEvent]:
        now = self.clock.now()
        return [InstrumentListed(venue="deribit", received=now, definition=each) for each in self.instruments()]

    def quote(self, instrument: Instrument, **changes: object) -> OptionQuote:
        """A two-sided quote around the scene's smile, unrounded; `changes` overrides its fields."""
        now = self.clock.now()
        assert instrument.expiry_ns is not None
        ttm = ttm_years(instrument.expiry_ns, now.wall_ns)
        sigma = self.smile(math.log(instrument.strike / self.forward), ttm)
        bid, ask = (
            float(price(self.forward, instrument.strike, ttm, sigma + side * self.half_spread_iv, instrument.cp))
            / self.forward
            for side in (-1.0, 1.0)
        )
        fields: dict[str, object] = {
            "venue": "deribit",
            "received": now,
            "exchange_ns": now.wall_ns,
            "instrument": instrument.name,
            "bid": bid,
            "ask": ask,
            "bid_size": 1.0,
            "ask_size": 2.0,
            "forward": self.forward,
            "index": self.spot,
        }
        return OptionQuote(**{**fields, **changes})  # type: ignore[arg-type]

    def quotes(self) -> list[AnyEvent]:
        return [self.quote(instrument) for instrument in self.instruments()]

    def index(self, value: float | None = None) -> UnderlyingPrice:
        now = self.clock.now()
        return UnderlyingPrice(
            venue="deribit",
            received=now,
            exchange_ns=now.wall_ns,
            kind="index",
            price_index="btc_usd",
            price=self.spot if value is None else value,
        )

    def perpetual(self, middle: float | None = None) -> UnderlyingPrice:
        """The perpetual with a market one quote unit wide around `middle`, by default the spot."""
        middle = self.spot if middle is None else middle
        return msgspec.structs.replace(self.index(middle), kind="perpetual", bid=middle - 0.5, ask=middle + 0.5)

    def future(self, days: float, price: float) -> UnderlyingPrice:
        """The listed future that expires `days` after the start."""
        expiry_ns = self.start.wall_ns + int(days * NS_PER_DAY)
        sides = {"bid": price - 0.5, "ask": price + 0.5}
        return msgspec.structs.replace(self.index(price), kind="future", expiry_ns=expiry_ns, **sides)

    def feed(
        self, state: str, reason: str = "", connection: str = "deribit-0", lost: tuple[str, ...] | None = None
    ) -> FeedStatus:
        return FeedStatus(
            venue="deribit",
            received=self.clock.now(),
            connection=connection,
            state=state,  # type: ignore[arg-type]
            reason=reason,
            lost=lost,
        )


def option(name: str, days: float, strike: float, cp: int, start: Instant = START) -> Instrument:
    """A coin-settled BTC option that expires `days` after `start`."""
    return Instrument(
        venue="deribit",
        name=name,
        kind="option",
        underlying="BTC",
        price_index="btc_usd",
        expiry_ns=start.wall_ns + int(days * NS_PER_DAY),
        strike=strike,
        cp=cp,
        settlement="inverse",
        quote_currency="BTC",
        counter_currency="USD",
        settlement_currency="BTC",
        contract_size=1.0,
        min_amount=0.1,
        tick_size=0.0001,
    )
