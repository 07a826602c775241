"""Random raw SVI slices and pairs, many of them within roundings of the edge of what is free of arbitrage.

Rows are (a, b, rho, m, sigma). Each is looked at on 8,001 even points of |k| <= 4, and on points in steps of equal
ratio (of t in k = m + σ(t − 1/t)/2) that lie close together at the bend and reach far out; around the smallest value
the steps are then halved. Compiled, since a million slices have eight billion points.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numba
import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Kinds: TypeAlias = npt.NDArray[np.int64]

# How a slice was drawn: anywhere; with `a` or `sigma` found by bisection at the edge of g >= 0; with its steeper wing
# at Lee's bound; with its smallest w at zero. All but the first are then moved off that edge by their share.
KINDS = ("anywhere", "edge by a", "edge by sigma", "Lee's bound", "zero variance")
_ANYWHERE, _BY_A, _BY_SIGMA, _LEE, _ZERO = range(len(KINDS))

# How a pair was drawn: anywhere; shifted until it touches, then moved by its share; the same with equal wings.
PAIR_KINDS = ("anywhere", "touching", "touching, equal wings")
_PARALLEL = 2

POINTS = 8001
REACH = 4.0
_STEP = 2.0 * REACH / (POINTS - 1)
_FAR = 1e4  # the largest |k|
_FAR_STEPS = 80  # to each side

# Kept on disk beside this module: to compile takes some seconds.
_compiled = numba.njit(error_model="numpy", cache=True)


def random_slices(count: int, seed: int) -> tuple[Array, Kinds, Array]:
    """Rows, the index of each one's kind, and the share by which it was moved off its edge: ±1e-16 to ±0.1, or 0."""
    random = np.random.default_rng([seed, 6])
    sd = np.exp(random.uniform(math.log(0.01), 0.0, count))
    a = sd * sd * random.uniform(-0.1, 0.5, count)
    b = sd * np.exp(random.uniform(-3.0, 0.0, count))
    rho = np.where(random.random(count) < 0.1, 0.9999, 0.9) * random.uniform(-1.0, 1.0, count)
    m = 0.5 * sd * random.normal(0.0, 1.0, count)
    rows = np.stack((a, b, rho, m, sd * np.exp(random.uniform(-2.0, 1.0, count))), axis=1)
    kinds = random.choice(len(KINDS), count, p=[0.4, 0.2, 0.2, 0.1, 0.1])
    shares = _random_shares(random, count) * (kinds != _ANYWHERE)
    lee = kinds == _LEE
    rows[lee, 1] = 2.0 / (1.0 + np.abs(rho[lee])) * (1.0 + shares[lee])
    rows[lee, 0] = random.uniform(0.0, 5.0, int(lee.sum()))
    _to_the_edge(rows, kinds, shares)
    return rows, kinds, shares


def random_pairs(count: int, seed: int) -> tuple[Array, Array, Kinds, Array]:
    """Rows of the shorter and of the longer expiry, and kinds and shares as above."""
    random = np.random.default_rng([seed, 7])
    lower = random_slices(count, seed)[0]
    kinds = random.choice(len(PAIR_KINDS), count, p=[0.4, 0.4, 0.2])
    shares = _random_shares(random, count) * (kinds > 0)
    upper = lower * np.exp(random.normal(0.0, 0.3, (count, 5)))
    upper[:, 1] = np.maximum(upper[:, 1], lower[:, 1]) * random.uniform(1.0, 1.5, count)
    upper[:, 2] = np.clip(upper[:, 2], -0.9999, 0.9999)
    upper[:, 3] = lower[:, 3] + 0.3 * lower[:, 4] * random.normal(0.0, 1.0, count)
    upper[kinds == _PARALLEL, 1:3] = lower[kinds == _PARALLEL, 1:3]
    upper[:, 0] += (kinds == 0) * lower[:, 1] * lower[:, 4] * random.uniform(-0.5, 1.5, count)
    _to_touch(lower, upper, shares)
    return lower, upper, kinds, shares


def _random_shares(random: np.random.Generator, count: int) -> Array:
    return np.where(random.random(count) < 0.5, 1.0, -1.0) * 10.0 ** random.uniform(-16.0, -1.0, count)


@_compiled
def _to_the_edge(rows: Array, kinds: Kinds, shares: Array) -> None:
    for i in range(len(rows)):
        row = rows[i]
        size = row[1] * row[4]
        lowest = -size * math.sqrt(1.0 - row[2] * row[2])  # the a at which the smallest w is zero
        if kinds[i] == _BY_A:
            edge = _edge(row, 0, lowest, lowest + 10.0 * (size + row[1] * row[1]))
            row[0] = edge + shares[i] * (abs(edge) + size)
        elif kinds[i] == _BY_SIGMA:
            row[4] = _edge(row, 4, 1e-3 * row[4], 1e2 * row[4]) * (1.0 + shares[i])
        elif kinds[i] == _ZERO:
            row[0] = lowest + shares[i] * size


@_compiled
def _edge(row: Array, at: int, bad: float, good: float) -> float:
    """Where along parameter `at` the smallest g changes its sign, by bisection; the end where it does not."""
    trial = row.copy()
    for _ in range(54):
        trial[at] = 0.5 * (bad + good)
        if _g_by_ratio(trial) < 0.0:
            bad = trial[at]
        else:
            good = trial[at]
    return good


@_compiled
def _to_touch(lower: Array, upper: Array, shares: Array) -> None:
    """Shift each upper smile until it touches the lower one, then by its share; those with a share of 0 stay."""
    for i in range(len(lower)):
        row = upper[i]
        if shares[i] != 0.0:
            row[0] -= _gap_by_ratio(lower[i], row)
            row[0] += shares[i] * (abs(row[0]) + row[1] * row[4])


@_compiled
def smallest_g(rows: Array) -> Array:
    """The smallest g of each slice on all points; −inf where w is not positive."""
    found, evenly = np.empty(len(rows)), np.empty(POINTS)
    for i in range(len(rows)):
        row = rows[i]
        _even_g(row[0], row[1], row[2], row[3], row[4], evenly)
        found[i] = min(np.min(evenly), _g_by_ratio(row))
    return found


@_compiled
def smallest_gap(lower: Array, upper: Array) -> Array:
    """The smallest difference of total variance of each pair on all points."""
    found, low, high = np.empty(len(lower)), np.empty(POINTS), np.empty(POINTS)
    for i in range(len(lower)):
        first, second = lower[i], upper[i]
        _even_w(first[0], first[1], first[2], first[3], first[4], low)
        _even_w(second[0], second[1], second[2], second[3], second[4], high)
        found[i] = min(np.min(high - low), _gap_by_ratio(first, second))
    return found


# The two loops below take numbers and call nothing: then the compiler vectorises them.


@_compiled
def _even_g(a: float, b: float, rho: float, m: float, sigma: float, out: Array) -> None:
    for i in range(POINTS):
        k = _STEP * i - REACH
        x = k - m
        root = math.sqrt(x * x + sigma * sigma)
        w = a + b * (rho * x + root)
        slope, bend = b * (rho + x / root), b * sigma * sigma / (root * root * root)
        tilt = 1.0 - 0.5 * k * slope / w
        g = tilt * tilt - 0.25 * slope * slope * (1.0 / w + 0.25) + 0.5 * bend
        out[i] = g if w > 0.0 else -math.inf


@_compiled
def _even_w(a: float, b: float, rho: float, m: float, sigma: float, out: Array) -> None:
    for i in range(POINTS):
        x = _STEP * i - REACH - m
        out[i] = a + b * (rho * x + math.sqrt(x * x + sigma * sigma))


@_compiled
def _g_at(row: Array, k: float) -> float:
    a, b, rho, m, sigma = row
    x = k - m
    root = math.sqrt(x * x + sigma * sigma)
    w = a + b * (rho * x + root)
    slope, bend = b * (rho + x / root), b * sigma * sigma / (root * root * root)
    tilt = 1.0 - 0.5 * k * slope / w
    g = tilt * tilt - 0.25 * slope * slope * (1.0 / w + 0.25) + 0.5 * bend
    return g if w > 0.0 else -math.inf


@_compiled
def _gap_at(lower: Array, upper: Array, k: float) -> float:
    x, y = k - lower[3], k - upper[3]
    low = lower[0] + lower[1] * (lower[2] * x + math.sqrt(x * x + lower[4] * lower[4]))
    gap: float = upper[0] + upper[1] * (upper[2] * y + math.sqrt(y * y + upper[4] * upper[4])) - low
    return gap


@_compiled
def _g_by_ratio(row: Array) -> float:
    m, sigma = row[3], row[4]
    ratio = math.exp(math.asinh((_FAR + abs(m)) / sigma) / _FAR_STEPS)
    best, best_t, t = math.inf, 1.0, ratio**-_FAR_STEPS
    for _ in range(2 * _FAR_STEPS + 1):
        g = _g_at(row, m + 0.5 * sigma * (t - 1.0 / t))
        if g < best:
            best, best_t = g, t
        t *= ratio
    while ratio > 1.0 + 1e-9:
        ratio = math.sqrt(ratio)
        for t in (best_t * ratio, best_t / ratio):
            g = _g_at(row, m + 0.5 * sigma * (t - 1.0 / t))
            if g < best:
                best, best_t = g, t
    return best


@_compiled
def _gap_by_ratio(lower: Array, upper: Array) -> float:
    best = math.inf
    for row in (lower, upper):
        m, sigma = row[3], row[4]
        ratio = math.exp(math.asinh((_FAR + abs(m)) / sigma) / _FAR_STEPS)
        own, best_t, t = math.inf, 1.0, ratio**-_FAR_STEPS
        for _ in range(2 * _FAR_STEPS + 1):
            gap = _gap_at(lower, upper, m + 0.5 * sigma * (t - 1.0 / t))
            if gap < own:
                own, best_t = gap, t
            t *= ratio
        while ratio > 1.0 + 1e-9:
            ratio = math.sqrt(ratio)
            for t in (best_t * ratio, best_t / ratio):
                gap = _gap_at(lower, upper, m + 0.5 * sigma * (t - 1.0 / t))
                if gap < own:
                    own, best_t = gap, t
        best = min(best, own)
    return best
