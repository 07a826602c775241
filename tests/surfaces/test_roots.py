"""Zeros: to the last bits, also of functions that are flat or bent where a secant would fail."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from pricer.surfaces.roots import root


@pytest.mark.parametrize(
    ("function", "low", "high", "zero"),
    [
        (lambda x: x * x - 2.0, 0.0, 2.0, math.sqrt(2.0)),
        (lambda x: math.cos(x) - x, 0.0, 1.0, 0.7390851332151607),
        (lambda x: math.exp(-x) - 1e-30, 0.0, 690.0, 30.0 * math.log(10.0)),
        (lambda x: (x - 0.3) ** 9, -1.0, 2.0, 0.3),
        (lambda x: math.copysign(1.0, x - 1e-9), -5.0, 7.0, 1e-9),
        (lambda x: 2.0 - x, 3.0, -1.0, 2.0),
    ],
)
def test_zeros_are_found_to_the_last_bits(
    function: Callable[[float], float], low: float, high: float, zero: float
) -> None:
    assert root(function, low, high) == pytest.approx(zero, rel=1e-14)


def test_a_zero_at_an_end_is_that_end() -> None:
    assert root(lambda x: x, 0.0, 1.0) == 0.0
    assert root(lambda x: x - 1.0, 0.0, 1.0) == 1.0


@pytest.mark.parametrize("function", [lambda x: x * x + 1.0, lambda x: math.nan])
def test_without_a_change_of_sign_there_is_none(function: Callable[[float], float]) -> None:
    assert math.isnan(root(function, -1.0, 1.0))


def test_it_takes_far_fewer_steps_than_halving() -> None:
    seen = []

    def counted(x: float) -> float:
        seen.append(x)
        return math.exp(x) - 3.0

    assert root(counted, -10.0, 10.0) == pytest.approx(math.log(3.0), rel=1e-14)
    assert len(seen) < 25
