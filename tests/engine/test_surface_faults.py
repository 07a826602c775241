"""FAULTS.md section 10 as a consumer of the engine meets it: the rows F01 to F13 bear their ids.

Further tests with these ids: tests/surfaces (fits and surfaces by themselves), test_fitting.py (time),
test_parity.py (F09), test_engine.py.
"""

from __future__ import annotations

import itertools
import math
import random

import msgspec
import numpy as np
import pytest

from pricer.adapters.events import AnyEvent, InstrumentListed, OptionQuote
from pricer.clock import ManualClock
from pricer.conventions import Reason, Status
from pricer.engine import Engine, EngineSettings
from pricer.snapshot import Snapshot
from pricer.surfaces import SliceQuotes, SurfaceSlice, VolSurface
from pricer.surfaces.quotes import HIGH, LOW, K
from tests.embedded_chain import EmbeddedChain
from tests.scene import SECOND, START, Scene
from tests.sidecar.snapshots import whole_chain
from tests.surfaces.made import Array, audit, smile, strikes_of


def embedded(settings: EngineSettings | None = None, seed: int = 7) -> tuple[EmbeddedChain, Engine]:
    """The embedded market and an engine that has priced it once."""
    market = EmbeddedChain(seed)
    engine = Engine(settings or EngineSettings(), clock=market.clock)
    for event in [*market.listings(), market.index(), *market.quotes()]:
        engine.apply(event)
    engine.price(market.clock.now())
    return market, engine


def surface_of(snapshot: Snapshot) -> VolSurface:
    assert snapshot.surface is not None
    return snapshot.surface


def atm_vols(snapshot: Snapshot) -> Array:
    return surface_of(snapshot).term_structure().atm


@pytest.mark.parametrize("seed", range(6))
def test_F06_one_percent_of_absurd_quotes_moves_no_atm_vol_by_a_tenth_of_a_point(seed: int) -> None:
    market, engine = embedded()
    before = atm_vols(engine.price(market.clock.now()))
    draw = random.Random(seed)
    quotes = market.quotes()
    for at in draw.sample(range(len(quotes)), round(0.01 * len(quotes))):
        factor = draw.choice([0.01, 0.2, 3.0, 10.0, 100.0])
        sides = {side: factor * getattr(quotes[at], side) for side in draw.choice([("bid",), ("ask",), ("bid", "ask")])}
        quotes[at] = msgspec.structs.replace(quotes[at], **sides)
    for quote in quotes:
        engine.apply(quote)
    after = engine.price(market.clock.now())
    assert np.abs(atm_vols(after) - before).max() < 0.001
    assert surface_of(after).certificate.ok


@pytest.mark.parametrize("half_life", [0.0, 2.0])
def test_F07_no_smile_jumps_further_in_a_tick_than_its_quotes_are_wide(half_life: float) -> None:
    market, engine = embedded(EngineSettings(surface_half_life=half_life))
    last = surface_of(engine.price(market.clock.now()))
    largest = 0.0
    for _ in range(100):
        for event in market.step():
            engine.apply(event)
        now = surface_of(engine.price(market.clock.now()))
        for old, new in zip(last.slices, now.slices, strict=True):
            seen = new.selection.observations
            seen = seen[(seen[:, LOW] > 0.0) & (seen[:, HIGH] < math.inf)]
            moved = np.abs(sigma(new, seen[:, K]) - sigma(old, seen[:, K]))
            largest = max(largest, float((moved / (seen[:, HIGH] - seen[:, LOW])).max()))
        last = now
    assert 0.0 < largest < 1.0


def sigma(part: SurfaceSlice, k: Array) -> Array:
    assert part.smile is not None
    found: Array = np.sqrt(np.asarray(part.smile.total_variance(k)) / part.ttm)
    return found


def test_F07_two_sets_of_quotes_in_turn_give_two_smiles_and_no_more() -> None:
    """Noise that alternates finds nearly the same answer each time: nothing flips between two solutions."""
    scene = Scene(half_spread_iv=0.004)
    engine = Engine(clock=scene.clock)
    noise = np.random.default_rng(1).normal(0.0, 0.002, (2, len(list(scene.instruments()))))
    for event in scene.listings():
        engine.apply(event)
    k = np.linspace(-0.3, 0.25, 23)
    shown: list[list[Array]] = [[], []]
    for step in range(40):
        scene.clock.advance(SECOND // 10)
        engine.apply(scene.index())
        for shift, each in zip(noise[step % 2], scene.instruments(), strict=True):
            level = scene.smile
            scene.smile = lambda x, ttm, level=level, shift=shift: level(x, ttm) + shift  # type: ignore[misc]
            engine.apply(scene.quote(each))
            scene.smile = level
        part = surface_of(engine.price(scene.clock.now())).slices[1]
        shown[step % 2].append(sigma(part, k))
    for curves in shown:
        again = np.abs(np.diff(np.array(curves[5:]), axis=0)).max(axis=1)
        assert again.max() < 0.1 * scene.half_spread_iv, "a fit ends where no quote would notice, not at one point"
    assert np.abs(shown[0][-1] - shown[1][-1]).max() < 2.0 * scene.half_spread_iv


def test_F08_what_is_extrapolated_says_so_on_the_wire_and_is_finite() -> None:
    scene = Scene()
    engine = Engine(clock=scene.clock)
    for event in [*scene.listings(), scene.index()]:
        engine.apply(event)
    for each in scene.instruments():
        if 80_000 <= each.strike <= 120_000:
            engine.apply(scene.quote(each))
    snapshot = engine.price(scene.clock.now())
    body = whole_chain(snapshot)
    columns = body["columns"]
    outside = 0
    for strike, status, reasons, iv in zip(
        columns["strike"], columns["status"], columns["reasons"], columns["iv"], strict=True
    ):
        beyond = not 80_000 <= strike <= 120_000
        outside += beyond
        assert ("EXTRAPOLATED" in reasons) == beyond
        assert status == ("DEGRADED" if beyond else "OK")
        assert iv is not None
        assert 0.0 < iv < 3.0
    assert outside == 3 * 2 * 4
    for part in surface_of(snapshot).slices:
        assert part.smile is not None
        assert max(part.smile.wing_slopes) <= 2.0  # Lee: the moments that must exist do


def test_F10_an_expiry_that_passes_moves_no_other() -> None:
    scene = Scene(expiry_days=(1.0, 7.0, 30.0))
    engine = Engine(clock=scene.clock)
    for event in [*scene.listings(), scene.index(), *scene.quotes()]:
        engine.apply(event)
    engine.price(scene.clock.now())
    scene.clock.advance(86_400 * SECOND - SECOND)
    for event in [scene.index(), *scene.quotes()]:
        engine.apply(event)
    before = surface_of(engine.price(scene.clock.now()))
    scene.clock.advance(SECOND)
    engine.apply(scene.index())
    after = surface_of(engine.price(scene.clock.now()))
    assert [part.ttm for part in after.slices] == pytest.approx([part.ttm for part in before.slices[1:]], rel=1e-4)
    np.testing.assert_allclose(after.term_structure().atm, before.term_structure().atm[1:], rtol=1e-14)
    assert after.certificate.ok


def test_F11_the_way_from_spot_to_greeks_has_no_fit_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    settings = EngineSettings(dynamics="sticky_moneyness")
    engine = Engine(settings, clock=scene.clock)
    for event in [*scene.listings(), scene.index(), *scene.quotes()]:
        engine.apply(event)
    before = engine.price(scene.clock.now())

    def never(*_: object) -> None:
        raise AssertionError("a fit was waited for")

    for name in ("fit", "updated_many", "inserted"):
        monkeypatch.setattr(VolSurface, name, never)
    for step in range(1, 20):
        scene.clock.advance(SECOND // 20)
        scene.spot = 100_000.0 + 25.0 * step
        engine.apply(scene.index())
        after = engine.price(scene.clock.now())
        assert after.convention.dynamics == "sticky_moneyness"
        for old, new in zip(surface_of(before).slices, surface_of(after).slices, strict=True):
            assert new.forward == pytest.approx(scene.spot)
            # The rule that the snapshot names: sigma of k stays.
            np.testing.assert_allclose(sigma(new, np.array([-0.1, 0.0, 0.1])), sigma(old, np.array([-0.1, 0.0, 0.1])))
        assert not np.array_equal(after.columns()["delta"], before.columns()["delta"])


def test_F11_quotes_that_wait_are_fitted_once_and_the_latest_win(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    engine = Engine(clock=scene.clock)
    for event in [*scene.listings(), scene.index(), *scene.quotes()]:
        engine.apply(event)
    engine.price(scene.clock.now())
    steps: list[int] = []
    update = VolSurface.updated_many

    def counted(surface: VolSurface, changes: dict[int, SliceQuotes]) -> VolSurface:
        steps.append(len(changes))
        return update(surface, changes)

    monkeypatch.setattr(VolSurface, "updated_many", counted)
    base = scene.smile
    for round_ in range(50):
        scene.clock.advance(SECOND // 1000)
        scene.smile = lambda k, ttm, up=0.0002 * round_: base(k, ttm) + up  # type: ignore[misc]
        for event in [scene.index(), *scene.quotes()]:
            engine.apply(event)
    snapshot = engine.price(scene.clock.now())
    assert steps == [3], "one step for all of them"
    latest = scene.smile(0.0, 30 / 365)
    assert latest == pytest.approx(base(0.0, 30 / 365) + 0.0098)
    assert snapshot["BTC-30D-100000-C"].mid_iv == pytest.approx(latest, abs=1e-6)
    assert snapshot["BTC-30D-100000-C"].iv == pytest.approx(latest, abs=0.001)


@pytest.mark.parametrize("seed", range(5))
def test_F11_no_quotes_make_a_fit_take_more_than_a_bounded_number_of_steps(seed: int) -> None:
    """What bounds the time of a fit: 16 runs of at most 30 Gauss-Newton steps, whatever the quotes say."""
    draw = np.random.default_rng(seed)
    strikes = strikes_of(0.25, 40)
    surface = VolSurface.fit(
        [SliceQuotes(0.25, 60_000.0, strikes, smile(0.25).iv(strikes) - 0.01, smile(0.25).iv(strikes))]
    )
    for _ in range(40):
        mid = np.exp(draw.normal(-0.6, draw.choice([0.01, 0.3, 1.5]), strikes.size))
        half = mid * draw.uniform(1e-4, 0.3, strikes.size)
        surface = surface.updated(0, SliceQuotes(0.25, 60_000.0, strikes, mid - half, mid + half))
        assert surface.slices[0].diagnostics.steps <= 480
        assert surface.certificate.ok


@pytest.mark.parametrize("order", ["from below", "from above", "from the middle"])
def test_F12_a_chain_that_comes_in_parts_is_not_ok_before_both_sides_are_covered(order: str) -> None:
    scene = Scene(expiry_days=(30.0,))
    engine = Engine(clock=scene.clock)
    for event in [*scene.listings(), scene.index()]:
        engine.apply(event)
    by_strike = [list(group) for _, group in itertools.groupby(scene.instruments(), key=lambda each: each.strike)]
    key = {
        "from below": lambda pair: pair[0].strike,
        "from above": lambda pair: -pair[0].strike,
        "from the middle": lambda pair: abs(pair[0].strike - scene.forward),
    }[order]
    below = above = 0
    was_ok = False
    for pair in sorted(by_strike, key=key):
        scene.clock.advance(SECOND // 20)
        engine.apply(scene.index())
        for each in pair:
            engine.apply(scene.quote(each))
        below += pair[0].strike < scene.forward
        above += pair[0].strike >= scene.forward
        snapshot = engine.price(scene.clock.now())
        covered = below >= 3 and above >= 3
        statuses = {row.status for row in snapshot if row.get("mid_iv") is not None}
        if covered:
            assert statuses == {Status.OK}
        else:
            assert Status.OK not in statuses
            assert all(Reason.FIT_UNDERDETERMINED in row.reasons for row in snapshot)
        was_ok = was_ok or covered
    assert was_ok


def test_F12_a_side_with_few_listed_strikes_is_covered_by_all_of_them() -> None:
    scene = Scene(expiry_days=(30.0,), strikes=(90_000, 100_000, 105_000, 110_000, 115_000, 120_000))
    engine = Engine(clock=scene.clock)
    for event in [*scene.listings(), scene.index()]:
        engine.apply(event)
    for each in scene.instruments():
        if each.strike > 90_000:
            engine.apply(scene.quote(each))
    assert all(row.status is Status.DEGRADED for row in engine.price(scene.clock.now()))
    for each in scene.instruments():
        engine.apply(scene.quote(each))
    assert all(row.status is Status.OK for row in engine.price(scene.clock.now()))


def two_families(scene: Scene) -> list[list[AnyEvent]]:
    """Listings, and rounds of quotes of equal instants, of two price indices; forwards differ from quote to quote."""
    now = scene.clock.now()
    other = {"price_index": "lin_usdc", "underlying": "LIN", "settlement": "linear"}
    listed: list[AnyEvent] = list(scene.listings())
    for each in scene.instruments():
        definition = msgspec.structs.replace(each, name=f"LIN{each.name}", **other)
        listed.append(InstrumentListed(venue="deribit", received=now, definition=definition))
    rounds = [listed]
    draw = random.Random(4)
    for _ in range(6):
        scene.clock.advance(SECOND // 10)
        events: list[AnyEvent] = [scene.index()]
        for each in scene.instruments():
            scene.forward = 100_000.0 * (1.0 + draw.choice([0.0, 1e-4, 2e-4]))
            quote = scene.quote(each, index=draw.choice([100_000.0, 100_001.0]))
            unit = scene.forward
            events += [quote, linear_twin(quote, unit)]
        rounds.append(events)
    return rounds


def linear_twin(quote: OptionQuote, unit: float) -> OptionQuote:
    return msgspec.structs.replace(
        quote, instrument=f"LIN{quote.instrument}", bid=unit * quote.bid, ask=unit * quote.ask
    )


@pytest.mark.parametrize("seed", range(3))
def test_F13_the_order_of_quotes_of_equal_instants_changes_no_byte(seed: int) -> None:
    rounds = two_families(Scene())

    def run(shuffled: random.Random | None) -> list[str]:
        clock = ManualClock(START)
        engine = Engine(clock=clock)
        digests = []
        for events in rounds:
            clock.set(events[0].received)
            events = list(events)
            if shuffled is not None:
                shuffled.shuffle(events)
            for event in events:
                engine.apply(event)
            digests.append(engine.price(clock.now()).digest())
        return digests

    assert run(random.Random(seed)) == run(None)


def test_smoothing_shows_the_raw_surface_beside_the_published_one_and_follows_it() -> None:
    scene = Scene()
    engine = Engine(EngineSettings(surface_half_life=1.0), clock=scene.clock)
    for event in [*scene.listings(), scene.index(), *scene.quotes()]:
        engine.apply(event)
    first = engine.price(scene.clock.now())
    assert first.raw_surface is not None
    np.testing.assert_allclose(atm_vols(first), first.raw_surface.term_structure().atm, atol=1e-5)
    base = scene.smile
    scene.smile = lambda k, ttm: base(k, ttm) + 0.002
    scene.clock.advance(SECOND // 10)
    for event in [scene.index(), *scene.quotes()]:
        engine.apply(event)
    gaps = []
    for _ in range(60):
        snapshot = engine.price(scene.clock.now())
        assert snapshot.raw_surface is not None
        assert surface_of(snapshot).certificate.ok
        assert min(audit(surface_of(snapshot))) > 0.0
        gaps.append(float(np.abs(atm_vols(snapshot) - snapshot.raw_surface.term_structure().atm).max()))
        iv = snapshot["BTC-30D-100000-C"].get("iv")
        assert iv == pytest.approx(float(surface_of(snapshot).iv(100_000.0, surface_of(snapshot).slices[1].ttm)))
        scene.clock.advance(SECOND // 10)
        engine.apply(scene.index())
    assert gaps[0] > 0.0015
    assert gaps[10] == pytest.approx(0.5 * gaps[0], rel=0.25)
    assert gaps[-1] < 0.1 * gaps[0]


def test_smoothing_replays_to_the_same_bytes() -> None:
    def run() -> list[str]:
        market, engine = embedded(EngineSettings(surface_half_life=2.0))
        digests = []
        for _ in range(15):
            for event in market.step():
                engine.apply(event)
            digests.append(engine.price(market.clock.now()).digest())
        return digests

    assert run() == run()
