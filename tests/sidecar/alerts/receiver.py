"""A webhook's other end on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson


class Receiver:
    """An HTTP server that answers what it is told to, and keeps what it got."""

    def __init__(self, *statuses: str) -> None:
        self._statuses = list(statuses)
        self.bodies: list[dict[str, Any]] = []
        self.got = asyncio.Event()
        self.paths: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.paths.append(head.split()[1])
        length = next(int(line[16:]) for line in head.lower().splitlines() if line.startswith("content-length: "))
        body = orjson.loads(await reader.readexactly(length))
        status = self._statuses.pop(0) if self._statuses else "204 No Content"
        if status.startswith("2"):
            self.bodies.append(body)
            self.got.set()
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async def heard(self, count: int) -> None:
        """Wait until so many deliveries were taken."""
        while len(self.bodies) < count:
            self.got.clear()
            await self.got.wait()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serve; yields the address."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook/secret"
        finally:
            server.close()
            await server.wait_closed()
