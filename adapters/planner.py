"""Which connection carries which instrument, within what a venue allows each connection and all of them together.

An instrument stays where it is while others come and go; a new one goes to the least loaded connection. Room is kept on
every connection for the strikes that a moving market lists. What cannot fit is refused with the arithmetic.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from zlib import crc32

from pricer.adapters.session import NAME_OVERHEAD_BYTES, SessionLimits
from pricer.errors import ConfigError

# JSON-RPC around the names of one call.
CALL_OVERHEAD_BYTES = 200

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a venue allows; None where it names no limit.

    `messages_per_s` is what one connection can take in, reckoned with the rate that a plan names per instrument.
    `headroom` is the part of a connection that is kept free for new listings.
    """

    connections: int
    channels_per_connection: int | None = None
    channels_per_call: int = 250
    frame_bytes: int | None = None
    calls_per_hour: int | None = None
    messages_per_s: float | None = None
    headroom: float = 0.2

    def __post_init__(self) -> None:
        for name in ("connections", "channels_per_connection", "channels_per_call", "frame_bytes", "calls_per_hour"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(f"{name}: {value!r} is not a whole number above 0")
        if not 0.0 <= self.headroom < 1.0:
            raise ConfigError(f"headroom: {self.headroom!r} is not between 0 and 1")
        if self.frame_bytes is not None and self.frame_bytes <= CALL_OVERHEAD_BYTES:
            raise ConfigError(f"frame_bytes: {self.frame_bytes} does not hold a call of {CALL_OVERHEAD_BYTES} bytes")

    def session_limits(self) -> SessionLimits:
        """The same, as a session keeps to it call by call."""
        if self.frame_bytes is None:
            return SessionLimits(max_names=self.channels_per_call)
        return SessionLimits(max_names=self.channels_per_call, max_name_bytes=self.frame_bytes - CALL_OVERHEAD_BYTES)

    def capacity(self, name_bytes: int = 64, rate: float = 0.0) -> float:
        """How many channels one connection may ever carry, by the tightest of the limits.

        `name_bytes` is the longest channel name; `rate` the messages a second that one channel brings.
        """
        most = [math.inf if self.channels_per_connection is None else float(self.channels_per_connection)]
        if self.calls_per_hour is not None:
            # Two full resubscriptions an hour: a drop, and another one.
            most.append(float(self.calls_per_hour // 2 * self.names_per_call(name_bytes)))
        if self.messages_per_s is not None and rate > 0.0:
            most.append(float(int(self.messages_per_s / rate)))
        return min(most)

    def names_per_call(self, name_bytes: int = 64) -> int:
        """How many names of that length one call holds."""
        if self.frame_bytes is None:
            return self.channels_per_call
        return max(
            1,
            min(self.channels_per_call, (self.frame_bytes - CALL_OVERHEAD_BYTES) // (name_bytes + NAME_OVERHEAD_BYTES)),
        )


class Planner(Generic[Key]):
    """The assignment of instruments to the connections of one venue.

    A key is whatever tells instruments apart, (venue, name) for example. `channels` is how many channels each
    instrument has; `fixed` how many every connection carries besides (an index, the news of listings).
    """

    def __init__(
        self, limits: ConnectionLimits, *, channels: int = 1, fixed: int = 0, name_bytes: int = 64, rate: float = 0.0
    ) -> None:
        self._limits = limits
        self._channels = channels
        self._fixed = fixed
        self._capacity = limits.capacity(name_bytes, rate)
        self._home: dict[Key, int] = {}
        self._loads: list[int] = []
        if self._most < 1:
            raise ConfigError(
                f"a connection may carry {self._capacity:g} channels, and {fixed} fixed ones"
                f" leave no room for an instrument's {channels}"
            )

    def assign(self, keys: Mapping[Key, object] | list[Key] | tuple[Key, ...] | set[Key]) -> dict[Key, int]:
        """Make the plan carry exactly `keys`, and give each one's connection. What was there before has not moved."""
        wanted = dict.fromkeys(keys)
        self.drop([key for key in self._home if key not in wanted])
        new = [key for key in wanted if key not in self._home]
        # A plan begins with room for strikes to come; afterwards that room is there to be used.
        self._open_for(len(new), self._most if len(new) < len(wanted) else self._comfortable)
        loads = [(load, number) for number, load in enumerate(self._loads)]
        heapq.heapify(loads)
        for key in new:
            load, number = loads[0]
            self._home[key] = number
            self._loads[number] = load + 1
            heapq.heapreplace(loads, (load + 1, number))
        return dict(self._home)

    def place(self, key: Key) -> int:
        """The connection of one instrument; a new one goes to the least loaded, into the headroom if need be."""
        if key not in self._home:
            self._open_for(1, self._most)
            number = min(range(len(self._loads)), key=self._loads.__getitem__)
            self._home[key] = number
            self._loads[number] += 1
        return self._home[key]

    def drop(self, keys: list[Key]) -> None:
        """These are gone; nothing else moves."""
        for key in keys:
            number = self._home.pop(key, None)
            if number is not None:
                self._loads[number] -= 1

    @property
    def loads(self) -> list[int]:
        """How many instruments each connection carries."""
        return list(self._loads)

    @property
    def _most(self) -> float:
        """Instruments a connection may ever carry."""
        return (self._capacity - self._fixed) // self._channels

    @property
    def _comfortable(self) -> float:
        """Instruments a connection is planned for: the rest is for what will be listed."""
        return max(1.0, self._most * (1.0 - self._limits.headroom) // 1)

    def _open_for(self, new: int, most: float) -> None:
        """Have connections for `new` more instruments; refuse where all of them at `most` are not enough."""
        total = len(self._home) + new
        while len(self._loads) < self._limits.connections and total > self._comfortable * len(self._loads):
            self._loads.append(0)
        if not self._loads:
            self._loads.append(0)
        if total > most * len(self._loads):
            raise ConfigError(self._arithmetic(total, most))

    def _arithmetic(self, total: int, most: float) -> str:
        allowed = self._limits.connections
        kept = f", of which {self._limits.headroom:.0%} are kept free for new listings" if most < self._most else ""
        return (
            f"{total} instruments of {self._channels} channels each do not fit: a connection carries"
            f" {self._capacity:g} channels, {self._fixed} of them fixed, that is {self._most:g} instruments{kept};"
            f" {allowed} connections x {most:g} = {int(allowed * most)}, and {math.ceil(total / most)} connections"
            " would be needed. Ask for fewer underlyings, expiries or strikes"
        )


@dataclass(frozen=True, slots=True)
class Share:
    """One of `count` stable parts of a listing, for adapters that know nothing of each other.

    By the name alone, so that an instrument keeps its part whatever else is listed; the parts are even by chance only.

    >>> [Share(part, 2).takes("BTC-27JUN25-100000-C") for part in (0, 1)]
    [False, True]
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ConfigError(f"share: part {self.index} of {self.count} does not exist")

    @property
    def is_first(self) -> bool:
        """Whether this part carries, besides its instruments, what there is but once."""
        return self.index == 0

    def takes(self, name: str) -> bool:
        """Whether the instrument of this name is in this part."""
        return self.count == 1 or crc32(name.encode()) % self.count == self.index

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"
