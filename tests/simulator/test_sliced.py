"""The way in pieces over real sockets: what comes out is the same, to the last byte."""

from __future__ import annotations

import asyncio
import hashlib
import random

from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent
from pricer.adapters.feed import Feed
from pricer.adapters.limits import FeedLimits
from pricer.clock import NS_PER_SECOND, Instant, ManualClock
from pricer.engine import Engine
from pricer.simulator.faults import fault
from pricer.simulator.market import Market
from pricer.simulator.proxy import FaultProxy
from pricer.simulator.venues.deribit import DeribitServer
from tests.simulator.small_venue import FEW, START_NS

STEPS = 8


async def digest_of(slice_bytes: int | None) -> tuple[str, int]:
    """Some steps of the market through the proxy on a clock that moves when all is delivered; pieces if asked for.

    Returns the digest of all snapshots, and how many frames were received.
    """
    clock, sha = ManualClock(Instant(START_NS, 0)), hashlib.sha256()
    engine = Engine(clock=clock)
    server = DeribitServer(Market(1, START_NS, families=(FEW,)), clock=clock, step_s=None)
    frames: list[bytes | str] = []

    def deliver(events: list[AnyEvent], now: Instant) -> None:
        for event in events:
            engine.apply(event)

    async with server, FaultProxy(server.host, server.port) as proxy:
        if slice_bytes is not None:
            proxy.path.begin(0, fault(0.0, "slice", bytes=slice_bytes))
        feed = Feed(
            Deribit(("BTC",)),
            f"ws://{proxy.host}:{proxy.port}/ws/api/v2",
            deliver=deliver,
            clock=clock,
            rng=random.Random(1),
            limits=FeedLimits(ping_interval_s=3600.0),  # on a busy machine an answer in single bytes takes long
            on_frame=lambda frame, now: frames.append(frame),
        )
        running = asyncio.create_task(feed.run())
        await feed.connected(100.0)
        await quiet(proxy)
        for _ in range(STEPS):
            clock.advance(NS_PER_SECOND // 10)
            server.tick()
            await quiet(proxy)
            sha.update(engine.price(clock.now()).digest().encode())
        await feed.close()
        await running
        return sha.hexdigest(), len(frames)


async def quiet(proxy: FaultProxy) -> None:
    """Until nothing has passed for a while."""
    looks = 0  # several, for a busy machine may sleep through one
    while looks < 4:
        before = sum(proxy.counters.values())
        await asyncio.sleep(0.03)
        looks = looks + 1 if sum(proxy.counters.values()) == before else 0


async def test_T09_bytes_that_come_one_by_one_give_the_same_snapshots() -> None:
    whole, sliced = await digest_of(None), await digest_of(1)
    assert whole == sliced
    assert whole[1] > 80
