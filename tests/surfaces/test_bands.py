"""Error bands: against a Jacobian by differences, by Monte Carlo, and on recorded slices."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from pricer.surfaces import SliceQuotes, SurfaceSlice, SviParams, SviSmile, VolSurface, select
from pricer.surfaces.bands import UNIFORM_VARIANCE, iv_bands, residual_variance
from pricer.surfaces.quotes import HIGH, LOW, WIDTH, K
from pricer.surfaces.slices import SliceProblem, fit_slice
from tests.surfaces.made import ATM, Array, quotes, recorded_btc, recorded_eth, smile, strikes_of, surface_of

TTM = 0.25
SD = ATM * math.sqrt(TTM)


def fitted(source: SliceQuotes) -> SurfaceSlice:
    return fit_slice(SliceProblem(select(source), source.ttm, source.forward))


def bands(of: SviSmile, source: SliceQuotes, k: Array) -> Array:
    out = np.empty(k.size)
    iv_bands(np.array(of.params), of.ttm, select(source).observations, k, out)
    return out


def derivatives(function: Callable[[Array], float], at: Array, h: float = 1e-5) -> Array:
    """Central differences in every coordinate."""
    steps = h * np.eye(at.size)
    return np.array([(function(at + step) - function(at - step)) / (2.0 * h) for step in steps])


def test_it_is_the_covariance_of_a_jacobian_by_differences() -> None:
    random = np.random.default_rng(2)
    true = smile(TTM)
    source = quotes(true, noise=random.normal(0.0, 0.002, 25))  # all residuals below a half-spread: trust is 1
    a, b, rho, m, sigma = true.params
    start = np.array([a, b * (1 + rho), b * (1 - rho), m, math.log(sigma)])

    def iv(k: float, p: Array) -> float:
        moved = SviParams(p[0], 0.5 * (p[1] + p[2]), (p[1] - p[2]) / (p[1] + p[2]), p[3], math.exp(p[4]))
        return math.sqrt(float(SviSmile(TTM, 1.0, moved).total_variance(k)) / TTM)

    observations = select(source).observations
    jacobian = np.array([derivatives(partial(iv, float(k)), start) for k in observations[:, K]])
    mid = 0.5 * (observations[:, LOW] + observations[:, HIGH])
    residuals = (np.array([iv(float(k), start) for k in observations[:, K]]) - mid) / observations[:, WIDTH]
    variance = (float(residuals @ residuals) + UNIFORM_VARIANCE) / 21.0
    assert residual_variance(np.array(true.params), TTM, observations) == pytest.approx(variance, rel=1e-9)

    unit = math.sqrt(float(true.total_variance(0.0)))
    prior = np.array([unit**2, max(start[1], 0.5 * unit), max(start[2], 0.5 * unit), unit, 1.0])
    information = jacobian.T @ jacobian / (variance * 0.005**2) + np.diag(prior**-2.0)
    k = np.linspace(-3.0, 3.0, 13) * SD
    at = np.array([derivatives(partial(iv, float(each)), start) for each in k])
    expected = np.sqrt(np.einsum("ij,jk,ik->i", at, np.linalg.inv(information), at))
    np.testing.assert_allclose(bands(true, source, k), expected, rtol=1e-6)


@pytest.mark.parametrize("noise", [0.4, 1.5])  # in half-spreads: all residuals trusted, and a good part clipped
def test_one_standard_error_covers_two_thirds_of_noisy_fits(noise: float) -> None:
    random = np.random.default_rng(3)
    true = smile(TTM)
    k = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) * SD
    runs, covered = 400, np.zeros(5)
    for _ in range(runs):
        part = fitted(quotes(true, noise=random.normal(0.0, noise * 0.005, 25)))
        assert part.smile is not None
        miss = np.abs(part.smile.iv(60_000.0 * np.exp(k)) - true.iv(60_000.0 * np.exp(k)))
        covered += miss <= part.band(k)
    # Three deviations of a share of 400, and two points for a smile that is not linear in its parameters.
    np.testing.assert_allclose(covered / runs, 0.683, atol=3.0 * math.sqrt(0.683 * 0.317 / runs) + 0.02)


def test_thirty_quotes_know_more_than_five() -> None:
    true = smile(TTM)
    k = np.linspace(-2.0, 2.0, 9) * SD
    few, many = (fitted(quotes(true, strikes_of(TTM, count))).band(k) for count in (5, 30))
    assert np.all(many < few)
    assert few[4] > 1.5 * many[4]


def test_wings_widen_beyond_the_quotes_on_both_sides() -> None:
    band = fitted(quotes(smile(TTM), strikes_of(TTM, 15, reach=1.0))).band(np.linspace(-4.0, 4.0, 17) * SD)
    right, left = band[10:], band[6::-1]
    for wing in (right, left):
        assert np.all(np.diff(wing) > 0.0)
        assert wing[-1] > 10.0 * band[8]


def test_a_side_without_quotes_is_as_wide_as_the_prior_leaves_it() -> None:
    strikes = strikes_of(TTM)
    upper = strikes[strikes >= 60_000.0]
    part = fitted(quotes(smile(TTM), upper))
    near, far = part.band(np.array([0.0, -2.0 * SD]))
    assert far > 20.0 * near
    assert 0.02 < far < 1.0


def test_a_wing_at_its_bound_is_not_taken_for_known() -> None:
    # A right wing of slope nearly 0, and quotes on the left only.
    a, b, _, m, sigma = smile(TTM).params
    bound = SviSmile(TTM, 60_000.0, SviParams(a, b, -1.0 + 1e-9, m, sigma))
    source = quotes(bound, strikes_of(TTM)[:14])
    near, far = bands(bound, source, np.array([-SD, 2.5 * SD]))
    assert far > 20.0 * near


def test_quotes_of_no_noise_are_known_to_the_floor_of_half_spreads() -> None:
    part = fitted(quotes(smile(TTM), half_spread=0.0005))
    band = part.band(np.array([0.0]))[0]
    assert 0.0005 / math.sqrt(25) < band < 0.0005


def test_a_gross_outlier_hardly_moves_the_band() -> None:
    true = smile(TTM)
    random = np.random.default_rng(4)
    noise = random.normal(0.0, 0.002, 25)
    k = np.linspace(-1.5, 1.5, 7) * SD
    before = bands(true, quotes(true, noise=noise), k)
    noise[16] += 0.3
    after = bands(true, quotes(true, noise=noise), k)
    np.testing.assert_allclose(after, before, rtol=0.6)


def test_bounds_that_the_smile_keeps_tell_nothing() -> None:
    true = smile(TTM)
    source = quotes(true)
    bid = source.bid_iv.copy()
    bid[15:] = math.nan
    one_sided = SliceQuotes(TTM, 60_000.0, source.strikes, bid, source.ask_iv)
    without = quotes(true, source.strikes[:15])
    k = np.linspace(-2.0, 2.0, 9) * SD
    np.testing.assert_allclose(bands(true, one_sided, k), bands(true, without, k), rtol=1e-12)


def test_fewer_quotes_than_parameters_have_a_finite_wide_band() -> None:
    for count in (1, 2, 3, 4):
        part = fitted(quotes(smile(TTM), strikes_of(TTM, count)))
        at_quote, off = part.band(np.array([part.k_min, 3.0 * SD]))
        assert 0.001 < at_quote < off < 1.0


@pytest.mark.parametrize("sources", [recorded_btc, recorded_eth])
def test_real_slices_know_the_money_better_than_one_quote_does_and_the_wings_less(
    sources: Callable[[], list[SliceQuotes]],
) -> None:
    made = VolSurface.fit(sources())
    for part in made.slices:
        if not part.determined or part.selection.mids < 8:
            continue
        observations = part.selection.observations
        near = observations[np.argsort(np.abs(observations[:, K]))[:4]]
        spread = float(np.median(near[:, HIGH] - near[:, LOW]))
        money, left, right = part.band(np.array([0.0, part.k_min - 0.5, part.k_max + 0.5]))
        assert money < spread
        assert left > money
        assert right > money


def test_a_band_moves_with_its_slice() -> None:
    part = fitted(quotes(smile(TTM)))
    k = np.linspace(-2.0, 2.0, 5) * SD
    np.testing.assert_allclose(part.at(66_000.0, 0.2).band(k), part.band(k), rtol=0.2)


def test_a_surface_gives_the_band_of_its_slices_and_between_them_the_sum_of_their_shares() -> None:
    made = VolSurface.fit([quotes(smile(0.1)), quotes(smile(0.3))])
    strikes = strikes_of(0.1)
    k = np.log(strikes / 60_000.0)
    for i, ttm in enumerate((0.1, 0.3)):
        np.testing.assert_array_equal(made.band(strikes, i), made.slices[i].band(k))
        np.testing.assert_array_equal(made.band(strikes, ttm), made.slices[i].band(k))
    low, high = (np.asarray(part.band(k)) for part in made.slices)
    between = np.asarray(made.band(strikes, 0.2))
    assert np.all(between <= np.maximum(low, high) * 1.5)
    assert np.all(between > 0.3 * np.minimum(low, high))
    assert np.isnan(made.band(strikes, 0.05)).all()
    assert np.isnan(made.band(strikes, 0.5)).all()


def test_shapes_and_impossible_places() -> None:
    part = fitted(quotes(smile(TTM)))
    assert isinstance(part.band(0.1), float)
    assert part.band(np.zeros((2, 3))).shape == (2, 3)
    assert math.isnan(float(part.band(math.nan)))
    made = VolSurface((part,))
    assert isinstance(made.band(60_000.0, 0), float)
    assert np.isnan(made.band([-1.0, 0.0, math.nan], 0)).all()
    assert math.isnan(float(surface_of().band(60_000.0, 0.1)))
    source = quotes(smile(TTM))
    none = np.full(25, math.nan)
    empty = fitted(SliceQuotes(TTM, 60_000.0, source.strikes, none, none))
    assert empty.smile is None
    assert np.isnan(empty.band([0.0, 0.1])).all()
