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
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pricer.kernels import black76
from pricer.kernels import implied_vol as solver
from pricer.kernels.status import BAD_INPUT, KernelStatus
from pricer.kernels.warmup import warmup

__all__ = ["Greeks", "VenueGreeks", "greeks", "implied_vol", "price", "venue_greeks", "warmup"]

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.uint8]
Value = TypeVar("Value", float, Floats)
Sign: TypeAlias = str | float  # ±1 or a word
Signs: TypeAlias = Any  # either of them, or an array-like of them

DAYS_PER_YEAR = 365.0

_WORDS = {"call": 1.0, "c": 1.0, "put": -1.0, "p": -1.0}


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
    if not status and _one_option(forward, strike, ttm, sigma, cp, discount):
        usable = discount if 0.0 < discount < math.inf else math.nan
        return float(usable * black76.price(forward, strike, ttm, sigma, _sign(cp)))
    shape, (f, k, t, s, c, d) = _rows(forward, strike, ttm, sigma, _signs(cp), discount)
    out, codes = np.empty(len(f)), np.empty(len(f), np.uint8)
    black76.price_chain(f, k, t, s, c, out, codes)
    _discounted(out, codes, d)
    return _result(out, codes, shape, status)


@overload
def implied_vol(
    premium: float, forward: float, strike: float, ttm: float, cp: Sign, discount: float = 1.0
) -> float: ...
@overload
def implied_vol(
    premium: ArrayLike, forward: ArrayLike, strike: ArrayLike, ttm: ArrayLike, cp: Signs, discount: ArrayLike = 1.0
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
) -> Any:
    """The Black-76 volatility of a premium, to a few units of round-off over the whole domain.

    0 at the intrinsic value (AT_INTRINSIC), NaN below it (BELOW_INTRINSIC), NaN from discount·F (call) or discount·K
    (put) on (ABOVE_MAX), NaN for NaN, infinite or non-positive input (BAD_INPUT).
    """
    if _one_option(premium, forward, strike, ttm, cp, discount):
        usable = premium / discount if 0.0 < discount < math.inf else math.nan
        sigma, code = solver.implied_vol(usable, forward, strike, ttm, _sign(cp))
        return (sigma, KernelStatus(code)) if status else sigma
    shape, (p, f, k, t, c, d) = _rows(premium, forward, strike, ttm, _signs(cp), discount)
    out, codes = np.empty(len(f)), np.empty(len(f), np.uint8)
    with np.errstate(all="ignore"):
        undiscounted = np.where((d > 0.0) & np.isfinite(d), p / d, np.nan)
    solver.implied_vol_chain(_frozen(undiscounted), f, k, t, c, out, codes)
    return _result(out, codes, shape, status)


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
    if not status and _one_option(forward, strike, ttm, sigma, cp, discount):
        usable = discount if 0.0 < discount < math.inf else math.nan
        return Greeks(*(float(usable * value) for value in black76.greeks(forward, strike, ttm, sigma, _sign(cp))))
    shape, (f, k, t, s, c, d) = _rows(forward, strike, ttm, sigma, _signs(cp), discount)
    out, codes = np.empty((len(black76.GREEKS), len(f))), np.empty(len(f), np.uint8)
    black76.greeks_chain(f, k, t, s, c, out, codes)
    _discounted(out, codes, d)
    found = Greeks(*(_shaped(row, shape) for row in out))
    return (found, _shaped_codes(codes, shape)) if status else found


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


def _one_option(a: Any, b: Any, c: Any, d: Any, cp: Any, discount: Any) -> bool:
    """Whether all are plain floats: then arrays, which take ten times as long to make as a price, are not needed."""
    return (
        isinstance(a, float)
        and isinstance(b, float)
        and isinstance(c, float)
        and isinstance(d, float)
        and isinstance(discount, float)
        and isinstance(cp, (str, float, int))
    )


def _sign(cp: object) -> float:
    """+1.0 or -1.0 for one word or number; anything else is named in a ValueError, never taken for a put."""
    sign = _WORDS.get(cp.lower()) if isinstance(cp, str) else cp
    if isinstance(sign, (int, float, np.number)) and not isinstance(sign, bool) and sign in (1, -1):
        return float(sign)
    raise ValueError(f'cp must be +1, -1, "call", "put", "C" or "P", not {cp!r}')


def _signs(cp: Signs) -> Floats | float:
    if isinstance(cp, (str, int, float)):
        return _sign(cp)
    given = np.asarray(cp)
    if given.dtype.kind not in "iuf":
        return np.array([_sign(value) for value in given.ravel().tolist()], float).reshape(given.shape)
    wrong = np.abs(given) != 1
    if wrong.any():
        _sign(given[wrong].flat[0].item())
    return given.astype(float)


def _rows(*inputs: ArrayLike) -> tuple[tuple[int, ...], list[Floats]]:
    """The inputs broadcast: their shape, and each as a flat read-only column."""
    wide = np.broadcast_arrays(*(np.asarray(value, float) for value in inputs))
    return wide[0].shape, [_frozen(np.ascontiguousarray(column).reshape(-1)) for column in wide]


def _frozen(column: Floats) -> Floats:
    """A read-only view. Numba compiles once more for writable arrays; with this there is one kind."""
    view = column.view()
    view.flags.writeable = False
    return view


def _discounted(out: Floats, codes: Codes, discount: Floats) -> None:
    """`out` times discount in place; a discount that is not positive and finite is bad input."""
    bad = ~((discount > 0.0) & (discount < np.inf))
    with np.errstate(over="ignore"):
        out *= np.where(bad, np.nan, discount)
    codes[bad] = BAD_INPUT


def _result(out: Floats, codes: Codes, shape: tuple[int, ...], status: bool) -> Any:
    return (_shaped(out, shape), _shaped_codes(codes, shape)) if status else _shaped(out, shape)


def _shaped(row: Floats, shape: tuple[int, ...]) -> Any:
    return row.reshape(shape) if shape else float(row[0])


def _shaped_codes(codes: Codes, shape: tuple[int, ...]) -> Codes | KernelStatus:
    return codes.reshape(shape) if shape else KernelStatus(codes[0])
