"""Deribit's frames for measuring, written after the protocol sheet: tickers, a book with its changes, bulk marks."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import msgspec

from pricer.clock import Instant

STRIKES = range(20_000, 220_000, 2_000)


def option_names(now: Instant) -> list[str]:
    """A hundred options that live for another year."""
    year = datetime.fromtimestamp(now.wall_ns / 1e9, UTC).year + 1
    return [f"BTC-25DEC{year % 100}-{strike}-C" for strike in STRIKES]


def notification(channel: str, data: Any) -> bytes:
    """A frame as the venue writes it."""
    params = {"channel": channel, "data": data}
    return msgspec.json.encode({"jsonrpc": "2.0", "method": "subscription", "params": params})


def tickers(now: Instant, count: int, seed: int = 7) -> list[bytes]:
    """`count` frames of `ticker.{option}.100ms`, all fields of the sheet's sample."""
    rng, names = random.Random(seed), option_names(now)
    return [notification(f"ticker.{name}.100ms", ticker(name, now, rng)) for name in pick(names, count)]


def pick(names: list[str], count: int) -> list[str]:
    return [names[at % len(names)] for at in range(count)]


def ticker(name: str, now: Instant, rng: random.Random) -> dict[str, Any]:
    bid = round(rng.uniform(0.01, 0.5), 4)
    return {
        "timestamp": now.wall_ns // 1_000_000,
        "state": "open",
        "stats": {"high": 0.4, "low": 0.3, "price_change": 1.25, "volume": 12.5, "volume_usd": 100250.75},
        "greeks": {"delta": 0.61234, "gamma": 0.00002, "vega": 142.30124, "theta": -13.4441, "rho": 131.82621},
        "index_price": 83140.62,
        "instrument_name": name,
        "last_price": bid,
        "settlement_price": 0.2,
        "min_price": 0.0001,
        "max_price": 0.6,
        "open_interest": 123.4,
        "mark_price": round(bid + 0.0005, 4),
        "best_ask_price": round(bid + 0.001, 4),
        "best_bid_price": bid,
        "interest_rate": 0.0,
        "mark_iv": round(rng.uniform(40, 90), 2),
        "ask_iv": round(rng.uniform(40, 90), 2),
        "bid_iv": round(rng.uniform(40, 90), 2),
        "underlying_price": 83140.6237,
        "underlying_index": "SYN." + name.rsplit("-", 2)[0],
        "estimated_delivery_price": 83140.62,
        "best_ask_amount": round(rng.uniform(0.1, 50), 1),
        "best_bid_amount": round(rng.uniform(0.1, 50), 1),
    }


def book(now: Instant, count: int, seed: int = 7) -> tuple[str, list[bytes]]:
    """An option's name, and of its `book` channel a snapshot of 50 levels a side and `count` linked changes."""
    rng, name = random.Random(seed), option_names(now)[10]
    sides: dict[str, dict[float, float]] = {
        "bids": {round(0.2 - step * 0.0005, 4): 5.0 for step in range(50)},
        "asks": {round(0.201 + step * 0.0005, 4): 5.0 for step in range(50)},
    }
    head = {"timestamp": now.wall_ns // 1_000_000, "instrument_name": name}
    levels = {side: [["new", price, size] for price, size in sides[side].items()] for side in sides}
    frames = [notification(f"book.{name}.100ms", {"type": "snapshot", **head, "change_id": 1000, **levels})]
    for number in range(1001, 1001 + count):
        changes = {side: [change(sides[side], rng) for _ in range(rng.randrange(1, 4))] for side in sides}
        ids = {"change_id": number, "prev_change_id": number - 1}
        frames.append(notification(f"book.{name}.100ms", {"type": "change", **head, **ids, **changes}))
    return name, frames


def change(levels: dict[float, float], rng: random.Random) -> list[Any]:
    """One level gets another size, goes, or comes back."""
    price = rng.choice(sorted(levels))
    if levels[price] == 0.0:
        levels[price] = round(rng.uniform(0.1, 50), 1)
        return ["new", price, levels[price]]
    if rng.random() < 0.3:
        levels[price] = 0.0
        return ["delete", price, 0.0]
    levels[price] = round(rng.uniform(0.1, 50), 1)
    return ["change", price, levels[price]]


def marks(now: Instant, count: int, options: int = 968, seed: int = 7) -> list[bytes]:
    """`count` frames of `markprice.options.btc_usd`; each lists `options` marks, as a subscription's first does."""
    rng, stamp = random.Random(seed), now.wall_ns // 1_000_000
    names = pick([name[:-1] + cp for name in option_names(now) for cp in "CP"], options)

    def row(name: str) -> dict[str, Any]:
        mark, iv = round(rng.uniform(0.0001, 0.5), 4), round(rng.uniform(0.3, 1.2), 4)
        return {"timestamp": stamp, "iv": iv, "instrument_name": name, "mark_price": mark}

    return [notification("markprice.options.btc_usd", [row(name) for name in names]) for _ in range(count)]


def instruments(now: Instant) -> list[dict[str, Any]]:
    """The objects of `public/get_instruments` for all names above."""
    year = datetime.fromtimestamp(now.wall_ns / 1e9, UTC).year + 1
    expiry_ms = int(datetime(year, 12, 25, 8, tzinfo=UTC).timestamp() * 1000)
    return [
        {
            "price_index": "btc_usd",
            "kind": "option",
            "instrument_name": name[:-1] + cp,
            "option_type": "call" if cp == "C" else "put",
            "strike": float(name.split("-")[2]),
            "instrument_type": "reversed",
            "expiration_timestamp": expiry_ms,
            "creation_timestamp": expiry_ms - 10**10,
            "is_active": True,
            "tick_size": 0.0001,
            "tick_size_steps": [{"above_price": 0.005, "tick_size": 0.0005}],
            "contract_size": 1.0,
            "min_trade_amount": 0.1,
            "settlement_currency": "BTC",
            "settlement_period": "month",
            "base_currency": "BTC",
            "counter_currency": "USD",
            "quote_currency": "BTC",
        }
        for name in option_names(now)
        for cp in "CP"
    ]
