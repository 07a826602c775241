"""FAULTS D07: every number of the venue's in its unit, field by field; and its Greeks against ours."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest

import pricer
from pricer.adapters.deribit import Deribit
from pricer.adapters.events import InstrumentListed, OptionQuote, VenueMark
from pricer.clock import Instant
from tests.adapters.deribit_frames import NOW, Venue, encoded, fixture
from tests.data import data_path

COIN, USD, PER_YEAR, AMOUNT = "premium currency", "USD per coin", "fraction of 1 per root year", "coins"

# Fixture, the field on the wire, the event's type and field, what one of the wire's units is in ours, and our unit.
TABLE = [
    ("ticker_inverse_call", "best_bid_price", "OptionQuote", "bid", 1.0, COIN),
    ("ticker_inverse_call", "best_ask_price", "OptionQuote", "ask", 1.0, COIN),
    ("ticker_inverse_call", "best_bid_amount", "OptionQuote", "bid_size", 1.0, AMOUNT),
    ("ticker_inverse_call", "best_ask_amount", "OptionQuote", "ask_size", 1.0, AMOUNT),
    ("ticker_inverse_call", "underlying_price", "OptionQuote", "forward", 1.0, USD),
    ("ticker_inverse_call", "index_price", "OptionQuote", "index", 1.0, USD),
    ("ticker_inverse_call", "mark_price", "VenueMark", "mark", 1.0, COIN),
    ("ticker_inverse_call", "mark_iv", "VenueMark", "mark_iv", 0.01, PER_YEAR),
    ("ticker_inverse_call", "bid_iv", "VenueMark", "bid_iv", 0.01, PER_YEAR),
    ("ticker_inverse_call", "ask_iv", "VenueMark", "ask_iv", 0.01, PER_YEAR),
    ("ticker_inverse_call", "open_interest", "VenueMark", "open_interest", 1.0, AMOUNT),
    ("ticker_inverse_call", "greeks.delta", "VenueMark", "delta", 1.0, "dV/dF, not premium-adjusted"),
    ("ticker_inverse_call", "greeks.gamma", "VenueMark", "gamma", 1.0, "per USD"),
    ("ticker_inverse_call", "greeks.vega", "VenueMark", "vega", 1.0, "USD per volatility point"),
    ("ticker_inverse_call", "greeks.theta", "VenueMark", "theta", 1.0, "USD per day"),
    ("ticker_inverse_call", "greeks.rho", "VenueMark", "rho", 1.0, "USD per point of rate"),
    ("ticker_perpetual", "mark_price", "UnderlyingPrice", "price", 1.0, USD),
    ("ticker_perpetual", "current_funding", "UnderlyingPrice", "funding", 1.0, "fraction"),
    ("marks", "0.iv", "VenueMark", "mark_iv", 1.0, PER_YEAR),
    ("marks", "0.mark_price", "VenueMark", "mark", 1.0, COIN),
    ("quote_option", "best_bid_price", "OptionQuote", "bid", 1.0, COIN),
    ("trades_option", "0.iv", "Trade", "iv", 0.01, PER_YEAR),
    ("trades_option", "0.price", "Trade", "price", 1.0, COIN),
    ("trades_option", "0.amount", "Trade", "size", 1.0, AMOUNT),
    ("price_index", "price", "UnderlyingPrice", "price", 1.0, USD),
    ("volatility_index", "volatility", "VolatilityIndex", "volatility", 0.01, PER_YEAR),
    ("perpetual_interest", "interest", "UnderlyingPrice", "funding", 1.0, "fraction"),
    ("expiration_estimate", "price", "DeliveryPrice", "price", 1.0, USD),
]


@pytest.mark.parametrize(
    ("name", "wire", "kind", "field", "scale", "unit"), TABLE, ids=lambda value: str(value).replace(" ", "_")
)
def test_D07_every_field_is_in_the_unit_of_the_table(
    name: str, wire: str, kind: str, field: str, scale: float, unit: str
) -> None:
    assert unit
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.open()
    for value in (0.4375, 3.0, 81.25):
        message = fixture(name)
        *way, last = [int(step) if step.isdigit() else step for step in wire.split(".")]
        node: Any = message["params"]["data"]
        for step in way:
            node = node[step]
        node[last] = value
        if "trade_id" in node:
            node["trade_id"] = str(value)
        events = [event for event in venue.adapter.receive(encoded(message), NOW) if type(event).__name__ == kind]
        assert getattr(events[0], field) == pytest.approx(value * scale, rel=1e-15)


def test_D07_milliseconds_become_nanoseconds_exactly() -> None:
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.open()
    for name in ("ticker_inverse_call", "quote_option", "marks", "trades_option", "price_index", "volatility_index"):
        for event in venue.adapter.receive(encoded(fixture(name)), NOW):
            assert event.exchange_ns == 1_741_731_610_450_000_000


# Greeks

HALF_IV_STEP = 0.5e-4  # mark_iv is shown to 0.01 points
HALF_STEP = 0.5e-5  # Greeks to five decimals
# What remains beyond both: the venue's forward and time of reckoning are a moment older than the ticker's stamp.
RESIDUAL = {"delta": 4e-6, "gamma": 1e-9, "vega": 8e-4, "theta": 8e-4, "rho": 8e-4}


def as_we_see_it(
    tickers: list[dict[str, Any]], instruments: list[dict[str, Any]]
) -> list[tuple[InstrumentListed, OptionQuote, VenueMark]]:
    """Each option's definition, quote and mark as events."""
    adapter = Deribit(None)
    now = Instant(tickers[0]["timestamp"] * 1_000_000, 0)
    listed = {
        event.definition.name: event
        for event in adapter.receive(msgspec.json.encode({"result": instruments}), now)
        if isinstance(event, InstrumentListed)
    }
    found = []
    for ticker in tickers:
        name = ticker["instrument_name"]
        message = {"method": "subscription", "params": {"channel": f"ticker.{name}.raw", "data": ticker}}
        events = adapter.receive(msgspec.json.encode(message), Instant(ticker["timestamp"] * 1_000_000, 0))
        listed |= {event.definition.name: event for event in events if isinstance(event, InstrumentListed)}
        quote, mark = events[-2:]
        assert isinstance(quote, OptionQuote)
        assert isinstance(mark, VenueMark)
        found.append((listed[name], quote, mark))
    return found


def option_of(listed: InstrumentListed, quote: OptionQuote, mark: VenueMark) -> tuple[float, float, float, float, int]:
    definition = listed.definition
    assert definition.expiry_ns is not None
    assert quote.exchange_ns is not None
    ttm = (definition.expiry_ns - quote.exchange_ns) / (365 * 86_400 * 10**9)
    return quote.forward, definition.strike, ttm, mark.mark_iv, definition.cp


@pytest.mark.parametrize("name", RESIDUAL)
def test_D07_our_greeks_in_the_venues_scales_are_the_recorded_ones_to_display_rounding(name: str) -> None:
    folder = data_path("deribit/raw_ticker_snapshot_2026-06-27")
    snapshot = json.loads((folder / "deribit_snapshot.json").read_bytes())
    found = as_we_see_it(list(snapshot["tickers"].values()), snapshot["instruments"])
    options = np.array([option_of(*each) for each in found])
    rows = options[:, 2] > 1 / 365  # the last day's conventions have a test of their own
    assert rows.sum() == 280
    forward, strike, ttm, sigma, cp = options[rows].T
    theirs = np.array([getattr(mark, name) for _, _, mark in found])[rows]
    ours, low, high = (
        getattr(pricer.venue_greeks("deribit", forward, strike, ttm, sigma + step, cp), name)
        for step in (0.0, -HALF_IV_STEP, HALF_IV_STEP)
    )
    rounding = np.maximum(np.abs(low - ours), np.abs(high - ours)) + 1.02 * HALF_STEP
    assert np.all(np.abs(ours - theirs) <= rounding + RESIDUAL[name])


@pytest.mark.parametrize(
    ("text", "greeks"),
    [
        ("BTC-5JUN20-9250-C", ("delta", "gamma", "vega", "theta", "rho")),
        ("ETH-5JUN20-310-P", ("delta", "gamma", "vega", "theta", "rho")),
        ("MATIC_USDC-9MAR24-1d02-C", ("delta", "gamma", "vega", "theta", "rho")),
    ],
)
def test_D07_older_and_linear_tickers_have_the_same_units(text: str, greeks: tuple[str, ...]) -> None:
    """In other units each would be off by a factor: the price of a coin, 100 or 365."""
    lines = data_path("wire/tardis-node/deribit.jsonl").read_text().splitlines()
    (ticker,) = [each["params"]["data"] for each in map(json.loads, lines) if f"ticker.{text}" in str(each)]
    ((listed, quote, mark),) = as_we_see_it([ticker], [])
    found = pricer.venue_greeks("deribit", *option_of(listed, quote, mark))
    for name in greeks:
        theirs = getattr(mark, name)
        assert math.isfinite(theirs)
        assert getattr(found, name) == pytest.approx(theirs, rel=0.03, abs=1.1e-5), name
