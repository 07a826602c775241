"""A picture of the error over the whole domain: `python -m benchmarks.error_map`, written to docs/images.

Implied volatilities of out-of-the-money premiums, ours beside LetsBeRational's (lbriv, a Cython port), against exact
references. Across: how many deviations the strike is from the money, |ln(F/K)|/s; upwards: s = sigma·√ttm.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from benchmarks.ours import COLD
from benchmarks.peers import PEERS, Solver, one_thread
from benchmarks.reference import Reference, solve
from benchmarks.sets import Floats, Options
from benchmarks.vols import quotes_of, short

TARGET = Path(__file__).parent.parent / "docs" / "images" / "kernels_error.png"

# Cells, and options in each of them, of which the worst is shown.
WIDTH, HEIGHT, DRAWS = 90, 64, 4

MOST_DEVIATIONS = 36.0
LEAST_S, MOST_S = 1e-4, 8.0
MOST_MONEYNESS = 16.0

LEAST_U, MOST_U = 0.5, 5e3  # of the colour scale: what is under a half cannot be told from round-off


class Grid(NamedTuple):
    options: Options
    cell: NDArray[np.intp]  # of each option, rows upwards in s


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.error_map", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="places the options in their cells (1)")
    parser.add_argument("--out", type=Path, default=TARGET, help="the picture, a PNG")
    arguments = parser.parse_args(sys.argv[1:])
    one_thread()
    lets_be_rational = next(peer for peer in PEERS if peer.package == "lbriv")
    grid = make_grid(arguments.seed)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("exact volatilities", total=len(grid.cell))
        reference = solve(grid.options, partial(progress.update, bar))
    panels = {"volstream": COLD, "LetsBeRational (lbriv)": lets_be_rational}
    draw({title: worst(grid.cell, errors(reference, solver)) for title, solver in panels.items()}, arguments.out)


def make_grid(seed: int) -> Grid:
    """Out-of-the-money options at random places in each cell, so that no pattern of the grid's own is seen."""
    rng = np.random.default_rng(seed)
    up, across = (index.repeat(DRAWS) for index in np.indices((HEIGHT, WIDTH)).reshape(2, -1))
    s = LEAST_S * (MOST_S / LEAST_S) ** ((up + rng.random(up.shape)) / HEIGHT)
    k = rng.choice([-1.0, 1.0], up.shape) * MOST_DEVIATIONS * (across + rng.random(up.shape)) / WIDTH * s
    inside = np.abs(k) < MOST_MONEYNESS
    s, k, cell = s[inside], k[inside], (up * WIDTH + across)[inside]
    forward = np.exp(rng.uniform(0.0, 1.0, k.shape))  # no round number, so that F/K is none, either
    return Grid(Options(forward, forward * np.exp(k), np.ones(k.shape), s, np.sign(k)), cell)


def errors(reference: Reference, solver: Solver) -> Floats:
    """u of each option; infinite where the solver has no answer, NaN where there is nothing to ask."""
    asked = ~np.isnan(reference.sigma)
    u = np.full(asked.shape, np.nan)
    found = solver.prepare(quotes_of(reference.take(asked)))()
    u[asked] = np.where(found > 0.0, reference.take(asked).error_in_u(found), np.inf)
    return u


def worst(cell: NDArray[np.intp], u: Floats) -> Floats:
    """The largest in each cell; NaN where there is none."""
    cells = np.full(WIDTH * HEIGHT, -np.inf)
    np.maximum.at(cells, cell[~np.isnan(u)], u[~np.isnan(u)])
    return np.where(cells < 0.0, np.nan, cells).reshape(HEIGHT, WIDTH)


def draw(panels: dict[str, Floats], path: Path) -> None:
    import matplotlib.pyplot as plt
    from matplotlib.colors import LogNorm

    plt.switch_backend("agg")
    figure, axes = plt.subplots(1, len(panels), figsize=(10.0, 4.4), sharey=True, layout="constrained")
    across = np.linspace(0.0, MOST_DEVIATIONS, WIDTH + 1)
    up = np.geomspace(LEAST_S, MOST_S, HEIGHT + 1)
    for axis, (title, u) in zip(axes, panels.items(), strict=True):
        mesh = axis.pcolormesh(across, up, u, norm=LogNorm(LEAST_U, MOST_U), cmap="viridis", rasterized=True)
        axis.set_facecolor("0.9")
        axis.set_yscale("log")
        axis.set_title(f"{title}: at most {short(float(np.nanmax(u)))} u")
        axis.text(0.97, 0.95, "|ln(F/K)| > 16", transform=axis.transAxes, ha="right", va="top", color="0.4")
        axis.set_xlabel("deviations from the money, |ln(F/K)| / s")
    axes[0].set_ylabel("s = sigma·√ttm")
    bar = figure.colorbar(mesh, ax=axes, extend="both", pad=0.02, format="{x:,.0f}")
    bar.set_label("error in u: 1 is the rounding of a double")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
