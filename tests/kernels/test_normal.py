"""The normal distribution and Y = Φ/φ against mpmath, on both sides of every switch."""

from __future__ import annotations

import json
import math
import runpy

import mpmath as mp
import numpy as np
import pytest

from pricer.kernels.normal import MILLS, MILLS_SLOPE, Z_MAX, C, mills, mills_slope, norm_cdf, norm_pdf
from tests.data import CHECKOUT, data_path

DERIVATIONS = CHECKOUT / "docs" / "derivations"

GRID = [float(z) for z in np.linspace(-37, 37, 297)] + [0.0, -0.0, 1.25, math.nextafter(1.25, 2), 1e-300, -1e-9]


def mills_exact(z: float) -> mp.mpf:
    with mp.workdps(60):
        x = mp.mpf(z)
        return mp.sqrt(mp.pi / 2) * mp.erfc(-x / mp.sqrt(2)) * mp.exp(x * x / 2)


@pytest.mark.parametrize("z", GRID)
def test_cdf_and_pdf_keep_their_relative_accuracy_in_the_left_wing(z: float) -> None:
    with mp.workdps(60):
        pdf = mp.exp(-(mp.mpf(z) ** 2) / 2) / mp.sqrt(2 * mp.pi)
        cdf = mills_exact(z) * pdf
    # exp's argument z²/2 is rounded, which is z²/2 units of its result.
    assert abs(norm_pdf(z) / pdf - 1) < 2.3e-16 * (2 + z * z / 2)
    assert abs(norm_cdf(z) / cdf - 1) < 2.3e-16 * (4 + z * z / 2)


@pytest.mark.parametrize("z", GRID)
def test_the_ratio_is_good_to_a_few_units_of_round_off(z: float) -> None:
    tolerance = 2.3e-16 * (4 + (z * z if abs(z) > 4 else 0))
    assert abs(mills(z) / mills_exact(z) - 1) < tolerance
    if z <= Z_MAX:
        with mp.workdps(60):
            slope = 1 + mp.mpf(z) * mills_exact(z)
        assert abs(mills_slope(z) / slope - 1) < tolerance


def test_edges() -> None:
    assert norm_cdf(-40.0) == 0.0
    assert norm_cdf(40.0) == 1.0
    assert norm_cdf(0.0) == 0.5
    assert mills(40.0) == math.inf
    assert math.isnan(norm_cdf(math.nan))
    assert math.isnan(mills(math.nan))


def test_published_values_of_the_cdf() -> None:
    with data_path("reference/py_lets_be_rational/TestValues.json").open() as file:
        rows = json.load(file)
    for given, expected in zip(rows["input"], rows["output"], strict=True):
        assert norm_cdf(given["z"]) == pytest.approx(expected["norm_cdf"], rel=1e-14)


def test_stored_polynomials_are_those_of_their_derivation() -> None:
    derivation = runpy.run_path(str(DERIVATIONS / "mills_ratio.py"))
    assert (derivation["Z_MAX"], derivation["C"]) == (Z_MAX, C)
    for order, stored in enumerate((MILLS, MILLS_SLOPE)):
        assert derivation["coefficients"](order, len(stored) - 1) == list(stored)
        assert derivation["worst_relative_error"](list(stored), order, 40) < (2e-15 if order else 3e-16)
