"""Messages made by hand: every type of every channel, with the awkward values in every column."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricer.conventions import NO_TIME, Reason, Status
from pricer.sidecar.messages import Column, Message
from pricer.sidecar.schemas.plan import Numbered, Plan, columns, messages

AWKWARD = np.array([np.nan, -0.0, 5e-324, 1e308, -1e308, 2.2250738585072014e-308, 0.1, 99990.65])
ROWS = len(AWKWARD)
_EVERY_REASON = sum(Reason)

VALUES = {
    "double": -0.5,
    "sfixed64": -7,
    "fixed32": 4_000_000_000,
    "uint64": 2**53,
    "Status": "STALE",
    "reasons": ("QUOTE_STALE", "REPLAY"),
}


def column(field: Numbered, rows: int = ROWS) -> Column:
    """A column of a field's own dtype."""
    at = np.arange(rows)
    match field.dtype:
        case "f8":
            return AWKWARD[at % ROWS]
        case "i8":
            return np.array([NO_TIME, 0, -1, 1_795_276_826_715_750_518], np.int64)[at % 4]
        case "i1":
            return np.array([1, -1, 0], np.int8)[at % 3]
        case "u1":
            return (at % len(Status)).astype(np.uint8)
        case "u8":
            return np.array([0, int(Reason.ONE_SIDED | Reason.WIDE_SPREAD), _EVERY_REASON], np.uint64)[at % 3]
    return [f"{field.name}-é-{i % 3}" for i in range(rows)]


def head(plan: Plan) -> dict[str, Any]:
    """A value for every field of a message's head."""
    fields = {f.name: _value(f) for f in plan.fields if f.name not in ("rows", "columns")}
    return plan.constants | fields


def _value(field: Numbered) -> Any:
    if field.nested is not None:
        inner = head(field.nested)
        return [inner, inner] if field.label == "repeated" else inner
    if field.label == "repeated":
        return ["one", "two"]
    if field.proto.startswith("map"):
        return {"gaps": 3, "closed": 300}
    if field.proto == "string":
        return "inverse" if field.name == "settlement" else f"{field.name} ü"
    return VALUES[field.proto]


def message(name: str, rows: int = ROWS) -> Message:
    """The message of that published name, complete."""
    body = head(messages()[name])
    channel, _, kind = name.partition("-")
    if not kind:
        return Message(body)
    table = {field.name: column(field, rows) for field in columns(channel).values()}
    numbers: NDArray[np.int64] | None = np.arange(rows, dtype=np.int64) * 3 if kind == "delta" else None
    return Message(body, table, numbers)


def plain(value: Any) -> Any:
    """A head as any encoding decodes it: lists for tuples."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def bits(column: Column) -> list[Any]:
    """A column's entries to the last bit, every NaN alike."""
    if isinstance(column, list):
        return column
    if column.dtype != np.float64:
        return [str(column.dtype), *column.tolist()]
    return list(np.where(np.isnan(column), np.uint64(0x7FF8000000000000), column.view(np.uint64)).tolist())


def assert_same(one: Message, other: Message, what: str = "") -> None:
    """To the last bit, whichever way they went."""
    assert plain(one.head) == plain(other.head), what
    assert (one.columns is None) == (other.columns is None), what
    assert (one.rows is None) == (other.rows is None), what
    if one.rows is not None and other.rows is not None:
        assert one.rows.tolist() == other.rows.tolist(), what
        assert other.rows.dtype == np.int64
    for name, column in (one.columns or {}).items():
        assert bits((other.columns or {})[name]) == bits(column), f"{what} {name}"
    assert set(one.columns or {}) == set(other.columns or {}), what
