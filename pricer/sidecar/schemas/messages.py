"""What the sidecar sends: one model a message and channel."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from pricer.sidecar.schemas.kinds import (
    Count,
    Counts,
    Crc,
    Ns,
    NsOrNull,
    Number,
    ReasonsField,
    Rows,
    StatusField,
    Text,
    TextOrNull,
    Texts,
    Value,
)
from pricer.sidecar.schemas.tables import (
    AlertsColumns,
    ChainColumns,
    DepthColumns,
    ForwardColumns,
    HealthColumns,
    Model,
    SurfaceColumns,
    TradesColumns,
)


def absent(meaning: str) -> Any:
    """A field that may be left out."""
    return Field(None, description=meaning)


# ---- parts


class Price(Model):
    """An index, a forward or a perpetual."""

    value: Value = Field(description="the price, quote currency; none while INVALID")
    source: Text = Field(description="venue, basis, parity or none")
    exchange_ns: NsOrNull = Field(description="the exchange's instant, UTC")
    received_ns: NsOrNull = Field(description="when it was received, UTC")
    age_ns: NsOrNull = Field(description="its age when the message was made")
    valid_until_ns: NsOrNull = Field(description="past this it is STALE, monotonic")
    status: StatusField = Field(description="may it be used?")
    reasons: ReasonsField = Field(description="why it is not plain OK")


class Perpetual(Price):
    """The perpetual future, with its best prices."""

    bid: Value = Field(description="best bid")
    ask: Value = Field(description="best ask")
    funding: Value = Field(description="funding rate as the venue gives it")


class Parity(Model):
    """What put-call parity of an expiry's quotes says of a venue's forward."""

    value: Value = Field(description="the forward by parity")
    error: Value = Field(description="its standard error")
    gap: Value = Field(description="the venue's forward less that")


class Forward(Price):
    """The forward of an expiry."""

    error: Value = absent("standard error, where parity is the source")
    parity: Parity | None = Field(description="what parity says beside the venue; none where the quotes say nothing")


class ExpiryNow(Model):
    """What changes about an expiry."""

    expiry_ns: Ns = Field(description="expiry, UTC")
    ttm: Value = Field(description="time to expiry, years of 365 days")
    forward: Forward = Field(description="its forward")
    fitted_ns: NsOrNull = Field(description="when its smile was fitted, UTC; none without a smile")
    fit_age_ns: NsOrNull = Field(description="age of the smile when the message was made")
    valid_until_ns: NsOrNull = Field(description="past this the model numbers of its options are STALE, monotonic")


class Expiry(ExpiryNow):
    """What an expiry is, and what changes about it."""

    price_index: Text = Field(description="the venue's name of the index it settles on")
    settlement: Literal["inverse", "linear"] = Field(description="premium in coin, or in quote currency")
    settlement_currency: Text = Field(description="what premiums are paid in")
    quote_currency: Text = Field(description="what strikes and forwards are in")
    options: Count = Field(description="how many rows of the table it has")


class Feed(Model):
    """A connection to the venue."""

    venue: Text = Field(description="the venue")
    connection: Text = Field(description="its name")
    state: Text = Field(description="live, resyncing, down ...")
    reason: Text = Field(description="for people")
    since_ns: Ns = Field(description="since when, UTC")


class Convention(Model):
    """How the Greeks are meant."""

    greeks: Text = Field(description="raw_partial_derivatives")
    day_count: Text = Field(description="ACT/365")
    dynamics: Text = Field(description="sticky_strike, sticky_moneyness, sticky_delta or minimum_variance")
    theta: Text = Field(description="minus_d_ttm_at_fixed_forward")
    value_currency: Text = Field(description="quote")


class Latency(Model):
    """From receipt of a venue's message to the snapshot that has it, over the last minutes."""

    p50_ns: NsOrNull = Field(description="half of them took no longer")
    p90_ns: NsOrNull = Field(description="nine in ten took no longer")
    p99_ns: NsOrNull = Field(description="99 in 100 took no longer")
    count: Count = Field(description="how many were measured")


class Book(Model):
    """May the book be relied on?"""

    status: StatusField = Field(description="OK while its sequence is unbroken from a snapshot")
    reasons: ReasonsField = Field(description="why it is not plain OK")
    exchange_ns: NsOrNull = Field(description="the exchange's instant, UTC")
    received_ns: NsOrNull = Field(description="when it was received, UTC")
    age_ns: NsOrNull = Field(description="its age when the message was made")
    detail: Text = absent("for people")


class Tape(Model):
    """May the trades be relied on?"""

    status: StatusField = Field(description="OK while the venue is there")
    reasons: ReasonsField = Field(description="why it is not plain OK")
    detail: Text = Field(description="for people")


class Micro(Model):
    """What the book says beyond its best prices."""

    imbalance: Value = Field(description="(B - A)/(B + A) of the best sizes: 1 is all bids, -1 all asks")
    microprice: Value = Field(description="the mid drawn towards the thinner side")
    spread: Value = Field(description="best ask less best bid")
    bid_depth_vega: Value = Field(description="vega of the bids near the mid, per point of volatility")
    ask_depth_vega: Value = Field(description="vega of the asks near the mid, per point of volatility")


# ---- what every message of a stream has


class Subject(Model):
    """Which stream a message belongs to."""

    channel: Text = Field(description="chain, surface, forward, health, trades, depth or alerts")
    venue: Text = Field(description="the venue")
    underlying: Text = Field(description="the underlying; empty where the channel has none")
    instrument: Text = absent("the instrument, of depth and of trades of one")


class State(Subject):
    """What snapshots and deltas share."""

    seq: Count = Field(description="counts the messages of this stream")
    version: Count = absent("the engine's own count of snapshots, of which a stream skips some")
    venue_ns: NsOrNull = absent("newest exchange instant in it, UTC")
    received_ns: NsOrNull = absent("newest receipt in it, UTC")
    computed_ns: NsOrNull = absent("when its numbers were computed, UTC")
    computed_age_ns: NsOrNull = absent("how long before sending that was")
    sent_ns: Ns = Field(description="when the message was made, UTC")
    mono_ns: Ns = Field(description="when the message was made, the sidecar's monotonic clock")
    reasons: ReasonsField = absent("what concerns the whole message: CONFLATED, REPLAY")
    crc32: Crc = absent("of the state after this message: in every snapshot, and in a delta every so often")


class Whole(State):
    """What all snapshots share."""

    type: Literal["snapshot"]
    protocol: Count = Field(description="version of this protocol: 1")
    session: Text = Field(description="this run of the sidecar; another one begins all seq anew")
    stream: Count = Field(description="whose seq it is: no two streams of a session have the same")


class Change(State):
    """What all deltas share."""

    type: Literal["delta"]
    rows: Rows = Field(description="the row numbers of the snapshot that the columns speak of")


class ChainMoment(Model):
    """What every message of a chain says beside its table."""

    index: Price = Field(description="the spot index")
    perpetual: Perpetual = Field(description="the perpetual future")
    feeds: list[Feed] = Field(description="connections to the venue")


class ChainSnapshot(Whole, ChainMoment):
    """All options of a chain, or of the window that was asked for."""

    channel: Literal["chain"]
    expiries: list[Expiry] = Field(description="in the order of the rows")
    convention: Convention = Field(description="how the Greeks are meant")
    columns: ChainColumns = Field(description="a row each option")


class ChainDelta(Change, ChainMoment):
    """What changed in a chain; index, perpetual, feeds and expiries are told in full."""

    channel: Literal["chain"]
    expiries: list[ExpiryNow] = Field(description="in the order of the snapshot")
    columns: ChainColumns = Field(description="new values of exactly the rows; a column that is absent did not change")


class ForwardSnapshot(Whole):
    """The index, the perpetual and all forwards."""

    channel: Literal["forward"]
    columns: ForwardColumns = Field(description="a row each price")


class ForwardDelta(Change):
    """What changed among the forwards."""

    channel: Literal["forward"]
    columns: ForwardColumns = Field(description="new values of exactly the rows")


class SurfaceMoment(Model):
    """What every message of a surface says beside its table."""

    surface_version: Annotated[int | None, *Count.__metadata__] = Field(
        description="rises with each change of the surface; none without one"
    )


class SurfaceSnapshot(Whole, SurfaceMoment):
    """The smiles of all expiries."""

    channel: Literal["surface"]
    columns: SurfaceColumns = Field(description="a row each expiry")


class SurfaceDelta(Change, SurfaceMoment):
    """What changed in a surface."""

    channel: Literal["surface"]
    columns: SurfaceColumns = Field(description="new values of exactly the rows")


class HealthMoment(Model):
    """What every message of health says beside its table."""

    latency: Latency = Field(description="from receipt to snapshot")
    options: Counts = Field(description="how many options are OK, DEGRADED, STALE, INVALID")
    clients: Count = Field(description="connected clients")
    streams: Count = Field(description="distinct subscriptions")
    alarms: Counts = Field(description="counters that should be zero, by name")


class HealthSnapshot(Whole, HealthMoment):
    """How feeds, venues, engine and sidecar are."""

    channel: Literal["health"]
    columns: HealthColumns = Field(description="a row each unit")


class HealthDelta(Change, HealthMoment):
    """What changed in health."""

    channel: Literal["health"]
    columns: HealthColumns = Field(description="new values of exactly the rows")


class TradesMoment(Model):
    """What every message of trades says beside its table."""

    tape: Tape = Field(description="may the trades be relied on?")


class TradesSnapshot(Whole, TradesMoment):
    """The last 256 trades."""

    channel: Literal["trades"]
    columns: TradesColumns = Field(description="a row each slot")


class TradesDelta(Change, TradesMoment):
    """New trades, in order."""

    channel: Literal["trades"]
    columns: TradesColumns = Field(description="the new trades")


class DepthMoment(Model):
    """What every message of depth says beside its table."""

    book: Book = Field(description="may the book be relied on?")
    micro: Micro = Field(description="pressure and depth")


class DepthSnapshot(Whole, DepthMoment):
    """The best levels of a book."""

    channel: Literal["depth"]
    columns: DepthColumns = Field(description="a row each level")


class DepthDelta(Change, DepthMoment):
    """What changed in a book."""

    channel: Literal["depth"]
    columns: DepthColumns = Field(description="new values of exactly the rows")


# ---- what has no table


class Welcome(Model):
    """The first message of a connection."""

    type: Literal["welcome"]
    protocol: Count = Field(description="version of this protocol: 1")
    session: Text = Field(description="this run of the sidecar")
    server: Text = Field(description="the program and its version")
    heartbeat_s: Number = Field(description="after so many seconds without another message a heartbeat comes")
    encodings: Texts = Field(description="the subprotocols there are")
    mono_ns: Ns = Field(description="the sidecar's monotonic clock")
    sent_ns: Ns = Field(description="when it was sent, UTC")


class Gap(Subject):
    """You were too slow: the messages `from` to `to` were dropped, and a snapshot with seq = `to` follows."""

    type: Literal["gap"]
    from_: Count = Field(alias="from", description="the first that was dropped")
    to: Count = Field(description="the last that was dropped")


class Resumed(Subject):
    """You missed nothing: the messages `from` to `to` follow. `to` is `from` - 1 where there was none."""

    type: Literal["resumed"]
    from_: Count = Field(alias="from", description="the first that follows")
    to: Count = Field(description="the last that was sent before now")
    stream: Count = Field(description="of which stream they are")


class AlertsMoment(Model):
    """What every message of alerts says beside its table."""

    raised: Count = Field(description="how many there are; the table has at most 1,000 of them")


class AlertsSnapshot(Whole, AlertsMoment):
    """What is raised."""

    channel: Literal["alerts"]
    columns: AlertsColumns = Field(description="a row each alert")


class AlertsDelta(Change, AlertsMoment):
    """What changed in alerts."""

    channel: Literal["alerts"]
    columns: AlertsColumns = Field(description="new values of exactly the rows")


class Heartbeat(Subject):
    """Nothing new, and the connection lives."""

    type: Literal["heartbeat"]
    seq: Count = Field(description="of the last message of this stream")
    sent_ns: Ns = Field(description="when it was sent, UTC")
    mono_ns: Ns = Field(description="the sidecar's monotonic clock")


class Unsubscribed(Subject):
    """No more messages of this stream."""

    type: Literal["unsubscribed"]
    seq: Count = Field(description="of the last message of this stream")


class Pong(Model):
    """The answer to `ping`."""

    type: Literal["pong"]
    sent_ns: Ns = Field(description="when it was sent, UTC")
    mono_ns: Ns = Field(description="the sidecar's monotonic clock")


class Authorized(Model):
    """The answer to `auth`."""

    type: Literal["authorized"]
    scopes: Texts = Field(description="what the token allows: read, control, admin")


class Error(Model):
    """A request was refused; nothing else has changed."""

    type: Literal["error"]
    code: Text = Field(description="for programs")
    message: Text = Field(description="for people")
    channel: TextOrNull = absent("as the request named it")
    venue: TextOrNull = absent("as the request named it")
    underlying: TextOrNull = absent("as the request named it")
    instrument: TextOrNull = absent("as the request named it")


# By name as in the published schemas: `type`, or `channel-type` where there is a table.
MESSAGES: dict[str, type[Model]] = {
    "welcome": Welcome,
    "chain-snapshot": ChainSnapshot,
    "chain-delta": ChainDelta,
    "forward-snapshot": ForwardSnapshot,
    "forward-delta": ForwardDelta,
    "surface-snapshot": SurfaceSnapshot,
    "surface-delta": SurfaceDelta,
    "health-snapshot": HealthSnapshot,
    "health-delta": HealthDelta,
    "trades-snapshot": TradesSnapshot,
    "trades-delta": TradesDelta,
    "depth-snapshot": DepthSnapshot,
    "depth-delta": DepthDelta,
    "alerts-snapshot": AlertsSnapshot,
    "alerts-delta": AlertsDelta,
    "heartbeat": Heartbeat,
    "gap": Gap,
    "resumed": Resumed,
    "unsubscribed": Unsubscribed,
    "pong": Pong,
    "error": Error,
    "authorized": Authorized,
}


def name_of(type: str, channel: object) -> str:
    """Which of MESSAGES a message is."""
    return f"{channel}-{type}" if type in ("snapshot", "delta") else type
