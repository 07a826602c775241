"""The kernels, compiled or loaded before anything is priced, for somebody who watches."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import pricer


def compiled_kernels() -> set[Path]:
    """The files of compiled code that are there for these very sources."""
    from pricer.kernels.jit import cache_directory

    return set(cache_directory().glob("*.nbc"))


class Stopped(Exception):
    """The user does not want to wait for the rest of the kernels."""


def warm_kernels(console: Console, is_stopped: Callable[[], bool] = lambda: False) -> float:
    """Compile the kernels, or load them, with a progress bar; says which it was and gives the seconds it took.

    `is_stopped` is asked between two kernels; `Stopped` is raised where it says yes.
    """
    start = time.perf_counter()
    before = compiled_kernels()
    console.print("loading the kernels …" if before else "compiling the kernels, once …", style="dim")
    bar = Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("kernels", total=None)

        def progress(done: int, total: int, name: str) -> None:
            if is_stopped():
                raise Stopped
            bar.update(task, completed=done, total=total, description=name.ljust(28)[:28])

        pricer.warmup(progress)
    seconds = time.perf_counter() - start
    new = len(compiled_kernels() - before)
    how = f"{new} compiled (cold start; the next one is warm)" if new else "loaded from the cache (warm start)"
    console.print(f"kernels: {how} in {seconds:.1f} s")
    return seconds


async def compile_unless(stop: asyncio.Event, console: Console) -> None:
    """Warm the kernels on a thread, so that a signal is seen; what is compiled by then is kept for the next start."""
    with contextlib.suppress(Stopped):
        await asyncio.to_thread(warm_kernels, console, stop.is_set)
