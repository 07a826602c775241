"""Kernels beside other packages, and the figures they are held to: `python -m benchmarks.kernels [--seed 1]`.

Implied volatilities of two sets of options (`benchmarks.sets`) against exact references (`benchmarks.reference`), timed
by turns in one process on one thread; then Greeks, a chain's tick, a single option and the start of a fresh process.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import Progress

from benchmarks import figures, vols
from benchmarks.figures import Figure
from benchmarks.ours import OURS, TIMED_ROWS
from benchmarks.peers import PEERS, installed, one_thread
from benchmarks.reference import reference_set
from benchmarks.sets import SETS
from benchmarks.startup import start_up_seconds
from benchmarks.vols import Measured


class Results(NamedTuple):
    """All that a run gives; `sets` by set and solver."""

    machine: str
    packages: dict[str, str | None]  # versions; None where not installed
    settings: dict[str, int]
    sets: dict[str, dict[str, Measured]]
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


def parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, help="of both sets (default 1)")
    parser.add_argument("--points", type=int, default=4000, help="options a set, each with an exact reference (4000)")
    parser.add_argument("--rounds", type=int, default=101, help="times that each call runs; the best counts (101)")
    parser.add_argument("--peers", metavar="A,B", help="compare with these packages only, by their names on PyPI")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured to FILE")
    parser.add_argument("--quick", action="store_true", help="see that it works: few options, no start-up times")
    arguments = parser.parse_args(given)
    known = [solver.package for solver in PEERS]
    arguments.peers = arguments.peers.split(",") if arguments.peers else known
    if unknown := set(arguments.peers) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(dict.fromkeys(known))}")
    if arguments.quick:
        arguments.points, arguments.rounds = 60, 2
    return arguments


def run(arguments: argparse.Namespace, progress: Progress) -> Results:
    references = {}
    for name, make in SETS.items():
        bar = progress.add_task(f"exact volatilities, {name} set", total=arguments.points)
        show = partial(progress.update, bar)
        processes = 1 if arguments.quick else None
        references[name] = reference_set(make, arguments.seed, arguments.points, show, processes)
    solvers = [*OURS, *(peer for peer in PEERS if peer.package in arguments.peers and installed(peer.package))]
    sets = {}
    for name, reference in references.items():
        done = stepper(progress, f"implied volatilities, {name} set", arguments.rounds)
        sets[name] = vols.measure(reference, solvers, arguments.rounds, done)
    found = figures.vol_figures(sets["market"], sets["extreme"])
    options = references["market"].options
    options = options.take(vols.shuffled(len(options.cp), TIMED_ROWS))
    found += figures.greek_figures(options, arguments.rounds, stepper(progress, "Greeks", arguments.rounds))
    found += figures.chain_figures(arguments.rounds, stepper(progress, "a chain's tick", arguments.rounds))
    found += figures.single_figures(repeats=2 if arguments.quick else 200)
    if not arguments.quick:
        found += figures.start_up_figures(start_up_seconds(stepper(progress, "fresh processes", 4)))
    settings = {name: getattr(arguments, name) for name in ("seed", "points", "rounds")}
    return Results(machine(), packages(), settings, sets, found)


def stepper(progress: Progress, title: str, total: int) -> Callable[[], None]:
    """A bar of its own, moved one step by each call."""
    bar = progress.add_task(title, total=total)
    return lambda: progress.advance(bar)


def machine() -> str:
    return f"{processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def processor() -> str:
    """Its name and family where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    facts = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    known = {key.strip(): value.strip() for key, value in facts.items()}
    name, family = known.get("model name", "unknown processor"), known.get("cpu family")
    return f"{name} (family {family})" if family else name


def packages() -> dict[str, str | None]:
    names = ["numpy", "numba", "llvmlite", *dict.fromkeys(solver.package for solver in PEERS)]
    return {"Python": platform.python_version()} | {name: installed(name) for name in names}


def report(results: Results) -> list[str]:
    here = {name: version for name, version in results.packages.items() if version}
    missing = [name for name, version in results.packages.items() if not version]
    lines = [results.machine, "  ".join(f"{name} {version}" for name, version in here.items())]
    if missing:
        lines.append(f"not installed, so not compared: {', '.join(missing)} (extra: bench)")
    lines.append("  ".join(f"{name} {value}" for name, value in results.settings.items()))
    for name, measured in results.sets.items():
        lines += ["", *vols.table(f"{name} set", measured)]
    return [*lines, "", *figures.table(results.figures)]


def as_json(results: Results) -> dict[str, object]:
    """The same as plain values; a number that is none (NaN) is null."""
    sets = {
        name: [{"name": solver, "seconds": m.seconds} | m.accuracy._asdict() for solver, m in measured.items()]
        for name, measured in results.sets.items()
    }
    figure_rows = [figure._asdict() | {"mark": figure.mark} for figure in results.figures]
    return results._asdict() | {"sets": without_nan(sets), "figures": without_nan(figure_rows)}


def without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if value != value else value


if __name__ == "__main__":
    main()
