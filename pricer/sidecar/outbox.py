"""What one client is still to be sent: a short queue that is dropped, not grown, when the client is slow.

Rules:

1. Every message is encoded once for all clients; a queue holds references.
2. Beyond `soft` bytes the pending messages of a stream are dropped. When the client can take more, it gets `gap` and
   then a snapshot of that moment, with seq = `to`. So what is pending never grows with time, only with what is new.
3. A client is given up when it would need more than `hard` bytes, or is behind for longer than `slow_ns`: one write did
   not end, or it was conflated and never caught up since.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from pricer.sidecar.protocol import StreamKey


@dataclass(frozen=True, slots=True)
class Text:
    """One encoded message, shared by all its readers. `key` is None for replies to one client."""

    text: str
    key: StreamKey | None = None
    seq: int = 0

    def __len__(self) -> int:
        return len(self.text)  # JSON of ours is ASCII up to rare names: characters are bytes


class Gap(NamedTuple):
    """A stream whose messages from `first` on were dropped for this client."""

    key: StreamKey
    first: int


class Overflow(Exception):
    """The client needs more than the hard limit."""


class Outbox:
    """The conflating queue of one client. Times are monotonic nanoseconds."""

    def __init__(self, soft: int, hard: int, slow_ns: int) -> None:
        self._soft, self._hard, self._slow_ns = soft, hard, slow_ns
        self._items: deque[Text] = deque()
        self._gaps: dict[StreamKey, int] = {}
        self._queued = 0
        self._in_flight = 0
        self._writing_since: int | None = None
        self._behind_since: int | None = None
        self.dropped = 0
        self.gaps = 0

    @property
    def size(self) -> int:
        """Bytes that wait or are being written."""
        return self._queued + self._in_flight

    def put(self, text: Text, now: int) -> None:
        """Queue a message; a stream that is already conflated only remembers its gap."""
        if text.key in self._gaps:
            self.dropped += 1
            return
        if text.key is not None and self.size + len(text) > self._soft and self.size > 0:
            self._conflate(text.key, text.seq, now)
            return
        if self.size + len(text) > self._hard:
            raise Overflow(f"more than {self._hard} bytes are waiting")
        self._items.append(text)
        self._queued += len(text)

    def restart(self, key: StreamKey) -> None:
        """Forget what waits of a stream: a new snapshot begins it again, or it was unsubscribed."""
        self._gaps.pop(key, None)
        self._remove(key)

    def take(self) -> Text | Gap | None:
        """What to write next; None when there is nothing and the client has caught up."""
        if self._items:
            text = self._items.popleft()
            self._queued -= len(text)
            return text
        if self._gaps:
            key = next(iter(self._gaps))
            self.gaps += 1
            return Gap(key, self._gaps.pop(key))
        self._behind_since = None
        return None

    def writing(self, size: int, now: int) -> None:
        """A write of `size` bytes begins."""
        if size > self._hard:
            raise Overflow(f"one message of {size} bytes is larger than the limit of {self._hard}")
        self._in_flight, self._writing_since = size, now

    def written(self) -> None:
        """The write has ended."""
        self._in_flight, self._writing_since = 0, None

    def overdue(self, now: int) -> bool:
        """Is the client so far behind that it must go?"""
        return any(
            since is not None and now - since > self._slow_ns for since in (self._writing_since, self._behind_since)
        )

    def _conflate(self, key: StreamKey, seq: int, now: int) -> None:
        first = next((item.seq for item in self._items if item.key == key), seq)
        self.dropped += 1 + self._remove(key)
        self._gaps[key] = first
        if self._behind_since is None:
            self._behind_since = now

    def _remove(self, key: StreamKey) -> int:
        kept = deque(item for item in self._items if item.key != key)
        removed = len(self._items) - len(kept)
        self._items = kept
        self._queued = sum(len(item) for item in kept)
        return removed
