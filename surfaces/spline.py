"""A smoothing spline: total variance as a natural cubic spline in k, smoothed by cross-validation, wings straight.

Minimised is Σωᵢ(yᵢ − w(kᵢ))² + λ·∫w″², with knots at the mids. A natural spline is straight beyond its last knots, so
the wings are Lee's as soon as its end slopes lie in [−2, 0] on the left and [0, 2] on the right: an equality where the
free solution breaks that. λ minimises generalised cross-validation (Craven and Wahba 1979) with each degree of freedom
counted 1.4 times (Kim and Gu 2004), which does not follow noise. Green and Silverman (1994), sections 2.3 and 3.2, have
Reinsch's algorithm for it: a pentadiagonal system, and the trace of the smoother from the same factors.

Why not Fengler (2009), who smooths call prices by a quadratic programme that forbids arbitrage between the quotes: his
price runs straight into intrinsic value outside them, where it has no volatility and no w′, w″; a contract on the whole
line needs wings in w, and once they are there the guarantee is gone where it is needed most. What is to be free of
arbitrage is SVI with local terms; this one follows the quotes with the fewest assumptions, and the certificate tells.

Bounds (one-sided quotes) do not enter: they have no place on the curve until they are broken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pricer.kernels.jit import kernel
from pricer.surfaces.curve import CurveSmile
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import LEE_SLOPE
from pricer.surfaces.svi_free import robust
from pricer.surfaces.svi_normal import FAR

_COUNTED = 1.4  # Kim and Gu (2004)

# λ·(a typical weight)⁻¹, with k in standard deviations, is looked for between these powers of ten, four to a decade.
# The lower one resolves a tenth of a standard deviation: what is narrower is no smile, and follows single quotes.
_LOG_LOW, _LOG_HIGH, _PER_DECADE = -3.0, 4.0, 4
_WARM_REACH = 2  # of those steps, around the last λ

_ROUNDS = 6  # of new robust weights
# A curve of as many parameters as quotes could follow one that is far off, so it has next to no weight.
_FAR_OFF = 1e-3

_APART = 1e-6  # standard deviations between knots, at least: nearer ones are one


@dataclass(frozen=True, slots=True)
class SplineSmile(CurveSmile):
    """One expiry's smile by its `knots` (rising k), `values` w and `bends` w″ there; the outer two bends are 0.

    With one knot it is flat. `smoothing` is ln λ in the units of the fit, for a warm start of the next.
    """

    knots: tuple[float, ...]
    values: tuple[float, ...]
    bends: tuple[float, ...]
    smoothing: float = math.nan

    @classmethod
    def through(cls, ttm: float, forward: float, knots: Sequence[float], values: Sequence[float]) -> SplineSmile:
        """The natural spline through these values of w, at three or more rising knots."""
        h, w = np.diff(knots), np.asarray(values, dtype=np.float64)
        inner = (np.diag(h[:-1] + h[1:]) * 2.0 + np.diag(h[1:-1], 1) + np.diag(h[1:-1], -1)) / 6.0
        bends = np.linalg.solve(inner, np.diff(np.diff(w) / h))
        return cls(ttm, forward, tuple(knots), tuple(values), (0.0, *bends.tolist(), 0.0))

    def curve(self, k: Array) -> Array:
        """Rows w, w′ and w″ at each k."""
        out = np.empty((3, k.size))
        _curve_chain(np.array(self.knots), np.array(self.values), np.array(self.bends), k, out)
        return out

    @property
    def wing_slopes(self) -> tuple[float, float]:
        """By how much w rises per unit of k left of the first knot and right of the last."""
        left, right = _end_slopes(np.array(self.knots), np.array(self.values), np.array(self.bends))
        return -left, right

    def at(self, forward: float, ttm: float) -> SplineSmile:
        """The same sigma(k) for another forward and time to maturity: w scales with ttm."""
        scale = ttm / self.ttm
        values, bends = (tuple(scale * number for number in part) for part in (self.values, self.bends))
        return SplineSmile(ttm, forward, self.knots, values, bends, self.smoothing)


@kernel
def _curve_chain(knots: Array, values: Array, bends: Array, k: Array, out: Array) -> None:
    left, right = _end_slopes(knots, values, bends)
    last = knots.size - 1
    for i in range(k.size):
        x = k[i]
        if math.isnan(x):
            out[0, i] = out[1, i] = out[2, i] = math.nan
        elif x <= knots[0]:
            out[0, i], out[1, i], out[2, i] = values[0] + left * (x - knots[0]), left, 0.0
        elif x >= knots[last]:
            out[0, i], out[1, i], out[2, i] = values[last] + right * (x - knots[last]), right, 0.0
        else:
            j = np.searchsorted(knots, x, side="right") - 1
            h = knots[j + 1] - knots[j]
            a, b = (knots[j + 1] - x) / h, (x - knots[j]) / h
            low, high = bends[j], bends[j + 1]
            out[0, i] = a * values[j] + b * values[j + 1] - a * b * h * h / 6.0 * ((1.0 + a) * low + (1.0 + b) * high)
            out[1, i] = (values[j + 1] - values[j]) / h + h / 6.0 * (
                (3.0 * b * b - 1.0) * high - (3.0 * a * a - 1.0) * low
            )
            out[2, i] = a * low + b * high


@kernel
def _end_slopes(knots: Array, values: Array, bends: Array) -> tuple[float, float]:
    last = knots.size - 1
    if last == 0:
        return 0.0, 0.0
    h, h_last = knots[1] - knots[0], knots[last] - knots[last - 1]
    left = (values[1] - values[0]) / h - h / 6.0 * bends[1]
    right = (values[last] - values[last - 1]) / h_last + h_last / 6.0 * bends[last - 1]
    return left, right


@kernel
def fit_spline(
    observations: Array, ttm: float, warm: float, knots: Array, values: Array, bends: Array
) -> tuple[int, float]:
    """Fit the mids of `observations`; (number of knots written into the three arrays, ln λ). Zero knots: no mids.

    `warm` is ln λ of the last fit, or NaN. Fewer than three mids give a flat smile at their mean.
    """
    n, level = _knots(observations, ttm, knots)
    if n == 0:
        return 0, math.nan
    if n < 3:
        values[0], bends[0], knots[0] = level, 0.0, 0.0
        return 1, math.nan
    unit = math.sqrt(level)
    for i in range(n):
        knots[i] /= unit
    target, trust = np.empty(n), np.empty(n)
    band, work = np.empty((5, n)), np.empty((4, n))
    for i in range(n):
        values[i] = math.nan
    log_lambda = warm
    for sweep in range(_ROUNDS):
        typical = _reweigh(observations, ttm, unit, level, knots[:n], values, sweep == 0, target, trust)
        if sweep < 3:  # then the weights have settled, and so has λ
            log_lambda = _cross_validated(knots[:n], target, trust, typical, warm, band, work, values, bends)
        _constrained(knots[:n], target, trust, typical * math.exp(log_lambda), unit, level, band, work, values, bends)
    for i in range(n):
        values[i] *= level
        bends[i] *= level / (unit * unit)
        knots[i] *= unit
    return n, log_lambda


@kernel
def _knots(observations: Array, ttm: float, knots: Array) -> tuple[int, float]:
    """The distinct k of the mids, and the mean w near the money as the unit of all else."""
    n, total, mass = 0, 0.0, 0.0
    for i in range(observations.shape[0]):
        low, high, k = observations[i, LOW], observations[i, HIGH], observations[i, K]
        if not (low > 0.0 and high < math.inf):
            continue
        weight = observations[i, WEIGHT] / (1.0 + abs(k) / (0.1 * math.sqrt(ttm)))
        total += weight * (0.5 * (low + high)) ** 2 * ttm
        mass += weight
        if n == 0 or k - knots[n - 1] > _APART * math.sqrt(ttm):
            knots[n] = k
            n += 1
    return n, total / mass if mass > 0.0 else math.nan


@kernel
def _reweigh(
    observations: Array,
    ttm: float,
    unit: float,
    level: float,
    knots: Array,
    values: Array,
    first: bool,
    target: Array,
    trust: Array,
) -> float:
    """Targets in w/level and their weights at every knot, as the robust loss weighs them; the median-like weight."""
    for j in range(knots.size):
        target[j] = trust[j] = 0.0
    at = 0
    for i in range(observations.shape[0]):
        low, high, width = observations[i, LOW], observations[i, HIGH], observations[i, WIDTH]
        if not (low > 0.0 and high < math.inf):
            continue
        while at + 1 < knots.size and abs(knots[at + 1] - observations[i, K] / unit) < abs(
            knots[at] - observations[i, K] / unit
        ):
            at += 1
        mid = 0.5 * (low + high)
        sigma = _median_near(observations, i) if first else math.sqrt(max(values[at] * level, 1e-12) / ttm)
        per = level / (ttm * (sigma + mid) * width)
        r = (sigma - mid) / width
        weight = observations[i, WEIGHT] * per * per * robust(r)[1] * (1.0 if abs(r) <= FAR else _FAR_OFF)
        target[at] += weight * mid * mid * ttm / level
        trust[at] += weight
    total = 0.0
    for j in range(knots.size):
        target[j] /= trust[j]
        total += math.log(trust[j])
    return math.exp(total / knots.size)


@kernel
def _median_near(observations: Array, i: int) -> float:
    """The median of the mid of observation i and of up to two on each side: what it is held against at first."""
    near = np.empty(5)
    count = 0
    for j in range(max(i - 2, 0), min(i + 3, observations.shape[0])):
        low, high = observations[j, LOW], observations[j, HIGH]
        if low > 0.0 and high < math.inf:
            near[count] = 0.5 * (low + high)
            count += 1
    return float(np.median(near[:count]))


@kernel
def _cross_validated(
    knots: Array,
    target: Array,
    trust: Array,
    typical: float,
    warm: float,
    band: Array,
    work: Array,
    values: Array,
    bends: Array,
) -> float:
    """ln(λ/typical) that minimises generalised cross-validation, on a grid (around `warm` where that is a number)."""
    step = math.log(10.0) / _PER_DECADE
    first, count = _LOG_LOW * math.log(10.0), int((_LOG_HIGH - _LOG_LOW) * _PER_DECADE) + 1
    if not math.isnan(warm):
        first, count = warm - _WARM_REACH * step, 2 * _WARM_REACH + 1
    best, at = math.inf, first
    n = knots.size
    for j in range(count):
        strength = first + j * step
        freedom = _smoothed(knots, target, trust, typical * math.exp(strength), band, work, values, bends)
        misses = 0.0
        for i in range(n):
            misses += trust[i] * (target[i] - values[i]) ** 2
        share = 1.0 - _COUNTED * freedom / n
        score = misses / (share * share) if share > 0.0 else math.inf
        if score < best:
            best, at = score, strength
    if best == math.inf:  # too few quotes for any: the smoothest
        return _LOG_HIGH * math.log(10.0)
    return min(max(at, _LOG_LOW * math.log(10.0)), _LOG_HIGH * math.log(10.0))


@kernel
def _smoothed(
    knots: Array, target: Array, trust: Array, strength: float, band: Array, work: Array, values: Array, bends: Array
) -> float:
    """The smoothing spline of `target` into `values` and `bends`; the trace of the smoother.

    (R + λQᵀW⁻¹Q)·γ = Qᵀy,  w = y − λW⁻¹Qγ. Column j of Q has 1/h_{j−1}, −1/h_{j−1} − 1/h_j, 1/h_j.
    """
    n = knots.size
    diagonal, one, two = band[0], band[1], band[2]  # of L·D·Lᵀ: D, and the two subdiagonals of L
    for j in range(1, n - 1):
        h, ahead = knots[j] - knots[j - 1], knots[j + 1] - knots[j]
        low, middle, high = 1.0 / h, -1.0 / h - 1.0 / ahead, 1.0 / ahead
        diagonal[j] = (h + ahead) / 3.0 + strength * (
            low * low / trust[j - 1] + middle * middle / trust[j] + high * high / trust[j + 1]
        )
        one[j] = two[j] = 0.0
        if j + 1 < n - 1:
            further = 1.0 / (knots[j + 2] - knots[j + 1])
            one[j] = ahead / 6.0 + strength * (middle * high / trust[j] - high * (high + further) / trust[j + 1])
            if j + 2 < n - 1:
                two[j] = strength * high * further / trust[j + 1]
        bends[j] = (target[j + 1] - target[j]) * high - (target[j] - target[j - 1]) * low
    bends[0] = bends[n - 1] = 0.0
    for j in range(1, n - 1):
        pivot, first, second = diagonal[j], one[j], two[j]
        one[j], two[j] = first / pivot, second / pivot
        if j + 1 < n - 1:
            diagonal[j + 1] -= first * one[j]
            one[j + 1] -= first * two[j]
            bends[j + 1] -= one[j] * bends[j]
        if j + 2 < n - 1:
            diagonal[j + 2] -= second * two[j]
            bends[j + 2] -= two[j] * bends[j]
    inverse, inverse1, inverse2 = work[0], work[1], work[2]  # the central diagonals of the inverse
    for j in range(n - 2, 0, -1):
        bends[j] /= diagonal[j]
        inverse[j], inverse1[j], inverse2[j] = 1.0 / diagonal[j], 0.0, 0.0
        if j + 1 < n - 1:
            bends[j] -= one[j] * bends[j + 1]
            below1 = inverse1[j + 1] if j + 2 < n - 1 else 0.0
            inverse1[j] = -one[j] * inverse[j + 1] - two[j] * below1
            if j + 2 < n - 1:
                bends[j] -= two[j] * bends[j + 2]
                inverse2[j] = -one[j] * below1 - two[j] * inverse[j + 2]
            inverse[j] -= one[j] * inverse1[j] + two[j] * inverse2[j]
    freedom = float(n)
    for i in range(n):
        pull = loss = 0.0
        # Row i of Q has entries in columns i − 1, i and i + 1.
        before = 1.0 / (knots[i] - knots[i - 1]) if i > 0 else 0.0
        after = 1.0 / (knots[i + 1] - knots[i]) if i + 1 < n else 0.0
        a = before if i >= 2 else 0.0
        b = -before - after if 1 <= i <= n - 2 else 0.0
        c = after if i <= n - 3 else 0.0
        if i >= 2:
            pull += a * bends[i - 1]
            loss += a * a * inverse[i - 1] + 2.0 * a * b * inverse1[i - 1] + 2.0 * a * c * inverse2[i - 1]
        if 1 <= i <= n - 2:
            pull += b * bends[i]
            loss += b * b * inverse[i] + 2.0 * b * c * inverse1[i]
        if i <= n - 3:
            pull += c * bends[i + 1]
            loss += c * c * inverse[i + 1]
        values[i] = target[i] - strength / trust[i] * pull
        freedom -= strength / trust[i] * loss
    return freedom


@kernel
def _constrained(
    knots: Array,
    target: Array,
    trust: Array,
    strength: float,
    unit: float,
    level: float,
    band: Array,
    work: Array,
    values: Array,
    bends: Array,
) -> None:
    """The spline of this λ with end slopes inside their bounds.

    Under an equality ℓ(w) = s the minimum moves along H⁻¹ℓ, H = W + λQR⁻¹Qᵀ: the smoothing spline of the data W⁻¹ℓ.
    """
    n = knots.size
    _smoothed(knots, target, trust, strength, band, work, values, bends)
    limit = LEE_SLOPE * unit / level  # in the scaled coordinates
    held_left = held_right = False
    data, way, way_bends = np.empty((2, n)), np.empty((2, n)), np.empty((2, n))
    for _ in range(2):
        left, right = _end_slopes(knots, values, bends)
        goal_left, goal_right = min(max(left, -limit), 0.0), min(max(right, 0.0), limit)
        slack = 1e-12 * limit
        if abs(left - goal_left) <= slack and abs(right - goal_right) <= slack:
            return
        held_left = held_left or abs(left - goal_left) > slack
        held_right = held_right or abs(right - goal_right) > slack
        slopes = np.zeros((2, 2))
        for side in range(2):
            _slope_functional(knots, side == 1, work, data[side])
            for i in range(n):
                data[side, i] /= trust[i]
            _smoothed(knots, data[side], trust, strength, band, work, way[side], way_bends[side])
            slopes[side, 0], slopes[side, 1] = _end_slopes(knots, way[side], way_bends[side])
        move_left = move_right = 0.0
        if held_left and held_right:
            det = slopes[0, 0] * slopes[1, 1] - slopes[0, 1] * slopes[1, 0]
            off_left, off_right = goal_left - left, goal_right - right
            move_left = (off_left * slopes[1, 1] - off_right * slopes[1, 0]) / det
            move_right = (off_right * slopes[0, 0] - off_left * slopes[0, 1]) / det
        elif held_left:
            move_left = (goal_left - left) / slopes[0, 0]
        else:
            move_right = (goal_right - right) / slopes[1, 1]
        for i in range(n):
            values[i] += move_left * way[0, i] + move_right * way[1, i]
            bends[i] += move_left * way_bends[0, i] + move_right * way_bends[1, i]


@kernel
def _slope_functional(knots: Array, at_the_right: bool, work: Array, out: Array) -> None:
    """`out` with Σ out·values = the end slope of the natural spline through them: by Qᵀ, R⁻¹ and the end formula."""
    n = knots.size
    end = n - 1 if at_the_right else 0
    near = n - 2 if at_the_right else 1
    h = abs(knots[end] - knots[near])
    sign = 1.0 if at_the_right else -1.0
    # R·x = e_near (tridiagonal); then ±h/6·Q·x beside the difference quotient.
    x, pivot = work[0], work[1]
    for j in range(1, n - 1):
        pivot[j] = (knots[j + 1] - knots[j - 1]) / 3.0
        x[j] = 1.0 if j == near else 0.0
    for j in range(2, n - 1):
        off = (knots[j] - knots[j - 1]) / 6.0
        pivot[j] -= off * off / pivot[j - 1]
        x[j] -= off / (pivot[j - 1]) * x[j - 1]
    for j in range(n - 2, 0, -1):
        if j + 1 < n - 1:
            x[j] -= (knots[j + 1] - knots[j]) / 6.0 * x[j + 1]
        x[j] /= pivot[j]
    for i in range(n):
        out[i] = 0.0
    for j in range(1, n - 1):
        low, high = 1.0 / (knots[j] - knots[j - 1]), 1.0 / (knots[j + 1] - knots[j])
        out[j - 1] += sign * h / 6.0 * x[j] * low
        out[j] -= sign * h / 6.0 * x[j] * (low + high)
        out[j + 1] += sign * h / 6.0 * x[j] * high
    out[end] += sign / h
    out[near] -= sign / h


def fit_smile(
    observations: Array, ttm: float, forward: float, *, last: SplineSmile | None = None
) -> SplineSmile | None:
    """The smoothing spline of observations (those of `quotes.Selection`, in order of k); warm from `last`.

    None where there is no two-sided observation, or the spline would have no positive variance somewhere.
    """
    size = observations.shape[0]
    knots, values, bends = np.empty(size), np.empty(size), np.empty(size)
    warm = math.nan if last is None else last.smoothing
    n, smoothing = fit_spline(observations, ttm, warm, knots, values, bends)
    if n == 0:
        return None
    found = SplineSmile(
        ttm, forward, tuple(knots[:n].tolist()), tuple(values[:n].tolist()), tuple(bends[:n].tolist()), smoothing
    )
    between = np.linspace(knots[0], knots[n - 1], 8 * n)
    return found if bool(np.all(found.curve(between)[0] > 0.0)) else None
