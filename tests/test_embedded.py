"""The embedded market's own process: it starts, it is watched, and it never outlives its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import httpx
import pytest

from pricer.embedded import market_process
from pricer.errors import VolstreamError
from tests.data import CHECKOUT


def is_alive(pid: int) -> bool:
    """Running, and not only waiting for its parent to notice."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int) -> bool:
    for _ in range(600):
        if not is_alive(pid):
            return True
        await asyncio.sleep(0.1)
    return False


needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="reads the process table in /proc")


@needs_proc
async def test_it_serves_and_ends_with_the_block() -> None:
    async with market_process("deribit", seed=3) as market:
        url = f"{market.http_url}/public/get_instruments?currency=BTC&kind=option"
        answer = await asyncio.to_thread(httpx.get, url, timeout=60, trust_env=False)
        assert len(answer.json()["result"]) >= 600
        assert market.url.startswith("ws://127.0.0.1:")
    assert await gone(market.pid)


async def test_a_market_that_ends_by_itself_is_noticed() -> None:
    async with market_process("deribit", seed=3) as market:
        os.kill(market.pid, signal.SIGKILL)
        with pytest.raises(VolstreamError, match=r"ended by itself with code -9"):
            await asyncio.wait_for(market.watching, 60)


async def test_a_market_that_does_not_start_says_why() -> None:
    with pytest.raises(VolstreamError, match="there is no embedded venue 'nowhere'"):
        async with market_process("nowhere", seed=3):
            raise AssertionError("it started")


@needs_proc
async def test_it_dies_with_a_parent_that_is_killed() -> None:
    script = (
        "import asyncio\n"
        "from pricer.embedded import market_process\n"
        "async def main():\n"
        "    async with market_process('deribit', 3) as market:\n"
        "        print(market.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert parent.stdout is not None
        pid = int(await parent.stdout.readline())
        assert is_alive(pid)
    finally:
        parent.kill()
        await parent.wait()
    assert await gone(pid)
