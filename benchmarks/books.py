"""What a book costs per message: `python -m benchmarks.books [path of a cryptofeed recording]`.

The book that we ship, two lists of one order, against the three others that were tried: a sorted list beside a
dictionary, a dictionary sorted at every publication, and sorted arrays in compiled code. And the same work on four
kinds of keys. docs/decisions/0013 says what follows. Times are those of the processor.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pricer.adapters.book import OrderBook
from pricer.adapters.levels import Level, Side
from pricer.adapters.sequences import BookUpdate, unnumbered

DEPTH = 10
ROUNDS = 5


class Book(Protocol):
    """What all candidates do: take a side's changes, give its best levels."""

    def change(self, levels: Sequence[Level]) -> Any: ...
    def top(self) -> tuple[Level, ...]: ...


class ListBesideDict:
    """A sorted list of the prices; the sizes are looked up by them."""

    def __init__(self, sign: float) -> None:
        self._sign = sign
        self._keys: list[float] = []
        self._levels: dict[float, Level] = {}
        self._top: tuple[Level, ...] | None = None

    def change(self, levels: Sequence[Level]) -> None:
        for level in levels:
            self._top = None
            price, size = level
            key = price * self._sign
            if size > 0.0:
                if key not in self._levels:
                    insort(self._keys, key)
                self._levels[key] = level
            elif self._levels.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]

    def top(self) -> tuple[Level, ...]:
        if self._top is None:
            self._top = tuple([self._levels[key] for key in self._keys[: -DEPTH - 1 : -1]])
        return self._top


class SortedAtEnd:
    """A dictionary; sorted whenever the best levels are wanted."""

    def __init__(self, sign: float) -> None:
        self._sign = sign
        self._levels: dict[float, float] = {}

    def change(self, levels: Sequence[Level]) -> None:
        for price, size in levels:
            if size > 0.0:
                self._levels[price] = size
            else:
                self._levels.pop(price, None)

    def top(self) -> tuple[Level, ...]:
        best = sorted(self._levels.items(), reverse=self._sign > 0)
        return tuple(best[:DEPTH])


@njit(cache=False)
def _change(keys: Any, sizes: Any, count: int, prices: Any, amounts: Any, sign: float) -> int:
    """Set or delete levels in arrays sorted by key, best last; gives the new count."""
    for price, amount in zip(prices, amounts):  # noqa: B905  (Numba's zip has no strict)
        key = sign * price
        at = np.searchsorted(keys[:count], key)
        there = at < count and keys[at] == key
        if amount > 0.0:
            if not there:
                keys[at + 1 : count + 1] = keys[at:count].copy()
                sizes[at + 1 : count + 1] = sizes[at:count].copy()
                count += 1
            keys[at], sizes[at] = key, amount
        elif there:
            keys[at : count - 1] = keys[at + 1 : count].copy()
            sizes[at : count - 1] = sizes[at + 1 : count].copy()
            count -= 1
    return count


class Compiled:
    """Sorted arrays, changed by a compiled function."""

    def __init__(self, sign: float) -> None:
        self._sign = sign
        self._keys: NDArray[np.float64] = np.empty(20_001)
        self._sizes: NDArray[np.float64] = np.empty(20_001)
        self._count = 0

    def change(self, levels: Sequence[Level]) -> None:
        if levels:
            both = np.array(levels)
            self._count = _change(self._keys, self._sizes, self._count, both[:, 0], both[:, 1], self._sign)

    def top(self) -> tuple[Level, ...]:
        best = slice(max(self._count - DEPTH, 0), self._count)
        keys = (self._sign * self._keys[best][::-1]).tolist()
        return tuple(zip(keys, self._sizes[best][::-1].tolist(), strict=True))


Message = tuple[Sequence[Level], Sequence[Level]]


def recorded(path: Path) -> list[list[Message]]:
    """For each instrument of a cryptofeed recording of Deribit: its snapshot, then its changes."""
    books: dict[str, list[Message]] = {}
    for line in path.read_text().splitlines():
        _, separator, text = line.partition(': {"jsonrpc')
        if separator and '"channel":"book.' in text:
            data = json.loads('{"jsonrpc' + text)["params"]["data"]
            sides = [[(price, size) for _, price, size in data[side]] for side in ("bids", "asks")]
            books.setdefault(data["instrument_name"], []).append((sides[0], sides[1]))
    return list(books.values())


def synthetic(levels: int, messages: int, seed: int = 1) -> list[Message]:
    """A book of so many levels a side around 100, and changes that cluster at the touch as real ones do."""
    chance = np.random.default_rng(seed)
    sides = [[(round(100 + way * 0.01 * i, 2), 1.0) for i in range(1, levels + 1)] for way in (-1, 1)]
    out: list[Message] = [(sides[0], sides[1])]
    for _ in range(messages):
        change: list[list[Level]] = [[], []]
        for _ in range(1 + chance.geometric(0.5)):
            side = int(chance.integers(2))
            far = min(int(chance.exponential(levels / 20)), levels - 1) + 1
            price = round(100 + (-1, 1)[side] * 0.01 * far, 2)
            change[side].append((price, 0.0 if chance.random() < 0.4 else float(chance.integers(1, 100))))
        out.append((change[0], change[1]))
    return out


def run(make: Callable[[float], Book], messages: Sequence[Message]) -> float:
    """Microseconds per change, with the best levels of both sides taken after each; the snapshot is not counted."""
    bids, asks = make(1.0), make(-1.0)
    bids.change(messages[0][0])
    asks.change(messages[0][1])
    started = time.process_time_ns()
    for bid_changes, ask_changes in messages[1:]:
        bids.change(bid_changes)
        asks.change(ask_changes)
        bids.top()
        asks.top()
    return (time.process_time_ns() - started) / 1000 / max(len(messages) - 1, 1)


def whole(messages: Sequence[Message]) -> float:
    """The same through `OrderBook`, sequence rule and all."""
    updates = [BookUpdate(bids=bids, asks=asks, last=0, snapshot=not i) for i, (bids, asks) in enumerate(messages)]
    book = OrderBook(unnumbered, depth=DEPTH)
    book.apply(updates[0])
    started = time.process_time_ns()
    for update in updates[1:]:
        book.apply(update)
        book.bids()
        book.asks()
    return (time.process_time_ns() - started) / 1000 / max(len(messages) - 1, 1)


def keyed(read: Callable[[str], Hashable], texts: Sequence[str]) -> float:
    """Microseconds a level: read a price in text, set it in a sorted book, delete it again."""
    keys: list[Any] = []
    sizes: dict[Any, float] = {}
    started = time.process_time_ns()
    for text in texts:
        key = read(text)
        if key in sizes:
            del sizes[key]
            del keys[bisect_left(keys, key)]
        else:
            sizes[key] = 1.0
            insort(keys, key)
    return (time.process_time_ns() - started) / 1000 / len(texts)


def ticks(text: str) -> int:
    """A price in ten-thousandths, exactly."""
    units, _, decimals = text.partition(".")
    return int(units + decimals.ljust(4, "0"))


def best_of(measure: Callable[[], float]) -> float:
    return min(measure() for _ in range(ROUNDS))


def main(arguments: Sequence[str]) -> None:
    candidates: dict[str, Callable[[float], Book]] = {
        "two lists of one order": lambda sign: Side(sign, DEPTH),
        "sorted list beside a dict": ListBesideDict,
        "dict, sorted at the end": SortedAtEnd,
        "arrays, compiled": Compiled,
    }
    run(Compiled, synthetic(10, 10))  # compiles
    loads = {f"{levels} levels": [synthetic(levels, 5_000)] for levels in (20, 200, 1000)}
    if arguments:
        loads = {"recorded": recorded(Path(arguments[0])), **loads}
    print("microseconds per message, best ten levels of both sides taken after each")
    for load, books in loads.items():
        many = [book * (1 if len(book) > 1000 else 200) for book in books if len(book) > 1]
        for name, make in candidates.items():
            cost = statistics.fmean(best_of(lambda make=make, book=book: run(make, book)) for book in many)  # type: ignore[misc]
            print(f"  {load:12}  {name:26} {cost:7.2f}")
        print(f"  {load:12}  {'as OrderBook':26} {statistics.fmean(best_of(lambda b=b: whole(b)) for b in many):7.2f}")  # type: ignore[misc]
    chance = np.random.default_rng(2)
    prices = [f"{ticks_ / 10_000:.4f}" for ticks_ in chance.integers(1, 2_000, 20_000)]
    print("microseconds per level by kind of key, reading included")
    for name, read in {"float": float, "text": str, "integer ticks": ticks, "Decimal": Decimal}.items():
        print(f"  {name:14} {best_of(lambda read=read: keyed(read, prices)):7.3f}")  # type: ignore[misc]


if __name__ == "__main__":
    main(sys.argv[1:])
