"""Implied volatility of an undiscounted premium on the forward.

The time value over √(F·K) is b(s) = v·A (see `black76`), s = sigma·√ttm. Solved is ln b(s) = ln beta, nearly straight
in ln s over a thousand orders of magnitude; within a quarter of the upper bound, where b flattens, its complement
ln(bmax − b(s)) = ln(bmax − beta). Both have cheap derivatives,

    db/ds = v,   v'/v = q = (h² − t²)/s,   v''/v = q² − 3h²/s² − 1/4,

so each step is Householder's of third order (four times the digits). The guess is Bachelier's inverse with a lognormal
correction, some per cent off; two steps reach round-off and a bracket guards the rest of the domain.

The residual is taken as ln(b/beta), not as a difference of logarithms, whose rounding would cost digits at the money.
The step lengths are from A. S. Householder, "The Numerical Treatment of a Single Nonlinear Equation", 1970.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pricer.kernels.black76 import LEAST, MOST, ZERO, log_distance, room_over_vega, value_over_vega
from pricer.kernels.jit import fused_kernel
from pricer.kernels.normal import INV_SQRT_2PI
from pricer.kernels.status import ABOVE_MAX, AT_INTRINSIC, BAD_INPUT, BELOW_INTRINSIC, NO_CONVERGENCE, OK

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]

# Share of the largest time value above which the complement is solved. At any moneyness it puts h + t at 1.25 or less
# below it (the range of Y's polynomials) and above 0.6 above it.
UPPER_SHARE = 0.74

SQRT_2PI = 2.5066282746310002

# eta/u of Bachelier's inverse in powers of y = (5 − u)/(5 + u), to 0.2 %; docs/derivations/bachelier_guess.py.
GUESS = np.array(
    [
        0.8094219265704072,
        -0.5128784635592415,
        -0.5125416001271461,
        0.3067307798676979,
        1.769792304738446,
        0.5905671811336886,
        -2.35807793609045,
        -0.5275660065170196,
        1.4336814642181053,
    ]
)

# A step this small (relative) leaves an error of its fourth power.
LAST_STEP = 3e-5

# Two or three are taken anywhere in the domain; a bracket halves when a step misbehaves.
MAX_STEPS = 60


@fused_kernel
def implied_vol(premium: float, forward: float, strike: float, ttm: float, cp: float) -> tuple[float, int]:
    """(sigma, status) of an undiscounted premium in the currency of forward and strike.

    0.0 with AT_INTRINSIC for a premium equal to max(cp·(F − K), 0) as rounded to a double (or so small that its
    volatility is under the smallest double: 5e-324 at K = F = 1e9); NaN with BELOW_INTRINSIC one unit in the last place
    under it; NaN with ABOVE_MAX from F (call) or K (put) on, where no finite volatility is; NaN with BAD_INPUT for NaN,
    infinities, and a forward, strike or ttm that is not positive (or not in the domain).
    """
    if not (
        LEAST <= forward <= MOST
        and LEAST <= strike <= MOST
        and ZERO <= ttm <= MOST
        and abs(premium) < math.inf
        and (cp == 1.0 or cp == -1.0)
    ):
        return math.nan, BAD_INPUT
    intrinsic = max(cp * (forward - strike), 0.0)
    if premium < intrinsic:
        return math.nan, BELOW_INTRINSIC
    if premium == intrinsic:
        return 0.0, AT_INTRINSIC
    upper = forward if cp > 0.0 else strike
    if premium >= upper:
        return math.nan, ABOVE_MAX
    value = premium if intrinsic == 0.0 else excess(premium, forward, strike, cp)
    s, status = total_deviation(value, upper - premium, forward, strike)
    sigma = s / math.sqrt(ttm)
    return sigma, AT_INTRINSIC if sigma == 0.0 else status


@fused_kernel
def excess(premium: float, forward: float, strike: float, cp: float) -> float:
    """premium − cp·(F − K) with the rounding error of F − K put back (T. J. Dekker's exact sum, 1971)."""
    a = forward if cp > 0.0 else strike
    b = strike if cp > 0.0 else forward
    difference = a - b
    minus_b = difference - a
    lost = (a - (difference - minus_b)) - (b + minus_b)
    return (premium - difference) - lost


@fused_kernel
def total_deviation(value: float, room: float, forward: float, strike: float) -> tuple[float, int]:
    """(s, status): the total deviation sigma·√ttm of a time value; `room` is what it lacks of its maximum min(F, K)."""
    x = log_distance(forward, strike)
    root = math.sqrt(forward * strike)
    lowest = min(forward, strike)
    upper = value > UPPER_SHARE * lowest
    target = (room if upper else value) / root
    if x == 0.0 and target < 1e-100:
        return SQRT_2PI * target, OK  # b is straight here, and the target may be subnormal
    log_target = math.log(room if upper else value) - math.log(root)
    s = upper_guess(room / lowest, x) if upper else lower_guess(target, log_target, x)
    low = 0.0
    high = math.inf
    for _ in range(MAX_STEPS):
        residual, over = residual_over_vega(s, x, target, log_target, upper)
        if residual * over > 0.0:
            high = s
        else:
            low = s
        change = householder(residual, over, s, x)
        if abs(change) <= LAST_STEP * s:
            return s + change, OK
        s = bracketed(s + change, low, high)
    return math.nan, NO_CONVERGENCE


@fused_kernel
def residual_over_vega(s: float, x: float, target: float, log_target: float, upper: bool) -> tuple[float, float]:
    """(ln(b/beta), A) below, (ln((bmax − b)/(bmax − beta)), −B) above: the residual f and 1/f'."""
    h = -x / s
    t = 0.5 * s
    over = room_over_vega(h, t) if upper else value_over_vega(h, t)
    exponent = -0.5 * (h * h + t * t)
    if target > 1e-100 and exponent > -300.0:
        residual = math.log(INV_SQRT_2PI * math.exp(exponent) * over / target)
    else:
        # So far out the rounding of large logarithms costs nothing: f' is as large as they are.
        residual = exponent + math.log(INV_SQRT_2PI * over) - log_target
    return residual, (-over if upper else over)


@fused_kernel
def householder(residual: float, over: float, s: float, x: float) -> float:
    """The step of third order from s, for f = residual and f' = 1/over."""
    ratio = x / s
    q = (ratio * ratio - 0.25 * s * s) / s
    second = q - 1.0 / over  # f''/f'
    third = q * q - 3.0 * (ratio / s) ** 2 - 0.25 - 3.0 * q / over + 2.0 / (over * over)  # f'''/f'
    newton = -residual * over
    bend = newton * second
    return newton * (1.0 + 0.5 * bend) / (1.0 + bend + newton * newton * third / 6.0)


@fused_kernel
def bracketed(s: float, low: float, high: float) -> float:
    """s where it lies between the bounds, else a point that halves them (in logarithm, once both are known)."""
    if low < s < high:
        return s
    if high == math.inf:
        return 2.0 * low
    if low == 0.0:
        return 0.5 * high
    return math.sqrt(low) * math.sqrt(high)


@fused_kernel
def lower_guess(beta: float, log_beta: float, x: float) -> float:
    """Bachelier's inverse, x/eta, times 1 + s²/(24 + 8·eta²) for the lognormal's smaller value at equal s."""
    scale = SQRT_2PI * beta
    if x < 1e-8 * scale:
        return scale * (1.0 + scale * scale / 24.0)
    if x < 1e100 * scale:
        u = math.sqrt(math.log1p((x / scale) ** 2))
    else:
        u = math.sqrt(2.0 * (math.log(x / SQRT_2PI) - log_beta))
    y = (5.0 - u) / (5.0 + u)
    shrink: float = GUESS[8]
    for i in range(7, -1, -1):
        shrink = shrink * y + GUESS[i]
    eta = u * shrink
    s = x / eta
    return s * (1.0 + s * s / (24.0 + 8.0 * eta * eta))


@fused_kernel
def upper_guess(share: float, x: float) -> float:
    """From Φ(−(h + t)) ≈ room/min(F, K), of which the second term takes up to a half near the money."""
    depth = -math.log(share * (0.5 + 0.5 * x / (1.0 + x)))
    # −ln(2Φ(−z)) is 0.798·z + 0.318·z² near zero and z²/2 at infinity; 0.4 lies between them.
    level = max(depth - 0.6931471805599453, 0.0)
    z = (math.sqrt(0.6366 + 1.6 * level) - 0.7979) / 0.8
    return z + math.sqrt(z * z + 2.0 * x)


@fused_kernel
def implied_vol_chain(
    premium: Floats, forward: Floats, strike: Floats, ttm: Floats, cp: Floats, out: Floats, status: Codes
) -> None:
    """`implied_vol` of each row into `out`, its status into `status`; all of one length."""
    for i in range(out.shape[0]):
        out[i], status[i] = implied_vol(premium[i], forward[i], strike[i], ttm[i], cp[i])


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One call of each kernel as `pricer.pricing` makes it: input columns are read-only."""
    one = np.ones(1)
    one.flags.writeable = False
    codes = np.zeros(1, np.uint8)
    return [
        ("implied_vol", lambda: implied_vol(0.4, 1.0, 1.0, 1.0, 1.0)),
        ("implied_vol_chain", lambda: implied_vol_chain(one, one, one, one, one, np.zeros(1), codes)),
    ]
