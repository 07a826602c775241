"""Storms are told in few lines, and every change is in some line's count."""

from __future__ import annotations

import math
from functools import cache

from pricer.clock import Instant, ManualClock
from pricer.sidecar.alerts.language import Rule, parse
from pricer.sidecar.alerts.notices import Notice, Notices
from pricer.sidecar.alerts.watch import Change, State
from tests.handmade import SECOND

START = Instant(1_795_000_000 * SECOND, 1000 * SECOND)


@cache
def rule(number: int) -> Rule:
    return parse(f"r{number}", "iv > 1")


def changes(rules: int, subjects: int, at: Instant = START, state: State = "raised") -> list[Change]:
    return [Change(rule(i), f"BTC-25DEC26-{1000 * j}-C", state, 1.5, at) for i in range(rules) for j in range(subjects)]


def test_one_line_a_rule_with_a_count_and_examples() -> None:
    notices = Notices(10)
    notices.take(changes(1, 412))
    [notice] = notices.due(START)
    assert (notice.count, len(notice.subjects)) == (412, 5)
    text = notice.text("{rule} {state}: {metric} {limit}: {subjects}, at {value}")
    assert text.startswith("r0 raised: iv > 1: BTC-25DEC26-0-C, BTC-25DEC26-1000-C")
    assert text.endswith("and 407 more, at 1.5")


def test_X06_five_thousand_rules_fire_and_none_is_lost_uncounted() -> None:
    notices, clock = Notices(10), ManualClock(START)
    told: list[Notice] = []
    for second in range(10):
        notices.take(changes(5000, 1, clock.now(), "raised" if second % 2 else "cleared"))
        this_second = notices.due(clock.now())
        assert len(this_second) <= 10
        told += this_second
        clock.advance(SECOND)
    assert sum(notice.count for notice in told) + notices.waiting == 50_000
    assert notices.waiting == 0


def test_X06_between_whole_seconds_the_rate_holds_too() -> None:
    notices, clock = Notices(10), ManualClock(START)
    told = 0
    for _ in range(200):
        notices.take(changes(50, 1, clock.now()))
        told += len(notices.due(clock.now()))
        clock.advance(SECOND // 20)
    assert told <= 10 + 10 * 10
    assert notices.waiting < 500


def test_Z13_templates_are_data() -> None:
    notice = Notice("{subjects}", "raised", "iv", "> 1", 1, ("{rule}{0.__class__}",), math.nan, START)
    assert notice.text("{rule}|{subjects}|{value}") == "{subjects}|{rule}{0.__class__}|no value"
    for hostile in ("{rule.__class__}", "{0}", "{rule!r:>9999999}", "{", "}{", "%s %(rule)s", "${rule"):
        assert notice.text(hostile) == hostile


def test_a_webhook_gets_numbers_as_numbers() -> None:
    notice = Notice("a", "gone", "iv", "> 1", 1, ("X",), math.nan, START)
    assert notice.as_json() == {
        "rule": "a",
        "state": "gone",
        "metric": "iv",
        "limit": "> 1",
        "count": 1,
        "subjects": ["X"],
        "value": None,
        "at_ns": START.wall_ns,
    }
