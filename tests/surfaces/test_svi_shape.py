"""The coordinates of the search: there and back, and their Jacobian."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pricer.surfaces.svi_normal import PACKED, SIZE, entry
from pricer.surfaces.svi_search import from_coordinates, to_coordinates
from pricer.surfaces.svi_shape import from_shape, in_shape, jacobian, to_shape
from tests.surfaces.made import Array, smile


def random_p(random: np.random.Generator) -> Array:
    return np.array([
        random.normal(0.0, 0.05),
        math.log(random.uniform(0.01, 1.9)),
        math.log(random.uniform(0.01, 1.9)),
        random.normal(0.0, 0.2),
        math.log(random.uniform(0.02, 1.0)),
    ])  # fmt: skip


def shape_of(p: Array) -> Array:
    q = np.empty(SIZE)
    to_shape(p, q)
    return q


def test_the_shape_is_the_curve_at_the_money_and_its_wing_slopes() -> None:
    made = smile(0.25)
    p = np.empty(SIZE)
    to_coordinates(np.array(made.params), p)
    w, slope, bend, right, left = shape_of(p)
    assert w == pytest.approx(float(made.total_variance(0.0)), rel=1e-14)
    assert slope == pytest.approx(float(made.dw(0.0)), rel=1e-13)
    assert math.exp(bend) == pytest.approx(float(made.d2w(0.0)), rel=1e-13)
    assert (math.exp(left), math.exp(right)) == pytest.approx(made.wing_slopes, rel=1e-14)


def test_the_way_back_is_exact() -> None:
    random = np.random.default_rng(1)
    for _ in range(300):
        p, back = random_p(random), np.empty(SIZE)
        assert from_shape(shape_of(p), back)
        np.testing.assert_allclose(back, p, rtol=1e-7, atol=1e-9)
        params, again = np.empty(SIZE), np.empty(SIZE)
        from_coordinates(p, params)
        to_coordinates(params, again)
        np.testing.assert_allclose(again, p, rtol=1e-12, atol=1e-12)


def test_a_slope_at_the_money_steeper_than_a_wing_is_outside_the_domain() -> None:
    q = shape_of(random_p(np.random.default_rng(2)))
    p = np.empty(SIZE)
    for slope in (math.exp(q[3]), -math.exp(q[4]), 3.0, math.nan):
        q[1] = slope
        assert not from_shape(q, p)


def test_the_jacobian_is_that_of_the_way_back() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        p = random_p(random)
        q, found, numeric = shape_of(p), np.empty((SIZE, SIZE)), np.empty((SIZE, SIZE))
        jacobian(p, found)
        for j in range(SIZE):
            h = 1e-6 * min(1.0, abs(q[j]) + 1e-2)
            ends = []
            for sign in (1.0, -1.0):
                moved, end = q.copy(), np.empty(SIZE)
                moved[j] += sign * h
                assert from_shape(moved, end)
                ends.append(end)
            numeric[:, j] = (ends[0] - ends[1]) / (2.0 * h)
        np.testing.assert_allclose(found, numeric, rtol=2e-4, atol=2e-4 * np.abs(numeric).max())


def test_normal_equations_are_carried_over_by_the_jacobian() -> None:
    random = np.random.default_rng(4)
    rows = random.normal(size=(8, SIZE))
    gradient, matrix = random.normal(size=SIZE), rows.T @ rows
    packed, out, by_shape = np.empty(PACKED), np.empty(PACKED), np.empty((SIZE, SIZE))
    packed[:SIZE] = gradient
    for i in range(SIZE):
        for j in range(i + 1):
            packed[entry(i, j)] = matrix[i, j]
    jacobian(random_p(random), by_shape)
    in_shape(packed, by_shape, out)
    np.testing.assert_allclose(out[:SIZE], by_shape.T @ gradient, rtol=1e-12)
    expected = by_shape.T @ matrix @ by_shape
    found = [out[entry(i, j)] for i in range(SIZE) for j in range(i + 1)]
    np.testing.assert_allclose(found, [expected[i, j] for i in range(SIZE) for j in range(i + 1)], rtol=1e-11)
