"""The contract of every encoding: each carries the same values bit for bit, and refuses what is not its own."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricer.conventions import NO_TIME
from pricer.errors import PayloadError
from pricer.sidecar.decoding import column_of
from pricer.sidecar.encodings import ENCODINGS, JSON, MSGPACK, PROTOBUF, Encoding
from pricer.sidecar.encodings.columns import letters_of
from pricer.sidecar.messages import Message
from pricer.sidecar.schemas.messages import MESSAGES
from pricer.sidecar.schemas.plan import columns
from pricer.sidecar.schemas.tables import TABLES
from tests.sidecar.encodings.made import assert_same, bits, message

EVERY = pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=lambda encoding: encoding.name)
BINARY = pytest.mark.parametrize("encoding", [MSGPACK, PROTOBUF], ids=lambda encoding: encoding.name)
REQUESTS: list[dict[str, Any]] = [
    {"op": "subscribe", "channel": "chain", "underlying": "BTC"},
    {"op": "subscribe", "channel": "chain", "underlying": "BTC", "venue": "deribit", "columns": ["iv", "delta"]},
    {"op": "subscribe", "channel": "chain", "underlying": "BTC", "expiries": {"first": 2}, "strikes": {"delta": 0.1}},
    {"op": "subscribe", "channel": "chain", "underlying": "BTC", "expiries": ["2026-12-25", "25DEC26"]},
    {"op": "subscribe", "channel": "trades", "instrument": "X", "session": "s", "seq": 2**40, "interval_ms": 500},
    {"op": "unsubscribe", "channel": "health"},
    {"op": "ping"},
    {"op": "auth", "token": "ä" * 200},
]


@EVERY
@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_comes_back_as_it_was(encoding: Encoding, name: str) -> None:
    made = message(name)
    assert_same(made, encoding.decode(made.encoded(encoding)))


@EVERY
@pytest.mark.parametrize("name", ["chain-snapshot", "trades-delta"])
def test_a_table_without_rows_comes_back(encoding: Encoding, name: str) -> None:
    made = message(name, rows=0)
    assert made.columns is not None
    back = encoding.decode(made.encoded(encoding)).columns
    assert back is not None
    assert all(len(column) == 0 for column in back.values())
    assert {"name", "strike", "status"} <= set(back) or name == "trades-delta"


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=False, width=64), min_size=1, max_size=8),
    st.lists(st.integers(NO_TIME, 2**63 - 1), min_size=1, max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_all_encodings_carry_the_same_doubles_and_instants(values: list[float], instants: list[int]) -> None:
    floats, times = np.array(values), np.array(instants, np.int64)
    head = {"type": "delta", "seq": 1, "channel": "chain", "venue": "", "underlying": "", "sent_ns": 1, "mono_ns": 1}
    made = Message(head, {"iv": floats, "bid": -floats[::-1], "quote_mono_ns": times}, np.arange(len(values)))
    for encoding in ENCODINGS.values():
        back = encoding.decode(encoding.encode(made)).columns
        assert back is not None
        assert [bits(back["iv"]), bits(back["bid"])] == [bits(floats), bits(-floats[::-1])], encoding.name
        assert bits(back["quote_mono_ns"]) == bits(times), encoding.name


@BINARY
def test_no_value_is_always_the_same_eight_bytes(encoding: Encoding) -> None:
    """So that a reader may take the checksum over the bytes as they come."""
    odd = np.array([0xFFF8000000000000, 0x7FF8000000000001, 0x7FF0000000000000], np.uint64).view(np.float64)
    made = message("chain-delta")
    table = {"iv": odd}
    payload = encoding.encode(Message(made.head, table, np.arange(3)))
    assert struct.pack("<Q", 0x7FF8000000000000) * 3 in payload
    assert odd.view(np.uint64)[0] == 0xFFF8000000000000, "the stream's own column is not touched"


@BINARY
def test_a_column_is_its_own_bytes(encoding: Encoding) -> None:
    made = message("chain-snapshot")
    assert made.columns is not None
    payload = encoding.encode(made)
    for name in ("strike", "expiry_ns", "status", "reasons"):
        column = made.columns[name]
        assert isinstance(column, np.ndarray)
        wire = np.where(np.isnan(column), np.nan, column) if column.dtype == np.float64 else column
        assert wire.tobytes() in payload, name


@EVERY
@pytest.mark.parametrize("request_made", REQUESTS, ids=lambda request: request["op"])
def test_every_request_comes_back_as_it_was(encoding: Encoding, request_made: dict[str, Any]) -> None:
    assert encoding.decode_request(encoding.encode_request(request_made)) == request_made


@EVERY
@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_V05_bytes_of_anybody_are_a_request_or_a_typed_refusal(encoding: Encoding, payload: bytes) -> None:
    for take in (encoding.decode_request, encoding.decode):
        try:
            out = take(payload)
        except PayloadError:
            continue
        assert isinstance(out, dict | Message)


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [
        (JSON, b"[" * 10_000),
        (JSON, b'{"a":' * 3000 + b"1" + b"}" * 3000),
        (MSGPACK, b"\x81\xa1a" * 5000 + b"\xc0"),
        (MSGPACK, b"\xdf\xff\xff\xff\xff"),
        (PROTOBUF, b"\x0a\xff\xff\xff\xff\x0f"),
        (PROTOBUF, b"\x0b" * 5000),
        (PROTOBUF, b"\xff" * 50),
    ],
)
def test_V05_deep_and_endless_payloads_are_refused(encoding: Encoding, payload: bytes) -> None:
    with pytest.raises(PayloadError):
        encoding.decode_request(payload)


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [
        (MSGPACK, b"\x82\xa2op\xa4auth\xa2op\xa4ping"),
        (PROTOBUF, PROTOBUF.encode_request({"op": "auth", "token": "x"}) + PROTOBUF.encode_request({"op": "ping"})),
    ],
)
def test_V05_of_a_name_that_stands_twice_the_last_counts(encoding: Encoding, payload: bytes) -> None:
    assert encoding.decode_request(payload) == {"op": "ping"}


@BINARY
def test_a_message_that_is_cut_anywhere_is_refused_or_shorter_but_never_wrong(encoding: Encoding) -> None:
    payload = message("depth-delta").encoded(encoding)
    for end in range(0, len(payload), 7):
        with pytest.raises(PayloadError):
            encoding.decode(payload[:end])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(["type", "channel", "rows", "columns", "iv", "status", "reasons", "cp", "quote_mono_ns"]), ANYTHING
)
@settings(max_examples=200, deadline=None)
def test_a_message_with_nonsense_in_one_place_is_refused_or_read(place: str, nonsense: Any) -> None:
    """What comes out of a reader is a message, or the one error that its caller has to expect."""
    body = orjson.loads(message("chain-delta").encoded(JSON))
    (body if place in body and place != "reasons" else body["columns"])[place] = nonsense
    for encoding in (JSON, MSGPACK):
        try:
            assert isinstance(encoding.decode(encoding.encode_request(body)), Message)
        except PayloadError:
            continue


def test_fields_and_columns_that_the_proto_does_not_know_are_left_out() -> None:
    made = message("depth-delta")
    more = Message(made.head | {"news": 1}, {**(made.columns or {}), "newer": np.zeros(3)}, made.rows)
    assert more.encoded(PROTOBUF) == made.encoded(PROTOBUF)


def test_V13_a_reader_skips_what_a_newer_sidecar_sends() -> None:
    payload = message("heartbeat").encoded(PROTOBUF)
    newer = payload + b"\xf8\x7f\x01"  # field 2047, a varint, beside the body
    assert_same(message("heartbeat"), PROTOBUF.decode(newer))
    packed = MSGPACK.encode(Message(message("heartbeat").head | {"news": [1]}))
    assert MSGPACK.decode(packed).head["news"] == [1]


def test_each_encoding_is_found_by_its_subprotocol_and_json_is_the_first() -> None:
    assert list(ENCODINGS) == ["volstream.v1.json", "volstream.v1.msgpack", "volstream.v1.protobuf"]
    assert [encoding.is_text for encoding in ENCODINGS.values()] == [True, False, False]


@pytest.mark.parametrize("channel", TABLES)
def test_a_bot_knows_by_its_name_what_a_column_of_json_holds(channel: str) -> None:
    """It has no models: what it reads with must say the same as they do."""
    for name, field in columns(channel).items():
        column = column_of(name, [])
        assert (None if isinstance(column, list) else letters_of(column)) == field.dtype, name
