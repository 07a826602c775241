"""The other process of `benchmarks.soak`: an embedded Deribit behind a TCP proxy that resets its connections in turn.

`python -m benchmarks.soak_market SECONDS` prints the proxy's address on one line and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys

from pricer.simulator.faults import parse_script
from pricer.simulator.path import Path
from pricer.simulator.proxy import FaultProxy
from pricer.simulator.venues.deribit import DeribitServer

ACTIVITY = 0.2  # twice the usual part of the chain is requoted each step


async def main(reset_every_s: float) -> None:
    path, (reset,) = Path(), parse_script([[0.0, "reset"]])
    async with (
        DeribitServer(seed=7, activity=ACTIVITY, compression=True) as server,
        FaultProxy("127.0.0.1", server.port, path) as proxy,
    ):
        print(f"ws://127.0.0.1:{proxy.port}/ws/api/v2", flush=True)
        reading = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        while not reading.done():
            await asyncio.wait({reading}, timeout=reset_every_s)
            path.begin(0, reset)
            path.end(0, reset)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
