"""All expiries of a chain in raw SVI at once: the objective of `svi_hard` for every slice, and their common limits.

Fitted one after another, neighbours lock each other's wings: the first one's arbitrary wing would bend all later ones
away from their quotes. So all slices move together: damped Gauss-Newton on the coordinates of all of them, whose matrix
is block tridiagonal, since calendar order ties only neighbours. The barrier starts soft, where neighbours settle who
gives way, and hardens level by level.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pricer.kernels.jit import kernel
from pricer.surfaces.arbitrage import certify_svi
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import LEE_SLOPE, value
from pricer.surfaces.svi_hard import EPSILON, FAR_NODES, hyperbola_nodes
from pricer.surfaces.svi_normal import (
    CEILING,
    FLOOR,
    GRID_ROWS,
    NODE,
    PACKED,
    PER_BELOW,
    PER_OWN,
    QUOTE_ROWS,
    RIGHT,
    SIZE,
    WORK,
    A,
    add_grid,
    add_pair,
    add_quotes,
    barrier,
    entry,
    tabulate_quotes,
)
from pricer.surfaces.svi_search import (
    BARRIER,
    BEND_PULL,
    G_MARGIN,
    GAP_MARGIN,
    STUCK,
    WELL_FITTED,
    add_pull,
    add_wing,
    advance,
    copy,
    fill,
    from_coordinates,
    outer_box,
    relaxed,
    smallest_w,
    to_coordinates,
)
from pricer.surfaces.svi_shape import in_shape, jacobian, to_shape

_OWN_NODES = 32
_PAIR_NODES = 16  # of either slice
_WITNESSES = 16  # places where a certificate failed, per slice and per pair
_LEVELS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, EPSILON)
_STEPS = 12  # at each level
_MORE = 5  # levels of a last resort, for slices that are not certified yet
_GAINED = 1e-2  # a level ends where a step is predicted to gain less
_BAND = 2 * SIZE


@kernel
def fit_jointly(observations: Array, offsets: npt.NDArray[np.int64], ttms: Array, params: Array) -> bool:
    """Improve the raw parameters of all slices (rows of `params`, in order of `ttms`) until all are certified.

    Rows `offsets[i]` to `offsets[i + 1]` of `observations` (those of `quotes.Selection`) belong to slice i. False where
    some could not be certified.
    """
    n = ttms.size
    table = np.empty((QUOTE_ROWS, observations.shape[0]))
    tabulate_quotes(observations, table)
    p = np.empty((n, SIZE))
    units = np.empty(n)
    for i in range(n):
        to_coordinates(params[i], p[i])
        units[i] = math.sqrt(
            max(value(params[i, 0], params[i, 1], params[i, 2], params[i, 3], params[i, 4], 0.0)[0], 1e-10)
        )
        p[i, A] += max(0.01 * units[i] ** 2 - smallest_w(p[i]), 0.0)
        from_coordinates(p[i], params[i])
    witness, found = np.zeros((n, 2, _WITNESSES)), np.zeros((n, 2), dtype=np.int64)
    for epsilon in _LEVELS:
        _search(table, offsets, ttms, params, units, witness, found, epsilon, p)
    for _ in range(_MORE):
        if _certified(params, witness, found):
            return True
        epsilon *= 0.5
        _search(table, offsets, ttms, params, units, witness, found, epsilon, p)
    return _certified(params, witness, found)


@kernel
def _certified(params: Array, witness: Array, found: npt.NDArray[np.int64]) -> bool:
    """Are all slices? Where not, note the places."""
    evidence, none = np.empty(9), np.empty(0)
    proved = True
    for i in range(params.shape[0]):
        below = params[i - 1] if i > 0 else none
        if not certify_svi(params[i], below, none, evidence):
            proved = False
            for condition in range(2):
                if evidence[condition] == 0.0 and found[i, condition] < _WITNESSES:
                    witness[i, condition, found[i, condition]] = evidence[4 + 2 * condition]
                    found[i, condition] += 1
    return proved


@kernel
def _search(
    table: Array,
    offsets: npt.NDArray[np.int64],
    ttms: Array,
    params: Array,
    units: Array,
    witness: Array,
    found: npt.NDArray[np.int64],
    epsilon: float,
    p: Array,
) -> None:
    """Damped Gauss-Newton on all of p with the barrier at `epsilon`; `params` follow."""
    n = ttms.size
    grids, pairs = _grids(params, units, witness, found)
    wings, box = _wing_scales(params, units), outer_box()
    work = np.empty(WORK)
    normal, trial_normal = np.empty((n, PACKED)), np.empty((n, PACKED))
    cross, trial_cross = np.empty((n, SIZE, SIZE)), np.empty((n, SIZE, SIZE))
    factor, step, trial = np.empty((n * SIZE, _BAND)), np.empty((n, SIZE)), np.empty((n, SIZE))
    q, trial_q, by_shape = np.empty((n, SIZE)), np.empty((n, SIZE)), np.empty((n, SIZE, SIZE))
    shape_normal, shape_cross = np.empty((n, PACKED)), np.empty((n, SIZE, SIZE))
    for i in range(n):
        to_shape(p[i], q[i])
    mu = np.empty(n)
    for i in range(n):
        fill(normal[i], 0.0)
        loss = add_quotes(p[i], table, offsets[i], offsets[i + 1], ttms[i], work, normal[i])
        mu[i] = BARRIER * max(1.0, loss / WELL_FITTED)
    objective = _objective(p, table, offsets, ttms, grids, pairs, wings, units, mu, epsilon, work, normal, cross)
    damping = 1e-4
    taken = 0
    while taken < _STEPS and damping < STUCK:
        for i in range(n):
            jacobian(p[i], by_shape[i])
            in_shape(normal[i], by_shape[i], shape_normal[i])
        for i in range(n - 1):
            _transformed(cross[i], by_shape[i + 1], by_shape[i], shape_cross[i])
        while damping < STUCK and not _solve_banded(shape_normal, shape_cross, damping, factor, step):
            damping *= 10.0
        if not damping < STUCK:
            break
        taken += 1
        decrement, inside = 0.0, True
        for i in range(n):
            for j in range(SIZE):
                decrement -= shape_normal[i, j] * step[i, j]
            inside = advance(p[i], q[i], step[i], box, units[i], trial_q[i], trial[i])[0] and inside
        new = math.inf
        if inside:
            new = _objective(
                trial, table, offsets, ttms, grids, pairs, wings, units, mu, epsilon, work, trial_normal, trial_cross
            )
        if new < objective:
            damping = relaxed(damping, (objective - new) / (0.5 * decrement))
            objective = new
            for i in range(n):
                copy(trial[i], p[i])
                copy(trial_q[i], q[i])
            normal, trial_normal = trial_normal, normal
            cross, trial_cross = trial_cross, cross
            if decrement < _GAINED:
                break
        else:
            damping = max(8.0 * damping, 1e-4)
            if decrement < 1e-6:
                break
    for i in range(n):
        from_coordinates(p[i], params[i])


@kernel
def _transformed(cross: Array, upper: Array, lower: Array, out: Array) -> None:
    """upperᵀ·cross·lower: the mixed derivatives in q from those in p."""
    for i in range(SIZE):
        for r in range(SIZE):
            out[i, r] = 0.0
    for r in range(SIZE):
        for j in range(SIZE):
            total = 0.0
            for c in range(SIZE):
                total += cross[r, c] * lower[c, j]
            for i in range(SIZE):
                out[i, j] += upper[r, i] * total


@kernel
def _grids(params: Array, units: Array, witness: Array, found: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """The nodes of each slice as `add_grid` reads them, and (k, 1/w of the lower one) of each pair."""
    n = params.shape[0]
    grids, pairs = (
        np.empty((n, GRID_ROWS, _OWN_NODES + _WITNESSES)),
        np.empty((n, 2, 2 * _PAIR_NODES + FAR_NODES.size + _WITNESSES)),
    )
    for i in range(n):
        grid, own = grids[i], params[i]
        hyperbola_nodes(own, grid[NODE, :_OWN_NODES])
        for j in range(grid.shape[1]):
            if j >= _OWN_NODES:  # unused places repeat the money
                place = j - _OWN_NODES
                grid[NODE, j] = witness[i, 0, place] if place < found[i, 0] else 0.0
            w = value(own[0], own[1], own[2], own[3], own[4], grid[NODE, j])[0]
            grid[PER_BELOW, j] = 1.0 / max(w, 1e-12) if i == 0 else 0.0
            grid[FLOOR, j] = 0.0 if i == 0 else -1.0 - GAP_MARGIN
            grid[CEILING, j], grid[PER_OWN, j] = 1.0 + GAP_MARGIN, 0.0
        if i + 1 < n:
            nodes = pairs[i, 0]
            hyperbola_nodes(own, nodes[:_PAIR_NODES])
            hyperbola_nodes(params[i + 1], nodes[_PAIR_NODES : 2 * _PAIR_NODES])
            used = 2 * _PAIR_NODES + FAR_NODES.size
            for j in range(FAR_NODES.size):
                nodes[2 * _PAIR_NODES + j] = FAR_NODES[j]
            for place in range(_WITNESSES):
                nodes[used + place] = witness[i + 1, 1, place] if place < found[i + 1, 1] else 0.0
            for j in range(nodes.size):
                w = value(own[0], own[1], own[2], own[3], own[4], nodes[j])[0]
                pairs[i, 1, j] = 1.0 / max(w, 1e-4 * units[i] ** 2)
    return grids, pairs


@kernel
def _wing_scales(params: Array, units: Array) -> Array:
    """By what a difference of wing slopes to the next longer slice is divided: for c₊, then for c₋."""
    scales = np.empty((params.shape[0], 2))
    for i in range(params.shape[0]):
        for side in range(2):
            scales[i, side] = params[i, 1] * (1.0 + (1.0 - 2.0 * side) * params[i, 2]) + 0.02 * units[i]
    return scales


@kernel
def _objective(
    p: Array,
    table: Array,
    offsets: npt.NDArray[np.int64],
    ttms: Array,
    grids: Array,
    pairs: Array,
    wings: Array,
    units: Array,
    mu: Array,
    epsilon: float,
    work: Array,
    normal: Array,
    cross: Array,
) -> float:
    n = ttms.size
    for i in range(n):
        if not smallest_w(p[i]) > 0.0:
            return math.inf
    total = 0.0
    for i in range(n):
        fill(normal[i], 0.0)
        for j in range(SIZE):
            fill(cross[i, j], 0.0)
    for i in range(n):
        total += add_quotes(p[i], table, offsets[i], offsets[i + 1], ttms[i], work, normal[i])
        total += add_grid(p[i], grids[i], mu[i], epsilon, G_MARGIN, GAP_MARGIN, work, normal[i])
        total += add_pull(p[i], BEND_PULL, units[i], normal[i])
        for side in range(2):
            c = RIGHT + side
            slope = math.exp(p[i, c])
            if i == 0:
                scale = 0.02 * units[i]
                total += add_wing(slope / scale, slope / scale, mu[i], epsilon, normal[i], c)
            if i + 1 == n:
                total += add_wing(1.0 - slope / LEE_SLOPE, -slope / LEE_SLOPE, mu[i], epsilon, normal[i], c)
            else:
                total += _add_wing_pair(
                    slope, math.exp(p[i + 1, c]), wings[i, side], max(mu[i], mu[i + 1]), epsilon, c,
                    normal[i], normal[i + 1], cross[i],
                )  # fmt: skip
        if i + 1 < n:
            total += add_pair(
                p[i], p[i + 1], pairs[i, 0], pairs[i, 1], max(mu[i], mu[i + 1]), epsilon, GAP_MARGIN,
                work, normal[i], normal[i + 1], cross[i],
            )  # fmt: skip
    return total if abs(total) < math.inf else math.inf


@kernel
def _add_wing_pair(
    lower: float, upper: float, scale: float, mu: float, epsilon: float, c: int,
    lower_normal: Array, upper_normal: Array, cross: Array,
) -> float:  # fmt: skip
    h = (upper - lower) / scale - GAP_MARGIN
    rest, first, second = barrier(h, epsilon)
    down, up = -lower / scale, upper / scale
    lower_normal[c] += mu * first * down
    upper_normal[c] += mu * first * up
    lower_normal[entry(c, c)] += mu * second * down * down
    upper_normal[entry(c, c)] += mu * second * up * up
    cross[c, c] += mu * second * up * down
    return mu * (rest - math.log(max(h, epsilon)))


@kernel
def _solve_banded(normal: Array, cross: Array, damping: float, factor: Array, step: Array) -> bool:
    """step = −(H + damping·|diag H|)⁻¹·gradient by Cholesky of the band; False where it is not positive definite.

    Row r of `factor` holds columns r − 9 to r of the lower factor, the diagonal inverted.
    """
    size = normal.shape[0] * SIZE
    last = _BAND - 1
    for r in range(size):
        i, row = r // SIZE, r % SIZE
        first = max(0, (i - 1) * SIZE)
        for c in range(first, r + 1):
            column = c % SIZE
            if c // SIZE == i:
                total = normal[i, entry(row, column)]
                if c == r:
                    total += damping * abs(total) + 1e-14
            else:
                total = cross[i - 1, row, column]
            for k in range(max(first, (c // SIZE - 1) * SIZE, 0), c):
                total -= factor[r, last - r + k] * factor[c, last - c + k]
            if c == r:
                if not total > 1e-14:
                    return False
                factor[r, last] = 1.0 / math.sqrt(total)
            else:
                factor[r, last - r + c] = total * factor[c, last]
    flat = step.reshape(size)
    for r in range(size):
        total = -normal[r // SIZE, r % SIZE]
        for c in range(max(0, (r // SIZE - 1) * SIZE), r):
            total -= factor[r, last - r + c] * flat[c]
        flat[r] = total * factor[r, last]
    for r in range(size - 1, -1, -1):
        total = flat[r]
        for c in range(r + 1, min(size, (r // SIZE + 2) * SIZE)):
            total -= factor[c, last - c + r] * flat[c]
        flat[r] = total * factor[r, last]
    return True


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One joint fit; all kernels of this module."""
    observations = np.array(
        [[k, sigma - 0.01, sigma + 0.01, 0.01, 1.0] for sigma in (0.5, 0.51) for k in (-0.1, 0.0, 0.1)]
    )
    offsets, ttms = np.array([0, 3, 6]), np.array([0.1, 0.2])
    params = np.array([[0.024, 0.01, 0.0, 0.0, 0.1], [0.05, 0.02, 0.0, 0.0, 0.1]])
    return [("fit_jointly", lambda: fit_jointly(observations, offsets, ttms, params))]
