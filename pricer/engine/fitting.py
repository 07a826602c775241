"""When a slice is fitted again, and what is published while it cannot be: the last good surface, with its age.

One `SurfaceKeeper` an index family. The rules:

- changed or newly stale quotes refit their slice; a forward tick does not: the smile stays fixed in log-moneyness.
- a refused fit keeps the last certified smile: DEGRADED for `last_good_ns`, then STALE, with `FIT_LAST_GOOD`.
- a slice that lost most of its quotes (a reconnect, a halt) is not refitted on the few that are left before its last
  good smile has turned STALE: five quotes make a curve, not a market.
- a slice is not `OK` before it has quotes on both sides of the money: `FIT_UNDERDETERMINED` until then.

The time of a certificate. All slices are fitted and certified at one instant, the surface's *epoch*, and published at
later ones with the same sigma(k), so w(k) shrinks by a factor x <= 1. That brings no arbitrage:

- butterfly: at each k Durrleman's g is, in x, A + x·(D − B) − x²·C with A = (1 − k·w′/2w)², B = w′²/4w, C = w′²/16,
  D = w″/2, all at the epoch. It is concave in x, A >= 0 at x = 0, and g >= 0 at x = 1: so g >= 0 between.
- calendar: of two expiries the gap in w at equal k is linear in the time that has passed; it is positive at the epoch,
  and at the first expiry, where the shorter smile has no variance left: so it is positive between.

Forwards do not enter: w is a function of k. So every tick publishes certified smiles without a new proof, until a fit
makes one. The epoch moves on every `EPOCH_NS`, when all slices are certified anew. It also moves where the wall clock
has stepped back: then w grows, which can bring arbitrage, and a slice that has it is fitted again to the same quotes,
or is `FIT_FAILED`.

With a half-life `surface` follows `raw` smoothed in time (`pricer.surfaces.smoothing`), with or without new quotes, and
each fit starts from `raw`. Both are certified at the epoch.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pricer.clock import Instant
from pricer.conventions import Reason, Status, ttm_years
from pricer.engine.chain import ASK_IV, BID_IV, ChainSlice
from pricer.snapshot import FIELD_INDEX
from pricer.surfaces.black import normal_density
from pricer.surfaces.quotes import HIGH, LOW, K, SliceQuotes
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.smoothing import SurfaceSmoother
from pricer.surfaces.surface import VolSurface

IV_ERROR = FIELD_INDEX["iv_error"]

# A refit on less than this share of the quotes that made the last good smile waits for more of them.
MIN_QUOTE_SHARE = 0.5
# Two-sided strikes on each side of the money that make a slice's own smile, or all that are listed there.
COVERED = 3
# How far published smiles may be from the instant of their certificate.
EPOCH_NS = 10_000_000_000


@dataclass(frozen=True, slots=True)
class SliceChange:
    """A slice whose quotes changed, with its forward now."""

    chain: ChainSlice
    forward: float


@dataclass(slots=True)
class FitState:
    """What is known of one slice's smile; `slice` is the published one."""

    slice: SurfaceSlice | None = None
    fitted: Instant | None = None
    usable: int = 0
    covered: bool = False  # the latest quotes stand on both sides of the money
    current: bool = False  # the last attempt was accepted
    held: bool = False  # not attempted: too few of the quotes that made the last good smile are left


class SurfaceKeeper:
    """The surface of one index family, kept up to date slice by slice: `raw` as fitted, `surface` as published.

    All slices that changed are fitted in one step: their neighbours' calendar order ties them together, so a move of
    the whole surface must not be tried one expiry at a time.
    """

    def __init__(self, last_good_ns: int, half_life: float = 0.0) -> None:
        self.raw: VolSurface | None = None
        self.surface: VolSurface | None = None
        self._expiries: list[int] = []
        self._states: dict[int, FitState] = {}
        self._last_good_ns = last_good_ns
        self._epoch: Instant | None = None
        self._version = -1  # of the last surface, also of one that is gone
        self._smoother = SurfaceSmoother(half_life)
        self._smoothed_ns: int | None = None  # the monotonic instant of the smoother's last step

    def state(self, expiry_ns: int) -> FitState:
        found = self._states.get(expiry_ns)
        if found is None:
            found = self._states[expiry_ns] = FitState()
        return found

    def refit(self, changes: Sequence[SliceChange], now: Instant) -> None:
        """Fit these slices to their usable quotes, all of them in one step; keep the last good smile where refused."""
        if self.raw is None or self._epoch is None:
            self._epoch = now
        wanted: dict[int, SliceQuotes] = {}
        for change in changes:
            expiry_ns = change.chain.key.expiry_ns
            quotes = usable_quotes(change, ttm_years(expiry_ns, self._epoch.wall_ns), now)
            state = self.state(expiry_ns)
            count = int(np.count_nonzero(np.isfinite(quotes.bid_iv) | np.isfinite(quotes.ask_iv)))
            state.held = count < MIN_QUOTE_SHARE * state.usable and self._last_good_lives(state, now)
            if state.held:
                state.current = False
            else:
                wanted[expiry_ns] = quotes
                state.usable = count
        if wanted:
            self._fit(wanted)
            self._note(wanted, now)

    def renew(self, now: Instant) -> None:
        """Bring the epoch to `now` where it is due: certify every slice at its time to maturity of this moment."""
        epoch = self._epoch
        if self.raw is None or epoch is None or 0 <= now.wall_ns - epoch.wall_ns < EPOCH_NS:
            return
        self._epoch = now
        self.raw = self.raw.recertified([ttm_years(expiry_ns, now.wall_ns) for expiry_ns in self._expiries])
        self._note({}, now)

    def publish(self, now: Instant) -> None:
        """Make `surface` of `raw` as it is now: once for each moment, after `renew` and `refit`."""
        shown = self.raw
        if shown is None:
            self.surface, self._smoothed_ns = None, None
            return
        self._version = shown.version
        if self._smoother.half_life > 0.0:
            since = now.mono_ns if self._smoothed_ns is None else self._smoothed_ns
            shown = self._smoother.update(shown, (now.mono_ns - since) / 1e9)
            self._smoothed_ns = now.mono_ns
        if shown is not self.surface:
            self.surface = shown
            for expiry_ns, part in zip(self._expiries, shown.slices, strict=True):
                self.state(expiry_ns).slice = part

    @property
    def volatility(self) -> float:
        """At the money of the shortest expiry that has a smile, as published; 1 where none has."""
        for part in () if self.surface is None else self.surface.slices:
            if part.smile is not None:
                variance = float(part.smile.total_variance(0.0))
                return math.sqrt(variance / part.smile.ttm) if part.smile.ttm > 0.0 < variance else 1.0
        return 1.0

    def has_waited(self, expiry_ns: int, now: Instant) -> bool:
        """Is the slice to be fitted to the few quotes it has, although none has changed since?"""
        state = self.state(expiry_ns)
        return state.held and not self._last_good_lives(state, now)

    def drop(self, expiry_ns: int) -> None:
        """The expiry has passed: it leaves the surface, and the others do not move."""
        self._states.pop(expiry_ns, None)
        if expiry_ns in self._expiries and self.raw is not None:
            at = self._expiries.index(expiry_ns)
            self._expiries.pop(at)
            self.raw = self.raw.removed(at) if self._expiries else None

    def rating(self, expiry_ns: int, now: Instant) -> tuple[Status, Reason]:
        """Status and reasons that the slice's smile gives to every number made from it."""
        state = self.state(expiry_ns)
        if state.slice is None or state.slice.smile is None or state.fitted is None:
            return Status.DEGRADED, Reason.FIT_UNDERDETERMINED
        if state.current:
            status, reasons = state.slice.status, state.slice.reasons
            if not state.covered:
                status, reasons = max(status, Status.DEGRADED), reasons | Reason.FIT_UNDERDETERMINED
            return status, reasons
        return (
            Status.DEGRADED if self._last_good_lives(state, now) else Status.STALE,
            (state.slice.reasons | Reason.FIT_LAST_GOOD) & ~Reason.FIT_UNDERDETERMINED,
        )

    def turns_stale_ns(self, expiry_ns: int) -> int | None:
        """The monotonic instant at which a last good smile becomes STALE; None while the fit is current."""
        state = self.state(expiry_ns)
        return None if state.current or state.fitted is None else state.fitted.mono_ns + self._last_good_ns

    def _last_good_lives(self, state: FitState, now: Instant) -> bool:
        return state.fitted is not None and now.mono_ns - state.fitted.mono_ns <= self._last_good_ns

    def _fit(self, wanted: Mapping[int, SliceQuotes]) -> None:
        """Replace the surface by one with these slices fitted; it is never changed in place."""
        new = sorted(expiry_ns for expiry_ns in wanted if expiry_ns not in self._expiries)
        if self.raw is None:
            fresh = VolSurface.fit([wanted[expiry_ns] for expiry_ns in new])
            self.raw = replace(fresh, version=self._version + 1)
            self._expiries = new
        else:
            known = {at: wanted[expiry_ns] for at, expiry_ns in enumerate(self._expiries) if expiry_ns in wanted}
            if known:
                self.raw = self.raw.updated_many(known)
            for expiry_ns in new:
                self.raw = self.raw.inserted(wanted[expiry_ns])
                insort(self._expiries, expiry_ns)

    def _note(self, wanted: Mapping[int, SliceQuotes], now: Instant) -> None:
        """What the new fits say of each slice."""
        assert self.raw is not None
        for expiry_ns, fitted in zip(self._expiries, self.raw.slices, strict=True):
            state = self.state(expiry_ns)
            if expiry_ns in wanted:
                state.current = fitted.accepted
                state.covered = is_covered(fitted, wanted[expiry_ns])
                if fitted.accepted:
                    state.fitted = now
            else:
                state.current = state.current and fitted.accepted  # a renewal may have refused it


def usable_quotes(change: SliceChange, ttm: float, now: Instant) -> SliceQuotes:
    """The slice's quote volatilities; those that are stale, invalid, doubted or not trading count as missing."""
    chain = change.chain
    bid_iv, ask_iv = _only_live(chain, 0, BID_IV), _only_live(chain, 1, ASK_IV)
    if chain.doubtful:  # a jump that is real makes nonsense of quotes at the old forward
        doubted = (chain.flags & np.uint64(Reason.JUMP_UNCONFIRMED)) != 0
        bid_iv[doubted] = ask_iv[doubted] = np.nan
    floor = chain.values[IV_ERROR]
    if not np.isfinite(floor).any():  # nothing is published yet
        floor = _tick_in_vol(change, ttm, np.where(np.isfinite(bid_iv), bid_iv, ask_iv))
    return SliceQuotes(
        ttm=ttm,
        forward=change.forward,
        strikes=chain.definition.strike,
        cp=chain.definition.cp,
        bid_iv=bid_iv,
        ask_iv=ask_iv,
        forwards=chain.quote_forward,
        ages=(now.mono_ns - chain.quote_mono_ns) / 1e9,
        iv_floor=np.where(np.isfinite(floor), floor, 0.0),
    )


def _tick_in_vol(change: SliceChange, ttm: float, sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """One price tick over vega at these volatilities: `iv_error` before there is a smile to take it from."""
    chain, forward = change.chain, change.forward
    tick = chain.tick * forward if chain.definition.inverse else chain.tick
    s = sigma * math.sqrt(ttm)
    with np.errstate(divide="ignore", over="ignore"):
        d1 = np.log(forward / chain.definition.strike) / s + 0.5 * s
        return np.asarray(tick / (forward * math.sqrt(ttm) * normal_density(d1)))


def is_covered(fitted: SurfaceSlice, quotes: SliceQuotes) -> bool:
    """Are there two-sided quotes of `COVERED` strikes on each side of the money, or of all that are listed there?"""
    observed = fitted.selection.observations
    k = observed[(observed[:, LOW] > 0.0) & (observed[:, HIGH] < np.inf), K]
    below = int(np.count_nonzero(k < 0.0))
    if below >= COVERED and k.size - below >= COVERED:
        return True
    listed = np.unique(quotes.strikes)
    listed_below = int(np.count_nonzero(listed < quotes.forward))
    return below >= min(COVERED, listed_below) and k.size - below >= min(COVERED, listed.size - listed_below)


def _only_live(chain: ChainSlice, pair: int, field: int) -> NDArray[np.float64]:
    return np.where(chain.status[pair] < Status.STALE, chain.values[field], np.nan)
