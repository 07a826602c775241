"""Dupire's local volatility in total variance (Gatheral 2006, "The Volatility Surface", eq. 1.10):

    σ_loc²(k, T) = (∂w/∂T at fixed k)/g(k),

with Durrleman's g, whose sign is that of the density. Since k is taken against the forward of T, drift and rates are in
it already. A falling w (calendar arbitrage) or g <= 0 (butterfly arbitrage) leaves no local volatility: NaN, with a
code for which of the two.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pricer.surfaces.smile import Array, Smile


class LocalVolStatus(IntEnum):
    """What a local volatility is, or why there is none."""

    OK = 0
    CALENDAR = 1  # total variance falls in time: NaN
    BUTTERFLY = 2  # g <= 0, no density: NaN
    BAD_INPUT = 3  # no smile, or a strike or time that is not positive: NaN


def local_volatility(smile: Smile, growth: Array, k: Array) -> tuple[Array, npt.NDArray[np.uint8]]:
    """(σ_loc, its `LocalVolStatus`) at each k, from the smile at the time in question and `growth` = ∂w/∂T there."""
    g = np.asarray(smile.durrleman_g(k))
    status = np.full(k.shape, LocalVolStatus.OK, dtype=np.uint8)
    status[g <= 0.0] = LocalVolStatus.BUTTERFLY
    status[growth < 0.0] = LocalVolStatus.CALENDAR
    status[~np.isfinite(g) | ~np.isfinite(growth)] = LocalVolStatus.BAD_INPUT
    usable = status == LocalVolStatus.OK
    sigma = np.sqrt(np.where(usable, growth, np.nan) / np.where(usable, g, np.nan))
    return sigma, status
