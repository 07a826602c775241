"""Single figures of a smile or a surface: the variance swap, a volatility index, the forward volatility.

**Variance swap.** The fair strike of a swap on realised variance, sampled continuously on a forward without jumps, is
that of a portfolio of all out-of-the-money options, each with weight 2/K² (Demeterfi, Derman, Kamal and Zou 1999):

    σ²·ttm = 2·∫ OTM(K)/K² dK = 2·∫ (OTM/K) dk,

undiscounted, over the whole line. A flat smile gives its own σ².

**Volatility index.** The variance swaps of the two expiries around the horizon, total variance linear in time between
them, as the published VIX method has it. What differs: that method sums over listed strikes and stops at two zero bids
in a row, so strikes that are far apart or missing enter its figure, and it needs a correction for the strike below the
forward. Here the smile is integrated from strike 0 to infinity, wings included: more where the listed wings are cut,
and as good as the smile's wings are. It is a fraction (0.55), not times 100, time is continuous, and outside the
expiries the nearest one's variance is kept, where that method extrapolates.
"""

from __future__ import annotations

import math

import numpy as np

from pricer.surfaces.black import K_LIMIT, deviation, out_of_the_money
from pricer.surfaces.quadrature import integrate
from pricer.surfaces.smile import Array, Smile

_TOLERANCE = 1e-11
_ROUNDING = 1e-15  # of a price over the strike, which is itself of the size of √w


def variance_swap(smile: Smile) -> float:
    """The fair strike of a variance swap, as a variance a year (its root is the volatility).

    To eleven digits, and fewer as √w falls below 1e-4. NaN where the integral does not converge: no positive variance
    somewhere, or a wing at Lee's bound, whose options do not run out within the doubles.
    """
    s = float(deviation(smile, np.zeros(1))[0])
    if not 0.0 < s < math.inf:
        return math.nan
    end = math.asinh(K_LIMIT / s)
    rtol = _TOLERANCE + _ROUNDING / s

    # In u = asinh(k/√w(0)) a wing that falls like exp(−c·k) falls doubly exponentially. Split at k = 0, the only kink.
    def integrand(u: Array) -> Array:
        return out_of_the_money(smile, s * np.sinh(u)) * (s * np.cosh(u))

    total = integrate(integrand, -end, 0.0, rtol) + integrate(integrand, 0.0, end, rtol)
    beyond = float(np.max(K_LIMIT * np.abs(out_of_the_money(smile, np.array([-K_LIMIT, K_LIMIT])))))
    return 2.0 * total / smile.ttm if beyond <= _TOLERANCE * total else math.nan


def volatility_index(near: Smile, far: Smile, ttm: float) -> float:
    """The volatility whose total variance at `ttm` lies on the line between the variance swaps of two expiries.

    With `near` and `far` the same smile, that smile's own. NaN where a variance swap is.
    """
    w_near = variance_swap(near) * near.ttm
    if near.ttm == far.ttm:
        return math.sqrt(w_near / near.ttm)
    w_far = variance_swap(far) * far.ttm
    w = w_near + (ttm - near.ttm) / (far.ttm - near.ttm) * (w_far - w_near)
    return math.sqrt(w / ttm) if w >= 0.0 else math.nan


def forward_volatility(rise: Array, years: Array) -> Array:
    """The volatility between two expiries, √(`rise` of total variance/`years` apart); NaN where variance falls."""
    return np.sqrt(np.where(rise >= 0.0, rise, np.nan) / years)
