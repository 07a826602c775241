"""The distribution of the price at expiry that a smile implies (Breeden and Litzenberger 1978).

The density is `Smile.density`, the second strike-derivative of the undiscounted call. The first one gives the
distribution. With C = F·call(k, √w) and F·φ(d1) = K·φ(d2),

    P(S ≤ K) = 1 + ∂C/∂K = Φ(−d2) + φ(d2)·w′/(2·√w):

Black's own term, and the smile's slope times vega. Left out, the slope misplaces the tails of a skewed smile.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pricer.surfaces.black import deviation, normal_cdf, normal_density, whole_line
from pricer.surfaces.roots import root
from pricer.surfaces.smile import Array, Smile, like_input


def cumulative(smile: Smile, strikes: npt.ArrayLike) -> Array:
    """P(S ≤ K) at expiry for each strike; NaN where the strike or the smile's w is not positive.

    Not between 0 and 1, or falling, where the smile has butterfly arbitrage.
    """
    strikes = np.asarray(strikes, dtype=np.float64)
    flat = strikes.reshape(-1)
    k = np.log(np.where(flat > 0.0, flat, np.nan) / smile.forward)
    return like_input(_cumulative(smile, k), strikes.shape)


def quantile(smile: Smile, probability: npt.ArrayLike) -> Array:
    """The smallest price that is not exceeded with each probability: the inverse of `cumulative`.

    NaN for a probability that is not between 0 and 1 (both excluded), and where no price within the doubles has it.
    """
    probability = np.asarray(probability, dtype=np.float64)
    grid = whole_line(smile)
    reached = _cumulative(smile, grid)
    found = np.array([_quantile(smile, float(p), grid, reached) for p in probability.reshape(-1)])
    return like_input(found, probability.shape)


def _cumulative(smile: Smile, k: Array) -> Array:
    s = deviation(smile, k)
    d2 = -k / s - 0.5 * s
    return normal_cdf(-d2) + normal_density(d2) * np.asarray(smile.dw(k)) / (2.0 * s)


def _quantile(smile: Smile, probability: float, grid: Array, reached: Array) -> float:
    if not 0.0 < probability < 1.0:
        return math.nan
    first = np.flatnonzero(reached >= probability)
    if first.size == 0 or first[0] == 0:
        return math.nan
    low, high = float(grid[first[0] - 1]), float(grid[first[0]])
    return smile.forward * math.exp(
        root(lambda k: float(_cumulative(smile, np.array([k]))[0]) - probability, low, high)
    )
