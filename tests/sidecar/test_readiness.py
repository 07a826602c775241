"""When traffic may be sent: the index is fresh and 90 % of the expiries are covered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pricer.clock import Instant, ManualClock
from pricer.conventions import Reason, Status
from pricer.sidecar.readiness import readiness
from pricer.snapshot import ROW_PAIR
from tests.handmade import SECOND
from tests.sidecar.snapshots import Market

START = Instant(1_795_000_000 * SECOND, 1000 * SECOND)


@pytest.fixture
def market() -> Market:
    return Market(ManualClock(START), expiries=10)


def spoil(market: Market, expiry: int, rows: slice) -> None:
    """Some options of an expiry have no numbers."""
    block = market.blocks[expiry]
    status = block.status.copy()
    status[ROW_PAIR, rows] = Status.DEGRADED
    market.blocks[expiry] = replace(block, status=status)


def missing(market: Market) -> tuple[str, ...]:
    return readiness(market.snapshot(), "deribit", ["BTC"]).missing


def test_a_chain_in_order_is_ready(market: Market) -> None:
    assert readiness(market.snapshot(), "deribit", ["BTC"]).ready


def test_nine_of_ten_expiries_are_enough(market: Market) -> None:
    spoil(market, 0, slice(None))
    assert missing(market) == ()
    spoil(market, 1, slice(0, 10))
    found = missing(market)
    assert found[0] == "deribit BTC: 8 of 10 expiries are covered, 9 are needed"
    assert found[1].endswith("has 0 OK options below the forward and 0 above it, of 20 listed")
    assert found[2].endswith("has 2 OK options below the forward and 7 above it, of 20 listed")


def test_expiries_that_settle_are_not_asked_for(market: Market) -> None:
    for expiry in (0, 1):
        spoil(market, expiry, slice(None))
    assert missing(market)[0] == "deribit BTC: 8 of 10 expiries are covered, 9 are needed"
    for expiry in (0, 1):
        block = market.blocks[expiry]
        market.blocks[expiry] = replace(block, reasons=block.reasons | np.uint64(Reason.SETTLING))
    assert missing(market) == ()
    spoil(market, 2, slice(None))
    assert missing(market)[0] == "deribit BTC: 7 of 8 expiries are covered, 8 are needed"


def test_three_options_on_each_side_cover_an_expiry(market: Market) -> None:
    for expiry in range(10):
        spoil(market, expiry, slice(0, 7))
        spoil(market, expiry, slice(14, None))
    strikes = market.definitions[0].strike
    forward = market.blocks[0].forward.value
    assert np.count_nonzero(strikes[7:14] < forward) == 3
    assert missing(replace_forwards(market, forward)) == ()
    spoil(market, 0, slice(7, 8))
    spoil(market, 1, slice(7, 8))
    assert len(missing(replace_forwards(market, forward))) == 3


def replace_forwards(market: Market, forward: float) -> Market:
    market.blocks = [replace(b, forward=replace(b.forward, value=forward)) for b in market.blocks]
    return market


def test_an_expiry_with_few_options_is_covered_by_all_of_them() -> None:
    market = Market(ManualClock(START), expiries=1, strikes=2)
    spoil(market, 0, slice(0, 0))
    block = market.blocks[0]
    market.blocks[0] = replace(block, status=np.zeros_like(block.status))
    assert missing(market) == ()
    spoil(market, 0, slice(0, 1))
    assert len(missing(market)) == 2


def test_V11_silence_ends_readiness(market: Market) -> None:
    snapshot = market.snapshot()
    assert isinstance(market.clock, ManualClock)
    market.clock.advance(3 * SECOND)
    found = readiness(snapshot, "deribit", ["BTC"]).missing
    assert found[0] == "deribit BTC: the index is STALE (UNDERLYING_STALE)"
    assert found[1] == "deribit BTC: 0 of 10 expiries are covered, 9 are needed"


def test_every_configured_underlying_counts(market: Market) -> None:
    listed = ("deribit ETH: the venue lists no options of it",)
    assert readiness(market.snapshot(), "deribit", ["BTC", "ETH"]).missing == listed
    assert readiness(None, "deribit", ["BTC"]).missing == ("deribit: nothing has been computed yet",)


def test_an_underlying_that_the_venue_does_not_list_is_told_apart_from_one_that_is_not_known_yet(
    market: Market,
) -> None:
    assert isinstance(market.clock, ManualClock)
    market.feed = replace(market.feed, state="open", since=market.clock.now())
    assert readiness(market.snapshot(), "deribit", ["DOGE"]).missing == ("deribit DOGE: no options are known yet",)
    market.clock.advance(11 * SECOND)  # its list was refused: the connection does not become live
    found = "deribit DOGE: the venue is connected and lists no options of it for 10 s"
    assert readiness(market.snapshot(), "deribit", ["DOGE"]).missing == (found,)


def test_a_lost_connection_is_named_first_as_the_cause(market: Market) -> None:
    market.feed = replace(market.feed, state="closed", reason="refused")
    assert missing(market) == ()
    spoil(market, 0, slice(None))
    spoil(market, 1, slice(None))
    assert missing(market)[:2] == (
        "deribit: no connection (refused)",
        "deribit BTC: 8 of 10 expiries are covered, 9 are needed",
    )
