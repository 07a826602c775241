"""The normal model: the accuracy of price and implied volatility, its domain, its derivation."""

from __future__ import annotations

import math
import runpy
from collections.abc import Iterator

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricer.kernels import bachelier
from pricer.kernels.bachelier import INVERSE, greeks, implied_vol, price
from pricer.kernels.status import KernelStatus
from tests.data import CHECKOUT
from tests.kernels.reference import DIGITS, ULP, Option, norm_cdf


def time_value(x: mp.mpf, s: mp.mpf) -> mp.mpf:
    """s·φ(h) − x·Φ(−h) for h = x/s."""
    return s * mp.npdf(x / s) - x * norm_cdf(-x / s)


def exact_price(option: Option) -> mp.mpf:
    f, k, t, s = (mp.mpf(x) for x in option[:4])
    return max(option.cp * (f - k), mp.mpf(0)) + time_value(abs(f - k), s * mp.sqrt(t))


def error_in_u(premium: float, option: Option, found: float) -> float:
    """|relative error| of an implied volatility of the rounded premium over (1 + |p/(sigma·vega)|)·2.2e-16."""
    f, k, t, s = (mp.mpf(x) for x in option[:4])
    x = abs(f - k)
    wanted = mp.mpf(premium) - max(option.cp * (f - k), mp.mpf(0))
    deviation = s * mp.sqrt(t)
    for _ in range(60):
        now, slope = time_value(x, deviation), mp.npdf(x / deviation)
        step = -mp.log(now / wanted) * now / slope
        deviation = deviation + step if deviation + step > 0 else deviation / 2
        if abs(step) < deviation * mp.mpf(10) ** -35:
            break
    else:
        raise AssertionError(f"the reference did not converge for {option}")
    condition = premium / (deviation * mp.npdf(x / deviation))
    return float(abs(found * mp.sqrt(t) / deviation - 1) / ((1 + condition) * mp.mpf(ULP)))


def options(seed: int, count: int) -> Iterator[Option]:
    """Both signs, ten orders of magnitude, from 1e-12 deviations off the money out to 37: premiums of 1e-300."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        forward = rng.choice([-1, 1]) * 10 ** rng.uniform(-4, 6)
        ttm = math.exp(rng.uniform(-9, 3))
        sigma = abs(forward) * 10 ** rng.uniform(-3, 1)
        h = (rng.uniform(0, 5), rng.uniform(0, 37), 10 ** rng.uniform(-12, 0))[i % 3]
        strike = forward + rng.choice([-1, 1]) * h * sigma * math.sqrt(ttm)
        yield Option(float(forward), float(strike), ttm, float(sigma), float(rng.choice([-1, 1])))


def test_implied_volatility_is_exact_to_what_a_double_premium_allows() -> None:
    worst, least, solved = 0.0, 1.0, 0
    with mp.workdps(DIGITS):
        for option in options(20, 900):
            premium = float(exact_price(option))
            if premium <= max(option.cp * (option.forward - option.strike), 0.0):
                continue
            found, status = implied_vol(premium, option.forward, option.strike, option.ttm, option.cp)
            assert status == KernelStatus.OK
            worst = max(worst, error_in_u(premium, option, found))
            least = min(least, premium)
            solved += 1
    assert worst < 4.0
    assert least < 1e-280
    assert solved > 600


@pytest.mark.parametrize("premium", [1e-300, 3e-310, 5e-324])
@pytest.mark.parametrize("distance", [0.0, 1e-200, 1.0, 1e100])
def test_a_premium_at_the_end_of_the_doubles_still_has_its_volatility(premium: float, distance: float) -> None:
    found, status = implied_vol(premium, 0.0, distance, 0.25, 1.0)
    assert status == KernelStatus.OK
    with mp.workdps(DIGITS):
        if distance == 0.0:
            assert found == pytest.approx(2 * premium * math.sqrt(2 * math.pi), rel=1e-15, abs=5e-324)
        else:
            start = Option(0.0, distance, 0.25, found, 1.0)
            assert error_in_u(premium, start, found) < 4.0


def test_price_is_exact_to_its_conditioning() -> None:
    with mp.workdps(DIGITS):
        for option in options(21, 600):
            wanted = exact_price(option)
            if wanted < 1e-290:
                continue
            h = (option.strike - option.forward) / (option.sigma * math.sqrt(option.ttm))
            assert abs(price(*option) / wanted - 1) < 6 * ULP * (1 + h * h), option


@settings(max_examples=300, deadline=None)
@given(
    st.floats(-1e100, 1e100),
    st.floats(-1e100, 1e100),
    st.floats(-30, 100),
    st.floats(-30, 100),
    st.sampled_from([1.0, -1.0]),
)
def test_nothing_overflows_anywhere_in_the_domain(
    forward: float, strike: float, log_ttm: float, log_sigma: float, cp: float
) -> None:
    row = (forward, strike, 10.0**log_ttm, 10.0**log_sigma, cp)
    if bachelier.row_status(*row) == KernelStatus.OK:
        found = greeks(*row)
        assert all(math.isfinite(value) for value in found) or forward == strike
        assert found[0] >= max(cp * (forward - strike), 0.0)
        assert found[0] == price(*row)


@settings(max_examples=300, deadline=None)
@given(st.floats(-1e100, 1e100), st.floats(-1e100, 1e100), st.floats(-320, 100), st.sampled_from([1.0, -1.0]))
def test_every_premium_over_intrinsic_has_a_volatility(
    forward: float, strike: float, log_value: float, cp: float
) -> None:
    intrinsic = max(cp * (forward - strike), 0.0)
    premium = intrinsic + 10.0**log_value
    sigma, status = implied_vol(premium, forward, strike, 1.0, cp)
    if premium == intrinsic:
        assert (sigma, status) == (0.0, KernelStatus.AT_INTRINSIC)
    elif status == KernelStatus.ABOVE_MAX:
        assert math.isnan(sigma)
        assert price(forward, strike, 1.0, 1e100, cp) < premium * (1.0 + 1e-12)
    else:
        assert status == KernelStatus.OK
        assert sigma > 0.0


def test_a_volatility_under_the_smallest_double_is_none() -> None:
    assert implied_vol(5e-324, 100.0, 100.0, 1e10, 1.0) == (0.0, KernelStatus.AT_INTRINSIC)
    assert implied_vol(5e-324, 100.0, 100.0, 1.0, 1.0)[1] == KernelStatus.OK


def test_an_independent_library_agrees() -> None:
    ql = pytest.importorskip("QuantLib", reason="QuantLib is not installed (the dev extra)")
    for option in options(22, 200):
        deviation = option.sigma * math.sqrt(option.ttm)
        kind = ql.Option.Call if option.cp > 0 else ql.Option.Put
        wanted = ql.bachelierBlackFormula(kind, option.strike, option.forward, deviation)
        size = max(deviation, abs(option.forward - option.strike))
        assert price(*option) == pytest.approx(wanted, rel=1e-12, abs=1e-14 * size), option


def test_chains_are_the_scalars_row_by_row() -> None:
    rows = [*options(23, 60), Option(math.nan, 1.0, 1.0, 1.0, 1.0), Option(-1.0, -1.0, 0.0, 1.0, 1.0)]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    out, vols, many = np.empty(len(rows)), np.empty(len(rows)), np.empty((14, len(rows)))
    codes, solved = np.empty(len(rows), np.uint8), np.empty(len(rows), np.uint8)
    for column in columns:
        column.flags.writeable = False  # as `pricer.columns` passes them
    f, k, t, s, c = columns
    bachelier.price_chain(f, k, t, s, c, out, codes)
    bachelier.greeks_chain(f, k, t, s, c, many, codes)
    premiums = out.copy()
    premiums.flags.writeable = False
    bachelier.implied_vol_chain(premiums, f, k, t, c, vols, solved)
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(many[:, i], greeks(*row))
        np.testing.assert_array_equal(out[i], price(*row))
        assert codes[i] == bachelier.row_status(*row)
        np.testing.assert_array_equal((vols[i], solved[i]), implied_vol(out[i], row[0], row[1], row[2], row[4]))


def test_the_stored_inverse_is_that_of_its_derivation() -> None:
    derivation = runpy.run_path(str(CHECKOUT / "docs" / "derivations" / "bachelier_inverse.py"))
    np.testing.assert_allclose(derivation["coefficients"](), INVERSE, rtol=1e-12)
    assert derivation["C"] == bachelier.C
    assert derivation["worst_relative_error"](INVERSE.tolist(), 40) < 7e-5
