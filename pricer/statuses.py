"""Which status a number earns: the rules for quote volatilities and for model numbers, over whole arrays.

The worst input decides (`Status` combines by maximum), every cause leaves its reason, and INVALID always means NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pricer.chain import ASK, BID, ChainSlice
from pricer.conventions import NO_TIME, Reason, Status
from pricer.kernels.status import KernelStatus
from pricer.snapshot import FIELD_INDEX, FIRST_MODEL, FIRST_QUOTE_IV, GREEK_FIELDS, ROW_PAIR

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

_KERNEL_REASON = np.zeros(len(KernelStatus), np.uint64)
_KERNEL_REASON[KernelStatus.AT_INTRINSIC] = Reason.BELOW_INTRINSIC  # no time value either: no volatility to speak of
_KERNEL_REASON[KernelStatus.BELOW_INTRINSIC] = Reason.BELOW_INTRINSIC
_KERNEL_REASON[KernelStatus.ABOVE_MAX] = Reason.ABOVE_MAX
_KERNEL_REASON[KernelStatus.BAD_INPUT] = Reason.BAD_INPUT
_KERNEL_REASON[KernelStatus.NO_CONVERGENCE] = Reason.NO_CONVERGENCE

BID_IV, ASK_IV, MID_IV = range(FIRST_QUOTE_IV, FIRST_QUOTE_IV + 3)
IV = FIELD_INDEX["iv"]
THEO = FIELD_INDEX["theo"]
LAST_GREEK = FIELD_INDEX[GREEK_FIELDS[-1]]


def rate_quotes(chain: ChainSlice, rows: Rows, now_mono_ns: int, max_age_ns: int, wide_iv: float) -> None:
    """Set the statuses of `bid_iv`, `ask_iv`, `mid_iv` of `rows` from their quotes, kernels' verdicts and ages."""
    values = chain.values
    bid, ask = values[BID, rows], values[ASK, rows]
    no_bid, no_ask = np.isnan(bid), np.isnan(ask)
    no_forward = np.isnan(chain.quote_forward[rows])
    status = np.zeros((3, len(rows)), np.uint8)
    reasons = _KERNEL_REASON[chain.kernel_status[:, rows]]
    status[chain.kernel_status[:, rows] != KernelStatus.OK] = Status.INVALID

    for side, absent in enumerate((no_bid, no_ask, no_bid | no_ask)):
        reasons[side, absent] = Reason.ONE_SIDED
    reasons[:, no_bid & no_ask] = Reason.NO_QUOTE
    _mark(status, reasons, no_forward, Status.INVALID, Reason.NO_UNDERLYING)
    _mark(status, reasons, bid > ask, Status.INVALID, Reason.CROSSED)
    _rate_mid(status, reasons, values[ASK_IV, rows] - values[BID_IV, rows], bid == ask, wide_iv)

    quoted_at = chain.quote_mono_ns[rows]
    too_old = (quoted_at < now_mono_ns - max_age_ns) & (quoted_at != NO_TIME)
    flags = chain.flags[rows]
    _mark(status, reasons, too_old, Status.STALE, Reason.QUOTE_STALE)
    _mark(status, reasons, (flags & np.uint64(Reason.RESYNCING)) != 0, Status.STALE, Reason.RESYNCING)
    _mark(status, reasons, (flags & np.uint64(Reason.NOT_TRADING)) != 0, Status.INVALID, Reason.NOT_TRADING)

    for side in range(3):
        values[FIRST_QUOTE_IV + side, rows[status[side] == Status.INVALID]] = np.nan
    chain.status[:ROW_PAIR, rows] = status
    chain.reasons[:ROW_PAIR, rows] = reasons


def _rate_mid(
    status: NDArray[np.uint8], reasons: NDArray[np.uint64], width: NDArray[np.float64], locked: Mask, wide_iv: float
) -> None:
    """The mid leans on both sides: one that holds no volatility, a locked and a wide market each degrade it."""
    leaning = (status[2] == Status.OK) & ((status[0] != Status.OK) | (status[1] != Status.OK))
    reasons[2, leaning] |= (reasons[0] | reasons[1])[leaning]
    status[2, leaning] = Status.DEGRADED
    for cause, reason in ((locked, Reason.LOCKED), (width > wide_iv, Reason.WIDE_SPREAD)):
        status[2, cause & (status[2] == Status.OK)] = Status.DEGRADED
        reasons[2, cause] |= np.uint64(reason)


def rate_model(
    chain: ChainSlice,
    status: Status,
    reasons: Reason,
    extrapolated: Mask | None,
) -> None:
    """Set the rows' own statuses: what the slice's forward and fit earn, made worse row by row."""
    n = len(chain)
    row_status = np.full(n, status, np.uint8)
    row_reasons = np.full(n, reasons, np.uint64)
    if extrapolated is not None:
        _mark(row_status, row_reasons, extrapolated, Status.DEGRADED, Reason.EXTRAPOLATED)
    _mark(row_status, row_reasons, (chain.flags & np.uint64(Reason.RESYNCING)) != 0, Status.STALE, Reason.RESYNCING)
    _mark(
        row_status, row_reasons, (chain.flags & np.uint64(Reason.NOT_TRADING)) != 0, Status.INVALID, Reason.NOT_TRADING
    )
    no_iv = np.isnan(chain.values[IV])
    _mark(row_status, row_reasons, no_iv & (row_status != Status.INVALID), Status.INVALID, Reason.FIT_UNDERDETERMINED)
    greeks = chain.values[THEO : LAST_GREEK + 1]
    undefined = ~np.isfinite(greeks).all(axis=0) & (row_status != Status.INVALID)
    _mark(row_status, row_reasons, undefined, Status.INVALID, Reason.MODEL_LIMIT)
    invalid = row_status == Status.INVALID
    chain.values[IV, invalid] = np.nan
    chain.values[FIRST_MODEL:, invalid] = np.nan
    chain.status[ROW_PAIR] = row_status
    chain.reasons[ROW_PAIR] = row_reasons


def expire(chain: ChainSlice) -> None:
    """Freeze the last values of a slice past its expiry: nothing in it is current any more."""
    np.maximum(chain.status, np.uint8(Status.STALE), out=chain.status)
    chain.reasons |= np.uint64(Reason.EXPIRED)
    chain.flags |= np.uint64(Reason.EXPIRED)


def _mark(status: NDArray[np.uint8], reasons: NDArray[np.uint64], where: Mask, worst: Status, reason: Reason) -> None:
    """At least this bad, and for this reason, where `where` (over the last axis)."""
    at = (..., where)
    status[at] = np.maximum(status[at], np.uint8(worst))
    reasons[at] |= np.uint64(reason)
