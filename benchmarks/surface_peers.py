"""Other packages' fits of one SVI slice, each called as its own documentation says, and ours in the same form.

A `SliceSolver` is prepared outside the time measured. Its calls take nothing and give raw (a, b, rho, m, sigma), NaN
where the package gives no answer. A warm call starts from the parameters of the tick before.

What each can be told differs: scipy minimises our residuals (half-spreads of vol, bounds as hinges) without the robust
loss, which its "lm" has not; QuantLib minimises differences of vol, weighted by vega; stochastic-rs those of total
variance, without weights and always from its own first guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.sets import Floats

Call = Callable[[], Floats]
Rows: TypeAlias = NDArray[np.bool_]

# QuantLib starts again from random guesses, up to fifty times, until its root mean square error in vol is below this.
QUANTLIB_ACCEPTS = 0.002

NO_FIT = np.full(5, math.nan)


class Observed(NamedTuple):
    """One expiry's observations in order of k: bid and ask vol (∓inf on the side that a bound has not), half-spread
    and weight of age, as `pricer.surfaces.select` chose them."""

    ttm: float
    k: Floats
    low: Floats
    high: Floats
    width: Floats
    weight: Floats

    @property
    def two_sided(self) -> Rows:
        """Which rows have a mid."""
        return np.asarray(np.isfinite(self.low) & np.isfinite(self.high))

    @property
    def mid(self) -> Floats:
        return 0.5 * (self.low + self.high)


class SliceSolver(NamedTuple):
    name: str
    package: str  # as pip knows it
    cold: Callable[[Observed], Call]
    warm: Callable[[Observed, Floats], Call] | None


def scipy_cold(observed: Observed) -> Call:
    return _scipy(observed, first_guess(observed))


def _scipy(observed: Observed, start: Floats) -> Call:
    from scipy.optimize import least_squares

    residuals, jacobian = half_spreads(observed)

    def call() -> Floats:
        found = least_squares(residuals, start, jac=jacobian, method="lm", x_scale="jac")
        return np.asarray(found.x)

    return call


def first_guess(observed: Observed) -> Floats:
    """The lowest mid, the slopes from there to both ends, and a bend of half a standard deviation."""
    rows = observed.two_sided
    k, w = observed.k[rows], observed.mid[rows] ** 2 * observed.ttm
    lowest = int(np.argmin(w))
    sigma = 0.5 * math.sqrt(w[lowest])
    right = max((w[-1] - w[lowest]) / max(k[-1] - k[lowest], sigma), 0.01)
    left = max((w[0] - w[lowest]) / max(k[lowest] - k[0], sigma), 0.01)
    a = w[lowest] - sigma * math.sqrt(right * left)
    return np.array([a, 0.5 * (right + left), (right - left) / (right + left), k[lowest], sigma])


def half_spreads(observed: Observed) -> tuple[Callable[[Floats], Floats], Callable[[Floats], Floats]]:
    """Residuals in half-spreads as functions of the raw parameters, and their Jacobian."""
    ttm, k, low, high, width, weight = observed
    has_low, has_high = np.isfinite(low), np.isfinite(high)
    mid = np.where(has_low & has_high, observed.mid, np.where(has_low, low, high))
    scale = np.sqrt(weight) / width

    def curve(p: Floats) -> tuple[Floats, Floats, Floats]:
        x = k - p[3]
        root = np.sqrt(x * x + p[4] * p[4])
        return x, root, np.sqrt(np.maximum(p[0] + p[1] * (p[2] * x + root), 1e-10) / ttm)

    def active(sigma: Floats) -> Rows:
        return (has_low & has_high) | (has_high & (sigma > high)) | (has_low & (sigma < low))

    def residuals(p: Floats) -> Floats:
        sigma = curve(p)[2]
        return np.asarray(np.where(active(sigma), (sigma - mid) * scale, 0.0))

    def jacobian(p: Floats) -> Floats:
        x, root, sigma = curve(p)
        _, b, rho, _, s = p
        dw = np.stack((np.ones_like(x), rho * x + root, b * x, -b * (rho + x / root), b * s / root), axis=1)
        return np.asarray(dw * np.where(active(sigma), 0.5 * scale / (sigma * ttm), 0.0)[:, None])

    return residuals, jacobian


def quantlib_cold(observed: Observed) -> Call:
    import QuantLib as ql

    return _quantlib(observed, [ql.nullDouble()] * 5)


def quantlib_warm(observed: Observed, start: Floats) -> Call:
    a, b, rho, m, sigma = start.tolist()
    return _quantlib(observed, [a, b, sigma, rho, m])  # in its own order


def _quantlib(observed: Observed, guess: list[float]) -> Call:
    section_of = quantlib_section(observed, guess)

    def call() -> Floats:
        try:
            section = section_of()
            return np.array([section.a(), section.b(), section.rho(), section.m(), section.sigma()])
        except RuntimeError:  # its word for: no such smile
            return NO_FIT

    return call


def quantlib_section(observed: Observed, guess: list[float]) -> Callable[[], Any]:
    """Its smile section; asked for a parameter, it fits. An expiry is a whole day there, so the vols are those of the
    same total variance at that time."""
    import QuantLib as ql

    today = ql.Date(1, 1, 2026)
    ql.Settings.instance().evaluationDate = today
    days = max(1, round(365.0 * observed.ttm))
    rows = observed.two_sided
    k = observed.k[rows]
    vols = observed.mid[rows] * math.sqrt(observed.ttm / (days / 365.0))
    strikes, vol_list, at_the_money = np.exp(k).tolist(), vols.tolist(), float(np.interp(0.0, k, vols))
    free = [False] * 5

    def section() -> Any:
        return ql.SviInterpolatedSmileSection(
            today + days, 1.0, strikes, False, at_the_money, vol_list, *guess, *free, True
        )

    return section


def quantlib_restarts(observed: Observed, params: Floats) -> bool:
    """Does it go on to random first guesses though it starts at its own result? Then it makes all fifty."""
    a, b, rho, m, sigma = params.tolist()
    section = quantlib_section(observed, [a, b, sigma, rho, m])()
    try:
        return bool(section.rmsError() >= QUANTLIB_ACCEPTS)
    except RuntimeError:
        return True


def stochastic_rs_cold(observed: Observed) -> Call:
    from stochastic_rs import SviCalibrator

    rows = observed.two_sided
    k, w = observed.k[rows].tolist(), (observed.mid[rows] ** 2 * observed.ttm).tolist()

    def call() -> Floats:
        return np.array(SviCalibrator(k, w).params())

    return call


SCIPY = SliceSolver("scipy least_squares lm", "scipy", scipy_cold, _scipy)
QUANTLIB = SliceSolver("QuantLib", "QuantLib", quantlib_cold, quantlib_warm)
STOCHASTIC_RS = SliceSolver("stochastic-rs", "stochastic-rs", stochastic_rs_cold, None)
PEERS = (QUANTLIB, SCIPY, STOCHASTIC_RS)
