"""Deribit with faults: the same calls as `DeribitVenue`, and between it and its sessions whatever a script does.

The venue behind stays right; what it says is changed on the way. So the truth can be asked for at any time, and a
fault that ends leaves nothing behind in the venue.
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np

from pricer.clock import NS_PER_SECOND, Clock
from pricer.simulator.faults import Fault
from pricer.simulator.market import Market
from pricer.simulator.venues.deribit import wire
from pricer.simulator.venues.deribit.mutations import CHANGES, channel_of, unknown_frames, with_value
from pricer.simulator.venues.deribit.rpc import Session, encode
from pricer.simulator.venues.deribit.venue import DeribitVenue, Frames, Refusal

# What is held back for later, over all sessions; beyond it the oldest is let go early.
MOST_HELD = 10_000
_CODES = {10028: "too_many_requests", 11051: "system_maintenance", 13009: "unauthorized"}

Json = dict[str, Any]


class _Call(msgspec.Struct):
    """What of a request the faults look at."""

    id: int | str | None = None
    method: str = ""
    params: Json = {}


class FaultyDeribit:
    """`venue` under faults, drawn with `seed`; a target for the conductor.

    `counters` tell how often each fault hit, by its name: a script that never hits anything proves nothing.
    """

    def __init__(self, venue: DeribitVenue, seed: int = 0) -> None:
        self.venue = venue
        self.counters: Counter[str] = Counter()
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._active: dict[int, Fault] = {}
        self._left: dict[int, float] = {}  # hits that a fault with a count still has
        self._held: deque[tuple[int, Session, bytes]] = deque()  # (mono_ns when due, whom, what)
        self._swapped: dict[tuple[Session, bytes], bytes] = {}
        self._late_reply: dict[Session, bytes] = {}
        self._muted: dict[Session, set[bytes]] = {}
        self._halted: dict[int, list[str]] = {}
        self._stuck: dict[str, float] = {}  # by index name; and by family, for tickers
        self._first_books: dict[tuple[Session, bytes], bytes] = {}
        self._last_tickers: dict[str, tuple[Session, bytes]] = {}

    # The venue's calls

    @property
    def clock(self) -> Clock:
        return self.venue.clock

    @property
    def market(self) -> Market:
        return self.venue.market

    @property
    def sessions(self) -> Iterable[Session]:
        return self.venue.sessions

    def http(self, path: str, query: str, authorization: str = "") -> tuple[int, bytes]:
        """Status and body of a REST request."""
        if self._one("maintenance"):
            return 400, _error(None, 11051)
        return self.venue.http(path, query, authorization)

    def refusal(self) -> Refusal | None:
        """How a WebSocket handshake is refused now, or None."""
        if (refuse := self._one("refuse")) is not None:
            self._hit(refuse)
            status, wait_s = (int(refuse.parameters[key] or 0) for key in ("status", "retry_after_s"))
            return Refusal(status, b'{"error":"refused"}', wait_s)
        if (restart := self._one("restart")) is not None:
            self._hit(restart)
            return Refusal(503, b'{"error":"restarting"}')
        return self.venue.refusal()

    def open(self) -> Session:
        """A connection stands."""
        return self.venue.open()

    def close(self, session: Session) -> None:
        """A connection is gone; what was held for it goes with it."""
        self.venue.close(session)
        self._held = deque(each for each in self._held if each[1] is not session)
        for table in (self._swapped, self._first_books):
            for key in [key for key in table if key[0] is session]:
                del table[key]
        self._late_reply.pop(session, None)
        self._muted.pop(session, None)
        for name in [name for name, (whose, _) in self._last_tickers.items() if whose is session]:
            del self._last_tickers[name]

    def give_up(self, session: Session, reason: str) -> None:
        """Push nothing more to `session`; it is to be ended."""
        self.venue.give_up(session, reason)

    def receive(self, session: Session, frame: str | bytes) -> list[bytes]:
        """The frames that answer a client's frame, as far as the faults let them."""
        if not self._active:
            return self.venue.receive(session, frame)
        call = _decoded(frame)
        error = self._error_for(call)
        if error is not None:
            return [_error(call.id, error)]
        before = set(session.channels)
        answers = self.venue.receive(session, self._without_rejected(call, frame))
        if self._one("no_data") is not None:
            self._muted.setdefault(session, set()).update(name.encode() for name in session.channels - before)
        replies = [each for each in answers if channel_of(each) is None]
        firsts = [(session, each) for each in answers if channel_of(each) is not None]
        passed = self._replies(session, replies)
        return [*passed, *(each for _, each in self._changed(firsts))]

    def tick(self) -> Frames:
        """What the venue sends now, as far as the faults let it, and what was held back until now."""
        frames = self.venue.tick()
        if self._active:
            frames = self._changed(frames)
            if (after := self._one("after_expiry")) is not None:
                frames += self._after_expiry(after, frames)
            if (unknown := self._one("unknown_messages")) is not None:
                frames += self._unknown(unknown)
            if (stale := self._one("stale_snapshot")) is not None:
                frames += self._stale_snapshots(stale)
        return self._released() + frames if self._held else frames

    # Faults begin and end

    def begin(self, key: int, fault: Fault) -> None:
        """A fault begins."""
        self._active[key] = fault
        count = fault.parameters.get("count")
        self._left[key] = float("inf") if count is None else float(count)
        if fault.name == "freeze_index":
            self.venue.faults.freeze_index = True
            self._hit(fault)
        elif fault.name == "stick_index":
            for chain in self.market.chains.values():
                self._stuck.setdefault(chain.family.index_name, chain.index)
                self._stuck.setdefault(chain.family.name, chain.index)
        elif fault.name in ("restart", "close"):
            self._close_all(fault)
        elif fault.name == "maintenance":
            self._tell_platform({"maintenance": True})
        elif fault.name == "lock":
            self._tell_lock(fault, locked=True)
        elif fault.name == "halt":
            self._halt(key, fault)

    def end(self, key: int, fault: Fault) -> None:
        """A fault ends; what it held back comes after all."""
        del self._active[key], self._left[key]
        if fault.name == "freeze_index":
            self.venue.faults.freeze_index = self._one("freeze_index") is not None
        elif fault.name == "stick_index" and self._one("stick_index") is None:
            self._stuck.clear()
        elif fault.name == "no_data" and self._one("no_data") is None:
            self._muted.clear()
        elif fault.name == "maintenance":
            self._tell_platform({"maintenance": False})
        elif fault.name == "lock":
            self._tell_lock(fault, locked=False)
        elif fault.name == "halt":
            self._halt_over(key)
        elif fault.name == "swap":
            self._hold((session, frame) for (session, _), frame in self._swapped.items())
            self._swapped.clear()
        elif fault.name == "reorder_replies":
            self._hold(self._late_reply.items())
            self._late_reply.clear()
        elif fault.name == "stale_snapshot":
            self._first_books.clear()
        elif fault.name == "after_expiry":
            self._last_tickers.clear()

    def _one(self, name: str) -> Fault | None:
        return next((each for each in self._active.values() if each.name == name), None)

    def _hit(self, fault: Fault) -> None:
        self.counters[fault.name] += 1

    def _close_all(self, fault: Fault) -> None:
        for session in list(self.venue.sessions):
            session.close_code = int(fault.parameters["code"] or 1000)
            self.venue.give_up(session, fault.name)
            self._hit(fault)

    def _tell_platform(self, data: Json) -> None:
        self._publish("platform_state", data)
        self.counters["maintenance"] += 1

    def _tell_lock(self, fault: Fault, *, locked: bool) -> None:
        for chain in self.market.chains.values():
            self._publish("platform_state", {"price_index": chain.family.index_name, "locked": locked})
        self._hit(fault)

    def _publish(self, channel: str, data: object) -> None:
        """A message of our own to all who follow `channel`, with the next tick."""
        frame = encode(channel, data)
        self._hold((session, frame) for session in self.venue.sessions if channel in session.channels)

    def _halt(self, key: int, fault: Fault) -> None:
        names = [name for chain in self.market.chains.values() for name in chain.names]
        some = self._rng.choice(len(names), size=min(int(fault.parameters["count"] or 0), len(names)), replace=False)
        self._halted[key] = [names[at] for at in sorted(some.tolist())]
        self.venue.faults.refused.update(self._halted[key])
        self._tell_states(self._halted[key], "halted")
        self._hit(fault)

    def _halt_over(self, key: int) -> None:
        names = self._halted.pop(key)
        still = {name for each in self._halted.values() for name in each}
        over = [name for name in names if name not in still]
        self.venue.faults.refused.difference_update(over)
        self._tell_states([name for name in over if self.market.chain_of(name) is not None], "open")

    def _tell_states(self, names: Iterable[str], state: str) -> None:
        for name in names:
            chain = self.market.chain_of(name)
            currency = chain.family.settlement if chain is not None else "any"
            data = wire.instrument_state(self.market, name, state)
            for kind in ("option", "any"):
                for of_currency in (currency, "any"):
                    self._publish(f"instrument.state.{kind}.{of_currency}", data)

    # Requests and replies

    def _error_for(self, call: _Call) -> int | None:
        """The code that a request is refused with now."""
        for each in self._active.values():
            if each.name == "maintenance":
                self._hit(each)
                return 11051
            if each.name == "expire_tokens" and _needs_token(call):
                self._hit(each)
                return 13009
            if each.name == "error_replies" and self._refuses(each, call):
                self._hit(each)
                return int(each.parameters["code"] or 0)
        return None

    def _refuses(self, fault: Fault, call: _Call) -> bool:
        meant = call.method.startswith(str(fault.parameters["methods"]))
        return meant and self._rng.random() < float(fault.parameters["share"] or 0.0)

    def _without_rejected(self, call: _Call, frame: str | bytes) -> str | bytes:
        """The request as the venue would read it: what it does not accept it leaves out, without a word."""
        rejecting = self._one("reject_channels")
        channels = call.params.get("channels")
        if rejecting is None or call.method != "public/subscribe" or not isinstance(channels, list):
            return frame
        share = float(rejecting.parameters["share"] or 0.0)
        kept = [name for name in channels if not self._is_chosen(str(name), share)]
        self.counters["reject_channels"] += len(channels) - len(kept)
        # An unknown name in its place keeps the list from being empty, which would be another error.
        params = {**call.params, "channels": kept or ["nothing"]}
        return msgspec.json.encode({"jsonrpc": "2.0", "id": call.id, "method": call.method, "params": params})

    def _is_chosen(self, name: str, share: float) -> bool:
        """The same names each time: a share of all, by seed."""
        return zlib.crc32(f"{self._seed} {name}".encode()) / 2**32 < share

    def _replies(self, session: Session, replies: list[bytes]) -> list[bytes]:
        passed = []
        for reply in replies:
            lost, late, out_of_order = (self._one(n) for n in ("lose_replies", "late_replies", "reorder_replies"))
            if lost is not None and self._rng.random() < float(lost.parameters["share"] or 0.0):
                self._hit(lost)
            elif late is not None:
                self._hit(late)
                self._hold([(session, reply)], float(late.parameters["delay_s"] or 0.0))
            elif out_of_order is not None and session not in self._late_reply:
                self._hit(out_of_order)
                self._late_reply[session] = reply
            else:
                passed.append(reply)
                if session in self._late_reply:
                    passed.append(self._late_reply.pop(session))
        return passed

    # Notifications

    def _changed(self, frames: Frames) -> Frames:
        """Every notification through every fault that is on, in the order in which they began."""
        if self._muted:
            frames = [each for each in frames if channel_of(each[1]) not in self._muted.get(each[0], ())]
        if self._one("after_expiry") is not None:
            self._remember_tickers(frames)
        if self._one("stale_snapshot") is not None:
            self._remember_books(frames)
        for key, each in self._active.items():
            effect = _EFFECTS.get(each.name)
            if effect is not None:
                frames = effect(self, key, each, frames)
            elif each.name in CHANGES:
                frames = self._mutated(key, each, frames)
        return self._of_the_halted(frames) if self._halted else frames

    def _hits(self, key: int, fault: Fault, frame: bytes) -> bool:
        """Whether the fault takes this notification."""
        channel = channel_of(frame)
        if channel is None or not channel.startswith(str(fault.parameters.get("channels", "")).encode()):
            return False
        share = float(fault.parameters.get("share", 1.0) or 0.0)
        if self._left[key] <= 0 or (share < 1.0 and self._rng.random() >= share):
            return False
        self._left[key] -= 1
        self._hit(fault)
        return True

    def _mutated(self, key: int, fault: Fault, frames: Frames) -> Frames:
        change = CHANGES[fault.name]
        done = []
        for session, frame in frames:
            if change.concerns(frame) and self._hits(key, fault, frame):
                frame = change.apply(frame, fault, self._rng)
            done.append((session, frame))
        return done

    def _drop(self, key: int, fault: Fault, frames: Frames) -> Frames:
        return [each for each in frames if not self._hits(key, fault, each[1])]

    def _silence(self, key: int, fault: Fault, frames: Frames) -> Frames:
        return [each for each in frames if channel_of(each[1]) is None or not self._hits(key, fault, each[1])]

    def _duplicate(self, key: int, fault: Fault, frames: Frames) -> Frames:
        return [copy for each in frames for copy in ([each] * 2 if self._hits(key, fault, each[1]) else [each])]

    def _swap(self, key: int, fault: Fault, frames: Frames) -> Frames:
        """A notification waits until the next of its channel has gone before it."""
        done = []
        for session, frame in frames:
            channel = channel_of(frame)
            if channel is None:
                done.append((session, frame))
            elif (earlier := self._swapped.pop((session, channel), None)) is not None:
                done += [(session, frame), (session, earlier)]
            elif self._hits(key, fault, frame):
                self._swapped[session, channel] = frame
            else:
                done.append((session, frame))
        return done

    def _corrupt(self, key: int, fault: Fault, frames: Frames) -> Frames:
        return [(s, self._garbled(frame) if self._hits(key, fault, frame) else frame) for s, frame in frames]

    def _garbled(self, frame: bytes) -> bytes:
        """Some bytes are others, or the end is missing."""
        if self._rng.random() < 0.3:
            return frame[: int(self._rng.integers(1, len(frame)))]
        garbled = bytearray(frame)
        for at in self._rng.integers(0, len(frame), size=3).tolist():
            garbled[at] = int(self._rng.integers(32, 127))
        return bytes(garbled)

    def _delay(self, key: int, fault: Fault, frames: Frames) -> Frames:
        hits = [self._hits(key, fault, frame) for _, frame in frames]
        late = [each for each, hit in zip(frames, hits, strict=True) if hit]
        self._hold(late, float(fault.parameters["delay_s"] or 0.0))
        return [each for each, hit in zip(frames, hits, strict=True) if not hit]

    def _stick(self, key: int, fault: Fault, frames: Frames) -> Frames:
        """The index, in its own channel and in tickers, as it was when the fault began."""
        done = []
        for session, frame in frames:
            kind, _, rest = (channel_of(frame) or b"").decode(errors="replace").partition(".")
            value = self._stuck.get(rest.split("-")[0])
            field = {"deribit_price_index": "price", "ticker": "index_price"}.get(kind)
            if value is not None and field is not None and self._hits(key, fault, frame):
                frame = with_value(frame, field, value)
            done.append((session, frame))
        return done

    def _of_the_halted(self, frames: Frames) -> Frames:
        halted = {f"ticker.{name}.".encode() for names in self._halted.values() for name in names}
        done = []
        for session, frame in frames:
            channel = channel_of(frame) or b""
            if channel.startswith(b"ticker.") and channel[: channel.rindex(b".") + 1] in halted:
                frame = frame.replace(b'"state":"open"', b'"state":"halted"')
            done.append((session, frame))
        return done

    # Messages that no healthy venue sends

    def _unknown(self, fault: Fault) -> Frames:
        self._hit(fault)
        return [(session, frame) for session in self.venue.sessions for frame in unknown_frames(session.channels)]

    def _remember_books(self, frames: Frames) -> None:
        for session, frame in frames:
            channel = channel_of(frame)
            if channel is not None and channel.startswith(b"book."):
                self._first_books.setdefault((session, channel), frame)

    def _stale_snapshots(self, fault: Fault) -> Frames:
        key = next(key for key, each in self._active.items() if each is fault)
        return [(whose, frame) for (whose, _), frame in self._first_books.items() if self._hits(key, fault, frame)]

    def _remember_tickers(self, frames: Frames) -> None:
        """Those of the options that expire next."""
        for chain in self.market.chains.values():
            codes = {f"ticker.{chain.family.name}-{expiry.code}-".encode() for expiry in chain.slices[:1]}
            for session, frame in frames:
                channel = channel_of(frame)
                if channel is not None and channel.startswith(tuple(codes)):
                    self._last_tickers[channel.decode().split(".")[1]] = (session, frame)

    def _after_expiry(self, fault: Fault, _: Frames) -> Frames:
        """The last tickers of what has expired, as if it lived on."""
        now_ms = self.clock.now().wall_ns // 1_000_000
        done: Frames = []
        for name, (session, frame) in self._last_tickers.items():
            if self.market.chain_of(name) is None and session in self.venue.sessions:
                self._hit(fault)
                message = msgspec.json.decode(frame)
                message["params"]["data"].update(timestamp=now_ms, state="open")
                done.append((session, msgspec.json.encode(message)))
        return done

    # What is held back

    def _hold(self, frames: Iterable[tuple[Session, bytes]], delay_s: float = 0.0) -> None:
        due_ns = self.clock.now().mono_ns + int(delay_s * NS_PER_SECOND)
        self._held.extend((due_ns, session, frame) for session, frame in frames)

    def _released(self) -> Frames:
        now_ns = self.clock.now().mono_ns
        over = len(self._held) - MOST_HELD
        released, kept = [], deque[tuple[int, Session, bytes]]()
        for at, each in enumerate(self._held):
            if each[0] <= now_ns or at < over:
                released.append(each[1:])
            else:
                kept.append(each)
        self._held = kept
        return released


_Effect = Callable[[FaultyDeribit, int, Fault, Frames], Frames]
_EFFECTS: dict[str, _Effect] = {
    "drop": FaultyDeribit._drop,
    "zombie": FaultyDeribit._silence,
    "maintenance": FaultyDeribit._silence,
    "stick_index": FaultyDeribit._stick,
    "duplicate": FaultyDeribit._duplicate,
    "swap": FaultyDeribit._swap,
    "corrupt": FaultyDeribit._corrupt,
    "delay": FaultyDeribit._delay,
}


def _decoded(frame: str | bytes) -> _Call:
    try:
        return msgspec.json.decode(frame, type=_Call)
    except msgspec.MsgspecError:
        return _Call()


def _needs_token(call: _Call) -> bool:
    if call.method == "public/auth":
        return call.params.get("grant_type") == "refresh_token"
    return call.method.startswith("private/")


def _error(request_id: int | str | None, code: int) -> bytes:
    reply: Json = {"jsonrpc": "2.0"}
    if request_id is not None:
        reply["id"] = request_id
    reply["error"] = {"code": code, "message": _CODES.get(code, "error")}
    return msgspec.json.encode({**reply, "testnet": False, "usIn": 0, "usOut": 0, "usDiff": 0})
