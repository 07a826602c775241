"""The chains' loops run several rows at a time, and no row knows which of them it was.

A loop falls back to one row at a time without a word: a call of libm, a branch, a memory check too many. So the machine
code is looked at, which no busy machine disturbs.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from numba import types

from pricer.kernels import black76, chain, implied_vol
from pricer.kernels.status import KernelStatus
from tests.kernels.reference import market_set

Columns = list[np.ndarray]
Chain = Callable[[np.ndarray, Columns], tuple[np.ndarray, np.ndarray]]

config: Any = numba.config

GIVEN = types.Array(types.float64, 1, "C", readonly=True)
LIVE = types.Array(types.float64, 1, "C")
TABLE = types.Array(types.float64, 2, "C")
CODES = types.Array(types.uint8, 1, "C")
NUMBER = types.float64


class Loops(NamedTuple):
    """A kernel, the types its callers pass, and how many packed operations its loops hold at the least.

    The counts are four fifths of those of one unrolling. Divisions are there for loops with no multiply-adds.
    """

    kernel: Callable[..., Any]
    arguments: tuple[Any, ...]
    multiply_adds: int
    divisions: int


VECTORISED = [
    Loops(implied_vol.direct_vols, (*[GIVEN] * 5, LIVE), 96, 12),
    # Its step from a volatility at hand, and the one from the guess.
    Loops(implied_vol.implied_vol_chain_warm, (*[GIVEN] * 6, LIVE, CODES), 165, 20),
    Loops(black76.price_chain, (*[GIVEN] * 5, LIVE, CODES), 58, 2),
    Loops(black76.greeks_chain, (*[GIVEN] * 5, TABLE, CODES), 79, 9),
    Loops(chain.discounted_greeks, (types.int64, LIVE, NUMBER, NUMBER, GIVEN, GIVEN, NUMBER, TABLE), 79, 9),
]


def why_not_here() -> str:
    """Why this machine's code says nothing; empty where it does."""
    if config.DISABLE_JIT:
        return "nothing is compiled with NUMBA_DISABLE_JIT"
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"the names of {platform.machine()}'s instructions are others"
    chosen = config.CPU_NAME or config.CPU_FEATURES
    if chosen or not (llvm.get_host_cpu_features().get("fma") and llvm.get_host_cpu_features().get("avx2")):
        return "the processor has no packed multiply-adds, or another one was asked for"
    return ""


def packed(operation: str, assembly: str) -> int:
    return len(re.findall(rf"\b{operation}\b[^\n]*%[yz]mm", assembly))


@pytest.mark.skipif(bool(why_not_here()), reason=why_not_here())
@pytest.mark.parametrize("loops", VECTORISED, ids=lambda loops: loops.kernel.__name__)
def test_the_loops_are_vectorised(loops: Loops) -> None:
    original: Any = loops.kernel
    # As `pricer.kernels.jit` has it, but not from the cache: code loaded from there has no assembly.
    options = {name: value for name, value in original.targetoptions.items() if name != "nopython"}
    fresh = numba.njit(**options)(original.py_func)
    fresh.compile(loops.arguments)
    (assembly,) = fresh.inspect_asm().values()
    assert packed(r"vfn?m(?:add|sub)\d*pd", assembly) >= loops.multiply_adds
    assert packed("vdivpd", assembly) >= loops.divisions


def market(count: int) -> tuple[Columns, np.ndarray]:
    """Columns of forward, strike, ttm, sigma and cp, and premiums: solved by the step and beyond it, and not at all."""
    forward, strike, ttm, sigma, cp = (np.array(column) for column in zip(*market_set(8, count), strict=True))
    sigma[1::5] *= 12.0  # s above 2.6, or a price next to its bound
    premium = np.empty(count)
    black76.price_chain(forward, strike, ttm, sigma, cp, premium, np.empty(count, np.uint8))
    premium[3::11] = 0.0
    premium[7::13] *= 3.0
    strike[5::17] = np.nan
    return [forward, strike, ttm, sigma, cp], premium


def cold(premium: np.ndarray, options: Columns) -> tuple[np.ndarray, np.ndarray]:
    forward, strike, ttm, _, cp = options
    out, status = np.empty(len(premium)), np.empty(len(premium), np.uint8)
    implied_vol.implied_vol_chain(premium, forward, strike, ttm, cp, out, status)
    return out, status


def warm(premium: np.ndarray, options: Columns, previous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    forward, strike, ttm, _, cp = options
    out, status = np.empty(len(premium)), np.empty(len(premium), np.uint8)
    implied_vol.implied_vol_chain_warm(premium, forward, strike, ttm, cp, previous, out, status)
    return out, status


def prices(_premium: np.ndarray, options: Columns) -> tuple[np.ndarray, np.ndarray]:
    out, status = np.empty(len(options[0])), np.empty(len(options[0]), np.uint8)
    forward, strike, ttm, sigma, cp = options
    black76.price_chain(forward, strike, ttm, sigma, cp, out, status)
    return out, status


def greeks(_premium: np.ndarray, options: Columns) -> tuple[np.ndarray, np.ndarray]:
    out, status = np.empty((14, len(options[0]))), np.empty(len(options[0]), np.uint8)
    forward, strike, ttm, sigma, cp = options
    black76.greeks_chain(forward, strike, ttm, sigma, cp, out, status)
    return out, status


CHAINS: list[Chain] = [cold, prices, greeks]


def assert_same_bits(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.signbit(found[found == 0.0]), np.signbit(wanted[wanted == 0.0]))


@pytest.mark.parametrize("run", CHAINS, ids=lambda run: run.__name__)
def test_a_row_gives_the_same_bits_in_every_place_of_a_chain_of_any_length(run: Chain) -> None:
    options, premium = market(61)
    whole, codes = run(premium, options)
    assert {int(KernelStatus.OK), int(KernelStatus.BAD_INPUT)} <= set(codes.tolist())
    for length in range(1, 18):
        for start in (0, 1, 2, 3, 61 - length):
            rows = slice(start, start + length)
            part, part_codes = run(premium[rows], [column[rows] for column in options])
            assert_same_bits(part, whole[..., rows])
            np.testing.assert_array_equal(part_codes, codes[rows])


def test_the_six_greeks_alone_have_the_bits_of_the_fourteen() -> None:
    options, premium = market(61)
    table, codes = greeks(premium, options)
    six, status = np.empty((6, 61)), np.empty(61, np.uint8)
    forward, strike, ttm, sigma, cp = options
    black76.first_greeks_chain(forward, strike, ttm, sigma, cp, six, status)
    assert_same_bits(six, table[:6])
    np.testing.assert_array_equal(status, codes)


def test_one_option_gives_the_bits_of_its_row_in_a_chain() -> None:
    options, premium = market(200)
    vols, vol_codes = cold(premium, options)
    values, _ = prices(premium, options)
    table, _ = greeks(premium, options)
    for i in range(200):
        forward, strike, ttm, sigma, cp = (float(column[i]) for column in options)
        found, code = implied_vol.implied_vol(float(premium[i]), forward, strike, ttm, cp)
        np.testing.assert_array_equal([found, code], [vols[i], vol_codes[i]])
        np.testing.assert_array_equal(black76.price(forward, strike, ttm, sigma, cp), values[i])
        np.testing.assert_array_equal(black76.greeks(forward, strike, ttm, sigma, cp), table[:, i])
        np.testing.assert_array_equal(table[0, i], values[i])


def test_a_warm_row_depends_on_its_own_previous_volatility_only() -> None:
    """That is, where the step from it is the last one; else it is solved anew, to the same few units."""
    options, premium = market(61)
    solved, codes = cold(premium, options)
    rows = np.flatnonzero((codes == KernelStatus.OK) & (np.arange(61) % 5 != 1))
    premium, options = premium[rows], [column[rows] for column in options]
    previous = solved[rows] * (1.0 + 1e-4)
    whole, codes = warm(premium, options, previous)
    assert (codes == KernelStatus.OK).all()
    assert np.abs(whole - solved[rows]).max() <= 16 * np.spacing(solved[rows].max())
    for length in range(1, 18):
        part, _ = warm(premium[:length], [column[:length] for column in options], previous[:length])
        np.testing.assert_array_equal(part, whole[:length])
    again, _ = warm(premium, options, whole)
    np.testing.assert_array_less(np.abs(again - whole), 16 * np.spacing(whole))
