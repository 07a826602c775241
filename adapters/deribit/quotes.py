"""Deribit's best bid and ask alone, `quote.{instrument}` (sheet 5.3): the cheapest feed of quotes.

It says nothing of the forward, the index or the instrument's state: those come from other channels.
"""

from __future__ import annotations

import msgspec

from pricer.adapters.deribit.instruments import VENUE
from pricer.adapters.deribit.tickers import Amount
from pricer.adapters.events import OptionQuote, UnderlyingPrice
from pricer.adapters.fields import Fields
from pricer.adapters.instruments import Instrument
from pricer.adapters.wire import NAN, or_nan
from pricer.clock import Instant


class Quote(msgspec.Struct, gc=False):
    """The fields of `quote.*`; an empty side is null or 0."""

    timestamp: Amount | None = None
    instrument_name: str | None = None
    best_ask_price: Amount | None = None
    best_bid_price: Amount | None = None
    best_ask_amount: Amount | None = None
    best_bid_amount: Amount | None = None


QUOTES = Fields(Quote, texts=("instrument_name",))
KNOWN_FIELDS = frozenset(Quote.__struct_fields__)


def option_quote(quote: Quote, definition: Instrument, stamp: int | None, now: Instant) -> OptionQuote:
    """An option's, in the state that its definition says: the message has none."""
    return OptionQuote(
        venue=VENUE,
        received=now,
        exchange_ns=stamp,
        instrument=definition.name,
        bid=quote.best_bid_price or NAN,
        ask=quote.best_ask_price or NAN,
        bid_size=or_nan(quote.best_bid_amount),
        ask_size=or_nan(quote.best_ask_amount),
        state=definition.state,
        source="quote",
    )


def underlying_quote(quote: Quote, definition: Instrument, stamp: int | None, now: Instant) -> UnderlyingPrice:
    """A future's or a perpetual's; its price is the mid, and NaN where a side is missing."""
    bid, ask = quote.best_bid_price or NAN, quote.best_ask_price or NAN
    return UnderlyingPrice(
        venue=VENUE,
        received=now,
        exchange_ns=stamp,
        kind="perpetual" if definition.expiry_ns is None else "future",
        price_index=definition.price_index,
        price=(bid + ask) / 2.0,
        instrument=definition.name,
        expiry_ns=definition.expiry_ns,
        bid=bid,
        ask=ask,
    )
