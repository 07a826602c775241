"""The channel `health`: what stands between the market and the numbers: connections, venues, the engine, the sidecar.

Rows and counts of statuses are told as they change. Figures that never rest (latencies, lags, counters) are renewed
once a second, so that they alone do not make ten messages a second.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pricer.clock import NS_PER_SECOND, Instant
from pricer.conventions import NO_REASON, NO_TIME, Reason, Status
from pricer.sidecar.channels.channel import Channel, Market
from pricer.sidecar.channels.table import Table, chosen
from pricer.sidecar.messages import Column, Head
from pricer.sidecar.moment import NOTHING, newest_of, stages
from pricer.sidecar.protocol import StreamKey
from pricer.sidecar.slices import statuses_at
from pricer.snapshot import ROW_PAIR, FeedHealth, Snapshot, VenueHealth

IDENTITY = ("name", "kind")
VALUES = ("detail", "since_ns", "lag_ns", "skew_ns")
QUANTILES = {"p50_ns": 50, "p90_ns": 90, "p99_ns": 99}
RENEW_NS = NS_PER_SECOND
GIVEN_BACK = "book_lost.unsubscribed"


class Latencies(Protocol):
    """The last latencies in nanoseconds, and how many there have been."""

    count: int

    def values(self) -> NDArray[np.int64]: ...


@runtime_checkable
class Timed(Protocol):
    """A source that measures how long a frame takes to become a snapshot, as `pricer.live` does."""

    latencies: Latencies


@runtime_checkable
class Counted(Protocol):
    """A source whose engine counts what it dropped, doubted or missed, by names from a short list."""

    engine_counters: Counter[str]


class _Unit(NamedTuple):
    """One row. `lag_ns` and `skew_ns` are NO_TIME where they mean nothing or are not known."""

    name: str
    kind: str
    state: str
    detail: str
    since_ns: int
    status: Status
    reasons: Reason
    lag_ns: int = NO_TIME
    skew_ns: int = NO_TIME


@dataclass(frozen=True, slots=True)
class Figures:
    """What never rests, as it was at one moment."""

    at_ns: int
    lags: dict[tuple[str, str], tuple[int, int]]
    head: Head


@dataclass(frozen=True, slots=True, eq=False)
class HealthTable(Table):
    """A table that remembers when its figures were made."""

    figures: Figures | None = None


class HealthChannel(Channel):
    """One row a connection, a venue, the engine and the sidecar."""

    name = "health"
    columns = VALUES
    required = frozenset()

    def take(self, market: Market, key: StreamKey, previous: HealthTable | None = None) -> HealthTable:
        """The state of everything at this moment."""
        snapshot = market.snapshot
        now = snapshot.clock.now()
        units = _units(snapshot, now)
        figures = None if previous is None else previous.figures
        if figures is None or now.mono_ns - figures.at_ns >= RENEW_NS:
            figures = _figures(market, units, now)
        options = market.shared("options", lambda: _options(snapshot, now))
        received = newest_of(*snapshot.indices.values(), *snapshot.perpetuals.values())
        head = {**stages(snapshot, now, received), **figures.head, "options": options}
        columns = chosen(_columns(units, figures), VALUES, key.columns)
        return HealthTable(now, columns, IDENTITY, head, news=(options, figures.head), figures=figures)


def _units(snapshot: Snapshot, now: Instant) -> list[_Unit]:
    return [
        *(_feed(feed) for feed in snapshot.feeds),
        *(_venue(health, snapshot) for health in snapshot.health.values()),
        _engine(snapshot, now),
        _Unit("sidecar", "sidecar", "serving", "", NO_TIME, Status.OK, NO_REASON),
    ]


def _feed(feed: FeedHealth) -> _Unit:
    status, reasons = {
        "live": (Status.OK, NO_REASON),
        "closed": (Status.STALE, Reason.VENUE_DOWN),
    }.get(feed.state, (Status.DEGRADED, Reason.RESYNCING))
    return _Unit(feed.connection, "feed", feed.state, feed.reason, feed.since.wall_ns, status, reasons)


def _venue(health: VenueHealth, snapshot: Snapshot) -> _Unit:
    status, reasons = venue_status(health)
    closed = f"closed: {', '.join(health.closed_indices)}" if health.closed_indices else ""
    since_ns = max((feed.since.wall_ns for feed in snapshot.feeds if feed.venue == health.venue), default=NO_TIME)
    return _Unit(
        health.venue,
        "venue",
        health.state,
        closed,
        since_ns,
        status,
        reasons,
        NO_TIME if health.lag_ns is None else health.lag_ns,
        NO_TIME if health.skew_ns is None else health.skew_ns,
    )


def venue_status(health: VenueHealth | None) -> tuple[Status, Reason]:
    """May what comes of a venue be relied on? A source that says nothing of venues vouches for them."""
    if health is None:
        return Status.OK, NO_REASON
    if health.state != "open":
        return Status.STALE, health.reasons | Reason.VENUE_MAINTENANCE
    if health.connections == 0:
        return Status.STALE, health.reasons | Reason.VENUE_DOWN
    return (Status.DEGRADED if health.reasons else Status.OK), health.reasons


def _engine(snapshot: Snapshot, now: Instant) -> _Unit:
    if snapshot.version == NOTHING:
        return _Unit("engine", "engine", "starting", "", NO_TIME, Status.INVALID, Reason.NO_QUOTE)
    if snapshot.is_silent(now):
        detail = "no snapshot for more than two seconds"
        return _Unit("engine", "engine", "silent", detail, snapshot.computed_ns, Status.STALE, snapshot.reasons)
    return _Unit("engine", "engine", "publishing", "", NO_TIME, Status.OK, snapshot.reasons)


def _figures(market: Market, units: list[_Unit], now: Instant) -> Figures:
    snapshot = market.snapshot
    lags = {(unit.name, unit.kind): (unit.lag_ns, unit.skew_ns) for unit in units if unit.kind == "venue"}
    lags["engine", "engine"] = (now.mono_ns - snapshot.computed.mono_ns, NO_TIME)
    head = {
        "latency": _latency(market.source),
        "clients": market.served.clients,
        "streams": market.served.streams,
        "alarms": _alarms(market),
    }
    return Figures(now.mono_ns, lags, head)


def _latency(source: object) -> Head:
    """From the socket read of a snapshot's oldest frame to its publication; null where nothing was measured."""
    times = source.latencies.values() if isinstance(source, Timed) else np.empty(0, np.int64)
    count = source.latencies.count if isinstance(source, Timed) else 0
    if not times.size:
        return {**dict.fromkeys(QUANTILES), "count": count}
    found = np.percentile(times, list(QUANTILES.values())).astype(np.int64).tolist()
    return {**dict(zip(QUANTILES, found, strict=True)), "count": count}


def _options(snapshot: Snapshot, now: Instant) -> dict[str, int]:
    """How many options have each status, by the clock."""
    counts = np.zeros(len(Status), np.int64)
    for block in snapshot.blocks:
        counts += np.bincount(statuses_at(block, now)[0][ROW_PAIR], minlength=len(Status))
    return {status.name: int(counts[status]) for status in Status}


def _alarms(market: Market) -> dict[str, int]:
    """What the engine and the sidecar have counted since they began. That a book was given back is no alarm."""
    engine = dict(market.source.engine_counters) if isinstance(market.source, Counted) else {}
    counted = sorted({**engine, **market.served.alarms}.items())
    return {name: count for name, count in counted if count and name != GIVEN_BACK}


def _columns(units: list[_Unit], figures: Figures) -> dict[str, Column]:
    lags = [figures.lags.get((unit.name, unit.kind), (NO_TIME, NO_TIME)) for unit in units]
    return {
        "name": [unit.name for unit in units],
        "kind": [unit.kind for unit in units],
        "state": [unit.state for unit in units],
        "detail": [unit.detail for unit in units],
        "since_ns": np.array([unit.since_ns for unit in units], np.int64),
        "lag_ns": np.array([lag for lag, _ in lags], np.int64),
        "skew_ns": np.array([skew for _, skew in lags], np.int64),
        "status": np.array([unit.status for unit in units], np.uint8),
        "reasons": np.array([int(unit.reasons) for unit in units], np.uint64),
    }
