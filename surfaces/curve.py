"""The Smile contract from one method: who gives w, w′ and w″ at k has volatility, Durrleman's g and the density."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pricer.surfaces.black import durrleman, normal_density
from pricer.surfaces.smile import Array, like_input


@dataclass(frozen=True, slots=True)
class CurveSmile(ABC):
    """A smile at a `forward` and `ttm` (years) whose shape its subclass gives."""

    ttm: float
    forward: float

    @abstractmethod
    def curve(self, k: Array) -> Array:
        """Rows w, w′ and w″ at each k of a flat array; NaN where there is no volatility."""

    @property
    @abstractmethod
    def wing_slopes(self) -> tuple[float, float]:
        """By how much w rises per unit of k far to the left and far to the right."""

    def total_variance(self, k: npt.ArrayLike) -> Array:
        """w(k) = sigma²·ttm."""
        return self._row(0, k)

    def dw(self, k: npt.ArrayLike) -> Array:
        """w′(k)."""
        return self._row(1, k)

    def d2w(self, k: npt.ArrayLike) -> Array:
        """w″(k)."""
        return self._row(2, k)

    def durrleman_g(self, k: npt.ArrayLike) -> Array:
        """Durrleman's g(k); below zero there is butterfly arbitrage, NaN where w is not positive."""
        k = np.asarray(k, dtype=np.float64)
        flat = k.reshape(-1)
        w, slope, bend = self.curve(flat)
        return like_input(durrleman(w, slope, bend, flat), k.shape)

    def iv(self, strikes: npt.ArrayLike) -> Array:
        """Black volatility at each strike; NaN where the strike is not positive or w < 0."""
        strikes = np.asarray(strikes, dtype=np.float64)
        w = self.curve(self._k(strikes.reshape(-1)))[0]
        return like_input(np.sqrt(np.where(w >= 0.0, w, np.nan) / self.ttm), strikes.shape)

    def fill_iv(self, strikes: Array, out: Array) -> None:
        """`iv` of an array into `out`."""
        out[:] = self.iv(strikes)

    def density(self, strikes: npt.ArrayLike) -> Array:
        """Risk-neutral density of the price at expiry, per unit of strike; negative where there is arbitrage."""
        strikes = np.asarray(strikes, dtype=np.float64)
        flat = strikes.reshape(-1)
        k = self._k(flat)
        w, slope, bend = self.curve(k)
        s = np.sqrt(np.where(w > 0.0, w, np.nan))
        density = durrleman(w, slope, bend, k) * normal_density(-k / s - 0.5 * s) / (flat * s)
        return like_input(density, strikes.shape)

    def _k(self, strikes: Array) -> Array:
        return np.asarray(np.log(np.where(strikes > 0.0, strikes, np.nan) / self.forward))

    def _row(self, row: int, k: npt.ArrayLike) -> Array:
        k = np.asarray(k, dtype=np.float64)
        return like_input(self.curve(np.ascontiguousarray(k).reshape(-1))[row], k.shape)
