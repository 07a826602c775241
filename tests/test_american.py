"""American exercise against QuantLib, a tree, published tables and itself: parity, bounds, limits, Greeks, volatility."""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricer import american, bsm
from pricer.kernels.status import KernelStatus
from tests.data import data_path

AT_INTRINSIC = KernelStatus.AT_INTRINSIC


def tree(
    spot: float, strike: float, ttm: float, sigma: float, cp: float, rate: float, dividend: float, steps: int = 5000
) -> float:
    """Cox, Ross and Rubinstein's tree; its mean over two numbers of steps, which halves its saw-tooth."""
    return 0.5 * sum(_tree(spot, strike, ttm, sigma, cp, rate, dividend, n) for n in (steps, steps + 1))


def _tree(
    spot: float, strike: float, ttm: float, sigma: float, cp: float, rate: float, dividend: float, steps: int
) -> float:
    dt = ttm / steps
    up = math.exp(sigma * math.sqrt(dt))
    p = (math.exp((rate - dividend) * dt) - 1.0 / up) / (up - 1.0 / up)
    assert 0.0 < p < 1.0
    discount = math.exp(-rate * dt)
    prices = spot * up ** np.arange(-steps, steps + 1, dtype=float)
    exercise = cp * (prices - strike)
    value = np.maximum(exercise[::2], 0.0)
    for step in range(steps - 1, -1, -1):
        value = discount * (p * value[1:] + (1.0 - p) * value[:-1])
        np.maximum(value, exercise[steps - step : steps + step + 1 : 2], out=value)
    return float(value[0])


TREES = [
    # spot, ttm, sigma, cp, rate, dividend yield; strike 100
    (100.0, 1.0, 0.2, -1.0, 0.05, 0.0),
    (85.0, 1.0, 0.2, -1.0, 0.08, 0.02),
    (120.0, 0.5, 0.3, 1.0, 0.02, 0.08),
    (95.0, 2.0, 0.25, -1.0, 0.02, 0.06),
    (100.0, 3.0, 0.15, 1.0, 0.0, 0.04),
    (90.0, 1.0, 0.2, -1.0, 0.0, -0.03),  # only the carry makes exercise pay
    (80.0, 1.0, 0.3, -1.0, -0.005, -0.02),  # between two boundaries
    (95.0, 5.0, 0.3, -1.0, -0.01, -0.02),  # which have met before
    (110.0, 2.0, 0.2, 1.0, -0.04, -0.01),  # a call, the same by symmetry
    (60.0, 1.0, 0.2, -1.0, -0.02, -0.05),  # in or below the lower boundary
]


@pytest.mark.parametrize("row", TREES)
def test_M10_american_price_agrees_with_a_tree_of_5000_steps(row: tuple[float, ...]) -> None:
    spot, ttm, sigma, cp, rate, dividend = row
    found = american.price(spot, 100.0, ttm, sigma, cp, rate, dividend)
    assert found == pytest.approx(tree(spot, 100.0, ttm, sigma, cp, rate, dividend), abs=1e-4 * 100.0)


def test_the_high_precision_values_of_andersen_lake_and_offengenden() -> None:
    """Early-exercise premiums. They are of a scheme with 65 points; a finer one converges to those of the next test."""
    for rate, published in ((0.05, 0.1069527028247546), (0.075, 0.3671112309062572)):
        row = (100.0, 100.0, 1.0, 0.25, "put", rate, 0.05)
        assert american.price(*row) - bsm.price(*row) == pytest.approx(published, abs=1e-7)
