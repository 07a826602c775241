"""Mutated frames through fresh adapters, sequence after sequence (FAULTS P13)."""

from __future__ import annotations

import gc
import hashlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pricer.adapters.adapter import WsSend, take_frame
from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent
from pricer.clock import Instant
from tests.adapters.deribit_frames import NOW, Venue, encoded, fixture
from tests.adapters.private_venue import PrivateVenue
from tests.fuzz.corpus import Conversation, corpus
from tests.fuzz.mutations import mutated
from tests.fuzz.provenance import Provenance

FRAMES = 150  # of one sequence
SLOWEST_NS = 10_000_000  # FAULTS P13: a longer call is a hang
MOST_COUNTERS = 200
STEP_NS = 7_000_000


class Fault(AssertionError):
    """What a mutated frame brought about; the message says how to see it again."""


@dataclass
class Tally:
    """What a run saw."""

    inputs: int = 0
    events: Counter[str] = field(default_factory=Counter)
    mutations: Counter[str] = field(default_factory=Counter)
    channels: Counter[str] = field(default_factory=Counter)
    counters: int = 0  # the most that one adapter had
    slowest_ns: int = 0
    digest: str = ""


def fuzz(inputs: int, seed: int, *, real: bool, progress: Callable[[Tally], None] | None = None) -> Tally:
    """`inputs` frames; raises `Fault` at the first that does harm."""
    conversations, tally, digest = corpus(real=real), Tally(), hashlib.sha256()
    number = 0
    while tally.inputs < inputs:
        Sequence(seed, number, conversations, tally, digest).run(inputs - tally.inputs)
        number += 1
        if progress is not None:
            progress(tally)
    tally.digest = digest.hexdigest()[:16]
    return tally


class Sequence:
    """One adapter's life: a session is brought up, with replies mutated in one of three, then come the frames."""

    def __init__(
        self, seed: int, number: int, conversations: list[Conversation], tally: Tally, digest: Any = None
    ) -> None:
        self._where = f"seed {seed}, sequence {number}"
        self._rng = random.Random(f"{seed}/{number}")
        self._conversations = conversations
        self._tally = tally
        self._digest = digest or hashlib.sha256()
        self._venue = self._new_venue()
        self._provenance = Provenance(encoded(self._venue.instruments))
        self.adapter = self._venue.adapter
        self._now = NOW
        self._given: list[tuple[bytes, Instant]] = []

    def run(self, most: int) -> None:
        """At most `most` frames."""
        left = min(FRAMES, most)
        for data in self._frames():
            self._give(data)
            left -= 1
            if left == 0:
                break
        self._tally.counters = max(self._tally.counters, len(self.adapter.counters))
        if len(self.adapter.counters) > MOST_COUNTERS:
            raise Fault(f"{self._where}: {len(self.adapter.counters)} counters: {sorted(self.adapter.counters)}")

    def _new_venue(self) -> Venue:
        kind = self._rng.randrange(4)
        if kind == 0:
            return Venue(Deribit(None), [])
        if kind == 1:
            return Venue(Deribit(("BTC", "ETH", "BTC_USDC"), books="all"), fixture("instruments_btc")["result"])
        return PrivateVenue(interval=self._rng.choice(("raw", "100ms")))

    def _frames(self) -> Iterator[bytes]:
        if self._rng.random() < 1 / 3:
            yield from self._handshake()
        else:
            self._venue.open()
        while True:
            conversation = self._rng.choice(self._conversations)
            self._now = Instant(
                max(conversation.now.wall_ns, self._now.wall_ns)
                if self._rng.random() < 0.1
                else conversation.now.wall_ns,
                self._now.mono_ns,
            )
            self._tally.channels[conversation.name.partition(".")[0]] += 1
            for message in conversation.frames:
                yield self._mutated(message)
            if self.adapter.wants_reconnect is not None:  # the mutation was in `testnet`, or time has passed
                self.adapter.closed(self._now, "fuzz")
                self._venue.now = self._now
                self._venue.open()

    def _handshake(self) -> Iterator[bytes]:
        """The replies to what the adapter asks, mutated."""
        venue = self._venue
        self.adapter.opened(self._now)
        for _ in range(20):
            sends = [each for each in self.adapter.to_send(self._now) if isinstance(each, WsSend)]
            if not sends:
                return
            for each in sends:
                message = json.loads(each.text)
                outcome = venue._outcome(message) if isinstance(venue, PrivateVenue) else venue._result(message)
                body = {"jsonrpc": "2.0", "id": message["id"], "testnet": False, "usIn": self._now.wall_ns // 1000}
                yield self._mutated(
                    body | ({"error": {"code": outcome}} if type(outcome) is int else {"result": outcome})
                )

    def _mutated(self, message: Any) -> bytes:
        name, data = mutated(message, self._rng)
        self._tally.mutations[name] += 1
        return data

    def _give(self, data: bytes) -> None:
        self._now = self._now.plus(STEP_NS)
        self._tally.inputs += 1
        self._given.append((data, self._now))
        start = time.perf_counter_ns()
        try:
            events = take_frame(self.adapter, data, self._now)
        except Exception as error:
            raise Fault(f"{self._where}, frame {len(self._given)}: {error!r} on {data[:2000]!r}") from error
        took = time.perf_counter_ns() - start
        if took > SLOWEST_NS:
            took = self._again(data)
        self._tally.slowest_ns = max(self._tally.slowest_ns, took)
        if took > SLOWEST_NS:
            raise Fault(f"{self._where}, frame {len(self._given)}: {took / 1e6:.1f} ms for {data[:2000]!r}")
        self._judge(data, events)

    def _judge(self, data: bytes, events: list[AnyEvent]) -> None:
        try:
            self._provenance.check(data, events, self._now)
        except AssertionError as error:
            raise Fault(f"{self._where}, frame {len(self._given)}: {error} in {data[:2000]!r}") from error
        for event in events:
            self._tally.events[type(event).__name__] += 1
            self._digest.update(repr(event).encode("utf-8", "backslashreplace"))

    def _again(self, data: bytes) -> int:
        """The least of three more calls: the first may have waited for a busy machine, or for our own garbage."""
        times = []
        for _ in range(3):
            gc.collect()
            adapter = Deribit(None)
            adapter.opened(self._now)
            start = time.thread_time_ns()
            adapter.receive(data, self._now)
            times.append(time.thread_time_ns() - start)
        return min(times)
