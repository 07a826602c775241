"""A Deribit without sockets: sessions, frames in, frames out. `server` serves it over real ones.

`wire` has the JSON objects, `rpc` the methods and limits, `stream` and `account` what
the channels carry; this file has the sessions and who is sent what. At each `tick` the market moves to the clock's
time, and what anyone subscribes to is encoded once, for all its subscribers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pricer.clock import Clock
from pricer.simulator.faults import Faults
from pricer.simulator.market import Changes, Market
from pricer.simulator.venues.deribit.channels import Wanted
from pricer.simulator.venues.deribit.rpc import Limits, Rpc, Session, encode

WS_PATH = "/ws/api/v2"
REST_PREFIX = "/api/v2/"

PUBLIC = ""  # not an account
NOBODY = Wanted()
SERVICE_RESTART = 1012

Readers = dict[str, dict[str, list[Session]]]  # by account, by channel
Frames = list[tuple[Session, bytes]]


class Refusal(NamedTuple):
    """How a WebSocket handshake is refused."""

    status: int
    body: bytes
    retry_after_s: int = 0


class DeribitVenue:
    """The venue. Who holds a connection calls `open`, `receive` for each of its frames, and `close` when it is gone.

    A session whose `closing` is set, after `receive` or `tick`, is to be ended with `close_code` and that reason.
    """

    def __init__(
        self,
        market: Market | None = None,
        *,
        clock: Clock,
        seed: int = 7,
        activity: float = 0.1,
        limits: Limits | None = None,
        testnet: bool = False,
        faults: Faults | None = None,
        accounts: Mapping[str, str] | None = None,
    ) -> None:
        self.clock = clock
        self.market = market or Market(seed, clock.now().wall_ns, activity=activity)
        self.limits = limits or Limits()
        self.faults = faults or Faults()
        self.rpc = Rpc(self.market, clock, self.faults, self.limits, testnet, accounts or {})
        self.sessions: dict[Session, None] = {}  # in order of opening
        self.sent = 0  # notifications, counted once per subscriber
        self._readers: Readers | None = None  # None: to be made anew, as `_wanted`
        self._wanted: dict[str, Wanted] = {}
        self._ends_ns: int | None = None  # when all sessions are to end
        self._out: Frames = []

    def http(self, path: str, query: str, authorization: str = "") -> tuple[int, bytes]:
        """Status and body of a REST request, with its header `Authorization`."""
        return self.rpc.http(path, query, authorization)

    def refusal(self) -> Refusal | None:
        """How a WebSocket handshake is refused now, or None."""
        if self.faults.refuse_connections:
            return Refusal(503, b'{"error":"unavailable"}')
        if len(self.sessions) >= self.limits.connections:
            return Refusal(429, b'{"error":"too many connections"}')
        return None

    def open(self) -> Session:
        """A connection stands."""
        session = self.rpc.open()
        self.sessions[session] = None
        return session

    def close(self, session: Session) -> None:
        """A connection is gone, for whatever reason."""
        self.sessions.pop(session, None)
        self.rpc.close(session)
        self._readers = None

    def give_up(self, session: Session, reason: str) -> None:
        """Push nothing more to `session`; it is to be ended."""
        session.closing = reason
        self._readers = None

    def receive(self, session: Session, frame: str | bytes) -> list[bytes]:
        """The frames that answer a client's frame."""
        before, login = set(session.channels), session.login
        answers = self.rpc.receive(session, frame)
        if session.channels != before or session.login is not login or session.closing is not None:
            self._readers = None
        return [] if self.faults.stop_answering else answers

    def tick(self) -> Frames:
        """Move the market to the clock's time; whom to send what, in order."""
        now = self.clock.now()
        self.market.frozen = self.faults.freeze_index
        changes = self.market.step(now.wall_ns)
        for past in changes.gone.values():
            self.rpc.stream.books.forget((*past.names, *past.futures))
        self._out = []
        if self.rpc.end_logins(now.mono_ns):
            self._readers = None
        pushing = bool(self.sessions) and not self.faults.stop_pushing
        if pushing:
            self._push(changes)
        elif not self.sessions:
            self.rpc.stream.notices.clear()  # said to an empty room
        self._push_accounts(changes, send=pushing and not self.rpc.maintenance)
        self._end_all(now.mono_ns)
        if self.sessions:
            self._beat(now.mono_ns)
        return self._out

    def _beat(self, mono_ns: int) -> None:
        for session in self.sessions:
            self._out.extend((session, beat) for beat in session.beat(mono_ns))
            if session.closing is not None:
                self._readers = None

    # -- by hand, for tests and demos; seen at the next tick ------------------------------------------------

    def maintenance(self, on: bool, *, close: bool = False) -> None:
        """Announce maintenance and refuse requests with 11051, or end it; `close` ends all sessions with 1012."""
        self.rpc.maintenance = on
        self.rpc.stream.notices.append(("platform_state", {"maintenance": on}))
        if close:
            self._ends_ns = self.clock.now().mono_ns

    def lock(self, index_name: str, on: bool) -> None:
        """Lock an index, with all that is traded on it, or open it again."""
        chain = next(c for c in self.market.chains.values() if c.family.index_name == index_name)
        (self.rpc.locked.add if on else self.rpc.locked.discard)(index_name)
        self.rpc.stream.notices.append(("platform_state", {"price_index": index_name, "locked": on}))
        for name in (*chain.names, *chain.futures):
            self.market.set_state(name, "locked" if on else "open")

    def halt(self, name: str, state: str = "halted") -> None:
        """Put an instrument into a state; `open` lets it go on."""
        self.market.set_state(name, state)

    def list_strike(self, family: str, code: str, strike: float) -> tuple[str, str]:
        """List a call and a put: see `Market.list_strike`."""
        return self.market.list_strike(family, code, strike)

    def expire(self, name: str) -> None:
        """Take off an option or a whole expiry: see `Market.expire`."""
        self.market.expire(name)

    def announce_restart(self, after_s: float = 30.0) -> None:
        """Announce a restart: after so many seconds all sessions end with 1012, and new ones may begin at once."""
        now = self.clock.now()
        self._ends_ns = now.mono_ns + int(after_s * 1e9)
        notice = {
            "id": self.rpc.keys.granted + 1,
            "title": "Scheduled restart",
            "body": f"All connections will be closed in {after_s:.0f} seconds.",
            "publication_timestamp": now.wall_ns // 1_000_000,
            "important": True,
            "confirmation": False,
            "action": "new",
        }
        self.rpc.stream.notices.append(("announcements", notice))

    def _end_all(self, mono_ns: int) -> None:
        if self._ends_ns is None or mono_ns < self._ends_ns:
            return
        self._ends_ns = None
        for session in self.sessions:
            session.close_code = SERVICE_RESTART
            self.give_up(session, "restart")

    # -- notifications ------------------------------------------------------------------------------------

    def _push(self, changes: Changes) -> None:
        if self._readers is None:
            self._readers = self._readers_by_channel()
            self._wanted = {account: Wanted(channels) for account, channels in self._readers.items()}
            self.rpc.stream.keep_only(self._wanted[PUBLIC])
        wanted = self._wanted[PUBLIC]
        stream = self.rpc.stream
        due = stream.platform_notices(wanted) if self.rpc.maintenance else stream.due(changes, wanted)
        for channel, data in due:
            self._send(PUBLIC, channel, data)

    def _push_accounts(self, changes: Changes, *, send: bool) -> None:
        """Accounts trade whether or not anyone reads them."""
        for account, owned in self.rpc.owned.items():
            for channel, data in owned.due(changes, self._wanted.get(account, NOBODY)):
                if send:
                    self._send(account, channel, data)

    def _readers_by_channel(self) -> Readers:
        """Who reads what: the public channels, and each account's."""
        readers: Readers = {PUBLIC: {}}
        for session in self.sessions:
            for channel in session.channels if session.closing is None else ():
                private = channel.startswith("user.") and session.login is not None
                whose = session.login.account if session.login is not None and private else PUBLIC
                readers.setdefault(whose, {}).setdefault(channel, []).append(session)
        return readers

    def _send(self, whose: str, channel: str, data: object) -> None:
        sessions = (self._readers or {}).get(whose, {}).get(channel)
        if sessions:
            frame = encode(channel, data)
            self._out.extend((session, frame) for session in sessions)
            self.sent += len(sessions)
