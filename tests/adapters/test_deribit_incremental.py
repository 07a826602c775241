"""`incremental_ticker.*`: the whole at first, then changes."""

from __future__ import annotations

import math

import pytest

from pricer.adapters.events import AnyEvent, OptionQuote, VenueMark
from tests.adapters.deribit_frames import EXPIRY_NS, NOW, Venue, encoded, fixture, frame, live_venue


def live() -> Venue:
    return live_venue(quotes="incremental")


def both(events: list[AnyEvent]) -> tuple[OptionQuote, VenueMark]:
    quote, mark = events
    assert isinstance(quote, OptionQuote)
    assert isinstance(mark, VenueMark)
    return quote, mark


def test_the_first_message_says_what_a_ticker_says() -> None:
    adapter = live().adapter
    merged, whole = (adapter.receive(frame(name), NOW) for name in ("incremental_snapshot", "ticker_inverse_call"))
    assert list(map(repr, merged)) == list(map(repr, whole))
    assert not adapter.counters


def test_a_change_is_merged_field_by_field() -> None:
    adapter = live().adapter
    before, _ = both(adapter.receive(frame("incremental_snapshot"), NOW))
    quote, mark = both(adapter.receive(frame("incremental_change"), NOW))
    assert quote.bid == 0.192, "changed"
    assert math.isnan(quote.ask), "an explicit null is no value"
    assert (quote.ask_size, quote.forward, quote.state) == (before.ask_size, before.forward, "open"), "not spoken of"
    assert (mark.theta, mark.delta, mark.rho) == (-0.016, 1.0, 0.71727), "of the Greeks only one changed"
    assert math.isnan(mark.ask_iv), "0 is no volatility here either"
    assert quote.exchange_ns == 1_741_731_611_450_000_000
    assert before.bid == 0.1905, "events are never edited"


def test_a_second_snapshot_replaces_everything() -> None:
    adapter = live().adapter
    adapter.receive(frame("incremental_snapshot"), NOW)
    quote, mark = both(adapter.receive(frame("incremental_snapshot", best_bid_price=..., greeks=...), NOW))
    assert math.isnan(quote.bid)
    assert math.isnan(mark.delta)


def test_a_change_without_a_snapshot_says_nothing() -> None:
    adapter = live().adapter
    assert adapter.receive(frame("incremental_change"), NOW) == []
    assert adapter.counters["change_without_snapshot"] == 1


def test_a_new_connection_forgets_what_was_merged() -> None:
    venue = live()
    venue.adapter.receive(frame("incremental_snapshot"), NOW)
    venue.adapter.closed(NOW, "reset")
    venue.open()
    assert venue.adapter.receive(frame("incremental_change"), NOW) == []


@pytest.mark.parametrize("data", [None, [], 5, {"type": "other"}, {"type": None}, {}])
def test_P13_a_change_that_cannot_be_read_leaves_the_instrument_unknown_until_a_snapshot(data: object) -> None:
    adapter = live().adapter
    adapter.receive(frame("incremental_snapshot"), NOW)
    message = fixture("incremental_change")
    message["params"]["data"] = data
    assert adapter.receive(encoded(message), NOW) == []
    assert adapter.receive(frame("incremental_change"), NOW) == [], "what it changed is not known"
    assert len(adapter.receive(frame("incremental_snapshot"), NOW)) == 2


@pytest.mark.parametrize("value", ["0.19", True, -1, [1], {}])
def test_P13_a_changed_field_of_a_wrong_kind_is_no_value_and_counted_once(value: object) -> None:
    adapter = live().adapter
    adapter.receive(frame("incremental_snapshot"), NOW)
    quote, _ = both(adapter.receive(frame("incremental_change", best_bid_price=value), NOW))
    assert math.isnan(quote.bid)
    quote, _ = both(adapter.receive(frame("incremental_change", best_bid_price=...), NOW))
    assert math.isnan(quote.bid), "the old price does not come back"
    assert adapter.counters["bad_field.best_bid_price"] == 1


@pytest.mark.parametrize("greeks", [None, [], 5])
def test_P13_greeks_that_are_none_are_nan(greeks: object) -> None:
    adapter = live().adapter
    adapter.receive(frame("incremental_snapshot"), NOW)
    _, mark = both(adapter.receive(frame("incremental_change", greeks=greeks), NOW))
    assert math.isnan(mark.delta)


def test_N02_nothing_is_kept_of_what_has_expired() -> None:
    adapter = live().adapter
    adapter.receive(frame("incremental_snapshot"), NOW)
    assert len(adapter._market._incremental._tickers) == 1
    late = NOW.plus(EXPIRY_NS - NOW.wall_ns)
    adapter.on_time(late)
    assert adapter._market._incremental._tickers == {}
    assert adapter.receive(frame("incremental_snapshot"), late) == []
