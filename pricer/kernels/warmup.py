"""Compiling is visible: `warmup` does all of it, with a progress report; importing does none.

Any module of `pricer.kernels` and `pricer.surfaces` takes part by having a function

    def warmup_calls() -> list[tuple[str, Callable[[], object]]]

of names and calls without arguments. Each call runs a kernel with arguments of the very types that its callers pass:
Numba compiles anew for every combination of types, and a read-only array is another type than a writable one.

Where nothing is compiled yet and there is a second core, helper processes share the work: this process takes modules
from the front of the list, helpers from its end. They meet somewhere, and what a helper has compiled is loaded from the
cache. A helper is a convenience only: whatever it leaves undone this process does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pkgutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numba

from pricer.kernels.compiling import Helper, HelperLost, helpers_possible
from pricer.kernels.jit import cache_directory, cache_is_kept
from pricer.kernels.store import machine

Call = tuple[str, Callable[[], object]]
Calls = list[Call]
Progress = Callable[[int, int, str], None]

# The module of `pricer.surfaces` that goes the whole way of a fit, and so needs all others' kernels: never shared out.
LAST = "warm"

# A helper's module takes some seconds; one not heard of for so long has been stopped.
PATIENCE_S = 60.0

config: Any = numba.config

_lock = threading.Lock()
_warm: set[str] = set()


def _forget_the_lock() -> None:
    """In a forked child: the thread that held it, if any did, has stayed with the parent."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_lock)


def warmup(progress: Progress | None = None) -> None:
    """Compile every kernel, or load it from the cache: seconds the first time, a fraction of one later.

    `progress(done, total, name)` is called in this thread before each kernel (done from 0, never falling) and once
    after the last, when done is total and name is empty. Calls from several threads wait for one another; what is warm
    is not compiled again.
    """
    with _lock:
        calls = warmup_calls()
        tally = Tally(len(calls), progress)
        if helpers := _helpers_wanted(calls):
            _share_out(calls, helpers, tally)
        for name, call in calls:
            if name not in tally.finished:
                tally.report(name)
            _run(name, call, tally)
        if cache_is_kept() and not config.DISABLE_JIT:
            with contextlib.suppress(OSError):  # a hint for the next time; without it helpers find nothing to do
                _complete_mark(calls).touch(mode=0o600)
        tally.report("")


def warmup_calls() -> Calls:
    """Every kernel's call, of all modules that register one; names are "module.kernel"."""
    found: Calls = []
    for package in ("pricer.kernels", "pricer.surfaces"):
        for module in pkgutil.iter_modules(import_module(package).__path__):
            register = getattr(import_module(f"{package}.{module.name}"), "warmup_calls", None)
            if register is not None and register is not warmup_calls:
                found += [(f"{module.name}.{name}", call) for name, call in register()]
    return found


def by_module(calls: Iterable[Call]) -> dict[str, Calls]:
    """The calls under the names of their modules, in order."""
    found: dict[str, Calls] = {}
    for name, call in calls:
        found.setdefault(name.partition(".")[0], []).append((name, call))
    return found


class Tally:
    """Which calls have been made, here or by a helper, and who wants to hear of it."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.finished: set[str] = set()  # helpers' threads add to it
        self._total = total
        self._progress = progress

    def report(self, name: str) -> None:
        """Tell that `name` comes next."""
        if self._progress is not None:
            self._progress(len(self.finished), self._total, name)


def _run(name: str, call: Callable[[], object], tally: Tally) -> None:
    if name not in _warm:
        call()
        _warm.add(name)
    tally.finished.add(name)


# -- with helpers


def _helpers_wanted(calls: Calls) -> int:
    """How many helpers to start: none where all is there, or where they could not hand over what they compile."""
    if config.DISABLE_JIT or not cache_is_kept() or not os.access(cache_directory(), os.W_OK):
        return 0
    if _complete_mark(calls).exists() or all(name in _warm for name, _ in calls):
        return 0
    return helpers_possible()


def _complete_mark(calls: Calls) -> Path:
    """The file that says that all of `calls` have been compiled, by these versions for this processor."""
    names = "\n".join(name for name, _ in calls)
    return cache_directory() / f"complete-{hashlib.sha256(f'{machine()}{names}'.encode()).hexdigest()[:24]}"


def _share_out(calls: Calls, count: int, tally: Tally) -> None:
    """Make the calls of all modules but the last, here and in `count` helpers."""
    modules = deque((module, own) for module, own in by_module(calls).items() if module != LAST)
    helpers: list[Helper] = []
    threads: list[threading.Thread] = []
    try:
        with contextlib.suppress(OSError):  # no more processes allowed: then with fewer
            while len(helpers) < count:
                helpers.append(Helper())
                threads.append(threading.Thread(target=_direct, args=(helpers[-1], modules, tally), daemon=True))
                threads[-1].start()
        while modules:
            with contextlib.suppress(IndexError):  # a helper was faster
                for name, call in modules.popleft()[1]:
                    tally.report(name)
                    _run(name, call, tally)
        _wait(threads, tally)
    finally:
        for helper in helpers:
            helper.kill()
        for thread in threads:
            thread.join()


def _direct(helper: Helper, modules: deque[tuple[str, Calls]], tally: Tally) -> None:
    """Give `helper` modules from the end of the queue until there are none."""
    with contextlib.closing(helper), contextlib.suppress(HelperLost, IndexError):
        helper.wait_until_ready()
        while True:
            for name in helper.compile(modules.pop()[0]):
                tally.finished.add(name)


def _wait(threads: list[threading.Thread], tally: Tally) -> None:
    """Until the helpers are done, or have not been heard of for too long."""
    heard, known = time.monotonic(), -1
    while any(thread.is_alive() for thread in threads) and time.monotonic() - heard < PATIENCE_S:
        if len(tally.finished) != known:
            heard, known = time.monotonic(), len(tally.finished)
            tally.report("in another process")
        time.sleep(0.02)
