"""How snapshots reach their readers: one slot each, so that no reader can hold up the engine or another reader."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable

from pricer.clock import NS_PER_SECOND, Clock, SystemClock
from pricer.errors import VolstreamError
from pricer.snapshot import Snapshot

log = logging.getLogger("pricer.mailbox")

# A callback that fails this often in a row is not going to recover by being called again.
MAX_CALLBACK_FAILURES = 5


class Mailbox:
    """One slot, the newest snapshot wins. One reader: a coroutine on any loop, or a thread.

    `dropped` counts the snapshots that were replaced before they were read.
    """

    def __init__(
        self, on_close: Callable[[Mailbox], None] = lambda mailbox: None, *, clock: Clock | None = None
    ) -> None:
        self.dropped = 0
        self._clock = clock or SystemClock()
        self._unread_ns = 0  # when the reader last fell behind: a snapshot came, and there was none to read before
        self._changed = threading.Condition()
        self._slot: Snapshot | None = None
        self._error: VolstreamError | None = None
        self._closed = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None
        self._on_close = on_close

    def put(self, snapshot: Snapshot) -> None:
        """Leave a snapshot for the reader; never blocks, callable from any thread."""
        with self._changed:
            if self._closed:
                return
            if self._slot is None:
                self._unread_ns = self._clock.now().mono_ns
            else:
                self.dropped += 1
            self._slot = snapshot
            self._wake()

    def lag(self) -> float:
        """Seconds since the first of the snapshots came that the reader has not read; 0 when it has read the newest."""
        with self._changed:
            return 0.0 if self._slot is None else (self._clock.now().mono_ns - self._unread_ns) / NS_PER_SECOND

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come."""
        return self._closed

    def close(self, error: VolstreamError | None = None) -> None:
        """End the reader's iteration, with `error` if given."""
        with self._changed:
            if self._closed:
                return
            self._closed, self._error = True, error
            self._wake()
        self._on_close(self)

    def get(self, timeout: float | None = None) -> Snapshot | None:
        """Wait for a snapshot on this thread; None when closed, or after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._slot is not None or self._closed, timeout)
            return self._take()

    def __aiter__(self) -> AsyncIterator[Snapshot]:
        return self

    async def __anext__(self) -> Snapshot:
        while True:
            with self._changed:
                snapshot = self._take()
                if snapshot is not None:
                    return snapshot
                if self._closed:
                    raise StopAsyncIteration
                if self._waiter is not None and not self._waiter[1].done():
                    raise VolstreamError("a mailbox has one reader, and one waits already: subscribe() makes another")
                loop = asyncio.get_running_loop()
                arrived: asyncio.Future[None] = loop.create_future()
                self._waiter = (loop, arrived)
            await arrived

    def _take(self) -> Snapshot | None:
        snapshot, self._slot = self._slot, None
        if snapshot is None and self._error is not None:
            raise self._error
        return snapshot

    def _wake(self) -> None:
        self._changed.notify_all()
        if self._waiter is not None:
            (loop, arrived), self._waiter = self._waiter, None
            try:
                loop.call_soon_threadsafe(_resolve, arrived)
            except RuntimeError:  # the reader's loop has ended, and the reader with it
                log.debug("a mailbox outlived its reader's event loop")


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Subscription:
    """A callback that gets every newest snapshot on a thread of its own. `error` says why it was suspended or ended."""

    def __init__(self, callback: Callable[[Snapshot], object], mailbox: Mailbox, stats: Counter[str]) -> None:
        self.error: Exception | None = None
        self._callback = callback
        self._mailbox = mailbox
        self._stats = stats
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="volstream-callback", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop calling; a call that is under way ends by itself."""
        self._stopped = True
        self._mailbox.close()

    def _run(self) -> None:
        failures = 0
        while failures < MAX_CALLBACK_FAILURES:
            snapshot = self._next()
            if snapshot is None:
                return
            try:
                self._callback(snapshot)
                failures = 0
            except Exception as error:  # somebody else's code: counted, logged, and kept on `error`
                failures += 1
                self.error = error
                self._stats["callback_errors"] += 1
                log.warning("a snapshot callback failed (%d in a row)", failures, exc_info=error)
        log.error("the callback %r is suspended after %d failures in a row", self._callback, failures)
        self._stats["callbacks_suspended"] += 1
        self.close()

    def _next(self) -> Snapshot | None:
        """The newest snapshot; None when there is nothing more to call for."""
        try:
            snapshot = self._mailbox.get()
        except VolstreamError as error:  # the engine has failed, which its stream has logged
            self.error = error
            return None
        return None if self._stopped else snapshot
