"""Faults of the session, injected into Deribit's adapter on virtual time."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.deribit.limits import new_budget, rule_of
from pricer.adapters.events import (
    AnyEvent,
    ChannelAlarm,
    FeedStatus,
    InstrumentExpired,
    InstrumentListed,
    OptionQuote,
    SubscriptionRejected,
)
from pricer.adapters.liveness import Cadence, OnChange
from pricer.adapters.planner import Share
from pricer.adapters.window import Window
from pricer.clock import NS_PER_SECOND, Instant
from tests.adapters.deribit_frames import (
    FIXED_CHANNELS,
    NOW,
    Venue,
    encoded,
    fixture,
    frame,
    options,
    refusal,
    reply,
    streamed,
    texts,
)

S = NS_PER_SECOND
INDEX = "deribit_price_index.btc_usd"


def opened(count: int = 20, **settings: Any) -> Venue:
    """An adapter and a venue that has answered everything."""
    venue = Venue(Deribit(**settings), options(count))
    venue.open()
    return venue


def alarms(venue: Venue) -> list[ChannelAlarm]:
    return [event for event in venue.events if isinstance(event, ChannelAlarm)]


def subscriptions(venue: Venue) -> list[dict[str, Any]]:
    return [each for each in venue.asked if each["method"] == "public/subscribe"]


def ticker(name: str) -> str:
    return f"ticker.{name}.100ms"


# Silence


def test_P02_a_confirmed_channel_that_never_brings_data_is_an_alarm_within_ten_seconds() -> None:
    dead = ticker("BTC-27JUN25-1500-C")
    venue = Venue(Deribit(), options(20))
    venue.quiet = lambda channel: channel == dead
    venue.open()
    assert [event.state for event in venue.events if isinstance(event, FeedStatus)] == ["open", "live"]
    venue.pass_time(9.99)
    assert not alarms(venue)
    venue.pass_time(0.02)
    (alarm,) = alarms(venue)
    assert (alarm.kind, alarm.channel, alarm.instrument) == ("first_message", dead, "BTC-27JUN25-1500-C")
    assert alarm.connection == venue.adapter.connection == "deribit+BTC", "it names where"
    assert alarm.received.mono_ns == NOW.mono_ns + 10 * S
    assert venue.adapter.silent_channels == [dead], "it does not count as live"
    venue.pass_time(1200)
    assert venue.adapter.wants_reconnect is None
    assert len(alarms(venue)) == 1
    venue.quiet = lambda channel: False
    venue.pass_time(1300)
    assert venue.adapter.silent_channels == []


def test_T06_a_venue_that_stops_pushing_is_asked_again_then_left() -> None:
    venue = opened(100)
    venue.pass_time(20)
    venue.asked.clear()
    silent_ns = venue.now.mono_ns
    venue.quiet = lambda channel: True  # heartbeats go on
    venue.pass_time(30)
    first = alarms(venue)[0]
    assert (first.channel, first.kind) == (INDEX, "silent")
    assert first.received.mono_ns <= silent_ns + 3 * S
    again = [each for each in venue.asked if "subscribe" in each["method"]]
    assert [(each["method"], each["params"]["channels"]) for each in again[:2]] == [
        ("public/unsubscribe", [INDEX]),
        ("public/subscribe", [INDEX]),
    ]
    tickers = [each for each in alarms(venue) if each.channel != INDEX]
    assert {each.received.mono_ns for each in tickers} == {silent_ns + 6 * S}, "11 s after the last of them"
    assert venue.adapter.wants_reconnect == "silent"
    venue.adapter.closed(venue.now, "silent")
    venue.open()
    venue.pass_time(60)
    assert venue.adapter.wants_reconnect == "zombie", "another address may be better"


def test_T06_a_few_silent_tickers_do_not_cost_the_connection() -> None:
    venue = opened(100)
    venue.pass_time(20)
    venue.asked.clear()
    dead = {ticker(f"BTC-27JUN25-{strike}-C") for strike in (1000, 5000)}
    venue.quiet = lambda channel: channel in dead
    venue.pass_time(600)
    assert {each.channel for each in alarms(venue)} == dead
    assert {name for each in subscriptions(venue) for name in each["params"]["channels"]} == dead
    assert venue.adapter.wants_reconnect is None


def test_P05_a_quiet_chain_causes_no_reconnection_in_two_hours() -> None:
    """No news of any instrument: every ticker comes again by the clock alone, and no lifecycle channel speaks."""
    venue = opened(3)
    venue.pass_time(7200)
    assert venue.adapter.wants_reconnect is None
    assert not alarms(venue)
    assert len(subscriptions(venue)) == 2


def test_P05_which_channels_keep_a_rhythm() -> None:
    assert rule_of(ticker("BTC-PERPETUAL")) == Cadence(5 * S)
    assert rule_of(INDEX) == Cadence(S, vital=True)
    for channel in ("book.BTC-PERPETUAL.100ms", "quote.BTC-PERPETUAL"):
        assert rule_of(channel).probed is True  # type: ignore[union-attr]
    for channel in ("trades.option.BTC.100ms", "instrument.state.option.BTC", "platform_state"):
        assert rule_of(channel) == OnChange()


def with_quote_channel() -> Venue:
    venue = Venue(Deribit(), options(3))
    venue.adapter._session.want(["quote.BTC-27JUN25-1000-C"])
    venue.open()
    return venue


def test_P05_channels_that_speak_only_of_news_are_vouched_for_by_a_probe() -> None:
    venue = with_quote_channel()
    venue.pass_time(7200)
    probes = [each for each in venue.asked if each["method"] == "public/get_order_book"]
    assert len(probes) == 120
    assert probes[0]["params"] == {"instrument_name": "BTC-27JUN25-1000-C", "depth": 1}
    assert venue.adapter.wants_reconnect is None


def test_P05_two_probes_without_an_answer_end_the_connection() -> None:
    venue = with_quote_channel()
    venue.unanswered = {"public/get_order_book"}
    venue.pass_time(69.9)
    assert venue.adapter.wants_reconnect is None
    venue.pass_time(11)
    assert venue.adapter.wants_reconnect == "silent"


# Subscriptions


def test_P03_a_lost_acknowledgement_costs_no_second_subscription() -> None:
    venue = Venue(Deribit(), options(600))
    lost = {2, 4}
    count: dict[str, int] = {}
    most = 0
    silent: set[str] = set()
    adapter, now = venue.adapter, NOW
    adapter.opened(now)
    for step in range(400):
        replies = []
        for number, message in enumerate(texts(adapter.to_send(now))):
            names = message["params"].get("channels", [])
            change = {"public/subscribe": 1, "public/unsubscribe": -1}.get(message["method"], 0)
            for name in names:
                count[name] = max(0, count.get(name, 0) + change)
                most = max(most, count[name])
            if step < 5 and names and number in lost:
                silent.update(names)  # the reply is lost, and no data shows that it was done
                continue
            result = venue.instruments if "get_instruments" in message["method"] else names or "ok"
            replies.append(reply(message["id"], result))
        for answer in reversed(replies):  # out of order
            adapter.receive(answer, now)
        for name in [name for name, times in count.items() if times]:
            data = streamed(name, now)
            if data is not None and step % 40 == 39 and not (step < 100 and name in silent):
                adapter.receive(data, now)
        adapter.receive(frame("heartbeat"), now)
        now = now.plus(S // 10)
        adapter.on_time(now)
    assert most == 1
    assert len([name for name, times in count.items() if times == 1 and name.startswith("ticker.BTC-27")]) == 600
    assert adapter.wants_reconnect is None


def test_P04_after_a_reconnection_the_venue_has_the_desired_set_and_nothing_else() -> None:
    venue = opened(10)
    kept = venue.instruments[3:]
    venue.instruments = kept
    venue.pass_time(66)
    venue.adapter.closed(venue.now, "reset")
    venue.asked.clear()
    venue.open()
    wanted = {ticker(each["instrument_name"]) for each in kept}
    assert {name for name in venue.subscribed if "27JUN25" in name} == wanted
    assert not [each for each in venue.asked if each["method"] == "public/unsubscribe"]
    assert len(venue.subscribed) == len(set(venue.subscribed)) == 7 + len(FIXED_CHANNELS)


@pytest.mark.parametrize("connections", [1, 4])
def test_P07_a_thousand_instruments_within_the_published_budget(connections: int) -> None:
    """The venue keeps its own accounts, over all connections, and answers 10028 beyond them."""
    budget = new_budget()
    adapters = [Deribit(budget=budget, share=Share(part, connections), limits=None) for part in range(connections)]
    pool, refused, calls, now = 30_000.0, 0, 0, NOW
    # Another client of the same key has just spent everything, and ours does not know.
    pool = 0.0
    listing = options(1000)
    answered: set[str] = set()
    for adapter in adapters:
        adapter.opened(now)
    while not all(f"live{number}" in answered for number in range(connections)):
        for number, adapter in enumerate(adapters):
            events: list[AnyEvent] = adapter.on_time(now)
            for message in texts(adapter.to_send(now)):
                names = message["params"].get("channels")
                if names is not None:
                    calls += 1
                    if pool < 3_000:
                        refused += 1
                        events += adapter.receive(refusal(message["id"], 10028), now)
                        continue
                    pool -= 3_000
                    answered.update(names)
                result = listing if "get_instruments" in message["method"] else names or "ok"
                events += adapter.receive(reply(message["id"], result), now)
            if any(isinstance(event, FeedStatus) and event.state == "live" for event in events):
                answered.add(f"live{number}")
            assert adapter.wants_reconnect is None, "never leaves in order to try again"
        now = now.plus(S // 20)
        pool = min(30_000.0, pool + 500.0)
        assert now.mono_ns < NOW.mono_ns + 60 * S
    assert len([name for name in answered if "27JUN25" in name]) == 1000
    assert refused <= connections
    # What the calls cost from an empty pool, one call's worth kept in it, and the pauses that refusals ask for.
    needed_s = (calls + 1) * 3_000 / 10_000 + 2.0
    assert (now.mono_ns - NOW.mono_ns) / S <= 1.1 * needed_s


def test_P07_the_budget_is_shared_and_never_overdrawn() -> None:
    budget, spent, now = new_budget(), 0, NOW
    adapters = [Deribit(budget=budget, share=Share(part, 5)) for part in range(5)]
    listing = options(1000)
    for adapter in adapters:
        adapter.opened(now)
    for _ in range(200):
        for adapter in adapters:
            adapter.on_time(now)
            for message in texts(adapter.to_send(now)):
                names = message["params"].get("channels")
                spent += 3_000 * (names is not None)
                result = listing if "get_instruments" in message["method"] else names or "ok"
                adapter.receive(reply(message["id"], result), now)
        assert spent <= 30_000 + 10_000 * (now.mono_ns - NOW.mono_ns) / S + 1
        now = now.plus(S // 20)
    carried = [set(adapter.instruments) for adapter in adapters]
    assert sum(map(len, carried)) == len(set().union(*carried)) == 1000


def test_a_share_says_what_is_lost_with_it() -> None:
    venue = opened(100, share=Share(1, 3))
    (closed,) = venue.adapter.closed(NOW, "reset")
    assert isinstance(closed, FeedStatus)
    assert closed.connection == "deribit+BTC+2/3"
    assert closed.lost == tuple(venue.adapter.instruments)
    assert 20 < len(closed.lost) < 50
    (closed,) = opened(5).adapter.closed(NOW, "reset")
    assert isinstance(closed, FeedStatus)
    assert closed.lost is None


def test_T13_after_a_drop_prices_come_first_then_positions_then_the_nearest_strikes() -> None:
    venue = opened(400)
    # 83 140.62 is the index: the strikes go from 1 000 to 200 500.
    venue.adapter.hold(["BTC-27JUN25-190000-C"], venue.now)
    venue.adapter.closed(venue.now, "reset")
    venue.asked.clear()
    venue.open()
    order = [name for each in subscriptions(venue) for name in each["params"]["channels"]]
    assert order[:2] == [INDEX, "ticker.BTC-PERPETUAL.100ms"]
    assert set(order[2:11]) == {*FIXED_CHANNELS[2:], ticker("BTC-27JUN25-190000-C")}
    assert order[11:14] == [ticker(f"BTC-27JUN25-{strike}-C") for strike in (83000, 83500, 82500)]
    assert order[-1] == ticker("BTC-27JUN25-1000-C")


# Lists


class CutShort(Venue):
    """Every other instrument list is well-formed and holds half of it."""

    rng = random.Random(6)
    lists = 0

    def _result(self, message: dict[str, Any]) -> Any:
        result = super()._result(message)
        if message["params"].get("kind") == "option":
            self.lists += 1
            return result if self.lists % 2 else self.rng.sample(result, len(result) // 2)
        return result


def test_P16_a_list_cut_short_takes_nothing_away() -> None:
    venue = CutShort(Deribit(), options(50))
    venue.open()
    venue.events.clear()
    venue.pass_time(1200)
    assert venue.lists == 1 + 2 * 18, "each is asked for once more"
    news = [event for event in venue.events if isinstance(event, InstrumentListed | InstrumentExpired)]
    assert news == [], "nobody flaps"
    assert len([name for name in venue.subscribed if "27JUN25" in name]) == 50


def test_P16_what_two_lists_running_lack_is_gone() -> None:
    venue = opened(50)
    venue.instruments = venue.instruments[1:]
    venue.pass_time(62)
    assert len(venue.adapter.instruments) == 50
    venue.pass_time(4)
    assert len(venue.adapter.instruments) == 49


def test_P16_a_slow_list_drawn_up_before_a_listing_does_not_undo_it() -> None:
    venue = opened(3)
    venue.events.clear()
    venue.pass_time(50)
    venue.hear(fixture("instrument_creation"))
    venue.pass_time(14)  # the old list comes at 60 s
    new = fixture("instrument_creation")["params"]["data"]
    venue.instruments = [*venue.instruments, new]
    venue.pass_time(120)
    news = [event for event in venue.events if isinstance(event, InstrumentListed | InstrumentExpired)]
    assert [type(event) for event in news] == [InstrumentListed]


def test_P16_until_a_list_has_come_the_last_one_holds() -> None:
    venue = opened(30)
    venue.adapter.closed(venue.now, "reset")
    venue.unanswered = {"public/get_instruments"}
    venue.open()
    venue.pass_time(100)
    assert len(venue.adapter.instruments) == 30
    assert len([name for name in venue.subscribed if "27JUN25" in name]) == 30
    assert [event.state for event in venue.events if isinstance(event, FeedStatus)][-1] == "open", "not live yet"


# Instruments


def test_P17_one_symbol_in_two_families_is_two_instruments() -> None:
    linear = {
        **options(1)[0],
        "instrument_name": "BTC_USDC-27JUN25-1000-C",
        "instrument_type": "linear",
        "quote_currency": "USDC",
        "counter_currency": "USDC",
        "settlement_currency": "USDC",
        "price_index": "btc_usdc",
    }
    venue = Venue(Deribit(("BTC", "BTC_USDC")), [*options(1), linear])
    venue.open()
    inverse, other = venue.adapter.instruments.values()
    assert (inverse.strike, inverse.expiry_ns, inverse.cp) == (other.strike, other.expiry_ns, other.cp)
    assert inverse.slice_key != other.slice_key
    assert (inverse.settlement, other.settlement) == ("inverse", "linear")
    for definition in (inverse, other):
        data = streamed(ticker(definition.name), NOW)
        assert data is not None
        quote = venue.adapter.receive(data, NOW)[0]
        assert isinstance(quote, OptionQuote)
        assert (quote.venue, quote.instrument) == ("deribit", definition.name)


def test_N01_a_new_strike_is_priced_within_five_seconds_of_the_venues_news() -> None:
    venue = opened(3)
    venue.pass_time(100)
    venue.events.clear()
    news_ns = venue.now.mono_ns
    venue.hear(fixture("instrument_creation"))
    name = "BTC-27JUN25-90000-P"
    assert ticker(name) in venue.subscribed
    assert [event.definition.name for event in venue.events if isinstance(event, InstrumentListed)] == [name]
    data = streamed(ticker(name), venue.now)
    assert data is not None
    assert isinstance(venue.adapter.receive(data, venue.now)[0], OptionQuote)
    assert venue.now.mono_ns - news_ns <= 5 * S
    assert venue.adapter.wants_reconnect is None


def index_at(venue: Venue, price: float) -> None:
    message = fixture("price_index")
    message["params"]["data"] |= {"price": price, "timestamp": venue.now.wall_ns // 10**6}
    venue.hear(message)


def strikes(venue: Venue) -> list[int]:
    return sorted(int(name.split("-")[2]) for name in venue.subscribed if "27JUN25" in name)


def test_N01_the_window_rolls_with_hysteresis_and_without_a_restart() -> None:
    venue = Venue(Deribit(window=Window(strikes=4)), options(400))
    venue.quiet = lambda channel: True
    venue.open()
    assert strikes(venue) == []
    assert "live" not in [event.state for event in venue.events if isinstance(event, FeedStatus)]
    index_at(venue, 83_140.0)
    assert strikes(venue) == [81500, 82000, 82500, 83000, 83500, 84000, 84500, 85000]
    assert [event.state for event in venue.events if isinstance(event, FeedStatus)][-1] == "live"
    listed = [event.definition.strike for event in venue.events if isinstance(event, InstrumentListed)]
    assert sorted(listed) == strikes(venue), "the consumer hears of what is wanted only"
    calls = len(venue.asked)
    for step in range(200):
        index_at(venue, 83_140.0 + (-1) ** step * 100.0)
    assert len(venue.asked) == calls, "a trembling price asks for nothing"
    index_at(venue, 90_000.0)
    assert strikes(venue) == [88000, 88500, 89000, 89500, 90000, 90500, 91000, 91500]
    assert venue.adapter.wants_reconnect is None


def test_N01_a_new_strike_outside_the_window_is_not_asked_for() -> None:
    venue = Venue(Deribit(window=Window(percent=0.05)), options(400))
    venue.quiet = lambda channel: True
    venue.open()
    index_at(venue, 40_000.0)
    before, known = strikes(venue), len(venue.events)
    venue.hear(fixture("instrument_creation"))
    assert strikes(venue) == before
    assert len(venue.events) == known
    index_at(venue, 88_000.0)
    assert 90_000 in strikes(venue)


def test_what_is_held_stays_whatever_the_window_says() -> None:
    venue = Venue(Deribit(window=Window(strikes=1)), options(400))
    venue.quiet = lambda channel: True
    venue.open()
    index_at(venue, 83_140.0)
    venue.adapter.hold(["BTC-27JUN25-1000-C", "unheard of"], venue.now)
    (listed,) = venue.adapter.on_time(venue.now)
    assert isinstance(listed, InstrumentListed)
    venue.talk()
    assert 1000 in strikes(venue)
    index_at(venue, 120_000.0)
    assert 1000 in strikes(venue)
    venue.adapter.hold([], venue.now)
    assert venue.adapter.on_time(venue.now) == []
    venue.talk()
    assert 1000 not in strikes(venue)


def test_N04_after_an_expiry_a_reconnection_asks_for_none_of_it_and_nothing_is_refused() -> None:
    near, far = fixture("instruments_btc")["result"][:2], options(10)
    expiry = near[0]["expiration_timestamp"] * 10**6
    venue = Venue(Deribit(), [*near, *far], Instant(expiry - 60 * S, 7 * S))
    venue.open()
    assert len([name for name in venue.subscribed if "12MAR25" in name]) == 2
    venue.adapter.closed(venue.now, "reset")
    venue.now = venue.now.plus(120 * S)
    venue.refused = {ticker(each["instrument_name"]) for each in near}
    venue.asked.clear()
    venue.open()
    venue.pass_time(30)
    assert not [name for each in venue.asked for name in each["params"].get("channels", []) if "12MAR25" in name]
    assert not [event for event in venue.events if isinstance(event, SubscriptionRejected)]


def test_alarms_of_hostile_channels_are_not_counted_as_life() -> None:
    venue = opened(3)
    venue.pass_time(10)
    venue.quiet = lambda channel: True
    for _ in range(30):
        venue.hear({"method": "subscription", "params": {"channel": "ticker.BTC-27JUN25-1000-C.100ms", "data": []}})
        venue.adapter.receive(
            encoded({"method": "subscription", "params": {"channel": "news.1", "data": {}}}), venue.now
        )
        venue.pass_time(1)
    assert venue.adapter.wants_reconnect == "silent"
