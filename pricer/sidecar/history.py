"""The last hour of every expiry and option, in bounded memory: what charts begin with before the stream goes on.

Two rings are filled from snapshots at a steady pace, whatever the engine's own: a row of figures for each expiry every
second, and for each option every ten. A figure is kept only while it is `OK` or `DEGRADED` by the clock of that moment;
else there is a gap, and the status beside it says why. The wall clock dates the samples, the monotonic one paces them.

Per option and sample stand seven float32 (an implied volatility needs no more digits) and four statuses: 11,520 bytes
an hour. Per expiry and sample five float64 and two statuses: 151,200 bytes an hour. A thousand options of thirteen
expiries so take 13.5 MB. What would go beyond `Limits.max_bytes` is not recorded, and counted.

Expiries and options that leave the snapshots leave the history at its next sample.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricer.adapters.instruments import SliceKey
from pricer.clock import NS_PER_SECOND, Instant
from pricer.conventions import NO_TIME, Status, ttm_years
from pricer.sidecar.moment import status_of
from pricer.sidecar.rounding import round_significant
from pricer.sidecar.slices import statuses_at
from pricer.sidecar.smile_points import NO_POINTS, SmilePoints, points_of
from pricer.snapshot import FIELD_INDEX, ROW_PAIR, STATUS_PAIRS, SliceBlock, SliceDefinition, Snapshot

Floats = NDArray[np.floating[Any]]
Slots = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]

# A float32 has a little more than seven digits.
_FLOAT32_DIGITS = 7


class Field(NamedTuple):
    """A figure that is kept, and the column with its status."""

    name: str
    status: str


EXPIRY_FIELDS = (
    Field("atm_iv", "status"),
    Field("rr25", "status"),
    Field("bf25", "status"),
    Field("forward", "forward_status"),
    Field("ttm", "status"),
)
OPTION_FIELDS = (
    Field("iv", "status"),
    Field("bid_iv", "bid_iv_status"),
    Field("ask_iv", "ask_iv_status"),
    Field("delta", "status"),
    Field("vega", "status"),
    Field("theo", "status"),
    Field("mid", "mid_status"),
)
EXPIRY_STATUSES = ("status", "forward_status")
OPTION_STATUSES = ("status", "bid_iv_status", "ask_iv_status", "mid_status")


@dataclass(frozen=True, slots=True)
class Limits:
    """The pace of both rings, how far back they reach, and what all of it may take."""

    expiry_interval_ns: int = NS_PER_SECOND
    option_interval_ns: int = 10 * NS_PER_SECOND
    kept_ns: int = 3600 * NS_PER_SECOND
    max_bytes: int = 64 * 1024 * 1024


class Ring:
    """The moments of the last samples, one for all rows: where the next goes, and in which order they stand."""

    def __init__(self, interval_ns: int, length: int) -> None:
        self.interval_ns = interval_ns
        self.times = np.full(length, NO_TIME, np.int64)
        self.count = 0
        self._due_ns: int | None = None

    def due(self, now: Instant) -> bool:
        """Is it time? The pace is kept to the monotonic clock, and samples that were missed stay missing."""
        if self._due_ns is None or now.mono_ns >= self._due_ns:
            before = now.mono_ns if self._due_ns is None else self._due_ns
            self._due_ns = max(before + self.interval_ns, now.mono_ns + self.interval_ns // 2)
            return True
        return False

    def advance(self, now: Instant) -> int:
        """The slot of this sample."""
        slot = self.count % self.times.size
        self.times[slot] = now.wall_ns
        self.count += 1
        return slot

    def slots(self, since_ns: int | None = None, most: int | None = None) -> Slots:
        """The slots after `since_ns`, in the order of sampling; every n-th only where there are more than `most`."""
        length = self.times.size
        numbers = np.arange(max(self.count - length, 0), self.count)
        if since_ns is not None:
            numbers = numbers[self.times[numbers % length] > since_ns]
        if most is not None and numbers.size > most:
            # Counted from the very first sample, so that asking again gives the same ones.
            numbers = numbers[numbers % math.ceil(numbers.size / most) == 0]
        return numbers % length


class Table:
    """The samples of some rows: `values` [field, slot, row], NaN in gaps, and `status` uint8 [kind, slot, row]."""

    def __init__(self, fields: int, kinds: int, ring: Ring, rows: int, dtype: type[np.floating[Any]]) -> None:
        self.values: Floats = np.full((fields, ring.times.size, rows), np.nan, dtype)
        self.status = np.full((kinds, ring.times.size, rows), Status.INVALID, np.uint8)

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.status.nbytes

    def adopt(self, other: Table, mine: list[int], theirs: list[int]) -> None:
        """Take over the samples of rows that both have."""
        self.values[:, :, mine] = other.values[:, :, theirs]
        self.status[:, :, mine] = other.status[:, :, theirs]


@dataclass(slots=True)
class Track:
    """One expiry: its own figures, and those of its options in the rows of the definition."""

    definition: SliceDefinition
    expiry: Table
    options: Table

    @property
    def nbytes(self) -> int:
        return self.expiry.nbytes + self.options.nbytes


@dataclass
class History:
    """Feed it snapshots with `sample`, as often as you like; ask it for columns."""

    limits: Limits = Limits()
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        limits = self.limits
        self.expiry_ring = Ring(limits.expiry_interval_ns, max(limits.kept_ns // limits.expiry_interval_ns, 1))
        self.option_ring = Ring(limits.option_interval_ns, max(limits.kept_ns // limits.option_interval_ns, 1))
        self._tracks: dict[SliceKey, Track] = {}
        self._refused: set[SliceKey] = set()

    @property
    def nbytes(self) -> int:
        """What the samples take; never more than `limits.max_bytes`."""
        return sum(track.nbytes for track in self._tracks.values())

    def __len__(self) -> int:
        """How many options are recorded."""
        return sum(len(track.definition) for track in self._tracks.values())

    # ---- filling

    def sample(self, snapshot: Snapshot) -> None:
        """Take from `snapshot` what is due at its clock's present moment; statuses are those of that moment."""
        now = snapshot.clock.now()
        if not self.expiry_ring.due(now):
            return
        slot, option_slot = self.expiry_ring.advance(now), None
        if self.option_ring.due(now):
            option_slot = self.option_ring.advance(now)
        self._follow(snapshot.blocks)
        for block in snapshot.blocks:
            track = self._tracks.get(block.key)
            if track is None:
                continue
            status, _ = statuses_at(block, now)
            _write_expiry(track.expiry, slot, block, status, now)
            if option_slot is not None:
                _write_options(track.options, option_slot, block, status, now)

    def _follow(self, blocks: tuple[SliceBlock, ...]) -> None:
        """Rows for what is listed now, and none for what is not any more."""
        listed = {block.key for block in blocks}
        self._refused &= listed
        for gone in self._tracks.keys() - listed:
            del self._tracks[gone]
        for block in blocks:
            track = self._tracks.get(block.key)
            if track is None or track.definition is not block.definition:
                self._list(block, track)

    def _list(self, block: SliceBlock, old: Track | None) -> None:
        definition = block.definition
        if old is not None:
            kept = _same_contracts(definition, old.definition)
            if len(kept) == len(definition) and definition.names == old.definition.names:
                old.definition = definition
                return
            del self._tracks[block.key]
        if self.nbytes + self._cost(len(definition)) > self.limits.max_bytes:
            self.counts["refused_expiries"] += block.key not in self._refused
            self._refused.add(block.key)
            return
        options = Table(len(OPTION_FIELDS), len(OPTION_STATUSES), self.option_ring, len(definition), np.float32)
        expiry = Table(len(EXPIRY_FIELDS), len(EXPIRY_STATUSES), self.expiry_ring, 1, np.float64)
        if old is not None:
            expiry = old.expiry
            options.adopt(old.options, [mine for mine, _ in kept], [theirs for _, theirs in kept])
        self._tracks[block.key] = Track(definition, expiry, options)

    def _cost(self, options: int) -> int:
        """Bytes of one more expiry with so many options."""
        return self.expiry_ring.times.size * (8 * len(EXPIRY_FIELDS) + len(EXPIRY_STATUSES)) + (
            options * self.option_ring.times.size * (4 * len(OPTION_FIELDS) + len(OPTION_STATUSES))
        )

    # ---- reading

    def expiries(self, venue: str, underlying: str) -> tuple[int, ...]:
        """The expiries that are recorded, `expiry_ns` ascending."""
        return tuple(sorted(key.expiry_ns for key, track in self._of(venue, underlying)))

    def of_expiries(
        self,
        venue: str,
        underlying: str,
        *,
        expiry_ns: int | None = None,
        since_ns: int | None = None,
        most: int = 10_000,
        digits: int = 9,
    ) -> Columns:
        """`time_ns`, `expiry_ns` and EXPIRY_FIELDS with their statuses, one expiry after the other, each in time.

        Samples of before an expiry was listed are left out. More than `most` rows are thinned evenly.
        """
        tracks = sorted(
            ((key.expiry_ns, track) for key, track in self._of(venue, underlying)), key=lambda found: found[0]
        )
        if expiry_ns is not None:
            tracks = [found for found in tracks if found[0] == expiry_ns]
        slots = self.expiry_ring.slots(since_ns, max(most // max(len(tracks), 1), 1))
        parts = []
        for expiry, track in tracks:
            known = _known(track.expiry, slots, 0)
            head = {"time_ns": self.expiry_ring.times[known], "expiry_ns": np.full(known.size, expiry, np.int64)}
            parts.append(head | _columns(track.expiry, known, 0, EXPIRY_FIELDS, EXPIRY_STATUSES, digits))
        if not parts:
            empty = Table(len(EXPIRY_FIELDS), len(EXPIRY_STATUSES), self.expiry_ring, 1, np.float64)
            none = np.empty(0, np.int64)
            head = {"time_ns": none, "expiry_ns": none}
            return head | _columns(empty, none, 0, EXPIRY_FIELDS, EXPIRY_STATUSES, digits)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def of_option(
        self, venue: str, underlying: str, name: str, *, since_ns: int | None = None, digits: int = 9
    ) -> Columns | None:
        """`time_ns` and OPTION_FIELDS with their statuses, in time; None where no such option is recorded."""
        for _, track in self._of(venue, underlying):
            row = track.definition.rows.get(name)
            if row is not None:
                slots = _known(track.options, self.option_ring.slots(since_ns), row)
                columns = _columns(track.options, slots, row, OPTION_FIELDS, OPTION_STATUSES, digits)
                return {"time_ns": self.option_ring.times[slots], **columns}
        return None

    def _of(self, venue: str, underlying: str) -> Iterator[tuple[SliceKey, Track]]:
        for key, track in self._tracks.items():
            if key.venue == venue and track.definition.underlying == underlying:
                yield key, track


def _same_contracts(mine: SliceDefinition, theirs: SliceDefinition) -> list[tuple[int, int]]:
    """Where both have the same contract: a name alone is not enough, as a venue may use it again for another one."""
    rows = [(row, theirs.rows[name]) for row, name in enumerate(mine.names) if name in theirs.rows]
    return [
        (row, other)
        for row, other in rows
        if all(getattr(mine, name)[row] == getattr(theirs, name)[other] for name in ("strike", "cp", "contract_size"))
    ]


def _write_expiry(table: Table, slot: int, block: SliceBlock, status: NDArray[np.uint8], now: Instant) -> None:
    """The figures of a smile are as good as the best of its options, as elsewhere on the wire."""
    ttm = ttm_years(block.key.expiry_ns, now.wall_ns)
    smile = Status(int(status[ROW_PAIR].min())) if status.shape[1] else Status.INVALID
    points = _points(block, ttm) if smile <= Status.DEGRADED else NO_POINTS
    if smile <= Status.DEGRADED and math.isnan(points.atm_iv):
        smile = Status.INVALID
    forward = status_of(block.forward, now)[0]
    table.values[:, slot, 0] = (
        *points,
        block.forward.value if forward <= Status.DEGRADED else math.nan,
        ttm if smile <= Status.DEGRADED else math.nan,
    )
    table.status[:, slot, 0] = (smile, forward)


def _points(block: SliceBlock, ttm: float) -> SmilePoints:
    """Of the published smile at this very moment: the same volatility at each k, an instant nearer to the expiry."""
    fit = block.fit
    return NO_POINTS if fit is None or fit.smile is None or ttm <= 0.0 else points_of(fit.smile.at(fit.forward, ttm))


_MODEL = [FIELD_INDEX[name] for name in ("iv", "delta", "vega", "theo")]
_MODEL_AT = [0, 3, 4, 5]
_BID_IV, _ASK_IV, _MID = 1, 2, 6
_KINDS = [ROW_PAIR, STATUS_PAIRS.index("bid_iv"), STATUS_PAIRS.index("ask_iv")]
_BID, _ASK = FIELD_INDEX["bid"], FIELD_INDEX["ask"]


def _write_options(table: Table, slot: int, block: SliceBlock, status: NDArray[np.uint8], now: Instant) -> None:
    values, drawn = block.values, status <= Status.DEGRADED
    to = table.values[:, slot]
    to[_MODEL_AT] = np.where(drawn[ROW_PAIR], values[_MODEL], np.nan)
    to[_BID_IV] = np.where(drawn[_KINDS[1]], values[FIELD_INDEX["bid_iv"]], np.nan)
    to[_ASK_IV] = np.where(drawn[_KINDS[2]], values[FIELD_INDEX["ask_iv"]], np.nan)
    # The mid of two prices is a fact of the venue: there or not, and fresh or not.
    mid = 0.5 * (values[_BID] + values[_ASK])
    fresh = now.mono_ns <= block.quote_valid_until_ns
    to[_MID] = np.where(fresh, mid, np.nan)
    table.status[: len(_KINDS), slot] = status[_KINDS]
    table.status[-1, slot] = np.where(np.isnan(mid), Status.INVALID, np.where(fresh, Status.OK, Status.STALE))


def _known(table: Table, slots: Slots, row: int) -> Slots:
    """Without what lies before the row's first sample that said anything."""
    said = (table.status[:, slots, row] != Status.INVALID).any(axis=0)
    return slots[int(said.argmax()) :] if said.any() else slots[:0]


def _columns(
    table: Table, slots: Slots, row: int, fields: tuple[Field, ...], statuses: tuple[str, ...], digits: int
) -> Columns:
    kept = digits if table.values.dtype == np.float64 else min(digits, _FLOAT32_DIGITS)
    values = round_significant(np.ascontiguousarray(table.values[:, slots, row], np.float64), kept)
    out: Columns = {each.name: values[i] for i, each in enumerate(fields)}
    return out | {name: np.ascontiguousarray(table.status[i, slots, row]) for i, name in enumerate(statuses)}
