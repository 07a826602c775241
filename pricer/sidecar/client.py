"""A bot's side of the sidecar: the same `Snapshot` that `pricer.live` gives, from another process.

    async with connect("ws://127.0.0.1:8765/v1/stream", underlying="BTC") as chain:
        async for snapshot in chain:
            snapshot["BTC-27DEC26-100000-C"].delta        # a number that may be traded on, or NotTradable

Rows refuse what is not `OK` by the clock of this process: when the sidecar, the network or the sidecar's engine is
gone, numbers turn STALE by themselves within their limits. Messages are checked to follow each other by `seq`; after a
break in the sequence the client asks for a new snapshot, after a break of the connection it connects again.

Surfaces do not travel; `snapshot.surface` is None here.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from pricer.clock import Clock, Instant, SystemClock
from pricer.errors import ConnectError, ProtocolError
from pricer.sidecar.replica import Replica
from pricer.snapshot import Snapshot

log = logging.getLogger("pricer.sidecar.client")

# Twice the largest snapshot seen, of 1,600 options: a bigger message is not from our sidecar.
MAX_MESSAGE = 8 * 1024 * 1024
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 10.0
# The sidecar sends at least a heartbeat every 5 s; longer silence is a dead connection.
SILENCE_S = 12.0


class ServerClock:
    """The sidecar's monotonic clock as far as this process can know it, so that its limits can be held against ours.

    A message cannot arrive before it was sent: the smallest difference (our arrival - its sending) ever seen is the
    best estimate, and a message that arrives later than that was delayed on the way and is as old as that. The
    estimate may creep up by 200 ppm, more than two crystals differ, so that drift does not look like delay.
    """

    CREEP = 2e-4

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ns: int | None = None
        self._seen_ns = 0

    def heard(self, server_mono_ns: int) -> None:
        """A message arrives just now that was sent at `server_mono_ns`."""
        now = self._clock.now().mono_ns
        sample = now - server_mono_ns
        if self._offset_ns is None:
            self._offset_ns = sample
        else:
            self._offset_ns = min(sample, self._offset_ns + round((now - self._seen_ns) * self.CREEP))
        self._seen_ns = now

    def now(self) -> Instant:
        """Our wall clock, and the server's monotonic one."""
        here = self._clock.now()
        return Instant(here.wall_ns, here.mono_ns - (self._offset_ns or 0))


class Connection:
    """A subscription that survives reconnections. `stats` counts gaps, resubscriptions and reconnections."""

    def __init__(self, url: str, underlying: str, venue: str | None, clock: Clock, rng: random.Random) -> None:
        self.stats: Counter[str] = Counter()
        self.latest: Snapshot | None = None
        self._url = url
        self._request = {"op": "subscribe", "channel": "chain", "underlying": underlying}
        if venue is not None:
            self._request["venue"] = venue
        self._clock = clock
        self._rng = rng
        self._websocket: ClientConnection | None = None
        self._replica = Replica(ServerClock(clock))
        self._failures = 0

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except (OSError, InvalidHandshake, InvalidURI) as error:
            raise ConnectError(f"no sidecar at {self._url}: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._websocket is not None:
            await self._websocket.close()

    async def __aiter__(self) -> AsyncIterator[Snapshot]:
        """Every state, newest known; never ends by itself. A request that the sidecar refuses is a `ProtocolError`."""
        while True:
            try:
                async for snapshot in self._states():
                    self._failures = 0
                    self.latest = snapshot
                    yield snapshot
            except (ConnectionClosed, TimeoutError, OSError, InvalidHandshake) as error:
                log.info("the connection to %s ended: %s", self._url, error)
            self.stats["reconnections"] += 1
            await asyncio.sleep(self._pause())

    async def _states(self) -> AsyncIterator[Snapshot]:
        websocket = self._websocket or await self._open()
        try:
            while True:
                async with asyncio.timeout(SILENCE_S):
                    text = await websocket.recv()
                if self._take(orjson.loads(text)):
                    yield self._replica.snapshot()
                elif self._replica.broken:
                    self.stats["resubscriptions"] += 1
                    self._replica.restart()
                    await self._subscribe(websocket)
        finally:
            self._websocket = None
            await websocket.close()

    async def _open(self) -> ClientConnection:
        """Connect, learn the sidecar's clock from a short message, subscribe."""
        websocket = await open_websocket(
            self._url, max_size=MAX_MESSAGE, compression=None, open_timeout=10, close_timeout=1, proxy=None
        )
        self._replica = Replica(ServerClock(self._clock))
        await websocket.send(orjson.dumps({"op": "ping"}).decode())
        await self._subscribe(websocket)
        self._websocket = websocket
        return websocket

    async def _subscribe(self, websocket: ClientConnection) -> None:
        await websocket.send(orjson.dumps(self._request).decode())

    def _take(self, message: dict[str, Any]) -> bool:
        """One message; True when there is a new state."""
        if message["type"] == "error":
            raise ProtocolError(f"the sidecar refuses: {message['code']}: {message['message']}")
        if message["type"] == "gap":
            self.stats["gaps"] += 1
        return self._replica.apply(message)

    def _pause(self) -> float:
        """Seconds until the next attempt: doubling, with full jitter so that many bots do not come back at once."""
        self._failures += 1
        longest = min(FIRST_RETRY_S * 2.0 ** (self._failures - 1), LAST_RETRY_S)
        return longest * (0.5 + 0.5 * self._rng.random())


def connect(
    url: str,
    underlying: str = "BTC",
    *,
    venue: str | None = None,
    clock: Clock | None = None,
    seed: int | None = None,
) -> Connection:
    """Follow one chain of a sidecar; `ConnectError` on entering when there is none at `url`.

    `seed` fixes the jitter of reconnections.
    """
    return Connection(url, underlying, venue, clock or SystemClock(), random.Random(seed))
