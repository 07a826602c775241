"""Black-76: identities, limits, high-precision references, published tables, an independent library."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricer.kernels import black76
from pricer.kernels.black76 import GREEKS, greeks, price
from pricer.kernels.status import KernelStatus
from tests.data import data_path
from tests.kernels import reference
from tests.kernels.reference import Option, extreme_set, market_set

# Each Greek as a derivative of V in (F, ttm, sigma): the orders, the sign, and which order of Greek it counts as.
DERIVATIVES = {
    "delta": ((1, 0, 0), 1),
    "gamma": ((2, 0, 0), 1),
    "vega": ((0, 0, 1), 1),
    "theta": ((0, 1, 0), -1),
    "vanna": ((1, 0, 1), 1),
    "volga": ((0, 0, 2), 1),
    "charm": ((1, 1, 0), -1),
    "veta": ((0, 1, 1), -1),
    "speed": ((3, 0, 0), 1),
    "zomma": ((2, 0, 1), 1),
    "color": ((2, 1, 0), -1),
    "ultima": ((0, 0, 3), 1),
}

OPTIONS = [
    Option(60_000.0, strike, ttm, sigma, cp)
    for strike in (30_000.0, 54_321.0, 60_000.0, 66_000.0, 150_000.0)
    for ttm, sigma in ((1 / 8760, 0.8), (0.1, 0.45), (1.0, 0.9), (4.0, 2.0))
    for cp in (1.0, -1.0)
]

ORDINARY = Option(100.0, 90.0, 0.5, 0.5, 1.0)

ranges = {
    "k": st.floats(-12, 12),
    "log_ttm": st.floats(-8, 1.5),
    "log_sigma": st.floats(-4, 1.3),
    "cp": st.sampled_from([1.0, -1.0]),
}


def exact(option: Option, name: str) -> mp.mpf:
    """The Greek by numerical differentiation of the high-precision price; h is 1e-20 of each variable."""
    orders, sign = DERIVATIVES[name]
    with mp.workdps(120):
        f, k, t, s = (mp.mpf(x) for x in option[:4])

        def along(x: mp.mpf, y: mp.mpf, z: mp.mpf) -> mp.mpf:
            # Scaled variables, so that one step size suits all three.
            return reference.value(f * x, k, t * y, s * z, option.cp)

        scaled = mp.diff(along, (1, 1, 1), orders, h=mp.mpf(10) ** -25)
        return sign * scaled / (f ** orders[0] * t ** orders[1] * s ** orders[2])


@pytest.mark.parametrize("name", DERIVATIVES)
def test_M08_greeks_are_the_derivatives_of_the_price(name: str) -> None:
    column = GREEKS.index(name)
    for option in OPTIONS:
        wanted = exact(option, name)
        h = math.log(option.strike / option.forward) / (option.sigma * math.sqrt(option.ttm))
        if abs(h) > 38:
            continue  # both are zero to within 1e-300 of the forward
        # Required are 1e-6 (first order) to 1e-4 (third); the wing's exponent costs h² units in the last place, and
        # a polynomial in d1, d2 loses digits near its zeros: hence the second, absolute part.
        size = abs(exact(option._replace(strike=option.forward), name)) * math.exp(-0.45 * h * h)
        assert abs(greeks(*option)[column] - wanted) <= 1e-13 * (1 + h * h) * abs(wanted) + 1e-14 * size, option


def test_rho_is_minus_ttm_times_the_price() -> None:
    for option in OPTIONS:
        found = greeks(*option)
        assert found[GREEKS.index("rho")] == -option.ttm * found[0]


@pytest.mark.parametrize(("options", "seed"), [(market_set, 5), (extreme_set, 6)])
def test_price_is_exact_to_its_conditioning(options: Callable[..., object], seed: int) -> None:
    worst = 0.0
    for option in options(seed, 300):  # type: ignore[attr-defined] # an iterator of options
        wanted = reference.price(option)
        if wanted < 1e-300:
            continue
        h = math.log(option.strike / option.forward) / (option.sigma * math.sqrt(option.ttm))
        error = float(abs(mp.mpf(price(*option)) / wanted - 1)) / reference.ULP
        worst = max(worst, error / (1 + h * h))
    assert worst < 8.0


@settings(max_examples=300, deadline=None)
@given(**ranges)
def test_put_call_parity_and_shared_greeks(k: float, log_ttm: float, log_sigma: float, cp: float) -> None:
    forward, strike, ttm, sigma = 100.0, 100.0 * math.exp(k), 10**log_ttm, 10**log_sigma
    call, put = greeks(forward, strike, ttm, sigma, 1.0), greeks(forward, strike, ttm, sigma, -1.0)
    most = max(forward, strike)
    assert call[0] - put[0] == pytest.approx(forward - strike, abs=4 * reference.ULP * most)
    assert call[1] - put[1] == pytest.approx(1.0, abs=1e-15)
    assert call[2:5] == put[2:5]
    assert call[6:] == put[6:]


@settings(max_examples=300, deadline=None)
@given(**ranges)
def test_price_lies_within_its_bounds_and_every_greek_is_finite(
    k: float, log_ttm: float, log_sigma: float, cp: float
) -> None:
    forward, strike, ttm, sigma = 100.0, 100.0 * math.exp(k), 10**log_ttm, 10**log_sigma
    found = greeks(forward, strike, ttm, sigma, cp)
    assert all(math.isfinite(value) for value in found)
    assert max(cp * (forward - strike), 0.0) <= found[0] <= (forward if cp > 0 else strike)
    assert found[0] == price(forward, strike, ttm, sigma, cp)
    assert 0.0 <= cp * found[1] <= 1.0
    assert found[2] >= 0.0
    assert found[3] >= 0.0


@settings(max_examples=200, deadline=None)
@given(st.floats(-100, 100), st.floats(-100, 100), st.floats(-30, 100), st.floats(-30, 100))
def test_nothing_overflows_anywhere_in_the_domain(log_f: float, log_k: float, log_ttm: float, log_sigma: float) -> None:
    forward, strike, ttm, sigma = (10.0**x for x in (log_f, log_k, log_ttm, log_sigma))
    if black76.row_status(forward, strike, ttm, sigma, 1.0) == KernelStatus.OK:
        assert all(math.isfinite(value) for value in greeks(forward, strike, ttm, sigma, 1.0))


@pytest.mark.parametrize("cp", [1.0, -1.0])
@pytest.mark.parametrize("strike", [80.0, 99.999, 100.0, 100.001, 120.0])
def test_C03_price_tends_to_intrinsic_as_time_runs_out(strike: float, cp: float) -> None:
    intrinsic = max(cp * (100.0 - strike), 0.0)
    minute = 1 / (365 * 24 * 60)
    distances = [
        price(100.0, strike, ttm, 0.6, cp) - intrinsic for ttm in (minute, minute / 60, 1e-9 / 3.15e7, 1e-25, 0.0)
    ]
    assert all(distance >= 0.0 for distance in distances)
    assert distances == sorted(distances, reverse=True)
    assert distances[1] < 0.006
    assert distances[-2] < 1e-9
    assert distances[-1] == 0.0
    assert all(math.isfinite(value) for value in greeks(100.0, strike, minute / 60, 0.6, cp))


def test_C03_after_expiry_there_is_no_value() -> None:
    assert all(math.isnan(value) for value in greeks(100.0, 90.0, -1e-9, 0.6, 1.0))
    assert black76.row_status(100.0, 90.0, -1e-9, 0.6, 1.0) == KernelStatus.BAD_INPUT


@pytest.mark.parametrize("cp", [1.0, -1.0])
@pytest.mark.parametrize(("ttm", "sigma"), [(0.0, 0.5), (0.5, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("strike", [90.0, 110.0])
def test_off_the_money_limits_are_those_of_the_payoff(strike: float, ttm: float, sigma: float, cp: float) -> None:
    value, delta, *rest = greeks(100.0, strike, ttm, sigma, cp)
    assert black76.row_status(100.0, strike, ttm, sigma, cp) == KernelStatus.AT_INTRINSIC
    assert value == max(cp * (100.0 - strike), 0.0)
    assert delta == (cp if value > 0 else 0.0)
    rest.pop(3)  # rho, which is −ttm·V
    assert rest == [0.0] * 11


@pytest.mark.parametrize("cp", [1.0, -1.0])
def test_at_the_money_a_diverging_limit_is_nan_and_the_others_are_limits(cp: float) -> None:
    at_expiry = dict(zip(GREEKS, greeks(100.0, 100.0, 0.0, 0.5, cp), strict=True))
    diverging = {name for name, value in at_expiry.items() if math.isnan(value)}
    assert diverging == {"gamma", "theta", "charm", "veta", "speed", "zomma", "color"}
    near = dict(zip(GREEKS, greeks(100.0, 100.0, 1e-20, 0.5, cp), strict=True))
    assert all(abs(near[name]) > 1e5 for name in diverging)
    assert all(near[name] == pytest.approx(at_expiry[name], abs=1e-7) for name in set(GREEKS) - diverging)

    calm = dict(zip(GREEKS, greeks(100.0, 100.0, 0.25, 0.0, cp), strict=True))
    diverging = {name for name, value in calm.items() if math.isnan(value)}
    assert diverging == {"gamma", "speed", "zomma", "color"}
    near = dict(zip(GREEKS, greeks(100.0, 100.0, 0.25, 1e-12, cp), strict=True))
    assert all(abs(near[name]) > 1e5 for name in diverging)
    assert all(near[name] == pytest.approx(calm[name], abs=1e-9) for name in set(GREEKS) - diverging)


@pytest.mark.parametrize("cp", [1.0, -1.0])
def test_at_huge_volatility_a_call_is_the_forward_and_a_put_the_strike(cp: float) -> None:
    most = 100.0 if cp > 0 else 120.0
    for sigma in (50.0, 100.0, 1e6, 1e99):
        found = greeks(100.0, 120.0, 1.0, sigma, cp)
        assert found[0] == most
        assert found[1] == pytest.approx(1.0 if cp > 0 else 0.0, abs=1e-100)


def test_deep_wings_keep_their_relative_accuracy() -> None:
    for strike in (150.0, 400.0, 1_500.0):
        option = Option(100.0, strike, 0.05, 0.5, 1.0)
        h = math.log(strike / 100.0) / (0.5 * math.sqrt(0.05))
        assert float(mp.mpf(price(*option)) / reference.price(option)) == pytest.approx(1.0, abs=1e-15 * (1 + h * h))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, -5e-324])
@pytest.mark.parametrize("place", range(4))
def test_M05_bad_input_is_nan_everywhere_with_a_status(place: int, value: float) -> None:
    row = ORDINARY._replace(**{Option._fields[place]: value})
    assert math.isnan(price(*row))
    assert all(math.isnan(x) for x in greeks(*row))
    assert black76.row_status(*row) == KernelStatus.BAD_INPUT


@pytest.mark.parametrize("value", [0.0, -0.0, 5e-324])
def test_M05_zero_negative_zero_and_denormals(value: float) -> None:
    for name in ("forward", "strike"):
        assert black76.row_status(*ORDINARY._replace(**{name: value})) == KernelStatus.BAD_INPUT
    for name in ("ttm", "sigma"):
        row = ORDINARY._replace(**{name: value})
        assert black76.row_status(*row) == KernelStatus.AT_INTRINSIC
        assert price(*row) == 10.0


@pytest.mark.parametrize("cp", [0.0, math.nan, 2.0])
def test_M05_a_sign_that_is_none_is_bad_input(cp: float) -> None:
    assert math.isnan(price(100.0, 100.0, 0.5, 0.5, cp))


def test_chains_are_the_scalars_row_by_row() -> None:
    rows = [*OPTIONS, Option(math.nan, 1.0, 1.0, 1.0, 1.0), Option(100.0, 100.0, 0.0, 1.0, 1.0)]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    n = len(rows)
    out, many = np.empty(n), np.empty((len(GREEKS), n))
    status, again = np.empty(n, np.uint8), np.empty(n, np.uint8)
    f, k, t, s, c = columns
    black76.price_chain(f, k, t, s, c, out, status)
    black76.greeks_chain(f, k, t, s, c, many, again)
    for i, row in enumerate(rows):
        np.testing.assert_allclose(many[:, i], greeks(*row), rtol=1e-14)
        np.testing.assert_allclose(out[i], price(*row), rtol=1e-15)
        assert status[i] == again[i] == black76.row_status(*row)


def test_published_prices_of_lets_be_rational() -> None:
    with data_path("reference/py_lets_be_rational/TestValues.json").open() as file:
        rows = json.load(file)
    for given_, expected in zip(rows["input"], rows["output"], strict=True):
        forward, strike = float(given_["F"]), float(given_["K"])
        found = price(forward, strike, given_["T"], given_["sigma"], float(given_["q"]))
        assert found == pytest.approx(expected["black"], rel=1e-13, abs=1e-13 * min(forward, strike))


def test_an_independent_library_agrees() -> None:
    vollib = pytest.importorskip("vollib.black", reason="vollib is not installed (the oracle extra)")
    analytical = pytest.importorskip("vollib.black.greeks.analytical")
    for option in OPTIONS:
        flag = "c" if option.cp > 0 else "p"
        found = greeks(*option)
        arguments = (flag, option.forward, option.strike, option.ttm, 0.0, option.sigma)
        assert found[0] == pytest.approx(vollib.black(*arguments[:4], 0.0, option.sigma), rel=1e-11, abs=1e-9)
        assert found[1] == pytest.approx(analytical.delta(*arguments), rel=1e-11, abs=1e-14)
        assert found[2] == pytest.approx(analytical.gamma(*arguments), rel=1e-11, abs=1e-16)
        assert found[3] / 100 == pytest.approx(analytical.vega(*arguments), rel=1e-11, abs=1e-12)
        assert found[4] / 365 == pytest.approx(analytical.theta(*arguments), rel=1e-11, abs=1e-9)
