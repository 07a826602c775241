"""What a chain looks like on the wire: rounded columns, their differences, and the messages made of them.

A `Picture` is one underlying at one moment as a consumer may see it: values rounded once, statuses by the clock of that
moment. Two pictures of the same options differ in some rows of some columns: that is a delta. Slices whose block did
not change are shared between pictures, so that the work is in proportion to what moved.

Two clocks travel. `*_ns` instants are UTC, for people and files. `mono_ns` is the sidecar's monotonic clock at the
moment of the message; `quote_mono_ns`, `quote_valid_until_ns` and `valid_until_ns` are on the same clock, so a client
that adds the time since it got `mono_ns` knows by itself how old a number is and when it must no longer be used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from pricer.clock import Clock, Instant
from pricer.conventions import NO_TIME, Reason, Status
from pricer.kernels import publishing
from pricer.sidecar.rounding import round_significant, rounded
from pricer.snapshot import (
    FIELD_INDEX,
    QUOTE_IV_FIELDS,
    ROW_PAIR,
    STATUS_PAIRS,
    VALUE_FIELDS,
    SliceBlock,
    Snapshot,
    UnderlyingValue,
)

PROTOCOL = 1

# What a row is; only snapshots carry it.
IDENTITY = ("name", "expiry_ns", "strike", "cp", "tick_size", "min_amount", "contract_size", "settlement_currency")
# When a row's quote was so, when we knew, when its channel last proved to live, and when it must no longer be used.
INSTANTS = ("quote_exchange_ns", "quote_received_ns", "quote_mono_ns", "quote_valid_until_ns")
# Only in HTTP answers, which are one moment. In a stream a row's age grows without a message: take the instants.
AGES = ("quote_age_ns", "forward_age_ns", "fit_age_ns")

JSON = orjson.OPT_SERIALIZE_NUMPY
NO_TIME_TEXT = orjson.dumps(NO_TIME)

Message = dict[str, Any]
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


@dataclass(frozen=True, slots=True)
class Slice:
    """One expiry: `values` float64 [field, row] rounded, `status` and `reasons` [pair, row] by the clock.

    `instants` is int64 [len(INSTANTS), row].
    """

    block: SliceBlock
    values: NDArray[np.float64]
    instants: NDArray[np.int64]
    status: NDArray[np.uint8]
    reasons: NDArray[np.uint64]


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
        """The same options in the same order, so that a delta can tell the difference."""
        return len(self.slices) == len(other.slices) and all(
            mine.block.definition is theirs.block.definition
            or (mine.block.key, mine.block.definition.names) == (theirs.block.key, theirs.block.definition.names)
            for mine, theirs in zip(self.slices, other.slices, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """Row numbers over the whole picture, and the new values of the columns in which at least one of them changed."""

    rows: NDArray[np.int64]
    columns: Message


def nothing_yet(clock: Clock) -> Snapshot:
    """Before the first snapshot: no rows, no index."""
    return Snapshot(0, clock.now(), (), {}, {}, {}, (), clock)


def take_picture(snapshot: Snapshot, digits: int, previous: Picture | None = None) -> Picture:
    """The snapshot of one underlying as it is to be seen now; unchanged slices are taken from `previous`."""
    now = snapshot.clock.now()
    known = {} if previous is None else {piece.block.key: piece for piece in previous.slices}
    slices = tuple(_slice(block, now, digits, known.get(block.key)) for block in snapshot.blocks)
    return Picture(snapshot, now, slices)


def _slice(block: SliceBlock, now: Instant, digits: int, known: Slice | None) -> Slice:
    status, reasons = statuses_at(block, now)
    if known is None or known.block is not block:
        return Slice(block, _visible(block, digits), _instants(block), status, reasons)
    if np.array_equal(status, known.status) and np.array_equal(reasons, known.reasons):
        return known
    return Slice(block, known.values, known.instants, status, reasons)


def _instants(block: SliceBlock) -> NDArray[np.int64]:
    """In the order of INSTANTS."""
    return np.stack((block.quote_exchange_ns, block.quote_received_ns, block.quote_mono_ns, block.quote_valid_until_ns))


def statuses_at(block: SliceBlock, now: Instant) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """The four pairs, STALE where `now` is past the limit.

    Reasons that inform about a whole snapshot (CONFLATED, REPLAY) stand once in the message, not in each row: CONFLATED
    comes and goes with every snapshot under load, and would make every row of every delta a changed one.
    """
    status, reasons = block.status.copy(), block.reasons.copy()
    publishing.age_statuses(
        status, reasons, _fixed(block.quote_valid_until_ns), block.model_valid_until_ns, now.mono_ns
    )
    return status, reasons


def _visible(block: SliceBlock, digits: int) -> NDArray[np.float64]:
    """Rounded, and without what is INVALID: such a field is null on the wire, whatever stands in the arrays."""
    values = round_significant(_fixed(block.values), digits)
    publishing.hide_invalid(_fixed(block.status), FIELD_INDEX[QUOTE_IV_FIELDS[0]], FIELD_INDEX["iv"], values)
    return values


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
        start += len(after.block.definition)
    if not found:
        return Changes(np.empty(0, np.int64), {})
    return Changes(np.concatenate(numbers), _columns(found, selection, changed))


def _differing_rows(
    before: Slice, after: Slice, fields: NDArray[np.int64], pairs: NDArray[np.int64], changed: _Changed
) -> NDArray[np.bool_]:
    """Which rows differ; the columns that do are marked in `changed`."""
    rows = np.zeros(len(after.block.definition), np.bool_)
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


def _columns(pieces: Picked, selection: Selection, wanted: _Changed | None) -> Message:
    """The changing columns of the picked rows: all of the selection, or only those in `wanted`."""
    out: Message = {}
    fields = [i for i in range(len(selection.fields)) if wanted is None or wanted.fields[i]]
    values = _gathered([(piece.values[selection.positions[fields]], picked) for piece, picked in pieces])
    out |= {selection.fields[i]: values[place] for place, i in enumerate(fields)}
    for pair in selection.pairs:
        prefix = "" if pair == ROW_PAIR else f"{STATUS_PAIRS[pair]}_"
        if wanted is None or wanted.states[0, pair]:
            codes = [code for piece, picked in pieces for code in piece.status[pair, picked].tolist()]
            out[f"{prefix}status"] = _listed(STATUS_TEXTS, codes)
        if wanted is None or wanted.states[1, pair]:
            masks = [mask for piece, picked in pieces for mask in piece.reasons[pair, picked].tolist()]
            out[f"{prefix}reasons"] = _listed(REASON_TEXTS, masks)
    instants = _gathered([(piece.instants, picked) for piece, picked in pieces])
    for i, name in enumerate(INSTANTS):
        if wanted is None or wanted.instants[i]:
            out[name] = _with_nulls(instants[i])
    return out


def _gathered(parts: Sequence[tuple[NDArray[Kind], NDArray[np.intp] | slice]]) -> NDArray[Kind]:
    """The picked rows of all parts side by side, each column in one piece of memory, as the encoder wants it."""
    return np.concatenate(
        [array[:, rows] if isinstance(rows, slice) else array.take(rows, 1) for array, rows in parts], 1
    )


class Texts(dict[int, bytes]):
    """JSON texts of a few different numbers, each made once; bounded."""

    def __init__(self, make: Callable[[int], bytes], most: int = 4096) -> None:
        super().__init__()
        self._make, self._most = make, most

    def __missing__(self, number: int) -> bytes:
        if len(self) >= self._most:
            self.clear()
        self[number] = text = self._make(number)
        return text


STATUS_TEXTS = Texts(lambda code: orjson.dumps(Status(code).name))
REASON_TEXTS = Texts(lambda mask: orjson.dumps(Reason(mask).names))


def _listed(texts: Texts, numbers: list[int]) -> orjson.Fragment:
    """A JSON list of texts that repeat: put together, not encoded again."""
    return orjson.Fragment(b"[%b]" % b",".join(map(texts.__getitem__, numbers)))


def _with_nulls(instants: NDArray[np.int64]) -> Any:
    """A column of instants, null where there is none; no instant prints like NO_TIME but itself."""
    if not (instants == NO_TIME).any():
        return instants
    return orjson.Fragment(orjson.dumps(instants, option=JSON).replace(NO_TIME_TEXT, b"null"))


def all_columns(picture: Picture, selection: Selection = EVERYTHING) -> Message:
    """Every column of every row, what the rows are first."""
    definitions = [piece.block.definition for piece in picture.slices]
    out: Message = {
        "name": [name for d in definitions for name in d.names],
        "expiry_ns": [d.key.expiry_ns for d in definitions for _ in d.names],
        "strike": [strike for d in definitions for strike in d.strike.tolist()],
        "cp": [int(cp) for d in definitions for cp in d.cp.tolist()],
    }
    if picture.slices:
        out |= _columns([(piece, slice(None)) for piece in picture.slices], selection, None)
    else:
        out |= dict.fromkeys(_names(selection), ())
    for name in ("tick_size", "min_amount", "contract_size"):
        out[name] = [or_none(value) for d in definitions for value in getattr(d, name).tolist()]
    out["settlement_currency"] = [d.settlement_currency for d in definitions for _ in d.names]
    return out


def _names(selection: Selection) -> list[str]:
    pairs = ["" if pair == ROW_PAIR else f"{STATUS_PAIRS[pair]}_" for pair in selection.pairs]
    return [*selection.fields, *(f"{p}{kind}" for p in pairs for kind in ("status", "reasons")), *INSTANTS]


def ages(picture: Picture) -> Message:
    """The ages at the picture's moment, a column each: null where the input never arrived."""
    now = picture.now
    out: Message = {name: [] for name in AGES}
    for piece in picture.slices:
        block = piece.block
        rows = len(block.definition)
        out["quote_age_ns"] += [None if ns == NO_TIME else now.mono_ns - ns for ns in block.quote_mono_ns.tolist()]
        out["forward_age_ns"] += [block.forward.age_ns(now)] * rows
        out["fit_age_ns"] += [None if block.fitted is None else now.mono_ns - block.fitted.mono_ns] * rows
    return out


def moment(picture: Picture, venue: str, digits: int) -> Message:
    """What every message says about its moment: instants, underlying prices, connections, and each expiry."""
    snapshot, now = picture.snapshot, picture.now
    perpetual = snapshot.perpetual
    return {
        "version": snapshot.version,
        "computed_ns": snapshot.computed.wall_ns,
        "computed_age_ns": now.mono_ns - snapshot.computed.mono_ns,
        "sent_ns": now.wall_ns,
        "mono_ns": now.mono_ns,
        "reasons": names_of(int(snapshot.reasons)),
        "index": price(snapshot.index, now, digits),
        "perpetual": price(perpetual, now, digits)
        | {name: rounded(getattr(perpetual, name), digits) for name in ("bid", "ask", "funding")},
        "feeds": [
            {
                "venue": feed.venue,
                "connection": feed.connection,
                "state": feed.state,
                "reason": feed.reason,
                "since_ns": feed.since.wall_ns,
            }
            for feed in snapshot.feeds
            if feed.venue == venue
        ],
        "expiries": [expiry(piece.block, now, digits) for piece in picture.slices],
    }


def expiry(block: SliceBlock, now: Instant, digits: int) -> Message:
    """One expiry's forward, and how old and how long valid its model numbers are."""
    fitted = block.fitted
    return {
        "expiry_ns": block.key.expiry_ns,
        "ttm": rounded(block.ttm, digits),
        "forward": forward(block.forward, now, digits),
        "fitted_ns": None if fitted is None else fitted.wall_ns,
        "fit_age_ns": None if fitted is None else now.mono_ns - fitted.mono_ns,
        "valid_until_ns": or_null(block.model_valid_until_ns),
    }


def definition(block: SliceBlock) -> Message:
    """What an expiry is; only snapshots carry it."""
    d = block.definition
    return {
        "expiry_ns": d.key.expiry_ns,
        "price_index": d.key.price_index,
        "settlement": "inverse" if d.inverse else "linear",
        "settlement_currency": d.settlement_currency,
        "quote_currency": d.quote_currency,
        "options": len(d),
    }


def price(value: UnderlyingValue, now: Instant, digits: int) -> Message:
    """An index, a forward or a perpetual; STALE once the clock is past its limit."""
    status, reasons = status_of(value, now)
    return {
        "value": None if status == Status.INVALID else rounded(value.value, digits),
        "source": value.source,
        "exchange_ns": value.exchange_ns,
        "received_ns": None if value.received is None else value.received.wall_ns,
        "age_ns": value.age_ns(now),
        "valid_until_ns": or_null(value.valid_until_ns),
        "status": status.name,
        "reasons": names_of(int(reasons)),
    }


def forward(value: UnderlyingValue, now: Instant, digits: int) -> Message:
    """An expiry's forward: with its standard error where parity made it, else with what parity says beside it."""
    if value.source == "parity":
        return price(value, now, digits) | {"error": rounded(value.error, digits), "parity": None}
    parity = value.parity
    beside = None if parity is None else {name: rounded(each, digits) for name, each in parity._asdict().items()}
    return price(value, now, digits) | {"parity": beside}


def status_of(value: UnderlyingValue, now: Instant) -> tuple[Status, Reason]:
    """Status and reasons of an underlying price by the clock."""
    if value.status < Status.STALE and now.mono_ns > value.valid_until_ns:
        return Status.STALE, value.reasons | Reason.UNDERLYING_STALE
    return value.status, value.reasons


def snapshot_body(picture: Picture, venue: str, digits: int, selection: Selection = EVERYTHING) -> Message:
    """Everything of a picture: the body of a `snapshot` message and, with `ages`, of an HTTP answer."""
    body = moment(picture, venue, digits)
    body["expiries"] = [
        definition(piece.block) | dynamic for piece, dynamic in zip(picture.slices, body["expiries"], strict=True)
    ]
    body["convention"] = asdict(picture.snapshot.convention)
    body["columns"] = all_columns(picture, selection)
    return body


def delta_body(old: Picture, new: Picture, venue: str, digits: int, selection: Selection = EVERYTHING) -> Message:
    """What changed from `old` to `new`; the moment is always told in full."""
    found = changes(old, new, selection)
    return moment(new, venue, digits) | {"rows": found.rows, "columns": found.columns}


def encode(message: Message) -> bytes:
    """One JSON text; NaN and infinities become null."""
    return orjson.dumps(message, option=JSON)


def names_of(mask: int) -> orjson.Fragment:
    """A reason mask as a JSON list of names."""
    return orjson.Fragment(REASON_TEXTS[mask])


def or_null(ns: int) -> int | None:
    """An instant, or null where there is none."""
    return None if ns == NO_TIME else ns


def or_none(value: float) -> float | None:
    """A float, or null where it is NaN or infinite."""
    return value if math.isfinite(value) else None
