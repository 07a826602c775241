"""A bot's client against a real sidecar: the same rows, the same refusals, by its own clock."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pricer.clock import Instant, ManualClock
from pricer.config import ServerSection, Settings
from pricer.errors import ConnectError, NotTradable, ProtocolError
from pricer.sidecar.app import bind, serve
from pricer.sidecar.client import ServerClock, connect
from pricer.sidecar.replica import Replica
from tests.handmade import SECOND
from tests.sidecar.serving import QUICK, running, stream_of
from tests.sidecar.snapshots import Market, Source


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


async def test_X03_numbers_turn_stale_without_any_message_from_the_server(source: Source, market: Market) -> None:
    name = market.definitions[1].names[4]
    async with running(source) as address:
        chain = connect(stream_of(address))
        await chain.__aenter__()
        state = await anext(aiter(chain))
        assert state[name].delta > 0
    await asyncio.sleep(2.1)  # the forward's limit; the server is gone
    with pytest.raises(NotTradable, match="STALE: UNDERLYING_STALE"):
        _ = state[name].delta
    await chain.__aexit__(None, None, None)


async def test_V10_a_client_comes_back_to_a_new_sidecar(source: Source, market: Market) -> None:
    listener = bind(ServerSection(port=0))
    port = listener.getsockname()[1]
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
        async with asyncio.timeout(10):
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConnectError, match=f"127.0.0.1:{port}"):
        await connect(f"ws://127.0.0.1:{port}/v1/stream").__aenter__()


async def test_a_break_in_the_sequence_asks_for_a_new_snapshot(
    source: Source, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = Replica.apply
    lost: list[object] = []

    def lossy(self: Replica, message: dict[str, object]) -> bool:
        if message["type"] == "delta" and not lost:
            lost.append(message["seq"])
            return False
        return apply(self, message)

    async with running(source) as address, connect(stream_of(address)) as chain:
        states = aiter(chain)
        await anext(states)
        monkeypatch.setattr(Replica, "apply", lossy)
        for _ in range(3):
            market.move()
            source.publish(market.snapshot())
            await asyncio.sleep(0.02)
        async with asyncio.timeout(5):
            state = await anext(states)
            while state.version != market.version:
                state = await anext(states)
    assert chain.stats["resubscriptions"] == 1
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
