"""The network between a client and a venue, sans-I/O: what it does to bytes, and how a connection comes to its end.

A `Path` holds what is wrong with the network now; each connection over it is a `Link` of two `Lane`s. The TCP proxy
and the simulated transport push bytes in at one end and take them out at the other when their time has come.
All times are seconds on whatever clock the caller has.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pricer.simulator.faults import Fault

End = Literal["reset", "fin"]
Direction = Literal["up", "down"]

# A lane that holds this much takes no more: the sender feels it, as it would feel a full receive window.
LANE_BYTES = 256 * 1024


@dataclass
class Weather:
    """What is wrong with the path now."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = math.inf
    slice_bytes: int = 0  # 0: whole
    late_close_s: float = 0.0
    unreachable: bool = False


class Lane:
    """One direction of a connection: bytes in, the same bytes out later, in order."""

    def __init__(self, path: Path, direction: Direction, *, whole: bool) -> None:
        self._path = path
        self._whole = whole
        self._direction = direction
        self._items: deque[tuple[float, bytes]] = deque()
        self._last_due_s = -math.inf
        self._free_s = -math.inf
        self.held_bytes = 0
        self.stalls: list[tuple[float, float]] = []

    @property
    def is_full(self) -> bool:
        """Whether the sender should wait."""
        return self.held_bytes >= LANE_BYTES

    def __len__(self) -> int:
        return len(self._items)

    def push(self, data: bytes, now_s: float) -> None:
        """Bytes from the sender."""
        weather = self._path.weather
        start_s = max(now_s, self._free_s)
        self._free_s = start_s + len(data) / weather.bytes_per_s
        due_s = self._free_s + self._path.delay_s()
        self._last_due_s = max(self._last_due_s, due_s)
        self._items.append((self._last_due_s, data))
        self.held_bytes += len(data)

    def take(self, now_s: float) -> list[bytes]:
        """What arrives by now, in pieces where the path makes pieces."""
        if not self._items or self._blocked_until(now_s) > now_s:
            return []
        taken = []
        while self._items and self._items[0][0] <= now_s:
            data = self._items.popleft()[1]
            self.held_bytes -= len(data)
            taken += self._pieces(data)
        return taken

    def next_s(self, now_s: float) -> float | None:
        """When `take` will have something, as things stand; None where nothing is on its way or nothing passes."""
        if not self._items:
            return None
        at_s = max(self._items[0][0], self._blocked_until(max(now_s, self._items[0][0])))
        return None if math.isinf(at_s) else at_s

    def _blocked_until(self, now_s: float) -> float:
        if self._path.is_hole(self._direction):
            return math.inf
        until_s = now_s
        for begins_s, ends_s in self.stalls:
            if begins_s <= until_s < ends_s:
                until_s = ends_s
        return until_s

    def _pieces(self, data: bytes) -> list[bytes]:
        size = self._path.weather.slice_bytes
        return [data] if not size or self._whole else [data[at : at + size] for at in range(0, len(data), size)]


class Link:
    """One connection: bytes to the venue go `up`, those to the client `down`.

    `on_end(how)` is called when the path ends it; `on_change()` when its lanes may move at another time than before.
    """

    def __init__(
        self, path: Path, on_end: Callable[[End], None], on_change: Callable[[], None], *, whole: bool
    ) -> None:
        self.up, self.down = Lane(path, "up", whole=whole), Lane(path, "down", whole=whole)
        self.on_end, self.on_change = on_end, on_change
        self.bytes_left: float = math.inf  # until a cut

    def passed_down(self, data: bytes) -> bytes:
        """What of `data`, on its way to the client, comes before a cut; then `is_cut`."""
        passed = data if len(data) < self.bytes_left else data[: int(self.bytes_left)]
        self.bytes_left -= len(data)
        return passed

    @property
    def is_cut(self) -> bool:
        return self.bytes_left <= 0


class Path:
    """All connections of a client to a venue, and what is wrong with the network between them."""

    def __init__(self, seed: int = 0, weather: Weather | None = None) -> None:
        self._rng = np.random.default_rng(seed)
        self._fair = weather or Weather()
        self.weather = Weather(**vars(self._fair))
        self.links: dict[Link, None] = {}
        self._active: dict[int, Fault] = {}
        self._now_s: Callable[[], float] = lambda: 0.0

    def use_clock(self, now_s: Callable[[], float]) -> None:
        """Stalls are laid out from the moment they begin: say where the time comes from."""
        self._now_s = now_s

    def join(self, on_end: Callable[[End], None], on_change: Callable[[], None], *, whole: bool = False) -> Link:
        """A new connection; `whole` where what is pushed are frames, which are never cut into pieces."""
        link = Link(self, on_end, on_change, whole=whole)
        self.links[link] = None
        return link

    def leave(self, link: Link) -> None:
        """A connection is over."""
        self.links.pop(link, None)

    def delay_s(self) -> float:
        """How long the next bytes take."""
        jitter_s = self.weather.jitter_s
        return self.weather.latency_s + (float(self._rng.random()) * jitter_s if jitter_s else 0.0)

    def is_hole(self, direction: Direction) -> bool:
        """Whether nothing passes that way now."""
        return any(
            each.name == "black_hole" and each.parameters["direction"] in ("both", direction)
            for each in self._active.values()
        )

    # Faults

    def begin(self, key: int, fault: Fault) -> None:
        """A fault begins."""
        self._active[key] = fault
        if fault.name in ("reset", "fin"):
            for link in list(self.links):
                link.on_end("reset" if fault.name == "reset" else "fin")
        elif fault.name == "cut":
            for link in self.links:
                link.bytes_left = min(link.bytes_left, float(fault.parameters["bytes"] or 0))
        elif fault.name == "stall":
            self._stall(fault)
        self._renew()

    def end(self, key: int, fault: Fault) -> None:
        """A fault ends; what it held back is on its way again."""
        del self._active[key]
        self._renew()

    def _stall(self, fault: Fault) -> None:
        """Some links stand still one by one in the first half of the time, and go on in another order in the second."""
        now_s = self._now_s()
        for link in self.links:
            share, begins, ends = (float(x) for x in self._rng.random(3))
            if share < float(fault.parameters["share"] or 0.0):
                half_s = fault.for_s / 2
                stall = (now_s + begins * half_s, now_s + half_s + ends * half_s)
                link.up.stalls = [*link.up.stalls[-7:], stall]
                link.down.stalls = [*link.down.stalls[-7:], stall]

    def _renew(self) -> None:
        """The weather is that of all faults together: delays add up, the narrowest band wins."""
        now = Weather(**vars(self._fair))
        for each in self._active.values():
            value = {name: float(v) for name, v in each.parameters.items() if isinstance(v, int | float)}
            if each.name == "latency":
                now.latency_s += value["seconds"]
                now.jitter_s += value["jitter_s"]
            elif each.name == "bandwidth":
                now.bytes_per_s = min(now.bytes_per_s, value["bytes_per_s"])
            elif each.name == "slice":
                now.slice_bytes = int(value["bytes"])
            elif each.name == "late_close":
                now.late_close_s += value["seconds"]
            elif each.name == "unreachable":
                now.unreachable = True
        self.weather = now
        for link in list(self.links):
            link.on_change()
