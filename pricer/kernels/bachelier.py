"""The normal model on the forward (Bachelier 1900), undiscounted: price, implied volatility and the fourteen Greeks.

    V = cp·(F − K)·Φ(cp·d) + s·φ(d),   d = (F − K)/s,   s = sigma·√ttm,   sigma in price units per √year.

As in `black76`, the price is its intrinsic value plus a time value in which nothing cancels. With h = |F − K|/s

    time value = s·φ(h)·A(h),   A(h) = Y'(−h) = 1 − h·Y(−h),   Y = Φ/φ (see `normal`),

so time value over |F − K| depends on h alone, and the implied volatility is the inverse of one function of one
variable: a polynomial good to 7e-5 (`docs/derivations/bachelier_inverse.py`) and one step of third order on the
logarithm. No loop, and no price without an answer.

Domain: forward and strike of either sign up to 1e100 in size, ttm and sigma from 0 to 1e100, cp +1 or -1. Outside it,
and for NaN, every result is NaN with BAD_INPUT. At ttm = 0 or sigma = 0 (less than 1e-30) results are limits with
AT_INTRINSIC.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pricer.kernels.black76 import MOST, ZERO
from pricer.kernels.implied_vol import excess
from pricer.kernels.jit import kernel
from pricer.kernels.normal import INV_SQRT_2PI, mills_slope, norm_cdf, norm_pdf
from pricer.kernels.status import ABOVE_MAX, AT_INTRINSIC, BAD_INPUT, BELOW_INTRINSIC, OK

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]

# φ(H_MAX) is 0 in doubles: further out there is no time value.
H_MAX = 40.0

SQRT_2PI = 2.5066282746310002
LN_2PI = 1.8378770664093456

# eta/u of the inverse in powers of y = (C − u)/(C + u), lowest first, to 7e-5; docs/derivations/bachelier_inverse.py.
C = 4.0
INVERSE = np.array(
    [
        0.7468469430411374,
        -0.5812000891653203,
        -0.22818164112371175,
        0.7631947516827986,
        1.7002162224991408,
        0.9159174941004982,
        -4.396322309301058,
        -7.108514141163342,
        8.9259119804716,
        18.886558776269666,
        -14.525053806350957,
        -27.12439143361944,
        18.037944491391748,
        20.848512549364646,
        -13.933144504472011,
        -6.676059103623633,
        4.747767532568182,
    ]
)


@kernel
def row_status(forward: float, strike: float, ttm: float, sigma: float, cp: float) -> int:
    """OK, AT_INTRINSIC where ttm or sigma is zero (results are limits), or BAD_INPUT outside the domain."""
    # Written so that a NaN anywhere makes the test fail.
    if not (
        abs(forward) <= MOST
        and abs(strike) <= MOST
        and 0.0 <= ttm <= MOST
        and 0.0 <= sigma <= MOST
        and (cp == 1.0 or cp == -1.0)
    ):
        return BAD_INPUT
    return AT_INTRINSIC if ttm < ZERO or sigma < ZERO else OK


@kernel
def price(forward: float, strike: float, ttm: float, sigma: float, cp: float) -> float:
    """Undiscounted premium; the intrinsic value at ttm = 0 or sigma = 0; NaN outside the domain."""
    status = row_status(forward, strike, ttm, sigma, cp)
    if status == BAD_INPUT:
        return math.nan
    intrinsic = max(cp * (forward - strike), 0.0)
    if status == AT_INTRINSIC:
        return intrinsic
    return intrinsic + time_value(abs(forward - strike), sigma * math.sqrt(ttm))


@kernel
def time_value(x: float, s: float) -> float:
    """V minus its intrinsic value at the distance x = |F − K| and total deviation s > 0; one for call and put."""
    h = x / s
    return s * norm_pdf(h) * mills_slope(-h) if h <= H_MAX else 0.0


@kernel
def implied_vol(premium: float, forward: float, strike: float, ttm: float, cp: float) -> tuple[float, int]:
    """(sigma, status) of an undiscounted premium: the normal volatility, to round-off over the whole domain.

    0.0 with AT_INTRINSIC for a premium equal to max(cp·(F − K), 0) as rounded to a double (or whose volatility is
    under the smallest double: 5e-324 at K = F and ttm = 1e10); NaN with BELOW_INTRINSIC one unit in the last place
    under it; NaN with ABOVE_MAX where sigma would leave the domain (the normal model has no other upper bound); NaN
    with BAD_INPUT for NaN, infinities, and a ttm that is not positive.
    """
    if not (
        abs(forward) <= MOST
        and abs(strike) <= MOST
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
    value = premium if intrinsic == 0.0 else excess(premium, forward, strike, cp)
    sigma = total_deviation(value, abs(forward - strike)) / math.sqrt(ttm)
    if sigma > MOST:
        return math.nan, ABOVE_MAX
    return sigma, OK if sigma > 0.0 else AT_INTRINSIC


@kernel
def total_deviation(value: float, x: float) -> float:
    """The total deviation s whose time value at the distance x is `value` > 0."""
    if x <= 1e-9 * value:
        return SQRT_2PI * (value + 0.5 * x)  # the next term is x²/value
    wing = x / value
    # ln(1 + wing²/2π), by logarithms where the square, or the quotient itself, would overflow.
    far = wing > 1e100
    u = math.sqrt(2.0 * (math.log(x) - math.log(value)) - LN_2PI if far else math.log1p(wing * wing / (2.0 * math.pi)))
    h = u * inverse_over_u(u)
    slope = mills_slope(-h)
    if far:
        residual = math.log(INV_SQRT_2PI * slope / h) - 0.5 * h * h + (math.log(x) - math.log(value))
    else:
        residual = math.log(norm_pdf(h) * slope / h * wing)
    return x / h * (1.0 + householder(residual, 1.0 / slope, h * h))


@kernel
def inverse_over_u(u: float) -> float:
    """eta/u, the polynomial of `INVERSE`."""
    y = (C - u) / (C + u)
    total: float = INVERSE[16]
    for i in range(15, -1, -1):
        total = total * y + INVERSE[i]
    return total


@kernel
def householder(residual: float, w: float, q: float) -> float:
    """The step of third order in s, relative to s, for f = ln b: s·f' = w, and s·v'/v = q = h² for v = db/ds."""
    newton = -residual / w
    second = q - w  # s·f''/f'
    third = q * q - 3.0 * q - 3.0 * q * w + 2.0 * w * w  # s²·f'''/f'
    bend = newton * second
    return newton * (1.0 + 0.5 * bend) / (1.0 + bend + newton * newton * third / 6.0)


@kernel
def greeks(
    forward: float, strike: float, ttm: float, sigma: float, cp: float
) -> tuple[float, float, float, float, float, float, float, float, float, float, float, float, float, float]:
    """All fourteen, in the order of `black76.GREEKS`, undiscounted, with the meaning they have there.

    theta, charm, veta, color are minus the ttm-derivatives of V, delta, vega, gamma; rho is -ttm·V. NaN outside the
    domain, and where a limit diverges (gamma at K = F and ttm = 0); `row_status` tells which rows are limits.
    """
    status = row_status(forward, strike, ttm, sigma, cp)
    if status == BAD_INPUT:
        nan = math.nan
        return nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan
    s = sigma * math.sqrt(ttm)
    if status == AT_INTRINSIC or abs(forward - strike) > H_MAX * s:
        return limit_greeks(forward, strike, ttm, cp)
    d = (forward - strike) / s
    pdf = norm_pdf(d)
    value = max(cp * (forward - strike), 0.0) + s * pdf * mills_slope(-abs(d))
    gamma = pdf / s
    vega = pdf * math.sqrt(ttm)
    volga = vega / sigma * d * d
    half_rate = 0.5 / ttm
    return (
        value,
        cp * norm_cdf(cp * d),
        gamma,
        vega,
        -vega * sigma * half_rate,
        -ttm * value,
        -pdf * d / sigma,
        volga,
        pdf * d * half_rate,
        -vega * (1.0 + d * d) * half_rate,
        -gamma * d / s,
        gamma * (d * d - 1.0) / sigma,
        gamma * (1.0 - d * d) * half_rate,
        volga * (d * d - 3.0) / sigma,
    )


@kernel
def limit_greeks(
    forward: float, strike: float, ttm: float, cp: float
) -> tuple[float, float, float, float, float, float, float, float, float, float, float, float, float, float]:
    """The Greeks of s → 0: those of the pay-off, and at K = F, where d stays 0, what the kink leaves.

    There delta is its mean ±1/2; gamma, zomma and color diverge. As ttm → 0 theta and veta diverge, too; as sigma → 0
    at ttm > 0 they do not.
    """
    nan = math.nan
    if forward != strike:
        value = max(cp * (forward - strike), 0.0)
        delta = cp if value > 0.0 else 0.0
        return value, delta, 0.0, 0.0, 0.0, -ttm * value, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    expired = ttm < ZERO
    vega = 0.0 if expired else INV_SQRT_2PI * math.sqrt(ttm)
    theta = nan if expired else 0.0
    veta = nan if expired else -0.5 * vega / ttm
    return 0.0, 0.5 * cp, nan, vega, theta, 0.0, 0.0, 0.0, 0.0, veta, 0.0, nan, nan, 0.0


@kernel
def price_chain(
    forward: Floats, strike: Floats, ttm: Floats, sigma: Floats, cp: Floats, out: Floats, status: Codes
) -> None:
    """`price` of each row into `out`, its status into `status`; all of one length."""
    for i in range(out.shape[0]):
        status[i] = row_status(forward[i], strike[i], ttm[i], sigma[i], cp[i])
        out[i] = price(forward[i], strike[i], ttm[i], sigma[i], cp[i])


@kernel
def implied_vol_chain(
    premium: Floats, forward: Floats, strike: Floats, ttm: Floats, cp: Floats, out: Floats, status: Codes
) -> None:
    """`implied_vol` of each row into `out`, its status into `status`; all of one length."""
    for i in range(out.shape[0]):
        out[i], status[i] = implied_vol(premium[i], forward[i], strike[i], ttm[i], cp[i])


@kernel
def greeks_chain(
    forward: Floats, strike: Floats, ttm: Floats, sigma: Floats, cp: Floats, out: Floats, status: Codes
) -> None:
    """`greeks` of each row i into `out[:, i]`, in the order of `black76.GREEKS`; `out` has 14 rows."""
    for i in range(out.shape[1]):
        status[i] = row_status(forward[i], strike[i], ttm[i], sigma[i], cp[i])
        row = greeks(forward[i], strike[i], ttm[i], sigma[i], cp[i])
        for j in range(14):
            out[j, i] = row[j]


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """The chains as `pricer.columns` calls them: input columns are read-only."""
    one = np.ones(1)
    one.flags.writeable = False
    codes = np.zeros(1, np.uint8)
    return [
        ("price_chain", lambda: price_chain(one, one, one, one, one, np.zeros(1), codes)),
        ("implied_vol_chain", lambda: implied_vol_chain(one, one, one, one, one, np.zeros(1), codes)),
        ("greeks_chain", lambda: greeks_chain(one, one, one, one, one, np.zeros((14, 1)), codes)),
    ]
