"""One client's side of `/v1/stream`, sans-I/O: messages in, a request or a refusal out.

A client may send, as JSON text:

    {"op": "subscribe", "channel": "chain", "underlying": "BTC"}     optionally "venue", and "columns": ["iv", "delta"]
    {"op": "unsubscribe", "channel": "chain", "underlying": "BTC"}
    {"op": "ping"}
    {"op": "auth", "token": "..."}                                   where the sidecar asks for one

or the same fields as a binary message of its encoding. Subscribing again replaces the subscription and starts with a
fresh snapshot. Unknown fields are ignored, so that newer clients can talk to older servers. Whatever else comes is
answered by {"type": "error", "code": ..., "message": ...}, with the subject that it named; the connection is kept,
and closed with 1008 after `max_errors` errors in a row. The server sends `welcome` first; then `snapshot`, `delta`,
`gap`, `heartbeat`, `resumed`, `unsubscribed`, `authorized`, `pong` and `error`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from pricer.config import ServerSection
from pricer.sidecar.messages import Head, Message
from pricer.sidecar.wording import fault_told, path_of, value_shown

if TYPE_CHECKING:
    from pricer.sidecar.encodings import Encoding

# Long enough for every name that a venue has; short enough to be repeated in an error message.
MOST_LETTERS = 64
Name = Annotated[str, Field(min_length=1, max_length=MOST_LETTERS)]
CHANNELS = ("chain", "surface", "forward", "health", "trades", "depth", "alerts")
WITHOUT_UNDERLYING = ("health", "alerts")
PROTOCOL = 1
# Subprotocols of ours begin so; a client that offers one that we lack must not be given another.
OURS = "volstream."
# What a request costs beyond one: a stream that nobody else reads is work at every tick.
NEW_STREAM_COST = 4.0
# Our own requests nest three deep; the rest is for fields of newer clients.
MOST_DEPTH = 16


class Request(BaseModel):
    """What all requests share: fields have their own type or are refused, and fields we do not know are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Expiries(Request):
    """The nearest so many expiries."""

    first: Annotated[int, Field(ge=1, le=1000)]


class Strikes(Request):
    """A window of strikes around each expiry's forward, by exactly one of three measures.

    `count`: so many strikes on each side. `percent`: within so many percent of the forward. `delta`: strikes at which
    the option out of the money has at least that absolute model delta. The window follows the market, without flapping.
    """

    count: Annotated[int, Field(ge=1, le=1000)] | None = None
    percent: Annotated[float, Field(gt=0, le=1000)] | None = None
    delta: Annotated[float, Field(gt=0, lt=0.5)] | None = None


class Subscribe(Request):
    """Start, or start anew, with a snapshot; then deltas.

    With `session`, `stream` and `seq`, what a client last had, the missed messages come in place of the snapshot where
    the sidecar still has them.
    """

    op: Literal["subscribe"]
    channel: Literal["chain", "surface", "forward", "health", "trades", "depth", "alerts"]
    underlying: Name | None = None  # health and alerts need none
    venue: Name | None = None
    instrument: Name | None = None  # depth needs one; trades may have one
    columns: Annotated[list[Name], Field(max_length=64)] | None = None
    expiries: Annotated[list[Name], Field(min_length=1, max_length=64)] | Expiries | None = None
    strikes: Strikes | None = None
    interval_ms: Annotated[int, Field(ge=1, le=60_000)] | None = None
    session: Name | None = None
    stream: Annotated[int, Field(ge=0)] | None = None
    seq: Annotated[int, Field(ge=0)] | None = None


class Unsubscribe(Request):
    """No more messages of this chain."""

    op: Literal["unsubscribe"]
    channel: Literal["chain", "surface", "forward", "health", "trades", "depth", "alerts"]
    underlying: Name | None = None
    venue: Name | None = None
    instrument: Name | None = None


class Ping(Request):
    """Answered by `pong` with the server's clocks."""

    op: Literal["ping"]


class Auth(Request):
    """Who the client is, where it could not say so in a header: browsers cannot.

    `pricer.sidecar.door` reads the first one; a later one changes nothing.
    """

    op: Literal["auth"]
    token: Annotated[SecretStr, Field(min_length=1, max_length=4096)]


AnyRequest = Subscribe | Unsubscribe | Ping | Auth
OPS = ("subscribe", "unsubscribe", "ping", "auth")
_REQUESTS: TypeAdapter[AnyRequest] = TypeAdapter(Annotated[AnyRequest, Field(discriminator="op")])


SUBJECT = ("channel", "venue", "underlying", "instrument")


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MOST_LETTERS


class Refused(Exception):
    """A request that cannot be served: `code` for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.subject: Head = {}

    def to(self, request: Iterable[tuple[str, Any]]) -> Self:
        """With what the request named, as it named it: by that a client with several on their way knows which."""
        self.subject = {name: value for name, value in request if name in SUBJECT and _is_name(value)}
        return self

    @property
    def head(self) -> Head:
        """What the client gets."""
        return {"type": "error", "code": self.code, "message": str(self), **self.subject}

    @property
    def reply(self) -> bytes:
        """The same as JSON."""
        return orjson.dumps(self.head)


# Every code that an error can have; metrics are labelled with them.
CODES = (
    "bad_json",
    "bad_request",
    "too_large",
    "not_text",
    "bad_binary",
    "rate_limited",
    "unauthorized",
    "forbidden",
    "unknown_op",
    "unknown_channel",
    "unknown_underlying",
    "unknown_venue",
    "unknown_column",
    "unknown_expiry",
    "unknown_instrument",
    "not_subscribed",
    "too_many_subscriptions",
    "too_many_streams",
    "too_many_clients",
)


class Session:
    """What is remembered of one client between its messages: errors in a row, and request rate."""

    def __init__(self, settings: ServerSection, encoding: Encoding | None = None) -> None:
        self._settings = settings
        self._encoding = encoding
        self._burst = 2.0 * settings.max_requests_per_s
        self._tokens = max(self._burst, 1.0)
        self._refilled_ns: int | None = None
        self.errors = 0

    def receive(self, data: str | bytes, mono_ns: int) -> AnyRequest:
        """The request in one message; `Refused` where there is none, or it comes too soon."""
        self.charge(1.0, mono_ns)
        return parse(data, self._settings.max_message_bytes, self._encoding)

    def charge(self, cost: float, mono_ns: int) -> None:
        """Take from a bucket that holds two seconds' worth of requests; `Refused` when it is empty."""
        rate = self._settings.max_requests_per_s
        if self._refilled_ns is not None:
            self._tokens = min(self._burst, self._tokens + (mono_ns - self._refilled_ns) * 1e-9 * rate)
        self._refilled_ns = mono_ns
        if self._tokens < min(cost, self._burst):
            raise Refused("rate_limited", f"at most {rate:g} messages a second; what makes work counts more")
        self._tokens -= cost

    def served(self) -> None:
        """A request was in order: errors are counted in a row."""
        self.errors = 0

    def refused(self) -> bool:
        """Count an error; True when there were too many in a row and the client is to be closed."""
        self.errors += 1
        return self.errors >= self._settings.max_errors


def negotiate(offered: Iterable[str], encodings: dict[str, Encoding], default: Encoding) -> tuple[Encoding, str | None]:
    """The encoding of a connection and the subprotocol to confirm: the first of the client's that there is.

    A client that offers none of ours gets the default. `Refused` where it offers only such of ours as we lack: it is
    newer or older than we are, and would not understand.
    """
    names = list(offered)
    for name in names:
        if name in encodings:
            return encodings[name], name
    if any(name.startswith(OURS) for name in names):
        raise Refused("unknown_subprotocol", f"there are the subprotocols {', '.join(encodings)}")
    return default, None


def parse(data: str | bytes, max_bytes: int, encoding: Encoding | None = None) -> AnyRequest:
    """A request from a message; `Refused` says what is wrong, without a word about our inside."""
    if len(data) > max_bytes or (isinstance(data, str) and len(data.encode()) > max_bytes):
        raise Refused("too_large", f"a message has at most {max_bytes} bytes")
    message = _from_json(data) if isinstance(data, str) else _from_binary(data, encoding)
    try:
        request = _REQUESTS.validate_python(message)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False)[0], message).to(message.items()) from None
    whole = isinstance(request, Ping | Auth) or request.underlying or request.channel in WITHOUT_UNDERLYING
    if not whole:
        raise Refused("bad_request", "underlying: field required").to(message.items())
    return request


def _from_json(text: str) -> dict[str, Any]:
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refused("bad_json", f"not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(message, dict):
        raise Refused("bad_request", "a message is a JSON object")
    _check_depth(message)
    # orjson takes the last of two equal names, other readers the first: neither may be what was meant.
    json.loads(text, object_pairs_hook=_without_twins)
    return message


def _check_depth(message: dict[str, Any]) -> None:
    level: list[Any] = [message]
    for _ in range(MOST_DEPTH):
        inner = [child for each in level for child in (each.values() if isinstance(each, dict) else each)]
        level = [child for child in inner if isinstance(child, dict | list)]
        if not level:
            return
    raise Refused("bad_request", f"nested more than {MOST_DEPTH} deep")


def _without_twins(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        raise Refused("bad_json", "a name stands twice in one object")


def _from_binary(payload: bytes, encoding: Encoding | None) -> dict[str, Any]:
    if encoding is None or encoding.is_text:
        raise Refused("not_text", "send JSON as a text message")
    try:
        message = encoding.decode_request(payload)
    except ValueError:
        raise Refused("bad_binary", f"not a request in {encoding.name}") from None
    if not isinstance(message, dict):
        raise Refused("bad_request", "a message is a map")
    _check_depth(message)
    return message


def _refusal(fault: Any, message: dict[str, Any]) -> Refused:
    path = path_of(fault["loc"])
    if fault["type"].startswith("union_tag"):
        return Refused("unknown_op", f"op is {value_shown(message.get('op'))}; there are {', '.join(OPS)}")
    if path == "channel" and fault["type"] == "literal_error":
        return Refused(
            "unknown_channel", f"channel is {value_shown(message['channel'])}; there is {', '.join(CHANNELS)}"
        )
    if path.startswith("expiries."):  # of one of the two forms alone
        what = 'should be {"first": n}, n from 1 to 1000, or a list of 1 to 64 dates'
        return Refused("bad_request", f"expiries: {what}, not {value_shown(message['expiries'])}")
    return Refused("bad_request", fault_told(fault))


class StreamKey(NamedTuple):
    """What makes subscriptions share one stream and one `seq`. Empty strings and None stand for "not narrowed"."""

    channel: str
    venue: str
    underlying: str = ""
    instrument: str = ""
    columns: tuple[str, ...] = ()
    expiries: tuple[int, ...] | int | None = None  # expiry_ns of each, or so many of the nearest
    strikes: tuple[str, float] | None = None  # ("count" | "percent" | "delta", how much)
    interval_ms: int = 0  # at least the server's own

    @property
    def subject(self) -> tuple[str, str, str, str]:
        """A client has at most one subscription for each of these."""
        return self[:4]


def about(key: StreamKey, kind: str, seq: int) -> Head:
    """How every message of a stream begins."""
    return {"type": kind, "seq": seq, **_subject(key)}


def gap(key: StreamKey, first: int, last: int) -> Message:
    """The messages `first` to `last` were dropped; a snapshot with seq = `last` follows."""
    return Message({"type": "gap", "from": first, "to": last, **_subject(key)})


def resumed(key: StreamKey, stream: int, first: int, last: int) -> Message:
    """The messages `first` to `last`, which the client missed, follow; none where `last` is smaller."""
    return Message({"type": "resumed", "from": first, "to": last, **_subject(key), "stream": stream})


def _subject(key: StreamKey) -> Head:
    subject = {"channel": key.channel, "venue": key.venue, "underlying": key.underlying}
    return subject | {"instrument": key.instrument} if key.instrument else subject
