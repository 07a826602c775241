"""Mutated requests through a hub, and mutated messages of a sidecar through a bot's follower (FAULTS V05)."""

from __future__ import annotations

import functools
import hashlib
import random
import time
from collections.abc import Callable
from typing import Any

import msgspec

from pricer.clock import Instant, ManualClock
from pricer.config import ServerSection
from pricer.conventions import NS_PER_DAY
from pricer.errors import ProtocolError
from pricer.sidecar.clients import Client
from pricer.sidecar.encodings import JSON, MSGPACK, PROTOBUF, Encoding
from pricer.sidecar.following import Follower
from pricer.sidecar.hub import Hub
from pricer.sidecar.messages import Message
from pricer.sidecar.protocol import CODES
from tests.fuzz.binary import mutated_msgpack, mutated_protobuf
from tests.fuzz.mutations import mutated
from tests.fuzz.run import SLOWEST_NS, Fault, Tally
from tests.sidecar.bench import FakeLink
from tests.sidecar.snapshots import Market, Source

START = Instant(NS_PER_DAY * 20_000, 1000 * 10**9)
STEP_NS = 60_000_000
Progress = Callable[[Tally], None] | None

REQUESTS: tuple[dict[str, Any], ...] = (
    {"op": "subscribe", "channel": "chain", "underlying": "BTC"},
    {"op": "subscribe", "channel": "chain", "underlying": "BTC", "venue": "deribit", "columns": ["iv", "delta"]},
    {"op": "subscribe", "channel": "chain", "underlying": "BTC", "expiries": {"first": 2}, "strikes": {"count": 3}},
    {"op": "subscribe", "channel": "chain", "underlying": "ETH", "expiries": ["25DEC26"], "strikes": {"delta": 0.1}},
    {"op": "subscribe", "channel": "chain", "underlying": "BTC", "interval_ms": 500, "session": "abc", "seq": 3},
    {"op": "subscribe", "channel": "depth", "underlying": "BTC", "instrument": "BTC-25DEC26-100000-C"},
    {"op": "subscribe", "channel": "health"},
    {"op": "unsubscribe", "channel": "chain", "underlying": "BTC"},
    {"op": "auth", "token": "a-token"},
    {"op": "ping"},
)


def mutation_of(encoding: Encoding, payload: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The name of a mutation and what it made of a payload."""
    if encoding is MSGPACK:
        return mutated_msgpack(payload, rng)
    return mutated_protobuf(payload, rng) if encoding is PROTOBUF else mutated(_parsed(payload), rng)


@functools.lru_cache(maxsize=64)  # of a few good messages, which mutations copy and leave as they are
def _parsed(payload: bytes) -> Any:
    return msgspec.json.decode(payload)


def market() -> tuple[ManualClock, Market, Source]:
    clock = ManualClock(START)
    chain, source = Market(clock, 1, 2), Source()
    source.publish(chain.snapshot())
    return clock, chain, source


class Requests:
    """Clients that say everything but what they should; one after another is closed by policy."""

    def __init__(self, seed: int, tally: Tally, digest: Any, encoding: Encoding) -> None:
        self._seed, self._tally, self._digest, self._encoding = seed, tally, digest, encoding
        self._rng = random.Random(f"requests/{seed}")
        self._requests = [encoding.encode_request(request) for request in REQUESTS]
        self._clock, self._market, self._source = market()
        settings = ServerSection(max_requests_per_s=1000, max_errors=20, max_message_bytes=4096)
        self._hub = Hub(
            self._source, settings, venue="deribit", underlyings=["BTC"], clock=self._clock, session=f"{seed}"
        )
        self._link, self._client = self._join()

    def _join(self) -> tuple[FakeLink, Client]:
        link = FakeLink()
        client = self._hub.join(link, self._encoding)
        self._hub.greet(client)
        link.frames()
        return link, client

    def one(self) -> None:
        """One message, and what comes of it."""
        name, data = mutation_of(self._encoding, self._rng.choice(self._requests), self._rng)
        self._tally.mutations[name] += 1
        as_usual = self._rng.random() >= 0.05  # else binary for text, text for binary
        said = data if as_usual is not self._encoding.is_text else data.decode("utf-8", "replace")
        self._clock.advance(STEP_NS)
        errors = self._client.session.errors
        began = time.perf_counter_ns()
        try:
            self._hub.receive(self._client, said)
            answers = [self._encoding.decode(payload).head for _, payload in self._link.frames()]
        except Exception as error:
            raise Fault(f"seed {self._seed}, input {self._tally.inputs}: {error!r} on {data[:2000]!r}") from error
        self._tally.slowest_ns = time.perf_counter_ns() - began
        self._judge(data, answers, errors)

    def _judge(self, data: bytes, answers: list[dict[str, Any]], errors: int) -> None:
        kinds = [answer["type"] for answer in answers]
        self._tally.events.update(answer.get("code", answer["type"]) for answer in answers)
        self._digest.update(repr(kinds).encode())
        where = f"seed {self._seed}, input {self._tally.inputs}"
        if self._link.closed is not None:
            if self._link.closed[0] not in (1008, 1009):
                raise Fault(f"{where}: closed with {self._link.closed}")
            if errors + 1 < self._hub.settings.max_errors:
                raise Fault(f"{where}: closed after {errors} errors")
            self._link, self._client = self._join()
            return
        # Who subscribes again may be told first how the stream has moved on that it reads.
        if not answers or not set(kinds[:-1]) <= {"delta", "heartbeat", "snapshot"}:
            raise Fault(f"{where}: {kinds} to {data[:2000]!r}")
        answer = answers[-1]
        if answer["type"] == "error":
            if answer["code"] not in CODES:
                raise Fault(f"{where}: an unknown code {answer['code']!r}")
            if len(answer["message"]) > 4096 or "Traceback" in answer["message"] or ".py" in answer["message"]:
                raise Fault(f"{where}: it says {answer['message'][:200]!r}")


class Messages:
    """A sidecar that is broken or hostile: a bot gets states that can be read, or a `ProtocolError`."""

    def __init__(self, seed: int, tally: Tally, digest: Any, encoding: Encoding) -> None:
        self._seed, self._tally, self._digest, self._encoding = seed, tally, digest, encoding
        self._rng = random.Random(f"messages/{seed}")
        self._said = _conversation(encoding)
        self._clock = ManualClock(START)
        self._connect()

    def _connect(self) -> None:
        self._follower = Follower({"underlying": "BTC"}, self._clock)
        self._follower.connected(self._encoding.decode)
        self._next = 0

    def one(self) -> None:
        """The next message of a conversation, mutated one time in two."""
        payload = self._said[self._next % len(self._said)]
        self._next += 1
        name, data = (
            mutation_of(self._encoding, payload, self._rng) if self._rng.random() < 0.5 else ("as it is", payload)
        )
        self._tally.mutations[name] += 1
        self._clock.advance(STEP_NS)
        began = time.perf_counter_ns()
        try:
            kind = self._take(data)
        except Exception as error:
            raise Fault(f"seed {self._seed}, input {self._tally.inputs}: {error!r} on {data[:2000]!r}") from error
        self._tally.slowest_ns = time.perf_counter_ns() - began
        self._tally.events[kind] += 1
        self._digest.update(kind.encode())
        if kind == "refused" or self._follower.wants_reconnect or self._rng.random() < 0.02:
            self._connect()

    def _take(self, data: bytes) -> str:
        try:
            news = self._follower.receive(data)
        except ProtocolError:
            return "refused"
        if len(self._follower.to_send()) > 2:
            raise AssertionError("more requests than a message can ask for")
        if not news:
            return "nothing new"
        snapshot = self._follower.snapshot()
        snapshot.columns()
        for row in snapshot:
            value = row.get("delta")
            if value is not None and not abs(value) < float("inf"):
                raise AssertionError(f"{row} has {value}")
            repr(row)
        return "state"


def _conversation(encoding: Encoding) -> list[bytes]:
    """What a real hub says to a client, and what else it could have said."""
    clock, chain, source = market()
    hub = Hub(source, ServerSection(), venue="deribit", underlyings=["BTC"], clock=clock, session="fuzz")
    link = FakeLink()
    client = hub.join(link, encoding)
    hub.greet(client)
    for request in REQUESTS[0], REQUESTS[-1]:
        hub.receive(client, encoding.encode_request(request) if not encoding.is_text else json_text(request))
    for _ in range(6):
        clock.advance(STEP_NS)
        chain.move()
        source.publish(chain.snapshot())
        hub.publish()
    said = [payload for _, payload in link.frames()]
    last = encoding.decode(said[-1]).head["seq"]
    subject = {"channel": "chain", "venue": "deribit", "underlying": "BTC"}
    now = clock.now()
    heads: tuple[dict[str, Any], ...] = (
        {"type": "heartbeat", "seq": last, "sent_ns": now.wall_ns, "mono_ns": now.mono_ns},
        {"type": "resumed", "from": last + 1, "to": last + 1},
        {"type": "gap", "from": last + 1, "to": last + 2},
    )
    return [*said, *(encoding.encode(Message(head | subject)) for head in heads)]


def json_text(request: dict[str, Any]) -> str:
    return JSON.encode_request(request).decode()


KINDS: dict[str, type[Requests | Messages]] = {"requests": Requests, "messages": Messages}
ENCODED: dict[str, Encoding] = {"": JSON, "-msgpack": MSGPACK, "-protobuf": PROTOBUF}
TARGETS = {kind + ending: (made, encoding) for kind, made in KINDS.items() for ending, encoding in ENCODED.items()}


def fuzz_sidecar(inputs: int, seed: int, target: str, progress: Progress = None) -> Tally:
    """`inputs` messages in one direction; raises `Fault` at the first that does harm."""
    tally, digest = Tally(), hashlib.sha256()
    kind, encoding = TARGETS[target]
    bench = kind(seed, tally, digest, encoding)
    watch = Stopwatch()
    while tally.inputs < inputs:
        tally.inputs += 1
        bench.one()
        watch.took(tally)
        if progress is not None and tally.inputs % 500 == 0:
            progress(tally)
    tally.digest = digest.hexdigest()[:16]
    tally.slowest_ns = watch.slowest_ns
    return tally


class Stopwatch:
    """Finds inputs that take long of their own, on a machine that may be busy.

    No input's own time is more than what passed on the wall, which costs no call of the system. Only where that is too
    long it is compared with this thread's time since it was last read: a few inputs more, and so never less.
    """

    def __init__(self) -> None:
        self.slowest_ns = 0
        self._slow = 0
        self._inputs = 0
        self._thread_ns = time.thread_time_ns()

    def took(self, tally: Tally) -> None:
        """What an input took is in `tally`; raises `Fault` at the fourth that was slow."""
        self._inputs += 1
        suspect = tally.slowest_ns > 20 * SLOWEST_NS
        if not suspect and self._inputs % 32:
            self.slowest_ns = max(self.slowest_ns, tally.slowest_ns)
            return
        before, self._thread_ns = self._thread_ns, time.thread_time_ns()
        own_ns = min(tally.slowest_ns, self._thread_ns - before)
        self.slowest_ns = max(self.slowest_ns, own_ns)
        self._slow += own_ns > 20 * SLOWEST_NS
        if self._slow > 3:  # one may have been collecting garbage, another compiling
            raise Fault(f"input {tally.inputs}: {own_ns / 1e6:.0f} ms")
