"""A smile that is no SVI: the market expects one of several outcomes, each with a lognormal distribution of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pricer import implied_vol
from pricer.surfaces import Smile
from pricer.surfaces.black import deviation, normal_cdf, normal_density
from pricer.surfaces.smile import Array, like_input


@dataclass(frozen=True)
class OutcomesSmile:
    """Free of arbitrage by its making; `levels` (of mean 1 under `chances`) are forwards over the forward.

    Good where its prices are ordinary numbers.
    """

    ttm: float
    forward: float
    chances: tuple[float, ...]
    levels: tuple[float, ...]
    deviations: tuple[float, ...]

    def total_variance(self, k: npt.ArrayLike) -> Array:
        return self._row(0, k)

    def dw(self, k: npt.ArrayLike) -> Array:
        return self._row(1, k)

    def d2w(self, k: npt.ArrayLike) -> Array:
        return self._row(2, k)

    def durrleman_g(self, k: npt.ArrayLike) -> Array:
        return self._row(3, k)

    @property
    def wing_slopes(self) -> tuple[float, float]:
        """No volatility far out: the outcomes end."""
        return 0.0, 0.0

    def iv(self, strikes: npt.ArrayLike) -> Array:
        k = np.log(np.asarray(strikes, dtype=np.float64) / self.forward)
        return np.asarray(np.sqrt(np.asarray(self.total_variance(k)) / self.ttm))

    def fill_iv(self, strikes: Array, out: Array) -> None:
        out[:] = self.iv(strikes)

    def density(self, strikes: npt.ArrayLike) -> Array:
        strikes = np.asarray(strikes, dtype=np.float64)
        k = np.log(strikes / self.forward)
        s = deviation(self, k)
        return np.asarray(self.durrleman_g(k)) * normal_density(-k / s - 0.5 * s) / (strikes * s)

    def at(self, forward: float, ttm: float) -> Smile:
        raise ValueError("a market that waits for an outcome does not scale in time")

    def _row(self, row: int, k: npt.ArrayLike) -> Array:
        k = np.asarray(k, dtype=np.float64)
        return like_input(self._curve(k.reshape(-1))[row], k.shape)

    def _curve(self, k: Array) -> tuple[Array, Array, Array, Array]:
        """w and its derivatives from prices, their strike-derivative and the density, all known in closed form."""
        cp = np.where(k >= 0.0, 1, -1)
        price, above, mass = np.zeros(k.size), np.zeros(k.size), np.zeros(k.size)
        for chance, level, own in zip(self.chances, self.levels, self.deviations, strict=True):
            d1 = (math.log(level) - k) / own + 0.5 * own
            price += chance * cp * (level * normal_cdf(cp * d1) - np.exp(k) * normal_cdf(cp * (d1 - own)))
            above += chance * normal_cdf(cp * (d1 - own))
            mass += chance * level * normal_density(d1) / own
        s = np.asarray(implied_vol(price, 1.0, np.exp(k), 1.0, cp))
        d1 = -k / s + 0.5 * s
        w, slope = s * s, 2.0 * s * np.exp(k) * cp * (normal_cdf(cp * (d1 - s)) - above) / normal_density(d1)
        g = s * mass / normal_density(d1)
        tilt = 1.0 - 0.5 * k * slope / w
        return w, slope, 2.0 * (g - tilt * tilt + 0.25 * slope * slope * (1.0 / w + 0.25)), g
