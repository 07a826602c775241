"""Messages to protobuf's bytes: one writer a field, made once from the plan of its message."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricer.conventions import Status
from pricer.sidecar.encodings.columns import DTYPES, buffers, mask_of
from pricer.sidecar.encodings.json import Texts
from pricer.sidecar.encodings.wireformat import FIXED32, FIXED64, LENGTH, VARINT, tag, varint
from pricer.sidecar.messages import Column, Columns
from pricer.sidecar.schemas.plan import Numbered, Plan, plans

# A writer gives the bytes of one field, its tag included.
Put = Callable[[Any], bytes]
_NAMES_KEPT = 16_384  # strings with their tags: the names of all options of some underlyings


def wrapped(number: int, parts: Iterable[bytes | memoryview]) -> bytes:
    """A field that holds a message of these parts."""
    parts = list(parts)
    return b"".join((tag(number, LENGTH), varint(sum(map(len, parts))), *parts))


def written(plan: Plan, values: Mapping[str, Any]) -> bytes:
    """All fields but the table."""
    found = values.get
    return b"".join([put(value) for name, put in _writers(plan.name) if (value := found(name)) is not None])


def table(plan: Plan, columns: Columns, rows: NDArray[np.int64] | None) -> list[bytes | memoryview]:
    """The fields `rows` and `columns`; a column without a number is left out."""
    by_name = {field.name: field for field in plan.fields}
    inner = by_name["columns"].nested
    assert inner is not None
    known = {field.name: field for field in inner.fields}
    fitting = {name: _fitting(known[name], column) for name, column in columns.items() if name in known}
    raw, body = buffers(fitting), list[bytes | memoryview]()
    for name, column in fitting.items():
        if isinstance(column, list):
            body.append(_strings(known[name].number)(column))
        else:
            body += _packed(known[name], raw[name])
    out: list[bytes | memoryview] = []
    if rows is not None:
        out += _packed(by_name["rows"], memoryview(rows.astype(DTYPES["u4"]).tobytes()))
    return [*out, tag(by_name["columns"].number, LENGTH) + varint(sum(map(len, body))), *body]


def _fitting(field: Numbered, column: Column) -> Column:
    """The column in the type that the field has. Signs are zigzag varints, which below 64 are single bytes."""
    if field.dtype is None:
        return column if isinstance(column, list) else []  # a table without rows
    values = np.asarray(column).astype(DTYPES[field.dtype], copy=False)
    return ((values << 1) ^ (values >> 7)).view(np.uint8) if field.dtype == "i1" else values


def _packed(field: Numbered, data: memoryview) -> tuple[bytes, memoryview]:
    return tag(field.number, LENGTH) + varint(len(data)), data


def is_of_table(field: Numbered) -> bool:
    """`rows` and the `columns` of a message; a request's `columns` are names."""
    return field.dtype is not None or (field.name == "columns" and field.nested is not None)


@cache
def _writers(message: str) -> tuple[tuple[str, Put], ...]:
    plan = plans()[message]
    return tuple((field.name, _writer(field)) for field in plan.fields if not is_of_table(field))


def _writer(field: Numbered) -> Put:
    """How one field of a head is written."""
    if field.nested is not None:
        return _messages(field, field.nested)
    if field.label == "repeated":
        return _strings(field.number)
    if field.proto.startswith("map"):
        return _counts(field.number)
    head = tag(field.number, WIRE_TYPES[field.proto])
    if field.proto in _FIXED:
        pack = struct.Struct(_FIXED[field.proto]).pack
        return lambda value: head + pack(value)
    make = _MADE[field.proto]
    return _repeating(head, make) if field.proto in ("reasons", "Status") else lambda value: head + make(value)


WIRE_TYPES = {"double": FIXED64, "sfixed64": FIXED64, "reasons": FIXED64, "fixed32": FIXED32, "string": LENGTH}
WIRE_TYPES |= {"uint64": VARINT, "bool": VARINT, "Status": VARINT}
_FIXED = {"double": "<d", "sfixed64": "<q", "fixed32": "<I"}


def _text(value: str) -> bytes:
    data = value.encode()
    return varint(len(data)) + data


_MADE: dict[str, Callable[[Any], bytes]] = {
    "reasons": lambda names: struct.pack("<Q", mask_of(names)),
    "string": _text,
    "uint64": varint,
    "bool": varint,
    "Status": lambda name: varint(Status[name]),
}


def _repeating(head: bytes, make: Callable[[Any], bytes]) -> Put:
    """A field of few different values: each is made once with its tag."""
    made = Texts(lambda value: head + make(value))
    return lambda value: made[tuple(value) if isinstance(value, list) else value]


def _messages(field: Numbered, plan: Plan) -> Put:
    head = tag(field.number, LENGTH)

    def put(value: Any) -> bytes:
        body = written(plan, value)
        return head + varint(len(body)) + body

    return put if field.label != "repeated" else lambda values: b"".join(map(put, values))


@cache
def _strings(number: int) -> Put:
    """Names repeat from message to message. None is the empty string."""
    head = tag(number, LENGTH)
    made = Texts(lambda text: head + _text(text or ""), _NAMES_KEPT)
    return lambda texts: b"".join(map(made.__getitem__, texts))


def _counts(number: int) -> Put:
    """A map is a repeated message of key 1 and value 2."""
    head, key, count = tag(number, LENGTH), tag(1, LENGTH), tag(2, VARINT)

    def put(counts: Mapping[str, int]) -> bytes:
        entries = (key + _text(name) + count + varint(much) for name, much in counts.items())
        return b"".join(head + varint(len(entry)) + entry for entry in entries)

    return put
