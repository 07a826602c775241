"""Which books are wanted on demand, by whoever looks at them: counted, bounded, and kept a moment longer.

A name is wanted as long as somebody has asked for it more often than given it back. The first `limit` names are had,
the others wait for room. One that nobody wants any more is kept for `linger_ns` where there is room, so that changing
to and fro between books does not spend the venue's subscription calls.
"""

from __future__ import annotations

import threading

from pricer.clock import NS_PER_SECOND

LINGER_NS = 10 * NS_PER_SECOND
# Who waits without end for room is no viewer.
MOST_WAITING = 10_000


class BookWishes:
    """Wishes from any thread. Times are monotonic nanoseconds."""

    def __init__(self, limit: int, linger_ns: int = LINGER_NS) -> None:
        self.limit = limit
        self._linger_ns = linger_ns
        self._wanted: dict[str, int] = {}
        self._left_ns: dict[str, int] = {}
        self._lock = threading.Lock()

    def want(self, name: str) -> bool:
        """One more wants this book; False where it has to wait for room."""
        with self._lock:
            if name not in self._wanted and len(self._wanted) >= MOST_WAITING:
                return False
            self._wanted[name] = self._wanted.get(name, 0) + 1
            self._left_ns.pop(name, None)
            return name in self._first()

    def release(self, name: str, now_ns: int) -> None:
        """One less; of a name that nobody wanted nothing happens."""
        with self._lock:
            count = self._wanted.get(name, 0)
            if count > 1:
                self._wanted[name] = count - 1
            elif count == 1:
                was_had = name in self._first()
                del self._wanted[name]
                if was_had:
                    self._left_ns[name] = now_ns + self._linger_ns

    def names(self, now_ns: int) -> frozenset[str]:
        """What is to be had now: never more than `limit`."""
        with self._lock:
            first = self._first()
            self._left_ns = {name: until for name, until in self._left_ns.items() if until > now_ns}
            room = max(0, self.limit - len(first))
            lingering = list(self._left_ns)[-room:] if room else []
            self._left_ns = {name: self._left_ns[name] for name in lingering}
            return frozenset((*first, *lingering))

    def next_deadline(self) -> int | None:
        """When the next of those that linger is over."""
        with self._lock:
            return min(self._left_ns.values(), default=None)

    def _first(self) -> list[str]:
        return list(self._wanted)[: self.limit]
