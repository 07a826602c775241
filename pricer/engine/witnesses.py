"""What else is known of the level of one market: by these a price that jumps, or that stands still, is judged.

Witnesses are prices that come about in another way: the perpetual's and the futures' own bids and asks (not their
marks, which a venue derives from its index), and what put-call parity says of each expiry. They are compared with
themselves at an earlier time, so that a basis between two of them does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from pricer.adapters.events import UnderlyingPrice

# Parity's error is a standard error; half a spread needs no such margin.
PARITY_ERRORS = 4.0


class Reading(NamedTuple):
    """A witness's level, how far that may be off, and when it was last heard (monotonic)."""

    value: float
    error: float
    mono_ns: int


Marks = Mapping[str, Reading]


class Witnesses:
    """The newest reading of each witness of one price index; bounded."""

    MOST = 256

    def __init__(self) -> None:
        self.readings: dict[str, Reading] = {}
        self.doubt = False  # some price of this market is in doubt, or has just been

    def saw(self, name: str, value: float, error: float, mono_ns: int) -> None:
        """A new reading; the first of more than `MOST` witnesses is forgotten."""
        if not (0.0 < value < math.inf and 0.0 <= error < math.inf):
            return
        if name not in self.readings and len(self.readings) >= self.MOST:
            del self.readings[next(iter(self.readings))]
        self.readings[name] = Reading(value, error, mono_ns)

    def saw_price(self, name: str, price: UnderlyingPrice) -> None:
        """A perpetual or a future by the middle of its own market; one without two sides says nothing."""
        if 0.0 < price.bid <= price.ask:
            mono_ns = price.received.mono_ns
            self.saw(name, 0.5 * (price.bid + price.ask), 0.5 * (price.ask - price.bid), mono_ns)

    def forget(self, name: str) -> None:
        """The witness is gone: its expiry has passed."""
        self.readings.pop(name, None)

    def marks(self) -> dict[str, Reading]:
        """All readings as they are now, to be compared with later ones."""
        return self.readings.copy()

    def moved(self, since: Marks, least: float) -> str | None:
        """A witness that has moved by more than `least` (a share of itself) and both errors since then; or None."""
        for name, now in self.readings.items():
            was = since.get(name)
            if was is not None and abs(now.value - was.value) > least * was.value + now.error + was.error:
                return name
        return None
