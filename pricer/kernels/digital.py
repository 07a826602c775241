"""Digital options on the forward in Black's model, undiscounted: price and five Greeks.

    cash or nothing:   B = Φ(cp·d2)             pays 1 where cp·(S − K) > 0
    asset or nothing:  K·B + cp·V = F·Φ(cp·d1)  pays S there; V is the vanilla premium

A digital is the limit of narrow vanilla spreads, −cp·dV/dK. On a smile sigma(K) that derivative has a second part: with
skew = dsigma/dK,

    B = Φ(cp·d2) − cp·skew·vega

(J. Gatheral, "The Volatility Surface", 2006, chapter 8), and the Greeks here hold sigma and skew of the strike fixed.
Without the skew a digital of a steep smile is some per cent wrong. Where the skew admits arbitrage B may leave [0, 1].

Domain and statuses are those of `black76`; the smile's slope against the strike's logarithm, skew·K, goes up to 1e15,
so that every result but a diverging limit is finite. At expiry or zero volatility B is 0 or 1, and at K = F one half,
the limit of s → 0 there (AT_INTRINSIC); which side of the strike a settlement pays is the contract's own rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pricer.kernels import black76
from pricer.kernels.jit import kernel
from pricer.kernels.normal import INV_SQRT_2PI, norm_cdf, norm_pdf
from pricer.kernels.status import AT_INTRINSIC, BAD_INPUT

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Six = tuple[float, float, float, float, float, float]

# What `greeks` gives, in this order.
DIGITAL_GREEKS = ("price", "delta", "gamma", "vega", "theta", "rho")

# Of skew·strike.
MOST_SLOPE = 1e15


@kernel
def row_status(forward: float, strike: float, ttm: float, sigma: float, skew: float, cp: float) -> int:
    """`black76.row_status`, and BAD_INPUT for a skew outside the domain."""
    if not abs(skew) * strike <= MOST_SLOPE:  # so that NaN fails
        return BAD_INPUT
    return int(black76.row_status(forward, strike, ttm, sigma, cp))


@kernel
def greeks(forward: float, strike: float, ttm: float, sigma: float, skew: float, cp: float, asset: bool) -> Six:
    """`DIGITAL_GREEKS` of a digital paying 1, or the asset itself, undiscounted; rho is -ttm·price.

    theta is minus the ttm-derivative at fixed forward, sigma and skew. NaN outside the domain and where a limit
    diverges.
    """
    if row_status(forward, strike, ttm, sigma, skew, cp) == BAD_INPUT:
        nan = math.nan
        return nan, nan, nan, nan, nan, nan
    value, delta, gamma, vega, theta = flat(forward, strike, ttm, sigma, cp)
    vanilla = black76.greeks(forward, strike, ttm, sigma, cp)
    if skew != 0.0:
        tilt = cp * skew  # vega and its derivatives: vanna, zomma, volga, veta
        value -= tilt * vanilla[3]
        delta -= tilt * vanilla[6]
        gamma -= tilt * vanilla[11]
        vega -= tilt * vanilla[7]
        theta -= tilt * vanilla[9]
    if asset:
        value = strike * value + cp * vanilla[0]
        delta = strike * delta + cp * vanilla[1]
        gamma = strike * gamma + cp * vanilla[2]
        vega = strike * vega + cp * vanilla[3]
        theta = strike * theta + cp * vanilla[4]
    return value, delta, gamma, vega, theta, -ttm * value


@kernel
def flat(
    forward: float, strike: float, ttm: float, sigma: float, cp: float
) -> tuple[float, float, float, float, float]:
    """(B, dB/dF, d²B/dF², dB/dsigma, −dB/dttm) of the cash digital without skew, inside the domain."""
    s = sigma * math.sqrt(ttm)
    x = black76.log_distance(forward, strike)
    if black76.row_status(forward, strike, ttm, sigma, cp) == AT_INTRINSIC or x > black76.H_MAX * s:
        return flat_limit(forward, strike, ttm, cp)
    d1 = (x if forward > strike else -x) / s + 0.5 * s
    d2 = d1 - s
    pdf = cp * norm_pdf(d2)
    per_forward = pdf / (forward * s)
    return norm_cdf(cp * d2), per_forward, -per_forward * d1 / (forward * s), -pdf * d1 / sigma, pdf * d1 * 0.5 / ttm


@kernel
def flat_limit(forward: float, strike: float, ttm: float, cp: float) -> tuple[float, float, float, float, float]:
    """`flat` for s → 0: all or nothing, and at K = F the middle of the jump, where the derivatives in F diverge."""
    if forward != strike:
        return (1.0 if cp * (forward - strike) > 0.0 else 0.0), 0.0, 0.0, 0.0, 0.0
    nan = math.nan
    if ttm < black76.ZERO:
        return 0.5, nan, nan, 0.0, nan
    return 0.5, nan, nan, -0.5 * cp * INV_SQRT_2PI * math.sqrt(ttm), 0.0


@kernel
def greeks_chain(
    forward: Floats,
    strike: Floats,
    ttm: Floats,
    sigma: Floats,
    skew: Floats,
    asset: Floats,
    cp: Floats,
    out: Floats,
    status: Codes,
) -> None:
    """`greeks` of each row i into `out[:, i]`, six rows; `asset` is 1.0 for asset or nothing, 0.0 for cash."""
    for i in range(out.shape[1]):
        row = greeks(forward[i], strike[i], ttm[i], sigma[i], skew[i], cp[i], asset[i] != 0.0)
        status[i] = row_status(forward[i], strike[i], ttm[i], sigma[i], skew[i], cp[i])
        for j in range(6):
            out[j, i] = row[j]


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """The chain as `pricer.digital` calls it: input columns are read-only."""
    one = np.ones(1)
    one.flags.writeable = False
    codes = np.zeros(1, np.uint8)
    return [
        ("greeks_chain", lambda: greeks_chain(one, one, one, one, one, one, one, np.zeros((6, 1)), codes)),
    ]
