"""Connections end, whatever the other end does: who takes its leave and reads nothing keeps no place."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from pathlib import Path

import httpx
import pytest
import uvicorn

from pricer.clock import SystemClock
from pricer.config import ServerSection
from pricer.sidecar import app, transport
from pricer.sidecar.admission import Admission
from pricer.sidecar.listener import bind
from tests.sidecar.certificates import make
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Market, Source
from tests.sidecar.test_transport import (
    GET,
    HANDSHAKE,
    SUBSCRIBE,
    dialled,
    message,
    metric,
    moving,
    read_to_end,
    status_of,
    until_metric,
)
from tests.waiting import PATIENCE_S

UNREAD = 'volstream_refused_connections_total{stage="unread"}'
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


# ---- a WebSocket on a connection that is stuck already


@pytest.fixture
def small_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes little of an answer, and the rest waits in the sidecar."""

    def narrow(settings: ServerSection) -> socket.socket:
        listener = bind(settings)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # those that it accepts have it, too
        return listener

    monkeypatch.setattr(app, "bind", narrow)


@pytest.mark.usefixtures("small_pipe")
async def test_V01_no_websocket_begins_behind_an_answer_that_is_not_read(source: Source) -> None:
    source.publish(Market(SystemClock(), expiries=12, strikes=60).snapshot())
    chain = b"GET /v1/chain/BTC HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    async with running(source, **PATIENT) as address, dialled(address, chain + HANDSHAKE, 4096) as raw:
        await until_metric(address, UNREAD, 1.0)
        heard = await read_to_end(raw)
        assert heard.count(b"HTTP/1.1 200 ") == 1
        assert heard.count(b"HTTP/1.1 400 ") == 1
        assert heard.count(b"HTTP/1.1 101 ") == 0


def test_V01_a_client_whose_handshake_is_not_sent_yet_waits_for_it() -> None:
    """Its first frames would go straight to a transport that is stuck, and past every bound of its queue."""
    told: list[str] = []

    class Told:
        is_behind = False

        def writable(self) -> None:
            told.append("writable")

        def blocked(self) -> None:
            told.append("blocked")

        def lost(self) -> None:
            told.append("lost")

    link = object.__new__(transport.ClientProtocol)
    link.writable, link._reader = asyncio.Event(), None
    link.attach(Told())
    assert told == ["blocked"]
    link.writable.set()
    link.attach(Told())
    assert told == ["blocked"], "nothing waits: nothing to tell"


async def test_V01_asyncio_tells_a_websocket_that_it_is_stuck_from_its_first_write_on() -> None:
    """Not the HTTP protocol before it, in whose time the answer to the handshake is written."""
    here, there = socket.socketpair()
    with there:
        wire, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, here)
        link = alone(wire)
        link.write(bytes(10_000_000))
        assert not link.writable.is_set()
        wire.abort()


def alone(wire: asyncio.Transport) -> transport.ClientProtocol:
    """A WebSocket before its handshake, without a server or an application."""

    async def nobody(scope: object, receive: object, send: object) -> None: ...

    config = uvicorn.Config(nobody, log_config=None, ws_ping_interval=None)
    config.load()
    link = transport.ClientProtocol(config, uvicorn.server.ServerState(), {}, admission=Admission(ServerSection()))
    link.connection_made(wire)
    return link


# ---- answers and requests that do not end


@pytest.mark.usefixtures("small_pipe")
async def test_V04_a_small_answer_that_nobody_reads_is_not_kept_either(source: Source) -> None:
    """Less than the 64 KiB of which asyncio tells by itself; the connection would close, and wait for ever."""
    asks = b"GET /volstream.proto HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    async with running(source, slow_client_s=0.4) as address, dialled(address, asks, 4096):
        await until_metric(address, UNREAD, 1.0)
        await until_metric(address, "volstream_http_connections", 1.0)  # the one that asks


@pytest.mark.usefixtures("small_pipe")
async def test_V04_so_it_is_over_TLS_where_the_peer_half_closes(source: Source, tmp_path: Path) -> None:
    """What is encrypted already waits below TLS, whose own deadline ends with the peer's last word."""
    made = make(tmp_path)
    trust = ssl.create_default_context(cafile=made.authority)

    def ask_and_half_close(address: str) -> socket.socket:
        url, raw = httpx.URL(address), socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect((url.host, url.port))
        peer = trust.wrap_socket(raw, server_hostname="127.0.0.1")
        peer.sendall(b"GET /volstream.proto HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert peer.recv(1) == b"H"
        peer.shutdown(socket.SHUT_WR)
        return peer

    async with running(source, tls_cert=made.cert, tls_key=made.key, slow_client_s=0.4) as address:
        with await asyncio.to_thread(ask_and_half_close, address):
            await until_metric(address, UNREAD, 1.0, trust)
            await until_metric(address, "volstream_http_connections", 1.0, trust)


async def test_V04_a_body_that_does_not_come_has_a_deadline_also_behind_another_request(source: Source) -> None:
    """It is found when the answer before it is done, and not when bytes come."""
    begun = (
        b"POST /v1/price HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    async with running(source, handshake_timeout_s=0.3) as address:
        async with dialled(address, GET + begun) as raw:
            assert status_of(await read_to_end(raw)) == 200
        assert await metric(address, 'volstream_refused_connections_total{stage="timeout"}') == 1.0
        await until_metric(address, "volstream_http_connections", 1.0)
