"""The smile of a time between two expiries, by one of two interpolations at equal k.

**Linear**: total variance is linear in ttm. Calendar order is kept; g >= 0 is not guaranteed.

**Prices**: Gatheral and Jacquier (2014, arXiv 1204.0646), lemma 5.1. With undiscounted calls c(k, w) over the forward,

    C(k) = (1 − α)·c(k, w₁) + α·c(k, w₂),      α such that the total variance at k = 0 is linear in ttm.

A mixture of two distributions of one mean is a distribution, and where c rises from w₁ to w₂ it rises in α: there is
neither butterfly nor calendar arbitrage where both expiries have none. That is proved, at every k and t. But far in the
wings the mixture has the later expiry's prices soon after the first one already, and its volatility there is steep.

So a pair of expiries is interpolated linearly where `stays_free` finds g above a margin at *every* time between them,
and in prices where not: one rule for all times, since changing it on the way would break calendar order. The search
goes over points in k, and at each of them settles all times at once: w, w′ and w″ are linear in the share of time, and

    16·w²·g = 4·(2w − k·w′)² − w′²·w·(4 + w) + 8·w²·w″

is a polynomial of degree 4 in it, whose Bernstein coefficients bound it from below
(docs/decisions/0010-between-expiries.md has the figures).

Derivatives of a mixture are exact. With s = √w, h = −|k|/s, t = s/2, v = φ(√(h² + t²)), Y = Φ/φ and a price over its
vega A = Y(h + t) − Y(h − t) (`black76`), ρᵢ = vᵢ/v, ω₁ = (1 − α)·ρ₁, ω₂ = α·ρ₂,

    s′ = y + Σ ωᵢ·(sᵢ′ − yᵢ),  y = Y(h − t),      g = s·Σ ωᵢ·gᵢ/sᵢ,      ∂s/∂α = ρ₂·A₂ − ρ₁·A₁,

with s′ = ∂s/∂|k|: the first from the strike-derivative of prices, the second because densities mix. Prices stand in
logarithms throughout, so none of it underflows.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pricer.kernels.elementary import exp, log
from pricer.kernels.implied_vol import MAX_STEPS, bracketed, householder, is_last
from pricer.kernels.jit import kernel
from pricer.kernels.normal import INV_SQRT_2PI, Z_MAX, mills, mills_difference
from pricer.surfaces.black import deviation, durrleman, normal_density
from pricer.surfaces.smile import Array, Smile, like_input
from pricer.surfaces.svi import SviSmile
from pricer.surfaces.svi import durrleman as durrleman_at

# What `stays_free` asks of g at its points, so that it stays above 0 between them.
G_MARGIN = 2e-3
_POINTS = 121  # around each of the two smiles
_REACH = 8.0  # of |k|; beyond, a strike is 3,000 times the forward
_PIECES = 4  # of the time between the expiries, each with its own coefficients


class _Curve(NamedTuple):
    """All that a point of the smile has; `growth` is ∂w/∂T at fixed k."""

    w: Array
    slope: Array
    bend: Array
    g: Array
    growth: Array


@dataclass(frozen=True, slots=True)
class BetweenSmile:
    """The smile at a share of the time from `low` to `high`, with a `ttm` (years) and `forward` of its own.

    `linear` says by which rule; w is that interpolation times `scale`, which is 1 unless `at` moved it in time.
    """

    ttm: float
    forward: float
    low: Smile
    high: Smile
    share: float
    linear: bool
    scale: float = 1.0

    @classmethod
    def of(cls, low: Smile, high: Smile, ttm: float, forward: float) -> BetweenSmile:
        """The smile at `ttm`, from `low.ttm` to `high.ttm`, by the rule that this pair of smiles has at all times."""
        share = min(max((ttm - low.ttm) / (high.ttm - low.ttm), 0.0), 1.0)  # rounding may leave it
        return cls(ttm, forward, low, high, share, stays_free(low, high))

    def total_variance(self, k: npt.ArrayLike) -> Array:
        """w(k) = sigma²·ttm."""
        k = np.asarray(k, dtype=np.float64)
        return like_input(self._w(k.reshape(-1)), k.shape)

    def dw(self, k: npt.ArrayLike) -> Array:
        """w′(k)."""
        k = np.asarray(k, dtype=np.float64)
        return like_input(self._curve(k.reshape(-1)).slope, k.shape)

    def d2w(self, k: npt.ArrayLike) -> Array:
        """w″(k)."""
        k = np.asarray(k, dtype=np.float64)
        return like_input(self._curve(k.reshape(-1)).bend, k.shape)

    def durrleman_g(self, k: npt.ArrayLike) -> Array:
        """Durrleman's g(k); below zero there is butterfly arbitrage."""
        k = np.asarray(k, dtype=np.float64)
        return like_input(self._curve(k.reshape(-1)).g, k.shape)

    def growth(self, k: npt.ArrayLike) -> Array:
        """∂w/∂T at fixed k along the interpolation; below 0 only where w falls from one expiry to the other."""
        k = np.asarray(k, dtype=np.float64)
        return like_input(self._curve(k.reshape(-1)).growth, k.shape)

    @property
    def wing_slopes(self) -> tuple[float, float]:
        """By how much w rises per unit of k far out: linear in time, or that of the fatter tail of a mixture."""
        low, high = self.low.wing_slopes, self.high.wing_slopes
        if self.linear:
            left, right = ((1.0 - self.share) * low[side] + self.share * high[side] for side in (0, 1))
        else:
            left, right = (max(low[side], high[side]) if self.share > 0.0 else low[side] for side in (0, 1))
        return self.scale * left, self.scale * right

    def iv(self, strikes: npt.ArrayLike) -> Array:
        """Black volatility at each strike; NaN where the strike is not positive or w < 0."""
        strikes = np.asarray(strikes, dtype=np.float64)
        w = self._w(self._k(strikes.reshape(-1)))
        return like_input(np.sqrt(np.where(w >= 0.0, w, np.nan) / self.ttm), strikes.shape)

    def fill_iv(self, strikes: Array, out: Array) -> None:
        """`iv` of an array into `out`."""
        out[:] = self.iv(strikes)

    def density(self, strikes: npt.ArrayLike) -> Array:
        """Risk-neutral density of the price at expiry, per unit of strike; negative where there is arbitrage."""
        strikes = np.asarray(strikes, dtype=np.float64)
        k = self._k(strikes.reshape(-1))
        s = deviation(self, k)
        density = self._curve(k).g * normal_density(-k / s - 0.5 * s) / (self.forward * np.exp(k) * s)
        return like_input(density, strikes.shape)

    def at(self, forward: float, ttm: float) -> BetweenSmile:
        """The same sigma(k) for another forward and time to maturity: w scales with ttm."""
        return BetweenSmile(ttm, forward, self.low, self.high, self.share, self.linear, self.scale * (ttm / self.ttm))

    def _w(self, k: Array) -> Array:
        if not self.linear:
            return self._curve(k).w
        low, high = self.low.total_variance(k), self.high.total_variance(k)
        return self.scale * ((1.0 - self.share) * np.asarray(low) + self.share * np.asarray(high))

    def _curve(self, k: Array) -> _Curve:
        low, high = _derivatives(self.low, k), _derivatives(self.high, k)
        years = self.high.ttm - self.low.ttm
        if self.linear:
            w, slope, bend = (1.0 - self.share) * low + self.share * high
            growth = (high[0] - low[0]) / years
        else:
            weight, rise = _price_weight(self.low, self.high, self.share)
            w, slope, g, growth = np.empty((4, k.size))
            _mix_chain(k, low, high, weight, rise / years, w, slope, g, growth)
            tilt = 1.0 - 0.5 * k * slope / w
            bend = 2.0 * (g - tilt * tilt + 0.25 * slope * slope * (1.0 / w + 0.25))
            if self.scale == 1.0:  # g of the mixture as it is has no cancellation in it
                return _Curve(w, slope, bend, g, growth)
        w, slope, bend = self.scale * w, self.scale * slope, self.scale * bend
        return _Curve(w, slope, bend, durrleman(w, slope, bend, k), growth)

    def _k(self, strikes: Array) -> Array:
        return np.log(np.where(strikes > 0.0, strikes, np.nan) / self.forward)


def _derivatives(smile: Smile, k: Array) -> Array:
    return np.array([smile.total_variance(k), smile.dw(k), smile.d2w(k)])


def stays_free(low: Smile, high: Smile) -> bool:
    """Does linear interpolation keep g above `G_MARGIN` at all times between two expiries, at the points looked at?

    Those lie within |k| <= 8, close together around the bends of both smiles. Nothing is looked at between them, which
    is what the margin is for.
    """
    if isinstance(low, SviSmile) and isinstance(high, SviSmile):
        return _svi_stays_free(low, high)
    return _stays_free(low, high)


@functools.lru_cache(maxsize=256)
def _svi_stays_free(low: SviSmile, high: SviSmile) -> bool:
    return _stays_free(low, high)


def _stays_free(low: Smile, high: Smile) -> bool:
    k = np.concatenate([_points(low), _points(high)])
    shares = np.linspace(0.0, 1.0, _PIECES + 1)[:, None, None]
    near, far = _derivatives(low, k), _derivatives(high, k)
    ends = (1.0 - shares) * near + shares * far
    return bool(np.all(_least_form(k, ends[:-1], ends[1:]) >= 0.0))


def _points(smile: Smile) -> Array:
    middle, scale = 0.0, math.sqrt(max(float(smile.total_variance(0.0)), 1e-12))
    if isinstance(smile, SviSmile):
        middle, scale = smile.params.m, smile.params.sigma
    first, last = math.asinh((-_REACH - middle) / scale), math.asinh((_REACH - middle) / scale)
    return middle + scale * np.sinh(np.linspace(first, last, _POINTS))


def _least_form(k: Array, start: Array, end: Array) -> Array:
    """The smallest coefficient of 16·w²·(g − margin) in x^i·(1 − x)^(4−i), x from 0 at `start` to 1 at `end`."""
    w, slope, bend = zip(start.swapaxes(0, 1), end.swapaxes(0, 1), strict=True)
    one = (1.0, 1.0)
    distance = tuple(2.0 * w[i] - k * slope[i] for i in range(2))
    ww, steep = _product(w, w), _product(slope, slope)
    terms = (
        (4.0, _product(_product(distance, distance), _product(one, one))),
        (-4.0, _product(_product(steep, w), one)),
        (-1.0, _product(steep, ww)),
        (8.0, _product(_product(ww, bend), one)),
        (-16.0 * G_MARGIN, _product(ww, _product(one, one))),
    )
    least = [sum(factor * form[i] for factor, form in terms) for i in range(5)]
    return np.asarray(np.min(np.array(least), axis=0), dtype=np.float64)


def _product(p: Sequence[Array | float], q: Sequence[Array | float]) -> list[Array | float]:
    result: list[Array | float] = [0.0] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            result[i + j] = result[i + j] + a * b
    return result


def _price_weight(low: Smile, high: Smile, share: float) -> tuple[float, float]:
    """α of the later expiry's prices, and its derivative in the share of time."""
    first, last = float(low.total_variance(0.0)), float(high.total_variance(0.0))
    if not (first > 0.0 and last > 0.0):
        return math.nan, math.nan
    start, whole = _call_at_the_money(first), _call_at_the_money(last) - _call_at_the_money(first)
    if abs(last - first) <= 1e-9 * last:
        return share, 1.0
    w = first + share * (last - first)
    slope = INV_SQRT_2PI * math.exp(-0.125 * w) / (2.0 * math.sqrt(w))
    weight = (_call_at_the_money(w) - start) / whole
    return min(max(weight, 0.0), 1.0), slope * (last - first) / whole


def _call_at_the_money(w: float) -> float:
    """c(0, w) = 2·Φ(√w/2) − 1."""
    return math.erf(math.sqrt(0.125 * w))


@kernel
def _mix_chain(
    k: Array,
    low: Array,
    high: Array,
    weight: float,
    rise: float,
    w: Array,
    slope: Array,
    g: Array,
    growth: Array,
) -> None:
    """w, w′, g and ∂w/∂T of mixed prices; `low` and `high` have the rows w, w′, w″, `rise` is dα/dT."""
    for i in range(k.size):
        w[i], slope[i], g[i], growth[i] = _mix(
            k[i], low[0, i], low[1, i], low[2, i], high[0, i], high[1, i], high[2, i], weight, rise
        )


@kernel
def _mix(
    k: float, w1: float, slope1: float, bend1: float, w2: float, slope2: float, bend2: float, weight: float, rise: float
) -> tuple[float, float, float, float]:
    if not (w1 > 0.0 and w2 > 0.0 and 0.0 <= weight <= 1.0 and abs(k) < math.inf):
        return math.nan, math.nan, math.nan, math.nan
    x, side = abs(k), 1.0 if k >= 0.0 else -1.0
    s1, s2 = math.sqrt(w1), math.sqrt(w2)
    log1, over1 = _log_vega(x, s1), _over_vega(x, s1)
    log2, over2 = _log_vega(x, s2), _over_vega(x, s2)
    s = _mixed_deviation(x, s1, s2, log1 + log(over1), log2 + log(over2), weight)
    own = _log_vega(x, s)
    rate1, rate2 = exp(log1 - own), exp(log2 - own)
    part1 = (1.0 - weight) * rate1 if weight < 1.0 else 0.0
    part2 = weight * rate2 if weight > 0.0 else 0.0
    below, below1, below2 = _lower_mills(x, s), _lower_mills(x, s1), _lower_mills(x, s2)
    ds1, ds2 = 0.5 * side * slope1 / s1, 0.5 * side * slope2 / s2
    ds = below + part1 * (ds1 - below1) + part2 * (ds2 - below2)
    g1, g2 = durrleman_at(w1, slope1, bend1, k), durrleman_at(w2, slope2, bend2, k)
    g = s * (part1 * g1 / s1 + part2 * g2 / s2)
    return s * s, 2.0 * s * side * ds, g, 2.0 * s * rise * (rate2 * over2 - rate1 * over1)


@kernel
def _mixed_deviation(x: float, s1: float, s2: float, log1: float, log2: float, weight: float) -> float:
    """s of a mixture of two time values given by their logarithms (over √(F·K)): `implied_vol`'s steps."""
    if weight <= 0.0 or s1 == s2:
        return s1
    if weight >= 1.0:
        return s2
    log1 += log(1.0 - weight)
    log2 += log(weight)
    most = max(log1, log2)
    target = most + log(exp(log1 - most) + exp(log2 - most))
    low, high = min(s1, s2), max(s1, s2)
    s = math.sqrt((1.0 - weight) * s1 * s1 + weight * s2 * s2)
    for _ in range(MAX_STEPS):
        over = _over_vega(x, s)
        residual = _log_vega(x, s) + log(over) - target
        if residual > 0.0:
            high = s
        else:
            low = s
        slope, h2 = s / over, (x / s) ** 2
        change = householder(residual, slope, h2, 0.25 * s * s)
        if is_last(residual, slope, h2):
            return s + s * change
        s = bracketed(s + s * change, low, high)
    return s


@kernel
def _log_vega(x: float, s: float) -> float:
    """ln v."""
    return -0.5 * ((x / s) ** 2 + 0.25 * s * s) + math.log(INV_SQRT_2PI)


@kernel
def _over_vega(x: float, s: float) -> float:
    """A = Y(h + t) − Y(h − t)."""
    h, t = -x / s, 0.5 * s
    if h + t <= Z_MAX:
        return mills_difference(h, t)
    return mills(h + t) - mills(h - t)


@kernel
def _lower_mills(x: float, s: float) -> float:
    """Y(h − t)."""
    return mills(-x / s - 0.5 * s)
