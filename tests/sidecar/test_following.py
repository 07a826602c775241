"""The rules of a stream as a client keeps them, without a socket: order, sessions, resumption, checksums."""

from __future__ import annotations

import pickle
from typing import Any, get_type_hints

import numpy as np
import orjson
import pytest

from pricer.clock import Instant, ManualClock
from pricer.conventions import Reason, Status
from pricer.errors import NotTradable, ProtocolError
from pricer.sidecar.channels import CHANNELS, Market, Picture
from pricer.sidecar.checksum import crc32_of
from pricer.sidecar.decoding import decode_json
from pricer.sidecar.encodings import JSON
from pricer.sidecar.following import MOST_BREAKS, PASSING, Follower, RequestRefused
from pricer.sidecar.messages import Message
from pricer.sidecar.protocol import CODES, StreamKey, about
from pricer.sidecar.table import Table
from pricer.snapshot import Row
from tests.handmade import SECOND
from tests.sidecar.snapshots import Market as Chain

KEY = StreamKey("chain", "deribit", "BTC")


class Server:
    """The other end of one stream, with a clock of its own: messages as a sidecar would make them."""

    def __init__(self, session: str = "first", started_ns: int = 1000 * SECOND) -> None:
        self.clock = ManualClock(Instant(1_795_000_000 * SECOND, started_ns))
        self.chain = Chain(self.clock, expiries=2, strikes=4)
        self.session = session
        self.seq = 0
        self._picture: Picture = self._take(None)

    def _take(self, previous: Any) -> Picture:
        return CHANNELS["chain"].take(Market(self.chain.snapshot(), None, 9), KEY, previous)

    def snapshot(self, **more: Any) -> dict[str, Any]:
        self.seq += 1
        self._picture = self._take(self._picture)
        content = self._picture.whole()
        head = about(KEY, "snapshot", self.seq) | {"protocol": 1, "session": self.session}
        return self._shown(Message(head | content.head | {"crc32": self._picture.crc32()} | more, content.columns))

    def delta(self, **more: Any) -> dict[str, Any]:
        self.chain.move()
        self.seq += 1
        old, self._picture = self._picture, self._take(self._picture)
        content = self._picture.since(old)
        head = about(KEY, "delta", self.seq) | content.head | {"crc32": self._picture.crc32()} | more
        return self._shown(Message(head, content.columns, content.rows))

    def other(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "channel": "chain", "venue": "deribit", "underlying": "BTC"} | fields

    def _shown(self, message: Message) -> dict[str, Any]:
        shown: dict[str, Any] = orjson.loads(message.encoded(JSON))
        return shown

    @property
    def row(self) -> str:
        return self.chain.definitions[0].names[4]


class Bench:
    """A follower on a clock of its own, connected."""

    def __init__(self) -> None:
        self.clock = ManualClock(Instant(1_795_000_000 * SECOND, 7 * SECOND))
        self.follower = Follower({"underlying": "BTC"}, self.clock)
        self.connect()

    def connect(self) -> list[dict[str, Any]]:
        self.follower.connected()
        return self.follower.to_send()

    def give(self, *messages: dict[str, Any]) -> list[bool]:
        return [self.follower.receive(orjson.dumps(message)) for message in messages]


def test_a_snapshot_and_its_deltas_are_states_in_order() -> None:
    bench, server = Bench(), Server()
    assert bench.give(server.snapshot(), server.delta(), server.delta()) == [True] * 3
    assert bench.follower.verified == 3
    assert not bench.follower.stats
    assert bench.follower.snapshot()[server.row].delta == pytest.approx(server.chain.snapshot()[server.row].delta, 1e-8)
    assert bench.follower.to_send() == []


@pytest.mark.parametrize("lost", ["delta", "two", "again"])
def test_I3_what_does_not_follow_is_never_shown_and_asked_for_anew(lost: str) -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot(), server.delta())
    delta = server.delta()
    wrong = {"delta": server.delta, "two": server.delta, "again": lambda: delta}[lost]()
    if lost == "again":
        bench.give(delta)
    assert bench.give(wrong) == [False]
    assert bench.follower.to_send() == [{"op": "subscribe", "channel": "chain", "underlying": "BTC"}]
    assert bench.give(server.delta()) == [False], "until the snapshot has come nothing counts"
    assert bench.give(server.snapshot(), server.delta()) == [True, True]
    assert bench.follower.snapshot().breaks == 1


def test_a_heartbeat_of_another_seq_is_a_break() -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot(), server.other("heartbeat", seq=1))
    assert bench.follower.to_send() == []
    bench.give(server.other("heartbeat", seq=2))
    assert bench.follower.stats["out_of_sequence"] == 1
    assert len(bench.follower.to_send()) == 1


def test_a_gap_is_counted_and_the_snapshot_with_its_end_goes_on() -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot())
    skipped = [server.delta() for _ in range(5)]
    whole = server.snapshot()
    bench.give(server.other("gap", **{"from": skipped[0]["seq"], "to": whole["seq"]}))
    assert bench.give(skipped[0]) == [False]
    assert bench.give(whole, server.delta()) == [True, True]
    assert (bench.follower.stats["gaps"], bench.follower.stats["missed"]) == (1, 6)
    assert bench.follower.snapshot().breaks == 1
    assert bench.follower.to_send() == []


def test_a_checksum_that_differs_makes_everything_stale_and_is_asked_for_anew() -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot())
    corrupted = server.delta()
    column = corrupted["columns"]["delta"]
    column[0] = float(np.nextafter(column[0], 2.0))
    assert bench.give(corrupted) == [True]
    row = bench.follower.snapshot()[server.row]
    assert row.status is Status.STALE
    assert Reason.CHECKSUM_FAIL in row.reasons
    with pytest.raises(NotTradable, match="CHECKSUM_FAIL"):
        _ = row.delta
    assert bench.follower.stats["checksum_mismatches"] == 1
    assert [request["op"] for request in bench.follower.to_send()] == ["subscribe"]
    assert bench.give(server.snapshot()) == [True]
    assert bench.follower.snapshot()[server.row].delta > 0


def test_a_stream_that_can_never_be_verified_is_left_and_not_asked_for_ever() -> None:
    bench, server = Bench(), Server()
    for _ in range(MOST_BREAKS):
        assert bench.follower.wants_reconnect is None
        bench.give(server.snapshot(crc32=1))
    assert bench.follower.wants_reconnect == "never in sync"
    assert len(bench.follower.to_send()) == MOST_BREAKS - 1


@pytest.mark.parametrize("lost", ["snapshot", "resumed", "the snapshot after a gap"])
def test_I3_an_answer_that_never_comes_is_waited_for_ten_seconds_and_then_elsewhere(lost: str) -> None:
    bench, server = Bench(), Server()
    if lost != "snapshot":
        bench.give(server.snapshot())
    if lost == "resumed":
        bench.connect()
    if lost == "the snapshot after a gap":
        bench.give(server.other("gap", **{"from": 2, "to": 3}))
    server.delta()
    for waited_s in (0, 5, 10):
        assert bench.follower.wants_reconnect is None, waited_s
        assert bench.give(server.delta()) == [False]
        bench.clock.advance(5 * SECOND)
    assert bench.give(server.other("heartbeat", seq=server.seq)) == [False]
    assert bench.follower.wants_reconnect == "no answer"
    bench.connect()
    assert bench.give(server.other("welcome", session="first"), server.snapshot()) == [False, True]
    assert bench.follower.wants_reconnect is None


def test_V08_after_a_reconnection_what_was_missed_is_asked_for_by_session_and_seq() -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot(), server.delta())
    bench.follower.lost()
    missed = [server.delta(), server.delta()]
    assert bench.connect()[1] == {
        "op": "subscribe",
        "channel": "chain",
        "underlying": "BTC",
        "session": "first",
        "seq": 2,
    }
    bench.give({"type": "welcome", "protocol": 1, "session": "first", "mono_ns": server.clock.now().mono_ns})
    bench.give(server.other("resumed", **{"from": 3, "to": 4}))
    assert bench.give(*missed, server.delta()) == [True] * 3
    assert bench.follower.stats["resumed"] == 1
    assert bench.follower.snapshot().breaks == 1
    assert bench.follower.seq == 5


@pytest.mark.parametrize("answer", [{"from": 4, "to": 4, "stream": 7}, {"from": 3, "to": 3, "stream": 8}])
def test_V08_a_resumption_that_does_not_join_on_is_none(answer: dict[str, int]) -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot(stream=7), server.delta())
    bench.follower.lost()
    asked = bench.connect()[1]
    assert (asked["session"], asked["stream"], asked["seq"]) == ("first", 7, 2)
    bench.give(server.other("resumed", **answer))
    assert "session" not in bench.follower.to_send()[0]
    assert bench.give(server.delta()) == [False]


def test_V10_another_session_is_another_clock_and_nothing_of_the_old_one_is_resumed() -> None:
    bench, old = Bench(), Server("first", started_ns=900_000 * SECOND)
    bench.give(old.snapshot(), old.delta())
    before = bench.follower.snapshot()
    bench.follower.lost()
    bench.connect()
    new = Server("second", started_ns=5 * SECOND)
    bench.give({"type": "welcome", "protocol": 1, "session": "second", "mono_ns": new.clock.now().mono_ns})
    assert bench.follower.session is None
    assert bench.give(new.snapshot()) == [True]
    after = bench.follower.snapshot()
    assert bench.follower.stats["sessions"] == 1
    assert after.breaks > before.breaks
    assert after[new.row].delta > 0
    assert before[old.row].delta > 0, "held against the clock of its own sidecar"
    bench.clock.advance(3 * SECOND)
    assert before[old.row].status is after[new.row].status is Status.STALE


def test_V10_a_sidecar_that_says_amid_a_connection_that_it_is_another_one_is_left() -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot())
    bench.give({"type": "welcome", "protocol": 1, "session": "first"})  # nothing new
    with pytest.raises(ProtocolError, match="another one"):
        bench.give({"type": "welcome", "protocol": 1, "session": "second"})
    assert bench.give(server.delta()) == [False]
    assert not {"session", "seq"} & bench.connect()[-1].keys()


def test_a_refusal_is_an_error_once_and_passing_ones_are_waited_out() -> None:
    bench, server = Bench(), Server()
    refusal = {"type": "error", "code": "rate_limited", "message": "slowly"}
    with pytest.raises(RequestRefused, match="rate_limited: slowly") as caught:
        bench.give(refusal)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    bench.connect()
    bench.give(server.snapshot(), refusal)
    assert bench.follower.wants_reconnect == "rate_limited"
    bench.connect()
    with pytest.raises(RequestRefused, match="unknown_column"):
        bench.give({"type": "error", "code": "unknown_column", "message": "no"})


def test_V10_a_sidecar_that_has_just_started_may_not_know_yet_what_it_served_before() -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot())
    bench.connect()
    bench.give({"type": "error", "code": "unknown_expiry", "message": "no expiry on '25DEC26'; there are "})
    assert bench.follower.wants_reconnect == "unknown_expiry"
    assert set(CODES) >= PASSING


def test_messages_of_other_streams_and_of_unknown_types_change_nothing() -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot())
    assert bench.give(server.delta() | {"underlying": "ETH"}, {"type": "alert", "text": "x"}) == [False, False]
    assert (bench.follower.stats["foreign"], bench.follower.stats["unknown"]) == (1, 1)
    assert bench.follower.in_sync


def test_V13_a_newer_protocol_is_refused_and_newer_fields_are_not() -> None:
    bench, server = Bench(), Server()
    whole = server.snapshot(something_new={"a": [1]})
    whole["columns"]["something_new"] = [1.0] * len(whole["columns"]["name"])
    whole["columns"]["reasons"][0] = ["A_NEW_REASON"]
    del whole["crc32"]
    assert bench.give(whole) == [True]
    with pytest.raises(ProtocolError, match="protocol 2"):
        bench.give({"type": "welcome", "protocol": 2})


def test_X01_the_plain_accessor_refuses_and_what_may_be_absent_says_so_to_type_checkers() -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot())
    row = bench.follower.snapshot()[server.row]
    usable: float = row.delta
    bench.clock.advance(3 * SECOND)
    with pytest.raises(NotTradable, match=r"delta of .* is STALE"):
        _ = row.delta
    absent: float | None = row.get("delta")
    asked_for: float | None = row.get("delta", allow={Status.STALE})
    assert (absent, asked_for) == (None, usable)
    assert get_type_hints(Row.__getattr__)["return"] is float
    assert get_type_hints(Row.get)["return"] == float | None


def test_X05_what_a_client_is_given_is_read_only() -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot())
    block = bench.follower.snapshot().blocks[0]
    for array in (block.values, block.status, block.reasons, block.quote_mono_ns, block.quote_valid_until_ns):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


BROKEN: dict[str, dict[str, Any]] = {
    "no seq": {"seq": None},
    "a seq that is text": {"seq": "1"},
    "no moment": {"mono_ns": None},
    "an instant beyond all": {"mono_ns": 2**63},
    "an index that is none": {"index": {"value": "1.0"}},
    "a status that is none": {"index": {"status": "FINE"}},
    "expiries that are none": {"expiries": 3},
    "columns that are none": {"columns": [1]},
    "a column too short": {"columns": {"iv": [1.0]}},
    "text for numbers": {"columns": {"iv": ["1.0"] * 16}},
    "lists for numbers": {"columns": {"iv": [[1.0]] * 16}},
    "a status of a row that is none": {"columns": {"status": ["FINE"] * 16}},
    "instants beyond all": {"columns": {"quote_mono_ns": [2**62 + 1] * 16}},
    "no names": {"columns": {"name": [None] * 16}},
    "rows that are text": {"rows": "all"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_V05_what_is_no_message_is_a_protocol_error_and_nothing_of_it_is_taken(name: str) -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot())
    before = bench.follower.snapshot().columns()
    whole = server.snapshot()
    broken = BROKEN[name]
    for key, value in broken.items():
        whole[key] = whole[key] | value if isinstance(value, dict) and key in whole else value
    with pytest.raises(ProtocolError):
        bench.give(whole)
    for column, values in before.items():
        np.testing.assert_array_equal(bench.follower.snapshot().columns()[column], values)
    assert "session" not in bench.connect()[1], "nothing to resume from"


@pytest.mark.parametrize("rows", [[16], [-1], [2**63]])
def test_V05_rows_that_do_not_exist_are_a_protocol_error(rows: list[int]) -> None:
    bench, server = Bench(), Server()
    bench.give(server.snapshot())
    delta = server.delta()
    delta["columns"] = {"iv": [0.5]}
    delta["rows"] = rows
    with pytest.raises(ProtocolError):
        bench.give(delta)


@pytest.mark.parametrize("payload", [b"", b"\xff", "{", "[" * 100_000, "null", "{}", '{"type":1}', b'{"type":"\xff"}'])
def test_V05_what_is_no_json_is_a_protocol_error(payload: bytes | str) -> None:
    with pytest.raises(ProtocolError):
        decode_json(payload)


def test_a_table_has_the_checksum_of_the_page() -> None:
    """Row by row, eight little-endian bytes each; what no delta changes is left out."""
    table = Table()
    iv, delta = np.array([0.5, np.nan]), np.array([-0.25, 1.0])
    table.begin({"strike": np.array([1.0, 2.0]), "iv": iv, "cp": np.array([1, -1], np.int8), "delta": delta})
    assert table.crc32() == crc32_of([iv, delta])
    table.change(np.array([1]), {"iv": np.array([0.75])})
    assert table.crc32() == crc32_of([np.array([0.5, 0.75]), delta])
    assert np.isnan(iv[1])
