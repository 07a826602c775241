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

from pricer.account import AccountKeeper
from pricer.adapters.events import (
    AccountStatus,
    AnyEvent,
    BookDepth,
    BookLost,
    ChannelAlarm,
    DeliveryPrice,
    FeedStatus,
    Fill,
    InstrumentChanged,
    InstrumentExpired,
    InstrumentListed,
    OptionQuote,
    Order,
    Portfolio,
    Position,
    SubscriptionRejected,
    Trade,
    UnderlyingPrice,
    VenueClock,
    VenueMark,
    VenueState,
    VolatilityIndex,
)
from pricer.adapters.instruments import Instrument, SliceKey
from pricer.alarms import Alarms
from pricer.blocks import Stamp, confirm_block, make_block
from pricer.chain_pricing import price_model, price_quotes
from pricer.clock import Clock, Instant, SystemClock
from pricer.conventions import NO_REASON, NO_TIME, Dynamics, GreekConvention, Reason, Status, ttm_years
from pricer.errors import ConfigError
from pricer.fitting import SliceChange
from pricer.jump_guard import JumpLimits
from pricer.market_state import FAR_FUTURE, Expiry, Family, Limits, parity_name
from pricer.snapshot import SliceBlock, SliceDefinition, Snapshot, UnderlyingValue
from pricer.surfaces.dynamics import checked
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.svi import SviSmile
from pricer.venue_health import FINE, VenueWatch, Verdict, in_words

log = logging.getLogger("pricer.engine")

# Prices of underlyings are looked at this often, and at each pricing while one of them is in doubt.
EXAMINE_EVERY_NS = 50_000_000
# An expired slice stays visible this long, frozen and marked, so that every consumer sees why it went.
EXPIRED_STAYS_NS = 10_000_000_000
# Unchanged prices of the underlying renew the ages of a block that nothing else touches this often.
CONFIRM_EVERY_NS = 50_000_000


# What a lost book says of the quote that came from it.
BOOK_REASONS = {
    "gap": Reason.BOOK_GAP,
    "checksum": Reason.CHECKSUM_FAIL,
    "crossed": Reason.CROSSED,
    "session": NO_REASON,
}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The limits behind the statuses, integer nanoseconds unless said otherwise.

    `quote_max_age_ns`: a Deribit ticker is re-sent every 5 s, so 12 s of silence means a lost channel.
    `forward_move`: a relative move of the forward below this re-prices nothing (0.1 bp).
    `reprice_every_ns`: model numbers are renewed this often for the passing of time alone.
    `settlement_window_ns`: before expiry the payoff is an average of the index, which Black-76 does not know.
    `wide_spread_iv`: a bid-ask wider than this volatility makes the mid DEGRADED.
    `parity_gap`: a venue's forward further (as a share of it) than this from put-call parity is DEGRADED.
    `freeze_move`: an index or forward that is repeated for longer than `forward_max_age_ns` while another price of its
    market makes this relative move is frozen, and STALE.
    `jump_floor`, `jump_sigmas`, `jump_confirm_ns`: a relative move of more than the first, and of more than so many
    standard deviations of the elapsed time, is not believed before another price confirms it or it has stood so long.
    `mark_divergence_iv`: a venue's mark volatility that stays this far from ours is counted and logged.
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
    freeze_move: float = 5e-4
    jump_floor: float = 0.01
    jump_sigmas: float = 10.0
    jump_confirm_ns: int = 1_000_000_000
    mark_divergence_iv: float = 0.05
    surface_half_life: float = 0.0
    dynamics: Dynamics = "sticky_strike"

    def __post_init__(self) -> None:
        checked(self.dynamics)


DEFAULT_SETTINGS = EngineSettings()


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
        self._limits = Limits(
            settings.last_good_ns,
            settings.surface_half_life,
            settings.forward_max_age_ns,
            settings.freeze_move,
            JumpLimits(settings.jump_floor, settings.jump_sigmas, settings.jump_confirm_ns),
        )
        self._families: dict[tuple[str, str], Family] = {}
        self._expiries: dict[SliceKey, Expiry] = {}
        self._rows: dict[tuple[str, str], tuple[Expiry, int]] = {}
        self._listed: dict[tuple[str, str], Expiry] = {}
        self._venues: dict[str, VenueWatch] = {}
        self._account = AccountKeeper(self.counters)
        self._alarms = Alarms(log)
        self._version = 0
        self._deadline: int | None = None
        self._examine_due_ns = NO_TIME
        self._handlers = {
            OptionQuote: self._on_quote,
            VenueMark: self._on_mark,
            UnderlyingPrice: self._on_underlying,
            InstrumentListed: self._on_definition,
            InstrumentChanged: self._on_definition,
            InstrumentExpired: self._on_expired,
            SubscriptionRejected: self._on_rejected,
            FeedStatus: self._on_feed,
            VenueState: self._on_venue_state,
            VenueClock: self._on_venue_clock,
            VolatilityIndex: self._on_volatility_index,
            DeliveryPrice: self._on_delivery_price,
            BookLost: self._on_book_lost,
            ChannelAlarm: self._on_alarm,
            AccountStatus: self._on_account_status,
            Position: self._account.on_position,
            Portfolio: self._account.on_portfolio,
            # Not what prices are made of: books and trades are kept beside the chain (`orderflow`).
            **dict.fromkeys((Trade, BookDepth, Order, Fill), _pass_over),
        }

    def apply(self, event: AnyEvent) -> None:
        """Take one fact. What does not concern a known instrument is counted and dropped."""
        self._handlers[type(event)](event)  # type: ignore[operator]

    def price(self, now: Instant, informing: Reason = NO_REASON) -> Snapshot:
        """Recompute what changed and publish. `informing` reasons (REPLAY, CONFLATED ...) go with every row."""
        self._relist()
        self._examine(now)
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
            feeds=tuple(feed for watch in self._venues.values() for feed in watch.feeds.values()),
            clock=self._clock,
            reasons=informing,
            convention=self._convention,
            health={venue: watch.health for venue, watch in sorted(self._venues.items())},
            volatility_indices={
                name: family.volatility_index.published(now, slow)
                for name, family in families.items()
                if family.volatility_index.received is not None
            },
            settlements={name: family.settlement for name, family in families.items() if family.settlement is not None},
            account=self._account.published(),
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
        forward, doubtful = quote.forward, False
        if not 0.0 < forward < math.inf:
            forward = self._forward_of_the_instant(expiry, quote.received)
        elif expiry.forward.is_doubtful(forward, quote.received):
            forward, doubtful = expiry.forward.value, True
        if not expiry.chain.store_quote(row, quote, forward, doubtful):
            self.counters["quote_out_of_order"] += 1
            return
        expiry.family.watch.quoted()
        expiry.family.index.update(quote.index, quote.exchange_ns, quote.received)
        expiry.forward.update(quote.forward, quote.index, quote.exchange_ns, quote.received)
        expiry.fresh_until = min(expiry.fresh_until, quote.received.mono_ns + self.settings.quote_max_age_ns)

    def _forward_of_the_instant(self, expiry: Expiry, received: Instant) -> float:
        """For a quote that brings none: the fresh one of its expiry, or NaN, for which put-call parity stands in."""
        known = expiry.published_forward(received, self.settings.forward_max_age_ns, self.settings.quote_max_age_ns)
        return known.value if known.status < Status.STALE else math.nan

    def _on_mark(self, mark: VenueMark) -> None:
        found = self._rows.get((mark.venue, mark.instrument)) or self._find(mark.venue, mark.instrument)
        if found is not None:
            expiry, row = found
            expiry.chain.store_mark(row, mark)

    def _on_underlying(self, price: UnderlyingPrice) -> None:
        family = self._family(price.venue, price.price_index)
        if price.kind == "future" and price.expiry_ns is not None and price.received.wall_ns >= price.expiry_ns:
            self.counters["future_after_expiry"] += 1
            return
        if price.kind == "index":
            family.watch.priced(price.exchange_ns, price.received)
            family.index.update(price.price, price.exchange_ns, price.received)
        elif price.kind == "perpetual":
            family.watch.quoted()
            family.store_perpetual(price)
        elif price.expiry_ns is not None and not family.store_future(price, price.expiry_ns):
            self.counters["too_many_futures"] += 1

    def _on_volatility_index(self, event: VolatilityIndex) -> None:
        family = self._family(event.venue, event.price_index)
        family.volatility_index.update(event.volatility, event.exchange_ns, event.received)

    def _on_delivery_price(self, event: DeliveryPrice) -> None:
        if 0.0 < event.price < math.inf:
            self._family(event.venue, event.price_index).settlement = event

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
            expiry = self._expiries[key] = Expiry(key, self._family(key.venue, key.price_index), instrument)
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

    def _on_book_lost(self, event: BookLost) -> None:
        """Where quotes come from books, the row's last one holds no longer than its book did."""
        self.counters[f"book_lost.{event.reason}"] += 1
        found = self._rows.get((event.venue, event.instrument))
        if found is not None and found[0].chain.from_book[found[1]]:
            expiry, row = found
            expiry.chain.flag(row, Reason.RESYNCING | BOOK_REASONS[event.reason])

    def _on_account_status(self, event: AccountStatus) -> None:
        self._account.on_status(event)
        if event.state == "refused":
            text = "%s refuses the login (%s): positions are not known"
            self._alarms.say("login_refused", event.venue, event.received.mono_ns, text, event.venue, event.reason)
        if event.reason == "excess_rights":
            self._alarms.say("excess_rights", event.venue, event.received.mono_ns, "%s: %s", event.venue, event.detail)

    def _on_alarm(self, event: ChannelAlarm) -> None:
        self.counters[f"alarm.{event.kind}"] += 1
        self._alarms.say(
            event.kind, event.venue, event.received.mono_ns, "%s: the channel %s of %s brings nothing (%s)",
            event.venue, event.channel, event.connection, event.kind,
        )  # fmt: skip

    def _on_venue_state(self, event: VenueState) -> None:
        self._venue(event.venue).state(event)

    def _on_venue_clock(self, event: VenueClock) -> None:
        self._venue(event.venue).asked(event)

    def _on_feed(self, event: FeedStatus) -> None:
        watch = self._venue(event.venue)
        if not watch.connection(event):
            return
        expiries = [expiry for expiry in self._expiries.values() if expiry.key.venue == event.venue]
        if event.lost is None:
            for expiry in expiries:
                expiry.chain.suspect()
        else:
            self._suspect_rows(event.venue, event.lost)
        if not watch.is_connected:
            for (venue, _), family in self._families.items():
                if venue == event.venue:
                    family.suspect()
            for expiry in expiries:
                expiry.suspect_underlying()

    def _suspect_rows(self, venue: str, names: Iterable[str]) -> None:
        """Only what one connection carried alone; names that are not listed were futures, or have ended."""
        self._relist()
        rows: dict[Expiry, list[int]] = {}
        for name in names:
            found = self._rows.get((venue, name))
            if found is not None:
                rows.setdefault(found[0], []).append(found[1])
        for expiry, lost in rows.items():
            expiry.chain.suspect(np.array(lost, np.int64))

    # Instruments

    def _family(self, venue: str, price_index: str) -> Family:
        key = (venue, price_index)
        if key not in self._families:
            if any(price_index == known for _, known in self._families):
                raise ConfigError(f"two venues with a price index {price_index!r} need an engine each, not one")
            self._families[key] = Family(self._venue(venue), price_index, self._limits)
        return self._families[key]

    def _venue(self, venue: str) -> VenueWatch:
        watch = self._venues.get(venue)
        if watch is None:
            watch = self._venues[venue] = VenueWatch(venue)
        return watch

    def _find(self, venue: str, name: str) -> tuple[Expiry, int] | None:
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

    def _delist(self, expiry: Expiry, name: str) -> None:
        """The option leaves its slice before the expiry; its row goes with the next `_relist`."""
        self._listed.pop((expiry.key.venue, name), None)
        expiry.instruments.pop(name, None)
        expiry.relisted = True

    def _remove(self, expiry: Expiry) -> None:
        self._forget_rows(expiry)
        for name in expiry.instruments:
            self._listed.pop((expiry.key.venue, name), None)
        expiry.family.keeper.drop(expiry.key.expiry_ns)
        expiry.family.witnesses.forget(parity_name(expiry.key.expiry_ns))
        self._expiries.pop(expiry.key, None)

    def _forget_rows(self, expiry: Expiry) -> None:
        for name in expiry.chain.definition.names:
            key = (expiry.key.venue, name)
            if key in self._rows and self._rows[key][0] is expiry:
                del self._rows[key]

    def _in_order(self) -> list[Expiry]:
        return [self._expiries[key] for key in sorted(self._expiries)]

    # Pricing

    def _examine(self, now: Instant) -> None:
        """What is to be believed at this moment: venues, jumps, and prices that stand still."""
        due = now.mono_ns >= self._examine_due_ns
        if due:
            self._examine_due_ns = now.mono_ns + EXAMINE_EVERY_NS
        for watch in self._venues.values():
            for reason in watch.examine(now) if due or watch.has_news else ():
                word = reason.label.lower()
                self.counters[f"venue.{word}"] += 1
                text = in_words(reason, watch.health)
                self._alarms.say(word, watch.venue, now.mono_ns, "%s: %s: %s", watch.venue, reason.label, text)
        for (venue, name), family in self._families.items():
            if due or family.witnesses.doubt:
                family.witnesses.doubt = False  # who still doubts says so again
                self._examine_family(venue, name, family, now)

    def _examine_family(self, venue: str, name: str, family: Family, now: Instant) -> None:
        self._tell(family.index.examine(now), venue, name, family.index.frozen_by, now)
        for future in family.futures.values():
            future.examine(now)
        family.drop_expired(now)
        for key, expiry in self._expiries.items():
            if expiry.family is family:
                self._tell(expiry.forward.examine(now), venue, key, expiry.forward.frozen_by, now)
                if expiry.chain.doubtful and not expiry.forward.is_doubted:
                    expiry.settle_jump()

    def _tell(self, news: str, venue: str, price: object, witness: str | None, now: Instant) -> None:
        """Count and log what has just begun with a price of an underlying; `news` is empty mostly."""
        if news == "frozen":
            self.counters["frozen_price"] += 1
            text = "the price of %s is repeated although %s has moved"
            self._alarms.say(news, venue, now.mono_ns, text, price, witness)
        elif news == "jump":
            self.counters["unconfirmed_jump"] += 1
            self._alarms.say(news, venue, now.mono_ns, "the price of %s jumps, and nothing confirms it", price)

    def _prepare(self, now: Instant) -> list[_Work]:
        """Forwards and quote volatilities of the living slices; the expired ones are frozen."""
        works = []
        stale_ns = self.settings.forward_max_age_ns
        verdicts = {family: family.watch.judge(family.price_index, stale_ns) for family in self._families.values()}
        for expiry in self._in_order():
            if expiry.expired or now.wall_ns >= expiry.key.expiry_ns:
                self._price_expired(expiry, now)
                continue
            self._touch_newly_stale(expiry, now)
            forward = self._forward(expiry, now)
            quotes, models = verdicts[expiry.family]
            if (
                forward.status >= Status.STALE and expiry.forward.frozen_by is not None
            ):  # the quotes' own volatilities are made with it
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
            self._ask_quotes(expiry, forward.value, now)
            forward = expiry.published_forward(now, *limits)
        return forward

    def _ask_quotes(self, expiry: Expiry, forward: float, now: Instant) -> None:
        """Hold the venue's forward against put-call parity; a gap that opens is counted and logged."""
        monitor = expiry.monitor
        if monitor.ask(expiry.chain, forward, now, self.settings.quote_max_age_ns, self.settings.parity_gap):
            self.counters["parity_gap"] += 1
            assert monitor.check.parity is not None
            value, error, gap = monitor.check.parity
            self._alarms.say(
                "parity_gap", expiry.key.venue, now.mono_ns,
                "the forward of %s is %.2f off its options' put-call parity (%.2f, standard error %.2f)",
                expiry.key, gap, value, error,
            )  # fmt: skip
        expiry.forward.check = monitor.check
        expiry.heard_parity(now)

    def _price_quotes(self, expiry: Expiry, now: Instant) -> None:
        oldest_ns = now.mono_ns - self.settings.quote_max_age_ns
        if fallbacks := price_quotes(expiry.chain, oldest_ns, self.settings.wide_spread_iv):
            self.counters["fallback_iv"] += fallbacks

    def _refit(self, works: list[_Work], now: Instant) -> None:
        """The smiles whose quotes changed, one step a family; certificates are renewed as time passes."""
        for family in self._families.values():
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
        for family in self._families.values():
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
            self._compare_marks(expiry, now)

    def _compare_marks(self, expiry: Expiry, now: Instant) -> None:
        """Once a second: the options whose venue's volatility has stayed away from ours are counted and told."""
        if apart := expiry.divergence.newly_apart(expiry.chain, self.settings.mark_divergence_iv, now):
            self.counters["mark_divergence"] += len(apart)
            text = "the venue's volatilities of %d options of %s stay away from ours, that of %s first"
            self._alarms.say("mark_divergence", expiry.key.venue, now.mono_ns, text, len(apart), expiry.key, apart[0])

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
            self._remove(expiry)
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

    def _stamp(self, now: Instant) -> Stamp:
        return Stamp(now, self._version + 1, self.settings.quote_max_age_ns)

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


def _confirms(new: UnderlyingValue, old: UnderlyingValue) -> bool:
    """Whether a confirmation is worth a new block: ages may err towards old, by no more than CONFIRM_EVERY_NS."""
    if new.received is None or old.received is None:
        return new.received is not old.received
    return new.received.mono_ns - old.received.mono_ns >= CONFIRM_EVERY_NS


def _pass_over(event: AnyEvent) -> None:
    """Nothing of it is priced."""
