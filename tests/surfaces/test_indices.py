"""The variance swap: closed for a flat smile, and for bent ones by mpmath and by two other representations."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from pricer.surfaces import SviParams, SviSmile, variance_swap
from pricer.surfaces.black import d1_d2, normal_density
from pricer.surfaces.indices import forward_volatility, volatility_index
from tests.surfaces.made import flat, smile

# An equity-like slope, a steep one (wing slopes 1.2 and 0.3), and the smile of the other tests.
BENT = [
    smile(0.25),
    SviSmile(0.1, 4_000.0, SviParams(0.0005, 0.06, -0.6, 0.02, 0.06)),
    SviSmile(1.0, 100.0, SviParams(0.05, 0.75, -0.6, 0.0, 0.4)),
]

# Log-moneyness far beyond all strikes: a left wing of slope 1.2 falls like exp(k/15) only.
WIDE = 0.1 * np.sinh(np.linspace(-9.4, 7.0, 400_001))


@pytest.mark.parametrize(
    ("sigma", "ttm"), [(0.2, 1.0), (0.01, 0.001), (3.0, 5.0), (1.0, 1.0 / (365 * 24)), (0.5, 3e-8)]
)
def test_a_flat_smile_gives_its_own_variance(sigma: float, ttm: float) -> None:
    assert variance_swap(flat(sigma, ttm)) == pytest.approx(sigma * sigma, rel=1e-11)


@pytest.mark.parametrize("source", BENT)
def test_it_is_the_integral_over_all_strikes_in_high_precision(source: SviSmile) -> None:
    a, b, rho, m, sigma = (mpmath.mpf(value) for value in source.params)

    def weighted(k: mpmath.mpf) -> mpmath.mpf:
        s = mpmath.sqrt(a + b * (rho * (k - m) + mpmath.sqrt((k - m) ** 2 + sigma**2)))
        d1, d2 = -k / s + s / 2, -k / s - s / 2
        if k > 0:
            return mpmath.exp(-k) * mpmath.ncdf(d1) - mpmath.ncdf(d2)
        return mpmath.ncdf(-d2) - mpmath.exp(-k) * mpmath.ncdf(-d1)

    with mpmath.workdps(40):
        edges = [-1000, -300, -100, -30, -10, -3, -1, -0.3, -0.1, 0, 0.1, 0.3, 1, 3, 10, 30, 60]
        exact = 2 * mpmath.quad(weighted, edges) / source.ttm
    assert variance_swap(source) == pytest.approx(float(exact), rel=1e-11)


@pytest.mark.parametrize("source", BENT)
def test_it_is_the_mean_of_total_variance_over_the_distribution_of_d2(source: SviSmile) -> None:
    # Gatheral (2006), eq. 11.5, proved by Fukasawa (2012).
    d2 = d1_d2(source, WIDE)[1]
    mean = np.trapezoid(np.asarray(source.total_variance(WIDE)) * normal_density(d2), -d2)
    assert variance_swap(source) * source.ttm == pytest.approx(float(mean), rel=1e-7)


@pytest.mark.parametrize("source", BENT)
def test_it_is_the_log_contract_of_the_density(source: SviSmile) -> None:
    strikes = source.forward * np.exp(WIDE)
    mean = np.trapezoid(-2.0 * WIDE * np.asarray(source.density(strikes)) * strikes, WIDE)
    assert variance_swap(source) * source.ttm == pytest.approx(float(mean), rel=1e-7)


def test_a_wing_at_lees_bound_has_no_variance_swap() -> None:
    assert math.isnan(variance_swap(SviSmile(1.0, 100.0, SviParams(0.04, 1.0, -0.999, 0.0, 0.1))))


def test_a_smile_without_variance_has_no_variance_swap() -> None:
    assert math.isnan(variance_swap(flat(0.0, 1.0)))
    assert math.isnan(variance_swap(SviSmile(1.0, 100.0, SviParams(-0.005, 0.1, 0.0, 0.1, 0.01))))


def test_the_index_has_the_total_variance_on_the_line_between_two_expiries() -> None:
    near, far = flat(0.5, 0.05), flat(0.7, 0.15)
    w = 0.5**2 * 0.05 * 0.25 + 0.7**2 * 0.15 * 0.75
    assert volatility_index(near, far, 0.125) == pytest.approx(math.sqrt(w / 0.125), rel=1e-11)
    assert volatility_index(near, far, 0.05) == pytest.approx(0.5, rel=1e-11)
    assert volatility_index(near, near, 0.01) == pytest.approx(0.5, rel=1e-11)


def test_a_forward_volatility_is_nan_where_variance_falls() -> None:
    found = forward_volatility(np.array([0.04, 0.0, -1e-9, math.nan]), np.array([0.25, 1.0, 1.0, 1.0]))
    np.testing.assert_array_equal(found, [0.4, 0.0, math.nan, math.nan])
