"""One underlying's chain as a screen or a report needs it, whoever sent it: a local `Snapshot` or a sidecar's JSON.

Both speak the same column names (`Snapshot.columns()`), so everything that shows a chain is written once.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from pricer.clock import Instant
from pricer.conventions import INFORMING, Reason, Status
from pricer.snapshot import Snapshot, UnderlyingValue

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Reading:
    """A price of the underlying with what is known of it; `value` is NaN and `age_ns` None where nothing is."""

    value: float = math.nan
    source: str = "none"
    status: Status = Status.INVALID
    age_ns: int | None = None


@dataclass(frozen=True, slots=True)
class FeedLine:
    """One connection: its state and why."""

    venue: str
    state: str
    reason: str = ""


@dataclass(frozen=True)
class SliceView:
    """The options of one expiry; the rows of every column are in the venue's order."""

    expiry_ns: int
    ttm: float
    forward: Reading
    columns: Columns

    @cached_property
    def strikes(self) -> list[float]:
        """Every strike once, ascending."""
        return sorted({float(strike) for strike in self.columns["strike"]})

    @cached_property
    def _rows(self) -> dict[tuple[float, int], int]:
        pairs = zip(self.columns["strike"], self.columns["cp"], strict=True)
        return {(float(strike), int(cp)): row for row, (strike, cp) in enumerate(pairs)}

    def row(self, strike: float, cp: int) -> int | None:
        """The row of one option; None where it is not listed."""
        return self._rows.get((strike, cp))

    @cached_property
    def statuses(self) -> Counter[Status]:
        """How many options have each status."""
        return Counter(Status(int(value)) for value in self.columns["status"])

    @cached_property
    def reasons(self) -> Counter[str]:
        """How many options carry each reason; those that only inform are left out."""
        return Counter(name for mask in self.columns["reasons"] for name in (Reason(int(mask)) & ~INFORMING).names)

    @property
    def atm_iv(self) -> float:
        """The volatility at the strike next to the forward; NaN without a forward or a volatility."""
        if not self.strikes or math.isnan(self.forward.value):
            return math.nan
        nearest = min(self.strikes, key=lambda strike: abs(strike - self.forward.value))
        ivs = [float(self.columns["iv"][row]) for cp in (1, -1) if (row := self.row(nearest, cp)) is not None]
        return next((iv for iv in ivs if not math.isnan(iv)), math.nan)


@dataclass(frozen=True)
class ChainView:
    """A whole underlying at one moment, its expiries in order."""

    venue: str
    underlying: str
    version: int
    computed_ns: int
    age_ns: int
    index: Reading
    perpetual: Reading
    feeds: tuple[FeedLine, ...]
    slices: tuple[SliceView, ...]

    def slice_at(self, expiry_ns: int | None) -> SliceView | None:
        """The slice of that expiry, or the first later one; the last where all are earlier, None where none is."""
        if expiry_ns is None or not self.slices:
            return self.default_slice
        later = [piece for piece in self.slices if piece.expiry_ns >= expiry_ns]
        return later[0] if later else self.slices[-1]

    @property
    def default_slice(self) -> SliceView | None:
        """What to show first: the next expiry at least a week away, where the smile is neither a spike nor a line."""
        week = 7 / 365
        return next((piece for piece in self.slices if piece.ttm >= week), self.slices[-1] if self.slices else None)


def view_of(snapshot: Snapshot, underlying: str) -> ChainView:
    """The chain of one underlying of a local snapshot; ages and statuses by the snapshot's own clock, now."""
    own = snapshot.of(underlying)
    now = snapshot.clock.now()
    columns = own.columns()
    slices: list[SliceView] = []
    start = 0
    for block in own.blocks:
        stop = start + len(block.definition)
        rows = {name: column[start:stop] for name, column in columns.items()}
        slices.append(SliceView(block.key.expiry_ns, block.ttm, reading_of(block.forward, now), rows))
        start = stop
    return ChainView(
        venue=own.blocks[0].key.venue if own.blocks else "",
        underlying=underlying,
        version=snapshot.version,
        computed_ns=snapshot.computed_ns,
        age_ns=now.mono_ns - snapshot.computed.mono_ns,
        index=reading_of(own.index, now),
        perpetual=reading_of(own.perpetual, now),
        feeds=tuple(FeedLine(feed.venue, feed.state, feed.reason) for feed in snapshot.feeds),
        slices=tuple(sorted(slices, key=lambda piece: piece.expiry_ns)),
    )


def reading_of(price: UnderlyingValue, now: Instant) -> Reading:
    """A snapshot's index, forward or perpetual, STALE once `now` is past its limit."""
    status = price.status
    if status < Status.STALE and now.mono_ns > price.valid_until_ns:
        status = Status.STALE
    return Reading(float(price.value), price.source, status, price.age_ns(now))


@functools.cache
def decimals_of(tick_size: float) -> int:
    """How many decimals show a multiple of `tick_size`.

    >>> decimals_of(0.0001), decimals_of(0.5), decimals_of(5.0)
    (4, 1, 0)
    """
    if not tick_size > 0:
        return 4
    return next((digits for digits in range(10) if abs(round(tick_size, digits) - tick_size) < 1e-12), 10)
