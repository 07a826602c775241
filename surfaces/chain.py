"""A whole chain at once: all determined expiries fitted together, the others after them.

A slice that its own quotes do not determine follows its neighbours and never holds them, so it comes last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pricer.surfaces.slices import SliceProblem, SurfaceSlice, cold_start, fit_slice, settle_slice
from pricer.surfaces.smile import Array
from pricer.surfaces.ssvi import PowerLaw, ssvi_smile
from pricer.surfaces.svi import SviParams, SviSmile
from pricer.surfaces.svi_free import deviation
from pricer.surfaces.svi_joint import fit_jointly

# The surface that a fit may always start from: smiles of one shape in standard deviations, free of arbitrage.
_PLAIN, _SKEW = PowerLaw(0.8, 0.5), -0.2


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


def _fitted_together(problems: Sequence[SliceProblem]) -> Array:
    """Raw parameters of each slice, all certified where a joint fit reaches that.

    It starts from every slice's own best smile; where that ends in arbitrage, from SSVI, which has none.
    """
    if not problems:
        return np.empty((0, 5))
    ttms = np.array([problem.ttm for problem in problems])
    observations = [problem.selection.observations for problem in problems]
    rows, offsets = np.concatenate(observations), np.cumsum([0, *map(len, observations)])
    params = np.array([cold_start(problem) for problem in problems])
    if fit_jointly(rows, offsets, ttms, params):
        return params
    plain = _plain_surface([deviation(part, ttm) for part, ttm in zip(observations, ttms.tolist(), strict=True)])
    return plain if fit_jointly(rows, offsets, ttms, plain) else params


def _plain_surface(deviations: Sequence[float]) -> Array:
    """Raw parameters of an SSVI surface through these √w at the money, raised where they fall with expiry."""
    thetas = np.maximum.accumulate(np.square(deviations)) * np.linspace(1.0, 1.01, len(deviations))
    return np.array([ssvi_smile(_PLAIN, theta, _SKEW, 1.0, 1.0).svi().params for theta in thetas.tolist()])


def _between(problem: SliceProblem, i: int, smiles: Mapping[int, SviSmile]) -> SliceProblem:
    below = max((j for j in smiles if j < i), default=None)
    above = min((j for j in smiles if j > i), default=None)
    return replace(
        problem,
        below=None if below is None else smiles[below],
        above=None if above is None else smiles[above],
    )
