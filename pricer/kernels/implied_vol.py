"""Implied volatility of an undiscounted premium on the forward.

The time value over √(F·K) is b(s) = v·A (see `black76`), s = sigma·√ttm. Solved is ln b(s) = ln beta, nearly straight
in ln s over a thousand orders of magnitude; within a quarter of the upper bound, where b flattens, its complement
ln(bmax − b(s)) = ln(bmax − beta). Both have cheap derivatives,

    db/ds = v,   v'/v = q = (h² − t²)/s,   v''/v = q² − 3h²/s² − 1/4,   ...

so a step of Householder's sixth order costs little more than Newton's and leaves the seventh power of its error. The
first guess is good to 4e-4 (docs/derivations/implied_vol_guess.py), so that one step ends at round-off: `direct_vol`
is that step without a branch, and its loop over a chain is vectorised. It checks itself by the length of the step.
The few rows it refuses, near the upper bound, with s above 2.6 or prices near the end of the doubles, go to
`bracketed_vol`, which iterates inside a bracket and also says why a row has no solution.

The residual is taken as ln(b/beta), not as a difference of logarithms, whose rounding would cost digits at the money.
The steps are those of A. S. Householder, "The Numerical Treatment of a Single Nonlinear Equation", 1970, section 4.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pricer.kernels.black76 import in_domain, log_distance, room_over_vega
from pricer.kernels.elementary import exp, fma, log, polynomial, select, sqrt
from pricer.kernels.jit import inlined, kernel
from pricer.kernels.normal import INV_SQRT_2PI, Z_MAX, mills_difference
from pricer.kernels.status import ABOVE_MAX, AT_INTRINSIC, BAD_INPUT, BELOW_INTRINSIC, NO_CONVERGENCE, OK

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]

# Share of the largest time value above which the complement is solved. At any moneyness it puts h + t at 1.25 or less
# below it (the range of Y's polynomials) and above 0.6 above it.
UPPER_SHARE = 0.74

SQRT_2PI = 2.5066282746310002

# eta/u of Bachelier's inverse in powers of y = (4 − u)/(4 + u), to 1.5e-4; docs/derivations/implied_vol_guess.py.
INVERSE = (
    0.7468751563399912,
    -0.5825991353536178,
    -0.22992629292646435,
    0.8314497756111595,
    1.701705047123937,
    -0.012039135023843198,
    -4.107552171080412,
    -1.6491680564458298,
    6.405215978630891,
    2.5762642164504417,
    -5.51965236170828,
    -1.2131134846713887,
    2.052685861199318,
)

# P of the lognormal correction 1 − q·P, to 1.2e-4: row i holds the powers of v that go with q to the i.
CORRECTION = (
    (
        0.14837232545444873,
        -0.14281457124861527,
        1.1803866652616184,
        -2.5106400217606915,
        2.137403606377858,
        -0.6895659122595718,
    ),
    (0.056288291449067884, 0.10958828475634075, -0.3866348356989373, 0.24708620217926588),
    (0.09899780826963801, -0.108185407993692),
    (0.008379519859599956,),
)

# A step this small (relative) leaves an error of its seventh power. Beyond ten deviations from the money its terms of
# higher order have lost their digits, and only the fifth power is sure.
LAST_STEP = 3.5e-3
LAST_STEP_FAR = 5e-4
H2_FAR = 100.0

THIRD = 1.0 / 3.0

# A smaller time value, absolute or over √(F·K), goes to `bracketed_vol`: its last digits are where doubles end.
LEAST_VALUE = 1e-300

# Two or three are taken anywhere in the domain; a bracket halves when a step misbehaves.
MAX_STEPS = 60

_inverse = polynomial(INVERSE)
_correction_0 = polynomial(CORRECTION[0])
_correction_1 = polynomial(CORRECTION[1])
_correction_2 = polynomial(CORRECTION[2])


@kernel
def implied_vol(premium: float, forward: float, strike: float, ttm: float, cp: float) -> tuple[float, int]:
    """(sigma, status) of an undiscounted premium in the currency of forward and strike.

    0.0 with AT_INTRINSIC for a premium equal to max(cp·(F − K), 0) as rounded to a double (or so small that its
    volatility is under the smallest double: 5e-324 at K = F = 1e9); NaN with BELOW_INTRINSIC one unit in the last place
    under it; NaN with ABOVE_MAX from F (call) or K (put) on, where no finite volatility is; NaN with BAD_INPUT for NaN,
    infinities, and a forward, strike or ttm that is not positive (or not in the domain).
    """
    sigma = direct_vol(premium, forward, strike, ttm, cp)
    if sigma == sigma:
        return sigma, OK
    return bracketed_vol(premium, forward, strike, ttm, cp)


@inlined
def direct_vol(premium: float, forward: float, strike: float, ttm: float, cp: float) -> float:
    """The volatility by the guess and one step, without a branch; NaN where that is not good to round-off."""
    value, root, x = time_value_of(premium, forward, strike, cp)
    s, near = stepped(guess(value / root, x), x, value, root)
    good = in_reach(value, root, forward, strike, ttm, cp) & near
    return select(good, s / sqrt(ttm), math.nan)


@inlined
def direct_vol_from(previous: float, premium: float, forward: float, strike: float, ttm: float, cp: float) -> float:
    """`direct_vol` with a volatility at hand in the place of the guess."""
    value, root, x = time_value_of(premium, forward, strike, cp)
    deviation = sqrt(ttm)
    start = previous * deviation
    s, near = stepped(start, x, value, root)
    # Above Z_MAX, where Y's polynomial ends, a step from a far start says nothing.
    known = (start > 0.0) & (0.5 * start - x / start <= Z_MAX + 0.01)
    good = in_reach(value, root, forward, strike, ttm, cp) & known & near
    return select(good, s / deviation, math.nan)


@inlined
def time_value_of(premium: float, forward: float, strike: float, cp: float) -> tuple[float, float, float]:
    """(premium − intrinsic, √(F·K), |ln(F/K)|)."""
    return excess(premium, forward, strike, cp), sqrt(forward * strike), log_distance(forward, strike)


@inlined
def excess(premium: float, forward: float, strike: float, cp: float) -> float:
    """premium − max(cp·(F − K), 0) with the rounding error of F − K put back (T. J. Dekker's exact sum, 1971); zero for
    a premium that equals the rounded difference."""
    a = select(cp > 0.0, forward, strike)
    b = select(cp > 0.0, strike, forward)
    difference = a - b
    minus_b = difference - a
    lost = (a - (difference - minus_b)) - (b + minus_b)
    above = select(premium > difference, (premium - difference) - lost, 0.0)
    return select(difference > 0.0, above, premium)


@inlined
def in_reach(value: float, root: float, forward: float, strike: float, ttm: float, cp: float) -> bool:
    """Is the row in the domain, its time value a normal number and not near its bound? False for a NaN anywhere."""
    some = (value >= LEAST_VALUE) & (value >= LEAST_VALUE * root)
    below = (value <= UPPER_SHARE * forward) & (value <= UPPER_SHARE * strike)
    return in_domain(forward, strike, ttm, cp) & some & below


@inlined
def guess(beta: float, x: float) -> float:
    """s to 4e-4 from Bachelier's inverse and its lognormal correction; 2.6 is the largest s it knows."""
    scale = SQRT_2PI * beta
    # At the money eta and u go to zero together; their quotient is settled long before this.
    far = x / scale
    far = select(far < 1e-8, 1e-8, far)
    square = far * far
    huge = far > 1e140
    raised = log(select(huge, far, 1.0 + square))
    u = sqrt(select(huge, raised + raised, select(square < 1e-10, square, raised)))
    eta = u * _inverse((4.0 - u) / (4.0 + u))
    start = scale * (far / eta)
    q = start * start / fma(eta, 2.0 + eta, 3.0)
    v = 2.0 / (2.0 + eta)
    p = fma(q, CORRECTION[3][0], _correction_2(v))
    p = fma(q, fma(q, p, _correction_1(v)), _correction_0(v))
    return start / (1.0 - q * p)


@inlined
def stepped(s: float, x: float, value: float, root: float) -> tuple[float, bool]:
    """(s after one step on ln b = ln beta, was it the last), where h + t ≤ Z_MAX."""
    h = -x / s
    t = 0.5 * s
    over = mills_difference(h, t)
    residual = log(over * (INV_SQRT_2PI * root) / value) - 0.5 * fma(h, h, t * t)
    slope = s / over
    change = householder(residual, slope, h * h, t * t)
    return fma(s, change, s), is_last(residual, slope, h * h)


@inlined
def is_last(residual: float, slope: float, h2: float) -> bool:
    """Is the step of `householder` from here the last?

    The length asked about is that of Newton's step: ln b is concave in ln s, so it is never small far from the root.
    Householder's is, far below it, where f·e5 crosses zero.
    """
    return abs(residual) <= select(h2 <= H2_FAR, LAST_STEP, LAST_STEP_FAR) * abs(slope)


@inlined
def householder(residual: float, slope: float, h2: float, t2: float) -> float:
    """The relative step d of sixth order for f = residual, s·f' = slope; h2 = (x/s)², t2 = s²/4.

    In powers of d, at s·(1 + d): ln v is l1·d + l2·d² + ..., v over its value now 1 + v1·d + ..., b over beta
    1 + m1·d + ... with m(n) = slope·v(n−1)/n, and ln of that, which is f less its value now, g1·d + g2·d² + .... Each
    follows from the one before by the series of exp and of ln; the e are those of 1/f, times powers of f. The root is
    near f·e5/e6 (A. S. Householder).
    """
    l1, l2, l3, l4, l5 = h2 - t2, -1.5 * h2 - 0.5 * t2, 2.0 * h2, -2.5 * h2, 3.0 * h2
    v1 = l1
    v2 = fma(0.5 * l1, v1, l2)
    v3 = fma(l1, v2 * THIRD, fma(l2, v1 * (2.0 * THIRD), l3))
    v4 = fma(0.25 * l1, v3, fma(0.5 * l2, v2, fma(0.75 * l3, v1, l4)))
    v5 = fma(0.2 * l1, v4, fma(0.4 * l2, v3, fma(0.6 * l3, v2, fma(0.8 * l4, v1, l5))))
    m1, m2, m3 = slope, 0.5 * slope * v1, slope * v2 * THIRD
    m4, m5, m6 = 0.25 * slope * v3, 0.2 * slope * v4, slope * v5 * (0.5 * THIRD)
    g1 = m1
    g2 = fma(-0.5 * g1, m1, m2)
    g3 = m3 - (g1 * m2 + 2.0 * g2 * m1) * THIRD
    g4 = m4 - 0.25 * (g1 * m3 + 2.0 * g2 * m2 + 3.0 * g3 * m1)
    g5 = m5 - 0.2 * (g1 * m4 + 2.0 * g2 * m3 + 3.0 * g3 * m2 + 4.0 * g4 * m1)
    g6 = m6 - (g1 * m5 + 2.0 * g2 * m4 + 3.0 * g3 * m3 + 4.0 * g4 * m2 + 5.0 * g5 * m1) * (0.5 * THIRD)
    f = residual
    # Horner's scheme in f: e(n) = −(g1·e(n−1) + f·(g2·e(n−2) + f·(...))).
    e1 = -g1
    e2 = -fma(g1, e1, f * g2)
    e3 = -fma(g1, e2, f * fma(g2, e1, f * g3))
    e4 = -fma(g1, e3, f * fma(g2, e2, f * fma(g3, e1, f * g4)))
    e5 = -fma(g1, e4, f * fma(g2, e3, f * fma(g3, e2, f * fma(g4, e1, f * g5))))
    e6 = -fma(g1, e5, f * fma(g2, e4, f * fma(g3, e3, f * fma(g4, e2, f * fma(g5, e1, f * g6)))))
    return f * e5 / e6


@kernel
def bracketed_vol(premium: float, forward: float, strike: float, ttm: float, cp: float) -> tuple[float, int]:
    """`implied_vol` over the whole domain, and the verdict on what has no solution."""
    if not (in_domain(forward, strike, ttm, cp) and abs(premium) < math.inf):
        return math.nan, BAD_INPUT
    intrinsic = max(cp * (forward - strike), 0.0)
    if premium < intrinsic:
        return math.nan, BELOW_INTRINSIC
    if premium == intrinsic:
        return 0.0, AT_INTRINSIC
    upper = forward if cp > 0.0 else strike
    if premium >= upper:
        return math.nan, ABOVE_MAX
    value, root, x = time_value_of(premium, forward, strike, cp)
    s, status = total_deviation(value, upper - premium, min(forward, strike), root, x)
    sigma = s / sqrt(ttm)
    return sigma, AT_INTRINSIC if sigma == 0.0 else status


@inlined
def total_deviation(value: float, room: float, lowest: float, root: float, x: float) -> tuple[float, int]:
    """(s, status): the total deviation sigma·√ttm of a time value; `room` is what it lacks of its maximum min(F, K)."""
    upper = value > UPPER_SHARE * lowest
    target = (room if upper else value) / root
    if x == 0.0 and target < 1e-100:
        return SQRT_2PI * target, OK  # b is straight here, and the target may be subnormal
    log_target = log(room if upper else value) - log(root)
    s = upper_guess(room / lowest, x) if upper else lower_guess(target, log_target, x)
    low = 0.0
    high = math.inf
    for _ in range(MAX_STEPS):
        residual, over = residual_over_vega(s, x, target, log_target, upper)
        if residual * over > 0.0:
            high = s
        else:
            low = s
        slope, h2 = s / over, (x / s) ** 2
        change = householder(residual, slope, h2, 0.25 * s * s)
        if is_last(residual, slope, h2):
            return s + s * change, OK
        s = bracketed(s + s * change, low, high)
    return math.nan, NO_CONVERGENCE


@inlined
def residual_over_vega(s: float, x: float, target: float, log_target: float, upper: bool) -> tuple[float, float]:
    """(ln(b/beta), A) below, (ln((bmax − b)/(bmax − beta)), −B) above: the residual f and 1/f'."""
    h = -x / s
    t = 0.5 * s
    over = room_over_vega(h, t) if upper else mills_difference(h, t)
    exponent = -0.5 * (h * h + t * t)
    if target > 1e-100 and exponent > -300.0:
        residual = log(INV_SQRT_2PI * exp(exponent) * over / target)
    else:
        # So far out the rounding of large logarithms costs nothing: f' is as large as they are.
        residual = exponent + log(INV_SQRT_2PI * over) - log_target
    return residual, (-over if upper else over)


@inlined
def bracketed(s: float, low: float, high: float) -> float:
    """s where it lies between the bounds, else a point that halves them (in logarithm, once both are known)."""
    if low < s < high:
        return s
    if high == math.inf:
        return 2.0 * low
    if low == 0.0:
        return 0.5 * high
    return sqrt(low) * sqrt(high)


@inlined
def lower_guess(beta: float, log_beta: float, x: float) -> float:
    """`guess` where beta is a normal number, else its leading term far in the wing, −ln beta ≈ x²/(2s²)."""
    if beta > LEAST_VALUE:
        return min(guess(beta, x), 2.5 + sqrt(2.0 * x))
    return x / sqrt(2.0 * (log(x / SQRT_2PI) - log_beta))


@inlined
def upper_guess(share: float, x: float) -> float:
    """From Φ(−(h + t)) ≈ room/min(F, K), of which the second term takes up to a half near the money."""
    depth = -log(share * (0.5 + 0.5 * x / (1.0 + x)))
    # −ln(2Φ(−z)) is 0.798·z + 0.318·z² near zero and z²/2 at infinity; 0.4 lies between them.
    level = max(depth - 0.6931471805599453, 0.0)
    z = (sqrt(0.6366 + 1.6 * level) - 0.7979) / 0.8
    return z + sqrt(z * z + 2.0 * x)


@kernel
def implied_vol_chain(
    premium: Floats, forward: Floats, strike: Floats, ttm: Floats, cp: Floats, out: Floats, status: Codes
) -> None:
    """`implied_vol` of each row into `out`, its status into `status`; all of one length."""
    direct_vols(premium, forward, strike, ttm, cp, out)
    settle(premium, forward, strike, ttm, cp, out, status)


@kernel
def direct_vols(premium: Floats, forward: Floats, strike: Floats, ttm: Floats, cp: Floats, out: Floats) -> None:
    """`direct_vol` of each row; NaN is left where one step does not do. A loop of its own, so that it is vectorised."""
    for i in range(out.shape[0]):
        out[i] = direct_vol(premium[i], forward[i], strike[i], ttm[i], cp[i])


@kernel
def implied_vol_chain_warm(
    premium: Floats,
    forward: Floats,
    strike: Floats,
    ttm: Floats,
    cp: Floats,
    previous: Floats,
    out: Floats,
    status: Codes,
) -> None:
    """`implied_vol_chain` from each row's `previous` volatility, NaN where there is none; `out` may be `previous`.

    Where the volatility has moved by less than 0.35 % of itself (0.05 % beyond ten deviations) one step does, else
    `implied_vol` starts anew: the result does not depend on `previous` beyond its last bits.
    """
    missing = 0
    for i in range(out.shape[0]):
        out[i] = direct_vol_from(previous[i], premium[i], forward[i], strike[i], ttm[i], cp[i])
    for i in range(out.shape[0]):
        missing += out[i] != out[i]
    # Few are solved one by one below; from a quarter on, a vectorised pass over all is faster.
    if 4 * missing > out.shape[0]:
        for i in range(out.shape[0]):
            anew = direct_vol(premium[i], forward[i], strike[i], ttm[i], cp[i])
            out[i] = select(out[i] == out[i], out[i], anew)
    settle(premium, forward, strike, ttm, cp, out, status)


@kernel
def settle(
    premium: Floats, forward: Floats, strike: Floats, ttm: Floats, cp: Floats, out: Floats, status: Codes
) -> None:
    """The rows that one step could not do (NaN in `out`) by `bracketed_vol`, and the status of every row."""
    for i in range(out.shape[0]):
        status[i] = OK
        if out[i] != out[i]:
            out[i], status[i] = bracketed_vol(premium[i], forward[i], strike[i], ttm[i], cp[i])


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One call of each kernel as `pricer.pricing` makes it: input columns are read-only."""
    one = np.ones(1)
    one.flags.writeable = False
    codes = np.zeros(1, np.uint8)
    return [
        ("implied_vol", lambda: implied_vol(0.4, 1.0, 1.0, 1.0, 1.0)),
        ("implied_vol_chain", lambda: implied_vol_chain(one, one, one, one, one, np.zeros(1), codes)),
        (
            "implied_vol_chain_warm",
            lambda: implied_vol_chain_warm(one, one, one, one, one, one, np.zeros(1), codes),
        ),
    ]
