"""What one tick costs the sidecar for 1, 50 and 500 clients: `python -m benchmarks.sidecar [--clients 1 50 500]`.

A chain of 988 options ticks ten times a second. Clients are in processes of their own on the same machine, equally many
in JSON and in MessagePack. Printed for the sidecar, for `websockets.broadcast` of the same bytes and for a loop of
Starlette's `send`: deliveries a second, processor time of the server for each, the time from the tick to the last byte
at the client, and the server's memory for each client. Then the sidecar again beside a client that reads nothing.
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
from itertools import cycle, islice, pairwise

import numpy as np
import orjson

from benchmarks.sets import Floats
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


def measure(server: str, clients: int, seconds: float, rate: float, *, uvloop: bool = False) -> Figures:
    """One server and so many clients."""
    with ExitStack() as stack:
        extra = ["--uvloop"] if uvloop else []
        serving = stack.enter_context(process("benchmarks.sidecar_servers", server, "--rate", str(rate), *extra))
        url = serving.line()
        # The first client makes what is shared: its stream, and code that runs for the first time.
        groups = [client_process(stack, url, 1, seconds), *client_processes(stack, url, clients - 1, seconds)]
        before = asked(serving)
        for group in groups[1:]:
            group.line()
        joined = asked(serving)
        for group in groups:
            group.ask()
        started = asked(serving)
        took = np.array([us for group in groups for _, us in orjson.loads(group.line())]) / 1e6
        ended = asked(serving)
    return Figures(
        len(took) / seconds,
        (ended["cpu_s"] - started["cpu_s"]) / max(len(took), 1),
        quantile(took, 0.5),
        quantile(took, 0.99),
        (joined["rss"] - before["rss"]) / (clients - 1) if clients > 1 else float("nan"),
    )


def quantile(took: Floats, share: float) -> float:
    """NaN of nothing: a busy machine may not have had a turn for a server."""
    return float(np.quantile(took, share)) if len(took) else float("nan")


def client_processes(stack: ExitStack, url: str, clients: int, seconds: float) -> list[Process]:
    """At most 100 clients a process, so that none is a bottleneck."""
    sizes = [min(100, clients - start) for start in range(0, clients, 100)]
    return [stack.enter_context(client(url, size, seconds)) for size in sizes]


def client_process(stack: ExitStack, url: str, clients: int, seconds: float, *more: str) -> Process:
    """So many clients, once they have joined."""
    child = stack.enter_context(client(url, clients, seconds, *more))
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


@dataclass(frozen=True, slots=True)
class Stalling:
    """What clients noticed of one that comes and goes: seconds under way, by turn, of those without and with it.

    Turns in which nothing ticked, as on a machine that is busy otherwise, are left out.
    """

    without: list[Floats]
    beside: list[Floats]

    def p99(self) -> tuple[float, float]:
        return p99(self.without), p99(self.beside)

    def error(self, seed: int = 1) -> float:
        """Of the difference: one standard error, from turns drawn anew (a tick that is late is late for all)."""
        rng = np.random.default_rng(seed)
        differences = [p99(drawn(self.beside, rng)) - p99(drawn(self.without, rng)) for _ in range(400)]
        return float(np.std(differences))


def p99(turns: list[Floats]) -> float:
    return quantile(np.concatenate([*turns, np.empty(0)]), 0.99)


def drawn(turns: list[Floats], rng: np.random.Generator) -> list[Floats]:
    return [turns[i] for i in rng.integers(len(turns), size=len(turns))]


def stalling(clients: int, seconds: float, rate: float, turn: float) -> Stalling:
    """One sidecar whose clients stay, beside one that reads nothing every other turn: one machine in one mood."""
    with ExitStack() as stack:
        serving = stack.enter_context(process("benchmarks.sidecar_servers", "volstream", "--rate", str(rate)))
        url = serving.line()
        readers = client_process(stack, url, clients, 0.0)  # until they are told: the visitor may be late
        visitor = client_process(stack, url, 1, seconds, "--stalls", str(turn))
        visitor.ask()
        readers.ask()
        there = np.array(orjson.loads(visitor.line()))
        readers.ask()
        ticks, took = np.array(orjson.loads(readers.line())).reshape(-1, 2).T
    ends = np.concatenate([there[:1, 0] - round(turn * 1e6), there.ravel()])  # away, there, away, there ...
    turns = [took[(since <= ticks) & (ticks < until)] / 1e6 for since, until in pairwise(ends)]
    return Stalling([turn for turn in turns[::2] if len(turn)], [turn for turn in turns[1::2] if len(turn)])


def stall(clients: int, seconds: float, rate: float, turn: float) -> None:
    """The others' p99 with and without a client that reads nothing."""
    print(f"\n{clients} clients, and one that reads nothing every other {turn:g} s, for {seconds:g} s")
    found = stalling(clients, seconds, rate, turn)
    without, beside = (1e3 * each for each in found.p99())
    error = 1e3 * found.error()
    print(f"  p99 ms: without it {without:.2f}, beside it {beside:.2f}")
    print(f"  difference: {beside - without:+.2f} ± {error:.2f} (FAULTS V01: at most +1)")


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
    parser.add_argument("--stall-seconds", type=float, default=300.0, help="0: leave that part out")
    parser.add_argument("--stall-turn", type=float, default=12.0, help="longer than the patience with a slow client")
    parser.add_argument("--uvloop", action="store_true", help="compare the two event loops, too")
    options = parser.parse_args(arguments)
    machine = f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores"
    print(f"{machine}, load {os.getloadavg()[0]:.1f}; encodings: {', '.join(ENCODINGS)}")
    compare(options.clients, options.seconds, options.rate)
    if options.stall_seconds:
        stall(min(50, max(options.clients)), options.stall_seconds, options.rate, options.stall_turn)
    if options.uvloop:
        loops(max(options.clients), options.seconds, options.rate)


if __name__ == "__main__":
    main()
