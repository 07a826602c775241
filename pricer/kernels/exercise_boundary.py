"""The early-exercise boundary of an American put with strike 1, by spectral collocation.

Andersen, Lake and Offengenden (2016), "High-performance American option pricing", and Andersen and Lake (2021), "Fast
American option pricing: the double-boundary case". With t years left, exercise is optimal

    r > 0, or r = 0 > q     below an upper boundary B(t), which starts at B(0) = min(1, r/q) for q > 0, else at 1
    q < r < 0               between B(t), from B(0) = 1, and a lower boundary Y(t), which starts at Y(0) = r/q and
                            rises; where the two meet, at the horizon, exercise ends for all longer times
    otherwise               never

Smooth fit, dV/dS = -1 at the boundary, is an equation in that boundary alone, for both (multiplied by B; u is the time
left at an earlier exercise, v = t - u, and d± are those of B(t)/B(u) over v):

    B·(exp(-q·t)·Φ(d+) + q·∫ exp(-q·v)·Φ(d+) du) = ∫ (r - q·B(u))·exp(-r·v)·φ(d-)/(sigma·√v) du,

for Y with its sign and the other wing: -q·Y·∫ exp(-q·v)·Φ(-d+) du = the same right-hand side. That the two are
uncoupled is seen by giving V the value 1 - S beyond the one boundary that is asked for: Itô's formula still holds.
Both sides are positive, so their logarithms are compared.

The unknown is H = ln²(B), interpolated in ξ = √(u/horizon) through Chebyshev points; H(0) is known. (H and not B: near
expiry ln(B) goes like √(u·ln u), the square of which is nearly smooth.) With u = t·sin²(θ) the integrands are smooth
in θ, and one Gauss-Legendre rule serves all nodes. The paper iterates a fixed point; here the whole system is solved
by Newton's method with its exact Jacobian, which needs four or five steps where the fixed point needs tens, and
converges also where the fixed point does not: for low volatilities and rates of any sign.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pricer.kernels.jit import kernel
from pricer.kernels.normal import INV_SQRT_2PI

Floats = npt.NDArray[np.float64]

NODES = 20  # collocation points; the error of a price is then 1e-12 typically and 1e-7 at worst (tests)
POINTS = 40  # of the quadrature

SQRT_HALF = 0.7071067811865476

UPPER = 1.0
LOWER = -1.0

MAX_STEPS = 25
MAX_TRIALS = 80  # of horizons
STEP_DONE = 1e-9  # relative, in H: the next Newton step would be its square

# Rows of the scratch array below the NODES rows of the linear system: H at the nodes, its Chebyshev coefficients, and
# what moves the two sides of one node's equation at each point of the quadrature.
UPPER_H, LOWER_H, _UPPER_SERIES, _LOWER_SERIES, LEFT, RIGHT = range(NODES, NODES + 6)
SUMS = NODES + 6  # and three more: the integrals of `american`


Work: TypeAlias = tuple[Floats, Floats, Floats, Floats, Floats, Floats]


def _tables() -> tuple[Floats, Floats, Floats, Floats]:
    """ξ of the nodes; (sin θ, cos θ, weight·dsin²θ/dθ) of the rule; each node's value at each point; H to series.

    The third is the Lagrange basis: H(ξ_i·sin θ_k) = H(0) + Σ_j basis[i, k, j]·(H_j - H(0)).
    """
    angles = np.pi * np.arange(NODES + 1) / NODES
    xi = 0.5 * (1.0 - np.cos(angles))
    x, weight = np.polynomial.legendre.leggauss(POINTS)
    theta = 0.25 * np.pi * (x + 1.0)
    rule = np.array([np.sin(theta), np.cos(theta), 0.25 * np.pi * weight * np.sin(2.0 * theta)])
    half_ends = np.ones(NODES + 1)
    half_ends[[0, -1]] = 0.5
    # Chebyshev coefficients from values at the points 1 - 2ξ = cos(angle), and the series at any other point.
    degree = np.arange(NODES + 1)
    to_series = 2.0 / NODES * half_ends[:, None] * np.cos(np.outer(degree, angles)) * half_ends[None, :]
    places = np.arccos(1.0 - 2.0 * np.outer(xi[1:], rule[0]))
    basis = np.cos(places[..., None] * degree) @ to_series
    return xi[1:].copy(), rule, np.ascontiguousarray(basis[..., 1:]), to_series


# Gauss and Kronrod's rule of 7 and 15 points on (-1, 1), for the integrals of `american`: places, weights, and the
# weights of the 7 (Kronrod 1965).
_HALF = np.array(
    [
        [0.991455371120812639, 0.0229353220105292250, 0.0],
        [0.949107912342758525, 0.0630920926299785533, 0.129484966168869693],
        [0.864864423359769073, 0.104790010322250184, 0.0],
        [0.741531185599394440, 0.140653259715525919, 0.279705391489276668],
        [0.586087235467691130, 0.169004726639267903, 0.0],
        [0.405845151377397167, 0.190350578064785410, 0.381830050505118945],
        [0.207784955007898468, 0.204432940075298892, 0.0],
        [0.0, 0.209482141084727828, 0.417959183673469388],
    ]
).T
KRONROD = np.hstack([_HALF * [[-1.0], [1.0], [1.0]], _HALF[:, 6::-1]])

_TABLES = (*_tables(), KRONROD)


def workspace() -> Work:
    """Tables, shared, and scratch memory of one's own: what every function here and in `american` works in."""
    return (*_TABLES, np.empty((NODES + 10, max(NODES + 1, POINTS))))


@kernel
def phi(z: float) -> float:
    """φ(z), the normal density."""
    return INV_SQRT_2PI * math.exp(-0.5 * z * z)


@kernel
def cumulative(z: float) -> float:
    """Φ(z), by libm. The polynomials of `normal` are made for SIMD loops; inlined here they double the compile time."""
    return 0.5 * math.erfc(-SQRT_HALF * z)


@kernel
def solve(r: float, q: float, ttm: float, sigma: float, work: Work) -> float:
    """Finds the boundaries for times left up to ttm; returns their horizon, NaN where there is no convergence.

    The horizon is ttm, or less where two boundaries meet before. That place is found to 1e-7 relative: prices hardly
    feel it, as little is left between the boundaries there.
    """
    scratch = work[5]
    last = work[0].shape[0] - 1
    double = r < 0.0
    low, low_gap = 0.0, math.log(q / r) if double else 0.0
    high, high_gap = ttm, math.nan
    trial = ttm
    for _ in range(MAX_TRIALS):
        found = newton(r, q, trial, sigma, UPPER, work) and (not double or newton(r, q, trial, sigma, LOWER, work))
        gap = math.sqrt(scratch[LOWER_H, last]) - math.sqrt(scratch[UPPER_H, last]) if found and double else math.nan
        if found and (not double or (gap > 0.0 and (trial == ttm or gap < 1e-7 or high - trial < 1e-7 * high))):
            make_series(r, q, work)
            return trial
        if not double:
            break
        if gap > 0.0:
            low, low_gap = trial, gap
        else:
            high, high_gap = trial, gap
        # The gap is nearly linear in √t. Past the meeting the equations may have no solution, and the gap is NaN.
        part = 0.5
        if high_gap < 0.0:
            part = min(max(low_gap / (low_gap - high_gap) * (1.0 - 1e-8), 0.02), 0.98)
        root = math.sqrt(low) + part * (math.sqrt(high) - math.sqrt(low))
        trial = root * root
    return math.nan


@kernel
def start(r: float, q: float, side: float) -> float:
    """H at expiry."""
    if side == LOWER or q > r > 0.0:
        distance_at_start = math.log(r / q)
        return distance_at_start * distance_at_start
    return 0.0


@kernel
def first_guess(r: float, q: float, ttm: float, sigma: float, side: float, work: Work) -> None:
    """H at the nodes: the law near expiry, bent to the boundary of the perpetual option where that is known."""
    xi, scratch = work[0], work[5]
    nodes = xi.shape[0]
    variance = sigma * sigma
    at_start = math.sqrt(start(r, q, side))
    if side == LOWER:
        for i in range(nodes):
            fall = 0.64 * sigma * math.sqrt(ttm) * xi[i]
            y = at_start / (1.0 + fall / at_start)
            scratch[LOWER_H, i] = y * y
        return
    drift = (r - q) / variance - 0.5
    square = drift * drift + 2.0 * r / variance
    limit = math.inf
    if square >= 0.0:
        root = drift + math.sqrt(square)  # minus the exponent of the perpetual put
        if root > 0.0:
            limit = -math.log(root / (1.0 + root)) - at_start
    if r < 0.0:
        limit = min(limit, 0.9 * math.log(q / r))  # above the lower boundary
    for i in range(nodes):
        t = ttm * xi[i] * xi[i]
        deviation = sigma * math.sqrt(t)
        pull = max(abs(r - q), 0.02 * abs(r)) if r > q else math.sqrt(variance / t) + abs(r)
        slope = math.sqrt(math.log1p(variance / (8.0 * math.pi * t * pull * pull)))
        fall = deviation * min(max(slope, 0.64), 6.0)
        if at_start > 0.0:
            fall = max(2.3 * deviation - at_start, 0.64 * deviation)
        if 0.0 < limit < math.inf:
            fall = limit * -math.expm1(-fall / limit)
        y = at_start + fall
        scratch[UPPER_H, i] = y * y


@kernel
def newton(r: float, q: float, ttm: float, sigma: float, side: float, work: Work) -> bool:
    """Solves one boundary's system, into its row of `work`; whether it converged."""
    scratch = work[5]
    nodes = work[0].shape[0]
    row = UPPER_H if side == UPPER else LOWER_H
    at_start = start(r, q, side)
    first_guess(r, q, ttm, sigma, side, work)
    for _ in range(MAX_STEPS):
        linearise(r, q, ttm, sigma, side, work)
        eliminate(work)
        # No node may move by more than a factor of four, as one: a bent interpolant is worse than a slow step.
        part = 1.0
        largest = 0.0
        for i in range(nodes):
            # Where B moves by less than a ten-thousandth in all, its distance from the start is mostly round-off.
            move = -scratch[i, nodes] / (abs(scratch[row, i] - at_start) + 1e-4 * at_start)
            if not abs(move) < 1e300:
                return False
            largest = max(largest, abs(move))
            if part * move < -0.75:
                part = -0.75 / move
            if part * move > 3.0:
                part = 3.0 / move
        for i in range(nodes):
            scratch[row, i] -= part * scratch[i, nodes]
            if not scratch[row, i] > 0.0:
                return False
        if largest < STEP_DONE:
            return True
    return False


@kernel
def linearise(r: float, q: float, ttm: float, sigma: float, side: float, work: Work) -> None:
    """Row i of the scratch: the derivatives in all H of node i's equation, ln(left) - ln(right) = 0, then its value."""
    xi, rule, basis, _, _, scratch = work
    nodes, points = xi.shape[0], rule.shape[1]
    h = scratch[UPPER_H if side == UPPER else LOWER_H]
    at_start = start(r, q, side)
    by_left, by_right = scratch[LEFT], scratch[RIGHT]
    for i in range(nodes):
        t = ttm * xi[i] * xi[i]
        deviation = sigma * math.sqrt(t)
        y = math.sqrt(h[i])
        boundary = math.exp(-y)
        left = left_slope = right = right_slope = 0.0  # slopes in ln(B(t)), the place itself
        first_left = first_right = 0.0
        if side == UPPER:
            d_plus = ((r - q) * t - y) / deviation + 0.5 * deviation
            left = boundary * math.exp(-q * t) * cumulative(d_plus)
            left_slope = boundary * math.exp(-q * t) * phi(d_plus) / deviation
        for k in range(points):
            h_u = at_start
            for j in range(nodes):
                h_u += basis[i, k, j] * (h[j] - at_start)
            # Between expiry and the first node a polynomial may swing below zero, where H only grows faster than u.
            nearness = xi[i] * rule[0, k] / xi[0]
            square = nearness * nearness
            floored = at_start == 0.0 and square < 1.0 and h_u < square * h[0]
            if floored:
                h_u = square * h[0]
            y_u = math.sqrt(h_u)
            boundary_u = math.exp(-y_u)
            v = t * rule[1, k] * rule[1, k]
            s = deviation * rule[1, k]
            d_minus = (y_u - y + (r - q) * v) / s - 0.5 * s
            d_plus = d_minus + s
            weight = t * rule[2, k]
            density = weight * INV_SQRT_2PI * math.exp(-r * v - 0.5 * d_minus * d_minus)
            left += side * q * boundary * weight * math.exp(-q * v) * cumulative(side * d_plus)
            density /= s
            cost = r - q * boundary_u
            right += cost * density
            left_slope += q * boundary_u * density
            right_slope -= cost * density * d_minus / s
            per_h = -0.5 / y_u * density  # of ln(B(u))
            move_left = -q * boundary_u * per_h
            move_right = (cost * d_minus / s - q * boundary_u) * per_h
            if floored:
                first_left += square * move_left
                first_right += square * move_right
                move_left = move_right = 0.0
            by_left[k] = move_left
            by_right[k] = move_right
        left_slope += left
        line = scratch[i]
        for j in range(nodes):
            line[j] = 0.0
        for k in range(points):
            move = by_left[k] / left - by_right[k] / right
            for j in range(nodes):
                line[j] += move * basis[i, k, j]
        line[0] += first_left / left - first_right / right
        line[i] -= 0.5 / y * (left_slope / left - right_slope / right)
        line[nodes] = math.log(left / right)


@kernel
def eliminate(work: Work) -> None:
    """Gauss's elimination with row exchanges; the solution replaces the right-hand side (column NODES)."""
    a = work[5]
    nodes = work[0].shape[0]
    for c in range(nodes):
        best = c
        for i in range(c + 1, nodes):
            if abs(a[i, c]) > abs(a[best, c]):
                best = i
        if best != c:
            for j in range(c, nodes + 1):
                a[c, j], a[best, j] = a[best, j], a[c, j]
        for i in range(c + 1, nodes):
            factor = a[i, c] / a[c, c]
            for j in range(c + 1, nodes + 1):
                a[i, j] -= factor * a[c, j]
    for c in range(nodes - 1, -1, -1):
        rest = a[c, nodes]
        for j in range(c + 1, nodes):
            rest -= a[c, j] * a[j, nodes]
        a[c, nodes] = rest / a[c, c]


@kernel
def make_series(r: float, q: float, work: Work) -> None:
    """The Chebyshev coefficients of H from its values at the nodes, for the boundaries that there are."""
    to_series, scratch = work[3], work[5]
    nodes = work[0].shape[0]
    for lower in range(2 if r < 0.0 else 1):
        at_start = start(r, q, LOWER if lower else UPPER)
        for n in range(nodes + 1):
            total = to_series[n, 0] * at_start
            for j in range(nodes):
                total += to_series[n, j + 1] * scratch[UPPER_H + lower, j]
            scratch[UPPER_H + 2 + lower, n] = total


@kernel
def distance(xi: float, r: float, q: float, side: float, work: Work) -> float:
    """-ln of the boundary at time left ξ²·horizon, by Clenshaw's recurrence."""
    nodes, scratch = work[0], work[5]
    row = UPPER_H if side == UPPER else LOWER_H
    series = scratch[row + 2]
    x = 1.0 - 2.0 * xi
    newer = older = 0.0
    for n in range(nodes.shape[0], 0, -1):
        newer, older = series[n] + 2.0 * x * newer - older, newer
    h = series[0] + x * newer - older
    if xi < nodes[0] and start(r, q, side) == 0.0:
        h = max(h, xi * xi / (nodes[0] * nodes[0]) * scratch[row, 0])  # as in `linearise`
    return math.sqrt(max(h, 0.0))
