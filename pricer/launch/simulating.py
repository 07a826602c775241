"""`simulate`: the embedded venue alone."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pricer.errors import ConfigError
from pricer.launch.plan import stop_on_signals

VENUES = ("deribit",)


@dataclass(frozen=True)
class Faulty:
    """Faults for the embedded venue: random ones by seed, or those of a file."""

    seed: int = 0
    file: Path | None = None


async def simulate(
    venue: str,
    port: int,
    host: str,
    seed: int,
    announce: Callable[[str, str], None],
    *,
    child: bool,
    faulty: Faulty | None = None,
) -> None:
    """The embedded venue alone, until stopped; a child also stops when its standard input ends."""
    from pricer.simulator.chaos import ChaosMarket
    from pricer.simulator.faults import load_script
    from pricer.simulator.venues.deribit import DeribitServer

    if venue not in VENUES:
        raise ConfigError(f"there is no embedded venue {venue!r}; there are: {', '.join(VENUES)}")

    def tell(text: str) -> None:
        print(text, flush=True)

    market: DeribitServer | ChaosMarket = DeribitServer(seed=seed, host=host, port=port)
    if faulty is not None:
        script = None if faulty.file is None else load_script(faulty.file)
        market = ChaosMarket(seed, faulty.seed, tell, host=host, port=port, script=script)
    with stop_on_signals() as stop:
        async with market as server:
            announce(server.url, server.http_url)
            reading = asyncio.create_task(_stop_with_input(stop)) if child else None
            await stop.wait()
            if reading is not None:
                reading.cancel()


async def _stop_with_input(stop: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass
    stop.set()
