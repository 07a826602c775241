"""Integrals: closed ones, a kink, a spike, and those that have no answer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from pricer.surfaces.quadrature import integrate
from pricer.surfaces.smile import Array


@pytest.mark.parametrize(
    ("function", "low", "high", "value"),
    [
        (np.exp, 0.0, 1.0, math.e - 1.0),
        (lambda x: np.exp(-0.5 * x * x), -40.0, 40.0, math.sqrt(2.0 * math.pi)),
        (lambda x: np.abs(x - 0.1234), -1.0, 1.0, 0.5 * (1.1234**2 + 0.8766**2)),
        (lambda x: 1e-4 / (x * x + 1e-8), -1.0, 1.0, 2.0 * math.atan(1e4)),
        (np.sqrt, 0.0, 1.0, 2.0 / 3.0),
    ],
)
def test_closed_integrals_to_twelve_digits(
    function: Callable[[Array], Array], low: float, high: float, value: float
) -> None:
    assert integrate(function, low, high) == pytest.approx(value, rel=1e-12)


def test_noise_above_the_tolerance_is_no_convergence() -> None:
    random = np.random.default_rng(1)
    assert math.isnan(integrate(lambda x: 1.0 + 1e-3 * random.normal(size=x.size), 0.0, 1.0))


def test_a_function_without_a_value_has_no_integral() -> None:
    assert math.isnan(integrate(lambda x: np.where(x > 0.9, np.nan, x), 0.0, 1.0))
