"""The displayed numbers, against an independent Black formula and against what the real venue displayed."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from pricer.conventions import NS_PER_YEAR
from pricer.simulator.valuation import black, display_greeks, display_iv
from tests.data import data_path


def plain_black(forward: float, strike: float, ttm: float, sigma: float, cp: float) -> float:
    s = sigma * math.sqrt(ttm)
    d1 = math.log(forward / strike) / s + 0.5 * s
    cdf = [0.5 * math.erfc(-cp * d / math.sqrt(2.0)) for d in (d1, d1 - s)]
    return cp * (forward * cdf[0] - strike * cdf[1])


def arrays(*columns: list[float]) -> list[Any]:
    return [np.array(column) for column in columns]


def test_a_displayed_volatility_reprices_the_quote() -> None:
    forward, strike, ttm, cp = arrays([60_000.0] * 3, [50_000.0, 60_000.0, 80_000.0], [0.1] * 3, [-1.0, 1.0, 1.0])
    premium = np.array([800.0, 3_000.0, 150.0])
    shown = display_iv(premium, black(forward, strike, ttm, np.full(3, 0.5), cp))
    for n in range(3):
        low, high = (plain_black(60_000.0, strike[n], 0.1, (shown[n] + d) / 100.0, cp[n]) for d in (-0.005, 0.005))
        assert low <= premium[n] <= high


def test_an_empty_side_and_a_quote_below_intrinsic_show_zero() -> None:
    forward, strike, ttm, cp = arrays([60_000.0] * 3, [50_000.0] * 3, [0.1] * 3, [1.0] * 3)
    shown = display_iv(np.array([0.0, 9_999.0, 10_000.0]), black(forward, strike, ttm, np.full(3, 0.5), cp))
    assert shown.tolist() == [0.0, 0.0, 0.0]


@pytest.fixture(scope="module")
def recorded() -> list[tuple[Any, Any]]:
    path = data_path("deribit/raw_ticker_snapshot_2026-06-27") / "deribit_snapshot.json"
    snapshot = json.loads(path.read_text())
    return [(item, snapshot["tickers"][item["instrument_name"]]) for item in snapshot["instruments"]]


def test_the_recorded_tickers_greeks_are_reproduced_from_their_mark_iv(recorded: list[tuple[Any, Any]]) -> None:
    forward = np.array([t["underlying_price"] for _, t in recorded])
    strike = np.array([i["strike"] for i, _ in recorded])
    ttm = np.array([(i["expiration_timestamp"] - t["timestamp"]) * 1e6 / NS_PER_YEAR for i, t in recorded])
    cp = np.array([1.0 if i["option_type"] == "call" else -1.0 for i, _ in recorded])
    mark_iv = np.array([t["mark_iv"] for _, t in recorded])
    # The venue's own volatility has more digits than it shows, which the bounds cover; its Greeks may be seconds older
    # than their stamp, which the slack covers.
    bounds = [
        display_greeks(black(forward, strike, ttm, (mark_iv + shift) / 100.0, cp)) for shift in (-0.006, 0.0, 0.006)
    ]
    model = black(forward, strike, ttm, mark_iv / 100.0, cp)
    for name in ("delta", "gamma", "vega", "theta", "rho"):
        shown = np.array([t["greeks"][name] for _, t in recorded])
        candidates = np.stack([b[name] for b in bounds])
        slack = 5e-5 + 3e-4 * np.abs(shown)
        if name == "theta":  # where the premium is the bound, the venue takes it at a forward that it does not show
            bounded = np.abs(bounds[1][name] + model.price) < 1e-5
            assert 20 < bounded.sum() < 30
            slack = 5e-5 + np.where(bounded, 0.04, 0.003) * np.abs(shown)
        outside = (shown < candidates.min(axis=0) - slack) | (shown > candidates.max(axis=0) + slack)
        assert outside.sum() == 0, (name, [recorded[n][0]["instrument_name"] for n in np.flatnonzero(outside)])


def test_in_the_last_day_theta_is_the_decay_of_the_remaining_life_and_at_most_the_premium() -> None:
    forward, strike, cp = arrays([60_000.0] * 2, [60_000.0, 64_000.0], [1.0, 1.0])
    half_a_day = np.full(2, 0.5 / 365.0)
    model = black(forward, strike, half_a_day, np.full(2, 0.3), cp)
    theta = display_greeks(model)["theta"]
    assert theta[0] == pytest.approx(model.theta[0] / 365.0 * 0.5, abs=1e-5)
    assert theta[1] == pytest.approx(-model.price[1], abs=1e-5)
