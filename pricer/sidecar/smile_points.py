"""Three figures of a published smile: at the money, 25-delta risk reversal, 25-delta butterfly.

In the conventions of `pricer.surfaces.deltas`: the delta on the forward, cp·Φ(cp·d1), taken at the smile's own
volatility; at the money is K = F; the butterfly is the smile's, not the market strangle's:

    rr25 = σ(25-delta call) − σ(25-delta put)        bf25 = (σ(25-delta call) + σ(25-delta put))/2 − σ(K = F)

A call's delta of 0.25 is d1 = −z and a put's of −0.25 is d1 = z, with Φ(z) = 0.75. Streams and history want these
numbers of every expiry again and again, so raw SVI, which almost every smile is, is solved here on plain floats: some
fifty times as quick as the general way, which serves the rest.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from pricer.surfaces import deltas
from pricer.surfaces.black import K_LIMIT
from pricer.surfaces.roots import root
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.smile import Smile
from pricer.surfaces.svi import SviSmile

DELTA = 0.25
# Φ⁻¹(0.75); the test has it from statistics.NormalDist.
Z = 0.6744897501960817


class SmilePoints(NamedTuple):
    """Volatilities as fractions; NaN where the smile has no such strike."""

    atm_iv: float = math.nan
    rr25: float = math.nan
    bf25: float = math.nan


NO_POINTS = SmilePoints()


def smile_points(fit: SurfaceSlice | None) -> SmilePoints:
    """Of a slice's smile at the slice's own forward and ttm; all NaN where there is none."""
    return NO_POINTS if fit is None or fit.smile is None else points_of(fit.smile)


def points_of(smile: Smile) -> SmilePoints:
    """Of any smile."""
    if not isinstance(smile, SviSmile):
        atm = deltas.atm_vol(smile)
        call = deltas.strike_at_delta(smile, DELTA, "forward").iv
        put = deltas.strike_at_delta(smile, -DELTA, "forward").iv
    else:
        atm, call, put = _sigma(smile, 0.0), _sigma(smile, _k_at(smile, -Z)), _sigma(smile, _k_at(smile, Z))
    return SmilePoints(atm, call - put, 0.5 * (call + put) - atm)


def _total_deviation(smile: SviSmile, k: float) -> float:
    """√w(k); NaN where w is not positive."""
    a, b, rho, m, sigma = smile.params
    x = k - m
    w = a + b * (rho * x + math.sqrt(x * x + sigma * sigma))
    return math.sqrt(w) if w > 0.0 else math.nan


def _sigma(smile: SviSmile, k: float) -> float:
    return _total_deviation(smile, k) / math.sqrt(smile.ttm) if smile.ttm > 0.0 else math.nan


def _k_at(smile: SviSmile, d1: float) -> float:
    """Where d1 falls through a level: without butterfly arbitrage it does so once (Fukasawa 2012)."""

    def excess(k: float) -> float:
        s = _total_deviation(smile, k)
        return 0.5 * s - k / s - d1

    low, high = 0.0, 0.0
    step = _total_deviation(smile, 0.0)
    while step < K_LIMIT and not excess(low) >= 0.0:
        low, step = -step, 2.0 * step
    step = _total_deviation(smile, 0.0)
    while step < K_LIMIT and not excess(high) <= 0.0:
        high, step = step, 2.0 * step
    return root(excess, low, high)
