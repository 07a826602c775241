"""A whole chain at once: all expiries fitted together under their common constraints.

Neighbours lock each other's wings: fitted one after another, the first one's arbitrary wing would bend all later ones
away from their quotes. So every slice starts from its own best smile, and sweeps up and down the chain tighten the
barrier for all of them together; both sides of a crossing give way while it is still soft.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pricer.surfaces.arbitrage import certify_svi
from pricer.surfaces.slices import NONE, SliceProblem, SurfaceSlice, cold_start, fit_slice, settle_slice
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import SviParams, SviSmile
from pricer.surfaces.svi_hard import fit_hard

# ε of the barrier, and how many sweeps at it. The soft levels are where neighbours settle who gives way.
_LEVELS = ((1e-1, 3), (1e-2, 12), (5e-3, 12), (2e-3, 12), (1e-3, 12), (5e-4, 12), (1e-4, 6))
_MORE_SWEEPS = 24  # at the last level, until every slice is certified


def fit_chain(problems: Sequence[SliceProblem]) -> list[SurfaceSlice]:
    """The slices of all problems (in order of ttm), each certified between its neighbours or refused."""
    determined = [i for i, problem in enumerate(problems) if problem.determined]
    rows = dict(zip(determined, _fitted_together([problems[i] for i in determined]), strict=True))
    smiles = {i: SviSmile(problems[i].ttm, problems[i].forward, SviParams(*rows[i].tolist())) for i in determined}
    slices: dict[int, SurfaceSlice] = {}
    for i in determined:
        slices[i] = settle_slice(_between(problems[i], i, smiles), rows[i])
        smile = slices[i].svi
        if smile is None:
            del smiles[i]  # a refused slice constrains nobody
        else:
            smiles[i] = smile
    for i, problem in enumerate(problems):
        if i not in slices:
            slices[i] = fit_slice(_between(problem, i, smiles))
            follower = slices[i].svi
            if follower is not None:
                smiles[i] = follower  # for the next longer one that its own quotes do not determine
    return [slices[i] for i in range(len(problems))]


def _fitted_together(problems: Sequence[SliceProblem]) -> list[Array]:
    """Raw parameters of each slice after the sweeps: certified, unless the sweeps came to their end."""
    rows = [cold_start(problem) for problem in problems]
    for epsilon, sweeps in _LEVELS:
        for sweep in range(sweeps):
            _sweep(problems, rows, epsilon, sweep % 2 == 1)
    for sweep in range(_MORE_SWEEPS):
        if all(certify_svi(rows[i], *_neighbours(rows, i), np.empty(9)) for i in range(len(rows))):
            break
        _sweep(problems, rows, epsilon, sweep % 2 == 1)
    return rows


def _sweep(problems: Sequence[SliceProblem], rows: list[Array], epsilon: float, downwards: bool) -> None:
    order = range(len(rows))
    for i in reversed(order) if downwards else order:
        problem = problems[i]
        below, above = _neighbours(rows, i)
        fit_hard(problem.selection.observations, problem.ttm, below, above, NONE, NONE, NONE, epsilon, rows[i])


def _neighbours(rows: Sequence[Array], i: int) -> tuple[Array, Array]:
    return rows[i - 1] if i > 0 else NONE, rows[i + 1] if i + 1 < len(rows) else NONE


def _between(problem: SliceProblem, i: int, smiles: Mapping[int, SviSmile]) -> SliceProblem:
    below = max((j for j in smiles if j < i), default=None)
    above = min((j for j in smiles if j > i), default=None)
    return replace(
        problem,
        below=None if below is None else smiles[below],
        above=None if above is None else smiles[above],
    )
