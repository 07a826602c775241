"""Black's formula in numpy against the kernel, and the normal distribution against the standard library."""

from __future__ import annotations

import math
from statistics import NormalDist

import mpmath
import numpy as np
import pytest

from pricer import price
from pricer.surfaces import SviParams, SviSmile
from pricer.surfaces.black import K_LIMIT, normal_cdf, normal_density, out_of_the_money, whole_line
from tests.surfaces.made import flat, smile


def test_the_normal_distribution_is_exact_far_into_its_left_tail() -> None:
    z = np.array([-37.0, -8.0, -1.0, 0.0, 2.5])
    np.testing.assert_allclose(normal_cdf(z), [float(mpmath.ncdf(x)) for x in z], rtol=1e-12)
    np.testing.assert_allclose(normal_density(z), [NormalDist().pdf(x) for x in z], rtol=1e-14)
    assert normal_density(np.array([-math.inf, 1e200])).tolist() == [0.0, 0.0]


def test_prices_are_the_kernels_over_the_strike() -> None:
    source = smile(0.25)
    k = np.linspace(-1.5, 1.5, 31)
    strikes = source.forward * np.exp(k)
    cp = np.where(k >= 0.0, 1, -1)
    expected = price(source.forward, strikes, source.ttm, source.iv(strikes), cp) / strikes
    np.testing.assert_allclose(out_of_the_money(source, k), expected, rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("sigma", [1e-3, 0.5, 20.0])
def test_the_line_reaches_all_strikes_and_is_dense_at_the_money(sigma: float) -> None:
    k = whole_line(flat(sigma, 1.0))
    assert np.all(np.diff(k) > 0.0)
    assert k[0] == pytest.approx(-K_LIMIT)
    assert k[-1] == pytest.approx(K_LIMIT)
    assert np.diff(k).min() < 0.05 * sigma


def test_a_smile_without_variance_at_the_money_has_no_line() -> None:
    assert whole_line(SviSmile(1.0, 100.0, SviParams(-0.1, 0.1, 0.0, 0.0, 0.1))).size == 0
