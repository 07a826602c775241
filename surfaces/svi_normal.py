"""The normal equations of raw SVI: what the quotes and the constraints of a slice add to a gradient and a matrix.

The unknowns are p = (a, ln c₊, ln c₋, m, ln σ), see `pricer.surfaces.svi`. Each quote and each grid point adds

    loss,   pull·∇q,   push·∇q·∇qᵀ

for its q, which is w(k) or g(k): the matrix is that of Gauss and Newton, without second derivatives of q, and never
indefinite. Points are taken in blocks, and each block in two steps: an elementwise loop, which
the compiler vectorises, writes ∇q, pull and push into `work`; then loops with few enough sums to stay in registers add
them up. One loop over points that does both takes three times as long.
"""

from __future__ import annotations

import math

from pricer.kernels.jit import inlined, kernel
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K
from pricer.surfaces.smile import Array

A, RIGHT, LEFT, M, S = range(5)  # the coordinates
SIZE = 5
PACKED = SIZE + SIZE * (SIZE + 1) // 2  # the gradient, then the lower triangle of a symmetric matrix by rows

# So many half-spreads away a quote is more likely wrong than news: its pull fades.
FAR = 10.0

# Rows of a table of quotes: a residual counts between `_LOWEST` and `_HIGHEST`, so a bound only while it is broken.
_K, _TARGET, _PER_WIDTH, _LOWEST, _HIGHEST, _WEIGHT = range(6)
QUOTE_ROWS = 6

# Rows of a grid: w·per_below − floor and ceiling − w·per_own are held above zero at each node.
NODE, FLOOR, PER_BELOW, CEILING, PER_OWN = range(5)
GRID_ROWS = 5

# Rows of `work`, one block long each, flat so that the compiler sees that they do not overlap: ∂q/∂p and derivatives
# of the loss in q, first for q = w, then for q = g; and the loss in two parts.
_BLOCK = 64
_W0, _W1, _W2, _W3, _W4, _PULL_W, _PUSH_W = range(0, 7 * _BLOCK, _BLOCK)
_G0, _G1, _G2, _G3, _G4, _PULL_G, _PUSH_G, _LOSS, _REST = range(7 * _BLOCK, 16 * _BLOCK, _BLOCK)
_PULL, _PUSH = _PULL_W - _W0, _PUSH_W - _W0  # from the first row of either
WORK = 16 * _BLOCK

_TINY_W = 1e-12


@kernel
def tabulate_quotes(observations: Array, table: Array) -> None:
    """The columns of `quotes.Selection.observations` as rows of figures that `add_quotes` needs."""
    for i in range(observations.shape[0]):
        low, high = observations[i, LOW], observations[i, HIGH]
        table[_K, i] = observations[i, K]
        table[_PER_WIDTH, i] = 1.0 / observations[i, WIDTH]
        table[_WEIGHT, i] = observations[i, WEIGHT]
        table[_LOWEST, i] = 0.0 if low == -math.inf else -math.inf
        table[_HIGHEST, i] = 0.0 if high == math.inf else math.inf
        table[_TARGET, i] = high if low == -math.inf else (low if high == math.inf else 0.5 * (low + high))


@kernel
def add_quotes(p: Array, table: Array, first: int, end: int, ttm: float, work: Array, normal: Array) -> float:
    """Σ weight·loss(residual) over columns `first` to `end`, its derivatives added to `normal`.

    A w below zero counts as no volatility.
    """
    a, right, left, m, s = p[A], math.exp(p[RIGHT]), math.exp(p[LEFT]), p[M], math.exp(p[S])
    ss, half, per_ttm = s * s, 0.5 * (right + left), 1.0 / ttm
    total = 0.0
    for start in range(first, end, _BLOCK):
        n = min(_BLOCK, end - start)
        k, target, per_width = table[_K, start:], table[_TARGET, start:], table[_PER_WIDTH, start:]
        lowest, highest, weight = table[_LOWEST, start:], table[_HIGHEST, start:], table[_WEIGHT, start:]
        for i in range(n):
            x = k[i] - m
            root = math.sqrt(x * x + ss)
            per_root = 1.0 / root
            up, down = 0.5 * right * (root + x), 0.5 * left * (root - x)
            work[_W0 + i], work[_W1 + i], work[_W2 + i] = 1.0, up, down
            work[_W3 + i], work[_W4 + i] = 0.5 * (left - right) - half * x * per_root, half * ss * per_root
            sigma = math.sqrt(max(a + up + down, _TINY_W) * per_ttm)
            r = min(max((sigma - target[i]) * per_width[i], lowest[i]), highest[i])
            rate = 0.5 * per_width[i] * per_ttm / sigma  # ∂r/∂w
            size = abs(r)
            per_size = 1.0 / max(size, 1.0)
            trust = weight[i] * min(per_size, FAR * per_size * per_size)
            work[_PULL_W + i] = trust * r * rate
            work[_PUSH_W + i] = trust * rate * rate if size > 0.0 else 0.0
            work[_LOSS + i] = weight[i] * (0.5 * size * size if size <= 1.0 else min(size, FAR) - 0.5)
            work[_REST + i] = size
        for i in range(n):
            total += work[_LOSS + i]
            if work[_REST + i] > FAR:  # a logarithm, and rare: not in the loop above
                total += weight[i] * FAR * math.log(work[_REST + i] / FAR)
        _add_sums(n, _W0, work, normal)
    return total


@kernel
def add_grid(
    p: Array, grid: Array, mu: float, epsilon: float, g_margin: float, gap_margin: float, work: Array, normal: Array
) -> float:
    """μ·Σφ over the constraints of `grid` with its derivatives added to `normal`."""
    a, right, left, m, s = p[A], math.exp(p[RIGHT]), math.exp(p[LEFT]), p[M], math.exp(p[S])
    ss, half = s * s, 0.5 * (right + left)
    total = 0.0
    for start in range(0, grid.shape[1], _BLOCK):
        n = min(_BLOCK, grid.shape[1] - start)
        node, floor, per_below = grid[NODE, start:], grid[FLOOR, start:], grid[PER_BELOW, start:]
        ceiling, per_own = grid[CEILING, start:], grid[PER_OWN, start:]
        for j in range(n):
            k = node[j]
            x = k - m
            root = math.sqrt(x * x + ss)
            per_root = 1.0 / root
            y, share = x * per_root, ss * per_root * per_root
            up, down = 0.5 * right * (root + x), 0.5 * left * (root - x)
            rise, fall = 0.5 * right * (1.0 + y), 0.5 * left * (1.0 - y)
            w, slope, bend = a + up + down, rise - fall, half * share * per_root
            w_s = half * ss * per_root
            per_w = 1.0 / w
            tilt = 1.0 - 0.5 * k * slope * per_w
            g = tilt * tilt - 0.25 * slope * slope * (per_w + 0.25) + 0.5 * bend
            g_w = (tilt * k + 0.25 * slope) * slope * per_w * per_w
            g_slope = -tilt * k * per_w - 0.5 * slope * (per_w + 0.25)
            third = 0.25 * share * per_root  # half of ∂w″ by a wing's slope
            work[_W0 + j], work[_W1 + j], work[_W2 + j], work[_W3 + j], work[_W4 + j] = 1.0, up, down, -slope, w_s
            work[_G0 + j] = g_w
            work[_G1 + j] = g_w * up + g_slope * rise + right * third
            work[_G2 + j] = g_w * down - g_slope * fall + left * third
            work[_G3 + j] = -g_w * slope - g_slope * bend + 1.5 * bend * y * per_root
            work[_G4 + j] = g_w * w_s - g_slope * x * bend + 0.5 * bend * (2.0 - 3.0 * share)
            apart = g - g_margin
            over, under = w * per_below[j] - floor[j] - gap_margin, ceiling[j] - w * per_own[j] - gap_margin
            rest, first, second = barrier(apart, epsilon)
            rest1, first1, second1 = barrier(over, epsilon)
            rest2, first2, second2 = barrier(under, epsilon)
            work[_PULL_G + j], work[_PUSH_G + j] = mu * first, mu * second
            work[_PULL_W + j] = mu * (first1 * per_below[j] - first2 * per_own[j])
            work[_PUSH_W + j] = mu * (second1 * per_below[j] * per_below[j] + second2 * per_own[j] * per_own[j])
            work[_LOSS + j] = max(apart, epsilon) * max(over, epsilon) * max(under, epsilon)
            work[_REST + j] = rest + rest1 + rest2
        product = 1.0
        for j in range(n):
            total += work[_REST + j]
            product *= work[_LOSS + j]
            if j % 4 == 3:  # one logarithm for the factors of four nodes
                total -= math.log(product)
                product = 1.0
        total -= math.log(product)
        _add_sums(n, _W0, work, normal)
        _add_sums(n, _G0, work, normal)
    return mu * total


@kernel
def add_pair(
    lower: Array, upper: Array, nodes: Array, per_lower: Array, mu: float, epsilon: float, gap_margin: float,
    work: Array, lower_normal: Array, upper_normal: Array, cross: Array,
) -> float:  # fmt: skip
    """μ·Σφ((w_upper − w_lower)·per_lower − margin), its derivatives added to both `normal`s; at most a block of nodes.

    `cross` (upper's coordinates by lower's) receives the mixed second derivatives.
    """
    n = nodes.size
    for offset, p in ((_W0, lower), (_G0, upper)):
        right, left, m, s = math.exp(p[RIGHT]), math.exp(p[LEFT]), p[M], math.exp(p[S])
        ss, half = s * s, 0.5 * (right + left)
        for j in range(n):
            x = nodes[j] - m
            root = math.sqrt(x * x + ss)
            per_root = 1.0 / root
            work[offset + j] = 1.0
            work[offset + _BLOCK + j] = 0.5 * right * (root + x)
            work[offset + 2 * _BLOCK + j] = 0.5 * left * (root - x)
            work[offset + 3 * _BLOCK + j] = 0.5 * (left - right) - half * x * per_root
            work[offset + 4 * _BLOCK + j] = half * ss * per_root
    total, product, level = 0.0, 1.0, upper[A] - lower[A]
    for j in range(n):
        gap = level + (work[_G1 + j] + work[_G2 + j]) - (work[_W1 + j] + work[_W2 + j])
        h = gap * per_lower[j] - gap_margin
        rest, first, second = barrier(h, epsilon)
        work[_PULL_G + j], work[_PULL_W + j] = mu * first * per_lower[j], -mu * first * per_lower[j]
        work[_PUSH_G + j] = work[_PUSH_W + j] = mu * second * per_lower[j] * per_lower[j]
        total += rest
        product *= max(h, epsilon)
        if j % 8 == 7:
            total -= math.log(product)
            product = 1.0
    total -= math.log(product)
    _add_sums(n, _W0, work, lower_normal)
    _add_sums(n, _G0, work, upper_normal)
    _add_cross(n, work, cross)
    return mu * total


@kernel
def _add_cross(n: int, work: Array, cross: Array) -> None:
    for row in range(SIZE):
        u = _G0 + row * _BLOCK
        c0 = c1 = c2 = c3 = c4 = 0.0
        for j in range(n):
            f = work[_PUSH_G + j] * work[u + j]
            c0 += f
            c1 += f * work[_W1 + j]
            c2 += f * work[_W2 + j]
            c3 += f * work[_W3 + j]
            c4 += f * work[_W4 + j]
        cross[row, 0] -= c0
        cross[row, 1] -= c1
        cross[row, 2] -= c2
        cross[row, 3] -= c3
        cross[row, 4] -= c4


@inlined
def barrier(h: float, epsilon: float) -> tuple[float, float, float]:
    """(φ(h) + ln max(h, ε), φ′(h), φ″(h)): −ln h down to ε, its second order expansion below."""
    per_h = 1.0 / max(h, epsilon)
    off = min(h - epsilon, 0.0) * per_h
    return off * (0.5 * off - 1.0), (off - 1.0) * per_h, per_h * per_h


@kernel
def _add_sums(n: int, base: int, work: Array, normal: Array) -> None:
    """Add up the block whose rows begin at `base`."""
    s0 = s1 = s2 = s3 = s4 = m00 = m10 = m11 = m20 = m21 = 0.0
    for j in range(base, base + n):
        pull, push = work[_PULL + j], work[_PUSH + j]
        d0, d1, d2 = work[j], work[_BLOCK + j], work[2 * _BLOCK + j]
        f0, f1 = push * d0, push * d1
        s0 += pull * d0
        s1 += pull * d1
        s2 += pull * d2
        s3 += pull * work[3 * _BLOCK + j]
        s4 += pull * work[4 * _BLOCK + j]
        m00 += f0 * d0
        m10 += f1 * d0
        m11 += f1 * d1
        m20 += f0 * d2
        m21 += f1 * d2
    m22 = m30 = m31 = m32 = m33 = m40 = m41 = m42 = m43 = m44 = 0.0
    for j in range(base, base + n):
        push, d0, d1, d2 = work[_PUSH + j], work[j], work[_BLOCK + j], work[2 * _BLOCK + j]
        d3, d4 = work[3 * _BLOCK + j], work[4 * _BLOCK + j]
        f3, f4 = push * d3, push * d4
        m22 += push * d2 * d2
        m30 += f3 * d0
        m31 += f3 * d1
        m32 += f3 * d2
        m33 += f3 * d3
        m40 += f4 * d0
        m41 += f4 * d1
        m42 += f4 * d2
        m43 += f4 * d3
        m44 += f4 * d4
    sums = (
        s0, s1, s2, s3, s4,
        m00, m10, m11, m20, m21, m22, m30, m31, m32, m33, m40, m41, m42, m43, m44,
    )  # fmt: skip
    for i in range(PACKED):
        normal[i] += sums[i]


@inlined
def entry(row: int, column: int) -> int:
    """Where (row, column) of the matrix, row >= column, stands in a packed `normal`."""
    return SIZE + row * (row + 1) // 2 + column
