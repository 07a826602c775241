"""FAULTS M14: kernels called from many threads at once, first used by several, and used after a fork.

No kernel is parallel in itself (there is no `prange`), so none of Numba's threading layers is ever loaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from pricer.kernels import black76, implied_vol
from pricer.kernels.store import KernelStore
from tests.data import CHECKOUT

THREADS = 8
CALLS = 1_000_000

STRIKES = [60.0 + 0.5 * i for i in range(160)]


def together(work: Callable[[int], None]) -> None:
    """`work(i)` in `THREADS` threads that start at one moment; an exception of any is raised here."""
    start = threading.Barrier(THREADS)

    def run(i: int) -> None:
        start.wait()
        work(i)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS)))


@pytest.fixture
def _restless() -> Any:
    """Threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_restless")
def test_M14_a_million_calls_from_eight_threads_give_what_one_thread_gives() -> None:
    price, solve = black76.price, implied_vol.implied_vol
    expected = [[price(100.0 + i, strike, 0.5, 0.2, 1.0) for strike in STRIKES] for i in range(THREADS)]
    vols = [solve(premium, 100.0, strike, 0.5, 1.0) for premium, strike in zip(expected[0], STRIKES, strict=True)]
    assert np.allclose([sigma for sigma, _ in vols], 0.2, rtol=1e-8)
    rounds = CALLS // (THREADS * 2 * len(STRIKES)) + 1

    def work(i: int) -> None:
        forward = 100.0 + i
        for _ in range(rounds):
            assert [price(forward, strike, 0.5, 0.2, 1.0) for strike in STRIKES] == expected[i]
            found = [
                solve(premium, 100.0, strike, 0.5, 1.0) for premium, strike in zip(expected[0], STRIKES, strict=True)
            ]
            assert found == vols

    together(work)


def test_M14_chains_without_the_gil_do_not_touch_one_another() -> None:
    strike = np.tile(np.array(STRIKES), 20)
    ttm, sigma, cp = (np.full(len(strike), value) for value in (0.5, 0.2, 1.0))
    for column in (strike, ttm, sigma, cp):
        column.flags.writeable = False

    def greeks(i: int) -> Any:
        forward = np.full(len(strike), 100.0 + i)
        forward.flags.writeable = False
        out = np.empty((len(black76.GREEKS), len(strike)))
        black76.greeks_chain(forward, strike, ttm, sigma, cp, out, np.empty(len(strike), np.uint8))
        return out

    expected = [greeks(i) for i in range(THREADS)]

    def work(i: int) -> None:
        for _ in range(20):
            np.testing.assert_array_equal(greeks(i), expected[i])

    together(work)


def test_M14_a_first_use_by_several_threads_compiles_once(tmp_path: Path) -> None:
    def halved(x: float) -> float:
        return 0.5 * x

    dispatcher: Any = numba.njit(halved)
    dispatcher._cache = KernelStore(halved, tmp_path)

    def work(i: int) -> None:
        assert dispatcher(float(i)) == 0.5 * i
        assert dispatcher(i) == 0.5 * i

    together(work)
    assert len(dispatcher.signatures) == 2
    assert sum(dispatcher.stats.cache_misses.values()) == 2


def test_M14_warm_ups_and_first_uses_from_several_threads_at_once() -> None:
    finished = program(
        """
import threading
import pricer
def work(i):
    if i % 2:
        pricer.warmup()
    found = pricer.implied_vol(pricer.price(100.0, 90.0 + i, 0.5, 0.2, 1), 100.0, 90.0 + i, 0.5, 1)
    results.append(abs(found - 0.2) < 1e-13)
results = []
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(results.count(True))
"""
    )
    assert finished == "8"


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

FORK = """
import os, signal, threading, time
import numba, numpy as np
import pricer
from pricer.kernels import black76
from pricer.kernels.jit import kernel
from pricer.kernels.warmup import warmup

def in_a_child(work):
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # one that waits for ever is ended, and heard of
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


@needs_fork
def test_M14_a_forked_child_prices_as_its_parent_does() -> None:
    finished = program(
        FORK
        + """
expected = pricer.greeks(100.0, [90.0, 110.0], 0.5, 0.2, "call").ultima
def child():
    np.testing.assert_array_equal(pricer.greeks(100.0, [90.0, 110.0], 0.5, 0.2, "call").ultima, expected)
    assert abs(pricer.implied_vol(5.0, 100.0, 105.0, 0.5, "call") - 0.2495) < 1e-2  # loaded in the child
for _ in range(3):
    in_a_child(child)
np.testing.assert_array_equal(pricer.greeks(100.0, [90.0, 110.0], 0.5, 0.2, "call").ultima, expected)
print("same")
"""
    )
    assert finished == "same"


@needs_fork
def test_M14_a_child_forked_amid_another_threads_compiling_can_compile() -> None:
    finished = program(
        FORK
        + """
def first(x):
    return x * x + 1.0

def second(x):
    return 2.0 * x

from numba.core import event
compiling = threading.Event()
class Seen(event.Listener):
    def on_start(self, seen): compiling.set()
    def on_end(self, seen): pass
event.register("numba:compile", Seen())
thread = threading.Thread(target=lambda: numba.njit(first)(3.0))
thread.start()
compiling.wait()
def child():
    assert numba.njit(second)(2.0) == 4.0
in_a_child(child)
thread.join()
print("both")
"""
    )
    assert finished == "both"


@needs_fork
def test_M14_a_child_forked_amid_a_warm_up_can_warm_up() -> None:
    finished = program(
        FORK
        + """
import sys
warming, forked = threading.Event(), threading.Event()
def wait(done, total, name):
    warming.set()
    forked.wait(60)
thread = threading.Thread(target=warmup, args=(wait,))
thread.start()
warming.wait()
in_a_child(lambda: warmup())
forked.set()
thread.join()
print("both")
"""
    )
    assert finished == "both"


def test_M14_no_kernel_needs_a_threading_layer() -> None:
    finished = program(
        """
import pricer, numba
pricer.warmup()
try:
    print(numba.threading_layer())
except ValueError:
    print("none was loaded")
"""
    )
    assert finished == "none was loaded"


def program(code: str) -> str:
    """What `code` prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
