"""Frames a second of the dashboard's chain with 1,000 options that all move ten times a second, in a real Chromium.

python -m benchmarks.dashboard [--seconds 10] [--strikes 500]

One expiry of 500 strikes, a call and a put each; every model number changes with every message, and 40 quotes do.
Printed are the frames that the browser gave the page, the time between them, and the processor time of the page's one
thread as a share of the time gone by: all of it, scripts, styles, layout. That share divided by the frames is what a
frame costs: below 16.7 ms, a core of its own holds sixty. Chromium also draws in software here, on other threads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from typing import Any

import numpy as np

from pricer.clock import SystemClock
from tests.sidecar.browser import chromium, opened
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Market, Source

TICK_S = 0.1
COUNT = """seconds => new Promise(resolve => {
  const times = [];
  const end = performance.now() + seconds * 1000;
  const frame = now => {
    times.push(now);
    if (now < end) requestAnimationFrame(frame); else resolve(times);
  };
  requestAnimationFrame(frame);
})"""
SCROLL = """setInterval(() => {
  document.querySelector(".grid").scrollBy(0, Date.now() % 4000 < 2000 ? 17 : -17);
}, 16)"""
METRICS = ("TaskDuration", "ScriptDuration", "RecalcStyleDuration", "LayoutDuration")


async def live(market: Market, source: Source) -> None:
    """All model numbers move with the forward, and forty quotes come."""
    rng = np.random.default_rng(1)
    rows = len(market.blocks[0].definition)
    while True:
        await asyncio.sleep(TICK_S)
        market.confirm()
        market.move(float(rng.normal(0, 1e-4)))
        for row in rng.integers(0, rows, 40).tolist():
            market.quote(0, row, bid=float(rng.integers(1, 900)) / 1e4, ask=float(rng.integers(900, 1900)) / 1e4)
        source.publish(market.snapshot())


async def measure(seconds: float, strikes: int, scrolls: bool) -> dict[str, float]:
    """One run; `scrolls` moves the chain up and down all the time."""
    market, source = Market(SystemClock(), expiries=1, strikes=strikes), Source()
    source.publish(market.snapshot())
    async with running(source, min_interval_ms=100) as address, chromium() as browser:
        moving = asyncio.create_task(live(market, source))
        async with opened(browser, address) as watched:
            page = watched.page
            await page.wait_for_selector(".line.atm")
            await asyncio.sleep(2.0)
            session = await page.context.new_cdp_session(page)
            # Processor time, not time gone by: a busy machine makes frames late, but not this page's work more.
            await session.send("Performance.enable", {"timeDomain": "threadTicks"})
            if scrolls:
                await page.evaluate(SCROLL)
            before = await metrics(session)
            times = np.array(await page.evaluate(COUNT, seconds))
            after = await metrics(session)
        moving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await moving
    gaps = np.diff(times)
    share = {name: (after[name] - before[name]) / (times[-1] - times[0]) * 1e3 for name in METRICS}
    return {"fps": 1e3 / gaps.mean(), "median": float(np.median(gaps)), "p99": float(np.quantile(gaps, 0.99))} | share


async def metrics(session: Any) -> dict[str, float]:
    """Seconds of the page's thread so far."""
    answer = await session.send("Performance.getMetrics")
    return {each["name"]: each["value"] for each in answer["metrics"]}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--strikes", type=int, default=500)
    given = parser.parse_args()
    print(f"{2 * given.strikes} options, {given.seconds:g} s each; the thread's work as a share of the time")
    for scrolls in (False, True):
        found = await measure(given.seconds, given.strikes, scrolls)
        share = "  ".join(f"{name.removesuffix('Duration').lower()} {found[name]:.0%}" for name in METRICS)
        print(
            f"{'scrolling' if scrolls else 'at rest':<10} {found['fps']:5.1f} frames/s"
            f"  every {found['median']:.1f} ms, p99 {found['p99']:.1f} ms  {share}"
        )


if __name__ == "__main__":
    asyncio.run(main())
