"""Joins and drops without end, on virtual time: `python -m tests.simulate.joins --joins 1_000_000 [--seed S]`.

So many joins are several simulations, each with the next seed, on all cores (`--processes`).

One hub and many followers, with nothing between them but lists: clients come and go at any moment, are slow, lose
messages that were on their way, come back and resume by session and sequence number, and now and then the sidecar
itself is another one. Every state that any client is given is compared with what the reference had in that version,
and its versions only rise within a session (FAULTS V07, V08, V10, I3). The first that is wrong ends the run with
status 1.
"""

from __future__ import annotations

import argparse
import functools
import gc
import itertools
import multiprocessing
import os
import random
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from pricer.clock import Instant, ManualClock
from pricer.config import ServerSection
from pricer.sidecar.clients import Client, Reader
from pricer.sidecar.encodings.msgpack import MSGPACK
from pricer.sidecar.following import ANSWER_NS, Follower
from pricer.sidecar.hub import Hub
from pricer.sidecar.messages import Message
from tests.handmade import SECOND
from tests.sidecar.reference import Reference, difference, problem_of
from tests.sidecar.snapshots import Source

CLIENTS = 12
ROOM = 6  # writes that are on their way to a client before the next has to wait
STEP_NS = SECOND // 50
COLUMNS = ["bid"]
# Of one simulation; another one has another seed.
MOST_JOINS = 20_000
# Every value is compared in the replica's table, those of each so many-th version in the `Snapshot` made of it, too.
WHOLE_EVERY = 16
VENUE, UNDERLYING = "deribit", "BTC"


class Wrong(AssertionError):
    """What a client was given, or not given; the message says how to see it again."""


@dataclass
class Tally:
    """What a run saw."""

    joins: int = 0
    states: int = 0
    verified: int = 0  # checksums of the sidecar's compared with our own
    events: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """What another one saw, too."""
        self.joins += other.joins
        self.states += other.states
        self.verified += other.verified
        self.events.update(other.events)


@functools.lru_cache(1024)
def decoded(payload: bytes | str) -> Message:
    """What many clients are sent is decoded once: a message is never changed."""
    return MSGPACK.decode(payload)


@functools.lru_cache(1024)
def payloads_of(data: bytes) -> tuple[bytes, ...]:
    """What the frames of one write hold."""
    found = []
    while data:
        size, start = data[1], 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        found.append(data[start : start + size])
        data = data[start + size :]
    return tuple(found)


class Wire:
    """A `Link` to a peer that takes `ROOM` writes, and one more for each that it reads; the others wait unsent."""

    def __init__(self) -> None:
        self.closed = False
        self.down: deque[bytes] = deque()  # sent, and not read yet
        self._unsent: deque[bytes] = deque()
        self._reader: Reader | None = None

    def attach(self, reader: Reader) -> None:
        self._reader = reader

    def write(self, data: bytes) -> None:
        if not self._unsent and len(self.down) < ROOM:
            self.down.extend(payloads_of(data))
            return
        self._unsent.append(data)
        if len(self._unsent) == 1 and self._reader is not None:
            self._reader.blocked()

    def waiting(self) -> int:
        return sum(map(len, self._unsent))

    def is_cut(self) -> bool:
        return False

    def hang_up(self, code: int, reason: str) -> None:
        self.closed = True

    def read(self) -> bytes:
        """The next one; what it made room for is sent."""
        payload = self.down.popleft()
        if self._unsent and len(self.down) < ROOM:
            self.down.extend(payloads_of(self._unsent.popleft()))
            if not self._unsent and not self.closed and self._reader is not None:
                self._reader.writable()
        return payload


class Consumer:
    """One client: its follower lives on, its connections come and go."""

    def __init__(self, number: int, clock: ManualClock, rng: random.Random) -> None:
        self.number = number
        self.follower = Follower({"underlying": UNDERLYING, "columns": COLUMNS}, clock)
        self.client: Client | None = None
        self.link = Wire()
        self._rng = rng
        self._versions: dict[str | None, int] = {}

    def join(self, hub: Hub) -> None:
        self.link = Wire()
        self.client = hub.join(self.link, MSGPACK)
        hub.greet(self.client)
        self.follower.connected(decoded)
        self.say(hub)

    def leave(self, hub: Hub) -> None:
        """What was on its way may still have arrived, from none of it to all of it."""
        assert self.client is not None
        hub.leave(self.client)
        for _ in range(self._rng.randint(0, len(self.link.down))):
            self.read()
        self.client = None
        self.follower.lost()

    def say(self, hub: Hub) -> None:
        assert self.client is not None
        for request in self.follower.to_send():
            hub.receive(self.client, MSGPACK.encode_request(request))

    def read(self) -> bool:
        """One message arrives; True where it brought a state, which was right."""
        if not self.follower.receive(self.link.read()):
            return False
        replica, session = self.follower.replica, self.follower.session
        known = self._versions.get(session)
        if known is not None and replica.version < known:
            raise Wrong(f"client {self.number}: version {replica.version} after {known} of the same session")
        self._versions = {session: replica.version}
        bids = replica.table.columns["bid"]
        assert isinstance(bids, np.ndarray)
        if problem := difference(bids, replica.version):
            raise Wrong(f"client {self.number}: {problem}")
        if replica.version % WHOLE_EVERY == 0 and (problem := problem_of(self.follower.snapshot())):
            raise Wrong(f"client {self.number}: as a snapshot: {problem}")
        return True

    def drain(self) -> int:
        """All of it arrives; how many states that were."""
        states = 0
        while self.link.down:
            states += self.read()
        return states


class Simulation:
    """A hub, a reference and its consumers; each `step` moves one thing on."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = ManualClock(Instant(1_795_000_000 * SECOND, 1000 * SECOND))
        self.reference = Reference(self.clock, 1, 2)
        self.tally = Tally()
        self.hub = self._sidecar()
        self.consumers = [Consumer(i, self.clock, self.rng) for i in range(CLIENTS)]

    def _sidecar(self) -> Hub:
        """A new process, with a session of its own; its engine goes on with the versions."""
        self.source = Source()
        self.source.publish(self.reference.advance())
        settings = ServerSection(
            min_interval_ms=50, queue_soft_bytes=8192, queue_hard_bytes=1 << 20, max_requests_per_s=1000
        )
        session = f"{self.rng.getrandbits(64):x}"
        return Hub(self.source, settings, venue=VENUE, underlyings=[UNDERLYING], clock=self.clock, session=session)

    def step(self) -> None:
        consumer, dice = self.rng.choice(self.consumers), self.rng.random()
        if consumer.client is not None and consumer.link.closed:
            self.tally.events["closed by the sidecar"] += 1
            consumer.leave(self.hub)
        if dice < 0.06:
            self._publish()
        elif consumer.client is None:
            consumer.join(self.hub)
            self.tally.joins += 1
        elif dice < 0.5:
            consumer.leave(self.hub)
            self.tally.events["drops"] += 1
        elif dice < 0.5003:
            self._restart()
        elif dice < 0.56 and consumer.link.down:
            consumer.link.read()
            self.tally.events["messages lost"] += 1
        else:
            self._serve(consumer)

    def _publish(self) -> None:
        self.clock.advance(self.rng.choice((1, STEP_NS, 5 * STEP_NS)))
        self.source.publish(self.reference.advance())
        if self.rng.random() < 0.9:  # else a join comes before the round
            self.hub.publish()

    def _restart(self) -> None:
        """kill -9: nobody is told."""
        for consumer in self.consumers:
            if consumer.client is not None:
                consumer.leave(self.hub)
        self.hub = self._sidecar()
        self.tally.events["restarts"] += 1

    def _serve(self, consumer: Consumer) -> None:
        """A client that reads now and then; its queue at the sidecar grows meanwhile."""
        for _ in range(min(len(consumer.link.down), self.rng.randint(1, 8))):
            self.tally.states += consumer.read()
        consumer.say(self.hub)
        if consumer.follower.wants_reconnect is not None:
            self.tally.events["left for another connection"] += 1
            consumer.leave(self.hub)

    def settle(self) -> None:
        """Everybody reads to the end: all have the newest version, or the run was merely not wrong."""
        for consumer in self.consumers:
            if consumer.client is not None and consumer.link.closed:
                consumer.leave(self.hub)
            if consumer.client is None:
                consumer.join(self.hub)
        for _ in range(4):
            self._publish()
            for consumer in self.consumers:
                self.tally.states += consumer.drain()
                consumer.say(self.hub)
        self._replace_unanswered()
        self.hub.publish()
        for consumer in self.consumers:
            self.tally.states += consumer.drain()
            if consumer.follower.snapshot().version != self.reference.version:
                raise Wrong(f"client {consumer.number} did not catch up")
            self.tally.events.update(consumer.follower.stats)
            self.tally.verified += consumer.follower.verified

    def _replace_unanswered(self) -> None:
        """Whose answer was lost on its way takes another connection, once it has waited long enough."""
        if all(consumer.follower.in_sync for consumer in self.consumers):
            return
        self.clock.advance(ANSWER_NS + 1)
        self._publish()
        self.hub.publish()
        for consumer in self.consumers:
            self.tally.states += consumer.drain()
            if consumer.follower.wants_reconnect is not None:
                self.tally.events["unanswered"] += 1
                consumer.leave(self.hub)
                consumer.join(self.hub)
                self.tally.states += consumer.drain()
                consumer.say(self.hub)


def run(joins: int, seed: int) -> Tally:
    """So many joins; raises `Wrong` at the first value out of sequence."""
    simulation = Simulation(seed)
    tally = simulation.tally
    while tally.joins < joins:
        try:
            simulation.step()
        except Wrong as wrong:
            raise Wrong(f"seed {seed}, join {tally.joins}: {wrong}") from None
    simulation.settle()
    return tally


def shares(joins: int, seed: int) -> list[tuple[int, int]]:
    """So many joins as (joins, seed) of simulations."""
    sizes = [min(MOST_JOINS, joins - start) for start in range(0, joins, MOST_JOINS)]
    return list(zip(sizes, itertools.count(seed)))


def run_share(share: tuple[int, int]) -> Tally | str:
    """One of them in a process of its own; what was wrong as text, since that is what comes back."""
    try:
        return run(*share)
    except Wrong as wrong:
        return str(wrong)


def forget_nothing() -> None:
    """What is loaded by now stays: collections need not look at it."""
    gc.collect()
    gc.freeze()


def main() -> int:
    """The command; 0 where nothing was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulate.joins", description=__doc__)
    parser.add_argument("--joins", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    began_s, total = time.monotonic(), Tally()
    # Spawned, not forked: Numba's own threads do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(asked.processes, forget_nothing) as pool:
        for found in pool.imap_unordered(run_share, shares(asked.joins, asked.seed)):
            if isinstance(found, str):
                print(f"FAILED: {found}")
                return 1
            total.add(found)
            rate = total.joins / (time.monotonic() - began_s)
            print(f"{total.joins:,} of {asked.joins:,} joins, {rate:,.0f}/s", file=sys.stderr, flush=True)
    print(f"{total.joins:,} joins, {total.states:,} states read and compared, none wrong; {total.verified:,} checksums")
    print(", ".join(f"{name} {count:,}" for name, count in total.events.most_common()))
    print(f"{time.monotonic() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
