"""The two fits of raw SVI: the free one finds the best curve, the hard one the best without arbitrage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pricer.surfaces import SliceQuotes, SviParams, SviSmile, check_butterfly, check_calendar, select
from pricer.surfaces.svi_free import fit_free, robust_loss
from pricer.surfaces.svi_hard import EPSILON, fit_certified
from tests.surfaces.made import Array, quotes, recorded_spx, smile, strikes_of

NONE = np.empty(0)


def fitted_free(source: SliceQuotes) -> tuple[SviSmile, float]:
    params = np.empty(5)
    observations = select(source).observations
    fit_free(observations, source.ttm, False, params)
    loss = robust_loss(observations, source.ttm, params)
    return SviSmile(source.ttm, source.forward, SviParams(*params.tolist())), loss


def fitted_hard(source: SliceQuotes, start: Array, below: Array = NONE, above: Array = NONE) -> tuple[SviSmile, int]:
    params, evidence = start.copy(), np.empty(9)
    certificates, _ = fit_certified(
        select(source).observations, source.ttm, below, above, NONE, NONE, 0.1, params, evidence
    )
    return SviSmile(source.ttm, source.forward, SviParams(*params.tolist())), certificates


@pytest.mark.parametrize("ttm", [0.002, 0.02, 0.2, 1.0])
def test_a_free_fit_of_exact_quotes_gives_the_curve_back(ttm: float) -> None:
    true = smile(ttm)
    found, loss = fitted_free(quotes(true))
    assert loss < 1e-6
    strikes = strikes_of(ttm)
    np.testing.assert_allclose(found.iv(strikes), true.iv(strikes), atol=2e-5)


@pytest.mark.parametrize("ttm", [0.002, 0.02, 0.2, 1.0])
def test_a_hard_fit_of_exact_quotes_gives_the_curve_back_certified(ttm: float) -> None:
    true = smile(ttm)
    free, _ = fitted_free(quotes(true))
    found, certificates = fitted_hard(quotes(true), np.array(free.params))
    assert certificates >= 1
    strikes = strikes_of(ttm)
    # The barrier and the pull on the bend are worth a hundredth of a half-spread.
    np.testing.assert_allclose(found.iv(strikes), true.iv(strikes), atol=1e-4)


def test_quotes_with_butterfly_arbitrage_get_the_nearest_free_smile() -> None:
    vogt = SviSmile(1.0, 100.0, SviParams(-0.0410, 0.1331, 0.3060, 0.3586, 0.4153))
    source = quotes(vogt, 100.0 * np.exp(np.linspace(-1.2, 1.4, 41)), half_spread=0.002)
    found, certificates = fitted_hard(source, np.array(vogt.params))
    assert certificates >= 1
    assert check_butterfly(found).ok
    # Where Vogt's slice is free of arbitrage, the repair is close to it.
    near = 100.0 * np.exp(np.linspace(-0.8, 0.0, 25))
    assert np.abs(found.iv(near) - vogt.iv(near)).max() < 0.005


def test_a_hard_fit_stays_between_its_neighbours() -> None:
    lower, upper = smile(0.2), smile(0.3)
    # Quotes that would like to cross both: too low on the left, too high on the right.
    strikes = strikes_of(0.25)
    tilted = quotes(smile(0.25), noise=0.15 * np.log(strikes / 60_000.0))
    found, certificates = fitted_hard(
        tilted, np.array(smile(0.25).params), np.array(lower.params), np.array(upper.params)
    )
    assert certificates >= 1
    assert check_calendar(lower, found).ok
    assert check_calendar(found, upper).ok


def test_a_hard_fit_is_a_local_optimum_among_certified_smiles() -> None:
    random = np.random.default_rng(5)
    source = quotes(smile(0.25), noise=random.normal(0.0, 0.004, 25))
    observations = select(source).observations
    free, _ = fitted_free(source)
    found, _ = fitted_hard(source, np.array(free.params))
    best = robust_loss(observations, source.ttm, np.array(found.params))
    tried = 0
    for _ in range(2000):
        shift = 1.0 + random.normal(0.0, 10.0 ** random.uniform(-5.0, -1.0), 5)
        params = np.array(found.params) * shift
        other = SviSmile(source.ttm, source.forward, SviParams(*params.tolist()))
        if check_butterfly(other).ok:
            tried += 1
            assert robust_loss(observations, source.ttm, params) > best - 1e-3
    assert tried > 500


def test_a_start_below_zero_variance_is_no_dead_end() -> None:
    below_zero = np.array(smile(0.25).params)
    below_zero[0] -= 0.2
    found, certificates = fitted_hard(quotes(smile(0.25)), below_zero)
    assert certificates >= 1
    assert float(found.iv(60_000.0)) == pytest.approx(0.55, abs=1e-3)


def test_bounds_push_only_from_their_wrong_side() -> None:
    true = smile(0.25)
    strikes = strikes_of(0.25)
    free_of_bounds = quotes(true)
    bid, ask = free_of_bounds.bid_iv.copy(), free_of_bounds.ask_iv.copy()
    bid[:5] = math.nan
    ask[:5] += 0.3  # an ask far above says nothing
    loose, _ = fitted_free(SliceQuotes(0.25, 60_000.0, strikes, bid, ask))
    np.testing.assert_allclose(loose.iv(strikes[5:]), true.iv(strikes[5:]), atol=5e-5)
    ask[:5] = np.asarray(true.iv(strikes[:5])) - 0.05  # an ask below pulls down
    tight, _ = fitted_free(SliceQuotes(0.25, 60_000.0, strikes, bid, ask))
    assert float(tight.iv(strikes[0])) < float(loose.iv(strikes[0])) - 0.005


def test_a_warm_free_fit_is_no_worse_than_a_cold_one() -> None:
    random = np.random.default_rng(7)
    source = quotes(smile(0.25), noise=random.normal(0.0, 0.003, 25))
    cold, loss = fitted_free(source)
    params = np.array(smile(0.25).params)
    observations = select(source).observations
    fit_free(observations, source.ttm, True, params)
    warm_loss = robust_loss(observations, source.ttm, params)
    assert warm_loss <= loss * 1.001 + 1e-6
    assert cold.ttm == source.ttm


@pytest.mark.parametrize(
    "name", ["jan13_feb21_39dte", "jan24_feb21_28dte_stable", "mar03_apr17_45dte", "mar10_apr17_38dte"]
)
def test_F02_real_spx_slices_get_a_certified_smile_near_the_published_atm_vol(name: str) -> None:
    atm, source = recorded_spx()[name]
    free, free_loss = fitted_free(source)
    found, certificates = fitted_hard(source, np.array(free.params))
    assert certificates >= 1
    assert float(found.iv(source.forward)) == pytest.approx(atm, abs=0.005)
    # Five parameters do not reach 370 strikes at 0.1 vol points; the constraints cost little more than that.
    loss = robust_loss(select(source).observations, source.ttm, np.array(found.params))
    assert loss < 1.4 * free_loss


def test_the_same_input_gives_the_same_bytes() -> None:
    random = np.random.default_rng(11)
    source = quotes(smile(0.25), noise=random.normal(0.0, 0.004, 25))
    start = np.array(smile(0.25).params)
    first, second = start.copy(), start.copy()
    for params in (first, second):
        fit_certified(select(source).observations, 0.25, NONE, NONE, NONE, NONE, EPSILON, params, np.empty(9))
    assert first.tobytes() == second.tobytes()
