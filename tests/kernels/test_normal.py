"""The normal distribution and Y = Φ/φ against mpmath, on both sides of every switch."""

from __future__ import annotations

import json
import math
import runpy

import mpmath as mp
import numpy as np
import pytest

from pricer.kernels.normal import (
    MILLS,
    MILLS_RISE,
    MILLS_SLOPE,
    POLE,
    Z_MAX,
    C,
    mills,
    mills_difference,
    mills_slope,
    norm_cdf,
    norm_pdf,
    norm_ppf,
)
from tests.data import CHECKOUT, data_path
from tests.kernels.reference import error_in_ulp

DERIVATIONS = CHECKOUT / "docs" / "derivations"

GRID = [float(z) for z in np.linspace(-37, 37, 297)] + [0.0, -0.0, 1.25, math.nextafter(1.25, 2), 1e-300, -1e-9]


def mills_exact(z: float | mp.mpf, digits: int = 60) -> mp.mpf:
    with mp.workdps(digits):
        x = mp.mpf(z)
        return mp.sqrt(mp.pi / 2) * mp.erfc(-x / mp.sqrt(2)) * mp.exp(x * x / 2)


# Beyond −37.5 the density is subnormal.
WING = [float(z) for z in np.linspace(-37.5, -10.0, 500)]
BODY = [float(z) for z in np.linspace(-10.0, 9.0, 500)] + [-(10.0**-e) for e in range(0, 300, 20)]


def pdf_exact(z: float) -> mp.mpf:
    return mp.exp(-(mp.mpf(z) ** 2) / 2) / mp.sqrt(2 * mp.pi)


def cdf_exact(z: mp.mpf) -> mp.mpf:
    return mp.erfc(-z / mp.sqrt(2)) / 2


@pytest.mark.parametrize(("points", "units"), [(WING, 12.0), (BODY, 5.0)], ids=["wing", "body"])
def test_cdf_and_pdf_keep_their_relative_accuracy_in_the_left_wing(points: list[float], units: float) -> None:
    with mp.workdps(60):
        assert max(error_in_ulp(norm_pdf(z), pdf_exact(z)) for z in points) < 3.0  # over many more: 2.3
        # Over many more 10.5 and 4.4: most of it from the polynomial, whose terms nearly cancel at its left end.
        assert max(error_in_ulp(norm_cdf(z), cdf_exact(mp.mpf(z))) for z in points) < units


def test_cdf_ends_in_the_subnormals_as_it_should() -> None:
    with mp.workdps(60):
        for z in (-37.7, -38.0, -38.2, -38.4):
            assert error_in_ulp(norm_pdf(z), pdf_exact(z)) <= 1.0
            assert error_in_ulp(norm_cdf(z), cdf_exact(mp.mpf(z))) <= 1.0
    assert norm_cdf(-38.4) > 0.0
    assert norm_cdf(-39.0) == 0.0


@pytest.mark.parametrize("z", GRID)
def test_the_ratio_is_good_to_a_few_units_of_round_off(z: float) -> None:
    tolerance = 2.3e-16 * (4 + (z * z if abs(z) > 4 else 0))
    assert abs(mills(z) / mills_exact(z) - 1) < tolerance
    if z <= Z_MAX:
        with mp.workdps(60):
            slope = 1 + mp.mpf(z) * mills_exact(z)
        assert abs(mills_slope(z) / slope - 1) < tolerance


def test_edges() -> None:
    assert norm_cdf(-40.0) == norm_cdf(-1e308) == norm_cdf(-math.inf) == 0.0
    assert norm_cdf(40.0) == norm_cdf(1e308) == norm_cdf(math.inf) == 1.0
    assert norm_cdf(0.0) == norm_cdf(-0.0) == 0.5
    assert norm_pdf(1e200) == norm_pdf(-math.inf) == 0.0
    assert mills(40.0) == mills(math.inf) == math.inf
    assert mills(-1e300) == pytest.approx(1e-300, rel=1e-14)
    for function in (norm_cdf, norm_pdf, mills, mills_slope):
        assert math.isnan(function(math.nan))


WINGS = [10.0**e for e in np.linspace(-307.6, -0.7, 400)]
MIDDLE = [float(p) for p in np.linspace(0.2, 0.8, 201)]
NEXT_TO_THE_MIDDLE = [0.5 + sign * 10.0**-e for e in np.linspace(0.5, 16.2, 200) for sign in (1, -1)]
SUBNORMAL = [5e-324 * n for n in (1, 2, 3, 100, 2**51 + 1)]


@pytest.mark.parametrize(
    "points", [WINGS, MIDDLE, NEXT_TO_THE_MIDDLE, SUBNORMAL], ids=["wings", "middle", "next to 1/2", "subnormal"]
)
def test_ppf_is_the_inverse_to_a_few_units_of_its_own_last_place(points: list[float]) -> None:
    with mp.workdps(40):
        for p in points:
            found = norm_ppf(p)
            # Newton's method in x: next to the root its error is the square of what it corrects.
            x = mp.mpf(found)
            for _ in range(2):
                x -= (cdf_exact(x) - mp.mpf(p)) / mp.npdf(x)
            if x != 0:
                assert error_in_ulp(found, x) < 7.0, p  # over many more: 5.7


def test_ppf_at_its_edges() -> None:
    assert norm_ppf(0.5) == 0.0
    assert norm_ppf(0.0) == norm_ppf(-0.0) == -math.inf
    assert norm_ppf(1.0) == math.inf
    for p in (math.nan, -5e-324, -1.0, math.nextafter(1.0, 2.0), math.inf, -math.inf):
        assert math.isnan(norm_ppf(p))


def test_ppf_is_odd_about_one_half() -> None:
    for p in (2.0**-53, 1e-9, 0.01, 0.24999, 0.25, 0.3, 0.4999):
        assert norm_ppf(1.0 - p) == -norm_ppf(1.0 - (1.0 - p))


def test_a_difference_of_ratios_loses_nothing_however_near_its_points_are() -> None:
    """A relative error in it moves an implied volatility by that over s/A, about h² in the wing: 3 units at most."""
    rng = np.random.default_rng(7)
    count = 0
    for h in [*(-38.0 * rng.random(250) ** 2), *(-(10.0 ** rng.uniform(-12, 0, 80))), 0.0]:
        t = 10.0 ** rng.uniform(-12, math.log10(2.0))
        if h + t > Z_MAX:
            continue
        count += 1
        with mp.workdps(70):
            high, low = mp.mpf(h) + mp.mpf(t), mp.mpf(h) - mp.mpf(t)
            wanted = mills_exact(high, 70) - mills_exact(low, 70)
            error = abs(mp.mpf(mills_difference(float(h), float(t))) / wanted - 1)
        assert error < 9 * 2.3e-16 * max(1.0, h * h / 3), (h, t)
    assert count > 300
    assert mills_difference(0.0, 0.0) == mills_difference(-38.0, 0.0) == 0.0


def test_published_values_of_the_cdf() -> None:
    with data_path("reference/py_lets_be_rational/TestValues.json").open() as file:
        rows = json.load(file)
    for given, expected in zip(rows["input"], rows["output"], strict=True):
        assert norm_cdf(given["z"]) == pytest.approx(expected["norm_cdf"], rel=1e-14)


def test_the_ratios_polynomials_are_those_of_their_derivation() -> None:
    derivation = runpy.run_path(str(DERIVATIONS / "mills_ratio.py"))
    assert (derivation["Z_MAX"], derivation["C"]) == (Z_MAX, C)
    for order, stored in enumerate((MILLS, MILLS_SLOPE)):
        assert derivation["coefficients"](order, len(stored) - 1) == list(stored)
        assert derivation["worst_relative_error"](list(stored), order, 40) < (2e-15 if order else 3e-16)


def test_the_differences_polynomial_is_that_of_its_derivation() -> None:
    derivation = runpy.run_path(str(DERIVATIONS / "mills_difference.py"))
    assert (derivation["Z_MAX"], derivation["POLE"]) == (Z_MAX, POLE)
    found, error = derivation["coefficients"]()
    assert found == list(MILLS_RISE)
    assert error < 1e-16
