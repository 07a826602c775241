"""Prices of the underlying that must not be believed, and forwards from elsewhere: FAULTS D03, D04, N08, N02, N03."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import msgspec
import pytest

from pricer.adapters.events import AnyEvent
from pricer.conventions import NS_PER_DAY, Reason, Status
from pricer.engine import Engine, EngineSettings
from pricer.snapshot import Snapshot
from tests.scene import SECOND, START, Scene

ATM = "BTC-30D-100000-C"
STEP = SECOND // 10


@pytest.fixture
def scene() -> Scene:
    return Scene()


def running(scene: Scene) -> Engine:
    engine = Engine(clock=scene.clock)
    feed(engine, [*scene.listings(), scene.index(), scene.perpetual(), *scene.quotes()])
    engine.price(scene.clock.now())
    return engine


def feed(engine: Engine, events: Iterable[AnyEvent]) -> None:
    for event in events:
        engine.apply(event)


def tick(engine: Engine, scene: Scene, events: Iterable[AnyEvent] = ()) -> Snapshot:
    """A tenth of a second later, after these events."""
    feed(engine, events)
    return engine.price(scene.clock.now())


# D03


def frozen(engine: Engine, scene: Scene, moved: float, steps: int) -> Iterator[Snapshot]:
    """Index and forwards are repeated; the perpetual is at `moved`, and option quotes go on."""
    for _ in range(steps):
        scene.clock.advance(STEP)
        yield tick(engine, scene, [scene.index(), scene.perpetual(moved), *scene.quotes()])


def test_D03_a_repeated_underlying_is_stale_within_two_seconds_of_the_proof(scene: Scene) -> None:
    engine = running(scene)
    seen = list(frozen(engine, scene, 100_100.0, 22))
    assert seen[18][ATM].status is Status.OK, "1.9 s: a price may stand for a while"
    for row in seen[20]:
        assert row.status is Status.STALE, row
        assert row.reasons & Reason.UNDERLYING_STALE
        assert row.status_of("bid_iv") == (Status.STALE, Reason.UNDERLYING_STALE), "it is made with the frozen forward"
        assert row.status_of("bid")[0] is Status.OK, "what the venue quotes is a fact"
    assert seen[20].index.status is Status.STALE
    assert engine.counters["frozen_price"] == 4, "the index and three forwards"


def test_D03_the_first_move_of_a_frozen_underlying_ends_it(scene: Scene) -> None:
    engine = running(scene)
    assert {row.status for row in list(frozen(engine, scene, 100_100.0, 22))[-1]} == {Status.STALE}
    scene.clock.advance(STEP)
    scene.spot = scene.forward = 100_100.0
    snapshot = tick(engine, scene, [scene.index(), scene.perpetual(), *scene.quotes()])
    assert {row.status for row in snapshot} == {Status.OK}


def test_D03_a_quiet_market_is_not_a_frozen_one(scene: Scene) -> None:
    engine = running(scene)
    for snapshot in frozen(engine, scene, 100_049.0, 100):  # 4.9 bp
        assert {row.status for row in snapshot} == {Status.OK}
    assert engine.counters["frozen_price"] == 0


def test_D03_options_that_move_by_themselves_prove_it_by_put_call_parity(scene: Scene) -> None:
    """No perpetual, no future: the quotes are those of a market 1 % higher, at a forward that the venue repeats."""
    engine = Engine(clock=scene.clock)
    feed(engine, [*scene.listings(), scene.index(), *scene.quotes()])
    engine.price(scene.clock.now())
    venue = scene.forward
    scene.clock.advance(STEP)
    tick(engine, scene, [scene.index(), *scene.quotes()])
    scene.forward = 101_000.0
    seen = []
    for _ in range(32):
        scene.clock.advance(STEP)
        quotes = [
            # Premiums are in coin: one of the true market is worth as much in quote currency as the venue's says.
            msgspec.structs.replace(quote, forward=venue, bid=quote.bid * 1.01, ask=quote.ask * 1.01)
            for quote in map(scene.quote, scene.instruments())
        ]
        seen.append(tick(engine, scene, [scene.index(), *quotes]))
    assert {row.status for row in seen[-1]} == {Status.STALE}
    assert engine.counters["frozen_price"] >= 3


# D04


@pytest.mark.parametrize("factor", [1.2, 0.8])
def test_D04_a_bad_print_of_the_index_is_never_taken(scene: Scene, factor: float) -> None:
    engine = running(scene)
    scene.clock.advance(STEP)
    snapshot = tick(engine, scene, [scene.index(factor * scene.spot)])
    assert snapshot.index.value == scene.spot
    assert snapshot.index.status is Status.DEGRADED
    assert snapshot.index.reasons & Reason.JUMP_UNCONFIRMED
    assert snapshot.index.age_ns(scene.clock.now()) == STEP, "the old price has its own age"
    scene.clock.advance(STEP)
    after = tick(engine, scene, [scene.index()])
    assert after.index.status is Status.OK
    assert {row.status for row in after} == {Status.OK}
    assert engine.counters["unconfirmed_jump"] == 1


def test_D04_forwards_that_jump_with_a_bad_index_degrade_all_and_move_nothing(scene: Scene) -> None:
    engine = running(scene)
    before = engine.price(scene.clock.now()).columns()["iv"]
    scene.clock.advance(STEP)
    bad = [
        msgspec.structs.replace(q, forward=120_000.0, index=120_000.0) for q in map(scene.quote, scene.instruments())
    ]
    snapshot = tick(engine, scene, [scene.index(120_000.0), scene.perpetual(), *bad])
    for row in snapshot:
        assert row.status >= Status.DEGRADED
        assert row.reasons & Reason.JUMP_UNCONFIRMED
        assert row.status_of("bid_iv")[0] is not Status.OK
    assert {forward.value for forward in snapshot.forwards.values()} == {scene.forward}
    scene.clock.advance(STEP)
    after = tick(engine, scene, [scene.index(), scene.perpetual(), *scene.quotes()])
    assert {row.status for row in after} == {Status.OK}
    assert after.columns()["iv"] == pytest.approx(before, abs=1e-3), "a fifth of a half-spread"


def test_D04_no_value_is_ok_on_an_unconfirmed_jump_however_long_the_others_contradict(scene: Scene) -> None:
    engine = running(scene)
    for _ in range(45):  # 4.5 s of a wrong index while the perpetual stands where it was
        scene.clock.advance(STEP)
        bad = [
            msgspec.structs.replace(q, forward=math.nan, index=math.nan) for q in map(scene.quote, scene.instruments())
        ]
        snapshot = tick(engine, scene, [scene.index(120_000.0), scene.perpetual(), *bad])
        assert snapshot.index.status is not Status.OK
        assert snapshot.index.value == scene.spot
    assert snapshot.index.status is Status.STALE, "the old price has grown old"


def crash(scene: Scene, to: float) -> list[AnyEvent]:
    scene.spot = scene.forward = to
    return [scene.index(), *scene.quotes()]


def test_D04_F14_a_crash_that_the_perpetual_confirms_passes_at_once(scene: Scene) -> None:
    engine = running(scene)
    scene.clock.advance(STEP)
    assert tick(engine, scene, crash(scene, 85_000.0)).index.value == 100_000.0
    scene.clock.advance(STEP)
    snapshot = tick(engine, scene, [scene.perpetual()])
    assert snapshot.index.value == 85_000.0
    assert {forward.value for forward in snapshot.forwards.values()} == {85_000.0}
    scene.clock.advance(STEP)
    tick(engine, scene, [scene.index(), *scene.quotes()])
    scene.clock.advance(STEP)
    snapshot = tick(engine, scene, [scene.index(), *scene.quotes()])
    assert snapshot[ATM].status is Status.OK
    assert snapshot[ATM].status_of("mid_iv")[0] is Status.OK


def test_D04_F14_a_crash_is_confirmed_by_put_call_parity_of_fresh_quotes(scene: Scene) -> None:
    engine = Engine(clock=scene.clock)
    feed(engine, [*scene.listings(), scene.index(), *scene.quotes()])
    engine.price(scene.clock.now())
    for price in (100_001.0, 100_002.0, 85_000.0):  # parity is known before the crash
        scene.clock.advance(SECOND)
        snapshot = tick(engine, scene, crash(scene, price))
    scene.clock.advance(STEP)
    snapshot = tick(engine, scene, crash(scene, 84_990.0))
    assert snapshot.index.value == 84_990.0
    assert {forward.value for forward in snapshot.forwards.values()} == {84_990.0}


def test_D04_F14_with_no_second_source_a_real_jump_passes_within_two_seconds() -> None:
    scene = Scene(strikes=(100_000.0,))
    engine = Engine(clock=scene.clock)
    calls = [each for each in scene.listings() if each.definition.cp > 0]  # type: ignore[union-attr]
    feed(engine, [*calls, scene.index()])
    engine.price(scene.clock.now())
    took = []
    for step in range(20):
        scene.clock.advance(STEP)
        snapshot = tick(engine, scene, [scene.index(85_000.0 + step)])
        took.append(snapshot.index.value < 90_000.0)
    assert took.index(True) == 10, "after a second, and not before"


def test_D04_a_tick_under_the_floor_or_within_the_sigmas_of_a_long_silence_is_no_jump(scene: Scene) -> None:
    engine = running(scene)
    scene.clock.advance(STEP)
    assert tick(engine, scene, [scene.index(100_990.0)]).index.status is Status.OK
    scene.clock.advance(3_600 * SECOND)
    assert tick(engine, scene, [scene.index(106_000.0)]).index.status is Status.OK, "5 % in an hour, 10 sigma is 6.4 %"
    assert engine.counters["unconfirmed_jump"] == 0


def test_D04_the_limits_are_settings(scene: Scene) -> None:
    engine = Engine(EngineSettings(jump_floor=0.3), clock=scene.clock)
    feed(engine, [*scene.listings(), scene.index()])
    scene.clock.advance(STEP)
    assert tick(engine, scene, [scene.index(120_000.0)]).index.value == 120_000.0


# Futures as forwards


def bare(scene: Scene) -> list[AnyEvent]:
    """Quotes as `quote.*` brings them: without forward and index."""
    return [
        msgspec.structs.replace(scene.quote(each), forward=math.nan, index=math.nan, source="quote")
        for each in scene.instruments()
    ]


def futures(scene: Scene) -> list[AnyEvent]:
    return [scene.future(days, scene.forward) for days in scene.expiry_days]


def test_a_listed_future_is_the_forward_where_quotes_bring_none(scene: Scene) -> None:
    engine = Engine(clock=scene.clock)
    feed(engine, [*scene.listings(), scene.index(), *futures(scene), *bare(scene)])
    snapshot = engine.price(scene.clock.now())
    assert {(f.source, f.status, f.value) for f in snapshot.forwards.values()} == {("future", Status.OK, scene.forward)}
    assert {row.status for row in snapshot} == {Status.OK}
    assert snapshot[ATM].status_of("mid_iv") == (Status.OK, Reason(0))


def test_between_two_prices_of_the_future_its_basis_follows_the_index(scene: Scene) -> None:
    engine = Engine(clock=scene.clock)
    feed(engine, [*scene.listings(), scene.index(), *futures(scene), *bare(scene)])
    engine.price(scene.clock.now())
    scene.clock.advance(STEP)
    snapshot = tick(engine, scene, [scene.index(100_500.0)])
    assert {f.source for f in snapshot.forwards.values()} == {"basis"}
    assert snapshot.forwards[snapshot[ATM].expiry_ns].value == pytest.approx(100_500.0)


def test_quotes_that_came_before_the_future_take_it_when_it_comes(scene: Scene) -> None:
    engine = Engine(clock=scene.clock)
    feed(engine, [*scene.listings(), *bare(scene)[:1]])
    assert engine.price(scene.clock.now())["BTC-7D-70000-C"].status_of("ask_iv")[0] is Status.INVALID
    scene.clock.advance(STEP)
    row = tick(engine, scene, futures(scene))["BTC-7D-70000-C"]
    assert row.status_of("ask_iv")[0] is Status.OK


def test_N08_a_future_that_goes_missing_leaves_put_call_parity_and_says_so(scene: Scene) -> None:
    engine = Engine(clock=scene.clock)
    feed(engine, [*scene.listings(), scene.index(), *futures(scene), *bare(scene)])
    engine.price(scene.clock.now())
    for _ in range(31):
        scene.clock.advance(STEP)
        scene.forward *= 1.000001
        snapshot = tick(engine, scene, bare(scene))
    for forward in snapshot.forwards.values():
        assert (forward.source, forward.status) == ("parity", Status.DEGRADED)
        assert forward.reasons & Reason.FORWARD_IMPLIED
        assert forward.value == pytest.approx(scene.forward, rel=1e-4)
    assert {row.status for row in snapshot} == {Status.DEGRADED}
    scene.clock.advance(STEP)
    snapshot = tick(engine, scene, [scene.index(), *futures(scene), *bare(scene)])
    assert {row.status for row in snapshot} == {Status.OK}


def test_N03_a_future_after_its_expiry_is_ignored(scene: Scene) -> None:
    engine = running(scene)
    scene.clock.advance(7 * NS_PER_DAY)
    feed(engine, [scene.future(7.0, 100_000.0)])
    assert engine.counters["future_after_expiry"] == 1
    assert not engine._listing.families["deribit", "btc_usd"].futures


def test_N02_a_year_of_daily_futures_and_options_leaves_nothing_behind() -> None:
    scene = Scene(strikes=(95_000, 100_000, 105_000))
    engine = Engine(clock=scene.clock)
    for day in range(1, 366):
        scene.expiry_days = (day,)
        feed(engine, [*scene.listings(), scene.index(), *futures(scene), *bare(scene)])
        engine.price(scene.clock.now())
        scene.clock.advance(NS_PER_DAY)
        engine.price(scene.clock.now())
    scene.clock.advance(NS_PER_DAY)
    engine.price(scene.clock.now())
    family = engine._listing.families["deribit", "btc_usd"]
    held = (
        family.futures,
        family.witnesses.readings,
        engine._listing.expiries,
        engine._listing.rows,
        engine._listing.listed,
    )
    assert [len(each) for each in held] == [0] * len(held)
    assert scene.clock.now().wall_ns == START.wall_ns + 366 * NS_PER_DAY
