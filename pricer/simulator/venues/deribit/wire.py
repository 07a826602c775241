"""Deribit's JSON objects, field by field in the order of the recorded frames (2026-06-27 for options).

Not known from a recorded frame, and so our choice: the linear options' tick size; `state` on futures (recorded
without it); a book summary's fields on futures; that a `quote` without a side has null for its price and 0.0 for its
amount.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from pricer.simulator.books import BookState, Levels, delta, grouped
from pricer.simulator.listing import Family
from pricer.simulator.market import ROW, Chain, Future, Market
from pricer.simulator.trades import Trade

Json = dict[str, Any]

PERPETUAL_EXPIRY_MS = 32_503_708_800_000
_FIELDS = ROW.names or ()


def option_rows(chain: Chain, rows: Iterable[int]) -> list[Json]:
    """The chain's state of these rows as plain Python values, by field."""
    return [dict(zip(_FIELDS, values, strict=True)) for values in chain.rows[list(rows)].tolist()]


def _value_or_null(number: float) -> float | None:
    return None if math.isnan(number) else number


def option_instrument(chain: Chain, row: int, *, state: str = "open") -> Json:
    """An element of `public/get_instruments`."""
    family, (option,) = chain.family, option_rows(chain, (row,))
    ticks = family.ticks
    steps = [{"tick_size": ticks.coarse, "above_price": ticks.above}] if ticks.coarse != ticks.fine else []
    return {
        "state": state,
        "price_index": family.index_name,
        "kind": "option",
        "instrument_name": chain.names[row],
        "maker_commission": 0.0003,
        "taker_commission": 0.0003,
        "instrument_type": _instrument_type(family),
        "expiration_timestamp": option["expiry_ns"] // 1_000_000,
        "is_active": state == "open",
        "creation_timestamp": option["created_ms"],
        "instrument_id": option["instrument_id"],
        "tick_size": ticks.fine,
        "contract_size": 1.0,
        "strike": option["strike"],
        "base_currency": family.base,
        "quote_currency": family.settlement,
        "settlement_currency": family.settlement,
        "option_type": "call" if option["cp"] > 0 else "put",
        "min_trade_amount": family.min_amount,
        "block_trade_commission": 0.0003,
        "block_trade_min_trade_amount": 25,
        "block_trade_tick_size": 0.0001,
        "settlement_period": chain.expiry_of(option["expiry_ns"]).period,
        "counter_currency": family.counter,
        "tick_size_steps": steps,
    }


def future_instrument(chain: Chain, future: Future, *, state: str = "open") -> Json:
    """The same for a dated future or the perpetual."""
    family = chain.family
    return {
        "state": state,
        "price_index": family.index_name,
        "kind": "future",
        "instrument_name": future.name,
        "max_leverage": 50,
        "maker_commission": 0.0,
        "taker_commission": 0.0005,
        "instrument_type": _instrument_type(family),
        "expiration_timestamp": future.expiry.expiry_ns // 1_000_000 if future.expiry else PERPETUAL_EXPIRY_MS,
        "creation_timestamp": future.created_ms,
        "is_active": state == "open",
        "tick_size": family.future_tick,
        "contract_size": family.future_contract,
        "instrument_id": future.instrument_id,
        "min_trade_amount": family.future_contract,
        "future_type": _instrument_type(family),
        "max_liquidation_commission": 0.0075,
        "max_non_default_leverage": 5,
        "block_trade_commission": 0.00025,
        "block_trade_min_trade_amount": 200_000,
        "block_trade_tick_size": 0.01,
        "settlement_currency": family.settlement,
        "settlement_period": future.expiry.period if future.expiry else "perpetual",
        "base_currency": family.base,
        "counter_currency": family.counter,
        "quote_currency": family.counter,
        "tick_size_steps": [],
    }


def _instrument_type(family: Family) -> str:
    return "reversed" if family.inverse else "linear"


def instruments(chain: Chain, kind: str, *, state: str = "open", states: Mapping[str, str] | None = None) -> list[Json]:
    """Everything listed of a family, of `kind` `option`, `future` or `any`; `states` of those not in `state`."""
    found: list[Json] = []
    states = states or {}
    if kind in ("option", "any"):
        found += [option_instrument(chain, row, state=states.get(n, state)) for row, n in enumerate(chain.names)]
    if kind in ("future", "any"):
        found += [future_instrument(chain, f, state=states.get(n, state)) for n, f in chain.futures.items()]
    return found


def option_tickers(market: Market, chain: Chain, rows: list[int]) -> list[Json]:
    """The tickers of these rows, each as of its last requote."""
    return [
        _option_ticker(market, chain, chain.names[row], option)
        for row, option in zip(rows, option_rows(chain, rows), strict=True)
    ]


def _option_ticker(market: Market, chain: Chain, name: str, option: Json) -> Json:
    underlying_index = chain.underlying_index(option["expiry_ns"], option["quoted_ns"])
    return {
        "timestamp": option["quoted_ns"] // 1_000_000,
        "state": market.state_of(name),
        "stats": _option_stats(chain.family, option),
        "greeks": {name: option[name] for name in ("theta", "delta", "gamma", "vega", "rho")},
        # An integer just where the index is the forward: so recorded in 2024 and 2026.
        "interest_rate": 0 if underlying_index == "index_price" else 0.0,
        "index_price": option["index"],
        "instrument_name": name,
        "last_price": _value_or_null(option["last"]),
        "settlement_price": option["settlement"],
        "min_price": option["min_price"],
        "max_price": option["max_price"],
        "open_interest": option["open_interest"],
        "mark_price": option["mark"],
        "best_ask_price": option["ask"],
        "best_bid_price": option["bid"],
        "mark_iv": option["mark_iv"],
        "bid_iv": option["bid_iv"],
        "ask_iv": option["ask_iv"],
        "underlying_price": option["forward"],
        "underlying_index": underlying_index,
        "estimated_delivery_price": market.estimated_delivery(chain, option["expiry_ns"], option["index"]),
        "best_ask_amount": option["ask_size"],
        "best_bid_amount": option["bid_size"],
    }


def _option_stats(family: Family, option: Json) -> Json:
    stats = {
        "high": _value_or_null(option["high"]),
        "low": _value_or_null(option["low"]),
        "price_change": _value_or_null(round(100.0 * (option["last"] / option["opened"] - 1.0), 4)),
        "volume": option["volume"],
        "volume_usd": option["volume_usd"],
    }
    return stats if family.inverse else {**stats, "volume_notional": option["volume_usd"]}


def closed_ticker(market: Market, past: Chain, row: int) -> Json:
    """The last ticker of an expired option, as recorded on 2020-06-08: no values left, and a word where a price was."""
    return {
        **option_tickers(market, past, [row])[0],
        "timestamp": market.now_ns // 1_000_000,
        "state": "closed",
        "greeks": dict.fromkeys(("theta", "delta", "gamma", "vega", "rho"), 0.0),
        "mark_price": 0.0,
        "best_ask_price": 0.0,
        "best_bid_price": 0.0,
        "bid_iv": 0.0,
        "ask_iv": 500.0,
        "estimated_delivery_price": "expired",
        "delivery_price": market.delivery_prices[past.family.name],
        "best_ask_amount": 0.0,
        "best_bid_amount": 0.0,
    }


def future_ticker(market: Market, chain: Chain, future: Future) -> Json:
    """The ticker of a future; the perpetual's has funding and interest besides."""
    funding = {"current_funding": 0.0, "funding_8h": future.funding_8h} if future.expiry is None else {}
    interest = {"interest_value": future.funding_8h * 100.0} if future.expiry is None else {}
    volume_usd = round(future.volume * future.mark, 1)
    return {
        "timestamp": market.now_ns // 1_000_000,
        "state": market.state_of(future.name),
        "stats": {
            "high": future.high,
            "low": future.low,
            "price_change": round(100.0 * (future.last / future.opened - 1.0), 4),
            "volume": future.volume,
            "volume_usd": volume_usd,
            "volume_notional": volume_usd,
        },
        "index_price": chain.index,
        "instrument_name": future.name,
        "last_price": future.last,
        "settlement_price": future.settlement,
        "min_price": round(0.985 * future.mark, 2),
        "max_price": round(1.015 * future.mark, 2),
        "open_interest": future.open_interest,
        "mark_price": future.mark,
        **interest,
        "best_ask_price": future.ask,
        "best_bid_price": future.bid,
        "estimated_delivery_price": chain.index,
        "best_ask_amount": future.ask_size,
        "best_bid_amount": future.bid_size,
        **funding,
    }


def book_summaries(market: Market, chain: Chain, kind: str) -> list[Json]:
    """`public/get_book_summary_by_currency`: an empty side is null here, where tickers have 0."""
    found: list[Json] = []
    if kind in ("option", "any"):
        options = zip(chain.names, option_rows(chain, range(len(chain.names))), strict=True)
        found += [_book_summary(market, chain, name, option) for name, option in options]
    if kind in ("future", "any"):
        found += [_future_summary(market, chain, future) for future in chain.futures.values()]
    return found


def book_summary(market: Market, chain: Chain, name: str) -> Json:
    """`public/get_book_summary_by_instrument`, the one element of its list."""
    if name in chain.futures:
        return _future_summary(market, chain, chain.futures[name])
    return _book_summary(market, chain, name, option_rows(chain, (chain.row_of[name],))[0])


def _future_summary(market: Market, chain: Chain, future: Future) -> Json:
    ticker = future_ticker(market, chain, future)
    funding: Json = {name: ticker[name] for name in ("current_funding", "funding_8h") if name in ticker}
    return {
        "high": ticker["stats"]["high"],
        "low": ticker["stats"]["low"],
        "last": future.last,
        "instrument_name": future.name,
        "bid_price": future.bid,
        "ask_price": future.ask,
        "open_interest": future.open_interest,
        "mark_price": future.mark,
        "creation_timestamp": market.now_ns // 1_000_000,
        "estimated_delivery_price": chain.index,
        "price_change": ticker["stats"]["price_change"],
        "volume": future.volume,
        "base_currency": chain.family.base,
        "quote_currency": chain.family.counter,
        "volume_usd": ticker["stats"]["volume_usd"],
        "volume_notional": ticker["stats"]["volume_notional"],
        "mid_price": round(0.5 * (future.bid + future.ask), 8),
        **funding,
    }


def _book_summary(market: Market, chain: Chain, name: str, option: Json) -> Json:
    bid, ask = option["bid"] or None, option["ask"] or None
    stats = _option_stats(chain.family, option)
    return {
        "high": stats["high"],
        "low": stats["low"],
        "last": _value_or_null(option["last"]),
        "instrument_name": name,
        "bid_price": bid,
        "ask_price": ask,
        "open_interest": option["open_interest"],
        "mark_price": option["mark"],
        "interest_rate": 0.0,
        "creation_timestamp": market.now_ns // 1_000_000,
        "estimated_delivery_price": market.estimated_delivery(chain, option["expiry_ns"], chain.index),
        "price_change": stats["price_change"],
        "volume": option["volume"],
        "mark_iv": option["mark_iv"],
        "underlying_price": option["forward"],
        "underlying_index": chain.underlying_index(option["expiry_ns"], option["quoted_ns"]),
        "base_currency": chain.family.base,
        "quote_currency": chain.family.settlement,
        "volume_usd": option["volume_usd"],
        "mid_price": round(0.5 * (bid + ask), 8) if bid and ask else None,
    }


def index_price(market: Market, chain: Chain) -> Json:
    """The data of `deribit_price_index.{index_name}`."""
    return {
        "timestamp": market.now_ns // 1_000_000,
        "price": chain.index,
        "index_name": chain.family.index_name,
    }


def quote(ticker: Json) -> Json:
    """The data of `quote.{instrument}`, from its ticker."""
    return {
        "timestamp": ticker["timestamp"],
        "instrument_name": ticker["instrument_name"],
        "best_bid_price": ticker["best_bid_price"] or None,
        "best_bid_amount": ticker["best_bid_amount"],
        "best_ask_price": ticker["best_ask_price"] or None,
        "best_ask_amount": ticker["best_ask_amount"],
    }


def book_snapshot(book: BookState) -> Json:
    """The first message of `book.{instrument}.{interval}`: without `prev_change_id`, as recorded."""
    return {
        "type": "snapshot",
        "timestamp": book.ms,
        "instrument_name": book.name,
        "change_id": book.change_id,
        "bids": [["new", *level] for level in book.bids],
        "asks": [["new", *level] for level in book.asks],
    }


def book_change(old: BookState, new: BookState) -> Json:
    """The later ones."""
    return {
        "type": "change",
        "timestamp": new.ms,
        "prev_change_id": old.change_id,
        "instrument_name": new.name,
        "change_id": new.change_id,
        "bids": [list(change) for change in delta(old.bids, new.bids)],
        "asks": [list(change) for change in delta(old.asks, new.asks)],
    }


def grouped_book(book: BookState, step: float | None, depth: int) -> Json:
    """The data of `book.{instrument}.{group}.{depth}.{interval}`: a whole picture each time."""
    return {
        "timestamp": book.ms,
        "instrument_name": book.name,
        "change_id": book.change_id,
        "bids": grouped(book.bids, step, depth, up=False),
        "asks": grouped(book.asks, step, depth, up=True),
    }


def order_book(ticker: Json, book: BookState, depth: int) -> Json:
    """The result of `public/get_order_book`: the ticker with levels."""
    levels: dict[str, Levels] = {"bids": book.bids[:depth], "asks": book.asks[:depth]}
    sides = {name: [list(level) for level in side] for name, side in levels.items()}
    return {**ticker, **sides, "change_id": book.change_id}


def trade(made: Trade) -> Json:
    """An element of the `trades` channels and of the lists of last trades."""
    found: Json = {"timestamp": made.ms}
    if not math.isnan(made.iv):
        found["iv"] = made.iv
    found |= {
        "price": made.price,
        "amount": made.amount,
        "direction": made.side,
        "index_price": made.index,
        "instrument_name": made.name,
        "trade_seq": made.seq,
        "mark_price": made.mark,
        "tick_direction": made.tick_direction,
    }
    if made.legs:
        found["legs"] = [trade(leg) for leg in made.legs]
    if made.block:
        found |= {"block_trade_id": made.block, "block_trade_leg_count": 1}
    if made.combo:
        found["combo_id"] = made.combo
    if made.liquidation:
        found["liquidation"] = made.liquidation
    found |= {"contracts": made.contracts, "trade_id": made.trade_id}
    if made.combo_trade_id:
        found["combo_trade_id"] = made.combo_trade_id
    return found


def option_marks(chain: Chain, rows: Iterable[int], ms: int) -> list[Json]:
    """Elements of `markprice.options.{index}`: the volatility is a fraction here."""
    return [
        {
            "timestamp": ms,
            "iv": round(option["mark_iv"] / 100.0, 4),
            "instrument_name": chain.names[row],
            "mark_price": option["mark"],
        }
        for row, option in zip(rows, option_rows(chain, rows), strict=True)
    ]


def volatility_index(market: Market, chain: Chain) -> Json:
    """The data of `deribit_volatility_index.{index_name}`, in percent points."""
    return {
        "timestamp": market.now_ns // 1_000_000,
        "volatility": market.volatility_index(),
        "index_name": chain.family.index_name,
    }


def expiration_price(market: Market, chain: Chain) -> Json:
    """The data of `estimated_expiration_price.{index_name}`, of the nearest expiry."""
    seconds = max(chain.slices[0].expiry_ns - market.now_ns, 0) // 1_000_000_000 if chain.slices else 0
    price = market.estimated_delivery(chain, chain.slices[0].expiry_ns, chain.index) if chain.slices else chain.index
    return {"is_estimated": market.is_settling(chain), "price": price, "seconds": seconds}


def perpetual_interest(market: Market, chain: Chain, future: Future) -> Json:
    """The data of `perpetual.{instrument}.{interval}`."""
    return {
        "timestamp": market.now_ns // 1_000_000,
        "interest": future.funding_8h * 100.0,
        "index_price": chain.index,
    }


def delivery_prices(chain: Chain, offset: int, count: int) -> Json:
    """The result of `public/get_delivery_prices`, newest first."""
    kept = list(chain.deliveries)
    days = [
        {"date": f"{datetime.fromtimestamp(ns // 1_000_000_000, UTC):%Y-%m-%d}", "delivery_price": price}
        for ns, price in kept[offset : offset + count]
    ]
    return {"data": days, "records_total": len(kept)}


def expirations(chains: Iterable[Chain], kind: str) -> dict[str, list[str]]:
    """Expiries by kind, nearest first: the options', and the futures' with the perpetual last."""
    chains = list(chains)
    found: dict[str, list[str]] = {}
    if kind in ("option", "any"):
        listed = {e.expiry_ns: e.code for chain in chains for e in chain.slices}
        found["option"] = [listed[ns] for ns in sorted(listed)]
    if kind in ("future", "any"):
        dated = {f.expiry.expiry_ns: f.expiry.code for chain in chains for f in chain.futures.values() if f.expiry}
        perpetual = ["PERPETUAL"] if any(f.expiry is None for c in chains for f in c.futures.values()) else []
        found["future"] = [dated[ns] for ns in sorted(dated)] + perpetual
    return found


def instrument_state(market: Market, name: str, state: str) -> Json:
    """The data of `instrument.state.{kind}.{currency}`."""
    return {"timestamp": market.now_ns // 1_000_000, "state": state, "instrument_name": name}


def notification(channel: str, data: object) -> Json:
    """A message of a subscribed channel."""
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}
