"""Deribit's books (sheet 5.7): incremental with a chain of ids, or grouped, where each message is a whole picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from pricer.adapters.book import OrderBook
from pricer.adapters.bookset import DEFAULT_LIMITS, Asked, BookLimits, BookSet
from pricer.adapters.deribit.channels import Interval
from pricer.adapters.deribit.instruments import VENUE, is_option
from pricer.adapters.events import AnyEvent, BookLost, OptionQuote, UnderlyingPrice
from pricer.adapters.sequences import BookUpdate, change_id_chain, whole_pictures
from pricer.adapters.wire import DECODE_ERRORS, Sequence64
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import ConfigError

PREFIX = "book."
# Levels a side of a book that somebody asks to see.
ON_DEMAND_DEPTH = 20
GROUPED_DEPTHS = (1, 10, 20)
# Of so many channels it is remembered what they are about: some times all of the venue's books.
MOST_CHANNELS = 20_000

# Checked by the decoder. What is no price makes a message unreadable, and so missed; a size may be anything.
Price = Annotated[float, msgspec.Meta(gt=0.0)]

Stamp = Callable[[float | None, Instant], int | None]
"""The venue's milliseconds as an instant; None where they are missing or cannot be true."""


@dataclass(frozen=True, slots=True)
class BookOptions:
    """Which books are wanted, and how.

    `names` are instruments, futures and perpetuals included, or "all": every listed option and the perpetuals. Without
    `group` books are incremental and `depth` is how many levels a side each event gives; with it ("none", or a price
    step as the venue writes it) the venue sends pictures of 1, 10 or 20 levels. `raw` needs a login.
    """

    names: tuple[str, ...] | Literal["all"] = "all"
    interval: Interval = "100ms"
    group: str | None = None
    depth: int = 10

    def __post_init__(self) -> None:
        if self.interval not in ("raw", "100ms", "agg2"):
            raise ConfigError(f"books.interval: {self.interval!r} is none of 'raw', '100ms', 'agg2'")
        if self.depth < 1:
            raise ConfigError(f"books.depth: {self.depth} is below 1")
        if self.group is not None and self.depth not in GROUPED_DEPTHS:
            raise ConfigError(f"books.depth: {self.depth} is none of {GROUPED_DEPTHS}, which grouped books have")
        if self.group is not None and self.interval == "raw":
            raise ConfigError("books.interval: grouped books come at '100ms' or 'agg2' only")

    def wants(self, name: str) -> bool:
        """Is the book of this instrument wanted?"""
        return self.names == "all" or name in self.names

    def channel(self, name: str) -> str:
        """The channel of an instrument's book."""
        if self.group is None:
            return f"{PREFIX}{name}.{self.interval}"
        return f"{PREFIX}{name}.{self.group}.{self.depth}.{self.interval}"


def book_options(books: BookOptions | Sequence[str] | None, interval: Interval) -> BookOptions | None:
    """What a user may say for `BookOptions`: "all" or names, at the interval of the tickers."""
    if books is None or isinstance(books, BookOptions):
        return books
    if isinstance(books, str):
        if books != "all":
            raise ConfigError(f"books: {books!r} is neither 'all' nor a list of names")
        return BookOptions(interval=interval)
    return BookOptions(tuple(dict.fromkeys(books)), interval)


class _Message(msgspec.Struct, gc=False, kw_only=True):
    """What both kinds have. A message without its id, or with a level that is none, is missed as a whole."""

    change_id: Sequence64
    timestamp: float | None = None
    instrument_name: str | None = None


class _Change(_Message, gc=False, kw_only=True):
    """`book.{instrument}.{interval}`: levels are [action, price, amount]."""

    bids: list[tuple[Literal["new", "change", "delete"], Price, float]]
    asks: list[tuple[Literal["new", "change", "delete"], Price, float]]
    type: Literal["snapshot", "change"] | None = None
    prev_change_id: Sequence64 | None = None

    @property
    def is_snapshot(self) -> bool:
        """Frames of 2019 have no type; a change of nothing (its chain begins at 0) is as good (recorded by tardis)."""
        if self.type is None:
            return not self.prev_change_id
        return self.type == "snapshot" or self.prev_change_id == 0


class _Picture(_Message, gc=False, kw_only=True):
    """`book.{instrument}.{group}.{depth}.{interval}`: all there is."""

    bids: list[tuple[Price, float]]
    asks: list[tuple[Price, float]]


_decode_change = msgspec.json.Decoder(_Change).decode
_decode_picture = msgspec.json.Decoder(_Picture).decode


@lru_cache(MOST_CHANNELS)  # each book has some thousand messages an hour
def book_subject(channel: str) -> tuple[str, bool]:
    """Which instrument a book channel is about, and whether it is grouped.

    >>> book_subject("book.BTC-PERPETUAL.none.10.100ms")
    ('BTC-PERPETUAL', True)
    """
    name, _, rest = channel[len(PREFIX) :].partition(".")
    return name, "." in rest


def decode_book(raw: msgspec.Raw, name: str, grouped: bool, now: Instant, stamp: Stamp) -> BookUpdate | None:
    """One message of a book, or None where it cannot be read or is another instrument's."""
    try:
        message: _Change | _Picture = _decode_picture(raw) if grouped else _decode_change(raw)
    except DECODE_ERRORS:
        return None
    if message.instrument_name is not None and message.instrument_name != name:
        return None
    exchange_ns = stamp(message.timestamp, now)
    if isinstance(message, _Picture):
        return BookUpdate(bids=message.bids, asks=message.asks, last=message.change_id, exchange_ns=exchange_ns)
    return BookUpdate(
        # The action decides: a delete is one whatever amount it names.
        bids=[(price, 0.0 if action == "delete" else amount) for action, price, amount in message.bids],
        asks=[(price, 0.0 if action == "delete" else amount) for action, price, amount in message.asks],
        last=message.change_id,
        previous=message.prev_change_id,
        snapshot=message.is_snapshot,
        exchange_ns=exchange_ns,
    )


class DeribitBooks:
    """The books of one connection to Deribit."""

    def __init__(self, options: BookOptions, counters: Counter[str], limits: BookLimits = DEFAULT_LIMITS) -> None:
        self.options = options
        self._counters = counters
        if options.interval == "agg2":
            # A message may then be two seconds behind by rights.
            limits = replace(limits, disagree_ns=limits.disagree_ns + 2 * NS_PER_SECOND)
        rule = change_id_chain if options.group is None else whole_pictures
        self._set = BookSet(VENUE, lambda: OrderBook(rule, depth=options.depth, counters=counters), counters, limits)
        self._rejected: set[str] = set()
        self._wished: frozenset[str] = frozenset()

    def wish(self, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """These are wanted besides what the options say; gives those that enter, and those that leave."""
        before, self._wished = self._wished, frozenset(names)
        entering, leaving = sorted(self._wished - before), sorted(before - self._wished)
        return [each for each in entering if not self.options.wants(each)], [
            each for each in leaving if not self.options.wants(each)
        ]

    @property
    def any(self) -> bool:
        """Whether any book is wanted."""
        return bool(self.options.names or self._wished)

    def wants(self, name: str) -> bool:
        """Is the book of this instrument wanted?"""
        return name in self._wished or self.options.wants(name)

    def channels(self, names: Iterable[str]) -> list[str]:
        """The channels of those of `names` whose books are wanted."""
        return [self.options.channel(name) for name in names if self.wants(name)]

    def fixed(self, perpetuals: Iterable[str]) -> list[str]:
        """What is wanted before any list has come: the perpetuals, and futures asked for by name."""
        if self.options.names == "all":
            return self.channels(perpetuals)
        return self.channels(name for name in self.options.names if not is_option(name))

    def receive(
        self, name: str, grouped: bool, data: msgspec.Raw, now: Instant, stamp: Stamp, events: list[AnyEvent]
    ) -> bool:
        """One message of a book. True where the session has something new to do."""
        if grouped is (self.options.group is None):
            self._counters["unwanted"] += 1  # the other kind: its levels would not mean the same
            return False
        update = decode_book(data, name, grouped, now, stamp)
        if self._rejected:
            self._rejected.discard(name)
        if update is None:
            return self._set.unreadable(name, now, events)
        return self._set.receive(name, update, now, events)

    def quote(self, quote: OptionQuote | UnderlyingPrice, now: Instant) -> bool:
        """Best prices to be held against the book. True where a deadline has come about."""
        return self._set.ticker(quote.instrument, quote.bid, quote.ask, quote.exchange_ns, now)

    def rejected(self, channel: str, now: Instant, events: list[AnyEvent]) -> None:
        """The venue refuses a book: told once, the session asks again at its slow pace."""
        name, _ = book_subject(channel)
        self._set.drop(name)
        if name not in self._rejected and self.wants(name):
            self._rejected.add(name)
            events.append(BookLost(venue=VENUE, received=now, instrument=name, reason="rejected"))

    def unsubscribed(self, name: str, now: Instant, events: list[AnyEvent]) -> None:
        """This book is not wanted any more: it must not pass for the present one."""
        book = self._set.book(name)
        if book is not None and book.in_sync:
            events.append(BookLost(venue=VENUE, received=now, instrument=name, reason="unsubscribed"))
        self.drop(name)

    def drop(self, name: str) -> None:
        """The instrument has ended."""
        self._set.drop(name)
        self._rejected.discard(name)

    def ended(self, now: Instant) -> list[AnyEvent]:
        """The session is over."""
        self._rejected.clear()
        return self._set.ended(now)

    def on_time(self, now: Instant, events: list[AnyEvent]) -> None:
        """What silence brings."""
        self._set.on_time(now, events)

    def next_deadline(self) -> int | None:
        """When `on_time` has something to do."""
        return self._set.next_deadline()

    def take_asks(self) -> list[Asked]:
        """What is to be subscribed anew."""
        return self._set.take_asks()
