"""A bot's side of the sidecar: the same `Snapshot` that `pricer.live` gives, from another process.

    async with connect("ws://127.0.0.1:8765/v1/stream", underlying="BTC") as chain:
        async for snapshot in chain:
            snapshot["BTC-27DEC26-100000-C"].delta        # a number that may be traded on, or NotTradable

    with connect_sync("ws://127.0.0.1:8765/v1/stream", "BTC") as chain:     # the same without asyncio
        for snapshot in chain: ...

Rows refuse what is not `OK` by the clock of this process: when the sidecar, the network or the sidecar's engine is
gone, numbers turn STALE by themselves within their limits. Messages are read as they come, whatever the bot does
meanwhile; a bot that is slow gets the newest state, and `dropped` and `lag()` say what it missed. The rules of the
stream are kept by `pricer.sidecar.following`: what they count stands in `stats`.

Surfaces do not travel; `snapshot.surface` is None here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from pricer.adapters.network import Network, Target, target_of
from pricer.clock import Clock, SystemClock
from pricer.errors import ConfigError, ConnectError, ProtocolError, VolstreamError
from pricer.mailbox import Mailbox
from pricer.sidecar.decoding import DECODERS, DEFAULT, Decode
from pricer.sidecar.following import Follower, RequestRefused
from pricer.sidecar.handshake import TurnedAway, refusal, shown_out
from pricer.snapshot import Snapshot

log = logging.getLogger("pricer.sidecar.client")

# Twice the largest snapshot seen, of 1,600 options: a bigger message is not from our sidecar.
MAX_MESSAGE = 8 * 1024 * 1024
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 10.0
OPEN_S = 10.0
# The sidecar sends at least a heartbeat every 5 s; longer silence is a dead connection.
SILENCE_S = 12.0
# So many connections in a row that broke the protocol before they brought anything: what answers is no sidecar.
MOST_MALFORMED = 5
CLOSE_S = 5.0

Encoding = Literal["json", "msgpack"]


class Connection:
    """A subscription that survives reconnections: iterate it for states, the newest first, older ones left out.

    `stats` counts what went wrong, and is empty while nothing has: connections made again (`reconnections`), attempts
    that made none (`failed_attempts`), gaps and the messages missed in them, checksums that differed, resumed and ended
    sessions, and connections that sent what is not the protocol's.
    """

    def __init__(self, way: Way, follower: Follower, clock: Clock, rng: random.Random) -> None:
        self.latest: Snapshot | None = None
        self.stats: Counter[str] = follower.stats
        self._way = way
        self._follower = follower
        self._rng = rng
        self._states = Mailbox(clock=clock)
        self._websocket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._malformed = 0

    @property
    def dropped(self) -> int:
        """States that were replaced by newer ones before they were read."""
        return self._states.dropped

    @property
    def session(self) -> str | None:
        """The sidecar process that the states are of; None before the first."""
        return self._follower.session

    @property
    def verified(self) -> int:
        """How often our values were compared with the sidecar's checksum of its own."""
        return self._follower.verified

    @property
    def is_lost(self) -> bool:
        """Whether the connection is gone, and no other one has brought the stream up to date since."""
        return self._failures > 0 and not self._follower.in_sync

    def lag(self) -> float:
        """Seconds for which a newer state than the last one read has been waiting; 0 when the newest was read."""
        return self._states.lag()

    async def __aenter__(self) -> Self:
        if self._task is not None or self._states.is_closed:
            raise VolstreamError("a connection is entered once; connect(...) makes another")
        self._websocket = await self._way.open()
        self._task = asyncio.create_task(self._run(), name="sidecar-client")
        self._task.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._states.close()

    def __aiter__(self) -> AsyncIterator[Snapshot]:
        """The newest state, again and again; ends with the connection's block.

        A request or a token that the sidecar refuses is a `RequestRefused`, and a peer that is no sidecar another
        `ProtocolError`.
        """
        return self._states

    def get(self, timeout: float | None = None) -> Snapshot | None:
        """Wait for a state on another thread; None after `timeout` seconds, or when the connection was closed.

        What ended the reading is raised here as it is by the iteration.
        """
        return self._states.get(timeout)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """No error is lost: whatever ended the reading reaches the reader."""
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, VolstreamError):
            wrapped = VolstreamError(f"the client failed: {error!r}")
            wrapped.__cause__ = error
            error = wrapped
        if error is not None:
            log.warning("%s is followed no more: %s", self._way, error)
        self._states.close(error)

    async def _run(self) -> None:
        while True:
            asked_s = 0.0
            try:
                await self._follow()
            except RequestRefused:
                raise
            except ProtocolError as error:
                self._count_malformed(error)
            except ConnectError as error:
                self.stats["failed_attempts"] += 1
                asked_s = error.retry_after_s if isinstance(error, TurnedAway) else 0.0
                log.info("%s", error)
            except (ConnectionClosed, TimeoutError, OSError) as error:
                log.info("the connection to %s ended: %s", self._way, error)
            self._follower.lost()
            await asyncio.sleep(self._pause(asked_s))

    def _count_malformed(self, error: ProtocolError) -> None:
        self.stats["malformed"] += 1
        self._malformed += 1
        log.warning("%s breaks the protocol: %s", self._way, error)
        if self._malformed >= MOST_MALFORMED:
            raise error

    async def _follow(self) -> None:
        """One connection, to its end."""
        websocket, self._websocket = self._websocket, None
        if websocket is None:
            websocket = await self._way.open()
            self.stats["reconnections"] += 1
        try:
            self._follower.connected(self._way.decoder(websocket))
            while self._follower.wants_reconnect is None:
                for request in self._follower.to_send():
                    await websocket.send(msgspec.json.encode(request).decode())
                async with asyncio.timeout(SILENCE_S):
                    payload = await websocket.recv()
                if self._follower.receive(payload):
                    self._hand_out()
            log.info("leaving %s: %s", self._way, self._follower.wants_reconnect)
        except ConnectionClosed as error:
            refused = shown_out(error)
            if refused is None:
                raise
            raise refused from error
        finally:
            await websocket.close()

    def _hand_out(self) -> None:
        self._failures = self._malformed = 0
        self.latest = self._follower.snapshot()
        self._states.put(self.latest)

    def _pause(self, asked_s: float) -> float:
        """Seconds until the next attempt: doubling, with jitter so that many bots do not come back at once.

        What the sidecar asks for is waited in full, and the jitter comes on top.
        """
        self._failures += 1
        longest = min(FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 16), LAST_RETRY_S)
        return asked_s + longest * (0.5 + 0.5 * self._rng.random())


class SyncConnection:
    """`Connection` for plain threads: its own loop on a thread of its own, readers wherever they like."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sidecar-client", daemon=True)

    @property
    def latest(self) -> Snapshot | None:
        """The newest state; None before the first."""
        return self._connection.latest

    @property
    def stats(self) -> Counter[str]:
        """As `Connection.stats`."""
        return self._connection.stats

    @property
    def dropped(self) -> int:
        """As `Connection.dropped`."""
        return self._connection.dropped

    def lag(self) -> float:
        """As `Connection.lag`."""
        return self._connection.lag()

    def get(self, timeout: float | None = None) -> Snapshot | None:
        """As `Connection.get`, with its errors."""
        return self._connection.get(timeout)

    def __iter__(self) -> Iterator[Snapshot]:
        while (snapshot := self.get()) is not None:
            yield snapshot

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with self._connection:
                self._started.set()
                await self._stop.wait()
        except VolstreamError as error:  # raised where the block was entered
            self._error = error
        finally:
            self._started.set()


class Way:
    """How to reach one sidecar. Its `repr` and errors show the address, and never the token."""

    def __init__(
        self,
        url: str,
        *,
        encoding: Encoding | None,
        token: str | None,
        ca_file: str | Path | None,
        unix_socket: str | Path | None,
    ) -> None:
        self._url = url
        self._target = target_of(url)
        self._unix_socket = unix_socket
        self._offered = offered(encoding)
        self._headers = None if token is None else {"Authorization": f"Bearer {token}"}
        self._tls = Network(ca_file=ca_file).tls() if self._target.secure else None
        if token is not None and not is_private(self._target, unix_socket):
            raise ConfigError(f"token: {url} is neither wss:// nor on this machine, and the token would be read there")

    def __str__(self) -> str:
        return self._url if self._unix_socket is None else f"{self._unix_socket} ({self._url})"

    __repr__ = __str__

    async def open(self) -> ClientConnection:
        """A connection within `OPEN_S`; no redirect is followed, for the token is for this sidecar alone.

        `ConnectError` where there is none now, `RequestRefused` where there will be none with this token or path.
        """
        options: dict[str, Any] = {
            "additional_headers": self._headers,
            "subprotocols": self._offered,
            "ssl": self._tls,
            "max_size": MAX_MESSAGE,
            "compression": None,
            "open_timeout": OPEN_S,
            "close_timeout": 1,
        }
        if self._unix_socket is not None:
            options |= {"unix": True, "path": str(self._unix_socket)}
        try:
            return await _Straight(self._url, proxy=None, **options)
        except InvalidStatus as error:
            raise refusal(error.response, str(self)) from error
        except (OSError, InvalidHandshake, InvalidURI) as error:
            raise ConnectError(f"no sidecar at {self}: {error}") from error

    def decoder(self, websocket: ClientConnection) -> Decode:
        """By what was agreed on; a sidecar that knows no subprotocols speaks JSON."""
        return DECODERS[websocket.subprotocol or DEFAULT]


class _Straight(open_websocket):
    """Without redirects."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def offered(encoding: Encoding | None) -> list[Subprotocol]:
    """The subprotocols to ask for, the one we want first; JSON is what every sidecar has.

    >>> offered("json")
    ['volstream.v1.json']
    """
    wanted = [Subprotocol(name) for name in DECODERS if encoding is None or name.endswith(f".{encoding}")]
    if not wanted:
        known = ", ".join(name.rpartition(".")[2] for name in DECODERS)
        raise ConfigError(f"encoding: there is no {encoding!r}; there are {known}")
    return wanted


def is_private(target: Target, unix_socket: str | Path | None) -> bool:
    """Whether nobody on the way can read what goes to `target`."""
    return target.secure or target.is_loopback or unix_socket is not None


def connect(
    url: str,
    underlying: str = "BTC",
    *,
    venue: str | None = None,
    expiries: Sequence[str] | int | None = None,
    strikes: Mapping[Literal["count", "percent", "delta"], float] | None = None,
    columns: Sequence[str] | None = None,
    interval_ms: int | None = None,
    encoding: Encoding | None = None,
    token: str | None = None,
    ca_file: str | Path | None = None,
    unix_socket: str | Path | None = None,
    clock: Clock | None = None,
    seed: int | None = None,
) -> Connection:
    """Follow one chain of a sidecar; `ConnectError` on entering when there is none at `url`.

    A token that the sidecar does not take, then or later, ends it with `RequestRefused`: it is not shown again.

    Less of it: `expiries` as "2026-12-25" or "25DEC26" each, or so many of the nearest; `strikes` around each forward,
    as {"count": 10} on each side, {"percent": 20} or {"delta": 0.05}; `columns` of `Snapshot`, whose statuses come
    along; `interval_ms` between two messages, not below the sidecar's own.

    `encoding` is "msgpack" or "json"; by default the quickest that both sides have. `token` is sent as
    `Authorization: Bearer`, over TLS or on this machine only: anything else is a `ConfigError`. `ca_file` (PEM) holds
    the authorities to verify a wss:// sidecar against, by default the system's. `unix_socket` is the path of a
    sidecar's socket; `url` then only names the resource. `seed` fixes the jitter of reconnections.
    """
    narrowed = {
        "underlying": underlying,
        "venue": venue,
        "expiries": {"first": expiries} if isinstance(expiries, int) else expiries and list(expiries),
        "strikes": None if strikes is None else dict(strikes),
        "columns": None if columns is None else list(columns),
        "interval_ms": interval_ms,
    }
    the_clock = clock or SystemClock()
    follower = Follower({name: value for name, value in narrowed.items() if value is not None}, the_clock)
    way = Way(url, encoding=encoding, token=token, ca_file=ca_file, unix_socket=unix_socket)
    return Connection(way, follower, the_clock, random.Random(seed))


def connect_sync(url: str, underlying: str = "BTC", **options: Any) -> SyncConnection:
    """`connect`, with the same options, for bots without asyncio: `with connect_sync(url) as chain: chain.get(1.0)`."""
    return SyncConnection(connect(url, underlying, **options))
