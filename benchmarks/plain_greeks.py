"""What anybody writes first: Black-76 and its Greeks as one scalar Numba loop with math.log, exp and erfc.

The peer for our Greeks, since no fast package offers all fourteen: the textbook formulas, nothing computed twice,
IEEE arithmetic without Python's checks of a divisor, no care at the edges or in the wings.
"""

from __future__ import annotations

import math

import numba

from benchmarks.sets import Floats

INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
SQRT_HALF = math.sqrt(0.5)

plain = numba.njit(error_model="numpy", nogil=True)


@plain
def first_greeks(forward: Floats, strike: Floats, ttm: Floats, sigma: Floats, cp: Floats, out: Floats) -> None:
    """Price, delta, gamma, vega, theta, rho of row i into out[:, i]."""
    for i in range(len(cp)):
        f, k, t, c = forward[i], strike[i], ttm[i], cp[i]
        root = math.sqrt(t)
        s = sigma[i] * root
        d1 = math.log(f / k) / s + 0.5 * s
        d2 = d1 - s
        pdf = INV_SQRT_2PI * math.exp(-0.5 * d1 * d1)
        delta = 0.5 * c * math.erfc(-c * d1 * SQRT_HALF)
        price = f * delta - 0.5 * c * k * math.erfc(-c * d2 * SQRT_HALF)
        out[0, i] = price
        out[1, i] = delta
        out[2, i] = pdf / (f * s)
        out[3, i] = f * pdf * root
        out[4, i] = -0.5 * f * pdf * sigma[i] / root
        out[5, i] = -t * price


@plain
def all_greeks(forward: Floats, strike: Floats, ttm: Floats, sigma: Floats, cp: Floats, out: Floats) -> None:
    """All fourteen, in the order of `pricer.kernels.black76.GREEKS`, of row i into out[:, i]."""
    for i in range(len(cp)):
        f, k, t, v, c = forward[i], strike[i], ttm[i], sigma[i], cp[i]
        root = math.sqrt(t)
        s = v * root
        d1 = math.log(f / k) / s + 0.5 * s
        d2 = d1 - s
        pdf = INV_SQRT_2PI * math.exp(-0.5 * d1 * d1)
        delta = 0.5 * c * math.erfc(-c * d1 * SQRT_HALF)
        price = f * delta - 0.5 * c * k * math.erfc(-c * d2 * SQRT_HALF)
        gamma = pdf / (f * s)
        vega = f * pdf * root
        product = d1 * d2
        half_rate = 0.5 / t
        out[0, i] = price
        out[1, i] = delta
        out[2, i] = gamma
        out[3, i] = vega
        out[4, i] = -vega * v * half_rate
        out[5, i] = -t * price
        out[6, i] = -pdf * d2 / v
        out[7, i] = vega * product / v
        out[8, i] = pdf * d2 * half_rate
        out[9, i] = -vega * (1.0 + product) * half_rate
        out[10, i] = -gamma / f * (1.0 + d1 / s)
        out[11, i] = gamma * (product - 1.0) / v
        out[12, i] = gamma * (1.0 - product) * half_rate
        out[13, i] = -vega / (v * v) * (product * (1.0 - product) + d1 * d1 + d2 * d2)
