"""Frames of the Deribit fixtures, whole or changed, and an adapter at their instant."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from pricer.adapters.adapter import HttpGet, WsSend
from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent, OptionQuote, UnderlyingPrice, VenueMark
from pricer.clock import NS_PER_SECOND, Instant

FOLDER = Path(__file__).parent / "fixtures" / "deribit"

# 2025-03-11 22:20:10.5 UTC, 50 ms after the fixtures' tickers; the monotonic clock has another origin.
NOW = Instant(1_741_731_610_500_000_000, 77 * NS_PER_SECOND)
EXPIRY_NS = 1_741_766_400 * NS_PER_SECOND  # of BTC-12MAR25

# What is wanted of one family before any list has come, by default.
FIXED_CHANNELS = [
    "deribit_price_index.btc_usd",
    "ticker.BTC-PERPETUAL.100ms",
    "platform_state",
    "platform_state.public_methods_state",
    "instrument.state.option.BTC",
    "instrument.creation.option.BTC",
    "instrument.state.future.BTC",
    "instrument.creation.future.BTC",
    "deribit_volatility_index.btc_usd",
    "estimated_expiration_price.btc_usd",
]


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


def kind_of(item: Any) -> Any:
    """The class that lists an object; broken ones are told among the options."""
    kind = item.get("kind") if isinstance(item, dict) else None
    return kind if isinstance(kind, str) else "option"


def items_frame(name: str, at: int, **changes: Any) -> bytes:
    """A fixture whose data is a list, with fields of its entry `at` changed; `...` removes one."""
    message = fixture(name)
    for field, value in changes.items():
        if value is ...:
            del message["params"]["data"][at][field]
        else:
            message["params"]["data"][at][field] = value
    return encoded(message)


_TICKER = fixture("ticker_inverse_call")["params"]["data"]
_INDEX = fixture("price_index")["params"]["data"]
PRICES = OptionQuote | VenueMark | UnderlyingPrice


def streamed(channel: str, now: Instant) -> bytes | None:
    """What the venue sends on a ticker or index channel, whether or not anything has changed."""
    stamp = now.wall_ns // 1_000_000
    if channel.startswith("ticker."):
        data = {**_TICKER, "timestamp": stamp, "instrument_name": channel[7:].rpartition(".")[0]}
    elif channel.startswith("deribit_price_index."):
        data = {**_INDEX, "timestamp": stamp, "index_name": channel[20:]}
    else:
        return None
    return encoded({"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}})


class Venue:
    """Answers an adapter as the venue would, without a socket; refuses the channels in `refused`
    and never answers the methods in `unanswered`.

    The first message of a ticker or the index comes with the subscription; while time passes the index comes every
    second and tickers every five, but for the `quiet`. Of these only the events that are no prices are kept.
    """

    def __init__(self, adapter: Deribit, instruments: list[dict[str, Any]], now: Instant = NOW) -> None:
        self.adapter = adapter
        self.instruments = instruments
        self.now = now
        self.refused: set[str] = set()
        self.unanswered: set[str] = set()
        self.quiet: Callable[[str], bool] = lambda channel: False
        self.subscribed: list[str] = []
        self.asked: list[dict[str, Any]] = []
        self.events: list[AnyEvent] = []

    def open(self) -> None:
        """A new connection, and everything that follows from it."""
        self.subscribed = []
        self.adapter.opened(self.now)
        self.talk()

    def pass_time(self, seconds: float) -> None:
        """Let `seconds` go by: a heartbeat every 10, prices as they are due, and a call at each deadline."""
        end_ns = self.now.mono_ns + int(seconds * NS_PER_SECOND)
        beat_ns = self.now.mono_ns
        prices_ns, second = self.now.mono_ns, 0
        while True:
            deadline = self.adapter.next_deadline()
            next_ns = min(beat_ns, prices_ns, end_ns) if deadline is None else min(beat_ns, prices_ns, end_ns, deadline)
            self.now = self.now.plus(max(0, next_ns - self.now.mono_ns))
            if deadline is not None and deadline <= self.now.mono_ns:
                self.events += self.adapter.on_time(self.now)
                self.talk()
            if self.now.mono_ns >= end_ns:
                return
            if self.now.mono_ns >= prices_ns:
                self.stream(channel for channel in self.subscribed if second % 5 == 0 or not channel.startswith("tick"))
                prices_ns, second = prices_ns + NS_PER_SECOND, second + 1
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
                if message["method"] in self.unanswered:
                    continue
                self.events += self.adapter.receive(reply(message["id"], self._result(message)), self.now)
                if message["method"] == "public/subscribe":
                    self.stream(message["params"]["channels"])

    def stream(self, names: Iterable[str]) -> None:
        """The prices of those channels that are subscribed and not quiet."""
        subscribed = set(self.subscribed)
        for channel in list(names):
            if channel not in subscribed or self.quiet(channel):
                continue
            if (data := self.streamed(channel)) is not None:
                events = self.adapter.receive(data, self.now)
                self.events += [event for event in events if not isinstance(event, PRICES)]

    def streamed(self, channel: str) -> bytes | None:
        """The message that is due on a channel now."""
        return streamed(channel, self.now)

    def _result(self, message: dict[str, Any]) -> Any:
        method, params = message["method"], message["params"]
        if method == "public/get_instruments":
            return [item for item in self.instruments if kind_of(item) == params["kind"]]
        if method == "public/subscribe":
            accepted = [name for name in params["channels"] if name not in self.refused]
            self.subscribed += accepted
            return accepted
        if method == "public/unsubscribe":
            self.subscribed = [name for name in self.subscribed if name not in params["channels"]]
            return params["channels"]
        return "ok"


def live_venue(instruments: str = "instruments_btc", **settings: Any) -> Venue:
    """An adapter so set up, with a venue that has answered everything; what that brought about is cleared."""
    venue = Venue(Deribit(**settings), fixture(instruments)["result"])
    venue.open()
    venue.events.clear()
    return venue
