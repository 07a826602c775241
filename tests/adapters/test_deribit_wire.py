"""Real frames that others recorded or keep as literals of their own tests: each gives the events expected of it.

What each file proves:

- cryptofeed `DERIBIT.ws.1.0`: 30 s of 2021 as one connection, 89 tickers and 46 book messages, and nothing misread.
- cryptofeed `DERIBIT.0`: instrument lists of 2021 and 2022, options and futures, inverse and linear.
- tardis-node: trades with liquidations, quotes, tickers of 2019 to 2024, expired, linear, and of combos.
- crypto-msg-parser: futures beside options on every channel; answers to calls that are not ours are no market data.
- nautilus_trader: shapes of 2025 and 2026: tickers, trades, a combo with its legs, the volatility index, lists.

Books are proved by the tests of books; here they are only told apart.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pricer.adapters.deribit import Deribit, channels
from pricer.adapters.deribit.instruments import (
    instrument_from_name,
    instrument_from_wire,
    parse_future_name,
    parse_option_name,
)
from pricer.adapters.events import (
    AnyEvent,
    DeliveryPrice,
    InstrumentListed,
    OptionQuote,
    Trade,
    UnderlyingPrice,
    VenueMark,
    VolatilityIndex,
)
from pricer.adapters.recording import open_recording
from pricer.adapters.records import Frame
from pricer.adapters.reenactment import apply_record
from pricer.clock import Instant
from tests.data import data_path, data_root

NAUTILUS = "wire/nautilus_trader/deribit"


def frames(name: str) -> list[Any]:
    """The messages of one file, a JSON object a line or one alone."""
    text = data_path(f"wire/{name}").read_text()
    return [json.loads(line) for line in text.splitlines() if line] if name.endswith("l") else [json.loads(text)]


def at(message: Any) -> Instant:
    """When a message was sent, as its own stamp says."""
    data = message.get("params", {}).get("data", {})
    stamp = data.get("timestamp") if isinstance(data, dict) else data[0]["timestamp"]
    wall_ns = (stamp or 1_700_000_000_000) * 1_000_000
    return Instant(wall_ns, wall_ns)


def heard(message: Any) -> tuple[list[AnyEvent], Counter[str]]:
    """What one message alone says to an adapter that takes everything."""
    now = at(message)
    adapter = Deribit(None, testnet=bool(message.get("testnet")))
    adapter.opened(now)
    adapter.on_time(now)
    return adapter.receive(msgspec.json.encode(message), now), adapter.counters


def channel_of(message: Any) -> str:
    return str(message.get("params", {}).get("channel", ""))


def is_book(message: Any) -> bool:
    return channels.kind_of(channel_of(message)) == channels.BOOK


QUOTED = ["InstrumentListed", "OptionQuote", "VenueMark"]  # an option's first ticker in a recording
PRICE = ["UnderlyingPrice"]

# File, and for each message but those of books: what it gives, and what is counted with it.
EXPECTED: dict[str, list[tuple[list[str], dict[str, int]]]] = {
    "tardis-node/deribit.jsonl": [
        (["Trade", "Trade"], {}),
        (PRICE, {}),
        (PRICE, {}),
        (PRICE, {}),
        (["DeliveryPrice"], {"after_expiry": 1}),
        *[(QUOTED, {"instrument_from_name": 1})] * 3,
        (["Trade"], {}),
        (["Trade"], {}),
        *[([], {"unwanted": 1})] * 3,  # tickers of combos
        (QUOTED, {"instrument_from_name": 1}),
    ],
    "crypto-msg-parser/deribit.all.jsonl": [
        (["Trade"], {}),
        (["Trade", "Trade"], {}),
        (["Trade"], {}),
        (PRICE, {}),
        (PRICE, {}),
        *[([], {"unknown_channel": 1})] * 3,  # candles
        (PRICE, {}),
        (PRICE, {}),
        (QUOTED, {"instrument_from_name": 1}),
        *[([], {"unknown_id": 1})] * 3,  # order books of REST
        ([], {"other_kind": 1}),  # summaries
        ([], {"other_kind": 2}),
        ([], {"other_kind": 1}),
        ([], {"other_kind": 1}),
    ],
    "crypto-msg-parser/deribit.options.jsonl": [
        (["Trade"], {}),
        (QUOTED, {"instrument_from_name": 1}),
        ([], {"unknown_id": 1}),
        ([], {"other_kind": 2}),
        ([], {"other_kind": 1}),
    ],
}
NAUTILUS_EXPECTED: dict[str, tuple[list[str], dict[str, int]]] = {
    "http_get_expirations_any": ([], {"unknown_id": 1}),
    "http_get_expirations_btc_option": ([], {"unknown_id": 1}),
    "http_get_instrument": ([], {"unknown_id": 1}),
    "http_get_instrument_option": ([], {"unknown_id": 1}),
    # Its two dated instruments expire at 12:00, which no real one does.
    "http_get_instruments": (["InstrumentListed"] * 3, {"name_disagrees": 2, "other_kind": 1}),
    "http_get_instruments_future_combo": ([], {"other_kind": 6}),
    "http_get_instruments_option_combo": ([], {"other_kind": 6}),
    "http_get_last_trades_option_combo": ([], {"unknown_id": 1}),
    "http_get_order_book": ([], {"unknown_id": 1}),
    "ws_quote": (PRICE, {}),
    "ws_subscribe_response": ([], {"unknown_id": 1}),
    "ws_ticker": (PRICE, {}),
    "ws_trades": (["Trade", "Trade"], {}),
    "ws_trades_option_combo": (["Trade", "Trade"], {"combo_trade": 1}),
    "ws_volatility_index": (["VolatilityIndex"], {}),
}


def said(message: Any) -> tuple[list[str], dict[str, int]]:
    events, counters = heard(message)
    return [type(event).__name__ for event in events], dict(counters)


@pytest.mark.parametrize("name", EXPECTED)
def test_every_frame_of_a_file_gives_the_events_expected(name: str) -> None:
    messages = frames(name)
    assert [said(message) for message in messages if not is_book(message)] == EXPECTED[name]


def test_every_file_of_nautilus_gives_the_events_expected() -> None:
    files = sorted(path.stem for path in data_path(NAUTILUS).glob("*.json"))
    (*found,) = (name for name in files if not name.startswith("ws_book_"))
    assert found == sorted(NAUTILUS_EXPECTED)
    assert len(files) - len(found) == 3
    for name in found:
        (message,) = frames(f"nautilus_trader/deribit/{name}.json")
        assert said(message) == NAUTILUS_EXPECTED[name], name


def test_the_recording_of_2021_is_read_without_a_remainder() -> None:
    adapter, kinds, books, others = Deribit(None), Counter[str](), 0, 0
    for record in open_recording(data_path("wire/cryptofeed/DERIBIT.ws.1.0")):
        message = json.loads(record.data) if isinstance(record, Frame) else {}
        books += is_book(message)
        events = apply_record(adapter, record)
        if not is_book(message):
            kinds.update(type(event).__name__ for event in events)
            others += channels.kind_of(channel_of(message)) not in ("", channels.TICKER)
    assert (books, others) == (46, 0)
    assert (kinds["OptionQuote"], kinds["VenueMark"], kinds["InstrumentListed"]) == (89, 89, 1017)
    assert not [key for key in adapter.counters if key.startswith("bad_") or key.startswith("unknown_field")]


# Representative frames, read by eye


def only(name: str, channel: str, at: int = 0) -> tuple[Any, list[AnyEvent]]:
    message = [message for message in frames(name) if channel_of(message) == channel][at]
    return message, heard(message)[0]


def test_a_liquidation_of_march_2020() -> None:
    _, events = only("tardis-node/deribit.jsonl", "trades.BTC-PERPETUAL.raw", 1)
    (trade,) = events
    assert isinstance(trade, Trade)
    assert trade.is_open_market
    assert (trade.trade_id, trade.sequence, trade.side, trade.liquidation) == ("66460463", 40781986, "sell", "T")
    assert (trade.price, trade.size, trade.index) == (4469.5, 1120.0, 4805.41)
    assert trade.exchange_ns == 1_584_058_044_032_000_000
    assert math.isnan(trade.iv)
    assert math.isnan(trade.mark)


def test_an_option_trade_of_march_2021() -> None:
    _, events = only("crypto-msg-parser/deribit.options.jsonl", "trades.option.any.raw")
    assert events == [
        Trade(
            venue="deribit",
            received=Instant(1_616_321_732_986_000_000, 1_616_321_732_986_000_000),
            exchange_ns=1_616_321_732_986_000_000,
            instrument="BTC-26MAR21-62000-C",
            trade_id="137488100",
            price=0.007,
            size=0.1,
            side="buy",
            sequence=1706,
            iv=0.7844,
            mark=0.00670817,
            index=56151.63,
        )
    ]


def test_D10_a_combo_of_2026_is_its_two_legs() -> None:
    _, events = only("nautilus_trader/deribit/ws_trades_option_combo.json", "trades.BTC-CS-19MAY26-70000_75000.raw")
    found = [event for event in events if isinstance(event, Trade)]
    assert [(each.instrument, each.side, each.price, each.iv, each.trade_id, each.combo) for each in found] == [
        ("BTC-19MAY26-75000-C", "buy", 0.0174, 0.41009999999999996, "244365195", "BTC-CS-19MAY26-70000_75000"),
        ("BTC-19MAY26-70000-C", "sell", 0.0813, 0.8339, "244365194", "BTC-CS-19MAY26-70000_75000"),
    ]
    assert not any(each.is_open_market for each in found)


def test_D10_of_two_trades_of_2025_one_was_part_of_a_combo() -> None:
    _, events = only("nautilus_trader/deribit/ws_trades.json", "trades.BTC-PERPETUAL.100ms")
    found = [event for event in events if isinstance(event, Trade)]
    assert [(each.trade_id, each.combo, each.is_open_market) for each in found] == [
        ("403691824", "43", False),
        ("403691825", "", True),
    ]
    assert [each.sequence for each in found] == [271252854, 271252855]


def test_the_volatility_index_of_april_2021() -> None:
    _, (event,) = only("nautilus_trader/deribit/ws_volatility_index.json", "deribit_volatility_index.btc_usd")
    assert isinstance(event, VolatilityIndex)
    assert (event.price_index, event.volatility) == ("btc_usd", 129.36 / 100)
    assert event.exchange_ns == 1_619_777_946_007_000_000


def test_quotes_of_a_future_and_of_the_perpetual() -> None:
    _, (future,) = only("crypto-msg-parser/deribit.all.jsonl", "quote.BTC-30SEP22")
    assert isinstance(future, UnderlyingPrice)
    assert (future.kind, future.price_index, future.expiry_ns) == ("future", "btc_usd", 1_664_524_800 * 10**9)
    assert (future.bid, future.ask, future.price) == (32499.0, 32503.5, 32501.25)
    _, (perpetual,) = only("nautilus_trader/deribit/ws_quote.json", "quote.BTC-PERPETUAL")
    assert isinstance(perpetual, UnderlyingPrice)
    assert (perpetual.kind, perpetual.bid, perpetual.ask) == ("perpetual", 92288.0, 92288.5)


def test_the_ticker_of_a_future_and_of_its_option_have_the_same_forward_to_a_tick_of_time() -> None:
    _, (future,) = only("crypto-msg-parser/deribit.all.jsonl", "ticker.BTC-30SEP22.100ms")
    _, (listed, quote, mark) = only("crypto-msg-parser/deribit.all.jsonl", "ticker.BTC-30SEP22-60000-C.100ms")
    assert isinstance(future, UnderlyingPrice)
    assert isinstance(listed, InstrumentListed)
    assert isinstance(quote, OptionQuote)
    assert isinstance(mark, VenueMark)
    assert (future.price, quote.forward, quote.forward_index) == (30218.9, 30220.5, "BTC-30SEP22")
    assert future.expiry_ns == listed.definition.expiry_ns
    assert (mark.mark_iv, mark.bid_iv, mark.ask_iv) == (0.677, 0.6716, 0.6865000000000001)
    assert (mark.delta, mark.theta, mark.open_interest) == (0.05785, -5.65962, 1767.5)


def test_N02_the_delivery_price_of_a_day_in_june_2020() -> None:
    _, (event,) = only("tardis-node/deribit.jsonl", "ticker.BTC-8JUN20-8750-P.raw")
    assert isinstance(event, DeliveryPrice)
    assert (event.price, event.estimated, event.expiry_ns) == (9728.65, False, 1_591_603_200 * 10**9)


# Instruments


def instrument_names() -> Iterator[tuple[str, str]]:
    """Every instrument name in the recorded data of this venue, with where it stands."""

    def inside(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            name = node.get("instrument_name")
            if isinstance(name, str):
                yield name
            for value in node.values():
                yield from inside(value)
        elif isinstance(node, list):
            for value in node:
                yield from inside(value)

    for path in sorted(data_root().glob("wire/**/*eribit*")) + sorted(data_root().glob("wire/*/deribit/*.json")):
        if path.is_file():
            text = path.read_text()
            for node in (
                (json.loads(line) for line in text.splitlines()) if path.suffix == ".jsonl" else [json.loads(text)]
            ):
                yield from ((name, path.name) for name in inside(node))
    for line in data_path("wire/cryptofeed/DERIBIT.0").read_text().splitlines():
        if " -> " in line:
            yield from ((name, "DERIBIT.0") for name in inside(json.loads(line.partition(": ")[2])))
    snapshot = json.loads(data_path("deribit/raw_ticker_snapshot_2026-06-27/deribit_snapshot.json").read_bytes())
    yield from ((name, "2026-06-27") for name in inside(snapshot))
    table = data_path("deribit/eth_book_summary_2024-01-08/deribit_options.csv").read_text().splitlines()
    at = table[0].split(",").index("instrument_name")
    yield from ((line.split(",")[at], "2024-01-08") for line in table[1:])


def test_D08_every_recorded_name_of_every_file_goes_round_or_is_a_combo() -> None:
    kinds: Counter[str] = Counter()
    for name, where in instrument_names():
        option, future = parse_option_name(name), parse_future_name(name)
        definition = instrument_from_name(name)
        if option is not None:
            assert str(option) == name, where
            assert definition is not None
            assert definition.strike == float(option.strike)
        elif future is None:
            assert definition is None
            assert name.split("-")[1] in {"STRD", "STRG", "FS", "CSR12", "CS", "COMBO"}, (name, where)
        kinds["option" if option else "future" if future else "combo"] += 1
    assert kinds["option"] > 2_000
    assert kinds["future"] > 50
    assert kinds["combo"] >= 10


def test_D08_every_future_of_2021_and_2022_is_defined() -> None:
    text = data_path("wire/cryptofeed/DERIBIT.0").read_text()
    answers = [line.partition(": ")[2] for line in text.splitlines() if " -> " in line]
    noted: list[str] = []
    kinds: Counter[tuple[str, str]] = Counter()
    for item in (item for answer in answers for item in json.loads(answer)["result"]):
        if item["kind"] != "future":
            continue
        definition = instrument_from_wire(item, 1_626_993_723 * 10**9, noted.append)
        assert definition is not None, item
        assert (definition.tick_size, definition.contract_size) == (item["tick_size"], item["contract_size"])
        if definition.kind == "future":
            assert definition.expiry_ns == item["expiration_timestamp"] * 10**6
        else:
            assert (definition.expiry_ns, item["settlement_period"]) == (None, "perpetual")
        kinds[definition.kind, definition.settlement] += 1
    assert noted == []
    assert kinds["future", "inverse"] >= 10
    assert kinds["perpetual", "inverse"] >= 2
    assert kinds["perpetual", "linear"] >= 2
