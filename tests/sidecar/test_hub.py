"""One stream and one seq per distinct subscription, whoever joins and leaves; without sockets and without waiting."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from pricer.sidecar.clients import Client
from pricer.sidecar.hub import SnapshotSource
from pricer.sidecar.protocol import StreamKey, about, gap
from pricer.snapshot import VenueHealth
from pricer.streaming import Latencies
from tests.handmade import SECOND
from tests.sidecar.bench import SUBSCRIBE, UNSUBSCRIBE, Bench, seqs


def test_V07_a_snapshot_then_deltas_without_a_gap_or_an_overlap() -> None:
    bench = Bench()
    early = bench.join()
    assert seqs(bench.say(early)) == [("snapshot", 1)]
    for _ in range(3):
        bench.tick()
    late = bench.join()
    assert seqs(bench.say(late)) == [("snapshot", 4)]
    bench.tick()
    assert seqs(bench.read(early)) == [("delta", 2), ("delta", 3), ("delta", 4), ("delta", 5)]
    assert seqs(bench.read(late)) == [("delta", 5)]


def test_V07_whoever_joins_between_two_rounds_moves_the_stream_for_all() -> None:
    bench = Bench()
    early = bench.join()
    bench.say(early)
    bench.clock.advance(SECOND)
    bench.source.publish(bench.market.snapshot())  # published, and the round has not come yet
    late = bench.join()
    assert seqs(bench.say(late)) == [("snapshot", 2)]
    assert seqs(bench.read(early)) == [("delta", 2)]
    bench.hub.publish()
    assert bench.read(early) == bench.read(late) == []


def test_a_market_without_options_still_has_its_connections() -> None:
    bench = Bench()
    bench.source.publish(replace(bench.market.snapshot(), blocks=()))
    told = bench.say(bench.join(), '{"op":"subscribe","channel":"health"}')[0]
    assert "main" in told["columns"]["name"]


class Stalling(Counter[str]):
    """While somebody walks through it, the watchdog's thread counts its first stall."""

    def items(self) -> Any:
        for each in super().items():
            self["loop_stalls"] += 1
            yield each


def test_E04_a_stall_that_another_thread_counts_amid_a_round_ends_nothing() -> None:
    bench = Bench()
    bench.hub.counts = Stalling({"closed_lagging": 1, "rechecks": 2})
    assert bench.hub.market.served.alarms == {"closed_lagging": 1}


def test_one_encode_and_one_frame_for_all_clients() -> None:
    bench = Bench()
    clients = [bench.join() for _ in range(5)]
    for client in clients:
        bench.hub.receive(client, SUBSCRIBE)
    bench.tick()
    assert {seqs(bench.read(client)) == [("snapshot", 1), ("delta", 2)] for client in clients} == {True}
    encoded = bench.hub.metrics.registry.get_sample_value
    assert encoded("volstream_encode_seconds_count", {"channel": "chain", "stage": "snapshot"}) == 1
    assert encoded("volstream_encode_seconds_count", {"channel": "chain", "stage": "delta"}) == 1
    assert encoded("volstream_messages_total", {"channel": "chain", "stage": "delta"}) == 5


def test_whoever_keeps_up_costs_one_write_a_message_and_no_queue() -> None:
    bench = Bench()
    client = bench.join()
    bench.say(client)
    before = bench.links[client].writes
    client.outbox.put = None  # type: ignore[method-assign, assignment] # not to be called
    for _ in range(5):
        bench.tick()
    assert bench.links[client].writes == before + 5
    assert client.free


def test_V01_a_slow_client_gets_a_gap_and_a_snapshot_with_its_end() -> None:
    bench = Bench(queue_soft_bytes=100_000)
    slow, quick = bench.join(), bench.join()
    bench.say(slow)
    bench.say(quick)
    bench.links[slow].window = 0
    heard = []
    for _ in range(20):
        bench.tick()
        heard += bench.read(quick)
    assert seqs(heard) == [("delta", seq) for seq in range(2, 22)]
    assert bench.read(slow) == []
    bench.links[slow].reads()
    messages = bench.read(slow)
    assert seqs(messages[:1]) == [("delta", 2)], "it was on its way already"
    assert messages[1] == {
        "type": "gap",
        "from": 3,
        "to": 21,
        "channel": "chain",
        "venue": "deribit",
        "underlying": "BTC",
    }
    assert seqs(messages[2:]) == [("snapshot", 21)]
    bench.tick()
    assert seqs(bench.read(slow)) == [("delta", 22)]


def test_V02_I11_after_a_write_that_failed_nothing_more_is_written() -> None:
    """Before the loop tells of the end: asyncio has a line in the log for each further write."""
    bench = Bench()
    gone = bench.join()
    bench.say(gone)
    link = bench.links[gone]
    link.window = 0
    for _ in range(20):
        bench.tick()
    assert len(gone.outbox._items) > 5
    before, link.fails = link.writes, True
    link.reads()
    assert link.writes == before + 1
    link.lose()
    assert gone not in bench.hub.clients


def test_V01_a_client_at_1_KiB_a_second_is_told_of_gaps_then_closed_with_a_reason() -> None:
    bench = Bench(queue_soft_bytes=1024, queue_hard_bytes=65_536)
    bench.market.blocks, bench.market.definitions = bench.market.blocks[:1], bench.market.definitions[:1]
    bench.market.list_strike(0, 1)
    bench.source.publish(bench.market.snapshot())
    quick, slow = bench.join(), bench.join(window=16_384)  # what buffers on the way took
    narrow = SUBSCRIBE.replace("}", ',"columns":["iv"]}')
    for client in (quick, slow):
        bench.hub.receive(client, narrow)
    heard, largest = [], 0
    for _ in range(600):
        bench.tick()
        heard += seqs(bench.read(quick))
        largest = max(largest, slow.outbox.size)
        bench.links[slow].reads(1024 * 0.1)
        if bench.links[slow].closed:
            break
    assert bench.links[slow].closed == (1008, "behind for more than 10 s")
    messages = bench.read(slow)
    gaps = [at for at, message in enumerate(messages) if message["type"] == "gap"]
    assert gaps
    for at in gaps:
        assert messages[at]["from"] == messages[at - 1]["seq"] + 1
        if at + 1 < len(messages):
            assert seqs(messages[at + 1 : at + 2]) == [("snapshot", messages[at]["to"])]
    assert largest < 16_384
    assert [kind for kind, _ in heard] == ["snapshot", *["delta"] * (len(heard) - 1)]
    assert [seq for _, seq in heard] == list(range(1, len(heard) + 1)), "nobody else lost anything"


def test_V01_a_client_that_is_behind_too_long_is_closed_with_a_reason() -> None:
    bench = Bench(queue_soft_bytes=100_000)
    slow = bench.join()
    bench.say(slow)
    bench.links[slow].window = 0
    for _ in range(130):
        bench.tick()
    assert bench.closed == [(1008, "behind for more than 10 s")]
    assert slow not in bench.hub.clients
    assert slow.outbox.size == 0, "its memory is given back"
    assert b'volstream_clients_closed_total{stage="slow_client"} 1.0' in bench.hub.metrics.text()


def behind(bench: Bench) -> Client:
    """A client that has stopped reading a few rounds ago."""
    client = bench.join()
    bench.say(client)
    bench.links[client].window = 0
    for _ in range(5):
        bench.tick()
    assert not client.free
    return client


def test_V01_H13_who_is_behind_because_the_sidecar_stood_still_gets_one_more_round() -> None:
    bench = Bench()
    reads, sleeps = behind(bench), behind(bench)
    bench.tick(3600.0)  # the machine slept
    assert bench.closed == []
    bench.links[reads].reads()
    bench.tick()
    assert bench.links[reads].closed is None
    assert bench.links[sleeps].closed == (1008, "behind for more than 10 s")


def test_V01_a_sidecar_whose_every_round_is_late_drops_a_slow_client_all_the_same() -> None:
    bench = Bench(min_interval_ms=10_000)
    behind(bench)
    for _ in range(2):
        bench.tick(11.0)
    assert bench.closed == [(1008, "behind for more than 10 s")]


def test_V01_a_client_that_needs_more_than_the_hard_limit_is_closed_at_once() -> None:
    bench = Bench(queue_soft_bytes=1024, queue_hard_bytes=1024)
    slow, quick = bench.join(window=0), bench.join()
    bench.say(slow)
    assert bench.closed == [(1008, "more than 1024 bytes are waiting")]
    assert seqs(bench.say(quick)) == [("snapshot", 1)]


def test_V09_silence_of_the_source_is_published_as_stale_once() -> None:
    bench = Bench()
    client = bench.join()
    bench.say(client)
    for _ in range(12):
        bench.clock.advance(SECOND // 4)
        bench.hub.publish()
    messages = bench.read(client)
    assert seqs(messages) == [("delta", 2)]
    assert set(messages[0]["columns"]["status"]) == {"STALE"}
    assert messages[0]["index"]["status"] == "STALE"
    bench.market.confirm()
    bench.tick()
    recovered = bench.read(client)[0]
    assert recovered["index"]["status"] == "OK"
    assert set(recovered["columns"]["status"]) == {"OK", "DEGRADED", "INVALID"}


def test_a_heartbeat_proves_that_the_stream_lives() -> None:
    bench = Bench()
    client = bench.join()
    bench.say(client)
    for _ in range(60):
        bench.clock.advance(SECOND // 4)
        bench.hub.publish()
    kinds = seqs(bench.read(client))
    # STALE model numbers after 2 s, stale quotes after 12 s, and silence otherwise.
    assert [kind for kind, _ in kinds] == ["delta", "heartbeat", "delta"]
    assert [seq for _, seq in kinds] == [2, 2, 3]


def test_new_options_begin_with_a_snapshot() -> None:
    bench = Bench()
    client = bench.join()
    bench.say(client)
    bench.market.list_strike(1, 12)
    bench.tick()
    messages = bench.read(client)
    assert seqs(messages) == [("snapshot", 2)]
    assert len(messages[0]["columns"]["name"]) == 64


def redefined(bench: Bench, **changes: Any) -> None:
    """The venue has changed an expiry's options under the names that they had."""
    block = bench.market.blocks[0]
    bench.market.blocks[0] = replace(block, definition=replace(block.definition, **changes))


@pytest.mark.parametrize("name", ["strike", "cp", "tick_size", "min_amount", "contract_size"])
def test_N06_N07_other_contracts_of_the_same_names_begin_with_a_snapshot(name: str) -> None:
    bench = Bench()
    client = bench.join()
    known = bench.say(client)[0]["columns"][name]
    changed = getattr(bench.market.definitions[0], name).copy()
    changed[3] = -changed[3]
    redefined(bench, **{name: changed})
    bench.tick()
    (message,) = bench.read(client)
    assert seqs([message]) == [("snapshot", 2)]
    assert [row for row, value in enumerate(message["columns"][name]) if value != known[row]] == [3]
    bench.tick()
    assert seqs(bench.read(client)) == [("delta", 3)]


@pytest.mark.parametrize("changes", [{"settlement_currency": "USDC"}, {"quote_currency": "USDC"}, {"inverse": False}])
def test_N06_N07_so_it_is_with_another_currency(changes: dict[str, Any]) -> None:
    bench = Bench()
    client = bench.join()
    bench.say(client)
    redefined(bench, **changes)
    bench.tick()
    assert seqs(bench.read(client)) == [("snapshot", 2)]


def test_N06_a_list_that_was_made_anew_and_says_the_same_is_no_news() -> None:
    bench = Bench()
    client = bench.join()
    bench.say(client)
    redefined(bench, tick_size=bench.market.definitions[0].tick_size.copy())
    bench.tick()
    assert seqs(bench.read(client)) == [("delta", 2)]


def test_N06_a_stream_of_some_strikes_hears_of_those_that_it_shows() -> None:
    bench = Bench()
    client = bench.join()
    names = bench.say(client, SUBSCRIBE.replace("}", ',"strikes":{"count":2}}'))[0]["columns"]["name"]
    definition = bench.market.definitions[0]
    for shown, expected in ((False, [("delta", 2)]), (True, [("snapshot", 3)])):
        changed = definition.tick_size.copy()
        changed[[(name in names) is shown for name in definition.names].index(True)] *= 5.0
        redefined(bench, tick_size=changed)
        bench.market.quote(0, 3, bid=0.5)
        bench.clock.advance(SECOND)
        bench.source.publish(bench.market.snapshot())
        bench.hub.publish()
        assert seqs(bench.read(client)) == expected
        definition = bench.market.blocks[0].definition


def test_subscribing_again_replaces_the_subscription() -> None:
    bench = Bench()
    client = bench.join()
    bench.say(client)
    narrow = bench.say(client, '{"op":"subscribe","channel":"chain","underlying":"BTC","columns":["iv"]}')
    assert "delta" not in narrow[0]["columns"]
    bench.tick()
    assert len(bench.read(client)) == 1
    assert bench.say(client, UNSUBSCRIBE)[0]["type"] == "unsubscribed"
    bench.tick()
    assert bench.read(client) == []
    (refused,) = bench.say(client, UNSUBSCRIBE)
    assert refused == {
        "type": "error",
        "code": "not_subscribed",
        "message": "there is no subscription to chain of BTC at deribit",
        "channel": "chain",
        "underlying": "BTC",
    }


@pytest.mark.parametrize(
    ("request_text", "code", "named"),
    [
        ('{"op":"subscribe","channel":"chain","underlying":"DOGE"}', "unknown_underlying", "DOGE"),
        ('{"op":"subscribe","channel":"chain","underlying":"BTC","venue":"nasdaq"}', "unknown_venue", "nasdaq"),
    ],
)
def test_V06_unknown_names_are_named(request_text: str, code: str, named: str) -> None:
    bench = Bench()
    reply = bench.say(bench.join(), request_text)[0]
    assert (reply["type"], reply["code"]) == ("error", code)
    assert named in reply["message"]


def test_a_configured_underlying_without_options_yet_can_be_followed() -> None:
    bench = Bench()
    message = bench.say(bench.join(), '{"op":"subscribe","channel":"chain","underlying":"ETH"}')[0]
    assert message["columns"]["name"] == []
    assert message["index"]["status"] == "INVALID"


def test_V06_subscriptions_and_streams_are_bounded() -> None:
    bench = Bench(max_subscriptions=1, max_streams=2)
    first, second, third = bench.join(), bench.join(), bench.join()
    bench.say(first)
    assert bench.say(first, SUBSCRIBE.replace("BTC", "ETH"))[0]["code"] == "too_many_subscriptions"
    bench.say(second, SUBSCRIBE.replace("BTC", "ETH"))
    narrow = '{"op":"subscribe","channel":"chain","underlying":"BTC","columns":["iv"]}'
    assert bench.say(third, narrow)[0]["code"] == "too_many_streams"
    bench.hub.leave(second)
    assert bench.say(third, narrow)[0]["type"] == "snapshot"
    assert len(bench.hub.streams) == 2


def test_V06_a_client_that_asks_for_ever_new_streams_is_refused_and_the_others_are_served() -> None:
    bench = Bench(max_errors=1000)
    other, greedy = bench.join(), bench.join()
    bench.say(other)
    columns = ["iv", "delta", "gamma", "vega", "theta", "bid", "ask", "mark", "bid_iv", "ask_iv", "mid_iv", "mark_iv"]
    asked = [SUBSCRIBE.replace("}", f',"columns":["{name}"]}}') for name in columns]
    replies = [bench.say(greedy, text)[0] for text in asked]
    assert [reply["type"] for reply in replies] == ["snapshot"] * 8 + ["error"] * 4
    assert {reply["code"] for reply in replies[8:]} == {"rate_limited"}
    assert len(bench.hub.streams) == 9
    bench.tick()
    assert seqs(bench.read(other)) == [("delta", 2)]


def test_every_message_of_an_instruments_stream_names_it() -> None:
    key = StreamKey("trades", "deribit", "BTC", "BTC-PERPETUAL")
    assert gap(key, 1, 2).head["instrument"] == about(key, "heartbeat", 3)["instrument"] == "BTC-PERPETUAL"
    assert "instrument" not in about(StreamKey("chain", "deribit", "BTC"), "heartbeat", 3)


def test_V05_a_client_that_only_talks_nonsense_is_closed() -> None:
    bench = Bench(max_errors=4, max_requests_per_s=100)
    client = bench.join()
    for _ in range(3):
        assert bench.say(client, "nonsense")[0]["code"] == "bad_json"
    assert bench.closed == []
    bench.say(client, "nonsense")
    assert bench.closed == [(1008, "4 bad messages in a row")]


def test_C02_skew_round_trip_and_lateness_of_each_venue_are_metrics() -> None:
    bench = Bench()
    known = VenueHealth("deribit", skew_ns=2_000_000_000, round_trip_ns=30_000_000)
    bench.source.publish(replace(bench.market.snapshot(), health={"deribit": known}))
    text = bench.hub.metrics.text().decode()
    assert 'volstream_venue_skew_seconds{venue="deribit"} 2.0' in text
    assert 'volstream_venue_round_trip_seconds{venue="deribit"} 0.03' in text
    assert "volstream_venue_lag_seconds{" not in text, "not known is not zero"


def test_V12_metrics_have_bounded_labels_and_name_no_instrument() -> None:
    bench = Bench()
    client = bench.join()
    bench.say(client)
    bench.say(client, "nonsense")
    bench.tick()
    text = bench.hub.metrics.text().decode()
    assert "BTC-" not in text
    assert len([line for line in text.splitlines() if not line.startswith("#")]) < 200
    assert 'volstream_options{status="OK",underlying="BTC",venue="deribit"} 54.0' in text
    assert 'volstream_feeds{state="live",venue="deribit"} 1.0' in text
    assert 'volstream_feeds{state="closed",venue="deribit"} 0.0' in text
    for name in ("volstream_queue_bytes", "volstream_queue_hard_limit_bytes", "volstream_clients_limit"):
        assert f"\n{name} " in text


def test_V12_underlyings_that_nobody_configured_share_a_label() -> None:
    bench = Bench()
    bench.hub.underlyings = ("ETH",)
    assert 'volstream_options{status="OK",underlying="other",venue="deribit"} 54.0' in bench.hub.metrics.text().decode()


def test_a_source_that_counts_is_measured() -> None:
    bench = Bench()
    assert "volstream_frame_to_snapshot_seconds{" not in bench.hub.metrics.text().decode()
    bench.hub.source = MeasuredSource(bench.hub.source)
    text = bench.hub.metrics.text().decode()
    assert 'volstream_frame_to_snapshot_seconds{quantile="1"} 0.004' in text
    assert "volstream_frames_total 7.0" in text
    assert 'volstream_feed_lost_total{reason="reset"} 2.0' in text
    assert 'volstream_engine_total{what="fallback_iv"} 7.0' in text
    assert "volstream_feed_connections_total 3.0" in text


class MeasuredSource:
    """What `pricer.live` has besides its snapshots."""

    def __init__(self, source: SnapshotSource) -> None:
        self.latest = source.latest
        self.subscribe = source.subscribe
        self.stats = Counter(frames=7)
        self.feed_counters = Counter({"connections": 3, "closed.reset": 2})
        self.engine_counters = Counter({"fallback_iv": 7})
        self.latencies = Latencies()
        self.latencies.add(4_000_000)


def test_a_polled_chain_is_encoded_once_an_interval() -> None:
    bench = Bench()
    key = StreamKey("chain", "deribit", "BTC")
    assert bench.hub.current(key).snapshot() is bench.hub.current(key).snapshot()
