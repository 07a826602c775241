"""What is done to every number of a chain before a consumer sees it: round it, hide it, age it, compare it.

The sidecar does this many times a second beside the engine. Compiled, it takes a fraction of the time, and it does not
hold the interpreter's lock meanwhile, so a tick does not wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pricer.conventions import Reason, Status
from pricer.kernels.jit import kernel

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

STALE, INVALID = int(Status.STALE), int(Status.INVALID)
QUOTE_STALE, UNDERLYING_STALE = int(Reason.QUOTE_STALE), int(Reason.UNDERLYING_STALE)

LARGEST = 300  # 1e300: the largest power used; below 1e-290 fewer digits than asked for are kept
POWERS = np.array([float(f"1e{power}") for power in range(LARGEST + 1)])


@kernel
def round_significant(values: Floats, digits: int, out: Floats) -> None:
    """Each of `values` to so many significant digits; NaN, zeros and infinities stay what they are.

    A double is divided or multiplied by an exact power of ten, so the result is the double nearest to the decimal
    number and prints in as many digits as were asked for.
    """
    for i in range(len(values)):
        value = values[i]
        if value != 0.0 and math.isfinite(value):
            places = digits - 1 - math.floor(math.log10(abs(value)))
            up = POWERS[min(max(places, 0), LARGEST)]
            down = POWERS[min(max(-places, 0), LARGEST)]
            value = np.rint(value * up / down) / up * down
        out[i] = value


@kernel
def hide_invalid(status: Codes, first_quote_iv: int, iv: int, values: Floats) -> None:
    """NaN for what is INVALID: the quote volatilities by their own pairs, `iv` and all after it by the last."""
    pairs = status.shape[0]
    for row in range(status.shape[1]):
        for pair in range(pairs - 1):
            if status[pair, row] == INVALID:
                values[first_quote_iv + pair, row] = math.nan
        if status[pairs - 1, row] == INVALID:
            for field in range(iv, values.shape[0]):
                values[field, row] = math.nan


@kernel
def age_statuses(status: Codes, reasons: Masks, quotes_until: Ints, model_until: int, now: int) -> None:
    """STALE in place where `now` is past the limit: of a row's quote in the quotes' pairs, of the model in the last."""
    last = status.shape[0] - 1
    for row in range(status.shape[1]):
        if now > quotes_until[row]:
            for pair in range(last):
                if status[pair, row] < STALE:
                    status[pair, row] = STALE
                    reasons[pair, row] |= np.uint64(QUOTE_STALE)
        if now > model_until and status[last, row] < STALE:
            status[last, row] = STALE
            reasons[last, row] |= np.uint64(UNDERLYING_STALE)


@kernel
def differing_values(old: Floats, new: Floats, fields: Ints, rows: Flags, columns: Flags) -> None:
    """Mark the rows, and the columns (by place in `fields`), where a value came, went or moved; NaN equals NaN."""
    for place in range(len(fields)):
        field = fields[place]
        for row in range(new.shape[1]):
            one, other = old[field, row], new[field, row]
            if one != other and not (math.isnan(one) and math.isnan(other)):
                rows[row] = columns[place] = True


@kernel
def differing_states(
    old: Codes, new: Codes, old_why: Masks, new_why: Masks, pairs: Ints, rows: Flags, columns: Flags
) -> None:
    """Mark the rows, and in `columns[0 | 1, pair]` the pairs, where a status (0) or its reasons (1) changed."""
    for place in range(len(pairs)):
        pair = pairs[place]
        for row in range(new.shape[1]):
            if old[pair, row] != new[pair, row]:
                rows[row] = columns[0, pair] = True
            if old_why[pair, row] != new_why[pair, row]:
                rows[row] = columns[1, pair] = True


@kernel
def differing_instants(old: Ints, new: Ints, rows: Flags, columns: Flags) -> None:
    """Mark the rows and the columns where an instant changed."""
    for column in range(new.shape[0]):
        for row in range(new.shape[1]):
            if old[column, row] != new[column, row]:
                rows[row] = columns[column] = True


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """As the sidecar calls them: a block's arrays are read-only, a picture's are not."""
    values, codes, masks, instants = np.ones((6, 1)), np.zeros((4, 1), np.uint8), np.zeros((4, 1), np.uint64), _ints(2)
    fixed, fixed_codes, until = np.ones((6, 1)), np.zeros((4, 1), np.uint8), np.zeros(1, np.int64)
    for array in (fixed, fixed_codes, until):
        array.flags.writeable = False
    rows, columns = np.zeros(1, np.bool_), np.zeros(6, np.bool_)
    wanted = np.zeros(1, np.int64)
    return [
        ("round_significant", lambda: round_significant(fixed.reshape(-1), 9, values.reshape(-1))),
        ("hide_invalid", lambda: hide_invalid(fixed_codes, 0, 3, values)),
        ("age_statuses", lambda: age_statuses(codes, masks, until, 0, 0)),
        ("differing_values", lambda: differing_values(values, values, wanted, rows, columns)),
        (
            "differing_states",
            lambda: differing_states(codes, codes, masks, masks, wanted, rows, columns.reshape(2, 3)),
        ),
        ("differing_instants", lambda: differing_instants(instants, instants, rows, columns)),
    ]


def _ints(columns: int) -> Ints:
    return np.zeros((columns, 1), np.int64)
