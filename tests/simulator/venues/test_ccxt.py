"""A client that nobody here wrote talks to the embedded Deribit: the ccxt package, over REST and WebSocket.

`pip install volstream[ccxt]` brings it; without it the test is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pricer.simulator.market import Chain
from pricer.simulator.venues.deribit import DeribitServer
from tests.simulator.venues.sans_io import SECRETS

if importlib.util.find_spec("ccxt") is None:
    pytest.skip("ccxt is not installed (extra: ccxt)", allow_module_level=True)

PERPETUAL = "BTC/USD:BTC"
SECONDS = 60.0


@contextlib.asynccontextmanager
async def client_of(server: DeribitServer, **settings: Any) -> AsyncIterator[Any]:
    """A ccxt client of the loopback address, without its own pacing of requests."""
    import ccxt.pro as ccxt  # here: it takes seconds and 100 MiB, which collecting tests must not

    client = ccxt.deribit({"enableRateLimit": False, "newUpdates": False, **settings})
    client.urls["api"] = {"rest": server.http_url.removesuffix("/api/v2"), "ws": server.url}
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def server() -> AsyncIterator[DeribitServer]:
    async with DeribitServer(seed=7, step_s=None, accounts=SECRETS) as server:
        yield server


@pytest.fixture
async def client(server: DeribitServer) -> AsyncIterator[Any]:
    async with client_of(server) as client:
        await client.load_markets()
        yield client


async def while_ticking(server: DeribitServer, waiting: Any) -> Any:
    """The client's answer, while the market goes on."""
    task = asyncio.ensure_future(waiting)
    async with asyncio.timeout(SECONDS):
        while not task.done():
            server.tick()
            await asyncio.sleep(0.02)
    return task.result()


def an_option(client: Any, chain: Chain) -> tuple[str, str]:
    """A quoted option near the money: its ccxt symbol and our name."""
    rows = chain.rows
    quoted = (rows["bid"] > 0.0) & (rows["ask"] > 0.0) & (abs(rows["delta"]) < 0.6) & (abs(rows["delta"]) > 0.4)
    name = chain.names[int(quoted.nonzero()[0][5])]
    return client.markets_by_id[name][0]["symbol"], name


async def test_ccxt_sees_the_same_instruments_strikes_and_expiries(server: DeribitServer, client: Any) -> None:
    ours = server.market.chains.values()
    by_id = {market["id"]: market for market in client.markets.values()}
    assert set(by_id) == {name for chain in ours for name in (*chain.names, *chain.futures)}
    for chain in ours:
        for name, row in chain.row_of.items():
            seen, option = by_id[name], chain.rows[row]
            assert seen["type"] == "option"
            assert seen["strike"] == option["strike"]
            assert seen["optionType"] == ("call" if option["cp"] > 0 else "put")
            assert seen["expiry"] == option["expiry_ns"] // 1_000_000
            assert (seen["inverse"], seen["linear"]) == (chain.family.inverse, not chain.family.inverse)
            assert seen["settle"] == chain.family.settlement
            assert seen["precision"]["price"] == chain.family.ticks.fine
    assert client.markets[PERPETUAL]["swap"] is True


async def test_ccxt_reads_the_same_prices_over_rest(server: DeribitServer, client: Any) -> None:
    chain = server.market.chains["BTC"]
    symbol, name = an_option(client, chain)
    option = chain.rows[chain.row_of[name]]
    ticker, book = await client.fetch_ticker(symbol), await client.fetch_order_book(symbol)
    greeks = await client.fetch_greeks(symbol)
    assert (ticker["bid"], ticker["ask"]) == (option["bid"], option["ask"])
    assert (book["bids"][0], book["asks"][0]) == (
        [option["bid"], option["bid_size"]],
        [option["ask"], option["ask_size"]],
    )
    assert greeks["delta"] == option["delta"]
    assert greeks["underlyingPrice"] == option["forward"]
    for _ in range(50):
        server.tick()
        await asyncio.sleep(0.02)
    trades = await client.fetch_trades(PERPETUAL)
    assert [t["id"] for t in trades] == [
        t.trade_id for t in server.market.tape.recent["BTC"] if t.name == "BTC-PERPETUAL"
    ][-len(trades) :]
    assert (await client.fetch_status())["status"] == "ok"
    assert {"BTC", "USDC"} <= set(await client.fetch_currencies())
    tickers = await client.fetch_tickers(params={"code": "BTC"})
    assert set(tickers) == {market["symbol"] for market in client.markets.values() if market["settle"] == "BTC"}
    chain_seen = await client.fetch_option_chain("BTC")
    assert len(chain_seen) == len(chain.names)


async def test_ccxt_watches_the_same_tickers_and_books(server: DeribitServer, client: Any) -> None:
    chain = server.market.chains["BTC"]
    symbol, name = an_option(client, chain)
    for _ in range(3):
        await while_ticking(server, client.watch_ticker(symbol))
    for _ in range(5):
        await while_ticking(server, client.watch_order_book(symbol))
        await while_ticking(server, client.watch_order_book(PERPETUAL))
    option, future = chain.rows[chain.row_of[name]], chain.futures["BTC-PERPETUAL"]

    def seen() -> list[Any]:
        ticker, book, perpetual = client.tickers[symbol], client.orderbooks[symbol], client.orderbooks[PERPETUAL]
        best = (perpetual["bids"][0][:2], perpetual["asks"][0][:2])
        return [ticker["bid"], ticker["ask"], book["bids"][0][0], book["asks"][0][0], *best]

    there = [option["bid"], option["ask"]] * 2 + [[future.bid, future.bid_size], [future.ask, future.ask_size]]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            while seen() != there:  # noqa: ASYNC110 - what is on its way arrives; the market stands still
                await asyncio.sleep(0.02)
    assert seen() == there
    assert len(client.orderbooks[PERPETUAL]["bids"]) >= 10
    quote = await while_ticking(server, client.watch_bids_asks([PERPETUAL]))
    assert quote[PERPETUAL]["bid"] == pytest.approx(future.bid, rel=1e-3)
    trades = await while_ticking(server, client.watch_trades(PERPETUAL))
    assert trades[-1]["symbol"] == PERPETUAL


async def test_ccxt_logs_in_with_a_signature_and_sees_the_account(server: DeribitServer) -> None:
    from ccxt.base import errors as ccxt_errors

    async with client_of(server, apiKey="key-1", secret=SECRETS["key-1"]) as client:
        await client.load_markets()
        positions = await client.fetch_positions(params={"currency": "BTC"})
        owned = server.venue.rpc.owned["key-1"].account.holdings
        assert {p["info"]["instrument_name"] for p in positions} == {n for n in owned if not n.startswith("BTC_USDC")}
        raw = await while_ticking(server, client.watch_ticker(PERPETUAL, {"interval": "raw"}))
        assert raw["symbol"] == PERPETUAL
        balance = await while_ticking(server, client.watch_balance())
        assert balance["info"]["currency"] in ("BTC", "USDC")
    async with client_of(server, apiKey="key-1", secret="wrong") as stranger:
        await stranger.load_markets()
        with pytest.raises(ccxt_errors.AuthenticationError):
            await stranger.fetch_positions(params={"currency": "BTC"})
