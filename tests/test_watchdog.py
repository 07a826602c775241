"""A loop that somebody holds up is reported with the culprit's stack, and what it published is stale meanwhile."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from typing import Any

import pytest

from pricer.clock import NS_PER_SECOND, SystemClock
from pricer.conventions import Status
from pricer.engine import Engine, EngineSettings
from pricer.streaming import LiveStream
from pricer.watchdog import LoopWatchdog
from tests.scripted_feed import ScriptedFeed
from tests.sidecar.serving import hear, joined, running, subscribe
from tests.sidecar.snapshots import Market, Source
from tests.waiting import until


def selfish_code(until: threading.Event, seconds: float) -> None:
    """In small steps: while the whole process stands still, and nobody could watch, only one of them passes."""
    for _ in range(round(seconds / 0.01)):
        if until.wait(0.01):
            return


async def test_E04_a_stall_is_reported_with_the_stack_of_who_did_it(caplog: pytest.LogCaptureFixture) -> None:
    stats: Counter[str] = Counter()
    with caplog.at_level(logging.WARNING, "pricer.watchdog"), LoopWatchdog(stats, "a loop") as watchdog:
        for _ in range(2):
            selfish_code(threading.Event(), 0.4)
            await asyncio.sleep(0.15)
    assert stats["loop_stalls"] >= 2
    assert sum("selfish_code" in culprit for culprit in watchdog.culprits) == 2
    assert watchdog.longest_s > 0.2
    (line,) = [record.getMessage() for record in caplog.records]
    assert "a loop was held up" in line, "one line in ten seconds"


class StallingFeed(ScriptedFeed):
    """Calls somebody's code in the engine's own thread, once: until something was seen, and a moment longer."""

    def __init__(self, deliver: Any) -> None:
        super().__init__(deliver)
        self.stall = asyncio.Event()
        self.stalling, self.seen = threading.Event(), threading.Event()

    async def run(self) -> None:
        running = asyncio.create_task(super().run())
        await self.stall.wait()
        self.stalling.set()
        selfish_code(self.seen, 60.0)
        selfish_code(threading.Event(), 0.3)  # the watchdog looks within a tenth of a second
        await running


async def test_E04_I8_a_stalled_engine_is_reported_and_its_outputs_are_stale_by_age() -> None:
    clock = SystemClock()
    feeds: list[StallingFeed] = []

    def feed_of(deliver: Any, tap: Any) -> StallingFeed:
        feeds.append(StallingFeed(deliver))
        return feeds[0]

    settings = EngineSettings(forward_max_age_ns=NS_PER_SECOND // 5)
    stream = LiveStream(feed_of, Engine(settings, clock=clock), clock, "when_drained", None)  # type: ignore[arg-type]
    async with stream:
        await until(lambda: stream.latest is not None and any(row.status is Status.OK for row in stream.latest))
        assert stream._loop is not None
        stream._loop.call_soon_threadsafe(feeds[0].stall.set)
        await until(feeds[0].stalling.is_set)
        await until(lambda: stream.latest is not None and all(row.status is Status.STALE for row in stream.latest))
        feeds[0].seen.set()
        assert stream.watchdog is not None
        watchdog = stream.watchdog
        await until(lambda: any("selfish_code" in culprit for culprit in watchdog.culprits))
        assert stream.stats["loop_stalls"] > 0
        await until(lambda: stream.latest is not None and any(row.status is Status.OK for row in stream.latest))


async def test_E04_the_edge_publishes_stale_when_its_loop_goes_on() -> None:
    """The sidecar's loop stands still beyond a limit; the first thing that clients hear then is STALE."""
    market = Market(SystemClock(), lasts_ns=2 * NS_PER_SECOND)
    source = Source()
    source.publish(market.snapshot())
    async with running(source) as address, joined(address) as websocket:
        await subscribe(websocket)
        market.move()
        source.publish(market.snapshot())
        assert "OK" in (await hear(websocket, "delta"))["columns"].get("status", ["OK"])
        time.sleep(2.1)  # noqa: ASYNC251 - the culprit; the forward lives two seconds, and the server is in this loop
        delta = await hear(websocket, "delta")
        assert set(delta["columns"]["status"]) == {"STALE"}
