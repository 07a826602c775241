"""The exercise boundary: its ends, its direction, its laws near expiry and for ever."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pricer.kernels.exercise_boundary import (
    KRONROD,
    LOWER,
    LOWER_H,
    NODES,
    UPPER,
    UPPER_H,
    cumulative,
    distance,
    first_guess,
    linearise,
    phi,
    solve,
    start,
    workspace,
)


def boundary(r: float, q: float, ttm: float, sigma: float, side: float = UPPER) -> tuple[float, np.ndarray]:
    """The horizon, and the boundary from expiry to there at equal steps of √time."""
    work = workspace()
    horizon = solve(r, q, ttm, sigma, work)
    return horizon, np.exp([-distance(xi, r, q, side, work) for xi in np.linspace(0.0, 1.0, 201)])


@pytest.mark.parametrize(
    ("r", "q", "ttm", "sigma"),
    [
        (0.05, 0.0, 1.0, 0.2),
        (0.05, 0.05, 3.0, 0.3),
        (0.02, 0.06, 2.0, 0.25),
        (0.0, -0.03, 1.0, 0.2),
        (0.1, 0.02, 30.0, 1.0),
    ],
)
def test_M10_american_boundary_falls_with_the_time_left(r: float, q: float, ttm: float, sigma: float) -> None:
    horizon, upper = boundary(r, q, ttm, sigma)
    assert horizon == ttm
    assert upper[0] == pytest.approx(min(1.0, r / q) if q > 0.0 else 1.0, abs=1e-6)  # the root of a rounded zero
    assert (np.diff(upper) < 0.0).all()


def test_M10_american_boundaries_of_negative_rates_close_in_and_may_meet() -> None:
    horizon, upper = boundary(-0.01, -0.04, 1.0, 0.2)
    _, lower = boundary(-0.01, -0.04, 1.0, 0.2, LOWER)
    assert horizon == 1.0
    assert (upper[0], lower[0]) == pytest.approx((1.0, 0.25), abs=1e-6)
    assert (np.diff(upper) < 0.0).all()
    assert (np.diff(lower) > 0.0).all()
    # They meet for volatilities above √(-2q) - √(-2r) (Andersen and Lake 2021), and not below.
    critical = math.sqrt(0.08) - math.sqrt(0.02)
    assert boundary(-0.01, -0.04, 300.0, 0.97 * critical)[0] == 300.0
    met, upper = boundary(-0.01, -0.04, 300.0, 1.3 * critical)
    _, lower = boundary(-0.01, -0.04, 300.0, 1.3 * critical, LOWER)
    assert 0.0 < met < 300.0
    assert upper[-1] == pytest.approx(lower[-1], rel=1e-5)


def test_after_a_long_time_it_is_the_boundary_of_the_perpetual_option() -> None:
    for r, q, sigma in ((0.1, 0.02, 0.3), (0.08, 0.12, 0.4)):
        drift = (r - q) / sigma**2 - 0.5
        power = drift + math.sqrt(drift**2 + 2.0 * r / sigma**2)
        _, upper = boundary(r, q, 150.0, sigma)
        assert upper[-1] == pytest.approx(power / (1.0 + power), rel=1e-6)


def test_near_expiry_it_follows_the_known_law_for_dividends_above_the_rate() -> None:
    """B = K·r/q·(1 - 0.638·sigma·√t) for q > r (Evans, Kuske and Keller 2002)."""
    _, upper = boundary(0.02, 0.06, 1e-6, 0.2)
    assert upper[-1] * 3.0 == pytest.approx(1.0 - 0.63883 * 0.2e-3, abs=2e-7)


@pytest.mark.parametrize(
    ("r", "q", "side", "row"),
    [(0.05, 0.02, UPPER, UPPER_H), (0.02, 0.06, UPPER, UPPER_H), (-0.01, -0.04, LOWER, LOWER_H)],
)
def test_newtons_jacobian_is_the_derivative_of_the_equations(r: float, q: float, side: float, row: int) -> None:
    work = workspace()
    first_guess(r, q, 1.0, 0.3, side, work)
    scratch = work[5]

    def equations() -> np.ndarray:
        linearise(r, q, 1.0, 0.3, side, work)
        return scratch[:NODES, : NODES + 1].copy()

    jacobian = equations()[:, :NODES]
    for node in (3, NODES // 2, NODES - 1):
        middle = scratch[row, node]
        step = 1e-5 * abs(middle - start(r, q, side))
        values = []
        for place in (middle + step, middle - step):
            scratch[row, node] = place
            values.append(equations()[:, NODES])
        scratch[row, node] = middle
        wanted = (values[0] - values[1]) / (2.0 * step)
        np.testing.assert_allclose(jacobian[:, node], wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())


def test_no_boundary_is_given_where_none_was_found() -> None:
    work = workspace()
    assert math.isnan(solve(0.05, 0.02, math.nan, 0.2, work))
    assert math.isnan(solve(0.05, 0.02, 1.0, 1e-9, work))


def test_the_rule_of_fifteen_points_is_exact_to_degree_22_and_that_of_seven_to_13() -> None:
    places, fine, coarse = KRONROD
    for degree in range(0, 23, 2):
        assert fine @ places**degree == pytest.approx(2.0 / (degree + 1), rel=4e-16)
        assert fine @ places ** (degree + 1) == pytest.approx(0.0, abs=1e-15)
        if degree < 13:
            assert coarse @ places**degree == pytest.approx(2.0 / (degree + 1), rel=1e-15)


def test_the_normal_distribution_keeps_its_left_wing() -> None:
    import mpmath as mp

    for z in (-37.0, -8.0, -1.0, 0.0, 0.5, 6.0):
        assert cumulative(z) == pytest.approx(float(mp.ncdf(z)), rel=2e-13)
        assert phi(z) == pytest.approx(float(mp.npdf(z)), rel=2e-13)
