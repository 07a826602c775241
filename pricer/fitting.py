"""When a slice is fitted again, and what is published while it cannot be: the last good surface, with its age.

One `SurfaceKeeper` an index family. The rules:

- changed or newly stale quotes refit their slice; a forward tick does not: the smile stays fixed in log-moneyness.
- a refused fit keeps the last certified smile: DEGRADED for `last_good_ns`, then STALE, with `FIT_LAST_GOOD`.
- a slice that lost most of its quotes (a reconnect, a halt) is not refitted on the few that are left before its last
  good smile has turned STALE: five quotes make a curve, not a market.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricer.chain import ASK_IV, BID_IV, ChainSlice
from pricer.clock import Instant
from pricer.conventions import Reason, Status, ttm_years
from pricer.snapshot import FIELD_INDEX
from pricer.surfaces.quotes import SliceQuotes
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.surface import VolSurface

IV_ERROR = FIELD_INDEX["iv_error"]

# A refit on less than this share of the quotes that made the last good smile waits for more of them.
MIN_QUOTE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class SliceChange:
    """A slice whose quotes changed, with its forward and time to maturity now."""

    chain: ChainSlice
    forward: float
    ttm: float


@dataclass(slots=True)
class FitState:
    """What is known of one slice's smile."""

    slice: SurfaceSlice | None = None
    fitted: Instant | None = None
    usable: int = 0
    current: bool = False  # the last attempt was accepted
    held: bool = False  # not attempted: too few of the quotes that made the last good smile are left


class SurfaceKeeper:
    """The published surface of one index family, kept up to date slice by slice.

    All slices that changed are fitted in one step: their neighbours' calendar order ties them together, so a move of
    the whole surface must not be tried one expiry at a time.
    """

    def __init__(self, last_good_ns: int) -> None:
        self.surface: VolSurface | None = None
        self._expiries: list[int] = []
        self._states: dict[int, FitState] = {}
        self._last_good_ns = last_good_ns

    def state(self, expiry_ns: int) -> FitState:
        return self._states.setdefault(expiry_ns, FitState())

    def refit(self, changes: Sequence[SliceChange], now: Instant) -> None:
        """Fit these slices to their usable quotes, all of them in one step; keep the last good smile where refused."""
        wanted: dict[int, SliceQuotes] = {}
        for change in changes:
            expiry_ns = change.chain.key.expiry_ns
            quotes = usable_quotes(change, now)
            state = self.state(expiry_ns)
            count = int(np.count_nonzero(np.isfinite(quotes.bid_iv) | np.isfinite(quotes.ask_iv)))
            state.held = count < MIN_QUOTE_SHARE * state.usable and self._last_good_lives(state, now)
            if state.held:
                state.current = False
            else:
                wanted[expiry_ns] = quotes
                state.usable = count
        if wanted:
            self._publish(wanted, now)
            self._note(wanted, now)

    def has_waited(self, expiry_ns: int, now: Instant) -> bool:
        """Is the slice to be fitted to the few quotes it has, although none has changed since?"""
        state = self.state(expiry_ns)
        return state.held and not self._last_good_lives(state, now)

    def drop(self, expiry_ns: int) -> None:
        """The expiry has passed: it leaves the surface, and the others do not move."""
        self._states.pop(expiry_ns, None)
        if expiry_ns in self._expiries and self.surface is not None:
            at = self._expiries.index(expiry_ns)
            self._expiries.pop(at)
            self.surface = self.surface.removed(at) if self._expiries else None

    def rating(self, expiry_ns: int, now: Instant) -> tuple[Status, Reason]:
        """Status and reasons that the slice's smile gives to every number made from it."""
        state = self.state(expiry_ns)
        if state.slice is None or state.slice.smile is None or state.fitted is None:
            return Status.DEGRADED, Reason.FIT_UNDERDETERMINED
        if state.current:
            return state.slice.status, state.slice.reasons
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

    def _publish(self, wanted: Mapping[int, SliceQuotes], now: Instant) -> None:
        """Replace the surface by one with these slices fitted; it is never changed in place."""
        new = sorted(expiry_ns for expiry_ns in wanted if expiry_ns not in self._expiries)
        if self.surface is None:
            self.surface = VolSurface.fit([wanted[expiry_ns] for expiry_ns in new])
            self._expiries = new
            return
        known = {at: wanted[expiry_ns] for at, expiry_ns in enumerate(self._expiries) if expiry_ns in wanted}
        if known:
            self.surface = self.surface.updated_many(known)
        if new:  # its place is by time to maturity, which must then be of one moment for all
            ttms = [ttm_years(expiry_ns, now.wall_ns) for expiry_ns in self._expiries]
            self.surface = self.surface.at(ttms, [part.forward for part in self.surface.slices])
        for expiry_ns in new:
            self.surface = self.surface.inserted(wanted[expiry_ns])
            insort(self._expiries, expiry_ns)

    def _note(self, wanted: Collection[int], now: Instant) -> None:
        """What the new surface says of each slice; one with too few quotes may have followed its neighbours."""
        assert self.surface is not None
        for expiry_ns, fitted in zip(self._expiries, self.surface.slices, strict=True):
            state = self.state(expiry_ns)
            state.slice = fitted
            if expiry_ns in wanted:
                state.current = fitted.accepted
                if fitted.accepted:
                    state.fitted = now


def usable_quotes(change: SliceChange, now: Instant) -> SliceQuotes:
    """The slice's quote volatilities; those that are stale, invalid or not trading count as missing."""
    chain = change.chain
    error = chain.values[IV_ERROR]
    return SliceQuotes(
        ttm=change.ttm,
        forward=change.forward,
        strikes=chain.definition.strike,
        cp=chain.definition.cp,
        bid_iv=_only_live(chain, 0, BID_IV),
        ask_iv=_only_live(chain, 1, ASK_IV),
        forwards=chain.quote_forward,
        ages=(now.mono_ns - chain.quote_mono_ns) / 1e9,
        iv_floor=np.where(np.isfinite(error), error, 0.0),
    )


def _only_live(chain: ChainSlice, pair: int, field: int) -> NDArray[np.float64]:
    return np.where(chain.status[pair] < Status.STALE, chain.values[field], np.nan)
