"""The spot form (Black–Scholes–Merton): the same kernels with F = S·exp((r − q)·ttm) and discount D = exp(−r·ttm).

r is `rate`, q is `dividend_yield` (for a currency pair: the foreign rate), both continuously compounded. Arrays
broadcast, scalars give scalars, bad rows are NaN with a status, as in `pricer.pricing`.

Greeks are those of the spot holder. With V, delta, ... for the undiscounted forward ones of `pricer.greeks`, g = r − q
and e = F/S (so that D·e = exp(−q·ttm)):

    price  = D·V                              vanna  = D·e·vanna
    delta  = dV/dS    = D·e·delta             volga  = D·volga
    gamma  = d²V/dS²  = D·e²·gamma            ultima = D·ultima
    speed  = d³V/dS³  = D·e³·speed            zomma  = D·e²·zomma
    vega   = D·vega                           rho    = dV/dr at fixed S, q = D·ttm·(F·delta − V)
    theta  = −dV/dttm     at fixed S, r, q    = D·(r·V − g·F·delta + theta)
    charm  = −d(delta)/dttm   as theta        = D·e·(q·delta − g·F·gamma + charm)
    veta   = −d(vega)/dttm    as theta        = D·(r·vega − g·F·vanna + veta)
    color  = −d(gamma)/dttm   as theta        = D·e²·((2q − r)·gamma − g·F·speed + color)

>>> round(price(100.0, 100.0, 1.0, 0.2, "call", rate=0.05), 6)
10.450584
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike

from pricer import pricing
from pricer.columns import Floats, Sign, Signs
from pricer.pricing import Greeks

__all__ = ["greeks", "implied_vol", "price"]


class _Carried(NamedTuple):
    """What the spot form needs of its rates, in the shape of its inputs."""

    forward: Floats
    discount: Floats
    growth: Floats  # e = F/S
    rate: Floats
    dividend_yield: Floats


@overload
def price(
    spot: float, strike: float, ttm: float, sigma: float, cp: Sign, rate: float = 0.0, dividend_yield: float = 0.0
) -> float: ...
@overload
def price(
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> Floats: ...
@overload
def price(
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
    *,
    status: Literal[True],
) -> tuple[Any, Any]: ...
def price(
    spot: Any,
    strike: Any,
    ttm: Any,
    sigma: Any,
    cp: Signs,
    rate: Any = 0.0,
    dividend_yield: Any = 0.0,
    *,
    status: bool = False,
) -> Any:
    """The premium today, exp(−r·ttm)·V at the forward; at ttm = 0 the intrinsic value, at sigma = 0 its limit."""
    carried = _carried(spot, ttm, rate, dividend_yield)
    if status:
        return pricing.price(carried.forward, strike, ttm, sigma, cp, carried.discount, status=True)
    return pricing.price(carried.forward, strike, ttm, sigma, cp, carried.discount)


@overload
def implied_vol(
    premium: float, spot: float, strike: float, ttm: float, cp: Sign, rate: float = 0.0, dividend_yield: float = 0.0
) -> float: ...
@overload
def implied_vol(
    premium: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> Floats: ...
@overload
def implied_vol(
    premium: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
    *,
    status: Literal[True],
) -> tuple[Any, Any]: ...
def implied_vol(
    premium: Any,
    spot: Any,
    strike: Any,
    ttm: Any,
    cp: Signs,
    rate: Any = 0.0,
    dividend_yield: Any = 0.0,
    *,
    status: bool = False,
) -> Any:
    """The volatility of a premium paid today; bounds and statuses are those of the discounted forward form."""
    carried = _carried(spot, ttm, rate, dividend_yield)
    if status:
        return pricing.implied_vol(premium, carried.forward, strike, ttm, cp, carried.discount, status=True)
    return pricing.implied_vol(premium, carried.forward, strike, ttm, cp, carried.discount)


@overload
def greeks(
    spot: float, strike: float, ttm: float, sigma: float, cp: Sign, rate: float = 0.0, dividend_yield: float = 0.0
) -> Greeks[float]: ...
@overload
def greeks(
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> Greeks[Floats]: ...
@overload
def greeks(
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
    *,
    status: Literal[True],
) -> tuple[Greeks[Any], Any]: ...
def greeks(
    spot: Any,
    strike: Any,
    ttm: Any,
    sigma: Any,
    cp: Signs,
    rate: Any = 0.0,
    dividend_yield: Any = 0.0,
    *,
    status: bool = False,
) -> Any:
    """The fourteen Greeks in the spot, by the formulas above; limits as `pricer.greeks` gives them."""
    forward, discount, e, r, q = _carried(spot, ttm, rate, dividend_yield)
    f, codes = pricing.greeks(forward, strike, ttm, sigma, cp, discount, status=True)  # D is in them all
    years = np.asarray(ttm, float)
    with np.errstate(all="ignore"):  # as in _carried
        drift = (r - q) * forward
        found = {
            "price": f.price,
            "delta": e * f.delta,
            "gamma": e**2 * f.gamma,
            "vega": f.vega,
            "theta": r * f.price - drift * f.delta + f.theta,
            "rho": years * (forward * f.delta - f.price),
            "vanna": e * f.vanna,
            "volga": f.volga,
            "charm": e * (q * f.delta - drift * f.gamma + f.charm),
            "veta": r * f.vega - drift * f.vanna + f.veta,
            "speed": e**3 * f.speed,
            "zomma": e**2 * f.zomma,
            "color": e**2 * ((2.0 * q - r) * f.gamma - drift * f.speed + f.color),
            "ultima": f.ultima,
        }
    moved = Greeks(**{name: value if np.ndim(value) else float(value) for name, value in found.items()})
    return (moved, codes) if status else moved


def _carried(spot: ArrayLike, ttm: ArrayLike, rate: ArrayLike, dividend_yield: ArrayLike) -> _Carried:
    s, t, r, q = (np.asarray(value, float) for value in (spot, ttm, rate, dividend_yield))
    with np.errstate(all="ignore"):  # a rate that overflows makes a bad row, not a warning
        growth = np.exp((r - q) * t)
        return _Carried(s * growth, np.exp(-r * t), growth, r, q)
