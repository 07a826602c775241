"""A live stream that is opened again when its engine fails, and gives up where that does not help.

A failure is an error that nobody foresaw: in the feed's tasks, in the parsing, in the pricing. It ends the stream's
thread and everything it held; what is published then is the last state with every number `STALE` (`RESYNCING`), until
a new stream has one of its own. After five restarts in a minute the supervisor restarts no more and is not `healthy`:
whoever runs the process is to look at it, for it would only go round.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from pricer.books import BookView
from pricer.clock import NS_PER_SECOND, Clock, SystemClock
from pricer.conventions import Reason, Status
from pricer.errors import VolstreamError
from pricer.mailbox import Mailbox
from pricer.snapshot import SliceBlock, Snapshot, UnderlyingValue
from pricer.streaming import LiveStream

log = logging.getLogger("pricer.supervisor")

MOST_RESTARTS, WITHIN_S = 5, 60.0
FIRST_PAUSE_S, LAST_PAUSE_S = 0.1, 5.0
# How soon a failure is noticed by its watcher; readers notice at once, and then wait for it.
LOOK_EVERY_S = 0.1


class Supervisor:
    """What a stream is to its readers: `latest`, `subscribe()` and counters, over any number of streams.

    An error at the first opening is the caller's. `error` is the last failure; `stats` are the running stream's, and
    beside them "failures" and "restarts".
    """

    def __init__(self, open_stream: Callable[[], LiveStream], *, clock: Clock | None = None) -> None:
        self.error: VolstreamError | None = None
        self.healthy = True
        self.counts: Counter[str] = Counter()
        self._open = open_stream
        self._clock = clock or SystemClock()
        self._restarts: deque[int] = deque(maxlen=MOST_RESTARTS)
        self._marked: Snapshot | None = None
        self._marked_of: LiveStream | None = None
        self._changed = asyncio.Condition()
        self._watching: asyncio.Task[None] | None = None
        self._closed = False
        self._books: Counter[str] = Counter()  # wishes, which a new stream has to be told
        self._readers: set[SupervisedMailbox] = set()
        self.stream = open_stream()

    @property
    def latest(self) -> Snapshot | None:
        """The newest snapshot of the stream that runs; until it has one, the last of the one before, `STALE`."""
        stream = self.stream
        newest = stream.latest
        if newest is not None and stream.failure is None:
            return newest
        if newest is not None and self._marked_of is not stream:
            self._marked, self._marked_of = marked(newest), stream
        return self._marked

    @property
    def stats(self) -> Counter[str]:
        """What has happened since the start of the running stream, and how often that was not the first."""
        return self.stream.stats.copy() + self.counts  # the engine's thread goes on counting

    def subscribe(self) -> SupervisedMailbox:
        """A mailbox that outlives failures."""
        reader = SupervisedMailbox(self)
        self._readers.add(reader)
        return reader

    def want_book(self, instrument: str) -> bool:
        """As of a stream; the wish outlives its failure."""
        self._books[instrument] += 1
        return self.stream.want_book(instrument)

    def release_book(self, instrument: str) -> None:
        """One wish for this book less."""
        self._books -= Counter([instrument])  # what is at zero goes
        self.stream.release_book(instrument)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the running stream's: `latencies`, `feed_counters`, `book(...)`."""
        if name.startswith("_") or name == "stream":
            raise AttributeError(name)
        return getattr(self.stream, name)

    async def __aenter__(self) -> Self:
        await self.stream.__aenter__()
        self._watching = asyncio.create_task(self._watch(), name="supervisor")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await self.stream.close()
        for reader in tuple(self._readers):
            reader.close()
        async with self._changed:
            self._changed.notify_all()

    def book(self, instrument: str) -> BookView:
        """The running stream's book; after a failure none is better than `STALE`, until the new stream has its own."""
        view = self.stream.book(instrument)
        return view if self.stream.failure is None else view.stale(Reason.RESYNCING)

    async def after(self, failed: LiveStream) -> LiveStream | None:
        """The stream that follows one that has failed; None when the supervisor was closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or self.stream is not failed)
            return None if self._closed else self.stream

    def forget(self, reader: SupervisedMailbox) -> None:
        """A reader is gone."""
        self._readers.discard(reader)

    async def _watch(self) -> None:
        """Restart what fails; an error of its own must not end it unseen, with `healthy` still True."""
        try:
            await self._keep_running()
        except asyncio.CancelledError:
            raise
        except BaseException:
            self.healthy = False
            log.critical("the supervisor itself has failed: nothing is restarted any more", exc_info=True)
            raise

    async def _keep_running(self) -> None:
        while True:
            self.error = await _failure_of(self.stream)
            self.counts["failures"] += 1
            log.error("the stream has failed: %s", self.error, exc_info=self.error)
            await self.stream.close()
            now_ns = self._clock.now().mono_ns
            if len(self._restarts) == MOST_RESTARTS and now_ns - self._restarts[0] < WITHIN_S * NS_PER_SECOND:
                self.healthy = False
                log.critical("%d restarts in %.0f s did not help: no more are tried", MOST_RESTARTS, WITHIN_S)
                return
            self._restarts.append(now_ns)
            await asyncio.sleep(min(FIRST_PAUSE_S * 2.0 ** (len(self._restarts) - 1), LAST_PAUSE_S))
            await self._restart()

    async def _restart(self) -> None:
        self.counts["restarts"] += 1
        stream = self._open()
        try:
            await stream.__aenter__()
        except VolstreamError as error:  # it has ended; the next look finds it failed
            log.warning("the stream could not be opened again: %s", error)
        async with self._changed:
            self.stream = stream
            for instrument in self._books.elements():
                stream.want_book(instrument)
            self._changed.notify_all()


class SupervisedMailbox:
    """One slot, the newest snapshot wins, over all streams of a supervisor: first, after a failure, what is marked."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._stream = supervisor.stream
        self._mailbox: Mailbox = self._stream.subscribe()
        self._failed = False

    def __aiter__(self) -> AsyncIterator[Snapshot]:
        return self

    async def __anext__(self) -> Snapshot:
        while True:
            if self._failed:
                following = await self._supervisor.after(self._stream)
                if following is None:
                    raise StopAsyncIteration
                self._stream, self._failed = following, False
                self._mailbox = following.subscribe()
            try:
                return await anext(self._mailbox)
            except VolstreamError:  # the supervisor's affair
                self._failed = True
                if self._stream.latest is not None:
                    return marked(self._stream.latest)

    def close(self) -> None:
        """End the reader's iteration."""
        self._supervisor.forget(self)
        self._mailbox.close()


async def _failure_of(stream: LiveStream) -> VolstreamError:
    """Wait until a stream fails."""
    try:
        async for _ in stream.subscribe():
            await asyncio.sleep(LOOK_EVERY_S)
    except VolstreamError as error:
        return error
    return VolstreamError("the stream has ended")


def marked(snapshot: Snapshot) -> Snapshot:
    """A snapshot of which nothing is better than `STALE`: its engine is gone."""
    return replace(
        snapshot,
        blocks=tuple(map(_stale_block, snapshot.blocks)),
        indices={key: _stale(value) for key, value in snapshot.indices.items()},
        perpetuals={key: _stale(value) for key, value in snapshot.perpetuals.items()},
        volatility_indices={key: _stale(value) for key, value in snapshot.volatility_indices.items()},
        feeds=tuple(replace(feed, state="closed", reason="failed") for feed in snapshot.feeds),
        health={venue: replace(health, connections=0) for venue, health in snapshot.health.items()},
    )


def _stale(value: UnderlyingValue) -> UnderlyingValue:
    return replace(value, status=max(value.status, Status.STALE), reasons=value.reasons | Reason.RESYNCING)


def _stale_block(block: SliceBlock) -> SliceBlock:
    status = np.maximum(block.status, np.uint8(Status.STALE))
    reasons = block.reasons | np.uint64(Reason.RESYNCING)
    status.flags.writeable = reasons.flags.writeable = False
    return replace(block, status=status, reasons=reasons, forward=_stale(block.forward))
