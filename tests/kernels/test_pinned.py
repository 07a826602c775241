"""The kernels' bits are the same on every machine and in every process: fused operations are written out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data import CHECKOUT
from tests.kernels import pinned

STORED: dict[str, list[str]] = json.loads(Path(pinned.__file__).with_suffix(".json").read_text())


@pytest.mark.parametrize("kernel", pinned.KERNELS)
def test_M15_results_are_those_of_every_machine_to_the_last_bit(kernel: str) -> None:
    assert pinned.results([kernel])[kernel] == STORED[kernel]


def elsewhere(*kernels: str, **settings: str) -> dict[str, list[str]]:
    """The results of a process with other settings of Numba."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.pinned", *kernels],
        env={**os.environ, **settings, "PYTHONPATH": str(CHECKOUT)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_M15_plain_python_gives_the_compiled_codes_bits() -> None:
    assert elsewhere(NUMBA_DISABLE_JIT="1") == STORED


def test_M15_a_processor_without_fused_instructions_gives_the_same_bits() -> None:
    names = ("log", "exp", "implied_vol")
    found = elsewhere(*names, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="")
    assert found == {name: STORED[name] for name in names}
