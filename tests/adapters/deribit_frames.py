"""Frames of the Deribit fixtures, whole or changed, and an adapter at their instant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from pricer.adapters.adapter import HttpGet, WsSend
from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent
from pricer.clock import NS_PER_SECOND, Instant

FOLDER = Path(__file__).parent / "fixtures" / "deribit"

# 2025-03-11 22:20:10.5 UTC, 50 ms after the fixtures' tickers; the monotonic clock has another origin.
NOW = Instant(1_741_731_610_500_000_000, 77 * NS_PER_SECOND)
EXPIRY_NS = 1_741_766_400 * NS_PER_SECOND  # of BTC-12MAR25


def fixture(name: str) -> Any:
    """A fixture as JSON data, free to be changed."""
    return json.loads((FOLDER / f"{name}.json").read_bytes())


def encoded(data: Any) -> bytes:
    """As the venue writes it."""
    return msgspec.json.encode(data)


def frame(name: str, **changes: Any) -> bytes:
    """A fixture as a frame, with fields of its `data` changed; `...` removes one."""
    message = fixture(name)
    for field, value in changes.items():
        if value is ...:
            del message["params"]["data"][field]
        else:
            message["params"]["data"][field] = value
    return encoded(message)


def reply(request_id: int, result: Any, **more: Any) -> bytes:
    """The venue's answer to a request."""
    return encoded({"jsonrpc": "2.0", "id": request_id, "result": result, "testnet": False, **more})


def refusal(request_id: int | None, code: int) -> bytes:
    """The venue's refusal of a request."""
    body: dict[str, Any] = {"jsonrpc": "2.0", "error": {"code": code, "message": "no", "data": None}, "testnet": False}
    return encoded(body if request_id is None else {**body, "id": request_id})


def options(count: int, *, expiry: str = "27JUN25") -> list[dict[str, Any]]:
    """Instrument objects of `count` calls of one expiry."""
    template = fixture("instruments_btc")["result"][2]
    return [
        {**template, "instrument_name": f"BTC-{expiry}-{strike}-C", "strike": float(strike)}
        for strike in range(1000, 1000 + 500 * count, 500)
    ]


def texts(sends: list[WsSend | HttpGet]) -> list[dict[str, Any]]:
    """Messages to the venue, parsed."""
    return [json.loads(each.text) for each in sends if isinstance(each, WsSend)]


class Venue:
    """Answers an adapter as the venue would, without a socket; refuses the channels in `refused`."""

    def __init__(self, adapter: Deribit, instruments: list[dict[str, Any]], now: Instant = NOW) -> None:
        self.adapter = adapter
        self.instruments = instruments
        self.now = now
        self.refused: set[str] = set()
        self.subscribed: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.events: list[AnyEvent] = []

    def open(self) -> None:
        """A new connection, and everything that follows from it."""
        self.subscribed = []
        self.adapter.opened(self.now)
        self.talk()

    def pass_time(self, seconds: float) -> None:
        """Let `seconds` go by: a heartbeat every 10, and a call at each deadline."""
        end_ns = self.now.mono_ns + int(seconds * NS_PER_SECOND)
        beat_ns = self.now.mono_ns
        while True:
            deadline = self.adapter.next_deadline()
            next_ns = min(beat_ns, end_ns) if deadline is None else min(beat_ns, end_ns, deadline)
            self.now = self.now.plus(max(0, next_ns - self.now.mono_ns))
            if deadline is not None and deadline <= self.now.mono_ns:
                self.events += self.adapter.on_time(self.now)
                self.talk()
            if self.now.mono_ns >= end_ns:
                return
            if self.now.mono_ns >= beat_ns:
                beat_ns += 10 * NS_PER_SECOND
                self.hear({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "heartbeat"}})

    def hear(self, message: Any) -> None:
        """The adapter receives a message."""
        self.events += self.adapter.receive(encoded(message), self.now)
        self.talk()

    def talk(self) -> None:
        """Answer all that the adapter sends."""
        while messages := texts(self.adapter.to_send(self.now)):
            self.asked += messages
            for message in messages:
                self.events += self.adapter.receive(reply(message["id"], self._result(message)), self.now)

    def _result(self, message: dict[str, Any]) -> Any:
        method, params = message["method"], message["params"]
        if method == "public/get_instruments":
            return self.instruments
        if method == "public/subscribe":
            accepted = [name for name in params["channels"] if name not in self.refused]
            self.subscribed += accepted
            return accepted
        if method == "public/unsubscribe":
            self.subscribed = [name for name in self.subscribed if name not in params["channels"]]
            return params["channels"]
        return "ok"
