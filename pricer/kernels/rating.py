"""Which status a number earns: the rules for quote volatilities and for model numbers, row by row.

The worst input decides (statuses combine by maximum), every cause leaves its reason, and INVALID always means NaN.
Statuses and reasons are the bits of `pricer.conventions`; here they are plain integers, since a kernel knows no enums.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pricer.conventions import NO_TIME, Reason, Status
from pricer.kernels import status as kernel_codes
from pricer.kernels.jit import kernel

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

OK, DEGRADED, STALE, INVALID = (int(status) for status in Status)
NO_UNDERLYING = int(Reason.NO_UNDERLYING)
QUOTE_STALE = int(Reason.QUOTE_STALE)
NO_QUOTE = int(Reason.NO_QUOTE)
ONE_SIDED = int(Reason.ONE_SIDED)
WIDE_SPREAD = int(Reason.WIDE_SPREAD)
CROSSED = int(Reason.CROSSED)
LOCKED = int(Reason.LOCKED)
RESYNCING = int(Reason.RESYNCING)
BELOW_INTRINSIC = int(Reason.BELOW_INTRINSIC)
ABOVE_MAX = int(Reason.ABOVE_MAX)
NO_CONVERGENCE = int(Reason.NO_CONVERGENCE)
LOW_VEGA = int(Reason.LOW_VEGA)
BAD_INPUT = int(Reason.BAD_INPUT)
FIT_UNDERDETERMINED = int(Reason.FIT_UNDERDETERMINED)
EXTRAPOLATED = int(Reason.EXTRAPOLATED)
NOT_TRADING = int(Reason.NOT_TRADING)
FORWARD_IMPLIED = int(Reason.FORWARD_IMPLIED)
MODEL_LIMIT = int(Reason.MODEL_LIMIT)

# Strikes within this log-moneyness beyond the outermost fitted quote still count as quoted: round-off, no more.
K_MARGIN = 1e-9


@kernel
def kernel_reason(code: int) -> int:
    """The public reason for a kernel's verdict on one price."""
    if code == kernel_codes.OK:
        return 0
    # At intrinsic value there is no time value either, so no volatility to speak of.
    if code == kernel_codes.AT_INTRINSIC or code == kernel_codes.BELOW_INTRINSIC:
        return BELOW_INTRINSIC
    if code == kernel_codes.ABOVE_MAX:
        return ABOVE_MAX
    if code == kernel_codes.LOW_VEGA:
        return LOW_VEGA
    return NO_CONVERGENCE if code == kernel_codes.NO_CONVERGENCE else BAD_INPUT


@kernel
def shared_rating(bid: float, ask: float, forward: float, quoted_at: int, oldest: int, flags: int) -> tuple[int, int]:
    """What bid, ask and mid of one quote have in common: its forward, its age, its state."""
    worst, why = OK, 0
    if flags & FORWARD_IMPLIED:
        worst, why = DEGRADED, why | FORWARD_IMPLIED
    if quoted_at != NO_TIME and quoted_at < oldest:
        worst, why = STALE, why | QUOTE_STALE
    if flags & RESYNCING:
        worst, why = STALE, why | RESYNCING
    if math.isnan(forward):
        worst, why = INVALID, why | NO_UNDERLYING
    if bid > ask:
        worst, why = INVALID, why | CROSSED
    if flags & NOT_TRADING:
        worst, why = INVALID, why | NOT_TRADING
    return worst, why


@kernel
def rate_quotes(
    rows: Rows,
    count: int,
    bid: Floats,
    ask: Floats,
    forward: Floats,
    quoted_at: Rows,
    flags: Masks,
    kernel_status: Codes,
    oldest: int,
    wide_iv: float,
    ivs: Floats,
    status: Codes,
    reasons: Masks,
) -> None:
    """Statuses of bid, ask and mid IV of the first `count` of `rows` into `status[0..2, row]`, `reasons[0..2, row]`.

    `kernel_status[0..2, row]` is what `chain.quote_ivs` said; `oldest` the monotonic instant before which a quote is
    stale. `ivs[0..2, row]` becomes NaN where INVALID. The mid leans on both sides: one that holds no volatility, a
    locked market and one wider than `wide_iv` each degrade it.
    """
    for i in range(count):
        row = rows[i]
        no_bid, no_ask = math.isnan(bid[row]), math.isnan(ask[row])
        worst, shared = shared_rating(bid[row], ask[row], forward[row], quoted_at[row], oldest, int(flags[row]))
        for side in range(3):
            missing = (side != 1 and no_bid) or (side != 0 and no_ask)
            if missing:
                level, why = INVALID, NO_QUOTE if no_bid and no_ask else ONE_SIDED
            else:
                why = kernel_reason(kernel_status[side, row])
                level = OK if why == 0 else DEGRADED if why == LOW_VEGA else INVALID
            if side == 2 and level == OK:
                why = int(reasons[0, row] | reasons[1, row]) & ~shared
                if bid[row] == ask[row]:
                    why |= LOCKED
                if ivs[1, row] - ivs[0, row] > wide_iv:
                    why |= WIDE_SPREAD
                level = DEGRADED if why else OK
            level = max(level, worst)
            status[side, row] = level
            reasons[side, row] = np.uint64(why | shared)
        for side in range(3):
            if status[side, row] == INVALID:
                ivs[side, row] = math.nan


@kernel
def rate_model(
    count: int,
    base: int,
    base_reasons: int,
    forward: float,
    strike: Floats,
    k_min: float,
    k_max: float,
    flags: Masks,
    greeks: int,
    iv: Floats,
    values: Floats,
    status: Codes,
    reasons: Masks,
) -> None:
    """The rows' own statuses: what the slice's forward and fit earn (`base`), made worse row by row.

    `k_min`, `k_max` is the quoted range in log-moneyness, NaN where there is no smile. The first `greeks` fields of
    `values[field, row]` must be finite for a row to have a value. `iv` and all `values` become NaN where INVALID.
    """
    for row in range(count):
        level, why, flag = base, base_reasons, int(flags[row])
        k = math.log(strike[row] / forward) if forward > 0.0 else math.nan
        if k < k_min - K_MARGIN or k > k_max + K_MARGIN:
            level, why = max(level, DEGRADED), why | EXTRAPOLATED
        if flag & RESYNCING:
            level, why = max(level, STALE), why | RESYNCING
        if flag & NOT_TRADING:
            level, why = INVALID, why | NOT_TRADING
        if level != INVALID and math.isnan(iv[row]):
            level, why = INVALID, why | FIT_UNDERDETERMINED
        if level != INVALID and not all_finite(values, greeks, row):
            level, why = INVALID, why | MODEL_LIMIT
        status[row] = level
        reasons[row] = np.uint64(why)
        if level == INVALID:
            iv[row] = math.nan
            for field in range(values.shape[0]):
                values[field, row] = math.nan


@kernel
def all_finite(values: Floats, fields: int, row: int) -> bool:
    """Are the first `fields` of one row finite?"""
    for field in range(fields):  # noqa: SIM110 - Numba compiles no generator
        if not math.isfinite(values[field, row]):
            return False
    return True


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """Both calls as the engine makes them: its static strikes are read-only."""
    live, nan = np.ones(1), np.full((3, 1), math.nan)
    fixed = np.ones(1)
    fixed.flags.writeable = False
    rows, flags = np.zeros(1, np.int64), np.zeros(1, np.uint64)
    codes, masks = np.zeros((4, 1), np.uint8), np.zeros((4, 1), np.uint64)
    return [
        (
            "rate_quotes",
            lambda: rate_quotes(rows, 1, live, live, live, rows, flags, codes[:3], 0, 0.1, nan, codes, masks),
        ),
        (
            "rate_model",
            lambda: rate_model(1, 0, 0, 1.0, fixed, 0.0, 0.0, flags, 1, live, nan, codes[3], masks[3]),
        ),
    ]
