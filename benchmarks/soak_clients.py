"""The clients of `benchmarks.soak --clients N`: they come, read for a while or not at all, and go.

`python -m benchmarks.soak_clients ADDRESS N` ends with its standard input.
"""

from __future__ import annotations

import asyncio
import random
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

SUBSCRIBE = '{"op":"subscribe","channel":"chain","underlying":"BTC"}'
LONGEST_STAY_S = 10.0
STALLED = 0.1  # part of the visits


async def visit(url: str, rng: random.Random) -> None:
    """One stay, ended by saying goodbye, by cutting the connection, or by the sidecar."""
    async with connect(url, proxy=None, compression=None, max_size=None, max_queue=4, close_timeout=1) as websocket:
        await websocket.send(SUBSCRIBE)
        stay_s = rng.uniform(0.5, LONGEST_STAY_S)
        if rng.random() < STALLED:
            await asyncio.sleep(stay_s)
            websocket.transport.abort()
            return
        try:
            async with asyncio.timeout(stay_s):
                while True:
                    await websocket.recv()
        except TimeoutError:
            if rng.random() < 0.3:
                websocket.transport.abort()


async def come_and_go(url: str, rng: random.Random) -> None:
    """One place among the clients, taken by one visitor after another."""
    while True:
        try:
            await visit(url, rng)
        except (ConnectionClosed, InvalidHandshake, OSError):
            await asyncio.sleep(0.5)


async def main(url: str, count: int) -> None:
    coming = [asyncio.create_task(come_and_go(url, random.Random(seed))) for seed in range(count)]
    await asyncio.to_thread(sys.stdin.read)
    for task in coming:
        task.cancel()
    await asyncio.wait(coming)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
