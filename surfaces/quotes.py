"""Which quotes of one expiry enter a fit, how they enter, and why the others do not.

One strike gives one observation: of its call and put the out-of-the-money one (calls at K >= F, puts below), since the
other's price is mostly intrinsic value and its spread is wider. The in-the-money side stands in where the
out-of-the-money side has no two-sided quote.

- A two-sided quote is a *mid*: residual (sigma − mid)/half-spread, in vol.
- A quote with one side missing is a *bound*: no mid is made of it, and it speaks only where the smile is on its wrong
  side. (A bid below intrinsic value has no vol, so it is a missing bid.)
- Crossed quotes, quotes far off their neighbours and impossible numbers stay out.

Half-spreads have a floor, one price tick in vol and at least 0.05 vol points, since no quote is known better than
that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pricer.conventions import Reason
from pricer.kernels.jit import kernel
from pricer.surfaces.smile import Array

HALF_SPREAD_FLOOR = 5e-4  # vol; 0.05 vol points

# Against the median mid of its seven nearest observations. Adjacent listed strikes differ by far less even in the
# steepest recorded wing; a price of 100 times the fair one is far outside.
BAND_FACTOR = 2.5
_NEIGHBOURS = 3  # on each side

# The width that a bound is measured in, as a share of its own vol: a bound has no spread of its own.
BOUND_WIDTH = 0.05

# So many seconds longer without proof of life than the slice's youngest observation, and one counts half.
AGE_HALF_LIFE = 30.0


# The columns of an observation.
K, LOW, HIGH, WIDTH, WEIGHT = range(5)


class Role(IntEnum):
    """How a quote enters a fit."""

    EXCLUDED = 0  # its reasons say why
    MID = 1
    UPPER_BOUND = 2  # only an ask
    LOWER_BOUND = 3  # only a bid
    OTHER_SIDE = 4  # a good quote, but its strike is represented by the other option


@dataclass(frozen=True, slots=True, eq=False)
class SliceQuotes:
    """The quotes of one expiry, in vol; NaN means that a side is missing.

    `strikes`, `bid_iv`, `ask_iv` and the optional columns have one row per option, in any order. `cp` is +1 for calls,
    −1 for puts (without it every row stands for its strike). `forwards` are those of each quote's own instant: its k
    and its out-of-the-money side count from there. `ages` are seconds since the last proof of life. `iv_floor` is one
    price tick in vol.
    """

    ttm: float
    forward: float
    strikes: Array
    bid_iv: Array
    ask_iv: Array
    forwards: Array | None = None
    ages: Array | None = None
    cp: npt.NDArray[np.float64] | None = None
    iv_floor: Array | None = None

    def __post_init__(self) -> None:
        if not (self.ttm > 0.0 and math.isfinite(self.ttm)):
            raise ValueError(f"ttm must be positive and finite, not {self.ttm!r}")
        if not (self.forward > 0.0 and math.isfinite(self.forward)):
            raise ValueError(f"forward must be positive and finite, not {self.forward!r}")
        size = np.size(self.strikes)
        for name in ("strikes", "bid_iv", "ask_iv", "forwards", "ages", "cp", "iv_floor"):
            column = getattr(self, name)
            if column is None:
                continue
            # A copy of our own, so that the caller may go on writing into its columns.
            column = np.array(column, dtype=np.float64).reshape(-1)
            if column.size != size:
                raise ValueError(f"{name} has {column.size} rows, strikes has {size}")
            column.flags.writeable = False
            object.__setattr__(self, name, column)


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The observations of one expiry in order of k, and what became of every quote.

    `observations` has a row for each: k, low, high (bid and ask vol; −inf or inf where a bound has no other side),
    width (half-spread in vol) and weight (of age). `row` is their index into the quotes; `role` and `reasons` have one
    entry per quote.
    """

    observations: Array
    row: npt.NDArray[np.int64]
    role: npt.NDArray[np.uint8]
    reasons: npt.NDArray[np.uint64]
    mids: int

    @property
    def k_range(self) -> tuple[float, float]:
        """The quoted range of k (mids and bounds); NaN where there is none."""
        k = self.observations[:, K]
        return (float(k[0]), float(k[-1])) if k.size else (math.nan, math.nan)

    def excluded(self) -> dict[str, int]:
        """How many quotes did not enter, by reason."""
        out = self.reasons[self.role == Role.EXCLUDED]
        return {str(reason.name): int(count) for reason in Reason if (count := np.count_nonzero(out & reason.value))}


def select(quotes: SliceQuotes) -> Selection:
    """Choose and weigh the observations of one expiry."""
    n = quotes.strikes.size
    observations = np.empty((n, 5))
    row = np.empty(n, dtype=np.int64)
    role = np.zeros(n, dtype=np.uint8)
    reasons = np.zeros(n, dtype=np.uint64)
    size, mids = _select(
        quotes.strikes,
        _NONE if quotes.cp is None else quotes.cp,
        quotes.bid_iv,
        quotes.ask_iv,
        quotes.forward,
        _NONE if quotes.forwards is None else quotes.forwards,
        _NONE if quotes.ages is None else quotes.ages,
        _NONE if quotes.iv_floor is None else quotes.iv_floor,
        observations,
        row,
        role,
        reasons,
    )
    return Selection(observations[:size], row[:size], role, reasons, mids)


# An absent column, as the kernel sees it; read-only like the columns themselves, so that one compilation serves both.
_NONE = np.empty(0)
_NONE.flags.writeable = False

# Reason and Role as plain integers, for the kernel.
_BAD_INPUT = np.uint64(Reason.BAD_INPUT)
_NO_QUOTE = np.uint64(Reason.NO_QUOTE)
_ONE_SIDED = np.uint64(Reason.ONE_SIDED)
_CROSSED = np.uint64(Reason.CROSSED)
_LOCKED = np.uint64(Reason.LOCKED)
_OUT_OF_BAND = np.uint64(Reason.OUT_OF_BAND)
_EXCLUDED, _MID, _UPPER, _LOWER, _OTHER_SIDE = (int(role) for role in Role)


@kernel
def _select(
    strikes: Array,
    cp: Array,
    bid: Array,
    ask: Array,
    forward: float,
    forwards: Array,
    ages: Array,
    iv_floor: Array,
    observations: Array,
    row: npt.NDArray[np.int64],
    role: npt.NDArray[np.uint8],
    reasons: npt.NDArray[np.uint64],
) -> tuple[int, int]:
    """Fill `observations`, `row`, `role`, `reasons`; the numbers of observations and of mids."""
    for i in range(strikes.size):
        own = forwards[i] if forwards.size else forward
        role[i], reasons[i] = _classify(strikes[i], own, bid[i], ask[i])
    size = _one_per_strike(strikes, cp, forward, forwards, role, row)
    for j in range(size):
        i = row[j]
        observations[j, K] = math.log(strikes[i] / (forwards[i] if forwards.size else forward))
        observations[j, LOW] = -math.inf if role[i] == _UPPER else bid[i]
        observations[j, HIGH] = math.inf if role[i] == _LOWER else ask[i]
        observations[j, WIDTH] = _width(role[i], bid[i], ask[i], iv_floor[i] if iv_floor.size else 0.0)
        age = ages[i] if ages.size else 0.0
        observations[j, WEIGHT] = 2.0 ** (-age / AGE_HALF_LIFE) if age > 0.0 else 1.0
    _sort_by_k(observations, row, size)
    size = _drop_outliers(observations, row, role, reasons, size)
    _relate_weights(observations, size)
    mids = 0
    for j in range(size):
        mids += role[row[j]] == _MID
    return size, mids


@kernel
def _relate_weights(observations: Array, size: int) -> None:
    """Age decides between quotes: the youngest weighs 1. Were all of them light, the barrier would outweigh them."""
    largest = 0.0
    for j in range(size):
        largest = max(largest, observations[j, WEIGHT])
    for j in range(size):
        observations[j, WEIGHT] = observations[j, WEIGHT] / largest if largest > 0.0 else 1.0


@kernel
def _classify(strike: float, forward: float, bid: float, ask: float) -> tuple[int, np.uint64]:
    if not (strike > 0.0 and forward > 0.0 and strike < math.inf and forward < math.inf):
        return _EXCLUDED, _BAD_INPUT
    if bid <= 0.0 or ask <= 0.0 or bid == math.inf or ask == math.inf:
        return _EXCLUDED, _BAD_INPUT  # a missing side is NaN, never 0
    if math.isnan(bid):
        return (_EXCLUDED, _NO_QUOTE) if math.isnan(ask) else (_UPPER, _ONE_SIDED)
    if math.isnan(ask):
        return _LOWER, _ONE_SIDED
    if bid > ask:
        return _EXCLUDED, _CROSSED
    return _MID, _LOCKED if bid == ask else np.uint64(0)


@kernel
def _one_per_strike(
    strikes: Array,
    cp: Array,
    forward: float,
    forwards: Array,
    role: npt.NDArray[np.uint8],
    row: npt.NDArray[np.int64],
) -> int:
    """Write the rows that represent their strikes into `row`; the others' roles become OTHER_SIDE."""
    order = np.empty(strikes.size, dtype=np.int64)
    for j in range(order.size):  # insertion: columns mostly come sorted by strike; equal strikes keep their order
        place = j
        while place > 0 and strikes[order[place - 1]] > strikes[j]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = j
    size = 0
    for j in range(order.size):
        i = order[j]
        if role[i] == _EXCLUDED:
            continue
        last = row[size - 1] if size else -1
        if cp.size == 0 or size == 0 or strikes[last] != strikes[i] or cp[last] == cp[i]:
            row[size] = i
            size += 1
            continue
        own = forwards[i] if forwards.size else forward
        out_of_the_money = (cp[i] > 0.0) == (strikes[i] >= own)
        two_sided, last_two_sided = role[i] == _MID, role[last] == _MID
        if (two_sided and not last_two_sided) or (two_sided == last_two_sided and out_of_the_money):
            row[size - 1] = i
            role[last] = _OTHER_SIDE
        else:
            role[i] = _OTHER_SIDE
    return size


@kernel
def _width(role: int, bid: float, ask: float, floor: float) -> float:
    width = 0.5 * (ask - bid) if role == _MID else BOUND_WIDTH * (ask if role == _UPPER else bid)
    return max(width, HALF_SPREAD_FLOOR, floor if floor > 0.0 else 0.0)


@kernel
def _sort_by_k(observations: Array, row: npt.NDArray[np.int64], size: int) -> None:
    # Insertion: nearly sorted already, since only the quotes' own forwards can change the order of strikes.
    for j in range(1, size):
        i = j
        while i > 0 and observations[i - 1, K] > observations[i, K]:
            for c in range(observations.shape[1]):
                kept = observations[i, c]
                observations[i, c] = observations[i - 1, c]
                observations[i - 1, c] = kept
            row[i - 1], row[i] = row[i], row[i - 1]
            i -= 1


@kernel
def _drop_outliers(
    observations: Array,
    row: npt.NDArray[np.int64],
    role: npt.NDArray[np.uint8],
    reasons: npt.NDArray[np.uint64],
    size: int,
) -> int:
    """Exclude observations whose bid or ask is out of the band around the median vol of their neighbours."""
    seen = np.empty(size)
    for j in range(size):
        low, high = observations[j, LOW], observations[j, HIGH]
        seen[j] = 0.5 * (low + high) if role[row[j]] == _MID else math.nan
    kept = 0
    for j in range(size):
        median = _median_around(seen, j)
        low, high = observations[j, LOW], observations[j, HIGH]
        # A wide quote is honest about it; only a side that no neighbour supports is out of the band.
        too_high = low > BAND_FACTOR * median or (high > 2.0 * BAND_FACTOR * median and low > -math.inf)
        if too_high or high < median / BAND_FACTOR:
            role[row[j]] = _EXCLUDED
            reasons[row[j]] |= _OUT_OF_BAND
            continue
        for c in range(observations.shape[1]):
            observations[kept, c] = observations[j, c]
        row[kept] = row[j]
        kept += 1
    return kept


@kernel
def _median_around(values: Array, at: int) -> float:
    """The median of up to three values on each side of `at`, its own left out; NaN where fewer than three are known."""
    near = np.empty(2 * _NEIGHBOURS)
    count = 0
    for step in (-1, 1):
        j, taken = at + step, 0
        while 0 <= j < values.size and taken < _NEIGHBOURS:
            if not math.isnan(values[j]):
                place = count  # insertion keeps them in order
                while place > 0 and near[place - 1] > values[j]:
                    near[place] = near[place - 1]
                    place -= 1
                near[place] = values[j]
                count += 1
                taken += 1
            j += step
    return 0.5 * (near[(count - 1) // 2] + near[count // 2]) if count >= 3 else math.nan


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One selection; all kernels of this module."""
    strikes = np.array([90.0, 100.0, 110.0])
    return [("select", lambda: select(SliceQuotes(0.1, 100.0, strikes, np.full(3, 0.49), np.full(3, 0.51))))]
