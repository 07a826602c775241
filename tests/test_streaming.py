"""The engine's own thread, its mailboxes and its callbacks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

import pricer
from pricer.adapters.events import AnyEvent
from pricer.clock import Instant, SystemClock
from pricer.conventions import Reason, Status
from pricer.engine import Engine
from pricer.errors import ConfigError, VolstreamError
from pricer.mailbox import MAX_CALLBACK_FAILURES, Mailbox
from pricer.snapshot import Snapshot
from pricer.streaming import LiveStream
from tests.scene import Scene

Deliver = Callable[[list[AnyEvent], Instant], None]


class ScriptedFeed:
    """A feed that delivers a quoted chain again and again, or fails."""

    def __init__(self, deliver: Deliver, error: Exception | None = None) -> None:
        self._deliver = deliver
        self._error = error
        self._scene = Scene(clock=SystemClock())  # type: ignore[arg-type]
        self.closed = False

    async def run(self) -> None:
        now = self._scene.clock.now()
        self._deliver(self._scene.listings(), now)
        while not self.closed:
            for event in [self._scene.index(), *self._scene.quotes()]:
                self._deliver([event], self._scene.clock.now())
            await asyncio.sleep(0.01)
            if self._error is not None:
                raise self._error

    async def connected(self, timeout: float) -> None:  # noqa: ASYNC109 - the feed's own signature
        await asyncio.sleep(0)

    async def close(self) -> None:
        self.closed = True


def stream_of(error: Exception | None = None) -> LiveStream:
    clock = SystemClock()
    return LiveStream(
        lambda deliver, tap: ScriptedFeed(deliver, error),  # type: ignore[arg-type, return-value]
        Engine(clock=clock),
        clock,
        "when_drained",
        None,
    )


@pytest.fixture(autouse=True)
def _far_from_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scene's options expire some days after START, which here is now."""
    now = SystemClock().now()
    monkeypatch.setattr("tests.scene.START", now)


async def until(happened: Callable[[], bool]) -> None:
    """Wait for something that another thread does."""
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110 - a thread sets no asyncio event
            await asyncio.sleep(0.01)


def volstream_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("volstream")]


async def test_iterating_gives_consistent_snapshots_with_ok_numbers() -> None:
    async with stream_of() as stream:
        versions = []
        async for snapshot in stream:
            versions.append(snapshot.version)
            if len(versions) == 5:
                break
        assert versions == sorted(set(versions))
        assert stream.latest is not None
        assert {row.status for row in stream.latest} == {Status.OK}
        assert stream.latest.reasons & Reason.CONFLATED, "hundreds of frames waited, one snapshot was made"
        assert stream.latencies.count > 0
    assert not volstream_threads()


async def test_E02_a_callback_that_raises_is_counted_and_suspended_and_others_are_unaffected() -> None:
    seen: list[int] = []

    def broken(snapshot: Snapshot) -> None:
        raise RuntimeError("a user's mistake")

    async with stream_of() as stream:
        good = stream.on_snapshot(lambda snapshot: seen.append(snapshot.version))
        bad = stream.on_snapshot(broken)
        await until(lambda: stream.stats["callbacks_suspended"] > 0 and len(seen) >= 3)
        assert stream.stats["callback_errors"] == MAX_CALLBACK_FAILURES
        assert isinstance(bad.error, RuntimeError)
        assert good.error is None
        reached = len(seen)
        await until(lambda: len(seen) >= reached + 3)


async def test_a_blocking_callback_does_not_hold_up_the_engine() -> None:
    release = threading.Event()
    async with stream_of() as stream:
        stream.on_snapshot(lambda snapshot: release.wait(20))
        async for _ in stream:
            break
        before = stream.stats["snapshots"]
        await until(lambda: stream.stats["snapshots"] >= before + 3)
        release.set()


async def test_an_engine_that_fails_reaches_every_reader() -> None:
    async with stream_of(RuntimeError("boom")) as stream:
        other = stream.subscribe()
        with pytest.raises(VolstreamError, match="boom"):
            async for _ in stream:
                pass
        with pytest.raises(VolstreamError, match="boom"):
            async for _ in other:
                pass
    assert not volstream_threads()


async def test_closing_ends_every_reader() -> None:
    stream = stream_of()
    async with stream:
        reader = asyncio.create_task(collect(stream.subscribe()))
        async for _ in stream:
            break
    assert await asyncio.wait_for(reader, 5)
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
    assert (await asyncio.wait_for(waiting, 5)).version == 7


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
