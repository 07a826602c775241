"""Smiles beside the quotes they were fitted to, and what is left between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pricer.surfaces.black import normal_cdf
from pricer.surfaces.plots.curves import (
    QuotesShown,
    SmileCurve,
    chosen_slices,
    curves,
    flag_of,
    listed,
    matched,
    nothing,
    quotes_shown,
    slice_title,
    standing,
    title,
)
from pricer.surfaces.plots.look import (
    BLUE,
    DIVERGING,
    FAINT,
    GREEN,
    INK,
    PURPLE,
    SOFT,
    VERMILION,
    percent,
    strike_ticks,
)
from pricer.surfaces.plots.rendering import Backend, Figure, rendered
from pricer.surfaces.plots.scene import Axis, Band, Bars, Mark, Panel, Picture, Points, Rule, Scale, Text
from pricer.surfaces.quotes import SliceQuotes
from pricer.surfaces.smile import Array
from pricer.surfaces.surface import VolSurface

# (strikes, mark_iv) of some slices, by index or one for each.
Marks: TypeAlias = (
    Mapping[int, tuple[npt.ArrayLike, npt.ArrayLike]] | Sequence[tuple[npt.ArrayLike, npt.ArrayLike] | None]
)

_COLUMNS = 3
_REACH = 6.0  # half-spreads, up to which a residual has its place
_DELTAS = (0.01, 0.05, 0.10, 0.25)


def smiles(
    surface: VolSurface,
    *,
    quotes: Sequence[SliceQuotes] | None = None,
    marks: Marks | None = None,
    expiries: Sequence[int] | None = None,
    underlying: str = "",
    now_ns: int | None = None,
    backend: Backend = "matplotlib",
    axes: Any = None,
) -> Figure:
    """One panel for each expiry: bid and ask of its quotes, the fit, the venue's mark.

    `expiries` are indices of slices. `quotes` (one `SliceQuotes` for each slice, in any order) adds those that did not
    enter, with their reasons; `marks` the venue's own vols. Every quote stands at the log-moneyness it had at its own
    instant, so its strike is read at the slice's forward. The extrapolated part of a smile is dashed. A note counts the
    one-sided and excluded quotes that lie beyond the panel.
    """
    return rendered(_smiles(surface, quotes, marks, expiries, underlying, now_ns), backend, axes)


def _smiles(
    surface: VolSurface,
    quotes: Sequence[SliceQuotes] | None,
    marks: Marks | None,
    expiries: Sequence[int] | None,
    underlying: str,
    now_ns: int | None,
) -> Picture:
    chosen, given = chosen_slices(surface, expiries), matched(surface, quotes)
    drawn = {curve.index: curve for curve in curves(surface, expiries, now_ns)}
    panels = []
    ticks = 4 if len(chosen) > 2 else 8
    for i in chosen:
        part = surface.slices[i]
        shown = quotes_shown(part, given[i])
        mark = _mark_of(marks, i)
        panels.append(
            _smile_panel(part.forward, shown, drawn.get(i), mark, slice_title(part, now_ns), flag_of(part), ticks)
        )
    if not panels:
        return nothing("smiles", underlying, standing(surface, now_ns), "this surface has no slices")
    columns = min(_COLUMNS, len(panels))
    height = 232 if columns == _COLUMNS else 300 if columns == 2 else 420
    return Picture(
        title("smiles and quotes", underlying), standing(surface, now_ns), tuple(panels), columns, height, margin=14
    )


def _smile_panel(
    forward: float,
    shown: QuotesShown,
    curve: SmileCurve | None,
    mark: tuple[Array, Array] | None,
    head: str,
    flag: str,
    ticks: int,
) -> Panel:
    def at(k: Array) -> Array:
        return np.asarray(forward * np.exp(k))

    marks: list[Mark] = [Rule(forward, vertical=True, color=FAINT, dash="dotted")]
    if curve is not None:
        marks += curve.lines(
            curve.strikes, np.asarray(curve.smile.iv(curve.strikes)), color=INK, width=1.4, label="fit"
        )
    if shown.k.size:
        marks.append(Bars(at(shown.k), shown.low, shown.high, SOFT))
        marks.append(Points(at(shown.k), shown.high, VERMILION, "bar", 4.5, "ask"))
        marks.append(Points(at(shown.k), shown.low, BLUE, "bar", 4.5, "bid"))
    if shown.asks[0].size:
        marks.append(Points(at(shown.asks[0]), shown.asks[1], VERMILION, "down", 3.6, "ask only"))
    if shown.bids[0].size:
        marks.append(Points(at(shown.bids[0]), shown.bids[1], BLUE, "up", 3.6, "bid only"))
    if mark is not None:
        marks.append(Points(*mark, GREEN, "circle", 1.4, "venue's mark"))
    low, high = _heights(shown, curve)
    left, right = _widths(forward, shown, curve)
    outside = 0
    for k, vol in (shown.asks, shown.bids, *((k, vol) for k, vol, _ in shown.excluded.values())):
        outside += int(np.count_nonzero((vol < low) | (vol > high) | (at(k) < left) | (at(k) > right)))
    for reason, (k, vol, hover) in shown.excluded.items():
        marks.append(Points(at(k), vol, PURPLE, "cross", 4.5, f"left out: {reason}", hover))
    if curve is None:
        marks.append(Text("no smile", place="middle"))
    note = f"{outside} beyond the edge" if outside else ""
    x = Axis("", "thousands", log=True, limits=(left, right), ticks=strike_ticks(left, right, ticks))
    return Panel(tuple(marks), x, Axis("", "percent", limits=(low, high)), title=head, flag=flag, note=note)


def _widths(forward: float, shown: QuotesShown, curve: SmileCurve | None) -> tuple[float, float]:
    k = [shown.k, shown.bids[0], shown.asks[0]] if curve is None else [curve.k]
    found = np.concatenate(k)
    if not found.size:
        return 0.8 * forward, 1.25 * forward
    reach = max(0.04 * float(np.ptp(found)), 1e-4)
    return forward * math.exp(float(found.min()) - reach), forward * math.exp(float(found.max()) + reach)


def _heights(shown: QuotesShown, curve: SmileCurve | None) -> tuple[float, float]:
    """The range of vols: all of the fit and the mids; of very wide quotes a part."""
    seen = [0.5 * (shown.low + shown.high)]
    if curve is not None:
        seen.append(np.asarray(curve.smile.iv(curve.strikes)))
    vols = np.concatenate(seen)
    vols = vols[np.isfinite(vols)]
    if not vols.size:
        return 0.0, 1.0
    low, high = float(vols.min()), float(vols.max())
    reach = max(high - low, 0.05 * high, 1e-4)
    if shown.k.size:  # most bars in full
        low = min(low, max(float(np.quantile(shown.low, 0.1)), low - 0.3 * reach))
        high = max(high, min(float(np.quantile(shown.high, 0.9)), high + 0.3 * reach))
    return max(low - 0.08 * reach, 0.0), high + 0.12 * reach


def _mark_of(marks: Marks | None, i: int) -> tuple[Array, Array] | None:
    if marks is None:
        return None
    found = marks.get(i) if isinstance(marks, Mapping) else marks[i] if i < len(marks) else None
    if found is None:
        return None
    strikes, vols = (np.asarray(column, dtype=np.float64).reshape(-1) for column in found)
    if strikes.size != vols.size:
        raise ValueError(f"the marks of slice {i} have {strikes.size} strikes and {vols.size} vols")
    order = np.argsort(strikes, kind="stable")
    return strikes[order], vols[order]


def residuals(
    surface: VolSurface,
    *,
    underlying: str = "",
    now_ns: int | None = None,
    backend: Backend = "matplotlib",
    axes: Any = None,
) -> Figure:
    """How far the fit is from each mid, in half-spreads, by delta and by expiry: up to 1 it is inside bid and ask.

    The axis of deltas is even in standard deviations (d1), with a put's deltas to the left; residuals beyond 6
    half-spreads stand at the edge, and a note counts them.
    """
    return rendered(_residuals(surface, underlying, now_ns), backend, axes)


def _residuals(surface: VolSurface, underlying: str, now_ns: int | None) -> Picture:
    drawn = curves(surface, None, now_ns)
    if not any(curve.part.selection.mids for curve in drawn):
        return nothing("residuals", underlying, standing(surface, now_ns), "no two-sided quotes beside a smile")
    scale = Scale(-2.0, 2.0, "fit less mid, half-spreads", "number", DIVERGING)
    above: list[Mark] = []
    below: list[Mark] = []
    widest, outside = 1.0, 0
    rows: list[tuple[float, str, str]] = []
    for curve in drawn:
        shown = quotes_shown(curve.part, None)
        if not shown.k.size:
            continue
        x, residual, vol = residual_points(curve, shown)
        widest = max(widest, float(np.abs(residual).max()))
        outside += int(np.count_nonzero(np.abs(residual) > _REACH))
        words = tuple(
            f"{curve.name}, strike {strike:,.0f}"
            f"<br>fit {percent(sigma, 2)}, bid {percent(low, 2)}, ask {percent(high, 2)}"
            f"<br>{value:+.2f} half-spreads"
            for strike, sigma, low, high, value in zip(
                curve.smile.forward * np.exp(shown.k), vol, shown.low, shown.high, residual, strict=True
            )
        )
        row = float(len(rows))
        rows.append((row, curve.name, curve.color))
        above.append(Points(x, np.clip(residual, -_REACH, _REACH), curve.color, "circle", 3.6, hover=words))
        below.append(Points(x, np.full(x.size, row), INK, "circle", 5.4, hover=words, shades=residual, scale=scale))
    ends = np.concatenate([mark.x for mark in above if isinstance(mark, Points)])
    span = (float(ends.min()) - 0.15, float(ends.max()) + 0.15)
    top = min(max(1.15 * widest, 1.5), 1.06 * _REACH)
    band = np.array(span)
    inside = Band(band, np.full(2, -1.0), np.full(2, 1.0), GREEN, 0.10, "inside bid and ask")
    above += listed([(name, color) for _, name, color in rows], (-top, top))
    if outside:
        above.append(Text(f"{outside} beyond {_REACH:g} half-spreads", color=PURPLE, place="corner"))
    deltas = Axis("", "number", limits=span, ticks=delta_ticks(*span))
    first = Panel(
        (inside, Rule(0.0), *above), deltas, Axis("", limits=(-top, top)), title="fit less mid, in half-spreads",
    )  # fmt: skip
    second = Panel(
        tuple(below), Axis("delta of the out-of-the-money option", limits=span, ticks=deltas.ticks),
        Axis("", "words", limits=(len(rows) - 0.4, -0.6), ticks=tuple((row, name) for row, name, _ in rows)),
        title="by expiry",
    )  # fmt: skip
    return Picture(
        title("residuals in half-spreads", underlying), standing(surface, now_ns), (first, second), 1, 300, margin=86
    )


def residual_points(curve: SmileCurve, shown: QuotesShown) -> tuple[Array, Array, Array]:
    """(-d1, residual in half-spreads, vol of the fit) at each mid."""
    s = np.sqrt(np.asarray(curve.smile.total_variance(shown.k)))
    vol = s / math.sqrt(curve.smile.ttm)
    return shown.k / s - 0.5 * s, (vol - 0.5 * (shown.low + shown.high)) / shown.width, vol


def delta_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Where -d1 has round deltas: puts on the left, calls on the right."""
    grid = np.linspace(-8.0, 8.0, 3201)
    call = normal_cdf(-grid)
    ticks = [(float(np.interp(-(1.0 - delta), -call, grid)), f"{100 * delta:.0f}P") for delta in _DELTAS]
    ticks.append((0.0, "50"))
    ticks += [(float(np.interp(-delta, -call, grid)), f"{100 * delta:.0f}C") for delta in reversed(_DELTAS)]
    return tuple(tick for tick in ticks if low <= tick[0] <= high)
