"""A stream that fails is opened again, its numbers are marked meanwhile, and what never helps is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from pricer import supervisor as module
from pricer.adapters.events import BookDepth
from pricer.clock import ManualClock, SystemClock
from pricer.conventions import Reason, Status
from pricer.engine import Engine
from pricer.errors import VolstreamError
from pricer.orderflow import OrderFlow
from pricer.snapshot import Snapshot, VenueHealth
from pricer.streaming import LiveStream, Publish
from pricer.supervisor import MOST_RESTARTS, Supervisor
from tests.handmade import NOW, SECOND
from tests.scripted_feed import ScriptedFeed
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Market
from tests.waiting import until


class FailingEngine(Engine):
    """Prices so many times and then has a bug."""

    def __init__(self, prices: int, where: str) -> None:
        super().__init__(clock=SystemClock())
        self._prices, self._where = prices, where

    def price(self, *arguments: Any) -> Snapshot:
        self._prices -= 1
        if self._prices < 0 and self._where == "price":
            raise ZeroDivisionError("a bug in the pricing")
        return super().price(*arguments)

    def apply(self, event: Any) -> None:
        if self._prices < 0 and self._where == "apply":
            raise KeyError("a bug in the engine")
        super().apply(event)


class FailingFeed(ScriptedFeed):
    async def run(self) -> None:
        task = asyncio.create_task(super().run())
        await asyncio.sleep(0.1)
        task.cancel()
        raise RuntimeError("a bug in the feed's task")


def streams(where: str, failing: int) -> Callable[[], LiveStream]:
    """`failing` streams that fail after some snapshots, and then good ones."""
    made: list[LiveStream] = []

    def open_stream() -> LiveStream:
        bad = len(made) < failing
        feed = FailingFeed if bad and where == "feed" else ScriptedFeed
        engine = FailingEngine(3, where) if bad else Engine(clock=SystemClock())
        made.append(
            LiveStream(lambda deliver, tap: feed(deliver), engine, SystemClock(), "when_drained", None)  # type: ignore[arg-type, return-value]
        )
        return made[-1]

    return open_stream


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    # Long enough for a reader on a busy machine to have its turn before the next stream has something to say.
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(module, "LAST_PAUSE_S", 0.2)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)


@pytest.mark.parametrize("where", ["price", "apply", "feed"])
async def test_E08_an_unforeseen_error_restarts_the_unit_counts_and_marks_its_numbers(where: str) -> None:
    seen: list[Snapshot] = []
    async with Supervisor(streams(where, 2)) as source:
        reader = source.subscribe()

        async def read() -> None:
            async for snapshot in reader:
                seen.append(snapshot)  # noqa: PERF401 - looked at while it grows

        reading = asyncio.create_task(read())
        await until(lambda: source.counts["restarts"] == 2)
        version = len(seen)
        await until(lambda: len(seen) > version + 3)
        assert source.healthy
        assert "a bug in" in str(source.error)
        assert source.stats["failures"] == 2
        await until(lambda: source.latest is not None and {row.status for row in source.latest} == {Status.OK})
    await asyncio.wait_for(reading, 60)
    bad = [snapshot for snapshot in seen if any(row.reasons & Reason.RESYNCING for row in snapshot)]
    assert len(bad) == 2, "each failure is told once to every reader"
    assert all(row.status >= Status.STALE for snapshot in bad for row in snapshot)
    assert all(forward.status >= Status.STALE for snapshot in bad for forward in snapshot.forwards.values())


class FeedOfBooks(ScriptedFeed):
    wanted: frozenset[str] = frozenset()

    def want_books(self, names: frozenset[str]) -> None:
        FeedOfBooks.wanted = names


async def test_E08_books_that_somebody_looks_at_are_asked_for_again_after_a_restart() -> None:
    made: list[LiveStream] = []

    def open_stream() -> LiveStream:
        engine = Engine(clock=SystemClock()) if made else FailingEngine(30, "price")
        made.append(
            LiveStream(
                lambda deliver, tap: FeedOfBooks(deliver),  # type: ignore[arg-type, return-value]
                engine,
                SystemClock(),
                "when_drained",
                None,
                books_on_demand=4,
            )
        )
        return made[-1]

    async with Supervisor(open_stream) as source:
        for name in ("A", "B", "B"):
            source.want_book(name)
        source.release_book("A")
        source.release_book("B")
        FeedOfBooks.wanted = frozenset()
        await until(lambda: source.counts["restarts"] == 1 and FeedOfBooks.wanted == {"B"})
        source.release_book("B")
        source.release_book("C")  # of which nobody wanted one


async def test_E08_I12_after_five_restarts_in_a_minute_it_is_unhealthy_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Supervisor(streams("price", 100)) as source, running(source) as address:
        await until(lambda: not source.healthy)
        async with httpx.AsyncClient(timeout=60, base_url=address, trust_env=False) as http:
            alive, ready = await http.get("health/live"), await http.get("health/ready")
        assert (alive.status_code, alive.json()["live"]) == (503, False)
        assert ready.status_code == 503
        assert source.counts["restarts"] == MOST_RESTARTS
        assert source.latest is not None
        assert all(row.status >= Status.STALE for row in source.latest)
        await asyncio.sleep(0.1)
        assert source.counts["restarts"] == MOST_RESTARTS, "it does not go round"
    assert any("no more are tried" in record.getMessage() for record in caplog.records)


async def test_E08_an_error_at_the_first_opening_is_the_callers() -> None:
    class Unreachable(ScriptedFeed):
        async def connected(self, timeout: float) -> None:  # noqa: ASYNC109 - the feed's own signature
            raise VolstreamError("nobody there")

    def open_stream() -> LiveStream:
        engine = Engine(clock=SystemClock())
        return LiveStream(lambda deliver, tap: Unreachable(deliver), engine, SystemClock(), "when_drained", 1.0)  # type: ignore[arg-type, return-value]

    with pytest.raises(VolstreamError, match="nobody there"):
        async with Supervisor(open_stream):
            pass


def test_E08_I1_the_book_of_a_stream_whose_engine_hangs_is_stale() -> None:
    clock = ManualClock(NOW)
    flow = OrderFlow("deribit")
    levels = ((0.05, 1.0),)
    flow.apply([BookDepth(venue="deribit", received=clock.now(), instrument="A", bids=levels, asks=((0.06, 1.0),))])

    def stream(publish: Publish) -> LiveStream:
        never_opened: Any = None
        made = LiveStream(never_opened, Engine(clock=clock), clock, publish, None, flow=flow)
        made._readers.publish(Market(clock).snapshot())
        return made

    live, slow = stream("when_drained"), stream(1000)
    for seconds, expected in (
        (2.0, (Status.OK, Status.OK)),
        (0.5, (Status.STALE, Status.OK)),
        (1.0, 2 * (Status.STALE,)),
    ):
        clock.advance(round(seconds * SECOND))
        assert (live.book("A").status, slow.book("A").status) == expected
    assert live.book("A").reasons == Reason.QUOTE_STALE
    assert live.book("A").book is not None


def test_E08_I8_what_is_left_of_a_failed_engine_says_so_of_its_connections_too() -> None:
    market = Market(SystemClock())
    snapshot = replace(market.snapshot(), health={"deribit": VenueHealth("deribit", connections=2)})
    left = module.marked(snapshot)
    assert {(feed.state, feed.reason) for feed in left.feeds} == {("closed", "failed")}
    assert left.health["deribit"].connections == 0
    assert {int(status) for block in left.blocks for status in block.status.min(0)} <= {Status.STALE, Status.INVALID}
