"""A chain as the wire has it: rounded columns, their differences, and the columns of messages made of them.

A `Picture` is one underlying at one moment as a consumer may see it: values rounded once, statuses by the clock of that
moment. Two pictures of the same options differ in some rows of some columns: that is a delta. Slices whose block did
not change are shared between pictures, so that the work is in proportion to what moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pricer.adapters.instruments import SliceKey
from pricer.clock import Instant
from pricer.conventions import NO_TIME, Reason, Status
from pricer.kernels import publishing
from pricer.sidecar.checksum import crc32_of
from pricer.sidecar.messages import Column, Columns
from pricer.sidecar.moment import Newest, newest, newest_of, status_of
from pricer.sidecar.rounding import round_significant
from pricer.snapshot import (
    FIELD_INDEX,
    QUOTE_IV_FIELDS,
    ROW_PAIR,
    STATUS_PAIRS,
    VALUE_FIELDS,
    SliceBlock,
    Snapshot,
)

# What a row is; only snapshots carry it.
IDENTITY = ("name", "expiry_ns", "strike", "cp", "tick_size", "min_amount", "contract_size", "settlement_currency")
# What of a definition snapshots tell and deltas do not.
_OF_ALL_ROWS = ("key", "inverse", "settlement_currency", "quote_currency")
_OF_EACH_ROW = ("strike", "cp", "tick_size", "min_amount", "contract_size")
# When a row's quote was so, when we knew, when its channel last proved to live, and when it must no longer be used.
INSTANTS = ("quote_exchange_ns", "quote_received_ns", "quote_mono_ns", "quote_valid_until_ns")
# Only in HTTP answers, which are one moment. In a stream a row's age grows without a message: take the instants.
AGES = ("quote_age_ns", "forward_age_ns", "fit_age_ns")

NEVER = 2**63 - 1

Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which value columns a stream carries. A value never travels without its status."""

    fields: tuple[str, ...] = VALUE_FIELDS

    @property
    def positions(self) -> NDArray[np.int64]:
        """Where the fields stand in a block's values."""
        return np.array([FIELD_INDEX[name] for name in self.fields], np.int64)

    @property
    def pairs(self) -> tuple[int, ...]:
        """The status pairs that go with the fields; the row's own always does."""
        return tuple(i for i, name in enumerate(STATUS_PAIRS) if i == ROW_PAIR or name in self.fields)


EVERYTHING = Selection()


class Visible(NamedTuple):
    """What of a block may be seen, whatever the time: values float64 [field, row], instants int64 [INSTANTS, row]."""

    values: NDArray[np.float64]
    instants: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Slice:
    """One expiry, or the `rows` of it that a window shows.

    `values` float64 [field, row] rounded, `status` and `reasons` [pair, row] by the clock, `instants` int64
    [len(INSTANTS), row]; `newest` of the quotes in it. Until `settled_until`, monotonic, time alone changes none of it.
    """

    block: SliceBlock
    rows: slice
    values: NDArray[np.float64]
    instants: NDArray[np.int64]
    status: NDArray[np.uint8]
    reasons: NDArray[np.uint64]
    newest: Newest
    settled_until: int

    def __len__(self) -> int:
        return int(self.values.shape[1])

    @property
    def names(self) -> tuple[str, ...]:
        """The options in it."""
        return self.block.definition.names[self.rows]


@dataclass(frozen=True, slots=True)
class Picture:
    """One underlying of one venue at `now`."""

    snapshot: Snapshot
    now: Instant
    slices: tuple[Slice, ...]

    def says_the_same_as(self, other: Picture) -> bool:
        """The same version, and no status that the clock has changed since."""
        return (
            self.snapshot.version == other.snapshot.version
            and len(self.slices) == len(other.slices)
            and all(mine is theirs for mine, theirs in zip(self.slices, other.slices, strict=True))
            and self._prices() == other._prices()
        )

    def _prices(self) -> list[Status]:
        """The statuses of index, perpetual and forwards at this moment."""
        forwards = [piece.block.forward for piece in self.slices]
        values = [self.snapshot.index, self.snapshot.perpetual, *forwards]
        return [status_of(value, self.now)[0] for value in values]

    def has_rows_of(self, other: Picture) -> bool:
        """The same contracts in the same order, so that a delta can tell the difference."""
        return len(self.slices) == len(other.slices) and all(map(_same_rows, self.slices, other.slices))

    @property
    def newest(self) -> Newest:
        """Of everything in it."""
        snapshot = self.snapshot
        prices = newest_of(snapshot.index, snapshot.perpetual, *(piece.block.forward for piece in self.slices))
        return newest([prices, *(piece.newest for piece in self.slices)])

    def crc32(self, selection: Selection) -> int:
        """Over the selected value columns; see `pricer.sidecar.checksum`."""
        crc: int = 0
        positions = selection.positions
        for piece in self.slices:
            crc = crc32_of(piece.values[positions], crc)
        return crc


def _same_rows(mine: Slice, theirs: Slice) -> bool:
    one, other = mine.block.definition, theirs.block.definition
    if one is other:
        return mine.rows == theirs.rows
    # A venue may change a contract under its name, or use the name again: no delta could say so.
    return (
        mine.names == theirs.names
        and all(getattr(one, name) == getattr(other, name) for name in _OF_ALL_ROWS)
        and all(
            np.array_equal(getattr(one, name)[mine.rows], getattr(other, name)[theirs.rows], equal_nan=True)
            for name in _OF_EACH_ROW
        )
    )


@dataclass(frozen=True, slots=True)
class Changes:
    """Row numbers over the whole picture, and the new values of the columns in which at least one of them changed."""

    rows: NDArray[np.int64]
    columns: Columns


WHOLE: Mapping[SliceKey, slice] = {}


def take_picture(
    snapshot: Snapshot,
    digits: int,
    previous: Picture | None = None,
    rows: Mapping[SliceKey, slice] = WHOLE,
    visible: Callable[[SliceBlock], Visible] | None = None,
) -> Picture:
    """The snapshot of one underlying as it is to be seen now; unchanged slices are taken from `previous`.

    `rows` narrows expiries. `visible` gives what may be seen of a block where somebody has made that already.
    """
    now = snapshot.clock.now()
    known = {} if previous is None else {piece.block.key: piece for piece in previous.slices}
    see = visible or (lambda block: visible_of(block, digits))
    slices = tuple(
        _slice(block, rows.get(block.key, slice(0, len(block.definition))), now, known.get(block.key), see)
        for block in snapshot.blocks
    )
    return Picture(snapshot, now, slices)


def _slice(
    block: SliceBlock, rows: slice, now: Instant, known: Slice | None, visible: Callable[[SliceBlock], Visible]
) -> Slice:
    if known is not None and (known.block is not block or known.rows != rows):
        known = None
    if known is not None and now.mono_ns <= known.settled_until:
        return known
    status, reasons = statuses_at(block, now, rows)
    settled = _settled_until(block, now, rows)
    if known is None:
        values, instants = visible(block)
        if rows.stop - rows.start < len(block.definition):
            # In one piece of memory, as the kernels were compiled for it.
            values, instants = np.ascontiguousarray(values[:, rows]), np.ascontiguousarray(instants[:, rows])
        return Slice(block, rows, values, instants, status, reasons, _newest(instants), settled)
    if np.array_equal(status, known.status) and np.array_equal(reasons, known.reasons):
        return known
    return Slice(block, rows, known.values, known.instants, status, reasons, known.newest, settled)


def _settled_until(block: SliceBlock, now: Instant, rows: slice) -> int:
    """The next limit after which a status may be another one."""
    limits = block.quote_valid_until_ns[rows]
    ahead = int(np.where(limits >= now.mono_ns, limits, NEVER).min(initial=NEVER))
    return min(ahead, block.model_valid_until_ns) if block.model_valid_until_ns >= now.mono_ns else ahead


def visible_of(block: SliceBlock, digits: int) -> Visible:
    """Rounded, and without what is INVALID: such a field is null on the wire, whatever stands in the arrays."""
    values = round_significant(_fixed(block.values), digits)
    publishing.hide_invalid(_fixed(block.status), FIELD_INDEX[QUOTE_IV_FIELDS[0]], FIELD_INDEX["iv"], values)
    instants = (block.quote_exchange_ns, block.quote_received_ns, block.quote_mono_ns, block.quote_valid_until_ns)
    return Visible(values, np.stack(instants))


def _newest(instants: NDArray[np.int64]) -> Newest:
    exchange, received = instants[:2].max(1, initial=NO_TIME).tolist()
    return Newest(exchange, received)


def smile_status(status: NDArray[np.uint8], reasons: NDArray[np.uint64]) -> tuple[Status, Reason]:
    """What is true of every option of an expiry is true of its smile: the best status, and the reasons of all.

    Both are [pair, row], as `statuses_at` gives them.
    """
    if not status.shape[1]:
        return Status.INVALID, Reason.NO_QUOTE
    return Status(int(status[ROW_PAIR].min())), Reason(int(np.bitwise_and.reduce(reasons[ROW_PAIR])))


def statuses_at(
    block: SliceBlock, now: Instant, rows: slice = slice(None)
) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """The four pairs, STALE where `now` is past the limit.

    Reasons that inform about a whole snapshot (CONFLATED, REPLAY) stand once in the message, not in each row: CONFLATED
    comes and goes with every snapshot under load, and would make every row of every delta a changed one.
    """
    status, reasons = block.status[:, rows].copy(), block.reasons[:, rows].copy()
    publishing.age_statuses(
        status, reasons, _fixed(block.quote_valid_until_ns[rows]), block.model_valid_until_ns, now.mono_ns
    )
    return status, reasons


def _fixed(array: NDArray[Kind]) -> NDArray[Kind]:
    """The same memory, read-only: a kernel is compiled anew for every type, and to Numba this is one."""
    view = array.view()
    view.flags.writeable = False
    return view


def changes(old: Picture, new: Picture, selection: Selection = EVERYTHING) -> Changes:
    """What a consumer of `old` needs to have `new`; both must have the same rows."""
    found: list[tuple[Slice, NDArray[np.intp]]] = []
    numbers: list[NDArray[np.int64]] = []
    changed = _Changed(
        np.zeros(len(selection.fields), np.bool_),
        np.zeros((2, len(STATUS_PAIRS)), np.bool_),
        np.zeros(len(INSTANTS), np.bool_),
    )
    fields, pairs = selection.positions, np.array(selection.pairs, np.int64)
    start = 0
    for before, after in zip(old.slices, new.slices, strict=True):
        if before is not after:
            picked = np.flatnonzero(_differing_rows(before, after, fields, pairs, changed))
            if picked.size:
                found.append((after, picked))
                numbers.append(start + picked)
        start += len(after)
    if not found:
        return Changes(np.empty(0, np.int64), {})
    return Changes(np.concatenate(numbers), _columns(found, selection, changed))


def _differing_rows(
    before: Slice, after: Slice, fields: NDArray[np.int64], pairs: NDArray[np.int64], changed: _Changed
) -> NDArray[np.bool_]:
    """Which rows differ; the columns that do are marked in `changed`."""
    rows = np.zeros(len(after), np.bool_)
    publishing.differing_values(before.values, after.values, fields, rows, changed.fields)
    publishing.differing_states(before.status, after.status, before.reasons, after.reasons, pairs, rows, changed.states)
    publishing.differing_instants(before.instants, after.instants, rows, changed.instants)
    return rows


@dataclass(frozen=True, slots=True)
class _Changed:
    """Which columns are wanted: by field of the selection, by (status or reasons, pair), by instant."""

    fields: NDArray[np.bool_]
    states: NDArray[np.bool_]
    instants: NDArray[np.bool_]


Picked = Sequence[tuple[Slice, NDArray[np.intp] | slice]]


def _columns(pieces: Picked, selection: Selection, wanted: _Changed | None) -> dict[str, Column]:
    """The changing columns of the picked rows: all of the selection, or only those in `wanted`."""
    out: dict[str, Column] = {}
    fields = [i for i in range(len(selection.fields)) if wanted is None or wanted.fields[i]]
    values = _gathered([(piece.values[selection.positions[fields]], picked) for piece, picked in pieces])
    out |= {selection.fields[i]: values[place] for place, i in enumerate(fields)}
    for pair in selection.pairs:
        prefix = "" if pair == ROW_PAIR else f"{STATUS_PAIRS[pair]}_"
        if wanted is None or wanted.states[0, pair]:
            out[f"{prefix}status"] = np.concatenate([piece.status[pair, picked] for piece, picked in pieces])
        if wanted is None or wanted.states[1, pair]:
            out[f"{prefix}reasons"] = np.concatenate([piece.reasons[pair, picked] for piece, picked in pieces])
    instants = _gathered([(piece.instants, picked) for piece, picked in pieces])
    for i, name in enumerate(INSTANTS):
        if wanted is None or wanted.instants[i]:
            out[name] = instants[i]
    return out


def _gathered(parts: Sequence[tuple[NDArray[Kind], NDArray[np.intp] | slice]]) -> NDArray[Kind]:
    """The picked rows of all parts side by side, each column in one piece of memory, as the encoder wants it."""
    return np.concatenate(
        [array[:, rows] if isinstance(rows, slice) else array.take(rows, 1) for array, rows in parts], 1
    )


def all_columns(picture: Picture, selection: Selection = EVERYTHING) -> dict[str, Column]:
    """Every column of every row, what the rows are first."""
    parts = [(piece, piece.block.definition) for piece in picture.slices]
    out: dict[str, Column] = {
        "name": [name for piece, _ in parts for name in piece.names],
        "expiry_ns": np.repeat(
            np.array([of.key.expiry_ns for _, of in parts], np.int64), [len(piece) for piece, _ in parts]
        ),
        "strike": _joined([of.strike[piece.rows] for piece, of in parts], np.float64),
        "cp": _joined([of.cp[piece.rows] for piece, of in parts], np.int8),
    }
    out |= _columns([(piece, slice(None)) for piece in picture.slices], selection, None) if parts else _empty(selection)
    for name in ("tick_size", "min_amount", "contract_size"):
        out[name] = _joined([getattr(of, name)[piece.rows] for piece, of in parts], np.float64)
    out["settlement_currency"] = [of.settlement_currency for piece, of in parts for _ in piece.names]
    return out


def _joined(parts: Sequence[NDArray[Any]], kind: type[Kind]) -> NDArray[Kind]:
    return np.concatenate([np.empty(0, kind), *parts]).astype(kind, copy=False)


def _empty(selection: Selection) -> dict[str, Column]:
    """The changing columns without a row."""
    out: dict[str, Column] = {name: np.empty(0) for name in selection.fields}
    for pair in selection.pairs:
        prefix = "" if pair == ROW_PAIR else f"{STATUS_PAIRS[pair]}_"
        out |= {f"{prefix}status": np.empty(0, np.uint8), f"{prefix}reasons": np.empty(0, np.uint64)}
    return out | {name: np.empty(0, np.int64) for name in INSTANTS}


def ages(picture: Picture) -> dict[str, Column]:
    """The ages at the picture's moment, a column each: null where the input never arrived."""
    now = picture.now
    quote, forward_, fit = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for piece in picture.slices:
        block = piece.block
        mono = block.quote_mono_ns[piece.rows]
        quote.append(np.where(mono == NO_TIME, NO_TIME, now.mono_ns - mono))
        age = block.forward.age_ns(now)
        forward_.append(np.full(len(mono), NO_TIME if age is None else age))
        fit.append(np.full(len(mono), NO_TIME if block.fitted is None else now.mono_ns - block.fitted.mono_ns))
    return dict(zip(AGES, map(np.concatenate, (quote, forward_, fit)), strict=True))
