"""The way to the venue: addresses, proxies, TLS; with both transports where a transport has a say."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import inspect
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pricer.adapters.feed import Feed
from pricer.adapters.limits import FeedLimits
from pricer.adapters.network import Network, Proxy, proxy_from_environment, target_of
from pricer.adapters.resolver import MOST_LOOKUPS, Address, Resolver, taking_turns
from pricer.adapters.transport import ConnectionLost
from pricer.adapters.transports import transport_of
from pricer.adapters.websockets_transport import WebSocketTransport
from pricer.errors import ConfigError
from tests.adapters.loopback import QUICK, SmallVenue, Watch
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")

NAME = "venue.example"


def at(*hosts: str, port: int) -> list[Address]:
    """IPv4 addresses as a resolver gives them."""
    return [Address(socket.AF_INET, (host, port)) for host in hosts]


# Addresses


async def test_T10_every_reconnect_resolves_anew_and_follows_a_changed_address(watch: Watch) -> None:
    asked: list[str] = []
    first, second = SmallVenue(), SmallVenue()
    async with first.running(), second.running():
        ports = [first.port, first.port, second.port]

        def lookup(host: str, port: int) -> list[Address]:
            asked.append(host)
            return at("127.0.0.1", port=ports[min(len(asked), len(ports)) - 1])

        network = Network(QUICK, resolver=Resolver(lookup), proxy="")
        async with watch(f"ws://{NAME}/ws", network=network).running() as watched:
            for connections in (first.connections, first.connections, second.connections):
                before = len(connections)
                await until(lambda connections=connections, before=before: len(connections) > before)  # type: ignore[misc]
                await until(lambda: watched.feed.counters["connections"] == len(asked))
                connections[-1].transport.abort()
    assert asked[:3] == [NAME] * 3


async def test_T10_all_addresses_are_tried_and_one_that_refuses_costs_nothing(watch: Watch) -> None:
    venue = SmallVenue()
    async with venue.running():

        def lookup(host: str, port: int) -> list[Address]:
            nobody = Address(socket.AF_INET6, ("::1", venue.port, 0, 0))  # the venue listens on IPv4 alone
            return [*at("127.0.0.2", port=1), nobody, *at("127.0.0.1", port=venue.port)]

        network = Network(QUICK, resolver=Resolver(lookup), proxy="")
        async with watch(f"ws://{NAME}/ws", network=network).running() as watched:
            await until(lambda: watched.count("live") == 1)
            assert watched.feed.counters["attempts"] == 1


async def test_T10_a_resolver_that_hangs_is_given_up_off_the_loop_and_holds_few_threads(watch: Watch) -> None:
    release = threading.Event()

    def lookup(host: str, port: int) -> list[Address]:
        release.wait(20)
        return []

    limits = FeedLimits(dns_timeout_s=0.1, backoff_first_s=0.01, backoff_cap_s=0.02)
    network = Network(limits, resolver=Resolver(lookup), proxy="")
    stalls = []
    try:
        async with watch(f"ws://{NAME}/ws", network=network, limits=limits).running() as watched:
            while watched.count("closed") < 5:
                before = time.perf_counter()
                await asyncio.sleep(0.001)
                stalls.append(time.perf_counter() - before)
            assert {loss.reason for loss in watched.losses} == {"dns"}
            threads = [thread for thread in threading.enumerate() if thread.name == "volstream-dns"]
            assert len(threads) == 1, "asking again joins the look-up that hangs"
    finally:
        release.set()
    assert sorted(stalls)[len(stalls) // 2] < limits.dns_timeout_s / 2, "the loop went on turning"


async def test_T10_look_ups_that_hang_are_bounded_in_number() -> None:
    release = threading.Event()

    def lookup(host: str, port: int) -> list[Address]:
        release.wait(20)
        return []

    resolver = Resolver(lookup)
    try:
        for number in range(MOST_LOOKUPS):
            with pytest.raises(ConnectionLost, match="no answer within"):
                await resolver.resolve(f"{number}.example", 443, 0.01)
        with pytest.raises(ConnectionLost, match="still hang"):
            await resolver.resolve("one.more.example", 443, 0.01)
    finally:
        release.set()


def test_T10_the_default_patience_is_five_seconds() -> None:
    assert FeedLimits().dns_timeout_s == 5.0
    assert FeedLimits().open_timeout_s == 10.0


def test_addresses_of_both_families_take_turns() -> None:
    four = [Address(socket.AF_INET, (name,)) for name in "abc"]
    six = [Address(socket.AF_INET6, (name,)) for name in "xy"]
    assert [each.where[0] for each in taking_turns([*six, *four])] == ["x", "a", "y", "b", "c"]


# Proxies


class FakeProxy:
    """Answers CONNECT with `answer`, or, without one, leads on."""

    def __init__(self, answer: bytes | None, *, hang: bool = False) -> None:
        self.answer = answer
        self.hang = hang
        self.asked: list[bytes] = []
        self.port = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[FakeProxy]:
        server = await asyncio.start_server(self._handle, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
        await asyncio.sleep(0.01)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head)
            if self.hang:
                await reader.read()
            elif self.answer is not None:
                writer.write(self.answer)
                await writer.drain()
            else:
                await self._lead_on(head, reader, writer)
        writer.close()

    async def _lead_on(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = head.split()[1].decode().rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pump(source: asyncio.StreamReader, drain: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                drain.write(data)
            drain.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


async def test_a_proxy_leads_to_the_venue_with_credentials_and_in_tls(watch: Watch, certificates: Path) -> None:
    venue, proxy = SmallVenue(), FakeProxy(None)
    async with venue.running(server_context(certificates, "good")), proxy.running():
        network = Network(
            QUICK, ca_file=certificates / "ca.pem", proxy=f"http://us%40er:se:cret@127.0.0.1:{proxy.port}"
        )
        async with watch(venue.url.replace("ws:", "wss:", 1), network=network).running() as watched:
            await until(lambda: watched.count("live") == 1)
    authority = f"127.0.0.1:{venue.port}".encode()
    assert proxy.asked[0].startswith(b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"us@er:se:cret") in proxy.asked[0]


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "proxy_auth"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "proxy_refused"),
        (b"garbage\x1b[31m\r\n\r\n", "proxy_refused"),
        (b"HTTP/1.1 200", "proxy_refused"),
        (b"", "proxy_refused"),
        (b"x" * 40_000, "proxy_refused"),
    ],
)
async def test_T12_a_proxy_that_refuses_is_told_and_never_gone_around(watch: Watch, answer: bytes, word: str) -> None:
    venue, proxy = SmallVenue(), FakeProxy(answer)
    async with venue.running(), proxy.running():
        network = Network(QUICK, proxy=f"http://someone:canary-1f@127.0.0.1:{proxy.port}")
        async with watch(venue.url, network=network).running() as watched:
            await until(lambda: watched.count("closed") >= 2)
            assert {loss.reason for loss in watched.losses} == {word}
            shown = repr([*watched.events, network.proxy_for(target_of(venue.url)), watched.feed.last_loss])
            assert "canary" not in shown
    assert venue.connections == []


async def test_T12_a_proxy_that_hangs_is_given_up_in_bounded_time(watch: Watch) -> None:
    venue, proxy = SmallVenue(), FakeProxy(None, hang=True)
    limits = FeedLimits(open_timeout_s=0.15, backoff_first_s=0.05)
    async with venue.running(), proxy.running():
        network = Network(limits, proxy=f"http://127.0.0.1:{proxy.port}")
        async with watch(venue.url, network=network, limits=limits).running() as watched:
            await until(lambda: watched.count("closed") >= 1)
            assert watched.losses[0].reason in ("proxy_timeout", "timeout")
    assert venue.connections == []


async def test_T12_a_proxy_that_is_not_there_is_told_as_such(watch: Watch) -> None:
    network = Network(QUICK, proxy="http://127.0.0.1:1")
    venue = SmallVenue()
    async with venue.running(), watch(venue.url, network=network).running() as watched:
        await until(lambda: watched.count("closed") >= 1)
        assert watched.losses[0].reason == "proxy_unreachable"
    assert venue.connections == []


def test_the_environment_names_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    secure, plain = target_of("wss://venue.example/ws"), target_of("ws://venue.example/ws")
    assert proxy_from_environment(secure) is None
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert repr(proxy_from_environment(secure)) == "Proxy('http://proxy.example:3128')"
    assert proxy_from_environment(plain) is None
    assert proxy_from_environment(target_of("wss://127.0.0.1/ws")) is None, "nothing else could reach that"
    monkeypatch.setenv("no_proxy", "venue.example")
    assert proxy_from_environment(secure) is None
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", "socks5://us:canary@proxy.example")
    with pytest.raises(ConfigError, match=r"'socks5://proxy\.example' is not of the form") as refused:
        proxy_from_environment(secure)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["proxy:3128", "https://proxy", "http://", "http://proxy/path", "http://u:canary@p:port"]
)
def test_T12_an_impossible_proxy_is_refused_without_its_credentials(url: str) -> None:
    with pytest.raises(ConfigError, match="proxy") as refused:
        Proxy(url)
    assert "canary" not in str(refused.value)


# TLS


def server_context(folder: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


async def test_L01_a_certificate_of_the_given_authority_is_accepted(watch: Watch, certificates: Path) -> None:
    venue = SmallVenue()
    network = Network(QUICK, ca_file=certificates / "ca.pem")
    async with venue.running(server_context(certificates, "good")):
        url = venue.url.replace("ws:", "wss:", 1)
        async with watch(url, network=network).running() as watched:
            await until(lambda: watched.count("live") == 1)


@pytest.mark.parametrize("name", ["other", "expired", "self"])
@pytest.mark.parametrize("own_authority", [True, False])
async def test_L01_a_wrong_certificate_is_refused(
    watch: Watch, certificates: Path, name: str, own_authority: bool
) -> None:
    venue = SmallVenue()
    network = Network(QUICK, ca_file=certificates / "ca.pem" if own_authority else None)
    async with venue.running(server_context(certificates, name)):
        url = venue.url.replace("ws:", "wss:", 1)
        async with watch(url, network=network).running() as watched:
            await until(lambda: watched.count("closed") >= 1)
            assert watched.losses[0].reason == "tls"
            assert watched.feed.counters["connections"] == 0
    assert venue.asked == []


def test_L01_nothing_in_the_public_list_switches_verification_off() -> None:
    for thing in (WebSocketTransport, Feed, FeedLimits, Network, transport_of):
        for name in inspect.signature(thing).parameters:
            assert not any(word in name for word in ("verify", "insecure", "check", "ssl"))


@pytest.mark.parametrize("content", [None, b"no certificate\n"])
def test_a_ca_file_that_is_none_is_refused_at_once(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=r"ca_file: .*ca\.pem"):
        Network(ca_file=tmp_path / "ca.pem")


async def test_L02_a_handshake_that_stalls_is_bounded_and_retried(watch: Watch) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    limits = FeedLimits(open_timeout_s=0.15, backoff_first_s=0.02)
    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
    async with server, watch(url, limits=limits).running() as watched:
        await until(lambda: watched.count("closed") >= 2)
        assert {loss.reason for loss in watched.losses} == {"timeout"}
        assert watched.feed.counters["closed.timeout"] >= 2


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_L03_an_old_version_is_refused(watch: Watch, certificates: Path) -> None:
    context = server_context(certificates, "good")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    venue = SmallVenue()
    network = Network(QUICK, ca_file=certificates / "ca.pem")
    async with (
        venue.running(context),
        watch(f"wss://127.0.0.1:{venue.port}", network=network).running() as watched,
    ):
        await until(lambda: watched.count("closed") >= 1)
        assert watched.losses[0].reason in ("tls", "reset", "eof")
        assert watched.feed.counters["connections"] == 0
    assert network.tls().minimum_version is ssl.TLSVersion.TLSv1_2


async def test_L04_a_frame_that_the_end_of_the_stream_cuts_is_discarded(watch: Watch, certificates: Path) -> None:
    async def cut(connection: object) -> None:
        await asyncio.sleep(0.02)
        transport = venue.connections[-1].transport
        transport.write(b'\x81\x7e\x01\x00{"jsonrpc":"2.0","method":"heartbeat"')  # 256 bytes announced
        await asyncio.sleep(0.02)
        transport.abort()

    venue = SmallVenue(cut)
    taken: list[bytes | str] = []
    network = Network(QUICK, ca_file=certificates / "ca.pem")
    async with venue.running(server_context(certificates, "good")):
        url = venue.url.replace("ws:", "wss:", 1)
        async with watch(url, network=network, on_frame=lambda data, now: taken.append(data)).running() as watched:
            await until(lambda: watched.count("open") >= 2)
            assert watched.losses[0].reason in ("eof", "reset")
    assert all(bytes(data).endswith(b"}") for data in taken if isinstance(data, bytes))
    assert watched.adapter.counters["bad_frame"] == 0
