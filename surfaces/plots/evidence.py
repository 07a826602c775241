"""The three pictures of (no) arbitrage: total variance in order, Durrleman's g above zero, a density without holes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pricer.surfaces.density import quantile
from pricer.surfaces.plots.curves import SmileCurve, curves, listed, nothing, over, standing, title
from pricer.surfaces.plots.look import ALARM, SOFT, strike_ticks
from pricer.surfaces.plots.rendering import Backend, Figure, rendered
from pricer.surfaces.plots.scene import Axis, Band, Line, Mark, Panel, Picture, Points, Rule, Text, spread
from pricer.surfaces.smile import Array
from pricer.surfaces.surface import VolSurface

_NO_SMILE = "this surface has no smile"
_WORD = 0.042  # the height of a line of words, as a share of a panel
_G_TOP = 2.0
_DEVIATIONS = 5.0
_QUANTILES = (0.05, 0.5, 0.95)
_BEYOND = 1.8  # as far as a density is drawn, in distances of its outer quantiles from the forward


def total_variance(
    surface: VolSurface,
    *,
    expiries: Sequence[int] | None = None,
    underlying: str = "",
    now_ns: int | None = None,
    backend: Backend = "matplotlib",
    axes: Any = None,
) -> Figure:
    """w(k) of every expiry over the same k, on a logarithmic axis: without calendar arbitrage no two curves cross.

    A pair that its certificate refuses has a red mark where the gap is smallest.
    """
    return rendered(_total_variance(surface, expiries, underlying, now_ns), backend, axes)


def _total_variance(
    surface: VolSurface, expiries: Sequence[int] | None, underlying: str, now_ns: int | None
) -> Picture:
    head, status = "total variance", standing(surface, now_ns)
    drawn = curves(surface, expiries, now_ns)
    if not drawn:
        return nothing(head, underlying, status, _NO_SMILE)
    # As wide as the middle one of the ranges, on both sides: the longest would press the short ones into a line.
    ranges = np.array([curve.k[[0, -1]] for curve in drawn])
    low, high = np.quantile(ranges[:, 0], 0.25), np.quantile(ranges[:, 1], 0.75)
    grid = np.linspace(low, high, 241)
    marks: list[Mark] = [Rule(0.0, vertical=True, color=SOFT, dash="dotted")]
    ends = []
    wide = [over(curve, grid) for curve in drawn]
    for curve in wide:
        w = np.asarray(curve.smile.total_variance(curve.k))
        marks += curve.lines(curve.k, np.where(w > 0.0, w, np.nan))
        ends.append(float(w[-1]))
        evidence = curve.part.certificate
        if not evidence.calendar and math.isfinite(evidence.gap_at_k):
            at = np.array([evidence.gap_at_k])
            marks.append(Points(at, curve.smile.total_variance(at), ALARM, "cross", 8.0, "calendar order not proved"))
    values = np.concatenate([mark.y for mark in marks if isinstance(mark, Line)])
    limits = (0.85 * float(np.nanmin(values)), 1.15 * float(np.nanmax(values)))
    marks += _end_words(wide, ends, limits, log=True)
    panel = Panel(
        tuple(marks), Axis("log-moneyness k = ln(K/F)", limits=(float(low), float(high))),
        Axis("w = \u03c3\u00b2\u00b7ttm", log=True, limits=limits, ticks=_decades(*limits)),
    )  # fmt: skip
    return Picture(title(head, underlying), status, (panel,), 1, 520, margin=86)


def durrleman_g(
    surface: VolSurface,
    *,
    expiries: Sequence[int] | None = None,
    underlying: str = "",
    now_ns: int | None = None,
    backend: Backend = "matplotlib",
    axes: Any = None,
) -> Figure:
    """g of every expiry over standard deviations, k/√w(0): below zero there is butterfly arbitrage.

    Each curve's own minimum is marked. The axis is five deviations wide on each side, or more where a certificate found
    arbitrage there, and up to 2 high.
    """
    return rendered(_durrleman_g(surface, expiries, underlying, now_ns), backend, axes)


def _durrleman_g(surface: VolSurface, expiries: Sequence[int] | None, underlying: str, now_ns: int | None) -> Picture:
    head, status = "Durrleman's g", standing(surface, now_ns)
    drawn = curves(surface, expiries, now_ns)
    if not drawn:
        return nothing(head, underlying, status, _NO_SMILE)
    marks: list[Mark] = []
    lowest, highest = 0.0, 1.0
    found = [abs(_found_at(curve)) / math.sqrt(float(curve.smile.total_variance(0.0))) for curve in drawn]
    reach = max(_DEVIATIONS, 1.1 * max(found))
    steps = np.linspace(-reach, reach, 401)
    for curve in drawn:
        sd = math.sqrt(float(curve.smile.total_variance(0.0)))
        curve = over(curve, steps * sd)
        g = np.asarray(curve.smile.durrleman_g(curve.k))
        marks += curve.lines(curve.k / sd, g, width=1.5)
        worst = int(np.nanargmin(g))
        if 0 < worst < g.size - 1:  # at an end it is only the smallest that is drawn
            color = ALARM if g[worst] < 0.0 else curve.color
            words = f"{curve.name}: smallest g {g[worst]:.4f} at k {curve.k[worst]:.3f}"
            marks.append(Points(curve.k[[worst]] / sd, g[[worst]], color, "hollow", 4.5, hover=(words,)))
        lowest = min(lowest, float(g[worst]))
        highest = max(highest, float(np.nanmax(g)))
    limits = (min(1.15 * lowest, -0.12), min(_G_TOP, 1.08 * highest))
    edge = np.array([-reach, reach])
    marks.insert(0, Band(edge, np.full(2, limits[0]), np.zeros(2), ALARM, 0.08, "butterfly arbitrage"))
    marks.insert(1, Rule(0.0, color=ALARM, width=1.0))
    marks += listed([(curve.name, curve.color) for curve in drawn], limits)
    evidence = surface.certificate
    if math.isfinite(evidence.min_g):
        status += f" \u00b7 smallest g {evidence.min_g:.4f} at k = {evidence.at_k:.2f}"
    panel = Panel(
        tuple(marks),
        Axis("standard deviations, k/\u221aw(0)", limits=(-reach, reach)),
        Axis("g", limits=limits),
    )
    return Picture(title(head, underlying), status, (panel,), 1, 480, margin=86)


def _found_at(curve: SmileCurve) -> float:
    """The k where a certificate found butterfly arbitrage; 0 where it found none."""
    evidence = curve.part.certificate
    return 0.0 if evidence.butterfly or not math.isfinite(evidence.at_k) else evidence.at_k


def density(
    surface: VolSurface,
    *,
    expiries: Sequence[int] | None = None,
    underlying: str = "",
    now_ns: int | None = None,
    backend: Backend = "matplotlib",
    axes: Any = None,
) -> Figure:
    """The risk-neutral density of the price at each expiry, one above the other, with its 5 %, 50 % and 95 % quantiles.

    It is the density in ln K, K·q(K), each drawn to the same height. Dashed is what the quotes do not reach, red what
    is negative.
    """
    return rendered(_density(surface, expiries, underlying, now_ns), backend, axes)


def _density(surface: VolSurface, expiries: Sequence[int] | None, underlying: str, now_ns: int | None) -> Picture:
    head, status = "risk-neutral density", standing(surface, now_ns)
    drawn = curves(surface, expiries, now_ns)
    if not drawn:
        return nothing(head, underlying, status, _NO_SMILE)
    marks: list[Mark] = []
    rows, edges = [], []
    for row, curve in enumerate(reversed(drawn)):
        prices = np.asarray(quantile(curve.smile, _QUANTILES))
        sd = math.sqrt(float(curve.smile.total_variance(0.0)))
        ends = np.log(prices[[0, -1]] / curve.smile.forward)
        ends = _BEYOND * np.where(np.isfinite(ends), ends, [-1.65 * sd, 1.65 * sd])
        bad = 1.1 * _found_at(curve)
        curve = over(curve, np.linspace(min(ends[0], bad), max(ends[1], bad), 241))
        shape, height = ridge(curve, float(row))
        marks.append(Band(curve.strikes, np.full(shape.size, float(row)), shape, curve.color, 0.22))
        marks += curve.lines(curve.strikes, shape, width=1.4)
        if (shape < row).any():
            marks.append(
                Line(
                    curve.strikes,
                    np.where(shape < row, shape, np.nan),
                    ALARM,
                    "negative: butterfly arbitrage",
                    width=2.4,
                )
            )
        marks += _quantile_marks(curve, prices, float(row), height)
        edges += curve.strikes[[0, -1]].tolist()
        rows.append((float(row), curve.name))
    low, high = min(edges), max(edges)
    panel = Panel(
        tuple(marks),
        Axis("price at expiry", "thousands", log=True, limits=(low, high), ticks=strike_ticks(low, high, 9)),
        Axis("K\u00b7q(K), each to the same height", "words", limits=(-0.15, len(rows) + 0.75), ticks=tuple(rows)),
    )  # fmt: skip
    return Picture(title(head, underlying), status, (panel,), 1, 150 + 46 * len(rows), margin=24)


_RIDGE = 1.55  # rows that a density is high


def ridge(curve: SmileCurve, row: float) -> tuple[Array, float]:
    """K·q(K) on the curve's grid, set upon `row` and scaled to the height of `_RIDGE`; and that scale."""
    q = curve.strikes * np.asarray(curve.smile.density(curve.strikes))
    scale = _RIDGE / float(np.nanmax(q))
    return row + scale * q, scale


def _quantile_marks(curve: SmileCurve, prices: Array, row: float, scale: float) -> list[Mark]:
    known = prices[np.isfinite(prices)]
    if not known.size:
        return []
    tops = row + scale * known * np.asarray(curve.smile.density(known))
    words = tuple(
        f"{curve.name}: {name} quantile {price:,.0f}"
        for name, price in zip(("5 %", "50 %", "95 %"), prices, strict=True)
    )
    x = np.repeat(known, 3)
    y = np.column_stack((np.full(known.size, row), tops, np.full(known.size, np.nan))).reshape(-1)
    return [
        Line(x, y, curve.color, "5 %, median, 95 %", curve.name, 1.0),
        Points(known, np.full(known.size, row), curve.color, "circle", 2.6, hover=words[: known.size]),
    ]


def _end_words(
    drawn: Sequence[SmileCurve], ends: Sequence[float], limits: tuple[float, float], log: bool = False
) -> list[Mark]:
    """The names of curves beside their right ends, apart from each other."""
    heights = spread(np.array(ends), *limits, _WORD, log)
    return [
        Text(curve.name, y=float(y), color=curve.color, place="margin") for curve, y in zip(drawn, heights, strict=True)
    ]


def _decades(low: float, high: float) -> tuple[tuple[float, str], ...]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1.0, 2.0, 5.0) if high < 300.0 * low else (1.0, 3.0)
    values = [step * 10.0**power for power in powers for step in steps]
    return tuple((value, f"{value:.3g}") for value in values if low <= value <= high)
