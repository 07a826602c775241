"""Of every channel: who follows the deltas has what who asks anew gets, and the checksum says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pricer.clock import Instant, ManualClock
from pricer.engine import Engine
from pricer.sidecar.channels import CHANNELS, Served
from pricer.sidecar.channels import Market as Known
from pricer.sidecar.moment import nothing_yet
from pricer.sidecar.protocol import StreamKey
from pricer.snapshot import Snapshot
from tests.handmade import SECOND
from tests.scene import Scene
from tests.sidecar.channels.flow import FlowSource
from tests.sidecar.channels.following import Follower, read
from tests.sidecar.snapshots import Market

START = Instant(1_795_000_000 * SECOND, 1000 * SECOND)
BTC = ("deribit", "BTC")
NAME = "BTC-20776-100000-C"
KEYS = [
    StreamKey("chain", *BTC),
    StreamKey("chain", *BTC, columns=("bid", "iv", "delta")),
    StreamKey("chain", *BTC, expiries=2),
    StreamKey("chain", *BTC, columns=("ask_iv",), strikes=("count", 2.0)),
    StreamKey("chain", *BTC, strikes=("percent", 3.0)),
    StreamKey("chain", *BTC, strikes=("delta", 0.4)),
    StreamKey("surface", *BTC),
    StreamKey("surface", *BTC, columns=("atm_iv", "rr25"), expiries=1),
    StreamKey("forward", *BTC),
    StreamKey("forward", *BTC, columns=("value", "basis")),
    StreamKey("health", "deribit"),
    StreamKey("trades", *BTC),
    StreamKey("trades", *BTC, instrument=NAME, columns=("price",)),
    StreamKey("depth", *BTC, instrument=NAME),
    StreamKey("depth", *BTC, instrument=NAME, columns=("bid_price",)),
]
# What only the moment of asking decides.
OF_THE_MOMENT = {"sent_ns", "mono_ns", "computed_age_ns"}


class Streams:
    """One stream of each key, and a follower of each."""

    def __init__(self, source: Any, keys: list[StreamKey]) -> None:
        self.source = source
        self.keys = keys
        self.pictures: dict[StreamKey, Any] = {}
        self.followers = {key: Follower(key.channel) for key in keys}
        self.deltas = dict.fromkeys(keys, 0)
        self.snapshots = dict.fromkeys(keys, 0)

    def advance(self, snapshot: Snapshot) -> None:
        """As the hub does it; and then each follower is held against the whole truth."""
        market = Known(snapshot, self.source, 9, Served(3, 7))
        for key in self.keys:
            self._advance(key, market)

    def _advance(self, key: StreamKey, market: Known) -> None:
        old = self.pictures.get(key)
        new = CHANNELS[key.channel].take(market, key, old)
        follower = self.followers[key]
        self.pictures[key] = new
        if old is None or not new.has_rows_of(old):
            follower.begin(new.whole())
            self.snapshots[key] += 1
        elif not new.says_the_same_as(old):
            follower.change(new.since(old))
            self.deltas[key] += 1
        self._compare(key, market)

    def _compare(self, key: StreamKey, market: Known) -> None:
        mine, follower = self.pictures[key], self.followers[key]
        assert follower.columns == read(mine.whole())["columns"], key
        assert follower.crc32() == mine.crc32(), key
        # A picture that knows nothing of earlier ones says the same; only hysteresis and pace may differ.
        if key.strikes is None and key.channel != "health":
            afresh = CHANNELS[key.channel].take(market, key)
            assert follower.columns == read(afresh.whole())["columns"], key
            assert follower.crc32() == afresh.crc32()


@pytest.mark.parametrize("seed", range(3))
def test_deltas_lead_where_a_new_picture_begins(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clock = ManualClock(START)
    market = Market(clock)
    assert market.definitions[0].names[10] == NAME
    source = FlowSource(market)
    source.latencies = Latencies()  # type: ignore[attr-defined]
    streams = Streams(source, KEYS)
    streams.advance(nothing_yet(clock))
    for _ in range(50):
        clock.advance(int(rng.integers(1, SECOND)))
        disturb(market, source, rng)
        streams.advance(market.snapshot())
    for key in KEYS:
        assert streams.snapshots[key] + streams.deltas[key] > 10, key
        assert streams.deltas[key] > 5, key
        assert streams.snapshots[key] < 40, key


class Latencies:
    """One more at every look."""

    count = 0

    def values(self) -> Any:
        self.count += 1
        return np.arange(self.count)


def disturb(market: Market, source: FlowSource, rng: np.random.Generator) -> None:
    """Something happens."""
    for _ in range(rng.integers(0, 3)):
        values = {"bid": rng.random(), "bid_iv": rng.random(), "ask_iv": rng.random(), "iv": rng.random()}
        market.quote(int(rng.integers(3)), int(rng.integers(2, 18)), **values)
    if rng.random() < 0.3:
        market.quote(1, int(rng.integers(2, 18)), ask=np.nan, delta=np.nan)
    if rng.random() < 0.4:
        market.move(float(rng.normal(0.0, 0.004)))
    if rng.random() < 0.3:
        market.confirm()
    if rng.random() < 0.05:
        market.list_strike(2, int(rng.integers(9, 14)))
    names = market.definitions[0].names
    for _ in range(rng.integers(0, 4)):
        name = NAME if rng.random() < 0.5 else names[int(rng.integers(len(names)))]
        source.trade(name, float(rng.random()), bust=bool(rng.random() < 0.1), side="sell")
    if rng.random() < 0.5:
        source.levels(NAME, rng)
    if rng.random() < 0.05:
        source.lose(NAME)


def test_smiles_and_all_else_of_a_real_engine_are_followed() -> None:
    scene = Scene()
    engine = Engine(clock=scene.clock)
    for event in [scene.feed("live"), *scene.listings()]:
        engine.apply(event)
    keys = [key for key in KEYS if not key.instrument]
    streams = Streams(None, keys)
    rng = np.random.default_rng(4)
    for step in range(12):
        scene.forward *= 1.0 + 0.002 * rng.normal()
        quotes = scene.quotes()
        for event in [scene.index(), scene.perpetual(), *quotes[: len(quotes) * min(step, 3) // 3]]:
            engine.apply(event)
        streams.advance(engine.price(scene.clock.now()))
        scene.clock.advance(SECOND // 3)
    surface = streams.followers[StreamKey("surface", *BTC)]
    assert surface.columns["certified"] == [1, 1, 1]
    assert surface.columns["model"] == ["svi"] * 3
    assert all(0.55 < value < 0.65 for value in surface.columns["atm_iv"])
    assert surface.head["surface_version"] > 0
    assert streams.deltas[StreamKey("surface", *BTC)] > 5


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_the_stages_stand_in_every_message(key: StreamKey) -> None:
    clock = ManualClock(START)
    market = Market(clock)
    source = FlowSource(market)
    source.trade(NAME)
    source.levels(NAME, np.random.default_rng(0))
    channel = CHANNELS[key.channel]
    old = channel.take(Known(market.snapshot(), source, 9), key)
    clock.advance(SECOND)
    market.move()
    market.quote(0, 10, iv=0.7, bid=0.2, ask_iv=0.4)
    source.trade(NAME)
    source.levels(NAME, np.random.default_rng(1))
    new = channel.take(Known(market.snapshot(), source, 9), key, old)
    for content in (new.whole(), new.since(old)):
        head = content.head
        assert head["venue_ns"] <= head["received_ns"] <= head["computed_ns"] <= head["sent_ns"]
        assert head["received_ns"] == clock.now().wall_ns
        assert head["mono_ns"] == clock.now().mono_ns
        assert isinstance(head["reasons"], tuple)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_source_that_has_nothing_is_shown_as_such_and_is_no_error(key: StreamKey) -> None:
    clock = ManualClock(START)
    picture = CHANNELS[key.channel].take(Known(nothing_yet(clock), object(), 9), key)
    follower = Follower(key.channel)
    follower.begin(picture.whole())
    assert follower.crc32() == picture.crc32()
    assert follower.head["venue_ns"] is None
    if key.channel in ("trades", "depth"):
        state = follower.head["tape" if key.channel == "trades" else "book"]
        assert (state["status"], state["reasons"]) == ("INVALID", ["NO_QUOTE"])
        assert "keeps no" in state["detail"]
