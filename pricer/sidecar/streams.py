"""The streams of one sidecar by their keys: made when somebody asks for them, and forgotten when there is no more room.

A stream that nobody reads is kept as long as there is room, so that its `seq` goes on for whoever comes back.
"""

from __future__ import annotations

import itertools

from pricer.config import ServerSection
from pricer.sidecar.metrics import Metrics
from pricer.sidecar.protocol import Refused, StreamKey
from pricer.sidecar.stream import Stream


class Streams(dict[StreamKey, Stream]):
    """Each with a number of its own."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics
        self._first_seq = 1  # of new streams: a stream that is made again must not repeat what it said before
        self._numbers = itertools.count(1)

    def of(self, key: StreamKey, settings: ServerSection) -> Stream:
        """The stream of a key, as it was last; `Refused` when there are too many in use."""
        stream = self.get(key)
        if stream is None:
            self._make_room(settings.max_streams)
            stream = self[key] = self._made(key, settings)
        return stream

    def _made(self, key: StreamKey, settings: ServerSection) -> Stream:
        stream = Stream(key, self._metrics, settings, self._first_seq, next(self._numbers))
        for other in self.values():
            if other.key.subject == key.subject:
                other.is_only = stream.is_only = False
        return stream

    def _make_room(self, most: int) -> None:
        """The oldest that nobody reads goes first; several where the limit is lower than it was."""
        while len(self) >= most:
            idle = next((key for key, stream in self.items() if not stream.is_read), None)
            if idle is None:
                raise Refused("too_many_streams", f"at most {most} distinct subscriptions at once")
            # One more than next: not even a client that had the last message of the old stream may go on with the new.
            self._first_seq = max(self._first_seq, self.pop(idle).seq + 2)
