"""Black's formula along a smile, in plain numpy: d1 and d2, option prices and Durrleman's g at log-moneyness k.

Prices and deltas are undiscounted and per unit of the forward, so that all of them are functions of k and w alone:

    d1 = −k/√w + √w/2,   d2 = −k/√w − √w/2,   call = Φ(d1) − eᵏ·Φ(d2).

The kernels price a tick; this serves look-ups and integrals, some thousand points at a time.
"""

from __future__ import annotations

import math

import numpy as np

from pricer.surfaces.smile import Array, Smile

INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)

# Beyond it e^k leaves the doubles: what a smile does further out no strike can show.
K_LIMIT = 690.0

_ERFC = np.frompyfunc(math.erfc, 1, 1)


def normal_cdf(z: Array) -> Array:
    """Φ(z); also far in the left tail, to z² roundings."""
    return np.asarray(0.5 * _ERFC(np.asarray(z) * -math.sqrt(0.5)), dtype=np.float64)


def normal_density(z: Array) -> Array:
    """φ(z)."""
    # Clipped where it is 0 in doubles, so that the square does not overflow.
    return INV_SQRT_2PI * np.exp(-0.5 * np.square(np.clip(z, -40.0, 40.0)))


def deviation(smile: Smile, k: Array) -> Array:
    """√w(k); NaN where w is not positive: no price there."""
    w = np.asarray(smile.total_variance(k))
    return np.sqrt(np.where(w > 0.0, w, np.nan))


def d1_d2(smile: Smile, k: Array) -> tuple[Array, Array]:
    """(d1, d2) at each k; NaN where w is not positive."""
    s = deviation(smile, k)
    return -k / s + 0.5 * s, -k / s - 0.5 * s


def out_of_the_money(smile: Smile, k: Array) -> Array:
    """The out-of-the-money option's price over the strike (not the forward): the integrand of replication in k."""
    d1, d2 = d1_d2(smile, k)
    cp = np.where(k >= 0.0, 1.0, -1.0)
    return np.asarray(cp * (np.exp(-k) * normal_cdf(cp * d1) - normal_cdf(cp * d2)))


def durrleman(w: Array, slope: Array, bend: Array, k: Array) -> Array:
    """g of Gatheral and Jacquier (2014), eq. 2.1, from w, `slope` = w′ and `bend` = w″; NaN where w is not positive."""
    w = np.where(w > 0.0, w, np.nan)
    tilt = 1.0 - 0.5 * k * slope / w
    return np.asarray(tilt * tilt - 0.25 * slope * slope * (1.0 / w + 0.25) + 0.5 * bend)


def whole_line(smile: Smile, points: int = 801) -> Array:
    """Rising k over |k| <= `K_LIMIT`, close together near the money: even steps of asinh(k/√w(0)).

    Empty where the smile has no positive variance at the money.
    """
    s = float(deviation(smile, np.zeros(1))[0])
    if not 0.0 < s < math.inf:
        return np.empty(0)
    return s * np.sinh(np.linspace(-1.0, 1.0, points) * math.asinh(K_LIMIT / s))
