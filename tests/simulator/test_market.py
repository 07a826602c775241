"""The market by itself: universe, prices, quotes, expiry, determinism; no sockets."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pricer.conventions import NS_PER_DAY, NS_PER_YEAR
from pricer.simulator.market import Chain, Market, Spot
from tests.data import data_path
from tests.simulator.test_valuation import plain_black

START = int(datetime(2026, 11, 21, 14, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
STEP = 100_000_000
EIGHT = int(datetime(2026, 11, 22, 8, tzinfo=UTC).timestamp()) * 1_000_000_000


def sides(chain: Chain) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return chain.rows["bid"] > 0.0, chain.rows["ask"] > 0.0


@pytest.fixture(scope="module")
def market() -> Market:
    """A market one minute into its life."""
    market = Market(7, START)
    for n in range(600):
        market.step(START + (n + 1) * STEP)
    return market


def test_the_universe_is_as_large_as_asked(market: Market) -> None:
    btc, usdc = market.chains["BTC"], market.chains["BTC_USDC"]
    assert len(btc.slices) >= 9
    assert len(btc.names) >= 600
    assert len(usdc.slices) >= 3
    assert len(set(btc.names)) == len(btc.names)
    assert 80_000.0 < btc.index < 125_000.0


def test_every_option_shows_numbers_of_its_own_instant(market: Market) -> None:
    for chain in market.chains.values():
        rows = chain.rows
        coin = rows["forward"] if chain.family.inverse else np.ones(rows.size)
        assert (market.now_ns - rows["quoted_ns"]).max() < 5_000_000_000
        for row in rows[::7]:
            ttm = (int(row["expiry_ns"]) - int(row["quoted_ns"])) / NS_PER_YEAR
            priced = [
                plain_black(row["forward"], row["strike"], ttm, row["mark_iv"] / 100.0 + d, row["cp"])
                for d in (-6e-5, 6e-5)
            ]
            factor = row["forward"] if chain.family.inverse else 1.0
            assert min(priced) - 6e-5 * factor <= row["mark"] * factor <= max(priced) + 6e-5 * factor
        assert (rows["ask"][sides(chain)[1]] * coin[sides(chain)[1]] > 0.0).all()


def test_bid_and_ask_volatilities_reprice_their_quotes(market: Market) -> None:
    chain = market.chains["BTC"]
    for row in chain.rows[::5]:
        ttm = (int(row["expiry_ns"]) - int(row["quoted_ns"])) / NS_PER_YEAR
        for side in ("bid", "ask"):
            shown = float(row[f"{side}_iv"])
            premium = float(row[side] * row["forward"])
            intrinsic = max(row["cp"] * (row["forward"] - row["strike"]), 0.0)
            if shown == 0.0:
                assert premium <= intrinsic * (1 + 1e-12) or premium == 0.0
                continue
            low, high = (
                plain_black(row["forward"], row["strike"], ttm, shown / 100 + d, row["cp"]) for d in (-6e-5, 6e-5)
            )
            assert low - 1e-6 <= premium <= high + 1e-6


def test_quotes_lie_on_the_price_grid_uncrossed_inside_the_price_band(market: Market) -> None:
    for chain in market.chains.values():
        ticks, rows = chain.family.ticks, chain.rows
        has_bid, has_ask = sides(chain)
        both = has_bid & has_ask
        assert (rows["bid"][both] < rows["ask"][both]).all()
        for side, has in (("bid", has_bid), ("ask", has_ask)):
            price, size = rows[side], rows[f"{side}_size"]
            steps = price / np.where(price > ticks.above, ticks.coarse, ticks.fine)
            np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
            assert ((size > 0.0) == has).all()
            assert (price[has] <= rows["max_price"][has]).all()
            assert (price[has] >= rows["min_price"][has]).all()


def test_the_model_mark_lies_inside_almost_every_quote(market: Market) -> None:
    rows = market.chains["BTC"].rows
    both = np.logical_and(*sides(market.chains["BTC"]))
    inside = (rows["bid"] - 5e-5 <= rows["mark"]) & (rows["mark"] <= rows["ask"] + 5e-5)
    assert inside[both].mean() > 0.98


@pytest.fixture(scope="module")
def real() -> list[Any]:
    path = data_path("deribit/raw_ticker_snapshot_2026-06-27") / "deribit_snapshot.json"
    snapshot = json.loads(path.read_text())
    return [{**item, **snapshot["tickers"][item["instrument_name"]]} for item in snapshot["instruments"]]


def out_of_the_money(real: list[Any]) -> list[Any]:
    cp = {"call": 1.0, "put": -1.0}
    return [t for t in real if cp[t["option_type"]] * (t["strike"] - t["underlying_price"]) > 0 < t["best_bid_price"]]


def quantiles(values: Any) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.quantile(np.asarray(values, float), [0.25, 0.5, 0.75])
    return result


@pytest.mark.parametrize("seed", [1, 7, 42])
def test_shares_of_empty_sides_and_of_bids_below_intrinsic_are_those_of_the_venue(seed: int, real: list[Any]) -> None:
    chain = Market(seed, START).chains["BTC"]
    has_bid, has_ask = sides(chain)
    both = has_bid & has_ask
    below = (chain.rows["bid_iv"] == 0.0) & both
    real_both = [t for t in real if t["best_bid_price"] > 0 < t["best_ask_price"]]
    real_below = sum(t["bid_iv"] == 0 for t in real_both) / len(real_both)
    assert below.sum() / both.sum() == pytest.approx(real_below, abs=0.06)
    real_one_sided = sum((t["best_bid_price"] > 0) != (t["best_ask_price"] > 0) for t in real) / len(real)
    assert (has_bid != has_ask).mean() == pytest.approx(real_one_sided, abs=0.03)
    # The recorded selection ends before the wings where books are empty; the full listing has them.
    assert 0.02 < (~has_bid & ~has_ask).mean() < 0.2


def test_out_of_the_money_spreads_are_those_of_the_venue_in_ticks_and_in_vol_points(real: list[Any]) -> None:
    chain = Market(7, START).chains["BTC"]
    rows = chain.rows[np.logical_and(*sides(chain))]
    rows = rows[rows["cp"] * (rows["strike"] - rows["forward"]) > 0.0]
    theirs = out_of_the_money(real)

    def ticks(bid: Any, ask: Any) -> NDArray[np.float64]:
        steps: NDArray[np.float64] = (np.asarray(ask) - np.asarray(bid)) / np.where(np.asarray(bid) < 0.005, 1e-4, 5e-4)
        return steps

    ours = quantiles(ticks(rows["bid"], rows["ask"]))
    real_ticks = ticks([t["best_bid_price"] for t in theirs], [t["best_ask_price"] for t in theirs])
    np.testing.assert_allclose(ours, quantiles(real_ticks), atol=1.1)
    np.testing.assert_allclose(
        quantiles(rows["ask_iv"] - rows["bid_iv"]), quantiles([t["ask_iv"] - t["bid_iv"] for t in theirs]), rtol=0.4
    )


def test_the_same_seed_and_instants_give_the_same_market_and_another_seed_another() -> None:
    markets = [Market(seed, START) for seed in (3, 3, 4)]
    for n in range(50):
        for market in markets:
            market.step(START + n * STEP)
    first, second, other = (m.chains["BTC"].rows.tobytes() for m in markets)
    assert first == second
    assert first != other


def test_activity_is_the_share_of_options_that_requote_and_all_do_within_five_seconds() -> None:
    market = Market(7, START, activity=0.1)
    options = sum(len(c.names) for c in market.chains.values())
    quoted = 0
    for n in range(100):
        changes = market.step(START + (n + 1) * STEP)
        quoted += sum(len(rows) for rows in changes.quoted.values())
        for chain in market.chains.values():
            assert (market.now_ns - chain.rows["quoted_ns"]).max() < 5_000_000_000
    assert 0.07 < quoted / 100 / options < 0.15
    assert 500 < quoted / 10.0 < 1_500  # messages a second


def test_a_jump_of_spot_brings_the_makers_back_at_once() -> None:
    market = Market(7, START, activity=0.0)
    market.spot.price *= 1.01
    for n in range(12):
        market.step(START + (n + 1) * STEP)
    rows = market.chains["BTC"].rows
    assert (np.abs(rows["forward"] / market.spot.price - 1.0) < 0.05).all()
    assert (rows["quoted_ns"] > START).mean() > 0.99


def test_forwards_of_the_last_day_are_the_index_and_of_other_days_synthetic() -> None:
    chain = Market(7, START).chains["BTC"]
    names = [chain.underlying_index(e.expiry_ns, START) for e in chain.slices]
    assert names[:4] == ["index_price", "SYN.BTC-23NOV26", "SYN.BTC-24NOV26", "SYN.BTC-25NOV26"]
    assert names[4:] == [f"BTC-{e.code}" for e in chain.slices[4:]]
    assert chain.forwards[0] == chain.index
    assert (np.diff(chain.forwards) > 0.0).all()


def test_index_is_published_every_second_or_after_a_move_of_a_basis_point() -> None:
    market = Market(7, START)
    published = [bool(market.step(START + (n + 1) * STEP).indexes) for n in range(300)]
    assert 29 <= sum(published) <= 60
    market.spot.price *= 1.002
    assert market.step(START + 301 * STEP).indexes == ("BTC", "BTC_USDC")


def test_at_eight_an_expiry_goes_and_a_new_one_comes() -> None:
    market = Market(7, EIGHT - 2_000_000_000)
    chain = market.chains["BTC"]
    old = [name for name in chain.names if "-22NOV26-" in name]
    assert old
    assert not market.step(EIGHT - 1_000_000).rolled
    changes = market.step(EIGHT)
    assert changes.rolled
    assert chain.past is not None
    assert chain.past.names == old
    assert not set(old) & set(chain.names)
    assert chain.slices[0].expiry_ns == EIGHT + NS_PER_DAY
    fresh = changes.listed["BTC"]
    assert [name for name in fresh if "-26NOV26-" in name]
    assert set(fresh) <= set(chain.names)
    assert set(chain.row_of[name] for name in fresh) <= set(changes.quoted["BTC"])
    assert (chain.rows["expiry_ns"] > market.now_ns).all()
    assert not market.step(EIGHT + STEP).rolled


def test_a_future_expires_with_its_options() -> None:
    friday = int(datetime(2026, 12, 4, 8, tzinfo=UTC).timestamp()) * 1_000_000_000
    market = Market(7, friday - 1_000_000_000)
    assert "BTC-4DEC26" in market.chains["BTC"].futures
    market.step(friday)
    past = market.chains["BTC"].past
    assert past is not None
    assert list(past.futures) == ["BTC-4DEC26"]
    assert "BTC-4DEC26" not in market.chains["BTC"].futures
    assert "BTC-PERPETUAL" in market.chains["BTC"].futures


def test_the_delivery_price_is_the_average_index_of_the_last_half_hour() -> None:
    begin = EIGHT - 40 * 60 * 10**9
    market = Market(7, begin)
    chain = market.chains["BTC"]
    seen = []
    for n in range(1, 241):
        market.step(begin + n * 10_000_000_000)
        if n == 30:
            assert market.estimated_delivery(chain, EIGHT, chain.index) == chain.index
        if 60 <= n < 240:
            seen.append(market.published)
            assert market.estimated_delivery(chain, EIGHT, chain.index) == pytest.approx(np.mean(seen), abs=0.01)
    assert market.delivery_prices["BTC"] == pytest.approx(np.mean([*seen, market.published]), abs=0.01)
    assert market.estimated_delivery(chain, EIGHT + NS_PER_DAY, chain.index) == chain.index


def test_a_wall_clock_that_steps_back_leaves_prices_where_they_are() -> None:
    market = Market(7, START)
    market.step(START + STEP)
    before = market.spot.price
    changes = market.step(START - 3_600 * 10**9)
    assert market.spot.price == before
    assert not changes.rolled


def test_a_frozen_market_keeps_its_spot_and_thaws_with_the_same_draws() -> None:
    frozen, free = Market(7, START), Market(7, START)
    frozen.frozen = True
    before = frozen.spot.price
    for n in range(10):
        frozen.step(START + (n + 1) * STEP)
        free.step(START + (n + 1) * STEP)
    assert frozen.spot.price == before != free.spot.price


def test_spot_has_about_its_long_volatility_and_jumps_now_and_then() -> None:
    rng = np.random.default_rng(11)
    spot, prices = Spot(100_000.0), [100_000.0]
    for _ in range(20_000):
        spot.step(60.0, np.array([*rng.normal(size=3), rng.random()]))
        prices.append(spot.price)
    returns = np.diff(np.log(prices))
    assert np.std(returns) * math.sqrt(365 * 1440) == pytest.approx(0.55, abs=0.15)
    assert np.abs(returns).max() > 6.0 * np.median(np.abs(returns)) / 0.6745


def test_a_strike_listed_by_hand_is_there_after_the_next_step_and_quoted() -> None:
    market = Market(7, START)
    call, put = market.list_strike("BTC", "26MAR27", 123_500.0)
    assert (call, put) == ("BTC-26MAR27-123500-C", "BTC-26MAR27-123500-P")
    chain = market.chains["BTC"]
    assert call not in chain.row_of
    changes = market.step(START + STEP)
    assert changes.listed["BTC"] == [call, put]
    assert {chain.row_of[call], chain.row_of[put]} <= set(changes.quoted["BTC"])
    assert (chain.rows["mark"][[chain.row_of[call], chain.row_of[put]]] > 0.0).all()
    with pytest.raises(LookupError, match="no expiry 1JAN20"):
        market.list_strike("BTC", "1JAN20", 1.0)


def test_new_strikes_are_listed_when_spot_has_moved_away() -> None:
    market = Market(7, START)
    highest = market.chains["BTC"].rows["strike"].max()
    market.spot.price *= 1.05
    assert market.step(START + STEP).listed == {}  # looked at once a minute
    changes = market.step(START + 61 * 10**9)
    assert changes.listed["BTC"]
    assert market.chains["BTC"].rows["strike"].max() > highest
    assert market.step(START + 122 * 10**9).listed == {}


def test_an_option_or_a_whole_expiry_can_be_taken_off_for_good() -> None:
    market = Market(7, START)
    chain = market.chains["BTC"]
    one = chain.names[0]
    of_march = [name for name in chain.names if "-26MAR27-" in name]
    market.expire(one)
    market.expire("BTC-26MAR27")
    changes = market.step(START + STEP)
    assert changes.gone["BTC"].names == [one, *of_march]
    assert list(changes.gone["BTC"].futures) == ["BTC-26MAR27"]
    assert "BTC_USDC" not in changes.gone
    market.spot.price *= 1.05
    assert market.step(START + 61 * 10**9).listed["BTC"]
    assert not {one, *of_march} & set(chain.names)
    assert "BTC-26MAR27" not in chain.futures
    assert "26MAR27" not in {e.code for e in chain.slices}


def test_halted_instruments_stand_still_until_they_are_open_again() -> None:
    market = Market(7, START)
    chain = market.chains["BTC"]
    name, row = chain.names[5], chain.rows[5].copy()
    market.set_state(name, "halted")
    market.set_state("BTC-PERPETUAL", "halted")
    assert market.step(START + STEP).states == {name: "halted", "BTC-PERPETUAL": "halted"}
    bid = chain.futures["BTC-PERPETUAL"].bid
    for n in range(60):
        assert 5 not in market.step(START + (n + 2) * STEP).quoted["BTC"]
    assert chain.rows[5] == row or np.isnan(row["last"])
    assert chain.rows["quoted_ns"][5] == row["quoted_ns"]
    assert chain.futures["BTC-PERPETUAL"].bid == bid
    assert market.state_of(name) == "halted"
    market.set_state(name, "open")
    assert 5 in market.step(START + 70 * STEP).quoted["BTC"]
    assert market.state_of(name) == "open"


def test_delivery_prices_go_back_a_month_and_grow_at_eight() -> None:
    market = Market(7, EIGHT - 10**9)
    chain = market.chains["BTC"]
    assert [ns for ns, _ in chain.deliveries] == [EIGHT - (n + 1) * NS_PER_DAY for n in range(30)]
    market.step(EIGHT)
    assert chain.deliveries[0] == (EIGHT, market.delivery_prices["BTC"])
    assert len(chain.deliveries) == 31
