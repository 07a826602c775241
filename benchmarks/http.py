"""What polling and heavy requests cost: `python -m benchmarks.http`. A minute, on loopback, and it ends by itself.

A server of its own process holds a chain of 960 options. First that chain is polled on 8 connections that stay open,
with If-None-Match and whole; then one connection polls a small answer, alone and beside scenarios in a loop, twice in
turn. Clients are processes of their own: what they do, such as reading a scenario, must not look like the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import numpy as np

from pricer.clock import SystemClock
from pricer.config import Settings
from pricer.sidecar.app import serve
from tests.sidecar.fitted import MONTH, Fitted
from tests.sidecar.snapshots import Market, Source

POLLS, CONNECTIONS, SECONDS, HEAVY = 1000.0, 8, 5.0, 2
SETTINGS: dict[str, Any] = {"port": 0, "max_http_per_s": 100_000}
SPAWN = multiprocessing.get_context("spawn")


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


class Answered(NamedTuple):
    """What one connection heard: how long each answer took, in seconds, and how many were whole."""

    waits: list[float]
    whole: int
    length: int  # of the last whole one, in bytes


async def poll(host: str, port: int, path: str, per_s: float, *, known: bool) -> Answered:
    """Ask at an even pace until the time is over, on one connection and with as little work as can be."""
    reader, writer = await asyncio.open_connection(host, port, limit=2**21)
    begin, waits, whole, length, tag = time.perf_counter(), [], 0, 0, b""
    for i in range(int(per_s * SECONDS)):
        await asyncio.sleep(max(begin + i / per_s - time.perf_counter(), 0.0))
        started = time.perf_counter()
        more = b"if-none-match: " + tag + b"\r\n" if known and tag else b""
        writer.write(b"GET " + path.encode() + b" HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\n" + more + b"\r\n")
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        fields = dict(line.split(b": ", 1) for line in lines if line)
        tag = fields[b"etag"]
        if status.split()[1] == b"200":
            whole, length = whole + 1, int(fields[b"content-length"])
            await reader.readexactly(length)
        waits.append(time.perf_counter() - started)
        if time.perf_counter() - begin > SECONDS:
            break
    writer.close()
    return Answered(waits, whole, length)


def polls(address: str, path: str, per_s: float, connections: int, known: bool, tell: Any) -> None:
    """A process of clients: what they heard, together."""
    host, _, port = address.removeprefix("http://").rstrip("/").rpartition(":")

    async def all_of_them() -> list[Answered]:
        each = per_s / connections
        return await asyncio.gather(*(poll(host, int(port), path, each, known=known) for _ in range(connections)))

    found = asyncio.run(all_of_them())
    waits = [wait for each in found for wait in each.waits]
    tell.send(Answered(waits, sum(each.whole for each in found), max(each.length for each in found)))


def polled(address: str, path: str, per_s: float, connections: int, *, known: bool) -> Answered:
    """The same, from here."""
    ours, theirs = SPAWN.Pipe()
    with running(polls, address, path, per_s, connections, known, theirs):
        answered = ours.recv()
    assert isinstance(answered, Answered)
    return answered


def chain(address: str, pid: int, *, known: bool) -> str:
    """CPU of the server and latency while the chain is polled."""
    used = cpu_seconds(pid)
    answered = polled(address, "/v1/chain/BTC", POLLS, CONNECTIONS, known=known)
    used, n = cpu_seconds(pid) - used, len(answered.waits)
    size = f", {answered.whole} whole ones of {answered.length / 1024:.0f} KiB"
    return f"{n / SECONDS:.0f} answers/s, {1e6 * used / n:.0f} us CPU each{size}"


def scenarios(address: str, done: Any) -> None:
    """Post heavy scenarios in a loop until the process is ended; what it does itself gives way to the others."""
    os.nice(19)
    axis = [i / 200 for i in range(70)]
    asked = {
        "contracts": [{"instrument": f"{MONTH}-{strike}-C"} for strike in range(75_000, 125_000, 5_000)],
        "forward_moves": axis,
        "vol_shifts": axis,
    }
    with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
        while True:
            client.post("v1/scenario", json=asked).raise_for_status()
            with done.get_lock():
                done.value += 1


def beside(address: str, *, heavy: bool) -> str:
    """Latency of a small answer, alone or while scenarios run."""
    done = SPAWN.Value("i", 0)
    with contextlib.ExitStack() as stack:
        for _ in range(HEAVY if heavy else 0):
            stack.enter_context(running(scenarios, address, done))
        while heavy and not done.value:
            time.sleep(0.05)
        begun = done.value
        answered = polled(address, "/v1/forward/BTC", 200.0, 1, known=False)
        made = done.value - begun
    p50, p99 = np.quantile(answered.waits, (0.5, 0.99)) * 1e3
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms" + (f", beside {made} scenarios of 49,000 values" if heavy else "")


@contextlib.contextmanager
def running(what: Any, *given: Any) -> Iterator[multiprocessing.process.BaseProcess]:
    """A process of our own, ended in the end."""
    process = SPAWN.Process(target=what, args=given, daemon=True)
    process.start()
    try:
        yield process
    finally:
        process.terminate()
        process.join(10)


def main() -> None:
    """Run all of it."""
    for kind in ("chain", "surface"):
        ours, theirs = SPAWN.Pipe()
        with running(server, kind, theirs) as process:
            address, pid = ours.recv(), process.pid
            assert pid is not None
            if kind == "chain":
                print("If-None-Match   ", chain(address, pid, known=True), flush=True)
                print("whole chain     ", chain(address, pid, known=False), flush=True)
                continue
            for _ in range(2):
                print("small, alone    ", beside(address, heavy=False), flush=True)
                print("small, beside   ", beside(address, heavy=True), flush=True)


if __name__ == "__main__":
    main()
