"""The displaced (shifted) Black model: F + shift is lognormal, so that forward and strike may be as low as −shift.

    V = Black-76 premium at (F + shift, K + shift)

With `shift` 0 it is `pricer.price` and its companions; with a growing shift, and sigma·(F + shift) held fixed, it tends
to the normal model, `pricer.bachelier`. All else is as there: arrays broadcast (the shift too), scalars give scalars,
and a row that cannot be computed, such as one with F + shift ≤ 0, is NaN with BAD_INPUT.

Shifting rounds, F − K does not: the kernels see the out-of-the-money option of each row, whose premium is the time
value, and the intrinsic value is added, or taken off, at the unshifted prices.

>>> round(price(-0.002, 0.001, 2.0, 0.25, "call", shift=0.03), 8)
0.00280773
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pricer import columns, pricing
from pricer.columns import Floats, Signs

__all__ = ["greeks", "implied_vol", "price"]


def price(
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    shift: ArrayLike,
    status: bool = False,
) -> Any:
    """The premium; at ttm = 0 or sigma = 0 the discounted intrinsic value, with AT_INTRINSIC."""
    shifted, otm, exercise, _ = _out_of_the_money(forward, strike, shift, cp, discount)
    found, codes = pricing.price(*shifted, ttm, sigma, otm, discount, status=True)
    value = _plain(found + exercise)
    return (value, codes) if status else value


def implied_vol(
    premium: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    shift: ArrayLike,
    status: bool = False,
) -> Any:
    """The lognormal volatility of F + shift that gives this premium.

    0 at the intrinsic value (AT_INTRINSIC), NaN below it (BELOW_INTRINSIC), NaN from discount·(F + shift) (call) or
    discount·(K + shift) (put) on (ABOVE_MAX), NaN for NaN, infinite, or F + shift or K + shift ≤ 0 (BAD_INPUT).
    """
    shifted, otm, intrinsic, lost = _out_of_the_money(forward, strike, shift, cp, 1.0)
    with np.errstate(all="ignore"):
        over = columns.undiscounted(premium, discount) - intrinsic
        time_value = np.where(over > 0.0, over - lost, over)
    found, codes = pricing.implied_vol(time_value, *shifted, ttm, otm, status=True)
    return (found, codes) if status else found


def greeks(
    forward: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    discount: ArrayLike = 1.0,
    *,
    shift: ArrayLike,
    status: bool = False,
) -> Any:
    """All fourteen `Greeks`, each times `discount`: a derivative in F + shift is one in F, so the form is Black's.

    Limits are those of `pricer.greeks`.
    """
    shifted, otm, exercise, _ = _out_of_the_money(forward, strike, shift, cp, discount)
    found, codes = pricing.greeks(*shifted, ttm, sigma, otm, discount, status=True)
    # Call minus put is discount·(F − K), which moves these three alone.
    with np.errstate(all="ignore"):  # bad rows
        moved = replace(
            found,
            price=_plain(found.price + exercise),
            delta=_plain(found.delta + np.asarray(discount, float) * 0.5 * (columns.signs(cp) - otm)),
            rho=_plain(found.rho - np.asarray(ttm, float) * exercise),
        )
    return (moved, codes) if status else moved


def _out_of_the_money(
    forward: ArrayLike, strike: ArrayLike, shift: ArrayLike, cp: Signs, discount: ArrayLike
) -> tuple[tuple[Floats, Floats], Floats, Floats, Floats]:
    """Shifted forward and strike, the sign of the out-of-the-money option, discount times the intrinsic value of the
    one asked for, and what rounding took from that: cp·(F − K) is their sum exactly (T. J. Dekker's sum, 1971), where
    discount is 1. The forward is NaN, bad input, where that is no number."""
    f, k, a, d = (np.asarray(value, float) for value in (forward, strike, shift, discount))
    signs = columns.signs(cp)
    with np.errstate(all="ignore"):
        difference = f - k
        minus_k = difference - f
        lost = (f - (difference - minus_k)) - (k + minus_k)
        in_the_money = signs * difference > 0.0
        exercise = d * np.where(in_the_money, signs * difference, 0.0)
        rounding = np.where(in_the_money, signs * lost, 0.0)
        shifted = np.where(np.isfinite(exercise), f + a, np.nan), k + a
        return shifted, np.where(f > k, -1.0, 1.0) * np.abs(signs), exercise, rounding


def _plain(value: Any) -> Any:
    return value if np.ndim(value) else float(value)
