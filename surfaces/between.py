"""The smile of a time between two expiries: total variance linear in ttm at equal k.

Calendar order is kept; g >= 0 is not guaranteed, though it fails rarely: `arbitrage.check_butterfly` looks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pricer.surfaces.black import deviation, durrleman, normal_density
from pricer.surfaces.smile import Array, Smile, like_input


@dataclass(frozen=True, slots=True)
class BetweenSmile:
    """w(k) = `low_weight`·w_low(k) + `high_weight`·w_high(k), at a `forward` and `ttm` (years) of its own."""

    ttm: float
    forward: float
    low: Smile
    high: Smile
    low_weight: float
    high_weight: float

    @classmethod
    def of(cls, low: Smile, high: Smile, ttm: float, forward: float) -> BetweenSmile:
        """The smile at `ttm`, linear in time between those of two expiries."""
        share = (ttm - low.ttm) / (high.ttm - low.ttm)
        return cls(ttm, forward, low, high, 1.0 - share, share)

    def total_variance(self, k: npt.ArrayLike) -> Array:
        """w(k) = sigma²·ttm."""
        return self._mixed(self.low.total_variance, self.high.total_variance, k)

    def dw(self, k: npt.ArrayLike) -> Array:
        """w′(k)."""
        return self._mixed(self.low.dw, self.high.dw, k)

    def d2w(self, k: npt.ArrayLike) -> Array:
        """w″(k)."""
        return self._mixed(self.low.d2w, self.high.d2w, k)

    def durrleman_g(self, k: npt.ArrayLike) -> Array:
        """Durrleman's g(k); below zero there is butterfly arbitrage."""
        k = np.asarray(k, dtype=np.float64)
        flat = k.reshape(-1)
        return like_input(durrleman(self.total_variance(flat), self.dw(flat), self.d2w(flat), flat), k.shape)

    def iv(self, strikes: npt.ArrayLike) -> Array:
        """Black volatility at each strike; NaN where the strike is not positive or w < 0."""
        strikes = np.asarray(strikes, dtype=np.float64)
        w = np.asarray(self.total_variance(self._k(strikes.reshape(-1))))
        return like_input(np.sqrt(np.where(w >= 0.0, w, np.nan) / self.ttm), strikes.shape)

    def fill_iv(self, strikes: Array, out: Array) -> None:
        """`iv` of an array into `out`."""
        out[:] = self.iv(strikes)

    def density(self, strikes: npt.ArrayLike) -> Array:
        """Risk-neutral density of the price at expiry, per unit of strike; negative where there is arbitrage."""
        strikes = np.asarray(strikes, dtype=np.float64)
        k = self._k(strikes.reshape(-1))
        s = deviation(self, k)
        density = np.asarray(self.durrleman_g(k)) * normal_density(-k / s - 0.5 * s) / (self.forward * np.exp(k) * s)
        return like_input(density, strikes.shape)

    def at(self, forward: float, ttm: float) -> BetweenSmile:
        """The same sigma(k) for another forward and time to maturity: w scales with ttm."""
        scale = ttm / self.ttm
        return BetweenSmile(ttm, forward, self.low, self.high, self.low_weight * scale, self.high_weight * scale)

    def _mixed(
        self, low: Callable[[npt.ArrayLike], Array], high: Callable[[npt.ArrayLike], Array], k: npt.ArrayLike
    ) -> Array:
        return self.low_weight * low(k) + self.high_weight * high(k)

    def _k(self, strikes: Array) -> Array:
        return np.log(np.where(strikes > 0.0, strikes, np.nan) / self.forward)
