"""All that the surface benchmarks call of this project: one file to follow when a kernel's signature changes.

The kernels are called through the same shapes as the other packages' fits (`benchmarks.surface_peers`), and once more
in compiled loops, since a call from Python costs about as much as a warm fit does.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.sets import Floats
from benchmarks.surface_peers import NO_FIT, Call, Observed
from pricer.surfaces import SliceQuotes, VolSurface, select
from pricer.surfaces.arbitrage import certify_svi
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K
from pricer.surfaces.svi_free import fit_free
from pricer.surfaces.svi_hard import EPSILON, fit_certified

PACKAGE = "volstream"
FREE, CERTIFIED = f"{PACKAGE}, free", f"{PACKAGE}, certified"

LEAST_MIDS = 5  # as many as raw SVI has parameters

NONE = np.empty(0)  # no neighbour, no prior
_COLD_EPSILON = 0.1


class Case(NamedTuple):
    """One expiry of a chain, and its neighbours' smiles (empty where there is none)."""

    ttm: float
    observations: Floats  # rows of pricer.surfaces.quotes.Selection
    below: Floats = NONE
    above: Floats = NONE

    @property
    def observed(self) -> Observed:
        columns = (np.ascontiguousarray(self.observations[:, c]) for c in (K, LOW, HIGH, WIDTH, WEIGHT))
        return Observed(self.ttm, *columns)


def case(quotes: SliceQuotes) -> Case | None:
    """None where the quotes do not determine five parameters."""
    selection = select(quotes)
    return Case(quotes.ttm, selection.observations.copy()) if selection.mids >= LEAST_MIDS else None


def surface(slices: Sequence[SliceQuotes]) -> VolSurface:
    return VolSurface.fit(slices)


def parameters(fitted: VolSurface) -> list[Floats]:
    """A row of raw parameters for each slice; NaN where it has no smile."""
    return [NO_FIT if part.svi is None else np.array(part.svi.params) for part in fitted.slices]


def free_cold(found: Case) -> Call:
    def call() -> Floats:
        params = np.empty(5)
        fit_free(found.observations, found.ttm, False, params)
        return params

    return call


def free_warm(found: Case, start: Floats) -> Call:
    def call() -> Floats:
        params = start.copy()
        fit_free(found.observations, found.ttm, True, params)
        return params

    return call


def certified_cold(found: Case) -> Call:
    evidence = np.empty(9)

    def call() -> Floats:
        params = np.empty(5)
        fit_free(found.observations, found.ttm, False, params)
        return params if _certified(found, _COLD_EPSILON, params, evidence) else NO_FIT

    return call


def certified_warm(found: Case, start: Floats) -> Call:
    evidence = np.empty(9)

    def call() -> Floats:
        params = start.copy()
        return params if tick(found, params, evidence) else NO_FIT

    return call


def tick(found: Case, params: Floats, evidence: Floats) -> bool:
    """The engine's step after a quote: `params` (the last smile, and the new one) certified between the neighbours."""
    return _certified(found, EPSILON, params, evidence)


def _certified(found: Case, epsilon: float, params: Floats, evidence: Floats) -> bool:
    certificates, _ = fit_certified(
        found.observations, found.ttm, found.below, found.above, NONE, NONE, epsilon, params, evidence
    )
    return bool(certificates)


def certificate_holds(params: Floats, below: Floats = NONE, above: Floats = NONE) -> bool:
    return bool(certify_svi(params, below, above, np.empty(9)))


@functools.cache
def _loops() -> tuple[Callable[..., object], Callable[..., object]]:
    """Loops that repeat a fit from the same start; compiled when they are first asked for, and not kept on disk."""
    import numba

    @numba.njit
    def free(observations: Floats, ttm: float, warm: bool, start: Floats, params: Floats, times: int) -> None:
        for _ in range(times):
            params[:] = start
            fit_free(observations, ttm, warm, params)

    @numba.njit
    def certified(
        observations: Floats,
        ttm: float,
        below: Floats,
        above: Floats,
        none: Floats,
        epsilon: float,
        start: Floats,
        params: Floats,
        evidence: Floats,
        times: int,
    ) -> None:
        for _ in range(times):
            params[:] = start
            if epsilon > EPSILON:
                fit_free(observations, ttm, False, params)
            fit_certified(observations, ttm, below, above, none, none, epsilon, params, evidence)

    return free, certified


def kernel_seconds(found: Case, start: Floats, last: Floats, rounds: int, times: int) -> dict[str, float]:
    """Seconds of one fit without Python's part: the best of `rounds` loops of `times`.

    Warm fits start from `start` (the free one) and `last` (certified; NaN for none: then it is not timed).
    """
    free, certified = _loops()
    params, evidence = np.empty(5), np.empty(9)
    ttm, observations, below, above = found

    def certify(epsilon: float) -> Callable[[], object]:
        return lambda: certified(observations, ttm, below, above, NONE, epsilon, last, params, evidence, times)

    loops: dict[str, Callable[[], object]] = {
        f"{FREE}, cold": lambda: free(observations, ttm, False, start, params, times),
        f"{FREE}, warm": lambda: free(observations, ttm, True, start, params, times),
        f"{CERTIFIED}, cold": certify(_COLD_EPSILON),
    }
    if not np.isnan(last).any():
        loops[f"{CERTIFIED}, warm"] = certify(EPSILON)
    best = {}
    for name, loop in loops.items():
        loop()
        spans = []
        for _ in range(rounds):
            started = time.perf_counter()
            loop()
            spans.append(time.perf_counter() - started)
        best[name] = min(spans) / times
    return best
