"""The gate before a hedge: shut on everything that makes an order a mistake, and open again after it."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pricer
from pricer.clock import NS_PER_SECOND, Instant, ManualClock
from pricer.conventions import Reason, Status
from pricer.hedge_gate import MOST_INSTRUMENTS, HedgeGate, Refusal
from pricer.snapshot import FIELD_INDEX, FeedHealth, Snapshot
from tests.sidecar.snapshots import Market
from tests.simulate.scenario import Run
from tests.simulate.test_fault_rows import begin, live

SECOND = NS_PER_SECOND


class Bench:
    """A chain made by hand, one gate that has looked at it for long enough, and a clock for both."""

    def __init__(self, *, fresh: bool = False, **settings: Any) -> None:
        self.clock = ManualClock(Instant(1_795_000_000 * SECOND, 1000 * SECOND))
        self.market = Market(self.clock)
        self.gate = HedgeGate(clock=self.clock, **settings)
        self.name = self.market.definitions[1].names[4]
        self.breaks = 0
        self.left_out: frozenset[str] = frozenset()
        self.reasons = Reason(0)
        self.connections: tuple[FeedHealth, ...] | None = None
        if not fresh:
            self.gate.check(self.snapshot(), self.name)
            self.clock.advance(5 * SECOND)

    def feeds(self, *states: str) -> None:
        """The venue's connections are so from now on."""
        since = self.clock.now()
        self.connections = tuple(FeedHealth("deribit", f"{i}", state, "", since) for i, state in enumerate(states))

    def snapshot(self) -> Snapshot:
        made = replace(self.market.snapshot(self.reasons), breaks=self.breaks, left_out=self.left_out)
        return made if self.connections is None else replace(made, feeds=self.connections)

    def check(self, seconds: float = 0.1) -> pricer.Decision:
        """A moment later, with everything confirmed."""
        self.clock.advance(round(seconds * SECOND))
        self.market.confirm()
        now = self.clock.now()
        self.market.blocks = [replace(block, fitted=now) for block in self.market.blocks]
        return self.gate.check(self.snapshot(), self.name)

    def change(self, **values: float) -> None:
        block = self.market.blocks[1]
        changed = block.values.copy()
        for name, value in values.items():
            changed[FIELD_INDEX[name], 4] = value
        self.market.blocks[1] = replace(block, values=changed)

    def rate(self, status: Status) -> None:
        block = self.market.blocks[1]
        codes = block.status.copy()
        codes[3, 4] = status
        self.market.blocks[1] = replace(block, status=codes)

    def until_open(self) -> float:
        """Seconds until an order is allowed again."""
        for tenths in range(1, 400):
            if self.check(0.1).allowed:
                return tenths / 10
        raise AssertionError("never")


def test_what_is_in_order_is_allowed_with_the_numbers_that_were_judged() -> None:
    bench = Bench()
    decision = bench.check()
    assert (decision.allowed, decision.reduce_only, decision.reasons) == (True, False, ())
    row = bench.snapshot()[bench.name]
    assert decision.values["delta"] == row.delta
    assert decision.values["forward"] == row.block.forward.value
    assert bench.gate.check(row).allowed
    with pytest.raises(TypeError):
        decision.values["delta"] = 1.0  # type: ignore[index]  # the point of the test


def test_only_what_reduces_risk_is_allowed_on_degraded_numbers() -> None:
    bench = Bench()
    bench.rate(Status.DEGRADED)
    decision = bench.check()
    assert not decision.allowed
    assert decision.allows(reduces_risk=True)
    assert not decision.allows(reduces_risk=False)
    assert math.isfinite(decision.values["delta"])
    strict = Bench(reduce_only=())
    strict.rate(Status.DEGRADED)
    assert strict.check().reasons == (Refusal.STATUS, Refusal.COOL_DOWN)


@pytest.mark.parametrize("status", [Status.STALE, Status.INVALID])
def test_X07_what_is_not_fit_shuts_the_gate_for_a_cool_down(status: Status) -> None:
    bench = Bench()
    bench.check()
    bench.rate(status)
    decision = bench.check()
    assert decision.reasons == (Refusal.STATUS, Refusal.COOL_DOWN)
    assert (decision.allowed, decision.reduce_only, dict(decision.values)) == (False, False, {})
    assert f"delta is {status.name}" in decision.detail
    bench.rate(Status.OK)
    assert 4.9 <= bench.until_open() <= 5.1


def test_X07_an_age_over_the_limit_is_refused_although_the_status_allows_it() -> None:
    bench = Bench(max_age_s=0.5)
    bench.check()
    bench.clock.advance(SECOND)  # no message says so
    assert Refusal.AGE in bench.gate.check(bench.snapshot(), bench.name).reasons
    assert bench.until_open() >= 4.9


@pytest.mark.parametrize("jump", [{"delta": 0.9}, {"iv": 0.8}])
def test_X07_a_jump_is_refused_until_it_has_stood(jump: dict[str, float]) -> None:
    bench = Bench()
    bench.check()
    bench.change(**jump)
    decision = bench.check()
    assert decision.reasons == (Refusal.JUMP,)
    assert next(iter(jump)) in decision.detail
    assert 4.9 <= bench.until_open() <= 5.1
    assert bench.check().allowed


def test_X07_a_jump_of_the_forward_is_relative_and_one_that_goes_back_is_forgotten() -> None:
    bench = Bench()
    bench.check()
    forward = bench.market.blocks[1].forward
    bench.market.blocks[1] = replace(bench.market.blocks[1], forward=replace(forward, value=forward.value * 1.03))
    assert bench.check().reasons == (Refusal.JUMP,)
    bench.market.blocks[1] = replace(bench.market.blocks[1], forward=forward)
    assert bench.check().allowed
    for _ in range(50):  # as far as a jump, a little at a time
        bench.market.move(0.001)
        assert bench.check().allowed


def test_X07_a_price_that_goes_on_jumping_is_never_accepted() -> None:
    bench = Bench()
    bench.check()
    for i in range(100):
        bench.change(delta=0.9 if i % 2 else 0.1)
        bench.check(0.2)
    assert bench.gate.stats[Refusal.JUMP] == 100


@pytest.mark.parametrize("what", ["gap", "feed", "own"])
def test_X07_a_break_shuts_the_gate_until_the_cool_down_has_passed(what: str) -> None:
    bench = Bench()
    assert bench.check().allowed
    if what == "gap":
        bench.breaks += 1
    elif what == "feed":
        bench.market.feed = replace(bench.market.feed, since=bench.clock.now())
    else:
        bench.gate.disturbed()
    assert bench.check().reasons == (Refusal.COOL_DOWN,)
    assert 4.7 <= bench.until_open() <= 5.1


@pytest.mark.parametrize("states", [("open",), ("connecting",), ("closed",), ("live", "open"), ("closed", "closed")])
def test_X07_a_fresh_gate_is_shut_until_the_feed_has_been_live_for_the_cool_down(states: tuple[str, ...]) -> None:
    bench = Bench(fresh=True)
    bench.feeds(*states)
    for _ in range(100):  # for longer than the cool-down
        decision = bench.check()
        assert Refusal.FEED in decision.reasons
        assert not decision.allows(reduces_risk=True)
    assert " is " in decision.detail
    bench.feeds(*("live" for _ in states))
    assert bench.check().reasons == (Refusal.COOL_DOWN,)
    assert 4.9 <= bench.until_open() <= 5.1


def test_X07_a_fresh_gate_does_not_know_what_was_before_its_first_look() -> None:
    bench = Bench(fresh=True)
    decision = bench.check()
    assert (decision.reasons, decision.detail) == ((Refusal.COOL_DOWN,), "0.0 s since the first look")
    assert 4.9 <= bench.until_open() <= 5.1


def test_X07_one_connection_of_several_that_comes_back_shuts_the_gate_and_a_dead_one_does_not() -> None:
    bench = Bench()
    for states, reasons in [
        (("live", "closed"), (Refusal.COOL_DOWN,)),
        (("live", "connecting"), (Refusal.FEED, Refusal.COOL_DOWN)),
        (("live", "live"), (Refusal.COOL_DOWN,)),
    ]:
        bench.feeds(*states)
        assert bench.check().reasons == reasons
    assert 4.9 <= bench.until_open() <= 5.1
    bench.feeds("live", "closed")
    assert 4.9 <= bench.until_open() <= 5.1


def test_numbers_without_a_feed_are_judged_at_once() -> None:
    """An engine of one's own: nothing that connects, and so nothing that could have broken."""
    bench = Bench(fresh=True)
    bench.feeds()
    assert bench.check().allowed


def test_a_number_that_was_not_subscribed_to_is_told_as_such() -> None:
    bench, unguarded = Bench(), Bench(max_jump={"delta": 0.1})
    bench.left_out = unguarded.left_out = frozenset({"iv", "bid"})
    decision = bench.check()
    assert decision.reasons == (Refusal.UNKNOWN,)
    assert decision.detail == "iv, which this gate needs, is not subscribed: connect(columns=...) has no 'iv'"
    assert bench.gate.check(bench.snapshot()[bench.name]).reasons == (Refusal.UNKNOWN,)
    assert unguarded.check().allowed
    bench.left_out = frozenset()
    assert bench.check().allowed, "nothing was wrong with the numbers"


def test_a_feed_of_another_venue_shuts_no_gate() -> None:
    bench = Bench(fresh=True)
    bench.connections = (bench.market.feed, FeedHealth("elsewhere", "main", "connecting", "", bench.clock.now()))
    assert bench.check().reasons == (Refusal.COOL_DOWN,)


def test_the_settlement_window_replays_and_unknown_options_are_refused() -> None:
    bench = Bench(settlement_s=3600.0)
    bench.reasons = Reason.REPLAY
    assert bench.check().reasons == (Refusal.REPLAY,)
    bench.reasons = Reason(0)
    assert bench.check().allowed
    expiry_ns = bench.market.definitions[1].key.expiry_ns
    bench.clock.advance(expiry_ns - bench.clock.now().wall_ns - 3599 * SECOND)
    assert Refusal.SETTLEMENT in bench.check().reasons
    assert bench.gate.check(bench.snapshot(), "BTC-1-1-C").reasons == (Refusal.UNKNOWN,)


def test_what_a_gate_remembers_is_bounded() -> None:
    gate = HedgeGate()
    for number in range(MOST_INSTRUMENTS + 10):
        gate._remembered(str(number))
    assert len(gate._known) == MOST_INSTRUMENTS


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"fields": ("detla",)}, "detla"),
        ({"max_jump": {"delta": math.nan}}, "delta"),
        ({"max_age_s": -1.0}, "max_age_s"),
        ({"statuses": {Status.INVALID}}, "INVALID"),
    ],
)
def test_an_impossible_gate_is_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        HedgeGate(**settings)


@pytest.mark.timeout(300)
def test_X07_a_reset_during_a_position_costs_no_order_until_the_cool_down_after_it() -> None:
    """T02 over the whole chain on virtual time: a hedger that would trade on every change of delta."""
    orders: list[float] = []

    async def body(run: Run) -> None:
        gate = HedgeGate(cool_down_s=3.0, clock=run.host_clock)
        await asyncio.sleep(8.0)
        assert run.latest is not None
        name = next(row.name for row in run.latest if 0.3 < (row.get("delta") or 0.0) < 0.7)
        traded = math.nan

        async def hedge(seconds: float) -> None:
            nonlocal traded
            end = run.loop.time() + seconds
            while run.loop.time() < end:
                assert run.latest is not None
                decision = gate.check(run.latest, name)
                if decision.allowed and decision.values["delta"] != traded:
                    traded = decision.values["delta"]
                    orders.append(run.loop.time())
                await asyncio.sleep(0.02)

        await hedge(4.0)
        assert orders, "it trades where nothing is wrong"
        lost_s = run.loop.time()
        begin(run, "reset")
        await hedge(20.0)
        window = [at for at in orders if at > lost_s]
        connected_s = max(feed.since.mono_ns for feed in run.latest.feeds) / SECOND
        began_s = run.host_clock.now().mono_ns / SECOND - run.loop.time()
        assert window, "and again after it"
        assert window[0] >= connected_s - began_s + 3.0 - 0.1
        assert window[0] > lost_s + 3.0

    live(body)
    assert np.all(np.diff(orders) > 0)
