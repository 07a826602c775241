"""How long frames have taken to become snapshots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Latencies:
    """The last `size` latencies in nanoseconds: from the socket read of a snapshot's oldest frame to publication."""

    def __init__(self, size: int = 8192) -> None:
        self.count = 0
        self._ring = np.zeros(size, np.int64)

    def add(self, latency_ns: int) -> None:
        self._ring[self.count % len(self._ring)] = latency_ns
        self.count += 1

    def values(self) -> NDArray[np.int64]:
        """What the ring holds, in no particular order; empty before the first snapshot."""
        return self._ring[: min(self.count, len(self._ring))].copy()
