"""What the commands that run until stopped have in common."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from pricer.config import Settings


def run(
    start: Callable[[Any, Any], Any],
    settings: Settings,
    *,
    headless: bool,
    duration: float | None,
    chaos: int | None = None,
    reread: Callable[[], Settings] | None = None,
) -> None:
    """Run `start(launch, plan)` to its end; `pricer.launch` costs its import, and is handed over for that."""
    import asyncio

    from pricer import launch
    from pricer.logs import logging_beside
    from pricer.terminal import Selection

    started = time.perf_counter()
    # The sidecar's packages are an extra; a missing one is told before anything is compiled.
    import pricer.sidecar.app  # noqa: F401

    console = new_console()
    screen = console.is_terminal and not headless
    plan = launch.Plan(settings, console, screen, Selection(), duration, started, chaos, reread=reread)
    with logging_beside(screen):
        asyncio.run(start(launch, plan))


def new_console() -> Console:
    """Standard output."""
    from rich.console import Console

    # Lines in a log or a pipe are not cut at 80 columns; a frame in a pipe is as wide as its full table.
    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=180)


def given(values: dict[str, Any]) -> dict[str, Any]:
    """What was said on the line; the rest is left to the file, the environment and the defaults."""
    return {name: value for name, value in values.items() if value is not None}
