"""The numbers that rules may name, as arrays over options, expiries or underlyings.

A value that nobody may act on (`STALE`, `INVALID`) is NaN here: it neither raises nor clears an alert. That numbers
have gone stale is itself a metric: `quote_age`, `forward_age`, `fit_age`, `index_age`, `not_ok`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricer.clock import Instant
from pricer.conventions import NO_TIME, Status
from pricer.expiries import expiry_label
from pricer.sidecar.moment import status_of
from pricer.sidecar.slices import statuses_at
from pricer.sidecar.smile_points import smile_points
from pricer.snapshot import FIELD_INDEX, QUOTE_IV_FIELDS, ROW_PAIR, VALUE_FIELDS, VENUE_FIELDS, SliceBlock, Snapshot

Floats = NDArray[np.float64]
Subject = Literal["option", "expiry", "underlying"]
QUOTE_PAIRS = slice(ROW_PAIR)


@dataclass(frozen=True, slots=True)
class Metric:
    """What a number is of, and whether it is a time."""

    of: Subject
    is_age: bool = False


class Slice(NamedTuple):
    """One expiry as the options' metrics read it: statuses are by the clock of the moment."""

    block: SliceBlock
    status: NDArray[np.uint8]  # [pair, row]

    def has_current(self, pairs: int | slice) -> bool:
        """Whether somebody may act on at least one option's number of these pairs.

        What is true of every option, as the venue's condition is, is true of what is made of them together.
        """
        return bool(self.status[pairs].min(initial=Status.INVALID) <= Status.DEGRADED)


OfExpiry = Callable[[Snapshot, Slice, Instant], float]
OPTIONS: dict[str, Callable[[Slice, Instant], Floats]] = {}
EXPIRIES: dict[str, OfExpiry] = {}
UNDERLYINGS: dict[str, Callable[[Snapshot, Instant], float]] = {}


def _field(name: str) -> Callable[[Slice, Instant], Floats]:
    """A column, NaN where its status does not allow to act on it."""
    at = FIELD_INDEX[name]
    pair = QUOTE_IV_FIELDS.index(name) if name in QUOTE_IV_FIELDS else ROW_PAIR

    def values(piece: Slice, now: Instant) -> Floats:
        column = piece.block.values[at]
        if name in VENUE_FIELDS:
            return np.where(piece.block.quote_valid_until_ns >= now.mono_ns, column, np.nan)
        return np.where(piece.status[pair] <= Status.DEGRADED, column, np.nan)

    return values


for _name in VALUE_FIELDS:
    OPTIONS[_name] = _field(_name)


def _divergence(piece: Slice, now: Instant) -> Floats:
    """Our volatility less the venue's."""
    return OPTIONS["iv"](piece, now) - OPTIONS["mark_iv"](piece, now)


def _spread_iv(piece: Slice, now: Instant) -> Floats:
    """The ask's volatility less the bid's."""
    return OPTIONS["ask_iv"](piece, now) - OPTIONS["bid_iv"](piece, now)


def _quote_age(piece: Slice, now: Instant) -> Floats:
    """Seconds since the quote's channel last proved to live."""
    mono = piece.block.quote_mono_ns
    return np.where(mono == NO_TIME, np.nan, (now.mono_ns - mono) / 1e9)


def _smile_point(name: str) -> OfExpiry:
    """ATM volatility, 25-delta risk reversal or butterfly of the published smile while it is current."""

    def value(snapshot: Snapshot, piece: Slice, now: Instant) -> float:
        key = piece.block.key
        fit = snapshot.of(piece.block.definition.underlying, key.venue).smiles.get(key.expiry_ns)
        if fit is None or not piece.has_current(ROW_PAIR):
            return np.nan
        return float(getattr(smile_points(fit), name))

    return value


def _forward(snapshot: Snapshot, piece: Slice, now: Instant) -> float:
    forward = piece.block.forward
    return forward.value if status_of(forward, now)[0] <= Status.DEGRADED else np.nan


def _forward_age(snapshot: Snapshot, piece: Slice, now: Instant) -> float:
    return _seconds(piece.block.forward.age_ns(now))


def _fit_age(snapshot: Snapshot, piece: Slice, now: Instant) -> float:
    fitted = piece.block.fitted
    return np.nan if fitted is None else (now.mono_ns - fitted.mono_ns) / 1e9


def _parity_gap(snapshot: Snapshot, piece: Slice, now: Instant) -> float:
    """The venue's forward less what put-call parity of the quotes says, relative, while both are current."""
    parity = piece.block.forward.parity
    if parity is None or not piece.has_current(QUOTE_PAIRS):
        return np.nan
    return parity.gap / parity.value if status_of(piece.block.forward, now)[0] <= Status.DEGRADED else np.nan


def _index(snapshot: Snapshot, now: Instant) -> float:
    return snapshot.index.value if status_of(snapshot.index, now)[0] <= Status.DEGRADED else np.nan


def _index_age(snapshot: Snapshot, now: Instant) -> float:
    return _seconds(snapshot.index.age_ns(now))


def _not_ok(snapshot: Snapshot, now: Instant) -> float:
    """The share of options whose own status is not OK."""
    statuses = [statuses_at(block, now)[0][ROW_PAIR] for block in snapshot.blocks]
    every = np.concatenate(statuses) if statuses else np.empty(0, np.uint8)
    return float(np.mean(every != Status.OK)) if every.size else np.nan


def _seconds(age_ns: int | None) -> float:
    return np.nan if age_ns is None else age_ns / 1e9


OPTIONS |= {"divergence": _divergence, "spread_iv": _spread_iv, "quote_age": _quote_age}
EXPIRIES |= {
    "atm_iv": _smile_point("atm_iv"),
    "rr25": _smile_point("rr25"),
    "bf25": _smile_point("bf25"),
    "forward": _forward,
    "forward_age": _forward_age,
    "fit_age": _fit_age,
    "parity_gap": _parity_gap,
}
UNDERLYINGS |= {"index": _index, "index_age": _index_age, "not_ok": _not_ok}

AGES = ("quote_age", "forward_age", "fit_age", "index_age")
METRICS: dict[str, Metric] = {
    **{name: Metric("option", name in AGES) for name in OPTIONS},
    **{name: Metric("expiry", name in AGES) for name in EXPIRIES},
    **{name: Metric("underlying", name in AGES) for name in UNDERLYINGS},
}


class Readings:
    """The metrics of one snapshot at one moment, each computed when it is first asked for."""

    def __init__(self, snapshot: Snapshot, now: Instant) -> None:
        self.snapshot = snapshot
        self.now = now
        self._slices: dict[int, Slice] = {}
        self._columns: dict[tuple[int, str], Floats] = {}
        self._points: dict[tuple[int, str], float] = {}

    def options(self, block: SliceBlock, metric: str) -> Floats:
        """One value an option of the expiry."""
        key = id(block), metric
        if key not in self._columns:
            self._columns[key] = OPTIONS[metric](self.slice(block), self.now)
        return self._columns[key]

    def expiry(self, block: SliceBlock, metric: str) -> float:
        """The value of an expiry."""
        key = id(block), metric
        if key not in self._points:
            self._points[key] = EXPIRIES[metric](self.snapshot, self.slice(block), self.now)
        return self._points[key]

    def underlying(self, venue: str, name: str, metric: str) -> float:
        """The value of an underlying."""
        return UNDERLYINGS[metric](self.snapshot.of(name, venue), self.now)

    def slice(self, block: SliceBlock) -> Slice:
        """An expiry with its statuses at this moment."""
        if id(block) not in self._slices:
            self._slices[id(block)] = Slice(block, statuses_at(block, self.now)[0])
        return self._slices[id(block)]


def expiry_name(block: SliceBlock) -> str:
    """How alerts name an expiry: `BTC 25DEC26`."""
    return f"{block.definition.underlying} {expiry_label(block.key.expiry_ns)}"
