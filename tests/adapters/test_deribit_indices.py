"""The volatility index, what expiries settle at, and a perpetual's interest."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.deribit.delivery import MOST_EXPIRIES, Deliveries
from pricer.adapters.deribit.instruments import settlement_near
from pricer.adapters.events import DeliveryPrice, UnderlyingPrice, VolatilityIndex
from pricer.clock import NS_PER_SECOND
from tests.adapters.deribit_frames import EXPIRY_NS, NOW, Venue, encoded, fixture, frame, live_venue

IN_WINDOW = NOW.plus(EXPIRY_NS - NOW.wall_ns - 900 * NS_PER_SECOND)  # a quarter of an hour before the expiry


def live(**settings: Any) -> Venue:
    return live_venue(**settings)


# The volatility index


def test_the_volatility_index_is_a_fraction() -> None:
    (event,) = live().adapter.receive(frame("volatility_index"), NOW)
    assert event == VolatilityIndex(
        venue="deribit", received=NOW, exchange_ns=1_741_731_610_450_000_000, price_index="btc_usd", volatility=0.6125
    )


@pytest.mark.parametrize("value", [0, -1, None, ..., "61.25", True, {}, []])
def test_P13_a_volatility_that_is_none_is_rejected(value: object) -> None:
    adapter = live().adapter
    assert adapter.receive(frame("volatility_index", volatility=value), NOW) == []
    assert adapter.counters["bad_volatility_index"] == 1


def test_a_venue_without_a_volatility_index_of_ours_costs_a_count_and_no_event() -> None:
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.refused = {"deribit_volatility_index.btc_usd"}
    venue.open()
    assert not [event for event in venue.events if type(event).__name__ == "SubscriptionRejected"]
    assert venue.adapter.counters["rejected"] == 1


@pytest.mark.parametrize(
    ("setting", "channel"),
    [
        ("volatility_index", "deribit_volatility_index.btc_usd"),
        ("delivery", "estimated_expiration_price.btc_usd"),
        ("futures", "instrument.state.future.BTC"),
    ],
)
def test_what_is_not_wanted_is_not_subscribed(setting: str, channel: str) -> None:
    assert channel in live().subscribed
    assert channel not in live(**{setting: False}).subscribed


# Delivery prices


def test_inside_the_settlement_window_the_average_so_far_is_told_with_its_expiry() -> None:
    (event,) = live().adapter.receive(frame("expiration_estimate", seconds=900), IN_WINDOW)
    assert event == DeliveryPrice(
        venue="deribit",
        received=IN_WINDOW,
        price_index="btc_usd",
        price=83138.07,
        estimated=True,
        expiry_ns=EXPIRY_NS,
    )


def test_before_the_window_the_channel_repeats_the_index_which_is_no_delivery_price() -> None:
    adapter = live().adapter
    assert adapter.receive(frame("expiration_price"), NOW) == []
    assert not adapter.counters


@pytest.mark.parametrize("seconds", [None, ..., "900", -5, 1e300, 1800, 864_000])
def test_a_countdown_that_leads_to_no_expiry_leaves_it_open(seconds: Any) -> None:
    (event,) = live().adapter.receive(frame("expiration_estimate", seconds=seconds), IN_WINDOW)
    assert isinstance(event, DeliveryPrice)
    assert (event.expiry_ns, event.price) == (None, 83138.07)


@pytest.mark.parametrize(("field", "value"), [("price", 0), ("price", None), ("price", "1"), ("is_estimated", 1)])
def test_P13_an_estimate_that_is_none_is_rejected(field: str, value: object) -> None:
    adapter = live().adapter
    assert adapter.receive(frame("expiration_estimate", **{field: value}), IN_WINDOW) == []
    assert adapter.counters["bad_expiration_price"] == 1


def test_N02_N03_a_closed_ticker_gives_the_final_price_once_and_no_quote() -> None:
    venue = live()
    late = NOW.plus(EXPIRY_NS - NOW.wall_ns + NS_PER_SECOND)
    venue.adapter.on_time(late)
    (event,) = venue.adapter.receive(frame("ticker_closed"), late)
    assert event == DeliveryPrice(
        venue="deribit",
        received=late,
        exchange_ns=EXPIRY_NS + 48_000_000,
        price_index="btc_usd",
        price=83001.5,
        estimated=False,
        expiry_ns=EXPIRY_NS,
    )
    assert venue.adapter.receive(frame("ticker_closed"), late) == []
    assert venue.adapter.counters["after_expiry"] == 2


@pytest.mark.parametrize("value", [0, None, ..., "83001.5", -1])
def test_a_closed_ticker_without_a_delivery_price_says_nothing(value: object) -> None:
    late = NOW.plus(EXPIRY_NS - NOW.wall_ns)
    assert live().adapter.receive(frame("ticker_closed", delivery_price=value), late) == []


def test_what_was_told_is_remembered_within_bounds() -> None:
    it = Deliveries()
    for day in range(1, 1_000):
        it.final("btc_usd", day, 1.0, None, NOW)
    assert it.is_known("btc_usd", 999)
    assert not it.is_known("btc_usd", 1)
    assert len(it._told) == MOST_EXPIRIES


def test_settlements_are_at_eight() -> None:
    assert settlement_near(EXPIRY_NS) == settlement_near(EXPIRY_NS - 59 * NS_PER_SECOND) == EXPIRY_NS
    assert settlement_near(EXPIRY_NS + 61 * NS_PER_SECOND) is None


# The perpetual


def test_a_perpetuals_interest_is_its_funding() -> None:
    (event,) = live().adapter.receive(frame("perpetual_interest"), NOW)
    assert isinstance(event, UnderlyingPrice)
    assert (event.kind, event.price_index, event.instrument) == ("perpetual", "btc_usd", "BTC-PERPETUAL")
    assert event.funding == -1.2e-05
    assert math.isnan(event.price)


@pytest.mark.parametrize("value", [None, ..., "0.1", True])
def test_P13_an_interest_that_is_none_is_rejected(value: object) -> None:
    adapter = live().adapter
    assert adapter.receive(frame("perpetual_interest", interest=value), NOW) == []
    assert adapter.counters["bad_perpetual"] == 1


@pytest.mark.parametrize("name", ["volatility_index", "expiration_estimate", "perpetual_interest", "price_index"])
def test_P12_a_new_field_is_counted_once_a_session(name: str) -> None:
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.quiet = lambda channel: True
    venue.open()
    kind = fixture(name)["params"]["channel"].partition(".")[0]
    for _ in range(3):
        assert len(venue.adapter.receive(frame(name, starbase=1), NOW)) == 1
    assert venue.adapter.counters[f"unknown_field.{kind}"] == 1


@pytest.mark.parametrize("name", ["volatility_index", "expiration_estimate", "price_index"])
def test_what_is_about_another_index_is_not_ours(name: str) -> None:
    adapter = live().adapter
    message = fixture(name)
    message["params"]["channel"] = message["params"]["channel"].replace("btc_usd", "eth_usd")
    assert adapter.receive(encoded(message), NOW) == []
    assert adapter.counters["unwanted"] == 1
