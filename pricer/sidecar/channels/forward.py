"""The channel `forward`: what options are priced with: the index, the perpetual, and the forward of each expiry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from pricer.clock import Instant
from pricer.conventions import NO_TIME, Status
from pricer.sidecar.channels.channel import Channel, Market
from pricer.sidecar.channels.expiries import blocks_of
from pricer.sidecar.channels.table import Table, chosen
from pricer.sidecar.messages import Column
from pricer.sidecar.moment import newest_of, stages, status_of
from pricer.sidecar.protocol import StreamKey
from pricer.sidecar.rounding import round_significant
from pricer.snapshot import UnderlyingValue

IDENTITY = ("name", "kind", "expiry_ns")
VALUES = ("ttm", "value", "bid", "ask", "funding", "basis", "parity", "parity_error", "parity_gap")


class _Row(NamedTuple):
    """One price, and for an expiry its time to maturity in years."""

    name: str
    kind: str
    value: UnderlyingValue
    expiry_ns: int = NO_TIME
    ttm: float = math.nan


class ForwardChannel(Channel):
    """One row for the index, the perpetual and each expiry. `basis` is ln(F/index)/ttm, a rate per year."""

    name = "forward"
    columns = VALUES
    filters = frozenset({"expiries"})

    def take(self, market: Market, key: StreamKey, previous: Table | None = None) -> Table:
        """The prices at this moment."""
        part = blocks_of(market.part(key.venue, key.underlying), key.expiries)
        now = part.clock.now()
        rows = [
            _Row("index", "index", part.index),
            _Row("perpetual", "perpetual", part.perpetual),
            *(
                _Row(expiry_name(each.key.expiry_ns), "forward", each.forward, each.key.expiry_ns, each.ttm)
                for each in part.blocks
            ),
        ]
        columns = chosen(_columns(rows, part.index, now, market.digits), VALUES, key.columns)
        return Table(now, columns, IDENTITY, stages(part, now, newest_of(*(row.value for row in rows))))


def expiry_name(expiry_ns: int) -> str:
    """An expiry to the minute, UTC.

    >>> expiry_name(1_798_185_600_000_000_000)
    '2026-12-25T08:00Z'
    """
    return datetime.fromtimestamp(expiry_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _columns(rows: Sequence[_Row], index: UnderlyingValue, now: Instant, digits: int) -> dict[str, Column]:
    states = [status_of(row.value, now) for row in rows]
    numbers = np.array([_numbers(row, state[0], index) for row, state in zip(rows, states, strict=True)])
    instants = np.array([_instants(row.value) for row in rows], np.int64)
    columns: dict[str, Column] = {
        "name": [row.name for row in rows],
        "kind": [row.kind for row in rows],
        "expiry_ns": np.array([row.expiry_ns for row in rows], np.int64),
    }
    columns |= dict(zip(VALUES, round_significant(np.ascontiguousarray(numbers.T), digits), strict=True))
    columns["source"] = [row.value.source for row in rows]
    columns |= dict(zip(("exchange_ns", "received_ns", "mono_ns", "valid_until_ns"), instants.T, strict=True))
    columns["status"] = np.array([status for status, _ in states], np.uint8)
    columns["reasons"] = np.array([int(reasons) for _, reasons in states], np.uint64)
    return columns


def _numbers(row: _Row, status: Status, index: UnderlyingValue) -> tuple[float, ...]:
    """In the order of VALUES; nothing of what is INVALID."""
    value = row.value
    if status == Status.INVALID:
        return (row.ttm, *8 * (math.nan,))
    parity = value.parity or (math.nan, math.nan, math.nan)
    if value.source == "parity":  # then parity is what made it, and there is no other to compare it with
        parity = (value.value, value.error, math.nan)
    return row.ttm, value.value, value.bid, value.ask, value.funding, _basis(row, index.value), *parity


def _basis(row: _Row, index: float) -> float:
    ratio = row.value.value / index if index > 0.0 else math.nan
    return math.log(ratio) / row.ttm if row.ttm > 0.0 and ratio > 0.0 else math.nan


def _instants(value: UnderlyingValue) -> tuple[int, int, int, int]:
    wall_ns, mono_ns = (NO_TIME, NO_TIME) if value.received is None else value.received
    return NO_TIME if value.exchange_ns is None else value.exchange_ns, wall_ns, mono_ns, value.valid_until_ns
