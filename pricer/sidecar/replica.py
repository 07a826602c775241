"""A chain kept up to date from messages, sans-I/O: messages in, `Snapshot`s out.

The rules of the stream, as a consumer has to keep them: a `snapshot` begins; each `delta` has the next `seq` and says
which rows of which columns changed; after a `gap` comes a snapshot with its `to`. Anything else is `broken`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pricer.adapters.instruments import SliceKey
from pricer.clock import Clock, Instant
from pricer.conventions import NO_REASON, NO_TIME, GreekConvention, Reason, Status
from pricer.snapshot import (
    FIELD_INDEX,
    STATUS_PAIRS,
    FeedHealth,
    ParityForward,
    SliceBlock,
    SliceDefinition,
    Snapshot,
    UnderlyingValue,
)

INSTANTS = ("quote_exchange_ns", "quote_received_ns", "quote_mono_ns", "quote_valid_until_ns")
PREFIXES = tuple("" if pair == "model" else f"{pair}_" for pair in STATUS_PAIRS)

Message = Mapping[str, Any]


class FollowingClock(Clock, Protocol):
    """A clock that is set by what it hears."""

    def heard(self, server_mono_ns: int) -> None: ...


class Replica:
    """One chain as the sidecar has it. Arrays are replaced, never changed: earlier snapshots stay as they were."""

    def __init__(self, clock: FollowingClock) -> None:
        self._clock = clock
        self._moment: Message = {}
        self._expiries: list[dict[str, Any]] = []
        self._definitions: tuple[SliceDefinition, ...] = ()
        self._convention = GreekConvention()
        self._values = np.empty((len(FIELD_INDEX), 0))
        self._status = np.empty((len(STATUS_PAIRS), 0), np.uint8)
        self._reasons = np.empty((len(STATUS_PAIRS), 0), np.uint64)
        self._instants = np.empty((len(INSTANTS), 0), np.int64)
        self.seq: int | None = None
        self.broken = False

    def restart(self) -> None:
        """Wait for the next snapshot, whatever its `seq`."""
        self.seq, self.broken = None, False

    def apply(self, message: Message) -> bool:
        """One message; True when there is a new state. Messages of unknown types are ignored."""
        if "mono_ns" in message:
            self._clock.heard(message["mono_ns"])
        match message["type"]:
            case "snapshot":
                self._begin(message)
                return True
            case "delta" if self.seq is not None and not self.broken:
                self.broken = message["seq"] != self.seq + 1
                if not self.broken:
                    self._change(message)
                return not self.broken
            case "heartbeat" if self.seq is not None:
                self.broken = self.broken or message["seq"] != self.seq
        return False

    def snapshot(self) -> Snapshot:
        """The state after the last message."""
        message = self._moment
        now_mono = message["mono_ns"]
        computed = Instant(message["computed_ns"], now_mono - message["computed_age_ns"])
        key = self._definitions[0].key.price_index if self._definitions else ""
        return Snapshot(
            version=message["version"],
            computed=computed,
            blocks=tuple(self._blocks(computed)),
            indices={key: price_from(message["index"], now_mono)} if key else {},
            perpetuals={key: price_from(message["perpetual"], now_mono)} if key else {},
            surfaces={},
            feeds=tuple(_feed(feed) for feed in message["feeds"]),
            clock=self._clock,
            reasons=reasons_from(message["reasons"]),
            convention=self._convention,
        )

    def _begin(self, message: Message) -> None:
        columns = message["columns"]
        rows = len(columns["name"])
        self._definitions = tuple(_definitions(message))
        self._convention = _convention(message.get("convention", {}))
        self._values = np.full((len(FIELD_INDEX), rows), np.nan)
        self._status = np.full((len(STATUS_PAIRS), rows), Status.INVALID, np.uint8)
        self._reasons = np.zeros((len(STATUS_PAIRS), rows), np.uint64)
        self._instants = np.full((len(INSTANTS), rows), NO_TIME, np.int64)
        self._store(columns, slice(None))
        self._moment, self._expiries = message, [dict(expiry) for expiry in message["expiries"]]
        self.seq, self.broken = message["seq"], False

    def _change(self, message: Message) -> None:
        self._values, self._status = self._values.copy(), self._status.copy()
        self._reasons, self._instants = self._reasons.copy(), self._instants.copy()
        self._store(message["columns"], np.array(message["rows"], np.intp))
        self._expiries = [old | new for old, new in zip(self._expiries, message["expiries"], strict=True)]
        self._moment = message
        self.seq = message["seq"]

    def _store(self, columns: Message, rows: NDArray[np.intp] | slice) -> None:
        for name, column in columns.items():
            if name in FIELD_INDEX:
                self._values[FIELD_INDEX[name], rows] = np.array(column, np.float64)  # null becomes NaN
        for pair, prefix in enumerate(PREFIXES):
            if f"{prefix}status" in columns:
                self._status[pair, rows] = [Status[name] for name in columns[f"{prefix}status"]]
            if f"{prefix}reasons" in columns:
                masks = [int(reasons_from(names)) for names in columns[f"{prefix}reasons"]]
                self._reasons[pair, rows] = np.array(masks, np.uint64)
        for i, name in enumerate(INSTANTS):
            if name in columns:
                self._instants[i, rows] = [instant_from(ns) for ns in columns[name]]

    def _blocks(self, computed: Instant) -> Iterable[SliceBlock]:
        start, now_mono = 0, self._moment["mono_ns"]
        for definition, expiry in zip(self._definitions, self._expiries, strict=True):
            rows = slice(start, start + len(definition))
            exchange, received, mono, valid_until = self._instants[:, rows]
            fitted_ns, fit_age_ns = expiry["fitted_ns"], expiry["fit_age_ns"]
            yield SliceBlock(
                definition=definition,
                values=_frozen(self._values[:, rows]),
                status=_frozen(self._status[:, rows]),
                reasons=_frozen(self._reasons[:, rows]),
                quote_mono_ns=_frozen(mono),
                quote_received_ns=_frozen(received),
                quote_exchange_ns=_frozen(exchange),
                quote_valid_until_ns=_frozen(valid_until),
                model_valid_until_ns=instant_from(expiry["valid_until_ns"]),
                forward=price_from(expiry["forward"], now_mono),
                fitted=None if fitted_ns is None else Instant(fitted_ns, now_mono - fit_age_ns),
                fit=None,
                computed=computed,
                ttm=_or_nan(expiry["ttm"]),
                version=self._moment["version"],
            )
            start = rows.stop


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _definitions(message: Message) -> Iterable[SliceDefinition]:
    columns, start = message["columns"], 0
    for expiry in message["expiries"]:
        rows = slice(start, start + expiry["options"])
        names = tuple(columns["name"][rows])
        yield SliceDefinition(
            key=SliceKey(message["venue"], expiry["price_index"], expiry["expiry_ns"]),
            underlying=message["underlying"],
            inverse=expiry["settlement"] == "inverse",
            names=names,
            rows={name: row for row, name in enumerate(names)},
            strike=np.array(columns["strike"][rows], np.float64),
            cp=np.array(columns["cp"][rows], np.float64),
            tick_size=np.array(columns["tick_size"][rows], np.float64),
            min_amount=np.array(columns["min_amount"][rows], np.float64),
            contract_size=np.array(columns["contract_size"][rows], np.float64),
            settlement_currency=expiry["settlement_currency"],
            quote_currency=expiry["quote_currency"],
        )
        start = rows.stop


def price_from(message: Message, now_mono: int) -> UnderlyingValue:
    """An index, a forward or a perpetual, with the instants of the sidecar's clock."""
    received_ns, age_ns = message["received_ns"], message["age_ns"]
    return UnderlyingValue(
        value=_or_nan(message["value"]),
        source=message["source"],
        exchange_ns=message["exchange_ns"],
        received=None if received_ns is None else Instant(received_ns, now_mono - age_ns),
        valid_until_ns=instant_from(message["valid_until_ns"]),
        status=Status[message["status"]],
        reasons=reasons_from(message["reasons"]),
        bid=_or_nan(message.get("bid")),
        ask=_or_nan(message.get("ask")),
        funding=_or_nan(message.get("funding")),
        error=_or_nan(message.get("error")),
        parity=_parity_from(message.get("parity")),
    )


def _parity_from(message: Message | None) -> ParityForward | None:
    return None if message is None else ParityForward(*(_or_nan(message[name]) for name in ParityForward._fields))


def reasons_from(names: Iterable[str]) -> Reason:
    """A set of reasons from their names; a newer sidecar's names that we do not know are left out."""
    known = Reason.__members__
    out = NO_REASON
    for name in names:
        out |= known.get(name, NO_REASON)
    return out


def instant_from(ns: int | None) -> int:
    """An instant, NO_TIME for null."""
    return NO_TIME if ns is None else ns


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def _feed(message: Message) -> FeedHealth:
    since = Instant(message["since_ns"], 0)
    return FeedHealth(message["venue"], message["connection"], message["state"], message["reason"], since)


def _convention(message: Message) -> GreekConvention:
    names = {field.name for field in fields(GreekConvention)}
    return GreekConvention(**{name: value for name, value in message.items() if name in names})
