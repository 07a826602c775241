"""The comparison with other packages runs, and what it rests on is right: references, counts, times by turns."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import plain_greeks, vols
from benchmarks.figures import Figure
from benchmarks.ours import OURS
from benchmarks.peers import PEERS, Quotes, Solver, installed
from benchmarks.reference import ULP, Reference, exact_price, exact_volatility, reference_set
from benchmarks.sets import SETS, market_set
from benchmarks.timing import best_by_turns
from pricer import greeks
from tests.data import CHECKOUT

# 100·(2·Φ(0.1) − 1), of a table of the normal distribution.
AT_THE_MONEY = 7.9655674554058


def silent(*, completed: int) -> None: ...


@pytest.fixture(scope="module")
def market() -> Reference:
    return reference_set(market_set, 5, 40, silent, processes=1)


def test_the_command_compares_with_what_is_installed_and_writes_json(tmp_path: Path) -> None:
    file = tmp_path / "kernels.json"
    command = [sys.executable, "-m", "benchmarks.kernels", "--quick", "--peers", "QuantLib,vollib", "--json", str(file)]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=110)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    for name, rows in found["sets"].items():
        assert f"{name} set" in answer.stdout
        names = [row["name"] for row in rows]
        assert names == [solver.name for solver in OURS] + ["QuantLib", "vollib"]
        assert all(row["seconds"] > 0.0 for row in rows)
        assert all(row["wrong"] + row["nan"] == 0 for row in rows if row["name"].startswith("volstream"))
    (cold,) = [figure for figure in found["figures"] if figure["name"] == "cold IV, market set / lbriv"]
    assert (cold["value"], cold["mark"]) == (None, "not measured")  # without lbriv there is nothing to divide by


def test_an_unknown_peer_is_named() -> None:
    command = [sys.executable, "-m", "benchmarks.kernels", "--peers", "nobody"]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 2
    assert "unknown: nobody" in answer.stderr


def quotes(*rows: tuple[float, float, float, float, float]) -> Quotes:
    """Of (premium, forward, strike, ttm, cp), all of them at a volatility of 0.2."""
    premium, forward, strike, ttm, cp = np.array(rows).T.copy()
    return Quotes(premium, forward, strike, ttm, cp, np.full(len(rows), 0.2))


def solvers() -> list[object]:
    slow = {"vanilla-option-pricers", "fast-vollib"}  # ten seconds of compiling each
    marked = [pytest.param(peer, marks=pytest.mark.long if peer.package in slow else ()) for peer in PEERS]
    return [*OURS, *marked]


@pytest.mark.parametrize("solver", solvers(), ids=lambda solver: solver.name)
def test_every_solver_gives_the_volatility_of_calls_and_puts(solver: Solver) -> None:
    if solver not in OURS and not installed(solver.package):
        pytest.skip(f"{solver.package} is not installed (extra: bench)")
    half = float(exact_price(100.0, 90.0, 0.25, 0.2, -1.0))
    call = solver.prepare(quotes((AT_THE_MONEY, 100.0, 100.0, 1.0, 1.0), (half, 100.0, 90.0, 0.25, -1.0)))
    assert call() == pytest.approx([0.2, 0.2], rel=1e-9)


def test_the_exact_price_is_the_tabled_one() -> None:
    for cp in (1.0, -1.0):
        assert float(exact_price(100.0, 100.0, 1.0, 0.2, cp)) == pytest.approx(AT_THE_MONEY, rel=1e-14)


@pytest.mark.parametrize("sigma", [0.05, 0.2, 3.0, 9.0])
@pytest.mark.parametrize("strike", [40.0, 99.9999, 100.0, 260.0])
def test_the_exact_volatility_of_a_rounded_premium_gives_that_premium(sigma: float, strike: float) -> None:
    side = 1.0 if strike >= 100.0 else -1.0
    premium = float(exact_price(100.0, strike, 0.5, sigma, side))
    nearest, rest, condition = exact_volatility(premium, 100.0, strike, 0.5, 1.1 * sigma, side)
    assert abs(rest) <= ULP * nearest
    assert nearest == pytest.approx(sigma, rel=4.0 * ULP * (1.0 + condition))
    assert float(exact_price(100.0, strike, 0.5, nearest, side)) == pytest.approx(premium, rel=4.0 * ULP / condition)


def test_u_is_one_for_an_error_of_round_off(market: Reference) -> None:
    assert market.error_in_u(market.sigma).max() < 0.5
    changed = market.sigma * (1.0 + 1e4 * ULP * (1.0 + market.condition))
    assert market.error_in_u(changed) == pytest.approx(np.full(40, 1e4), rel=1e-3)


@pytest.mark.parametrize("name", SETS)
def test_a_seed_gives_the_same_set_however_many_processes_solve_it(name: str) -> None:
    one, two = (reference_set(SETS[name], 3, 70, silent, processes) for processes in (1, 2))
    assert len(one.premium) == 70
    assert np.array_equal(one.premium, two.premium)
    assert np.array_equal(one.sigma, two.sigma)
    assert not np.array_equal(one.premium, reference_set(SETS[name], 4, 70, silent, processes=1).premium)


def test_wrong_and_missing_answers_are_counted_apart(market: Reference) -> None:
    found = market.sigma.copy()
    found[:4] = math.nan, math.inf, 0.0, -0.3
    found[4:6] *= 1.01, 2.0
    counted = vols.accuracy(market, found)
    assert (counted.nan, counted.wrong, counted.lost) == (4, 2, 6)
    assert counted.max_u > vols.WRONG_U
    assert counted.median_u < 0.5


def test_calls_are_timed_by_turns_after_one_that_does_not_count() -> None:
    log: list[str] = []

    def logging(name: str) -> Callable[[], None]:
        return lambda: log.append(name)

    best = best_by_turns({"a": logging("a"), "b": logging("b")}, 3, after_round=logging("-"))
    assert "".join(log) == "ab" + 3 * "ab-"
    assert all(0.0 <= seconds < math.inf for seconds in best.values())


def test_the_plain_loops_give_our_greeks(market: Reference) -> None:
    forward, strike, ttm, sigma, _ = market.options
    # Further out the plain form has lost digits.
    options = market.options.take(np.abs(np.log(forward / strike)) < sigma * np.sqrt(ttm))
    ours = greeks(*options)
    six, fourteen = np.empty((6, len(options.cp))), np.empty((14, len(options.cp)))
    plain_greeks.first_greeks(*options, six)
    plain_greeks.all_greeks(*options, fourteen)
    for i, name in enumerate(type(ours).__slots__):
        assert fourteen[i] == pytest.approx(getattr(ours, name), rel=1e-8), name
        if i < 6:
            assert six[i] == pytest.approx(fourteen[i], rel=1e-13), name


@pytest.mark.parametrize(
    ("value", "mark"),
    [(0.05, "aim held"), (0.1, "aim held"), (0.15, "held"), (0.2, "MISSED"), (math.nan, "not measured")],
)
def test_a_figure_is_marked_against_its_floor_and_aim(value: float, mark: str) -> None:
    assert Figure("", value, floor=0.16, aim=0.1).mark == mark


def test_a_figure_for_information_has_no_mark() -> None:
    assert Figure("", 3.0).mark == ""
