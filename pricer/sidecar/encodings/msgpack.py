"""MessagePack: the head's fields as in JSON, the table's columns as raw little-endian bytes.

A numeric column, and the `rows` of a delta, is a map {"t": letters, "b": bytes}; `pricer.sidecar.encodings.columns` has
the letters. A column of strings is an array of strings, nil for none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pricer.errors import PayloadError
from pricer.sidecar.encodings.columns import array_from, buffers, letters_of
from pricer.sidecar.messages import Column, Message

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


class MsgpackEncoding:
    """No text is made of any number: 1,000 options are copied, not printed."""

    name = "msgpack"
    subprotocol = "volstream.v1.msgpack"
    is_text = False

    def encode(self, message: Message) -> bytes:
        """One map."""
        body = message.head
        if message.columns is not None:
            body = dict(body)
            if message.rows is not None:
                body["rows"] = _raw("u4", message.rows.astype("<u4").tobytes())
            raw = buffers(message.columns)
            body["columns"] = {
                name: column if isinstance(column, list) else _raw(letters_of(column), raw[name])
                for name, column in message.columns.items()
            }
        return _encode(body)

    def decode(self, payload: bytes | str) -> Message:
        """The message again, with numpy columns; `PayloadError` where it is none."""
        head = _map(payload)
        columns, rows = head.pop("columns", None), head.pop("rows", None)
        if not isinstance(head.get("type"), str):
            raise PayloadError("a message has a type")
        if columns is None:
            return Message(head)
        if not isinstance(columns, dict):
            raise PayloadError("columns is no map")
        table = {name: _column(column) for name, column in columns.items()}
        return Message(head, table, None if rows is None else _rows(rows))

    def encode_request(self, request: Mapping[str, Any]) -> bytes:
        """A client's request."""
        return _encode(request)

    def decode_request(self, payload: bytes) -> dict[str, Any]:
        """The object that a client sent; `PayloadError` where it is none."""
        return _map(payload)


def _raw(letters: str, data: bytes | memoryview) -> dict[str, Any]:
    return {"t": letters, "b": data}


def _map(payload: bytes | str) -> dict[str, Any]:
    if isinstance(payload, str):
        raise PayloadError("MessagePack comes in binary messages")
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"not a MessagePack map: {error}") from None


def _rows(value: Any) -> NDArray[np.int64]:
    rows = _column(value)
    if isinstance(rows, list) or rows.dtype.kind not in "iu":
        raise PayloadError("rows are no column of integers")
    return rows.astype(np.int64)


def _column(value: Any) -> Column:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not isinstance(value.get("b"), bytes):
        raise PayloadError("a column is an array or a map of t and b")
    return array_from(str(value.get("t")), value["b"])


MSGPACK = MsgpackEncoding()
