"""The desired set and its convergence, on made-up times."""

from __future__ import annotations

import random

from pricer.adapters.session import Request, Session, SessionLimits, State, TokenBucket
from pricer.clock import NS_PER_SECOND

S = NS_PER_SECOND


def bucket() -> TokenBucket:
    return TokenBucket(30_000, 10_000, 3_000)


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
    assert len(all_requests(it, 0)) == 10  # 30 000 credits at 3 000 each
    assert it.next_deadline(0) == 300_000_001
    assert len(all_requests(it, 299_000_000)) == 0
    assert len(all_requests(it, 300_000_001)) == 1
    assert len(all_requests(it, 20 * S)) == 9


def test_the_bucket_never_exceeds_what_the_venue_grants() -> None:
    rng = random.Random(7)
    it, now_ns, taken = bucket(), 0, []
    for _ in range(2000):
        now_ns += rng.randrange(0, 200_000_000)
        while it.take(now_ns):
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
    assert [again.channels for again in all_requests(it, 10 * S)] == [["a", "b"], ["c"]]
    assert it.accepted(request.id, ["a", "b", "c"], 11 * S) is None, "too late"


def test_data_on_a_channel_makes_it_live_without_a_reply() -> None:
    it = session()
    it.want(["a", "b"])
    all_requests(it, 0)
    it.saw("a")
    it.saw("never asked for")
    it.on_time(10 * S)
    assert it.channels(State.LIVE) == ["a"]
    assert [request.channels for request in all_requests(it, 10 * S)] == [["b"]]


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
