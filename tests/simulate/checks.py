"""The invariants of FAULTS.md section 0.2, asserted on every snapshot against what an `Observer` saw.

A failed check is an `AssertionError` that begins with the invariant's number.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from pricer.adapters.events import BookDepth
from pricer.clock import Instant
from pricer.conventions import Status
from pricer.engine import DEFAULT_SETTINGS, Engine
from pricer.snapshot import FIELD_INDEX, FIRST_QUOTE_IV, MODEL_FIELDS, STATUS_PAIRS, Ints, SliceBlock, Snapshot
from tests.simulate.oracle import BookTruth, Observer, black, years

QUOTE_LIMIT_NS = DEFAULT_SETTINGS.quote_max_age_ns
FORWARD_LIMIT_NS = DEFAULT_SETTINGS.forward_max_age_ns
MODEL = STATUS_PAIRS.index("model")
BID, ASK = FIELD_INDEX["bid"], FIELD_INDEX["ask"]
# A model number that may be absent from a row that is OK otherwise says so itself.
ALWAYS_THERE = [FIELD_INDEX[name] for name in MODEL_FIELDS if name not in ("delta_spot", "iv_error")]
ALWAYS_THERE.append(FIELD_INDEX["iv"])
# Plain integers: these are compared for every row of every snapshot.
OK, INVALID = int(Status.OK), int(Status.INVALID)
SAMPLE_EVERY = 6
# A quote re-sent unchanged keeps the volatility of its first instant: so much of its life may have gone by.
TTM_SLACK = 2e-4


class Checks:
    """What one run's snapshots are held against. `counts` say how much was in fact compared."""

    def __init__(self, observer: Observer, truth: BookTruth, *, wall_steps: bool) -> None:
        self._observer, self._truth = observer, truth
        self._wall_steps = wall_steps  # the wall clock is off at times: stamps prove less
        self._before: Snapshot | None = None
        self._quoted_at: dict[int, tuple[tuple[str, ...], Ints]] = {}
        self._forwards: dict[int, deque[float]] = {}
        self.counts = dict.fromkeys(("snapshots", "rows", "model_ok", "quote_ok", "prices", "books"), 0)

    def snapshot(self, snapshot: Snapshot, now: Instant) -> None:
        """After every `price`."""
        self.counts["snapshots"] += 1
        before, self._before = self._before, snapshot
        assert snapshot.computed == now, "I4 the snapshot is of another instant"
        if before is not None:
            assert snapshot.version == before.version + 1, "I3 a version is missing"
            assert snapshot.computed.mono_ns >= before.computed.mono_ns, "I4 snapshots are out of order"
        for block in snapshot.blocks:
            self._block(block, now)
        for name, value in snapshot.indices.items():
            if value.status is Status.OK:
                assert 1.0 < value.value < 1e7, f"I1 index {name} is {value.value}"
                self._heard("index", now, name)

    def _block(self, block: SliceBlock, now: Instant) -> None:
        self.counts["rows"] += len(block.definition)
        is_ok = block.status[MODEL] == OK
        if is_ok.any():
            names = [block.definition.names[row] for row in np.flatnonzero(is_ok)]
            self.counts["model_ok"] += len(names)
            assert np.isfinite(block.values[ALWAYS_THERE][:, is_ok]).all(), f"I1 a number is missing: {block.key}"
            assert now.mono_ns <= block.model_valid_until_ns, f"I1 {names[0]} is OK and over at once"
            assert now.wall_ns < block.key.expiry_ns, f"I1 {names[0]} is OK after its expiry"
            assert block.forward.status is Status.OK, f"I1 {names[0]} is OK on a forward that is not"
            self._heard(names[0].split("-")[1], now, names[0])
        self._quotes(block, now)
        self._forwards.setdefault(block.key.expiry_ns, deque(maxlen=64)).append(block.forward.value)
        if self.counts["snapshots"] % SAMPLE_EVERY == 0 and len(block.definition):
            row = (self.counts["snapshots"] // SAMPLE_EVERY) % len(block.definition)
            self._prices(block, row, now)

    def _heard(self, what: str, now: Instant, name: str) -> None:
        """A forward or an index came over this very connection, and not too long ago."""
        heard = self._observer.heard_ns
        newest = max(heard.get(what, -(10**18)), heard.get("index", -(10**18)))
        assert now.mono_ns - newest <= FORWARD_LIMIT_NS, f"I1 {name} is OK, the underlying was last heard {newest}"

    def _quotes(self, block: SliceBlock, now: Instant) -> None:
        """Quote volatilities of one slice; `mono` are the instants of the rows' quotes."""
        names, mono = block.definition.names, block.quote_mono_ns
        key = block.key.expiry_ns
        before = self._quoted_at.get(key)
        if before is not None and before[0] == names:
            assert (mono >= before[1]).all(), f"I4 older quotes came after newer ones: {block.key}"
        self._quoted_at[key] = names, mono
        status = block.status[:MODEL]
        absent = np.isnan(block.values[FIRST_QUOTE_IV : FIRST_QUOTE_IV + MODEL])
        assert ((status == INVALID) == absent).all(), f"I1 a volatility is absent and not INVALID: {block.key}"
        is_ok = (status == OK).any(axis=0)
        self.counts["quote_ok"] += int(is_ok.sum())
        assert (now.mono_ns - mono[is_ok] <= QUOTE_LIMIT_NS).all(), f"I1 a quote is OK and too old: {block.key}"
        late = names[int(np.argmax(is_ok & (mono < self._observer.opened_ns)))]
        assert (mono[is_ok] >= self._observer.opened_ns).all(), f"I8 {late} is OK, from a connection that is gone"
        for row in np.flatnonzero(is_ok).tolist():
            self._was_told(block, row, names[row], now)

    def _was_told(self, block: SliceBlock, row: int, name: str, now: Instant) -> None:
        """The venue said just this: no number comes out of nothing."""
        bid, ask = float(block.values[BID, row]), float(block.values[ASK, row])
        for each in self._observer.told(name, now.mono_ns - QUOTE_LIMIT_NS):
            if _same(each.bid, bid) and _same(each.ask, ask):
                return
        raise AssertionError(f"I1 {name} is OK at {bid} / {ask}, which nobody quoted")

    def _prices(self, block: SliceBlock, row: int, now: Instant) -> None:
        """A row against Black-76 with thirty digits."""
        definition = block.definition
        strike, cp = float(definition.strike[row]), int(definition.cp[row])
        if block.status[MODEL, row] == OK:
            forward, sigma = block.forward.value, float(block.values[FIELD_INDEX["iv"], row])
            exact = black(forward, strike, block.ttm, sigma, cp)
            value = float(block.values[FIELD_INDEX["price"], row])
            assert abs(value - exact) <= 1e-9 * forward, f"I1 {definition.names[row]}: {value} is not {exact}"
            self.counts["prices"] += 1
        if block.status[2, row] == OK:
            self._mid(block, row, strike, cp)

    def _mid(self, block: SliceBlock, row: int, strike: float, cp: int) -> None:
        """The mid's volatility gives back the mid, at a forward and an instant that the venue named."""
        name, expiry_ns = block.definition.names[row], block.key.expiry_ns
        bid, ask = float(block.values[BID, row]), float(block.values[ASK, row])
        sigma = float(block.values[FIELD_INDEX["mid_iv"], row])
        worst = math.inf
        told = [each for each in self._observer.told(name, 0) if _same(each.bid, bid) and _same(each.ask, ask)]
        # What was said while the forward jumped, or without one, is valued at the one that was believed then; it may be
        # as far from what was published as a move that re-prices nothing.
        believed = self._forwards[block.key.expiry_ns]
        pairs = [(each.forward, each, 1e-9) for each in told]
        pairs += [(forward, each, DEFAULT_SETTINGS.forward_move) for each in told[:3] for forward in believed]
        for forward, each, tolerance in pairs:
            for stamp_ns in each.stamps_ns if forward > 0.0 else ():
                ttm = years(expiry_ns, stamp_ns)
                if ttm <= 0.0:
                    continue
                unit = forward if block.definition.inverse else 1.0
                exact, slack = (black(forward, strike, t, sigma, cp) / unit for t in (ttm, ttm * (1 - TTM_SLACK)))
                error = abs(exact - (bid + ask) / 2) - abs(exact - slack)
                worst = min(worst, error)
                if error <= tolerance:
                    self.counts["prices"] += 1
                    return
        # A wall clock that was off when the quote came leaves no stamp that we could repeat.
        assert self._wall_steps or math.isinf(worst), f"I1 mid_iv of {name}: {sigma} is off by {worst}"

    def book(self, event: BookDepth) -> None:
        """A book that is published is just what the venue's was at that change, to the last digit."""
        if self._truth.is_tainted(event.instrument):
            return
        state = self._truth.states.get((event.instrument, event.sequence))
        assert state is not None, f"I2 the book of {event.instrument} was never at {event.sequence}"
        assert (event.bids, event.asks) == state, f"I2 the book of {event.instrument} is not the venue's"
        self.counts["books"] += 1


def check_bounds(feed: object, engine: Engine, most_instruments: int) -> None:
    """I6: nothing has grown beyond what the market has in it."""
    for owner in (feed, engine):
        for name, value in vars(owner).items():
            if isinstance(value, dict | set | list) or hasattr(value, "maxlen"):
                assert len(value) <= 4 * most_instruments + 64, f"I6 {type(owner).__name__}.{name} holds {len(value)}"


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))
