"""The books of one connection: their events, and which of them must be asked for again, and when.

The rules first:

1. A book that is lost is told of once (`BookLost`) and its channel is asked for again: it alone, at once. The next
   `BookDepth` says that it is back.
2. A snapshot that does not come in time, or does not fit what follows it, is asked for again. After three times in a
   row the pauses grow; a book that has stayed in sync for a while begins anew.
3. A book that stays crossed or locked for 500 ms is wrong, whatever its numbers say (FAULTS S13): no matching engine
   leaves one so.
4. Its best prices and those of the instrument's ticker must agree (S16). They differ for a moment at every move, so a
   disagreement counts from when either of them stopped moving; after two seconds the older by the venue's time is asked
   for again.

All instants of deadlines are monotonic nanoseconds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pricer.adapters.book import Condition, OrderBook, Outcome
from pricer.adapters.events import AnyEvent, BookDepth, BookLost, LossReason
from pricer.adapters.sequences import BookUpdate
from pricer.clock import NS_PER_SECOND, Instant

MS = NS_PER_SECOND // 1000

Asked = tuple[Literal["book", "ticker"], str]
"""A channel to be asked for again: the book or the ticker of an instrument."""


@dataclass(frozen=True, slots=True)
class BookLimits:
    """How patient we are with a book, in nanoseconds unless said otherwise."""

    snapshot_ns: int = 10 * NS_PER_SECOND
    quick_tries: int = 3
    first_pause_ns: int = 2 * NS_PER_SECOND
    longest_pause_ns: int = 60 * NS_PER_SECOND
    stable_ns: int = 30 * NS_PER_SECOND
    crossed_ns: int = 500 * MS
    disagree_ns: int = 2 * NS_PER_SECOND
    most_books: int = 20_000


DEFAULT_LIMITS = BookLimits()

Top = tuple[float, float]


class _Entry:
    """One book, and what is pending for it."""

    __slots__ = (
        "ask_ns",
        "best",
        "book",
        "crossed_ns",
        "differ_ns",
        "differences",
        "moved",
        "synced_ns",
        "ticker",
        "ticker_exchange_ns",
        "tries",
    )

    def __init__(self, book: OrderBook) -> None:
        self.book = book
        self.tries = 0
        self.synced_ns = 0
        self.ask_ns: int | None = None  # when to ask for a snapshot unless one has come
        self.crossed_ns: int | None = None  # when a book crossed since then is given up
        self.differ_ns: int | None = None  # when a disagreement with the ticker has lasted too long
        self.differences = 0  # how often that has happened without an agreement
        self.moved: set[str] = set()  # which of the two has moved since
        self.best: Top = (math.nan, math.nan)
        self.ticker: Top | None = None
        self.ticker_exchange_ns: int | None = None

    def forget(self) -> None:
        """Out of sync: what was pending for the levels is void."""
        self.crossed_ns = self.differ_ns = None
        self.moved.clear()
        self.best = (math.nan, math.nan)

    @property
    def due_ns(self) -> int | None:
        """The first of its deadlines."""
        times = [at_ns for at_ns in (self.ask_ns, self.crossed_ns, self.differ_ns) if at_ns is not None]
        return min(times, default=None)


class BookSet:
    """Books by instrument, on one connection.

    `take_asks` names what is to be subscribed anew; the adapter looks there whenever `receive`, `ticker` or `on_time`
    gave True: a deadline or a resync has come about. `in_stream`: a snapshot comes first on each new subscription, so
    that nothing from before it is of use; otherwise it is asked for by other means, and what came before is tried.
    """

    def __init__(
        self,
        venue: str,
        make_book: Callable[[], OrderBook],
        counters: Counter[str],
        limits: BookLimits = DEFAULT_LIMITS,
        *,
        in_stream: bool = True,
    ) -> None:
        self._venue = venue
        self._make_book = make_book
        self._counters = counters
        self._limits = limits
        self._in_stream = in_stream
        self._entries: dict[str, _Entry] = {}
        self._due: dict[str, int] = {}
        self._asks: dict[Asked, None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def book(self, name: str) -> OrderBook | None:
        """The book of an instrument that has had a message on this connection."""
        entry = self._entries.get(name)
        return None if entry is None else entry.book

    # Messages

    def receive(self, name: str, update: BookUpdate, now: Instant, events: list[AnyEvent]) -> bool:
        """Take one message in. True where something is now pending that was not."""
        entry = self._entry(name)
        if entry is None:
            return False
        book = entry.book
        was_in_sync = book.in_sync
        outcome = book.apply(update)
        if outcome is Outcome.CHANGED:
            return self._tell(name, entry, now, events, resumed=not was_in_sync or update.snapshot)
        if outcome is Outcome.UNCHANGED:
            return False
        if outcome is Outcome.BUFFERED:
            return self._await_snapshot(name, entry, now)
        reason: LossReason = "checksum" if outcome is Outcome.CHECKSUM else "gap"
        return self._lost(name, entry, reason, now, events, told=not was_in_sync)

    def unreadable(self, name: str, now: Instant, events: list[AnyEvent]) -> bool:
        """A message of this book could not be read, and so is missed."""
        entry = self._entry(name)
        if entry is None:
            return False
        self._counters["bad_book"] += 1
        if not entry.book.in_sync:
            return self._await_snapshot(name, entry, now)
        return self._give_up(name, entry, "gap", now, events)

    def ticker(self, name: str, bid: float, ask: float, exchange_ns: int | None, now: Instant) -> bool:
        """The ticker's best prices (NaN: none), for comparison. True where something is now pending that was not."""
        entry = self._entries.get(name)
        if entry is None:
            return False
        top = (bid, ask)
        moved = entry.ticker is None or not _same(top, entry.ticker)
        entry.ticker, entry.ticker_exchange_ns = top, exchange_ns
        return self._compare(name, entry, "ticker" if moved else "", now)

    def drop(self, name: str) -> None:
        """The instrument has ended, or its book is not wanted any more."""
        self._entries.pop(name, None)
        self._due.pop(name, None)
        self._asks.pop(("book", name), None)
        self._asks.pop(("ticker", name), None)

    def ended(self, now: Instant) -> list[AnyEvent]:
        """The session is over: its books are lost, and nothing of them is left."""
        lost = [name for name, entry in self._entries.items() if entry.book.in_sync]
        self.clear()
        return [self._loss(name, "session", now) for name in lost]

    def clear(self) -> None:
        """A new session starts empty."""
        self._entries.clear()
        self._due.clear()
        self._asks.clear()

    # Time

    def on_time(self, now: Instant, events: list[AnyEvent]) -> bool:
        """Let what is due happen: snapshots asked for, crossed books given up, disagreements settled."""
        due = [name for name, at_ns in self._due.items() if at_ns <= now.mono_ns]
        for name in due:
            entry = self._entries[name]
            if entry.ask_ns is not None and entry.ask_ns <= now.mono_ns:
                self._ask(name, entry, now)
            elif entry.crossed_ns is not None and entry.crossed_ns <= now.mono_ns:
                self._counters["book_crossed"] += 1
                self._give_up(name, entry, "crossed", now, events)
            else:
                self._settle(name, entry, now, events)
            self._plan(name, entry)
        return bool(due)

    def next_deadline(self) -> int | None:
        """When `on_time` has something to do."""
        return min(self._due.values(), default=None)

    def take_asks(self) -> list[Asked]:
        """The channels to be asked for again, each once."""
        asks = list(self._asks)
        self._asks.clear()
        return asks

    # Inside

    def _entry(self, name: str) -> _Entry | None:
        entry = self._entries.get(name)
        if entry is None:
            if len(self._entries) >= self._limits.most_books:
                self._counters["too_many_books"] += 1
                return None
            entry = self._entries[name] = _Entry(self._make_book())
        return entry

    def _tell(self, name: str, entry: _Entry, now: Instant, events: list[AnyEvent], *, resumed: bool) -> bool:
        book = entry.book
        bids, asks = book.bids(), book.asks()
        # Asked of the book only where it may be otherwise.
        state: Condition = "open" if not bids or not asks or bids[0][0] < asks[0][0] else book.condition
        events.append(
            BookDepth(
                venue=self._venue,
                received=now,
                exchange_ns=book.exchange_ns,
                instrument=name,
                bids=bids,
                asks=asks,
                sequence=book.sequence,
                state=state,
            )
        )
        pending = False
        if resumed:
            entry.synced_ns = now.mono_ns
            pending = entry.ask_ns is not None
            entry.ask_ns = None
        if (state != "open") is not (entry.crossed_ns is not None):
            entry.crossed_ns = None if state == "open" else now.mono_ns + self._limits.crossed_ns
            pending = True
        best = (bids[0][0] if bids else math.nan, asks[0][0] if asks else math.nan)
        moved = best != entry.best and not _same(best, entry.best)
        if moved:
            entry.best = best
        if pending:
            self._plan(name, entry)
        # Without a ticker, or with both at rest, there is nothing to compare.
        if entry.ticker is not None and (moved or entry.differ_ns is not None):
            return self._compare(name, entry, "book" if moved else "", now) or pending
        return pending

    def _await_snapshot(self, name: str, entry: _Entry, now: Instant) -> bool:
        self._counters["book_awaits_snapshot"] += 1
        if entry.ask_ns is not None:
            return False
        entry.ask_ns = now.mono_ns + self._limits.snapshot_ns
        self._plan(name, entry)
        return True

    def _give_up(self, name: str, entry: _Entry, reason: LossReason, now: Instant, events: list[AnyEvent]) -> bool:
        told = not entry.book.in_sync
        entry.book.lose()
        return self._lost(name, entry, reason, now, events, told=told)

    def _lost(
        self, name: str, entry: _Entry, reason: LossReason, now: Instant, events: list[AnyEvent], *, told: bool
    ) -> bool:
        """The book is out of sync: tell it, and ask at once or after a pause."""
        limits = self._limits
        self._counters[f"book_lost.{reason}"] += 1
        if not told:
            events.append(self._loss(name, reason, now))
            if now.mono_ns - entry.synced_ns >= limits.stable_ns:
                entry.tries = 0
        entry.forget()
        if entry.tries < limits.quick_tries:
            self._ask(name, entry, now)
        elif entry.ask_ns is None or not told:
            entry.ask_ns = now.mono_ns + self._pause_ns(entry)
        self._plan(name, entry)
        return True

    def _ask(self, name: str, entry: _Entry, now: Instant) -> None:
        entry.tries += 1
        self._counters["book_resync"] += 1
        if self._in_stream:
            entry.book.clear()
        self._asks[("book", name)] = None
        entry.ask_ns = now.mono_ns + max(self._limits.snapshot_ns, self._pause_ns(entry))

    def _pause_ns(self, entry: _Entry) -> int:
        doublings = min(max(entry.tries - self._limits.quick_tries, 0), 16)
        return min(self._limits.first_pause_ns << doublings, self._limits.longest_pause_ns)

    def _compare(self, name: str, entry: _Entry, moved: str, now: Instant) -> bool:
        """Do book and ticker agree? `moved` is the one whose best prices have just changed, if one has."""
        if not entry.book.in_sync or entry.ticker is None:
            return False
        if _same(entry.best, entry.ticker):
            entry.differences = 0
            if entry.differ_ns is None:
                return False
            entry.differ_ns = None
        else:
            if moved:
                entry.moved.add(moved)
            if entry.differ_ns is not None and len(entry.moved) < 2:
                return False
            # Two that never agree differ by nature, and must not be asked for again and again.
            doublings = min(max(entry.differences + 1 - self._limits.quick_tries, 0), 16)
            patience_ns = min(self._limits.disagree_ns << doublings, self._limits.longest_pause_ns)
            entry.differ_ns = now.mono_ns + patience_ns
        entry.moved.clear()
        self._plan(name, entry)
        return True

    def _settle(self, name: str, entry: _Entry, now: Instant, events: list[AnyEvent]) -> None:
        """Book and ticker have differed for too long: the older one is asked for again."""
        self._counters["book_ticker_disagree"] += 1
        entry.differences += 1
        book_ns, ticker_ns = entry.book.exchange_ns, entry.ticker_exchange_ns
        if book_ns is not None and ticker_ns is not None and ticker_ns < book_ns:
            self._asks[("ticker", name)] = None
            entry.differ_ns = None
            entry.ticker = None  # until it has come again
        else:
            self._give_up(name, entry, "disagreement", now, events)

    def _plan(self, name: str, entry: _Entry) -> None:
        due_ns = entry.due_ns
        if due_ns is None:
            self._due.pop(name, None)
        else:
            self._due[name] = due_ns

    def _loss(self, name: str, reason: LossReason, now: Instant) -> BookLost:
        return BookLost(venue=self._venue, received=now, instrument=name, reason=reason)


def _same(first: Top, second: Top) -> bool:
    """Equal prices, where NaN (no price) equals NaN."""
    return first == second or all(a == b or (a != a and b != b) for a, b in zip(first, second, strict=True))
