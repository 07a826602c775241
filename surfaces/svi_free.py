"""The best raw SVI for one expiry's quotes alone.

For a given (m, σ) the smile is linear in (a, c₊, c₋), so from a cold start a few (m, σ) are tried with these eliminated
by weighted least squares inside their box 0 <= c± <= 2 (Golub and Pereyra 1973); `svi_search` goes on from the best.
Residuals are in half-spreads of vol with robust weights; a bound counts while it is broken.

This fit knows nothing of arbitrage: about half of all real slices leave it with g < 0 or crossing their neighbours
somewhere outside their quotes. It is the start of `pricer.surfaces.svi_hard`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pricer.kernels.jit import kernel
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import LEE_SLOPE, raw, value
from pricer.surfaces.svi_normal import FAR, GRID_ROWS, QUOTE_ROWS, SIZE, tabulate_quotes
from pricer.surfaces.svi_search import TRUSTED_COLD, TRUSTED_WARM, from_coordinates, outer_box, search, to_coordinates

# (m, σ) that a cold start tries, in √w at the money.
_SHIFTS = (-0.9, -0.3, 0.0, 0.3, 0.9)
_BENDS = (0.15, 0.6, 2.5)

# On ln σ: just enough to keep a parabola from running away.
_PULL = 5e-3

# A start with less of a wing, in the same unit, would not find it again.
_SMALLEST_START = 0.02


@kernel
def fit_free(observations: Array, ttm: float, warm: bool, params: Array) -> int:
    """Fit raw SVI to `params` (a, b, rho, m, sigma; with `warm` also the start); the number of steps.

    The observations are those of `quotes.Selection`. At least three mids are needed for a sensible answer.
    A warm fit is what a tick would take without constraints: the benchmarks ask for it.
    """
    unit = deviation(observations, ttm)
    if not warm:
        _best_of_grid(observations, ttm, unit, params)
    table = np.empty((QUOTE_ROWS, observations.shape[0]))
    tabulate_quotes(observations, table)
    p, none = np.empty(SIZE), np.empty(0)
    to_coordinates(params, p)
    no_grid, no_wings = np.empty((GRID_ROWS, 0)), np.empty((0, 2))
    trusted = TRUSTED_WARM if warm else TRUSTED_COLD
    steps = search(table, ttm, no_grid, no_wings, outer_box(), none, none, _PULL, unit, 0.1, trusted, p)
    from_coordinates(p, params)
    return steps


@kernel
def residual(sigma: float, low: float, high: float, width: float) -> float:
    """In half-spreads: from the mid of a two-sided observation; from a bound only where it is broken."""
    if low == -math.inf:
        return max(sigma - high, 0.0) / width
    if high == math.inf:
        return min(sigma - low, 0.0) / width
    return (sigma - 0.5 * (low + high)) / width


@kernel
def robust(residual: float) -> tuple[float, float]:
    """(loss, weight of its square) of a residual in half-spreads: Huber's, and logarithmic beyond `FAR`."""
    size = abs(residual)
    if size <= 1.0:
        return 0.5 * size * size, 1.0
    if size <= FAR:
        return size - 0.5, 1.0 / size
    return FAR * (1.0 + math.log(size / FAR)) - 0.5, FAR / (size * size)


@kernel
def robust_loss(observations: Array, ttm: float, params: Array) -> float:
    """The weighted mean robust loss of the residuals; infinite where the smile has no volatility."""
    total, mass = 0.0, 0.0
    for i in range(observations.shape[0]):
        w = value(params[0], params[1], params[2], params[3], params[4], observations[i, K])[0]
        if not w > 0.0:
            return math.inf
        r = residual(math.sqrt(w / ttm), observations[i, LOW], observations[i, HIGH], observations[i, WIDTH])
        total += observations[i, WEIGHT] * robust(r)[0]
        mass += observations[i, WEIGHT]
    return total / mass if mass > 0.0 else 0.0


@kernel
def deviation(observations: Array, ttm: float) -> float:
    """√w near the money: the natural unit of k."""
    nearest, sigma = math.inf, 0.5
    for i in range(observations.shape[0]):
        low, high = observations[i, LOW], observations[i, HIGH]
        if abs(observations[i, K]) < nearest and low > 0.0 and high < math.inf:
            nearest, sigma = abs(observations[i, K]), 0.5 * (low + high)
    return sigma * math.sqrt(ttm)


@kernel
def _best_of_grid(observations: Array, ttm: float, unit: float, params: Array) -> None:
    """The best of a few (m, σ) with its linear parameters, by squares in w."""
    # Where no weight decides between them: nearly flat.
    params[0], params[1], params[2], params[3], params[4] = 0.98 * unit * unit, 0.02 * unit, 0.0, 0.0, unit
    n = observations.shape[0]
    target, trust = np.empty(n), np.empty(n)
    for i in range(n):
        mid = 0.5 * (observations[i, LOW] + observations[i, HIGH])
        known = math.isfinite(mid)
        target[i] = mid * mid * ttm if known else 0.0
        trust[i] = observations[i, WEIGHT] / (2.0 * mid * ttm * observations[i, WIDTH]) ** 2 if known else 0.0
    best = math.inf
    for shift in _SHIFTS:
        for bend in _BENDS:
            m, s = shift * unit, bend * unit
            loss, a, right, left = _project(observations, target, trust, m, s)
            if loss < best:
                best = loss
                lifted_right, lifted_left = max(right, _SMALLEST_START * unit), max(left, _SMALLEST_START * unit)
                a -= 0.5 * s * (lifted_right - right + lifted_left - left)
                params[0], params[1], params[2], params[3], params[4] = raw(a, lifted_right, lifted_left, m, s)


@kernel
def _project(observations: Array, target: Array, trust: Array, m: float, s: float) -> tuple[float, float, float, float]:
    """The best (a, c₊, c₋) in its box for this (m, σ), after its weighted squared error."""
    mass = sum_t = sum_p = sum_q = pp = pq = qq = tp = tq = tt = 0.0
    for i in range(observations.shape[0]):
        x = observations[i, K] - m
        root = math.sqrt(x * x + s * s)
        p, q, t = 0.5 * (root + x), 0.5 * (root - x), target[i]
        weighted_p, weighted_q, weighted_t = trust[i] * p, trust[i] * q, trust[i] * t
        mass += trust[i]
        sum_p += weighted_p
        sum_q += weighted_q
        sum_t += weighted_t
        pp += weighted_p * p
        pq += weighted_p * q
        qq += weighted_q * q
        tp += weighted_p * t
        tq += weighted_q * t
        tt += weighted_t * t
    # The same about their means.
    mean_p, mean_q, mean_t = sum_p / mass, sum_q / mass, sum_t / mass
    pp, pq, qq = pp - sum_p * mean_p, pq - sum_p * mean_q, qq - sum_q * mean_q
    tp, tq, tt = tp - sum_p * mean_t, tq - sum_q * mean_t, tt - sum_t * mean_t
    right, left = _box_solution(pp, pq, qq, tp, tq)
    a = mean_t - right * mean_p - left * mean_q
    error = tt + pp * right * right + 2.0 * pq * right * left + qq * left * left - 2.0 * (tp * right + tq * left)
    return error, a, right, left


@kernel
def _box_solution(pp: float, pq: float, qq: float, tp: float, tq: float) -> tuple[float, float]:
    """The minimum of ½·xᵀ[[pp, pq], [pq, qq]]x − (tp, tq)·x over the box 0 <= x <= 2."""
    ridge = 1e-13 * (pp + qq) + 1e-300
    pp, qq = pp + ridge, qq + ridge
    det = pp * qq - pq * pq
    right, left = (tp * qq - tq * pq) / det, (tq * pp - tp * pq) / det
    if 0.0 <= right <= LEE_SLOPE and 0.0 <= left <= LEE_SLOPE:
        return right, left
    best, best_right, best_left = math.inf, 0.0, 0.0
    for edge in (0.0, LEE_SLOPE):  # convex, so the minimum is on an edge
        right, left = edge, min(max((tq - pq * edge) / qq, 0.0), LEE_SLOPE)
        for _ in range(2):
            loss = 0.5 * (pp * right * right + qq * left * left) + pq * right * left - tp * right - tq * left
            if loss < best:
                best, best_right, best_left = loss, right, left
            right, left = min(max((tp - pq * edge) / pp, 0.0), LEE_SLOPE), edge
    return best_right, best_left


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One fit; all kernels of this module."""
    observations = np.array([[k, 0.49, 0.51, 0.01, 1.0] for k in (-0.1, 0.0, 0.1)])
    return [("fit_free", lambda: fit_free(observations, 0.1, False, np.empty(5)))]
