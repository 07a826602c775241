"""Deribit's options and futures: the grammar of their names, and the objects of `get_instruments` from 2021 to 2026."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from pricer.adapters.instruments import Instrument, TickStep
from pricer.adapters.wire import NAN, Note, number, or_nan, text
from pricer.clock import NS_PER_SECOND

VENUE = "deribit"
NS_PER_MS = 1_000_000
# Deribit lists options up to a year and a half out; the perpetual's own "expiry" is in the year 3000.
LONGEST_LIFE_NS = 10 * 366 * 86_400 * NS_PER_SECOND

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_EXPIRY = r"([1-9]\d?)([A-Z]{3})(\d{2})"
_OPTION = re.compile(rf"([A-Z0-9]+)(?:_([A-Z]+))?-{_EXPIRY}-(\d+(?:d\d+)?)-([CP])", re.ASCII)
_FUTURE = re.compile(rf"([A-Z0-9]+(?:_[A-Z]+)?)-(?:(PERPETUAL)|{_EXPIRY})", re.ASCII)
_FAMILY = re.compile(r"[A-Z0-9]+(?:_[A-Z]+)?", re.ASCII)
_LONGEST_NAME = 64
# A grammar that we do not know may come; control characters and quotes may not: names are shown to people.
_NAME = re.compile(rf"[A-Za-z0-9_.\-]{{1,{_LONGEST_NAME}}}", re.ASCII)

# Older words are met in recordings from before January 2026.
_STATES_OF_2026 = ("open", "settlement", "delivered", "inactive", "locked", "halted", "archivized")
_OLDER_STATES = ("created", "started", "settled", "closed", "terminated")
KNOWN_STATES = frozenset((*_STATES_OF_2026, *_OLDER_STATES))


# Names


class OptionName(NamedTuple):
    """An option's name, taken apart; `str()` puts it together again."""

    base: str
    quote: str  # empty for the coin-settled family
    expiry_ns: int
    strike: Decimal
    cp: int

    @property
    def family(self) -> str:
        """What users call the underlying: "BTC" (coin-settled) or "BTC_USDC"."""
        return f"{self.base}_{self.quote}" if self.quote else self.base

    def __str__(self) -> str:
        day = datetime.fromtimestamp(self.expiry_ns // NS_PER_SECOND, UTC)
        strike = format(self.strike, "f").replace(".", "d")
        date = f"{day.day}{_MONTHS[day.month - 1]}{day.year % 100:02d}"
        return f"{self.family}-{date}-{strike}-{'C' if self.cp > 0 else 'P'}"


def parse_option_name(name: str) -> OptionName | None:
    """The parts of an option's name, or None for anything else (futures, combos, unknown patterns).

    >>> str(parse_option_name("DOGE_USDC-24JAN25-0d128-C"))
    'DOGE_USDC-24JAN25-0d128-C'
    """
    match = _OPTION.fullmatch(name) if len(name) <= _LONGEST_NAME else None
    if match is None:
        return None
    base, quote, day, month, year, strike, cp = match.groups()
    expiry_ns = _expiry_ns(day, month, year)
    if expiry_ns is None:
        return None
    return OptionName(base, quote or "", expiry_ns, Decimal(strike.replace("d", ".")), 1 if cp == "C" else -1)


def is_option(name: str) -> bool:
    """Whether a name is an option's, by its end: futures, perpetuals and combos have no right.

    >>> is_option("BTC-12MAR25-65000-C"), is_option("BTC-12MAR25"), is_option("BTC-PERPETUAL")
    (True, False, False)
    """
    return name.endswith(("-C", "-P"))


class FutureName(NamedTuple):
    """A future's or a perpetual's name, taken apart; `expiry_ns` is None for a perpetual."""

    family: str
    expiry_ns: int | None


def parse_future_name(name: str) -> FutureName | None:
    """The parts of `BTC-PERPETUAL` or `BTC-25DEC26`, or None for anything else."""
    match = _FUTURE.fullmatch(name) if len(name) <= _LONGEST_NAME else None
    if match is None:
        return None
    family, perpetual, day, month, year = match.groups()
    if perpetual:
        return FutureName(family, None)
    expiry_ns = _expiry_ns(day, month, year)
    return None if expiry_ns is None else FutureName(family, expiry_ns)


def is_family(text: str) -> bool:
    """Whether `text` is spelled like an underlying, "BTC" or "BTC_USDC"."""
    return _FAMILY.fullmatch(text) is not None


def index_of(family: str) -> str:
    """The price index of a family.

    >>> index_of("BTC"), index_of("SOL_USDC")
    ('btc_usd', 'sol_usdc')
    """
    return (family if "_" in family else f"{family}_USD").lower()


def currency_of(family: str) -> str:
    """The currency under which `get_instruments` lists a family: the coin, or the stablecoin of a linear one."""
    base, _, quote = family.partition("_")
    return quote or base


def settlement_near(wall_ns: int) -> int | None:
    """The 08:00 UTC within a minute of this instant; None where there is none.

    >>> settlement_near(1_741_766_400_500_000_000)
    1741766400000000000
    """
    day_ns, eight_ns = 86_400 * NS_PER_SECOND, 8 * 3_600 * NS_PER_SECOND
    nearest_ns = (wall_ns - eight_ns + day_ns // 2) // day_ns * day_ns + eight_ns
    return nearest_ns if abs(nearest_ns - wall_ns) <= 60 * NS_PER_SECOND else None


@lru_cache(maxsize=256)  # a list names some twelve expiries a thousand times
def _expiry_ns(day: str, month: str, year: str) -> int | None:
    """08:00 UTC of the day named."""
    if month not in _MONTHS:
        return None
    try:
        instant = datetime(2000 + int(year), _MONTHS.index(month) + 1, int(day), 8, tzinfo=UTC)
    except ValueError:  # a 31st of February
        return None
    return int(instant.timestamp()) * NS_PER_SECOND


# Instruments


# Bases whose contract is one coin (2); others have 10 or 1000, and a wrong guess would be a wrong position.
ONE_COIN = frozenset({"BTC", "ETH"})


def instrument_from_name(name: str) -> Instrument | None:
    """A definition for recordings that hold no instrument list, by the venue's grammar; None for other names.

    Options, dated futures and perpetuals. Tick and sizes are not in a name: they are NaN, but for the contract of one
    coin where it is known to be one.
    """
    option = parse_option_name(name)
    if option is not None:
        return _option(name, option, {}, _ignore) if option.strike else None
    future = parse_future_name(name)
    return None if future is None else _future(name, future, {}, _ignore)


def instrument_from_wire(item: dict[str, Any], now_ns: int, note: Note) -> Instrument | None:
    """The definition in one object of `get_instruments`, of any year; None when it is no usable option or future.

    The fields decide; the name fills what is missing (2021 knew neither `price_index` nor `instrument_type`) and is
    compared with the rest.
    """
    name = text(item.get("instrument_name"))
    kind = item.get("kind")
    if not name or kind not in ("option", "future"):
        note("other_kind")
        return None
    family = name.partition("-")[0]
    if not is_family(family) or _NAME.fullmatch(name) is None:
        note("bad_instrument")
        return None
    definition = _option_from_wire if kind == "option" else _future_from_wire
    return definition(name, family, item, now_ns, note)


def _option_from_wire(name: str, family: str, item: dict[str, Any], now_ns: int, note: Note) -> Instrument | None:
    base, _, quote = family.partition("_")
    named = parse_option_name(name)
    strike = or_nan(number(item.get("strike")))
    expiry_ns = _expiry_in(item, now_ns, note)
    cp = {"call": 1, "put": -1}.get(text(item.get("option_type")), 0)
    if named is not None:
        strike = strike if strike > 0.0 else float(named.strike)
        expiry_ns = expiry_ns or named.expiry_ns
        cp = cp or named.cp
    if not strike > 0.0 or expiry_ns is None or cp == 0:
        note("bad_instrument")
        return None
    parts = OptionName(base, quote, expiry_ns, Decimal(repr(strike)), cp)
    if named is not None and (named.expiry_ns, float(named.strike), named.cp) != (expiry_ns, strike, cp):
        note("name_disagrees")
    return _option(name, parts, item, note)


def _future_from_wire(name: str, family: str, item: dict[str, Any], now_ns: int, note: Note) -> Instrument | None:
    """A dated future or a perpetual, whose "expiry" in the year 3000 is none."""
    named = parse_future_name(name)
    if named is None:
        note("bad_instrument")
        return None
    if named.expiry_ns is None:
        return _future(name, named, item, note)
    expiry_ns = _expiry_in(item, now_ns, note) or named.expiry_ns
    if named.expiry_ns != expiry_ns:
        note("name_disagrees")
    return _future(name, FutureName(family, expiry_ns), item, note)


def _expiry_in(item: dict[str, Any], now_ns: int, note: Note) -> int | None:
    """The expiry that the object itself names; none where it is not of this life."""
    expiry_ns = exchange_ns(number(item.get("expiration_timestamp")))
    if expiry_ns is not None and abs(expiry_ns - now_ns) > LONGEST_LIFE_NS:
        note("bad_field.expiration_timestamp")
        return None
    return expiry_ns


def _option(name: str, parts: OptionName, item: dict[str, Any], note: Note) -> Instrument:
    terms = _terms(parts.family, item, 1.0 if parts.base in ONE_COIN else NAN, note)
    quote_currency = text(item.get("quote_currency")) or parts.quote or parts.base
    return Instrument(
        name=name,
        kind="option",
        expiry_ns=parts.expiry_ns,
        strike=float(parts.strike),
        cp=parts.cp,
        quote_currency=quote_currency,
        **terms,
    )


def _future(name: str, parts: FutureName, item: dict[str, Any], note: Note) -> Instrument:
    terms = _terms(parts.family, item, NAN, note)
    return Instrument(
        name=name,
        kind="perpetual" if parts.expiry_ns is None else "future",
        expiry_ns=parts.expiry_ns,
        strike=NAN,
        cp=0,
        quote_currency=text(item.get("quote_currency")) or terms["counter_currency"],
        **terms,
    )


def _terms(family: str, item: dict[str, Any], contract: float, note: Note) -> dict[str, Any]:
    """What options and futures have alike; `contract` is its size where the object does not say."""
    base, _, quote = family.partition("_")
    linear = {"linear": True, "reversed": False}.get(text(item.get("instrument_type")), bool(quote))
    active = item.get("is_active", True)
    number_of_contract = item.get("instrument_id")
    return {
        "venue": VENUE,
        "underlying": family,
        "price_index": text(item.get("price_index")) or index_of(family),
        "settlement": "linear" if linear else "inverse",
        "counter_currency": text(item.get("counter_currency")) or quote or "USD",
        "settlement_currency": text(item.get("settlement_currency")) or quote or base,
        "contract_size": _positive(item, "contract_size", contract, note),
        "min_amount": _positive(item, "min_trade_amount", NAN, note),
        "tick_size": _positive(item, "tick_size", NAN, note),
        "tick_steps": _tick_steps(item.get("tick_size_steps")),
        "state": known_state(text(item.get("state")) or ("open" if active is True else "inactive"), note),
        "instance": str(number_of_contract) if type(number_of_contract) is int else "",
    }


def _tick_steps(value: object) -> tuple[TickStep, ...]:
    """The steps in order of price; an entry without two positive numbers is no step."""
    items = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    pairs = [(or_nan(number(item.get("above_price"))), or_nan(number(item.get("tick_size")))) for item in items]
    return tuple(TickStep(above, tick) for above, tick in sorted(pairs) if above >= 0.0 and tick > 0.0)


def _positive(item: dict[str, Any], field: str, missing: float, note: Note) -> float:
    value = item.get(field)
    if value is None:
        return missing
    found = number(value)
    if found is None or found <= 0.0:
        note(f"bad_field.{field}")
        return missing
    return found


def known_state(state: str, note: Note) -> str:
    """`state` when the protocol knows it, else "unknown": never an exception, never taken for open."""
    if state in KNOWN_STATES:
        return state
    note("unknown_state")
    return "unknown"


def exchange_ns(milliseconds: float | None) -> int | None:
    """The venue's milliseconds as integer nanoseconds; None for a missing, zero or negative stamp."""
    if milliseconds is None or not 0.0 < milliseconds < 1e15:
        return None
    return int(milliseconds) * NS_PER_MS


def _ignore(_: str) -> None:
    """For definitions made from a name, where nothing can be odd."""
