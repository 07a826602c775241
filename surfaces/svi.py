"""Raw SVI (Gatheral 2004): one expiry's total variance as a hyperbola in log-moneyness.

    w(k) = a + b·(ρ·(k − m) + √((k − m)² + σ²))

Inside, the two wing slopes c± = b·(1 ± ρ) take the place of (b, ρ): with x = k − m and R = √(x² + σ²),

    w(k) = a + c₊·φ₊ + c₋·φ₋,   φ± = (R ± x)/2,

which is linear in (a, c₊, c₋), its bounds are a box (0 ≤ c± ≤ 2, Lee 2004), and the wings of neighbouring expiries
are compared number by number. σ·√(c₊c₋) is the height of the minimum above a.

Raw parameters are never smoothed, averaged or published as a time series: they jump from fit to fit while the curve
they describe hardly moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from pricer.kernels.jit import kernel
from pricer.surfaces.smile import Array, like_input

if TYPE_CHECKING:
    from pricer.surfaces.svi_forms import JumpWings, NaturalSvi

# Lee (2004), "The moment formula": total variance grows at most like 2·|k|.
LEE_SLOPE = 2.0

_W, _SLOPE, _BEND, _G = range(4)  # rows of what `_curve_chain` writes


class SviParams(NamedTuple):
    """Gatheral's raw parameters, in the order that every kernel of this package takes them."""

    a: float
    b: float
    rho: float
    m: float
    sigma: float


@dataclass(frozen=True, slots=True)
class SviSmile:
    """One expiry's smile w(k) in raw SVI, with the `forward` and `ttm` (years) that it was quoted at.

    No check is made here: `pricer.surfaces.arbitrage` says whether the smile is free of arbitrage.
    """

    ttm: float
    forward: float
    params: SviParams

    def total_variance(self, k: npt.ArrayLike) -> Array:
        """w(k) = sigma²·ttm."""
        return self._evaluated(_W, k)

    def dw(self, k: npt.ArrayLike) -> Array:
        """w′(k)."""
        return self._evaluated(_SLOPE, k)

    def d2w(self, k: npt.ArrayLike) -> Array:
        """w″(k)."""
        return self._evaluated(_BEND, k)

    def durrleman_g(self, k: npt.ArrayLike) -> Array:
        """g(k) of Gatheral and Jacquier (2014), eq. 2.1: no butterfly arbitrage where g >= 0 on the whole line."""
        return self._evaluated(_G, k)

    def iv(self, strikes: npt.ArrayLike) -> Array:
        """Black volatility at each strike; NaN where the strike is not positive or the smile has w < 0."""
        strikes, shape = _flat(strikes)
        out = np.empty(strikes.size)
        iv_chain(*self.params, strikes, self.forward, self.ttm, out)
        return like_input(out, shape)

    def fill_iv(self, strikes: Array, out: Array) -> None:
        """`iv` of a contiguous float64 array into `out`, in one compiled call: the engine's column."""
        iv_chain(*self.params, _read_only(strikes), self.forward, self.ttm, out)

    def density(self, strikes: npt.ArrayLike) -> Array:
        """Risk-neutral density of the price at expiry, per unit of strike; negative where there is arbitrage."""
        strikes, shape = _flat(strikes)
        out = np.empty(strikes.size)
        _density(*self.params, strikes, self.forward, out)
        return like_input(out, shape)

    def at(self, forward: float, ttm: float) -> SviSmile:
        """The same sigma(k) for another forward and time to maturity: w scales with ttm, and so do a and b."""
        scale = ttm / self.ttm
        params = self.params
        return SviSmile(ttm, forward, params._replace(a=params.a * scale, b=params.b * scale))

    @property
    def wing_slopes(self) -> tuple[float, float]:
        """(c₋, c₊): by how much w rises per unit of k far to the left and far to the right."""
        return self.params.b * (1.0 - self.params.rho), self.params.b * (1.0 + self.params.rho)

    def jump_wings(self) -> JumpWings:
        """The same smile by its level, skew, wing slopes and lowest variance; see `svi_forms.jump_wings`."""
        from pricer.surfaces import svi_forms  # which is written in terms of this module

        return svi_forms.jump_wings(self.params, self.ttm)

    def natural(self) -> NaturalSvi:
        """The same smile in the natural form; see `svi_forms.natural`."""
        from pricer.surfaces import svi_forms

        return svi_forms.natural(self.params)

    def _evaluated(self, row: int, k: npt.ArrayLike) -> Array:
        k, shape = _flat(k)
        out = np.empty((4, k.size))
        _curve_chain(*self.params, k, out)
        return like_input(out[row], shape)


def _flat(values: npt.ArrayLike) -> tuple[Array, tuple[int, ...]]:
    array = np.asarray(values, dtype=np.float64)
    return _read_only(np.ascontiguousarray(array).reshape(-1)), array.shape


def _read_only(values: Array) -> Array:
    # As the engine's static columns are: to Numba another type, and every type is compiled for by itself.
    view = values.view()
    view.flags.writeable = False
    return view


@kernel
def wings(b: float, rho: float) -> tuple[float, float]:
    """(c₊, c₋) of raw SVI."""
    return b * (1.0 + rho), b * (1.0 - rho)


@kernel
def raw(a: float, right: float, left: float, m: float, sigma: float) -> tuple[float, float, float, float, float]:
    """Raw (a, b, rho, m, sigma) from the wing slopes c₊ (`right`) and c₋ (`left`)."""
    b = 0.5 * (right + left)
    rho = 0.0 if b == 0.0 else 0.5 * (right - left) / b
    return a, b, rho, m, sigma


@kernel
def value(a: float, b: float, rho: float, m: float, sigma: float, k: float) -> tuple[float, float, float]:
    """(w, w′, w″) at k."""
    x = k - m
    root = math.sqrt(x * x + sigma * sigma)
    w = a + b * (rho * x + root)
    slope = b * (rho + x / root)
    return w, slope, b * sigma * sigma / (root * root * root)


@kernel
def durrleman(w: float, slope: float, bend: float, k: float) -> float:
    """g = (1 − k·w′/2w)² − w′²/4·(1/w + 1/4) + w″/2, from w, `slope` = w′ and `bend` = w″."""
    tilt = 1.0 - 0.5 * k * slope / w
    return tilt * tilt - 0.25 * slope * slope * (1.0 / w + 0.25) + 0.5 * bend


@kernel
def iv_chain(
    a: float, b: float, rho: float, m: float, sigma: float, strikes: Array, forward: float, ttm: float, out: Array
) -> None:
    """Black volatility √(w(ln(K/F))/ttm) of every strike into `out`; NaN where there is none."""
    for i in range(strikes.size):
        if strikes[i] > 0.0 and forward > 0.0 and ttm > 0.0:
            w = value(a, b, rho, m, sigma, math.log(strikes[i] / forward))[0]
            out[i] = math.sqrt(w / ttm) if w >= 0.0 else math.nan
        else:
            out[i] = math.nan


@kernel
def _curve_chain(a: float, b: float, rho: float, m: float, sigma: float, k: Array, out: Array) -> None:
    """w, w′, w″ and g at every k into the rows `_W`, `_SLOPE`, `_BEND` and `_G` of `out`."""
    for i in range(k.size):
        w, slope, bend = value(a, b, rho, m, sigma, k[i])
        out[_W, i], out[_SLOPE, i], out[_BEND, i] = w, slope, bend
        out[_G, i] = durrleman(w, slope, bend, k[i])


@kernel
def _density(
    a: float, b: float, rho: float, m: float, sigma: float, strikes: Array, forward: float, out: Array
) -> None:
    # Breeden-Litzenberger on the smile: q(K) = g·φ(d₂)/(K·√w), d₂ = −k/√w − √w/2.
    for i in range(strikes.size):
        out[i] = math.nan
        if strikes[i] > 0.0:
            k = math.log(strikes[i] / forward)
            w, slope, bend = value(a, b, rho, m, sigma, k)
            if w > 0.0:
                d2 = -k / math.sqrt(w) - 0.5 * math.sqrt(w)
                g = durrleman(w, slope, bend, k)
                out[i] = g * math.exp(-0.5 * d2 * d2) / (strikes[i] * math.sqrt(2.0 * math.pi * w))


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """Every kernel that reads a smile."""
    smile = SviSmile(0.1, 100.0, SviParams(0.024, 0.01, 0.0, 0.0, 0.1))
    strikes = np.array([100.0])
    return [
        ("iv_chain", lambda: smile.fill_iv(strikes, np.empty(1))),
        ("density", lambda: smile.density(strikes)),
        ("curve", lambda: smile.total_variance(strikes)),  # and with it all derivatives
    ]
