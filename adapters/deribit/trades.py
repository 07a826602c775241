"""Deribit's public trades, `trades.*` (sheet 5.8): each once, in the order of its own counter, and tagged.

A trade of a combo is told on the combo's name, with its legs inside, and again on each leg: the legs are kept, the
combo is not, and an id that was seen is not told again. `trade_seq` counts per instrument: what is lower than the
highest seen is late, and a jump is trades that we missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from pricer.adapters.deribit.instruments import VENUE
from pricer.adapters.deribit.tickers import Amount
from pricer.adapters.events import Trade
from pricer.adapters.fields import Fields
from pricer.adapters.wire import NAN, Note, Sequence64, or_nan
from pricer.clock import Instant
from pricer.remembered import Remembered

# Some hours of all of Deribit's options; a subscription repeats seconds at most.
MOST_IDS = 20_000
MOST_COUNTERS = 20_000


class TradeMessage(msgspec.Struct, gc=False):
    """The fields we use; `iv` is percent, and only options have one."""

    timestamp: Amount | None = None
    iv: Amount | None = None
    price: float | None = None
    amount: Amount | None = None
    direction: str | None = None
    index_price: Amount | None = None
    instrument_name: str | None = None
    trade_seq: Sequence64 | None = None
    mark_price: float | None = None
    trade_id: str | None = None
    combo_id: str | None = None
    combo_trade_id: str | None = None
    block_trade_id: str | None = None
    liquidation: str | None = None
    legs: msgspec.Raw = msgspec.Raw(b"")


_TEXTS = ("direction", "instrument_name", "trade_id", "combo_id", "combo_trade_id", "block_trade_id", "liquidation")


def _no_legs(_: object) -> msgspec.Raw:
    """Of a message that had to be read loosely: the legs are told on their own names as well."""
    return msgspec.Raw(b"")


def _counter(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**63 else None


TRADES = Fields(
    TradeMessage, texts=_TEXTS, signed=("price", "mark_price"), others={"trade_seq": _counter, "legs": _no_legs}
)
_OTHER_FIELDS = ("tick_direction", "contracts", "block_rfq_id", "block_trade_leg_count")
KNOWN_FIELDS = frozenset((*TradeMessage.__struct_fields__, *_OTHER_FIELDS))


def flattened(trades: list[TradeMessage | None], note: Note) -> Iterator[TradeMessage | None]:
    """The trades with combos replaced by the legs inside them."""
    for trade in trades:
        if trade is None or not bytes(trade.legs).startswith(b"["):
            yield trade
            continue
        note("combo_trade")
        yield from TRADES.read_all(trade.legs, note) or ()


class TradeTape:
    """Which trades were told, and how far each instrument has counted. Outlives connections: so do the trades."""

    def __init__(self, note: Note, most_ids: int = MOST_IDS, most_counters: int = MOST_COUNTERS) -> None:
        self._note = note
        self._most_counters = most_counters
        self._ids = Remembered[str](most_ids)
        self._highest: dict[str, int] = {}

    def is_new(self, trade_id: str) -> bool:
        """Whether this id is met for the first time within the window."""
        if self._ids.add(trade_id):
            return True
        self._note("duplicate_trade")
        return False

    def is_late(self, name: str, sequence: int | None) -> bool:
        """Whether a later trade of the instrument was told before; notes how many were missed."""
        if sequence is None:
            return False
        highest = self._highest.pop(name, None)
        self._highest[name] = sequence if highest is None else max(highest, sequence)
        if len(self._highest) > self._most_counters:
            del self._highest[next(iter(self._highest))]
        if highest is None or sequence == highest + 1:
            return False
        self._note("late_trade" if sequence <= highest else "missed_trades")
        return sequence <= highest


def trade_event(trade: TradeMessage, name: str, stamp: int | None, now: Instant) -> Trade | None:
    """What one trade says; None when it lacks its price, size, side or id."""
    side: Literal["buy", "sell"]
    if trade.direction == "buy":
        side = "buy"
    elif trade.direction == "sell":
        side = "sell"
    else:
        return None
    price, size, trade_id = trade.price, trade.amount, trade.trade_id
    if price is None or not price > 0.0 or not size or not trade_id:
        return None
    return Trade(
        venue=VENUE,
        received=now,
        exchange_ns=stamp,
        instrument=name,
        trade_id=trade_id,
        price=price,
        size=size,
        side=side,
        sequence=trade.trade_seq,
        iv=(trade.iv or NAN) / 100.0 or NAN,
        mark=or_nan(trade.mark_price),
        index=trade.index_price or NAN,
        block=trade.block_trade_id or "",
        combo=trade.combo_id or trade.combo_trade_id or "",
        liquidation=trade.liquidation or "",
    )
