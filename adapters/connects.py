"""A venue's own limit on how often one may connect, shared by all connections to it; sans-I/O but for the waiting."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque

from pricer.clock import NS_PER_SECOND, Clock
from pricer.errors import ConfigError


class ConnectBudget:
    """At most `limit` attempts in any `window_s` seconds, the most important first.

    `priority` 0 is served before 1: the index before quotes before depth (FAULTS T13).
    """

    def __init__(self, limit: int, window_s: float) -> None:
        if limit < 1 or not 0 < window_s < float("inf"):
            raise ConfigError(f"connects: {limit!r} in {window_s!r} s is no limit that allows anything")
        self._window_ns = int(window_s * NS_PER_SECOND)
        self._taken: deque[int] = deque(maxlen=limit)
        self._waiting: list[tuple[int, int]] = []
        self._order = itertools.count()

    def ready_ns(self, now_ns: int) -> int:
        """When the next attempt may begin."""
        full = len(self._taken) == self._taken.maxlen
        return max(now_ns, self._taken[0] + self._window_ns) if full else now_ns

    def take(self, now_ns: int) -> bool:
        """Begin an attempt, if the window allows one."""
        if self.ready_ns(now_ns) > now_ns:
            return False
        self._taken.append(now_ns)
        return True

    async def turn(self, clock: Clock, priority: int = 0) -> None:
        """Wait until it is this caller's turn, and take it."""
        mine = (priority, next(self._order))
        heapq.heappush(self._waiting, mine)
        try:
            while True:
                now_ns = clock.now().mono_ns
                first = self._waiting[0] == mine
                if first and self.take(now_ns):
                    return
                # Behind others it looks again when the first of them may have gone.
                wait_s = max((self.ready_ns(now_ns) - now_ns) / NS_PER_SECOND, 0.001)
                await asyncio.sleep(wait_s)
        finally:
            self._waiting.remove(mine)
            heapq.heapify(self._waiting)
