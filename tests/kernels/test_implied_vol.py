"""Implied volatility: to a few units of round-off wherever there is one, and a status everywhere else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricer.kernels import black76
from pricer.kernels.implied_vol import implied_vol, implied_vol_chain, implied_vol_chain_warm
from pricer.kernels.status import KernelStatus
from tests.data import data_path
from tests.kernels import reference
from tests.kernels.reference import Option, extreme_set, market_set

OK = KernelStatus.OK
TINY = 5e-324


def solve(premium: float, forward: float, strike: float, ttm: float, cp: float) -> tuple[float, KernelStatus]:
    sigma, status = implied_vol(premium, forward, strike, ttm, cp)
    return sigma, KernelStatus(status)


@pytest.mark.parametrize(("options", "seed"), [(market_set, 2026), (extreme_set, 2027)])
def test_error_is_at_most_five_units_of_what_a_double_allows(
    options: Callable[[int, int], Iterator[Option]], seed: int
) -> None:
    worst, count = 0.0, 0
    for premium, option in reference.priced(options(seed, 500)):
        sigma, status = solve(premium, option.forward, option.strike, option.ttm, option.cp)
        assert status is OK, option
        worst = max(worst, reference.error_in_u(premium, option, sigma))
        count += 1
    assert count > 250
    assert worst < 5.0  # by hand over several thousand points and other seeds: 2.1


@pytest.mark.parametrize("distance", [0.0, 1e-15, 1e-12, 1e-9, 1e-6, 1e-4])
def test_next_to_the_money_no_digit_is_lost(distance: float) -> None:
    for s in (1e-5, 1e-3, 0.1, 1.0, 3.0):
        option = Option(100.0, 100.0 * (1 + distance), 1.0, s, 1.0)
        premium = float(reference.price(option))
        sigma, status = solve(premium, *option[:3], 1.0)
        assert status is OK
        assert reference.error_in_u(premium, option, sigma) < 5.0


@settings(max_examples=300, deadline=None)
@given(st.floats(-10, 10), st.floats(-4, 1.3), st.floats(-7, 1.5), st.sampled_from([1.0, -1.0]))
def test_price_to_volatility_to_price(k: float, log_sigma: float, log_ttm: float, cp: float) -> None:
    forward, strike, ttm, sigma = 100.0, 100.0 * math.exp(k), 10**log_ttm, 10**log_sigma
    premium = black76.price(forward, strike, ttm, sigma, cp)
    found, status = solve(premium, forward, strike, ttm, cp)
    if status is OK:
        assert 0.0 < found < math.inf
        # The wing's price is its exponent's: h² units in the last place of volatility each.
        h = k / (found * math.sqrt(ttm))
        assert black76.price(forward, strike, ttm, found, cp) == pytest.approx(premium, rel=2e-15 * (10 + h * h))
    else:
        most = forward if cp > 0 else strike
        intrinsic = max(cp * (forward - strike), 0.0)
        assert (status, premium) in {(KernelStatus.AT_INTRINSIC, intrinsic), (KernelStatus.ABOVE_MAX, most)}


@settings(max_examples=200, deadline=None)
@given(st.floats(-3, 3), st.floats(1e-9, 1 - 1e-9), st.floats(1e-12, 0.1))
def test_a_higher_premium_never_has_a_lower_volatility(k: float, share: float, more: float) -> None:
    strike = 100.0 * math.exp(k)
    value = share * min(100.0, strike)
    higher = min(value * (1 + more), 0.999999999 * min(100.0, strike))
    cp = 1.0 if strike >= 100.0 else -1.0
    low, _ = solve(value, 100.0, strike, 1.0, cp)
    high, _ = solve(max(value, higher), 100.0, strike, 1.0, cp)
    assert high >= low * (1 - 1e-15)


GRID = [
    (forward, strike, cp)
    for forward in (1e-3, 1.0, 59_987.37, 1e9)
    for strike in (forward / 3, forward * 0.9, forward, forward * 1.0000001, forward * 7)
    for cp in (1.0, -1.0)
]


@pytest.mark.parametrize(("forward", "strike", "cp"), GRID)
def test_M01_price_outside_the_bounds_has_no_volatility(forward: float, strike: float, cp: float) -> None:
    intrinsic, most = max(cp * (forward - strike), 0.0), forward if cp > 0 else strike
    for below in (intrinsic - 1e-9 * most, intrinsic * 0.5 - most, -most):
        sigma, status = solve(below, forward, strike, 0.5, cp)
        assert math.isnan(sigma)
        assert status is KernelStatus.BELOW_INTRINSIC
    for above in (most * (1 + 1e-9), most * 2, 1e300):
        sigma, status = solve(above, forward, strike, 0.5, cp)
        assert math.isnan(sigma)
        assert status is KernelStatus.ABOVE_MAX


@pytest.mark.parametrize(("forward", "strike", "cp"), GRID)
def test_M02_price_at_a_bound_and_one_unit_beside_it(forward: float, strike: float, cp: float) -> None:
    intrinsic, most = max(cp * (forward - strike), 0.0), forward if cp > 0 else strike
    assert solve(intrinsic, forward, strike, 0.5, cp) == (0.0, KernelStatus.AT_INTRINSIC)
    below, status = solve(math.nextafter(intrinsic, -math.inf), forward, strike, 0.5, cp)
    assert math.isnan(below)
    assert status is KernelStatus.BELOW_INTRINSIC
    above, status = solve(math.nextafter(intrinsic, math.inf), forward, strike, 0.5, cp)
    if forward == strike > 1e3:  # a volatility under the smallest double
        assert (above, status) == (0.0, KernelStatus.AT_INTRINSIC)
    else:
        assert status is OK
        assert 0.0 < above < math.inf
    for at in (most, math.nextafter(most, math.inf)):
        sigma, status = solve(at, forward, strike, 0.5, cp)
        assert math.isnan(sigma)
        assert status is KernelStatus.ABOVE_MAX
    high, status = solve(math.nextafter(most, 0.0), forward, strike, 0.5, cp)
    assert status is OK
    assert above < high < 40.0 / math.sqrt(0.5)


BAD = (math.nan, math.inf, -math.inf)


@pytest.mark.parametrize("value", [*BAD, 0.0, -0.0, -1.0, TINY, -TINY])
@pytest.mark.parametrize("place", [1, 2, 3])
def test_M05_bad_forward_strike_or_ttm(place: int, value: float) -> None:
    arguments = [5.0, 100.0, 100.0, 0.5, 1.0]
    arguments[place] = value
    sigma, status = solve(*arguments)
    assert math.isnan(sigma)
    assert status is KernelStatus.BAD_INPUT


@pytest.mark.parametrize("premium", BAD)
def test_M05_bad_premium(premium: float) -> None:
    assert solve(premium, 100.0, 100.0, 0.5, 1.0)[1] is KernelStatus.BAD_INPUT


@pytest.mark.parametrize("cp", [*BAD, 0.0, 2.0, -0.5])
def test_M05_bad_cp(cp: float) -> None:
    assert solve(5.0, 100.0, 100.0, 0.5, cp)[1] is KernelStatus.BAD_INPUT


def test_M05_zero_negative_zero_and_denormal_premiums_are_defined() -> None:
    assert solve(0.0, 100.0, 110.0, 0.5, 1.0) == (0.0, KernelStatus.AT_INTRINSIC)
    assert solve(-0.0, 100.0, 110.0, 0.5, 1.0) == (0.0, KernelStatus.AT_INTRINSIC)
    assert solve(-TINY, 100.0, 110.0, 0.5, 1.0)[1] is KernelStatus.BELOW_INTRINSIC
    for premium in (TINY, 1e-310):
        sigma, status = solve(premium, 100.0, 110.0, 0.5, 1.0)
        assert status is OK
        option = Option(100.0, 110.0, 0.5, sigma, 1.0)
        assert reference.error_in_u(premium, option, sigma) < 5.0


@pytest.mark.parametrize("share", [1e-12, 1e-15, 1e-30, 1e-100, 1e-250, 1e-300])
@pytest.mark.parametrize("k", [1e-6, 0.01, 0.3, 2.0, 9.0])
@pytest.mark.parametrize("cp", [1.0, -1.0])
def test_M03_a_premium_of_next_to_nothing_far_from_the_money_is_solved(share: float, k: float, cp: float) -> None:
    """Also where vega is next to nothing: a relative error in such a premium is a far smaller one in volatility."""
    forward, ttm = 60_000.0, 0.2
    strike, premium = forward * math.exp(cp * k), share * forward
    sigma, status = solve(premium, forward, strike, ttm, cp)
    assert status is OK
    option = Option(forward, strike, ttm, sigma, cp)
    assert reference.error_in_u(premium, option, sigma) < 5.0
    assert float(reference.price(option)) == pytest.approx(premium, rel=1e-12)
    assert black76.price(*option) == pytest.approx(premium, rel=1e-12)


def test_M03_time_value_of_the_last_digits_in_the_money_is_solved_for_what_it_is() -> None:
    """Eight units of the premium's last place are the whole time value: the volatility of just that, to its digits."""
    for strike in (59_000.0, 40_000.0, 10_000.0):
        premium = 60_000.0 - strike
        for _ in range(8):
            premium = math.nextafter(premium, math.inf)
        sigma, status = solve(premium, 60_000.0, strike, 0.2, 1.0)
        assert status is OK
        option = Option(60_000.0, strike, 0.2, sigma, 1.0)
        with mp.workdps(30):
            value = reference.price(option) - (60_000 - mp.mpf(strike))
        assert float(value) == pytest.approx(premium - (60_000.0 - strike), rel=1e-12)


def test_the_chain_is_the_scalar_row_by_row() -> None:
    premium = np.array([5.0, 0.0, -1.0, 200.0, np.nan, 3.0])
    n = len(premium)
    out, status = np.empty(n), np.empty(n, np.uint8)
    forward, strike, ttm, cp = (np.full(n, x) for x in (100.0, 105.0, 0.5, 1.0))
    implied_vol_chain(premium, forward, strike, ttm, cp, out, status)
    for i in range(n):
        sigma, code = implied_vol(premium[i], 100.0, 105.0, 0.5, 1.0)
        assert status[i] == code
        assert out[i] == sigma or (math.isnan(out[i]) and math.isnan(sigma))


# No volatilities at all, and such whose square, or that of whose reciprocal, is none.
NO_VOLATILITIES = (*BAD, 0.0, -0.0, -0.5, TINY, 1e-310, 1e-300, 1e-160, 1e-154, 1e154, 1e300)


@pytest.mark.parametrize("s", [1e-3, 0.2, 1.0, 2.5])
@pytest.mark.parametrize("h", [0.0, 1e-9, 0.8, 3.0, 12.0, 30.0])
def test_however_wrong_the_previous_volatility_the_result_is_the_same(s: float, h: float) -> None:
    """A step from a fifth of the volatility, or less, once ended where it began and was believed."""
    option = Option(100.0, 100.0 * math.exp(h * s), 0.25, 2.0 * s, 1.0)
    premium = black76.price(*option)
    cold, status = solve(premium, *option[:3], option.cp)
    assert status is OK
    previous = np.concatenate([cold * np.geomspace(1e-14, 1e6, 20_000), NO_VOLATILITIES])
    n = len(previous)
    out, codes = np.empty(n), np.empty(n, np.uint8)
    quoted, forward, strike, ttm, cp = (np.full(n, x) for x in (premium, *option[:3], option.cp))
    implied_vol_chain_warm(quoted, forward, strike, ttm, cp, previous, out, codes)
    assert (codes == OK).all()
    # Between starts within a step's reach it differs by up to 13 units, by 0.8 on average.
    assert np.abs(out - cold).max() <= 16 * math.ulp(cold)


def test_published_vectors_of_lets_be_rational() -> None:
    """1,000 rows of a reference implementation; each premium is its own price, so its volatility must come back."""
    with data_path("reference/py_lets_be_rational/TestValues.json").open() as file:
        rows = json.load(file)
    found = 0
    for given_, expected in zip(rows["input"], rows["output"], strict=True):
        forward, strike, ttm, cp = given_["F"], given_["K"], given_["T"], given_["q"]
        premium = expected["black"]
        sigma, status = solve(premium, float(forward), float(strike), ttm, float(cp))
        if status is not OK:
            continue
        found += 1
        vega = black76.greeks(float(forward), float(strike), ttm, sigma, float(cp))[3]
        tolerance = 1e-13 + 4e-16 * premium / (given_["sigma"] * vega)
        assert sigma == pytest.approx(given_["sigma"], rel=tolerance)
    assert found > 900
