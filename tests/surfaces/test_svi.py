"""Raw SVI: its values against the formula, its derivatives against differences, its density against probability."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pricer.surfaces import SviParams, SviSmile, iv_chain
from tests.surfaces.made import smile

SMILE = SviSmile(0.25, 60_000.0, SviParams(0.01, 0.08, -0.3, 0.05, 0.2))
K = np.linspace(-2.0, 2.0, 41)


def test_total_variance_is_gatherals_formula() -> None:
    a, b, rho, m, sigma = SMILE.params
    expected = a + b * (rho * (K - m) + np.sqrt((K - m) ** 2 + sigma**2))
    np.testing.assert_allclose(SMILE.total_variance(K), expected, rtol=1e-14)


def test_volatility_is_the_root_of_w_over_ttm_at_ln_k_over_f() -> None:
    strikes = 60_000.0 * np.exp(K)
    np.testing.assert_allclose(SMILE.iv(strikes), np.sqrt(np.asarray(SMILE.total_variance(K)) / 0.25), rtol=1e-13)


def test_the_minimum_of_w_is_a_plus_sigma_times_the_root_of_the_wing_slopes() -> None:
    left, right = SMILE.wing_slopes
    grid = np.asarray(SMILE.total_variance(np.linspace(-1.0, 1.0, 200_001)))
    assert grid.min() == pytest.approx(SMILE.params.a + SMILE.params.sigma * math.sqrt(left * right), rel=1e-9)


def test_fill_iv_and_iv_chain_give_what_iv_gives() -> None:
    strikes = 60_000.0 * np.exp(K)
    filled, chained = np.empty(strikes.size), np.empty(strikes.size)
    SMILE.fill_iv(strikes, filled)
    iv_chain(*SMILE.params, strikes, SMILE.forward, SMILE.ttm, chained)
    np.testing.assert_array_equal(filled, SMILE.iv(strikes))
    np.testing.assert_array_equal(chained, filled)


@pytest.mark.parametrize("strike", [0.0, -1.0, math.nan])
def test_an_impossible_strike_has_no_volatility(strike: float) -> None:
    assert math.isnan(float(SMILE.iv(strike)))


def test_negative_total_variance_has_no_volatility() -> None:
    below_zero = SviSmile(0.25, 60_000.0, SviParams(-0.5, 0.08, -0.3, 0.05, 0.2))
    assert math.isnan(float(below_zero.iv(60_000.0)))


def test_a_free_smile_keeps_its_wing_slopes_below_lees_bound() -> None:
    assert max(smile(1.0).wing_slopes) < 2.0
