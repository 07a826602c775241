"""The long random run sees what it looks for: each claim is broken once on purpose."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from benchmarks import claims, random_points
from benchmarks.claims import Codes
from benchmarks.sets import Floats
from benchmarks.tally import Tally, report
from pricer.kernels.status import KernelStatus

NAN = math.nan
OPTION = (100.0, 110.0, 0.5, 0.3, 1.0)  # forward, strike, ttm, sigma, cp
QUOTE = (5.0, 100.0, 110.0, 0.5, 1.0)  # premium, forward, strike, ttm, cp


def columns(row: tuple[float, ...]) -> tuple[Floats, ...]:
    return tuple(np.array([value]) for value in row)


def broken(masks: claims.Masks) -> set[str]:
    return {claim for claim, mask in masks.items() if mask.any()}


def codes(status: int) -> Codes:
    return np.array([status], np.uint8)


PLAIN, SPOILED = np.array([True]), np.array([False])


def test_a_few_thousand_points_hold_every_claim() -> None:
    tally = Tally()
    random_points.run_chunk(np.random.default_rng(8), 4_000, tally)
    assert report(tally)[-1] == "0 violations"
    assert sum(tally.statuses["cold IV"].values()) == 4_000
    # Every kind of premium was drawn, and a good part of the options has a volatility.
    assert set(tally.statuses["cold IV"]) == {0, 1, 2, 3, 4}
    assert tally.statuses["cold IV"][KernelStatus.OK] > 1_000
    assert 0.0 < tally.worst_units["round trip"] < claims.MOST_UNITS


def test_M04_a_hundred_thousand_random_points_hold_every_claim() -> None:
    """Ten million of other seeds: `python -m benchmarks.random_points`."""
    tally = Tally()
    for start in (0, 1):
        random_points.run_chunk(np.random.default_rng([2026, start]), random_points.CHUNK, tally)
    assert sum(tally.statuses["cold IV"].values()) == 100_000
    assert report(tally)[-1] == "0 violations"


@pytest.mark.parametrize(
    ("quote", "sigma", "status", "claim"),
    [
        (QUOTE, NAN, KernelStatus.OK, "NaN, infinite or not positive, but OK"),
        (QUOTE, math.inf, KernelStatus.OK, "NaN, infinite or not positive, but OK"),
        (QUOTE, 0.0, KernelStatus.OK, "NaN, infinite or not positive, but OK"),
        (QUOTE, 0.3, KernelStatus.AT_INTRINSIC, "not zero, but AT_INTRINSIC"),
        (QUOTE, NAN, KernelStatus.NO_CONVERGENCE, "no convergence"),
        (QUOTE, NAN, KernelStatus.ABOVE_MAX, "a price within the bounds refused"),
        (QUOTE, NAN, KernelStatus.BAD_INPUT, "good input refused"),
        (QUOTE, NAN, 77, "a status that this kernel never gives"),
        ((-1.0, *QUOTE[1:]), 0.01, KernelStatus.OK, "under the intrinsic value, and not said so"),
        ((-1.0, *QUOTE[1:]), 0.0, KernelStatus.BELOW_INTRINSIC, "a number with a status that forbids one"),
        ((100.0, *QUOTE[1:]), 9.0, KernelStatus.OK, "at the bound, and not said so"),
        ((5.0, NAN, *QUOTE[2:]), 0.3, KernelStatus.OK, "bad input taken for good"),
        ((5.0, 100.0, 110.0, 0.5, 0.0), 0.3, KernelStatus.OK, "bad input taken for good"),
    ],
)
def test_a_volatility_that_contradicts_its_status_is_seen(
    quote: tuple[float, ...], sigma: float, status: int, claim: str
) -> None:
    assert claim in broken(claims.vol_claims(columns(quote), np.array([sigma]), codes(status), PLAIN))


@pytest.mark.parametrize(
    ("quote", "sigma", "status"),
    [
        (QUOTE, 0.3, KernelStatus.OK),
        ((0.0, *QUOTE[1:]), 0.0, KernelStatus.AT_INTRINSIC),
        ((-5e-324, *QUOTE[1:]), NAN, KernelStatus.BELOW_INTRINSIC),
        ((100.0, *QUOTE[1:]), NAN, KernelStatus.ABOVE_MAX),
        ((NAN, *QUOTE[1:]), NAN, KernelStatus.BAD_INPUT),
    ],
)
def test_a_volatility_that_agrees_with_its_status_is_none(quote: tuple[float, ...], sigma: float, status: int) -> None:
    assert broken(claims.vol_claims(columns(quote), np.array([sigma]), codes(status), PLAIN)) == set()


@pytest.mark.parametrize(
    ("option", "price", "status", "claim"),
    [
        (OPTION, NAN, KernelStatus.OK, "NaN or infinite, but not BAD_INPUT"),
        (OPTION, -1e-9, KernelStatus.OK, "under the intrinsic value or over the bound"),
        (OPTION, 101.0, KernelStatus.OK, "under the intrinsic value or over the bound"),
        (OPTION, NAN, KernelStatus.BAD_INPUT, "good input refused"),
        (OPTION, 4.0, KernelStatus.ABOVE_MAX, "a status that this kernel never gives"),
        ((100.0, 110.0, 0.5, NAN, 1.0), 0.0, KernelStatus.BAD_INPUT, "a number with BAD_INPUT"),
        ((100.0, 110.0, -0.5, 0.3, 1.0), 0.0, KernelStatus.AT_INTRINSIC, "bad input taken for good"),
    ],
)
def test_a_price_that_contradicts_its_status_is_seen(
    option: tuple[float, ...], price: float, status: int, claim: str
) -> None:
    plain = PLAIN if option == OPTION else SPOILED
    assert claim in broken(claims.price_claims(columns(option), np.array([price]), codes(status), plain))


@pytest.mark.parametrize(
    ("row", "value", "status", "claim"),
    [
        (13, NAN, KernelStatus.OK, "NaN or infinite, but OK"),
        (6, math.inf, KernelStatus.AT_INTRINSIC, "infinite"),
        (1, NAN, KernelStatus.AT_INTRINSIC, "price or delta missing at a limit"),
        (0, 1.0, KernelStatus.BAD_INPUT, "a number with BAD_INPUT"),
    ],
)
def test_a_greek_that_contradicts_its_status_is_seen(row: int, value: float, status: int, claim: str) -> None:
    out = np.zeros((14, 1))
    assert broken(claims.greek_claims(columns(OPTION), out, codes(KernelStatus.OK), PLAIN)) == set()
    out[row] = value
    assert claim in broken(claims.greek_claims(columns(OPTION), out, codes(status), PLAIN))


def test_a_unit_is_what_the_rounding_of_a_premium_moves_its_volatility() -> None:
    quote, sigma = columns(QUOTE), np.array([0.3])
    (unit,) = claims.attainable(quote, sigma)
    assert claims.units_apart(quote, sigma, sigma).tolist() == [0.0]
    assert claims.units_apart(quote, sigma, sigma * (1.0 + 1e6 * unit)) == pytest.approx(1e6, rel=1e-6)
    assert claims.units_apart(quote, sigma, np.array([NAN])).tolist() == [0.0]


def test_a_fall_is_seen_beyond_the_slack_only() -> None:
    first, second = np.array([1.0, 1.0, 1.0, NAN]), np.array([1.1, 1.0 - 1e-15, 0.99, 0.5])
    assert claims.too_low(first, second, 1e-14).tolist() == [False, False, True, False]


def test_rows_left_unwritten_are_counted() -> None:
    def forgetful(column: Floats, out: Floats, status: Codes) -> None:
        out[1:] = column[1:]
        status[:2] = KernelStatus.OK

    tally = Tally()
    tally.call("forgetful", forgetful, (np.ones(3),), (3,))
    assert tally.violations == {"forgetful: a row left unwritten": 2}


@pytest.mark.parametrize("violations", [0, 3])
def test_the_exit_code_says_whether_all_held(
    violations: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def chunk(rng: np.random.Generator, count: int, tally: Tally) -> None:
        out = np.zeros(count)
        tally.violated("kernel", {"claim": np.arange(count) < violations}, (out,), out, np.zeros(count, np.uint8))

    monkeypatch.setattr(random_points, "run_chunk", chunk)
    monkeypatch.setattr(sys, "argv", ["random_points", "--points", "50", "--seed", "3"])
    with pytest.raises(SystemExit) as stopped:
        random_points.main()
    assert stopped.value.code == (1 if violations else 0)
    assert f"{violations} violations" in capsys.readouterr().out
