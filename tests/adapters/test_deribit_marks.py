"""`markprice.options.*`: the whole chain's marks in one message."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent, InstrumentListed, VenueMark
from tests.adapters.deribit_frames import EXPIRY_NS, NOW, Venue, encoded, fixture, items_frame, live_venue, reply, texts

CHANNEL = "markprice.options.btc_usd"


def live() -> Venue:
    return live_venue(marks=True)


def marks_in(events: list[AnyEvent]) -> list[VenueMark]:
    assert all(isinstance(event, VenueMark) for event in events)
    return [event for event in events if isinstance(event, VenueMark)]


def test_marks_are_fractions_on_this_channel_and_told_of_each_option() -> None:
    found = marks_in(live().adapter.receive(encoded(fixture("marks")), NOW))
    assert [(each.instrument, each.mark, each.mark_iv) for each in found] == [
        ("BTC-12MAR25-65000-C", 0.2182, 1.5947),
        ("BTC-12MAR25-80000-P", 0.0, 0.6215),
        ("BTC-27JUN25-100000-C", 0.0523, 0.5571),
    ]
    assert found[0].exchange_ns == 1_741_731_610_450_000_000
    assert found[0].received is NOW
    for value in (found[0].bid_iv, found[0].ask_iv, found[0].delta, found[0].open_interest):
        assert math.isnan(value), "not told here"


def test_the_same_option_has_the_same_volatility_by_ticker_and_by_marks() -> None:
    adapter = live().adapter
    _, by_ticker = adapter.receive(encoded(fixture("ticker_inverse_call")), NOW)
    by_marks = marks_in(adapter.receive(encoded(fixture("marks")), NOW))[0]
    assert isinstance(by_ticker, VenueMark)
    assert (by_ticker.mark, by_ticker.mark_iv) == (by_marks.mark, by_marks.mark_iv)


def test_later_messages_are_upserts_of_what_they_name() -> None:
    adapter = live().adapter
    message = fixture("marks")
    message["params"]["data"] = message["params"]["data"][1:2]
    assert [each.instrument for each in marks_in(adapter.receive(encoded(message), NOW))] == ["BTC-12MAR25-80000-P"]
    message["params"]["data"] = []
    assert adapter.receive(encoded(message), NOW) == []
    assert not adapter.counters["bad_marks"]


def test_the_channel_is_asked_for_once_the_lists_are_here() -> None:
    adapter = Deribit(marks=True)
    adapter.opened(NOW)
    messages = texts(adapter.to_send(NOW))
    assert CHANNEL not in str(messages)
    (list_id,) = [each["id"] for each in messages if each["params"].get("kind") == "option"]
    adapter.receive(reply(list_id, fixture("instruments_btc")["result"]), NOW)
    assert CHANNEL in str(texts(adapter.to_send(NOW)))
    assert CHANNEL not in Venue(Deribit(), fixture("instruments_btc")["result"]).subscribed


def test_after_a_reconnection_it_is_asked_for_again() -> None:
    venue = live()
    venue.adapter.closed(NOW, "reset")
    venue.open()
    assert venue.subscribed.count(CHANNEL) == 1


def test_an_option_that_no_list_named_yet_is_announced_by_its_name() -> None:
    adapter = live().adapter
    listed, mark, *_ = adapter.receive(items_frame("marks", 0, instrument_name="BTC-27JUN25-91000-P"), NOW)
    assert isinstance(listed, InstrumentListed)
    assert isinstance(mark, VenueMark)
    assert listed.definition.name == mark.instrument == "BTC-27JUN25-91000-P"


@pytest.mark.parametrize(
    "name", ["ETH-12MAR25-2000-C", "BTC-27JUN25", "BTC_USDC-27JUN25-90000-C", "", None, 5, "BTC-CS-19MAY26-70000_75000"]
)
def test_a_mark_of_anything_else_is_counted_and_its_neighbours_stand(name: object) -> None:
    adapter = live().adapter
    found = marks_in(adapter.receive(items_frame("marks", 1, instrument_name=name), NOW))
    assert [each.instrument for each in found] == ["BTC-12MAR25-65000-C", "BTC-27JUN25-100000-C"]
    assert adapter.counters["bad_mark"] == 1


def test_another_index_is_not_ours() -> None:
    adapter = live().adapter
    message = fixture("marks")
    message["params"]["channel"] = "markprice.options.eth_usd"
    assert adapter.receive(encoded(message), NOW) == []
    assert adapter.counters["unwanted"] == 1


@pytest.mark.parametrize("value", [None, ..., "", "0.5571", True, -1, [1], 0])
@pytest.mark.parametrize("field", ["iv", "mark_price"])
def test_P13_a_field_that_is_no_number_is_nan_and_never_zero(field: str, value: Any) -> None:
    adapter = live().adapter
    found = marks_in(adapter.receive(items_frame("marks", 2, **{field: value}), NOW))
    assert len(found) == 3, "the others stand"
    if field == "iv":
        assert math.isnan(found[2].mark_iv), "nor is the venue's own 0 a volatility"
        assert found[2].mark == 0.0523
    else:
        assert found[2].mark == 0.0 if value == 0 and value is not False else math.isnan(found[2].mark)
        assert found[2].mark_iv == 0.5571
    assert adapter.counters[f"bad_field.{field}"] == (value not in (None, ..., 0) or value is True)


@pytest.mark.parametrize("data", [None, {}, 5, "x"])
def test_P13_data_that_is_no_list_is_counted(data: object) -> None:
    adapter = live().adapter
    assert adapter.receive(encoded({**fixture("marks"), "params": {"channel": CHANNEL, "data": data}}), NOW) == []
    assert adapter.counters["bad_marks"] == 1


def test_P12_a_new_field_is_counted_once_a_session() -> None:
    adapter = live().adapter
    for _ in range(3):
        assert len(adapter.receive(items_frame("marks", 0, starbase=1), NOW)) == 3
    assert adapter.counters["unknown_field.markprice"] == 1


def test_N03_marks_after_the_expiry_are_ignored() -> None:
    adapter = live().adapter
    late = NOW.plus(EXPIRY_NS - NOW.wall_ns)
    found = [event for event in adapter.receive(encoded(fixture("marks")), late) if isinstance(event, VenueMark)]
    assert [each.instrument for each in found] == ["BTC-27JUN25-100000-C"]
    assert adapter.counters["after_expiry"] == 2
