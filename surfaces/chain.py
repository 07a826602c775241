"""A whole chain at once: all expiries fitted together under their common constraints.

Neighbours lock each other's wings: fitted one after another, the first one's arbitrary wing would bend all later ones
away from their quotes. So every slice starts from its own best smile, and sweeps up and down the chain tighten the
barrier for all of them together; both sides of a crossing give way while it is still soft.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pricer.surfaces.slices import DETERMINED, NONE, SliceProblem, SurfaceSlice, cold_start, fit_slice, settle_slice
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import SviParams, SviSmile
from pricer.surfaces.svi_hard import fit_hard

_LEVELS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # ε of the barrier
_SWEEPS = 3  # at each level


def fit_chain(problems: Sequence[SliceProblem]) -> list[SurfaceSlice]:
    """The slices of all problems (in order of ttm), each certified between its neighbours or refused."""
    determined = [i for i, problem in enumerate(problems) if problem.selection.mids >= DETERMINED]
    rows = dict(zip(determined, _fitted_together([problems[i] for i in determined]), strict=True))
    smiles = {i: SviSmile(problems[i].ttm, problems[i].forward, SviParams(*rows[i].tolist())) for i in determined}
    slices: dict[int, SurfaceSlice] = {}
    for i in determined:
        slices[i] = settle_slice(_between(problems[i], i, smiles), rows[i])
        smile = slices[i].smile
        if smile is None:
            del smiles[i]  # a refused slice constrains nobody
        else:
            smiles[i] = smile
    for i, problem in enumerate(problems):
        if i not in slices:
            slices[i] = fit_slice(_between(problem, i, smiles))
    return [slices[i] for i in range(len(problems))]


def _fitted_together(problems: Sequence[SliceProblem]) -> list[Array]:
    """Raw parameters of each slice after the sweeps; not certified."""
    rows = [cold_start(problem) for problem in problems]
    count = len(rows)
    for epsilon in _LEVELS:
        for sweep in range(_SWEEPS):
            for i in range(count) if sweep % 2 == 0 else range(count - 1, -1, -1):
                chosen = problems[i].selection
                below = rows[i - 1] if i > 0 else NONE
                above = rows[i + 1] if i + 1 < count else NONE
                fit_hard(chosen.observations, problems[i].ttm, below, above, NONE, 0, NONE, NONE, epsilon, rows[i])
    return rows


def _between(problem: SliceProblem, i: int, smiles: Mapping[int, SviSmile]) -> SliceProblem:
    below = max((j for j in smiles if j < i), default=None)
    above = min((j for j in smiles if j > i), default=None)
    return replace(
        problem,
        below=None if below is None else smiles[below],
        above=None if above is None else smiles[above],
    )
