"""Surfaces beside each other: through time, raw against smoothed, before against after."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pricer.surfaces.deltas import DeltaConvention
from pricer.surfaces.plots.curves import SmileCurve, curves, flag_of, nothing, slice_title, standing, title
from pricer.surfaces.plots.look import BLUE, FAINT, INK, PAIR, SOFT, VERMILION, percent, span, strike_ticks
from pricer.surfaces.plots.rendering import Backend, Figure, rendered
from pricer.surfaces.plots.scene import Axis, Line, Mark, Panel, Picture, Points, Rule, Text, Values
from pricer.surfaces.smile import Array
from pricer.surfaces.surface import Expiry, VolSurface

# Instants (UTC nanoseconds, datetime or datetime64) with their surfaces; or snapshots, which have both.
History: TypeAlias = Iterable[Any]

MONTH = 30.0 / 365.0
_MOST = 6  # panels, where none are chosen
_NO_HISTORY = "no surface in this history"


def instants_and_surfaces(history: History) -> tuple[Values, list[VolSurface | None]]:
    """The instants as datetime64[ns], and the surfaces; of snapshots `computed_ns` and `surface`."""
    instants: list[np.datetime64] = []
    surfaces: list[VolSurface | None] = []
    for item in history:
        at, surface = item if isinstance(item, tuple) else (item.computed_ns, item.surface)
        if isinstance(at, datetime) and at.tzinfo is not None:
            at = at.astimezone(UTC).replace(tzinfo=None)
        instants.append(np.datetime64(int(at) if isinstance(at, int | np.integer) else at, "ns"))
        surfaces.append(surface)
    return np.array(instants, dtype="datetime64[ns]"), surfaces


def skew_history(
    history: History,
    *,
    expiry: Expiry = MONTH,
    deltas: Sequence[float] = (0.25, 0.10),
    convention: DeltaConvention = "forward",
    spot: Sequence[float] | None = None,
    underlying: str = "",
    backend: Backend = "matplotlib",
    axes: Any = None,
) -> Figure:
    """Risk reversal and butterfly of some deltas through time, at a constant maturity (or of a slice, by its index).

    `history` has (instant, surface) pairs or snapshots; instants are UTC nanoseconds, datetime or datetime64. An
    instant without the figure breaks the line. The two spot conventions take `spot`, one for each instant.
    """
    return rendered(_skew_history(history, expiry, deltas, convention, spot, underlying), backend, axes)


def _skew_history(
    history: History,
    expiry: Expiry,
    deltas: Sequence[float],
    convention: DeltaConvention,
    spot: Sequence[float] | None,
    underlying: str,
) -> Picture:
    instants, surfaces = instants_and_surfaces(history)
    head = f"risk reversal and butterfly, {_maturity(expiry)}"
    if not any(surface is not None for surface in surfaces):
        return nothing(head, underlying, "", _NO_HISTORY)
    panels = []
    for what, method in (
        ("risk reversal: call less put", "risk_reversal"),
        ("butterfly: mean of both less ATM", "butterfly"),
    ):
        marks: list[Mark] = [Rule(0.0)] if method == "risk_reversal" else []
        for delta, color in zip(deltas, _colors(len(deltas)), strict=True):
            values = np.array([
                np.nan if surface is None else getattr(surface, method)(
                    delta, expiry, convention=convention, spot=None if spot is None else spot[i])
                for i, surface in enumerate(surfaces)
            ])  # fmt: skip
            name = f"{100 * delta:g} delta"
            marks.append(Line(instants, values, color, name, name, 1.6))
        panels.append(Panel(tuple(marks), Axis("", "time"), Axis("", "percent"), title=what))
    subtitle = f"{_period(instants)} \u00b7 {convention} delta \u00b7 {len(surfaces):,} surfaces"
    return Picture(title(head, underlying), subtitle, tuple(panels), 1, 280)


def raw_and_smoothed(
    raw: VolSurface | History,
    smoothed: VolSurface | History,
    *,
    expiry: Expiry = MONTH,
    delta: float = 0.10,
    underlying: str = "",
    backend: Backend = "matplotlib",
    axes: Any = None,
) -> Figure:
    """What smoothing does: two histories through time, at the money and in both wings; or two surfaces, smile by smile.

    The title of a panel says the jitter of both: the root mean square of what a step changes.
    """
    if isinstance(raw, VolSurface) and isinstance(smoothed, VolSurface):
        picture = _compared(raw, smoothed, ("raw", "smoothed"), None, "raw and smoothed", underlying, None)
    elif isinstance(raw, VolSurface) or isinstance(smoothed, VolSurface):
        raise ValueError("raw and smoothed are two surfaces or two histories, not one of each")
    else:
        picture = _two_histories(raw, smoothed, expiry, delta, underlying)
    return rendered(picture, backend, axes)


def _two_histories(raw: History, smoothed: History, expiry: Expiry, delta: float, underlying: str) -> Picture:
    both = [instants_and_surfaces(raw), instants_and_surfaces(smoothed)]
    head = f"raw and smoothed, {_maturity(expiry)}"
    if not any(surface is not None for _, surfaces in both for surface in surfaces):
        return nothing(head, underlying, "", _NO_HISTORY)
    panels = []
    name = f"{100 * delta:g}-delta"
    for what, signed in (("at the money", 0.0), (f"{name} put", -delta), (f"{name} call", delta)):
        values = [np.array([_vol(surface, expiry, signed) for surface in surfaces]) for _, surfaces in both]
        marks = (
            Line(both[0][0], values[0], "#7fb2d6", "raw", f"{what}, raw", 1.0),
            Line(both[1][0], values[1], VERMILION, "smoothed", f"{what}, smoothed", 1.8),
        )
        steps = " \u2192 ".join(f"{100 * jitter(found):.3f}" for found in values)
        panels.append(
            Panel(marks, Axis("", "time"), Axis("", "percent"), title=f"{what} \u00b7 jitter {steps} vol points a step")
        )
    return Picture(title(head, underlying), _period(both[0][0]), tuple(panels), 1, 230)


def jitter(values: Array) -> float:
    """The root mean square of the steps of a series; NaN where it has none."""
    steps = np.diff(values)
    steps = steps[np.isfinite(steps)]
    return float(np.sqrt(np.mean(steps**2))) if steps.size else float("nan")


def _vol(surface: VolSurface | None, expiry: Expiry, delta: float) -> float:
    if surface is None:
        return float("nan")
    return surface.atm(expiry) if delta == 0.0 else surface.iv_at_delta(delta, expiry, convention="forward")


def before_and_after(
    before: VolSurface,
    after: VolSurface,
    *,
    labels: tuple[str, str] = ("before", "after"),
    expiries: Sequence[int] | None = None,
    underlying: str = "",
    now_ns: int | None = None,
    backend: Backend = "matplotlib",
    axes: Any = None,
) -> Figure:
    """The smiles of two surfaces with the same expiries in one panel each: a shock, an hour, another fit.

    Points are at the two forwards; the corner has what both are at the money. Without `expiries` (indices of slices)
    six of them, from the first to the last. ValueError where the surfaces have different numbers of slices.
    """
    picture = _compared(before, after, labels, expiries, " and ".join(labels), underlying, now_ns)
    return rendered(picture, backend, axes)


def _compared(
    before: VolSurface,
    after: VolSurface,
    labels: tuple[str, str],
    expiries: Sequence[int] | None,
    head: str,
    underlying: str,
    now_ns: int | None,
) -> Picture:
    if len(before.slices) != len(after.slices):
        raise ValueError(f"the surfaces have {len(before.slices)} and {len(after.slices)} slices")
    if expiries is None:
        places = np.linspace(0, len(before.slices) - 1, min(_MOST, len(before.slices)))
        expiries = np.unique(np.rint(places).astype(int)).tolist()
    both = [{curve.index: curve for curve in curves(surface, expiries, now_ns)} for surface in (before, after)]
    panels = []
    for i in expiries:
        found = [drawn.get(i % len(before.slices)) for drawn in both]
        part = after.slices[i]
        panels.append(_pair_panel(found, labels, slice_title(part, now_ns), flag_of(part)))
    subtitle = f"{labels[1]}: {standing(after, now_ns)}"
    if not panels:
        return nothing(head, underlying, subtitle, "these surfaces have no slices")
    columns = min(3, len(panels))
    return Picture(title(head, underlying), subtitle, tuple(panels), columns, 250 if columns > 1 else 420, margin=14)


def _pair_panel(found: Sequence[SmileCurve | None], labels: tuple[str, str], head: str, flag: str) -> Panel:
    marks: list[Mark] = []
    words: list[str] = []
    ends: list[float] = []
    for curve, label, color, width in zip(found, labels, PAIR, (1.4, 1.9), strict=True):
        if curve is None:
            words.append("no smile")
            continue
        forward = np.array([curve.smile.forward])
        at_money = np.asarray(curve.smile.iv(forward))
        marks += [
            Rule(float(forward[0]), vertical=True, color=color, dash="dotted"),
            *curve.lines(
                curve.strikes, np.asarray(curve.smile.iv(curve.strikes)), color=color, width=width, label=label
            ),
            Points(
                forward,
                at_money,
                color,
                "circle",
                4.5,
                hover=(f"{label}: {percent(float(at_money[0]), 2)} at {forward[0]:,.0f}",),
            ),
        ]
        words.append(percent(float(at_money[0])))
        ends += curve.strikes[[0, -1]].tolist()
    if not ends:
        return Panel((Text("no smile", place="middle"),), Axis(ticks=()), Axis(ticks=()), title=head, flag=flag)
    marks.append(Text("ATM " + " \u2192 ".join(words), color=INK, place="corner"))
    low, high = min(ends), max(ends)
    x = Axis("", "thousands", log=True, limits=(low, high), ticks=strike_ticks(low, high, 4))
    tops = np.concatenate([mark.y for mark in marks if isinstance(mark, Line)])
    bottom, top = float(np.nanmin(tops)), float(np.nanmax(tops))
    reach = max(top - bottom, 0.02 * top)
    return Panel(
        tuple(marks), x, Axis("", "percent", limits=(bottom - 0.06 * reach, top + 0.22 * reach)), title=head, flag=flag
    )


def _maturity(expiry: Expiry) -> str:
    return f"slice {expiry}" if isinstance(expiry, int | np.integer) else span(expiry)


def _period(instants: npt.NDArray[Any]) -> str:
    if not instants.size:
        return ""
    first, last = (str(at.astype("datetime64[s]")).replace("T", " ") for at in (instants.min(), instants.max()))
    return f"{first} to {last} UTC"


def _colors(count: int) -> list[str]:
    return [(BLUE, VERMILION, INK, SOFT, FAINT)[i % 5] for i in range(count)]
