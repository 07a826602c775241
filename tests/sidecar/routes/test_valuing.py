"""/v1/price and /v1/scenario: any contract from the published surface, and what it is worth elsewhere."""

from __future__ import annotations

import asyncio
import itertools
import math
import sys
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import pricer
from pricer.conventions import DYNAMICS, NS_PER_DAY, Dynamics
from pricer.expiries import expiry_iso
from pricer.sidecar.contracts import Contract, placed
from pricer.sidecar.routes.edge import Budgets
from pricer.sidecar.routes.errors import Refusal
from pricer.sidecar.routes.posted import Posted
from pricer.sidecar.routes.worker import GivenUp, Workers, check_of
from pricer.sidecar.scenarios import Axes, costs
from pricer.sidecar.slices import take_picture
from pricer.sidecar.valuation import valued
from pricer.surfaces.dynamics import moved_iv
from tests.scene import SECOND, START
from tests.sidecar.fitted import MONTH, Fitted


@pytest.fixture(scope="module")
def quiet() -> Fitted:
    """A market where nothing happens any more, for all who only ask."""
    return Fitted()


def day(days: float) -> str:
    return expiry_iso(START.wall_ns + round(days * NS_PER_DAY))


def rows(body: dict[str, Any]) -> list[dict[str, Any]]:
    columns = body["columns"]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


# ---- price


async def test_a_listed_contract_has_the_numbers_of_the_chain_however_it_is_named(quiet: Fitted) -> None:
    chain = (await quiet.get("/v1/chain/BTC")).json()["columns"]
    at = chain["name"].index(f"{MONTH}-105000-C")
    contracts = [
        {"instrument": f"{MONTH}-105000-C"},
        *({"expiry": START.wall_ns + 30 * NS_PER_DAY, "strike": 105_000, "cp": cp} for cp in ("call", "C", "c", 1)),
    ]
    answer = await quiet.post("/v1/price", {"contracts": contracts})
    for row in rows(answer.json()):
        assert {name: row[name] for name in ("iv", "theo", "delta", "ultima", "delta_spot", "status")} == {
            name: chain[name][at] for name in ("iv", "theo", "delta", "ultima", "delta_spot", "status")
        }
        assert row["name"] == f"{MONTH}-105000-C"
        assert row["valid_until_ns"] == START.mono_ns + 2 * SECOND


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_a_strike_that_is_not_listed_gets_what_the_engine_would_give_it(dynamics: Dynamics) -> None:
    fitted = Fitted(engine=pricer.EngineSettings(dynamics=dynamics))
    picture = take_picture(fitted.publish(), 9)
    listed = placed(picture, [Contract(instrument=name) for name in picture.slices[1].block.definition.names])
    known = valued(picture, listed)
    found = valued(picture, [replace(each, row=None) for each in listed])
    assert found.status.tolist() == known.status.tolist()
    np.testing.assert_allclose(found.values, known.values, rtol=1e-9, atol=1e-18)


async def test_a_strike_between_listed_ones_is_ok_and_has_no_name(quiet: Fitted) -> None:
    contracts = [{"expiry": day(30), "strike": 101_000.5, "cp": "put"}]
    (row,) = rows((await quiet.post("/v1/price", {"contracts": contracts})).json())
    assert (row["name"], row["status"], row["reasons"]) == (None, "OK", [])
    assert row["price"] == pytest.approx(pricer.price(100_500.0, 101_000.5, 30 / 365, row["iv"], "put"), rel=1e-8)
    assert row["theo"] == pytest.approx(row["price"] / row["forward"], rel=1e-8)


async def test_an_unlisted_expiry_is_on_the_surface_between_its_neighbours(quiet: Fitted) -> None:
    answer = await quiet.post("/v1/price", {"contracts": [{"expiry": day(45), "strike": 110_000, "cp": "call"}]})
    (row,) = rows(answer.json())
    surface = quiet.hub.snapshot.surface
    assert surface is not None
    ttm = 45 / 365
    assert row["ttm"] == pytest.approx(ttm, rel=1e-8)
    assert row["iv"] == pytest.approx(surface.iv(110_000.0, ttm), rel=1e-8)
    assert row["price"] == pytest.approx(pricer.price(row["forward"], 110_000.0, ttm, row["iv"], "call"), rel=1e-7)
    assert (row["status"], row["reasons"], row["settlement_currency"]) == ("OK", [], "BTC")


async def test_outside_what_was_quoted_numbers_are_extrapolated_and_say_so(quiet: Fitted) -> None:
    contracts = [
        {"expiry": day(30), "strike": 300_000, "cp": "call"},
        {"expiry": day(400), "strike": 100_000, "cp": "call"},
        {"expiry": day(2), "strike": 100_000, "cp": "call"},
    ]
    for row in rows((await quiet.post("/v1/price", {"contracts": contracts})).json()):
        assert (row["status"], row["reasons"]) == ("DEGRADED", ["EXTRAPOLATED"])
        assert row["iv"] > 0


async def test_old_numbers_are_stale_also_where_nothing_is_listed() -> None:
    fitted = Fitted()
    fitted.clock.advance(5 * SECOND)
    contracts = [{"expiry": day(days), "strike": 101_000, "cp": "call"} for days in (30, 45)]
    for row in rows((await fitted.post("/v1/price", {"contracts": contracts})).json()):
        assert row["status"] == "STALE"
        assert "UNDERLYING_STALE" in row["reasons"]


BAD = [
    ([{"instrument": "BTC-1JAN20-1-C"}], "contracts[0].instrument: no instrument 'BTC-1JAN20-1-C'"),
    ([{"instrument": f"{MONTH}-105000-C"}, {"expiry": day(30), "strike": -5, "cp": "C"}], "contracts[1].strike: "),
    ([{"expiry": day(30), "strike": 1e300, "cp": "C"}], "contracts[0].strike: "),
    ([{"expiry": "31FEB27", "strike": 5, "cp": "C"}], "contracts[0].expiry: '31FEB27' is no expiry"),
    ([{"expiry": "2020-01-01", "strike": 5, "cp": "C"}], "contracts[0].expiry: 2020-01-01T08:00Z is past"),
    ([{"expiry": day(30), "strike": 5, "cp": "straddle"}], "contracts[0].cp: "),
    ([{"expiry": day(30), "strike": 5}], "contracts[0]: give instrument, or expiry, strike and cp"),
    ([{"instrument": "x", "strike": 5}], "contracts[0]: give instrument alone"),
    ([{"instrument": "x", "junk": 5}], "contracts[0].junk: there is no such field"),
    ([], "contracts: should have at least 1 item, not 0"),
    ([{"instrument": "x"}] * 1001, "contracts: should have at most 1000 items, not "),
    ("BTC", "contracts: should be a list, not 'BTC'"),
]


@pytest.mark.parametrize(("contracts", "said"), BAD)
@pytest.mark.parametrize("path", ["/v1/price", "/v1/scenario"])
async def test_a_bad_contract_is_named_by_its_index_and_nothing_is_half_answered(
    quiet: Fitted, path: str, contracts: Any, said: str
) -> None:
    answer = await quiet.post(path, {"contracts": contracts})
    assert answer.status_code == 422
    assert set(answer.json()) == {"code", "detail"}
    assert answer.json()["detail"].startswith(said)
    assert "\n" not in answer.json()["detail"]


async def test_a_body_that_is_no_json_or_has_no_such_numbers_is_refused(quiet: Fitted) -> None:
    async with quiet.client(headers={"content-type": "application/json"}) as client:
        for body, status in (
            ("{", 400),
            ("[" * 2000, 400),
            ("[" * 5000, 422),
            ('{"contracts": [{"expiry": "30DEC26", "strike": NaN, "cp": "C"}]}', 422),
            ('{"contracts": [{"expiry": "30DEC26", "strike": 1e999, "cp": "C"}]}', 422),
            ("null", 422),
            ("x" * 300_000, 413),
        ):
            answer = await client.post("/v1/price", content=body)
            assert (answer.status_code, set(answer.json())) == (status, {"code", "detail"}), body[:40]
        form = await client.post("/v1/price", content="{}", headers={"content-type": "text/plain"})
        assert (form.status_code, form.json()["code"]) == (415, "unsupported_media_type")


# ---- scenario

AXES = {"forward_moves": [-0.2, 0.0, 0.1], "vol_shifts": [-0.05, 0.0], "days": [0.0, 5.0, 40.0]}


@pytest.mark.parametrize("dynamics", DYNAMICS)
async def test_a_scenario_is_what_the_public_functions_say_of_each_contract(quiet: Fitted, dynamics: Dynamics) -> None:
    contracts = [
        {"instrument": f"{MONTH}-105000-C", "quantity": 2},
        {"expiry": day(90), "strike": 91_000, "cp": "put", "quantity": -3.5},
    ]
    answer = await quiet.post("/v1/scenario", {"contracts": contracts, **AXES, "dynamics": dynamics})
    body = answer.json()
    assert body["dynamics"] == dynamics
    surface = quiet.hub.snapshot.surface
    assert surface is not None
    expected = []
    for move, shift, days in itertools.product(*AXES.values()):
        for i, (at, strike, cp, quantity) in enumerate(((1, 105_000.0, 1, 2), (2, 91_000.0, -1, -3.5))):
            smile = surface.smiles[at]
            assert smile is not None
            forward, ttm = 100_500.0 * (1 + move), max(smile.ttm - days / 365, 0.0)
            sigma = 0.0 if ttm == 0 else float(moved_iv(smile, strike, dynamics, forward=forward, ttm=ttm, vol=shift))
            value = quantity * pricer.price(forward, strike, ttm, sigma, cp)
            expected.append((move, shift, days, i, value, value / forward))
    found = rows(body)
    names = ("forward_move", "vol_shift", "days", "contract", "value", "value_settlement")
    assert [tuple(row[name] for name in names) for row in found] == [
        pytest.approx(each, rel=1e-6, abs=1e-6) for each in expected
    ]
    for row in found:
        i = row["contract"]
        assert row["pnl"] == pytest.approx(row["value"] - body["contracts"]["value"][i], rel=1e-6, abs=1e-4)
        settled = row["value_settlement"] - body["contracts"]["value_settlement"][i]
        assert row["pnl_settlement"] == pytest.approx(settled, rel=1e-6, abs=1e-8)
    for i, total in enumerate(body["cells"]["pnl"]):
        assert total == pytest.approx(sum(row["pnl"] for row in found[2 * i : 2 * i + 2]), rel=1e-6, abs=1e-4)


async def test_where_nothing_moves_nothing_is_gained(quiet: Fitted) -> None:
    answer = await quiet.post("/v1/scenario", {"contracts": [{"instrument": f"{MONTH}-105000-C", "quantity": 7}]})
    body = answer.json()
    assert (body["cells"]["pnl"], body["cells"]["pnl_settlement"]) == ([0.0], [0.0])
    assert body["contracts"]["value"][0] == pytest.approx(7 * body["contracts"]["price"][0], rel=1e-8)
    assert body["contracts"]["value_settlement"][0] == pytest.approx(7 * body["contracts"]["theo"][0], rel=1e-8)


async def test_a_contract_without_a_value_leaves_its_totals_without_one() -> None:
    fitted = Fitted()
    fitted.clock.advance(SECOND)
    halted = fitted.scene.quote(next(iter(fitted.scene.instruments())), state="halted")
    fitted.tell(halted, fitted.scene.index())
    fitted.publish()
    contracts = [{"instrument": halted.instrument}, {"instrument": f"{MONTH}-105000-C"}]
    body = (await fitted.post("/v1/scenario", {"contracts": contracts})).json()
    assert body["contracts"]["status"][0] == "INVALID"
    assert body["columns"]["value"][0] is None
    assert body["columns"]["value"][1] > 0
    assert (body["cells"]["value"], body["cells"]["pnl"]) == ([None], [None])


async def test_totals_alone_can_be_asked_for_and_tables_hold_what_was_asked(quiet: Fitted) -> None:
    asked = {"contracts": [{"instrument": f"{MONTH}-105000-C"}] * 2, **AXES}
    assert "columns" not in (await quiet.post("/v1/scenario", asked | {"totals_only": True})).json()
    whole = await quiet.post("/v1/scenario?format=csv", asked)
    totals = await quiet.post("/v1/scenario?format=csv", asked | {"totals_only": True})
    assert (len(whole.text.splitlines()), len(totals.text.splitlines())) == (1 + 36, 1 + 18)


async def test_Z08_what_would_cost_too_much_is_refused_before_it_begins(quiet: Fitted) -> None:
    axis = [i / 1000 for i in range(101)]
    asked = {"contracts": [{"instrument": f"{MONTH}-105000-C"}] * 20, "forward_moves": axis, "vol_shifts": axis}
    answer = await quiet.post("/v1/scenario", asked)
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_values")
    too_long = await quiet.post("/v1/scenario", asked | {"days": [float(i) for i in range(102)]})
    assert too_long.json()["detail"].startswith("days: ")
    many = [{"expiry": day(31 + i / 10), "strike": 100_000, "cp": "C"} for i in range(40)]
    assert "40 different expiries" in (await quiet.post("/v1/price", {"contracts": many})).json()["detail"]


async def test_Z08_heavy_requests_pay_more_of_an_addresss_budget() -> None:
    fitted = Fitted(max_http_per_s=20)
    axis = [i / 1000 for i in range(80)]
    asked = {"contracts": [{"instrument": f"{MONTH}-105000-C"}] * 10, "forward_moves": axis, "dynamics": "sticky_delta"}
    assert costs(10, Axes(axis, [0.0], [0.0]), "sticky_delta") > 40
    # A full bucket pays for it, however much it costs, and the rest is owed.
    assert (await fitted.post("/v1/scenario", asked)).status_code == 200
    refused = await fitted.get("/v1/chain/BTC")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1
    assert (await fitted.get("/health/live")).status_code == 200
    fitted.clock.advance(2 * SECOND)
    assert (await fitted.get("/v1/chain/BTC")).status_code == 200
    assert (await fitted.post("/v1/scenario", asked)).status_code == 429, "not full yet"
    fitted.clock.advance(2 * SECOND)
    assert (await fitted.post("/v1/scenario", asked)).status_code == 200


async def test_Z08_a_large_body_is_paid_for_by_its_size_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = Fitted(max_http_per_s=20)
    contracts = {"contracts": [{"instrument": f"{MONTH}-105000-C"}] * 1000}
    large = {"instrument": "x", "contracts": ["x" * 200_000]}
    # A full bucket pays for both, the reading and the pricing, and the rest is owed.
    assert (await fitted.post("/v1/price", contracts)).status_code == 200
    fitted.clock.advance(4 * SECOND)
    assert (await fitted.post("/v1/price", large)).status_code == 422
    monkeypatch.setattr(Posted, "checked", None)  # to be read by nobody
    assert (await fitted.post("/v1/price", large)).status_code == 429
    fitted.clock.advance(SECOND)
    assert (await fitted.post("/v1/price", large)).status_code == 429, "as much is owed as it cost"


class Asking:
    """A request of a client that leaves when told."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, str]:
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_Z08_a_job_is_given_up_when_its_client_goes_and_no_more_run_than_allowed() -> None:
    workers, client, other = Workers(jobs=1, waiting=1), Asking(), Asking()
    begun, steps = asyncio.Event(), 0
    loop = asyncio.get_running_loop()

    def endless(check: Any) -> int:
        nonlocal steps
        loop.call_soon_threadsafe(begun.set)
        while True:
            steps += 1
            check()

    first = asyncio.create_task(workers.run(client, endless))  # type: ignore[arg-type] # all it asks of a request
    await begun.wait()
    second = asyncio.create_task(workers.run(other, lambda check: 2))  # type: ignore[arg-type] # same
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (workers.running, workers.waiting) == (1, 1)
    with pytest.raises(Refusal) as caught:
        await workers.run(other, lambda check: 3)  # type: ignore[arg-type] # same
    assert (caught.value.status_code, caught.value.code) == (503, "busy")
    client.left.set()
    with pytest.raises(Refusal) as caught:
        await first
    assert caught.value.code == "client_gone"
    assert await second == 2
    assert (workers.running, workers.waiting, workers.given_up) == (0, 0, 1)
    stopped = steps
    await asyncio.sleep(0.01)
    assert steps == stopped


async def test_Z08_a_job_that_fails_leaves_no_task_behind() -> None:
    workers, before = Workers(jobs=1, waiting=1), asyncio.all_tasks()

    def refused(check: Any) -> None:
        raise Refusal(422, "no such thing")

    with pytest.raises(Refusal, match="no such thing"):
        await workers.run(Asking(), refused)  # type: ignore[arg-type] # all it asks of a request
    assert asyncio.all_tasks() == before
    assert (workers.running, workers.waiting) == (0, 0)


async def test_Z08_a_job_whose_caller_is_cancelled_leaves_no_task_and_short_turns_behind() -> None:
    workers, before, turn = Workers(jobs=1, waiting=1), asyncio.all_tasks(), sys.getswitchinterval()
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def endless(check: Any) -> None:
        loop.call_soon_threadsafe(begun.set)
        while True:
            check()

    asked = asyncio.create_task(workers.run(Asking(), endless))  # type: ignore[arg-type] # as above
    await begun.wait()
    assert sys.getswitchinterval() < turn
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert asyncio.all_tasks() == before
    assert (workers.running, workers.waiting) == (0, 0)
    assert sys.getswitchinterval() == pytest.approx(turn)


async def test_Z08_requests_that_come_in_one_turn_of_the_loop_are_counted_as_well() -> None:
    workers = Workers(jobs=1, waiting=2)
    found = await asyncio.gather(
        *(workers.run(Asking(), lambda check: 1) for _ in range(20)),  # type: ignore[arg-type] # as above
        return_exceptions=True,
    )
    assert found[:3] == [1, 1, 1]
    assert {each.code for each in found[3:] if isinstance(each, Refusal)} == {"busy"}
    assert len([each for each in found if isinstance(each, Refusal)]) == 17
    assert workers.waiting == 0


def test_Z08_the_check_gives_up_once_nobody_waits() -> None:
    gone = threading.Event()
    check = check_of(gone)
    check()
    gone.set()
    with pytest.raises(GivenUp):
        check()


def test_the_budgets_of_addresses_are_bounded_and_refill() -> None:
    fitted = Fitted()
    budgets = Budgets(10.0, fitted.clock)
    for i in range(5000):
        budgets.take(f"10.0.{i // 256}.{i % 256}", 1.0)
    assert len(budgets) == 4096
    for _ in range(20):
        budgets.take("a", 1.0)
    with pytest.raises(Refusal) as caught:
        budgets.take("a", 5.0)
    assert caught.value.headers == {"retry-after": "1"}
    fitted.clock.advance(SECOND)
    budgets.take("a", 10.0)
    assert budgets.refused == 1
    assert math.isclose(budgets.most, 20.0)
