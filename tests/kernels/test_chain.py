"""The two calls over a slice: which rows they touch, which units they use, what a missing side does."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest

from pricer import snapshot
from pricer.kernels import black76
from pricer.kernels.chain import MODEL_FIELDS, SCRATCH_ROWS, model_values, quote_ivs
from pricer.kernels.status import KernelStatus

FORWARD, TTM, SPOT = 60_000.0, 0.1, 59_500.0
STRIKES = np.array([40_000.0, 55_000.0, 60_000.0, 65_000.0, 90_000.0])
CP = np.array([1.0, -1.0, 1.0, 1.0, -1.0])
IV = np.array([0.8, 0.6, 0.55, 0.6, 0.9])
TICK = 0.0001  # in coin
ROW = {name: i for i, name in enumerate(MODEL_FIELDS)}


class Quoted(NamedTuple):
    values: np.ndarray
    status: np.ndarray


def quoted(bid: np.ndarray, ask: np.ndarray, inverse: bool = True, rows: list[int] | None = None) -> Quoted:
    n = len(STRIKES)
    wanted = np.array(range(n) if rows is None else rows, np.int64)
    result = Quoted(np.full((3, n), -1.0), np.full((3, n), 99, np.uint8))
    scratch = np.empty((SCRATCH_ROWS, 3 * n))
    forward, ttm, tick = np.full(n, FORWARD), np.full(n, TTM), np.full(n, TICK if inverse else TICK * FORWARD)
    quote_ivs(wanted, len(wanted), bid, ask, forward, ttm, STRIKES, CP, tick, inverse, *result, scratch)
    return result


def modelled(iv: np.ndarray, spot: float = SPOT, discount: float = 1.0, inverse: bool = True) -> np.ndarray:
    out = np.full((len(MODEL_FIELDS), len(STRIKES)), -1.0)
    tick = np.full(len(STRIKES), 0.0001 * FORWARD)
    model_values(len(STRIKES), iv, FORWARD, spot, TTM, STRIKES, CP, tick, discount, inverse, out)
    return out


def premiums(inverse: bool) -> np.ndarray:
    values = np.array([black76.price(FORWARD, k, TTM, s, c) for k, s, c in zip(STRIKES, IV, CP, strict=True)])
    return values / FORWARD if inverse else values


@pytest.mark.parametrize("inverse", [True, False])
def test_quote_ivs_give_back_the_volatility_of_each_side(inverse: bool) -> None:
    fair = premiums(inverse)
    result = quoted(fair, fair, inverse)
    np.testing.assert_allclose(result.values, np.tile(IV, (3, 1)), rtol=1e-12)
    assert (result.status == KernelStatus.OK).all()


def test_mid_iv_is_that_of_the_mid_price_and_lies_between() -> None:
    fair = premiums(True)
    bid_iv, ask_iv, mid_iv = quoted(fair * 0.999, fair * 1.001).values
    assert (bid_iv < mid_iv).all()
    assert (mid_iv < ask_iv).all()


def test_a_missing_side_gives_nan_there_and_no_mid() -> None:
    bid, ask = premiums(True), premiums(True)
    bid[1] = np.nan
    ask[3] = np.nan
    result = quoted(bid, ask)
    assert np.isnan(result.values[:, 1]).tolist() == [True, False, True]
    assert result.status[:, 1].tolist() == [KernelStatus.BAD_INPUT, KernelStatus.OK, KernelStatus.BAD_INPUT]
    assert np.isnan(result.values[:, 3]).tolist() == [False, True, True]


def test_crossed_quotes_are_computed() -> None:
    fair = premiums(True)
    result = quoted(fair * 1.001, fair * 0.999)
    assert (result.status == KernelStatus.OK).all()
    assert (result.values[0] > result.values[1]).all()


def test_a_bid_below_intrinsic_says_so_and_the_ask_is_solved() -> None:
    bid = premiums(True)
    bid[0] = 1 - STRIKES[0] / FORWARD - 0.001
    result = quoted(bid, premiums(True))
    assert math.isnan(result.values[0, 0])
    assert result.status[:2, 0].tolist() == [KernelStatus.BELOW_INTRINSIC, KernelStatus.OK]


def test_only_the_named_rows_are_touched() -> None:
    fair = premiums(True)
    result = quoted(fair, fair, rows=[3, 1])
    assert (result.status[:, [0, 2, 4]] == 99).all()
    assert (result.values[:, [0, 2, 4]] == -1.0).all()
    np.testing.assert_allclose(result.values[0, [1, 3]], IV[[1, 3]])


def test_each_quote_uses_the_forward_and_time_of_its_own_instant() -> None:
    forward, ttm = np.linspace(5e4, 7e4, 5), np.linspace(0.01, 0.5, 5)
    rows = zip(forward, STRIKES, ttm, IV, CP, strict=True)
    fair = np.array([black76.price(*row) for row in rows]) / forward
    values, status, scratch = np.empty((3, 5)), np.empty((3, 5), np.uint8), np.empty((SCRATCH_ROWS, 15))
    quote_ivs(np.arange(5), 5, fair, fair, forward, ttm, STRIKES, CP, np.full(5, TICK), True, values, status, scratch)
    np.testing.assert_allclose(values[2], IV, rtol=1e-11)


def test_M03_a_volatility_that_one_tick_moves_by_as_much_as_itself_is_solved_and_called_low_vega() -> None:
    # Deep in the money: less time value than one tick has. The premium is exact, the volatility says nothing.
    quotes = premiums(True)
    far = np.array([black76.price(FORWARD, k, TTM, 0.25, c) for k, c in zip(STRIKES, CP, strict=True)]) / FORWARD
    bids = np.where(STRIKES == 40_000.0, far, quotes)
    found = quoted(bids, bids)
    vega = black76.greeks(FORWARD, 40_000.0, TTM, 0.25, 1.0)[3]
    assert TICK * FORWARD / vega > 0.25
    assert found.status[0].tolist() == [KernelStatus.LOW_VEGA, *4 * [KernelStatus.OK]]
    assert found.values[0, 1:] == pytest.approx(IV[1:], rel=1e-10)
    assert found.values[0, 0] == pytest.approx(0.25, rel=1e-3)  # what a double of that premium still holds


def test_the_line_to_low_vega_is_where_one_tick_over_vega_is_the_volatility() -> None:
    quotes = premiums(True)
    for row, (strike, sigma, cp) in enumerate(zip(STRIKES, IV, CP, strict=True)):
        vega = black76.greeks(FORWARD, strike, TTM, sigma, cp)[3] / FORWARD
        for tick, code in ((0.999 * vega * sigma, KernelStatus.OK), (1.001 * vega * sigma, KernelStatus.LOW_VEGA)):
            values, status, scratch = np.empty((3, 5)), np.empty((3, 5), np.uint8), np.empty((SCRATCH_ROWS, 15))
            forward, ttm, ticks = np.full(5, FORWARD), np.full(5, TTM), np.full(5, tick)
            quote_ivs(
                np.array([row]), 1, quotes, quotes, forward, ttm, STRIKES, CP, ticks, True, values, status, scratch
            )
            assert status[:, row].tolist() == [code] * 3, (strike, tick)


def test_model_values_are_the_greeks_times_discount() -> None:
    out = modelled(IV, discount=0.97)
    for row, (k, s, c) in enumerate(zip(STRIKES, IV, CP, strict=True)):
        raw = black76.greeks(FORWARD, k, TTM, s, c)
        np.testing.assert_allclose(out[1:15, row], 0.97 * np.array(raw), rtol=1e-14)


@pytest.mark.parametrize("inverse", [True, False])
def test_theo_is_in_settlement_currency(inverse: bool) -> None:
    np.testing.assert_allclose(modelled(IV, inverse=inverse)[ROW["theo"]], premiums(inverse), rtol=1e-14)


def test_delta_forms_and_iv_error() -> None:
    out = modelled(IV)
    value, delta, vega = out[ROW["price"]], out[ROW["delta"]], out[ROW["vega"]]
    np.testing.assert_allclose(out[ROW["delta_premium_adjusted"]], delta - value / FORWARD, rtol=1e-14)
    np.testing.assert_allclose(out[ROW["delta_coin"]] * FORWARD, delta - value / FORWARD, rtol=1e-14)
    np.testing.assert_allclose(out[ROW["delta_cash"]], delta * FORWARD, rtol=1e-14)
    np.testing.assert_allclose(out[ROW["delta_cash_premium_adjusted"]], delta * FORWARD - value, rtol=1e-13)
    np.testing.assert_allclose(out[ROW["delta_spot"]], delta * FORWARD / SPOT, rtol=1e-14)
    np.testing.assert_allclose(out[ROW["vega_coin"]], vega / FORWARD, rtol=1e-14)
    np.testing.assert_allclose(out[ROW["iv_error"]], 0.0001 * FORWARD / vega, rtol=1e-14)


def test_a_nan_volatility_gives_nan_in_every_field_of_its_row_only() -> None:
    iv = IV.copy()
    iv[2] = np.nan
    bad = np.isnan(modelled(iv))
    assert bad[:, 2].all()
    assert not np.delete(bad, 2, axis=1).any()


def test_a_missing_spot_costs_delta_spot_only() -> None:
    bad = np.isnan(modelled(IV, spot=math.nan))
    assert bad[ROW["delta_spot"]].all()
    assert bad.sum() == len(STRIKES)


def test_iv_error_is_no_number_where_vega_vanishes() -> None:
    iv = IV.copy()
    iv[0] = 1e-3  # 40 % in the money: vega underflows
    out = modelled(iv)
    assert out[ROW["vega"], 0] == 0.0
    assert math.isnan(out[ROW["iv_error"], 0])
    out = modelled(IV, discount=1e-315)  # a vega that is not zero, and too small to divide by
    assert (out[ROW["vega"]] > 0.0).all()
    assert np.isnan(out[ROW["iv_error"]]).all()


def test_a_snapshots_model_fields_are_the_kernels_rows() -> None:
    """A snapshot names them itself, so that reading one loads no Numba; a difference would swap columns silently."""
    assert snapshot.MODEL_FIELDS == MODEL_FIELDS
