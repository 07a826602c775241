"""The servers that `python -m benchmarks.sidecar` compares, each in a process of its own.

`volstream` is the sidecar over a chain made by hand of which one expiry moves each tick. `broadcast` and `starlette`
send the very bytes that the sidecar sends for such a tick, made beforehand but for the instant in them: they take no
picture, find no difference and encode nothing.

Each prints its address, then for every line on standard input what it has used so far, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.server import ServerConnection, broadcast
from websockets.asyncio.server import serve as serve_websockets
from websockets.typing import Subprotocol

from benchmarks.sidecar_clients import STAMP
from pricer.clock import SystemClock
from pricer.config import Settings
from pricer.sidecar.app import serve
from pricer.sidecar.channels import CHANNELS
from pricer.sidecar.channels import Market as Known
from pricer.sidecar.encodings import JSON, MSGPACK, Encoding
from pricer.sidecar.messages import Message
from pricer.sidecar.protocol import StreamKey, about
from pricer.snapshot import FIRST_MODEL, Snapshot
from tests.handmade import FORWARD_MAX_AGE
from tests.sidecar.snapshots import Market, Source, forward_price

EXPIRIES, STRIKES = 13, 38  # 988 options, as many as Deribit lists for BTC
KEY = StreamKey("chain", "deribit", "BTC")
# What the clients take turns at.
ENCODINGS: dict[str, Encoding] = {encoding.subprotocol: encoding for encoding in (JSON, MSGPACK)}


class Moving:
    """The chain; `tick` re-prices one expiry, as a quote that refits its smile does."""

    def __init__(self) -> None:
        self.market = Market(SystemClock(), EXPIRIES, STRIKES)
        self._turn = 0

    def tick(self) -> Snapshot:
        market, place = self.market, self._turn % EXPIRIES
        self._turn += 1
        now, block = market.clock.now(), market.blocks[place]
        values = block.values.copy()
        values[FIRST_MODEL:] *= 1.0 + 1e-4 * (1 + self._turn % 7)
        market.blocks[place] = replace(
            block,
            values=values,
            forward=forward_price(block.forward.value, now),
            model_valid_until_ns=now.mono_ns + 3600 * FORWARD_MAX_AGE,
            computed=now,
            version=block.version + 1,
        )
        return market.snapshot()


def payloads() -> dict[str, Callable[[int], bytes]]:
    """What the sidecar sends for a tick, by subprotocol; each call puts its instant, UTC nanoseconds, into it.

    Of the encodings that name their fields: in the others clients do not find the instant without decoding.
    """
    moving, channel = Moving(), CHANNELS["chain"]
    first = channel.take(Known(moving.tick(), None, 9), KEY)
    snapshot = moving.tick()
    content = channel.take(Known(snapshot, None, 9), KEY, first).since(first)
    message = Message(about(KEY, "delta", 2) | content.head, content.columns, content.rows)
    bodies = {name: message.encoded(encoding) for name, encoding in ENCODINGS.items()}
    return {name: stamped(body, snapshot.computed.wall_ns) for name, body in bodies.items() if STAMP in body}


def stamped(body: bytes, then: int) -> Callable[[int], bytes]:
    """A maker of the same message with another instant wherever `then` stands."""
    as_text = str(then).encode()
    if as_text in body:
        pieces = body.split(as_text)
        return lambda now: str(now).encode().join(pieces)
    pieces = body.split(then.to_bytes(8, "big"))
    return lambda now: now.to_bytes(8, "big").join(pieces)


async def volstream(rate: float) -> None:
    moving, source = Moving(), Source()
    source.publish(moving.tick())
    limits = {"port": 0, "min_interval_ms": 0, "max_clients": 2000, "max_clients_per_address": 2000}
    serving = asyncio.create_task(serve(source, Settings(server=limits), started=lambda at: tell(at)))
    async for _ in ticks(rate):
        source.publish(moving.tick())
        if serving.done():
            break
    serving.cancel()
    await asyncio.wait({serving})


async def plain_broadcast(rate: float) -> None:
    made = payloads()
    joined: dict[str, set[ServerConnection]] = {name: set() for name in made}

    async def stay(connection: ServerConnection) -> None:
        group = joined[connection.subprotocol or next(iter(made))]
        group.add(connection)
        with contextlib.suppress(Exception):
            async for _ in connection:
                pass
        group.discard(connection)

    names = [Subprotocol(name) for name in made]
    async with serve_websockets(stay, "127.0.0.1", 0, compression=None, subprotocols=names) as server:
        tell(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        async for _ in ticks(rate):
            now = time.time_ns()  # one tick for all of them, as it is one for the sidecar
            for name, make in made.items():
                broadcast(joined[name], make(now), text=ENCODINGS[name].is_text)


async def starlette_loop(rate: float) -> None:
    made = payloads()
    joined: dict[str, set[WebSocket]] = {name: set() for name in made}

    async def stay(websocket: WebSocket) -> None:
        name = (websocket.scope["subprotocols"] or list(made))[0]
        await websocket.accept(name)
        joined[name].add(websocket)
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await websocket.receive_text()
        joined[name].discard(websocket)

    app = Starlette(routes=[WebSocketRoute("/v1/stream", stay)])
    config = uvicorn.Config(
        app, port=0, ws="websockets-sansio", ws_per_message_deflate=False, lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 # uvicorn has no event for it
            await asyncio.sleep(0.01)
    tell(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/")
    async for _ in ticks(rate):
        now = time.time_ns()
        for name, make in made.items():
            payload, is_text = make(now), ENCODINGS[name].is_text
            text = payload.decode() if is_text else ""
            for websocket in tuple(joined[name]):
                with contextlib.suppress(WebSocketDisconnect):
                    await (websocket.send_text(text) if is_text else websocket.send_bytes(payload))
    server.should_exit = True
    for websocket in tuple(itertools.chain.from_iterable(joined.values())):
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # gone, or closed twice
            await websocket.close()
    await serving


async def ticks(rate: float) -> AsyncIterator[None]:
    """So many a second, until standard input ends; its lines are answered meanwhile."""
    ended = asyncio.create_task(answer())
    due = time.monotonic()
    while not ended.done():
        due = max(due + 1.0 / rate, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
        yield


async def answer() -> None:
    while await asyncio.to_thread(sys.stdin.readline):
        tell(orjson.dumps({"cpu_s": time.process_time(), "rss": resident()}).decode())


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tell(line: object) -> None:
    print(line, flush=True)


SERVERS = {"volstream": volstream, "broadcast": plain_broadcast, "starlette": starlette_loop}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    if options.uvloop:
        import uvloop  # beside its use: it is an extra

        uvloop.run(SERVERS[options.server](options.rate))
    else:
        asyncio.run(SERVERS[options.server](options.rate))
