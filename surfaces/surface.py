"""The volatility surface: slices in order of expiry, each certified on its own and against its neighbours.

A surface is a value. An update gives a new one that shares all untouched slices; `version` counts the steps.

Between two expiries total variance is linear in ttm at equal k, or prices are mixed where that would be butterfly
arbitrage (`pricer.surfaces.between`). Before the first and after the last expiry sigma(k) stays that of the nearest
one.

An argument called `expiry` is a time to maturity in years (a float) or the index of a slice (an int), which stands for
that slice's ttm: `surface.atm(1.0)` is the volatility at one year, `surface.atm(1)` that of the second slice. One
called `ttm` is in years, whatever its type.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pricer.columns import Signs
from pricer.conventions import NO_REASON, Reason, Status
from pricer.surfaces import deltas, indices, models
from pricer.surfaces.arbitrage import Certificate, check_butterfly, check_calendar
from pricer.surfaces.between import BetweenSmile
from pricer.surfaces.chain import fit_chain
from pricer.surfaces.deltas import AtmConvention, DeltaConvention, DeltaPoint
from pricer.surfaces.dynamics import Dynamics, SmileGreeks, smile_greeks
from pricer.surfaces.local_vol import LocalVolStatus, local_volatility
from pricer.surfaces.quotes import Selection, SliceQuotes, select
from pricer.surfaces.shocks import Shock, shocked_slices
from pricer.surfaces.slices import DETERMINED, NO_CERTIFICATE, POOR_LOSS, SliceProblem, SurfaceSlice, fit_slice
from pricer.surfaces.smile import Array, Smile, like_input
from pricer.surfaces.svi import SviParams, SviSmile

Expiry: TypeAlias = float | int

NOTHING: Mapping[int, Smile | None] = MappingProxyType({})

# What an expiry without a smile has in its place: NaN everywhere.
NO_SMILE = SviSmile(math.nan, math.nan, SviParams(*5 * [math.nan]))


@dataclass(frozen=True, slots=True)
class SurfaceDiagnostics:
    """How well a whole surface meets its quotes; NaN where no slice has a two-sided observation."""

    mids: int
    inside_spread: float
    rmse: float
    paths: Mapping[str, int]
    excluded: Mapping[str, int]


class TermStructure(NamedTuple):
    """Figures at the money forward by expiry, one array each; NaN where an expiry has none.

    `forward_vol` is from the expiry before, and for the first one from now.
    """

    ttm: Array
    forward: Array
    atm: Array
    skew: Array
    forward_vol: Array


@dataclass(frozen=True, slots=True, eq=False)
class VolSurface:
    """An immutable volatility surface of one underlying; `slices` in rising order of ttm, all of one `model`."""

    slices: tuple[SurfaceSlice, ...]
    version: int = 0
    model: str = "svi"

    @classmethod
    def fit(
        cls, slices: Sequence[SliceQuotes], model: str = "svi", no_arbitrage: models.NoArbitrage = "hard"
    ) -> VolSurface:
        """A surface from the quotes of its expiries.

        With `no_arbitrage="hard"`, models "svi" (raw SVI, all fitted together under the same constraints), "svi_local"
        (the same with local terms) and "essvi": free of arbitrage. With "check", the other models of
        `pricer.surfaces.models`: fitted as they are, and a slice that fails its certificate is `DEGRADED` with
        `MODEL_LIMIT`. ValueError for an unknown model, and for a promise that it does not keep.
        """
        chosen = models.model_of(model, no_arbitrage)
        ordered = sorted(slices, key=lambda quotes: quotes.ttm)
        for shorter, longer in itertools.pairwise(ordered):
            if shorter.ttm == longer.ttm:
                raise ValueError(f"two slices have the same ttm {longer.ttm!r}")
        problems = [SliceProblem(select(q), q.ttm, q.forward) for q in ordered]
        if chosen.fits:
            return cls(tuple(models.fitted(chosen, problems)), model=model)
        fitted = fit_chain(problems)
        surface = cls(_following(fitted, range(len(fitted))))
        return surface if chosen.refine is None else surface._refined(model, len(fitted) * [None])

    def updated(self, index: int, quotes: SliceQuotes) -> VolSurface:
        """The surface after new quotes of one expiry: the tick path. IndexError where there is no such slice."""
        return self.updated_many({index: quotes})

    def updated_many(self, changes: Mapping[int, SliceQuotes]) -> VolSurface:
        """The surface after new quotes of several expiries, refitted from short to long.

        A rise of the whole surface is held up by the longer expiries that have not moved yet. So the slices that were
        refused or fitted poorly are tried again from long to short, and once more from short to long. IndexError where
        there is no such slice, ValueError where the new times to maturity leave the order.
        """
        changes = {range(len(self.slices))[index]: quotes for index, quotes in changes.items()}
        _check_order([changes[i].ttm if i in changes else part.ttm for i, part in enumerate(self.slices)])
        if self._model.refine is not None:
            return self._backbone().updated_many(changes)._refined(self.model, self.slices)
        slices = list(self.slices)
        selections = {i: select(changes[i]) for i in sorted(changes)}
        if self._model.fits:
            return self._next(models.refitted(self._model, slices, _alone(slices, changes, selections)))
        waiting, certified = list(selections), dict[int, Smile | None]()
        for _ in range(3):
            waiting = _refit(slices, changes, selections, waiting, certified)[::-1]
            if len(selections) < 2:
                break  # its neighbours stay as they are, and so would the answer
        return VolSurface(_following(slices, selections, certified), self.version + 1)

    def inserted(self, quotes: SliceQuotes) -> VolSurface:
        """The surface with one more expiry, at its place in the order of ttm."""
        index = sum(part.ttm < quotes.ttm for part in self.slices)
        if index < len(self.slices) and self.slices[index].ttm == quotes.ttm:
            raise ValueError(f"there is a slice with ttm {quotes.ttm!r} already")
        slices = list(self.slices)
        if self._model.fits:
            problem = SliceProblem(select(quotes), quotes.ttm, quotes.forward)
            slices.insert(index, models.unfitted(problem))
            return self._next(models.refitted(self._model, slices, {index: problem}))
        if self._model.refine is not None:
            return self._backbone().inserted(quotes)._refined(self.model, [*slices[:index], None, *slices[index:]])
        slices.insert(
            index, fit_slice(_problem(select(quotes), quotes.ttm, quotes.forward, None, slices, index, index))
        )
        return VolSurface(_following(slices, [index]), self.version + 1)

    def removed(self, index: int) -> VolSurface:
        """The surface without one expiry; the others keep their smiles."""
        index = range(len(self.slices))[index]
        slices = list(self.slices)
        del slices[index]
        if self.model != "svi":
            return self._next(models.renewed(slices, [index], degrade=self._model.fits))
        return VolSurface(_following(slices, [index]), self.version + 1)

    def at(self, ttms: Sequence[float], forwards: Sequence[float]) -> VolSurface:
        """The same sigma(k) in every expiry at other times to maturity and forwards, certified anew.

        Time alone can bring butterfly arbitrage into a smile; that shows in the certificates.
        """
        _check_order(ttms)
        moved = [part.at(forward, ttm) for part, ttm, forward in zip(self.slices, ttms, forwards, strict=True)]
        if self.model != "svi":
            return self._next(models.renewed(moved, degrade=self._model.fits))
        moved = [
            part if part.smile is None else replace(part, certificate=check_butterfly(part.smile)) for part in moved
        ]
        for i, part in enumerate(moved):
            moved[i] = part.above(_shorter(moved, i))
        return VolSurface(tuple(moved), self.version + 1)

    def recertified(self, ttms: Sequence[float]) -> VolSurface:
        """`at` other times, and a slice that is not free of arbitrage there is fitted again to the quotes it has.

        Where that is refused its last smile is moved until it is free (`ARB_REPAIRED`), and without such a way there is
        none (`INVALID`): `FIT_FAILED`, not accepted.
        Less time for all slices together brings no arbitrage (docs/decisions/0011); more can.
        """
        moved = self.at(ttms, [part.forward for part in self.slices])
        failing = [i for i, part in enumerate(moved.slices) if part.smile is not None and not part.certificate.ok]
        if not failing:
            return moved
        slices = list(moved.slices)
        for i in failing:
            part = slices[i]
            slices[i] = fit_slice(_problem(part.selection, part.ttm, part.forward, part, slices, i, i + 1))
        return VolSurface(_following(slices, failing), moved.version)

    def shocked(
        self,
        *,
        spot: float = 0.0,
        vol: float = 0.0,
        skew: float = 0.0,
        curvature: float = 0.0,
        term: float = 0.0,
        dynamics: Dynamics = "sticky_moneyness",
    ) -> VolSurface:
        """The surface after a scenario, certified anew; `pricer.surfaces.shocks` says what each shock moves.

        `spot` is a relative move of all forwards (-0.1 is a fall of a tenth), under the rule `dynamics`; the others are
        added at equal k: `vol` to sigma (0.01 is one vol point), `skew` and `curvature` to its first and second
        derivative in k/√ttm at the money, and `term` times ttm to sigma. Where that would be arbitrage the wings give
        way, or else the surface takes a share of the shock: `DEGRADED` with `ARB_REPAIRED`. A shock of nothing gives
        this surface. ValueError for what is not finite, for spot <= -1, where no share is free of arbitrage, as
        this surface is not, and for another model than "svi".
        """
        if self.model != "svi":
            raise ValueError(f"shocks move the parameters of raw SVI; this surface has model {self.model!r}")
        shock = Shock(spot, vol, skew, curvature, term)
        slices = shocked_slices(self.slices, shock, dynamics)
        return self if shock == Shock() else VolSurface(tuple(slices), self.version + 1)

    @property
    def _model(self) -> models.Model:
        return models.MODELS[self.model]

    def _next(self, slices: Sequence[SurfaceSlice]) -> VolSurface:
        return VolSurface(tuple(slices), self.version + 1, self.model)

    def _backbone(self) -> VolSurface:
        """The certified SVI surface that this one is a refinement of."""
        return VolSurface(tuple(map(models.backbone, self.slices)), self.version)

    def _refined(self, model: str, before: Sequence[SurfaceSlice | None]) -> VolSurface:
        """What `model` makes of this SVI surface; slices of `before` that come out as they were stay."""
        refine = models.MODELS[model].refine
        assert refine is not None
        return VolSurface(tuple(refine(self.slices, before)), self.version, model)

    @property
    def smiles(self) -> tuple[Smile | None, ...]:
        """The smile of each slice; None where there is none."""
        return tuple(part.smile for part in self.slices)

    @property
    def certificate(self) -> Certificate:
        """The evidence of all slices and neighbouring pairs in one."""
        whole = NO_CERTIFICATE
        for part in self.slices:
            if part.smile is not None:
                whole = whole.merged(part.certificate)
        return whole

    @property
    def diagnostics(self) -> SurfaceDiagnostics:
        """Figures over all slices, weighted by their numbers of two-sided observations."""
        mids = 0
        inside = squares = 0.0
        paths: dict[str, int] = {}
        excluded: dict[str, int] = {}
        for part in self.slices:
            figures = part.diagnostics
            paths[figures.path] = paths.get(figures.path, 0) + 1
            for reason, count in part.selection.excluded().items():
                excluded[reason] = excluded.get(reason, 0) + count
            if part.smile is not None and figures.mids:
                mids += figures.mids
                inside += figures.mids * figures.inside_spread
                squares += figures.mids * figures.rmse**2
        if mids == 0:
            return SurfaceDiagnostics(0, math.nan, math.nan, paths, excluded)
        return SurfaceDiagnostics(mids, inside / mids, math.sqrt(squares / mids), paths, excluded)

    def ttm(self, expiry: Expiry) -> float:
        """The time to maturity that `expiry` stands for; IndexError where there is no such slice."""
        return self.slices[expiry].ttm if isinstance(expiry, int | np.integer) else float(expiry)

    def forward(self, expiry: Expiry) -> float:
        """The forward at `expiry`: log-linear between expiries, constant outside; NaN for a surface without slices."""
        return self._forward(self.ttm(expiry))

    def _forward(self, ttm: float) -> float:
        if not self.slices:
            return math.nan
        times = [part.ttm for part in self.slices]
        if ttm in times:
            return self.slices[times.index(ttm)].forward  # itself, not the exponential of its logarithm
        return math.exp(float(np.interp(ttm, times, [math.log(part.forward) for part in self.slices])))

    def smile(self, expiry: Expiry) -> Smile | None:
        """The smile at `expiry`, between two expiries as `total_variance` has it; None where there is none."""
        ttm = self.ttm(expiry)
        parts = self._around(ttm)
        if not parts or not 0.0 < ttm < math.inf:
            return None
        near, far = parts[0].smile, parts[-1].smile
        assert near is not None
        assert far is not None
        if near is not far:
            return BetweenSmile.of(near, far, ttm, self._forward(ttm))
        return near if near.ttm == ttm else near.at(self._forward(ttm), ttm)

    def total_variance(self, k: npt.ArrayLike, ttm: float) -> Array:
        """w(k) at `ttm`; NaN where the surface has no smile or `ttm` is not positive."""
        k = np.asarray(k, dtype=np.float64)
        return like_input(self._total_variance(k.reshape(-1), ttm), k.shape)

    def iv(self, strike: npt.ArrayLike, ttm: float) -> Array:
        """Black volatility at (strike, ttm); NaN where there is none. `iv_status` says what it may be used for."""
        strikes = np.asarray(strike, dtype=np.float64)
        flat = strikes.reshape(-1)
        usable = flat > 0.0
        with np.errstate(invalid="ignore", divide="ignore"):
            k = np.where(usable, np.log(flat / self._forward(ttm)), np.nan)
            sigma = np.sqrt(self._total_variance(k, ttm) / ttm)
        return like_input(sigma, strikes.shape)

    def greeks(
        self,
        strikes: npt.ArrayLike,
        expiry: Expiry,
        cp: Signs,
        discount: npt.ArrayLike = 1.0,
        *,
        dynamics: Dynamics = "sticky_strike",
    ) -> SmileGreeks:
        """The fourteen Greeks at the surface's own vols, smile-consistent under the rule `dynamics`.

        Strikes, cp (±1 or a word) and discount broadcast. delta and gamma follow the smile as the forward moves, and
        under "sticky_delta" vega and theta do as vol and time move; `pricer.surfaces.dynamics` has the rules. NaN where
        the surface has no vol.
        """
        return smile_greeks(self.smile(expiry) or NO_SMILE, strikes, cp, discount, dynamics)

    def iv_status(self, strike: float, ttm: float) -> tuple[Status, Reason]:
        """Status and reasons of `iv(strike, ttm)`: the worse of its slices, `EXTRAPOLATED` outside their quotes."""
        parts = self._around(ttm)
        if not parts or not (ttm > 0.0 and strike > 0.0):
            return Status.INVALID, Reason.FIT_UNDERDETERMINED if not parts else Reason.BAD_INPUT
        k = math.log(strike / self._forward(ttm))
        status = max(part.status for part in parts)
        reasons = NO_REASON
        for part in parts:
            reasons |= part.reasons
        between = parts[0].ttm <= ttm <= parts[-1].ttm
        if not between or any(not part.k_min <= k <= part.k_max for part in parts):
            status, reasons = max(status, Status.DEGRADED), reasons | Reason.EXTRAPOLATED
        return status, reasons

    def band(self, strike: npt.ArrayLike, expiry: Expiry) -> Array:
        """One standard error of the volatility at (strike, expiry), from the quotes; `pricer.surfaces.bands` says how.

        Between two expiries the errors of both count with the weight that each has in total variance, and add up: how
        they go together is not known, and this is the most it can be. What the interpolation itself may miss is not in
        it. NaN outside the expiries, where no quote tells an error.
        """
        strikes = np.asarray(strike, dtype=np.float64)
        ttm = self.ttm(expiry)
        flat = strikes.reshape(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            k = np.where(flat > 0.0, np.log(flat / self._forward(ttm)), np.nan)
        return like_input(self._band(k, ttm), strikes.shape)

    def strike_at_delta(
        self,
        delta: float,
        expiry: Expiry,
        *,
        convention: DeltaConvention,
        spot: float | None = None,
        discount: float = 1.0,
    ) -> DeltaPoint:
        """Strike and volatility of the call (`delta` > 0) or put (`delta` < 0) with this delta, and their status.

        Where there is none they are NaN, and the reasons say why; `pricer.surfaces.deltas` has the conventions.
        """
        smile = self.smile(expiry)
        if smile is None:
            return DeltaPoint(math.nan, math.nan, *self.iv_status(math.nan, self.ttm(expiry)))
        point = deltas.strike_at_delta(smile, delta, convention, spot=spot, discount=discount)
        if point.reasons:
            return point
        return DeltaPoint(point.strike, point.iv, *self.iv_status(point.strike, self.ttm(expiry)))

    def iv_at_delta(
        self,
        delta: float,
        expiry: Expiry,
        *,
        convention: DeltaConvention,
        spot: float | None = None,
        discount: float = 1.0,
    ) -> float:
        """The volatility of `strike_at_delta`."""
        return self.strike_at_delta(delta, expiry, convention=convention, spot=spot, discount=discount).iv

    def atm(self, expiry: Expiry, kind: AtmConvention = "forward", *, premium_adjusted: bool = False) -> float:
        """The volatility at the forward, or at the strike of the delta-neutral straddle; NaN where there is none.

        At a ttm between expiries this is the constant-maturity volatility.
        """
        smile = self.smile(expiry)
        return math.nan if smile is None else deltas.atm_vol(smile, kind, premium_adjusted=premium_adjusted)

    def risk_reversal(
        self,
        delta: float,
        expiry: Expiry,
        *,
        convention: DeltaConvention = "forward",
        spot: float | None = None,
        discount: float = 1.0,
    ) -> float:
        """Volatility of the call with `delta` less that of the put with −`delta`; NaN where either has no strike."""
        smile = self.smile(expiry)
        return (
            math.nan if smile is None else deltas.risk_reversal(smile, delta, convention, spot=spot, discount=discount)
        )

    def butterfly(
        self,
        delta: float,
        expiry: Expiry,
        *,
        convention: DeltaConvention = "forward",
        atm: AtmConvention = "forward",
        spot: float | None = None,
        discount: float = 1.0,
    ) -> float:
        """The smile butterfly (not the market strangle): mean vol of call and put with this delta, less `atm`."""
        smile = self.smile(expiry)
        return (
            math.nan
            if smile is None
            else deltas.butterfly(smile, delta, convention, atm=atm, spot=spot, discount=discount)
        )

    def skew(self, expiry: Expiry) -> float:
        """dσ/dk at the forward, per unit of log-moneyness; NaN where there is no smile."""
        smile = self.smile(expiry)
        return math.nan if smile is None else deltas.skew(smile)

    def term_structure(self, ttms: Sequence[float] | None = None) -> TermStructure:
        """At-the-money figures of every slice, or at the constant maturities `ttms` (years, rising)."""
        times = np.array([part.ttm for part in self.slices] if ttms is None else ttms, dtype=np.float64)
        if not np.all(np.diff(times) > 0.0):
            raise ValueError("the maturities of a term structure rise")
        atm = np.array([self.atm(ttm) for ttm in times.tolist()])
        total = atm * atm * times
        return TermStructure(
            times,
            np.array([self._forward(ttm) for ttm in times.tolist()]),
            atm,
            np.array([self.skew(ttm) for ttm in times.tolist()]),
            indices.forward_volatility(np.diff(total, prepend=0.0), np.diff(times, prepend=0.0)),
        )

    def forward_vol(self, near: Expiry, far: Expiry, k: float = 0.0) -> float:
        """The volatility from `near` to `far` at log-moneyness `k`, from the difference of total variance.

        NaN where total variance falls (calendar arbitrage) or there is no smile; ValueError where `far` is not later.
        """
        first, last = self.ttm(near), self.ttm(far)
        if not last > first:
            raise ValueError(f"a forward volatility runs to a later expiry, not from ttm {first!r} to {last!r}")
        rise = np.asarray(self.total_variance(k, last)) - np.asarray(self.total_variance(k, first))
        return float(indices.forward_volatility(rise, np.asarray(last - first)))

    def local_vol(self, strike: npt.ArrayLike, ttm: float) -> Array:
        """Dupire's local volatility at each strike and a ttm (years); NaN where `local_vol_status` is not `OK`.

        The local variance jumps at an expiry: the value there is that of the interval which begins, the limit from
        later times.
        """
        strikes = np.asarray(strike, dtype=np.float64)
        return like_input(self._local_vol(strikes.reshape(-1), ttm)[0], strikes.shape)

    def local_vol_status(self, strike: npt.ArrayLike, ttm: float) -> npt.NDArray[np.uint8]:
        """The `LocalVolStatus` of each local volatility, in the shape of the strikes."""
        strikes = np.asarray(strike, dtype=np.float64)
        return self._local_vol(strikes.reshape(-1), ttm)[1].reshape(strikes.shape)

    def variance_swap(self, expiry: Expiry) -> float:
        """The fair strike of a variance swap, as a variance a year, by replication over all strikes; NaN if none."""
        smile = self.smile(expiry)
        return math.nan if smile is None else indices.variance_swap(smile)

    def vol_index(self, days: float = 30.0) -> float:
        """The volatility index of a horizon in days: variance swaps of the expiries around it, linear in time.

        A fraction, not times 100. Outside the expiries the nearest one's variance holds (`iv_status` at that ttm says
        `EXTRAPOLATED`); how it differs from the published VIX method stands in `pricer.surfaces.indices`.
        """
        ttm = days / 365.0
        parts = self._around(ttm)
        if not parts or not ttm > 0.0:
            return math.nan
        near, far = parts[0].smile, parts[-1].smile
        assert near is not None
        assert far is not None
        return indices.volatility_index(near, far, ttm)

    def _local_vol(self, strikes: Array, ttm: float) -> tuple[Array, npt.NDArray[np.uint8]]:
        smile = self.smile(float(ttm))
        if smile is None:
            return np.full(strikes.size, math.nan), np.full(strikes.size, LocalVolStatus.BAD_INPUT, dtype=np.uint8)
        k = np.log(np.where(strikes > 0.0, strikes, np.nan) / smile.forward)
        return local_volatility(smile, self._growth(smile, k), k)

    def _growth(self, smile: Smile, k: Array) -> Array:
        """∂w/∂T at fixed k, towards later times."""
        known = [part.smile for part in self.slices if part.smile is not None]
        later = sum(found.ttm <= smile.ttm for found in known)
        if not 0 < later < len(known):
            return np.asarray(smile.total_variance(k)) / smile.ttm  # sigma(k) stays, so w grows in proportion
        return np.asarray(BetweenSmile.of(known[later - 1], known[later], smile.ttm, smile.forward).growth(k))

    def _total_variance(self, k: Array, ttm: float) -> Array:
        smile = self.smile(float(ttm))
        return np.full(k.size, math.nan) if smile is None else np.asarray(smile.total_variance(k))

    def _band(self, k: Array, ttm: float) -> Array:
        parts = self._around(ttm)
        if not parts or not parts[0].ttm <= ttm <= parts[-1].ttm:
            return np.full(k.size, math.nan)
        first, last = parts[0], parts[-1]
        if first is last:
            return np.asarray(first.band(k))
        share = (ttm - first.ttm) / (last.ttm - first.ttm)
        error = np.zeros(k.size)  # of total variance
        for part, weight in ((first, 1.0 - share), (last, share)):
            assert part.smile is not None
            sigma = np.sqrt(np.asarray(part.smile.total_variance(k)) / part.ttm)
            error += weight * 2.0 * sigma * part.ttm * np.asarray(part.band(k))
        return error / (2.0 * ttm * np.sqrt(self._total_variance(k, ttm) / ttm))

    def _around(self, ttm: float) -> list[SurfaceSlice]:
        """The slices with a smile that the value at `ttm` comes from: one or two."""
        known = [part for part in self.slices if part.smile is not None]
        above = sum(part.ttm < ttm for part in known)
        if above < len(known) and known[above].ttm == ttm:
            return [known[above]]
        return known[max(above - 1, 0) : above + 1]


def _check_order(ttms: Sequence[float]) -> None:
    for shorter, longer in itertools.pairwise(ttms):
        if not shorter < longer:
            raise ValueError(f"times to maturity must rise from slice to slice, not go from {shorter!r} to {longer!r}")


def _refit(
    slices: list[SurfaceSlice],
    changes: Mapping[int, SliceQuotes],
    selections: Mapping[int, Selection],
    order: Sequence[int],
    certified: dict[int, Smile | None],
) -> list[int]:
    """Refit slices in place; the indices of those that were refused or fitted poorly.

    `certified` receives the smile that each slice has just been certified above.
    """
    waiting = []
    for i in order:
        quotes = changes[i]
        last = slices[i].at(quotes.forward, quotes.ttm)
        problem = _problem(selections[i], quotes.ttm, quotes.forward, last, slices, i, i + 1)
        slices[i] = part = fit_slice(problem)
        certified[i] = problem.below
        if not part.accepted or part.diagnostics.loss > POOR_LOSS:
            waiting.append(i)
    return waiting


def _alone(
    slices: Sequence[SurfaceSlice], changes: Mapping[int, SliceQuotes], selections: Mapping[int, Selection]
) -> dict[int, SliceProblem]:
    """Fits that know nothing of their neighbours."""
    found = {}
    for i, selection in selections.items():
        quotes = changes[i]
        found[i] = SliceProblem(selection, quotes.ttm, quotes.forward, slices[i].at(quotes.forward, quotes.ttm))
    return found


def _problem(
    selection: Selection,
    ttm: float,
    forward: float,
    last: SurfaceSlice | None,
    slices: Sequence[SurfaceSlice],
    below: int,
    above: int,
) -> SliceProblem:
    """A fit between the nearest determined smiles before index `below` and from index `above` on.

    One that its own quotes do not determine also stays above a shorter one of its kind.
    """
    follows = selection.mids < DETERMINED
    lower = upper = None
    for i in range(below - 1, -1, -1):
        if slices[i].determined or (follows and slices[i].smile is not None):
            lower = slices[i].svi
            break
    for i in range(above, len(slices)):
        if slices[i].determined:
            upper = slices[i].svi
            break
    return SliceProblem(selection, ttm, forward, last, lower, upper)


def _shorter(slices: Sequence[SurfaceSlice], i: int) -> Smile | None:
    """The next shorter smile than slice i's."""
    while i > 0:
        i -= 1
        if slices[i].smile is not None:
            return slices[i].smile
    return None


def _following(
    slices: list[SurfaceSlice], indices: Iterable[int], certified: Mapping[int, Smile | None] = NOTHING
) -> tuple[SurfaceSlice, ...]:
    """Let underdetermined slices follow their neighbours, and renew the pair certificates that a change touched.

    Those in `certified` have certificates above that smile already.
    """
    changed = set(indices)
    for i, part in enumerate(slices):
        if part.smile is not None and not part.determined:
            slices[i] = _refollowed(slices, i, part)
            if slices[i] is not part:
                changed.add(i)
    for i in sorted(changed | {i + 1 for i in changed}):
        # Where slices between have no smile, the pair reaches further.
        while i < len(slices) and slices[i].smile is None:
            i += 1
        if i < len(slices):
            shorter = _shorter(slices, i)
            if i not in certified or certified[i] is not shorter:
                slices[i] = slices[i].above(shorter)
    return tuple(slices)


def _refollowed(slices: Sequence[SurfaceSlice], i: int, part: SurfaceSlice) -> SurfaceSlice:
    """An underdetermined slice, refitted where it now crosses a neighbour."""
    problem = _problem(part.selection, part.ttm, part.forward, part, slices, i, i + 1)
    assert part.smile is not None
    lower_ok = problem.below is None or check_calendar(problem.below, part.smile).ok
    upper_ok = problem.above is None or check_calendar(part.smile, problem.above).ok
    return part if lower_ok and upper_ok else fit_slice(problem)
