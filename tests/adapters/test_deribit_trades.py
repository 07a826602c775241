"""`trades.*`: each once, tagged, in the venue's own count."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.deribit.trades import TradeTape
from pricer.adapters.events import AnyEvent, Trade
from tests.adapters.deribit_frames import EXPIRY_NS, NOW, Venue, encoded, fixture, items_frame, live_venue


def live() -> Venue:
    return live_venue(trades=True)


def trades_in(events: list[AnyEvent]) -> list[Trade]:
    assert all(isinstance(event, Trade) for event in events)
    return [event for event in events if isinstance(event, Trade)]


def numbered(sequence: int, trade_id: str, **more: Any) -> bytes:
    """One trade of the fixture's second instrument."""
    message = fixture("trades_option")
    message["params"]["data"] = [message["params"]["data"][1] | {"trade_seq": sequence, "trade_id": trade_id, **more}]
    return encoded(message)


def test_an_options_trade_has_its_volatility_as_a_fraction() -> None:
    leg, plain, block = trades_in(live().adapter.receive(encoded(fixture("trades_option")), NOW))
    assert plain == Trade(
        venue="deribit",
        received=NOW,
        exchange_ns=1_741_731_610_450_000_000,
        instrument="BTC-12MAR25-65000-C",
        trade_id="244365201",
        price=0.219,
        size=2.0,
        side="sell",
        sequence=41,
        iv=1.595,
        mark=0.2182,
        index=83140.62,
    )
    assert (leg.side, leg.mark, leg.sequence) == ("buy", 0.01733488, 8)
    assert block.iv == 0.5589999999999999


def test_D10_blocks_combos_and_liquidations_are_tagged_and_kept_out_of_the_open_market() -> None:
    adapter = live().adapter
    leg, plain, block = trades_in(adapter.receive(encoded(fixture("trades_option")), NOW))
    (forced,) = trades_in(adapter.receive(encoded(fixture("trades_liquidation")), NOW))
    assert (leg.combo, leg.block, leg.is_open_market) == ("BTC-PS-12MAR25-80000_75000", "", False)
    assert (block.block, block.combo, block.is_open_market) == ("BLOCK-9182", "", False)
    assert (plain.block, plain.combo, plain.liquidation, plain.is_open_market) == ("", "", "", True)
    assert (forced.liquidation, forced.is_open_market) == ("T", True), "it did hit the open book"
    assert math.isnan(forced.iv), "a perpetual has none"


@pytest.mark.parametrize("order", [("trades_combo", "trades_option"), ("trades_option", "trades_combo")])
def test_D10_a_combo_is_counted_once_by_its_legs(order: tuple[str, str]) -> None:
    adapter = live().adapter
    found = [each for name in order for each in trades_in(adapter.receive(encoded(fixture(name)), NOW))]
    assert sorted(each.trade_id for each in found) == ["244365195", "244365201", "244365202"]
    assert "244365193" not in {each.trade_id for each in found}, "the combo's own trade"
    assert adapter.counters["combo_trade"] == 1
    assert adapter.counters["duplicate_trade"] == 1


def test_D10_a_combo_without_legs_is_dropped_by_its_name() -> None:
    adapter = live().adapter
    assert adapter.receive(items_frame("trades_combo", 0, legs=...), NOW) == []
    assert adapter.counters["unwanted_trade"] == 1


def test_D09_a_repeated_trade_is_told_once() -> None:
    adapter = live().adapter
    data = encoded(fixture("trades_option"))
    assert len(adapter.receive(data, NOW)) == 3
    assert adapter.receive(data, NOW) == []
    assert adapter.counters["duplicate_trade"] == 3


def test_D09_also_across_a_reconnection_where_a_jump_counts_as_missed() -> None:
    venue = live()
    venue.adapter.receive(numbered(41, "a"), NOW)
    venue.adapter.closed(NOW, "reset")
    venue.open()
    assert venue.adapter.receive(numbered(41, "a"), NOW) == []
    (later,) = trades_in(venue.adapter.receive(numbered(45, "b"), NOW))
    assert (later.sequence, later.late) == (45, False)
    assert venue.adapter.counters["missed_trades"] == 1


def test_D09_a_trade_out_of_order_is_flagged_late() -> None:
    adapter = live().adapter
    found = [trades_in(adapter.receive(numbered(each, str(each)), NOW))[0] for each in (10, 12, 11, 13, 9, 14)]
    assert [each.sequence for each in found] == [10, 12, 11, 13, 9, 14]
    assert [each.late for each in found] == [False, False, True, False, True, False]
    assert (adapter.counters["late_trade"], adapter.counters["missed_trades"]) == (2, 1)


def test_D09_a_stamp_that_runs_backwards_makes_no_trade_late() -> None:
    adapter = live().adapter
    adapter.receive(numbered(10, "a"), NOW)
    (trade,) = trades_in(adapter.receive(numbered(11, "b", timestamp=1_741_731_600_000), NOW))
    assert not trade.late


def test_D09_each_instrument_counts_for_itself_and_the_window_is_bounded() -> None:
    noted: list[str] = []
    tape = TradeTape(noted.append, most_ids=100, most_counters=100)
    for number in range(1_000):
        assert tape.is_new(f"id{number}")
        assert not tape.is_late(f"name{number}", 5)
    assert (len(tape._ids), len(tape._highest)) == (100, 100)
    assert not tape.is_new("id999")
    assert not tape.is_new("id900")
    assert tape.is_new("id0"), "so long ago that it is forgotten"
    assert tape.is_late("name999", 4)
    assert not tape.is_late("name1000", None), "a venue's count may be missing"


@pytest.mark.parametrize("sequence", [2**31, 2**53 + 1, 2**63 - 1])
def test_S17_counts_beyond_32_and_53_bits_are_exact(sequence: int) -> None:
    adapter = live().adapter
    adapter.receive(numbered(sequence - 1, "a"), NOW)
    (trade,) = trades_in(adapter.receive(numbered(sequence, "b"), NOW))
    assert (trade.sequence, trade.late) == (sequence, False)
    assert not adapter.counters["missed_trades"]


def test_other_families_of_the_currency_are_passed_over() -> None:
    adapter = live().adapter
    found = trades_in(adapter.receive(items_frame("trades_option", 0, instrument_name="ETH-12MAR25-2000-C"), NOW))
    assert [each.instrument for each in found] == ["BTC-12MAR25-65000-C", "BTC-27JUN25-100000-C"]
    assert adapter.counters["unwanted_trade"] == 1


def test_trades_are_asked_for_by_class() -> None:
    assert {"trades.option.BTC.100ms", "trades.future.BTC.100ms"} <= set(live().subscribed)
    venue = Venue(Deribit(("SOL_USDC",), trades=True, futures=False), [])
    venue.open()
    assert [name for name in venue.subscribed if name.startswith("trades.")] == ["trades.option.USDC.100ms"]


@pytest.mark.parametrize("value", [None, ..., "", 0, "0.219", True, -1, [1]])
@pytest.mark.parametrize("field", ["price", "amount", "direction", "trade_id", "instrument_name"])
def test_P13_a_trade_without_a_number_a_side_or_an_id_is_rejected(field: str, value: Any) -> None:
    adapter = live().adapter
    if (field, value) == ("trade_id", "0.219"):
        return  # any text is an id
    found = trades_in(adapter.receive(items_frame("trades_option", 1, **{field: value}), NOW))
    assert [each.instrument for each in found] == ["BTC-12MAR25-80000-P", "BTC-27JUN25-100000-C"], (
        "its neighbours stand"
    )
    assert adapter.counters["bad_trade"] + adapter.counters["unwanted_trade"] == 1


@pytest.mark.parametrize("value", [None, ..., "", "1", True, -1, [1]])
@pytest.mark.parametrize(("field", "name"), [("iv", "iv"), ("index_price", "index"), ("mark_price", "mark")])
def test_P13_D15_a_number_beside_the_trade_that_is_none_is_nan(field: str, name: str, value: Any) -> None:
    (_, plain, _) = trades_in(live().adapter.receive(items_frame("trades_option", 1, **{field: value}), NOW))
    if (field, value) != ("mark_price", -1):  # marks of spreads are negative
        assert math.isnan(getattr(plain, name))
    assert (plain.price, plain.size) == (0.219, 2.0)


@pytest.mark.parametrize("value", [None, ..., "41", 4.5, True, -1])
def test_P13_a_count_that_is_none_is_none(value: Any) -> None:
    (_, plain, _) = trades_in(live().adapter.receive(items_frame("trades_option", 1, trade_seq=value), NOW))
    assert plain.sequence is None
    assert not plain.late


@pytest.mark.parametrize("data", [None, {}, 5, "x", [5, None, "x", []]])
def test_P13_data_that_is_no_list_of_trades_is_counted(data: object) -> None:
    adapter = live().adapter
    message = {**fixture("trades_option"), "params": {"channel": "trades.option.BTC.100ms", "data": data}}
    assert adapter.receive(msgspec.json.encode(message), NOW) == []
    assert adapter.counters["bad_trades"] + adapter.counters["bad_trade"] > 0


def test_P12_a_new_field_is_counted_once_a_session() -> None:
    adapter = live().adapter
    for _ in range(3):
        adapter.receive(items_frame("trades_option", 0, starbase=1), NOW)
    assert adapter.counters["unknown_field.trades"] == 1


def test_N03_trades_after_the_expiry_are_ignored() -> None:
    adapter = live().adapter
    late = NOW.plus(EXPIRY_NS - NOW.wall_ns)
    found = trades_in(adapter.receive(encoded(fixture("trades_option")), late))
    assert [each.instrument for each in found] == ["BTC-27JUN25-100000-C"]
    assert adapter.counters["after_expiry"] == 2
