"""The smile between two expiries keeps the Smile contract."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pricer import price
from pricer.surfaces import Smile, VolSurface
from pricer.surfaces.between import BetweenSmile
from tests.surfaces.made import smile, surface_of

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
