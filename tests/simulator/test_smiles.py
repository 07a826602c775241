"""The generated smiles: free of arbitrage for every factor value, smooth in time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from pricer.simulator.smiles import Factors, svi_slices, total_variance

Floats = NDArray[np.float64]

# From an hour to a year, as close together as listed expiries come.
TTM = np.array([1 / 24, 0.4, 1.0, 2, 3, 6, 7, 13, 20, 27, 34, 69, 125, 216, 307, 371]) / 365.0
GRID = np.linspace(-4.0, 4.0, 8001)
CORNERS = list(itertools.product(*[(-c, 0.0, c) for c in Factors.CLIP]))


def durrleman(params: Floats, k: Floats) -> Floats:
    """g(k), negative where a butterfly has a negative price; derivatives of raw SVI in closed form."""
    a, b, rho, m, sigma = params
    root = np.sqrt((k - m) ** 2 + sigma**2)
    w = a + b * (rho * (k - m) + root)
    dw = b * (rho + (k - m) / root)
    d2w = b * sigma**2 / root**3
    g: Floats = (1.0 - k * dw / (2.0 * w)) ** 2 - 0.25 * dw**2 * (1.0 / w + 0.25) + 0.5 * d2w
    return g


@pytest.mark.parametrize("factors", CORNERS, ids=str)
def test_no_butterfly_and_no_calendar_arbitrage_at_the_corners_of_the_factors(factors: tuple[float, ...]) -> None:
    slices = svi_slices(TTM, np.array(factors))
    surface = np.stack([total_variance(np.tile(s, (GRID.size, 1)), GRID) for s in slices])
    assert surface.min() > 0.0
    assert np.diff(surface, axis=0).min() > 0.0
    assert min(durrleman(s, GRID).min() for s in slices) > 0.0


def test_wing_slopes_stay_below_lees_bound() -> None:
    for factors in CORNERS:
        slices = svi_slices(TTM, np.array(factors))
        assert (slices[:, 1] * (1.0 + np.abs(slices[:, 2]))).max() < 2.0


def test_factors_stay_inside_their_clips_and_near_their_spread() -> None:
    rng = np.random.default_rng(5)
    factors = Factors()
    seen = np.empty((4_000, 4))
    for n in range(len(seen)):
        factors.step(7_200.0, float(rng.normal()), rng.normal(size=4))
        seen[n] = factors.values
    assert (np.abs(seen) <= Factors.CLIP).all()
    np.testing.assert_allclose(seen.std(axis=0), Factors.SPREAD, rtol=0.25)


def test_a_tenth_of_a_second_moves_no_volatility_by_more_than_a_thousandth() -> None:
    rng = np.random.default_rng(5)
    factors = Factors()
    k = np.linspace(-0.3, 0.3, TTM.size)
    before = np.sqrt(total_variance(svi_slices(TTM, factors.values), k) / TTM)
    for _ in range(200):
        factors.step(0.1, float(rng.normal()), rng.normal(size=4))
        after = np.sqrt(total_variance(svi_slices(TTM, factors.values), k) / TTM)
        assert np.abs(after / before - 1.0).max() < 1e-3
        before = after


def test_the_level_falls_when_spot_rises() -> None:
    rng = np.random.default_rng(5)
    shocks, levels = rng.normal(size=2_000), np.empty(2_000)
    for n, shock in enumerate(shocks):
        factors = Factors()
        factors.step(60.0, float(shock), rng.normal(size=4))
        levels[n] = factors.values[0]
    assert np.corrcoef(shocks, levels)[0, 1] == pytest.approx(-0.5, abs=0.06)
