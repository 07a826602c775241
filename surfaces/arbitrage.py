"""Is a smile, or a pair of smiles, free of static arbitrage? The answer is a value that says what the evidence is.

Butterfly: Durrleman's g(k) >= 0 on the whole line, w > 0, and wings not steeper than Lee's bound. Raw SVI is a
hyperbola, so it has a rational parametrisation: with k = m + σ(t − 1/t)/2, t > 0,

    w = P/t,   w′ = S/(t² + 1),   w″ = 8bt³/(σ(t² + 1)³),
    P = σc₋/2 + a·t + σc₊/2·t²,   S = c₊t² − c₋,   k = M/t,   M = −σ/2 + m·t + σ/2·t²,
    16·P²·(t² + 1)³·g = N(t) = 4E²(t² + 1) − S²(4Pt + P²)(t² + 1) + 64·b·P²t³/σ,   E = 2P(t² + 1) − S·M

and g > 0 on the whole line exactly where the polynomial N of degree 10 is positive for all t > 0. Its Bernstein
coefficients on an interval bound it from below, and halving the interval makes the bound sharp; [1, ∞) is [0, 1] of
the reversed polynomial. So the whole line is decided in finitely many steps, with a margin for rounding.

Calendar: total variance does not fall with expiry at equal k. Both curves are convex, so on an interval the upper one
stays above its two end tangents and the lower one below its chord: a positive difference there proves the interval,
and halving decides the rest. The tails are decided by slopes and asymptotes.

Each proof is one-sided: what it cannot prove (an exact touch, for example) it refuses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pricer.kernels.jit import kernel
from pricer.surfaces.smile import Array, Smile
from pricer.surfaces.svi import LEE_SLOPE, SviSmile, durrleman, value, wings

# The smallest g and gap are looked for up to here; a strike at 55 times the forward is beyond any listing.
K_REPORTED = 4.0

_DEGREE = 10
_DEPTH = 48  # halvings of [0, 1] before a proof is given up
_PIECES = 4096  # of a half-line before a proof of calendar order is given up
_FIRST_PIECE = 0.25
_ROUNDING = 1e-15  # of a slope, relative
_GRID = 1601  # points over |k| <= K_REPORTED where the only evidence is a grid
_SHARPEST = 1e-100  # a smaller sigma leaves the doubles in what follows
_LOOKS = 24  # points among which the smallest g is looked for first

# Bernstein coefficients of [0, 1] from those of powers: C(j, i)/C(n, i).
_FROM_POWERS = np.array(
    [[math.comb(j, i) / math.comb(_DEGREE, i) for i in range(_DEGREE + 1)] for j in range(_DEGREE + 1)]
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Evidence on static arbitrage.

    `kind` is "exact" (decided on the whole line, up to rounding), "sufficient" (by conditions that prove the whole line
    where they hold, and decide nothing where they fail) or "grid" (looked at points only). `min_g` at `at_k` is
    the smallest Durrleman g seen for |k| <= 4; `min_calendar_gap` at `gap_at_k` the smallest difference of total
    variance to the next shorter expiry. NaN where a figure was not asked for.
    """

    kind: Literal["exact", "sufficient", "grid"]
    butterfly: bool
    calendar: bool
    min_g: float = math.nan
    at_k: float = math.nan
    min_calendar_gap: float = math.nan
    gap_at_k: float = math.nan

    @property
    def ok(self) -> bool:
        """Nothing that was asked for failed."""
        return self.butterfly and self.calendar

    def merged(self, other: Certificate) -> Certificate:
        """The evidence of both: the weaker kind, the smaller figures."""
        g, g_k = min((self.min_g, self.at_k), (other.min_g, other.at_k), key=_nan_last)
        gap, gap_k = min(
            (self.min_calendar_gap, self.gap_at_k), (other.min_calendar_gap, other.gap_at_k), key=_nan_last
        )
        kind = max(self.kind, other.kind, key=("exact", "sufficient", "grid").index)
        return Certificate(
            kind, self.butterfly and other.butterfly, self.calendar and other.calendar, g, g_k, gap, gap_k
        )


def _nan_last(pair: tuple[float, float]) -> float:
    return math.inf if math.isnan(pair[0]) else pair[0]


def check_butterfly(smile: Smile) -> Certificate:
    """Durrleman's condition on the whole line for raw SVI and eSSVI, on 1,601 points of |k| <= 4 for others."""
    svi = _as_svi(smile)
    if svi is not None:
        proved, min_g, at_k = butterfly_svi(*svi.params)
        return Certificate("exact", proved, True, min_g, at_k)
    k = np.linspace(-K_REPORTED, K_REPORTED, _GRID)
    g = np.asarray(smile.durrleman_g(k))
    worst = int(np.argmin(g))  # a NaN counts as the smallest
    return Certificate("grid", bool(g[worst] >= 0.0), True, float(g[worst]), float(k[worst]))


def check_calendar(lower: Smile, upper: Smile) -> Certificate:
    """Is total variance of `upper` (the longer expiry) above that of `lower` at every k?"""
    low, high = _as_svi(lower), _as_svi(upper)
    if low is not None and high is not None:
        proved, gap, at_k = calendar_svi(*low.params, *high.params)
        return Certificate("exact", True, proved, min_calendar_gap=gap, gap_at_k=at_k)
    k = np.linspace(-K_REPORTED, K_REPORTED, _GRID)
    gaps = np.asarray(upper.total_variance(k)) - np.asarray(lower.total_variance(k))
    worst = int(np.argmin(gaps))
    return Certificate(
        "grid", True, bool(gaps[worst] >= 0.0), min_calendar_gap=float(gaps[worst]), gap_at_k=float(k[worst])
    )


def _as_svi(smile: Smile) -> SviSmile | None:
    from pricer.surfaces.ssvi import EssviSmile  # which itself asks for certificates

    if isinstance(smile, EssviSmile):
        return smile.svi()
    return smile if isinstance(smile, SviSmile) else None


@kernel
def butterfly_svi(a: float, b: float, rho: float, m: float, sigma: float) -> tuple[bool, float, float]:
    """(proved free of butterfly arbitrage on the whole line, smallest g seen for |k| <= 4, its k)."""
    min_g, at_k = _smallest_g(a, b, rho, m, sigma)
    return _butterfly_proved(a, b, rho, m, sigma), min_g, at_k


@kernel
def calendar_svi(
    a1: float, b1: float, rho1: float, m1: float, sigma1: float,
    a2: float, b2: float, rho2: float, m2: float, sigma2: float,
) -> tuple[bool, float, float]:  # fmt: skip
    """(second proved above the first on the whole line, smallest difference seen for |k| <= 4, its k)."""
    if not math.isfinite(a1 + b1 + rho1 + m1 + sigma1 + a2 + b2 + rho2 + m2 + sigma2):
        return False, math.nan, math.nan
    right, gap_right, at_right, reach_right = _above_on_the_right(a1, b1, rho1, m1, sigma1, a2, b2, rho2, m2, sigma2)
    # The left half-line is the right one of the mirrored smiles.
    left, gap_left, at_left, reach_left = _above_on_the_right(a1, b1, -rho1, -m1, sigma1, a2, b2, -rho2, -m2, sigma2)
    gap, at_k, reach = (gap_left, -at_left, reach_left) if gap_left < gap_right else (gap_right, at_right, reach_right)
    while reach > 1e-3:
        reach *= 0.5
        for near in (max(at_k - reach, -K_REPORTED), min(at_k + reach, K_REPORTED)):
            found = value(a2, b2, rho2, m2, sigma2, near)[0] - value(a1, b1, rho1, m1, sigma1, near)[0]
            if found < gap:
                gap, at_k = found, near
    return right and left, gap, at_k


@kernel
def certify_svi(params: Array, below: Array, above: Array, evidence: Array) -> bool:
    """Is a smile free of butterfly arbitrage, and between its neighbours (empty where there is none)?

    `evidence` receives three flags (butterfly, above the lower, below the upper), then three pairs of the smallest
    figure and its k: g, gap to the lower one, gap to the upper one (NaN where there is none).
    """
    own = (params[0], params[1], params[2], params[3], params[4])
    proved, evidence[3], evidence[4] = butterfly_svi(*own)
    over = under = True
    for i in range(5, 9):
        evidence[i] = math.nan
    if below.size:
        over, evidence[5], evidence[6] = calendar_svi(below[0], below[1], below[2], below[3], below[4], *own)
    if above.size:
        under, evidence[7], evidence[8] = calendar_svi(*own, above[0], above[1], above[2], above[3], above[4])
    evidence[0], evidence[1], evidence[2] = proved, over, under
    return proved and over and under


@kernel
def proved_svi(params: Array, below: Array, above: Array) -> bool:
    """The answer of `certify_svi` without its figures."""
    own = (params[0], params[1], params[2], params[3], params[4])
    if not _butterfly_proved(*own):
        return False
    if below.size and not calendar_svi(below[0], below[1], below[2], below[3], below[4], *own)[0]:
        return False
    return not above.size or calendar_svi(*own, above[0], above[1], above[2], above[3], above[4])[0]


@kernel
def _smallest_g(a: float, b: float, rho: float, m: float, sigma: float) -> tuple[float, float]:
    if not sigma > _SHARPEST:
        return math.nan, math.nan  # no hyperbola, and no proof
    # Even steps of ln t in k = m + σ(t − 1/t)/2: fine around the bend, coarse in the straight wings.
    low = math.asinh((-K_REPORTED - m) / sigma)
    high = math.asinh((K_REPORTED - m) / sigma)
    first, last = math.exp(low), math.exp(high)
    t, ratio = first, math.exp((high - low) / (_LOOKS - 1))
    best, best_t = math.inf, 1.0
    for _ in range(_LOOKS):
        g = _g_at(a, b, rho, m, sigma, t)
        if not g >= best:
            best, best_t = g, t
        t *= ratio
    while ratio > 1.0 + 1e-3:
        ratio = math.sqrt(ratio)
        for factor in (1.0 / ratio, ratio):
            t = min(max(best_t * factor, first), last)
            g = _g_at(a, b, rho, m, sigma, t)
            if g < best:
                best, best_t = g, t
    return best, m + 0.5 * sigma * (best_t - 1.0 / best_t)


@kernel
def _g_at(a: float, b: float, rho: float, m: float, sigma: float, t: float) -> float:
    k = m + 0.5 * sigma * (t - 1.0 / t)
    w, slope, bend = value(a, b, rho, m, sigma, k)
    return durrleman(w, slope, bend, k)


@kernel
def _butterfly_proved(a: float, b: float, rho: float, m: float, sigma: float) -> bool:
    right, left = wings(b, rho)
    finite = math.isfinite(a + b + rho + m + sigma)
    if not finite or sigma <= _SHARPEST or right < 0.0 or left < 0.0 or right > LEE_SLOPE or left > LEE_SLOPE:
        return False
    if a + sigma * math.sqrt(right * left) <= 0.0:  # the smallest w
        return False
    if b == 0.0:
        return True  # flat: g = 1
    numerator = np.zeros(_DEGREE + 1)
    _g_numerator(a, right, left, m, sigma, numerator)
    stack = np.empty((_DEPTH + 1, _DEGREE + 1))
    depth = np.empty(_DEPTH + 1, dtype=np.int64)
    # t in [0, 1], then 1/t.
    return _positive_on_unit(numerator, False, stack, depth) and _positive_on_unit(numerator, True, stack, depth)


@kernel
def _g_numerator(a: float, right: float, left: float, m: float, sigma: float, out: Array) -> None:
    """Add the coefficients of N(t), lowest power first, to `out` (the module's docstring has the formula)."""
    p0, p1, p2 = 0.5 * sigma * left, a, 0.5 * sigma * right
    # E = 2P(t² + 1) − S·M with S = right·t² − left, M = −σ/2 + m·t + σ/2·t².
    e = (
        2.0 * p0 - 0.5 * sigma * left,
        2.0 * p1 + left * m,
        2.0 * (p0 + p2) + 0.5 * sigma * (left + right),
        2.0 * p1 - right * m,
        2.0 * p2 - 0.5 * sigma * right,
    )
    square = (p0 * p0, 2.0 * p0 * p1, p1 * p1 + 2.0 * p0 * p2, 2.0 * p1 * p2, p2 * p2)  # P²
    inner = (square[0], square[1] + 4.0 * p0, square[2] + 4.0 * p1, square[3] + 4.0 * p2, square[4])  # P² + 4Pt
    slopes = (left * left, -2.0 * left * right, right * right)  # S², in powers of t²
    per_sigma = 32.0 * (right + left) / sigma
    for i in range(5):
        out[i + 3] += per_sigma * square[i]
        for j in range(5):
            out[i + j] += 4.0 * e[i] * e[j]
            out[i + j + 2] += 4.0 * e[i] * e[j]
        for j in range(3):
            out[i + 2 * j] -= slopes[j] * inner[i]
            out[i + 2 * j + 2] -= slopes[j] * inner[i]


@kernel
def _positive_on_unit(power: Array, reverse: bool, stack: Array, depth: npt.NDArray[np.int64]) -> bool:
    """Is the polynomial with these coefficients (lowest power first, or highest with `reverse`) positive on [0, 1]?"""
    n = power.size
    depth[0] = 0
    largest = _to_bernstein(power, reverse, stack)
    # Rounding of the conversion and of all halvings stays below this share of the largest coefficient.
    margin = 64.0 * 2.2e-16 * largest
    top = 0
    while top >= 0:
        smallest = math.inf
        for j in range(n):
            smallest = min(smallest, stack[top, j])
        if smallest > margin:
            top -= 1
        elif depth[top] == _DEPTH or not (stack[top, 0] > margin and stack[top, n - 1] > margin):
            return False  # the ends are values of the polynomial itself
        else:
            _halve(stack, top)
            depth[top] += 1
            depth[top + 1] = depth[top]
            top += 1
    return True


@kernel
def _to_bernstein(power: Array, reverse: bool, stack: Array) -> float:
    """b_j = Σ_i C(j, i)/C(n, i)·a_i into the first row of `stack`; the largest of them by size."""
    n = power.size - 1
    largest = 0.0
    for j in range(n + 1):
        total = 0.0
        for i in range(j + 1):
            total += _FROM_POWERS[j, i] * power[n - i if reverse else i]
        stack[0, j] = total
        if not abs(total) < math.inf:
            return math.inf  # no proof
        largest = max(largest, abs(total))
    return largest


@kernel
def _halve(stack: Array, top: int) -> None:
    """De Casteljau at the middle: the left half stays in row `top`, the right half goes to the row above."""
    n = stack.shape[1]
    for j in range(n):
        stack[top + 1, j] = stack[top, j]
    for level in range(1, n):
        for j in range(n - level):
            stack[top + 1, j] = 0.5 * (stack[top + 1, j] + stack[top + 1, j + 1])
        stack[top, level] = stack[top + 1, 0]


@kernel
def _above_on_the_right(
    a1: float, b1: float, rho1: float, m1: float, sigma1: float,
    a2: float, b2: float, rho2: float, m2: float, sigma2: float,
) -> tuple[bool, float, float, float]:  # fmt: skip
    """(second proved above the first for all k >= 0; the smallest difference seen for k <= 4, its k, how far around).

    Pieces that a proof needs are as long as it lets them be: doubled after each that is proved, halved until it is.
    """
    slope_limit1, slope_limit2 = b1 * (1.0 + rho1), b2 * (1.0 + rho2)
    # More than rounding, without which slopes that look equal may cross where k is a million.
    steep = slope_limit1 + _ROUNDING * (slope_limit1 + slope_limit2)
    parallel = b1 == b2 and rho1 == rho2
    k, width = 0.0, _FIRST_PIECE
    # The lower smile is raised by more than what rounding may hide.
    doubt = _ROUNDING * (abs(a1) + abs(a2) + 2.0 * b1 * (abs(m1) + sigma1) + 2.0 * b2 * (abs(m2) + sigma2))
    rise = _ROUNDING * 2.0 * (b1 + b2)
    low1 = value(a1, b1, rho1, m1, sigma1, k)[0] + doubt
    low2, tangent2, _ = value(a2, b2, rho2, m2, sigma2, k)
    gap, at_k, reach = low2 - low1, 0.0, width
    proved = False
    for _ in range(_PIECES):
        if k >= K_REPORTED:
            if tangent2 >= steep:
                proved = low2 > low1  # from here on the upper one rises at least as fast
                break
            asymptote = a2 + slope_limit2 * (k - m2)
            if (slope_limit2 >= steep or parallel) and asymptote > low1:
                proved = True  # its asymptote is already above, and rises as fast
                break
            if k > 1e9:
                break
        else:
            width = min(width, K_REPORTED - k)
        end = k + width
        high1 = value(a1, b1, rho1, m1, sigma1, end)[0] + doubt + rise * end
        high2, end2, _ = value(a2, b2, rho2, m2, sigma2, end)
        if high2 - high1 < gap and end <= K_REPORTED:
            gap, at_k, reach = high2 - high1, end, width
        if not high2 > high1 and k >= K_REPORTED:
            break
        if _piece_above(low1, high1, low2, tangent2, high2, end2, width):
            k, low1, low2, tangent2 = end, high1, high2, end2
            width *= 2.0
        elif not gap > 0.0 or width < 1e-12:
            break  # they cross, or touch
        else:
            width *= 0.5
    if not proved and not gap > 0.0:
        gap, at_k, reach = _deepest(a1, b1, rho1, m1, sigma1, a2, b2, rho2, m2, sigma2)
    return proved, gap, at_k, reach


@kernel
def _deepest(
    a1: float, b1: float, rho1: float, m1: float, sigma1: float,
    a2: float, b2: float, rho2: float, m2: float, sigma2: float,
) -> tuple[float, float, float]:  # fmt: skip
    """Of two smiles that cross: the smallest difference seen on 0 <= k <= 4, its k, and how far the next points are."""
    gap, at_k, reach, k = math.inf, 0.0, 0.0, 0.0
    while k <= K_REPORTED:
        found = value(a2, b2, rho2, m2, sigma2, k)[0] - value(a1, b1, rho1, m1, sigma1, k)[0]
        step = max(1.0 / 32.0, 0.2 * k)
        if found < gap:
            gap, at_k, reach = found, k, step
        k += step
    return gap, at_k, reach


@kernel
def _piece_above(
    low1: float, high1: float, low2: float, tangent2: float, high2: float, end2: float, width: float
) -> bool:
    """Do the end tangents of the upper curve stay above the chord of the lower one?"""
    if not (low2 > low1 and high2 > high1):
        return False
    bend = end2 - tangent2
    if bend <= 0.0:
        return True  # straight: the ends decide
    # Where the two tangents meet, from the left end.
    meet = min(max((low2 - high2 + end2 * width) / bend, 0.0), width)
    return low2 + tangent2 * meet > low1 + (high1 - low1) * (meet / width)


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One certificate; all kernels of this module."""
    params, none = np.array([0.024, 0.01, 0.0, 0.0, 0.1]), np.empty(0)
    return [("certify_svi", lambda: certify_svi(params, none, none, np.empty(9)))]
