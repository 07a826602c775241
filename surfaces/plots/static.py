"""A picture as a matplotlib figure. Nothing of pyplot's global state is read or changed, and nothing is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pricer.surfaces.plots.look import FAINT, GRID, INK, PAPER, SOFT, VERMILION
from pricer.surfaces.plots.scene import (
    Axis,
    Band,
    Bars,
    Format,
    Heat,
    Line,
    Mark,
    Panel,
    Picture,
    Points,
    Rule,
    Scale,
    Sheet,
    Text,
)

DPI = 100
_DASHES: dict[str, Any] = {"solid": "-", "dashed": (0, (4, 2.5)), "dotted": (0, (1, 2))}
_SYMBOLS = {"circle": "o", "hollow": "o", "bar": "_", "diamond": "D", "cross": "x", "up": "^", "down": "v"}
_BACKGROUND = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
_UNFILLED = {"hollow", "diamond", "up", "down"}


def drawn(picture: Picture, axes: Any = None) -> Any:
    """The figure of a picture; with `axes`, one for each panel, drawn into those and their figure given back."""
    if axes is not None:
        return _drawn_into(picture, axes)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(picture.width / DPI, picture.height / DPI), dpi=DPI, facecolor=PAPER)
    left, top = 14 / picture.width, picture.height
    figure.text(left, 1 - 22 / top, picture.title, color=INK, fontsize=13, fontweight="bold", va="center")
    figure.text(left, 1 - 44 / top, picture.subtitle, color=SOFT, fontsize=9, va="center")
    for i, panel in enumerate(picture.panels):
        projection = "3d" if panel.solid else None
        axis = figure.add_axes(picture.frame(i), projection=projection)
        _draw(axis, panel)
        if panel.scale is not None:
            _color_bar(figure, axis, panel.scale, picture.frame(i), picture.width)
    if picture.labels:
        handles = _handles(figure.axes)
        figure.legend(
            list(handles.values()), list(handles), loc="upper left", bbox_to_anchor=(6 / picture.width, 1 - 54 / top),
            ncols=len(handles), frameon=False, fontsize=8.5, labelcolor=INK, handlelength=1.8, columnspacing=1.6,
        )  # fmt: skip
    return figure


def _drawn_into(picture: Picture, axes: Any) -> Any:
    given = list(np.asarray(axes, dtype=object).reshape(-1))
    if len(given) != len(picture.panels):
        raise ValueError(f"this plot has {len(picture.panels)} panels, and axes= has {len(given)}")
    for axis, panel in zip(given, picture.panels, strict=True):
        _draw(axis, panel)
    if picture.labels:
        handles = _handles(given)
        given[0].legend(list(handles.values()), list(handles), frameon=False, fontsize=8)
    return given[0].figure


def _handles(axes: Sequence[Any]) -> dict[str, Any]:
    """One artist for each entry of the legend."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return found


def _draw(axis: Any, panel: Panel) -> None:
    _title(axis, panel)
    if panel.solid:
        _draw_solid(axis, panel)
        return
    axis.set_facecolor(PAPER)
    axis.grid(True, color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=FAINT, linewidth=0.8)
    axis.tick_params(colors=SOFT, labelsize=8, length=3, width=0.8)
    _set_axis(axis.xaxis, axis.set_xscale, axis.set_xlim, axis.set_xlabel, panel.x)
    _set_axis(axis.yaxis, axis.set_yscale, axis.set_ylim, _unnamed, panel.y)
    for order, mark in enumerate(panel.marks):
        _DRAW[type(mark)](axis, mark, 2.0 + 0.01 * order)
    for which, set_limits in ((panel.x, axis.set_xlim), (panel.y, axis.set_ylim)):
        if which.limits is not None:
            set_limits(which.limits)


def _title(axis: Any, panel: Panel) -> None:
    style = {"fontsize": 9, "transform": axis.transAxes, "va": "bottom"}
    add = axis.text2D if hasattr(axis, "text2D") else axis.text
    if panel.title:
        add(0.0, 1.025, panel.title, color=INK, fontweight="bold", ha="left", **style)
    elif panel.y.label and not panel.solid:  # upright and out of the way of the numbers
        add(0.0, 1.025, panel.y.label, color=SOFT, ha="left", **style)
    if panel.remark:
        color = VERMILION if panel.flag else SOFT
        add(
            0.02, 0.03, panel.remark, color=color, fontsize=7.5, transform=axis.transAxes, ha="left", va="bottom",
        )  # fmt: skip


def _set_axis(
    axis: Any, scale: Callable[..., Any], limit: Callable[..., Any], name: Callable[..., Any], to: Axis
) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    if to.log:
        scale("log")
        axis.set_minor_locator(NullLocator())
    if to.limits is not None:
        limit(to.limits)
    name(to.label, color=SOFT, fontsize=8.5)
    if to.ticks is not None:
        words = dict(to.ticks)
        axis.set_major_locator(FixedLocator(list(words)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: words.get(value, "")))
        return
    if to.format == "time":
        import matplotlib.dates as untyped

        dates: Any = untyped
        locator = dates.AutoDateLocator(minticks=3, maxticks=8)
        axis.set_major_locator(locator)
        axis.set_major_formatter(dates.ConciseDateFormatter(locator))
        axis.get_offset_text().set(size=8, color=SOFT)
        return
    if not to.log:
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: words_of(value, to.format)))


def words_of(value: float, kind: Format) -> str:
    """A number on an axis or a colour bar."""
    if kind == "percent":
        return f"{round(100.0 * value, 6):,.4g} %".replace("-", "\u2212")
    return f"{value:,.0f}" if kind == "thousands" else f"{round(value, 12):,.4g}".replace("-", "\u2212")


def _line(axis: Any, mark: Line, order: float) -> None:
    axis.plot(
        mark.x, mark.y, color=mark.color, linewidth=mark.width, linestyle=_DASHES[mark.dash], alpha=mark.opacity,
        label=mark.label or None, zorder=order, solid_capstyle="round", gid=mark.name or None,
    )  # fmt: skip


def _band(axis: Any, mark: Band, order: float) -> None:
    axis.fill_between(
        mark.x,
        mark.low,
        mark.high,
        color=mark.color,
        alpha=mark.opacity,
        linewidth=0,
        zorder=order,
        label=mark.label or None,
    )


def _bars(axis: Any, mark: Bars, order: float) -> None:
    axis.vlines(
        mark.x,
        mark.low,
        mark.high,
        color=mark.color,
        linewidth=1.0,
        alpha=mark.opacity,
        zorder=order,
        label=mark.label or None,
    )


def _points(axis: Any, mark: Points, order: float) -> None:
    style: dict[str, Any] = {"color": mark.color}
    if mark.shades is not None and mark.scale is not None:
        scale = mark.scale
        style = {
            "c": mark.shades,
            "cmap": _color_map(scale),
            "vmin": scale.low,
            "vmax": scale.high,
            "edgecolors": FAINT,
        }
    elif mark.symbol in _UNFILLED:
        style = {"facecolors": PAPER, "edgecolors": mark.color}
    width = 1.2 if mark.symbol in ("cross", "bar") else 1.0
    axis.scatter(
        mark.x, mark.y, s=mark.size**2, marker=_SYMBOLS[mark.symbol], linewidths=width, zorder=order + 1.0,
        label=mark.label or None, **style,
    )  # fmt: skip


def _text(axis: Any, mark: Text, order: float) -> None:
    style: dict[str, Any] = {"color": mark.color, "fontsize": 8, "zorder": order + 2.0}
    if mark.place == "margin":
        axis.text(1.012, mark.y, mark.text, transform=axis.get_yaxis_transform(), va="center", ha="left", **style)
    elif mark.place == "corner":
        axis.text(0.02, 0.97, mark.text, transform=axis.transAxes, va="top", ha="left", bbox=_BACKGROUND, **style)
    elif mark.place == "middle":
        axis.text(0.5, 0.5, mark.text, transform=axis.transAxes, va="center", ha="center", **style)
    else:
        axis.text(mark.x, mark.y, mark.text, va="bottom", ha="center", **style)


def _rule(axis: Any, mark: Rule, order: float) -> None:
    along = axis.axvline if mark.vertical else axis.axhline
    along(
        mark.at,
        color=mark.color,
        linestyle=_DASHES[mark.dash],
        linewidth=mark.width,
        zorder=order - 1.0,
        label=mark.label or None,
    )


def _heat(axis: Any, mark: Heat, order: float) -> None:
    axis.set_facecolor(GRID)
    axis.pcolormesh(
        mark.x, mark.y, np.ma.masked_invalid(mark.z), cmap=_color_map(mark.scale), vmin=mark.scale.low,
        vmax=mark.scale.high, zorder=order - 1.0, rasterized=True,
    )  # fmt: skip


_DRAW: dict[type[Mark], Callable[[Any, Any, float], None]] = {
    Line: _line,
    Band: _band,
    Bars: _bars,
    Points: _points,
    Text: _text,
    Rule: _rule,
    Heat: _heat,
}


def _draw_solid(axis: Any, panel: Panel) -> None:
    for mark in panel.marks:
        if isinstance(mark, Sheet):
            across, along = np.meshgrid(mark.x, mark.y)
            axis.plot_surface(
                across, along, mark.z, cmap=_color_map(mark.scale), vmin=mark.scale.low, vmax=mark.scale.high,
                rcount=mark.y.size, ccount=mark.x.size, linewidth=0, antialiased=False, alpha=1.0,
            )  # fmt: skip
            for y, z in mark.ribs:
                axis.plot(mark.x, np.full(mark.x.size, y), z, color=INK, linewidth=0.9, zorder=10)
    for which, own, name in (
        (panel.x, axis.xaxis, axis.set_xlabel),
        (panel.y, axis.yaxis, axis.set_ylabel),
        (panel.z, axis.zaxis, axis.set_zlabel),
    ):  # fmt: skip
        _set_axis(own, _no_scale, _no_scale, name, which)
        own.set_pane_color(PAPER)
        own.line.set_color(FAINT)
        own._axinfo["grid"].update(color=GRID, linewidth=0.8)
    axis.tick_params(colors=SOFT, labelsize=8)
    axis.view_init(elev=24, azim=-58)
    axis.set_box_aspect((1.25, 1.25, 0.72), zoom=1.22)


def _no_scale(*_: object) -> None:
    """The scales and limits of three axes stay matplotlib's own."""


def _unnamed(*_: object, **__: object) -> None:
    """What the height means stands above the panel."""


def _color_map(scale: Scale) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("volstream", list(scale.colors))


def _color_bar(figure: Any, axis: Any, scale: Scale, frame: tuple[float, float, float, float], width: int) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import FuncFormatter

    left, bottom, wide, high = frame
    box = figure.add_axes((left + wide + 16 / width, bottom + 0.1 * high, 11 / width, 0.8 * high))
    bar = figure.colorbar(ScalarMappable(Normalize(scale.low, scale.high), _color_map(scale)), cax=box)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=SOFT, labelsize=8, length=0)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: words_of(value, scale.format)))
    bar.set_label(scale.label, color=SOFT, fontsize=8.5)
