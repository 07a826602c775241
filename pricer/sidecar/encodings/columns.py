"""Columns as bytes and back: what the binary encodings share. All numbers are little-endian.

| letters | a column of |
|---|---|
| f8 | float64; no value is exactly 0x7ff8000000000000 |
| i8 | int64; no instant is -2**63 |
| i1 | int8 |
| u1 | uint8: a `Status` by number |
| u8 | uint64: a mask of `Reason`s, bit 0 the first |
| u4 | uint32: row numbers |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricer.conventions import Reason
from pricer.errors import PayloadError
from pricer.sidecar.messages import Column

NO_VALUE = np.uint64(0x7FF8000000000000)
DTYPES = {letters: np.dtype(f"<{letters}") for letters in ("f8", "i8", "i1", "u1", "u8", "u4")}
_REASONS = Reason.__members__


def letters_of(column: NDArray[Any]) -> str:
    """How a column's dtype is called on the wire."""
    return f"{column.dtype.kind}{column.dtype.itemsize}"


def buffers(columns: Mapping[str, Column]) -> dict[str, memoryview]:
    """The bytes of every numeric column.

    All float64 columns go through together, since there are many short ones: numpy's cost is by call. Every NaN becomes
    the same one, so that checksums may be taken over these bytes.
    """
    arrays = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
    floats = {name: column for name, column in arrays.items() if column.dtype == np.float64}
    out = {
        name: np.ascontiguousarray(column, DTYPES[letters_of(column)]).data.cast("B")
        for name, column in arrays.items()
        if name not in floats and column.size
    }
    out |= {name: memoryview(b"") for name, column in arrays.items() if not column.size}
    return out | _float_buffers({name: column for name, column in floats.items() if column.size})


def _float_buffers(floats: dict[str, NDArray[np.float64]]) -> dict[str, memoryview]:
    if not floats:
        return {}
    values = np.concatenate(list(floats.values()))
    values.view(np.uint64)[~np.isfinite(values)] = NO_VALUE
    whole, start, out = values.astype(DTYPES["f8"], copy=False).data.cast("B"), 0, {}
    for name, column in floats.items():
        out[name] = whole[start : start + 8 * len(column)]
        start += 8 * len(column)
    return out


def array_from(letters: str, data: bytes | memoryview) -> NDArray[Any]:
    """A column of these bytes, read-only; `PayloadError` where they are none."""
    dtype = DTYPES.get(letters)
    if dtype is None or len(data) % dtype.itemsize:
        raise PayloadError(f"{len(data)} bytes are no column of type {letters!r}")
    return np.frombuffer(data, dtype)


def mask_of(names: Iterable[str]) -> int:
    """Reasons by name as a mask; a newer sidecar's names that we do not know are left out.

    >>> int(mask_of(["NO_UNDERLYING", "QUOTE_STALE", "SOMETHING_NEW"]))
    5
    """
    mask = 0
    for name in names:
        mask |= _REASONS.get(name, 0)
    return mask
