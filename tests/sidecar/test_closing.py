"""Connections end, whatever the other end does: who takes its leave and reads nothing keeps no place."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import pytest

from pricer.clock import SystemClock
from pricer.sidecar import transport
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Market, Source
from tests.sidecar.test_transport import HANDSHAKE, SUBSCRIBE, dialled, message, metric, moving, status_of
from tests.waiting import PATIENCE_S

# What could end a connection by itself, too, and must not be what ends it here.
PATIENT = {"slow_client_s": 600.0, "ping_s": 8.0}


async def until_behind(raw: socket.socket, address: str, market: Market, source: Source) -> None:
    """Subscribe and read nothing until the sidecar cannot send more."""
    await asyncio.get_running_loop().sock_sendall(raw, message(SUBSCRIBE))
    ticking = asyncio.create_task(moving(market, source))
    started = time.monotonic()
    while not await metric(address, "volstream_queue_bytes"):
        assert time.monotonic() - started < PATIENCE_S, "everything was sent"
        await asyncio.sleep(0.05)
    ticking.cancel()


async def until_there_is_a_place(address: str) -> None:
    """Knock until somebody else is let in."""
    heard, started = 503, time.monotonic()
    while heard == 503:
        assert time.monotonic() - started < PATIENCE_S, "its place is not given back"
        async with dialled(address, HANDSHAKE) as raw:
            heard = status_of(await asyncio.get_running_loop().sock_recv(raw, 1024))
        await asyncio.sleep(0.05)
    assert heard == 101


@pytest.mark.parametrize("leave", ["says so", "half-closes", "sends nonsense"])
async def test_V02_who_takes_its_leave_and_reads_nothing_keeps_no_place(
    source: Source, monkeypatch: pytest.MonkeyPatch, leave: str
) -> None:
    monkeypatch.setattr(transport, "LINGER_S", 0.2)
    market = Market(SystemClock(), expiries=6, strikes=40)
    source.publish(market.snapshot())
    async with running(source, max_clients=1, **PATIENT) as address, dialled(address, HANDSHAKE, 4096) as raw:
        loop = asyncio.get_running_loop()
        assert status_of(await loop.sock_recv(raw, 1024)) == 101
        await until_behind(raw, address, market, source)
        if leave == "says so":
            await loop.sock_sendall(raw, message(struct.pack(">H", 1000), 0x88))
        elif leave == "half-closes":
            raw.shutdown(socket.SHUT_WR)
        else:
            await loop.sock_sendall(raw, b"\xff\xff" + bytes(20))
        await until_there_is_a_place(address)
