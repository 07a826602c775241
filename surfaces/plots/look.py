"""How the pictures look: colours, and the words on their axes. No drawing library is asked.

Expiries take their colours from one ramp of falling lightness (the middle of "plasma", van der Walt and Smith 2015), so
their order also shows in grey and to the colour-blind. Pairs (bid and ask, before and after) are blue and vermilion of
Okabe and Ito (2008), which all common kinds of colour vision tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

INK = "#22262e"
SOFT = "#6b7280"  # words and lines that stand back
FAINT = "#b6bcc6"
GRID = "#e9ebef"
PAPER = "#ffffff"
BLUE = "#0072b2"
VERMILION = "#d55e00"
GREEN = "#009e73"
PURPLE = "#aa4499"
ALARM = "#c1121f"
PAIR = (BLUE, VERMILION)

_BY_EXPIRY = ("#f58b47", "#e4695e", "#cc4778", "#ad2793", "#8405a7", "#5601a4", "#220690")
# "viridis", for what is measured rather than ordered; and blue, white, vermilion for what has a sign.
SEQUENTIAL = ("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725")
DIVERGING = ("#004c84", "#5fa3d0", "#eef0f2", "#eb9a5b", "#a84300")

# Times to maturity with a short name, in days; the first ones are the first to be kept where there is little room.
_SPANS: tuple[tuple[float, str], ...] = (
    (1, "1 d"),
    (7, "1 w"),
    (30, "1 m"),
    (91, "3 m"),
    (365, "1 y"),
    (182, "6 m"),
    (14, "2 w"),
    (0.25, "6 h"),
    (2, "2 d"),
    (61, "2 m"),
    (1 / 24, "1 h"),
    (730, "2 y"),
    (0.5, "12 h"),
    (0.125, "3 h"),
    (1826, "5 y"),
)


def ramp(count: int, colors: Sequence[str] = _BY_EXPIRY) -> list[str]:
    """`count` colours along a ramp, ends included; the middle one where there is one."""
    anchors = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors], dtype=np.float64)
    places = np.linspace(0.0, len(colors) - 1.0, count) if count > 1 else np.array([0.5 * (len(colors) - 1)])
    mixed = np.array([np.interp(places, np.arange(len(colors)), channel) for channel in anchors.T]).T
    return ["#" + "".join(f"{round(value):02x}" for value in row) for row in mixed.tolist()]


def expiry_name(ttm: float, now_ns: int | None = None) -> str:
    """An expiry for people: its date where the instant of the surface is known, else the time that is left."""
    if now_ns is None:
        return span(ttm)
    at = datetime.fromtimestamp(now_ns / 1e9, UTC) + timedelta(days=365.0 * ttm, seconds=30)
    return f"{at.day} {at:%b %y}"


def span(ttm: float) -> str:
    """A time to maturity in words: hours under two days, days after."""
    days = 365.0 * ttm
    return f"{24.0 * days:.1f} h" if days < 2.0 else f"{days:.1f} d" if days < 10.0 else f"{days:,.0f} d"


def instant_name(now_ns: int) -> str:
    """An instant to the second, UTC."""
    return f"{datetime.fromtimestamp(now_ns / 1e9, UTC):%-d %b %Y %H:%M:%S} UTC"


def percent(value: float, digits: int = 1) -> str:
    """0.653 as 65.3 %."""
    return "no value" if math.isnan(value) else f"{100.0 * value:.{digits}f} %"


def ttm_ticks(low: float, high: float, most: int = 8) -> tuple[tuple[float, str], ...]:
    """Where a logarithmic axis of time to maturity (years, between `low` and `high`) has its ticks, and their words."""
    chosen: list[tuple[float, str]] = []
    for years, text in ((days / 365.0, text) for days, text in _SPANS):
        apart = all(abs(math.log(years / other)) > math.log(high / low) / (1.5 * most) for other, _ in chosen)
        if low <= years <= high and apart:
            chosen.append((years, text))
    return tuple(sorted(chosen)) if chosen else ((low, span(low)), (high, span(high)))


def strike_ticks(low: float, high: float, most: int = 5) -> tuple[tuple[float, str], ...]:
    """Up to `most` round strikes on a logarithmic axis, far enough apart for their words."""
    if not 0.0 < low < high < math.inf:
        return ()
    width = math.log(high / low)
    low, high = low * math.exp(0.04 * width), high * math.exp(-0.04 * width)  # a word stays within the panel
    candidates = _even(low, high, most) if high < 3.0 * low else _by_decade(low, high)
    chosen: list[float] = []
    for value in sorted(candidates, key=_roundness):
        if all(abs(math.log(value / other)) > 0.98 * width / most for other in chosen):
            chosen.append(value)
    return tuple((value, f"{value:,.10g}") for value in sorted(chosen))


def _roundness(value: float) -> tuple[int, float]:
    """Rounder numbers first: 100, then 50, then 20 and 30."""
    digits = f"{value:.10e}".partition("e")[0].rstrip("0").rstrip(".")
    return len(digits), ("1", "5", "2").index(digits) if digits in ("1", "5", "2") else 3.0


def _even(low: float, high: float, most: int) -> list[float]:
    unit = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (unit, 2.0 * unit, 2.5 * unit, 5.0 * unit, 10.0 * unit, 20.0 * unit):
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first < most:
            break
    return [i * step for i in range(first, last + 1)]


def _by_decade(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    values = (step * 10.0**decade for decade in decades for step in (1.0, 2.0, 3.0, 5.0, 7.0))
    return [value for value in values if low <= value <= high]
