"""The thread that hears signals ends with its watch, whatever it is doing and whoever else holds the pipe."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from pricer.signals import Watch
from tests.waiting import PATIENCE_S


class HeldUp:
    """A loop whom the thread cannot call for a while: so it is where the machine gives it no turn."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def call_soon_threadsafe(self, action: Callable[[], object]) -> None:
        self.reached.set()
        self.go_on.wait(PATIENCE_S)


@pytest.fixture
def loop() -> Iterator[HeldUp]:
    loop = HeldUp()
    yield loop
    loop.go_on.set()


def watch_of(loop: HeldUp) -> Watch:
    return Watch(loop, lambda: None, 60.0, {signal.SIGUSR1: lambda: None})  # type: ignore[arg-type] # one method is called


def test_a_thread_that_is_late_has_ended_before_what_it_reads_is_closed(
    loop: HeldUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = watch_of(loop)
    join = watch._thread.join
    # Whatever the limit, it passes while the thread has no turn.
    monkeypatch.setattr(watch._thread, "join", lambda limit=None: join(None if limit is None else 0.0))
    watch.install()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert loop.reached.wait(PATIENCE_S)
    threading.Timer(0.05, loop.go_on.set).start()
    watch.remove()
    assert not watch._thread.is_alive()


def test_a_copy_of_the_pipe_in_a_child_keeps_no_thread(loop: HeldUp) -> None:
    watch = watch_of(loop)
    with watch._told.dup():  # as a forked child has one
        watch.install()
        watch.remove()
    assert not watch._thread.is_alive()
