"""Volatility smiles and surfaces in log-moneyness k and total variance w."""

from __future__ import annotations

from pricer.surfaces.arbitrage import Certificate, check_butterfly, check_calendar
from pricer.surfaces.deltas import DeltaPoint, delta_of, strike_at_delta
from pricer.surfaces.density import cumulative, quantile
from pricer.surfaces.dynamics import DYNAMICS, Dynamics, IvMoves, SmileGreeks, iv_moves, moved_iv, smile_greeks
from pricer.surfaces.indices import variance_swap
from pricer.surfaces.local_vol import LocalVolStatus
from pricer.surfaces.quotes import Role, Selection, SliceQuotes, select
from pricer.surfaces.shocks import AtmShape, Shock, atm_shape
from pricer.surfaces.slices import FitDiagnostics, SurfaceSlice
from pricer.surfaces.smile import Smile
from pricer.surfaces.smoothing import SurfaceSmoother
from pricer.surfaces.surface import SurfaceDiagnostics, TermStructure, VolSurface
from pricer.surfaces.svi import SviParams, SviSmile, iv_chain
from pricer.surfaces.warm import warmup_calls

# Every parametrisation of one expiry, by its name; the shared smile tests run on each.
SMILES = {"svi": SviSmile}

__all__ = [
    "DYNAMICS",
    "SMILES",
    "AtmShape",
    "Certificate",
    "DeltaPoint",
    "Dynamics",
    "FitDiagnostics",
    "IvMoves",
    "LocalVolStatus",
    "Role",
    "Selection",
    "Shock",
    "SliceQuotes",
    "Smile",
    "SmileGreeks",
    "SurfaceDiagnostics",
    "SurfaceSlice",
    "SurfaceSmoother",
    "SviParams",
    "SviSmile",
    "TermStructure",
    "VolSurface",
    "atm_shape",
    "check_butterfly",
    "check_calendar",
    "cumulative",
    "delta_of",
    "iv_chain",
    "iv_moves",
    "moved_iv",
    "quantile",
    "select",
    "smile_greeks",
    "strike_at_delta",
    "variance_swap",
    "warmup_calls",
]
