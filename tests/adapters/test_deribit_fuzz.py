"""Seeded mutations of good frames: no exception, no number out of nothing, nothing else disturbed (FAULTS P13)."""

from __future__ import annotations

import math
import random
from typing import Any

from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent, OptionQuote, UnderlyingPrice, VenueMark
from tests.adapters.deribit_frames import FOLDER, NOW, Venue, encoded, fixture, frame

NAMES = sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != "metadata")
VALUES: list[Any] = [None, 0, 0.0, -0.0, -1, "", "0.1", "NaN", True, False, [], {}, [[]], 1e308, 5e-324, 10**30, "\x00‮"]
TOKENS = [b"NaN", b"Infinity", b"-", b"1e400", b"null", b'"', b"{", b"]", b"\xff", b",", b"1" * 400, b"\\ud800", b"tru"]


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """Cut, overwritten, doubled or with a strange token inside."""
    at = rng.randrange(len(data) + 1)
    to = min(len(data), at + rng.randrange(1, 12))
    kind = rng.randrange(4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + rng.choice(TOKENS) + data[to:]
    if kind == 2:
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    return data[:to] + data[at:]


def changed_value(node: Any, rng: random.Random) -> Any:
    """One field somewhere gets a value of a wrong kind, or goes away."""
    if isinstance(node, dict) and node and rng.random() < 0.9:
        key = rng.choice(sorted(node))
        changed = dict(node)
        if rng.random() < 0.15:
            del changed[key]
        else:
            changed[key] = changed_value(node[key], rng)
        return changed
    if isinstance(node, list) and node and rng.random() < 0.7:
        at = rng.randrange(len(node))
        return [*node[:at], changed_value(node[at], rng), *node[at + 1 :]]
    return rng.choice(VALUES)


def check(event: AnyEvent) -> None:
    """What an event may say, whatever the frame was."""
    assert event.exchange_ns is None or abs(event.exchange_ns - NOW.wall_ns) <= 3_600_000_000_000
    if isinstance(event, OptionQuote):
        for price in (event.bid, event.ask, event.forward, event.index):
            assert math.isnan(price) or (price > 0.0 and math.isfinite(price))
        for size in (event.bid_size, event.ask_size):
            assert math.isnan(size) or (size >= 0.0 and math.isfinite(size))
    elif isinstance(event, VenueMark):
        for iv in (event.mark_iv, event.bid_iv, event.ask_iv):
            assert math.isnan(iv) or (iv > 0.0 and math.isfinite(iv)) or iv == 5e-324 / 100
    elif isinstance(event, UnderlyingPrice):
        assert event.kind != "index" or event.price > 0.0


def test_P13_mutated_frames_never_raise_nor_invent_numbers() -> None:
    rng = random.Random(20261121)
    good = [fixture(name) for name in NAMES]
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.open()
    adapter, healthy, kept = venue.adapter, frame("ticker_inverse_call"), 0
    for number in range(40_000):
        message = rng.choice(good)
        data = changed_bytes(encoded(message), rng) if number % 2 else encoded(changed_value(message, rng))
        for event in adapter.receive(data, NOW):
            check(event)
            kept += 1
        if adapter.wants_reconnect is not None:  # the mutation was in `testnet`
            adapter.closed(NOW, "fuzz")
            venue.open()
        if number % 100 == 0:
            quote, _ = adapter.receive(healthy, NOW)
            assert isinstance(quote, OptionQuote)
            assert (quote.bid, quote.forward) == (0.1905, 83140.6237)
    assert kept > 5_000, "many mutations leave something usable"
    assert len(adapter.counters) < 80, sorted(adapter.counters)
    assert adapter.counters["bad_frame"] > 1_000


def test_P13_the_same_mutations_give_the_same_events() -> None:
    def run() -> list[str]:
        rng = random.Random(5)
        adapter = Deribit(None)
        adapter.opened(NOW)
        good = [fixture(name) for name in NAMES]
        events: list[str] = []
        for _ in range(2_000):
            events += map(repr, adapter.receive(changed_bytes(encoded(rng.choice(good)), rng), NOW))
        return events

    assert run() == run()
