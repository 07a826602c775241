"""What strangers do is counted, and writes no line: they could fill the log."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

import pytest
from uvicorn.protocols.utils import ClientDisconnected

from tests.sidecar.secured import fetch
from tests.sidecar.serving import hear, joined, running
from tests.sidecar.snapshots import Source
from tests.sidecar.test_closing import alone
from tests.sidecar.test_transport import HANDSHAKE, dialled, message, metric, read_to_end, status_of


@pytest.mark.parametrize(
    "frames",
    [message(b"\xff\xfe"), message(b"\xc3", 0x01) + message(b"", 0x00) + message(b"(", 0x80)],
    ids=["whole", "in pieces"],
)
@pytest.mark.parametrize("token", [None, "t" * 40])
async def test_I11_text_that_is_none_ends_its_sender_with_1007_and_writes_no_line(
    source: Source, caplog: pytest.LogCaptureFixture, frames: bytes, token: str | None
) -> None:
    guarded = {} if token is None else {"token": token}
    async with running(source, **guarded) as address, dialled(address, HANDSHAKE) as raw:
        loop = asyncio.get_running_loop()
        assert b" 101 " in await loop.sock_recv(raw, 4096)
        await loop.sock_sendall(raw, frames)
        assert struct.pack(">H", 1007) + b"text that is not UTF-8" in await read_to_end(raw)
        if token is None:
            assert await metric(address, 'volstream_refused_connections_total{stage="malformed"}') == 1.0
    assert not lines(caplog)


async def test_a_text_in_pieces_may_be_parted_within_a_letter(source: Source) -> None:
    begin, _, end = '{"op":"ping","note":"€"}'.encode().partition(b"\x82")
    async with running(source) as address, joined(address) as websocket:
        websocket.transport.write(message(begin + b"\x82", 0x01) + message(end, 0x80))
        assert (await hear(websocket))["type"] == "pong"


async def test_I11_handshakes_that_are_refused_or_left_write_no_line(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    head = HANDSHAKE[:-2]
    async with running(source, token="t" * 40) as address:
        loop = asyncio.get_running_loop()
        for handshake, status in (
            (head + b"Sec-WebSocket-Protocol: volstream.v9.json\r\n\r\n", 400),
            (head + b"Authorization: Bearer wrong\r\n\r\n", 401),
            (head + b"Origin: http://elsewhere.example\r\n\r\n", 403),
            (HANDSHAKE.replace(b"/v1/stream", b"/v1/nowhere"), 404),
            (HANDSHAKE, 101),
        ):
            async with dialled(address, handshake) as raw:
                assert status_of(await loop.sock_recv(raw, 4096)) == status
            async with dialled(address, handshake) as raw:  # and one that does not wait for the answer
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert (await fetch(address, "health/live")).status_code == 200
    assert not lines(caplog)


async def test_I11_no_client_is_made_of_one_who_left_during_the_handshake() -> None:
    """The application goes on until it is told, and its next word would be an error of the application's."""
    here, there = socket.socketpair()
    with there:
        wire, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, here)
        link = alone(wire)
        wire.abort()
        with pytest.raises(ClientDisconnected):
            await link.send({"type": "websocket.accept", "subprotocol": None, "headers": []})


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
