"""Index, perpetual and forwards: what is taken, what is refused, and until when it holds."""

from __future__ import annotations

import math

import pytest

from pricer.adapters.events import UnderlyingPrice
from pricer.conventions import Reason, Status
from pricer.engine.underlying import ForwardTracker, IndexTracker, PerpetualTracker
from tests.scene import SECOND, START

LIMIT, RATIO_LIMIT = 2 * SECOND, 12 * SECOND


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_D05_a_basis_ratio_is_made_of_two_prices_or_not_at_all(bad: float) -> None:
    index, forward = IndexTracker(), ForwardTracker()
    forward.update(101.0, 100.0, None, START)
    later = START.plus(SECOND)
    forward.update(102.0, bad, None, later)
    index.update(100.0, None, later.plus(1))
    value = forward.published(index, later.plus(1), LIMIT, RATIO_LIMIT)
    assert value.value == pytest.approx(101.0)
    assert (value.source, value.status) == ("basis", Status.OK)


def test_a_basis_forward_holds_no_longer_than_its_ratio() -> None:
    index, forward = IndexTracker(), ForwardTracker()
    forward.update(101.0, 100.0, None, START)
    now = START.plus(RATIO_LIMIT - SECOND)
    index.update(100.0, None, now)
    value = forward.published(index, now, LIMIT, RATIO_LIMIT)
    assert value.status is Status.OK
    assert value.valid_until_ns == START.mono_ns + RATIO_LIMIT
    assert forward.published(index, START.plus(RATIO_LIMIT + 1), LIMIT, RATIO_LIMIT).status is Status.STALE


def test_a_basis_forward_of_a_silent_index_is_stale_but_not_resyncing() -> None:
    index, forward = IndexTracker(), ForwardTracker()
    forward.update(101.0, 100.0, None, START)
    index.update(100.0, None, START.plus(1))
    value = forward.published(index, START.plus(LIMIT + 2), LIMIT, RATIO_LIMIT)
    assert (value.status, value.reasons) == (Status.STALE, Reason.UNDERLYING_STALE)


def test_a_stamp_far_ahead_shuts_prices_out_only_until_the_next_connection() -> None:
    index = IndexTracker()
    assert index.update(100.0, START.wall_ns + 10**15, START)
    assert not index.update(101.0, START.wall_ns, START.plus(1))
    index.suspect()
    assert index.update(101.0, START.wall_ns, START.plus(2))
    assert index.published(START.plus(2), LIMIT).status is Status.OK


def test_a_perpetual_older_than_the_one_held_changes_nothing() -> None:
    def news(stamp: int, price: float) -> UnderlyingPrice:
        return UnderlyingPrice(
            venue="deribit",
            received=START,
            exchange_ns=stamp,
            kind="perpetual",
            price_index="btc_usd",
            price=price,
            bid=price - 1.0,
            ask=price + 1.0,
        )

    perpetual = PerpetualTracker()
    perpetual.store(news(2, 100.0))
    perpetual.store(news(1, 90.0))
    value = perpetual.published(START, LIMIT)
    assert (value.value, value.bid, value.ask) == (100.0, 99.0, 101.0)
