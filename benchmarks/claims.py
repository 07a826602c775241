"""What the kernels claim of each row, checked on whole columns: a status and its number must not contradict each other.

Every check takes what went in and what came out, and gives a row mask for each claim; a True is a violation. Round-off
is allowed for in units of what doubles can attain, which for a volatility is eps + spacing(premium)/(sigma·vega).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.sets import Floats
from pricer.kernels.status import KernelStatus

Codes: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
Masks: TypeAlias = dict[str, Mask]

EPS = float(np.finfo(float).eps)
INV_SQRT_2PI = 0.3989422804014327
SUBNORMAL = 5e-324

# For round trips and warm against cold, in attainable units: two solutions of at most five each, or one and the price
# that it starts from, which is off by up to ten units in its last place.
MOST_UNITS = 16.0

# What outputs hold before a call: a row that a kernel forgets is seen.
UNWRITTEN = -12345.0
NO_STATUS = 255


def option_is_bad(forward: Floats, strike: Floats, ttm: Floats, cp: Floats) -> Mask:
    """Not an option in any model's domain: BAD_INPUT is the only right answer."""
    good = (forward > 0.0) & (forward < np.inf) & (strike > 0.0) & (strike < np.inf) & (ttm >= 0.0) & (ttm < np.inf)
    is_option: Mask = good & (np.abs(cp) == 1.0)
    return ~is_option


def status_claims(status: Codes, allowed: tuple[KernelStatus, ...], bad: Mask, plain: Mask) -> Masks:
    """`bad` rows must be BAD_INPUT, `plain` ones (every input well inside the domain) must not."""
    is_bad = status == KernelStatus.BAD_INPUT
    return {
        "a status that this kernel never gives": ~np.isin(status, [int(each) for each in allowed]),
        "bad input taken for good": bad & ~is_bad,
        "good input refused": plain & is_bad,
    }


def price_claims(options: tuple[Floats, ...], out: Floats, status: Codes, plain: Mask) -> Masks:
    """Between the intrinsic value and the bound, and NaN for bad input only."""
    forward, strike, ttm, sigma, cp = options
    bad = option_is_bad(forward, strike, ttm, cp) | ~((sigma >= 0.0) & (sigma < np.inf))
    valued = status != KernelStatus.BAD_INPUT
    intrinsic, bound = limits(forward, strike, cp)
    allowed = (KernelStatus.OK, KernelStatus.AT_INTRINSIC, KernelStatus.BAD_INPUT)
    return status_claims(status, allowed, bad, plain) | {
        "NaN or infinite, but not BAD_INPUT": valued & ~np.isfinite(out),
        "a number with BAD_INPUT": ~valued & ~np.isnan(out),
        "under the intrinsic value or over the bound": valued & ((out < intrinsic) | (out > bound * (1.0 + 2.0 * EPS))),
    }


def greek_claims(options: tuple[Floats, ...], out: Floats, status: Codes, plain: Mask) -> Masks:
    """All of them finite when OK; at the limits some diverge, but then are NaN, never infinite."""
    forward, strike, ttm, sigma, cp = options
    bad = option_is_bad(forward, strike, ttm, cp) | ~((sigma >= 0.0) & (sigma < np.inf))
    allowed = (KernelStatus.OK, KernelStatus.AT_INTRINSIC, KernelStatus.BAD_INPUT)
    return status_claims(status, allowed, bad, plain) | {
        "NaN or infinite, but OK": (status == KernelStatus.OK) & ~np.isfinite(out).all(axis=0),
        "infinite": np.isinf(out).any(axis=0),
        "a number with BAD_INPUT": (status == KernelStatus.BAD_INPUT) & ~np.isnan(out).all(axis=0),
        "price or delta missing at a limit": (status == KernelStatus.AT_INTRINSIC) & np.isnan(out[:2]).any(axis=0),
    }


def vol_claims(quotes: tuple[Floats, ...], out: Floats, status: Codes, plain: Mask) -> Masks:
    """A positive volatility when OK, zero at the intrinsic value, NaN with every other status."""
    premium, forward, strike, ttm, cp = quotes
    bad = option_is_bad(forward, strike, ttm, cp) | ~np.isfinite(premium)
    intrinsic, bound = limits(forward, strike, cp)
    solvable = status != KernelStatus.BAD_INPUT
    none = ~np.isin(status, [int(KernelStatus.OK), int(KernelStatus.AT_INTRINSIC)])
    return status_claims(status, tuple(KernelStatus), bad, plain & np.isfinite(premium)) | {
        "NaN, infinite or not positive, but OK": (status == KernelStatus.OK) & ~((out > 0.0) & (out < np.inf)),
        "not zero, but AT_INTRINSIC": (status == KernelStatus.AT_INTRINSIC) & (out != 0.0),
        "a number with a status that forbids one": none & ~np.isnan(out),
        "no convergence": status == KernelStatus.NO_CONVERGENCE,
        "under the intrinsic value, and not said so": solvable
        & (premium < intrinsic)
        & (status != KernelStatus.BELOW_INTRINSIC),
        "at the bound, and not said so": solvable & (premium >= bound) & (status != KernelStatus.ABOVE_MAX),
        "a price within the bounds refused": solvable
        & (premium > intrinsic)
        & (premium < bound)
        & ~np.isin(status, [int(KernelStatus.OK), int(KernelStatus.AT_INTRINSIC)]),
    }


def limits(forward: Floats, strike: Floats, cp: Floats) -> tuple[Floats, Floats]:
    """The intrinsic value and the bound of a premium; anything where the option is bad."""
    return np.maximum(cp * (forward - strike), 0.0), np.where(cp > 0.0, forward, strike)


def attainable(quotes: tuple[Floats, ...], sigma: Floats) -> Floats:
    """The relative error of a volatility that one rounding of it and one of its premium make; infinite at no vega."""
    premium, forward, strike, ttm, _ = quotes
    s = sigma * np.sqrt(ttm)
    x = np.log(forward) - np.log(strike)
    root = np.sqrt(forward) * np.sqrt(strike)
    vega_sigma = root * INV_SQRT_2PI * np.exp(-0.5 * (x / s) ** 2 - 0.125 * s * s) * s
    # A premium is no more exact than its share of √(F·K), which may be subnormal where the premium is not.
    return EPS + np.maximum(np.spacing(premium), root * SUBNORMAL) / vega_sigma


def units_apart(quotes: tuple[Floats, ...], first: Floats, second: Floats) -> Floats:
    """How far two volatilities are from one another in `attainable` units; 0 where either is none."""
    units = np.abs(second / first - 1.0) / attainable(quotes, first)
    return np.where(np.isfinite(units), units, 0.0)


def too_low(first: Floats, second: Floats, slack: Floats | float) -> Mask:
    """Where `second` should be the larger and is smaller by more than `slack` of it; False where either is NaN."""
    return second < first * (1.0 - slack)
