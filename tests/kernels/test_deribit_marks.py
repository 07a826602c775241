"""Our numbers against a real venue: 330 Deribit tickers, taken one by one on 2026-06-27.

Marks are published with 4 decimals (in coin), mark_iv, bid_iv and ask_iv with 2 (in points), Greeks with 5. The first
expiry was 22.6 hours away; its `underlying_price` is the index (no future expires then), while its marks look made with
a forward 9 USD higher. That explains every larger residual below, and none of it can be taken from a ticker.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import pytest

import pricer
from pricer.kernels.chain import SCRATCH_ROWS, quote_ivs
from pricer.kernels.status import KernelStatus
from tests.data import data_path

HALF_IV_STEP = 0.5e-4  # half of 0.01 volatility points
HALF_MARK_STEP = 0.5e-4
FIRST_TICK = 1e-4  # coin; the smallest step of a price


class Market(NamedTuple):
    tickers: list[dict[str, Any]]
    forward: np.ndarray
    strike: np.ndarray
    ttm: np.ndarray
    cp: np.ndarray
    mark_iv: np.ndarray
    last_day: np.ndarray

    def column(self, name: str) -> np.ndarray:
        return np.array([ticker[name] for ticker in self.tickers], float)

    def option(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.forward, self.strike, self.ttm, self.mark_iv, self.cp


class Quotes(NamedTuple):
    iv: np.ndarray  # bid, ask, mid
    status: np.ndarray
    venue: np.ndarray  # the venue's bid_iv and ask_iv; 0 where it gives none
    price: np.ndarray  # bid and ask in coin


@pytest.fixture(scope="module")
def market() -> Market:
    path = data_path("deribit/raw_ticker_snapshot_2026-06-27/deribit_snapshot.json")
    with path.open() as file:
        snapshot = json.load(file)
    listed = {instrument["instrument_name"]: instrument for instrument in snapshot["instruments"]}
    tickers = list(snapshot["tickers"].values())
    assert len(tickers) == 330
    instruments = [listed[ticker["instrument_name"]] for ticker in tickers]
    year_ms = 365 * 86_400_000
    ttm = np.array(
        [(i["expiration_timestamp"] - t["timestamp"]) / year_ms for i, t in zip(instruments, tickers, strict=True)]
    )
    return Market(
        tickers,
        np.array([ticker["underlying_price"] for ticker in tickers]),
        np.array([instrument["strike"] for instrument in instruments]),
        ttm,
        np.array([1.0 if instrument["option_type"] == "call" else -1.0 for instrument in instruments]),
        np.array([ticker["mark_iv"] for ticker in tickers]) / 100,
        ttm < 1 / 365,
    )


@pytest.fixture(scope="module")
def quotes(market: Market) -> Quotes:
    n = len(market.tickers)
    # A zero bid or ask price is "no quote" on this venue.
    bid, ask = (
        np.where(market.column(name) > 0, market.column(name), np.nan) for name in ("best_bid_price", "best_ask_price")
    )
    iv, status, scratch = np.empty((3, n)), np.empty((3, n), np.uint8), np.empty((SCRATCH_ROWS, 3 * n))
    tick = np.full(n, 1e-4)
    columns = (bid, ask, market.forward, market.ttm, market.strike, market.cp, tick)
    quote_ivs(np.arange(n), n, *columns, True, iv, status, scratch)
    return Quotes(iv, status, np.array([market.column("bid_iv"), market.column("ask_iv")]) / 100, np.array([bid, ask]))


def test_mark_iv_reprices_the_mark(market: Market) -> None:
    """Beyond the last day 94 % within half a display step and all within two; in the last day all within 2.3e-4."""
    error = np.abs(pricer.price(*market.option()) / market.forward - market.column("mark_price"))
    assert (error[~market.last_day] <= HALF_MARK_STEP).mean() > 0.94
    assert np.median(error) < 3e-5
    assert error[~market.last_day].max() < 1.7e-4
    assert error[market.last_day].max() < 2.3e-4


def test_a_forward_nine_dollars_higher_explains_the_marks_of_the_last_day(market: Market) -> None:
    forward, *rest = market.option()
    error = np.abs(pricer.price(forward + 9.0, *rest) / forward - market.column("mark_price"))[market.last_day]
    assert (error <= 1.2 * HALF_MARK_STEP).mean() > 0.9
    assert error.max() < 1e-4


@pytest.mark.parametrize(
    ("name", "tolerance"),
    # Beyond what half a step of mark_iv moves the Greek, and half of its own display step.
    [("delta", 4e-6), ("gamma", 0.0), ("vega", 8e-4), ("rho", 8e-4), ("theta", 8e-4)],
)
def test_venue_greeks_are_the_venues_own(market: Market, name: str, tolerance: float) -> None:
    """Every ticker beyond the last day: vega to 170 and theta to 107 USD agree to 8e-4, gamma to all its decimals."""
    forward, strike, ttm, sigma, cp = market.option()
    ours = getattr(pricer.venue_greeks("deribit", forward, strike, ttm, sigma, cp), name)
    moved = [
        np.abs(getattr(pricer.venue_greeks("deribit", forward, strike, ttm, sigma + step, cp), name) - ours)
        for step in (-HALF_IV_STEP, HALF_IV_STEP)
    ]
    theirs = np.array([ticker["greeks"][name] for ticker in market.tickers])
    excess = np.abs(ours - theirs) - np.maximum(*moved) - 0.51e-5
    rows = ~market.last_day
    assert excess[rows].max() <= tolerance
    assert rows.sum() == 280


@pytest.mark.parametrize(("name", "tolerance"), [("delta", 4.1e-5), ("gamma", 1e-9), ("vega", 1.4e-3), ("rho", 4e-4)])
def test_venue_greeks_of_the_last_day(market: Market, name: str, tolerance: float) -> None:
    found = getattr(pricer.venue_greeks("deribit", *market.option()), name)
    theirs = np.array([ticker["greeks"][name] for ticker in market.tickers])
    assert np.abs(found - theirs)[market.last_day].max() <= tolerance


def test_what_remains_of_theta_in_the_last_day(market: Market) -> None:
    """0.2 % where the premium does not bound it; 4 % where it does, from a forward that the venue does not publish."""
    found = pricer.venue_greeks("deribit", *market.option())
    price = pricer.greeks(*market.option()).price
    theirs = np.array([ticker["greeks"]["theta"] for ticker in market.tickers])
    rows = market.last_day
    assert rows.sum() == 50
    assert np.abs(found.theta / theirs - 1)[rows].max() < 0.04
    free = rows & (found.theta > -0.9 * price)
    assert free.sum() > 20
    assert np.abs(found.theta / theirs - 1)[free].max() < 2e-3


@pytest.mark.parametrize("side", [0, 1], ids=["bid_iv", "ask_iv"])
def test_quote_ivs_are_the_venues_own(market: Market, quotes: Quotes, side: int) -> None:
    """238 bids and 330 asks: to 2e-4 of volatility, or a tenth of a tick of premium in 7 asks of low vega."""
    given = quotes.venue[side] > 0
    assert given.sum() == (238, 330)[side]
    assert (quotes.status[side, given] == KernelStatus.OK).all()
    error = np.abs(quotes.iv[side] - quotes.venue[side])
    vega = pricer.greeks(market.forward, market.strike, market.ttm, quotes.iv[side], market.cp).vega
    in_coin = error * vega / market.forward
    close = error <= 2e-4
    assert (close | (in_coin <= 0.1 * FIRST_TICK))[given].all()
    assert (~close & given).sum() == (0, 7)[side]


def test_where_the_venue_gives_no_bid_iv_the_bid_is_below_intrinsic_or_absent(quotes: Quotes) -> None:
    none = quotes.venue[0] == 0
    bid = quotes.price[0]
    assert none.sum() == 92
    assert (quotes.status[0, none & np.isfinite(bid)] == KernelStatus.BELOW_INTRINSIC).all()
    assert (quotes.status[0, none & np.isnan(bid)] == KernelStatus.BAD_INPUT).all()
    assert (none & np.isnan(bid)).sum() == 20
    assert np.isnan(quotes.iv[0, none]).all()


def test_mid_iv_lies_between_wherever_it_exists(quotes: Quotes) -> None:
    bid_iv, ask_iv, mid_iv = quotes.iv
    exists = quotes.status[2] == KernelStatus.OK
    assert exists.sum() == 305
    assert (mid_iv <= ask_iv)[exists].all()
    both = exists & (quotes.status[0] == KernelStatus.OK)
    assert (bid_iv <= mid_iv)[both].all()
    two_sided = np.isfinite(quotes.price).all(axis=0)
    assert (quotes.status[2, two_sided & ~exists] == KernelStatus.BELOW_INTRINSIC).all()
    assert (quotes.status[2, ~two_sided] == KernelStatus.BAD_INPUT).all()
