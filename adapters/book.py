"""Order books from snapshots and changes; sans-I/O. What makes a message fit its book is the venue's own rule, a value.

The rules first:

1. A book is in sync from a snapshot on, for as long as its venue's rule finds each message to follow the one before,
   and its checksum, where there is one, agrees. Out of sync it has no levels at all.
2. Changes that come while it is out of sync are kept (the newest 10,000) and tried after the next snapshot: those that
   it contains already are skipped, the first that does not follow makes it lost again.
3. A snapshot replaces everything, whenever it comes. `clear`, at each new session, leaves nothing of the old one.
4. A size that is not above zero deletes the level; deleting what is not there is counted and changes nothing.

Prices are keys as the wire's decimals, read once by a correctly rounding parser and never computed with: two decimals
of up to 15 significant digits are the same number exactly where they are the same double. Text as a key would take
"0.10" and "0.1" for two prices; docs/decisions/0013 has what each kind of key and of storage costs.
"""

from __future__ import annotations

import re
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, Literal, Protocol

import msgspec

Level = tuple[float, float]
TextLevel = tuple[str, str]
Condition = Literal["open", "crossed", "locked"]

# No id yet: below every id of any venue.
NO_ID = -1
# FAULTS S04: messages kept while a snapshot is awaited.
MAX_BUFFERED = 10_000
# Some times the deepest book recorded; a side that grows beyond is not a book any more.
MAX_LEVELS = 20_000

_DECIMAL = re.compile(r"-?\d{1,30}(\.\d{1,30})?([eE][-+]?\d{1,2})?", re.ASCII)


class BookUpdate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message of a book, in the words all venues share.

    `last` is the venue's number of the state after it, `previous` that of the state before, `first` the lowest number
    in it. Levels are (price, size) as numbers, or as the wire's text for a book that keeps it.
    """

    bids: Sequence[Any]
    asks: Sequence[Any]
    last: int
    previous: int | None = None
    first: int | None = None
    snapshot: bool = False
    checksum: int | None = None
    exchange_ns: int | None = None


class Verdict(Enum):
    """What a sequence rule says of a message."""

    APPLY = "apply"
    REPLACE = "replace"  # a snapshot, or what counts as one
    OLD = "old"  # contained already: a repetition, or from before the snapshot
    KEEP_ALIVE = "keep_alive"  # nothing has changed, and the venue says so
    GAP = "gap"


class Position:
    """Where a book stands in its venue's numbering. `fresh`: nothing was applied since the snapshot."""

    __slots__ = ("fresh", "last", "previous")

    def __init__(self) -> None:
        self.last: int = NO_ID
        self.previous: int | None = None
        self.fresh = True


SequenceRule = Callable[[Position, BookUpdate], Verdict]


def change_id_chain(at: Position, update: BookUpdate) -> Verdict:
    """Deribit (sheet 5.7): `prev_change_id` equals the last `change_id`; ids grow, but not by one.

    Only the very last message counts as repeated. An older one may as well be a restarted numbering, which is not
    documented: a new snapshot is cheap, a book that skips all messages is not.
    """
    if update.snapshot:
        return Verdict.REPLACE
    if update.previous == at.last and update.last > at.last:
        return Verdict.APPLY
    return _old_or_gap(at, update)


def seq_id_chain(at: Position, update: BookUpdate) -> Verdict:
    """OKX (sheet 4.5): `prevSeqId` equals the last `seqId`.

    Equal ids without levels are a keep-alive; a lower `seqId` that links is the venue's documented reset.
    """
    if update.snapshot:
        return Verdict.REPLACE
    if update.previous != at.last:
        return _old_or_gap(at, update)
    if update.last != at.last:
        return Verdict.APPLY
    return Verdict.GAP if update.bids or update.asks else Verdict.KEEP_ALIVE


def update_id_overlap(at: Position, update: BookUpdate) -> Verdict:
    """Binance options (sheet 4): U ≤ lastUpdateId ≤ u for the first after a snapshot, then `pu` equals the last u.

    A first message whose `pu` is the snapshot's own number follows it as well: nothing lies between.
    """
    if update.snapshot:
        return Verdict.REPLACE
    if update.previous == at.last and update.last >= at.last:
        return Verdict.APPLY
    if at.fresh and update.first is not None and update.first <= at.last <= update.last:
        return Verdict.APPLY
    return _old_or_gap(at, update)


def update_id_ranges(at: Position, update: BookUpdate) -> Verdict:
    """Gate (sheet 4): U ≤ base + 1 ≤ u for the first after a snapshot, then U is the last u plus one."""
    if update.snapshot:
        return Verdict.REPLACE
    if update.last <= at.last:
        return Verdict.OLD  # Gate's own rule, snapshot or not: u below base + 1 is dropped
    if update.first is None:
        return Verdict.GAP
    follows = update.first <= at.last + 1 if at.fresh else update.first == at.last + 1
    return Verdict.APPLY if follows else Verdict.GAP


def plus_one(at: Position, update: BookUpdate) -> Verdict:
    """Delta Exchange (sheet 4.3): `seq` grows by one."""
    if update.snapshot:
        return Verdict.REPLACE
    if update.last == at.last + 1:
        return Verdict.APPLY
    # Without a link there is but one number to know a repetition by.
    return Verdict.OLD if update.last == at.last or (at.fresh and update.last < at.last) else Verdict.GAP


def growing_id(at: Position, update: BookUpdate) -> Verdict:
    """Bybit (sheet 4.3): u = 1 is a restart and so a snapshot, whatever its type; else u grows.

    That it grows by one on options is not confirmed, so a jump is no gap.
    """
    if update.snapshot or update.last == 1:
        return Verdict.REPLACE
    if update.last > at.last:
        return Verdict.APPLY
    return Verdict.OLD if update.last == at.last or at.fresh else Verdict.GAP


def unnumbered(at: Position, update: BookUpdate) -> Verdict:
    """Thalex (sheet 4), and OKX's frames of 2022: no numbers; continuity rests on the connection."""
    return Verdict.REPLACE if update.snapshot else Verdict.APPLY


def whole_pictures(at: Position, update: BookUpdate) -> Verdict:
    """Each message is complete, and only its order matters: Deribit's grouped books, Derive's `publish_id`."""
    return Verdict.OLD if update.last < at.last else Verdict.REPLACE


def _old_or_gap(at: Position, update: BookUpdate) -> Verdict:
    """A snapshot contains what is not newer than it; later on only the last message, unchanged, is a repetition."""
    if at.fresh:
        return Verdict.OLD if update.last <= at.last and update.previous != at.last else Verdict.GAP
    return Verdict.OLD if (update.last, update.previous) == (at.last, at.previous) else Verdict.GAP


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


class Side:
    """The levels of one side. Keys are prices, negated for asks: the best is the highest, and the last in the list."""

    __slots__ = ("_depth", "_floor", "_keys", "_levels", "_sign", "_top")

    def __init__(self, sign: float, depth: int) -> None:
        self._sign = sign
        self._depth = depth
        self._keys: list[float] = []
        self._levels: dict[float, Level] = {}
        self._top: tuple[Level, ...] | None = ()
        self._floor = float("-inf")

    def __len__(self) -> int:
        return len(self._keys)

    def clear(self) -> None:
        self._keys.clear()
        self._levels.clear()
        self._top = None

    def change(self, levels: Iterable[Any]) -> int:
        """Set or delete levels. Gives how many were to be deleted and were not there."""
        absent = 0
        for level in levels:
            price, size = level
            absent += self.put(price, size, level)
        return absent

    def put(self, price: float, size: float, level: Level) -> int:
        """Set one level, or delete it; 1 where it was to be deleted and was not there."""
        key = price * self._sign
        if size > 0.0:
            if key not in self._levels:
                insort(self._keys, key)
            self._levels[key] = level
        elif self._levels.pop(key, None) is None:
            return 1
        else:
            del self._keys[bisect_left(self._keys, key)]
        if key >= self._floor:
            self._top = None
        return 0

    def keep(self, most: int) -> None:
        """Forget all but the best `most` levels."""
        beyond = len(self._keys) - most
        if beyond > 0:
            for key in self._keys[:beyond]:
                self.forget(key)
            del self._keys[:beyond]

    def forget(self, key: float) -> None:
        """Drop one level from the dictionaries, when it has left the list of keys."""
        del self._levels[key]

    def texts(self, most: int) -> list[TextLevel]:
        """The best `most` levels as text; only a side that keeps the wire's text has any."""
        return []

    def top(self) -> tuple[Level, ...]:
        """The best levels, best first: the same tuple until one of them changes."""
        if self._top is None:
            keys = self._keys[: -self._depth - 1 : -1]
            levels = self._levels
            self._top = tuple([levels[key] for key in keys])
            # While fewer levels exist than are asked for, every change shows.
            self._floor = keys[-1] if len(keys) == self._depth else float("-inf")
        return self._top

    @property
    def best(self) -> float | None:
        """The best price; None for an empty side."""
        return self._keys[-1] * self._sign if self._keys else None

    def all(self) -> tuple[Level, ...]:
        """Every level, best first."""
        return tuple([self._levels[key] for key in reversed(self._keys)])


class TextSide(Side):
    """A side that keeps each level as the venue wrote it, for checksums over that text."""

    __slots__ = ("_texts",)

    def __init__(self, sign: float, depth: int) -> None:
        super().__init__(sign, depth)
        self._texts: dict[float, TextLevel] = {}

    def clear(self) -> None:
        super().clear()
        self._texts.clear()

    def change(self, levels: Iterable[Any]) -> int:
        """Like `Side.change`, from (price, size) in text; ValueError where one is no decimal number."""
        absent = 0
        for text in levels:
            price, size = decimal(text[0]), decimal(text[1])
            absent += self.put(price, size, (price, size))
            key = price * self._sign
            if size > 0.0:
                self._texts[key] = (text[0], text[1])
            else:
                self._texts.pop(key, None)
        return absent

    def forget(self, key: float) -> None:
        super().forget(key)
        self._texts.pop(key, None)

    def texts(self, most: int) -> list[TextLevel]:
        """The best `most` levels as the venue wrote them, best first."""
        return [self._texts[key] for key in self._keys[: -most - 1 : -1]]


def decimal(text: str) -> float:
    """A decimal number; ValueError for anything else that `float` takes: spaces, underscores, "nan", "Infinity".

    >>> decimal("0.0005") == decimal("5e-4")
    True
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"not a decimal number: {text!r:.40}")
    return float(text)


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
        elif len(self._bids) > self._max_levels or len(self._asks) > self._max_levels:
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
