"""No index and no forward is believed at once when it jumps: FAULTS D04.

A jump is a move from the last price that was taken of more than `floor` and more than `sigmas` standard deviations of
the time between them, at the market's own volatility. It is kept back as a candidate until one of two things happens:

- a witness (`witnesses`) has made at least half of the same move, or
- it has come in `TICKS` messages over `confirm_ns`; five times as long while a live witness contradicts. So nothing
  that lasts is shut out for good: a witness that is frozen itself must not keep the truth away.

A price back within the limit ends the candidate: it was a bad print.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from pricer.clock import Instant
from pricer.conventions import NS_PER_YEAR
from pricer.engine.witnesses import Marks, Witnesses

TICKS = 3
CONTRADICTED = 5
# Of the jump's own move, what a witness must have made to confirm it.
LEAST_SHARE, MOST_SHARE = 0.5, 2.0


@dataclass(frozen=True, slots=True)
class JumpLimits:
    """`floor` is a relative move; below it nothing is a jump, however calm the market is."""

    floor: float = 0.01
    sigmas: float = 10.0
    confirm_ns: int = 1_000_000_000


class Candidate(NamedTuple):
    """A price that is not believed yet; the instants are those of its latest message."""

    value: float
    exchange_ns: int | None
    received: Instant
    at: int
    first_ns: int
    ticks: int


class JumpGuard:
    """The guard of one price. `own` names the witness that is this very price, which proves nothing."""

    def __init__(
        self, limits: JumpLimits, witnesses: Witnesses, volatility: Callable[[], float], own: str = ""
    ) -> None:
        self.candidate: Candidate | None = None
        self.news = False  # a new candidate since somebody asked
        self._limits = limits
        self._witnesses = witnesses
        self._volatility = volatility
        self._own = own

    def is_jump(self, old: float, new: float, elapsed_ns: int) -> bool:
        """Whether the move from `old` to `new` within `elapsed_ns` needs a confirmation."""
        move = abs(math.log(new / old))
        if move <= self._limits.floor:
            return False
        deviation = self._volatility() * math.sqrt(max(elapsed_ns, 0) / NS_PER_YEAR)
        return move > self._limits.sigmas * deviation

    def keep_back(self, value: float, exchange_ns: int | None, received: Instant, at: int) -> None:
        """One more message of a jump; one to a third place begins anew."""
        self._witnesses.doubt = True
        known = self.candidate
        if known is None or abs(math.log(value / known.value)) > self._limits.floor:
            self.candidate = Candidate(value, exchange_ns, received, at, received.mono_ns, 1)
            self.news = True
        else:
            ticks = known.ticks + (at > known.at)
            self.candidate = Candidate(value, exchange_ns, received, at, known.first_ns, ticks)

    def is_confirmed(self, old: float, since: Marks) -> bool:
        """Whether the candidate may be taken; `since` are the witnesses at the time of `old`."""
        candidate = self.candidate
        if candidate is None:
            return False
        self._witnesses.doubt = True
        move, contradicted = math.log(candidate.value / old), False
        for name, now in self._witnesses.readings.items():
            was = since.get(name)
            if was is None or name == self._own or now.error + was.error > 0.25 * abs(move) * was.value:
                continue
            share = math.log(now.value / was.value) / move
            if LEAST_SHARE <= share <= MOST_SHARE:
                return True
            contradicted = contradicted or now.mono_ns >= candidate.first_ns
        needed_ns = self._limits.confirm_ns * (CONTRADICTED if contradicted else 1)
        return candidate.ticks >= TICKS and candidate.received.mono_ns - candidate.first_ns >= needed_ns
