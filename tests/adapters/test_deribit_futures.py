"""Dated futures and perpetuals: listed, quoted, expired; and contracts that change or whose name is used again."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.events import (
    FeedStatus,
    InstrumentChanged,
    InstrumentExpired,
    InstrumentListed,
    OptionQuote,
    UnderlyingPrice,
)
from pricer.adapters.instruments import TickStep
from tests.adapters.deribit_frames import NOW, Venue, encoded, fixture, frame, texts

JUNE_NS = 1_751_011_200 * 10**9
FUTURE = "BTC-27JUN25"


def live(**settings: Any) -> Venue:
    objects = fixture("instruments_btc")["result"] + fixture("instruments_futures")["result"]
    venue = Venue(Deribit(**settings), objects)
    venue.open()
    return venue


def news(venue: Venue) -> list[Any]:
    kinds = (InstrumentListed, InstrumentChanged, InstrumentExpired)
    return [event for event in venue.events if isinstance(event, kinds)]


def test_futures_are_listed_with_their_terms() -> None:
    venue = live()
    perpetual, future = venue.adapter.instruments["BTC-PERPETUAL"], venue.adapter.instruments[FUTURE]
    assert (perpetual.kind, perpetual.expiry_ns, perpetual.tick_size, perpetual.slice_key) == (
        "perpetual",
        None,
        0.5,
        None,
    )
    assert (future.kind, future.expiry_ns, future.tick_size, future.instance) == ("future", JUNE_NS, 2.5, "234567")
    assert (future.price_index, future.underlying, future.settlement) == ("btc_usd", "BTC", "inverse")
    assert (future.quote_currency, future.settlement_currency, future.contract_size) == ("USD", "BTC", 10.0)
    assert (math.isnan(future.strike), future.cp) == (True, 0)
    assert not venue.adapter.counters


def test_their_tickers_are_subscribed_once_and_are_forwards_of_their_expiries() -> None:
    venue = live()
    assert venue.subscribed.count(f"ticker.{FUTURE}.100ms") == 1
    assert venue.subscribed.count("ticker.BTC-PERPETUAL.100ms") == 1
    (price,) = venue.adapter.receive(frame("ticker_future"), NOW)
    assert isinstance(price, UnderlyingPrice)
    assert (price.kind, price.instrument, price.expiry_ns, price.price_index) == ("future", FUTURE, JUNE_NS, "btc_usd")
    assert (price.price, price.bid, price.ask) == (84402.1, 84400.0, 84405.0)
    assert math.isnan(price.funding)


def test_without_futures_nothing_of_them_is_asked_for() -> None:
    venue = live(futures=False)
    assert FUTURE not in venue.adapter.instruments
    assert {each["params"]["kind"] for each in venue.asked if "get_instruments" in each["method"]} == {"option"}
    assert f"ticker.{FUTURE}.100ms" not in venue.subscribed


def test_a_list_of_options_takes_no_future_away_and_the_reverse() -> None:
    venue = live()
    venue.events.clear()
    venue.pass_time(601)
    assert news(venue) == []
    venue.instruments = venue.instruments[:4]
    venue.pass_time(606)
    (gone,) = news(venue)
    assert gone.instrument == FUTURE
    assert f"ticker.{FUTURE}.100ms" not in venue.subscribed


def test_a_stablecoin_without_futures_is_no_incomplete_list() -> None:
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.open()
    assert not venue.adapter.counters["incomplete_list"]
    assert "live" in [event.state for event in venue.events if isinstance(event, FeedStatus)]


def test_a_future_is_announced_by_its_creation() -> None:
    venue = live()
    message = fixture("instrument_creation")
    message["params"]["channel"] = "instrument.creation.future.BTC"
    message["params"]["data"] = fixture("instruments_futures")["result"][1] | {
        "instrument_name": "BTC-28MAR25",
        "expiration_timestamp": 1_743_148_800_000,
    }
    venue.hear(message)
    assert "ticker.BTC-28MAR25.100ms" in venue.subscribed


def test_N02_a_future_ends_at_its_expiry_and_is_unsubscribed() -> None:
    adapter, late = live().adapter, NOW.plus(JUNE_NS - NOW.wall_ns)
    adapter.receive(frame("heartbeat"), late)
    assert FUTURE in [each.instrument for each in adapter.on_time(late) if isinstance(each, InstrumentExpired)]
    (unsubscribe,) = [each for each in texts(adapter.to_send(late)) if each["method"] == "public/unsubscribe"]
    assert f"ticker.{FUTURE}.100ms" in unsubscribe["params"]["channels"]
    assert adapter.receive(frame("ticker_future"), late) == []
    assert adapter.counters["after_expiry"] == 1


def test_N05_a_state_of_an_option_is_told_and_goes_with_its_quotes() -> None:
    venue = live(quotes="quote")
    for state in ("halted", "settlement", "locked", "inactive", "closed"):
        (changed,) = venue.adapter.receive(
            frame("instrument_state", instrument_name="BTC-12MAR25-65000-C", state=state), NOW
        )
        assert isinstance(changed, InstrumentChanged)
        assert changed.definition.state == state
        (quote,) = venue.adapter.receive(frame("quote_option"), NOW)
        assert isinstance(quote, OptionQuote)
        assert quote.state == state


def test_N06_another_tick_or_expiry_is_a_changed_instrument() -> None:
    venue = live()
    venue.events.clear()
    first, *others = venue.instruments
    venue.instruments = [{**first, "tick_size": 0.0005, "tick_size_steps": []}, *others]
    venue.pass_time(61)
    (changed,) = news(venue)
    assert isinstance(changed, InstrumentChanged)
    assert changed.definition.name == first["instrument_name"]
    assert (changed.definition.tick_size, changed.definition.tick_steps) == (0.0005, ())
    assert venue.subscribed.count(f"ticker.{first['instrument_name']}.100ms") == 1, "and stays as it was"
    venue.instruments[0] |= {"tick_size_steps": [{"above_price": 0.01, "tick_size": 0.001}]}
    venue.pass_time(61)
    assert news(venue)[-1].definition.tick_steps == (TickStep(0.01, 0.001),)


def test_N07_a_name_used_again_is_another_contract() -> None:
    venue = live()
    venue.events.clear()
    first, *others = venue.instruments
    name = first["instrument_name"]
    channel = f"ticker.{name}.100ms"
    venue.asked.clear()
    venue.instruments = [{**first, "instrument_id": 999_999}, *others]
    venue.pass_time(61)
    expired, listed = news(venue)
    assert isinstance(expired, InstrumentExpired)
    assert isinstance(listed, InstrumentListed)
    assert expired.instrument == listed.definition.name == name
    assert listed.definition.instance == "999999"
    calls = [each["method"] for each in venue.asked if channel in str(each["params"])]
    assert calls == ["public/unsubscribe", "public/subscribe"], "nothing of the old contract's stream is kept"


def test_N07_a_list_after_a_name_alone_is_the_same_contract() -> None:
    adapter = Deribit(None)
    listed, *_ = adapter.receive(frame("ticker_inverse_call"), NOW)
    assert isinstance(listed, InstrumentListed)
    assert listed.definition.instance == ""
    (changed, *_) = adapter.receive(encoded(fixture("instruments_btc")), NOW)
    assert isinstance(changed, InstrumentChanged)
    assert changed.definition.instance == "345678"


@pytest.mark.parametrize(
    ("field", "value", "noted"),
    [
        ("expiration_timestamp", 1_751_097_600_000, "name_disagrees"),
        ("expiration_timestamp", 32503708800000, "bad_field.expiration_timestamp"),
        ("instrument_name", "BTC-27JUN25-5", "bad_instrument"),
        ("instrument_name", "BTC-FS-27JUN25_PERP", "bad_instrument"),
        ("tick_size", "2.5", "bad_field.tick_size"),
        ("state", "dreaming", "unknown_state"),
    ],
)
def test_P13_an_odd_object_of_a_future_is_counted(field: str, value: object, noted: str) -> None:
    adapter = Deribit(None)
    message = fixture("instruments_futures")
    message["result"][1][field] = value
    adapter.receive(encoded(message), NOW)
    assert adapter.counters[noted] == 1
    assert "BTC-PERPETUAL" in adapter.instruments


@pytest.mark.parametrize("price", [0, 0.0, -1.0, None, ..., "84402.1", True, {}, []])
def test_D05_a_forward_that_is_no_price_is_nan(price: object) -> None:
    changes = {"mark_price": price, "best_bid_price": price, "best_ask_price": price}
    (event,) = live().adapter.receive(frame("ticker_future", **changes), NOW)
    assert isinstance(event, UnderlyingPrice)
    assert all(math.isnan(each) for each in (event.price, event.bid, event.ask))
