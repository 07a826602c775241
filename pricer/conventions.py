"""The words that every number comes with: status, reasons, time to expiry, Greek conventions.

`Status` and `Reason` are part of the public contract (columns, wire, dashboards): values are never changed or reused,
new reasons are appended. `docs/conventions.md` holds every symbol, unit and sign.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Literal, TypeAlias, get_args

NS_PER_DAY = 86_400_000_000_000
NS_PER_YEAR = 365 * NS_PER_DAY

# "No such instant" in int64 columns; equal to numpy's NaT, so that a cast to datetime64 says so too.
NO_TIME = -(2**63)


class Status(IntEnum):
    """May this number be traded on? The worst input decides, so statuses combine by `max`."""

    OK = 0  # all inputs in sync, fresh and consistent
    DEGRADED = 1  # computed, but an input was repaired, extrapolated, one-sided, wide or a fallback
    STALE = 2  # the last good value; an input is older than its limit
    INVALID = 3  # there is no meaningful value: NaN in columns, null on the wire


class Reason(IntFlag):
    """Why a number is not plain `OK`: a set, as a 64-bit mask. Append only."""

    NO_UNDERLYING = 1 << 0
    UNDERLYING_STALE = 1 << 1
    QUOTE_STALE = 1 << 2
    NO_QUOTE = 1 << 3
    ONE_SIDED = 1 << 4
    WIDE_SPREAD = 1 << 5
    CROSSED = 1 << 6
    LOCKED = 1 << 7
    BOOK_GAP = 1 << 8
    RESYNCING = 1 << 9
    CHECKSUM_FAIL = 1 << 10
    OUT_OF_BAND = 1 << 11
    BELOW_INTRINSIC = 1 << 12
    ABOVE_MAX = 1 << 13
    NO_CONVERGENCE = 1 << 14
    LOW_VEGA = 1 << 15
    FIT_FAILED = 1 << 16
    FIT_LAST_GOOD = 1 << 17
    FIT_UNDERDETERMINED = 1 << 18
    EXTRAPOLATED = 1 << 19
    ARB_REPAIRED = 1 << 20
    SETTLING = 1 << 21
    EXPIRED = 1 << 22
    NOT_TRADING = 1 << 23
    VENUE_DOWN = 1 << 24
    VENUE_MAINTENANCE = 1 << 25
    CLOCK_SUSPECT = 1 << 26
    OVERLOADED = 1 << 27
    CONFLATED = 1 << 28
    REPLAY = 1 << 29
    MODEL_LIMIT = 1 << 30
    BAD_INPUT = 1 << 31
    JUMP_UNCONFIRMED = 1 << 32
    FORWARD_IMPLIED = 1 << 33

    @property
    def names(self) -> tuple[str, ...]:
        """The reasons in this set by name, in the order of the list: what goes on the wire."""
        return _names_of(self)

    @property
    def label(self) -> str:
        """The names joined for people; empty where there is no reason."""
        return ", ".join(self.names)


@functools.lru_cache(maxsize=1024)  # few sets of reasons are ever met, each of them thousands of times
def _names_of(reasons: Reason) -> tuple[str, ...]:
    return tuple(str(reason.name) for reason in Reason if reason in reasons)


NO_REASON = Reason(0)
# These say how a number came about, not what is wrong with it; they go with OK.
INFORMING = Reason.CONFLATED | Reason.REPLAY


def ttm_years(expiry_ns: int, now_ns: int) -> float:
    """Time to maturity in years, ACT/365 from integer nanoseconds: continuous, never floored, negative after expiry.

    >>> ttm_years(NS_PER_YEAR, 0)
    1.0
    """
    return (expiry_ns - now_ns) / NS_PER_YEAR


# What becomes of a strike's volatility when the market moves: `pricer.surfaces.dynamics` has the rules.
Dynamics: TypeAlias = Literal["sticky_strike", "sticky_moneyness", "sticky_delta", "minimum_variance"]
DYNAMICS: tuple[Dynamics, ...] = get_args(Dynamics)


@dataclass(frozen=True, slots=True)
class GreekConvention:
    """How the published Greeks are meant; echoed by every snapshot and message.

    Under `dynamics` other than "sticky_strike" delta and gamma (with all delta forms) are total derivatives in the
    forward, and under "sticky_delta" vega and theta are, too.
    """

    greeks: Literal["raw_partial_derivatives"] = "raw_partial_derivatives"
    day_count: Literal["ACT/365"] = "ACT/365"
    dynamics: Dynamics = "sticky_strike"
    theta: Literal["minus_d_ttm_at_fixed_forward"] = "minus_d_ttm_at_fixed_forward"
    value_currency: Literal["quote"] = "quote"


RAW_GREEKS = GreekConvention()
