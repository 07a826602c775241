"""The engine's own thread, its mailboxes and its callbacks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

import pricer
from pricer.adapters.events import AnyEvent
from pricer.adapters.recording import RecordingWriter
from pricer.clock import Instant, SystemClock
from pricer.conventions import Reason, Status
from pricer.engine import Engine
from pricer.errors import ConfigError, RecordingError, VolstreamError
from pricer.mailbox import MAX_CALLBACK_FAILURES, Mailbox, Subscription
from pricer.snapshot import Snapshot
from pricer.streaming import LiveStream, Publish, Recorder
from tests.scene import Scene
from tests.scripted_feed import START, Deliver, scripted_stream
from tests.waiting import until


def volstream_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("volstream")]


async def test_iterating_gives_consistent_snapshots_with_ok_numbers() -> None:
    async with scripted_stream() as stream:
        versions = []
        async for snapshot in stream:
            versions.append(snapshot.version)
            if len(versions) == 5:
                break
        assert versions == sorted(set(versions))
        # On a busy machine a number may be too old for a moment, or a snapshot come of one frame alone.
        await until(lambda: stream.latest is not None and {row.status for row in stream.latest} == {Status.OK})
        # Hundreds of frames waited, and one snapshot was made.
        await until(lambda: stream.latest is not None and Reason.CONFLATED in stream.latest.reasons)
        assert stream.latencies.count > 0
    await until(lambda: not volstream_threads())  # the last of it may be on its way out


async def test_E02_a_callback_that_raises_is_counted_and_suspended_and_others_are_unaffected() -> None:
    seen: list[int] = []
    called: list[int] = []

    def broken(snapshot: Snapshot) -> None:
        called.append(snapshot.version)
        raise RuntimeError("a user's mistake")

    async with scripted_stream() as stream:
        good = stream.on_snapshot(lambda snapshot: seen.append(snapshot.version))
        bad = stream.on_snapshot(broken)
        await until(lambda: stream.stats["callbacks_suspended"] > 0 and len(seen) >= 3)
        assert stream.stats["callback_errors"] == MAX_CALLBACK_FAILURES
        assert isinstance(bad.error, RuntimeError)
        assert good.error is None
        reached = len(seen)
        await until(lambda: len(seen) >= reached + 3)
        assert len(called) == MAX_CALLBACK_FAILURES, "who is suspended is not called again"
        assert seen == sorted(set(seen)), "the others hear each version once, in order"


async def test_a_blocking_callback_does_not_hold_up_the_engine() -> None:
    release = threading.Event()
    async with scripted_stream() as stream:
        stream.on_snapshot(lambda snapshot: release.wait(90))
        async for _ in stream:
            break
        before = stream.stats["snapshots"]
        await until(lambda: stream.stats["snapshots"] >= before + 3)
        release.set()


async def test_an_engine_that_fails_reaches_every_reader() -> None:
    async with scripted_stream(RuntimeError("boom")) as stream:
        other = stream.subscribe()
        with pytest.raises(VolstreamError, match="boom"):
            async for _ in stream:
                pass
        with pytest.raises(VolstreamError, match="boom"):
            async for _ in other:
                pass
    await until(lambda: not volstream_threads())  # the last of it may be on its way out


async def test_closing_ends_every_reader() -> None:
    stream = scripted_stream()
    async with stream:
        reader = asyncio.create_task(collect(stream.subscribe()))
        async for _ in stream:
            break
    assert await asyncio.wait_for(reader, 60)
    await stream.close()


async def collect(mailbox: Mailbox) -> list[Snapshot]:
    return [snapshot async for snapshot in mailbox]


def snapshot_number(version: int) -> Snapshot:
    clock = SystemClock()
    return Snapshot(version, clock.now(), (), {}, {}, {}, (), clock)


async def test_a_mailbox_keeps_the_newest_and_counts_the_rest() -> None:
    mailbox = Mailbox()
    for version in (1, 2, 3):
        mailbox.put(snapshot_number(version))
    assert (await anext(mailbox)).version == 3
    assert mailbox.dropped == 2


async def test_a_mailbox_wakes_a_reader_on_another_loop() -> None:
    mailbox = Mailbox()
    waiting = asyncio.ensure_future(anext(mailbox))
    await asyncio.sleep(0)
    threading.Timer(0.01, mailbox.put, [snapshot_number(7)]).start()
    assert (await asyncio.wait_for(waiting, 60)).version == 7


def test_a_closed_mailbox_gives_none_to_a_waiting_thread() -> None:
    mailbox = Mailbox()
    mailbox.close()
    assert mailbox.get(timeout=5) is None


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"venue": "mtgox"}, "mtgox"), ({"publish": "sometimes"}, "sometimes"), ({"publish": 0}, "0")],
)
def test_a_wrong_argument_is_refused_by_name(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        pricer.live(**arguments)  # type: ignore[arg-type]


class Harness:
    """A stream over a feed that a test drives: it connects when told, and delivers what it is given."""

    def __init__(self, *, publish: Publish = "when_drained", timeout: float | None = None, **more: Any) -> None:
        self.clock = SystemClock()
        self.scene = Scene(clock=self.clock, start=START)  # type: ignore[arg-type]
        self.engine = Engine(clock=self.clock)
        self.stream = LiveStream(self._feed, self.engine, self.clock, publish, timeout, **more)
        self.deliver: Callable[[list[AnyEvent]], object] | None = None

    def _feed(self, deliver: Deliver, tap: Recorder | None) -> Any:
        harness = self

        class Silent:
            counters: ClassVar[Counter[str]] = Counter()

            async def run(self) -> None:
                loop = asyncio.get_running_loop()
                harness.deliver = lambda events: loop.call_soon_threadsafe(deliver, events, harness.clock.now())
                if tap is not None:
                    tap.opened(harness.clock.now())
                await asyncio.Event().wait()

            async def connected(self, timeout: float) -> None:  # noqa: ASYNC109 - the feed's own signature
                await asyncio.sleep(timeout)

            async def close(self) -> None:
                if harness.deliver is not None:
                    deliver([harness.scene.index()], harness.clock.now())

        return Silent()

    async def chain(self) -> None:
        await until(lambda: self.deliver is not None)
        assert self.deliver is not None
        self.deliver([*self.scene.listings(), self.scene.index(), *self.scene.quotes()])


@pytest.mark.parametrize("when", ["at once", "in warm-up", "connecting"])
async def test_a_stream_closes_soon_from_any_state_and_says_so_to_who_opens_it(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    warming = threading.Event()

    def slow_warmup(progress: Callable[[int, int, str], None]) -> None:
        warming.set()
        for step in range(1200 if when == "in warm-up" else 0):
            progress(step, 1200, "kernel")
            time.sleep(0.05)

    monkeypatch.setattr("pricer.streaming.stream.warmup", slow_warmup)
    harness = Harness(timeout=60.0)
    opening = asyncio.create_task(harness.stream.__aenter__())
    await asyncio.sleep(0)
    if when != "at once":
        await until(warming.is_set)
    if when == "connecting":
        await until(lambda: harness.deliver is not None)
    async with asyncio.timeout(30):  # to warm up or to connect would take a minute
        await harness.stream.close()
        with pytest.raises(VolstreamError, match="closed before it had started"):
            await opening
    await until(lambda: not volstream_threads())  # the last of it may be on its way out


async def test_a_stream_runs_once_and_says_so() -> None:
    stream = scripted_stream()
    async with stream:
        with pytest.raises(VolstreamError, match="runs once"):
            await stream.__aenter__()
    with pytest.raises(VolstreamError, match="runs once"):
        await stream.__aenter__()
    never_opened = scripted_stream()
    await never_opened.close()
    with pytest.raises(VolstreamError, match="runs once"):
        await never_opened.__aenter__()


async def test_who_subscribes_to_a_stream_that_has_ended_hears_that_it_has() -> None:
    async with scripted_stream(RuntimeError("boom")) as stream:
        await until(lambda: not volstream_threads())
        with pytest.raises(VolstreamError, match="boom"):
            await collect(stream.subscribe())
    async with scripted_stream() as closed:
        pass
    assert len(await asyncio.wait_for(collect(closed.subscribe()), 60)) <= 1


async def test_an_engine_that_fails_ends_its_callbacks_with_the_reason() -> None:
    async with scripted_stream(RuntimeError("boom")) as stream:
        subscription = stream.on_snapshot(lambda snapshot: None)
        await until(lambda: not volstream_threads())
    assert isinstance(subscription.error, VolstreamError)


async def test_silence_is_published_by_its_deadline_under_every_policy() -> None:
    policies: tuple[Publish, ...] = ("every_event", "when_drained", 10)
    for publish in policies:
        harness = Harness(publish=publish)
        async with harness.stream as stream:
            await harness.chain()
            await until(lambda: stream.stats["priced_by_deadline"] >= 2)


@pytest.mark.parametrize("publish", ["every_event", "when_drained"])
async def test_what_a_feed_says_of_its_own_end_is_not_published(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness, letting = Harness(publish=publish), threading.Event()

    async def until_closing(stream: LiveStream) -> None:
        """As while it is behind, and frames come first."""
        letting.set()
        assert stream._closing is not None
        await stream._closing.wait()

    async with harness.stream as stream:
        await harness.chain()
        await until(lambda: stream.stats["snapshots"] > 0)
        monkeypatch.setattr(LiveStream, "_let_frames_pass", until_closing)
        before = stream.stats["snapshots"]
        if publish == "when_drained":
            assert harness.deliver is not None
            harness.deliver([harness.scene.index()])
            await until(letting.is_set)
    assert stream.stats["snapshots"] == before


async def test_frames_without_news_make_no_snapshot_and_no_latency() -> None:
    harness = Harness(publish="every_event")
    async with harness.stream as stream:
        await until(lambda: harness.deliver is not None)
        assert harness.deliver is not None
        for _ in range(3):
            harness.deliver([])
        await until(lambda: stream.stats["frames"] == 3)
        assert stream.stats["snapshots"] == 0
        await harness.chain()
        await until(lambda: stream.latencies.count == 1)
        assert stream.latest is not None
        assert not stream.latest.reasons & Reason.CONFLATED


async def test_an_exception_in_the_pricing_reaches_the_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Harness()
    monkeypatch.setattr(harness.engine, "price", lambda now, informing: 1 / 0)
    async with harness.stream as stream:
        await harness.chain()
        with pytest.raises(VolstreamError, match="division by zero"):
            await collect(stream.subscribe())
    await until(lambda: not volstream_threads())  # the last of it may be on its way out


async def test_a_disk_that_fails_ends_the_recording_and_closes_its_file_while_pricing_goes_on(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "session.vsr", {"venue": "deribit"})

    def full(kind: int, now: Instant, payload: bytes = b"", connection: int = 0) -> None:
        raise RecordingError("no space left on device")

    writer._add = full  # type: ignore[method-assign]
    harness = Harness(record=writer)
    async with harness.stream as stream:
        await harness.chain()
        await until(lambda: stream.stats["snapshots"] >= 2)
        assert stream.stats["recordings_stopped"] == 1
    assert writer._file.closed


async def test_a_stream_that_was_never_opened_closes_its_recording(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "session.vsr", {"venue": "deribit"})
    await Harness(record=writer).stream.close()
    assert writer._file.closed


async def test_a_second_reader_of_one_mailbox_is_refused_and_a_cancelled_one_is_no_reader() -> None:
    mailbox = Mailbox()
    first = asyncio.ensure_future(anext(mailbox))
    await asyncio.sleep(0)
    with pytest.raises(VolstreamError, match="one reader"):
        await anext(mailbox)
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.ensure_future(anext(mailbox))
    await asyncio.sleep(0)
    mailbox.put(snapshot_number(1))
    assert (await asyncio.wait_for(second, 60)).version == 1


def test_a_callback_is_not_called_after_its_subscription_was_closed() -> None:
    mailbox, calls, entered, release = Mailbox(), [], threading.Event(), threading.Event()

    def slow(snapshot: Snapshot) -> None:
        calls.append(snapshot.version)
        entered.set()
        release.wait(20)

    subscription = Subscription(slow, mailbox, Counter())
    mailbox.put(snapshot_number(1))
    assert entered.wait(20)
    mailbox.put(snapshot_number(2))
    subscription.close()
    release.set()
    subscription._thread.join(20)
    assert calls == [1]
