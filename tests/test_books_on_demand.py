"""Books that come and go while the feed runs: in the adapter, over a reconnection, from a recording, on many lanes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pricer
from pricer.adapters.deribit import Deribit
from pricer.adapters.events import BookLost
from pricer.adapters.recording import open_recording
from pricer.adapters.records import Wish
from pricer.conventions import Status
from pricer.errors import ConfigError
from tests.adapters.deribit_frames import Venue, options
from tests.embedded_market import embedded_market
from tests.waiting import until

NAME, OTHER = "BTC-27JUN25-1000-C", "BTC-27JUN25-1500-C"


def channels(venue: Venue, method: str = "public/subscribe") -> list[str]:
    """The books asked for, or unsubscribed, since this was last asked."""
    asked, venue.asked = venue.asked, []
    return [
        channel
        for message in asked
        if message["method"] == method
        for channel in message["params"]["channels"]
        if channel.startswith("book.")
    ]


@pytest.fixture
def venue() -> Venue:
    found = Venue(Deribit(), options(2))
    found.open()
    found.pass_time(3)
    assert channels(found) == []
    return found


def want(venue: Venue, *names: str) -> None:
    venue.adapter.want_books(names, venue.now)
    venue.talk()
    venue.pass_time(1)


def test_a_wanted_book_is_asked_for_at_once_and_an_unwanted_one_given_up(venue: Venue) -> None:
    want(venue, NAME)
    assert channels(venue) == [f"book.{NAME}.100ms"]
    want(venue, NAME, OTHER)
    assert channels(venue) == [f"book.{OTHER}.100ms"]
    want(venue, OTHER)
    assert channels(venue, "public/unsubscribe") == [f"book.{NAME}.100ms"]
    want(venue)
    assert channels(venue, "public/unsubscribe") == [f"book.{OTHER}.100ms"]


def test_wishes_outlive_a_connection(venue: Venue) -> None:
    want(venue, NAME, "BTC-PERPETUAL")
    assert set(channels(venue)) == {f"book.{NAME}.100ms", "book.BTC-PERPETUAL.100ms"}
    venue.adapter.closed(venue.now, "reset")
    venue.open()
    venue.pass_time(5)
    assert set(channels(venue)) == {f"book.{NAME}.100ms", "book.BTC-PERPETUAL.100ms"}


def test_a_book_wanted_before_its_option_is_listed_is_asked_for_with_it() -> None:
    venue = Venue(Deribit(), options(2))
    venue.adapter.want_books((NAME,), venue.now)
    venue.open()
    venue.pass_time(3)
    assert channels(venue) == [f"book.{NAME}.100ms"]


def test_what_is_not_listed_is_never_asked_for(venue: Venue) -> None:
    want(venue, "BTC-27JUN25-77-C")
    assert channels(venue) == []


def test_books_that_were_asked_for_at_the_start_stay(venue: Venue) -> None:
    found = Venue(Deribit(books=(NAME,)), options(2))
    found.open()
    found.pass_time(3)
    assert channels(found) == [f"book.{NAME}.100ms"]
    want(found, NAME)
    want(found)
    assert channels(found) == []


def test_an_unwanted_book_must_not_pass_for_the_present_one(venue: Venue) -> None:
    want(venue, NAME)
    snapshot = {"type": "snapshot", "timestamp": venue.now.wall_ns // 1_000_000, "instrument_name": NAME}
    snapshot |= {"change_id": 1, "bids": [["new", 0.01, 1.0]], "asks": [["new", 0.02, 1.0]]}
    params = {"channel": f"book.{NAME}.100ms", "data": snapshot}
    venue.hear({"jsonrpc": "2.0", "method": "subscription", "params": params})
    venue.events.clear()
    want(venue)
    assert [(each.instrument, each.reason) for each in venue.events if isinstance(each, BookLost)] == [
        (NAME, "unsubscribed")
    ]
    venue.hear({"jsonrpc": "2.0", "method": "subscription", "params": params})
    assert venue.adapter.counters["unwanted"] == 1


def test_quotes_are_held_against_books_only_while_there_is_one(venue: Venue) -> None:
    plain = venue.adapter._arrivals._ticker
    want(venue, NAME)
    assert venue.adapter._arrivals._ticker is not plain
    want(venue)
    assert venue.adapter._arrivals._ticker == plain


async def book_of(stream: pricer.LiveStream, name: str) -> Any:
    await until(lambda: stream.book(name).status <= Status.DEGRADED)
    return stream.book(name).book


async def test_I7_books_come_and_go_over_a_reconnection_and_the_recording_replays_the_same(tmp_path: Path) -> None:
    path = tmp_path / "wishes"
    async with embedded_market(activity=0.3) as server:
        stream = pricer.live(
            url=server.url, expiries=1, strikes=3, trades=True, books_on_demand=1, connections=2, record=path
        )
        async with stream:
            await until(lambda: stream.latest is not None and len(stream.latest) >= 12)
            assert stream.latest is not None
            name, other = (row.name for row in list(stream.latest)[5:7])
            assert stream.underlying_of(name) == "BTC"
            await until(lambda: stream.underlying_of("BTC-PERPETUAL") == "BTC")
            assert stream.underlying_of("BTC-1JAN70-1-C") is None
            assert stream.want_book(name)
            assert not stream.want_book(other)
            book = await book_of(stream, name)
            assert 1 <= len(book.bids) <= 20
            assert stream.book(other).book is None
            for session in list(server.sessions):
                session.transport.abort()
            await until(lambda: stream.book(name).status is Status.STALE)
            again = await book_of(stream, name)
            assert again.received.mono_ns > book.received.mono_ns
            stream.release_book(name)
            await book_of(stream, other)
            await until(lambda: stream.recent_trades(underlying="BTC").following > 0)
            assert stream.recent_trades(underlying="BTC").trades[-1].instrument.startswith("BTC-")
            live = stream.latest
        assert stream.stats["recordings_stopped"] == 0
    wishes = [record for record in open_recording(path) if isinstance(record, Wish)]
    assert {(wish.names, wish.connection % 2) for wish in wishes} == {
        ((name,), 0),
        ((name,), 1),
        ((other,), 0),
        ((other,), 1),
    }
    replayed = {snapshot.version: snapshot.digest() for snapshot in pricer.replay(path)}
    assert replayed[live.version] == live.digest()


async def test_without_trades_or_a_limit_nothing_is_streamed_and_it_says_so() -> None:
    stream = pricer.live(url="ws://127.0.0.1:1")
    with pytest.raises(ConfigError, match="trades=True"):
        stream.recent_trades(underlying="BTC")
    assert stream.underlying_of("BTC-PERPETUAL") is None
    assert not stream.want_book("BTC-PERPETUAL")
    stream.release_book("BTC-PERPETUAL")
    books = pricer.live(url="ws://127.0.0.1:1", books_on_demand=2)
    assert books.book("BTC-PERPETUAL").status is Status.INVALID
    with pytest.raises(ConfigError, match="trades=True"):
        books.recent_trades(instrument="BTC-PERPETUAL")


def test_a_wish_is_read_back_and_a_damaged_one_is_left_out(tmp_path: Path) -> None:
    from pricer.adapters.recording import _WISH, RecordingWriter
    from pricer.clock import Instant

    path = tmp_path / "wish"
    with RecordingWriter(path, {"venue": "deribit"}) as writer:
        writer.wish({"B", "A"}, Instant(5, 7), 3)
        writer._add(_WISH, Instant(6, 8), json.dumps({"A": 1}).encode())
    recording = open_recording(path)
    assert list(recording) == [Wish(("A", "B"), Instant(5, 7), 3)]
    assert len(recording.notes) == 1
