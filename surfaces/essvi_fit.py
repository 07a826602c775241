"""The best eSSVI surface for a whole chain, free of arbitrage by construction.

Coordinates of a slice are x = (ln u, ln v, ln 1/φ) of `pricer.surfaces.ssvi`, where freedom from arbitrage is linear:

    x rises with expiry in each component,   x₀, x₁ < ln 4,   x₀ − x₂, x₁ − x₂ < ln 4.

Minimised is the robust loss of all residuals in half-spreads, as in `svi_free`, under a logarithmic barrier on these
slacks. The steps are Gauss-Newton with a multiplier for each slack (a primal-dual interior-point method): only
neighbours share a constraint, so that the matrix has 3 bands below its diagonal, and a step costs little more than a
pass over the observations. Every iterate is strictly inside, and so is the result: there is nothing to repair.

A chain is held as n + 2 rows of x, with the next shorter and the next longer expiry in the first and last one. They
stay where they are; where there is none, the row is out of reach. One slice between its neighbours is the case n = 1.

**Few quotes.** Three mids determine a slice. With fewer, a slice follows and constrains nobody: after the joint fit it
is put between its neighbours, linearly in x over ln ttm. That is feasible, since the set is convex, and gives it
their θ, ρ and ψ. Without a neighbour on one side it is the smile of the other one in standard deviations, which is a
shift of all three coordinates by ln(t/t')/2. One or two mids then move it between its neighbours: the level, with two
also the skew, held by a prior to the place it was put.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pricer.kernels.jit import kernel
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K, Selection
from pricer.surfaces.smile import Array
from pricer.surfaces.ssvi import LIMIT, EssviSmile
from pricer.surfaces.svi_free import robust
from pricer.surfaces.svi_normal import FAR

# An eSSVI slice has three parameters.
DETERMINED = 3

BARRIER = 1e-3  # μ at the end; a chain's whole barrier is then far below the loss of one quote
_FIRST_BARRIER = 0.03  # from a cold start, and at least this share of the loss for each limit: the further there is to
_FIRST_SHARE = 0.1  # go, the more room to go there
_SHRINKS = 0.1  # of μ from step to step
_STEPS = 60
_QUIET = 1e-3  # a fall of the objective that no quote would notice
_QUIET_SHARE = 0.05  # the same for each unit of loss: a chain that fits badly is not worth the digits
_FREE = 0.3  # after a shorter share of a step μ stays: the limits are too near already
_BOUNDARY = 0.95  # of the way to the nearest limit at most
_LONGEST = 1.0  # step in any logarithm
_STUCK = 1e12  # of the damping: no step of any length is an improvement

_CAP = math.log(LIMIT)
_BEYOND = 50.0  # a neighbour that is not there: e^±50
_SLACKS = 7  # three to the next shorter slice, four caps
_SYSTEM = 9  # a slice's gradient (3), then the lower triangle of its matrix (6)

# Stiffness of (ln u/v, ln φ√(uv)), the skew and the bend in standard deviations, by the number of mids.
_STIFFNESS = np.array([[100.0, 100.0], [100.0, 100.0], [1.0, 100.0], [0.3, 0.3], [0.1, 0.1], [0.01, 0.01]])

# The start keeps so far from the caps, and rises with ln ttm at least so fast.
_ROOM = 0.05
_TILT = 0.01


def fit_essvi(
    selections: Sequence[Selection], ttms: Sequence[float], forwards: Sequence[float]
) -> tuple[EssviSmile, ...]:
    """The eSSVI surface of a chain, in order of `ttms` (years); every slice and pair keeps the sufficient conditions.

    Slices with fewer than three two-sided observations follow their neighbours (the module's docstring says how).
    ValueError where `ttms` do not rise, or no slice has any mid.
    """
    x = fit_coordinates(selections, ttms)
    numbers = np.empty_like(x)
    essvi_chain(x, numbers)
    return tuple(
        EssviSmile(ttm, forward, theta, rho, psi)
        for ttm, forward, (theta, rho, psi) in zip(ttms, forwards, numbers.tolist(), strict=True)
    )


def fit_coordinates(selections: Sequence[Selection], ttms: Sequence[float]) -> Array:
    """`fit_essvi` in coordinates: an array (n, 3) of (ln u, ln v, ln 1/φ). `raw_chain` makes raw SVI of it."""
    mids = [selection.mids for selection in selections]
    if len(ttms) != len(mids):
        raise ValueError(f"there are {len(ttms)} ttms for {len(mids)} selections")
    times = np.array(ttms, dtype=np.float64)
    if not (np.all(times > 0.0) and np.all(np.diff(times) > 0.0) and np.all(np.isfinite(times))):
        raise ValueError(f"ttms must be positive and rise, not {times.tolist()!r}")
    if not any(mids):
        raise ValueError("no two-sided observation in any slice")
    determined = [i for i, count in enumerate(mids) if count >= DETERMINED] or [mids.index(max(mids))]
    x = np.empty((times.size, 3))
    x[determined] = _fitted_together([selections[i] for i in determined], times[determined])
    placed = set(determined)
    for i in sorted(set(range(times.size)) - placed):
        near = max((j for j in placed if j < i), default=None)
        far = min((j for j in placed if j > i), default=None)
        x[i] = _placed(x, times, i, near, far)
        if mids[i] > 0:
            below, above = (_NONE if j is None else x[j] for j in (near, far))
            shape = shape_of(x[i])
            update_slice(selections[i].observations, times[i], below, above, shape, _STIFFNESS[mids[i]], x[i])
        placed.add(i)
    return x


def _fitted_together(selections: Sequence[Selection], ttms: Array) -> Array:
    offsets = np.zeros(len(selections) + 1, dtype=np.int64)
    np.cumsum([selection.row.size for selection in selections], out=offsets[1:])
    observations = np.concatenate([selection.observations for selection in selections])
    x = np.empty((ttms.size, 3))
    fit_chain(observations, offsets, ttms, x)
    return x


def _placed(x: Array, ttms: Array, i: int, near: int | None, far: int | None) -> Array:
    """Where slice `i` lies between the placed slices `near` (shorter) and `far` (longer)."""
    if near is not None and far is not None:
        share = math.log(ttms[i] / ttms[near]) / math.log(ttms[far] / ttms[near])
        return np.asarray((1.0 - share) * x[near] + share * x[far])
    if far is not None:
        return np.asarray(x[far] + 0.5 * math.log(ttms[i] / ttms[far]))
    assert near is not None
    room = _CAP - max(x[near, 0], x[near, 1])
    return np.asarray(x[near] + min(0.5 * math.log(ttms[i] / ttms[near]), 0.5 * room))


_NONE = np.empty(0)  # an absent neighbour


@kernel
def fit_chain(observations: Array, offsets: npt.NDArray[np.int64], ttms: Array, x: Array) -> tuple[float, int]:
    """Fit all slices together into `x` (n, 3); (objective, steps). Slice i has the rows offsets[i] to offsets[i + 1].

    The observations are those of `quotes.Selection`. Every slice needs a mid, and three to be determined.
    """
    n = ttms.size
    chain, centre, stiffness = np.empty((n + 2, 3)), np.empty((n, 2)), np.empty((n, 2))
    _cold_start(observations, offsets, ttms, chain, centre, stiffness)
    result = _descend(observations, offsets, ttms, centre, stiffness, _FIRST_BARRIER, chain)
    for i in range(n):
        for c in range(3):
            x[i, c] = chain[i + 1, c]
    return result


@kernel
def update_slice(
    observations: Array, ttm: float, below: Array, above: Array, shape: Array, stiffness: Array, x: Array
) -> tuple[float, int]:
    """Refit one slice from `x` (3, overwritten) between its neighbours' coordinates (empty where there is none).

    `shape` and `stiffness` are a prior on (ln u/v, ln φ√(uv)). The result is strictly between the neighbours, also
    where the start is not.
    """
    chain = np.empty((3, 3))
    offsets, ttms = np.empty(2, dtype=np.int64), np.empty(1)
    offsets[0], offsets[1], ttms[0] = 0, observations.shape[0], ttm
    _between(below, above, x, chain)
    result = _descend(observations, offsets, ttms, shape.reshape((1, 2)), stiffness.reshape((1, 2)), BARRIER, chain)
    for c in range(3):
        x[c] = chain[1, c]
    return result


@kernel
def shape_of(x: Array) -> Array:
    """(ln u/v, ln φ√(uv)): skew and bend of a slice in standard deviations."""
    shape = np.empty(2)
    shape[0], shape[1] = x[0] - x[1], 0.5 * (x[0] + x[1]) - x[2]
    return shape


@kernel
def essvi_chain(x: Array, out: Array) -> None:
    """(θ, ρ, ψ) of every row of coordinates."""
    for i in range(x.shape[0]):
        u, v = math.exp(x[i, 0]), math.exp(x[i, 1])
        out[i, 0], out[i, 1], out[i, 2] = 0.5 * (u + v) * math.exp(x[i, 2]), (u - v) / (u + v), 0.5 * (u + v)


@kernel
def raw_chain(x: Array, out: Array) -> None:
    """Raw SVI (a, b, rho, m, sigma) of every row of coordinates."""
    for i in range(x.shape[0]):
        u, v, per_phi = math.exp(x[i, 0]), math.exp(x[i, 1]), math.exp(x[i, 2])
        both = u + v
        rho, leg = (u - v) / both, 2.0 * math.sqrt(u * v) / both  # ρ, √(1 − ρ²)
        out[i, 0] = 0.25 * both * per_phi * leg * leg
        out[i, 1], out[i, 2] = 0.25 * both, rho
        out[i, 3], out[i, 4] = -rho * per_phi, leg * per_phi


@kernel
def _between(below: Array, above: Array, x: Array, chain: Array) -> None:
    """The chain of one slice: at `x`, or where the way there from the middle of what is allowed comes to its limits."""
    step = np.empty((1, 3))
    room = _CAP - max(below[0], below[1]) if below.size else 0.0
    for c in range(3):
        chain[0, c] = below[c] if below.size else -_BEYOND
        chain[2, c] = above[c] if above.size else _BEYOND
        if below.size and above.size:
            chain[1, c] = 0.5 * (below[c] + above[c])
        elif above.size:
            chain[1, c] = above[c] - 0.5
        else:
            chain[1, c] = below[c] + min(0.5, 0.5 * room) if below.size else 0.0
        step[0, c] = x[c] - chain[1, c]
    share = _share_inside(chain, step)
    for c in range(3):
        chain[1, c] += share * step[0, c]


@kernel
def _descend(
    observations: Array,
    offsets: npt.NDArray[np.int64],
    ttms: Array,
    centre: Array,
    stiffness: Array,
    mu: float,
    chain: Array,
) -> tuple[float, int]:
    """Improve the inner rows of `chain`, which must be strictly inside, while μ falls to `BARRIER`."""
    n = ttms.size
    result = chain
    trial, step = np.empty((n + 2, 3)), np.empty((n, 3))
    for c in range(3):
        trial[0, c], trial[n + 1, c] = chain[0, c], chain[n + 1, c]
    system, trial_system = np.empty((n, _SYSTEM)), np.empty((n, _SYSTEM))
    dual, band = np.empty((n + 1, _SLACKS)), np.empty((3 * n, 5))
    columns = _columns(observations)
    loss = _loss(columns, offsets, ttms, centre, stiffness, chain, system)
    if mu > BARRIER:
        mu = max(mu, _FIRST_SHARE * loss / (n * _SLACKS))
    logs = _log_slacks(chain)
    for i in range(n + 1):
        for j in range(_SLACKS):
            dual[i, j] = mu / _slack(chain, i, j) if j < 3 or i < n else 0.0
    damping = 0.0
    taken = 0
    while taken < _STEPS and damping < _STUCK:
        _assemble(chain, system, dual, mu, damping, band)
        decrement = _solve(band, step)
        if not decrement >= 0.0:
            damping = max(10.0 * damping, 1e-6)
            continue
        quiet = _QUIET * (1.0 + _QUIET_SHARE * loss)
        if taken > 0 and mu == BARRIER and decrement < 2.0 * quiet:
            break  # the step promises half of it; a tick always has its first one
        taken += 1
        share = _share_inside(chain, step)
        for i in range(n):
            for c in range(3):
                trial[i + 1, c] = chain[i + 1, c] + share * step[i, c]
        new_loss = _loss(columns, offsets, ttms, centre, stiffness, trial, trial_system)
        new_logs = _log_slacks(trial)
        gained = loss - new_loss + mu * (new_logs - logs)
        if not gained > 0.0:
            damping = max(10.0 * damping, 1e-3)
            continue
        _update_duals(chain, trial, mu, dual)
        chain, trial = trial, chain
        system, trial_system = trial_system, system
        loss, logs = new_loss, new_logs
        damping = 0.1 * damping if damping > 1e-8 else 0.0
        if mu == BARRIER and gained < quiet:
            break
        if share > _FREE:
            mu = max(_SHRINKS * mu, BARRIER)
    for i in range(1, n + 1):
        for c in range(3):
            result[i, c] = chain[i, c]
    return loss - mu * logs, taken


@kernel
def _columns(observations: Array) -> Array:
    """The observations in columns that a loop can read several at a time, and room for what it makes of them.

    A mid is the range of one point, a bound is open on one side: the residual is then (σ − range)/width for both.
    """
    n = observations.shape[0]
    columns = np.empty((10, n))
    for i in range(n):
        low, high = observations[i, LOW], observations[i, HIGH]
        two_sided = low > -math.inf and high < math.inf
        mid = 0.5 * (low + high)
        columns[0, i] = observations[i, K]
        columns[1, i], columns[2, i] = (mid, mid) if two_sided else (low, high)
        columns[3, i], columns[4, i] = 1.0 / observations[i, WIDTH], observations[i, WEIGHT]
    return columns


@kernel
def _loss(
    columns: Array,
    offsets: npt.NDArray[np.int64],
    ttms: Array,
    centre: Array,
    stiffness: Array,
    chain: Array,
    system: Array,
) -> float:
    """The robust loss and the prior of all slices; their gradients and matrices into `system`."""
    total = 0.0
    for i in range(ttms.size):
        x0, x1, x2 = chain[i + 1, 0], chain[i + 1, 1], chain[i + 1, 2]
        total += _slice_loss(columns, offsets[i], offsets[i + 1], ttms[i], x0, x1, x2, system[i])
        skew, bend = x0 - x1 - centre[i, 0], 0.5 * (x0 + x1) - x2 - centre[i, 1]
        pull, push = stiffness[i, 0], stiffness[i, 1]
        total += 0.5 * (pull * skew * skew + push * bend * bend)
        system[i, 0] += pull * skew + 0.5 * push * bend
        system[i, 1] += 0.5 * push * bend - pull * skew
        system[i, 2] -= push * bend
        system[i, 3] += pull + 0.25 * push
        system[i, 4] += 0.25 * push - pull
        system[i, 5] += pull + 0.25 * push
        system[i, 6] -= 0.5 * push
        system[i, 7] -= 0.5 * push
        system[i, 8] += push
    return total


@kernel
def _slice_loss(
    columns: Array, start: int, stop: int, ttm: float, x0: float, x1: float, x2: float, system: Array
) -> float:
    """The robust loss of one slice; its gradient and Gauss-Newton matrix into `system`.

    ∂r/∂x is a combination, the same for all observations, of s·w, s·w·k and s·k² with s = ∂r/∂w/(2·root): so their
    moments are summed, and turned into x at the end.
    """
    u, v, per_phi = math.exp(x0), math.exp(x1), math.exp(x2)
    theta = 0.5 * (u + v) * per_phi
    # Views from 0 on: an index that might be negative costs more than what is done with it.
    k, low, high = columns[0, start:stop], columns[1, start:stop], columns[2, start:stop]
    per_width, weights = columns[3, start:stop], columns[4, start:stop]
    residuals, level, bend = columns[5, start:stop], columns[6, start:stop], columns[7, start:stop]
    trusts, losses = columns[8, start:stop], columns[9, start:stop]
    lean, product = 0.5 * (u - v), 0.25 * u * v
    _residuals(k, low, high, per_width, theta, lean, product, 1.0 / ttm, residuals, level, bend)
    _trusts(residuals, weights, trusts, losses)
    total = ga = gb = gc = aa = ba = bb = ca = cb = cc = 0.0
    for i in range(k.size):
        r, trust, a, c = residuals[i], trusts[i], level[i], bend[i]
        b = a * k[i]
        total += losses[i]
        slope = trust * r
        ga, gb, gc = ga + slope * a, gb + slope * b, gc + slope * c
        ta, tb = trust * a, trust * b
        aa, ba, bb = aa + ta * a, ba + ta * b, bb + tb * b
        ca, cb, cc = ca + ta * c, cb + tb * c, cc + trust * c * c
    # ∂r/∂x₀ = p₀·a + q₀·b + h·c, ∂r/∂x₁ = p₁·a − q₁·b + h·c, ∂r/∂x₂ = θ·a: implicit derivatives, see ssvi's docstring.
    p0, q0, p1, q1, h = 0.5 * u * per_phi, 0.5 * u, 0.5 * v * per_phi, 0.5 * v, product
    system[0], system[1], system[2] = p0 * ga + q0 * gb + h * gc, p1 * ga - q1 * gb + h * gc, theta * ga
    a0, b0, c0 = p0 * aa + q0 * ba + h * ca, p0 * ba + q0 * bb + h * cb, p0 * ca + q0 * cb + h * cc
    a1, b1, c1 = p1 * aa - q1 * ba + h * ca, p1 * ba - q1 * bb + h * cb, p1 * ca - q1 * cb + h * cc
    system[3] = p0 * a0 + q0 * b0 + h * c0
    system[4], system[5] = p1 * a0 - q1 * b0 + h * c0, p1 * a1 - q1 * b1 + h * c1
    system[6], system[7], system[8] = theta * a0, theta * a1, theta * theta * aa
    return total


@kernel
def _residuals(
    k: Array, low: Array, high: Array, per_width: Array, theta: float, lean: float, product: float, per_ttm: float,
    residuals: Array, level: Array, bend: Array,
) -> None:  # fmt: skip
    """Residuals, s·w and s·k²; one loop without a branch or a call, so that it runs several at a time."""
    for i in range(k.size):
        at, width = k[i], per_width[i]
        # The hyperbola's quadratic w² − (θ + lean·k)·w − product·k² = 0.
        middle, square = 0.5 * (theta + lean * at), at * at
        root = math.sqrt(middle * middle + product * square)
        w = middle + root
        sigma = math.sqrt(w * per_ttm)
        over, under = sigma - high[i], sigma - low[i]
        residuals[i] = ((over if over > 0.0 else 0.0) + (under if under < 0.0 else 0.0)) * width
        per_root = 0.25 * sigma * width / root  # ∂r/∂w = 1/(2·sigma·ttm·width), times w, over 2·root
        level[i] = per_root
        bend[i] = per_root * square / w


@kernel
def _trusts(residuals: Array, weights: Array, trusts: Array, losses: Array) -> None:
    """Weight times what `svi_free.robust` gives, without its branches but for the few that are far off."""
    for i in range(residuals.size):
        size = abs(residuals[i])
        inner = size if size < 1.0 else 1.0
        losses[i] = weights[i] * (inner * (size - 0.5 * inner))
        trusts[i] = weights[i] / (size if size > 1.0 else 1.0)
    for i in range(residuals.size):
        if abs(residuals[i]) > FAR:
            loss, trust = robust(residuals[i])
            losses[i], trusts[i] = weights[i] * loss, weights[i] * trust


@kernel
def _slack(chain: Array, i: int, j: int) -> float:
    """Slack j of slice i (row i + 1): over the slice before it in component j < 3; below its four caps for j >= 3."""
    if j < 3:
        return float(chain[i + 1, j] - chain[i, j])
    if j < 5:
        return float(_CAP - chain[i + 1, j - 3])
    return float(_CAP - chain[i + 1, j - 5] + chain[i + 1, 2])


@kernel
def _log_slacks(chain: Array) -> float:
    """Σ ln slack; minus infinity outside."""
    total = 0.0
    n = chain.shape[0] - 2
    for i in range(n + 1):
        product = 1.0
        for j in range(_SLACKS if i < n else 3):
            slack = _slack(chain, i, j)
            if not slack > 0.0:
                return -math.inf
            product *= slack
        total += math.log(product)
    return total


@kernel
def _share_inside(chain: Array, step: Array) -> float:
    """The share of `step` (n, 3) that is not too long and leaves every slack a part of itself."""
    n = chain.shape[0] - 2
    longest = _LONGEST
    worst = 0.0  # largest relative loss of a slack over the whole step
    for i in range(n):
        for c in range(3):
            longest = max(longest, abs(step[i, c]))
            before = step[i - 1, c] if i > 0 else 0.0
            worst = max(worst, (before - step[i, c]) / _slack(chain, i, c))
        for c in range(2):
            worst = max(worst, step[i, c] / _slack(chain, i, 3 + c))
            worst = max(worst, (step[i, c] - step[i, 2]) / _slack(chain, i, 5 + c))
    for c in range(3):
        worst = max(worst, step[n - 1, c] / _slack(chain, n, c))
    return min(_LONGEST / longest, _BOUNDARY / worst if worst > _BOUNDARY else 1.0)


@kernel
def _update_duals(chain: Array, trial: Array, mu: float, dual: Array) -> None:
    """Multipliers after the step from `chain` to `trial`: the linearised z·s = μ, kept near it."""
    n = chain.shape[0] - 2
    for i in range(n + 1):
        for j in range(_SLACKS if i < n else 3):
            slack, new = _slack(chain, i, j), _slack(trial, i, j)
            wanted = (mu - dual[i, j] * (new - slack)) / slack
            dual[i, j] = min(max(wanted, 0.01 * mu / new), 100.0 * mu / new)


@kernel
def _assemble(chain: Array, system: Array, dual: Array, mu: float, damping: float, band: Array) -> None:
    """The Newton system: band[r, d] is the matrix at (r, r − d) for d <= 3, band[r, 4] the right-hand side."""
    n = system.shape[0]
    for i in range(n):
        row = 3 * i
        for c in range(3):
            band[row + c, 4] = -system[i, c]
            band[row + c, 3] = 0.0
        band[row, 0], band[row + 1, 0], band[row + 2, 0] = system[i, 3], system[i, 5], system[i, 8]
        band[row, 1], band[row, 2], band[row + 1, 2] = 0.0, 0.0, 0.0
        band[row + 1, 1], band[row + 2, 1], band[row + 2, 2] = system[i, 4], system[i, 7], system[i, 6]
        for c in range(3):
            band[row + c, 0] *= 1.0 + damping
    for i in range(n + 1):
        for c in range(3):
            slack = _slack(chain, i, c)
            push, weight = mu / slack, dual[i, c] / slack
            if i < n:
                band[3 * i + c, 0] += weight
                band[3 * i + c, 4] += push
            if i > 0:
                band[3 * i - 3 + c, 0] += weight
                band[3 * i - 3 + c, 4] -= push
            if 0 < i < n:
                band[3 * i + c, 3] -= weight
    for i in range(n):
        row = 3 * i
        for c in range(2):
            slack = _slack(chain, i, 3 + c)
            band[row + c, 0] += dual[i, 3 + c] / slack
            band[row + c, 4] -= mu / slack
            slack = _slack(chain, i, 5 + c)
            push, weight = mu / slack, dual[i, 5 + c] / slack
            band[row + c, 0] += weight
            band[row + 2, 0] += weight
            band[row + 2, 2 - c] -= weight
            band[row + c, 4] -= push
            band[row + 2, 4] += push


@kernel
def _solve(band: Array, step: Array) -> float:
    """Banded Cholesky in place; rᵀA⁻¹r of the right-hand side r, or NaN where A is not positive definite."""
    size = band.shape[0]
    decrement = 0.0
    for r in range(size):
        reach = min(3, r)
        for d in range(reach, -1, -1):
            total = band[r, d]
            for e in range(d + 1, reach + 1):
                total -= band[r, e] * band[r - d, e - d]
            if d > 0:
                band[r, d] = total * band[r - d, 0]
            elif not total > 0.0:
                return math.nan
            else:
                band[r, 0] = 1.0 / math.sqrt(total)
        total = band[r, 4]
        for d in range(1, reach + 1):
            total -= band[r, d] * band[r - d, 4]
        band[r, 4] = total * band[r, 0]
        decrement += band[r, 4] * band[r, 4]
    for r in range(size - 1, -1, -1):
        total = band[r, 4]
        for d in range(1, min(3, size - 1 - r) + 1):
            total -= band[r + d, d] * band[r + d, 4]
        band[r, 4] = total * band[r, 0]
        step[r // 3, r % 3] = band[r, 4]
    return decrement


@kernel
def _cold_start(
    observations: Array, offsets: npt.NDArray[np.int64], ttms: Array, chain: Array, centre: Array, stiffness: Array
) -> None:
    """A chain strictly inside near each slice's own hyperbola; and the prior, centred on the median shape."""
    n = ttms.size
    skew, bend = np.empty(n), np.empty(n)
    for i in range(n):
        mids = _hyperbola(observations, offsets[i], offsets[i + 1], ttms[i], chain[i + 1])
        skew[i] = chain[i + 1, 0] - chain[i + 1, 1]
        bend[i] = 0.5 * (chain[i + 1, 0] + chain[i + 1, 1]) - chain[i + 1, 2]
        for c in range(2):
            stiffness[i, c] = _STIFFNESS[min(mids, _STIFFNESS.shape[0] - 1), c]
    skew_centre, bend_centre = np.median(skew), np.median(bend)
    for i in range(n):
        centre[i, 0], centre[i, 1] = skew_centre, bend_centre
    _into_order(ttms, chain)


@kernel
def _hyperbola(observations: Array, start: int, stop: int, ttm: float, x: Array) -> int:
    """One slice's x from its mids alone; how many there are.

    The curve's equation over w is linear in three numbers: w = θ + A·k + B·k²/w with A = (u − v)/2, B = uv/4. Least
    squares with the mids' own w on both sides, twice, the second time with robust weights.
    """
    theta, lean, bend = 0.0, 0.0, 0.0
    mids = 0
    for again in range(2):
        m00 = m10 = m11 = m20 = m21 = m22 = t0 = t1 = t2 = 0.0
        mids = 0
        nearest = math.inf
        for i in range(start, stop):
            low, high, width = observations[i, LOW], observations[i, HIGH], observations[i, WIDTH]
            if not (low > 0.0 and high < math.inf):
                continue
            mids += 1
            mid, k = 0.5 * (low + high), observations[i, K]
            w = mid * mid * ttm
            if abs(k) < nearest and again == 0:
                nearest, theta = abs(k), w
            curve = k * k / w
            per_width = 1.0 / (2.0 * mid * ttm * width)
            trust = observations[i, WEIGHT] * per_width * per_width
            if again:
                trust *= robust((theta + lean * k + bend * curve - w) * per_width)[1]
            m00, m10, m11 = m00 + trust, m10 + trust * k, m11 + trust * k * k
            m20, m21, m22 = m20 + trust * curve, m21 + trust * curve * k, m22 + trust * curve * curve
            t0, t1, t2 = t0 + trust * w, t1 + trust * w * k, t2 + trust * w * curve
        l10, l20 = m10 / m00, m20 / m00
        d1, c21 = m11 - l10 * m10, m21 - l10 * m20
        l21 = c21 / d1
        d2 = m22 - l20 * m20 - l21 * c21
        if mids < 3 or not (d1 > 1e-12 * m11 and d2 > 1e-12 * m22):
            lean, bend = 0.0, 0.25 * theta
            break
        y1 = t1 - l10 * t0
        bend = (t2 - l20 * t0 - l21 * y1) / d2
        lean = y1 / d1 - l21 * bend
        level = t0 / m00 - l10 * lean - l20 * bend
        theta = min(max(level, 0.5 * theta), 2.0 * theta)
    # Within what butterfly allows, B < θ(1 − |ρ|), and with some bend.
    bend = min(max(bend, 0.02 * theta), theta)
    lean = min(max(lean, -2.0 * math.sqrt(theta)), 2.0 * math.sqrt(theta))
    psi = math.sqrt(lean * lean + 4.0 * bend)
    x[0], x[1], x[2] = math.log(psi + lean), math.log(psi - lean), math.log(theta / psi)
    return mids


@kernel
def _into_order(ttms: Array, chain: Array) -> None:
    """Make the inner rows of `chain` strictly feasible, near where they are; the outer ones go out of reach.

    The mean of a running maximum and of the running minimum from behind rises; a tilt makes it rise strictly.
    """
    n = ttms.size
    highest = np.empty(n)
    for c in range(3):
        chain[0, c], chain[n + 1, c] = -_BEYOND, _BEYOND
        running = -_BEYOND
        for i in range(n):
            running = max(running, chain[i + 1, c])
            highest[i] = running
        running = _BEYOND
        for i in range(n - 1, -1, -1):
            running = min(running, chain[i + 1, c])
            chain[i + 1, c] = 0.5 * (highest[i] + running)
    for i in range(n):
        for c in range(2):
            chain[i + 1, c] = min(chain[i + 1, c], _CAP - _ROOM)
        chain[i + 1, 2] = max(chain[i + 1, 2], chain[i + 1, 0] - _CAP + _ROOM, chain[i + 1, 1] - _CAP + _ROOM)
        for c in range(3):  # a shift of all three keeps x₀ − x₂ and x₁ − x₂
            chain[i + 1, c] += _TILT * math.log(ttms[i] / ttms[n - 1])
