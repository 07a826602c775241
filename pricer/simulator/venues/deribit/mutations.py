"""What faults do to a notification of Deribit's: wrong prices, sides, stamps and fields. A frame in, a frame out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from pricer.simulator.faults import Fault

Json = dict[str, Any]
_OPENING = b'"channel":"'
_PRICES = ("best_bid_price", "best_ask_price", "mark_price", "underlying_price", "index_price", "price", "last_price")
_WRONG: tuple[object, ...] = (None, "", "x", [], {}, True, -1, 0, msgspec.Raw(b"1e400"), "NaN")


def channel_of(frame: bytes) -> bytes | None:
    """A notification's channel; None for replies and heartbeats."""
    start = frame.find(_OPENING)
    if start < 0:
        return None
    start += len(_OPENING)
    end = frame.find(b'"', start)
    return frame[start:end]


class Change(NamedTuple):
    """One fault's work on the notifications of channels that begin with one of `channels`."""

    channels: tuple[bytes, ...]
    of_data: Callable[[Json, Fault, np.random.Generator], None]

    def concerns(self, frame: bytes) -> bool:
        """Whether the fault means such notifications."""
        channel = channel_of(frame)
        return channel is not None and channel.startswith(self.channels)

    def apply(self, frame: bytes, fault: Fault, rng: np.random.Generator) -> bytes:
        """The frame, changed; one that another fault has made unreadable stays as it is."""
        try:
            message = msgspec.json.decode(frame)
            data = message["params"]["data"]
            for each in data if isinstance(data, list) else [data]:
                self.of_data(each, fault, rng)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return frame
        return msgspec.json.encode(message)


def _number(fault: Fault, key: str) -> float:
    return float(fault.parameters[key] or 0.0)


def _jump_index(data: Json, fault: Fault, _: np.random.Generator) -> None:
    data["price"] *= _number(fault, "factor")


def _jump_forward(data: Json, fault: Fault, _: np.random.Generator) -> None:
    for name in ("index_price", "underlying_price"):
        if name in data:
            data[name] *= _number(fault, "factor")


def _fat_finger(data: Json, fault: Fault, _: np.random.Generator) -> None:
    if data.get("best_ask_price"):
        data["best_ask_price"] *= _number(fault, "factor")


def _one_sided(data: Json, fault: Fault, rng: np.random.Generator) -> None:
    side = fault.parameters["side"]
    # Both ways in which the venue says so.
    data[f"best_{side}_price"], data[f"best_{side}_amount"] = (None, None) if rng.random() < 0.5 else (0.0, 0.0)


def _bad_price(data: Json, fault: Fault, rng: np.random.Generator) -> None:
    present = [name for name in _PRICES if name in data]
    if present:
        data[present[int(rng.integers(len(present)))]] = fault.parameters["value"]


def _bad_time(data: Json, fault: Fault, _: np.random.Generator) -> None:
    off_s = fault.parameters["off_s"]
    data["timestamp"] = 0 if off_s is None else data["timestamp"] + int(float(off_s) * 1000)


def _mutate(data: Json, _: Fault, rng: np.random.Generator) -> None:
    """A field is missing, of another type, or a number as text and back."""
    name = list(data)[int(rng.integers(len(data)))]
    how = int(rng.integers(3))
    if how == 0:
        del data[name]
    elif how == 1 and isinstance(data[name], int | float):
        data[name] = str(data[name])
    else:
        wrong = _WRONG[int(rng.integers(len(_WRONG)))]
        data[name] = wrong


_QUOTES = (b"ticker.", b"quote.")
_TIMED = (b"ticker.", b"quote.", b"deribit_price_index.")

CHANGES: dict[str, Change] = {
    "jump_index": Change((b"deribit_price_index.",), _jump_index),
    "jump_forward": Change((b"ticker.",), _jump_forward),
    "fat_finger": Change(_QUOTES, _fat_finger),
    "one_sided": Change(_QUOTES, _one_sided),
    "bad_price": Change(_TIMED, _bad_price),
    "bad_time": Change(_TIMED, _bad_time),
    "mutate": Change((*_TIMED, b"book.", b"trades.", b"instrument.", b"markprice."), _mutate),
}


def with_value(frame: bytes, field: str, value: float) -> bytes:
    """The frame with another number in one of its data's fields; one that is unreadable stays as it is."""
    try:
        message = msgspec.json.decode(frame)
        message["params"]["data"][field] = value
    except (msgspec.DecodeError, KeyError, TypeError):
        return frame
    return msgspec.json.encode(message)


def unknown_frames(channels: Iterable[str]) -> list[bytes]:
    """A method, a channel, a heartbeat and a field that nobody knows."""
    made: list[Json] = [
        {"jsonrpc": "2.0", "method": "surprise", "params": {"channel": "x", "data": {}}},
        {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": "never.heard.of", "data": {"a": 1}}},
        {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "wave"}},
        {"jsonrpc": "2.0", "what": ["is", {"this": None}]},
    ]
    state = next((name for name in sorted(channels) if name.startswith("instrument.state.")), None)
    if state is not None:
        data = {"timestamp": 1, "state": "levitating", "instrument_name": "BTC-1JAN70-1-C", "new_field": {"x": 1}}
        made.append({"jsonrpc": "2.0", "method": "subscription", "params": {"channel": state, "data": data}})
    return [msgspec.json.encode(each) for each in made]
