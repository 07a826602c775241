"""What a run of `benchmarks.surfaces` says: tables of everyone's fits, and the figures with their floors and aims."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np

from benchmarks.figures import Figure, digits
from benchmarks.sets import Floats
from benchmarks.surface_fits import CERTIFIED, FREE
from benchmarks.surface_peers import QUANTLIB, SCIPY, STOCHASTIC_RS
from benchmarks.surface_quality import Quality
from benchmarks.surface_sets import POLLED
from benchmarks.surface_ticks import Ticks

KERNELS, UPDATED = "kernels", "VolSurface.updated"


class SliceTimes(NamedTuple):
    """Seconds of one slice's fits by solver and start, "scipy ..., cold" and so on."""

    ttm: float
    mids: int
    called: dict[str, float]  # a call from Python
    kernels: dict[str, float]  # ours without Python's part
    quantlib_restarts: bool  # from its own result, too


class ChainResult(NamedTuple):
    joined: bool
    expiries: int
    cold_seconds: list[float]  # of each whole certified fit
    uncertified: int
    venue_inside: float
    quality: dict[str, Quality]
    slices: list[SliceTimes]  # those with quotes enough for five parameters


def figures(chains: Mapping[str, ChainResult], ticks: Mapping[str, Ticks]) -> list[Figure]:
    made = [result for name, result in chains.items() if name.startswith("made")]
    return [
        *inside_figures(chains),
        *arbitrage_figures(chains, ticks),
        *slice_figures(made),
        *tick_figures(ticks),
        *cold_figures(made),
        *ratio_figures(chains),
    ]


def inside_figures(chains: Mapping[str, ChainResult]) -> list[Figure]:
    inside = chains[POLLED].quality[CERTIFIED].inside * 100.0 if POLLED in chains else math.nan
    found = [Figure(f"quotes inside bid-ask, certified, {POLLED}", inside, "%", 93.0, 95.0, larger_is_better=True)]
    if POLLED in chains:
        found.append(Figure("  the venue's own mark", chains[POLLED].venue_inside * 100.0, "%"))
    return found


def arbitrage_figures(chains: Mapping[str, ChainResult], ticks: Mapping[str, Ticks]) -> list[Figure]:
    ours = [result.quality[CERTIFIED].audit for result in chains.values()]
    seen = sum(audit.violations for audit in ours) + sum(each.violations for each in ticks.values())
    return [
        Figure("arbitrage in certified fits and ticks, audited", seen, "", 0.0, 0.0),
        Figure("slices without a certificate", sum(result.uncertified for result in chains.values()), "", 0.0, 0.0),
    ]


def slice_figures(made: Iterable[ChainResult]) -> list[Figure]:
    """On the made chains, some forty quotes a slice."""
    slices = [part for result in made for part in result.slices]

    def median(solver: str, start: str) -> float:
        return middle(part.kernels.get(f"{solver}, {start}", math.nan) * 1e6 for part in slices)

    return [
        Figure("slice, free, cold: median slice", median(FREE, "cold"), "us", 15.0, 7.0),
        Figure("slice, free, warm: median slice", median(FREE, "warm"), "us", 1.5, 0.9),
        Figure("  certified, cold", median(CERTIFIED, "cold"), "us"),
        Figure("  certified, warm", median(CERTIFIED, "warm"), "us"),
    ]


def tick_figures(ticks: Mapping[str, Ticks]) -> list[Figure]:
    found = []
    for name, each in ticks.items():
        p50, p99 = percentiles(each.seconds)
        found += [
            Figure(f"tick to slice, {name}, p50", p50, "us", 10.0, 5.0),
            Figure(f"tick to slice, {name}, p99", p99, "us", 50.0, 20.0),
            Figure("  least", float(each.seconds.min(initial=math.inf)) * 1e6, "us"),
            Figure("  p99 of processor time", percentiles(each.of_processor)[1], "us"),
            Figure(f"  refused, of {len(each.seconds)}", each.refused),
        ]
    return found


def percentiles(seconds: Floats) -> tuple[float, float]:
    """p50 and p99 in microseconds."""
    p50, p99 = np.percentile(seconds * 1e6, [50, 99]).tolist() if len(seconds) else (math.nan, math.nan)
    return p50, p99


def cold_figures(made: Iterable[ChainResult]) -> list[Figure]:
    every = [result.cold_seconds for result in made]
    best = middle(min(seconds) * 1e3 for seconds in every)
    return [
        Figure("certified cold start, 12 expiries, best", best, "ms", 100.0, 5.0),
        Figure("  median of its runs", middle(float(np.median(seconds)) * 1e3 for seconds in every), "ms"),
    ]


def ratio_figures(chains: Mapping[str, ChainResult]) -> list[Figure]:
    """How many times the time of our free fit, in the median slice; QuantLib's where its first guess is accepted.

    Then the same of the recorded BTC chain alone, where the others have a harder time, and against our certified fit.
    """
    slices = [part for result in chains.values() for part in result.slices]
    polled = chains[POLLED].slices if POLLED in chains else []
    accepted = [part for part in slices if not part.quantlib_restarts]
    found = [
        Figure(
            "QuantLib from its own result / ours, warm", ratio(accepted, QUANTLIB.name, "warm"), "x", 40.0, 40.0, True
        ),
        Figure("scipy lm, warm / ours, warm", ratio(slices, SCIPY.name, "warm"), "x", 500.0, 500.0, True),
        Figure("stochastic-rs / ours, cold", ratio(slices, STOCHASTIC_RS.name, "cold"), "x", 20.0, 20.0, True),
    ]
    of_each = ((QUANTLIB.name, accepted, "warm"), (SCIPY.name, slices, "warm"), (STOCHASTIC_RS.name, slices, "cold"))
    for name, parts, start in of_each:
        on_polled = ratio([part for part in parts if part in polled], name, start)
        found += [
            Figure(f"  {name}, {start}, {POLLED} alone", on_polled, "x"),
            Figure(f"  {name} / certified, {start}", ratio(parts, name, start, CERTIFIED), "x"),
        ]
    return [*found, Figure("  slices where QuantLib always restarts", len(slices) - len(accepted))]


def ratio(slices: Iterable[SliceTimes], peer: str, start: str, ours: str = FREE) -> float:
    return middle(one_ratio(part, peer, start, ours) for part in slices)


def one_ratio(part: SliceTimes, peer: str, start: str, ours: str = FREE) -> float:
    nothing = math.nan
    return part.called.get(f"{peer}, {start}", nothing) / part.called.get(f"{ours}, {start}", nothing)


def middle(values: Iterable[float]) -> float:
    """The median of what is known; NaN of nothing."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def chain_table(name: str, result: ChainResult) -> list[str]:
    """Everyone's fit of one chain: quality, what the audit found, and the median slice's time."""
    title = f"{name}: {result.expiries} expiries, {len(result.slices)} fitted by all"
    head = f"{title:<44}{'cold us':>9}{'warm us':>9}{'inside':>8}{'rmse':>8}{'failed':>7}{'g < 0':>7}{'cross':>7}"
    lines = [f"{head}{'least g':>10}{'least gap':>11}"]
    for solver, quality in result.quality.items():
        cold, warm = (time_of(result.slices, f"{solver}, {start}") for start in ("cold", "warm"))
        audit = quality.audit
        lines.append(
            f"{solver:<44}{digits(cold):>9}{digits(warm):>9}{quality.inside * 100:>7.1f}%{quality.rmse:>8.3g}"
            f"{quality.failed:>7}{f'{audit.butterfly}/{audit.slices}':>7}{f'{audit.calendar}/{audit.pairs}':>7}"
            f"{audit.smallest_g:>10.2g}{audit.smallest_gap:>11.2g}"
        )
    return lines


def time_of(slices: Iterable[SliceTimes], name: str) -> float:
    return middle(part.called.get(name, math.nan) * 1e6 for part in slices)


def ratio_table(name: str, result: ChainResult) -> list[str]:
    """Slice by slice, how many times our free fit's time the others take, in the same state."""
    columns: list[tuple[str, Callable[[SliceTimes], float]]] = [
        ("free cold us", lambda part: part.called[f"{FREE}, cold"] * 1e6),
        ("warm us", lambda part: part.called[f"{FREE}, warm"] * 1e6),
        ("QuantLib cold", lambda part: one_ratio(part, QUANTLIB.name, "cold")),
        ("warm", lambda part: one_ratio(part, QUANTLIB.name, "warm")),
        ("scipy cold", lambda part: one_ratio(part, SCIPY.name, "cold")),
        ("warm", lambda part: one_ratio(part, SCIPY.name, "warm")),
        ("stochastic-rs cold", lambda part: one_ratio(part, STOCHASTIC_RS.name, "cold")),
    ]
    lines = [f"{name + ', times ours:':<34}" + "".join(f"{title:>{len(title) + 3}}" for title, _ in columns)]
    for part in result.slices:
        cells = "".join(f"{digits(value(part)):>{len(title) + 3}}" for title, value in columns)
        star = "  QuantLib restarts from its own result" if part.quantlib_restarts else ""
        lines.append(f"{f'{part.ttm * 365:.4g} days, {part.mids} mids':<34}{cells}{star}")
    return lines
