"""What a client may send: the JSON objects of `pricer.sidecar.protocol`, and how the `.proto` says the same."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pricer.sidecar.schemas.kinds import Count, Number, Text, TextOrNull, Texts
from pricer.sidecar.schemas.messages import absent
from pricer.sidecar.schemas.tables import Model

Object = dict[str, Any]


class Expiries(Model):
    """Some expiries: the nearest so many, or those that are named."""

    first: Count = absent("the nearest so many")
    names: Texts = absent('"2026-12-25" or "25DEC26"; used where `first` is not given')


class Strikes(Model):
    """A window of strikes around each forward, by exactly one of three measures."""

    count: Count = absent("so many strikes on each side")
    percent: Number = absent("within so many percent of the forward")
    delta: Number = absent("options with at least this absolute delta, and their partners at the same strike")


class Unsubscribe(Model):
    """No more messages of a stream."""

    channel: Text = Field(description="chain, surface, forward, health, trades, depth or alerts")
    underlying: TextOrNull = absent("needed by all channels but health and alerts")
    venue: TextOrNull = absent("by default the configured one")
    instrument: TextOrNull = absent("needed by depth; trades may have one")


class Subscribe(Unsubscribe):
    """Start, or start anew, with a snapshot; then deltas."""

    columns: Texts = absent("by default all; their statuses come along by themselves")
    expiries: Expiries | None = absent("by default all")
    strikes: Strikes | None = absent("by default all")
    interval_ms: Count = absent("the least time between two messages; at least the sidecar's own")
    session: TextOrNull = absent("to resume: the session of the last message")
    seq: Count = absent("to resume: the seq of the last message")
    stream: Count = absent("to resume: the stream of the last snapshot")


class Ping(Model):
    """Answered by `Pong` with the sidecar's clocks."""


class Auth(Model):
    """The first message, where tokens are asked for and no Authorization header came."""

    token: Text = Field(description="the token")


REQUESTS: dict[str, type[Model]] = {"subscribe": Subscribe, "unsubscribe": Unsubscribe, "ping": Ping, "auth": Auth}


def to_object(op: str, fields: Object) -> Object:
    """A request of the `.proto` as the JSON object that says the same."""
    out = {"op": op, **fields}
    if isinstance(expiries := out.get("expiries"), dict):
        first = expiries.get("first")
        out["expiries"] = expiries.get("names", []) if first is None else {"first": first}
    return out


def from_object(request: Object) -> tuple[str, Object]:
    """The other way round."""
    fields = dict(request)
    if isinstance(expiries := fields.get("expiries"), list):
        fields["expiries"] = {"names": expiries}
    return fields.pop("op"), fields
