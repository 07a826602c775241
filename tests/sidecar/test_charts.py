"""The charts in a real browser, over the embedded market: their numbers as text, their pixels as movement."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

import pricer
from pricer.clock import SystemClock
from pricer.sidecar.readiness import readiness
from pricer.sidecar.smile_points import smile_points
from pricer.simulator.venues.deribit import DeribitServer
from pricer.streaming import LiveStream
from tests.embedded_market import embedded_market
from tests.sidecar.browser import CHROMIUM, SLOW, chromium, opened
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Market, Source

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, WebSocketRoute

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
expect = playwright.expect
expect.set_options(timeout=SLOW)

# The market, the pricer, the sidecar and the browser are started once, and share the loop of this module.
pytestmark = [
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium on this machine"),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600),  # several steps, each with a minute's patience
]
shared = pytest_asyncio.fixture(loop_scope="module", scope="module")

CHARTS = {
    "smile": ("smile", "density"),
    "term": ("term", "variance"),
    "surface": ("surface",),
    "history": ("atm", "rr", "bf", "forward"),
}


@dataclass
class Live:
    """The embedded market, what is priced of it, and where that is served."""

    market: DeribitServer
    stream: LiveStream
    address: str

    def smile_of(self, expiry_ns: int) -> Any:
        latest = self.stream.latest
        assert latest is not None
        return latest.of("BTC").smiles[expiry_ns]

    def points_of(self, expiry_ns: int) -> Any:
        """What a smile says at this moment."""
        return smile_points(self.smile_of(expiry_ns))


@shared
async def live() -> AsyncIterator[Live]:
    await asyncio.to_thread(pricer.warmup)
    async with (
        embedded_market(3) as market,
        pricer.live("deribit", "BTC", market.url) as stream,
        running(stream, min_interval_ms=100) as address,
    ):
        async with asyncio.timeout(120):
            async for snapshot in stream:
                if readiness(snapshot, "deribit", ["BTC"]).ready:
                    break
        yield Live(market, stream, address)


@shared
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@contextlib.asynccontextmanager
async def charts(browser: Browser, address: str, name: str, state: str = "live", **more: Any) -> AsyncIterator[Page]:
    """A page of charts, all of them in a state; at the end nothing was complained about."""
    async with opened(browser, f"{address}#/{name}", **more) as watched:
        for chart in CHARTS[name]:
            await expect(panel(watched.page, chart)).to_have_attribute("data-state", state, timeout=SLOW)
        yield watched.page
        assert watched.complaints == []


def panel(page: Page, chart: str) -> Any:
    return page.locator(f"[data-chart={chart}]")


def field(page: Page, chart: str, name: str) -> Any:
    return panel(page, chart).locator(f"[data-field={name}]")


Figures = dict[str, float]


async def figures(page: Page, chart: str) -> Figures:
    """The read-out of one moment, without thousands, the sign's width and units; what is not known is left out."""
    fields = panel(page, chart).locator("[data-field]")
    texts = dict(await fields.evaluate_all("fields => fields.map(at => [at.dataset.field, at.innerText])"))
    found = {name: re.search(r"[-+]?[\d,]*\.?\d+", text.replace("−", "-")) for name, text in texts.items()}
    return {name: float(number.group().replace(",", "")) for name, number in found.items() if number}


async def reads(page: Page, chart: str, holds: Callable[[Figures], bool]) -> Figures:
    """Wait for a read-out of which something holds: the market moves, and a quote may be away for a moment."""
    seen: Figures = {}
    try:
        async with asyncio.timeout(SLOW / 1e3):
            while not holds(seen := await figures(page, chart)):  # noqa: ASYNC110 - the page tells nobody
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"{chart} reads {seen}")
    return seen


def near(name: str, value: float, within: float) -> Callable[[Figures], bool]:
    """Does a figure of a read-out stand, and so near?"""
    return lambda seen: name in seen and abs(seen[name] - value) <= within


async def pixels(page: Page, chart: str) -> str:
    """What the canvas looks like."""
    drawn: str = await panel(page, chart).locator("canvas").evaluate("canvas => canvas.toDataURL()")
    return drawn


async def changes(page: Page, chart: str, before: str) -> None:
    """Wait until the canvas looks otherwise."""
    canvas = await panel(page, chart).locator("canvas").element_handle()
    await page.wait_for_function(
        "([canvas, before]) => canvas.toDataURL() !== before", arg=[canvas, before], timeout=SLOW, polling=100
    )


# After what was asked for has been drawn.
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


async def chosen(page: Page) -> int:
    """The expiry of the tab that is selected, in order."""
    tabs = page.locator("#expiries [role=tab]")
    selected = await tabs.evaluate_all("tabs => tabs.findIndex(tab => tab.ariaSelected === 'true')")
    return int(selected)


async def test_a_smile_is_drawn_with_its_quotes_and_read_out_by_mouse_and_keys(browser: Browser, live: Live) -> None:
    async with charts(browser, live.address, "smile") as page:
        smile = panel(page, "smile")
        await changes(page, "smile", await pixels(page, "smile"))  # it lives
        await expect(smile.locator(".badge").first).to_contain_text("Fit")
        await expect(smile.locator(".badges")).to_contain_text("Butterfly: g ≥")
        assert live.stream.latest is not None
        block = live.stream.latest.of("BTC").blocks[await chosen(page)]
        strike = (await reads(page, "smile", lambda seen: "strike" in seen))["strike"]
        forward = live.smile_of(block.key.expiry_ns).smile.forward
        assert abs(strike / forward - 1) < 0.02  # nothing is pointed at: at the money

        def is_the_fit(seen: Figures) -> bool:
            """Of this moment: a page that is late is not held against an old smile."""
            fit = live.smile_of(block.key.expiry_ns).smile
            return {"strike", "fit"} <= seen.keys() and abs(seen["fit"] - 100 * fit.iv(seen["strike"])) <= 2.0

        await reads(page, "smile", is_the_fit)
        await reads(page, "smile", lambda seen: {"bid", "ask"} <= seen.keys() and seen["bid"] <= seen["ask"])
        await smile.locator(".plot").focus()
        await page.keyboard.press("ArrowRight")
        await reads(page, "smile", lambda seen: seen.get("strike", 0.0) > strike)
        await page.keyboard.press("Home")
        await reads(page, "smile", near("strike", block.definition.strike[0], 0.0))
        await page.keyboard.press("Escape")
        for axis in ("k", "delta", "strike"):
            before = await pixels(page, "smile")
            await smile.locator(f"[data-value={axis}]").click()
            await changes(page, "smile", before)
        await smile.locator(".u-over").hover(position={"x": 300, "y": 80})
        await expect(page.locator("#detail")).to_contain_text(re.compile(r"^BTC-\w+-\d+-P · "))
        await smile.locator(".u-over").click(position={"x": 300, "y": 80})
        await expect(page).to_have_url(re.compile("#/instrument/BTC-"))


async def test_a_density_adds_up_and_says_that_it_is_nowhere_negative(browser: Browser, live: Live) -> None:
    async with charts(browser, live.address, "smile") as page:
        await expect(panel(page, "density").locator(".badge")).to_have_text(re.compile("Nowhere negative"))
        await reads(page, "density", lambda seen: abs(seen.get("below", 0.0) + seen.get("above", 0.0) - 100.0) < 0.2)
        await panel(page, "density").locator(".plot").focus()
        await page.keyboard.press("End")
        await reads(page, "density", lambda seen: seen.get("below", 0.0) > 95.0 and seen.get("g", 0.0) > 0.0)
        assert live.stream.latest is not None
        block = live.stream.latest.of("BTC").blocks[await chosen(page)]
        highest = float(block.definition.strike[-1])  # the smile above shows it, and this is the same axis
        await reads(page, "density", lambda seen: seen.get("price", 0.0) > highest)


async def test_a_smile_with_butterfly_arbitrage_is_red_where_its_density_is_negative(
    browser: Browser, live: Live
) -> None:
    """A wing too steep at the money: w = 0.257 and w′ = -1.16 at k = 0, so g is about -0.4."""

    def spoil(message: str) -> str:
        body = json.loads(message)
        if body.get("channel") == "surface" and "columns" in body:
            rows = len(body.get("rows", body["columns"].get("a", [])))
            bad = {"a": 0.01, "b": 1.2, "rho": 0.0, "m": 0.2, "sigma": 0.05, "min_g": -0.4, "certified": 0}
            body["columns"] |= {name: [value] * rows for name, value in bad.items()}
            body.pop("crc32", None)
        return json.dumps(body)

    def between(route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        server.on_message(lambda message: route.send(spoil(str(message))))

    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(SLOW)
    page = await context.new_page()
    await page.route_web_socket(re.compile("/v1/stream"), between)
    await page.goto(f"{live.address}#/smile")
    await expect(panel(page, "density").locator(".badge")).to_have_text(re.compile("Negative somewhere"), timeout=SLOW)
    await expect(panel(page, "smile").locator(".badges")).to_contain_text("Not certified")
    red = """canvas => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      let found = 0;
      for (let i = 0; i < data.length; i += 4) {
        const [r, g, b] = data.slice(i, i + 3);
        found += r > 120 && g < r - 60 && b < r - 40;
      }
      return found;
    }"""
    async with asyncio.timeout(SLOW / 1e3):
        while await panel(page, "density").locator("canvas").evaluate(red) <= 20:  # noqa: ASYNC110 - drawn in a moment
            await asyncio.sleep(0.05)
    await context.close()


async def test_the_term_structure_and_all_variances_are_those_of_the_surface(browser: Browser, live: Live) -> None:
    async with charts(browser, live.address, "term") as page:
        await expect(panel(page, "variance").locator(".badges")).to_contain_text("Certified free of arbitrage")
        await expect(panel(page, "variance").locator(".badges")).to_contain_text("No lines cross")
        await panel(page, "term").locator(".plot").focus()
        await page.keyboard.press("End")
        assert live.stream.latest is not None
        last = live.stream.latest.of("BTC").blocks[-1].key.expiry_ns
        await reads(page, "term", lambda seen: near("atm", 100 * live.points_of(last).atm_iv, 1.0)(seen))
        await reads(page, "term", lambda seen: near("rr", 100 * live.points_of(last).rr25, 1.0)(seen))
        await reads(page, "term", lambda seen: seen.get("forward", 0.0) > 0.0)
        before = await pixels(page, "variance")
        await panel(page, "variance").locator("[data-value=linear]").click()
        await changes(page, "variance", before)
        await panel(page, "variance").locator(".plot").focus()
        await page.keyboard.press("End")
        await reads(page, "variance", lambda seen: near("iv", 100 * live.points_of(last).atm_iv, 1.0)(seen))
        await page.keyboard.press("Enter")
        await expect(page.locator("[data-chart=smile]")).to_be_visible()
        await expect(page.locator("#expiries [role=tab]").last).to_have_attribute("aria-selected", "true")


async def test_the_surface_turns_by_mouse_wheel_and_keys_and_comes_back(browser: Browser, live: Live) -> None:
    async with charts(browser, live.address, "surface") as page:
        view, badges = panel(page, "surface").locator(".view"), panel(page, "surface").locator(".badges")
        await expect(panel(page, "surface").locator(".badges")).to_contain_text(
            re.compile(r"\d+ expiries · [1-9]\d+ quotes")
        )
        box = await view.bounding_box()
        assert box is not None
        middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        before = await pixels(page, "surface")
        await page.mouse.move(*middle)
        await page.mouse.down()
        await page.mouse.move(middle[0] + 150, middle[1] + 20, steps=4)
        await page.mouse.up()
        await changes(page, "surface", before)
        for key in ("ArrowLeft", "ArrowUp", "+", "0"):
            before = await pixels(page, "surface")
            await view.focus()
            await page.keyboard.press(key)
            await changes(page, "surface", before)
        before = await pixels(page, "surface")
        await page.mouse.wheel(0, -300)
        await changes(page, "surface", before)
        await panel(page, "surface").locator("button", has_text="Reset view").click()
        await panel(page, "surface").locator("[data-value=strike]").click()
        await panel(page, "surface").locator("[data-value=off]").click()
        await expect(badges).to_contain_text(" 0 quotes")
        await reads(page, "surface", lambda seen: seen.get("atm", 0.0) > 10.0)


async def test_a_quote_on_the_surface_is_pointed_at(browser: Browser, live: Live) -> None:
    async with charts(browser, live.address, "surface") as page:
        box = await panel(page, "surface").locator(".view").bounding_box()
        assert box is not None
        strike, name = field(page, "surface", "strike"), ""
        seen: Figures = {}
        async with asyncio.timeout(SLOW / 1e3):
            while not (re.fullmatch(r"[\d,]+ (call|put)", name) and {"mid", "fit"} <= seen.keys()):
                for share in range(30, 80, 2):  # across the middle, until a dot is met
                    await page.mouse.move(box["x"] + box["width"] * share / 100, box["y"] + box["height"] * 0.62)
                    await page.evaluate(DRAWN)
                    name, seen = await strike.inner_text(), await figures(page, "surface")
                    if name != "–":
                        break
        assert abs(seen["mid"] - seen["fit"]) < 15.0


def is_before(time: str, other: str) -> bool:
    """Of two times of the day that lie close together, midnight between them or not."""
    first, second = (datetime.strptime(text, "%H:%M:%S").replace(tzinfo=UTC) for text in (time, other))
    return timedelta(0) < (second - first) % timedelta(days=1) < timedelta(hours=12)


async def test_history_begins_with_the_memory_and_goes_on_with_the_stream(browser: Browser, live: Live) -> None:
    async with charts(browser, live.address, "history") as page:
        assert live.stream.latest is not None
        expiry = live.stream.latest.of("BTC").blocks[await chosen(page)].key.expiry_ns
        await reads(page, "atm", lambda seen: near("value", 100 * live.points_of(expiry).atm_iv, 2.0)(seen))
        await reads(page, "rr", lambda seen: near("value", 100 * live.points_of(expiry).rr25, 2.0)(seen))
        await reads(page, "bf", lambda seen: near("value", 100 * live.points_of(expiry).bf25, 2.0)(seen))
        time = field(page, "atm", "time")
        newest, before = await time.inner_text(), await pixels(page, "atm")
        await expect(time).not_to_have_text(newest, timeout=SLOW)  # a second later
        await changes(page, "atm", before)
        await panel(page, "forward").locator(".plot").focus()
        await page.keyboard.press("Home")
        async with asyncio.timeout(SLOW / 1e3):
            while not is_before(await time.inner_text(), newest):  # noqa: ASYNC110 - one cursor for all charts
                await asyncio.sleep(0.05)
        await page.keyboard.press("Escape")
        before = await pixels(page, "rr")
        await panel(page, "atm").locator("[data-value=all]").click()
        await expect(panel(page, "atm")).to_have_attribute("data-state", "live")
        await changes(page, "rr", before)


@pytest.mark.parametrize("name", CHARTS)
async def test_a_phone_shows_each_chart_without_scrolling_sideways(browser: Browser, live: Live, name: str) -> None:
    phone: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "color_scheme": "light", "has_touch": True}
    async with charts(browser, live.address, name, **phone) as page:
        wide = "s => document.querySelector(s).scrollWidth - document.querySelector(s).clientWidth"
        assert await page.evaluate(wide, ".charts") <= 0
        assert await page.evaluate(wide, "html") <= 0
        for chart in CHARTS[name]:
            box = await panel(page, chart).locator("canvas").bounding_box()
            assert box is not None
            assert box["width"] > 250
            assert box["height"] > 60


async def test_pages_without_any_smile_say_so(browser: Browser) -> None:
    source, market = Source(), Market(SystemClock())

    async def confirm() -> None:
        while True:
            market.confirm()
            source.publish(market.snapshot())
            await asyncio.sleep(0.2)

    task = asyncio.create_task(confirm())
    async with running(source) as address:
        async with charts(browser, address, "term", state="empty") as page:
            await expect(panel(page, "term").locator(".note")).to_have_text("No smile is known yet.")
        async with charts(browser, address, "surface", state="empty") as page:
            await expect(panel(page, "surface").locator(".note")).to_have_text(re.compile("not yet smiles enough"))
        async with opened(browser, f"{address}#/smile") as watched:
            page = watched.page
            await expect(panel(page, "smile")).to_have_attribute("data-state", "partial")  # quotes there are
            await expect(panel(page, "smile").locator(".note")).to_have_text(re.compile("There is no smile"))
            await reads(page, "smile", lambda seen: seen.get("bid", 0.0) > 0.0)
            assert watched.complaints == []
    task.cancel()


async def test_a_market_that_falls_silent_turns_every_chart_grey_and_says_so(
    browser: Browser, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with charts(browser, live.address, "smile") as page:
        # For this test alone: others share the market, and may come after it.
        monkeypatch.setattr(live.market.faults, "refuse_connections", True)
        live.market.faults.drop_connections()
        await expect(panel(page, "smile")).to_have_attribute("data-state", "stale", timeout=SLOW)
        await expect(panel(page, "smile").locator(".note")).to_have_text(re.compile("The smile is STALE"))
        await expect(panel(page, "smile").locator(".badge").first).to_contain_text("STALE")
        await expect(panel(page, "density")).to_have_attribute("data-state", "stale")
    for name in ("term", "surface", "history"):
        async with charts(browser, live.address, name, state="stale") as page:
            for chart in CHARTS[name]:
                await expect(panel(page, chart).locator(".note")).to_have_text(re.compile("STALE"))
