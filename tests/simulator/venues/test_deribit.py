"""The server over real sockets, seen by a plain `websockets` client."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pricer.clock import Instant, ManualClock
from pricer.errors import ConfigError
from pricer.simulator.venues.deribit import DeribitServer, serve
from pricer.simulator.venues.deribit.rpc import Limits

START = int(datetime(2026, 11, 21, 14, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
EIGHT = int(datetime(2026, 11, 22, 8, tzinfo=UTC).timestamp()) * 1_000_000_000
SECOND = 1_000_000_000


class Bench:
    """A server that moves only when told, and its clock."""

    def __init__(self, start_ns: int = START, **settings: Any) -> None:
        self.clock = ManualClock(Instant(start_ns, 0))
        self.server = DeribitServer(clock=self.clock, step_s=None, **settings)

    def tick(self, count: int = 1, step_ns: int = SECOND // 10) -> None:
        for _ in range(count):
            self.clock.advance(step_ns)
            self.server.tick()


MakeBench = Callable[..., Awaitable[Bench]]


@pytest.fixture
async def make_bench() -> AsyncIterator[MakeBench]:
    made: list[Bench] = []

    async def make(start_ns: int = START, **settings: Any) -> Bench:
        made.append(Bench(start_ns, **settings))
        await made[-1].server.start()
        return made[-1]

    yield make
    for bench in made:
        await bench.server.close()


def client(bench: Bench, **options: Any) -> connect:
    return connect(bench.server.url, compression=None, **options)


async def ask(ws: ClientConnection, method: str, **params: object) -> Any:
    """Send a request; return its reply, passing over notifications."""
    await ws.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    while "id" not in (message := await receive(ws)):
        pass
    return message


async def receive(ws: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(ws.recv(), 30.0))


async def drain(ws: ClientConnection) -> list[Any]:
    """All that was sent before the answer to a last question."""
    await ws.send(json.dumps({"jsonrpc": "2.0", "id": "the last", "method": "public/get_time", "params": {}}))
    found = []
    while (message := await receive(ws)).get("id") != "the last":
        found.append(message)
    return found


async def until_silent(ws: ClientConnection, seconds: float = 0.5) -> list[Any]:
    """All messages until none comes for a while, of a server that may not be asked."""
    found = []
    while True:
        try:
            found.append(json.loads(await asyncio.wait_for(ws.recv(), seconds)))
        except TimeoutError:
            return found


def tickers(bench: Bench, family: str = "BTC", count: int | None = None) -> list[str]:
    return [f"ticker.{name}.100ms" for name in bench.server.market.chains[family].names[:count]]


def deaf_subscriber(port: int, channels: list[str]) -> socket.socket:
    """A socket that subscribes and then never reads."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", port))
    deaf.sendall(
        b"GET /ws/api/v2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    body = json.dumps({"id": 1, "method": "public/subscribe", "params": {"channels": channels}}).encode()
    deaf.sendall(b"\x81\xfe" + len(body).to_bytes(2, "big") + bytes(4) + body)  # masked with zeros
    return deaf


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=30.0) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


async def test_a_whole_session_of_a_plain_client(make_bench: MakeBench) -> None:
    bench = await make_bench()
    async with client(bench) as ws:
        assert (await ask(ws, "public/hello", client_name="test", client_version="1"))["result"]["version"]
        assert (await ask(ws, "public/set_heartbeat", interval=10))["result"] == "ok"
        listed = (await ask(ws, "public/get_instruments", currency="BTC", kind="option"))["result"]
        channels = [f"ticker.{item['instrument_name']}.100ms" for item in listed[:200]]
        assert set((await ask(ws, "public/subscribe", channels=channels))["result"]) == set(channels)
        assert {m["params"]["channel"] for m in await drain(ws)} == set(channels)  # at once, without a tick
        bench.tick(49)
        seen = {m["params"]["channel"] for m in await drain(ws)}
        assert seen == set(channels)  # each is sent again within five seconds
        assert (await ask(ws, "public/unsubscribe_all"))["result"] == "ok"
        bench.tick(10)
        assert await drain(ws) == []


async def test_rest_on_the_same_port(make_bench: MakeBench) -> None:
    bench = await make_bench(testnet=True)
    status, body = await asyncio.to_thread(
        get, f"{bench.server.http_url}/public/get_instruments?currency=BTC&kind=option"
    )
    assert status == 200
    assert len(body["result"]) == len(bench.server.market.chains["BTC"].names) >= 600
    assert body["testnet"] is True
    name = body["result"][0]["instrument_name"]
    status, body = await asyncio.to_thread(get, f"{bench.server.http_url}/public/ticker?instrument_name={name}")
    assert body["result"]["instrument_name"] == name
    status, body = await asyncio.to_thread(get, f"{bench.server.http_url}/public/get_index_price?index_name=btc_usd")
    assert body["result"]["index_price"] > 0.0
    for path, expected in (("/public/nothing", 400), ("/public/ticker?instrument_name=x", 400)):
        assert (await asyncio.to_thread(get, bench.server.http_url + path))[0] == expected
    assert (await asyncio.to_thread(get, f"http://127.0.0.1:{bench.server.port}/elsewhere"))[0] == 404


async def test_the_same_seed_gives_the_same_frames_and_another_seed_others(make_bench: MakeBench) -> None:
    async def run(seed: int) -> list[Any]:
        bench = await make_bench(seed=seed)
        async with client(bench) as ws:
            channels = [*tickers(bench, count=150), "deribit_price_index.btc_usd", "ticker.BTC-PERPETUAL.100ms"]
            await ws.send(json.dumps({"id": 1, "method": "public/subscribe", "params": {"channels": channels}}))
            await receive(ws)
            bench.tick(30)
            return await drain(ws)

    first, second, other = [await run(seed) for seed in (5, 5, 6)]
    assert len(first) > 400
    assert first == second
    assert first != other


async def test_tickers_of_one_instant_share_forward_and_index(make_bench: MakeBench) -> None:
    bench = await make_bench()
    async with client(bench) as ws:
        await ask(ws, "public/subscribe", channels=tickers(bench, count=400))
        bench.tick(20)
        forwards: dict[tuple[int, str], set[float]] = {}
        indexes: dict[int, set[float]] = {}
        for message in await drain(ws):
            data = message["params"]["data"]
            if data["timestamp"] > START // 1_000_000:
                expiry = data["instrument_name"].split("-")[1]
                forwards.setdefault((data["timestamp"], expiry), set()).add(data["underlying_price"])
                indexes.setdefault(data["timestamp"], set()).add(data["index_price"])
        assert len(forwards) > 50
        assert all(len(values) == 1 for values in (*forwards.values(), *indexes.values()))


async def test_index_and_futures_are_pushed(make_bench: MakeBench) -> None:
    bench = await make_bench()
    async with client(bench) as ws:
        channels = ["deribit_price_index.btc_usd", "deribit_price_index.btc_usdc", "ticker.BTC-PERPETUAL.100ms"]
        await ask(ws, "public/subscribe", channels=channels)
        await drain(ws)
        bench.tick(30)
        counts = dict.fromkeys(channels, 0)
        for message in await drain(ws):
            counts[message["params"]["channel"]] += 1
    assert 3 <= counts[channels[0]] == counts[channels[1]] <= 10
    assert counts[channels[2]] == 30


async def test_going_over_the_rate_is_answered_and_closes_the_session(make_bench: MakeBench) -> None:
    bench = await make_bench()
    async with client(bench) as ws:
        for _ in range(10):
            assert "result" in await ask(ws, "public/subscribe", channels=["platform_state"])
        assert (await ask(ws, "public/subscribe", channels=["platform_state"]))["error"]["code"] == 10028
        with pytest.raises(ConnectionClosed) as closed:
            await receive(ws)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.reason == "too_many_requests"


async def test_an_unanswered_test_request_closes_the_connection(make_bench: MakeBench) -> None:
    bench = await make_bench()
    async with client(bench) as quiet, client(bench) as lively:
        for ws in (quiet, lively):
            await ask(ws, "public/set_heartbeat", interval=10)
        bench.tick(1, 10 * SECOND)
        assert [m["params"]["type"] for m in await until_silent(quiet)] == ["heartbeat", "test_request"]
        assert (await ask(lively, "public/test"))["result"]["version"]
        bench.tick(1, 10 * SECOND)
        with pytest.raises(ConnectionClosed):
            await receive(quiet)
        assert (await ask(lively, "public/test"))["result"]["version"]


async def test_a_client_that_does_not_read_is_dropped_and_others_do_not_notice(make_bench: MakeBench) -> None:
    bench = await make_bench(limits=Limits(write_buffer_bytes=200_000))
    with deaf_subscriber(bench.server.port, tickers(bench, count=400)):
        async with client(bench) as quick:
            await ask(quick, "public/subscribe", channels=tickers(bench, count=50))
            received, started = 0, time.monotonic()
            while len(bench.server.sessions) == 2 and time.monotonic() - started < 60.0:
                bench.tick(5)
                received += len(await drain(quick))
            assert len(bench.server.sessions) == 1
            assert received > 50
            assert (await ask(quick, "public/test"))["result"]["version"]


async def test_connections_over_the_limit_get_429(make_bench: MakeBench) -> None:
    bench = await make_bench(limits=Limits(connections=2))
    async with client(bench), client(bench):
        with pytest.raises(InvalidStatus) as refused:
            await client(bench)
    assert refused.value.response.status_code == 429


async def test_at_eight_options_close_and_new_ones_are_announced(make_bench: MakeBench) -> None:
    bench = await make_bench(EIGHT - SECOND)
    old = tickers(bench, count=60)
    assert all("-22NOV26-" in channel for channel in old)
    async with client(bench) as ws:
        lifecycle = ["instrument.state.option.BTC", "instrument.creation.option.BTC", "instrument.state.any.any"]
        await ask(ws, "public/subscribe", channels=[*old, *lifecycle])
        await drain(ws)
        bench.tick(10)
        messages = await drain(ws)
        by_channel: dict[str, list[Any]] = {}
        for message in messages:
            by_channel.setdefault(message["params"]["channel"], []).append(message["params"]["data"])
        assert {by_channel[channel][-1]["state"] for channel in old} == {"closed"}
        states = by_channel["instrument.state.option.BTC"]
        gone = {s["instrument_name"] for s in states if s["state"] == "archivized"}
        assert {channel.split(".")[1] for channel in old} <= gone
        created = {data["instrument_name"] for data in by_channel["instrument.creation.option.BTC"]}
        assert created == {s["instrument_name"] for s in states if s["state"] == "open"}
        assert any("-26NOV26-" in name for name in created)
        assert len(by_channel["instrument.state.any.any"]) == len(states)  # the linear family has no daily expiries
        bench.tick(60)
        assert not {m["params"]["channel"] for m in await drain(ws)} & set(old)
        assert (await ask(ws, "public/subscribe", channels=old))["result"] == []


async def test_a_zombie_answers_but_does_not_push(make_bench: MakeBench) -> None:
    bench = await make_bench()
    async with client(bench) as ws:
        await ask(ws, "public/subscribe", channels=tickers(bench, count=50))
        await drain(ws)
        bench.server.faults.stop_pushing = True
        bench.tick(60)
        assert await drain(ws) == []
        assert (await ask(ws, "public/test"))["result"]["version"]
        bench.server.faults.stop_pushing = False
        bench.tick()
        assert await drain(ws)


async def test_a_server_that_stops_answering_still_pushes(make_bench: MakeBench) -> None:
    bench = await make_bench()
    async with client(bench) as ws:
        await ask(ws, "public/subscribe", channels=tickers(bench, count=50))
        await drain(ws)
        bench.server.faults.stop_answering = True
        await ws.send('{"id":9,"method":"public/test"}')
        bench.tick(10)
        messages = await until_silent(ws)
        assert messages
        assert not [m for m in messages if "id" in m]


async def test_a_frozen_index_falls_silent_and_keeps_its_value(make_bench: MakeBench) -> None:
    bench = await make_bench()
    async with client(bench) as ws:
        await ask(ws, "public/subscribe", channels=["deribit_price_index.btc_usd", "ticker.BTC-PERPETUAL.100ms"])
        await drain(ws)
        bench.server.faults.freeze_index = True
        bench.tick(50)
        messages = [m["params"] for m in await drain(ws)]
        assert {m["channel"] for m in messages} == {"ticker.BTC-PERPETUAL.100ms"}
        assert len({m["data"]["index_price"] for m in messages}) == 1


@pytest.mark.parametrize("reset", [False, True])
async def test_dropped_connections_end_without_a_closing_handshake(make_bench: MakeBench, reset: bool) -> None:
    bench = await make_bench()
    async with client(bench) as ws:
        assert bench.server.faults.drop_connections(reset=reset) == 1
        with pytest.raises(ConnectionClosed) as closed:
            await receive(ws)
        assert closed.value.rcvd is None
    async with client(bench) as again:
        assert (await ask(again, "public/test"))["result"]["version"]


async def test_I11_nothing_is_written_to_a_connection_that_is_lost(
    make_bench: MakeBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await make_bench()
    async with client(bench) as ws:
        await ask(ws, "public/subscribe", channels=tickers(bench, count=200))
        bench.server.faults.drop_connections(reset=True)
        bench.tick(10)
        await asyncio.sleep(0)
    assert [line for line in caplog.messages if "socket.send() raised" in line] == []


@pytest.mark.parametrize("frame", ["{", "null", b"\x00\xff", "x" * 200_000])
async def test_any_frame_can_be_sent(make_bench: MakeBench, frame: str | bytes) -> None:
    bench = await make_bench()
    async with client(bench) as ws:
        await bench.server.faults.send_raw(frame)
        assert await asyncio.wait_for(ws.recv(), 30.0) == frame


async def test_refused_connections_get_503_while_rest_answers(make_bench: MakeBench) -> None:
    bench = await make_bench()
    bench.server.faults.refuse_connections = True
    with pytest.raises(InvalidStatus) as refused:
        await client(bench)
    assert refused.value.response.status_code == 503
    assert (await asyncio.to_thread(get, f"{bench.server.http_url}/public/test"))[0] == 200


async def test_a_port_in_use_is_a_clear_error(make_bench: MakeBench) -> None:
    bench = await make_bench()
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1 port {bench.server.port}: the port is in use"):
        await DeribitServer(port=bench.server.port).start()


async def test_closing_tells_the_clients_and_takes_less_than_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pricer.simulator.venues.deribit.server.CLOSE_S", 2.0)  # more of the five for a busy machine
    server = DeribitServer(seed=7)
    await server.start()
    before = asyncio.all_tasks()
    async with connect(server.url, compression=None) as ws:
        deaf = socket.create_connection(("127.0.0.1", server.port))
        started = time.monotonic()
        await server.close()
        assert time.monotonic() - started < 5.0
        with pytest.raises(ConnectionClosed) as closed:
            await receive(ws)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        deaf.close()
    await asyncio.sleep(0)
    assert not {task for task in asyncio.all_tasks() - before if "deribit" in task.get_name()}
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=1.0)
    await server.close()  # twice is harmless


async def test_serve_runs_until_cancelled_and_moves_by_itself() -> None:
    ready: asyncio.Future[DeribitServer] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(seed=3, ready=ready.set_result))
    server = await asyncio.wait_for(ready, 60.0)
    async with connect(server.url, compression=None) as ws:
        await ask(ws, "public/subscribe", channels=["ticker.BTC-PERPETUAL.100ms"])
        stamps = [(await receive(ws))["params"]["data"]["timestamp"] for _ in range(5)]
    assert stamps == sorted(stamps)
    assert stamps[-1] > stamps[1]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.sessions == {}
