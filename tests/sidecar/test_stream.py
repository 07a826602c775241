"""One stream: its pace, its checksum, what it holds for clients that come back, and who reads it."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricer.sidecar.channels import CHANNELS, Market
from pricer.sidecar.channels.chain import ChainChannel
from pricer.sidecar.clients import Client
from pricer.sidecar.encodings import JSON
from pricer.sidecar.encodings.json import JsonEncoding
from pricer.sidecar.following import Follower as Following
from pricer.sidecar.messages import Message
from pricer.sidecar.outbox import Frame
from pricer.sidecar.protocol import StreamKey
from pricer.sidecar.stream import FAREWELL, Ring
from tests.handmade import SECOND
from tests.sidecar.bench import SUBSCRIBE, UNSUBSCRIBE, Bench, seqs
from tests.sidecar.snapshots import listed, plausible

KEY = StreamKey("chain", "deribit", "BTC")


def resume(session: str, seq: int, more: str = "") -> str:
    return SUBSCRIBE.replace("}", f',"session":"{session}","seq":{seq}{more}}}')


def sent(seq: int, size: int = 100, name: str = "json") -> dict[str, Frame]:
    return {name: Frame(b"x" * size, KEY, seq)}


# ---- the ring


def test_a_ring_is_bounded_by_messages_and_by_bytes() -> None:
    ring = Ring(messages=3, size=250)
    for seq in range(1, 6):
        ring.add(seq, sent(seq))
    assert (len(ring), ring.size) == (2, 200)
    assert [frame.seq for frame in ring.since(3, 5, "json") or []] == [4, 5]
    assert ring.since(2, 5, "json") is None
    ring = Ring(messages=3, size=10_000)
    for seq in range(1, 6):
        ring.add(seq, sent(seq))
    assert len(ring) == 3
    ring.add(6, sent(6, size=20_000))
    assert (len(ring), ring.size) == (0, 0), "one message larger than the bound is not held"


def test_after_a_hole_in_the_sequence_a_ring_begins_anew() -> None:
    ring = Ring(10, 10_000)
    ring.add(1, sent(1))
    ring.add(3, sent(3))
    assert ring.since(1, 3, "json") is None
    assert ring.since(2, 3, "json") == [sent(3)["json"]]
    assert ring.since(3, 4, "json") is None, "the stream has moved on since"
    assert ring.since(7, 3, "json") is None, "from the future"


def test_a_ring_gives_only_what_it_has_in_that_encoding() -> None:
    ring = Ring(10, 10_000)
    ring.add(1, sent(1))
    ring.add(2, sent(2) | sent(2, name="msgpack"))
    assert ring.since(0, 2, "msgpack") is None
    assert ring.since(1, 2, "msgpack") == [sent(2, name="msgpack")["msgpack"]]


# ---- resuming


def test_V08_a_client_that_comes_back_gets_what_it_missed() -> None:
    bench = Bench(session="here")
    first = bench.join()
    bench.say(first)
    bench.tick()
    bench.links[first].lose()
    assert first not in bench.hub.clients
    bench.tick()  # nobody reads, nothing moves
    again = bench.join()
    messages = bench.say(again, resume("here", 2))
    assert messages[0] == {
        "type": "resumed",
        "from": 3,
        "to": 3,
        "channel": "chain",
        "venue": "deribit",
        "underlying": "BTC",
        "stream": 1,
    }
    assert seqs(messages[1:]) == [("delta", 3)]
    bench.tick()
    assert seqs(bench.read(again)) == [("delta", 4)]


def test_V08_the_very_messages_that_the_others_had_are_sent_again() -> None:
    bench = Bench(session="here")
    stays = bench.join()
    bench.say(stays)
    for _ in range(5):
        bench.tick()
    told = bench.read(stays)
    late = bench.join()
    messages = bench.say(late, resume("here", 3))
    assert messages[1:] == told[2:]
    assert seqs(told) == [("delta", seq) for seq in range(2, 7)]


def test_N07_V08_who_missed_that_a_name_was_used_again_gets_the_snapshot_that_said_so() -> None:
    bench = Bench(session="here")
    stays = bench.join()
    bench.say(stays)
    bench.tick()
    block = bench.market.blocks[0]
    bench.market.blocks[0] = replace(
        block, definition=replace(block.definition, strike=block.definition.strike + 500.0)
    )
    bench.tick()
    bench.tick()
    messages = bench.say(bench.join(), resume("here", 2))
    assert seqs(messages[1:]) == [("snapshot", 3), ("delta", 4)]
    assert messages[1]["columns"]["strike"][0] == block.definition.strike[0] + 500.0


def test_V08_nothing_missed_is_said_so() -> None:
    bench = Bench(session="here")
    bench.say(bench.join())
    messages = bench.say(bench.join(), resume("here", 1))
    assert [(message["type"], message["from"], message["to"]) for message in messages] == [("resumed", 2, 1)]


@pytest.mark.parametrize(("session", "seq"), [("here", 1), ("here", 99), ("another", 10), ("", 10)])
def test_V08_what_is_not_held_is_an_explicit_snapshot(session: str, seq: int) -> None:
    bench = Bench(session="here", resume_messages=3)
    stays = bench.join()
    bench.say(stays)
    for _ in range(9):
        bench.tick()
    messages = bench.say(bench.join(), resume(session or "x", seq))
    assert seqs(messages) == [("snapshot", 10)]
    assert b"volstream_refused_resumes_total 1.0" in bench.hub.metrics.text()


def test_V08_a_stream_that_was_made_again_does_not_repeat_a_seq() -> None:
    bench = Bench(session="here", max_streams=1)
    first = bench.join()
    bench.say(first)
    for _ in range(3):
        bench.tick()
    bench.say(first, UNSUBSCRIBE)
    bench.say(first, SUBSCRIBE.replace("BTC", "ETH"))  # takes its place
    bench.say(first, UNSUBSCRIBE.replace("BTC", "ETH"))
    stays = bench.join()
    snapshot = bench.say(stays)[0]
    assert snapshot["seq"] > 4
    while bench.hub.current(KEY).seq < 20:
        bench.tick()
    for had in range(5):
        assert bench.say(bench.join(), resume("here", had))[0]["type"] == "snapshot"


def test_V06_a_lower_limit_of_streams_holds_for_those_that_are_there_too() -> None:
    bench = Bench(max_streams=8)

    def ask(pace: int) -> Client:
        client = bench.join()
        bench.say(client, SUBSCRIBE.replace("}", f',"interval_ms":{pace}}}'))
        return client

    for client in [ask(5000 + each) for each in range(8)]:
        bench.links[client].lose()
    assert len(bench.hub.streams) == 8
    bench.hub.reconfigure(bench.hub.settings.model_copy(update={"max_streams": 3}))
    ask(7000)
    assert len(bench.hub.streams) == 3


class Returning:
    """A bot that names an expiry by its day, comes back, and sends what it always sends."""

    def __init__(self, bench: Bench, day: str, *, names_stream: bool) -> None:
        self.follower = Following({"underlying": "BTC", "expiries": [day]}, bench.clock)
        self._bench, self._names_stream = bench, names_stream

    def connect(self) -> list[dict[str, Any]]:
        """What the sidecar answers."""
        self.client = self._bench.join()
        self.follower.connected()
        for request in self.follower.to_send():
            if not self._names_stream:
                request.pop("stream", None)
            self._bench.hub.receive(self.client, orjson.dumps(request).decode())
        return [message for message in self.read() if message["type"] != "pong"]

    def read(self) -> list[dict[str, Any]]:
        messages = self._bench.read(self.client)
        for message in messages:
            self.follower.receive(orjson.dumps(message))
        return messages

    def lose(self) -> None:
        self._bench.links[self.client].lose()
        self.follower.lost()


@pytest.mark.parametrize("names_stream", [True, False])
def test_V08_the_same_words_that_mean_other_expiries_now_are_another_stream(names_stream: bool) -> None:
    bench = Bench(session="here")
    market = bench.market
    first_ns = market.definitions[0].key.expiry_ns
    day = str(np.datetime64(first_ns, "ns").astype("datetime64[D]"))
    bot, other = (Returning(bench, day, names_stream=names_stream) for _ in range(2))
    bot.connect()
    bench.tick()
    bot.read()
    assert (bot.follower.stream, bot.follower.seq) == (1, 2)
    bot.lose()
    second = listed(first_ns + 8 * 3600 * SECOND, 4)  # another expiry on the very day
    market.definitions.append(second)
    market.blocks.append(plausible(second, bench.clock.now(), market.spot, 9))
    bench.source.publish(market.snapshot())
    other.connect()
    for _ in range(3):
        bench.tick()
        other.read()
    assert (other.follower.stream, other.follower.seq) == (2, 4), "it holds a message 2 of its own, and what followed"
    answers = bot.connect()
    assert [(message["type"], message["stream"]) for message in answers] == [("snapshot", 2)]
    assert answers[0]["columns"]["name"] == [*market.definitions[0].names, *second.names]
    bench.tick()
    bot.read()
    assert not bot.follower.stats
    assert bot.follower.in_sync
    assert b"volstream_refused_resumes_total 1.0" in bench.hub.metrics.text()


def test_V08_the_seq_of_other_columns_resumes_nothing() -> None:
    bench = Bench(session="here")
    wide, narrow = bench.join(), bench.join()
    iv = SUBSCRIBE.replace("}", ',"columns":["iv"]}')
    bench.say(wide)
    bench.say(narrow, iv)
    for _ in range(3):
        bench.tick()
    for number in ("1", "null"):  # that of the other one, and none
        asked = iv.replace("}", f',"session":"here","stream":{number},"seq":2}}')
        assert seqs(bench.say(bench.join(), asked)) == [("snapshot", 4)]
    asked = iv.replace("}", ',"session":"here","stream":2,"seq":2}')
    assert [message["type"] for message in bench.say(bench.join(), asked)] == ["resumed", "delta", "delta"]


def test_V08_an_encoding_is_made_on_for_a_while_for_a_reader_that_may_come_back() -> None:
    bench = Bench(session="here", resume_messages=1000)
    leaves, stays = bench.join(encoding=Doubled()), bench.join()
    bench.say(stays)
    bench.hub.receive(leaves, SUBSCRIBE)
    bench.hub.leave(leaves)
    for _ in range(FAREWELL + 20):
        bench.tick()
    stream = bench.hub.current(KEY)
    assert len(stream.missed(None, stream.seq - 20, JSON) or []) == 20
    assert stream.missed(None, stream.seq - 1, Doubled()) is None, "not for ever"
    assert Doubled.made == FAREWELL + 1  # and its snapshot


class Doubled(JsonEncoding):
    """Another encoding, which counts."""

    name, subprotocol, is_text = "doubled", "volstream.v1.doubled", False
    made = 0

    def encode(self, message: Message) -> bytes:
        if message.type in ("snapshot", "delta"):
            type(self).made += 1
        return super().encode(message) * 2


def test_V10_a_restarted_sidecar_has_another_session_and_begins_with_a_snapshot() -> None:
    before = Bench()
    client = before.join()
    session = before.say(client)[0]["session"]
    for _ in range(3):
        before.tick()
    after = Bench()
    link_messages = after.say(after.join(), resume(session, 4))
    assert seqs(link_messages) == [("snapshot", 1)]
    assert link_messages[0]["session"] != session


# ---- pace, checksum, readers


def test_a_stream_may_be_slower_than_the_others() -> None:
    bench = Bench()
    quick, slow = bench.join(), bench.join()
    bench.say(quick)
    follow(bench, slow, StreamKey("chain", "deribit", "BTC", interval_ms=1000))
    for _ in range(50):
        bench.tick()
    assert len(bench.read(quick)) == 50
    assert len(bench.read(slow)) == 5


def follow(bench: Bench, client: Client, key: StreamKey) -> None:
    """A subscription to a key that requests cannot ask for yet."""
    stream = bench.hub.current(key)
    stream.join(client, bench.hub.market)
    stream.sent_mono_ns = bench.clock.now().mono_ns
    client.streams[key.subject] = stream


def test_every_nth_delta_and_every_snapshot_has_the_checksum_of_the_state() -> None:
    bench = Bench(checksum_every=3)
    client = bench.join()
    messages = bench.say(client, SUBSCRIBE.replace("}", ',"columns":["iv","delta"]}'))
    columns = messages[0]["columns"]
    state = [[np.nan if value is None else value for value in columns[name]] for name in ("iv", "delta")]
    expected = zlib.crc32(np.array(state, "<f8").T.tobytes())
    assert messages[0]["crc32"] == expected
    for _ in range(6):
        bench.tick()
    assert [(m["seq"], "crc32" in m) for m in bench.read(client)] == [(n, n % 3 == 0) for n in range(2, 8)]


def test_a_channel_is_told_of_the_first_and_the_last_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []

    class Watched(ChainChannel):
        def opened(self, market: Market, key: StreamKey) -> None:
            calls.append(("opened", key.underlying))

        def closed(self, market: Market, key: StreamKey) -> None:
            calls.append(("closed", key.underlying))

    monkeypatch.setitem(CHANNELS, "chain", Watched())
    bench = Bench()
    first, second = bench.join(), bench.join()
    bench.say(first)
    bench.say(second)
    bench.say(first)  # again: nobody new
    bench.hub.leave(first)
    assert calls == [("opened", "BTC")]
    bench.links[second].lose()
    assert calls == [("opened", "BTC"), ("closed", "BTC")]
    bench.hub.current(KEY)  # who polls is no reader
    assert len(calls) == 2


def test_V09_silence_is_stale_within_a_second_of_its_limit_and_recovery_is_told_once() -> None:
    bench = Bench()
    client = bench.join()
    bench.say(client)
    told: list[tuple[float, str]] = []
    for step in range(20):
        bench.clock.advance(SECOND // 4)
        bench.hub.publish()
        told += [((step + 1) / 4, message["index"]["status"]) for message in bench.read(client) if "index" in message]
    assert [status for _, status in told] == ["STALE"]
    assert 2.0 < told[0][0] <= 3.0, "the limit of the index is 2 s"
    bench.market.confirm()
    bench.tick()
    assert [message["index"]["status"] for message in bench.read(client)] == ["OK"]
    assert bench.closed == []


class Follower:
    """A consumer that checks every message against the rules of the stream (I3)."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.seq: int | None = None
        self._after_gap: int | None = None
        self.client: Client | None = None

    def connect(self) -> None:
        self._after_gap = None
        self.client = self._bench.join()
        again = SUBSCRIBE if self.seq is None else resume("here", self.seq)
        self._bench.hub.receive(self.client, again)

    def lose(self) -> None:
        if self.client is not None:
            self.read()
            self._bench.links[self.client].lose()
            self.client = None

    def read(self) -> None:
        if self.client is not None:
            for message in self._bench.read(self.client):
                self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "snapshot":
                assert self._after_gap in (None, message["seq"])
                self.seq, self._after_gap = message["seq"], None
            case "delta":
                assert self._after_gap is None
                assert self.seq is not None
                assert message["seq"] == self.seq + 1
                self.seq = message["seq"]
            case "gap":
                assert self.seq is not None
                assert message["from"] == self.seq + 1 <= message["to"]
                self._after_gap = message["to"]
            case "resumed":
                assert self.seq is not None
                assert message["from"] == self.seq + 1
            case kind:
                assert kind == "heartbeat"
                assert message["seq"] == self.seq


STEPS = st.sampled_from(["tick", "tick", "connect", "lose", "stall", "read", "list", "poll", "evict"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(STEPS, st.integers(0, 2)), min_size=5, max_size=40))
def test_V07_V08_whatever_happens_no_consumer_hears_a_message_out_of_sequence(steps: list[tuple[str, int]]) -> None:
    bench = Bench(session="here", queue_soft_bytes=20_000, resume_messages=4, max_streams=1, slow_client_s=600)
    followers = [Follower(bench) for _ in range(3)]
    for step, number in steps:
        follower = followers[number]
        match step:
            case "tick":
                bench.tick(0.2)
            case "connect" if follower.client is None:
                follower.connect()
            case "lose":
                follower.lose()
            case "stall" if follower.client is not None:
                bench.links[follower.client].window = 0
            case "read" if follower.client is not None:
                bench.links[follower.client].reads()
                follower.read()
            case "list":
                bench.market.list_strike(0, 8 + number)
                bench.tick()
            case "poll":
                bench.hub.current(KEY)
            case "evict" if not any(each.client for each in followers):
                bench.hub.current(StreamKey("chain", "deribit", "ETH"))
    for follower in followers:
        if follower.client is not None:
            bench.links[follower.client].reads()
            follower.read()
            assert follower.seq == bench.hub.streams[KEY].seq, "everybody is up to date in the end"
