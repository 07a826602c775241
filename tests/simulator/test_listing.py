"""The calendar, the strike ladders and the names of what is listed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from pricer.conventions import NS_PER_DAY
from pricer.simulator.listing import BTC_USDC, Expiry, expiries, ladder, listed, option_name

NAME = re.compile(r"^([A-Z0-9]+)(?:_([A-Z]+))?-(\d{1,2})([A-Z]{3})(\d{2})-(\d+(?:d\d+)?)-([CP])$")


def wall_ns(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * 1_000_000_000


def test_the_calendar_of_a_recorded_day_is_reproduced() -> None:
    # Expiries with options that the venue listed at 2026-05-20 07:50 UTC, after its own `public/get_expirations`.
    recorded = {"20MAY26", "21MAY26", "22MAY26", "23MAY26", "29MAY26", "5JUN26", "26JUN26", "31JUL26", "25SEP26"}
    recorded |= {"25DEC26", "26MAR27"}
    codes = [e.code for e in expiries(wall_ns(2026, 5, 20, 7, 50))]
    assert recorded <= set(codes)
    assert set(codes) - recorded <= {"12JUN26", "19JUN26"}  # Fridays listed later on that day or week


@pytest.mark.parametrize("start", [wall_ns(2026, 11, 21, 14), wall_ns(2026, 12, 31, 23, 59), wall_ns(1970, 1, 1)])
def test_every_day_has_at_least_nine_expiries_from_hours_to_a_year(start: int) -> None:
    for day in range(0, 400, 7):
        now = start + day * NS_PER_DAY
        found = expiries(now)
        days = [(e.expiry_ns - now) / NS_PER_DAY for e in found]
        assert len(found) >= 9
        assert days == sorted(set(days))
        assert 0.0 < days[0] <= 1.0
        assert 270.0 < days[-1] < 380.0


def test_expiries_are_at_eight_utc_and_over_at_that_very_instant() -> None:
    eight = wall_ns(2026, 11, 27, 8)
    assert all(e.expiry_ns % NS_PER_DAY == 8 * 3_600 * 10**9 for e in expiries(eight))
    assert min(e.expiry_ns for e in expiries(eight)) == eight + NS_PER_DAY
    assert min(e.expiry_ns for e in expiries(eight - 1)) == eight


def test_the_last_friday_of_a_month_is_a_monthly_and_other_fridays_are_weeklies() -> None:
    for expiry in expiries(wall_ns(2026, 11, 21, 14)):
        day = datetime.fromtimestamp(expiry.expiry_ns / 1e9, UTC)
        is_friday = day.weekday() == 4
        is_last = is_friday and (day + timedelta(7)).month != day.month
        assert expiry.period == ("month" if is_last else "week" if is_friday else "day")
        assert expiry.quarterly == (is_last and day.month in (3, 6, 9, 12))


def test_the_linear_family_lists_monthlies_only() -> None:
    assert [e.period for e in listed(BTC_USDC, wall_ns(2026, 11, 21))] == ["month"] * 4


@pytest.mark.parametrize("days", [0.2, 1.9, 5.0, 30.0, 90.0, 300.0])
def test_a_ladder_is_dense_at_the_forward_and_reaches_both_wings(days: float) -> None:
    strikes = ladder(100_300.0, days, 500.0)
    gaps = [high - low for low, high in pairwise(strikes)]
    nearest = min(range(len(gaps)), key=lambda n: abs(strikes[n] - 100_300.0))
    assert strikes == sorted(set(strikes))
    assert all(strike % 500.0 == 0.0 for strike in strikes)
    assert gaps[nearest] == min(gaps) < max(gaps)
    assert strikes[0] < 90_000.0
    assert strikes[-1] > 112_000.0


@pytest.mark.parametrize(
    ("strike", "digits"), [(100_000.0, "100000"), (0.128, "0d128"), (1.02, "1d02"), (85.5, "85d5")]
)
def test_names_follow_the_venues_grammar(strike: float, digits: str) -> None:
    name = option_name("DOGE_USDC", Expiry(wall_ns(2024, 3, 9, 8), "day", False).code, strike, -1.0)
    assert name == f"DOGE_USDC-9MAR24-{digits}-P"
    assert NAME.match(name)
