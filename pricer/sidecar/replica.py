"""A chain as the sidecar has it, sans-I/O: the messages of its stream in, `Snapshot`s out.

The rules of the stream are `pricer.sidecar.following`'s; here a message is taken to follow the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pricer.adapters.instruments import SliceKey
from pricer.clock import Clock, Instant
from pricer.conventions import NO_REASON, NO_TIME, GreekConvention, Reason, Status
from pricer.errors import ProtocolError
from pricer.sidecar.heads import Moment, Whole, instant_from, read, reasons_from
from pricer.sidecar.messages import Message
from pricer.sidecar.table import Table
from pricer.snapshot import FIELD_INDEX, STATUS_PAIRS, SliceBlock, SliceDefinition, Snapshot

INSTANTS = ("quote_exchange_ns", "quote_received_ns", "quote_mono_ns", "quote_valid_until_ns")
PREFIXES = tuple("" if pair == "model" else f"{pair}_" for pair in STATUS_PAIRS)

IDENTITY = ("strike", "cp", "tick_size", "min_amount", "contract_size")
KINDS: dict[str, type[np.generic]] = {
    **dict.fromkeys((*FIELD_INDEX, *IDENTITY), np.float64),
    **{f"{prefix}status": np.uint8 for prefix in PREFIXES},
    **{f"{prefix}reasons": np.uint64 for prefix in PREFIXES},
    **dict.fromkeys(INSTANTS, np.int64),
    "cp": np.int8,
}

Kind = TypeVar("Kind", bound=np.generic)


class Replica:
    """One chain. Arrays are replaced, never changed: earlier snapshots stay as they were.

    `columns` are those that were asked for; None is all.
    """

    def __init__(self, columns: Sequence[str] | None = None) -> None:
        self._left_out = frozenset() if columns is None else frozenset(FIELD_INDEX).difference(columns)
        self._table = Table()
        self._moment: Moment | None = None
        self._definitions: tuple[SliceDefinition, ...] = ()
        self._convention = GreekConvention()

    def begin(self, message: Message) -> None:
        """A `snapshot`: everything anew."""
        head, table = read(message.head, Whole), Table()
        table.begin(message.columns or {})
        definitions = tuple(_definitions(head, table))
        self._table, self._moment, self._definitions = table, head, definitions
        self._convention = GreekConvention(dynamics=head.convention.dynamics)

    def change(self, message: Message) -> None:
        """A `delta`: the rows that changed, and its moment in full."""
        head = read(message.head, Moment)
        if [each.expiry_ns for each in head.expiries] != [each.key.expiry_ns for each in self._definitions]:
            raise ProtocolError("a delta names other expiries than its snapshot")
        self._table.change(np.empty(0, np.int64) if message.rows is None else message.rows, message.columns or {})
        self._moment = head

    @property
    def table(self) -> Table:
        """The rows as they stand."""
        return self._table

    @property
    def version(self) -> int:
        """Of the sidecar's snapshot that the rows are of; 0 before the first."""
        return 0 if self._moment is None else self._moment.version

    def crc32(self) -> int:
        """Of the values as they stand."""
        return self._table.crc32()

    def snapshot(self, clock: Clock, breaks: int = 0, against: Reason = NO_REASON) -> Snapshot:
        """The state after the last message, its ages by `clock`. With `against` nothing of it is better than STALE."""
        moment = self._moment
        assert moment is not None, "a replica begins before it is read"
        now_mono = moment.mono_ns
        computed = Instant(moment.computed_ns, now_mono - moment.computed_age_ns)
        key = self._definitions[0].key.price_index if self._definitions else ""
        return Snapshot(
            version=moment.version,
            computed=computed,
            blocks=tuple(self._blocks(moment, computed, against)),
            indices={key: moment.index.underlying(now_mono)} if key else {},
            perpetuals={key: moment.perpetual.underlying(now_mono)} if key else {},
            surfaces={},
            feeds=tuple(feed.health() for feed in moment.feeds),
            clock=clock,
            reasons=reasons_from(moment.reasons),
            convention=self._convention,
            breaks=breaks,
            left_out=self._left_out,
        )

    def _blocks(self, moment: Moment, computed: Instant, against: Reason) -> Iterable[SliceBlock]:
        values = self._stacked(FIELD_INDEX, np.nan, np.float64)
        status = self._stacked((f"{prefix}status" for prefix in PREFIXES), Status.INVALID, np.uint8)
        reasons = self._stacked((f"{prefix}reasons" for prefix in PREFIXES), 0, np.uint64)
        instants = self._stacked(INSTANTS, NO_TIME, np.int64)
        if against:
            status, reasons = np.maximum(status, np.uint8(Status.STALE)), reasons | np.uint64(against)
        start = 0
        for definition, expiry in zip(self._definitions, moment.expiries, strict=True):
            rows = slice(start, start + len(definition))
            exchange, received, mono, valid_until = instants[:, rows]
            yield SliceBlock(
                definition=definition,
                values=_frozen(values[:, rows]),
                status=_frozen(status[:, rows]),
                reasons=_frozen(reasons[:, rows]),
                quote_mono_ns=_frozen(mono),
                quote_received_ns=_frozen(received),
                quote_exchange_ns=_frozen(exchange),
                quote_valid_until_ns=_frozen(valid_until),
                model_valid_until_ns=instant_from(expiry.valid_until_ns),
                forward=expiry.forward.underlying(moment.mono_ns),
                fitted=expiry.fitted(moment.mono_ns),
                fit=None,
                computed=computed,
                ttm=np.nan if expiry.ttm is None else expiry.ttm,
                version=moment.version,
            )
            start = rows.stop

    def _stacked(self, names: Iterable[str], absent: float | int, kind: type[Kind]) -> NDArray[Kind]:
        """Columns below each other as a snapshot's blocks have them, `absent` where the stream carries none."""
        columns, names = self._table.columns, tuple(names)
        out = np.full((len(names), self._table.rows), absent, kind)
        for i, name in enumerate(names):
            if name in columns:
                out[i] = columns[name]
        return out


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _definitions(head: Whole, table: Table) -> Iterable[SliceDefinition]:
    """The options of each expiry; the rows are in the order of the expiries."""
    _check(head, table)
    columns: Any = table.columns
    start = 0
    for expiry in head.expiries if table.rows else ():
        rows = slice(start, start + expiry.options)
        names = tuple(columns["name"][rows])
        yield SliceDefinition(
            key=SliceKey(head.venue, expiry.price_index, expiry.expiry_ns),
            underlying=head.underlying,
            inverse=expiry.settlement == "inverse",
            names=names,
            rows={name: row for row, name in enumerate(names)},
            settlement_currency=expiry.settlement_currency,
            quote_currency=expiry.quote_currency,
            **{name: columns[name][rows].astype(np.float64) for name in IDENTITY},
        )
        start = rows.stop


def _check(head: Whole, table: Table) -> None:
    """What a chain's table must have, and of which kinds. An empty one says nothing of kinds."""
    if sum(expiry.options for expiry in head.expiries) != table.rows:
        raise ProtocolError(f"a snapshot's expiries do not have its {table.rows} rows")
    if not table.rows:
        return
    names = table.columns.get("name")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ProtocolError("a snapshot has no names")
    for name in IDENTITY:
        if name not in table.columns:
            raise ProtocolError(f"a snapshot lacks the column {name!r}")
    for name, kind in KINDS.items():
        column = table.columns.get(name)
        if column is not None and not (isinstance(column, np.ndarray) and column.dtype == kind):
            raise ProtocolError(f"a snapshot's column {name!r} is of another kind")
