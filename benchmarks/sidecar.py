"""What one tick costs the sidecar for 1, 50 and 500 clients: `python -m benchmarks.sidecar [--clients 1 50 500]`.

A chain of 988 options ticks ten times a second. Clients are in processes of their own on the same machine, equally many
in JSON and in MessagePack. Printed for the sidecar, for `websockets.broadcast` of the same bytes and for a loop of
Starlette's `send`: deliveries a second, processor time of the server for each, the time from the tick to the last byte
at the client, and the server's memory for each client. Then the sidecar again beside one client that reads nothing.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import orjson

from benchmarks.sidecar_servers import ENCODINGS

SERVERS = ("volstream", "broadcast", "starlette")


@dataclass(frozen=True, slots=True)
class Figures:
    """One run; times in seconds, memory in bytes."""

    deliveries_per_s: float
    cpu_per_delivery: float
    p50: float
    p99: float
    memory_per_client: float

    def __str__(self) -> str:
        return (
            f"{self.deliveries_per_s:11,.0f} {self.cpu_per_delivery * 1e6:11.1f} {self.p50 * 1e3:9.2f} "
            f"{self.p99 * 1e3:9.2f} {self.memory_per_client / 1024:11.0f}"
        )


HEAD = f"{'deliveries/s':>37} {'CPU us each':>10} {'p50 ms':>9} {'p99 ms':>9} {'KiB/client':>11}"


class Process:
    """A child that is asked line by line."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._child = subprocess.Popen(
            [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        assert self._child.stdout is not None
        line = self._child.stdout.readline().strip()
        if not line:
            raise SystemExit(f"a process ended early: {' '.join(self._arguments)}")
        return line

    def ask(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write("\n")
        self._child.stdin.flush()

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()


@contextmanager
def process(*arguments: str) -> Iterator[Process]:
    child = Process(*arguments)
    try:
        yield child
    finally:
        child.close()


def measure(
    server: str, clients: int, seconds: float, rate: float, *, stalled: bool = False, uvloop: bool = False
) -> Figures:
    """One server, so many clients, and one more that reads nothing where `stalled`."""
    with ExitStack() as stack:
        extra = ["--uvloop"] if uvloop else []
        serving = stack.enter_context(process("benchmarks.sidecar_servers", server, "--rate", str(rate), *extra))
        url = serving.line()
        # The first client makes what is shared: its stream, and code that runs for the first time.
        groups = [client_process(stack, url, 1, seconds), *client_processes(stack, url, clients - 1, seconds)]
        before = asked(serving)
        if stalled:
            groups.append(client_process(stack, url, 1, seconds, "--stalled"))
        for group in groups[1:]:
            group.line()
        joined = asked(serving)
        for group in groups:
            group.ask()
        started = asked(serving)
        took = np.array([us for group in groups for us in orjson.loads(group.line())]) / 1e6
        ended = asked(serving)
    return Figures(
        len(took) / seconds,
        (ended["cpu_s"] - started["cpu_s"]) / max(len(took), 1),
        float(np.quantile(took, 0.5)),
        float(np.quantile(took, 0.99)),
        (joined["rss"] - before["rss"]) / (clients - 1) if clients > 1 else float("nan"),
    )


def client_processes(stack: ExitStack, url: str, clients: int, seconds: float) -> list[Process]:
    """At most 100 clients a process, so that none is a bottleneck."""
    sizes = [min(100, clients - start) for start in range(0, clients, 100)]
    return [stack.enter_context(client(url, size, seconds)) for size in sizes]


def client_process(stack: ExitStack, url: str, clients: int, seconds: float, *more: str) -> Process:
    """So many clients; those of the first process are waited for here."""
    child = stack.enter_context(client(url, clients, seconds, *more))
    if not more:
        child.line()
    return child


def client(url: str, clients: int, seconds: float, *more: str) -> AbstractContextManager[Process]:
    """A process of clients that take turns at the encodings."""
    subprotocols = list(islice(cycle(ENCODINGS), clients))
    return process("benchmarks.sidecar_clients", url, *subprotocols, "--seconds", str(seconds), *more)


def asked(serving: Process) -> dict[str, float]:
    serving.ask()
    answer: dict[str, float] = orjson.loads(serving.line())
    return answer


def compare(counts: Sequence[int], seconds: float, rate: float) -> None:
    """The table of all servers, and what ours costs beside each other one."""
    first: dict[str, Figures] = {}
    for clients in counts:
        print(f"\n{clients} clients\n{HEAD}")
        figures: dict[str, Figures] = {}
        for server in SERVERS:
            figures[server] = measure(server, clients, seconds, rate)
            print(f"  {server:<22} {figures[server]}")
        ours = figures["volstream"]
        for server in SERVERS[1:]:
            theirs = figures[server]
            print(
                f"  volstream / {server:<10} {ours.deliveries_per_s / theirs.deliveries_per_s:11.2f} "
                f"{ours.cpu_per_delivery / theirs.cpu_per_delivery:11.2f} {ours.p50 / theirs.p50:9.2f} "
                f"{ours.p99 / theirs.p99:9.2f} {ours.memory_per_client / theirs.memory_per_client:11.2f}"
            )
        if first:
            each = {server: further(first[server], figures[server]) * 1e6 for server in SERVERS}
            told = ", ".join(f"{server} {us:.1f}" for server, us in each.items())
            ratio = each["volstream"] / each["broadcast"]
            print(f"  CPU us of each further delivery: {told}; volstream / broadcast {ratio:.2f}")
        first = first or figures


def further(few: Figures, many: Figures) -> float:
    """What a delivery costs beside those that a run with fewer clients had: without the work of a tick itself."""
    spent = many.cpu_per_delivery * many.deliveries_per_s - few.cpu_per_delivery * few.deliveries_per_s
    return spent / max(many.deliveries_per_s - few.deliveries_per_s, 1e-9)


def stall(clients: int, seconds: float, rate: float, runs: int) -> None:
    """The others' p99 with and without a client that reads nothing, in turns: the machine's mood changes."""
    print(f"\n{clients} clients, without and with one more that reads nothing (medians of {runs} runs each)")
    found: dict[bool, list[Figures]] = {False: [], True: []}
    for run in range(2 * runs):
        stalled = run % 4 in (1, 2)  # each comes first as often
        found[stalled].append(measure("volstream", clients, seconds, rate, stalled=stalled))
    p99 = {which: np.array([each.p99 for each in found[which]]) * 1e3 for which in found}
    cpu = {which: float(np.median([each.cpu_per_delivery for each in found[which]])) * 1e6 for which in found}
    without, beside = (float(np.median(p99[which])) for which in (False, True))
    print(f"  p99 ms: without {without:.2f}, with {beside:.2f}: {beside - without:+.2f} (FAULTS V01: at most +1)")
    print(f"  two runs of the same differ by {np.ptp(p99[False]):.2f} ms at most")
    print(f"  CPU us a delivery: without {cpu[False]:.1f}, with {cpu[True]:.1f}")


def loops(clients: int, seconds: float, rate: float) -> None:
    """asyncio's own loop beside uvloop."""
    print(f"\nuvloop, {clients} clients\n{HEAD}")
    for uvloop in (False, True):
        figures = measure("volstream", clients, seconds, rate, uvloop=uvloop)
        print(f"  {'uvloop' if uvloop else 'asyncio':<22} {figures}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 50, 500])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--stall-runs", type=int, default=3)
    parser.add_argument("--uvloop", action="store_true", help="compare the two event loops, too")
    options = parser.parse_args(arguments)
    machine = f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores"
    print(f"{machine}, load {os.getloadavg()[0]:.1f}; encodings: {', '.join(ENCODINGS)}")
    compare(options.clients, options.seconds, options.rate)
    if options.stall_runs:
        stall(min(50, max(options.clients)), options.seconds, options.rate, options.stall_runs)
    if options.uvloop:
        loops(max(options.clients), options.seconds, options.rate)


if __name__ == "__main__":
    main()
