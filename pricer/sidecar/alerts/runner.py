"""The task that watches: at a steady pace, on a thread beside the loop, so that many rules delay nobody."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from pricer.clock import Clock, Instant
from pricer.sidecar.alerts.aims import Aims
from pricer.sidecar.alerts.language import Rule
from pricer.sidecar.alerts.notices import Notice, Notices
from pricer.sidecar.alerts.watch import Active, Change, Watch
from pricer.snapshot import Snapshot

# A logger of its own, which says everything: what is told is paced already.
told = logging.getLogger("pricer.sidecar.alerts.notices")
told.setLevel(logging.INFO)


class Sink(Protocol):
    """Where notices go. It must not wait: what it cannot take at once it queues, bounded and counted."""

    def tell(self, notices: list[Notice]) -> None: ...


class LogSink:
    """One line a notice, by a template from the configuration."""

    def __init__(self, template: str) -> None:
        self.template = template

    def tell(self, notices: list[Notice]) -> None:
        """Write the lines; raised alerts as warnings."""
        for notice in notices:
            told.log(logging.WARNING if notice.state == "raised" else logging.INFO, "%s", notice.text(self.template))


class Wanted(NamedTuple):
    """What the next round begins with."""

    rules: tuple[Rule, ...]
    per_second: float
    every_s: float


class Alerting:
    """Rules over the newest snapshot. `active` is what clients of the channel `alerts` see."""

    def __init__(
        self,
        watch: Watch,
        notices: Notices,
        sinks: Iterable[Sink],
        *,
        newest: Callable[[], Snapshot],
        clock: Clock,
        every_s: float,
    ) -> None:
        self.watch = watch
        self.notices = notices
        self.aims = Aims()
        self.active: tuple[Active, ...] = ()
        self.counters: Counter[str] = Counter()
        self._sinks = tuple(sinks)
        self._newest = newest
        self._clock = clock
        self._every_s = every_s
        self._wanted: Wanted | None = None

    def reconfigure(self, rules: Iterable[Rule], *, per_second: float, every_s: float) -> None:
        """Other rules and another pace from the next round on: the present one may be under way on its thread."""
        self._wanted = Wanted(tuple(rules), per_second, every_s)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._every_s)

    async def look(self) -> list[Change]:
        """One round; gives what has changed."""
        now = self._clock.now()
        changes = self._taken_over(now)
        found, active = await asyncio.to_thread(self._round, self._newest(), now)
        changes += found
        self.active = active  # here and not on the thread: whoever sees an alert has been told of it
        self.notices.take(changes)
        told = self.notices.due(now)
        if told:
            self.counters["notices"] += len(told)
            for sink in self._sinks:
                sink.tell(told)
        return changes

    def _round(self, snapshot: Snapshot, now: Instant) -> tuple[list[Change], tuple[Active, ...]]:
        changes = self.watch.look(snapshot, now)
        self.aims.look(self.watch.rules, snapshot, now)
        return changes, tuple(self.watch.active)

    def _taken_over(self, now: Instant) -> list[Change]:
        """What ends because its rule does."""
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return []
        self.notices.pace(wanted.per_second)
        self._every_s = wanted.every_s
        return self.watch.replace(wanted.rules, now)
