"""`python -m tests.fuzz --inputs 1_000_000 [--seed S] [--target T]`: what others may send us.

`frames`: mutated Deribit frames through fresh adapters. `requests`: mutated requests of clients through the sidecar's
hub. `messages`: mutated messages of a sidecar through a bot's client. Both of JSON, or with `-msgpack` or `-protobuf`.

Ends with status 1 at the first input that raises, hangs (frames: more than 10 ms), makes a number out of nothing, is
not answered as it should be, or lets counters or memory grow; seed and input are printed, and the same seed shows it
again.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.run import Fault, Tally, fuzz
from tests.fuzz.sidecar import TARGETS, fuzz_sidecar

# Beyond what the corpus and the first tenth of the run needed.
MOST_GROWTH_MIB = 64.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--target", choices=("frames", *TARGETS), default="frames")
    parser.add_argument("--own-frames-only", action="store_true", help="leave out the recorded frames")
    options = parser.parse_args(arguments)
    screen = Screen(options.inputs)
    try:
        if options.target == "frames":
            tally = fuzz(options.inputs, options.seed, real=not options.own_frames_only, progress=screen.show)
        else:
            tally = fuzz_sidecar(options.inputs, options.seed, options.target, screen.show)
    except Fault as fault:
        print(f"\nFAILED: {fault}\nagain: python -m tests.fuzz {words(options)}")
        return 1
    screen.end(tally)
    print(f"seed {options.seed}, digest {tally.digest}")
    if screen.growth_mib > MOST_GROWTH_MIB:
        print(f"FAILED: memory grew by {screen.growth_mib:.0f} MiB after the first tenth")
        return 1
    print("no crash, no hang, no number out of nothing")
    return 0


def words(options: argparse.Namespace) -> str:
    """The command line that does the same again."""
    return f"--target {options.target} --inputs {options.inputs} --seed {options.seed}"


class Screen:
    """Progress on one line, and the sums at the end."""

    def __init__(self, inputs: int) -> None:
        self._inputs = inputs
        self._start = self._shown = time.perf_counter()
        self._first_mib: float | None = None
        self.growth_mib = 0.0

    def show(self, tally: Tally) -> None:
        now = time.perf_counter()
        if now - self._shown < 1.0:
            return
        self._shown = now
        used = resident_mib()
        if self._first_mib is None and tally.inputs >= self._inputs / 10:
            self._first_mib = used
        self.growth_mib = max(self.growth_mib, used - (self._first_mib or used))
        rate = tally.inputs / (now - self._start)
        end = "\r" if sys.stdout.isatty() else "\n"
        print(f"{tally.inputs:>11,} of {self._inputs:,}  {rate:,.0f}/s  {used:.0f} MiB   ", end=end, flush=True)

    def end(self, tally: Tally) -> None:
        seconds = time.perf_counter() - self._start
        print(f"\n{tally.inputs:,} inputs in {seconds:.0f} s ({tally.inputs / seconds:,.0f}/s, judging included)")
        for name, counts in (("mutations", tally.mutations), ("events", tally.events)):
            print(f"{name}: " + ", ".join(f"{word} {count:,}" for word, count in counts.most_common()))
        print(f"slowest call {tally.slowest_ns / 1e6:.2f} ms; at most {tally.counters} counters in an adapter")
        print(f"memory grew by {self.growth_mib:.0f} MiB after the first tenth")


def resident_mib() -> float:
    """Of this process; 0 where the system does not say."""
    try:
        fields = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0.0
    return int(fields[1]) * 4096 / 2**20


if __name__ == "__main__":
    sys.exit(main())
