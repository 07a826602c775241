"""SSVI and eSSVI: smiles of three numbers whose freedom from arbitrage can be read off the numbers.

One slice (Gatheral and Jacquier 2014, eq. 4.1), with ψ = θφ:

    w(k) = θ/2·(1 + ρφk + √((φk + ρ)² + 1 − ρ²))

θ is the total variance at the money. SSVI has one ρ and a function φ(θ) for all expiries; in eSSVI (Hendriks and
Martini 2019) every expiry has its own (θ, ρ, ψ). A slice is raw SVI with a = θ(1 − ρ²)/2, b = ψ/2,
m = −ρ/φ, σ = √(1 − ρ²)/φ.

**In u = ψ(1 + ρ), v = ψ(1 − ρ) and φ** the curve is the upper branch of a hyperbola between its two wings,

    (w − u·k/2)·(w + v·k/2) = θ·w,   θ = (u + v)/(2φ),

and everything that follows is short.

*Calendar.* Let F be the left side less the right one. On the branch both factors are positive and ∂F/∂w > 0, so w moves
against the sign of F's other derivatives. ∂F/∂φ = θw/φ > 0: w falls with φ. And ∂F/∂u = −k/2·(w + vk/2) − w/(2φ), which
is negative at once for k >= 0. For k = −κ < 0 put w − vκ/2 = (u + v)/(2φ)·w/(w + uκ/2) from the curve itself: then
∂F/∂u < 0 says κ(u + v)/2 < w + uκ/2, that is, w > vκ/2, which holds on the branch. So w rises with u at every k, and
by mirroring k with v. Hence: **if u and v do not fall and φ does not rise from one expiry to the next, no two slices
cross.** This is sufficient only; `calendar_essvi_exact` decides the other pairs.

*Butterfly.* Gatheral and Jacquier's theorem 4.2 asks ψ(1 + |ρ|) < 4 and ψφ(1 + |ρ|) <= 4, that is,
max(u, v) < 4 and φ·max(u, v) <= 4.

So in the coordinates (ln u, ln v, ln 1/φ) all conditions are linear: each of the three rises with expiry, the first two
stay below ln 4, and exceed the third by at most ln 4. A convex set: averages of free surfaces in these coordinates, and
slices interpolated between two expiries, are free of arbitrage again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pricer.surfaces.arbitrage import Certificate, check_butterfly, check_calendar
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import SviParams, SviSmile

# Both of theorem 4.2's bounds; that on ψ(1 + |ρ|) is Lee's, since the wings rise by u/2 and v/2.
LIMIT = 4.0


class EssviParams(NamedTuple):
    """θ, ρ and ψ = θφ of one expiry."""

    theta: float
    rho: float
    psi: float


@dataclass(frozen=True, slots=True)
class EssviSmile:
    """One expiry's smile in (e)SSVI, with the `forward` and `ttm` (years) that it was quoted at.

    `theta` is the total variance at the money, `psi` = theta·phi; psi = 0 is the flat smile. ValueError where theta is
    not positive, |rho| >= 1 or psi < 0: there is no such curve. No check of arbitrage is made here: see
    `butterfly_essvi`.
    """

    ttm: float
    forward: float
    theta: float
    rho: float
    psi: float
    _raw: SviSmile = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, holds, wanted in (
            ("theta", 0.0 < self.theta < math.inf, "positive and finite"),
            ("rho", -1.0 < self.rho < 1.0, "strictly between -1 and 1"),
            ("psi", 0.0 <= self.psi < math.inf, "at least 0 and finite"),
        ):
            if not holds:
                raise ValueError(f"{name} must be {wanted}, not {getattr(self, name)!r}")
        object.__setattr__(self, "_raw", SviSmile(self.ttm, self.forward, _raw_of(self.theta, self.rho, self.psi)))

    @property
    def params(self) -> EssviParams:
        """(theta, rho, psi)."""
        return EssviParams(self.theta, self.rho, self.psi)

    @property
    def phi(self) -> float:
        """ψ/θ: how fast the smile bends in k."""
        return self.psi / self.theta

    @property
    def wing_slopes(self) -> tuple[float, float]:
        """(v/2, u/2): by how much w rises per unit of k far to the left and far to the right."""
        return 0.5 * self.psi * (1.0 - self.rho), 0.5 * self.psi * (1.0 + self.rho)

    def svi(self) -> SviSmile:
        """The same curve in raw SVI."""
        return self._raw

    def total_variance(self, k: npt.ArrayLike) -> Array:
        """w(k) = sigma²·ttm."""
        return self._raw.total_variance(k)

    def dw(self, k: npt.ArrayLike) -> Array:
        """w′(k)."""
        return self._raw.dw(k)

    def d2w(self, k: npt.ArrayLike) -> Array:
        """w″(k)."""
        return self._raw.d2w(k)

    def durrleman_g(self, k: npt.ArrayLike) -> Array:
        """g(k) of Gatheral and Jacquier (2014), eq. 2.1: no butterfly arbitrage where g >= 0 on the whole line."""
        return self._raw.durrleman_g(k)

    def iv(self, strikes: npt.ArrayLike) -> Array:
        """Black volatility at each strike; NaN where the strike is not positive."""
        return self._raw.iv(strikes)

    def fill_iv(self, strikes: Array, out: Array) -> None:
        """`iv` of a contiguous float64 array into `out`, in one compiled call."""
        self._raw.fill_iv(strikes, out)

    def density(self, strikes: npt.ArrayLike) -> Array:
        """Risk-neutral density of the price at expiry, per unit of strike; negative where there is arbitrage."""
        return self._raw.density(strikes)

    def at(self, forward: float, ttm: float) -> EssviSmile:
        """The same sigma(k) for another forward and time to maturity: theta and psi scale with ttm."""
        scale = ttm / self.ttm
        return EssviSmile(ttm, forward, self.theta * scale, self.rho, self.psi * scale)


def _raw_of(theta: float, rho: float, psi: float) -> SviParams:
    if psi == 0.0:
        return SviParams(theta, 0.0, 0.0, 0.0, 1.0)
    squared = (1.0 - rho) * (1.0 + rho)
    per_phi = theta / psi
    return SviParams(0.5 * theta * squared, 0.5 * psi, rho, -rho * per_phi, math.sqrt(squared) * per_phi)


def butterfly_essvi(smile: EssviSmile) -> Certificate:
    """Gatheral and Jacquier's theorem 4.2: what holds is free of butterfly arbitrage; what fails may yet be.

    `butterfly_essvi_exact` decides the latter.
    """
    steepest = smile.psi * (1.0 + abs(smile.rho))
    return Certificate("sufficient", steepest < LIMIT and steepest * smile.phi <= LIMIT, True)


def calendar_essvi(lower: EssviSmile, upper: EssviSmile) -> Certificate:
    """u and v do not fall, φ does not rise: then w does not fall at any k. What fails may yet be free.

    `calendar_essvi_exact` decides the latter.
    """
    rises = all(below <= above for below, above in zip(lower.wing_slopes, upper.wing_slopes, strict=True))
    return Certificate("sufficient", True, rises and upper.phi <= lower.phi)


def butterfly_essvi_exact(smile: EssviSmile) -> Certificate:
    """The decision on the whole line, as for any raw SVI slice (`check_butterfly`)."""
    return check_butterfly(smile.svi())


def calendar_essvi_exact(lower: EssviSmile, upper: EssviSmile) -> Certificate:
    """The decision on the whole line, as for any two raw SVI slices (`check_calendar`): a touch is refused."""
    return check_calendar(lower.svi(), upper.svi())


class PowerLaw(NamedTuple):
    """φ(θ) = η/(θ^γ·(1 + θ)^(1 − γ)): Gatheral and Jacquier (2014), section 4, with η > 0 and 0 < γ < 1."""

    eta: float
    gamma: float = 0.5

    def phi(self, theta: npt.ArrayLike) -> Array:
        """φ at each total variance at the money, theta > 0."""
        theta = np.asarray(theta, dtype=np.float64)
        return np.asarray(self.eta / (theta**self.gamma * (1.0 + theta) ** (1.0 - self.gamma)))

    def free_of_arbitrage(self, rho: float) -> bool:
        """Is the SSVI surface of this φ and `rho` free for every rising θ? Sufficient: η(1 + |ρ|) <= 2, γ <= 1/2.

        θφ rises to η, φ falls, and θφ² = η²·(θ/(1 + θ))^(1 − 2γ)/(1 + θ) stays below η², which is at most 4/(1 + |ρ|)².
        For γ > 1/2 it has no bound as θ goes to 0.
        """
        return self.eta > 0.0 and 0.0 < self.gamma <= 0.5 and self.eta * (1.0 + abs(rho)) <= 2.0 and abs(rho) < 1.0


class HestonLike(NamedTuple):
    """φ(θ) = (1 − (1 − e^(−λθ))/(λθ))/(λθ): Gatheral and Jacquier (2014), section 4, with λ > 0."""

    lam: float

    def phi(self, theta: npt.ArrayLike) -> Array:
        """φ at each total variance at the money, theta >= 0; 1/2 at 0."""
        x = self.lam * np.asarray(theta, dtype=np.float64)
        # The difference loses its digits near 0, where four terms of the series have them all.
        near = x < 1e-3
        safe = np.where(near, 1.0, x)
        return np.asarray(
            np.where(near, 0.5 - x / 6.0 + x * x / 24.0 - x**3 / 120.0, (safe + np.expm1(-safe)) / (safe * safe))
        )

    def free_of_arbitrage(self, rho: float) -> bool:
        """Is the SSVI surface of this φ and `rho` free for every rising θ? Sufficient: λ >= (1 + |ρ|)/4.

        θφ rises to 1/λ; φ falls from 1/2, so that θφ² stays below 1/(2λ).
        """
        return self.lam >= 0.25 * (1.0 + abs(rho)) and abs(rho) < 1.0


def ssvi_smile(phi: PowerLaw | HestonLike, theta: float, rho: float, ttm: float, forward: float) -> EssviSmile:
    """The slice of an SSVI surface at total variance `theta` at the money."""
    return EssviSmile(ttm, forward, theta, rho, theta * float(phi.phi(theta)))
