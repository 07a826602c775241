"""The checksum by which a consumer proves that it has what the sidecar has: a CRC-32 over the bytes of its numbers.

The numbers are those of all float64 columns that deltas may change, in the order in which a `snapshot` lists them, row
by row: 8 little-endian bytes each, and 0x7ff8000000000000 for no value, which is whatever is not finite. So the answer
does not depend on the encoding, nor on which of the many NaNs a program has.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NO_VALUE = np.uint64(0x7FF8000000000000)


def crc32_of(columns: Sequence[NDArray[np.float64]] | NDArray[np.float64], before: int = 0) -> int:
    """The checksum of columns of equal length, or of an array [column, row]; `before` is that of the rows above them.

    >>> crc32_of([np.array([1.0, np.nan]), np.array([2.0, 3.0])])
    1865578984
    >>> crc32_of([])
    0
    """
    if not len(columns):
        return before
    table = np.array(columns, "<f8").T.copy()  # in memory row by row
    bits = table.view("<u8")
    bits[~np.isfinite(table)] = NO_VALUE
    return zlib.crc32(bits.data.cast("B"), before) if bits.size else before
