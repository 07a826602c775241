"""Deribit's books through the whole adapter: frames and time in, events and requests out."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.deribit.books import BookOptions, book_subject
from pricer.adapters.deribit.channels import subject
from pricer.adapters.events import AnyEvent, BookDepth, BookLost, FeedStatus, OptionQuote, SubscriptionRejected
from pricer.adapters.recording import open_recording
from pricer.adapters.records import Frame
from pricer.adapters.reenactment import apply_record
from pricer.adapters.sequences import BookUpdate
from pricer.books import BookKeeper
from pricer.clock import NS_PER_SECOND, Instant
from pricer.conventions import Status
from pricer.errors import ConfigError
from tests.adapters.deribit_frames import EXPIRY_NS, NOW, Venue, encoded, fixture, options, texts
from tests.data import data_path
from tests.fuzz.mutations import mutated
from tests.oracle import BookVenue, ReferenceBook, faulty, is_ordered

NAME, OTHER = "BTC-27JUN25-1000-C", "BTC-27JUN25-1500-C"
MS = 1_000_000
GATHER_S = 0.02  # so long a gap waits for company before it is asked for


def frame(name: str, update: BookUpdate, at: Instant = NOW, **changes: Any) -> dict[str, Any]:
    """A book message as Deribit writes it."""

    def written(levels: Any) -> list[Any]:
        return [["new" if size > 0 else "delete", price, size] for price, size in levels]

    data: dict[str, Any] = {
        "type": "snapshot" if update.snapshot else "change",
        "timestamp": at.wall_ns // MS,
        "instrument_name": name,
        "change_id": update.last,
        "bids": written(update.bids),
        "asks": written(update.asks),
    }
    if not update.snapshot:
        data["prev_change_id"] = update.previous
    message = {"channel": f"book.{name}.100ms", "data": data | changes}
    return {"jsonrpc": "2.0", "method": "subscription", "params": message}


class Market(Venue):
    """A venue that answers a book's subscription with its snapshot, a 50 ms path later; its tickers say the same."""

    def __init__(self, count: int = 2, **settings: Any) -> None:
        super().__init__(Deribit(books="all", **settings), options(count))
        self.books = {NAME: BookVenue(1), OTHER: BookVenue(2)}
        self.muted: set[str] = set()
        self.open()
        self.answer()

    def streamed(self, channel: str) -> bytes | None:
        """Tickers of the instruments that have a book."""
        name = subject(channel)
        if not channel.startswith("ticker.") or name not in self.books:
            return super().streamed(channel)
        return encoded(ticker(name, self.books[name].book.levels(), self.now))

    def answer(self) -> None:
        """Snapshots for the book channels that were subscribed since the last call."""
        self.pass_time(GATHER_S)
        news, self.asked = self.asked, []
        for message in news:
            for channel in message["params"].get("channels", ()):
                name, _ = book_subject(channel)
                if message["method"] == "public/subscribe" and name in self.books and name not in self.muted:
                    self.now = self.now.plus(50 * MS)
                    self.hear(frame(name, self.books[name].snapshot(), self.now))

    def move(self, name: str = NAME) -> None:
        """The book moves, and its message arrives."""
        self.hear(frame(name, self.books[name].move(), self.now))

    def take(self) -> list[AnyEvent]:
        """What has come since the last call."""
        events, self.events = self.events, []
        return events

    def requests(self) -> list[tuple[str, list[str]]]:
        """The subscription calls."""
        calls = [message for message in self.asked if "channels" in message["params"]]
        return [(message["method"], message["params"]["channels"]) for message in calls]


def depths(events: list[AnyEvent], name: str = NAME) -> list[BookDepth]:
    return [event for event in events if isinstance(event, BookDepth) and event.instrument == name]


def losses(events: list[AnyEvent]) -> list[tuple[str, str]]:
    return [(event.instrument, event.reason) for event in events if isinstance(event, BookLost)]


def shown(event: BookDepth) -> Any:
    return (event.bids, event.asks)


def test_books_are_subscribed_with_their_instruments_and_dropped_with_them() -> None:
    market = Market()
    assert {f"book.{name}.100ms" for name in (NAME, OTHER, "BTC-PERPETUAL")} <= set(market.subscribed)
    (first,) = depths(market.take())
    assert shown(first) == market.books[NAME].book.levels()
    assert (first.sequence, first.state) == (market.books[NAME].id, "open")
    market.instruments = market.instruments[1:]
    market.pass_time(66)
    assert f"book.{NAME}.100ms" not in market.subscribed
    assert f"book.{OTHER}.100ms" in market.subscribed
    market.take()
    market.move(NAME)
    assert depths(market.take(), OTHER) == []


def test_without_the_option_no_book_is_asked_for_and_none_is_taken() -> None:
    venue = Venue(Deribit(), options(1))
    venue.open()
    assert not [name for name in venue.subscribed if name.startswith("book.")]
    assert venue.adapter.receive(msgspec.json.encode(frame(NAME, BookVenue(1).snapshot())), NOW) == []
    assert venue.adapter.counters["unwanted"] == 1


def test_S01_a_gap_is_found_on_the_next_message_and_only_that_book_comes_anew_within_two_seconds() -> None:
    market = Market()
    market.take()
    market.asked = []
    started = market.now
    market.books[NAME].move()  # its message is lost
    market.move()
    assert losses(market.take()) == [(NAME, "gap")]
    channel = f"book.{NAME}.100ms"
    market.pass_time(GATHER_S)
    assert market.requests() == [("public/unsubscribe", [channel]), ("public/subscribe", [channel])]
    market.answer()
    (back,) = depths(market.take())
    assert shown(back) == market.books[NAME].book.levels()
    assert back.received.mono_ns - started.mono_ns <= 2 * NS_PER_SECOND
    market.move(OTHER)
    market.move()
    assert losses(market.events) == []
    assert market.adapter.counters["book_resync"] == 1


def test_S02_S03_a_repeated_change_says_nothing_and_swapped_ones_are_a_gap() -> None:
    market = Market()
    venue = market.books[NAME]
    market.take()
    message = frame(NAME, venue.move())
    market.hear(message)
    market.hear(message)
    assert len(depths(market.take())) == 1
    first, second = frame(NAME, venue.move()), frame(NAME, venue.move())
    market.hear(second)
    market.hear(first)
    assert losses(market.take()) == [(NAME, "gap")]
    market.answer()
    assert shown(depths(market.take())[-1]) == venue.book.levels()


def test_S04_changes_before_the_first_snapshot_wait_for_it() -> None:
    market = Market()
    market.muted = {NAME}
    market.adapter.closed(market.now, "reset")
    market.open()
    market.answer()
    market.take()
    early = market.books[NAME].snapshot()
    market.move()
    market.move()
    assert depths(market.take()) == []
    market.hear(frame(NAME, early))
    assert [shown(event) for event in depths(market.take())] == [market.books[NAME].book.levels()]


def test_S04_a_snapshot_that_never_comes_is_asked_for_three_times_and_then_ever_more_rarely() -> None:
    market = Market()
    market.muted = {NAME}
    market.books[NAME].move()
    market.move()
    asked_at = []
    start_ns = market.now.mono_ns
    for _ in range(600):
        asked_at += [
            (market.now.mono_ns - start_ns) / NS_PER_SECOND
            for method, names in market.requests()
            if method == "public/subscribe" and f"book.{NAME}.100ms" in names
        ]
        market.asked = []
        market.pass_time(1)
    pauses = [after - before for before, after in pairwise(asked_at)]
    assert pauses[:2] == pytest.approx([10, 10], abs=1)
    assert max(pauses) == pytest.approx(60, abs=1)
    # At the book's own pace, and a few times at that of a channel whose first message is missed.
    assert len(asked_at) <= 20
    market.muted = set()
    market.pass_time(61)
    market.answer()
    assert shown(depths(market.events)[-1]) == market.books[NAME].book.levels()


def test_S06_a_snapshot_in_the_middle_replaces_the_book() -> None:
    market = Market()
    market.books[NAME] = BookVenue(99)
    market.hear(frame(NAME, market.books[NAME].snapshot()))
    assert shown(depths(market.take())[-1]) == market.books[NAME].book.levels()
    assert market.adapter.counters["book_resync"] == 0


def test_S07_nothing_of_the_old_session_survives() -> None:
    market = Market()
    market.take()
    events = market.adapter.closed(market.now, "reset")
    assert sorted(losses(events)) == [(NAME, "session"), (OTHER, "session")]
    assert isinstance(events[-1], FeedStatus)
    market.books = {NAME: BookVenue(50), OTHER: BookVenue(51)}
    market.open()
    market.answer()
    events = market.take()
    assert [shown(event) for event in depths(events)] == [market.books[NAME].book.levels()]


def test_S07_nor_where_the_end_of_the_old_session_was_never_told() -> None:
    market = Market()
    market.take()
    market.open()
    market.move()
    assert sorted(losses(market.take())) == [(NAME, "session"), (OTHER, "session")]
    assert market.adapter.counters["book_awaits_snapshot"] == 1


def test_a_connection_that_was_relieved_takes_no_books_with_it() -> None:
    market = Market()
    assert losses(market.adapter.closed(market.now, "rotated")) == []


def test_S08_a_lower_id_is_a_gap_on_deribit_which_documents_no_reset() -> None:
    market = Market()
    market.take()
    venue = market.books[NAME]
    market.hear(frame(NAME, BookUpdate(bids=[(0.4, 1.0)], asks=[], last=5, previous=venue.id)))
    assert losses(market.take()) == [(NAME, "gap")]


def test_S08_a_book_that_was_renumbered_is_back_with_its_first_snapshot() -> None:
    """What came before the new subscription has the old numbers, which follow nothing any more."""
    market = Market()
    market.books[NAME].move()
    market.move()
    market.books[NAME].id = 7
    market.take()
    market.answer()
    market.move()
    assert [shown(event) for event in depths(market.take())][-1] == market.books[NAME].book.levels()
    assert market.adapter.counters["book_resync"] == 1


def test_S08_a_change_of_nothing_is_a_whole_book() -> None:
    """`prev_change_id` 0 (sheet 5.7): met in a frame of 2021."""
    market = Market()
    market.take()
    market.hear(frame(NAME, BookUpdate(bids=[(0.4, 1.0)], asks=[], last=5, previous=0)))
    assert [shown(event) for event in depths(market.take())] == [(((0.4, 1.0),), ())]


def test_S12_a_delete_is_one_whatever_amount_it_names() -> None:
    market = Market()
    venue = market.books[NAME]
    best = venue.book.levels()[0][0][0]
    update = BookUpdate(bids=[], asks=[], last=venue.id + 1, previous=venue.id)
    market.hear(frame(NAME, update, bids=[["delete", best, 3.0], ["change", 0.0001, 0.0], ["delete", 0.0002, 0]]))
    assert best not in dict(depths(market.take())[-1].bids)
    assert market.adapter.counters["book_absent_delete"] == 2


@pytest.mark.parametrize(("shift", "state"), [(0.0, "locked"), (0.0005, "crossed")])
def test_S13_a_book_that_stays_crossed_or_locked_is_asked_for_again_after_half_a_second(
    shift: float, state: str
) -> None:
    market = Market()
    market.take()
    venue = market.books[NAME]
    ask = venue.book.levels()[1][0][0]
    bad = BookUpdate(bids=[(round(ask + shift, 4), 1.0)], asks=[], last=venue.id + 1, previous=venue.id)
    market.hear(frame(NAME, bad))
    assert [event.state for event in depths(market.take())] == [state]
    market.asked = []
    market.pass_time(0.499)
    assert market.requests() == []
    market.pass_time(0.002)
    assert losses(market.take()) == [(NAME, "crossed")]
    market.answer()
    assert [event.state for event in depths(market.take())] == ["open"]
    assert market.adapter.counters["book_crossed"] == 1


def test_S13_a_book_that_is_crossed_for_a_moment_is_left_alone() -> None:
    market = Market()
    venue = market.books[NAME]
    ask = venue.book.levels()[1][0][0]
    market.hear(frame(NAME, BookUpdate(bids=[(ask, 1.0)], asks=[], last=venue.id + 1, previous=venue.id)))
    market.pass_time(0.3)
    market.hear(frame(NAME, BookUpdate(bids=[(ask, 0.0)], asks=[], last=venue.id + 2, previous=venue.id + 1)))
    market.take()
    market.pass_time(5)
    assert losses(market.events) == []


def ticker(name: str, book: Any, at: Instant, **changes: Any) -> dict[str, Any]:
    message: dict[str, Any] = fixture("ticker_inverse_call")
    message["params"]["channel"] = f"ticker.{name}.100ms"
    bids, asks = book
    message["params"]["data"] |= {
        "instrument_name": name,
        "timestamp": at.wall_ns // MS,
        "best_bid_price": bids[0][0],
        "best_ask_price": asks[0][0],
        **changes,
    }
    return message


@pytest.mark.parametrize("frozen", ["book", "ticker"])
def test_S16_of_book_and_ticker_the_one_that_stands_still_is_asked_for_again_within_three_seconds(frozen: str) -> None:
    market = Market()
    venue = market.books[NAME]
    market.hear(ticker(NAME, venue.book.levels(), market.now))
    market.pass_time(1)
    market.take()
    market.asked = []
    started_ns = market.now.mono_ns
    market.quiet = lambda channel: channel == f"ticker.{NAME}.100ms"
    best = venue.book.levels()[0][0][0]
    gone = frame(NAME, BookUpdate(bids=[(best, 0.0)], asks=[], last=venue.id + 1, previous=venue.id))
    told = False
    venue.id += 1
    venue.book.change([(best, 0.0)], [])
    while market.now.mono_ns - started_ns < 3 * NS_PER_SECOND and not market.requests():
        if frozen == "book":
            market.hear(ticker(NAME, venue.book.levels(), market.now))
        elif not told:
            gone["params"]["data"]["timestamp"] = market.now.wall_ns // MS
            market.hear(gone)
            told = True
        market.pass_time(0.1)
    assert 2 <= (market.now.mono_ns - started_ns) / NS_PER_SECOND <= 3
    channel = f"{frozen}.{NAME}.100ms"
    assert market.requests() == [("public/unsubscribe", [channel]), ("public/subscribe", [channel])]
    assert market.adapter.counters["book_ticker_disagree"] == 1
    assert losses(market.take()) == ([(NAME, "disagreement")] if frozen == "book" else [])


def test_S16_a_frozen_incremental_ticker_is_asked_for_on_its_own_channel() -> None:
    market = Market(quotes="incremental")
    venue = market.books[NAME]
    message = ticker(NAME, venue.book.levels(), market.now, type="snapshot")
    message["params"]["channel"] = f"incremental_ticker.{NAME}"
    market.hear(message)
    market.pass_time(1)
    market.asked = []
    best = venue.book.levels()[0][0][0]
    gone = BookUpdate(bids=[(best, 0.0)], asks=[], last=venue.id + 1, previous=venue.id)
    market.hear(frame(NAME, gone, market.now))
    market.pass_time(3)
    asked = [names for method, names in market.requests() if method == "public/subscribe"]
    assert asked == [[f"incremental_ticker.{NAME}"]]


def test_S16_two_that_both_move_are_never_compared_for_long() -> None:
    """A ticker that is always one move behind the book is not wrong."""
    market = Market()
    for step in range(300):
        prices = [round(0.1 + 0.0005 * ((step + lag) % 40), 4) for lag in (1, 0)]
        market.hear(frame(NAME, BookUpdate(bids=[(prices[0], 1.0)], asks=[(0.9, 1.0)], last=step, snapshot=True)))
        market.hear(ticker(NAME, (((prices[1], 1.0),), ((0.9, 1.0),)), market.now))
        market.pass_time(0.1)
    assert market.adapter.counters["book_ticker_disagree"] == 0


@pytest.mark.parametrize("older", ["book", "ticker"])
def test_S16_two_that_differ_by_nature_are_not_asked_for_for_ever(older: str) -> None:
    market = Market()
    venue = market.books[NAME]
    market.quiet = lambda channel: channel == f"ticker.{NAME}.100ms"
    asked = 0
    for _ in range(1200):
        at = market.now.plus((1 if older == "book" else -100) * NS_PER_SECOND)
        market.hear(ticker(NAME, venue.book.levels(), at, best_bid_price=0.0001))
        market.pass_time(0.5)
        asked += sum(names == [f"{older}.{NAME}.100ms"] for _, names in market.requests()) // 2
        market.answer()
    assert 3 <= asked <= 25, "in ten minutes"


def test_S17_ids_beyond_the_doubles_are_exact() -> None:
    market = Market()
    market.take()
    for last, previous in ((2**53 + 1, 0), (2**53 + 2, 2**53 + 1), (2**53 + 4, 2**53 + 3)):
        market.hear(frame(NAME, BookUpdate(bids=[(0.4, 1.0)], asks=[], last=last, previous=previous)))
    assert [event.sequence for event in depths(market.events)] == [2**53 + 1, 2**53 + 2]
    assert losses(market.events) == [(NAME, "gap")]


@pytest.mark.parametrize(
    "changes",
    [
        {"change_id": None},
        {"bids": None},
        {"bids": [["new", "0.1", 1.0]]},
        {"bids": [["new", 0.1]]},
        {"bids": [["gone", 0.1, 1.0]]},
        {"asks": [["new", None, 1.0]]},
        {"instrument_name": OTHER},
        {"change_id": 1.5},
    ],
)
def test_P13_a_message_that_cannot_be_read_is_a_missed_one(changes: dict[str, Any]) -> None:
    market = Market()
    market.take()
    market.hear(frame(NAME, market.books[NAME].move(), **changes))
    assert losses(market.take()) == [(NAME, "gap")]
    assert market.adapter.counters["bad_book"] == 1


def test_N03_a_book_is_not_taken_after_its_option_has_expired() -> None:
    adapter = Deribit(None)
    message = frame("BTC-12MAR25-65000-C", BookVenue(1).snapshot())
    just_before = Instant(EXPIRY_NS - 1, 0)
    assert len(adapter.receive(msgspec.json.encode(message), just_before)) == 1
    assert adapter.receive(msgspec.json.encode(message), Instant(EXPIRY_NS, 1)) == []


def test_a_refused_book_is_told_once_and_the_quotes_of_its_option_go_on() -> None:
    venue = Venue(Deribit(books=BookOptions(interval="raw")), options(1))
    venue.refused = {f"book.{NAME}.raw"}
    venue.open()
    venue.pass_time(130)
    assert losses(venue.events) == [(NAME, "rejected")]
    assert not [event for event in venue.events if isinstance(event, SubscriptionRejected)]
    venue.hear(ticker(NAME, (((0.1, 1.0),), ((0.2, 1.0),)), venue.now))
    assert isinstance(venue.events[-2], OptionQuote)


def test_grouped_books_are_whole_pictures_and_need_no_resync() -> None:
    venue = Venue(Deribit(books=BookOptions((NAME,), group="none", depth=10)), options(1))
    venue.open()
    channel = f"book.{NAME}.none.10.100ms"
    assert [name for name in venue.subscribed if name.startswith("book.")] == [channel]
    for change_id, bid in ((7, 0.1), (90, 0.2), (8, 0.3)):
        data = {"instrument_name": NAME, "timestamp": NOW.wall_ns // MS, "change_id": change_id}
        levels = {"bids": [[bid, 5.0], [0.01, 2.0]], "asks": []}
        venue.hear({"method": "subscription", "params": {"channel": channel, "data": data | levels}})
    assert [(event.sequence, event.bids) for event in depths(venue.events)] == [
        (7, ((0.1, 5.0), (0.01, 2.0))),
        (90, ((0.2, 5.0), (0.01, 2.0))),
    ]
    assert venue.adapter.counters["book_old"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: BookOptions(depth=0),
        lambda: BookOptions(depth=5, group="none"),
        lambda: BookOptions(interval="raw", group="none"),
        lambda: BookOptions(interval="50ms"),  # type: ignore[arg-type]
        lambda: Deribit(books="BTC-PERPETUAL"),
    ],
)
def test_impossible_options_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="books"):
        wrong()


def test_names_of_futures_are_asked_for_at_once() -> None:
    adapter = Deribit(books=["BTC-PERPETUAL", "BTC-26DEC25", NAME])
    adapter.opened(NOW)
    asked = [name for each in texts(adapter.to_send(NOW)) for name in each["params"].get("channels", ())]
    assert [name for name in asked if name.startswith("book.")] == [
        "book.BTC-PERPETUAL.100ms",
        "book.BTC-26DEC25.100ms",
    ]


# Many faults


@pytest.mark.parametrize("seed", range(25))
def test_I2_whatever_is_lost_repeated_or_swapped_a_book_that_is_ok_is_the_venues_and_all_come_back(seed: int) -> None:
    chance = random.Random(seed)
    market = Market()
    keeper = BookKeeper()
    truth = {venue.id: venue.book.levels() for venue in market.books.values()}
    for event in market.take():
        keeper.apply(event)

    def look() -> None:
        for event in market.take():
            keeper.apply(event)
        for name in market.books:
            view = keeper.view("deribit", name, market.now)
            if view.status is Status.OK:
                assert view.book is not None
                assert shown(view.book) == tuple(side[:10] for side in truth[view.book.sequence])

    market.asked = []
    lost = 0
    for _ in range(60):
        for name, venue in market.books.items():
            frames = []
            for _ in range(chance.randrange(1, 4)):
                frames.append(venue.move())
                truth[venue.id] = venue.book.levels()
            for update in faulty(frames, chance, rate=0.1):
                market.hear(frame(name, update, market.now, **({"bids": 7} if chance.random() < 0.01 else {})))
                look()
        lost += len(market.asked)
        if chance.random() < 0.8:
            market.answer()
        market.pass_time(chance.choice((0.0, 0.1, 5.0, 40.0)))
        look()
    assert lost, "the schedule has faults in it"
    for name, venue in market.books.items():  # the last fault may be one that only a next message shows
        market.hear(frame(name, venue.move(), market.now))
        truth[venue.id] = venue.book.levels()
    for _ in range(2):
        market.pass_time(61)
        market.answer()
    look()
    for name, venue in market.books.items():
        view = keeper.view("deribit", name, market.now)
        assert view.status is Status.OK
        assert view.book is not None
        assert view.book.sequence == venue.id, "back by asking, not by chance"


def test_a_thousand_books_that_gap_at_once_are_asked_for_in_few_calls() -> None:
    """What one connection can do for S15: names go together, as many as a frame takes."""
    venue = Venue(Deribit(books="all"), options(1000))
    venue.open()
    books = {item["instrument_name"]: BookVenue(i) for i, item in enumerate(venue.instruments)}
    venue.pass_time(5)
    for name, book in books.items():
        venue.adapter.receive(encoded(frame(name, book.snapshot())), venue.now)
    venue.asked = []
    started = venue.now
    for name, book in books.items():
        book.move()
        venue.adapter.receive(encoded(frame(name, book.move())), venue.now)
    venue.talk()
    venue.pass_time(5)
    asked = [message for message in venue.asked if message["method"] == "public/subscribe"]
    assert sum(len(message["params"]["channels"]) for message in asked) == 1000
    assert len([message for message in venue.asked if "channels" in message["params"]]) == 8
    for name, book in books.items():
        venue.hear(frame(name, book.snapshot(), started))
    assert len(losses(venue.events)) == 0  # told where the frames were taken, above
    assert len([event for event in venue.events if isinstance(event, BookDepth)]) == 1000


def test_P13_mutated_book_frames_never_raise_nor_invent_levels() -> None:
    chance = random.Random(20261121)
    adapter = Deribit(None)
    names = ["book_snapshot", "book_change"]
    kept = 0
    for number in range(20_000):
        _, data = mutated(fixture(chance.choice(names)), chance)
        for event in adapter.receive(data, NOW):
            if not isinstance(event, BookDepth):
                continue
            kept += 1
            assert is_ordered((event.bids, event.asks))
            assert all(price > 0 and 0 < size < math.inf for price, size in event.bids + event.asks)
        adapter.on_time(NOW)
        if number % 50 == 0:
            adapter.closed(NOW, "fuzz")  # or what was kept for the next snapshot would count as well
            (event,) = depths(adapter.receive(encoded(fixture("book_snapshot")), NOW), "BTC-PERPETUAL")
            assert len(event.bids) == 2
    assert kept > 2_000
    assert len(adapter.counters) < 40, sorted(adapter.counters)


def test_the_fixtures_follow_each_other() -> None:
    adapter = Deribit(None)
    first, second = (adapter.receive(encoded(fixture(name)), NOW)[0] for name in ("book_snapshot", "book_change"))
    assert isinstance(first, BookDepth)
    assert isinstance(second, BookDepth)
    assert shown(first) == (((42500.0, 1000.0), (42499.0, 200.0)), ((42501.0, 800.0), (42502.0, 5.0)))
    assert shown(second) == (((42500.0, 950.0), (42499.0, 200.0), (42498.5, 300.0)), ((42501.5, 700.0), (42502.0, 5.0)))
    grouped = Deribit(None, books=BookOptions(group="none"))
    (picture,) = grouped.receive(encoded(fixture("book_grouped")), NOW)
    assert isinstance(picture, BookDepth)
    assert shown(picture) == (((89532.5, 254900.0),), ((89533.0, 91570.0),))


# Real frames


def test_the_recording_of_2021_links_36_of_36_changes_and_gives_the_books_of_the_reference() -> None:
    adapter = Deribit(None)
    references: dict[str, ReferenceBook] = {}
    kinds: Counter[str] = Counter()
    for record in open_recording(data_path("wire/cryptofeed/DERIBIT.ws.1.0")):
        events = apply_record(adapter, record)
        if not isinstance(record, Frame) or b'"channel":"book.' not in record.data:
            continue
        data = json.loads(record.data)["params"]["data"]
        reference = references.setdefault(data["instrument_name"], ReferenceBook())
        sides = [[(price, size) for _, price, size in data[side]] for side in ("bids", "asks")]
        (reference.replace if data["type"] == "snapshot" else reference.change)(*sides)
        (event,) = [event for event in events if isinstance(event, BookDepth)]
        kinds[data["type"]] += 1
        assert shown(event) == reference.levels(10)
        assert (event.sequence, event.instrument) == (data["change_id"], data["instrument_name"])
        assert event.exchange_ns == data["timestamp"] * MS
    assert kinds == {"snapshot": 10, "change": 36}
    assert not [key for key in adapter.counters if key.startswith(("book_", "bad_book"))]


def literals() -> list[dict[str, Any]]:
    """Book messages out of the tests of three other projects."""
    found = [json.loads(line) for line in data_path("wire/tardis-node/deribit.jsonl").read_text().splitlines()]
    parser = data_path("wire/crypto-msg-parser/deribit.all.jsonl")
    found += [json.loads(line) for line in parser.read_text().splitlines() if line]
    folder = data_path("wire/nautilus_trader/deribit")
    found += [json.loads(path.read_bytes()) for path in sorted(folder.glob("ws_book*.json"))]
    return [each for each in found if str(each.get("params", {}).get("channel", "")).startswith("book.")]


def test_book_literals_of_three_projects_are_books_or_wait_for_their_snapshot() -> None:
    kinds: Counter[str] = Counter()
    for message in literals():
        data = message["params"]["data"]
        _, grouped = book_subject(message["params"]["channel"])
        adapter = Deribit(None, books=BookOptions(group="none", depth=20) if grouped else None)
        at = Instant(data["timestamp"] * MS, 0)
        events = depths(adapter.receive(msgspec.json.encode(message), at), data["instrument_name"])
        # Frames of 2019 have no type; a change that follows nothing is a whole book.
        whole = grouped or data.get("type") == "snapshot" or not data.get("prev_change_id")
        kinds["grouped" if grouped else "snapshot" if whole else "change"] += 1
        assert len(events) == whole
        assert adapter.counters["book_awaits_snapshot"] == (not whole)
        if events:
            assert events[0].sequence == data["change_id"]
            assert len(events[0].bids) == min(len(data["bids"]), 20 if grouped else 10)
    assert kinds == {"grouped": 4, "snapshot": 7, "change": 4}
