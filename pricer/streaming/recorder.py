"""A recording kept beside the pricing."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Collection

from pricer.adapters.recording import RecordingWriter
from pricer.clock import Instant
from pricer.errors import RecordingError

log = logging.getLogger("pricer.streaming")


class Recorder:
    """Keeps a recording beside the pricing, as the feed's `tap`. A failing disk ends the recording, not the pricing."""

    def __init__(self, writer: RecordingWriter, stats: Counter[str]) -> None:
        self._writer: RecordingWriter | None = writer
        self._stats = stats

    def connecting(self, now: Instant, connection: int = 0) -> None:
        self._keep(lambda writer: writer.connecting(now, connection))

    def opened(self, now: Instant, connection: int = 0) -> None:
        self._keep(lambda writer: writer.opened(now, connection))

    def frame(self, data: bytes | str, now: Instant, connection: int = 0) -> None:
        self._keep(lambda writer: writer.frame(data, now, connection))

    def timer(self, now: Instant, connection: int = 0) -> None:
        self._keep(lambda writer: writer.timer(now, connection))

    def closed(self, now: Instant, reason: str, connection: int = 0) -> None:
        self._keep(lambda writer: writer.closed(now, reason, connection))

    def wish(self, names: Collection[str], now: Instant, connection: int = 0) -> None:
        self._keep(lambda writer: writer.wish(names, now, connection))

    def price_mark(self, now: Instant) -> None:
        self._keep(lambda writer: writer.price_mark(now))

    def close(self) -> None:
        self._keep(lambda writer: writer.close())
        self._writer = None

    def _keep(self, write: Callable[[RecordingWriter], None]) -> None:
        if self._writer is None:
            return
        try:
            write(self._writer)
        except RecordingError as error:
            with contextlib.suppress(RecordingError):
                self._writer.close()
            self._writer = None
            self._stats["recordings_stopped"] += 1
            log.error("the recording has stopped, pricing goes on: %s", error)
