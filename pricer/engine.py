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
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricer.adapters.events import (
    AnyEvent,
    FeedStatus,
    InstrumentChanged,
    InstrumentExpired,
    InstrumentListed,
    OptionQuote,
    SubscriptionRejected,
    UnderlyingPrice,
    VenueMark,
)
from pricer.adapters.instruments import Instrument, SliceKey
from pricer.chain import ChainSlice
from pricer.chain_pricing import price_model, price_quotes
from pricer.clock import Clock, Instant, SystemClock
from pricer.conventions import NO_REASON, NO_TIME, Dynamics, GreekConvention, Reason, Status, ttm_years
from pricer.errors import ConfigError
from pricer.fitting import SliceChange, SurfaceKeeper
from pricer.parity import ParityMonitor, ParityTracker
from pricer.snapshot import FeedHealth, SliceBlock, SliceDefinition, Snapshot, UnderlyingValue
from pricer.surfaces.dynamics import checked
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.svi import SviSmile
from pricer.underlying import ForwardTracker, IndexTracker, PerpetualTracker

log = logging.getLogger("pricer.engine")

FAR_FUTURE = 2**63 - 1
# An expired slice stays visible this long, frozen and marked, so that every consumer sees why it went.
EXPIRED_STAYS_NS = 10_000_000_000
# Unchanged prices of the underlying renew the ages of a block that nothing else touches this often.
CONFIRM_EVERY_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The limits behind the statuses, integer nanoseconds unless said otherwise.

    `quote_max_age_ns`: a Deribit ticker is re-sent every 5 s, so 12 s of silence means a lost channel.
    `forward_move`: a relative move of the forward below this re-prices nothing (0.1 bp).
    `reprice_every_ns`: model numbers are renewed this often for the passing of time alone.
    `settlement_window_ns`: before expiry the payoff is an average of the index, which Black-76 does not know.
    `wide_spread_iv`: a bid-ask wider than this volatility makes the mid DEGRADED.
    `parity_gap`: a venue's forward further (as a share of it) than this from put-call parity is DEGRADED.
    `surface_half_life`: seconds in which the published surface has made half of its way to the fitted one; 0 is off.
    `dynamics`: how a strike's volatility moves with the market, for the published Greeks (an unknown one: ValueError).
    """

    quote_max_age_ns: int = 12_000_000_000
    forward_max_age_ns: int = 2_000_000_000
    last_good_ns: int = 10_000_000_000
    publish_every_ns: int = 250_000_000
    reprice_every_ns: int = 1_000_000_000
    settlement_window_ns: int = 1_800_000_000_000
    forward_move: float = 1e-5
    wide_spread_iv: float = 0.25
    parity_gap: float = 3e-4
    surface_half_life: float = 0.0
    dynamics: Dynamics = "sticky_strike"

    def __post_init__(self) -> None:
        checked(self.dynamics)


DEFAULT_SETTINGS = EngineSettings()


class _Family:
    """What the options of one (venue, price index) share."""

    def __init__(self, settings: EngineSettings) -> None:
        self.index = IndexTracker()
        self.perpetual = PerpetualTracker()
        self.keeper = SurfaceKeeper(settings.last_good_ns, settings.surface_half_life)


class _Expiry:
    """One slice at work: its columns, its forward, and the block that was last published."""

    def __init__(self, key: SliceKey, family: _Family, first: Instrument) -> None:
        self.key = key
        self.family = family
        self.instruments: dict[str, Instrument] = {}
        self.relisted = False
        self.expired = False  # for ever, also where the wall clock steps back
        self.chain = ChainSlice(key, [first])
        self.forward = ForwardTracker()
        self.parity = ParityTracker()
        self.monitor = ParityMonitor()
        self.block: SliceBlock | None = None
        self.rating: tuple[Status, Reason] | None = None
        self.fresh_until = FAR_FUTURE


class _Work(NamedTuple):
    """One living slice during one `price`."""

    expiry: _Expiry
    forward: UnderlyingValue
    ttm: float
    quotes_changed: bool


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
        self._families: dict[tuple[str, str], _Family] = {}
        self._expiries: dict[SliceKey, _Expiry] = {}
        self._rows: dict[tuple[str, str], tuple[_Expiry, int]] = {}
        self._listed: dict[tuple[str, str], _Expiry] = {}
        self._feeds: dict[tuple[str, str], FeedHealth] = {}
        self._version = 0
        self._deadline: int | None = None
        self._handlers = {
            OptionQuote: self._on_quote,
            VenueMark: self._on_mark,
            UnderlyingPrice: self._on_underlying,
            InstrumentListed: self._on_definition,
            InstrumentChanged: self._on_definition,
            InstrumentExpired: self._on_expired,
            SubscriptionRejected: self._on_rejected,
            FeedStatus: self._on_feed,
        }

    def apply(self, event: AnyEvent) -> None:
        """Take one fact. What does not concern a known instrument is counted and dropped."""
        self._handlers[type(event)](event)  # type: ignore[operator]

    def price(self, now: Instant, informing: Reason = NO_REASON) -> Snapshot:
        """Recompute what changed and publish. `informing` reasons (REPLAY, CONFLATED ...) go with every row."""
        self._relist()
        works = self._prepare(now)
        self._refit(works, now)
        for work in works:
            self._finish(work, now)
        blocks = [expiry.block for expiry in self._in_order() if expiry.block is not None]
        self._version += 1
        limit = self.settings.forward_max_age_ns
        # In the order of their names, not of their arrival.
        families = {key[1]: self._families[key] for key in sorted(self._families)}
        indices = {name: family.index.published(now, limit) for name, family in families.items()}
        perpetuals = {name: family.perpetual.published(now, limit) for name, family in families.items()}
        self._deadline = self._earliest_change(now, [*indices.values(), *perpetuals.values()])
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
            feeds=tuple(self._feeds.values()),
            clock=self._clock,
            reasons=informing,
            convention=self._convention,
        )

    def next_deadline(self) -> int | None:
        """The `mono_ns` at which `price` is due even if nothing arrives; None before the first snapshot."""
        return self._deadline

    # Events

    def _on_quote(self, quote: OptionQuote) -> None:
        found = self._rows.get((quote.venue, quote.instrument)) or self._find(quote.venue, quote.instrument)
        if found is None:
            return
        expiry, row = found
        if quote.received.wall_ns >= expiry.key.expiry_ns:
            self.counters["quote_after_expiry"] += 1
            return
        if not expiry.chain.store_quote(row, quote):
            self.counters["quote_out_of_order"] += 1
            return
        expiry.family.index.update(quote.index, quote.exchange_ns, quote.received)
        expiry.forward.update(quote.forward, quote.index, quote.exchange_ns, quote.received)
        expiry.fresh_until = min(expiry.fresh_until, quote.received.mono_ns + self.settings.quote_max_age_ns)

    def _on_mark(self, mark: VenueMark) -> None:
        found = self._rows.get((mark.venue, mark.instrument)) or self._find(mark.venue, mark.instrument)
        if found is not None:
            expiry, row = found
            expiry.chain.store_mark(row, mark)

    def _on_underlying(self, price: UnderlyingPrice) -> None:
        family = self._family(price.venue, price.price_index)
        if price.kind == "index":
            family.index.update(price.price, price.exchange_ns, price.received)
        elif price.kind == "perpetual":
            family.perpetual.store(price)

    def _on_definition(self, event: InstrumentListed | InstrumentChanged) -> None:
        instrument = event.definition
        key = instrument.slice_key
        if instrument.kind != "option" or key is None:
            return
        if event.received.wall_ns >= key.expiry_ns:
            self.counters["listed_after_expiry"] += 1
            return
        expiry = self._expiries.get(key)
        if not _is_sound(instrument) or (expiry is not None and not _belongs(instrument, expiry.chain.definition)):
            self.counters["bad_definition"] += 1
            return
        if expiry is None:
            expiry = self._expiries[key] = _Expiry(key, self._family(key.venue, key.price_index), instrument)
        before = self._listed.get((instrument.venue, instrument.name))
        if before is not None and before is not expiry:
            self._delist(before, instrument.name)
        if expiry.instruments.get(instrument.name) != instrument:
            expiry.instruments[instrument.name] = instrument
            expiry.relisted = True
            expiry.chain.set_state(instrument.name, instrument.state)
            self._listed[instrument.venue, instrument.name] = expiry

    def _on_expired(self, event: InstrumentExpired) -> None:
        expiry = self._listed.get((event.venue, event.instrument))
        # At the expiry itself the time guard freezes the whole slice and shows it once more.
        if expiry is not None and event.received.wall_ns < expiry.key.expiry_ns:
            self._delist(expiry, event.instrument)

    def _on_rejected(self, event: SubscriptionRejected) -> None:
        found = self._find(event.venue, event.instrument)
        if found is not None:
            expiry, row = found
            expiry.chain.flag(row, Reason.NOT_TRADING)

    def _on_feed(self, event: FeedStatus) -> None:
        self._feeds[event.venue, event.connection] = FeedHealth(
            event.venue, event.connection, event.state, event.reason, event.received
        )
        if event.state != "closed":
            return
        for expiry in self._expiries.values():
            if expiry.key.venue == event.venue:
                expiry.forward.suspect()
                expiry.parity.suspect()
                expiry.family.index.suspect()
                expiry.family.perpetual.suspect()
                expiry.chain.suspect()

    # Instruments

    def _family(self, venue: str, price_index: str) -> _Family:
        key = (venue, price_index)
        if key not in self._families:
            if any(price_index == known for _, known in self._families):
                raise ConfigError(f"two venues with a price index {price_index!r} need an engine each, not one")
            self._families[key] = _Family(self.settings)
        return self._families[key]

    def _find(self, venue: str, name: str) -> tuple[_Expiry, int] | None:
        """The row of a listed instrument, also where it was listed after the last `price`."""
        if (venue, name) in self._listed:
            self._relist()
        found = self._rows.get((venue, name))
        if found is None:
            self.counters["unknown_instrument"] += 1
        return found

    def _relist(self) -> None:
        """Rebuild the columns of every slice whose list of instruments changed: once, however many were listed."""
        for expiry in [expiry for expiry in self._expiries.values() if expiry.relisted]:
            expiry.relisted = False
            self._forget_rows(expiry)
            if not expiry.instruments:
                self._remove(expiry)
                continue
            expiry.chain = expiry.chain.rebuilt(expiry.instruments.values())
            expiry.block = None
            for name, row in expiry.chain.definition.rows.items():
                self._rows[expiry.key.venue, name] = (expiry, row)

    def _delist(self, expiry: _Expiry, name: str) -> None:
        """The option leaves its slice before the expiry; its row goes with the next `_relist`."""
        self._listed.pop((expiry.key.venue, name), None)
        expiry.instruments.pop(name, None)
        expiry.relisted = True

    def _remove(self, expiry: _Expiry) -> None:
        self._forget_rows(expiry)
        for name in expiry.instruments:
            self._listed.pop((expiry.key.venue, name), None)
        expiry.family.keeper.drop(expiry.key.expiry_ns)
        self._expiries.pop(expiry.key, None)

    def _forget_rows(self, expiry: _Expiry) -> None:
        for name in expiry.chain.definition.names:
            key = (expiry.key.venue, name)
            if key in self._rows and self._rows[key][0] is expiry:
                del self._rows[key]

    def _in_order(self) -> list[_Expiry]:
        return [self._expiries[key] for key in sorted(self._expiries)]

    # Pricing

    def _prepare(self, now: Instant) -> list[_Work]:
        """Forwards and quote volatilities of the living slices; the expired ones are frozen."""
        works = []
        for expiry in self._in_order():
            if expiry.expired or now.wall_ns >= expiry.key.expiry_ns:
                self._price_expired(expiry, now)
                continue
            self._touch_newly_stale(expiry, now)
            forward = self._forward(expiry, now)
            changed = len(expiry.chain.dirty_rows) > 0 or expiry.family.keeper.has_waited(expiry.key.expiry_ns, now)
            if changed:
                self._price_quotes(expiry, now)
            works.append(_Work(expiry, forward, ttm_years(expiry.key.expiry_ns, now.wall_ns), changed))
        return works

    def _forward(self, expiry: _Expiry, now: Instant) -> UnderlyingValue:
        """The venue's forward, or that of its last basis; where it never gave one, that of put-call parity."""
        limits = self.settings.forward_max_age_ns, self.settings.quote_max_age_ns
        forward = expiry.forward.published(expiry.family.index, now, *limits)
        if forward.source == "none":
            return expiry.parity.published(expiry.chain, now, self.settings.quote_max_age_ns)
        expiry.chain.implied_forward = math.nan
        if expiry.monitor.is_due(expiry.chain, now):
            self._ask_quotes(expiry, forward.value, now)
            forward = expiry.forward.published(expiry.family.index, now, *limits)
        return forward

    def _ask_quotes(self, expiry: _Expiry, forward: float, now: Instant) -> None:
        """Hold the venue's forward against put-call parity; a gap that opens is counted and logged."""
        monitor = expiry.monitor
        if monitor.ask(expiry.chain, forward, now, self.settings.quote_max_age_ns, self.settings.parity_gap):
            self.counters["parity_gap"] += 1
            assert monitor.check.parity is not None
            value, error, gap = monitor.check.parity
            log.warning(
                "the forward of %s is %.2f off its options' put-call parity (%.2f, standard error %.2f)",
                expiry.key, gap, value, error,
            )  # fmt: skip
        expiry.forward.check = monitor.check

    def _price_quotes(self, expiry: _Expiry, now: Instant) -> None:
        oldest_ns = now.mono_ns - self.settings.quote_max_age_ns
        if fallbacks := price_quotes(expiry.chain, oldest_ns, self.settings.wide_spread_iv):
            self.counters["fallback_iv"] += fallbacks

    def _refit(self, works: list[_Work], now: Instant) -> None:
        """The smiles whose quotes changed, one step a family; certificates are renewed as time passes."""
        for family in self._families.values():
            family.keeper.renew(now)
        changes: dict[_Family, list[SliceChange]] = {}
        for work in works:
            if work.quotes_changed and np.isfinite(work.forward.value):
                change = SliceChange(work.expiry.chain, work.forward.value)
                changes.setdefault(work.expiry.family, []).append(change)
        for family, changed in changes.items():
            family.keeper.refit(changed, now)
        for family in self._families.values():
            family.keeper.publish(now)

    def _finish(self, work: _Work, now: Instant) -> None:
        """Model numbers where something they depend on moved, and the slice's block."""
        expiry, forward = work.expiry, work.forward
        rating = self._rating(expiry, forward, now)
        block = expiry.block
        if block is None or work.quotes_changed or self._is_due(expiry, block, forward, rating, now):
            expiry.rating = rating
            fit = expiry.family.keeper.state(expiry.key.expiry_ns).slice
            spot = self._spot(expiry, forward, now)
            price_model(expiry.chain, fit, forward.value, spot, work.ttm, rating, self.settings.dynamics)
            expiry.block = self._publish(expiry, forward, work.ttm, now)
        elif expiry.chain.confirmed or _confirms(forward, block.forward):
            expiry.block = self._confirm(expiry, block, forward, now)
        expiry.chain.confirmed = False

    def _spot(self, expiry: _Expiry, forward: UnderlyingValue, now: Instant) -> float:
        """The index for `delta_spot`: NaN where it is worse than the forward that the row's status speaks of."""
        index = expiry.family.index.published(now, self.settings.forward_max_age_ns)
        return index.value if index.status <= forward.status else np.nan

    def _touch_newly_stale(self, expiry: _Expiry, now: Instant) -> None:
        """Rows whose quotes have just grown too old are dirty: their statuses and their slice's fit change."""
        if now.mono_ns <= expiry.fresh_until:
            return
        oldest = now.mono_ns - self.settings.quote_max_age_ns
        expiry.chain.outlive(oldest)
        mono = expiry.chain.quote_mono_ns
        fresh = mono[mono >= oldest]
        expiry.fresh_until = int(fresh.min()) + self.settings.quote_max_age_ns if len(fresh) else FAR_FUTURE

    def _rating(self, expiry: _Expiry, forward: UnderlyingValue, now: Instant) -> tuple[Status, Reason]:
        """What the slice's forward, fit and nearness to settlement earn for all its model numbers."""
        status, reasons = expiry.family.keeper.rating(expiry.key.expiry_ns, now)
        if forward.status != Status.OK:
            status, reasons = max(status, forward.status), reasons | forward.reasons
        if expiry.key.expiry_ns - now.wall_ns <= self.settings.settlement_window_ns:
            status, reasons = max(status, Status.DEGRADED), reasons | Reason.SETTLING
        return status, reasons

    def _is_due(
        self,
        expiry: _Expiry,
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

    def _price_expired(self, expiry: _Expiry, now: Instant) -> None:
        """Freeze the last values, show them for a while as EXPIRED, then let the slice go."""
        block = expiry.block
        if block is None or (expiry.expired and now.mono_ns - block.computed.mono_ns > EXPIRED_STAYS_NS):
            self._remove(expiry)
        elif not expiry.expired:
            expiry.expired = True
            self._price_quotes(expiry, now)  # those of the last moment: what is frozen belongs together
            expiry.family.keeper.drop(expiry.key.expiry_ns)
            expiry.chain.expire()
            last = block.forward
            frozen = replace(last, status=Status.STALE, reasons=last.reasons | Reason.EXPIRED)
            expiry.block = self._publish(expiry, frozen, 0.0, now)

    # Publishing

    def _publish(self, expiry: _Expiry, forward: UnderlyingValue, ttm: float, now: Instant) -> SliceBlock:
        """Copy the slice's columns, once, into a block that nobody changes again."""
        chain = expiry.chain
        state = expiry.family.keeper.state(expiry.key.expiry_ns)
        return SliceBlock(
            definition=chain.definition,
            values=_read_only(chain.values),
            status=_read_only(chain.status),
            reasons=_read_only(chain.reasons),
            quote_mono_ns=_read_only(chain.quote_mono_ns),
            quote_received_ns=_read_only(chain.quote_received_ns),
            quote_exchange_ns=_read_only(chain.quote_exchange_ns),
            quote_valid_until_ns=self._quotes_valid_until(chain, now),
            model_valid_until_ns=self._model_valid_until(expiry, forward, now),
            forward=forward,
            fitted=state.fitted,
            fit=state.slice,
            computed=now,
            ttm=ttm,
            version=self._version + 1,
        )

    def _confirm(self, expiry: _Expiry, block: SliceBlock, forward: UnderlyingValue, now: Instant) -> SliceBlock:
        """The same numbers, confirmed by newer messages: only sizes, venue marks and instants move.

        The numbers were made at the forward of the last pricing; a move too small to re-price keeps that value.
        """
        chain = expiry.chain
        confirmed = replace(
            block,
            forward=replace(forward, value=block.forward.value),
            model_valid_until_ns=self._model_valid_until(expiry, forward, now),
            version=self._version + 1,
        )
        if not chain.confirmed:
            return confirmed
        return replace(
            confirmed,
            values=_read_only(chain.values),
            quote_mono_ns=_read_only(chain.quote_mono_ns),
            quote_received_ns=_read_only(chain.quote_received_ns),
            quote_exchange_ns=_read_only(chain.quote_exchange_ns),
            quote_valid_until_ns=self._quotes_valid_until(chain, now),
        )

    def _quotes_valid_until(self, chain: ChainSlice, now: Instant) -> NDArray[np.int64]:
        mono = chain.quote_mono_ns
        lost = (mono == NO_TIME) | ((chain.flags & np.uint64(Reason.RESYNCING | Reason.EXPIRED)) != 0)
        old = np.minimum(mono + self.settings.quote_max_age_ns, _last_moment(chain.key, now))
        until = np.where(lost, NO_TIME, old)
        until.flags.writeable = False
        return until

    def _model_valid_until(self, expiry: _Expiry, forward: UnderlyingValue, now: Instant) -> int:
        """Until the forward grows old, the last good fit turns stale, or the option expires: what comes first."""
        turns_stale = expiry.family.keeper.turns_stale_ns(expiry.key.expiry_ns)
        ends = FAR_FUTURE if turns_stale is None else turns_stale
        return min(forward.valid_until_ns, _last_moment(expiry.key, now), ends)

    def _earliest_change(self, now: Instant, underlyings: Iterable[UnderlyingValue]) -> int:
        """When the passing of time alone changes something, at the latest after `publish_every_ns`."""
        limits = [value.valid_until_ns for value in underlyings]
        for expiry in self._expiries.values():
            limits.append(expiry.fresh_until)
            if expiry.block is not None:
                limits += (expiry.block.model_valid_until_ns, expiry.block.forward.valid_until_ns)
        latest = now.mono_ns + self.settings.publish_every_ns
        return min((at + 1 for at in limits if now.mono_ns <= at < latest), default=latest)


def _is_sound(instrument: Instrument) -> bool:
    """Can an option with this definition be priced at all?"""
    return 0.0 < instrument.strike < math.inf and instrument.cp in (1, -1)


def _belongs(instrument: Instrument, definition: SliceDefinition) -> bool:
    """Options of one slice are settled alike and answer to one underlying."""
    inverse = instrument.settlement == "inverse"
    return (instrument.underlying, inverse) == (definition.underlying, definition.inverse)


def _smile(fit: SurfaceSlice | None) -> SviSmile | None:
    return None if fit is None else fit.svi


def _last_moment(key: SliceKey, now: Instant) -> int:
    """The monotonic instant just before the expiry: nothing holds longer."""
    return now.mono_ns + max(key.expiry_ns - now.wall_ns, 0) - 1


def _confirms(new: UnderlyingValue, old: UnderlyingValue) -> bool:
    """Whether a confirmation is worth a new block: ages may err towards old, by no more than CONFIRM_EVERY_NS."""
    if new.received is None or old.received is None:
        return new.received is not old.received
    return new.received.mono_ns - old.received.mono_ns >= CONFIRM_EVERY_NS


def _read_only(array: NDArray[np.generic]) -> NDArray:  # type: ignore[type-arg]
    copy = array.copy()
    copy.flags.writeable = False
    return copy
