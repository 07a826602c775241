"""Lists of records as tables: what an answer of nested fields looks like in CSV and Arrow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricer.conventions import NO_TIME
from pricer.sidecar.messages import Column, Head, Message


def table_of(head: Head, records: Sequence[Mapping[str, Any]]) -> Message:
    """One row a record; inner fields get the outer name before them, with a dot. Reasons are joined by |.

    >>> columns = table_of({}, [{"a": 1.5, "b": {"c": "x"}}, {"a": None, "b": {"c": "y"}}]).columns
    >>> columns["a"].tolist(), columns["b.c"]
    ([1.5, nan], ['x', 'y'])
    """
    rows = [flat(record) for record in records]
    seen = list(dict.fromkeys(name for row in rows for name in row))
    # Where inner fields are absent from one record, their outer name is null there: no column of its own.
    names = [name for name in seen if not any(other.startswith(f"{name}.") for other in seen)]
    return Message(head, {name: _column([row.get(name) for row in rows]) for name in names})


def flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The fields of a record side by side."""
    out: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            out[prefix + name] = "|".join(map(str, value))
        else:
            out[prefix + name] = value
    return out


def _column(values: list[Any]) -> Column:
    """The dtype that holds all values: instants and counts stay integers."""
    known = [value for value in values if value is not None]
    if not known or any(isinstance(value, str) for value in known):
        return [None if value is None else str(value) for value in values]
    if all(isinstance(value, int) for value in known):
        return np.array([NO_TIME if value is None else int(value) for value in values], np.int64)
    return np.array([np.nan if value is None else float(value) for value in values], np.float64)


def as_lists(columns: Mapping[str, NDArray[Any] | list[Any]]) -> dict[str, list[Any]]:
    """Small columns as plain lists with None for what there is not, to stand inside another message."""
    return {name: column if isinstance(column, list) else listed_values(column) for name, column in columns.items()}


def listed_values(column: NDArray[Any]) -> list[Any]:
    """Numbers or instants; None where there is none.

    >>> listed_values(np.array([1.5, np.nan])), listed_values(np.array([7, NO_TIME]))
    ([1.5, None], [7, None])
    """
    if column.dtype == np.float64:
        return [value if math.isfinite(value) else None for value in column.tolist()]
    return [None if value == NO_TIME else value for value in column.tolist()]
