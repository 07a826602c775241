"""A second connection takes over before the first one ends: W11, W12, W13; and fleets: T13. On virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pricer.adapters.adapter import Adapter
from pricer.adapters.connects import ConnectBudget
from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent, BookDepth, FeedStatus, Trade, UnderlyingPrice
from pricer.adapters.feed import Feed
from pricer.adapters.fleet import Fleet
from pricer.adapters.limits import FeedLimits
from pricer.adapters.recording import RecordingWriter, open_recording
from pricer.adapters.reenactment import Reenactment
from pricer.adapters.relay import Overlap, Relay
from pricer.adapters.transport import ConnectionLost
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import ConfigError, ConnectError
from pricer.simulator.virtual_time import VirtualTimeLoop
from tests.adapters.deribit_frames import NOW, fixture
from tests.adapters.virtual import FakeConnection, FakeVenue, clock_of, run_virtually

URL = "ws://venue.example/ws"
HOUR_S = 3600.0
ROUNDING_S = 1e-6  # of the loop's seconds to the clock's nanoseconds
# Days on end: one ping a minute is enough there.
PATIENT = FeedLimits(ping_interval_s=60.0, idle_timeout_s=60.0)


class Trading(Deribit):
    """Also gives a trade for each index price, numbered by it: what two connections bring, they bring both."""

    notice: str | None = None

    def receive(self, frame: bytes | str, now: Instant) -> list[AnyEvent]:
        events = super().receive(frame, now)
        trades: list[AnyEvent] = [
            Trade(
                venue=self.venue,
                received=now,
                instrument="BTC-PERPETUAL",
                trade_id=str(int(event.price)),
                price=event.price,
                size=1.0,
                side="buy",
            )
            for event in events
            if isinstance(event, UnderlyingPrice)
        ]
        return events + trades

    @property
    def wants_rotation(self) -> str | None:
        return self.notice


class Rotating:
    """A feed on virtual time with its events and the adapters that it has made."""

    def __init__(self, loop: VirtualTimeLoop, venue: FakeVenue, limits: FeedLimits | None = None, **more: Any) -> None:
        self.events: list[AnyEvent] = []
        self.adapters: list[Trading] = []
        self._underlyings: tuple[str, ...] | None = more.pop("underlyings", ("BTC",))
        self.clock = clock_of(loop)
        self.feed = Feed(
            self._adapter(),
            more.pop("url", URL),
            deliver=lambda events, now: self.events.extend(events),
            clock=self.clock,
            rng=random.Random(7),
            transport=venue,
            limits=limits or FeedLimits(),
            adapter_of=more.pop("adapter_of", self._adapter),
            **more,
        )

    def _adapter(self) -> Trading:
        self.adapters.append(Trading(self._underlyings, heartbeat_s=60))
        return self.adapters[-1]

    @property
    def states(self) -> list[tuple[str, str]]:
        return [(event.state, event.reason) for event in self.events if isinstance(event, FeedStatus)]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Rotating]:
        task = asyncio.create_task(self.feed.run())
        try:
            yield self
        finally:
            await self.feed.close()
            await task


def pricing(every_s: float, lag_s: float = 0.0) -> Callable[[FakeConnection], Any]:
    """The same index prices on every connection, numbered by the time they were made at; the first comes later."""

    async def push(connection: FakeConnection) -> None:
        loop = asyncio.get_running_loop()
        number = int(loop.time() / every_s)
        while connection.ended is None:
            number += 1
            late_s = lag_s if connection.number == 0 else 0.0
            await asyncio.sleep(number * every_s + late_s - loop.time())
            message = fixture("price_index")
            assert isinstance(message, dict)
            message["params"]["data"] |= {"price": float(number), "timestamp": NOW.wall_ns // 10**6}
            connection.push(message)

    return push


def trade_ids(events: list[AnyEvent]) -> list[int]:
    return [int(event.trade_id) for event in events if isinstance(event, Trade)]


def test_W11_a_notice_brings_up_a_second_connection_before_the_first_is_dropped() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.tickers = pricing(0.1)
        async with Rotating(loop, venue).running() as feed:
            await asyncio.sleep(5.0)
            feed.adapters[0].notice = "venue_upgrade"
            await asyncio.sleep(5.0)
            assert feed.states == [("connecting", ""), ("open", ""), ("live", ""), ("live", ""), ("closed", "rotated")]
            assert feed.feed.counters["rotations"] == 1
            first, second = venue.connections
            assert first.ended is not None
            assert second.ended is None
            await asyncio.sleep(2.0)
            arrived = [event.received.mono_ns for event in feed.events if isinstance(event, UnderlyingPrice)]
            longest = max(later - earlier for earlier, later in itertools.pairwise(arrived))
            assert longest <= 0.11 * NS_PER_SECOND, "never longer without a price than the venue's own interval"
            assert feed.states[-1] == ("closed", "rotated"), "and no second rotation: the new adapter saw no notice"
        await venue.end()

    run_virtually(main)


def test_W12_a_connection_is_replaced_at_23_hours_so_that_the_cut_at_24_is_never_met() -> None:
    cut_s = 24 * HOUR_S

    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()

        async def cut(connection: FakeConnection) -> None:
            await asyncio.sleep(cut_s)
            connection.end(ConnectionLost("closed_normal"))

        def tickers(connection: FakeConnection) -> Any:
            venue.tasks.append(asyncio.create_task(cut(connection)))
            return pricing(30.0)(connection)

        venue.tickers = tickers
        # Days of prices each second would take long: one that has asked for nothing misses nothing.
        async with Rotating(loop, venue, PATIENT, underlyings=None).running() as feed:
            await asyncio.sleep(3 * cut_s)
            reasons = {reason for state, reason in feed.states if state == "closed"}
            assert reasons == {"rotated"}
            opened = [connection.opened_s for connection in venue.connections]
            ages = [later - earlier for earlier, later in itertools.pairwise(opened)]
            assert len(ages) >= 2
            assert all(22.4 * HOUR_S <= age <= 23.6 * HOUR_S for age in ages)
            assert len({round(age) for age in ages}) == len(ages), "with jitter"
        await venue.end()

    run_virtually(main)


@pytest.mark.parametrize("lag_s", [0.0, 0.03, 0.4])
def test_W13_what_both_connections_bring_goes_out_once(lag_s: float) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.tickers = pricing(0.1, lag_s)
        async with Rotating(loop, venue).running() as feed:
            await asyncio.sleep(5.0)
            feed.adapters[0].notice = "venue_upgrade"
            await asyncio.sleep(10.0)
            ids = trade_ids(feed.events)
            assert len(ids) == len(set(ids)), "0 duplicates"
            assert sorted(ids) == list(range(min(ids), max(ids) + 1)), "0 lost"
            assert feed.feed.counters["duplicates"] > 5
        await venue.end()

    run_virtually(main)


def test_W11_a_successor_that_never_comes_up_harms_nobody_and_is_tried_again() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.tickers = pricing(1.0)
        venue.is_mute = lambda connection: connection.number == 1
        async with Rotating(loop, venue, FeedLimits(warm_timeout_s=20.0, rotate_retry_s=30.0)).running() as feed:
            await asyncio.sleep(2.0)
            feed.adapters[0].notice = "venue_upgrade"
            await asyncio.sleep(25.0)
            assert feed.feed.counters["rotations_failed"] == 1
            assert venue.connections[0].ended is None
            assert set(feed.states[3:]) <= {("closed", "rotated")}, "nothing that would make the engine doubt"
            await asyncio.sleep(60.0)
            assert feed.feed.counters["rotations"] == 1
            assert venue.connections[0].ended is not None
        await venue.end()

    run_virtually(main)


def test_W11_the_loss_of_one_of_two_while_the_other_is_live_is_no_loss() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.tickers = pricing(0.5)
        async with Rotating(loop, venue, FeedLimits(overlap_s=5.0)).running() as feed:
            await asyncio.sleep(2.0)
            feed.adapters[0].notice = "venue_upgrade"
            await asyncio.sleep(2.0)
            venue.connections[0].end(ConnectionLost("reset", "by peer"))
            await asyncio.sleep(0.01)
            lost = [event for event in feed.events if isinstance(event, FeedStatus) and event.state == "closed"]
            assert [(each.reason, each.detail) for each in lost] == [("rotated", "reset: by peer")]
            assert feed.feed.counters["closed.reset"] == 1
            await asyncio.sleep(20.0)
            assert feed.feed.counters["rotations"] == 1
        await venue.end()

    run_virtually(main)


def test_a_feed_of_one_adapter_does_not_rotate() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.tickers = pricing(30.0)
        async with Rotating(loop, venue, PATIENT, adapter_of=None, underlyings=None).running() as feed:
            feed.adapters[0].notice = "venue_upgrade"
            await asyncio.sleep(30 * HOUR_S)
            assert feed.states == [("connecting", ""), ("open", ""), ("live", "")]
        await venue.end()

    run_virtually(main)


def test_E11_closing_in_the_middle_of_a_rotation_ends_both() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.tickers = pricing(0.5)
        before = asyncio.all_tasks()
        async with Rotating(loop, venue, FeedLimits(overlap_s=5.0)).running() as feed:
            await asyncio.sleep(2.0)
            feed.adapters[0].notice = "venue_upgrade"
            await asyncio.sleep(2.0)
            started_s = loop.time()
        assert loop.time() - started_s <= 5.0
        assert [connection.ended is not None for connection in venue.connections] == [True, True]
        assert feed.states[-1] == ("closed", "shutdown")
        await venue.end()
        assert asyncio.all_tasks() == before

    run_virtually(main)


def test_E08_an_error_in_a_successor_reaches_the_caller_of_run() -> None:
    class Broken(Deribit):
        def receive(self, frame: bytes | str, now: Instant) -> list[AnyEvent]:
            raise ZeroDivisionError

    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.tickers = pricing(0.5)
        feed = Rotating(loop, venue, adapter_of=Broken)
        feed.adapters[0].notice = "venue_upgrade"
        with pytest.raises(ZeroDivisionError):
            await feed.feed.run()
        await venue.end()

    run_virtually(main)


def test_I7_a_recording_with_rotations_replays_to_the_same_events(tmp_path: Path) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.tickers = pricing(0.1, 0.03)
        with RecordingWriter(tmp_path / "a", {"venue": "deribit"}) as writer:
            async with Rotating(loop, venue, tap=writer).running() as feed:
                for adapter_number in range(3):
                    await asyncio.sleep(4.0)
                    feed.adapters[adapter_number].notice = "venue_upgrade"
                await asyncio.sleep(4.0)
                venue.connections[-1].end(ConnectionLost("reset"))
                await asyncio.sleep(2.0)
        assert feed.feed.counters["rotations"] == 3
        await venue.end()
        live.extend(feed.events)

    live: list[AnyEvent] = []
    run_virtually(main)
    for _ in range(2):
        again = Reenactment(lambda lane: Trading())
        assert [event for record in open_recording(tmp_path / "a") for event in again.apply(record)] == live
    numbers = {getattr(record, "connection", 0) for record in open_recording(tmp_path / "a")}
    assert numbers == {0, 1, 2, 3}


# The parts


def trade(number: int) -> Trade:
    return Trade(venue="v", received=NOW, instrument="A", trade_id=str(number), price=1.0, size=1.0, side="buy")


def book(sequence: int, instrument: str = "A") -> BookDepth:
    return BookDepth(venue="v", received=NOW, instrument=instrument, bids=(), asks=(), sequence=sequence)


def test_W13_an_overlap_lets_trades_pass_once_and_books_only_forward() -> None:
    overlap = Overlap()
    events: list[AnyEvent] = [trade(1), trade(2), trade(1), book(5), book(4), book(5), book(1, "B"), book(6)]
    assert overlap.fresh(events) == [trade(1), trade(2), book(5), book(5), book(1, "B"), book(6)]
    assert overlap.dropped == 2


def test_I6_an_overlap_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pricer.adapters.relay.MOST_REMEMBERED", 100)
    overlap = Overlap()
    for number in range(1000):
        overlap.fresh([trade(number), book(5, str(number))])
    assert len(overlap._trades) == len(overlap._books) == 100
    assert overlap.fresh([trade(999)]) == []


def test_a_relay_forgets_the_overlap_once_the_late_copies_have_come() -> None:
    relay = Relay(Trading)
    relay.connecting(0, NOW)
    relay.connecting(1, NOW)
    relay.closed(0, NOW, "rotated")
    assert relay._overlap is not None
    relay.connecting(1, NOW.plus(3 * NS_PER_SECOND))
    assert relay._overlap is None


# Addresses


@pytest.mark.parametrize("reason", ["zombie", "refused", "dns"])
def test_T06_another_endpoint_is_tried_where_one_is_of_no_use(reason: str) -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.refuses = lambda attempt: ConnectionLost(reason) if attempt in (1, 2) else None
        urls = ("ws://one.example/ws", "ws://two.example/ws", "ws://three.example/ws")
        async with Rotating(loop, venue, url=urls).running():
            await asyncio.sleep(5.0)
            assert venue.urls == list(urls)
        await venue.end()

    run_virtually(main)


def test_T11_a_flapping_venue_is_never_asked_above_its_limit() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        venue, rng = FakeVenue(), random.Random(5)

        async def flap(connection: FakeConnection) -> None:
            await asyncio.sleep(rng.uniform(1.0, 5.0))
            connection.end(ConnectionLost("reset"))

        venue.tickers = flap
        async with Rotating(loop, venue, budget=ConnectBudget(3, 30.0)).running():
            await asyncio.sleep(3600.0)
            assert len(venue.attempts_s) > 50
            times = venue.attempts_s
            assert not any(
                later - earlier < 30.0 - ROUNDING_S for earlier, later in zip(times, times[3:], strict=False)
            )
        await venue.end()

    run_virtually(main)


# Fleets


def fleet_of(
    loop: VirtualTimeLoop, venue: FakeVenue, count: int, budget: ConnectBudget
) -> tuple[Fleet, list[AnyEvent]]:
    events: list[AnyEvent] = []
    feeds = [
        Feed(
            Named(f"deribit#{lane}"),
            URL,
            deliver=lambda found, now: events.extend(found),
            clock=clock_of(loop),
            rng=random.Random(lane),
            transport=venue,
            budget=budget,
            priority=0 if lane == count - 1 else 1,
            lane=lane,
            lanes=count,
        )
        for lane in range(count)
    ]
    return Fleet(feeds), events


class Named(Deribit):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.connection = name


def test_T13_twenty_that_drop_together_come_back_within_the_venues_limit_the_underlying_first() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.tickers = pricing(1.0)
        fleet, events = fleet_of(loop, venue, 20, ConnectBudget(5, 10.0))
        task = asyncio.create_task(fleet.run())
        await fleet.connected(60.0)
        await asyncio.sleep(30.0)
        dropped_s, before = loop.time(), len(events)
        for connection in venue.connections:
            connection.end(ConnectionLost("reset"))
        await asyncio.sleep(120.0)
        again = [event for event in events[before:] if isinstance(event, FeedStatus)]
        assert sum(event.state == "closed" for event in again) == 20
        back = [event.connection for event in again if event.state == "live"]
        assert sorted(back) == sorted(f"deribit#{lane}" for lane in range(20))
        assert back.index("deribit#19") < 6, "the one with the index is in the first window"
        times = venue.attempts_s
        assert not any(later - earlier < 10.0 - ROUNDING_S for earlier, later in zip(times, times[5:], strict=False))
        after = [at for at in times if at >= dropped_s]
        assert after[4] - after[0] > 0.05, "not all at one instant"
        assert fleet.counters["connections"] == 40
        await fleet.close()
        await task
        await venue.end()

    run_virtually(main)


def test_a_fleet_tells_its_caller_in_time_which_address_cannot_be_reached() -> None:
    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.refuses = lambda attempt: ConnectionLost("refused")
        fleet, _ = fleet_of(loop, venue, 2, ConnectBudget(5, 1.0))
        task = asyncio.create_task(fleet.run())
        with pytest.raises(ConnectError, match=r"within 3 s.*refused"):
            await fleet.connected(3.0)
        await fleet.close()
        await task

    run_virtually(main)


def test_E08_an_error_in_one_of_a_fleet_ends_all_and_is_raised() -> None:
    class Broken(Deribit):
        def opened(self, now: Instant) -> None:
            raise ZeroDivisionError

    async def main(loop: VirtualTimeLoop) -> None:
        venue = FakeVenue()
        venue.tickers = pricing(1.0)
        adapters: list[Adapter] = [Deribit(), Broken()]
        feeds = [
            Feed(each, URL, deliver=lambda e, n: None, clock=clock_of(loop), rng=random.Random(1), transport=venue)
            for each in adapters
        ]
        with pytest.raises(ZeroDivisionError):
            await Fleet(feeds).run()
        await venue.end()

    run_virtually(main)


def test_a_fleet_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one"):
        Fleet([])
