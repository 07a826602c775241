"""Keeps an adapter connected: connect, stamp, hand over, send, connect again, and take over before a planned end.

What a consumer may rely on:

- Every frame is stamped once, right after it was read, and handed over synchronously by `deliver(events, now)`.
- Frames that wait are handed over one after another; the loop gets its turn when none waits, and at the latest after
  2 ms or 64 frames. So work that `deliver` schedules on the loop runs once the burst has been applied.
- The end of a connection is delivered (`FeedStatus` "closed") before anything is done about it.
- `Relay` makes all events, and `tap` is told of every call that it gets: that is all a replay needs.

A *line* (`line.py`) is one adapter with the connections that it has, one after another, under one number. There is
one, and while a rotation is under way (a venue's notice, or age) a second: it is brought up until its adapter says
"live", both stand for a moment, and the first closes as "rotated".
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from pricer.adapters.adapter import Adapter
from pricer.adapters.connects import ConnectBudget
from pricer.adapters.fetching import Fetcher
from pricer.adapters.limits import FeedLimits
from pricer.adapters.line import Deliver, Line, Shared, Tap, end_all
from pricer.adapters.network import target_of
from pricer.adapters.relay import Relay
from pricer.adapters.transport import ConnectionLost, Transport
from pricer.adapters.websockets_transport import WebSocketTransport
from pricer.clock import NS_PER_SECOND, Clock, Instant
from pricer.errors import ConfigError, ConnectError


class Feed:
    """Keeps one venue connected until closed, and hands over what its adapter makes of the frames.

    `url` may be several addresses of one venue: the next is tried where one cannot be reached, or sends nothing.
    `adapter_of` makes a second adapter for rotations; without it there are none. `tap` is for a recorder;
    `on_frame(frame, now)` for those who want the frames alone. Feeds of one venue share `budget`, of which they are
    served in the order of `priority`, and take every `lanes`-th connection number beginning with `lane`.
    An exception out of `deliver` or of the adapter ends `run` and reaches its caller: it is a bug, not weather.
    """

    def __init__(
        self,
        adapter: Adapter,
        url: str | Sequence[str],
        *,
        deliver: Deliver,
        clock: Clock,
        rng: random.Random,
        transport: Transport | None = None,
        limits: FeedLimits | None = None,
        on_frame: Callable[[bytes | str, Instant], None] | None = None,
        tap: Tap | None = None,
        adapter_of: Callable[[], Adapter] | None = None,
        fetcher: Fetcher | None = None,
        budget: ConnectBudget | None = None,
        priority: int = 0,
        lane: int = 0,
        lanes: int = 1,
    ) -> None:
        urls = (url,) if isinstance(url, str) else tuple(url)
        if not urls:
            raise ConfigError("url: there is none")
        for each in urls:
            target_of(each)
        self._clock = clock
        self._limits = limits or FeedLimits()
        self._lanes = lanes
        self._may_rotate = adapter_of is not None
        first = [adapter]
        self._relay = Relay(lambda: first.pop() if first or adapter_of is None else adapter_of())
        self._shared = Shared(
            urls=urls,
            deliver=deliver,
            clock=clock,
            rng=rng,
            limits=self._limits,
            transport=transport or WebSocketTransport(self._limits),
            fetcher=fetcher or Fetcher(limits=self._limits),
            relay=self._relay,
            on_frame=on_frame,
            tap=tap,
            budget=budget,
            priority=priority,
            counters=Counter(),
            changed=self._mind_connection,
            told=self._mind_rotation if self._may_rotate else None,
        )
        self._lines: list[Line] = []
        self._books: tuple[str, ...] = ()
        self._next_number = lane
        self._connected = asyncio.Event()
        self._rotation_asked = asyncio.Event()
        self._closing = asyncio.Event()
        self._ended = asyncio.Event()
        self._running = False
        self._current = self._new_line()

    async def run(self) -> None:
        """Stay connected until `close` is called or this call is cancelled."""
        if self._running:
            raise RuntimeError("this feed is running already")
        self._running = True
        closing = asyncio.create_task(self._closing.wait())
        supervising = asyncio.create_task(self._supervise())
        try:
            await asyncio.wait({closing, supervising}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_all([closing, supervising])
            lines = [line.task for line in self._lines if line.task is not None]
            await end_all(lines)
            await self._shared.fetcher.close()
            self._ended.set()
        for task in (supervising, *lines):
            if not task.cancelled():
                task.result()

    async def connected(self, timeout_s: float) -> None:
        """Wait until a connection stands. `ConnectError` after `timeout_s`, while `run` goes on trying."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._connected.wait()
        except TimeoutError:
            why = f"the last attempt ended with {self.last_loss}" if self.last_loss else "no attempt has ended yet"
            raise ConnectError(
                f"no connection to {self._shared.url} within {timeout_s:g} s; {why}; still trying"
            ) from None

    def want_books(self, names: Collection[str]) -> None:
        """The books wanted on demand are these; call it on the feed's own loop."""
        self._books = tuple(sorted(names))
        for line in self._lines:
            line.wish(self._books)

    async def close(self) -> None:
        """End `run`, from any state, and leave nothing behind; takes little more than `close_timeout_s`."""
        self._closing.set()
        if self._running:
            await self._ended.wait()

    @property
    def counters(self) -> Counter[str]:
        """Bounded keys, for metrics: "attempts", "connections", "rotations", "closed.<reason>" ..."""
        return self._shared.counters

    @counters.setter
    def counters(self, counters: Counter[str]) -> None:
        """Count with others, from before the first attempt on."""
        self._shared.counters = counters

    @property
    def last_loss(self) -> ConnectionLost | None:
        """How the last connection, or attempt, ended."""
        return self._shared.last_loss

    # Lines and their succession

    async def _supervise(self) -> None:
        self._current.start()
        while True:
            await self._until(self._wait_for_rotation())
            successor = self._new_line()
            if self._books:
                successor.wish(self._books)
            successor.start()
            try:
                async with asyncio.timeout(self._limits.warm_timeout_s):
                    await self._until(self._wait_for_live(successor))
            except TimeoutError:
                self.counters["rotations_failed"] += 1
                await self._retire(successor)
                await self._until(asyncio.sleep(self._limits.rotate_retry_s))
                continue
            before, self._current = self._current, successor
            await self._retire(before)
            self.counters["rotations"] += 1
            self.counters["duplicates"] = self._relay.duplicates

    async def _wait_for_rotation(self) -> None:
        """Until the adapter asks for it, or the connection has grown old."""
        while True:
            self._rotation_asked.clear()
            line, wait_s = self._current, None
            if self._may_rotate and line.connection is not None:
                if line.adapter.wants_rotation is not None:
                    return
                if line.rotate_at_ns is not None:
                    wait_s = (line.rotate_at_ns - self._clock.now().mono_ns) / NS_PER_SECOND
                    if wait_s <= 0:
                        return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._rotation_asked.wait()

    async def _wait_for_live(self, line: Line) -> None:
        """Until it has been live for as long as both are to stand."""
        while True:
            await line.live.wait()
            await asyncio.sleep(self._limits.overlap_s)
            if line.live.is_set():
                return

    async def _until(self, step: Coroutine[Any, Any, None]) -> None:
        """Await `step`; the end of a line meanwhile can only be a bug, and is raised."""
        waiting = asyncio.create_task(step)
        tasks = [line.task for line in self._lines if line.task is not None]
        try:
            done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_all([waiting])

    def _new_line(self) -> Line:
        number = self._next_number
        self._next_number += self._lanes
        line = Line(number, self._shared)
        self._lines.append(line)
        return line

    async def _retire(self, line: Line) -> None:
        await line.retire()
        self._lines.remove(line)

    def _mind_connection(self, line: Line) -> None:
        if line.connection is not None:
            self._connected.set()
            self._rotation_asked.set()  # look again at when that is due
        elif all(each.connection is None for each in self._lines):
            self._connected.clear()

    def _mind_rotation(self, line: Line) -> None:
        if line is self._current:
            if line.adapter.wants_rotation is not None:
                self._rotation_asked.set()
        elif self._relay.is_live(line.number):
            line.live.set()
