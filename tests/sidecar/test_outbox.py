"""A slow client's queue is dropped and told, never grown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.sidecar.outbox import Frame, Gap, Outbox, Overflow
from pricer.sidecar.protocol import StreamKey
from tests.handmade import SECOND

BTC, ETH = StreamKey("chain", "deribit", "BTC"), StreamKey("chain", "deribit", "ETH")


def delta(seq: int, key: StreamKey = BTC, size: int = 100) -> Frame:
    return Frame(b"x" * size, key, seq)


def outbox(soft: int = 350, hard: int = 1000) -> Outbox:
    return Outbox(soft, hard, 10 * SECOND)


def test_messages_leave_in_order_while_they_fit() -> None:
    box = outbox()
    for seq in (1, 2, 3):
        box.put(delta(seq), 0)
    assert [box.take(), box.take(), box.take(), box.take()] == [delta(1), delta(2), delta(3), None]
    assert (box.size, box.dropped) == (0, 0)


def test_V01_beyond_the_soft_limit_a_stream_becomes_a_gap() -> None:
    box = outbox()
    for seq in range(1, 9):
        box.put(delta(seq), 0)
    assert box.size == 0
    assert box.take() == Gap(BTC, 1)
    assert (box.dropped, box.gaps) == (8, 1)
    box.put(delta(9), 0)
    assert box.take() == delta(9)


def test_V01_one_streams_gap_leaves_the_others_messages() -> None:
    box = outbox()
    box.put(delta(1, ETH), 0)
    for seq in range(1, 5):
        box.put(delta(seq, BTC), 0)
    assert [box.take(), box.take(), box.take()] == [delta(1, ETH), Gap(BTC, 1), None]


def test_V01_a_client_that_stays_behind_is_overdue() -> None:
    box = outbox()
    for seq in range(1, 9):
        box.put(delta(seq), 0)
    assert not box.overdue(10 * SECOND)
    assert box.overdue(10 * SECOND + 1)
    box.take()
    assert box.overdue(11 * SECOND)  # the gap is on its way, but it has not caught up
    assert box.take() is None
    assert not box.overdue(12 * SECOND)


def test_V02_a_write_that_does_not_end_is_overdue() -> None:
    box = outbox()
    box.writing(100, 0)
    assert not box.overdue(10 * SECOND)
    assert box.overdue(10 * SECOND + 1)
    box.written()
    assert not box.overdue(20 * SECOND)


def test_V01_the_hard_limit_holds_for_replies_too() -> None:
    box = outbox()
    for _ in range(10):
        box.put(Frame(b"y" * 100), 0)
    with pytest.raises(Overflow):
        box.put(Frame(b"y"), 0)


def test_a_snapshot_larger_than_the_soft_limit_passes_when_nothing_waits() -> None:
    box = outbox()
    box.put(delta(1, size=900), 0)
    assert box.take() == delta(1, size=900)


def test_a_new_subscription_forgets_what_waited_of_the_old() -> None:
    box = outbox()
    for seq in range(1, 9):
        box.put(delta(seq), 0)
    box.restart(BTC)
    box.put(delta(9), 0)
    assert [box.take(), box.take()] == [delta(9), None]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 400))))
def test_V01_whatever_happens_the_queue_is_bounded_and_nothing_is_lost_unsaid(steps: list[tuple[bool, int]]) -> None:
    box, seq, next_seq = outbox(), 0, 1
    for reads, size in steps:
        if reads:
            item = box.take()
            if isinstance(item, Gap):
                assert item.first == next_seq
                next_seq = seq + 1  # the snapshot that follows has the newest seq
            elif item is not None:
                assert item.seq == next_seq
                next_seq += 1
        else:
            seq += 1
            box.put(delta(seq, size=size), 0)
        assert box.size <= 400
