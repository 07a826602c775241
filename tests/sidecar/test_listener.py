"""Where the sidecar listens: beyond loopback only with TLS and tokens, over TLS, or on a unix socket."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect as open_websocket
from websockets.asyncio.client import unix_connect

from pricer.config import ServerSection, Settings
from pricer.errors import ConfigError, ConnectError
from pricer.remote import SidecarChains
from pricer.sidecar import listener as listening
from pricer.sidecar.listener import address_of, bind, most_connections, release
from pricer.sidecar.tls import server_context
from tests.sidecar.certificates import Certificates, make
from tests.sidecar.secured import Ring, bearer, fetch, secured
from tests.sidecar.serving import subscribe
from tests.sidecar.snapshots import Source


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path / "tokens.toml")


def over_tls(certificates: Certificates, **more: Any) -> dict[str, Any]:
    return {"tls_cert": certificates.cert, "tls_key": certificates.key, **more}


def trusting(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificates.authority)


# What is refused before anything listens


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "sidecar.example"])
@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "neither TLS nor authentication"),
        ({"tls_cert": "c", "tls_key": "k"}, "no authentication"),
        ({"tokens_file": "t"}, "no TLS"),
        ({"token": "t" * 32}, "no TLS"),
        ({"unix_socket": "s", "tokens_file": "t"}, "no TLS"),
    ],
)
def test_Z01_beyond_loopback_both_tls_and_tokens_are_needed(host: str, given: dict[str, Any], missing: str) -> None:
    with pytest.raises(ConfigError, match=rf"server\.host: .*{missing}.*server\.tls_cert.*behind_proxy"):
        Settings.load(server={"host": host, **given})


@pytest.mark.parametrize(
    "given",
    [
        {"tls_cert": "c", "tls_key": "k", "tokens_file": "t"},
        {"tls_cert": "c", "tls_key": "k", "token": "t" * 32},
        {"tls_cert": "c", "tls_key": "k", "tls_client_ca": "a"},
        {"behind_proxy": True},
    ],
)
def test_Z01_with_both_or_behind_a_proxy_any_address_is_allowed(given: dict[str, Any]) -> None:
    assert Settings.load(server={"host": "0.0.0.0", **given}).server.host == "0.0.0.0"


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"tls_cert": "c"}, "server.tls_key"),
        ({"tls_cert": "c", "tokens_file": "t", "host": "0.0.0.0"}, "server.tls_key"),
        ({"tls_key": "k"}, "server.tls_key"),
        ({"tls_client_ca": "a"}, "server.tls_client_ca"),
        ({"tls_cert": "c", "tls_key": "k", "unix_socket": "s"}, "server.unix_socket"),
        ({"token_scopes": ["write"]}, "server.token_scopes"),
        ({"allowed_origins": ["desk.example"]}, "server.allowed_origins"),
        ({"allowed_origins": ["https://desk.example/path"]}, "server.allowed_origins"),
        ({"allowed_origins": ["*"]}, "server.allowed_origins"),
    ],
)
def test_E09_settings_that_do_not_go_together_are_refused(given: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError, match=path):
        Settings.load(server=given)


# TLS


async def test_Z20_numbers_and_streams_travel_over_tls(source: Source, certificates: Certificates, ring: Ring) -> None:
    right, trust = ring.add("bot"), trusting(certificates)
    async with secured(source, **over_tls(certificates, tokens_file=str(ring.path))) as address:
        assert address.startswith("https://127.0.0.1:")
        assert (await fetch(address, "v1/chain/BTC", tls=trust)).status_code == 401
        assert (await fetch(address, "v1/chain/BTC", tls=trust, **bearer(right))).status_code == 200
        stream = address.replace("https", "wss") + "v1/stream"
        async with open_websocket(stream, ssl=trust, proxy=None, additional_headers=bearer(right)) as websocket:
            assert (await subscribe(websocket))["type"] == "snapshot"
        with pytest.raises(httpx.RemoteProtocolError):
            await fetch(address.replace("https", "http"), "health/live")


async def test_Z20_older_tls_than_1_2_is_refused(source: Source, certificates: Certificates) -> None:
    context = server_context(ServerSection(**over_tls(certificates)))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    async with secured(source, **over_tls(certificates)) as address:
        for version, code in ((ssl.TLSVersion.TLSv1_2, 200), (ssl.TLSVersion.TLSv1_3, 200)):
            trust = trusting(certificates)
            trust.minimum_version = trust.maximum_version = version
            assert (await fetch(address, "health/live", tls=trust)).status_code == code
        old = trusting(certificates)
        old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match=r"TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(httpx.ConnectError):
            await fetch(address, "health/live", tls=old)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660])
def test_Z20_a_key_that_others_can_read_is_refused(certificates: Certificates, mode: int) -> None:
    os.chmod(certificates.key, mode)
    try:
        with pytest.raises(ConfigError, match=r"server\.tls_key: .* open to others: chmod 600"):
            server_context(ServerSection(**over_tls(certificates)))
    finally:
        os.chmod(certificates.key, 0o600)


def test_E09_a_certificate_that_is_none_is_named(certificates: Certificates, tmp_path: Path) -> None:
    (tmp_path / "empty").touch(mode=0o600)
    empty, nowhere = str(tmp_path / "empty"), str(tmp_path / "nowhere")
    for given, named in (
        ({"tls_cert": empty}, "server.tls_cert"),
        ({"tls_key": empty}, "server.tls_cert"),
        ({"tls_key": nowhere}, "server.tls_key"),
        ({"tls_key": certificates.client_key}, "server.tls_cert"),
        ({"tls_client_ca": empty}, "server.tls_client_ca"),
        ({"tls_client_ca": nowhere}, "server.tls_client_ca"),
    ):
        with pytest.raises(ConfigError, match=named):
            server_context(ServerSection(**over_tls(certificates) | given))


async def test_Z01_with_a_client_authority_only_its_certificates_come_in(
    source: Source, certificates: Certificates
) -> None:
    both = over_tls(certificates, tls_client_ca=certificates.authority)
    async with secured(source, **both) as address:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)):
            await fetch(address, "v1/underlyings", tls=trusting(certificates))
        known = trusting(certificates)
        known.load_cert_chain(certificates.client_cert, certificates.client_key)
        assert (await fetch(address, "v1/underlyings", tls=known)).status_code == 200
        body = {"sent_ns": 0, "nonce": "n" * 16}
        assert (await fetch(address, "v1/admin/reload", method="POST", tls=known, json=body)).status_code == 403


# The unix socket


async def test_V15_a_unix_socket_is_its_owners_and_goes_at_the_end(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "volstream.sock"
    async with secured(source, unix_socket=str(path)) as address:
        assert address == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with unix_connect(str(path), "ws://localhost/v1/stream") as websocket:
            assert (await subscribe(websocket))["type"] == "snapshot"
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/v1/underlyings")).status_code == 200
            assert (await client.get("/v1/underlyings", headers={"host": "evil.example"})).status_code == 403
    assert not path.exists()


def test_V15_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "volstream.sock"
    settings = ServerSection(unix_socket=str(path))
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert path.exists(), "what a killed sidecar leaves"
    first = bind(settings)
    with pytest.raises(ConfigError, match=rf"server\.unix_socket: another program listens on {path}"):
        bind(settings)
    release(settings)
    assert path.exists(), "somebody listens there"
    first.close()
    release(settings)
    assert not path.exists()


def test_V15_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "important.txt"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is no socket"):
        bind(ServerSection(unix_socket=str(path)))
    release(ServerSection(unix_socket=str(path)))
    assert path.read_text() == "mine"


@pytest.mark.parametrize("path", ["/nowhere/volstream.sock", "x" * 200, "/proc/volstream.sock"])
def test_V15_a_path_that_cannot_be_had_is_named(path: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.unix_socket: "):
        bind(ServerSection(unix_socket=path))


def test_V15_ipv6_alone_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def both(host: str, port: int, **more: Any) -> Any:
        taken = real("192.0.2.1", port, **more)  # an address that this machine does not have
        return [*taken, *real("127.0.0.1", port, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with bind(ServerSection(port=0)) as found:
        assert address_of(found).startswith("http://127.0.0.1:")
        assert address_of(found, secure=True).startswith("https://127.0.0.1:")


# Descriptors


def test_H04_connections_are_bounded_by_the_descriptors_there_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import resource

    limits = {"now": (256, 256)}
    monkeypatch.setattr(resource, "getrlimit", lambda what: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda what, pair: limits.update(now=pair))
    with caplog.at_level(logging.WARNING):
        assert most_connections(ServerSection(max_clients=200)) == 256 - listening.RESERVED_DESCRIPTORS
    assert "the limit of 256 file descriptors allows 192 connections of the 456 of" in caplog.text
    limits["now"] = (256, 4096)
    assert most_connections(ServerSection(max_clients=200)) == 456
    assert limits["now"][0] == 456 + listening.RESERVED_DESCRIPTORS, "raised, as far as it is needed"


# Who watches it


async def test_a_watcher_reaches_it_over_tls_with_a_token_and_by_its_socket(
    source: Source, certificates: Certificates, ring: Ring, tmp_path: Path
) -> None:
    right, path = ring.add("bot"), str(tmp_path / "volstream.sock")
    tokens = str(ring.path)
    async with secured(source, **over_tls(certificates, tokens_file=tokens)) as address:
        known = SidecarChains(address, token=right, ca_file=certificates.authority)
        assert await asyncio.to_thread(known._ask_for_underlyings) == ("BTC",)
        for other in (SidecarChains(address, ca_file=certificates.authority), SidecarChains(address, token=right)):
            with pytest.raises(ConnectError) as caught:
                await asyncio.to_thread(other._ask_for_underlyings)
            assert right not in str(caught.value)
    async with secured(source, unix_socket=path):
        near = SidecarChains("http://localhost", unix_socket=path)
        assert await asyncio.to_thread(near._ask_for_underlyings) == ("BTC",)
    assert right not in repr(known)
