"""A zero of a function between two points of different sign."""

from __future__ import annotations

import math
from collections.abc import Callable

_ROUNDING = 2.0**-52


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where `function` is zero between `low` and `high`, to the last bits; NaN where its signs there do not differ.

    Chandrupatla (1997), "A new hybrid quadratic/bisection algorithm": inverse quadratic steps where three points allow
    them, halving where not, so that a flat or bent function costs a few more steps and never fails.
    """
    a, b = low, high
    fa, fb = function(a), function(b)
    if fa == 0.0 or fb == 0.0:
        return a if fa == 0.0 else b
    if not (fa < 0.0 < fb or fb < 0.0 < fa):
        return math.nan
    share = 0.5
    for _ in range(300):
        x = a + share * (b - a)
        fx = function(x)
        if math.isnan(fx):
            return math.nan
        if (fx > 0.0) == (fa > 0.0):
            c, fc = a, fa
        else:
            c, fc, b, fb = b, fb, a, fa
        a, fa = x, fx
        best, f_best = (a, fa) if abs(fa) < abs(fb) else (b, fb)
        smallest = (_ROUNDING * abs(best) + 1e-300) / abs(b - a) if b != a else 1.0
        if f_best == 0.0 or smallest > 0.5:
            return best
        share = min(1.0 - smallest, max(smallest, _quadratic_step(a, b, c, fa, fb, fc)))
    return best


def _quadratic_step(a: float, b: float, c: float, fa: float, fb: float, fc: float) -> float:
    """The share of the way from a to b: inverse quadratic where it can be trusted, else a half."""
    xi = (a - b) / (c - b)
    phi = (fa - fb) / (fc - fb)
    if not (phi * phi < xi and (1.0 - phi) * (1.0 - phi) < 1.0 - xi):
        return 0.5
    return fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
