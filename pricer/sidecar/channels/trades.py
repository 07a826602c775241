"""The channel `trades`: the last 256 public trades of an underlying's options, or of one instrument, as they come.

The table has 256 slots. Trade number n stands in slot n % 256, so the rows of a delta are the slots of the new trades,
in the order in which they came; where more came at once than there are slots, the numbers tell how many are not shown.
A trade that the venue takes back comes again under its id, with its amount negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pricer.adapters.events import Trade
from pricer.clock import Instant
from pricer.conventions import NO_REASON, NO_TIME, Reason, Status
from pricer.errors import ConfigError
from pricer.recent_trades import LENGTH, Tape
from pricer.sidecar.channels.channel import Channel, Content, Market
from pricer.sidecar.channels.health import venue_status
from pricer.sidecar.channels.table import Table, chosen, picked
from pricer.sidecar.messages import Column, Head
from pricer.sidecar.moment import Newest, names_of, stages
from pricer.sidecar.protocol import StreamKey
from pricer.sidecar.rounding import round_significant

SLOTS = LENGTH
NUMBERS = ("price", "amount", "iv", "index")
VALUES = ("id", "price", "amount", "side", "iv", "index", "exchange_ns", "received_ns")


@runtime_checkable
class TradesSource(Protocol):
    """A source that keeps recent trades, as `pricer.live` does; a replay or a test need not."""

    def recent_trades(self, *, underlying: str = "", instrument: str = "") -> Tape:
        """The last trades; `ConfigError` where none are streamed."""


@dataclass(frozen=True, slots=True, eq=False)
class TradesTable(Table):
    """A table of slots, and the tape it was made of."""

    tape: Tape = Tape()  # noqa: RUF009 - a tuple

    def has_rows_of(self, other: Any) -> bool:
        """The slots go on being filled: no other tape, and none that was taken away."""
        mine, theirs = self.tape, other.tape
        return (mine.tape == theirs.tape or not theirs.following) and bool(mine.following >= theirs.following)

    def says_the_same_as(self, other: Any) -> bool:
        """No trade since."""
        return bool((self.tape[1:], self.news) == (other.tape[1:], other.news))

    def since(self, other: Any) -> Content:
        """The new trades, in order."""
        fresh = min(self.tape.following - other.tape.following, len(self.tape.trades))
        rows = np.arange(self.tape.following - fresh, self.tape.following, dtype=np.int64) % SLOTS
        if not rows.size:
            return Content(self.head, {}, rows)
        return Content(self.head, {name: picked(column, rows) for name, column in self.columns.items()}, rows)


class TradesChannel(Channel):
    """Trades of an underlying's options, or of one instrument."""

    name = "trades"
    columns = VALUES
    filters = frozenset({"instrument"})

    def take(self, market: Market, key: StreamKey, previous: TradesTable | None = None) -> TradesTable:
        """The tape at this moment."""
        now = market.snapshot.clock.now()
        tape, state = _tape(market, key, now)
        if previous is not None and previous.tape[1:] == tape[1:]:
            columns = previous.columns
        else:
            columns = chosen(_filled(tape, market.digits), VALUES, key.columns)
        last = tape.trades[-1] if tape.trades else None
        newest = Newest() if last is None else Newest(_exchange_ns(last), last.received.wall_ns)
        head = {**stages(market.snapshot, now, newest), "tape": state}
        return TradesTable(now, columns, head=head, news=state, tape=tape)


def _tape(market: Market, key: StreamKey, now: Instant) -> tuple[Tape, Head]:
    """The tape, and whether all trades are on it."""
    if not isinstance(market.source, TradesSource):
        return Tape(), _state(Status.INVALID, Reason.NO_QUOTE, "this source keeps no trades")
    try:
        if key.instrument:
            tape = market.source.recent_trades(instrument=key.instrument)
        else:
            tape = market.source.recent_trades(underlying=key.underlying)
    except ConfigError:
        return Tape(), _state(Status.INVALID, Reason.NO_QUOTE, "trades are not streamed: see feed.trades")
    status, reasons = venue_status(market.snapshot.health.get(key.venue))
    if market.snapshot.is_silent(now):
        status, reasons = max(status, Status.STALE), reasons | Reason.QUOTE_STALE
    return tape, _state(status, reasons, "")


def _state(status: Status, reasons: Reason, detail: str) -> Head:
    return {"status": status.name, "reasons": names_of(int(reasons or NO_REASON)), "detail": detail}


def _filled(tape: Tape, digits: int) -> dict[str, Column]:
    """The slots, those without a trade empty."""
    first = tape.following - len(tape.trades)
    slots = np.arange(first, tape.following) % SLOTS
    numbers = np.full((len(NUMBERS), SLOTS), math.nan)
    numbers[:, slots] = round_significant(_numbers(tape.trades), digits)
    values = dict(zip(NUMBERS, numbers, strict=True))
    texts: tuple[list[str | None], list[str | None]] = ([None] * SLOTS, [None] * SLOTS)
    for slot, trade in zip(slots.tolist(), tape.trades, strict=True):
        texts[0][slot], texts[1][slot] = trade.instrument, trade.trade_id
    integers = np.full((3, SLOTS), NO_TIME)
    integers[0, slots] = np.arange(first, tape.following)
    integers[1, slots] = [_exchange_ns(trade) for trade in tape.trades]
    integers[2, slots] = [trade.received.wall_ns for trade in tape.trades]
    side = np.zeros(SLOTS, np.int8)
    side[slots] = [1 if trade.side == "buy" else -1 for trade in tape.trades]
    return {
        "number": integers[0],
        "instrument": texts[0],
        "id": texts[1],
        "price": values["price"],
        "amount": values["amount"],
        "side": side,
        "iv": values["iv"],
        "index": values["index"],
        "exchange_ns": integers[1],
        "received_ns": integers[2],
    }


def _numbers(trades: Sequence[Trade]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """In the order of NUMBERS."""
    rows = [(each.price, -each.size if each.bust else each.size, each.iv, each.index) for each in trades]
    return np.ascontiguousarray(np.array(rows, np.float64).reshape(-1, len(NUMBERS)).T)


def _exchange_ns(trade: Trade) -> int:
    return NO_TIME if trade.exchange_ns is None else trade.exchange_ns
