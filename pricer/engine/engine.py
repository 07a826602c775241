"""The engine: events in, snapshots out. Synchronous and sans-I/O; it owns the arrays and never asks the time.

`apply` stores facts and marks rows dirty. `price` recomputes what they touched: quote volatilities of the dirty rows,
the smile of their slice, and the slice's model numbers; everything else is shared with the snapshot before.
`next_deadline` says when silence itself becomes news.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from pricer.adapters.events import AnyEvent
from pricer.clock import Clock, Instant, SystemClock
from pricer.conventions import NO_REASON, GreekConvention, Reason, Status, ttm_years
from pricer.engine.account import AccountKeeper
from pricer.engine.alarms import Alarms
from pricer.engine.blocks import Stamp, confirm_block, make_block
from pricer.engine.chain_pricing import price_model, price_quotes
from pricer.engine.fitting import SliceChange
from pricer.engine.intake import Intake
from pricer.engine.listing import Listing
from pricer.engine.market_state import FAR_FUTURE, Expiry, Family
from pricer.engine.scrutiny import Scrutiny
from pricer.engine.settings import DEFAULT_SETTINGS, EngineSettings
from pricer.engine.venue_health import FINE, Verdict
from pricer.snapshot import SliceBlock, Snapshot, UnderlyingValue
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.svi import SviSmile

log = logging.getLogger("pricer.engine")

# An expired slice stays visible this long, frozen and marked, so that every consumer sees why it went.
EXPIRED_STAYS_NS = 10_000_000_000
# Unchanged prices of the underlying renew the ages of a block that nothing else touches this often.
CONFIRM_EVERY_NS = 50_000_000


class _Work(NamedTuple):
    """One living slice during one `price`."""

    expiry: Expiry
    forward: UnderlyingValue
    ttm: float
    quotes_changed: bool
    quotes: Verdict  # what the venue's condition does to quotes, and to model numbers
    models: Verdict


class Engine:
    """Prices whole option chains from events.

    `clock` is only handed to snapshots, whose readers refuse numbers that have grown too old; the engine itself takes
    every instant as an argument. `counters` names what was dropped and why; "fallback_iv" are volatilities
    that took the slow solver, and more than one in a million of them is a cause for alarm.
    """

    def __init__(self, settings: EngineSettings = DEFAULT_SETTINGS, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.counters: Counter[str] = Counter()
        self._clock = clock or SystemClock()
        self._convention = GreekConvention(dynamics=settings.dynamics)
        alarms = Alarms(log)
        self._account = AccountKeeper(self.counters)
        self._listing = Listing(settings, self.counters)
        self._scrutiny = Scrutiny(self._listing, alarms, settings, self.counters)
        self._handlers = Intake(self._listing, self._account, alarms, settings, self.counters).handlers
        self._version = 0
        self._deadline: int | None = None

    def apply(self, event: AnyEvent) -> None:
        """Take one fact. What does not concern a known instrument is counted and dropped."""
        self._handlers[type(event)](event)

    def price(self, now: Instant, informing: Reason = NO_REASON) -> Snapshot:
        """Recompute what changed and publish. `informing` reasons (REPLAY, CONFLATED ...) go with every row."""
        self._listing.relist()
        self._scrutiny.examine(now)
        works = self._prepare(now)
        self._refit(works, now)
        for work in works:
            self._finish(work, now)
        return self._publish(now, informing)

    def next_deadline(self) -> int | None:
        """The `mono_ns` at which `price` is due even if nothing arrives; None before the first snapshot."""
        return self._deadline

    # Pricing

    def _prepare(self, now: Instant) -> list[_Work]:
        """Forwards and quote volatilities of the living slices; the expired ones are frozen."""
        works = []
        stale_ns = self.settings.forward_max_age_ns
        verdicts = {
            family: family.watch.judge(family.price_index, stale_ns) for family in self._listing.families.values()
        }
        for expiry in self._listing.in_order():
            if expiry.expired or now.wall_ns >= expiry.key.expiry_ns:
                self._price_expired(expiry, now)
                continue
            self._touch_newly_stale(expiry, now)
            forward = self._forward(expiry, now)
            quotes, models = verdicts[expiry.family]
            # The quotes' own volatilities are made with it.
            if forward.status >= Status.STALE and expiry.forward.frozen_by is not None:
                quotes = quotes.with_worse(Status.STALE, Reason.UNDERLYING_STALE)
            changed = len(expiry.chain.dirty_rows) > 0 or expiry.family.keeper.has_waited(expiry.key.expiry_ns, now)
            if changed:
                self._price_quotes(expiry, now)
            ttm = ttm_years(expiry.key.expiry_ns, now.wall_ns)
            works.append(_Work(expiry, forward, ttm, changed, quotes, models))
        return works

    def _forward(self, expiry: Expiry, now: Instant) -> UnderlyingValue:
        """The venue's forward, or that of its last basis; where it never gave one, that of put-call parity."""
        limits = self.settings.forward_max_age_ns, self.settings.quote_max_age_ns
        forward = expiry.published_forward(now, *limits)
        if forward.source == "none":
            return expiry.parity.published(expiry.chain, now, self.settings.quote_max_age_ns)
        if not expiry.forward.is_known:
            expiry.chain.take_forward(forward.value)
        expiry.chain.implied_forward = math.nan
        if expiry.monitor.is_due(expiry.chain, now, urgent=expiry.chain.doubtful):
            self._scrutiny.ask_quotes(expiry, forward.value, now)
            forward = expiry.published_forward(now, *limits)
        return forward

    def _price_quotes(self, expiry: Expiry, now: Instant) -> None:
        oldest_ns = now.mono_ns - self.settings.quote_max_age_ns
        if fallbacks := price_quotes(expiry.chain, oldest_ns, self.settings.wide_spread_iv):
            self.counters["fallback_iv"] += fallbacks

    def _refit(self, works: list[_Work], now: Instant) -> None:
        """The smiles whose quotes changed, one step a family; certificates are renewed as time passes."""
        for family in self._listing.families.values():
            family.keeper.renew(now)
        changes: dict[Family, list[SliceChange]] = {}
        for work in works:
            if not work.quotes_changed or work.expiry.forward.frozen_by is not None:
                continue
            if np.isfinite(work.forward.value):
                change = SliceChange(work.expiry.chain, work.forward.value)
                changes.setdefault(work.expiry.family, []).append(change)
        for family, changed in changes.items():
            family.keeper.refit(changed, now)
        for family in self._listing.families.values():
            family.keeper.publish(now)

    def _finish(self, work: _Work, now: Instant) -> None:
        """Model numbers where something they depend on moved, and the slice's block."""
        expiry, forward = work.expiry, work.forward
        rating = self._rating(expiry, forward, work.models, now)
        block, due = expiry.block, work.quotes is not expiry.quotes_verdict and work.quotes != expiry.quotes_verdict
        if block is None or work.quotes_changed or due or self._is_due(expiry, block, forward, rating, now):
            expiry.rating, expiry.quotes_verdict = rating, work.quotes
            fit = expiry.family.keeper.state(expiry.key.expiry_ns).slice
            spot = self._spot(expiry, forward, now)
            price_model(expiry.chain, fit, forward.value, spot, work.ttm, rating, self.settings.dynamics)
            expiry.block = make_block(expiry, forward, work.ttm, self._stamp(now))
        elif expiry.chain.confirmed or _confirms(forward, block.forward):
            expiry.block = confirm_block(expiry, block, forward, self._stamp(now))
        expiry.chain.confirmed = False
        if now.mono_ns >= expiry.divergence.due_ns:
            self._scrutiny.compare_marks(expiry, now)

    def _spot(self, expiry: Expiry, forward: UnderlyingValue, now: Instant) -> float:
        """The index for `delta_spot`: NaN where it is worse than the forward that the row's status speaks of."""
        index = expiry.family.index.published(now, self.settings.forward_max_age_ns)
        return index.value if index.status <= forward.status else np.nan

    def _touch_newly_stale(self, expiry: Expiry, now: Instant) -> None:
        """Rows whose quotes have just grown too old are dirty: their statuses and their slice's fit change."""
        if now.mono_ns <= expiry.fresh_until:
            return
        oldest = now.mono_ns - self.settings.quote_max_age_ns
        expiry.chain.outlive(oldest)
        mono = expiry.chain.quote_mono_ns
        fresh = mono[mono >= oldest]
        expiry.fresh_until = int(fresh.min()) + self.settings.quote_max_age_ns if len(fresh) else FAR_FUTURE

    def _rating(self, expiry: Expiry, forward: UnderlyingValue, venue: Verdict, now: Instant) -> tuple[Status, Reason]:
        """What the slice's forward, fit, venue and nearness to settlement earn for all its model numbers."""
        status, reasons = expiry.family.keeper.rating(expiry.key.expiry_ns, now)
        if venue is not FINE:  # flags of Python's enums are slow, and this is asked of every slice on every tick
            status, reasons = max(status, venue.status), reasons | venue.reasons
        if forward.status != Status.OK:
            status, reasons = max(status, forward.status), reasons | forward.reasons
        if expiry.key.expiry_ns - now.wall_ns <= self.settings.settlement_window_ns:
            status, reasons = max(status, Status.DEGRADED), reasons | Reason.SETTLING
        return status, reasons

    def _is_due(
        self,
        expiry: Expiry,
        block: SliceBlock,
        forward: UnderlyingValue,
        rating: tuple[Status, Reason],
        now: Instant,
    ) -> bool:
        """Whether model numbers must be made again although no quote changed."""
        if rating != expiry.rating or now.mono_ns - block.computed.mono_ns >= self.settings.reprice_every_ns:
            return True
        if _smile(expiry.family.keeper.state(expiry.key.expiry_ns).slice) is not _smile(block.fit):
            return True  # it had to follow a neighbour
        move = abs(forward.value - block.forward.value)
        return bool(np.isfinite(forward.value)) and not move <= self.settings.forward_move * block.forward.value

    def _price_expired(self, expiry: Expiry, now: Instant) -> None:
        """Freeze the last values, show them for a while as EXPIRED, then let the slice go."""
        block = expiry.block
        if block is None or (expiry.expired and now.mono_ns - block.computed.mono_ns > EXPIRED_STAYS_NS):
            self._listing.remove(expiry)
        elif not expiry.expired:
            expiry.expired = True
            self._price_quotes(expiry, now)  # those of the last moment: what is frozen belongs together
            expiry.family.keeper.drop(expiry.key.expiry_ns)
            expiry.chain.expire()
            last = block.forward
            frozen = replace(last, status=Status.STALE, reasons=last.reasons | Reason.EXPIRED)
            expiry.quotes_verdict = FINE
            expiry.block = make_block(expiry, frozen, 0.0, self._stamp(now))

    # Publishing

    def _publish(self, now: Instant, informing: Reason) -> Snapshot:
        """All that is known, as one value."""
        listing, limit = self._listing, self.settings.forward_max_age_ns
        blocks = [expiry.block for expiry in listing.in_order() if expiry.block is not None]
        self._version += 1
        # In the order of their names, not of their arrival.
        families = {key[1]: listing.families[key] for key in sorted(listing.families)}
        indices = {name: family.index.published(now, limit) for name, family in families.items()}
        perpetuals = {name: family.perpetual.published(now, limit) for name, family in families.items()}
        self._deadline = self._earliest_change(now, [*indices.values(), *perpetuals.values()])
        slow = self.settings.quote_max_age_ns
        return Snapshot(
            version=self._version,
            computed=now,
            blocks=tuple(blocks),
            indices=indices,
            perpetuals=perpetuals,
            surfaces={
                name: family.keeper.surface for name, family in families.items() if family.keeper.surface is not None
            },
            raw_surfaces={
                name: family.keeper.raw for name, family in families.items() if family.keeper.raw is not None
            },
            feeds=tuple(feed for watch in listing.venues.values() for feed in watch.feeds.values()),
            clock=self._clock,
            reasons=informing,
            convention=self._convention,
            health={venue: watch.health for venue, watch in sorted(listing.venues.items())},
            volatility_indices={
                name: family.volatility_index.published(now, slow)
                for name, family in families.items()
                if family.volatility_index.received is not None
            },
            settlements={name: family.settlement for name, family in families.items() if family.settlement is not None},
            account=self._account.published(),
        )

    def _stamp(self, now: Instant) -> Stamp:
        return Stamp(now, self._version + 1, self.settings.quote_max_age_ns)

    def _earliest_change(self, now: Instant, underlyings: Iterable[UnderlyingValue]) -> int:
        """When the passing of time alone changes something, at the latest after `publish_every_ns`."""
        limits = [value.valid_until_ns for value in underlyings]
        for expiry in self._listing.expiries.values():
            limits.append(expiry.fresh_until)
            if expiry.block is not None:
                limits += (expiry.block.model_valid_until_ns, expiry.block.forward.valid_until_ns)
        latest = now.mono_ns + self.settings.publish_every_ns
        return min((at + 1 for at in limits if now.mono_ns <= at < latest), default=latest)


def _smile(fit: SurfaceSlice | None) -> SviSmile | None:
    return None if fit is None else fit.svi


def _confirms(new: UnderlyingValue, old: UnderlyingValue) -> bool:
    """Whether a confirmation is worth a new block: ages may err towards old, by no more than CONFIRM_EVERY_NS."""
    if new.received is None or old.received is None:
        return new.received is not old.received
    return new.received.mono_ns - old.received.mono_ns >= CONFIRM_EVERY_NS
