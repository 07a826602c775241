"""Raw SVI with five local terms: what an exchange's densely quoted expiries need and five parameters do not reach.

    w(k) = svi(k) + Σⱼ cⱼ·Bⱼ(k/sd),   j = 1 … 5,

Bⱼ the quartic B-splines on even knots over |k| <= 2.5·sd, sd = √svi(0). They are zero outside, so there the certified
SVI rules, wings and all; inside w has three continuous derivatives (quartic, so that the density has no kinks).

The guarantee is by induction. c = 0 is the certified SVI surface. Each slice moves towards its best c as far as two
proofs hold, butterfly by itself and calendar against its present neighbours, and 0 always is a way back.

Both proofs are exact up to rounding. Outside the bumps they are those of raw SVI. Inside, w and its derivatives are
enclosed on an interval (SVI by monotony, the quartic by its own Taylor expansion), g by the mean value theorem,

    g >= g(middle) − half·sup|g′|,

a difference of two smiles by its second-order expansion, and intervals are halved until they decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pricer.kernels.jit import kernel
from pricer.surfaces.arbitrage import K_REPORTED, Certificate, check_butterfly, check_calendar
from pricer.surfaces.curve import CurveSmile
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import SviParams, SviSmile, durrleman, value
from pricer.surfaces.svi_free import residual, robust

TERMS = 5
REACH = 2.5  # of the bumps, in sd
_PIECES = TERMS + 4
_WIDTH = 2.0 * REACH / _PIECES  # between knots, in sd

# The standard deviation, before any quote is seen, of cⱼ over svi(0). By cross-validation on the recorded chains (every
# fifth quote left out in turn): rmse of those in half-spreads for 0 (plain SVI), 0.003, 0.01, 0.03, 0.1 and 0.3
# BTC 2026-06-27: 0.602 0.602 0.601 0.596 0.590 0.589;  ETH 2024-01-08: 0.921 0.917 0.898 0.880 0.877 0.879.
PRIOR = 0.1

# Fewer two-sided observations than parameters have nothing to say about the shape between them.
ENOUGH = 10

_ROUNDS = 6  # of new robust weights
_HALVINGS = 6  # of the share of its terms that a slice keeps
_SWEEPS = 2  # over the chain: neighbours that gave way make room

_DEPTH = 30  # halvings of a piece before a proof is given up
_MOST_INTERVALS = 20_000
_MARGIN = 1e-12  # for rounding, relative
_GRID = 401  # points over the bumps where the smallest figures are looked for

# The blending polynomials of a uniform quartic B-spline, highest knot interval first, in x of [0, 1], over 24.
_BLENDS = np.array(
    [
        [1.0, -4.0, 6.0, -4.0, 1.0],
        [11.0, -12.0, -6.0, 12.0, -4.0],
        [11.0, 12.0, -6.0, -12.0, 6.0],
        [1.0, 4.0, 6.0, 4.0, -4.0],
        [0.0, 0.0, 0.0, 0.0, 1.0],
    ]
)
NO_TERMS = TERMS * (0.0,)


@dataclass(frozen=True, slots=True)
class SviLocalSmile(CurveSmile):
    """One expiry's smile: `params` of raw SVI and the coefficients `terms` (in w) of bumps of scale `sd` (in k)."""

    params: SviParams
    sd: float
    terms: tuple[float, ...]

    @classmethod
    def on(cls, base: SviSmile, terms: Sequence[float] = NO_TERMS) -> SviLocalSmile:
        """`base` with these terms, scaled by its deviation at the money."""
        sd = math.sqrt(float(base.total_variance(0.0)))
        return cls(base.ttm, base.forward, base.params, sd, tuple(float(term) for term in terms))

    @property
    def base(self) -> SviSmile:
        """The raw SVI below the local terms."""
        return SviSmile(self.ttm, self.forward, self.params)

    def with_share(self, share: float) -> SviLocalSmile:
        """The same smile with `share` of its terms."""
        terms = tuple(share * term for term in self.terms)
        return SviLocalSmile(self.ttm, self.forward, self.params, self.sd, terms)

    def curve(self, k: Array) -> Array:
        """Rows w, w′ and w″ at each k."""
        out = np.empty((3, k.size))
        _curve_chain(self.kernel_row(), pieces_of(np.array(self.terms)), k, out)
        return out

    @property
    def wing_slopes(self) -> tuple[float, float]:
        """Those of the base: no local term reaches there."""
        return self.base.wing_slopes

    def at(self, forward: float, ttm: float) -> SviLocalSmile:
        """The same sigma(k) for another forward and time to maturity: w scales with ttm."""
        scale = ttm / self.ttm
        params = self.params._replace(a=self.params.a * scale, b=self.params.b * scale)
        return SviLocalSmile(ttm, forward, params, self.sd, tuple(scale * term for term in self.terms))

    def kernel_row(self) -> Array:
        """(a, b, rho, m, sigma, sd), as the kernels of this module take it."""
        return np.array([*self.params, self.sd])


@kernel
def pieces_of(terms: Array) -> Array:
    """The quartics Σcⱼ·Bⱼ between the knots: one row of coefficients (lowest power of x in [0, 1] first) each."""
    pieces = np.zeros((_PIECES, 5))
    for piece in range(_PIECES):
        for blend in range(5):
            j = piece - 4 + blend
            if 0 <= j < TERMS:
                for power in range(5):
                    pieces[piece, power] += terms[j] * _BLENDS[blend, power] / 24.0
    return pieces


@kernel
def _local(pieces: Array, sd: float, piece: int, k: float) -> tuple[float, float, float, float, float]:
    """The quartic of one piece at k, and its four derivatives in k."""
    if piece < 0 or piece >= _PIECES:
        return 0.0, 0.0, 0.0, 0.0, 0.0
    per = 1.0 / (sd * _WIDTH)
    x = (k / sd + REACH) / _WIDTH - piece
    c = pieces[piece]
    p = c[0] + x * (c[1] + x * (c[2] + x * (c[3] + x * c[4])))
    p1 = c[1] + x * (2.0 * c[2] + x * (3.0 * c[3] + x * 4.0 * c[4]))
    p2 = 2.0 * c[2] + x * (6.0 * c[3] + x * 12.0 * c[4])
    p3 = 6.0 * c[3] + x * 24.0 * c[4]
    return p, p1 * per, p2 * per * per, p3 * per * per * per, 24.0 * c[4] * per * per * per * per


@kernel
def _piece(sd: float, k: float) -> int:
    """The piece that k lies in; −1 or beyond the last one outside the bumps."""
    u = (k / sd + REACH) / _WIDTH
    return math.floor(min(max(u, -1.0), _PIECES + 1.0))


@kernel
def _value(row: Array, pieces: Array, k: float) -> tuple[float, float, float]:
    """(w, w′, w″) at k; `row` is (a, b, rho, m, sigma, sd)."""
    w, slope, bend = value(row[0], row[1], row[2], row[3], row[4], k)
    p, p1, p2, _, _ = _local(pieces, row[5], _piece(row[5], k), k)
    return w + p, slope + p1, bend + p2


@kernel
def _curve_chain(row: Array, pieces: Array, k: Array, out: Array) -> None:
    for i in range(k.size):
        if math.isnan(k[i]):
            out[0, i] = out[1, i] = out[2, i] = math.nan
        else:
            out[0, i], out[1, i], out[2, i] = _value(row, pieces, k[i])


@kernel
def fit_terms(observations: Array, ttm: float, row: Array, prior: float, terms: Array) -> float:
    """The ridge least squares of the terms on robust weights, on top of `row` (raw SVI and sd); the mean robust loss.

    `terms` is the start (zeros, or those of the last fit) and the result. Minimised is the robust loss of the residuals
    in half-spreads plus ½·Σ(cⱼ/(prior·w))², w = sd²: what few or wide quotes do not ask for stays small.
    """
    scale = row[5] * row[5]
    basis, gradient, matrix, step = np.empty(TERMS), np.empty(TERMS), np.empty((TERMS, TERMS)), np.empty(TERMS)
    for _ in range(_ROUNDS):
        pieces = pieces_of(terms)
        for a in range(TERMS):
            gradient[a] = -terms[a] / (prior * scale) ** 2 * scale
            for c in range(TERMS):
                matrix[a, c] = 1.0 / (prior * prior) if a == c else 0.0
        for i in range(observations.shape[0]):
            k, width = observations[i, K], observations[i, WIDTH]
            sigma = math.sqrt(max(_value(row, pieces, k)[0], 1e-12) / ttm)
            r = residual(sigma, observations[i, LOW], observations[i, HIGH], width)
            if r == 0.0:
                continue
            trust = observations[i, WEIGHT] * robust(r)[1]
            rate = scale / (2.0 * sigma * ttm * width)  # of the residual, by w over scale
            _basis(row[5], k, basis)
            for a in range(TERMS):
                gradient[a] -= trust * r * rate * basis[a]
                for c in range(TERMS):
                    matrix[a, c] += trust * rate * rate * basis[a] * basis[c]
        _solve(matrix, gradient, step)
        for a in range(TERMS):
            terms[a] += scale * step[a]
    pieces = pieces_of(terms)
    total, mass = 0.0, 0.0
    for i in range(observations.shape[0]):
        sigma = math.sqrt(max(_value(row, pieces, observations[i, K])[0], 0.0) / ttm)
        r = residual(sigma, observations[i, LOW], observations[i, HIGH], observations[i, WIDTH])
        total += observations[i, WEIGHT] * robust(r)[0]
        mass += observations[i, WEIGHT]
    return total / mass


@kernel
def _basis(sd: float, k: float, basis: Array) -> None:
    for j in range(TERMS):
        basis[j] = 0.0
    piece = _piece(sd, k)
    if piece < 0 or piece >= _PIECES:
        return
    x = (k / sd + REACH) / _WIDTH - piece
    for blend in range(5):
        j = piece - 4 + blend
        if 0 <= j < TERMS:
            b = _BLENDS[blend]
            basis[j] = (b[0] + x * (b[1] + x * (b[2] + x * (b[3] + x * b[4])))) / 24.0


@kernel
def _solve(matrix: Array, right: Array, step: Array) -> None:
    """step = matrix⁻¹·right by Cholesky, in place; the matrix is positive definite by its prior."""
    n = right.size
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for c in range(j):
                total -= matrix[i, c] * matrix[j, c]
            matrix[i, j] = math.sqrt(total) if i == j else total / matrix[j, j]
    for i in range(n):
        total = right[i]
        for c in range(i):
            total -= matrix[i, c] * step[c]
        step[i] = total / matrix[i, i]
    for i in range(n - 1, -1, -1):
        total = step[i]
        for c in range(i + 1, n):
            total -= matrix[c, i] * step[c]
        step[i] = total / matrix[i, i]


@kernel
def _times(low: float, high: float, low2: float, high2: float) -> tuple[float, float]:
    """The product of two intervals."""
    a, b, c, d = low * low2, low * high2, high * low2, high * high2
    return min(min(a, b), min(c, d)), max(max(a, b), max(c, d))


@kernel
def _enclose(row: Array, pieces: Array, low: float, high: float, out: Array) -> None:
    """Bounds of w, w′, w″, w‴ on [low, high] (within one piece) into the rows of `out`, lower and upper."""
    a, b, rho, m, sigma, sd = row[0], row[1], row[2], row[3], row[4], row[5]
    w_low, slope_low, _ = value(a, b, rho, m, sigma, low)
    w_high, slope_high, _ = value(a, b, rho, m, sigma, high)
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    w_mid, slope_mid, _ = value(a, b, rho, m, sigma, middle)
    # SVI is convex: above its tangent, below its chord; w″ = bσ²/R³ falls with R.
    x_low, x_high = low - m, high - m
    near = 0.0 if x_low < 0.0 < x_high else min(abs(x_low), abs(x_high))
    far = max(abs(x_low), abs(x_high))
    root_near, root_far = math.sqrt(near * near + sigma * sigma), math.sqrt(far * far + sigma * sigma)
    square = b * sigma * sigma
    third = _times(-3.0 * square * x_high, -3.0 * square * x_low, root_far**-5, root_near**-5)
    p, p1, p2, p3, p4 = _local(pieces, sd, _piece(sd, middle), middle)
    spread3 = abs(p4) * half
    spread2 = (abs(p3) + 0.5 * abs(p4) * half) * half
    spread1 = (abs(p2) + 0.5 * (abs(p3) + abs(p4) * half / 3.0) * half) * half
    spread0 = (abs(p1) + 0.5 * (abs(p2) + (abs(p3) + 0.25 * abs(p4) * half) * half / 3.0) * half) * half
    out[0, 0] = w_mid - abs(slope_mid) * half + p - spread0
    out[0, 1] = max(w_low, w_high) + p + spread0
    out[1, 0], out[1, 1] = slope_low + p1 - spread1, slope_high + p1 + spread1
    out[2, 0], out[2, 1] = square / root_far**3 + p2 - spread2, square / root_near**3 + p2 + spread2
    out[3, 0], out[3, 1] = third[0] + p3 - spread3, third[1] + p3 + spread3


@kernel
def _steepest_g(box: Array, low: float, high: float) -> float:
    """A bound of |g′| where w, w′, w″, w‴ are inside `box` and k inside [low, high]; infinite where w may be 0.

    g′ = 2·tilt·tilt′ − w′w″/2·(1/w + 1/4) + w′³/(4w²) + w‴/2,   tilt′ = −(w′ + k·w″)/(2w) + k·w′²/(2w²).
    """
    if not box[0, 0] > 0.0:
        return math.inf
    per_low, per_high = 1.0 / box[0, 1], 1.0 / box[0, 0]
    ratio = _times(box[1, 0], box[1, 1], per_low, per_high)  # w′/w
    lean = _times(low, high, ratio[0], ratio[1])  # k·w′/w
    tilt = (1.0 - 0.5 * lean[1], 1.0 - 0.5 * lean[0])
    turn = _times(box[2, 0], box[2, 1], per_low, per_high)  # w″/w
    turned = _times(low, high, turn[0], turn[1])
    bent = _times(lean[0], lean[1], ratio[0], ratio[1])
    rate = (0.5 * (bent[0] - ratio[1] - turned[1]), 0.5 * (bent[1] - ratio[0] - turned[0]))
    first = _times(tilt[0], tilt[1], rate[0], rate[1])
    pair = _times(box[1, 0], box[1, 1], box[2, 0], box[2, 1])
    second = _times(pair[0], pair[1], 0.5 * (per_low + 0.25), 0.5 * (per_high + 0.25))
    squared = _times(ratio[0], ratio[1], ratio[0], ratio[1])
    cubed = _times(squared[0], squared[1], box[1, 0], box[1, 1])
    bottom: float = 2.0 * first[0] - second[1] + 0.25 * cubed[0] + 0.5 * box[3, 0]
    top: float = 2.0 * first[1] - second[0] + 0.25 * cubed[1] + 0.5 * box[3, 1]
    return max(-bottom, top)


@kernel
def butterfly_inside(row: Array, terms: Array) -> bool:
    """Is g > 0 proved on all of |k| <= REACH·sd?"""
    pieces = pieces_of(terms)
    box = np.empty((4, 2))
    lows, highs = np.empty(_DEPTH + 2), np.empty(_DEPTH + 2)
    spent = 0
    for piece in range(_PIECES):
        lows[0] = (piece * _WIDTH - REACH) * row[5]
        highs[0] = ((piece + 1) * _WIDTH - REACH) * row[5]
        top = 0
        while top >= 0:
            low, high = lows[top], highs[top]
            middle, half = 0.5 * (low + high), 0.5 * (high - low)
            w, slope, bend = _value(row, pieces, middle)
            spent += 1
            if not w > 0.0 or spent > _MOST_INTERVALS:
                return False
            g = durrleman(w, slope, bend, middle)
            if not g > _MARGIN:
                return False
            _enclose(row, pieces, low, high, box)
            if g - half * _steepest_g(box, low, high) > _MARGIN:
                top -= 1
            elif top > _DEPTH:
                return False
            else:
                highs[top], lows[top + 1], highs[top + 1] = middle, middle, high
                top += 1
    return True


@kernel
def calendar_inside(row: Array, terms: Array, upper_row: Array, upper_terms: Array) -> bool:
    """Is the upper smile proved above the lower one wherever either has bumps?"""
    pieces, upper_pieces = pieces_of(terms), pieces_of(upper_terms)
    edges = np.empty(2 * (_PIECES + 1))
    for j in range(_PIECES + 1):
        edges[2 * j] = (j * _WIDTH - REACH) * row[5]
        edges[2 * j + 1] = (j * _WIDTH - REACH) * upper_row[5]
    edges = np.sort(edges)
    box, upper_box = np.empty((4, 2)), np.empty((4, 2))
    lows, highs = np.empty(_DEPTH + 2), np.empty(_DEPTH + 2)
    spent = 0
    for j in range(edges.size - 1):
        lows[0], highs[0] = edges[j], edges[j + 1]
        top = 0 if highs[0] > lows[0] else -1
        while top >= 0:
            low, high = lows[top], highs[top]
            middle, half = 0.5 * (low + high), 0.5 * (high - low)
            w, slope, _ = _value(row, pieces, middle)
            upper_w, upper_slope, _ = _value(upper_row, upper_pieces, middle)
            spent += 1
            gap = upper_w - w
            if not gap > _MARGIN * upper_w or spent > _MOST_INTERVALS:
                return False
            _enclose(row, pieces, low, high, box)
            _enclose(upper_row, upper_pieces, low, high, upper_box)
            bend = max(abs(upper_box[2, 0] - box[2, 1]), abs(upper_box[2, 1] - box[2, 0]))
            if gap - half * (abs(upper_slope - slope) + 0.5 * half * bend) > _MARGIN * upper_w:
                top -= 1
            elif top > _DEPTH:
                return False
            else:
                highs[top], lows[top + 1], highs[top + 1] = middle, middle, high
                top += 1
    return True


def fitted(
    base: SviSmile, observations: Array, *, prior: float = PRIOR, last: Sequence[float] = NO_TERMS
) -> SviLocalSmile:
    """`base` with the terms that its observations (those of `quotes.Selection`) ask for; not yet free of arbitrage."""
    smile = SviLocalSmile.on(base)
    terms = np.array(last)
    fit_terms(observations, base.ttm, smile.kernel_row(), prior, terms)
    return SviLocalSmile.on(base, terms.tolist()) if np.isfinite(terms).all() else smile


def settled(wanted: Sequence[SviLocalSmile]) -> list[SviLocalSmile]:
    """The smiles (in order of ttm) with the shares of their terms that keep the chain free of arbitrage.

    Their raw SVI must be free of it. Each takes the largest share that halving proves between what its neighbours have
    taken by then: every intermediate chain is free of arbitrage, since all begin at 0.
    """
    shares = len(wanted) * [0.0]
    taken = [smile.with_share(0.0) for smile in wanted]
    for _ in range(_SWEEPS):
        for i, smile in enumerate(wanted):
            below = taken[i - 1] if i > 0 else None
            above = taken[i + 1] if i + 1 < len(taken) else None
            shares[i] = _largest_share(smile, shares[i], below, above)
            taken[i] = smile.with_share(shares[i])
    return taken


def _largest_share(
    smile: SviLocalSmile, proved: float, below: SviLocalSmile | None, above: SviLocalSmile | None
) -> float:
    def holds(share: float) -> bool:
        trial = smile.with_share(share)
        return (
            butterfly_inside(trial.kernel_row(), np.array(trial.terms))
            and (below is None or above_inside(below, trial))
            and (above is None or above_inside(trial, above))
        )

    if proved == 1.0 or not any(smile.terms) or holds(1.0):
        return 1.0
    refused = 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (proved + refused)
        if holds(middle):
            proved = middle
        else:
            refused = middle
    return proved


def above_inside(lower: SviLocalSmile, upper: SviLocalSmile) -> bool:
    """Is `upper` proved above `lower` wherever either has bumps?"""
    return calendar_inside(lower.kernel_row(), np.array(lower.terms), upper.kernel_row(), np.array(upper.terms))


def prove_butterfly(smile: SviLocalSmile) -> Certificate:
    """Durrleman's condition on the whole line, exact: raw SVI's proof outside the bumps, intervals inside."""
    outside = check_butterfly(smile.base)
    proved = outside.butterfly and (not any(smile.terms) or butterfly_inside(smile.kernel_row(), np.array(smile.terms)))
    if not any(smile.terms):
        return outside
    k = np.concatenate([np.linspace(-K_REPORTED, K_REPORTED, 4 * _GRID), smile.sd * np.linspace(-REACH, REACH, _GRID)])
    g = np.asarray(smile.durrleman_g(k))
    worst = int(np.argmin(g))
    return Certificate("exact", proved, True, float(g[worst]), float(k[worst]))


def prove_calendar(lower: SviSmile | SviLocalSmile, upper: SviSmile | SviLocalSmile) -> Certificate:
    """Is `upper`, the longer expiry, above `lower` at every k? Exact, as `prove_butterfly` is."""
    low, high = _local_form(lower), _local_form(upper)
    outside = check_calendar(low.base, high.base)
    if not any(low.terms) and not any(high.terms):
        return outside
    proved = outside.calendar and above_inside(low, high)
    k = np.concatenate(
        [np.linspace(-K_REPORTED, K_REPORTED, 4 * _GRID), max(low.sd, high.sd) * np.linspace(-REACH, REACH, _GRID)]
    )
    gaps = np.asarray(high.total_variance(k)) - np.asarray(low.total_variance(k))
    worst = int(np.argmin(gaps))
    return Certificate("exact", True, proved, min_calendar_gap=float(gaps[worst]), gap_at_k=float(k[worst]))


def _local_form(smile: SviSmile | SviLocalSmile) -> SviLocalSmile:
    return smile if isinstance(smile, SviLocalSmile) else SviLocalSmile.on(smile)
