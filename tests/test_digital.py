"""Digital options: published values, an independent library, the vanilla premium's derivatives, limits, statuses."""

from __future__ import annotations

import csv
import dataclasses
import math

import mpmath as mp
import numpy as np
import pytest

from pricer import digital
from pricer.kernels.status import KernelStatus
from tests.data import data_path
from tests.kernels import reference

ROWS = [
    (100.0, strike, ttm, sigma, skew, cp)
    for strike in (80.0, 100.0, 115.0)
    for ttm, sigma in ((0.05, 0.6), (2.0, 0.25))
    for skew in (0.0, -0.003)
    for cp in (1.0, -1.0)
]

# Orders in (F, ttm, sigma) and the sign.
DERIVATIVES = {
    "price": ((0, 0, 0), 1),
    "delta": ((1, 0, 0), 1),
    "gamma": ((2, 0, 0), 1),
    "vega": ((0, 0, 1), 1),
    "theta": ((0, 1, 0), -1),
}


@pytest.mark.parametrize("payoff", ["cash", "asset"])
@pytest.mark.parametrize("name", DERIVATIVES)
def test_a_digital_is_minus_the_strike_derivative_of_the_vanilla_along_the_smile(payoff: str, name: str) -> None:
    orders, sign = DERIVATIVES[name]
    with mp.workdps(100):
        for forward, strike, ttm, sigma, skew, cp in ROWS:
            k = mp.mpf(strike)

            def value(f: mp.mpf, t: mp.mpf, v: mp.mpf) -> mp.mpf:
                def vanilla(strike: mp.mpf) -> mp.mpf:
                    return reference.value(f, strike, t, v + mp.mpf(skew) * (strike - k), cp)  # noqa: B023 - called at once

                cash = -cp * mp.diff(vanilla, k, h=mp.mpf(10) ** -40)  # noqa: B023
                return cash if payoff == "cash" else k * cash + cp * vanilla(k)  # noqa: B023

            point = tuple(mp.mpf(x) for x in (forward, ttm, sigma))
            wanted = sign * (mp.diff(value, point, orders, h=mp.mpf(10) ** -12) if any(orders) else value(*point))
            found = digital.greeks(forward, strike, ttm, sigma, cp, skew=skew, payoff=payoff)  # type: ignore[arg-type] # both
            assert getattr(found, name) == pytest.approx(float(wanted), rel=1e-9, abs=1e-12), (strike, ttm, skew, cp)


def test_published_european_rows_of_haug_as_in_quantlib() -> None:
    """The first three rows: a cash of 10, the asset, and a gap option that pays S − 57 above 50."""
    with data_path("reference/quantlib/digitaloption_rows.csv").open(newline="") as file:
        table = {row[1]: row[4:] for row in csv.reader(file) if row[1].endswith("EuropeanValues")}
    assert len(table) == 3
    for test, (kind, *numbers, value, tolerance, _, _) in table.items():
        strike, spot, dividend, rate, ttm, sigma = map(float, numbers)
        forward, discount = spot * math.exp((rate - dividend) * ttm), math.exp(-rate * ttm)
        cash = digital.price(forward, strike, ttm, sigma, kind, discount)
        asset = digital.price(forward, strike, ttm, sigma, kind, discount, payoff="asset")
        found = {"testCash": 10.0 * cash, "testAsse": asset, "testGapE": asset - 57.0 * cash}[test[:8]]
        assert found == pytest.approx(float(value), abs=float(tolerance)), test


@pytest.mark.parametrize("payoff", ["cash", "asset"])
def test_an_independent_library_agrees(payoff: str) -> None:
    ql = pytest.importorskip("QuantLib", reason="QuantLib is not installed (the dev extra)")
    for forward, strike, ttm, sigma, _, cp in ROWS:
        kind = ql.Option.Call if cp > 0 else ql.Option.Put
        terms = ql.CashOrNothingPayoff(kind, strike, 1.0) if payoff == "cash" else ql.AssetOrNothingPayoff(kind, strike)
        # A zero rate makes the spot the forward.
        theirs = ql.BlackCalculator(terms, forward, sigma * math.sqrt(ttm), 0.95)
        ours = digital.greeks(forward, strike, ttm, sigma, cp, 0.95, payoff=payoff)  # type: ignore[arg-type] # both
        assert ours.price == pytest.approx(theirs.value(), rel=1e-12)
        assert ours.delta == pytest.approx(theirs.deltaForward(), rel=1e-11)
        assert ours.gamma == pytest.approx(theirs.gammaForward(), rel=1e-9, abs=1e-15)
        assert ours.vega == pytest.approx(theirs.vega(ttm), rel=1e-10)


def test_call_and_put_share_the_cash_and_the_asset_at_any_skew() -> None:
    for forward, strike, ttm, sigma, skew, _ in ROWS:
        for payoff, whole in (("cash", 1.0), ("asset", forward)):
            call, put = (digital.price(forward, strike, ttm, sigma, cp, skew=skew, payoff=payoff) for cp in "CP")  # type: ignore[arg-type] # both
            assert call + put == pytest.approx(whole, rel=1e-14)


def test_rho_is_minus_ttm_times_the_price() -> None:
    for forward, strike, ttm, sigma, skew, cp in ROWS:
        found = digital.greeks(forward, strike, ttm, sigma, cp, 0.9, skew=skew)
        assert found.rho == pytest.approx(-ttm * found.price, rel=1e-15)


@pytest.mark.parametrize(("ttm", "sigma"), [(0.0, 0.5), (0.5, 0.0)])
@pytest.mark.parametrize("cp", [1.0, -1.0])
def test_without_time_or_volatility_it_is_all_or_nothing_and_half_at_the_strike(
    ttm: float, sigma: float, cp: float
) -> None:
    for strike, wanted in ((90.0, 1.0), (110.0, 0.0)):
        found, status = digital.greeks(100.0, strike, ttm, sigma, cp, skew=-0.01, status=True)
        assert found.price == (wanted if cp > 0 else 1.0 - wanted)
        assert (found.delta, found.gamma, found.vega, found.theta) == (0.0, 0.0, 0.0, 0.0)
        assert status is KernelStatus.AT_INTRINSIC
        assert digital.price(100.0, strike, ttm, sigma, cp, payoff="asset") == 100.0 * found.price
    middle, status = digital.greeks(100.0, 100.0, ttm, sigma, cp, status=True)
    assert middle.price == 0.5
    assert status is KernelStatus.AT_INTRINSIC
    assert math.isnan(middle.delta)
    near = digital.greeks(100.0, 100.0, 0.5, 1e-10, cp)
    if sigma == 0.0:
        assert middle.vega == pytest.approx(near.vega, rel=1e-8)
    assert near.price == pytest.approx(0.5, abs=1e-8)
    assert near.delta * cp > 1e7


def test_in_the_far_wings_and_at_great_volatility_everything_is_finite() -> None:
    for strike, sigma in ((1e-3, 0.1), (1e6, 0.1), (1e90, 0.1), (100.0, 50.0), (100.0, 1e99)):
        for cp in (1, -1):
            found = digital.greeks(100.0, strike, 1.0, sigma, cp)
            assert all(math.isfinite(value) for value in dataclasses.astuple(found))
            assert 0.0 <= found.price <= 1.0
            steep = digital.greeks(100.0, strike, 1.0, sigma, cp, skew=1e14 / strike, payoff="asset")
            assert all(math.isfinite(value) for value in dataclasses.astuple(steep))
    assert digital.price(100.0, 100.0, 1.0, 50.0, "put") == 1.0


def test_bad_rows_are_nan_with_a_status_and_arrays_broadcast() -> None:
    skews = np.array([0.0, math.nan, math.inf, -1e300])
    price, status = digital.price([[100.0], [-1.0]], 90.0, 0.5, 0.2, "call", skew=skews, status=True)
    assert price.shape == status.shape == (2, 4)
    assert np.isfinite(price).tolist() == [[True, False, False, False], [False] * 4]
    assert status.tolist() == [[KernelStatus.OK, *[KernelStatus.BAD_INPUT] * 3], [KernelStatus.BAD_INPUT] * 4]
    assert type(digital.price(100.0, 90.0, 0.5, 0.2, "put")) is float
    assert math.isnan(digital.price(100.0, 90.0, 0.5, 0.2, "put", 0.0))


def test_a_payoff_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="'cahs'"):
        digital.price(100.0, 90.0, 0.5, 0.2, "put", payoff="cahs")  # type: ignore[arg-type] # what is tested
