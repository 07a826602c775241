"""How well parameters meet the quotes they were fitted to, and what arbitrage they hold: the same for everyone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.audit import Audit, audited, total_variance
from benchmarks.sets import Floats
from benchmarks.surface_peers import Observed


class Quality(NamedTuple):
    mids: int
    inside: float  # share of two-sided observations whose bid and ask vol contain the smile
    rmse: float  # in half-spreads
    median: float  # of the slices' own rmse: a lost slice does not drown the others
    failed: int  # slices without an answer
    audit: Audit


def quality(observed: Sequence[Observed], rows: Sequence[Floats], joined: bool) -> Quality:
    residuals, inside = [], []
    for each, params in zip(observed, rows, strict=True):
        keep = each.two_sided
        # |sigma|: a fit without bounds may give the other sign, which is the same smile.
        w = total_variance(params, each.k)
        sigma = np.sqrt(np.maximum(w, 0.0) / each.ttm)
        residuals.append(((sigma - each.mid) / each.width)[keep])
        inside.append(((each.low <= sigma) & (sigma <= each.high))[keep])
    all_inside = np.concatenate(inside) if inside else np.empty(0)
    known = [part for part in residuals if not np.isnan(part).any()]
    squares = np.concatenate(known) ** 2 if known else np.array([math.nan])
    return Quality(
        len(all_inside),
        float(all_inside.mean()) if len(all_inside) else math.nan,
        float(np.sqrt(squares.mean())),
        float(np.median([np.sqrt(np.mean(part**2)) for part in known])) if known else math.nan,
        len(residuals) - len(known),
        audited(rows, joined),
    )


def share_inside(vols: Floats, low: Floats, high: Floats) -> float:
    """Of the two-sided quotes; NaN where there is none."""
    two_sided = np.isfinite(low) & np.isfinite(high) & np.isfinite(vols)
    inside = (low <= vols) & (vols <= high)
    return float(inside[two_sided].mean()) if two_sided.any() else math.nan
