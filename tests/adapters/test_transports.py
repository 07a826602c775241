"""WebSocket framing, the same for both transports: W02, W06, and what no library may take for granted."""

from __future__ import annotations

import asyncio
import base64
import builtins
import contextlib
import hashlib
import struct
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from pricer.adapters.inflate import Inflater
from pricer.adapters.limits import FeedLimits
from pricer.adapters.transport import Connection, ConnectionLost
from pricer.adapters.transports import transport_of
from pricer.errors import ConfigError
from tests.adapters.loopback import QUICK
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


def wire(kind: int, payload: bytes, *, fin: bool = True, deflated: bool = False) -> bytes:
    """A frame as a server writes it."""
    first = (0x80 if fin else 0) | (0x40 if deflated else 0) | kind
    if len(payload) < 126:
        return struct.pack(">BB", first, len(payload)) + payload
    if len(payload) < 65536:
        return struct.pack(">BBH", first, 126, len(payload)) + payload
    return struct.pack(">BBQ", first, 127, len(payload)) + payload


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]


@contextlib.asynccontextmanager
async def connected(
    name: Any, script: Script, *, extensions: str = "", limits: FeedLimits = QUICK, compression: bool = False
) -> AsyncIterator[Connection]:
    """A connection to a server that upgrades by hand, so that it may then write what no server would."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(
            line.split(":", 1)[1].strip() for line in head.splitlines() if line.lower().startswith("sec-websocket-key")
        )
        accept = base64.b64encode(
            hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        ).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Accept: {accept}"]
        lines += [f"Sec-WebSocket-Extensions: {extensions}"] if extensions else []
        writer.write("\r\n".join([*lines, "", ""]).encode())
        with contextlib.suppress(ConnectionError):
            await script(writer)
            await reader.read()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
    async with server:
        connection = await transport_of(name, limits, compression=compression).connect(url)
        try:
            yield connection
        finally:
            await connection.abort()
    await asyncio.sleep(0.01)


def writing(*frames: bytes) -> Script:
    async def script(writer: asyncio.StreamWriter) -> None:
        for frame in frames:
            writer.write(frame)
            await writer.drain()

    return script


async def test_W06_fragments_with_control_frames_between_are_one_message(transport_name: str) -> None:
    frames = (
        wire(1, b'{"a"', fin=False),
        wire(9, b"ping"),
        wire(0, b"", fin=False),
        wire(0, b":1", fin=False),
        wire(10, b"pong"),
        wire(0, b"}"),
        wire(1, b'{"b":2}'),
    )
    async with connected(transport_name, writing(*frames)) as connection:
        assert [await connection.recv(), await connection.recv()] == [b'{"a":1}', b'{"b":2}']


@pytest.mark.parametrize(
    "frames",
    [
        (wire(0, b"no beginning"),),
        (wire(1, b"a", fin=False), wire(1, b"b")),
        (wire(1, b"not negotiated", deflated=True),),
        (wire(3, b"no such kind"),),
        (b"\x81\x85mask12345",),
        (b"\x89\x7e\x00\x80" + b"x" * 128,),
        (b"\x88\x01x",),
    ],
    ids=["continuation", "interleaved", "deflated", "opcode", "masked", "long control", "short close"],
)
async def test_what_the_protocol_forbids_ends_the_connection(transport_name: str, frames: tuple[bytes, ...]) -> None:
    async with connected(transport_name, writing(*frames)) as connection:
        with pytest.raises(ConnectionLost) as lost:
            await asyncio.wait_for(connection.recv(), PATIENCE_S)
        assert lost.value.reason == "bad_websocket"


@pytest.mark.parametrize("fragmented", [False, True])
async def test_W01_the_limit_is_on_the_message_not_on_its_fragments(transport_name: str, fragmented: bool) -> None:
    limits = replace(QUICK, max_frame_bytes=10_000)
    parts = [wire(1, b"x" * 4000, fin=False), wire(0, b"x" * 4000, fin=False), wire(0, b"x" * 4000)]
    frames = parts if fragmented else [wire(1, b"x" * 12_000)]
    async with connected(transport_name, writing(wire(1, b"y" * 10_000), *frames), limits=limits) as connection:
        with pytest.raises(ConnectionLost) as lost:  # noqa: PT012 - picows drops what comes right before an error
            assert await connection.recv() == b"y" * 10_000
            await asyncio.wait_for(connection.recv(), PATIENCE_S)
        assert lost.value.reason == "oversize"


async def test_compressed_messages_are_inflated_with_and_without_memory_of_earlier_ones(
    transport_name: str,
) -> None:
    packer = zlib.compressobj(9, wbits=-15)
    texts = [b'{"price":%d,"instrument":"BTC-PERPETUAL"}' % number for number in range(50)]
    frames = [wire(1, (packer.compress(t) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4], deflated=True) for t in texts]
    script = writing(*frames, wire(1, b"plain"))
    async with connected(transport_name, script, extensions="permessage-deflate", compression=True) as connection:
        assert [await connection.recv() for _ in range(51)] == [*texts, b"plain"]
    forgetful = writing(*[wire(1, deflate(text), deflated=True) for text in texts])
    extensions = "permessage-deflate; server_no_context_takeover"
    async with connected(transport_name, forgetful, extensions=extensions, compression=True) as connection:
        assert [await connection.recv() for _ in range(50)] == texts


async def test_W02_a_bomb_is_inflated_to_the_limit_and_no_further(transport_name: str) -> None:
    bomb = deflate(b"0" * 64 * 2**20)
    assert len(bomb) * 1000 < 64 * 2**20
    limits = replace(QUICK, max_frame_bytes=2**20)
    script = writing(wire(1, bomb, deflated=True))
    async with connected(
        transport_name, script, extensions="permessage-deflate", limits=limits, compression=True
    ) as connection:
        tracemalloc.start()
        try:
            with pytest.raises(ConnectionLost) as lost:
                await asyncio.wait_for(connection.recv(), PATIENCE_S)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert lost.value.reason == "oversize"
    assert peak < 8 * 2**20


async def test_W02_the_compressed_size_is_limited_too(transport_name: str) -> None:
    noise = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(40_000))
    limits = replace(QUICK, max_frame_bytes=2**20)
    script = writing(wire(1, deflate(noise), deflated=True))
    async with connected(
        transport_name, script, extensions="permessage-deflate", limits=limits, compression=True
    ) as connection:
        with pytest.raises(ConnectionLost) as lost:
            await asyncio.wait_for(connection.recv(), PATIENCE_S)
    assert lost.value.reason == "oversize"


async def test_a_broken_compressed_message_ends_the_connection(transport_name: str) -> None:
    script = writing(wire(1, b"\xff" * 40, deflated=True))
    async with connected(transport_name, script, extensions="permessage-deflate", compression=True) as connection:
        with pytest.raises(ConnectionLost) as lost:
            await asyncio.wait_for(connection.recv(), PATIENCE_S)
    assert lost.value.reason == "bad_websocket"


@pytest.mark.parametrize("compression", [True, False])
async def test_an_extension_that_was_not_offered_is_refused(transport_name: str, compression: bool) -> None:
    extensions = "x-other" if compression else "permessage-deflate"
    with pytest.raises(ConnectionLost) as lost:
        async with connected(transport_name, writing(), extensions=extensions, compression=compression):
            pass
    assert lost.value.reason == "bad_handshake"


async def test_reading_stops_while_the_queue_is_full_and_nothing_is_lost(transport_name: str) -> None:
    frames = [wire(1, b"%06d" % number + b"x" * 2000) for number in range(3000)]
    limits = replace(QUICK, max_queue=8)
    async with connected(transport_name, writing(*frames), limits=limits) as connection:
        await asyncio.sleep(0.05)
        for number in range(3000):
            frame = await asyncio.wait_for(connection.recv(), PATIENCE_S)
            assert isinstance(frame, bytes)
            assert frame[:6] == b"%06d" % number


async def test_the_news_of_the_end_comes_after_all_messages(transport_name: str) -> None:
    close = wire(8, struct.pack(">H", 1012) + b"restart")
    async with connected(transport_name, writing(wire(1, b"last"), close)) as connection:
        assert await connection.recv() == b"last"
        with pytest.raises(ConnectionLost) as lost:
            await asyncio.wait_for(connection.recv(), PATIENCE_S)
        assert str(lost.value) == "closed_restart: 1012 restart"
        with pytest.raises(ConnectionLost):
            await connection.send("too late")
        with pytest.raises(ConnectionLost):
            await connection.ping()


@pytest.mark.parametrize(
    "answer",
    [
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; unheard_of",
        "x-webkit-deflate-frame",
        "permessage-deflate, permessage-deflate",
    ],
)
def test_an_answer_to_our_offer_is_checked(answer: str) -> None:
    with pytest.raises(ConnectionLost, match="bad_handshake"):
        Inflater(answer)


def test_another_window_is_kept_to() -> None:
    packer = zlib.compressobj(9, wbits=-9)
    data = (packer.compress(b"abc" * 500) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert Inflater('permessage-deflate; server_max_window_bits="9"').message(data, 1500) == b"abc" * 500


def test_an_unknown_transport_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="transport: 'carrier pigeon' is none of websockets, picows"):
        transport_of("carrier pigeon")  # type: ignore[arg-type]


def test_without_picows_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "picows":
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "picows", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"volstream\[fast\]"):
        transport_of("picows")
