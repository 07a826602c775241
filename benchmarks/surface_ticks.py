"""Many ticks on a fitted surface, each timed by itself: one quote of one slice moves, and its smile is fitted again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks import surface_fits
from benchmarks.audit import smallest_g, smallest_gap
from benchmarks.sets import Floats
from benchmarks.surface_fits import NONE, Case
from benchmarks.surface_sets import shifted
from pricer.surfaces import SliceQuotes, VolSurface

_MOVE = 0.5  # standard deviation of a quote's place around its first one, in half-spreads


class Tick(NamedTuple):
    at: int  # of the slice
    quotes: SliceQuotes


class Ticks(NamedTuple):
    """Seconds of each tick, and what a dense audit says of the smiles that came of them."""

    seconds: Floats
    of_processor: Floats  # without the time in which the machine did something else; its clock adds half a microsecond
    refused: int  # ticks after which the last smile stayed
    violations: int
    smallest_g: float
    smallest_gap: float


def random_ticks(slices: Sequence[SliceQuotes], count: int, random: np.random.Generator) -> list[Tick]:
    """One quote at a time goes to a new place around its first one; the others stay where they are."""
    places = [np.zeros(quotes.strikes.size) for quotes in slices]
    ticks = []
    for _ in range(count):
        index = int(random.integers(len(slices)))
        places[index][random.integers(places[index].size)] = random.normal(0.0, _MOVE)
        ticks.append(Tick(index, shifted(slices[index], places[index])))
    return ticks


def python_ticks(surface: VolSurface, ticks: Sequence[Tick], after: Callable[[], None]) -> Ticks:
    """`VolSurface.updated`, as the engine calls it."""
    clock, published = _Clock(), []
    for index, quotes in ticks:
        with clock:
            surface = surface.updated(index, quotes)
        published.append(surface)
        after()
    refused = sum(not made.slices[tick.at].accepted for made, tick in zip(published, ticks, strict=True))
    worst = _Worst()  # after all of them: an audit between two ticks would empty the processor's caches
    for made, tick in zip(published, ticks, strict=True):
        worst.look(surface_fits.parameters(made), tick.at)
    return Ticks(*clock.columns(), refused, worst.violations, worst.g, worst.gap)


def kernel_ticks(surface: VolSurface, ticks: Sequence[Tick], after: Callable[[], None]) -> Ticks:
    """The kernels alone, from new observations to a certified smile; Python's call of them is in the time."""
    rows = surface_fits.parameters(surface)
    clock, evidence, made = _Clock(), np.empty(9), []
    refused = 0
    for index, quotes in ticks:
        found = surface_fits.case(quotes)
        after()
        if found is None or np.isnan(rows[index]).any():
            continue
        below, above = neighbours(rows, index)
        found = Case(found.ttm, found.observations, below, above)
        params = rows[index].copy()
        with clock:
            certified = surface_fits.tick(found, params, evidence)
        if certified:
            rows[index] = params
            made.append((list(rows), index))
        else:
            refused += 1
    worst = _Worst()
    for then, index in made:
        worst.look(then, index)
    return Ticks(*clock.columns(), refused, worst.violations, worst.g, worst.gap)


def neighbours(rows: Sequence[Floats], index: int) -> tuple[Floats, Floats]:
    """The nearest smiles below and above; empty where there is none."""
    known = [not np.isnan(row).any() for row in rows]
    below = next((rows[i] for i in range(index - 1, -1, -1) if known[i]), NONE)
    above = next((rows[i] for i in range(index + 1, len(rows)) if known[i]), NONE)
    return below, above


class _Clock:
    """Times its blocks by the wall and by the processor; a block of nothing takes some 0.2 us of the first."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.of_processor: list[float] = []

    def __enter__(self) -> None:
        self.processor = time.thread_time()
        self.wall = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self.wall)
        self.of_processor.append(time.thread_time() - self.processor)

    def columns(self) -> tuple[Floats, Floats]:
        return np.array(self.seconds), np.array(self.of_processor)


class _Worst:
    """The worst of the slice that changed and of its two pairs, tick after tick."""

    def __init__(self) -> None:
        self.g = self.gap = math.inf
        self.violations = 0

    def look(self, rows: Sequence[Floats], index: int) -> None:
        below, above = neighbours(rows, index)
        if np.isnan(rows[index]).any():
            return
        g = smallest_g(rows[index]).value
        gaps = [
            smallest_gap(*pair).value for pair in ((below, rows[index]), (rows[index], above)) if all(map(len, pair))
        ]
        self.g, self.gap = min(self.g, g), min([self.gap, *gaps])
        self.violations += (g < 0.0) + sum(gap < 0.0 for gap in gaps)
