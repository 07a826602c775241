"""Alerts rise and end as their rules say, on real snapshots."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from pricer.adapters.events import VenueState
from pricer.clock import Instant, ManualClock
from pricer.conventions import Reason, Status
from pricer.sidecar.alerts import watch as watching
from pricer.sidecar.alerts.language import parse
from pricer.sidecar.alerts.metrics import expiry_name
from pricer.sidecar.alerts.watch import Change, Watch
from pricer.snapshot import FIELD_INDEX
from tests.handmade import FORWARD_MAX_AGE, SECOND
from tests.sidecar.fitted import Fitted
from tests.sidecar.snapshots import Market

START = Instant(1_795_000_000 * SECOND, 1000 * SECOND)
AT_MONEY = 10  # a row that has everything


class Desk:
    """A market, a clock, and rules that look at it."""

    def __init__(self, *rules: str) -> None:
        self.clock = ManualClock(START)
        self.market = Market(self.clock)
        self.watch = Watch([parse(f"r{i}", text) for i, text in enumerate(rules)])
        self.name = self.market.definitions[0].names[AT_MONEY]

    def set(self, **values: float) -> None:
        self.market.quote(0, AT_MONEY, **values)

    def look(self, seconds: float = 0.0, confirm: bool = True) -> list[tuple[str, str]]:
        self.clock.advance(round(seconds * SECOND))
        if confirm:
            self.market.confirm()
        changes = self.watch.look(self.market.snapshot(), self.clock.now())
        return [(change.subject, change.state) for change in changes]


def test_raised_at_once_and_cleared_when_it_is_over() -> None:
    desk = Desk("iv > 5")
    assert desk.look() == []
    desk.set(iv=6.0)
    assert desk.look(1) == [(desk.name, "raised")]
    assert desk.look(1) == []
    [active] = desk.watch.active
    assert (active.subject, active.value) == (desk.name, 6.0)
    desk.set(iv=5.0)
    assert desk.look(1) == [(desk.name, "cleared")]
    assert desk.watch.active == []


def test_hysteresis_in_level() -> None:
    desk = Desk("iv > 5 clear < 4")
    desk.set(iv=5.5)
    assert desk.look() == [(desk.name, "raised")]
    for value in (4.9, 5.1, 4.0, 5.2):
        desk.set(iv=value)
        assert desk.look(1) == []
    desk.set(iv=3.99)
    assert desk.look(1) == [(desk.name, "cleared")]


def test_hysteresis_in_time_wants_no_break() -> None:
    desk = Desk("iv > 5 for 10s")
    desk.set(iv=6.0)
    assert desk.look() == desk.look(9) == []
    desk.set(iv=1.0)
    assert desk.look(0.5) == []
    desk.set(iv=6.0)
    assert desk.look(0.5) == desk.look(9.9) == []
    assert desk.look(0.2) == [(desk.name, "raised")]


def test_a_stale_number_decides_nothing_and_staleness_is_a_metric() -> None:
    desk = Desk("iv > 5", "forward_age > 3s in nearest 1", "not_ok > 90%")
    desk.set(iv=6.0)
    assert desk.look() == [(desk.name, "raised")]
    changes = desk.look(FORWARD_MAX_AGE / SECOND + 2.0, confirm=False)
    expiry = expiry_name(desk.market.blocks[0])
    assert changes == [(expiry, "raised"), ("BTC at deribit", "raised")]
    assert {active.subject for active in desk.watch.active} == {desk.name, expiry, "BTC at deribit"}


def test_an_option_whose_delta_is_stale_stays_in_its_rules_scope() -> None:
    desk = Desk("iv > 5 in delta 0.1..0.9", "iv > 5 for 10s in delta 0.1..0.9")
    desk.set(iv=6.0)
    assert desk.look() == [(desk.name, "raised")]
    assert desk.look(FORWARD_MAX_AGE / SECOND + 2.0, confirm=False) == []
    assert [active.is_current for active in desk.watch.active] == [False]
    assert desk.look(1) == desk.look(9) == [], "what was only beyond its limit has begun again"
    assert [active.is_current for active in desk.watch.active] == [True]
    assert desk.look(1) == [(desk.name, "raised")]
    desk.set(delta=0.95)
    assert desk.look(1) == [(desk.name, "gone")] * 2


def test_the_age_of_a_quote_is_watched_within_the_last_known_deltas() -> None:
    desk = Desk("quote_age > 30s in delta 0.3..0.7", "quote_age > 30s")
    assert desk.look() == desk.look(29, confirm=False) == []
    subjects = [name for name, _ in desk.look(2, confirm=False)]
    every = {name for block in desk.market.blocks for name in block.definition.names}
    deltas = {
        name: abs(block.column("delta")[row])
        for block in desk.market.blocks
        for name, row in block.definition.rows.items()
    }
    near = [name for name, delta in deltas.items() if 0.3 <= delta <= 0.7]
    assert 0 < len(near) < len(every)
    assert subjects[: len(near)] == near
    assert set(subjects[len(near) :]) == every


def test_an_option_that_is_gone_ends_its_alert() -> None:
    desk = Desk("iv > 5")
    desk.set(iv=6.0)
    desk.look()
    desk.market.blocks = desk.market.blocks[1:]
    assert desk.look(1) == [(desk.name, "gone")]


def test_scopes() -> None:
    everything = len(Desk("iv > 0").look())
    first = Desk("iv > 0 in nearest 1").look()
    calls = Desk("iv > 0 in calls nearest 1").look()
    desk = Desk("iv > 0")
    named = Desk(f"iv > 0 in {desk.name}").look()
    near = Desk("iv > 0 in delta 0.3..0.7").look()
    assert everything > len(first) > len(calls) > len(named) == 1
    assert 0 < len(near) < everything
    assert all(name.endswith("-C") for name, _ in calls)
    assert Desk("iv > 0 in ETH").look() == []


def test_numbers_of_the_venue_count_while_their_quote_is_fresh() -> None:
    desk = Desk("divergence > 0.3")
    values = desk.market.blocks[0].values
    desk.set(mark_iv=values[FIELD_INDEX["iv"], AT_MONEY] - 0.4)
    assert desk.look() == [(desk.name, "raised")]


def test_a_negative_number_and_its_absolute_value() -> None:
    desk = Desk("abs(delta) > 5 clear < 4")
    desk.set(delta=-6.0)
    assert desk.look() == [(desk.name, "raised")]
    desk.set(delta=-4.5)
    assert desk.look(1) == []
    desk.set(delta=-3.0)
    assert desk.look(1) == [(desk.name, "cleared")]


def test_what_is_invalid_neither_raises_nor_clears() -> None:
    desk = Desk("iv > 5")
    desk.set(iv=6.0)
    block = desk.market.blocks[0]
    status, reasons = block.status.copy(), block.reasons.copy()
    status[:, AT_MONEY], reasons[:, AT_MONEY] = Status.INVALID, Reason.NO_QUOTE
    desk.market.blocks[0] = replace(block, status=status, reasons=reasons)
    assert desk.look() == []


@pytest.mark.parametrize("state", ["locked", "maintenance"])
def test_a_smile_that_the_venues_condition_makes_stale_decides_nothing(state: Literal["locked", "maintenance"]) -> None:
    fitted = Fitted()
    rules = ("atm_iv > 1%", "abs(rr25) >= 0", "abs(bf25) >= 0", "abs(parity_gap) >= 0")

    def raised() -> dict[str, int]:
        """By a watch that begins now."""
        watch = Watch([parse(rule, rule) for rule in rules])
        watch.look(fitted.publish(), fitted.clock.now())
        return dict(Counter(active.rule.name for active in watch.active))

    assert raised() == dict.fromkeys(rules, 3)
    fitted.tell(VenueState(venue="deribit", received=fitted.clock.now(), state=state))
    fitted.move(100_600.0)
    [block, *_] = fitted.publish().blocks
    assert fitted.clock.now().mono_ns < block.model_valid_until_ns
    assert raised() == {}


def test_a_parity_gap_needs_a_forward_that_is_not_stale() -> None:
    desk = Desk("abs(parity_gap) >= 0")
    assert len(desk.look()) == 3
    [first, *_] = desk.market.blocks
    stale = replace(first.forward, status=Status.STALE, reasons=Reason.UNDERLYING_STALE)
    desk.market.blocks[0] = replace(first, forward=stale)
    desk.watch.look(desk.market.snapshot(), desk.clock.now())
    assert [active.is_current for active in desk.watch.active] == [False, True, True]


def test_X06_more_subjects_than_there_is_room_for_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MOST_SUBJECTS", 5)
    desk = Desk("iv > 0")
    assert len(desk.look()) == 5
    assert desk.watch.counters["untracked"] > 0
    assert len(desk.watch.active) == 5


def test_random_walks_agree_with_a_plain_automaton() -> None:
    rng = np.random.default_rng(6)
    desk = Desk("iv > 5 for 2s clear < 4")
    raised, since = False, None
    for second in range(300):
        value = float(rng.choice([3.0, 4.5, 5.5]))
        desk.set(iv=value)
        seen = desk.look(1)
        expected: list[tuple[str, str]] = []
        if raised:
            if value < 4:
                raised, since, expected = False, None, [(desk.name, "cleared")]
        elif value > 5:
            since = second if since is None else since
            if second - since >= 2:
                raised, expected = True, [(desk.name, "raised")]
        else:
            since = None
        assert seen == expected


def test_changes_carry_their_rule_and_moment() -> None:
    desk = Desk("iv > 5")
    desk.set(iv=6.0)
    [change] = desk.watch.look(desk.market.snapshot(), desk.clock.now())
    assert isinstance(change, Change)
    assert (change.rule.name, change.value, change.at) == ("r0", 6.0, desk.clock.now())
