"""Surfaces beside other packages, and the figures they are held to: `python -m benchmarks.surfaces [--strict]`.

On recorded chains (where their data is present) and on made ones: every slice fitted by this project, QuantLib, scipy
and stochastic-rs, timed by turns in one process on one thread, cold and from the parameters of the tick before; the
share of quotes inside bid and ask, the distance in half-spreads, and the arbitrage that a dense audit finds in
everyone's result. Then a whole chain from a cold start, and some thousand ticks, each timed by itself.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks import surface_figures, surface_fits
from benchmarks.figures import Figure, table
from benchmarks.kernels import machine, stepper, without_nan
from benchmarks.peers import installed, one_thread
from benchmarks.sets import Floats
from benchmarks.surface_figures import ChainResult, SliceTimes
from benchmarks.surface_fits import CERTIFIED, FREE, Case
from benchmarks.surface_peers import NO_FIT, PEERS, QUANTLIB, Call, SliceSolver, quantlib_restarts
from benchmarks.surface_quality import quality, share_inside
from benchmarks.surface_sets import Chain, data_root, made_chain, recorded_chains
from benchmarks.surface_ticks import Ticks, kernel_ticks, neighbours, python_ticks, random_ticks
from benchmarks.timing import best_by_turns
from pricer.surfaces import VolSurface
from pricer.surfaces.quotes import HIGH, LOW, WIDTH

# Runs of a fast call within one of its turns, so that what is timed is long against the clock and the scheduler.
_TURNS_OF_OURS = 20

# Seconds: a call that takes longer is timed once, or QuantLib's fifty guesses would be most of the run.
_SLOW = 0.02


class Results(NamedTuple):
    machine: str
    packages: dict[str, str | None]  # versions; None where not installed
    settings: dict[str, object]
    missing: list[str]  # recorded data that is not there
    chains: dict[str, ChainResult]
    ticks: dict[str, Ticks]
    figures: list[Figure]


def main() -> None:
    arguments = parse(sys.argv[1:])
    one_thread()
    # On stderr, so that the tables alone can be kept.
    with Progress(console=Console(stderr=True), transient=True) as progress:
        results = run(arguments, progress)
    print("\n".join(report(results)))
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(results), indent=1) + "\n", encoding="utf-8")
    missed = [figure.name for figure in results.figures if figure.mark == "MISSED"]
    if arguments.strict and missed:
        raise SystemExit(1)


def parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.surfaces", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of the first made chain and of the ticks (default 1)")
    parser.add_argument("--made", type=int, default=2, help="made chains, with seeds one after another (2)")
    parser.add_argument("--ticks", type=int, default=3000, help="on the first made chain, timed one by one (3000)")
    parser.add_argument("--rounds", type=int, default=7, help="times that each call runs; the best counts (7)")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the recorded data (else $VOLSTREAM_DATA, else beside)"
    )
    parser.add_argument("--peers", metavar="A,B", help="compare with these packages only, by their names on PyPI")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured to FILE")
    parser.add_argument("--strict", action="store_true", help="exit code 1 where a floor is missed")
    parser.add_argument("--quick", action="store_true", help="see that it works: one made chain, few rounds and ticks")
    arguments = parser.parse_args(given)
    known = [solver.package for solver in PEERS]
    arguments.peers = arguments.peers.split(",") if arguments.peers else known
    if unknown := set(arguments.peers) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    if arguments.quick:
        arguments.made, arguments.rounds, arguments.ticks = 1, 1, 20
    return arguments


def run(arguments: argparse.Namespace, progress: Progress) -> Results:
    chains, missing = recorded_chains(data_root(arguments.data))
    if arguments.quick:
        chains = [chain for chain in chains if not chain.joined]
    chains += [made_chain(arguments.seed + i) for i in range(arguments.made)]
    peers = [peer for peer in PEERS if peer.package in arguments.peers and installed(peer.package)]
    measured = {}
    for chain in chains:
        done = stepper(progress, chain.name, len(chain.slices))
        measured[chain.name] = measure(chain, peers, arguments.rounds, done)
    first = next(chain for chain in chains if chain.name.startswith("made"))
    ticks = tick_times(first, arguments, progress)
    settings = {name: getattr(arguments, name) for name in ("seed", "made", "ticks", "rounds")}
    figures = surface_figures.figures(measured, ticks)
    return Results(machine(), packages(), settings, missing, measured, ticks, figures)


def measure(chain: Chain, peers: Sequence[SliceSolver], rounds: int, done: Callable[[], None]) -> ChainResult:
    """Everyone's fit of every slice that five parameters are determined in, and ours of the whole chain."""
    seconds, fitted = cold_starts(chain, rounds)
    rows = surface_fits.parameters(fitted)
    cases = [surface_fits.case(quotes) for quotes in sorted(chain.slices, key=lambda quotes: quotes.ttm)]
    found: dict[str, list[Floats]] = {name: [] for name in (CERTIFIED, FREE, *(peer.name for peer in peers))}
    times, kept = [], []
    for i, alone in enumerate(cases):
        done()
        if alone is None:
            continue
        below, above = neighbours(rows, i) if chain.joined else (surface_fits.NONE, surface_fits.NONE)
        within = Case(alone.ttm, alone.observations, below, above)
        answers, slice_times = measure_slice(within, rows[i], peers, rounds)
        answers[CERTIFIED] = rows[i]
        for name, params in answers.items():
            found[name].append(params)
        times.append(slice_times)
        kept.append(alone.observed)
    qualities = {name: quality(kept, each, chain.joined) for name, each in found.items()}
    uncertified = sum(part.smile is not None and not part.certificate.ok for part in fitted.slices)
    return ChainResult(chain.joined, len(chain.slices), seconds, uncertified, venue_inside(chain), qualities, times)


def cold_starts(chain: Chain, rounds: int) -> tuple[list[float], VolSurface]:
    """Seconds of each whole fit of the chain; of expiries that do not belong together, of each by itself, added up."""
    parts = [chain.slices] if chain.joined else [[quotes] for quotes in chain.slices]
    surfaces = [surface_fits.surface(part) for part in parts]
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        for part in parts:
            surface_fits.surface(part)
        seconds.append(time.perf_counter() - started)
    slices = sorted((part for surface in surfaces for part in surface.slices), key=lambda part: part.ttm)
    return seconds, VolSurface(tuple(slices))


def measure_slice(
    found: Case, last: Floats, peers: Sequence[SliceSolver], rounds: int
) -> tuple[dict[str, Floats], SliceTimes]:
    """Everyone's cold answer, and seconds: cold, and warm from the answer to quotes of which one stood elsewhere."""
    before = with_one_moved(found)
    observed = found.observed
    calls: dict[str, Call] = {
        f"{FREE}, cold": surface_fits.free_cold(found),
        f"{FREE}, warm": surface_fits.free_warm(found, surface_fits.free_cold(before)()),
        f"{CERTIFIED}, cold": surface_fits.certified_cold(found),
    }
    warm_start = surface_fits.certified_warm(before, last)() if is_known(last) else last
    if is_known(warm_start):
        calls[f"{CERTIFIED}, warm"] = surface_fits.certified_warm(found, warm_start)
    for peer in peers:
        calls[f"{peer.name}, cold"] = peer.cold(observed)
        start = NO_FIT if peer.warm is None else peer.cold(before.observed)()
        if peer.warm is not None and is_known(start):
            calls[f"{peer.name}, warm"] = peer.warm(observed, start)
    answers, seconds = timed(calls, rounds)
    restarts = QUANTLIB.name in answers and quantlib_restarts(observed, answers[QUANTLIB.name])
    kernels = surface_fits.kernel_seconds(found, answers[FREE], warm_start, rounds, _TURNS_OF_OURS)
    return answers, SliceTimes(found.ttm, int(observed.two_sided.sum()), seconds, kernels, restarts)


def timed(calls: dict[str, Call], rounds: int) -> tuple[dict[str, Floats], dict[str, float]]:
    """The answer of each cold call, by its solver, and the least seconds of each call; a slow one runs but once."""
    answers, seconds = {}, {}
    for name, call in calls.items():
        if name.startswith(surface_fits.PACKAGE):
            call()  # compiled, or loaded
        started = time.perf_counter()
        answer = call()
        seconds[name] = time.perf_counter() - started
        if name.endswith(", cold"):
            answers[name.removesuffix(", cold")] = answer
    quick = {name: call for name, call in calls.items() if seconds[name] < _SLOW}
    times = {name: _TURNS_OF_OURS if name.startswith(surface_fits.PACKAGE) else 1 for name in quick}
    best = best_by_turns({name: repeated(call, times[name]) for name, call in quick.items()}, rounds)
    return answers, seconds | {name: spent / times[name] for name, spent in best.items()}


def with_one_moved(found: Case) -> Case:
    """The tick before: the middle one of the observations stood half a half-spread higher."""
    observations = found.observations.copy()
    row = observations[len(observations) // 2]
    row[LOW : HIGH + 1] += 0.5 * row[WIDTH]
    return found._replace(observations=observations)


def is_known(params: Floats) -> bool:
    return not np.isnan(params).any()


def repeated(call: Call, times: int) -> Callable[[], None]:
    def calls() -> None:
        for _ in range(times):
            call()

    return calls


def venue_inside(chain: Chain) -> float:
    """The share of quotes that the venue's own marks are inside of; NaN where there are none."""
    if chain.mark_iv is None:
        return math.nan
    marks, bids, asks = (
        np.concatenate(columns)
        for columns in (
            chain.mark_iv,
            [quotes.bid_iv for quotes in chain.slices],
            [quotes.ask_iv for quotes in chain.slices],
        )
    )
    return share_inside(marks, bids, asks)


def tick_times(chain: Chain, arguments: argparse.Namespace, progress: Progress) -> dict[str, Ticks]:
    slices = sorted(chain.slices, key=lambda quotes: quotes.ttm)
    ticks = random_ticks(slices, arguments.ticks, np.random.default_rng([arguments.seed, 5]))
    start = surface_fits.surface(slices)
    return {
        surface_figures.KERNELS: kernel_ticks(start, ticks, stepper(progress, "ticks, kernels", len(ticks))),
        surface_figures.UPDATED: python_ticks(start, ticks, stepper(progress, "ticks, updated", len(ticks))),
    }


def packages() -> dict[str, str | None]:
    names = ["numpy", "numba", "llvmlite", *(peer.package for peer in PEERS)]
    return {"Python": platform.python_version()} | {name: installed(name) for name in names}


def report(results: Results) -> list[str]:
    here = {name: version for name, version in results.packages.items() if version}
    absent = [name for name, version in results.packages.items() if not version]
    lines = [results.machine, "  ".join(f"{name} {version}" for name, version in here.items())]
    if absent:
        lines.append(f"not installed, so not compared: {', '.join(absent)} (extra: bench)")
    lines += [*results.missing, "  ".join(f"{name} {value}" for name, value in results.settings.items())]
    for name, result in results.chains.items():
        lines += ["", *surface_figures.chain_table(name, result)]
    for name, result in results.chains.items():
        lines += ["", *surface_figures.ratio_table(name, result)]
    return [*lines, "", *table(results.figures)]


def as_json(results: Results) -> dict[str, object]:
    """The same as plain values; a number that is none (NaN) is null."""
    chains = {
        name: result._asdict()
        | {
            "quality": {
                solver: each._asdict() | {"audit": each.audit._asdict()} for solver, each in result.quality.items()
            },
            "slices": [each._asdict() for each in result.slices],
        }
        for name, result in results.chains.items()
    }
    arrays = ("seconds", "of_processor")
    ticks = {
        name: each._asdict() | {field: getattr(each, field).tolist() for field in arrays}
        for name, each in results.ticks.items()
    }
    figures = [figure._asdict() | {"mark": figure.mark} for figure in results.figures]
    values = {"chains": chains, "ticks": ticks, "figures": figures}
    return results._asdict() | {name: without_nan(value) for name, value in values.items()}


if __name__ == "__main__":
    main()
