"""What books and trades say: formulas by hand, properties, and which trades count."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.adapters.events import BookDepth, BookLost, InstrumentExpired, Trade
from pricer.clock import NS_PER_SECOND, Instant
from pricer.microstructure import Microstructure, depth_in_vega, imbalance, microprice, order_flow, tracker

Levels = tuple[tuple[float, float], ...]
START = Instant(1_700_000_000 * NS_PER_SECOND, 0)


def at(seconds: float) -> Instant:
    return START.plus(int(seconds * NS_PER_SECOND))


def book(bids: Levels, asks: Levels, seconds: float = 0.0, **more: Any) -> BookDepth:
    return BookDepth(venue="v", received=at(seconds), instrument="X", bids=bids, asks=asks, **more)


def trade(trade_id: str, size: float = 1.0, seconds: float = 0.0, **more: Any) -> Trade:
    fields: dict[str, Any] = {"side": "buy", "price": 10.0, "exchange_ns": at(seconds).wall_ns}
    return Trade(venue="v", received=at(seconds), instrument="X", trade_id=trade_id, size=size, **(fields | more))


def fed(*events: Any, **settings: Any) -> Microstructure:
    micro = Microstructure(**settings)
    for event in events:
        micro.apply(event)
    return micro


BOOK = book(((10.0, 3.0), (9.0, 5.0)), ((12.0, 1.0), (13.0, 7.0)))

levels = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 100)), min_size=1, max_size=6, unique_by=lambda x: x[0])
books = st.builds(
    lambda bids, asks: book(
        tuple(sorted(((100.0 - p, float(s)) for p, s in bids), reverse=True)),
        tuple(sorted((100.0 + p, float(s)) for p, s in asks)),
    ),
    levels,
    levels,
)


def test_imbalance_and_microprice_by_hand() -> None:
    assert imbalance(BOOK) == 0.5
    assert imbalance(BOOK, 2) == 0.0
    assert microprice(BOOK) == (1 * 10 + 3 * 12) / 4
    bid, ask = (30 + 45) / 8, (12 + 91) / 8
    assert microprice(BOOK, 2) == pytest.approx((8 * bid + 8 * ask) / 16)


@given(books, st.integers(1, 8))
def test_imbalance_is_within_one_and_the_microprice_between_the_averages(each: BookDepth, count: int) -> None:
    assert -1.0 < imbalance(each, count) < 1.0
    low, high = each.bids[-1][0], each.asks[-1][0]
    assert low <= microprice(each, count) <= high
    assert each.bids[0][0] <= microprice(each) <= each.asks[0][0]
    if imbalance(each) == 0:
        assert microprice(each) == pytest.approx(0.5 * (each.bids[0][0] + each.asks[0][0]))


@pytest.mark.parametrize("empty", [book((), BOOK.asks), book(BOOK.bids, ()), book((), ())])
def test_D01_nothing_is_made_up_for_a_missing_side(empty: BookDepth) -> None:
    assert math.isnan(imbalance(empty))
    assert math.isnan(microprice(empty))
    assert math.isnan(depth_in_vega(empty, 10.0, 1.0).bid)
    state = fed(empty).of("v", "X", at(0))
    assert math.isnan(state.mid)
    assert math.isnan(state.spread)


def test_depth_in_vega_counts_the_levels_that_lie_within_so_many_points() -> None:
    """Mid 11; a vega of 100 per 1.0 moves the price by 1 a point: one point reaches 10 and 12, two reach 9 and 13."""
    assert depth_in_vega(BOOK, 100.0, 1.0) == (3.0, 1.0, True)
    assert depth_in_vega(BOOK, 100.0, 0.99) == (0.0, 0.0, True)
    assert depth_in_vega(BOOK, 100.0, 2.0) == (8.0, 8.0, False)
    assert depth_in_vega(BOOK, 100.0, 2.0, depth=2) == (8.0, 8.0, False)
    assert depth_in_vega(BOOK, 100.0, 2.0, depth=3) == (8.0, 8.0, True)
    for vega in (0.0, -1.0, math.nan):
        assert math.isnan(depth_in_vega(BOOK, vega, 1.0).bid)


@given(books, st.floats(0.01, 1e4), st.floats(0.0, 10.0), st.floats(1.0, 3.0))
def test_depth_in_vega_grows_with_the_band(each: BookDepth, vega: float, points: float, wider: float) -> None:
    narrow, wide = depth_in_vega(each, vega, points), depth_in_vega(each, vega, points * wider)
    assert narrow.bid <= wide.bid
    assert narrow.ask <= wide.ask


FLOWS = [
    (((10.0, 8.0),), ((12.0, 1.0),), 5.0, "more at the bid"),
    (((11.0, 2.0),), ((12.0, 1.0),), 2.0, "a higher bid: its whole size"),
    (((9.0, 5.0),), ((12.0, 1.0),), -3.0, "the bid gave way: the size that was there"),
    (((10.0, 3.0),), ((12.0, 4.0),), -3.0, "more at the ask"),
    (((10.0, 3.0),), ((11.0, 2.0),), -2.0, "a lower ask"),
    (((10.0, 3.0),), ((13.0, 7.0),), 1.0, "the ask gave way"),
    ((), ((12.0, 1.0),), -3.0, "no bid is left"),
    (((10.0, 3.0),), (), 1.0, "no ask is left"),
    (((10.0, 3.0),), ((12.0, 1.0),), 0.0, "nothing"),
]


@pytest.mark.parametrize(("bids", "asks", "expected", "why"), FLOWS, ids=[why for *_, why in FLOWS])
def test_order_flow_of_one_change(bids: Levels, asks: Levels, expected: float, why: str) -> None:
    assert order_flow(BOOK, book(bids, asks)) == expected


@given(books, books)
def test_order_flow_changes_sign_when_the_sides_are_swapped(before: BookDepth, after: BookDepth) -> None:
    def mirrored(each: BookDepth) -> BookDepth:
        return book(tuple((-p, s) for p, s in each.asks), tuple((-p, s) for p, s in each.bids))

    assert order_flow(mirrored(before), mirrored(after)) == -order_flow(before, after)


def test_order_flow_sums_over_the_window_and_never_across_a_lost_book() -> None:
    steps = [book(((10.0, float(i)),), ((12.0, 1.0),), seconds=i) for i in range(1, 11)]
    micro = fed(*steps, window_ns=5 * NS_PER_SECOND)
    assert micro.of("v", "X", at(10)).order_flow == 6.0, "changes at 5 to 10 s of one each"
    assert micro.of("v", "X", at(100)).order_flow == 0.0
    micro = fed(steps[0], BookLost(venue="v", received=at(1), instrument="X", reason="gap"), steps[9])
    assert micro.of("v", "X", at(10)).order_flow == 0.0
    crossed = book(((13.0, 50.0),), ((12.0, 1.0),), 2, state="crossed")
    assert fed(steps[0], crossed, steps[4]).of("v", "X", at(10)).order_flow == 4.0


def test_a_depleted_level_takes_as_long_to_come_back_as_it_takes() -> None:
    full, ask = ((10.0, 100.0), (9.0, 50.0)), ((12.0, 1.0),)
    micro = fed(
        book(full, ask, 0),
        book(((10.0, 40.0), (9.0, 50.0)), ask, 1),
        book(((10.0, 80.0), (9.0, 50.0)), ask, 2),
        book(((10.5, 45.0), (10.0, 45.0)), ask, 3.5),
    )
    state = micro.of("v", "X", at(4))
    assert state.bid_refill_s == 2.5, "90 of 100 at the price or better"
    assert math.isnan(state.ask_refill_s)
    assert state.unfilled == 0


def test_what_does_not_come_back_within_the_window_is_counted_and_not_averaged() -> None:
    gone = book(((9.0, 50.0),), ((12.0, 1.0),), 1)
    micro = fed(book(((10.0, 100.0),), ((12.0, 1.0),), 0), gone, window_ns=5 * NS_PER_SECOND)
    assert micro.of("v", "X", at(5)).unfilled == 0
    state = micro.of("v", "X", at(7))
    assert state.unfilled == 1
    assert math.isnan(state.bid_refill_s)


# Trades


def test_trade_imbalance_is_by_the_aggressors_side_within_the_window() -> None:
    micro = fed(trade("1", 3.0, 0), trade("2", 1.0, 1, side="sell"), trade("3", 5.0, 2))
    state = micro.of("v", "X", at(2))
    assert (state.bought, state.sold, state.trade_imbalance, state.trades) == (8.0, 1.0, 7 / 9, 3)
    micro.apply(trade("4", 5.0, 100))
    state = micro.of("v", "X", at(100))
    assert (state.bought, state.sold, state.trade_imbalance, state.trades) == (5.0, 0.0, 1.0, 1)
    assert math.isnan(micro.of("v", "X", at(1000)).trade_imbalance)


def test_D10_blocks_and_parts_of_combos_are_left_out_unless_asked_for() -> None:
    events = [
        trade("1", 1.0),
        trade("2", 50.0, block="B-1"),
        trade("3", 70.0, combo="C-1"),
        trade("4", liquidation="T"),
    ]
    micro = fed(*events)
    assert micro.of("v", "X", at(0)).bought == 2.0
    assert micro.counters["left_out_trade"] == 2
    assert fed(*events, all_trades=True).of("v", "X", at(0)).bought == 122.0


def test_D09_a_trade_told_twice_counts_once_even_when_its_first_telling_has_left_the_window() -> None:
    micro = fed(trade("1", 3.0, 0), trade("1", 3.0, 0.5), trade("1", 3.0, 1000))
    assert micro.of("v", "X", at(1000)).trades == 0
    assert micro.counters["duplicate_trade"] == 2
    assert fed(trade("1", 3.0), trade("1", 3.0)).of("v", "X", at(0)).bought == 3.0


def test_D09_late_trades_are_flagged_and_count_only_in_their_own_window() -> None:
    micro = fed(
        trade("5", 1.0, 10, sequence=5),
        trade("4", 1.0, 11, sequence=4, exchange_ns=at(9).wall_ns),
        trade("3", 1.0, 12, sequence=3, exchange_ns=at(-100).wall_ns),
    )
    state = micro.of("v", "X", at(12))
    assert (state.trades, state.late) == (2, 1)
    assert micro.counters["late_trade"] == 2
    by_time = fed(trade("a", 1.0, 10), trade("b", 1.0, 11, exchange_ns=at(9).wall_ns))
    assert by_time.of("v", "X", at(12)).late == 1
    assert fed(trade("a", late=True)).of("v", "X", at(0)).late == 1, "the adapter knows"


def test_D09_a_bust_takes_its_trade_out_whenever_it_comes() -> None:
    bust = trade("1", 3.0, 1, bust=True)
    for events in ([trade("1", 3.0), trade("2", 1.0), bust], [bust, trade("1", 3.0), trade("2", 1.0)]):
        micro = fed(*events)
        assert micro.of("v", "X", at(1)).bought == 1.0
        assert micro.counters["busted_trade"] == 1


# Bounds


def test_I6_everything_that_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "MOST_ENTRIES", 10)
    monkeypatch.setattr(tracker, "MOST_IDS", 30)
    micro = Microstructure(most=2)
    for i in range(100):
        micro.apply(trade(str(i)))
        micro.apply(book(((10.0, 1.0 + i),), ((12.0, 1.0),)))
    assert micro.of("v", "X", at(0)).trades == 10
    assert micro.of("v", "X", at(0)).order_flow == 10.0
    assert micro.counters["window_full"] == 90 + 89
    for name in ("Y", "Z"):
        micro.apply(BookDepth(venue="v", received=at(0), instrument=name, bids=(), asks=()))
    assert len(micro) == 2
    assert micro.counters["too_many_instruments"] == 1
    micro.apply(InstrumentExpired(venue="v", received=at(0), instrument="X"))
    assert len(micro) == 1


def test_an_instrument_nobody_has_told_of_is_all_nan() -> None:
    state = Microstructure().of("v", "none", at(0))
    assert (state.received, state.trades, state.unfilled, state.order_flow) == (None, 0, 0, 0.0)
    assert all(math.isnan(each) for each in (state.mid, state.imbalance, state.microprice, state.trade_imbalance))
    with pytest.raises(AttributeError):
        state.mid = 1.0  # type: ignore[misc]


def test_the_tracker_gives_what_the_functions_give() -> None:
    state = fed(BOOK, levels=2, depth=3).of("v", "X", at(0), vega=100.0, points=2.0)
    assert state.imbalance == imbalance(BOOK, 2)
    assert state.microprice == microprice(BOOK, 2)
    assert state.vega_depth == depth_in_vega(BOOK, 100.0, 2.0, depth=3)
    assert (state.mid, state.spread, state.received) == (11.0, 2.0, BOOK.received)


def test_I6_a_tape_that_nobody_asks_about_leaves_its_window_and_no_more() -> None:
    micro = fed(*(trade(str(number), seconds=float(number)) for number in range(1_000)), window_ns=60 * NS_PER_SECOND)
    (track,) = micro._tracks.values()
    assert len(track.prints) <= 61
