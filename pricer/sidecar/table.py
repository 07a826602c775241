"""A table kept up to date from the messages of one stream, whatever its channel: columns of rows, and their checksum.

Columns have the dtypes of `pricer.sidecar.messages`, so every encoding ends in the same table. A message is checked
as a whole before anything of it is taken: one that does not fit is a `ProtocolError` and changes nothing.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from pricer.conventions import NO_TIME, Reason, Status
from pricer.errors import ProtocolError
from pricer.sidecar.checksum import crc32_of
from pricer.sidecar.messages import Column, Columns

# What a row is; no delta changes these, and no checksum holds them.
FIXED = frozenset({"strike", "tick_size", "min_amount", "contract_size"})
# Seven times what the largest venue lists: more rows are not from our sidecar.
MOST_ROWS = 20_000
MOST_COLUMNS = 256
# 146 years either side of zero: sums and differences of two such instants still fit.
FURTHEST_NS = 2**62
KNOWN_REASONS = np.uint64(sum(Reason))


class Table:
    """Columns by name. Arrays are replaced, never changed, and read-only: whoever holds one keeps what it was."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}
        self.rows = 0

    def begin(self, columns: Columns) -> None:
        """Every row anew, as a `snapshot` has them."""
        rows = len(next(iter(columns.values()), ()))
        _check(columns, rows)
        self.columns, self.rows = {name: _frozen(column) for name, column in columns.items()}, rows

    def change(self, rows: NDArray[np.int64], columns: Columns) -> None:
        """The rows of a `delta`. A column that the table does not have is a newer sidecar's, and left out."""
        _check(columns, len(rows))
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.rows):
            raise ProtocolError(f"a delta names rows beyond the {self.rows} there are")
        changed = {
            name: _with(self.columns[name], rows, column) for name, column in columns.items() if name in self.columns
        }
        self.columns |= changed

    def crc32(self) -> int:
        """Of all value columns that deltas may change, as docs/protocol.md has it."""
        return crc32_of([column for name, column in self.columns.items() if _is_value(column, name)])


def _is_value(column: Column, name: str) -> TypeGuard[NDArray[np.float64]]:
    return isinstance(column, np.ndarray) and column.dtype == np.float64 and name not in FIXED


def _check(columns: Columns, rows: int) -> None:
    if rows > MOST_ROWS or len(columns) > MOST_COLUMNS:
        raise ProtocolError(f"a table of {rows} rows and {len(columns)} columns is too large")
    for name, column in columns.items():
        if len(column) != rows:
            raise ProtocolError(f"column {name!r} has {len(column)} values for {rows} rows")
        if isinstance(column, np.ndarray) and not _is_in_bounds(column):
            raise ProtocolError(f"column {name!r} holds what is none of its values")


def _is_in_bounds(column: NDArray[Any]) -> bool:
    """A status is one of four, and an instant may be added to another."""
    if column.ndim != 1:
        return False
    if column.dtype == np.uint8:
        return bool((column <= Status.INVALID).all())
    if column.dtype == np.int64:
        return bool(((np.abs(column) <= FURTHEST_NS) | (column == NO_TIME)).all())
    return True


def _with(old: Column, rows: NDArray[np.int64], new: Column) -> Column:
    """A copy of `old` with `new` in `rows`."""
    if isinstance(old, np.ndarray):
        if not isinstance(new, np.ndarray) or new.dtype != old.dtype:
            raise ProtocolError("a column of a delta is of another kind than the snapshot's")
        out = old.copy()
        out[rows] = new
        return _frozen(out)
    if isinstance(new, np.ndarray):
        raise ProtocolError("a column of a delta is of another kind than the snapshot's")
    listed = list(old)
    for row, value in zip(rows.tolist(), new, strict=True):
        listed[row] = value
    return listed


def _frozen(column: Column) -> Column:
    if isinstance(column, np.ndarray):
        if column.dtype == np.uint64:  # a newer sidecar's reasons that we have no word for
            column = column & KNOWN_REASONS
        column = column.view()
        column.flags.writeable = False
    return column
