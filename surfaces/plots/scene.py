"""What a picture consists of, before any library draws it: panels of lines, bars, points and maps, as arrays.

Every plot is made in these words once, from the surface's own methods. A renderer turns them into a matplotlib or a
plotly figure and computes nothing, so both show the same numbers, and tests compare these with the surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from pricer.surfaces.plots.look import INK, SEQUENTIAL, SOFT

# float64, or datetime64 on an axis of time.
Values: TypeAlias = npt.NDArray[Any]
Dash: TypeAlias = Literal["solid", "dashed", "dotted"]
Symbol: TypeAlias = Literal["circle", "hollow", "bar", "diamond", "cross", "up", "down"]
Format: TypeAlias = Literal["number", "percent", "thousands", "time", "words"]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A polyline; NaN breaks it. `label` is its entry in the legend, one for all that share it; hovering has `name`."""

    x: Values
    y: Values
    color: str = INK
    label: str = ""
    name: str = ""
    width: float = 1.7
    dash: Dash = "solid"
    opacity: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """The area between two curves over the same x."""

    x: Values
    low: Values
    high: Values
    color: str
    opacity: float = 0.15
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """A vertical stroke from `low` to `high` at each x."""

    x: Values
    low: Values
    high: Values
    color: str = SOFT
    label: str = ""
    opacity: float = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Markers of one colour; or, with `shades`, of the colour that each value has between the limits of `scale`."""

    x: Values
    y: Values
    color: str = INK
    symbol: Symbol = "circle"
    size: float = 5.0
    label: str = ""
    hover: tuple[str, ...] = ()
    shades: Values | None = None
    scale: Scale | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """A colour bar: its ramp, limits and words."""

    low: float
    high: float
    label: str
    format: Format = "percent"
    colors: tuple[str, ...] = SEQUENTIAL


@dataclass(frozen=True, slots=True)
class Text:
    """Words in a panel. At "data" by both numbers, at "margin" right of the panel at height y, at "corner" top left."""

    text: str
    x: float = 0.0
    y: float = 0.0
    color: str = SOFT
    place: Literal["data", "margin", "corner", "middle"] = "data"


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line through the whole panel at one value."""

    at: float
    vertical: bool = False
    color: str = SOFT
    dash: Dash = "solid"
    width: float = 0.8
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """A map: z[i, j] fills the cell between edges y[i], y[i+1] and x[j], x[j+1]; NaN stays empty."""

    x: Values
    y: Values
    z: Values
    scale: Scale


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A surface in space, z[i, j] over (x[j], y[i]), and curves upon it: one row of `ribs` is (y, z over x)."""

    x: Values
    y: Values
    z: Values
    scale: Scale
    ribs: tuple[tuple[float, Values], ...] = ()


Mark: TypeAlias = Line | Band | Bars | Points | Text | Rule | Heat | Sheet


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: its words, scale, limits; `ticks` where they are not left to the library."""

    label: str = ""
    format: Format = "number"
    log: bool = False
    limits: tuple[float, float] | None = None
    ticks: tuple[tuple[float, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes (three with a `Sheet`); above it stands its title, or else the words of y."""

    marks: tuple[Mark, ...]
    x: Axis = Axis()
    y: Axis = Axis()
    z: Axis = Axis()
    title: str = ""
    flag: str = ""
    note: str = ""

    @property
    def remark(self) -> str:
        """What stands at the bottom of the panel, where smiles leave room: flag, a line for each reason, and note."""
        return "\n".join(words for words in (self.flag.replace(", ", "\n"), self.note) if words)

    @property
    def solid(self) -> bool:
        """Does it have three axes?"""
        return any(isinstance(mark, Sheet) for mark in self.marks)

    @property
    def scale(self) -> Scale | None:
        """The colour bar of this panel, where one of its marks has one."""
        scales = (mark.scale for mark in self.marks if isinstance(mark, Heat | Sheet | Points))
        return next((scale for scale in scales if scale is not None), None)


@dataclass(frozen=True, slots=True)
class Picture:
    """Panels in rows of `columns`, under a title; sizes in pixels."""

    title: str
    subtitle: str
    panels: tuple[Panel, ...]
    columns: int = 1
    row_height: int = 420
    margin: int = 24  # right of each panel, for its words and colour bars
    width: int = 900

    LEFT = 74
    BELOW = 46  # under each panel
    ABOVE = 24  # over each panel, for its title
    HEAD = 62
    LEGEND = 26

    @property
    def labels(self) -> tuple[str, ...]:
        """The entries of the legend, in the order they come."""
        found = (getattr(mark, "label", "") for panel in self.panels for mark in panel.marks)
        return tuple(dict.fromkeys(label for label in found if label))

    @property
    def head(self) -> int:
        """The height above the first row."""
        return self.HEAD + (self.LEGEND if self.labels else 0)

    @property
    def height(self) -> int:
        """The height of the whole picture."""
        return self.head + -(-len(self.panels) // self.columns) * self.row_height

    def frame(self, i: int) -> tuple[float, float, float, float]:
        """(left, bottom, width, height) of panel i as shares of the picture."""
        row, column = divmod(i, self.columns)
        cell = (self.width - 4) / self.columns
        left = column * cell + self.LEFT
        top = self.head + row * self.row_height + self.ABOVE
        high = self.row_height - self.ABOVE - self.BELOW
        return (
            left / self.width,
            1.0 - (top + high) / self.height,
            (cell - self.LEFT - self.margin) / self.width,
            high / self.height,
        )


def spread(wanted: Values, low: float, high: float, apart: float, log: bool = False) -> Values:
    """Heights for words that want to stand at `wanted`: in the same order, `apart` (a share of the axis) or more."""
    place = (lambda v: np.log(v)) if log else (lambda v: np.asarray(v, dtype=np.float64))
    bottom, top = float(place(low)), float(place(high))
    heights = np.clip((place(np.asarray(wanted, dtype=np.float64)) - bottom) / (top - bottom), 0.0, 1.0)
    order = np.argsort(heights, kind="stable")
    apart = min(apart, 1.0 / max(len(order), 1))
    kept = heights[order]
    for _ in range(200):  # push neighbours off each other; a few rounds do
        gaps = np.diff(kept)
        short = np.maximum(apart - gaps, 0.0)
        if not short.any():
            break
        kept[1:] += 0.5 * short
        kept[:-1] -= 0.5 * short
        kept = np.clip(kept, 0.0, 1.0)
    result = np.empty_like(kept)
    result[order] = kept
    values = bottom + result * (top - bottom)
    return np.exp(values) if log else values
