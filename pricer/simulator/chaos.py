"""The embedded market under faults for as long as it runs: for demos, and for bots to be tried against.

Clients reach the venue through a TCP proxy whose path has faults, and the venue has faults of its own. Each is told of
in one line as it begins and as it ends. The same seed gives the same faults at the same seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from pricer.errors import ConfigError
from pricer.simulator.faults import Conductor, Fault, Script, random_schedule
from pricer.simulator.path import Path
from pricer.simulator.proxy import FaultProxy
from pricer.simulator.venues.deribit import DeribitServer
from pricer.simulator.venues.deribit.venue import REST_PREFIX, WS_PATH

# Slow enough to watch: a fault every quarter of a minute, each for a few seconds.
FIRST_S, GAP_S, LONGEST_S = 20.0, 15.0, 15.0
# Random scripts are made for so long at a time.
CHAPTER_S = 600.0

Announce = Callable[[str], None]


def telling(fault: Fault, began: bool) -> str:
    """A fault's beginning or end in one line."""
    if not began:
        return f"fault over: {fault.name}"
    return f"fault: {fault} ({fault.kind.what})"


class ChaosMarket:
    """The embedded Deribit behind a proxy, both with faults. `async with ChaosMarket(7, 42, print) as market:`

    `seed` is the market's, `chaos` that of the faults; with `script` just those faults happen. `announce` gets a line
    for each beginning and end.
    """

    def __init__(
        self,
        seed: int,
        chaos: int,
        announce: Announce,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        script: Script | None = None,
        activity: float = 0.1,
    ) -> None:
        if hosted := sorted({each.name for each in script or () if each.kind.where == "host"}):
            raise ConfigError(
                f"fault {hosted[0]!r} is of the pricer's host, on virtual time only: not for a real socket"
            )
        self._server = DeribitServer(seed=seed, activity=activity)
        self._chaos, self._announce, self._script = chaos, announce, script
        self._listen = host, port
        self.venue = self._server.under_faults(chaos)
        self.path = Path(chaos)
        self._stack = contextlib.AsyncExitStack()
        self._conducting: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The WebSocket address, the proxy's."""
        return f"ws://{self.proxy.host}:{self.proxy.port}{WS_PATH}"

    @property
    def http_url(self) -> str:
        """The REST address, the proxy's."""
        return f"http://{self.proxy.host}:{self.proxy.port}{REST_PREFIX.rstrip('/')}"

    async def __aenter__(self) -> ChaosMarket:
        await self._stack.enter_async_context(self._server)
        host, port = self._listen
        self.proxy = FaultProxy(self._server.host, self._server.port, self.path, host=host, listen_port=port)
        try:
            await self._stack.enter_async_context(self.proxy)
        except OSError as error:
            await self._stack.aclose()
            raise ConfigError(f"cannot serve on {host} port {port}: {error.strerror or error}") from error
        self._conducting = asyncio.create_task(self._conduct(), name="chaos")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._conducting is not None:
            self._conducting.cancel()
            await asyncio.gather(self._conducting, return_exceptions=True)
        await self._stack.aclose()

    async def _conduct(self) -> None:
        """One script after another, for ever; a given one once."""
        if self._script is not None:
            await self._play(self._script)
            return
        chapter = 0
        while True:
            seed = self._chaos + chapter * 1_000_003
            await self._play(random_schedule(seed, CHAPTER_S, first_s=FIRST_S, gap_s=GAP_S, longest_s=LONGEST_S))
            chapter += 1

    async def _play(self, script: Script) -> None:
        loop = asyncio.get_running_loop()
        conductor = Conductor(script, {"venue": self.venue, "path": self.path}, self._tell)
        began_s = loop.time()
        while (at_s := conductor.next_s) is not None:
            await asyncio.sleep(max(began_s + at_s - loop.time(), 0.0))
            conductor.advance(loop.time() - began_s)

    def _tell(self, fault: Fault, began: bool) -> None:
        self._announce(telling(fault, began))
