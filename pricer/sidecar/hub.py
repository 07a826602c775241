"""One publisher for all clients: each distinct subscription is one stream with one `seq`, encoded once for everybody.

Everything here runs on the sidecar's event loop, so joining is atomic: the snapshot that a client gets carries the
`seq` of the stream at that moment, and the next message of the stream is `seq` + 1.

`streams` has what there is to read, `delivery` writes it, `requests` answers clients.

A stream moves when the engine has published (at most once per `min_interval_ms`) and when the clock alone has changed a
status (looked at every `recheck_ms`), so that silence is published as STALE even when the engine says nothing more.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import Any, Protocol

from pricer.clock import Clock, SystemClock
from pricer.config import ServerSection
from pricer.sidecar.admission import Admission
from pricer.sidecar.alerts.service import Alerts
from pricer.sidecar.alerts.watch import Active
from pricer.sidecar.channels import Market
from pricer.sidecar.channels.channel import Served
from pricer.sidecar.clients import Client, Link
from pricer.sidecar.delivery import Delivery
from pricer.sidecar.encodings import ENCODINGS, JSON, Encoding
from pricer.sidecar.history import History
from pricer.sidecar.messages import Message
from pricer.sidecar.metrics import Metrics
from pricer.sidecar.moment import nothing_yet
from pricer.sidecar.protocol import PROTOCOL, Refused, StreamKey
from pricer.sidecar.requests import Requests
from pricer.sidecar.stream import Stream
from pricer.sidecar.streams import Streams
from pricer.snapshot import Snapshot

POLICY = 1008
GOING_AWAY = 1001


class Mailbox(Protocol):
    """One slot, the latest snapshot wins."""

    def __aiter__(self) -> AsyncIterator[Snapshot]: ...
    def close(self) -> None: ...


class SnapshotSource(Protocol):
    """Where snapshots come from: `pricer.live`, a replay, or a test."""

    @property
    def latest(self) -> Snapshot | None: ...
    def subscribe(self) -> Mailbox: ...


class Hub:
    """All streams and all clients of one sidecar."""

    def __init__(
        self,
        source: SnapshotSource,
        settings: ServerSection,
        *,
        venue: str,
        underlyings: Collection[str],
        clock: Clock | None = None,
        session: str | None = None,
        server: str = "volstream",
        admission: Admission | None = None,
    ) -> None:
        self.source = source
        self.settings = settings
        self.venue = venue
        self.underlyings = tuple(underlyings)
        self.clock = clock or SystemClock()
        self.server = server  # its name and version, for `welcome`
        self.admission = admission or Admission(settings)
        self.clients: set[Client] = set()
        self.counts: Counter[str] = Counter()
        self.history = History()
        self.alerts: Alerts | None = None  # who watches rules, in a sidecar that serves
        self.metrics = Metrics(self, session or uuid.uuid4().hex)
        self.streams = Streams(self.metrics)
        self.delivery = Delivery(settings, self.clock, self.metrics, self.drop)
        self._requests = Requests(self)
        self.turned_mono_ns = self.clock.now().mono_ns  # when the publisher last came round
        self._was_late = False  # it came so long after the round before that nobody was judged by it
        self._nothing = nothing_yet(self.clock)
        self._fresh = asyncio.Event()

    @property
    def snapshot(self) -> Snapshot:
        """The newest there is; an empty one before the first."""
        latest = self.source.latest
        return self._nothing if latest is None else latest

    @property
    def market(self) -> Market:
        """What the channels read."""
        counts = dict(self.counts)  # at once: the watchdog counts on a thread of its own
        alarms = {name: count for name, count in counts.items() if name.startswith(("closed_", "refused_"))}
        active: tuple[Active, ...] = ()
        if self.alerts is not None:
            active = self.alerts.active
            alarms |= self.alerts.alarms
        served = Served(len(self.clients), len(self.streams), alarms, active)
        return Market(self.snapshot, self.source, self.settings.significant_digits, served)

    async def run(self) -> None:
        """Publish until cancelled. An error of the source ends it: a dead engine is not hidden behind old numbers."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="sidecar-listen")
            group.create_task(self._publish(), name="sidecar-publish")

    async def _listen(self) -> None:
        mailbox = self.source.subscribe()
        try:
            async for _ in mailbox:
                self._fresh.set()
        finally:
            mailbox.close()

    async def _publish(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self.settings.recheck_ms / 1e3):
                    await self._fresh.wait()
            except TimeoutError:
                self.counts["rechecks"] += 1
            self._fresh.clear()
            self.publish()
            await asyncio.sleep(self.settings.min_interval_ms / 1e3)

    def publish(self) -> None:
        """One round: every stream that has readers moves on; who is too far behind goes."""
        now = self.clock.now().mono_ns
        # The machine slept, or the loop was held up: who is behind by our own fault gets one more round, and only one.
        self._was_late = not self._was_late and now - self.turned_mono_ns > self.settings.slow_client_s * 0.5e9
        self.turned_mono_ns = now
        market = self.market
        for stream in tuple(self.streams.values()):
            if stream.is_read:
                self._send(stream, stream.advance(market) if stream.is_due(market.now_mono_ns) else None, now)
        if not self._was_late:
            self.delivery.drop_overdue(now)
        self.history.sample(market.snapshot)  # nobody waits for it

    def _send(self, stream: Stream, message: Message | None, now: int) -> None:
        """A message of a stream to all its readers, or a heartbeat when there was none for long."""
        if message is None:
            if now - stream.sent_mono_ns < self.settings.heartbeat_s * 1e9:
                return
            message = stream.heartbeat(self.snapshot.clock.now())
        stream.sent_mono_ns = now
        self.delivery.broadcast(stream, message)

    def reconfigure(self, settings: ServerSection) -> None:
        """Other limits from now on; what a client or a stream was given at its start, it keeps."""
        self.settings = self.delivery.settings = settings
        self.admission.reconfigure(settings)

    # ---- clients

    def join(self, link: Link, encoding: Encoding = JSON, scopes: Collection[str] = ()) -> Client:
        """A new client, for whom `admission` has found a place. It hears nothing before it is greeted."""
        client = Client(link, encoding, self.settings, scopes)
        link.attach(_Reading(self, client))
        self.clients.add(client)
        return client

    def greet(self, client: Client, *, introduced: bool = False) -> None:
        """The first message: who is here, and on which clocks; after it the answer to `auth`, if that came already."""
        now = self.snapshot.clock.now()
        self.delivery.reply(
            client,
            {
                "type": "welcome",
                "protocol": PROTOCOL,
                "session": self.metrics.session,
                "server": self.server,
                "heartbeat_s": self.settings.heartbeat_s,
                "encodings": list(ENCODINGS),
                "sent_ns": now.wall_ns,
                "mono_ns": now.mono_ns,
            },
        )
        if introduced:
            self._requests.authorized(client)

    def leave(self, client: Client) -> None:
        """The connection is gone, for whatever reason."""
        if client not in self.clients:
            return
        self.clients.discard(client)
        self.delivery.forget(client)
        self.counts["gaps"] += client.outbox.gaps
        self.counts["dropped_messages"] += client.outbox.dropped
        market = self.market
        for stream in client.streams.values():
            stream.leave(client, market)
        client.streams.clear()
        client.end()

    def receive(self, client: Client, data: str | bytes) -> None:
        """Serve one message of a client; the answer is written to it."""
        if client.closing:
            return
        now = self.clock.now().mono_ns
        try:
            self._requests.serve(client, client.session.receive(data, now), now)
        except Refused as refused:
            self.metrics.refused(refused.code)
            self.delivery.reply(client, refused.head)
            if client.session.refused():
                self.drop(client, "bad_messages", f"{client.session.errors} bad messages in a row")
        else:
            client.session.served()

    def drop(self, client: Client, why: str, reason: str) -> None:
        """End a client by policy; `why` is a word from a short list, for the metrics."""
        if not client.closing:
            self.counts[f"closed_{why}"] += 1
            client.hang_up(POLICY, reason)
            self.leave(client)

    def close(self) -> None:
        """The sidecar ends: every client is told."""
        for client in tuple(self.clients):
            client.hang_up(GOING_AWAY, "the sidecar is shutting down")

    # ---- what there is

    def known(self) -> dict[str, set[str]]:
        """The underlyings of each venue: configured, or seen."""
        out: dict[str, set[str]] = {self.venue: set(self.underlyings)}
        for block in self.snapshot.blocks:
            out.setdefault(block.key.venue, set()).add(block.definition.underlying)
        return out

    def check(self, venue: str, underlying: str) -> None:
        """`Refused` where there is no such venue or underlying; the message names it. Some channels need none."""
        known = self.known()
        if venue not in known:
            raise Refused("unknown_venue", f"no venue {venue!r}; there are {', '.join(sorted(known))}")
        if underlying and underlying not in known[venue]:
            there = ", ".join(sorted(known[venue]))
            raise Refused("unknown_underlying", f"no underlying {underlying!r} at {venue}; there are {there}")

    def current(self, key: StreamKey, market: Market | None = None) -> Stream:
        """The stream of a key, moved on to this moment; `Refused` when there are too many in use."""
        stream = self.streams.of(key, self.settings)
        message = stream.refresh(market or self.market)
        if message is not None:
            self._send(stream, message, self.clock.now().mono_ns)
        return stream


class _Reading:
    """What the link of a client tells the hub."""

    __slots__ = ("_client", "_hub")

    def __init__(self, hub: Hub, client: Client) -> None:
        self._hub, self._client = hub, client

    @property
    def is_behind(self) -> bool:
        return not self._client.free

    def blocked(self) -> None:
        self._hub.delivery.blocked(self._client)

    def writable(self) -> None:
        self._hub.delivery.writable(self._client)

    def lost(self) -> None:
        self._hub.leave(self._client)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error behind a group, for callers who know nothing of tasks."""
    error: Any = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
