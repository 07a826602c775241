"""The best raw SVI for one expiry's quotes alone: variable projection and Levenberg-Marquardt on (m, ln σ).

For a given (m, σ) the smile is linear in (a, c₊, c₋), so these are eliminated by weighted least squares inside their
box 0 <= c± <= 2, and only two parameters remain to be searched (Golub and Pereyra 1973; the Jacobian without its
second term, Kaufman 1975). Residuals are in half-spreads of vol with robust weights; a bound counts while it is broken.

This fit knows nothing of arbitrage: about half of all real slices leave it with g < 0 or crossing their neighbours
somewhere outside their quotes. It is the start of `pricer.surfaces.svi_hard`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pricer.kernels.jit import kernel
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import LEE_SLOPE, raw, value

# σ against √w at the money: beyond this the hyperbola is a parabola wherever there are quotes, and runs away.
LARGEST_BEND = 8.0

# So many half-spreads away a quote is more likely wrong than news: its pull fades.
FAR = 10.0

_ROUNDS = 4  # of new robust weights
_STEPS = 12  # of Levenberg-Marquardt within a round
_CONVERGED = 1e-7  # relative fall of the objective


@kernel
def fit_free(observations: Array, ttm: float, warm: bool, params: Array) -> float:
    """Fit raw SVI to `params` (a, b, rho, m, sigma; with `warm` also the start); the robust loss per unit of weight.

    The observations are those of `quotes.Selection`. At least three mids are needed for a sensible answer.
    """
    n = observations.shape[0]
    target, trust = np.empty(n), np.empty(n)
    linear = np.empty(3)
    spread_of_k = deviation(observations, ttm)
    if warm:
        m, log_s = params[3], math.log(params[4])
        _reweigh(observations, ttm, params, target, trust)
    else:
        _first_weights(observations, ttm, target, trust)
        m, log_s = _best_of_grid(observations, target, trust, spread_of_k, linear)
    bottom, top = math.log(0.02 * spread_of_k), math.log(LARGEST_BEND * spread_of_k)
    for _ in range(_ROUNDS):
        m, log_s = _descend(observations, target, trust, m, log_s, bottom, top, 4.0 * spread_of_k, linear)
        _store(linear, m, math.exp(log_s), params)
        _reweigh(observations, ttm, params, target, trust)
    return robust_loss(observations, ttm, params)


@kernel
def _store(linear: Array, m: float, s: float, params: Array) -> None:
    params[0], params[1], params[2], params[3], params[4] = raw(linear[0], linear[1], linear[2], m, s)


@kernel
def residual(sigma: float, low: float, high: float, width: float) -> float:
    """In half-spreads: from the mid of a two-sided observation; from a bound only where it is broken."""
    if low == -math.inf:
        return max(sigma - high, 0.0) / width
    if high == math.inf:
        return min(sigma - low, 0.0) / width
    return (sigma - 0.5 * (low + high)) / width


@kernel
def robust(residual: float) -> tuple[float, float]:
    """(loss, weight of its square) of a residual in half-spreads: Huber's, and logarithmic beyond `FAR`."""
    size = abs(residual)
    if size <= 1.0:
        return 0.5 * size * size, 1.0
    if size <= FAR:
        return size - 0.5, 1.0 / size
    return FAR * (1.0 + math.log(size / FAR)) - 0.5, FAR / (size * size)


@kernel
def robust_loss(observations: Array, ttm: float, params: Array) -> float:
    """The weighted mean robust loss of the residuals; infinite where the smile has no volatility."""
    total, mass = 0.0, 0.0
    for i in range(observations.shape[0]):
        w = value(params[0], params[1], params[2], params[3], params[4], observations[i, K])[0]
        if not w > 0.0:
            return math.inf
        r = residual(math.sqrt(w / ttm), observations[i, LOW], observations[i, HIGH], observations[i, WIDTH])
        total += observations[i, WEIGHT] * robust(r)[0]
        mass += observations[i, WEIGHT]
    return total / mass if mass > 0.0 else 0.0


@kernel
def deviation(observations: Array, ttm: float) -> float:
    """√w near the money: the natural unit of k."""
    nearest, sigma = math.inf, 0.5
    for i in range(observations.shape[0]):
        low, high = observations[i, LOW], observations[i, HIGH]
        if abs(observations[i, K]) < nearest and low > 0.0 and high < math.inf:
            nearest, sigma = abs(observations[i, K]), 0.5 * (low + high)
    return sigma * math.sqrt(ttm)


@kernel
def _first_weights(observations: Array, ttm: float, target: Array, trust: Array) -> None:
    for i in range(observations.shape[0]):
        mid = 0.5 * (observations[i, LOW] + observations[i, HIGH])
        if math.isfinite(mid):
            target[i] = mid * mid * ttm
            trust[i] = observations[i, WEIGHT] / (2.0 * mid * ttm * observations[i, WIDTH]) ** 2
        else:
            target[i], trust[i] = 0.0, 0.0


@kernel
def _reweigh(observations: Array, ttm: float, params: Array, target: Array, trust: Array) -> None:
    """Targets in w and their weights, such that the squares weigh as the robust loss does at the present smile."""
    for i in range(observations.shape[0]):
        w = value(params[0], params[1], params[2], params[3], params[4], observations[i, K])[0]
        sigma = math.sqrt(max(w, 1e-12) / ttm)
        width = observations[i, WIDTH]
        r = residual(sigma, observations[i, LOW], observations[i, HIGH], width)
        wanted = sigma - r * width
        target[i] = wanted * wanted * ttm
        # (w − w*) = ttm·(sigma + sigma*)·(sigma − sigma*): exact, where the usual 2·sigma is first order.
        trust[i] = observations[i, WEIGHT] / (ttm * (sigma + wanted) * width) ** 2
        trust[i] *= robust(r)[1] if r != 0.0 else 0.0


@kernel
def _best_of_grid(observations: Array, target: Array, trust: Array, unit: float, linear: Array) -> tuple[float, float]:
    best, best_m, best_log_s = math.inf, 0.0, math.log(unit)
    for shift in (-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 1.0):
        for scale in (0.1, 0.3, 0.8, 2.0, 6.0):
            loss = _project(observations, target, trust, shift * unit, scale * unit, linear)
            if loss < best:
                best, best_m, best_log_s = loss, shift * unit, math.log(scale * unit)
    return best_m, best_log_s


@kernel
def _descend(
    observations: Array,
    target: Array,
    trust: Array,
    m: float,
    log_s: float,
    bottom: float,
    top: float,
    m_limit: float,
    linear: Array,
) -> tuple[float, float]:
    """Levenberg-Marquardt on (m, ln σ); `linear` receives (a, c₊, c₋) at the result."""
    trial = np.empty(3)
    loss = _project(observations, target, trust, m, math.exp(log_s), linear)
    damping = 1e-3
    for _ in range(_STEPS):
        gm, gs, hmm, hms, hss = _reduced_system(observations, target, trust, m, math.exp(log_s), linear)
        gained = 0.0
        for _ in range(6):
            dmm, dss = hmm * (1.0 + damping) + 1e-300, hss * (1.0 + damping) + 1e-300
            det = dmm * dss - hms * hms
            step_m = (-gm * dss + gs * hms) / det
            step_s = (-gs * dmm + gm * hms) / det
            new_m = min(max(m + step_m, -m_limit), m_limit)
            new_s = min(max(log_s + min(max(step_s, -1.0), 1.0), bottom), top)
            new_loss = _project(observations, target, trust, new_m, math.exp(new_s), trial)
            if new_loss < loss:
                gained = loss - new_loss
                m, log_s, loss = new_m, new_s, new_loss
                linear[0], linear[1], linear[2] = trial[0], trial[1], trial[2]
                damping = max(0.2 * damping, 1e-9)
                break
            damping *= 8.0
        if gained <= _CONVERGED * loss:
            break
    return m, log_s


@kernel
def _project(observations: Array, target: Array, trust: Array, m: float, s: float, linear: Array) -> float:
    """The best (a, c₊, c₋) in its box for this (m, σ), into `linear`; its weighted squared error."""
    mass = mean_t = mean_p = mean_q = 0.0
    for i in range(observations.shape[0]):
        x = observations[i, K] - m
        root = math.sqrt(x * x + s * s)
        mass += trust[i]
        mean_t += trust[i] * target[i]
        mean_p += trust[i] * 0.5 * (root + x)
        mean_q += trust[i] * 0.5 * (root - x)
    mean_t, mean_p, mean_q = mean_t / mass, mean_p / mass, mean_q / mass
    pp = pq = qq = tp = tq = tt = 0.0
    for i in range(observations.shape[0]):
        x = observations[i, K] - m
        root = math.sqrt(x * x + s * s)
        p, q, t = 0.5 * (root + x) - mean_p, 0.5 * (root - x) - mean_q, target[i] - mean_t
        pp += trust[i] * p * p
        pq += trust[i] * p * q
        qq += trust[i] * q * q
        tp += trust[i] * t * p
        tq += trust[i] * t * q
        tt += trust[i] * t * t
    right, left = _box_solution(pp, pq, qq, tp, tq)
    linear[0] = mean_t - right * mean_p - left * mean_q
    linear[1], linear[2] = right, left
    return tt + pp * right * right + 2.0 * pq * right * left + qq * left * left - 2.0 * (tp * right + tq * left)


@kernel
def _box_solution(pp: float, pq: float, qq: float, tp: float, tq: float) -> tuple[float, float]:
    """The minimum of ½·xᵀ[[pp, pq], [pq, qq]]x − (tp, tq)·x over the box 0 <= x <= 2."""
    ridge = 1e-13 * (pp + qq) + 1e-300
    pp, qq = pp + ridge, qq + ridge
    det = pp * qq - pq * pq
    right, left = (tp * qq - tq * pq) / det, (tq * pp - tp * pq) / det
    if 0.0 <= right <= LEE_SLOPE and 0.0 <= left <= LEE_SLOPE:
        return right, left
    best, best_right, best_left = math.inf, 0.0, 0.0
    for edge in (0.0, LEE_SLOPE):  # convex, so the minimum is on an edge
        right, left = edge, min(max((tq - pq * edge) / qq, 0.0), LEE_SLOPE)
        for _ in range(2):
            loss = 0.5 * (pp * right * right + qq * left * left) + pq * right * left - tp * right - tq * left
            if loss < best:
                best, best_right, best_left = loss, right, left
            right, left = min(max((tp - pq * edge) / pp, 0.0), LEE_SLOPE), edge
    return best_right, best_left


@kernel
def _reduced_system(
    observations: Array, target: Array, trust: Array, m: float, s: float, linear: Array
) -> tuple[float, float, float, float, float]:
    """Gradient and Gauss-Newton matrix in (m, ln σ) with the linear parameters eliminated."""
    right, left = linear[1], linear[2]
    gradient_m = gradient_s = 0.0
    # Columns: 1, φ₊, φ₋ (eliminated), ∂w/∂m, ∂w/∂ln σ.
    column = np.empty(5)
    moments = np.zeros((5, 5))
    for i in range(observations.shape[0]):
        x = observations[i, K] - m
        root = math.sqrt(x * x + s * s)
        column[0] = 1.0
        # A wing on its bound is not free to follow.
        column[1] = 0.5 * (root + x) if 0.0 < right < LEE_SLOPE else 0.0
        column[2] = 0.5 * (root - x) if 0.0 < left < LEE_SLOPE else 0.0
        column[3] = -0.5 * (right * (1.0 + x / root) - left * (1.0 - x / root))
        column[4] = 0.5 * (right + left) * s * s / root
        error = linear[0] + 0.5 * right * (root + x) + 0.5 * left * (root - x) - target[i]
        gradient_m += trust[i] * error * column[3]
        gradient_s += trust[i] * error * column[4]
        for r in range(5):
            for c in range(r + 1):
                moments[r, c] += trust[i] * column[r] * column[c]
    # Gaussian elimination of the first three; the rest is the Schur complement.
    for pivot in range(3):
        diagonal = moments[pivot, pivot]
        if diagonal > 0.0:
            for r in range(pivot + 1, 5):
                factor = moments[r, pivot] / diagonal
                for c in range(pivot + 1, r + 1):
                    moments[r, c] -= factor * moments[c, pivot]
    return gradient_m, gradient_s, max(moments[3, 3], 0.0), moments[4, 3], max(moments[4, 4], 0.0)


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One fit; all kernels of this module."""
    observations = np.array([[k, 0.49, 0.51, 0.01, 1.0] for k in (-0.1, 0.0, 0.1)])
    return [("fit_free", lambda: fit_free(observations, 0.1, False, np.empty(5)))]
