"""Prometheus metrics of one sidecar. Labels come from short fixed lists: never an instrument, a client or a text."""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pricer.conventions import Status

if TYPE_CHECKING:
    from pricer.sidecar.hub import Hub

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
CLOSED = ("slow_client", "queue_limit", "bad_messages")


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
        options = GaugeMetricFamily("volstream_options", "Options by status now", labels=["venue", "status"])
        counts: Counts[tuple[str, str]] = Counts()
        for block in snapshot.blocks:
            late = now.mono_ns > block.model_valid_until_ns
            status = np.where(late, np.maximum(block.status[-1], np.uint8(Status.STALE)), block.status[-1])
            for code in Status:
                counts[block.key.venue, code.name] += int((status == code).sum())
        for (venue, name), count in sorted(counts.items()):
            options.add_metric([venue, name], count)
        yield options
        feeds = GaugeMetricFamily("volstream_feed_live", "Connections that are live", labels=["venue"])
        live = Counts(feed.venue for feed in snapshot.feeds if feed.state == "live")
        for venue in sorted({feed.venue for feed in snapshot.feeds}):
            feeds.add_metric([venue], live[venue])
        yield feeds


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """A gauge without labels."""
    return GaugeMetricFamily(name, text, value=value)
