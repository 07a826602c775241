"""Real sockets on the loopback: a small venue, the simulator's TCP proxy before it, and a feed with its events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from pricer.adapters.deribit import Deribit
from pricer.adapters.deribit.instruments import OptionName
from pricer.adapters.events import AnyEvent, FeedStatus
from pricer.adapters.feed import Feed
from pricer.adapters.limits import FeedLimits
from pricer.adapters.network import Network
from pricer.adapters.transport import Transport
from pricer.adapters.transports import transport_of
from pricer.clock import NS_PER_SECOND, Instant, SystemClock
from pricer.conventions import NS_PER_DAY
from pricer.simulator.faults import Fault, fault
from pricer.simulator.proxy import FaultProxy
from tests.adapters.deribit_frames import options
from tests.waiting import PATIENCE_S, Hurried

# Patience of tests; the defaults are asserted on virtual time. An answer to a ping may take as long as a busy machine
# needs for it, but where it is what the test waits for.
QUICK = FeedLimits(
    ping_interval_s=0.1, ping_timeout_s=30.0, close_timeout_s=0.3, backoff_first_s=0.05, backoff_cap_s=0.2
)
IMPATIENT = replace(QUICK, ping_timeout_s=1.0)


def listed(count: int) -> list[dict[str, Any]]:
    """Instrument objects of `count` calls that will be alive for half a year, by the system's clock."""
    expiry_ns = (SystemClock().now().wall_ns // NS_PER_DAY + 200) * NS_PER_DAY + 8 * 3600 * NS_PER_SECOND
    template = options(1)[0]
    names = [str(OptionName("BTC", "", expiry_ns, Decimal(strike), 1)) for strike in range(1000, 1000 + count)]
    return [
        {
            **template,
            "instrument_name": name,
            "strike": float(name.split("-")[2]),
            "expiration_timestamp": expiry_ns // 10**6,
        }
        for name in names
    ]


class SmallVenue:
    """Speaks enough of the venue's protocol to bring a session up; `script` then does as it likes with it."""

    def __init__(self, script: Callable[[ServerConnection], Awaitable[None]] | None = None) -> None:
        self.script = script
        self.instruments: list[dict[str, Any]] = []
        self.connections: list[ServerConnection] = []
        self.asked: list[dict[str, Any]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/api/v2"

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[SmallVenue]:
        async with serve(self._handle, "127.0.0.1", port, ssl=tls, ping_interval=None, close_timeout=0.2) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    async def _handle(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        scripted = None if self.script is None else asyncio.ensure_future(self.script(connection))
        try:
            async for text in connection:
                message = json.loads(text)
                self.asked.append(message)
                await connection.send(json.dumps(self._answer(message)))
        except ConnectionClosed:
            pass
        finally:
            if scripted is not None:
                scripted.cancel()

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        method = message["method"].removeprefix("public/")
        lists = {"get_instruments": self.instruments, "subscribe": message["params"].get("channels")}
        return {"jsonrpc": "2.0", "id": message["id"], "result": lists.get(method, "ok"), "testnet": False}


class Proxy(FaultProxy):
    """The simulator's TCP proxy before a small venue; its faults last until they are healed."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self._lasting: list[Fault] = []

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/api/v2"

    def reset(self) -> None:
        """A TCP reset on every connection."""
        once = fault(0.0, "reset")
        self.path.begin(id(once), once)
        self.path.end(id(once), once)

    def black_hole(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._last("black_hole")

    def drop_upstream(self) -> None:
        """From now on nothing of ours reaches the venue, while all of the venue's reaches us."""
        self._last("black_hole", direction="up")

    def slice(self) -> None:
        """From now on every byte comes by itself."""
        self._last("slice", bytes=1)

    def heal(self) -> None:
        """Bytes pass again, those that were held back first."""
        while self._lasting:
            over = self._lasting.pop()
            self.path.end(id(over), over)

    def _last(self, name: str, **parameters: Any) -> None:
        begun = fault(0.0, name, **parameters)
        self._lasting.append(begun)
        self.path.begin(id(begun), begun)


class Watched:
    """A feed under test with all that it delivered."""

    def __init__(
        self,
        url: str,
        *,
        limits: FeedLimits = QUICK,
        adapter: Deribit | None = None,
        transport: Transport | None = None,
        transport_name: Any = "websockets",
        network: Network | None = None,
        compression: bool = False,
        **more: Any,
    ) -> None:
        self.adapter = adapter or Deribit()
        self.events: list[AnyEvent] = []
        self.instants: list[Instant] = []
        self.clock = Hurried()
        self.feed = Feed(
            self.adapter,
            url,
            deliver=more.pop("deliver", self._deliver),
            clock=self.clock,
            rng=random.Random(1),
            limits=limits,
            transport=transport or transport_of(transport_name, limits, network, compression=compression),
            **more,
        )
        self.task: asyncio.Task[None] | None = None

    def _deliver(self, events: list[AnyEvent], now: Instant) -> None:
        self.events += events
        self.instants.append(now)

    @property
    def statuses(self) -> list[FeedStatus]:
        return [event for event in self.events if isinstance(event, FeedStatus)]

    @property
    def losses(self) -> list[FeedStatus]:
        """Only how connections, or attempts, ended."""
        return [status for status in self.statuses if status.state == "closed"]

    def count(self, state: str) -> int:
        """How often the connection came into `state`."""
        return sum(status.state == state for status in self.statuses)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Watched]:
        self.task = asyncio.create_task(self.feed.run())
        try:
            yield self
        finally:
            await asyncio.wait_for(self.feed.close(), PATIENCE_S)
            await self.task


Watch = Callable[..., Watched]
