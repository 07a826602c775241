"""What the programs that run until stopped have in common: their plan, what they tell, how they are stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from pricer.config import Settings
from pricer.signals import watching
from pricer.terminal import Selection


class News:
    """What is told of faults: on a line of its own, or, while a screen is shown, beside its footer."""

    def __init__(self) -> None:
        self.on_screen = False
        self._faults: list[str] = []

    def tell(self, console: Console, text: str) -> None:
        """One line: a fault that begins, or one that is over."""
        kind, _, told = text.partition(": ")
        name = told.partition(" ")[0]
        if kind == "fault over":
            self._faults = [each for each in self._faults if each != name]
        elif " for " in told:  # one that lasts; the others are over at once
            self._faults = [*self._faults, name][-8:]
        if not self.on_screen:
            clock = datetime.now(UTC).strftime("%H:%M:%S")
            console.print(f"{clock} {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    def footer(self, address: str) -> str:
        """The faults of now, and the address."""
        return f"faults: {', '.join(self._faults)}   {address}" if self._faults else address


@dataclass(frozen=True)
class Plan:
    """What `demo`, `serve` and `watch` have in common.

    `duration_s` counts from the start of the feed, not of the compiler; None runs until told to stop.
    """

    settings: Settings
    console: Console
    screen: bool
    selection: Selection
    duration_s: float | None = None
    started_s: float = 0.0  # time.perf_counter() when the command began
    chaos: int | None = None  # the seed of the demo's faults
    news: News = field(default_factory=News)
    reread: Callable[[], Settings] | None = None  # the settings anew, on SIGHUP


@contextlib.contextmanager
def stop_on_signals(longest_s: float = 8.0) -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set. A second signal, or an end that takes too long, ends it at once."""
    stop = asyncio.Event()
    with watching(stop.set, longest_s, to_the_end=True):
        yield stop


async def until_stopped(plan: Plan, stop: asyncio.Event, *running: asyncio.Task[None]) -> None:
    """Until a signal, q, the duration, or the end of one of `running`, whose error is raised here."""
    stopping = asyncio.create_task(stop.wait())
    try:
        tasks: set[asyncio.Task[Any]] = {stopping, *running}
        done, _ = await asyncio.wait(tasks, timeout=plan.duration_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        stopping.cancel()
