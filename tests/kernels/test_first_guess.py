"""The first guess of an implied volatility: as near as its derivation says, so good that one step ends the search."""

from __future__ import annotations

import csv
import json
import runpy
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from pricer.kernels import black76, implied_vol
from pricer.kernels.implied_vol import CORRECTION, INVERSE, LEAST_VALUE, UPPER_SHARE, direct_vols, guess
from pricer.kernels.status import KernelStatus
from tests.data import CHECKOUT, data_path

# The error that the derivation promises.
PROMISED = 4e-4

YEAR_MS = 365 * 86_400_000
Columns = tuple[np.ndarray, ...]


@pytest.fixture(scope="module")
def derivation() -> dict[str, Any]:
    digits = mp.mp.dps
    found = runpy.run_path(str(CHECKOUT / "docs" / "derivations" / "implied_vol_guess.py"))
    mp.mp.dps = digits
    return found


def test_it_is_as_near_as_promised_all_over_its_domain(derivation: dict[str, Any]) -> None:
    assert derivation["SHARE_MAX"] == UPPER_SHARE
    rng = np.random.default_rng(3)
    s = np.concatenate([rng.uniform(1e-3, derivation["S_MAX"], 500), 10.0 ** rng.uniform(-6.0, 0.0, 200)])
    h = -37.0 * rng.random(700) ** 3
    h[::4] = -(10.0 ** rng.uniform(-9.0, 0.0, 175))
    worst, count = 0.0, 0
    for si, hi in zip(s.tolist(), h.tolist(), strict=True):
        x = -hi * si
        with mp.workdps(40):
            log_value = derivation["log_value"](hi, si / 2)
            inside = mp.log(LEAST_VALUE) < log_value < mp.log(UPPER_SHARE) - x / 2
        if inside:
            worst = max(worst, abs(guess(float(mp.exp(log_value)), x) / si - 1.0))
            count += 1
    assert count > 600
    assert worst < PROMISED  # over thousands: 3.7e-4


def test_its_inverse_of_bacheliers_price_is_that_of_the_derivation(derivation: dict[str, Any]) -> None:
    with mp.workdps(40):
        found, error = derivation["inverse_fit"]()
    np.testing.assert_allclose(found, INVERSE, rtol=1e-6)  # another linear algebra library rounds otherwise
    assert error < 1.6e-4


@pytest.mark.long
def test_its_lognormal_correction_is_that_of_the_derivation(derivation: dict[str, Any]) -> None:
    with mp.workdps(40):
        found, error = derivation["correction_fit"]()
    np.testing.assert_allclose(found, [c for row in CORRECTION for c in row], rtol=1e-6)
    assert error < 1.3e-4


def recorded() -> Iterator[tuple[str, Columns]]:
    """(name, premium, forward, strike, ttm and cp) of every quote and mark of two recorded Deribit chains."""
    with data_path("deribit/raw_ticker_snapshot_2026-06-27/deribit_snapshot.json").open() as file:
        snapshot = json.load(file)
    listed = {instrument["instrument_name"]: instrument for instrument in snapshot["instruments"]}
    rows = [(listed[ticker["instrument_name"]], ticker) for ticker in snapshot["tickers"].values()]
    option = (
        np.array([ticker["underlying_price"] for _, ticker in rows]),
        np.array([instrument["strike"] for instrument, _ in rows]),
        np.array([(instrument["expiration_timestamp"] - ticker["timestamp"]) / YEAR_MS for instrument, ticker in rows]),
        np.array([1.0 if instrument["option_type"] == "call" else -1.0 for instrument, _ in rows]),
    )
    for name in ("best_bid_price", "best_ask_price", "mark_price"):
        yield name, (np.array([float(ticker[name]) for _, ticker in rows]) * option[0], *option)

    with data_path("deribit/eth_book_summary_2024-01-08/deribit_options.csv").open() as file:
        book = list(csv.DictReader(file))
    option = (
        np.array([float(row["underlying_price"]) for row in book]),
        np.array([float(row["strike_price"]) for row in book]),
        np.array([(expiry_ms(row["expire_date"]) - float(row["creation_timestamp"])) / YEAR_MS for row in book]),
        np.array([1.0 if row["option_type"] == "C" else -1.0 for row in book]),
    )
    for name in ("bid_price", "ask_price", "mid_price", "mark_price"):
        yield name, (np.array([float(row[name] or "nan") for row in book]) * option[0], *option)


def expiry_ms(date: str) -> float:
    """08:00 UTC of a date like 26JAN24."""
    return datetime.strptime(date.title(), "%d%b%y").replace(hour=8, tzinfo=UTC).timestamp() * 1e3


def fallbacks(columns: Columns) -> tuple[int, int]:
    """(volatilities found, those of them by `bracketed_vol`) of columns of premium, forward, strike, ttm and cp."""
    premium, forward, strike, ttm, cp = columns
    direct, out, status = np.empty(len(cp)), np.empty(len(cp)), np.empty(len(cp), np.uint8)
    direct_vols(premium, forward, strike, ttm, cp, direct)
    implied_vol.implied_vol_chain(premium, forward, strike, ttm, cp, out, status)
    found = status == KernelStatus.OK
    return int(found.sum()), int((found & np.isnan(direct)).sum())


def test_M11_no_recorded_quote_takes_the_fallback_solver() -> None:
    total = 0
    for name, columns in recorded():
        found, searched = fallbacks(columns)
        assert searched == 0, name
        total += found
    assert total > 2_500


def test_M11_nor_does_one_in_a_million_prices_about_the_recorded_chain() -> None:
    """Each mark's volatility from half to twice, its forward within a tenth: a million options."""
    rng = np.random.default_rng(11)
    mark = dict(list(recorded())[:3])["mark_price"]
    premium, forward, strike, ttm, cp = mark
    vols, status = np.empty(len(cp)), np.empty(len(cp), np.uint8)
    implied_vol.implied_vol_chain(premium, forward, strike, ttm, cp, vols, status)
    rows = rng.choice(np.flatnonzero(status == KernelStatus.OK), 1_000_000)
    _, forward, strike, ttm, cp = (column[rows] for column in mark)
    forward = forward * rng.uniform(0.9, 1.1, len(rows))
    sigma = vols[rows] * 2.0 ** rng.uniform(-1.0, 1.0, len(rows))
    priced, codes = np.empty(len(rows)), np.empty(len(rows), np.uint8)
    black76.price_chain(forward, strike, ttm, sigma, cp, priced, codes)
    found, searched = fallbacks((priced, forward, strike, ttm, cp))
    assert found > 900_000
    assert searched / found < 1e-6
