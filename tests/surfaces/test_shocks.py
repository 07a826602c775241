"""Scenarios: what each shock moves and what it leaves, its way back, and that no shocked surface carries arbitrage."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from pricer.conventions import Reason, Status
from pricer.surfaces import (
    DYNAMICS,
    AtmShape,
    Dynamics,
    SliceQuotes,
    SviParams,
    SviSmile,
    VolSurface,
    atm_shape,
    check_butterfly,
    moved_iv,
)
from pricer.surfaces.shocks import with_atm_shape
from tests.surfaces.made import TTMS, Array, audit, chain, quotes, recorded_btc, recorded_eth, smile

SMALL = {"vol": 0.02, "skew": 0.01, "curvature": -0.03, "term": 0.03}


@pytest.fixture(scope="module")
def surface() -> VolSurface:
    return VolSurface.fit(chain(seed=1))


@pytest.fixture(scope="module")
def recorded() -> list[VolSurface]:
    return [VolSurface.fit(recorded_btc()), VolSurface.fit(recorded_eth())]


def shocked_by(made: VolSurface, sizes: dict[str, float], dynamics: Dynamics = "sticky_moneyness") -> VolSurface:
    return made.shocked(**sizes, dynamics=dynamics)


def smiles_of(made: VolSurface) -> list[SviSmile]:
    return [part.svi for part in made.slices if part.svi is not None]


def shapes(made: VolSurface) -> Array:
    return np.array([atm_shape(found) for found in smiles_of(made)])


def repaired(made: VolSurface) -> list[bool]:
    return [Reason.ARB_REPAIRED in part.reasons for part in made.slices]


def is_sound(made: VolSurface) -> bool:
    """Certified afresh, and clean in the dense audit."""
    return made.certificate.ok and made.certificate.kind == "exact" and min(audit(made)) > 0.0


def test_atm_shape_is_vol_and_its_derivatives_in_standardised_moneyness() -> None:
    found, h = smile(0.3), 1e-4
    steps = found.forward * np.exp(np.array([-h, 0.0, h]) * math.sqrt(0.3))
    low, middle, high = np.asarray(found.iv(steps))
    shape = atm_shape(found)
    assert shape.vol == pytest.approx(middle, rel=1e-14)
    assert shape.skew == pytest.approx((high - low) / (2.0 * h), rel=1e-6)
    assert shape.curvature == pytest.approx((high - 2.0 * middle + low) / h**2, rel=1e-5)


def test_shape_and_wings_determine_the_smile() -> None:
    random = np.random.default_rng(1)
    for _ in range(200):
        params = SviParams(
            random.uniform(0.0, 0.1), random.uniform(0.01, 1.0), random.uniform(-0.9, 0.9), random.normal() * 0.3,
            random.uniform(0.05, 1.0),
        )  # fmt: skip
        found = SviSmile(0.3, 100.0, params)
        again = with_atm_shape(found, atm_shape(found), found.wing_slopes)
        assert again is not None
        assert again.params == pytest.approx(params, rel=1e-8, abs=1e-10)


@pytest.mark.parametrize(
    "shape", [AtmShape(0.0, 0.0, 0.3), AtmShape(-0.5, 0.0, 0.3), AtmShape(0.5, 5.0, 0.3), AtmShape(0.5, 0.0, -0.3)]
)
def test_a_shape_that_no_such_smile_has_is_refused(shape: AtmShape) -> None:
    assert with_atm_shape(smile(0.3), shape, smile(0.3).wing_slopes) is None


def with_smile(found: SviSmile) -> VolSurface:
    (part,) = VolSurface.fit([quotes(smile(1.0))]).slices
    return VolSurface((replace(part, smile=found, certificate=check_butterfly(found)),))


@pytest.mark.parametrize("name", SMALL)
def test_each_shock_moves_what_it_names_and_nothing_else(surface: VolSurface, name: str) -> None:
    by = SMALL[name]
    shocked = shocked_by(surface, {name: by})
    assert not any(repaired(shocked))
    asked = np.zeros((len(TTMS), 3))
    column = {"vol": 0, "skew": 1, "curvature": 2, "term": 0}[name]
    asked[:, column] = by * np.array(TTMS) if name == "term" else by
    np.testing.assert_allclose(shapes(shocked) - shapes(surface), asked, atol=1e-11)
    for before, after in zip(smiles_of(surface), smiles_of(shocked), strict=True):
        assert after.wing_slopes == pytest.approx(before.wing_slopes, rel=1e-13)
        assert (after.ttm, after.forward) == (before.ttm, before.forward)


def test_a_vol_shock_is_nearly_parallel_over_the_quotes(surface: VolSurface) -> None:
    shocked = surface.shocked(vol=0.05)
    for before, after in zip(surface.slices, shocked.slices, strict=True):
        assert before.smile is not None
        assert after.smile is not None
        strikes = before.forward * np.exp(np.linspace(before.k_min, before.k_max, 41))
        rise = np.asarray(after.smile.iv(strikes)) - before.smile.iv(strikes)
        np.testing.assert_allclose(rise, 0.05, atol=0.012)


def test_several_shocks_at_once_add_up(surface: VolSurface) -> None:
    together = shocked_by(surface, {"spot": -0.05} | SMALL)
    by_turns = surface.shocked(spot=-0.05)
    for name, by in SMALL.items():
        by_turns = shocked_by(by_turns, {name: by})
    assert not any(repaired(together))
    np.testing.assert_allclose(shapes(together), shapes(by_turns), atol=1e-11)


@pytest.mark.parametrize("spot", [0.05, -0.08])
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_spot_shock_moves_the_forwards_and_the_smiles_by_the_rule(
    surface: VolSurface, dynamics: Dynamics, spot: float
) -> None:
    shocked = surface.shocked(spot=spot, dynamics=dynamics)
    assert is_sound(shocked)
    compared = 0
    for before, after, flag in zip(surface.slices, shocked.slices, repaired(shocked), strict=True):
        assert before.smile is not None
        assert after.smile is not None
        assert after.forward == after.smile.forward == pytest.approx(before.forward * (1.0 + spot), rel=1e-15)
        if not flag:
            strikes = np.linspace(40_000.0, 90_000.0, 21)
            wanted = moved_iv(before.smile, strikes, dynamics, forward=after.forward)
            np.testing.assert_allclose(after.smile.iv(strikes), wanted, rtol=1e-12)
            compared += 1
    assert compared >= 6


def test_the_quoted_range_stays_with_what_was_quoted(surface: VolSurface) -> None:
    before = surface.slices[5]
    by_strike = surface.shocked(spot=0.1, dynamics="sticky_strike").slices[5]
    by_moneyness = surface.shocked(spot=0.1, dynamics="sticky_moneyness").slices[5]
    assert by_strike.forward * math.exp(by_strike.k_max) == pytest.approx(before.forward * math.exp(before.k_max))
    assert (by_moneyness.k_min, by_moneyness.k_max) == (before.k_min, before.k_max)


def test_a_shock_of_nothing_is_the_surface_itself(surface: VolSurface) -> None:
    assert surface.shocked() is surface
    assert surface.shocked(vol=0.0, dynamics="minimum_variance") is surface


@pytest.mark.parametrize("name", [*SMALL, "spot"])
def test_a_shock_and_its_opposite_cancel(surface: VolSurface, name: str) -> None:
    for by in (SMALL.get(name, 0.06), -SMALL.get(name, 0.06)):
        there = shocked_by(surface, {name: by})
        back = shocked_by(there, {name: 1.0 / (1.0 + by) - 1.0 if name == "spot" else -by})
        assert not any(repaired(there) + repaired(back))
        for first, last in zip(smiles_of(surface), smiles_of(back), strict=True):
            assert last.params == pytest.approx(first.params, rel=1e-8, abs=1e-11)
            assert last.forward == pytest.approx(first.forward, rel=1e-14)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_spot_moves_under_every_rule_cancel(surface: VolSurface, dynamics: Dynamics) -> None:
    back = surface.shocked(spot=0.02, dynamics=dynamics).shocked(spot=1.0 / 1.02 - 1.0, dynamics=dynamics)
    assert not any(repaired(back))
    for first, last in zip(smiles_of(surface), smiles_of(back), strict=True):
        assert last.params == pytest.approx(first.params, rel=1e-9, abs=1e-12)


def test_a_shocked_surface_is_a_new_value_that_has_met_no_quotes(surface: VolSurface) -> None:
    before = smiles_of(surface)
    shocked = surface.shocked(vol=0.03)
    assert smiles_of(surface) == before
    assert shocked.version == surface.version + 1
    assert shocked.diagnostics.mids == 0
    assert math.isnan(shocked.diagnostics.rmse)
    assert shocked.diagnostics.excluded == {}
    assert [part.status for part in shocked.slices] == [Status.OK] * len(TTMS)


EXTREME = [
    {"spot": -0.9}, {"spot": 9.0}, {"vol": 3.0}, {"vol": -0.5}, {"vol": -5.0}, {"skew": 1.0}, {"skew": -1.0},
    {"curvature": 5.0}, {"curvature": -2.0}, {"term": 2.0}, {"term": -2.0},
    {"spot": -0.5, "vol": 0.8, "skew": -0.3, "curvature": 0.5, "term": -0.4},
]  # fmt: skip


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("sizes", EXTREME, ids=str)
def test_F03_extreme_shocks_give_certified_surfaces(
    surface: VolSurface, sizes: dict[str, float], dynamics: Dynamics
) -> None:
    shocked = shocked_by(surface, sizes, dynamics)
    assert is_sound(shocked)
    moved = [smile != before for smile, before in zip(smiles_of(shocked), smiles_of(surface), strict=True)]
    assert any(moved)
    for part, flag in zip(shocked.slices, repaired(shocked), strict=True):
        assert part.status is (Status.DEGRADED if flag else Status.OK)
        assert part.diagnostics.path == ("blended" if flag else "none")
    # And from there back to calm.
    assert is_sound(shocked_by(shocked, {name: -0.3 * by for name, by in sizes.items() if name != "spot"}))


@pytest.mark.parametrize("seed", range(3))
def test_F04_random_shocks_of_recorded_surfaces_never_publish_arbitrage(recorded: list[VolSurface], seed: int) -> None:
    random = np.random.default_rng(seed)
    for step, made in itertools.product(range(8), recorded):
        sizes = dict(zip(("spot", "vol", "skew", "curvature", "term"), random.normal(0.0, 1.0, 5), strict=True))
        scales = {"spot": 0.1, "vol": 0.05, "skew": 0.03, "curvature": 0.05, "term": 0.03}
        sizes = {name: scales[name] * value for name, value in sizes.items()}
        shocked = shocked_by(made, sizes, DYNAMICS[step % len(DYNAMICS)])
        assert is_sound(shocked)


@pytest.mark.parametrize(
    "sizes",
    [{"vol": -0.01}, {"vol": -0.05}, {"vol": 0.1}, {"skew": -0.05}, {"skew": 0.05}, {"curvature": -0.03}],
    ids=str,
)
def test_recorded_surfaces_take_all_of_a_usual_shock(recorded: list[VolSurface], sizes: dict[str, float]) -> None:
    # Their neighbours touch but for a hair: what gives way is the wings, beyond the quotes.
    (name,) = sizes
    asked = np.zeros(3)
    asked[["vol", "skew", "curvature"].index(name)] = sizes[name]
    for made in recorded:
        shocked = shocked_by(made, sizes)
        np.testing.assert_allclose(shapes(shocked) - shapes(made), np.tile(asked, (len(made.slices), 1)), atol=1e-9)
        slopes = [np.array([found.wing_slopes for found in smiles_of(value)]) for value in (made, shocked)]
        gave = ~np.isclose(slopes[1], slopes[0], rtol=1e-9, atol=0.0).all(axis=1)
        assert gave.tolist() == repaired(shocked)
        assert np.abs(np.log(slopes[1] / slopes[0])).max() < math.log(1.5)


@pytest.mark.parametrize("spot", [-0.1, 0.1])
def test_a_spot_move_far_beyond_a_daily_expiry_holds_nobody_else_up(recorded: list[VolSurface], spot: float) -> None:
    # A tenth is ten deviations of the recorded BTC chain's first expiry, and leads beyond its smile's wing.
    made = recorded[0]
    shocked = made.shocked(spot=spot, dynamics="sticky_strike")
    assert is_sound(shocked)
    kept = []
    for before, after in zip(smiles_of(made), smiles_of(shocked), strict=True):
        kept.append(float(after.iv(after.forward)) == pytest.approx(float(before.iv(after.forward)), rel=1e-9))
    assert kept == [False] + [True] * (len(kept) - 1)
    assert repaired(shocked)[0]


def test_beyond_that_the_whole_surface_takes_one_share_of_the_shock(recorded: list[VolSurface]) -> None:
    for made in recorded:
        shocked = made.shocked(vol=-0.7)
        share = (shapes(shocked) - shapes(made)) / -0.7
        np.testing.assert_allclose(share[:, 1:], 0.0, atol=1e-9)  # skew and curvature stay, whatever the share
        np.testing.assert_allclose(share[:, 0], share[0, 0], atol=1e-9)
        assert 0.1 < share[0, 0] < shapes(made)[:, 0].min() / 0.7
        assert all(repaired(shocked))


def test_the_share_is_as_large_as_the_certificates_allow() -> None:
    made = VolSurface.fit([quotes(smile(0.25))])
    (before,) = shapes(made)
    (after,) = shapes(made.shocked(vol=-0.7))
    taken = before[0] - after[0]
    assert 0.4 < taken < before[0]
    assert not any(
        np.isclose(shapes(made.shocked(vol=-taken * 1.03)), before - np.array([taken * 1.03, 0.0, 0.0]))[:, 0]
    )


def test_a_flat_smile_takes_a_vol_shock_and_no_skew() -> None:
    flat = SviSmile(0.25, 60_000.0, SviParams(0.04, 0.0, 0.0, 0.0, 0.1))
    made = with_smile(flat)
    assert atm_shape(smiles_of(made.shocked(vol=0.1))[0]) == pytest.approx(AtmShape(0.5, 0.0, 0.0))
    tilted = made.shocked(skew=0.1)
    assert smiles_of(tilted) == [flat]
    assert repaired(tilted) == [True]


def test_F03_a_surface_with_arbitrage_is_mended_by_its_wings_or_refused() -> None:
    vogt = SviSmile(1.0, 100.0, SviParams(-0.0410, 0.1331, 0.3060, 0.3586, 0.4153))
    mended = with_smile(vogt).shocked(vol=0.001)
    assert is_sound(mended)
    assert repaired(mended) == [True]
    assert smiles_of(mended)[0].wing_slopes[1] < vogt.wing_slopes[1]
    with pytest.raises(ValueError, match="carries arbitrage"):
        with_smile(SviSmile(1.0, 100.0, SviParams(-0.5, 0.1, 0.0, 0.0, 0.2))).shocked(vol=0.001)


def test_slices_without_a_smile_get_the_new_forward_and_no_smile() -> None:
    sources = chain(seed=1)
    none = np.full(25, math.nan)
    sources[2] = SliceQuotes(sources[2].ttm, sources[2].forward, sources[2].strikes, none, none)
    shocked = VolSurface.fit(sources).shocked(spot=0.1, vol=0.05)
    assert shocked.smiles[2] is None
    assert shocked.slices[2].forward == pytest.approx(66_000.0)
    assert is_sound(shocked)
    assert VolSurface.fit([]).shocked(vol=0.1).slices == ()


def test_quotes_after_a_shock_are_fitted_as_ever(surface: VolSurface) -> None:
    shocked = surface.shocked(spot=0.1, vol=0.1)
    fitted = shocked.updated_many(dict(enumerate(chain(seed=2))))
    assert fitted.certificate.ok
    assert fitted.diagnostics.inside_spread > 0.9


@pytest.mark.parametrize("name", [*SMALL, "spot"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_shock_that_is_no_number_is_named(surface: VolSurface, name: str, bad: float) -> None:
    with pytest.raises(ValueError, match=name):
        shocked_by(surface, {name: bad})


def test_impossible_spots_and_unknown_rules_are_named(surface: VolSurface) -> None:
    with pytest.raises(ValueError, match=r"spot.*-1"):
        surface.shocked(spot=-1.0)
    with pytest.raises(ValueError, match="'sticky'"):
        surface.shocked(spot=0.1, dynamics="sticky")  # type: ignore[arg-type]
