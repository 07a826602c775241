"""Black's formula at high precision, with mpmath: slow, simple and independent of the kernels' way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import mpmath as mp
import numpy as np

DIGITS = 60
ULP = 2.220446049250313e-16


class Option(NamedTuple):
    """One row of a test set; doubles."""

    forward: float
    strike: float
    ttm: float
    sigma: float
    cp: float


def error_in_ulp(found: float, exact: mp.mpf) -> float:
    """The error of a result in units of the last place of the exact one (5e-324 where that is subnormal)."""
    return float(abs(mp.mpf(found) - exact) / mp.mpf(math.ulp(float(exact))))


def norm_cdf(z: mp.mpf) -> mp.mpf:
    """Φ(z), by erfc so that the left wing keeps its digits."""
    return mp.erfc(-z / mp.sqrt(2)) / 2


def value(forward: mp.mpf, strike: mp.mpf, ttm: mp.mpf, sigma: mp.mpf, cp: float) -> mp.mpf:
    """cp·(F·Φ(cp·d1) − K·Φ(cp·d2)), the out-of-the-money form and parity so that no digit cancels."""
    s = sigma * mp.sqrt(ttm)
    d1 = mp.log(forward / strike) / s + s / 2
    d2 = d1 - s
    side = 1 if strike >= forward else -1
    wing = side * (forward * norm_cdf(side * d1) - strike * norm_cdf(side * d2))
    return wing + max(cp * (forward - strike), mp.mpf(0))


def price(option: Option) -> mp.mpf:
    """The exact premium of the doubles given."""
    with mp.workdps(DIGITS):
        f, k, t, s = (mp.mpf(x) for x in option[:4])
        return value(f, k, t, s, option.cp)


def error_in_u(premium: float, option: Option, found: float) -> float:
    """The relative error of an implied volatility over what a double premium allows.

    u = relative error / ((1 + |p/(sigma·vega)|)·2.2e-16), against the exact volatility of the *rounded* premium, found
    by Newton's method from the volatility that made it.
    """
    with mp.workdps(DIGITS):
        f, k, t = (mp.mpf(x) for x in option[:3])
        time_value = mp.mpf(premium) - max(option.cp * (f - k), mp.mpf(0))
        x, root, lowest = -abs(mp.log(f / k)), mp.sqrt(f * k), min(f, k)
        upper = time_value > lowest / 2
        s = mp.mpf(option.sigma) * mp.sqrt(t)
        for _ in range(100):
            h, half = x / s, s / 2
            slope = root * mp.exp(-(h * h + half * half) / 2) / mp.sqrt(2 * mp.pi)
            if upper:
                room = root * (mp.exp(x / 2) * norm_cdf(-h - half) + mp.exp(-x / 2) * norm_cdf(h - half))
                step = mp.log(room / (lowest - time_value)) * room / slope
            else:
                now = root * (mp.exp(x / 2) * norm_cdf(h + half) - mp.exp(-x / 2) * norm_cdf(h - half))
                step = -mp.log(now / time_value) * now / slope
            s = s + step if s + step > 0 else s / 2
            if abs(step) < s * mp.mpf(10) ** -35:
                break
        else:
            raise AssertionError(f"the reference did not converge for {option}")
        sigma = s / mp.sqrt(t)
        condition = mp.mpf(premium) / (s * slope)
        return float(abs(mp.mpf(found) / sigma - 1) / ((1 + condition) * mp.mpf(ULP)))


def market_set(seed: int, count: int) -> Iterator[Option]:
    """Real-looking: an hour to a year, 10 % to 200 %, up to five deviations; a fifth within 1e-3 of the money."""
    rng = np.random.default_rng(seed)
    forward = rng.uniform(2e4, 1e5, count)
    ttm = np.exp(rng.uniform(np.log(1 / 8760), 0.0, count))
    sigma = np.exp(rng.uniform(np.log(0.1), np.log(2.0), count))
    k = rng.uniform(-5, 5, count) * sigma * np.sqrt(ttm)
    near = rng.random(count) < 0.2
    k[near] = rng.uniform(-1e-3, 1e-3, near.sum())
    yield from _options(forward, k, ttm, sigma, rng)


def extreme_set(seed: int, count: int) -> Iterator[Option]:
    """s log-uniform 1e-4 to 8, moneyness to min(16, 36·s): prices over 300 orders of magnitude."""
    rng = np.random.default_rng(seed)
    s = np.exp(rng.uniform(np.log(1e-4), np.log(8.0), count))
    k = rng.uniform(-1, 1, count) * np.minimum(16.0, 36.0 * s)
    forward = np.exp(rng.uniform(np.log(1e-2), np.log(1e6), count))
    ttm = np.exp(rng.uniform(np.log(1e-3), np.log(5.0), count))
    yield from _options(forward, k, ttm, s / np.sqrt(ttm), rng)


def _options(
    forward: np.ndarray, k: np.ndarray, ttm: np.ndarray, sigma: np.ndarray, rng: np.random.Generator
) -> Iterator[Option]:
    cp = np.where(rng.random(len(k)) < 0.5, 1.0, -1.0)
    for row in zip(forward, forward * np.exp(k), ttm, sigma, cp, strict=True):
        yield Option(*(float(x) for x in row))


def priced(options: Iterator[Option]) -> Iterator[tuple[float, Option]]:
    """Rounded premiums with their options: those with time value in doubles, over 1e-300, under 0.99999·F."""
    for option in options:
        premium = float(price(option))
        intrinsic = max(option.cp * (option.forward - option.strike), 0.0)
        most = option.forward if option.cp > 0 else option.strike
        if premium > max(intrinsic, 1e-300) and premium < 0.99999 * option.forward and premium < most:
            yield premium, option
