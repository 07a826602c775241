"""The picture of a small table: what the channels of some rows (forwards, smiles, feeds, levels, trades) show.

A table is a dict of columns of equal length, whose dtypes `pricer.sidecar.messages` explains. Two tables of the same
rows are compared column by column, and a delta has the rows in which any column differs, of the columns that do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pricer.clock import Instant
from pricer.sidecar.channels.channel import Content
from pricer.sidecar.checksum import crc32_of
from pricer.sidecar.messages import Column, Columns, Head

Rows = NDArray[np.int64]
_NO_ROWS = np.empty(0, np.int64)
_Column = TypeVar("_Column", bound=Any)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One table at `now`; its columns are never changed.

    `head` is what every message says; `news` is the part of it that a consumer must hear of when it changes, in any
    form that can be compared. The columns in `identity` say what a row is: where they differ, the rows are others.
    """

    now: Instant
    columns: Columns
    identity: tuple[str, ...] = ()
    head: Head = field(default_factory=dict)
    news: Any = None

    def says_the_same_as(self, other: Any) -> bool:
        """Equal in all but the time."""
        return self.news == other.news and _same(self.columns, other.columns, self.columns)

    def has_rows_of(self, other: Any) -> bool:
        """As many rows, and the same by their identity."""
        return len(self) == len(other) and _same(self.columns, other.columns, self.identity)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def whole(self) -> Content:
        """Every column of every row."""
        return Content(self.head, self.columns)

    def since(self, other: Any) -> Content:
        """The rows in which something differs, and the columns that do."""
        differing = {
            name: mask
            for name, column in self.columns.items()
            if name not in self.identity and (mask := differences(other.columns[name], column)).any()
        }
        if not differing:
            return Content(self.head, {}, _NO_ROWS)
        rows = np.flatnonzero(np.logical_or.reduce(list(differing.values())))
        return Content(self.head, {name: picked(self.columns[name], rows) for name in differing}, rows)

    def crc32(self) -> int:
        """Over the float64 columns that deltas may change."""
        return crc32_of(
            [
                column
                for name, column in self.columns.items()
                if name not in self.identity and not isinstance(column, list) and column.dtype == np.float64
            ]
        )


def differences(old: Column, new: Column) -> NDArray[np.bool_]:
    """In which rows two columns of one length differ; NaN equals NaN."""
    if isinstance(old, list) or isinstance(new, list):
        return np.fromiter((one != other for one, other in zip(old, new, strict=True)), np.bool_, len(new))
    changed: NDArray[np.bool_] = old != new
    if new.dtype == np.float64:
        changed &= ~(np.isnan(old) & np.isnan(new))
    return changed


def picked(column: _Column, rows: Rows) -> _Column:
    """Some rows of a column, in that order."""
    if isinstance(column, list):
        return [column[row] for row in rows.tolist()]  # type: ignore[return-value]
    return column[rows]  # type: ignore[no-any-return]


def chosen(columns: Mapping[str, Column], of: Sequence[str], wanted: Sequence[str]) -> dict[str, Column]:
    """`columns` without those of `of` that are not `wanted`; nothing wanted in particular is all."""
    left_out = set(of) - set(wanted) if wanted else ()
    return {name: column for name, column in columns.items() if name not in left_out}


def _same(one: Columns, other: Columns, names: Collection[str]) -> bool:
    return all(len(one[name]) == len(other[name]) and not differences(other[name], one[name]).any() for name in names)
