"""Deribit's JSON-RPC frames: what comes in, what goes out, and which of our calls still wait for a reply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from pricer.adapters.adapter import WsSend
from pricer.adapters.wire import DECODE_ERRORS

# Errors that pass by themselves: the same is asked again later, on the same connection.
PASSING_ERRORS = frozenset({10028, 10041, 10047, 10066, 11051})
# Errors that concern all channels alike, so that halving the request would find no culprit.
ERRORS_FOR_ALL = frozenset({11056, 13009, 13778})

_NO_RAW = msgspec.Raw(b"")

Purpose = Literal["heartbeat", "list", "test", "probe"]


class Params(msgspec.Struct, gc=False):
    """What a notification carries."""

    channel: str = ""
    type: str = ""
    data: msgspec.Raw = _NO_RAW


class Envelope(msgspec.Struct, gc=False):
    """Any frame: a notification has a `method`, a reply has `result` or `error`."""

    method: str | None = None
    params: Params | None = None
    id: int | None = None
    result: msgspec.Raw = _NO_RAW
    error: msgspec.Raw = _NO_RAW
    testnet: bool | None = None
    # When a call came and when its answer left, in microseconds by the venue's clock.
    usIn: msgspec.Raw = _NO_RAW
    usOut: msgspec.Raw = _NO_RAW

    @property
    def is_error(self) -> bool:
        return bool(self.error) and bytes(self.error) != b"null"


decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_names = msgspec.json.Decoder(list[str]).decode
_decode_integer = msgspec.json.Decoder(int).decode


def stamps_of(reply: Envelope) -> tuple[int, int] | None:
    """When a call came to the venue and when its answer left, in nanoseconds by its clock; None if it is unsaid."""
    try:
        return 1_000 * _decode_integer(reply.usIn), 1_000 * _decode_integer(reply.usOut)
    except DECODE_ERRORS:
        return None


def request(request_id: int, method: str, params: dict[str, Any], *, secret: bool = False) -> WsSend:
    """The frame of one call."""
    body = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return WsSend(msgspec.json.encode(body).decode(), secret)


@dataclass(slots=True)
class Call:
    """A request of ours, other than subscriptions, that waits for its reply; `about` is which list, for example."""

    id: int
    purpose: Purpose
    sent_ns: int
    deadline_ns: int
    about: str = ""


class Calls:
    """Our calls that wait for their replies, by number."""

    def __init__(self, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._waiting: dict[int, Call] = {}

    def add(self, request_id: int, purpose: Purpose, now_ns: int, about: str = "") -> None:
        """`request_id` goes out now."""
        self._waiting[request_id] = Call(request_id, purpose, now_ns, now_ns + self._timeout_ns, about)

    def get(self, request_id: int | None) -> Call | None:
        """The call that waits under this number."""
        return None if request_id is None else self._waiting.get(request_id)

    def pop(self, request_id: int | None) -> Call | None:
        """The same, and it waits no longer."""
        return None if request_id is None else self._waiting.pop(request_id, None)

    def overdue(self, now_ns: int) -> list[Call]:
        """Those that nobody will answer any more; they are forgotten."""
        late = [call for call in self._waiting.values() if call.deadline_ns <= now_ns]
        for call in late:
            del self._waiting[call.id]
        return late

    def deadlines(self) -> Iterator[int]:
        """When each runs out of patience."""
        return (call.deadline_ns for call in self._waiting.values())

    def clear(self) -> None:
        """A new connection answers none of them."""
        self._waiting.clear()
