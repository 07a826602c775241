"""What the underlying is worth: spot index, perpetual, and one forward an expiry, each with its source and age.

The forward's rule: the newest forward the venue gave among the expiry's quotes; between those, the last basis ratio
F/index times the newer index. A value is confirmed by every message that repeats it: its age counts from the last one.

Two things are not believed (`PriceGuard`): a jump that nothing else confirms (`jump_guard`), and a price that is
repeated while the rest of its market moves (FAULTS D03). The first is kept back, and the old price stays, DEGRADED with
JUMP_UNCONFIRMED; the second is STALE until it changes.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from pricer.adapters.events import UnderlyingPrice
from pricer.clock import Instant
from pricer.conventions import NO_REASON, NO_TIME, Reason, Status
from pricer.engine.jump_guard import Candidate, JumpGuard
from pricer.engine.witnesses import Reading, Witnesses
from pricer.snapshot import ParityForward, UnderlyingValue


def instant_of(exchange_ns: int | None, received: Instant) -> int:
    """When it was so: the venue's own stamp, else when we knew. A stamp of 0 is none."""
    return exchange_ns or received.wall_ns


class ParityCheck(NamedTuple):
    """What the quotes say of a forward, and what that does to its status."""

    parity: ParityForward | None = None
    status: Status = Status.OK
    reasons: Reason = NO_REASON


NO_CHECK = ParityCheck()


class PriceGuard:
    """Judges one price by the witnesses of its market. `since` are their readings when it last changed."""

    def __init__(self, jumps: JumpGuard, witnesses: Witnesses, freeze_move: float, freeze_after_ns: int) -> None:
        self.jumps = jumps
        self.since: dict[str, Reading] = {}
        self._changed_ns = 0
        self._witnesses = witnesses
        self._freeze_move = freeze_move
        self._freeze_after_ns = freeze_after_ns

    def changed(self, now: Instant) -> None:
        """The price was taken."""
        self.jumps.candidate = None
        self.since, self._changed_ns = self._witnesses.marks(), now.mono_ns

    def meet_newcomers(self) -> None:
        """A witness that was first heard after the last change counts from there; not while a jump is in doubt."""
        if len(self.since) != len(self._witnesses.readings) and self.jumps.candidate is None:
            self.since = {**self._witnesses.readings, **self.since}
            for name in self.since.keys() - self._witnesses.readings.keys():
                del self.since[name]

    def frozen_by(self, confirmed_ns: int, now: Instant) -> str | None:
        """The witness that has moved although the price is repeated; a price that is not repeated simply grows old."""
        if now.mono_ns - self._changed_ns <= self._freeze_after_ns or confirmed_ns <= self._changed_ns:
            return None
        return self._witnesses.moved(self.since, self._freeze_move)


class IndexTracker:
    """The newest price of one index, by the venue's own time."""

    def __init__(self, guard: PriceGuard | None = None) -> None:
        self.value = math.nan
        self.exchange_ns: int | None = None
        self.received: Instant | None = None
        self.at = 0
        self.frozen_by: str | None = None  # the witness that says so
        self._order = (0, 0, 0.0)
        self._suspect = False
        self.guard = guard

    def update(self, value: float, exchange_ns: int | None, received: Instant) -> bool:
        """Take a price and say so; zero, negative and absent ones, and those older than the present one, are no news.

        Of several with equal instants the largest is taken, so that the order in which they came does not matter. A
        new connection starts anew: one wrong stamp, far ahead, must not shut the price out for ever. Stamps are
        compared with stamps only: our own wall clock may step.
        """
        at = instant_of(exchange_ns, received)
        order = (at, received.mono_ns, value)
        if not 0.0 < value < math.inf or (
            order < self._order and not self._suspect and self._is_older(order, exchange_ns)
        ):
            return False
        if value != self.value:
            if self.guard is not None and not self._believes(self.guard, value, exchange_ns, received, at):
                return False
        elif self.guard is not None:
            self.guard.jumps.candidate = None  # if there was one, it was a bad print
        self._take(value, exchange_ns, received, at)
        return True

    def suspect(self) -> None:
        """The connection that carried it is gone: stale until the next message."""
        self._suspect = True

    def examine(self, now: Instant) -> str:
        """Before each pricing: take a jump that has been confirmed, and see whether the price is frozen.

        Gives "jump" or "frozen" where that has just begun, else nothing.
        """
        guard = self.guard
        if guard is None or self.received is None:
            return ""
        was_frozen = self.frozen_by is not None
        self._settle(guard)
        guard.meet_newcomers()
        self.frozen_by = guard.frozen_by(self.received.mono_ns, now)
        if guard.jumps.news:
            guard.jumps.news = False
            return "jump"
        return "frozen" if self.frozen_by is not None and not was_frozen else ""

    def published(self, now: Instant, max_age_ns: int, check: ParityCheck = NO_CHECK) -> UnderlyingValue:
        """The price with the status that its age earns; with `check` beside it, which may degrade it."""
        if self.received is None:
            return UnderlyingValue()
        valid_until = self.received.mono_ns + max_age_ns
        if self._suspect or self.frozen_by is not None:
            status, reasons = Status.STALE, Reason.UNDERLYING_STALE
            if self._suspect:
                reasons |= Reason.RESYNCING
            # Before now, not at it: a limit that is still to pass would be a deadline, again at every pricing.
            valid_until = min(valid_until, now.mono_ns - 1)
        elif now.mono_ns > valid_until:
            status, reasons = Status.STALE, Reason.UNDERLYING_STALE
        else:
            status, reasons = check.status, check.reasons
        if self.guard is not None and self.guard.jumps.candidate is not None:
            status, reasons = max(status, Status.DEGRADED), reasons | Reason.JUMP_UNCONFIRMED
        return UnderlyingValue(
            self.value, "venue", self.exchange_ns, self.received, valid_until, status, reasons,
            math.nan, math.nan, math.nan, math.nan, check.parity,
        )  # fmt: skip

    @property
    def doubted(self) -> Candidate | None:
        """A jump that is not believed yet."""
        return None if self.guard is None else self.guard.jumps.candidate

    def is_doubtful(self, value: float, received: Instant) -> bool:
        """Would this price be a jump? It is for those who come before `update`."""
        if self.guard is None or self.received is None or value == self.value or not 0.0 < value < math.inf:
            return False
        return self.guard.jumps.is_jump(self.value, value, received.mono_ns - self.received.mono_ns)

    def _is_older(self, order: tuple[int, int, float], exchange_ns: int | None) -> bool:
        return order[1:] < self._order[1:] or bool(exchange_ns and self.exchange_ns)

    def _believes(self, guard: PriceGuard, value: float, exchange_ns: int | None, received: Instant, at: int) -> bool:
        """Whether a new value may be taken now; a jump is kept back, and may be confirmed by this very message."""
        if self.received is not None and guard.jumps.is_jump(
            self.value, value, received.mono_ns - self.received.mono_ns
        ):
            guard.jumps.keep_back(value, exchange_ns, received, at)
            if not guard.jumps.is_confirmed(self.value, guard.since):
                return False
        guard.changed(received)
        return True

    def _settle(self, guard: PriceGuard) -> None:
        """Take the candidate where a witness has confirmed it since it came."""
        candidate = guard.jumps.candidate
        if candidate is not None and guard.jumps.is_confirmed(self.value, guard.since):
            guard.changed(candidate.received)
            self._take(candidate.value, candidate.exchange_ns, candidate.received, candidate.at)

    def _take(self, value: float, exchange_ns: int | None, received: Instant, at: int) -> None:
        self.value, self.exchange_ns, self.received, self.at = value, exchange_ns, received, at
        self._order = (at, received.mono_ns, value)
        self._suspect = False


class PerpetualTracker(IndexTracker):
    """A perpetual's mid with its bid, ask and funding."""

    def __init__(self) -> None:
        super().__init__()
        self.bid = self.ask = self.funding = math.nan

    def store(self, price: UnderlyingPrice) -> None:
        if self.update(price.price, price.exchange_ns, price.received):
            self.bid, self.ask, self.funding = price.bid, price.ask, price.funding

    def published(self, now: Instant, max_age_ns: int, check: ParityCheck = NO_CHECK) -> UnderlyingValue:
        value = super().published(now, max_age_ns, check)
        return replace(value, bid=self.bid, ask=self.ask, funding=self.funding)


class ForwardTracker:
    """The forward of one expiry: what its quotes carry, or the price of its listed future (`source`)."""

    def __init__(self, guard: PriceGuard | None = None, source: str = "venue") -> None:
        self._venue = IndexTracker(guard)
        self._source = source
        self._ratio = math.nan
        self._ratio_received: Instant | None = None
        self._ratio_order = (0, 0, 0.0, 0.0)
        self.check = NO_CHECK
        self.is_known = False  # has one ever come?

    @property
    def value(self) -> float:
        """The last forward that was taken; NaN before the first."""
        return self._venue.value

    @property
    def is_doubted(self) -> bool:
        """Has it jumped, and nothing confirmed it?"""
        return self._venue.doubted is not None

    @property
    def frozen_by(self) -> str | None:
        """The witness that moved while this was repeated."""
        return self._venue.frozen_by

    def update(self, forward: float, index: float, exchange_ns: int | None, received: Instant) -> None:
        """Take the forward (and the index of the same instant) that came with a quote."""
        if not self._venue.update(forward, exchange_ns, received):
            return
        self.is_known = True
        if 0.0 < index < math.inf:
            order = (self._venue.at, received.mono_ns, forward, index)
            # A restarted connection may bring older stamps; of equal instants the larger pair, as for an index.
            if order[:2] != self._ratio_order[:2] or order > self._ratio_order:
                self._ratio, self._ratio_received, self._ratio_order = forward / index, received, order

    def suspect(self) -> None:
        self._venue.suspect()

    def is_doubtful(self, forward: float, received: Instant) -> bool:
        """Would this forward be a jump from the one that was taken last?"""
        return self._venue.is_doubtful(forward, received)

    def examine(self, now: Instant) -> str:
        """As `IndexTracker.examine`."""
        return self._venue.examine(now)

    def published(self, index: IndexTracker, now: Instant, max_age_ns: int, max_ratio_age_ns: int) -> UnderlyingValue:
        """The forward now; `basis` where the index is newer than the venue's last forward and the ratio still lives."""
        ratio_until = NO_TIME if self._ratio_received is None else self._ratio_received.mono_ns + max_ratio_age_ns
        venue = self._venue
        guard = venue.guard  # looked at in place: this is asked of every slice on every tick
        doubted = guard is not None and guard.jumps.candidate is not None
        if now.mono_ns > ratio_until or index.at <= venue.at or venue.frozen_by is not None or doubted:
            own = venue.published(now, max_age_ns, self.check)
            return own if self._source == "venue" or own.source == "none" else replace(own, source=self._source)
        spot = index.published(now, max_age_ns, self.check)
        until = min(spot.valid_until_ns, ratio_until)
        return UnderlyingValue(
            self._ratio * spot.value, "basis", spot.exchange_ns, spot.received, until, spot.status, spot.reasons,
            parity=spot.parity,
        )  # fmt: skip
