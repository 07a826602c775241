"""What is read off a surface by expiry: deltas, the money, term structure, forward volatility, the index."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pricer.conventions import Reason, Status
from pricer.surfaces import VolSurface, quantile, variance_swap
from tests.surfaces.made import TTMS, chain, flat, smile, surface_of


@pytest.fixture(scope="module")
def surface() -> VolSurface:
    return surface_of(*(smile(ttm) for ttm in TTMS))


def test_an_expiry_is_a_ttm_or_the_index_of_a_slice(surface: VolSurface) -> None:
    for index in (3, -5):
        assert surface.ttm(index) == TTMS[3]
        assert surface.smile(index) is surface.slices[3].smile
        assert surface.forward(index) == surface.forward(TTMS[3])
        assert surface.skew(index) == surface.skew(TTMS[3])
    assert surface.ttm(3.0) == 3.0
    with pytest.raises(IndexError):
        surface.atm(len(TTMS))


def test_a_ttm_is_in_years_whatever_the_type_of_the_number() -> None:
    # Forwards far apart: that of slice 1 in the place of that of one year would show.
    carried = surface_of(*(replace(smile(ttm), forward=60_000.0 * math.exp(0.5 * ttm)) for ttm in TTMS))
    assert carried.forward(1) != carried.forward(1.0)
    assert carried.iv(50_000.0, 1) == carried.iv(50_000.0, 1.0)
    last = carried.slices[-1]
    edge = math.exp(last.k_max) * 0.999
    for strike in (50_000.0, carried.forward(1.0) * edge, carried.forward(1) * edge):
        assert carried.iv_status(strike, 1) == carried.iv_status(strike, 1.0)


def test_the_smile_at_any_time_is_the_surface_there(surface: VolSurface) -> None:
    k = np.linspace(-1.0, 1.0, 21)
    for ttm in (0.001, 0.01, 0.1, 1.0, 3.0):
        found = surface.smile(ttm)
        assert found is not None
        assert (found.ttm, found.forward) == (ttm, surface.forward(ttm))
        np.testing.assert_allclose(found.total_variance(k), surface.total_variance(k, ttm), rtol=1e-13)


def test_a_volatility_by_delta_is_the_surface_at_its_strike(surface: VolSurface) -> None:
    point = surface.strike_at_delta(-0.25, 0.1, convention="premium_adjusted")
    assert point.iv == pytest.approx(float(surface.iv(point.strike, 0.1)), rel=1e-12)
    assert (point.status, point.reasons) == (Status.OK, Reason(0))
    assert surface.iv_at_delta(-0.25, 0.1, convention="premium_adjusted") == point.iv


def test_a_strike_outside_the_quotes_says_so(surface: VolSurface) -> None:
    assert surface.strike_at_delta(0.001, 3, convention="forward").reasons == Reason.EXTRAPOLATED
    beyond = surface.strike_at_delta(0.25, 2.0, convention="spot", spot=60_000.0)
    assert (beyond.status, beyond.reasons) == (Status.DEGRADED, Reason.EXTRAPOLATED)


def test_a_delta_without_a_strike_says_so(surface: VolSurface) -> None:
    point = surface.strike_at_delta(0.95, 3, convention="premium_adjusted")
    assert (point.status, point.reasons) == (Status.INVALID, Reason.MODEL_LIMIT)
    assert math.isnan(surface.iv_at_delta(0.95, 3, convention="premium_adjusted"))


def test_at_the_money_between_expiries_is_the_constant_maturity_volatility() -> None:
    made = surface_of(flat(0.5, 0.05), flat(0.7, 0.15))
    w = 0.5**2 * 0.05 * 0.25 + 0.7**2 * 0.15 * 0.75
    assert made.atm(0.125) == pytest.approx(math.sqrt(w / 0.125), rel=1e-14)
    assert made.atm(0.125, "delta_neutral") == pytest.approx(made.atm(0.125), rel=1e-14)


def test_butterfly_is_taken_against_the_money_as_named(surface: VolSurface) -> None:
    wings = [surface.iv_at_delta(delta, 4, convention="forward") for delta in (0.25, -0.25)]
    assert surface.butterfly(0.25, 4) == pytest.approx(np.mean(wings) - surface.atm(4), rel=1e-12)
    neutral = surface.atm(4, "delta_neutral")
    assert surface.butterfly(0.25, 4, atm="delta_neutral") == pytest.approx(np.mean(wings) - neutral, rel=1e-12)
    assert surface.risk_reversal(0.25, 4) == pytest.approx(wings[0] - wings[1], rel=1e-12)


def test_the_premium_adjusted_straddle_is_the_money_of_premium_adjusted_butterflies(surface: VolSurface) -> None:
    wings = [surface.iv_at_delta(delta, 4, convention="premium_adjusted") for delta in (0.25, -0.25)]
    money = surface.atm(4, "delta_neutral", premium_adjusted=True)
    assert money != surface.atm(4, "delta_neutral")
    found = surface.butterfly(0.25, 4, convention="premium_adjusted", atm="delta_neutral")
    assert found == pytest.approx(np.mean(wings) - money, rel=1e-12)


def test_the_term_structure_is_the_figures_of_all_expiries(surface: VolSurface) -> None:
    found = surface.term_structure()
    assert found.ttm.tolist() == list(TTMS)
    np.testing.assert_allclose(found.atm, 0.55, rtol=1e-13)
    np.testing.assert_allclose(found.forward_vol, 0.55, rtol=1e-11)
    assert found.skew.tolist() == [surface.skew(i) for i in range(len(TTMS))]
    assert found.forward.tolist() == [60_000.0] * len(TTMS)


def test_the_forward_vols_of_a_term_structure_are_those_between_its_expiries() -> None:
    made = surface_of(flat(0.5, 0.05), flat(0.7, 0.15), flat(0.3, 0.2))
    found = made.term_structure()
    np.testing.assert_allclose(found.forward_vol, [0.5, made.forward_vol(0, 1), math.nan], rtol=1e-13)
    monthly = made.term_structure([30 / 365, 60 / 365])
    np.testing.assert_allclose(monthly.atm, [made.atm(30 / 365), made.atm(60 / 365)], rtol=1e-14)
    with pytest.raises(ValueError, match="rise"):
        made.term_structure([0.2, 0.1])


def test_forward_variance_adds_up_at_every_moneyness(surface: VolSurface) -> None:
    for k in (-0.3, 0.0, 0.2):
        near, far = float(surface.total_variance(k, 0.05)), float(surface.total_variance(k, 0.6))
        assert near + surface.forward_vol(0.05, 0.6, k) ** 2 * 0.55 == pytest.approx(far, rel=1e-13)


def test_forward_volatility_is_nan_where_variance_falls_and_needs_a_later_expiry(surface: VolSurface) -> None:
    assert math.isnan(surface_of(flat(0.8, 0.1), flat(0.4, 0.3)).forward_vol(0, 1))
    with pytest.raises(ValueError, match="later expiry"):
        surface.forward_vol(2, 2)
    with pytest.raises(ValueError, match="later expiry"):
        surface.forward_vol(0.5, 0.1)


def test_the_variance_swap_of_a_slice_is_that_of_its_smile(surface: VolSurface) -> None:
    assert surface.variance_swap(4) == variance_swap(smile(TTMS[4]))
    assert surface.variance_swap(0.2) > 0.55**2  # wings above the money


def test_the_index_of_flat_smiles_is_the_constant_maturity_volatility() -> None:
    made = surface_of(flat(0.5, 20 / 365), flat(0.7, 50 / 365))
    assert made.vol_index() == pytest.approx(made.atm(30 / 365), rel=1e-11)
    assert made.vol_index(days=5) == pytest.approx(0.5, rel=1e-11)
    assert made.vol_index(days=500) == pytest.approx(0.7, rel=1e-11)


def test_the_index_is_linear_in_the_variance_swaps_and_near_that_of_the_smile_between(surface: VolSurface) -> None:
    near, far, ttm = TTMS[2], TTMS[3], 30 / 365
    w = np.interp(ttm, [near, far], [surface.variance_swap(2) * near, surface.variance_swap(3) * far])
    assert surface.vol_index() == pytest.approx(math.sqrt(w / ttm), rel=1e-12)
    assert surface.vol_index() == pytest.approx(math.sqrt(surface.variance_swap(ttm)), abs=2e-3)


def test_a_slice_without_a_smile_has_its_neighbours(surface: VolSurface) -> None:
    sources = chain(seed=1)
    none = np.full(25, math.nan)
    sources[2] = type(sources[2])(TTMS[2], 60_000.0, sources[2].strikes, none, none)
    partly = VolSurface.fit(sources)
    assert partly.smiles[2] is None
    assert partly.atm(2) == pytest.approx(float(partly.iv(60_000.0, TTMS[2])), rel=1e-13)
    assert np.isfinite(partly.term_structure().atm).all()


def test_a_surface_of_nothing_has_no_figures() -> None:
    empty = surface_of()
    assert empty.smile(0.1) is None
    point = empty.strike_at_delta(0.25, 0.1, convention="forward")
    assert (point.status, point.reasons) == (Status.INVALID, Reason.FIT_UNDERDETERMINED)
    figures = [
        empty.atm(0.1),
        empty.skew(0.1),
        empty.risk_reversal(0.25, 0.1),
        empty.butterfly(0.25, 0.1),
        empty.forward_vol(0.1, 0.2),
        empty.variance_swap(0.1),
        empty.vol_index(),
    ]
    assert np.isnan(figures).all()
    assert empty.term_structure().ttm.size == 0


@pytest.mark.parametrize("ttm", [0.0, -1.0, math.nan, math.inf])
def test_there_is_no_smile_at_an_impossible_time(surface: VolSurface, ttm: float) -> None:
    assert surface.smile(ttm) is None
    assert math.isnan(surface.atm(ttm))
    assert surface.strike_at_delta(0.25, ttm, convention="forward").status is Status.INVALID


def test_figures_of_a_fitted_market_are_those_of_the_smiles_it_was_made_from(surface: VolSurface) -> None:
    fitted = VolSurface.fit(chain())
    for i in range(len(TTMS)):
        assert fitted.atm(i) == pytest.approx(surface.atm(i), abs=1e-4)
        assert fitted.risk_reversal(0.25, i) == pytest.approx(surface.risk_reversal(0.25, i), abs=5e-4)
        assert fitted.butterfly(0.25, i) == pytest.approx(surface.butterfly(0.25, i), abs=5e-4)
        made, source = fitted.smile(i), surface.smile(i)
        assert made is not None
        assert source is not None
        np.testing.assert_allclose(quantile(made, [0.05, 0.5, 0.95]), quantile(source, [0.05, 0.5, 0.95]), rtol=2e-3)
