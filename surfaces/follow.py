"""Greeks that follow the smile, for one slice's columns in one compiled call: what the engine publishes.

The rules and formulas are those of `pricer.surfaces.dynamics`, written out for raw SVI; tests hold one against the
other. Delta and gamma change under every rule but sticky strike, vega and theta under sticky delta, and with them the
delta forms that are made of them. `iv_error` stays: a tick of premium moves an implied volatility by Black's vega.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pricer.kernels import settlement
from pricer.kernels.chain import MODEL_FIELDS
from pricer.kernels.jit import inlined, kernel
from pricer.surfaces.dynamics import DYNAMICS, SKEW_STICKINESS, Dynamics
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import SviParams, SviSmile, value

_RULES: dict[Dynamics, int] = {rule: code for code, rule in enumerate(DYNAMICS)}
_STICKY_STRIKE, _STICKY_DELTA = _RULES["sticky_strike"], _RULES["sticky_delta"]
_MINIMUM_VARIANCE = _RULES["minimum_variance"]

_PRICE, _DELTA, _GAMMA, _VEGA, _THETA = (MODEL_FIELDS.index(name) for name in MODEL_FIELDS[1:6])
_VANNA, _VOLGA = MODEL_FIELDS.index("vanna"), MODEL_FIELDS.index("volga")
_ADJUSTED, _COIN = MODEL_FIELDS.index("delta_premium_adjusted"), MODEL_FIELDS.index("delta_coin")
_CASH, _CASH_ADJUSTED = MODEL_FIELDS.index("delta_cash"), MODEL_FIELDS.index("delta_cash_premium_adjusted")
_SPOT, _VEGA_COIN = MODEL_FIELDS.index("delta_spot"), MODEL_FIELDS.index("vega_coin")


def follow_smile(smile: SviSmile, dynamics: Dynamics, spot: float, strikes: Array, values: Array) -> None:
    """Turn Black's Greeks in `values` (rows as `kernels.chain.MODEL_FIELDS`) into those under a rule, in place.

    `smile` is at the forward and ttm of the values. A row whose own volatility is not the smile's takes the smile's
    slopes all the same. NaN where the smile has no vol.
    """
    _follow(*smile.params, smile.forward, smile.ttm, _RULES[dynamics], spot, strikes, values)


@kernel
def _follow(
    a: float, b: float, rho: float, m: float, sigma: float,
    forward: float, ttm: float, rule: int, spot: float, strikes: Array, values: Array,
) -> None:  # fmt: skip
    if rule == _STICKY_STRIKE:
        return
    pull = 0.0
    if rule == _MINIMUM_VARIANCE:
        s, slope, _ = _sigma(a, b, rho, m, sigma, ttm, 0.0)
        pull = SKEW_STICKINESS * slope / s
    root = math.sqrt(ttm)
    for i in range(strikes.size):
        k = math.log(strikes[i] / forward)
        s, slope, bend = _sigma(a, b, rho, m, sigma, ttm, k)
        vega = values[_VEGA, i]
        in_x = pull * (s - k * slope) - slope
        in_xx = bend * (1.0 + pull * k) ** 2
        first, second = in_x / forward, (in_xx - in_x) / (forward * forward)
        values[_DELTA, i] += vega * first
        values[_GAMMA, i] += 2.0 * values[_VANNA, i] * first + values[_VOLGA, i] * first * first + vega * second
        if rule == _STICKY_DELTA:
            d2 = -k / (s * root) - 0.5 * s * root
            values[_VEGA, i] = vega * (1.0 + slope * d2 * root)
            values[_THETA, i] -= vega * slope * d2 * s / (2.0 * root)
            values[_VEGA_COIN, i] = settlement.vega_coin(values[_VEGA, i], forward)
        price, delta = values[_PRICE, i], values[_DELTA, i]
        values[_ADJUSTED, i] = settlement.delta_premium_adjusted(delta, price, forward)
        values[_COIN, i] = settlement.delta_coin(delta, price, forward)
        values[_CASH, i] = settlement.delta_cash(delta, forward)
        values[_CASH_ADJUSTED, i] = settlement.delta_cash_premium_adjusted(delta, price, forward)
        values[_SPOT, i] = settlement.delta_spot(delta, forward, spot)


@inlined
def _sigma(a: float, b: float, rho: float, m: float, sigma: float, ttm: float, k: float) -> tuple[float, float, float]:
    """(s, s′, s″) of s(k) = √(w(k)/ttm); NaN where w is not positive."""
    w, w_slope, w_bend = value(a, b, rho, m, sigma, k)
    s = math.sqrt(w / ttm) if w > 0.0 else math.nan
    slope = w_slope / (2.0 * s * ttm)
    return s, slope, (w_bend / ttm - 2.0 * slope * slope) / (2.0 * s)


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """As the engine calls it: an expiry's strikes are read-only."""
    smile = SviSmile(0.1, 100.0, SviParams(0.024, 0.01, 0.0, 0.0, 0.1))
    strikes = np.array([100.0])
    strikes.flags.writeable = False
    return [
        ("follow", lambda: follow_smile(smile, "sticky_delta", 100.0, strikes, np.ones((len(MODEL_FIELDS), 1)))),
    ]
