"""The last public trades of each underlying's options, and of each instrument, with numbers that count on."""

from __future__ import annotations

from collections import Counter, deque
from itertools import count
from typing import NamedTuple

from pricer.adapters.events import AnyEvent, InstrumentExpired, Trade
from pricer.listed_names import ListedNames

LENGTH = 256
# Of all instruments together: the tapes that have been silent longest go.
MOST_TRADES = 20_000
MOST_UNDERLYINGS = 64


class Tape(NamedTuple):
    """The last trades, oldest first; the last of them has the number `following` - 1, and numbers begin at 0.

    `tape` tells two tapes of one name apart, of which the later one counts anew.
    """

    trades: tuple[Trade, ...] = ()
    following: int = 0
    tape: int = 0


class _Tape:
    __slots__ = ("following", "ids", "number", "trades")

    def __init__(self, number: int) -> None:
        self.number = number
        self.trades: deque[Trade] = deque(maxlen=LENGTH)
        self.ids: set[tuple[str, bool]] = set()
        self.following = 0

    def add(self, trade: Trade) -> bool:
        """False where it has been told."""
        key = (trade.trade_id, trade.bust)
        if key in self.ids:
            return False
        if len(self.trades) == LENGTH:
            oldest = self.trades[0]
            self.ids.discard((oldest.trade_id, oldest.bust))
        self.ids.add(key)
        self.trades.append(trade)
        self.following += 1
        return True

    def view(self) -> Tape:
        return Tape(tuple(self.trades), self.following, self.number)


class RecentTrades:
    """The tapes of one venue: feed it all events, it takes the trades. A trade is told once, by its id.

    A trade that the venue takes back is told again, as a bust. On the tape of an underlying are its options alone: a
    perpetual trades a hundred times as often, and has a tape of its own.
    """

    def __init__(self, names: ListedNames, most_trades: int = MOST_TRADES) -> None:
        self._names = names
        self._most_trades = most_trades
        self._numbers = count(1)
        self._underlyings: dict[str, _Tape] = {}
        self._instruments: dict[str, _Tape] = {}  # in the order of their last trades
        self._held = 0
        # "duplicate_trade", "unlisted_trade", "forgotten_tape", "too_many_underlyings"
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        """Trades on the instruments' tapes."""
        return self._held

    def apply(self, event: AnyEvent) -> None:
        """Take in one event; all but trades and expiries are passed over."""
        if isinstance(event, Trade):
            self._add(event)
        elif isinstance(event, InstrumentExpired):
            self._drop(event.instrument)

    def of_underlying(self, underlying: str) -> Tape:
        """The trades of an underlying's options."""
        tape = self._underlyings.get(underlying)
        return Tape() if tape is None else tape.view()

    def of_instrument(self, name: str) -> Tape:
        """The trades of one instrument."""
        tape = self._instruments.get(name)
        return Tape() if tape is None else tape.view()

    def _add(self, trade: Trade) -> None:
        tape = self._instruments.pop(trade.instrument, None) or _Tape(next(self._numbers))
        self._instruments[trade.instrument] = tape
        held = len(tape.trades)
        if not tape.add(trade):
            self.counters["duplicate_trade"] += 1
            return
        self._held += len(tape.trades) - held
        while self._held > self._most_trades:
            self.counters["forgotten_tape"] += 1
            self._drop(next(iter(self._instruments)))
        underlying = self._names.underlying_of(trade.instrument)
        if underlying is None:
            self.counters["unlisted_trade"] += 1
        elif self._names.is_option(trade.instrument):
            self._add_to_underlying(underlying, trade)

    def _add_to_underlying(self, underlying: str, trade: Trade) -> None:
        tape = self._underlyings.get(underlying)
        if tape is None:
            if len(self._underlyings) >= MOST_UNDERLYINGS:
                self.counters["too_many_underlyings"] += 1
                return
            tape = self._underlyings[underlying] = _Tape(next(self._numbers))
        tape.add(trade)

    def _drop(self, name: str) -> None:
        tape = self._instruments.pop(name, None)
        if tape is not None:
            self._held -= len(tape.trades)
