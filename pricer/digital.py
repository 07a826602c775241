"""Digital options: cash or nothing and asset or nothing, with the correction for a smile.

A cash digital pays 1 where the underlying ends beyond the strike (above for a call, below for a put), an asset digital
pays the underlying itself. On a smile pass its slope at the strike, `skew` = dsigma/dK: the price is then minus the
strike-derivative of the vanilla premium along the smile, discount·(Φ(cp·d2) − cp·skew·vega). For other payments
multiply. Arrays broadcast, scalars give scalars, and a row that cannot be computed is NaN with a `KernelStatus`, as in
`pricer.price`.

>>> round(price(100.0, 105.0, 0.5, 0.2, "call"), 6)
0.338811
>>> round(price(100.0, 105.0, 0.5, 0.2, "call", skew=-0.001), 6)
0.365979
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import ArrayLike

from pricer import columns
from pricer.columns import Signs
from pricer.kernels import digital

__all__ = ["DigitalGreeks", "greeks", "price"]

Payoff = Literal["cash", "asset"]


@dataclass(frozen=True, slots=True)
class DigitalGreeks:
    """Raw partial derivatives of a digital's price, each times discount, at fixed sigma and skew of the strike.

    delta and gamma in the forward, vega in sigma, theta minus the ttm-derivative, rho = -ttm·price.
    """

    price: Any
    delta: Any
    gamma: Any
    vega: Any
    theta: Any
    rho: Any


def price(
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    skew: ArrayLike = 0.0,
    payoff: Payoff = "cash",
    status: bool = False,
) -> Any:
    """The premium. At ttm = 0 or sigma = 0 all or nothing, and at K = F half of it (AT_INTRINSIC)."""
    found, codes = greeks(forward, strike, ttm, sigma, cp, discount, skew=skew, payoff=payoff, status=True)
    return (found.price, codes) if status else found.price


def greeks(
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    skew: ArrayLike = 0.0,
    payoff: Payoff = "cash",
    status: bool = False,
) -> Any:
    """`DigitalGreeks`, each times discount; NaN where a limit diverges: delta and gamma at K = F without time."""
    if payoff not in ("cash", "asset"):
        raise ValueError(f'payoff must be "cash" or "asset", not {payoff!r}')
    asset = 1.0 if payoff == "asset" else 0.0
    inputs = forward, strike, ttm, sigma, skew, asset
    found, codes = columns.derived(digital.greeks_chain, len(digital.DIGITAL_GREEKS), inputs, cp, discount)
    return (DigitalGreeks(*found), codes) if status else DigitalGreeks(*found)
