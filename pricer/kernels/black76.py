"""Black's formula on the forward (Black 1976), undiscounted: price and the fourteen Greeks of docs/conventions.md.

    V = cp·(F·Φ(cp·d1) − K·Φ(cp·d2)),   d1 = ln(F/K)/s + s/2,   d2 = d1 − s,   s = sigma·√ttm

That form loses all its digits to cancellation for small s and in the wings. So the price is its intrinsic value
plus a time value that is the same for call and put, in which nothing cancels. With h = −|ln(F/K)|/s and t = s/2

    time value = √(F·K)·v·A(h, t),   v = exp(−(h² + t²)/2)/√(2π),   A(h, t) = Y(h + t) − Y(h − t),

Y = Φ/φ (see `normal`): v·√(F·K) = F·φ(d1) = K·φ(d2), and A is the time value over vega per unit of s.

Domain: forward and strike within 1e-100 to 1e100, ttm and sigma from 0 to 1e100, cp +1 or -1. Outside it, and for
NaN, every result is NaN with BAD_INPUT. At ttm = 0 or sigma = 0 (less than 1e-30, which is 1e-14 of a nanosecond)
results are limits with AT_INTRINSIC. Inside, every result but a diverging limit is finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pricer.kernels.elementary import exp, fma, log_ratio, select, sqrt
from pricer.kernels.jit import inlined, kernel
from pricer.kernels.normal import INV_SQRT_2PI, Z_MAX, mills, mills_difference, mills_left
from pricer.kernels.status import AT_INTRINSIC, BAD_INPUT, OK

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]

GREEKS = (
    "price",
    "delta",
    "gamma",
    "vega",
    "theta",
    "rho",
    "vanna",
    "volga",
    "charm",
    "veta",
    "speed",
    "zomma",
    "color",
    "ultima",
)

# So that no product of the Greeks overflows and F·K keeps its digits.
LEAST = 1e-100
MOST = 1e100

# A smaller ttm or sigma counts as zero: 1/s³ stays finite.
ZERO = 1e-30

# exp(−H_MAX²/2) is 0 in doubles: further out, and for larger s/2, the time value is at its limit.
H_MAX = 40.0


@kernel
def price(forward: float, strike: float, ttm: float, sigma: float, cp: float) -> float:
    """Undiscounted premium; the intrinsic value at ttm = 0 or sigma = 0; NaN outside the domain."""
    value = direct_price(forward, strike, ttm, sigma, cp)
    return value if value == value else wide_price(forward, strike, ttm, sigma, cp)


@inlined
def direct_price(forward: float, strike: float, ttm: float, sigma: float, cp: float) -> float:
    """`price` without a branch; NaN for limits, large s and outside the domain."""
    s = sigma * sqrt(ttm)
    h, t, weight = shape(forward, strike, s)
    difference = cp * (forward - strike)
    value = select(difference > 0.0, difference, 0.0) + weight * mills_difference(h, t)
    return select(in_reach(forward, strike, ttm, sigma, cp, h, t), value, math.nan)


@inlined
def shape(forward: float, strike: float, s: float) -> tuple[float, float, float]:
    """(h, t, √(F·K)·v): the last is F·φ(d1) = K·φ(d2)."""
    h = -log_distance(forward, strike) / s
    t = 0.5 * s
    return h, t, sqrt(forward * strike) * (INV_SQRT_2PI * exp(-0.5 * fma(h, h, t * t)))


@inlined
def in_reach(forward: float, strike: float, ttm: float, sigma: float, cp: float, h: float, t: float) -> bool:
    """Is the row in the domain, not at a limit, and h + t in the range of Y's polynomials? False for NaN."""
    settled = (sigma >= ZERO) & (sigma <= MOST) & (h >= -H_MAX) & (h + t <= Z_MAX)
    return in_domain(forward, strike, ttm, cp) & settled


@inlined
def in_domain(forward: float, strike: float, ttm: float, cp: float) -> bool:
    """Are forward, strike, ttm and cp what the module's docstring wants, and is ttm not zero? False for NaN."""
    return (
        (forward >= LEAST)
        & (forward <= MOST)
        & (strike >= LEAST)
        & (strike <= MOST)
        & (ttm >= ZERO)
        & (ttm <= MOST)
        & (cp * cp == 1.0)
    )


@kernel
def wide_price(forward: float, strike: float, ttm: float, sigma: float, cp: float) -> float:
    """`price` over the whole domain."""
    status = row_status(forward, strike, ttm, sigma, cp)
    if status == BAD_INPUT:
        return math.nan
    intrinsic = max(cp * (forward - strike), 0.0)
    if status == AT_INTRINSIC:
        return intrinsic
    return intrinsic + time_value(forward, strike, sigma * sqrt(ttm))


@kernel
def row_status(forward: float, strike: float, ttm: float, sigma: float, cp: float) -> int:
    """OK, AT_INTRINSIC where ttm or sigma is zero (results are limits), or BAD_INPUT outside the domain."""
    # Written so that a NaN anywhere makes the test fail.
    if not (
        LEAST <= forward <= MOST
        and LEAST <= strike <= MOST
        and 0.0 <= ttm <= MOST
        and 0.0 <= sigma <= MOST
        and (cp == 1.0 or cp == -1.0)
    ):
        return BAD_INPUT
    return AT_INTRINSIC if ttm < ZERO or sigma < ZERO else OK


@inlined
def time_value(forward: float, strike: float, s: float) -> float:
    """V minus its intrinsic value, for total deviation s = sigma·√ttm > 0; the same for call and put, ≤ min(F, K)."""
    h, t, weight = shape(forward, strike, s)
    if h < -H_MAX:
        return 0.0
    if t > H_MAX:
        return min(forward, strike)
    if h + t <= Z_MAX:
        return weight * mills_difference(h, t)
    return min(forward, strike) - weight * room_over_vega(h, t)


@inlined
def log_distance(forward: float, strike: float) -> float:
    """|ln(F/K)|, good to 2 units in the last place also at the money."""
    below = forward < strike
    return log_ratio(select(below, strike, forward), select(below, forward, strike))


@inlined
def room_over_vega(h: float, t: float) -> float:
    """(min(F, K) − time value) over vega per unit of s: B(h, t) = Y(−h − t) + Y(h − t), where h + t > 0."""
    return mills(-h - t) + mills(h - t)


@kernel
def greeks(
    forward: float, strike: float, ttm: float, sigma: float, cp: float
) -> tuple[float, float, float, float, float, float, float, float, float, float, float, float, float, float]:
    """All fourteen, in the order of `GREEKS`, undiscounted; rho is -ttm·V (dV/dr at fixed forward with
    discount = exp(-r·ttm), before that discount).

    theta, charm, veta, color are minus the ttm-derivatives of V, delta, vega, gamma. NaN outside the domain, and where
    a limit diverges (gamma at K = F and ttm = 0); `row_status` tells which rows are limits.
    """
    value, delta, gamma, vega, theta, rho, d1, d2 = first_order(forward, strike, ttm, sigma, cp)
    if value == value:
        high = higher_order(forward, ttm, sigma, gamma, vega, d1, d2)
        return (value, delta, gamma, vega, theta, rho, *high)
    return wide_greeks(forward, strike, ttm, sigma, cp)


@inlined
def first_order(
    forward: float, strike: float, ttm: float, sigma: float, cp: float
) -> tuple[float, float, float, float, float, float, float, float]:
    """(price, delta, gamma, vega, theta, rho, d1, d2) without a branch; price is NaN where `direct_price` is."""
    s = sigma * sqrt(ttm)
    h, t, weight = shape(forward, strike, s)
    rise = mills_difference(h, t)
    low = mills_left(h - t)
    pdf = weight / forward
    up = pdf * (low + rise)  # Φ(h + t); below is pdf·low, F's share in the option out of the money where F > K
    good = in_reach(forward, strike, ttm, sigma, cp, h, t)
    return assembled(forward, strike, ttm, sigma, cp, select(good, weight * rise, math.nan), up, up - 1.0, pdf * low)


@inlined
def assembled(
    forward: float,
    strike: float,
    ttm: float,
    sigma: float,
    cp: float,
    time_value: float,
    up: float,
    up_less_one: float,
    down: float,
) -> tuple[float, float, float, float, float, float, float, float]:
    """`first_order` from the time value, Φ(h + t), the same less one, and Φ(h − t)."""
    root_ttm = sqrt(ttm)
    s = sigma * root_ttm
    h, t, weight = shape(forward, strike, s)
    below, call = forward < strike, cp > 0.0
    difference = cp * (forward - strike)
    value = select(difference > 0.0, difference, 0.0) + time_value
    # d1 is h + t below the strike, and −(h − t) above it.
    delta = select(below, select(call, up, up_less_one), select(call, 1.0 - down, -down))
    middle = select(below, h, -h)
    vega = weight * root_ttm
    return (
        value,
        delta,
        weight / (forward * forward * s),
        vega,
        -0.5 * vega * sigma / ttm,
        -ttm * value,
        middle + t,
        middle - t,
    )


@inlined
def higher_order(
    forward: float, ttm: float, sigma: float, gamma: float, vega: float, d1: float, d2: float
) -> tuple[float, float, float, float, float, float, float, float]:
    """(vanna, volga, charm, veta, speed, zomma, color, ultima): algebra on gamma and vega, linear in them."""
    product = d1 * d2
    root_ttm = sqrt(ttm)
    half_rate = 0.5 / ttm
    per_sigma = 1.0 / sigma
    pdf_d2 = vega / (forward * root_ttm) * d2
    volga = vega * per_sigma * product
    return (
        -pdf_d2 * per_sigma,
        volga,
        pdf_d2 * half_rate,
        -vega * (1.0 + product) * half_rate,
        -gamma / forward * (1.0 + d1 / (sigma * root_ttm)),
        gamma * per_sigma * (product - 1.0),
        gamma * half_rate * (1.0 - product),
        -vega * per_sigma * per_sigma * (product * (1.0 - product) + d1 * d1 + d2 * d2),
    )


@kernel
def wide_greeks(
    forward: float, strike: float, ttm: float, sigma: float, cp: float
) -> tuple[float, float, float, float, float, float, float, float, float, float, float, float, float, float]:
    """`greeks` over the whole domain."""
    status = row_status(forward, strike, ttm, sigma, cp)
    if status == BAD_INPUT:
        nan = math.nan
        return nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan, nan
    s = sigma * sqrt(ttm)
    if status == AT_INTRINSIC or log_distance(forward, strike) > H_MAX * s or s > 2.0 * H_MAX:
        return limit_greeks(forward, strike, ttm, sigma, cp)
    h, t, weight = shape(forward, strike, s)
    pdf = weight / forward
    rest = pdf * mills(-h - t)  # Φ(−h − t)
    value, delta, gamma, vega, theta, rho, d1, d2 = assembled(
        forward, strike, ttm, sigma, cp, time_value(forward, strike, s), 1.0 - rest, -rest, pdf * mills(h - t)
    )
    return (value, delta, gamma, vega, theta, rho, *higher_order(forward, ttm, sigma, gamma, vega, d1, d2))


@kernel
def limit_greeks(
    forward: float, strike: float, ttm: float, sigma: float, cp: float
) -> tuple[float, float, float, float, float, float, float, float, float, float, float, float, float, float]:
    """The Greeks where s has gone to 0 (a pay-off) or to infinity (a call is the forward, a put the strike).

    At K = F and s = 0 the kink decides: delta is its mean ±1/2, gamma and what hangs on it diverge. As ttm → 0 theta,
    charm and veta diverge too; as sigma → 0 at ttm > 0 they tend to zero or to the values below.
    """
    nan = math.nan
    if sigma * sqrt(ttm) > 2.0 * H_MAX:
        value = forward if cp > 0.0 else strike
        delta = 1.0 if cp > 0.0 else 0.0
        return value, delta, 0.0, 0.0, 0.0, -ttm * value, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if forward != strike:
        value = max(cp * (forward - strike), 0.0)
        delta = cp if value > 0.0 else 0.0
        return value, delta, 0.0, 0.0, 0.0, -ttm * value, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if ttm < ZERO:
        return 0.0, 0.5 * cp, nan, 0.0, nan, 0.0, 0.0, 0.0, nan, nan, nan, nan, nan, 0.0
    root_ttm = sqrt(ttm)
    vega = forward * INV_SQRT_2PI * root_ttm
    vanna = 0.5 * INV_SQRT_2PI * root_ttm
    veta = -0.5 * vega / ttm
    return 0.0, 0.5 * cp, nan, vega, 0.0, 0.0, vanna, 0.0, 0.0, veta, nan, nan, nan, -0.25 * vega * ttm


@kernel
def price_chain(
    forward: Floats, strike: Floats, ttm: Floats, sigma: Floats, cp: Floats, out: Floats, status: Codes
) -> None:
    """`price` of each row into `out`, its status into `status`; all of one length."""
    for i in range(out.shape[0]):
        out[i] = direct_price(forward[i], strike[i], ttm[i], sigma[i], cp[i])
    for i in range(out.shape[0]):
        status[i] = OK
        if out[i] != out[i]:
            status[i] = row_status(forward[i], strike[i], ttm[i], sigma[i], cp[i])
            out[i] = wide_price(forward[i], strike[i], ttm[i], sigma[i], cp[i])


@kernel
def first_greeks_chain(
    forward: Floats, strike: Floats, ttm: Floats, sigma: Floats, cp: Floats, out: Floats, status: Codes
) -> None:
    """price, delta, gamma, vega, theta and rho of each row i into `out[:6, i]`, its status into `status`."""
    for i in range(out.shape[1]):
        value, delta, gamma, vega, theta, rho, _, _ = first_order(forward[i], strike[i], ttm[i], sigma[i], cp[i])
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i], out[5, i] = value, delta, gamma, vega, theta, rho
    settle(forward, strike, ttm, sigma, cp, out[:6], status)


@kernel
def greeks_chain(
    forward: Floats, strike: Floats, ttm: Floats, sigma: Floats, cp: Floats, out: Floats, status: Codes
) -> None:
    """`greeks` of each row i into `out[:, i]`, in the order of `GREEKS`; `out` has 14 rows."""
    # Two loops: with all fourteen outputs in one LLVM gives up the proof that none overlaps another, and vectors.
    for i in range(out.shape[1]):
        value, delta, gamma, vega, theta, rho, d1, d2 = first_order(forward[i], strike[i], ttm[i], sigma[i], cp[i])
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i], out[5, i] = value, delta, gamma, vega, theta, rho
        out[6, i], out[7, i] = d1, d2
    for i in range(out.shape[1]):
        vanna, volga, charm, veta, speed, zomma, color, ultima = higher_order(
            forward[i], ttm[i], sigma[i], out[2, i], out[3, i], out[6, i], out[7, i]
        )
        out[6, i], out[7, i], out[8, i], out[9, i] = vanna, volga, charm, veta
        out[10, i], out[11, i], out[12, i], out[13, i] = speed, zomma, color, ultima
    settle(forward, strike, ttm, sigma, cp, out, status)


@kernel
def settle(forward: Floats, strike: Floats, ttm: Floats, sigma: Floats, cp: Floats, out: Floats, status: Codes) -> None:
    """The rows whose price is NaN so far by `wide_greeks`, and the status of every row."""
    for i in range(out.shape[1]):
        status[i] = OK
        if out[0, i] != out[0, i]:
            status[i] = row_status(forward[i], strike[i], ttm[i], sigma[i], cp[i])
            row = wide_greeks(forward[i], strike[i], ttm[i], sigma[i], cp[i])
            for j in range(out.shape[0]):
                out[j, i] = row[j]


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One call of each kernel as `pricer.pricing` makes it: input columns are read-only."""
    one = np.ones(1)
    one.flags.writeable = False
    codes = np.zeros(1, np.uint8)
    return [
        ("price", lambda: price(1.0, 1.0, 1.0, 1.0, 1.0)),
        ("greeks", lambda: greeks(1.0, 1.0, 1.0, 1.0, 1.0)),
        ("price_chain", lambda: price_chain(one, one, one, one, one, np.zeros(1), codes)),
        ("first_greeks_chain", lambda: first_greeks_chain(one, one, one, one, one, np.zeros((6, 1)), codes)),
        ("greeks_chain", lambda: greeks_chain(one, one, one, one, one, np.zeros((14, 1)), codes)),
    ]
