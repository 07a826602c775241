"""A venue that sends tickers as fast as the socket takes them: `python -m benchmarks.firehose`, in its own process.

It says its port on one line. To each client it sends FRAMES frames, written once beforehand and joined, so that it is
never what is measured, and answers nothing. Its standard input ends it.
"""

from __future__ import annotations

import asyncio
import struct
import sys

from websockets.asyncio.server import ServerConnection, serve

from benchmarks.venue_frames import tickers
from pricer.clock import SystemClock

FRAMES = 200_000
AT_ONCE = 200


def framed(message: bytes) -> bytes:
    """One unmasked text frame (RFC 6455, section 5.2)."""
    size = len(message)
    head = struct.pack("!BB", 0x81, size) if size < 126 else struct.pack("!BBH", 0x81, 126, size)
    return head + message


async def main() -> None:
    block = b"".join(framed(each) for each in tickers(SystemClock().now(), AT_ONCE))

    async def pour(connection: ServerConnection) -> None:
        transport = connection.transport
        for _ in range(FRAMES // AT_ONCE):
            while transport.get_write_buffer_size() > 2**20:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.0005)
            transport.write(block)
            await asyncio.sleep(0)
        await connection.wait_closed()

    async with serve(pour, "127.0.0.1", 0, ping_interval=None, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.close()


if __name__ == "__main__":
    asyncio.run(main())
