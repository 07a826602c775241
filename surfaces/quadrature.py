"""Integrals of smooth functions by adaptive Gauss-Legendre quadrature, all open panels in one call of the function."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pricer.surfaces.smile import Array

_COARSE, _COARSE_WEIGHTS = np.polynomial.legendre.leggauss(10)
_FINE, _FINE_WEIGHTS = np.polynomial.legendre.leggauss(20)
_NODES = np.concatenate([_COARSE, _FINE])

_PANELS = 16  # to begin with
_MOST_PANELS = 4096  # open at a time; rounding noise above the tolerance would double them without end


def integrate(function: Callable[[Array], Array], low: float, high: float, rtol: float = 1e-12) -> float:
    """The integral of `function` (vectorised) from `low` to `high`, to `rtol` of its size; NaN without convergence.

    A panel is done when its 10 and 20 points agree to its share of the tolerance; the others are halved.
    """
    edges = np.linspace(low, high, _PANELS + 1)
    left, right = edges[:-1], edges[1:]
    done = error = 0.0
    while left.size <= _MOST_PANELS:
        half = 0.5 * (right - left)
        points = 0.5 * (left + right)[:, None] + half[:, None] * _NODES
        values = function(points.reshape(-1)).reshape(points.shape)
        fine = half * (values[:, _COARSE.size :] @ _FINE_WEIGHTS)
        misses = np.abs(fine - half * (values[:, : _COARSE.size] @ _COARSE_WEIGHTS))
        total = done + float(fine.sum())
        if math.isnan(total):
            return math.nan
        if error + float(misses.sum()) <= rtol * abs(total):
            return total
        # A tenth of the tolerance, spread over the length: what is put away must leave room for the rest.
        good = misses <= 0.1 * rtol * abs(total) * (2.0 * half) / (high - low)
        done += float(fine[good].sum())
        error += float(misses[good].sum())
        left, middle, right = left[~good], 0.5 * (left + right)[~good], right[~good]
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
    return math.nan
