"""One expiry of a surface: from its quotes and its neighbours to a certified smile, or to a stated refusal.

The path of a fit, each step taken only where the one before did not do:

1. constrained fit from the slice's present smile (a cold start from its quotes where it has none);
2. harder barrier, and grid points where the certificate found a leak ("tightened");
3. the same from a cold start, where the answer is implausible or much worse than the last one ("restarted");
4. the way back towards the last certified smile, until the certificate holds ("blended", `ARB_REPAIRED`);
5. refusal: the last good smile stays, `FIT_FAILED` and `FIT_LAST_GOOD`, `accepted` is False.

With fewer than five two-sided observations the five parameters are not determined. The shape then comes from the
slice's last smile, else from the nearest expiry (at equal k/√ttm), else it is nearly flat, and the quotes move it as
far as their number allows: the level first, then the wings, then the rest. Such a slice follows its neighbours and
never constrains them. Nothing is made from bounds alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pricer.conventions import NO_REASON, Reason, Status
from pricer.kernels.jit import kernel
from pricer.surfaces.arbitrage import Certificate, certify_svi, check_calendar
from pricer.surfaces.bands import iv_bands
from pricer.surfaces.quotes import HIGH, LOW, WIDTH, K, Selection
from pricer.surfaces.smile import Array, Smile, like_input
from pricer.surfaces.svi import SviParams, SviSmile, value
from pricer.surfaces.svi_free import fit_free, residual, robust_loss
from pricer.surfaces.svi_hard import EPSILON, blend_certified, fit_certified

Figures: TypeAlias = tuple[float, float, float, bool, float]  # of `_assess`
FitPath: TypeAlias = Literal["none", "fitted", "tightened", "restarted", "blended", "refused"]

# A raw SVI has five parameters.
DETERMINED = 5

# A smile further than this from a mid is off it: so many half-spreads, and at least this share of the mid.
OFF_HALF_SPREADS = 4.0
OFF_SHARE = 0.1
# A fit that is off more than this share of its mids is refused.
OFF_LIMIT = 0.3

# Try a cold start where the mean robust loss is above the first and has grown by the second factor.
POOR_LOSS = 0.5
_GROWN = 1.5

# Stiffness of (a, ln c₊, ln c₋, m, ln σ) by the number of mids, against residuals in half-spreads.
_STIFFNESS = {
    0: np.array([10.0, 10.0, 10.0, 10.0, 10.0]),
    1: np.array([0.0, 100.0, 100.0, 100.0, 100.0]),
    2: np.array([0.0, 1.0, 1.0, 30.0, 30.0]),
    3: np.array([0.0, 0.3, 0.3, 1.0, 3.0]),
    4: np.array([0.0, 0.1, 0.1, 0.3, 1.0]),
}
NONE = np.empty(0)  # an absent neighbour or prior, as the kernels see it


@dataclass(frozen=True, slots=True)
class FitDiagnostics:
    """How well a smile meets its quotes. Figures are of the two-sided observations (mids); NaN where there is none."""

    path: FitPath
    mids: int = 0
    bounds: int = 0
    inside_spread: float = math.nan  # share of mids whose bid and ask vol contain the smile
    rmse: float = math.nan  # in half-spreads
    loss: float = math.nan  # mean robust loss, bounds included
    off_share: float = math.nan  # share of mids that the smile is off
    steps: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceSlice:
    """One expiry: its smile (None where there is none), whether it may be used, and why not.

    `accepted` says that the latest quotes were fitted; otherwise `smile` is the last good one. `k_min` and `k_max` is
    the quoted range that entered the smile: outside, it is extrapolated. `certificate` holds this smile's butterfly
    evidence and the gap to the next shorter smile.
    """

    ttm: float
    forward: float
    smile: Smile | None
    status: Status
    reasons: Reason
    certificate: Certificate
    diagnostics: FitDiagnostics
    accepted: bool
    k_min: float
    k_max: float
    selection: Selection = field(repr=False)

    @property
    def determined(self) -> bool:
        """Do its own quotes determine this smile? If not, it follows its neighbours and does not constrain them."""
        # As an integer: an enum's own & is a call of Python, and this is asked of every slice on every tick.
        return self.smile is not None and not int.__and__(self.reasons, _UNDERDETERMINED)

    @property
    def svi(self) -> SviSmile | None:
        """The smile, if it is raw SVI; None where there is none, or one of another model."""
        return self.smile if isinstance(self.smile, SviSmile) else None

    def band(self, k: npt.ArrayLike) -> Array:
        """One standard error of iv at log-moneyness k (`pricer.surfaces.bands`); NaN where no raw SVI."""
        k = np.asarray(k, dtype=np.float64)
        out = np.full(k.size, math.nan)
        if self.svi is not None:
            flat = np.array(k).reshape(-1)
            iv_bands(np.array(self.svi.params), self.svi.ttm, self.selection.observations, flat, out)
        return like_input(out, k.shape)

    def at(self, forward: float, ttm: float) -> SurfaceSlice:
        """The same sigma(k) for another forward and time to maturity; its certificate is the caller's to renew."""
        if forward == self.forward and ttm == self.ttm:
            return self
        smile = None if self.smile is None else self.smile.at(forward, ttm)
        return self._with(smile, forward, ttm, self.certificate)

    def above(self, lower: Smile | None) -> SurfaceSlice:
        """The same slice with the calendar part of its certificate renewed, against the next shorter smile."""
        own = self.certificate
        if self.smile is None:
            return self
        gap = NO_CERTIFICATE if lower is None else check_calendar(lower, self.smile)
        certificate = Certificate(
            own.kind, own.butterfly, gap.calendar, own.min_g, own.at_k, gap.min_calendar_gap, gap.gap_at_k
        )
        return self._with(self.smile, self.forward, self.ttm, certificate)

    def _with(self, smile: Smile | None, forward: float, ttm: float, certificate: Certificate) -> SurfaceSlice:
        # Spelled out: dataclasses.replace takes five times as long, and this is on the tick path.
        return SurfaceSlice(
            ttm, forward, smile, self.status, self.reasons, certificate, self.diagnostics, self.accepted,
            self.k_min, self.k_max, self.selection,
        )  # fmt: skip


_UNDERDETERMINED = Reason.FIT_UNDERDETERMINED.value


NO_CERTIFICATE = Certificate("exact", True, True)


@dataclass(frozen=True, slots=True, eq=False)
class SliceProblem:
    """What a fit is made from: the observations, the last smile at today's forward and ttm, the neighbours."""

    selection: Selection
    ttm: float
    forward: float
    last: SurfaceSlice | None = None
    below: SviSmile | None = None
    above: SviSmile | None = None

    @property
    def determined(self) -> bool:
        """Are there two-sided observations enough for the five parameters?"""
        return self.selection.mids >= DETERMINED


def fit_slice(problem: SliceProblem) -> SurfaceSlice:
    """The certified smile of one expiry between its present neighbours, along the path of this module's docstring."""
    if problem.selection.mids == 0:
        return _without_quotes(problem)
    candidate = _determined(problem) if problem.determined else _underdetermined(problem)
    return candidate or _refused(problem)


def settle_slice(problem: SliceProblem, params: Array) -> SurfaceSlice:
    """The slice of `params` as they are where they can be certified, refitted from there where not."""
    evidence = np.empty(9)
    if certify_svi(params, _params(problem.below), _params(problem.above), evidence):
        figures = _assess(problem.selection.observations, problem.ttm, params)
        candidate = _accepted(problem, params, evidence, "fitted", 0, figures)
    else:
        candidate = _attempt(problem, params.copy(), EPSILON, "tightened")
    return candidate or _refused(problem)


def _accepted(
    problem: SliceProblem, params: Array, evidence: Array, path: FitPath, steps: int, figures: Figures
) -> SurfaceSlice | None:
    """The slice of certified `params`, or None where they are implausible."""
    selection = problem.selection
    diagnostics, plausible = _judged(selection, figures, path, steps)
    if not plausible:
        return None
    reasons = Reason.ARB_REPAIRED if path == "blended" else NO_REASON
    if not problem.determined:
        reasons |= Reason.FIT_UNDERDETERMINED
    return SurfaceSlice(
        problem.ttm,
        problem.forward,
        SviSmile(problem.ttm, problem.forward, SviParams(*params.tolist())),
        Status.DEGRADED if reasons else Status.OK,
        reasons,
        certificate_of(evidence),
        diagnostics,
        True,
        *selection.k_range,
        selection,
    )


def certificate_of(evidence: Array) -> Certificate:
    """The certificate of a slice from `arbitrage.certify_svi`: butterfly, and calendar against the shorter expiry."""
    butterfly, over, _, min_g, at_k, gap, gap_k = evidence[:7].tolist()
    return Certificate("exact", bool(butterfly), bool(over), min_g, at_k, gap, gap_k)


def assess(selection: Selection, ttm: float, params: Array, path: FitPath, steps: int) -> tuple[FitDiagnostics, bool]:
    """How well `params` meet the observations, and whether that is plausible at all."""
    return _judged(selection, _assess(selection.observations, ttm, params), path, steps)


def _judged(selection: Selection, figures: Figures, path: FitPath, steps: int) -> tuple[FitDiagnostics, bool]:
    inside, rmse, off, near_money, loss = figures
    mids = selection.mids
    diagnostics = FitDiagnostics(path, mids, selection.row.size - mids, inside, rmse, loss, off, steps)
    return diagnostics, near_money and off <= OFF_LIMIT


def _determined(problem: SliceProblem) -> SurfaceSlice | None:
    last = problem.last
    if last is None or last.svi is None:
        return _attempt(problem, cold_start(problem), 0.1, "fitted")
    warm = _attempt(problem, np.array(last.svi.params), EPSILON, "fitted")
    before = last.diagnostics.loss
    if warm is not None and not (warm.diagnostics.loss > POOR_LOSS and warm.diagnostics.loss > _GROWN * before):
        return warm
    cold = _attempt(problem, cold_start(problem), 0.1, "restarted")
    if warm is None or cold is None:
        return warm or cold
    return cold if cold.diagnostics.loss < warm.diagnostics.loss else warm


def _underdetermined(problem: SliceProblem) -> SurfaceSlice | None:
    shape = _shape(problem)
    return _attempt(problem, shape.copy(), 0.1, "fitted", shape)


def _attempt(
    problem: SliceProblem, params: Array, epsilon: float, path: FitPath, shape: Array = NONE
) -> SurfaceSlice | None:
    """A constrained fit from `params` (overwritten), with `shape` as prior where one is given."""
    below, above = _params(problem.below), _params(problem.above)
    stiffness = _STIFFNESS[problem.selection.mids] if shape.size else NONE
    evidence = np.empty(9)
    certificates, steps, figures = _fit_and_assess(
        problem.selection.observations, problem.ttm, below, above, shape, stiffness, epsilon, params, evidence
    )
    if certificates > 1 and path == "fitted":
        path = "tightened"
    if certificates == 0:
        if problem.last is None or problem.last.svi is None:
            return None
        base = np.array(problem.last.svi.params)
        if not certify_svi(base, below, above, evidence) or not blend_certified(params, base, below, above, evidence):
            return None
        path = "blended"
        figures = _assess(problem.selection.observations, problem.ttm, params)
    return _accepted(problem, params, evidence, path, steps, figures)


def cold_start(problem: SliceProblem) -> Array:
    """The best unconstrained smile of the observations."""
    params = np.empty(5)
    fit_free(problem.selection.observations, problem.ttm, False, params)
    return params


def _shape(problem: SliceProblem) -> Array:
    """The smile that an underdetermined fit starts from and is held to."""
    if problem.last is not None and problem.last.svi is not None:
        return np.array(problem.last.svi.params)
    ttm = problem.ttm
    near = [smile for smile in (problem.below, problem.above) if smile is not None]
    if near:
        closest = min(near, key=lambda smile: abs(math.log(smile.ttm / ttm)))
        scale = ttm / closest.ttm
        a, b, rho, m, sigma = closest.params
        # w(k) → scale·w(k/√scale): the same smile in standard deviations.
        return np.array([a * scale, b * math.sqrt(scale), rho, m * math.sqrt(scale), sigma * math.sqrt(scale)])
    observations = problem.selection.observations
    mids = 0.5 * (observations[:, LOW] + observations[:, HIGH])
    w = float(np.median(mids[np.isfinite(mids)])) ** 2 * ttm
    b = 0.02 * math.sqrt(w)
    return np.array([w * (1.0 - 0.02), b, 0.0, 0.0, math.sqrt(w)])


def _without_quotes(problem: SliceProblem) -> SurfaceSlice:
    return _last_good(problem, Reason.FIT_UNDERDETERMINED | Reason.NO_QUOTE, "none")


def _refused(problem: SliceProblem) -> SurfaceSlice:
    why = Reason.FIT_FAILED
    if not problem.determined:
        why |= Reason.FIT_UNDERDETERMINED
    return _last_good(problem, why, "refused")


def _last_good(problem: SliceProblem, why: Reason, path: FitPath) -> SurfaceSlice:
    """The last good smile, moved out of its neighbours' way where it must; none where there is none or no such way."""
    last = problem.last
    if last is None or last.svi is None:
        return _empty(problem, why)
    why |= Reason.FIT_LAST_GOOD
    params = np.array(last.svi.params)
    below, above, evidence = _params(problem.below), _params(problem.above), np.empty(9)
    if not certify_svi(params, below, above, evidence):
        why |= Reason.ARB_REPAIRED
        nothing = problem.selection.observations[:0]
        if not fit_certified(nothing, problem.ttm, below, above, params.copy(), _STIFFNESS[0], 0.1, params, evidence)[
            0
        ]:
            return _empty(problem, why & ~(Reason.FIT_LAST_GOOD | Reason.ARB_REPAIRED))
    return replace(
        last,
        smile=SviSmile(problem.ttm, problem.forward, SviParams(*params.tolist())),
        status=Status.DEGRADED,
        reasons=why,
        certificate=certificate_of(evidence),
        diagnostics=assess(problem.selection, problem.ttm, params, path, 0)[0],
        accepted=False,
        selection=problem.selection,
    )


def _empty(problem: SliceProblem, reasons: Reason) -> SurfaceSlice:
    selection = problem.selection
    diagnostics = FitDiagnostics("none", selection.mids, selection.row.size - selection.mids)
    return SurfaceSlice(
        problem.ttm, problem.forward, None, Status.INVALID, reasons, NO_CERTIFICATE, diagnostics, False,
        math.nan, math.nan, selection,
    )  # fmt: skip


def _params(smile: SviSmile | None) -> Array:
    return NONE if smile is None else np.array(smile.params)


@kernel
def _fit_and_assess(
    observations: Array,
    ttm: float,
    below: Array,
    above: Array,
    centre: Array,
    stiffness: Array,
    epsilon: float,
    params: Array,
    evidence: Array,
) -> tuple[int, int, Figures]:
    # One call from Python and not two: either costs as much as the work in it.
    certificates, steps = fit_certified(observations, ttm, below, above, centre, stiffness, epsilon, params, evidence)
    return certificates, steps, _assess(observations, ttm, params)


@kernel
def _assess(observations: Array, ttm: float, params: Array) -> Figures:
    """(share of mids inside, rmse in half-spreads, share of mids off, plausible near the money, mean robust loss)."""
    mids = inside = off = 0
    squares = 0.0
    nearest, nearest_off = np.empty(4), np.zeros(4)  # the mids nearest to the money, and whether the smile is off them
    for j in range(4):
        nearest[j] = math.inf
    for i in range(observations.shape[0]):
        low, high, width = observations[i, LOW], observations[i, HIGH], observations[i, WIDTH]
        if not (low > 0.0 and high < math.inf):
            continue
        w = value(params[0], params[1], params[2], params[3], params[4], observations[i, K])[0]
        sigma = math.sqrt(max(w, 0.0) / ttm)
        r = residual(sigma, low, high, width)
        mids += 1
        squares += r * r
        inside += low <= sigma <= high
        miss = 1.0 if abs(r) > max(OFF_HALF_SPREADS, OFF_SHARE * 0.5 * (low + high) / width) else 0.0
        off += miss > 0.0
        distance = abs(observations[i, K])
        for j in range(4):
            if distance < nearest[j]:
                nearest[j], distance = distance, nearest[j]
                nearest_off[j], miss = miss, nearest_off[j]
    loss = robust_loss(observations, ttm, params)
    if mids == 0:
        return math.nan, math.nan, 0.0, True, loss
    # One bad quote at the money may be missed, not most of them.
    missed = nearest_off[0] + nearest_off[1] + nearest_off[2] + nearest_off[3]
    return inside / mids, math.sqrt(squares / mids), off / mids, missed <= 0.5 * min(mids, 4), loss
