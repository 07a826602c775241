"""One side of an order book: its levels in the order of their prices.

Prices are keys as the wire's decimals, read once by a correctly rounding parser and never computed with: two decimals
of up to 15 significant digits are the same number exactly where they are the same double. Text as a key would take
"0.10" and "0.1" for two prices; docs/decisions/0013 has what each kind of key and of storage costs.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

Level = tuple[float, float]
TextLevel = tuple[str, str]

_DECIMAL = re.compile(r"-?\d{1,30}(\.\d{1,30})?([eE][-+]?\d{1,2})?", re.ASCII)
_LOWEST = float("-inf")


class Side:
    """The levels of one side, in two lists of one order. Keys are prices, negated for asks: the best is the last.

    So the best levels are a slice, and a change near them moves little.
    """

    __slots__ = ("_depth", "_floor", "_levels", "_shown", "_sign", "_top", "keys")

    def __init__(self, sign: float, depth: int) -> None:
        self._sign = sign
        self._depth = depth
        self._shown = slice(None, -depth - 1, -1)
        self.keys: list[float] = []
        self._levels: list[Level] = []
        self._top: tuple[Level, ...] | None = ()
        self._floor = _LOWEST  # no change below this key shows in `top`

    def __len__(self) -> int:
        return len(self.keys)

    def clear(self) -> None:
        self.keys.clear()
        self._levels.clear()
        self._top = None

    def change(self, levels: Iterable[Any]) -> int:
        """Set or delete levels. Gives how many were to be deleted and were not there."""
        keys, kept, sign, floor = self.keys, self._levels, self._sign, self._floor
        absent = 0
        for level in levels:
            price, size = level
            key = price * sign
            at = bisect_left(keys, key)
            is_there = at < len(keys) and keys[at] == key
            if size > 0.0:
                if is_there:
                    kept[at] = level
                else:
                    keys.insert(at, key)
                    kept.insert(at, level)
            elif is_there:
                del keys[at], kept[at]
            else:
                absent += 1
                continue
            if key >= floor:
                self._top = None
        return absent

    def keep(self, most: int) -> None:
        """Forget all but the best `most` levels."""
        beyond = len(self.keys) - most
        if beyond > 0:
            self._forget(self.keys[:beyond])
            del self.keys[:beyond], self._levels[:beyond]

    def _forget(self, keys: list[float]) -> None:
        """What is kept beside the levels of these keys is of no use any more."""

    def texts(self, most: int) -> list[TextLevel]:
        """The best `most` levels as text; only a side that keeps the wire's text has any."""
        return []

    def top(self) -> tuple[Level, ...]:
        """The best levels, best first: the same tuple until one of them changes."""
        if self._top is None:
            self._top = top = tuple(self._levels[self._shown])
            # While fewer levels exist than are asked for, every change shows.
            self._floor = self.keys[-self._depth] if len(top) == self._depth else _LOWEST
        return self._top

    @property
    def best(self) -> float | None:
        """The best price; None for an empty side."""
        return self.keys[-1] * self._sign if self.keys else None

    def all(self) -> tuple[Level, ...]:
        """Every level, best first."""
        return tuple(reversed(self._levels))


class TextSide(Side):
    """A side that keeps each level as the venue wrote it, for checksums over that text."""

    __slots__ = ("_texts",)

    def __init__(self, sign: float, depth: int) -> None:
        super().__init__(sign, depth)
        self._texts: dict[float, TextLevel] = {}

    def clear(self) -> None:
        super().clear()
        self._texts.clear()

    def change(self, levels: Iterable[Any]) -> int:
        """Like `Side.change`, from (price, size) in text; ValueError where one is no decimal number."""
        texts = [(text[0], text[1]) for text in levels]
        numbers = [(decimal(price), decimal(size)) for price, size in texts]
        absent = super().change(numbers)
        for (price, size), text in zip(numbers, texts, strict=True):
            key = price * self._sign
            if size > 0.0:
                self._texts[key] = text
            else:
                self._texts.pop(key, None)
        return absent

    def _forget(self, keys: list[float]) -> None:
        for key in keys:
            self._texts.pop(key, None)

    def texts(self, most: int) -> list[TextLevel]:
        """The best `most` levels as the venue wrote them, best first."""
        return [self._texts[key] for key in self.keys[: -most - 1 : -1]]


def decimal(text: str) -> float:
    """A decimal number; ValueError for anything else that `float` takes: spaces, underscores, "nan", "Infinity".

    >>> decimal("0.0005") == decimal("5e-4")
    True
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"not a decimal number: {text!r:.40}")
    return float(text)
