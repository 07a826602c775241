"""A feed without a socket, for what runs over one: it delivers a quoted chain again and again, or fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from pricer.adapters.events import AnyEvent
from pricer.clock import Instant, SystemClock
from pricer.engine import Engine
from pricer.streaming import LiveStream
from tests.scene import Scene

Deliver = Callable[[list[AnyEvent], Instant], None]

# The chain expires some days from now: streams run on the system's clock.
START = SystemClock().now()


class ScriptedFeed:
    """Delivers each event by itself, again and again; raises `error`, where there is one, after the first round."""

    def __init__(self, deliver: Deliver, error: Exception | None = None) -> None:
        self._deliver = deliver
        self._error = error
        self.counters: Counter[str] = Counter()
        self._scene = Scene(clock=SystemClock(), start=START)  # type: ignore[arg-type]
        self.closed = False

    async def run(self) -> None:
        now = self._scene.clock.now()
        self._deliver(self._scene.listings(), now)
        while not self.closed:
            for event in [self._scene.index(), *self._scene.quotes()]:
                self._deliver([event], self._scene.clock.now())
            await asyncio.sleep(0.01)
            if self._error is not None:
                raise self._error

    async def connected(self, timeout: float) -> None:  # noqa: ASYNC109 - the feed's own signature
        await asyncio.sleep(0)

    async def close(self) -> None:
        self.closed = True


def scripted_stream(error: Exception | None = None) -> LiveStream:
    """A stream over a `ScriptedFeed`, not yet open."""
    clock = SystemClock()
    return LiveStream(
        lambda deliver, tap: ScriptedFeed(deliver, error),  # type: ignore[arg-type, return-value]
        Engine(clock=clock),
        clock,
        "when_drained",
        None,
    )
