"""What the venue lists: families, expiries at 08:00 UTC, strike ladders, names.

The calendar follows the listings recorded in 2026: the next four days, the next four Fridays, the last Fridays of the
next three months and of the next four quarters. Strikes lie on multiples of a family's strike unit, dense around the
forward and coarser outside; nearer expiries have finer and narrower ladders.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from pricer.conventions import NS_PER_DAY

Period = Literal["day", "week", "month"]

EXPIRY_HOUR_NS = 8 * 3_600_000_000_000
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


@dataclass(frozen=True, slots=True)
class Ticks:
    """Price steps: `fine` up to `above`, `coarse` beyond; `decimals` are those of a displayed price."""

    fine: float
    coarse: float
    above: float
    decimals: int


@dataclass(frozen=True, slots=True)
class Family:
    """One underlying's options and futures: what they settle in, and how they are quoted."""

    name: str
    base: str
    counter: str  # currency of strike and index
    settlement: str  # currency of the premium
    index_name: str
    inverse: bool  # premium in coin; else in the counter currency per coin
    ticks: Ticks
    future_tick: float
    future_contract: float
    strike_unit: float
    min_amount: float
    size_decimals: int
    index_ratio: float  # this family's index over the market's spot
    months_only: int | None  # list just this many monthly expiries; None: the whole calendar


@dataclass(frozen=True, slots=True)
class Expiry:
    """One expiry of the calendar; `quarterly` for the last Friday of March, June, September and December."""

    expiry_ns: int
    period: Period
    quarterly: bool

    @property
    def code(self) -> str:
        """The day as instrument names spell it: no zero before the day.

        >>> Expiry(9 * NS_PER_DAY, "day", False).code
        '10JAN70'
        """
        day = _day(self.expiry_ns)
        return f"{day.day}{MONTHS[day.month - 1]}{day.year % 100:02d}"


def _day(wall_ns: int) -> date:
    return datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC).date()


def _expiry(day: date) -> Expiry:
    last_friday = day.weekday() == 4 and (day + timedelta(7)).month != day.month
    period: Period = "month" if last_friday else "week" if day.weekday() == 4 else "day"
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Expiry(
        int(midnight.timestamp()) * 1_000_000_000 + EXPIRY_HOUR_NS, period, last_friday and day.month % 3 == 0
    )


def expiries(now_ns: int) -> list[Expiry]:
    """The listed expiries at `now_ns`, nearest first; an expiry at exactly `now_ns` is over."""
    first = _day(now_ns - EXPIRY_HOUR_NS) + timedelta(1)
    calendar = [_expiry(first + timedelta(n)) for n in range(380)]
    fridays = [e for e in calendar if e.period != "day"]
    months = [e for e in fridays if e.period == "month"]
    quarters = [e for e in months if e.quarterly]
    chosen = {*calendar[:4], *fridays[:4], *months[:3], *quarters[:4]}
    return sorted(chosen, key=lambda e: e.expiry_ns)


# Ladders: up to so many days, then (step in strike units, reach below, reach above the forward), the centre first.
_LADDERS: tuple[tuple[float, tuple[tuple[int, float, float], ...]], ...] = (
    (2.0, ((1, 0.05, 0.05), (2, 0.12, 0.12), (4, 0.18, 0.18))),
    (8.0, ((2, 0.09, 0.09), (4, 0.20, 0.24), (10, 0.30, 0.40))),
    (36.0, ((2, 0.09, 0.09), (4, 0.20, 0.20), (10, 0.40, 0.50))),
    (120.0, ((5, 0.12, 0.12), (10, 0.30, 0.30), (20, 0.55, 0.80))),
    (float("inf"), ((10, 0.25, 0.25), (20, 0.60, 1.20), (40, 0.70, 2.00))),
)


def ladder(forward: float, days: float, unit: float) -> list[float]:
    """Strikes to list for an expiry `days` away: sorted multiples of `unit` around `forward`."""
    rungs = next(rungs for until, rungs in _LADDERS if days <= until)
    strikes: set[float] = set()
    for step, below, above in rungs:
        size = step * unit
        low, high = forward * (1.0 - below), forward * (1.0 + above)
        strikes.update(size * n for n in range(max(int(low // size), 1), int(high // size) + 1))
    return sorted(strikes)


def option_name(family: str, code: str, strike: float, cp: float) -> str:
    """An option's name; `d` stands for the decimal point of a strike.

    >>> option_name("BTC", "27DEC26", 100000.0, 1.0), option_name("XRP_USDC", "9MAR24", 0.625, -1.0)
    ('BTC-27DEC26-100000-C', 'XRP_USDC-9MAR24-0d625-P')
    """
    digits = f"{strike:.10f}".rstrip("0").rstrip(".").replace(".", "d")
    return f"{family}-{code}-{digits}-{'C' if cp > 0 else 'P'}"


BTC = Family(
    name="BTC",
    base="BTC",
    counter="USD",
    settlement="BTC",
    index_name="btc_usd",
    inverse=True,
    ticks=Ticks(fine=0.0001, coarse=0.0005, above=0.005, decimals=4),
    future_tick=0.5,
    future_contract=10.0,
    strike_unit=500.0,
    min_amount=0.1,
    size_decimals=1,
    index_ratio=1.0,
    months_only=None,
)

# The tick of today's linear BTC options is in no source at hand: 5 USDC at every price is our choice.
BTC_USDC = Family(
    name="BTC_USDC",
    base="BTC",
    counter="USDC",
    settlement="USDC",
    index_name="btc_usdc",
    inverse=False,
    ticks=Ticks(fine=5.0, coarse=5.0, above=0.0, decimals=4),
    future_tick=1.0,
    future_contract=0.001,
    strike_unit=1000.0,
    min_amount=0.01,
    size_decimals=2,
    index_ratio=1.0002,
    months_only=4,
)

FAMILIES = (BTC, BTC_USDC)


def listed(family: Family, now_ns: int) -> list[Expiry]:
    """The expiries of one family, nearest first."""
    calendar = expiries(now_ns)
    if family.months_only is None:
        return calendar
    return [e for e in calendar if e.period == "month"][: family.months_only]


def days_to(expiry_ns: int, now_ns: int) -> float:
    """Days from `now_ns` to an expiry."""
    return (expiry_ns - now_ns) / NS_PER_DAY
