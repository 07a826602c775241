"""What a slow and simple observer knows: the frames as they came, books in plain dicts, prices with many digits.

It shares nothing with the adapter and the engine but the frames.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import mpmath
import msgspec

from pricer.clock import Instant
from pricer.conventions import NS_PER_YEAR
from pricer.simulator.venues.deribit.rpc import Session
from pricer.simulator.venues.deribit.venue import DeribitVenue, Frames

# As many levels a side as the adapter's books have.
BOOK_DEPTH = 10
FUTURE_PRICES = ("mark_price", "best_bid_price", "best_ask_price", "last_price")


class Told(NamedTuple):
    """One ticker as it was delivered."""

    mono_ns: int
    bid: float
    ask: float
    forward: float
    stamps_ns: tuple[int, ...]  # when it may count as made: the venue's stamp, and our own


Levels = tuple[tuple[float, float], ...]


class BookTruth:
    """Every state that the venue's books went through, by instrument and change id: plain dicts fed with all that the
    venue sent, before any fault touched it.
    """

    def __init__(self) -> None:
        self._sides: dict[str, tuple[dict[float, float], dict[float, float]]] = {}
        self.states: dict[tuple[str, int], tuple[Levels, Levels]] = {}
        self.newest: dict[str, int] = {}
        self._sent: set[bytes] = set()
        self._tainted: set[str] = set()

    def sent(self, frame: bytes) -> None:
        """The venue sends this, as yet unchanged."""
        if b'"channel":"book.' not in frame:
            return
        self._sent.add(frame)
        data = msgspec.json.decode(frame)["params"]["data"]
        name, change_id = data["instrument_name"], data["change_id"]
        if change_id <= self.newest.get(name, -1):
            return  # another session's copy
        if data["type"] == "snapshot":
            self._sides[name] = {}, {}
        for levels, changes in zip(self._sides[name], (data["bids"], data["asks"]), strict=True):
            for action, price, amount in changes:
                if action == "delete":
                    levels.pop(price, None)
                else:
                    levels[price] = amount
        bids, asks = self._sides[name]
        self.newest[name] = change_id
        best = sorted(bids.items(), reverse=True)[:BOOK_DEPTH], sorted(asks.items())[:BOOK_DEPTH]
        self.states[name, change_id] = tuple(best[0]), tuple(best[1])

    def delivered(self, frame: bytes) -> None:
        """The client is handed this: a message that was changed on its way spoils its book until a true snapshot."""
        start = frame.find(b'"channel":"book.')
        if start < 0:
            return
        name = frame[start + 16 :].split(b".")[0].decode(errors="replace")
        if frame not in self._sent:
            self._tainted.add(name)
        elif b'"type":"snapshot"' in frame:
            self._tainted.discard(name)

    def is_tainted(self, name: str) -> bool:
        """Whether the client cannot know the book of `name`."""
        return name in self._tainted


class WitnessedVenue(DeribitVenue):
    """The venue, with a witness of all that it says."""

    truth: BookTruth

    def tick(self) -> Frames:
        frames = super().tick()
        for _, frame in frames:
            self.truth.sent(frame)
        return frames

    def receive(self, session: Session, frame: str | bytes) -> list[bytes]:
        answers = super().receive(session, frame)
        for each in answers:
            self.truth.sent(each)
        return answers


@dataclass
class Observer:
    """Reads each frame that the client is handed."""

    tickers: dict[str, list[Told]] = field(default_factory=dict)
    # The newest index or forward of this connection, by "index" or an expiry's code.
    heard_ns: dict[str, int] = field(default_factory=dict)
    opened_ns: int = 0
    frames: int = 0

    def connected_anew(self, now: Instant) -> None:
        """Nothing of the connection before counts any more."""
        self.heard_ns.clear()
        self.opened_ns = now.mono_ns

    def frame(self, frame: bytes | str, now: Instant) -> None:
        """One frame."""
        self.frames += 1
        try:
            params = _decoded(frame)["params"]
            channel, data = params["channel"], params["data"]
            kind, _, rest = channel.partition(".")
            if kind == "ticker":
                self._ticker(rest.split(".")[0], data, now)
            elif kind == "deribit_price_index" and number(data.get("price")) > 0.0:
                self.heard_ns["index"] = now.mono_ns
        except (AttributeError, TypeError, KeyError, ValueError):
            return  # garbled on purpose, or no notification

    def _ticker(self, name: str, data: dict[str, Any], now: Instant) -> None:
        forward, index = number(data.get("underlying_price")), number(data.get("index_price"))
        if name.count("-") == 3 and (forward > 0.0 or index > 0.0):
            self.heard_ns["index"] = self.heard_ns[name.split("-")[1]] = now.mono_ns
        elif name.count("-") == 1 and any(price_or_none(data.get(each)) > 0.0 for each in FUTURE_PRICES):
            self.heard_ns[name.split("-")[1]] = now.mono_ns  # a dated future is the forward of its expiry
        stamp = number(data.get("timestamp"))
        stamps = (now.wall_ns,) if math.isnan(stamp) else (int(stamp * 1e6), now.wall_ns)
        bid, ask = (price_or_none(data.get(f"best_{side}_price")) for side in ("bid", "ask"))
        self.tickers.setdefault(name, []).append(Told(now.mono_ns, bid, ask, forward, stamps))

    def told(self, name: str, since_ns: int) -> Iterator[Told]:
        """The tickers of an option that this connection brought since then, the newest first."""
        since_ns = max(since_ns, self.opened_ns)
        for each in reversed(self.tickers.get(name, ())):
            if each.mono_ns < since_ns:
                return
            yield each


def _decoded(frame: bytes | str) -> Any:
    """Any JSON; Python's own decoder, which is slow, also knows numbers beyond all bounds."""
    try:
        return msgspec.json.decode(frame)
    except msgspec.DecodeError:
        return json.loads(frame)


def number(value: object) -> float:
    """A JSON number; NaN for all else, one in quotes included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return math.nan
    return float(value)


def price_or_none(value: object) -> float:
    """A price; what is not above zero is none."""
    found = number(value)
    return found if found > 0.0 else math.nan


def black(forward: float, strike: float, ttm: float, sigma: float, cp: int) -> float:
    """The undiscounted Black-76 premium with thirty digits."""
    with mpmath.workdps(30):
        f, k, deviation = mpmath.mpf(forward), mpmath.mpf(strike), mpmath.mpf(sigma) * mpmath.sqrt(ttm)
        d1 = mpmath.log(f / k) / deviation + deviation / 2
        return float(cp * (f * mpmath.ncdf(cp * d1) - k * mpmath.ncdf(cp * (d1 - deviation))))


def years(expiry_ns: int, at_ns: int) -> float:
    """ACT/365 from one instant to another."""
    return (expiry_ns - at_ns) / NS_PER_YEAR
