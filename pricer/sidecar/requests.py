"""What clients ask for, and the answers to it: subscriptions that begin, go on where they were, or end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pricer.sidecar.clients import Client
from pricer.sidecar.filters import key_of, subject_of
from pricer.sidecar.outbox import Frame
from pricer.sidecar.protocol import (
    NEW_STREAM_COST,
    AnyRequest,
    Auth,
    Ping,
    Refused,
    Subscribe,
    Unsubscribe,
    about,
    resumed,
)
from pricer.sidecar.stream import Stream

if TYPE_CHECKING:
    from pricer.sidecar.hub import Hub


class Requests:
    """Serves the clients of a hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def serve(self, client: Client, request: AnyRequest, now: int) -> None:
        """Do what is asked and answer; `Refused`, with what the request is about, where that cannot be."""
        try:
            self._serve(client, request, now)
        except Refused as refused:
            raise refused.to(request) from None

    def _serve(self, client: Client, request: AnyRequest, now: int) -> None:
        match request:
            case Subscribe():
                self._subscribe(client, request, now)
            case Unsubscribe():
                self._unsubscribe(client, request)
            case Ping():
                clock = self._hub.snapshot.clock.now()
                head = {"type": "pong", "sent_ns": clock.wall_ns, "mono_ns": clock.mono_ns}
                self._hub.delivery.reply(client, head)
            case Auth():
                self.authorized(client)

    def authorized(self, client: Client) -> None:
        """The answer to `auth`."""
        self._hub.delivery.reply(client, {"type": "authorized", "scopes": sorted(client.scopes)})

    def _subscribe(self, client: Client, request: Subscribe, now: int) -> None:
        hub, settings = self._hub, self._hub.settings
        subject = subject_of(request, request.venue or hub.venue)
        hub.check(subject[1], subject[2])
        key = key_of(request, subject[1], hub.snapshot, hub.source, settings.min_interval_ms)
        old = client.streams.get(key.subject)
        if old is None and len(client.streams) >= settings.max_subscriptions:
            raise Refused("too_many_subscriptions", f"at most {settings.max_subscriptions} a client")
        if key not in hub.streams:
            client.session.charge(NEW_STREAM_COST, now)
        market = hub.market
        stream = hub.current(key, market)
        if client.closing:  # what its old subscription was just sent was too much for it
            return
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
        hub, missed = self._hub, None
        if request.seq is not None and request.session == hub.metrics.session:
            missed = stream.missed(request.stream, request.seq, client.encoding)
        if missed is None or request.seq is None:
            hub.counts["refused_resumes"] += request.seq is not None
            hub.delivery.put(client, stream.frame(stream.snapshot(), client.encoding), "snapshot")
            return
        hub.counts["resumes"] += 1
        told = resumed(stream.key, stream.number, request.seq + 1, stream.seq)
        hub.delivery.put(client, Frame(told.framed(client.encoding)), told.type)
        for frame in missed:
            hub.delivery.put(client, frame, "delta")

    def _unsubscribe(self, client: Client, request: Unsubscribe) -> None:
        subject = subject_of(request, request.venue or self._hub.venue)
        stream = client.streams.pop(subject, None)
        if stream is None:
            what = " of ".join(each for each in (request.instrument, request.channel, request.underlying) if each)
            raise Refused("not_subscribed", f"there is no subscription to {what} at {subject[1]}")
        stream.leave(client, self._hub.market)
        client.outbox.restart(stream.key)
        self._hub.delivery.reply(client, about(stream.key, "unsubscribed", stream.seq))
