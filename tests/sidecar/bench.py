"""A hub over a hand-made market on virtual time, and clients whose network is a number of bytes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import orjson

from pricer.clock import Instant, ManualClock
from pricer.config import ServerSection
from pricer.sidecar.clients import Client, Reader
from pricer.sidecar.encodings import JSON, Encoding
from pricer.sidecar.hub import Hub
from tests.handmade import SECOND
from tests.sidecar.snapshots import Market, Source

START = Instant(1_795_000_000 * SECOND, 1000 * SECOND)
SUBSCRIBE = '{"op":"subscribe","channel":"chain","underlying":"BTC"}'
UNSUBSCRIBE = '{"op":"unsubscribe","channel":"chain","underlying":"BTC"}'


class FakeLink:
    """A peer that takes `window` bytes, and more when it `reads`."""

    def __init__(self, window: float = math.inf) -> None:
        self.window = window
        self.closed: tuple[int, str] | None = None
        self.fails = False  # writes do from now on; who wrote hears of it later, by `lose`
        self.cut = False
        self.writes = 0
        self._unsent = bytearray()
        self._arrived = bytearray()
        self._reader: Reader | None = None

    def attach(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def write(self) -> Callable[[bytes], object]:
        return self._write

    def _write(self, data: bytes) -> None:
        assert self.closed is None, "written after the close"
        self.writes += 1
        if self.fails:
            self.cut = True
            return
        blocked = bool(self._unsent)
        self._unsent += data
        self._send()
        if self._unsent and not blocked:
            assert self._reader is not None
            self._reader.blocked()

    def waiting(self) -> int:
        return len(self._unsent)

    def is_cut(self) -> bool:
        return self.cut

    def hang_up(self, code: int, reason: str) -> None:
        self.closed = code, reason

    def lose(self) -> None:
        """The connection is gone."""
        assert self._reader is not None
        self._reader.lost()

    def reads(self, size: float = math.inf) -> None:
        """The peer takes so many bytes more."""
        self.window += size
        blocked = bool(self._unsent)
        self._send()
        if blocked and not self._unsent and self.closed is None:
            assert self._reader is not None
            self._reader.writable()

    def _send(self) -> None:
        sent = self._unsent if self.window >= len(self._unsent) else self._unsent[: int(self.window)]
        self.window -= len(sent)
        self._arrived += sent
        del self._unsent[: len(sent)]

    def frames(self) -> list[tuple[int, bytes]]:
        """The whole messages that arrived: first byte of the header, payload."""
        found = []
        while len(self._arrived) >= 2:
            size, start = self._arrived[1], 2
            if size >= 126:
                start += 2 if size == 126 else 8
                size = int.from_bytes(self._arrived[2:start], "big")
            if len(self._arrived) < start + size:
                break
            found.append((self._arrived[0], bytes(self._arrived[start : start + size])))
            del self._arrived[: start + size]
        return found

    def messages(self) -> list[dict[str, Any]]:
        """Those of the JSON encoding, decoded."""
        return [orjson.loads(payload) for _, payload in self.frames()]


class Bench:
    """A hub over a hand-made market, on a clock that moves when told."""

    def __init__(self, session: str | None = None, **settings: Any) -> None:
        self.clock = ManualClock(START)
        self.market = Market(self.clock)
        self.source = Source()
        self.source.publish(self.market.snapshot())
        self.hub = Hub(
            self.source,
            ServerSection(**settings),
            venue="deribit",
            underlyings=["BTC", "ETH"],
            clock=self.clock,
            session=session,
        )
        self.links: dict[Client, FakeLink] = {}

    @property
    def closed(self) -> list[tuple[int, str]]:
        """How the sidecar closed clients."""
        return [link.closed for link in self.links.values() if link.closed is not None]

    def join(self, window: float = math.inf, encoding: Encoding = JSON) -> Client:
        """A client that was greeted, and heard it."""
        link = FakeLink()
        client = self.hub.join(link, encoding)
        self.links[client] = link
        self.hub.greet(client)
        assert len(link.frames()) == 1
        link.window = window
        return client

    def say(self, client: Client, text: str | bytes = SUBSCRIBE) -> list[dict[str, Any]]:
        self.hub.receive(client, text)
        return self.read(client)

    def read(self, client: Client) -> list[dict[str, Any]]:
        """Everything that has arrived at a client."""
        return self.links[client].messages()

    def tick(self, seconds: float = 0.1) -> None:
        self.clock.advance(round(seconds * SECOND))
        self.market.move()
        self.source.publish(self.market.snapshot())
        self.hub.publish()


def seqs(messages: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(message["type"], message["seq"]) for message in messages]
