"""The filters of the channel `chain` in an address: the rows and columns that a subscription would have."""

from __future__ import annotations

from typing import Any

import pytest

from pricer.conventions import NS_PER_DAY
from pricer.sidecar.protocol import StreamKey
from pricer.snapshot import STATUS_PAIRS, VALUE_FIELDS
from tests.sidecar.fitted import Fitted

EXPIRY = "2026-10-21"  # of the scene: 30 days from its beginning


@pytest.fixture(scope="module")
def quiet() -> Fitted:
    return Fitted()


async def columns(quiet: Fitted, query: str = "") -> dict[str, list[Any]]:
    answer = await quiet.get(f"/v1/chain/BTC{query}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["columns"])


async def test_expiries_are_the_nearest_or_those_of_a_date(quiet: Fitted) -> None:
    everything = sorted(set((await columns(quiet))["expiry_ns"]))
    assert sorted(set((await columns(quiet, "?expiries=first:2"))["expiry_ns"])) == everything[:2]
    wanted = [each for each in everything if each // NS_PER_DAY == everything[1] // NS_PER_DAY]
    for text in (EXPIRY, "21OCT26", f"{EXPIRY},21oct26"):
        assert set((await columns(quiet, f"?expiries={text}"))["expiry_ns"]) == set(wanted)
    head = (await quiet.get(f"/v1/chain/BTC?expiries={EXPIRY}")).json()
    assert [each["expiry_ns"] for each in head["expiries"]] == wanted


async def test_strikes_are_a_window_around_the_forward(quiet: Fitted) -> None:
    whole = await columns(quiet, f"?expiries={EXPIRY}")
    forward = (await quiet.get(f"/v1/chain/BTC?expiries={EXPIRY}")).json()["expiries"][0]["forward"]["value"]
    strikes = sorted(set(whole["strike"]))
    near = await columns(quiet, f"?expiries={EXPIRY}&strikes=percent:10")
    assert sorted(set(near["strike"])) == [each for each in strikes if abs(each / forward - 1.0) <= 0.1]
    counted = sorted(set((await columns(quiet, f"?expiries={EXPIRY}&strikes=count:2"))["strike"]))
    below = [each for each in strikes if each < forward][-2:]
    assert counted == [*below, *[each for each in strikes if each >= forward][:2]]
    wings = await columns(quiet, f"?expiries={EXPIRY}&strikes=delta:0.25")
    assert 0 < len(wings["name"]) < len(whole["name"])


async def test_columns_are_those_asked_for_with_their_statuses(quiet: Fitted) -> None:
    found = await columns(quiet, "?columns=iv,bid_iv")
    assert set(found) & set(VALUE_FIELDS) == {"iv", "bid_iv"}
    assert {"status", "reasons", "bid_iv_status"} <= set(found)
    assert not {f"{name}_status" for name in STATUS_PAIRS[:-1]} - {"bid_iv_status"} & set(found)


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [
        ("expiries=2031-01-03", "unknown_expiry", "there are 2026-"),
        ("expiries=2026-10-21,3JAN31", "unknown_expiry", "'3JAN31'"),
        ("expiries=soon", "bad_request", "'soon' is no date"),
        (
            "expiries=first:0",
            "invalid",
            "expiries: write first:n, n from 1 to 1000, or at most 64 dates by commas, not 'first:0'",
        ),
        ("strikes=count:1e99", "invalid", "strikes: '1e99' is no whole number"),
        ("strikes=percent:-1", "invalid", "strikes.percent"),
        ("strikes=count:1.5", "invalid", "'1.5' is no whole number"),
        ("strikes=delta:0.1:0.2", "invalid", "'0.1:0.2' is no number"),
        ("columns=", "invalid", "no column ''"),
        ("columns=IV", "invalid", "'IV'"),
    ],
)
async def test_what_no_chain_has_is_422_and_leaves_no_stream_behind(
    quiet: Fitted, query: str, code: str, said: str
) -> None:
    before = len(quiet.hub.streams)
    answer = await quiet.get(f"/v1/chain/BTC?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert said in answer.json()["detail"]
    assert len(quiet.hub.streams) == before


async def test_equal_filters_are_one_stream_and_one_answer(quiet: Fitted) -> None:
    first = await quiet.get("/v1/chain/BTC?columns=iv,delta&expiries=21OCT26")
    again = await quiet.get(f"/v1/chain/BTC?expiries={EXPIRY}&columns=delta,iv")
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])


async def test_forwards_are_those_of_their_channel(quiet: Fitted) -> None:
    channel = quiet.hub.current(StreamKey("forward", "deribit", "BTC")).snapshot().columns
    assert channel is not None
    prices = (await quiet.get("/v1/forward/BTC")).json()["prices"]
    assert [each["kind"] for each in prices] == channel["kind"]
    assert [each["expiry_ns"] for each in prices[2:]] == list(channel["expiry_ns"])[2:]
    assert [each["status"] for each in prices] == ["OK"] * len(prices)
    for name in ("value", "ttm", "bid", "ask", "funding", "basis"):
        shown = [None if value != value else value for value in list(channel[name])]
        assert [each[name] for each in prices] == shown, name
    for name in ("exchange_ns", "received_ns", "valid_until_ns"):
        assert [each[name] for each in prices] == list(channel[name]), name
    parity = [each["parity"]["value"] for each in prices[2:]]
    assert parity == list(channel["parity"])[2:]
