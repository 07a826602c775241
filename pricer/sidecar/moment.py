"""What messages say of one moment beside their table: instants, prices of the underlying, and each expiry.

Two clocks travel. `*_ns` instants are UTC, for people and files. `mono_ns` is the sidecar's monotonic clock at the
moment of the message; `quote_mono_ns`, `quote_valid_until_ns` and `valid_until_ns` are on the same clock, so a client
that adds the time since it got `mono_ns` knows by itself how old a number is and when it must no longer be used.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from pricer.clock import Clock, Instant
from pricer.conventions import NO_TIME, Reason, Status
from pricer.sidecar.messages import Head
from pricer.sidecar.rounding import rounded
from pricer.snapshot import SliceBlock, Snapshot, UnderlyingValue


class Newest(NamedTuple):
    """The newest exchange instant and the newest receipt of several things, UTC; NO_TIME where there is none."""

    exchange_ns: int = NO_TIME
    received_ns: int = NO_TIME


def newest(parts: Iterable[Newest]) -> Newest:
    """The newest of all.

    >>> newest([Newest(3, 9), Newest(5, 8)])
    Newest(exchange_ns=5, received_ns=9)
    """
    exchange_ns, received_ns = NO_TIME, NO_TIME
    for part in parts:
        exchange_ns, received_ns = max(exchange_ns, part.exchange_ns), max(received_ns, part.received_ns)
    return Newest(exchange_ns, received_ns)


def newest_of(*values: UnderlyingValue) -> Newest:
    """The newest of some prices."""
    return newest(
        Newest(
            NO_TIME if value.exchange_ns is None else value.exchange_ns,
            NO_TIME if value.received is None else value.received.wall_ns,
        )
        for value in values
    )


# The version of the snapshot before the first.
NOTHING = 0


def nothing_yet(clock: Clock) -> Snapshot:
    """Before the first snapshot: no rows, no index."""
    return Snapshot(NOTHING, clock.now(), (), {}, {}, {}, (), clock)


def stages(snapshot: Snapshot, now: Instant, last: Newest) -> Head:
    """The way of the newest input through the stages: venue, received, computed, sent."""
    return {
        "version": snapshot.version,
        "venue_ns": or_null(last.exchange_ns),
        "received_ns": or_null(last.received_ns),
        "computed_ns": snapshot.computed.wall_ns,
        "computed_age_ns": now.mono_ns - snapshot.computed.mono_ns,
        "sent_ns": now.wall_ns,
        "mono_ns": now.mono_ns,
        "reasons": names_of(int(snapshot.reasons)),
    }


def market_of(snapshot: Snapshot, venue: str, now: Instant, digits: int) -> Head:
    """The underlying prices and the connections, which concern every row."""
    perpetual = snapshot.perpetual
    return {
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
    }


def expiry(block: SliceBlock, now: Instant, digits: int) -> Head:
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


def definition(block: SliceBlock, options: int | None = None) -> Head:
    """What an expiry is, and how many of its options a table has (by default all); only snapshots carry it."""
    of = block.definition
    return {
        "expiry_ns": of.key.expiry_ns,
        "price_index": of.key.price_index,
        "settlement": "inverse" if of.inverse else "linear",
        "settlement_currency": of.settlement_currency,
        "quote_currency": of.quote_currency,
        "options": len(of) if options is None else options,
    }


def price(value: UnderlyingValue, now: Instant, digits: int) -> Head:
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


def forward(value: UnderlyingValue, now: Instant, digits: int) -> Head:
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


def names_of(mask: int) -> tuple[str, ...]:
    """The names in a reason mask."""
    return _NAMES[mask]


class _Names(dict[int, tuple[str, ...]]):
    """Each mask's names, made once; bounded."""

    def __missing__(self, mask: int) -> tuple[str, ...]:
        if len(self) >= 4096:
            self.clear()
        self[mask] = names = Reason(mask).names
        return names


_NAMES = _Names()


def or_null(ns: int) -> int | None:
    """An instant, or null where there is none."""
    return None if ns == NO_TIME else ns


def or_none(value: float) -> float | None:
    """A float, or null where it is NaN or infinite."""
    return value if math.isfinite(value) else None
