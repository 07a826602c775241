"""Payloads of the sidecar back into `Message`s: what a client reads with, without the server's libraries.

JSON does not say what a list holds, so the column's name does; tests hold these names against the models of
`pricer.sidecar.schemas`. Whatever comes is a `Message` or a `PayloadError`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from pricer.conventions import NO_TIME, Status
from pricer.errors import PayloadError
from pricer.sidecar.encodings.columns import mask_of
from pricer.sidecar.encodings.msgpack import MSGPACK
from pricer.sidecar.messages import Column, Message

Decode = Callable[[bytes | str], Message]

TEXTS = frozenset(
    (
        "name",
        "kind",
        "state",
        "detail",
        "source",
        "model",
        "instrument",
        "id",
        "settlement_currency",
        "scope",
        "field",
        "rule",
        "subject",
        "metric",
        "limit",
    )
)
SIGNS = frozenset({"cp", "side", "certified"})
COUNTS = frozenset({"number"})
_STATUSES = {status.name: int(status) for status in Status}
_NUMBERS, _INSTANTS = list[float | None], list[int | None]
_SIGNS, _NAMES, _LISTS, _TEXTS, _ROWS = list[int], list[str], list[list[str]], list[str | None], list[int]
_WHATEVER = list[Any]


def decode_json(payload: bytes | str) -> Message:
    """One message of `volstream.v1.json`; `PayloadError` where it is none.

    >>> decode_json('{"type": "delta", "rows": [0], "columns": {"iv": [null]}}').columns["iv"]
    array([nan])
    """
    try:
        body = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise PayloadError(f"not JSON: {type(error).__name__}") from None
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise PayloadError("a message is a JSON object with a type")
    columns, rows = body.pop("columns", None), body.pop("rows", None)
    if columns is None:
        return Message(body)
    if not isinstance(columns, dict):
        raise PayloadError("columns are no JSON object")
    try:
        typed = {name: column_of(name, column) for name, column in columns.items()}
        numbers = None if rows is None else np.array(msgspec.convert(rows, _ROWS), np.int64)
    except (msgspec.ValidationError, KeyError, OverflowError) as error:
        raise PayloadError(f"a column with values of another kind: {error}") from None
    return Message(body, typed, numbers)


def column_of(name: str, column: Any) -> Column:
    """A JSON list as the column of that name. What is not known, and holds no numbers, stays a list."""
    if name == "status" or name.endswith("_status"):
        return np.array([_STATUSES[each] for each in msgspec.convert(column, _NAMES)], np.uint8)
    if name == "reasons" or name.endswith("_reasons"):
        return np.array([mask_of(each) for each in msgspec.convert(column, _LISTS)], np.uint64)
    if name.endswith("_ns") or name in COUNTS:
        return np.array([NO_TIME if ns is None else ns for ns in msgspec.convert(column, _INSTANTS)], np.int64)
    if name in SIGNS:
        return np.array(msgspec.convert(column, _SIGNS), np.int8)
    if name in TEXTS:
        return msgspec.convert(column, _TEXTS)
    try:
        return np.array(msgspec.convert(column, _NUMBERS), np.float64)  # null becomes NaN
    except msgspec.ValidationError:
        return msgspec.convert(column, _WHATEVER)


# By WebSocket subprotocol, the best first: what a client offers, in this order.
DECODERS: dict[str, Decode] = {MSGPACK.subprotocol: MSGPACK.decode, "volstream.v1.json": decode_json}
DEFAULT = "volstream.v1.json"
