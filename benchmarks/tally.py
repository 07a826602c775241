"""Counts over many chunks of rows: statuses, violations with an example each, the worst error, the slowest chunk."""

from __future__ import annotations

import faulthandler
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from benchmarks.claims import NO_STATUS, UNWRITTEN, Codes, Mask, Masks
from benchmarks.ours import frozen
from benchmarks.sets import Floats
from pricer.kernels.status import KernelStatus

# A chunk takes some hundredths of a second. One that hangs ends the program, with the stack it hangs in.
HANGS_AFTER = 120.0


class Tally:
    def __init__(self) -> None:
        self.statuses: dict[str, Counter[int]] = {}
        self.violations: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.worst_units: dict[str, float] = {}
        self.slowest: dict[str, float] = {}  # seconds a row, of the slowest chunk

    def call(
        self, name: str, kernel: Callable[..., object], columns: tuple[Floats, ...], shape: tuple[int, ...]
    ) -> tuple[Floats, Codes]:
        """The kernel's numbers and statuses of these rows; its time is kept, and rows it left unwritten are counted."""
        out, status = np.full(shape, UNWRITTEN), np.full(shape[-1], NO_STATUS, np.uint8)
        inputs = [frozen(column) for column in columns]
        faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
        started = time.perf_counter()
        kernel(*inputs, out, status)
        seconds = (time.perf_counter() - started) / shape[-1]
        faulthandler.cancel_dump_traceback_later()
        self.slowest[name] = max(self.slowest.get(name, 0.0), seconds)
        missing = (status == NO_STATUS) | (np.atleast_2d(out) == UNWRITTEN).any(axis=0)
        self.violated(name, {"a row left unwritten": missing}, columns, out, status)
        self.statuses.setdefault(name, Counter()).update(status.tolist())
        return out, status

    def violated(self, name: str, masks: Masks, inputs: tuple[Floats, ...], out: Floats, status: Codes) -> None:
        """Count the rows of each mask, and keep the first with its inputs."""
        for claim, mask in masks.items():
            if mask.any():
                self.violations[f"{name}: {claim}"] += int(mask.sum())
                self.examples.setdefault(f"{name}: {claim}", example(mask, inputs, out, status))

    def far(self, name: str, units: Floats) -> None:
        self.worst_units[name] = max(self.worst_units.get(name, 0.0), float(np.max(units, initial=0.0)))


def example(mask: Mask, inputs: tuple[Floats, ...], out: Floats, status: Codes) -> str:
    row = int(np.flatnonzero(mask)[0])
    given = ", ".join(repr(float(column[row])) for column in inputs)
    return f"({given}) -> {out[..., row].tolist()!r}, {status_name(int(status[row]))}"


def status_name(code: int) -> str:
    try:
        return KernelStatus(code).name
    except ValueError:
        return f"status {code}"


def report(tally: Tally) -> list[str]:
    lines = [f"{'kernel':<24}{'slowest chunk':>16}  rows by status"]
    for name, counts in tally.statuses.items():
        parts = "  ".join(f"{status_name(code)} {count:,}" for code, count in sorted(counts.items()))
        lines.append(f"{name:<24}{tally.slowest[name] * 1e9:>10,.0f} ns/row  {parts}")
    lines += ["", *(f"worst {name}: {units:.2f} attainable units" for name, units in tally.worst_units.items()), ""]
    for name, count in tally.violations.most_common():
        lines += [f"VIOLATION  {name}: {count:,} rows, such as", f"    {tally.examples[name]}"]
    return [*lines, f"{sum(tally.violations.values()):,} violations"]
