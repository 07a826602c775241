"""What is mutated: conversations with Deribit, frame after frame as one channel brings them.

Frames of our own are in the fixtures and here, all after the protocol sheet with made-up values; real ones are read
from the data beside the checkout, where that is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from pricer.adapters.recording import open_recording
from pricer.adapters.records import Frame
from pricer.clock import Instant
from tests.adapters.deribit_frames import FOLDER, NOW
from tests.data import data_root

MS = NOW.wall_ns // 1_000_000
OPTION, PERPETUAL = "BTC-12MAR25-65000-C", "BTC-PERPETUAL"
# A recorded conversation is cut into pieces of this length, so that each is as likely as any other.
LONGEST = 60


class Conversation(NamedTuple):
    """Parsed frames of one source, and the instant of the first."""

    name: str
    now: Instant
    frames: list[Any]


def corpus(*, real: bool) -> list[Conversation]:
    """All conversations; `real` adds the recorded ones that are there."""
    written = [Conversation(path.stem, NOW, [json.loads(path.read_bytes())]) for path in sorted(FOLDER.glob("*.json"))]
    ours = [each for each in written if each.name != "metadata"]
    ours += [Conversation(name, NOW, [notified(name, data) for data in datas]) for name, datas in SHEET.items()]
    return ours + (list(recorded()) if real else [])


def notified(channel: str, data: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}


def recorded() -> Iterator[Conversation]:
    """Frames that the venue itself has sent, as others kept them."""
    root = data_root() / "wire"
    captures = [root / "crypto-msg-parser" / "deribit.all.jsonl", root / "crypto-msg-parser" / "deribit.options.jsonl"]
    for path in (*captures, root / "tardis-node" / "deribit.jsonl"):
        if path.exists():
            yield from pieces(path.parent.name, [json.loads(line) for line in path.read_text().splitlines() if line])
    for path in sorted((root / "nautilus_trader" / "deribit").glob("ws_*.json")):
        yield from pieces(f"nautilus_trader.{path.stem}", [json.loads(path.read_text())])
    if (root / "cryptofeed" / "DERIBIT.ws.1.0").exists():
        kept = open_recording(root / "cryptofeed" / "DERIBIT.ws.1.0")
        frames = [json.loads(record.data) for record in kept if isinstance(record, Frame) and len(record.data) < 50_000]
        yield from pieces("cryptofeed", frames)


def pieces(name: str, frames: list[Any]) -> Iterator[Conversation]:
    """Frames by channel, in their order, at the time that the first of them says."""
    by_channel: dict[str, list[Any]] = {}
    for frame in frames:
        frame = frame.get("message", frame) if isinstance(frame, dict) else frame
        params = frame.get("params") if isinstance(frame, dict) else None
        channel = str(params.get("channel", "")) if isinstance(params, dict) else "reply"
        by_channel.setdefault(channel, []).append(frame)
    for channel, those in by_channel.items():
        for start in range(0, len(those), LONGEST):
            piece = those[start : start + LONGEST]
            yield Conversation(f"{name}.{channel}", instant_of(piece[0]), piece)


def instant_of(frame: Any) -> Instant:
    """When it was sent, by its own stamp."""
    found = list(stamps(frame))
    return Instant(found[0] * 1_000_000, 77 * 10**9) if found else NOW


def stamps(node: Any) -> Iterator[int]:
    if isinstance(node, dict):
        if type(node.get("timestamp")) is int and node["timestamp"] > 10**12:
            yield node["timestamp"]
        for value in node.values():
            yield from stamps(value)
    elif isinstance(node, list):
        for value in node:
            yield from stamps(value)


def book(kind: str, number: int, before: int | None, bids: list[Any], asks: list[Any]) -> dict[str, Any]:
    data = {"type": kind, "instrument_name": OPTION, "timestamp": MS, "change_id": number, "bids": bids, "asks": asks}
    return data if before is None else {**data, "prev_change_id": before}


TRADE = {
    "timestamp": MS - 7, "iv": 161.25, "price": 0.2175, "amount": 0.3, "direction": "buy", "index_price": 83141.11,
    "instrument_name": OPTION, "trade_seq": 41, "mark_price": 0.21812345, "tick_direction": 2, "contracts": 0.3,
    "trade_id": "344365195",
}  # fmt: skip
POSITION = {
    "instrument_name": OPTION, "kind": "option", "direction": "buy", "size": 2.5, "average_price": 0.201, "delta": 2.25,
    "mark_price": 0.2182, "floating_profit_loss": 0.0133, "gamma": 0.00003, "vega": 11.75, "theta": -61.5,
}  # fmt: skip
ORDER = {
    "instrument_name": OPTION, "order_id": "77-1", "order_state": "open", "direction": "buy", "price": 0.1955,
    "amount": 2.5, "filled_amount": 0.5, "label": "a", "last_update_timestamp": MS - 9, "order_type": "limit",
}  # fmt: skip
FILL = {
    "instrument_name": OPTION, "trade_id": "t77", "order_id": "77-1", "direction": "buy", "price": 0.1954,
    "amount": 0.5, "fee": 0.00015, "timestamp": MS - 9,
}  # fmt: skip
PORTFOLIO = {
    "currency": "BTC", "equity": 10.125, "balance": 9.875, "margin_balance": 10.0625, "initial_margin": 1.5,
    "maintenance_margin": 1.25, "available_funds": 8.5625, "delta_total": 2.0625, "options_delta": 2.25,
    "options_gamma": 0.00003, "options_vega": 11.75, "options_theta": -61.5, "options_value": 0.5455,
    "delta_total_map": {"btc_usd": 2.0625},
}  # fmt: skip
INCREMENTAL = {
    "instrument_name": OPTION, "timestamp": MS - 3, "state": "open", "index_price": 83141.5, "mark_price": 0.2183,
    "mark_iv": 159.5, "bid_iv": 120.25, "ask_iv": 170.75, "best_bid_price": 0.1905, "best_bid_amount": 3.5,
    "best_ask_price": 0.2455, "best_ask_amount": 4.5, "underlying_price": 83142.25, "open_interest": 12.5,
    "underlying_index": "SYN.BTC-12MAR25", "greeks": {"delta": 0.99, "gamma": 0.00001, "vega": 5.5, "theta": -3.25},
}  # fmt: skip

# By channel, the data of its messages in order.
SHEET: dict[str, list[Any]] = {
    f"book.{OPTION}.100ms": [
        book("snapshot", 501, None, [["new", 0.1905, 5.0], ["new", 0.19, 7.5]], [["new", 0.2455, 4.0]]),
        book("change", 504, 501, [["change", 0.1905, 4.5]], [["new", 0.245, 1.5], ["change", 0.2455, 3.0]]),
        book("change", 505, 504, [["delete", 0.19, 0.0], ["new", 0.191, 2.5]], []),
        book("change", 509, 505, [], [["delete", 0.245, 0.0]]),
    ],
    f"book.{OPTION}.none.10.100ms": [
        {"instrument_name": OPTION, "timestamp": MS, "change_id": 77, "bids": [[0.19, 5.5]], "asks": [[0.2455, 6.5]]},
        {"instrument_name": OPTION, "timestamp": MS, "change_id": 79, "bids": [[0.1905, 2.5]], "asks": [[0.245, 8.5]]},
    ],
    f"quote.{OPTION}": [
        {"timestamp": MS, "instrument_name": OPTION, "best_ask_price": 0.2455, "best_bid_price": 0.1905,
         "best_ask_amount": 9.5, "best_bid_amount": 13.5},
        {"timestamp": MS, "instrument_name": OPTION, "best_ask_price": None, "best_bid_price": 0,
         "best_ask_amount": 0.0, "best_bid_amount": 0.0},
    ],
    f"quote.{PERPETUAL}": [
        {"timestamp": MS, "instrument_name": PERPETUAL, "best_ask_price": 83150.5, "best_bid_price": 83150.0,
         "best_ask_amount": 99470.0, "best_bid_amount": 133440.0},
    ],
    f"incremental_ticker.{OPTION}": [
        {"type": "snapshot", **INCREMENTAL},
        {"type": "change", "instrument_name": OPTION, "timestamp": MS, "best_bid_price": 0.191, "bid_iv": 125.5},
    ],
    "markprice.options.btc_usd": [
        [{"timestamp": MS, "iv": 0.3706, "instrument_name": OPTION, "mark_price": 0.2185},
         {"timestamp": MS, "iv": 0.4021, "instrument_name": "BTC-12MAR25-60000-P", "mark_price": 0.0007}],
        [{"timestamp": MS, "iv": 0.3712, "instrument_name": OPTION, "mark_price": 0.2186}],
    ],
    "deribit_volatility_index.btc_usd": [{"timestamp": MS, "volatility": 55.25, "index_name": "btc_usd"}],
    "estimated_expiration_price.btc_usd": [
        {"is_estimated": False, "price": 83140.5, "seconds": 34790},
        {"is_estimated": True, "price": 83139.25, "seconds": 1200, "left_ticks": 1200, "total_ticks": 1800},
    ],
    "perpetual.BTC-PERPETUAL.100ms": [{"timestamp": MS, "interest": 0.00025, "index_price": 83140.75}],
    "trades.option.BTC.100ms": [
        [TRADE, {**TRADE, "trade_seq": 42, "trade_id": "344365196", "block_trade_id": "BLOCK-5", "direction": "sell"}],
        [{**TRADE, "trade_seq": 44, "trade_id": "344365199", "combo_id": "BTC-CS-12MAR25-65000_70000",
          "liquidation": "T"}],
    ],
    f"trades.{PERPETUAL}.100ms": [[{key: TRADE[key] for key in TRADE if key != "iv"} | {"instrument_name": PERPETUAL}]],
    "instrument.state.any.any": [
        {"timestamp": MS, "state": state, "instrument_name": OPTION}
        for state in ("halted", "open", "settlement", "delivered", "started", "archivized")
    ],
    "platform_state": [
        {"price_index": "btc_usd", "locked": True}, {"price_index": "btc_usd", "locked": False},
        {"maintenance": True}, {"maintenance": False},
    ],
    "platform_state.public_methods_state": [{"allow_unauthenticated_public_requests": True}],
    "user.changes.any.any.raw": [
        {"instrument_name": OPTION, "orders": [ORDER], "trades": [FILL], "positions": [POSITION]},
        {"instrument_name": OPTION, "orders": [], "trades": [], "position": [{**POSITION, "direction": "sell"}]},
    ],
    "user.portfolio.any": [PORTFOLIO],
}  # fmt: skip
