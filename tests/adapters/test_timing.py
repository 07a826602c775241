"""How far the venue's clock is from ours, by its own stamps."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent, VenueClock
from pricer.adapters.timing import Bounds, ClockComparer, bounds
from pricer.clock import NS_PER_SECOND, Instant
from tests.adapters.deribit_frames import NOW, encoded, fixture, reply, streamed, texts

MS = 1_000_000
S = NS_PER_SECOND


def clocks(events: list[AnyEvent]) -> list[VenueClock]:
    return [event for event in events if isinstance(event, VenueClock)]


def comparisons(
    skew_ns: Callable[[Instant], int], ways_ns: Callable[[], tuple[int, int]], seconds: int
) -> list[VenueClock]:
    """An adapter and a venue whose clock is `skew_ns` ahead of ours, over a path with its own delay each way."""
    adapter, now, events = Deribit(), NOW, []
    adapter.opened(now)
    end_ns = now.mono_ns + seconds * S
    while now.mono_ns < end_ns:
        sent = now
        for message in texts(adapter.to_send(sent)):
            out_ns, back_ns = ways_ns()
            came = sent.plus(out_ns)
            left = came.plus(MS)
            now = left.plus(back_ns)
            stamps = {"usIn": (came.wall_ns + skew_ns(came)) // 1000, "usOut": (left.wall_ns + skew_ns(left)) // 1000}
            result = fixture("instruments_btc")["result"] if "get_ins" in message["method"] else "ok"
            events += clocks(
                adapter.receive(reply(message["id"], message["params"].get("channels", result), **stamps), now)
            )
            sent = now
        now = now.plus(S // 4)
        adapter.on_time(now)
        for channel in ("deribit_price_index.btc_usd", "ticker.BTC-PERPETUAL.100ms"):
            data = streamed(channel, now)
            assert data is not None
            adapter.receive(data, now)
        adapter.receive(encoded(fixture("heartbeat")), now)
    return events


@pytest.mark.parametrize("skew_ms", [-2_000, 0, 2_000, 37])
def test_C02_a_skew_is_known_to_20_ms_under_asymmetric_jitter(skew_ms: int) -> None:
    for seed in range(20):
        rng = random.Random(seed)

        def ways(rng: random.Random = rng) -> tuple[int, int]:
            # A way of 15 to 25 ms and jitter with a long tail, twice as much on the way out.
            return (
                int((15 + rng.random() * 10 + rng.expovariate(1 / 60)) * MS),
                int((15 + rng.random() * 10 + rng.expovariate(1 / 30)) * MS),
            )

        found = comparisons(lambda _: skew_ms * MS, ways, 40)
        assert len(found) >= 8
        assert abs(found[-1].offset_ns - skew_ms * MS) <= 20 * MS
        for each in found:
            assert abs(each.offset_ns - skew_ms * MS) <= each.round_trip_ns / 2 + MS, "never further off than it says"


def test_C02_a_comparison_comes_at_least_every_ten_seconds() -> None:
    found = comparisons(lambda _: 0, lambda: (20 * MS, 20 * MS), 120)
    instants = [each.received.mono_ns for each in found]
    assert max(later - earlier for earlier, later in pairwise(instants)) <= 10 * S
    assert found[0].received.mono_ns - NOW.mono_ns < S, "the first with the very first call"


def test_C02_without_jitter_it_is_exact_and_the_venues_own_time_is_no_part_of_the_way() -> None:
    found = comparisons(lambda _: 2 * S, lambda: (20 * MS, 20 * MS), 20)
    assert {each.offset_ns for each in found} == {2 * S}
    assert {each.round_trip_ns for each in found} == {40 * MS}


def test_C01_a_clock_that_was_set_is_noticed_by_the_next_comparison() -> None:
    set_ns = NOW.mono_ns + 30 * S
    found = comparisons(lambda at: -3600 * S if at.mono_ns >= set_ns else 0, lambda: (20 * MS, 25 * MS), 60)
    after = [each for each in found if each.received.mono_ns > set_ns]
    assert abs(after[0].offset_ns + 3600 * S) <= 20 * MS
    assert after[0].received.mono_ns - set_ns <= 5 * S
    assert all(abs(each.offset_ns + 3600 * S) <= 20 * MS for each in after)


def test_a_step_of_our_own_wall_clock_during_a_call_does_not_enter() -> None:
    sent, received = Instant(1_000 * S, 50 * S), Instant(1_000 * S + 3600 * S + 40 * MS, 50 * S + 40 * MS)
    venue_in, venue_out = 4_600 * S + 20 * MS, 4_600 * S + 20 * MS
    found = bounds(sent.mono_ns, received, venue_in, venue_out)
    assert found is not None
    assert (found.offset_ns, found.width_ns) == (0, 40 * MS)


@pytest.mark.parametrize(
    ("venue_in", "venue_out"),
    [
        (NOW.wall_ns, NOW.wall_ns - 1),
        (NOW.wall_ns, NOW.wall_ns + S),
        (NOW.wall_ns // 1000, NOW.wall_ns // 1000),
        (NOW.wall_ns * 1000, NOW.wall_ns * 1000),
        (0, 0),
    ],
    ids=["out before in", "longer than the call", "another unit", "yet another unit", "none"],
)
def test_C08_stamps_that_cannot_be_true_are_rejected(venue_in: int, venue_out: int) -> None:
    assert bounds(NOW.mono_ns - 40 * MS, NOW, venue_in, venue_out) is None


@pytest.mark.parametrize("stamp", ["1741731610520000", None, 1.5, -1, True, 10**40, 0])
def test_P13_C08_bad_stamps_of_a_reply_are_counted_and_the_reply_stands(stamp: object) -> None:
    adapter = Deribit()
    adapter.opened(NOW)
    adapter.on_time(NOW)
    (heartbeat,) = [each for each in texts(adapter.to_send(NOW)) if "heartbeat" in each["method"]]
    assert clocks(adapter.receive(reply(heartbeat["id"], "ok", usIn=stamp, usOut=stamp), NOW)) == []
    assert adapter.counters == {"bad_clock": 1}


def test_several_calls_know_more_than_the_best_of_them() -> None:
    it = ClockComparer()
    assert it.take(Bounds(-5 * MS, 20 * MS)) == Bounds(-5 * MS, 20 * MS)
    assert it.take(Bounds(-30 * MS, 7 * MS)) == Bounds(-5 * MS, 7 * MS), "one had a short way back, one a short way out"
    it.clear()
    assert it.take(Bounds(0, 30 * MS)) == Bounds(0, 30 * MS), "a new connection may lead to another clock"


def test_calls_that_contradict_each_other_leave_the_newest_alone() -> None:
    it = ClockComparer()
    it.take(Bounds(0, 20 * MS))
    assert it.take(Bounds(100 * MS, 140 * MS)) == Bounds(100 * MS, 140 * MS)
    assert it.take(Bounds(90 * MS, 120 * MS)) == Bounds(100 * MS, 120 * MS)


def test_old_calls_are_forgotten() -> None:
    it = ClockComparer(most=3)
    it.take(Bounds(0, 2 * MS))
    found = [it.take(Bounds(-4 * MS, 5 * MS)) for _ in range(3)]
    assert found[-1] == Bounds(-4 * MS, 5 * MS)
