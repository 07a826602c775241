"""Deribit's channel names: how they are written, what kind one is, and what it is about. Numbers: sheet sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

Interval = Literal["raw", "100ms", "agg2"]
QuoteSource = Literal["ticker", "quote", "incremental"]

INTERVALS: tuple[str, ...] = get_args(Interval)
QUOTE_SOURCES: tuple[str, ...] = get_args(QuoteSource)

# Kinds: the first word of a channel's name.
TICKER = "ticker"
INCREMENTAL = "incremental_ticker"
QUOTE = "quote"
MARKS = "markprice"
INDEX = "deribit_price_index"
VOLATILITY = "deribit_volatility_index"
EXPIRATION = "estimated_expiration_price"
PERPETUAL = "perpetual"
BOOK = "book"
TRADES = "trades"
INSTRUMENT = "instrument"
PLATFORM = "platform_state"
USER = "user"

PUBLIC_METHODS = f"{PLATFORM}.public_methods_state"
STATE = f"{INSTRUMENT}.state."
CREATION = f"{INSTRUMENT}.creation."
OPTION_MARKS = f"{MARKS}.options."

# Whose messages hold the best bid and ask of an instrument.
QUOTED = (TICKER, INCREMENTAL, QUOTE)
# The kinds whose second word is a name, and which are about that name alone; of the rest after it are intervals.
_OF_INSTRUMENTS = frozenset({TICKER, INCREMENTAL, QUOTE, PERPETUAL, BOOK, TRADES})
_OF_INDICES = frozenset({INDEX, VOLATILITY, EXPIRATION})
# What a refusal of is worth a count and no more: numbers beside ours, or news that the lists bring as well.
CONVENIENCES = frozenset({MARKS, VOLATILITY, EXPIRATION, PERPETUAL, TRADES, INSTRUMENT, PLATFORM})
# `trades.option.BTC.100ms` is about a class, `trades.BTC-PERPETUAL.100ms` about an instrument.
_CLASSES = frozenset({"option", "future", "option_combo", "future_combo", "combo", "spot", "any"})


def ticker(name: str, interval: Interval) -> str:
    """Quotes, mark, volatilities and Greeks of one instrument (5.1)."""
    return f"{TICKER}.{name}.{interval}"


def incremental_ticker(name: str) -> str:
    """The same as changes to a first full message, at most one a second (5.2)."""
    return f"{INCREMENTAL}.{name}"


def quote(name: str) -> str:
    """Best bid and ask of one instrument (5.3)."""
    return f"{QUOTE}.{name}"


def quotes(name: str, source: QuoteSource, interval: Interval) -> str:
    """The channel that carries an option's quotes, as the user chose."""
    if source == "ticker":
        return ticker(name, interval)
    return quote(name) if source == "quote" else incremental_ticker(name)


def option_marks(index_name: str) -> str:
    """Mark and volatility of every option of an index (5.4)."""
    return f"{OPTION_MARKS}{index_name}"


def index(index_name: str) -> str:
    """The price index (5.5)."""
    return f"{INDEX}.{index_name}"


def volatility_index(index_name: str) -> str:
    """The venue's volatility index (5.5)."""
    return f"{VOLATILITY}.{index_name}"


def expiration_price(index_name: str) -> str:
    """What the next expiry would settle at (5.5)."""
    return f"{EXPIRATION}.{index_name}"


def perpetual(name: str, interval: Interval) -> str:
    """A perpetual's interest and its index (5.6)."""
    return f"{PERPETUAL}.{name}.{interval}"


def book(name: str, interval: Interval) -> str:
    """The order book as a snapshot and changes to it (5.7)."""
    return f"{BOOK}.{name}.{interval}"


def grouped_book(name: str, group: str, depth: int, interval: Literal["100ms", "agg2"]) -> str:
    """Whole pictures of the book's top, prices grouped by a step or "none" (5.7)."""
    return f"{BOOK}.{name}.{group}.{depth}.{interval}"


def trades(name: str, interval: Interval) -> str:
    """Public trades of one instrument (5.8)."""
    return f"{TRADES}.{name}.{interval}"


def class_trades(kind: str, currency: str, interval: Interval) -> str:
    """Public trades of a whole class, such as all options settled in a currency (5.8)."""
    return f"{TRADES}.{kind}.{currency}.{interval}"


def lifecycle(kinds: Sequence[str], currency: str) -> list[str]:
    """What becomes of the instruments of these kinds that one currency settles (6)."""
    return [f"{prefix}{kind}.{currency}" for kind in kinds for prefix in (STATE, CREATION)]


def kind_of(channel: str) -> str:
    """The first word, which says how the data is to be read."""
    return channel.partition(".")[0]


def is_of_instrument(channel: str) -> bool:
    """Whether `channel` is about one instrument."""
    return kind_of(channel) in _OF_INSTRUMENTS and subject(channel) != ""


def subject(channel: str) -> str:
    """What `channel` is about: an instrument's name or that of an index; empty for what concerns many.

    >>> subject("book.BTC-PERPETUAL.none.10.100ms"), subject("trades.option.BTC.100ms")
    ('BTC-PERPETUAL', '')
    """
    kind, _, rest = channel.partition(".")
    if kind in _OF_INSTRUMENTS:
        name = rest.partition(".")[0]
        return "" if kind == TRADES and name in _CLASSES else name
    if kind in _OF_INDICES:
        return rest
    return channel[len(OPTION_MARKS) :] if channel.startswith(OPTION_MARKS) else ""
