"""The sidecar's monotonic clock as far as a client can know it."""

from __future__ import annotations

from pricer.clock import Clock, Instant


class ServerClock:
    """The clock of one sidecar process, so that its limits can be held against ours.

    A message cannot arrive before it was sent: the smallest difference (our arrival - its sending) ever seen is the
    best estimate, and a message that arrives later than that was delayed on the way and is as old as that. The
    estimate may creep up by 200 ppm, more than two crystals differ, so that drift does not look like delay.
    """

    CREEP = 2e-4

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ns: int | None = None
        self._seen_ns = 0

    def heard(self, server_mono_ns: int) -> None:
        """A message arrives just now that was sent at `server_mono_ns`."""
        now = self._clock.now().mono_ns
        sample = now - server_mono_ns
        if self._offset_ns is None:
            self._offset_ns = sample
        else:
            self._offset_ns = min(sample, self._offset_ns + round((now - self._seen_ns) * self.CREEP))
        self._seen_ns = now

    def now(self) -> Instant:
        """Our wall clock, and the server's monotonic one."""
        here = self._clock.now()
        return Instant(here.wall_ns, here.mono_ns - (self._offset_ns or 0))
