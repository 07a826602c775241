"""Who holds up an event loop? A thread that asks the loop for a sign of life, and looks where it is when none comes.

Whatever the loop publishes goes stale by itself meanwhile, by its limits; a watchdog says why it did.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections import Counter, deque
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from pricer.clock import NS_PER_SECOND, Clock, SystemClock

log = logging.getLogger("pricer.watchdog")

# A stall is longer than this; asked this often, and looked at so long after asking, none of them is missed.
STALL_S = 0.1
ASK_EVERY_S = 0.025
LOOK_AFTER_S = STALL_S - ASK_EVERY_S
LOG_EVERY_S = 10.0
DEEPEST = 12  # calls of a stack that are kept,
SHOWN = 6  # and of those that are logged


class LoopWatchdog:
    """Watch the running loop in a `with` block, from a thread of its own.

    `stats["loop_stalls"]` counts stalls of more than 100 ms, `longest_s` is the longest, `culprits` the stacks of the
    last eight, innermost call last. At most one in ten seconds is logged, with a count of the others.
    """

    def __init__(self, stats: Counter[str], name: str = "loop", *, clock: Clock | None = None) -> None:
        self.culprits: deque[str] = deque(maxlen=8)
        self.longest_s = 0.0
        self._stats = stats
        self._name = name
        self._clock = clock or SystemClock()
        self._stop, self._answered = threading.Event(), threading.Event()
        self._logged_ns: int | None = None
        self._unlogged = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="volstream-watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The thread has ended, after a moment at most; what it still waited for is no stall."""
        self._stop.set()
        self._answered.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(ASK_EVERY_S):
            answered = self._answered = threading.Event()
            asked_ns = self._clock.now().mono_ns
            try:
                self._loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop has ended
                return
            if answered.wait(LOOK_AFTER_S) or self._stop.is_set():
                continue
            calls = _calls(sys._current_frames().get(self._thread_id))
            while not answered.wait(STALL_S) and not self._stop.is_set():
                pass
            self._report((self._clock.now().mono_ns - asked_ns) / NS_PER_SECOND, calls)

    def _report(self, seconds: float, calls: traceback.StackSummary) -> None:
        self.culprits.append("".join(calls.format()))
        self.longest_s = max(self.longest_s, seconds)
        self._stats["loop_stalls"] += 1
        now_ns = self._clock.now().mono_ns
        if self._logged_ns is not None and now_ns - self._logged_ns < LOG_EVERY_S * NS_PER_SECOND:
            self._unlogged += 1
            return
        more = f" ({self._unlogged} more before)" if self._unlogged else ""
        where = " > ".join(f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in calls[-SHOWN:])
        log.warning("%s was held up for %.2f s%s in %s", self._name, seconds, more, where or "nobody knows what")
        self._logged_ns, self._unlogged = now_ns, 0


def _calls(frame: FrameType | None) -> traceback.StackSummary:
    """What a thread is doing, the innermost call last."""
    return traceback.StackSummary() if frame is None else traceback.extract_stack(frame, limit=DEEPEST)
