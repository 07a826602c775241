"""Does a message fit its book? Each venue's numbering as a rule, a value: from where the book stands to a verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import msgspec

# No id yet: below every id of any venue.
NO_ID = -1


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
