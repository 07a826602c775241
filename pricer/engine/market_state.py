"""What the engine holds of a market between two pricings: one `Family` a price index, one `Expiry` a slice."""

from __future__ import annotations

import math

from pricer.adapters.events import DeliveryPrice, UnderlyingPrice
from pricer.adapters.instruments import Instrument, SliceKey
from pricer.clock import Instant
from pricer.conventions import Reason, Status
from pricer.engine.chain import ChainSlice
from pricer.engine.divergence import DivergenceWatch
from pricer.engine.fitting import SurfaceKeeper
from pricer.engine.jump_guard import JumpGuard, JumpLimits
from pricer.engine.parity import ParityMonitor, ParityTracker
from pricer.engine.settings import EngineSettings
from pricer.engine.underlying import ForwardTracker, IndexTracker, PerpetualTracker, PriceGuard
from pricer.engine.venue_health import FINE, VenueWatch, Verdict
from pricer.engine.witnesses import PARITY_ERRORS, Witnesses
from pricer.snapshot import SliceBlock, UnderlyingValue

FAR_FUTURE = 2**63 - 1
PERPETUAL = "perpetual"


class Family:
    """What the options of one (venue, price index) share."""

    MOST_FUTURES = 64

    def __init__(self, watch: VenueWatch, price_index: str, settings: EngineSettings) -> None:
        self.watch = watch
        self.price_index = price_index
        self._settings = settings
        self._jumps = JumpLimits(settings.jump_floor, settings.jump_sigmas, settings.jump_confirm_ns)
        self.keeper = SurfaceKeeper(settings.last_good_ns, settings.surface_half_life)
        self.witnesses = Witnesses()
        self.index = IndexTracker(self.guard())
        self.perpetual = PerpetualTracker()
        self.futures: dict[int, ForwardTracker] = {}
        self.volatility_index = IndexTracker()
        self.settlement: DeliveryPrice | None = None

    def guard(self, own: str = "") -> PriceGuard:
        """A guard for one more price of this market; `own` names the witness that is this price."""
        jumps = JumpGuard(self._jumps, self.witnesses, self._volatility, own)
        return PriceGuard(jumps, self.witnesses, self._settings.freeze_move, self._settings.forward_max_age_ns)

    def store_perpetual(self, price: UnderlyingPrice) -> None:
        """The perpetual: published, and a witness for the others."""
        self.perpetual.store(price)
        self.witnesses.saw_price(PERPETUAL, price)

    def store_future(self, price: UnderlyingPrice, expiry_ns: int) -> bool:
        """A listed future is the forward of its expiry; False where there would be too many of them."""
        name = future_name(expiry_ns)
        tracker = self.futures.get(expiry_ns)
        if tracker is None:
            if len(self.futures) >= self.MOST_FUTURES:
                return False
            tracker = self.futures[expiry_ns] = ForwardTracker(self.guard(name), "future")
        self.witnesses.saw_price(name, price)
        spot = self.index.received
        fresh = spot is not None and price.received.mono_ns - spot.mono_ns <= self._settings.forward_max_age_ns
        tracker.update(price.price, self.index.value if fresh else math.nan, price.exchange_ns, price.received)
        return True

    def drop_expired(self, now: Instant) -> None:
        """Futures end with their expiry, whether or not options were listed on it."""
        for expiry_ns in [each for each in self.futures if each <= now.wall_ns]:
            del self.futures[expiry_ns]
            self.witnesses.forget(future_name(expiry_ns))

    def suspect(self) -> None:
        """No connection carries the underlying any more."""
        for price in (self.index, self.perpetual, self.volatility_index):
            price.suspect()
        for future in self.futures.values():
            future.suspect()

    def _volatility(self) -> float:
        return self.keeper.volatility


class Expiry:
    """One slice at work: its columns, its forward, and the block that was last published."""

    def __init__(self, key: SliceKey, family: Family, first: Instrument) -> None:
        self.key = key
        self.family = family
        self.instruments: dict[str, Instrument] = {}
        self.relisted = False
        self.expired = False  # for ever, also where the wall clock steps back
        self.chain = ChainSlice(key, [first])
        self.forward = ForwardTracker(family.guard())
        self.parity = ParityTracker()
        self.monitor = ParityMonitor()
        self.divergence = DivergenceWatch()
        self.block: SliceBlock | None = None
        self.rating: tuple[Status, Reason] | None = None
        self.quotes_verdict: Verdict = FINE  # of the last block
        self.fresh_until = FAR_FUTURE

    def published_forward(self, now: Instant, max_age_ns: int, max_ratio_age_ns: int) -> UnderlyingValue:
        """The forward that came with quotes, unless the listed future is in a better state."""
        own = self.forward.published(self.family.index, now, max_age_ns, max_ratio_age_ns)
        return own if own.status < Status.STALE else self._or_future(own, now, max_age_ns, max_ratio_age_ns)

    def _or_future(self, own: UnderlyingValue, now: Instant, max_age_ns: int, max_ratio_age_ns: int) -> UnderlyingValue:
        """The listed future, where it lives.

        Where the venue's forward stands still against the market, so may all that the venue derives.
        """
        future = self.family.futures.get(self.key.expiry_ns)
        if future is None or self.forward.frozen_by is not None:
            return own
        other = future.published(self.family.index, now, max_age_ns, max_ratio_age_ns)
        return other if other.status < Status.STALE else own

    def heard_parity(self, now: Instant) -> None:
        """What the quotes say of the forward is a witness, too."""
        parity = self.monitor.check.parity
        if parity is not None:
            self.family.witnesses.saw(
                parity_name(self.key.expiry_ns), parity.value, PARITY_ERRORS * parity.error, now.mono_ns
            )

    def settle_jump(self) -> None:
        """The forward is believed again; what the quotes said of it meanwhile is of no more use."""
        self.chain.settle_jump(self.forward.value)
        self.monitor = ParityMonitor()
        self.forward.check = self.monitor.check

    def suspect_underlying(self) -> None:
        """No connection carries the underlying any more."""
        self.forward.suspect()
        self.parity.suspect()


def future_name(expiry_ns: int) -> str:
    """The witness that is the listed future of an expiry."""
    return f"future {expiry_ns}"


def parity_name(expiry_ns: int) -> str:
    """The witness that is put-call parity of an expiry."""
    return f"parity {expiry_ns}"
