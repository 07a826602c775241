"""What to call once so that no kernel of this package compiles on the tick path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pricer.surfaces.quotes import SliceQuotes
from pricer.surfaces.surface import VolSurface


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """Named calls that go every way of a fit, and so compile every kernel of the package that the engine uses.

    Run them in order; `pricer.warmup` shows the names as progress, and has compiled the larger parts before, each
    module's own.
    """
    strikes = np.linspace(70.0, 140.0, 15)
    surface: list[VolSurface] = []

    def quotes(ttm: float, sigma: float) -> SliceQuotes:
        mid = sigma + 0.1 * np.log(strikes / 100.0) ** 2
        return SliceQuotes(ttm, 100.0, strikes, mid - 0.01, mid + 0.01)

    def fit() -> None:
        surface[:] = [VolSurface.fit([quotes(0.1, 0.5), quotes(0.3, 0.5)])]

    def update() -> None:
        fitted = surface[0]
        # The second is a jump that its neighbour forbids: every way that a fit can go wrong.
        fitted.updated(0, quotes(0.1, 0.51)).updated(0, quotes(0.1, 2.0))
        fitted.at([0.09, 0.29], [101.0, 101.0])

    return [("surface fit", fit), ("surface update", update)]
