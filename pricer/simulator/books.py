"""Order books behind the market's best quotes: seeded, consistent, and made only for what someone looks at.

The best level of each side is the quote itself. Behind it, whether a price carries a level, and how large, is a hash of
seed, instrument, price and a slow clock: so levels stay where they are when the best moves over them, old ones
fade and new ones appear, and two who look at the same instant see the same book, whoever looked first. A side without
a quote is empty.

Every change of a book takes two numbers of one rising series, one a side, so that the raw channel can show the sides
one after the other while the slower channels jump. How deep books are, and how they decay, is our own choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricer.simulator.listing import Family
from pricer.simulator.market import Market

Level = tuple[float, float]  # price, amount
Levels = tuple[Level, ...]  # best first
Delta = list[tuple[str, float, float]]  # "new", "change" or "delete", price, amount
Words = NDArray[np.uint64]

OPTION_LEVELS = 8
FUTURE_LEVELS = 20
FIRST_CHANGE_ID = 90_000_000_000

_DENSITY = 0.55  # of the prices behind the best
_FADE_MS = 8_000  # a level keeps its size this long, and its place four times as long


@dataclass(frozen=True, slots=True)
class BookState:
    """One instrument's book at one instant."""

    name: str
    ms: int
    change_id: int
    bids: Levels
    asks: Levels


@dataclass(frozen=True, slots=True)
class _Top:
    """What a book is made from."""

    instrument_id: int
    bid: Level
    ask: Level
    tick: float
    coarse: int  # the coarse tick in fine ones
    above: float
    lot: float
    scale: float  # of a typical level
    depth: int


class Books:
    """The books of a market's instruments, each kept from when it is first asked for until `forget`."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self._states: dict[str, BookState] = {}
        self._next_id = FIRST_CHANGE_ID

    def __len__(self) -> int:
        return len(self._states)

    def state(self, name: str) -> BookState:
        """The book of a listed instrument now; the same object as long as nothing has changed."""
        top = self._top(name)
        ms = self.market.now_ns // 1_000_000
        bids, asks = _sides(self.market.seed, top, ms)
        known = self._states.get(name)
        if known is not None and (known.bids, known.asks) == (bids, asks):
            return known
        self._next_id += 2
        made = self._states[name] = BookState(name, ms, self._next_id, bids, asks)
        return made

    def forget(self, names: Iterable[str]) -> None:
        """Nobody looks at these any more, or they are gone."""
        for name in names:
            self._states.pop(name, None)

    def _top(self, name: str) -> _Top:
        chain = self.market.chain_of(name)
        if chain is None:
            raise LookupError(name)
        family = chain.family
        if name in chain.futures:
            future = chain.futures[name]
            best = (future.bid, future.bid_size), (future.ask, future.ask_size)
            scale = 4_000.0 if family.inverse else 1.0
            lot = family.future_contract
            return _Top(future.instrument_id, *best, family.future_tick, 1, 0.0, lot, scale, FUTURE_LEVELS)
        row: Any = chain.rows[chain.row_of[name]]
        best = (float(row["bid"]), float(row["bid_size"])), (float(row["ask"]), float(row["ask_size"]))
        return _option_top(family, int(row["instrument_id"]), best)


def _sides(seed: int, top: _Top, ms: int) -> tuple[Levels, Levels]:
    """Bids and asks, best first. Both sides in one pass, since the calls cost more than the numbers."""
    reach = _reach(top.depth, top.coarse)
    at = np.concatenate((round(top.bid[0] / top.tick) - reach, round(top.ask[0] / top.tick) + reach))
    age = (ms + (at * 7_919 + top.instrument_id * 104_729) % _FADE_MS) // _FADE_MS  # each level at a time of its own
    word = _hash(seed, top.instrument_id, at, age // 4)
    there = _uniform(word) < _DENSITY
    if top.coarse > 1:
        there &= (at * top.tick <= top.above) | (at % top.coarse == 0)
    split = int(np.count_nonzero(there[: reach.size]))
    at, age, word = at[there], age[there], word[there]
    lots = np.maximum(np.rint(top.scale / top.lot * np.exp(3.0 * (_uniform(_again(word, age)) - 0.5))), 1.0)
    prices, amounts = (at * top.tick).round(8).tolist(), (lots * top.lot).round(8).tolist()
    behind = list(zip(prices, amounts, strict=True))
    return _levels(top.bid, behind[:split], top.depth), _levels(top.ask, behind[split:], top.depth)


def _levels(best: Level, behind: list[Level], depth: int) -> Levels:
    if best[0] <= 0.0:
        return ()
    return (best, *(level for level in behind[: depth - 1] if level[0] > 0.0))


@lru_cache
def _reach(depth: int, coarse: int) -> NDArray[np.int64]:
    return np.arange(1, int(depth / _DENSITY) * coarse + 1)


def _option_top(family: Family, instrument_id: int, best: tuple[Level, Level]) -> _Top:
    ticks = family.ticks
    coarse = round(ticks.coarse / ticks.fine)
    depth = 3 + instrument_id % (OPTION_LEVELS - 2)
    return _Top(instrument_id, *best, ticks.fine, coarse, ticks.above, family.min_amount, 12.0, depth)


def _hash(seed: int, instrument_id: int, at: NDArray[np.int64], age: NDArray[np.int64]) -> Words:
    """One word per price: the finaliser of Steele, Lea and Flood (2014) over the mixed inputs."""
    start = (seed * 0x9E3779B97F4A7C15 + instrument_id * 0xD1B54A32D192ED03) % 2**64
    word: Words = at.astype(np.uint64) * np.uint64(0xA24BAED4963EE407) ^ np.uint64(start)
    word ^= age.astype(np.uint64) * np.uint64(0x9FB21C651E98DF25)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        word = (word ^ (word >> np.uint64(shift))) * np.uint64(factor)
    return word ^ (word >> np.uint64(31))


def _again(word: Words, age: NDArray[np.int64]) -> Words:
    """Another word from the first, new at every age."""
    odd: Words = age.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C16) + np.uint64(1)
    again: Words = (word ^ (word >> np.uint64(32))) * odd
    return again


def _uniform(word: Words) -> NDArray[np.float64]:
    return (word >> np.uint64(11)).astype(np.float64) * 2.0**-53


def delta(old: Levels, new: Levels) -> Delta:
    """What makes `new` of `old`; a deleted level has amount 0."""
    before, after = dict(old), dict(new)
    changed: Delta = [
        ("change" if price in before else "new", price, amount) for price, amount in new if before.get(price) != amount
    ]
    return changed + [("delete", price, 0.0) for price, _ in old if price not in after]


def one_by_one(old: BookState, new: BookState) -> list[BookState]:
    """From `old` to `new` with one side a step, the one that gives way first, so that no step is crossed."""
    if old.bids == new.bids or old.asks == new.asks:
        return [new]
    bids_rise = bool(new.bids) and bool(old.asks) and new.bids[0][0] >= old.asks[0][0]
    between = replace(new, change_id=new.change_id - 1)
    if bids_rise:
        return [replace(between, bids=old.bids), new]
    return [replace(between, asks=old.asks), new]


def grouped(levels: Levels, step: float | None, depth: int, *, up: bool) -> list[list[float]]:
    """At most `depth` levels as [price, amount], amounts added up at multiples of `step`: bids down, asks `up`."""
    if step is None:
        return [[price, amount] for price, amount in levels[:depth]]
    added: dict[float, float] = {}
    for price, amount in levels:
        # A price that is a multiple already must stay where it is, so a hair is taken off before rounding.
        whole = np.ceil(price / step - 1e-9) if up else np.floor(price / step + 1e-9)
        bucket = round(float(whole) * step, 8)
        added[bucket] = round(added.get(bucket, 0.0) + amount, 8)
    return [[price, amount] for price, amount in list(added.items())[:depth]]
