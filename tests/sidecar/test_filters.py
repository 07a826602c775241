"""Wishes to keys: equal wishes are one stream, and what cannot be is refused by code."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from pricer.clock import Instant, ManualClock
from pricer.sidecar.channels import CHANNELS
from pricer.sidecar.filters import key_of, subject_of
from pricer.sidecar.protocol import CODES, Refused, StreamKey, Subscribe, Unsubscribe
from pricer.snapshot import VALUE_FIELDS, Snapshot
from tests.handmade import SECOND
from tests.sidecar.snapshots import Market

START = Instant(1_795_000_000 * SECOND, 1000 * SECOND)  # 2026-11-18


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return Market(ManualClock(START)).snapshot()


class Names:
    """A source that knows a perpetual."""

    def underlying_of(self, instrument: str) -> str | None:
        return {"BTC-PERPETUAL": "BTC"}.get(instrument)


def key(snapshot: Snapshot, channel: str = "chain", **fields: Any) -> StreamKey:
    given = {"op": "subscribe", "channel": channel, "underlying": "BTC", **fields}
    return key_of(Subscribe.model_validate(given), "deribit", snapshot, Names(), 100.0)


def refusal(snapshot: Snapshot, channel: str = "chain", **fields: Any) -> str:
    with pytest.raises(Refused) as refused:
        key(snapshot, channel, **fields)
    assert refused.value.code in CODES
    assert len(str(refused.value)) < 1000
    return refused.value.code


def test_a_plain_wish_narrows_nothing(snapshot: Snapshot) -> None:
    assert key(snapshot) == StreamKey("chain", "deribit", "BTC")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"columns": ["delta", "iv", "delta"]}, {"columns": ["iv", "delta"]}),
        ({"columns": list(reversed(VALUE_FIELDS))}, {}),
        ({"expiries": ["2026-11-26", "2026-11-19"]}, {"expiries": ["19NOV26", "26nov26", "19NOV26"]}),
        ({"strikes": {"count": 5}}, {"strikes": {"count": 5, "percent": None}}),
        ({"interval_ms": 100}, {}),
        ({"interval_ms": 1}, {"interval_ms": 50}),
        ({"session": "an-earlier-one", "seq": 7}, {}),
    ],
)
def test_equal_wishes_share_a_stream(snapshot: Snapshot, one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(snapshot, **one) == key(snapshot, **other)


@pytest.mark.parametrize(
    "fields",
    [
        {"columns": ["iv"]},
        {"expiries": {"first": 2}},
        {"strikes": {"percent": 5.0}},
        {"strikes": {"delta": 0.1}},
        {"interval_ms": 1000},
    ],
)
def test_other_wishes_are_other_streams_of_the_same_subject(snapshot: Snapshot, fields: dict[str, Any]) -> None:
    narrowed = key(snapshot, **fields)
    assert narrowed != key(snapshot)
    assert narrowed.subject == key(snapshot).subject


def test_what_the_filters_say_stands_in_the_key(snapshot: Snapshot) -> None:
    first = snapshot.blocks[0].key.expiry_ns
    found = key(snapshot, expiries=["2026-11-19"], strikes={"delta": 0.1}, columns=["vega", "iv"], interval_ms=250)
    assert found[4:] == (("iv", "vega"), (first,), ("delta", 0.1), 250)
    assert key(snapshot, expiries={"first": 3}).expiries == 3


@pytest.mark.parametrize(
    ("channel", "fields", "code"),
    [
        ("chain", {"columns": ["__class__"]}, "unknown_column"),
        ("chain", {"columns": []}, "bad_request"),
        ("forward", {"columns": ["delta"]}, "unknown_column"),
        ("chain", {"expiries": ["2026-12-24"]}, "unknown_expiry"),
        ("chain", {"expiries": ["tomorrow"]}, "bad_request"),
        ("chain", {"expiries": ["31FEB26"]}, "bad_request"),
        ("chain", {"expiries": ["²5DEC26"]}, "bad_request"),
        ("chain", {"strikes": {}}, "bad_request"),
        ("chain", {"strikes": {"count": 5, "delta": 0.1}}, "bad_request"),
        ("chain", {"instrument": "BTC-PERPETUAL"}, "bad_request"),
        ("health", {"expiries": {"first": 1}}, "bad_request"),
        ("forward", {"strikes": {"count": 5}}, "bad_request"),
        ("depth", {}, "bad_request"),
        ("depth", {"instrument": "BTC-1JAN70-1-C"}, "unknown_instrument"),
        ("trades", {"instrument": "BTC-1JAN70-1-C"}, "unknown_instrument"),
        ("depth", {"instrument": "BTC-PERPETUAL", "underlying": "ETH"}, "unknown_instrument"),
        ("forward", {"underlying": None}, "bad_request"),
    ],
)
def test_V06_what_cannot_be_is_refused(snapshot: Snapshot, channel: str, fields: dict[str, Any], code: str) -> None:
    assert refusal(snapshot, channel, **fields) == code


def test_an_instrument_is_an_option_of_the_chain_or_known_to_the_source(snapshot: Snapshot) -> None:
    name = snapshot.blocks[1].definition.names[3]
    assert key(snapshot, "depth", instrument=name).instrument == name
    assert key(snapshot, "trades", instrument="BTC-PERPETUAL").instrument == "BTC-PERPETUAL"
    request = Subscribe.model_validate({"op": "subscribe", "channel": "depth", "underlying": "BTC", "instrument": name})
    assert key_of(request, "deribit", snapshot) == key(snapshot, "depth", instrument=name)
    with pytest.raises(Refused, match="at okx"):
        key_of(request, "okx", snapshot)


def test_health_is_one_subject_whatever_underlying_is_named(snapshot: Snapshot) -> None:
    assert key(snapshot, "health") == key(snapshot, "health", underlying=None) == StreamKey("health", "deribit")
    leaving = Unsubscribe.model_validate({"op": "unsubscribe", "channel": "health", "underlying": "BTC"})
    assert subject_of(leaving, "deribit") == key(snapshot, "health").subject


@pytest.mark.parametrize("channel", CHANNELS)
def test_every_column_of_a_channel_can_be_chosen(snapshot: Snapshot, channel: str) -> None:
    name = {"instrument": snapshot.blocks[0].definition.names[0]} if channel == "depth" else {}
    of = CHANNELS[channel].columns
    assert key(snapshot, channel, columns=list(of), **name).columns == ()
    assert key(snapshot, channel, columns=[of[-1]], **name).columns == (of[-1],)


def test_V06_a_refusal_costs_the_same_for_ten_and_for_ten_thousand_options(snapshot: Snapshot) -> None:
    """Names are looked up, never searched for: what is done a refusal does not grow with the chain."""
    small, large = (Market(ManualClock(START), expiries=3, strikes=n).snapshot() for n in (5, 1700))
    assert len(large) > 10_000

    def looked_up(part: Snapshot) -> int:
        """How many names are compared."""
        counted = Counting()
        blocks = tuple(
            replace(b, definition=replace(b.definition, rows=counted, names=Untouchable())) for b in part.blocks
        )
        for _ in range(10):
            assert refusal(replace(part, blocks=blocks), "depth", instrument="BTC-1JAN70-1-C") == "unknown_instrument"
        return counted.asked

    assert looked_up(small) == looked_up(large) == 30
    started = time.process_time()
    for _ in range(100):
        refusal(large, "depth", instrument="x" * 64)
    assert time.process_time() - started < 0.5


class Counting(dict[str, int]):
    """A look-up that counts."""

    asked = 0

    def __contains__(self, name: object) -> bool:
        self.asked += 1
        return False


class Untouchable(tuple[str, ...]):
    """Names that nobody may go through."""

    def __iter__(self) -> Any:
        raise AssertionError("somebody searches")

    __contains__ = index = count = __iter__  # type: ignore[assignment]
