"""Host names to addresses, off the loop and in bounded time (FAULTS T10).

The system's resolver cannot be interrupted, so a look-up that hangs keeps its thread. Asking again for the same name
joins that look-up, and there are never more than `MOST_LOOKUPS` of them; the threads are daemons, so that neither the
loop's end nor the program's waits for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from itertools import zip_longest
from typing import Any, NamedTuple

from pricer.adapters.transport import ConnectionLost

MOST_LOOKUPS = 4


class Address(NamedTuple):
    """Where to connect to: the family, and what `socket.connect` takes."""

    family: int
    where: tuple[Any, ...]


Lookup = Callable[[str, int], list[Address]]


def system_lookup(host: str, port: int) -> list[Address]:
    """What the operating system says now; nothing is remembered between two calls."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [Address(family, where) for family, _, _, _, where in found]


class Resolver:
    """Look-ups in threads; `lookup` is the system's unless a test brings its own."""

    def __init__(self, lookup: Lookup = system_lookup) -> None:
        self._lookup = lookup
        self._lock = threading.Lock()
        self._running: dict[tuple[str, int], list[tuple[asyncio.AbstractEventLoop, asyncio.Future[Any]]]] = {}

    async def resolve(self, host: str, port: int, timeout_s: float) -> list[Address]:
        """All addresses, families taking turns; `ConnectionLost` with reason "dns" where there is none in time."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address]] = loop.create_future()
        self._ask(host, port, loop, answer)
        try:
            async with asyncio.timeout(timeout_s):
                found = await answer
        except TimeoutError:
            raise ConnectionLost("dns", f"{host}: no answer within {timeout_s:g} s") from None
        except (OSError, UnicodeError) as error:
            raise ConnectionLost("dns", f"{host}: {error}") from error
        if not found:
            raise ConnectionLost("dns", f"{host}: no address")
        return taking_turns(found)

    def _ask(self, host: str, port: int, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[Any]) -> None:
        key = (host, port)
        with self._lock:
            if key in self._running:
                # Those who have given up are forgotten, so that the list is no longer than the callers who wait.
                waiting = [each for each in self._running[key] if not each[1].done()]
                self._running[key] = [*waiting, (loop, answer)]
                return
            if len(self._running) >= MOST_LOOKUPS:
                raise ConnectionLost("dns", f"{host}: {MOST_LOOKUPS} earlier look-ups still hang")
            self._running[key] = [(loop, answer)]
        threading.Thread(target=self._run, args=key, name="volstream-dns", daemon=True).start()

    def _run(self, host: str, port: int) -> None:
        found: list[Address] | None = None
        failure: Exception | None = None
        try:
            found = self._lookup(host, port)
        except Exception as error:  # noqa: BLE001 - it reaches whoever asked
            failure = error
        with self._lock:
            waiting = self._running.pop((host, port))
        for loop, answer in waiting:
            with contextlib.suppress(RuntimeError):  # that loop has ended
                loop.call_soon_threadsafe(_settle, answer, found, failure)


def _settle(answer: asyncio.Future[Any], found: list[Address] | None, failure: Exception | None) -> None:
    if answer.done():
        return
    if failure is None:
        answer.set_result(found)
    else:
        answer.set_exception(failure)


def taking_turns(found: list[Address]) -> list[Address]:
    """The same addresses, no two of one family in a row while the other has some left (RFC 8305 section 4)."""
    first = [each for each in found if each.family == found[0].family]
    second = [each for each in found if each.family != found[0].family]
    return [each for pair in zip_longest(first, second) for each in pair if each is not None]
