"""A consumer's side of one stream, sans-I/O: messages in, states and requests out.

The rules, as docs/protocol.md has them:

1. `snapshot` begins, `delta` has the next `seq`, `heartbeat` the one we have; after a `gap` comes a snapshot with its
   `to`. Anything else is a break, and so is a `crc32` that our own values do not have: then we subscribe again, and no
   state is handed out until the snapshot has come.
2. After a reconnection we ask for what we missed, by `session`, `stream` and `seq`. `resumed` says that it comes; a
   snapshot begins anew. Another `session` is another process: its clock and its `seq` have nothing to do with the old
   ones. Another `stream` counts something else, although the words that we asked with are the same.
3. What we asked for and do not get, although other messages come, was lost: another connection has to be made.
4. What the protocol does not know of is ignored; what contradicts it is a `ProtocolError`, and the connection is of
   no use any more. What the sidecar refuses is a `RequestRefused`.

Nothing is ever handed out out of order or half applied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pricer.clock import NS_PER_SECOND, Clock
from pricer.conventions import NO_REASON, Reason
from pricer.errors import ProtocolError
from pricer.sidecar.decoding import Decode, decode_json
from pricer.sidecar.heads import About, read
from pricer.sidecar.messages import Message
from pricer.sidecar.replica import Replica
from pricer.sidecar.server_clock import ServerClock
from pricer.snapshot import Snapshot

PROTOCOL = 1
SUBJECT = ("channel", "venue", "underlying", "instrument")
# So many subscriptions in a row without a message in order between them: this connection will never be in sync.
MOST_BREAKS = 5
ANSWER_NS = 10 * NS_PER_SECOND
# What a sidecar may say to one whom it has served before and will serve again. One that has just started knows neither
# options nor all underlyings before its venue has told it.
PASSING = frozenset(
    {
        "rate_limited",
        "too_many_streams",
        "too_many_clients",
        "unknown_venue",
        "unknown_underlying",
        "unknown_expiry",
    }
)


class RequestRefused(ProtocolError):
    """The sidecar does not serve this request; `code` is its word for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"the sidecar refuses: {code}: {message}")
        self.code = code
        self._message = message

    def __reduce__(self) -> tuple[Any, ...]:  # an exception is otherwise made again from its text alone
        return type(self), (self.code, self._message)


class Follower:
    """One subscription over any number of connections.

    `stats` counts what went wrong: gaps and the messages missed in them, messages out of sequence, checksums that
    differed, subscriptions made anew, resumptions, sessions that ended, what was refused or ignored. `breaks` counts
    what concerns continuity, and each snapshot carries it; `verified` the checksums compared.
    """

    def __init__(self, subscription: Mapping[str, Any], clock: Clock) -> None:
        self.stats: Counter[str] = Counter()
        self.session: str | None = None
        self.stream: int | None = None
        self.seq: int | None = None
        self.breaks = 0
        self.verified = 0
        self.wants_reconnect: str | None = None
        self._subscription = {"op": "subscribe", "channel": "chain", **subscription}
        self._subject: dict[str, Any] = {name: self._subscription.get(name) for name in SUBJECT}
        self._own_clock = clock
        self._decode: Decode = decode_json
        self._heard = ServerClock(clock)  # on this connection, whoever it is to
        self._clock = self._heard  # of the session that the state is of
        self.replica = Replica(subscription.get("columns"))
        self._requests: list[dict[str, Any]] = []
        self._gap_to: int | None = None
        self._waiting_since_ns: int | None = None  # for what brings us in sync
        self._in_sync = False
        self._has_state = False
        self._breaks_in_a_row = 0
        self._against = NO_REASON

    @property
    def in_sync(self) -> bool:
        """Whether the state is the stream's, as far as messages have come."""
        return self._in_sync

    def connected(self, decode: Decode = decode_json) -> None:
        """A connection stands, in the encoding that `decode` reads.

        The ping's short answer tells the sidecar's clock before the long snapshot comes.
        """
        self._decode = decode
        self._heard = ServerClock(self._own_clock)
        self._requests = [{"op": "ping"}]
        self.wants_reconnect, self._breaks_in_a_row = None, 0
        self._in_sync, self._gap_to, self._waiting_since_ns = False, None, None
        had = {"session": self.session, "stream": self.stream, "seq": self.seq}
        resumable = self.session is not None and self.seq is not None
        self._subscribe({name: value for name, value in had.items() if value is not None} if resumable else {})

    def lost(self) -> None:
        """The connection is gone."""
        self._in_sync = False
        self._requests.clear()
        if self._has_state:
            self.breaks += 1

    def to_send(self) -> list[dict[str, Any]]:
        """The requests owed, once."""
        owed, self._requests = self._requests, []
        if owed:
            self._wait()
        return owed

    def receive(self, payload: bytes | str) -> bool:
        """One message; True when there is a new state, which `snapshot` then gives.

        A `ProtocolError` leaves nothing that could be resumed: the next connection begins with a snapshot.
        """
        try:
            is_new = self._take(self._decode(payload))
        except ProtocolError:
            self._forget()
            raise
        self._mind_the_answer()
        return is_new

    def snapshot(self) -> Snapshot:
        """The state after the last message that brought a new one."""
        return self.replica.snapshot(self._clock, self.breaks, self._against)

    def _take(self, message: Message) -> bool:
        about = read(message.head, About)
        if about.mono_ns is not None:
            self._heard.heard(about.mono_ns)
            if self._clock is not self._heard and self._in_sync:
                self._clock.heard(about.mono_ns)
        if about.protocol is not None and about.protocol > PROTOCOL:
            raise ProtocolError(f"the sidecar speaks protocol {about.protocol}, this client {PROTOCOL}")
        match about.type:
            case "welcome":
                if self._in_sync and about.session not in (None, self.session):
                    raise ProtocolError("the sidecar became another one amid a connection")
                self._greeted(about.session)
            case "error":
                self._refused(about)
            case "snapshot" | "delta" | "heartbeat" | "gap" | "resumed":
                if self._concerns(about):
                    return self._in_stream(message, about)
                self.stats["foreign"] += 1
            case "pong" | "unsubscribed":
                pass
            case _:
                self.stats["unknown"] += 1
        return False

    def _in_stream(self, message: Message, about: About) -> bool:
        match about.type:
            case "snapshot":
                return self._begin(message, about)
            case "resumed":
                self._resumed(about)
            case "gap":
                self._gap(about)
            case "delta" if self._in_sync:
                return self._change(message, about)
            case "heartbeat" if self._in_sync and about.seq != self.seq:
                self._break("out_of_sequence")
        return False

    def _begin(self, message: Message, about: About) -> bool:
        if about.seq is None:
            raise ProtocolError("the sidecar sent a snapshot without a seq")
        if self._gap_to is not None and about.seq != self._gap_to:
            self.stats["out_of_sequence"] += 1
        self._gap_to = None
        self.replica.begin(message)
        self._greeted(about.session)
        if self.session is None or self.session != about.session:
            self._clock = self._heard
        elif self._clock is not self._heard and not self._in_sync and about.mono_ns is not None:
            self._clock.heard(about.mono_ns)
        for name in SUBJECT:  # the sidecar's own venue, where we asked for none
            self._subject[name] = self._subject[name] or getattr(about, name)
        self.session, self.stream, self.seq = about.session, about.stream, about.seq
        self._in_sync = self._has_state = True
        return self._verified(about)

    def _change(self, message: Message, about: About) -> bool:
        assert self.seq is not None
        if about.seq != self.seq + 1:
            self._break("out_of_sequence")
            return False
        self.replica.change(message)
        self.seq = about.seq
        return self._verified(about)

    def _verified(self, about: About) -> bool:
        """Compare checksums where the message has one. What failed is shown once more, as nothing to act on."""
        self._against = NO_REASON
        if about.crc32 is not None:
            self.verified += 1
        if about.crc32 is not None and about.crc32 != self.replica.crc32():
            self._against = Reason.CHECKSUM_FAIL
            self._break("checksum_mismatches")
        elif about.type == "delta":
            self._breaks_in_a_row = 0
        return True

    def _resumed(self, about: About) -> None:
        if self.seq is None or about.first != self.seq + 1 or about.stream not in (None, self.stream):
            self._break("out_of_sequence")
            return
        self.stats["resumed"] += 1
        if about.mono_ns is not None:
            self._clock.heard(about.mono_ns)
        self._in_sync = True

    def _gap(self, about: About) -> None:
        self.stats["gaps"] += 1
        self.breaks += 1
        self._in_sync, self._gap_to = False, about.last
        self._wait()
        if about.first is not None and about.last is not None:
            self.stats["missed"] += max(about.last - about.first + 1, 0)

    def _greeted(self, session: str | None) -> None:
        """Who is at the other end. What another process counted is of no use."""
        if session is None or self.session in (None, session):
            return
        self.stats["sessions"] += 1
        self.breaks += 1
        self.session, self.stream, self.seq = None, None, None

    def _refused(self, about: About) -> None:
        code = about.code or "unknown"
        self.stats["refused"] += 1
        if not (self._has_state and code in PASSING):
            raise RequestRefused(code, about.message or "")
        self.wants_reconnect = code

    def _break(self, why: str) -> None:
        """Out of sync, for whatever reason: ask for a snapshot."""
        self.stats[why] += 1
        self.breaks += 1
        self._breaks_in_a_row += 1
        self.seq, self._in_sync = None, False
        if self._breaks_in_a_row >= MOST_BREAKS:
            self.wants_reconnect = "never in sync"
            return
        self.stats["resubscriptions"] += 1
        self._subscribe({})

    def _wait(self) -> None:
        self._waiting_since_ns = self._own_clock.now().mono_ns

    def _mind_the_answer(self) -> None:
        if self._in_sync or self.wants_reconnect is not None:
            self._waiting_since_ns = None
        elif self._waiting_since_ns is not None and self._own_clock.now().mono_ns - self._waiting_since_ns > ANSWER_NS:
            self.stats["unanswered"] += 1
            self.wants_reconnect = "no answer"

    def _subscribe(self, resume: dict[str, Any]) -> None:
        self._requests.append(self._subscription | resume)

    def _forget(self) -> None:
        self.seq, self._in_sync = None, False
        self.breaks += 1

    def _concerns(self, about: About) -> bool:
        """Whether a message is of our stream; what it does not name, or we do not know, cannot differ."""
        return all(wanted is None or getattr(about, name) in (None, wanted) for name, wanted in self._subject.items())
