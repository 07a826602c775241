"""H03 on virtual time: what a minute of resets, joins and drops leaves behind, counted in objects."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import orjson
import pytest

from benchmarks.soak_memory import by_type, grown
from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent
from pricer.books import BookView
from pricer.clock import Instant
from pricer.config import ServerSection
from pricer.microstructure import MicroState
from pricer.orderflow import OrderFlow
from pricer.recent_trades import Tape
from pricer.sidecar.encodings import JSON, MSGPACK
from pricer.sidecar.hub import Hub
from pricer.simulator.faults import parse_script
from pricer.simulator.virtual_time import VirtualTimeLoop, run_on
from tests.sidecar.bench import FakeLink
from tests.sidecar.snapshots import Source
from tests.simulate.scenario import Result, Run

JOINS_PER_S, STAY = 6, 12  # clients that come each second, and how many of them are there at a time
RESET_EVERY_S = 5
CHANNELS = ("chain", "surface", "forward", "health", "trades", "depth")
MOST_MORE = 100  # of one type: a third of the clients that came and went


class Live(Run):
    """The feed and the engine of the scenario with trades and books, and a sidecar's hub over them; nothing judges."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__(loop, Result(1, ()))
        self.adapter = Deribit(("BTC",), books=self._books(), trades=True)
        self.flow = OrderFlow("deribit", most_trades=20)
        self.source = FlowSource(self)
        self.hub = Hub(
            self.source,
            ServerSection(resume_messages=10),
            venue="deribit",
            underlyings=["BTC"],
            clock=self.host_clock,
        )

    def _on_frame(self, frame: bytes | str, now: Instant) -> None:
        """What the scenario would keep of it grows by design."""

    def _deliver(self, events: list[AnyEvent], now: Instant) -> None:
        for event in events:
            self.engine.apply(event)
        self.flow.apply(events)
        if events:
            self.wake.set()

    def _price(self) -> None:
        self.latest = self.engine.price(self.host_clock.now())
        self.source.publish(self.latest)


class FlowSource(Source):
    """As `pricer.live`: books, trades and the recent past beside the snapshots."""

    def __init__(self, run: Live) -> None:
        super().__init__()
        self._run = run

    def book(self, instrument: str) -> BookView:
        return self._run.flow.book(instrument, self._run.host_clock.now())

    def microstructure(self, instrument: str) -> MicroState:
        return self._run.flow.state(instrument, self._run.host_clock.now(), vega=1.0, points=1.0)

    def recent_trades(self, **of: str) -> Tape:
        return self._run.flow.trades(**of)

    def underlying_of(self, instrument: str) -> str | None:
        return self._run.flow.underlying_of(instrument)


async def come_and_go(run: Live, seconds: int, rng: random.Random) -> None:
    """So many seconds with a reset now and then, in which clients join, read, and leave, some without a word."""
    (reset,) = parse_script([[0.0, "reset"]])
    there: list[tuple[Any, FakeLink]] = []
    for second in range(seconds):
        if second % RESET_EVERY_S == 0:
            run.path.begin(0, reset)
            run.path.end(0, reset)
        for _ in range(JOINS_PER_S):
            link, encoding = FakeLink(), rng.choice((JSON, MSGPACK))
            client = run.hub.join(link, encoding)
            run.hub.greet(client)
            asked = {"op": "subscribe", "channel": rng.choice(CHANNELS), "underlying": "BTC"}
            if asked["channel"] == "depth":
                asked["instrument"] = "BTC-PERPETUAL"
            packed = encoding.encode_request(asked)
            run.hub.receive(client, packed if encoding is MSGPACK else orjson.dumps(asked).decode())
            there.append((client, link))
        run.hub.publish()
        for _, link in there:
            link.frames()
        while len(there) > STAY:
            run.hub.leave(there.pop(rng.randrange(len(there)))[0])
        await asyncio.sleep(1)
    for client, _ in there:
        run.hub.leave(client)


def more_after(seconds: int) -> list[tuple[str, int]]:
    """Types of which there are many more after so many seconds than after as many before; not the venue's own."""
    found: list[tuple[str, int]] = []

    async def body(run: Run) -> None:
        assert isinstance(run, Live)
        rng = random.Random(7)
        await asyncio.sleep(8)
        await come_and_go(run, seconds, rng)
        first = by_type()
        await come_and_go(run, seconds, rng)
        last = by_type()
        assert run.feed.counters["connections"] > seconds / RESET_EVERY_S
        assert run.latest is not None
        assert run.latest.version > seconds
        found.extend(each for each in grown(first, last, MOST_MORE) if not each[0].startswith("pricer.simulator"))

    loop = VirtualTimeLoop()
    run_on(loop, Live(loop).main(body))
    return found


def test_H03_a_minute_of_resets_and_of_clients_that_come_and_go_leaves_no_objects() -> None:
    assert more_after(50) == []


def test_H03_clients_that_somebody_keeps_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []
    leave = Hub.leave

    def keeping(hub: Hub, client: Any) -> None:
        kept.append(client)
        leave(hub, client)

    monkeypatch.setattr(Hub, "leave", keeping)
    found = more_after(20)
    assert "pricer.sidecar.clients.Client" in dict(found)
