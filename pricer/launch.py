"""Starting the whole program in one process: kernels, the embedded market beside it, the live pricer, the sidecar."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import pricer


def compiled_kernels() -> set[Path]:
    """The files of compiled code that are there for these very sources."""
    from pricer.kernels.jit import cache_directory

    return set(cache_directory().glob("**/*.nbc"))


def warm_kernels(console: Console) -> float:
    """Compile the kernels, or load them, with a progress bar; says which it was and gives the seconds it took."""
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
            bar.update(task, completed=done, total=total, description=name.ljust(28)[:28])

        pricer.warmup(progress)
    seconds = time.perf_counter() - start
    new = len(compiled_kernels() - before)
    how = f"{new} compiled (cold start; the next one is warm)" if new else "loaded from the cache (warm start)"
    console.print(f"kernels: {how} in {seconds:.1f} s")
    return seconds
