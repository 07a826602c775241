"""Columnar JSON: the default, and what browsers read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pricer.conventions import NO_TIME, Reason, Status
from pricer.errors import PayloadError
from pricer.sidecar.decoding import decode_json
from pricer.sidecar.messages import Column, Message

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
_NO_TIME = orjson.dumps(NO_TIME)


class JsonEncoding:
    """Lists for columns, names for statuses and reasons, null for what there is not."""

    name = "json"
    subprotocol = "volstream.v1.json"
    is_text = True

    def encode(self, message: Message) -> bytes:
        """One JSON text in UTF-8."""
        body = message.head
        if message.columns is not None:
            body = dict(body)
            if message.rows is not None:
                body["rows"] = message.rows
            body["columns"] = {name: listed(column) for name, column in message.columns.items()}
        return orjson.dumps(body, option=_OPTIONS)

    def decode(self, payload: bytes | str) -> Message:
        """The message again, with numpy columns; `PayloadError` where it is none."""
        return decode_json(payload)

    def encode_request(self, request: Mapping[str, Any]) -> bytes:
        """A client's request."""
        return orjson.dumps(request)

    def decode_request(self, payload: bytes | str) -> dict[str, Any]:
        """The object that a client sent; `PayloadError` where it is none."""
        return _object(payload)


def _object(payload: bytes | str) -> dict[str, Any]:
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(value, dict):
        raise PayloadError("a message is a JSON object")
    return value


class Texts(dict[Any, bytes]):
    """The encoded form of a few different values, each made once; bounded."""

    def __init__(self, make: Callable[[Any], bytes], most: int = 4096) -> None:
        super().__init__()
        self._make, self._most = make, most

    def __missing__(self, value: Any) -> bytes:
        if len(self) >= self._most:
            self.clear()
        self[value] = text = self._make(value)
        return text


STATUS_TEXTS = Texts(lambda code: orjson.dumps(Status(code).name))
REASON_TEXTS = Texts(lambda mask: orjson.dumps(Reason(mask).names))


def listed(column: Column) -> Any:
    """A column as orjson is to write it; the dtype says what it means."""
    if isinstance(column, list):
        return column
    if column.dtype == np.uint8:
        return _joined(STATUS_TEXTS, column)
    if column.dtype == np.uint64:
        return _joined(REASON_TEXTS, column)
    contiguous = np.ascontiguousarray(column)
    return _with_nulls(contiguous) if column.dtype == np.int64 else contiguous


def _joined(texts: Texts, numbers: NDArray[Any]) -> orjson.Fragment:
    """A JSON list of texts that repeat: put together, not encoded again."""
    return orjson.Fragment(b"[%b]" % b",".join(map(texts.__getitem__, numbers.tolist())))


def _with_nulls(instants: NDArray[np.int64]) -> Any:
    """A column of instants, null where there is none; no instant prints like NO_TIME but itself."""
    if not (instants == NO_TIME).any():
        return instants
    return orjson.Fragment(orjson.dumps(instants, option=_OPTIONS).replace(_NO_TIME, b"null"))


JSON = JsonEncoding()
