"""Smiles without arbitrage that move smoothly: raw SVI slices drawn from one SSVI-like surface.

Slice i is w(k) = θ/2·(1 + ρφk + √((φk + ρ)² + 1 − ρ²)), Gatheral and Jacquier (2014), with its own ρ (Hendriks and
Martini 2019). With u = θφ(1 + ρ) and v = θφ(1 − ρ) a surface has neither butterfly nor calendar arbitrage when, in
order of expiry, u and v do not fall, φ does not rise, u and v stay below 4 and uφ and vφ at most 4. Here θ, φ and ρ
are smooth functions of ttm:

- θ = sigma(ttm)²·ttm with d ln θ/d ln ttm between 0.5 and 1.7 for all factor values inside their clips;
- φ = η/√θ falls as θ rises, and u, v ~ √θ·(1 ± ρ) rise since ρ moves by less than 0.25 per unit of ln ttm;
- η ≤ 1.96/√(1 + max|ρ|) keeps uφ and vφ under 4.

So every surface drawn here is free of arbitrage by construction; `tests/simulator/test_smiles.py` measures it on a
dense grid. Moving a factor shifts ln u, ln v or ln φ of all slices together (or with a slow slope in ttm), which
keeps the order.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SECONDS_PER_DAY = 86_400.0


class Factors:
    """Four mean-reverting factors: vol level, near-term vol, skew, curvature; the level falls when spot rises."""

    #                 level  near   skew   curvature
    SPREAD = np.array([0.15, 0.15, 0.05, 0.08])  # stationary standard deviation
    CLIP = np.array([0.45, 0.30, 0.12, 0.20])
    HALF_LIFE_DAYS = np.array([1.0, 0.15, 0.5, 0.5])
    SPOT_CORRELATION = np.array([-0.5, -0.5, 0.3, 0.0])

    def __init__(self) -> None:
        self.values = np.zeros(4)

    def step(self, seconds: float, spot_shock: float, noise: Floats) -> None:
        """Advance by `seconds`; `spot_shock` and the four of `noise` are standard normal draws."""
        decay = 0.5 ** (seconds / _SECONDS_PER_DAY / self.HALF_LIFE_DAYS)
        shock = self.SPOT_CORRELATION * spot_shock + np.sqrt(1.0 - self.SPOT_CORRELATION**2) * noise
        moved = self.values * decay + self.SPREAD * np.sqrt(1.0 - decay**2) * shock
        self.values = np.clip(moved, -self.CLIP, self.CLIP)


def svi_slices(ttm: Floats, factors: Floats) -> Floats:
    """Raw SVI parameters (a, b, rho, m, sigma), shape [slice, 5], for ascending positive `ttm` in years."""
    level, near, skew, curvature = factors
    log_sigma = math.log(0.46) - 0.25 * np.exp(-ttm / 0.10)
    log_sigma += level * (0.5 + 0.5 * np.exp(-ttm / 0.3)) + near * np.exp(-ttm / 0.05)
    theta = np.exp(2.0 * log_sigma) * ttm
    rho = -0.34 + 0.22 * np.exp(-ttm / 0.15) + skew
    eta = min(1.45 * math.exp(curvature), 1.96 / math.sqrt(1.0 + float(np.abs(rho).max())))
    phi = eta / np.sqrt(theta)
    bend = np.sqrt(1.0 - rho**2)
    return np.stack((0.5 * theta * bend**2, 0.5 * theta * phi, rho, -rho / phi, bend / phi), axis=1)


def total_variance(slices: Floats, k: Floats) -> Floats:
    """Raw SVI w(k) = a + b·(ρ(k − m) + √((k − m)² + σ²)), one row of `slices` for each `k`."""
    a, b, rho, m, sigma = slices.T
    shifted = k - m
    result: Floats = a + b * (rho * shifted + np.sqrt(shifted**2 + sigma**2))
    return result
