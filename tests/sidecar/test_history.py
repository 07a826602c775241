"""The last hour in memory: at what pace, what is a gap, what goes, what it costs, and the paths that give it out."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import httpx
import numpy as np
import pytest

from pricer.clock import ManualClock
from pricer.conventions import NS_PER_DAY, Status, ttm_years
from pricer.sidecar.history import History, Limits
from pricer.sidecar.smile_points import points_of
from pricer.snapshot import FIELD_INDEX, Snapshot
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.svi import SviParams, SviSmile
from tests.handmade import NOW, SECOND
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Market, Source

PARAMS = SviParams(0.0002, 0.018, -0.12, 0.002, 0.02)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def market(clock: ManualClock) -> Market:
    return Market(clock)


def fitted(market: Market, expiry: int = 0) -> SviSmile:
    """Give an expiry a smile."""
    block = market.blocks[expiry]
    smile = SviSmile(block.ttm, block.forward.value, PARAMS)
    fit = cast(SurfaceSlice, SimpleNamespace(smile=smile, forward=smile.forward, ttm=smile.ttm))
    market.blocks[expiry] = replace(block, fit=fit)
    return smile


def run(history: History, market: Market, clock: ManualClock, seconds: float, step_s: float = 0.25) -> None:
    """Sample as the publisher does, over a market that keeps confirming its quotes."""
    for _ in range(round(seconds / step_s)):
        market.confirm()
        history.sample(market.snapshot())
        clock.advance(round(step_s * SECOND))


def expiry_of(history: History, market: Market, expiry: int = 0, **more: Any) -> dict[str, Any]:
    return history.of_expiries("deribit", "BTC", expiry_ns=market.definitions[expiry].key.expiry_ns, **more)


def option_of(history: History, market: Market, row: int, expiry: int = 0, **more: Any) -> dict[str, Any] | None:
    return history.of_option("deribit", "BTC", market.definitions[expiry].names[row], **more)


def test_expiries_are_sampled_each_second_and_options_each_ten(market: Market, clock: ManualClock) -> None:
    history = History()
    fitted(market)
    run(history, market, clock, 30)
    times = expiry_of(history, market)["time_ns"]
    assert times[0] == NOW.wall_ns
    assert np.diff(times).tolist() == [SECOND] * 29
    option = option_of(history, market, 4)
    assert option is not None
    assert np.diff(option["time_ns"]).tolist() == [10 * SECOND] * 2


def test_samples_that_were_missed_stay_missing_and_the_pace_is_found_again(market: Market, clock: ManualClock) -> None:
    history = History()
    fitted(market)
    run(history, market, clock, 3)
    clock.advance(round(60.6 * SECOND))  # nobody came round
    run(history, market, clock, 4)
    seconds = (expiry_of(history, market)["time_ns"] - NOW.wall_ns) / SECOND
    assert seconds[:4].tolist() == [0, 1, 2, 63.6]
    assert np.diff(seconds[4:]).tolist() == pytest.approx([1.0] * len(seconds[5:]))
    assert len(seconds) >= 6


def test_the_figures_are_those_of_the_published_smile_at_the_moment_of_the_sample(
    market: Market, clock: ManualClock
) -> None:
    history = History()
    smile = fitted(market)
    run(history, market, clock, 2)
    columns = expiry_of(history, market, digits=15)
    expiry_ns = market.definitions[0].key.expiry_ns
    for i, wall_ns in enumerate(columns["time_ns"].tolist()):
        ttm = ttm_years(expiry_ns, wall_ns)
        expected = points_of(smile.at(smile.forward, ttm))
        found = [columns[name][i] for name in ("atm_iv", "rr25", "bf25", "ttm")]
        assert found == pytest.approx([*expected, ttm], rel=1e-12)
    assert columns["forward"].tolist() == [market.blocks[0].forward.value] * 2
    assert columns["status"].tolist() == [Status.OK] * 2


def test_an_option_is_kept_in_float32_with_the_status_of_each_number(market: Market, clock: ManualClock) -> None:
    history = History()
    run(history, market, clock, 1)
    for row in range(len(market.definitions[0])):
        block, found = market.blocks[0], option_of(history, market, row)
        if row == len(market.definitions[0]) - 2:  # no quote and no number: nothing to show of it yet
            assert found is not None
            assert found["time_ns"].size == 0
            continue
        assert found is not None
        for name in ("iv", "bid_iv", "ask_iv", "delta", "vega", "theo"):
            assert found[name][0] == pytest.approx(block.values[FIELD_INDEX[name], row], rel=1e-6, nan_ok=True)
        mid = 0.5 * (block.values[FIELD_INDEX["bid"], row] + block.values[FIELD_INDEX["ask"], row])
        assert found["mid"][0] == pytest.approx(mid, rel=1e-6, nan_ok=True)
        assert found["status"][0] == block.status[3, row]
        assert found["bid_iv_status"][0] == block.status[0, row]
        assert found["mid_status"][0] == (Status.INVALID if math.isnan(mid) else Status.OK)


def test_what_is_stale_by_the_clock_is_a_gap_although_the_engine_says_nothing(
    market: Market, clock: ManualClock
) -> None:
    history = History()
    fitted(market)
    snapshot = market.snapshot()
    for _ in range(21):
        history.sample(snapshot)  # the engine is silent; forwards live 2 s, quotes 12 s
        clock.advance(SECOND)
    columns = expiry_of(history, market)
    assert columns["status"].tolist() == [Status.OK] * 3 + [Status.STALE] * 18
    assert columns["forward_status"].tolist() == [Status.OK] * 3 + [Status.STALE] * 18
    for name in ("atm_iv", "rr25", "bf25", "forward", "ttm"):
        assert np.isnan(columns[name]).tolist() == [False] * 3 + [True] * 18
    option = option_of(history, market, 4)
    assert option is not None
    assert option["bid_iv_status"].tolist() == [Status.OK, Status.OK, Status.STALE]
    assert option["mid_status"].tolist() == [Status.OK, Status.OK, Status.STALE]
    assert np.isnan(option["iv"]).tolist() == [False, True, True]
    assert np.isnan(option["mid"]).tolist() == [False, False, True]


def test_an_expiry_without_a_smile_has_no_figures_whatever_its_options_say(market: Market, clock: ManualClock) -> None:
    history = History()
    run(history, market, clock, 1)
    columns = expiry_of(history, market)
    assert columns["status"].tolist() == [Status.INVALID]
    assert math.isnan(columns["atm_iv"][0])
    assert columns["forward"][0] == market.blocks[0].forward.value


def test_the_rings_keep_an_hour_and_no_more(market: Market, clock: ManualClock) -> None:
    history = History(Limits(kept_ns=20 * SECOND))
    fitted(market)
    run(history, market, clock, 47, step_s=1)
    times = (expiry_of(history, market)["time_ns"] - NOW.wall_ns) // SECOND
    assert times.tolist() == list(range(27, 47))
    option = option_of(history, market, 4)
    assert option is not None
    assert ((option["time_ns"] - NOW.wall_ns) // SECOND).tolist() == [30, 40]


def test_only_what_is_after_since_and_thinned_evenly_where_that_is_too_much(market: Market, clock: ManualClock) -> None:
    history = History()
    fitted(market)
    run(history, market, clock, 100, step_s=1)
    assert expiry_of(history, market, since_ns=NOW.wall_ns + 97 * SECOND)["time_ns"].size == 2
    thinned = expiry_of(history, market, most=30)["time_ns"]
    assert np.diff(thinned).tolist() == [4 * SECOND] * 24
    run(history, market, clock, 2, step_s=1)
    again = expiry_of(history, market, most=30)["time_ns"]
    assert set(thinned) <= set(again)  # the same samples, not others in between


def test_expiries_that_vanish_are_dropped_and_strikes_that_are_listed_join(market: Market, clock: ManualClock) -> None:
    history = History()
    run(history, market, clock, 11)
    kept = market.definitions[0].names[4]
    before = history.of_option("deribit", "BTC", kept)
    market.list_strike(0, 12)
    del market.blocks[2], market.definitions[2]
    run(history, market, clock, 10)
    after = history.of_option("deribit", "BTC", kept)
    assert before is not None
    assert after is not None
    assert after["iv"][: before["iv"].size].tolist() == before["iv"].tolist()
    assert after["iv"].size == before["iv"].size + 1
    new = history.of_option("deribit", "BTC", market.definitions[0].names[2])
    assert new is not None
    assert len(history.expiries("deribit", "BTC")) == 2
    assert len(history) == 24 + 20
    clock.advance(SECOND)
    history.sample(replace(market.snapshot(), blocks=()))
    assert len(history) == 0
    assert history.nbytes == 0


def test_N06_N07_history_joins_samples_of_the_same_contract_only(market: Market, clock: ManualClock) -> None:
    history = History()
    run(history, market, clock, 11)
    before = [option_of(history, market, row) for row in range(6)]
    definition = market.definitions[0]
    strike, cp, contract_size = definition.strike.copy(), definition.cp.copy(), definition.contract_size.copy()
    strike[2], cp[3], contract_size[4] = strike[2] + 500.0, -cp[3], 10.0
    same: dict[str, Any] = {"tick_size": 5.0 * definition.tick_size, "min_amount": 10.0 * definition.min_amount}
    others: dict[str, Any] = {"strike": strike, "cp": cp, "contract_size": contract_size}
    for changes in (same, others):
        block = market.blocks[0]
        market.blocks[0] = replace(block, definition=replace(block.definition, **changes))
        run(history, market, clock, 10)
    after = [option_of(history, market, row) for row in range(6)]
    sizes = [(old["iv"].size, new["iv"].size) for old, new in zip(before, after, strict=True) if old and new]
    assert sizes == [(2, 4), (2, 4), (2, 1), (2, 1), (2, 1), (2, 4)]


def thousand(clock: ManualClock) -> Snapshot:
    """1,014 options of 13 expiries, each with a smile."""
    market = Market(clock, expiries=13, strikes=39)
    for i in range(13):
        fitted(market, i)
    return market.snapshot()


def test_a_thousand_options_take_less_than_16_mib_and_a_sample_of_them_a_millisecond_or_two(
    clock: ManualClock,
) -> None:
    history, snapshot = History(), thousand(clock)
    history.sample(snapshot)
    assert len(history) == 1014
    assert 8e6 < history.nbytes < 16 * 1024 * 1024
    assert history.nbytes == 1014 * 11_520 + 13 * 151_200  # as the module says
    took = []
    for _ in range(20):
        clock.advance(10 * SECOND)
        begin = time.thread_time()
        history.sample(snapshot)
        took.append(time.thread_time() - begin)
    assert min(took) < 0.01  # every tenth sample; 1.5 ms where it was written, with room for a busy machine


def test_what_is_beyond_the_bound_is_not_recorded_and_counted_once(market: Market, clock: ManualClock) -> None:
    history = History(Limits(max_bytes=2 * (20 * 11_520 + 151_200) + 1))
    run(history, market, clock, 5)
    assert history.nbytes <= history.limits.max_bytes
    assert history.expiries("deribit", "BTC") == tuple(d.key.expiry_ns for d in market.definitions[:2])
    assert history.counts["refused_expiries"] == 1
    del market.blocks[0], market.definitions[0]
    run(history, market, clock, 1)
    assert history.expiries("deribit", "BTC") == tuple(d.key.expiry_ns for d in market.definitions)


def test_a_wall_clock_that_steps_back_changes_dates_and_not_the_pace(market: Market, clock: ManualClock) -> None:
    history = History()
    fitted(market)
    run(history, market, clock, 3)
    clock.set(clock.now()._replace(wall_ns=clock.now().wall_ns - 3600 * SECOND))
    run(history, market, clock, 3)
    seconds = (expiry_of(history, market)["time_ns"] - NOW.wall_ns) // SECOND
    assert seconds.tolist() == [0, 1, 2, -3597, -3596, -3595]


# ---- over HTTP


async def test_the_paths_answer_with_columns_statuses_and_the_moment() -> None:
    clock = ManualClock(NOW)
    market, source = Market(clock), Source()
    fitted(market)
    source.publish(market.snapshot())
    day = market.definitions[0].key.expiry_ns // NS_PER_DAY
    label = str(np.datetime64(int(day), "D")) + "T00:00"
    name = market.definitions[0].names[4]
    async with running(source) as address, httpx.AsyncClient(timeout=60, base_url=address, trust_env=False) as client:

        async def body(path: str, status: int = 200) -> dict[str, Any]:
            answer = await client.get(f"v1/history/{path}")
            assert answer.status_code == status, answer.text
            assert status != 200 or answer.headers["cache-control"] == "no-store"
            return dict(answer.json())

        everything = await body("BTC")
        while not everything["columns"]["time_ns"]:  # the publisher has not come round yet
            everything = await body("BTC")
        assert everything["interval_ns"] == SECOND
        assert everything["kept_ns"] == 3600 * SECOND
        assert len(everything["session"]) == 32
        assert set(everything["columns"]["expiry_ns"]) == {d.key.expiry_ns for d in market.definitions}
        one = await body(f"BTC?expiry={label}")
        assert one["columns"]["expiry_ns"] == [market.definitions[0].key.expiry_ns]
        assert one["columns"]["status"] == ["OK"]
        assert 0.5 < one["columns"]["atm_iv"][0] < 1.5
        assert (await body(f"BTC?since={2**63 - 1}"))["columns"]["time_ns"] == []
        option = await body(f"BTC/{name}")
        assert option["instrument"] == name
        assert option["interval_ns"] == 10 * SECOND
        assert option["columns"]["iv"] == [0.6]
        assert option["columns"]["mid_status"] == ["OK"]

        assert "'DOGE'" in (await body("DOGE", 404))["detail"]
        assert "'nasdaq'" in (await body("BTC?venue=nasdaq", 404))["detail"]
        assert "no expiry" in (await body("BTC?expiry=tomorrow", 422))["detail"]
        assert "'2031-12-27'" in (await body("BTC?expiry=2031-12-27", 404))["detail"]
        assert "'BTC-1-C'" in (await body("BTC/BTC-1-C", 404))["detail"]
        await body("BTC?since=-1", 422)
        await body(f"BTC?since={2**63}", 422)
        metrics = (await client.get("metrics")).text
        told = dict(line.split(" ") for line in metrics.splitlines() if line.startswith("volstream_history_"))
        assert float(told["volstream_history_bytes"]) == 60 * 11_520 + 3 * 151_200
        assert float(told["volstream_history_limit_bytes"]) == 64 * 1024 * 1024
