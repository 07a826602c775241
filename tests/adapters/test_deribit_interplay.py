"""What the parts of Deribit's adapter do to each other: window, books, login, positions, shares and maintenance."""

from __future__ import annotations

from typing import Any

import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.deribit.account import STAND_IN, stand_in
from pricer.adapters.deribit.books import BookOptions
from pricer.adapters.deribit.holdings import Held
from pricer.adapters.deribit.limits import new_budget
from pricer.adapters.events import (
    BookDepth,
    BookLost,
    ChannelAlarm,
    FeedStatus,
    InstrumentListed,
    Trade,
    VenueMark,
    VenueState,
)
from pricer.adapters.planner import Share
from pricer.adapters.window import Window
from pricer.books import BookKeeper
from pricer.clock import NS_PER_SECOND
from pricer.conventions import Reason, Status
from tests.adapters.deribit_frames import NOW, Venue, encoded, fixture, options, refusal, texts
from tests.adapters.private_venue import PrivateVenue
from tests.oracle import BookVenue

S = NS_PER_SECOND
NAME = "BTC-27JUN25-83000-C"
FAR = "BTC-27JUN25-1000-C"


def private(count: int = 400, **settings: Any) -> PrivateVenue:
    """A venue that knows our key and lists `count` calls; it has answered nothing yet."""
    venue = PrivateVenue(**settings)
    venue.instruments = options(count)
    return venue


def index_at(venue: Venue, price: float) -> None:
    venue.hear(index(venue, price))


def index(venue: Venue, price: float) -> Any:
    message = fixture("price_index")
    message["params"]["data"] |= {"price": price, "timestamp": venue.now.wall_ns // 10**6}
    return message


def tickers(channel: str) -> bool:
    return channel.startswith("ticker.")


def carried(venue: Venue, kind: str = "ticker") -> list[int]:
    """The strikes whose channels of a kind are subscribed."""
    names = [name.split(".") for name in venue.subscribed if name.startswith(f"{kind}.") and "-C." in name]
    return sorted(int(parts[1].split("-")[2]) for parts in names)


def book(name: str, update: Any, interval: str = "100ms") -> dict[str, Any]:
    """A snapshot as the venue writes it."""
    levels = {side: [["new", *level] for level in getattr(update, side)] for side in ("bids", "asks")}
    data = {"type": "snapshot", "instrument_name": name, "timestamp": NOW.wall_ns // 10**6, "change_id": update.last}
    params = {"channel": f"book.{name}.{interval}", "data": data | levels}
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


def of(kind: Any, venue: Venue) -> list[Any]:
    return [event for event in venue.events if isinstance(event, kind)]


# Window, login, reconnection


def test_a_raw_window_is_asked_for_after_each_login_and_follows_the_money_meanwhile() -> None:
    venue = private(interval="raw", window=Window(strikes=2))
    venue.quiet = lambda channel: True
    venue.silent = {"public/auth"}
    venue.open()
    index_at(venue, 83_140.0)
    assert carried(venue) == [], "no login, nothing raw"
    assert "live" not in [each.state for each in of(FeedStatus, venue)]
    venue.pay()
    assert carried(venue) == [82500, 83000, 83500, 84000]
    assert of(FeedStatus, venue)[-1].state == "live"

    venue.adapter.closed(venue.now, "reset")
    venue.silent = {"public/auth"}
    venue.asked.clear()
    venue.events.clear()
    venue.open()
    index_at(venue, 90_000.0)
    assert carried(venue) == []
    venue.pay()
    assert carried(venue) == [89000, 89500, 90000, 90500], "what it has rolled to, and nothing of before"
    asked = [each["params"]["channels"] for each in venue.asked if each["method"] == "public/subscribe"]
    names = [name for channels in asked for name in channels]
    assert len(names) == len(set(names))
    listed = {each.definition.strike for each in of(InstrumentListed, venue)}
    assert set(carried(venue)) <= listed, "a consumer that starts anew knows of all"


def test_a_logout_takes_what_is_raw_and_says_so_of_its_books() -> None:
    venue = private(3, interval="raw", books="all")
    venue.quiet = tickers
    venue.open()
    venue.hear(book(FAR, BookVenue(1).snapshot(), "raw"))
    assert len(of(BookDepth, venue)) == 1
    venue.refuse_private = 13009
    venue.refuse = 11051
    venue.pass_time(61)
    assert [(each.instrument, each.reason) for each in of(BookLost, venue)] == [(FAR, "session")]
    assert [name for name in venue.subscribed if name.endswith(".raw")] == []
    venue.refuse_private = venue.refuse = None
    venue.pass_time(61)
    assert {f"book.{FAR}.raw", f"ticker.{FAR}.raw"} <= set(venue.subscribed)


def test_raw_books_wait_for_the_login_beside_tickers_that_need_none() -> None:
    venue = private(3, books=BookOptions(interval="raw"))
    venue.silent = {"public/auth"}
    venue.open()
    assert carried(venue) == [1000, 1500, 2000]
    assert carried(venue, "book") == []
    venue.pay()
    assert carried(venue, "book") == [1000, 1500, 2000]


# Positions


def test_what_the_account_holds_and_what_the_user_names_are_both_kept() -> None:
    venue = private(window=Window(strikes=1))
    venue.quiet = tickers
    venue.positions = [{"instrument_name": FAR, "kind": "option", "size": 2.0, "direction": "buy"}]
    venue.open()
    index_at(venue, 83_140.0)
    assert carried(venue) == [1000, 83000, 83500]
    venue.adapter.hold(["BTC-27JUN25-2000-C"], venue.now)
    venue.talk()
    assert carried(venue) == [1000, 2000, 83000, 83500]
    venue.positions = []
    venue.pass_time(61)
    assert carried(venue) == [2000, 83000, 83500], "closed by the account, still named by the user"


def test_I7_a_stand_in_names_what_is_held_so_that_a_replay_asks_for_the_same() -> None:
    venue = private(window=Window(strikes=1))
    venue.quiet = tickers
    venue.positions = [{"instrument_name": FAR, "kind": "option", "size": 2.5, "direction": "buy"}]
    venue.open()
    index_at(venue, 83_140.0)
    private_frame = b'{"jsonrpc":"2.0","id":1000000099,"result":[]}'
    shown = venue.adapter.to_show(private_frame)
    assert shown == stand_in({FAR})
    assert b"2.5" not in shown
    assert venue.adapter.to_show(private_frame) == STAND_IN, "only where it has changed"
    replaying = Venue(Deribit(window=Window(strikes=1)), options(400))
    replaying.quiet = tickers
    replaying.open()
    index_at(replaying, 83_140.0)
    replaying.events += replaying.adapter.receive(shown, replaying.now)
    replaying.talk()
    assert carried(replaying) == carried(venue) == [1000, 83000, 83500]
    assert replaying.adapter.receive(b'{"method":"heartbeat","params":{"type":"held","names":[1]}}', NOW) == []


def test_what_the_account_holds_is_wanted_by_whichever_connection_carries_it() -> None:
    held = Held()
    venues = [Venue(Deribit(window=Window(strikes=1), share=Share(at, 2), held=held), options(400)) for at in (0, 1)]
    for venue in venues:
        venue.quiet = tickers
        venue.open()
        index_at(venue, 83_140.0)
    far = {f"BTC-27JUN25-{strike}-C" for strike in (1000, 2000, 3000, 4000)}
    assert all(any(Share(at, 2).takes(name) for name in far) for at in (0, 1))
    venues[0].events += venues[0].adapter.receive(stand_in(far), venues[0].now)
    for venue in venues:
        index_at(venue, 83_140.0)
        venue.talk()
    assert {1000, 2000, 3000, 4000} <= {strike for venue in venues for strike in carried(venue)}


# Books and the window


def test_the_book_of_what_leaves_the_window_does_not_pass_for_the_present_one() -> None:
    venue = Venue(Deribit(books="all", window=Window(strikes=2)), options(400))
    venue.quiet = lambda channel: True
    venue.open()
    index_at(venue, 83_140.0)
    assert carried(venue, "book") == [82500, 83000, 83500, 84000]
    snapshot = BookVenue(1).snapshot()
    venue.hear(book(NAME, snapshot))
    venue.events += venue.adapter.receive(encoded(index(venue, 120_000.0)), venue.now)
    # Still on its way when the subscription ended.
    venue.hear(book(NAME, snapshot))
    assert carried(venue, "book") == [119000, 119500, 120000, 120500]
    assert len(of(BookDepth, venue)) == 1
    keeper = BookKeeper()
    for event in venue.events:
        keeper.apply(event)
    view = keeper.view("deribit", NAME, venue.now)
    assert (view.status, view.reasons) == (Status.STALE, Reason.QUOTE_STALE)
    index_at(venue, 83_140.0)
    venue.events.clear()
    venue.hear(book(NAME, snapshot))
    assert len(of(BookDepth, venue)) == 1, "and back with it"


# Shares


def test_of_several_connections_the_first_alone_carries_what_there_is_once() -> None:
    budget = new_budget()
    listing = options(40) + fixture("instruments_futures")["result"]
    settings: dict[str, Any] = {"trades": True, "books": "all", "budget": budget}
    venues = [Venue(Deribit(share=Share(part, 3), **settings), listing) for part in range(3)]
    for venue in venues:
        venue.open()
    kinds = [[each["params"]["kind"] for each in venue.asked if "get_ins" in each["method"]] for venue in venues]
    assert kinds == [["option", "future"], ["option"], ["option"]]
    subscribed = [name for venue in venues for name in venue.subscribed]
    again = {name for name in subscribed if subscribed.count(name) > 1}
    assert again == {
        "deribit_price_index.btc_usd",
        "ticker.BTC-PERPETUAL.100ms",
        "platform_state",
        "platform_state.public_methods_state",
        "instrument.state.option.BTC",
        "instrument.creation.option.BTC",
    }
    assert sorted(strike for venue in venues for strike in carried(venue)) == [1000 + 500 * at for at in range(40)]
    futures = {item["instrument_name"] for item in fixture("instruments_futures")["result"]}
    told = [name for venue in venues for name in venue.adapter.instruments if name in futures]
    assert len(told) == len(set(told)) > 0
    trades = [venue.adapter.receive(encoded(fixture("trades_option")), NOW) for venue in venues]
    assert all(isinstance(each, Trade) for each in trades[0])


def test_a_window_is_of_the_whole_chain_however_many_connections_carry_it() -> None:
    window = Window(strikes=4, expiries=1)
    venues = [Venue(Deribit(share=Share(part, 3), window=window), options(400)) for part in range(3)]
    for venue in venues:
        venue.quiet = tickers
        venue.open()
        index_at(venue, 83_140.0)
    together = sorted(strike for venue in venues for strike in carried(venue))
    assert together == [81500, 82000, 82500, 83000, 83500, 84000, 84500, 85000]
    for venue in venues:
        listed = {int(each.definition.strike) for each in of(InstrumentListed, venue) if each.definition.cp}
        assert listed == set(carried(venue)), "what another one carries is not announced here"
        index_at(venue, 90_000.0)
    together = sorted(strike for venue in venues for strike in carried(venue))
    assert together == [88000, 88500, 89000, 89500, 90000, 90500, 91000, 91500]


def test_bulk_marks_of_another_connections_options_are_no_bad_marks() -> None:
    parts = [Deribit(share=Share(part, 2), marks=True) for part in range(2)]
    found = []
    for adapter in parts:
        adapter.opened(NOW)
        adapter.on_time(NOW)
        events = adapter.receive(encoded(fixture("marks")), NOW)
        found += [each.instrument for each in events if isinstance(each, VenueMark)]
        assert adapter.counters["bad_mark"] == 0
    assert len(found) == len(set(found)) == len(fixture("marks")["params"]["data"])


# Maintenance


def test_in_maintenance_that_was_told_silence_is_no_alarm_and_no_reason_to_leave() -> None:
    venue = Venue(Deribit(), options(20))
    venue.open()
    venue.pass_time(20)
    venue.quiet = lambda channel: True
    venue.hear(fixture("platform_maintenance"))
    assert [each.state for each in of(VenueState, venue)] == ["maintenance"]
    venue.pass_time(1800)
    assert not of(ChannelAlarm, venue)
    assert venue.adapter.wants_reconnect is None
    over = fixture("platform_maintenance")
    over["params"]["data"]["maintenance"] = False
    venue.hear(over)
    venue.pass_time(2.5)
    assert not of(ChannelAlarm, venue), "a silence begins with the end of the maintenance"
    venue.pass_time(30)
    assert of(ChannelAlarm, venue)[0].channel == "deribit_price_index.btc_usd"
    assert venue.adapter.wants_reconnect == "silent", "what stays silent afterwards is judged as ever"


@pytest.mark.parametrize("account", [False, True])
def test_in_maintenance_that_is_met_by_refusals_one_knocks_and_comes_back_at_once(account: bool) -> None:
    venue = private(20) if account else Venue(Deribit(), options(20))
    venue.quiet = lambda channel: True
    adapter = venue.adapter
    adapter.opened(venue.now)
    sent = []
    for _ in range(3600):  # half an hour, in halves of a second
        for message in texts(adapter.to_send(venue.now)):
            sent.append(message["method"])
            venue.events += adapter.receive(refusal(message["id"], 11051), venue.now)
        venue.now = venue.now.plus(S // 2)
        venue.events += adapter.on_time(venue.now)
    assert not of(ChannelAlarm, venue)
    assert adapter.wants_reconnect is None
    assert sent.count("public/auth") == 0
    assert 800 <= sent.count("public/test") <= 1000, "a knock every two seconds"
    assert set(sent[5:]) == {"public/test", "public/set_heartbeat"}
    venue.quiet = lambda channel: False
    venue.pass_time(3)
    assert [each.state for each in of(FeedStatus, venue)][-1] == "live"
    assert len(carried(venue)) == 20
    if isinstance(venue, PrivateVenue):
        assert venue.private, "logged in as soon as it was possible"


def test_maintenance_across_a_reconnection_is_not_left_for_another_address() -> None:
    venue = Venue(Deribit(), options(20))
    venue.open()
    venue.hear(fixture("platform_maintenance"))
    for _ in range(5):
        venue.adapter.closed(venue.now, "reset")
        venue.subscribed = []
        venue.adapter.opened(venue.now)
        for _ in range(60):
            for message in texts(venue.adapter.to_send(venue.now)):
                venue.adapter.receive(refusal(message["id"], 11051), venue.now)
            venue.now = venue.now.plus(S)
            venue.events += venue.adapter.on_time(venue.now)
        assert venue.adapter.wants_reconnect is None
    assert not of(ChannelAlarm, venue)
    venue.talk()
    venue.pass_time(5)
    assert len(carried(venue)) == 20


# Account and budget


def test_a_long_queue_of_subscriptions_does_not_keep_the_account_waiting() -> None:
    venue = private(10_000)
    venue.quiet = lambda channel: True
    venue.adapter.opened(venue.now)
    began_ns = venue.now.mono_ns
    while not venue.private:
        venue.talk()
        venue.now = venue.now.plus(S // 20)
        venue.events += venue.adapter.on_time(venue.now)
        venue.hear(fixture("heartbeat"))
    assert (venue.now.mono_ns - began_ns) / S < 1.0
    assert len(carried(venue)) < 10_000, "most are still waiting"
