"""SABR by the lognormal expansion of Hagan, Kumar, Lesniewski and Woodward (2002), "Managing smile risk", eq. 2.17a.

With A = α·F^(β−1) (a volatility), β′ = 1 − β and q(k) = exp(−β′k/2) the forward drops out:

    σ(k) = A·q/D · z/x(z) · (1 + T·(β′²A²q²/24 + ρβνAq/4 + (2 − 3ρ²)ν²/24)),
    D = 1 + β′²k²/24 + β′⁴k⁴/1920,   z = −(ν/A)·k/q,   x(z) = ∫₀ᶻ du/√(1 − 2ρu + u²).

The integrand generates the Legendre polynomials, so x(z)/z = ΣPₙ(ρ)·zⁿ/(n + 1): smooth through the money, and used
there, where the closed form would divide two small numbers. |Pₙ| <= 1 bounds what the series leaves out.

Limits of the expansion (of the formula, not of the SABR process):

- it is of first order in ν²T: for long expiries or a large ν the density turns negative at low strikes;
- for β = 1 total variance grows like (k/ln|k|)², faster than Lee's bound 2|k|: every such smile has arbitrage far out;
  for β < 1 the left wing does the same sooner, as exp(β′|k|/2) enters z;
- near zero forwards and strikes the normal-volatility form of the same paper is the more accurate one.

Look-ups by delta search the whole line and name no strike where those wings have a second one (`MODEL_LIMIT`).
`arbitrage.check_butterfly` says on a grid of |k| <= 4 where it fails.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pricer.kernels.jit import kernel
from pricer.surfaces.curve import CurveSmile
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K
from pricer.surfaces.smile import Array
from pricer.surfaces.svi_free import residual, robust

DEFAULT_BETA = 1.0  # lognormal, as coins are quoted; ρ can take over most of what β does to a smile

# |z| up to which x(z)/z is summed: beyond, the closed form loses less than 25 roundings in its second derivative.
_SERIES = 0.2
_TERMS = 24

# Bounds of the search, in ln A around its start, atanh ρ, and ν·√T.
_TILT_LIMIT = 4.0
_NU_LOW, _NU_HIGH = 1e-3, 20.0
_FLAT_NU = 0.3  # ν·√T where the quotes do not say

_STEPS = 60
_CONVERGED = 1e-8  # relative fall of the objective
_STUCK = 1e12  # of the damping


@dataclass(frozen=True, slots=True)
class SabrSmile(CurveSmile):
    """One expiry's smile by Hagan's expansion; `alpha` is the volatility of the forward in units of F^(1−β).

    `expansion_ttm` is the T of the formula where that is not `ttm`: a smile that was moved in time keeps sigma(k).
    """

    alpha: float
    beta: float
    rho: float
    nu: float
    expansion_ttm: float | None = None

    def curve(self, k: Array) -> Array:
        """Rows w, w′ and w″; NaN where the expansion gives no positive volatility."""
        out = np.empty((3, k.size))
        expansion = self.ttm if self.expansion_ttm is None else self.expansion_ttm
        level = self.alpha * self.forward ** (self.beta - 1.0)
        _curve_chain(level, self.beta, self.rho, self.nu, expansion, self.ttm, k, out)
        return out

    @property
    def wing_slopes(self) -> tuple[float, float]:
        """Limits of |w′| far to the left and far to the right.

        With beta = 1 the expansion has none (w grows like k²/ln²k), with a smaller one none to the left, where its vol
        grows like a power of the strike, and a flat wing to the right.
        """
        if self.beta == 1.0:
            return (math.inf, math.inf) if self.nu > 0.0 else (0.0, 0.0)
        return math.inf, 0.0

    def at(self, forward: float, ttm: float) -> SabrSmile:
        """The same sigma(k) for another forward and time to maturity: w scales with ttm."""
        alpha = self.alpha * (forward / self.forward) ** (1.0 - self.beta)
        expansion = self.ttm if self.expansion_ttm is None else self.expansion_ttm
        return SabrSmile(ttm, forward, alpha, self.beta, self.rho, self.nu, None if expansion == ttm else expansion)


@kernel
def x_over_z(z: float, rho: float) -> tuple[float, float, float]:
    """y = x(z)/z and its first two derivatives in z; |rho| < 1."""
    if abs(z) < _SERIES:
        return _series(z, rho)
    c = math.sqrt((1.0 - rho) * (1.0 + rho))
    root = math.sqrt(c * c + (z - rho) * (z - rho))
    # ln((√(1 − 2ρz + z²) + z − ρ)/(1 − ρ)), without its cancellation at z << 0.
    y = (math.asinh((z - rho) / c) + math.asinh(rho / c)) / z
    first = (1.0 / root - y) / z
    return y, first, (-(z - rho) / (root * root * root) - 2.0 * first) / z


@kernel
def _series(z: float, rho: float) -> tuple[float, float, float]:
    y = first = second = 0.0
    legendre, before = 1.0, 0.0  # P_n, P_{n−1}
    power, power1, power2 = 1.0, 0.0, 0.0  # zⁿ and its derivatives
    for n in range(_TERMS):
        coefficient = legendre / (n + 1.0)
        y += coefficient * power
        first += coefficient * power1
        second += coefficient * power2
        legendre, before = ((2.0 * n + 1.0) * rho * legendre - n * before) / (n + 1.0), legendre
        power2 = 2.0 * power1 + z * power2
        power1 = power + z * power1
        power *= z
    return y, first, second


@kernel
def volatility(
    level: float, beta: float, rho: float, nu: float, expansion: float, k: float
) -> tuple[float, float, float]:
    """(σ, σ′, σ″) at k; `level` is A and `expansion` is T of the module's docstring."""
    b = 1.0 - beta
    q = math.exp(-0.5 * b * k)
    q1, q2 = -0.5 * b * q, 0.25 * b * b * q
    ratio = -nu / level / q
    z, z1, z2 = ratio * k, ratio * (1.0 + 0.5 * b * k), ratio * b * (1.0 + 0.25 * b * k)
    y, y1, y2 = x_over_z(z, rho)
    y1, y2 = y1 * z1, y2 * z1 * z1 + y1 * z2
    d, d1, d2 = 1.0 + b * b * k * k / 24.0 * (1.0 + b * b * k * k / 80.0), 0.0, 0.0
    d1 = b * b * k / 12.0 * (1.0 + b * b * k * k / 40.0)
    d2 = b * b / 12.0 * (1.0 + 3.0 * b * b * k * k / 40.0)
    square, linear = expansion * b * b * level * level / 24.0, expansion * 0.25 * rho * beta * nu * level
    m = 1.0 + square * q * q + linear * q + expansion * (2.0 - 3.0 * rho * rho) * nu * nu / 24.0
    m1 = (2.0 * square * q + linear) * q1
    m2 = (2.0 * square * q + linear) * q2 + 2.0 * square * q1 * q1
    # σ/A = q·m/(d·y) as top/low
    top, top1, top2 = q * m, q1 * m + q * m1, q2 * m + 2.0 * q1 * m1 + q * m2
    low, low1, low2 = d * y, d1 * y + d * y1, d2 * y + 2.0 * d1 * y1 + d * y2
    v = top / low
    v1 = (top1 - v * low1) / low
    return level * v, level * v1, level * (top2 - 2.0 * v1 * low1 - v * low2) / low


@kernel
def _curve_chain(
    level: float, beta: float, rho: float, nu: float, expansion: float, ttm: float, k: Array, out: Array
) -> None:
    for i in range(k.size):
        s, s1, s2 = volatility(level, beta, rho, nu, expansion, k[i])
        if s > 0.0:
            out[0, i], out[1, i], out[2, i] = s * s * ttm, 2.0 * s * s1 * ttm, 2.0 * (s1 * s1 + s * s2) * ttm
        else:
            out[0, i] = out[1, i] = out[2, i] = math.nan


@kernel
def fit_sabr(observations: Array, ttm: float, beta: float, warm: bool, stiffness: Array, params: Array) -> float:
    """Fit `params` (A, ρ, ν; with `warm` also the start); the robust loss per unit of weight.

    Damped Gauss-Newton on (ln A, atanh ρ, ln ν) with the residuals and the robust loss of `svi_free`. `stiffness` (of
    the same three; all 0 for none) holds an underdetermined fit to its start. The observations are those of
    `quotes.Selection`, at least one of them two-sided.
    """
    if not warm:
        cold_start(observations, ttm, beta, params)
    p, centre, trial, step = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    p[0], p[1], p[2] = math.log(params[0]), math.atanh(params[1]), math.log(params[2])
    p[1] = min(max(p[1], -_TILT_LIMIT), _TILT_LIMIT)
    for i in range(3):
        centre[i] = p[i]
    bottom, top = math.log(_NU_LOW / math.sqrt(ttm)), math.log(_NU_HIGH / math.sqrt(ttm))
    gradient, matrix = np.empty(3), np.empty((3, 3))
    trial_gradient, trial_matrix = np.empty(3), np.empty((3, 3))
    loss = _objective(p, observations, ttm, beta, centre, stiffness, gradient, matrix)
    damping = 1e-3
    quiet = 0
    for _ in range(_STEPS):
        if quiet >= 2 or damping > _STUCK:
            break
        _solve(matrix, gradient, damping, step)
        longest = max(abs(step[0]), abs(step[1]), abs(step[2]), 1.0)
        for i in range(3):
            trial[i] = p[i] + step[i] / longest
        trial[1] = min(max(trial[1], -_TILT_LIMIT), _TILT_LIMIT)
        trial[2] = min(max(trial[2], bottom), top)
        new = _objective(trial, observations, ttm, beta, centre, stiffness, trial_gradient, trial_matrix)
        if new < loss:
            quiet = quiet + 1 if loss - new <= _CONVERGED * loss else 0
            loss = new
            p, trial = trial, p
            gradient, trial_gradient = trial_gradient, gradient
            matrix, trial_matrix = trial_matrix, matrix
            damping = max(0.2 * damping, 1e-9)
        else:
            quiet += damping > 1.0  # so short a step is no improvement: rounding is what is left
            damping *= 6.0
    params[0], params[1], params[2] = math.exp(p[0]), math.tanh(p[1]), math.exp(p[2])
    mass = 0.0
    for i in range(observations.shape[0]):
        mass += observations[i, WEIGHT]
    return loss / mass


@kernel
def cold_start(observations: Array, ttm: float, beta: float, params: Array) -> None:
    """(A, ρ, ν) from a parabola through the mids near the money: its level, slope and bend.

    To first order σ(k)/A = 1 + ½(ρν/A − β′)·k + ((2 − 3ρ²)ν²/A² + β′²)/12·k² (Hagan et al. 2002, eq. 3.1a).
    """
    moments, right = np.zeros((3, 3)), np.zeros(3)
    level, mass = 0.0, 0.0
    for i in range(observations.shape[0]):
        low, high = observations[i, LOW], observations[i, HIGH]
        if low > 0.0 and high < math.inf:
            weight = observations[i, WEIGHT] / (1.0 + abs(observations[i, K]) / (0.1 * math.sqrt(ttm)))
            level += weight * 0.5 * (low + high)
            mass += weight
    level /= mass
    reach = level * math.sqrt(ttm)
    mids = 0
    for i in range(observations.shape[0]):
        low, high, x = observations[i, LOW], observations[i, HIGH], observations[i, K] / reach
        if low > 0.0 and high < math.inf:
            mids += 1
            weight = observations[i, WEIGHT] * math.exp(-0.5 * x * x)
            sigma = 0.5 * (low + high)
            row = (1.0, x, x * x)
            for r in range(3):
                right[r] -= weight * row[r] * sigma
                for c in range(3):
                    moments[r, c] += weight * row[r] * row[c]
    fit = np.empty(3)
    fit[0], fit[1], fit[2] = level, 0.0, 0.0
    if mids >= 3:
        _solve(moments, right, 1e-6, fit)
        fit[0] = fit[0] if 0.3 * level < fit[0] < 3.0 * level else level
    b = 1.0 - beta
    params[0] = fit[0]
    tilted = 2.0 * fit[1] / reach + b * fit[0]  # ρν
    nu = math.sqrt(max(6.0 * fit[0] * fit[2] / (reach * reach) + 1.5 * tilted * tilted - 0.5 * (b * fit[0]) ** 2, 0.0))
    nu = min(max(nu, 1.2 * abs(tilted), _FLAT_NU / math.sqrt(ttm)), 0.5 * _NU_HIGH / math.sqrt(ttm))
    params[1] = min(max(tilted / nu, -0.9), 0.9)
    params[2] = nu


@kernel
def _objective(
    p: Array,
    observations: Array,
    ttm: float,
    beta: float,
    centre: Array,
    stiffness: Array,
    gradient: Array,
    matrix: Array,
) -> float:
    """Robust loss and prior, with gradient and Gauss-Newton matrix; infinite where there is no volatility."""
    for i in range(3):
        gradient[i] = 0.0
        for j in range(3):
            matrix[i, j] = 0.0
    level, rho, nu = math.exp(p[0]), math.tanh(p[1]), math.exp(p[2])
    total = 0.0
    for i in range(observations.shape[0]):
        sigma, by_level, by_tilt, by_nu = _with_derivatives(level, beta, rho, nu, ttm, observations[i, K])
        if not sigma > 0.0:
            return math.inf
        width = observations[i, WIDTH]
        r = residual(sigma, observations[i, LOW], observations[i, HIGH], width)
        loss, trust = robust(r)
        total += observations[i, WEIGHT] * loss
        if r != 0.0:
            trust *= observations[i, WEIGHT]
            row = (by_level / width, by_tilt / width, by_nu / width)
            for a in range(3):
                gradient[a] += trust * r * row[a]
                for c in range(3):
                    matrix[a, c] += trust * row[a] * row[c]
    for i in range(3):
        off = p[i] - centre[i]
        total += 0.5 * stiffness[i] * off * off
        gradient[i] += stiffness[i] * off
        matrix[i, i] += stiffness[i]
    return total


@kernel
def _with_derivatives(
    level: float, beta: float, rho: float, nu: float, ttm: float, k: float
) -> tuple[float, float, float, float]:
    """σ and its derivatives in ln A, atanh ρ and ln ν."""
    b = 1.0 - beta
    q = math.exp(-0.5 * b * k)
    z = -nu / level * k / q
    y, y1, _ = x_over_z(z, rho)
    d = 1.0 + b * b * k * k / 24.0 * (1.0 + b * b * k * k / 80.0)
    square = ttm * b * b * (level * q) ** 2 / 24.0
    cross = ttm * 0.25 * rho * beta * nu * level * q
    own = ttm * nu * nu / 24.0
    m = 1.0 + square + cross + own * (2.0 - 3.0 * rho * rho)
    front = level * q / d
    sigma = front * m / y
    # ∂x/∂ρ = (1 − (1 − ρz)/r)/(1 − ρ²), r = √(1 − 2ρz + z²), in the form that does not cancel.
    r = math.sqrt((1.0 - rho) * (1.0 + rho) + (z - rho) * (z - rho))
    far = 1.0 - rho * z
    y_rho = z / (r * (r + far)) if far > 0.0 else (1.0 - far / r) / ((1.0 - rho) * (1.0 + rho) * z)
    by_z = -sigma * y1 / y * z  # z·∂σ/∂z
    by_level = sigma - by_z + front / y * (2.0 * square + cross)
    by_nu = by_z + front / y * (cross + 2.0 * own * (2.0 - 3.0 * rho * rho))
    m_rho = ttm * 0.25 * beta * nu * level * q - 6.0 * own * rho
    by_rho = front / y * m_rho - sigma * y_rho / y
    return sigma, by_level, by_rho * (1.0 - rho) * (1.0 + rho), by_nu


@kernel
def _solve(matrix: Array, gradient: Array, damping: float, step: Array) -> None:
    """step = −(H + damping·diag H)⁻¹·gradient for a 3×3 positive semidefinite H, by elimination."""
    a = np.empty((3, 4))
    for i in range(3):
        for j in range(3):
            a[i, j] = matrix[i, j]
        a[i, i] += damping * matrix[i, i] + 1e-12 * (matrix[0, 0] + matrix[1, 1] + matrix[2, 2]) + 1e-300
        a[i, 3] = -gradient[i]
    for pivot in range(3):
        for i in range(pivot + 1, 3):
            factor = a[i, pivot] / a[pivot, pivot]
            for j in range(pivot, 4):
                a[i, j] -= factor * a[pivot, j]
    for i in range(2, -1, -1):
        total = a[i, 3]
        for j in range(i + 1, 3):
            total -= a[i, j] * step[j]
        step[i] = total / a[i, i]


# Stiffness of (ln A, atanh ρ, ln ν) by the number of mids: what they do not determine stays at the start.
STIFFNESS = {0: (10.0, 10.0, 10.0), 1: (0.0, 100.0, 100.0), 2: (0.0, 1.0, 30.0)}


def fit_smile(
    observations: Array,
    ttm: float,
    forward: float,
    *,
    beta: float = DEFAULT_BETA,
    last: SabrSmile | None = None,
    mids: int | None = None,
) -> tuple[SabrSmile, float]:
    """The best SABR smile of observations (those of `quotes.Selection`), and its robust loss per unit of weight.

    Warm from `last` where it has the same `beta`. `mids` is the number of two-sided observations: fewer than three
    move the shape of `last` (or a nearly flat one) as far as they determine it.
    """
    two_sided = int(np.count_nonzero(np.isfinite(observations[:, LOW] + observations[:, HIGH])))
    mids = two_sided if mids is None else mids
    stiffness = np.array(STIFFNESS.get(mids, (0.0, 0.0, 0.0)))
    params = np.empty(3)
    warm = last is not None and last.beta == beta
    if last is not None and warm:
        params[:] = last.alpha * last.forward ** (beta - 1.0), last.rho, last.nu
    loss = fit_sabr(observations, ttm, beta, warm, stiffness, params)
    level, rho, nu = params.tolist()
    return SabrSmile(ttm, forward, level * forward ** (1.0 - beta), beta, rho, nu), loss
