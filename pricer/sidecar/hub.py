"""One publisher for all clients: each distinct subscription is one stream with one `seq`, encoded once for everybody.

Everything here runs on the sidecar's event loop, so joining is atomic: the snapshot that a client gets carries the
`seq` of the stream at that moment, and the next message of the stream is `seq` + 1.

A frame is written straight to the transport of each reader that has nothing waiting: no task, no queue and no copy for
a client that keeps up. For one that does not, frames go through its `Outbox` until its transport is empty again.

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
from pricer.sidecar.encodings import ENCODINGS, JSON, Encoding
from pricer.sidecar.filters import key_of, subject_of
from pricer.sidecar.history import History
from pricer.sidecar.messages import Head, Message
from pricer.sidecar.metrics import Metrics
from pricer.sidecar.moment import nothing_yet
from pricer.sidecar.outbox import Frame, Gap, Overflow
from pricer.sidecar.protocol import (
    NEW_STREAM_COST,
    PROTOCOL,
    AnyRequest,
    Auth,
    Ping,
    Refused,
    StreamKey,
    Subscribe,
    Unsubscribe,
    about,
    gap,
    resumed,
)
from pricer.sidecar.stream import Stream
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
        self.streams: dict[StreamKey, Stream] = {}
        self.counts: Counter[str] = Counter()
        self.history = History()
        self.alerts: Alerts | None = None  # who watches rules, in a sidecar that serves
        self.metrics = Metrics(self, session or uuid.uuid4().hex)
        self.turned_mono_ns = self.clock.now().mono_ns  # when the publisher last came round
        self._nothing = nothing_yet(self.clock)
        self._fresh = asyncio.Event()
        self._behind: set[Client] = set()  # something waits for them
        self._overflowing: list[tuple[Client, str]] = []
        self._first_seq = 1  # of new streams: a stream that is made again must not repeat what it said before

    @property
    def snapshot(self) -> Snapshot:
        """The newest there is; an empty one before the first."""
        return self.source.latest or self._nothing

    @property
    def market(self) -> Market:
        """What the channels read."""
        alarms = {name: count for name, count in self.counts.items() if name.startswith(("closed_", "refused_"))}
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
        self.turned_mono_ns = now
        self.history.sample(self.snapshot)
        market = self.market
        for stream in tuple(self.streams.values()):
            if stream.is_read:
                self._send(stream, stream.advance(market) if stream.is_due(market.now_mono_ns) else None, now)
        for client in tuple(self._behind):
            if client.outbox.overdue(now):
                self.drop(client, "slow_client", f"behind for more than {self.settings.slow_client_s:g} s")

    def _send(self, stream: Stream, message: Message | None, now: int) -> None:
        """A message of a stream to all its readers, or a heartbeat when there was none for long."""
        if message is None:
            if now - stream.sent_mono_ns < self.settings.heartbeat_s * 1e9:
                return
            message = stream.heartbeat(self.snapshot.clock.now())
        stream.sent_mono_ns = now
        for name, frame in stream.frames(message).items():
            readers, data = stream.readers.get(name), frame.data
            if not readers:
                continue
            for client in readers:
                if client.free:
                    client.write(data)
                else:
                    self._queue(client, frame)
            self.metrics.queued(stream.key.channel, message.type, len(data) * len(readers), len(readers))
        self._drop_overflowing()

    def reconfigure(self, settings: ServerSection) -> None:
        """Other limits from now on; what a client or a stream was given at its start, it keeps."""
        self.settings = settings
        self.admission.reconfigure(settings)

    # ---- writing

    def _put(self, client: Client, frame: Frame, kind: str) -> None:
        """A message for one client."""
        if client.free:
            client.write(frame.data)
        else:
            self._queue(client, frame)
        self.metrics.queued(frame.key.channel if frame.key else "none", kind, len(frame))
        self._drop_overflowing()

    def _reply(self, client: Client, head: Head) -> None:
        """An answer to one client, outside of any stream."""
        message = Message(head)
        self._put(client, Frame(message.framed(client.encoding)), message.type)

    def _queue(self, client: Client, frame: Frame) -> None:
        """For a client that has something waiting already. Who needs too much is dropped after the round."""
        if client.closing:
            return
        try:
            client.outbox.put(frame, self.clock.now().mono_ns)
        except Overflow as overflow:
            self._overflowing.append((client, str(overflow)))

    def _drop_overflowing(self) -> None:
        while self._overflowing:
            client, reason = self._overflowing.pop()
            self.drop(client, "queue_limit", reason)

    def blocked(self, client: Client) -> None:
        """The transport of a client could not take all of a write: what follows waits."""
        client.free, client.stuck = False, True
        if client.closing:
            return
        waiting, limit = client.link.waiting(), self.settings.queue_hard_bytes
        client.outbox.writing(waiting, self.clock.now().mono_ns)
        self._behind.add(client)
        if waiting > limit:
            self._overflowing.append((client, f"more than {limit} bytes are waiting"))

    def writable(self, client: Client) -> None:
        """The transport of a client is empty: write what waits, until it is stuck again or has caught up."""
        client.stuck = False
        client.outbox.written()
        while not client.stuck and not client.closing and not client.link.is_cut():
            item = client.outbox.take()
            if item is None:
                client.free = True
                self._behind.discard(client)
                return
            client.write(self._gap(client, item) if isinstance(item, Gap) else item.data)
        self._drop_overflowing()

    def _gap(self, client: Client, item: Gap) -> bytes:
        """What was dropped, and the snapshot in its place."""
        stream = client.streams[item.key.subject]
        told = gap(item.key, item.first, stream.seq).framed(client.encoding)
        return told + stream.frame(stream.snapshot(), client.encoding).data

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
        self._reply(
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
            self._authorized(client)

    def _authorized(self, client: Client) -> None:
        self._reply(client, {"type": "authorized", "scopes": sorted(client.scopes)})

    def leave(self, client: Client) -> None:
        """The connection is gone, for whatever reason."""
        if client not in self.clients:
            return
        self.clients.discard(client)
        self._behind.discard(client)
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
            self._serve(client, client.session.receive(data, now), now)
        except Refused as refused:
            self.metrics.refused(refused.code)
            self._reply(client, refused.head)
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

    # ---- requests

    def _serve(self, client: Client, request: AnyRequest, now: int) -> None:
        match request:
            case Subscribe():
                self._subscribe(client, request, now)
            case Unsubscribe():
                self._unsubscribe(client, request)
            case Ping():
                clock = self.snapshot.clock.now()
                self._reply(client, {"type": "pong", "sent_ns": clock.wall_ns, "mono_ns": clock.mono_ns})
            case Auth():
                self._authorized(client)

    def _subscribe(self, client: Client, request: Subscribe, now: int) -> None:
        subject = subject_of(request, request.venue or self.venue)
        self.check(subject[1], subject[2])
        key = key_of(request, subject[1], self.snapshot, self.source, self.settings.min_interval_ms)
        old = client.streams.get(key.subject)
        if old is None and len(client.streams) >= self.settings.max_subscriptions:
            raise Refused("too_many_subscriptions", f"at most {self.settings.max_subscriptions} a client")
        if key not in self.streams:
            client.session.charge(NEW_STREAM_COST, now)
        stream = self.current(key)
        if client.closing:  # what its old subscription was just sent was too much for it
            return
        market = self.market
        if old is not None:
            client.outbox.restart(old.key)
        if not stream.is_read:  # silence is counted from the first reader's snapshot
            stream.sent_mono_ns = now
        client.streams[key.subject] = stream
        stream.join(client, market)
        if old is not None and old is not stream:  # after the join: what both need stays open
            old.leave(client, market)
        self._begin(client, stream, request)

    def _begin(self, client: Client, stream: Stream, request: Subscribe) -> None:
        """What a new reader missed, where it says what it had and all of that is held; else the whole."""
        missed = None
        if request.seq is not None and request.session == self.metrics.session:
            missed = stream.missed(request.seq, client.encoding)
        if missed is None or request.seq is None:
            self.counts["refused_resumes"] += request.seq is not None
            self._put(client, stream.frame(stream.snapshot(), client.encoding), "snapshot")
            return
        self.counts["resumes"] += 1
        told = resumed(stream.key, request.seq + 1, stream.seq)
        self._put(client, Frame(told.framed(client.encoding)), told.type)
        for frame in missed:
            self._put(client, frame, "delta")

    def _unsubscribe(self, client: Client, request: Unsubscribe) -> None:
        subject = subject_of(request, request.venue or self.venue)
        stream = client.streams.pop(subject, None)
        if stream is None:
            raise Refused("not_subscribed", f"there is no subscription to {request.underlying}")
        stream.leave(client, self.market)
        client.outbox.restart(stream.key)
        self._reply(client, about(stream.key, "unsubscribed", stream.seq))

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

    def current(self, key: StreamKey) -> Stream:
        """The stream of a key, moved on to this moment; `Refused` when there are too many in use."""
        stream = self.streams.get(key)
        if stream is None:
            self._make_room()
            stream = self.streams[key] = Stream(key, self.metrics, self.settings, self._first_seq)
        message = stream.refresh(self.market)
        if message is not None:
            self._send(stream, message, self.clock.now().mono_ns)
        return stream

    def _make_room(self) -> None:
        """Idle streams are kept so that their `seq` goes on, as long as there is room; the oldest goes first."""
        if len(self.streams) < self.settings.max_streams:
            return
        idle = next((key for key, stream in self.streams.items() if not stream.is_read), None)
        if idle is None:
            raise Refused("too_many_streams", f"at most {self.settings.max_streams} distinct subscriptions at once")
        # One more than next: not even a client that had the last message of the old stream may go on with the new one.
        self._first_seq = max(self._first_seq, self.streams.pop(idle).seq + 2)


class _Reading:
    """What the link of a client tells the hub."""

    __slots__ = ("_client", "_hub")

    def __init__(self, hub: Hub, client: Client) -> None:
        self._hub, self._client = hub, client

    @property
    def is_behind(self) -> bool:
        return not self._client.free

    def blocked(self) -> None:
        self._hub.blocked(self._client)

    def writable(self) -> None:
        self._hub.writable(self._client)

    def lost(self) -> None:
        self._hub.leave(self._client)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error behind a group, for callers who know nothing of tasks."""
    error: Any = group.exceptions[0]
    return first_error(error) if isinstance(error, BaseExceptionGroup) else error
