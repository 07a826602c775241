"""The smile between two expiries keeps the Smile contract."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from pricer import price
from pricer.surfaces import LocalVolStatus, Smile, SviParams, SviSmile, VolSurface, check_butterfly, check_calendar
from pricer.surfaces.between import BetweenSmile, stays_free
from pricer.surfaces.local_vol import local_volatility
from tests.surfaces.made import smile, surface_of
from tests.surfaces.outcomes import OutcomesSmile

K = np.linspace(-1.5, 1.5, 61)


@pytest.fixture(scope="module")
def surface() -> VolSurface:
    return surface_of(smile(0.1, forward=60_000.0), smile(0.3, forward=66_000.0))


@pytest.fixture(scope="module")
def between(surface: VolSurface) -> Smile:
    found = surface.smile(0.15)
    assert isinstance(found, BetweenSmile)
    return found


def test_it_is_what_the_surface_says_there(surface: VolSurface, between: Smile) -> None:
    np.testing.assert_allclose(between.total_variance(K), surface.total_variance(K, 0.15), rtol=1e-14)
    assert (between.ttm, between.forward) == (0.15, surface.forward(0.15))
    strikes = between.forward * np.exp(K)
    np.testing.assert_allclose(between.iv(strikes), surface.iv(strikes, 0.15), rtol=1e-13)


def test_derivatives_are_those_of_w(between: Smile) -> None:
    h = 1e-5
    np.testing.assert_allclose(
        between.dw(K), (between.total_variance(K + h) - between.total_variance(K - h)) / (2.0 * h), atol=1e-9
    )
    np.testing.assert_allclose(between.d2w(K), (between.dw(K + h) - between.dw(K - h)) / (2.0 * h), atol=1e-8)


def test_of_two_slices_of_one_smile_it_is_that_smile() -> None:
    near = smile(0.2)
    same = BetweenSmile.of(near.at(near.forward, 0.1), near.at(near.forward, 0.4), 0.2, near.forward)
    strikes = near.forward * np.exp(K)
    for method, at in (("total_variance", K), ("durrleman_g", K), ("density", strikes), ("iv", strikes)):
        np.testing.assert_allclose(getattr(same, method)(at), getattr(near, method)(at), rtol=1e-11)


def test_the_density_is_a_probability_with_the_forward_as_its_mean(between: Smile) -> None:
    k = np.linspace(-6.0, 6.0, 100_001)
    strikes = between.forward * np.exp(k)
    mass = np.asarray(between.density(strikes)) * strikes
    assert np.trapezoid(mass, k) == pytest.approx(1.0, abs=1e-6)
    assert np.trapezoid(mass * strikes, k) == pytest.approx(between.forward, rel=1e-5)


def test_the_density_is_the_second_strike_derivative_of_the_call(between: Smile) -> None:
    strike, h = 1.1 * between.forward, 1e-3 * between.forward
    at = np.array([strike - h, strike, strike + h])
    calls = np.asarray(price(between.forward, at, between.ttm, between.iv(at), 1))
    assert float(between.density(strike)) == pytest.approx((calls[0] - 2 * calls[1] + calls[2]) / (h * h), rel=1e-4)


def test_another_forward_and_time_keep_sigma_of_k(between: Smile) -> None:
    moved = between.at(1.2 * between.forward, 0.5 * between.ttm)
    strikes = between.forward * np.exp(K)
    np.testing.assert_allclose(moved.iv(1.2 * strikes), between.iv(strikes), rtol=1e-12)
    assert (moved.forward, moved.ttm) == (1.2 * between.forward, 0.5 * between.ttm)


@pytest.mark.parametrize("method", ["total_variance", "dw", "d2w", "durrleman_g", "iv", "density"])
def test_scalars_in_give_scalars_out_and_arrays_keep_their_shape(between: Smile, method: str) -> None:
    function = getattr(between, method)
    assert isinstance(function(1.0), float)
    assert function(np.ones((2, 3))).shape == (2, 3)


def test_an_impossible_strike_has_no_volatility_and_no_density(between: Smile) -> None:
    assert np.isnan(between.iv([0.0, -1.0, math.nan])).all()
    assert np.isnan(between.density([0.0, -1.0, math.nan])).all()
    out = np.empty(2)
    between.fill_iv(np.array([50_000.0, -1.0]), out)
    assert out[0] == between.iv(50_000.0)
    assert math.isnan(out[1])


# Two expiries around a decision, up or down: certain to fall apart, and further by the second one. A small rest of
# ordinary distribution holds the wings.
CHANCES = (0.495, 0.495, 0.01)
BEFORE = OutcomesSmile(0.2, 100.0, CHANCES, (0.8, 1.2, 1.0), (0.05, 0.05, 0.6))
AFTER = OutcomesSmile(0.3, 100.0, CHANCES, (0.6, 1.4, 1.0), (0.05, 0.08, 0.7))
DECIDED = np.linspace(-3.0, 3.0, 2401)


def test_linear_variance_breaks_two_smiles_around_a_decision() -> None:
    for found in (BEFORE, AFTER):
        assert float(np.min(found.durrleman_g(DECIDED))) > 5e-3
    assert np.all(np.asarray(AFTER.total_variance(DECIDED)) > BEFORE.total_variance(DECIDED))
    linear = BetweenSmile(0.25, 100.0, BEFORE, AFTER, 0.5, linear=True)
    assert float(np.min(linear.durrleman_g(DECIDED))) < -1e-3
    assert not stays_free(BEFORE, AFTER)


def test_such_a_pair_is_mixed_in_prices_and_free_of_arbitrage_at_all_times() -> None:
    before = np.asarray(BEFORE.total_variance(DECIDED))
    for share in (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0):
        found = BetweenSmile.of(BEFORE, AFTER, 0.2 + share * 0.1, 100.0)
        assert not found.linear
        assert float(np.min(found.durrleman_g(DECIDED))) > 5e-3
        now = np.asarray(found.total_variance(DECIDED))
        assert np.all(now > before)
        before = now
        growth = np.asarray(found.growth(DECIDED))
        assert np.all(growth > 0.0)
        assert np.all(local_volatility(found, growth, DECIDED)[1] == LocalVolStatus.OK)


def test_random_certified_pairs_of_svi_are_free_of_arbitrage_at_all_times() -> None:
    random = np.random.default_rng(6)
    k = np.linspace(-4.0, 4.0, 2001)
    pairs = 0
    while pairs < 40:
        low, high = random_smile(random, 0.1), random_smile(random, float(random.uniform(0.11, 0.3)))
        if not (check_butterfly(low).ok and check_butterfly(high).ok and check_calendar(low, high).ok):
            continue
        pairs += 1
        for share in (0.1, 0.4, 0.7):
            found = BetweenSmile.of(low, high, low.ttm + share * (high.ttm - low.ttm), 1.0)
            assert check_butterfly(found).ok
            assert np.all(np.asarray(found.growth(k)) >= 0.0)


def random_smile(random: np.random.Generator, ttm: float) -> SviSmile:
    sd = 0.55 * math.sqrt(ttm)
    b, rho, m = random.uniform(0.02, 1.2) * sd, random.uniform(-0.95, 0.95), random.normal(0.0, 0.6) * sd
    sigma = 10.0 ** random.uniform(-1.3, 0.5) * sd
    return SviSmile(ttm, 1.0, SviParams(sd * sd - b * (rho * -m + math.hypot(m, sigma)), b, rho, m, sigma))


@pytest.fixture(scope="module")
def mixed() -> BetweenSmile:
    return BetweenSmile(0.15, 60_000.0, smile(0.1), smile(0.3), 0.25, linear=False)


def test_usual_pairs_stay_linear() -> None:
    assert stays_free(smile(0.1), smile(0.3))
    assert BetweenSmile.of(smile(0.1), smile(0.3), 0.2, 60_000.0).linear


def test_mixed_prices_are_the_mean_of_both_and_linear_variance_at_the_money(mixed: BetweenSmile) -> None:
    low, high = mixed.low, mixed.high
    assert float(mixed.total_variance(0.0)) == pytest.approx(0.55**2 * 0.15, rel=1e-14)

    def call(k: mpmath.mpf, w: float) -> mpmath.mpf:
        s = mpmath.sqrt(w)
        return mpmath.ncdf(-k / s + s / 2) - mpmath.exp(k) * mpmath.ncdf(-k / s - s / 2)

    with mpmath.workdps(60):
        ends = [call(mpmath.mpf(0), 0.55**2 * ttm) for ttm in (0.1, 0.15, 0.3)]
        weight = (ends[1] - ends[0]) / (ends[2] - ends[0])
        for k in (-2.5, -0.7, -0.1, 0.05, 0.4, 1.0, 3.0):
            own, one, two = (call(mpmath.mpf(k), float(each.total_variance(k))) for each in (mixed, low, high))
            if k < 0:  # puts: calls there are intrinsic value to all digits
                own, one, two = (each + mpmath.exp(k) - 1 for each in (own, one, two))
            assert float(own / ((1 - weight) * one + weight * two) - 1) == pytest.approx(0.0, abs=3e-11)


def test_derivatives_of_mixed_prices_are_those_of_w(mixed: BetweenSmile) -> None:
    h = 1e-5
    np.testing.assert_allclose(
        mixed.dw(K), (mixed.total_variance(K + h) - mixed.total_variance(K - h)) / (2.0 * h), atol=1e-9
    )
    np.testing.assert_allclose(mixed.d2w(K), (mixed.dw(K + h) - mixed.dw(K - h)) / (2.0 * h), atol=1e-8)
    earlier, later = (
        BetweenSmile(0.15, 60_000.0, mixed.low, mixed.high, 0.25 + step, linear=False) for step in (-1e-6, 1e-6)
    )
    rise = (np.asarray(later.total_variance(K)) - np.asarray(earlier.total_variance(K))) / (2e-6 * 0.2)
    np.testing.assert_allclose(mixed.growth(K), rise, rtol=1e-6)


@pytest.mark.parametrize("linear", [True, False])
def test_the_ends_are_the_two_smiles(linear: bool) -> None:
    low, high = smile(0.1), smile(0.3)
    for share, end in ((0.0, low), (1.0, high)):
        found = BetweenSmile(end.ttm, 60_000.0, low, high, share, linear)
        for method in ("total_variance", "dw", "d2w", "durrleman_g"):
            np.testing.assert_allclose(getattr(found, method)(K), getattr(end, method)(K), rtol=1e-12, atol=1e-13)


def test_mixed_prices_hold_where_prices_underflow(mixed: BetweenSmile) -> None:
    k = np.array([-600.0, -50.0, -8.0, 8.0, 50.0, 600.0])
    w = np.asarray(mixed.total_variance(k))
    assert np.all(w > mixed.low.total_variance(k))
    assert np.all(w < mixed.high.total_variance(k))
    assert np.all(np.asarray(mixed.durrleman_g(k)) > 0.0)


def test_a_mixed_smile_moves_like_any_other(mixed: BetweenSmile) -> None:
    moved = mixed.at(66_000.0, 0.5 * mixed.ttm)
    np.testing.assert_allclose(moved.total_variance(K), 0.5 * np.asarray(mixed.total_variance(K)), rtol=1e-13)
    np.testing.assert_allclose(moved.d2w(K), 0.5 * np.asarray(mixed.d2w(K)), rtol=1e-12)
    assert np.isnan(mixed.iv([0.0, -1.0, math.nan])).all()
