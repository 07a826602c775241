"""Protobuf's bytes to the objects that JSON would have given, and columns to numpy; `PayloadError` for other bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricer.conventions import Reason, Status
from pricer.errors import PayloadError
from pricer.sidecar.encodings.columns import array_from
from pricer.sidecar.encodings.proto_writing import WIRE_TYPES
from pricer.sidecar.encodings.wireformat import LENGTH, VARINT, fields
from pricer.sidecar.schemas.plan import Numbered, Plan, plans


def unwrapped(payload: bytes | str, names: Mapping[int, str]) -> tuple[str, memoryview]:
    """The name and the bytes of the one body; of several the last counts, as for protobuf's own readers."""
    if isinstance(payload, str):
        raise PayloadError("protobuf comes in binary messages")
    found = None
    for number, wire_type, value in fields(memoryview(payload)):
        if number in names and wire_type == LENGTH and isinstance(value, memoryview):
            found = names[number], value
    if found is None:
        raise PayloadError("a message without a body that is known here")
    return found


def read(plan: Plan, data: memoryview, only_what_is_there: bool = False) -> dict[str, Any]:
    """The fields of a message by name. Unknown ones are left out; absent ones are what JSON has in their place."""
    out: dict[str, Any] = {}
    takers = _takers(plan.name)
    for number, wire_type, value in fields(data):
        take = takers.get(number)
        if take is not None:
            take(wire_type, value, out, only_what_is_there)
    if not only_what_is_there:
        for field in plan.fields:
            if field.name not in out and not field.may_be_absent:
                out[field.name] = _default(field)
    return out


def _default(field: Numbered) -> Any:
    if field.label == "repeated":
        return array_from(field.dtype, b"") if field.dtype else []
    if field.label == "optional" or field.nested is not None:
        return None
    if field.proto.startswith("map"):
        return {}
    return {"string": "", "bool": False, "Status": "OK", "reasons": [], "double": 0.0}.get(field.proto, 0)


# What to do with a field: its wire type and value, where it goes, and whether absent fields stay absent.
Take = Callable[[int, "int | memoryview", dict[str, Any], bool], None]


@cache
def _takers(message: str) -> dict[int, Take]:
    return {field.number: _taker(field) for field in plans()[message].fields}


def _taker(field: Numbered) -> Take:
    name = field.name
    if field.nested is not None:
        return _message_taker(field, field.nested)
    if field.dtype is not None:
        return _single(name, LENGTH, lambda data: _column(field, data))
    if field.label == "repeated":
        return _listed(name, _string)
    if field.proto.startswith("map"):
        return _map_taker(name)
    return _single(name, WIRE_TYPES[field.proto], _PARSERS[field.proto])


def _single(name: str, wanted: int, parse: Callable[[Any], Any]) -> Take:
    def take(wire_type: int, value: int | memoryview, out: dict[str, Any], bare: bool) -> None:
        _want(name, wire_type, wanted)
        out[name] = parse(value)

    return take


def _listed(name: str, parse: Callable[[Any], Any]) -> Take:
    def take(wire_type: int, value: int | memoryview, out: dict[str, Any], bare: bool) -> None:
        _want(name, wire_type, LENGTH)
        out.setdefault(name, []).append(parse(value))

    return take


def _map_taker(name: str) -> Take:
    def take(wire_type: int, value: int | memoryview, out: dict[str, Any], bare: bool) -> None:
        _want(name, wire_type, LENGTH)
        key, much = _entry(_bytes(value))
        out.setdefault(name, {})[key] = much

    return take


def _message_taker(field: Numbered, plan: Plan) -> Take:
    name, is_table, is_list = field.name, field.name == "columns", field.label == "repeated"

    def take(wire_type: int, value: int | memoryview, out: dict[str, Any], bare: bool) -> None:
        _want(name, wire_type, LENGTH)
        nested = read(plan, _bytes(value), bare or is_table)  # a column that is absent did not change
        if is_list:
            out.setdefault(name, []).append(nested)
        else:
            out[name] = nested

    return take


def _want(name: str, wire_type: int, wanted: int) -> None:
    if wire_type != wanted:
        raise PayloadError(f"{name} has wire type {wire_type}, not {wanted}")


def _bytes(value: int | memoryview) -> memoryview:
    assert isinstance(value, memoryview), "the wire type says so"
    return value


def _string(value: int | memoryview) -> str:
    try:
        return str(_bytes(value), "utf-8")
    except UnicodeDecodeError as error:
        raise PayloadError(f"a string that is not UTF-8: {error.reason}") from None


def _status(value: int | memoryview) -> str:
    return Status(value).name if value in _STATUSES else Status.INVALID.name


def _column(field: Numbered, data: memoryview) -> NDArray[Any]:
    """A packed column. Statuses and signs are varints that our sidecar never makes longer than a byte."""
    assert field.dtype is not None
    if field.dtype not in ("i1", "u1"):
        return array_from(field.dtype, data)
    values = array_from("u1", data)
    if (values > 0x7F).any():
        raise PayloadError(f"{field.name} has a number of more than seven bits")
    return values if field.dtype == "u1" else ((values >> 1) ^ -(values & 1).astype(np.int8)).astype(np.int8)


def _entry(data: memoryview) -> tuple[str, int]:
    """One entry of a map."""
    name, much = "", 0
    for number, wire_type, value in fields(data):
        if number == 1 and wire_type == LENGTH:
            name = _string(value)
        elif number == 2 and wire_type == VARINT and isinstance(value, int):
            much = value
    return name, much


def _reason_names(mask: int) -> list[str]:
    """Bits that we do not know are left out."""
    return list(Reason(mask & _KNOWN).names)


_KNOWN = sum(Reason)
_STATUSES = frozenset(Status)
_PARSERS: dict[str, Callable[[Any], Any]] = {
    "double": lambda value: struct.unpack("<d", value)[0],
    "sfixed64": lambda value: struct.unpack("<q", value)[0],
    "fixed32": lambda value: struct.unpack("<I", value)[0],
    "reasons": lambda value: _reason_names(struct.unpack("<Q", value)[0]),
    "string": _string,
    "uint64": int,
    "bool": bool,
    "Status": _status,
}
