"""Logging in to Deribit: what waits for it, how it is renewed, how it fails, and that its secrets stay its own."""

from __future__ import annotations

import copy
import math
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

from pricer.adapters.adapter import WsSend
from pricer.adapters.deribit import Credentials, Deribit
from pricer.adapters.deribit.account import STAND_IN, check_goal, signature
from pricer.adapters.events import (
    AccountStatus,
    AnyEvent,
    Fill,
    OptionQuote,
    Order,
    Portfolio,
    Position,
    SubscriptionRejected,
)
from pricer.adapters.recording import RecordingWriter, open_recording
from pricer.adapters.records import Frame
from pricer.clock import NS_PER_SECOND
from pricer.errors import ConfigError
from tests.adapters.deribit_frames import NOW, encoded, fixture, frame
from tests.adapters.private_venue import CANARY, KEY, TOKENS, PrivateVenue, credentials

OPTION = "BTC-12MAR25-65000-C"
CHANGES: dict[str, Any] = {
    "instrument_name": OPTION,
    "orders": [
        {"instrument_name": OPTION, "order_id": "o1", "order_state": "filled", "direction": "sell", "price": 0.21,
         "amount": 2.0, "filled_amount": 2.0, "label": "x1", "last_update_timestamp": 1741731610440},
    ],
    "trades": [
        {"instrument_name": OPTION, "trade_id": "t1", "order_id": "o1", "direction": "sell", "price": 0.21,
         "amount": 2.0, "fee": 0.0006, "timestamp": 1741731610440},
    ],
    "positions": [
        {"instrument_name": OPTION, "direction": "sell", "size": -2.0, "average_price": 0.21, "mark_price": 0.2182,
         "floating_profit_loss": -0.0164, "delta": -2.0, "gamma": 0.0, "vega": -0.0004, "theta": 0.03},
    ],
}  # fmt: skip


def statuses(events: list[AnyEvent]) -> list[tuple[str, str]]:
    return [(each.state, each.reason) for each in events if isinstance(each, AccountStatus)]


def opened(**more: Any) -> PrivateVenue:
    venue = PrivateVenue(**more)
    venue.open()
    return venue


def methods(venue: PrivateVenue) -> list[str]:
    return [message["method"] for message in venue.asked]


# The way in


def test_the_key_goes_out_once_the_venue_has_said_which_environment_it_is() -> None:
    venue = opened()
    asked = methods(venue)
    assert asked.index("public/test") < asked.index("public/auth")
    assert asked.count("public/auth") == 1
    assert statuses(venue.events) == [("logged_in", "")]
    assert venue.private == ["user.portfolio.any", "user.changes.any.any.raw"]
    assert asked.index("public/auth") < asked.index("private/subscribe") < asked.index("private/get_positions")


def test_only_reading_is_asked_for() -> None:
    _, params = opened().logins[0]
    assert params["scope"].split() == ["connection", "account:read", "trade:read", "wallet:none"]


def test_the_login_is_the_only_request_that_is_secret_and_shows_nothing() -> None:
    venue = opened()
    secret = [each for each in venue.sends if isinstance(each, WsSend) and each.secret]
    assert len(secret) == 1
    assert "public/auth" in secret[0].text
    assert CANARY not in repr(secret)
    assert "public/auth" not in repr(secret)


def test_a_signature_proves_the_secret_without_sending_it() -> None:
    venue = opened(method="signature")
    ((at, params),) = venue.logins
    assert statuses(venue.events) == [("logged_in", "")]
    assert params["timestamp"] == NOW.wall_ns // 10**6
    assert params["nonce"] == "n0"
    assert CANARY not in str(venue.sends)
    assert at == NOW.mono_ns


def test_the_signature_is_that_of_a_known_key() -> None:
    # HMAC-SHA256 over "1576074319000\n1iqt2wls\n", computed with openssl.
    expected = "56590594f97921b09b18f166befe0d1319b198bbcdad7ca73382de2f88fe9aa1"
    assert signature("AMANDASECRECT", 1_576_074_319_000, "1iqt2wls") == expected


def test_without_a_generator_every_signature_still_has_its_own_nonce() -> None:
    adapter = Deribit(credentials=credentials("signature"))
    venue = PrivateVenue(method="signature")
    venue.adapter = adapter
    for _ in range(3):
        venue.open()
        adapter.closed(venue.now, "eof")
    assert len({params["nonce"] for _, params in venue.logins}) == 3


def test_P11_private_subscriptions_wait_for_the_login_public_ones_do_not() -> None:
    venue = PrivateVenue()
    venue.silent = {"public/auth"}
    venue.open()
    assert f"ticker.{OPTION}.100ms" in venue.subscribed, "public channels are asked for while the login is out"
    assert venue.private == []
    quote, _ = venue.give(frame("ticker_inverse_call"))
    assert isinstance(quote, OptionQuote)
    venue.pass_time(5.0)
    assert venue.private == []
    venue.pay()
    assert venue.private
    assert statuses(venue.events) == [("logged_in", "")]


def test_P11_raw_channels_wait_for_the_login_and_the_others_do_not() -> None:
    venue = PrivateVenue(interval="raw")
    venue.silent = {"public/auth"}
    venue.open()
    venue.pass_time(5.0)
    assert not any(name.endswith(".raw") for name in venue.subscribed)
    assert "deribit_price_index.btc_usd" in venue.subscribed
    assert not any(getattr(each, "state", "") == "live" for each in venue.events)
    venue.pay()
    assert f"ticker.{OPTION}.raw" in venue.subscribed
    assert any(getattr(each, "state", "") == "live" for each in venue.events)
    assert not any(isinstance(each, SubscriptionRejected) for each in venue.events)


def test_raw_channels_end_with_the_token_and_come_back_with_the_next() -> None:
    venue = opened(interval="raw")
    venue.refuse_refresh = venue.refuse = 13004
    venue.pass_time(901)
    assert statuses(venue.events)[1] == ("logged_out", "token_expired")
    assert not any(name.endswith(".raw") for name in venue.subscribed)
    venue.refuse = None
    venue.pass_time(400)
    assert statuses(venue.events)[-1] == ("logged_in", "")
    assert venue.subscribed.count(f"ticker.{OPTION}.raw") == 1


def test_on_each_new_connection_the_login_comes_again() -> None:
    venue = opened()
    events = venue.adapter.closed(venue.now, "reset")
    assert statuses(events) == [("logged_out", "disconnected")]
    venue.open()
    assert len(venue.logins) == 2
    assert statuses(venue.events)[-1] == ("logged_in", "")


def test_a_connection_that_was_replaced_ends_without_a_word_about_the_account() -> None:
    venue = opened()
    assert statuses(venue.adapter.closed(venue.now, "rotated")) == []


# The token


def test_P09_the_token_is_renewed_before_it_runs_out() -> None:
    venue = opened()
    venue.pass_time(3600)
    kinds = [params["grant_type"] for _, params in venue.logins]
    assert kinds == ["client_credentials"] + ["refresh_token"] * (len(kinds) - 1)
    assert len(kinds) >= 5
    assert max(venue.seconds_between_logins()) < 900
    assert statuses(venue.events) == [("logged_in", "")], "nobody need know"
    assert venue.private == ["user.portfolio.any", "user.changes.any.any.raw"], "subscribed once"


def test_P09_where_renewal_fails_public_channels_go_on_and_private_numbers_are_void() -> None:
    venue = opened()
    before = list(venue.subscribed)
    venue.refuse = venue.refuse_refresh = 13004
    venue.pass_time(890)
    assert statuses(venue.events) == [("logged_in", "")], "the old token still holds"
    venue.pass_time(20)
    assert statuses(venue.events)[1] == ("logged_out", "token_expired")
    assert venue.adapter.wants_reconnect is None
    assert venue.subscribed == before
    quote, _ = venue.give(frame("ticker_inverse_call"))
    assert isinstance(quote, OptionQuote)
    assert venue.notify("user.changes.any.any.raw", CHANGES) == []
    assert venue.adapter.counters["account.before_login"] == 1
    venue.refuse = None
    venue.pass_time(301)
    assert statuses(venue.events)[-1] == ("logged_in", "")
    assert venue.private.count("user.changes.any.any.raw") == 2


def test_P09_a_renewal_without_an_answer_is_tried_again_as_a_login() -> None:
    venue = opened()
    venue.pass_time(700)
    venue.silent = {"public/auth"}
    venue.pass_time(60)
    venue.silent, venue.owed = set(), []
    venue.pass_time(120)
    assert statuses(venue.events) == [("logged_in", "")]
    assert [params["grant_type"] for _, params in venue.logins][-1] == "client_credentials"


@pytest.mark.parametrize("expires_in", [0, -5, None, "900", float("nan"), True])
def test_a_token_without_a_life_is_no_token(expires_in: Any) -> None:
    venue = PrivateVenue()
    venue.expires_in = expires_in
    venue.open()
    assert statuses(venue.events) == [("refused", "bad_reply")]


# The login fails


def test_P10_three_failures_in_a_row_then_at_most_one_attempt_in_ten_seconds() -> None:
    venue = PrivateVenue()
    venue.refuse = 13004
    venue.open()
    venue.pass_time(600)
    gaps = venue.seconds_between_logins()
    assert gaps[:3] == [1.0, 2.0, 10.0]
    assert min(gaps[2:]) >= 10.0
    assert 5 < len(gaps) < 12
    assert statuses(venue.events) == [("refused", "invalid_credentials")], "told once"


def test_P10_the_pace_holds_over_connections_that_come_and_go() -> None:
    venue = PrivateVenue()
    venue.refuse = 13004
    for _ in range(60):
        venue.open()
        venue.pass_time(1.0)
        venue.adapter.closed(venue.now, "eof")
    gaps = venue.seconds_between_logins()
    assert len(venue.logins) <= 3 + 60 // 10
    assert min(gaps[2:]) >= 10.0


def test_P10_a_login_whose_connection_dies_counts_as_a_failure() -> None:
    venue = PrivateVenue()
    for _ in range(60):
        venue.silent = {"public/auth"}
        venue.open()
        venue.pass_time(1.0)
        venue.adapter.closed(venue.now, "eof")
    assert len(venue.logins) <= 3 + 60 // 10


def test_P10_a_key_that_may_log_in_but_read_nothing_makes_no_loop() -> None:
    venue = PrivateVenue()
    venue.refuse_private = 13009
    venue.open()
    venue.pass_time(300)
    gaps = venue.seconds_between_logins()
    assert min(gaps[2:]) >= 10.0
    assert ("logged_out", "unauthorized") in statuses(venue.events)


def test_P10_a_clock_that_is_off_is_named_as_the_reason() -> None:
    venue = PrivateVenue(method="signature")
    venue.skew_s = 120.0
    venue.open()
    (refusal,) = [each for each in venue.events if isinstance(each, AccountStatus)]
    assert (refusal.state, refusal.reason) == ("refused", "clock_skew")
    assert "-120.0 s" in refusal.detail


def test_P10_nothing_private_of_a_former_session_is_sent_or_believed_in_the_next() -> None:
    venue = PrivateVenue()
    venue.silent = {"public/auth", "private/subscribe", "private/get_positions"}
    venue.open()
    stale_login = venue.owed[0]
    venue.adapter.closed(venue.now, "reset")
    venue.pass_time(1.0)
    venue.asked.clear()
    venue.open()
    assert not [method for method in methods(venue) if method.startswith("private/")]
    assert venue.notify("user.changes.any.any.raw", CHANGES) == []
    assert venue.notify("user.portfolio.any", {"currency": "BTC", "equity": 1.0}) == []
    assert venue.adapter.counters["account.before_login"] == 2
    venue.adapter.closed(venue.now, "reset")
    venue.adapter.opened(venue.now)  # nothing asked yet: the late reply fits no request
    assert statuses(venue.give(stale_login)) == []
    assert venue.adapter.counters["account.unknown_id"] == 1


def test_a_login_without_an_answer_is_refused_after_the_time_limit() -> None:
    venue = PrivateVenue()
    venue.silent = {"public/auth"}
    venue.open()
    venue.pass_time(11)
    assert statuses(venue.events) == [("refused", "timeout")]


@pytest.mark.parametrize("meant", [False, True])
def test_P15_a_server_of_the_other_environment_never_sees_the_key(meant: bool) -> None:
    venue = PrivateVenue(testnet=meant)
    venue.testnet = not meant
    venue.open()
    assert venue.logins == []
    assert venue.adapter.wants_reconnect == "testnet_mismatch"
    (refusal,) = [each for each in venue.events if isinstance(each, AccountStatus)]
    assert (refusal.state, refusal.reason) == ("refused", "wrong_environment")
    assert "nothing was sent" in refusal.detail


def test_P15_a_server_that_does_not_say_what_it_is_never_sees_the_key() -> None:
    venue = PrivateVenue()
    venue.testnet = None
    venue.open()
    venue.pass_time(120)
    assert venue.logins == []
    assert statuses(venue.events) == [("refused", "unknown_environment")]
    assert OPTION in str(venue.subscribed)


def test_P15_a_key_of_the_other_environment_gets_a_message_that_says_so() -> None:
    venue = PrivateVenue()
    venue.refuse = 13004
    venue.open()
    (refusal,) = [each for each in venue.events if isinstance(each, AccountStatus)]
    assert refusal.reason == "invalid_credentials"
    assert "production environment does not know this key" in refusal.detail


@pytest.mark.parametrize(
    "url", ["ws://www.deribit.com/ws/api/v2", "wss://test.deribit.com/ws/api/v2", "ws://10.0.0.7/x"]
)
def test_P15_an_address_that_the_key_is_not_for_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="url"):
        check_goal(url, test_url=Deribit.test_url)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9/ws/api/v2", "ws://localhost/x", "wss://www.deribit.com/ws/api/v2"])
def test_P15_the_loopback_and_encrypted_addresses_are_not(url: str) -> None:
    check_goal(url, test_url=Deribit.test_url)


# What comes


def test_changes_bring_the_order_the_fill_and_the_position() -> None:
    order, fill, position = opened().notify("user.changes.any.any.raw", CHANGES)
    assert isinstance(order, Order)
    assert (order.order_id, order.state, order.side, order.filled) == ("o1", "filled", "sell", 2.0)
    assert order.exchange_ns == 1_741_731_610_440_000_000
    assert isinstance(fill, Fill)
    assert (fill.trade_id, fill.order_id, fill.price, fill.size, fill.fee) == ("t1", "o1", 0.21, 2.0, 0.0006)
    assert isinstance(position, Position)
    assert (position.size, position.mark, position.vega) == (-2.0, 0.2182, -0.0004)


def test_a_short_is_negative_whether_the_venue_signs_it_or_not() -> None:
    unsigned = {**CHANGES, "orders": [], "trades": [], "positions": [{**CHANGES["positions"][0], "size": 2.0}]}
    (position,) = opened().notify("user.changes.any.any.raw", unsigned)
    assert isinstance(position, Position)
    assert position.size == -2.0


def test_the_price_of_a_market_order_is_none() -> None:
    order = {**CHANGES["orders"][0], "price": "market_price"}
    (event,) = opened().notify("user.changes.any.any.raw", {"orders": [order]})
    assert isinstance(event, Order)
    assert math.isnan(event.price)


def test_P12_an_unknown_state_of_an_order_is_unknown() -> None:
    order = {**CHANGES["orders"][0], "order_state": "dreaming"}
    (event,) = opened().notify("user.changes.any.any.raw", {"orders": [order]})
    assert isinstance(event, Order)
    assert event.state == "unknown"


def test_the_portfolio_of_a_currency() -> None:
    data = {"currency": "BTC", "equity": 10.5, "delta_total": 0.3, "margin_balance": None, "balance": "9", "new": 1}
    venue = opened()
    (portfolio,) = venue.notify("user.portfolio.any", data)
    assert isinstance(portfolio, Portfolio)
    assert (portfolio.currency, portfolio.equity, portfolio.delta_total) == ("BTC", 10.5, 0.3)
    assert math.isnan(portfolio.margin_balance)
    assert math.isnan(portfolio.balance)
    assert venue.adapter.counters["bad_field.balance"] == 1


def test_positions_are_asked_for_at_login_and_every_minute_and_the_list_is_the_truth() -> None:
    venue = PrivateVenue()
    venue.positions = list(CHANGES["positions"])
    venue.open()
    (first,) = [each for each in venue.events if isinstance(each, Position)]
    assert first.size == -2.0
    venue.positions = []  # sold while a message was lost
    venue.events.clear()
    venue.pass_time(61)
    (closed,) = [each for each in venue.events if isinstance(each, Position)]
    assert (closed.instrument, closed.size) == (OPTION, 0.0)
    assert venue.adapter.counters["positions_corrected"] == 1
    venue.events.clear()
    venue.pass_time(61)
    assert not [each for each in venue.events if isinstance(each, Position)]
    assert methods(venue).count("private/get_positions") == 3


def test_private_rows_that_cannot_be_read_cost_only_themselves() -> None:
    rows = [None, 3, {}, {**CHANGES["positions"][0], "size": None}, CHANGES["positions"][0]]
    venue = opened()
    events = venue.notify("user.changes.any.any.raw", {"positions": rows, "orders": "no", "trades": [{"price": 1.0}]})
    assert len(events) == 1
    assert venue.adapter.counters["bad_row.positions"] == 4
    assert venue.adapter.counters["bad_field.orders"] == 1


def test_a_public_adapter_takes_nothing_private() -> None:
    adapter = Deribit()
    adapter.opened(NOW)
    adapter.receive(frame("price_index"), NOW)
    message = {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": "user.portfolio.any", "data": {}}}
    assert adapter.receive(encoded(message), NOW) == []
    assert adapter.counters["unwanted"] == 1


def test_the_public_session_is_the_same_with_and_without_a_key() -> None:
    """A recording holds nothing of the account, so the numbers of public requests must not depend on it."""

    def public(venue: PrivateVenue) -> list[tuple[int, str]]:
        return [(each["id"], each["method"]) for each in venue.asked if each["id"] < 10**9]

    with_key, without = PrivateVenue(), PrivateVenue()
    without.adapter = Deribit()
    for venue in (with_key, without):
        venue.open()
        venue.pass_time(30)
    assert public(with_key) == public(without)


# Secrets


@pytest.mark.parametrize("method", ["credentials", "signature"])
def test_I10_a_key_shows_its_secret_in_no_text_and_is_not_pickled(method: Any) -> None:
    key = Credentials(KEY, CANARY, method)
    for text in (repr(key), str(key), f"{key}", repr([key]), repr({"k": key}), repr(vars(type(key)))):
        assert CANARY not in text
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(key, protocol)
    assert copy.copy(key) is key
    assert copy.deepcopy([key])[0] is key


@pytest.mark.parametrize("wrong", [("", CANARY), (KEY, "")])
def test_half_a_key_is_refused_without_showing_the_other_half(wrong: tuple[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Credentials(*wrong)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def planted(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [secret for secret in (CANARY, *TOKENS) if secret.encode() in data]


def test_R07_I10_a_recording_holds_nothing_of_the_account(tmp_path: Path) -> None:
    venue = PrivateVenue()
    venue.positions = list(CHANGES["positions"])
    venue.open()
    venue.notify("user.changes.any.any.raw", CHANGES)
    venue.notify("user.portfolio.any", {"currency": "BTC", "equity": 123454321.5})
    venue.pass_time(3000)
    cut = next(each for each in venue.frames if TOKENS[0].encode() in each)[:-20]
    venue.give(cut)
    venue.give(b'{"jsonrpc":"2.0","\\u0069d":1000000002,"result":{"access_\\u0074oken":"' + TOKENS[0].encode() + b'"}}')
    assert any(planted(each) for each in venue.frames)
    with RecordingWriter(tmp_path / "a.vsr", {"venue": "deribit"}) as writer:
        for each in venue.frames:
            writer.frame(venue.adapter.to_show(each), NOW)
    recorded = [record.data for record in open_recording(tmp_path / "a.vsr") if isinstance(record, Frame)]
    everything = b"".join(each if isinstance(each, bytes) else each.encode() for each in recorded)
    assert planted(everything) == []
    for private in (b"123454321", b'"user.', b'"positions"', b'"average_price"', b"mainaccount"):
        assert private not in everything
    assert recorded.count(STAND_IN) > 10
    assert venue.adapter.to_show(frame("ticker_inverse_call")) == frame("ticker_inverse_call")


def test_I10_Z05_no_event_counter_or_failure_holds_a_secret() -> None:
    venue = PrivateVenue()
    venue.open()
    venue.refuse = venue.refuse_refresh = 13004
    venue.pass_time(1000)
    told = [
        *map(repr, venue.events),
        repr(venue.adapter.counters),
        repr(venue.adapter),
        repr(venue.adapter._private._account),
    ]
    told += [repr(each) for each in venue.sends]
    assert [text for text in told if planted(text)] == []
    assert len(venue.adapter.counters) < 40


def test_a_stand_in_proves_life_and_says_nothing() -> None:
    adapter = Deribit()
    adapter.opened(NOW)
    adapter.receive(frame("price_index"), NOW)
    counters = dict(adapter.counters)
    later = NOW.plus(14 * NS_PER_SECOND)
    assert adapter.receive(STAND_IN, later) == []
    assert adapter.counters == counters
    assert fixture("heartbeat")["params"] == {"type": "heartbeat"}
    assert adapter.wants_reconnect is None
