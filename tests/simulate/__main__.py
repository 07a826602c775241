"""Many seeds by command: `python -m tests.simulate --seeds 1000`, one again: `python -m tests.simulate --seed 168`.

A failing seed is printed with the command that runs it again, and kept in a directory: its script of faults, what
went wrong, and a recording that `volstream replay` reads. Each failing seed and each tenth that passes runs twice, and
both runs must give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

import pricer
from pricer.simulator.faults import KINDS, dump_script
from tests.simulate.scenario import Result, compare, run_seed

TWICE_EVERY = 10


def judged(seed: int) -> Result:
    """One seed's result; run twice where it fails or its turn has come."""
    result = run_seed(seed)
    if not result.is_good or seed % TWICE_EVERY == 0:
        difference = compare(result, run_seed(seed))
        if difference is not None:
            result.problem = f"{difference}; {result.problem}" if result.problem else difference
    return result


def keep(result: Result, directory: Path) -> Path:
    """Run a failing seed once more with a recorder, and put all that is known of it into a folder of its own."""
    folder = directory / f"seed-{result.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    recording = folder / "recording.vsr"
    recording.unlink(missing_ok=True)
    run_seed(result.seed, keep=recording)
    (folder / "script.json").write_text(dump_script(result.script))
    (folder / "problem.txt").write_text(f"{result.problem}\nrun again: {command(result.seed)}\n")
    return folder


def command(seed: int) -> str:
    """What runs one seed again."""
    return f"python -m tests.simulate --seed {seed}"


class Tally:
    """Sums over all seeds, and the line that shows how far they are."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.done, self.failed = wanted, 0, 0
        self.recoveries: list[float] = []
        self.hits: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self._began_s = time.monotonic()
        self._shown_s = 0.0

    def add(self, result: Result) -> None:
        """One more seed."""
        self.done += 1
        self.failed += not result.is_good
        self.recoveries.append(result.recovery_s)
        self.hits.update(result.hits)
        self.counts.update(result.counts)

    def show(self) -> None:
        """The progress, on a terminal over itself, elsewhere every half minute."""
        now_s = time.monotonic()
        on_screen = sys.stderr.isatty()
        if now_s - self._shown_s < (0.2 if on_screen else 30.0) and self.done < self.wanted:
            return
        self._shown_s = now_s
        left_s = (now_s - self._began_s) / max(self.done, 1) * (self.wanted - self.done)
        line = f"{self.done:,} of {self.wanted:,} seeds, {self.failed} failed, {left_s:.0f} s to go"
        print(f"\r{line}  " if on_screen else line, end="" if on_screen else "\n", file=sys.stderr, flush=True)

    def report(self) -> str:
        """The table for `docs/simulator.md`."""
        seconds = time.monotonic() - self._began_s
        recoveries = np.percentile(self.recoveries, (50, 90, 99, 100)) if self.recoveries else np.zeros(4)
        c = self.counts
        rows = [
            ("seeds", f"{self.done:,}"),
            ("failed", f"{self.failed:,}"),
            ("faults begun or hit, of all kinds", f"{sum(self.hits.values()):,}"),
            ("kinds of faults that hit", f"{sum(self.hits[name] > 0 for name in KINDS)} of {len(KINDS)}"),
            ("frames received", f"{c['frames']:,}"),
            ("connections made, attempts", f"{c['feed.connections']:,}, {c['feed.attempts']:,}"),
            ("snapshots checked", f"{c['snapshots']:,}"),
            ("rows checked; of these `OK` by model, by quote", f"{c['rows']:,}; {c['model_ok']:,}, {c['quote_ok']:,}"),
            ("numbers compared with 30 digits", f"{c['prices']:,}"),
            ("books compared with the venue's own", f"{c['books']:,}"),
            ("recovery after the last fault: p50, p90, p99, longest", ", ".join(f"{x:.2f} s" for x in recoveries)),
            ("wall time, and per seed", f"{seconds:,.0f} s, {seconds / max(self.done, 1):.2f} s"),
        ]
        return "\n".join(("| what | figure |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows)))


def results(seeds: Iterable[int], jobs: int) -> Iterator[Result]:
    """The results in the order of the seeds."""
    if jobs == 1:
        yield from map(judged, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(judged, seeds, chunksize=4)


def main() -> int:
    """The command; 0 where every seed passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="how many seeds (200)")
    parser.add_argument("--first", type=int, default=0, metavar="S", help="the first of them (0)")
    parser.add_argument("--seed", type=int, metavar="S", help="this seed alone, with its faults")
    parser.add_argument("--keep", type=Path, default=Path("failing-seeds"), metavar="DIR", help="where they are kept")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (1)")
    asked = parser.parse_args()
    seeds = range(asked.first, asked.first + asked.seeds) if asked.seed is None else range(asked.seed, asked.seed + 1)
    pricer.warmup()
    tally = Tally(len(seeds))
    for result in results(seeds, max(asked.jobs, 1)):
        tally.add(result)
        if asked.seed is not None:
            print("\n".join(f"{each.at_s:7.2f} s  {each}" for each in result.script))
        if not result.is_good:
            print(f"\nseed {result.seed} failed {result.problem}\n  run again: {command(result.seed)}", flush=True)
            print(f"  kept in {keep(result, asked.keep)}", flush=True)
        tally.show()
    print(f"\n{tally.report()}")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
