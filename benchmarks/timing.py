"""Times of several calls that are compared: in one process, by turns, and the best of each."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

Calls = Mapping[str, Callable[[], object]]


def best_by_turns(calls: Calls, rounds: int, after_round: Callable[[], None] = lambda: None) -> dict[str, float]:
    """Seconds of the fastest of `rounds` runs of each call, run as A B C A B C ... after one run that is not counted.

    By turns, so that a slower minute of the machine meets all of them; the best, since what else runs on the machine
    only ever adds. The garbage collector waits meanwhile.
    """
    for call in calls.values():
        call()
    best = dict.fromkeys(calls, float("inf"))
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in calls.items():
                started = time.perf_counter()
                call()
                best[name] = min(best[name], time.perf_counter() - started)
            after_round()
    finally:
        if collecting:
            gc.enable()
    return best
