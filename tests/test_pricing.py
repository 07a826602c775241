"""The public functions: shapes, words, statuses, discount, a venue's scales."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

import pricer
from pricer.kernels import black76
from pricer.kernels.status import KernelStatus
from pricer.pricing import Greeks

ROW = (100.0, 105.0, 0.5, 0.2)
STRIKES = np.array([80.0, 100.0, 125.0])


def test_scalars_give_plain_floats() -> None:
    assert type(pricer.price(*ROW, "call")) is float
    assert type(pricer.implied_vol(3.0, 100.0, 105.0, 0.5, "put", 0.9)) is float
    assert type(pricer.price(100, 105, 0.5, 0.2, 1)) is float
    assert type(pricer.price(np.float64(100), 105.0, 0.5, 0.2, 1)) is float
    zero_dimensional: Any = np.array(100.0)
    assert type(pricer.price(zero_dimensional, 105.0, 0.5, 0.2, 1)) is float
    for form in (pricer.greeks(*ROW, "c"), pricer.greeks(100, 105, 0.5, 0.2, "c")):
        assert all(type(value) is float for value in dataclasses.astuple(form))
    scaled = pricer.venue_greeks("deribit", *ROW, "c")
    assert all(type(value) is float for value in dataclasses.astuple(scaled))


def test_arrays_broadcast() -> None:
    forward = np.array([[90.0], [110.0]])
    prices = pricer.price(forward, STRIKES, 0.5, 0.2, ["call", "put", "put"])
    assert prices.shape == (2, 3)
    for i in range(2):
        for j, cp in enumerate((1.0, -1.0, -1.0)):
            assert prices[i, j] == pytest.approx(black76.price(forward[i, 0], STRIKES[j], 0.5, 0.2, cp), rel=1e-15)
    vols = pricer.implied_vol(prices, forward, STRIKES, 0.5, np.array([1, -1, -1]))
    np.testing.assert_allclose(vols, np.full((2, 3), 0.2), rtol=1e-12)
    assert pricer.greeks(forward, STRIKES, 0.5, 0.2, 1).ultima.shape == (2, 3)
    assert pricer.price([], 1.0, 1.0, 1.0, []).shape == (0,)


def test_the_scalar_and_the_array_way_agree() -> None:
    for cp in (1, -1):
        assert pricer.price(*ROW, cp, 0.97) == pricer.price([100.0], 105.0, 0.5, 0.2, cp, 0.97)[0]
        assert (
            pricer.implied_vol(7.0, 100.0, 105.0, 0.5, cp, 0.97)
            == (pricer.implied_vol([7.0], 100.0, 105.0, 0.5, cp, 0.97)[0])
        )
        one = dataclasses.astuple(pricer.greeks(*ROW, cp, 0.97))
        many = dataclasses.astuple(pricer.greeks([100.0], 105.0, 0.5, 0.2, cp, 0.97))
        assert one == tuple(value[0] for value in many)


def test_inputs_are_neither_changed_nor_locked() -> None:
    strikes = STRIKES.copy()
    pricer.price(100.0, strikes, 0.5, 0.2, 1)
    strikes[0] = 81.0  # still writable
    np.testing.assert_array_equal(strikes[1:], STRIKES[1:])


@pytest.mark.parametrize("word", ["call", "Call", "CALL", "C", "c", 1, 1.0, np.int8(1), np.float32(1)])
def test_every_spelling_of_a_call(word: Any) -> None:
    assert pricer.price(*ROW, word) == pricer.price(*ROW, 1)
    assert pricer.price(*ROW, [word])[0] == pricer.price(*ROW, 1)


@pytest.mark.parametrize("word", ["put", "Put", "PUT", "P", "p", -1, -1.0])
def test_every_spelling_of_a_put(word: Any) -> None:
    assert pricer.price(*ROW, word) == pricer.price(*ROW, -1)
    assert pricer.price(*ROW, np.array([word], object))[0] == pricer.price(*ROW, -1)


@pytest.mark.parametrize("word", ["", "calls", "x", 0, 2, -0.5, math.nan, None, True, b"C", np.True_])
@pytest.mark.parametrize("function", [pricer.price, pricer.implied_vol, pricer.greeks])
def test_any_other_word_is_named_and_never_taken_for_a_put(word: Any, function: Any) -> None:
    named = repr(word).replace("(", r"\(").replace(")", r"\)").removeprefix("np.").rstrip("_")
    for value in (word, [1, word] if isinstance(word, (int, float)) and word is not True else [word]):
        with pytest.raises(ValueError, match=f"not .*{named}"):
            function(100.0, 105.0, 0.5, 0.2, value)


def test_discount_multiplies_prices_and_greeks_and_divides_premiums() -> None:
    assert pricer.price(*ROW, 1, 0.9) == pytest.approx(0.9 * pricer.price(*ROW, 1), rel=1e-15)
    plain, scaled = (dataclasses.astuple(pricer.greeks(*ROW, 1, d)) for d in (1.0, 0.9))
    np.testing.assert_allclose(scaled, 0.9 * np.array(plain), rtol=1e-15)
    assert pricer.implied_vol(0.9 * 3.0, 100.0, 105.0, 0.5, 1, 0.9) == pytest.approx(
        pricer.implied_vol(3.0, 100.0, 105.0, 0.5, 1), rel=1e-14
    )


@pytest.mark.parametrize("discount", [0.0, -1.0, math.nan, math.inf])
def test_an_impossible_discount_is_bad_input(discount: float) -> None:
    assert math.isnan(pricer.price(*ROW, 1, discount))
    for status in (
        pricer.price(*ROW, 1, discount, status=True)[1],
        pricer.greeks(*ROW, 1, discount, status=True)[1],
        pricer.implied_vol(3.0, 100.0, 105.0, 0.5, 1, discount, status=True)[1],
        pricer.implied_vol([3.0], 100.0, 105.0, 0.5, 1, discount, status=True)[1][0],
    ):
        assert status == KernelStatus.BAD_INPUT


def test_a_premium_that_overflows_over_its_discount_is_bad_input_without_a_warning() -> None:
    huge, small = np.float64(1e300), np.float64(1e-300)
    assert pricer.implied_vol(huge, 100.0, 105.0, 0.5, 1, small, status=True)[1] is KernelStatus.BAD_INPUT


def test_M01_bad_rows_are_nan_with_a_status_and_nothing_raises() -> None:
    premium = np.array([25.0, 20.0, 19.9, 120.0, 100.0, math.nan, -1.0])
    sigma, status = pricer.implied_vol(premium, 100.0, 80.0, 0.5, "call", status=True)
    assert status.dtype == np.uint8
    assert [KernelStatus(code).name for code in status] == [
        "OK",
        "AT_INTRINSIC",
        "BELOW_INTRINSIC",
        "ABOVE_MAX",
        "ABOVE_MAX",
        "BAD_INPUT",
        "BELOW_INTRINSIC",
    ]
    assert np.isnan(sigma[2:]).all()
    assert sigma[1] == 0.0
    assert sigma[0] > 0.0


def test_statuses_of_scalars_are_members() -> None:
    assert pricer.implied_vol(20.0, 100.0, 80.0, 0.5, 1, status=True) == (0.0, KernelStatus.AT_INTRINSIC)
    assert pricer.price(*ROW, 1, status=True)[1] is KernelStatus.OK
    found, status = pricer.greeks(100.0, 100.0, 0.0, 0.2, 1, status=True)
    assert status is KernelStatus.AT_INTRINSIC
    assert math.isnan(found.gamma)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, None])
def test_M05_bad_numbers_in_a_column_cost_their_own_row_only(value: Any) -> None:
    for place in range(4):
        columns: list[Any] = [[x, x] for x in ROW]
        columns[place] = [value, ROW[place]]
        forward, strike, ttm, sigma = columns
        prices, status = pricer.price(forward, strike, ttm, sigma, 1, status=True)
        assert status.tolist() == [KernelStatus.BAD_INPUT, KernelStatus.OK]
        assert math.isnan(prices[0])
        assert prices[1] == pricer.price(*ROW, 1)


def test_greeks_are_the_fourteen_in_order_and_frozen() -> None:
    assert tuple(field.name for field in dataclasses.fields(Greeks)) == black76.GREEKS
    found = pricer.greeks(*ROW, -1)
    np.testing.assert_allclose(dataclasses.astuple(found), black76.greeks(*ROW, -1.0), rtol=1e-15)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.delta = 0.0  # type: ignore[misc] # what is tested


def test_series_of_a_frame_are_columns() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed (the research extra)")
    frame = pandas.DataFrame({"strike": STRIKES, "cp": ["C", "P", "C"]}, index=[7, 8, 9])
    prices = pricer.price(100.0, frame.strike, 0.5, 0.2, frame.cp)
    np.testing.assert_array_equal(prices, pricer.price(100.0, STRIKES, 0.5, 0.2, [1, -1, 1]))


def test_deribit_scales() -> None:
    forward, strike, ttm, sigma = 60_000.0, 65_000.0, 0.25, 0.5
    ours, theirs = (
        pricer.greeks(forward, strike, ttm, sigma, "P"),
        pricer.venue_greeks("deribit", forward, strike, ttm, sigma, "P"),
    )
    assert theirs.delta == ours.delta
    assert theirs.gamma == round(ours.gamma, 5)
    assert theirs.vega == ours.vega / 100
    assert theirs.theta == pytest.approx(ours.theta / 365, rel=1e-15)
    assert theirs.rho == pytest.approx(ttm * (forward * ours.delta - ours.price) / 100, rel=1e-15)


def test_deribit_theta_in_the_last_day_is_of_the_time_left_and_never_more_than_the_premium() -> None:
    strikes = np.linspace(50_000.0, 70_000.0, 41)
    found = pricer.venue_greeks("deribit", 60_000.0, strikes, 0.2 / 365, 0.5, "call")
    ours = pricer.greeks(60_000.0, strikes, 0.2 / 365, 0.5, "call")
    np.testing.assert_allclose(found.theta, np.maximum(ours.theta * 0.2 / 365, -ours.price), rtol=1e-15)
    assert (found.theta == -ours.price).any()
    assert (found.theta > -ours.price).any()
    longer = pricer.venue_greeks("deribit", 60_000.0, 90_000.0, 1.5 / 365, 0.9, "call")
    raw = pricer.greeks(60_000.0, 90_000.0, 1.5 / 365, 0.9, "call")
    assert longer.theta == pytest.approx(raw.theta / 365, rel=1e-15)
    assert longer.theta < -raw.price  # a bound of the last day only


def test_an_unknown_venue_names_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"'mtgox'; known are: deribit"):
        pricer.venue_greeks("mtgox", *ROW, 1)


def test_volatilities_found_from_the_last_ticks_are_those_found_without() -> None:
    premium = pricer.price(100.0, STRIKES, 0.25, 0.4, "put", 0.98)
    cold = pricer.implied_vol(premium, 100.0, STRIKES, 0.25, "put", 0.98)
    for previous in (cold * 1.001, cold * 3.0, math.nan, [0.4, math.nan, -1.0]):
        found, status = pricer.implied_vol(premium, 100.0, STRIKES, 0.25, "put", 0.98, previous=previous, status=True)
        assert found == pytest.approx(cold, rel=4e-15)
        assert (status == KernelStatus.OK).all()
    assert (
        pricer.implied_vol(3.0, 100.0, 105.0, 0.5, "put", previous=0.2, status=True)[1] is KernelStatus.BELOW_INTRINSIC
    )
    assert type(pricer.implied_vol(8.0, 100.0, 105.0, 0.5, "put", previous=0.2)) is float


def test_M03_the_error_bar_is_one_tick_over_vega_and_absent_without_vega() -> None:
    ticked = pricer.price(100.0, 120.0, 0.25, 0.4, "call") + 0.001
    moved = pricer.implied_vol(ticked, 100.0, 120.0, 0.25, "call") - 0.4
    assert pricer.iv_error(0.001, 100.0, 120.0, 0.25, 0.4) == pytest.approx(moved, rel=1e-3)
    bars = pricer.iv_error(0.001, 100.0, [100.0, 1e9, math.nan], [0.25, 0.25, 0.25], 0.4, discount=0.5)
    assert bars[0] > 0.0
    assert np.isnan(bars[1:]).all()
    ticks = pricer.iv_error([0.0, -0.001, math.inf, math.nan], 100.0, 100.0, 0.25, 0.4)
    assert ticks[0] == 0.0
    assert 0.0 < pricer.greeks(100.0, 100.0 * math.exp(38.5), 1.0, 1.0, 1).vega < 1e-308
    assert math.isnan(pricer.iv_error(10.0, 100.0, 100.0 * math.exp(38.5), 1.0, 1.0))
    assert np.isnan(ticks[1:]).all()


def test_warmup_is_public_and_reports() -> None:
    seen: list[tuple[int, int, str]] = []
    pricer.warmup(lambda done, total, name: seen.append((done, total, name)))
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] > 5
