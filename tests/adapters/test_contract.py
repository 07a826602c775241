"""What every adapter of `ADAPTERS` keeps, whatever its venue."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from pricer.adapters import ADAPTERS
from pricer.adapters.adapter import Adapter, WsSend
from pricer.adapters.events import Event, FeedStatus
from pricer.clock import NS_PER_SECOND, Instant
from tests.adapters.deribit_frames import FOLDER, NOW

HOSTILE = [b"", b"{", b"null", b"[]", b"0", b'"x"', b"\xff\xfe", b"[" * 50_000, b"{}", "\ud800", " ", b"NaN", b"1e999"]


@pytest.fixture(params=sorted(ADAPTERS))
def adapter(request: pytest.FixtureRequest) -> Adapter:
    made: Adapter = ADAPTERS[request.param](("BTC",))
    return made


def fixtures(adapter: Adapter) -> list[bytes]:
    folder = FOLDER.parent / adapter.venue
    return [path.read_bytes() for path in sorted(folder.glob("*.json")) if path.stem != "metadata"]


def drained(adapter: Adapter, now: Instant) -> list[Any]:
    sends: list[Any] = []
    while more := adapter.to_send(now):
        sends += more
    return sends


def test_an_adapter_is_registered_under_its_venue_and_knows_its_address(adapter: Adapter) -> None:
    made = ADAPTERS[adapter.venue](("BTC",))
    assert made.url.startswith("wss://")


def test_fixtures_say_which_section_of_the_sheet_they_come_from(adapter: Adapter) -> None:
    folder = FOLDER.parent / adapter.venue
    metadata = json.loads((folder / "metadata.json").read_bytes())
    assert set(metadata["sections"]) == {path.name for path in folder.glob("*.json")} - {"metadata.json"}
    assert all(metadata["sections"].values())
    assert adapter.venue in metadata["sheet"]


def test_nothing_is_sent_before_a_connection_stands(adapter: Adapter) -> None:
    assert adapter.to_send(NOW) == []


def test_a_new_connection_has_something_to_ask_and_then_is_content(adapter: Adapter) -> None:
    adapter.opened(NOW)
    sends = drained(adapter, NOW)
    assert sends
    assert all(json.loads(each.text) for each in sends if isinstance(each, WsSend))
    assert adapter.to_send(NOW) == []


def test_a_reconnection_asks_for_the_same(adapter: Adapter) -> None:
    adapter.opened(NOW)
    first = drained(adapter, NOW)
    adapter.closed(NOW, "reset")
    later = NOW.plus(100 * NS_PER_SECOND)
    adapter.opened(later)
    assert drained(adapter, later) == first


def test_closed_is_told_once_each_time_and_at_the_instant_given(adapter: Adapter) -> None:
    for reason in ("refused: no listener", "reset"):
        (status,) = adapter.closed(NOW, reason)
        assert isinstance(status, FeedStatus)
        assert (status.state, status.reason, status.received) == ("closed", reason.partition(":")[0], NOW)


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: repr(data)[:40])
def test_a_hostile_frame_is_counted_and_gives_nothing(adapter: Adapter, data: bytes | str) -> None:
    adapter.opened(NOW)
    adapter.on_time(NOW)
    assert adapter.receive(data, NOW) == []
    assert sum(adapter.counters.values()) == 1
    assert adapter.wants_reconnect is None


def test_events_carry_the_venue_and_the_instant_of_their_frame(adapter: Adapter) -> None:
    adapter.opened(NOW)
    adapter.on_time(NOW)
    events = [event for data in fixtures(adapter) for event in adapter.receive(data, NOW)]
    assert events
    for event in events:
        assert isinstance(event, Event)
        assert event.venue == adapter.venue
        assert event.received is NOW
        assert event.exchange_ns is None or event.exchange_ns > 0
        with pytest.raises(AttributeError):
            event.venue = "other"  # type: ignore[misc]


def test_deadlines_never_ask_for_an_endless_loop(adapter: Adapter) -> None:
    """With nobody answering, an hour passes in a bounded number of calls."""
    adapter.opened(NOW)
    drained(adapter, NOW)
    now, calls = NOW, 0
    while (deadline := adapter.next_deadline()) is not None and deadline < NOW.mono_ns + 3600 * NS_PER_SECOND:
        now = now.plus(max(0, deadline - now.mono_ns))
        adapter.on_time(now)
        drained(adapter, now)
        calls += 1
        assert calls < 10_000
        if adapter.wants_reconnect is not None:
            adapter.closed(now, adapter.wants_reconnect)
            adapter.opened(now)
            drained(adapter, now)
    assert calls > 100, "silence is noticed, and connections given up"


def test_counters_stay_bounded_whatever_comes(adapter: Adapter) -> None:
    rng = random.Random(1)
    adapter.opened(NOW)
    good = fixtures(adapter)
    for _ in range(3000):
        data = bytearray(rng.choice(good))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(32, 127)
        adapter.receive(bytes(data), NOW)
    assert len(adapter.counters) < 100
