"""Does the venue's own volatility stay away from ours? FAULTS D06.

Neither replaces the other. A difference counts beyond a limit in volatility and twice the error bar that a price tick
gives to ours, and only where our number is OK: far out of the money both mean little.
"""

from __future__ import annotations

import numpy as np

from pricer.clock import NS_PER_SECOND, Instant
from pricer.conventions import NO_TIME, Status
from pricer.engine.chain import IV, MARK_IV, ChainSlice
from pricer.snapshot import FIELD_INDEX, ROW_PAIR, SliceDefinition

# It is looked at so often, and told when it has lasted so long.
CHECK_EVERY_NS = NS_PER_SECOND
LASTING_NS = 5 * NS_PER_SECOND
ERROR_BARS = 2.0

_IV_ERROR = FIELD_INDEX["iv_error"]


class DivergenceWatch:
    """One expiry's options; it starts anew where the list of them changes."""

    def __init__(self) -> None:
        self._definition: SliceDefinition | None = None
        self._since_ns = np.empty(0, np.int64)
        self._told = np.empty(0, np.bool_)
        self.due_ns = NO_TIME

    def newly_apart(self, chain: ChainSlice, limit: float, now: Instant) -> list[str]:
        """The options whose difference has just lasted `LASTING_NS`; mostly none. To be asked at `due_ns`."""
        self.due_ns = now.mono_ns + CHECK_EVERY_NS
        if self._definition is not chain.definition:
            self._definition = chain.definition
            self._since_ns = np.full(len(chain), NO_TIME, np.int64)
            self._told = np.zeros(len(chain), np.bool_)
        difference = np.abs(chain.values[MARK_IV] - chain.values[IV])
        # An error bar may be as large as a double can be, so it is not the one that is multiplied.
        within_error = difference / ERROR_BARS <= chain.values[_IV_ERROR]
        apart = (difference > limit) & ~within_error & (chain.status[ROW_PAIR] == Status.OK)
        if not apart.any():
            self._since_ns.fill(NO_TIME)
            self._told.fill(False)
            return []
        self._since_ns[apart & (self._since_ns == NO_TIME)] = now.mono_ns
        self._since_ns[~apart] = NO_TIME
        self._told &= apart
        new = apart & ~self._told & (now.mono_ns - self._since_ns >= LASTING_NS)
        self._told |= new
        return [chain.definition.names[row] for row in np.flatnonzero(new).tolist()]
