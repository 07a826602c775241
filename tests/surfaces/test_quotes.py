"""Which quotes enter a fit, how, and why the others do not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pricer.conventions import Reason
from pricer.surfaces import Role, Selection, SliceQuotes, select
from pricer.surfaces.quotes import HALF_SPREAD_FLOOR, HIGH, LOW, WEIGHT, WIDTH, K
from tests.surfaces.made import Array

NAN = math.nan


def chosen(bid: list[float], ask: list[float], strikes: list[float] | None = None, **columns: Array) -> Selection:
    return select(
        SliceQuotes(0.25, 100.0, np.array(strikes or LADDER[: len(bid)]), np.array(bid), np.array(ask), **columns)
    )


LADDER = [80.0, 85.0, 90.0, 95.0, 100.0, 105.0, 110.0, 115.0, 120.0]


def test_two_sided_quotes_enter_with_their_mid_and_half_spread() -> None:
    selection = chosen([0.50, 0.48], [0.54, 0.50])
    assert selection.role.tolist() == [Role.MID, Role.MID]
    assert selection.mids == 2
    np.testing.assert_allclose(selection.observations[:, K], np.log([0.80, 0.85]))
    np.testing.assert_allclose(selection.observations[:, WIDTH], [0.02, 0.01])
    assert selection.k_range == pytest.approx((math.log(0.80), math.log(0.85)))


def test_D01_a_missing_side_makes_a_bound_and_never_a_mid() -> None:
    selection = chosen([NAN, 0.48, NAN], [0.54, NAN, NAN])
    assert selection.role.tolist() == [Role.UPPER_BOUND, Role.LOWER_BOUND, Role.EXCLUDED]
    assert selection.reasons.tolist() == [Reason.ONE_SIDED, Reason.ONE_SIDED, Reason.NO_QUOTE]
    assert selection.mids == 0
    assert selection.observations[0, LOW] == -math.inf
    assert selection.observations[1, HIGH] == math.inf


def test_crossed_quotes_stay_out() -> None:
    selection = chosen([0.55, 0.48], [0.54, 0.50])
    assert selection.role.tolist() == [Role.EXCLUDED, Role.MID]
    assert Reason(int(selection.reasons[0])) == Reason.CROSSED
    assert selection.excluded() == {"CROSSED": 1}


def test_a_locked_quote_enters_with_the_smallest_half_spread_and_says_so() -> None:
    selection = chosen([0.50], [0.50])
    assert selection.role.tolist() == [Role.MID]
    assert Reason(int(selection.reasons[0])) == Reason.LOCKED
    assert selection.observations[0, WIDTH] == HALF_SPREAD_FLOOR


def test_half_spreads_are_floored_at_one_price_tick_in_vol() -> None:
    selection = chosen([0.50, 0.50, 0.50], [0.501, 0.501, 0.56], iv_floor=np.array([0.003, NAN, 0.003]))
    np.testing.assert_allclose(selection.observations[:, WIDTH], [0.003, HALF_SPREAD_FLOOR, 0.03])


@pytest.mark.parametrize(
    ("strike", "bid", "ask"),
    [
        (0.0, 0.5, 0.6),
        (-5.0, 0.5, 0.6),
        (NAN, 0.5, 0.6),
        (math.inf, 0.5, 0.6),
        (90.0, 0.0, 0.6),
        (90.0, 0.5, math.inf),
        (90.0, -0.1, 0.6),
    ],
)
def test_D05_impossible_numbers_stay_out(strike: float, bid: float, ask: float) -> None:
    selection = chosen([bid, 0.5], [ask, 0.6], strikes=[strike, 100.0])
    assert selection.role.tolist() == [Role.EXCLUDED, Role.MID]
    assert Reason(int(selection.reasons[0])) == Reason.BAD_INPUT


def test_D02_a_fat_finger_ask_is_out_of_band() -> None:
    bid = [0.50] * 9
    ask = [0.52] * 9
    ask[4] = 8.0
    selection = chosen(bid, ask)
    assert Reason(int(selection.reasons[4])) == Reason.OUT_OF_BAND
    assert selection.role.tolist().count(Role.MID) == 8


def test_a_fat_finger_in_both_sides_is_out_of_band_upwards_and_downwards() -> None:
    for factor in (10.0, 0.1):
        bid, ask = np.full(9, 0.50), np.full(9, 0.52)
        bid[6], ask[6] = factor * bid[6], factor * ask[6]
        selection = chosen(bid.tolist(), ask.tolist())
        assert Reason(int(selection.reasons[6])) == Reason.OUT_OF_BAND


def test_a_steep_wing_is_not_taken_for_an_error() -> None:
    mid = np.array([1.6, 1.3, 1.05, 0.85, 0.7, 0.6, 0.55, 0.6, 0.7])
    assert chosen((mid - 0.05).tolist(), (mid + 0.05).tolist()).mids == 9


def test_of_call_and_put_the_one_out_of_the_money_speaks_for_its_strike() -> None:
    strikes = [90.0, 90.0, 100.0, 100.0, 110.0, 110.0]
    cp = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    selection = chosen([0.5] * 6, [0.6] * 6, strikes=strikes, cp=cp)
    other, mid = Role.OTHER_SIDE, Role.MID
    assert selection.role.tolist() == [other, mid, mid, other, mid, other]  # at K = F the call


def test_the_side_counts_from_the_quotes_own_forward() -> None:
    strikes, cp = [100.0, 100.0], np.array([1.0, -1.0])
    selection = chosen([0.5] * 2, [0.6] * 2, strikes=strikes, cp=cp, forwards=np.array([101.0, 101.0]))
    assert selection.role.tolist() == [Role.OTHER_SIDE, Role.MID]
    assert selection.observations[0, K] == pytest.approx(math.log(100.0 / 101.0))


def test_the_in_the_money_side_stands_in_where_the_other_has_no_two_sided_quote() -> None:
    strikes, cp = [110.0, 110.0], np.array([1.0, -1.0])
    assert chosen([NAN, 0.5], [0.6, 0.6], strikes=strikes, cp=cp).role.tolist() == [Role.OTHER_SIDE, Role.MID]
    assert chosen([NAN, 0.5], [NAN, 0.6], strikes=strikes, cp=cp).role.tolist() == [Role.EXCLUDED, Role.MID]
    # Neither is two-sided: the out-of-the-money one again.
    assert chosen([NAN, NAN], [0.6, 0.6], strikes=strikes, cp=cp).role.tolist() == [Role.UPPER_BOUND, Role.OTHER_SIDE]


def test_old_quotes_count_less() -> None:
    selection = chosen([0.5] * 3, [0.6] * 3, ages=np.array([0.0, 30.0, 60.0]))
    np.testing.assert_allclose(selection.observations[:, WEIGHT], [1.0, 0.5, 0.25])


def test_F13_the_order_of_the_rows_does_not_matter() -> None:
    random = np.random.default_rng(3)
    strikes = np.repeat(LADDER, 2)
    cp = np.tile([1.0, -1.0], 9)
    bid = 0.5 + 0.01 * random.random(18)
    straight = select(SliceQuotes(0.25, 100.0, strikes, bid, bid + 0.02, cp=cp))
    order = random.permutation(18)
    mixed = select(SliceQuotes(0.25, 100.0, strikes[order], bid[order], bid[order] + 0.02, cp=cp[order]))
    assert straight.observations.tobytes() == mixed.observations.tobytes()
    assert straight.row.tolist() == order[mixed.row].tolist()


@pytest.mark.parametrize(("ttm", "forward"), [(0.0, 100.0), (-1.0, 100.0), (NAN, 100.0), (0.1, 0.0), (0.1, NAN)])
def test_a_slice_needs_a_time_to_maturity_and_a_forward(ttm: float, forward: float) -> None:
    with pytest.raises(ValueError, match="must be positive and finite"):
        SliceQuotes(ttm, forward, np.array([1.0]), np.array([0.1]), np.array([0.2]))


def test_columns_of_different_lengths_are_an_error_that_names_the_column() -> None:
    with pytest.raises(ValueError, match="ask_iv has 1 rows, strikes has 2"):
        SliceQuotes(0.1, 100.0, np.array([90.0, 100.0]), np.array([0.1, 0.1]), np.array([0.2]))


def test_columns_are_copies_that_nobody_can_write_to() -> None:
    bid = np.array([0.5])
    made = SliceQuotes(0.1, 100.0, np.array([90.0]), bid, np.array([0.6]))
    bid[0] = 0.1
    assert made.bid_iv[0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        made.bid_iv[0] = 0.1


def test_a_slice_without_options_has_no_observations() -> None:
    empty = np.empty(0)
    selection = select(SliceQuotes(0.1, 100.0, empty, empty, empty))
    assert selection.mids == 0
    assert all(math.isnan(k) for k in selection.k_range)
