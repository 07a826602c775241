"""From messages to the sockets of clients, without a task: at once to who keeps up, through an outbox to who does not.

A frame is written straight to the transport of each reader that has nothing waiting: no queue and no copy for a client
that keeps up. For one that does not, frames go through its `Outbox` until its transport is empty again. Who needs more
than it may have is dropped after the round, so that nobody leaves while the readers of a stream are gone through.
"""

from __future__ import annotations

from collections.abc import Callable

from pricer.clock import Clock
from pricer.config import ServerSection
from pricer.sidecar.clients import Client
from pricer.sidecar.messages import Head, Message
from pricer.sidecar.metrics import Metrics
from pricer.sidecar.outbox import Frame, Gap, Overflow
from pricer.sidecar.protocol import gap
from pricer.sidecar.stream import Stream

Drop = Callable[[Client, str, str], None]
"""End a client: which one, a word from a short list, and the reason for people."""


class Delivery:
    """The way to all clients; `drop` is what becomes of those that are too far behind."""

    def __init__(self, settings: ServerSection, clock: Clock, metrics: Metrics, drop: Drop) -> None:
        self.settings = settings
        self._clock, self._metrics, self._drop = clock, metrics, drop
        self._behind: set[Client] = set()  # something waits for them
        self._overflowing: list[tuple[Client, str]] = []

    def broadcast(self, stream: Stream, message: Message) -> None:
        """A message of a stream to all its readers."""
        for name, frame in stream.frames(message):
            readers, data = stream.readers.get(name), frame.data
            if not readers:
                continue
            for client in readers:
                if client.free:
                    client.write(data)
                else:
                    self._queue(client, frame)
            self._metrics.queued(stream.key.channel, message.type, len(data) * len(readers), len(readers))
        self._drop_overflowing()

    def put(self, client: Client, frame: Frame, kind: str) -> None:
        """A message for one client."""
        if client.free:
            client.write(frame.data)
        else:
            self._queue(client, frame)
        self._metrics.queued(frame.key.channel if frame.key else "none", kind, len(frame))
        self._drop_overflowing()

    def reply(self, client: Client, head: Head) -> None:
        """An answer to one client, outside of any stream."""
        message = Message(head)
        self.put(client, Frame(message.framed(client.encoding)), message.type)

    def drop_overdue(self, now: int) -> None:
        """Who is behind for too long goes."""
        for client in tuple(self._behind):
            if client.outbox.overdue(now):
                self._drop(client, "slow_client", f"behind for more than {self.settings.slow_client_s:g} s")

    def forget(self, client: Client) -> None:
        """It has left."""
        self._behind.discard(client)

    def blocked(self, client: Client) -> None:
        """The transport of a client could not take all of a write: what follows waits."""
        client.free, client.stuck = False, True
        if client.closing:
            return
        waiting, limit = client.link.waiting(), self.settings.queue_hard_bytes
        client.outbox.writing(waiting, self._clock.now().mono_ns)
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
            client.write(_gap(client, item) if isinstance(item, Gap) else item.data)
        self._drop_overflowing()

    def _queue(self, client: Client, frame: Frame) -> None:
        """For a client that has something waiting already."""
        if client.closing:
            return
        try:
            client.outbox.put(frame, self._clock.now().mono_ns)
        except Overflow as overflow:
            self._overflowing.append((client, str(overflow)))

    def _drop_overflowing(self) -> None:
        while self._overflowing:
            client, reason = self._overflowing.pop()
            self._drop(client, "queue_limit", reason)


def _gap(client: Client, item: Gap) -> bytes:
    """What was dropped, and the snapshot in its place."""
    stream = client.streams[item.key.subject]
    told = gap(item.key, item.first, stream.seq).framed(client.encoding)
    return told + stream.frame(stream.snapshot(), client.encoding).data
