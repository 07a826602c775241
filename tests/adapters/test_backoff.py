"""Delays between attempts, on virtual time, and a venue's limit on connects."""

from __future__ import annotations

import random

import pytest

from pricer.adapters.backoff import Backoff
from pricer.adapters.connects import ConnectBudget
from pricer.adapters.limits import FeedLimits
from pricer.adapters.transport import ConnectionLost, retry_after_s
from pricer.clock import NS_PER_SECOND
from pricer.errors import ConfigError

LIMITS = FeedLimits()


def delays(rng: random.Random, uptimes_s: list[float], lost: ConnectionLost | None = None) -> list[float]:
    """The waits after connections that stood so long; 0 is one that was refused."""
    it = Backoff(rng, LIMITS)
    now_ns, found = 0, []
    for uptime_s in uptimes_s:
        if uptime_s > 0:
            it.opened(now_ns)
        now_ns += int(uptime_s * NS_PER_SECOND)
        found.append(it.next_delay_s(now_ns, lost))
        now_ns += int(found[-1] * NS_PER_SECOND)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_T01_the_first_retry_is_quick_the_longest_bounded_and_none_too_often(seed: int) -> None:
    found = delays(random.Random(seed), [0.0] * 60)
    assert found[0] <= 1.0
    assert max(found) <= 30.0
    assert max(found[8:]) > 15.0
    assert 60 / sum(found) <= 1.0, "attempts per second, sustained"
    assert found == delays(random.Random(seed), [0.0] * 60)


def test_T11_a_flapping_connection_is_tried_ever_more_rarely() -> None:
    found = delays(random.Random(3), [3.0] * 40)
    assert sum(found[10:]) / 30 > 10.0


def test_T11_a_stable_connection_resets_the_back_off() -> None:
    found = delays(random.Random(3), [3.0] * 10 + [9.0, 11.0])
    assert found[-1] <= 0.5
    assert max(delays(random.Random(seed), [3.0] * 10 + [9.0])[-1] for seed in range(20)) > 0.5


def test_T02_a_drop_after_an_outage_is_retried_at_once() -> None:
    for seed in range(20):
        assert delays(random.Random(seed), [0.0] * 6 + [3.0])[-1] <= 0.5


@pytest.mark.parametrize("reason", ["rate_limited", "banned", "http_5xx"])
def test_W04_no_attempt_before_retry_after(reason: str) -> None:
    assert min(delays(random.Random(1), [0.0] * 20, ConnectionLost(reason, retry_after_s=900.0))) >= 900.0


def test_W04_a_ban_is_waited_out_ever_longer_and_forgotten_once_a_connection_stands() -> None:
    found = delays(random.Random(1), [0.0] * 6, ConnectionLost("banned"))
    assert found[0] >= 300.0
    assert [delay // 300 for delay in found] == [1.0, 2.0, 4.0, 8.0, 12.0, 12.0], "doubled up to an hour"
    it = Backoff(random.Random(1), LIMITS)
    for _ in range(4):
        it.next_delay_s(0, ConnectionLost("banned"))
    it.opened(0)
    assert 300.0 <= it.next_delay_s(NS_PER_SECOND, ConnectionLost("banned")) < 600.0


def test_W04_too_many_requests_without_a_header_is_five_seconds_at_least() -> None:
    assert min(delays(random.Random(1), [0.0] * 20, ConnectionLost("rate_limited"))) >= 5.0


@pytest.mark.parametrize("seed", range(20))
def test_W10_a_restart_is_retried_at_once_with_jitter_and_try_later_after_five_seconds(seed: int) -> None:
    restart, later = ConnectionLost("closed_restart"), ConnectionLost("closed_try_later")
    assert 0.0 < delays(random.Random(seed), [3.0, 3.0], restart)[-1] <= 0.5
    assert min(delays(random.Random(seed), [3.0] * 5, later)) >= 5.0
    assert max(delays(random.Random(seed), [3.0] * 40, restart)) > 15.0, "what restarts for ever is flapping"


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        (None, None, 0.0),
        ("3", None, 3.0),
        ("99999999999999", None, 3600.0),
        ("-5", None, 0.0),
        ("soon", "Sat, 21 Nov 2026 10:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2026 10:02:00 GMT", "Sat, 21 Nov 2026 10:00:00 GMT", 120.0),
        ("Sat, 21 Nov 2026 09:00:00 GMT", "Sat, 21 Nov 2026 10:00:00 GMT", 0.0),
        ("Sat, 21 Nov 2026 10:02:00 GMT", None, 0.0),
        ("Sat, 21 Nov 2026 10:02:00 GMT", "Sat, 21 Nov 2026 10:00:00", 0.0),
        ("٣", None, 0.0),
    ],
)
def test_W04_retry_after_is_seconds_or_a_date_beside_the_answers_own(
    value: str | None, date: str | None, seconds: float
) -> None:
    assert retry_after_s(value, date) == seconds


def test_T13_a_budget_allows_so_many_in_any_window() -> None:
    budget = ConnectBudget(5, 10.0)
    rng, now_ns, taken = random.Random(4), 0, []
    for _ in range(2000):
        now_ns += int(rng.uniform(0.0, 1.0) * NS_PER_SECOND)
        ready_ns = budget.ready_ns(now_ns)
        assert budget.take(now_ns) == (ready_ns == now_ns)
        if ready_ns == now_ns:
            taken.append(now_ns)
        else:
            assert ready_ns == taken[-5] + 10 * NS_PER_SECOND
    assert len(taken) > 400
    assert all(later - earlier >= 10 * NS_PER_SECOND for earlier, later in zip(taken, taken[5:], strict=False))


@pytest.mark.parametrize(("limit", "window_s"), [(0, 1.0), (1, 0.0), (1, float("inf"))])
def test_a_budget_that_allows_nothing_is_refused(limit: int, window_s: float) -> None:
    with pytest.raises(ConfigError, match="connects"):
        ConnectBudget(limit, window_s)
