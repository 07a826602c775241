"""What the displaced model has of its own: its two limits, its domain, and exact intrinsic values."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import pricer
from pricer import bachelier, displaced
from pricer.kernels.status import KernelStatus


def test_without_a_shift_it_is_black76() -> None:
    for cp in (1, -1):
        ours = dataclasses.astuple(displaced.greeks(100.0, 90.0, 0.5, 0.3, cp, 0.97, shift=0.0))
        np.testing.assert_allclose(
            ours, dataclasses.astuple(pricer.greeks(100.0, 90.0, 0.5, 0.3, cp, 0.97)), rtol=1e-14
        )


def test_with_a_great_shift_it_is_the_normal_model() -> None:
    shift = 1e7
    for cp in (1, -1):
        found = displaced.price(-3.0, 2.0, 0.5, 20.0 / shift, cp, shift=shift)
        assert found == pytest.approx(bachelier.price(-3.0, 2.0, 0.5, 20.0, cp), rel=1e-5)


@pytest.mark.parametrize(("forward", "strike"), [(-0.03, 0.01), (-0.04, 0.01), (0.01, -0.03), (0.01, -0.05)])
def test_a_forward_or_strike_at_or_below_minus_the_shift_is_bad_input(forward: float, strike: float) -> None:
    assert math.isnan(displaced.price(forward, strike, 1.0, 0.2, 1, shift=0.03))
    _, status = displaced.price([forward], strike, 1.0, 0.2, 1, shift=0.03, status=True)
    assert status.tolist() == [KernelStatus.BAD_INPUT]
    _, status = displaced.implied_vol(0.05, forward, strike, 1.0, 1, shift=0.03, status=True)
    assert status is KernelStatus.BAD_INPUT
    assert math.isnan(displaced.greeks(forward, strike, 1.0, 0.2, 1, shift=0.03).delta)


def test_the_shift_broadcasts_like_every_other_argument() -> None:
    shifts = np.array([[0.02], [0.03]])
    prices, status = displaced.price([-0.01, 0.01], 0.0, 1.0, 0.4, ["call", "put"], shift=shifts, status=True)
    assert prices.shape == status.shape == (2, 2)
    assert prices[1, 0] == displaced.price(-0.01, 0.0, 1.0, 0.4, "call", shift=0.03)


def test_M02_rounding_of_the_shift_moves_no_intrinsic_value() -> None:
    rng = np.random.default_rng(4)
    forward, strike, shift = rng.uniform(-0.02, 0.05, (3, 500)) * np.array([[1.0], [1.0], [0.0]]) + [[0], [0], [0.03]]
    for cp in (1.0, -1.0):
        intrinsic = np.maximum(cp * (forward - strike), 0.0)
        price, status = displaced.price(forward, strike, 0.0, 0.2, cp, shift=shift, status=True)
        np.testing.assert_array_equal(price, intrinsic)
        assert set(status) == {KernelStatus.AT_INTRINSIC}
        vol, status = displaced.implied_vol(intrinsic, forward, strike, 1.0, cp, shift=shift, status=True)
        np.testing.assert_array_equal(vol, 0.0)
        assert set(status) == {KernelStatus.AT_INTRINSIC}
        below = np.nextafter(intrinsic, -1.0)
        _, status = displaced.implied_vol(below, forward, strike, 1.0, cp, shift=shift, status=True)
        assert set(status) == {KernelStatus.BELOW_INTRINSIC}
