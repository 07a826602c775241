"""From the embedded market's frames to a bot's rows: feed, engine, sidecar and client over real sockets."""

from __future__ import annotations

import asyncio

import httpx
import pytest

import pricer
from pricer.conventions import Status
from pricer.errors import NotTradable
from pricer.sidecar.client import connect
from pricer.sidecar.readiness import readiness
from pricer.streaming import LiveStream
from tests.embedded_market import embedded_market
from tests.sidecar.serving import running, stream_of

# Kernels that are compiled for the first time take a minute on two cores.
pytestmark = pytest.mark.timeout(300)


async def until_ready(stream: LiveStream) -> None:
    async with asyncio.timeout(120):
        async for snapshot in stream:
            if readiness(snapshot, "deribit", ["BTC"]).ready:
                return


async def test_a_bot_reads_the_embedded_market_and_silence_turns_stale() -> None:
    await asyncio.to_thread(pricer.warmup)
    async with (
        embedded_market(3) as server,
        pricer.live("deribit", "BTC", server.url) as stream,
        running(stream) as address,
        httpx.AsyncClient(timeout=60, trust_env=False, base_url=address) as http,
    ):
        await until_ready(stream)
        async with asyncio.timeout(120):  # it may be behind for a moment
            while (await http.get("health/ready")).json() != {"ready": True, "missing": []}:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        surface = (await http.get("v1/surface/BTC")).json()
        async with connect(stream_of(address), "BTC") as chain:
            states = aiter(chain)
            state = await anext(states)
            while sum(row.status == Status.OK for row in state) <= 0.9 * len(state):  # a busy machine may be behind
                state = await anext(states)
            ok = [row for row in state if row.status == Status.OK]
            calls = [row.delta for row in ok if row.cp > 0]
            version = state.version
            while state.version < version + 5:
                state = await anext(states)
            assert chain.stats.total() == 0
            await server.close()
            await silence(state, http)
    assert ok
    assert all(0.0 <= delta <= 1.0 for delta in calls)
    assert all(expiry["model"] == "svi" and expiry["certificate"]["butterfly"] for expiry in surface["expiries"])


async def silence(state: pricer.Snapshot, http: httpx.AsyncClient) -> None:
    """The market is gone: the bot's rows refuse by their own clock, and the sidecar is not ready."""
    row = next(iter(state))
    async with asyncio.timeout(60):
        while row.status != Status.STALE:  # noqa: ASYNC110 - time passes; nobody says so
            await asyncio.sleep(0.05)
    with pytest.raises(NotTradable, match="UNDERLYING_STALE"):
        _ = row.delta
    answer = await http.get("health/ready")
    assert answer.status_code == 503
    assert any("the index is STALE" in what for what in answer.json()["missing"])
