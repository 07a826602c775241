"""SIGTERM and SIGINT: once to end in good order, twice to end at once; and an end that does not come is forced.

A signal handler of Python's, and so one of asyncio's, runs on the main thread between two steps of its own: a loop that
is stuck never hears it (FAULTS H02). So a thread of our own reads what the interpreter's C handler writes to a pipe. It
asks the loop to stop, counts, watches the time, and can end the process by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping

ENDING = (signal.SIGTERM, signal.SIGINT)
FORCED = 1  # the exit code


def leave_now(why: str) -> None:
    """End the process without a word to anybody else: nothing of what is stuck may hold this up."""
    with contextlib.suppress(OSError):
        os.write(2, f"volstream: {why}\n".encode())
    os._exit(FORCED)


class Watch:
    """Hears the signals of this process while it is installed; `stop` and `others` are called on the loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stop: Callable[[], object],
        longest_s: float,
        others: Mapping[signal.Signals, Callable[[], object]] | None = None,
        leave: Callable[[str], object] = leave_now,
    ) -> None:
        self._loop, self._stop, self._longest_s, self._leave = loop, stop, longest_s, leave
        self._others = {int(number): action for number, action in (others or {}).items()}
        self._asked = 0
        self._heard, self._told = socket.socketpair()
        self._told.setblocking(False)
        self._before: dict[int, object] = {}
        self._fd_before = -1
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)

    @property
    def asked(self) -> bool:
        """Whether an end was asked for."""
        return self._asked > 0

    def install(self) -> None:
        """From the main thread; raises ValueError elsewhere."""
        self._fd_before = signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        for number in (*ENDING, *self._others):
            self._before[number] = signal.signal(number, _heard_elsewhere)
        self._thread.start()

    def remove(self) -> None:
        """Everything as before; nobody is forced any more."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type] # what `signal.signal` gave
        signal.set_wakeup_fd(self._fd_before)
        self._told.shutdown(socket.SHUT_WR)  # unlike a close it ends the thread also while a forked child has a copy
        self._thread.join()
        self._told.close()
        self._heard.close()

    @contextlib.contextmanager
    def also(self, others: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
        """Other signals for a while."""
        before = {number: signal.signal(number, _heard_elsewhere) for number in others}
        self._others.update({int(number): action for number, action in others.items()})
        try:
            yield
        finally:
            for number, handler in before.items():
                del self._others[int(number)]
                signal.signal(number, handler)

    def _listen(self) -> None:
        latest = None
        while True:
            left = None if latest is None else max(latest - time.monotonic(), 0.0)
            if not select.select([self._heard], [], [], left)[0]:
                self._leave(f"not ended {self._longest_s:g} s after the signal: forced")
                return
            numbers = self._heard.recv(64)
            if not numbers:  # removed
                return
            for number in numbers:
                if number in ENDING:
                    latest = latest or time.monotonic() + self._longest_s
                    self._end()
                elif number in self._others:
                    self._call(self._others[number])

    def _end(self) -> None:
        self._asked += 1
        if self._asked > 1:
            self._leave("signalled again: ended at once")
        else:
            self._call(self._stop)

    def _call(self, action: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(action)


def _heard_elsewhere(number: int, frame: object) -> None:
    """The thread has heard it by the pipe; without a handler the signal would end the process."""


_current: Watch | None = None


@contextlib.contextmanager
def watching(
    stop: Callable[[], object],
    longest_s: float,
    others: Mapping[signal.Signals, Callable[[], object]] | None = None,
    *,
    to_the_end: bool = False,
) -> Iterator[None]:
    """Signals call `stop` on the running loop, and `others` what they say; on another thread than the main one nothing.

    Inside another of these only `others` are added: who began decides how it ends.

    `to_the_end`: whoever was asked to end is watched until the process has gone, also after this.
    """
    global _current
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if _current is not None:
        with _current.also(others or {}):
            yield
        return
    watch = _current = Watch(asyncio.get_running_loop(), stop, longest_s, others)
    watch.install()
    try:
        yield
    finally:
        _current = None
        if not (to_the_end and watch.asked):
            watch.remove()
