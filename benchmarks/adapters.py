"""What a Deribit frame costs from bytes to events, beside ccxt and cryptofeed: `python -m benchmarks.adapters`.

Printed: microseconds a frame for tickers, book changes and bulk marks, the same frames for all in the same run by
turns; then how many frames a second come through a loopback socket as events, with each transport. What is called of
the others and what they leave out is in `benchmarks/adapter_peers.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version

import msgspec

from benchmarks import venue_frames
from benchmarks.adapter_peers import Handle, ccxt_handler, cryptofeed_handler
from benchmarks.firehose import FRAMES
from benchmarks.timing import best_by_turns
from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent
from pricer.adapters.feed import Feed
from pricer.adapters.transports import TRANSPORTS, TransportName, transport_of
from pricer.clock import Instant, SystemClock
from pricer.errors import ConfigError

PACKAGES = ("msgspec", "ccxt", "cryptofeed", "websockets", "picows")
OURS, FLOOR = "volstream", "msgspec alone"


def ours(listed: list[dict[str, object]], now: Instant) -> tuple[Deribit, Handle]:
    """Our adapter with the same instruments known, in a session."""
    adapter = Deribit(None)
    adapter.opened(now)
    reply = {"jsonrpc": "2.0", "id": 1, "result": listed, "testnet": False}
    adapter.receive(msgspec.json.encode(reply), now)
    return adapter, lambda frame: adapter.receive(frame, now)


def run_through(handle: Handle, frames: list[bytes]) -> Callable[[], object]:
    def run() -> None:
        for frame in frames:
            handle(frame)

    return run


def compared(title: str, frames: list[bytes], handlers: dict[str, Handle], first: list[bytes], rounds: int) -> None:
    """Time every handler on `frames`, after `first` once; prints microseconds a frame and the ratio to ours."""
    calls = {name: run_through(handle, first + frames) for name, handle in handlers.items()}
    best = best_by_turns(calls, rounds)
    count = len(first) + len(frames)
    print(f"\n{title}: {len(frames)} frames, {sum(map(len, frames)) / len(frames):,.0f} bytes each")
    for name, seconds in best.items():
        ratio = seconds / best[OURS]
        print(f"  {name:<16} {seconds / count * 1e6:9.2f} us a frame   {ratio:6.2f} of ours")


def events_of(handle: Handle, frames: list[bytes]) -> int:
    """How many events our adapter makes of `frames`: a time for none would be no time."""
    made = [handle(frame) for frame in frames]
    return sum(len(each) for each in made if isinstance(each, list))


def costs(rounds: int) -> None:
    now = SystemClock().now()
    listed = venue_frames.instruments(now)
    _, mine = ours(listed, now)
    handlers: dict[str, Handle] = {OURS: mine, FLOOR: msgspec.json.decode}
    peers = {"ccxt": ccxt_handler, "cryptofeed": cryptofeed_handler}
    for name, make in peers.items():
        try:
            handlers[name] = make(listed)
        except ImportError:
            print(f"{name} is not installed: no comparison (extra: bench)")
    tickers = venue_frames.tickers(now, 500)
    print(f"a ticker gives {events_of(mine, tickers) / len(tickers):g} events of ours")
    compared("ticker", tickers, handlers, [], rounds)
    _, book = venue_frames.book(now, 500)
    if events_of(mine, book):
        print("\nbook: a snapshot, then linked changes; all rebuild the book each round")
        compared("book change", book[1:], handlers, book[:1], rounds)
    else:
        print("\nbook changes: our adapter makes no event of them, so nothing is compared")
    marks = venue_frames.marks(now, 5)
    print("\nbulk marks: ccxt has no handler for the channel and cryptofeed logs it as unknown, so neither is timed")
    print(f"a frame of 968 marks gives {events_of(mine, marks) / len(marks):g} events of ours")
    compared("bulk marks", marks, {name: handlers[name] for name in (OURS, FLOOR)}, [], rounds)


# Through a socket


@contextmanager
def firehose() -> Iterator[str]:
    """The URL of the pouring server, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.firehose"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield f"ws://127.0.0.1:{int(process.stdout.readline())}/"
    finally:
        process.stdin.close()
        process.wait(10)


async def sustained(url: str, name: TransportName) -> tuple[float, float]:
    """Frames and events a second, from the first frame to the last."""
    clock, seen, events_seen = SystemClock(), 0, 0
    start, over = 0.0, asyncio.Event()

    def deliver(events: list[AnyEvent], now: Instant) -> None:
        nonlocal events_seen
        events_seen += len(events)

    def frame(data: bytes | str, now: Instant) -> None:
        nonlocal seen, start
        seen += 1
        if seen == 1:
            start = time.perf_counter()
        elif seen == FRAMES:
            over.set()

    transport = transport_of(name)
    feed = Feed(
        Deribit(None), url, deliver=deliver, clock=clock, rng=random.Random(1), transport=transport, on_frame=frame
    )
    running = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(120):
            await over.wait()
        seconds = time.perf_counter() - start
    finally:
        await feed.close()
        await running
    return FRAMES / seconds, events_seen / seconds


def through_a_socket(times: int) -> None:
    print(f"\nthrough a loopback socket, {FRAMES:,} tickers poured by another process, best of {times}:")
    with firehose() as url:
        for name in TRANSPORTS:
            try:
                runs = [asyncio.run(sustained(url, name)) for _ in range(times)]
            except ConfigError as error:
                print(f"  {name:<16} {error}")
                continue
            frames, events = max(runs)
            print(f"  {name:<16} {frames:10,.0f} frames/s   {events:10,.0f} events/s")


def installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except ImportError:
        return f"no {package}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--no-sockets", action="store_true", help="leave out the loopback")
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(", ".join(map(installed, PACKAGES)))
    costs(options.rounds)
    if not options.no_sockets:
        through_a_socket(3)


if __name__ == "__main__":
    main()
