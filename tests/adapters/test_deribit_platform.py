"""Maintenance, locks and the switch for those without a login: told, waited for, and over."""

from __future__ import annotations

from typing import Any

import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.deribit.platform import MOST_INDICES
from pricer.adapters.events import AnyEvent, FeedStatus, OptionQuote, VenueState
from pricer.clock import NS_PER_SECOND, Instant
from tests.adapters.deribit_frames import NOW, Venue, encoded, fixture, frame, live_venue, refusal, reply, texts

S = NS_PER_SECOND


def live() -> Venue:
    return live_venue()


def states(events: list[AnyEvent]) -> list[tuple[str, str]]:
    return [(event.state, event.price_index) for event in events if isinstance(event, VenueState)]


def notice(**data: Any) -> bytes:
    return encoded({**fixture("platform_locked"), "params": {"channel": "platform_state", "data": data}})


class Closed:
    """A venue in maintenance: it answers every call with 11051 until `opens_ns`, and keeps count of them."""

    def __init__(self, adapter: Deribit, opens_ns: int) -> None:
        self.adapter = adapter
        self.opens_ns = opens_ns
        self.events: list[AnyEvent] = []
        self.calls: list[tuple[int, str]] = []  # (ns, method)

    def run(self, now: Instant, seconds: float) -> None:
        end_ns = now.mono_ns + int(seconds * S)
        beat_ns = now.mono_ns
        while now.mono_ns < end_ns:
            while messages := texts(self.adapter.to_send(now)):
                for message in messages:
                    self.calls.append((now.mono_ns, message["method"]))
                    self.events += self.adapter.receive(self._answer(message, now), now)
            deadline = self.adapter.next_deadline()
            assert deadline is not None
            if now.mono_ns >= beat_ns:
                beat_ns += 10 * S
                self.events += self.adapter.receive(frame("heartbeat"), now)
            now = now.plus(max(1_000_000, min(deadline, beat_ns, end_ns) - now.mono_ns))
            self.events += self.adapter.on_time(now)

    def _answer(self, message: dict[str, Any], now: Instant) -> bytes:
        if now.mono_ns < self.opens_ns:
            return encoded({**fixture("error_maintenance"), "id": message["id"]})
        if message["method"] == "public/get_instruments":
            return reply(message["id"], fixture("instruments_btc")["result"])
        return reply(message["id"], message["params"].get("channels", "ok"))


@pytest.mark.parametrize("hours", [0.0002, 0.0008, 0.01, 1.0])
def test_P14_in_maintenance_calls_wait_and_resume_within_three_seconds(hours: float) -> None:
    adapter = Deribit()
    adapter.opened(NOW)
    opens_ns = NOW.mono_ns + int(hours * 3600 * S)
    closed = Closed(adapter, opens_ns)
    closed.run(NOW, hours * 3600 + 4)
    assert adapter.wants_reconnect is None, "no reconnection for a venue that answers"
    assert states(closed.events) == [("maintenance", ""), ("open", "")], "each told once"
    opened_at = next(e.received for e in closed.events if isinstance(e, VenueState) and e.state == "open")
    assert opened_at.mono_ns - opens_ns <= 3 * S
    live_at = [e.received for e in closed.events if isinstance(e, FeedStatus) and e.state == "live"]
    assert [each.mono_ns - opens_ns <= 3 * S for each in live_at] == [True]
    knocks = [method for at_ns, method in closed.calls if at_ns < opens_ns]
    assert knocks.count("public/test") <= 1 + hours * 3600 / 2, "one small call in two seconds"
    assert len(knocks) <= 10 + hours * 3600 * 0.61
    assert set(knocks[4:]) <= {"public/test", "public/set_heartbeat"}


def test_P14_a_notice_is_told_and_calls_go_on_until_one_is_refused() -> None:
    venue = live()
    assert states(venue.adapter.receive(frame("platform_maintenance"), NOW)) == [("maintenance", "")]
    assert states(venue.adapter.receive(frame("platform_maintenance"), NOW)) == []
    venue.pass_time(61)
    assert states(venue.events) == [], "an answered call does not end what was told"
    assert venue.adapter.wants_reconnect is None
    assert states(venue.adapter.receive(notice(maintenance=False), venue.now)) == [("open", "")]


def test_P14_the_notice_that_it_is_over_ends_the_waiting_at_once() -> None:
    adapter = Deribit()
    adapter.opened(NOW)
    for message in texts(adapter.to_send(NOW)):
        adapter.receive(refusal(message["id"], 11051), NOW)
    assert [each["method"] for each in texts(adapter.to_send(NOW.plus(S)))] == []
    assert states(adapter.receive(notice(maintenance=False), NOW.plus(S))) == [("open", "")]
    methods = {each["method"] for each in texts(adapter.to_send(NOW.plus(S)))}
    assert methods >= {"public/subscribe", "public/get_instruments"}


def test_P14_after_a_reconnection_the_first_good_answer_ends_it() -> None:
    venue = live()
    venue.adapter.receive(frame("platform_maintenance"), NOW)
    venue.adapter.closed(NOW, "closed_restart")
    venue.now = NOW.plus(30 * S)
    venue.open()
    assert states(venue.events) == [("open", "")]


def test_P14_an_index_is_locked_and_unlocked_by_itself() -> None:
    adapter = live().adapter
    assert states(adapter.receive(frame("platform_locked"), NOW)) == [("locked", "btc_usd")]
    assert states(adapter.receive(frame("platform_locked"), NOW)) == []
    (quote, _) = adapter.receive(frame("ticker_inverse_call", state="locked"), NOW)
    assert isinstance(quote, OptionQuote)
    assert quote.state == "locked"
    assert states(adapter.receive(notice(price_index="btc_usd", locked=False), NOW)) == [("open", "btc_usd")]
    assert states(adapter.receive(notice(price_index="eth_usd", locked=False), NOW)) == []


def test_P14_a_new_connection_does_not_know_of_locks() -> None:
    venue = live()
    venue.adapter.receive(frame("platform_locked"), NOW)
    venue.adapter.closed(NOW, "reset")
    venue.open()
    assert states(venue.events) == [("open", "btc_usd")]


def test_P14_a_lock_that_ended_with_a_short_connection_is_told_all_the_same() -> None:
    adapter = live().adapter
    adapter.receive(frame("platform_locked"), NOW)
    adapter.closed(NOW, "reset")
    adapter.opened(NOW)
    events = adapter.closed(NOW, "reset")
    assert states(events) == [("open", "btc_usd")]
    assert [event.state for event in events if isinstance(event, FeedStatus)] == ["closed"]


def test_a_flood_of_locked_indices_is_bounded() -> None:
    adapter = live().adapter
    for number in range(MOST_INDICES + 10):
        adapter.receive(notice(price_index=f"index{number}", locked=True), NOW)
    assert adapter.counters["too_many_indices"] == 10


def test_public_calls_that_need_a_login_now_are_told() -> None:
    adapter = live().adapter
    assert states(adapter.receive(frame("platform_public_methods"), NOW)) == [("login_required", "")]
    assert states(adapter.receive(frame("platform_maintenance"), NOW)) == [("maintenance", "")], "which is worse"
    assert states(adapter.receive(notice(maintenance=False), NOW)) == [("login_required", "")]
    allowed = frame("platform_public_methods", allow_unauthenticated_public_requests=True)
    assert states(adapter.receive(allowed, NOW)) == [("open", "")]


def test_the_error_says_the_same_as_the_notice() -> None:
    adapter = Deribit()
    adapter.opened(NOW)
    adapter.on_time(NOW)
    (first, *_) = texts(adapter.to_send(NOW))
    assert states(adapter.receive(refusal(first["id"], 11056), NOW)) == [("login_required", "")]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"maintenance": "true"},
        {"maintenance": 1},
        {"locked": True},
        {"price_index": 5, "locked": True},
        {"price_index": "btc_usd"},
        {"price_index": "btc_usd", "locked": None},
        [],
        None,
        5,
    ],
)
def test_P13_a_notice_that_says_nothing_is_counted(data: Any) -> None:
    adapter = live().adapter
    message = {**fixture("platform_locked"), "params": {"channel": "platform_state", "data": data}}
    assert adapter.receive(encoded(message), NOW) == []
    assert adapter.counters["bad_platform_state"] == 1


@pytest.mark.parametrize("value", [None, "false", 0])
def test_P13_a_switch_that_is_none_is_counted(value: object) -> None:
    adapter = live().adapter
    assert adapter.receive(frame("platform_public_methods", allow_unauthenticated_public_requests=value), NOW) == []
    assert adapter.counters["bad_platform_state"] == 1
