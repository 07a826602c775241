"""The desired set and its convergence, on made-up times."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from pricer.adapters.budget import Budget
from pricer.adapters.session import (
    ORDINARY,
    URGENT,
    Priority,
    Request,
    Session,
    SessionLimits,
    State,
    subscription_budget,
)
from pricer.clock import NS_PER_SECOND

S = NS_PER_SECOND


def bucket() -> Budget:
    return subscription_budget(30_000, 10_000, 3_000)


def session(**limits: int) -> Session:
    return Session(bucket(), SessionLimits(**limits))


def all_requests(it: Session, now_ns: int) -> list[Request]:
    found = []
    while (request := it.next_request(now_ns)) is not None:
        found.append(request)
    return found


def names(count: int) -> list[str]:
    return [f"ticker.BTC-27JUN25-{index}-C.100ms" for index in range(count)]


def test_requests_hold_at_most_so_many_names_and_bytes() -> None:
    it = session()
    it.want(names(600))
    assert [len(request.channels) for request in all_requests(it, 0)] == [250, 250, 100]
    it = session(max_name_bytes=1000)
    it.want(names(600))
    for request in all_requests(it, 0):
        assert sum(len(channel) + 3 for channel in request.channels) <= 1000


def test_a_name_longer_than_the_limit_is_sent_alone() -> None:
    it = session(max_name_bytes=10)
    it.want(["a-very-long-channel-name", "another-very-long-one"])
    assert [request.channels for request in all_requests(it, 0)] == [
        ["a-very-long-channel-name"],
        ["another-very-long-one"],
    ]


def test_calls_are_paced_by_the_venues_credits() -> None:
    it = session(max_names=1)
    it.want(names(20))
    assert len(all_requests(it, 0)) == 9  # 30 000 credits at 3 000 each, and one call kept for an underlying
    assert it.next_deadline(0) == 300_000_001
    assert len(all_requests(it, 299_000_000)) == 0
    assert len(all_requests(it, 300_000_001)) == 1
    it.want(["index"], Priority.UNDERLYING)
    assert [request.channels for request in all_requests(it, 300_000_001)] == [["index"]]
    assert len(all_requests(it, 20 * S)) == 9


def test_the_bucket_never_exceeds_what_the_venue_grants() -> None:
    rng = random.Random(7)
    it, now_ns, taken = bucket(), 0, []
    for _ in range(2000):
        now_ns += rng.randrange(0, 200_000_000)
        while it.take(rng.choice([URGENT, ORDINARY]), now_ns):
            taken.append(now_ns)
    for first in range(0, len(taken), 97):
        for last in range(first, min(first + 60, len(taken))):
            spent = 3_000 * (last - first + 1)
            assert spent <= 30_000 + 10_000 * (taken[last] - taken[first]) / S + 1e-6


def test_a_reply_confirms_its_own_request_only() -> None:
    it = session(max_names=2)
    it.want(["a", "b", "c", "d"])
    first, second = all_requests(it, 0)
    assert it.accepted(second.id, ["c", "d", "a"], 0) == []
    assert it.channels(State.LIVE) == ["c", "d"]
    assert it.channels(State.REQUESTED) == ["a", "b"]
    assert it.accepted(second.id, ["a"], 0) is None, "a second reply to one request is unknown"
    assert it.accepted(first.id, ["b"], 0) == ["a"]
    assert it.settled


def test_rejected_channels_are_asked_for_again_slowly() -> None:
    it = session()
    it.want(["a", "b"])
    (request,) = all_requests(it, 0)
    assert it.accepted(request.id, ["a"], 5 * S) == ["b"]
    assert it.next_deadline(5 * S) == 65 * S
    it.on_time(64 * S)
    assert all_requests(it, 64 * S) == []
    it.on_time(65 * S)
    (again,) = all_requests(it, 65 * S)
    assert again.channels == ["b"]


def test_a_refused_request_is_halved_until_the_culprit_is_alone() -> None:
    it = session()
    it.want(names(500))
    bad, rejected, now_ns = names(500)[333], [], 0
    for _ in range(200):
        for request in all_requests(it, now_ns):
            if bad in request.channels:
                rejected += it.refused(request.id, "split", now_ns) or []
            else:
                rejected += it.accepted(request.id, request.channels, now_ns) or []
        now_ns += S // 10
    assert rejected == [bad]
    assert len(it.channels(State.LIVE)) == 499
    assert now_ns < 60 * S


def test_a_passing_refusal_pauses_and_the_pause_grows() -> None:
    it = session()
    it.want(["a"])
    pauses, now_ns = [], 0
    for _ in range(8):
        (request,) = all_requests(it, now_ns)
        assert it.refused(request.id, "later", now_ns) == []
        assert it.next_request(now_ns) is None
        deadline = it.next_deadline(now_ns)
        assert deadline is not None
        pauses.append((deadline - now_ns) // S)
        now_ns = deadline
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    (request,) = all_requests(it, now_ns)
    it.accepted(request.id, ["a"], now_ns)
    assert it.channels(State.LIVE) == ["a"]


def test_an_unanswered_request_is_asked_again_in_halves() -> None:
    it = session()
    it.want(["a", "b", "c"])
    (request,) = all_requests(it, 0)
    assert it.next_deadline(0) == 10 * S
    assert it.on_time(10 * S) == 1
    again = all_requests(it, 10 * S)
    assert [each.channels for each in again if each.operation == "subscribe"] == [["a", "b"], ["c"]]
    assert it.accepted(request.id, ["a", "b", "c"], 11 * S) is None, "too late"


def test_data_on_a_channel_makes_it_live_without_a_reply() -> None:
    it = session()
    it.want(["a", "b"])
    all_requests(it, 0)
    it.saw("a", 0)
    it.saw("never asked for", 0)
    it.on_time(10 * S)
    assert it.channels(State.LIVE) == ["a"]
    assert [(each.operation, each.channels) for each in all_requests(it, 10 * S)] == [
        ("unsubscribe", ["b"]),
        ("subscribe", ["b"]),
    ]


def test_what_is_no_longer_wanted_is_unsubscribed_first() -> None:
    it = session()
    it.want(["a", "b"])
    (request,) = all_requests(it, 0)
    it.accepted(request.id, ["a", "b"], 0)
    it.unwant(["a"])
    it.want(["c", "a"])
    requests = all_requests(it, S)
    assert [(each.operation, each.channels) for each in requests] == [("unsubscribe", ["a"]), ("subscribe", ["c", "a"])]
    assert it.accepted(requests[0].id, [], S) == []


def test_a_channel_dropped_while_waiting_in_a_half_is_never_asked_for() -> None:
    it = session()
    it.want(["a", "b"])
    (request,) = all_requests(it, 0)
    it.refused(request.id, "split", 0)
    it.unwant(["a"])
    it.want(["a"])
    it.unwant(["a", "b"])
    assert all_requests(it, S) == []
    assert it.settled


def test_a_channel_wanted_again_is_asked_for_once() -> None:
    it = session()
    it.want(["a", "b"])
    (request,) = all_requests(it, 0)
    it.refused(request.id, "split", 0)
    it.unwant(["a"])
    it.want(["a"])
    asked = [channel for request in all_requests(it, S) for channel in request.channels]
    assert sorted(asked) == ["a", "b"]


def test_a_new_session_starts_from_the_desired_set_alone() -> None:
    it = session()
    it.want(["a", "b", "c"])
    (request,) = all_requests(it, 0)
    it.accepted(request.id, ["a", "b"], 0)
    it.unwant(["b"])
    it.reset()
    requests = all_requests(it, S)
    assert [(each.id, each.operation, each.channels) for each in requests] == [(1, "subscribe", ["a", "c"])]


# Faults


class Counting:
    """A venue that counts subscriptions instead of remembering names, as some do: twice is twice."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def serve(self, request: Request) -> list[str]:
        for channel in request.channels:
            if request.operation == "subscribe":
                self.count[channel] += 1
                self.most[channel] = max(self.most[channel], self.count[channel])
            else:
                self.count[channel] = max(0, self.count[channel] - 1)
        return request.channels


@pytest.mark.parametrize("seed", range(20))
def test_P03_lost_and_reordered_acknowledgements_never_subscribe_twice(seed: int) -> None:
    rng = random.Random(seed)
    it, venue, now_ns = session(max_names=7), Counting(), 0
    it.want(names(60))
    replies: list[tuple[int, list[str]]] = []
    while not it.settled:
        now_ns += S // 4
        it.on_time(now_ns)
        for request in all_requests(it, now_ns):
            served = venue.serve(request)
            if rng.random() < 0.7:
                replies.append((request.id, served))
        rng.shuffle(replies)
        for _ in range(rng.randrange(0, 4)):
            if replies:
                it.accepted(*replies.pop(), now_ns)
        assert now_ns < 600 * S
    assert max(venue.most.values()) == 1
    assert venue.count == Counter(names(60)), "each once at the venue, none forgotten"
    assert len(it.channels(State.LIVE)) == 60


def test_P03_one_confirmed_channel_confirms_no_other() -> None:
    it = session(max_names=2)
    it.want(["a", "b", "c", "d"])
    first, second = all_requests(it, 0)
    it.accepted(first.id, ["a", "b"], 0)
    assert it.channels(State.REQUESTED) == ["c", "d"]
    it.accepted(second.id, ["a", "b", "c"], 0)
    assert (it.channels(State.LIVE), it.channels(State.REJECTED)) == (["a", "b", "c"], ["d"])


def test_P04_what_was_dropped_is_not_restored_by_a_reconnection() -> None:
    it, venue = session(), Counting()
    it.want(["a", "b", "c", "d"])
    (request,) = all_requests(it, 0)
    it.accepted(request.id, venue.serve(request), 0)
    it.unwant(["b"])
    it.resubscribe(["c"], 0)
    it.unwant(["c"])
    # The connection goes before either has been told to the venue.
    it.reset()
    venue = Counting()
    for request in all_requests(it, S):
        it.accepted(request.id, venue.serve(request), S)
    assert set(venue.count) == {"a", "d"} == set(it.channels(State.LIVE))
    assert it.settled


def test_T13_after_a_drop_the_most_urgent_is_asked_for_first() -> None:
    it = session(max_names=2)
    it.want(["far 1", "far 2", "far 3"])
    it.want(["near 2"], Priority.NEAR + 0.2)
    it.want(["near 1"], Priority.NEAR + 0.1)
    it.want(["held"], Priority.POSITION)
    it.want(["index"], Priority.UNDERLYING)
    order = [["index", "held"], ["near 1", "near 2"], ["far 1", "far 2"], ["far 3"]]
    assert [request.channels for request in all_requests(it, 0)] == order
    it.reset()
    assert [request.channels for request in all_requests(it, 60 * S)] == order
    it.reset()
    it.want(["near 2"], Priority.POSITION)
    assert all_requests(it, 120 * S)[0].channels == ["index", "near 2"], "equals come in the order of being wanted"


def test_T13_of_twenty_connections_that_share_a_budget_every_underlying_is_back_first() -> None:
    budget, now_ns = bucket(), 100 * S
    sessions = [Session(budget, SessionLimits(max_names=50)) for _ in range(20)]
    for number, it in enumerate(sessions):
        it.want(names(250))
        if number == 19:
            it.want(["index"], Priority.UNDERLYING)
        it.reset()
    asked_ns: dict[str, int] = {}
    calls = 0
    while any(not it.settled for it in sessions):
        for it in sessions:
            if (request := it.next_request(now_ns)) is not None:
                calls += 1
                it.accepted(request.id, request.channels, now_ns)
                for channel in request.channels:
                    asked_ns.setdefault(channel, now_ns)
        now_ns += S // 100
    assert asked_ns["index"] == 100 * S, "its call was kept for it, though nineteen others were before"
    assert 3_000 * calls <= 30_000 + 10_000 * (now_ns - 100 * S) / S, "never above what the venue grants to all"


def test_a_lost_reply_of_little_weight_does_not_stand_before_the_index() -> None:
    it = session(max_names=2)
    it.want(["a", "b"])
    all_requests(it, 0)
    it.on_time(10 * S)
    it.want(["index"], Priority.UNDERLYING)
    assert all_requests(it, 10 * S)[0].channels[0] == "index"


def test_S15_a_storm_of_a_thousand_gaps_is_paced_and_the_nearest_come_first() -> None:
    budget = bucket()
    it, venue = Session(budget, SessionLimits()), Counting()
    books = [f"book.BTC-27JUN25-{number}-C.100ms" for number in range(1000)]
    for number, book in enumerate(books):
        it.want([book], Priority.POSITION if number == 500 else Priority.NEAR + number / 1000)
    for request in all_requests(it, 0):
        it.accepted(request.id, venue.serve(request), 0)
    start_ns = now_ns = 60 * S
    budget.drain(ORDINARY, now_ns)  # the worst case: nothing is left over from before
    shuffled = random.Random(3).sample(books, 1000)
    again: list[str] = []
    calls = 0
    for number, book in enumerate(shuffled):  # each gap is found by its own frame
        it.resubscribe([book], now_ns + number)
        assert it.next_request(now_ns + number) is None, "a moment is waited for company"
    while not it.settled:
        for request in all_requests(it, now_ns):
            calls += 1
            it.accepted(request.id, venue.serve(request), now_ns)
            if request.operation == "subscribe":
                again += request.channels
        now_ns += S // 1000
    assert again == [books[500], *(book for book in books if book != books[500])]
    assert venue.count == Counter(books)
    assert max(venue.most.values()) == 1
    assert calls == 8, "250 names a call, unsubscribed and subscribed"
    budget_s = (8 + 1) * 3_000 / 10_000  # from an empty pool, and one call's worth stays in it
    assert (now_ns - start_ns) / S <= 1.1 * budget_s


def test_a_single_gap_is_asked_for_within_a_moment_and_others_are_left_alone() -> None:
    it = session()
    it.want(["a", "b"])
    (request,) = all_requests(it, 0)
    it.accepted(request.id, ["a", "b"], 0)
    it.resubscribe(["b", "never wanted"], S)
    deadline_ns = it.next_deadline(S)
    assert deadline_ns is not None
    assert deadline_ns <= S + S // 10
    assert [(each.operation, each.channels) for each in all_requests(it, deadline_ns)] == [
        ("unsubscribe", ["b"]),
        ("subscribe", ["b"]),
    ]
    assert it.state("a") is State.LIVE


def test_an_unsubscription_that_was_refused_is_asked_for_again() -> None:
    it = session()
    it.want(["a", "b"])
    (request,) = all_requests(it, 0)
    it.accepted(request.id, ["a", "b"], 0)
    it.unwant(["a"])
    (request,) = all_requests(it, S)
    it.refused(request.id, "later", S)
    (request,) = all_requests(it, 4 * S)
    assert (request.operation, request.channels) == ("unsubscribe", ["a"])
    it.on_time(20 * S)
    (request,) = all_requests(it, 20 * S)
    assert (request.operation, request.channels) == ("unsubscribe", ["a"])
    it.accepted(request.id, [], 20 * S)
    assert it.settled


def test_everything_is_bounded_by_the_channels_that_are_wanted() -> None:
    """FAULTS I6, E06: an hour of listings, gaps, refusals and reconnections."""
    rng = random.Random(5)
    it, now_ns = session(max_channels=200), 0
    for _ in range(5000):
        now_ns += S // 2
        it.want(f"c{rng.randrange(10_000)}" for _ in range(5))
        it.unwant(rng.sample(sorted(it._state), min(4, len(it._state))))
        it.resubscribe(rng.sample(sorted(it._state), min(3, len(it._state))), now_ns)
        it.on_time(now_ns)
        for request in all_requests(it, now_ns):
            fate = rng.random()
            if fate < 0.6:
                it.accepted(request.id, request.channels, now_ns)
            elif fate < 0.9:
                it.refused(request.id, rng.choice(["later", "split", "reject"]), now_ns)
        if rng.random() < 0.01:
            it.reset()
    assert len(it._state) <= 200
    assert it.overflow > 0
    parts = (it._priority, it._wanted, it._doubtful, it._gathered, it._retry_ns)
    assert all(set(part) <= set(it._state) for part in parts)
    assert len(it._unwanted) + len(it._pending) + len(it._halves) < 1000
