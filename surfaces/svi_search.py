"""The search for one slice's raw SVI: damped Gauss-Newton in the coordinates of `svi_shape`.

Minimised is

    Σ weight·loss(residual in half-spreads) + μ·Σ φ(h_j) + ½·Σ stiffness·((p − centre)/unit)² + a pull on ln σ

over quotes, constraints h_j > 0 and a prior, each of which may be absent. A step is judged before it is taken by its
decrement, what it is predicted to gain: a small one is taken unseen and ends the search. After a tick that is mostly
the first.
"""

from __future__ import annotations

import math

import numpy as np

from pricer.kernels.jit import kernel
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import LEE_SLOPE, raw
from pricer.surfaces.svi_normal import (
    LEFT,
    PACKED,
    RIGHT,
    SIZE,
    WORK,
    A,
    M,
    S,
    add_grid,
    add_quotes,
    barrier,
    entry,
)
from pricer.surfaces.svi_shape import BEND, LN_LEFT, LN_RIGHT, from_shape, in_shape, jacobian, to_shape

BARRIER = 1e-3  # μ, where quotes are fitted well
WELL_FITTED = 5.0  # a slice's robust loss up to which they are; beyond, μ grows with it, or it would drown

# σ is hardly known on a nearly parabolic smile; a pull to this many √w at the money keeps it from wandering.
NATURAL_BEND = 2.0
BEND_PULL = 0.02

G_MARGIN = 1e-3  # what the grid may leak between its points
GAP_MARGIN = 1e-4  # likewise, of total variance against a neighbour's
SMALLEST_WING = 1e-5  # of either slope; keeps the logarithms and the butterfly proof well away from rounding

STUCK = 1e12  # of the damping: no step of any length is an improvement
STEPS = 30
# Decrements so small that the step needs no second look: from far, and from the last tick's smile, where Gauss-Newton
# leaves some hundredths of them, and the next tick goes on.
TRUSTED_COLD, TRUSTED_WARM = 1e-3, 5e-2
_FREE = 1e-2  # up to this damping a decrement tells how far the minimum is; beyond, one below the next figure
_LOST = 1e-4  # says that there is no getting on
_LONGEST = 1.5  # step in a logarithm
_HALVINGS = 6  # of a step that leaves the domain

# σ in √w at the money. Beyond the second the hyperbola is a parabola wherever there are quotes, and runs away.
_SHARPEST, _ROUNDEST = 0.01, 50.0


@kernel
def to_coordinates(params: Array, p: Array) -> None:
    """p = (a, ln c₊, ln c₋, m, ln σ) of raw (a, b, rho, m, sigma)."""
    p[A] = params[0]
    p[RIGHT] = math.log(max(params[1] * (1.0 + params[2]), SMALLEST_WING))
    p[LEFT] = math.log(max(params[1] * (1.0 - params[2]), SMALLEST_WING))
    p[M] = params[3]
    p[S] = math.log(params[4])


@kernel
def from_coordinates(p: Array, params: Array) -> None:
    """Raw (a, b, rho, m, sigma) of p."""
    params[0], params[1], params[2], params[3], params[4] = raw(
        p[A], math.exp(p[RIGHT]), math.exp(p[LEFT]), p[M], math.exp(p[S])
    )


@kernel
def fill(values: Array, value: float) -> None:
    """A loop: `values[:] = value` takes half a second to compile."""
    for i in range(values.size):
        values[i] = value


@kernel
def copy(source: Array, target: Array) -> None:
    """Likewise for `target[:] = source`."""
    for i in range(source.size):
        target[i] = source[i]


@kernel
def outer_box() -> Array:
    """The lowest and highest (ln c₊, ln c₋) of any smile: hardly a wing, and Lee's bound."""
    box = np.empty((2, 2))
    fill(box[0], math.log(SMALLEST_WING))
    fill(box[1], math.log(LEE_SLOPE))
    return box


@kernel
def smallest_w(p: Array) -> float:
    """The minimum of the hyperbola."""
    lowest: float = p[A] + math.exp(p[S] + 0.5 * (p[RIGHT] + p[LEFT]))
    return lowest


@kernel
def search(
    table: Array,
    ttm: float,
    grid: Array,
    wings: Array,
    box: Array,
    centre: Array,
    stiffness: Array,
    pull: float,
    unit: float,
    epsilon: float,
    trusted: float,
    p: Array,
) -> int:
    """Improve p, in place; the number of steps tried.

    `table` is that of `svi_normal.tabulate_quotes`, `grid` what `svi_normal.add_grid` takes, `wings` has rows (offset,
    rate) of offset + rate·slope > 0, two of c₊ and two of c₋ (both without columns or rows for no constraints).
    `box` has the lowest and highest (ln c₊, ln c₋). `centre` and `stiffness` are those of a prior in p (both empty
    for none; in units of w for a, √w for m, 1 for the logarithms), `unit` is √w at the money, `trusted` the
    decrement up to which a step is taken unseen.
    """
    work, factor = np.empty(WORK), np.empty((SIZE, SIZE))
    q, trial_q, trial = np.empty(SIZE), np.empty(SIZE), np.empty(SIZE)
    step, by_shape, in_q = np.empty(SIZE), np.empty((SIZE, SIZE)), np.empty(PACKED)
    normal, trial_normal = np.zeros(PACKED), np.empty(PACKED)
    to_shape(p, q)
    quotes = table.shape[1]
    loss = add_quotes(p, table, 0, quotes, ttm, work, normal)
    mu = BARRIER * max(1.0, loss / WELL_FITTED)
    objective = loss + _add_limits(p, grid, wings, pull, unit, mu, epsilon, work, normal)
    objective += _add_prior(p, centre, stiffness, unit, normal)
    damping = 1e-4
    taken = 0
    while taken < STEPS and damping < STUCK:
        jacobian(p, by_shape)
        in_shape(normal, by_shape, in_q)
        while damping < STUCK and not solve_damped(in_q, damping, factor, step):
            damping = 10.0 * damping
        if not damping < STUCK:
            break
        taken += 1
        decrement = 0.0
        for i in range(SIZE):
            decrement -= in_q[i] * step[i]
        small = decrement < (trusted if damping <= _FREE else _LOST)
        inside, full = advance(p, q, step, box, unit, trial_q, trial)
        if small and inside and full:
            copy(trial, p)
            break
        new = math.inf
        if inside and smallest_w(trial) > 0.0:
            fill(trial_normal, 0.0)
            new = add_quotes(trial, table, 0, quotes, ttm, work, trial_normal)
            new += _add_limits(trial, grid, wings, pull, unit, mu, epsilon, work, trial_normal)
            new += _add_prior(trial, centre, stiffness, unit, trial_normal)
        if new < objective:
            damping = relaxed(damping, (objective - new) / (0.5 * decrement))
            objective = new
            copy(trial, p)
            copy(trial_q, q)
            normal, trial_normal = trial_normal, normal
        else:
            damping = max(8.0 * damping, 1e-4)
        if small:
            break
    return taken


@kernel
def relaxed(damping: float, gain: float) -> float:
    """The next damping after a step that gained this share of what was predicted."""
    if gain > 0.75:
        return max(0.1 * damping, 1e-9)
    return damping if gain > 0.25 else 3.0 * damping


@kernel
def advance(
    p: Array, q: Array, step: Array, box: Array, unit: float, trial_q: Array, trial: Array
) -> tuple[bool, bool]:
    """q + step, shortened where it is long or leaves the domain, and its p; (is it inside? was it taken in full?)."""
    longest = max(abs(step[BEND]), abs(step[LN_RIGHT]), abs(step[LN_LEFT]), _LONGEST)
    share = _LONGEST / longest
    low, high = min(math.log(_SHARPEST * unit), p[S]), max(math.log(_ROUNDEST * unit), p[S])
    for _ in range(_HALVINGS):
        for i in range(SIZE):
            trial_q[i] = q[i] + step[i] * share
        full = share == 1.0
        for i in (LN_RIGHT, LN_LEFT):
            asked = trial_q[i]
            trial_q[i] = min(max(asked, box[0, i - LN_RIGHT]), box[1, i - LN_RIGHT])
            full = full and trial_q[i] == asked
        if from_shape(trial_q, trial) and low <= trial[S] <= high:
            return True, full
        share *= 0.5
    return False, False


@kernel
def solve_damped(normal: Array, damping: float, factor: Array, step: Array) -> bool:
    """step = −(H + damping·|diag H|)⁻¹·gradient by Cholesky; False where that matrix is not positive definite."""
    for i in range(SIZE):
        for j in range(i + 1):
            total = normal[entry(i, j)]
            if i == j:
                total += damping * abs(total) + 1e-14
            for c in range(j):
                total -= factor[i, c] * factor[j, c]
            if i == j:
                if not total > 1e-14:
                    return False
                factor[i, i] = 1.0 / math.sqrt(total)
            else:
                factor[i, j] = total * factor[j, j]
    for i in range(SIZE):
        total = -normal[i]
        for c in range(i):
            total -= factor[i, c] * step[c]
        step[i] = total * factor[i, i]
    for i in range(SIZE - 1, -1, -1):
        total = step[i]
        for c in range(i + 1, SIZE):
            total -= factor[c, i] * step[c]
        step[i] = total * factor[i, i]
    return True


@kernel
def _add_limits(
    p: Array, grid: Array, wings: Array, pull: float, unit: float, mu: float, epsilon: float, work: Array, normal: Array
) -> float:
    """The barrier and the pull on ln σ, their derivatives added to `normal`."""
    total = 0.0
    if grid.shape[1]:
        total += add_grid(p, grid, mu, epsilon, G_MARGIN, GAP_MARGIN, work, normal)
    for limit in range(wings.shape[0]):
        i = RIGHT + limit // 2
        slope = math.exp(p[i])
        total += add_wing(wings[limit, 0] + wings[limit, 1] * slope, wings[limit, 1] * slope, mu, epsilon, normal, i)
    total += add_pull(p, pull, unit, normal)
    return total if abs(total) < math.inf else math.inf


@kernel
def add_wing(h: float, rate: float, mu: float, epsilon: float, normal: Array, i: int) -> float:
    """μ·φ(h − margin) of a limit on the wing slope at coordinate i, where ∂h is `rate`."""
    rest, first, second = barrier(h - GAP_MARGIN, epsilon)
    normal[i] += mu * first * rate
    normal[entry(i, i)] += mu * second * rate * rate
    return mu * (rest - math.log(max(h - GAP_MARGIN, epsilon)))


@kernel
def add_pull(p: Array, pull: float, unit: float, normal: Array) -> float:
    """½·pull·(ln σ − ln(natural σ))²."""
    stray: float = p[S] - math.log(NATURAL_BEND * unit)
    normal[S] += pull * stray
    normal[entry(S, S)] += pull
    return 0.5 * pull * stray * stray


@kernel
def _add_prior(p: Array, centre: Array, stiffness: Array, unit: float, normal: Array) -> float:
    total = 0.0
    for i in range(stiffness.size):
        length = unit * unit if i == A else (unit if i == M else 1.0)
        off = (p[i] - centre[i]) / length
        total += 0.5 * stiffness[i] * off * off
        normal[i] += stiffness[i] * off / length
        normal[entry(i, i)] += stiffness[i] / (length * length)
    return total
