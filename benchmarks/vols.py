"""Implied volatilities of all packages on one set: time, error and how many are wrong, in one table."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import BASE, Quotes, Solver
from benchmarks.reference import Reference
from benchmarks.sets import Floats
from benchmarks.timing import best_by_turns

# An error this large has lost more than six of the digits that the premium holds: no round-off, another algorithm.
WRONG_U = 1e6


class Accuracy(NamedTuple):
    median_u: float
    max_u: float
    wrong: int  # finite, and over WRONG_U
    nan: int  # no answer: NaN, infinite, zero or negative, or an exception

    @property
    def lost(self) -> int:
        return self.wrong + self.nan


class Measured(NamedTuple):
    seconds: float  # an option
    accuracy: Accuracy


def quotes_of(reference: Reference) -> Quotes:
    options = reference.options
    return Quotes(reference.premium, options.forward, options.strike, options.ttm, options.cp, reference.sigma)


def accuracy(reference: Reference, found: Floats) -> Accuracy:
    answered = np.isfinite(found) & (found > 0.0)
    u = reference.error_in_u(np.where(answered, found, np.nan))[answered]
    median, most = (float(np.median(u)), float(u.max())) if len(u) else (math.nan, math.nan)
    return Accuracy(median, most, int((u > WRONG_U).sum()), int((~answered).sum()))


def measure(
    reference: Reference, solvers: list[Solver], rounds: int, after_round: Callable[[], None]
) -> dict[str, Measured]:
    """Every solver on the set once for its error, and by turns on rows of it for its time."""
    quotes = quotes_of(reference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # several warn of each option without an answer; those are counted here
        errors = {solver.name: accuracy(reference, solver.prepare(quotes)()) for solver in solvers}
        rows = {solver.name: shuffled(len(quotes.cp), solver.timed_rows) for solver in solvers}
        calls = {solver.name: solver.prepare(quotes.take(rows[solver.name])) for solver in solvers}
        best = best_by_turns(calls, rounds, after_round)
    return {name: Measured(best[name] / len(rows[name]), errors[name]) for name in best}


def shuffled(count: int, wanted: int) -> NDArray[np.intp]:
    """So many of `count` row numbers in no order, each as often as any other.

    In a short cycle the processor would learn which way each branch goes.
    """
    rng = np.random.default_rng(0)
    return np.concatenate([rng.permutation(count) for _ in range(-(-wanted // count))])[:wanted]


def ratio(measured: dict[str, Measured], name: str) -> float:
    """Time over the base peer's; NaN without it."""
    return measured[name].seconds / measured[BASE].seconds if BASE in measured else math.nan


def table(title: str, measured: dict[str, Measured]) -> list[str]:
    lines = [f"{title:<30}{'ns/option':>10}{'/' + BASE:>8}{'median u':>10}{'max u':>9}{'wrong':>7}{'NaN':>6}"]
    for name, (seconds, errors) in measured.items():
        lines.append(
            f"{name:<30}{seconds * 1e9:>10,.1f}{short(ratio(measured, name)):>8}{short(errors.median_u):>10}"
            f"{short(errors.max_u):>9}{errors.wrong:>7,}{errors.nan:>6,}"
        )
    return lines


def short(value: float) -> str:
    """With two decimals under 10, whole up to 99,999; a dash for NaN."""
    if math.isnan(value):
        return "-"
    if value < 10.0:
        return f"{value:.2f}"
    return f"{value:,.0f}" if value < 1e5 else f"{value:.0e}"
