"""A real sidecar on a real socket, in the test's own loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed

from pricer.config import Settings
from pricer.sidecar.app import serve
from pricer.sidecar.hub import SnapshotSource
from tests.waiting import PATIENCE_S

# Quick enough for tests; the defaults are for people.
QUICK = {"port": 0, "min_interval_ms": 5, "recheck_ms": 20, "shutdown_s": 1}


@asynccontextmanager
async def running(source: SnapshotSource, **server: Any) -> AsyncIterator[str]:
    """Serve `source`; yields the address, http://host:port/."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    settings = Settings(server=QUICK | server)
    task = asyncio.create_task(serve(source, settings, started=address.set_result))
    task.add_done_callback(lambda _: address.done() or address.cancel())  # it did not even start
    try:
        yield await address
    finally:
        task.cancel()
        await asyncio.wait({task})


def stream_of(address: str) -> str:
    """The WebSocket address of a sidecar."""
    return address.replace("http", "ws") + "v1/stream"


@asynccontextmanager
async def joined(address: str, **more: Any) -> AsyncIterator[ClientConnection]:
    """A raw WebSocket client that has been greeted."""
    more = {"open_timeout": PATIENCE_S, **more}
    async with open_websocket(stream_of(address), proxy=None, compression=None, max_size=None, **more) as websocket:
        await hear(websocket, "welcome")
        yield websocket


async def ask(websocket: ClientConnection, **request: Any) -> dict[str, Any]:
    """Send a request; the next message."""
    await websocket.send(orjson.dumps(request).decode())
    return await hear(websocket)


async def subscribe(websocket: ClientConnection, **more: Any) -> dict[str, Any]:
    """Subscribe to the chain of BTC; the snapshot."""
    return await ask(websocket, op="subscribe", channel="chain", underlying="BTC", **more)


async def hear(websocket: ClientConnection, kind: str | None = None, seconds: float = PATIENCE_S) -> dict[str, Any]:
    """The next message, or the next of a kind."""
    async with asyncio.timeout(seconds):
        while True:
            message: dict[str, Any] = orjson.loads(await websocket.recv())
            if kind == message["type"] or (kind is None and message["type"] != "welcome"):
                return message


async def ended(websocket: ClientConnection) -> tuple[int, str]:
    """Read to the end; the code and the reason that the sidecar gave."""
    async with asyncio.timeout(PATIENCE_S):
        with suppress(ConnectionClosed):
            while True:
                await websocket.recv()
    assert websocket.close_code is not None
    return websocket.close_code, websocket.close_reason or ""
