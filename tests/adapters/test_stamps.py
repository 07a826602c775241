"""Which stamps of a venue can be true, though our own clock may not be."""

from __future__ import annotations

import pytest

from pricer.adapters.stamps import StampCheck
from pricer.clock import Instant
from tests.scene import SECOND, START

HOUR = 3_600 * SECOND


@pytest.mark.parametrize("step", [-HOUR, HOUR, -30 * HOUR, 30 * HOUR])
def test_C01_a_wall_clock_that_steps_drops_no_stamps(step: int) -> None:
    stamps = StampCheck()
    assert stamps.accepts(START.wall_ns - SECOND // 20, START)
    for seconds in range(1, 5):
        true = START.plus(seconds * SECOND)
        assert stamps.accepts(true.wall_ns - SECOND // 20, Instant(true.wall_ns + step, true.mono_ns))


def test_C08_a_stamp_more_than_an_hour_off_is_none_before_and_after_a_good_one() -> None:
    stamps = StampCheck()
    wrong = START.wall_ns + HOUR + 1
    assert not stamps.accepts(wrong, START)
    assert stamps.accepts(START.wall_ns, START)
    assert not stamps.accepts(wrong, START)
    assert not stamps.accepts(START.wall_ns // 1000, START), "microseconds"


def test_C08_a_wrong_stamp_that_passes_is_no_measure_for_the_next() -> None:
    stamps = StampCheck()
    assert stamps.accepts(START.wall_ns + HOUR, START)
    assert stamps.accepts(START.wall_ns, START)
    assert not stamps.accepts(START.wall_ns + 2 * HOUR, START)
