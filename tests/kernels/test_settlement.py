"""Coin and quote currency, and the named delta forms, which must satisfy their identities."""

from __future__ import annotations

import math

import pytest

from pricer.kernels import black76, settlement

ROWS = [
    (60_000.0, strike, ttm, 0.6, cp)
    for strike in (30_000.0, 60_000.0, 90_000.0)
    for ttm in (0.01, 0.5)
    for cp in (1.0, -1.0)
]


def test_premium_conversions_are_inverse_to_each_other() -> None:
    assert settlement.premium_to_quote(0.05, 60_000.0, True) == 3_000.0
    assert settlement.premium_to_settlement(3_000.0, 60_000.0, True) == 0.05
    assert settlement.premium_to_quote(25.0, 60_000.0, False) == 25.0
    assert settlement.premium_to_settlement(25.0, 60_000.0, False) == 25.0


@pytest.mark.parametrize("row", ROWS)
def test_M07_the_delta_forms_satisfy_their_identities(row: tuple[float, float, float, float, float]) -> None:
    forward, spot = row[0], 59_000.0
    found = black76.greeks(*row)
    value, delta, vega = found[0], found[1], found[3]
    adjusted = settlement.delta_premium_adjusted(delta, value, forward)
    coin = settlement.delta_coin(delta, value, forward)
    assert adjusted == pytest.approx(delta - value / forward, rel=1e-10)
    assert coin * forward == pytest.approx(adjusted, rel=1e-10)
    assert settlement.delta_cash(delta, forward) == pytest.approx(delta * forward, rel=1e-10)
    cash = settlement.delta_cash_premium_adjusted(delta, value, forward)
    assert cash == pytest.approx(adjusted * forward, rel=1e-10, abs=1e-10)
    assert settlement.delta_spot(delta, forward, spot) * spot == pytest.approx(delta * forward, rel=1e-10)
    assert settlement.vega_coin(vega, forward) * forward == pytest.approx(vega, rel=1e-10)


@pytest.mark.parametrize("row", ROWS)
def test_delta_coin_is_the_derivative_of_the_coin_premium(row: tuple[float, float, float, float, float]) -> None:
    forward, *rest = row
    strike, ttm, sigma, cp = rest
    up, down = forward + 1.0, forward - 1.0
    slope = (black76.price(up, strike, ttm, sigma, cp) / up - black76.price(down, strike, ttm, sigma, cp) / down) / 2
    found = black76.greeks(*row)
    assert settlement.delta_coin(found[1], found[0], forward) == pytest.approx(slope, rel=1e-6, abs=1e-13)


def test_a_spot_that_is_none_gives_no_spot_delta() -> None:
    for spot in (math.nan, 0.0, -1.0):
        assert math.isnan(settlement.delta_spot(0.5, 60_000.0, spot))
