"""Seeded mutations of good frames: no exception, no number out of nothing, nothing else disturbed (FAULTS P13).

`python -m tests.fuzz` goes on with a million, and with recorded frames, too.
"""

from __future__ import annotations

import math
import random
import time
from typing import Any

import msgspec
import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.events import (
    AnyEvent,
    DeliveryPrice,
    OptionQuote,
    Trade,
    UnderlyingPrice,
    VenueClock,
    VenueMark,
    VolatilityIndex,
)
from pricer.adapters.timing import PLAUSIBLE_OFFSET_NS
from tests.adapters.deribit_frames import FOLDER, NOW, Venue, encoded, fixture, frame
from tests.fuzz import mutations
from tests.fuzz.corpus import TRADE, notified
from tests.fuzz.mutations import mutated
from tests.fuzz.provenance import Invented, Provenance
from tests.fuzz.run import Fault, fuzz

NAMES = sorted(path.stem for path in FOLDER.glob("*.json") if path.stem != "metadata")


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
            assert math.isnan(iv) or (iv > 0.0 and math.isfinite(iv))
    elif isinstance(event, UnderlyingPrice):
        assert event.kind != "index" or event.price > 0.0
    elif isinstance(event, Trade):
        assert event.price > 0.0
        assert event.size > 0.0
        assert math.isfinite(event.price + event.size)
        assert event.trade_id
    elif isinstance(event, VolatilityIndex):
        assert event.volatility > 0.0
        assert math.isfinite(event.volatility)
    elif isinstance(event, DeliveryPrice):
        assert event.price > 0.0
        assert math.isfinite(event.price)
    elif isinstance(event, VenueClock):
        assert abs(event.offset_ns) <= PLAUSIBLE_OFFSET_NS
        assert event.round_trip_ns >= 0


def test_P13_twenty_thousand_mutated_frames_do_no_harm() -> None:
    tally = fuzz(20_000, 20261121, real=False)
    assert tally.inputs == 20_000
    assert {each.__name__ for each in (*mutations.STRUCTURE, *mutations.RAW)} < set(tally.mutations)
    for kind in ("OptionQuote", "VenueMark", "UnderlyingPrice", "InstrumentChanged", "Order", "Fill", "Position"):
        assert tally.events[kind] > 5, "many mutations leave something usable"


def test_P13_one_adapter_outlives_ten_thousand() -> None:
    rng = random.Random(20261121)
    good = [fixture(name) for name in NAMES]
    venue = Venue(Deribit(marks=True, trades=True, quotes="incremental"), fixture("instruments_btc")["result"])
    venue.open()
    adapter, healthy, kept = venue.adapter, frame("ticker_inverse_call"), 0
    for number in range(10_000):
        _, data = mutated(rng.choice(good), rng)
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
    assert kept > 1_500
    assert len(adapter.counters) < 80, sorted(adapter.counters)
    assert adapter.counters["bad_frame"] > 1_000


def test_P13_the_same_seed_gives_the_same_events() -> None:
    assert fuzz(1_500, 5, real=False).digest == fuzz(1_500, 5, real=False).digest
    assert fuzz(1_500, 5, real=False).digest != fuzz(1_500, 6, real=False).digest


def test_S17_one_sequence_number_beyond_64_bits_does_not_make_later_trades_old() -> None:
    """Found by the fuzzing: digits that were doubled on the way made every later trade of the option late."""
    adapter = Deribit(None)
    adapter.opened(NOW)

    def trade(number: int) -> list[AnyEvent]:
        row = encoded({**TRADE, "trade_seq": 0, "trade_id": str(number)[:40]})
        data = msgspec.Raw(b"[" + row.replace(b'"trade_seq":0', b'"trade_seq":' + str(number).encode()) + b"]")
        return adapter.receive(encoded(notified("trades.option.BTC.100ms", data)), NOW)

    trade(41)
    huge = [each for each in trade(10**400) if isinstance(each, Trade)]
    assert [each.sequence for each in huge] in ([], [None])
    after = [each for each in trade(42) if isinstance(each, Trade)]
    assert [each.sequence for each in after] == [42]
    assert adapter.counters["late_trade"] == 0


# The judges themselves

INVENTED = UnderlyingPrice(venue="deribit", received=NOW, kind="index", price_index="btc_usd", price=0.12321)


@pytest.mark.parametrize("name", ["ticker_inverse_call", "ticker_linear_call", "ticker_perpetual", "price_index"])
def test_an_invented_number_is_found_wherever_it_stands(name: str) -> None:
    adapter = Deribit(None)
    adapter.opened(NOW)
    data = frame(name)
    events = [
        each for each in adapter.receive(data, NOW) if isinstance(each, OptionQuote | VenueMark | UnderlyingPrice)
    ]
    assert events
    Provenance().check(data, events, NOW)
    for event in events:
        for field in event.__struct_fields__:
            value = getattr(event, field)
            if type(value) is float and not math.isnan(value):
                with pytest.raises(Invented, match=field):
                    Provenance().check(data, [msgspec.structs.replace(event, **{field: value + 1.25})], NOW)


def told(data: bytes, adapter: Deribit | None = None) -> list[Any]:
    """The events of a frame."""
    if adapter is None:
        adapter = Deribit(None)
        adapter.opened(NOW)
    kinds = OptionQuote | VenueMark | UnderlyingPrice
    events = [each for each in adapter.receive(data, NOW) if isinstance(each, kinds)]
    assert events
    return events


def test_a_price_beside_the_middle_of_a_quote_is_invented() -> None:
    data = frame("quote_perpetual")
    (quote,) = told(data)
    Provenance().check(data, [quote], NOW)
    with pytest.raises(Invented, match="price"):  # it stands there, but as the bid
        Provenance().check(data, [msgspec.structs.replace(quote, price=quote.bid)], NOW)


@pytest.mark.parametrize(("name", "scale"), [("ticker_inverse_call", 100.0), ("marks", 0.01)])
def test_a_volatility_in_the_scale_of_another_channel_is_invented(name: str, scale: float) -> None:
    data = frame(name) if name.startswith("ticker") else encoded(fixture(name))
    marks = [each for each in told(data) if isinstance(each, VenueMark)]
    Provenance().check(data, marks, NOW)
    with pytest.raises(Invented, match="mark_iv"):
        Provenance().check(data, [msgspec.structs.replace(each, mark_iv=each.mark_iv * scale) for each in marks], NOW)


def test_what_was_merged_stands_on_its_own_channel_and_since_its_snapshot_alone() -> None:
    adapter, provenance = Deribit(None), Provenance()
    adapter.opened(NOW)
    snapshot, change = frame("incremental_snapshot"), frame("incremental_change")
    provenance.check(snapshot, told(snapshot, adapter), NOW)
    merged = told(change, adapter)
    provenance.check(change, merged, NOW)
    with pytest.raises(Invented):
        Provenance().check(change, merged, NOW)
    elsewhere = Provenance()
    elsewhere.check(snapshot.replace(b"65000-C", b"70000-C"), [], NOW)
    with pytest.raises(Invented):
        elsewhere.check(change, merged, NOW)
    anew = change.replace(b'"type":"change"', b'"type":"snapshot"')
    provenance.check(anew, told(anew, adapter), NOW)
    with pytest.raises(Invented):
        provenance.check(change, merged, NOW)


@pytest.mark.parametrize(
    ("harm", "message"),
    [(lambda: 1 / 0, "ZeroDivisionError"), (lambda: spin(0.02), "ms for"), (lambda: [INVENTED], "0.12321")],
)
def test_a_decoder_that_does_harm_is_found(monkeypatch: pytest.MonkeyPatch, harm: Any, message: str) -> None:
    receive = Deribit.receive

    def harmful(self: Deribit, data: Any, now: Any) -> list[AnyEvent]:
        if b"heartbeat" in data and self.wants_reconnect is None:
            return receive(self, data, now) + (harm() or [])
        return receive(self, data, now)

    monkeypatch.setattr(Deribit, "receive", harmful)
    with pytest.raises(Fault, match=message):
        fuzz(2_000, 1, real=False)


def spin(seconds: float) -> None:
    """Burn processor time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
