"""CRC32 checksums over a book's text as the venue wrote it, and what to do when they disagree.

A mismatch means one of three things, and they are told apart by how it goes on:

- one book was wrong: a new snapshot of it agrees again;
- our formula is wrong, or the venue has changed it: nothing agrees. After `most_failures` mismatches without one
  agreement between them the check is switched off, with an alarm, instead of asking for snapshots for ever;
- the venue has stopped sending checksums: the sequence rule alone remains, which is said once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import Literal

from pricer.adapters.book import Texts
from pricer.adapters.levels import TextLevel

Formula = Callable[[Sequence[TextLevel], Sequence[TextLevel]], int]
Alarm = Literal["checksum_mismatch", "checksum_removed"]

# OKX until June 2026; Delta Exchange takes ten.
INTERLEAVED_LEVELS = 25
LISTED_LEVELS = 10


def interleaved(bids: Sequence[TextLevel], asks: Sequence[TextLevel]) -> int:
    """OKX (sheet 4.5): signed CRC32 of "bid1:size1:ask1:size1:bid2 ..." over 25 levels; a shorter side is left out.

    >>> interleaved([("3366.1", "7")], [("3366.8", "9"), ("3368", "8")]) == signed_crc32("3366.1:7:3366.8:9:3368:8")
    True
    """
    pairs = zip_longest(bids[:INTERLEAVED_LEVELS], asks[:INTERLEAVED_LEVELS], fillvalue=())
    return signed_crc32(":".join(chain.from_iterable(chain.from_iterable(pairs))))


def listed(bids: Sequence[TextLevel], asks: Sequence[TextLevel]) -> int:
    """Delta Exchange (sheet 4.3): unsigned CRC32 of "ask0:size0,ask1:size1 ...|bid0:size0 ..." over ten levels."""
    sides = (",".join(f"{price}:{size}" for price, size in side[:LISTED_LEVELS]) for side in (asks, bids))
    return zlib.crc32("|".join(sides).encode())


def signed_crc32(text: str) -> int:
    """CRC32 as a signed 32-bit integer."""
    unsigned = zlib.crc32(text.encode())
    return unsigned - 2**32 if unsigned >= 2**31 else unsigned


class ChecksumGuard:
    """The checksums of one venue's books on one connection; all of them share it, as they share the formula.

    Every `every`-th message that has a checksum is checked. `alarm`, taken once by `take_alarm`, says that the check
    has ended and why.
    """

    def __init__(
        self, formula: Formula, *, levels: int = INTERLEAVED_LEVELS, every: int = 1, most_failures: int = 3
    ) -> None:
        self._levels = levels
        self.active = True
        self.matched = 0
        self.mismatched = 0
        self._formula = formula
        self._every = every
        self._most_failures = most_failures
        self._failures = 0
        self._messages = 0
        self._removed = False
        self._alarm: Alarm | None = None

    def verify(self, texts: Texts, stated: int | None) -> bool:
        """False where the book differs from what the venue states, and that calls for a new snapshot."""
        if not self.active:
            return True
        if stated is None:
            self._missing()
            return True
        self._removed = False
        self._messages += 1
        # A book that has just failed is looked at whole, not by sample.
        if self._messages % self._every and not self._failures:
            return True
        if self._formula(*texts(self._levels)) == stated:
            self.matched += 1
            self._failures = 0
            return True
        return self._failed()

    def take_alarm(self) -> Alarm | None:
        """The news, once."""
        alarm, self._alarm = self._alarm, None
        return alarm

    def _failed(self) -> bool:
        self.mismatched += 1
        self._failures += 1
        if self._failures <= self._most_failures:
            return False
        self.active = False
        self._alarm = "checksum_mismatch"
        return True

    def _missing(self) -> None:
        if not self._removed:
            self._removed = True
            self._alarm = "checksum_removed"
