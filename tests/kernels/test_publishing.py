"""What consumers see: hidden where INVALID, STALE past a limit, and told apart from what they saw before."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pricer.conventions import NO_TIME, Reason, Status
from pricer.kernels import publishing

PLACES = st.sampled_from([math.nan, 0.0, -0.0, 1.0, math.inf])


def test_only_what_is_past_its_limit_turns_stale_and_says_why() -> None:
    status = np.array([[Status.OK, Status.OK, Status.INVALID], [Status.OK, Status.DEGRADED, Status.STALE]], np.uint8)
    reasons = np.zeros((2, 3), np.uint64)
    until = fixed(np.array([10, NO_TIME, NO_TIME]))
    publishing.age_statuses(status, reasons, until, 9, 10)
    assert status.tolist() == [[Status.OK, Status.STALE, Status.INVALID], [Status.STALE, Status.STALE, Status.STALE]]
    quote, model = int(Reason.QUOTE_STALE), int(Reason.UNDERLYING_STALE)
    assert reasons.tolist() == [[0, quote, 0], [model, model, 0]]


def test_invalid_values_are_hidden_each_by_its_own_pair() -> None:
    status = np.zeros((4, 2), np.uint8)
    status[1, 0] = status[3, 1] = Status.INVALID  # the ask IV of the first row, the model of the second
    values = np.ones((7, 2))
    publishing.hide_invalid(fixed(status), 1, 4, values)
    assert np.isnan(values[:, 0]).tolist() == [False, False, True, False, False, False, False]
    assert np.isnan(values[:, 1]).tolist() == [False, False, False, False, True, True, True]


@settings(deadline=None)  # the first call may compile
@given(npst.arrays(np.float64, (2, 3, 4), elements=PLACES), st.lists(st.integers(0, 2), unique=True))
def test_rows_and_columns_that_differ_are_marked_and_nan_equals_nan(both: np.ndarray, fields: list[int]) -> None:
    old, new = both
    rows, columns = np.zeros(4, np.bool_), np.zeros(len(fields), np.bool_)
    publishing.differing_values(old, new, np.array(fields, np.int64), rows, columns)
    differ = np.array([[not np.array_equal(old[f, r], new[f, r], equal_nan=True) for r in range(4)] for f in fields])
    differ = differ.reshape(len(fields), 4)
    assert rows.tolist() == differ.any(0).tolist()
    assert columns.tolist() == differ.any(1).tolist()


def test_a_status_a_reason_and_an_instant_are_told_apart() -> None:
    codes, masks = np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint64)
    new_codes, new_masks = codes.copy(), masks.copy()
    new_codes[1, 0], new_masks[0, 2], new_codes[0, 1] = 1, 4, 1
    rows, columns = np.zeros(3, np.bool_), np.zeros((2, 2), np.bool_)
    publishing.differing_states(codes, new_codes, masks, new_masks, np.array([1]), rows, columns)
    assert rows.tolist() == [True, False, False]  # pair 0 was not asked for
    assert columns.tolist() == [[False, True], [False, False]]
    publishing.differing_states(codes, new_codes, masks, new_masks, np.array([0]), rows, columns)
    assert rows.tolist() == [True, True, True]
    assert columns.tolist() == [[True, True], [True, False]]


def test_an_instant_that_moved_marks_its_row_and_its_column() -> None:
    rows, columns = np.zeros(3, np.bool_), np.zeros(2, np.bool_)
    publishing.differing_instants(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 2, 3], [4, 9, 6]]), rows, columns)
    assert rows.tolist() == [False, True, False]
    assert columns.tolist() == [False, True]


def fixed(array: np.ndarray) -> np.ndarray:
    """As a block's arrays are."""
    array.flags.writeable = False
    return array
