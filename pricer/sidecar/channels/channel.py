"""The contract of a channel: from what the sidecar knows at one moment, a picture; from two pictures, a delta.

A channel keeps nothing between calls. The hub holds the last picture of each stream, counts `seq`, and asks for the
next one when the engine has published or the clock alone may have changed a status.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from pricer.clock import Instant
from pricer.sidecar.messages import Columns, Head
from pricer.sidecar.protocol import StreamKey
from pricer.snapshot import Snapshot

if TYPE_CHECKING:
    from pricer.sidecar.alerts.watch import Active

Made = TypeVar("Made")
NOTHING: Mapping[str, int] = MappingProxyType({})


class Served(NamedTuple):
    """What the sidecar itself has to do: for `health`. `alarms` are counts by names from a short list."""

    clients: int = 0
    streams: int = 0
    alarms: Mapping[str, int] = NOTHING
    alerts: Sequence[Active] = ()  # what is raised now


NOBODY = Served()


@dataclass(frozen=True, slots=True)
class Market:
    """What channels read in one round: the newest snapshot, and its source for what is not in it (books, trades).

    One for all streams of a round, so that what two of them need is made once.
    """

    snapshot: Snapshot
    source: Any
    digits: int
    served: Served = NOBODY
    _made: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)

    def part(self, venue: str, underlying: str) -> Snapshot:
        """The snapshot of one underlying."""
        return self.shared(("part", venue, underlying), lambda: self.snapshot.of(underlying, venue))

    def shared(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` gives, made at the first call for `key` in this round."""
        if key not in self._made:
            self._made[key] = make()
        return cast(Made, self._made[key])

    @property
    def now_mono_ns(self) -> int:
        """On the clock of pictures."""
        return self.snapshot.clock.now().mono_ns


class Content(NamedTuple):
    """A message without its `type`, `seq` and key; see `pricer.sidecar.messages`."""

    head: Head
    columns: Columns
    rows: NDArray[np.int64] | None = None


class Picture(Protocol):
    """What one stream says at one moment; immutable."""

    @property
    def now(self) -> Instant: ...

    def says_the_same_as(self, other: Any) -> bool:
        """Nothing that a consumer of `other` does not know, but the time."""

    def has_rows_of(self, other: Any) -> bool:
        """The same rows in the same order, so that a delta can tell the difference."""

    def whole(self) -> Content:
        """The content of a `snapshot`."""

    def since(self, other: Any) -> Content:
        """The content of a `delta` for a consumer of `other`, which has the same rows."""

    def crc32(self) -> int:
        """Of all float64 value columns of the table that deltas may change, in their order in `whole`.

        Row by row, each value as 8 little-endian bytes, no value as 0x7ff8000000000000.
        """


class Channel(Protocol):
    """One kind of stream. Channels inherit from this, for what they need not say."""

    name: str
    # What `columns` of a subscription may name, in the order of the wire; what stands beside it always comes along.
    columns: tuple[str, ...] = ()
    # Which of "expiries", "strikes" and "instrument" a subscription may have, and which it must have.
    filters: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset({"underlying"})

    def take(self, market: Market, key: StreamKey, previous: Any = None) -> Picture:
        """What there is to say now; what did not change is taken from `previous`, the stream's last picture."""

    def opened(self, market: Market, key: StreamKey) -> None:
        """A stream of `key` has its first reader; called after its first picture. Once for each stream."""
        return None

    def closed(self, market: Market, key: StreamKey) -> None:
        """The stream has lost its last reader; once for each `opened`, also when the sidecar ends."""
        return None
