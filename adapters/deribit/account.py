"""Logging in to Deribit, and staying so; read only, sans-I/O (protocol sheet 7).

The rules:

1. On each new connection the venue is first asked which environment it is (`public/test`): a key goes only to the one
   it was meant for. The login follows the answer; public subscriptions wait for neither.
2. The token is asked to read and not to trade or to withdraw, whatever the key could do. Where the venue grants more
   all the same, that is told with the login, or the login is given up: as the credentials say.
3. It is renewed well before it runs out. A renewal that fails is tried again as a login; private numbers stay good
   until the old token ends.
4. Three failures in a row, then at most one attempt in ten seconds, over all connections. Only a private answer, not a
   login alone, ends the count: a key without rights would else log in for ever.
5. Nothing private survives a session: requests that wait are dropped, and private messages that come before the login
   was acknowledged are counted and dropped.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Any, Literal, NoReturn, Self
from urllib.parse import urlsplit

import msgspec

from pricer.adapters.adapter import WsSend
from pricer.adapters.budget import Budget
from pricer.adapters.deribit import rpc
from pricer.adapters.deribit.holdings import Holdings
from pricer.adapters.deribit.instruments import VENUE
from pricer.adapters.deribit.limits import CALL
from pricer.adapters.deribit.rights import SCOPE, excess
from pricer.adapters.events import AccountStatus, AnyEvent
from pricer.adapters.session import ORDINARY
from pricer.adapters.wire import DECODE_ERRORS, Note, decode_object, number, text
from pricer.addresses import is_loopback
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import ConfigError

# Requests of the account have numbers of their own, so that those of the public session are the same without it.
FIRST_ID = 1_000_000_000
CHANNELS = ("user.portfolio.any", "user.changes.any.any.raw")
PREFIX = "user."
# What a recording holds instead of a private message: proof that the venue was alive, and no more.
STAND_IN = b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"heartbeat"}}'
# The `type` of the stand-in that names what is held, where that has changed: it decides what is asked for, and in which
# order, so that a replay without it would not be the same run. The channels of a recording show as much.
HELD = "held"

PROBE_NS = 60 * NS_PER_SECOND
RENEW_AT = 0.8  # of the token's life
LONGEST_LIFE_S = 10 * 365 * 86_400.0
# Further off than this the venue may take a signature for an old one.
SUSPECT_SKEW_NS = 5 * NS_PER_SECOND

UNAUTHORIZED = 13009
INVALID_CREDENTIALS = 13004
_REASONS = {UNAUTHORIZED: "unauthorized", INVALID_CREDENTIALS: "invalid_credentials", 10028: "too_many_requests"}
_REASONS |= {11051: "maintenance", -32602: "bad_request"}

EXCESS_RIGHTS = "excess_rights"  # the reason of an `AccountStatus`
# A text of the venue's goes no further than this into an event.
SHOWN_CHARS = 120

Step = Literal["environment", "login", "refresh", "subscribe", "positions"]
_PUBLIC: tuple[Step, ...] = ("environment", "login", "refresh")
_PRIVATE: tuple[Step, ...] = ("subscribe", "positions")


class Credentials:
    """A key of the venue. The secret is in no text that is made of it, and it cannot be pickled.

    `method` "credentials" sends the secret itself to the venue; "signature" proves that we know it, and needs a clock
    that is right to a few seconds. `excess_rights` "refuse" gives a login up that is good for more than reading, where
    "warn" says so and goes on.

    >>> Credentials("key", "the secret")
    Credentials(client_id='key', client_secret=***, method='credentials')
    """

    __slots__ = ("_secret", "client_id", "excess_rights", "method")

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        method: Literal["credentials", "signature"] = "credentials",
        *,
        excess_rights: Literal["warn", "refuse"] = "warn",
    ) -> None:
        if not client_id or not client_secret:
            raise ConfigError("credentials: client_id and client_secret must both be given")
        if method not in ("credentials", "signature"):
            raise ConfigError(f"credentials: method must be 'credentials' or 'signature', not {method!r}")
        if excess_rights not in ("warn", "refuse"):
            raise ConfigError(f"credentials: excess_rights must be 'warn' or 'refuse', not {excess_rights!r}")
        self.client_id = client_id
        self.method = method
        self.excess_rights = excess_rights
        self._secret = client_secret

    def __repr__(self) -> str:
        return f"Credentials(client_id={self.client_id!r}, client_secret=***, method={self.method!r})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("credentials are not pickled: their secret would be in the bytes")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def login(self, now: Instant, nonce: str) -> dict[str, Any]:
        """The parameters of `public/auth`; with the method "signature" the secret itself is not in them."""
        if self.method == "credentials":
            return {
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_secret": self._secret,
                "scope": SCOPE,
            }
        stamp = now.wall_ns // 1_000_000
        return {
            "grant_type": "client_signature",
            "client_id": self.client_id,
            "timestamp": stamp,
            "nonce": nonce,
            "data": "",
            "signature": signature(self._secret, stamp, nonce),
            "scope": SCOPE,
        }


def signature(secret: str, timestamp_ms: int, nonce: str, data: str = "") -> str:
    """Hexadecimal HMAC-SHA256 over the three lines `timestamp`, `nonce` and `data` (sheet 7)."""
    message = f"{timestamp_ms}\n{nonce}\n{data}"
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()


def check_goal(url: str, *, test_url: str) -> None:
    """Refuse, with a `ConfigError`, to send a key of the production environment to `url`.

    Clear text is for the loopback only, and the venue's test environment knows other keys.
    """
    goal = urlsplit(url)
    if goal.hostname == urlsplit(test_url).hostname:
        raise ConfigError(f"url: {url!r} is the test environment, which knows no key of the production environment")
    if goal.scheme != "wss" and not is_loopback(goal.hostname or ""):
        raise ConfigError(f"url: credentials are sent to 'wss://' addresses only, not to {url!r}")


def stand_in(held: Iterable[str]) -> bytes:
    """`STAND_IN` that names what is held since this message.

    >>> stand_in({"BTC-PERPETUAL"})
    b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"held","names":["BTC-PERPETUAL"]}}'
    """
    params = {"type": HELD, "names": sorted(held)}
    return msgspec.json.encode({"jsonrpc": "2.0", "method": "heartbeat", "params": params})


def held_in(frame: bytes | str) -> frozenset[str]:
    """The names in such a stand-in; none where it cannot be read."""
    try:
        return frozenset(_decode_held(frame).params.names)
    except DECODE_ERRORS:
        return frozenset()


def pause_ns(failures: int) -> int:
    """How long to wait after so many failed logins in a row: one and two seconds, then ten, doubling to five minutes.

    >>> [pause_ns(failures) // NS_PER_SECOND for failures in (1, 2, 3, 4, 9)]
    [1, 2, 10, 20, 300]
    """
    seconds = failures if failures < 3 else min(300, 10 * 2 ** min(failures - 3, 5))
    return seconds * NS_PER_SECOND


class _Names(msgspec.Struct, gc=False):
    names: list[str] = []


class _Held(msgspec.Struct, gc=False):
    params: _Names


_decode_held = msgspec.json.Decoder(_Held).decode


class _Stamped(msgspec.Struct, gc=False):
    usIn: float | None = None


_decode_stamped = msgspec.json.Decoder(_Stamped).decode


class Account:
    """The private side of one connection: log in, subscribe, look after the positions, renew the token."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        testnet: bool,
        timeout_ns: int,
        note: Note,
        nonce: Callable[[], str] | None = None,
    ) -> None:
        self._credentials = credentials
        self._testnet = testnet
        self._timeout_ns = timeout_ns
        self._note = note
        self._nonce = nonce
        self._nonces = 0
        self._holdings = Holdings(note)
        self._due: dict[Step, int] = {}
        self._pending: dict[int, tuple[Step, int]] = {}
        self._last_id = FIRST_ID
        self._open = False
        self.logged_in = False
        self._token: str | None = None  # renews the session; never shown
        self._ends_ns: int | None = None
        self._failures = 0
        self._not_before_ns = 0
        self._told: str | None = None

    # The connection

    def opened(self, now: Instant) -> None:
        """A new connection, on which nothing is known of us."""
        self._forget()
        self._open = True
        self._due["environment"] = max(now.mono_ns, self._not_before_ns)

    def closed(self, now: Instant, *, replaced: bool = False) -> list[AnyEvent]:
        """The connection is gone, and with it the login; where another has taken over there is nothing to tell."""
        unanswered = any(step in ("login", "refresh") for step, _ in self._pending.values())
        events: list[AnyEvent] = []
        if unanswered:
            self._failed(now, "disconnected", events, tell=False)
        if self.logged_in and not replaced:
            self._tell("logged_out", "disconnected", now, events)
        self._forget()
        self._open = False
        return events

    def _forget(self) -> None:
        self.logged_in = False
        self._token = None
        self._ends_ns = None
        self._due.clear()
        self._pending.clear()
        self._last_id = FIRST_ID

    # What comes

    def owns(self, request_id: int | None) -> bool:
        """Whether a reply under this number is the account's."""
        return request_id is not None and request_id >= FIRST_ID

    def is_private(self, frame: bytes | str) -> bool:
        """Whether a frame is for the owner's eyes: it holds tokens, or numbers of the account."""
        try:
            envelope = rpc.decode_envelope(frame)
        except DECODE_ERRORS:
            data = frame.encode("utf-8", "replace") if isinstance(frame, str) else frame
            return b"token" in data or b"user." in data
        if envelope.params is not None and envelope.params.channel.startswith(PREFIX):
            return True
        return self.owns(envelope.id)

    def reply(self, envelope: rpc.Envelope, frame: bytes | str, now: Instant, events: list[AnyEvent]) -> None:
        """The answer to one of our requests."""
        step, _ = self._pending.pop(envelope.id or 0, (None, 0))
        if step is None:
            self._note("account.unknown_id")
        elif envelope.is_error:
            self._refused(step, decode_object(envelope.error) or {}, frame, now, events)
        elif step == "environment":
            self._environment(envelope.testnet, now, events)
        elif step in ("login", "refresh"):
            self._token_came(step, decode_object(envelope.result) or {}, now, events)
        elif step == "subscribe":
            self._subscribed(envelope.result, now)
        else:
            self._probed(envelope.result, now, events)

    def wrong_environment(self, now: Instant, events: list[AnyEvent]) -> None:
        """The venue is a test server where the real one was meant, or the reverse: not one request more."""
        self._due.clear()
        self._pending.clear()
        meant, found = ("test", "production") if self._testnet else ("production", "test")
        detail = f"the key is for {meant}, the server is {found}: nothing was sent to it"
        self._tell("refused", "wrong_environment", now, events, detail)

    def notification(
        self, channel: str, data: msgspec.Raw, stamp: Callable[[float | None, Instant], int | None], now: Instant
    ) -> list[AnyEvent]:
        """What a `user.*` channel brings; without a login it is somebody else's, or yesterday's."""
        if not self.logged_in:
            self._note("account.before_login")
            return []
        if channel.startswith("user.portfolio."):
            return self._holdings.portfolio(data, now)
        if channel.startswith("user.changes."):
            return self._holdings.changes(data, stamp, now)
        self._note("account.unknown_channel")
        return []

    # What silence brings, and what is owed

    def on_time(self, now: Instant, events: list[AnyEvent]) -> None:
        """Time-outs, and the end of a token that could not be renewed."""
        late = [(key, step) for key, (step, deadline_ns) in self._pending.items() if deadline_ns <= now.mono_ns]
        for key, step in late:
            del self._pending[key]
            self._note("request_timeout")
            if step in ("login", "refresh"):
                self._failed(now, "timeout", events)
            else:
                self._due[step] = now.mono_ns
        if self.logged_in and self._ends_ns is not None and now.mono_ns >= self._ends_ns:
            self._log_out("token_expired", now, events)

    def next_deadline(self, now: Instant, budget: Budget) -> int | None:
        """When `on_time` or `to_send` has something to do; None between connections."""
        if not self._open:
            return None
        times = [deadline_ns for _, deadline_ns in self._pending.values()]
        for step, due_ns in self._due.items():
            times.append(max(due_ns, budget.ready_ns(_kind(step), now.mono_ns)))
        if self.logged_in and self._ends_ns is not None:
            times.append(self._ends_ns)
        return min(times, default=None)

    def to_send(self, now: Instant, budget: Budget) -> list[WsSend]:
        """The requests that are due and paid for."""
        sends = []
        for step in (*_PUBLIC, *_PRIVATE):
            due_ns = self._due.get(step)
            if due_ns is None or due_ns > now.mono_ns:
                continue
            if not budget.take(_kind(step), now.mono_ns):
                continue
            del self._due[step]
            self._last_id += 1
            self._pending[self._last_id] = step, now.mono_ns + self._timeout_ns
            method, params = self._request(step, now)
            sends.append(rpc.request(self._last_id, method, params, secret=step in ("login", "refresh")))
        return sends

    def _request(self, step: Step, now: Instant) -> tuple[str, dict[str, Any]]:
        if step == "environment":
            return "public/test", {}
        if step == "login":
            self._note("account.logins")
            return "public/auth", self._credentials.login(now, self._next_nonce(now))
        if step == "refresh":
            return "public/auth", {"grant_type": "refresh_token", "refresh_token": self._token}
        if step == "subscribe":
            return "private/subscribe", {"channels": list(CHANNELS)}
        return "private/get_positions", {"currency": "any"}

    def _next_nonce(self, now: Instant) -> str:
        """It has to be new, not secret: an instant and a count are, where nothing better was given."""
        if self._nonce is not None:
            return self._nonce()
        self._nonces += 1
        return f"{now.wall_ns:x}-{self._nonces}"

    # Steps answered

    def _environment(self, testnet: bool | None, now: Instant, events: list[AnyEvent]) -> None:
        if testnet is not self._testnet:  # it does not say: no reason to trust it with a key
            self._tell("refused", "unknown_environment", now, events, "the server does not say whether it is a test")
            self._due["environment"] = now.mono_ns + PROBE_NS
            return
        self._due["login"] = max(now.mono_ns, self._not_before_ns)

    def _token_came(self, step: Step, result: dict[str, Any], now: Instant, events: list[AnyEvent]) -> None:
        life_s = number(result.get("expires_in"))
        if not text(result.get("access_token")) or life_s is None or life_s <= 0.0:
            self._failed(now, "bad_reply", events)
            return
        beyond = _told_of(excess(text(result.get("scope"))))
        if beyond:
            self._note("account.excess_rights")
            if self._credentials.excess_rights == "refuse":
                self._give_up(f"{beyond}; the login is not used (excess_rights)", now, events)
                return
        life_ns = int(min(life_s, LONGEST_LIFE_S) * NS_PER_SECOND)
        self._ends_ns = now.mono_ns + life_ns
        self._token = text(result.get("refresh_token")) or None
        self._due.pop("login", None)
        renewal: Step = "refresh" if self._token is not None else "login"
        self._due[renewal] = now.mono_ns + int(life_ns * RENEW_AT)
        if self.logged_in:
            self._note("account.renewals")
            return
        self.logged_in = True
        self._due["subscribe"] = self._due["positions"] = now.mono_ns
        self._tell("logged_in", EXCESS_RIGHTS if beyond else "", now, events, beyond)

    def _give_up(self, detail: str, now: Instant, events: list[AnyEvent]) -> None:
        """Use no login that could do harm; another is tried at the pace of failures, since keys can be changed."""
        self._failed(now, EXCESS_RIGHTS, events, detail)
        if self.logged_in:  # a renewal, after the key was given more
            self._log_out(EXCESS_RIGHTS, now, events)

    def _subscribed(self, result: msgspec.Raw, now: Instant) -> None:
        """Names that the reply leaves out are asked for again, slowly."""
        try:
            accepted = rpc.decode_names(result)
        except DECODE_ERRORS:
            accepted = []
        if set(CHANNELS).issubset(accepted):
            self._succeeded()
        else:
            self._note("account.not_accepted")
            self._due["subscribe"] = now.mono_ns + PROBE_NS

    def _probed(self, result: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        self._due["positions"] = now.mono_ns + PROBE_NS
        found = self._holdings.reconcile(result, now)
        if found is None:
            self._note("bad_reply")
            return
        self._succeeded()
        events += found

    def _succeeded(self) -> None:
        self._failures = 0

    # Steps refused

    def _refused(
        self, step: Step, error: dict[str, Any], frame: bytes | str, now: Instant, events: list[AnyEvent]
    ) -> None:
        code = error.get("code")
        code = code if type(code) is int else 0
        self._note("error.too_many_requests" if code == 10028 else "error.other")
        reason = _REASONS.get(code, "refused")
        if step in ("login", "refresh"):
            self._login_refused(reason, code, frame, now, events)
        elif code == UNAUTHORIZED and self.logged_in:
            self._failed(now, reason, events, tell=False)
            self._log_out(reason, now, events)
        elif step == "environment":
            self._due["environment"] = now.mono_ns + 10 * NS_PER_SECOND
        else:
            self._due[step] = now.mono_ns + PROBE_NS

    def _login_refused(self, reason: str, code: int, frame: bytes | str, now: Instant, events: list[AnyEvent]) -> None:
        detail = f"the venue answered {code}"
        if reason == "invalid_credentials":
            skew_ns = _skew_ns(frame, now)
            if self._credentials.method == "signature" and abs(skew_ns) > SUSPECT_SKEW_NS:
                reason = "clock_skew"
                detail = f"our clock is {-skew_ns / NS_PER_SECOND:+.1f} s off the venue's, so it takes no signature"
            else:
                environment = "test" if self._testnet else "production"
                detail = f"the {environment} environment does not know this key: is it one of the other's?"
        self._failed(now, reason, events, detail)

    def _failed(
        self, now: Instant, reason: str, events: list[AnyEvent], detail: str = "", *, tell: bool = True
    ) -> None:
        """One more failure in a row: try again as a login, when the pause is over."""
        self._failures += 1
        self._note(f"account.failed.{reason}")
        self._not_before_ns = now.mono_ns + pause_ns(self._failures)
        self._token = None
        self._due.pop("refresh", None)
        self._due["login"] = self._not_before_ns
        if tell and not self.logged_in:
            self._tell("refused", reason, now, events, detail)

    def _log_out(self, reason: str, now: Instant, events: list[AnyEvent]) -> None:
        """The token is worth nothing any more; what was asked with it is void."""
        self.logged_in = False
        self._ends_ns = None
        self._pending = {key: each for key, each in self._pending.items() if each[0] in ("environment", "login")}
        for step in ("subscribe", "positions", "refresh"):
            self._due.pop(step, None)
        if not any(step == "login" for step, _ in self._pending.values()):
            self._due.setdefault("login", max(now.mono_ns, self._not_before_ns))
        self._tell("logged_out", reason, now, events)

    def _tell(
        self,
        state: Literal["logged_in", "logged_out", "refused"],
        reason: str,
        now: Instant,
        events: list[AnyEvent],
        detail: str = "",
    ) -> None:
        """Each change once: attempts that fail alike are told of in the counters."""
        if self._told != f"{state}.{reason}":
            self._told = f"{state}.{reason}"
            events.append(AccountStatus(venue=VENUE, received=now, state=state, reason=reason, detail=detail))


def _skew_ns(frame: bytes | str, now: Instant) -> int:
    """The venue's clock minus ours, by the stamp of a reply; 0 where it has none."""
    try:
        stamp = _decode_stamped(frame).usIn
    except DECODE_ERRORS:
        return 0
    return 0 if stamp is None else int(stamp) * 1000 - now.wall_ns


def _told_of(rights: tuple[str, ...]) -> str:
    """For people; empty where there is nothing to tell."""
    if not rights:
        return ""
    return f"the login is good for {', '.join(rights)[:SHOWN_CHARS]}, which is not needed: use a key that only reads"


def _kind(step: Step) -> str:
    """What the venue charges a request as."""
    return ORDINARY if step == "subscribe" else CALL
