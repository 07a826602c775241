"""Position Greeks: a golden portfolio, and every way to apply the multiplier twice or not at all."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

import pricer
from pricer import Greeks, PositionGreeks

# Numbers that can be multiplied in one's head, all fourteen different.
CALL = Greeks(
    price=2.0, delta=0.5, gamma=0.25, vega=8.0, theta=-4.0, rho=-1.0, vanna=0.125, volga=16.0, charm=-0.5, veta=-32.0,
    speed=-0.0625, zomma=-0.75, color=1.5, ultima=-64.0,
)  # fmt: skip
PUT = Greeks(
    price=1.0, delta=-0.25, gamma=0.5, vega=3.0, theta=-2.0, rho=-0.5, vanna=-0.5, volga=5.0, charm=0.25, veta=-7.0,
    speed=0.125, zomma=0.375, color=-0.625, ultima=9.0,
)  # fmt: skip


def test_M09_a_portfolio_of_two_lines_is_the_one_worked_out_by_hand() -> None:
    """Long 3 calls of 10 units each and short 2 puts of 100 units each: 30·call − 200·put."""
    calls = PositionGreeks.of(CALL, quantity=3, contract_size=10)
    puts = PositionGreeks.of(PUT, quantity=-2, contract_size=100)
    total = calls + puts
    assert dataclasses.asdict(total) == {
        "value": -140.0,  # 60 − 200
        "delta": 65.0,  # 15 + 50
        "gamma": -92.5,  # 7.5 − 100
        "vega": -360.0,  # 240 − 600
        "theta": 280.0,  # −120 + 400
        "rho": 70.0,  # −30 + 100
        "vanna": 103.75,  # 3.75 + 100
        "volga": -520.0,  # 480 − 1000
        "charm": -65.0,  # −15 − 50
        "veta": 440.0,  # −960 + 1400
        "speed": -26.875,  # −1.875 − 25
        "zomma": -97.5,  # −22.5 − 75
        "color": 170.0,  # 45 + 125
        "ultima": -3720.0,  # −1920 − 1800
    }


def test_M09_unit_greeks_and_position_greeks_do_not_mix() -> None:
    line: Any = PositionGreeks.of(CALL, quantity=1, contract_size=1)
    unit: Any = CALL
    assert not isinstance(line, Greeks)
    with pytest.raises(TypeError):
        line + unit
    with pytest.raises(TypeError):
        unit + line
    with pytest.raises(TypeError):
        unit + unit
    with pytest.raises(TypeError):
        sum([line, line])  # begins with a bare 0


def test_M09_the_multiplier_can_be_neither_left_out_nor_applied_twice() -> None:
    of: Any = PositionGreeks.of
    for incomplete in ({}, {"quantity": 3}, {"contract_size": 10}):
        with pytest.raises(TypeError):
            of(CALL, **incomplete)
    with pytest.raises(TypeError, match="not from PositionGreeks"):
        of(of(CALL, quantity=3, contract_size=10), quantity=1, contract_size=10)


@pytest.mark.parametrize("size", [0.0, -1.0, math.nan, math.inf])
def test_a_contract_size_that_is_none_is_refused(size: float) -> None:
    with pytest.raises(ValueError, match="contract_size"):
        PositionGreeks.of(CALL, quantity=1, contract_size=size)


@pytest.mark.parametrize("quantity", [math.nan, math.inf])
def test_a_quantity_that_is_none_is_refused(quantity: float) -> None:
    with pytest.raises(ValueError, match="quantity"):
        PositionGreeks.of(CALL, quantity=quantity, contract_size=1)


def test_lines_add_up_from_nothing_and_an_unknown_one_makes_the_sum_unknown() -> None:
    line = PositionGreeks.of(CALL, quantity=2, contract_size=0.5)
    assert sum([line, line], PositionGreeks()) == PositionGreeks.of(CALL, quantity=1, contract_size=2)
    unknown = PositionGreeks.of(pricer.greeks(100.0, 100.0, 0.0, 0.2, 1), quantity=1, contract_size=1)
    assert math.isnan((line + unknown).gamma)


def test_every_unit_greek_has_its_position() -> None:
    unit, position = ([field.name for field in dataclasses.fields(kind)] for kind in (Greeks, PositionGreeks))
    assert ["value", *unit[1:]] == position
