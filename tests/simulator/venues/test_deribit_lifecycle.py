"""Listings, expiry, halts, maintenance and restarts, without sockets."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from tests.simulator.venues.sans_io import EIGHT, SECOND, Bench, Client

STATES, NEW = "instrument.state.any.any", "instrument.creation.any.any"


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def client(bench: Bench) -> Client:
    return bench.client()


def test_N01_a_strike_listed_by_hand_is_announced_listed_and_quoted(bench: Bench, client: Client) -> None:
    client.read(STATES, NEW)
    call, put = bench.venue.list_strike("BTC", "26MAR27", 123_500.0)
    heard = client.hear(1)
    assert [state["instrument_name"] for state in heard[STATES]] == [call, put]
    assert [each["instrument_name"] for each in heard[NEW]] == [call, put]
    listed = client.ask("public/get_instruments", currency="BTC", kind="option")["result"]
    assert heard[NEW][0] in listed
    client.read(f"ticker.{call}.100ms", f"book.{call}.100ms")
    assert client.first[f"ticker.{call}.100ms"]["mark_price"] > 0.0


def test_new_strikes_follow_spot(bench: Bench, client: Client) -> None:
    client.read(NEW)
    bench.market.spot.price *= 1.04
    assert client.hear(70, SECOND)[NEW]


def test_at_eight_states_run_to_archivized_and_the_delivery_price_is_known() -> None:
    friday = int(datetime(2026, 12, 4, 8, tzinfo=UTC).timestamp()) * SECOND
    bench = Bench(friday - SECOND)
    client = bench.client()
    client.read(STATES, NEW)
    heard = client.hear(10)
    by_name: dict[str, list[str]] = {}
    for state in heard[STATES]:
        by_name.setdefault(state["instrument_name"], []).append(state["state"])
    gone = {name for name, states in by_name.items() if states == ["delivered", "archivized"]}
    assert gone == {name for name in by_name if "-4DEC26" in name}
    assert "BTC-4DEC26" in gone
    assert {each["instrument_name"] for each in heard[NEW]} == by_name.keys() - gone
    assert Counter(each["kind"] for each in heard[NEW])["option"] > 20
    prices = client.ask("public/get_delivery_prices", index_name="btc_usd", count=3)["result"]
    assert [each["date"] for each in prices["data"]] == ["2026-12-04", "2026-12-03", "2026-12-02"]
    assert prices["data"][0]["delivery_price"] == bench.market.delivery_prices["BTC"]
    assert prices["records_total"] == 31
    older = client.ask("public/get_delivery_prices", index_name="btc_usd", offset=1, count=1)["result"]["data"]
    assert older == prices["data"][1:2]


def test_new_dated_futures_are_announced_with_their_expiry() -> None:
    bench = Bench(int(datetime(2026, 11, 27, 8, tzinfo=UTC).timestamp()) * SECOND - SECOND)
    client = bench.client()
    client.read("instrument.creation.future.any")
    before = {f["instrument_name"] for f in client.ask("public/get_instruments", kind="future")["result"]}
    made = client.hear(10)["instrument.creation.future.any"]
    assert made
    assert {each["kind"] for each in made} == {"future"}
    assert not {each["instrument_name"] for each in made} & before
    listed = client.ask("public/get_instruments", kind="future")["result"]
    assert all(each in listed for each in made)


def test_N02_an_expiry_taken_off_by_hand_closes_and_stays_away(bench: Bench, client: Client) -> None:
    names = [name for name in bench.market.chains["BTC"].names if "-25JUN27-" in name]
    channel = f"ticker.{names[0]}.100ms"
    client.read(channel, f"book.{names[0]}.100ms", STATES)
    bench.venue.expire("BTC-25JUN27")
    heard = client.hear(1)
    assert heard[channel][-1]["state"] == "closed"
    delivered = [s["instrument_name"] for s in heard[STATES] if s["state"] == "delivered"]
    assert delivered == [*names, "BTC-25JUN27"]
    assert client.ask("public/ticker", instrument_name=names[0])["error"]["code"] == -32602
    assert client.ask("public/subscribe", channels=[channel])["result"] == []
    assert not client.hear(60).keys() & {channel, f"book.{names[0]}.100ms"}
    expired = client.ask("public/get_instruments", currency="BTC", expired=True)["result"]
    assert {each["instrument_name"] for each in expired} == {*names, "BTC-25JUN27"}
    assert "25JUN27" not in client.ask("public/get_expirations", currency="BTC", kind="any")["result"]["btc"]["option"]


def test_N05_a_halted_option_says_so_refuses_subscriptions_and_comes_back(bench: Bench, client: Client) -> None:
    name = bench.market.chains["BTC"].names[300]
    channel = f"ticker.{name}.100ms"
    client.read(channel, STATES)
    bench.venue.halt(name)
    heard = client.hear(1)
    assert [s["state"] for s in heard[STATES]] == ["halted"]
    assert [t["state"] for t in heard[channel]] == ["halted"]
    assert channel not in client.hear(60)
    assert client.ask("public/subscribe", channels=[f"quote.{name}"])["result"] == []
    assert client.ask("public/get_instrument", instrument_name=name)["result"]["is_active"] is False
    bench.venue.halt(name, "open")
    heard = client.hear(60)
    assert [s["state"] for s in heard[STATES]] == ["open"]
    assert {t["state"] for t in heard[channel]} == {"open"}
    client.read(f"quote.{name}")


def test_P14_maintenance_is_announced_refuses_requests_and_ends(bench: Bench, client: Client) -> None:
    client.read("platform_state", "ticker.BTC-PERPETUAL.100ms", "deribit_price_index.btc_usd")
    client.ask("public/set_heartbeat", interval=10)
    bench.venue.maintenance(True)
    assert client.hear(30) == {"platform_state": [{"maintenance": True}]}
    for method in ("public/get_instruments", "public/subscribe", "public/ticker", "public/auth", "private/buy"):
        refused = client.ask(method)["error"]
        assert (refused["code"], refused["message"]) == (11051, "system_maintenance")
    assert bench.venue.http("/api/v2/public/get_instruments", "")[0] == 400
    assert "result" in client.ask("public/test")
    assert client.session.closing is None
    bench.venue.maintenance(False)
    heard = client.hear(30)
    assert heard["platform_state"] == [{"maintenance": False}]
    assert len(heard["ticker.BTC-PERPETUAL.100ms"]) == 30
    assert "result" in client.ask("public/get_time")


def test_maintenance_may_close_all_sessions(bench: Bench, client: Client) -> None:
    client.read("platform_state")
    bench.venue.maintenance(True, close=True)
    assert client.hear(1)["platform_state"] == [{"maintenance": True}]
    assert client.ended == ("restart", 1012)


def test_P14_a_locked_index_locks_what_is_traded_on_it(bench: Bench, client: Client) -> None:
    client.read("platform_state", "ticker.BTC-PERPETUAL.100ms", "ticker.BTC_USDC-PERPETUAL.100ms", STATES)
    assert client.ask("public/status")["result"] == {"locked": "false", "locked_indices": []}
    bench.venue.lock("btc_usd", True)
    heard = client.hear(5)
    assert heard["platform_state"] == [{"price_index": "btc_usd", "locked": True}]
    assert [t["state"] for t in heard["ticker.BTC-PERPETUAL.100ms"]] == ["locked"]
    assert [t["state"] for t in heard["ticker.BTC_USDC-PERPETUAL.100ms"]] == ["open"] * 5
    chain = bench.market.chains["BTC"]
    assert len(heard[STATES]) == len(chain.names) + len(chain.futures)
    assert client.ask("public/status")["result"] == {"locked": "partial", "locked_indices": ["btc_usd"]}
    bench.venue.lock("btc_usd", False)
    heard = client.hear(5)
    assert heard["platform_state"] == [{"price_index": "btc_usd", "locked": False}]
    assert {t["state"] for t in heard["ticker.BTC-PERPETUAL.100ms"]} == {"open"}


def test_W11_a_restart_is_announced_and_then_ends_all_sessions(bench: Bench, client: Client) -> None:
    client.read("announcements", "ticker.BTC-PERPETUAL.100ms")
    bench.venue.announce_restart(5.0)
    heard = client.hear(40)
    (notice,) = heard["announcements"]
    assert notice["important"] is True
    assert "5 seconds" in notice["body"]
    assert len(heard["ticker.BTC-PERPETUAL.100ms"]) == 40
    assert not client.ended
    client.hear(11)
    assert client.ended == ("restart", 1012)
    assert client.hear(5) == {}
    again = bench.client()
    again.read("ticker.BTC-PERPETUAL.100ms")
    assert again.hear(5)


def test_notices_to_an_empty_room_are_not_kept(bench: Bench) -> None:
    bench.venue.maintenance(True)
    bench.venue.maintenance(False)
    bench.tick(1)
    client = bench.client()
    client.read("platform_state")
    assert client.hear(3) == {}
    assert bench.market.now_ns < EIGHT
