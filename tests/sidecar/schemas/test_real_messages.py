"""What a running sidecar really sends and answers is what is published, on every channel that it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket

from pricer.clock import SystemClock
from pricer.sidecar.channels import CHANNELS
from pricer.sidecar.channels import Market as Known
from pricer.sidecar.encodings import ENCODINGS, JSON, Encoding
from pricer.sidecar.messages import Message
from pricer.sidecar.protocol import StreamKey
from pricer.sidecar.schemas.messages import name_of
from pricer.sidecar.schemas.plan import columns
from pricer.sidecar.schemas.tables import HTTP_ONLY
from tests.sidecar.schemas.checking import complaints
from tests.sidecar.serving import running, stream_of
from tests.sidecar.snapshots import Market, Source


@asynccontextmanager
async def reading(address: str, encoding: Encoding) -> AsyncIterator[ClientConnection]:
    """A client of an encoding that has heard nothing yet."""
    names: Any = [encoding.subprotocol]
    where = stream_of(address)
    async with open_websocket(where, subprotocols=names, proxy=None, compression=None, max_size=None) as websocket:
        assert websocket.subprotocol == encoding.subprotocol
        yield websocket


async def conversation(channel: str, encoding: Encoding) -> list[Message]:
    """A client subscribes, hears of a move and of silence, asks for something wrong, and takes its leave."""
    market, source = Market(SystemClock()), Source()
    source.publish(market.snapshot())
    subject = {"channel": channel, "underlying": "BTC"}
    if channel == "depth":
        subject["instrument"] = market.definitions[0].names[0]
    heard: list[Message] = []

    async def until(kind: str) -> None:
        while kind not in {message.type for message in heard}:
            heard.append(encoding.decode(await websocket.recv()))

    async def ask(**request: Any) -> None:
        payload = encoding.encode_request(request)
        await websocket.send(payload.decode() if encoding.is_text else payload)

    async with (
        running(source, heartbeat_s=0.1) as address,
        reading(address, encoding) as websocket,
        asyncio.timeout(60),
    ):
        await ask(op="subscribe", **subject)
        await until("snapshot")
        market.move()
        source.publish(market.snapshot())
        await until("heartbeat")
        await ask(op="ping")
        await until("pong")
        await ask(op="unsubscribe", **subject)
        await until("unsubscribed")
        await ask(op="unsubscribe", **subject)
        await until("error")
    return heard


def as_object(message: Message) -> Any:
    """What a reader of JSON sees of it."""
    return orjson.loads(JSON.encode(message))


@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=lambda encoding: encoding.name)
async def test_a_chain_is_told_as_published_in_every_encoding(encoding: Encoding) -> None:
    heard = await conversation("chain", encoding)
    assert {"snapshot", "delta", "heartbeat", "pong", "unsubscribed", "error"} <= {message.type for message in heard}
    for message in heard:
        name = name_of(message.type, message.head.get("channel"))
        assert complaints(name, as_object(message)) == []


@pytest.mark.parametrize("channel", CHANNELS)
async def test_every_channel_tells_what_is_published_and_all_of_it(channel: str) -> None:
    heard = await conversation(channel, JSON)
    for message in heard:
        name = name_of(message.type, message.head.get("channel"))
        assert complaints(name, as_object(message)) == []
    snapshot = next(message for message in heard if message.type == "snapshot")
    assert snapshot.columns is not None
    known = columns(channel)
    assert set(snapshot.columns) == set(known) - set(HTTP_ONLY)
    # The order in which the checksum takes the numbers, which readers of the .proto have from its field numbers.
    numbers = [name for name, field in known.items() if field.dtype == "f8" and name not in HTTP_ONLY]
    assert [name for name in snapshot.columns if name in numbers] == numbers


def test_columns_have_the_dtypes_that_are_published() -> None:
    market = Market(SystemClock())
    for name, channel in CHANNELS.items():
        key = StreamKey(name, "deribit", "BTC", market.definitions[0].names[0] if name == "depth" else "")
        content = channel.take(Known(market.snapshot(), None, 9), key).whole()
        for column, values in content.columns.items():
            found = None if isinstance(values, list) else f"{values.dtype.kind}{values.dtype.itemsize}"
            assert found == columns(name)[column].dtype, f"{name}.{column}"
