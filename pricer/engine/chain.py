"""One slice's columns: every option of one expiry as a struct of arrays, with row look-up and dirty rows.

The engine owns these arrays and changes them in place; a `SliceBlock` is a copy of what they held at one moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pricer.adapters.events import OptionQuote, VenueMark
from pricer.adapters.instruments import Instrument, SliceKey
from pricer.conventions import NO_TIME, Reason, Status, ttm_years
from pricer.kernels.chain import SCRATCH_ROWS
from pricer.snapshot import (
    FIELD_INDEX,
    QUOTE_IV_FIELDS,
    STATUS_PAIRS,
    VALUE_FIELDS,
    SliceDefinition,
)

# A quote that stands still while its life shrinks by this share has another volatility in the fifth digit.
TTM_MOVE = 1e-4

# What a new quote settles of its row, by being there.
RENEWED = int(
    Reason.RESYNCING
    | Reason.NOT_TRADING
    | Reason.FORWARD_IMPLIED
    | Reason.JUMP_UNCONFIRMED
    | Reason.BOOK_GAP
    | Reason.CHECKSUM_FAIL
    | Reason.CROSSED
)

BID, ASK, IV = FIELD_INDEX["bid"], FIELD_INDEX["ask"], FIELD_INDEX["iv"]
BID_IV, ASK_IV, MID_IV = (FIELD_INDEX[name] for name in QUOTE_IV_FIELDS)
BID_SIZE, ASK_SIZE = FIELD_INDEX["bid_size"], FIELD_INDEX["ask_size"]
MARK, MARK_IV = FIELD_INDEX["mark"], FIELD_INDEX["mark_iv"]


def define(key: SliceKey, ordered: list[Instrument]) -> SliceDefinition:
    """The static columns of one expiry, in the order given."""
    first = ordered[0]
    return SliceDefinition(
        key=key,
        underlying=first.underlying,
        inverse=first.settlement == "inverse",
        names=tuple(instrument.name for instrument in ordered),
        rows={instrument.name: row for row, instrument in enumerate(ordered)},
        strike=_frozen([instrument.strike for instrument in ordered]),
        cp=_frozen([instrument.cp for instrument in ordered]),
        tick_size=_frozen([instrument.tick_size for instrument in ordered]),
        min_amount=_frozen([instrument.min_amount for instrument in ordered]),
        contract_size=_frozen([instrument.contract_size for instrument in ordered]),
        settlement_currency=first.settlement_currency,
        quote_currency=first.quote_currency,
    )


def _steps(ordered: list[Instrument], n: int) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The tick-size steps as columns: (from this price, this tick), one pair a step; an absent step is at infinity."""
    depth = max(len(instrument.tick_steps) for instrument in ordered)
    columns = [(np.full(n, np.inf), np.full(n, np.nan)) for _ in range(depth)]
    for row, instrument in enumerate(ordered):
        for (above, tick), step in zip(columns, instrument.tick_steps, strict=False):
            above[row], tick[row] = step.above_price, step.tick_size
    return columns


def _frozen(values: list[float]) -> NDArray[np.float64]:
    column = np.array(values, np.float64)
    column.flags.writeable = False
    return column


class ChainSlice:
    """The live columns of one expiry.

    `values`, `status` and `reasons` are laid out as in `SliceBlock`. `quote_forward` and `quote_ttm` belong to the
    instant of each row's quote; where the venue gives no forward, `implied_forward` (NaN where there is none) stands
    in. `flags` are reasons that concern a whole row: RESYNCING, NOT_TRADING, FORWARD_IMPLIED, what became of its book,
    and JUMP_UNCONFIRMED where the quote came with a forward that is not believed and was given the one before.
    """

    def __init__(self, key: SliceKey, instruments: Iterable[Instrument]) -> None:
        ordered = sorted(instruments, key=lambda instrument: (instrument.strike, -instrument.cp, instrument.name))
        self.key = key
        self.definition = define(key, ordered)
        n = len(self.definition)
        self.values = np.full((len(VALUE_FIELDS), n), np.nan)
        self.status = np.full((len(STATUS_PAIRS), n), Status.INVALID, np.uint8)
        self.reasons = np.full((len(STATUS_PAIRS), n), Reason.NO_QUOTE, np.uint64)
        self.kernel_status = np.zeros((3, n), np.uint8)
        self.scratch = np.empty((SCRATCH_ROWS, 3 * n))
        self.quote_forward = np.full(n, np.nan)
        self.quote_ttm = np.full(n, np.nan)
        self.implied_forward = math.nan
        self.quote_mono_ns = np.full(n, NO_TIME, np.int64)
        self.quote_received_ns = np.full(n, NO_TIME, np.int64)
        self.quote_exchange_ns = np.full(n, NO_TIME, np.int64)
        self.from_book = np.zeros(n, np.bool_)  # the row's quote came from an order book
        self.flags = np.array([_flags_of(instrument.state) for instrument in ordered], np.uint64)
        self.tick = self.definition.tick_size.copy()
        self._tick_steps = _steps(ordered, n)
        self.confirmed = False  # a message came since the last block was made
        self.doubtful = False  # some row may be JUMP_UNCONFIRMED
        self.special = False  # some row may be locked, or flagged with what the rating kernel does not know
        self._is_dirty = np.zeros(n, np.bool_)
        self._dirty = np.empty(n, np.int64)
        self._dirty_count = 0

    def __len__(self) -> int:
        return len(self.definition)

    @property
    def dirty_rows(self) -> NDArray[np.int64]:
        """Rows whose quote changed since `clean`; a view."""
        return self._dirty[: self._dirty_count]

    def touch(self, row: int) -> None:
        """Mark one row dirty."""
        if not self._is_dirty[row]:
            self._is_dirty[row] = True
            self._dirty[self._dirty_count] = row
            self._dirty_count += 1

    def touch_all(self, rows: NDArray[np.int64]) -> None:
        """Mark several rows dirty."""
        fresh = rows[~self._is_dirty[rows]]
        self._is_dirty[fresh] = True
        self._dirty[self._dirty_count : self._dirty_count + len(fresh)] = fresh
        self._dirty_count += len(fresh)

    def clean(self) -> None:
        """Forget the dirty rows."""
        self._is_dirty[self.dirty_rows] = False
        self._dirty_count = 0

    def store_quote(self, row: int, quote: OptionQuote, forward: float, doubtful: bool = False) -> bool:
        """Put a quote into its row, with the forward of its instant; False where the row already holds a newer one.

        `doubtful`: it came with another forward, that is not believed yet. The row is dirty only where a number
        changed: a quote that is re-sent unchanged proves that its channel lives.
        """
        received = quote.received
        implied = 0
        if not 0.0 < forward < math.inf:
            forward = self.implied_forward
            implied = 0 if math.isnan(forward) else int(Reason.FORWARD_IMPLIED)
        exchange_ns = quote.exchange_ns or NO_TIME  # a stamp of 0 is none, never 1970
        older = exchange_ns != NO_TIME and exchange_ns < self.quote_exchange_ns[row]
        # A new connection starts anew: one wrong stamp, far ahead, must not shut the row for ever.
        if older and not int(self.flags[row]) & Reason.RESYNCING:
            return False
        ttm = ttm_years(self.key.expiry_ns, received.wall_ns if exchange_ns == NO_TIME else exchange_ns)
        self.quote_mono_ns[row] = received.mono_ns
        self.quote_received_ns[row] = received.wall_ns
        self.quote_exchange_ns[row] = exchange_ns
        self.from_book[row] = quote.source == "book"
        flags = int(self.flags[row]) & ~RENEWED | _flags_of(quote.state) | implied
        if doubtful:
            self.doubtful = self.special = True
            flags |= Reason.JUMP_UNCONFIRMED.value
        bid, ask = _number(quote.bid), _number(quote.ask)
        if bid == ask:
            self.special = True
        changed = (
            _differs(self.values[BID, row], bid)
            or _differs(self.values[ASK, row], ask)
            or _differs(self.quote_forward[row], forward)
            or abs(ttm - self.quote_ttm[row]) > TTM_MOVE * ttm
            or flags != int(self.flags[row])
            or self.status[0, row] == Status.STALE
            or self.status[1, row] == Status.STALE
        )
        self.confirmed = True
        self.values[BID_SIZE, row] = _number(quote.bid_size)
        self.values[ASK_SIZE, row] = _number(quote.ask_size)
        if changed:
            self.flags[row] = flags
            self.values[BID, row] = bid
            self.values[ASK, row] = ask
            self.quote_forward[row] = forward
            self.quote_ttm[row] = ttm
            self.touch(row)
        return True

    def imply_forward(self, forward: float) -> None:
        """Let `forward` stand in for the one that the venue does not give: in the rows whose quote changed since
        `clean`, and in those that had none until now.
        """
        self.implied_forward = forward
        self.touch_all(np.flatnonzero(np.isnan(self.quote_forward) & (self.quote_mono_ns != NO_TIME)))
        implied = np.uint64(Reason.FORWARD_IMPLIED)
        rows = self.dirty_rows
        rows = rows[np.isnan(self.quote_forward[rows]) | ((self.flags[rows] & implied) != 0)]
        self.quote_forward[rows] = forward
        self.flags[rows] |= implied

    def take_forward(self, forward: float) -> None:
        """Give a forward that the venue has, now that it is known, to the quotes that came before it."""
        self.implied_forward = math.nan
        rows = np.flatnonzero(np.isnan(self.quote_forward) & (self.quote_mono_ns != NO_TIME))
        if rows.size:
            self.quote_forward[rows] = forward
            self.touch_all(rows)

    def settle_jump(self, forward: float) -> None:
        """The forward is believed again, the new one or the old: quotes that came in doubt are quotes at this one."""
        self.doubtful = False
        rows = np.flatnonzero(self.flags & np.uint64(Reason.JUMP_UNCONFIRMED))
        self.quote_forward[rows] = forward
        self.flags[rows] &= ~np.uint64(Reason.JUMP_UNCONFIRMED)
        self.touch_all(rows)

    def store_mark(self, row: int, mark: VenueMark) -> None:
        """Put the venue's own mark beside our numbers; nothing of ours depends on it."""
        self.confirmed = True
        self.values[MARK, row] = _number(mark.mark)
        self.values[MARK_IV, row] = _number(mark.mark_iv)

    def update_ticks(self, rows: NDArray[np.int64]) -> None:
        """The price step that applies where these rows are quoted: at the ask, or at the bid where there is no ask."""
        ask = self.values[ASK, rows]
        price = np.where(np.isnan(ask), self.values[BID, rows], ask)
        tick = self.definition.tick_size[rows]
        for above, step in self._tick_steps:
            tick = np.where(price >= above[rows], step[rows], tick)
        self.tick[rows] = tick

    def flag(self, row: int, reason: Reason) -> None:
        """Set a row-wide reason; it stays until the next quote of the row."""
        self.flags[row] |= np.uint64(reason)
        self.special = True
        self.touch(row)

    def set_state(self, name: str, state: str) -> None:
        """A new definition says whether the option trades; its next quote may say otherwise."""
        row = self.definition.rows.get(name)
        if row is not None:
            self.flags[row] = int(self.flags[row]) & ~int(Reason.NOT_TRADING) | _flags_of(state)
            self.touch(row)

    def suspect(self, rows: NDArray[np.int64] | None = None) -> None:
        """The connection of these rows (all, by default) is gone: RESYNCING until their next messages.

        Or until they are too old anyway.
        """
        quoted = np.flatnonzero(self.quote_mono_ns != NO_TIME)
        if rows is not None:
            quoted = np.intersect1d(quoted, rows)
        self.flags[quoted] |= np.uint64(Reason.RESYNCING)
        self.touch_all(quoted)

    def outlive(self, oldest_ns: int) -> None:
        """Quotes from before `oldest_ns` (monotonic) have grown too old: their rows are dirty, once.

        One that did not come back after a reconnection waits no longer: its option is then like any without a quote.
        """
        resyncing = np.uint64(Reason.RESYNCING)
        live = (self.status[:3] < Status.STALE).any(axis=0) | ((self.flags & resyncing) != 0)
        rows = np.flatnonzero(live & (self.quote_mono_ns < oldest_ns))
        self.flags[rows] &= ~resyncing
        self.touch_all(rows)

    def expire(self) -> None:
        """Freeze the last values of a slice past its expiry: nothing in it is current any more."""
        np.maximum(self.status, np.uint8(Status.STALE), out=self.status)
        self.reasons |= np.uint64(Reason.EXPIRED)
        self.flags |= np.uint64(Reason.EXPIRED)

    def rebuilt(self, instruments: Iterable[Instrument]) -> ChainSlice:
        """The same slice with another list of instruments; rows that stay keep all they hold.

        A name that has come to stand for another contract keeps nothing: that would be another contract's quote.
        """
        new = ChainSlice(self.key, instruments)
        kept = [name for name in new.definition.names if self._is_same_contract(name, new.definition)]
        to = np.array([new.definition.rows[name] for name in kept], np.int64)
        source = np.array([self.definition.rows[name] for name in kept], np.int64)
        for name in ("values", "status", "reasons", "kernel_status"):
            getattr(new, name)[:, to] = getattr(self, name)[:, source]
        for name in (
            "quote_forward",
            "quote_ttm",
            "quote_mono_ns",
            "quote_received_ns",
            "quote_exchange_ns",
            "from_book",
            "flags",
            "tick",
        ):
            getattr(new, name)[to] = getattr(self, name)[source]
        new.implied_forward, new.doubtful, new.special = self.implied_forward, self.doubtful, self.special
        new.touch_all(np.arange(len(new), dtype=np.int64))
        return new

    def _is_same_contract(self, name: str, new: SliceDefinition) -> bool:
        old, row = self.definition, self.definition.rows.get(name)
        if row is None:
            return False
        at = new.rows[name]
        return all(
            getattr(old, column)[row] == getattr(new, column)[at] for column in ("strike", "cp", "contract_size")
        )


def _flags_of(state: str) -> int:
    return 0 if state == "open" else int(Reason.NOT_TRADING)


def _number(value: float) -> float:
    """The value, or NaN where it is no number: nothing infinite is ever published."""
    return value if -math.inf < value < math.inf else math.nan


def _differs(old: float, new: float) -> bool:
    """Unequal, where NaN equals NaN."""
    return bool(old != new and (old == old or new == new))
