from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pricer.simulator.books import Books, BookState, Levels, delta, grouped, one_by_one
from pricer.simulator.market import Market

START = int(datetime(2026, 11, 21, 14, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
STEP = 100_000_000


def apply(levels: Levels, changes: list[tuple[str, float, float]], *, bids: bool) -> Levels:
    """The oracle: a dictionary that insists on every action's meaning."""
    held = dict(levels)
    for action, price, amount in changes:
        assert (price in held) == (action != "new")
        if action == "delete":
            assert amount == 0.0
            del held[price]
        else:
            assert amount > 0.0
            held[price] = amount
    return tuple(sorted(held.items(), reverse=bids))


def some_names(market: Market) -> list[str]:
    names = [name for chain in market.chains.values() for name in (*chain.names[::40], *chain.futures)]
    assert len(names) > 20
    return names


@pytest.fixture
def market() -> Market:
    return Market(7, START)


def test_the_best_levels_are_the_quote_and_the_rest_lies_behind_on_the_grid(market: Market) -> None:
    books = Books(market)
    for name in some_names(market):
        book, chain = books.state(name), market.chain_of(name)
        assert chain is not None
        if name in chain.futures:
            future = chain.futures[name]
            best = [(future.bid, future.bid_size), (future.ask, future.ask_size)]
        else:
            row = chain.rows[chain.row_of[name]]
            best = [(row["bid"], row["bid_size"]), (row["ask"], row["ask_size"])]
        for levels, (price, size), sign in zip((book.bids, book.asks), best, (-1.0, 1.0), strict=True):
            if price == 0.0:
                assert levels == ()
                continue
            assert levels[0] == (price, size)
            prices = [sign * each for each, _ in levels]
            assert prices == sorted(set(prices))
            assert all(each > 0.0 and amount > 0.0 for each, amount in levels)
            if name not in chain.futures:
                ticks = chain.family.ticks
                for each, _ in levels:
                    tick = ticks.fine if each <= ticks.above else ticks.coarse
                    assert each / tick == pytest.approx(round(each / tick), abs=1e-6)


def test_books_are_several_levels_deep(market: Market) -> None:
    books = Books(market)
    assert len(books.state("BTC-PERPETUAL").bids) >= 15
    deep = [books.state(name) for name in some_names(market)]
    assert max(len(book.asks) for book in deep) >= 5


def test_whoever_looks_first_sees_the_same_book(market: Market) -> None:
    early, late = Books(market), Books(market)
    for n in range(20):
        market.step(START + (n + 1) * STEP)
        early.state("BTC-PERPETUAL")
    first, second = early.state("BTC-PERPETUAL"), late.state("BTC-PERPETUAL")
    assert (first.bids, first.asks) == (second.bids, second.asks)
    other = Books(Market(8, START)).state("BTC-PERPETUAL")
    assert (other.bids, other.asks) != (first.bids, first.asks)


def test_deltas_make_the_new_book_of_the_old_and_ids_rise(market: Market) -> None:
    books, names = Books(market), some_names(market)
    held = {name: books.state(name) for name in names}
    actions: set[str] = set()
    for n in range(200):
        market.step(START + (n + 1) * STEP)
        for name in names:
            old, new = held[name], books.state(name)
            if new is old:
                continue
            assert new.change_id > old.change_id
            bids, asks = delta(old.bids, new.bids), delta(old.asks, new.asks)
            assert bids or asks
            actions |= {action for action, _, _ in (*bids, *asks)}
            assert apply(old.bids, bids, bids=True) == new.bids
            assert apply(old.asks, asks, bids=False) == new.asks
            held[name] = new
    assert actions == {"new", "change", "delete"}


def test_most_levels_stay_when_the_best_moves(market: Market) -> None:
    books = Books(market)
    before = dict(books.state("BTC-PERPETUAL").bids[1:])
    market.step(START + STEP)
    after = dict(books.state("BTC-PERPETUAL").bids[1:])
    assert len(before.items() & after.items()) > len(before) // 2


def test_one_side_a_step_is_never_crossed(market: Market) -> None:
    books = Books(market)
    old, split = books.state("BTC-PERPETUAL"), 0
    for n in range(200):
        if n % 20 == 0:
            market.spot.price *= 1.001 if n % 40 else 0.999
        market.step(START + (n + 1) * STEP)
        new = books.state("BTC-PERPETUAL")
        last = old
        for step in one_by_one(old, new) if new is not old else []:
            assert step.bids[0][0] < step.asks[0][0]
            assert last.change_id < step.change_id
            last = step
            split += step is not new
        old = new
    assert split > 100


def test_groups_add_amounts_up_at_their_step() -> None:
    bids, asks = ((105.0, 1.0), (101.0, 2.0), (99.5, 4.0)), ((106.0, 1.0), (110.0, 2.0), (110.5, 4.0))
    assert grouped(bids, 5.0, 10, up=False) == [[105.0, 1.0], [100.0, 2.0], [95.0, 4.0]]
    assert grouped(asks, 5.0, 10, up=True) == [[110.0, 3.0], [115.0, 4.0]]
    assert grouped(bids, None, 2, up=False) == [[105.0, 1.0], [101.0, 2.0]]


def test_forgotten_books_are_gone(market: Market) -> None:
    books = Books(market)
    assert isinstance(books.state("BTC-PERPETUAL"), BookState)
    books.forget(["BTC-PERPETUAL", "nothing"])
    assert len(books) == 0
    with pytest.raises(LookupError):
        books.state("BTC-1JAN20-1-C")
