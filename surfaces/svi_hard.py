"""Raw SVI under no-arbitrage constraints: damped Gauss-Newton with a logarithmic barrier.

Unknowns p = (a, ln c₊, ln c₋, m, ln σ). Minimised is

    Σ weight·loss(residual in half-spreads) + μ·Σ φ(h_j(p)) + ½·Σ stiffness·((p − centre)/unit)²

where every h_j(p) > 0 is one constraint, scaled to be of order one: on a grid of k

    g(k) − margin,   w/w_lower − 1,   1 − w/w_upper     (w over its own size, where there is no lower neighbour)

and for each wing the same order of slopes, below Lee's bound. φ is −ln h down to h = ε, continued below by its second
order expansion, so the search may start anywhere and is driven back inside; a smaller ε drives harder. The barrier is
weak (μ is small against one quote's loss), yet it decides what quotes leave open: the wings beyond them come to lie
in the middle of what is free of arbitrage, and stay there from tick to tick.

A grid is no proof; the caller certifies the result and adds grid points where it leaks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pricer.kernels.jit import kernel
from pricer.surfaces.arbitrage import certify_svi
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import LEE_SLOPE, raw, value
from pricer.surfaces.svi_free import residual, robust, robust_loss

BARRIER = 1e-3  # μ, where quotes are fitted well
WELL_FITTED = 5.0  # a slice's robust loss up to which they are; beyond, μ grows with it, or it would drown

# σ is hardly known on a nearly parabolic smile; a pull to this many √w at the money keeps it from wandering.
NATURAL_BEND = 2.0
BEND_PULL = 0.02

G_MARGIN = 1e-3  # what the grid may leak between its points
GAP_MARGIN = 1e-4  # likewise, of total variance against a neighbour's
SMALLEST_WING = 1e-5  # of either slope; keeps the logarithms and the butterfly proof well away from rounding

EPSILON = 1e-4  # where the barrier's logarithm ends, at the first attempt
_ATTEMPTS = 4  # at a certificate, each with a ten times smaller ε
_STEPS = 30
_PATIENCE = 3  # times as many from a cold start, at each ε
_STUCK = 1e12  # of the damping: no step of any length is an improvement
_QUIET = 3e-4  # a fall of the objective that no quote would notice
_NEAR = 0.3  # a constraint this close is counted with its curvature

_OWN_NODES = 48
_NEIGHBOUR_NODES = 16
_REACH = 4.5  # the grid covers |k| <= this; beyond, the ordered slopes decide
_NODE, _FLOOR, _PER_SCALE, _PER_CEILING = range(4)  # columns of the grid

_A, _RIGHT, _LEFT, _M, _S = range(5)  # the coordinates
_SIZE = 5


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
    """`fit_hard` until its result is certified; (how many certificates it took, 0 for none; steps).

    Starts at `first_epsilon` (0.1 from a cold start, `EPSILON` from a good one) and divides it by ten each time. A
    refused certificate names the places where the grid leaked; they become grid points. `evidence` is that of
    `arbitrage.certify_svi` for the last `params`.
    """
    extra = np.empty(3 * _ATTEMPTS)
    witnesses = 0
    total = 0
    epsilon = first_epsilon
    while epsilon > EPSILON * 0.5 and first_epsilon > EPSILON * 1.5:
        for _ in range(_PATIENCE):
            steps = fit_hard(observations, ttm, below, above, extra[:0], centre, stiffness, epsilon, params)[1]
            total += steps
            if steps < _STEPS:
                break
        epsilon *= 0.1
    epsilon = EPSILON
    # Where the start comes closest to a limit, the result will come close too.
    certify_svi(params, below, above, evidence)
    for attempt in range(1, _ATTEMPTS + 1):
        for condition in range(3):
            if evidence[3 + 2 * condition] < math.inf and (attempt == 1 or evidence[condition] == 0.0):
                extra[witnesses] = evidence[4 + 2 * condition]
                witnesses += 1
        total += fit_hard(observations, ttm, below, above, extra[:witnesses], centre, stiffness, epsilon, params)[1]
        if certify_svi(params, below, above, evidence):
            return attempt, total
        epsilon *= 0.1
    return 0, total


@kernel
def blend_certified(params: Array, base: Array, below: Array, above: Array, evidence: Array) -> float:
    """Move `params` towards the certified `base` until they are certified; the share of the way kept, 0 for none."""
    target, start, trial = np.empty(_SIZE), np.empty(_SIZE), np.empty(_SIZE)
    _to_coordinates(params, target)
    _to_coordinates(base, start)
    kept, refused = 0.0, 1.0
    for _ in range(8):
        share = 0.5 * (kept + refused)
        _between(start, target, share, trial, params)
        if certify_svi(params, below, above, evidence):
            kept = share
        else:
            refused = share
    _between(start, target, kept, trial, params)
    certify_svi(params, below, above, evidence)
    return kept


@kernel
def _between(start: Array, target: Array, share: float, trial: Array, params: Array) -> None:
    for i in range(_SIZE):
        trial[i] = start[i] + share * (target[i] - start[i])
    _from_coordinates(trial, params)


@kernel
def fit_hard(
    observations: Array,
    ttm: float,
    below: Array,
    above: Array,
    extra: Array,
    centre: Array,
    stiffness: Array,
    epsilon: float,
    params: Array,
) -> tuple[float, int]:
    """Improve `params` (raw a, b, rho, m, sigma: the start and the result); (objective, steps taken).

    `observations` are those of `quotes.Selection`. `below` and `above` are the neighbours' raw parameters, empty where
    there is none; `extra` are more grid points; `centre` and `stiffness` a prior in the
    coordinates of p (both empty for none; units: w at the money for a, its root for m, 1 for the logarithms).
    """
    unit = math.sqrt(max(value(params[0], params[1], params[2], params[3], params[4], 0.0)[0], 1e-10))
    grid = _grid(params, below, above, extra)
    limits = _wing_limits(below, above)
    p, trial, step = np.empty(_SIZE), np.empty(_SIZE), np.empty(_SIZE)
    gradient, trial_gradient = np.empty(_SIZE), np.empty(_SIZE)
    matrix, trial_matrix, factor = np.empty((_SIZE, _SIZE)), np.empty((_SIZE, _SIZE)), np.empty((_SIZE, _SIZE))
    _to_coordinates(params, p)
    # A start that dips below zero variance is lifted, or there would be no way to measure it.
    p[_A] = max(p[_A], 0.01 * unit * unit - math.exp(p[_S] + 0.5 * (p[_RIGHT] + p[_LEFT])))
    loss = robust_loss(observations, ttm, params) * observations.shape[0]
    mu = BARRIER * max(1.0, loss / WELL_FITTED) if loss < math.inf else BARRIER
    objective = _objective(p, observations, ttm, grid, limits, centre, stiffness, unit, mu, epsilon, gradient, matrix)
    damping = 1e-4
    taken = quiet = 0
    while taken < _STEPS and quiet < 2 and damping < _STUCK:
        taken += 1
        while damping < _STUCK and not _solve_damped(matrix, gradient, damping, factor, step):
            damping *= 10.0
        _advance(p, step, unit, trial)
        new = _objective(
            trial, observations, ttm, grid, limits, centre, stiffness, unit, mu, epsilon, trial_gradient, trial_matrix
        )
        if new < objective:
            quiet = quiet + 1 if objective - new <= _QUIET else 0
            objective = new
            p, trial = trial, p
            gradient, trial_gradient = trial_gradient, gradient
            matrix, trial_matrix = trial_matrix, matrix
            damping = max(0.2 * damping, 1e-9)
        else:
            quiet += damping > 1e3
            damping *= 6.0
    _from_coordinates(p, params)
    return objective, taken


@kernel
def _to_coordinates(params: Array, p: Array) -> None:
    p[_A] = params[0]
    p[_RIGHT] = math.log(max(params[1] * (1.0 + params[2]), SMALLEST_WING))
    p[_LEFT] = math.log(max(params[1] * (1.0 - params[2]), SMALLEST_WING))
    p[_M] = params[3]
    p[_S] = math.log(params[4])


@kernel
def _from_coordinates(p: Array, params: Array) -> None:
    params[0], params[1], params[2], params[3], params[4] = raw(
        p[_A], math.exp(p[_RIGHT]), math.exp(p[_LEFT]), p[_M], math.exp(p[_S])
    )


@kernel
def _advance(p: Array, step: Array, unit: float, trial: Array) -> None:
    """p + step, at most 1 in the logarithms and one standard deviation in m, and inside the outer limits."""
    longest = max(abs(step[_RIGHT]), abs(step[_LEFT]), abs(step[_S]), abs(step[_M]) / unit, 1.0)
    for i in range(_SIZE):
        trial[i] = p[i] + step[i] / longest
    for i in (_RIGHT, _LEFT):
        trial[i] = min(max(trial[i], math.log(SMALLEST_WING)), math.log(LEE_SLOPE))
    trial[_M] = min(max(trial[_M], -8.0 * unit), 8.0 * unit)
    trial[_S] = min(max(trial[_S], math.log(0.01 * unit)), math.log(50.0 * unit))


@kernel
def _grid(params: Array, below: Array, above: Array, extra: Array) -> Array:
    """Rows (k, lower limit of w over its scale, 1/scale, 1/upper limit) over which w is constrained."""
    size = _OWN_NODES + extra.size + (_NEIGHBOUR_NODES if below.size else 0) + (_NEIGHBOUR_NODES if above.size else 0)
    grid = np.empty((size, 4))
    used = 0
    for source in (params, below, above):
        if source.size:
            used = _hyperbola_nodes(source, _OWN_NODES if used == 0 else _NEIGHBOUR_NODES, grid, used)
    for j in range(extra.size):
        grid[used + j, _NODE] = extra[j]
    for j in range(size):
        k = grid[j, _NODE]
        scale = below if below.size else params
        w = value(scale[0], scale[1], scale[2], scale[3], scale[4], k)[0]
        grid[j, _FLOOR] = 1.0 if below.size else 0.0
        grid[j, _PER_SCALE] = 1.0 / max(w, 1e-12)
        grid[j, _PER_CEILING] = (
            1.0 / value(above[0], above[1], above[2], above[3], above[4], k)[0] if above.size else 0.0
        )
    return grid


@kernel
def _hyperbola_nodes(params: Array, count: int, grid: Array, start: int) -> int:
    # Even steps of ln t in k = m + σ(t − 1/t)/2: fine around the bend, coarse in the straight wings.
    m, sigma = params[3], params[4]
    first, last = math.asinh((-_REACH - m) / sigma), math.asinh((_REACH - m) / sigma)
    t, ratio = math.exp(first), math.exp((last - first) / (count - 1))
    for j in range(start, start + count):
        grid[j, _NODE] = m + 0.5 * sigma * (t - 1.0 / t)
        t *= ratio
    return start + count


@kernel
def _wing_limits(below: Array, above: Array) -> Array:
    """(lower, upper) limit of c₊, then of c₋."""
    limits = np.empty(4)
    for side in range(2):
        sign = 1.0 - 2.0 * side
        limits[2 * side] = below[1] * (1.0 + sign * below[2]) if below.size else 0.0
        limits[2 * side + 1] = above[1] * (1.0 + sign * above[2]) if above.size else LEE_SLOPE
    return limits


@kernel
def _objective(
    p: Array,
    observations: Array,
    ttm: float,
    grid: Array,
    limits: Array,
    centre: Array,
    stiffness: Array,
    unit: float,
    mu: float,
    epsilon: float,
    gradient: Array,
    matrix: Array,
) -> float:
    """The objective, its gradient and second-order matrix (lower triangle) at p; infinite where w is not positive."""
    for i in range(_SIZE):
        gradient[i] = 0.0
        for j in range(_SIZE):
            matrix[i, j] = 0.0
    if not p[_A] + math.exp(p[_S] + 0.5 * (p[_RIGHT] + p[_LEFT])) > 0.0:
        return math.inf
    total = _add_observations(p, observations, ttm, gradient, matrix)
    total += mu * _add_grid(p, grid, mu, epsilon, gradient, matrix)
    for side in range(2):
        i = _RIGHT + side
        slope = math.exp(p[i])
        for h, rate in (
            ((slope - limits[2 * side]) / (limits[2 * side] + 0.02 * unit), slope / (limits[2 * side] + 0.02 * unit)),
            (1.0 - slope / limits[2 * side + 1], -slope / limits[2 * side + 1]),
        ):
            inner, beyond, first, second = _barrier(h - GAP_MARGIN, epsilon)
            total += mu * (beyond - math.log(inner))
            gradient[i] += mu * first * rate
            matrix[i, i] += mu * second * rate * rate
    stray = p[_S] - math.log(NATURAL_BEND * unit)
    total += 0.5 * BEND_PULL * stray * stray
    gradient[_S] += BEND_PULL * stray
    matrix[_S, _S] += BEND_PULL
    for i in range(stiffness.size):
        length = unit * unit if i == _A else (unit if i == _M else 1.0)
        off = (p[i] - centre[i]) / length
        total += 0.5 * stiffness[i] * off * off
        gradient[i] += stiffness[i] * off / length
        matrix[i, i] += stiffness[i] / (length * length)
    return total if total < math.inf else math.inf


@kernel
def _add_observations(p: Array, observations: Array, ttm: float, gradient: Array, matrix: Array) -> float:
    """The robust loss of all residuals, added to gradient and matrix."""
    dw, d1, d2 = np.empty(_SIZE), np.empty(_SIZE), np.empty(_SIZE)
    right, left, s = math.exp(p[_RIGHT]), math.exp(p[_LEFT]), math.exp(p[_S])
    total = 0.0
    for i in range(observations.shape[0]):
        w = _with_derivatives(p[_A], right, left, p[_M], s, observations[i, K], dw, d1, d2)[0]
        width, weight = observations[i, WIDTH], observations[i, WEIGHT]
        sigma = math.sqrt(w / ttm)
        r = residual(sigma, observations[i, LOW], observations[i, HIGH], width)
        loss, trust = robust(r)
        total += weight * loss
        if r != 0.0:
            trust *= weight
            rate = 0.5 / (sigma * ttm * width)  # ∂r/∂w
            _add(gradient, matrix, dw, trust * r * rate, trust * rate * rate)
    return total


@kernel
def _add_grid(p: Array, grid: Array, mu: float, epsilon: float, gradient: Array, matrix: Array) -> float:
    """Σφ over the grid; μ times its derivatives is added to gradient and matrix."""
    dw, d1, d2, dg = np.empty(_SIZE), np.empty(_SIZE), np.empty(_SIZE), np.empty(_SIZE)
    right, left, m, s = math.exp(p[_RIGHT]), math.exp(p[_LEFT]), p[_M], math.exp(p[_S])
    total = 0.0
    for j in range(grid.shape[0]):
        k = grid[j, _NODE]
        w, slope, bend = _with_derivatives(p[_A], right, left, m, s, k, dw, d1, d2)
        per_w = 1.0 / w
        tilt = 1.0 - 0.5 * k * slope * per_w
        g = tilt * tilt - 0.25 * slope * slope * (per_w + 0.25) + 0.5 * bend
        g_w = (tilt * k + 0.25 * slope) * slope * per_w * per_w
        g_slope = -tilt * k * per_w - 0.5 * slope * (per_w + 0.25)
        for i in range(_SIZE):
            dg[i] = g_w * dw[i] + g_slope * d1[i] + 0.5 * d2[i]
        inner, beyond, pull, push = _barrier(g - G_MARGIN, epsilon)
        _add(gradient, matrix, dg, mu * pull, mu * push)

        per_scale, per_ceiling = grid[j, _PER_SCALE], grid[j, _PER_CEILING]
        lower = w * per_scale - grid[j, _FLOOR] - GAP_MARGIN
        upper = 1.0 - w * per_ceiling - GAP_MARGIN
        inner1, beyond1, pull1, push1 = _barrier(lower, epsilon)
        inner2, beyond2, pull2, push2 = _barrier(upper, epsilon)
        pull_w = pull1 * per_scale - pull2 * per_ceiling
        _add(
            gradient, matrix, dw, mu * pull_w, mu * (push1 * per_scale * per_scale + push2 * per_ceiling * per_ceiling)
        )
        total += beyond + beyond1 + beyond2 - math.log(inner * inner1 * inner2)
        if g < _NEAR:
            _add_curvature_of_g(k, w, slope, tilt, mu * pull, dw, d1, matrix)
            _add_curvature(
                right, left, k - m, s, mu * (pull * g_w + pull_w), mu * pull * g_slope, 0.5 * mu * pull, matrix
            )
        elif lower < _NEAR or upper < _NEAR:
            _add_curvature(right, left, k - m, s, mu * pull_w, 0.0, 0.0, matrix)
    return total


@kernel
def _barrier(h: float, epsilon: float) -> tuple[float, float, float, float]:
    """φ(h) as −ln(first) + second, then φ′ and φ″."""
    if h > epsilon:
        per_h = 1.0 / h
        return h, 0.0, -per_h, per_h * per_h
    off = (h - epsilon) / epsilon
    return epsilon, 0.5 * off * off - off, (off - 1.0) / epsilon, 1.0 / (epsilon * epsilon)


@kernel
def _add_curvature_of_g(
    k: float, w: float, slope: float, tilt: float, pull: float, dw: Array, d1: Array, matrix: Array
) -> None:
    """Add pull·(second derivatives of g in (w, w′)) to the lower triangle; g is linear in w″."""
    tilt_w, tilt_slope = 0.5 * k * slope / (w * w), -0.5 * k / w
    ww = 2.0 * tilt_w * tilt_w - (2.0 * tilt * k + 0.5 * slope) * slope / (w * w * w)
    ws = 2.0 * tilt_w * tilt_slope + (tilt * k + 0.5 * slope) / (w * w)
    ss = 2.0 * tilt_slope * tilt_slope - 0.5 / w - 0.125
    for i in range(_SIZE):
        for j in range(i + 1):
            crossed = dw[i] * d1[j] + d1[i] * dw[j]
            matrix[i, j] += pull * (ww * dw[i] * dw[j] + ws * crossed + ss * d1[i] * d1[j])


@kernel
def _with_derivatives(
    a: float, right: float, left: float, m: float, s: float, k: float, dw: Array, d1: Array, d2: Array
) -> tuple[float, float, float]:
    """(w, w′, w″) at k, and their derivatives in p."""
    x = k - m
    root = math.sqrt(x * x + s * s)
    y = x / root
    up, down = 0.5 * (root + x), 0.5 * (root - x)
    half = 0.5 * (right + left)
    slope = 0.5 * (right * (1.0 + y) - left * (1.0 - y))
    share = s * s / (root * root)
    bend = half * share / root
    dw[0], dw[1], dw[2], dw[3], dw[4] = 1.0, right * up, left * down, -slope, half * s * s / root
    d1[0], d1[1], d1[2], d1[3], d1[4] = 0.0, 0.5 * right * (1.0 + y), -0.5 * left * (1.0 - y), -bend, -x * bend
    third = 0.5 * share / root
    d2[0], d2[1], d2[2] = 0.0, right * third, left * third
    d2[3], d2[4] = 3.0 * bend * y / root, bend * (2.0 - 3.0 * share)
    return a + right * up + left * down, slope, bend


@kernel
def _add_curvature(
    right: float, left: float, x: float, s: float, of_w: float, of_slope: float, of_bend: float, matrix: Array
) -> None:
    """Add of_w·∇²w + of_slope·∇²w′ + of_bend·∇²w″ (second derivatives in p) at x = k − m to the lower triangle."""
    q = 1.0 / math.sqrt(x * x + s * s)
    y, share = x * q, s * s * q * q  # x/R, σ²/R²
    half = 0.5 * (right + left)
    third = 0.5 * share * q  # of right or left: w″ per unit of slope
    fourth = -3.0 * third * y * q  # its derivative in k
    for side in (1, 2):
        wing = right if side == 1 else left
        sign = 1.0 if side == 1 else -1.0
        first = 0.5 * (1.0 + sign * y)  # ∂φ/∂x up to its sign
        phi = 0.5 * (1.0 / q + sign * x)
        matrix[side, side] += wing * (of_w * phi + of_slope * sign * first + of_bend * third)
        matrix[3, side] -= wing * (of_w * sign * first + of_slope * third + of_bend * fourth)
        matrix[4, side] += wing * 0.5 * share * (of_w / q - of_slope * y + of_bend * q * (3.0 * y * y - 1.0))
    bend = 2.0 * half * third
    matrix[3, 3] += of_w * bend - of_slope * 3.0 * bend * y * q + of_bend * 3.0 * bend * q * q * (5.0 * y * y - 1.0)
    matrix[4, 3] += (
        of_w * x * bend + of_slope * bend * (1.0 - 3.0 * y * y) + of_bend * 3.0 * bend * y * q * (5.0 * y * y - 3.0)
    )
    matrix[4, 4] += (
        half
        * share
        * (
            of_w * (2.0 - share) / q
            + of_slope * y * (3.0 * share - 2.0)
            + of_bend * q * (6.0 * y * y - 2.0 + share * (3.0 - 15.0 * y * y))
        )
    )


@kernel
def _add(gradient: Array, matrix: Array, direction: Array, slope: float, curvature: float) -> None:
    for i in range(_SIZE):
        gradient[i] += slope * direction[i]
        scaled = curvature * direction[i]
        for j in range(i + 1):
            matrix[i, j] += scaled * direction[j]


@kernel
def _solve_damped(matrix: Array, gradient: Array, damping: float, factor: Array, step: Array) -> bool:
    """step = −(H + damping·|diag H|)⁻¹·gradient by Cholesky; False where that matrix is not positive definite."""
    for i in range(_SIZE):
        for j in range(i + 1):
            total = matrix[i, j]
            if i == j:
                total += damping * abs(matrix[i, i]) + 1e-14
            for c in range(j):
                total -= factor[i, c] * factor[j, c]
            if i == j:
                if not total > 1e-14:
                    return False
                factor[i, i] = math.sqrt(total)
            else:
                factor[i, j] = total / factor[j, j]
    for i in range(_SIZE):
        total = -gradient[i]
        for c in range(i):
            total -= factor[i, c] * step[c]
        step[i] = total / factor[i, i]
    for i in range(_SIZE - 1, -1, -1):
        total = step[i]
        for c in range(i + 1, _SIZE):
            total -= factor[c, i] * step[c]
        step[i] = total / factor[i, i]
    return True


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One fit without its certificates, which `pricer.surfaces.warm` adds: those kernels are another module's."""
    observations = np.array([[k, 0.49, 0.51, 0.01, 1.0] for k in (-0.1, 0.0, 0.1)])
    params, none = np.array([0.024, 0.01, 0.0, 0.0, 0.1]), np.empty(0)
    return [("fit_hard", lambda: fit_hard(observations, 0.1, none, none, none, none, none, 0.1, params)[1])]
