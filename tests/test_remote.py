"""`volstream watch --url`: whom it asks, with what, and what it keeps to itself."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pricer.clock import SystemClock
from pricer.errors import ConfigError, ConnectError
from pricer.remote import SidecarChains, token_from
from tests.free_port import free_port
from tests.sidecar.secured import Ring, secured
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Market, Source
from tests.waiting import until


async def test_a_guarded_sidecar_is_asked_with_the_token_over_its_own_socket(tmp_path: Path) -> None:
    path, asked = tmp_path / "s", list[str]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        body = json.dumps({"underlyings": [{"underlying": "BTC"}, {"underlying": "ETH"}]}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    chains = SidecarChains("http://sidecar", token="a-secret", unix_socket=str(path))
    async with await asyncio.start_unix_server(answer, path):
        names = await asyncio.to_thread(chains._ask_for_underlyings)
    assert names == ("BTC", "ETH")
    assert "authorization: bearer a-secret" in asked[0].lower()


async def test_a_sidecar_that_is_gone_is_told_in_the_place_of_its_feeds_until_it_is_back() -> None:
    port, source = free_port(), Source()
    source.publish(Market(SystemClock(), expiries=1).snapshot())
    chains = SidecarChains(f"http://127.0.0.1:{port}", ["BTC"])

    def says(state: str) -> Callable[[], bool]:
        return lambda: (view := chains.latest("BTC")) is not None and view.feeds[0].state == state

    async with running(source, port=port):
        keeping = asyncio.create_task(chains.run())
        await until(says("live"))
    await until(says("sidecar lost"))
    view = chains.latest("BTC")
    assert view is not None
    assert [re.sub(r"\d", "0", feed.reason) for feed in view.feeds] == ["since 00:00:00 UTC"]
    async with running(source, port=port):
        await until(says("live"))
    keeping.cancel()


@pytest.mark.parametrize("underlyings", [(), ("BTC",)], ids=["all", "one"])
async def test_a_sidecar_that_asks_for_a_token_is_an_error_that_says_token(
    tmp_path: Path, underlyings: tuple[str, ...]
) -> None:
    ring = Ring(tmp_path / "tokens")
    ring.add("desk")
    async with secured(Source(), tokens_file=str(ring.path)) as address:
        with pytest.raises(ConnectError, match=r"asks for a token: give --token-file or VOLSTREAM_TOKEN$"):
            await SidecarChains(address, underlyings).run()
        with pytest.raises(ConnectError, match=r"does not accept the token of --token-file or VOLSTREAM_TOKEN$"):
            await SidecarChains(address, underlyings, token="wrong").run()


def test_I10_a_token_goes_to_this_machine_or_over_tls_and_nowhere_else() -> None:
    with pytest.raises(ConfigError, match="token") as caught:
        SidecarChains("http://example.com:8765", token="a-secret")
    assert "a-secret" not in str(caught.value)
    SidecarChains("https://example.com:8765", token="a-secret")
    SidecarChains("http://127.0.0.1:8765", token="a-secret")


def test_a_token_comes_from_a_file_or_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("of-the-file\n")
    assert token_from(str(file), {"VOLSTREAM_TOKEN": "of-the-environment"}) == "of-the-file"
    assert token_from(None, {"VOLSTREAM_TOKEN": "of-the-environment"}) == "of-the-environment"
    assert token_from(None, {}) is None


@pytest.mark.parametrize("content", [b"", b"two words", b"\xff\xfe", b"a\nb", None])
def test_I10_a_file_without_a_token_is_named_and_its_content_is_not(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"token file: .*token") as caught:
        token_from(str(file), {})
    assert "words" not in str(caught.value)
