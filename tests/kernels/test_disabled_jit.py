"""With NUMBA_DISABLE_JIT=1 the kernels are plain Python: a debugger steps through them and coverage sees their lines.

A sample of their own tests must pass so, in time.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.data import CHECKOUT

SAMPLE = """
tests/kernels/test_settlement.py
tests/kernels/test_publishing.py
tests/kernels/test_normal.py::test_edges
tests/kernels/test_black76.py::test_rho_is_minus_ttm_times_the_price
tests/kernels/test_black76.py::test_C03_price_tends_to_intrinsic_as_time_runs_out
tests/kernels/test_black76.py::test_off_the_money_limits_are_those_of_the_payoff
tests/kernels/test_black76.py::test_deep_wings_keep_their_relative_accuracy
tests/kernels/test_black76.py::test_chains_are_the_scalars_row_by_row
tests/kernels/test_implied_vol.py::test_next_to_the_money_no_digit_is_lost
tests/kernels/test_implied_vol.py::test_M01_price_outside_the_bounds_has_no_volatility
tests/kernels/test_implied_vol.py::test_M02_price_at_a_bound_and_one_unit_beside_it
tests/kernels/test_implied_vol.py::test_M05_bad_premium
tests/kernels/test_implied_vol.py::test_M05_bad_forward_strike_or_ttm
tests/kernels/test_implied_vol.py::test_M05_bad_cp
tests/kernels/test_black76.py::test_M05_bad_input_is_nan_everywhere_with_a_status
tests/kernels/test_black76.py::test_M05_zero_negative_zero_and_denormals
tests/kernels/test_bachelier.py::test_chains_are_the_scalars_row_by_row
tests/kernels/test_bachelier.py::test_a_premium_at_the_end_of_the_doubles_still_has_its_volatility
tests/kernels/test_chain.py::test_quote_ivs_give_back_the_volatility_of_each_side
tests/kernels/test_chain.py::test_model_values_are_the_greeks_times_discount
tests/kernels/test_forward.py::test_exact_prices_give_the_exact_line
tests/surfaces/test_svi.py
--deselect=tests/surfaces/test_svi.py::test_the_minimum_of_w_is_a_plus_sigma_times_the_root_of_the_wing_slopes
"""

# The sample's imports must not have been compiled, or it would prove nothing.
PROGRAM = """
import sys
import pytest
from pricer.kernels import black76
assert type(black76.price).__name__ == "function"
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def interpreted(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(CHECKOUT)},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=110,
    )


def test_a_sample_of_the_kernels_tests_passes_in_plain_python() -> None:
    done = interpreted(PROGRAM, *SAMPLE.split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_a_traceback_names_the_line_of_the_kernel() -> None:
    done = interpreted("import pricer.kernels.black76 as b\nb.price('100', 100.0, 0.5, 0.2, 1.0)")
    assert done.returncode == 1
    assert "Error" in done.stderr
    assert "black76.py" in done.stderr


def test_warming_up_leaves_no_word_that_all_is_compiled() -> None:
    done = interpreted("from pricer.kernels import warmup as w; c = w.warmup_calls(); print(w._helpers_wanted(c))")
    assert done.stdout.strip() == "0", done.stderr
