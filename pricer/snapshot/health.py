"""What stands beside the numbers: connections, venues, the account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pricer.adapters.events import AccountStatus, Portfolio, Position
from pricer.clock import Instant
from pricer.conventions import NO_REASON, Reason, Status


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """One connection as the engine last heard of it."""

    venue: str
    connection: str
    state: str
    reason: str
    since: Instant


@dataclass(frozen=True, slots=True)
class VenueHealth:
    """One venue as a whole: how many connections are up, whether it trades, and how its clock and ours compare.

    `state` is "open", "locked" or "maintenance"; `closed_indices` are those that alone are not open. `skew_ns` is our
    wall clock less the venue's, right to half of `round_trip_ns`; `lag_ns` how late the newest price of an underlying
    came. Each is None while it is not known: a price from before it was so says nothing of lateness.
    """

    venue: str
    state: str = "open"
    closed_indices: tuple[str, ...] = ()
    connections: int = 0
    skew_ns: int | None = None
    round_trip_ns: int | None = None
    lag_ns: int | None = None
    reasons: Reason = NO_REASON


@dataclass(frozen=True, slots=True)
class AccountView:
    """The account as the venue tells of it: positions by instrument, portfolios by currency, in the venue's numbers.

    `status` is that of all of them: STALE after a logout, and after a login until the first private message; INVALID,
    and empty, where the venue refuses the login.
    """

    status: Status
    reasons: Reason
    login: AccountStatus
    positions: Mapping[str, Position]
    portfolios: Mapping[str, Portfolio]
