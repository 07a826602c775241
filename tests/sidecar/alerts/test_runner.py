"""The whole way: a market moves, a rule fires, the log has a line and clients have a row."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from pricer.clock import Instant, ManualClock
from pricer.sidecar.alerts.language import parse
from pricer.sidecar.alerts.notices import Notice, Notices
from pricer.sidecar.alerts.runner import Alerting, LogSink, Sink
from pricer.sidecar.alerts.watch import Watch
from tests.handmade import SECOND
from tests.sidecar.snapshots import Market
from tests.waiting import PATIENCE_S

START = Instant(1_795_000_000 * SECOND, 1000 * SECOND)


class Kept:
    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.told = asyncio.Event()

    def tell(self, notices: list[Notice]) -> None:
        self.notices += notices
        self.told.set()


def alerting(market: Market, *sinks: Sink, rules: tuple[str, ...] = ("iv > 5",)) -> Alerting:
    watch = Watch([parse(f"r{i}", text) for i, text in enumerate(rules)])
    return Alerting(
        watch,
        Notices(10),
        sinks,
        newest=market.snapshot,
        clock=market.clock,
        every_s=0.01,
    )


async def test_a_rule_fires_and_is_told_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    market, kept = Market(ManualClock(START)), Kept()
    running = alerting(market, LogSink("{rule} {state}: {subjects} at {value}"), kept)
    caplog.set_level(logging.INFO, "pricer.sidecar.alerts")
    await running.look()
    assert not running.active
    market.quote(0, 10, iv=6.0)
    await running.look()
    name = market.definitions[0].names[10]
    assert [(active.subject, active.value) for active in running.active] == [(name, 6.0)]
    assert [(each.rule, each.state) for each in kept.notices] == [("r0", "raised")]
    market.quote(0, 10, iv=1.0)
    await running.look()
    assert not running.active
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages == [f"r0 raised: {name} at 6", f"r0 cleared: {name} at 1"]


async def test_whoever_sees_an_alert_has_been_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients are shown what is active whenever the loop comes round, also while it waits for a round's thread."""
    market, kept = Market(ManualClock(START)), Kept()
    running = alerting(market, kept)
    market.quote(0, 10, iv=6.0)
    judged, seen, on_a_thread = asyncio.Event(), asyncio.Event(), asyncio.to_thread

    async def late(function: Callable[..., Any], *arguments: Any) -> Any:
        found = await on_a_thread(function, *arguments)
        judged.set()
        await seen.wait()
        return found

    monkeypatch.setattr(asyncio, "to_thread", late)
    looking = asyncio.create_task(running.look())
    await asyncio.wait_for(judged.wait(), PATIENCE_S)
    assert (running.active, kept.notices) == ((), [])
    seen.set()
    await looking
    assert len(running.active) == len(kept.notices) == 1


async def test_X06_five_thousand_rules_leave_the_loop_its_turns() -> None:
    market, kept = Market(ManualClock(START)), Kept()
    running = alerting(market, kept, rules=tuple(f"iv > 0.{i:04d}1 in nearest 1" for i in range(5000)))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    turning = asyncio.create_task(turn())
    changes = await running.look()
    turning.cancel()
    assert turns > 20
    assert len({change.rule.name for change in changes}) > 1000
    assert len(kept.notices) == 10
    assert sum(notice.count for notice in kept.notices) == len(changes)


async def test_it_runs_until_cancelled() -> None:
    market, kept = Market(ManualClock(START)), Kept()
    market.quote(0, 10, iv=6.0)
    task = asyncio.create_task(alerting(market, kept).run())
    async with asyncio.timeout(60):
        await kept.told.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
