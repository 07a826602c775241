"""Tapes of trades: numbered, told once, bounded; and which underlying a name is of."""

from __future__ import annotations

import msgspec
import pytest

from pricer.adapters.events import InstrumentExpired, InstrumentListed, Trade
from pricer.clock import EPOCH
from pricer.listed_names import ListedNames
from pricer.recent_trades import LENGTH, RecentTrades
from tests.scene import Scene, option

NAMES = ("BTC-7D-100000-C", "BTC-7D-100000-P")


def trade(name: str, number: int, **changes: object) -> Trade:
    made = Trade(
        venue="v", received=EPOCH, instrument=name, trade_id=f"{name}:{number}", price=1.0, size=1.0, side="buy"
    )
    return msgspec.structs.replace(made, **changes)


def listed(names: ListedNames, *options: str) -> None:
    for name in options:
        names.apply(InstrumentListed(venue="v", received=EPOCH, definition=option(name, 7.0, 1e5, 1)))


@pytest.fixture
def names() -> ListedNames:
    found = ListedNames()
    listed(found, *NAMES)
    return found


def test_numbers_count_on_while_the_oldest_go(names: ListedNames) -> None:
    trades = RecentTrades(names)
    for number in range(LENGTH + 44):
        trades.apply(trade(NAMES[number % 2], number))
    tape = trades.of_underlying("BTC")
    assert (tape.following, len(tape.trades)) == (300, 256)
    assert tape.trades[0].trade_id == f"{NAMES[0]}:44"
    own = trades.of_instrument(NAMES[1])
    assert (own.following, len(own.trades)) == (150, 150)
    assert trades.of_instrument("another").trades == trades.of_underlying("ETH").trades == ()


def test_D09_a_trade_told_twice_is_on_the_tape_once_and_a_bust_is_told(names: ListedNames) -> None:
    trades = RecentTrades(names)
    for _ in range(2):
        trades.apply(trade(NAMES[0], 1))
        trades.apply(trade(NAMES[0], 1, bust=True))
    assert [each.bust for each in trades.of_underlying("BTC").trades] == [False, True]
    assert trades.counters["duplicate_trade"] == 2


def test_a_perpetual_has_a_tape_of_its_own_and_is_on_no_underlyings(names: ListedNames) -> None:
    scene = Scene()
    names.apply(msgspec.structs.replace(scene.perpetual(), instrument="BTC-PERPETUAL"))
    assert names.underlying_of("BTC-PERPETUAL") == "BTC"
    trades = RecentTrades(names)
    trades.apply(trade("BTC-PERPETUAL", 1))
    trades.apply(trade("ETH-PERPETUAL", 2))
    assert trades.of_underlying("BTC").trades == ()
    assert len(trades.of_instrument("BTC-PERPETUAL").trades) == 1
    assert trades.counters["unlisted_trade"] == 1


def test_the_tapes_together_are_bounded_and_the_longest_silent_goes(names: ListedNames) -> None:
    trades = RecentTrades(names, most_trades=100)
    for number in range(90):
        trades.apply(trade("quiet", number))
    for number in range(1000):
        trades.apply(trade(f"busy-{number % 7}", number))
        assert len(trades) <= 100
    assert trades.of_instrument("quiet").trades == ()
    before = trades.of_instrument("busy-1")
    assert before.following > 0
    trades.apply(trade("quiet", 1))
    assert trades.of_instrument("quiet")[1:] == (1, trades.of_instrument("quiet").tape)
    assert trades.of_instrument("quiet").tape > before.tape, "another tape than the first"
    assert trades.counters["forgotten_tape"] > 0


def test_what_expires_takes_its_tape_and_its_name(names: ListedNames) -> None:
    trades = RecentTrades(names)
    trades.apply(trade(NAMES[0], 1))
    ended = InstrumentExpired(venue="v", received=EPOCH, instrument=NAMES[0])
    trades.apply(ended)
    names.apply(ended)
    assert (len(trades), names.underlying_of(NAMES[0]), len(names)) == (0, None, 1)
    assert len(trades.of_underlying("BTC").trades) == 1, "it was struck all the same"


def test_names_are_bounded() -> None:
    names = ListedNames(most=10)
    listed(names, *(f"BTC-{i}" for i in range(25)))
    assert (len(names), names.overflow) == (10, 15)
