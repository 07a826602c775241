"""Rows of the fault catalogue on virtual time: the whole chain from the venue to the snapshot, and the row's figure.

Every run also goes through the checks of the simulator bench, after every snapshot and at the end.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from pricer.adapters.events import ChannelAlarm, FeedStatus
from pricer.clock import NS_PER_SECOND
from pricer.conventions import Reason, Status
from pricer.simulator.faults import Fault, fault
from pricer.simulator.virtual_time import VirtualTimeLoop, run_on
from tests.simulate.scenario import Body, Result, Run
from tests.simulator.small_venue import ROLL_NS

# A tick of the market, a pause between two snapshots, and the way there.
SLACK_S = 0.9


def live(body: Body, start_ns: int | None = None) -> Run:
    """A run without a script: `body` begins and ends the faults itself."""
    loop = VirtualTimeLoop()
    run = Run(loop, Result(1, ()), start_ns=start_ns)
    run_on(loop, run.main(body))
    return run


def begin(run: Run, name: str, **parameters: Any) -> Fault:
    each = fault(run.loop.time(), name, **parameters)
    target = run.host if each.kind.where == "host" else run.path if each.kind.where == "path" else run.venue
    target.begin(id(each), each)
    return each


def end(run: Run, each: Fault) -> None:
    (run.path if each.kind.where == "path" else run.venue).end(id(each), each)


async def calm(run: Run) -> set[str]:
    """Until everything is OK; the options that are."""
    await asyncio.sleep(6.0)
    wanted = run.names(Status.OK)
    assert len(wanted) >= 12
    return wanted


async def until(run: Run, holds: Any, limit_s: float) -> float:
    """Seconds until `holds()`; fails where it has not within `limit_s`."""
    began_s = run.loop.time()
    while not holds():
        assert run.loop.time() - began_s <= limit_s, f"not within {limit_s} s"
        await asyncio.sleep(0.02)
    return run.loop.time() - began_s


def none_is_ok(run: Run) -> bool:
    return not run.names(Status.OK, Status.DEGRADED)


def closed(run: Run) -> list[FeedStatus]:
    return [each for each in run.events if isinstance(each, FeedStatus) and each.state == "closed"]


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_T02_T03_a_lost_connection_is_told_at_once_and_all_is_ok_again_within_three_seconds(how: str) -> None:
    async def body(run: Run) -> None:
        wanted = await calm(run)
        at_ns = run.host_clock.now().mono_ns
        begin(run, how)
        await until(run, lambda: closed(run), 0.1)
        assert closed(run)[0].received.mono_ns - at_ns <= 0.1 * NS_PER_SECOND
        assert closed(run)[0].reason == {"reset": "reset", "fin": "eof"}[how]
        assert await until(run, lambda: none_is_ok(run), 0.1 + SLACK_S) <= 0.1 + SLACK_S
        assert await run.recovery(wanted) <= 3.0

    run = live(body)
    assert run.feed.counters["connections"] == 2


def test_T03_a_close_of_the_venues_has_its_code_and_comes_back() -> None:
    async def body(run: Run) -> None:
        wanted = await calm(run)
        begin(run, "close", code=1001)
        await until(run, lambda: closed(run), 0.1 + SLACK_S)
        assert closed(run)[0].reason == "closed_going_away"
        assert await run.recovery(wanted) <= 3.0

    live(body)


def test_T04_half_open_is_stale_in_two_seconds_and_given_up_in_fifteen() -> None:
    async def body(run: Run) -> None:
        wanted = await calm(run)
        hole = begin(run, "black_hole")
        assert await until(run, lambda: none_is_ok(run), 2.0 + SLACK_S) > 1.0
        await until(run, lambda: closed(run), 15.0)
        assert closed(run)[0].reason in ("ping_timeout", "heartbeat_lost")
        end(run, hole)
        await run.recovery(wanted)

    live(body)


def test_T05_a_way_up_that_is_blocked_is_noticed_although_data_comes() -> None:
    async def body(run: Run) -> None:
        await calm(run)
        frames = run.observer.frames
        hole = begin(run, "black_hole", direction="up")
        await until(run, lambda: closed(run), 15.0)
        assert run.observer.frames > frames + 100, "data came all the while"
        assert closed(run)[0].reason == "ping_timeout"
        assert sum(len(link.up) for link in run.path.links) < 100
        end(run, hole)

    live(body)


def test_T06_a_zombie_is_stale_in_two_seconds_and_ok_again_with_its_data() -> None:
    """The market's data stop, heartbeats and pings are answered: nothing is OK for longer than its own limit."""

    async def body(run: Run) -> None:
        wanted = await calm(run)
        zombie = begin(run, "zombie")
        await until(run, lambda: none_is_ok(run), 2.0 + SLACK_S)
        await asyncio.sleep(4.0)
        assert none_is_ok(run)
        end(run, zombie)
        assert await run.recovery(wanted) <= 12.0

    live(body)


def test_T07_a_spike_of_latency_is_no_reason_to_reconnect() -> None:
    async def body(run: Run) -> None:
        wanted = await calm(run)
        slow = begin(run, "latency", seconds=2.3)  # each way: pongs come within their 5 s
        await until(run, lambda: none_is_ok(run), 2.0 + SLACK_S)  # until the first late frame there is none at all
        await asyncio.sleep(20.0)
        end(run, slow)
        assert await run.recovery(wanted) <= 5.0
        assert closed(run) == []

    run = live(body)
    assert run.feed.counters["connections"] == 1


def test_T14_what_is_published_first_after_a_long_sleep_is_stale_and_there_is_no_burst_of_timers() -> None:
    async def body(run: Run) -> None:
        wanted = await calm(run)
        assert run.latest is not None
        before = run.latest.version
        begin(run, "sleep", for_s=600.0)
        await until(run, lambda: run.latest.version != before, 1.0)  # before there is a second one
        assert run.names(Status.OK, Status.DEGRADED) == set()
        assert await run.recovery(wanted) <= 30.0

    run = live(body)
    assert run.feed.counters["attempts"] <= 2
    assert run.result.counts["snapshots"] < 200


def test_N03_what_the_venue_sends_after_the_expiry_comes_out_nowhere() -> None:
    async def body(run: Run) -> None:
        await asyncio.sleep(3.0)
        old = {name for name in run.venue.market.chains["BTC"].names if "-27NOV26-" in name}
        begin(run, "after_expiry")
        await asyncio.sleep(30.0)  # over the expiry, and past the time for which it is shown as expired
        assert not old & set(run.venue.market.chains["BTC"].names)
        assert run.latest is not None
        assert not old & {row.name for row in run.latest}
        assert run.venue.counters["after_expiry"] > 100

    run = live(body, ROLL_NS - 10 * NS_PER_SECOND)
    assert run.adapter.counters["after_expiry"] > 100


def test_P12_what_nobody_knows_disconnects_nobody() -> None:
    async def body(run: Run) -> None:
        wanted = await calm(run)
        unknown = begin(run, "unknown_messages")
        await asyncio.sleep(10.0)
        assert wanted <= run.names(Status.OK, Status.DEGRADED)
        end(run, unknown)

    run = live(body)
    assert run.feed.counters["connections"] == 1
    assert run.adapter.counters["unknown_method"] > 10


def test_P14_maintenance_brings_no_storm_and_all_is_back_three_seconds_after_it() -> None:
    async def body(run: Run) -> None:
        wanted = await calm(run)
        down = begin(run, "maintenance")
        await until(run, lambda: none_is_ok(run), 2.0 + SLACK_S)
        await asyncio.sleep(20.0)
        attempts = run.feed.counters["attempts"]
        assert attempts <= 3
        end(run, down)
        assert await run.recovery(wanted) <= 3.0 + SLACK_S

    live(body)


def reasons(run: Run) -> Reason:
    """All that the rows say against themselves now."""
    assert run.latest is not None
    return Reason(int(np.bitwise_or.reduce(run.latest.columns()["reasons"])))


def test_T06_a_zombie_is_asked_again_and_then_given_up() -> None:
    """The session asks for its channels anew, and where that brings nothing takes another connection."""

    async def body(run: Run) -> None:
        await calm(run)
        frames = len(run.events)
        begin(run, "zombie")
        await until(run, lambda: any(isinstance(e, ChannelAlarm) for e in run.events[frames:]), 2 * 5.0 + 1.0 + SLACK_S)
        await until(run, lambda: closed(run), 60.0)

    live(body)


def test_P02_what_is_acknowledged_and_brings_nothing_is_told_with_its_channel() -> None:
    async def body(run: Run) -> None:
        wanted = await calm(run)
        silent = begin(run, "no_data", for_s=60.0)
        begin(run, "fin")
        await until(run, lambda: any(isinstance(e, ChannelAlarm) for e in run.events), 10.0 + SLACK_S)
        alarm = next(each for each in run.events if isinstance(each, ChannelAlarm))
        assert alarm.kind == "first_message"
        assert not run.names(Status.OK)
        end(run, silent)
        await run.recovery(wanted)

    live(body)


def test_P14_maintenance_is_named_by_every_row() -> None:
    async def body(run: Run) -> None:
        await calm(run)
        begin(run, "maintenance")
        await until(run, lambda: Reason.VENUE_MAINTENANCE in reasons(run), 1.0 + SLACK_S)

    live(body)


def test_D03_an_index_that_is_repeated_while_the_market_moves_is_stale_and_so_is_what_leans_on_it() -> None:
    """The forwards, which the venue goes on to move, stay what they are."""

    async def body(run: Run) -> None:
        wanted = await calm(run)
        stuck = begin(run, "stick_index")
        run.venue.market.spot.price *= 1.01
        assert run.latest is not None
        await until(run, lambda: run.latest.indices["btc_usd"].status is not Status.OK, 2.0 + SLACK_S)
        index = run.latest.indices["btc_usd"]
        assert (index.status, index.reasons) == (Status.STALE, Reason.UNDERLYING_STALE)
        assert all(block.forward.value > 1.005 * index.value for block in run.latest.blocks)
        await asyncio.sleep(1.0)
        assert all(row.get("delta_spot") is None for row in run.latest)
        end(run, stuck)
        await run.recovery(wanted)

    live(body)


def test_D04_a_print_that_is_off_by_a_fifth_moves_no_number_that_is_ok() -> None:
    seen: list[float] = []

    async def body(run: Run) -> None:
        wanted = await calm(run)
        assert run.latest is not None
        right = run.latest.indices["btc_usd"].value
        begin(run, "jump_index", factor=1.2, count=1)
        began_s = run.loop.time()
        while run.loop.time() < began_s + 4.0:
            await asyncio.sleep(0.02)
            index = run.latest.indices["btc_usd"]
            if index.status is Status.OK:
                seen.append(index.value / right)
            forwards = (block.forward for block in run.latest.blocks)
            seen.extend(forward.value / right for forward in forwards if forward.status is Status.OK)
        await run.recovery(wanted)

    run = live(body)
    assert run.venue.counters["jump_index"] == 1
    assert len(seen) > 100
    assert max(seen) < 1.02


def test_T08_a_band_below_the_feed_raises_an_alarm_five_seconds_after_a_second_of_lag() -> None:
    async def body(run: Run) -> None:
        await calm(run)
        begin(run, "bandwidth", bytes_per_s=4_000)
        await until(run, lambda: Reason.OVERLOADED in reasons(run), 10.0)

    live(body)
