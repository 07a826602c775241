"""What one client is still to be sent: a short queue that is dropped, not grown, when the client is slow.

A client that keeps up never has anything here: frames are written straight to its transport. Once the transport
could not take all of one, what follows waits here until it is empty again.

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
class Frame:
    """One encoded message with its WebSocket header, shared by all its readers. `key` is None for replies to one."""

    data: bytes
    key: StreamKey | None = None
    seq: int = 0

    def __len__(self) -> int:
        return len(self.data)


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
        self._items: deque[Frame] = deque()
        self._gaps: dict[StreamKey, int] = {}
        self._queued = 0
        self._in_flight = 0
        self._writing_since: int | None = None
        self._behind_since: int | None = None
        self.dropped = 0
        self.gaps = 0

    @property
    def size(self) -> int:
        """Bytes that wait, here or in the transport."""
        return self._queued + self._in_flight

    def put(self, frame: Frame, now: int) -> None:
        """Queue a message; a stream that is already conflated only remembers its gap."""
        if frame.key in self._gaps:
            self.dropped += 1
            return
        if frame.key is not None and self.size + len(frame) > self._soft and self.size > 0:
            self._conflate(frame.key, frame.seq, now)
            return
        if self.size + len(frame) > self._hard:
            raise Overflow(f"more than {self._hard} bytes are waiting")
        self._items.append(frame)
        self._queued += len(frame)

    def restart(self, key: StreamKey) -> None:
        """Forget what waits of a stream: a new snapshot begins it again, or it was unsubscribed."""
        self._gaps.pop(key, None)
        self._remove(key)

    def clear(self) -> None:
        """The client is gone, and takes its queue with it."""
        self._items.clear()
        self._gaps.clear()
        self._queued = self._in_flight = 0
        self._writing_since = self._behind_since = None

    def take(self) -> Frame | Gap | None:
        """What to write next; None when there is nothing and the client has caught up."""
        if self._items:
            frame = self._items.popleft()
            self._queued -= len(frame)
            return frame
        if self._gaps:
            key = next(iter(self._gaps))
            self.gaps += 1
            return Gap(key, self._gaps.pop(key))
        self._behind_since = None
        return None

    def writing(self, size: int, now: int) -> None:
        """A write did not end at once; `size` bytes of it are left."""
        if self._writing_since is None:
            self._writing_since = now
        self._in_flight = size

    def written(self) -> None:
        """It has ended now."""
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
