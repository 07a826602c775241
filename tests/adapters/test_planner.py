"""Which connection carries what, checked by somebody who counts for himself."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from pricer.adapters.planner import ConnectionLimits, Planner, Share
from pricer.adapters.session import Session, subscription_budget
from pricer.clock import NS_PER_SECOND
from pricer.errors import ConfigError

S = NS_PER_SECOND
KINDS = ("ticker", "book")


def option(number: int) -> str:
    return f"BTC-27JUN25-{1000 + 500 * number}-{'CP'[number % 2]}"


def channels_of(name: str) -> list[str]:
    return [f"{kind}.{name}.100ms" for kind in KINDS]


class StrictVenue:
    """Counts what each connection asks for, against limits of its own writing."""

    def __init__(self, *, connections: int, channels: int, names: int, frame: int) -> None:
        self.connections, self.channels, self.names, self.frame = connections, channels, names, frame
        self.subscribed: dict[int, set[str]] = {}
        self.violations: list[str] = []

    def request(self, connection: int, operation: str, names: list[str]) -> None:
        text = json.dumps(
            {"jsonrpc": "2.0", "id": 123456, "method": f"public/{operation}", "params": {"channels": names}}
        )
        held = self.subscribed.setdefault(connection, set())
        if operation == "subscribe":
            held.update(names)
        else:
            held.difference_update(names)
        checks = {
            "connections": len(self.subscribed) > self.connections,
            "channels": len(held) > self.channels,
            "names": len(names) > self.names,
            "frame": len(text) > self.frame,
        }
        self.violations += [f"{word} on {connection}" for word, broken in checks.items() if broken]


def converge(sessions: list[Session], venue: StrictVenue, now_ns: int) -> int:
    while not all(session.settled for session in sessions):
        for number, session in enumerate(sessions):
            while (request := session.next_request(now_ns)) is not None:
                venue.request(number, request.operation, request.channels)
                session.accepted(request.id, request.channels, now_ns)
        now_ns += S // 10
    return now_ns


def test_P08_five_thousand_instruments_violate_no_limit_while_strikes_roll() -> None:
    limits = ConnectionLimits(connections=32, channels_per_connection=500, channels_per_call=100, frame_bytes=4096)
    venue = StrictVenue(connections=32, channels=500, names=100, frame=4096)
    planner: Planner[str] = Planner(limits, channels=2, fixed=1)
    budget = subscription_budget(30_000, 10_000, 3_000)
    names = [option(number) for number in range(5000)]
    homes = planner.assign(names)
    sessions: list[Session] = []

    def open_connections() -> None:
        while len(sessions) < len(planner.loads):
            sessions.append(Session(budget, limits.session_limits()))
            sessions[-1].want(["deribit_price_index.btc_usd"])

    open_connections()
    for name, number in homes.items():
        sessions[number].want(channels_of(name))
    now_ns = converge(sessions, venue, 0)
    rng, fresh = random.Random(8), 5000
    for _ in range(20):  # the market moves: 150 strikes go, 200 come
        gone = set(rng.sample(names, 150))
        new = [option(number) for number in range(fresh, fresh + 200)]
        fresh += 200
        for name in gone:
            sessions[homes[name]].unwant(channels_of(name))
        names = [name for name in names if name not in gone] + new
        before, homes = homes, planner.assign(names)
        assert all(homes[name] == before[name] for name in names if name in before), "nobody moves"
        open_connections()
        for name in new:
            sessions[homes[name]].want(channels_of(name))
        now_ns = converge(sessions, venue, now_ns)
    assert venue.violations == []
    assert Counter(len(held) for held in venue.subscribed.values()).total() == len(sessions) <= 32
    assert sum(len(held) - 1 for held in venue.subscribed.values()) == 2 * len(names) == 12_000


def test_P08_the_checker_finds_what_it_looks_for() -> None:
    venue = StrictVenue(connections=1, channels=2, names=2, frame=150)
    venue.request(0, "subscribe", ["a", "b", "c"])
    venue.request(1, "subscribe", ["x" * 200])
    assert venue.violations == ["channels on 0", "names on 0", "connections on 1", "frame on 1"]


def test_P08_what_cannot_fit_is_refused_with_the_arithmetic() -> None:
    limits = ConnectionLimits(connections=4, channels_per_connection=200, headroom=0.25)
    planner: Planner[str] = Planner(limits, channels=2, fixed=2)
    with pytest.raises(ConfigError) as refusal:
        planner.assign([option(number) for number in range(400)])
    said = str(refusal.value)
    for part in (
        "400 instruments",
        "2 channels each",
        "200 channels",
        "99 instruments",
        "25%",
        "4 connections x 74 = 296",
    ):
        assert part in said
    assert "6 connections would be needed" in said
    assert planner.loads == [0] * 4
    planner.assign([option(number) for number in range(296)])
    for number in range(296, 396):  # the headroom is there for strikes that are listed later
        planner.place(option(number))
    assert planner.loads == [99] * 4
    with pytest.raises(ConfigError, match="99 = 396"):
        planner.place(option(396))


def test_an_instrument_stays_and_a_new_one_goes_to_the_least_loaded() -> None:
    planner: Planner[str] = Planner(ConnectionLimits(connections=3, channels_per_connection=10, headroom=0.0))
    homes = planner.assign([str(number) for number in range(21)])
    assert planner.loads == [7, 7, 7]
    second = [name for name, number in homes.items() if number == 1]
    planner.drop(second[:4])
    assert planner.loads == [7, 3, 7]
    assert planner.place("new") == 1
    assert planner.place("new") == 1
    assert planner.place("0") == homes["0"]


@pytest.mark.parametrize(
    ("limits", "capacity"),
    [
        (ConnectionLimits(connections=1), float("inf")),
        (ConnectionLimits(connections=1, channels_per_connection=480), 480),
        (ConnectionLimits(connections=1, channels_per_call=10, calls_per_hour=100), 500),
        (ConnectionLimits(connections=1, messages_per_s=1000.0), 500),
    ],
)
def test_the_tightest_limit_counts(limits: ConnectionLimits, capacity: float) -> None:
    assert limits.capacity(rate=2.0) == capacity


@pytest.mark.parametrize("setting", ["connections", "channels_per_connection", "channels_per_call", "frame_bytes"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_impossible_limits_are_refused_by_name(setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=setting):
        ConnectionLimits(**{"connections": 1, setting: value})  # type: ignore[arg-type]


def test_fixed_channels_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ConfigError, match="no room"):
        Planner(ConnectionLimits(connections=1, channels_per_connection=4), channels=3, fixed=2)


def test_P17_one_symbol_at_two_venues_is_two_instruments() -> None:
    planner: Planner[tuple[str, str]] = Planner(
        ConnectionLimits(connections=2, channels_per_connection=2, headroom=0.0), channels=2
    )
    keys = [(venue, "BTC-27JUN25-100000-C") for venue in ("deribit", "other")]
    assert sorted(planner.assign(keys).values()) == [0, 1]
    planner.drop([keys[0]])
    assert planner.loads.count(1) == 1


def test_shares_split_a_listing_completely_and_for_good() -> None:
    names = [option(number) for number in range(2000)]
    shares = [Share(part, 4) for part in range(4)]
    owners = {name: [share.index for share in shares if share.takes(name)] for name in names}
    assert all(len(owner) == 1 for owner in owners.values())
    assert max(Counter(owner[0] for owner in owners.values()).values()) < 600
    assert str(shares[3]) == "4/4"
    with pytest.raises(ConfigError, match="part 4 of 4"):
        Share(4, 4)
