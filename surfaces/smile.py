"""The Smile contract: what every parametrisation of one expiry offers.

A smile is a function of log-moneyness k = ln(K/F) at a fixed time to maturity: total variance w(k) and its first two
derivatives. Everything else (volatility, Durrleman's g, the density) follows from these three. The shared tests in
`tests/surfaces/test_smile.py` run on every entry of `SMILES` in `pricer.surfaces`.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]


class Smile(Protocol):
    """One expiry's smile; immutable. Methods are vectorised, and scalars in give scalars out."""

    @property
    def ttm(self) -> float:
        """Time to maturity in years."""
        ...

    @property
    def forward(self) -> float:
        """The forward of this expiry, in quote currency."""
        ...

    def total_variance(self, k: npt.ArrayLike) -> Array:
        """w(k) = sigma²·ttm."""
        ...

    def dw(self, k: npt.ArrayLike) -> Array:
        """w′(k)."""
        ...

    def d2w(self, k: npt.ArrayLike) -> Array:
        """w″(k)."""
        ...

    @property
    def wing_slopes(self) -> tuple[float, float]:
        """By how much w rises per unit of k far to the left and far to the right; infinite where there is no bound."""
        ...

    def iv(self, strikes: npt.ArrayLike) -> Array:
        """Black volatility at each strike; NaN where there is none."""
        ...

    def fill_iv(self, strikes: Array, out: Array) -> None:
        """`iv` of a contiguous float64 array into `out`, in one compiled call."""
        ...

    def durrleman_g(self, k: npt.ArrayLike) -> Array:
        """Durrleman's g(k); below zero there is butterfly arbitrage."""
        ...

    def density(self, strikes: npt.ArrayLike) -> Array:
        """Risk-neutral density of the price at expiry, per unit of strike."""
        ...

    def at(self, forward: float, ttm: float) -> Smile:
        """The same sigma(k) for another forward and time to maturity: w scales with ttm."""
        ...


def like_input(values: Array, shape: tuple[int, ...]) -> Array:
    """`values` in the shape of the input they belong to: a float for a scalar, though typed as an array."""
    return cast(Array, float(values[0])) if shape == () else values.reshape(shape)
