"""`quote.*`, and which channel options are quoted by."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent, OptionQuote, UnderlyingPrice
from pricer.errors import ConfigError
from tests.adapters.deribit_frames import EXPIRY_NS, NOW, Venue, encoded, fixture, frame, live_venue


def live() -> Venue:
    return live_venue(quotes="quote")


def quote_of(events: list[AnyEvent]) -> OptionQuote:
    (quote,) = events
    assert isinstance(quote, OptionQuote)
    return quote


def test_an_options_quote_has_no_forward_and_no_index() -> None:
    quote = quote_of(live().adapter.receive(frame("quote_option"), NOW))
    assert (quote.instrument, quote.state, quote.exchange_ns) == (
        "BTC-12MAR25-65000-C",
        "open",
        1_741_731_610_450_000_000,
    )
    assert (quote.bid, quote.ask, quote.bid_size, quote.ask_size) == (0.1905, 0.2455, 1.0, 1.5)
    assert math.isnan(quote.forward)
    assert math.isnan(quote.index)
    assert quote.forward_index == ""


def test_its_state_is_what_the_venue_said_last() -> None:
    venue = live()
    venue.adapter.receive(frame("instrument_state", instrument_name="BTC-12MAR25-65000-C", state="halted"), NOW)
    assert quote_of(venue.adapter.receive(frame("quote_option"), NOW)).state == "halted"


@pytest.mark.parametrize("empty", [None, 0, 0.0])
def test_an_empty_side_is_nan(empty: object) -> None:
    quote = quote_of(live().adapter.receive(frame("quote_option", best_bid_price=empty, best_bid_amount=0.0), NOW))
    assert math.isnan(quote.bid)
    assert (quote.bid_size, quote.ask) == (0.0, 0.2455)


def test_a_perpetuals_quote_is_an_underlying_price_at_its_mid() -> None:
    (price,) = live().adapter.receive(frame("quote_perpetual"), NOW)
    assert isinstance(price, UnderlyingPrice)
    assert (price.kind, price.price_index, price.instrument) == ("perpetual", "btc_usd", "BTC-PERPETUAL")
    assert (price.price, price.bid, price.ask) == (83151.5, 83151.0, 83152.0)
    assert price.expiry_ns is None


def test_a_futures_quote_has_its_expiry_and_no_mid_of_one_side() -> None:
    message = fixture("quote_perpetual")
    message["params"]["channel"] = "quote.BTC-12MAR25"
    message["params"]["data"] |= {"instrument_name": "BTC-12MAR25", "best_ask_price": None}
    (price,) = live().adapter.receive(encoded(message), NOW)
    assert isinstance(price, UnderlyingPrice)
    assert (price.kind, price.expiry_ns, price.bid) == ("future", EXPIRY_NS, 83151.0)
    assert math.isnan(price.ask)
    assert math.isnan(price.price)


@pytest.mark.parametrize(
    ("source", "channel"),
    [
        ("ticker", "ticker.BTC-12MAR25-65000-C.100ms"),
        ("quote", "quote.BTC-12MAR25-65000-C"),
        ("incremental", "incremental_ticker.BTC-12MAR25-65000-C"),
    ],
)
def test_options_are_quoted_by_the_channel_that_was_chosen_and_by_no_other(source: Any, channel: str) -> None:
    venue = Venue(Deribit(quotes=source), fixture("instruments_btc")["result"])
    venue.open()
    assert [name for name in venue.subscribed if "65000-C" in name] == [channel]
    assert "ticker.BTC-PERPETUAL.100ms" in venue.subscribed, "which has the funding, too"
    venue.instruments = venue.instruments[1:]
    venue.pass_time(66)
    assert [name for name in venue.subscribed if "65000-C" in name] == []


def test_an_unknown_source_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="quotes: 'books' is none of 'ticker', 'quote', 'incremental'"):
        Deribit(quotes="books")  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["best_bid_price", "best_ask_price", "best_bid_amount", "best_ask_amount"])
@pytest.mark.parametrize("value", [None, ..., "", "0.1905", True, False, -1, [1], {"a": 1}])
def test_P13_a_field_that_is_no_number_is_nan_and_never_zero(field: str, value: Any) -> None:
    adapter = live().adapter
    quote = quote_of(adapter.receive(frame("quote_option", **{field: value}), NOW))
    names = {"best_bid_price": "bid", "best_ask_price": "ask", "best_bid_amount": "bid_size"}
    assert math.isnan(getattr(quote, names.get(field, "ask_size")))
    assert adapter.counters[f"bad_field.{field}"] == (value not in (None, ...))


@pytest.mark.parametrize("data", [None, [], 5, "x"])
def test_P13_data_that_is_no_object_is_counted(data: object) -> None:
    adapter = live().adapter
    message = {**fixture("quote_option"), "params": {"channel": "quote.BTC-12MAR25-65000-C", "data": data}}
    assert adapter.receive(encoded(message), NOW) == []
    assert adapter.counters["bad_quote"] == 1


def test_a_quote_about_another_instrument_is_dropped() -> None:
    adapter = live().adapter
    assert adapter.receive(frame("quote_option", instrument_name="BTC-12MAR25-80000-P"), NOW) == []
    assert adapter.counters["wrong_instrument"] == 1


def test_P12_a_new_field_is_counted_once_a_session() -> None:
    adapter = live().adapter
    for _ in range(3):
        quote_of(adapter.receive(frame("quote_option", starbase=1), NOW))
    assert adapter.counters["unknown_field.quote"] == 1


def test_N03_quotes_after_the_expiry_are_ignored() -> None:
    adapter = live().adapter
    assert adapter.receive(frame("quote_option"), NOW.plus(EXPIRY_NS - NOW.wall_ns)) == []
    assert adapter.counters["after_expiry"] == 1
