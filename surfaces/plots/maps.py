"""The surface over its expiries: at the money and forward, as Dupire's local volatility, and in space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pricer.conventions import Status
from pricer.surfaces.local_vol import LocalVolStatus
from pricer.surfaces.plots.curves import nothing, standing, title
from pricer.surfaces.plots.look import BLUE, INK, PAPER, VERMILION, expiry_name, percent, strike_ticks, ttm_ticks
from pricer.surfaces.plots.rendering import Backend, Figure, rendered
from pricer.surfaces.plots.scene import Axis, Band, Heat, Line, Mark, Panel, Picture, Points, Scale, Sheet, Text
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.smile import Array
from pricer.surfaces.surface import VolSurface

_NO_SMILE = "this surface has no smile"
_CELLS = 96  # of the local-vol map, along each axis


def term_structure(
    surface: VolSurface,
    *,
    underlying: str = "",
    now_ns: int | None = None,
    backend: Backend = "matplotlib",
    axes: Any = None,
) -> Figure:
    """Volatility at the money of every expiry, and the forward volatility between them, over time to maturity.

    A hollow point is an expiry that is not OK. Where total variance falls there is no forward volatility, and a note
    says so.
    """
    return rendered(_term_structure(surface, underlying, now_ns), backend, axes)


def _term_structure(surface: VolSurface, underlying: str, now_ns: int | None) -> Picture:
    head, status = "term structure at the money", standing(surface, now_ns)
    terms = surface.term_structure()
    known = np.array([part.smile is not None for part in surface.slices], dtype=bool)
    if not known.any():
        return nothing(head, underlying, status, _NO_SMILE)
    starts = np.concatenate(([0.7 * terms.ttm[0]], terms.ttm[:-1]))  # from now, which a logarithmic axis has not
    steps_x = np.column_stack((starts, terms.ttm)).reshape(-1)
    steps_y = np.repeat(terms.forward_vol, 2)
    fine = np.array([part.status is Status.OK for part in surface.slices], dtype=bool)
    words = tuple(
        f"{expiry_name(part.ttm, now_ns)}<br>ATM {percent(vol, 2)}, forward {percent(ahead, 2)}"
        + (f"<br>{part.status.name}: {part.reasons.label}" if part.status is not Status.OK else "")
        for part, vol, ahead in zip(surface.slices, terms.atm, terms.forward_vol, strict=True)
    )
    marks: list[Mark] = [
        Line(steps_x, steps_y, VERMILION, "forward vol, from the expiry before", "forward vol", 1.3),
        Line(*_curve(surface, terms.ttm[known]), BLUE, "at the money", "at the money", 1.9),
        _chosen(terms.ttm, terms.atm, words, known & fine, "circle", ""),
    ]
    if (known & ~fine).any():
        marks.append(_chosen(terms.ttm, terms.atm, words, known & ~fine, "hollow", "not OK"))
    missing = np.count_nonzero(np.isnan(terms.forward_vol) & known)
    if missing:
        marks.append(Text(f"no forward vol: total variance falls {missing} times", color=VERMILION, place="corner"))
    limits = (0.7 * float(terms.ttm[0]), 1.25 * float(terms.ttm[-1]))
    panel = Panel(
        tuple(marks), Axis("time to maturity", "words", log=True, limits=limits, ticks=ttm_ticks(*limits, 10)),
        Axis("volatility", "percent"),
    )  # fmt: skip
    return Picture(title(head, underlying), status, (panel,), 1, 440)


def _curve(surface: VolSurface, ttms: Array) -> tuple[Array, Array]:
    """At the money from the first to the last expiry, as the surface interpolates; the expiries among the points."""
    times = np.unique(np.concatenate((np.geomspace(ttms[0], ttms[-1], 181)[1:-1], ttms)))
    return times, np.array([surface.atm(ttm) for ttm in times.tolist()])


def _chosen(x: Array, y: Array, words: Sequence[str], which: Array, symbol: Any, label: str) -> Points:
    rows = np.flatnonzero(which).tolist()
    return Points(x[rows], y[rows], BLUE, symbol, 5.5, label, tuple(words[i] for i in rows))


def local_vol(
    surface: VolSurface,
    *,
    underlying: str = "",
    now_ns: int | None = None,
    backend: Backend = "matplotlib",
    axes: Any = None,
) -> Figure:
    """Dupire's local volatility over time and strike; veiled where the strike lies outside the quotes.

    Grey cells have none, and a note says why (`LocalVolStatus`). Colours end at its 2 and 90 % quantiles in the quotes.
    """
    return rendered(_local_vol(surface, underlying, now_ns), backend, axes)


def _local_vol(surface: VolSurface, underlying: str, now_ns: int | None) -> Picture:
    head, status = "local volatility", standing(surface, now_ns)
    parts = [part for part in surface.slices if part.smile is not None]
    if len(parts) < 2:
        return nothing(head, underlying, status, "a local volatility takes two expiries with a smile")
    times, strikes, middle_t, middle_k = local_vol_cells(parts)
    sigma = np.column_stack([np.asarray(surface.local_vol(middle_k, ttm)) for ttm in middle_t.tolist()])
    codes = np.column_stack([surface.local_vol_status(middle_k, ttm) for ttm in middle_t.tolist()])
    low, high = _quoted_strikes(parts, times)
    middle_low, middle_high = _quoted_strikes(parts, middle_t)
    inside = sigma[(middle_k[:, None] >= middle_low) & (middle_k[:, None] <= middle_high) & np.isfinite(sigma)]
    ends = np.quantile(inside if inside.size else np.array([0.0, 1.0]), (0.02, 0.9))
    scale = Scale(float(ends[0]), float(max(ends[1], ends[0] + 1e-4)), "local volatility")
    limits = (float(strikes[0]), float(strikes[-1]))
    # The veil reaches over the edge: cut there, it would leave the last row of pixels bare.
    below, above = np.full(times.size, 0.99 * limits[0]), np.full(times.size, 1.01 * limits[1])
    marks: list[Mark] = [
        Heat(times, strikes, sigma, scale),
        Band(times, below, low, PAPER, 0.85),
        Band(times, high, above, PAPER, 0.85),
        Line(times, low, INK, "edge of the quotes", "lowest quoted strike", 1.0, "dashed"),
        Line(times, high, INK, "", "highest quoted strike", 1.0, "dashed"),
        Line(times, np.array([surface.forward(ttm) for ttm in times.tolist()]), PAPER, "", "forward", 1.0, "dotted"),
    ]
    if (codes != LocalVolStatus.OK).any():
        counts = {kind.name: int(np.count_nonzero(codes == kind)) for kind in LocalVolStatus if kind}
        marks.append(
            Text(
                "none in " + ", ".join(f"{n} cells: {name}" for name, n in counts.items() if n),
                color=INK,
                place="corner",
            )
        )
    panel = Panel(
        tuple(marks),
        Axis("time to maturity", "words", log=True, limits=(float(times[0]), float(times[-1])),
             ticks=ttm_ticks(float(times[0]), float(times[-1]), 10)),
        Axis("strike", "thousands", log=True, limits=limits, ticks=strike_ticks(*limits, 8)),
    )  # fmt: skip
    return Picture(title(head, underlying), status, (panel,), 1, 500, margin=92)


def local_vol_cells(parts: Sequence[SurfaceSlice]) -> tuple[Array, Array, Array, Array]:
    """Edges and middles of the map's cells: times from the first to the last expiry, strikes as far as the quotes."""
    expiries = [part.ttm for part in parts]  # among the edges: local variance jumps there
    times = np.unique(np.concatenate((np.geomspace(expiries[0], expiries[-1], _CELLS + 1)[1:-1], expiries)))
    low, high = _quoted_strikes(parts, np.array(expiries))
    strikes = np.geomspace(float(np.nanmin(low)), float(np.nanmax(high)), _CELLS + 1)
    return times, strikes, np.sqrt(times[1:] * times[:-1]), np.sqrt(strikes[1:] * strikes[:-1])


def _quoted_strikes(parts: Sequence[SurfaceSlice], ttms: Array) -> tuple[Array, Array]:
    """The lowest and the highest quoted strike, between expiries in proportion; two deviations where none is quoted."""
    ends = []
    for part in parts:
        assert part.smile is not None
        sd = 2.0 * math.sqrt(float(part.smile.total_variance(0.0)))
        quoted = part.k_max > part.k_min
        ends.append((math.log(part.forward) + np.array((part.k_min, part.k_max) if quoted else (-sd, sd))).tolist())
    known = [part.ttm for part in parts]
    low, high = np.array(ends).T
    return np.exp(np.interp(ttms, known, low)), np.exp(np.interp(ttms, known, high))


def surface_3d(
    surface: VolSurface,
    *,
    deviations: float = 2.5,
    underlying: str = "",
    now_ns: int | None = None,
    backend: Backend = "matplotlib",
    axes: Any = None,
) -> Figure:
    """The surface in space over standard deviations, k/√w(0), and time to maturity; a line on it is an expiry.

    `axes` must be matplotlib's three-dimensional ones.
    """
    return rendered(_surface_3d(surface, deviations, underlying, now_ns), backend, axes)


def _surface_3d(surface: VolSurface, deviations: float, underlying: str, now_ns: int | None) -> Picture:
    head, status = "volatility surface", standing(surface, now_ns)
    known = [part.ttm for part in surface.slices if part.smile is not None]
    if len(known) < 2:
        return nothing(head, underlying, status, "a surface in space takes two expiries with a smile")
    x = np.linspace(-deviations, deviations, 61)
    times = np.unique(np.concatenate((np.geomspace(known[0], known[-1], 61)[1:-1], known)))
    z = np.array([iv_by_deviation(surface, x, ttm) for ttm in times.tolist()])
    scale = Scale(float(np.nanmin(z)), float(np.nanmax(z)), "implied volatility")
    ribs = tuple((math.log10(ttm), iv_by_deviation(surface, x, ttm)) for ttm in known)
    ticks = tuple((math.log10(ttm), words) for ttm, words in ttm_ticks(known[0], known[-1], 6))
    panel = Panel(
        (Sheet(x, np.log10(times), z, scale, ribs),), Axis("standard deviations"),
        Axis("time to maturity", "words", ticks=ticks), Axis("", "percent"),
    )  # fmt: skip
    return Picture(title(head, underlying), status, (panel,), 1, 560, margin=92)


def iv_by_deviation(surface: VolSurface, x: Array, ttm: float) -> Array:
    """The volatility at so many standard deviations from the forward."""
    sd = math.sqrt(float(surface.total_variance(0.0, ttm)))
    return np.asarray(surface.iv(surface.forward(ttm) * np.exp(x * sd), ttm))
