"""Deribit's channel names, and who reads what: sections 5 to 7 of the protocol sheet.

`venue` serves these:

    ticker.{instrument}.{raw|100ms|agg2}            quote.{instrument}            incremental_ticker.{instrument}
    book.{instrument}.{raw|100ms|agg2}              book.{instrument}.{none|step}.{1|10|20}.{100ms|agg2}
    trades.{instrument}.{raw|100ms|agg2}            trades.{kind}.{currency}.{raw|100ms|agg2}
    perpetual.{instrument}.{raw|100ms|agg2}         markprice.options.{index}
    deribit_price_index.{index}                     deribit_volatility_index.{index}
    estimated_expiration_price.{index}              instrument.{state|creation}.{kind}.{currency}
    platform_state[.public_methods_state]           announcements
    user.portfolio.{currency|any}                   user.{orders|trades|changes}.{instrument}.{raw|100ms|agg2}
                                                    user.{orders|trades|changes}.{kind}.{currency}.{raw|100ms|agg2}

`raw` and all of `user` need a login.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

CURRENCIES = ("BTC", "ETH", "USDC", "USDT", "EURR", "any")
KINDS = ("option", "future", "spot", "future_combo", "option_combo", "any")
INTERVALS = ("raw", "100ms", "agg2")
LIFECYCLE = ("state", "creation")
USER = ("orders", "trades", "changes")
DEPTHS = ("1", "10", "20")

_OF_INDEX = ("deribit_price_index", "deribit_volatility_index", "estimated_expiration_price")
_WHOLE = ("platform_state", "platform_state.public_methods_state", "announcements")


@dataclass(frozen=True, slots=True)
class Channel:
    """A name that follows the grammar. `subject`: an instrument, an index, `kind.currency`, or a currency."""

    name: str
    kind: str
    subject: str = ""
    interval: str = ""
    step: float | None = None  # of a grouped book; None: none
    depth: int = 0  # of a grouped book; 0: an incremental one

    @property
    def private(self) -> bool:
        """Whether it carries an account's own numbers."""
        return self.kind.startswith("user.")

    @property
    def needs_login(self) -> bool:
        """Whether only a session that has logged in may read it."""
        return self.private or self.interval == "raw"


@lru_cache(maxsize=20_000)
def parse(name: str) -> Channel | None:
    """What a name asks for; None for a name that no channel of ours can have."""
    match name.split("."):
        case ["ticker" | "book" | "trades" | "perpetual" as kind, subject, interval] if interval in INTERVALS:
            return Channel(name, kind, subject, interval)
        case ["quote" | "incremental_ticker" as kind, subject]:
            return Channel(name, kind, subject)
        case ["book", subject, group, depth, interval] if depth in DEPTHS and interval in INTERVALS[1:]:
            return _grouped(name, subject, group, int(depth), interval)
        case ["book", subject, whole, part, depth, interval] if depth in DEPTHS and interval in INTERVALS[1:]:
            return _grouped(name, subject, f"{whole}.{part}", int(depth), interval)  # a step below one
        case ["trades", kind, currency, interval] if _is_class(kind, currency) and interval in INTERVALS:
            return Channel(name, "trades", f"{kind}.{currency}", interval)
        case ["markprice", "options", index_name]:
            return Channel(name, "markprice.options", index_name)
        case [kind, index_name] if kind in _OF_INDEX:
            return Channel(name, kind, index_name)
        case ["instrument", event, kind, currency] if event in LIFECYCLE and _is_class(kind, currency):
            return Channel(name, f"instrument.{event}", f"{kind}.{currency}")
        case ["user", "portfolio", currency] if currency in CURRENCIES or currency.upper() in CURRENCIES:
            return Channel(name, "user.portfolio", currency if currency == "any" else currency.upper())
        case ["user", what, subject, interval] if what in USER and interval in INTERVALS:
            return Channel(name, f"user.{what}", subject, interval)
        case ["user", what, kind, currency, interval] if what in USER and interval in INTERVALS:
            return Channel(name, f"user.{what}", f"{kind}.{currency}", interval) if _is_class(kind, currency) else None
        case _ if name in _WHOLE:
            return Channel(name, name)
    return None


def classes(kind: str, currency: str) -> tuple[str, ...]:
    """The `kind.currency` subjects that an instrument falls under."""
    return tuple(f"{of_kind}.{of_currency}" for of_kind in (kind, "any") for of_currency in (currency, "any"))


class Wanted:
    """The channels that anyone reads: by kind, and those of single instruments by name."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.by_kind: dict[str, list[Channel]] = {}
        self.of_instrument: dict[str, list[Channel]] = {}  # those that follow its quotes
        self.trades: dict[str, list[Channel]] = {}  # by instrument or class
        self.names = frozenset(names)
        for channel in map(parse, sorted(self.names)):
            if channel is None:
                continue
            self.by_kind.setdefault(channel.kind, []).append(channel)
            if channel.kind in ("ticker", "quote", "book", "perpetual", "incremental_ticker"):
                self.of_instrument.setdefault(channel.subject, []).append(channel)
            elif channel.kind == "trades":
                self.trades.setdefault(channel.subject, []).append(channel)

    def of_kind(self, kind: str) -> list[Channel]:
        """The channels of one kind."""
        return self.by_kind.get(kind, [])


def _is_class(kind: str, currency: str) -> bool:
    return kind in KINDS and currency in CURRENCIES


def _grouped(name: str, subject: str, group: str, depth: int, interval: str) -> Channel | None:
    if group == "none":
        return Channel(name, "book", subject, interval, None, depth)
    try:
        step = float(group)
    except ValueError:
        return None
    return Channel(name, "book", subject, interval, step, depth) if 0.0 < step < float("inf") else None
