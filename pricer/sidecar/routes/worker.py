"""Heavy answers: made on a worker thread, few at a time, and given up as soon as nobody waits for them.

A worker shares the interpreter with the loop that serves everybody else. Between its steps it lets go of it, and each
step is short; and while a worker runs, a thread that wants the interpreter waits for TURN_S of Python code at most, not
for the 5 ms that are Python's own. An answer of the loop takes four or five turns: each time it reads, sends or looks
for news, the worker may have taken the interpreter meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from fastapi import Request

from pricer.sidecar.routes.errors import Refusal
from pricer.sidecar.valuation import Check

Made = TypeVar("Made")

TURN_S = 0.0005


class GivenUp(Exception):
    """Nobody waits for this any more."""


class Workers:
    """So many jobs at once, and so many more that wait; whoever comes then is told to come back."""

    def __init__(self, jobs: int, waiting: int) -> None:
        self.running = 0
        self.given_up = 0
        self._here = 0  # requests that wait or run; counted when they come, not when their task has its first turn
        self._most = jobs + waiting
        self._free = asyncio.Semaphore(jobs)

    @property
    def waiting(self) -> int:
        """Requests whose job has not begun."""
        return self._here - self.running

    async def run(self, request: Request, job: Callable[[Check], Made]) -> Made:
        """What `job` makes; it calls the check that it is given between short steps.

        `Refusal` 503 where too many wait, 499 where the client has gone.
        """
        if self._here >= self._most:
            raise Refusal(503, f"{self.waiting} heavy requests wait already", "busy", {"retry-after": "1"})
        self._here += 1
        try:
            return await self._made_for(request, job)
        finally:
            self._here -= 1

    async def _made_for(self, request: Request, job: Callable[[Check], Made]) -> Made:
        gone = threading.Event()
        working = asyncio.create_task(self._queued(job, gone))
        leaving = asyncio.create_task(_left(request))
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                self.given_up += 1
                raise Refusal(499, "the client has gone", "client_gone")
            return working.result()
        finally:
            gone.set()
            await _ended(working, leaving)

    async def _queued(self, job: Callable[[Check], Made], gone: threading.Event) -> Made:
        await self._free.acquire()
        self.running += 1
        try:
            with TURNS.short():
                return await self._made(job, gone)
        finally:
            self.running -= 1
            self._free.release()

    async def _made(self, job: Callable[[Check], Made], gone: threading.Event) -> Made:
        """The thread cannot be stopped from outside: a cancelled job is waited for, to its next step."""
        thread = asyncio.ensure_future(asyncio.to_thread(job, check_of(gone)))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            gone.set()
            with contextlib.suppress(GivenUp):
                await thread
            raise


class Turns:
    """Of all threads of the process: short ones while anything heavy runs, and else as they were."""

    def __init__(self) -> None:
        self._users = 0
        self._before = 0.0

    @contextlib.contextmanager
    def short(self) -> Iterator[None]:
        """Until the last who asked for it is done; called on one thread."""
        if not self._users:
            self._before = sys.getswitchinterval()
            sys.setswitchinterval(min(self._before, TURN_S))
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                sys.setswitchinterval(self._before)


TURNS = Turns()


def check_of(gone: threading.Event) -> Check:
    """Called between steps: lets others run, and gives up where nobody waits."""

    def check() -> None:
        time.sleep(0)  # gives the interpreter away
        if gone.is_set():
            raise GivenUp

    return check


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    """All of them, whichever has failed: what that was is told already, or nobody is there to be told."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # else asyncio logs it as never looked at


async def _left(request: Request) -> None:
    """Until the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
