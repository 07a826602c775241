"""Rounding by significant digits, once, to doubles: so that every encoding of a message carries the same numbers.

A double is divided or multiplied by an exact power of ten, so the result is the double nearest to the decimal number
and prints in as many digits as were asked for.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_LARGEST = 300  # 1e300: the largest power used; below 1e-290 fewer digits than asked for are kept
_POWERS = np.array([float(f"1e{power}") for power in range(_LARGEST + 1)])


def round_significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Each value to so many significant digits, in a new array; NaN, zeros and infinities stay what they are.

    >>> round_significant(np.array([123456.789, 0.000123456, 0.0]), 4).tolist()
    [123500.0, 0.0001235, 0.0]
    """
    ordinary = np.isfinite(values) & (values != 0.0)
    safe = np.where(ordinary, values, 1.0)
    places = np.clip(digits - 1 - np.floor(np.log10(np.abs(safe))), -_LARGEST, _LARGEST).astype(np.int64)
    up, down = _POWERS[np.maximum(places, 0)], _POWERS[np.maximum(-places, 0)]
    out: NDArray[np.float64] = np.where(ordinary, np.rint(safe * up / down) / up * down, values)
    return out


def rounded(value: float, digits: int) -> float | None:
    """One value in the same way; None where there is none.

    >>> rounded(123456.789, 4), rounded(math.nan, 4)
    (123500.0, None)
    """
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
