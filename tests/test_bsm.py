"""The spot form: published tables, an independent library, and each Greek against differences of the price."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Iterator

import mpmath as mp
import numpy as np
import pytest

from pricer import bsm
from pricer.kernels.status import KernelStatus
from tests.data import data_path
from tests.kernels import reference

# Orders of differentiation in (spot, ttm, sigma, rate) and the sign.
DERIVATIVES = {
    "delta": ((1, 0, 0, 0), 1),
    "gamma": ((2, 0, 0, 0), 1),
    "vega": ((0, 0, 1, 0), 1),
    "theta": ((0, 1, 0, 0), -1),
    "rho": ((0, 0, 0, 1), 1),
    "vanna": ((1, 0, 1, 0), 1),
    "volga": ((0, 0, 2, 0), 1),
    "charm": ((1, 1, 0, 0), -1),
    "veta": ((0, 1, 1, 0), -1),
    "speed": ((3, 0, 0, 0), 1),
    "zomma": ((2, 0, 1, 0), 1),
    "color": ((2, 1, 0, 0), -1),
    "ultima": ((0, 0, 3, 0), 1),
}

ROWS = [
    (100.0, strike, ttm, 0.3, cp, rate, dividend)
    for strike in (70.0, 100.0, 130.0)
    for ttm in (0.1, 2.0)
    for cp in (1.0, -1.0)
    for rate, dividend in ((0.05, 0.02), (-0.02, 0.0), (0.0, 0.1))
]


@pytest.mark.parametrize("name", DERIVATIVES)
def test_greeks_are_the_derivatives_of_the_price_in_the_spot(name: str) -> None:
    orders, sign = DERIVATIVES[name]
    for spot, strike, ttm, sigma, cp, rate, dividend in ROWS:
        with mp.workdps(100):

            def value(s: mp.mpf, t: mp.mpf, v: mp.mpf, r: mp.mpf) -> mp.mpf:
                forward = s * mp.exp((r - mp.mpf(dividend)) * t)  # noqa: B023 - called at once
                return mp.exp(-r * t) * reference.value(forward, mp.mpf(strike), t, v, cp)  # noqa: B023

            point = tuple(mp.mpf(x) for x in (spot, ttm, sigma, rate))
            wanted = float(sign * mp.diff(value, point, orders, h=mp.mpf(10) ** -25))
        found = getattr(bsm.greeks(spot, strike, ttm, sigma, cp, rate, dividend), name)
        assert found == pytest.approx(wanted, rel=1e-11, abs=1e-13), (strike, ttm, cp, rate)


def test_put_call_parity_with_carry() -> None:
    call, put = (bsm.price(100.0, 90.0, 1.5, 0.3, cp, 0.05, 0.02) for cp in ("call", "put"))
    assert call - put == pytest.approx(100 * math.exp(-0.03) - 90 * math.exp(-0.075), rel=1e-14)


def test_price_to_volatility_to_price() -> None:
    for spot, strike, ttm, sigma, cp, rate, dividend in ROWS:
        premium = bsm.price(spot, strike, ttm, sigma, cp, rate, dividend)
        assert bsm.implied_vol(premium, spot, strike, ttm, cp, rate, dividend) == pytest.approx(sigma, rel=1e-11)


def test_arrays_broadcast_and_scalars_stay_scalars() -> None:
    strikes = np.array([[90.0], [110.0]])
    rates = np.array([0.0, 0.05, 0.1])
    prices = bsm.price(100.0, strikes, 1.0, 0.2, "call", rates)
    assert prices.shape == (2, 3)
    assert prices[1, 2] == bsm.price(100.0, 110.0, 1.0, 0.2, "call", 0.1)
    assert type(bsm.price(100.0, 110.0, 1.0, 0.2, "call", 0.1)) is float
    many = bsm.greeks(100.0, strikes, 1.0, 0.2, "call", rates)
    one = dataclasses.astuple(bsm.greeks(100.0, 110.0, 1.0, 0.2, "call", 0.1))
    assert all(type(value) is float for value in one)
    np.testing.assert_allclose([value[1, 2] for value in dataclasses.astuple(many)], one, rtol=1e-14)


def test_bad_rows_are_nan_with_a_status_and_nothing_raises() -> None:
    premium = [10.0, 200.0, 0.0, math.nan, 10.0]
    rates = [0.05, 0.05, 0.05, 0.05, math.nan]
    sigma, status = bsm.implied_vol(premium, 100.0, 90.0, 1.0, "put", rates, status=True)
    assert [KernelStatus(code).name for code in status] == ["OK", "ABOVE_MAX", "AT_INTRINSIC", "BAD_INPUT", "BAD_INPUT"]
    assert np.isnan(sigma[[1, 3, 4]]).all()
    assert math.isnan(bsm.price(100.0, 90.0, 1.0, 0.2, 1, -1e308))
    assert math.isnan(bsm.greeks(-1.0, 90.0, 1.0, 0.2, 1).theta)
    for rate in (-1e308, 1e308, math.inf):
        assert math.isnan(bsm.greeks(100.0, 90.0, 1.0, 0.2, 1, rate).price)


@pytest.mark.parametrize("rate", [-1000.0, 1000.0])
def test_a_discount_that_is_zero_or_infinite_is_bad_input_for_price_and_greeks_alike(rate: float) -> None:
    row = (100.0, 90.0, 1.0, 0.2, 1, rate, rate)  # at this yield the forward is the spot
    assert math.isnan(bsm.price(*row))
    found, status = bsm.greeks(*row, status=True)
    assert status is KernelStatus.BAD_INPUT
    assert all(map(math.isnan, dataclasses.astuple(found)))


def test_at_expiry_the_price_is_intrinsic() -> None:
    assert bsm.price(100.0, 90.0, 0.0, 0.2, "call", 0.05) == 10.0
    assert bsm.greeks(100.0, 90.0, 0.0, 0.2, "call", 0.05).delta == 1.0


def quantlib_rows(test: str) -> Iterator[list[str]]:
    with data_path("reference/quantlib/europeanoption_rows.csv").open(newline="") as file:
        for row in csv.reader(file):
            if row[1:3] == [test, "values"]:
                yield row[4:]


def years(text: str) -> float:
    """A time as the table writes it: "0.50" or "1.0/12.0"."""
    top, _, bottom = text.partition("/")
    return float(top) / float(bottom or 1)


def test_published_prices_of_haug_as_in_quantlib() -> None:
    rows = list(quantlib_rows("testValues"))
    assert len(rows) == 43
    for kind, strike, spot, dividend, rate, ttm, sigma, value, tolerance, *_ in rows:
        found = bsm.price(float(spot), float(strike), years(ttm), float(sigma), kind, float(rate), float(dividend))
        assert found == pytest.approx(float(value), abs=max(float(tolerance), 1e-4))


def test_published_greeks_of_haug_as_in_quantlib() -> None:
    """The table gives no names; they stand here in its order. Its precision is four decimals."""
    names = ["delta", "delta", "elasticity", "gamma", "gamma", "vega", "vega", "theta", "theta_per_day", "rho", "carry"]
    for name, row in zip(names, quantlib_rows("testGreekValues"), strict=True):
        kind, strike, spot, dividend, rate, ttm, sigma, value, *_ = row
        found = bsm.greeks(float(spot), float(strike), years(ttm), float(sigma), kind, float(rate), float(dividend))
        wanted = {
            **dataclasses.asdict(found),
            "elasticity": found.delta * float(spot) / found.price,
            "theta_per_day": found.theta / 365,
            "carry": -found.delta * float(spot) * years(ttm),
        }[name]
        assert abs(wanted) == pytest.approx(abs(float(value)), abs=1.01e-4 if name != "gamma" else 6e-5), name


def test_published_table_of_py_vollib() -> None:
    with data_path("reference/py_vollib/test_data.json").open() as file:
        table = json.load(file)
    for values in table["data"]:
        row = dict(zip(table["columns"], values, strict=True))
        arguments = (row["S"], row["K"], row["t"], row["v"])
        for cp, letter, price in (("c", "C", "bs_call"), ("p", "P", "bs_put")):
            found = bsm.greeks(*arguments, cp, row["R"])
            for ours, theirs in (
                (found.price, price),
                (found.delta, letter + "D"),
                (found.gamma, letter + "G"),
                (found.theta, letter + "T"),
                (found.vega, letter + "V"),
                (found.rho, letter + "R"),
            ):
                assert ours == pytest.approx(row[theirs], rel=2e-9, abs=6e-9), (theirs, row)


def test_an_independent_library_agrees() -> None:
    vollib = pytest.importorskip("vollib.black_scholes_merton", reason="vollib is not installed (the oracle extra)")
    for spot, strike, ttm, sigma, cp, rate, dividend in ROWS:
        flag = "c" if cp > 0 else "p"
        wanted = vollib.black_scholes_merton(flag, spot, strike, ttm, rate, sigma, dividend)
        assert bsm.price(spot, strike, ttm, sigma, cp, rate, dividend) == pytest.approx(wanted, rel=1e-11)
