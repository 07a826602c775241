"""The words that every number comes with. Values are part of the public contract: these tests pin them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from pricer.conventions import (
    NO_REASON,
    NO_TIME,
    NS_PER_DAY,
    NS_PER_YEAR,
    RAW_GREEKS,
    Reason,
    Status,
    ttm_years,
)

# Positions are for ever: recordings and clients hold masks. Append here when a reason is appended there.
REASONS_IN_ORDER = """
NO_UNDERLYING UNDERLYING_STALE QUOTE_STALE NO_QUOTE ONE_SIDED WIDE_SPREAD CROSSED LOCKED BOOK_GAP RESYNCING
CHECKSUM_FAIL OUT_OF_BAND BELOW_INTRINSIC ABOVE_MAX NO_CONVERGENCE LOW_VEGA FIT_FAILED FIT_LAST_GOOD
FIT_UNDERDETERMINED EXTRAPOLATED ARB_REPAIRED SETTLING EXPIRED NOT_TRADING VENUE_DOWN VENUE_MAINTENANCE CLOCK_SUSPECT
OVERLOADED CONFLATED REPLAY MODEL_LIMIT BAD_INPUT JUMP_UNCONFIRMED FORWARD_IMPLIED
"""


def test_each_reason_keeps_its_bit_for_ever() -> None:
    assert [reason.name for reason in Reason] == REASONS_IN_ORDER.split()
    assert [reason.value for reason in Reason] == [1 << bit for bit in range(len(Reason))]


def test_every_set_of_reasons_fits_a_uint64_column() -> None:
    everything = ~NO_REASON
    assert Reason(int(np.array([int(everything)], dtype=np.uint64)[0])) == everything


def test_names_come_in_the_order_of_the_list_whatever_the_order_of_adding() -> None:
    assert (Reason.REPLAY | Reason.CROSSED | Reason.ONE_SIDED).names == ("ONE_SIDED", "CROSSED", "REPLAY")
    assert NO_REASON.names == ()


def test_the_label_is_for_people_and_empty_without_a_reason() -> None:
    assert (Reason.QUOTE_STALE | Reason.LOCKED).label == "QUOTE_STALE, LOCKED"
    assert NO_REASON.label == ""


def test_statuses_keep_their_numbers_and_the_worst_input_decides() -> None:
    assert {status.name: int(status) for status in Status} == {"OK": 0, "DEGRADED": 1, "STALE": 2, "INVALID": 3}
    for better, worse in itertools.pairwise((Status.OK, Status.DEGRADED, Status.STALE, Status.INVALID)):
        assert max(better, worse) is worse


def test_no_time_is_what_numpy_calls_not_a_time() -> None:
    assert np.isnat(np.array([NO_TIME]).astype("datetime64[ns]")[0])


@pytest.mark.parametrize(
    ("ns_left", "years"),
    [
        (NS_PER_YEAR, 1.0),
        (NS_PER_DAY, 1 / 365),
        (60_000_000_000, 1 / 525_600),
        (1_000_000_000, 1 / 31_536_000),
        (1, 1 / 31_536_000e9),
        (0, 0.0),
        (-1_000_000_000, -1 / 31_536_000),
    ],
)
def test_C03_time_to_expiry_is_continuous_through_zero(ns_left: int, years: float) -> None:
    now_ns = 1_795_000_000_000_000_000
    assert ttm_years(now_ns + ns_left, now_ns) == pytest.approx(years, rel=1e-15, abs=0)


def test_time_to_expiry_keeps_single_nanoseconds_of_epoch_times() -> None:
    """As doubles, instants of this century are 256 ns apart; the difference is taken in integers."""
    now_ns = 1_795_000_000_000_000_001
    assert ttm_years(now_ns + 3, now_ns) == 3 / NS_PER_YEAR


def test_a_leap_year_is_366_of_365_days() -> None:
    leap_year_ns = 366 * NS_PER_DAY
    assert ttm_years(leap_year_ns, 0) == pytest.approx(366 / 365, rel=1e-15)


def test_the_convention_of_the_greeks_is_a_value_that_cannot_be_edited() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RAW_GREEKS.theta = "per_day"  # type: ignore[misc,assignment]  # the point of the test
    assert dataclasses.asdict(RAW_GREEKS) == {
        "greeks": "raw_partial_derivatives",
        "day_count": "ACT/365",
        "dynamics": "sticky_strike",
        "theta": "minus_d_ttm_at_fixed_forward",
        "value_currency": "quote",
    }
