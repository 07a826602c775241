"""The smoothing spline: against scipy's and dense linear algebra, its wings, and real chains."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from pricer.surfaces import SplineSmile, check_butterfly, select
from pricer.surfaces.quotes import HIGH, LOW, K
from pricer.surfaces.spline import _constrained, _end_slopes, _smoothed, fit_smile
from tests.surfaces.made import Array, quotes, recorded_btc, recorded_eth, smile, strikes_of


def scattered(n: int = 23, seed: int = 3) -> tuple[Array, Array, Array]:
    """(x, y, weights) of a noisy smile, unevenly spaced."""
    random = np.random.default_rng(seed)
    x = np.sort(random.uniform(-2.0, 2.0, n))
    return x, 1.0 + 0.1 * x * x - 0.1 * x + random.normal(0.0, 0.05, n), random.uniform(0.2, 5.0, n)


def smoothed(x: Array, y: Array, weights: Array, strength: float) -> tuple[Array, Array, float]:
    values, bends = np.empty(x.size), np.empty(x.size)
    freedom = _smoothed(x, y, weights, strength, np.empty((5, x.size)), np.empty((4, x.size)), values, bends)
    return values, bends, freedom


@pytest.mark.parametrize("strength", [1e-6, 1e-2, 1.0, 1e4])
@pytest.mark.parametrize("n", [3, 4, 5, 23])
def test_the_smoother_and_its_trace_are_those_of_dense_algebra(n: int, strength: float) -> None:
    x, y, weights = scattered(n)
    q, r = np.zeros((n, n - 2)), np.zeros((n - 2, n - 2))
    h = np.diff(x)
    for j in range(n - 2):
        q[j : j + 3, j] = 1.0 / h[j], -1.0 / h[j] - 1.0 / h[j + 1], 1.0 / h[j + 1]
        r[j, j] = (h[j] + h[j + 1]) / 3.0
        if j + 1 < n - 2:
            r[j, j + 1] = r[j + 1, j] = h[j + 1] / 6.0
    hat = np.linalg.inv(np.diag(weights) + strength * q @ np.linalg.inv(r) @ q.T) @ np.diag(weights)
    values, bends, freedom = smoothed(x, y, weights, strength)
    np.testing.assert_allclose(values, hat @ y, rtol=1e-6)  # the dense inverse is the less accurate
    np.testing.assert_allclose(bends[1:-1], np.linalg.solve(r, q.T @ (hat @ y)), rtol=1e-6, atol=1e-9)
    assert freedom == pytest.approx(np.trace(hat), rel=1e-6)


def test_the_spline_is_scipys_between_the_knots() -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    x, y, weights = scattered()
    values, bends, _ = smoothed(x, y, weights, 0.3)
    mine = SplineSmile(1.0, 1.0, tuple(x.tolist()), tuple(values.tolist()), tuple(bends.tolist()))
    theirs = interpolate.make_smoothing_spline(x, y, weights, lam=0.3)
    at = np.linspace(x[0], x[-1], 301)[1:-1]
    np.testing.assert_allclose(mine.total_variance(at), theirs(at), rtol=1e-8)
    np.testing.assert_allclose(mine.dw(at), theirs.derivative()(at), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(mine.d2w(at), theirs.derivative(2)(at), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("tilt", [(-9.0, 0.5), (0.5, 9.0), (0.8, -0.8), (-9.0, 9.0), (0.3, 0.6)])
def test_end_slopes_are_inside_lees_bounds_and_the_spline_is_the_best_of_such(tilt: tuple[float, float]) -> None:
    x, _, weights = scattered()
    y = 3.0 + np.where(x < 0.0, tilt[0] * x, tilt[1] * x)
    values, bends = np.empty(x.size), np.empty(x.size)
    unit, level = 0.5, 0.25  # so that the limit is 4 in these coordinates
    _constrained(x, y, weights, 0.1, unit, level, np.empty((5, x.size)), np.empty((4, x.size)), values, bends)
    left, right = _end_slopes(x, values, bends)
    assert -4.0 - 1e-9 <= left <= 1e-9
    assert -1e-9 <= right <= 4.0 + 1e-9

    def objective(v: Array, b: Array) -> float:
        h = np.diff(x)
        roughness = np.sum(h / 3.0 * (b[:-1] ** 2 + b[:-1] * b[1:] + b[1:] ** 2))
        return float(np.sum(weights * (y - v) ** 2) + 0.1 * roughness)

    best = objective(values, bends)
    random = np.random.default_rng(5)
    tried = 0
    for _ in range(400):
        # A mixture with another natural spline, by interpolation of random values (no smoothing).
        other, other_bends, _ = smoothed(x, random.normal(0.0, 1.0, x.size), weights, 1e-12)
        share = random.normal(0.0, 1e-3)
        v, b = values + share * other, bends + share * other_bends
        slopes = _end_slopes(x, v, b)
        if -4.0 <= slopes[0] <= 0.0 <= slopes[1] <= 4.0:
            tried += 1
            assert objective(v, b) > best - 1e-7
    assert tried > 20


def test_the_spline_through_values_is_scipys_natural_one() -> None:
    interpolate = pytest.importorskip("scipy.interpolate")
    x, y, _ = scattered(9)
    mine, theirs = (
        SplineSmile.through(1.0, 1.0, x.tolist(), y.tolist()),
        interpolate.CubicSpline(x, y, bc_type="natural"),
    )
    at = np.linspace(x[0], x[-1], 101)
    np.testing.assert_allclose(mine.total_variance(at), theirs(at), rtol=1e-12)
    np.testing.assert_allclose(mine.d2w(at), theirs(at, 2), rtol=1e-9, atol=1e-9)


def test_wings_are_straight_and_join_with_two_derivatives() -> None:
    found = fit_smile(select(quotes(smile(0.25))).observations, 0.25, 60_000.0)
    assert found is not None
    for end, side in ((found.knots[0], -1.0), (found.knots[-1], 1.0)):
        assert float(found.d2w(end)) == 0.0
        assert float(found.d2w(end + side)) == 0.0
        slope = float(found.dw(end + side))
        assert 0.0 <= side * slope <= 2.0
        assert float(found.dw(end - side * 1e-9)) == pytest.approx(slope, abs=1e-6)
        assert float(found.total_variance(end + 2.0 * side)) == pytest.approx(
            float(found.total_variance(end)) + 2.0 * abs(slope), rel=1e-12
        )


@pytest.mark.parametrize("ttm", [0.002, 0.02, 0.2, 1.0])
def test_exact_quotes_give_the_curve_back(ttm: float) -> None:
    true = smile(ttm)
    found = fit_smile(select(quotes(true, strikes_of(ttm, 41))).observations, ttm, 60_000.0)
    assert found is not None
    near = strikes_of(ttm, 101, reach=1.8)
    np.testing.assert_allclose(found.iv(near), true.iv(near), atol=5e-4)


def test_smoothing_takes_noise_away() -> None:
    true = smile(0.25)
    strikes = strikes_of(0.25, 41)
    raw, left = [], []
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(0.0, 0.004, 41)
        found = fit_smile(select(quotes(true, strikes, noise=noise)).observations, 0.25, 60_000.0)
        assert found is not None
        raw.append(noise)
        left.append(np.asarray(found.iv(strikes)) - np.asarray(true.iv(strikes)))
    # Five or so degrees of freedom of 41 keep a third of the noise.
    assert np.std(left) < 0.5 * np.std(raw)


def test_an_absurd_quote_hardly_moves_the_spline() -> None:
    observations = select(quotes(smile(0.25))).observations.copy()
    before = fit_smile(observations, 0.25, 60_000.0)
    observations[16, LOW : HIGH + 1] += 0.5
    after = fit_smile(observations, 0.25, 60_000.0)
    assert before is not None
    assert after is not None
    assert float(after.iv(60_000.0)) == pytest.approx(float(before.iv(60_000.0)), abs=2e-3)


def test_a_warm_fit_is_the_cold_one() -> None:
    noise = np.random.default_rng(3).normal(0.0, 0.003, 25)
    observations = select(quotes(smile(0.25), noise=noise)).observations
    cold = fit_smile(observations, 0.25, 60_000.0)
    assert cold is not None
    warm = fit_smile(observations, 0.25, 60_000.0, last=cold)
    assert warm is not None
    np.testing.assert_allclose(warm.values, cold.values, rtol=3e-3)


@pytest.mark.parametrize("mids", [1, 2])
def test_one_or_two_mids_give_a_flat_smile(mids: int) -> None:
    observations = select(quotes(smile(0.25))).observations[12 : 12 + mids]
    found = fit_smile(observations, 0.25, 60_000.0)
    assert found is not None
    np.testing.assert_allclose(found.iv([30_000.0, 60_000.0, 90_000.0]), 0.55, atol=0.01)
    assert check_butterfly(found).ok


def test_mids_at_one_strike_are_one_knot_and_bounds_are_none() -> None:
    observations = select(quotes(smile(0.25))).observations
    double = np.insert(observations, 13, observations[12], axis=0)
    double[4, LOW] = -math.inf
    found = fit_smile(double, 0.25, 60_000.0)
    assert found is not None
    assert len(found.knots) == 24
    assert fit_smile(double[4:5], 0.25, 60_000.0) is None


def test_recorded_slices_are_met_and_left_out_quotes_too() -> None:
    inside: list[npt.NDArray[np.bool_]] = []
    left_out: list[npt.NDArray[np.bool_]] = []
    for source in [*recorded_btc(), *recorded_eth()]:
        observations = select(source).observations
        mids = observations[np.isfinite(observations[:, LOW] + observations[:, HIGH])]
        if len(mids) < 10:
            continue
        for held in (np.zeros(len(mids), dtype=bool), np.arange(len(mids)) % 5 == 2):
            found = fit_smile(mids[~held], source.ttm, source.forward)
            assert found is not None
            looked = mids[held] if held.any() else mids
            sigma = np.sqrt(np.asarray(found.total_variance(looked[:, K])) / source.ttm)
            (left_out if held.any() else inside).append((looked[:, LOW] <= sigma) & (sigma <= looked[:, HIGH]))
    assert np.concatenate(inside).mean() > 0.95
    assert np.concatenate(left_out).mean() > 0.88
