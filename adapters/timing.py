"""How far a venue's clock is from ours, from calls that it stamped when they came and when it answered.

A call leaves at t0 and its answer is here at t3, by our clock; the venue stamps t1 and t2 between. No way takes less
than no time, so the offset is at most t1 - t0 and at least t2 - t3: one call bounds it to an interval as wide as both
its ways (RFC 5905, section 8, takes the middle). The intervals of several calls hold the truth all together, so what
they have in common is only as wide as the shortest way out and the shortest way back, of whichever calls, and jitter
drops out. Calls with nothing in common say that a clock was set: then only the newest counts.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from pricer.clock import NS_PER_SECOND, Instant

# A venue's stamp further off is in another unit, not on another clock.
PLAUSIBLE_OFFSET_NS = 366 * 86_400 * NS_PER_SECOND
# What the clocks may drift apart during the calls that are kept, and the venue's stamps are whole microseconds.
SLACK_NS = 2_000_000


class Bounds(NamedTuple):
    """The venue's clock minus ours is between these."""

    least_ns: int
    most_ns: int

    @property
    def offset_ns(self) -> int:
        """The middle."""
        return (self.least_ns + self.most_ns) // 2

    @property
    def width_ns(self) -> int:
        """Twice of what the middle may be wrong by."""
        return max(0, self.most_ns - self.least_ns)


def bounds(sent_mono_ns: int, received: Instant, venue_in_ns: int, venue_out_ns: int) -> Bounds | None:
    """What one call says; None where its stamps cannot be true.

    The instant of sending is reckoned back from the receipt on the monotonic clock: a step of our wall clock while the
    call was under way does not enter.
    """
    sent_ns = received.wall_ns - (received.mono_ns - sent_mono_ns)
    found = Bounds(venue_out_ns - received.wall_ns, venue_in_ns - sent_ns)
    if venue_out_ns < venue_in_ns or found.least_ns > found.most_ns + SLACK_NS:
        return None
    return found if abs(found.offset_ns) <= PLAUSIBLE_OFFSET_NS else None


class ClockComparer:
    """What the last `most` calls have in common."""

    def __init__(self, most: int = 8) -> None:
        self._recent: deque[Bounds] = deque(maxlen=most)

    def take(self, found: Bounds) -> Bounds:
        """One more call; gives what all together say."""
        self._recent.append(found)
        together = self._together()
        if together.least_ns > together.most_ns + SLACK_NS:
            self._recent.clear()
            self._recent.append(found)
            together = found
        return together

    def clear(self) -> None:
        """Another connection may lead to another machine of the venue."""
        self._recent.clear()

    def _together(self) -> Bounds:
        return Bounds(max(each.least_ns for each in self._recent), min(each.most_ns for each in self._recent))
