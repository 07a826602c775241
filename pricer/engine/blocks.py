"""A slice's columns as they are published: copied once, never changed again, good until the instants they carry."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricer.adapters.instruments import SliceKey
from pricer.clock import Instant
from pricer.conventions import NO_TIME, Reason, Status
from pricer.engine.chain import ChainSlice
from pricer.engine.market_state import FAR_FUTURE, Expiry
from pricer.engine.venue_health import FINE, Verdict
from pricer.snapshot import ROW_PAIR, SliceBlock, UnderlyingValue

# In these even what the venue said last is no longer a fact of now.
VENUE_GONE = Reason.VENUE_DOWN | Reason.VENUE_MAINTENANCE | Reason.OVERLOADED
# Quotes with these are not known to be current, whatever their age.
LOST = np.uint64(Reason.RESYNCING | Reason.EXPIRED)


class Stamp(NamedTuple):
    """The moment and the number of a pricing, and how long a quote lives."""

    now: Instant
    version: int
    quote_max_age_ns: int


def make_block(expiry: Expiry, forward: UnderlyingValue, ttm: float, stamp: Stamp) -> SliceBlock:
    """Copy the slice's columns, once, into a block that nobody changes again."""
    chain = expiry.chain
    state = expiry.family.keeper.state(expiry.key.expiry_ns)
    status, reasons = _with_verdict(chain, expiry.quotes_verdict)
    return SliceBlock(
        definition=chain.definition,
        values=_read_only(chain.values),
        status=status,
        reasons=reasons,
        quote_mono_ns=_read_only(chain.quote_mono_ns),
        quote_received_ns=_read_only(chain.quote_received_ns),
        quote_exchange_ns=_read_only(chain.quote_exchange_ns),
        quote_valid_until_ns=_quotes_valid_until(expiry, stamp),
        model_valid_until_ns=_model_valid_until(expiry, forward, stamp.now),
        forward=forward,
        fitted=state.fitted,
        fit=state.slice,
        computed=stamp.now,
        ttm=ttm,
        version=stamp.version,
    )


def confirm_block(expiry: Expiry, block: SliceBlock, forward: UnderlyingValue, stamp: Stamp) -> SliceBlock:
    """The same numbers, confirmed by newer messages: only sizes, venue marks and instants move.

    The numbers were made at the forward of the last pricing; a move too small to re-price keeps that value.
    """
    chain = expiry.chain
    confirmed = replace(
        block,
        forward=replace(forward, value=block.forward.value),
        model_valid_until_ns=_model_valid_until(expiry, forward, stamp.now),
        version=stamp.version,
    )
    if not chain.confirmed:
        return confirmed
    return replace(
        confirmed,
        values=_read_only(chain.values),
        quote_mono_ns=_read_only(chain.quote_mono_ns),
        quote_received_ns=_read_only(chain.quote_received_ns),
        quote_exchange_ns=_read_only(chain.quote_exchange_ns),
        quote_valid_until_ns=_quotes_valid_until(expiry, stamp),
    )


def _with_verdict(chain: ChainSlice, verdict: Verdict) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
    """Statuses and reasons as they are published: what the venue's condition does to quotes lies over their own."""
    status, reasons = chain.status.copy(), chain.reasons.copy()
    if verdict is not FINE:
        np.maximum(status[:ROW_PAIR], np.uint8(verdict.status), out=status[:ROW_PAIR])
        reasons[:ROW_PAIR] |= np.uint64(verdict.reasons)
    status.flags.writeable = reasons.flags.writeable = False
    return status, reasons


def _quotes_valid_until(expiry: Expiry, stamp: Stamp) -> NDArray[np.int64]:
    """Where a quote is lost the limit lies just before its last sign of life: none would leave a reader without any."""
    chain, verdict = expiry.chain, expiry.quotes_verdict
    mono = chain.quote_mono_ns
    passed = np.maximum(mono, NO_TIME + 1) - 1
    if verdict.status >= Status.STALE and verdict.reasons & VENUE_GONE:
        return _read_only(passed)
    lost = (mono == NO_TIME) | ((chain.flags & LOST) != 0)
    old = np.minimum(mono + stamp.quote_max_age_ns, _last_moment(expiry.key, stamp.now))
    until = np.where(lost, passed, old)
    until.flags.writeable = False
    return until


def _model_valid_until(expiry: Expiry, forward: UnderlyingValue, now: Instant) -> int:
    """Until the forward grows old, the last good fit turns stale, or the option expires: what comes first."""
    turns_stale = expiry.family.keeper.turns_stale_ns(expiry.key.expiry_ns)
    ends = FAR_FUTURE if turns_stale is None else turns_stale
    return min(forward.valid_until_ns, _last_moment(expiry.key, now), ends)


def _last_moment(key: SliceKey, now: Instant) -> int:
    """The monotonic instant just before the expiry: nothing holds longer."""
    return now.mono_ns + max(key.expiry_ns - now.wall_ns, 0) - 1


def _read_only(array: NDArray[np.generic]) -> NDArray:  # type: ignore[type-arg]
    copy = array.copy()
    copy.flags.writeable = False
    return copy
