"""Stamps and counts that cannot be true, on every channel that has them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent, OptionQuote, VenueMark
from tests.adapters.deribit_frames import NOW, Venue, encoded, fixture, frame

STAMPED = {
    "ticker_inverse_call": 2,
    "ticker_future": 1,
    "incremental_snapshot": 2,
    "quote_option": 1,
    "quote_perpetual": 1,
    "marks": 3,
    "trades_option": 3,
    "price_index": 1,
    "volatility_index": 1,
    "perpetual_interest": 1,
}


def events_of(name: str, stamp: object) -> tuple[list[AnyEvent], Deribit]:
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.open()
    message = fixture(name)
    data = message["params"]["data"]
    for item in data if isinstance(data, list) else [data]:
        if stamp is ...:
            del item["timestamp"]
        else:
            item["timestamp"] = stamp
    return venue.adapter.receive(encoded(message), NOW), venue.adapter


@pytest.mark.parametrize("name", STAMPED)
@pytest.mark.parametrize(
    "stamp",
    [0, None, ..., -5, "1741731610450", True, 1e15, [], 1_741_731_610, 1_741_731_610_450_000, 1.7417316e18],
    ids=["zero", "null", "missing", "negative", "text", "true", "far", "list", "seconds", "micro", "nano"],
)
def test_C08_C12_a_stamp_that_cannot_be_true_is_none_and_the_rest_stands(name: str, stamp: Any) -> None:
    events, adapter = events_of(name, stamp)
    assert len(events) == STAMPED[name]
    assert {event.exchange_ns for event in events} == {None}
    assert adapter.counters["bad_time"] >= 1


@pytest.mark.parametrize("name", STAMPED)
@pytest.mark.parametrize(("skew_s", "taken"), [(3599, True), (-3599, True), (3602, False), (-3602, False)])
def test_C08_a_stamp_an_hour_off_is_the_last_one_that_is_taken(name: str, skew_s: int, taken: bool) -> None:
    events, _ = events_of(name, 1_741_731_610_500 + 1000 * skew_s)
    assert {event.exchange_ns is not None for event in events} == {taken}


@pytest.mark.parametrize("value", [None, ..., -1, "5", True])
def test_D15_open_interest_and_sizes_that_are_none_are_nan_and_a_zero_is_a_zero(value: object) -> None:
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.open()

    def heard(found: object) -> tuple[OptionQuote, VenueMark]:
        data = frame("ticker_inverse_call", open_interest=found, best_bid_amount=found)
        quote, mark = venue.adapter.receive(data, NOW)
        assert isinstance(quote, OptionQuote)
        assert isinstance(mark, VenueMark)
        return quote, mark

    quote, mark = heard(value)
    assert math.isnan(mark.open_interest)
    assert math.isnan(quote.bid_size)
    quote, mark = heard(0)
    assert (quote.bid_size, mark.open_interest) == (0.0, 0.0)
