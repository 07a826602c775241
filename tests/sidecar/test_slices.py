"""Pictures, their differences, and what is made of them; followed through the client's own replica."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from pricer.clock import Instant, ManualClock
from pricer.conventions import NO_TIME, Reason, Status
from pricer.errors import NotTradable
from pricer.sidecar import slices
from pricer.sidecar.channels import Content
from pricer.sidecar.channels.chain import ChainPicture
from pricer.sidecar.encodings.json import JSON, Texts
from pricer.sidecar.messages import Message
from pricer.sidecar.moment import nothing_yet
from pricer.snapshot import FIELD_INDEX, Snapshot
from tests.handmade import SECOND
from tests.sidecar.replicas import Replica
from tests.sidecar.snapshots import Market, is_null_or_finite

START = Instant(1_795_000_000 * SECOND, 1000 * SECOND)


class SameClock(ManualClock):
    """A consumer in the same process: nothing to learn about the server's clock."""

    def heard(self, server_mono_ns: int) -> None: ...


def decoded(content: Content, kind: str, seq: int) -> dict[str, Any]:
    head = {"type": kind, "seq": seq, "channel": "chain", "venue": "deribit", "underlying": "BTC"}
    payload = Message(head | content.head, content.columns, content.rows).encoded(JSON)
    message: dict[str, Any] = orjson.loads(payload)
    return message


def shown(picture: slices.Picture) -> ChainPicture:
    return ChainPicture(picture, slices.EVERYTHING, "deribit", 9)


def snapshot_message(picture: slices.Picture, seq: int = 1) -> dict[str, Any]:
    return decoded(shown(picture).whole(), "snapshot", seq)


def assert_same_numbers(one: Snapshot, other: Snapshot) -> None:
    ours, theirs = one.columns(), other.columns()
    assert ours.keys() == theirs.keys()
    for name, column in ours.items():
        if column.dtype == np.float64:
            np.testing.assert_allclose(column, theirs[name], rtol=1e-8, err_msg=name)
        else:
            assert column.tolist() == theirs[name].tolist(), name


@pytest.fixture
def clock() -> SameClock:
    return SameClock(START)


@pytest.fixture
def market(clock: SameClock) -> Market:
    return Market(clock)


def test_V09_a_slice_is_rated_again_when_time_alone_may_have_changed_it_and_not_before() -> None:
    clock = ManualClock(Instant(1_795_000_000 * SECOND, 1000 * SECOND))
    market = Market(clock, expiries=2, strikes=4)
    market.quote(0, 3, bid=1.0)
    snapshot = market.snapshot()
    picture = slices.take_picture(snapshot, 9)
    for _ in range(40):  # past the limits of the model, of the first quotes and of the last one
        clock.advance(SECOND // 2)
        picture, anew = slices.take_picture(snapshot, 9, picture), slices.take_picture(snapshot, 9)
        for mine, other in zip(picture.slices, anew.slices, strict=True):
            np.testing.assert_array_equal(mine.status, other.status)
            np.testing.assert_array_equal(mine.reasons, other.reasons)
    assert (picture.slices[0].status >= Status.STALE).all()


def test_the_columns_are_those_of_a_snapshot(market: Market) -> None:
    snapshot = market.snapshot()
    picture = slices.take_picture(snapshot, 9)
    columns = orjson.loads(Message({}, slices.all_columns(picture) | slices.ages(picture)).encoded(JSON))["columns"]
    assert set(snapshot.columns()) <= set(columns)
    assert set(columns) - set(snapshot.columns()) == set(slices.INSTANTS)
    assert {len(column) for column in columns.values()} == {len(snapshot)}


def test_an_instant_that_never_came_is_null_beside_those_that_did(market: Market) -> None:
    instants = market.blocks[0].quote_exchange_ns.copy()
    instants[3] = NO_TIME
    market.blocks[0] = replace(market.blocks[0], quote_exchange_ns=instants)
    sent = snapshot_message(slices.take_picture(market.snapshot(), 9))["columns"]["quote_exchange_ns"]
    assert sent[3] is None
    assert sent[:3] + sent[4:20] == [*instants[:3].tolist(), *instants[4:20].tolist()]


def test_the_texts_of_reason_masks_are_bounded() -> None:
    texts = Texts(lambda number: b"%d" % number, most=3)
    assert [texts[number] for number in range(10)] == [b"%d" % number for number in range(10)]
    assert len(texts) <= 3


def test_no_value_is_null_and_invalid_means_no_value(market: Market) -> None:
    market.blocks[0].values[FIELD_INDEX["iv"], -2] = 0.5  # of an INVALID row: must not get out
    columns = snapshot_message(slices.take_picture(market.snapshot(), 9))["columns"]
    for name in ("bid", "bid_iv", "iv", "theo", "delta"):
        assert all(is_null_or_finite(value) for value in columns[name])
        assert columns[name][18] is None
    assert columns["status"][18] == "INVALID"
    assert columns["reasons"][18] == ["NO_QUOTE"]
    assert columns["bid_iv"][1] is None
    assert columns["ask_iv"][1] is not None
    assert columns["reasons"][1] == ["ONE_SIDED", "EXTRAPOLATED"]


def test_an_infinite_value_is_null(market: Market) -> None:
    market.blocks[0].values[FIELD_INDEX["gamma"], 4] = np.inf
    assert snapshot_message(slices.take_picture(market.snapshot(), 9))["columns"]["gamma"][4] is None


def test_a_replica_has_the_numbers_of_the_snapshot(market: Market, clock: SameClock) -> None:
    snapshot = market.snapshot(Reason.REPLAY)
    replica = Replica(clock)
    assert replica.apply(snapshot_message(slices.take_picture(snapshot, 9)))
    copy = replica.snapshot()
    assert_same_numbers(snapshot, copy)
    assert copy.reasons == Reason.REPLAY
    assert copy.index == snapshot.index
    assert copy.forwards == snapshot.forwards
    assert copy.perpetual == snapshot.perpetual
    assert copy.convention == snapshot.convention
    assert copy.computed == snapshot.computed


def test_a_forward_by_parity_travels_with_its_error(market: Market, clock: SameClock) -> None:
    snapshot = market.snapshot()
    block = snapshot.blocks[0]
    implied = replace(block.forward, source="parity", error=12.5, parity=None)
    snapshot = replace(snapshot, blocks=(replace(block, forward=implied), *snapshot.blocks[1:]))
    message = snapshot_message(slices.take_picture(snapshot, 9))
    assert message["expiries"][0]["forward"]["error"] == 12.5
    assert all("error" not in expiry["forward"] for expiry in message["expiries"][1:])
    assert [expiry["forward"]["parity"] for expiry in message["expiries"][:2]] == [
        None,
        {"value": snapshot.blocks[1].forward.value, "error": 2.5, "gap": 0.0},
    ]
    replica = Replica(clock)
    assert replica.apply(message)
    assert replica.snapshot().forwards == snapshot.forwards


def test_deltas_lead_to_the_same_numbers_as_a_snapshot(market: Market, clock: SameClock) -> None:
    rng = np.random.default_rng(5)
    old = slices.take_picture(market.snapshot(), 9)
    replica = Replica(clock)
    replica.apply(snapshot_message(old))
    for seq in range(2, 60):
        clock.advance(int(rng.integers(1, 2 * SECOND)))
        for _ in range(rng.integers(0, 4)):
            market.quote(int(rng.integers(3)), int(rng.integers(2, 18)), bid=rng.random(), bid_iv=rng.random())
        if rng.random() < 0.3:
            market.quote(1, int(rng.integers(2, 18)), ask=np.nan)
        if rng.random() < 0.3:
            market.move()
        if rng.random() < 0.2:
            market.confirm()
        snapshot = market.snapshot()
        new = slices.take_picture(snapshot, 9, old)
        assert replica.apply(decoded(shown(new).since(shown(old)), "delta", seq))
        assert_same_numbers(snapshot, replica.snapshot())
        old = new


def test_a_delta_holds_the_rows_and_columns_that_changed_and_no_others(market: Market, clock: SameClock) -> None:
    old = slices.take_picture(market.snapshot(), 9)
    clock.advance(1)
    market.quote(1, 5, bid=0.125)
    new = slices.take_picture(market.snapshot(), 9, old)
    delta = decoded(shown(new).since(shown(old)), "delta", 2)
    instants = {"quote_received_ns", "quote_mono_ns", "quote_valid_until_ns"}
    assert delta["rows"] == [25]
    assert set(delta["columns"]) == {"bid"} | instants
    assert delta["columns"]["bid"] == [0.125]


def test_a_change_below_the_rounding_is_none(market: Market) -> None:
    old = slices.take_picture(market.snapshot(), 9)
    values = market.blocks[0].values
    changed = values.copy()
    changed[FIELD_INDEX["vega"]] *= 1 + 1e-13
    market.blocks[0] = replace(market.blocks[0], values=changed)
    new = slices.take_picture(market.snapshot(), 9, old)
    assert slices.changes(old, new).rows.size == 0


def test_unchanged_slices_are_shared_between_pictures(market: Market) -> None:
    old = slices.take_picture(market.snapshot(), 9)
    market.quote(1, 5, bid=0.125)
    new = slices.take_picture(market.snapshot(), 9, old)
    assert [a is b for a, b in zip(old.slices, new.slices, strict=True)] == [True, False, True]


def test_silence_alone_makes_numbers_stale(market: Market, clock: SameClock) -> None:
    snapshot = market.snapshot()
    old = slices.take_picture(snapshot, 9)
    clock.advance(3 * SECOND)
    new = slices.take_picture(snapshot, 9, old)
    assert not new.says_the_same_as(old)
    delta = decoded(shown(new).since(shown(old)), "delta", 2)
    assert delta["index"]["status"] == "STALE"
    assert {e["forward"]["status"] for e in delta["expiries"]} == {"STALE"}
    assert set(delta["columns"]) == {"status", "reasons"}
    assert set(delta["columns"]["status"]) == {"STALE"}
    assert len(delta["rows"]) == 57  # the three rows that are INVALID stay what they are


def test_a_stream_of_some_columns_carries_their_statuses(market: Market) -> None:
    columns = slices.all_columns(slices.take_picture(market.snapshot(), 9), slices.Selection(("ask_iv", "delta")))
    assert set(columns) == {
        *slices.IDENTITY,
        *slices.INSTANTS,
        "ask_iv",
        "delta",
        *(f"{pair}{kind}" for pair in ("", "ask_iv_") for kind in ("status", "reasons")),
    }


def test_before_the_first_snapshot_there_are_no_rows(clock: SameClock) -> None:
    message = snapshot_message(slices.take_picture(nothing_yet(clock), 9))
    assert message["index"]["status"] == "INVALID"
    assert message["columns"]["name"] == message["columns"]["delta"] == []
    replica = Replica(clock)
    replica.apply(message)
    assert len(replica.snapshot()) == 0


def test_a_replica_refuses_what_is_past_its_limit_by_its_own_clock(market: Market, clock: SameClock) -> None:
    replica = Replica(clock)
    replica.apply(snapshot_message(slices.take_picture(market.snapshot(), 9)))
    row = replica.snapshot()[market.definitions[0].names[4]]
    assert row.delta > 0
    clock.advance(3 * SECOND)
    with pytest.raises(NotTradable, match="STALE"):
        _ = row.delta
    assert row.status == Status.STALE


def test_a_missing_message_breaks_a_replica_until_the_next_snapshot(market: Market, clock: SameClock) -> None:
    old = slices.take_picture(market.snapshot(), 9)
    replica = Replica(clock)
    replica.apply(snapshot_message(old, 7))
    market.move()
    new = slices.take_picture(market.snapshot(), 9, old)
    delta = shown(new).since(shown(old))
    assert not replica.apply(decoded(delta, "delta", 9))
    assert replica.broken
    assert not replica.apply(decoded(delta, "delta", 10))
    assert replica.apply(snapshot_message(new, 10))
    assert not replica.broken


def test_earlier_snapshots_of_a_replica_stay_as_they_were(market: Market, clock: SameClock) -> None:
    old = slices.take_picture(market.snapshot(), 9)
    replica = Replica(clock)
    replica.apply(snapshot_message(old))
    before = replica.snapshot()
    market.move(0.5)
    replica.apply(decoded(shown(slices.take_picture(market.snapshot(), 9, old)).since(shown(old)), "delta", 2))
    name = market.definitions[0].names[4]
    assert replica.snapshot()[name].vega == pytest.approx(1.5 * before[name].vega)
    with pytest.raises(ValueError, match="read-only"):
        before.blocks[0].values[0, 0] = 1.0
