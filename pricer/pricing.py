"""The public functions on the forward: price, implied volatility, Greeks, and a venue's Greeks.

Arrays broadcast, scalars in give scalars out. `cp` is +1 or -1, or "call"/"put"/"C"/"P" in any case, or an array of
either. A row that cannot be computed never raises: its number is NaN, and `status=True` returns a `KernelStatus` a
row beside the numbers (uint8). Forward, strike and premium are in quote currency, ttm in years, sigma per √year.

>>> round(price(100.0, 105.0, 0.5, 0.2, "call"), 6)
3.617974
>>> implied_vol(3.617974, 100.0, [105.0, 120.0], 0.5, "C").round(6)
array([0.2     , 0.349802])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike

from pricer import columns
from pricer.columns import Floats, Sign, Signs
from pricer.kernels import black76
from pricer.kernels import implied_vol as solver
from pricer.kernels.status import KernelStatus
from pricer.kernels.warmup import warmup

__all__ = ["Greeks", "VenueGreeks", "greeks", "implied_vol", "iv_error", "price", "venue_greeks", "warmup"]

Value = TypeVar("Value", float, Floats)

DAYS_PER_YEAR = 365.0


@dataclass(frozen=True, slots=True)
class Greeks(Generic[Value]):
    """Raw partial derivatives of V, each times discount, with V = price: floats, or arrays of one shape.

    delta, gamma, speed in the forward; vega, volga, ultima in sigma (per 1.0); vanna = d²V/dF·dsigma,
    zomma = dgamma/dsigma; theta, charm, veta, color minus the ttm-derivative (per year) of V, delta, vega, gamma at
    fixed forward, sigma and discount; rho = -ttm·V, which is dV/dr at fixed forward with discount = exp(-r·ttm).
    """

    price: Value
    delta: Value
    gamma: Value
    vega: Value
    theta: Value
    rho: Value
    vanna: Value
    volga: Value
    charm: Value
    veta: Value
    speed: Value
    zomma: Value
    color: Value
    ultima: Value


@dataclass(frozen=True, slots=True)
class VenueGreeks(Generic[Value]):
    """The five Greeks that venues publish, in one venue's scales."""

    delta: Value
    gamma: Value
    vega: Value
    theta: Value
    rho: Value


@overload
def price(forward: float, strike: float, ttm: float, sigma: float, cp: Sign, discount: float = 1.0) -> float: ...
@overload
def price(
    forward: ArrayLike, strike: ArrayLike, ttm: ArrayLike, sigma: ArrayLike, cp: Signs, discount: ArrayLike = 1.0
) -> Floats: ...
@overload
def price(
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    status: Literal[True],
) -> tuple[Any, Any]: ...
def price(
    forward: Any,
    strike: Any,
    ttm: Any,
    sigma: Any,
    cp: Signs,
    discount: Any = 1.0,
    *,
    status: bool = False,
) -> Any:
    """Black-76 premium, discount·cp·(F·Φ(cp·d1) − K·Φ(cp·d2)).

    The intrinsic value at ttm = 0 or sigma = 0 (status AT_INTRINSIC); NaN after expiry and for bad input (BAD_INPUT).
    """
    one = not status and columns.one_option(forward, strike, ttm, sigma, discount, cp)
    if one and 0.0 < discount <= columns.SAFE_DISCOUNT:
        return float(discount * black76.price(forward, strike, ttm, sigma, columns.sign(cp)))
    return columns.priced(black76.price_chain, (forward, strike, ttm, sigma), cp, discount, status)


@overload
def implied_vol(
    premium: float,
    forward: float,
    strike: float,
    ttm: float,
    cp: Sign,
    discount: float = 1.0,
    *,
    previous: float | None = None,
) -> float: ...
@overload
def implied_vol(
    premium: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    previous: ArrayLike | None = None,
) -> Floats: ...
@overload
def implied_vol(
    premium: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    status: Literal[True],
    previous: ArrayLike | None = None,
) -> tuple[Any, Any]: ...
def implied_vol(
    premium: Any,
    forward: Any,
    strike: Any,
    ttm: Any,
    cp: Signs,
    discount: Any = 1.0,
    *,
    status: bool = False,
    previous: Any = None,
) -> Any:
    """The Black-76 volatility of a premium, to a few units of round-off over the whole domain.

    0 at the intrinsic value (AT_INTRINSIC), NaN below it (BELOW_INTRINSIC), NaN from discount·F (call) or discount·K
    (put) on (ABOVE_MAX), NaN for NaN, infinite or non-positive input (BAD_INPUT).

    `previous` volatilities, say of the last tick (NaN where there is none), halve the time of rows that have moved by
    less than 0.35 % since; the others are solved as without. Results differ in their last bits at most.
    """
    if previous is not None:
        inputs = forward, strike, ttm
        return columns.solved(solver.implied_vol_chain_warm, premium, inputs, cp, discount, status, previous)
    if columns.one_option(premium, forward, strike, ttm, discount, cp):
        if discount != 1.0:
            # NumPy's doubles would warn of a quotient that overflows, and it is bad input like any other.
            premium = float(premium) / float(discount) if 0.0 < discount < math.inf else math.nan
        sigma, code = solver.implied_vol(premium, forward, strike, ttm, columns.sign(cp))
        return (sigma, KernelStatus(code)) if status else sigma
    return columns.solved(solver.implied_vol_chain, premium, (forward, strike, ttm), cp, discount, status)


@overload
def greeks(
    forward: float, strike: float, ttm: float, sigma: float, cp: Sign, discount: float = 1.0
) -> Greeks[float]: ...
@overload
def greeks(
    forward: ArrayLike, strike: ArrayLike, ttm: ArrayLike, sigma: ArrayLike, cp: Signs, discount: ArrayLike = 1.0
) -> Greeks[Floats]: ...
@overload
def greeks(
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    status: Literal[True],
) -> tuple[Greeks[Any], Any]: ...
def greeks(
    forward: Any,
    strike: Any,
    ttm: Any,
    sigma: Any,
    cp: Signs,
    discount: Any = 1.0,
    *,
    status: bool = False,
) -> Any:
    """All fourteen Greeks, each times `discount`.

    At ttm = 0 or sigma = 0 they are limits (AT_INTRINSIC), NaN where a limit diverges: gamma at K = F and ttm = 0.
    """
    one = not status and columns.one_option(forward, strike, ttm, sigma, discount, cp)
    if one and 0.0 < discount <= columns.SAFE_DISCOUNT:
        row = black76.greeks(forward, strike, ttm, sigma, columns.sign(cp))
        return Greeks(*(float(discount * value) for value in row))
    inputs = forward, strike, ttm, sigma
    found, codes = columns.derived(black76.greeks_chain, len(black76.GREEKS), inputs, cp, discount)
    return (Greeks(*found), codes) if status else Greeks(*found)


@overload
def iv_error(tick: float, forward: float, strike: float, ttm: float, sigma: float, discount: float = 1.0) -> float: ...
@overload
def iv_error(
    tick: ArrayLike, forward: ArrayLike, strike: ArrayLike, ttm: ArrayLike, sigma: ArrayLike, discount: ArrayLike = 1.0
) -> Floats: ...
def iv_error(tick: Any, forward: Any, strike: Any, ttm: Any, sigma: Any, discount: Any = 1.0) -> Any:
    """The error bar of an implied volatility: how far one `tick` of premium (in quote currency) moves it, tick/vega.

    To first order; from about sigma on, the premium says nothing about the volatility. NaN where vega is next to
    nothing (far in a wing, at expiry) and for bad input, such as a tick that is negative.
    """
    step = np.asarray(tick, float)
    vega = np.asarray(greeks(forward, strike, ttm, sigma, 1, discount).vega)
    with np.errstate(all="ignore"):
        bar = step / vega
        found = np.where((step >= 0.0) & (bar < np.inf), bar, np.nan)
    return found if found.ndim else float(found)


@overload
def venue_greeks(
    venue: str, forward: float, strike: float, ttm: float, sigma: float, cp: Sign
) -> VenueGreeks[float]: ...
@overload
def venue_greeks(
    venue: str, forward: ArrayLike, strike: ArrayLike, ttm: ArrayLike, sigma: ArrayLike, cp: Signs
) -> VenueGreeks[Floats]: ...
def venue_greeks(venue: str, forward: Any, strike: Any, ttm: Any, sigma: Any, cp: Signs) -> VenueGreeks[Any]:
    """Our Greeks in a venue's own scales and conventions, to hold against what it publishes.

    "deribit": delta as ours (dV/dF, not premium-adjusted), gamma to five decimals, vega per volatility point, rho per
    point of a rate at fixed *spot*, ttm·(F·delta − V)/100, theta per day: what is lost in a day, in the last day in
    the time that is left, theta·min(ttm, 1/365), and then never below −V.

    Residual of theta in the last day, seen on real tickers 22.6 hours before expiry: 0.2 % where −V does not bind, up
    to 4 % where it does, as the venue's own forward for daily options is not published. Elsewhere there is none beyond
    the rounding of mark_iv.
    """
    scale = _VENUES.get(venue)
    if scale is None:
        raise ValueError(f"unknown venue {venue!r}; known are: {', '.join(sorted(_VENUES))}")
    return scale(greeks(forward, strike, ttm, sigma, cp), np.asarray(forward, float), np.asarray(ttm, float))


def _deribit(ours: Greeks[Any], forward: Floats, ttm: Floats) -> VenueGreeks[Any]:
    last_day = ttm < 1.0 / DAYS_PER_YEAR
    lost = np.asarray(ours.theta) * np.minimum(ttm, 1.0 / DAYS_PER_YEAR)
    theta = np.where(last_day, np.maximum(lost, -np.asarray(ours.price)), lost)
    gamma = np.round(ours.gamma, 5)
    rho = ttm * (forward * ours.delta - ours.price) / 100.0
    scaled = (ours.delta, gamma, np.asarray(ours.vega) / 100.0, theta, rho)
    return VenueGreeks(*(float(value) if np.ndim(value) == 0 else np.asarray(value) for value in scaled))


_VENUES: dict[str, Callable[[Greeks[Any], Floats, Floats], VenueGreeks[Any]]] = {"deribit": _deribit}
