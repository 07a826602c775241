"""Protobuf by the published `.proto`, without a runtime for it: fields are numbered by `pricer.sidecar.schemas`.

A column is one packed field, whose bytes are the column's own (`wireformat` says why); nothing is done per value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pricer.errors import PayloadError
from pricer.sidecar.encodings.proto_reading import read, unwrapped
from pricer.sidecar.encodings.proto_writing import table, wrapped, written
from pricer.sidecar.messages import Message
from pricer.sidecar.schemas import requests as forms
from pricer.sidecar.schemas.messages import name_of
from pricer.sidecar.schemas.plan import messages, numbers_of, requests
from pricer.sidecar.schemas.tables import ALWAYS, FIXED

_NUMBERS = {name.replace("_", "-"): number for name, number in numbers_of("Message").items()}
_OPERATIONS = numbers_of("Request")
_BODIES = {number: name for name, number in _NUMBERS.items()}
_REQUESTS = {number: op for op, number in _OPERATIONS.items()}


class ProtobufEncoding:
    """One `Message` of the `.proto`."""

    name = "protobuf"
    subprotocol = "volstream.v1.protobuf"
    is_text = False

    def encode(self, message: Message) -> bytes:
        """The `Message` that wraps the one of this type and channel. What has no field number is left out."""
        name = name_of(message.type, message.head.get("channel"))
        plan = messages()[name]
        parts = [] if message.columns is None else table(plan, message.columns, message.rows)
        return wrapped(_NUMBERS[name], [written(plan, message.head), *parts])

    def decode(self, payload: bytes | str) -> Message:
        """The message again, with numpy columns; `PayloadError` where it is none."""
        name, body = unwrapped(payload, _BODIES)
        plan = messages()[name]
        head = read(plan, body)
        columns, rows = head.pop("columns", None), head.pop("rows", None)
        head = plan.constants | head
        if head["type"] == "snapshot":  # without any row, a column of strings leaves nothing on the wire
            channel = head["channel"]
            columns = {name: [] for name in (*FIXED[channel], *ALWAYS[channel])} | (columns or {})
        return Message(head, columns, None if rows is None else rows.astype(np.int64))

    def encode_request(self, request: Mapping[str, Any]) -> bytes:
        """A client's request, given as the JSON object; `PayloadError` where the `.proto` cannot say it."""
        op, values = forms.from_object(dict(request))
        if op not in requests():
            raise PayloadError(f"no request {op!r} in the .proto")
        return wrapped(_OPERATIONS[op], [written(requests()[op], values)])

    def decode_request(self, payload: bytes) -> dict[str, Any]:
        """A `Request` as the JSON object that says the same; `PayloadError` where it is none."""
        op, body = unwrapped(payload, _REQUESTS)
        return forms.to_object(op, read(requests()[op], body, only_what_is_there=True))


PROTOBUF = ProtobufEncoding()
