"""Two other forms of raw SVI: jump wings, which say what a trader sees, and the natural one, which SSVI grows from.

Gatheral and Jacquier (2014, arXiv 1204.0646), section 3. Natural (eq. 3.2, lemma 3.1):

    w(k) = Δ + ω/2·(1 + ζρ·(k − μ) + √((ζ·(k − μ) + ρ)² + 1 − ρ²))

Jump wings (eq. 3.5), with w₀ = v·ttm at the money: the variance there, the skew of volatility there, the slopes of both
wings per √w₀, and the lowest variance. The way back (lemma 3.2) is written here with β = m/√(m² + σ²) alone:

    β = ρ − 2ψ√w₀/b,   √(m² + σ²) = (v − v_min)·ttm/(b·d),   d = 1 − ρβ − √(1 − ρ²)·√(1 − β²)

so that m = 0 is no special case. What remains is d = 0, a minimum exactly at the money (ψ = 0): then v = v_min, and the
five numbers do not say how sharp the bend is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from pricer.surfaces.svi import SviParams


class JumpWings(NamedTuple):
    """What a smile looks like at the money and far away; `v` and `v_min` per year, the others per √(v·ttm)."""

    v: float  # variance at the money, volatility squared
    psi: float  # skew at the money: dσ/dk·√ttm
    p: float  # slope of the left wing (puts) of w, over √w₀, falling in k: positive
    c: float  # slope of the right wing (calls) of w, over √w₀
    v_min: float  # the smallest variance


class NaturalSvi(NamedTuple):
    """Δ, μ, ρ, ω and ζ of the natural form; an SSVI slice is Δ = μ = 0, ω = θ, ζ = φ."""

    delta: float
    mu: float
    rho: float
    omega: float
    zeta: float


def jump_wings(params: SviParams, ttm: float) -> JumpWings:
    """The jump-wings form of a raw slice at `ttm` years.

    A flat smile (b = 0) has psi = p = c = 0; at |rho| = 1 one of p and c is 0 and `v_min` is approached, not reached.
    ValueError where `ttm` or the total variance at the money is not positive, or |rho| > 1.
    """
    a, b, rho, m, sigma = params
    _need(ttm > 0.0, "ttm", ttm, "positive")
    _need(abs(rho) <= 1.0, "rho", rho, "between -1 and 1")
    root = math.hypot(m, sigma)
    w = a + b * (root - rho * m)
    _need(w > 0.0, "total variance at the money", w, "positive")
    unit = math.sqrt(w)
    beta = m / root if root > 0.0 else 0.0
    return JumpWings(
        v=w / ttm,
        psi=0.5 * b * (rho - beta) / unit,
        p=b * (1.0 - rho) / unit,
        c=b * (1.0 + rho) / unit,
        v_min=(a + b * abs(sigma) * _other_leg(rho)) / ttm,
    )


def raw_from_jump_wings(wings: JumpWings, ttm: float) -> SviParams:
    """The raw slice with these jump wings at `ttm` years.

    p = c = 0 gives the flat smile. ValueError names the number that belongs to no smile, and also psi = 0 with wings: a
    minimum at the money leaves sigma open.
    """
    v, psi, p, c, v_min = wings
    _need(ttm > 0.0, "ttm", ttm, "positive")
    _need(v > 0.0, "v", v, "positive")
    _need(p >= 0.0, "p", p, "at least 0")
    _need(c >= 0.0, "c", c, "at least 0")
    _need(v_min <= v, "v_min", v_min, f"at most v = {v!r}")
    w = v * ttm
    unit = math.sqrt(w)
    b = 0.5 * unit * (c + p)
    if b == 0.0:
        _need(psi == 0.0, "psi", psi, "0 where p = c = 0: a flat smile has no skew")
        _need(v_min == v, "v_min", v_min, f"v = {v!r} where p = c = 0")
        return SviParams(w, 0.0, 0.0, 0.0, unit)
    rho = (c - p) / (c + p)
    beta = rho - 2.0 * psi * unit / b
    _need(abs(beta) < 1.0, "psi", psi, f"between -p/2 = {-0.5 * p!r} and c/2 = {0.5 * c!r}")
    # 1 − cos of the angle between (ρ, √(1 − ρ²)) and (β, √(1 − β²)), as half a squared distance: exact where both meet.
    d = 0.5 * ((rho - beta) ** 2 + (_other_leg(rho) - _other_leg(beta)) ** 2)
    _need(d > 0.0, "psi", psi, "other than 0: a minimum at the money does not say how sharp the bend is")
    _need(v_min < v, "v_min", v_min, f"below v = {v!r} where psi is not 0")
    root = (v - v_min) * ttm / (b * d)
    sigma = root * _other_leg(beta)
    return SviParams(v_min * ttm - b * sigma * _other_leg(rho), b, rho, beta * root, sigma)


def natural(params: SviParams) -> NaturalSvi:
    """The natural form of a raw slice; a flat smile has omega = 0. ValueError where |rho| >= 1 or sigma <= 0."""
    a, b, rho, m, sigma = params
    _need(abs(rho) < 1.0, "rho", rho, "strictly between -1 and 1 for the natural form")
    _need(sigma > 0.0, "sigma", sigma, "positive for the natural form")
    leg = _other_leg(rho)
    omega = 2.0 * b * sigma / leg
    return NaturalSvi(a - 0.5 * omega * leg * leg, m + rho * sigma / leg, rho, omega, leg / sigma)


def raw_from_natural(form: NaturalSvi) -> SviParams:
    """The raw slice of a natural form. ValueError where |rho| >= 1 or zeta <= 0: no bend of positive width."""
    delta, mu, rho, omega, zeta = form
    _need(abs(rho) < 1.0, "rho", rho, "strictly between -1 and 1 for the natural form")
    _need(zeta > 0.0, "zeta", zeta, "positive")
    leg = _other_leg(rho)
    return SviParams(delta + 0.5 * omega * leg * leg, 0.5 * omega * zeta, rho, mu - rho / zeta, leg / zeta)


def _other_leg(cosine: float) -> float:
    """√(1 − cosine²)."""
    return math.sqrt((1.0 - cosine) * (1.0 + cosine))


def _need(holds: bool, name: str, found: float, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {wanted}, not {found!r}")
