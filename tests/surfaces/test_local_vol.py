"""Local volatility: closed without a smile, Dupire's formula on call prices in high precision with one."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from pricer.surfaces import LocalVolStatus, SviParams, SviSmile, VolSurface
from tests.surfaces.made import flat, smile, surface_of

NEAR, FAR, LAST = smile(0.1), smile(0.3), smile(0.5)


@pytest.fixture(scope="module")
def surface() -> VolSurface:
    return surface_of(NEAR, FAR, LAST)


def svi(source: SviSmile, k: mpmath.mpf) -> mpmath.mpf:
    a, b, rho, m, sigma = source.params
    return a + b * (rho * (k - m) + mpmath.sqrt((k - m) ** 2 + sigma**2))


def total_variance(k: mpmath.mpf, ttm: mpmath.mpf) -> mpmath.mpf:
    """The surface's w from its definition: linear in ttm at equal k, sigma(k) kept outside."""
    if ttm < NEAR.ttm:
        return svi(NEAR, k) * ttm / NEAR.ttm
    if ttm > LAST.ttm:
        return svi(LAST, k) * ttm / LAST.ttm
    low, high = (NEAR, FAR) if ttm < FAR.ttm else (FAR, LAST)
    return svi(low, k) + (ttm - low.ttm) / (mpmath.mpf(high.ttm) - low.ttm) * (svi(high, k) - svi(low, k))


def dupire(strike: float, ttm: float, direction: int = 0) -> float:
    """√(2·∂C/∂T/(K²·∂²C/∂K²)) of undiscounted calls on a constant forward (Dupire 1994)."""

    def call(at: mpmath.mpf, time: mpmath.mpf) -> mpmath.mpf:
        k = mpmath.log(at / 60_000)
        s = mpmath.sqrt(total_variance(k, time))
        return 60_000 * mpmath.ncdf(-k / s + s / 2) - at * mpmath.ncdf(-k / s - s / 2)

    with mpmath.workdps(40):
        in_time = mpmath.diff(lambda t: call(strike, t), ttm, direction=direction)
        in_strike = mpmath.diff(lambda x: call(x, ttm), strike, 2)
        return float(mpmath.sqrt(2 * in_time / (mpmath.mpf(strike) ** 2 * in_strike)))


@pytest.mark.parametrize("strike", [40_000.0, 55_000.0, 60_000.0, 80_000.0])
@pytest.mark.parametrize("ttm", [0.05, 0.2, 0.35, 0.8])
def test_it_is_dupires_formula_on_the_surfaces_calls(surface: VolSurface, strike: float, ttm: float) -> None:
    assert float(surface.local_vol(strike, ttm)) == pytest.approx(dupire(strike, ttm), rel=1e-9)


@pytest.mark.parametrize("ttm", [0.1, 0.3, 0.5])
def test_at_an_expiry_it_is_the_limit_from_later_times(surface: VolSurface, ttm: float) -> None:
    at = float(surface.local_vol(50_000.0, ttm))
    assert at == pytest.approx(dupire(50_000.0, ttm, direction=1), rel=1e-9)
    assert at == pytest.approx(float(surface.local_vol(50_000.0, ttm + 1e-10)), rel=1e-7)
    assert abs(at / float(surface.local_vol(50_000.0, ttm - 1e-10)) - 1.0) > 1e-4  # and not from earlier ones


def test_one_volatility_everywhere_is_the_local_one() -> None:
    constant = surface_of(flat(0.4, 0.1), flat(0.4, 0.3, forward=110.0))
    for ttm in (0.01, 0.1, 0.2, 0.3, 2.0):
        np.testing.assert_allclose(constant.local_vol([20.0, 100.0, 300.0], ttm), 0.4, rtol=1e-13)


def test_without_a_smile_it_is_the_forward_volatility() -> None:
    bent = surface_of(flat(0.4, 0.1), flat(0.5, 0.3))
    assert float(bent.local_vol(130.0, 0.2)) == pytest.approx(bent.forward_vol(0, 1), rel=1e-13)


def test_a_falling_total_variance_has_none() -> None:
    falling = surface_of(flat(0.8, 0.1), flat(0.4, 0.3))
    assert math.isnan(float(falling.local_vol(100.0, 0.2)))
    assert falling.local_vol_status(100.0, 0.2) == LocalVolStatus.CALENDAR


def test_a_negative_density_has_none() -> None:
    # Vogt's slice (Gatheral and Jacquier 2014, example 3.1): g < 0 for 0.643 < k < 1.256.
    vogt = SviSmile(1.0, 100.0, SviParams(-0.0410, 0.1331, 0.3060, 0.3586, 0.4153))
    strikes = 100.0 * np.exp([0.0, 0.6, 0.7, 1.2, 1.3])
    made = surface_of(vogt)
    np.testing.assert_array_equal(np.isnan(made.local_vol(strikes, 1.0)), [False, False, True, True, False])
    assert made.local_vol_status(strikes, 1.0).tolist() == [0, 0, LocalVolStatus.BUTTERFLY, LocalVolStatus.BUTTERFLY, 0]


def test_impossible_places_have_none(surface: VolSurface) -> None:
    for strike, ttm in ((0.0, 0.2), (-1.0, 0.2), (math.nan, 0.2), (60_000.0, 0.0), (60_000.0, -1.0)):
        assert math.isnan(float(surface.local_vol(strike, ttm)))
        assert surface.local_vol_status(strike, ttm) == LocalVolStatus.BAD_INPUT
    assert surface_of().local_vol_status(60_000.0, 0.2) == LocalVolStatus.BAD_INPUT


def test_shapes_are_those_of_the_strikes(surface: VolSurface) -> None:
    assert isinstance(surface.local_vol(60_000.0, 0.2), float)
    assert surface.local_vol(np.full((2, 3), 60_000.0), 0.2).shape == (2, 3)
    assert surface.local_vol_status(np.full((2, 3), 60_000.0), 0.2).shape == (2, 3)
