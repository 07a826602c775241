"""The recent past of many instruments, kept from their books and trades as these come in.

How many entries are kept is bounded on every side; the oldest go.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from pricer.adapters.events import AnyEvent, BookDepth, BookLost, InstrumentExpired, Trade
from pricer.clock import NS_PER_SECOND, Instant
from pricer.microstructure.measures import (
    NAN,
    NO_VEGA_DEPTH,
    Levels,
    VegaDepth,
    depth_in_vega,
    imbalance,
    microprice,
    order_flow,
)
from pricer.remembered import Remembered

MOST_INSTRUMENTS = 5_000
# A window's changes and trades, per instrument: beyond, the oldest go.
MOST_ENTRIES = 4_096
# Trade ids remembered to know repetitions by, over all instruments: minutes of a busy venue.
MOST_IDS = 20_000
MOST_TIMES = 256


@dataclass(frozen=True, slots=True)
class MicroState:
    """One instrument's book and flow; sizes and prices in the venue's units, times in seconds.

    `order_flow` sums `order_flow()` over the window; `trade_imbalance` is (bought − sold)/(bought + sold) by the
    aggressor's side. `bid_refill_s` and `ask_refill_s` are medians of the times that depleted levels took to come back;
    `unfilled` counts those that did not within the window. `late` counts trades told out of the venue's order.
    """

    venue: str
    instrument: str
    received: Instant | None
    mid: float
    spread: float
    imbalance: float
    microprice: float
    vega_depth: VegaDepth
    order_flow: float
    trade_imbalance: float
    bought: float
    sold: float
    trades: int
    late: int
    bid_refill_s: float
    ask_refill_s: float
    unfilled: int


class _Print(NamedTuple):
    """A trade in the window; `size` is negative where the aggressor sold."""

    mono_ns: int
    size: float
    late: bool


class _Refill:
    """One side's depletions, and how long each lasted."""

    __slots__ = ("price", "since_ns", "target", "times", "unfilled")

    def __init__(self) -> None:
        self.since_ns: int | None = None
        self.price = NAN
        self.target = NAN
        self.times: deque[tuple[int, float]] = deque(maxlen=MOST_TIMES)
        self.unfilled: deque[int] = deque(maxlen=MOST_TIMES)


class _Track:
    """One instrument's recent past."""

    __slots__ = ("book", "flow", "newest_ns", "prints", "refills", "sequence")

    def __init__(self) -> None:
        self.book: BookDepth | None = None
        self.flow: deque[tuple[int, float]] = deque(maxlen=MOST_ENTRIES)
        self.prints: dict[str, _Print] = {}
        self.refills: tuple[_Refill, ...] = ()  # of bids and asks, once there is a book
        self.sequence: int | None = None
        self.newest_ns: int | None = None


class Microstructure:
    """The recent past of many instruments: feed it all events, ask for one instrument.

    The window is by the monotonic instants of receipt. A depletion is a fall of the size at or better than the best
    price, from one book to the next, to below 1 − `depletion` of it; it is over when `recovery` of it is there again.
    Blocks and parts of combos say little about the open book and are left out unless `all_trades`. A trade is counted
    once, by its id; a bust takes it back. Crossed and locked books are passed over; a lost one leaves no flow across
    the gap. `levels` is how many a side `imbalance` and `microprice` take, `depth` how many the books were asked for.

    >>> from pricer.clock import EPOCH
    >>> micro = Microstructure()
    >>> micro.apply(BookDepth(venue="v", received=EPOCH, instrument="X", bids=((9.0, 3.0),), asks=((11.0, 1.0),)))
    >>> state = micro.of("v", "X", EPOCH)
    >>> state.imbalance, state.microprice
    (0.5, 10.5)
    """

    def __init__(
        self,
        *,
        window_ns: int = 60 * NS_PER_SECOND,
        levels: int = 1,
        depth: int | None = None,
        depletion: float = 0.5,
        recovery: float = 0.9,
        all_trades: bool = False,
        most: int = MOST_INSTRUMENTS,
    ) -> None:
        self._window_ns = window_ns
        self._levels = levels
        self._depth = depth
        self._left = 1.0 - depletion
        self._recovery = recovery
        self._all_trades = all_trades
        self._most = most
        self._tracks: dict[tuple[str, str], _Track] = {}
        self._ids = Remembered[tuple[str, str, str]](MOST_IDS)
        # "duplicate_trade", "late_trade", "busted_trade", "left_out_trade", "too_many_instruments", "window_full"
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._tracks)

    def apply(self, event: AnyEvent) -> None:
        """Take in one event; those that are neither books nor trades are passed over."""
        if isinstance(event, BookDepth):
            self._on_book(event)
        elif isinstance(event, Trade):
            self._on_trade(event)
        elif isinstance(event, BookLost):
            track = self._tracks.get((event.venue, event.instrument))
            if track is not None:
                self._forget_book(track)
        elif isinstance(event, InstrumentExpired):
            self._tracks.pop((event.venue, event.instrument), None)

    def of(self, venue: str, instrument: str, now: Instant, *, vega: float = NAN, points: float = 1.0) -> MicroState:
        """What is known of an instrument at `now`; NaN where nothing is.

        `vega` as in `depth_in_vega`, within `points` points of the mid.
        """
        track = self._tracks.get((venue, instrument)) or _Track()
        self._expire(track, now.mono_ns)
        book = track.book
        two_sided = book is not None and bool(book.bids) and bool(book.asks)
        bid, ask = (book.bids[0][0], book.asks[0][0]) if book is not None and two_sided else (NAN, NAN)
        prints = track.prints.values()
        bought = sum(each.size for each in prints if each.size > 0)
        sold = -sum(each.size for each in prints if each.size < 0)
        return MicroState(
            venue=venue,
            instrument=instrument,
            received=None if book is None else book.received,
            mid=0.5 * (bid + ask),
            spread=ask - bid,
            imbalance=NAN if book is None else imbalance(book, self._levels),
            microprice=NAN if book is None else microprice(book, self._levels),
            vega_depth=NO_VEGA_DEPTH if book is None else depth_in_vega(book, vega, points, self._depth),
            order_flow=sum(size for _, size in track.flow),
            trade_imbalance=(bought - sold) / (bought + sold) if bought + sold > 0 else NAN,
            bought=bought,
            sold=sold,
            trades=len(track.prints),
            late=sum(each.late for each in prints),
            bid_refill_s=_median(track.refills[0]) if track.refills else NAN,
            ask_refill_s=_median(track.refills[1]) if track.refills else NAN,
            unfilled=sum(len(each.unfilled) for each in track.refills),
        )

    # Books

    def _on_book(self, book: BookDepth) -> None:
        track = self._track(book.venue, book.instrument)
        if track is None or book.state != "open":
            return
        before, track.book = track.book, book
        if before is None:
            track.refills = track.refills or (_Refill(), _Refill())
            return
        now_ns = book.received.mono_ns
        flow = order_flow(before, book)
        if flow != 0.0:
            self._count_full(track.flow)
            track.flow.append((now_ns, flow))
        for refill, old, new, sign in zip(
            track.refills, (before.bids, before.asks), (book.bids, book.asks), (1.0, -1.0), strict=True
        ):
            self._follow(refill, old, new, sign, now_ns)
        self._expire(track, now_ns)

    def _follow(self, refill: _Refill, old: Levels, new: Levels, sign: float, now_ns: int) -> None:
        """Has a depletion begun on this side, or ended?"""
        if refill.since_ns is None:
            if old and _at_or_better(new, old[0][0], sign) < self._left * old[0][1]:
                refill.price, refill.target = old[0][0], self._recovery * old[0][1]
                refill.since_ns = now_ns
        elif _at_or_better(new, refill.price, sign) >= refill.target:
            refill.times.append((now_ns, (now_ns - refill.since_ns) / NS_PER_SECOND))
            refill.since_ns = None

    def _forget_book(self, track: _Track) -> None:
        track.book = None
        for refill in track.refills:
            refill.since_ns = None

    # Trades

    def _on_trade(self, trade: Trade) -> None:
        track = self._track(trade.venue, trade.instrument)
        if track is None:
            return
        if trade.bust:
            self.counters["busted_trade"] += 1
            track.prints.pop(trade.trade_id, None)
            self._seen(trade)  # it may come after its bust
            return
        if self._seen(trade):
            self.counters["duplicate_trade"] += 1
            return
        if not trade.is_open_market and not self._all_trades:
            self.counters["left_out_trade"] += 1
            return
        late = self._is_late(track, trade) or trade.late
        if late:
            self.counters["late_trade"] += 1
            if _is_before(trade.exchange_ns, track.newest_ns, self._window_ns):
                return  # it belongs to an earlier window
        if len(track.prints) >= MOST_ENTRIES:
            self.counters["window_full"] += 1
            del track.prints[next(iter(track.prints))]
        size = trade.size if trade.side == "buy" else -trade.size
        track.prints[trade.trade_id] = _Print(trade.received.mono_ns, size, late)
        self._expire(track, trade.received.mono_ns)  # also where nobody ever asks

    def _seen(self, trade: Trade) -> bool:
        return not self._ids.add((trade.venue, trade.instrument, trade.trade_id))

    def _is_late(self, track: _Track, trade: Trade) -> bool:
        """Older than one told before: by the venue's count where it counts, else by its time."""
        if trade.sequence is not None:
            late = track.sequence is not None and trade.sequence < track.sequence
            track.sequence = trade.sequence if track.sequence is None else max(track.sequence, trade.sequence)
        else:
            late = _is_before(trade.exchange_ns, track.newest_ns, 0)
        if trade.exchange_ns is not None:
            track.newest_ns = trade.exchange_ns if track.newest_ns is None else max(track.newest_ns, trade.exchange_ns)
        return late

    # Bounds

    def _track(self, venue: str, instrument: str) -> _Track | None:
        track = self._tracks.get((venue, instrument))
        if track is None:
            if len(self._tracks) >= self._most:
                self.counters["too_many_instruments"] += 1
                return None
            track = self._tracks[(venue, instrument)] = _Track()
        return track

    def _expire(self, track: _Track, now_ns: int) -> None:
        oldest_ns = now_ns - self._window_ns
        while track.flow and track.flow[0][0] < oldest_ns:
            track.flow.popleft()
        while track.prints:
            first = next(iter(track.prints))
            if track.prints[first].mono_ns >= oldest_ns:
                break
            del track.prints[first]
        for refill in track.refills:
            while refill.times and refill.times[0][0] < oldest_ns:
                refill.times.popleft()
            while refill.unfilled and refill.unfilled[0] < oldest_ns:
                refill.unfilled.popleft()
            if refill.since_ns is not None and refill.since_ns < oldest_ns:
                refill.unfilled.append(now_ns)
                refill.since_ns = None

    def _count_full(self, entries: deque[tuple[int, float]]) -> None:
        if len(entries) == entries.maxlen:
            self.counters["window_full"] += 1


def _at_or_better(levels: Levels, price: float, sign: float) -> float:
    """The size at `price` or better; `sign` is 1 for bids."""
    return sum(size for each, size in levels if (each - price) * sign >= 0.0)


def _is_before(exchange_ns: int | None, newest_ns: int | None, by_ns: int) -> bool:
    return exchange_ns is not None and newest_ns is not None and exchange_ns < newest_ns - by_ns


def _median(refill: _Refill) -> float:
    return median(seconds for _, seconds in refill.times) if refill.times else NAN
