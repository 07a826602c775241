"""The contract of every European pricing model: one suite, and a line in `MODELS` for each.

A model is a module with `price`, `implied_vol` and `greeks`; its reference is one line of mpmath, differentiated at
high precision. What holds for one model only stands in that model's own tests.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np
import pytest

import pricer
from pricer import bachelier, bsm, displaced
from pricer.kernels.status import KernelStatus
from pricer.pricing import Greeks
from tests.kernels import reference

RATE, YIELD, SHIFT = 0.04, 0.015, 30.0

# Orders of differentiation in (underlying, ttm, sigma) and the sign; rho is the model's own.
DERIVATIVES = {
    "price": ((0, 0, 0), 1),
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

Exact = Callable[[Any, Any, Any, Any, float], Any]


class Row(NamedTuple):
    """One option: forward (or spot), strike, ttm, sigma, cp."""

    underlying: float
    strike: float
    ttm: float
    sigma: float
    cp: float


class Model(NamedTuple):
    """A module's functions with its own arguments filled in, and its exact value."""

    name: str
    price: Callable[..., Any]
    implied_vol: Callable[..., Any]
    greeks: Callable[..., Any]
    exact: Exact
    underlyings: tuple[float, ...]
    offsets: tuple[float, ...]  # strikes from the underlying
    sigmas: tuple[float, ...]
    greatest: Callable[[float, float], float] | None  # the bound on a call's premium, where the model has one

    def rows(self) -> list[Row]:
        return [
            Row(underlying, underlying + offset, ttm, sigma, cp)
            for underlying in self.underlyings
            for offset in self.offsets
            for ttm, sigma in zip((0.05, 1.5), self.sigmas, strict=True)
            for cp in (1.0, -1.0)
        ]


def spot_value(spot: mp.mpf, strike: mp.mpf, ttm: mp.mpf, sigma: mp.mpf, cp: float, rate: mp.mpf = RATE) -> mp.mpf:
    """Black's value at the forward of the spot, discounted."""
    forward = spot * mp.exp((rate - mp.mpf(YIELD)) * ttm)
    return mp.exp(-rate * ttm) * reference.value(forward, strike, ttm, sigma, cp)


def normal_value(forward: mp.mpf, strike: mp.mpf, ttm: mp.mpf, sigma: mp.mpf, cp: float) -> mp.mpf:
    """The mean of max(cp·(S − K), 0) for a normal S."""
    s = sigma * mp.sqrt(ttm)
    d = (forward - strike) / s
    return cp * (forward - strike) * reference.norm_cdf(cp * d) + s * mp.npdf(d)


def shifted_value(forward: mp.mpf, strike: mp.mpf, ttm: mp.mpf, sigma: mp.mpf, cp: float) -> mp.mpf:
    """Black's value with forward and strike moved."""
    return reference.value(forward + mp.mpf(SHIFT), strike + mp.mpf(SHIFT), ttm, sigma, cp)


def model(
    name: str,
    module: Any,
    exact: Exact,
    underlyings: tuple[float, ...],
    offsets: tuple[float, ...],
    sigmas: tuple[float, float],
    greatest: Callable[[float, float], float] | None,
    **own: float,
) -> Model:
    """The module's three functions with its `own` arguments filled in."""
    price, implied_vol, greeks = (partial(getattr(module, name), **own) for name in ("price", "implied_vol", "greeks"))
    return Model(name, price, implied_vol, greeks, exact, underlyings, offsets, sigmas, greatest)


MODELS = [
    model("black76", pricer, reference.value, (100.0,), (-30.0, 0.0, 10.0), (0.9, 0.3), lambda f, t: f),
    model(
        "bsm",
        bsm,
        spot_value,
        (100.0,),
        (-30.0, 0.0, 10.0),
        (0.9, 0.3),
        lambda s, t: s * math.exp(-YIELD * t),
        rate=RATE,
        dividend_yield=YIELD,
    ),
    model("bachelier", bachelier, normal_value, (100.0, 0.0, -7.0), (-30.0, 0.0, 10.0), (90.0, 30.0), None),
    model(
        "displaced",
        displaced,
        shifted_value,
        (100.0, 0.0, -7.0),
        (-10.0, 0.0, 10.0),
        (0.9, 0.3),
        lambda f, t: f + SHIFT,
        shift=SHIFT,
    ),
]

every_model = pytest.mark.parametrize("model", MODELS, ids=[model.name for model in MODELS])
on_the_forward = pytest.mark.parametrize("model", [m for m in MODELS if m.name != "bsm"], ids=lambda m: m.name)


def derivative(model: Model, row: Row, orders: tuple[int, int, int]) -> mp.mpf:
    """Of the exact value, in scaled variables so that one step suits all three."""
    x, k, t, s = (mp.mpf(value) for value in row[:4])
    unit = abs(x) or mp.mpf(1)

    def along(a: mp.mpf, b: mp.mpf, c: mp.mpf) -> mp.mpf:
        return model.exact(x + unit * a, k, t * b, s * c, row.cp)

    if orders == (0, 0, 0):
        return along(mp.mpf(0), mp.mpf(1), mp.mpf(1))
    scaled = mp.diff(along, (0, 1, 1), orders, h=mp.mpf(10) ** -25)
    return scaled / (unit ** orders[0] * t ** orders[1] * s ** orders[2])


@every_model
@pytest.mark.parametrize("name", DERIVATIVES)
def test_M08_greeks_are_the_derivatives_of_the_exact_price(model: Model, name: str) -> None:
    orders, sign = DERIVATIVES[name]
    with mp.workdps(100):
        for row in model.rows():
            wanted = float(sign * derivative(model, row, orders))
            found = getattr(model.greeks(*row), name)
            assert found == pytest.approx(wanted, rel=1e-11, abs=1e-13), row


@every_model
def test_M08_rho_is_the_derivative_in_the_rate(model: Model) -> None:
    for row in model.rows():
        found = model.greeks(*row)
        if model.name == "bsm":
            with mp.workdps(60):
                x, k, t, s = (mp.mpf(value) for value in row[:4])
                wanted = float(mp.diff(lambda r: spot_value(x, k, t, s, row.cp, r), mp.mpf(RATE)))  # noqa: B023 - at once
        else:
            wanted = -row.ttm * found.price
        assert found.rho == pytest.approx(wanted, rel=1e-12, abs=1e-13), row


@every_model
def test_put_call_parity(model: Model) -> None:
    for row in model.rows():
        with mp.workdps(50):
            x, k, t, s = (mp.mpf(value) for value in row[:4])
            wanted = float(model.exact(x, k, t, s, 1.0) - model.exact(x, k, t, s, -1.0))
        call, put = (model.price(*row[:4], cp) for cp in (1, -1))
        assert call - put == pytest.approx(wanted, abs=1e-13), row


@every_model
def test_price_to_volatility_to_price(model: Model) -> None:
    for row in model.rows():
        premium = model.price(*row)
        sigma, status = model.implied_vol(premium, *row[:3], row.cp, status=True)
        assert status is KernelStatus.OK
        assert sigma == pytest.approx(row.sigma, rel=1e-11), row
        assert model.price(*row[:3], sigma, row.cp) == pytest.approx(premium, rel=1e-14), row


@every_model
def test_price_and_greeks_agree_and_the_price_grows_with_volatility(model: Model) -> None:
    for row in model.rows():
        assert model.greeks(*row).price == model.price(*row)
        assert model.price(*row) < model.price(*row._replace(sigma=1.01 * row.sigma))


@every_model
@pytest.mark.parametrize("cp", [1.0, -1.0])
def test_C03_at_expiry_the_limits_are_those_of_the_payoff(model: Model, cp: float) -> None:
    for underlying in model.underlyings:
        for offset in (-20.0, 10.0):
            found = model.greeks(underlying, underlying + offset, 0.0, model.sigmas[0], cp)
            paid = max(-cp * offset, 0.0)
            assert found.price == paid == model.price(underlying, underlying + offset, 0.0, model.sigmas[0], cp)
            assert found.delta == (cp if paid else 0.0)
            rest = dataclasses.asdict(found)
            alive = {"price", "delta"} if model.name != "bsm" else {"price", "delta", "theta", "charm"}  # its rates
            assert {name for name, value in rest.items() if value} <= alive


@on_the_forward
@pytest.mark.parametrize("cp", [1.0, -1.0])
def test_at_the_kink_delta_is_a_half_and_gamma_has_no_limit(model: Model, cp: float) -> None:
    for underlying in model.underlyings:
        for ttm, sigma in ((0.0, model.sigmas[0]), (0.5, 0.0)):
            found, status = model.greeks(underlying, underlying, ttm, sigma, cp, status=True)
            assert status is KernelStatus.AT_INTRINSIC
            assert (found.price, found.delta) == (0.0, 0.5 * cp)
            assert math.isnan(found.gamma)
            # The limit in sigma, taken a little before it is reached.
            near = model.greeks(underlying, underlying, 0.5, 1e-12 * model.sigmas[0], cp)
            for name, value in dataclasses.asdict(found).items():
                if ttm > 0.0 and math.isfinite(value):
                    assert getattr(near, name) == pytest.approx(value, rel=1e-9, abs=1e-9), name


@every_model
def test_M01_M02_each_premium_without_a_volatility_has_its_status(model: Model) -> None:
    x = model.underlyings[0]
    with mp.workdps(50):
        floor = float(model.exact(mp.mpf(x), mp.mpf(x - 20.0), mp.mpf(0.5), mp.mpf(10) ** -20, 1.0))
    given = [floor * 0.999, -1.0, math.nan, math.inf]
    wanted = ["BELOW_INTRINSIC", "BELOW_INTRINSIC", "BAD_INPUT", "BAD_INPUT"]
    if model.name != "bsm":  # its rates round the intrinsic value
        given += [floor, math.nextafter(floor, 0.0)]
        wanted += ["AT_INTRINSIC", "BELOW_INTRINSIC"]
    if model.greatest is not None:
        given.append(model.greatest(x, 0.5) * (1 + 1e-15))
        wanted.append("ABOVE_MAX")
    sigma, status = model.implied_vol(given, x, x - 20.0, 0.5, "call", status=True)
    assert [KernelStatus(code).name for code in status] == wanted
    assert all(math.isnan(value) != (name == "AT_INTRINSIC") for value, name in zip(sigma, wanted, strict=True))


@every_model
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", range(4))
def test_M05_bad_input_is_nan_everywhere_with_a_status(model: Model, place: int, value: float) -> None:
    row = Row(model.underlyings[0], 90.0, 0.5, model.sigmas[0], 1.0)
    row = row._replace(**{Row._fields[place]: value})
    assert math.isnan(model.price(*row))
    assert all(math.isnan(number) for number in dataclasses.astuple(model.greeks(*row)))
    if place < 3:
        sigma, status = model.implied_vol(20.0, *row[:3], 1, status=True)
        assert math.isnan(sigma)
        assert status is KernelStatus.BAD_INPUT


@every_model
def test_price_and_greeks_say_what_they_are(model: Model) -> None:
    x, sigma = model.underlyings[0], model.sigmas[0]
    rows = (x, 90.0, [0.5, 0.0, -0.5], sigma, 1)
    wanted = [KernelStatus.OK, KernelStatus.AT_INTRINSIC, KernelStatus.BAD_INPUT]
    price, codes = model.price(*rows, status=True)
    assert (codes.tolist(), np.isnan(price).tolist()) == (wanted, [False, False, True])
    found, codes = model.greeks(*rows, status=True)
    assert (codes.tolist(), np.isnan(found.delta).tolist()) == (wanted, [False, False, True])
    for number, status in (
        model.price(x, 90.0, 0.5, sigma, 1, status=True),
        model.implied_vol(15.0, x, 90.0, 0.5, 1, status=True),
    ):
        assert type(number) is float
        assert status is KernelStatus.OK


@every_model
def test_after_expiry_there_is_no_value(model: Model) -> None:
    assert math.isnan(model.price(100.0, 90.0, -1e-9, model.sigmas[0], 1))


@every_model
def test_scalars_give_floats_and_arrays_broadcast(model: Model) -> None:
    strikes, ttms = np.array([[90.0], [110.0]]), np.array([0.1, 0.5, 1.0])
    sigma = model.sigmas[0]
    many = model.greeks(100.0, strikes, ttms, sigma, ["call", "put", "P"])
    premium = model.price(100.0, strikes, ttms, sigma, ["call", "put", "P"])
    vols, status = model.implied_vol(premium, 100.0, strikes, ttms, ["call", "put", "P"], status=True)
    assert isinstance(many, Greeks)
    assert premium.shape == vols.shape == status.shape == many.color.shape == (2, 3)
    np.testing.assert_allclose(vols, sigma, rtol=1e-11)
    for i, j, cp in ((0, 0, "C"), (1, 2, "p")):
        one = model.greeks(100.0, strikes[i, 0], ttms[j], sigma, cp)
        assert all(type(value) is float for value in dataclasses.astuple(one))
        assert dataclasses.astuple(one) == tuple(value[i, j] for value in dataclasses.astuple(many))
        price = model.price(100.0, strikes[i, 0], ttms[j], sigma, cp)
        assert type(price) is float
        assert price == premium[i, j]
    assert model.price([], 100.0, 0.5, sigma, 1).shape == (0,)


@every_model
def test_a_sign_that_is_none_is_named(model: Model) -> None:
    with pytest.raises(ValueError, match="not 'cal'"):
        model.price(100.0, 100.0, 0.5, model.sigmas[0], "cal")


@on_the_forward
def test_discount_multiplies_every_number_and_a_bad_one_is_bad_input(model: Model) -> None:
    row = (100.0, 90.0, 0.5, model.sigmas[0], 1.0)
    plain, half = model.greeks(*row), model.greeks(*row, 0.5)
    np.testing.assert_allclose(dataclasses.astuple(half), 0.5 * np.array(dataclasses.astuple(plain)), rtol=1e-15)
    assert model.price(*row, 0.5) == pytest.approx(0.5 * model.price(*row), rel=1e-15)
    assert model.implied_vol(half.price, 100.0, 90.0, 0.5, 1, 0.5) == pytest.approx(row[3], rel=1e-12)
    for bad in (0.0, -0.5, math.nan, math.inf):
        for strike, cp in ((90.0, 1), (110.0, 1), (90.0, -1), (110.0, -1)):
            assert math.isnan(model.price(100.0, strike, *row[2:4], cp, bad))
            assert all(map(math.isnan, dataclasses.astuple(model.greeks(100.0, strike, *row[2:4], cp, bad))))
        sigma, status = model.implied_vol(half.price, 100.0, 90.0, 0.5, 1, bad, status=True)
        assert math.isnan(sigma)
        assert status is KernelStatus.BAD_INPUT


@on_the_forward
def test_a_discount_that_takes_a_number_out_of_the_doubles_is_bad_input(model: Model) -> None:
    for strike in (90.0, 110.0):
        row = (100.0, strike, 0.5, model.sigmas[0], 1)
        discounts = [2.0, 1.7e308]
        price, status = model.price(*row, discounts, status=True)
        assert status.tolist() == [KernelStatus.OK, KernelStatus.BAD_INPUT]
        assert np.isnan(price).tolist() == [False, True]
        greeks, status = model.greeks(*row, discounts, status=True)
        assert status.tolist() == [KernelStatus.OK, KernelStatus.BAD_INPUT]
        assert np.isnan(dataclasses.astuple(greeks)).all(axis=0).tolist() == [False, True]
        assert math.isnan(model.price(*row, 1.7e308))
        assert math.isnan(model.greeks(*row, 1.7e308).rho)
