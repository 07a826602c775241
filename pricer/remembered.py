"""Which of the newest keys have been met: a bounded memory against repetitions."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Remembered(Generic[Key]):
    """The last `most` different keys, in the order of their first coming; the oldest is forgotten first.

    >>> seen = Remembered[str](2)
    >>> [seen.add(key) for key in ("a", "a", "b", "c", "a")]
    [True, False, True, True, True]
    """

    __slots__ = ("_keys", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: dict[Key, None] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def add(self, key: Key) -> bool:
        """Remember `key`; True where it is new, as far as is remembered."""
        if key in self._keys:
            return False
        if len(self._keys) >= self._most:
            del self._keys[next(iter(self._keys))]
        self._keys[key] = None
        return True
