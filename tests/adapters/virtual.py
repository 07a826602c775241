"""Connections without sockets, on the simulator's virtual time: hours of a feed in milliseconds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from pricer.adapters.transport import ConnectionLost
from pricer.simulator.virtual_time import VirtualClock, VirtualTimeLoop, run_on
from tests.adapters.deribit_frames import NOW


def clock_of(loop: VirtualTimeLoop) -> VirtualClock:
    """The feed's clock, from that loop; its wall clock begins where the recorded frames do."""
    return VirtualClock(loop, NOW.wall_ns)


def run_virtually(main: Callable[[VirtualTimeLoop], Coroutine[Any, Any, None]]) -> None:
    """Run `main` to its end on a loop of its own."""
    loop = VirtualTimeLoop()
    run_on(loop, main(loop))


class FakeConnection:
    """The venue's end of a connection as the test sees it: `push` frames, `end` it."""

    def __init__(self, venue: FakeVenue, number: int) -> None:
        self.venue = venue
        self.number = number
        self.opened_s = asyncio.get_running_loop().time()
        self.ended: ConnectionLost | None = None
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()

    def push(self, message: dict[str, Any]) -> None:
        self._frames.put_nowait(json.dumps(message).encode())

    def end(self, lost: ConnectionLost) -> None:
        self.ended = self.ended or lost
        self._frames.put_nowait(None)

    async def recv(self) -> bytes | str:
        frame = await self._frames.get() if self.ended is None else None
        if frame is None:
            raise self.ended or ConnectionLost("eof")
        return frame

    async def send(self, text: str) -> None:
        answer = self.venue.answer(json.loads(text), self)
        if answer is not None:
            self.push(answer)

    async def ping(self) -> None:
        await asyncio.sleep(0.05)

    async def abort(self) -> None:
        self.end(ConnectionLost("shutdown"))

    async def close(self) -> None:
        self.end(ConnectionLost("shutdown"))


class FakeVenue:
    """A transport whose connections come up after 50 ms and answer every call; `refuses` makes them fail instead."""

    def __init__(self) -> None:
        self.attempts_s: list[float] = []
        self.urls: list[str] = []
        self.connections: list[FakeConnection] = []
        self.refuses: Callable[[int], ConnectionLost | None] = lambda attempt: None
        self.is_mute: Callable[[FakeConnection], bool] = lambda connection: False
        self.tickers: Callable[[FakeConnection], Coroutine[Any, Any, None]] | None = None
        self.tasks: list[asyncio.Task[None]] = []

    async def connect(self, url: str) -> FakeConnection:
        self.attempts_s.append(asyncio.get_running_loop().time())
        self.urls.append(url)
        refusal = self.refuses(len(self.attempts_s))
        await asyncio.sleep(0.05)
        if refusal is not None:
            raise refusal
        made = FakeConnection(self, len(self.connections))
        self.connections.append(made)
        if self.tickers is not None:
            self.tasks.append(asyncio.create_task(self.tickers(made)))
        return made

    def answer(self, message: dict[str, Any], connection: FakeConnection) -> dict[str, Any] | None:
        if self.is_mute(connection):
            return None
        method = message["method"].removeprefix("public/")
        lists = {"get_instruments": [], "subscribe": message["params"].get("channels")}
        return {"jsonrpc": "2.0", "id": message["id"], "result": lists.get(method, "ok"), "testnet": False}

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
