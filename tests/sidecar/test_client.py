"""A bot's client against a real sidecar: the same rows, the same refusals, by its own clock."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as listen
from websockets.http11 import Request, Response

import pricer
from pricer.clock import Instant, ManualClock, SystemClock
from pricer.config import ServerSection, Settings
from pricer.conventions import Status
from pricer.errors import ConfigError, ConnectError, NotTradable, ProtocolError
from pricer.sidecar import client, door
from pricer.sidecar.app import bind, serve
from pricer.sidecar.auth import Scopes
from pricer.sidecar.client import connect, connect_sync
from pricer.sidecar.encodings import MSGPACK
from pricer.sidecar.following import Follower, RequestRefused
from pricer.sidecar.handshake import UNAUTHORIZED_CLOSE
from pricer.sidecar.server_clock import ServerClock
from tests.data import CHECKOUT
from tests.free_port import free_port
from tests.handmade import SECOND
from tests.sidecar.secured import Ring, bearer, fetch, secured
from tests.sidecar.serving import QUICK, running, stream_of
from tests.sidecar.snapshots import LONG_NS, Market, Source
from tests.waiting import PATIENCE_S, Hurried, until


async def test_a_client_has_the_numbers_of_the_engine(source: Source, market: Market) -> None:
    name = market.definitions[1].names[4]
    async with running(source) as address, connect(stream_of(address), "BTC") as chain:
        states = aiter(chain)
        first = await anext(states)
        assert first[name].delta == pytest.approx(market.snapshot()[name].delta, rel=1e-8)
        assert first.index.value == market.spot
        market.quote(1, 4, bid=0.0625)
        source.publish(market.snapshot())
        second = await anext(states)
        assert second[name].bid == 0.0625
        assert first[name].get("bid") != 0.0625
        with pytest.raises(NotTradable, match="INVALID: NO_QUOTE"):
            _ = second[market.definitions[1].names[18]].delta
        assert chain.latest is second


async def test_X03_numbers_turn_stale_without_any_message_from_the_server() -> None:
    market, source, clock = Market(SystemClock()), Source(), Hurried()
    source.publish(market.snapshot())
    name = market.definitions[1].names[4]
    async with running(source) as address:
        chain = connect(stream_of(address), clock=clock)
        await chain.__aenter__()
        state = await anext(aiter(chain))
        assert state[name].delta > 0
    clock.ahead_ns = LONG_NS  # the server is gone
    assert state[name].status is Status.STALE
    with pytest.raises(NotTradable, match="STALE: UNDERLYING_STALE"):
        _ = state[name].delta
    await chain.__aexit__(None, None, None)


async def test_V10_a_client_comes_back_to_a_new_sidecar(source: Source, market: Market) -> None:
    port = free_port()
    listener = bind(ServerSection(port=port))
    settings = Settings(server=QUICK | {"port": port})
    first = asyncio.create_task(serve(source, settings, listener))
    async with connect(f"ws://127.0.0.1:{port}/v1/stream", seed=1) as chain:
        states = aiter(chain)
        await anext(states)
        first.cancel()
        await asyncio.wait({first})
        market.move()
        source.publish(market.snapshot())
        second = asyncio.create_task(serve(source, settings))
        async with asyncio.timeout(PATIENCE_S):
            state = await anext(states)
        assert state.version == 2
        assert chain.stats["reconnections"] >= 1
    second.cancel()
    await asyncio.wait({second})


async def test_a_refused_subscription_is_an_error_for_the_caller(source: Source) -> None:
    async with running(source) as address, connect(stream_of(address), "DOGE") as chain:
        with pytest.raises(ProtocolError, match=r"unknown_underlying.*DOGE"):
            await anext(aiter(chain))


async def test_no_sidecar_is_an_error_at_once() -> None:
    port = free_port()
    with pytest.raises(ConnectError, match=f"127.0.0.1:{port}"):
        await connect(f"ws://127.0.0.1:{port}/v1/stream").__aenter__()


async def test_a_break_in_the_sequence_asks_for_a_new_snapshot(
    source: Source, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = Follower.receive
    lost: list[object] = []

    def lossy(self: Follower, payload: bytes | str) -> bool:
        if MSGPACK.decode(payload).type == "delta" and not lost:
            lost.append(payload)
            return False
        return receive(self, payload)

    async with running(source) as address, connect(stream_of(address)) as chain:
        states = aiter(chain)
        await anext(states)
        monkeypatch.setattr(Follower, "receive", lossy)
        for _ in range(3):
            market.move()
            source.publish(market.snapshot())
            await asyncio.sleep(0.02)
        async with asyncio.timeout(PATIENCE_S):
            state = await anext(states)
            while state.version != market.version:
                state = await anext(states)
    assert chain.stats["resubscriptions"] == 1
    assert state.breaks == 1
    assert lost


def test_a_delayed_message_is_as_old_as_its_delay() -> None:
    clock = ManualClock(Instant(0, 500 * SECOND))
    server = ServerClock(clock)
    server.heard(100 * SECOND)
    assert server.now().mono_ns == 100 * SECOND
    clock.advance(3 * SECOND)  # sent one second after the first, and arrives three seconds after it
    server.heard(101 * SECOND)
    assert server.now().mono_ns == pytest.approx(103 * SECOND, abs=SECOND // 1000)
    clock.advance(SECOND)  # the first one had been delayed itself: this one took half a second less
    server.heard(round(104.5 * SECOND))
    assert server.now().mono_ns == round(104.5 * SECOND)


def test_clocks_that_drift_apart_do_not_look_like_delay() -> None:
    clock = ManualClock(Instant(0, 0))
    server, sent = ServerClock(clock), 0
    for _ in range(3600):
        clock.advance(SECOND)
        sent += SECOND - 100_000  # 100 ppm slower, for an hour
        server.heard(sent)
    assert server.now().mono_ns - sent < SECOND // 1000


async def test_X02_a_slow_bot_gets_the_newest_state_and_sees_what_it_missed(source: Source, market: Market) -> None:
    async with running(source) as address, connect(stream_of(address)) as chain:
        states = aiter(chain)
        await anext(states)
        assert (chain.dropped, chain.lag()) == (0, 0.0)
        for _ in range(4):
            market.move()
            source.publish(market.snapshot())
            await asyncio.sleep(0.05)
            await until(lambda: chain.latest is not None and chain.latest.version == market.version)
        assert chain.lag() > 0.1
        assert (await anext(states)).version == market.version
        assert chain.dropped >= 2
        assert chain.lag() == 0.0


async def test_a_bot_in_a_plain_thread_reads_the_same_and_leaves_no_thread(source: Source, market: Market) -> None:
    name = market.definitions[0].names[4]

    def bot(url: str) -> tuple[float, pricer.Snapshot | None]:
        with connect_sync(url, columns=["delta"]) as chain:
            state = next(iter(chain))
            row = state[name]
            for field in ("gamma", "iv", "bid", "mid_iv"):
                with pytest.raises(NotTradable, match=rf"{field} of {name} is not subscribed.* has no '{field}'$"):
                    getattr(row, field)
                assert row.get(field, allow=set(Status)) is None
                assert row.status_of(field) == (Status.INVALID, state.reasons)
            assert (row.status, row.reasons) == row.status_of("delta") == (Status.OK, state.reasons)
            return state[name].delta, chain.get(0.01)

    async with running(source) as address:
        delta, none = await asyncio.to_thread(bot, stream_of(address))
    assert delta > 0
    assert none is None
    assert not [thread for thread in threading.enumerate() if thread.name == "sidecar-client"]


def test_a_thread_without_a_sidecar_hears_so_at_once() -> None:
    with pytest.raises(ConnectError, match="no sidecar"), connect_sync("ws://127.0.0.1:9/v1/stream"):
        pass


async def test_I10_a_token_is_sent_to_this_sidecar_alone_and_shown_nowhere() -> None:
    asked: list[str | None] = []

    def refuse(connection: ServerConnection, request: Request) -> Response:
        asked.append(request.headers.get("Authorization"))
        response = connection.respond(302, "elsewhere")
        response.headers["Location"] = f"ws://localhost:{port}/other"
        return response

    async with listen(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=refuse) as server:
        port = server.sockets[0].getsockname()[1]
        chain = connect(f"ws://127.0.0.1:{port}/v1/stream", token="very-secret")
        with pytest.raises(ConnectError) as caught:
            await chain.__aenter__()
    assert asked == ["Bearer very-secret"], "and no redirect is followed"
    assert "very-secret" not in f"{caught.value!r} {caught.value.__cause__!r} {vars(chain)!r}"
    with pytest.raises(ConfigError, match=r"token: ws://example\.com") as refused:
        connect("ws://example.com/v1/stream", token="very-secret")
    assert "very-secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"encoding": "xml"}, "encoding: there is no 'xml'"),
        ({"url": "http://127.0.0.1:8765"}, "http://127.0.0.1:8765"),
        ({"url": "wss://127.0.0.1:8765", "ca_file": "/nowhere.pem"}, "ca_file"),
    ],
)
def test_an_impossible_option_is_named_before_anything_is_connected(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        connect(**{"url": "ws://127.0.0.1:8765/v1/stream"} | options)


async def test_what_is_no_sidecar_is_an_error_and_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nonsense(websocket: ServerConnection) -> None:
        await websocket.send('{"type": "snapshot", "seq": 1, "columns": 3}')
        await websocket.wait_closed()

    monkeypatch.setattr(client, "FIRST_RETRY_S", 0.001)
    async with listen(nonsense, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/v1/stream") as chain:
            with pytest.raises(ProtocolError):
                await anext(aiter(chain))
    assert chain.stats["malformed"] == client.MOST_MALFORMED


async def test_a_sidecar_on_a_unix_socket(source: Source, tmp_path: Path) -> None:
    """The sidecar's own sockets are its own affair: here a relay stands before it."""
    path = tmp_path / "s"
    async with running(source) as address:
        there = httpx.URL(address)

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection(there.host, there.port)
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

        async with (
            await asyncio.start_unix_server(relay, path),
            connect(stream_of(address), unix_socket=path, token="x") as chain,
        ):
            assert len(await anext(aiter(chain))) == 60


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_a_bot_needs_nothing_of_the_server() -> None:
    libraries = ("orjson", "fastapi", "pydantic", "prometheus_client")
    code = f"import sys, pricer.remote, pricer.sidecar.client; print([n for n in {libraries} if n in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout.strip() == "[]"


def answering(*answers: tuple[int, str, bytes]) -> tuple[Any, list[str]]:
    """A server's way with handshakes: each gets the next answer, status, Retry-After and body; 0 lets it in."""
    asked: list[str] = []

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        status, later, body = answers[min(len(asked), len(answers) - 1)]
        asked.append(request.path)
        if not status:
            return None
        response = connection.respond(status, body.decode())
        if later:
            response.headers["Retry-After"] = later
        return response

    return answer, asked


REFUSED = b'{"code": "unauthorized", "detail": "a token is needed"}'


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((401, "", REFUSED), RequestRefused, "unauthorized: a token is needed"),
        ((403, "", b'{"code": "unknown_host", "detail": "not\\nhere"}'), RequestRefused, r"unknown_host: not\\nhere"),
        (
            (403, "", b""),
            RequestRefused,
            "forbidden: HTTP 403; a sidecar's stream is at /v1/stream, and this was ws://",
        ),
        ((404, "", b'{"code": "not_found", "detail": "no such path"}'), ConnectError, "HTTP 404: no such path$"),
        ((503, "", b'{"detail": 7}'), ConnectError, "HTTP 503$"),
        ((429, "9", b"<html>"), ConnectError, "HTTP 429$"),
    ],
)
async def test_what_a_sidecar_says_in_place_of_a_handshake_is_the_error(
    answer: tuple[int, str, bytes], error: type[Exception], said: str
) -> None:
    process, _ = answering(answer)
    async with listen(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=process) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(error, match=said):
            await connect(f"ws://127.0.0.1:{port}/v1/else").__aenter__()


async def to_the_end(chain: client.Connection) -> None:
    """Until an error ends it; a client that goes on in silence is a time-out."""
    async with asyncio.timeout(PATIENCE_S):
        async for _ in chain:
            pass


async def test_Z03_a_token_that_is_refused_later_ends_the_client_and_is_not_shown_again() -> None:
    process, asked = answering((0, "", b""), (401, "", REFUSED))
    async with listen(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=process) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/v1/stream", token="x") as chain:
            with pytest.raises(RequestRefused, match="unauthorized: a token is needed") as caught:
                await to_the_end(chain)
            with pytest.raises(RequestRefused):
                chain.get(0.0)
    assert caught.value.code == "unauthorized"
    assert len(asked) == 2
    assert dict(chain.stats) == {}, "nothing was connected again"


async def test_Z03_a_revoked_token_ends_its_clients_and_locks_nobody_of_their_address_out(
    source: Source, tmp_path: Path
) -> None:
    ring = Ring(tmp_path / "tokens.toml")
    operator, bot = ring.add("operator", Scopes.ADMIN | Scopes.READ), ring.add("bot")
    options: dict[str, Any] = {"tokens_file": str(ring.path), "auth_failures_per_minute": 1}
    again = Settings(server=QUICK | options)
    async with secured(source, reread=lambda: again, **options) as address:
        bots = [connect(stream_of(address), token=bot) for _ in range(2)]
        for chain in bots:
            await chain.__aenter__()
            await anext(aiter(chain))
        ring.remove("bot")
        body = {"sent_ns": time.time_ns(), "nonce": "nonce-of-a-revocation"}
        answer = await fetch(address, "v1/admin/reload", method="POST", json=body, **bearer(operator))
        assert answer.status_code == 200
        for chain in bots:
            with pytest.raises(RequestRefused, match="unauthorized: the token is not valid any more"):
                await to_the_end(chain)
        assert (await fetch(address, "v1/underlyings", **bearer(operator))).status_code == 200
        for chain in bots:
            await chain.__aexit__(None, None, None)
            assert not chain.stats["failed_attempts"]


async def test_Z03_an_address_that_is_locked_out_comes_back_when_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sidecar says for how long; a client that goes on asking would find out no sooner."""
    pauses: list[float] = []
    pause_of = client.Connection._pause

    def at_once(self: client.Connection, asked_s: float) -> float:
        pauses.append(pause_of(self, asked_s))
        return 0.0

    monkeypatch.setattr(client.Connection, "_pause", at_once)
    process, _ = answering((0, "", b""), (429, "40", b'{"detail": "too many"}'), (0, "", b""))
    async with listen(lambda _: asyncio.sleep(0), "127.0.0.1", 0, process_request=process) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/v1/stream") as chain:
            await until(lambda: chain.stats["reconnections"] >= 1)
    assert [pause >= 40.0 for pause in pauses[:2]] == [False, True]
    assert chain.stats["failed_attempts"] == 1


def test_a_client_knows_the_sidecars_own_word_for_a_token_that_is_none() -> None:
    assert UNAUTHORIZED_CLOSE == door.UNAUTHORIZED_CLOSE
