"""American exercise on a spot with rate and dividend yield: price, implied volatility, Greeks.

r is `rate`, q is `dividend_yield`, both continuously compounded and of any sign; the model is that of `pricer.bsm`, and
where exercise never pays (a call with q ≤ 0 and q ≤ r, a put with r ≤ 0 and r ≤ q) the results are its own. Arrays
broadcast, scalars give scalars, bad rows are NaN with a status. Dividends are a yield: discrete ones are not modelled.

Statuses, besides those of `pricer.bsm`: AT_INTRINSIC where exercise is optimal now. The price is then the exercise
value whatever the volatility, so that an implied volatility of it is NaN. NO_CONVERGENCE, with NaN, where the exercise
boundary was not found.

Greeks are named and signed as in `pricer.bsm`. Price, delta, gamma, speed and the four in time come from formulas;
vega, vanna, volga, zomma, ultima and rho are seven-point differences of these over re-solved boundaries. Of their
natural size (S·√ttm for vega, a factor 1/sigma for each further order) they err by 1e-10, 1e-9 and 1e-7 typically for
the first, second and third order in sigma, rho by 1e-9; at the worst, beside the exercise boundary and where two
boundaries meet before expiry, by 1e-6, 1e-4 and 1e-2.

The method is that of Andersen, Lake and Offengenden (2016); `pricer.kernels.exercise_boundary` describes it. A price is
good to 1e-11 of the strike typically and 2e-7 at the worst, and takes 0.2 to 0.4 ms (between two boundaries that meet,
several ms), an implied volatility eight prices, all Greeks fifteen. The one kernel compiles at its first use, not in
`pricer.warmup`: nothing live needs it. What stands around it here is numpy, as a call costs nothing beside a boundary,
and compiling does.

>>> round(price(100.0, 100.0, 1.0, 0.25, "put", rate=0.05, dividend_yield=0.05), 6)
9.569445
>>> round(implied_vol(9.569445, 100.0, 100.0, 1.0, "put", 0.05, 0.05), 6)
0.25
"""

from __future__ import annotations

from dataclasses import astuple
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike

from pricer import bsm, pricing
from pricer.columns import Codes, Floats, Sign, Signs, frozen, rows, shaped, shaped_codes, signs
from pricer.kernels.american import values_chain
from pricer.kernels.exercise_boundary import workspace
from pricer.kernels.status import ABOVE_MAX, AT_INTRINSIC, BAD_INPUT, BELOW_INTRINSIC, NO_CONVERGENCE, OK
from pricer.pricing import Greeks

__all__ = ["greeks", "implied_vol", "price"]

# A derivative's step: relative in sigma at the money and smaller further out; the largest absolute one in the rate.
SIGMA_STEP = 0.02
RATE_STEP = 1e-4

MAX_TRIALS = 80  # of volatilities; ten are usual
SIGMA_DONE = 1e-12  # relative


class _Options(NamedTuple):
    """Columns of one length: the inputs of one option a row."""

    spot: Floats
    strike: Floats
    ttm: Floats
    sigma: Floats
    rate: Floats
    dividend_yield: Floats
    cp: Floats

    def of(self, rows: Any) -> _Options:
        return _Options(*(column[rows] for column in self))

    @property
    def european(self) -> Any:
        """Whether exercise never pays: waiting costs nothing, or less than what it gains."""
        cost, gain = self._exchanged(self.rate, self.dividend_yield)
        return (cost <= 0.0) & (gain >= cost)

    @property
    def intrinsic(self) -> Floats:
        return np.maximum(self.cp * (self.spot - self.strike), 0.0)

    @property
    def forward(self) -> Floats:
        with np.errstate(all="ignore"):  # a rate that overflows makes a bad row, not a warning
            return self.spot * np.exp((self.rate - self.dividend_yield) * self.ttm)

    @property
    def discount(self) -> Floats:
        with np.errstate(all="ignore"):
            return np.asarray(np.exp(-self.rate * self.ttm))

    @property
    def most(self) -> Floats:
        """What no volatility reaches: all of what is received, today or at expiry."""
        received, rate = np.where(self.cp > 0.0, (self.spot, self.dividend_yield), (self.strike, self.rate))
        with np.errstate(all="ignore"):
            return np.asarray(received * np.maximum(np.exp(-rate * self.ttm), 1.0))

    def _exchanged(self, rate: Floats, dividend_yield: Floats) -> tuple[Floats, Floats]:
        """As for a put: what exercise earns interest at, and what it gives up."""
        call = self.cp > 0.0
        return np.where(call, dividend_yield, rate), np.where(call, rate, dividend_yield)


@overload
def price(
    spot: float, strike: float, ttm: float, sigma: float, cp: Sign, rate: float = 0.0, dividend_yield: float = 0.0
) -> float: ...
@overload
def price(
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> Floats: ...
@overload
def price(
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
    *,
    status: Literal[True],
) -> tuple[Any, Any]: ...
def price(
    spot: Any,
    strike: Any,
    ttm: Any,
    sigma: Any,
    cp: Signs,
    rate: Any = 0.0,
    dividend_yield: Any = 0.0,
    *,
    status: bool = False,
) -> Any:
    """The premium today, at least max(cp·(S − K), 0) and the European one.

    At ttm = 0 the exercise value; at sigma = 0 that of the best time to exercise (both AT_INTRINSIC).
    """
    shape, columns = rows(spot, strike, ttm, sigma, rate, dividend_yield, signs(cp))
    options = _Options(*columns)
    european = options.european
    out, codes = np.empty(len(european)), np.empty(len(european), np.uint8)
    s, k, t, v, r, q, c = options.of(european)
    out[european], codes[european] = bsm.price(s, k, t, v, c, r, q, status=True)
    values, codes[~european] = _values(options.of(~european), 1)
    out[~european] = values[0]
    return (shaped(out, shape), shaped_codes(codes, shape)) if status else shaped(out, shape)


@overload
def implied_vol(
    premium: float, spot: float, strike: float, ttm: float, cp: Sign, rate: float = 0.0, dividend_yield: float = 0.0
) -> float: ...
@overload
def implied_vol(
    premium: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> Floats: ...
@overload
def implied_vol(
    premium: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
    *,
    status: Literal[True],
) -> tuple[Any, Any]: ...
def implied_vol(
    premium: Any,
    spot: Any,
    strike: Any,
    ttm: Any,
    cp: Signs,
    rate: Any = 0.0,
    dividend_yield: Any = 0.0,
    *,
    status: bool = False,
) -> Any:
    """The volatility of a premium paid today.

    NaN at the exercise value (AT_INTRINSIC): every volatility up to a critical one gives it. 0 where no volatility at
    all gives the premium, as for 0 (AT_INTRINSIC). NaN under the value at sigma = 0, which is the exercise value or
    more (BELOW_INTRINSIC), and from S·max(exp(−q·ttm), 1) for a call, K·max(exp(−r·ttm), 1) for a put on (ABOVE_MAX).
    """
    shape, (p, s, k, t, r, q, c) = rows(premium, spot, strike, ttm, rate, dividend_yield, signs(cp))
    options = _Options(s, k, t, t, r, q, c)
    # The European volatility is the answer where exercise never pays, and a first guess elsewhere.
    out, codes = pricing.implied_vol(p, options.forward, k, t, c, options.discount, status=True)
    kept = ~options.european
    out[kept], codes[kept] = _implied_vol(p[kept], options.of(kept), out[kept])
    return (shaped(out, shape), shaped_codes(codes, shape)) if status else shaped(out, shape)


@overload
def greeks(
    spot: float, strike: float, ttm: float, sigma: float, cp: Sign, rate: float = 0.0, dividend_yield: float = 0.0
) -> Greeks[float]: ...
@overload
def greeks(
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
) -> Greeks[Floats]: ...
@overload
def greeks(
    spot: ArrayLike,
    strike: ArrayLike,
    ttm: ArrayLike,
    sigma: ArrayLike,
    cp: Signs,
    rate: ArrayLike = 0.0,
    dividend_yield: ArrayLike = 0.0,
    *,
    status: Literal[True],
) -> tuple[Greeks[Any], Any]: ...
def greeks(
    spot: Any,
    strike: Any,
    ttm: Any,
    sigma: Any,
    cp: Signs,
    rate: Any = 0.0,
    dividend_yield: Any = 0.0,
    *,
    status: bool = False,
) -> Any:
    """The fourteen Greeks in the spot, named and signed as those of `pricer.bsm`.

    At ttm = 0 or sigma = 0 they are limits (AT_INTRINSIC), NaN where a limit diverges or is not known. Where only a
    difference in sigma or rate could not be had (NO_CONVERGENCE) what is made of it is NaN, and the price is not.
    """
    shape, columns = rows(spot, strike, ttm, sigma, rate, dividend_yield, signs(cp))
    options = _Options(*columns)
    european = options.european
    out, codes = np.empty((len(Greeks.__dataclass_fields__), len(european))), np.empty(len(european), np.uint8)
    s, k, t, v, r, q, c = options.of(european)
    carried, codes[european] = bsm.greeks(s, k, t, v, c, r, q, status=True)
    out[:, european] = astuple(carried)
    out[:, ~european], codes[~european] = _greeks(options.of(~european))
    found = Greeks(*(shaped(row, shape) for row in out))
    return (found, shaped_codes(codes, shape)) if status else found


def _values(options: _Options, orders: int) -> tuple[Floats, Codes]:
    """V and its first four derivatives in the spot, one a row, of which `orders` to full accuracy; the statuses."""
    count = len(options.cp)
    out, codes = np.empty((count, 5)), np.empty(count, np.uint8)
    s, k, t, v, r, q, c = (frozen(np.ascontiguousarray(column)) for column in options)
    values_chain(s, k, t, v, r, q, c, orders, workspace(), out, codes)
    return out.T, codes


def _greeks(options: _Options) -> tuple[Floats, Codes]:
    """All fourteen of options that may be exercised, one a row, and the statuses."""
    (value, delta, gamma, speed, fourth), codes = _values(options, 5)
    vega, volga, ultima, vanna, zomma, rho = np.full((6, len(codes)), np.nan)
    random = codes == OK
    some = options.of(random)
    vega[random], volga[random], ultima[random], vanna[random], zomma[random] = _in_sigma(some)
    rho[random] = _in_rate(some)
    codes[random & ~np.isfinite(ultima + zomma + rho)] = NO_CONVERGENCE

    certain = (codes == AT_INTRINSIC) & np.isfinite(gamma)
    vega[certain] = ultima[certain] = vanna[certain] = zomma[certain] = 0.0
    volga[certain] = np.where(gamma[certain] == 0.0, 0.0, np.nan)  # while V waits for its best time: not known
    rho[certain] = _wait(options.of(certain), value[certain], delta[certain])

    # The Black-Scholes equation and its derivatives: what a year less takes away.
    s, sigma, r, q = options.spot, options.sigma, options.rate, options.dividend_yield
    with np.errstate(all="ignore"):  # bad rows
        drift, half, variance = (r - q) * s, 0.5 * (sigma * s) ** 2, sigma * sigma
        theta = r * value - drift * delta - half * gamma
        charm = q * delta - (drift + variance * s) * gamma - half * speed
        veta = r * vega - drift * vanna - sigma * s * s * gamma - half * zomma
        color = (2.0 * q - r - variance) * gamma - (drift + 2.0 * variance * s) * speed - half * fourth
    due = certain & (value > 0.0) & (value == options.intrinsic)
    theta[due] = charm[due] = 0.0
    found = Greeks(
        value, delta, gamma, vega, theta, rho, vanna, volga, charm, veta, speed, zomma, color, ultima
    )  # fmt: skip
    return np.array(astuple(found)), codes


def _in_sigma(options: _Options) -> Floats:
    """vega, volga, ultima, vanna, zomma."""
    with np.errstate(all="ignore"):
        deviations = np.log(options.spot / options.strike) / (options.sigma * np.sqrt(options.ttm))
        step = SIGMA_STEP * options.sigma / (1.0 + 0.1 * deviations**2)
    # A higher volatility never turns a kept option into one to exercise.
    by_step = _differences(options, "sigma", step, np.ones(len(step)))
    return np.asarray(by_step / step ** np.array([[1], [2], [3], [1], [1]]))


def _in_rate(options: _Options) -> Floats:
    """rho."""
    step = np.minimum(RATE_STEP, 0.02 / np.maximum(options.ttm, 1.0))
    step = np.maximum(np.minimum(step, 0.1 * options.sigma**2), 1e-2 * RATE_STEP)
    # Nor does a lower rate for a put, or a higher one for a call.
    return np.asarray(_differences(options, "rate", step, options.cp)[0] / step)


def _differences(options: _Options, field: str, step: Floats, away: Floats) -> Floats:
    """The first three derivatives of V, the first of delta and of gamma, in one input, times the step's powers.

    By values at -3 ... 3 steps, or, where some of these would be exercised, at 0 ... 6 steps `away`. NaN where neither
    can be had.
    """
    count = len(step)
    out = np.full((5, count), np.nan)
    pending = np.arange(count)
    for first, direction in ((-3, np.ones(count)), (0, away)):
        offsets = np.arange(first, first + 7, dtype=float)[:, None] * direction[pending]
        nodes = options.of(np.tile(pending, 7))
        nodes = nodes._replace(**{field: getattr(nodes, field) + (offsets * step[pending]).ravel()})
        values, codes = _values(nodes, 3)
        grid = values.reshape(5, 7, len(pending))
        weights = _stencil(first)
        signs_ = direction[pending]
        found = np.array([*(weights @ grid[0]), weights[0] @ grid[1], weights[0] @ grid[2]])
        found[[0, 2, 3, 4]] *= signs_
        whole = (codes.reshape(7, -1) == OK).all(axis=0)
        out[:, pending[whole]] = found[:, whole]
        pending = pending[~whole]
        if not len(pending):
            break
    return out


def _stencil(first: int) -> Floats:
    """Weights of the first three derivatives by values at first ... first + 6."""
    offsets = np.arange(first, first + 7, dtype=float)
    wanted = np.zeros((7, 3))
    wanted[[1, 2, 3], [0, 1, 2]] = [1.0, 2.0, 6.0]
    return np.asarray(np.linalg.solve(offsets ** np.arange(7)[:, None], wanted).T)


def _wait(options: _Options, value: Floats, delta: Floats) -> Floats:
    """rho where nothing is random and exercise is due in t years, t·cp·K·exp(-r·t): delta is cp·exp(-q·t)."""
    q = options.dividend_yield
    with np.errstate(all="ignore"):
        late = np.where(value > options.intrinsic, options.ttm, 0.0)
        t = np.where(q != 0.0, -np.log(np.abs(delta)) / q, late)
        return np.where(value > 0.0, t * (options.spot * delta - value), 0.0)


def _implied_vol(premium: Floats, options: _Options, guess: Floats) -> tuple[Floats, Codes]:
    """Of options that may be exercised; `guess` may be NaN."""
    (least, *_), codes = _values(options._replace(sigma=np.zeros(len(premium))), 1)
    intrinsic = options.intrinsic
    bad = (codes == BAD_INPUT) | ~np.isfinite(premium) | ~(options.ttm > 0.0)
    # The value at zero volatility is rounded where one has to wait for it, and exact where it is intrinsic.
    slack = np.where(least > intrinsic, 4e-16 * np.maximum(options.spot, options.strike), 0.0)
    exactly = np.abs(premium - least) <= slack
    codes[:] = np.select(
        [bad, premium >= options.most, exactly, premium < least],
        [BAD_INPUT, ABOVE_MAX, AT_INTRINSIC, BELOW_INTRINSIC],
        OK,
    )
    out = np.where((codes == AT_INTRINSIC) & ((least > intrinsic) | (intrinsic == 0.0)), 0.0, np.nan)
    wanted = codes == OK
    out[wanted], codes[wanted] = _search(premium[wanted], options.of(wanted), guess[wanted])
    return out, codes


def _search(premium: Floats, options: _Options, guess: Floats) -> tuple[Floats, Codes]:
    """The volatility of premiums that have one: secant steps inside a bracket, for all rows at once.

    In sqrt(V - intrinsic), which is nearly linear in sigma from the critical volatility on.
    """
    count = len(premium)
    intrinsic = options.intrinsic
    wanted = np.sqrt(premium - intrinsic)
    low, high = np.zeros(count), np.full(count, np.inf)
    last, last_miss = np.zeros(count), -wanted
    sigma = np.where((guess > 0.0) & (guess < 1e3), guess, 0.3 / np.sqrt(np.maximum(options.ttm, 1.0)))
    codes = np.full(count, NO_CONVERGENCE, np.uint8)
    pending = np.arange(count)
    for _ in range(MAX_TRIALS):
        now = sigma[pending]
        (value, *_), found = _values(options.of(pending)._replace(sigma=now), 1)
        miss = np.sqrt(np.maximum(value - intrinsic[pending], 0.0)) - wanted[pending]
        under = miss < 0.0
        low[pending[under]], high[pending[~under]] = now[under], now[~under]
        with np.errstate(all="ignore"):
            trial = now - miss * (now - last[pending]) / (miss - last_miss[pending])
            settled = (np.abs(trial - now) <= SIGMA_DONE * now) | (miss == 0.0)
            settled |= high[pending] - low[pending] <= SIGMA_DONE * now
            middle = np.where(
                np.isinf(high[pending]), 2.0 * now, np.sqrt(np.maximum(low[pending], 0.1 * now) * high[pending])
            )
            inside = (trial > low[pending]) & (trial < high[pending]) & (trial < 4.0 * now)
        last[pending], last_miss[pending] = now, miss
        lost = found == NO_CONVERGENCE
        codes[pending[settled & ~lost]] = OK
        sigma[pending] = np.where(settled, now, np.where(inside, trial, middle))
        pending = pending[~settled & ~lost]
        if not len(pending):
            break
    return np.where(codes == OK, sigma, np.nan), codes
