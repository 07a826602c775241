"""How long from a frame at the socket to a published snapshot: `python -m benchmarks.tick [--seconds 20]`.

The embedded market runs in a process of its own and streams its whole chain over a real loopback WebSocket; the pricer
takes it as any user would. Printed: the latency of live snapshots (from the socket read of the oldest frame in them to
their publication) and what the stages of one tick cost by themselves, beside vollib inverting the same quotes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

import pricer
from pricer.adapters import ADAPTERS
from pricer.clock import Instant, SystemClock
from pricer.conventions import NS_PER_YEAR
from pricer.engine import Engine
from pricer.snapshot import Snapshot


@contextmanager
def embedded_market(seed: int) -> Iterator[str]:
    """The URL of an embedded venue in a process of its own."""
    command = [sys.executable, "-m", "pricer.cli", "simulate", "--port", "0", "--seed", str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"ws://\S+", line):
                yield found.group()
                break
        else:
            raise SystemExit("the embedded market did not start")
    finally:
        process.terminate()
        process.wait()


async def live_latencies(url: str, seconds: float) -> tuple[NDArray[np.int64], int, int, Snapshot]:
    """Latencies (ns) after a warm-up, frames and snapshots a second, and the last snapshot."""
    async with pricer.live(url=url) as stream:
        deadline = time.monotonic() + 60
        async for snapshot in stream:
            if len(snapshot) and np.mean(snapshot.columns()["status"] == 0) > 0.9:
                break
            if time.monotonic() > deadline:
                raise SystemExit("the chain did not become OK within 60 s")
        await asyncio.sleep(3.0)
        before, frames = stream.latencies.count, stream.stats["frames"]
        await asyncio.sleep(seconds)
        count = stream.latencies.count - before
        latest = stream.latest
        assert latest is not None
        return (
            stream.latencies.values()[-count:],
            round((stream.stats["frames"] - frames) / seconds),
            round(count / seconds),
            latest,
        )


async def recorded_frames(url: str, seconds: float) -> list[tuple[bytes | str, Instant]]:
    """Frames of the same market with their instants, for timing the stages alone."""
    from pricer.adapters.feed import Feed  # beside its use: only this stage needs the socket

    frames: list[tuple[bytes | str, Instant]] = []
    feed = Feed(
        ADAPTERS["deribit"](("BTC",)),
        url,
        deliver=lambda events, now: None,
        clock=SystemClock(),
        rng=random.Random(0),
        on_frame=lambda frame, now: frames.append((frame, now)),
    )
    task = asyncio.create_task(feed.run())
    await asyncio.sleep(seconds)
    await feed.close()
    await task
    return frames


def stages(frames: list[tuple[bytes | str, Instant]]) -> dict[str, NDArray[np.float64]]:
    """Microseconds of decode, apply and price, frame by frame, on the second half of the frames."""
    adapter = ADAPTERS["deribit"](("BTC",))
    adapter.opened(frames[0][1])
    adapter.to_send(frames[0][1])
    engine = Engine()
    cost: dict[str, list[float]] = {"decode": [], "apply": [], "price one frame": []}
    for i, (frame, now) in enumerate(frames):
        started = time.perf_counter()
        events = adapter.receive(frame, now)
        decoded = time.perf_counter()
        for event in events:
            engine.apply(event)
        applied = time.perf_counter()
        if i < len(frames) // 2:
            if i % 200 == 0:
                engine.price(now)
            continue
        engine.price(now)
        priced = time.perf_counter()
        for name, span in zip(cost, (decoded - started, applied - decoded, priced - applied), strict=True):
            cost[name].append(span * 1e6)
    return {name: np.array(values) for name, values in cost.items()}


def inversion_ratio(snapshot: Snapshot) -> tuple[float, float]:
    """Seconds to invert every ask that holds a volatility: ours in one call, and vollib's scalar loop."""
    from vollib.black.implied_volatility import implied_volatility

    columns = snapshot.columns()
    forwards = {expiry_ns: forward.value for expiry_ns, forward in snapshot.forwards.items()}
    forward = np.array([forwards[expiry_ns] for expiry_ns in columns["expiry_ns"].tolist()])
    ttm = (columns["expiry_ns"] - snapshot.computed_ns) / NS_PER_YEAR
    premium, strike, cp = columns["ask"] * forward, columns["strike"], columns["cp"].astype(float)
    # vollib raises for the others, and so would end the comparison.
    good = pricer.implied_vol(premium, forward, strike, ttm, cp, status=True)[1] == 0
    premium, forward, strike, ttm, cp = (column[good] for column in (premium, forward, strike, ttm, cp))

    def ours() -> object:
        return pricer.implied_vol(premium, forward, strike, ttm, cp)

    def theirs() -> object:
        flags = ["c" if each > 0 else "p" for each in cp]
        return [
            implied_volatility(p, f, k, 0.0, t, flag)
            for p, f, k, t, flag in zip(premium, forward, strike, ttm, flags, strict=True)
        ]

    return best_of(ours, 20), best_of(theirs, 3)


def best_of(work: Callable[[], object], times: int) -> float:
    work()
    spans = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        spans.append(time.perf_counter() - started)
    return min(spans)


def show(name: str, values: NDArray[np.float64], unit: str) -> None:
    p50, p99, worst = np.percentile(values, [50, 99, 100])
    print(f"{name:<34} p50 {p50:8.2f}  p99 {p99:8.2f}  max {worst:8.2f} {unit}  ({len(values)} samples)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    pricer.warmup()
    with embedded_market(arguments.seed) as url:
        latencies, frames_a_second, snapshots_a_second, latest = asyncio.run(live_latencies(url, arguments.seconds))
        frames = asyncio.run(recorded_frames(url, 8.0))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{len(latest)} options, {frames_a_second} frames/s in, {snapshots_a_second} snapshots/s out\n")
    show("socket read to snapshot, live", latencies / 1e6, "ms")
    for name, values in stages(frames).items():
        show(name, values, "us")
    try:
        ours, theirs = inversion_ratio(latest)
    except ImportError:
        print("vollib is not installed: no comparison (extra: oracle)")
    else:
        print(
            f"{'all ask IVs, one call':<34} {ours * 1e6:8.1f} us, vollib {theirs * 1e6:.0f} us: 1/{theirs / ours:.0f}"
        )


if __name__ == "__main__":
    main()
