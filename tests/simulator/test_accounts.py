from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from pricer.simulator.accounts import Account, Fill, Holding, margin
from pricer.simulator.market import Market

START = int(datetime(2026, 11, 21, 14, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
EIGHT = int(datetime(2026, 11, 22, 8, tzinfo=UTC).timestamp()) * 1_000_000_000
STEP = 100_000_000


def equity(account: Account, currency: str) -> float:
    """In the settlement currency: balance, open profit of futures, value of options."""
    mine = [each for each in account.marked() if each.chain.family.settlement == currency]
    return account.balances[currency] + sum(
        each.holding.size * each.mark if each.kind == "option" else each.profit for each in mine
    )


def test_the_same_seed_and_key_give_the_same_account_and_others_another() -> None:
    def run(seed: int, key: str) -> str:
        market = Market(seed, START)
        account = Account(market, key, fill_chance=0.3)
        for n in range(50):
            account.step(market.step(START + (n + 1) * STEP).trades, ())
        return repr(sorted(account.holdings.items())) + repr(account.balances)

    first = run(7, "a")
    assert first == run(7, "a")
    assert len({first, run(7, "b"), run(8, "a")}) == 3


def test_an_account_begins_with_options_of_both_families_and_a_perpetual() -> None:
    account = Account(Market(7, START), "a")
    kinds = {(each.chain.family.name, each.kind) for each in account.marked()}
    assert kinds == {("BTC", "option"), ("BTC", "future"), ("BTC_USDC", "option"), ("BTC_USDC", "future")}
    assert {each.holding.size > 0.0 for each in account.marked()} == {True, False}
    assert all(margin(each) > 0.0 for each in account.marked())


def test_fills_are_public_trades_from_the_other_side_and_change_positions() -> None:
    market = Market(7, START)
    account, fills = Account(market, "a", fill_chance=0.3), list[Fill]()
    for n in range(150):
        trades = market.step(START + (n + 1) * STEP).trades
        before = {name: holding.size for name, holding in account.holdings.items()}
        made = account.step(trades, ())
        for fill in made:
            assert fill.trade in trades
            assert fill.side != fill.trade.side
        for name in {fill.trade.name for fill in made}:
            change = sum(f.trade.amount * (1 if f.side == "buy" else -1) for f in made if f.trade.name == name)
            after = account.holdings[name].size if name in account.holdings else 0.0
            assert after - before.get(name, 0.0) == pytest.approx(change)
        fills += made
    assert len(fills) > 10
    assert {fill.trade.kind for fill in fills} == {"option", "future"}
    assert len({fill.order_id for fill in fills}) == len(fills)


def test_a_fill_moves_equity_by_its_fee_and_the_distance_to_the_mark_only() -> None:
    market = Market(7, START)
    account, seen = Account(market, "a", fill_chance=0.3), 0
    for n in range(150):
        trades = market.step(START + (n + 1) * STEP).trades
        for trade in trades:
            before = equity(account, trade.family.settlement)
            for fill in account.step([trade], ()):
                signed = trade.amount if fill.side == "buy" else -trade.amount
                edge = signed * (trade.mark - trade.price)
                if trade.kind == "future" and trade.family.inverse:
                    edge = signed * (1.0 / trade.price - 1.0 / trade.mark)
                change = equity(account, trade.family.settlement) - before
                assert change == pytest.approx(edge - fill.fee, abs=1e-9 if trade.family.inverse else 1e-6)
                seen += 1
    assert seen > 10


def test_greeks_are_the_displayed_ones_times_size_and_the_net_delta_is_less_the_premium() -> None:
    market = Market(7, START)
    for each in Account(market, "a").marked():
        size, chain = each.holding.size, each.chain
        if each.kind == "future":
            assert math.isnan(each.gamma)
            assert each.delta == each.net_delta == pytest.approx(size / each.mark if chain.family.inverse else size)
            continue
        row = chain.rows[chain.row_of[each.holding.name]]
        assert each.delta == size * row["delta"]
        assert each.vega == size * row["vega"]
        premium = row["mark"] if chain.family.inverse else 0.0
        assert each.net_delta == pytest.approx(size * (row["delta"] - premium))


def test_what_expires_is_paid_at_the_delivery_price() -> None:
    market = Market(7, EIGHT - 10**9)
    account = Account(market, "a")
    chain = market.chains["BTC"]
    over = [name for name in chain.names if "-22NOV26-" in name]
    calls = [name for name in over if name.endswith("C")]
    for name in (calls[0], calls[-1]):  # far in and far out of the money
        account.holdings[name] = Holding(name, 2.0, 0.01)
    before = account.balances["BTC"]
    changes = market.step(EIGHT)
    account.step((), changes.gone.values())
    delivery = market.delivery_prices["BTC"]
    strikes = [float(name.split("-")[2]) for name in (calls[0], calls[-1])]
    owed = sum(2.0 * max(delivery - strike, 0.0) / delivery for strike in strikes)
    assert owed > 0.0
    assert account.balances["BTC"] - before == pytest.approx(owed)
    assert not {calls[0], calls[-1]} & set(account.holdings)
