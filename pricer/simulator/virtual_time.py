"""An asyncio loop on virtual time: one thread, no sockets, and a clock that jumps to the next timer.

Nothing waits, so a minute of timers takes as long as what they do; and since neither the machine nor its clock has a
say, the same program takes the same steps on every run. Where everything waits and no timer is set, nothing can
happen any more: that is an error here, not a hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import VolstreamError

Result = TypeVar("Result")


class NothingToDo(VolstreamError):
    """Every task waits for another, and no timer will wake them."""


class _Jump:
    """In the place of the selector that waits: moves the clock instead."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise NothingToDo("every task waits, and no timer is set")
        self.now_s += max(timeout, 0.0)
        return []

    def close(self) -> None:
        """There is nothing to close."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """The loop. `sleep_through` lets time pass while nothing runs, as when the process is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Jump()

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._selector.now_s

    def sleep_through(self, seconds: float) -> None:
        """Time passes; timers that fall due meanwhile all run afterwards, at the new time."""
        self._selector.now_s += seconds

    def _process_events(self, event_list: list[Any]) -> None:
        """No sockets, no events."""

    def _write_to_self(self) -> None:
        """The loop never sleeps, so it need not be woken."""


class VirtualClock:
    """The project's clock on a virtual loop; its wall clock can be set off by `wall_offset_ns`."""

    def __init__(self, loop: VirtualTimeLoop, start_ns: int) -> None:
        self._loop = loop
        self._start_ns = start_ns
        self.wall_offset_ns = 0

    def now(self) -> Instant:
        """The moment, on both clocks."""
        mono_ns = round(self._loop.time() * NS_PER_SECOND)
        return Instant(self._start_ns + mono_ns + self.wall_offset_ns, mono_ns)


def run_on(loop: VirtualTimeLoop, main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` to its end on `loop`, which is closed afterwards; tasks that it leaves behind are cancelled."""
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()
