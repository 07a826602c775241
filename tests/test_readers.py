"""Readers of a live stream: one that blocks holds up nobody, and none ever sees half of a change."""

from __future__ import annotations

import asyncio
import threading
import time

import msgspec
import numpy as np

from pricer.clock import SystemClock
from pricer.engine import Engine
from pricer.mailbox import Mailbox
from pricer.snapshot import Snapshot
from tests.scene import STRIKES, Scene
from tests.sidecar.snapshots import Market
from tests.test_streaming import _far_from_expiry, stream_of, until

__all__ = ["_far_from_expiry"]  # a fixture


async def test_E03_a_callback_that_blocks_delays_neither_the_engine_nor_its_neighbours() -> None:
    """While one blocks, the others get every version about as soon as before; what waits for it is one snapshot."""
    release, blocked = threading.Event(), threading.Event()
    late_ns: list[int] = []
    clock = SystemClock()

    def blocking(snapshot: Snapshot) -> None:
        blocked.set()
        release.wait(90)

    async with stream_of() as stream:
        stream.on_snapshot(lambda snapshot: late_ns.append(clock.now().mono_ns - snapshot.computed.mono_ns))
        await until(lambda: len(late_ns) >= 10)
        before = float(np.median(late_ns))
        stuck = stream.on_snapshot(blocking)
        await asyncio.to_thread(blocked.wait, 60)
        late_ns.clear()
        made = stream.stats["snapshots"]
        await until(lambda: len(late_ns) >= 10)
        assert stream.stats["snapshots"] >= made + 8
        # A busy machine is given a second: whom the one that blocks held up would wait for a minute and a half.
        assert float(np.median(late_ns)) < before + 1e9
        assert stuck._mailbox.dropped >= 5
        release.set()
        assert stuck.error is None


def test_X02_a_mailbox_says_what_its_reader_has_missed_and_for_how_long() -> None:
    market = Market(SystemClock())
    mailbox = Mailbox()
    assert (mailbox.lag(), mailbox.dropped) == (0.0, 0)
    for _ in range(3):
        mailbox.put(market.snapshot())
    time.sleep(0.01)
    assert mailbox.dropped == 2
    assert mailbox.lag() >= 0.01
    newest = mailbox.get(0)
    assert newest is not None
    assert newest.version == 3
    assert mailbox.lag() == 0.0


def test_E05_readers_beside_the_engine_never_see_half_of_a_change() -> None:
    """Every quote of a version says the version: a torn read would show two of them."""
    scene = Scene(expiry_days=(7.0, 30.0), strikes=STRIKES[4:9])
    engine = Engine(clock=scene.clock)
    quotes = [scene.quote(instrument) for instrument in scene.instruments()]
    for event in (*scene.listings(), scene.index()):
        engine.apply(event)

    def price(version: int) -> Snapshot:
        for quote in quotes:
            engine.apply(msgspec.structs.replace(quote, bid_size=float(version)))
        return engine.price(scene.clock.now())

    latest = [price(1)]
    stop, torn, reads, mailbox = threading.Event(), list[object](), [0, 0], Mailbox()

    def look(reader: int, state: Snapshot) -> None:
        columns = state.columns()
        seen = {float(state.version), *np.unique(columns["bid_size"]).tolist(), *(row.bid_size for row in state)}
        reads[reader] += 2 * len(state)
        if len(seen) != 1 or state.digest() != state.digest():
            torn.append(seen)

    def poll() -> None:
        while not stop.is_set():
            look(0, latest[0])

    def wait() -> None:
        while not stop.is_set():
            state = mailbox.get(0.1)
            if state is not None:
                look(1, state)

    threads = [threading.Thread(target=poll), threading.Thread(target=wait)]
    for thread in threads:
        thread.start()
    ends, version = time.monotonic() + 0.5, 1
    while time.monotonic() < ends or min(reads) < 2000:
        version += 1
        latest[0] = price(version)
        mailbox.put(latest[0])
    stop.set()
    for thread in threads:
        thread.join()
    assert torn == []
    assert version > 20
