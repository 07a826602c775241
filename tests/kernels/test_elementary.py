"""Our own log, exp and polynomials: to the last place against mpmath, everywhere that doubles go."""

from __future__ import annotations

import math
import random
import runpy
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import mpmath as mp
import numba
import numpy as np
import pytest

from pricer.kernels import elementary
from pricer.kernels.elementary import ATANH, EXP, exp, log, log_ratio
from tests.data import CHECKOUT
from tests.kernels.reference import error_in_ulp

DERIVATION = CHECKOUT / "docs" / "derivations" / "elementary.py"

INF, NAN = math.inf, math.nan
TINY, LEAST_NORMAL, LARGEST = 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308

# The ends of exp's range: the largest argument with a finite result, and the least whose result is not 0.
EXP_LAST, EXP_FIRST = 709.782712893384, -745.1332191019411


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operation that exists in compiled code only, as a function."""
    found: Callable[..., Any] = numba.njit(error_model="numpy")(function)
    return found


# Intrinsics can be called from compiled code only.
fma = compiled(lambda a, b, c: elementary.fma(a, b, c))
select = compiled(lambda condition, a, b: elementary.select(condition, a, b))
bits = compiled(lambda x: elementary.bits(x))
from_bits = compiled(lambda n: elementary.from_bits(n))
exponent_field = compiled(lambda n: elementary.exponent_field(n))


def beside(x: float) -> list[float]:
    return [math.nextafter(x, -INF), x, math.nextafter(x, INF)]


def worst(function: Callable[[float], float], exact: Callable[[mp.mpf], mp.mpf], points: Sequence[float]) -> float:
    with mp.workdps(40):
        return max(error_in_ulp(function(float(x)), exact(mp.mpf(x))) for x in points)


POWERS = [y for e in range(-1022, 1024, 11) for y in beside(2.0**e) if y > 0.0]
NEAR_ONE = [1.0 + sign * 10.0**-d for d in np.linspace(0.3, 15.9, 400) for sign in (1, -1)]
UPPER_HALF_BITS = [math.sqrt(0.5) * f for f in np.linspace(0.99, 1.01, 101)]  # where the exponent is split off
SUBNORMALS = [TINY * n for n in (1, 2, 3, 1000, 2**51, 2**52 - 1)] + [TINY * 3.1**n for n in range(31)]


@pytest.mark.parametrize(
    "points",
    [POWERS, NEAR_ONE, UPPER_HALF_BITS, SUBNORMALS, [10.0**e for e in np.linspace(-320, 308.2, 3000)]],
    ids=["powers of two", "near one", "at the split", "subnormals", "all"],
)
def test_log_is_good_to_one_unit_in_the_last_place(points: list[float]) -> None:
    assert worst(log, mp.log, [x for x in points if x != 1.0]) < 1.0  # over millions: 0.815
    assert log(1.0) == 0.0


@pytest.mark.parametrize(
    ("x", "wanted"), [(0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1.0, NAN), (-TINY, NAN), (NAN, NAN)]
)
def test_log_at_its_edges(x: float, wanted: float) -> None:
    assert log(x) == wanted or (math.isnan(wanted) and math.isnan(log(x)))


ENDS = [end + d for end in (EXP_FIRST, EXP_LAST, math.log(LEAST_NORMAL)) for d in np.linspace(-2.0, 2.0, 101)]
HALF_WAYS = [y for n in range(-1074, 1024, 7) for y in beside((n + 0.5) * math.log(2.0))]
SMALL = [sign * 10.0**-d for d in np.linspace(0, 320, 300) for sign in (1, -1)]


@pytest.mark.parametrize(
    "points",
    [ENDS, HALF_WAYS, SMALL, list(np.linspace(EXP_FIRST, EXP_LAST, 3000))],
    ids=["at the ends", "at the reduction's switch", "small", "all"],
)
def test_exp_is_good_to_little_more_than_one_unit_in_the_last_place(points: list[float]) -> None:
    assert worst(exp, mp.exp, [x for x in points if EXP_FIRST <= x <= EXP_LAST]) < 1.1  # over millions: 1.075


@pytest.mark.parametrize(
    ("x", "wanted"),
    [
        (0.0, 1.0),
        (-0.0, 1.0),
        (TINY, 1.0),
        (EXP_FIRST, TINY),
        (math.nextafter(EXP_FIRST, -INF), 0.0),
        (-1e308, 0.0),
        (-INF, 0.0),
        (math.nextafter(EXP_LAST, INF), INF),
        (1e308, INF),
        (INF, INF),
    ],
)
def test_exp_at_its_edges(x: float, wanted: float) -> None:
    assert exp(x) == wanted
    assert math.isnan(exp(NAN))


def test_log_ratio_keeps_the_digits_that_both_numbers_share() -> None:
    rng = random.Random(3)
    shares = [1.0 + sign * 10.0**-d for d in np.linspace(0.3, 15.5, 500) for sign in (1, -1)]
    shares += [2.0 ** rng.uniform(-1000, 1000) for _ in range(500)]
    shares += [f * 1.5**sign for f in np.linspace(0.99, 1.01, 101) for sign in (1, -1)]  # where the exponent switches
    pairs = [(a * share, a) for share in shares for a in (1.0, math.pi)]
    with mp.workdps(40):
        errors = [error_in_ulp(log_ratio(a, b), mp.log(mp.mpf(a) / mp.mpf(b))) for a, b in pairs if a != b]
    assert len(errors) > 1900
    assert max(errors) < 2.0  # over millions: 1.945


@pytest.mark.parametrize("a", [1e-100, 0.1, 1.0, math.pi, 1e100])
def test_log_ratio_of_a_number_to_itself_is_zero_and_swapping_the_two_changes_the_sign(a: float) -> None:
    assert log_ratio(a, a) == 0.0
    for b in (a * 1.000001, a * 1.3, a * 7.0, a * 1e50):
        assert error_in_ulp(log_ratio(b, a), -mp.mpf(log_ratio(a, b))) < 4.0


def test_fma_rounds_once() -> None:
    assert fma(1.0 + 2.0**-30, 1.0 - 2.0**-30, -1.0) == -(2.0**-60)
    rng = random.Random(1)
    for _ in range(500):
        a, b = rng.uniform(-2, 2), rng.uniform(-2, 2)
        c = -a * b * (1.0 + rng.choice([0.0, 1e-16, 1e-9, 0.5]))
        assert fma(a, b, c) == float(Fraction(a) * Fraction(b) + Fraction(c))
    assert fma(LARGEST, 2.0, -LARGEST) == LARGEST  # the product overflows, the sum does not
    assert fma(LARGEST, 2.0, 1.0) == INF
    assert math.isnan(fma(INF, 0.0, 1.0))
    assert math.copysign(1.0, fma(-0.0, 1.0, -0.0)) == -1.0
    assert math.copysign(1.0, fma(-0.0, 1.0, 0.0)) == 1.0


def test_select_takes_either_value_as_it_is() -> None:
    assert select(True, 1.0, NAN) == 1.0
    assert math.isnan(select(False, 1.0, NAN))
    assert math.copysign(1.0, select(True, -0.0, 0.0)) == -1.0


def test_bits_are_those_of_the_number_and_back() -> None:
    for x in (0.0, -0.0, 1.0, -1.5, TINY, LARGEST, INF, -INF):
        assert bits(x) == int(np.float64(x).view(np.int64))
        assert bits(from_bits(bits(x))) == bits(x)
    assert math.isnan(from_bits(bits(NAN)))
    assert exponent_field(bits(1.0)) == 1023
    assert exponent_field(bits(LARGEST)) == 2046
    assert exponent_field(bits(TINY)) == 0


CUBIC = (0.5, -3.0, 2.0, 0.25)


def test_a_polynomial_is_its_coefficients_lowest_first() -> None:
    cubic = elementary.polynomial(CUBIC)
    value = compiled(lambda y: cubic(y))
    for y in (0.0, 1.0, -2.0, 0.3):
        assert value(y) == pytest.approx(0.5 - 3.0 * y + 2.0 * y**2 + 0.25 * y**3, rel=1e-15)


@pytest.mark.parametrize("coefficients", [CUBIC, EXP, ATANH, (1.0, 2.0), (1.0, 1.0, 1.0)], ids=len)
def test_a_divided_difference_cancels_nothing_however_near_its_points_are(coefficients: tuple[float, ...]) -> None:
    function = elementary.divided_difference(coefficients)
    slope = compiled(lambda a, b: function(a, b))
    exact = [Fraction(c) for c in coefficients]
    for a in (-0.9, -0.3, 0.0, 1e-9, 0.4, 1.0):
        for b in (a, math.nextafter(a, 2.0), a + 1e-9, a + 0.01, a + 0.5):
            p, q = Fraction(a), Fraction(b)
            # Sum of c·(p^k − q^k)/(p − q), written out: at p = q it is the derivative.
            terms = [c * sum(p**i * q ** (k - 1 - i) for i in range(k)) for k, c in enumerate(exact)]
            size = float(sum(abs(term) for term in terms))
            assert abs(slope(a, b) - float(sum(terms))) <= 4e-16 * size, (a, b)


@pytest.mark.filterwarnings("ignore:Descending:DeprecationWarning")  # the order that older versions of mpmath know
@pytest.mark.parametrize(("name", "stored", "bound"), [("ATANH", ATANH, 4e-17), ("EXP", EXP, 1.2e-16)])
def test_stored_polynomials_are_those_of_their_derivation(name: str, stored: tuple[float, ...], bound: float) -> None:
    with mp.workdps(50):  # which the script sets for good
        found, error = runpy.run_path(str(DERIVATION))["coefficients"](name)
    assert found == list(stored)
    assert error < bound
