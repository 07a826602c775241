"""Frames a second in a real Chromium: the chain with 1,000 options that all move, and the surface while it turns.

python -m benchmarks.dashboard [--seconds 10] [--strikes 500] [--only surface]

One expiry of 500 strikes, a call and a put each; every model number changes ten times a second, and 40 quotes do. The
surface is of 12 expiries with their quotes, fitted anew each second, and is turned with every frame. Printed are the
frames that the browser gave the page, what a frame cost the page's one thread in processor time, the time between
frames, and that thread's work as a share of the time gone by: all of it, scripts, styles, layout. What a frame costs
does not depend on what else the machine does: below 16.7 ms, a core of its own holds sixty. Chromium also draws in
software here, on other threads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from pricer.clock import SystemClock
from pricer.conventions import NS_PER_DAY
from pricer.engine import Engine, EngineSettings
from tests.scene import START, Scene
from tests.sidecar.browser import chromium, opened
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Market, Source

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession

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
TURN = """() => {
  const view = document.querySelector(".view");
  const turn = () => {
    view.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", cancelable: true }));
    requestAnimationFrame(turn);
  };
  turn();
}"""
EXPIRY_DAYS = (1, 2, 3, 5, 7, 14, 21, 30, 60, 90, 180, 300)
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


async def fitted(source: Source) -> None:
    """A surface that is quoted and fitted anew each second."""
    clock = SystemClock()
    begun = (clock.now().wall_ns - START.wall_ns) / NS_PER_DAY
    scene = Scene(expiry_days=[begun + days for days in EXPIRY_DAYS], strikes=range(60_000, 160_000, 4_000))
    scene.clock = clock  # type: ignore[assignment]
    engine = Engine(EngineSettings(), clock=clock)
    for event in scene.listings():
        engine.apply(event)
    events = [scene.index(), scene.perpetual(), *scene.quotes()]
    while True:
        for event in events:
            now = clock.now()
            engine.apply(msgspec.structs.replace(event, received=now, exchange_ns=now.wall_ns))
        source.publish(engine.price(clock.now()))
        await asyncio.sleep(1.0)


class View(NamedTuple):
    """What is looked at, and what the reader does."""

    name: str
    size: tuple[int, int]
    page: str
    ready: str
    act: str | None = None


VIEWS = (
    View("chain at rest", (1440, 900), "chain", ".line.atm"),
    View("chain scrolling", (1440, 900), "chain", ".line.atm", SCROLL),
    View("surface turning", (1440, 900), "surface", "[data-chart=surface][data-state=live]", TURN),
    View("surface on a wall", (3840, 2160), "surface", "[data-chart=surface][data-state=live]", TURN),
)


async def measure(view: View, seconds: float, strikes: int) -> dict[str, float]:
    """One run."""
    source = Source()
    if view.page == "chain":
        market = Market(SystemClock(), expiries=1, strikes=strikes)
        source.publish(market.snapshot())
        moving = asyncio.create_task(live(market, source))
    else:
        moving = asyncio.create_task(fitted(source))
        while source.latest is None:  # noqa: ASYNC110 - once
            await asyncio.sleep(0.1)
    try:
        async with running(source, min_interval_ms=100) as address, chromium() as browser:
            return await watched(browser, f"{address}#/{view.page}", view, seconds)
    finally:
        moving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await moving


async def watched(browser: Browser, address: str, view: View, seconds: float) -> dict[str, float]:
    """The frames of a page, and what they cost."""
    width, height = view.size
    async with opened(browser, address, viewport={"width": width, "height": height}) as shown:
        page = shown.page
        await page.wait_for_selector(view.ready)
        await asyncio.sleep(2.0)
        session = await page.context.new_cdp_session(page)
        # Processor time, not time gone by: a busy machine makes frames late, but not this page's work more.
        await session.send("Performance.enable", {"timeDomain": "threadTicks"})
        if view.act:
            await page.evaluate(view.act)
        before = await metrics(session)
        times = np.array(await page.evaluate(COUNT, seconds))
        after = await metrics(session)
    gaps = np.diff(times)
    spent = {name: after[name] - before[name] for name in METRICS}
    share = {name: each / (times[-1] - times[0]) * 1e3 for name, each in spent.items()}
    of_frames = {"fps": 1e3 / gaps.mean(), "median": float(np.median(gaps)), "p99": float(np.quantile(gaps, 0.99))}
    return of_frames | {"cost": spent["TaskDuration"] / len(times) * 1e3} | share


async def metrics(session: CDPSession) -> dict[str, float]:
    """Seconds of the page's thread so far."""
    answer = await session.send("Performance.getMetrics")
    return {each["name"]: each["value"] for each in answer["metrics"]}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--strikes", type=int, default=500)
    parser.add_argument("--only", choices=sorted({view.page for view in VIEWS}), help="of this page")
    given = parser.parse_args()
    print(f"{2 * given.strikes} options, {given.seconds:g} s each; the thread's work as a share of the time")
    for view in VIEWS:
        if given.only in (None, view.page):
            show(view, await measure(view, given.seconds, given.strikes))


def show(view: View, found: dict[str, float]) -> None:
    """One line."""
    share = "  ".join(f"{name.removesuffix('Duration').lower()} {found[name]:.0%}" for name in METRICS)
    print(
        f"{view.name:<18} {found['fps']:5.1f} frames/s, {found['cost']:4.1f} ms each"
        f"  every {found['median']:.1f} ms, p99 {found['p99']:.1f} ms  {share}"
    )


if __name__ == "__main__":
    asyncio.run(main())
