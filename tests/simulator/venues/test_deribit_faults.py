"""Each fault of the venue does what its line says, and nothing once it is over."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable

import msgspec
import pytest

from pricer.clock import NS_PER_SECOND, Instant, ManualClock
from pricer.simulator.faults import KINDS, Conductor, random_schedule
from pricer.simulator.venues.deribit.mutations import channel_of
from tests.simulator.small_venue import ROLL_NS, START_NS, Client, read, small_venue

INDEX = "deribit_price_index."


def subscribed(start_ns: int | None = None) -> Client:
    client = Client() if start_ns is None else Client(start_ns)
    client.subscribe_all()
    return client


def truth(client: Client) -> list[bytes]:
    """What a twin without faults is sent in the next second."""
    twin = subscribed()
    for _ in range(round(client.clock.now().mono_ns / (NS_PER_SECOND // 10))):
        twin.ticks(1)
    return twin.ticks(10)


def test_without_faults_the_layer_is_not_to_be_seen() -> None:
    client, clock = subscribed(), ManualClock(Instant(START_NS, 0))
    bare = small_venue(clock)
    session = bare.open()
    request = {"id": 1, "method": "public/subscribe", "params": {"channels": sorted(client.session.channels)}}
    bare.receive(session, msgspec.json.encode(request))
    frames = []
    for _ in range(30):
        clock.advance(NS_PER_SECOND // 10)
        frames += [frame for _, frame in bare.tick()]
    assert client.ticks(30) == frames
    assert not client.venue.counters


# One function for each kind: it begins the fault on a subscribed client and asserts what it does.


def refuse(client: Client) -> None:
    client.begin("refuse", status=429, retry_after_s=7)
    refusal = client.venue.refusal()
    assert refusal is not None
    assert (refusal.status, refusal.retry_after_s) == (429, 7)
    client.end("refuse")
    assert client.venue.refusal() is None


def lose_replies(client: Client) -> None:
    client.begin("lose_replies")
    assert client.ask("public/test") == []
    # Done all the same: only the reply is lost.
    client.ask("public/unsubscribe", channels=["deribit_price_index.btc_usd"])
    assert "deribit_price_index.btc_usd" not in client.session.channels
    client.end("lose_replies")
    assert client.ask("public/test")


def late_replies(client: Client) -> None:
    client.begin("late_replies", delay_s=2.0)
    assert client.ask("public/test") == []
    assert not [frame for frame in client.ticks(19) if channel_of(frame) is None]
    assert [msgspec.json.decode(frame)["id"] for frame in client.ticks(1) if channel_of(frame) is None]


def reorder_replies(client: Client) -> None:
    client.begin("reorder_replies")
    assert client.ask("public/test") == []
    assert [each["id"] for each in client.ask("public/get_time")] == [3, 2]
    assert client.ask("public/test") == []
    client.end("reorder_replies")
    assert [msgspec.json.decode(f)["id"] for f in client.ticks(1) if channel_of(f) is None] == [4]


def error_replies(client: Client) -> None:
    client.begin("error_replies", code=11051, methods="public/get_")
    assert client.ask("public/get_time")[0]["error"] == {"code": 11051, "message": "system_maintenance"}
    assert client.ask("public/test")[0]["result"]


def reject_channels(client: Client) -> None:
    client.ask("public/unsubscribe_all")
    client.begin("reject_channels", share=0.3)
    channels = [f"ticker.{name}.100ms" for name in client.names]
    accepted = client.ask("public/subscribe", channels=channels)[0]["result"]
    assert 0.4 * len(channels) < len(accepted) < 0.95 * len(channels)
    assert client.ask("public/subscribe", channels=channels)[0]["result"] == accepted, "the same ones each time"


def no_data(client: Client) -> None:
    client.ask("public/unsubscribe_all")
    client.begin("no_data")
    (reply,) = client.ask("public/subscribe", channels=[INDEX + "btc_usd"])
    assert reply["result"] == [INDEX + "btc_usd"]
    assert read(client.ticks(30), INDEX) == []
    client.end("no_data")
    assert read(client.ticks(30), INDEX)


def expire_tokens(client: Client) -> None:
    client.begin("expire_tokens")
    assert client.ask("private/get_positions", currency="BTC")[0]["error"]["code"] == 13009
    refresh = {"grant_type": "refresh_token", "refresh_token": "x"}
    assert client.ask("public/auth", **refresh)[0]["error"]["code"] == 13009
    assert client.ask("public/test")[0]["result"]


def drop(client: Client) -> None:
    whole = truth(client)
    client.begin("drop", share=0.5, channels="ticker.")
    left = client.ticks(10)
    assert len(read(left, INDEX)) == len(read(whole, INDEX))
    assert 0.3 * len(whole) < len(left) < 0.75 * len(whole)
    assert set(left) < set(whole)


def duplicate(client: Client) -> None:
    whole = truth(client)
    client.begin("duplicate", count=5)
    assert sorted(Counter(client.ticks(10)).values())[-5:] == [2] * 5
    assert len(client.frames) > len(whole)


def swap(client: Client) -> None:
    client.begin("swap", channels="ticker.", share=0.5)
    client.ticks(100)
    client.end("swap")
    client.ticks(1)
    stamps: dict[str, list[int]] = {}
    for channel, data in read(client.frames, "ticker."):
        stamps.setdefault(channel, []).append(data["timestamp"])
    swapped = sum(a > b for each in stamps.values() for a, b in itertools.pairwise(each))
    assert swapped > 20
    assert client.venue.counters["swap"] >= swapped


def corrupt(client: Client) -> None:
    whole = truth(client)
    client.begin("corrupt", share=0.5)
    garbled = set(client.ticks(10)) - set(whole)
    assert len(garbled) > 10
    assert client.venue.counters["corrupt"] >= len(garbled)


def delay(client: Client) -> None:
    whole = truth(client)
    client.begin("delay", delay_s=3.0)
    assert client.ticks(10) == []
    client.end("delay")
    assert client.ticks(40)[: len(whole)] != whole  # what is new goes first
    assert set(whole) <= set(client.frames)


def zombie(client: Client) -> None:
    client.begin("zombie")
    client.ask("public/set_heartbeat", interval=10)
    frames = client.ticks(110)
    assert {msgspec.json.decode(frame)["method"] for frame in frames} == {"heartbeat"}
    assert client.ask("public/test")[0]["result"]
    client.end("zombie")
    assert read(client.ticks(10), "ticker.")


def unknown_messages(client: Client) -> None:
    client.begin("unknown_messages")
    methods = {json.loads(frame).get("method") for frame in client.ticks(1)}
    assert "surprise" in methods
    assert None in methods


def stale_snapshot(client: Client) -> None:
    book = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.X.100ms","data":{"change_id":%d}}}'
    client.begin("stale_snapshot", count=2)
    first = client.venue._changed([(client.session, book % 1), (client.session, book % 2)])
    assert len(first) == 2
    assert [data["change_id"] for _, data in read(client.ticks(5), "book.")] == [1, 1]


def freeze_index(client: Client) -> None:
    client.begin("freeze_index")
    assert read(client.ticks(30), INDEX) == []
    assert len({data["index_price"] for _, data in read(client.ticks(10), "ticker.")}) == 1
    client.end("freeze_index")
    assert read(client.ticks(20), INDEX)


def stick_index(client: Client) -> None:
    index = client.venue.market.chains["BTC"].index
    client.begin("stick_index")
    client.venue.market.spot.price *= 1.01
    frames = client.ticks(20)
    assert {data["price"] for _, data in read(frames, INDEX)} == {index}
    assert {data["index_price"] for _, data in read(frames, "ticker.")} == {index}
    client.end("stick_index")
    assert {data["price"] > 1.005 * index for _, data in read(client.ticks(20), INDEX)} == {True}


def jump_index(client: Client) -> None:
    right = [data["price"] for _, data in read(truth(client), INDEX)]
    client.begin("jump_index", factor=1.2, count=1)
    wrong = [data["price"] for _, data in read(client.ticks(10), INDEX)]
    assert wrong == [pytest.approx(1.2 * right[0]), *right[1:]]


def jump_forward(client: Client) -> None:
    right = {name: data for name, data in read(truth(client), "ticker.")}
    client.begin("jump_forward", factor=0.8)
    for name, data in read(client.ticks(10), "ticker."):
        assert 0.75 < data["underlying_price"] / right[name]["underlying_price"] < 0.85


def fat_finger(client: Client) -> None:
    client.begin("fat_finger", factor=100.0)
    asks = [data for _, data in read(client.ticks(20), "ticker.") if data["best_ask_price"]]
    assert asks
    assert all(data["best_ask_price"] > 50 * data["mark_price"] for data in asks)


def one_sided(client: Client) -> None:
    client.begin("one_sided", side="ask")
    data = [data for _, data in read(client.ticks(20), "ticker.")]
    assert {each["best_ask_price"] for each in data} == {None, 0.0}
    assert any(each["best_bid_price"] for each in data)


def bad_price(client: Client) -> None:
    client.begin("bad_price", value=-1)
    data = [data for _, data in read(client.ticks(20))]
    assert all(-1 in each.values() for each in data)


def mutate(client: Client) -> None:
    whole = truth(client)
    client.begin("mutate")
    changed = client.ticks(10)
    assert len(changed) == len(whole)
    assert len(set(changed) & set(whole)) < 0.2 * len(whole)


def bad_time(client: Client) -> None:
    client.begin("bad_time", off_s=-7200)
    now_ms = client.clock.now().wall_ns // 1_000_000
    assert {round((data["timestamp"] - now_ms) / 7.2e6) for _, data in read(client.ticks(5))} == {-1}
    client.end("bad_time")
    client.begin("bad_time")
    assert {data["timestamp"] for _, data in read(client.ticks(5))} == {0}


def maintenance(client: Client) -> None:
    client.begin("maintenance")
    assert read(client.ticks(20)) == [("platform_state", {"maintenance": True})]
    assert client.ask("public/test")[0]["error"]["code"] == 11051
    assert client.venue.http("/api/v2/public/test", "")[0] == 400
    client.end("maintenance")
    assert ("platform_state", {"maintenance": False}) in read(client.ticks(5))
    assert client.ask("public/test")[0]["result"]


def lock(client: Client) -> None:
    client.begin("lock")
    assert ("platform_state", {"price_index": "btc_usd", "locked": True}) in read(client.ticks(1))
    client.end("lock")
    assert ("platform_state", {"price_index": "btc_usd", "locked": False}) in read(client.ticks(1))


def restart(client: Client) -> None:
    client.begin("restart", code=1012)
    assert (client.session.close_code, client.session.closing) == (1012, "restart")
    refusal = client.venue.refusal()
    assert refusal is not None
    assert refusal.status == 503
    client.venue.close(client.session)
    client.end("restart")
    assert client.venue.refusal() is None


def close(client: Client) -> None:
    client.begin("close", code=1013)
    assert (client.session.close_code, client.session.closing) == (1013, "close")
    assert client.venue.refusal() is None


def halt(client: Client) -> None:
    client.begin("halt", count=3)
    told = {d["instrument_name"]: d["state"] for _, d in read(client.ticks(1), "instrument.state")}
    assert set(told.values()) == {"halted"}
    assert len(told) == 3
    states = {data["instrument_name"]: data["state"] for _, data in read(client.ticks(60), "ticker.")}
    assert {name for name, state in states.items() if state == "halted"} == set(told)
    channel = f"ticker.{next(iter(told))}.100ms"
    assert client.ask("public/subscribe", channels=[channel])[0]["result"] == []
    client.end("halt")
    opened = {d["instrument_name"]: d["state"] for _, d in read(client.ticks(1), "instrument.state")}
    assert opened == dict.fromkeys(told, "open")
    assert client.ask("public/subscribe", channels=[channel])[0]["result"] == [channel]


def after_expiry(client: Client) -> None:
    client = subscribed(ROLL_NS - 5 * NS_PER_SECOND)
    old = {name for name in client.names if "-27NOV26-" in name}
    client.begin("after_expiry")
    client.ticks(60)
    late = read(client.ticks(10), "ticker.")
    expired = [data for _, data in late if data["instrument_name"] in old]
    assert len(expired) > 100
    assert all(data["state"] == "open" for data in expired)
    assert max(data["timestamp"] for data in expired) * 1_000_000 > ROLL_NS
    client.end("after_expiry")
    assert not [d for _, d in read(client.ticks(10), "ticker.") if d["instrument_name"] in old]


CHECKS: dict[str, Callable[[Client], None]] = {
    each.__name__: each
    for each in (
        *(refuse, lose_replies, late_replies, reorder_replies, error_replies, reject_channels, no_data, expire_tokens),
        *(
            drop,
            duplicate,
            swap,
            corrupt,
            delay,
            zombie,
            unknown_messages,
            stale_snapshot,
            freeze_index,
            stick_index,
            jump_index,
        ),
        *(jump_forward, fat_finger, one_sided, bad_price, mutate, bad_time, maintenance, lock, restart, close, halt),
        after_expiry,
    )
}


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.where == "venue"])
def test_a_fault_does_what_it_says_and_ends(name: str) -> None:
    client = subscribed()
    client.ticks(3)
    CHECKS[name](client)
    if client.venue._active:
        client.end(name)
    assert not client.venue._active


def test_hits_are_counted_by_the_faults_name() -> None:
    for name in ("drop", "zombie", "refuse", "error_replies", "halt", "maintenance", "jump_index", "mutate", "close"):
        client = subscribed()
        client.ticks(3)
        CHECKS[name](client)
        assert client.venue.counters[name] > 0, name


def test_what_is_held_for_a_session_goes_with_it() -> None:
    client = subscribed()
    for name in ("delay", "swap", "reorder_replies", "no_data"):
        client.begin(name)
    client.ask("public/test")
    client.ticks(20)
    client.venue.close(client.session)
    held = (client.venue._held, client.venue._swapped, client.venue._late_reply, client.venue._muted)
    assert [len(each) for each in held] == [0, 0, 0, 0]
    assert client.ticks(20) == []


def test_the_same_seed_does_the_same_to_every_frame() -> None:
    def run(seed: int) -> list[bytes]:
        client = Client(seed=seed)
        conductor = Conductor(random_schedule(seed, 30.0, where=("venue",)), {"venue": client.venue})
        client.subscribe_all()
        for step in range(300):
            conductor.advance(step / 10)
            client.ticks(1)
        return client.frames

    assert run(5) == run(5) != run(6)
