"""Can a venue's time stamp be true? FAULTS C08, and C01 where it is our own clock that is wrong.

A stamp is plausible within an hour of our wall clock, or of where the venue's clock must be by now: at the last stamp
that was plausible by it, and the monotonic time since. So a wall clock that steps during a session drops no stamps, and
prices keep their order; the engine then says CLOCK_SUSPECT. A wall clock that was wrong from the start leaves nothing
to judge by, and stamps far from it are no stamps: prices are then dated by their receipt.
"""

from __future__ import annotations

from pricer.clock import NS_PER_SECOND, Instant

PLAUSIBLE_SKEW_NS = 3_600 * NS_PER_SECOND


class StampCheck:
    """The stamps of one venue on one connection."""

    def __init__(self) -> None:
        self._ahead_ns: int | None = None  # the venue's clock less our monotonic one

    def accepts(self, stamp_ns: int, now: Instant) -> bool:
        """Whether `stamp_ns`, read at `now`, can be true."""
        ahead_ns = stamp_ns - now.mono_ns
        if abs(stamp_ns - now.wall_ns) <= PLAUSIBLE_SKEW_NS:
            self._ahead_ns = ahead_ns
            return True
        return self._ahead_ns is not None and abs(ahead_ns - self._ahead_ns) <= PLAUSIBLE_SKEW_NS
