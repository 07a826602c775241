"""How long to wait before the next attempt to connect; no clock and no sleep of its own."""

from __future__ import annotations

import random

from pricer.adapters.limits import FeedLimits
from pricer.adapters.transport import ConnectionLost
from pricer.clock import NS_PER_SECOND

# A venue that restarts comes back at once, twice in a row; what restarts for ever is flapping.
QUICK_RESTARTS = 2


class Backoff:
    """Delays between attempts: full jitter below a ceiling that doubles with each failure.

    Refused attempts are forgotten when one succeeds: a drop after an outage is retried at once. Connections that did
    not last are forgotten only by one that does: what comes and goes (FAULTS T11) is tried ever more rarely.
    What a venue asks for (Retry-After, "try again later", a ban) is waited for in full; the jitter comes on top.
    """

    def __init__(self, rng: random.Random, limits: FeedLimits) -> None:
        self._rng = rng
        self._limits = limits
        self._stable_ns = int(limits.stable_s * NS_PER_SECOND)
        self._refusals = 0
        self._drops = 0
        self._bans = 0
        self._opened_ns: int | None = None

    def opened(self, now_ns: int) -> None:
        """A connection stands since now."""
        self._opened_ns = now_ns
        self._refusals = self._bans = 0

    def next_delay_s(self, now_ns: int, lost: ConnectionLost | None = None) -> float:
        """How long to wait after the connection, or the attempt, that has just ended with `lost`."""
        if self._opened_ns is not None and now_ns - self._opened_ns >= self._stable_ns:
            self._drops = 0
        reason = "" if lost is None else lost.reason
        failures = self._refusals + self._drops
        if reason == "closed_restart" and self._drops < QUICK_RESTARTS:
            failures = 0
        ceiling_s = min(self._limits.backoff_cap_s, self._limits.backoff_first_s * 2.0 ** min(failures, 32))
        if self._opened_ns is None:
            self._refusals += 1
        else:
            self._drops += 1
        self._opened_ns = None
        asked_s = 0.0 if lost is None else lost.retry_after_s
        return max(asked_s, self._least_s(reason)) + self._rng.uniform(0.0, ceiling_s)

    def _least_s(self, reason: str) -> float:
        if reason in ("closed_try_later", "rate_limited"):
            return self._limits.try_later_s
        if reason != "banned":
            return 0.0
        self._bans += 1
        return min(self._limits.ban_backoff_s * 2.0 ** min(self._bans - 1, 32), self._limits.ban_backoff_cap_s)
