"""Keeps an adapter connected: connect, stamp, hand over, send, connect again, and take over before a planned end.

What a consumer may rely on:

- Every frame is stamped once, right after it was read, and handed over synchronously by `deliver(events, now)`.
- Frames that wait are handed over one after another; the loop gets its turn when none waits, and at the latest after
  2 ms or 64 frames. So work that `deliver` schedules on the loop runs once the burst has been applied.
- The end of a connection is delivered (`FeedStatus` "closed") before anything is done about it.
- `Relay` makes all events, and `tap` is told of every call that it gets: that is all a replay needs.

A *line* is one adapter with the connections that it has, one after another, under one number. There is one, and while
a rotation is under way (a venue's notice, or age) a second: it is brought up until its adapter says "live", both stand
for a moment, and the first closes as "rotated".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Protocol

from pricer.adapters.adapter import Adapter, HttpGet, KeepsPrivate, WsSend
from pricer.adapters.backoff import Backoff
from pricer.adapters.connects import ConnectBudget
from pricer.adapters.events import AnyEvent
from pricer.adapters.fetching import Fetcher
from pricer.adapters.limits import FeedLimits
from pricer.adapters.network import target_of
from pricer.adapters.relay import ROTATED, Relay
from pricer.adapters.transport import Connection, ConnectionLost, Transport
from pricer.adapters.websockets_transport import WebSocketTransport
from pricer.clock import NS_PER_SECOND, Clock, Instant
from pricer.errors import ConfigError, ConnectError

__all__ = ["Connection", "ConnectionLost", "Deliver", "Feed", "FeedLimits", "Tap", "Transport", "WebSocketTransport"]

log = logging.getLogger("pricer.adapters.feed")

# A timer that is due again at once still leaves the loop to others.
SHORTEST_WAIT_S = 0.001
# Fetches that wait for their turn; an adapter asks for a few lists at a time.
MOST_FETCHES = 64
# An endpoint that sends nothing, or cannot be reached, may have a sibling that does.
_NEXT_URL = {"zombie", "dns", "refused", "timeout", "network", "tls", "http_5xx", "closed_restart"}

Deliver = Callable[[list[AnyEvent], Instant], None]


class Tap(Protocol):
    """A recorder: told of each call that an adapter gets, before what comes of it is handed over."""

    def connecting(self, now: Instant, connection: int) -> None: ...
    def opened(self, now: Instant, connection: int) -> None: ...
    def frame(self, data: bytes | str, now: Instant, connection: int) -> None: ...
    def timer(self, now: Instant, connection: int) -> None: ...
    def closed(self, now: Instant, reason: str, connection: int) -> None: ...
    def wish(self, names: Collection[str], now: Instant, connection: int) -> None: ...


class _Line:
    """One adapter, its connection of the moment, and what it owes."""

    def __init__(self, number: int, adapter: Adapter, backoff: Backoff) -> None:
        self.number = number
        self.adapter = adapter
        self.to_show = adapter.to_show if isinstance(adapter, KeepsPrivate) else None
        self.backoff = backoff
        self.connection: Connection | None = None
        self.outbox: deque[str] = deque()
        self.outbox_bytes = 0
        self.outbox_filled = asyncio.Event()
        self.fetches: asyncio.Queue[str] = asyncio.Queue(MOST_FETCHES)
        self.timer_moved = asyncio.Event()
        self.timer_at_ns: int | None = None
        self.given_up: asyncio.Future[ConnectionLost] | None = None
        self.retired = asyncio.Event()
        self.live = asyncio.Event()
        self.rotate_at_ns: int | None = None
        self.last_frame_ns = 0
        self.bad_frames = 0
        self.bad_in_a_row = 0
        self.task: asyncio.Task[None] | None = None


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
        self._urls = (url,) if isinstance(url, str) else tuple(url)
        if not self._urls:
            raise ConfigError("url: there is none")
        for each in self._urls:
            target_of(each)
        self._deliver = deliver
        self._clock = clock
        self._rng = rng
        self._limits = limits or FeedLimits()
        self._transport = transport or WebSocketTransport(self._limits)
        self._fetcher = fetcher or Fetcher(limits=self._limits)
        self._on_frame = on_frame
        self._tap = tap
        self._budget = budget
        self._priority = priority
        self._lanes = lanes
        self._may_rotate = adapter_of is not None
        first = [adapter]
        self._relay = Relay(lambda: first.pop() if first or adapter_of is None else adapter_of())
        # "attempts", "connections", "rotations", "closed.<reason>" ...: bounded keys, for metrics.
        self.counters: Counter[str] = Counter()
        self.last_loss: ConnectionLost | None = None
        self._burst_ns = int(self._limits.burst_s * NS_PER_SECOND)
        self._lines: list[_Line] = []
        self._books: tuple[str, ...] = ()
        self._next_number = lane
        self._turn_of_url = 0
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
            await _end([closing, supervising])
            lines = [line.task for line in self._lines if line.task is not None]
            await _end(lines)
            await self._fetcher.close()
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
            raise ConnectError(f"no connection to {self._url} within {timeout_s:g} s; {why}; still trying") from None

    def want_books(self, names: Collection[str]) -> None:
        """The books wanted on demand are these; call it on the feed's own loop."""
        self._books = tuple(sorted(names))
        for line in self._lines:
            self._wish(line)

    async def close(self) -> None:
        """End `run`, from any state, and leave nothing behind; takes little more than `close_timeout_s`."""
        self._closing.set()
        if self._running:
            await self._ended.wait()

    @property
    def _url(self) -> str:
        return self._urls[self._turn_of_url % len(self._urls)]

    # Lines and their succession

    async def _supervise(self) -> None:
        self._start(self._current)
        while True:
            await self._until(self._wait_for_rotation())
            successor = self._new_line()
            if self._books:
                self._wish(successor)
            self._start(successor)
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

    async def _wait_for_live(self, line: _Line) -> None:
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
            await _end([waiting])

    def _new_line(self) -> _Line:
        number = self._next_number
        self._next_number += self._lanes
        line = _Line(number, self._relay.adapter(number), Backoff(self._rng, self._limits))
        self._lines.append(line)
        return line

    def _start(self, line: _Line) -> None:
        line.task = asyncio.create_task(self._run_line(line))

    async def _retire(self, line: _Line) -> None:
        line.retired.set()
        assert line.task is not None
        await line.task
        self._lines.remove(line)

    async def _run_line(self, line: _Line) -> None:
        coroutines = (self._stay_connected(line), self._keep_time(line), line.retired.wait())
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(each) for each in coroutines]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()
        self._tell_closed(line, ConnectionLost(ROTATED))

    # The connections of one line

    async def _stay_connected(self, line: _Line) -> None:
        while True:
            lost = await self._one_connection(line)
            delay_s = line.backoff.next_delay_s(self._clock.now().mono_ns, lost)
            if lost.reason == "banned":
                log.error("%s refuses us (%s); next attempt in %.0f s", line.adapter.venue, lost, delay_s)
            if lost.reason in _NEXT_URL:
                self._turn_of_url = (self._turn_of_url + 1) % len(self._urls)
            await asyncio.sleep(delay_s)

    async def _one_connection(self, line: _Line) -> ConnectionLost:
        if self._budget is not None:
            await self._budget.turn(self._clock, self._priority)
        self.counters["attempts"] += 1
        now = self._clock.now()
        if self._tap is not None:
            self._tap.connecting(now, line.number)
        self._hand_over(self._relay.connecting(line.number, now), now)
        try:
            async with asyncio.timeout(self._limits.open_timeout_s):
                connection = await self._transport.connect(self._url)
        except TimeoutError:
            lost = ConnectionLost("timeout", f"not open after {self._limits.open_timeout_s:g} s")
        except ConnectionLost as error:
            lost = error
        else:
            return await self._serve(line, connection)
        self._tell_closed(line, lost)
        return lost

    async def _serve(self, line: _Line, connection: Connection) -> ConnectionLost:
        """One connection from its first frame to its last."""
        given_up = line.given_up = asyncio.get_running_loop().create_future()
        self._open(line, connection)
        coroutines = (
            self._read(line, connection),
            self._write(line, connection),
            self._watch(line, connection),
            self._fetch(line),
        )
        tasks = [asyncio.create_task(each) for each in coroutines]
        politely = False
        try:
            ends: list[asyncio.Future[Any]] = [*tasks, given_up]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            lost = given_up.result() if given_up.done() else _why(tasks)
            self._shut(line)
            self._tell_closed(line, lost)
        except asyncio.CancelledError:
            politely = True
            self._shut(line)
            if not line.retired.is_set():
                self._tell_closed(line, ConnectionLost("shutdown"))
            raise
        finally:
            self._shut(line)
            await self._drop(connection, tasks, politely=politely)
        return lost

    def _open(self, line: _Line, connection: Connection) -> None:
        now = self._clock.now()
        self.counters["connections"] += 1
        line.backoff.opened(now.mono_ns)
        line.connection = connection
        line.outbox.clear()
        line.outbox_bytes = line.bad_in_a_row = 0
        line.bad_frames = line.adapter.counters["bad_frame"]
        line.last_frame_ns = now.mono_ns
        jitter_s = self._rng.uniform(-self._limits.rotate_jitter_s, self._limits.rotate_jitter_s)
        line.rotate_at_ns = now.mono_ns + int((self._limits.rotate_after_s + jitter_s) * NS_PER_SECOND)
        if self._tap is not None:
            self._tap.opened(now, line.number)
        self._relay.opened(line.number, now)
        self._after(line, now)
        self._connected.set()
        self._rotation_asked.set()  # look again at when that is due

    def _shut(self, line: _Line) -> None:
        line.connection = None
        line.live.clear()
        while not line.fetches.empty():
            line.fetches.get_nowait()
        if all(each.connection is None for each in self._lines):
            self._connected.clear()

    def _tell_closed(self, line: _Line, lost: ConnectionLost) -> None:
        now = self._clock.now()
        if lost.reason != ROTATED:
            self.last_loss = lost
        self.counters[f"closed.{lost.reason}"] += 1
        if self._tap is not None:
            self._tap.closed(now, str(lost), line.number)
        self._deliver(self._relay.closed(line.number, now, str(lost)), now)

    async def _drop(self, connection: Connection, tasks: list[asyncio.Task[None]], *, politely: bool) -> None:
        await _end(tasks)
        if politely:
            with contextlib.suppress(TimeoutError, ConnectionLost):
                async with asyncio.timeout(self._limits.close_timeout_s):
                    await connection.close()
        await connection.abort()

    # What runs while a connection stands

    async def _read(self, line: _Line, connection: Connection) -> None:
        turn_ns, frames = 0, 0
        while True:
            frame = await connection.recv()  # gives no other task its turn while frames are waiting
            now = self._clock.now()
            self._take(line, frame, now)
            frames += 1
            if now.mono_ns - turn_ns >= self._burst_ns or frames >= self._limits.burst_frames:
                await asyncio.sleep(0)
                turn_ns, frames = self._clock.now().mono_ns, 0

    def _take(self, line: _Line, frame: bytes | str, now: Instant) -> None:
        line.last_frame_ns = now.mono_ns
        try:
            events = self._relay.frame(line.number, frame, now)
        finally:  # the adapter can say only then what may be shown of it; what it fails on is recorded, too
            self._show(line, frame, now)
        self._deliver(events, now)
        if not events:
            self._mind_bad_frames(line)
        elif line.bad_in_a_row:
            line.bad_in_a_row = 0
        self._after(line, now)

    def _show(self, line: _Line, frame: bytes | str, now: Instant) -> None:
        if self._tap is not None or self._on_frame is not None:
            shown = frame if line.to_show is None else line.to_show(frame)
            if self._tap is not None:
                self._tap.frame(shown, now, line.number)
            if self._on_frame is not None:
                self._on_frame(shown, now)

    def _mind_bad_frames(self, line: _Line) -> None:
        """A frame without events may be one that could not be read; many of those in a row are a broken stream."""
        bad = line.adapter.counters["bad_frame"]
        line.bad_in_a_row = line.bad_in_a_row + 1 if bad > line.bad_frames else 0
        line.bad_frames = bad
        if line.bad_in_a_row >= self._limits.max_bad_frames:
            self._give_up(line, ConnectionLost("bad_frames", f"{line.bad_in_a_row} in a row could not be read"))

    async def _write(self, line: _Line, connection: Connection) -> None:
        while True:
            await line.outbox_filled.wait()
            line.outbox_filled.clear()
            while line.outbox:
                text = line.outbox.popleft()
                await connection.send(text)
                line.outbox_bytes -= len(text)

    async def _watch(self, line: _Line, connection: Connection) -> None:
        """A peer that has vanished sends no FIN; only an answer proves that it is there (FAULTS T04, T05).

        And only data proves that it is of use: pings and pongs alone do not keep a connection (W08).
        """
        idle_ns = int(self._limits.idle_timeout_s * NS_PER_SECOND)
        wait_s = min(self._limits.ping_interval_s, self._limits.idle_timeout_s)
        while True:
            await asyncio.sleep(wait_s)
            if self._clock.now().mono_ns - line.last_frame_ns >= idle_ns:
                raise ConnectionLost("idle", f"no data for {self._limits.idle_timeout_s:g} s")
            try:
                async with asyncio.timeout(self._limits.ping_timeout_s):
                    await connection.ping()
            except TimeoutError:
                raise ConnectionLost("ping_timeout", f"no pong in {self._limits.ping_timeout_s:g} s") from None

    async def _fetch(self, line: _Line) -> None:
        """What the adapter wants over HTTP, one after another; its body is taken like a frame."""
        while True:
            path = await line.fetches.get()
            self.counters["http_gets"] += 1
            try:
                body = await self._fetcher.get(self._url, path)
            except ConnectionLost as lost:
                # Not answered, the adapter asks again by its own rules.
                self.counters[f"http_failed.{lost.reason}"] += 1
            else:
                self._take(line, body, self._clock.now())

    async def _keep_time(self, line: _Line) -> None:
        """Calls `on_time` when the adapter's deadline comes; between connections, too, since options expire there."""
        while True:
            line.timer_moved.clear()
            deadline_ns = line.timer_at_ns = line.adapter.next_deadline()
            wait_s = None
            if deadline_ns is not None:
                wait_s = max(SHORTEST_WAIT_S, (deadline_ns - self._clock.now().mono_ns) / NS_PER_SECOND)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await line.timer_moved.wait()
            now = self._clock.now()
            deadline_ns = line.adapter.next_deadline()
            if deadline_ns is not None and deadline_ns <= now.mono_ns:
                self._time(line, now)

    def _time(self, line: _Line, now: Instant) -> None:
        if self._tap is not None:
            self._tap.timer(now, line.number)
        self._hand_over(self._relay.timer(line.number, now), now)
        self._after(line, now)

    def _wish(self, line: _Line) -> None:
        now = self._clock.now()
        if self._tap is not None:
            self._tap.wish(self._books, now, line.number)
        self._relay.wish(line.number, self._books, now)
        self._after(line, now)

    def _hand_over(self, events: list[AnyEvent], now: Instant) -> None:
        if events:
            self._deliver(events, now)

    def _after(self, line: _Line, now: Instant) -> None:
        """After anything that an adapter was told: send what it owes, drop what it gives up, move the timer."""
        adapter = line.adapter
        if line.connection is not None:
            while sends := adapter.to_send(now):
                for each in sends:
                    self._send(line, each)
            reason = adapter.wants_reconnect
            if reason is None and (
                len(line.outbox) > self._limits.max_outbox or line.outbox_bytes > self._limits.max_outbox_bytes
            ):
                reason = "outbox_full"
            if reason is not None:
                self._give_up(line, ConnectionLost(reason))
            if self._may_rotate:
                self._mind_rotation(line)
        deadline_ns = adapter.next_deadline()
        if deadline_ns is not None and (line.timer_at_ns is None or deadline_ns < line.timer_at_ns):
            line.timer_moved.set()

    def _mind_rotation(self, line: _Line) -> None:
        if line is self._current:
            if line.adapter.wants_rotation is not None:
                self._rotation_asked.set()
        elif self._relay.is_live(line.number):
            line.live.set()

    def _give_up(self, line: _Line, lost: ConnectionLost) -> None:
        if line.given_up is not None and not line.given_up.done():
            line.given_up.set_result(lost)

    def _send(self, line: _Line, message: WsSend | HttpGet) -> None:
        if isinstance(message, HttpGet):
            if line.fetches.full():
                self.counters["http_failed.queue_full"] += 1
            else:
                line.fetches.put_nowait(message.path)
            return
        line.outbox.append(message.text)
        line.outbox_bytes += len(message.text)
        line.outbox_filled.set()


def _why(tasks: list[asyncio.Task[None]]) -> ConnectionLost:
    """What ended the first of `tasks`; anything but a lost connection is a bug and raised."""
    errors = [task.exception() for task in tasks if task.done()]
    for error in errors:
        if error is not None and not isinstance(error, ConnectionLost):
            raise error
    return next(error for error in errors if isinstance(error, ConnectionLost))


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
