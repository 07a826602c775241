"""Slow and simple references that property tests hold the real thing against, and a venue that makes book messages."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise

from pricer.adapters.sequences import BookUpdate

Levels = tuple[tuple[tuple[float, float], ...], tuple[tuple[float, float], ...]]


class ReferenceBook:
    """A book as two dictionaries, sorted when looked at."""

    def __init__(self) -> None:
        self.sides: tuple[dict[float, float], dict[float, float]] = ({}, {})

    def replace(self, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]) -> None:
        for side in self.sides:
            side.clear()
        self.change(bids, asks)

    def change(self, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]) -> None:
        for side, levels in zip(self.sides, (bids, asks), strict=True):
            for price, size in levels:
                if size > 0:
                    side[price] = size
                else:
                    side.pop(price, None)

    def levels(self, most: int | None = None) -> Levels:
        bids, asks = self.sides
        return tuple(sorted(bids.items(), reverse=True)[:most]), tuple(sorted(asks.items())[:most])


class BookVenue:
    """A true book that moves by chance, and the messages it sends: linked by ids that jump, as Deribit's do."""

    def __init__(self, seed: int, levels: int = 8) -> None:
        self._chance = random.Random(seed)
        self.book = ReferenceBook()
        self.id = self._chance.randrange(1, 2**53)
        self._mid = 1000
        self.book.replace(
            [(self._price(-i), 1.0) for i in range(1, levels + 1)],
            [(self._price(i), 1.0) for i in range(1, levels + 1)],
        )

    def snapshot(self) -> BookUpdate:
        """The whole book now."""
        bids, asks = self.book.levels()
        return BookUpdate(bids=bids, asks=asks, last=self.id, snapshot=True)

    def move(self) -> BookUpdate:
        """Something happens; the message that tells of it."""
        previous, self.id = self.id, self.id + self._chance.randrange(1, 5)
        self._mid += self._chance.choice((-1, 0, 0, 1))
        changes: tuple[list[tuple[float, float]], list[tuple[float, float]]] = ([], [])
        for way, side, change in zip((-1, 1), self.book.sides, changes, strict=True):
            # What the middle has passed goes; one level comes, changes or goes.
            change += [(price, 0.0) for price in side if (price - self._mid * 0.0005) * way <= 0]
            gone = {price for price, _ in change}
            price = self._price(way * self._chance.randrange(1, 12))
            if price not in gone:
                change.append((price, 0.0 if self._chance.random() < 0.3 else float(self._chance.randrange(1, 100))))
        self.book.change(*changes)
        return BookUpdate(bids=changes[0], asks=changes[1], last=self.id, previous=previous)

    def _price(self, steps: int) -> float:
        return float(f"{(self._mid + steps) * 0.0005:.4f}")


def is_ordered(levels: Levels) -> bool:
    """Best first on both sides, each price once."""
    bids, asks = levels
    return all(a > b for (a, _), (b, _) in pairwise(bids)) and all(a < b for (a, _), (b, _) in pairwise(asks))


def faulty(messages: Sequence[BookUpdate], chance: random.Random, rate: float) -> list[BookUpdate]:
    """The same messages with some of them dropped, repeated, swapped with the next, or without a level."""
    out = list(messages)
    at = 0
    while at < len(out):
        if chance.random() < rate:
            fault = chance.choice(("drop", "repeat", "swap"))
            if fault == "drop":
                del out[at]
                continue
            if fault == "repeat":
                out.insert(at, out[at])
            elif at + 1 < len(out):
                out[at], out[at + 1] = out[at + 1], out[at]
            at += 1
        at += 1
    return out
