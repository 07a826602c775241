"""What concerns a whole venue: clocks, lateness, maintenance, connections. FAULTS C01 C02 C11 P14 T02 T08 T14 W11."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec
import pytest

from pricer.adapters.events import AnyEvent, ChannelAlarm, DeliveryPrice, VenueClock, VenueState, VolatilityIndex
from pricer.clock import Instant
from pricer.conventions import NO_TIME, Reason, Status
from pricer.engine import Engine
from pricer.engine.clock_check import ClockCheck
from pricer.engine.venue_health import MOST_CONNECTIONS
from pricer.snapshot import Snapshot
from tests.scene import SECOND, START, Scene

ATM = "BTC-30D-100000-C"
MS = SECOND // 1000
HOUR = 3_600 * SECOND


@pytest.fixture
def scene() -> Scene:
    return Scene()


def feed(engine: Engine, events: Iterable[AnyEvent]) -> None:
    for event in events:
        engine.apply(event)


def running(scene: Scene, seconds: int = 10) -> Engine:
    """Ten seconds of a healthy venue, 20 ms away."""
    engine = Engine(clock=scene.clock)
    feed(engine, [scene.feed("open"), *scene.listings()])
    for _ in range(seconds):
        second(engine, scene)
    return engine


def second(engine: Engine, scene: Scene, late_ns: int = 20 * MS, venue_ahead_ns: int = 0) -> Snapshot:
    """One second later the whole chain comes, as it was `late_ns` before by the venue's clock."""
    scene.clock.advance(SECOND)
    now = scene.clock.now()
    venue_ns = now.wall_ns + venue_ahead_ns - late_ns
    events: list[AnyEvent] = [scene.index(), *scene.quotes()]
    feed(engine, [msgspec.structs.replace(event, exchange_ns=venue_ns) for event in events])
    return engine.price(now)


def statuses(snapshot: Snapshot) -> set[Status]:
    return {row.status for row in snapshot}


# C01, C02, C11


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("step", [-HOUR, HOUR, -600 * MS, 600 * MS])
def test_C01_a_wall_clock_that_steps_is_suspect_and_makes_nothing_old(scene: Scene, step: int, asked: bool) -> None:
    engine = running(scene)
    if asked:
        engine.apply(VenueClock(venue="deribit", received=scene.clock.now(), offset_ns=0, round_trip_ns=20 * MS))
    now = scene.clock.now()
    scene.clock.set(Instant(now.wall_ns + step, now.mono_ns))
    scene.clock.advance(SECOND // 4)
    snapshot = engine.price(scene.clock.now())
    for row in snapshot:
        assert row.status is Status.DEGRADED, "not STALE: freshness goes by the monotonic clock"
        assert row.reasons & Reason.CLOCK_SUSPECT
        assert row.status_of("bid_iv")[0] is Status.OK, "a quote is dated by the venue's own stamp"
        assert row.age_ns("bid") == SECOND // 4
    assert snapshot.health["deribit"].reasons == Reason.CLOCK_SUSPECT
    assert engine.counters["venue.clock_suspect"] == 1
    for _ in range(20):  # the venue's clock has not stepped
        assert statuses(second(engine, scene, venue_ahead_ns=-step)) == {Status.DEGRADED}
    now = scene.clock.now()
    scene.clock.set(Instant(now.wall_ns - step, now.mono_ns))
    assert statuses(second(engine, scene)) == {Status.OK}


def test_C01_a_clock_that_was_wrong_from_the_start_is_found_by_asking(scene: Scene) -> None:
    engine = running(scene)
    engine.apply(VenueClock(venue="deribit", received=scene.clock.now(), offset_ns=2 * SECOND, round_trip_ns=30 * MS))
    snapshot = second(engine, scene, venue_ahead_ns=2 * SECOND)
    assert statuses(snapshot) == {Status.DEGRADED}
    assert snapshot[ATM].reasons & Reason.CLOCK_SUSPECT


def test_C01_without_stamps_and_calls_the_wall_clock_is_held_against_its_own_beginning() -> None:
    check = ClockCheck()
    assert check.wall_error_ns(START) == 0
    later = START.plus(SECOND)
    assert check.wall_error_ns(Instant(later.wall_ns + HOUR, later.mono_ns)) == HOUR
    assert check.skew_ns(later) is None


def test_C01_stamps_that_are_wrong_once_say_nothing_of_our_clock(scene: Scene) -> None:
    engine = running(scene)
    for wrong in (15 * 60 * SECOND, -15 * 60 * SECOND, 40 * 60 * SECOND):
        second(engine, scene, venue_ahead_ns=wrong)
    for _ in range(9):
        assert not second(engine, scene).health["deribit"].reasons & Reason.CLOCK_SUSPECT


def test_C02_the_skew_is_estimated_to_twenty_milliseconds_and_published(scene: Scene) -> None:
    """Our clock is 2 s ahead; calls take 10 to 400 ms, unevenly there and back."""
    engine = running(scene)
    for i in range(20):
        scene.clock.advance(SECOND)
        there, back = (5 + 3 * (i % 4)) * MS, (5 + (97 * i) % 390) * MS
        # At the middle of the call we take the venue's stamp for that of the middle: off by half the difference.
        offset = -2 * SECOND + (there - back) // 2
        event = VenueClock(venue="deribit", received=scene.clock.now(), offset_ns=offset, round_trip_ns=there + back)
        engine.apply(event)
    health = engine.price(scene.clock.now()).health["deribit"]
    assert health.skew_ns == pytest.approx(2 * SECOND, abs=20 * MS)
    assert health.round_trip_ns == event.round_trip_ns
    assert health.reasons & Reason.CLOCK_SUSPECT


def test_C02_lateness_is_corrected_by_the_skew_and_never_negative(scene: Scene) -> None:
    engine = running(scene)
    engine.apply(VenueClock(venue="deribit", received=scene.clock.now(), offset_ns=-2 * SECOND, round_trip_ns=30 * MS))
    snapshot = second(engine, scene, late_ns=40 * MS, venue_ahead_ns=-2 * SECOND)
    assert snapshot.health["deribit"].lag_ns == 40 * MS, "2.04 s by the raw clocks"
    snapshot = second(engine, scene, late_ns=-40 * MS, venue_ahead_ns=-2 * SECOND)
    assert snapshot.health["deribit"].lag_ns is None, "a price from the future says nothing of lateness"


@pytest.mark.parametrize("leap", [-SECOND, SECOND])
def test_C11_a_leap_second_makes_no_negative_age_and_nothing_stale(scene: Scene, leap: int) -> None:
    engine = running(scene)
    now = scene.clock.now()
    scene.clock.set(Instant(now.wall_ns + leap, now.mono_ns))
    snapshot = second(engine, scene)  # the venue's clock leaps, too
    assert statuses(snapshot) == {Status.OK}
    assert all((row.age_ns() or 0) >= 0 and (row.age_ns("bid") or 0) >= 0 for row in snapshot)
    assert statuses(second(engine, scene)) == {Status.OK}


# T08, T14


def test_T08_lateness_is_told_within_five_seconds_of_passing_one(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    engine = running(scene)
    told = []
    with caplog.at_level(logging.WARNING, "pricer.engine"):
        for step in range(1, 9):  # a link at 7/10 of the feed's rate
            snapshot = second(engine, scene, late_ns=20 * MS + step * 300 * MS)
            told.append(snapshot)
    late = [bool(snapshot.health["deribit"].reasons & Reason.OVERLOADED) for snapshot in told]
    assert late == [False] * 3 + [True] * 5, "lag passes one second between the third and the fourth"
    assert engine.counters["venue.overloaded"] == 1
    assert sum("OVERLOADED" in record.getMessage() for record in caplog.records) == 1
    row = told[-1][ATM]
    assert row.status is Status.STALE, "later than a forward lives"
    assert row.status_of("bid")[0] is Status.STALE
    assert told[4].of("BTC").blocks[0].status[-1].max() == Status.DEGRADED
    assert statuses(second(engine, scene)) == {Status.OK}, "and gone as soon as the backlog is"


def test_T14_after_ten_minutes_of_sleep_the_first_thing_published_is_stale(scene: Scene) -> None:
    engine = running(scene)
    scene.clock.advance(600 * SECOND)
    assert statuses(engine.price(scene.clock.now())) == {Status.STALE}


def test_T14_what_waited_in_the_socket_while_we_slept_is_not_fresh(scene: Scene) -> None:
    engine = running(scene)
    scene.clock.advance(599 * SECOND)
    snapshot = second(engine, scene, late_ns=600 * SECOND)
    assert statuses(snapshot) == {Status.STALE}
    for row in snapshot:
        assert row.status_of("bid_iv")[0] is Status.STALE
        assert row.status_of("ask")[0] is Status.STALE
    assert statuses(second(engine, scene)) == {Status.OK}


# P14


@pytest.mark.parametrize("state", ["locked", "maintenance"])
def test_P14_maintenance_is_stale_with_its_reason_and_ends_with_the_next_pricing(scene: Scene, state: str) -> None:
    engine = running(scene)
    engine.apply(VenueState(venue="deribit", received=scene.clock.now(), state=state))  # type: ignore[arg-type]
    for _ in range(3):
        snapshot = second(engine, scene)
        for row in snapshot:
            assert row.status is Status.STALE
            assert row.reasons & Reason.VENUE_MAINTENANCE
            assert row.status_of("mid_iv")[0] is Status.STALE
            assert row.status_of("bid")[0] is Status.STALE
    assert snapshot.health["deribit"].state == state
    engine.apply(VenueState(venue="deribit", received=scene.clock.now(), state="open"))
    assert statuses(second(engine, scene)) == {Status.OK}


def test_P14_one_index_may_be_locked_alone(scene: Scene) -> None:
    engine = running(scene)
    for index, expected in (("eth_usd", Status.OK), ("btc_usd", Status.STALE)):
        now = scene.clock.now()
        engine.apply(VenueState(venue="deribit", received=now, state="locked", price_index=index))
        assert statuses(second(engine, scene)) == {expected}
    assert engine.price(scene.clock.now()).health["deribit"].closed_indices == ("btc_usd", "eth_usd")
    engine.apply(VenueState(venue="deribit", received=scene.clock.now(), state="open", price_index="btc_usd"))
    assert statuses(second(engine, scene)) == {Status.OK}


# Connections


def test_W11_W12_a_connection_that_was_replaced_takes_nothing_with_it(scene: Scene) -> None:
    engine = running(scene)
    feed(engine, [scene.feed("live"), scene.feed("closed", "rotated")])
    snapshot = engine.price(scene.clock.now())
    assert statuses(snapshot) == {Status.OK}
    assert [(each.connection, each.state) for each in snapshot.feeds] == [("deribit-0", "live")]


def test_T02_only_what_a_connection_alone_carried_is_lost(scene: Scene) -> None:
    engine = running(scene)
    feed(engine, [scene.feed("live"), scene.feed("live", connection="deribit-1")])
    gone = ("BTC-30D-100000-C", "BTC-7D-90000-P", "BTC-FUTURE")
    feed(engine, [scene.feed("closed", "reset", "deribit-1", lost=gone)])
    snapshot = engine.price(scene.clock.now())
    for row in snapshot:
        assert row.status is (Status.STALE if row.name in gone else Status.OK), row
        assert bool(row.reasons & Reason.RESYNCING) == (row.name in gone)
    assert snapshot.index.status is Status.OK, "the other connection still carries it"
    assert statuses(second(engine, scene)) == {Status.OK}


def test_T02_the_last_connection_takes_the_underlying_with_it_and_the_venue_is_down(scene: Scene) -> None:
    engine = running(scene)
    feed(engine, [scene.feed("closed", "reset", lost=(ATM,))])
    snapshot = engine.price(scene.clock.now())
    assert statuses(snapshot) == {Status.STALE}
    assert snapshot.index.status is Status.STALE
    assert all(row.reasons & Reason.VENUE_DOWN for row in snapshot)
    assert engine.counters["venue.venue_down"] == 1
    for block in snapshot.blocks:
        quoted = block.quote_mono_ns != NO_TIME
        until = block.quote_valid_until_ns[quoted]
        assert quoted.any()
        assert (until != NO_TIME).all(), "a limit that has passed, not none"
        assert (until < block.computed.mono_ns).all()
    feed(engine, [scene.feed("open")])
    assert statuses(second(engine, scene)) == {Status.OK}


def test_I6_connections_of_ever_new_names_are_bounded(scene: Scene) -> None:
    engine = running(scene)
    feed(engine, [scene.feed("live", connection="the first")])
    for i in range(5 * MOST_CONNECTIONS):
        feed(engine, [scene.feed("closed", "reset", f"another {i}", lost=())])
    feeds = engine.price(scene.clock.now()).feeds
    assert len(feeds) == MOST_CONNECTIONS
    assert "the first" in {each.connection for each in feeds}


# What else a venue tells


def test_volatility_index_and_settlement_estimate_are_published_as_the_venue_says(scene: Scene) -> None:
    engine = running(scene)
    now = scene.clock.now()
    estimate = DeliveryPrice(venue="deribit", received=now, price_index="btc_usd", price=100_010.0, estimated=True)
    engine.apply(VolatilityIndex(venue="deribit", received=now, price_index="btc_usd", volatility=0.55))
    engine.apply(estimate)
    engine.apply(DeliveryPrice(venue="deribit", received=now, price_index="btc_usd", price=0.0, estimated=True))
    snapshot = engine.price(now).of("BTC")
    assert snapshot.volatility_indices["btc_usd"].value == 0.55
    assert snapshot.settlements == {"btc_usd": estimate}
    scene.clock.advance(13 * SECOND)
    assert engine.price(scene.clock.now()).volatility_indices["btc_usd"].status is Status.STALE


def test_I11_an_alarm_is_counted_each_time_and_logged_once_in_ten_seconds(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    engine = running(scene)
    with caplog.at_level(logging.WARNING, "pricer.engine"):
        for i in range(101):
            scene.clock.advance(SECOND // 10)
            engine.apply(
                ChannelAlarm(
                    venue="deribit", received=scene.clock.now(), connection="deribit-0", channel=f"ticker.{i}",
                    kind="silent",
                )
            )  # fmt: skip
    assert engine.counters["alarm.silent"] == 101
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert "(99 more like it before)" in lines[1]
