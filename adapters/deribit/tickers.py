"""Deribit's tickers and index prices: decoded in one typed pass, and made into events.

Only a message that fails the typed pass is decoded again, loosely, to save its good fields.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from pricer.adapters.deribit.instruments import VENUE, known_state
from pricer.adapters.events import OptionQuote, UnderlyingPrice, VenueMark
from pricer.adapters.fields import Fields
from pricer.adapters.instruments import Instrument
from pricer.adapters.wire import DECODE_ERRORS, NAN, Note, decode_object, noted, or_nan
from pricer.clock import Instant

# Checked by the decoder, at no cost: a negative price fails the typed pass and ends as "no value".
Amount = Annotated[float, msgspec.Meta(ge=0.0)]


class Greeks(msgspec.Struct, gc=False):
    """In the venue's own scales: vega per vol point, theta per day."""

    theta: float | None = None
    delta: float | None = None
    gamma: float | None = None
    vega: float | None = None
    rho: float | None = None


class Ticker(msgspec.Struct, gc=False):
    """The fields we use of `ticker.*`, in the order of the wire in 2026; None is "no value".

    Options, futures and perpetuals alike; volatilities in percent.
    """

    timestamp: Amount | None = None
    state: str | None = None
    greeks: Greeks | None = None
    current_funding: float | None = None
    index_price: Amount | None = None
    instrument_name: str | None = None
    open_interest: Amount | None = None
    mark_price: Amount | None = None
    best_ask_price: Amount | None = None
    best_bid_price: Amount | None = None
    mark_iv: Amount | None = None
    bid_iv: Amount | None = None
    ask_iv: Amount | None = None
    underlying_price: Amount | None = None
    underlying_index: str | None = None
    best_ask_amount: Amount | None = None
    best_bid_amount: Amount | None = None


class IndexPrice(msgspec.Struct, gc=False):
    """`deribit_price_index.*`."""

    timestamp: Amount | None = None
    price: Amount | None = None


_NO_GREEKS = Greeks()
_TEXTS = ("instrument_name", "state", "underlying_index")
_SIGNED = ("current_funding",)
_TICKERS = Fields(Ticker, texts=_TEXTS, signed=_SIGNED, apart=("greeks",))
_GREEKS = Fields(Greeks, signed=Greeks.__struct_fields__)

# Fields met in recordings and samples that we do not use.
_OTHER_FIELDS = ["stats", "interest_rate", "interest_value", "last_price", "settlement_price", "min_price", "max_price"]
_OTHER_FIELDS += [
    "estimated_delivery_price",
    "delivery_price",
    "type",
    "funding_8h",
    "implied_bid",
    "implied_ask",
    "combo_state",
]
KNOWN_TICKER_FIELDS = frozenset((*Ticker.__struct_fields__, *_OTHER_FIELDS))

_decode_ticker = msgspec.json.Decoder(Ticker).decode
INDEX_PRICES = Fields(IndexPrice)
KNOWN_INDEX_FIELDS = frozenset((*IndexPrice.__struct_fields__, "index_name"))


def decode_ticker(raw: msgspec.Raw, note: Note) -> Ticker | None:
    """The ticker in `raw`; None when nothing of it can be used."""
    try:
        return _decode_ticker(raw)
    except DECODE_ERRORS:
        item = decode_object(raw)
    if item is None:
        return None
    ticker = Ticker()
    update_ticker(ticker, item, note)
    return ticker


def update_ticker(ticker: Ticker, item: dict[str, Any], note: Note) -> None:
    """Overwrite what `item` speaks of, an explicit null included; the rest of `ticker` stays."""
    _TICKERS.update(ticker, item, note)
    if "greeks" in item:
        greeks = noted(item, "greeks", lambda value: value if isinstance(value, dict) else None, note)
        if greeks is None:
            ticker.greeks = None
        else:
            ticker.greeks = ticker.greeks or Greeks()
            _GREEKS.update(ticker.greeks, greeks, note)


def quote_and_mark(
    ticker: Ticker, name: str, stamp: int | None, now: Instant, note: Note
) -> tuple[OptionQuote, VenueMark]:
    """What an option's ticker says.

    A price or volatility of 0 is "no value" (`or NAN`); a size, mark, open interest or Greek of 0 is a real zero.
    """
    state = ticker.state
    quote = OptionQuote(
        venue=VENUE,
        received=now,
        exchange_ns=stamp,
        instrument=name,
        bid=ticker.best_bid_price or NAN,
        ask=ticker.best_ask_price or NAN,
        bid_size=or_nan(ticker.best_bid_amount),
        ask_size=or_nan(ticker.best_ask_amount),
        forward=ticker.underlying_price or NAN,
        forward_index=ticker.underlying_index or "",
        index=ticker.index_price or NAN,
        # A ticker that does not say so is not known to be open.
        state="open" if state == "open" else known_state(state or "", note),
    )
    greeks = ticker.greeks or _NO_GREEKS
    mark = VenueMark(
        venue=VENUE,
        received=now,
        exchange_ns=stamp,
        instrument=name,
        mark=or_nan(ticker.mark_price),
        mark_iv=(ticker.mark_iv or NAN) / 100.0 or NAN,
        bid_iv=(ticker.bid_iv or NAN) / 100.0 or NAN,
        ask_iv=(ticker.ask_iv or NAN) / 100.0 or NAN,
        delta=or_nan(greeks.delta),
        gamma=or_nan(greeks.gamma),
        vega=or_nan(greeks.vega),
        theta=or_nan(greeks.theta),
        rho=or_nan(greeks.rho),
        open_interest=or_nan(ticker.open_interest),
    )
    return quote, mark


def future_price(ticker: Ticker, definition: Instrument, stamp: int | None, now: Instant) -> UnderlyingPrice:
    """What a future's or a perpetual's ticker says; the price is its mark, the funding its current rate."""
    return UnderlyingPrice(
        venue=VENUE,
        received=now,
        exchange_ns=stamp,
        kind="perpetual" if definition.expiry_ns is None else "future",
        price_index=definition.price_index,
        price=ticker.mark_price or NAN,
        instrument=definition.name,
        expiry_ns=definition.expiry_ns,
        bid=ticker.best_bid_price or NAN,
        ask=ticker.best_ask_price or NAN,
        funding=or_nan(ticker.current_funding),
    )


def index_event(index: str, price: float, stamp: int | None, now: Instant) -> UnderlyingPrice:
    """What `deribit_price_index.*` says."""
    return UnderlyingPrice(venue=VENUE, received=now, exchange_ns=stamp, kind="index", price_index=index, price=price)
