"""The sidecar over real sockets: paths, refusals, slow and hostile clients, and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidStatus

from pricer.clock import NS_PER_SECOND, SystemClock
from pricer.config import ServerSection, Settings
from pricer.conventions import Reason
from pricer.errors import ConfigError, VolstreamError
from pricer.sidecar.app import bind, serve
from tests.sidecar.serving import ask, ended, hear, joined, running, stream_of, subscribe
from tests.sidecar.snapshots import Market, Source
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]


async def get(address: str, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return await client.get(address + path, headers=headers)


# ---- HTTP


async def test_the_chain_has_columns_statuses_ages_and_a_seq(source: Source, market: Market) -> None:
    async with running(source) as address:
        answer = await get(address, "v1/chain/BTC")
    body = answer.json()
    assert answer.headers["cache-control"] == "private, no-cache"
    assert body["seq"] == 1
    assert len(body["columns"]["name"]) == 60
    assert body["columns"]["status"].count("OK") == 54
    assert all(age >= 0 for age in body["columns"]["quote_age_ns"] + body["columns"]["forward_age_ns"])
    assert body["index"]["value"] == market.spot
    assert [expiry["options"] for expiry in body["expiries"]] == [20, 20, 20]
    assert body["convention"]["day_count"] == "ACT/365"


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("v1/chain/DOGE", "'DOGE'"),
        ("v1/chain/BTC?venue=nasdaq", "'nasdaq'"),
        ("v1/surface/DOGE", "'DOGE'"),
        ("v1/instrument/BTC-1-1-C", "'BTC-1-1-C'"),
        ("web/..%2fapp.py", "'../app.py'"),
        ("web/__init__.py", "'__init__.py'"),
    ],
)
async def test_unknown_names_are_404_and_named(source: Source, path: str, named: str) -> None:
    async with running(source) as address:
        answer = await get(address, path)
    assert answer.status_code == 404
    assert named in answer.json()["detail"]


async def test_one_instrument(source: Source, market: Market) -> None:
    name = market.definitions[1].names[4]
    async with running(source) as address:
        body = (await get(address, f"v1/instrument/{name}")).json()
    assert (body["name"], body["status"], body["bid_iv_status"]) == (name, "OK", "OK")
    assert body["expiry"]["forward"]["value"] == 100_100.0
    assert body["strike"] == market.definitions[1].strike[4]


async def test_an_instruments_reasons_are_its_own_and_those_of_the_moment(source: Source, market: Market) -> None:
    source.publish(market.snapshot(Reason.CONFLATED))
    async with running(source) as address:
        body = (await get(address, f"v1/instrument/{market.definitions[0].names[1]}")).json()
    assert (body["status"], body["reasons"]) == ("DEGRADED", ["ONE_SIDED", "EXTRAPOLATED", "CONFLATED"])


async def test_the_underlyings_and_a_surface_without_a_fit(source: Source) -> None:
    async with running(source) as address:
        underlyings = (await get(address, "v1/underlyings")).json()["underlyings"]
        surface = (await get(address, "v1/surface/BTC")).json()
    assert [(u["venue"], u["underlying"], u["options"], u["expiries"]) for u in underlyings] == [
        ("deribit", "BTC", 60, 3)
    ]
    assert [expiry["params"] for expiry in surface["expiries"]] == [None, None, None]
    assert {expiry["status"] for expiry in surface["expiries"]} == {"OK"}


async def test_V11_ready_says_what_is_missing(source: Source, market: Market) -> None:
    empty = Source()
    async with running(empty) as address:
        assert (await get(address, "health/live")).json()["live"] is True
        answer = await get(address, "health/ready")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "missing": ["deribit: nothing has been computed yet"]}
        empty.publish(market.snapshot())
        assert (await get(address, "health/ready")).json() == {"ready": True, "missing": []}


async def test_the_metrics_are_served(source: Source) -> None:
    async with running(source) as address:
        await get(address, "v1/chain/BTC")
        answer = await get(address, "metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "volstream_encode_seconds_count" in answer.text


async def test_Z12_pages_need_nothing_from_elsewhere(source: Source) -> None:
    async with running(source) as address:
        for path in ("", "docs", "web/app.js", "web/pages/chain.css", "web/icon.svg", "openapi.json"):
            answer = await get(address, path)
            assert answer.status_code == 200
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            text = answer.text.replace("http://www.w3.org/2000/svg", "")
            assert "http://" not in text
            assert "https://" not in text
        docs = (await get(address, "docs")).text
    assert "/v1/chain/{underlying}" in docs
    assert "/v1/stream" in docs


# ---- WebSocket


async def test_V07_subscribe_gives_a_snapshot_then_deltas(source: Source, market: Market) -> None:
    async with running(source) as address, joined(address) as websocket:
        snapshot = await subscribe(websocket)
        assert (snapshot["type"], snapshot["seq"]) == ("snapshot", 1)
        for seq in (2, 3, 4):
            market.move()
            source.publish(market.snapshot())
            delta = await hear(websocket)
            assert (delta["type"], delta["seq"]) == ("delta", seq)
        polled = (await get(address, "v1/chain/BTC")).json()
        assert polled["seq"] == 4


async def test_V07_many_joins_while_the_stream_moves(source: Source, market: Market) -> None:
    async def follow(address: str, start: float) -> list[tuple[str, int]]:
        await asyncio.sleep(start)
        async with joined(address) as websocket:
            messages = [await subscribe(websocket), *[await hear(websocket) for _ in range(5)]]
            return [(message["type"], message["seq"]) for message in messages]

    async def move() -> None:
        while True:
            market.move()
            source.publish(market.snapshot())
            await asyncio.sleep(0.003)

    async with running(source, min_interval_ms=1) as address:
        moving = asyncio.create_task(move())
        found = await asyncio.gather(*(follow(address, 0.01 * i) for i in range(25)))
        moving.cancel()
    for messages in found:
        first = messages[0][1]
        assert messages == [("snapshot", first), *(("delta", first + i) for i in range(1, 6))]
    assert len({messages[0][1] for messages in found}) > 1, (
        "it moved meanwhile, on a busy machine less often than they joined"
    )


async def test_V09_clients_see_stale_when_the_engine_says_nothing_more() -> None:
    source = Source()
    source.publish(Market(SystemClock(), lasts_ns=NS_PER_SECOND).snapshot())
    async with running(source) as address, joined(address) as websocket:
        seen = await subscribe(websocket)
        async with asyncio.timeout(PATIENCE_S):
            while seen["index"]["status"] != "STALE":
                seen = await hear(websocket, "delta")
        shown = (await get(address, "v1/chain/BTC")).json()["columns"]["status"]
    assert set(shown) == {"STALE", "INVALID"}, "an option without any quote stays one"


async def test_V05_nonsense_is_answered_and_the_connection_kept(source: Source) -> None:
    async with running(source, max_errors=4) as address, joined(address) as websocket:
        await websocket.send("[" * 10_000)
        assert (await hear(websocket))["code"] == "bad_json"
        await websocket.send("x" * 20_000)
        assert (await hear(websocket))["code"] == "too_large"
        await websocket.send(b"\xff\xfe")
        assert (await hear(websocket))["code"] == "not_text"
        assert (await ask(websocket, op="ping"))["type"] == "pong"
        for _ in range(4):
            await websocket.send("nonsense")
        assert await ended(websocket) == (1008, "4 bad messages in a row")


async def test_V03_too_many_clients_are_refused_before_they_cost_anything(source: Source) -> None:
    async with running(source, max_clients=1) as address, joined(address) as websocket:
        await ask(websocket, op="ping")
        with pytest.raises(InvalidStatus) as caught:
            async with joined(address):
                pass
        assert caught.value.response.status_code == 503
        await ask(websocket, op="ping")


async def read_slowly(address: str) -> socket.socket:
    """A client that subscribes and then reads nothing."""
    host, port = httpx.URL(address).host, httpx.URL(address).port
    assert port is not None
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, (host, port))
    handshake = (
        f"GET /v1/stream HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await loop.sock_sendall(raw, handshake.encode())
    await loop.sock_recv(raw, 4096)
    text = b'{"op":"subscribe","channel":"chain","underlying":"BTC"}'
    await loop.sock_sendall(raw, bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)
    return raw


async def test_V01_slow_client_is_dropped_and_delays_nobody(market: Market, source: Source) -> None:
    market = Market(SystemClock(), expiries=6, strikes=40)
    source.publish(market.snapshot())
    limits = {"slow_client_s": 1.0, "queue_soft_bytes": 200_000, "queue_hard_bytes": 2_000_000}
    async with running(source, **limits) as address, joined(address) as quick:
        raw = await read_slowly(address)
        await subscribe(quick)
        waits, seqs, largest, metrics = [], [], 0.0, ""
        end = time.monotonic() + 2 * PATIENCE_S
        while 'clients_closed_total{stage="slow_client"} 1.0' not in metrics and time.monotonic() < end:
            market.move()
            source.publish(market.snapshot())
            started = time.monotonic()
            seqs.append((await hear(quick, "delta"))["seq"])
            waits.append(time.monotonic() - started)
            metrics = (await get(address, "metrics")).text
            size = next(line for line in metrics.splitlines() if line.startswith("volstream_queue_max_bytes "))
            largest = max(largest, float(size.split()[1]))
        metrics = (await get(address, "metrics")).text
        raw.close()
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))  # nothing is lost for the others
    assert 0 < largest <= 2_000_000
    assert 'volstream_clients_closed_total{stage="slow_client"} 1.0' in metrics
    assert "\nvolstream_clients 1.0" in metrics
    # Half of what a client may be behind: CI machines are busy, and the benchmark has the figure.
    assert sorted(waits)[len(waits) // 2] < limits["slow_client_s"] / 2


async def test_V01_a_client_that_reads_again_is_told_of_the_gap(market: Market, source: Source) -> None:
    market = Market(SystemClock(), expiries=6, strikes=40)
    source.publish(market.snapshot())
    limits = {"queue_soft_bytes": 100_000, "slow_client_s": 600}
    async with running(source, **limits) as address, joined(address, max_queue=1) as websocket:
        await subscribe(websocket)
        heard: list[dict[str, Any]] = []
        for round_ in range(400):
            market.move()
            source.publish(market.snapshot())
            await asyncio.sleep(0.008)
            if round_ % 50 == 49 and "volstream_gaps_total 0.0" not in (await get(address, "metrics")).text:
                break
            if round_ > 100 and "volstream_dropped_messages_total 0.0" not in (await get(address, "metrics")).text:
                break
        while not heard or heard[-1]["type"] != "gap":
            heard.append(await hear(websocket))
        snapshot = await hear(websocket)
        gap = heard[-1]
        assert gap["from"] == heard[-2]["seq"] + 1
        assert (snapshot["type"], snapshot["seq"]) == ("snapshot", gap["to"])
        market.move()
        source.publish(market.snapshot())
        assert (await hear(websocket, "delta"))["seq"] == gap["to"] + 1


# ---- who may talk to it


async def test_Z02_pages_of_another_origin_are_refused(source: Source) -> None:
    async with running(source) as address:
        own = address.rstrip("/")
        async with open_websocket(stream_of(address), origin=own, proxy=None):  # type: ignore[arg-type] # a NewType of str
            pass
        for origin in ("https://example.com", "null", own + "0"):
            with pytest.raises(InvalidStatus) as caught:
                async with open_websocket(stream_of(address), origin=origin, proxy=None):  # type: ignore[arg-type] # same
                    pass
            assert caught.value.response.status_code == 403
            assert (await get(address, "v1/underlyings", origin=origin)).status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "[", "0.0.0.0"])
async def test_Z02_a_name_that_is_not_ours_is_refused(source: Source, host: str) -> None:
    async with running(source) as address:
        assert (await get(address, "v1/underlyings", host=host)).status_code in (400, 403)
        assert (await get(address, "v1/underlyings", host="localhost:1")).status_code == 200


async def test_Z02_further_names_can_be_allowed(source: Source) -> None:
    async with running(source, allowed_hosts=("pricer.example",)) as address:
        assert (await get(address, "v1/underlyings", host="pricer.example")).status_code == 200


def test_Z01_the_default_address_is_loopback() -> None:
    listener = bind(ServerSection(port=0))
    assert listener.getsockname()[0] == "127.0.0.1"
    listener.close()


# ---- beginning and end


def test_V15_a_port_in_use_is_named_before_anything_starts() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"server\.port.*127\.0\.0\.1:{port}.*another program listens"):
            bind(ServerSection(port=port))


async def test_V15_serve_itself_refuses_a_port_in_use(source: Source) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match="another program"):
            await serve(source, Settings(server={"port": taken.getsockname()[1]}))
    assert source.slots == []


async def test_I12_an_error_of_the_engine_ends_the_server_and_is_raised(source: Source) -> None:
    task = asyncio.create_task(serve(source, Settings(server={"port": 0, "shutdown_s": 1})))
    await source.subscribed.wait()
    source.fail(VolstreamError("the engine is gone"))
    with pytest.raises(VolstreamError, match="the engine is gone"):
        await task
    assert source.slots[0].closed


async def test_H01_clients_are_told_when_it_is_cancelled(source: Source) -> None:
    async with running(source) as address:
        websocket = await open_websocket(stream_of(address), proxy=None)
        await subscribe(websocket)
    assert await ended(websocket) == (1001, "the sidecar is shutting down")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_H01_a_signal_ends_the_process_with_0_and_tells_clients(number: signal.Signals, tmp_path: Path) -> None:
    code = (
        "import asyncio\n"
        "from pricer.clock import SystemClock\n"
        "from pricer.config import Settings\n"
        "from pricer.sidecar.app import serve\n"
        "from tests.sidecar.snapshots import Market, Source\n"
        "source = Source()\n"
        "source.publish(Market(SystemClock()).snapshot())\n"
        "asyncio.run(serve(source, Settings(server={'port': 0}), started=lambda at: print(at, flush=True)))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE, env=environment)
    try:
        assert process.stdout is not None
        address = (await process.stdout.readline()).decode().strip()
        websocket = await open_websocket(stream_of(address), proxy=None)
        await subscribe(websocket)
        process.send_signal(number)
        assert (await ended(websocket))[0] == 1001
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
