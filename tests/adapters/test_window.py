"""The strikes around the money: who enters, who leaves, and that nobody flaps."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from pricer.adapters.deribit.instruments import instrument_from_name
from pricer.adapters.instruments import Instrument
from pricer.adapters.window import Roll, Window, distance
from pricer.errors import ConfigError

EXPIRIES = ("28MAR25", "27JUN25", "26SEP25")


def chain(*expiries: str) -> list[Instrument]:
    names = [f"BTC-{expiry}-{strike}-{cp}" for expiry in expiries for strike in range(50, 151, 5) for cp in "CP"]
    found = [instrument_from_name(name) for name in names]
    return [each for each in found if each is not None]


def at(price: float) -> Callable[[Instrument], float]:
    return lambda _: price


def strikes(names: frozenset[str]) -> list[int]:
    return sorted({int(name.split("-")[2]) for name in names})


def test_so_many_strikes_on_each_side() -> None:
    roll = Roll(Window(strikes=2))
    assert strikes(roll.choose(chain("27JUN25"), at(101.0))) == [95, 100, 105, 110]
    assert len(roll.inside) == 8, "calls and puts"


def test_strikes_within_a_part_of_the_money() -> None:
    assert strikes(Roll(Window(percent=0.1)).choose(chain("27JUN25"), at(100.0))) == [90, 95, 100, 105, 110]


def test_the_nearest_expiries() -> None:
    found = Roll(Window(expiries=2)).choose(chain(*EXPIRIES), at(math.nan))
    assert {name.split("-")[1] for name in found} == {"28MAR25", "27JUN25"}
    assert len(found) == 2 * 42


def test_all_conditions_count() -> None:
    found = Roll(Window(strikes=3, percent=0.06, expiries=1)).choose(chain(*EXPIRIES), at(100.0))
    assert strikes(found) == [95, 100, 105]
    assert len(found) == 6


@pytest.mark.parametrize("window", [Window(strikes=3), Window(percent=0.12)])
def test_N01_the_window_rolls_with_the_money(window: Window) -> None:
    roll = Roll(window)
    options = chain("27JUN25")
    for price in (80.0, 90.0, 100.0, 110.0, 120.0):
        inside = strikes(roll.choose(options, at(price)))
        assert min(inside) < price < max(inside)
        assert len(inside) <= 10
    assert 80 not in inside


@pytest.mark.parametrize("window", [Window(strikes=3), Window(percent=0.12), Window(strikes=5, percent=0.2, slack=0.1)])
@pytest.mark.parametrize("level", [97.4, 100.0, 102.5])
def test_N01_a_price_that_trembles_makes_nobody_flap(window: Window, level: float) -> None:
    roll, rng, entered = Roll(window), random.Random(4), Counter[str]()
    options, inside = chain("27JUN25"), frozenset[str]()
    for _ in range(2000):
        now = roll.choose(options, at(level * (1.0 + 0.004 * rng.uniform(-1.0, 1.0))))
        entered.update(now - inside)
        inside = now
    assert max(entered.values()) == 1


def test_N01_without_slack_it_would_flap() -> None:
    roll = Roll(Window(percent=0.1, slack=0.0))
    options = chain("27JUN25")
    changes = [len(roll.choose(options, at(price))) for price in (100.0, 99.9, 100.0, 99.9)]
    assert len(set(changes)) > 1


def test_N01_a_new_strike_near_the_money_enters_at_once() -> None:
    roll, options = Roll(Window(strikes=2)), chain("27JUN25")
    roll.choose(options, at(101.0))
    new = msgspec.structs.replace(options[0], name="BTC-27JUN25-102-C", strike=102.0)
    assert "BTC-27JUN25-102-C" in roll.choose([*options, new], at(101.0))


def test_positions_are_always_wanted() -> None:
    roll = Roll(Window(strikes=1, expiries=1))
    held = ["BTC-26SEP25-150-P", "BTC-28MAR25-50-C", "BTC-1JAN30-1-C"]
    for price in (math.nan, 70.0, 130.0):
        found = roll.choose(chain(*EXPIRIES), at(price), held)
        assert set(held[:2]) <= found
        assert held[2] not in found, "what is not listed cannot be asked for"


def test_without_a_price_nothing_enters_and_nothing_leaves() -> None:
    roll, options = Roll(Window(strikes=2)), chain("27JUN25")
    assert roll.choose(options, at(math.nan)) == frozenset()
    before = roll.choose(options, at(100.0))
    assert roll.choose(options, at(math.nan)) == before
    assert roll.choose(options[:10], at(math.nan)) == before & {option.name for option in options[:10]}


def test_everything_is_the_default() -> None:
    assert len(Roll(Window()).choose(chain(*EXPIRIES), at(math.nan))) == 3 * 42


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"strikes": 0}, "strikes"), ({"strikes": True}, "strikes"), ({"expiries": -1}, "expiries")]
    + [({"percent": value}, "percent") for value in (0.0, -1.0, math.inf, math.nan)]
    + [({"slack": 2.0}, "slack")],
)
def test_impossible_windows_are_refused_by_name(settings: dict[str, float], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        Window(**settings)  # type: ignore[arg-type]


def test_the_distance_from_the_money_is_the_same_up_and_down() -> None:
    low, high = chain("27JUN25")[0], chain("27JUN25")[-1]
    assert distance(low, 100.0) == pytest.approx(math.log(2.0))
    assert distance(high, 75.0) == pytest.approx(math.log(2.0))
    assert distance(low, math.nan) == distance(low, 0.0) == math.inf
