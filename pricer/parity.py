"""The forward of a slice from its own quotes, by put-call parity, where its venue gives none.

It is a stand-in: always DEGRADED, with FORWARD_IMPLIED and a standard error. It is made again whenever a quote of the
slice changed or grew stale, from the pairs of quotes that are live, and lives as long as one of them.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pricer.chain import ASK, BID, ChainSlice
from pricer.clock import Instant
from pricer.conventions import NO_TIME, Reason, Status
from pricer.kernels.forward import FORWARD_FIELDS, SCRATCH_ROWS, parity_forward
from pricer.kernels.status import OK
from pricer.snapshot import SliceDefinition, UnderlyingValue

# Premiums are undiscounted wherever the engine prices; coin-settled ones have no discount to begin with.
DISCOUNT = 1.0

_NOT_LIVE = np.uint64(Reason.RESYNCING | Reason.NOT_TRADING | Reason.EXPIRED)


class ParityTracker:
    """The implied forward of one expiry; it holds its memory, and no number, until it is asked for one."""

    def __init__(self) -> None:
        self._value = UnderlyingValue()
        self._pairs: _Pairs | None = None
        self._solved = False  # by the quotes as they are now
        self._suspect = False

    def suspect(self) -> None:
        """The connection is gone: stale until live quotes give a forward again."""
        self._suspect = True

    def published(self, chain: ChainSlice, now: Instant, max_age_ns: int) -> UnderlyingValue:
        """The forward now; quotes of `chain` that changed since it was last priced take it as theirs."""
        if len(chain.dirty_rows):
            self._update(chain, now.mono_ns - max_age_ns)
        if math.isnan(self._value.value):
            return self._value
        if self._solved:
            self._value = _confirmed(self._value, chain, max_age_ns)
        if self._suspect or now.mono_ns > self._value.valid_until_ns:
            reasons = Reason.FORWARD_IMPLIED | Reason.UNDERLYING_STALE
            if self._suspect:
                reasons |= Reason.RESYNCING
            # Before now, not at it: a limit that is still to pass would be a deadline, again at every pricing.
            until = min(self._value.valid_until_ns, now.mono_ns - 1)
            return replace(self._value, status=Status.STALE, reasons=reasons, valid_until_ns=until)
        chain.imply_forward(self._value.value)
        return self._value

    def _update(self, chain: ChainSlice, oldest_ns: int) -> None:
        if self._pairs is None or self._pairs.definition is not chain.definition:
            self._pairs = _Pairs(chain.definition)
        found = self._pairs.solve(chain, oldest_ns)
        self._solved = found is not None
        if found is not None:
            forward, error = found
            self._suspect = False
            self._value = UnderlyingValue(
                forward, "parity", status=Status.DEGRADED, reasons=Reason.FORWARD_IMPLIED, error=error
            )


class _Pairs:
    """The strikes of one definition that have a call and a put, and the kernel's memory for them."""

    def __init__(self, definition: SliceDefinition) -> None:
        self.definition = definition
        # Rows are sorted by strike, calls before puts.
        same_strike = definition.strike[:-1] == definition.strike[1:]
        self._calls = np.flatnonzero(same_strike & (definition.cp[:-1] > 0) & (definition.cp[1:] < 0))
        self._strike = definition.strike[self._calls]
        self._strike.flags.writeable = False
        self._scratch = np.empty((SCRATCH_ROWS, len(self._calls)))
        self._gap = np.empty(len(self._calls))
        self._out = np.empty(len(FORWARD_FIELDS))

    def solve(self, chain: ChainSlice, oldest_ns: int) -> tuple[float, float] | None:
        """(forward, standard error) from the quotes no older than `oldest_ns`; None where they give none."""
        live = (chain.quote_mono_ns >= oldest_ns) & ((chain.flags & _NOT_LIVE) == 0)
        bid, ask = (np.where(live, chain.values[side], np.nan) for side in (BID, ASK))
        calls, puts = self._calls, self._calls + 1
        status = parity_forward(
            self._strike,
            bid[calls],
            ask[calls],
            bid[puts],
            ask[puts],
            self.definition.inverse,
            DISCOUNT,
            self._scratch,
            self._gap,
            self._out,
        )
        return (float(self._out[0]), float(self._out[1])) if status == OK else None


def _confirmed(value: UnderlyingValue, chain: ChainSlice, max_age_ns: int) -> UnderlyingValue:
    """The value with the instants of the slice's last sign of life: every message that repeats a quote confirms it."""
    row = int(chain.quote_mono_ns.argmax())
    exchange_ns, mono_ns = int(chain.quote_exchange_ns[row]), int(chain.quote_mono_ns[row])
    return replace(
        value,
        exchange_ns=None if exchange_ns == NO_TIME else exchange_ns,
        received=Instant(int(chain.quote_received_ns[row]), mono_ns),
        valid_until_ns=mono_ns + max_age_ns,
    )
