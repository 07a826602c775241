"""One injected clock: real, or moved by hand."""

from __future__ import annotations

from pricer.clock import EPOCH, NS_PER_SECOND, Clock, Instant, ManualClock, SystemClock


def test_an_instant_moves_on_both_clocks() -> None:
    assert Instant(wall_ns=10, mono_ns=1).plus(5) == Instant(wall_ns=15, mono_ns=6)


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(Instant(100, 7))
    assert clock.now() == clock.now() == Instant(100, 7)
    clock.advance(NS_PER_SECOND)
    assert clock.now() == Instant(100 + NS_PER_SECOND, 7 + NS_PER_SECOND)


def test_a_manual_clock_starts_at_the_epoch() -> None:
    assert ManualClock().now() == EPOCH == Instant(0, 0)


def test_a_wall_clock_may_step_back_while_the_monotonic_one_goes_on() -> None:
    clock = ManualClock(Instant(10 * NS_PER_SECOND, 0))
    clock.set(Instant(3 * NS_PER_SECOND, 1))
    assert clock.now() == Instant(3 * NS_PER_SECOND, 1)


def test_the_system_clock_is_in_nanoseconds_and_its_monotonic_part_never_falls() -> None:
    clock: Clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert second.mono_ns >= first.mono_ns
    # Between 2020 and 2100 in nanoseconds: seconds or milliseconds would be far below.
    assert 1_577_836_800 * NS_PER_SECOND < first.wall_ns < 4_102_444_800 * NS_PER_SECOND
