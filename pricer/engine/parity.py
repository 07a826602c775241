"""The forward of a slice from its own quotes, by put-call parity: in place of its venue's, or beside it.

Where the venue gives none it is a stand-in (`ParityTracker`): always DEGRADED, with FORWARD_IMPLIED and a standard
error. It is made again whenever a quote of the slice changed or grew stale, from the pairs of quotes that are live, and
lives as long as one of them.

Where the venue gives one, its quotes are asked now and then whether they agree (`ParityMonitor`). A forward that is off
by more than they allow is OUT_OF_BAND, and DEGRADED: every delta made with it would be wrong.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pricer.clock import Instant
from pricer.conventions import NO_TIME, Reason, Status
from pricer.engine.chain import ASK, BID, ChainSlice
from pricer.engine.underlying import NO_CHECK, ParityCheck
from pricer.kernels.forward import FORWARD_FIELDS, SCRATCH_ROWS, parity_forward
from pricer.kernels.status import OK
from pricer.snapshot import FIELD_INDEX, ParityForward, SliceDefinition, UnderlyingValue

# Premiums are undiscounted wherever the engine prices; coin-settled ones have no discount to begin with.
DISCOUNT = 1.0

_NOT_LIVE = np.uint64(Reason.RESYNCING | Reason.NOT_TRADING | Reason.EXPIRED)

# A forward is asked about this often, where quotes of its slice have changed.
CHECK_EVERY_NS = 1_000_000_000
# A gap is one only beyond so many standard errors, and stands until it is half of what raised it.
GAP_ERRORS = 4.0
GAP_KEPT = 0.5

_DELTA = FIELD_INDEX["delta"]


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


class ParityMonitor:
    """Does a venue's forward agree with the quotes of its expiry? `check` is the latest answer."""

    def __init__(self) -> None:
        self.check = NO_CHECK
        self._pairs: _Pairs | None = None
        self._due_ns = NO_TIME

    def is_due(self, chain: ChainSlice, now: Instant, *, urgent: bool = False) -> bool:
        """Whether quotes have changed and it is time to ask; what is `urgent` does not wait for its second."""
        return (urgent or now.mono_ns >= self._due_ns) and len(chain.dirty_rows) > 0

    def ask(self, chain: ChainSlice, forward: float, now: Instant, max_age_ns: int, limit: float) -> bool:
        """Ask the quotes about `forward`; True where a gap of more than `limit` (a share of it) has just opened."""
        self._due_ns = now.mono_ns + CHECK_EVERY_NS
        if self._pairs is None or self._pairs.definition is not chain.definition:
            self._pairs = _Pairs(chain.definition)
        found = self._pairs.solve(chain, now.mono_ns - max_age_ns, forward)
        was_open = bool(self.check.reasons)
        if found is None:
            self.check = NO_CHECK
            return False
        value, error = found
        parity = ParityForward(value, error, forward - value)
        least = max(limit * forward, GAP_ERRORS * error) * (GAP_KEPT if was_open else 1.0)
        is_open = abs(parity.gap) > least
        self.check = ParityCheck(parity, Status.DEGRADED, Reason.OUT_OF_BAND) if is_open else ParityCheck(parity)
        return is_open and not was_open


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

    def solve(self, chain: ChainSlice, oldest_ns: int, forward: float | None = None) -> tuple[float, float] | None:
        """(forward, standard error) from the quotes no older than `oldest_ns`; None where they give none.

        With a `forward` each quote is taken from the venue's forward of its own instant to this one, so that a market
        that moves while it is quoted does not seem to be off.
        """
        live = (chain.quote_mono_ns >= oldest_ns) & ((chain.flags & _NOT_LIVE) == 0)
        bid, ask = (np.where(live, chain.values[side], np.nan) for side in (BID, ASK))
        calls, puts = self._calls, self._calls + 1
        strike = self._strike
        if forward is not None:
            # Prices are homogeneous in forward and strike; a pair's forward is that of the side which moves with it.
            share = np.clip(np.nan_to_num(chain.values[_DELTA, calls], nan=0.5), 0.0, 1.0)
            scale = forward / (share * chain.quote_forward[calls] + (1.0 - share) * chain.quote_forward[puts])
            known = np.isfinite(scale)
            scale = np.where(known, scale, 1.0)
            strike = strike * scale
            strike.flags.writeable = False  # as the kernel was compiled for
            bid[calls] = np.where(known, bid[calls], np.nan)
            if not self.definition.inverse:
                for side in (bid, ask):
                    side[calls] *= scale
                    side[puts] *= scale
        status = parity_forward(
            strike,
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
