"""A TCP proxy whose path has faults: real sockets on both sides, and a `Path` between them.

Bytes are read only while the lane has room, so that a narrow or blocked path is felt by the sender as it would be
from a real network. A black hole holds back ends as well as bytes: neither side hears of the other until it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from typing import Self

from pricer.simulator.path import End, Lane, Path

CHUNK_BYTES = 16 * 1024
# A capped path is fed in chunks of this many seconds, so that it trickles.
TRICKLE_S = 0.02
# What the kernel and asyncio may hold beyond a lane is small, or a capped path would not be felt by its sender.
SOCKET_BYTES = 32 * 1024

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FaultProxy:
    """Listens on `host` and passes all to `to_host`:`to_port`, as `path` lets it; used by `async with`.

    `counters`: "connections", "refused", and "bytes.up" and "bytes.down" as they were passed on.
    """

    def __init__(
        self, to_host: str, to_port: int, path: Path | None = None, *, host: str = "127.0.0.1", listen_port: int = 0
    ) -> None:
        self.path = path or Path()
        self.counters: Counter[str] = Counter()
        self.host, self.port = host, listen_port
        self._to = to_host, to_port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.path.use_clock(asyncio.get_running_loop().time)
        self._server = await asyncio.start_server(self._accept, self.host, self.port, limit=CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._pass_on((reader, writer))
        except asyncio.CancelledError:
            pass  # asyncio would report the cancelled task of a connection as an error
        finally:
            self._tasks.discard(task)
            _end(writer, "reset")

    async def _pass_on(self, near: Stream) -> None:
        if self.path.weather.unreachable:
            self.counters["refused"] += 1
            return
        try:
            far = await asyncio.open_connection(*self._to, limit=CHUNK_BYTES)
        except OSError:
            self.counters["refused"] += 1
            return
        self.counters["connections"] += 1
        try:
            await _Connection(self.path, self.counters, near, far).run()
        finally:
            _end(far[1], "reset")


class _Connection:
    """Two sockets and the link between them."""

    def __init__(self, path: Path, counters: Counter[str], near: Stream, far: Stream) -> None:
        self.path, self.counters = path, counters
        self.link = path.join(self.end, self._stir)
        self._writers = near[1], far[1]
        self._up = _Direction(self, near[0], self.link.up, far[1])
        self._down = _Direction(self, far[0], self.link.down, near[1])
        self._ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        for writer in self._writers:
            writer.transport.set_write_buffer_limits(SOCKET_BYTES)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)

    async def run(self) -> None:
        """Until both sides, or the path, have ended it."""
        both = asyncio.gather(self._up.run(), self._down.run())
        how: End = "fin"
        try:
            await asyncio.wait((both, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                how = self._ended.result()
        finally:
            self.path.leave(self.link)
            both.cancel()
            await asyncio.gather(both, return_exceptions=True)
            for writer in self._writers:
                _end(writer, how)

    def end(self, how: End) -> None:
        """Both sides are to be ended."""
        if not self._ended.done():
            self._ended.set_result(how)

    def _stir(self) -> None:
        self._up.stirred.set()
        self._down.stirred.set()


class _Direction:
    """Reads on one side while the lane has room, writes on the other when it is time."""

    def __init__(
        self, connection: _Connection, reader: asyncio.StreamReader, lane: Lane, writer: asyncio.StreamWriter
    ) -> None:
        self.stirred = asyncio.Event()  # there are new bytes, or the weather is another
        self._room = asyncio.Event()
        self._connection = connection
        self._reader, self._lane, self._writer = reader, lane, writer
        self._is_down = lane is connection.link.down
        self._how_ended: End | None = None
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Until the sender has ended and all that it sent has been passed on, its end included."""
        reading = asyncio.create_task(self._read())
        try:
            while self._how_ended is None or len(self._lane):
                await self._wait()
                await self._write()
            while self._connection.path.is_hole("down" if self._is_down else "up"):
                self.stirred.clear()
                await self.stirred.wait()
            await asyncio.sleep(self._connection.path.weather.late_close_s)
            if self._how_ended == "reset":
                self._connection.end("reset")
            else:
                self._writer.write_eof()
        except OSError:  # the receiver is gone: the sender is told
            self._connection.end("reset")
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self) -> None:
        while self._how_ended is None:
            try:
                data = await self._reader.read(self._chunk_bytes())
            except OSError:
                self._how_ended = "reset"
            else:
                if not data:
                    self._how_ended = "fin"
                self._lane.push(data, self._loop.time())
            self.stirred.set()
            while self._lane.is_full:
                self._room.clear()
                await self._room.wait()

    def _chunk_bytes(self) -> int:
        return int(max(1, min(CHUNK_BYTES, self._connection.path.weather.bytes_per_s * TRICKLE_S)))

    async def _wait(self) -> None:
        """Until bytes may be due; while the way is blocked, until the weather changes."""
        due_s = self._lane.next_s(self._loop.time())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(due_s):
                await self.stirred.wait()
        self.stirred.clear()

    async def _write(self) -> None:
        link = self._connection.link
        for piece in self._lane.take(self._loop.time()):
            passed = link.passed_down(piece) if self._is_down else piece
            self._writer.write(passed)
            await self._writer.drain()
            self._connection.counters["bytes.down" if self._is_down else "bytes.up"] += len(passed)
            if self._is_down and link.is_cut:
                self._connection.end("fin")
                return
            if len(piece) < CHUNK_BYTES:
                await asyncio.sleep(0)  # so that a small piece is read by itself
        self._room.set()


def _end(writer: asyncio.StreamWriter, how: End) -> None:
    """End a socket: by RST, or by FIN after what is still to be written."""
    if writer.is_closing():
        return
    if how == "reset":
        raw = writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()
