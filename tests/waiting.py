"""How tests wait for what happens on real sockets, threads and processes: for the event, and with patience."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pricer.clock import Instant, SystemClock

# How long anything may take before a test gives it up: the machine may be busy with other things.
PATIENCE_S = 30.0


async def until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Wait for `condition`, looking every millisecond."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - any condition, with nobody to set an event
            await asyncio.sleep(0.001)


class Hurried(SystemClock):
    """The system's clocks, ahead by as much as a test says: what takes long on them is over at once."""

    ahead_ns = 0

    def now(self) -> Instant:
        return super().now().plus(self.ahead_ns)
