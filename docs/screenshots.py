"""Make docs/images/dashboard_*.png: every page of the dashboard over the embedded market, as people see it.

python -m docs.screenshots [--only chain --only smile]

Each page is taken on a laptop in both themes; the chain, an instrument, the smile and the alerts also on a phone of 360
pixels, the chain on a wall of 3,840. The alerts are those of a sidecar of its own, whose rules are such that they fire.
An expiry about to settle is left out, so that pictures look the same at any hour. Numbers that are late because the
machine is busy otherwise are waited out, a while.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import httpx
from PIL import Image
from playwright.async_api import TimeoutError as PlaywrightTimeout

from pricer.clock import SystemClock
from pricer.simulator.market import Market
from pricer.simulator.venues.deribit import DeribitServer
from tests.sidecar.browser import chromium

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
PAGES = ("chain", "smile", "term", "surface", "history", "instrument", "health", "alerts")
ON_A_PHONE = ("chain", "smile", "instrument", "alerts")
ON_A_WALL = ("chain",)
# What the embedded market passes at any time.
RULES = {
    "steep wing": "iv > 65% clear < 60% in BTC nearest 8 delta 0.02..0.5",
    "put skew": "rr25 < -5% clear > -4% in BTC",
    "off the venue": "abs(divergence) > 0.15% for 1s clear < 0.1% in BTC delta 0.1..0.9",
    "wide": "spread_iv > 10% for 1s clear < 6% in BTC nearest 6 delta 0.2..0.8",
    "old quote": "quote_age > 4s in BTC nearest 6",
    "long-dated": "atm_iv > 45% clear < 44% in BTC",
}
SEED = 7
SHORTEST_S = 6 * 3600.0
READY_S = 240
HISTORY_S = 45  # until lines through time have something to show
RAISED_S = 25  # until alerts have come and gone
SETTLED_S = 4
CURRENT_S = 20
IS_CURRENT = """() => !document.querySelector("header [data-status=STALE]")
  && (["health", "alerts"].includes(document.body.dataset.page)
    || !document.querySelector("#page").innerText.includes("◷"))"""
COLORS = 256  # a third of the bytes, and no difference to the eye


Pictures = dict[Path, bytes]  # PNG by where it is to lie


class Screen(NamedTuple):
    """What stands behind a file's name, and what the browser is told."""

    name: str
    width: int
    height: int
    scheme: Literal["dark", "light"]


LAPTOP = (Screen("dark", 1440, 900, "dark"), Screen("light", 1440, 900, "light"))
PHONE = Screen("phone", 360, 740, "dark")
WALL = Screen("4k", 3840, 2160, "dark")


def free_port() -> int:
    """One that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def demo(rules: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """The address of a sidecar that is ready, with alerts by these rules; it ends with the block."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    settings = {
        **os.environ,
        "VOLSTREAM_FEED__TRADES": "true",
        "VOLSTREAM_ALERTS__RULES": json.dumps(dict(rules or {})),
    }
    async with DeribitServer(Market(SEED, SystemClock().now().wall_ns, shortest_s=SHORTEST_S)) as market:
        command = ("serve", "--venue", "deribit", "--underlying", "BTC", "--url", market.url, "--port", str(port))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pricer.cli", *command), cwd=ROOT, env=settings, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await until_ready(address)
            yield address
        finally:
            process.terminate()
            await process.wait()


async def until_ready(address: str) -> None:
    """It compiles, connects and fits first."""
    async with httpx.AsyncClient(trust_env=False, base_url=address) as http, asyncio.timeout(READY_S):
        while True:
            try:
                if (await http.get("health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # it does not listen yet
            await asyncio.sleep(0.5)


async def at_the_money(address: str) -> str:
    """The name of a call near the money, some weeks away."""
    async with httpx.AsyncClient(trust_env=False, base_url=address) as http:
        chain = (await http.get("v1/chain/BTC")).json()
    expiry = chain["expiries"][min(6, len(chain["expiries"]) - 1)]
    columns = chain["columns"]
    calls = [
        (abs(strike - expiry["forward"]["value"]), name)
        for name, strike, cp, expiry_ns in zip(
            columns["name"], columns["strike"], columns["cp"], columns["expiry_ns"], strict=True
        )
        if cp > 0 and expiry_ns == expiry["expiry_ns"]
    ]
    return str(min(calls)[1])


def screens(page: str) -> tuple[Screen, ...]:
    """On which a page is taken."""
    return (*LAPTOP, *((PHONE,) if page in ON_A_PHONE else ()), *((WALL,) if page in ON_A_WALL else ()))


async def take(browser: Browser, address: str, page: str, screen: Screen, route: str, pictures: Pictures) -> None:
    """One picture."""
    context = await browser.new_context(
        viewport={"width": screen.width, "height": screen.height}, color_scheme=screen.scheme
    )
    shown = await context.new_page()
    await shown.goto(f"{address}#/{route}")
    await shown.wait_for_selector("body[data-connection=live]")
    await asyncio.sleep(SETTLED_S)
    try:
        await shown.wait_for_function(IS_CURRENT, timeout=CURRENT_S * 1e3)
    except PlaywrightTimeout:
        print(f"{page}_{screen.name}: some numbers are late", file=sys.stderr)
    if page == "instrument" and screen in LAPTOP:
        await explain(shown)
    if page == "chain" and screen in LAPTOP:
        await shown.hover(".line.atm .iv.call")  # the line below tells of it
        await asyncio.sleep(0.5)
    pictures[IMAGES / f"dashboard_{page}_{screen.name}.png"] = await shown.screenshot()
    await context.close()


async def explain(shown: Page) -> None:
    """Open the explanation."""
    await shown.get_by_text("How did these numbers come about?").click()
    await asyncio.sleep(1)


def save(png: bytes, target: Path) -> None:
    """The picture in 256 colours of its own. A surface has far more: those are dithered, lest it have bands."""
    with Image.open(io.BytesIO(png)) as picture:
        full = picture.convert("RGB")
    if "_surface_" in target.name:
        palette = full.quantize(COLORS, method=Image.Quantize.MEDIANCUT, kmeans=5)
        small = full.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    else:
        small = full.quantize(COLORS, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=Image.Dither.NONE)
    small.save(target, optimize=True)
    print(target.relative_to(ROOT))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PAGES, help="of these pages")
    wanted = parser.parse_args().only or PAGES
    pictures: Pictures = {}
    async with chromium() as browser:
        if quiet := [page for page in wanted if page != "alerts"]:
            async with demo() as address:
                await take_all(browser, address, quiet, pictures)
        if "alerts" in wanted:
            async with demo(RULES) as address:
                await asyncio.sleep(RAISED_S)
                await take_all(browser, address, ["alerts"], pictures)
    for target, png in pictures.items():  # not before: it takes long, and the market would stand still meanwhile
        save(png, target)


async def take_all(browser: Browser, address: str, pages: Iterable[str], pictures: Pictures) -> None:
    """The pictures of these pages."""
    name = await at_the_money(address)
    if {"history", "instrument"} & set(pages):
        await asyncio.sleep(HISTORY_S)
    for page in pages:
        route = f"instrument/{name}" if page == "instrument" else page
        for screen in screens(page):
            await take(browser, address, page, screen, route, pictures)


if __name__ == "__main__":
    asyncio.run(main())
