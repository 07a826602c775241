"""Rounding by significant digits, once, to doubles: so that every encoding of a message carries the same numbers."""

from __future__ import annotations

import math

import numpy as np
import numpy.ma  # Numba asks it about the first array that it is given, and by then somebody waits
from numpy.typing import NDArray

from pricer.kernels import publishing


def round_significant(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Each value to so many significant digits, in a new array; NaN, zeros and infinities stay what they are.

    >>> round_significant(np.array([123456.789, 0.000123456, 0.0]), 4).tolist()
    [123500.0, 0.0001235, 0.0]
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    flat.flags.writeable = False  # a view; the kernel is compiled for what may not be written
    out = np.empty(flat.shape)
    publishing.round_significant(flat, digits, out)
    out += 0.0  # -0.0 becomes 0.0: they are equal, so no delta would tell them apart, but a checksum would
    return out.reshape(values.shape)


def rounded(value: float, digits: int) -> float | None:
    """One value in the same way; None where there is none.

    >>> rounded(123456.789, 4), rounded(math.nan, 4)
    (123500.0, None)
    """
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None
