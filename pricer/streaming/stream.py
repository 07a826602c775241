"""A live stream: feed, adapter and engine on a thread of their own, snapshots out through one-slot mailboxes.

The engine's loop never waits for a reader: a mailbox holds the newest snapshot only, and callbacks run on threads of
their own. So neither a blocking callback nor a slow consumer holds up a tick.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Literal, Self

from pricer.adapters.events import AnyEvent
from pricer.adapters.feed import Feed
from pricer.adapters.fleet import Fleet
from pricer.adapters.line import Deliver
from pricer.adapters.recording import RecordingWriter
from pricer.book_wishes import BookWishes
from pricer.books import BookView
from pricer.clock import Clock, Instant
from pricer.conventions import NO_REASON, Reason
from pricer.engine import Engine
from pricer.errors import ConfigError, VolstreamError
from pricer.mailbox import Mailbox, Subscription
from pricer.microstructure import MicroState
from pricer.orderflow import OrderFlow
from pricer.pricing import warmup
from pricer.recent_trades import Tape
from pricer.snapshot import Snapshot
from pricer.streaming.latencies import Latencies
from pricer.streaming.readers import Readers
from pricer.streaming.recorder import Recorder
from pricer.watchdog import LoopWatchdog

log = logging.getLogger("pricer.streaming")

Publish = Literal["when_drained", "every_event"] | int

# Prices that come later than this have waited, most likely here: then frames go before pricing (FAULTS E01, T08).
BEHIND_NS = 200_000_000

# Between two changes of the books on demand: each costs the venue a call or two, of about three a second.
WISHES_EVERY_S = 1.0

# How long close() waits for the engine's thread; the feed itself ends within 5 s from any state.
CLOSE_TIMEOUT_S = 6.0


class _Closed(Exception):
    """The stream was closed while its kernels were compiled."""


class LiveStream:
    """A running feed and engine. Iterate it for snapshots, or take `latest`, or subscribe.

    Errors that end the engine's thread reach every reader; they are never swallowed.
    """

    def __init__(
        self,
        feed_of: Callable[[Deliver, Recorder | None], Feed | Fleet],
        engine: Engine,
        clock: Clock,
        publish: Publish,
        timeout: float | None,
        record: RecordingWriter | None = None,
        flow: OrderFlow | None = None,
        *,
        trades: bool = False,
        books_on_demand: int = 0,
    ) -> None:
        self.stats: Counter[str] = Counter()
        self.engine_counters = engine.counters
        self.feed_counters: Counter[str] = Counter()  # the feed's own: "attempts", "connections", "closed.<reason>"
        self._recorder = None if record is None else Recorder(record, self.stats)
        self.latencies = Latencies()
        self._flow = flow
        self._has_trades = trades
        self._wishes = BookWishes(books_on_demand)
        self._wished: asyncio.Event | None = None
        self._feed_of = feed_of
        self._engine = engine
        self._clock = clock
        self._publish = publish
        self._timeout = timeout
        self._readers = Readers()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._given_up = threading.Event()
        self._wake: asyncio.Event | None = None
        self._frames = 0  # with news since the last snapshot, and when the first of them was read:
        self._oldest_frame: Instant | None = None
        self._frames_first_until_ns = 0
        self._own: Mailbox | None = None
        self.watchdog: LoopWatchdog | None = None  # while the engine's loop runs

    @property
    def latest(self) -> Snapshot | None:
        """The newest snapshot; None before the first."""
        return self._readers.latest

    @property
    def failure(self) -> VolstreamError | None:
        """What ended the stream against its will; None while it runs, and when it was closed."""
        return self._readers.failure

    @property
    def engine(self) -> Engine:
        """The engine itself: its `counters` and `settings`. Its methods belong to its own thread."""
        return self._engine

    def book(self, instrument: str) -> BookView:
        """The order book of an instrument with its status, as it may be used now: `STALE` where the engine stands.

        From any thread. `ConfigError` where neither books nor trades were asked for.
        """
        now, latest = self._clock.now(), self.latest
        view = self._order_flow().book(instrument, now)
        pace_ns = self._publish * 1_000_000 if isinstance(self._publish, int) else 0
        return view if latest is None or not latest.is_silent(now, pace_ns) else view.stale(Reason.QUOTE_STALE)

    def microstructure(self, instrument: str, *, points: float = 1.0) -> MicroState:
        """What an instrument's book and trades say: imbalance, microprice, order flow, how fast depth comes back.

        Depth is counted in vega within `points` points of volatility, with the vega of the newest snapshot (NaN where
        that may not be traded on). From any thread; `ConfigError` as for `book`.
        """
        return self._order_flow().state(
            instrument, self._clock.now(), vega=_vega(self.latest, instrument), points=points
        )

    def recent_trades(self, *, underlying: str = "", instrument: str = "") -> Tape:
        """The last 256 trades of one instrument, or of all options of an underlying, with the number of the next.

        From any thread; `ConfigError` where trades were not asked for.
        """
        if not self._has_trades:
            raise ConfigError("trades are not streamed: ask with pricer.live(trades=True)")
        return self._order_flow().trades(underlying=underlying, instrument=instrument)

    def underlying_of(self, instrument: str) -> str | None:
        """The underlying of a living instrument, futures and perpetuals included; None for a name that is none.

        From any thread; None as well where neither books nor trades were asked for.
        """
        return None if self._flow is None else self._flow.underlying_of(instrument)

    def want_book(self, instrument: str) -> bool:
        """Stream the book of an instrument until it is released as often; False where it must wait for room.

        From any thread. At most `books_on_demand` books are had at a time, of which those are for `book` and
        `microstructure` to read; wishes outlive reconnections, and are recorded.
        """
        had = self._wishes.want(instrument)
        self._mind_wishes()
        return had

    def release_book(self, instrument: str) -> None:
        """One wish for this book less; it is streamed for some seconds more."""
        self._wishes.release(instrument, self._clock.now().mono_ns)
        self._mind_wishes()

    def _mind_wishes(self) -> None:
        loop, wished = self._loop, self._wished
        if loop is not None and wished is not None:
            _tell(loop, wished.set)

    def _order_flow(self) -> OrderFlow:
        if self._flow is None:
            raise ConfigError("neither books nor trades are streamed: ask with pricer.live(books=..., trades=True)")
        return self._flow

    def subscribe(self) -> Mailbox:
        """A mailbox of its own for one more reader; it starts with the newest snapshot, and ends with the stream."""
        return self._readers.subscribe()

    def on_snapshot(self, callback: Callable[[Snapshot], object]) -> Subscription:
        """Call `callback(snapshot)` on a thread of its own, newest snapshot first, older ones skipped.

        A callback that raises is logged and counted in `stats`; after 5 failures in a row it is suspended.
        """
        return Subscription(callback, self.subscribe(), self.stats)

    async def __aenter__(self) -> Self:
        if self._thread is not None or self._given_up.is_set():
            raise VolstreamError("a live stream runs once; pricer.live(...) makes another")
        started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        self._own = self.subscribe()
        self._thread = threading.Thread(target=self._run, args=(loop, started), name="volstream-engine", daemon=True)
        self._thread.start()
        try:
            await started
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Snapshot]:
        if self._own is None:
            raise VolstreamError("a live stream is opened first: async with pricer.live(...) as stream")
        return self._own

    async def close(self) -> None:
        """Stop feed, engine and thread; nothing is left behind. Safe to call twice, and from any state."""
        self._given_up.set()
        thread, loop, closing = self._thread, self._loop, self._closing
        if thread is None and self._recorder is not None:
            self._recorder.close()
        if thread is not None and thread.is_alive():
            if loop is not None and closing is not None:
                _tell(loop, closing.set)
            await asyncio.to_thread(thread.join, CLOSE_TIMEOUT_S)
            if thread.is_alive():
                log.error("the engine's thread did not end within %.0f s", CLOSE_TIMEOUT_S)
        self._readers.end(None)

    def _run(self, caller: asyncio.AbstractEventLoop, started: asyncio.Future[None]) -> None:
        failure = None
        try:
            warmup(self._between_kernels)  # so that nothing compiles while frames wait
            asyncio.run(self._main(caller, started))
        except _Closed:
            log.info("closed before the kernels were compiled")
        except Exception as error:  # it reaches every reader, and the caller if still waiting
            log.exception("the engine's thread ended")
            failure = error if isinstance(error, VolstreamError) else VolstreamError(f"the engine failed: {error!r}")
            failure.__cause__ = None if failure is error else error
        if self._recorder is not None:
            self._recorder.close()
        self._readers.end(failure)
        _tell(caller, _settle, started, failure or VolstreamError("the stream was closed before it had started"))

    def _between_kernels(self, done: int, total: int, name: str) -> None:
        if self._given_up.is_set():
            raise _Closed

    async def _main(self, caller: asyncio.AbstractEventLoop, started: asyncio.Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing, self._wake, self._wished = asyncio.Event(), asyncio.Event(), asyncio.Event()
        if self._given_up.is_set():  # close() came when there was nothing yet to tell
            return
        with LoopWatchdog(self.stats, "the engine's loop") as self.watchdog:
            await self._run_feed(self._feed_of(self._deliver, self._recorder), caller, started)

    async def _run_feed(
        self, feed: Feed | Fleet, caller: asyncio.AbstractEventLoop, started: asyncio.Future[None]
    ) -> None:
        assert self._closing is not None
        assert self._wished is not None
        self.feed_counters = feed.counters
        running = asyncio.create_task(feed.run(), name="feed")
        pricing = asyncio.create_task(self._price_when_due(), name="pricing")
        closing = asyncio.create_task(self._closing.wait(), name="closing")
        wishing = asyncio.create_task(self._follow_wishes(feed, self._wished), name="wishes")
        ends = (running, pricing, closing, wishing)
        connecting = asyncio.create_task(_stands(feed, self._timeout), name="connecting")
        try:
            done, _ = await asyncio.wait({connecting, *ends}, return_when=asyncio.FIRST_COMPLETED)
            if not done & set(ends):
                connecting.result()
                _tell(caller, _settle, started)
                done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {closing, connecting}:
                task.result()
        finally:
            await feed.close()
            for task in (connecting, *ends):
                task.cancel()
            await asyncio.gather(connecting, *ends, return_exceptions=True)

    async def _follow_wishes(self, feed: Feed | Fleet, wished: asyncio.Event) -> None:
        """Hand books on demand to the feed as they are wanted, at a pace that leaves the venue's calls to others."""
        told: frozenset[str] = frozenset()
        while True:
            now_ns = self._clock.now().mono_ns
            names = self._wishes.names(now_ns)
            if names != told:
                told = names
                feed.want_books(names)
                await asyncio.sleep(WISHES_EVERY_S)
                continue
            deadline_ns = self._wishes.next_deadline()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if deadline_ns is None else max(0.0, (deadline_ns - now_ns) / 1e9)):
                    await wished.wait()
            wished.clear()

    def _deliver(self, events: list[AnyEvent], now: Instant) -> None:
        """Called by the feed for every frame; what waits behind it is applied before anything is priced."""
        for event in events:
            self._engine.apply(event)
        if self._flow is not None:
            self._flow.apply(events)
        self.stats["frames"] += 1
        if not events:
            return
        self._frames += 1
        if self._oldest_frame is None:
            self._oldest_frame = now
        if self._publish == "every_event" and not self._is_closing():
            self._price()
        if self._wake is not None:
            self._wake.set()

    async def _price_when_due(self) -> None:
        assert self._wake is not None
        while True:
            woken = await self._until_due(self._wake)
            self._wake.clear()
            if woken and self._publish == "every_event":
                continue  # priced as it came, which has moved the deadline
            await self._let_frames_pass()
            if self._is_closing():
                return
            self._price()
            if isinstance(self._publish, int):
                await asyncio.sleep(self._publish / 1000)

    def _is_closing(self) -> bool:
        """That we end the feed is no news of the market: the last snapshot stays what it was."""
        return self._closing is not None and self._closing.is_set()

    async def _let_frames_pass(self) -> None:
        """Behind the venue, frames get as much time as pricing takes: else the backlog would grow for ever."""
        while self._is_behind() and self._clock.now().mono_ns < self._frames_first_until_ns:  # noqa: ASYNC110
            await asyncio.sleep(0)

    def _is_behind(self) -> bool:
        latest = self._readers.latest
        if latest is None:
            return False
        return any(venue.lag_ns is not None and venue.lag_ns > BEHIND_NS for venue in latest.health.values())

    async def _until_due(self, wake: asyncio.Event) -> bool:
        """Until events came (True), or until silence itself changes a status."""
        deadline = self._engine.next_deadline()
        if deadline is None:
            return await wake.wait()
        wait = (deadline - self._clock.now().mono_ns) / 1e9
        try:
            async with asyncio.timeout(max(wait, 0.0)):
                return await wake.wait()
        except TimeoutError:
            self.stats["priced_by_deadline"] += 1
            return False

    def _price(self) -> None:
        informing = Reason.CONFLATED if self._frames > 1 else NO_REASON
        now = self._clock.now()
        if self._recorder is not None:
            self._recorder.price_mark(now)
        snapshot = self._engine.price(now, informing)
        done_ns = self._clock.now().mono_ns
        self._frames_first_until_ns = 2 * done_ns - now.mono_ns
        self.stats["snapshots"] += 1
        self._readers.publish(snapshot)
        if self._oldest_frame is not None:
            self.latencies.add(self._clock.now().mono_ns - self._oldest_frame.mono_ns)
        self._frames, self._oldest_frame = 0, None


def _vega(snapshot: Snapshot | None, instrument: str) -> float:
    """dV/dσ in the unit of the option's quotes; NaN where nobody should count on it."""
    if snapshot is None or instrument not in snapshot:
        return math.nan
    row = snapshot[instrument]
    vega = row.get("vega_coin" if row.block.definition.inverse else "vega")
    return math.nan if vega is None else vega


async def _stands(feed: Feed | Fleet, timeout: float | None) -> None:  # noqa: ASYNC109 - the feed keeps it, and says why
    """Until the feed is connected, where that is asked for."""
    if timeout is not None:
        await feed.connected(timeout)


def _tell(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: object) -> None:
    """Call on another thread's loop, unless that has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)


def _settle(future: asyncio.Future[None], error: VolstreamError | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
