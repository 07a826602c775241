"""Raw SVI of one slice under no-arbitrage constraints, until it is certified.

`svi_search` minimises the loss of the quotes and a logarithmic barrier μ·Σ φ(h_j(p)). Every h_j(p) > 0 is one
constraint, scaled to be of order one: on a grid of k

    g(k) − margin,   w/w_below − 1,   (w_above − w)/w_start     (w over its own size, where there is no lower neighbour)

and for each wing the same order of slopes, below Lee's bound. φ is −ln h down to h = ε, continued below by its second
order expansion, so the search may start anywhere and is driven back inside; a smaller ε drives harder. The barrier is
weak (μ is small against one quote's loss), yet it decides what quotes leave open: the wings beyond them come to lie
in the middle of what is free of arbitrage, and stay there from tick to tick.

A grid is no proof. So the result is certified, and where that fails, the places where it came closest become grid
points.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pricer.kernels.jit import kernel
from pricer.surfaces.arbitrage import certify_svi, proved_svi
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import LEE_SLOPE, value
from pricer.surfaces.svi_normal import (
    CEILING,
    FLOOR,
    GRID_ROWS,
    NODE,
    PER_BELOW,
    PER_OWN,
    QUOTE_ROWS,
    SIZE,
    A,
    tabulate_quotes,
)
from pricer.surfaces.svi_search import (
    BEND_PULL,
    GAP_MARGIN,
    TRUSTED_COLD,
    TRUSTED_WARM,
    from_coordinates,
    outer_box,
    search,
    smallest_w,
    to_coordinates,
)

EPSILON = 1e-4  # where the barrier's logarithm ends, at the first attempt
_ATTEMPTS = 6  # at a certificate

_OWN_NODES = 32
_NEIGHBOUR_NODES = 8
_REACH = 4.5  # most of the grid covers |k| <= this
_BENDS = 10.0  # σ on either side of m
# Beyond, nearly parallel wings may still cross.
FAR_NODES = np.array([-1000.0, -100.0, -30.0, -9.0, 9.0, 30.0, 100.0, 1000.0])
_WITNESSES = 3 * _ATTEMPTS
_APART = 1e-9  # of the logarithms of neighbouring wing slopes: more than rounding


@kernel
def fit_certified(
    observations: Array,
    ttm: float,
    below: Array,
    above: Array,
    centre: Array,
    stiffness: Array,
    first_epsilon: float,
    params: Array,
    evidence: Array,
) -> tuple[int, int]:
    """Improve `params` until they are certified; (how many certificates it took, 0 for none; steps).

    `params` (raw a, b, rho, m, sigma) are the start and the result. `observations` are those of `quotes.Selection`;
    `below` and `above` the neighbours' raw parameters, empty where there is none; `centre` raw parameters that they
    are held to with the `stiffness` of `svi_search.search` (both empty for no prior).

    The barrier starts at `first_epsilon` (0.1 from a cold start, `EPSILON` from a good one), is divided by ten down to
    `EPSILON`, and halved at each further attempt. `evidence` is that of `arbitrage.certify_svi` for the last `params`.
    """
    table = np.empty((QUOTE_ROWS, observations.shape[0]))
    tabulate_quotes(observations, table)
    witness = np.empty(_WITNESSES)
    trusted = TRUSTED_COLD if first_epsilon > 1.5 * EPSILON else TRUSTED_WARM
    found = total = 0
    epsilon = first_epsilon
    while epsilon > 1.5 * EPSILON:
        total += _fit(table, ttm, below, above, witness[:0], centre, stiffness, epsilon, trusted, params)
        epsilon *= 0.1
    epsilon = EPSILON
    for attempt in range(1, _ATTEMPTS + 1):
        total += _fit(table, ttm, below, above, witness[:found], centre, stiffness, epsilon, trusted, params)
        if certify_svi(params, below, above, evidence):
            return attempt, total
        for condition in range(3):
            if evidence[condition] == 0.0:
                witness[found] = evidence[4 + 2 * condition]
                found += 1
        epsilon *= 0.5
    return 0, total


@kernel
def blend_certified(params: Array, base: Array, below: Array, above: Array, evidence: Array) -> float:
    """Move `params` towards the certified `base` until they are certified; the share of the way kept, 0 for none."""
    target, start, trial = np.empty(SIZE), np.empty(SIZE), np.empty(SIZE)
    to_coordinates(params, target)
    to_coordinates(base, start)
    kept, refused = 0.0, 1.0
    for _ in range(8):
        share = 0.5 * (kept + refused)
        _between(start, target, share, trial, params)
        if proved_svi(params, below, above):
            kept = share
        else:
            refused = share
    if kept > 0.0:
        _between(start, target, kept, trial, params)
    else:  # the base itself, not what its coordinates give back
        for i in range(SIZE):
            params[i] = base[i]
    certify_svi(params, below, above, evidence)
    return kept


@kernel
def _between(start: Array, target: Array, share: float, trial: Array, params: Array) -> None:
    for i in range(SIZE):
        trial[i] = start[i] + share * (target[i] - start[i])
    from_coordinates(trial, params)


@kernel
def _fit(
    table: Array,
    ttm: float,
    below: Array,
    above: Array,
    witness: Array,
    centre: Array,
    stiffness: Array,
    epsilon: float,
    trusted: float,
    params: Array,
) -> int:
    """Search from `params` with the barrier at `epsilon`; the number of steps."""
    unit = math.sqrt(max(value(params[0], params[1], params[2], params[3], params[4], 0.0)[0], 1e-10))
    p = np.empty(SIZE)
    to_coordinates(params, p)
    # A start that dips below zero variance is lifted, or there would be no way to measure it.
    p[A] += max(0.01 * unit * unit - smallest_w(p), 0.0)
    from_coordinates(p, params)
    grid = _grid(params, below, above, witness)
    wings, box = _wing_limits(params, below, above, unit)
    held = np.empty(centre.size)
    if centre.size:
        to_coordinates(centre, held)
    steps = search(table, ttm, grid, wings, box, held, stiffness, BEND_PULL, unit, epsilon, trusted, p)
    from_coordinates(p, params)
    return steps


@kernel
def _grid(params: Array, below: Array, above: Array, witness: Array) -> Array:
    """The nodes of the grid and the limits of w there, as `svi_normal.add_grid` reads them."""
    size = _OWN_NODES + witness.size + FAR_NODES.size
    size += (_NEIGHBOUR_NODES if below.size else 0) + (_NEIGHBOUR_NODES if above.size else 0)
    grid = np.empty((GRID_ROWS, size))
    nodes = grid[NODE]
    used = hyperbola_nodes(params, nodes[:_OWN_NODES])
    for neighbour in (below, above):
        if neighbour.size:
            used += hyperbola_nodes(neighbour, nodes[used : used + _NEIGHBOUR_NODES])
    for j in range(FAR_NODES.size):
        nodes[used + j] = FAR_NODES[j]
    for j in range(witness.size):
        nodes[used + FAR_NODES.size + j] = witness[j]
    for j in range(size):
        k = nodes[j]
        own = max(value(params[0], params[1], params[2], params[3], params[4], k)[0], 1e-12)
        grid[FLOOR, j], grid[PER_BELOW, j], grid[CEILING, j], grid[PER_OWN, j] = 0.0, 1.0 / own, 1.0 + GAP_MARGIN, 0.0
        if below.size:
            grid[FLOOR, j] = 1.0
            grid[PER_BELOW, j] = 1.0 / value(below[0], below[1], below[2], below[3], below[4], k)[0]
        if above.size:
            grid[CEILING, j] = value(above[0], above[1], above[2], above[3], above[4], k)[0] / own
            grid[PER_OWN, j] = 1.0 / own
    return grid


@kernel
def hyperbola_nodes(params: Array, nodes: Array) -> int:
    """Fill `nodes` with k over |k| <= 4.5 and the bend of this hyperbola; how many."""
    # Even steps of ln t in k = m + σ(t − 1/t)/2: fine around the bend, wherever it is, coarse in the straight wings.
    m, sigma = params[3], params[4]
    first = math.asinh((min(-_REACH, m - _BENDS * sigma) - m) / sigma)
    last = math.asinh((max(_REACH, m + _BENDS * sigma) - m) / sigma)
    t, ratio = math.exp(first), math.exp((last - first) / (nodes.size - 1))
    for j in range(nodes.size):
        nodes[j] = m + 0.5 * sigma * (t - 1.0 / t)
        t *= ratio
    return nodes.size


@kernel
def _wing_limits(params: Array, below: Array, above: Array, unit: float) -> tuple[Array, Array]:
    """`wings` and `box` of `svi_search.search`: slopes between those of the neighbours, or zero and Lee's bound."""
    wings, box = np.empty((4, 2)), outer_box()
    for side in range(2):
        sign = 1.0 - 2.0 * side
        own = params[1] * (1.0 + sign * params[2])
        low = below[1] * (1.0 + sign * below[2]) if below.size else 0.0
        scale = low + 0.02 * unit
        wings[2 * side, 0], wings[2 * side, 1] = -low / scale, 1.0 / scale
        high = above[1] * (1.0 + sign * above[2]) if above.size else LEE_SLOPE
        scale = own + 0.02 * unit if above.size else LEE_SLOPE
        wings[2 * side + 1, 0], wings[2 * side + 1, 1] = high / scale, -1.0 / scale
        if low > 0.0:
            box[0, side] = max(box[0, side], math.log(low) + _APART)
        if high > 0.0:
            box[1, side] = max(min(box[1, side], math.log(high) - _APART), box[0, side])
    return wings, box


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One fit; all kernels of this module."""
    observations = np.array([[k, 0.49, 0.51, 0.01, 1.0] for k in (-0.1, 0.0, 0.1)])
    params, none, evidence = np.array([0.024, 0.01, 0.0, 0.0, 0.1]), np.empty(0), np.empty(9)
    return [
        ("blend_certified", lambda: blend_certified(params.copy(), params, none, none, evidence)),
        (
            "fit_certified",
            lambda: fit_certified(observations, 0.1, none, none, none, none, 0.1, params, evidence)[1],
        ),
    ]
