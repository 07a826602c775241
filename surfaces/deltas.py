"""Strikes and volatilities by delta: the way options are quoted where strikes move with the market.

The delta of a strike is taken at the smile's own volatility there, which stays put while the forward moves (the delta
of quotes, not a hedge ratio under some dynamics of the smile). In the words of docs/conventions.md, per option:

    forward                 cp·Φ(cp·d1)              `delta`
    premium_adjusted        cp·(K/F)·Φ(cp·d2)        `delta_premium_adjusted` = delta − V/F
    spot                    cp·D·(F/S)·Φ(cp·d1)      `delta_spot`
    spot_premium_adjusted   cp·D·(K/S)·Φ(cp·d2)      delta_spot − V/S

D·F/S is exp(−q·ttm), q the dividend yield, foreign or lending rate. A positive delta is a call's, a negative one a
put's. (Reiswich and Wystup 2010, "A guide to FX options quoting conventions", section 2.)

Without butterfly arbitrage d1 and d2 fall in strike (Fukasawa 2012), so each delta has one strike, save one: the
premium-adjusted delta of a call rises from 0 with the strike, up to a maximum in the money, and then falls. A delta
below the maximum has two strikes, and the market means the larger; one above it has none. So always: *the largest
strike with that delta*. No strike is found, either, in a wing so steep that d1 does not get there within the doubles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pricer.conventions import NO_REASON, Reason, Status
from pricer.surfaces.black import d1_d2, deviation, normal_cdf, whole_line
from pricer.surfaces.roots import root
from pricer.surfaces.smile import Array, Smile, like_input

DeltaConvention: TypeAlias = Literal["forward", "spot", "premium_adjusted", "spot_premium_adjusted"]
AtmConvention: TypeAlias = Literal["forward", "delta_neutral"]

_CONVENTIONS = ("forward", "spot", "premium_adjusted", "spot_premium_adjusted")
_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)


class DeltaPoint(NamedTuple):
    """Where a smile has a delta: the strike, its volatility, and whether they may be used; NaN where there is none.

    `MODEL_LIMIT`: no strike has that delta. `BAD_INPUT`: it is no delta, or the smile has no variance at the money.
    """

    strike: float
    iv: float
    status: Status = Status.OK
    reasons: Reason = NO_REASON


def delta_of(
    smile: Smile,
    strikes: npt.ArrayLike,
    cp: Literal[1, -1],
    convention: DeltaConvention,
    *,
    spot: float | None = None,
    discount: float = 1.0,
) -> Array:
    """The delta of a call (`cp` 1) or put (-1) at each strike; NaN where the smile has no volatility.

    The two spot conventions need `spot`, and `discount` where rates are not zero (ValueError without a spot).
    """
    scale = _scale(smile, convention, spot, discount)
    strikes = np.asarray(strikes, dtype=np.float64)
    flat = strikes.reshape(-1)
    k = np.log(np.where(flat > 0.0, flat, np.nan) / smile.forward)
    return like_input(_delta(smile, k, cp, convention, scale), strikes.shape)


def strike_at_delta(
    smile: Smile, delta: float, convention: DeltaConvention, *, spot: float | None = None, discount: float = 1.0
) -> DeltaPoint:
    """The largest strike whose call (`delta` > 0) or put (`delta` < 0) has this delta, and the volatility there."""
    scale = _scale(smile, convention, spot, discount)
    grid = whole_line(smile)
    if not (math.isfinite(delta) and delta != 0.0) or grid.size == 0:
        return DeltaPoint(math.nan, math.nan, Status.INVALID, Reason.BAD_INPUT)
    k = math.nan
    adjusted = convention.endswith("premium_adjusted")
    if adjusted or abs(delta) < scale:  # Φ rounds to 1 long before the end of the line
        k = _k_at_delta(smile, delta, convention, scale, grid)
    if math.isnan(k):
        return DeltaPoint(math.nan, math.nan, Status.INVALID, Reason.MODEL_LIMIT)
    return DeltaPoint(smile.forward * math.exp(k), _sigma(smile, k))


def atm_strike(smile: Smile, kind: AtmConvention = "forward", *, premium_adjusted: bool = False) -> float:
    """The strike that is called at the money; NaN where there is none.

    `forward`: K = F. `delta_neutral`: where the deltas of call and put cancel, so that a straddle has none. That is
    d1 = 0, K = F·exp(w/2), above the forward, or with premium-adjusted deltas d2 = 0, K = F·exp(−w/2), below it.
    """
    if kind == "forward":
        return smile.forward
    if kind != "delta_neutral":
        raise ValueError(f"unknown at-the-money convention {kind!r}; there are 'forward' and 'delta_neutral'")
    grid = whole_line(smile)
    which = 1 if premium_adjusted else 0

    def d(k: float) -> float:
        return float(d1_d2(smile, np.array([k]))[which][0])

    crossing = _last_at_least(d1_d2(smile, grid)[which], 0.0) if grid.size else -1
    if crossing < 0:
        return math.nan
    return smile.forward * math.exp(root(d, float(grid[crossing]), float(grid[crossing + 1])))


def atm_vol(smile: Smile, kind: AtmConvention = "forward", *, premium_adjusted: bool = False) -> float:
    """The volatility at `atm_strike`."""
    return float(smile.iv(atm_strike(smile, kind, premium_adjusted=premium_adjusted)))


def risk_reversal(
    smile: Smile, delta: float, convention: DeltaConvention, *, spot: float | None = None, discount: float = 1.0
) -> float:
    """Volatility of the call with `delta` less that of the put with −`delta`; NaN where either has no strike."""
    call, put = _pair(smile, delta, convention, spot, discount)
    return call - put


def butterfly(
    smile: Smile,
    delta: float,
    convention: DeltaConvention,
    *,
    atm: AtmConvention = "forward",
    spot: float | None = None,
    discount: float = 1.0,
) -> float:
    """The smile butterfly: the mean volatility of call and put with `delta` and −`delta`, less the one at the money.

    This is not the *market* strangle of FX brokers: one volatility for both legs, at strikes that have the delta under
    that one volatility, chosen so that their premium is the smile's. The two part about as the square of the risk
    reversal: by 0.1 vol points for a risk reversal of −4.6 points, by 0.001 for one of −0.8.
    """
    call, put = _pair(smile, delta, convention, spot, discount)
    return 0.5 * (call + put) - atm_vol(smile, atm, premium_adjusted=convention.endswith("premium_adjusted"))


def skew(smile: Smile) -> float:
    """dσ/dk at the forward, per unit of log-moneyness: w′(0)/(2·√(w(0)·ttm)); NaN where w(0) is not positive."""
    money = np.zeros(1)
    s = float(deviation(smile, money)[0])
    return float(np.asarray(smile.dw(money))[0]) / (2.0 * s * math.sqrt(smile.ttm))


def _pair(
    smile: Smile, delta: float, convention: DeltaConvention, spot: float | None, discount: float
) -> tuple[float, float]:
    if not delta > 0.0:
        raise ValueError(f"the delta of a risk reversal or butterfly is given as a positive number, not {delta!r}")
    call = strike_at_delta(smile, delta, convention, spot=spot, discount=discount)
    put = strike_at_delta(smile, -delta, convention, spot=spot, discount=discount)
    return call.iv, put.iv


def _scale(smile: Smile, convention: DeltaConvention, spot: float | None, discount: float) -> float:
    """What the delta on the forward is multiplied by."""
    if convention not in _CONVENTIONS:
        raise ValueError(f"unknown delta convention {convention!r}; there are {', '.join(_CONVENTIONS)}")
    if not convention.startswith("spot"):
        return 1.0
    if spot is None:
        raise ValueError(f"the delta convention {convention!r} needs spot=")
    return discount * smile.forward / spot


def _delta(smile: Smile, k: Array, cp: float, convention: DeltaConvention, scale: float) -> Array:
    d1, d2 = d1_d2(smile, k)
    if convention.endswith("premium_adjusted"):
        return cp * scale * np.exp(k) * normal_cdf(cp * d2)
    return cp * scale * normal_cdf(cp * d1)


def _k_at_delta(smile: Smile, delta: float, convention: DeltaConvention, scale: float, grid: Array) -> float:
    """The largest k with this delta. Above it the signed delta is smaller, for calls and puts in all conventions."""
    cp = math.copysign(1.0, delta)

    def excess(k: float) -> float:
        return float(_delta(smile, np.array([k]), cp, convention, scale)[0]) - delta

    values = _delta(smile, grid, cp, convention, scale)
    last = _last_at_least(values, delta)
    if last >= 0:
        return root(excess, float(grid[last]), float(grid[last + 1]))
    peak = int(np.nanargmax(values)) if np.isfinite(values).any() else 0
    if not 0 < peak < grid.size - 1:
        return math.nan
    # The maximum itself may reach what its neighbours on the grid do not.
    top = _maximum(excess, float(grid[peak - 1]), float(grid[peak + 1]))
    return root(excess, top, float(grid[peak + 1])) if excess(top) >= 0.0 else math.nan


def _last_at_least(values: Array, level: float) -> int:
    """The last index from which values fall below `level` at the next; -1 where there is none."""
    reached = np.flatnonzero(values >= level)
    if reached.size == 0 or reached[-1] == values.size - 1:
        return -1
    return int(reached[-1])


def _maximum(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one maximum between `low` and `high` has it: golden section, to half of the digits."""
    while high - low > 1e-9 * (1e-6 + abs(low) + abs(high)):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if function(left) < function(right):
            low = left
        else:
            high = right
    return 0.5 * (low + high)


def _sigma(smile: Smile, k: float) -> float:
    return float(deviation(smile, np.array([k]))[0]) / math.sqrt(smile.ttm)
