"""A key of Deribit that may do more than read: FAULTS Z15."""

from __future__ import annotations

from typing import Any

import pytest

from pricer.adapters.deribit import Credentials
from pricer.adapters.deribit.account import EXCESS_RIGHTS
from pricer.adapters.deribit.rights import SCOPE, excess
from pricer.adapters.events import AccountStatus
from pricer.errors import ConfigError
from tests.adapters.private_venue import CANARY, KEY, TOKENS, PrivateVenue

TRADER = "account:read trade:read_write wallet:none"
BANKER = "account:read_write trade:read wallet:read_write"


def told(venue: PrivateVenue) -> list[tuple[str, str]]:
    return [(each.state, each.reason) for each in venue.events if isinstance(each, AccountStatus)]


def opened(rights: Any, **more: Any) -> PrivateVenue:
    venue = PrivateVenue(**more)
    venue.rights = rights
    venue.open()
    return venue


@pytest.mark.parametrize(
    ("granted", "beyond"),
    [
        (SCOPE, ()),
        ("", ()),
        ("session:read_write expires:100 ip:10.0.0.7 mainaccount", ()),
        ("trade:none account:none wallet:none", ()),
        ("block_trade:read custody:none", ()),
        ("block_trade:read_write", ("block_trade:read_write",)),
        ("wallet:read", ("wallet:read",)),
        ("trade:read trade:read_write", ("trade:read_write",)),
        (f"connection {BANKER}", ("account:read_write", "wallet:read_write")),
        (":read_write trade: trade:: trade:READ_WRITE", (":read_write",)),
    ],
)
def test_Z15_rights_beyond_reading_are_found(granted: str, beyond: tuple[str, ...]) -> None:
    assert excess(granted) == beyond


@pytest.mark.parametrize(("rights", "named"), [(TRADER, "trade:read_write"), (BANKER, "wallet:read_write")])
def test_Z15_a_key_that_may_trade_or_withdraw_is_told_of_with_the_login(rights: str, named: str) -> None:
    venue = opened(rights)
    (status,) = [each for each in venue.events if isinstance(each, AccountStatus)]
    assert (status.state, status.reason) == ("logged_in", EXCESS_RIGHTS)
    assert named in status.detail
    assert not any(secret in status.detail for secret in (KEY, CANARY, *TOKENS))
    assert venue.private, "it goes on"
    venue.pass_time(800)
    assert told(venue) == [("logged_in", EXCESS_RIGHTS)], "told once, not with each renewal"
    assert venue.adapter.counters["account.excess_rights"] == len(venue.logins) == 2


def test_Z15_where_that_is_to_be_refused_the_login_is_not_used() -> None:
    venue = opened(TRADER, excess_rights="refuse")
    venue.pass_time(100)
    assert told(venue) == [("refused", EXCESS_RIGHTS)]
    assert venue.private == []
    assert not [message for message in venue.asked if message["method"].startswith("private/")]
    assert venue.subscribed, "public channels have nothing to do with it"
    assert min(venue.seconds_between_logins()[2:]) >= 10.0, "at the pace of failures"


def test_Z15_a_key_that_was_put_right_logs_in_again() -> None:
    venue = opened(TRADER, excess_rights="refuse")
    venue.rights = "account:read trade:read wallet:none"
    venue.pass_time(30)
    assert told(venue) == [("refused", EXCESS_RIGHTS), ("logged_in", "")]
    assert venue.private


def test_Z15_a_key_that_is_given_more_later_loses_its_login_at_the_next_renewal() -> None:
    venue = opened("account:read trade:read", excess_rights="refuse", interval="raw")
    venue.rights = TRADER
    venue.pass_time(900)
    assert told(venue)[:2] == [("logged_in", ""), ("logged_out", EXCESS_RIGHTS)]
    assert not any(name.endswith(".raw") for name in venue.subscribed)


@pytest.mark.parametrize("shown", ["", "mainaccount", "\x00 trade: :: read_write"])
def test_a_venue_that_shows_no_rights_is_not_complained_of(shown: str) -> None:
    assert told(opened(shown, excess_rights="refuse")) == [("logged_in", "")]


def test_what_follows_from_excess_rights_is_one_of_two_words() -> None:
    with pytest.raises(ConfigError, match="'warn' or 'refuse'"):
        Credentials(KEY, CANARY, excess_rights="shrug")  # type: ignore[arg-type]
