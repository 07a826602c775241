"""Deribit's JSON-RPC, without sockets: a frame in, frames out. Methods, limits and error codes of the protocol sheet.

Not in any source at hand, and so our choice: the reason words in `data` besides `wrong format`, the close codes, and
that HTTP requests share one allowance of `get_instruments`. Methods that this market has no use for (books, trades,
login) are "method not found".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from pricer.clock import Clock
from pricer.simulator.faults import Faults
from pricer.simulator.market import Chain, Market
from pricer.simulator.venues import deribit_wire as wire

Params = dict[str, Any]
NS_PER_SECOND = 1_000_000_000

VERSION = "1.2.26"
CURRENCIES = ("BTC", "ETH", "USDC", "USDT", "EURR", "any")
KINDS = ("option", "future", "spot", "future_combo", "option_combo", "any")
LIFECYCLE = ("state", "creation")


class RpcError(Exception):
    """An error reply."""

    def __init__(self, code: int, message: str, data: object = msgspec.UNSET) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


def invalid(param: str, reason: str = "wrong format") -> RpcError:
    """The venue's answer to a parameter it cannot use."""
    return RpcError(-32602, "Invalid params", {"reason": reason, "param": param})


@dataclass(frozen=True, slots=True)
class Limits:
    """The venue's limits; tests narrow them. A rate is (cost, pool, refill per second)."""

    request: tuple[float, float, float] = (500.0, 50_000.0, 10_000.0)
    subscription: tuple[float, float, float] = (3_000.0, 30_000.0, 10_000.0)
    instruments: tuple[float, float, float] = (1.0, 5.0, 0.1)  # the stricter of the two documented ones
    instruments_http: tuple[float, float, float] = (1.0, 50.0, 1.0)
    channels_per_call: int = 500
    frame_bytes: int = 32 * 1024
    connections: int = 32
    heartbeat_min_s: float = 10.0
    write_buffer_bytes: int = 8 * 1024 * 1024


class Bucket:
    """A credit pool that refills by the monotonic clock."""

    def __init__(self, rate: tuple[float, float, float], mono_ns: int) -> None:
        self.cost, self.pool, self.refill = rate
        self.credits, self.mono_ns = self.pool, mono_ns

    def take(self, mono_ns: int) -> bool:
        """Pay for one request, if the credits last."""
        self.credits = min(self.pool, self.credits + self.refill * (mono_ns - self.mono_ns) / NS_PER_SECOND)
        self.mono_ns = mono_ns
        if self.credits < self.cost:
            return False
        self.credits -= self.cost
        return True


class Session:
    """One connection: its subscriptions, credits and heartbeat. `closing` says why the server is to end it."""

    def __init__(self, limits: Limits, mono_ns: int) -> None:
        self.channels: set[str] = set()
        self.requests = Bucket(limits.request, mono_ns)
        self.subscriptions = Bucket(limits.subscription, mono_ns)
        self.instruments = Bucket(limits.instruments, mono_ns)
        self.heartbeat_ns = 0  # 0: none asked for
        self.beat_due_ns = 0
        self.awaiting_test = False
        self.closing: str | None = None
        self.ending = False  # the close has begun

    def set_heartbeat(self, interval_s: float, mono_ns: int) -> None:
        """Start heartbeats, or stop them with 0."""
        self.heartbeat_ns = int(interval_s * NS_PER_SECOND)
        self.beat_due_ns = mono_ns + self.heartbeat_ns
        self.awaiting_test = False

    def beat(self, mono_ns: int) -> list[bytes]:
        """The heartbeat messages now due; an unanswered test request ends the session."""
        if not self.heartbeat_ns or mono_ns < self.beat_due_ns:
            return []
        if self.awaiting_test:
            self.closing = "heartbeat_timeout"
            return []
        self.beat_due_ns = mono_ns + self.heartbeat_ns
        self.awaiting_test = True
        return [_beat("heartbeat"), _beat("test_request")]


def _beat(kind: str) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": kind}})


@dataclass
class Rpc:
    """Answers requests from the market's state."""

    market: Market
    clock: Clock
    faults: Faults
    limits: Limits = field(default_factory=Limits)
    testnet: bool = False

    def __post_init__(self) -> None:
        self.http_instruments = Bucket(self.limits.instruments_http, self.clock.now().mono_ns)

    def open(self) -> Session:
        """A new connection's session."""
        return Session(self.limits, self.clock.now().mono_ns)

    def receive(self, session: Session, frame: str | bytes) -> list[bytes]:
        """The frames that answer one received frame: the reply, then the first notifications of new channels."""
        entered_us = self.clock.now().wall_ns // 1_000
        size = len(frame) if isinstance(frame, bytes) else len(frame.encode())
        if size > self.limits.frame_bytes:  # not read, so there is no id to echo
            return [self._reply(None, RpcError(-32600, "request entity too large"), entered_us)]
        try:
            request = msgspec.json.decode(frame)
        except msgspec.DecodeError:
            return [self._reply(None, RpcError(-32700, "Parse error"), entered_us)]
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return [self._reply(None, RpcError(-32600, "Invalid Request"), entered_us)]
        before = set(session.channels)
        outcome = self._outcome(session, request["method"], request.get("params") or {})
        replies = [self._reply(request.get("id"), outcome, entered_us)]
        return replies + self.first_messages(sorted(session.channels - before))

    def http(self, path: str, query: str) -> tuple[int, bytes]:
        """Status and body of `GET /api/v2/{method}?...`."""
        entered_us = self.clock.now().wall_ns // 1_000
        params: Params = {name: _from_query(value) for name, value in parse_qsl(query)}
        outcome = self._outcome(None, path.removeprefix("/api/v2/"), params)
        status = 200
        if isinstance(outcome, RpcError):
            status = 429 if outcome.code == 10028 else 400
        return status, self._reply(params.get("id"), outcome, entered_us)

    def first_messages(self, channels: Iterable[str]) -> list[bytes]:
        """What a new subscription is sent at once: the present state of its channel."""
        found = ((channel, self._state_of(channel)) for channel in channels)
        return [encode(channel, data) for channel, data in found if data is not None]

    def accepts(self, channel: str) -> bool:
        """Whether `channel` exists and its instrument is open."""
        match channel.split("."):
            case ["ticker", name, "100ms"]:
                return name not in self.faults.refused and self.market.chain_of(name) is not None
            case ["deribit_price_index", index_name]:
                return any(c.family.index_name == index_name for c in self.market.chains.values())
            case ["instrument", event, kind, currency]:
                return event in LIFECYCLE and kind in KINDS and currency in CURRENCIES
            case ["platform_state"] | ["platform_state", "public_methods_state"]:
                return True
        return False

    def chains_in(self, currency: str) -> list[Chain]:
        """The families that the venue files under `currency`: those that settle in it."""
        return [c for c in self.market.chains.values() if currency in ("any", c.family.settlement)]

    def _outcome(self, session: Session | None, method: str, params: object) -> object:
        """The result of a request, or the error to answer with."""
        try:
            self._charge(session, method)
            if method.startswith("private/"):
                raise RpcError(13009, "unauthorized")
            if not isinstance(params, dict):
                raise RpcError(-32602, "Invalid params")
            if session is not None and method in _SESSION_METHODS:
                return _SESSION_METHODS[method](self, session, params)
            if method in _METHODS:
                return _METHODS[method](self, params)
            raise RpcError(-32601, "Method not found")
        except RpcError as error:
            return error

    def _charge(self, session: Session | None, method: str) -> None:
        mono_ns = self.clock.now().mono_ns
        if session is None:
            paid = method != "public/get_instruments" or self.http_instruments.take(mono_ns)
        elif "subscribe" in method:
            paid = session.subscriptions.take(mono_ns)
        elif method == "public/get_instruments":
            paid = session.instruments.take(mono_ns)
        else:
            paid = session.requests.take(mono_ns)
        if not paid:
            if session is not None:
                session.closing = "too_many_requests"
            raise RpcError(10028, "too_many_requests", None)

    def _reply(self, request_id: object, outcome: object, entered_us: int) -> bytes:
        reply: dict[str, object] = {"jsonrpc": "2.0"}
        if request_id is not None:
            reply["id"] = request_id
        if isinstance(outcome, RpcError):
            error = {"code": outcome.code, "message": outcome.message}
            reply["error"] = error if outcome.data is msgspec.UNSET else {**error, "data": outcome.data}
        else:
            reply["result"] = outcome
        left_us = max(self.clock.now().wall_ns // 1_000, entered_us)
        stamps = {"usIn": entered_us, "usOut": left_us, "usDiff": left_us - entered_us, "testnet": self.testnet}
        return msgspec.json.encode({**reply, **stamps})

    def _state_of(self, channel: str) -> object:
        match channel.split("."):
            case ["ticker", name, _]:
                return self._ticker({"instrument_name": name})
            case ["deribit_price_index", index_name]:
                return next(
                    wire.index_price(self.market, c)
                    for c in self.market.chains.values()
                    if c.family.index_name == index_name
                )
            case ["platform_state", "public_methods_state"]:
                return {"allow_unauthenticated_public_requests": True}
        return None

    # -- methods ------------------------------------------------------------------------------------------

    def _subscribe(self, session: Session, params: Params) -> list[str]:
        asked = self._channels(params)
        if any(channel.endswith(".raw") for channel in asked):
            raise RpcError(13778, "raw_subscriptions_not_available_for_unauthorized")
        accepted = {channel for channel in asked if self.accepts(channel)}
        session.channels |= accepted
        return sorted(accepted, reverse=True)  # recorded in 2021: descending, whatever the order asked

    def _unsubscribe(self, session: Session, params: Params) -> list[str]:
        ended = session.channels.intersection(self._channels(params))
        session.channels -= ended
        return sorted(ended, reverse=True)

    def _channels(self, params: Params) -> list[str]:
        channels = params.get("channels")
        if not isinstance(channels, list) or not channels or not all(isinstance(c, str) for c in channels):
            raise invalid("channels")
        if len(channels) > self.limits.channels_per_call:
            raise invalid("channels", "too many channels")
        return channels

    def _unsubscribe_all(self, session: Session, _: Params) -> str:
        session.channels.clear()
        return "ok"

    def _set_heartbeat(self, session: Session, params: Params) -> str:
        interval = params.get("interval")
        if isinstance(interval, bool) or not isinstance(interval, int | float):
            raise invalid("interval")
        if not self.limits.heartbeat_min_s <= interval <= 86_400:
            raise invalid("interval", "value out of range")
        session.set_heartbeat(interval, self.clock.now().mono_ns)
        return "ok"

    def _disable_heartbeat(self, session: Session, _: Params) -> str:
        session.set_heartbeat(0.0, self.clock.now().mono_ns)
        return "ok"

    def _answer_test(self, session: Session, _: Params) -> dict[str, str]:
        session.awaiting_test = False
        return {"version": VERSION}

    def _version(self, _: Params) -> dict[str, str]:
        return {"version": VERSION}

    def _hello(self, params: Params) -> dict[str, str]:
        for name in ("client_name", "client_version"):
            if not isinstance(params.get(name), str):
                raise invalid(name)
        return {"version": VERSION}

    def _time(self, _: Params) -> int:
        return self.clock.now().wall_ns // 1_000_000

    def _instruments(self, params: Params) -> list[wire.Json]:
        chains, kind = self._filed_under(params)
        if params.get("expired", False) is True:
            past = (c.past for c in chains if c.past is not None)
            return [item for chain in past for item in wire.instruments(chain, kind, state="archivized")]
        return [item for chain in chains for item in wire.instruments(chain, kind)]

    def _filed_under(self, params: Params) -> tuple[list[Chain], str]:
        currency, kind = params.get("currency"), params.get("kind", "any")
        if currency not in CURRENCIES:
            raise invalid("currency")
        if kind not in KINDS:
            raise invalid("kind")
        return self.chains_in(currency), kind

    def _instrument(self, params: Params) -> wire.Json:
        chain, name = self._listing(params)
        if name in chain.futures:
            return wire.future_instrument(chain, chain.futures[name])
        return wire.option_instrument(chain, chain.row_of[name])

    def _ticker(self, params: Params) -> wire.Json:
        chain, name = self._listing(params)
        if name in chain.futures:
            return wire.future_ticker(self.market, chain, chain.futures[name])
        return wire.option_tickers(self.market, chain, [chain.row_of[name]])[0]

    def _listing(self, params: Params) -> tuple[Chain, str]:
        name = params.get("instrument_name")
        if not isinstance(name, str) or (chain := self.market.chain_of(name)) is None:
            raise invalid("instrument_name")
        return chain, name

    def _book_summaries(self, params: Params) -> list[wire.Json]:
        chains, kind = self._filed_under(params)
        return [row for chain in chains for row in wire.book_summaries(self.market, chain, kind)]

    def _index_price(self, params: Params) -> dict[str, float]:
        for chain in self.market.chains.values():
            if chain.family.index_name == params.get("index_name"):
                return {"estimated_delivery_price": chain.index, "index_price": chain.index}
        raise invalid("index_name")


_SESSION_METHODS: dict[str, Callable[[Rpc, Session, Params], object]] = {
    "public/subscribe": Rpc._subscribe,
    "public/unsubscribe": Rpc._unsubscribe,
    "public/unsubscribe_all": Rpc._unsubscribe_all,
    "public/set_heartbeat": Rpc._set_heartbeat,
    "public/disable_heartbeat": Rpc._disable_heartbeat,
    "public/test": Rpc._answer_test,
}

_METHODS: dict[str, Callable[[Rpc, Params], object]] = {
    "public/test": Rpc._version,
    "public/hello": Rpc._hello,
    "public/get_time": Rpc._time,
    "public/get_instruments": Rpc._instruments,
    "public/get_instrument": Rpc._instrument,
    "public/ticker": Rpc._ticker,
    "public/get_book_summary_by_currency": Rpc._book_summaries,
    "public/get_index_price": Rpc._index_price,
}


def encode(channel: str, data: object) -> bytes:
    """A notification's frame."""
    return msgspec.json.encode(wire.notification(channel, data))


def _from_query(value: str) -> object:
    """A query parameter as JSON would carry it: `true`, `false` and integers lose their quotes."""
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isdecimal() else value
