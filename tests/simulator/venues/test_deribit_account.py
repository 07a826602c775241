"""An account's numbers over the wire: positions, portfolio, fills."""

from __future__ import annotations

import pytest

from tests.simulator.venues.sans_io import Bench, Client


@pytest.fixture
def client() -> Client:
    client = Bench().client()
    client.log_in()
    return client


def test_positions_are_filed_under_currency_and_kind(client: Client) -> None:
    everything = client.ask("private/get_positions")["result"]
    for currency, kind in (("BTC", "option"), ("BTC", "future"), ("USDC", "option"), ("USDC", "future")):
        found = client.ask("private/get_positions", currency=currency, kind=kind)["result"]
        assert found
        assert all(each in everything and each["kind"] == kind for each in found)
    assert client.ask("private/get_positions", currency="XYZ")["error"]["code"] == -32602
    name = everything[0]["instrument_name"]
    assert client.ask("private/get_position", instrument_name=name)["result"] == everything[0]


def test_an_option_position_is_marked_to_the_ticker(client: Client) -> None:
    for each in client.ask("private/get_positions", kind="option")["result"]:
        ticker = client.ask("public/ticker", instrument_name=each["instrument_name"])["result"]
        assert each["mark_price"] == ticker["mark_price"]
        for greek in ("delta", "gamma", "vega", "theta"):
            assert each[greek] == pytest.approx(each["size"] * ticker["greeks"][greek], abs=1e-5)
        assert each["direction"] == ("buy" if each["size"] > 0 else "sell")
        expected = each["size"] * (ticker["mark_price"] - each["average_price"])
        assert each["floating_profit_loss"] == pytest.approx(expected, abs=1e-8)


def test_delta_total_is_the_net_transaction_delta_and_options_delta_is_not(client: Client) -> None:
    client.read("user.portfolio.btc", "user.portfolio.any")
    portfolio = client.first["user.portfolio.btc"]
    options = client.ask("private/get_positions", currency="BTC", kind="option")["result"]
    futures = client.ask("private/get_positions", currency="BTC", kind="future")["result"]
    black = sum(each["delta"] for each in options)
    premium = sum(each["size"] * each["mark_price"] for each in options)
    assert portfolio["options_delta"] == pytest.approx(black, abs=1e-6)
    assert portfolio["options_value"] == pytest.approx(premium, abs=1e-6)
    total = black - premium + sum(each["size_currency"] for each in futures)
    assert portfolio["delta_total"] == pytest.approx(total, abs=1e-6)
    assert portfolio["delta_total_map"] == {"btc_usd": pytest.approx(total, abs=1e-6)}
    linear = client.ask("private/get_account_summary", currency="USDC")["result"]
    held = client.ask("private/get_positions", currency="USDC")["result"]
    assert linear["delta_total"] == pytest.approx(sum(each["delta"] for each in held), abs=1e-6)


def test_a_portfolio_comes_every_second_for_its_currency_or_for_all(client: Client) -> None:
    client.read("user.portfolio.BTC", "user.portfolio.any")
    heard = client.hear(50)
    assert 5 <= len(heard["user.portfolio.BTC"]) <= 10
    assert {each["currency"] for each in heard["user.portfolio.BTC"]} == {"BTC"}
    assert {each["currency"] for each in heard["user.portfolio.any"]} == {"BTC", "USDC"}
    assert len({each["options_value"] for each in heard["user.portfolio.BTC"]}) > 1


def test_fills_show_as_trades_orders_and_changes_and_are_public_trades(client: Client) -> None:
    client.read("user.trades.any.any.100ms", "user.orders.any.any.raw", "user.changes.any.any.100ms")
    client.read("user.trades.any.any.agg2", "trades.any.any.100ms", "user.changes.option.BTC.100ms")
    heard = client.hear(1_200)
    own = [t for message in heard["user.trades.any.any.100ms"] for t in message]
    public = {t["trade_id"]: t for message in heard["trades.any.any.100ms"] for t in message}
    assert len(own) >= 5
    for each in own:
        open_one = public[each["trade_id"]]
        assert (each["price"], each["trade_seq"]) == (open_one["price"], open_one["trade_seq"])
        assert {each["direction"], open_one["direction"]} == {"buy", "sell"}
    orders = heard["user.orders.any.any.raw"]
    assert [order["order_id"] for order in orders] == [each["order_id"] for each in own]
    changes = heard["user.changes.any.any.100ms"]
    assert [t for change in changes for t in change["trades"]] == own
    assert all(len(change["positions"]) == 1 for change in changes)
    late = [t for message in heard["user.trades.any.any.agg2"] for t in message]
    assert late == own[: len(late)]
    assert len(late) >= len(own) - 1
    some = [change["instrument_name"] for change in heard["user.changes.option.BTC.100ms"]]
    inverse = [c["instrument_name"] for c in changes if not c["instrument_name"].startswith("BTC_USDC")]
    assert some == [name for name in inverse if name.endswith(("-C", "-P"))]
    last = {change["instrument_name"]: change["positions"][0]["size"] for change in changes}
    now = {each["instrument_name"]: each["size"] for each in client.ask("private/get_positions")["result"]}
    assert {name: now.get(name, 0.0) for name in last} == last
    assert client.ask("private/get_open_orders")["result"] == []
