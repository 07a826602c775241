"""Values are rounded once, to the double nearest to the decimal number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricer.sidecar.rounding import round_significant, rounded

ORDINARY = st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x == 0 or 1e-12 < abs(x) < 1e20)


@settings(deadline=None)  # the first call may compile
@given(ORDINARY)
def test_a_rounded_value_is_the_double_of_its_decimal_form(value: float) -> None:
    nearest = float(f"{value:.9g}")
    out = float(round_significant(np.array([value]), 9)[0])
    # Ties fall either way: the product with a power of ten is itself rounded.
    assert out == nearest or abs(out - value) <= abs(nearest - value) * (1 + 1e-6)
    assert len(repr(out).replace("-", "").replace(".", "").split("e")[0].strip("0")) <= 9


@settings(deadline=None)  # the first call may compile
@given(st.floats(min_value=1e-320, max_value=1.7e308))
def test_no_finite_value_is_lost(value: float) -> None:
    out = float(round_significant(np.array([value]), 9)[0])
    assert math.isfinite(out)
    assert out == pytest.approx(value, rel=1e-8, abs=1e-299)


def test_what_is_not_a_number_stays_what_it_is() -> None:
    out = round_significant(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0]), 9)
    assert np.isnan(out[0])
    assert out[1:].tolist() == [np.inf, -np.inf, 0.0, 0.0]


def test_one_value_rounds_as_a_column_does() -> None:
    assert rounded(0.123456789123, 9) == round_significant(np.array([0.123456789123]), 9)[0] == 0.123456789
    assert rounded(math.inf, 9) is None
