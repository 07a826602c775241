"""The real venue's frames, recorded by others, through our adapter."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from pricer.adapters.deribit import Deribit
from pricer.adapters.deribit.instruments import instrument_from_wire, parse_option_name
from pricer.adapters.events import AnyEvent, DeliveryPrice, InstrumentListed, OptionQuote, UnderlyingPrice, VenueMark
from pricer.adapters.instruments import Instrument
from pricer.adapters.recording import open_recording
from pricer.adapters.records import Frame
from pricer.adapters.reenactment import apply_record
from pricer.clock import Instant
from tests.data import data_path

RECORDED = "wire/cryptofeed/DERIBIT.ws.1.0"


def instant_of(message: Any) -> Instant:
    """When a frame was sent, as its own stamp says."""
    data = message.get("params", {}).get("data", {})
    stamp = data.get("timestamp") if isinstance(data, dict) else data[0].get("timestamp")
    wall_ns = (stamp or 1_700_000_000_000) * 1_000_000
    return Instant(wall_ns, wall_ns)


def or_nan(value: float | None, *, zero_is_none: bool = True) -> float:
    return math.nan if value is None or (zero_is_none and value == 0) else value


def same(found: float, expected: float) -> bool:
    return found == expected or (math.isnan(found) and math.isnan(expected))


def test_the_recording_of_2021_gives_a_quote_for_each_of_its_89_tickers() -> None:
    recording = open_recording(data_path(RECORDED))
    adapter = Deribit(None)
    quotes: list[OptionQuote] = []
    marks: list[VenueMark] = []
    tickers: list[dict[str, Any]] = []
    kinds: Counter[str] = Counter()
    for record in recording:
        events = apply_record(adapter, record)
        kinds.update(type(event).__name__ for event in events)
        quotes += [event for event in events if isinstance(event, OptionQuote)]
        marks += [event for event in events if isinstance(event, VenueMark)]
        if isinstance(record, Frame) and b'"channel":"ticker.' in record.data:
            tickers.append(json.loads(record.data)["params"]["data"])
    assert len(tickers) == len(quotes) == len(marks) == 89
    assert not adapter.counters["bad_ticker"]
    assert not adapter.counters["instrument_from_name"], "the REST answers beside it hold every definition"
    for raw, quote, mark in zip(tickers, quotes, marks, strict=True):
        assert quote.instrument == mark.instrument == raw["instrument_name"]
        assert quote.exchange_ns == raw["timestamp"] * 1_000_000
        assert same(quote.bid, or_nan(raw["best_bid_price"]))
        assert same(quote.ask, or_nan(raw["best_ask_price"]))
        assert (quote.bid_size, quote.ask_size) == (raw["best_bid_amount"], raw["best_ask_amount"])
        assert (quote.forward, quote.index) == (raw["underlying_price"], raw["index_price"])
        assert quote.forward_index == raw["underlying_index"]
        assert same(mark.bid_iv, or_nan(raw["bid_iv"]) / 100)
        assert same(mark.mark_iv, or_nan(raw["mark_iv"]) / 100)
        assert (mark.mark, mark.delta, mark.theta) == (
            raw["mark_price"],
            raw["greeks"]["delta"],
            raw["greeks"]["theta"],
        )
    assert quotes[0].received.wall_ns == 1626993723_804855000
    assert all(first.received <= second.received for first, second in pairwise(quotes))


def test_the_recording_alone_is_enough_by_its_names(tmp_path: Any) -> None:
    path = tmp_path / "DERIBIT.ws.1.0"
    path.write_bytes(data_path(RECORDED).read_bytes())
    adapter = Deribit(("BTC", "ETH"))
    events: list[AnyEvent] = []
    for record in open_recording(path):
        events += apply_record(adapter, record)
    assert sum(isinstance(event, OptionQuote) for event in events) == 89
    listed = [event.definition for event in events if isinstance(event, InstrumentListed)]
    assert len(listed) == adapter.counters["instrument_from_name"] == 10
    assert {definition.price_index for definition in listed} == {"btc_usd", "eth_usd"}


def test_a_replay_gives_the_same_events_twice() -> None:
    def run() -> list[AnyEvent]:
        adapter = Deribit(None)
        return [event for record in open_recording(data_path(RECORDED)) for event in apply_record(adapter, record)]

    assert msgspec.json.encode(run()) == msgspec.json.encode(run())


def objects_of_2021() -> list[dict[str, Any]]:
    text = data_path("wire/cryptofeed/DERIBIT.0").read_text()
    answers = [line.partition(": ")[2] for line in text.splitlines() if " -> " in line]
    return [item for answer in answers for item in json.loads(answer)["result"]]


def objects_of_2026() -> list[dict[str, Any]]:
    folder = data_path("deribit/raw_ticker_snapshot_2026-06-27")
    found = json.loads((folder / "deribit_snapshot.json").read_bytes())["instruments"]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(("objects", "now_s"), [(objects_of_2021, 1_626_993_723), (objects_of_2026, 1_782_552_297)])
def test_D08_every_recorded_option_is_defined_and_its_name_goes_round(objects: Any, now_s: int) -> None:
    noted: list[str] = []
    count = 0
    for item in objects():
        if item["kind"] != "option":
            continue
        count += 1
        parsed = parse_option_name(item["instrument_name"])
        assert parsed is not None, item["instrument_name"]
        assert str(parsed) == item["instrument_name"]
        definition = instrument_from_wire(item, now_s * 10**9, noted.append)
        assert isinstance(definition, Instrument)
        assert definition.strike == item["strike"] == float(parsed.strike)
        assert definition.expiry_ns == item["expiration_timestamp"] * 10**6 == parsed.expiry_ns
        assert definition.cp == {"call": 1, "put": -1}[item["option_type"]]
    assert count >= 330
    assert noted == []


def test_the_snapshot_of_2026_gives_a_quote_for_each_of_its_330_tickers() -> None:
    folder = data_path("deribit/raw_ticker_snapshot_2026-06-27")
    snapshot = json.loads((folder / "deribit_snapshot.json").read_bytes())
    adapter = Deribit()
    adapter.receive(msgspec.json.encode({"result": snapshot["instruments"]}), Instant(1_782_552_297 * 10**9, 0))
    assert len(adapter.instruments) == 330
    for name, ticker in snapshot["tickers"].items():
        message = {"method": "subscription", "params": {"channel": f"ticker.{name}.100ms", "data": ticker}}
        quote, mark = adapter.receive(msgspec.json.encode(message), instant_of(message))
        assert isinstance(quote, OptionQuote)
        assert isinstance(mark, VenueMark)
        assert quote.instrument == name
        assert same(quote.bid, or_nan(ticker["best_bid_price"]))
        assert same(mark.ask_iv, or_nan(ticker["ask_iv"]) / 100)
        assert (quote.state, quote.forward) == ("open", ticker["underlying_price"])
    assert not adapter.counters


def literals() -> list[Any]:
    """Message literals of the tests of three other projects."""
    found = [json.loads(line) for line in data_path("wire/tardis-node/deribit.jsonl").read_text().splitlines()]
    parser = data_path("wire/crypto-msg-parser")
    for name in ("deribit.all.jsonl", "deribit.options.jsonl"):
        found += [json.loads(line) for line in (parser / name).read_text().splitlines() if line]
    found += [
        json.loads(path.read_bytes()) for path in sorted(data_path("wire/nautilus_trader/deribit").glob("*.json"))
    ]
    return found


def test_literals_of_other_projects_are_understood_or_counted() -> None:
    understood: Counter[str] = Counter()
    for message in literals():
        adapter = Deribit(None, testnet=bool(message.get("testnet")))
        adapter.opened(instant_of(message))
        adapter.on_time(instant_of(message))
        events = adapter.receive(msgspec.json.encode(message), instant_of(message))
        assert events or adapter.counters, message
        assert adapter.wants_reconnect is None
        understood.update(type(event).__name__ for event in events)
        for event in events:
            assert not isinstance(event, OptionQuote) or parse_option_name(event.instrument) is not None
            assert not isinstance(event, UnderlyingPrice) or event.price > 0
    assert understood["OptionQuote"] >= 4
    assert understood["UnderlyingPrice"] >= 3
    assert understood["InstrumentListed"] >= 1


def test_a_linear_ticker_of_2024_keeps_its_decimal_strike() -> None:
    (message,) = [each for each in literals() if "MATIC_USDC-9MAR24-1d02-C" in str(each.get("params"))]
    listed, quote, mark = Deribit(None).receive(msgspec.json.encode(message), instant_of(message))
    assert isinstance(listed, InstrumentListed)
    assert isinstance(quote, OptionQuote)
    assert isinstance(mark, VenueMark)
    assert (listed.definition.strike, listed.definition.settlement) == (1.02, "linear")
    assert listed.definition.price_index == "matic_usdc"
    assert math.isnan(quote.bid)
    assert (quote.forward_index, mark.mark_iv) == ("index_price", 2.0964)


def test_N02_a_ticker_of_an_option_that_has_just_expired_is_no_quote_but_tells_the_delivery_price() -> None:
    (message,) = [each for each in literals() if "BTC-8JUN20-8750-P" in str(each.get("params"))]
    adapter, now = Deribit(None), instant_of(message)
    expiry_ns = 1_591_603_200 * 10**9
    assert adapter.receive(msgspec.json.encode(message), now) == [
        DeliveryPrice(
            venue="deribit",
            received=now,
            exchange_ns=expiry_ns + 48_000_000,
            price_index="btc_usd",
            price=9728.65,
            estimated=False,
            expiry_ns=expiry_ns,
        )
    ]
    assert adapter.receive(msgspec.json.encode(message), now) == [], "once for all options of the expiry"
    assert adapter.counters == {"after_expiry": 2}
