"""Two compiled calls over one slice, made on every tick: implied vols of its quotes, and values of its model.

The caller owns all memory; nothing is allocated. Prices are in settlement currency: coin where `inverse`, else the
quote currency, which forward, strike, spot and tick always are in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pricer.kernels import settlement
from pricer.kernels.black76 import GREEKS, greeks
from pricer.kernels.implied_vol import implied_vol
from pricer.kernels.jit import kernel

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
    inverse: bool,
    values: Floats,
    status: Codes,
) -> None:
    """Bid, ask and mid IV of the first `count` of `rows` into `values[0..2, row]` and `status[0..2, row]`.

    All arrays are indexed by row; `forward` and `ttm` are those of each quote's own instant. A side that is NaN is
    missing: its IV is NaN with BAD_INPUT, and so is the mid, which is the IV of (bid + ask)/2 and never made from one
    side. Crossed quotes are computed like any others.
    """
    for i in range(count):
        row = rows[i]
        prices = (bid[row], ask[row], 0.5 * (bid[row] + ask[row]))
        for j in range(3):
            premium = settlement.premium_to_quote(prices[j], forward[row], inverse)
            values[j, row], status[j, row] = implied_vol(premium, forward[row], strike[row], ttm[row], cp[row])


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
    field of its row, a NaN spot in delta_spot only. `iv_error` is NaN where vega is 0: no price tells that volatility.
    """
    for row in range(count):
        raw = greeks(forward, strike[row], ttm, iv[row], cp[row])
        for j in range(14):
            out[1 + j, row] = raw[j] * discount
        value, delta, vega = out[1, row], out[2, row], out[4, row]
        out[0, row] = settlement.premium_to_settlement(value, forward, inverse)
        out[15, row] = settlement.delta_premium_adjusted(delta, value, forward)
        out[16, row] = settlement.delta_coin(delta, value, forward)
        out[17, row] = settlement.delta_cash(delta, forward)
        out[18, row] = settlement.delta_cash_premium_adjusted(delta, value, forward)
        out[19, row] = settlement.delta_spot(delta, forward, spot)
        out[20, row] = settlement.vega_coin(vega, forward)
        out[21, row] = tick[row] / vega if vega > 0.0 else math.nan


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """Both calls as the engine makes them: its static columns, strike and cp, are read-only."""
    live = np.ones(1)
    fixed = np.ones(1)
    fixed.flags.writeable = False
    rows, codes = np.zeros(1, np.int64), np.zeros((3, 1), np.uint8)
    return [
        (
            "quote_ivs",
            lambda: quote_ivs(rows, 1, live, live, live, live, fixed, fixed, True, np.zeros((3, 1)), codes),
        ),
        (
            "model_values",
            lambda: model_values(
                1, live, 1.0, 1.0, 1.0, fixed, fixed, live, 1.0, True, np.zeros((len(MODEL_FIELDS), 1))
            ),
        ),
    ]
