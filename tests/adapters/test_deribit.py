"""Frames in, events out: what Deribit's frames mean, and what the adapter answers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.deribit.adapter import MAX_FRAME_BYTES
from pricer.adapters.deribit.catalog import MAX_INSTRUMENTS
from pricer.adapters.events import (
    AnyEvent,
    FeedStatus,
    InstrumentChanged,
    InstrumentExpired,
    InstrumentListed,
    OptionQuote,
    SubscriptionRejected,
    UnderlyingPrice,
    VenueMark,
)
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import ConfigError
from tests.adapters.deribit_frames import (
    EXPIRY_NS,
    FIXED_CHANNELS,
    NOW,
    Venue,
    encoded,
    fixture,
    frame,
    live_venue,
    options,
    refusal,
    reply,
    texts,
)

S = NS_PER_SECOND


def live(*underlyings: str, instruments: str = "instruments_btc") -> Venue:
    return live_venue(instruments, underlyings=underlyings or ("BTC",))


def received(data: bytes, venue: Venue | None = None) -> list[AnyEvent]:
    it = venue or live()
    return it.adapter.receive(data, NOW)


def quote_and_mark(data: bytes, venue: Venue | None = None) -> tuple[OptionQuote, VenueMark]:
    quote, mark = received(data, venue)
    assert isinstance(quote, OptionQuote)
    assert isinstance(mark, VenueMark)
    return quote, mark


# What frames mean


def test_an_option_ticker_is_a_quote_and_the_venues_mark() -> None:
    quote, mark = quote_and_mark(frame("ticker_inverse_call"))
    assert (quote.venue, quote.instrument, quote.state) == ("deribit", "BTC-12MAR25-65000-C", "open")
    assert quote.received is NOW
    assert quote.exchange_ns == 1_741_731_610_450_000_000
    assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (0.1905, 1.0, 0.2455, 1.5)
    assert (quote.forward, quote.forward_index, quote.index) == (83140.6237, "SYN.BTC-12MAR25", 83140.62)
    assert mark.exchange_ns == quote.exchange_ns
    assert (mark.mark, mark.mark_iv, mark.ask_iv) == (0.2182, 1.5947, 8.6338)
    assert math.isnan(mark.bid_iv), "the venue's 0 is no volatility"
    assert (mark.delta, mark.gamma, mark.vega, mark.theta, mark.rho) == (1.0, 0.0, 0.0002, -0.01591, 0.71727)
    assert mark.open_interest == 0.0


def test_an_empty_side_is_nan_whether_null_or_zero() -> None:
    quote, mark = quote_and_mark(frame("ticker_empty_sides"))
    assert math.isnan(quote.bid)
    assert math.isnan(quote.ask)
    assert (quote.bid_size, quote.ask_size) == (0.0, 0.0)
    assert mark.mark == 0.0
    assert mark.mark_iv == 0.70
    assert math.isnan(mark.ask_iv)


def test_a_linear_option_keeps_its_decimal_strike_and_its_prices() -> None:
    venue = live("DOGE_USDC", instruments="instruments_usdc")
    quote, mark = quote_and_mark(frame("ticker_linear_call"), venue)
    assert quote.instrument == "DOGE_USDC-28MAR25-0d128-C"
    assert (quote.bid, quote.forward, mark.bid_iv) == (0.0372, 0.1631, 0.8809999999999999)
    assert "ticker.SOL_USDC-28MAR25-130-P.100ms" not in venue.subscribed
    assert list(venue.adapter.instruments) == ["DOGE_USDC-28MAR25-0d128-C"]


def test_index_and_perpetual_are_underlying_prices() -> None:
    (index,) = received(frame("price_index"))
    assert index == UnderlyingPrice(
        venue="deribit",
        received=NOW,
        exchange_ns=1_741_731_610_450_000_000,
        kind="index",
        price_index="btc_usd",
        price=83140.62,
    )
    (perpetual,) = received(frame("ticker_perpetual"))
    assert isinstance(perpetual, UnderlyingPrice)
    assert (perpetual.kind, perpetual.price_index, perpetual.instrument) == ("perpetual", "btc_usd", "BTC-PERPETUAL")
    assert (perpetual.price, perpetual.bid, perpetual.ask) == (83151.87, 83151.5, 83152.0)
    assert perpetual.funding == -0.000012
    assert perpetual.expiry_ns is None


def test_a_futures_ticker_is_an_underlying_price_with_its_expiry() -> None:
    message = fixture("ticker_perpetual")
    message["params"]["channel"] = "ticker.BTC-12MAR25.100ms"
    message["params"]["data"]["instrument_name"] = "BTC-12MAR25"
    (future,) = received(encoded(message))
    assert isinstance(future, UnderlyingPrice)
    assert (future.kind, future.expiry_ns) == ("future", EXPIRY_NS)


@pytest.mark.parametrize("state", ["settlement", "halted", "closed", "archivized"])
def test_a_state_other_than_open_is_passed_on(state: str) -> None:
    assert quote_and_mark(frame("ticker_inverse_call", state=state))[0].state == state


def test_instrument_lists_become_definitions_in_order() -> None:
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.open()
    listed = [event.definition.name for event in venue.events if isinstance(event, InstrumentListed)]
    assert listed == ["BTC-12MAR25-65000-C", "BTC-12MAR25-80000-P", "BTC-27JUN25-100000-C"]


def test_a_new_listing_is_announced_and_subscribed() -> None:
    venue = live()
    venue.hear(fixture("instrument_creation"))
    assert [type(event) for event in venue.events] == [InstrumentListed]
    assert "ticker.BTC-27JUN25-90000-P.100ms" in venue.subscribed


def test_a_list_asked_for_again_brings_what_is_new_changed_and_gone() -> None:
    venue = live()
    assert not venue.events
    first, second, third = venue.instruments
    venue.instruments = [first, {**second, "tick_size": 0.001}, options(1)[0]]
    venue.pass_time(66)  # what a list lacks is gone when the next one, 5 s later, lacks it, too
    news = [event for event in venue.events if not isinstance(event, FeedStatus)]
    assert [type(event) for event in news] == [InstrumentChanged, InstrumentListed, InstrumentExpired]
    assert isinstance(news[-1], InstrumentExpired)
    assert news[-1].instrument == third["instrument_name"]
    assert f"ticker.{third['instrument_name']}.100ms" not in venue.subscribed
    assert "ticker.BTC-27JUN25-1000-C.100ms" in venue.subscribed


@pytest.mark.parametrize("broken", [[], [{}], [5, None], [{"instrument_name": "BTC-12MAR25-65000-C"}, "x"]])
def test_an_incomplete_list_takes_nothing_away(broken: list[Any]) -> None:
    venue = live()
    venue.instruments = broken
    venue.pass_time(61)
    assert not [event for event in venue.events if isinstance(event, InstrumentExpired)]
    assert len(venue.adapter.instruments) == 3
    assert venue.adapter.counters["incomplete_list"] == 1


def test_a_known_instrument_with_a_broken_object_stays() -> None:
    venue = live()
    venue.instruments = [{**item, "strike": None, "option_type": 7, "kind": "option"} for item in venue.instruments]
    venue.instruments[0] = {"instrument_name": venue.instruments[0]["instrument_name"], "kind": []}
    venue.pass_time(130)
    assert len(venue.adapter.instruments) == 3


def test_a_state_change_is_a_changed_instrument() -> None:
    venue = live()
    (changed,) = received(frame("instrument_state"), venue)
    assert isinstance(changed, InstrumentChanged)
    assert (changed.definition.name, changed.definition.state) == ("BTC-12MAR25-80000-P", "locked")
    assert received(frame("instrument_state"), venue) == []


def test_a_made_up_flood_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_INSTRUMENTS == 20_000
    monkeypatch.setattr("pricer.adapters.deribit.catalog.MAX_INSTRUMENTS", 100)
    adapter = Deribit(None)
    message = fixture("ticker_inverse_call")
    for strike in range(1, 300):
        message["params"]["channel"] = f"ticker.BTC-12MAR25-{strike}-C.raw"
        message["params"]["data"]["instrument_name"] = f"BTC-12MAR25-{strike}-C"
        adapter.receive(encoded(message), NOW)
    assert len(adapter.instruments) == 100
    assert adapter.counters["too_many_instruments"] == 199


# The session


def test_a_new_connection_asks_for_heartbeat_instruments_and_channels() -> None:
    adapter = Deribit(("BTC", "DOGE_USDC"))
    adapter.opened(NOW)
    messages = texts(adapter.to_send(NOW))
    assert [each["method"] for each in messages] == [
        "public/set_heartbeat",
        "public/get_instruments",
        "public/get_instruments",
        "public/subscribe",
    ]
    assert messages[0]["params"] == {"interval": 10}
    assert [each["params"]["currency"] for each in messages[1:3]] == ["BTC", "USDC"]
    assert {each["params"]["kind"] for each in messages[1:3]} == {"option"}
    assert messages[3]["params"]["channels"][:4] == [
        "deribit_price_index.btc_usd",
        "ticker.BTC-PERPETUAL.100ms",
        "deribit_price_index.doge_usdc",
        "ticker.DOGE_USDC-PERPETUAL.100ms",
    ]
    assert [each["id"] for each in messages] == [1, 2, 3, 4]
    assert adapter.to_send(NOW) == []
    adapter.receive(reply(messages[1]["id"], options(1)), NOW)
    assert [each["method"] for each in texts(adapter.to_send(NOW))] == ["public/subscribe"]
    adapter.receive(reply(messages[2]["id"], []), NOW)
    lists = [each["params"] for each in texts(adapter.to_send(NOW)) if "get_instruments" in each["method"]]
    assert [(each["kind"], each["currency"]) for each in lists] == [("future", "BTC"), ("future", "USDC")]


def test_status_goes_from_open_to_live_to_closed() -> None:
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.open()
    assert [event.state for event in venue.events if isinstance(event, FeedStatus)] == ["open", "live"]
    (closed,) = venue.adapter.closed(NOW, "reset: [Errno 104] Connection reset by peer")
    assert isinstance(closed, FeedStatus)
    assert (closed.state, closed.reason, closed.detail) == ("closed", "reset", "[Errno 104] Connection reset by peer")
    assert venue.adapter.connection == closed.connection == "deribit+BTC"


def test_open_is_told_even_when_the_venue_says_nothing() -> None:
    adapter = Deribit()
    adapter.opened(NOW)
    adapter.to_send(NOW)
    assert adapter.next_deadline() == NOW.mono_ns
    (status,) = adapter.on_time(NOW)
    assert isinstance(status, FeedStatus)
    assert status.state == "open"


def test_many_instruments_are_subscribed_within_the_venues_limits() -> None:
    venue = Venue(Deribit(), options(2000))
    venue.open()
    calls = [each for each in venue.asked if each["method"] == "public/subscribe"]
    assert max(len(each["params"]["channels"]) for each in calls) <= 250
    assert max(len(json.dumps(each)) for each in calls) < 32_000
    assert len(venue.subscribed) == 2000 + len(FIXED_CHANNELS)
    assert len(set(venue.subscribed)) == len(venue.subscribed)


def test_after_a_reconnection_everything_is_subscribed_again_at_once() -> None:
    venue = live()
    before = set(venue.subscribed)
    venue.adapter.closed(NOW, "reset")
    venue.instruments = []
    venue.open()
    assert set(venue.subscribed) == before


def test_P06_test_request_is_answered_at_once() -> None:
    venue = live()
    venue.adapter.receive(frame("test_request"), NOW)
    (answer,) = texts(venue.adapter.to_send(NOW))
    assert (answer["method"], answer["params"]) == ("public/test", {})
    assert received(reply(answer["id"], {"version": "1.2.26"}), venue) == []
    assert not venue.adapter.counters["unknown_id"]


def test_P06_the_answer_does_not_wait_for_credits() -> None:
    venue = Venue(Deribit(), options(5000))
    venue.open()
    venue.adapter.receive(frame("test_request"), venue.now)
    assert "public/test" in [each["method"] for each in texts(venue.adapter.to_send(venue.now))]


def test_silence_longer_than_a_heartbeat_and_a_half_gives_the_connection_up() -> None:
    adapter = Deribit(("BTC",))
    adapter.opened(NOW)
    texts(adapter.to_send(NOW))
    for second in range(10, 60, 10):
        adapter.on_time(NOW.plus(second * S))
        adapter.receive(frame("heartbeat"), NOW.plus(second * S))
    assert adapter.wants_reconnect is None
    adapter.on_time(NOW.plus(65 * S - 1))
    assert adapter.wants_reconnect is None
    deadline = adapter.next_deadline()
    assert deadline is not None
    assert deadline <= NOW.mono_ns + 65 * S
    adapter.on_time(NOW.plus(65 * S))
    assert adapter.wants_reconnect == "heartbeat_lost"
    adapter.closed(NOW.plus(65 * S), "heartbeat_lost")
    assert adapter.wants_reconnect is None


def test_P01_one_refused_instrument_of_500_leaves_the_others_alone() -> None:
    venue = Venue(Deribit(), options(500))
    bad = "BTC-27JUN25-51000-C"
    venue.refused = {f"ticker.{bad}.100ms"}
    venue.open()
    rejected = [event for event in venue.events if isinstance(event, SubscriptionRejected)]
    assert [(each.instrument, each.channel, each.code) for each in rejected] == [
        (bad, f"ticker.{bad}.100ms", "not_accepted")
    ]
    assert len([name for name in venue.subscribed if name.startswith("ticker.BTC-27JUN25")]) == 499
    venue.pass_time(59)
    assert len([each for each in venue.asked if bad in str(each)]) == 1, "not before a minute"
    venue.refused = set()
    venue.pass_time(2)
    assert f"ticker.{bad}.100ms" in venue.subscribed
    assert len([event for event in venue.events if isinstance(event, SubscriptionRejected)]) == 1


def test_P01_an_error_for_a_whole_chunk_finds_its_culprit() -> None:
    venue = Venue(Deribit(), options(500))
    bad = "ticker.BTC-27JUN25-51000-C.100ms"
    adapter, now = venue.adapter, NOW
    adapter.opened(now)
    events: list[AnyEvent] = []
    accepted: set[str] = set()
    for _ in range(300):
        for message in texts(adapter.to_send(now)):
            channels = message["params"].get("channels", [])
            if bad in channels:
                events += adapter.receive(refusal(message["id"], -32602), now)
                continue
            accepted.update(channels)
            listed = venue.instruments if "get_instruments" in message["method"] else channels or "ok"
            events += adapter.receive(reply(message["id"], listed), now)
        now = now.plus(S // 10)
        adapter.on_time(now)
    rejected = [event for event in events if isinstance(event, SubscriptionRejected)]
    assert [(each.channel, each.code) for each in rejected] == [(bad, "-32602")]
    assert len(accepted) == 499 + len(FIXED_CHANNELS)


def test_an_error_for_all_channels_is_not_chased_through_halves() -> None:
    adapter = Deribit(interval="raw")
    adapter.opened(NOW)
    asked = [each for each in texts(adapter.to_send(NOW)) if each["method"] == "public/subscribe"]
    events = adapter.receive(refusal(asked[0]["id"], 13778), NOW)
    assert {event.code for event in events if isinstance(event, SubscriptionRejected)} == {"13778"}
    assert not [each for each in texts(adapter.to_send(NOW)) if each["method"] == "public/subscribe"]


def test_a_rate_limit_pauses_and_never_reconnects() -> None:
    adapter = Deribit()
    adapter.opened(NOW)
    sent = texts(adapter.to_send(NOW))
    for message in sent:
        adapter.receive(refusal(message["id"], 10028), NOW)
    assert adapter.wants_reconnect is None
    assert adapter.counters["error.too_many_requests"] == len(sent) == 3
    assert adapter.to_send(NOW) == []
    later = NOW.plus(2 * S)
    adapter.on_time(later)
    assert sorted(each["method"] for each in texts(adapter.to_send(later))) == [
        "public/get_instruments",
        "public/subscribe",
    ]


def test_an_oversize_frames_error_without_an_id_leads_to_smaller_frames() -> None:
    adapter = Deribit()
    adapter.opened(NOW)
    (first,) = [each for each in texts(adapter.to_send(NOW)) if each["method"] == "public/subscribe"]
    assert adapter.receive(encoded(fixture("error_too_large")), NOW)[1:] == []
    later = NOW.plus(10 * S)
    adapter.on_time(later)
    sent = [each for each in texts(adapter.to_send(later)) if "subscribe" in each["method"]]
    again = [each["params"]["channels"] for each in sent if each["method"] == "public/subscribe"]
    assert [len(channels) for channels in again] == [5, 5]
    assert [channel for channels in again for channel in channels] == first["params"]["channels"]
    # The venue may have subscribed them, and only the reply was lost.
    before = [each["params"]["channels"] for each in sent if each["method"] == "public/unsubscribe"]
    assert before == again


def test_an_unanswered_list_is_asked_for_again_with_growing_pauses() -> None:
    adapter = Deribit(futures=False)
    adapter.opened(NOW)
    asked = []
    for second in range(200):
        now = NOW.plus(second * S)
        adapter.on_time(now)
        asked += [second for each in texts(adapter.to_send(now)) if each["method"] == "public/get_instruments"]
        adapter.receive(frame("heartbeat"), now)
    assert asked[:5] == [0, 12, 26, 44, 70]


def test_lists_keep_to_the_stricter_of_the_documented_rates() -> None:
    venue = Venue(Deribit(list_refresh_s=1.0), [])
    venue.open()
    venue.pass_time(300)
    lists = [each for each in venue.asked if each["method"] == "public/get_instruments"]
    assert 5 + 29 <= len(lists) <= 5 + 31


def test_the_wrong_environment_is_refused_with_its_reason() -> None:
    venue = live()
    assert received(reply(99, "ok", testnet=True), venue) == []
    assert venue.adapter.wants_reconnect == "testnet_mismatch"
    assert received(frame("ticker_inverse_call"), venue) == [], "not one number of it"
    other = Deribit(testnet=True)
    assert other.url.startswith("wss://test.")
    other.opened(NOW)
    other.receive(reply(1, "ok", testnet=True), NOW)
    assert other.wants_reconnect is None


# Life and death of an instrument


def at(wall_ns: int) -> Instant:
    return NOW.plus(wall_ns - NOW.wall_ns)


def shortly_before_expiry() -> Venue:
    venue = Venue(Deribit(), fixture("instruments_btc")["result"], at(EXPIRY_NS - 30 * S))
    venue.open()
    venue.events.clear()
    return venue


def test_N02_instruments_end_by_our_own_clock_and_are_unsubscribed() -> None:
    venue = shortly_before_expiry()
    venue.instruments = venue.instruments[2:]
    venue.pass_time(30)
    expired = [event for event in venue.events if isinstance(event, InstrumentExpired)]
    assert [each.instrument for each in expired] == ["BTC-12MAR25-65000-C", "BTC-12MAR25-80000-P"]


def test_N02_at_the_expiry_and_not_before() -> None:
    adapter = live().adapter
    adapter.receive(frame("heartbeat"), at(EXPIRY_NS - 1))
    assert not [event for event in adapter.on_time(at(EXPIRY_NS - 1)) if isinstance(event, InstrumentExpired)]
    expired = [event for event in adapter.on_time(at(EXPIRY_NS)) if isinstance(event, InstrumentExpired)]
    assert len(expired) == 2
    sent = texts(adapter.to_send(at(EXPIRY_NS)))
    (unsubscribe,) = [each for each in sent if each["method"] == "public/unsubscribe"]
    assert sorted(unsubscribe["params"]["channels"]) == [
        "ticker.BTC-12MAR25-65000-C.100ms",
        "ticker.BTC-12MAR25-80000-P.100ms",
    ]


def test_N02_the_deadline_is_the_expiry_when_nothing_is_nearer() -> None:
    adapter = live().adapter
    adapter.closed(NOW, "reset")
    assert adapter.next_deadline() == NOW.mono_ns + EXPIRY_NS - NOW.wall_ns


def test_N02_a_year_of_expiries_leaves_nothing_behind() -> None:
    venue = Venue(Deribit(), options(5))
    venue.open()
    venue.pass_time(3_600)
    size = len(venue.adapter._catalog._listing._expiries)
    assert size == 5
    venue.instruments = []
    venue.now = at(1_751_011_200 * S)
    venue.pass_time(1)
    assert venue.adapter.instruments == {}
    assert venue.adapter._catalog._listing._expiries == []
    assert not [name for name in venue.adapter._session._state if "27JUN25" in name]


def test_N03_data_after_expiry_is_ignored_even_before_the_timer_ran() -> None:
    venue = live()
    adapter = venue.adapter
    late = at(EXPIRY_NS)
    assert adapter.receive(frame("ticker_inverse_call"), late) == []
    adapter.on_time(late)
    assert adapter.receive(frame("ticker_inverse_call"), late) == []
    assert adapter.counters["after_expiry"] == 2


def test_N03_a_list_that_still_names_it_does_not_bring_it_back() -> None:
    venue = shortly_before_expiry()
    venue.pass_time(150)
    assert list(venue.adapter.instruments) == ["BTC-27JUN25-100000-C"]
    assert not [event for event in venue.events if isinstance(event, InstrumentListed)]


def test_N04_after_a_reconnection_the_expired_are_not_subscribed() -> None:
    venue = live()
    venue.adapter.closed(NOW, "reset")
    venue.now = at(EXPIRY_NS + 5 * S)
    venue.open()
    assert [name for name in venue.subscribed if "12MAR25" in name] == []
    assert [event.instrument for event in venue.events if isinstance(event, InstrumentExpired)] == [
        "BTC-12MAR25-65000-C",
        "BTC-12MAR25-80000-P",
    ]


# Strange and hostile input


@pytest.mark.parametrize("stamp", [0, None, ..., -5, "1741731610450", True, 1e15, [], 1741731610])
def test_C12_a_stamp_that_cannot_be_true_is_none(stamp: object) -> None:
    venue = live()
    quote, mark = quote_and_mark(frame("ticker_inverse_call", timestamp=stamp), venue)
    assert quote.exchange_ns is None
    assert mark.exchange_ns is None
    assert quote.bid == 0.1905
    assert venue.adapter.counters["bad_time"] == 1


@pytest.mark.parametrize(("skew_s", "taken"), [(3599, True), (-3599, True), (3602, False), (-3602, False)])
def test_C12_a_stamp_more_than_an_hour_off_is_none(skew_s: int, taken: bool) -> None:
    quote, _ = quote_and_mark(frame("ticker_inverse_call", timestamp=1_741_731_610_500 + 1000 * skew_s))
    assert (quote.exchange_ns is not None) is taken


def test_C12_scientific_notation_is_a_stamp() -> None:
    quote, _ = quote_and_mark(frame("ticker_inverse_call", timestamp=1.74173161045e12))
    assert quote.exchange_ns == 1_741_731_610_450_000_000


@pytest.mark.parametrize("price", [0, 0.0, -1.0, None, ..., "83140.62", True, {}, []])
def test_D05_an_underlying_price_that_is_none_is_nan(price: object) -> None:
    quote, mark = quote_and_mark(frame("ticker_inverse_call", underlying_price=price, index_price=price))
    assert math.isnan(quote.forward)
    assert math.isnan(quote.index)
    assert (quote.bid, mark.mark) == (0.1905, 0.2182), "the rest of the message stands"


@pytest.mark.parametrize("price", [0, 0.0, -1.0, None, ..., "83140.62", True, {}, []])
def test_D05_an_index_that_is_no_price_is_rejected(price: object) -> None:
    venue = live()
    assert received(frame("price_index", price=price), venue) == []
    assert venue.adapter.counters["bad_index_price"] == 1


NUMBERS = {
    "best_bid_price": "bid",
    "best_ask_price": "ask",
    "best_bid_amount": "bid_size",
    "best_ask_amount": "ask_size",
    "mark_price": "mark",
    "mark_iv": "mark_iv",
    "ask_iv": "ask_iv",
    "open_interest": "open_interest",
}


@pytest.mark.parametrize("field", NUMBERS)
@pytest.mark.parametrize("value", [None, ..., "", "0.1905", True, False, -1, [1], {"a": 1}])
def test_P13_a_field_that_is_no_number_is_nan_and_never_zero(field: str, value: object) -> None:
    venue = live()
    quote, mark = quote_and_mark(frame("ticker_inverse_call", **{field: value}), venue)
    found = getattr(quote, NUMBERS[field], None)
    assert math.isnan(getattr(mark, NUMBERS[field]) if found is None else found)
    assert quote.forward == 83140.6237
    if value is not None and value is not ...:
        assert venue.adapter.counters[f"bad_field.{field}"] == 1


@pytest.mark.parametrize("value", [b"1e400", b"-1e400", b"1" + b"0" * 400])
def test_P13_a_number_too_large_for_a_double_is_no_value(value: bytes) -> None:
    venue = live()
    quote, _ = quote_and_mark(frame("ticker_inverse_call").replace(b"0.1905", value), venue)
    assert math.isnan(quote.bid)
    assert quote.ask == 0.2455


@pytest.mark.parametrize("greeks", [None, ..., [], 5, {"delta": "1"}, {"delta": True}, {}])
def test_P13_greeks_that_are_none_are_nan(greeks: object) -> None:
    _, mark = quote_and_mark(frame("ticker_inverse_call", greeks=greeks))
    assert math.isnan(mark.delta)
    assert math.isnan(mark.rho)


HOSTILE = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"5",
    b'"text"',
    b"\xff\xfe\x00",
    b'{"method":5}',
    b'{"method":"subscription"}',
    b'{"method":"subscription","params":[]}',
    b'{"method":"subscription","params":{"channel":7}}',
    b'{"method":"subscription","params":{"channel":"ticker.BTC-12MAR25-65000-C.100ms"}}',
    b'{"method":"subscription","params":{"channel":"ticker.BTC-12MAR25-65000-C.100ms","data":[1]}}',
    b'{"method":"subscription","params":{"channel":"ticker.","data":{}}}',
    b'{"method":"subscription","params":{"channel":"deribit_price_index.","data":{}}}',
    b'{"method":"subscription","params":{"channel":"deribit_price_index.btc_usd","data":null}}',
    b'{"method":"subscription","params":{"channel":"instrument.state.option.BTC","data":{"state":5}}}',
    b'{"method":"subscription","params":{"channel":"instrument.creation.option.BTC","data":[]}}',
    b'{"method":"heartbeat","params":{"type":"other"}}',
    b'{"id":1e400,"result":[]}',
    b'{"id":123456789,"result":[{"instrument_name":[]},1,null]}',
    b'{"id":123456789,"result":"ok"}',
    b'{"id":null,"error":{"code":"text"}}',
    b'{"id":true,"result":{}}',
    b"[" * 200_000 + b"]" * 200_000,
    b'{"method":"subscription","params":{"channel":"ticker.X.Y","data":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
]


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data[:60]))
def test_P13_hostile_frames_disturb_nothing(data: bytes) -> None:
    venue = live()
    adapter = venue.adapter
    before = sum(adapter.counters.values())
    assert received(data, venue) == []
    assert sum(adapter.counters.values()) > before, "counted"
    assert adapter.wants_reconnect is None
    assert len(received(frame("ticker_inverse_call"), venue)) == 2


def test_P13_an_oversize_frame_is_dropped_unread() -> None:
    venue = live()
    assert received(b" " * (MAX_FRAME_BYTES + 1), venue) == []
    assert venue.adapter.counters["oversize"] == 1


def test_P13_text_with_lone_surrogates_is_dropped() -> None:
    venue = live()
    assert venue.adapter.receive('{"method":"\ud800"}', NOW) == []
    assert venue.adapter.counters["bad_frame"] == 1


def test_P13_of_duplicate_keys_the_last_counts() -> None:
    data = frame("ticker_inverse_call").replace(b'"best_bid_price":0.1905', b'"best_bid_price":9,"best_bid_price":0.19')
    assert quote_and_mark(data)[0].bid == 0.19


def test_P13_a_ticker_about_another_instrument_is_dropped() -> None:
    venue = live()
    assert received(frame("ticker_inverse_call", instrument_name="BTC-12MAR25-80000-P"), venue) == []
    assert venue.adapter.counters["wrong_instrument"] == 1


def test_P12_unknown_methods_channels_fields_and_states_are_counted_by_kind() -> None:
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.quiet = lambda channel: True
    venue.open()
    adapter = venue.adapter
    for number in range(50):
        adapter.receive(encoded({"method": f"new_method_{number}", "params": {}}), NOW)
        adapter.receive(encoded({"method": "subscription", "params": {"channel": f"news.{number}", "data": {}}}), NOW)
        quote, _ = quote_and_mark(frame("ticker_inverse_call", state=f"new_{number}", starbase=number), venue)
        assert quote.state == "unknown"
    assert adapter.counters == {
        "unknown_method": 50,
        "unknown_channel": 50,
        "unknown_state": 50,
        "unknown_field.ticker": 1,
    }
    assert adapter.wants_reconnect is None


@pytest.mark.parametrize(
    "channel",
    ["ticker.ETH-12MAR25-2000-C.100ms", "ticker.BTC-CS-19MAY26-70000_75000.raw", "deribit_price_index.eth_usd"],
)
def test_what_was_not_asked_for_is_counted_and_dropped(channel: str) -> None:
    venue = live()
    message = fixture("ticker_inverse_call")
    message["params"]["channel"] = channel
    assert received(encoded(message), venue) == []
    assert venue.adapter.counters["unwanted"] == 1


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"underlyings": ("btc",)}, "underlyings"),
        ({"underlyings": ("BTC-PERPETUAL",)}, "underlyings"),
        ({"interval": "1s"}, "interval"),
        ({"heartbeat_s": 5}, "heartbeat_s"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        Deribit(**settings)
