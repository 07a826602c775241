"""Forward and discount from put-call parity: known lines, planted bad quotes, honest errors, real chains."""

from __future__ import annotations

import csv
import json
import math
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.kernels.forward import FORWARD_FIELDS, SCRATCH_ROWS, median, parity_forward
from pricer.kernels.status import KernelStatus
from pricer.pricing import price
from tests.data import data_path


class Quotes(NamedTuple):
    """The columns that the kernel takes."""

    strike: np.ndarray
    call_bid: np.ndarray
    call_ask: np.ndarray
    put_bid: np.ndarray
    put_ask: np.ndarray


class Found(NamedTuple):
    status: int
    forward: float
    error: float
    low: float
    high: float
    discount: float
    discount_error: float
    scatter: float
    agreeing: float
    used: float
    gap: np.ndarray


def solve(quotes: Iterable[Iterable[float]], *, inverse: bool, discount: float = 1.0) -> Found:
    """One call with memory of our own; rows of (strike, call bid, call ask, put bid, put ask) in any order."""
    columns = Quotes(*np.array(sorted(tuple(row) for row in quotes), float).reshape(-1, 5).T.copy())
    n = len(columns.strike)
    scratch, gap, out = np.full((SCRATCH_ROWS, n), 7.0), np.empty(n), np.empty(len(FORWARD_FIELDS))
    for column in columns:
        column.flags.writeable = False
    status = parity_forward(*columns, inverse, discount, scratch, gap, out)
    return Found(status=status, gap=gap, **dict(zip(FORWARD_FIELDS, out.tolist(), strict=True)))


def chain(
    forward: float,
    *,
    inverse: bool,
    discount: float = 1.0,
    strikes: int = 41,
    half_spread: float = 0.002,
    seed: int = 1,
    lean: float = 0.0,
) -> np.ndarray:
    """Rows of a chain whose true premium lies anywhere inside each bid and ask, or `lean` of the way to one side."""
    rng = np.random.default_rng(seed)
    strike = np.linspace(0.7 * forward, 1.3 * forward, strikes)
    unit = 1.0 if inverse else forward
    columns = [strike]
    for cp in (1, -1):
        value = np.asarray(price(forward, strike, 0.25, 0.6, cp)) / (forward if inverse else 1.0) * discount
        half = unit * half_spread * rng.uniform(0.5, 3.0, strikes) * np.exp(2.0 * np.abs(strike / forward - 1.0))
        middle = value + half * (rng.uniform(-1.0, 1.0, strikes) if lean == 0.0 else cp * lean)
        columns += [np.maximum(middle - half, 0.0), middle + half]
    return np.stack(columns, axis=1)


both_units = pytest.mark.parametrize("inverse", [False, True])


@both_units
@pytest.mark.parametrize("discount", [1.0, 0.94])
def test_exact_prices_give_the_exact_line(inverse: bool, discount: float) -> None:
    rows = chain(100.0, inverse=inverse, discount=discount, half_spread=0.0, strikes=9)
    for given_discount in (discount, math.nan):
        found = solve(rows, inverse=inverse, discount=given_discount)
        assert found.status == KernelStatus.OK
        assert found.forward == pytest.approx(100.0, rel=1e-12)
        assert found.discount == pytest.approx(discount, rel=1e-11)
        assert found.used == found.agreeing == 9
        assert found.error < 1e-5
        np.testing.assert_allclose(found.gap, 0.0, atol=1e-11)


@both_units
def test_its_error_is_honest(inverse: bool) -> None:
    """Of 300 chains the truth lies within two standard errors in 95 of 100, and they are not much too wide."""
    for given_discount, truth in ((0.97, 0.97), (math.nan, 0.97)):
        distance, off = [], []
        for seed in range(300):
            found = solve(
                chain(100.0, inverse=inverse, discount=truth, seed=seed), inverse=inverse, discount=given_discount
            )
            assert found.status == KernelStatus.OK
            distance.append(abs(found.forward - 100.0) / found.error)
            if math.isnan(given_discount):
                off.append(abs(found.discount - truth) / found.discount_error)
        assert np.mean(np.array(distance) < 2.0) > 0.95
        assert np.median(distance) > 0.2
        if off:
            assert np.mean(np.array(off) < 2.0) > 0.9


@both_units
@pytest.mark.parametrize("lean", [-0.8, 0.8])
def test_quotes_that_all_lean_to_one_side_are_inside_the_error(inverse: bool, lean: float) -> None:
    found = solve(chain(100.0, inverse=inverse, lean=lean), inverse=inverse)
    assert found.low <= 100.0 <= found.high
    assert 0.5 < abs(found.forward - 100.0) / found.error < 2.5


BAD: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a decimal slipped": lambda row: row * [1, 10, 10, 1, 1],
    "call and put swapped": lambda row: row[[0, 3, 4, 1, 2]],
    "the strike before's quotes, unchanged for an hour": lambda row: row + np.array([0, 5, 5, 0, 0]),
    "a penny bid against an absurd ask": lambda row: np.array([row[0], 0.0001, 20.0, row[3], row[4]]),
    "worthless put": lambda row: row * [1, 1, 1, 0, 0],
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("discount", [0.97, math.nan])
def test_a_fifth_of_bad_quotes_moves_the_forward_by_less_than_its_error(kind: str, discount: float) -> None:
    for seed in range(20):
        rows = chain(100.0, inverse=False, discount=0.97, seed=seed)
        clean = solve(rows, inverse=False, discount=discount)
        spoilt = np.random.default_rng(seed).choice(len(rows), 8, replace=False)
        rows[spoilt] = [BAD[kind](row) for row in rows[spoilt]]
        found = solve(rows, inverse=False, discount=discount)
        assert found.status == KernelStatus.OK
        assert abs(found.forward - clean.forward) < 1.5 * clean.error
        assert abs(found.forward - 100.0) < 3.0 * found.error
        assert found.error < 2.5 * clean.error


@both_units
@pytest.mark.parametrize("ask", [1e8, 1e20, 1e308])
def test_an_ask_that_is_no_price_moves_nothing(inverse: bool, ask: float) -> None:
    rows = chain(100.0, inverse=inverse)
    for discount in (1.0, math.nan):
        clean = solve(np.delete(rows, 17, axis=0), inverse=inverse, discount=discount)
        rows[17, 2] = ask
        found = solve(rows, inverse=inverse, discount=discount)
        assert found.status == KernelStatus.OK
        assert found.forward == pytest.approx(clean.forward, abs=0.1 * clean.error)
        assert found.error == pytest.approx(clean.error, rel=0.1)


def test_M06_the_gap_names_the_strike_whose_call_and_put_disagree() -> None:
    rows = chain(100.0, inverse=False, half_spread=1e-4)
    rows[17, 1:3] += 1.5
    found = solve(rows, inverse=False)
    assert int(np.argmax(np.abs(found.gap))) == 17
    assert found.gap[17] == pytest.approx(1.5, abs=0.1)
    assert np.abs(np.delete(found.gap, 17)).max() < 0.1
    assert found.agreeing >= 38


def test_the_bounds_hold_the_forward_and_close_as_strikes_are_added() -> None:
    narrow, wide = (solve(chain(100.0, inverse=False, strikes=n), inverse=False) for n in (101, 5))
    assert wide.low <= 100.0 <= wide.high
    assert narrow.low <= 100.0 <= narrow.high
    assert narrow.high - narrow.low < wide.high - wide.low
    assert narrow.error < wide.error


def test_strikes_quoted_at_different_moments_widen_the_error() -> None:
    """Each strike at its own forward, further apart than the spreads are wide."""
    rng = np.random.default_rng(5)
    moments = 100.0 + 0.3 * rng.standard_normal(41)
    rows = np.concatenate([chain(f, inverse=False, half_spread=1e-5)[i : i + 1] for i, f in enumerate(moments)])
    found = solve(rows, inverse=False)
    assert 0.2 / math.sqrt(41) < found.error < 0.2
    assert abs(found.forward - 100.0) < 3.0 * found.error
    assert found.scatter == pytest.approx(0.3, rel=0.5)


def test_a_locked_strike_is_not_believed_without_bound() -> None:
    rows = chain(100.0, inverse=False, half_spread=1e-3)
    value = rows[20, 1:3].mean() + 0.05
    rows[20] = [rows[20, 0], value, value, rows[20, 3:].mean(), rows[20, 3:].mean()]
    found = solve(rows, inverse=False)
    assert abs(found.forward - 100.0) < 0.05


@both_units
def test_only_strikes_with_four_uncrossed_sides_are_used(inverse: bool) -> None:
    rows = chain(100.0, inverse=inverse)
    rows[:10, 1:] = [
        [math.nan, 1, 1, 1],
        [1, math.nan, 1, 1],
        [1, 1, math.nan, 1],
        [1, 1, 1, math.nan],
        [2, 1, 1, 1],
        [1, 1, 2, 1],
        [-1, 1, 1, 1],
        [1, math.inf, 1, 1],
        [math.nan] * 4,
        [1, 1, 1, -math.inf],
    ]
    found = solve(rows, inverse=inverse)
    assert found.status == KernelStatus.OK
    assert found.used == 31
    assert np.isnan(found.gap[:10]).all()
    assert np.isfinite(found.gap[10:]).all()


@both_units
@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_usable_strikes_are_bad_input(inverse: bool, count: int) -> None:
    rows = chain(100.0, inverse=inverse)
    rows[count:, 1] = math.nan
    found = solve(rows, inverse=inverse)
    assert found.status == KernelStatus.BAD_INPUT
    assert found.used == count
    assert np.isnan(found[1:9]).all()
    assert np.isnan(found.gap).all()
    assert solve([], inverse=inverse).status == KernelStatus.BAD_INPUT


@both_units
def test_two_strikes_are_enough(inverse: bool) -> None:
    rows = chain(100.0, inverse=inverse, strikes=2, half_spread=1e-4)
    for discount in (1.0, math.nan):
        found = solve(rows, inverse=inverse, discount=discount)
        assert found.status == KernelStatus.OK
        assert abs(found.forward - 100.0) < 2.5 * found.error


@pytest.mark.parametrize("discount", [0.0, -1.0, math.inf])
def test_a_discount_that_is_none_is_bad_input(discount: float) -> None:
    assert solve(chain(100.0, inverse=False), inverse=False, discount=discount).status == KernelStatus.BAD_INPUT


def test_quotes_that_speak_for_no_forward_do_not_get_one() -> None:
    rows = chain(100.0, inverse=False)
    backwards = rows[:, [0, 3, 4, 1, 2]]  # every call is a put: the line rises
    assert solve(backwards, inverse=False, discount=math.nan).status == KernelStatus.NO_CONVERGENCE
    above_one_coin = chain(100.0, inverse=True) + np.array([0, 3, 3, 0, 0])
    found = solve(above_one_coin, inverse=True)
    assert found.status == KernelStatus.NO_CONVERGENCE
    assert np.isnan(found[1:9]).all()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_the_median_is_the_upper_one(values: list[float]) -> None:
    buffer = np.array([*values, -1e9, -1e9])  # what lies beyond the count is not looked at
    assert median(buffer, len(values)) == sorted(values)[len(values) // 2]
    assert sorted(buffer[: len(values)]) == sorted(values)


def test_deribits_own_forwards_are_met_to_a_few_basis_points() -> None:
    """Seven expiries, tickers taken one by one: within 2.1 bp of `underlying_price`, and within the stated error."""
    with data_path("deribit/raw_ticker_snapshot_2026-06-27/deribit_snapshot.json").open() as file:
        snapshot = json.load(file)
    listed = {instrument["instrument_name"]: instrument for instrument in snapshot["instruments"]}
    pairs: dict[int, dict[float, dict[str, tuple[float, float]]]] = defaultdict(lambda: defaultdict(dict))
    venue: dict[int, list[float]] = defaultdict(list)
    for name, ticker in snapshot["tickers"].items():
        instrument = listed[name]
        expiry = instrument["expiration_timestamp"]
        sides = (ticker["best_bid_price"] or math.nan, ticker["best_ask_price"] or math.nan)  # 0 is no quote there
        pairs[expiry][instrument["strike"]][instrument["option_type"]] = sides
        venue[expiry].append(ticker["underlying_price"])
    assert len(pairs) == 7
    for expiry, strikes in pairs.items():
        rows = [(strike, *pair["call"], *pair["put"]) for strike, pair in strikes.items() if len(pair) == 2]
        found = solve(rows, inverse=True)
        off = found.forward - float(np.median(venue[expiry]))
        assert abs(off) / found.forward < 2.5e-4
        assert abs(off) < found.error
        assert found.low < np.median(venue[expiry]) < found.high
        free = solve(rows, inverse=True, discount=math.nan)
        assert abs(free.discount - 1.0) < 2.0 * free.discount_error


def test_spx_same_day_options_give_the_index() -> None:
    """Minute quotes of two strikes over a day in which the index fell by 1.5 %."""
    folder = data_path("equity/lean")
    with zipfile.ZipFile(folder / "index/usa/minute/spx/20210104_trade.zip") as file:
        minutes = [line.split(",") for line in file.read(file.namelist()[0]).decode().splitlines()]
    index = {int(minute[0]) + 3_600_000: float(minute[4]) for minute in minutes}  # Chicago's clock to New York's
    quotes: dict[int, dict[float, dict[str, tuple[float, float]]]] = defaultdict(lambda: defaultdict(dict))
    with zipfile.ZipFile(folder / "indexoption/usa/minute/spxw/20210104_quote_european.zip") as file:
        for name in file.namelist():
            *_, cp, strike, expiry = name.removesuffix(".csv").split("_")
            if expiry == "20210104":
                for line in file.read(name).decode().splitlines():
                    fields = line.split(",")
                    if fields[4] and fields[9]:
                        sides = float(fields[4]) / 1e4, float(fields[9]) / 1e4
                        quotes[int(fields[0])][int(strike) / 1e4][cp] = sides
    off = []
    for time, strikes in quotes.items():
        rows = [(strike, *pair["call"], *pair["put"]) for strike, pair in strikes.items() if len(pair) == 2]
        found = solve(rows, inverse=False)
        if found.status == KernelStatus.OK and time in index:
            off.append((found.forward - index[time]) / index[time])
    assert len(off) > 100
    assert abs(np.median(off)) < 5e-5
    assert np.quantile(np.abs(off), 0.9) < 5e-4


def test_spy_puts_and_calls_below_the_spot_give_a_rate_near_the_banks() -> None:
    """American options, end of day: below the spot neither side is worth exercising early but for dividends."""
    spot = 382.44
    with data_path("equity/lean/interest-rate_usa.csv").open() as file:
        (credit,) = (float(rate) / 100 for day, rate in csv.reader(file) if day == "2022-12-15")
    expiries: dict[float, list[tuple[float, ...]]] = defaultdict(list)
    with data_path("equity/optionsdx/spy_20221230.csv").open() as file:
        names = [name.strip("[] ") for name in next(csv.reader(file))]
        for values in csv.reader(file):
            row = dict(zip(names, (value.strip() for value in values), strict=False))
            sides = (row["STRIKE"], row["C_BID"], row["C_ASK"], row["P_BID"], row["P_ASK"])
            if all(sides) and -0.35 < math.log(float(row["STRIKE"]) / spot) < -0.05 and float(row["DTE"]) > 20:
                expiries[float(row["DTE"]) / 365].append(tuple(map(float, sides)))
    assert len(expiries) > 15
    rates, carries = [], []
    for ttm, rows in expiries.items():
        found = solve(rows, inverse=False, discount=math.nan)
        assert found.status == KernelStatus.OK
        rates.append(-math.log(found.discount) / ttm)
        carries.append(math.log(found.forward / spot) / ttm)
    assert abs(np.median(rates) - credit) < 0.015
    assert 0.025 < min(carries) < max(carries) < 0.045  # the rate less SPY's dividends of 1.6 %
