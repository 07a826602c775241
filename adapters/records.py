"""What a recording says, record by record: the calls that a feed's adapters got, in the order of their coming."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pricer.clock import Instant


class Connecting(NamedTuple):
    """An attempt to connect began. `connection` is the number of the line, here as below."""

    instant: Instant
    connection: int = 0


class Opened(NamedTuple):
    """A connection stands."""

    instant: Instant
    connection: int = 0


class Frame(NamedTuple):
    """A frame as it came."""

    data: bytes
    instant: Instant
    connection: int = 0


class Timer(NamedTuple):
    """`on_time` was called between two frames."""

    instant: Instant
    connection: int = 0


class Wish(NamedTuple):
    """These books were wanted on demand from here on. What is asked for follows from it, and so do the replies."""

    names: tuple[str, ...]
    instant: Instant
    connection: int = 0


class PriceMark(NamedTuple):
    """The engine priced here."""

    instant: Instant


class Closed(NamedTuple):
    """The connection is gone, or could not be made."""

    instant: Instant
    reason: str
    connection: int = 0


class Gap(NamedTuple):
    """`length` bytes at `offset` are damaged; what they held is lost."""

    offset: int
    length: int


Record = Connecting | Opened | Frame | Timer | Wish | PriceMark | Closed | Gap


class Recording(Protocol):
    """A recording on disk. Each iteration reads it from the start; `notes` says what was wrong with it so far."""

    path: Path
    # What the recorder wrote down: "venue" at least, where it is known.
    meta: Mapping[str, Any]
    notes: list[str]

    def __iter__(self) -> Iterator[Record]: ...
