"""At the money, risk reversal and butterfly, against roots in delta that are found without any of our solvers."""

from __future__ import annotations

import math
from statistics import NormalDist
from types import SimpleNamespace
from typing import cast

import mpmath
import pytest

from pricer.sidecar.smile_points import NO_POINTS, Z, points_of, smile_points
from pricer.surfaces import deltas
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.svi import SviParams, SviSmile

SMILES = {
    "a day": SviSmile(1 / 365, 100_000.0, SviParams(0.0002, 0.018, -0.12, 0.002, 0.02)),
    "a quarter, puts dear": SviSmile(0.25, 100_000.0, SviParams(0.01, 0.12, -0.45, 0.03, 0.25)),
    "a year, calls dear": SviSmile(1.0, 3_000.0, SviParams(0.2, 0.3, 0.3, -0.1, 0.6)),
    # √w(0) above 2z: the 25-delta put is struck above the forward.
    "three years at 110 %": SviSmile(3.0, 100.0, SviParams(3.3, 0.2, -0.1, 0.0, 1.5)),
    "flat": SviSmile(0.5, 100.0, SviParams(0.18, 0.0, 0.0, 0.0, 0.1)),
}


def independent(smile: SviSmile) -> tuple[float, float, float]:
    """A root in delta itself, in 40 digits."""
    with mpmath.workdps(40):
        a, b, rho, m, sigma = map(mpmath.mpf, smile.params)

        def deviation(k: mpmath.mpf) -> mpmath.mpf:
            return mpmath.sqrt(a + b * (rho * (k - m) + mpmath.sqrt((k - m) ** 2 + sigma**2)))

        def call_delta(k: mpmath.mpf) -> mpmath.mpf:
            s = deviation(k)
            return mpmath.ncdf(-k / s + s / 2)

        def vol_where(delta: float) -> mpmath.mpf:
            bracket = (-3 * deviation(0), 6 * deviation(0))
            k = mpmath.findroot(lambda k: call_delta(k) - delta, bracket, solver="anderson", tol=1e-50)
            return deviation(k) / mpmath.sqrt(smile.ttm)

        atm, call, put = deviation(0) / mpmath.sqrt(smile.ttm), vol_where(0.25), vol_where(0.75)
        return float(atm), float(call - put), float((call + put) / 2 - atm)


@pytest.mark.parametrize("name", SMILES)
def test_the_figures_are_those_of_an_independent_root_in_delta(name: str) -> None:
    expected = independent(SMILES[name])
    assert points_of(SMILES[name]) == pytest.approx(expected, rel=1e-12, abs=2e-15)


@pytest.mark.parametrize("name", SMILES)
def test_the_short_way_for_raw_svi_agrees_with_the_general_one(name: str) -> None:
    smile = SMILES[name]
    short = points_of(smile)
    assert short.rr25 == pytest.approx(deltas.risk_reversal(smile, 0.25, "forward"), abs=1e-13)
    assert short.bf25 == pytest.approx(deltas.butterfly(smile, 0.25, "forward"), abs=1e-13)


def test_another_model_goes_the_general_way() -> None:
    smile = SMILES["a quarter, puts dear"]

    class Other:
        """Not raw SVI by its type, but with the same values."""

        def __getattr__(self, name: str) -> object:
            return getattr(smile, name)

    assert points_of(Other()) == pytest.approx(points_of(smile), abs=1e-13)  # type: ignore[arg-type]


def test_no_smile_and_no_variance_have_no_figures() -> None:
    assert smile_points(None) is NO_POINTS
    assert smile_points(cast(SurfaceSlice, SimpleNamespace(smile=None))) is NO_POINTS
    nothing = SviSmile(0.1, 100.0, SviParams(-0.1, 0.0, 0.0, 0.0, 0.1))
    expired = SviSmile(0.0, 100.0, SviParams(0.1, 0.0, 0.0, 0.0, 0.1))
    assert all(map(math.isnan, (*points_of(nothing), *points_of(expired))))


def test_a_wing_at_lees_bound_has_no_such_call_and_ends() -> None:
    steep = SviSmile(1.0, 100.0, SviParams(0.5, 1.0, 1.0, 0.0, 0.1))  # w rises by 2 per unit of k: d1 has a floor
    points = points_of(steep)
    assert points.atm_iv > 0.0
    assert math.isnan(points.rr25)
    assert math.isnan(points.bf25)


def test_the_quantile_is_that_of_the_normal_distribution() -> None:
    assert pytest.approx(NormalDist().inv_cdf(0.75), rel=1e-15) == Z
