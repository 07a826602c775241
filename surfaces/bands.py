"""Error bands: how well a smile's quotes determine its volatility at a log-moneyness k.

The information of a fit with Jacobian J, the derivatives of volatility at the observations in (a, c₊, c₋, m, ln σ), is

    H = Σ trust·weight/error² · J·Jᵀ + P,      band(k) = √(∇ᵀ·H⁻¹·∇),   ∇ = ∂iv(k)/∂(a, c₊, c₋, m, ln σ),

one standard error of iv. These are the coordinates of `svi_hard` but for the logarithms of the wing slopes: a slope at
its bound 0 has no derivative in ln c, and would pass for known exactly. `trust` and `weight` are those of the robust
fit.

- **One quote's error** is s half-spreads. s² is the robust variance of the residuals (Huber 1981, "Robust Statistics",
  section 7.6: Σψ²/(n − 5) over the squared share of residuals that are not clipped, corrected for few of them), with
  one more degree of freedom at ⅓: where the residuals tell nothing, volatility is anywhere between bid and ask. An
  error is never below `HALF_SPREAD_FLOOR`.
- **What quotes leave open** is held by the prior P alone: independent standard deviations of w(0) for a, √w(0) for m, 1
  for ln σ, and for a wing slope itself, at least √w(0)/2. That is wide on purpose: a band says what quotes know, and
  wings beyond them widen. Bounds that the smile keeps tell nothing.

The band knows sampling errors only: not that five parameters may be too few, nor what the constraints add.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pricer.kernels.jit import kernel
from pricer.surfaces.quotes import HALF_SPREAD_FLOOR, HIGH, LOW, WEIGHT, WIDTH, K
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import value, wings
from pricer.surfaces.svi_free import residual, robust

_SIZE = 5

# Of a residual that is anywhere between bid and ask, in half-spreads squared; it counts as one more degree of freedom.
UNIFORM_VARIANCE = 1.0 / 3.0

# Of the residuals at least this share counts as not clipped: below it a smile is not near its quotes at all.
_LEAST_INSIDE = 0.2

# A wing slope is at least so uncertain before any quote, in √w(0): that of a usual smile.
_USUAL_SLOPE = 0.5


@kernel
def iv_bands(params: Array, ttm: float, observations: Array, k: Array, out: Array) -> None:
    """One standard error of iv at each k into `out`; NaN where the smile of raw `params` has no volatility.

    `observations` are those of `quotes.Selection`; k counts from the forward as theirs does. With none of them the band
    is that of the prior.
    """
    units, gradient = np.empty(_SIZE), np.empty(_SIZE)
    factor = np.zeros((_SIZE, _SIZE))
    at_money = value(params[0], params[1], params[2], params[3], params[4], 0.0)[0]
    if not (at_money > 0.0 and ttm > 0.0):
        out[:] = math.nan
        return
    _prior_deviations(params, math.sqrt(at_money), units)
    _information(params, ttm, observations, units, gradient, factor)
    _cholesky(factor)
    for i in range(k.size):
        sigma = _iv_gradient(params, ttm, k[i], units, gradient)
        out[i] = _length_of_solution(factor, gradient) if sigma > 0.0 else math.nan


@kernel
def _prior_deviations(params: Array, unit: float, units: Array) -> None:
    right, left = wings(params[1], params[2])
    units[0], units[3], units[4] = unit * unit, unit, 1.0
    units[1], units[2] = max(right, _USUAL_SLOPE * unit), max(left, _USUAL_SLOPE * unit)


@kernel
def _iv_gradient(params: Array, ttm: float, k: float, units: Array, gradient: Array) -> float:
    """iv at k (NaN where there is none), and its derivatives in (a, c₊, c₋, m, ln σ), each times its unit."""
    w, slope, _ = value(params[0], params[1], params[2], params[3], params[4], k)
    x = k - params[3]
    root = math.sqrt(x * x + params[4] * params[4])
    sigma = math.sqrt(w / ttm) if w > 0.0 else math.nan
    scale = 0.5 / (sigma * ttm)
    gradient[0] = scale * units[0]
    gradient[1], gradient[2] = scale * 0.5 * (root + x) * units[1], scale * 0.5 * (root - x) * units[2]
    gradient[3] = -scale * slope * units[3]
    gradient[4] = scale * params[1] * params[4] * params[4] / root * units[4]
    return sigma


@kernel
def _information(params: Array, ttm: float, observations: Array, units: Array, gradient: Array, matrix: Array) -> None:
    """H in units of the prior's deviations, into the lower triangle."""
    variance = residual_variance(params, ttm, observations)
    for i in range(_SIZE):
        matrix[i, i] = 1.0
    for j in range(observations.shape[0]):
        sigma = _iv_gradient(params, ttm, observations[j, K], units, gradient)
        low, high, width = observations[j, LOW], observations[j, HIGH], observations[j, WIDTH]
        r = residual(sigma, low, high, width)
        if not sigma > 0.0 or not _speaks(r, low, high):
            continue
        error = max(variance * width * width, HALF_SPREAD_FLOOR * HALF_SPREAD_FLOOR)
        precision = observations[j, WEIGHT] * robust(r)[1] / error
        for i in range(_SIZE):
            for c in range(i + 1):
                matrix[i, c] += precision * gradient[i] * gradient[c]


@kernel
def residual_variance(params: Array, ttm: float, observations: Array) -> float:
    """s²: the variance of one residual, in half-spreads squared."""
    squares = trusts = 0.0
    count = inside = 0
    for j in range(observations.shape[0]):
        w = value(params[0], params[1], params[2], params[3], params[4], observations[j, K])[0]
        low, high = observations[j, LOW], observations[j, HIGH]
        r = residual(math.sqrt(max(w, 0.0) / ttm), low, high, observations[j, WIDTH])
        if _speaks(r, low, high):
            trust = robust(r)[1]
            squares += observations[j, WEIGHT] * (trust * r) ** 2
            trusts += trust
            inside += abs(r) <= 1.0
            count += 1
    if count > 0:
        # H has the trusted share of J·Jᵀ in it already; Huber's formula has all of it.
        share = max(inside / count, _LEAST_INSIDE)
        few = 1.0 + _SIZE / count * (1.0 - share) / share  # Huber's correction for few observations
        squares *= trusts / count * (few / share) ** 2
    return (squares + UNIFORM_VARIANCE) / (max(count - _SIZE, 0) + 1.0)


@kernel
def _speaks(r: float, low: float, high: float) -> bool:
    return r != 0.0 or (low > -math.inf and high < math.inf)


@kernel
def _cholesky(matrix: Array) -> None:
    """The lower factor in place; the prior makes it positive definite."""
    for i in range(_SIZE):
        for j in range(i + 1):
            total = matrix[i, j]
            for c in range(j):
                total -= matrix[i, c] * matrix[j, c]
            matrix[i, j] = math.sqrt(total) if i == j else total / matrix[j, j]


@kernel
def _length_of_solution(factor: Array, vector: Array) -> float:
    """|L⁻¹·v|, whose square is vᵀ·H⁻¹·v; overwrites `vector`."""
    total = 0.0
    for i in range(_SIZE):
        for c in range(i):
            vector[i] -= factor[i, c] * vector[c]
        vector[i] /= factor[i, i]
        total += vector[i] * vector[i]
    return math.sqrt(total)


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One band; all kernels of this module."""
    observations = np.array([[k, 0.49, 0.51, 0.01, 1.0] for k in (-0.1, 0.0, 0.1)])
    params = np.array([0.024, 0.01, 0.0, 0.0, 0.1])
    return [("iv_bands", lambda: iv_bands(params, 0.1, observations, np.zeros(1), np.empty(1)))]
