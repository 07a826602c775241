"""Prometheus metrics of one sidecar. Labels come from short fixed lists: never an instrument, a client or a text."""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pricer.conventions import Status
from pricer.sidecar.admission import ADDRESS, REFUSALS, TOTAL
from pricer.sidecar.alerts.watch import MOST_SUBJECTS

if TYPE_CHECKING:
    from pricer.sidecar.alerts.service import Alerts
    from pricer.sidecar.door import Door
    from pricer.sidecar.hub import Hub
    from pricer.snapshot import Snapshot

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
CLOSED = ("slow_client", "queue_limit", "bad_messages")
QUANTILES = (0.5, 0.9, 0.99, 1.0)
FEED_STATES = ("open", "live", "closed")
# What is not configured by the operator has no label of its own.
OTHER = "other"


class Ring(Protocol):
    """The last latencies in nanoseconds, and how many there have been."""

    count: int

    def values(self) -> NDArray[np.int64]: ...


@runtime_checkable
class Measured(Protocol):
    """A source that counts what it does, as `pricer.live` does; a replay or a test need not."""

    stats: Counts[str]
    feed_counters: Counts[str]
    engine_counters: Counts[str]
    latencies: Ring


class Metrics:
    """What is counted as it happens, and a collector that looks at the hub when it is asked.

    `session` names this run of the sidecar: clients see by it that it has restarted.
    """

    def __init__(self, hub: Hub, session: str) -> None:
        self.session = session
        self.registry = CollectorRegistry()
        self._encode = Histogram(
            "volstream_encode_seconds",
            "Time to make one message, for all its readers",
            ["channel", "stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        # By (channel, stage). Plain numbers: every message counts here, and a `Counter` takes a lock for each.
        self.messages: Counts[tuple[str, str]] = Counts()
        self.bytes: Counts[tuple[str, str]] = Counts()
        self._refusals = Counter(
            "volstream_client_errors", "Bad messages from clients", ["code"], registry=self.registry
        )
        self.registry.register(HubCollector(hub))

    @contextmanager
    def encoding(self, channel: str, stage: str) -> Iterator[None]:
        """Time one encode."""
        started = time.perf_counter()
        yield
        self._encode.labels(channel, stage).observe(time.perf_counter() - started)

    def queued(self, channel: str, stage: str, size: int, messages: int = 1) -> None:
        """Messages for clients, of so many bytes together; `channel` is "none" for answers."""
        self.messages[channel, stage] += messages
        self.bytes[channel, stage] += size

    def refused(self, code: str) -> None:
        """One bad message; `code` is one of `protocol.CODES`."""
        self._refusals.labels(code).inc()

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)


class HubCollector(Collector):
    """Sizes beside their bounds, ages, and how many options have which status, at the moment of the scrape."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterable[Metric]:
        hub, bounds = self._hub, self._hub.settings
        queues = [client.outbox.size for client in hub.clients]
        yield gauge("volstream_clients", "WebSocket clients", len(hub.clients))
        yield gauge("volstream_clients_limit", "Bound of volstream_clients", bounds.max_clients)
        yield gauge("volstream_streams", "Distinct subscriptions held", len(hub.streams))
        yield gauge("volstream_streams_limit", "Bound of volstream_streams", bounds.max_streams)
        yield gauge("volstream_http_connections", "Connections that are no WebSockets (yet)", hub.admission.http.count)
        yield gauge("volstream_http_connections_limit", "Bound of those", bounds.max_http_connections)
        rings = sum(stream.ring.size for stream in hub.streams.values())
        yield gauge("volstream_resume_bytes", "Messages held for clients that come back", rings)
        yield gauge("volstream_resume_bytes_limit", "Bound of those", bounds.resume_bytes * bounds.max_streams)
        yield gauge("volstream_queue_bytes", "All clients' queues together", sum(queues))
        yield gauge("volstream_queue_max_bytes", "The longest queue of one client", max(queues, default=0))
        yield gauge("volstream_queue_soft_limit_bytes", "A longer queue is conflated", bounds.queue_soft_bytes)
        yield gauge("volstream_queue_hard_limit_bytes", "Bound of one client's queue", bounds.queue_hard_bytes)
        yield gauge("volstream_history_bytes", "The last hour of expiries and options", hub.history.nbytes)
        yield gauge("volstream_history_limit_bytes", "Bound of volstream_history_bytes", hub.history.limits.max_bytes)
        yield from self._counters()
        yield _by_stage("volstream_messages", "Messages queued to clients", hub.metrics.messages)
        yield _by_stage("volstream_bytes", "Bytes queued to clients", hub.metrics.bytes)
        yield from self._numbers()

    def _counters(self) -> Iterable[Metric]:
        hub = self._hub
        gaps = hub.counts["gaps"] + sum(client.outbox.gaps for client in hub.clients)
        dropped = hub.counts["dropped_messages"] + sum(client.outbox.dropped for client in hub.clients)
        yield CounterMetricFamily("volstream_gaps", "Gaps told to slow clients", value=gaps)
        yield CounterMetricFamily("volstream_dropped_messages", "Messages conflated away", value=dropped)
        too_many = hub.counts["refused_clients"] + hub.admission.refused[TOTAL] + hub.admission.refused[ADDRESS]
        yield CounterMetricFamily("volstream_refused_clients", "Too many clients or connections", value=too_many)
        beyond = hub.history.counts["refused_expiries"]
        yield CounterMetricFamily("volstream_history_refused", "Expiries beyond the bound of the history", value=beyond)
        closed = CounterMetricFamily("volstream_clients_closed", "Clients closed by policy", labels=["stage"])
        for why in CLOSED:
            closed.add_metric([why], hub.counts[f"closed_{why}"])
        yield closed
        refused = CounterMetricFamily(
            "volstream_refused_connections", "Connections refused or cut before or between requests", labels=["stage"]
        )
        for why in REFUSALS:
            refused.add_metric([why], hub.admission.refused[why])
        yield refused
        yield CounterMetricFamily("volstream_resumes", "Streams taken up again", value=hub.counts["resumes"])
        yield CounterMetricFamily(
            "volstream_refused_resumes", "Resumes answered by a snapshot", value=hub.counts["refused_resumes"]
        )

    def _numbers(self) -> Iterable[Metric]:
        snapshot = self._hub.snapshot
        now = snapshot.clock.now()
        age = (now.mono_ns - snapshot.computed.mono_ns) / 1e9
        yield gauge("volstream_snapshot_age_seconds", "Since the engine last published", age)
        yield self._options(snapshot, now.mono_ns)
        yield from _feeds(snapshot)
        if isinstance(self._hub.source, Measured):
            yield from _measured(self._hub.source)

    def _options(self, snapshot: Snapshot, mono_ns: int) -> Metric:
        options = GaugeMetricFamily(
            "volstream_options", "Options by status now", labels=["venue", "underlying", "status"]
        )
        counts: Counts[tuple[str, str, str]] = Counts()
        for block in snapshot.blocks:
            late = mono_ns > block.model_valid_until_ns
            status = np.where(late, np.maximum(block.status[-1], np.uint8(Status.STALE)), block.status[-1])
            known = block.definition.underlying in self._hub.underlyings
            underlying = block.definition.underlying if known else OTHER
            for code in Status:
                counts[block.key.venue, underlying, code.name] += int((status == code).sum())
        for labels, count in sorted(counts.items()):
            options.add_metric(labels, count)
        return options


def _by_stage(name: str, meaning: str, counts: Counts[tuple[str, str]]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=["channel", "stage"])
    for labels, count in sorted(counts.items()):
        family.add_metric(labels, count)
    return family


def _feeds(snapshot: Snapshot) -> Iterable[Metric]:
    feeds = GaugeMetricFamily("volstream_feeds", "Connections to venues by state", labels=["venue", "state"])
    states = Counts((feed.venue, feed.state) for feed in snapshot.feeds)
    for venue in sorted({feed.venue for feed in snapshot.feeds}):
        for state in FEED_STATES:
            feeds.add_metric([venue, state], states[venue, state])
    yield feeds
    skew = GaugeMetricFamily("volstream_venue_skew_seconds", "Our wall clock less the venue's", labels=["venue"])
    trip = GaugeMetricFamily("volstream_venue_round_trip_seconds", "The last call to the venue", labels=["venue"])
    lag = GaugeMetricFamily("volstream_venue_lag_seconds", "How late the newest index price came", labels=["venue"])
    for venue, health in sorted(snapshot.health.items()):
        for gauges, ns in ((skew, health.skew_ns), (trip, health.round_trip_ns), (lag, health.lag_ns)):
            if ns is not None:
                gauges.add_metric([venue], ns / 1e9)
    yield from (skew, trip, lag)


def _measured(source: Measured) -> Iterable[Metric]:
    """How fast and how often the engine publishes, and what its connection went through."""
    latencies = source.latencies.values()
    quantiles = GaugeMetricFamily(
        "volstream_frame_to_snapshot_seconds",
        "From the socket read of a snapshot's oldest frame to its publication, over the last snapshots",
        labels=["quantile"],
    )
    if len(latencies):
        for quantile, ns in zip(QUANTILES, np.quantile(latencies, QUANTILES), strict=True):
            quantiles.add_metric([f"{quantile:g}"], float(ns) / 1e9)
    yield quantiles
    stats, feed = source.stats, source.feed_counters
    yield CounterMetricFamily("volstream_frames", "Frames received from venues", value=stats["frames"])
    yield CounterMetricFamily("volstream_snapshots", "Snapshots published", value=stats["snapshots"])
    yield CounterMetricFamily(
        "volstream_callback_errors", "Failures of snapshot callbacks", value=stats["callback_errors"]
    )
    yield CounterMetricFamily("volstream_feed_attempts", "Connections tried", value=feed["attempts"])
    yield CounterMetricFamily("volstream_feed_connections", "Connections made", value=feed["connections"])
    engine = CounterMetricFamily("volstream_engine", "What the engine dropped or solved the slow way", labels=["what"])
    for what, count in sorted(source.engine_counters.copy().items()):
        engine.add_metric([what], count)
    yield engine
    lost = CounterMetricFamily("volstream_feed_lost", "Connections lost or not made", labels=["reason"])
    for key, count in sorted(feed.copy().items()):
        word, _, reason = key.partition(".")
        if word == "closed":
            lost.add_metric([reason], count)
    yield lost


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """A gauge without labels."""
    return GaugeMetricFamily(name, text, value=value)


# What is counted at the door: who was refused and why, and who was shown out.
AT_THE_DOOR = ("auth_failures", "auth_limited", "auth_forbidden", "auth_late", "auth_ended")


class DoorCollector(Collector):
    """Refusals before anything is served."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def collect(self) -> Iterable[Metric]:
        door = self._door
        refused = CounterMetricFamily("volstream_auth_refusals", "Refused for want of a valid token", labels=["stage"])
        for why in AT_THE_DOOR:
            refused.add_metric([why.removeprefix("auth_")], door.counts[why])
        yield refused
        yield gauge("volstream_unknown_clients", "WebSockets that have yet to show a token", door.unknown)
        yield gauge("volstream_guessing_addresses", "Addresses with invalid tokens remembered", len(door.attempts))
        yield gauge("volstream_guessing_addresses_limit", "Bound of the same", door.attempts.MOST)


def watch_the_door(registry: CollectorRegistry, door: Door) -> None:
    """Add what is counted at the door."""
    registry.register(DoorCollector(door))


CHANGES = ("raised", "cleared", "gone", "untracked")
DELIVERIES = ("delivered", "failed_attempts", "given_up", "dropped")


class AlertsCollector(Collector):
    """Rules, what they have raised, and what became of it."""

    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    def collect(self) -> Iterable[Metric]:
        counts = self._alerts.counts
        yield gauge("volstream_alert_rules", "Rules in force", self._alerts.rules)
        unaimed = self._alerts.alarms["alerts_unaimed"]
        yield gauge("volstream_alerts_unaimed", "Names in rules' scopes that are not in the chain", unaimed)
        yield gauge("volstream_alerts_active", "Alerts that are raised", len(self._alerts.active))
        yield gauge("volstream_alerts_limit", "Bound of those, and of what may become one", MOST_SUBJECTS)
        changes = CounterMetricFamily("volstream_alerts", "Alerts begun, ended, not followed", labels=["stage"])
        for what in CHANGES:
            changes.add_metric([what], counts.get(what, 0))
        yield changes
        yield CounterMetricFamily("volstream_alert_notices", "Notices told", value=counts.get("notices", 0))
        deliveries = CounterMetricFamily("volstream_webhooks", "Notices to webhooks", labels=["stage"])
        for what in DELIVERIES:
            deliveries.add_metric([what], counts.get(f"webhook_{what}", 0))
        yield deliveries


def watch_the_alerts(registry: CollectorRegistry, alerts: Alerts) -> None:
    """Add what rules have raised, and what was delivered."""
    registry.register(AlertsCollector(alerts))
