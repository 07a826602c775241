"""One book: each venue's sequence rule, and what is never shown."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.adapters.book import MAX_BUFFERED, OrderBook, Outcome
from pricer.adapters.checksum import ChecksumGuard, interleaved
from pricer.adapters.levels import decimal
from pricer.adapters.sequences import (
    NO_ID,
    BookUpdate,
    Position,
    SequenceRule,
    Verdict,
    change_id_chain,
    growing_id,
    plus_one,
    seq_id_chain,
    unnumbered,
    update_id_overlap,
    update_id_ranges,
    whole_pictures,
)
from tests.oracle import BookVenue, ReferenceBook, faulty, is_ordered

Levels = list[tuple[float, float]]


def snapshot(last: int, bids: Levels | None = None, asks: Levels | None = None, **more: Any) -> BookUpdate:
    return BookUpdate(
        bids=[(99.0, 1.0)] if bids is None else bids,
        asks=[(101.0, 1.0)] if asks is None else asks,
        last=last,
        snapshot=True,
        **more,
    )


def change(last: int, previous: int | None = None, bids: Levels | None = None, **more: Any) -> BookUpdate:
    asks = more.pop("asks", [])
    return BookUpdate(
        bids=[(98.0, float(last))] if bids is None else bids, asks=asks, last=last, previous=previous, **more
    )


def book_at(last: int = 10, rule: SequenceRule = change_id_chain, **options: Any) -> OrderBook:
    book = OrderBook(rule, **options)
    assert book.apply(snapshot(last)) is Outcome.CHANGED
    return book


# Sequence


def test_S01_a_missing_change_is_found_at_the_next_message() -> None:
    book = book_at(10)
    assert book.apply(change(12, 10)) is Outcome.CHANGED
    assert book.apply(change(17, 15)) is Outcome.GAP
    assert not book.in_sync
    assert book.levels() == ((), ())
    assert book.sequence == NO_ID


def test_S02_a_repeated_change_is_idempotent() -> None:
    book = book_at(10)
    book.apply(change(12, 10, bids=[(98.0, 2.0)]))
    before = book.levels()
    assert book.apply(change(12, 10, bids=[(98.0, 2.0)])) is Outcome.UNCHANGED
    assert (book.levels(), book.in_sync, book.counters["book_old"]) == (before, True, 1)
    assert book.apply(change(13, 12)) is Outcome.CHANGED


def test_S03_swapped_changes_are_a_gap_and_the_next_snapshot_heals_it() -> None:
    venue = BookVenue(3)
    book = OrderBook(change_id_chain)
    book.apply(venue.snapshot())
    first, second = venue.move(), venue.move()
    assert book.apply(second) is Outcome.GAP
    assert book.apply(first) is Outcome.BUFFERED
    last = venue.snapshot()
    assert book.apply(last) is Outcome.CHANGED
    assert book.levels() == venue.book.levels()
    assert book.apply(venue.move()) is Outcome.CHANGED
    assert book.levels() == venue.book.levels()


@pytest.mark.parametrize("missed", [0, 2, 5])
def test_S04_S05_changes_before_the_snapshot_are_applied_from_where_it_ends(missed: int) -> None:
    """The snapshot is older than all that is buffered, in the middle of it, or newer than all."""
    venue = BookVenue(4)
    book = OrderBook(change_id_chain)
    answers = [venue.snapshot()]
    for _ in range(5):
        assert book.apply(venue.move()) is Outcome.BUFFERED
        answers.append(venue.snapshot())
    assert not book.in_sync
    assert book.apply(answers[missed]) is Outcome.CHANGED
    assert book.levels() == venue.book.levels()
    assert book.buffered == 0
    assert book.apply(venue.move()) is Outcome.CHANGED
    assert book.levels() == venue.book.levels()


def test_S05_a_snapshot_that_does_not_reach_the_buffered_changes_asks_for_another() -> None:
    venue = BookVenue(5)
    book = OrderBook(change_id_chain)
    early = venue.snapshot()
    venue.move()
    book.apply(venue.move())
    assert book.apply(early) is Outcome.GAP
    assert not book.in_sync
    assert book.apply(venue.snapshot()) is Outcome.CHANGED
    assert book.levels() == venue.book.levels()


def test_S04_the_buffer_holds_ten_thousand_and_the_newest_stay() -> None:
    book = OrderBook(change_id_chain)
    for i in range(MAX_BUFFERED + 5):
        book.apply(change(i + 1, i))
    assert book.buffered == MAX_BUFFERED == 10_000
    assert book.counters["book_buffer_full"] == 5
    assert book.apply(snapshot(MAX_BUFFERED)) is Outcome.CHANGED
    assert book.sequence == MAX_BUFFERED + 5


def test_S06_a_snapshot_in_the_middle_of_the_stream_replaces_and_leaves_no_ghost() -> None:
    book = book_at(10)
    book.apply(change(11, 10, bids=[(99.5, 5.0), (50.0, 1.0)]))
    assert book.apply(snapshot(40, bids=[(90.0, 1.0)], asks=[(91.0, 2.0)])) is Outcome.CHANGED
    assert book.levels() == (((90.0, 1.0),), ((91.0, 2.0),))
    assert book.apply(change(41, 40)) is Outcome.CHANGED


def test_S07_a_new_session_starts_empty_and_nothing_that_was_kept_survives() -> None:
    book = book_at(10)
    book.apply(change(30, 20))
    assert book.apply(change(31, 30)) is Outcome.BUFFERED
    book.clear()
    assert (book.buffered, book.levels(), book.bids(), book.asks(), book.best_bid) == (0, ((), ()), (), (), None)
    book.apply(snapshot(30, bids=[(94.0, 1.0)], asks=[(96.0, 1.0)]))
    assert book.levels() == (((94.0, 1.0),), ((96.0, 1.0),))


CASES: list[tuple[SequenceRule, BookUpdate, Verdict, str]] = [
    (seq_id_chain, change(3, 10), Verdict.APPLY, "OKX: reset in maintenance, it still links"),
    (seq_id_chain, change(3, 9), Verdict.GAP, "OKX: a lower id that does not link"),
    (seq_id_chain, change(10, 10, bids=[]), Verdict.KEEP_ALIVE, "OKX: keep-alive"),
    (seq_id_chain, change(10, 10), Verdict.GAP, "OKX: levels without a new id"),
    (change_id_chain, change(3, 10), Verdict.GAP, "Deribit documents no reset"),
    (change_id_chain, change(10, 8), Verdict.GAP, "Deribit: same id, other predecessor"),
    (change_id_chain, change(12, None), Verdict.GAP, "Deribit: without a link"),
    (growing_id, change(1), Verdict.REPLACE, "Bybit: restarted service, whatever the type says"),
    (growing_id, change(15), Verdict.APPLY, "Bybit: a jump proves nothing"),
    (growing_id, change(9), Verdict.GAP, "Bybit: backwards"),
    (growing_id, change(10), Verdict.OLD, "Bybit: repeated"),
    (update_id_overlap, change(15, 10, first=11), Verdict.APPLY, "Binance: pu links"),
    (update_id_overlap, change(15, 9, first=10), Verdict.GAP, "Binance: overlap counts for the first only"),
    (update_id_overlap, change(10, 5, first=6), Verdict.OLD, "Binance: repeated"),
    (update_id_ranges, change(14, first=11), Verdict.APPLY, "Gate: U is the last u plus one"),
    (update_id_ranges, change(14, first=12), Verdict.GAP, "Gate: loss"),
    (update_id_ranges, change(14, first=10), Verdict.GAP, "Gate: overlap counts for the first only"),
    (update_id_ranges, change(14), Verdict.GAP, "Gate: no U"),
    (update_id_ranges, change(10, first=9), Verdict.OLD, "Gate: contained"),
    (plus_one, change(11), Verdict.APPLY, "Delta: next"),
    (plus_one, change(12), Verdict.GAP, "Delta: one missing"),
    (plus_one, change(10), Verdict.OLD, "Delta: repeated"),
    (plus_one, change(9), Verdict.GAP, "Delta: backwards"),
    (unnumbered, change(0), Verdict.APPLY, "Thalex: no numbers"),
    (whole_pictures, change(11), Verdict.REPLACE, "grouped: newer"),
    (whole_pictures, change(9), Verdict.OLD, "grouped: older"),
]


@pytest.mark.parametrize(("rule", "update", "verdict", "why"), CASES, ids=[why for *_, why in CASES])
def test_S08_each_venues_rule_in_the_middle_of_a_stream(
    rule: SequenceRule, update: BookUpdate, verdict: Verdict, why: str
) -> None:
    at = Position()
    at.last, at.previous, at.fresh = 10, 5, False
    assert rule(at, update) is verdict


FIRSTS: list[tuple[SequenceRule, BookUpdate, Verdict]] = [
    (change_id_chain, change(9, 7), Verdict.OLD),
    (change_id_chain, change(12, 9), Verdict.GAP),
    (change_id_chain, change(3, 10), Verdict.GAP),
    (seq_id_chain, change(9, 7), Verdict.OLD),
    (seq_id_chain, change(12, 11), Verdict.GAP),
    (update_id_overlap, change(9, 7, first=8), Verdict.OLD),
    (update_id_overlap, change(12, 7, first=8), Verdict.APPLY),
    (update_id_overlap, change(12, 10, first=11), Verdict.APPLY),
    (update_id_overlap, change(14, 12, first=13), Verdict.GAP),
    (update_id_ranges, change(12, first=8), Verdict.APPLY),
    (update_id_ranges, change(12, first=12), Verdict.GAP),
    (plus_one, change(9), Verdict.OLD),
    (growing_id, change(9), Verdict.OLD),
]


@pytest.mark.parametrize(("rule", "update", "verdict"), FIRSTS)
def test_S05_each_venues_rule_right_after_a_snapshot(rule: SequenceRule, update: BookUpdate, verdict: Verdict) -> None:
    at = Position()
    at.last = 10
    assert rule(at, update) is verdict


def test_S08_a_restart_at_one_replaces_the_book() -> None:
    book = book_at(10, growing_id)
    assert book.apply(change(1, bids=[(70.0, 1.0)], asks=[(71.0, 1.0)])) is Outcome.CHANGED
    assert book.levels() == (((70.0, 1.0),), ((71.0, 1.0),))


def test_S09_a_keep_alive_changes_nothing() -> None:
    book = book_at(10, seq_id_chain)
    before = book.bids()
    assert book.apply(change(10, 10, bids=[])) is Outcome.UNCHANGED
    assert book.bids() is before
    assert book.counters["book_keep_alive"] == 1


# Levels


def test_S12_sizes_that_are_not_above_zero_delete_and_absent_levels_are_counted() -> None:
    book = book_at(10)
    book.apply(change(11, 10, bids=[(98.0, 3.0), (97.0, 4.0), (96.0, 1.0)]))
    outcome = book.apply(change(12, 11, bids=[(98.0, 0.0), (97.0, -1.0), (96.0, math.nan), (95.0, 0.0)]))
    assert outcome is Outcome.CHANGED
    assert book.levels()[0] == ((99.0, 1.0),)
    assert book.counters["book_absent_delete"] == 1


@pytest.mark.parametrize(("ask", "condition"), [(99.5, "open"), (99.0, "locked"), (98.5, "crossed")])
def test_S13_a_book_says_whether_it_is_crossed_or_locked(ask: float, condition: str) -> None:
    book = book_at(10)
    book.apply(change(11, 10, bids=[], asks=[(ask, 1.0)]))
    assert book.condition == condition
    book.apply(change(12, 11, bids=[(99.0, 0.0)]))
    assert book.condition == "open"


@pytest.mark.parametrize("seed", range(10))
def test_S14_no_level_from_outside_the_window_comes_back_as_the_best(seed: int) -> None:
    """The venue maintains five levels a side: what slides out is not told, what slides in is."""
    chance = random.Random(seed)
    whole: dict[float, float] = {float(price): 1.0 for price in range(100, 110)}

    def window() -> dict[float, float]:
        return {price: whole[price] for price in sorted(whole)[:5]}

    book = OrderBook(unnumbered, window=5)
    shown = window()
    book.apply(BookUpdate(bids=[], asks=list(shown.items()), last=0, snapshot=True))
    for _ in range(400):
        price = float(chance.randrange(90, 120))
        if price in whole and len(whole) > 6 and chance.random() < 0.6:
            del whole[price]
        else:
            whole[price] = float(chance.randrange(1, 9))
        now = window()
        gone = [(each, 0.0) for each in shown if each not in whole]
        news = [(each, size) for each, size in now.items() if shown.get(each) != size]
        book.apply(BookUpdate(bids=[], asks=gone + news, last=0))
        shown = now
        assert dict(book.levels()[1]) == now
        assert book.best_ask == min(now)


def test_a_side_that_grows_without_end_is_given_up() -> None:
    book = book_at(10, max_levels=100)
    assert book.apply(change(11, 10, bids=[(float(i), 1.0) for i in range(1, 102)])) is Outcome.GAP
    assert book.counters["book_too_deep"] == 1
    assert book.levels() == ((), ())


def test_S17_ids_are_exact_to_64_bits_from_the_wire_on() -> None:
    for start in (2**31 - 2, 2**53 - 1, 2**63 - 3):
        assert msgspec.json.decode(str(start + 1).encode(), type=int) == start + 1
        book = book_at(start)
        assert book.apply(change(start + 1, start)) is Outcome.CHANGED
        assert book.apply(change(start + 3, start + 2)) is Outcome.GAP, "as doubles the two would be one"


decimals = st.builds(
    lambda digits, places: Decimal(digits).scaleb(-places), st.integers(1, 10**15 - 1), st.integers(0, 12)
)


@given(decimals, decimals)
def test_two_prices_are_one_key_exactly_where_they_are_one_decimal(first: Decimal, second: Decimal) -> None:
    keys = [msgspec.json.decode(str(each).replace("E", "e").encode(), type=float) for each in (first, second)]
    assert (keys[0] == keys[1]) is (first == second)
    assert keys == [decimal(f"{first:f}"), decimal(f"{second:f}")]


def test_neighbouring_ticks_stay_apart_and_spellings_together() -> None:
    assert decimal("0.1") == decimal("0.10") == decimal("1e-1")
    assert decimal("99999.9999999999") != decimal("99999.9999999998")


@pytest.mark.parametrize("text", ["", "nan", "Infinity", "1_000", " 1", "1,5", "0x10", "1e400", "--1", "١"])
def test_D13_what_is_no_decimal_is_no_level(text: str) -> None:
    book = OrderBook(unnumbered, guard=ChecksumGuard(interleaved))
    book.apply(BookUpdate(bids=[("1", "1")], asks=[], last=0, snapshot=True))
    assert book.apply(BookUpdate(bids=[(text, "1")], asks=[], last=0)) is Outcome.GAP
    assert book.counters["book_bad_level"] == 1
    assert book.levels() == ((), ())


def test_the_best_levels_are_best_first_and_the_same_object_until_they_change() -> None:
    book = OrderBook(unnumbered, depth=2)
    bids = [(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)]
    book.apply(BookUpdate(bids=bids, asks=[(5.0, 1.0), (4.0, 1.0), (6.0, 1.0)], last=0, snapshot=True))
    assert (book.bids(), book.asks()) == (((3.0, 1.0), (2.0, 1.0)), ((4.0, 1.0), (5.0, 1.0)))
    best = book.bids()
    book.apply(BookUpdate(bids=[(1.0, 9.0), (0.5, 1.0)], asks=[], last=0))
    assert book.bids() is best
    book.apply(BookUpdate(bids=[(2.0, 0.0)], asks=[], last=0))
    assert book.bids() == ((3.0, 1.0), (1.0, 9.0))


# Against the oracle


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 30), st.sampled_from([0.0, -1.0, 1.0, 2.5])), max_size=60),
    st.integers(1, 12),
)
def test_any_changes_give_what_the_reference_gives(changes: list[tuple[int, int, float]], depth: int) -> None:
    book, reference = OrderBook(unnumbered, depth=depth), ReferenceBook()
    book.apply(BookUpdate(bids=[], asks=[], last=0, snapshot=True))
    for side, ticks, size in changes:
        level = [(ticks * 0.0005, size)]
        bids, asks = (level, []) if side == 0 else ([], level)
        book.apply(BookUpdate(bids=bids, asks=asks, last=0))
        reference.change(bids, asks)
        assert book.levels() == reference.levels()
        assert (book.bids(), book.asks()) == reference.levels(depth)
        assert is_ordered(book.levels())


@pytest.mark.parametrize("seed", range(60))
def test_I2_a_book_in_sync_is_the_venues_book_whatever_happened_to_its_messages(seed: int) -> None:
    """Drops, repetitions, swaps and snapshots in between; a lost book is given a snapshot some messages later."""
    chance = random.Random(seed)
    venue, book = BookVenue(seed), OrderBook(change_id_chain, depth=5)
    truth = {venue.id: venue.book.levels()}
    messages = [venue.snapshot()]
    snapshots = {}
    for _ in range(300):
        messages.append(venue.move())
        truth[venue.id] = venue.book.levels()
        snapshots[venue.id] = venue.snapshot()
        if chance.random() < 0.02:
            messages.append(venue.snapshot())
    lost = 0
    for message in faulty(messages, chance, rate=0.05):
        outcome = book.apply(message)
        if outcome is Outcome.GAP:
            lost += 1
        elif outcome is Outcome.BUFFERED and chance.random() < 0.3:
            book.apply(snapshots[message.last])
        if book.in_sync:
            assert book.levels() == truth[book.sequence]
        else:
            assert book.levels() == ((), ())
    assert lost, "the schedule has faults in it"
    book.apply(venue.snapshot())
    assert book.in_sync
    assert book.levels() == venue.book.levels()
