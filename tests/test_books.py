"""The latest book of each instrument, and what its status says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pricer.adapters.deribit.instruments import instrument_from_name
from pricer.adapters.events import BookDepth, BookLost, FeedStatus, InstrumentChanged, InstrumentExpired
from pricer.books import BookKeeper, BookView
from pricer.clock import NS_PER_SECOND, Instant
from pricer.conventions import NO_REASON, Reason, Status

NOW = Instant(1_735_000_000 * NS_PER_SECOND, 5 * NS_PER_SECOND)
GOOD: dict[str, Any] = {"bids": ((9.0, 1.0),), "asks": ((11.0, 2.0),)}


def depth(name: str = "X", venue: str = "v", **changes: Any) -> BookDepth:
    return BookDepth(venue=venue, received=NOW, instrument=name, **(GOOD | changes))


def lost(reason: Any) -> BookLost:
    return BookLost(venue="v", received=NOW, instrument="X", reason=reason)


def closed(**changes: Any) -> FeedStatus:
    return FeedStatus(venue="v", received=NOW, connection="c", state="closed", **changes)


def after(*events: Any, **settings: Any) -> BookView:
    keeper = BookKeeper(**settings)
    for event in events:
        keeper.apply(event)
    return keeper.view("v", "X", NOW.plus(3 * NS_PER_SECOND))


def rating(view: BookView) -> tuple[Status, Reason]:
    return view.status, view.reasons


def test_a_book_is_ok_and_has_its_age() -> None:
    view = after(depth())
    assert rating(view) == (Status.OK, NO_REASON)
    assert view.book == depth()
    assert view.age_ns(NOW.plus(NS_PER_SECOND)) == NS_PER_SECOND


def test_what_was_never_seen_is_invalid() -> None:
    view = after(depth(venue="other"))
    assert rating(view) == (Status.INVALID, Reason.NO_QUOTE)
    assert view.book is None
    assert view.age_ns(NOW) is None


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("gap", Reason.BOOK_GAP | Reason.RESYNCING),
        ("checksum", Reason.CHECKSUM_FAIL | Reason.RESYNCING),
        ("crossed", Reason.CROSSED | Reason.RESYNCING),
        ("disagreement", Reason.RESYNCING),
        ("session", Reason.RESYNCING),
    ],
)
def test_S01_I8_a_lost_book_is_the_last_good_one_and_stale_until_the_next(reason: str, expected: Reason) -> None:
    view = after(depth(), lost(reason))
    assert rating(view) == (Status.STALE, expected)
    assert view.book == depth()
    assert after(lost(reason)).status is Status.INVALID
    assert after(depth(), lost(reason), depth()).status is Status.OK


def test_a_refused_book_is_not_trading() -> None:
    assert rating(after(depth(), lost("rejected"))) == (Status.INVALID, Reason.NOT_TRADING)


@pytest.mark.parametrize(("state", "reason"), [("crossed", Reason.CROSSED), ("locked", Reason.LOCKED)])
def test_S13_a_crossed_book_shows_the_last_uncrossed_one_as_stale(state: str, reason: Reason) -> None:
    bad = depth(bids=((12.0, 1.0),), state=state)
    assert rating(after(bad)) == (Status.INVALID, reason)
    view = after(depth(), bad)
    assert rating(view) == (Status.STALE, reason)
    assert view.book == depth()
    assert after(depth(), bad, depth()).status is Status.OK
    assert after(depth(), bad, lost("gap")).reasons == Reason.BOOK_GAP | Reason.RESYNCING


def test_one_sided_and_empty_books() -> None:
    assert rating(after(depth(asks=()))) == (Status.DEGRADED, Reason.ONE_SIDED)
    assert rating(after(depth(bids=(), asks=()))) == (Status.INVALID, Reason.NO_QUOTE)


def test_age_makes_a_book_stale_only_where_a_limit_is_set() -> None:
    assert after(depth(), stale_after_ns=3 * NS_PER_SECOND).status is Status.OK
    assert rating(after(depth(), stale_after_ns=2 * NS_PER_SECOND)) == (Status.STALE, Reason.QUOTE_STALE)


def test_S07_a_closed_connection_takes_its_books_with_it_unless_another_has_taken_over() -> None:
    assert rating(after(depth(), closed(reason="reset"))) == (Status.STALE, Reason.RESYNCING)
    assert after(depth(), closed(reason="reset", lost=("X",))).status is Status.STALE
    assert after(depth(), closed(reason="reset", lost=("Y",))).status is Status.OK
    assert after(depth(), closed(reason="rotated")).status is Status.OK
    assert after(depth(), lost("gap"), closed()).reasons == Reason.BOOK_GAP | Reason.RESYNCING


def test_a_halted_instrument_is_not_trading_and_an_expired_one_is_forgotten() -> None:
    named = instrument_from_name("BTC-27JUN25-100000-C")
    assert named is not None
    definition = msgspec.structs.replace(named, venue="v", name="X", state="halted")
    changed = InstrumentChanged(venue="v", received=NOW, definition=definition)
    assert rating(after(depth(), changed)) == (Status.INVALID, Reason.NOT_TRADING)
    keeper = BookKeeper()
    keeper.apply(depth())
    keeper.apply(InstrumentExpired(venue="v", received=NOW, instrument="X"))
    assert len(keeper) == 0


def test_I6_the_number_of_books_is_bounded() -> None:
    keeper = BookKeeper(most=2)
    for name in "XYZ":
        keeper.apply(depth(name))
    assert (len(keeper), keeper.counters["too_many_books"]) == (2, 1)
    assert keeper.view("v", "Z", NOW).status is Status.INVALID
