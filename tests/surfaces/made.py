"""Hand-made smiles, quotes and chains for the surface tests, and the recorded ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import recorded
from pricer.conventions import NO_REASON, Status
from pricer.surfaces import FitDiagnostics, SliceQuotes, SurfaceSlice, SviParams, SviSmile, VolSurface, select
from pricer.surfaces.slices import NO_CERTIFICATE
from tests.data import data_path

Array = npt.NDArray[np.float64]

# A BTC-like smile at any expiry: ATM vol, and wings in standard deviations, so that time alone keeps calendar order.
ATM = 0.55


def smile(ttm: float, atm: float = ATM, forward: float = 60_000.0) -> SviSmile:
    """An arbitrage-free smile; those of rising ttm (up to a year) do not cross."""
    sd = atm * math.sqrt(ttm)
    b, rho, m, sigma = 0.45 * sd, -0.2, 0.1 * sd, 1.1 * sd
    a = sd * sd - b * (rho * -m + math.hypot(m, sigma))
    return SviSmile(ttm, forward, SviParams(a, b, rho, m, sigma))


def strikes_of(ttm: float, count: int = 25, forward: float = 60_000.0, reach: float = 2.0) -> Array:
    """Even strikes in log-moneyness over `reach` standard deviations on each side."""
    sd = ATM * math.sqrt(ttm)
    return forward * np.exp(np.linspace(-reach * sd, reach * sd, count))


def quotes(source: SviSmile, strikes: Array | None = None, half_spread: float = 0.005, noise: Any = 0.0) -> SliceQuotes:
    """Two-sided quotes around a smile; `noise` shifts bid and ask together."""
    strikes = strikes_of(source.ttm, forward=source.forward) if strikes is None else strikes
    mid = source.iv(strikes) + noise
    return SliceQuotes(source.ttm, source.forward, strikes, mid - half_spread, mid + half_spread)


TTMS = (0.01, 0.03, 0.08, 0.17, 0.25, 0.5, 0.75, 1.0)


def chain(seed: int | None = None, noise: float = 0.002, ttms: tuple[float, ...] = TTMS) -> list[SliceQuotes]:
    """Quotes of one market at several expiries, noisy where a seed is given."""
    random = np.random.default_rng(seed)
    return [quotes(smile(ttm), noise=0.0 if seed is None else random.normal(0.0, noise, 25)) for ttm in ttms]


def flat(sigma: float, ttm: float, forward: float = 100.0) -> SviSmile:
    """The smile of one volatility at all strikes."""
    return SviSmile(ttm, forward, SviParams(sigma * sigma * ttm, 0.0, 0.0, 0.0, 1.0))


def surface_of(*smiles: SviSmile) -> VolSurface:
    """A surface of exactly these smiles, unchecked; quoted over two standard deviations."""
    return VolSurface(tuple(_slice_of(found) for found in smiles))


def _slice_of(source: SviSmile) -> SurfaceSlice:
    selection = select(quotes(source))
    return SurfaceSlice(
        source.ttm, source.forward, source, Status.OK, NO_REASON, NO_CERTIFICATE, FitDiagnostics("fitted"), True,
        *selection.k_range, selection,
    )  # fmt: skip


def audit(surface: VolSurface) -> tuple[float, float]:
    """(smallest g, smallest calendar gap) on 8,001 points of |k| <= 4, over all slices and neighbouring pairs."""
    k = np.linspace(-4.0, 4.0, 8001)
    smiles = [found for found in surface.smiles if found is not None]
    smallest_g = min(float(found.durrleman_g(k).min()) for found in smiles)
    w = np.array([found.total_variance(k) for found in smiles])
    return smallest_g, float(np.diff(w, axis=0).min()) if len(smiles) > 1 else math.inf


def recorded_btc() -> list[SliceQuotes]:
    """The 330 BTC options polled ticker by ticker on 2026-06-27, each with the forward of its own instant."""
    return recorded.btc(data_path(recorded.BTC))[0]


def recorded_eth() -> list[SliceQuotes]:
    """The ETH book summary of 2024-01-08: coin prices, turned into vols by our own kernel."""
    return recorded.eth(data_path(recorded.ETH))


def recorded_spx() -> dict[str, tuple[float, SliceQuotes]]:
    """Four real SPX slices (mid vols; a tenth of a vol point is put on each side) with their published ATM vols."""
    return recorded.spx(data_path(recorded.SPX))
