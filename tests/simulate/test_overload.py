"""E01 on virtual time: frames that cost five times what there is time for, for a minute, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter, deque
from typing import Any

import msgspec
import pytest

from pricer.adapters.events import AnyEvent
from pricer.clock import NS_PER_SECOND
from pricer.conventions import Reason, Status
from pricer.engine import Engine
from pricer.simulator.virtual_time import VirtualClock, VirtualTimeLoop, run_on
from pricer.snapshot import Snapshot
from pricer.streaming import LiveStream
from tests.scene import START, STRIKES, Scene

RATE = 40.0  # frames a second that the venue makes
OVERLOAD_S = 60.0
SOCKET = 400  # frames; beyond, the venue conflates: the oldest go
READ_S, SLOW_S = 0.002, 5.0 / RATE


class Socket:
    """A feed that reads frames one by one, each at a price; the venue does not wait for it."""

    def __init__(self, deliver: Any, loop: VirtualTimeLoop, clock: VirtualClock) -> None:
        self.counters: Counter[str] = Counter()
        self.cost_s = READ_S
        self.longest = 0
        self.waiting: deque[AnyEvent] = deque()
        self._deliver, self._loop, self._clock = deliver, loop, clock
        self._scene = Scene(expiry_days=(30.0,), strikes=STRIKES[3:10], clock=clock)  # type: ignore[arg-type]

    async def run(self) -> None:
        self._deliver(self._scene.listings(), self._clock.now())
        making = asyncio.create_task(self._make())
        try:
            while True:
                if not self.waiting:
                    await asyncio.sleep(0.001)
                    continue
                self._loop.sleep_through(self.cost_s)
                now = self._clock.now()
                self._deliver([msgspec.structs.replace(self.waiting.popleft(), received=now)], now)
                await asyncio.sleep(0)
        finally:
            making.cancel()

    async def _make(self) -> None:
        """Index and quotes by turns, stamped when they are made, however late they are read."""
        due_s, number = self._loop.time(), 0
        options = itertools.cycle(list(self._scene.instruments()))
        while True:
            await asyncio.sleep(max(due_s - self._loop.time(), 0.0))
            while due_s <= self._loop.time():
                late_ns = round((self._loop.time() - due_s) * NS_PER_SECOND)
                event: Any = self._scene.index() if number % 4 == 0 else self._scene.quote(next(options))
                self.waiting.append(msgspec.structs.replace(event, exchange_ns=event.exchange_ns - late_ns))
                number, due_s = number + 1, due_s + 1 / RATE
                if len(self.waiting) > SOCKET:
                    self.waiting.popleft()
                    self.counters["conflated_by_the_venue"] += 1
            self.longest = max(self.longest, len(self.waiting))

    async def connected(self, timeout: float) -> None:  # noqa: ASYNC109 - the feed's own signature
        await asyncio.sleep(0)

    async def close(self) -> None:
        await asyncio.sleep(0)


@pytest.mark.timeout(300)
def test_E01_I6_a_minute_of_five_times_too_much_is_shown_bounded_and_over_five_seconds_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = VirtualTimeLoop()
    clock = VirtualClock(loop, START.wall_ns)
    sockets: list[Socket] = []
    seen: list[tuple[float, Status, Reason]] = []
    watched = contextlib.nullcontext()
    # It would watch by the clock of this machine.
    monkeypatch.setattr("pricer.streaming.stream.LoopWatchdog", lambda *_: watched)

    def feed_of(deliver: Any, tap: Any) -> Any:
        sockets.append(Socket(deliver, loop, clock))
        return sockets[0]

    stream = LiveStream(feed_of, Engine(clock=clock), clock, 200, None)

    def worst(state: Snapshot) -> tuple[Status, Reason]:
        rows = list(state)
        reasons = Reason(0)
        for row in rows:
            reasons |= row.reasons
        return max(row.status for row in rows), reasons

    async def look(seconds: float) -> None:
        ends = loop.time() + seconds
        while loop.time() < ends:
            await asyncio.sleep(0.25)
            if stream.latest is not None and len(stream.latest):
                seen.append((loop.time(), *worst(stream.latest)))

    async def body() -> None:
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        mailbox = stream.subscribe()
        running = asyncio.create_task(stream._main(asyncio.get_running_loop(), started))
        await look(10.0)
        assert seen[-1][1] is Status.OK
        sockets[0].cost_s = SLOW_S
        begun = loop.time()
        await look(OVERLOAD_S)
        during = [each for each in seen if each[0] > begun]
        shown = next(at for at, _, reasons in during if Reason.OVERLOADED in reasons)
        assert shown - begun < 12.0
        assert all(status > Status.OK for at, status, _ in during if at > shown)
        assert sockets[0].longest <= SOCKET
        assert mailbox.dropped > 10, "one slot, the newest wins"
        assert stream.stats["snapshots"] > 50, "and something is published all the while"
        sockets[0].cost_s = READ_S
        ended = loop.time()
        await look(15.0)
        after = [each for each in seen if each[0] > ended]
        well = next(at for at, status, _ in after if status is Status.OK)
        assert well - ended <= 5.0
        assert stream.latest is not None
        lag_ns = stream.latest.health["deribit"].lag_ns
        assert lag_ns is not None
        assert lag_ns < 0.1 * NS_PER_SECOND
        assert after[-1][1] is Status.OK
        assert len(sockets[0].waiting) < 5
        assert stream._closing is not None
        stream._closing.set()
        await running

    run_on(loop, body())
