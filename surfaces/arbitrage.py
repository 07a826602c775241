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

from pricer.kernels.jit import kernel
from pricer.surfaces.smile import Array, Smile
from pricer.surfaces.svi import LEE_SLOPE, SviSmile, durrleman, value, wings

# The smallest g and gap are looked for up to here; a strike at 55 times the forward is beyond any listing.
K_REPORTED = 4.0

_DEGREE = 10
_DEPTH = 48  # halvings of [0, 1] before a proof is given up
_GRID = 1601  # points over |k| <= K_REPORTED where the only evidence is a grid


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
    """Durrleman's condition on the whole line for raw SVI, on 1,601 points of |k| <= 4 for any other smile."""
    if isinstance(smile, SviSmile):
        proved, min_g, at_k = butterfly_svi(*smile.params)
        return Certificate("exact", proved, True, min_g, at_k)
    k = np.linspace(-K_REPORTED, K_REPORTED, _GRID)
    g = np.asarray(smile.durrleman_g(k))
    worst = int(np.argmin(g))  # a NaN counts as the smallest
    return Certificate("grid", bool(g[worst] >= 0.0), True, float(g[worst]), float(k[worst]))


def check_calendar(lower: Smile, upper: Smile) -> Certificate:
    """Is total variance of `upper` (the longer expiry) above that of `lower` at every k?"""
    if isinstance(lower, SviSmile) and isinstance(upper, SviSmile):
        proved, gap, at_k = calendar_svi(*lower.params, *upper.params)
        return Certificate("exact", True, proved, min_calendar_gap=gap, gap_at_k=at_k)
    k = np.linspace(-K_REPORTED, K_REPORTED, _GRID)
    gaps = np.asarray(upper.total_variance(k)) - np.asarray(lower.total_variance(k))
    worst = int(np.argmin(gaps))
    return Certificate(
        "grid", True, bool(gaps[worst] >= 0.0), min_calendar_gap=float(gaps[worst]), gap_at_k=float(k[worst])
    )


@kernel
def butterfly_svi(a: float, b: float, rho: float, m: float, sigma: float) -> tuple[bool, float, float]:
    """(proved free of butterfly arbitrage on the whole line, smallest g seen for |k| <= 4, its k)."""
    min_g, at_k = _smallest_g(a, b, rho, m, sigma)
    right, left = wings(b, rho)
    finite = math.isfinite(a + b + rho + m + sigma)
    if not finite or sigma <= 0.0 or right < 0.0 or left < 0.0 or right > LEE_SLOPE or left > LEE_SLOPE:
        return False, min_g, at_k
    if a + sigma * math.sqrt(right * left) <= 0.0:  # the smallest w
        return False, min_g, at_k
    if b == 0.0:
        return True, min_g, at_k  # flat: g = 1
    numerator = np.empty(_DEGREE + 1)
    _g_numerator(a, right, left, m, sigma, numerator)
    proved = True
    for reverse in (False, True):  # t in [0, 1], then 1/t
        proved = proved and _positive_on_unit(numerator, reverse)
    return proved, min_g, at_k


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
def _smallest_g(a: float, b: float, rho: float, m: float, sigma: float) -> tuple[float, float]:
    # Even steps of ln t in k = m + σ(t − 1/t)/2: fine around the bend, coarse in the straight wings.
    steps = 80
    low = math.asinh((-K_REPORTED - m) / sigma)
    high = math.asinh((K_REPORTED - m) / sigma)
    ratio = math.exp((high - low) / steps)
    t = math.exp(low)
    best, best_t = math.inf, 1.0
    for _ in range(steps + 1):
        g = _g_at(a, b, rho, m, sigma, t)
        if not g >= best:
            best, best_t = g, t
        t *= ratio
    first, last = math.exp(low), math.exp(high)
    while ratio > 1.0 + 1e-4:
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
def _g_numerator(a: float, right: float, left: float, m: float, sigma: float, out: Array) -> None:
    """The coefficients of N(t), lowest power first (the module's docstring has the formula)."""
    p = (0.5 * sigma * left, a, 0.5 * sigma * right)
    log_moneyness = (-0.5 * sigma, m, 0.5 * sigma)
    e, s2, p2, s2p = np.zeros(5), np.zeros(5), np.zeros(5), np.zeros(9)
    s2[0], s2[2], s2[4] = left * left, -2.0 * left * right, right * right
    for i in range(3):
        e[i] += 2.0 * p[i] + left * log_moneyness[i]
        e[i + 2] += 2.0 * p[i] - right * log_moneyness[i]
        for j in range(3):
            p2[i + j] += p[i] * p[j]
    for i in range(5):
        for j in range(5):
            s2p[i + j] += s2[i] * (p2[j] + (4.0 * p[j - 1] if 1 <= j <= 3 else 0.0))  # S²(P² + 4Pt)
    for i in range(_DEGREE + 1):
        out[i] = 0.0
    for i in range(5):
        out[i + 3] += 32.0 * (right + left) / sigma * p2[i]
        for j in range(5):
            out[i + j] += 4.0 * e[i] * e[j]
            out[i + j + 2] += 4.0 * e[i] * e[j]
    for i in range(9):
        out[i] -= s2p[i]
        out[i + 2] -= s2p[i]


@kernel
def _positive_on_unit(power: Array, reverse: bool) -> bool:
    """Is the polynomial with these coefficients (lowest power first, or highest with `reverse`) positive on [0, 1]?"""
    n = power.size
    stack = np.empty((_DEPTH + 1, n))
    depth = np.zeros(_DEPTH + 1, dtype=np.int64)
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
    """b_j = Σ_i C(j,i)/C(n,i)·a_i into the first row of `stack`; the largest of them by size."""
    n = power.size - 1
    largest = 0.0
    for j in range(n + 1):
        total, ratio = 0.0, 1.0
        for i in range(j + 1):
            total += ratio * power[n - i if reverse else i]
            ratio *= (j - i) / (n - i) if i < n else 0.0
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
def calendar_svi(
    a1: float, b1: float, rho1: float, m1: float, sigma1: float,
    a2: float, b2: float, rho2: float, m2: float, sigma2: float,
) -> tuple[bool, float, float]:  # fmt: skip
    """(second proved above the first on the whole line, smallest difference seen for |k| <= 4, its k)."""
    if not math.isfinite(a1 + b1 + rho1 + m1 + sigma1 + a2 + b2 + rho2 + m2 + sigma2):
        return False, math.nan, math.nan
    right, gap_right, at_right = _above_on_the_right(a1, b1, rho1, m1, sigma1, a2, b2, rho2, m2, sigma2)
    # The left half-line is the right one of the mirrored smiles.
    left, gap_left, at_left = _above_on_the_right(a1, b1, -rho1, -m1, sigma1, a2, b2, -rho2, -m2, sigma2)
    if gap_left < gap_right:
        return right and left, gap_left, -at_left
    return right and left, gap_right, at_right


@kernel
def _above_on_the_right(
    a1: float, b1: float, rho1: float, m1: float, sigma1: float,
    a2: float, b2: float, rho2: float, m2: float, sigma2: float,
) -> tuple[bool, float, float]:  # fmt: skip
    """(second proved above the first for all k >= 0, smallest difference seen for 0 <= k <= 4, its k)."""
    slope_limit1, slope_limit2 = b1 * (1.0 + rho1), b2 * (1.0 + rho2)
    gap, at_k, reach = math.inf, 0.0, 0.0
    proved = True
    k = 0.0
    low1, _, _ = value(a1, b1, rho1, m1, sigma1, k)
    low2, tangent2, _ = value(a2, b2, rho2, m2, sigma2, k)
    while True:
        step = max(1.0 / 32.0, 0.2 * k)
        if k <= K_REPORTED:
            if not low2 - low1 >= gap:
                gap, at_k, reach = low2 - low1, k, step
        else:
            if not proved or not low2 > low1 or k > 1e9:
                proved = False
                break
            if tangent2 >= slope_limit1:
                break  # from here on the upper one rises at least as fast
            if slope_limit2 >= slope_limit1 and a2 + slope_limit2 * (k - m2) > low1:
                break  # its asymptote is already above, and rises as fast
        high1, _, _ = value(a1, b1, rho1, m1, sigma1, k + step)
        high2, end2, _ = value(a2, b2, rho2, m2, sigma2, k + step)
        if proved and not _piece_above(low1, high1, low2, tangent2, high2, end2, step):
            proved = _above_between(a1, b1, rho1, m1, sigma1, a2, b2, rho2, m2, sigma2, k, k + step)
        k, low1, low2, tangent2 = k + step, high1, high2, end2
    while reach > 1e-4:
        reach *= 0.5
        for near in (max(at_k - reach, 0.0), min(at_k + reach, K_REPORTED)):
            found = value(a2, b2, rho2, m2, sigma2, near)[0] - value(a1, b1, rho1, m1, sigma1, near)[0]
            if found < gap:
                gap, at_k = found, near
    return proved, gap, at_k


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


@kernel
def _above_between(
    a1: float, b1: float, rho1: float, m1: float, sigma1: float,
    a2: float, b2: float, rho2: float, m2: float, sigma2: float,
    start: float, end: float,
) -> bool:  # fmt: skip
    """The same by halving, left to right; refuses where 4,096 pieces do not decide."""
    k, width = start, 0.5 * (end - start)
    low1, _, _ = value(a1, b1, rho1, m1, sigma1, k)
    low2, tangent2, _ = value(a2, b2, rho2, m2, sigma2, k)
    for _ in range(4096):
        high1, _, _ = value(a1, b1, rho1, m1, sigma1, k + width)
        high2, end2, _ = value(a2, b2, rho2, m2, sigma2, k + width)
        if not high2 > high1:
            return False
        if _piece_above(low1, high1, low2, tangent2, high2, end2, width):
            k += width
            if k >= end:
                return True
            low1, low2, tangent2 = high1, high2, end2
            width = min(2.0 * width, end - k)
        else:
            width *= 0.5
    return False


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One certificate; all kernels of this module."""
    params, none = np.array([0.024, 0.01, 0.0, 0.0, 0.1]), np.empty(0)
    return [("certify_svi", lambda: certify_svi(params, none, none, np.empty(9)))]
