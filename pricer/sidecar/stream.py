"""One distinct subscription: its last published picture, the `seq` of that, and the messages that led there.

A stream is what all clients share that asked for the same. It moves when it is told to (`advance`), at its own pace;
what it then has to say is one `Message`, encoded once for each encoding that somebody reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from pricer.clock import Instant
from pricer.config import ServerSection
from pricer.sidecar.channels import CHANNELS, Market, Picture
from pricer.sidecar.encodings import Encoding
from pricer.sidecar.messages import Message
from pricer.sidecar.metrics import Metrics
from pricer.sidecar.outbox import Frame
from pricer.sidecar.protocol import PROTOCOL, StreamKey, about

if TYPE_CHECKING:
    from pricer.sidecar.clients import Client

# An encoding whose last reader left is made for so many more messages, as its reader may come back and want them.
FAREWELL = 100


class Ring:
    """The last messages as they were sent, by encoding; bounded by their number and their bytes."""

    def __init__(self, messages: int, size: int) -> None:
        self._most, self._most_bytes = messages, size
        self._sent: deque[dict[str, Frame]] = deque()
        self._bytes = 0
        self._last = 0  # seq of the newest

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._bytes

    def add(self, seq: int, frames: dict[str, Frame]) -> None:
        """What was sent as message `seq`; after a hole in the sequence nothing older is of use."""
        if seq != self._last + 1:
            self.clear()
        self._last = seq
        self._sent.append(frames)
        self._bytes += _size(frames)
        while len(self._sent) > self._most or self._bytes > self._most_bytes:
            self._bytes -= _size(self._sent.popleft())

    def since(self, seq: int, last: int, encoding: str) -> list[Frame] | None:
        """The messages after `seq` to `last`; None where one of them is not held."""
        missed = last - seq
        if last != self._last or not 0 <= missed <= len(self._sent):
            return None
        newest_first = [sent.get(encoding) for sent in islice(reversed(self._sent), missed)]
        frames = [frame for frame in reversed(newest_first) if frame is not None]
        return frames if len(frames) == missed else None

    def clear(self) -> None:
        """Forget all of it."""
        self._sent.clear()
        self._bytes = 0


def _size(frames: dict[str, Frame]) -> int:
    return sum(map(len, frames.values()))


class Stream:
    """One stream; `first` is the `seq` that its first picture will have.

    `number` is no other stream's in this session. Two that differ in columns, expiries or pace alone look alike in all
    else that a client can say of what it had, so a `seq` without a number means this one only while it `is_only`.
    """

    def __init__(
        self, key: StreamKey, metrics: Metrics, settings: ServerSection, first: int = 1, number: int = 1
    ) -> None:
        self.key = key
        self.number = number
        self.is_only = True  # there has never been another of its subject beside it
        self.seq = first - 1
        self.readers: dict[str, set[Client]] = {}  # by the name of their encoding
        self.sent_mono_ns = 0  # when anything was last sent to the clients
        self.ring = Ring(settings.resume_messages, settings.resume_bytes)
        self._metrics = metrics
        self._checksum_every = settings.checksum_every
        self._interval_ns = round(max(settings.min_interval_ms, key.interval_ms) * 1e6)
        # Less a tenth of a round of the publisher: one that comes a moment early is not worth the wait for another.
        self._own_pace_ns = self._interval_ns - round(settings.min_interval_ms * 1e5) if key.interval_ms else 0
        self._channel = CHANNELS[key.channel]
        self._encodings: dict[str, tuple[Encoding, int]] = {}  # with the seq up to which each is made
        self._picture: Picture | None = None
        self._whole: tuple[Picture, Message] | None = None
        # What HTTP makes of the picture; kept here, so that it goes with the stream.
        self.view: object | None = None

    @property
    def picture(self) -> Picture:
        """What the stream last published."""
        assert self._picture is not None, "a stream is advanced before it is read"
        return self._picture

    @property
    def is_read(self) -> bool:
        """Does anybody read it?"""
        return any(self.readers.values())

    # ---- readers

    def join(self, client: Client, market: Market) -> None:
        """One more reader; the first one opens what the channel needs."""
        opens = not self.is_read
        self._encodings[client.encoding.name] = client.encoding, self.seq
        self.readers.setdefault(client.encoding.name, set()).add(client)
        if opens and (opened := getattr(self._channel, "opened", None)) is not None:
            opened(market, self.key)

    def leave(self, client: Client, market: Market) -> None:
        """One reader less; the last one closes what the channel needed."""
        group = self.readers.get(client.encoding.name, set())
        if client not in group:
            return
        group.discard(client)
        self._encodings[client.encoding.name] = client.encoding, self.seq + FAREWELL
        if not self.is_read and (closed := getattr(self._channel, "closed", None)) is not None:
            closed(market, self.key)

    # ---- messages

    def is_due(self, now_mono_ns: int) -> bool:
        """May it move again? Only streams of an own pace ever may not."""
        return self._picture is None or now_mono_ns - self._picture.now.mono_ns >= self._own_pace_ns

    def advance(self, market: Market) -> Message | None:
        """Move on to what `market` says now; the message for readers, or None when there is nothing to say."""
        old, new = self._picture, self._channel.take(market, self.key, self._picture)
        if old is not None and new.has_rows_of(old) and new.says_the_same_as(old):
            self._picture = new  # at a later moment
            return None
        self._picture, self.seq = new, self.seq + 1
        if not self.is_read and not len(self.ring):
            return None
        if old is None or not new.has_rows_of(old):
            return self.snapshot()
        with self._metrics.encoding(self.key.channel, "delta"):
            content = new.since(old)
            head = about(self.key, "delta", self.seq)
            if self.seq % self._checksum_every == 0:
                head["crc32"] = new.crc32()
            return Message(head | content.head, content.columns, content.rows)

    def snapshot(self) -> Message:
        """The whole of the last published picture, made once."""
        if self._whole is None or self._whole[0] is not self._picture:
            with self._metrics.encoding(self.key.channel, "snapshot"):
                content = self.picture.whole()
                head = about(self.key, "snapshot", self.seq)
                head |= {"protocol": PROTOCOL, "session": self._metrics.session, "stream": self.number}
                head["crc32"] = self.picture.crc32()
                self._whole = self.picture, Message(head | content.head, content.columns)
        return self._whole[1]

    def refresh(self, market: Market) -> Message | None:
        """Before somebody new reads: not older than its pace. What comes back is for those who read already."""
        if self._picture is None or market.snapshot.clock.now().mono_ns - self.picture.now.mono_ns >= self._interval_ns:
            return self.advance(market)
        return None

    def heartbeat(self, now: Instant) -> Message:
        """Proof of life, with the clocks, when there was nothing to say."""
        return Message(about(self.key, "heartbeat", self.seq) | {"sent_ns": now.wall_ns, "mono_ns": now.mono_ns})

    def frames(self, message: Message) -> Iterator[tuple[str, Frame]]:
        """A message of this stream in each encoding that is read, once; what has a `seq` of its own is kept.

        To be taken to the end. Each is made when it is asked for: readers of one need not wait until the next is made.
        """
        found = {}
        for name, (encoding, until) in self._encodings.items():
            if self.readers.get(name) or self.seq <= until:
                found[name] = self.frame(message, encoding)
                yield name, found[name]
        if message.columns is not None and found:
            self.ring.add(self.seq, found)
        elif message.columns is not None:  # nobody could come back to it
            self.ring.clear()

    def missed(self, number: int | None, seq: int, encoding: Encoding) -> list[Frame] | None:
        """What a client that had `seq` of the stream `number` needs to be up to date.

        None where not all of it is held, or where that was another stream or, without a number, may have been.
        """
        if not (self.is_only if number is None else number == self.number):
            return None
        return [] if seq == self.seq else self.ring.since(seq, self.seq, encoding.name)

    def frame(self, message: Message, encoding: Encoding) -> Frame:
        """A message of this stream as it is written to clients."""
        return Frame(message.framed(encoding), self.key, self.seq)
