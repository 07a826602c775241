"""Where this process's memory is: what the kernel counts, and which part of it Python, malloc or nobody uses.

Resident memory may grow without any more objects, as an allocator keeps pages of which a part is free. Both numbers of
malloc are of glibc (all its arenas); elsewhere they are 0.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

MIB = 2**20
MALLINFO2 = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")


class _Mallinfo2(ctypes.Structure):
    """glibc's struct mallinfo2, bytes."""

    _fields_ = [(name, ctypes.c_size_t) for name in MALLINFO2]


class Memory(NamedTuple):
    """One look."""

    mib: float  # resident
    used_mib: float  # handed out by malloc, mapped blocks with it
    free_mib: float  # held by malloc, and not handed out
    blocks: int  # of Python's own allocator, which does not go through malloc


def memory() -> Memory:
    """What this process holds now."""
    used = free = 0.0
    ask = _mallinfo2()
    if ask is not None:
        found = ask()
        used, free = (found.uordblks + found.hblkhd) / MIB, found.fordblks / MIB
    return Memory(resident_mib(), used, free, sys.getallocatedblocks())


def resident_mib() -> float:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def by_type() -> Counter[str]:
    """What the collector knows, after it has collected."""
    gc.collect()
    return Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())


def grown(first: Counter[str], last: Counter[str], least: int = 1) -> list[tuple[str, int]]:
    """Types with at least so many more objects, those with the most first."""
    more = {name: last[name] - first[name] for name in last}
    return sorted(((name, count) for name, count in more.items() if count >= least), key=lambda found: -found[1])


@functools.cache
def _mallinfo2() -> Callable[[], Any] | None:
    try:
        found = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):  # another C library
        return None
    found.restype = _Mallinfo2
    return found
