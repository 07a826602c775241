"""Readers of a live stream: one that blocks holds up nobody, and none ever sees half of a change."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from pricer.clock import SystemClock
from pricer.mailbox import Mailbox
from pricer.snapshot import Snapshot
from tests.scene import START, STRIKES, Scene
from tests.scripted_feed import scripted_stream
from tests.sidecar.snapshots import Market
from tests.simulate.torn_reads import SIZES, Torn, engine_of, run
from tests.waiting import until


async def test_E03_a_callback_that_blocks_delays_neither_the_engine_nor_its_neighbours() -> None:
    """While one blocks, the others get every version about as soon as before; what waits for it is one snapshot."""
    release, blocked = threading.Event(), threading.Event()
    late_ns: list[int] = []
    clock = SystemClock()

    def blocking(snapshot: Snapshot) -> None:
        blocked.set()
        release.wait(90)

    async with scripted_stream() as stream:
        stream.on_snapshot(lambda snapshot: late_ns.append(clock.now().mono_ns - snapshot.computed.mono_ns))
        await until(lambda: len(late_ns) >= 10)
        before = float(np.median(late_ns))
        stuck = stream.on_snapshot(blocking)
        await asyncio.to_thread(blocked.wait, 60)
        made = stream.stats["snapshots"]
        late_ns.clear()
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
    """Every quote of a version says the version; `python -m tests.simulate.torn_reads` reads ten million."""
    tally = run(40_000, engine_of(Scene(expiry_days=(7.0, 30.0), strikes=STRIKES[4:9])), raced=50)
    assert set(tally.rows) == {"blocks", "columns", "rows"}
    assert tally.rows.total() >= 40_000


def test_E05_an_engine_that_writes_into_what_it_has_published_is_found() -> None:
    """The same race over arrays that are changed in place: whoever reads meanwhile sees two versions."""
    publish = engine_of(Scene(expiry_days=(7.0,), strikes=STRIKES[4:9]))
    first = publish(1)
    (block,) = first.blocks
    values, stamps = block.values.copy(), block.quote_exchange_ns.copy()

    def careless(version: int) -> Snapshot:
        state = replace(first, version=version, blocks=(replace(block, values=values, quote_exchange_ns=stamps),))
        for row in range(values.shape[1]):
            values[SIZES, row], stamps[row] = version, START.wall_ns + version
            time.sleep(0)
        return state

    with pytest.raises(Torn, match="version"):
        run(10**9, careless)
