"""Seconds to the first result in a fresh process: with every kernel still to be compiled, and from the cache."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# What is imported before the clock starts is only the clock.
FIRST_RESULT = """
import time
started = time.perf_counter()
import pricer
assert abs(pricer.implied_vol(7.965567455405804, 100.0, 100.0, 1.0, "call") - 0.2) < 1e-12
print(time.perf_counter() - started)
"""

WARMUP = """
import time
started = time.perf_counter()
import pricer
pricer.warmup()
print(time.perf_counter() - started)
"""


def start_up_seconds(after_each: Callable[[], None], warm_starts: int = 3) -> dict[str, float]:
    """Cold with an empty cache directory, then the best of `warm_starts` with what that left there.

    From before `import pricer` to the answer; starting Python itself is not in it.
    """
    found = {}
    for name, program in (("first result", FIRST_RESULT), ("warmup()", WARMUP)):
        with tempfile.TemporaryDirectory() as cache:
            found[f"{name}, cold"] = seconds(program, cache)
            after_each()
            found[f"{name}, warm"] = min(seconds(program, cache) for _ in range(warm_starts))
            after_each()
    return found


def seconds(program: str, cache: str) -> float:
    environment = os.environ | {"VOLSTREAM_CACHE_DIR": cache}
    command = [sys.executable, "-c", program]
    root = Path(__file__).parent.parent  # stderr is left alone, so that an error is seen
    answer = subprocess.run(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=600
    )
    return float(answer.stdout)
