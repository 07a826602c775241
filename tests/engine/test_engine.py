"""Events in, snapshots out, on virtual time."""

from __future__ import annotations

import copy
import math
import pickle

import msgspec
import numpy as np
import pytest

from pricer.adapters.events import (
    InstrumentChanged,
    InstrumentExpired,
    InstrumentListed,
    SubscriptionRejected,
    VenueMark,
)
from pricer.clock import Instant
from pricer.conventions import NS_PER_DAY, Reason, Status, ttm_years
from pricer.engine import DEFAULT_SETTINGS, EXPIRED_STAYS_NS, Engine, EngineSettings
from pricer.errors import ConfigError, NotTradable, UnknownInstrument
from pricer.pricing import greeks
from pricer.snapshot import MODEL_FIELDS, VALUE_FIELDS, Snapshot
from tests.scene import SECOND, START, Scene, option

ATM = "BTC-30D-100000-C"


def priced(scene: Scene, engine: Engine) -> Snapshot:
    return engine.price(scene.clock.now())


def running(scene: Scene, settings: EngineSettings = DEFAULT_SETTINGS) -> Engine:
    """An engine that has seen every listing and one round of quotes."""
    engine = Engine(settings, clock=scene.clock)
    for event in [*scene.listings(), scene.index(), *scene.quotes()]:
        engine.apply(event)
    return engine


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_every_option_of_a_quoted_chain_is_ok_and_near_the_smile_that_made_it(scene: Scene) -> None:
    snapshot = priced(scene, running(scene))
    assert len(snapshot) == len(list(scene.instruments()))
    for row in snapshot:
        ttm = ttm_years(row.expiry_ns, snapshot.computed_ns)
        assert row.status is Status.OK, row
        # Far out a price tick is worth many vol points, and the quote counts no more than that.
        known = max(0.005, 0.1 * row.iv_error)
        assert row.iv == pytest.approx(scene.smile(math.log(row.strike / scene.forward), ttm), abs=known)


def test_model_numbers_are_the_kernels_at_the_published_iv(scene: Scene) -> None:
    snapshot = priced(scene, running(scene))
    row = snapshot[ATM]
    ttm = ttm_years(row.expiry_ns, snapshot.computed_ns)
    expected = greeks(scene.forward, row.strike, ttm, row.iv, row.cp)
    for name in ("price", "delta", "gamma", "vega", "theta", "rho", "vanna", "volga", "ultima"):
        assert getattr(row, name) == pytest.approx(getattr(expected, name), rel=1e-12)
    assert row.theo == pytest.approx(expected.price / scene.forward, rel=1e-12)
    assert row.delta_premium_adjusted == pytest.approx(row.delta - row.theo, abs=1e-12)


def test_quote_volatilities_belong_to_the_quotes_own_forward(scene: Scene) -> None:
    engine = running(scene)
    before = priced(scene, engine)[ATM]
    scene.clock.advance(SECOND // 2)
    scene.spot = 101_000.0
    engine.apply(scene.index())
    after = priced(scene, engine)
    assert after[ATM].bid_iv == before.bid_iv
    assert after.forwards[before.expiry_ns].value == pytest.approx(101_000.0)
    assert after.forwards[before.expiry_ns].source == "basis"
    assert after[ATM].delta > before.delta


def test_a_forward_tick_keeps_the_smile_fixed_in_log_moneyness(scene: Scene) -> None:
    engine = running(scene, EngineSettings(jump_floor=0.1))
    before = priced(scene, engine)
    scene.clock.advance(SECOND // 2)
    scene.spot = 105_000.0
    engine.apply(scene.index())
    after = priced(scene, engine)
    assert after["BTC-30D-105000-C"].iv == pytest.approx(before[ATM].iv, abs=1e-12)


def test_a_forward_move_under_a_tenth_of_a_basis_point_reprices_nothing(scene: Scene) -> None:
    engine = running(scene)
    before = priced(scene, engine)
    scene.clock.advance(SECOND // 10)
    engine.apply(scene.index(scene.spot * (1 + 0.9e-5)))
    after = priced(scene, engine)
    assert after[ATM].theo == before[ATM].theo
    assert after.forwards[before[ATM].expiry_ns].received == scene.clock.now()
    scene.clock.advance(SECOND // 10)
    engine.apply(scene.index(scene.spot * (1 + 1.2e-5)))
    assert priced(scene, engine)[ATM].theo != before[ATM].theo


def test_slices_that_did_not_change_are_shared_between_snapshots(scene: Scene) -> None:
    engine = running(scene)
    before = priced(scene, engine)
    scene.clock.advance(SECOND // 100)
    touched = next(i for i in scene.instruments() if i.name == ATM)
    engine.apply(scene.quote(touched, bid=0.05))
    after = priced(scene, engine)
    same = [a.values is b.values for a, b in zip(before.blocks, after.blocks, strict=True)]
    assert same == [True, False, True]


def test_published_arrays_refuse_to_be_written(scene: Scene) -> None:
    block = priced(scene, running(scene)).blocks[0]
    with pytest.raises(ValueError, match="read-only"):
        block.values[0, 0] = 1.0


def test_D01_no_mid_is_made_from_one_side(scene: Scene) -> None:
    engine = running(scene)
    names = {i.name: i for i in scene.instruments()}
    engine.apply(scene.quote(names[ATM], bid=math.nan, bid_size=math.nan))
    engine.apply(scene.quote(names["BTC-30D-110000-C"], ask=math.nan))
    engine.apply(scene.quote(names["BTC-30D-90000-P"], bid=math.nan, ask=math.nan))
    snapshot = priced(scene, engine)
    assert snapshot[ATM].status_of("bid_iv") == (Status.INVALID, Reason.ONE_SIDED)
    assert snapshot[ATM].status_of("ask_iv")[0] is Status.OK
    assert snapshot["BTC-30D-110000-C"].status_of("ask_iv") == (Status.INVALID, Reason.ONE_SIDED)
    for name in (ATM, "BTC-30D-110000-C", "BTC-30D-90000-P"):
        assert snapshot[name].status_of("mid_iv")[0] is Status.INVALID
        assert snapshot[name].get("mid_iv") is None
        assert snapshot[name].status is Status.OK, "the model number comes from the surface"
    assert snapshot["BTC-30D-90000-P"].status_of("ask_iv")[1] == Reason.NO_QUOTE


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_D05_an_underlying_that_is_no_price_is_no_news(scene: Scene, bad: float) -> None:
    engine = running(scene)
    before = priced(scene, engine)
    scene.clock.advance(SECOND // 10)
    engine.apply(scene.index(bad))
    deep = next(iter(scene.instruments()))
    quote = scene.quote(deep, forward=bad, index=bad)
    engine.apply(quote)
    snapshot = priced(scene, engine)
    assert snapshot.index.value == scene.spot
    assert snapshot.forwards[before[ATM].expiry_ns].value == scene.forward
    # The forward of that instant is known from the others; where it is not, there is no volatility.
    assert snapshot[deep.name].get("ask_iv") == pytest.approx(before[deep.name].ask_iv, abs=1e-5)
    scene.clock.advance(3 * SECOND)
    engine.apply(msgspec.structs.replace(quote, received=scene.clock.now(), exchange_ns=None))
    assert priced(scene, engine)[deep.name].status_of("ask_iv")[0] is Status.INVALID


def test_D03_a_silent_underlying_makes_every_dependent_stale(scene: Scene) -> None:
    engine = running(scene)
    priced(scene, engine)
    scene.clock.advance(2 * SECOND + 1)
    snapshot = priced(scene, engine)
    for row in snapshot:
        assert row.status is Status.STALE
        assert row.reasons & Reason.UNDERLYING_STALE
        assert row.status_of("bid_iv")[0] is Status.OK, "the quote itself is younger than its own limit"


def test_crossed_and_locked_quotes_are_marked(scene: Scene) -> None:
    engine = running(scene)
    names = {i.name: i for i in scene.instruments()}
    engine.apply(scene.quote(names[ATM], bid=0.08, ask=0.06))
    engine.apply(scene.quote(names["BTC-30D-105000-C"], bid=0.05, ask=0.05))
    snapshot = priced(scene, engine)
    for field in ("bid_iv", "ask_iv", "mid_iv"):
        status, reasons = snapshot[ATM].status_of(field)
        assert status is Status.INVALID
        assert reasons & Reason.CROSSED
    assert snapshot["BTC-30D-105000-C"].status_of("mid_iv") == (Status.DEGRADED, Reason.LOCKED)


def test_M01_a_bid_below_intrinsic_has_no_volatility_and_degrades_the_mid(scene: Scene) -> None:
    engine = running(scene)
    deep = next(i for i in scene.instruments() if i.name == "BTC-7D-70000-C")
    engine.apply(scene.quote(deep, bid=0.2990, ask=0.3100))
    row = priced(scene, engine)[deep.name]
    assert row.status_of("bid_iv") == (Status.INVALID, Reason.BELOW_INTRINSIC)
    assert row.get("bid_iv") is None
    status, reasons = row.status_of("mid_iv")
    assert status is Status.DEGRADED
    assert reasons & Reason.BELOW_INTRINSIC


def test_M03_a_bid_with_far_less_time_value_than_a_tick_has_a_volatility_that_says_nothing(scene: Scene) -> None:
    engine = running(scene)
    deep = next(i for i in scene.instruments() if i.name == "BTC-7D-70000-C")
    engine.apply(scene.quote(deep, bid=1.0 - 70_000.0 / scene.forward + 0.000002, ask=0.3100))
    row = priced(scene, engine)[deep.name]
    assert row.status_of("bid_iv") == (Status.DEGRADED, Reason.LOW_VEGA)
    assert row.get("bid_iv", allow={Status.DEGRADED})
    status, reasons = row.status_of("mid_iv")
    assert status is Status.DEGRADED
    assert reasons & Reason.LOW_VEGA


def test_M11_a_volatility_that_takes_the_fallback_solver_is_counted(scene: Scene) -> None:
    engine = running(scene)
    priced(scene, engine)
    assert "fallback_iv" not in engine.counters
    high = next(i for i in scene.instruments() if i.name == ATM)
    engine.apply(scene.quote(high, bid=0.9, ask=0.95))
    priced(scene, engine)
    assert engine.counters["fallback_iv"] == 3


def test_a_snapshot_goes_stale_by_its_readers_clock_without_the_engine(scene: Scene) -> None:
    row = priced(scene, running(scene))[ATM]
    assert row.delta > 0.5
    scene.clock.advance(2 * SECOND + 1)
    with pytest.raises(NotTradable, match="STALE: UNDERLYING_STALE") as caught:
        _ = row.delta
    assert caught.value.status is Status.STALE
    assert caught.value.age_ns == 2 * SECOND + 1
    assert row.get("delta", allow={Status.STALE}) is not None
    assert row.bid > 0.0
    scene.clock.advance(10 * SECOND)
    with pytest.raises(NotTradable):
        _ = row.bid


def test_columns_go_stale_by_the_readers_clock_too(scene: Scene) -> None:
    snapshot = priced(scene, running(scene))
    assert set(snapshot.columns()["status"]) == {Status.OK}
    scene.clock.advance(13 * SECOND)
    columns = snapshot.columns()
    assert set(columns["status"]) == {Status.STALE}
    assert set(columns["ask_iv_status"]) == {Status.STALE}
    assert (columns["quote_age_ns"] == 13 * SECOND).all()


def test_silence_turns_quotes_stale_and_the_surface_last_good_then_stale(scene: Scene) -> None:
    engine = running(scene)
    priced(scene, engine)
    for _ in range(26):  # the index lives on, the option quotes do not
        scene.clock.advance(SECOND // 2)
        engine.apply(scene.index())
        snapshot = priced(scene, engine)
    row = snapshot[ATM]
    assert row.status_of("mid_iv") == (Status.STALE, Reason.QUOTE_STALE)
    assert row.status is Status.STALE
    assert row.reasons & Reason.FIT_LAST_GOOD
    assert row.get("iv", allow={Status.STALE}) is not None


def test_a_quote_sent_again_unchanged_proves_that_its_channel_lives(scene: Scene) -> None:
    engine = running(scene)
    priced(scene, engine)
    for _ in range(4):
        scene.clock.advance(5 * SECOND)
        for event in scene.quotes():
            engine.apply(event)
        snapshot = priced(scene, engine)
    assert {row.status for row in snapshot} == {Status.OK}
    assert snapshot[ATM].age_ns("bid") == 0


def test_a_closed_connection_makes_everything_resync_until_quotes_return(scene: Scene) -> None:
    engine = running(scene)
    priced(scene, engine)
    scene.clock.advance(SECOND // 10)
    engine.apply(scene.feed("closed", "reset"))
    snapshot = priced(scene, engine)
    for row in snapshot:
        assert row.status is Status.STALE
        assert row.reasons & Reason.RESYNCING
        assert row.status_of("bid_iv")[0] is Status.STALE
    assert snapshot.feeds[0].reason == "reset"
    scene.clock.advance(SECOND)
    for event in [scene.index(), *scene.quotes()]:
        engine.apply(event)
    assert {row.status for row in priced(scene, engine)} == {Status.OK}


def test_a_few_quotes_after_a_reconnect_do_not_replace_the_last_good_smile(scene: Scene) -> None:
    engine = running(scene)
    before = priced(scene, engine)[ATM].iv
    scene.clock.advance(SECOND // 10)
    engine.apply(scene.feed("closed", "reset"))
    priced(scene, engine)
    scene.clock.advance(SECOND)
    scene.smile = lambda k, ttm: 0.9
    engine.apply(scene.index())
    for event in scene.quotes()[:5]:
        engine.apply(event)
    row = priced(scene, engine)[ATM]
    assert row.get("iv", allow={Status.STALE}) == pytest.approx(before, abs=1e-9)
    assert row.reasons & Reason.FIT_LAST_GOOD


def test_P01_a_rejected_instrument_is_invalid_and_the_others_are_not(scene: Scene) -> None:
    engine = running(scene)
    now = scene.clock.now()
    engine.apply(
        SubscriptionRejected(venue="deribit", received=now, instrument=ATM, channel="ticker", code="not_accepted")
    )
    snapshot = priced(scene, engine)
    assert snapshot[ATM].status is Status.INVALID
    assert snapshot[ATM].reasons & Reason.NOT_TRADING
    assert snapshot[ATM].get("iv", allow=set(Status)) is None
    assert {row.status for row in snapshot if row.name != ATM} == {Status.OK}


def test_a_halted_instrument_is_not_trading_until_it_opens_again(scene: Scene) -> None:
    engine = running(scene)
    halted = next(i for i in scene.instruments() if i.name == ATM)
    engine.apply(scene.quote(halted, state="halted"))
    assert priced(scene, engine)[ATM].reasons & Reason.NOT_TRADING
    scene.clock.advance(SECOND // 10)
    engine.apply(scene.quote(halted))
    assert priced(scene, engine)[ATM].status is Status.OK


def test_N02_an_expiry_is_frozen_marked_and_then_removed() -> None:
    scene = Scene(smile=lambda k, ttm: 0.6)
    engine = running(scene)
    priced(scene, engine)
    name = "BTC-7D-100000-C"
    expiry_ns = START.wall_ns + 7 * NS_PER_DAY
    left = 1200 * SECOND
    scene.clock.set(Instant(expiry_ns - left, START.mono_ns + 7 * NS_PER_DAY - left))
    for event in [scene.index(), *scene.quotes()]:
        engine.apply(event)
    last = priced(scene, engine)[name]
    assert last.status is Status.DEGRADED
    assert last.reasons & Reason.SETTLING
    scene.clock.advance(left)
    for instrument in scene.instruments():
        if instrument.name in (ATM, name):
            engine.apply(scene.quote(instrument))
    assert engine.counters["quote_after_expiry"] == 1
    snapshot = priced(scene, engine)
    for field in VALUE_FIELDS:
        assert snapshot[name].status_of(field)[0] is not Status.OK
    assert snapshot[name].reasons & Reason.EXPIRED
    assert snapshot[name].get("theo", allow=set(Status)) == pytest.approx(last.get("theo", allow=set(Status)))
    scene.clock.advance(EXPIRED_STAYS_NS + 1)
    engine.apply(scene.index())
    after = priced(scene, engine)
    with pytest.raises(UnknownInstrument, match=name):
        _ = after[name]
    assert len(after.forwards) == 2
    assert after.surface is not None
    assert len(after.surface.smiles) == 2


def test_N02_a_year_of_daily_expiries_leaves_nothing_behind() -> None:
    scene = Scene(expiry_days=(1.0,), strikes=(90_000, 100_000, 110_000))
    engine = Engine(clock=scene.clock)
    for day in range(1, 366):
        listed = [option(f"D{day}-{k}", day, k, 1) for k in scene.strikes]
        now = scene.clock.now()
        for instrument in listed:
            engine.apply(InstrumentListed(venue="deribit", received=now, definition=instrument))
            engine.apply(scene.quote(instrument))
        assert len(priced(scene, engine)) in (3, 6)
        scene.clock.advance(NS_PER_DAY)
        priced(scene, engine)
    scene.clock.advance(NS_PER_DAY)
    assert len(priced(scene, engine)) == 0
    assert not engine._listing.rows
    assert not engine._listing.listed
    assert not engine._listing.expiries


def test_C03_numbers_stay_finite_to_the_last_second_and_tend_to_intrinsic() -> None:
    scene = Scene(expiry_days=(1.0,), strikes=tuple(range(95_000, 105_001, 1_000)), smile=lambda k, ttm: 0.6)
    engine = running(scene)
    expiry_ns = START.wall_ns + NS_PER_DAY
    for left in (3600, 60, 1):
        scene.clock.set(Instant(expiry_ns - left * SECOND, START.mono_ns + NS_PER_DAY - left * SECOND))
        for event in [scene.index(), *scene.quotes()]:
            engine.apply(event)
        snapshot = priced(scene, engine)
        for row in snapshot:
            values = [row.get(name, allow=set(Status)) for name in MODEL_FIELDS if name != "iv_error"]
            assert all(value is None or math.isfinite(value) for value in values)
            theo = row.get("price", allow=set(Status))
            if theo is not None:
                intrinsic = max(row.cp * (scene.forward - row.strike), 0.0)
                assert abs(theo - intrinsic) < scene.forward * 0.6 * math.sqrt(left / 31_536_000) * 0.5
                assert left > 1800 or row.status is not Status.OK, "the settlement average is not Black-76"


def test_a_quote_older_than_the_one_held_is_dropped(scene: Scene) -> None:
    engine = running(scene)
    atm = next(i for i in scene.instruments() if i.name == ATM)
    older = scene.quote(atm, exchange_ns=scene.clock.now().wall_ns - 1, bid=0.5)
    engine.apply(older)
    assert priced(scene, engine)[ATM].bid != 0.5
    assert engine.counters["quote_out_of_order"] == 1


def test_C12_a_quote_without_a_venue_time_is_dated_by_its_receipt(scene: Scene) -> None:
    engine = Engine(clock=scene.clock)
    for event in scene.listings():
        engine.apply(event)
    for instrument in scene.instruments():
        engine.apply(scene.quote(instrument, exchange_ns=None))
    row = priced(scene, engine)[ATM]
    assert row.iv == pytest.approx(0.6, abs=0.01)
    assert row.block.quote_exchange_ns[row.index] == -(2**63)


def test_a_new_strike_appears_and_a_delisted_one_goes(scene: Scene) -> None:
    engine = running(scene)
    priced(scene, engine)
    now = scene.clock.now()
    new = option("BTC-30D-102500-C", 30.0, 102_500, 1)
    engine.apply(InstrumentListed(venue="deribit", received=now, definition=new))
    engine.apply(InstrumentExpired(venue="deribit", received=now, instrument="BTC-30D-70000-P"))
    snapshot = priced(scene, engine)
    assert snapshot[new.name].status is Status.OK, "priced at the surface before its first quote"
    assert snapshot[ATM].status is Status.OK
    assert "BTC-30D-70000-P" not in snapshot


def test_the_venues_mark_is_shown_and_used_for_nothing(scene: Scene) -> None:
    engine = running(scene)
    before = priced(scene, engine)[ATM]
    engine.apply(VenueMark(venue="deribit", received=scene.clock.now(), instrument=ATM, mark=0.5, mark_iv=3.0))
    after = priced(scene, engine)[ATM]
    assert (after.mark, after.mark_iv) == (0.5, 3.0)
    assert after.theo == before.theo


def test_with_too_few_quotes_for_a_curve_an_options_own_mid_is_its_volatility() -> None:
    """Two quotes far apart, as in the recording of 2021: no curve through both is any good, and neither is needed."""
    scene = Scene(expiry_days=(160.0,), strikes=(100_000, 900_000), smile=lambda k, ttm: 0.8 if abs(k) < 1 else 1.34)
    engine = Engine(clock=scene.clock)
    for event in scene.listings():
        engine.apply(event)
    for instrument in scene.instruments():
        if instrument.cp > 0:
            engine.apply(scene.quote(instrument))
    snapshot = priced(scene, engine)
    for name, expected in (("BTC-160D-100000-C", 0.8), ("BTC-160D-900000-C", 1.34)):
        row = snapshot[name]
        assert row.status is Status.DEGRADED
        assert row.reasons & Reason.FIT_UNDERDETERMINED
        assert row.get("iv", allow=set(Status)) == pytest.approx(expected, abs=0.01)


def test_unknown_instruments_are_counted(scene: Scene) -> None:
    engine = running(scene)
    engine.apply(scene.quote(option("BTC-1D-1-C", 1.0, 1.0, 1), bid=0.1, ask=0.2))
    assert engine.counters["unknown_instrument"] == 1


def test_the_same_events_give_the_same_bytes(scene: Scene) -> None:
    def run() -> list[str]:
        scene = Scene()
        engine = running(scene)
        digests = [priced(scene, engine).digest()]
        for step in range(5):
            scene.clock.advance(SECOND // 3)
            scene.spot *= 1.001
            scene.forward *= 1.001
            for event in [scene.index(), *scene.quotes()[step::7]]:
                engine.apply(event)
            digests.append(priced(scene, engine).digest())
        return digests

    first = run()
    assert first == run()
    assert len(set(first)) == len(first)


def test_the_next_deadline_is_a_quarter_of_a_second_away_or_the_first_limit(scene: Scene) -> None:
    engine = running(scene)
    assert engine.next_deadline() is None
    now = scene.clock.now()
    priced(scene, engine)
    assert engine.next_deadline() == now.mono_ns + SECOND // 4
    scene.clock.advance(2 * SECOND - SECOND // 10)
    priced(scene, engine)
    assert engine.next_deadline() == now.mono_ns + 2 * SECOND + 1


def test_a_steeper_tick_above_its_price_is_what_the_error_bar_uses() -> None:
    scene = Scene(expiry_days=(30.0,))
    snapshot = priced(scene, running(scene))
    row = snapshot["BTC-30D-100000-C"]
    assert row.iv_error == pytest.approx(0.0001 * scene.forward / row.vega, rel=1e-12)


def test_columns_line_up_with_rows(scene: Scene) -> None:
    snapshot = priced(scene, running(scene))
    columns = snapshot.columns()
    at = list(columns["name"]).index(ATM)
    row = snapshot[ATM]
    for name in ("bid", "iv", "delta", "delta_coin", "theo"):
        assert columns[name][at] == row.get(name)
    assert columns["cp"][at] == 1
    assert columns["strike"][at] == 100_000
    assert np.all(columns["settlement_currency"] == "BTC")
    frame = snapshot.to_pandas()
    assert frame.loc[ATM, "delta"] == row.delta


def test_an_option_delisted_early_is_forgotten_and_one_that_moves_is_in_one_slice_only(scene: Scene) -> None:
    engine = running(scene)
    now = scene.clock.now()
    engine.apply(InstrumentExpired(venue="deribit", received=now, instrument=ATM))
    priced(scene, engine)
    assert ("deribit", ATM) not in engine._listing.listed
    moved = option("BTC-30D-105000-C", 90.0, 105_000, 1)
    engine.apply(InstrumentListed(venue="deribit", received=now, definition=moved))
    snapshot = priced(scene, engine)
    assert [row.expiry_ns for row in snapshot if row.name == moved.name] == [moved.expiry_ns]
    engine.apply(scene.quote(moved))
    assert priced(scene, engine)[moved.name].bid > 0.0


def test_an_option_that_a_listing_halts_and_opens_is_ok_again_without_a_quote(scene: Scene) -> None:
    engine = running(scene)
    each = next(i for i in scene.instruments() if i.name == ATM)
    for state, status in (("halted", Status.INVALID), ("open", Status.OK)):
        changed = msgspec.structs.replace(each, state=state)
        engine.apply(InstrumentChanged(venue="deribit", received=scene.clock.now(), definition=changed))
        assert priced(scene, engine)[ATM].status is status


def test_a_quote_that_opens_an_option_outlives_the_listing_of_another(scene: Scene) -> None:
    engine = running(scene)
    now = scene.clock.now()
    each = next(i for i in scene.instruments() if i.name == ATM)
    halted = msgspec.structs.replace(each, state="halted")
    engine.apply(InstrumentChanged(venue="deribit", received=now, definition=halted))
    engine.apply(scene.quote(each))
    new = option("BTC-30D-102500-C", 30.0, 102_500, 1)
    engine.apply(InstrumentListed(venue="deribit", received=now, definition=new))
    assert priced(scene, engine)[ATM].status is Status.OK


def test_N02_what_has_expired_stays_expired_though_the_wall_clock_steps_back(scene: Scene) -> None:
    engine = running(scene)
    priced(scene, engine)
    now = scene.clock.now()
    scene.clock.set(Instant(now.wall_ns + 7 * NS_PER_DAY, now.mono_ns))
    priced(scene, engine)
    scene.clock.set(now.plus(SECOND))
    for event in [scene.index(), *scene.quotes()]:
        engine.apply(event)
    row = priced(scene, engine)["BTC-7D-100000-C"]
    assert row.status is Status.STALE
    assert row.reasons & Reason.EXPIRED
    scene.clock.advance(EXPIRED_STAYS_NS)
    assert "BTC-7D-100000-C" not in priced(scene, engine)


def test_N02_no_field_is_ok_at_the_expiry_by_the_readers_clock() -> None:
    scene = Scene(expiry_days=(1.0,))
    engine = running(scene)
    scene.clock.advance(NS_PER_DAY - SECOND)
    for event in [scene.index(), *scene.quotes()]:
        engine.apply(event)
    row = priced(scene, engine)["BTC-1D-100000-C"]
    assert row.bid > 0.0
    scene.clock.advance(SECOND)
    assert all(row.status_of(field)[0] is not Status.OK for field in VALUE_FIELDS)


def test_F05_the_few_quotes_that_are_left_make_the_smile_once_the_last_good_one_is_stale(scene: Scene) -> None:
    """They are re-sent unchanged: no quote changes at the moment when waiting ends."""
    engine = running(scene)
    priced(scene, engine)
    engine.apply(scene.feed("closed", "reset"))
    few = [scene.quote(i, exchange_ns=None) for i in scene.instruments() if "30D" in i.name][::3]
    statuses = []
    for _ in range(26):
        scene.clock.advance(SECOND // 2)
        engine.apply(scene.index())
        for quote in few:
            engine.apply(msgspec.structs.replace(quote, received=scene.clock.now()))
        statuses.append(priced(scene, engine)[few[0].instrument].status)
    assert statuses[0] is Status.DEGRADED, "the last good smile"
    assert statuses[-1] is Status.OK


def test_T02_an_option_that_does_not_come_back_is_soon_like_any_other_without_a_quote(scene: Scene) -> None:
    engine = running(scene)
    priced(scene, engine)
    engine.apply(scene.feed("closed", "reset"))
    seen = []
    for _ in range(26):
        scene.clock.advance(SECOND // 2)
        engine.apply(scene.index())
        for each in scene.instruments():
            if each.name != ATM:
                engine.apply(scene.quote(each))
        seen.append(priced(scene, engine)[ATM])
    assert seen[0].reasons & Reason.RESYNCING
    assert seen[-1].status is Status.OK
    assert seen[-1].status_of("mid_iv") == (Status.STALE, Reason.QUOTE_STALE)


def test_without_a_curve_a_number_made_from_a_stale_mid_is_stale() -> None:
    scene = Scene(expiry_days=(30.0,))
    engine = Engine(clock=scene.clock)
    for event in scene.listings():
        engine.apply(event)
    ahead = next(i for i in scene.instruments() if i.name == ATM)
    engine.apply(scene.quote(ahead, forward=math.nan, index=math.nan))
    engine.apply(scene.quote(ahead))
    engine._listing.families["deribit", "btc_usd"].keeper.refit = lambda changes, now: None  # type: ignore[method-assign]
    assert priced(scene, engine)[ATM].status is Status.DEGRADED
    scene.clock.advance(12 * SECOND + 1)
    other = next(i for i in scene.instruments() if i.name == "BTC-30D-105000-C")
    engine.apply(scene.quote(other))
    row = priced(scene, engine)[ATM]
    assert row.status is Status.STALE
    assert row.reasons & Reason.QUOTE_STALE


def test_a_new_expiry_takes_its_place_by_date_though_an_earlier_one_was_not_fitted_for_long() -> None:
    scene = Scene(expiry_days=(2.0,), smile=lambda k, ttm: 0.5)
    engine = running(scene)
    priced(scene, engine)
    scene.clock.advance(NS_PER_DAY)
    later = Scene(expiry_days=(2.5,), smile=lambda k, ttm: 0.8, clock=scene.clock)
    for event in [*later.listings(), *later.quotes()]:
        engine.apply(event)
    snapshot = priced(scene, engine)
    anything = set(Status)
    assert snapshot["BTC-2D-100000-C"].get("iv", allow=anything) == pytest.approx(0.5, abs=0.01)
    assert snapshot["BTC-2.5D-100000-C"].get("iv", allow=anything) == pytest.approx(0.8, abs=0.01)
    assert snapshot.surface is not None
    assert [smile.ttm for smile in snapshot.surface.smiles if smile] == [block.ttm for block in snapshot.blocks]


@pytest.mark.parametrize("wrong", [{"strike": 0.0}, {"strike": math.nan}, {"cp": 0}, {"underlying": "ETH"}])
def test_a_definition_that_cannot_be_priced_is_counted_and_disturbs_nothing(
    scene: Scene, wrong: dict[str, object]
) -> None:
    engine = running(scene)
    before = len(priced(scene, engine))
    bad = msgspec.structs.replace(option("BTC-30D-X", 30.0, 101_000, 1), **wrong)
    engine.apply(InstrumentListed(venue="deribit", received=scene.clock.now(), definition=bad))
    assert engine.counters["bad_definition"] == 1
    assert len(priced(scene, engine)) == before


def test_two_venues_with_an_index_of_one_name_are_refused(scene: Scene) -> None:
    engine = running(scene)
    with pytest.raises(ConfigError, match="btc_usd"):
        engine.apply(msgspec.structs.replace(scene.index(), venue="another"))


def test_nothing_infinite_is_published(scene: Scene) -> None:
    engine = running(scene)
    each = next(i for i in scene.instruments() if i.name == ATM)
    engine.apply(scene.quote(each, bid=math.inf, ask=-math.inf, bid_size=math.inf))
    engine.apply(VenueMark(venue="deribit", received=scene.clock.now(), instrument=ATM, mark=math.inf))
    columns = priced(scene, engine).columns()
    assert not any(np.isinf(columns[name]).any() for name in VALUE_FIELDS)


def test_C12_a_stamp_of_zero_is_no_stamp(scene: Scene) -> None:
    engine = Engine(clock=scene.clock)
    for event in [*scene.listings(), *(scene.quote(i, exchange_ns=0) for i in scene.instruments())]:
        engine.apply(event)
    assert priced(scene, engine)[ATM].iv == pytest.approx(0.6, abs=0.01)


def test_a_stamp_far_ahead_shuts_a_row_only_until_the_next_connection(scene: Scene) -> None:
    engine = running(scene)
    each = next(i for i in scene.instruments() if i.name == ATM)
    engine.apply(scene.quote(each, exchange_ns=scene.clock.now().wall_ns + 60 * SECOND))
    engine.apply(scene.quote(each, bid=0.05))
    assert engine.counters["quote_out_of_order"] == 1
    engine.apply(scene.feed("closed", "reset"))
    engine.apply(scene.quote(each, bid=0.05))
    assert priced(scene, engine)[ATM].bid == 0.05


def test_the_next_deadline_is_no_later_than_the_index_grows_old(scene: Scene) -> None:
    engine = running(scene)
    start = scene.clock.now().mono_ns
    scene.clock.advance(2 * SECOND - SECOND // 10)
    for quote in scene.quotes():
        engine.apply(msgspec.structs.replace(quote, index=math.nan))
    priced(scene, engine)
    assert engine.next_deadline() == start + 2 * SECOND + 1


def test_delta_spot_needs_an_index_as_fresh_as_the_forward(scene: Scene) -> None:
    engine = running(scene)
    priced(scene, engine)
    scene.clock.advance(3 * SECOND)
    for quote in scene.quotes():
        engine.apply(msgspec.structs.replace(quote, index=math.nan))
    row = priced(scene, engine)[ATM]
    assert row.status is Status.OK
    assert row.status_of("delta_spot") == (Status.INVALID, Reason.NO_UNDERLYING)


def test_a_row_is_a_value_that_can_be_compared_hashed_copied_and_pickled(scene: Scene) -> None:
    snapshot = priced(scene, running(scene))
    row = snapshot[ATM]
    assert {row, snapshot[ATM]} == {row}
    assert row != snapshot["BTC-30D-105000-C"]
    assert row != priced(scene, running(scene))[ATM]
    for again in (copy.copy(row), copy.deepcopy(row), pickle.loads(pickle.dumps(row))):
        assert (again.name, again.delta, again.status) == (row.name, row.delta, row.status)
    assert len(repr(snapshot)) < 80


def test_a_stale_number_is_a_refusal_and_an_unknown_one_is_absent(scene: Scene) -> None:
    row = priced(scene, running(scene))[ATM]
    scene.clock.advance(3 * SECOND)
    with pytest.raises(NotTradable) as refused:
        hasattr(row, "delta")
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.status, again.age_ns) == (str(refused.value), Status.STALE, 3 * SECOND)
    assert not hasattr(row, "_repr_html_")
    for ask in (row.get, row.status_of, row.age_ns):
        with pytest.raises(AttributeError, match="nonsense"):
            ask("nonsense")


@pytest.mark.parametrize("times", [3.0, 10.0, 100.0])
def test_D02_an_absurd_ask_is_shown_and_moves_the_surface_by_less_than_a_tenth_of_a_point(
    scene: Scene, times: float
) -> None:
    engine = running(scene)
    before = priced(scene, engine).columns()["iv"]
    each = next(i for i in scene.instruments() if i.name == "BTC-30D-110000-C")
    fair = scene.quote(each).ask
    engine.apply(scene.quote(each, ask=times * fair))
    snapshot = priced(scene, engine)
    assert snapshot[each.name].ask == times * fair
    assert snapshot[each.name].status_of("mid_iv")[0] is not Status.OK
    assert np.abs(snapshot.columns()["iv"] - before).max() < 0.001


def test_N02_a_quote_of_the_last_moment_is_frozen_with_its_own_volatilities() -> None:
    scene = Scene(expiry_days=(1.0,))
    engine = running(scene)
    scene.clock.advance(NS_PER_DAY - SECOND)
    for event in [scene.index(), *scene.quotes()]:
        engine.apply(event)
    priced(scene, engine)
    atm = next(i for i in scene.instruments() if i.name == "BTC-1D-100000-C")
    engine.apply(scene.quote(atm, bid=math.nan))
    scene.clock.advance(SECOND)
    row = priced(scene, engine)[atm.name]
    assert row.get("bid", allow=set(Status)) is None
    assert row.status_of("mid_iv") == (Status.INVALID, Reason.ONE_SIDED | Reason.EXPIRED)
    assert row.get("mid_iv", allow=set(Status)) is None
