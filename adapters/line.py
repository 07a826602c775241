"""One adapter kept connected: the connections that it has, one after another, under one number.

Each connection has its reader, its writer and a watch on whether the peer is there; the adapter's timer runs between
connections, too. What all lines of a feed have in common they are given as `Shared`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pricer.adapters.adapter import HttpGet, KeepsPrivate, WsSend
from pricer.adapters.backoff import Backoff
from pricer.adapters.connects import ConnectBudget
from pricer.adapters.events import AnyEvent
from pricer.adapters.fetching import Fetcher
from pricer.adapters.limits import FeedLimits
from pricer.adapters.relay import ROTATED, Relay
from pricer.adapters.transport import Connection, ConnectionLost, Transport
from pricer.clock import NS_PER_SECOND, Clock, Instant

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


@dataclass(slots=True, kw_only=True)
class Shared:
    """What the lines of one feed have in common.

    `changed` is told when a line's connection stands or is gone, `told` after each turn of an adapter, where anybody
    wants to know. `counters` may be exchanged for those of a fleet.
    """

    urls: tuple[str, ...]
    deliver: Deliver
    clock: Clock
    rng: random.Random
    limits: FeedLimits
    transport: Transport
    fetcher: Fetcher
    relay: Relay
    on_frame: Callable[[bytes | str, Instant], None] | None
    tap: Tap | None
    budget: ConnectBudget | None
    priority: int
    counters: Counter[str]
    changed: Callable[[Line], None]
    told: Callable[[Line], None] | None
    last_loss: ConnectionLost | None = None
    turn_of_url: int = 0

    @property
    def url(self) -> str:
        """The address whose turn it is."""
        return self.urls[self.turn_of_url]

    def next_url(self) -> None:
        """The next of one venue's addresses."""
        self.turn_of_url = (self.turn_of_url + 1) % len(self.urls)


class Line:
    """One adapter, its connection of the moment, and what it owes."""

    def __init__(self, number: int, shared: Shared) -> None:
        self.number = number
        self.adapter = shared.relay.adapter(number)
        self.connection: Connection | None = None
        self.live = asyncio.Event()
        self.retired = asyncio.Event()
        self.rotate_at_ns: int | None = None
        self.task: asyncio.Task[None] | None = None
        self._shared = shared
        self._deliver = shared.deliver
        self._clock = shared.clock
        self._rng = shared.rng
        self._limits = shared.limits
        self._transport = shared.transport
        self._fetcher = shared.fetcher
        self._relay = shared.relay
        self._on_frame = shared.on_frame
        self._tap = shared.tap
        self._budget = shared.budget
        self._priority = shared.priority
        self._told = shared.told
        self._burst_ns = int(shared.limits.burst_s * NS_PER_SECOND)
        self._to_show = self.adapter.to_show if isinstance(self.adapter, KeepsPrivate) else None
        self._backoff = Backoff(shared.rng, shared.limits)
        self._outbox: deque[str] = deque()
        self._outbox_bytes = 0
        self._outbox_filled = asyncio.Event()
        self._fetches: asyncio.Queue[str] = asyncio.Queue(MOST_FETCHES)
        self._timer_moved = asyncio.Event()
        self._timer_at_ns: int | None = None
        self._given_up: asyncio.Future[ConnectionLost] | None = None
        self._last_frame_ns = 0
        self._bad_frames = 0
        self._bad_in_a_row = 0

    def start(self) -> None:
        """Run as a task."""
        self.task = asyncio.create_task(self.run())

    async def retire(self) -> None:
        """Another line has taken over."""
        self.retired.set()
        assert self.task is not None
        await self.task

    async def run(self) -> None:
        """Stay connected until retired."""
        coroutines = (self._stay_connected(), self._keep_time(), self.retired.wait())
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(each) for each in coroutines]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_all(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()
        self._tell_closed(ConnectionLost(ROTATED))

    # Its connections, one after another

    async def _stay_connected(self) -> None:
        while True:
            lost = await self._one_connection()
            delay_s = self._backoff.next_delay_s(self._clock.now().mono_ns, lost)
            if lost.reason == "banned":
                log.error("%s refuses us (%s); next attempt in %.0f s", self.adapter.venue, lost, delay_s)
            if lost.reason in _NEXT_URL:
                self._shared.next_url()
            await asyncio.sleep(delay_s)

    async def _one_connection(self) -> ConnectionLost:
        if self._budget is not None:
            await self._budget.turn(self._clock, self._priority)
        self._shared.counters["attempts"] += 1
        now = self._clock.now()
        if self._tap is not None:
            self._tap.connecting(now, self.number)
        self._hand_over(self._relay.connecting(self.number, now), now)
        try:
            async with asyncio.timeout(self._limits.open_timeout_s):
                connection = await self._transport.connect(self._shared.url)
        except TimeoutError:
            lost = ConnectionLost("timeout", f"not open after {self._limits.open_timeout_s:g} s")
        except ConnectionLost as error:
            lost = error
        else:
            return await self._serve(connection)
        self._tell_closed(lost)
        return lost

    async def _serve(self, connection: Connection) -> ConnectionLost:
        """One connection from its first frame to its last."""
        given_up = self._given_up = asyncio.get_running_loop().create_future()
        self._open(connection)
        coroutines = (
            self._read(connection),
            self._write(connection),
            self._watch(connection),
            self._fetch(),
        )
        tasks = [asyncio.create_task(each) for each in coroutines]
        politely = False
        try:
            ends: list[asyncio.Future[Any]] = [*tasks, given_up]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            lost = given_up.result() if given_up.done() else _why(tasks)
            self._shut()
            self._tell_closed(lost)
        except asyncio.CancelledError:
            politely = True
            self._shut()
            if not self.retired.is_set():
                self._tell_closed(ConnectionLost("shutdown"))
            raise
        finally:
            self._shut()
            await self._drop(connection, tasks, politely=politely)
        return lost

    def _open(self, connection: Connection) -> None:
        now = self._clock.now()
        self._shared.counters["connections"] += 1
        self._backoff.opened(now.mono_ns)
        self.connection = connection
        self._outbox.clear()
        self._outbox_bytes = self._bad_in_a_row = 0
        self._bad_frames = self.adapter.counters["bad_frame"]
        self._last_frame_ns = now.mono_ns
        jitter_s = self._rng.uniform(-self._limits.rotate_jitter_s, self._limits.rotate_jitter_s)
        self.rotate_at_ns = now.mono_ns + int((self._limits.rotate_after_s + jitter_s) * NS_PER_SECOND)
        if self._tap is not None:
            self._tap.opened(now, self.number)
        self._relay.opened(self.number, now)
        self._after(now)
        self._shared.changed(self)

    def _shut(self) -> None:
        self.connection = None
        self.live.clear()
        while not self._fetches.empty():
            self._fetches.get_nowait()
        self._shared.changed(self)

    def _tell_closed(self, lost: ConnectionLost) -> None:
        now = self._clock.now()
        if lost.reason != ROTATED:
            self._shared.last_loss = lost
        self._shared.counters[f"closed.{lost.reason}"] += 1
        if self._tap is not None:
            self._tap.closed(now, str(lost), self.number)
        self._deliver(self._relay.closed(self.number, now, str(lost)), now)

    async def _drop(self, connection: Connection, tasks: list[asyncio.Task[None]], *, politely: bool) -> None:
        await end_all(tasks)
        if politely:
            with contextlib.suppress(TimeoutError, ConnectionLost):
                async with asyncio.timeout(self._limits.close_timeout_s):
                    await connection.close()
        await connection.abort()

    def wish(self, names: Collection[str]) -> None:
        """The books wanted on demand are these."""
        now = self._clock.now()
        if self._tap is not None:
            self._tap.wish(names, now, self.number)
        self._relay.wish(self.number, names, now)
        self._after(now)

    # What runs while a connection stands

    async def _read(self, connection: Connection) -> None:
        turn_ns, frames = 0, 0
        while True:
            frame = await connection.recv()  # gives no other task its turn while frames are waiting
            now = self._clock.now()
            self._take(frame, now)
            frames += 1
            if now.mono_ns - turn_ns >= self._burst_ns or frames >= self._limits.burst_frames:
                await asyncio.sleep(0)
                turn_ns, frames = self._clock.now().mono_ns, 0

    def _take(self, frame: bytes | str, now: Instant) -> None:
        self._last_frame_ns = now.mono_ns
        try:
            events = self._relay.frame(self.number, frame, now)
        finally:  # the adapter can say only then what may be shown of it; what it fails on is recorded, too
            self._show(frame, now)
        self._deliver(events, now)
        if not events:
            self._mind_bad_frames()
        elif self._bad_in_a_row:
            self._bad_in_a_row = 0
        self._after(now)

    def _show(self, frame: bytes | str, now: Instant) -> None:
        if self._tap is not None or self._on_frame is not None:
            shown = frame if self._to_show is None else self._to_show(frame)
            if self._tap is not None:
                self._tap.frame(shown, now, self.number)
            if self._on_frame is not None:
                self._on_frame(shown, now)

    def _mind_bad_frames(self) -> None:
        """A frame without events may be one that could not be read; many of those in a row are a broken stream."""
        bad = self.adapter.counters["bad_frame"]
        self._bad_in_a_row = self._bad_in_a_row + 1 if bad > self._bad_frames else 0
        self._bad_frames = bad
        if self._bad_in_a_row >= self._limits.max_bad_frames:
            self._give_up(ConnectionLost("bad_frames", f"{self._bad_in_a_row} in a row could not be read"))

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._outbox_filled.wait()
            self._outbox_filled.clear()
            while self._outbox:
                text = self._outbox.popleft()
                await connection.send(text)
                self._outbox_bytes -= len(text)

    async def _watch(self, connection: Connection) -> None:
        """A peer that has vanished sends no FIN; only an answer proves that it is there (FAULTS T04, T05).

        And only data proves that it is of use: pings and pongs alone do not keep a connection (W08).
        """
        idle_ns = int(self._limits.idle_timeout_s * NS_PER_SECOND)
        wait_s = min(self._limits.ping_interval_s, self._limits.idle_timeout_s)
        while True:
            await asyncio.sleep(wait_s)
            if self._clock.now().mono_ns - self._last_frame_ns >= idle_ns:
                raise ConnectionLost("idle", f"no data for {self._limits.idle_timeout_s:g} s")
            try:
                async with asyncio.timeout(self._limits.ping_timeout_s):
                    await connection.ping()
            except TimeoutError:
                raise ConnectionLost("ping_timeout", f"no pong in {self._limits.ping_timeout_s:g} s") from None

    async def _fetch(self) -> None:
        """What the adapter wants over HTTP, one after another; its body is taken like a frame."""
        while True:
            path = await self._fetches.get()
            self._shared.counters["http_gets"] += 1
            try:
                body = await self._fetcher.get(self._shared.url, path)
            except ConnectionLost as lost:
                # Not answered, the adapter asks again by its own rules.
                self._shared.counters[f"http_failed.{lost.reason}"] += 1
            else:
                self._take(body, self._clock.now())

    async def _keep_time(self) -> None:
        """Calls `on_time` when the adapter's deadline comes; between connections, too, since options expire there."""
        while True:
            self._timer_moved.clear()
            deadline_ns = self._timer_at_ns = self.adapter.next_deadline()
            wait_s = None
            if deadline_ns is not None:
                wait_s = max(SHORTEST_WAIT_S, (deadline_ns - self._clock.now().mono_ns) / NS_PER_SECOND)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._timer_moved.wait()
            now = self._clock.now()
            deadline_ns = self.adapter.next_deadline()
            if deadline_ns is not None and deadline_ns <= now.mono_ns:
                self._time(now)

    def _time(self, now: Instant) -> None:
        if self._tap is not None:
            self._tap.timer(now, self.number)
        self._hand_over(self._relay.timer(self.number, now), now)
        self._after(now)

    def _hand_over(self, events: list[AnyEvent], now: Instant) -> None:
        if events:
            self._deliver(events, now)

    def _after(self, now: Instant) -> None:
        """After anything that an adapter was told: send what it owes, drop what it gives up, move the timer."""
        adapter = self.adapter
        if self.connection is not None:
            while sends := adapter.to_send(now):
                for each in sends:
                    self._send(each)
            reason = adapter.wants_reconnect
            if reason is None and (
                len(self._outbox) > self._limits.max_outbox or self._outbox_bytes > self._limits.max_outbox_bytes
            ):
                reason = "outbox_full"
            if reason is not None:
                self._give_up(ConnectionLost(reason))
            if self._told is not None:
                self._told(self)
        deadline_ns = adapter.next_deadline()
        if deadline_ns is not None and (self._timer_at_ns is None or deadline_ns < self._timer_at_ns):
            self._timer_moved.set()

    def _give_up(self, lost: ConnectionLost) -> None:
        if self._given_up is not None and not self._given_up.done():
            self._given_up.set_result(lost)

    def _send(self, message: WsSend | HttpGet) -> None:
        if isinstance(message, HttpGet):
            if self._fetches.full():
                self._shared.counters["http_failed.queue_full"] += 1
            else:
                self._fetches.put_nowait(message.path)
            return
        self._outbox.append(message.text)
        self._outbox_bytes += len(message.text)
        self._outbox_filled.set()


def _why(tasks: list[asyncio.Task[None]]) -> ConnectionLost:
    """What ended the first of `tasks`; anything but a lost connection is a bug and raised."""
    errors = [task.exception() for task in tasks if task.done()]
    for error in errors:
        if error is not None and not isinstance(error, ConnectionLost):
            raise error
    return next(error for error in errors if isinstance(error, ConnectionLost))


async def end_all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel all, and wait until they are over."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
