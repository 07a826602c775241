"""What is asked of a venue, as a value; and what `pricer.live` makes of it on the embedded market."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

import pricer
from pricer.adapters.deribit import Credentials
from pricer.books import BookView
from pricer.config import Settings
from pricer.conventions import Reason, Status
from pricer.errors import ConfigError
from pricer.feedplan import FeedPlan
from pricer.microstructure import MicroState
from pricer.simulator.venues.deribit.rpc import Session
from pricer.snapshot import Snapshot
from tests.embedded_market import embedded_market
from tests.waiting import PATIENCE_S, until


def test_a_plan_survives_a_recordings_notes() -> None:
    plan = FeedPlan(underlyings=("BTC", "ETH"), books=("BTC-PERPETUAL",), trades=True, strikes=5, connections=3)
    assert FeedPlan.from_meta(msgspec.json.decode(msgspec.json.encode(plan.to_meta()))) == plan


def test_notes_of_an_earlier_version_know_less_and_those_of_a_later_one_more() -> None:
    assert FeedPlan.from_meta({"venue": "deribit", "underlyings": ["ETH"], "price_marks": True}) == FeedPlan(
        underlyings=("ETH",)
    )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"venue": "nowhere"}, "nowhere"),
        ({"connections": 0}, "connections: 0"),
        ({"connections": 33}, "limit of 32"),
        ({"strikes": 0}, "strikes: 0"),
        ({"underlyings": ("btc",)}, "btc"),
        ({"books": "some"}, "some"),
    ],
)
def test_what_is_impossible_is_named(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        FeedPlan(**settings)  # type: ignore[arg-type]


def test_trades_and_the_account_are_asked_for_on_the_first_connection_alone() -> None:
    adapter_of = FeedPlan(trades=True, connections=2).adapters(Credentials("name", "secret"))
    trading = [any(name.startswith("trades.") for name in adapter_of(lane)._session._state) for lane in (0, 1)]
    assert trading == [True, False]
    assert [adapter_of(lane)._private._account is not None for lane in (0, 1)] == [True, False]


async def some_snapshots(stream: pricer.LiveStream, count: int, tradable: int = 200) -> list[Snapshot]:
    """The first `count` of those in which so many options are tradable."""
    found: list[Snapshot] = []
    async with asyncio.timeout(120):
        async for snapshot in stream:
            if sum((block.status[3] == Status.OK).sum() for block in snapshot.blocks) > tradable:
                found.append(snapshot)
            if len(found) == count:
                break
    return found


async def book_and_its_state(stream: pricer.LiveStream, names: list[str]) -> tuple[BookView, MicroState]:
    """Of an option that has both, and of one book: the engine works on in its own thread meanwhile."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            for name in names:
                view, state = stream.book(name), stream.microstructure(name, points=2.0)
                is_one = stream.book(name).book is view.book
                if is_one and view.status is Status.OK and not math.isnan(state.vega_depth.bid):
                    return view, state
            await asyncio.sleep(0.01)


async def test_books_and_trades_are_read_beside_the_chain() -> None:
    async with embedded_market(activity=0.3) as server:
        stream = pricer.live(url=server.url, books="all", trades=True, strikes=4, expiries=3)
        async with stream:
            (snapshot,) = await some_snapshots(stream, 1, tradable=20)
            names = [row.name for row in snapshot if row.status is Status.OK]
            assert 20 < len(names) <= 3 * 2 * 2 * 5
            await until(lambda: all(stream.book(name).status <= Status.DEGRADED for name in names))
            view, state = await book_and_its_state(stream, names)
            assert view.book is not None
            assert view.book.bids[0][0] < view.book.asks[0][0]
            assert -1.0 <= state.imbalance <= 1.0
            assert view.book.bids[0][0] <= state.microprice <= view.book.asks[0][0]
            assert state.vega_depth.bid >= 0.0
            assert stream.book("BTC-1JAN70-1-C").status is Status.INVALID
            assert math.isnan(stream.microstructure("BTC-1JAN70-1-C").mid)


async def test_books_that_were_not_asked_for_are_no_books() -> None:
    stream = pricer.live(url="ws://127.0.0.1:1")
    with pytest.raises(ConfigError, match="books="):
        stream.book("BTC-PERPETUAL")


async def test_I7_three_connections_replay_to_the_live_runs_snapshots(tmp_path: Path) -> None:
    path = tmp_path / "three"
    async with embedded_market() as server:
        stream = pricer.live(url=server.url, connections=3, expiries=4, record=path)
        async with stream:
            live = await some_snapshots(stream, 3)
            assert len(server.sessions) == 3
            assert stream.feed_counters["connections"] == 3
    replayed = {}
    for snapshot in pricer.replay(path):
        replayed[snapshot.version] = snapshot.digest()
    assert not any(Reason.RESYNCING in row.reasons for row in snapshot), "the recorder's end is no news of the market"
    assert [replayed[snapshot.version] for snapshot in live] == [snapshot.digest() for snapshot in live]


async def test_T02_a_lost_connection_takes_its_own_options_and_no_others() -> None:
    async with embedded_market() as server:
        stream = pricer.live(url=server.url, connections=2, expiries=4)
        async with stream:
            await until(lambda: [len(_names(each)) > 50 for each in server.sessions.values()] == [True, True])
            async with asyncio.timeout(120):
                async for before in stream:  # the first ones may be of one connection, or from before the fits
                    before_names = {row.name for row in before}
                    carried = [before_names & _names(session) for session in server.sessions.values()]
                    ok = [sum(before[name].status is Status.OK for name in names) for names in carried]
                    if all(count > 0.8 * len(names) > 0 for count, names in zip(ok, carried, strict=True)):
                        break
            assert not carried[0] & carried[1]
            next(iter(server.sessions)).transport.abort()
            async with asyncio.timeout(120):
                async for after in stream:
                    lost = [name for name in carried[0] if after[name].status is not Status.OK]
                    if len(lost) > 0.8 * len(carried[0]):
                        break
            # Their surfaces have lost half of their quotes, which may degrade what is read from them.
            kept = [after[name] for name in carried[1] if before[name].status is Status.OK]
            assert sum(row.status <= Status.DEGRADED for row in kept) > 0.9 * len(kept)
            assert not any(Reason.RESYNCING in row.reasons for row in kept)


def _names(session: Session) -> set[str]:
    return {channel.split(".")[1] for channel in session.channels if channel.startswith("ticker.")}


async def test_an_account_is_read_beside_the_chain() -> None:
    async with embedded_market(accounts={"name": "a-secret"}) as server:
        stream = pricer.live(url=server.url, expiries=2, credentials=Credentials("name", "a-secret"))
        async with stream:
            await until(lambda: _account(stream) is not None and bool(_account(stream).positions))
            view = _account(stream)
        assert view.status is Status.OK
        assert all(position.size for position in view.positions.values())
        assert view.portfolios["BTC"].equity > 0.0


@pytest.mark.parametrize("follows", ["warn", "refuse"])
async def test_Z15_a_key_that_may_trade_is_warned_of_or_refused(
    follows: Literal["warn", "refuse"], caplog: pytest.LogCaptureFixture
) -> None:
    async with embedded_market(accounts={"name": "a-secret"}) as server:
        server.venue.rpc.keys.rights = "account:read trade:read_write wallet:read_write"
        settings = Settings.load(
            None, feed={"client_id": "name", "client_secret": "a-secret", "excess_rights": follows}
        )
        stream = pricer.live(url=server.url, expiries=2, credentials=settings.feed.credentials())
        async with stream:
            meant = Status.OK if follows == "warn" else Status.INVALID
            await until(lambda: _account(stream) is not None and _account(stream).status is meant, 30)
            login = _account(stream).login
    assert login.reason == "excess_rights"
    (line,) = [each.getMessage() for each in caplog.records if "read_write" in each.getMessage()]
    assert "deribit: the login is good for trade:read_write, wallet:read_write" in line
    assert "a-secret" not in caplog.text


async def test_a_wrong_key_takes_nothing_public_away() -> None:
    async with embedded_market(accounts={"name": "a-secret"}) as server:
        stream = pricer.live(url=server.url, expiries=4, credentials=Credentials("name", "another"))
        async with stream:
            await some_snapshots(stream, 1)
            await until(lambda: _account(stream) is not None and _account(stream).status is Status.INVALID)
            assert not _account(stream).positions


def _account(stream: pricer.LiveStream) -> Any:
    return None if stream.latest is None else stream.latest.account
