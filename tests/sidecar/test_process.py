"""A sidecar as a process: an end that is forced, too few descriptors, and memory under clients that want all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.data import CHECKOUT
from tests.sidecar.serving import ask, hear, stream_of, subscribe
from tests.waiting import PATIENCE_S, until

# `link` stands for the venue's: it connects, talks and hangs up again and again.
PROGRAM = """
import asyncio, json, sys, time
from pricer.clock import SystemClock
from pricer.config import Settings
from pricer.sidecar.app import serve
from tests.sidecar.snapshots import Market, Source

async def link(port):
    while port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b".")
        await reader.read(1)
        writer.close()
        await asyncio.sleep(0.02)

async def main(settings, port, stuck):
    source = Source()
    source.publish(Market(SystemClock()).snapshot())
    linking = asyncio.create_task(link(port))
    def started(address):
        print(address, flush=True)
        if stuck:
            asyncio.get_running_loop().call_later(0.3, lambda: (print("stuck", flush=True), time.sleep(600)))
    await serve(source, settings, started=started)
    linking.cancel()

asyncio.run(main(Settings(server={"port": 0, **json.loads(sys.argv[1])}), int(sys.argv[2]), sys.argv[3] == "stuck"))
"""


@asynccontextmanager
async def sidecar(
    server: str = "{}", *, link: int = 0, stuck: bool = False, descriptors: int | None = None
) -> AsyncIterator[tuple[Process, str]]:
    """The process and its address."""

    def limited() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    words = (sys.executable, "-c", PROGRAM, server, str(link), "stuck" if stuck else "")
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    process = await asyncio.create_subprocess_exec(
        *words, stdout=PIPE, stderr=PIPE, env=environment, preexec_fn=limited
    )
    try:
        assert process.stdout is not None
        yield process, (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("signals", [1, 2])
async def test_H02_a_shutdown_that_is_stuck_is_forced_and_so_is_a_second_signal(signals: int) -> None:
    exit_s = 0.4 if signals == 1 else 60
    async with sidecar(f'{{"exit_s": {exit_s}}}', stuck=True) as (process, _):
        assert process.stdout is not None
        assert process.stderr is not None
        assert await process.stdout.readline() == b"stuck\n"
        async with asyncio.timeout(PATIENCE_S):  # less than the minute of `exit_s`
            process.send_signal(signal.SIGTERM)
            while signals == 2 and process.returncode is None:  # two that come at once are one
                await asyncio.sleep(0.2)
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
            assert await process.wait() == 1
        said = (await process.stderr.read()).decode()
    assert ("not ended 0.4 s after the signal" if signals == 1 else "signalled again") in said


class Venue:
    """What the process keeps connecting to."""

    def __init__(self) -> None:
        self.calls = 0
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(await reader.read(1))
            self.calls += 1
            await writer.drain()
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Venue]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


def metric(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def metrics(address: str) -> str:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return (await client.get(address + "metrics")).text


async def is_refused(address: str) -> bool:
    """A further client: told 503, or cut."""
    try:
        async with open_websocket(stream_of(address), proxy=None, open_timeout=5) as websocket:
            await ask(websocket, op="ping")
    except (InvalidHandshake, ConnectionClosed, OSError):
        return True
    return False


@pytest.fixture
def closing() -> Iterator[list[socket.socket]]:
    """Sockets that are closed in the end, whatever happens."""
    held: list[socket.socket] = []
    yield held
    for raw in held:
        raw.close()


async def test_H04_without_descriptors_clients_are_refused_and_the_venue_link_lives(
    closing: list[socket.socket],
) -> None:
    venue = Venue()
    async with venue.running(), sidecar(link=venue.port, descriptors=128) as (process, address):
        url = httpx.URL(address)
        async with open_websocket(stream_of(address), proxy=None) as client:
            await subscribe(client)
            held = [socket.socket() for _ in range(200)]
            closing.extend(held)
            for raw in held:
                raw.setblocking(False)
                with contextlib.suppress(ConnectionError):
                    await asyncio.get_running_loop().sock_connect(raw, (url.host, url.port))
            assert await is_refused(address)
            calls = venue.calls
            await until(lambda: venue.calls > calls + 5)
            await client.send('{"op":"ping"}')
            assert (await hear(client, "pong"))["type"] == "pong"
            for raw in held:
                raw.close()
            assert process.returncode is None
            async with asyncio.timeout(PATIENCE_S):
                while await is_refused(address):  # noqa: ASYNC110 - until there is room again
                    await asyncio.sleep(0.05)
            text = await metrics(address)
            assert metric(text, 'volstream_refused_connections_total{stage="total"}') > 50
            assert metric(text, "volstream_clients") <= 2  # the last may be on its way out
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert b"the limit of 128 file descriptors allows 64 connections" in await process.stderr.read()


def rss_mib(process: Process) -> float:
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def wants_everything(address: str, number: int) -> str:
    """A client that subscribes to all it can, offers to compress, and sends messages that are far too big."""
    offers = "deflate" if number % 2 else None
    async with open_websocket(
        stream_of(address), proxy=None, compression=offers, max_size=None, close_timeout=1
    ) as websocket:
        assert websocket.response is not None
        negotiated = websocket.response.headers.get("Sec-WebSocket-Extensions", "")
        for column in ("iv", "delta", "gamma", "vega", "theta", "theo"):
            with contextlib.suppress(ConnectionClosed):
                await subscribe(websocket, columns=[column, ("bid", "ask", "mark")[number % 3]])
        with contextlib.suppress(ConnectionClosed):
            await websocket.send(part for part in ["x" * 4096] * 15)  # in pieces, below the limit of a frame
            await websocket.send("y" * 900_000)
            await drained(websocket)
        return negotiated


async def drained(websocket: ClientConnection) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await websocket.recv()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell a process's memory so")
async def test_Z07_memory_stays_bounded_under_connections_subscriptions_messages_and_compression() -> None:
    limits = '{"max_clients": 40, "max_requests_per_s": 1000}'
    async with sidecar(limits) as (process, address), open_websocket(stream_of(address), proxy=None) as client:
        await subscribe(client)
        before = rss_mib(process)
        for _ in range(2):
            outcomes = await asyncio.gather(
                *(wants_everything(address, number) for number in range(60)), return_exceptions=True
            )
            negotiated = [each for each in outcomes if isinstance(each, str)]
            refused = [each for each in outcomes if isinstance(each, InvalidHandshake)]
            assert len(negotiated) + len(refused) == 60, outcomes
            assert len(negotiated) >= 39
            assert len(refused) > 0
            assert set(negotiated) == {""}, "compression is not agreed to"
        assert rss_mib(process) - before < 48
        await client.send('{"op":"ping"}')
        assert (await hear(client, "pong"))["type"] == "pong"
        text = await metrics(address)
        assert metric(text, "volstream_streams") <= metric(text, "volstream_streams_limit")
