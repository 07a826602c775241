"""The only place where adapters meet the network: connect, stamp, hand over, send, and connect again.

What a consumer may rely on:

- Every frame is stamped once, right after it was read, and handed over synchronously by `deliver(events, now)`.
- Frames that wait are handed over one after another; the loop gets its turn when none waits, and at the latest after
  2 ms or 64 frames. So work that `deliver` schedules on the loop runs once the burst has been applied.
- The end of a connection is delivered (`FeedStatus` "closed") before anything is done about it.
- The adapter alone makes events, and `tap` is told of every call that it gets: that is all a replay needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import random
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.protocol import State
from websockets.uri import parse_uri

from pricer.adapters.adapter import Adapter, HttpGet, WsSend, take_frame
from pricer.adapters.events import AnyEvent
from pricer.clock import NS_PER_SECOND, Clock, Instant
from pricer.errors import ConfigError, ConnectError, ProtocolError

# Whatever a peer or the system tells us is shown escaped, on one line, and no longer than this.
LONGEST_DETAIL = 200
# A venue may ask for a long pause (Retry-After), but not for an endless one.
LONGEST_RETRY_AFTER_S = 3600.0
# A timer that is due again at once still leaves the loop to others.
SHORTEST_WAIT_S = 0.001

Deliver = Callable[[list[AnyEvent], Instant], None]


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """Sizes and patience; every one has a bound. Times in seconds."""

    max_frame_bytes: int = 8 * 2**20
    max_queue: int = 64
    max_outbox: int = 1024
    open_timeout_s: float = 10.0
    ping_interval_s: float = 10.0
    ping_timeout_s: float = 5.0
    close_timeout_s: float = 1.0
    backoff_first_s: float = 0.5
    backoff_cap_s: float = 30.0
    # Long past a full resync (a second or two). With a minute, two hiccups within it cost half a minute in the dark.
    stable_s: float = 10.0
    burst_s: float = 0.002
    burst_frames: int = 64

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 < value < float("inf"):
                raise ConfigError(f"{each.name}: {value!r} is not a positive number")


class ConnectionLost(Exception):
    """A connection ended or could not be made; `reason` is a word from a bounded set, `detail` is for people."""

    def __init__(self, reason: str, detail: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail.encode("unicode_escape").decode("ascii")[:LONGEST_DETAIL]
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class Connection(Protocol):
    """One open WebSocket. Everything that awaits raises `ConnectionLost` when the connection is gone."""

    async def recv(self) -> bytes | str: ...
    async def send(self, text: str) -> None: ...
    async def ping(self) -> None:
        """Returns when the pong has come."""

    async def abort(self) -> None:
        """Drop it without a word to the peer, which may be gone."""

    async def close(self) -> None:
        """Take leave properly."""


class Transport(Protocol):
    """How connections are made; raises `ConnectionLost`."""

    async def connect(self, url: str) -> Connection: ...


class Tap(Protocol):
    """A recorder: told of each call the adapter gets, before the adapter is."""

    def opened(self, now: Instant) -> None: ...
    def frame(self, data: bytes | str, now: Instant) -> None: ...
    def timer(self, now: Instant) -> None: ...
    def closed(self, now: Instant, reason: str) -> None: ...


class Backoff:
    """Delays between attempts: full jitter below a ceiling that doubles with each failure.

    Refused attempts are forgotten when one succeeds: a drop after an outage is retried at once. Connections that did
    not last are forgotten only by one that does: what comes and goes (FAULTS T11) is tried ever more rarely.
    """

    def __init__(self, rng: random.Random, *, first_s: float, cap_s: float, stable_s: float) -> None:
        self._rng = rng
        self._first_s = first_s
        self._cap_s = cap_s
        self._stable_ns = int(stable_s * NS_PER_SECOND)
        self._refusals = 0
        self._drops = 0
        self._opened_ns: int | None = None

    def opened(self, now_ns: int) -> None:
        """A connection stands since now."""
        self._opened_ns = now_ns
        self._refusals = 0

    def next_delay_s(self, now_ns: int) -> float:
        """How long to wait after the connection, or the attempt, that has just ended."""
        if self._opened_ns is not None and now_ns - self._opened_ns >= self._stable_ns:
            self._drops = 0
        ceiling_s = min(self._cap_s, self._first_s * 2.0 ** min(self._refusals + self._drops, 32))
        if self._opened_ns is None:
            self._refusals += 1
        else:
            self._drops += 1
        self._opened_ns = None
        return self._rng.uniform(0.0, ceiling_s)


# WebSocket over the `websockets` library

# RFC 6455 section 7.4.1; any other code is "closed_other", so that metrics stay bounded.
_CLOSE_WORDS = {
    1000: "closed_normal",
    1001: "closed_going_away",
    1002: "closed_protocol_error",
    1003: "closed_unsupported_data",
    1007: "closed_bad_payload",
    1008: "closed_policy",
    1009: "closed_too_big",
    1011: "closed_server_error",
    1012: "closed_restart",
    1013: "closed_try_later",
}


class WebSocketTransport:
    """`websockets`, without compression (quotes are small, and an inflated bomb is not).

    Certificates are always verified, against the system's authorities or those in `ca_file`.
    """

    def __init__(self, limits: FeedLimits | None = None, *, ca_file: str | Path | None = None) -> None:
        self._limits = limits or FeedLimits()
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None

    async def connect(self, url: str) -> Connection:
        secure = parse_uri(url).secure
        try:
            socket_ = await connect(
                url,
                ssl=self._context() if secure else None,
                compression=None,
                max_size=self._limits.max_frame_bytes,
                max_queue=self._limits.max_queue,
                open_timeout=self._limits.open_timeout_s,
                close_timeout=self._limits.close_timeout_s,
                # We ping ourselves: a peer that does not answer is dropped, not asked to close.
                ping_interval=None,
                proxy=None if _is_loopback(url) else True,
                create_connection=_QuickToEnd,
            )
        except (OSError, InvalidHandshake) as error:
            raise _not_connected(error) from error
        return _WebSocket(socket_, self._limits.close_timeout_s)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_file)
        return self._tls


class _QuickToEnd(ClientConnection):
    """Once the closing has begun, by either side, it does not wait for the peer: the news is wanted at once."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.protocol.state is State.CLOSING:
            self.transport.close()


class _WebSocket:
    def __init__(self, socket_: ClientConnection, close_timeout_s: float) -> None:
        self._socket = socket_
        self._close_timeout_s = close_timeout_s

    async def recv(self) -> bytes | str:
        try:
            # Bytes: the decoder wants them, and text that is no UTF-8 is the adapter's to count, not a reason to close.
            return await self._socket.recv(decode=False)
        except ConnectionClosed as closed:
            raise _lost(closed) from closed

    async def send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed as closed:
            raise _lost(closed) from closed

    async def ping(self) -> None:
        try:
            await (await self._socket.ping())
        except ConnectionClosed as closed:
            raise _lost(closed) from closed

    async def abort(self) -> None:
        self._socket.transport.abort()
        await self._gone()

    async def close(self) -> None:
        await self._socket.close()

    async def _gone(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._close_timeout_s):
                await self._socket.wait_closed()


def _lost(closed: ConnectionClosed) -> ConnectionLost:
    """Why an open connection ended, as a bounded word."""
    if closed.sent is not None and not (closed.rcvd is not None and closed.rcvd_then_sent):
        # We closed it, because of what the peer sent.
        reason = "oversize" if closed.sent.code == 1009 else "bad_websocket"
        return ConnectionLost(reason, f"{closed.sent.code} {closed.sent.reason}")
    if closed.rcvd is not None:
        return ConnectionLost(
            _CLOSE_WORDS.get(closed.rcvd.code, "closed_other"), f"{closed.rcvd.code} {closed.rcvd.reason}"
        )
    cause = closed.__cause__
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return ConnectionLost("reset", str(cause))
    return ConnectionLost("eof", "the peer ended the stream without a close frame")


def _not_connected(error: Exception) -> ConnectionLost:
    """Why no connection could be made, as a bounded word."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        retry_after = _retry_after_s(error.response.headers.get("Retry-After"))
        return ConnectionLost(f"http_{status // 100}xx", f"HTTP {status}", retry_after)
    reason = "network"
    if isinstance(error, InvalidHandshake):
        reason = "bad_handshake"
    elif isinstance(error, TimeoutError):
        reason = "timeout"
    elif isinstance(error, ssl.SSLError):
        reason = "tls"
    elif isinstance(error, socket.gaierror):
        reason = "dns"
    elif isinstance(error, ConnectionResetError):
        reason = "reset"
    # With several addresses asyncio joins the errors into one text.
    elif isinstance(error, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        reason = "refused"
    return ConnectionLost(reason, str(error))


def _retry_after_s(value: str | None) -> float:
    """The header in seconds, its form as a date being too rare to be worth reading; 0 where it is absent."""
    return (
        min(float(value), LONGEST_RETRY_AFTER_S) if value is not None and value.isascii() and value.isdigit() else 0.0
    )


def _is_loopback(url: str) -> bool:
    """Whether a proxy could not reach `url` in any case."""
    host = parse_uri(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# The feed


class Feed:
    """Keeps one adapter connected to `url` until closed, and hands over what it makes of the frames.

    `tap` is for a recorder; `on_frame(frame, now)` for those who want the frames alone.
    An exception out of `deliver` or of the adapter ends `run` and reaches its caller: it is a bug, not weather.
    """

    def __init__(
        self,
        adapter: Adapter,
        url: str,
        *,
        deliver: Deliver,
        clock: Clock,
        rng: random.Random,
        transport: Transport | None = None,
        limits: FeedLimits | None = None,
        on_frame: Callable[[bytes | str, Instant], None] | None = None,
        tap: Tap | None = None,
    ) -> None:
        try:
            parse_uri(url)
        except InvalidURI as error:
            raise ConfigError(f"url: {url!r} is not of the form ws://host/path or wss://host/path") from error
        self._adapter = adapter
        self._url = url
        self._deliver = deliver
        self._clock = clock
        self._limits = limits or FeedLimits()
        self._transport = transport or WebSocketTransport(self._limits)
        self._backoff = Backoff(
            rng,
            first_s=self._limits.backoff_first_s,
            cap_s=self._limits.backoff_cap_s,
            stable_s=self._limits.stable_s,
        )
        self._on_frame = on_frame
        self._tap = tap
        # "attempts", "connections", "closed.<reason>": bounded keys, for metrics.
        self.counters: Counter[str] = Counter()
        self.last_loss: ConnectionLost | None = None
        self._burst_ns = int(self._limits.burst_s * NS_PER_SECOND)
        self._connection: Connection | None = None
        self._outbox: deque[str] = deque()
        self._outbox_filled = asyncio.Event()
        self._connected = asyncio.Event()
        self._closing = asyncio.Event()
        self._ended = asyncio.Event()
        self._running = False
        self._timer_moved = asyncio.Event()
        self._timer_at_ns: int | None = None
        self._given_up: asyncio.Future[ConnectionLost] | None = None

    async def run(self) -> None:
        """Stay connected until `close` is called or this call is cancelled."""
        if self._running:
            raise RuntimeError("this feed is running already")
        self._running = True
        closing = asyncio.create_task(self._closing.wait())
        working = [asyncio.create_task(each) for each in (self._stay_connected(), self._keep_time())]
        try:
            await asyncio.wait({closing, *working}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _end([closing, *working])
            self._ended.set()
        for task in working:
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

    async def close(self) -> None:
        """End `run`, from any state, and leave nothing behind; takes little more than `close_timeout_s`."""
        self._closing.set()
        if self._running:
            await self._ended.wait()

    # Connections

    async def _stay_connected(self) -> None:
        while True:
            lost = await self._one_connection()
            delay_s = self._backoff.next_delay_s(self._clock.now().mono_ns)
            await asyncio.sleep(max(delay_s, lost.retry_after_s))

    async def _one_connection(self) -> ConnectionLost:
        self.counters["attempts"] += 1
        try:
            async with asyncio.timeout(self._limits.open_timeout_s):
                connection = await self._transport.connect(self._url)
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
        self._given_up = asyncio.get_running_loop().create_future()
        self._open(connection)
        coroutines = (self._read(connection), self._write(connection), self._ping(connection))
        tasks = [asyncio.create_task(each) for each in coroutines]
        politely = False
        try:
            ends: list[asyncio.Future[Any]] = [*tasks, self._given_up]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            lost = self._given_up.result() if self._given_up.done() else _why(tasks)
            self._tell_closed(lost)
        except asyncio.CancelledError:
            politely = True
            self._tell_closed(ConnectionLost("shutdown"))
            raise
        finally:
            self._connection = None
            self._connected.clear()
            await self._drop(connection, tasks, politely=politely)
        return lost

    def _open(self, connection: Connection) -> None:
        now = self._clock.now()
        self.counters["connections"] += 1
        self._backoff.opened(now.mono_ns)
        self._connection = connection
        self._outbox.clear()
        if self._tap is not None:
            self._tap.opened(now)
        self._adapter.opened(now)
        self._after(now)
        self._connected.set()

    def _tell_closed(self, lost: ConnectionLost) -> None:
        now = self._clock.now()
        self.last_loss = lost
        self.counters[f"closed.{lost.reason}"] += 1
        if self._tap is not None:
            self._tap.closed(now, str(lost))
        self._deliver(self._adapter.closed(now, str(lost)), now)

    async def _drop(self, connection: Connection, tasks: list[asyncio.Task[None]], *, politely: bool) -> None:
        await _end(tasks)
        if politely:
            with contextlib.suppress(TimeoutError, ConnectionLost):
                async with asyncio.timeout(self._limits.close_timeout_s):
                    await connection.close()
        await connection.abort()

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
        if self._tap is not None:
            self._tap.frame(frame, now)
        if self._on_frame is not None:
            self._on_frame(frame, now)
        self._deliver(take_frame(self._adapter, frame, now), now)
        self._after(now)

    async def _write(self, connection: Connection) -> None:
        while True:
            await self._outbox_filled.wait()
            self._outbox_filled.clear()
            while self._outbox:
                await connection.send(self._outbox.popleft())

    async def _ping(self, connection: Connection) -> None:
        """A peer that has vanished sends no FIN; only an answer proves that it is there (FAULTS T04, T05)."""
        while True:
            await asyncio.sleep(self._limits.ping_interval_s)
            try:
                async with asyncio.timeout(self._limits.ping_timeout_s):
                    await connection.ping()
            except TimeoutError:
                raise ConnectionLost("ping_timeout", f"no pong in {self._limits.ping_timeout_s:g} s") from None

    async def _keep_time(self) -> None:
        """Calls `on_time` when the adapter's deadline comes; between connections, too, since options expire there."""
        while True:
            self._timer_moved.clear()
            deadline_ns = self._timer_at_ns = self._adapter.next_deadline()
            wait_s = None
            if deadline_ns is not None:
                wait_s = max(SHORTEST_WAIT_S, (deadline_ns - self._clock.now().mono_ns) / NS_PER_SECOND)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._timer_moved.wait()
            now = self._clock.now()
            deadline_ns = self._adapter.next_deadline()
            if deadline_ns is not None and deadline_ns <= now.mono_ns:
                self._time(now)

    def _time(self, now: Instant) -> None:
        if self._tap is not None:
            self._tap.timer(now)
        events = self._adapter.on_time(now)
        if events:
            self._deliver(events, now)
        self._after(now)

    def _after(self, now: Instant) -> None:
        """After anything that the adapter was told: send what it owes, drop what it gives up, move the timer."""
        if self._connection is not None:
            while sends := self._adapter.to_send(now):
                for each in sends:
                    self._send(each)
            reason = self._adapter.wants_reconnect
            if reason is None and len(self._outbox) > self._limits.max_outbox:
                reason = "outbox_full"
            if reason is not None and self._given_up is not None and not self._given_up.done():
                self._given_up.set_result(ConnectionLost(reason))
        deadline_ns = self._adapter.next_deadline()
        if deadline_ns is not None and (self._timer_at_ns is None or deadline_ns < self._timer_at_ns):
            self._timer_moved.set()

    def _send(self, message: WsSend | HttpGet) -> None:
        if isinstance(message, HttpGet):
            raise ProtocolError(f"{self._adapter.venue}: this feed has no HTTP client to fetch {message.path} with")
        self._outbox.append(message.text)
        self._outbox_filled.set()


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
