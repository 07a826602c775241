"""One seed: the real feed, adapter and engine against the embedded venue, on virtual time, under random faults.

The run has three parts: calm until everything is `OK`, faults, and then the time until every option was `OK` again.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent, BookDepth, BookLost, FeedStatus, OptionQuote, UnderlyingPrice, VenueMark
from pricer.adapters.feed import Feed
from pricer.adapters.limits import FeedLimits
from pricer.adapters.recording import RecordingWriter
from pricer.clock import NS_PER_SECOND, Instant
from pricer.conventions import Status
from pricer.engine import Engine
from pricer.simulator.faults import Conductor, Fault, Script, Target, Where, random_schedule
from pricer.simulator.path import Path, Weather
from pricer.simulator.venues.deribit.faults import FaultyDeribit
from pricer.simulator.virtual_time import VirtualClock, VirtualTimeLoop, run_on
from pricer.snapshot import Snapshot
from tests.simulate.checks import Checks, check_bounds
from tests.simulate.oracle import BookTruth, Observer, WitnessedVenue
from tests.simulate.transport import SimulatedVenue
from tests.simulator.small_venue import ROLL_NS, START_NS, small_market

FIRST_FAULT_S = 6.0
LAST_FAULT_S = 18.0
# How long everything may take to be OK again: see `docs/simulator.md` for the sum.
RECOVERY_S = 110.0
CLOSE_S = 5.0
PUBLISH_S = 0.5
BOOK_EVERY = 13
URL = "ws://simulated/ws/api/v2"


@dataclass
class Result:
    """What became of one seed. `problem` is None where every check held."""

    seed: int
    script: Script
    digest: str = ""
    problem: str | None = None
    recovery_s: float = 0.0  # from the end of the last fault until every option had been OK
    counts: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        return self.problem is None


Body = Callable[["Run"], Coroutine[Any, Any, None]]


class Host:
    """The faults of the machine that the pricer runs on."""

    def __init__(self, loop: VirtualTimeLoop, clock: VirtualClock) -> None:
        self._loop, self._clock = loop, clock

    def begin(self, key: int, fault: Fault) -> None:
        """A fault begins."""
        if fault.name == "sleep":
            self._loop.sleep_through(fault.for_s)
        else:
            self._clock.wall_offset_ns += self._step_ns(fault)

    def end(self, key: int, fault: Fault) -> None:
        """A fault ends."""
        if fault.name == "step_clock":
            self._clock.wall_offset_ns -= self._step_ns(fault)

    def _step_ns(self, fault: Fault) -> int:
        return int(float(fault.parameters["seconds"] or 0.0) * NS_PER_SECOND)


def script_of(seed: int) -> Script:
    """The faults of a seed; near an expiry the wall clock is right, since a wrong one may end an option early."""
    script = random_schedule(
        seed, LAST_FAULT_S, where=("venue", "path", "host"), first_s=FIRST_FAULT_S, gap_s=2.5, longest_s=8.0
    )
    if starts_ns(seed) != START_NS:
        script = tuple(each for each in script if each.name != "step_clock")
    return script


def starts_ns(seed: int) -> int:
    """Every fourth run crosses 08:00 on a day on which options expire and others are listed."""
    return ROLL_NS - 12 * NS_PER_SECOND if seed % 4 == 3 else START_NS


def run_seed(seed: int, *, script: Script | None = None, keep: FilePath | None = None) -> Result:
    """One run, to its end or to its first failed check; `keep` names a file for a recording of what the feed saw."""
    result = Result(seed, script_of(seed) if script is None else script)
    loop = VirtualTimeLoop()
    writer = RecordingWriter(keep, {"venue": "deribit", "underlyings": ["BTC"], "price_marks": True}) if keep else None
    try:
        run_on(loop, Run(loop, result, writer).main())
    except AssertionError as error:
        result.problem = f"at {loop.time():.3f} s: {error}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this seed's result
        result.problem = f"at {loop.time():.3f} s: I12 {type(error).__name__}: {error}"
    finally:
        if writer is not None:
            writer.close()
    return result


class Run:
    """The parts of one run, wired together. `main` runs `body` beside them, or else the whole of a seed's scenario."""

    def __init__(
        self, loop: VirtualTimeLoop, result: Result, writer: RecordingWriter | None = None, start_ns: int | None = None
    ) -> None:
        seed = result.seed
        start_ns = starts_ns(seed) if start_ns is None else start_ns
        self.loop, self.result, self.writer = loop, result, writer
        self.host_clock = VirtualClock(loop, start_ns)
        self.truth = BookTruth()
        venue = WitnessedVenue(small_market(start_ns, seed), clock=VirtualClock(loop, start_ns))
        venue.truth = self.truth
        self.venue = FaultyDeribit(venue, seed)
        self.path = Path(seed, Weather(latency_s=0.02, jitter_s=0.01))
        self.host = Host(loop, self.host_clock)
        self.engine = Engine(clock=self.host_clock)
        self.adapter = Deribit(("BTC",), books=self._books())
        self.observer = Observer()
        wall_steps = any(each.name == "step_clock" for each in result.script)
        self.checks = Checks(self.observer, self.truth, wall_steps=wall_steps)
        self.sha = hashlib.sha256()
        self.wake = asyncio.Event()
        self.latest: Snapshot | None = None
        self.books: dict[str, int | None] = {}  # the change at which each book is, None while it is lost
        self.events: list[AnyEvent] = []  # what is no price: connections, alarms, states

    def _books(self) -> list[str]:
        """Of the perpetual and of some options, spread over strikes and expiries."""
        return ["BTC-PERPETUAL", *self.venue.market.chains["BTC"].names[::BOOK_EVERY]]

    async def main(self, body: Body | None = None) -> None:
        """From connecting to a clean end."""
        self.network = SimulatedVenue(self.venue, self.path)
        self.feed = feed = Feed(
            self.adapter,
            URL,
            deliver=self._deliver,
            clock=self.host_clock,
            rng=random.Random(self.result.seed),
            transport=self.network,
            limits=FeedLimits(),
            on_frame=self._on_frame,
            tap=self.writer,
        )
        conducting = asyncio.create_task(self._conduct())
        parts = (self.network.keep_pace(), self._price_when_due(), feed.run())
        running = [asyncio.create_task(each) for each in parts]
        scenario = asyncio.create_task(self._scenario() if body is None else body(self))
        try:
            await asyncio.wait({scenario, *running}, return_when=asyncio.FIRST_COMPLETED)
            for task in (*running, scenario):
                if task.done():
                    task.result()
            await conducting
            check_bounds(feed, self.engine, 80)
            await self._end()
        finally:
            tasks = (conducting, scenario, *running)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tally()

    def _tally(self) -> None:
        result = self.result
        result.digest = self.sha.hexdigest()
        result.counts.update(self.checks.counts, frames=self.observer.frames)
        result.counts.update({f"feed.{name}": count for name, count in self.feed.counters.items()})
        result.hits.update(self.venue.counters)
        result.hits.update(each.name for each in result.script if each.kind.where != "venue")

    async def _scenario(self) -> None:
        """Calm, faults, recovery."""
        await asyncio.sleep(FIRST_FAULT_S - 0.5)
        wanted = self.names(Status.OK)
        assert len(wanted) >= 12, f"only {len(wanted)} options are OK before the first fault"
        await asyncio.sleep(LAST_FAULT_S + 0.01 - self.loop.time())
        self.result.recovery_s = await self.recovery(wanted)

    async def recovery(self, wanted: set[str]) -> float:
        """Seconds until each of the options, as far as they are still listed, has been OK."""
        began_s = self.loop.time()
        left = {name for name in wanted if self._is_listed(name)}
        books = {name for name in self.books if self._is_listed(name)}
        newest = dict(self.truth.newest)
        while (left or books) and self.loop.time() < began_s + RECOVERY_S:
            await asyncio.sleep(0.05)
            left -= self.names(Status.OK)
            books -= {name for name in books if (self.books[name] or 0) >= newest[name]}
        stuck = ", ".join(sorted(left | books)[:3])
        assert not left, f"liveness: {len(left)} options never came back: {stuck}"
        assert not books, f"liveness: {len(books)} books never came back: {stuck}"
        return self.loop.time() - began_s

    def _is_listed(self, name: str) -> bool:
        return self.venue.market.chain_of(name) is not None

    def names(self, *statuses: Status) -> set[str]:
        """The options that have one of these statuses now, by the reader's clock."""
        if self.latest is None:
            return set()
        columns = self.latest.columns()
        return {
            str(name) for name, status in zip(columns["name"], columns["status"], strict=True) if status in statuses
        }

    async def _conduct(self) -> None:
        targets: dict[Where, Target] = {"venue": self.venue, "path": self.path, "host": self.host}
        conductor = Conductor(self.result.script, targets)
        while (at_s := conductor.next_s) is not None:
            await asyncio.sleep(max(at_s - self.loop.time(), 0.0))
            conductor.advance(self.loop.time())

    # What `pricer.live` does, on one thread: apply what has come, price when it is due

    def _on_frame(self, frame: bytes | str, now: Instant) -> None:
        self.observer.frame(frame, now)
        self.truth.delivered(frame if isinstance(frame, bytes) else frame.encode())

    def _deliver(self, events: list[AnyEvent], now: Instant) -> None:
        for event in events:
            if isinstance(event, FeedStatus) and event.state == "closed" and event.reason != "rotated":
                self.observer.connected_anew(now)
            elif isinstance(event, BookDepth):
                self.checks.book(event)
                self.books[event.instrument] = event.sequence
            elif isinstance(event, BookLost):
                self.books[event.instrument] = None
            if not isinstance(event, OptionQuote | VenueMark | UnderlyingPrice):
                self.events.append(event)
            self.engine.apply(event)
        if events:
            self.wake.set()

    async def _price_when_due(self) -> None:
        while True:
            deadline_ns = self.engine.next_deadline()
            wait_s = None if deadline_ns is None else max(deadline_ns / NS_PER_SECOND - self.loop.time(), 0.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self.wake.wait()
            self.wake.clear()
            self._price()
            await asyncio.sleep(PUBLISH_S)

    def _price(self) -> None:
        now = self.host_clock.now()
        if self.writer is not None:
            self.writer.price_mark(now)
        self.latest = snapshot = self.engine.price(now)
        self.checks.snapshot(snapshot, now)
        self.sha.update(snapshot.digest().encode())

    async def _end(self) -> None:
        """I9: the feed ends in time, and nothing of it is left."""
        began_s = self.loop.time()
        await self.feed.close()
        assert self.loop.time() - began_s <= CLOSE_S, "I9 closing took too long"
        mine = asyncio.current_task()
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() if "Feed" in repr(task) and task is not mine and not task.done()]
        assert not left, f"I9 {len(left)} tasks are left: {left[0]!r}"
        assert not self.path.links, "I9 a connection is left"


def compare(first: Result, again: Result) -> str | None:
    """What differs between two runs of one seed, which must not differ at all."""
    if (first.digest, first.problem) == (again.digest, again.problem):
        return None
    return f"I7 run twice, seed {first.seed} gave {first.digest[:12]} and {again.digest[:12]}"
