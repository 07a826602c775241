"""Raw SVI in the coordinates that quotes speak of: q = (w, w′, ln w″ at the money, ln c₊, ln c₋).

Quotes determine the first three well and the wing slopes only as far out as they reach, so a step in q does not have to
follow the curved valley that the raw parameters have: along it a, σ and both slopes trade off while the curve stays.
With h = (c₊ + c₋)/2, d = (c₊ − c₋)/2, y = (w′ − d)/h and z² = 1 − y² at k = 0, the way back is explicit:

    R = h·z²/w″,   σ = R·z,   m = −y·R,   a = w + d·m − h·R,

for every −c₋ < w′ < c₊, w″ > 0: there y is between −1 and 1.
"""

from __future__ import annotations

import math

from pricer.kernels.jit import kernel
from pricer.surfaces.smile import Array
from pricer.surfaces.svi_normal import LEFT, PACKED, RIGHT, SIZE, A, M, S, entry

W, SLOPE, BEND, LN_RIGHT, LN_LEFT = range(5)


@kernel
def to_shape(p: Array, q: Array) -> None:
    """q of p = (a, ln c₊, ln c₋, m, ln σ)."""
    right, left, m, s = math.exp(p[RIGHT]), math.exp(p[LEFT]), p[M], math.exp(p[S])
    half, root = 0.5 * (right + left), math.sqrt(m * m + s * s)
    q[W] = p[A] - 0.5 * (right - left) * m + half * root
    q[SLOPE] = 0.5 * (right - left) - half * m / root
    q[BEND] = math.log(half * s * s / (root * root * root))
    q[LN_RIGHT], q[LN_LEFT] = p[RIGHT], p[LEFT]


@kernel
def from_shape(q: Array, p: Array) -> bool:
    """p of q; False, and no p, outside the domain."""
    right, left = math.exp(q[LN_RIGHT]), math.exp(q[LN_LEFT])
    half, tilt = 0.5 * (right + left), 0.5 * (right - left)
    y = (q[SLOPE] - tilt) / half
    if not abs(y) < 1.0:
        return False
    zz = 1.0 - y * y
    root = half * zz / math.exp(q[BEND])
    p[RIGHT], p[LEFT] = q[LN_RIGHT], q[LN_LEFT]
    p[M], p[S] = -y * root, math.log(root) + 0.5 * math.log(zz)
    p[A] = q[W] + tilt * p[M] - half * root
    return True


@kernel
def jacobian(p: Array, by_shape: Array) -> None:
    """∂p/∂q at p; row i is that of p's coordinate i."""
    right, left, m, s = math.exp(p[RIGHT]), math.exp(p[LEFT]), p[M], math.exp(p[S])
    half, tilt, root = 0.5 * (right + left), 0.5 * (right - left), math.sqrt(m * m + s * s)
    y, zz = -m / root, s * s / (root * root)
    for j in range(SIZE):
        wing = right if j == LN_RIGHT else (left if j == LN_LEFT else 0.0)
        of_half, of_tilt = 0.5 * wing, (-0.5 * wing if j == LN_LEFT else 0.5 * wing)
        of_y = ((1.0 if j == SLOPE else 0.0) - of_tilt - y * of_half) / half
        of_root = root * (of_half / half - 2.0 * y * of_y / zz - (1.0 if j == BEND else 0.0))
        by_shape[M, j] = -root * of_y - y * of_root
        by_shape[S, j] = of_root / root - y * of_y / zz
        by_shape[A, j] = (
            (1.0 if j == W else 0.0) + m * of_tilt + tilt * by_shape[M, j] - root * of_half - half * of_root
        )
        by_shape[RIGHT, j] = 1.0 if j == LN_RIGHT else 0.0
        by_shape[LEFT, j] = 1.0 if j == LN_LEFT else 0.0


@kernel
def in_shape(normal: Array, by_shape: Array, out: Array) -> None:
    """The normal equations of p as those of q (the matrix without the second derivatives of p)."""
    for j in range(PACKED):
        out[j] = 0.0
    for j in range(SIZE):
        for r in range(SIZE):
            out[j] += by_shape[r, j] * normal[r]
    for i in range(SIZE):
        for r in range(SIZE):
            total = 0.0
            for c in range(SIZE):
                total += normal[entry(max(r, c), min(r, c))] * by_shape[c, i]
            for j in range(i + 1):
                out[entry(i, j)] += by_shape[r, j] * total
