"""Order books from snapshots and changes; sans-I/O. What makes a message fit its book is the venue's own rule, a value.

The rules first:

1. A book is in sync from a snapshot on, for as long as its venue's rule finds each message to follow the one before,
   and its checksum, where there is one, agrees. Out of sync it has no levels at all.
2. Changes that come while it is out of sync are kept (the newest 10,000) and tried after the next snapshot: those that
   it contains already are skipped, the first that does not follow makes it lost again.
3. A snapshot replaces everything, whenever it comes. `clear`, at each new session, leaves nothing of the old one.
4. A size that is not above zero deletes the level; deleting what is not there is counted and changes nothing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from enum import Enum
from typing import Literal, Protocol

from pricer.adapters.levels import Level, Side, TextLevel, TextSide
from pricer.adapters.sequences import BookUpdate, Position, SequenceRule, Verdict

Condition = Literal["open", "crossed", "locked"]

# FAULTS S04: messages kept while a snapshot is awaited.
MAX_BUFFERED = 10_000
# Some times the deepest book recorded; a side that grows beyond is not a book any more.
MAX_LEVELS = 20_000


class Outcome(Enum):
    """What became of a message."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    BUFFERED = "buffered"
    GAP = "gap"
    CHECKSUM = "checksum"


Texts = Callable[[int], tuple[list[TextLevel], list[TextLevel]]]
"""The best so many bids and asks as the venue wrote them, best first."""


class Verifier(Protocol):
    """Compares a book with what its venue states; `checksum.ChecksumGuard` is one."""

    def verify(self, texts: Texts, stated: int | None) -> bool: ...


class OrderBook:
    """One instrument's book on one session.

    `depth` is how many levels a side `bids` and `asks` give. `window` is for venues that maintain only so many levels:
    what slides out of it is forgotten, since the venue will not say when it goes. `guard` checks checksums and makes
    the book keep the wire's text. `counters` gets "book_absent_delete", "book_old", "book_bad_level" ...
    """

    def __init__(
        self,
        rule: SequenceRule,
        *,
        depth: int = 10,
        window: int | None = None,
        guard: Verifier | None = None,
        counters: Counter[str] | None = None,
        max_levels: int = MAX_LEVELS,
        max_buffered: int = MAX_BUFFERED,
    ) -> None:
        self._rule = rule
        self._guard = guard
        self._window = window
        self._max_levels = max_levels
        kind = Side if guard is None else TextSide
        self._bids = kind(1.0, depth)
        self._asks = kind(-1.0, depth)
        self._held: deque[BookUpdate] = deque(maxlen=max_buffered)
        self._at = Position()
        self.counters: Counter[str] = Counter() if counters is None else counters
        self.in_sync = False
        self.exchange_ns: int | None = None

    def apply(self, update: BookUpdate) -> Outcome:
        """Take one message in. Anything but CHANGED leaves nothing to tell; GAP and CHECKSUM ask for a new snapshot."""
        verdict = self._rule(self._at, update)
        if verdict is Verdict.REPLACE:
            return self._replace(update)
        if not self.in_sync:
            return self._hold(update)
        if verdict is Verdict.APPLY:
            return self._change(update)
        if verdict is Verdict.GAP:
            self._hold(update)  # it may follow the next snapshot
            return self._lost(Outcome.GAP)
        self.counters["book_old" if verdict is Verdict.OLD else "book_keep_alive"] += 1
        return Outcome.UNCHANGED

    def lose(self) -> None:
        """Give the book up, as after a gap: it has no levels until the next snapshot."""
        self._bids.clear()
        self._asks.clear()
        self._at = Position()
        self.in_sync = False
        self.exchange_ns = None

    def clear(self) -> None:
        """A new session: nothing of the old one is left, nor what was kept for its snapshot."""
        self.lose()
        self._held.clear()

    def bids(self) -> tuple[Level, ...]:
        """The highest bids, best first."""
        return self._bids.top()

    def asks(self) -> tuple[Level, ...]:
        """The lowest asks, best first."""
        return self._asks.top()

    def levels(self) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """All bids and all asks, best first."""
        return self._bids.all(), self._asks.all()

    @property
    def best_bid(self) -> float | None:
        return self._bids.best

    @property
    def best_ask(self) -> float | None:
        return self._asks.best

    @property
    def sequence(self) -> int:
        """The venue's number of this state; `NO_ID` out of sync."""
        return self._at.last

    @property
    def buffered(self) -> int:
        """How many messages wait for a snapshot."""
        return len(self._held)

    @property
    def condition(self) -> Condition:
        """Is the best bid below the best ask, above, or equal? An empty side is open."""
        bid, ask = self._bids.best, self._asks.best
        if bid is None or ask is None or bid < ask:
            return "open"
        return "crossed" if bid > ask else "locked"

    # Inside

    def _replace(self, update: BookUpdate) -> Outcome:
        self._bids.clear()
        self._asks.clear()
        self._at = Position()
        self.in_sync = True
        outcome = self._change(update)
        self._at.fresh = True
        return self._catch_up() if outcome is Outcome.CHANGED and self._held else outcome

    def _catch_up(self) -> Outcome:
        """After a snapshot: what came before it, in the order of its coming."""
        held, self._held = self._held, deque(maxlen=self._held.maxlen)
        while held:
            outcome = self.apply(held.popleft())
            if outcome in (Outcome.GAP, Outcome.CHECKSUM):
                self._held.extend(held)  # a newer snapshot may reach up to these
                return outcome
        return Outcome.CHANGED

    def _hold(self, update: BookUpdate) -> Outcome:
        if len(self._held) == self._held.maxlen:
            self.counters["book_buffer_full"] += 1  # the oldest goes: if it was needed, the rest will not follow
        self._held.append(update)
        return Outcome.BUFFERED

    def _change(self, update: BookUpdate) -> Outcome:
        try:
            absent = self._bids.change(update.bids) + self._asks.change(update.asks)
        except ValueError:
            self.counters["book_bad_level"] += 1
            return self._lost(Outcome.GAP)
        if absent:
            self.counters["book_absent_delete"] += absent
        if self._window is not None:
            self._bids.keep(self._window)
            self._asks.keep(self._window)
        elif len(self._bids.keys) > self._max_levels or len(self._asks.keys) > self._max_levels:
            self.counters["book_too_deep"] += 1
            return self._lost(Outcome.GAP)
        at = self._at
        at.last, at.previous, at.fresh = update.last, update.previous, False
        self.exchange_ns = update.exchange_ns
        if self._guard is not None and not self._guard.verify(self._texts, update.checksum):
            self.counters["book_checksum"] += 1
            return self._lost(Outcome.CHECKSUM)
        return Outcome.CHANGED

    def _texts(self, most: int) -> tuple[list[TextLevel], list[TextLevel]]:
        return self._bids.texts(most), self._asks.texts(most)

    def _lost(self, outcome: Outcome) -> Outcome:
        self.lose()
        return outcome
