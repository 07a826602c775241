"""Before the handshake of TLS: who connects is counted as without it, and what comes along with it is not lost."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from pricer.sidecar import app
from pricer.sidecar.admission import Admission
from tests.sidecar.certificates import Certificates, make
from tests.sidecar.secured import fetch
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Source
from tests.sidecar.test_transport import GET, dialled, read_to_end, status_of
from tests.waiting import PATIENCE_S, until


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def over_tls(made: Certificates) -> dict[str, Any]:
    return {"tls_cert": made.cert, "tls_key": made.key}


@pytest.fixture
def trust(made: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=made.authority)


@pytest.fixture
def admissions(monkeypatch: pytest.MonkeyPatch) -> list[Admission]:
    """Of the sidecars that a test runs."""
    out: list[Admission] = []

    class Seen(Admission):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            out.append(self)

    monkeypatch.setattr(app, "Admission", Seen)
    return out


@pytest.mark.parametrize(("most", "of_one", "why"), [(8, 1000, "total"), (1000, 8, "address")])
async def test_V03_who_does_not_even_shake_hands_is_counted(
    source: Source,
    over_tls: dict[str, Any],
    trust: ssl.SSLContext,
    admissions: list[Admission],
    most: int,
    of_one: int,
    why: str,
) -> None:
    limits = {"max_http_connections": most, "max_clients_per_address": of_one}
    async with running(source, **over_tls, **limits) as address:
        (admission,) = admissions
        async with AsyncExitStack() as silent:
            for _ in range(20):
                await silent.enter_async_context(dialled(address))
            await until(lambda: admission.refused[why] == 12)
            assert admission.http.count <= 8
        await until(lambda: not admission.http.count)
        assert (await fetch(address, "health/live", tls=trust)).status_code == 200
        assert admission.refused == Counter({why: 12})


async def test_V04_a_handshake_that_does_not_come_ends_and_gives_its_place_back(
    source: Source, over_tls: dict[str, Any], admissions: list[Admission]
) -> None:
    async with running(source, **over_tls, handshake_timeout_s=0.3) as address:
        for start in (b"", b"\x16\x03\x01\x02\x00\x01\x00", GET):
            async with dialled(address, start) as raw:
                assert status_of(await read_to_end(raw)) == 0
        await until(lambda: not admissions[0].http.count)


def said_at_once(trust: ssl.SSLContext, hears: list[bytes], says: bytes, *, leaves: bool) -> Any:
    """A client of TLS without a socket: a generator of what it sends, to be given what it hears.

    The last word of its handshake, its request and its leave go out in one piece.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trust.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            incoming.write((yield outgoing.read()))
    tls.write(says)
    if leaves:
        with suppress(ssl.SSLWantReadError):
            tls.unwrap()
    while True:
        incoming.write((yield outgoing.read()))
        try:
            hears.append(tls.read(65_536))
        except ssl.SSLError:
            continue


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_request_in_one_piece_with_the_handshakes_last_word_is_not_lost(
    source: Source, over_tls: dict[str, Any], trust: ssl.SSLContext, admissions: list[Admission], leaves: bool
) -> None:
    heard: list[bytes] = []
    client = said_at_once(trust, heard, GET, leaves=leaves)
    loop = asyncio.get_running_loop()
    async with running(source, **over_tls) as address, dialled(address, next(client)) as raw:
        async with asyncio.timeout(PATIENCE_S):
            while not heard and (piece := await loop.sock_recv(raw, 65_536)):
                await loop.sock_sendall(raw, client.send(piece))
        if leaves:  # as without TLS: who has left is not answered
            await until(lambda: not admissions[0].http.count)
        else:
            assert status_of(heard[0]) == 200
            assert admissions[0].http.count == 1


async def test_I9_handshakes_under_way_do_not_hold_up_the_end(
    source: Source, over_tls: dict[str, Any], admissions: list[Admission], caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncExitStack() as silent:
        async with running(source, **over_tls) as address:
            raw = await silent.enter_async_context(dialled(address))
            await until(lambda: admissions[0].http.count == 1)
        assert await read_to_end(raw) == b""
        assert admissions[0].http.count == 0
    assert "graceful shutdown exceeded" not in caplog.text
