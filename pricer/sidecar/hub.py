"""One publisher for all clients: each distinct subscription is one stream with one `seq`, encoded once for everybody.

Everything here runs on the sidecar's event loop, so joining is atomic: the snapshot that a client gets carries the
`seq` of the stream at that moment, and the next message of the stream is `seq` + 1.

A stream moves when the engine has published (at most once per `min_interval_ms`) and when the clock alone has changed a
status (looked at every `recheck_ms`), so that silence is published as STALE even when the engine says nothing more.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, Protocol

from pricer.clock import Clock, Instant, SystemClock
from pricer.config import ServerSection
from pricer.sidecar import wire
from pricer.sidecar.metrics import Metrics
from pricer.sidecar.outbox import Gap, Outbox, Overflow, Text
from pricer.sidecar.protocol import (
    AnyRequest,
    Ping,
    Refused,
    Session,
    StreamKey,
    Subscribe,
    Unsubscribe,
    about,
    gap,
    key_of,
)
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


class Stream:
    """One distinct subscription: the last published picture and its `seq`."""

    def __init__(self, key: StreamKey, digits: int, metrics: Metrics) -> None:
        self.key = key
        self.seq = 0
        self.clients: set[Client] = set()
        self.sent_mono_ns = 0  # when anything was last sent to the clients
        self._digits = digits
        self._metrics = metrics
        self._selection = wire.Selection(key.columns)
        self._picture: wire.Picture | None = None
        self._texts: dict[bool, tuple[wire.Picture, bytes]] = {}

    @property
    def picture(self) -> wire.Picture:
        """What the stream last published."""
        assert self._picture is not None, "a stream is advanced before it is read"
        return self._picture

    def advance(self, whole: Snapshot) -> bytes | None:
        """Move on to what `whole` says now; the message for clients, or None when there is nothing to say."""
        snapshot = whole.of(self.key.underlying, self.key.venue)
        old, new = self._picture, wire.take_picture(snapshot, self._digits, self._picture)
        if old is None or not new.has_rows_of(old):
            self._picture, self.seq = new, self.seq + 1
            return self.snapshot() if self.clients else None
        if new.says_the_same_as(old):
            self._picture = new  # at a later moment
            return None
        self._picture, self.seq = new, self.seq + 1
        if not self.clients:
            return None
        with self._metrics.encoding("delta"):
            body = wire.delta_body(old, new, self.key.venue, self._digits, self._selection)
            return wire.encode(about(self.key, "delta", self.seq) | body)

    def snapshot(self, *, ages: bool = False) -> bytes:
        """The whole of the last published picture, encoded once; `ages` adds those columns (HTTP)."""
        cached = self._texts.get(ages)
        if cached is None or cached[0] is not self._picture:
            cached = self._texts[ages] = (self.picture, self._encode(ages))
        return cached[1]

    def refresh(self, whole: Snapshot, min_interval_ns: int) -> bytes | None:
        """Before somebody new reads: not older than the interval. What comes back is for those who read already."""
        if self._picture is None or whole.clock.now().mono_ns - self._picture.now.mono_ns >= min_interval_ns:
            return self.advance(whole)
        return None

    def heartbeat(self) -> bytes:
        """Proof of life, with the clocks, when there was nothing to say."""
        now = self.picture.snapshot.clock.now()
        return wire.encode(about(self.key, "heartbeat", self.seq) | {"sent_ns": now.wall_ns, "mono_ns": now.mono_ns})

    def _encode(self, ages: bool) -> bytes:
        with self._metrics.encoding("snapshot"):
            body = wire.snapshot_body(self.picture, self.key.venue, self._digits, self._selection)
            if ages:
                body["columns"] |= wire.ages(self.picture)
            head = about(self.key, "snapshot", self.seq)
            return wire.encode(head | {"protocol": wire.PROTOCOL, "session": self._metrics.session} | body)


class Client:
    """One connection: its session, its outbox, and how to end it. The transport is somebody else's."""

    def __init__(self, settings: ServerSection, hang_up: Callable[[int, str], None]) -> None:
        self.session = Session(settings)
        self.outbox = Outbox(settings.queue_soft_bytes, settings.queue_hard_bytes, round(settings.slow_client_s * 1e9))
        self.streams: dict[tuple[str, str, str], Stream] = {}
        self.wake = asyncio.Event()
        self.closing = False
        self._hang_up = hang_up

    def hang_up(self, code: int, reason: str) -> None:
        """End the connection, once."""
        if not self.closing:
            self.closing = True
            self._hang_up(code, reason)


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
    ) -> None:
        self.source = source
        self.settings = settings
        self.venue = venue
        self.underlyings = tuple(underlyings)
        self.clock = clock or SystemClock()
        self.clients: set[Client] = set()
        self.streams: dict[StreamKey, Stream] = {}
        self.counts: Counter[str] = Counter()
        self.metrics = Metrics(self, session or uuid.uuid4().hex)
        self.turned_mono_ns = self.clock.now().mono_ns  # when the publisher last came round
        self._nothing = wire.nothing_yet(self.clock)
        self._fresh = asyncio.Event()
        self._interval_ns = round(settings.min_interval_ms * 1e6)

    @property
    def snapshot(self) -> Snapshot:
        """The newest there is; an empty one before the first."""
        return self.source.latest or self._nothing

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
        now = self.clock.now()
        self.turned_mono_ns = now.mono_ns
        for stream in tuple(self.streams.values()):
            if stream.clients:
                self._send(stream, stream.advance(self.snapshot), now)
        for client in tuple(self.clients):
            if client.outbox.overdue(now.mono_ns):
                self.drop(client, "slow_client", f"behind for more than {self.settings.slow_client_s:g} s")

    def _send(self, stream: Stream, message: bytes | None, now: Instant) -> None:
        kind = "delta"
        if message is None:
            if now.mono_ns - stream.sent_mono_ns < self.settings.heartbeat_s * 1e9:
                return
            message, kind = stream.heartbeat(), "heartbeat"
        stream.sent_mono_ns = now.mono_ns
        text = Text(message.decode(), stream.key, stream.seq)
        for client in tuple(stream.clients):
            self.put(client, text, kind)

    # ---- clients

    def join(self, hang_up: Callable[[int, str], None]) -> Client:
        """A new client; `Refused` when there are too many."""
        if len(self.clients) >= self.settings.max_clients:
            self.counts["refused_clients"] += 1
            raise Refused("too_many_clients", f"this sidecar serves at most {self.settings.max_clients} clients")
        client = Client(self.settings, hang_up)
        self.clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        """The connection is gone, for whatever reason."""
        self.clients.discard(client)
        self.counts["gaps"] += client.outbox.gaps
        self.counts["dropped_messages"] += client.outbox.dropped
        for stream in client.streams.values():
            stream.clients.discard(client)
        client.streams.clear()

    def receive(self, client: Client, text: str | bytes) -> None:
        """Serve one message of a client; the answer goes into its outbox."""
        now = self.clock.now()
        try:
            self._serve(client, client.session.receive(text, now.mono_ns))
        except Refused as refused:
            self.metrics.refused(refused.code)
            self.put(client, Text(refused.reply.decode()), "error")
            if client.session.refused():
                self.drop(client, "bad_messages", f"{client.session.errors} bad messages in a row")
        else:
            client.session.served()

    def put(self, client: Client, text: Text, kind: str) -> None:
        """Queue a message for one client and wake its writer."""
        try:
            client.outbox.put(text, self.clock.now().mono_ns)
        except Overflow as overflow:
            self.drop(client, "queue_limit", str(overflow))
            return
        self.metrics.queued(kind, len(text))
        client.wake.set()

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

    def next_texts(self, client: Client) -> list[str]:
        """What to write next to a client, in order; empty when it has caught up. A gap becomes `gap` and a snapshot."""
        now = self.clock.now().mono_ns
        item = None if client.closing else client.outbox.take()
        if item is None:
            return []
        try:
            return self._texts_of(client, item, now)
        except Overflow as overflow:
            self.drop(client, "queue_limit", str(overflow))
            return []

    def _texts_of(self, client: Client, item: Text | Gap, now: int) -> list[str]:
        if isinstance(item, Text):
            client.outbox.writing(len(item), now)
            return [item.text]
        stream = client.streams[item.key.chain]
        told = gap(item.key, item.first, stream.seq)
        whole = stream.snapshot()
        client.outbox.writing(len(told) + len(whole), now)
        return [told.decode(), whole.decode()]

    # ---- requests

    def _serve(self, client: Client, request: AnyRequest) -> None:
        match request:
            case Subscribe():
                self._subscribe(client, request)
            case Unsubscribe():
                self._unsubscribe(client, request)
            case Ping():
                clock = self.snapshot.clock.now()
                pong = {"type": "pong", "sent_ns": clock.wall_ns, "mono_ns": clock.mono_ns}
                self.put(client, Text(wire.encode(pong).decode()), "pong")

    def _subscribe(self, client: Client, request: Subscribe) -> None:
        key = key_of(request, request.venue or self.venue)
        self.check(key.venue, key.underlying)
        old = client.streams.get(key.chain)
        if old is None and len(client.streams) >= self.settings.max_subscriptions:
            raise Refused("too_many_subscriptions", f"at most {self.settings.max_subscriptions} a client")
        stream = self.current(key)
        if old is not None:
            old.clients.discard(client)
            client.outbox.restart(old.key)
        client.streams[key.chain] = stream
        if not stream.clients:  # silence is counted from the first reader's snapshot
            stream.sent_mono_ns = self.clock.now().mono_ns
        stream.clients.add(client)
        self.put(client, Text(stream.snapshot().decode(), key, stream.seq), "snapshot")

    def _unsubscribe(self, client: Client, request: Unsubscribe) -> None:
        chain = (request.channel, request.venue or self.venue, request.underlying)
        stream = client.streams.pop(chain, None)
        if stream is None:
            raise Refused("not_subscribed", f"there is no subscription to {request.underlying}")
        stream.clients.discard(client)
        client.outbox.restart(stream.key)
        reply = about(stream.key, "unsubscribed", stream.seq)
        self.put(client, Text(wire.encode(reply).decode()), "unsubscribed")

    # ---- what there is

    def known(self) -> dict[str, set[str]]:
        """The underlyings of each venue: configured, or seen."""
        out: dict[str, set[str]] = {self.venue: set(self.underlyings)}
        for block in self.snapshot.blocks:
            out.setdefault(block.key.venue, set()).add(block.definition.underlying)
        return out

    def check(self, venue: str, underlying: str) -> None:
        """`Refused` where there is no such venue or underlying; the message names it."""
        known = self.known()
        if venue not in known:
            raise Refused("unknown_venue", f"no venue {venue!r}; there are {', '.join(sorted(known))}")
        if underlying not in known[venue]:
            there = ", ".join(sorted(known[venue]))
            raise Refused("unknown_underlying", f"no underlying {underlying!r} at {venue}; there are {there}")

    def current(self, key: StreamKey) -> Stream:
        """The stream of a key, moved on to this moment; `Refused` when there are too many in use."""
        stream = self.streams.get(key)
        if stream is None:
            self._make_room()
            stream = self.streams[key] = Stream(key, self.settings.significant_digits, self.metrics)
        message = stream.refresh(self.snapshot, self._interval_ns)
        if message is not None:
            self._send(stream, message, self.clock.now())
        return stream

    def _make_room(self) -> None:
        """Idle streams are kept so that their `seq` goes on, as long as there is room; the oldest goes first."""
        if len(self.streams) < self.settings.max_streams:
            return
        idle = next((key for key, stream in self.streams.items() if not stream.clients), None)
        if idle is None:
            raise Refused("too_many_streams", f"at most {self.settings.max_streams} distinct subscriptions at once")
        del self.streams[idle]


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error behind a group, for callers who know nothing of tasks."""
    error: Any = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
