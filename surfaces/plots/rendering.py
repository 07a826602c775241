"""From a picture to a figure of the library that was asked for."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pricer.surfaces.plots import interactive, static
from pricer.surfaces.plots.scene import Picture

Backend: TypeAlias = Literal["matplotlib", "plotly"]
Figure: TypeAlias = Any  # matplotlib.figure.Figure or plotly.graph_objects.Figure


def rendered(picture: Picture, backend: Backend, axes: Any = None) -> Figure:
    """The figure; ImportError with the way out where the library is not installed."""
    if backend not in ("matplotlib", "plotly"):
        raise ValueError(f"unknown backend {backend!r}; there are 'matplotlib' and 'plotly'")
    if axes is not None and backend != "matplotlib":
        raise ValueError("axes= are matplotlib's; the backend 'plotly' makes its own figure")
    try:
        return static.drawn(picture, axes) if backend == "matplotlib" else interactive.drawn(picture)
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != backend:
            raise
        raise ImportError(
            f"this plot needs {backend}, which is not installed: pip install volstream[research]", name=backend
        ) from missing
