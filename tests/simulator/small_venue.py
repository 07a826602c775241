"""A Deribit with few options, on a clock that moves when told: quick enough for many scenarios."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import msgspec

from pricer.clock import NS_PER_SECOND, Clock, Instant, ManualClock
from pricer.simulator.faults import fault
from pricer.simulator.listing import BTC
from pricer.simulator.market import Market
from pricer.simulator.venues.deribit.faults import FaultyDeribit
from pricer.simulator.venues.deribit.rpc import Session
from pricer.simulator.venues.deribit.venue import DeribitVenue

START_NS = int(datetime(2026, 11, 6, 14, 30, tzinfo=UTC).timestamp()) * NS_PER_SECOND
# A monthly expiry is over at this moment.
ROLL_NS = int(datetime(2026, 11, 27, 8, tzinfo=UTC).timestamp()) * NS_PER_SECOND
# Two monthly expiries with a dozen strikes or so each: as few as make a certified surface.
FEW = dataclasses.replace(BTC, months_only=2, strike_unit=2000.0)


def small_market(now_ns: int, seed: int = 1, *, activity: float = 0.15) -> Market:
    """Some forty options."""
    return Market(seed, now_ns, activity=activity, families=(FEW,))


def small_venue(clock: Clock, seed: int = 1) -> DeribitVenue:
    """The venue over a small market."""
    return DeribitVenue(small_market(clock.now().wall_ns, seed), clock=clock)


class Client:
    """One session with a faulty venue, and all that it was sent."""

    def __init__(self, start_ns: int = START_NS, seed: int = 1) -> None:
        self.clock = ManualClock(Instant(start_ns, 0))
        self.venue = FaultyDeribit(small_venue(self.clock, seed), seed)
        self.session: Session = self.venue.open()
        self.frames: list[bytes] = []
        self._last_id = 0

    @property
    def names(self) -> list[str]:
        """The options that are listed."""
        return self.venue.market.chains["BTC"].names

    def begin(self, name: str, **parameters: Any) -> None:
        """A fault begins; its name is its key."""
        each = fault(0.0, name, **parameters)
        self.venue.begin(hash(name), each)

    def end(self, name: str) -> None:
        self.venue.end(hash(name), fault(0.0, name))

    def ask(self, method: str, **params: Any) -> list[Any]:
        """A request; what is sent at once in return."""
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        frames = self.venue.receive(self.session, msgspec.json.encode(request))
        self.frames += frames
        return [msgspec.json.decode(each) for each in frames]

    def subscribe_all(self) -> list[str]:
        """Every option's ticker, the index, the states and the platform."""
        channels = [f"ticker.{name}.100ms" for name in self.names]
        channels += ["deribit_price_index.btc_usd", "instrument.state.any.any", "platform_state"]
        self.ask("public/subscribe", channels=channels)
        return channels

    def ticks(self, count: int = 10, step_ns: int = NS_PER_SECOND // 10) -> list[bytes]:
        """What is pushed while time passes."""
        pushed = []
        for _ in range(count):
            self.clock.advance(step_ns)
            pushed += [frame for _, frame in self.venue.tick()]
        self.frames += pushed
        return pushed


def read(frames: list[bytes], prefix: str = "") -> list[Any]:
    """The (channel, data) of notifications whose channel begins so; frames that are no JSON are left out."""
    found = []
    for frame in frames:
        try:
            params = msgspec.json.decode(frame).get("params", {})
        except msgspec.DecodeError:
            continue
        if params.get("channel", "").startswith(prefix):
            found.append((params["channel"], params.get("data")))
    return found
