"""Strangers at the door: floods, half requests, peers that never read; over real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidStatus

from pricer.clock import SystemClock
from pricer.config import ServerSection
from pricer.sidecar import transport
from pricer.sidecar.app import Server, _uvicorn, address_of, bind, create_app
from pricer.sidecar.hub import Hub
from pricer.sidecar.protocol import StreamKey
from tests.sidecar.serving import ask, ended, hear, joined, running, stream_of, subscribe
from tests.sidecar.snapshots import Market, Source
from tests.waiting import PATIENCE_S

HANDSHAKE = (
    b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SUBSCRIBE = b'{"op":"subscribe","channel":"chain","underlying":"BTC"}'
GET = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@asynccontextmanager
async def dialled(address: str, first: bytes = b"", receive_buffer: int = 0) -> AsyncIterator[socket.socket]:
    """A raw connection that sends `first`."""
    loop, url = asyncio.get_running_loop(), httpx.URL(address)
    with socket.socket() as raw:
        if receive_buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        raw.setblocking(False)
        await loop.sock_connect(raw, (url.host, url.port))
        await loop.sock_sendall(raw, first)
        yield raw


async def read_to_end(raw: socket.socket, seconds: float = PATIENCE_S) -> bytes:
    """All that the server says before it hangs up; a reset ends it, too."""
    loop, heard = asyncio.get_running_loop(), b""
    with suppress(ConnectionResetError):
        async with asyncio.timeout(seconds):
            while piece := await loop.sock_recv(raw, 65_536):
                heard += piece
    return heard


def status_of(heard: bytes) -> int:
    """Of an HTTP answer; 0 where there was none."""
    return int(heard.split(b" ", 2)[1]) if heard.startswith(b"HTTP/1.1 ") else 0


def message(payload: bytes, first: int = 0x81) -> bytes:
    """A client's frame, with a mask of zeros."""
    head = struct.pack(">BB", first, 0x80 | len(payload)) if len(payload) < 126 else b""
    return (head or struct.pack(">BBH", first, 0xFE, len(payload))) + bytes(4) + payload


async def metric(address: str, name: str, trust: ssl.SSLContext | None = None) -> float:
    async with httpx.AsyncClient(timeout=60, trust_env=False, verify=trust or False) as client:
        text = (await client.get(address + "metrics")).text
    return float(next(line for line in text.splitlines() if line.startswith(name + " ")).split()[-1])


async def until_metric(address: str, name: str, value: float, trust: ssl.SSLContext | None = None) -> None:
    """Wait for it."""
    started = time.monotonic()
    while await metric(address, name, trust) != value:
        assert time.monotonic() - started < PATIENCE_S, f"{name} did not become {value}"
        await asyncio.sleep(0.05)


async def moving(market: Market, source: Source, seconds: float = 3600.0) -> None:
    for _ in range(round(seconds / 0.01)):
        market.move()
        source.publish(market.snapshot())
        await asyncio.sleep(0.01)


# ---- peers that do not read


async def test_V02_dead_clients_are_dropped_by_ping_and_by_deadline(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LINGER_S", 0.2)
    market = Market(SystemClock(), expiries=6, strikes=40)  # who does not read is behind after a few messages
    source.publish(market.snapshot())
    limits = {"ping_s": 1.0, "slow_client_s": 2.0, "queue_soft_bytes": 200_000}
    async with running(source, **limits) as address, joined(address) as alive:
        await subscribe(alive)
        async with dialled(address, HANDSHAKE, 4096) as idle, dialled(address, HANDSHAKE, 4096) as reading:
            loop = asyncio.get_running_loop()
            assert b" 101 " in await loop.sock_recv(idle, 1024)
            assert b" 101 " in await loop.sock_recv(reading, 1024)
            await loop.sock_sendall(reading, message(SUBSCRIBE))
            ticking = asyncio.create_task(moving(market, source))
            living = asyncio.create_task(drain(alive))
            await until_metric(address, "volstream_clients", 1.0)
            ticking.cancel()
            # Both are cut after a moment: one was told why, the other had not read what came before that.
            assert struct.pack(">H", 1011) + b"keepalive ping timeout" in await read_to_end(idle)
            await asyncio.sleep(0.3)
            assert b"behind for more than 2 s" not in await read_to_end(reading)
        assert not living.done(), "nobody else was"
        living.cancel()
        assert await metric(address, 'volstream_clients_closed_total{stage="slow_client"}') == 1.0
        assert await metric(address, "volstream_queue_bytes") == 0.0


async def drain(websocket: ClientConnection) -> None:
    async for _ in websocket:
        pass


async def test_V05_a_flood_of_pings_ends_its_sender(source: Source) -> None:
    async with running(source) as address, dialled(address, HANDSHAKE) as raw:
        loop = asyncio.get_running_loop()
        await loop.sock_recv(raw, 4096)
        await loop.sock_sendall(raw, message(b"?", 0x89) * 50)
        assert b"\x8a\x01?" in await loop.sock_recv(raw, 4096), "some are answered"
        await loop.sock_sendall(raw, message(b"?", 0x89) * 300)
        heard = await read_to_end(raw)
        assert struct.pack(">H", 1008) + b"too many control frames" in heard
        await until_metric(address, "volstream_clients", 0.0)


async def test_V05_a_message_in_endless_pieces_is_refused(source: Source) -> None:
    async with running(source) as address, dialled(address, HANDSHAKE) as raw:
        loop = asyncio.get_running_loop()
        await loop.sock_recv(raw, 4096)
        await loop.sock_sendall(raw, message(b"{", 0x01) + message(b"", 0x00) * 2000)
        heard = await read_to_end(raw)
        assert struct.pack(">H", 1008) in heard or struct.pack(">H", 1009) in heard


async def test_a_frame_that_is_no_websocket_frame_ends_only_its_sender(source: Source) -> None:
    async with running(source) as address, joined(address) as other, dialled(address, HANDSHAKE) as raw:
        loop = asyncio.get_running_loop()
        await loop.sock_recv(raw, 4096)
        await loop.sock_sendall(raw, b"\xff\xff" + bytes(20))
        assert struct.pack(">H", 1002) in await read_to_end(raw)
        assert (await ask(other, op="ping"))["type"] == "pong"


# ---- too many


async def test_V03_a_thousand_connects_at_once_are_refused_while_clients_are_served(
    source: Source, market: Market
) -> None:
    async with running(source, max_clients_per_address=60) as address, joined(address) as early:
        await subscribe(early)
        found: Counter[int] = Counter()
        ready, end = asyncio.Event(), asyncio.Event()

        async def knock() -> None:
            async with dialled(address, HANDSHAKE) as raw:
                try:
                    heard = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(raw, 1024), 100)
                except ConnectionResetError:
                    heard = b""
                found[status_of(heard)] += 1
                if found.total() == 1000:
                    ready.set()
                await end.wait()

        ticking = asyncio.create_task(moving(market, source))
        knocking = [asyncio.create_task(knock()) for _ in range(1000)]
        seqs = []
        while not ready.is_set():
            seqs.append((await hear(early, "delta", 100))["seq"])
        assert await metric(address, "volstream_clients") <= 60.0
        end.set()
        await asyncio.gather(*knocking)
        ticking.cancel()
        await until_metric(address, "volstream_clients", 1.0)
        assert await metric(address, 'volstream_refused_connections_total{stage="address"}') >= 940.0
        async with joined(address) as late:  # and places are given back
            assert (await ask(late, op="ping"))["type"] == "pong"
    assert found[101] == 59
    assert found[503] + found[0] == 941
    assert found[503] > 900, "told, not only cut"
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert len(seqs) > 5, "ticks came during the flood"


# ---- half requests, and requests without end


async def test_V04_slow_handshakes_endless_headers_and_huge_urls_are_refused(source: Source) -> None:
    async with running(source, handshake_timeout_s=1.5) as address:
        loop = asyncio.get_running_loop()

        async def silence() -> bytes:
            async with dialled(address) as raw:
                return await read_to_end(raw)

        async def drip() -> bytes:
            async with dialled(address) as raw:
                reading = asyncio.create_task(read_to_end(raw))
                for place in range(len(HANDSHAKE)):
                    if reading.done():
                        break
                    await loop.sock_sendall(raw, HANDSHAKE[place : place + 1])
                    await asyncio.sleep(0.02)
                return await reading

        async def second_drips() -> bytes:
            async with dialled(address, GET) as raw:
                assert status_of(await loop.sock_recv(raw, 4096)) == 200
                await loop.sock_sendall(raw, GET[:10])
                return await read_to_end(raw)

        async def stays_idle() -> bytes:
            async with dialled(address, GET) as raw:
                assert status_of(await loop.sock_recv(raw, 4096)) == 200
                return await read_to_end(raw)

        async def body_that_does_not_come() -> bytes:
            start = b"POST /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"
            async with dialled(address, start) as raw:
                return await read_to_end(raw)

        async def say(text: bytes) -> bytes:
            async with dialled(address) as raw:
                with suppress(ConnectionResetError, BrokenPipeError):
                    await loop.sock_sendall(raw, text)
                return await read_to_end(raw)

        host = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        upgrade = HANDSHAKE.partition(b"\r\n")[2]
        expected = [
            (silence(), 408),
            (drip(), 408),
            (second_drips(), 408),
            (stays_idle(), 0),  # closed without a word, as is usual
            (body_that_does_not_come(), 405),  # answered before the body, then closed
            (say(b"GET /" + b"a" * 100_000), 414),
            (say(b"GET /" + b"a" * 60_000 + host + b"\r\n"), 414),
            (say(b"GET /v1/stream?" + b"a" * 10_000 + b" HTTP/1.1\r\n" + upgrade), 414),
            (say(b"GET /" + host + b"X: y\r\n" * 50_000), 431),
            (say(b"GET /" + host + b"X: " + b"y" * 100_000), 431),
            (say(HANDSHAKE[:-2] + b"X: y\r\n" * 200 + b"\r\n"), 431),
            (say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), 400),
            (say(b"GET / HTTP/1.1\r\n\r\n"), 400),
        ]
        answers = await asyncio.gather(*(work for work, _ in expected))
        assert [status_of(heard) for heard in answers] == [status for _, status in expected]
        assert await metric(address, 'volstream_refused_connections_total{stage="timeout"}') >= 3.0
        await until_metric(address, "volstream_http_connections", 1.0)  # the one that asks


async def test_V04_an_answer_that_nobody_reads_is_not_kept(source: Source) -> None:
    market = Market(SystemClock(), expiries=12, strikes=60)
    source.publish(market.snapshot())
    async with running(source, slow_client_s=0.4) as address:
        request = b"GET /v1/chain/BTC HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        async with dialled(address, request * 8, receive_buffer=4096):
            await until_metric(address, 'volstream_refused_connections_total{stage="unread"}', 1.0)


async def test_V04_frames_reach_clients_over_TLS_also_those_that_were_behind(
    source: Source, market: Market, certificates: Path
) -> None:
    hub = Hub(
        source,
        ServerSection(min_interval_ms=1, recheck_ms=20, handshake_timeout_s=1.0),
        venue="deribit",
        underlyings=["BTC"],
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "good.pem", certificates / "good.key")
    config = _uvicorn(create_app(hub), hub, context)
    listener = bind(ServerSection(port=0))
    server = Server(config, 1.0)
    serving, publishing = asyncio.create_task(server.serve([listener])), asyncio.create_task(hub.run())
    trusted = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    address = address_of(listener).replace("http", "https")
    async with dialled(address) as raw:  # a handshake of TLS that does not come is a slow one, too: V04
        assert await read_to_end(raw) == b""
    async with joined(address, ssl=trusted, max_queue=1) as websocket:
        await subscribe(websocket)
        (client,) = hub.clients
        while client.free:  # until it is behind; nothing is read meanwhile
            market.move()
            source.publish(market.snapshot())
            await asyncio.sleep(0.002)
        seqs = [(await hear(websocket))["seq"]]
        while not client.free or seqs[-1] < hub.current(StreamKey("chain", "deribit", "BTC")).seq:
            seqs.append((await hear(websocket))["seq"])
    assert seqs == list(range(2, len(seqs) + 2))
    server.stop()
    await serving
    publishing.cancel()
    await asyncio.wait({publishing})


async def test_V02_what_waits_is_written_after_asyncio_has_said_that_it_may() -> None:
    """A write that fails inside of `resume_writing` makes asyncio end the connection twice, the second time noisily."""
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
    link.loop, link.writable, link._reader = asyncio.get_running_loop(), asyncio.Event(), Told()
    link.resume_writing()
    assert told == [], "asyncio has not returned yet"
    await asyncio.sleep(0)
    assert told == ["writable"]
    link.resume_writing()
    link.pause_writing()
    await asyncio.sleep(0)
    assert told == ["writable", "blocked"], "what could be written to again is stuck again"


async def test_V13_subprotocols_are_negotiated(source: Source) -> None:
    async with running(source) as address:
        for offered, chosen in (
            (["volstream.v1.json"], "volstream.v1.json"),
            (["volstream.v9.json", "volstream.v1.json"], "volstream.v1.json"),
            (["someone.else"], None),
        ):
            async with joined(address, subprotocols=offered) as websocket:
                assert websocket.subprotocol == chosen
        with pytest.raises(InvalidStatus) as caught:
            async with open_websocket(stream_of(address), subprotocols=["volstream.v9.json"], proxy=None):  # type: ignore[list-item] # a NewType of str
                pass
        assert caught.value.response.status_code == 400
        assert b"volstream.v1.json" in caught.value.response.body


async def test_V10_the_first_message_names_the_session(source: Source) -> None:
    sessions = []
    for _ in range(2):
        async with running(source) as address, open_websocket(stream_of(address), proxy=None) as websocket:
            sessions.append((await hear(websocket, "welcome"))["session"])
            assert (await subscribe(websocket))["session"] == sessions[-1]
    assert sessions[0] != sessions[1]


async def test_the_end_is_told_also_to_clients_that_are_behind(
    source: Source, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LINGER_S", PATIENCE_S)
    async with running(source) as address:
        websocket = await open_websocket(stream_of(address), proxy=None, max_queue=1)
        await subscribe(websocket)
        await moving(market, source, 0.3)
    assert await ended(websocket) == (1001, "the sidecar is shutting down")
