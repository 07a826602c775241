"""An index, a forward or a perpetual, with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pricer.clock import Instant
from pricer.conventions import NO_TIME, Reason, Status


class ParityForward(NamedTuple):
    """What put-call parity of the quotes said of a venue's forward when it was last asked, a second ago at most.

    `value` and its standard `error`; `gap` is the venue's forward of that moment less `value`.
    """

    value: float
    error: float
    gap: float


@dataclass(frozen=True, slots=True)
class UnderlyingValue:
    """An index, a forward or a perpetual with what is known of it; `value` is NaN where nothing is.

    `bid`, `ask` and `funding` are a perpetual's; `error` is the standard error of a forward made by parity; `parity` is
    what stands beside a venue's forward, None where the quotes say nothing.
    """

    value: float = np.nan
    source: str = "none"
    exchange_ns: int | None = None
    received: Instant | None = None
    valid_until_ns: int = NO_TIME
    status: Status = Status.INVALID
    reasons: Reason = Reason.NO_UNDERLYING
    bid: float = np.nan
    ask: float = np.nan
    funding: float = np.nan
    error: float = np.nan
    parity: ParityForward | None = None

    def age_ns(self, now: Instant) -> int | None:
        """Nanoseconds since the last message that confirmed the value; None where none came."""
        return None if self.received is None else now.mono_ns - self.received.mono_ns
