"""The normal model (Bachelier): price, implied volatility and Greeks for forwards and strikes of either sign.

    V = D·(cp·(F − K)·Φ(cp·d) + s·φ(d)),   d = (F − K)/s,   s = sigma·√ttm

`sigma` is the normal volatility, in price units per √year: rates and spreads are quoted in it, and no price is too low
for it. Everything else is as in `pricer.price` and its companions: arrays broadcast, scalars give scalars, and a row
that cannot be computed is NaN with a `KernelStatus`.

>>> round(price(-0.002, 0.001, 2.0, 0.006, "call"), 8)
0.00209453
>>> round(implied_vol(0.00209453, -0.002, 0.001, 2.0, "call"), 6)
0.006
"""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from pricer import columns
from pricer.columns import Signs
from pricer.kernels import bachelier
from pricer.kernels.black76 import GREEKS
from pricer.pricing import Greeks

__all__ = ["greeks", "implied_vol", "price"]


def price(
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    status: bool = False,
) -> Any:
    """The premium; at ttm = 0 or sigma = 0 the discounted intrinsic value, with AT_INTRINSIC."""
    return columns.priced(bachelier.price_chain, (forward, strike, ttm, sigma), cp, discount, status)


def implied_vol(
    premium: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    status: bool = False,
) -> Any:
    """The normal volatility of a premium, to a few units of round-off, with premiums down to 1e-300.

    0 at the intrinsic value (AT_INTRINSIC), NaN below it (BELOW_INTRINSIC). There is no upper bound on a premium but
    that of the domain: ABOVE_MAX where sigma would be over 1e100.
    """
    return columns.solved(bachelier.implied_vol_chain, premium, (forward, strike, ttm), cp, discount, status)


def greeks(
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    status: bool = False,
) -> Any:
    """All fourteen `Greeks`, each times `discount`: derivatives in the forward and in the normal volatility.

    At ttm = 0 or sigma = 0 they are limits (AT_INTRINSIC), NaN where a limit diverges: gamma at K = F.
    """
    inputs = forward, strike, ttm, sigma
    found, codes = columns.derived(bachelier.greeks_chain, len(GREEKS), inputs, cp, discount)
    return (Greeks(*found), codes) if status else Greeks(*found)
