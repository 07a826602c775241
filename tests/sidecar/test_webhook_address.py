"""Where alerts may go: never inside by accident, never elsewhere than when the settings were read."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from pricer.errors import ConfigError, ConnectError
from pricer.sidecar import webhook_address as addresses
from pricer.sidecar.protocol import Subscribe, Unsubscribe
from pricer.sidecar.webhook_address import networks, webhook_address
from tests.sidecar.certificates import make
from tests.waiting import PATIENCE_S

LOOPBACK = networks(["127.0.0.0/8"])


class Receiver:
    """A small HTTP server; what it was sent."""

    def __init__(self, answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n") -> None:
        self.heard: list[bytes] = []
        self.port = 0
        self._answer = answer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        self.heard.append(head + await reader.readexactly(length))
        writer.write(self._answer)
        with suppress(ConnectionError):  # nobody waits for all of a long one
            await writer.drain()
        writer.close()

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()


def at(*addresses: str) -> object:
    return lambda host, port: addresses


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",  # the metadata service of most clouds
        "fd00:ec2::254",  # and its IPv6 form
        "100.100.100.200",
        "127.0.0.1",
        "127.255.0.9",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
    ],
)
async def test_Z09_addresses_inside_are_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="not allowed"):
        await webhook_address("https://hook.example/x", resolve=at(address))  # type: ignore[arg-type] # a lambda
    with pytest.raises(ConfigError, match="not allowed"):  # one among others is a way in
        await webhook_address("https://hook.example/x", resolve=at("8.8.8.8", address))  # type: ignore[arg-type] # same


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_Z09_this_machine_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(ConfigError, match=r"not allowed|no address"):
        await webhook_address(f"https://{host}/x")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hook.example/x",
        "file:///etc/passwd",
        "gopher://hook.example",
        "https://",
        "hook.example",
        "https://user:canary@hook.example/x",
        "https://hook.example:99999/x",
        "https://hook.example\\@127.0.0.1/",
        "https://hook.example/\r\nHost: 127.0.0.1",
        "https://[::1",
        "https://hook.example/" + "x" * 3000,
        "http://hook.example/canary",
    ],
)
async def test_Z09_what_is_no_plain_https_address_is_refused_without_its_path(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await webhook_address(url, resolve=at("8.8.8.8"))  # type: ignore[arg-type] # a lambda
    assert "canary" not in str(caught.value)


async def test_what_a_path_may_not_have_is_written_in_percent() -> None:
    async with Receiver().running() as receiver:
        hook = await webhook_address(f'http://127.0.0.1:{receiver.port}?a=%20"<b>"#c', LOOPBACK)
        assert await hook.post(b"{}") == 204
    assert receiver.heard[0].startswith(b"POST /?a=%20%22%3Cb%3E%22 HTTP/1.1\r\n")


async def test_Z09_the_name_is_looked_up_once_and_a_later_answer_changes_nothing() -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ("127.0.0.1",) if len(asked) == 1 else ("169.254.169.254",)

    async with Receiver().running() as receiver:
        hook = await webhook_address(f"http://hook.example:{receiver.port}/a?b=c", LOOPBACK, resolve=rebinding)
        assert [await hook.post(b'{"n":1}'), await hook.post(b'{"n":2}')] == [204, 204]
    assert asked == ["hook.example"]
    assert receiver.heard[0].startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert f"host: hook.example:{receiver.port}".encode() in receiver.heard[0].lower()
    assert receiver.heard[1].endswith(b'{"n":2}')


async def test_Z09_redirects_are_not_followed() -> None:
    async with Receiver().running() as inside:
        moved = f"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:{inside.port}/\r\nContent-Length: 0\r\n\r\n"
        async with Receiver(moved.encode()).running() as receiver:
            hook = await webhook_address(f"http://127.0.0.1:{receiver.port}/", LOOPBACK)
            assert await hook.post(b"{}") == 307
    assert inside.heard == []


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        # A client that would follow redirects fails of these even while it is told not to.
        (b"HTTP/1.1 302 Found\r\nLocation: http://xn--/\r\n\r\n", 302),
        (b"HTTP/1.1 302 Found\r\nLocation: mailto:x\r\n\r\n", 302),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\xff\x00\r\n\r\n", 302),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\nSet-Cookie: \xff; domain=..\r\n\r\n", 200),
        (b"HTTP/1.1 204 No Content\r\n" + b"x: y\r\n" * 50_000, 204),
        (b"HTTP/1.1 200\r\n\r\n" + bytes(1_000_000), 200),
        (b"HTTP/1.0 599 \xff\xfe\n\n", 599),
        (b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204),
        (b"HTTP/1.1 101 Switching\r\n\r\n", 101),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_Z09_of_an_answer_nothing_counts_but_its_status(answer: bytes, status: int) -> None:
    async with Receiver(answer).running() as receiver:
        hook = await webhook_address(f"http://127.0.0.1:{receiver.port}/", LOOPBACK)
        assert await hook.post(b"{}") == status


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 999999 X\r\n\r\n",
        b"HTTP/1.1 2",
        b"HTTP/2 200 OK\r\n\r\n",
        b"\x00" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000,
        b"HTTP/1.1 100 Continue\r\n" + b"x: y\r\n" * 100_000,
        b"HTTP/1.1 100 Continue\r\n",
    ],
    ids=lambda value: str(value)[:60],
)
async def test_Z09_what_is_no_answer_is_told_as_none(answer: bytes) -> None:
    async with Receiver(answer).running() as receiver:
        hook = await webhook_address(f"http://127.0.0.1:{receiver.port}/canary", LOOPBACK)
        with pytest.raises(ConnectError, match=r"no answer from the webhook at 127\.0\.0\.1: \w+$"):
            await hook.post(b"{}")


async def test_Z09_an_endpoint_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "TIMEOUT_S", 0.1)
    hung_up = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        hung_up.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hook = await webhook_address(f"http://127.0.0.1:{port}/", LOOPBACK)
    with pytest.raises(ConnectError, match="TimeoutError"):
        await hook.post(b"{}")
    async with asyncio.timeout(PATIENCE_S):
        await hung_up.wait()
    server.close()


async def test_Z09_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with Receiver().running() as receiver:
        hook = await webhook_address(f"http://127.0.0.1:{receiver.port}/", LOOPBACK)
        assert await hook.post(b"{}") == 204


async def test_Z09_the_certificate_must_be_the_names_though_the_address_is_pinned(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made = make(tmp_path_factory.mktemp("hook"))
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(made.cert, made.key)
    trust = ssl.create_default_context(cafile=made.authority)
    async with Receiver().running(own) as receiver:
        for host, named in (("localhost", True), ("other.example", False)):
            url = f"HTTPS://{host}:{receiver.port}/"
            hook = await webhook_address(url, LOOPBACK, resolve=at("127.0.0.1"))  # type: ignore[arg-type] # a lambda
            if named:
                assert await hook.post(b"{}", tls=trust) == 204
            else:
                with pytest.raises(ConnectError, match=r"other\.example: SSLCertVerificationError"):
                    await hook.post(b"{}", tls=trust)


async def test_I10_a_webhooks_path_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with Receiver().running() as receiver:
        hook = await webhook_address(f"http://127.0.0.1:{receiver.port}/canary", LOOPBACK)
        assert await hook.post(b"{}") == 204
    assert "canary" not in caplog.text
    hook = await webhook_address("https://hook.example/canary", resolve=at("8.8.8.8"))  # type: ignore[arg-type] # a lambda
    assert "canary" not in repr(hook)


def test_E09_a_network_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'10\.1\.0\.0/33'"):
        networks(["10.1.0.0/33"])


def test_Z09_no_message_of_a_client_can_carry_an_address() -> None:
    for request in (Subscribe, Unsubscribe):
        assert not [
            name for name in request.model_fields if any(word in name for word in ("url", "host", "proxy", "hook"))
        ]
