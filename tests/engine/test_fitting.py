"""Smiles while time passes: what keeps its certificate, what loses it, and what is published then."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pricer.adapters.events import AnyEvent
from pricer.clock import Instant
from pricer.conventions import NS_PER_DAY, Reason, Status, ttm_years
from pricer.engine import Engine
from pricer.engine.fitting import EPOCH_NS
from pricer.snapshot import Snapshot
from pricer.surfaces import SviParams, SviSmile, VolSurface, check_butterfly, check_calendar
from tests.embedded_chain import EmbeddedChain
from tests.scene import SECOND, Scene
from tests.surfaces.made import audit, chain, quotes, recorded_btc, strikes_of, surface_of

ATM = "BTC-30D-100000-C"


def random_smiles(count: int, seed: int) -> list[SviSmile]:
    """Raw SVI smiles of all shapes, most of them steep or sharp: many have butterfly arbitrage."""
    random = np.random.default_rng(seed)
    found: list[SviSmile] = []
    while len(found) < count:
        b, rho, m, sigma = random.uniform(0, 1.2), random.uniform(-1, 1), random.normal(0, 0.4), random.uniform(0.01, 1)
        floor = b * sigma * math.sqrt(1 - rho * rho)
        a = random.exponential(0.1) - floor
        if b * (1 + abs(rho)) < 2.0:
            found.append(SviSmile(1.0, 100.0, SviParams(a, b, rho, m, sigma)))
    return found


def test_F03_no_certified_smile_loses_butterfly_as_its_time_runs_out() -> None:
    """g is concave in the share of time that is left, and A >= 0 at none: the search finds no counterexample."""
    certified = [found for found in random_smiles(3000, seed=5) if check_butterfly(found).ok]
    assert len(certified) > 300
    for share in (0.999, 0.9, 0.5, 0.1, 1e-3, 1e-6):
        assert all(check_butterfly(found.at(100.0, share)).ok for found in certified)


def test_F03_the_bound_between_a_certificate_and_no_time_holds_point_by_point() -> None:
    k = np.linspace(-3.0, 3.0, 601)
    for found in random_smiles(200, seed=6):
        whole = found.durrleman_g(k)
        w, slope = found.total_variance(k), found.dw(k)
        none = (1.0 - 0.5 * k * slope / w) ** 2
        for share in (0.01, 0.3, 0.8):
            left = found.at(100.0, share).durrleman_g(k)
            assert np.all(left >= (1.0 - share) * none + share * whole - 1e-9 * (1.0 + np.abs(whole)))


def test_F03_with_more_time_a_certified_smile_can_lose_it() -> None:
    certified = [found for found in random_smiles(3000, seed=5) if check_butterfly(found).ok]
    assert sum(not check_butterfly(found.at(100.0, 1.2)).ok for found in certified) > 10


def test_F04_no_pair_of_expiries_crosses_as_time_runs_out() -> None:
    random = np.random.default_rng(8)
    smiles = random_smiles(400, seed=9)
    pairs = 0
    for short, long in zip(smiles[::2], smiles[1::2], strict=True):
        near, far = short.at(100.0, 0.2), long.at(100.0, random.uniform(0.21, 2.0))
        if check_calendar(near, far).ok:
            pairs += 1
            for passed in (1e-4, 0.05, 0.15, 0.1999):
                assert check_calendar(near.at(100.0, 0.2 - passed), far.at(100.0, far.ttm - passed)).ok
    assert pairs > 20


def test_F04_a_surface_of_two_instants_can_cross_at_one() -> None:
    """Why the keeper has an epoch: a longer smile of a while ago stands higher than it does now."""
    far = SviSmile(0.5, 100.0, SviParams(0.1, 0.0, 0.0, 0.0, 1.0))
    near = SviSmile(0.4, 100.0, SviParams(0.0999, 0.0, 0.0, 0.0, 1.0))  # of now, when `far` has 0.45 left
    assert check_calendar(near, far).ok
    assert not check_calendar(near, far.at(100.0, 0.45)).ok


def test_more_time_refits_the_slice_that_would_hold_arbitrage() -> None:
    steep = SviSmile(0.1, 60_000.0, SviParams(0.002, 0.14, -0.7, 0.03, 0.02))
    source = VolSurface.fit([quotes(steep, strikes_of(0.1, reach=4.0))])
    limit = next(t for t in np.arange(0.1, 3.0, 0.05) if not source.at([t], [60_000.0]).certificate.ok)
    again = source.recertified([limit])
    assert again.certificate.ok
    assert again.slices[0].accepted
    assert again.slices[0].ttm == limit
    assert audit(again)[0] > 0.0
    assert source.recertified([0.05]).smiles == source.at([0.05], [60_000.0]).smiles


def test_what_cannot_be_fitted_again_is_refused_and_says_so() -> None:
    steep = surface_of(SviSmile(0.1, 60_000.0, SviParams(0.002, 0.14, -0.7, 0.03, 0.02)))
    (part,) = steep.recertified([30.0]).slices
    assert not part.accepted
    assert part.smile is None, "what cannot be certified is not published"
    assert part.status is Status.INVALID
    assert part.reasons == Reason.FIT_FAILED


# The engine


def steep(k: float, ttm: float) -> float:
    """Free of butterfly arbitrage at ten days, and not at sixty."""
    return math.sqrt(SviSmile(1.0, 1.0, SviParams(0.02, 1.6, -0.6, 0.04, 0.05)).total_variance(k))


def started(scene: Scene) -> Engine:
    engine = Engine(clock=scene.clock)
    for event in [*scene.listings(), scene.index(), *scene.quotes()]:
        engine.apply(event)
    engine.price(scene.clock.now())
    return engine


def moved(scene: Scene, engine: Engine, seconds: float, *, wall: bool = True, quoted: bool = True) -> Snapshot:
    """Some seconds later; with `wall` False the wall clock goes back by as much while time goes on by one second."""
    now = scene.clock.now()
    if wall:
        scene.clock.advance(int(seconds * SECOND))
    else:
        scene.clock.set(Instant(now.wall_ns - int(seconds * SECOND), now.mono_ns + SECOND))
    for event in [scene.index(), *(scene.quotes() if quoted else [])]:
        engine.apply(event)
    return engine.price(scene.clock.now())


def test_C01_a_wall_clock_that_steps_back_has_the_smile_fitted_again_where_it_must_be() -> None:
    scene = Scene(expiry_days=(10.0,), smile=steep)
    engine = started(scene)
    before = engine.price(scene.clock.now())
    assert before.surface is not None
    assert before.surface.certificate.ok
    back = 50 * NS_PER_DAY // SECOND
    now = scene.clock.now()
    longer = before.surface.at([ttm_years(now.wall_ns + 60 * NS_PER_DAY, now.wall_ns)], [scene.forward])
    assert not longer.certificate.ok, "without a new fit the smile would hold arbitrage"
    after = moved(scene, engine, back, wall=False, quoted=False)
    assert after.surface is not None
    assert after.surface.certificate.ok
    assert after.surface.slices[0].accepted
    assert min(audit(after.surface)) > 0.0
    assert after.surface.version > before.surface.version
    assert {block.fitted for block in after.blocks} == {now}, "the quotes are as old as they were"


def test_F01_a_refused_renewal_is_degraded_then_stale_and_never_ok() -> None:
    scene = Scene(expiry_days=(10.0,), smile=steep)
    engine = started(scene)
    before = engine.price(scene.clock.now())
    # A clock a hundred years back: no smile near these quotes is free of arbitrage.
    after = moved(scene, engine, 100 * 365 * 86_400, wall=False, quoted=False)
    assert after.surface is not None
    assert after.surface.smiles == (None,)
    for row in after:
        status, reasons = row.status_of("iv")
        assert status >= Status.DEGRADED
        assert reasons & (Reason.FIT_FAILED | Reason.FIT_UNDERDETERMINED | Reason.FIT_LAST_GOOD)
    assert {block.fitted for block in after.blocks} == {block.fitted for block in before.blocks}
    later = moved(scene, engine, 11.0, quoted=False)
    assert {row.status_of("iv")[0] for row in later} <= {Status.STALE, Status.INVALID}


def test_renewing_the_epoch_keeps_sigma_of_k_and_every_status() -> None:
    market = EmbeddedChain()
    engine = Engine(clock=market.clock)
    for event in [*market.listings(), market.index(), *market.quotes()]:
        engine.apply(event)
    before = engine.price(market.clock.now())
    statuses = before.columns()["status"]
    market.clock.advance(EPOCH_NS + SECOND)
    again: list[AnyEvent] = [market.index(), *market.quotes()]
    for event in again:  # the same quotes: nothing to fit
        engine.apply(event)
    after = engine.price(market.clock.now())
    assert before.surface is not None
    assert after.surface is not None
    k = np.linspace(-0.5, 0.5, 41)
    for old, new in zip(before.surface.smiles, after.surface.smiles, strict=True):
        assert old is not None
        assert new is not None
        share = new.ttm / old.ttm
        if old.ttm > 0.02:  # in a shorter one the same quotes speak of another volatility by now
            np.testing.assert_allclose(new.total_variance(k), share * old.total_variance(k), rtol=1e-3)
    np.testing.assert_array_equal(statuses, after.columns()["status"])


def test_every_published_surface_is_certified_at_its_own_forwards_and_instant() -> None:
    market = EmbeddedChain()
    engine = Engine(clock=market.clock)
    for event in [*market.listings(), market.index(), *market.quotes()]:
        engine.apply(event)
    versions = []
    for step in range(60):
        snapshot = engine.price(market.clock.now())
        surface = snapshot.surface
        assert surface is not None
        assert surface.certificate.ok
        assert surface.certificate.kind == "exact"
        for block, part in zip(snapshot.blocks, surface.slices, strict=True):
            assert part.forward == block.forward.value
            assert part.ttm == ttm_years(block.key.expiry_ns, snapshot.computed_ns)
            assert part.smile is not None
            rows = np.flatnonzero(block.status[-1] == Status.OK)
            np.testing.assert_allclose(
                block.column("iv")[rows], part.smile.iv(block.definition.strike[rows]), rtol=1e-12
            )
        assert min(audit(surface)) > 0.0
        versions.append(surface.version)
        assert snapshot.raw_surface is not None
        assert snapshot.raw_surface.version == surface.version
        for event in market.step(SECOND if step % 10 else 3 * SECOND):
            engine.apply(event)
    assert versions == sorted(versions)
    assert len(set(versions)) == len(versions), "every step had new quotes"


def test_a_forward_tick_fits_nothing_and_leaves_version_and_fit_age() -> None:
    scene = Scene()
    engine = started(scene)
    before = engine.price(scene.clock.now())
    scene.clock.advance(SECOND)
    scene.spot *= 1.01
    engine.apply(scene.index())
    after = engine.price(scene.clock.now())
    assert after.forwards[after[ATM].expiry_ns].value == pytest.approx(1.01 * scene.forward)
    assert before.surface is not None
    assert after.surface is not None
    assert after.surface.version == before.surface.version
    assert set(after.columns()["fit_age_ns"].tolist()) == {SECOND}
    assert after.surface.slices[1].forward == after.forwards[after[ATM].expiry_ns].value


def test_versions_go_on_where_all_expiries_have_gone_and_new_ones_come() -> None:
    scene = Scene(expiry_days=(1.0,))
    engine = started(scene)
    last = engine.price(scene.clock.now()).surface
    assert last is not None
    scene.clock.advance(NS_PER_DAY)
    assert engine.price(scene.clock.now()).surface is None
    scene.expiry_days = (8.0,)
    for event in [*scene.listings(), scene.index(), *scene.quotes()]:
        engine.apply(event)
    first = engine.price(scene.clock.now()).surface
    assert first is not None
    assert first.version > last.version


def test_a_recorded_surface_keeps_its_certificate_to_the_last_minute() -> None:
    surface = VolSurface.fit(recorded_btc())
    first = surface.slices[0].ttm
    for left in (0.9, 0.5, 0.1, 1e-4):
        passed = first * (1.0 - left)
        older = surface.at([part.ttm - passed for part in surface.slices], [part.forward for part in surface.slices])
        assert older.certificate.ok


def test_a_made_chain_keeps_its_certificate_whatever_its_forwards_do() -> None:
    surface = VolSurface.fit(chain(seed=3))
    for move in (0.5, 0.999, 1.001, 2.0):
        again = surface.at([part.ttm for part in surface.slices], [move * part.forward for part in surface.slices])
        assert again.certificate == surface.certificate
