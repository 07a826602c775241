"""Clients of `python -m benchmarks.sidecar`, in a process of their own, that do as little as a client can.

They join one after another, say `connected`, wait for a line, and then note for so many seconds, or with none until
another line, of each delta when it was computed (in it) and how long it was under way from then, to the end of its last
byte. The last line printed is JSON, a list of both, microseconds. With `--stalls S` it is one client that comes and
goes, in turns of S seconds: while it is there it reads nothing. It prints when it was there.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import socket
import struct
import sys
import time
from array import array
from urllib.parse import urlsplit

import orjson

STAMP = b"computed_ns"
SUBSCRIBE = b'{"op":"subscribe","channel":"chain","underlying":"BTC"}'


def computed_ns(payload: bytes) -> int:
    """The instant in a message, JSON or msgpack, without decoding the rest."""
    at = payload.index(STAMP) + len(STAMP)
    if payload[at] == 0xCF or payload[at] == 0xD3:  # msgpack: uint64 or int64
        return int.from_bytes(payload[at + 1 : at + 9], "big")
    digits = payload[at : at + 32].lstrip(b'": ')
    return int(digits[: next(i for i, byte in enumerate(digits) if not 48 <= byte <= 57)])


class Reader(asyncio.Protocol):
    """One client: finds the frames in what comes, and the instants in deltas."""

    def __init__(self, host: str, subprotocol: str, took: array[int] | None) -> None:
        """`took`: where what was noted goes; nothing is read where there is none."""
        self._host, self._subprotocol, self._took = host, subprotocol, took
        self._buffer = bytearray()
        self.joined = asyncio.get_running_loop().create_future()
        self.measuring = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            "GET /v1/stream HTTP/1.1",
            f"Host: {self._host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {self._subprotocol}",
        )
        transport.write("\r\n".join((*lines, "", "")).encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self.joined.done():
            head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self.joined.set_exception(ConnectionError(head.decode("latin-1")))
                return
            self._buffer = bytearray(rest)
            self._send(0x81, SUBSCRIBE)
            self.joined.set_result(None)
            if self._took is None:
                self._transport.pause_reading()
        self._frames()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError("closed in the handshake"))

    def leave(self) -> None:
        self._transport.abort()

    def _frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) - at >= 2:
            size, start = buffer[at + 1], at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                start += width
                if len(buffer) < start:
                    break
                size = int.from_bytes(buffer[start - width : start], "big")
            if len(buffer) < start + size:
                break
            self._frame(buffer[at], bytes(buffer[start : start + size]))
            at = start + size
        del buffer[:at]

    def _frame(self, first: int, payload: bytes) -> None:
        if first == 0x89:
            self._send(0x8A, payload)
        elif self.measuring and self._took is not None and b"delta" in payload[:24]:
            computed = computed_ns(payload)
            self._took.extend((computed // 1000, (time.time_ns() - computed) // 1000))

    def _send(self, first: int, payload: bytes) -> None:
        self._transport.write(struct.pack(">BBI", first, 0x80 | len(payload), 0) + payload)


async def connected(url: str, subprotocol: str, took: array[int] | None) -> Reader:
    """A client that has asked for the chain; one that reads nothing leaves little to the kernel's buffers."""
    loop, parts = asyncio.get_running_loop(), urlsplit(url)
    raw = socket.socket()
    if took is None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await loop.sock_connect(raw, (parts.hostname, parts.port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _, reader = await loop.create_connection(lambda: Reader(parts.netloc, subprotocol, took), sock=raw)
    await reader.joined
    return reader


async def told_to_begin() -> None:
    print("connected", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def read(url: str, subprotocols: list[str], seconds: float) -> list[list[int]]:
    took: array[int] = array("q")
    readers = [await connected(url, subprotocol, took) for subprotocol in subprotocols]
    await told_to_begin()
    for reader in readers:
        reader.measuring = True
    await (asyncio.sleep(seconds) if seconds else asyncio.to_thread(sys.stdin.readline))
    return [list(pair) for pair in zip(took[::2], took[1::2], strict=True)]


async def come_and_go(url: str, subprotocol: str, seconds: float, turn: float) -> list[list[int]]:
    """Away first; the turns that it was there for, [from, to] in microseconds."""
    await told_to_begin()
    there = []
    for _ in range(int(seconds / (2 * turn))):
        await asyncio.sleep(turn)
        since = time.time_ns()
        reader = await connected(url, subprotocol, None)
        await asyncio.sleep(turn)
        reader.leave()
        there.append([since // 1000, time.time_ns() // 1000])
    return there


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("subprotocols", nargs="+")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--stalls", type=float, metavar="S")
    options = parser.parse_args()
    if options.stalls is None:
        found = asyncio.run(read(options.url, options.subprotocols, options.seconds))
    else:
        found = asyncio.run(come_and_go(options.url, options.subprotocols[0], options.seconds, options.stalls))
    print(orjson.dumps(found).decode(), flush=True)
