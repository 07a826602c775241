"""What polling and heavy requests cost: `python -m benchmarks.http`. Half a minute, on loopback, and it ends by itself.

A server of its own process holds a chain of 960 options. First that chain is polled on 8 connections as fast as asked
for, whole and with If-None-Match; then one connection polls a small answer, alone and beside scenarios in a loop.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from typing import Any

import httpx
import numpy as np

from pricer.clock import SystemClock
from pricer.config import Settings
from pricer.sidecar.app import serve
from tests.sidecar.fitted import MONTH, Fitted
from tests.sidecar.snapshots import Market, Source

POLLS, CONNECTIONS, SECONDS = 1000.0, 8, 5.0
SETTINGS: dict[str, Any] = {"port": 0, "max_http_per_s": 100_000}


def server(kind: str, tell: Any) -> None:
    """Serve until the process is ended."""
    source = Source()
    if kind == "chain":
        source.publish(Market(SystemClock(), expiries=12, strikes=40).snapshot())
    else:
        latest = Fitted().source.latest
        assert latest is not None
        source.publish(latest)
    asyncio.run(serve(source, Settings(server=SETTINGS), started=tell.send))


def cpu_seconds(pid: int) -> float:
    """Of one process, user and system (Linux)."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def poll(client: httpx.AsyncClient, path: str, headers: dict[str, str], per_s: float, waits: list[float]) -> None:
    """Ask at an even pace until the time is over."""
    begin = time.perf_counter()
    for i in range(int(per_s * SECONDS)):
        await asyncio.sleep(max(begin + i / per_s - time.perf_counter(), 0.0))
        started = time.perf_counter()
        answer = await client.get(path, headers=headers)
        assert answer.status_code in (200, 304)
        waits.append(time.perf_counter() - started)
        if time.perf_counter() - begin > SECONDS:
            return


async def polled(address: str, pid: int, *, known: bool) -> str:
    """CPU and latency of polling the chain."""
    async with httpx.AsyncClient(base_url=address, trust_env=False) as first:
        tag = (await first.get("v1/chain/BTC")).headers["etag"]
    headers = {"if-none-match": tag} if known else {}
    clients = [httpx.AsyncClient(base_url=address, trust_env=False) for _ in range(CONNECTIONS)]
    waits: list[float] = []
    used, begin = cpu_seconds(pid), time.perf_counter()
    await asyncio.gather(*(poll(each, "v1/chain/BTC", headers, POLLS / CONNECTIONS, waits) for each in clients))
    took, used = time.perf_counter() - begin, cpu_seconds(pid) - used
    for client in clients:
        await client.aclose()
    return f"{len(waits) / took:.0f} answers/s, {1e6 * used / len(waits):.0f} us CPU each, {used / took:.2f} cores"


async def beside(address: str, *, heavy: bool) -> str:
    """Latency of a small answer, alone or while scenarios run."""
    axis = [i / 200 for i in range(70)]
    asked = {
        "contracts": [{"instrument": f"{MONTH}-{strike}-C"} for strike in range(75_000, 125_000, 5_000)],
        "forward_moves": axis,
        "vol_shifts": axis,
    }
    waits: list[float] = []
    done = 0

    async def loop(client: httpx.AsyncClient) -> None:
        nonlocal done
        while True:
            await client.post("v1/scenario", json=asked, timeout=30)
            done += 1

    async with httpx.AsyncClient(base_url=address, trust_env=False) as client:
        tasks = [asyncio.create_task(loop(client)) for _ in range(2 * heavy)]
        await poll(client, "v1/forward/BTC", {}, 200, waits)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    p50, p99 = np.quantile(waits, (0.5, 0.99)) * 1e3
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms" + (f", beside {done} scenarios of 49,000 values" if heavy else "")


def main() -> None:
    """Run all of it."""
    context = multiprocessing.get_context("spawn")
    for kind in ("chain", "surface"):
        ours, theirs = context.Pipe()
        process = context.Process(target=server, args=(kind, theirs), daemon=True)
        process.start()
        address, pid = ours.recv(), process.pid
        assert pid is not None
        if kind == "chain":
            print("whole chain     ", asyncio.run(polled(address, pid, known=False)))
            print("If-None-Match   ", asyncio.run(polled(address, pid, known=True)))
        else:
            print("small, alone    ", asyncio.run(beside(address, heavy=False)))
            print("small, beside   ", asyncio.run(beside(address, heavy=True)))
        process.terminate()
        process.join(10)


if __name__ == "__main__":
    main()
