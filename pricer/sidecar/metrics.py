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

if TYPE_CHECKING:
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
        self._messages = Counter(
            "volstream_messages", "Messages queued to clients", ["channel", "stage"], registry=self.registry
        )
        self._bytes = Counter(
            "volstream_bytes", "Bytes queued to clients", ["channel", "stage"], registry=self.registry
        )
        self._refusals = Counter(
            "volstream_client_errors", "Bad messages from clients", ["code"], registry=self.registry
        )
        self.registry.register(HubCollector(hub))

    @contextmanager
    def encoding(self, stage: str) -> Iterator[None]:
        """Time one encode."""
        started = time.perf_counter()
        yield
        self._encode.labels("chain", stage).observe(time.perf_counter() - started)

    def queued(self, stage: str, size: int) -> None:
        """One message for one client."""
        self._messages.labels("chain", stage).inc()
        self._bytes.labels("chain", stage).inc(size)

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
        yield gauge("volstream_queue_bytes", "All clients' queues together", sum(queues))
        yield gauge("volstream_queue_max_bytes", "The longest queue of one client", max(queues, default=0))
        yield gauge("volstream_queue_soft_limit_bytes", "A longer queue is conflated", bounds.queue_soft_bytes)
        yield gauge("volstream_queue_hard_limit_bytes", "Bound of one client's queue", bounds.queue_hard_bytes)
        yield from self._counters()
        yield from self._numbers()

    def _counters(self) -> Iterable[Metric]:
        hub = self._hub
        gaps = hub.counts["gaps"] + sum(client.outbox.gaps for client in hub.clients)
        dropped = hub.counts["dropped_messages"] + sum(client.outbox.dropped for client in hub.clients)
        yield CounterMetricFamily("volstream_gaps", "Gaps told to slow clients", value=gaps)
        yield CounterMetricFamily("volstream_dropped_messages", "Messages conflated away", value=dropped)
        yield CounterMetricFamily("volstream_refused_clients", "Too many clients", value=hub.counts["refused_clients"])
        closed = CounterMetricFamily("volstream_clients_closed", "Clients closed by policy", labels=["stage"])
        for why in CLOSED:
            closed.add_metric([why], hub.counts[f"closed_{why}"])
        yield closed

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
