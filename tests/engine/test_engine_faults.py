"""Quotes, definitions and marks under faults: FAULTS D01 D02 D06 D14 D15 S13 N05 N06 N07."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import msgspec
import numpy as np
import pytest

from pricer.adapters.events import AnyEvent, BookLost, InstrumentChanged, InstrumentListed, VenueMark
from pricer.conventions import Reason, Status
from pricer.engine import Engine
from pricer.engine.chain import IV, MARK_IV, ChainSlice
from pricer.engine.chain_pricing import price_quotes
from pricer.engine.divergence import LASTING_NS, DivergenceWatch
from pricer.snapshot import FIELD_INDEX, ROW_PAIR, Snapshot
from tests.scene import SECOND, START, Scene, option

ATM = "BTC-30D-100000-C"


@pytest.fixture
def scene() -> Scene:
    return Scene()


def running(scene: Scene) -> Engine:
    engine = Engine(clock=scene.clock)
    feed(engine, [*scene.listings(), scene.index(), *scene.quotes()])
    engine.price(scene.clock.now())
    return engine


def feed(engine: Engine, events: Iterable[AnyEvent]) -> None:
    for event in events:
        engine.apply(event)


# D06


def diverging(scene: Scene, by: float, name: str = ATM) -> VenueMark:
    return VenueMark(venue="deribit", received=scene.clock.now(), instrument=name, mark=0.06, mark_iv=0.6 + by)


def test_D06_a_mark_that_stays_away_from_ours_is_told_within_ten_seconds(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    engine = running(scene)
    before = engine.price(scene.clock.now())[ATM].iv
    told = []
    with caplog.at_level(logging.WARNING, "pricer.engine"):
        for _ in range(30):
            scene.clock.advance(SECOND // 2)
            feed(engine, [scene.index(), *scene.quotes(), diverging(scene, 0.08)])
            snapshot = engine.price(scene.clock.now())
            told.append(engine.counters["mark_divergence"])
    assert 10 <= told.index(1) < 20, "after five seconds, before ten"
    assert told[-1] == 1, "once"
    assert sum(ATM in record.getMessage() for record in caplog.records) == 1
    row = snapshot[ATM]
    assert row.status is Status.OK
    assert row.mark_iv == pytest.approx(0.68)
    assert row.iv == pytest.approx(before, abs=1e-3), "neither replaces the other"


def test_D06_a_difference_that_is_small_or_short_is_no_alarm(scene: Scene) -> None:
    engine = running(scene)
    for step in range(40):
        scene.clock.advance(SECOND // 2)
        feed(engine, [scene.index(), *scene.quotes(), diverging(scene, 0.08 if step % 8 > 2 else 0.0)])
        feed(engine, [diverging(scene, 0.04, "BTC-30D-105000-C")])
        engine.price(scene.clock.now())
    assert engine.counters["mark_divergence"] == 0


def test_D06_an_error_bar_as_large_as_a_double_can_be_excuses_any_difference() -> None:
    """Minutes before it expires, an option far from the money has one; a warning would end the engine's thread here."""
    instruments = list(Scene(expiry_days=(30.0,)).instruments())
    key = instruments[0].slice_key
    assert key is not None
    chain = ChainSlice(key, instruments)
    chain.values[IV], chain.values[MARK_IV], chain.status[ROW_PAIR] = 0.4, 0.9, Status.OK
    chain.values[FIELD_INDEX["iv_error"]] = 0.1
    chain.values[FIELD_INDEX["iv_error"], 0] = np.finfo(np.float64).max
    watch, later = DivergenceWatch(), START._replace(mono_ns=START.mono_ns + LASTING_NS)
    assert watch.newly_apart(chain, 0.02, START) == []
    assert watch.newly_apart(chain, 0.02, later) == list(chain.definition.names[1:])


# S13, books


def test_S13_a_crossed_quote_has_no_volatility_and_a_locked_one_none_that_is_ok(scene: Scene) -> None:
    engine = running(scene)
    each = next(i for i in scene.instruments() if i.name == ATM)
    engine.apply(scene.quote(each, bid=0.08, ask=0.06))
    row = engine.price(scene.clock.now())[ATM]
    for name in ("bid_iv", "ask_iv", "mid_iv"):
        assert row.status_of(name)[0] is Status.INVALID
        assert row.status_of(name)[1] & Reason.CROSSED
        assert row.get(name, allow=set(Status)) is None
    engine.apply(scene.quote(each, bid=0.07, ask=0.07))
    row = engine.price(scene.clock.now())[ATM]
    for name in ("bid_iv", "ask_iv", "mid_iv"):
        assert row.status_of(name) == (Status.DEGRADED, Reason.LOCKED)
    engine.apply(scene.quote(each))
    row = engine.price(scene.clock.now())[ATM]
    assert all(row.status_of(name) == (Status.OK, Reason(0)) for name in ("bid_iv", "ask_iv", "mid_iv"))


@pytest.mark.parametrize(
    ("why", "reason"),
    [("gap", Reason.BOOK_GAP), ("checksum", Reason.CHECKSUM_FAIL), ("crossed", Reason.CROSSED)],
)
def test_S01_S10_S13_a_quote_from_a_lost_book_is_stale_until_the_next(scene: Scene, why: str, reason: Reason) -> None:
    engine = running(scene)
    each = next(i for i in scene.instruments() if i.name == ATM)
    other = next(i for i in scene.instruments() if i.name == "BTC-30D-105000-C")
    feed(engine, [scene.quote(each, source="book"), scene.quote(other)])
    now = scene.clock.now()
    lost = [BookLost(venue="deribit", received=now, instrument=i.name, reason=why) for i in (each, other)]  # type: ignore[arg-type]
    feed(engine, lost)
    snapshot = engine.price(now)
    for name in ("bid_iv", "ask_iv", "mid_iv"):
        assert snapshot[ATM].status_of(name) == (Status.STALE, reason | Reason.RESYNCING)
        assert snapshot[other.name].status_of(name)[0] is Status.OK, "a ticker's quote does not hang on the book"
    assert snapshot[ATM].status_of("bid")[0] is Status.STALE
    assert engine.counters[f"book_lost.{why}"] == 2
    feed(engine, [scene.quote(each, source="book")])
    assert engine.price(now)[ATM].status_of("mid_iv") == (Status.OK, Reason(0))


# D01, D02, D05 with quotes that bring nothing but sides


def test_D01_D02_hold_for_quotes_without_a_forward(scene: Scene) -> None:
    engine = running(scene)
    bare = {"forward": math.nan, "index": math.nan, "source": "quote"}
    by_name = {each.name: each for each in scene.instruments()}
    feed(engine, [scene.quote(each, **bare) for each in by_name.values()])
    before = engine.price(scene.clock.now())
    one, fat = by_name[ATM], by_name["BTC-30D-110000-C"]
    fair = scene.quote(fat).ask
    feed(engine, [scene.quote(one, bid=math.nan, **bare), scene.quote(fat, ask=100.0 * fair, **bare)])
    snapshot = engine.price(scene.clock.now())
    assert snapshot[ATM].status_of("bid_iv") == (Status.INVALID, Reason.ONE_SIDED)
    assert snapshot[ATM].status_of("mid_iv")[0] is Status.INVALID
    assert snapshot[fat.name].status_of("mid_iv")[0] is not Status.OK
    assert abs(snapshot[ATM].iv - before[ATM].iv) < 0.001


# D14, D15


def test_D14_five_thousand_updates_of_one_option_cost_one_inversion(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = running(scene)
    each = next(i for i in scene.instruments() if i.name == ATM)
    solved: list[int] = []

    def counting(chain: ChainSlice, oldest_ns: int, wide_iv: float) -> int:
        solved.append(len(chain.dirty_rows))
        return price_quotes(chain, oldest_ns, wide_iv)

    monkeypatch.setattr("pricer.engine.engine.price_quotes", counting)
    last = scene.quote(each)
    for i in range(5000):
        last = msgspec.structs.replace(last, bid=0.05 + 1e-6 * (i % 100), bid_size=float(i))
        engine.apply(last)
    row = engine.price(scene.clock.now())[ATM]
    assert solved == [1]
    assert (row.bid, row.bid_size) == (last.bid, 4999.0)


@pytest.mark.parametrize("absent", [math.nan, -math.inf])
def test_D15_an_absent_open_interest_disturbs_nothing(scene: Scene, absent: float) -> None:
    engine = running(scene)
    before = engine.price(scene.clock.now())[ATM].iv
    now = scene.clock.now()
    engine.apply(VenueMark(venue="deribit", received=now, instrument=ATM, mark=0.06, mark_iv=0.6, open_interest=absent))
    row = engine.price(now)[ATM]
    assert (row.iv, row.mark_iv) == (before, 0.6)


# Life cycle


def change(scene: Scene, **changes: object) -> InstrumentChanged:
    each = next(i for i in scene.instruments() if i.name == ATM)
    definition = msgspec.structs.replace(each, **changes)
    return InstrumentChanged(venue="deribit", received=scene.clock.now(), definition=definition)


@pytest.mark.parametrize("state", ["halted", "settlement", "locked", "inactive", "unknown"])
def test_N05_an_option_in_any_state_but_open_is_not_trading(scene: Scene, state: str) -> None:
    engine = running(scene)
    engine.apply(change(scene, state=state))
    snapshot = engine.price(scene.clock.now())
    assert snapshot[ATM].status is Status.INVALID
    assert snapshot[ATM].reasons & Reason.NOT_TRADING
    assert {row.status for row in snapshot if row.name != ATM} == {Status.OK}


def test_N06_a_changed_tick_is_a_new_definition_that_older_snapshots_do_not_see(scene: Scene) -> None:
    engine = running(scene)
    before = engine.price(scene.clock.now())
    engine.apply(change(scene, tick_size=0.0005))
    after = engine.price(scene.clock.now())

    def tick(snapshot: Snapshot) -> float:
        row = snapshot[ATM]
        return float(row.block.definition.tick_size[row.index])

    assert (tick(before), tick(after)) == (0.0001, 0.0005)
    assert after[ATM].block.definition is not before[ATM].block.definition, "by this consumers see that it changed"
    assert after[ATM].iv_error == pytest.approx(5.0 * before[ATM].iv_error, rel=1e-3)
    assert after[ATM].status_of("mid_iv")[0] is Status.OK, "its quote stays"


def test_N06_a_changed_expiry_moves_the_option_into_another_slice(scene: Scene) -> None:
    engine = running(scene)
    later = option(ATM, 90.0, 100_000, 1).expiry_ns
    engine.apply(change(scene, expiry_ns=later))
    row = engine.price(scene.clock.now())[ATM]
    assert row.expiry_ns == later
    assert row.status_of("bid") == (Status.INVALID, Reason.NO_QUOTE), "a quote of the other contract is not this one's"


@pytest.mark.parametrize("changes", [{"strike": 101_000.0}, {"cp": -1}, {"contract_size": 10.0}])
def test_N07_a_name_that_is_reused_for_another_contract_joins_no_history(
    scene: Scene, changes: dict[str, object]
) -> None:
    engine = running(scene)
    assert engine.price(scene.clock.now())[ATM].bid > 0.0
    each = next(i for i in scene.instruments() if i.name == ATM)
    reused = msgspec.structs.replace(each, **changes)
    engine.apply(InstrumentListed(venue="deribit", received=scene.clock.now(), definition=reused))
    row = engine.price(scene.clock.now())[ATM]
    for name in ("bid", "ask", "mark"):
        assert row.get(name, allow=set(Status)) is None
    assert row.status_of("mid_iv")[0] is Status.INVALID
    assert row.status_of("mid_iv")[1] & Reason.NO_QUOTE
    assert row.age_ns("bid") is None
