"""V10 for real: a sidecar's process is killed under fifty clients, and another one takes its place on the same port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

import pricer
from pricer.sidecar.client import Connection, connect
from tests.data import CHECKOUT
from tests.free_port import free_port
from tests.sidecar.reference import problem_of

CLIENTS = 50
# The first version of the second sidecar; with three digits behind it, all nine that travel.
SECOND = 100_000
# A process that has to load everything on two busy cores takes some seconds.
pytestmark = pytest.mark.timeout(300)


@contextlib.asynccontextmanager
async def sidecar(port: int, first: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A sidecar of its own process, serving."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.sidecar.reference", "--port", str(port), "--first", str(first)),
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@dataclass
class Witness:
    """What one client has been given, and what was wrong with it."""

    sessions: dict[str | None, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def look(self, chain: Connection, state: pricer.Snapshot) -> None:
        known = self.sessions.get(chain.session)
        if known is not None and state.version < known:
            self.problems.append(f"version {state.version} after {known}")
        if known is None and self.sessions and state.breaks == 0:
            self.problems.append("a new session and no break")
        self.sessions[chain.session] = state.version
        if problem := problem_of(state):
            self.problems.append(problem)


async def follow(url: str, seed: int, witness: Witness) -> None:
    async with connect(url, seed=seed) as chain:
        async for state in chain:
            witness.look(chain, state)


async def until(witnesses: list[Witness], sessions: int, beyond: int) -> None:
    """Each client has been given some states of so many sessions, and of the last of them a version beyond."""

    def follows(each: Witness) -> bool:
        return len(each.sessions) >= sessions and list(each.sessions.values())[-1] > beyond

    async with asyncio.timeout(120):
        while not all(map(follows, witnesses)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_V10_I3_a_sidecar_killed_under_fifty_clients_costs_nobody_a_wrong_value() -> None:
    port = free_port()
    witnesses = [Witness() for _ in range(CLIENTS)]
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(sidecar(port, 0))
        url = f"ws://127.0.0.1:{port}/v1/stream"
        tasks = [asyncio.create_task(follow(url, i, witness)) for i, witness in enumerate(witnesses)]
        await until(witnesses, 1, beyond=3)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        # The versions of the second are far from the first's: what is mixed of both would be seen.
        await stack.enter_async_context(sidecar(port, SECOND))
        await until(witnesses, 2, beyond=SECOND + 3)
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end for end in ends if not isinstance(end, asyncio.CancelledError)] == []
    assert [problem for each in witnesses for problem in each.problems] == []
    for each in witnesses:
        before, after = each.sessions.values()
        assert 0 < before < SECOND < after, "each follows the second as it moves"
