"""One client's side of `/v1/stream`, sans-I/O: text in, a request or a refusal out.

A client may send, as JSON text:

    {"op": "subscribe", "channel": "chain", "underlying": "BTC"}     optionally "venue", and "columns": ["iv", "delta"]
    {"op": "unsubscribe", "channel": "chain", "underlying": "BTC"}
    {"op": "ping"}

Subscribing again replaces the subscription and starts with a fresh snapshot. Unknown fields are ignored, so that newer
clients can talk to older servers. Whatever else comes is answered by {"type": "error", "code": ..., "message": ...};
the connection is kept, and closed with 1008 after `max_errors` errors in a row. The server sends `snapshot`, `delta`,
`gap`, `heartbeat`, `unsubscribed`, `pong` and `error`; `pricer.sidecar.wire` has their bodies.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pricer.config import ServerSection
from pricer.snapshot import VALUE_FIELDS

# Long enough for every name that a venue has; short enough to be repeated in an error message.
Name = Annotated[str, Field(min_length=1, max_length=64)]
CHANNELS = ("chain",)


class Request(BaseModel):
    """What all requests share: fields have their own type or are refused, and fields we do not know are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Subscribe(Request):
    """Start, or start anew, with a snapshot; then deltas."""

    op: Literal["subscribe"]
    channel: Literal["chain"]
    underlying: Name
    venue: Name | None = None
    columns: Annotated[list[Name], Field(max_length=len(VALUE_FIELDS))] | None = None


class Unsubscribe(Request):
    """No more messages of this chain."""

    op: Literal["unsubscribe"]
    channel: Literal["chain"]
    underlying: Name
    venue: Name | None = None


class Ping(Request):
    """Answered by `pong` with the server's clocks."""

    op: Literal["ping"]


AnyRequest = Subscribe | Unsubscribe | Ping
_REQUESTS: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="op")])


class Refused(Exception):
    """A request that cannot be served: `code` for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def reply(self) -> bytes:
        """What the client gets."""
        return orjson.dumps({"type": "error", "code": self.code, "message": str(self)})


# Every code that an error can have; metrics are labelled with them.
CODES = (
    "bad_json",
    "bad_request",
    "too_large",
    "not_text",
    "rate_limited",
    "unknown_op",
    "unknown_channel",
    "unknown_underlying",
    "unknown_venue",
    "unknown_column",
    "not_subscribed",
    "too_many_subscriptions",
    "too_many_streams",
)


class Session:
    """What is remembered of one client between its messages: its errors in a row and its request rate."""

    def __init__(self, settings: ServerSection) -> None:
        self._settings = settings
        self._burst = 2.0 * settings.max_requests_per_s
        self._tokens = max(self._burst, 1.0)
        self._refilled_ns: int | None = None
        self.errors = 0

    def receive(self, text: str | bytes, mono_ns: int) -> AnyRequest:
        """The request in one message; `Refused` where there is none or it comes too soon."""
        self._take_token(mono_ns)
        if isinstance(text, bytes):
            raise Refused("not_text", "send JSON as a text message")
        return parse(text, self._settings.max_message_bytes)

    def served(self) -> None:
        """A request was in order: errors are counted in a row."""
        self.errors = 0

    def refused(self) -> bool:
        """Count an error; True when there were too many in a row and the client is to be closed."""
        self.errors += 1
        return self.errors >= self._settings.max_errors

    def _take_token(self, mono_ns: int) -> None:
        """A bucket that holds two seconds' worth of requests."""
        rate = self._settings.max_requests_per_s
        if self._refilled_ns is not None:
            self._tokens = min(self._burst, self._tokens + (mono_ns - self._refilled_ns) * 1e-9 * rate)
        self._refilled_ns = mono_ns
        if self._tokens < 1.0:
            raise Refused("rate_limited", f"at most {rate:g} messages a second")
        self._tokens -= 1.0


def parse(text: str, max_bytes: int) -> AnyRequest:
    """A request from its JSON text; `Refused` says what is wrong, without a word about our inside."""
    if len(text) > max_bytes or len(text.encode()) > max_bytes:
        raise Refused("too_large", f"a message has at most {max_bytes} bytes")
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused("bad_json", f"not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(message, dict):
        raise Refused("bad_request", "a message is a JSON object")
    try:
        request = _REQUESTS.validate_python(message)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False, include_input=False)[0], message) from None
    if isinstance(request, Subscribe) and request.columns is not None:
        _check_columns(request.columns)
    return request


def _check_columns(columns: list[str]) -> None:
    for name in columns:
        if name not in VALUE_FIELDS:
            raise Refused("unknown_column", f"no column {name!r}; there are {', '.join(VALUE_FIELDS)}")


def _refusal(fault: Any, message: dict[str, Any]) -> Refused:
    path = ".".join(str(part) for part in fault["loc"][1:])
    if fault["type"].startswith("union_tag"):
        return Refused("unknown_op", f"op is {_shown(message.get('op'))}; there are subscribe, unsubscribe, ping")
    if path == "channel" and fault["type"] == "literal_error":
        return Refused("unknown_channel", f"channel is {_shown(message['channel'])}; there is {', '.join(CHANNELS)}")
    return Refused("bad_request", f"{path}: {fault['msg']}")


def _shown(value: Any) -> str:
    """A client's own value in an error message: short, and one line."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


class StreamKey(NamedTuple):
    """What makes subscriptions share one stream and one `seq`."""

    channel: str
    venue: str
    underlying: str
    columns: tuple[str, ...] = VALUE_FIELDS

    @property
    def chain(self) -> tuple[str, str, str]:
        """A client has at most one subscription for each of these."""
        return self[:3]


def key_of(request: Subscribe, venue: str) -> StreamKey:
    """The stream that a subscription asks for, `venue` being its own or the default; columns in their usual order."""
    wanted = VALUE_FIELDS if request.columns is None else tuple(c for c in VALUE_FIELDS if c in set(request.columns))
    return StreamKey(request.channel, venue, request.underlying, wanted)


def about(key: StreamKey, kind: str, seq: int) -> dict[str, Any]:
    """How every message of a stream begins."""
    return {"type": kind, "seq": seq, "channel": key.channel, "venue": key.venue, "underlying": key.underlying}


def gap(key: StreamKey, first: int, last: int) -> bytes:
    """The messages `first` to `last` were dropped; a snapshot with seq = `last` follows."""
    message = about(key, "gap", last)
    del message["seq"]
    return orjson.dumps({"type": "gap", "from": first, "to": last, **message})
