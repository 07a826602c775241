"""No value out of nothing: each number of an event must stand in what the venue sent, up to the documented scales.

It knows nothing of the decoders: it reads the digits out of the bytes. The scales (protocol sheet 5 and 9):

- Volatilities are percent on the wire and fractions in events, but for `markprice.options.*`, where they are fractions.
- Stamps are milliseconds and become nanoseconds.
- Strikes and expiries may stand in a name only (`0d625`, `12MAR25`).
- A short's size may lack its sign.
- A change on `incremental_ticker.*` leaves the rest as its channel has said since the last snapshot.
- `quote.*` has no price of a future: that is the middle of bid and ask, which stand there.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from pricer.adapters.events import (
    BookDepth,
    DeliveryPrice,
    Event,
    InstrumentChanged,
    InstrumentListed,
    Position,
    UnderlyingPrice,
    VenueClock,
)
from pricer.adapters.instruments import Instrument, TickStep
from pricer.clock import NS_PER_SECOND, Instant

_NUMBER = re.compile(rb"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_CHANNEL = re.compile(rb'"channel"\s*:\s*"([^"]*)"')
_SNAPSHOT = re.compile(rb'"type"\s*:\s*"snapshot"')
_STRIKE = re.compile(rb"(\d+)d(\d+)")
# Books are made of many frames, and each level came in one of them; definitions are told again when one field changes.
FROM_EARLIER = (BookDepth, InstrumentListed, InstrumentChanged)
# A difference between clocks stands nowhere: its bounds are checked elsewhere.
COMPUTED = (VenueClock,)
PERCENT = frozenset({"iv", "mark_iv", "bid_iv", "ask_iv", "volatility"})


class Invented(AssertionError):
    """An event says what no frame said."""


def numbers_in(data: bytes) -> set[float]:
    """Every number whose digits stand somewhere in `data`, whatever they mean there, without its sign."""
    found = {float(digits) for digits in _NUMBER.findall(data)}
    found |= {float(whole + b"." + part) for whole, part in _STRIKE.findall(data)}
    return found


def channel_of(data: bytes) -> str:
    """Which channel a frame names; of several, as decoders do, the last."""
    return "".join(found.decode("utf-8", "replace") for found in _CHANNEL.findall(data)[-1:])


class Provenance:
    """Judges the events of one adapter, frame by frame; `known` is what it was told before the first."""

    def __init__(self, known: bytes = b"") -> None:
        self._earlier = numbers_in(known)
        self._merged: dict[str, set[float]] = {}  # by incremental channel: what it has said since its last snapshot
        self._kind = ""  # of the frame's channel

    def check(self, data: bytes, events: list[Any], now: Instant) -> None:
        """Raise `Invented` where an event holds a number that `data` does not; books may hold those of before."""
        channel = channel_of(data)
        self._kind = channel.partition(".")[0]
        here = numbers_in(data)
        if self._kind == "incremental_ticker":
            # A snapshot that nothing came of may not have been taken, so what was merged before may stand still.
            if not (events and _SNAPSHOT.search(data)):
                here |= self._merged.get(channel, set())
            self._merged[channel] = here
        if not self._earlier.issuperset(here):
            self._earlier |= here
        for event in events:
            if isinstance(event, COMPUTED):
                continue
            known = self._earlier if isinstance(event, FROM_EARLIER) else here
            for field in event.__struct_fields__:
                if field not in ("venue", "received"):
                    self._judge(event, field, getattr(event, field), known, data, now)

    def _judge(self, event: Event, field: str, value: Any, known: set[float], data: bytes, now: Instant) -> None:
        if isinstance(value, str | bool) or value is None:
            return
        if isinstance(value, tuple):
            for each in value:
                self._judge(event, field, each, known, data, now)
        elif isinstance(value, Instrument | TickStep):
            named = value.name.encode() if isinstance(value, Instrument) else b""
            for inner in value.__struct_fields__:
                self._judge(event, inner, getattr(value, inner), known, data + named, now)
        elif not self._stands(event, field, value, known, data, now):
            raise Invented(f"{type(event).__name__}.{field} = {value!r} stands in no frame")

    def _stands(self, event: Event, field: str, value: float, known: set[float], data: bytes, now: Instant) -> bool:
        if field == "cp":
            return value in (-1, 0, 1)
        if field == "expiry_ns":
            return stamped(value, known) or dated(int(value), data) or counted_down(event, int(value), known, now)
        if field == "exchange_ns":
            return stamped(value, known)
        if type(value) is int and abs(value) >= 2**63:
            return False  # no venue counts so far, and no other language reads it
        if type(value) is int and value > 2**53:
            return str(value).encode() in data  # ids are exact, also beyond the doubles
        if math.isnan(value):
            return True
        if not math.isfinite(value):
            return False
        if isinstance(event, Position) and field == "size" and value == 0.0:
            return True  # the venue's list does not name it any more
        if field == "contract_size" and value == 1.0 and (b"BTC" in data or b"ETH" in data):
            return True  # no name says so, the sheet does
        if field == "price" and self._kind == "quote" and isinstance(event, UnderlyingPrice):
            return value == (event.bid + event.ask) / 2.0
        size = abs(float(value))
        if field in PERCENT and self._kind != "markprice":
            return any(size == each / 100.0 for each in known)
        return size in known


def stamped(value: float, known: set[float]) -> bool:
    """Whether nanoseconds stand somewhere as milliseconds, to a microsecond: a double holds no more."""
    return any(abs(int(each * 1000.0) * 1000 - value) <= 1000 for each in known if 1e9 < each < 1e14)


def dated(value: int, data: bytes) -> bool:
    """Whether an expiry stands in a name."""
    day = datetime.fromtimestamp(value / NS_PER_SECOND, UTC)
    return f"{day.day}{day:%b%y}".upper().encode() in data or f"{day:%d%b%y}".upper().encode() in data


def counted_down(event: Event, value: int, known: set[float], now: Instant) -> bool:
    """Whether an expiry is as many seconds away as the frame says, rounded to what the venue's hour may be."""
    if not isinstance(event, DeliveryPrice):
        return False
    return any(abs(now.wall_ns + each * NS_PER_SECOND - value) <= 3600 * NS_PER_SECOND for each in known if each < 1e9)
