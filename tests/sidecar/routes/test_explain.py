"""`explain`: every step is redone with fifty digits, from its formula and inputs alone, up to what was published."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import mpmath
import pytest
from mpmath import mpf

from pricer.conventions import DYNAMICS, Dynamics, Reason
from pricer.engine import EngineSettings
from pricer.sidecar.meanings import MEANINGS
from tests.data import CHECKOUT
from tests.scene import SECOND
from tests.sidecar.fitted import MONTH, Fitted

WORDS = {"ln": mpmath.log, "sqrt": mpmath.sqrt, "N": mpmath.ncdf, "n": mpmath.npdf}


@pytest.fixture(autouse=True)
def fifty_digits() -> Iterator[None]:
    """For these tests alone: the precision is the whole process's."""
    with mpmath.workdps(50):
        yield


async def explained(fitted: Fitted, name: str) -> dict[str, Any]:
    answer = await fitted.get(f"/v1/instrument/{name}?explain=true")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


def by_hand(formula: str, inputs: dict[str, Any]) -> Any:
    """What a reader would do: the formula as it stands, with its inputs, in fifty digits."""
    python = formula.partition(":")[0].replace("^", "**")
    return eval(python, {"__builtins__": {}}, WORDS | {name: mpf(value) for name, value in inputs.items()})


def close(found: Any, wanted: float, digits: int) -> bool:
    return bool(abs(found - mpf(wanted)) <= mpf(10) ** -digits * max(abs(mpf(wanted)), mpf(10) ** -12))


@pytest.mark.parametrize("dynamics", DYNAMICS)
async def test_every_step_can_be_redone_by_hand(dynamics: Dynamics) -> None:
    fitted = Fitted(engine=EngineSettings(dynamics=dynamics))
    for option in ("70000-P", "70000-C", "100000-C", "115000-P", "130000-C"):
        redo(await explained(fitted, f"{MONTH}-{option}"))


def redo(body: dict[str, Any]) -> None:
    """Every step, alone."""
    steps = body["explain"]["steps"]
    for step in steps:
        result = by_hand(step["formula"], step["inputs"])
        # In doubles a price deep in the money loses no more than three digits of sixteen.
        assert close(result, step["value"], 12), step
        if "published" in step:
            assert close(result, step["published"], 8), step
            assert step["published"] == body[step["field"]]
    fields = {step.get("field") for step in steps}
    assert {"iv", "price", "theo", "delta", "delta_coin", "delta_cash", "delta_spot"} <= fields
    assert {"delta_premium_adjusted", "delta_cash_premium_adjusted", "gamma", "vega", "theta"} <= fields


async def test_the_steps_hang_together_from_the_first_inputs_to_the_published_numbers() -> None:
    body = await explained(Fitted(), f"{MONTH}-105000-C")
    steps = {step["symbol"]: step for step in body["explain"]["steps"]}
    time, smile, forward = (body["explain"][name] for name in ("time", "surface", "forward"))
    known: dict[str, Any] = {name: mpf(value) for name, value in smile["params"].items()}
    known |= {"expiry_ns": time["expiry_ns"], "priced_ns": time["priced_ns"], "year_ns": time["year_ns"]}
    known |= {"F": mpf(forward["used"]), "K": mpf(body["strike"]), "cp": 1, "S": mpf(body["index"]["value"])}
    for symbol, step in steps.items():
        inputs = {name: known[name] for name in step["inputs"]}  # nothing but what stands before it
        known[symbol] = by_hand(step["formula"], inputs)
        if "published" in step:
            assert close(known[symbol], step["published"], 8), step
    assert steps["T"]["value"] == time["ttm"] == (time["expiry_ns"] - time["priced_ns"]) / time["year_ns"]
    assert smile["model"] == "svi"
    assert forward["source"] == "venue"
    assert forward["parity"] is not None


async def test_quotes_that_entered_the_fit_are_named_with_their_weights() -> None:
    fitted = Fitted()
    body = await explained(fitted, f"{MONTH}-105000-C")
    quotes = body["explain"]["quotes"]
    assert len(quotes["observations"]) == len(fitted.scene.strikes)
    assert quotes["own_role"] == {"role": "mid", "reasons": []}
    mine = next(each for each in quotes["observations"] if each["name"] == f"{MONTH}-105000-C")
    assert mine["weight"] == 1.0
    assert mine["bid_iv"] < body["iv"] < mine["ask_iv"]
    other = await explained(fitted, f"{MONTH}-105000-P")
    assert other["explain"]["quotes"]["own_role"]["role"] == "other_side"


async def test_why_a_number_is_not_ok_is_told_with_its_evidence() -> None:
    fitted = Fitted()
    fitted.clock.advance(20 * SECOND)
    body = await explained(fitted, f"{MONTH}-105000-C")
    why = {each["of"]: each for each in body["explain"]["why"]}
    assert set(why) == {"bid_iv", "ask_iv", "mid_iv", "iv, theo, Greeks"}
    stale = why["bid_iv"]["because"][0]
    assert (why["bid_iv"]["status"], stale["reason"]) == ("STALE", "QUOTE_STALE")
    assert stale["evidence"] == {"quote_age_ns": 20 * SECOND, "late_by_ns": 8 * SECOND}
    own = why["iv, theo, Greeks"]["because"][0]
    assert (own["reason"], own["evidence"]["late_by_ns"]) == ("UNDERLYING_STALE", 18 * SECOND)


async def test_a_strike_outside_the_quotes_says_how_far() -> None:
    fitted = Fitted()
    gone = [fitted.scene.quote(each, bid=math.nan, ask=math.nan) for each in fitted.scene.instruments()]
    fitted.clock.advance(SECOND)
    outer = [quote for quote in gone if quote.instrument.startswith(f"{MONTH}-130000")]
    fitted.tell(fitted.scene.index(), *outer)
    fitted.publish()
    body = await explained(fitted, f"{MONTH}-130000-C")
    (own,) = [each for each in body["explain"]["why"] if each["of"].startswith("iv")]
    (because,) = [each for each in own["because"] if each["reason"] == "EXTRAPOLATED"]
    evidence = because["evidence"]
    assert evidence["k_min"] < evidence["k_max"] < evidence["k"]
    assert evidence["k"] == pytest.approx(math.log(130_000 / 100_500))


async def test_an_option_without_a_number_has_no_step_beyond_the_last_that_is_known() -> None:
    fitted = Fitted()
    fitted.clock.advance(SECOND)
    halted = fitted.scene.quote(next(iter(fitted.scene.instruments())), state="halted")
    fitted.tell(halted)
    fitted.publish()
    body = await explained(fitted, halted.instrument)
    assert (body["status"], body["iv"]) == ("INVALID", None)
    assert [step["symbol"] for step in body["explain"]["steps"]] == ["T", "k"]
    assert body["explain"]["why"][-1]["because"][0]["reason"] == "NOT_TRADING"


def test_every_reason_is_explained_in_the_words_of_the_conventions() -> None:
    text = (CHECKOUT / "docs" / "conventions.md").read_text(encoding="utf-8")
    written = {
        Reason[name]: words
        for name, words in re.findall(r"^\| \d+ \| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
        if name in Reason.__members__
    }
    assert written == MEANINGS
    assert set(MEANINGS) == set(Reason)
