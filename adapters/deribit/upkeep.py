"""The calls that keep one connection to Deribit honest: its heartbeat, tests that compare the clocks, and probes."""

from __future__ import annotations

from typing import Any, NamedTuple

from pricer.adapters.budget import Budget
from pricer.adapters.deribit import rpc
from pricer.adapters.deribit.channels import subject
from pricer.adapters.deribit.instruments import VENUE
from pricer.adapters.deribit.limits import CALL
from pricer.adapters.events import AnyEvent, VenueClock
from pricer.adapters.timing import ClockComparer, bounds
from pricer.adapters.wire import Note
from pricer.clock import NS_PER_SECOND, Instant

# A clock that was set must be known within five seconds (FAULTS C01), the way of the call included.
TEST_EVERY_NS = 4 * NS_PER_SECOND
# In maintenance the same call asks whether the venue answers again.
KNOCK_EVERY_NS = 2 * NS_PER_SECOND
# One probe may be lost by chance.
MOST_PROBES_LOST = 1


class Due(NamedTuple):
    """A call that is paid for and goes out now."""

    method: str
    params: dict[str, Any]
    purpose: rpc.Purpose


class Upkeep:
    """Which of these calls are due, and what their answers, or the lack of them, mean.

    - The heartbeat is ordered once a connection (sheet 3), and again while that is not answered.
    - A test, as small as a call can be, goes out every few seconds: its answer compares the clocks.
    - A probe is a question that the venue must answer, on behalf of channels that speak only when there is news. Any
      answer will do, a refusal included.
    """

    def __init__(self, heartbeat_s: int, budget: Budget, note: Note) -> None:
        self._heartbeat_s = heartbeat_s
        self._budget = budget
        self._note = note
        self._clock = ClockComparer()
        self._heartbeat_owed = False
        self._test_due_ns: int | None = None
        self._probe: str | None = None  # the channel to ask about
        self._probes_lost = 0

    def opened(self, now: Instant) -> None:
        """A new connection, on which we ask for things."""
        self._heartbeat_owed = True
        self._test_due_ns = now.mono_ns + TEST_EVERY_NS

    def forget(self) -> None:
        """The connection is over; the next one may lead to another machine, with another clock."""
        self._clock.clear()
        self._heartbeat_owed = False
        self._test_due_ns = None
        self._probe = None
        self._probes_lost = 0

    # What is owed, and when

    def probe(self, channel: str | None) -> None:
        """A probe about this channel is due, unless another one still waits to be paid for."""
        self._probe = self._probe or channel

    def knock(self, now: Instant) -> None:
        """The venue refuses to answer: soon ask again."""
        if self._test_due_ns is not None:
            self._test_due_ns = min(self._test_due_ns, now.mono_ns + KNOCK_EVERY_NS)

    def due(self, now: Instant, *, refuses: bool) -> list[Due]:
        """What goes out now; to a venue that refuses all calls nothing but heartbeat and knock."""
        found: list[Due] = []
        if self._heartbeat_owed and self._paid(now):
            self._heartbeat_owed = False
            found.append(Due("public/set_heartbeat", {"interval": self._heartbeat_s}, "heartbeat"))
        if self._test_due_ns is not None and now.mono_ns >= self._test_due_ns and self._paid(now):
            self._test_due_ns = now.mono_ns + (KNOCK_EVERY_NS if refuses else TEST_EVERY_NS)
            found.append(Due("public/test", {}, "test"))
        if self._probe is not None and not refuses and self._paid(now):
            question = {"instrument_name": subject(self._probe), "depth": 1}
            self._probe = None
            found.append(Due("public/get_order_book", question, "probe"))
        return found

    def next_deadline(self, now: Instant, *, refuses: bool) -> int | None:
        """When `due` has something to give."""
        ready_ns = self._budget.ready_ns(CALL, now.mono_ns)
        if self._heartbeat_owed or (self._probe is not None and not refuses):
            return ready_ns
        return None if self._test_due_ns is None else max(self._test_due_ns, ready_ns)

    # What comes of it

    def answered(self, call: rpc.Call, reply: rpc.Envelope, now: Instant, events: list[AnyEvent]) -> None:
        """The venue has answered, and perhaps stamped its answer."""
        if call.purpose == "probe":
            self._probes_lost = 0
        if reply.usIn:
            self._compare(call, reply, now, events)

    def refused(self, call: rpc.Call) -> None:
        """It has answered with an error."""
        if call.purpose == "probe":
            self._probes_lost = 0

    def unanswered(self, call: rpc.Call) -> bool:
        """Time is over. Gives whether another probe is due at once."""
        if call.purpose == "heartbeat":
            self._heartbeat_owed = True
        if call.purpose == "probe":
            self._probes_lost += 1
        return call.purpose == "probe"

    @property
    def is_unheard(self) -> bool:
        """Too many probes running have not been answered: the venue does not listen."""
        return self._probes_lost > MOST_PROBES_LOST

    # Inside

    def _paid(self, now: Instant) -> bool:
        return self._budget.take(CALL, now.mono_ns)

    def _compare(self, call: rpc.Call, reply: rpc.Envelope, now: Instant, events: list[AnyEvent]) -> None:
        stamps = rpc.stamps_of(reply)
        found = None if stamps is None else bounds(call.sent_ns, now, *stamps)
        if found is None:
            self._note("bad_clock")
            return
        best = self._clock.take(found)
        events.append(VenueClock(venue=VENUE, received=now, offset_ns=best.offset_ns, round_trip_ns=best.width_ns))
