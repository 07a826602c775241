"""The grammar of names, and instrument objects of every year."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest

from pricer.adapters.deribit.instruments import (
    currency_of,
    index_of,
    instrument_from_name,
    instrument_from_wire,
    parse_future_name,
    parse_option_name,
)
from pricer.adapters.instruments import SliceKey, TickStep
from tests.adapters.deribit_frames import EXPIRY_NS, NOW, fixture


def from_wire(item: dict[str, Any]) -> tuple[Any, Counter[str]]:
    noted: Counter[str] = Counter()

    def note(oddity: str) -> None:
        noted[oddity] += 1

    return instrument_from_wire(item, NOW.wall_ns, note), noted


def call() -> dict[str, Any]:
    item = fixture("instruments_btc")["result"][0]
    assert isinstance(item, dict)
    return item


@pytest.mark.parametrize(
    ("name", "family", "strike", "cp"),
    [
        ("BTC-27DEC24-100000-C", "BTC", 100000.0, 1),
        ("BTC-8JUN20-8750-P", "BTC", 8750.0, -1),
        ("DOGE_USDC-24JAN25-0d128-C", "DOGE_USDC", 0.128, 1),
        ("MATIC_USDC-9MAR24-1d02-C", "MATIC_USDC", 1.02, 1),
        ("XRP_USDC-30JUN23-0d10-P", "XRP_USDC", 0.1, -1),
    ],
)
def test_option_names_are_parsed_exactly_and_put_together_again(name: str, family: str, strike: float, cp: int) -> None:
    parsed = parse_option_name(name)
    assert parsed is not None
    assert (parsed.family, float(parsed.strike), parsed.cp) == (family, strike, cp)
    assert str(parsed) == name


@pytest.mark.parametrize(
    "name",
    [
        "btc-27DEC24-100000-C",
        "DOGE_USDC-24JAN25-0D128-C",
        "BTC-08JUN20-8750-P",
        "BTC-31FEB25-8750-P",
        "BTC-30XYZ25-8750-P",
        "BTC-27DEC24-100000",
        "BTC-27DEC24-1e5-C",
        "BTC-27DEC24--5-C",
        "BTC-CS-19MAY26-70000_75000",
        "BTC-PERPETUAL",
        "BTC-٢٧DEC24-100000-C",
        "BTC-27DEC24-100000-C\n",
        "B" * 100 + "-27DEC24-100000-C",
        "",
    ],
)
def test_other_names_are_no_options(name: str) -> None:
    assert parse_option_name(name) is None
    found = instrument_from_name(name)
    assert found is None or found.kind != "option"


def test_options_expire_at_eight_utc() -> None:
    parsed = parse_option_name("BTC-12MAR25-65000-C")
    assert parsed is not None
    assert parsed.expiry_ns == EXPIRY_NS


def test_futures_and_perpetuals_have_names_of_their_own() -> None:
    assert parse_future_name("BTC-PERPETUAL") == ("BTC", None)
    assert parse_future_name("ETH_USDC-PERPETUAL") == ("ETH_USDC", None)
    assert parse_future_name("BTC-12MAR25") == ("BTC", EXPIRY_NS)
    for name in ("BTC-FS-25DEC26_PERP", "BTC-12MAR25-65000-C", "BTC", "BTC-31FEB25"):
        assert parse_future_name(name) is None


def test_families_have_their_index_and_their_currency() -> None:
    assert (index_of("BTC"), currency_of("BTC")) == ("btc_usd", "BTC")
    assert (index_of("SOL_USDC"), currency_of("SOL_USDC")) == ("sol_usdc", "USDC")


def test_an_inverse_option_is_taken_over_field_by_field() -> None:
    found, noted = from_wire(call())
    assert not noted
    assert found.slice_key == SliceKey("deribit", "btc_usd", EXPIRY_NS)
    assert (found.underlying, found.kind, found.strike, found.cp) == ("BTC", "option", 65000.0, 1)
    assert (found.settlement, found.quote_currency, found.counter_currency) == ("inverse", "BTC", "USD")
    assert (found.contract_size, found.min_amount, found.tick_size) == (1.0, 0.1, 0.0001)
    assert found.tick_steps == (TickStep(0.005, 0.0005),)
    assert (found.tick_at(0.0049), found.tick_at(0.005)) == (0.0001, 0.0005)


@pytest.mark.parametrize("name", ["BTC-\r\n\x1b[31m-1-C", "BTC-\u202e1-C", "BTC-<b>-C", "BTC-" + "9" * 61, "BTC-1 2-C"])
def test_Z06_a_name_that_could_not_be_shown_safely_is_refused(name: str) -> None:
    found, noted = from_wire(call() | {"instrument_name": name})
    assert found is None
    assert noted == {"bad_instrument": 1}


def test_a_linear_option_is_settled_in_usdc() -> None:
    found, noted = from_wire(fixture("instruments_usdc")["result"][0])
    assert not noted
    assert (found.name, found.strike, found.underlying) == ("DOGE_USDC-28MAR25-0d128-C", 0.128, "DOGE_USDC")
    assert (found.price_index, found.settlement) == ("doge_usdc", "linear")
    assert (found.quote_currency, found.counter_currency, found.settlement_currency) == ("USDC", "USDC", "USDC")


def test_objects_of_2021_are_completed_from_the_name() -> None:
    found, noted = from_wire(fixture("instruments_2021")["result"][0])
    assert not noted
    assert (found.price_index, found.settlement, found.counter_currency) == ("btc_usd", "inverse", "USD")
    assert (found.settlement_currency, found.tick_steps, found.state) == ("BTC", (), "open")


@pytest.mark.parametrize("bad", [None, 0, -1, "1735300800000", True, 1e400, [], 253402300800000])
def test_C12_an_expiry_that_cannot_be_true_comes_from_the_name(bad: object) -> None:
    found, _ = from_wire({**call(), "expiration_timestamp": bad})
    assert found.expiry_ns == EXPIRY_NS


def test_C12_without_any_usable_expiry_there_is_no_instrument() -> None:
    found, noted = from_wire({**call(), "instrument_name": "BTC-SOON-65000-C", "expiration_timestamp": 0})
    assert found is None
    assert noted["bad_instrument"] == 1


@pytest.mark.parametrize("bad", [None, 0.0, -5.0, "65000", True, math.nan, {}])
def test_a_strike_that_is_no_number_comes_from_the_name(bad: object) -> None:
    found, _ = from_wire({**call(), "strike": bad})
    assert found.strike == 65000.0


def test_fields_win_over_a_name_that_disagrees_and_it_is_noted() -> None:
    found, noted = from_wire({**call(), "strike": 65001.0})
    assert found.strike == 65001.0
    assert noted["name_disagrees"] == 1


def test_sizes_that_are_no_numbers_are_no_value() -> None:
    found, noted = from_wire(
        {**call(), "tick_size": "0.0005", "min_trade_amount": -1, "tick_size_steps": [1, {}, None]}
    )
    assert math.isnan(found.tick_size)
    assert math.isnan(found.min_amount)
    assert found.tick_steps == ()
    assert noted == {"bad_field.tick_size": 1, "bad_field.min_trade_amount": 1}


def test_an_unknown_state_is_not_taken_for_open() -> None:
    found, noted = from_wire({**call(), "state": "dreaming"})
    assert found.state == "unknown"
    assert noted["unknown_state"] == 1


@pytest.mark.parametrize("item", [{}, {"instrument_name": 5}, {"instrument_name": "x"}, {"instrument_name": "-"}])
def test_an_object_that_is_no_instrument_is_none(item: dict[str, Any]) -> None:
    assert from_wire(item)[0] is None


@pytest.mark.parametrize("kind", ["option_combo", "future_combo", "spot", None, 5])
def test_other_kinds_in_a_list_are_passed_over(kind: object) -> None:
    assert from_wire({**call(), "kind": kind}) == (None, {"other_kind": 1})


def test_a_future_is_named_like_a_future() -> None:
    assert from_wire({**call(), "kind": "future"}) == (None, {"bad_instrument": 1})


def test_C07_expiries_agree_with_the_calendar_on_every_day_of_the_century() -> None:
    """Leap days, 2038 and the rest, against numpy's proleptic calendar."""
    days = np.arange(np.datetime64("2000-01-01"), np.datetime64("2100-01-01"))
    for day in days:
        code = day.astype(object).strftime("%d%b%y").upper().lstrip("0")
        parsed = parse_option_name(f"BTC-{code}-100000-C")
        assert parsed is not None, code
        assert parsed.expiry_ns == int(day.astype("datetime64[ns]").astype(np.int64)) + 8 * 3600 * 10**9, code


@pytest.mark.parametrize("code", ["29FEB23", "29FEB27", "31APR26", "0JAN26", "30FEB24"])
def test_C07_days_that_do_not_exist_are_no_expiries(code: str) -> None:
    assert parse_option_name(f"BTC-{code}-100000-C") is None
