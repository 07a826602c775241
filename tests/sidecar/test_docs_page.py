"""The page /docs: whole, without an outside address, and its forms answer in a real browser."""

from __future__ import annotations

import re

import pytest

from pricer.sidecar.docs_page import docs_page
from pricer.sidecar.protocol import CODES, Subscribe
from tests.sidecar.browser import CHROMIUM, SLOW
from tests.sidecar.fitted import Fitted
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Source

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def test_every_path_parameter_message_and_code_is_on_the_page() -> None:
    document = Fitted().app.openapi()
    page = docs_page(document)
    for path, verbs in document["paths"].items():
        assert path.replace("/", "<wbr>/") in page
        for operation in verbs.values():
            assert all(f"<code>{each['name']}</code>" in page for each in operation.get("parameters", ()))
    assert all(f"<code>{code}</code>" in page for code in CODES)
    assert all(f"<code>{name}</code>" in page for name in Subscribe.model_fields if name != "op")
    for address in ("/schemas", "/asyncapi.json", "/volstream.proto", "/openapi.json"):
        assert f'<a href="{address}">' in page
    assert page.count('<p class="needs">Asks for a token with the scope <code>admin</code>.</p>') == 1
    assert "://" not in page
    assert not re.search(r"<script(?! type=\"module\" src=)|style=|\son\w+=", page)


def test_Z12_what_the_document_says_is_text_on_the_page() -> None:
    hostile = {
        "info": {"title": "<b>t</b>", "version": "<i>", "description": "<script>"},
        "paths": {
            '/<script>"': {
                "get": {
                    "tags": ['"><script>'],
                    "description": "<img src=x>",
                    "parameters": [{"name": '"><script>', "in": "path", "description": "`<script>`"}],
                    "responses": {"200": {"content": {"application/json": {"example": "</pre><script>"}}}},
                }
            }
        },
    }
    page = docs_page(hostile)
    assert "<script>" not in page
    assert "<img" not in page
    assert "<code>&lt;script&gt;</code>" in page


@pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium on this machine")
async def test_a_form_sends_and_shows_the_answer_to_the_last_digit() -> None:
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    fitted, source, said = Fitted(), Source(), []
    assert fitted.source.latest is not None
    source.publish(fitted.source.latest)
    async with running(source) as address, playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = await browser.new_page(viewport={"width": 360, "height": 740}, color_scheme="dark")
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.set_default_timeout(SLOW)
        await page.goto(address + "docs")
        schema = page.locator("form[data-path^='/schemas/'] input[name=name]")
        playwright.expect.set_options(timeout=SLOW)
        await playwright.expect(schema).to_have_value("chain-snapshot.json")
        article = page.locator("#instrument article").first
        await playwright.expect(article.locator("input[name=name]")).not_to_have_value("")
        await article.locator("details.try summary").click()
        await article.locator("form button").click()
        await article.locator("form pre").wait_for(state="visible")
        shown = await article.locator("form pre").inner_text()
        wide = await page.evaluate("document.documentElement.scrollWidth")
        await browser.close()
    assert said == []
    assert wide == 360
    assert f'"computed_ns": {fitted.source.latest.computed_ns}' in shown
    assert '"status": "OK"' in shown
