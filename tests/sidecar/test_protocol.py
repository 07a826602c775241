"""What a client may say, and what it is told when it says something else."""

from __future__ import annotations

import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.config import ServerSection
from pricer.sidecar.encodings import JSON, MSGPACK, Encoding
from pricer.sidecar.protocol import (
    CODES,
    NEW_STREAM_COST,
    OPS,
    Ping,
    Refused,
    Session,
    Subscribe,
    Unsubscribe,
    negotiate,
    parse,
)
from tests.handmade import SECOND

LIMIT = 16_384
SUBSCRIBE = '{"op":"subscribe","channel":"chain","underlying":"BTC"'


def code(text: str) -> str:
    with pytest.raises(Refused) as caught:
        parse(text, LIMIT)
    assert "Traceback" not in str(caught.value)
    assert orjson.loads(caught.value.reply) == {
        "type": "error",
        "code": caught.value.code,
        "message": str(caught.value),
        **caught.value.subject,
    }
    return caught.value.code


def answer(text: str) -> tuple[str, bytes]:
    """The op of a request, or the code and the reply of its refusal."""
    try:
        return parse(text, LIMIT).op, b""
    except Refused as refused:
        return refused.code, refused.reply


def test_requests_are_understood() -> None:
    assert parse(SUBSCRIBE + "}", LIMIT) == Subscribe(op="subscribe", channel="chain", underlying="BTC")
    assert parse('{"op":"unsubscribe","channel":"chain","underlying":"BTC","venue":"okx"}', LIMIT) == Unsubscribe(
        op="unsubscribe", channel="chain", underlying="BTC", venue="okx"
    )
    assert parse('{"op":"ping"}', LIMIT) == Ping(op="ping")


def test_fields_of_a_newer_client_are_ignored() -> None:
    assert parse(SUBSCRIBE + ',"depth":5,"nested":{"a":[1]}}', LIMIT) == parse(SUBSCRIBE + "}", LIMIT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "bad_json"),
        ("{", "bad_json"),
        ('{"op":"ping","n":NaN}', "bad_json"),
        ('{"op":"ping","n":Infinity}', "bad_json"),
        ('{"op":"ping"}{}', "bad_json"),
        ('{"op":"ping","op":"subscribe"}', "bad_json"),
        (SUBSCRIBE + ',"channel":"depth"}', "bad_json"),
        (SUBSCRIBE + ',"more":{"a":1,"a":2}}', "bad_json"),
        ('{"op":"ping","n":-Infinity}', "bad_json"),
        ('{"op":"ping","n":1e999}', "bad_json"),
        ('{"op":"ping","x":' + "[" * 900 + "]" * 900 + "}", "bad_request"),
        ('{"op":"ping","x":' + '{"a":' * 900 + "1" + "}" * 900 + "}", "bad_request"),
        ('{"op":"ping","x":"\\ud800"}', "bad_json"),
        ('{"op":"auth"}', "bad_request"),
        ('{"op":"auth","token":""}', "bad_request"),
        ("[" * 16_000, "bad_json"),
        ('{"op":' * 2_500, "bad_json"),
        ('{"op":"ping","x":"' + "a" * LIMIT + '"}', "too_large"),
        ('{"op":"ping","x":"' + "é" * (LIMIT // 2) + '"}', "too_large"),
        ("[]", "bad_request"),
        ("null", "bad_request"),
        ("{}", "unknown_op"),
        ('{"op":"SUBSCRIBE"}', "unknown_op"),
        ('{"op":["subscribe"]}', "unknown_op"),
        ('{"op":"subscribe","underlying":"BTC"}', "bad_request"),
        ('{"op":"subscribe","channel":"quotes","underlying":"BTC"}', "unknown_channel"),
        ('{"op":"subscribe","channel":"chain"}', "bad_request"),
        ('{"op":"subscribe","channel":"chain","underlying":7}', "bad_request"),
        ('{"op":"subscribe","channel":"chain","underlying":""}', "bad_request"),
        ('{"op":"subscribe","channel":"chain","underlying":"' + "B" * 65 + '"}', "bad_request"),
        (SUBSCRIBE + ',"venue":{}}', "bad_request"),
        (SUBSCRIBE + ',"columns":"iv"}', "bad_request"),
    ],
)
def test_V05_bad_messages_get_a_code(text: str, expected: str) -> None:
    assert code(text) == expected
    assert expected in CODES


@given(
    st.one_of(
        st.text(max_size=300),
        st.recursive(
            st.none()
            | st.booleans()
            | st.floats()
            | st.text(max_size=8)
            | st.sampled_from(["subscribe", "chain", "BTC"]),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["op", "channel", "underlying", "venue", "columns", "x"]), inner, max_size=5
                )
            ),
            max_leaves=12,
        ).map(lambda value: orjson.dumps(value).decode()),
    )
)
def test_V05_whatever_comes_is_a_request_or_a_refusal(text: str) -> None:
    op, reply = answer(text)
    assert op in OPS or (op in CODES and len(reply) < 1200)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ('"interval_ms":"500"', "interval_ms: should be a valid integer, not '500'"),
        (
            '"expiries":{"last":2}',
            'expiries: should be {"first": n}, n from 1 to 1000, or a list of 1 to 64 dates, not an object',
        ),
        (
            '"expiries":[]',
            'expiries: should be {"first": n}, n from 1 to 1000, or a list of 1 to 64 dates, not a list of 0',
        ),
        ('"strikes":{"count":0}', "strikes.count: should be greater than or equal to 1, not 0"),
    ],
)
def test_an_error_names_field_and_value_in_plain_words(field: str, said: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(f"{SUBSCRIBE},{field}}}", LIMIT)
    assert str(caught.value) == said


def test_a_token_of_the_wrong_kind_is_not_repeated() -> None:
    for token in ('""', "123456789", '["a secret"]', '"%s"' % ("s3cret" * 1000)):
        with pytest.raises(Refused) as caught:
            parse(f'{{"op":"auth","token":{token}}}', 10 * LIMIT)
        assert str(caught.value).startswith("token: ")
        assert not re.search("cret|1234", str(caught.value) + repr(caught.value.subject))


def test_an_error_repeats_what_the_message_named_as_far_as_it_could_be_read() -> None:
    for text, subject in (
        (SUBSCRIBE + ',"interval_ms":"1"}', {"channel": "chain", "underlying": "BTC"}),
        ('{"op":"subscribe","channel":"depth","instrument":"X"}', {"channel": "depth", "instrument": "X"}),
        ('{"op":"subscribe","channel":"quotes","underlying":7}', {"channel": "quotes"}),
        (
            '{"op":"unsubscribe","channel":"chain","underlying":"%s","venue":"v"}' % ("B" * 65),
            {"channel": "chain", "venue": "v"},
        ),
        ('{"op":"subscribe"', {}),
    ):
        with pytest.raises(Refused) as caught:
            parse(text, LIMIT)
        assert caught.value.subject == subject
        assert caught.value.head.items() >= subject.items()


def test_V05_an_error_message_repeats_little_of_what_came() -> None:
    with pytest.raises(Refused) as caught:
        parse('{"op":"' + "x" * 5000 + '"}', LIMIT)
    assert len(str(caught.value)) < 200


def test_V05_errors_in_a_row_end_a_session_and_a_good_request_forgives() -> None:
    session = Session(ServerSection(max_errors=3))
    assert [session.refused(), session.refused()] == [False, False]
    session.served()
    assert [session.refused(), session.refused(), session.refused()] == [False, False, True]


def test_V06_requests_are_limited_to_a_rate() -> None:
    session = Session(ServerSection(max_requests_per_s=10))
    for _ in range(20):
        session.receive('{"op":"ping"}', 0)
    with pytest.raises(Refused, match="at most 10 messages a second"):
        session.receive('{"op":"ping"}', 0)
    session.receive('{"op":"ping"}', SECOND // 5)


def test_V06_a_request_that_makes_work_counts_more() -> None:
    session = Session(ServerSection(max_requests_per_s=10))
    for _ in range(round(20 / (1 + NEW_STREAM_COST))):
        session.receive('{"op":"ping"}', 0)
        session.charge(NEW_STREAM_COST, 0)
    with pytest.raises(Refused, match="what makes work counts more"):
        session.charge(NEW_STREAM_COST, 0)


def test_V13_the_first_subprotocol_of_the_clients_that_there_is_is_taken() -> None:
    known: dict[str, Encoding] = {"volstream.v1.json": JSON, "volstream.v1.msgpack": MSGPACK}
    assert negotiate([], known, JSON) == (JSON, None)
    assert negotiate(["graphql-ws"], known, JSON) == (JSON, None)
    encoding, name = negotiate(["volstream.v2.json", "volstream.v1.msgpack", "volstream.v1.json"], known, JSON)
    assert (encoding.name, name) == ("msgpack", "volstream.v1.msgpack")
    with pytest.raises(Refused, match=r"there are the subprotocols volstream\.v1\.json, volstream\.v1\.msgpack"):
        negotiate(["graphql-ws", "volstream.v2.json"], known, JSON)


def test_a_binary_encoding_takes_both_its_own_requests_and_text() -> None:
    session = Session(ServerSection(), MSGPACK)
    for ping in (MSGPACK.encode_request({"op": "ping"}), '{"op":"ping"}'):
        assert session.receive(ping, 0) == Ping(op="ping")
    for payload, expected in ((b"\xff", "bad_binary"), (b"\x90", "bad_binary"), (b"x" * 20_000, "too_large")):
        with pytest.raises(Refused) as caught:
            session.receive(payload, 0)
        assert caught.value.code == expected
        assert expected in CODES


def test_a_binary_message_is_refused() -> None:
    with pytest.raises(Refused, match="text message"):
        Session(ServerSection()).receive(b"{}", 0)
