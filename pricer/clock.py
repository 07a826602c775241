"""One injected clock. Nothing else in the project asks the operating system for the time.

An `Instant` is stamped once, at the socket read. Freshness, time-outs, back-off and latencies use `mono_ns`;
`wall_ns` is for stamps and for time to expiry only, since wall clocks step.
"""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol

NS_PER_SECOND = 1_000_000_000


class Instant(NamedTuple):
    """One moment on both clocks, integer nanoseconds: UTC since 1970, and monotonic since an arbitrary start."""

    wall_ns: int
    mono_ns: int

    def plus(self, ns: int) -> Instant:
        """The moment `ns` nanoseconds later on both clocks."""
        return Instant(self.wall_ns + ns, self.mono_ns + ns)


# CLOCK_MONOTONIC stands still while Linux sleeps; Darwin's does not, unlike `time.monotonic_ns` there.
_STEADY: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def _steady_ns() -> int:
    return time.monotonic_ns() if _STEADY is None else time.clock_gettime_ns(_STEADY)


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> Instant: ...


class SystemClock:
    """The operating system's clocks. The monotonic one counts the time that the machine sleeps, where one does.

    Otherwise everything would be as fresh after a night as before it.
    """

    def now(self) -> Instant:
        return Instant(time.time_ns(), _steady_ns())


EPOCH = Instant(0, 0)


class ManualClock:
    """A clock that moves only when told: for tests and replays.

    >>> clock = ManualClock(Instant(1_000, 0))
    >>> clock.advance(5)
    >>> clock.now()
    Instant(wall_ns=1005, mono_ns=5)
    """

    def __init__(self, start: Instant = EPOCH) -> None:
        self._now = start

    def now(self) -> Instant:
        return self._now

    def advance(self, ns: int) -> None:
        """Move both clocks on by `ns` nanoseconds."""
        self._now = self._now.plus(ns)

    def set(self, instant: Instant) -> None:
        """Jump to `instant`, for example that of a recorded frame; a wall clock may step back."""
        self._now = instant
