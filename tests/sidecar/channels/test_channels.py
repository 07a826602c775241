"""What each channel shows: its columns and its head, as docs/protocol.md has them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pricer.clock import Instant, ManualClock
from pricer.conventions import Reason
from pricer.errors import ConfigError
from pricer.sidecar.channels import CHANNELS, Served
from pricer.sidecar.channels import Market as Known
from pricer.sidecar.protocol import StreamKey
from pricer.snapshot import Snapshot, VenueHealth
from tests.handmade import SECOND
from tests.sidecar.channels.flow import FlowSource
from tests.sidecar.channels.following import read
from tests.sidecar.snapshots import Market

START = Instant(1_795_000_000 * SECOND, 1000 * SECOND)


class Bench:
    """A market, its order flow, and pictures of them."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.market = Market(self.clock)
        self.source: Any = FlowSource(self.market)
        self.names = self.market.definitions[0].names

    def take(self, channel: str, previous: Any = None, snapshot: Snapshot | None = None, **key: Any) -> Any:
        of = StreamKey(channel, "deribit", "" if channel == "health" else "BTC", **key)
        known = Known(snapshot or self.market.snapshot(), self.source, 9, Served(3, 7, {"closed_slow_client": 2}))
        return CHANNELS[channel].take(known, of, previous)

    def shown(self, channel: str, snapshot: Snapshot | None = None, **key: Any) -> dict[str, Any]:
        return read(self.take(channel, None, snapshot, **key).whole())


@pytest.fixture
def bench() -> Bench:
    return Bench()


def row(message: dict[str, Any], number: int) -> dict[str, Any]:
    return {name: values[number] for name, values in message["columns"].items()}


# forward


def test_forward_has_the_index_the_perpetual_and_each_expiry(bench: Bench) -> None:
    message = bench.shown("forward")
    assert list(message["columns"]) == [
        "name", "kind", "expiry_ns", "ttm", "value", "bid", "ask", "funding", "basis", "parity", "parity_error",
        "parity_gap", "source", "exchange_ns", "received_ns", "mono_ns", "valid_until_ns", "status", "reasons",
    ]  # fmt: skip
    assert message["columns"]["kind"] == ["index", "perpetual", "forward", "forward", "forward"]
    assert message["columns"]["name"][2:] == ["2026-11-19T00:00Z", "2026-11-26T00:00Z", "2026-12-03T00:00Z"]
    index, perpetual, _, second, _ = (row(message, i) for i in range(5))
    assert (index["value"], index["expiry_ns"], index["ttm"], index["basis"]) == (100_000.0, None, None, None)
    assert (perpetual["bid"], perpetual["ask"], perpetual["funding"]) == (99_999.5, 100_000.5, 1e-5)
    assert second["basis"] == pytest.approx(math.log(1.001) / second["ttm"], rel=1e-8)
    assert (second["parity"], second["parity_error"], second["parity_gap"]) == (100_100.0, 2.5, 0.0)
    assert second["mono_ns"] == START.mono_ns
    assert second["valid_until_ns"] == START.mono_ns + 2 * SECOND


def test_a_forward_made_by_parity_says_so_and_has_nothing_beside_it(bench: Bench) -> None:
    block = bench.market.blocks[0]
    bench.market.blocks[0] = replace(block, forward=replace(block.forward, source="parity", error=12.5, parity=None))
    found = row(bench.shown("forward"), 2)
    assert (found["source"], found["parity"], found["parity_error"], found["parity_gap"]) == (
        "parity",
        100_000.0,
        12.5,
        None,
    )


def test_a_forward_grows_stale_by_the_clock_alone(bench: Bench) -> None:
    snapshot = bench.market.snapshot()
    before = bench.take("forward", None, snapshot)
    bench.clock.advance(3 * SECOND)
    after = bench.take("forward", before, snapshot)
    assert not after.says_the_same_as(before)
    delta = read(after.since(before))
    assert delta["rows"] == [0, 1, 2, 3, 4]
    assert delta["columns"] == {"status": ["STALE"] * 5, "reasons": [["UNDERLYING_STALE"]] * 5}


# chain


def test_a_window_that_moves_has_other_rows_and_one_that_stays_has_deltas(bench: Bench) -> None:
    window: dict[str, Any] = {"strikes": ("count", 1.0), "expiries": 1}
    first = bench.take("chain", **window)
    assert read(first.whole())["columns"]["strike"] == [99_000.0] * 2 + [100_000.0] * 2
    assert read(first.whole())["expiries"][0]["options"] == 4
    bench.market.move(1e-4)
    second = bench.take("chain", first, **window)
    assert second.has_rows_of(first)
    assert read(second.since(first))["rows"] == [0, 1, 2, 3]
    bench.market.move(6e-3)
    third = bench.take("chain", second, **window)
    assert not third.has_rows_of(second)
    assert read(third.whole())["columns"]["strike"] == [100_000.0] * 2 + [101_000.0] * 2


def test_a_window_has_the_strikes_that_there_are(bench: Bench) -> None:
    window: dict[str, Any] = {"strikes": ("count", 2.0), "expiries": 1}
    first = bench.take("chain", **window)
    bench.market.list_strike(0, 3)
    second = bench.take("chain", first, **window)
    assert not second.has_rows_of(first)
    assert sorted(set(read(second.whole())["columns"]["strike"])) == [99_000.0, 100_000.0, 101_000.0]


def test_the_nearest_expiries_are_those_that_live(bench: Bench) -> None:
    days = [definition.key.expiry_ns for definition in bench.market.definitions]
    assert [each["expiry_ns"] for each in bench.shown("chain", expiries=2)["expiries"]] == days[:2]
    assert [each["expiry_ns"] for each in bench.shown("chain", expiries=(days[2],))["expiries"]] == days[2:]
    bench.clock.advance(days[0] - bench.clock.now().wall_ns)
    assert [each["expiry_ns"] for each in bench.shown("chain", expiries=2)["expiries"]] == days[1:]


def test_streams_of_one_chain_share_what_was_rounded_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rounded = Counter[int]()
    genuine = CHANNELS["chain"].take.__globals__["visible_of"]

    def counted(block: Any, digits: int) -> Any:
        rounded[id(block)] += 1
        return genuine(block, digits)

    monkeypatch.setitem(CHANNELS["chain"].take.__globals__, "visible_of", counted)
    market = Known(bench.market.snapshot(), None, 9)
    for narrowing in ({}, {"columns": ("iv",)}, {"strikes": ("count", 3.0)}):
        CHANNELS["chain"].take(market, StreamKey("chain", "deribit", "BTC", **narrowing))
    assert sorted(rounded.values()) == [1, 1, 1]


# health


def test_health_has_every_connection_venue_the_engine_and_the_sidecar(bench: Bench) -> None:
    health = VenueHealth("deribit", "open", ("eth_usd",), 1, skew_ns=-3_000, round_trip_ns=9, lag_ns=4_000_000)
    bench.source.latencies = Latencies()
    bench.source.engine_counters = Counter({"frozen_price": 2, "parity_gap": 0})
    message = bench.shown("health", replace(bench.market.snapshot(), health={"deribit": health}))
    assert message["columns"] == {
        "name": ["main", "deribit", "engine", "sidecar"],
        "kind": ["feed", "venue", "engine", "sidecar"],
        "state": ["live", "open", "publishing", "serving"],
        "detail": ["", "closed: eth_usd", "", ""],
        "since_ns": [START.wall_ns, START.wall_ns, None, None],
        "lag_ns": [None, 4_000_000, 0, None],
        "skew_ns": [None, -3_000, None, None],
        "status": ["OK"] * 4,
        "reasons": [[]] * 4,
    }
    assert message["latency"] == {"p50_ns": 50, "p90_ns": 90, "p99_ns": 99, "count": 5_000}
    assert message["options"] == {"OK": 54, "DEGRADED": 3, "STALE": 0, "INVALID": 3}
    assert (message["clients"], message["streams"]) == (3, 7)
    assert message["alarms"] == {"closed_slow_client": 2, "frozen_price": 2}


class Latencies:
    count = 5_000

    def values(self) -> Any:
        return np.arange(101, dtype=np.int64)


@pytest.mark.parametrize(
    ("health", "status", "reasons"),
    [
        (VenueHealth("deribit", "maintenance", connections=1), "STALE", ["VENUE_MAINTENANCE"]),
        (VenueHealth("deribit", connections=0), "STALE", ["VENUE_DOWN"]),
        (VenueHealth("deribit", connections=1, reasons=Reason.OVERLOADED), "DEGRADED", ["OVERLOADED"]),
    ],
)
def test_V09_a_venue_in_trouble_shows_at_once(
    bench: Bench, health: VenueHealth, status: str, reasons: list[str]
) -> None:
    before = bench.take("health")
    after = bench.take("health", before, replace(bench.market.snapshot(), health={"deribit": health}))
    assert not after.has_rows_of(before), "a venue was not known before"
    found = row(read(after.whole()), 1)
    assert (found["status"], found["reasons"]) == (status, reasons)
    again = bench.take("trades", None, replace(bench.market.snapshot(), health={"deribit": health}))
    assert again.whole().head["tape"]["status"] == status


def test_figures_that_never_rest_are_renewed_once_a_second(bench: Bench) -> None:
    bench.source.latencies = latencies = Latencies()
    bench.market.confirm()
    first = bench.take("health")
    latencies.count = 6_000
    bench.clock.advance(SECOND // 2)
    snapshot = bench.market.snapshot()
    second = bench.take("health", first, snapshot)
    assert second.says_the_same_as(first)
    bench.clock.advance(SECOND // 2)
    third = bench.take("health", second, bench.market.snapshot())
    assert not third.says_the_same_as(second)
    assert third.since(second).head["latency"]["count"] == 6_000


def test_an_engine_that_stands_still_shows(bench: Bench) -> None:
    snapshot = bench.market.snapshot()
    before = bench.take("health", None, snapshot)
    bench.clock.advance(3 * SECOND)
    delta = read(bench.take("health", before, snapshot).since(before))
    assert (delta["columns"]["state"], delta["columns"]["status"]) == (["silent"], ["STALE"])
    assert delta["options"]["OK"] == 0


# trades


def test_trade_number_n_stands_in_slot_n_and_a_delta_has_the_new_ones_in_order(bench: Bench) -> None:
    for i in range(250):
        bench.source.trade(bench.names[i % 5], 1.0 + i)
    before = bench.take("trades")
    whole = read(before.whole())["columns"]
    assert [len(column) for column in whole.values()] == [256] * 10
    assert whole["number"] == [*range(250), *[None] * 6]
    assert whole["instrument"][250:] == whole["price"][250:] == whole["id"][250:] == [None] * 6
    for i in range(10):
        bench.source.trade(bench.names[0], 1000.0 + i, side="sell")
    after = bench.take("trades", before)
    delta = read(after.since(before))
    assert delta["rows"] == [250, 251, 252, 253, 254, 255, 0, 1, 2, 3]
    assert delta["columns"]["number"] == list(range(250, 260))
    assert delta["columns"]["price"] == [1000.0 + i for i in range(10)]
    assert delta["columns"]["side"] == [-1] * 10
    assert bench.take("trades", after).says_the_same_as(after)


def test_more_trades_at_once_than_slots_are_told_by_their_numbers(bench: Bench) -> None:
    bench.source.trade(bench.names[0])
    before = bench.take("trades")
    for _ in range(300):
        bench.source.trade(bench.names[0])
    delta = read(bench.take("trades", before).since(before))
    assert delta["columns"]["number"] == list(range(45, 301))
    assert sorted(delta["rows"]) == list(range(256))


def test_a_trade_taken_back_comes_again_with_its_amount_negative(bench: Bench) -> None:
    trade = bench.source.trade(bench.names[0], size=2.5)
    before = bench.take("trades")
    bench.source.trade(bench.names[0], size=2.5, trade_id=trade.trade_id, bust=True)
    delta = read(bench.take("trades", before).since(before))["columns"]
    assert (delta["id"], delta["amount"]) == ([trade.trade_id], [-2.5])


def test_a_tape_that_began_anew_is_a_new_snapshot(bench: Bench) -> None:
    bench.source.trade(bench.names[0])
    before = bench.take("trades", instrument=bench.names[0])
    bench.source = FlowSource(bench.market)
    bench.source.trade(bench.names[0])
    bench.source.trade(bench.names[1])
    bench.source.trade(bench.names[0])
    after = bench.take("trades", before, instrument=bench.names[1])
    assert not after.has_rows_of(before)


def test_trades_of_one_instrument_are_its_own(bench: Bench) -> None:
    bench.source.trade(bench.names[0], 1.0)
    bench.source.trade(bench.names[1], 2.0)
    assert bench.shown("trades", instrument=bench.names[1])["columns"]["price"][:2] == [2.0, None]


# depth


@pytest.mark.parametrize(("channel", "state"), [("depth", "book"), ("trades", "tape")])
def test_E08_I1_what_an_engine_that_hangs_has_left_is_stale(bench: Bench, channel: str, state: str) -> None:
    name = bench.names[3]
    bench.source.trade(name)
    bench.source.levels(name, np.random.default_rng(5))
    snapshot = bench.market.snapshot()
    before = bench.take(channel, None, snapshot, instrument=name)
    assert read(before.whole())[state]["status"] == "OK"
    bench.clock.advance(2 * SECOND)
    still = bench.take(channel, before, snapshot, instrument=name)
    assert still.says_the_same_as(before), "the engine says at least four times a second that it lives"
    bench.clock.advance(SECOND // 10)
    after = bench.take(channel, still, snapshot, instrument=name)
    assert not after.says_the_same_as(still)
    delta = read(after.since(still))
    assert (delta[state]["status"], delta[state]["reasons"]) == ("STALE", ["QUOTE_STALE"])
    assert delta["rows"] == []
    assert set(delta.get("micro", {}).values()) <= {None}, "what the book said is no more to be relied on"
    again = bench.take(channel, after, instrument=name)
    assert read(again.since(after))[state]["status"] == "OK"


def test_depth_has_twenty_levels_with_the_state_of_the_book_and_its_pressure(bench: Bench) -> None:
    bench.source.levels(bench.names[3], np.random.default_rng(5))
    message = bench.shown("depth", instrument=bench.names[3])
    book = bench.source.book(bench.names[3]).book
    assert book is not None
    assert len(book.bids) > len(book.asks) >= 1
    assert {len(column) for column in message["columns"].values()} == {20}
    for side, levels in (("bid", book.bids), ("ask", book.asks)):
        shown = list(zip(message["columns"][f"{side}_price"], message["columns"][f"{side}_amount"], strict=True))
        expected = [(pytest.approx(price), pytest.approx(size)) for price, size in levels[:20]]
        assert shown[: len(expected)] == expected
        assert shown[len(expected) :] == [(None, None)] * (20 - len(expected))
    now = START.wall_ns
    assert message["book"] == {
        "status": "OK", "reasons": [], "exchange_ns": now, "received_ns": now, "age_ns": 0, "detail": "",
    }  # fmt: skip
    micro = bench.source.microstructure(bench.names[3])
    assert message["micro"]["imbalance"] == pytest.approx(micro.imbalance)
    assert set(message["micro"]) == {"imbalance", "microprice", "spread", "bid_depth_vega", "ask_depth_vega"}


def test_a_lost_book_is_history_and_says_so(bench: Bench) -> None:
    bench.source.levels(bench.names[3], np.random.default_rng(5))
    before = bench.take("depth", instrument=bench.names[3])
    bench.source.lose(bench.names[3])
    after = bench.take("depth", before, instrument=bench.names[3])
    assert not after.says_the_same_as(before)
    delta = read(after.since(before))
    assert (delta["book"]["status"], delta["book"]["reasons"]) == ("STALE", ["BOOK_GAP", "RESYNCING"])
    assert delta["rows"] == []
    assert delta["micro"]["imbalance"] is None


def test_a_book_is_wanted_from_the_first_reader_to_the_last(bench: Bench) -> None:
    key = StreamKey("depth", "deribit", "BTC", bench.names[3])
    market = Known(bench.market.snapshot(), bench.source, 9)
    for channel in CHANNELS.values():
        channel.opened(market, key._replace(channel=channel.name))
    assert bench.source.wanted == [bench.names[3]]
    for channel in CHANNELS.values():
        channel.closed(market, key._replace(channel=channel.name))
        channel.closed(Known(bench.market.snapshot(), object(), 9), key._replace(channel=channel.name))
    assert bench.source.wanted == []


class Refusing(FlowSource):
    """A stream of quotes alone."""

    def book(self, instrument: str) -> Any:
        raise ConfigError("no books")

    def recent_trades(self, *, underlying: str = "", instrument: str = "") -> Any:
        raise ConfigError("no trades")


@pytest.mark.parametrize(("channel", "state", "setting"), [("trades", "tape", "trades"), ("depth", "book", "books_on")])
def test_what_is_not_streamed_names_the_setting(bench: Bench, channel: str, state: str, setting: str) -> None:
    bench.source = Refusing(bench.market)
    message = bench.shown(channel, instrument=bench.names[0])
    assert message[state]["status"] == "INVALID"
    assert f"feed.{setting}" in message[state]["detail"]
