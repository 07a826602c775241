"""The JSON-RPC rules by themselves: ids, limits, error codes, heartbeats; no sockets."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from pricer.clock import Instant, ManualClock
from pricer.simulator.faults import Faults
from pricer.simulator.market import Market
from pricer.simulator.venues.deribit.rpc import Bucket, Limits, Rpc, Session

START = int(datetime(2026, 11, 21, 14, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(7, START)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(Instant(START, 0))


@pytest.fixture
def rpc(market: Market, clock: ManualClock) -> Rpc:
    return Rpc(market, clock, Faults(set()))


@pytest.fixture
def session(rpc: Rpc) -> Session:
    return rpc.open()


def ask(rpc: Rpc, session: Session, method: str, **params: object) -> Any:
    frames = rpc.receive(session, json.dumps({"jsonrpc": "2.0", "id": 5, "method": method, "params": params}))
    return json.loads(frames[0])


@pytest.mark.parametrize("request_id", [0, 7, 2**53, "abc"])
def test_ids_are_echoed(rpc: Rpc, session: Session, request_id: int | str) -> None:
    (frame,) = rpc.receive(session, json.dumps({"jsonrpc": "2.0", "id": request_id, "method": "public/test"}))
    reply = json.loads(frame)
    assert reply["id"] == request_id
    assert reply["result"] == {"version": "1.2.26"}
    assert reply["usDiff"] == reply["usOut"] - reply["usIn"] >= 0
    assert reply["testnet"] is False


def test_a_request_without_an_id_is_answered_without_one(rpc: Rpc, session: Session) -> None:
    assert "id" not in json.loads(rpc.receive(session, '{"method":"public/test"}')[0])


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("", -32700),
        ("{", -32700),
        ("\x00", -32700),
        (b"\xff\xfe", -32700),
        ("[1, 2]", -32600),
        ('{"id":1}', -32600),
        ('{"id":1,"method":7}', -32600),
        ('{"id":1,"method":"public/nothing"}', -32601),
        ('{"id":1,"method":"public/get_order_book","params":{"instrument_name":"BTC-PERPETUAL","depth":3}}', -32602),
        ('{"id":1,"method":"private/buy"}', 13009),
        ('{"id":1,"method":"public/subscribe","params":[1]}', -32602),
        ('{"id":1,"method":"private/get_positions"}', 13009),
    ],
)
def test_frames_that_are_no_use_get_an_error_and_the_session_lives(
    rpc: Rpc, session: Session, frame: str | bytes, code: int
) -> None:
    (reply,) = rpc.receive(session, frame)
    assert json.loads(reply)["error"]["code"] == code
    assert session.closing is None


def test_an_oversize_frame_is_refused_without_an_id(rpc: Rpc, session: Session) -> None:
    channels = [f"ticker.BTC-27DEC26-{n}-C.100ms" for n in range(1_200)]
    frame = json.dumps({"id": 3, "method": "public/subscribe", "params": {"channels": channels}})
    assert len(frame) > 32 * 1024
    (reply,) = rpc.receive(session, frame)
    assert json.loads(reply)["error"]["code"] == -32600
    assert "id" not in json.loads(reply)
    assert session.channels == set()


@pytest.mark.parametrize("channels", [None, [], "ticker.BTC-PERPETUAL.100ms", [1], ["x"] * 501])
def test_channels_must_be_a_list_of_one_to_500_names(rpc: Rpc, session: Session, channels: object) -> None:
    reply = ask(rpc, session, "public/subscribe", channels=channels)
    assert reply["error"]["code"] == -32602
    assert reply["error"]["data"]["param"] == "channels"


def test_channels_that_do_not_exist_are_left_out_in_silence(rpc: Rpc, session: Session) -> None:
    name = rpc.market.chains["BTC"].names[0]
    good = {f"ticker.{name}.100ms", "ticker.BTC-PERPETUAL.100ms", "deribit_price_index.btc_usdc"}
    good |= {"instrument.state.option.BTC", "instrument.creation.any.any", "platform_state"}
    bad = {f"ticker.{name}", f"ticker.{name}.7ms", f"ticker.{name.lower()}.100ms", "ticker.BTC-1JAN20-1-C.100ms"}
    bad |= {"deribit_price_index.xyz_usd", "instrument.state.option.XYZ", "user.orders.BTC.100ms", "", "..", "é"}
    reply = ask(rpc, session, "public/subscribe", channels=sorted(good | bad))
    assert set(reply["result"]) == session.channels == good


def test_raw_needs_a_login(rpc: Rpc, session: Session) -> None:
    reply = ask(rpc, session, "public/subscribe", channels=["platform_state", "ticker.BTC-PERPETUAL.raw"])
    assert reply["error"] == {"code": 13778, "message": "raw_subscriptions_not_available_for_unauthorized"}
    assert session.channels == set()


def test_a_new_channel_is_sent_its_present_state_once(rpc: Rpc, session: Session) -> None:
    name = rpc.market.chains["BTC"].names[3]
    request = json.dumps({"id": 1, "method": "public/subscribe", "params": {"channels": [f"ticker.{name}.100ms"]}})
    reply, first = rpc.receive(session, request)
    assert json.loads(reply)["result"] == [f"ticker.{name}.100ms"]
    assert json.loads(first)["params"]["data"]["instrument_name"] == name
    assert len(rpc.receive(session, request)) == 1  # subscribing twice changes nothing


def test_unsubscribe_names_what_it_ended(rpc: Rpc, session: Session) -> None:
    channels = ["platform_state", "deribit_price_index.btc_usd"]
    ask(rpc, session, "public/subscribe", channels=channels)
    assert ask(rpc, session, "public/unsubscribe", channels=[channels[0], "other"])["result"] == [channels[0]]
    assert session.channels == {channels[1]}
    assert ask(rpc, session, "public/unsubscribe_all")["result"] == "ok"
    assert session.channels == set()


def test_subscribe_calls_run_out_of_credits_and_the_session_is_closed(rpc: Rpc, session: Session) -> None:
    replies = [ask(rpc, session, "public/subscribe", channels=["platform_state"]) for _ in range(11)]
    assert all("result" in reply for reply in replies[:10])
    assert replies[10]["error"] == {"code": 10028, "message": "too_many_requests", "data": None}
    assert session.closing == "too_many_requests"


def test_a_client_at_the_sustained_rates_is_never_refused(rpc: Rpc, session: Session, clock: ManualClock) -> None:
    for _ in range(100):
        assert "result" in ask(rpc, session, "public/subscribe", channels=["platform_state"])
        clock.advance(3 * SECOND // 10)
    for _ in range(1_000):
        assert "result" in ask(rpc, session, "public/test")
        clock.advance(SECOND // 20)
    assert session.closing is None


def test_requests_burst_to_a_hundred(rpc: Rpc, session: Session) -> None:
    outcomes = ["result" in ask(rpc, session, "public/test") for _ in range(101)]
    assert outcomes == [True] * 100 + [False]


def test_instrument_lists_have_an_allowance_of_their_own(rpc: Rpc, session: Session, clock: ManualClock) -> None:
    outcomes = ["result" in ask(rpc, session, "public/get_instruments", currency="ETH") for _ in range(6)]
    assert outcomes == [True] * 5 + [False]
    other = rpc.open()
    clock.advance(10 * SECOND)
    assert "result" in ask(rpc, other, "public/get_instruments", currency="ETH")


def test_a_bucket_refills_to_its_pool_and_no_further() -> None:
    bucket = Bucket((10.0, 20.0, 5.0), 0)
    assert [bucket.take(0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(SECOND)
    assert bucket.take(2 * SECOND)
    assert [bucket.take(1_000 * SECOND) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("interval", [None, 9, 9.99, 0, -1, "10", True, 10**9])
def test_a_heartbeat_under_ten_seconds_is_refused(rpc: Rpc, session: Session, interval: object) -> None:
    reply = ask(rpc, session, "public/set_heartbeat", interval=interval)
    assert reply["error"]["code"] == -32602
    assert reply["error"]["data"]["param"] == "interval"
    assert session.heartbeat_ns == 0


def test_an_answered_test_request_keeps_the_session_and_an_unanswered_one_ends_it(rpc: Rpc, session: Session) -> None:
    assert ask(rpc, session, "public/set_heartbeat", interval=10)["result"] == "ok"
    assert session.beat(9 * SECOND) == []
    assert len(session.beat(10 * SECOND)) == 2
    ask(rpc, session, "public/test")
    assert len(session.beat(20 * SECOND)) == 2
    assert session.closing is None
    assert session.beat(30 * SECOND) == []
    assert session.closing == "heartbeat_timeout"


def test_heartbeats_end_when_disabled(rpc: Rpc, session: Session) -> None:
    ask(rpc, session, "public/set_heartbeat", interval=10)
    assert ask(rpc, session, "public/disable_heartbeat")["result"] == "ok"
    assert session.beat(100 * SECOND) == []


def test_hello_and_time(rpc: Rpc, session: Session) -> None:
    assert ask(rpc, session, "public/hello", client_name="a", client_version="1")["result"]["version"]
    assert ask(rpc, session, "public/hello", client_name="a")["error"]["data"]["param"] == "client_version"
    assert ask(rpc, session, "public/get_time")["result"] == START // 1_000_000


@pytest.mark.parametrize(
    ("currency", "kind", "prefixes"),
    [
        ("BTC", "option", {"BTC"}),
        ("USDC", "option", {"BTC_USDC"}),
        ("any", "any", {"BTC", "BTC_USDC"}),
        (None, "any", {"BTC", "BTC_USDC"}),  # as the ccxt client asks
        ("ETH", "option", set()),
        ("BTC", "spot", set()),
    ],
)
def test_instruments_are_filed_under_their_settlement_currency(
    rpc: Rpc, session: Session, currency: str | None, kind: str, prefixes: set[str]
) -> None:
    asked = {"kind": kind} if currency is None else {"currency": currency, "kind": kind}
    found = ask(rpc, session, "public/get_instruments", **asked)["result"]
    assert {item["instrument_name"].partition("-")[0] for item in found} == prefixes
    assert len({item["instrument_id"] for item in found}) == len(found)


@pytest.mark.parametrize(
    ("params", "param"), [({"currency": "XYZ"}, "currency"), ({"currency": "BTC", "kind": 1}, "kind")]
)
def test_bad_instrument_queries_name_the_parameter(
    rpc: Rpc, session: Session, params: dict[str, object], param: str
) -> None:
    assert ask(rpc, session, "public/get_instruments", **params)["error"]["data"]["param"] == param


def test_single_instruments_and_tickers_of_options_and_futures(rpc: Rpc, session: Session) -> None:
    for name in (rpc.market.chains["BTC_USDC"].names[0], "BTC-PERPETUAL"):
        assert ask(rpc, session, "public/get_instrument", instrument_name=name)["result"]["instrument_name"] == name
        assert ask(rpc, session, "public/ticker", instrument_name=name)["result"]["instrument_name"] == name
    assert ask(rpc, session, "public/ticker", instrument_name="BTC-1JAN20-1-C")["error"]["code"] == -32602
    assert ask(rpc, session, "public/get_index_price", index_name="x")["error"]["code"] == -32602


def test_http_answers_with_the_status_of_the_error(rpc: Rpc) -> None:
    assert rpc.http("/api/v2/public/test", "")[0] == 200
    assert rpc.http("/api/v2/public/nothing", "")[0] == 400
    assert rpc.http("/api/v2/public/subscribe", "channels=platform_state")[0] == 400  # WebSocket only
    status, body = rpc.http("/api/v2/public/get_instruments", "currency=BTC&kind=option&expired=true")
    assert (status, json.loads(body)["result"]) == (200, [])


def test_http_instrument_lists_are_limited(market: Market, clock: ManualClock) -> None:
    rpc = Rpc(market, clock, Faults(set()), Limits(instruments_http=(1.0, 2.0, 1.0)))
    statuses = [rpc.http("/api/v2/public/get_instruments", "currency=ETH")[0] for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_a_refused_instrument_is_left_out(rpc: Rpc, session: Session) -> None:
    first, second = rpc.market.chains["BTC"].names[:2]
    rpc.faults.refused.add(first)
    reply = ask(rpc, session, "public/subscribe", channels=[f"ticker.{n}.100ms" for n in (first, second)])
    assert reply["result"] == [f"ticker.{second}.100ms"]


def test_expired_instruments_are_listed_apart() -> None:
    eight = int(datetime(2026, 11, 22, 8, tzinfo=UTC).timestamp()) * SECOND
    market = Market(7, eight - SECOND)
    rpc = Rpc(market, ManualClock(Instant(eight, 0)), Faults(set()))
    name = market.chains["BTC"].names[0]
    assert "-22NOV26-" in name
    market.step(eight)
    session = rpc.open()
    expired = ask(rpc, session, "public/get_instruments", currency="BTC", kind="option", expired=True)["result"]
    live = ask(rpc, session, "public/get_instruments", currency="BTC", kind="option", expired=False)["result"]
    assert {item["state"] for item in expired} == {"archivized"}
    assert not any(item["is_active"] for item in expired)
    assert name in {item["instrument_name"] for item in expired}
    assert not {item["instrument_name"] for item in expired} & {item["instrument_name"] for item in live}
    assert not rpc.accepts(f"ticker.{name}.100ms")
