"""Is our wall clock right, and how late do the venue's messages come? FAULTS C01, C02, T07, T08.

Everything is reckoned against the monotonic clock, which does not step. The venue's time less our monotonic one is a
constant but for drift. It is taken from

- calls that measured it (`VenueClock`), each within half of its round trip: the quickest of the last ones, or else
- the stamps of prices: those that came quickest in the last minutes bound it. They include the least latency, so
  what is too late for this is late beyond that.

Then our wall clock's error and the lateness of a price are two subtractions, and neither disturbs the other: a wall
clock that steps does not make prices late, late prices do not make the clock wrong. Before the venue has said anything,
the wall clock is held against its own beginning.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import NamedTuple

from pricer.adapters.events import VenueClock
from pricer.clock import NS_PER_SECOND, Instant

# Our wall clock is suspect beyond this.
SUSPECT_NS = 500_000_000
CALLS = 31
# A stamp a second for five minutes; of these the fourth highest, so that three wrong ones far ahead do no harm.
STAMP_EVERY_NS = NS_PER_SECOND
STAMPS, TRUSTED = 300, 4
ENOUGH_STAMPS = 2 * TRUSTED
# Stamps that fall by more than this are the venue's own clock being set, not lateness.
STEPPED_BACK_NS = NS_PER_SECOND


class _Call(NamedTuple):
    round_trip_ns: int
    ahead_ns: int


def _best(calls: Collection[_Call]) -> _Call:
    """The quickest call, as in NTP, of those that can be true beside the middle one: each is so to half its trip."""
    middle = sorted(calls, key=lambda call: call.ahead_ns)[len(calls) // 2]
    return min(
        call
        for call in calls
        if abs(call.ahead_ns - middle.ahead_ns) <= (call.round_trip_ns + middle.round_trip_ns) // 2
    )


class ClockCheck:
    """The clocks of one venue and ours. `lag_ns` is how late the newest stamped price came; None while unknown."""

    def __init__(self) -> None:
        self.lag_ns: int | None = None
        self.round_trip_ns: int | None = None
        self._calls: deque[_Call] = deque(maxlen=CALLS)
        self._called_ns: int | None = None  # the venue's time less our monotonic one, by calls
        self._stamps: deque[int] = deque(maxlen=STAMPS)
        self._stamped_ns: int | None = None  # the same, by stamps
        self._newest_stamp = 0
        self._stamp_due_ns: int | None = None
        self._first: Instant | None = None

    def heard(self, call: VenueClock) -> None:
        """A comparison of both clocks."""
        ahead = call.received.wall_ns + call.offset_ns - call.received.mono_ns
        known = self._called_ns
        if known is not None and abs(ahead - known) > SUSPECT_NS and abs(self._calls[-1].ahead_ns - ahead) < SUSPECT_NS:
            # Two in a row that agree: the venue's clock was set, or our monotonic one has stood still.
            self._calls = deque([self._calls[-1]], maxlen=CALLS)
        self._calls.append(_Call(call.round_trip_ns, ahead))
        self._called_ns = _best(self._calls).ahead_ns
        self.round_trip_ns = call.round_trip_ns

    def stamped(self, exchange_ns: int | None, received: Instant) -> None:
        """A price that was so at `exchange_ns` by the venue's clock."""
        if not exchange_ns:
            return
        if exchange_ns < self._newest_stamp:
            if self._newest_stamp - exchange_ns < STEPPED_BACK_NS:
                return  # out of order
            self._stamps.clear()
            self._stamped_ns = self._stamp_due_ns = None
        self._newest_stamp = exchange_ns
        ahead = exchange_ns - received.mono_ns
        if self._stamp_due_ns is None or received.mono_ns >= self._stamp_due_ns:
            self._stamp_due_ns = received.mono_ns + STAMP_EVERY_NS
            self._stamps.append(ahead)
            if len(self._stamps) >= ENOUGH_STAMPS:
                self._stamped_ns = sorted(self._stamps)[-TRUSTED]
        reference = self._reference_ns
        moved = reference is not None and abs(reference - ahead) > SUSPECT_NS
        if moved and self._called_ns is None and abs(received.wall_ns - exchange_ns) <= SUSPECT_NS:
            # The venue's clock has stepped, and ours with it: a leap second.
            self._stamps.clear()
            reference = self._stamped_ns = ahead
        # One that came before it was so says nothing of lateness.
        self.lag_ns = None if reference is None or ahead > reference else reference - ahead

    @property
    def _reference_ns(self) -> int | None:
        return self._stamped_ns if self._called_ns is None else self._called_ns

    def wall_error_ns(self, now: Instant) -> int:
        """How far our wall clock is ahead of the venue's, as far as is known."""
        if self._first is None:
            self._first = now
        reference = self._reference_ns
        if reference is None:
            return (now.wall_ns - now.mono_ns) - (self._first.wall_ns - self._first.mono_ns)
        return now.wall_ns - now.mono_ns - reference

    def skew_ns(self, now: Instant) -> int | None:
        """The same by calls alone, right to half a round trip; None where the venue was never asked."""
        return None if self._called_ns is None else now.wall_ns - now.mono_ns - self._called_ns
