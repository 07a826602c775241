"""American options by their early-exercise premium: the value and its derivatives in the spot.

With the boundary known (`exercise_boundary`), a put with strike 1 is worth its European price plus what exercise earns

    V(x) = v(x) + ∫ [ r·exp(-r·t)·Φ(-d-) - q·x·exp(-q·t)·Φ(-d+) ] dt,   d± = d±(t, x/B(ttm - t))

(Kim 1990; Carr, Jarrow and Myneni 1992), minus the same with the lower boundary where there is one. A call is a put
with the roles of spot and strike, and of rate and dividend yield, exchanged (McDonald and Schroder 1998):

    C(S, K, r, q) = P(K, S, q, r).

So each option is put into the *unit form*: x = S/K for a put, K/S for a call, the rates in their order for a put,
exchanged for a call; its value is the unit put's times K, or S. The derivatives in x are integrals of the integrand's:
the boundary does not depend on x. (It does on volatility and rates: `pricer.american` takes differences in these.)

Statuses: OK where the option is kept. AT_INTRINSIC where exercise is optimal now, so that the option is worth exactly
its exercise value for a whole range of volatilities, and where ttm or sigma is zero. NO_CONVERGENCE, with NaN, where
the boundary was not found or fails its own test: the price formula at the boundary must give the exercise value.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from pricer.kernels.exercise_boundary import (
    LOWER,
    SUMS,
    UPPER,
    Work,
    cumulative,
    distance,
    phi,
    solve,
)
from pricer.kernels.jit import kernel
from pricer.kernels.status import AT_INTRINSIC, BAD_INPUT, NO_CONVERGENCE, OK

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]

# Spot and strike, and their ratio: further apart an exercise value has no digits of the smaller one.
LEAST = 1e-100
MOST = 1e100
MOST_APART = 1e12

# exp(rate·ttm) stays finite with room to spare.
MOST_GROWTH = 300.0
MOST_RATE = 100.0

# A smaller total deviation sigma·√ttm counts as none. It bounds what randomness adds to a price, per spot: no more than
# the errors at the worst. The equations of the boundary have no digits left not far below.
ZERO = 1e-7

# The price formula at the boundary against the exercise value, per strike. Errors seen are below 2e-7.
SELF_TEST = 2e-6

# What early exercise may earn, per strike, without being looked for.
NEGLIGIBLE = 1e-11

# Squared drift away from the boundary, in deviations, after which nothing more happens there: exp(-FAR/2) is 4e-18.
FAR = 80.0

# Deviations from the boundary inside which the higher derivatives are taken from this far away.
CLOSEST = 1e-4

# A panel is halved while the two rules differ by more than this part of the result; the better one is then good to
# about the square.
PANEL = 1e-8
NARROWEST = 1e-9


@kernel
def row_status(
    spot: float, strike: float, ttm: float, sigma: float, rate: float, dividend_yield: float, cp: float
) -> int:
    """OK, AT_INTRINSIC where nothing is random (results are limits), or BAD_INPUT outside the domain."""
    # Written so that a NaN anywhere makes the test fail.
    if not (
        LEAST <= spot <= MOST
        and LEAST <= strike <= MOST
        and 1.0 / MOST_APART <= spot / strike <= MOST_APART
        and 0.0 <= ttm <= MOST
        and 0.0 <= sigma <= MOST
        and abs(rate) <= MOST_RATE
        and abs(dividend_yield) <= MOST_RATE
        and abs(rate) * ttm <= MOST_GROWTH
        and abs(dividend_yield) * ttm <= MOST_GROWTH
        and (cp == 1.0 or cp == -1.0)
    ):
        return BAD_INPUT
    return AT_INTRINSIC if sigma * math.sqrt(ttm) < ZERO else OK


@kernel
def waiting_time(x: float, r: float, q: float, ttm: float) -> float:
    """When a unit put is exercised if nothing is random: the t in 0 … ttm of the largest exp(-r·t) - x·exp(-q·t)."""
    best, most = 0.0, 1.0 - x
    last = math.exp(-r * ttm) - x * math.exp(-q * ttm)
    if last > most:
        best, most = ttm, last
    if q != r and r != 0.0 and q * x / r > 0.0:
        t = math.log(q * x / r) / (q - r)
        if 0.0 < t < ttm and math.exp(-r * t) - x * math.exp(-q * t) > most:
            best = t
    return best


@kernel
def european(x: float, r: float, q: float, ttm: float, sigma: float, out: Floats) -> None:
    """The European unit put and its first four derivatives in x."""
    s = sigma * math.sqrt(ttm)
    d_plus = (math.log(x) + (r - q) * ttm) / s + 0.5 * s
    discount = math.exp(-q * ttm)
    shares = discount * cumulative(-d_plus)
    slope = d_plus / s
    second = discount * phi(d_plus) / (s * x)
    out[0] = math.exp(-r * ttm) * cumulative(s - d_plus) - x * shares
    out[1] = -shares
    out[2] = second
    out[3] = -second / x * (1.0 + slope)
    out[4] = second / (x * x) * ((1.0 + slope) * (2.0 + slope) - 1.0 / (s * s))


@kernel
def add_earned(x: float, r: float, q: float, left: float, sigma: float, y: float, weight: float, out: Floats) -> None:
    """Adds the integrand over the time before an exercise at boundary exp(-y), and its first four derivatives in x.

    With f = exp(-r·t)·φ(d-)/s and D = d-/s the n-th derivative is f·P(n)/x^n from the second on,
    P(n + 1) = -(n + D)·P(n) + x·dP(n)/dx, P(2) = r - c·D, c = q·B - r.
    """
    s = sigma * math.sqrt(left)
    d_minus = (math.log(x) + y + (r - q) * left) / s - 0.5 * s
    discount = weight * math.exp(-r * left)
    shares = weight * q * math.exp(-q * left) * cumulative(-d_minus - s)
    f = discount * phi(d_minus) / s
    c = q * math.exp(-y) - r
    slope, w = d_minus / s, 1.0 / (s * s)
    p2 = r - c * slope
    p3 = -(2.0 + slope) * p2 - c * w
    f /= x
    out[0] += r * discount * cumulative(-d_minus) - x * shares
    out[1] += c * f - shares
    f /= x
    out[2] += f * p2
    f /= x
    out[3] += f * p3
    out[4] += f / x * (-(3.0 + slope) * p3 - w * p2 + c * w * (2.0 + slope))


@kernel
def earned(
    angle: float, x: float, r: float, q: float, ttm: float, horizon: float, sigma: float, work: Work, out: Floats
) -> None:
    """`add_earned` at time left horizon·cos²(angle), per unit of angle; less what the lower boundary takes away."""
    for n in range(5):
        out[n] = 0.0
    sine, cosine = math.sin(angle), math.cos(angle)
    waited = (ttm - horizon) + horizon * sine * sine
    weight = 2.0 * horizon * sine * cosine
    add_earned(x, r, q, waited, sigma, distance(cosine, r, q, UPPER, work), weight, out)
    if r < 0.0:
        add_earned(x, r, q, waited, sigma, distance(cosine, r, q, LOWER, work), -weight, out)


@kernel
def kept(x: float, r: float, q: float, ttm: float, horizon: float, sigma: float, orders: int, work: Work) -> float:
    """The unit put where it is kept, and its first four derivatives in x, into a row of `work`; returns the first.

    `orders` of them are integrated to full accuracy.
    """
    rule = work[4]
    total, fine, coarse, term = work[5][SUMS], work[5][SUMS + 1], work[5][SUMS + 2], work[5][SUMS + 3]
    european(x, r, q, ttm, sigma, total)
    spread = min(x * sigma * math.sqrt(ttm), 1.0)
    at, width = 0.0, 0.25 * math.pi
    while at < 0.5 * math.pi * (1.0 - 1e-15):
        width = min(width, 0.5 * math.pi - at)
        for n in range(5):
            fine[n] = coarse[n] = 0.0
        for i in range(rule.shape[1]):
            earned(at + 0.5 * width * (1.0 + rule[0, i]), x, r, q, ttm, horizon, sigma, work, term)
            for n in range(5):
                fine[n] += 0.5 * width * rule[1, i] * term[n]
                coarse[n] += 0.5 * width * rule[2, i] * term[n]
        good = True
        floor = 1e-8
        for n in range(orders):
            good = good and abs(fine[n] - coarse[n]) <= PANEL * (abs(total[n] + fine[n]) + floor)
            floor /= spread
        if good or width < NARROWEST:
            for n in range(5):
                total[n] += fine[n]
            at += width
            width *= 2.0
        else:
            width *= 0.5
    return float(total[0])


@kernel
def unit_put(x: float, r: float, q: float, ttm: float, sigma: float, orders: int, work: Work) -> int:
    """Status; where the put is kept, value and first four derivatives in x in a row of `work`. ttm, sigma > 0."""
    # A rate that earns nothing by expiry is none; its boundary would be out of reach of doubles.
    if abs(r) * ttm < NEGLIGIBLE:
        r = 0.0
    if abs(q) * ttm < NEGLIGIBLE:
        q = 0.0
    never = r <= 0.0 and q >= r  # waiting costs no interest, or less than the dividends that it gains
    if r < 0.0 and not never:
        # Two boundaries meet before a total deviation of their distance; until then exercise earns r - q at most.
        meeting = math.log(q / r) / sigma
        never = (r - q) * min(ttm, meeting * meeting) < NEGLIGIBLE
    if never:
        european(x, r, q, ttm, sigma, work[5][SUMS])
        return OK
    drift = r - q - 0.5 * sigma * sigma
    if r >= 0.0 and drift > 0.0 and drift * drift * ttm > FAR * sigma * sigma:
        # The spot leaves the boundary upwards for good: later times add less than exp(-FAR/2), and only cost digits.
        ttm = FAR * sigma * sigma / (drift * drift)
    horizon = solve(r, q, ttm, sigma, work)
    if math.isnan(horizon):
        return NO_CONVERGENCE
    edge = math.exp(-distance(1.0, r, q, UPPER, work))
    other = math.exp(-distance(1.0, r, q, LOWER, work)) if r < 0.0 else 0.0
    if not abs(kept(edge, r, q, horizon, horizon, sigma, min(orders, 1), work) - (1.0 - edge)) <= SELF_TEST:
        return NO_CONVERGENCE
    if horizon == ttm and other <= x <= edge:
        return AT_INTRINSIC
    kept(x, r, q, ttm, horizon, sigma, orders, work)
    if orders > 1 and horizon == ttm:
        # Beside a boundary the higher derivatives are what is left of large terms: those a little away are better.
        away = CLOSEST * min(sigma * math.sqrt(ttm), 1.0)
        place = max(x, edge * (1.0 + away)) if x > edge else min(x, other * (1.0 - away))
        if place != x:
            out = work[5][SUMS]
            value, slope = out[0], out[1]
            kept(place, r, q, ttm, horizon, sigma, orders, work)
            out[0], out[1] = value, slope
    return OK


@kernel
def values(
    spot: float,
    strike: float,
    ttm: float,
    sigma: float,
    rate: float,
    dividend_yield: float,
    cp: float,
    orders: int,
    work: Work,
    out: Floats,
) -> int:
    """V and its first four derivatives in the spot into `out`, of which `orders` to full accuracy; the status.

    NaN outside the domain and where the boundary was not found.
    """
    for n in range(5):
        out[n] = math.nan
    status = row_status(spot, strike, ttm, sigma, rate, dividend_yield, cp)
    if status == BAD_INPUT:
        return status
    x, r, q = spot / strike, rate, dividend_yield
    if cp > 0.0:
        x, r, q = strike / spot, dividend_yield, rate
    if status == AT_INTRINSIC:
        certain_values(spot, strike, cp, rate, dividend_yield, waiting_time(x, r, q, ttm), ttm, out)
        return status
    status = unit_put(x, r, q, ttm, sigma, orders, work)
    unit = work[5][SUMS]
    intrinsic = cp * (spot - strike)
    if status == AT_INTRINSIC:
        out[0], out[1], out[2], out[3], out[4] = intrinsic, cp, 0.0, 0.0, 0.0
    elif status == OK and cp < 0.0:
        out[0], out[1], out[2] = strike * unit[0], unit[1], unit[2] / strike
        out[3], out[4] = unit[3] / (strike * strike), unit[4] / (strike * strike * strike)
    elif status == OK:  # the derivatives of S·p(K/S)
        square = x * x / spot
        out[0], out[1], out[2] = spot * unit[0], unit[0] - x * unit[1], square * unit[2]
        out[3] = -square / spot * (3.0 * unit[2] + x * unit[3])
        out[4] = square / (spot * spot) * (12.0 * unit[2] + 8.0 * x * unit[3] + x * x * unit[4])
    if status == OK:
        out[0] = max(out[0], intrinsic, 0.0)  # which round-off may undercut by an ulp
    return status


@kernel
def certain_values(
    spot: float,
    strike: float,
    cp: float,
    rate: float,
    dividend_yield: float,
    t: float,
    ttm: float,
    out: Floats,
) -> None:
    """`values` where nothing is random and exercise is due in t years: of cp·(S·exp(-q·t) - K·exp(-r·t)).

    At a t inside 0 … ttm that best time moves with the spot, but V is flat in it: the second derivative is the first
    to feel that. At the kink of a worthless option delta is its mean, and what follows NaN.
    """
    shares = cp * math.exp(-dividend_yield * t)
    value = shares * spot - cp * strike * math.exp(-rate * t) if t > 0.0 else cp * (spot - strike)
    for n in range(5):
        out[n] = 0.0
    if value > 0.0:
        out[0], out[1] = value, shares
        if 0.0 < t < ttm:
            power = dividend_yield / (rate - dividend_yield)  # delta goes like a power of the spot
            out[2] = power * shares / spot
            out[3] = (power - 1.0) * out[2] / spot
            out[4] = (power - 2.0) * out[3] / spot
    elif value == 0.0 and t == 0.0:
        out[1] = 0.5 * cp
        out[2] = out[3] = out[4] = math.nan


@kernel
def values_chain(
    spot: Floats,
    strike: Floats,
    ttm: Floats,
    sigma: Floats,
    rate: Floats,
    dividend_yield: Floats,
    cp: Floats,
    orders: int,
    work: Work,
    out: Floats,
    status: Codes,
) -> None:
    """`values` of each row i into `out[i]`, its status into `status`."""
    for i in range(status.shape[0]):
        status[i] = values(
            spot[i], strike[i], ttm[i], sigma[i], rate[i], dividend_yield[i], cp[i], orders, work, out[i]
        )
