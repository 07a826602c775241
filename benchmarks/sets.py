"""The two sets of options on which implied volatilities are compared, drawn from a seed.

*market*: what a crypto or equity chain looks like. Forward uniform 2e4 to 1e5, an hour to a year, 10 % to 200 %, up to
five deviations from the money, a fifth of the rows within 1e-3 of it.

*extreme*: the whole domain of P. Jäckel, "Let's Be Rational" (2015). s = sigma·√ttm log-uniform 1e-4 to 8, |ln(F/K)| up
to min(16, 36·s), premiums from 1e-300 to 0.99999·F.

In both, calls and puts by the toss of a coin, and only premiums that hold some time value as doubles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOUR = 1.0 / 8760.0
LEAST_PREMIUM = 1e-300
MOST_OF_FORWARD = 0.99999

# Half of the extreme set is thrown away: in-the-money premiums whose time value is under an ulp of them.
DRAWN_PER_KEPT = 3


class Options(NamedTuple):
    """Columns of one length; `sigma` is what the premiums are made from."""

    forward: Floats
    strike: Floats
    ttm: Floats
    sigma: Floats
    cp: Floats

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Options:
        return Options(*(column[rows] for column in self))


def market_set(seed: int, count: int) -> Options:
    rng = np.random.default_rng([seed, 1])
    forward = rng.uniform(2e4, 1e5, count)
    ttm = log_uniform(rng, HOUR, 1.0, count)
    sigma = log_uniform(rng, 0.1, 2.0, count)
    k = rng.uniform(-5.0, 5.0, count) * sigma * np.sqrt(ttm)
    near = rng.random(count) < 0.2
    k[near] = rng.uniform(-1e-3, 1e-3, int(near.sum()))
    return Options(forward, forward * np.exp(k), ttm, sigma, signs(rng, count))


def extreme_set(seed: int, count: int) -> Options:
    rng = np.random.default_rng([seed, 2])
    s = log_uniform(rng, 1e-4, 8.0, count)
    k = rng.uniform(-1.0, 1.0, count) * np.minimum(16.0, 36.0 * s)
    forward = log_uniform(rng, 1e-2, 1e6, count)
    ttm = log_uniform(rng, 1e-3, 5.0, count)
    return Options(forward, forward * np.exp(k), ttm, s / np.sqrt(ttm), signs(rng, count))


SETS: dict[str, Callable[[int, int], Options]] = {"market": market_set, "extreme": extreme_set}


def is_kept(options: Options, premium: Floats) -> NDArray[np.bool_]:
    """Which rounded premiums belong to a set: above the intrinsic value, and within the bounds above."""
    forward, strike, _, _, cp = options
    intrinsic = np.maximum(cp * (forward - strike), 0.0)
    bound = np.where(cp > 0.0, forward, strike)
    return (premium > np.maximum(intrinsic, LEAST_PREMIUM)) & (premium < MOST_OF_FORWARD * forward) & (premium < bound)


def log_uniform(rng: np.random.Generator, low: float, high: float, count: int) -> Floats:
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def signs(rng: np.random.Generator, count: int) -> Floats:
    return np.where(rng.random(count) < 0.5, 1.0, -1.0)
