"""The live chain in a real browser: rows appear, move, and turn stale by the page's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pricer.clock import SystemClock
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Market, Source

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium on this machine")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def living(market: Market, source: Source) -> AsyncIterator[None]:
    """The market confirms its quotes all the time."""

    async def confirm() -> None:
        while True:
            market.confirm()
            source.publish(market.snapshot())
            await asyncio.sleep(0.1)

    task = asyncio.create_task(confirm())
    try:
        yield
    finally:
        task.cancel()


async def opened(browser: Browser, address: str, width: int = 1440) -> tuple[Page, list[str]]:
    """The page, and what its console complains about."""
    page = await browser.new_page(viewport={"width": width, "height": 800})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: requests.append(request.url))
    await page.goto(address)
    await page.wait_for_selector("tbody tr")
    assert all(url.startswith(address) for url in requests)
    return page, complaints


async def test_rows_appear_move_and_turn_stale_when_the_server_dies(
    browser: Browser, source: Source, market: Market
) -> None:
    expect = playwright.expect
    async with running(source) as address, living(market, source):
        page, complaints = await opened(browser, address)
        await expect(page.locator("#connection")).to_have_text("live")
        await expect(page.locator("tbody tr")).to_have_count(10)
        await expect(page.locator("tbody tr.atm th.strike")).to_have_text("100,000")
        await expect(page.locator("nav [aria-selected=true]")).to_have_count(1)
        first = page.locator("tbody tr").first
        await expect(first.locator("td.bid").last).to_have_text("–")  # a put without a bid: no value, not a zero
        assert await first.locator("td.status").last.get_attribute("title") == "DEGRADED · ONE_SIDED · EXTRAPOLATED"
        expiry = await page.locator("nav button").evaluate_all(
            "tabs => tabs.findIndex(tab => tab.ariaSelected === 'true')"
        )
        market.quote(expiry, 4, bid=0.4321)
        await expect(page.locator("tbody tr").nth(2).locator("td.bid").first).to_have_text("0.4321")
        await expect(page.locator("td.status.is-OK").first).to_be_visible()
        assert complaints == []
    await expect(page.locator("body")).to_have_attribute("data-connection", "lost")
    await expect(page.locator("td.status.is-OK")).to_have_count(0, timeout=4000)
    await expect(page.locator("td.status.is-STALE").first).to_have_text("◷")
    await expect(page.locator("#index")).to_have_attribute("data-status", "STALE")


async def test_a_phone_shows_the_chain_without_scrolling_sideways(browser: Browser, source: Source) -> None:
    async with running(source) as address:
        page, _ = await opened(browser, address, width=360)
        await playwright.expect(page.locator("tbody tr.atm")).to_be_in_viewport()
        assert await page.evaluate("document.querySelector('main').scrollWidth") <= 360
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_Z12_names_are_text_and_never_markup(browser: Browser) -> None:
    market = Market(SystemClock(), expiries=1, underlying="<img src=x onerror=alert(1)>")
    source = Source()
    source.publish(market.snapshot())
    async with running(source) as address:
        page, _ = await opened_after_choosing(browser, address)
        await page.locator("tbody tr td.bid").first.hover()
        await playwright.expect(page.locator("#detail")).to_contain_text("<img src=x onerror=alert(1)>")
        assert await page.locator("img[src=x]").count() == 0


async def opened_after_choosing(browser: Browser, address: str) -> tuple[Page, None]:
    """The configured BTC has no options here; the other underlying does."""
    page = await browser.new_page()
    await page.goto(address)
    option = page.locator("#underlying option", has_text="img")
    await option.wait_for(state="attached")
    await page.select_option("#underlying", await option.get_attribute("value"))
    await page.wait_for_selector("tbody tr")
    return page, None
