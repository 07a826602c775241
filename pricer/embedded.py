"""The embedded market in a process of its own, so that it does not share the pricer's interpreter lock.

The child runs `volstream simulate --child`: it prints its addresses as one line of JSON and ends when its standard
input does. So it dies with its parent, however the parent dies, on every system.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from pricer.errors import VolstreamError

START_S = 60.0
END_S = 6.0


@dataclass
class MarketProcess:
    """A running child: its addresses, and the task that raises if it ends by itself."""

    url: str
    http_url: str
    pid: int
    watching: asyncio.Task[None]


Announce = Callable[[str], None]


@contextlib.asynccontextmanager
async def market_process(
    venue: str, seed: int, chaos: int | None = None, announce: Announce | None = None
) -> AsyncIterator[MarketProcess]:
    """Start the embedded market, end it with the block; a `VolstreamError` has its last words if it does not start.

    With `chaos`, a seed, it is under faults, of each of which `announce` gets a line as it begins and as it ends.
    """
    faults = () if chaos is None else ("--chaos", str(chaos))
    command = ("simulate", "--child", "--venue", venue, "--port", "0", "--seed", str(seed), *faults)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "pricer.cli",
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C goes to the whole group: the parent ends the child when it is done with it
        env=_environment(),
    )
    last_words: deque[str] = deque(maxlen=20)
    listening = asyncio.create_task(_listen(child, last_words), name="market-stderr")
    watching = hearing = None
    try:
        addresses = await _addresses(child, listening, last_words)
        watching = asyncio.create_task(_watch(child, listening, last_words), name="market-watch")
        hearing = asyncio.create_task(_hear(child, announce), name="market-stdout")
        yield MarketProcess(addresses["url"], addresses["http_url"], child.pid, watching)
    finally:
        for task in (watching, hearing, listening):
            if task is not None:
                task.cancel()
        await _end(child)


def _environment() -> dict[str, str]:
    """The child imports the same `pricer` as we do, wherever this process found it."""
    paths = [path for path in sys.path if path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


async def _addresses(
    child: asyncio.subprocess.Process, listening: asyncio.Task[None], last_words: deque[str]
) -> dict[str, str]:
    assert child.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            line = await child.stdout.readline()
    except TimeoutError:
        raise VolstreamError(f"the embedded market did not start within {START_S:.0f} s") from None
    if not line:
        raise await _ended(child, listening, last_words)
    addresses: dict[str, str] = json.loads(line)
    return addresses


async def _watch(child: asyncio.subprocess.Process, listening: asyncio.Task[None], last_words: deque[str]) -> None:
    await child.wait()
    raise await _ended(child, listening, last_words)


async def _ended(
    child: asyncio.subprocess.Process, listening: asyncio.Task[None], last_words: deque[str]
) -> VolstreamError:
    code = await child.wait()
    await asyncio.wait({listening}, timeout=1.0)
    said = f": {last_words[-1]}" if last_words else ""
    return VolstreamError(f"the embedded market ended by itself with code {code}{said}")


async def _hear(child: asyncio.subprocess.Process, announce: Announce | None) -> None:
    """Each further line of its standard output is an announcement."""
    assert child.stdout is not None
    while line := await child.stdout.readline():
        if announce is not None:
            announce(line.decode(errors="replace").strip())


async def _listen(child: asyncio.subprocess.Process, last_words: deque[str]) -> None:
    """Keep reading: a child whose pipe is full would stand still."""
    assert child.stderr is not None
    while line := await child.stderr.readline():
        if text := line.decode(errors="replace").strip():
            last_words.append(text)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    assert child.stdin is not None
    child.stdin.close()
    try:
        async with asyncio.timeout(END_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
