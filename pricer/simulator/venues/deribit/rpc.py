"""Deribit's JSON-RPC, without sockets: a frame in, frames out. Login, limits and error codes of the protocol sheet.

`channels` has the channels. Methods, over WebSocket and (but for those of the first two lines) HTTP GET:

    public/{subscribe, unsubscribe, unsubscribe_all, set_heartbeat, disable_heartbeat}
    private/{subscribe, unsubscribe, unsubscribe_all}
    public/{auth, test, hello, status} and all of `queries`

Not in any source at hand, and so our choice: the reason words in `data` besides `wrong format`, the close codes, that
HTTP requests share one allowance of `get_instruments`, and that in maintenance tests and heartbeats are still answered.
Methods that this market has no use for (orders, wallets) are "method not found".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import msgspec

from pricer.clock import Clock
from pricer.simulator.accounts import Account
from pricer.simulator.faults import Faults
from pricer.simulator.market import Chain, Market
from pricer.simulator.venues.deribit import wire
from pricer.simulator.venues.deribit.account import AccountStream
from pricer.simulator.venues.deribit.auth import Keys, Login
from pricer.simulator.venues.deribit.channels import Channel, parse
from pricer.simulator.venues.deribit.errors import Limits as Limits
from pricer.simulator.venues.deribit.errors import RpcError, invalid
from pricer.simulator.venues.deribit.queries import PRIVATE, PUBLIC, Params
from pricer.simulator.venues.deribit.stream import Stream

NS_PER_SECOND = 1_000_000_000
POLICY_VIOLATION = 1008  # the close code of sessions that the server ends; the venue's own is not known

VERSION = "1.2.26"
_IN_MAINTENANCE = ("public/test", "public/set_heartbeat", "public/disable_heartbeat", "public/hello")


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
        self.close_code = POLICY_VIOLATION
        self.ending = False  # the close has begun
        self.login: Login | None = None

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
    """Answers requests from the market's state. `accounts` are the API keys, `{client_id: client_secret}`."""

    market: Market
    clock: Clock
    faults: Faults
    limits: Limits = field(default_factory=Limits)
    testnet: bool = False
    accounts: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.http_instruments = Bucket(self.limits.instruments_http, self.clock.now().mono_ns)
        self.stream = Stream(self.market, self.faults)
        self.keys = Keys(self.accounts, self.clock, self.limits)
        self.owned = {key: AccountStream(Account(self.market, key)) for key in self.accounts}
        self.maintenance = False
        self.locked: set[str] = set()  # indexes
        self._logged_in: dict[Session, str] = {}

    def open(self) -> Session:
        """A new connection's session."""
        return Session(self.limits, self.clock.now().mono_ns)

    def close(self, session: Session) -> None:
        """The session is over."""
        self._logged_in.pop(session, None)

    def end_logins(self, mono_ns: int) -> bool:
        """Take from sessions whose token has run out what only a login may read; whether anything was taken."""
        taken = False
        for session in self._logged_in:
            if session.login is not None and not session.login.stands(mono_ns):
                lost = {name for name in session.channels if (channel := parse(name)) and channel.needs_login}
                session.channels -= lost
                taken = taken or bool(lost)
        return taken

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
        return replies + self.first_messages(sorted(session.channels - before), session.login)

    def http(self, path: str, query: str, authorization: str = "") -> tuple[int, bytes]:
        """Status and body of `GET /api/v2/{method}?...`, with the header `Authorization` where there is one."""
        entered_us = self.clock.now().wall_ns // 1_000
        params: Params = {name: _from_query(value) for name, value in parse_qsl(query)}
        target = f"{path}?{query}" if query else path
        outcome = self._outcome(None, path.removeprefix("/api/v2/"), params, (authorization, target))
        status = 200
        if isinstance(outcome, RpcError):
            status = 429 if outcome.code == 10028 else 400
        return status, self._reply(params.get("id"), outcome, entered_us)

    def first_messages(self, channels: Iterable[str], login: Login | None = None) -> list[bytes]:
        """What a new subscription is sent at once: the present state of its channel."""
        found = ((name, self._first(channel, login)) for name in channels if (channel := parse(name)))
        return [encode(name, data) for name, data in found if data is not None]

    def accepts(self, name: str) -> bool:
        """Whether the channel exists and its instrument is open; whoever asks must be allowed to as well."""
        channel = parse(name)
        if channel is None:
            return False
        match channel.kind:
            case "ticker" | "quote" | "incremental_ticker" | "book" | "perpetual" as kind:
                return self._is_open(channel.subject, perpetual=kind == "perpetual")
            case "trades" | "user.orders" | "user.trades" | "user.changes":
                return "." in channel.subject or self._is_open(channel.subject)
            case (
                "deribit_price_index" | "deribit_volatility_index" | "estimated_expiration_price" | "markprice.options"
            ):
                return any(c.family.index_name == channel.subject for c in self.market.chains.values())
        return True

    def chains_in(self, currency: str) -> list[Chain]:
        """The families that the venue files under `currency`: those that settle in it."""
        return [c for c in self.market.chains.values() if currency in ("any", c.family.settlement)]

    def _is_open(self, name: str, *, perpetual: bool = False) -> bool:
        chain = self.market.chain_of(name)
        if chain is None or name in self.faults.refused or self.market.state_of(name) != "open":
            return False
        return not perpetual or (name in chain.futures and chain.futures[name].expiry is None)

    def _first(self, channel: Channel, login: Login | None) -> object | None:
        if not channel.private:
            return self.stream.first(channel)
        return self.owned[login.account].first(channel) if login is not None else None

    def _outcome(
        self, session: Session | None, method: str, params: object, header: tuple[str, str] = ("", "")
    ) -> object:
        """The result of a request, or the error to answer with."""
        try:
            self._charge(session, method)
            if self.maintenance and method not in _IN_MAINTENANCE:
                raise RpcError(11051, "system_maintenance")
            if not isinstance(params, dict):
                raise RpcError(-32602, "Invalid params")
            if method.startswith("private/"):
                return self._private(session, method, params, header)
            if session is not None and method in _SESSION_METHODS:
                return _SESSION_METHODS[method](self, session, params)
            if method in _METHODS:
                return _METHODS[method](self, params)
            if method in PUBLIC:
                return PUBLIC[method](self, params)
            raise RpcError(-32601, "Method not found")
        except RpcError as error:
            return error

    def _private(self, session: Session | None, method: str, params: Params, header: tuple[str, str]) -> object:
        account = self._speaks_for(session, params, header)
        if session is not None and method in _SESSION_METHODS:
            return _SESSION_METHODS[method](self, session, params)
        if method in PRIVATE:
            return PRIVATE[method](self.owned[account].account, params)
        raise RpcError(-32601, "Method not found")

    def _speaks_for(self, session: Session | None, params: Params, header: tuple[str, str]) -> str:
        """The account of a private request: by its session's login, its token or its header."""
        if "access_token" in params:
            return self.keys.login_of(params["access_token"]).account
        if session is None:
            return self.keys.login_of_header(*header).account
        if session.login is None:
            raise RpcError(13009, "unauthorized")
        if not session.login.stands(self.clock.now().mono_ns):
            raise RpcError(13009, "invalid_token", {"reason": "token has expired", "param": "access_token"})
        return session.login.account

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

    # -- methods ------------------------------------------------------------------------------------------

    def _subscribe(self, session: Session, params: Params) -> list[str]:
        asked = self._channels(params)
        if session.login is None and any(channel.endswith(".raw") for channel in asked):
            raise RpcError(13778, "raw_subscriptions_not_available_for_unauthorized")
        private = any(channel.endswith(".raw") or channel.startswith("user.") for channel in asked)
        if session.login is not None and private:
            self._speaks_for(session, {}, ("", ""))
        accepted = {channel for channel in asked if self.accepts(channel)}
        if session.login is None:
            accepted = {channel for channel in accepted if not channel.startswith("user.")}
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

    def _status(self, _: Params) -> wire.Json:
        locked = "true" if len(self.locked) == len(self.market.chains) else "partial" if self.locked else "false"
        return {"locked": locked, "locked_indices": sorted(self.locked)}

    def _auth(self, params: Params) -> wire.Json:
        return self.keys.grant(params)[1]

    def _log_in(self, session: Session, params: Params) -> wire.Json:
        login, granted = self.keys.grant(params)
        others = sum(account == login.account for each, account in self._logged_in.items() if each is not session)
        if others >= self.limits.sessions_per_key:
            raise RpcError(13021, "forbidden", {"reason": "too many sessions"})
        session.login = login
        self._logged_in[session] = login.account
        return granted


_SESSION_METHODS: dict[str, Callable[[Rpc, Session, Params], object]] = {
    "public/subscribe": Rpc._subscribe,
    "public/unsubscribe": Rpc._unsubscribe,
    "public/unsubscribe_all": Rpc._unsubscribe_all,
    "public/set_heartbeat": Rpc._set_heartbeat,
    "public/disable_heartbeat": Rpc._disable_heartbeat,
    "public/test": Rpc._answer_test,
    "public/auth": Rpc._log_in,
    "private/subscribe": Rpc._subscribe,
    "private/unsubscribe": Rpc._unsubscribe,
    "private/unsubscribe_all": Rpc._unsubscribe_all,
}

_METHODS: dict[str, Callable[[Rpc, Params], object]] = {
    "public/test": Rpc._version,
    "public/hello": Rpc._hello,
    "public/status": Rpc._status,
    "public/auth": Rpc._auth,
    "public/get_time": Rpc._time,
}


def encode(channel: str, data: object) -> bytes:
    """A notification's frame."""
    return msgspec.json.encode(wire.notification(channel, data))


def _from_query(value: str) -> object:
    """A query parameter as JSON would carry it: `true`, `false` and integers lose their quotes."""
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isdecimal() else value
