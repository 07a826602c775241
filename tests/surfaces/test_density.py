"""The implied distribution: closed for a flat smile, the derivative of the call and the integral of the density."""

from __future__ import annotations

import math
from statistics import NormalDist

import mpmath
import numpy as np
import pytest

from pricer.surfaces import Smile, cumulative, quantile
from pricer.surfaces.between import BetweenSmile
from tests.surfaces.made import flat, smile

P = np.array([1e-9, 1e-3, 0.05, 0.5, 0.8, 0.999, 1.0 - 1e-9])
BENT: list[Smile] = [smile(0.01), smile(0.25), smile(1.0), BetweenSmile.of(smile(0.1), smile(0.4), 0.2, 61_000.0)]


def test_a_flat_smile_is_lognormal() -> None:
    s = 0.4 * math.sqrt(0.3)
    expected = 100.0 * np.exp(s * np.array([NormalDist().inv_cdf(p) for p in P]) - 0.5 * s * s)
    np.testing.assert_allclose(quantile(flat(0.4, 0.3), P), expected, rtol=1e-7)
    np.testing.assert_allclose(quantile(flat(0.4, 0.3), P[1:-2]), expected[1:-2], rtol=1e-12)
    np.testing.assert_allclose(cumulative(flat(0.4, 0.3), expected), P, rtol=1e-12)


def test_the_distribution_is_one_plus_the_strike_derivative_of_the_call() -> None:
    source = smile(0.25)
    a, b, rho, m, sigma = source.params

    def call(strike: mpmath.mpf) -> mpmath.mpf:
        k = mpmath.log(strike / source.forward)
        s = mpmath.sqrt(a + b * (rho * (k - m) + mpmath.sqrt((k - m) ** 2 + sigma**2)))
        return source.forward * mpmath.ncdf(-k / s + s / 2) - strike * mpmath.ncdf(-k / s - s / 2)

    with mpmath.workdps(30):
        for strike in (25_000.0, 50_000.0, 60_000.0, 75_000.0, 150_000.0):
            expected = float(1 + mpmath.diff(call, strike))
            assert float(cumulative(source, strike)) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("source", BENT)
def test_the_density_is_the_derivative_of_the_distribution(source: Smile) -> None:
    s = math.sqrt(float(source.total_variance(0.0)))
    strikes = source.forward * np.exp(s * np.linspace(-3.0, 3.0, 25))
    h = 1e-5 * s * source.forward
    slope = (np.asarray(cumulative(source, strikes + h)) - np.asarray(cumulative(source, strikes - h))) / (2.0 * h)
    np.testing.assert_allclose(slope, source.density(strikes), rtol=1e-5)


@pytest.mark.parametrize("source", BENT)
def test_the_distribution_rises_from_nothing_to_one_and_has_the_forward_as_its_mean(source: Smile) -> None:
    k = np.linspace(-30.0, 12.0, 200_001)
    strikes = source.forward * np.exp(k)
    reached = np.asarray(cumulative(source, strikes))
    assert np.all(np.diff(reached) >= -1e-15)
    assert reached[0] == pytest.approx(0.0, abs=1e-9)
    assert reached[-1] == pytest.approx(1.0, abs=1e-9)
    assert np.trapezoid((1.0 - reached) * strikes, k) == pytest.approx(source.forward, rel=1e-4)


@pytest.mark.parametrize("source", BENT)
def test_quantiles_invert_the_distribution(source: Smile) -> None:
    np.testing.assert_allclose(cumulative(source, quantile(source, P)), P, rtol=1e-11)


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 1.1, math.nan])
def test_what_is_no_probability_has_no_quantile(p: float) -> None:
    assert math.isnan(float(quantile(smile(0.25), p)))


@pytest.mark.parametrize("strike", [0.0, -1.0, math.nan])
def test_an_impossible_strike_has_no_probability(strike: float) -> None:
    assert math.isnan(float(cumulative(smile(0.25), strike)))


def test_scalars_in_give_scalars_out_and_arrays_keep_their_shape() -> None:
    assert isinstance(cumulative(smile(0.25), 60_000.0), float)
    assert isinstance(quantile(smile(0.25), 0.5), float)
    assert np.shape(cumulative(smile(0.25), np.full((2, 3), 60_000.0))) == (2, 3)
    assert np.shape(quantile(smile(0.25), np.full((2, 3), 0.5))) == (2, 3)
