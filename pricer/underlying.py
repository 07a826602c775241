"""What the underlying is worth: spot index, perpetual, and one forward an expiry, each with its source and age.

The forward's rule: the newest forward the venue gave among the expiry's quotes; between those, the last basis ratio
F/index times the newer index. A value is confirmed by every message that repeats it: its age counts from the last one.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from pricer.adapters.events import UnderlyingPrice
from pricer.clock import Instant
from pricer.conventions import NO_REASON, NO_TIME, Reason, Status
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


class IndexTracker:
    """The newest price of one index, by the venue's own time."""

    def __init__(self) -> None:
        self.value = math.nan
        self.exchange_ns: int | None = None
        self.received: Instant | None = None
        self.at = 0
        self._order = (0, 0, 0.0)
        self._suspect = False

    def update(self, value: float, exchange_ns: int | None, received: Instant) -> bool:
        """Take a price and say so; zero, negative and absent ones, and those older than the present one, are no news.

        Of several with equal instants the largest is taken, so that the order in which they came does not matter. A
        new connection starts anew: one wrong stamp, far ahead, must not shut the price out for ever.
        """
        at = instant_of(exchange_ns, received)
        order = (at, received.mono_ns, value)
        if not 0.0 < value < math.inf or (order < self._order and not self._suspect):
            return False
        self.value, self.exchange_ns, self.received, self.at = value, exchange_ns, received, at
        self._order = order
        self._suspect = False
        return True

    def suspect(self) -> None:
        """The connection that carried it is gone: stale until the next message."""
        self._suspect = True

    def published(self, now: Instant, max_age_ns: int, check: ParityCheck = NO_CHECK) -> UnderlyingValue:
        """The price with the status that its age earns; with `check` beside it, which may degrade it."""
        if self.received is None:
            return UnderlyingValue()
        valid_until = self.received.mono_ns + max_age_ns
        if self._suspect:
            status, reasons = Status.STALE, Reason.UNDERLYING_STALE | Reason.RESYNCING
            # Before now, not at it: a limit that is still to pass would be a deadline, again at every pricing.
            valid_until = min(valid_until, now.mono_ns - 1)
        elif now.mono_ns > valid_until:
            status, reasons = Status.STALE, Reason.UNDERLYING_STALE
        else:
            status, reasons = check.status, check.reasons
        return UnderlyingValue(
            self.value, "venue", self.exchange_ns, self.received, valid_until, status, reasons,
            math.nan, math.nan, math.nan, math.nan, check.parity,
        )  # fmt: skip


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
    """The forward of one expiry."""

    def __init__(self) -> None:
        self._venue = IndexTracker()
        self._ratio = math.nan
        self._ratio_received: Instant | None = None
        self._ratio_order = (0, 0, 0.0, 0.0)
        self.check = NO_CHECK

    def update(self, forward: float, index: float, exchange_ns: int | None, received: Instant) -> None:
        """Take the forward (and the index of the same instant) that came with a quote."""
        if self._venue.update(forward, exchange_ns, received) and 0.0 < index < math.inf:
            order = (self._venue.at, received.mono_ns, forward, index)
            # A restarted connection may bring older stamps; of equal instants the larger pair, as for an index.
            if order[:2] != self._ratio_order[:2] or order > self._ratio_order:
                self._ratio, self._ratio_received, self._ratio_order = forward / index, received, order

    def suspect(self) -> None:
        self._venue.suspect()

    def published(self, index: IndexTracker, now: Instant, max_age_ns: int, max_ratio_age_ns: int) -> UnderlyingValue:
        """The forward now; `basis` where the index is newer than the venue's last forward and the ratio still lives."""
        ratio_until = NO_TIME if self._ratio_received is None else self._ratio_received.mono_ns + max_ratio_age_ns
        if now.mono_ns > ratio_until or index.at <= self._venue.at:
            return self._venue.published(now, max_age_ns, self.check)
        spot = index.published(now, max_age_ns, self.check)
        until = min(spot.valid_until_ns, ratio_until)
        return UnderlyingValue(
            self._ratio * spot.value, "basis", spot.exchange_ns, spot.received, until, spot.status, spot.reasons,
            parity=spot.parity,
        )  # fmt: skip
