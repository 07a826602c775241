"""What Black's formula says without a number: parity, scale, the exchange of forward and strike, and order.

Each holds to the last bit where its own arithmetic is exact.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pricer.kernels.black76 import GREEKS, greeks, price
from pricer.kernels.implied_vol import implied_vol
from pricer.kernels.status import KernelStatus

EPS = float(np.finfo(float).eps)
VEGA = GREEKS.index("vega")

moneyness = st.floats(-8.0, 8.0)
ttms = st.floats(-7.0, 1.5).map(lambda x: 10.0**x)
sigmas = st.floats(-3.0, 1.3).map(lambda x: 10.0**x)
signs = st.sampled_from([1.0, -1.0])

# How an option changes when forward, strike and premium are all in another currency: by that factor to this power.
POWERS = {"delta": 0, "vanna": 0, "charm": 0, "gamma": -1, "zomma": -1, "color": -1, "speed": -2}


def priced(k: float, ttm: float, sigma: float, cp: float) -> tuple[float, float, float]:
    """(premium, forward, strike) with a time value that a double has digits for, well inside the bounds."""
    forward, strike = 57.3, 57.3 * math.exp(k)
    premium = price(forward, strike, ttm, sigma, cp)
    value = premium - max(cp * (forward - strike), 0.0)
    assume(1e-60 < value < 0.9999 * min(forward, strike))
    return premium, forward, strike


@settings(max_examples=200, deadline=None)
@given(moneyness, ttms, sigmas, signs, st.integers(-60, 60))
def test_a_change_of_currency_by_a_power_of_two_changes_no_bit(
    k: float, ttm: float, sigma: float, cp: float, power: int
) -> None:
    premium, forward, strike = priced(k, ttm, sigma, cp)
    scale = 2.0**power
    assert price(scale * forward, scale * strike, ttm, sigma, cp) == scale * premium
    for name, before, after in zip(
        GREEKS,
        greeks(forward, strike, ttm, sigma, cp),
        greeks(scale * forward, scale * strike, ttm, sigma, cp),
        strict=True,
    ):
        assert after == scale ** POWERS.get(name, 1) * before, name
    found = implied_vol(premium, forward, strike, ttm, cp)
    assert implied_vol(scale * premium, scale * forward, scale * strike, ttm, cp) == found


@settings(max_examples=200, deadline=None)
@given(moneyness, ttms, sigmas, signs, st.floats(1e-6, 1e6))
def test_a_change_of_currency_changes_a_volatility_by_its_inputs_rounding_only(
    k: float, ttm: float, sigma: float, cp: float, scale: float
) -> None:
    premium, forward, strike = priced(k, ttm, sigma, cp)
    found, status = implied_vol(premium, forward, strike, ttm, cp)
    again, status_again = implied_vol(scale * premium, scale * forward, scale * strike, ttm, cp)
    assume(status == status_again == KernelStatus.OK)  # a rounding may take all of a small time value
    vega = greeks(forward, strike, ttm, found, cp)[VEGA]
    # Premium and intrinsic value are each rounded by half a unit, and so is the distance from the money.
    rounding = (premium + forward + strike) * EPS / (found * vega)
    assert abs(again / found - 1.0) < 16.0 * EPS + rounding or rounding > 0.1


@settings(max_examples=200, deadline=None)
@given(moneyness, ttms, sigmas, signs)
def test_the_right_to_exchange_is_the_same_from_both_sides(k: float, ttm: float, sigma: float, cp: float) -> None:
    """A call is the right to give the strike for the forward, a put on the exchanged two the right to take it."""
    premium, forward, strike = priced(k, ttm, sigma, cp)
    assert price(strike, forward, ttm, sigma, -cp) == premium
    assert implied_vol(premium, strike, forward, ttm, -cp) == implied_vol(premium, forward, strike, ttm, cp)
    here, there = greeks(forward, strike, ttm, sigma, cp), greeks(strike, forward, ttm, sigma, -cp)
    for name in ("price", "vega", "theta", "rho", "volga", "veta", "ultima"):
        assert there[GREEKS.index(name)] == pytest.approx(here[GREEKS.index(name)], rel=1e-13, abs=1e-280), name


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 2**40), ttms)
def test_call_and_put_of_one_time_value_have_one_volatility(forward: int, strike: int, grains: int, ttm: float) -> None:
    """Numbers short enough for parity to be exact in doubles."""
    out_of_the_money = min(forward, strike) * (grains / 2.0**41)
    in_the_money = out_of_the_money + abs(forward - strike)
    assume(Fraction(in_the_money) == Fraction(out_of_the_money) + abs(forward - strike))
    cp = 1.0 if strike >= forward else -1.0
    found, status = implied_vol(out_of_the_money, float(forward), float(strike), ttm, cp)
    assert status == KernelStatus.OK
    assert implied_vol(in_the_money, float(forward), float(strike), ttm, -cp) == (found, status)


@settings(max_examples=200, deadline=None)
@given(moneyness, ttms, sigmas, signs)
def test_four_times_the_time_is_twice_the_volatility(k: float, ttm: float, sigma: float, cp: float) -> None:
    premium, forward, strike = priced(k, ttm, sigma, cp)
    assert price(forward, strike, ttm, 2.0 * sigma, cp) == price(forward, strike, 4.0 * ttm, sigma, cp)
    once, fourfold = (implied_vol(premium, forward, strike, factor * ttm, cp)[0] for factor in (1.0, 4.0))
    assert once == 2.0 * fourfold


@settings(max_examples=200, deadline=None)
@given(moneyness, ttms, sigmas, signs, st.floats(1e-12, 1.0))
def test_a_price_rises_with_volatility_and_with_time(
    k: float, ttm: float, sigma: float, cp: float, more: float
) -> None:
    premium, forward, strike = priced(k, ttm, sigma, cp)
    slack = 8.0 * EPS * premium * (1.0 + (k / sigma) ** 2 / ttm)
    assert price(forward, strike, ttm, sigma * (1.0 + more), cp) >= premium - slack
    assert price(forward, strike, ttm * (1.0 + more), sigma, cp) >= premium - slack
