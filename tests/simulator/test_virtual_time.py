"""Time that jumps: the loop behind the simulator bench."""

from __future__ import annotations

import asyncio
import time

import pytest

from pricer.clock import Instant
from pricer.simulator.virtual_time import NothingToDo, VirtualClock, VirtualTimeLoop, run_on


def test_an_hour_of_sleeps_takes_no_time_and_ends_at_the_right_one() -> None:
    loop = VirtualTimeLoop()
    clock = VirtualClock(loop, 1_000)

    async def main() -> list[Instant]:
        stamps = []
        for _ in range(3600):
            await asyncio.sleep(1.0)
            stamps.append(clock.now())
        return stamps

    began = time.monotonic()
    stamps = run_on(loop, main())
    assert time.monotonic() - began < 5.0
    assert stamps[0] == Instant(1_000_001_000, 1_000_000_000)
    assert stamps[-1].mono_ns == 3600 * 10**9


def test_timers_run_in_their_order_and_timeouts_are_kept() -> None:
    order: list[str] = []

    async def after(seconds: float, word: str) -> None:
        await asyncio.sleep(seconds)
        order.append(word)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5.0):
                await asyncio.gather(after(2.0, "second"), after(1.0, "first"), after(9.0, "never"))

    run_on(VirtualTimeLoop(), main())
    assert order == ["first", "second"]


def test_a_program_that_waits_for_ever_is_an_error_and_not_a_hang() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NothingToDo):
        run_on(VirtualTimeLoop(), main())


def test_a_process_that_stood_still_finds_its_timers_late() -> None:
    loop = VirtualTimeLoop()

    async def main() -> float:
        sleeping = asyncio.create_task(asyncio.sleep(1.0))
        await asyncio.sleep(0)
        loop.sleep_through(600.0)
        await sleeping
        return loop.time()

    assert run_on(loop, main()) == pytest.approx(600.0)


def test_the_wall_clock_steps_and_the_monotonic_one_does_not() -> None:
    loop = VirtualTimeLoop()
    clock = VirtualClock(loop, 5)
    clock.wall_offset_ns = -3
    assert clock.now() == Instant(2, 0)
    loop.close()
