"""Arbitrage in raw SVI parameters as anyone may give them, looked for on 8,001 points of |k| <= 4.

Written from the formulas in plain numpy and not from the kernels that it judges: w(k) of Gatheral (2004), g(k) of
Gatheral and Jacquier (2014), eq. 2.1. A row of parameters is (a, b, rho, m, sigma).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from benchmarks.sets import Floats

K = np.linspace(-4.0, 4.0, 8001)


class Worst(NamedTuple):
    """The smallest value seen, and where; NaN parameters count as the worst of all, −inf."""

    value: float = math.inf
    k: float = math.nan


class Audit(NamedTuple):
    slices: int
    pairs: int
    butterfly: int  # slices with g < 0 or w <= 0 somewhere
    calendar: int  # pairs that cross somewhere
    smallest_g: float
    smallest_gap: float

    @property
    def violations(self) -> int:
        return self.butterfly + self.calendar


def total_variance(params: Floats, k: Floats = K) -> Floats:
    a, b, rho, m, sigma = params
    return np.asarray(a + b * (rho * (k - m) + np.sqrt((k - m) ** 2 + sigma**2)))


def durrleman_g(params: Floats, k: Floats = K) -> Floats:
    """g(k); −inf where w is not positive."""
    _, b, rho, m, sigma = params
    w = total_variance(params, k)
    root = np.sqrt((k - m) ** 2 + sigma**2)
    slope, bend = b * (rho + (k - m) / root), b * sigma**2 / root**3
    with np.errstate(all="ignore"):
        g = (1.0 - k * slope / (2.0 * w)) ** 2 - slope**2 / 4.0 * (1.0 / w + 0.25) + bend / 2.0
    return np.where(w > 0.0, g, -np.inf)


def smallest_g(params: Floats) -> Worst:
    return _smallest(durrleman_g(params))


def smallest_gap(lower: Floats, upper: Floats) -> Worst:
    """Of the total variance of the longer expiry over that of the shorter one."""
    return _smallest(total_variance(upper) - total_variance(lower))


def _smallest(values: Floats) -> Worst:
    values = np.where(np.isnan(values), -np.inf, values)
    at = int(np.argmin(values))
    return Worst(float(values[at]), float(K[at]))


def audited(rows: Iterable[Floats], joined: bool = True) -> Audit:
    """All slices and, of one underlying in order of expiry, all neighbouring pairs. A row of NaN is no slice."""
    found = [row for row in rows if not np.isnan(row).any()]
    g = [smallest_g(row).value for row in found]
    gaps = [smallest_gap(*pair).value for pair in pairwise(found)] if joined else []
    return Audit(
        len(g), len(gaps), sum(v < 0.0 for v in g), sum(v < 0.0 for v in gaps), min(g, default=math.inf),
        min(gaps, default=math.inf),
    )  # fmt: skip
