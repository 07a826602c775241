"""A picture as a plotly figure: the same panels, with the values under the pointer."""

from __future__ import annotations

from collections.abc import Callable
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

_FONT = "Inter, 'Helvetica Neue', Arial, sans-serif"
_DASHES = {"solid": "solid", "dashed": "6px,4px", "dotted": "1px,3px"}
_SYMBOLS = {
    "circle": "circle", "hollow": "circle", "bar": "line-ew", "diamond": "diamond", "cross": "x-thin",
    "up": "triangle-up", "down": "triangle-down",
}  # fmt: skip
_THIN = {"bar", "cross"}
_UNFILLED = {"hollow", "diamond", "up", "down"}
_FORMATS: dict[Format, str] = {"number": ",.4~g", "percent": ",.4~%", "thousands": ",.0f", "time": "", "words": ""}


class Canvas:
    """The figure under way, and which legend entries it has."""

    def __init__(self, picture: Picture) -> None:
        from plotly import graph_objects

        self.go = graph_objects
        self.figure = graph_objects.Figure()
        self.picture = picture
        self._named: set[str] = set()

    def add(self, kind: str, panel: int, *, label: str = "", **of: Any) -> None:
        """A trace in a panel; the first with its label stands in the legend."""
        of |= {"legendgroup": label, "showlegend": bool(label) and label not in self._named}
        if label:
            self._named.add(label)
            of["name"] = label
        if "scene" not in of:
            of |= {"xaxis": f"x{_nth(panel)}", "yaxis": f"y{_nth(panel)}"}
        self.figure.add_trace(getattr(self.go, kind)(**of))


def _nth(panel: int) -> str:
    """Plotly's first axes are called x, y and scene, the second x2, y2 and scene2."""
    return str(panel + 1) if panel else ""


def drawn(picture: Picture) -> Any:
    """The plotly figure of a picture."""
    canvas = Canvas(picture)
    wide, high = picture.width, picture.height
    canvas.figure.update_layout(
        width=wide, height=high, paper_bgcolor=PAPER, plot_bgcolor=PAPER, hovermode="closest",
        margin={"l": 0, "r": 0, "t": 0, "b": 0}, font={"family": _FONT, "size": 12, "color": SOFT},
        legend={
            "orientation": "h", "x": 10 / wide, "y": 1 - 56 / high, "xanchor": "left", "yanchor": "top",
            "font": {"size": 12, "color": INK}, "itemsizing": "constant", "tracegroupgap": 0,
        },
    )  # fmt: skip
    for height, text, size, color in ((22, f"<b>{picture.title}</b>", 18, INK), (44, picture.subtitle, 12, SOFT)):
        canvas.figure.add_annotation(
            text=text, x=14 / wide, y=1 - height / high, xref="paper", yref="paper", showarrow=False, xanchor="left",
            yanchor="middle", font={"size": size, "color": color},
        )  # fmt: skip
    for i, panel in enumerate(picture.panels):
        _draw(canvas, i, panel)
    return canvas.figure


def _draw(canvas: Canvas, i: int, panel: Panel) -> None:
    left, bottom, wide, high = canvas.picture.frame(i)
    x, y = [left, left + wide], [bottom, bottom + high]
    if panel.solid:
        canvas.figure.update_layout({f"scene{_nth(i)}": _space(panel, x, y)})
    else:
        canvas.figure.update_layout({
            f"xaxis{_nth(i)}": _axis(panel.x) | {"domain": x, "anchor": f"y{_nth(i)}"},
            f"yaxis{_nth(i)}": _axis(panel.y) | {"title": None,"domain": y, "anchor": f"x{_nth(i)}"},
        })  # fmt: skip
    head, color = (f"<b>{panel.title}</b>", INK) if panel.title else ("" if panel.solid else panel.y.label, SOFT)
    if head:
        canvas.figure.add_annotation(
            text=head, x=x[0], y=y[1], yshift=4, xref="paper", yref="paper", showarrow=False, xanchor="left",
            yanchor="bottom", font={"size": 12, "color": color},
        )  # fmt: skip
    if panel.remark:
        canvas.figure.add_annotation(
            text=panel.remark.replace("\n", "<br>"), x=x[0], y=y[0], xshift=4, yshift=4, xref="paper", yref="paper",
            showarrow=False, xanchor="left", yanchor="bottom", align="left",
            font={"size": 10, "color": VERMILION if panel.flag else SOFT},
        )  # fmt: skip
    for mark in panel.marks:
        _DRAW[type(mark)](canvas, i, mark)
    scale = panel.scale
    if scale is not None:
        _color_bar(canvas, i, scale, x[1], y)


def _axis(axis: Axis) -> dict[str, Any]:
    made: dict[str, Any] = {
        "title": {"text": axis.label, "font": {"size": 12, "color": SOFT}, "standoff": 8},
        "type": "log" if axis.log else "date" if axis.format == "time" else "linear",
        "gridcolor": GRID, "zeroline": False, "showline": True, "linecolor": FAINT, "ticks": "outside", "ticklen": 3,
        "tickcolor": FAINT, "tickfont": {"size": 11}, "tickformat": _FORMATS[axis.format], "nticks": 7,
    }  # fmt: skip
    if axis.limits is not None:
        made["range"] = np.log10(axis.limits).tolist() if axis.log else list(axis.limits)
    if axis.ticks is not None:
        made |= {"tickvals": [value for value, _ in axis.ticks], "ticktext": [text for _, text in axis.ticks]}
    return made


def _space(panel: Panel, x: list[float], y: list[float]) -> dict[str, Any]:
    def of(axis: Axis) -> dict[str, Any]:
        return _axis(axis) | {"backgroundcolor": PAPER, "title": {"text": axis.label, "font": {"size": 12}}}

    return {
        "domain": {"x": x, "y": y}, "xaxis": of(panel.x), "yaxis": of(panel.y), "zaxis": of(panel.z),
        "aspectmode": "manual", "aspectratio": {"x": 1.25, "y": 1.25, "z": 0.72},
        "camera": {"eye": {"x": 0.95, "y": -1.6, "z": 0.85}, "center": {"x": 0, "y": 0, "z": -0.12}},
    }  # fmt: skip


def _hover(canvas: Canvas, i: int) -> str:
    panel = canvas.picture.panels[i]
    x, y = (f"%{{{name}:{_FORMATS[axis.format]}}}" for name, axis in (("x", panel.x), ("y", panel.y)))
    if panel.x.format == "time":
        x = "%{x}"
    return f"{x}<br>{y}"


def _line(canvas: Canvas, i: int, mark: Line) -> None:
    canvas.add(
        "Scatter", i, x=mark.x, y=mark.y, mode="lines", opacity=mark.opacity, label=mark.label,
        line={"color": mark.color, "width": mark.width, "dash": _DASHES[mark.dash], "simplify": False},
        hovertemplate=f"{mark.name}<br>{_hover(canvas, i)}<extra></extra>",
    )  # fmt: skip


def _band(canvas: Canvas, i: int, mark: Band) -> None:
    edge = {"color": mark.color, "width": 0}
    canvas.add("Scatter", i, x=mark.x, y=mark.low, mode="lines", line=edge, hoverinfo="skip")
    canvas.add(
        "Scatter", i, x=mark.x, y=mark.high, mode="lines", line=edge, fill="tonexty", hoverinfo="skip",
        fillcolor=_translucent(mark.color, mark.opacity), label=mark.label,
    )  # fmt: skip


def _bars(canvas: Canvas, i: int, mark: Bars) -> None:
    x = np.repeat(mark.x, 3)
    y = np.column_stack((mark.low, mark.high, np.full(mark.x.size, np.nan))).reshape(-1)
    canvas.add(
        "Scatter", i, x=x, y=y, mode="lines", line={"color": mark.color, "width": 1.1}, opacity=mark.opacity,
        hoverinfo="skip", label=mark.label,
    )  # fmt: skip


def _points(canvas: Canvas, i: int, mark: Points) -> None:
    marker: dict[str, Any] = {"symbol": _SYMBOLS[mark.symbol], "size": 1.3 * mark.size, "color": mark.color}
    if mark.shades is not None and mark.scale is not None:
        marker |= {
            "color": mark.shades,
            "cmin": mark.scale.low,
            "cmax": mark.scale.high,
            "colorscale": _colors(mark.scale),
        }
    elif mark.symbol in _THIN:
        marker["line"] = {"color": mark.color, "width": 1.4}
    elif mark.symbol in _UNFILLED:
        marker |= {"color": PAPER, "line": {"color": mark.color, "width": 1.2}}
    words = {"text": list(mark.hover), "hovertemplate": "%{text}<extra></extra>"} if mark.hover else {}
    plain = {} if words else {"hovertemplate": f"{mark.label}<br>{_hover(canvas, i)}<extra></extra>"}
    canvas.add("Scatter", i, x=mark.x, y=mark.y, mode="markers", marker=marker, label=mark.label, **words, **plain)


def _text(canvas: Canvas, i: int, mark: Text) -> None:
    x, y = f"x{_nth(i)}", f"y{_nth(i)}"
    log_x, log_y = canvas.picture.panels[i].x.log, canvas.picture.panels[i].y.log
    at_x = float(np.log10(mark.x)) if log_x and mark.place == "data" else mark.x
    at_y = float(np.log10(mark.y)) if log_y and mark.place in ("data", "margin") else mark.y
    places = {
        "data": {"x": at_x, "y": at_y, "xref": x, "yref": y, "xanchor": "center", "yanchor": "bottom"},
        "margin": {"x": 1.012, "y": at_y, "xref": f"{x} domain", "yref": y, "xanchor": "left", "yanchor": "middle"},
        "corner": {
            "x": 0.02,
            "y": 0.98,
            "xref": f"{x} domain",
            "yref": f"{y} domain",
            "xanchor": "left",
            "yanchor": "top",
        },
        "middle": {"x": 0.5, "y": 0.5, "xref": f"{x} domain", "yref": f"{y} domain"},
    }
    canvas.figure.add_annotation(
        text=mark.text, bgcolor=_translucent(PAPER, 0.8) if mark.place == "corner" else None, showarrow=False,
        align="left", font={"size": 11, "color": mark.color},
        **places[mark.place],
    )  # fmt: skip


def _rule(canvas: Canvas, i: int, mark: Rule) -> None:
    x, y = f"x{_nth(i)}", f"y{_nth(i)}"
    place: dict[str, Any] = {"xref": f"{x} domain", "x0": 0, "x1": 1, "yref": y, "y0": mark.at, "y1": mark.at}
    if mark.vertical:
        place = {"xref": x, "x0": mark.at, "x1": mark.at, "yref": f"{y} domain", "y0": 0, "y1": 1}
    canvas.figure.add_shape(
        type="line", layer="below", line={"color": mark.color, "width": 1.2 * mark.width, "dash": _DASHES[mark.dash]},
        **place,
    )  # fmt: skip
    if mark.label:
        canvas.add(
            "Scatter", i, x=[None], y=[None], mode="lines", label=mark.label,
            line={"color": mark.color, "width": 1.2, "dash": _DASHES[mark.dash]},
        )  # fmt: skip


def _heat(canvas: Canvas, i: int, mark: Heat) -> None:
    canvas.add(
        "Heatmap", i, x=mark.x, y=mark.y, z=mark.z, zmin=mark.scale.low, zmax=mark.scale.high, showscale=False,
        colorscale=_colors(mark.scale), hoverongaps=False,
        hovertemplate=f"{_hover(canvas, i)}<br>{mark.scale.label} %{{z:{_FORMATS[mark.scale.format]}}}<extra></extra>",
    )  # fmt: skip
    canvas.figure.add_shape(
        type="rect", layer="below", x0=0, x1=1, y0=0, y1=1, xref=f"x{_nth(i)} domain", yref=f"y{_nth(i)} domain",
        fillcolor=GRID, line={"width": 0},
    )  # fmt: skip


def _sheet(canvas: Canvas, i: int, mark: Sheet) -> None:
    scene = f"scene{_nth(i)}"
    canvas.add(
        "Surface", i, scene=scene, x=mark.x, y=mark.y, z=mark.z, cmin=mark.scale.low, cmax=mark.scale.high,
        colorscale=_colors(mark.scale), showscale=False, opacity=0.96,
        lighting={"ambient": 0.85, "diffuse": 0.35, "specular": 0.05},
        hovertemplate=f"{mark.scale.label} %{{z:{_FORMATS[mark.scale.format]}}}<extra></extra>",
    )  # fmt: skip
    for y, z in mark.ribs:
        canvas.add(
            "Scatter3d", i, scene=scene, x=mark.x, y=np.full(mark.x.size, y), z=z, mode="lines",
            line={"color": INK, "width": 3}, hoverinfo="skip",
        )  # fmt: skip


_DRAW: dict[type[Mark], Callable[[Canvas, int, Any], None]] = {
    Line: _line,
    Band: _band,
    Bars: _bars,
    Points: _points,
    Text: _text,
    Rule: _rule,
    Heat: _heat,
    Sheet: _sheet,
}


def _color_bar(canvas: Canvas, i: int, scale: Scale, right: float, y: list[float]) -> None:
    """On a trace without points, so that it stands where matplotlib's does whatever carries the colours."""
    solid = canvas.picture.panels[i].solid
    nowhere: dict[str, Any] = {"x": [None], "y": [None]} | ({"z": [None], "scene": f"scene{_nth(i)}"} if solid else {})
    canvas.add(
        "Scatter3d" if solid else "Scatter", i, **nowhere, mode="markers", hoverinfo="skip",
        marker={
            "color": [scale.low], "cmin": scale.low, "cmax": scale.high, "colorscale": _colors(scale),
            "showscale": True,
            "colorbar": {
                "x": right + 14 / canvas.picture.width, "xanchor": "left", "y": 0.5 * (y[0] + y[1]), "thickness": 11,
                "len": 0.8 * (y[1] - y[0]), "outlinewidth": 0, "tickformat": _FORMATS[scale.format],
                "tickfont": {"size": 11}, "title": {"text": scale.label, "side": "right", "font": {"size": 12}},
                "xpad": 0, "ypad": 0,
            },
        },
    )  # fmt: skip


def _colors(scale: Scale) -> list[list[Any]]:
    return [
        [place, color]
        for place, color in zip(np.linspace(0.0, 1.0, len(scale.colors)).tolist(), scale.colors, strict=True)
    ]


def _translucent(color: str, opacity: float) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
