"""Two compiled calls over one slice, made on every tick: implied vols of its quotes, and values of its model.

Both are a few plain loops, each vectorised, and one over the rows that those leave out (limits, bad input, a
volatility far from the last). The caller owns all memory; nothing is allocated. Prices are in settlement currency:
coin where `inverse`, else the quote currency, which forward, strike, spot and tick always are in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pricer.kernels import settlement
from pricer.kernels.black76 import GREEKS, first_order, higher_order, shape, wide_greeks
from pricer.kernels.elementary import select
from pricer.kernels.implied_vol import UPPER_SHARE, bracketed_vol, direct_vols, excess
from pricer.kernels.jit import inlined, kernel
from pricer.kernels.status import LOW_VEGA, OK

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]

# The fields that `model_values` writes, in the order of its rows.
MODEL_FIELDS = (
    "theo",  # the premium as quoted, in settlement currency
    *GREEKS,  # price (in quote currency) first
    "delta_premium_adjusted",
    "delta_coin",
    "delta_cash",
    "delta_cash_premium_adjusted",
    "delta_spot",
    "vega_coin",
    "iv_error",  # volatility per price tick: how far one tick of premium moves an implied vol
)

# Rows of `quote_ivs`' scratch: premium, forward, strike, ttm, cp, volatility.
SCRATCH_ROWS = 6


@kernel
def quote_ivs(
    rows: Rows,
    count: int,
    bid: Floats,
    ask: Floats,
    forward: Floats,
    ttm: Floats,
    strike: Floats,
    cp: Floats,
    tick: Floats,
    inverse: bool,
    values: Floats,
    status: Codes,
    scratch: Floats,
) -> int:
    """Bid, ask and mid IV of the first `count` of `rows` into `values[0..2, row]` and `status[0..2, row]`.

    All arrays but `scratch` are indexed by row; `forward` and `ttm` are those of each quote's own instant. A side that
    is NaN is missing: its IV is NaN with BAD_INPUT, and so is the mid, which is the IV of (bid + ask)/2 and never made
    from one side. Crossed quotes are computed like any others. LOW_VEGA where one `tick` of price (in settlement
    currency) moves the volatility by as much as itself.

    Each is solved afresh: a start from the last tick's volatility saves nothing once a quote has moved by a tick, and
    makes last bits depend on history (docs/decisions/0007). `scratch` is float64 of
    `SCRATCH_ROWS` by three times `count` or more.

    Returned is how many were found by a search in a bracket, since one step did not do: none in a sane market.
    """
    gather(rows, count, bid, ask, forward, ttm, strike, cp, inverse, scratch)
    n = 3 * count
    found = scratch[5, :n]
    direct_vols(scratch[0, :n], scratch[1, :n], scratch[2, :n], scratch[3, :n], scratch[4, :n], found)
    searched = 0
    for i in range(count):
        row = rows[i]
        step = settlement.premium_to_quote(tick[row], forward[row], inverse)
        for j in range(3):
            at = 3 * i + j
            premium, sigma, code = scratch[0, at], found[at], OK
            if sigma != sigma:
                sigma, code = bracketed_vol(premium, forward[row], strike[row], ttm[row], cp[row])
                searched += code == OK
            if code == OK and says_nothing(premium, forward[row], strike[row], ttm[row], cp[row], sigma, step):
                code = LOW_VEGA
            values[j, row], status[j, row] = sigma, code
    return searched


@inlined
def gather(
    rows: Rows,
    count: int,
    bid: Floats,
    ask: Floats,
    forward: Floats,
    ttm: Floats,
    strike: Floats,
    cp: Floats,
    inverse: bool,
    scratch: Floats,
) -> None:
    """Bid, ask and mid of each row side by side in `scratch`, with what belongs to them: a loop over it has no gaps."""
    for i in range(count):
        row = rows[i]
        for j in range(3):
            at = 3 * i + j
            price = bid[row] if j == 0 else ask[row] if j == 1 else 0.5 * (bid[row] + ask[row])
            scratch[0, at] = settlement.premium_to_quote(price, forward[row], inverse)
            scratch[1, at] = forward[row]
            scratch[2, at] = strike[row]
            scratch[3, at] = ttm[row]
            scratch[4, at] = cp[row]


@inlined
def says_nothing(
    premium: float, forward: float, strike: float, ttm: float, cp: float, sigma: float, tick: float
) -> bool:
    """Does one `tick` of premium move the volatility by as much as itself: is tick over vega at least sigma?"""
    value = excess(premium, forward, strike, cp)
    # sigma·vega is more than a quarter of the time value, but near its upper bound.
    if value >= 4.0 * tick and value <= UPPER_SHARE * min(forward, strike):
        return False
    deviation = math.sqrt(ttm)
    _, _, weight = shape(forward, strike, sigma * deviation)
    return tick >= weight * deviation * sigma


@kernel
def model_values(
    count: int,
    iv: Floats,
    forward: float,
    spot: float,
    ttm: float,
    strike: Floats,
    cp: Floats,
    tick: Floats,
    discount: float,
    inverse: bool,
    out: Floats,
) -> None:
    """The `MODEL_FIELDS` of the first `count` rows at volatilities `iv` into `out[field, row]`.

    price and all Greeks are times `discount`, and so are the forms made from them. A NaN volatility gives NaN in every
    field of its row, a NaN spot in delta_spot only. `iv_error` is NaN where it is infinite: no price tells that
    volatility.
    """
    discounted_greeks(count, iv, forward, ttm, strike, cp, discount, out[1:15])
    for row in range(count):
        value, delta, vega = out[1, row], out[2, row], out[4, row]
        out[0, row] = settlement.premium_to_settlement(value, forward, inverse)
        out[15, row] = settlement.delta_premium_adjusted(delta, value, forward)
        out[16, row] = settlement.delta_coin(delta, value, forward)
        out[17, row] = settlement.delta_cash(delta, forward)
        out[18, row] = settlement.delta_cash_premium_adjusted(delta, value, forward)
        out[19, row] = settlement.delta_spot(delta, forward, spot)
        out[20, row] = settlement.vega_coin(vega, forward)
        bar = tick[row] / vega
        out[21, row] = select(bar < math.inf, bar, math.nan)


@kernel
def discounted_greeks(
    count: int, iv: Floats, forward: float, ttm: float, strike: Floats, cp: Floats, discount: float, out: Floats
) -> None:
    """The fourteen `GREEKS` of the first `count` rows times `discount` into `out[greek, row]`."""
    # In two loops for the reason given in `black76.greeks_chain`: d1 and d2 wait in the rows of vanna and volga.
    for row in range(count):
        value, delta, gamma, vega, theta, rho, d1, d2 = first_order(forward, strike[row], ttm, iv[row], cp[row])
        out[0, row], out[1, row], out[2, row] = value * discount, delta * discount, gamma * discount
        out[3, row], out[4, row], out[5, row] = vega * discount, theta * discount, rho * discount
        out[6, row], out[7, row] = d1, d2
    for row in range(count):
        vanna, volga, charm, veta, speed, zomma, color, ultima = higher_order(
            forward, ttm, iv[row], out[2, row], out[3, row], out[6, row], out[7, row]
        )
        out[6, row], out[7, row], out[8, row], out[9, row] = vanna, volga, charm, veta
        out[10, row], out[11, row], out[12, row], out[13, row] = speed, zomma, color, ultima
    for row in range(count):
        if out[0, row] != out[0, row]:
            limits = wide_greeks(forward, strike[row], ttm, iv[row], cp[row])
            for j in range(14):
                out[j, row] = limits[j] * discount


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """Both calls as the engine makes them: its static columns, strike and cp, are read-only."""
    live = np.ones(1)
    fixed = np.ones(1)
    fixed.flags.writeable = False
    rows, codes, scratch = np.zeros(1, np.int64), np.zeros((3, 1), np.uint8), np.ones((SCRATCH_ROWS, 3))
    return [
        (
            "quote_ivs",
            lambda: quote_ivs(
                rows, 1, live, live, live, live, fixed, fixed, live, True, np.zeros((3, 1)), codes, scratch
            ),
        ),
        (
            "model_values",
            lambda: model_values(
                1, live, 1.0, 1.0, 1.0, fixed, fixed, live, 1.0, True, np.zeros((len(MODEL_FIELDS), 1))
            ),
        ),
    ]
