"""A real headless Chromium, and pages that must stay silent and at home."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

CHROMIUM = Path("/usr/bin/chromium")
SLOW = 60_000  # a machine that is busy otherwise is late, not wrong
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's own, without any of its services."""
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        await browser.close()


@dataclass
class Watched:
    """A page with what its console complained about, and every address it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    @property
    def strangers(self) -> list[str]:
        """Requests that went beyond the page's own origin."""
        home = urlsplit(self.page.url).netloc
        return [address for address in self.addresses if urlsplit(address).netloc != home]


async def watch(context: BrowserContext) -> Watched:
    """A new page, listened to from its first moment."""
    page = await context.new_page()
    watched = Watched(page)
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("console", lambda said: watched.complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("request", lambda request: watched.addresses.append(request.url))
    page.on("websocket", lambda socket: watched.addresses.append(socket.url))
    return watched


@asynccontextmanager
async def opened(browser: Browser, address: str, **options: Any) -> AsyncIterator[Watched]:
    """The address in a browser without any memory; it complains about nothing and asks nobody else."""
    settings = {"viewport": {"width": 1440, "height": 900}, "reduced_motion": "no-preference"} | options
    context = await browser.new_context(**settings)
    try:
        context.set_default_timeout(SLOW)
        watched = await watch(context)
        await watched.page.goto(address)
        yield watched
        assert watched.strangers == []
    finally:
        await context.close()  # also of a test that failed: its page would be one more client for the next
