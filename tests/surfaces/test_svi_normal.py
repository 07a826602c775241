"""Losses and their derivatives, against the plain formulas and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from pricer.surfaces import SliceQuotes, SviParams, SviSmile, select
from pricer.surfaces.svi_free import robust_loss
from pricer.surfaces.svi_normal import (
    CEILING,
    FLOOR,
    GRID_ROWS,
    NODE,
    PACKED,
    PER_BELOW,
    PER_OWN,
    QUOTE_ROWS,
    SIZE,
    WORK,
    add_grid,
    add_pair,
    add_quotes,
    entry,
    tabulate_quotes,
)
from pricer.surfaces.svi_search import from_coordinates, to_coordinates
from tests.surfaces.made import Array, quotes, smile, strikes_of

TTM = 0.25
EPSILON = 1e-2
UNITS = np.array([1e-2, 1.0, 1.0, 0.1, 1.0])  # of the coordinates


def at(params: SviParams, off: float = 0.0) -> Array:
    p = np.empty(SIZE)
    to_coordinates(np.array(params), p)
    moved: Array = p + off * UNITS * np.array([1.0, -0.3, 0.4, 0.2, -0.5])
    return moved


def table_of(source: SliceQuotes) -> tuple[Array, Array]:
    observations = select(source).observations
    table = np.empty((QUOTE_ROWS, len(observations)))
    tabulate_quotes(observations, table)
    return observations, table


def grid() -> Array:
    nodes = np.linspace(-3.0, 3.0, 150)  # more than two blocks
    made = np.empty((GRID_ROWS, nodes.size))
    low, high = smile(0.2).total_variance(nodes), smile(0.31).total_variance(nodes)
    own = smile(TTM).total_variance(nodes)
    made[NODE], made[FLOOR], made[PER_BELOW] = nodes, 1.0, 1.0 / low
    made[CEILING], made[PER_OWN] = high / own, 1.0 / own
    return made


def gradient_by_differences(value: Callable[[Array], float], p: Array) -> Array:
    found = np.empty(SIZE)
    for i in range(SIZE):
        h = 1e-6 * UNITS[i]
        up, down = p.copy(), p.copy()
        up[i] += h
        down[i] -= h
        found[i] = (value(up) - value(down)) / (2.0 * h)
    return found


def test_the_loss_of_quotes_is_the_robust_loss_whatever_their_number() -> None:
    random = np.random.default_rng(1)
    for count in (1, 5, 63, 64, 65, 200):
        strikes = strikes_of(TTM, count)
        source = quotes(smile(TTM), strikes, noise=random.standard_t(1.0, count) * 0.01)
        bid = source.bid_iv.copy()
        bid[::7] = math.nan  # bounds
        observations, table = table_of(SliceQuotes(TTM, 60_000.0, strikes, bid, source.ask_iv))
        p, params, normal = at(smile(TTM).params, 0.1), np.empty(SIZE), np.zeros(PACKED)
        from_coordinates(p, params)
        found = add_quotes(p, table, 0, table.shape[1], TTM, np.empty(WORK), normal)
        assert found == pytest.approx(robust_loss(observations, TTM, params) * len(observations), rel=1e-12)


def test_the_gradient_of_the_quotes_is_that_of_their_loss() -> None:
    source = quotes(smile(TTM), strikes_of(TTM, 90), noise=0.02 * np.sin(np.arange(90)))
    _, table = table_of(source)
    p, normal = at(smile(TTM).params, 0.05), np.zeros(PACKED)

    def value(p: Array) -> float:
        return add_quotes(p, table, 0, table.shape[1], TTM, np.empty(WORK), np.zeros(PACKED))

    value_here = add_quotes(p, table, 0, table.shape[1], TTM, np.empty(WORK), normal)
    assert value_here > 10.0
    np.testing.assert_allclose(normal[:SIZE], gradient_by_differences(value, p), rtol=1e-5)


def test_the_matrix_of_the_quotes_is_that_of_gauss_and_newton() -> None:
    # Small residuals of an exact model: then it is the Hessian.
    _, table = table_of(quotes(smile(TTM), strikes_of(TTM, 70)))
    p, normal = at(smile(TTM).params, 1e-6), np.zeros(PACKED)
    add_quotes(p, table, 0, table.shape[1], TTM, np.empty(WORK), normal)

    def gradient(p: Array) -> Array:
        found = np.zeros(PACKED)
        add_quotes(p, table, 0, table.shape[1], TTM, np.empty(WORK), found)
        return found[:SIZE]

    for j in range(SIZE):
        up, down = p.copy(), p.copy()
        up[j] += 1e-6 * UNITS[j]
        down[j] -= 1e-6 * UNITS[j]
        column = (gradient(up) - gradient(down)) / (2e-6 * UNITS[j])
        found = np.array([normal[entry(max(i, j), min(i, j))] for i in range(SIZE)])
        np.testing.assert_allclose(found, column, rtol=1e-3, atol=1e-4 * np.abs(column * UNITS).max() / UNITS.min())


@pytest.mark.parametrize("off", [0.0, 0.5, 1.5], ids=["inside", "near", "broken"])
def test_the_gradient_of_the_barrier_is_that_of_its_value(off: float) -> None:
    p, normal, work = at(smile(TTM).params, off), np.zeros(PACKED), np.empty(WORK)

    def value(p: Array) -> float:
        return add_grid(p, grid(), 1e-3, EPSILON, 1e-3, 1e-4, work, np.zeros(PACKED))

    add_grid(p, grid(), 1e-3, EPSILON, 1e-3, 1e-4, work, normal)
    expected = gradient_by_differences(value, p)
    noise = 1e-6 * np.abs(expected * UNITS).max() / UNITS.min()
    np.testing.assert_allclose(normal[:SIZE], expected, rtol=1e-4, atol=noise)


@pytest.mark.parametrize("upper_ttm", [0.31, 0.22], ids=["in order", "crossing"])
def test_the_gradient_of_a_pair_is_that_of_its_value(upper_ttm: float) -> None:
    nodes = np.linspace(-2.0, 2.0, 50)
    per_lower = 1.0 / np.asarray(smile(TTM).total_variance(nodes))
    lower, upper, work = at(smile(TTM).params, 0.1), at(smile(upper_ttm).params), np.empty(WORK)

    def value(lower: Array, upper: Array) -> float:
        two = np.zeros((2, PACKED))
        return add_pair(lower, upper, nodes, per_lower, 1e-3, EPSILON, 1e-4, work, two[0], two[1], np.zeros((5, 5)))

    normal, cross = np.zeros((2, PACKED)), np.zeros((SIZE, SIZE))
    add_pair(lower, upper, nodes, per_lower, 1e-3, EPSILON, 1e-4, work, normal[0], normal[1], cross)
    np.testing.assert_allclose(normal[0, :SIZE], gradient_by_differences(lambda p: value(p, upper), lower), rtol=1e-4)
    np.testing.assert_allclose(normal[1, :SIZE], gradient_by_differences(lambda p: value(lower, p), upper), rtol=1e-4)
    # Only the difference counts: what raising a adds to either matrix, the mixed derivative takes away.
    assert cross[0, 0] == pytest.approx(-normal[0, entry(0, 0)], rel=1e-12)
    assert cross[0, 0] == pytest.approx(-normal[1, entry(0, 0)], rel=1e-12)


def test_a_smile_far_from_its_quotes_has_finite_derivatives() -> None:
    _, table = table_of(quotes(smile(TTM)))
    low = SviSmile(TTM, 60_000.0, SviParams(-0.05, 0.1, 0.0, 0.0, 0.2))  # w below zero at the money
    normal = np.zeros(PACKED)
    loss = add_quotes(at(low.params), table, 0, table.shape[1], TTM, np.empty(WORK), normal)
    assert np.isfinite(loss)
    assert np.isfinite(normal).all()
