from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime

import pytest

from pricer.simulator.market import Market
from pricer.simulator.trades import KEPT, Trade

START = int(datetime(2026, 11, 21, 14, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
STEP = 100_000_000


def run(seed: int, steps: int) -> tuple[Market, list[Trade]]:
    market = Market(seed, START)
    return market, [t for n in range(steps) for t in market.step(START + (n + 1) * STEP).trades]


@pytest.fixture(scope="module")
def printed() -> tuple[Market, list[Trade]]:
    return run(7, 3_000)


def test_the_same_seed_prints_the_same_tape_and_another_seed_another() -> None:
    assert repr(run(5, 100)[1]) == repr(run(5, 100)[1]) != repr(run(6, 100)[1])


def test_ids_rise_and_sequences_count_each_instrument_without_a_jump(printed: tuple[Market, list[Trade]]) -> None:
    _, trades = printed
    ids = [int(t.trade_id) for t in trades]
    assert ids == sorted(set(ids))
    for name in {t.name for t in trades}:
        seen = [t.seq for t in trades if t.name == name]
        assert seen == list(range(1, len(seen) + 1))


def test_every_kind_of_trade_happens(printed: tuple[Market, list[Trade]]) -> None:
    _, trades = printed
    kinds = Counter(t.kind for t in trades)
    assert kinds["option"] > 500
    assert kinds["future"] > 500
    assert kinds["option_combo"] >= 3
    assert sum(bool(t.block) for t in trades) >= 3
    assert sum(bool(t.liquidation) for t in trades) >= 3
    assert {t.name for t in trades if t.liquidation} <= {"BTC-PERPETUAL", "BTC_USDC-PERPETUAL"}
    assert {t.tick_direction for t in trades} == {0, 1, 2, 3}
    assert all(math.isnan(t.iv) == (t.kind != "option") for t in trades)


def test_trades_in_the_book_are_at_the_best_bid_or_ask_of_the_instant() -> None:
    market, seen = Market(7, START), 0
    for n in range(300):
        for trade in market.step(START + (n + 1) * STEP).trades:
            if trade.block or trade.kind == "option_combo":
                continue
            chain = market.chains[trade.family.name]
            if trade.kind == "future":
                future = chain.futures[trade.name]
                best = future.bid if trade.side == "sell" else future.ask
                size = future.bid_size if trade.side == "sell" else future.ask_size
            else:
                row = chain.rows[chain.row_of[trade.name]]
                best, size = (row["bid"], row["bid_size"]) if trade.side == "sell" else (row["ask"], row["ask_size"])
                if not trade.combo:
                    assert row["last"] == trade.price
            assert trade.price == best
            assert trade.amount <= max(size, chain.family.min_amount)
            seen += 1
    assert seen > 100


def test_a_spread_is_printed_as_a_whole_and_again_on_each_leg(printed: tuple[Market, list[Trade]]) -> None:
    _, trades = printed
    whole = next(t for t in trades if t.kind == "option_combo")
    legs = [t for t in trades if t.combo_trade_id == whole.trade_id]
    assert tuple(legs) == whole.legs
    assert {leg.combo for leg in legs} == {whole.name}
    bought, sold = sorted(legs, key=lambda leg: leg.side)
    assert whole.price == pytest.approx(sold.price - bought.price)


def test_the_tape_keeps_so_many_trades_and_forgets_what_expired(
    printed: tuple[Market, list[Trade]],
) -> None:
    market, trades = printed
    for name, recent in market.tape.recent.items():
        assert list(recent) == [t for t in trades if t.family.name == name][-KEPT:]
    gone = trades[0].name
    market.tape.forget([gone])
    assert gone not in market.tape._seq
