"""Compiling is visible: `warmup` does all of it, with a progress report; importing does none.

Any module of `pricer.kernels` and `pricer.surfaces` takes part by having a function

    def warmup_calls() -> list[tuple[str, Callable[[], object]]]

of names and calls without arguments. Each call runs a kernel with arguments of the very types that its callers pass:
Numba compiles anew for every combination of types, and a read-only array is another type than a writable one.
"""

from __future__ import annotations

import pkgutil
import threading
from collections.abc import Callable
from importlib import import_module

Calls = list[tuple[str, Callable[[], object]]]
Progress = Callable[[int, int, str], None]

_lock = threading.Lock()
_warm: set[str] = set()


def warmup(progress: Progress | None = None) -> None:
    """Compile every kernel, or load it from the cache: seconds the first time, a fraction of one later.

    `progress(done, total, name)` is called before each kernel (done from 0) and once after the last, when done is
    total and name is empty. Calls from several threads wait for one another; what is warm is not compiled again.
    """
    with _lock:
        calls = warmup_calls()
        for done, (name, call) in enumerate(calls):
            if progress is not None:
                progress(done, len(calls), name)
            if name not in _warm:
                call()
                _warm.add(name)
        if progress is not None:
            progress(len(calls), len(calls), "")


def warmup_calls() -> Calls:
    """Every kernel's call, of all modules that register one; names are "module.kernel"."""
    found: Calls = []
    for package in ("pricer.kernels", "pricer.surfaces"):
        for module in pkgutil.iter_modules(import_module(package).__path__):
            register = getattr(import_module(f"{package}.{module.name}"), "warmup_calls", None)
            if register is not None and register is not warmup_calls:
                found += [(f"{module.name}.{name}", call) for name, call in register()]
    return found
