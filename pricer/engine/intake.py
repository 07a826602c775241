"""Events taken in: each fact goes to the row, the slice, the family or the venue that it is about."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

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
from pricer.clock import Instant
from pricer.conventions import NO_REASON, Reason, Status
from pricer.engine.account import AccountKeeper
from pricer.engine.alarms import Alarms
from pricer.engine.listing import Listing
from pricer.engine.market_state import Expiry
from pricer.engine.settings import EngineSettings

# What a lost book says of the quote that came from it.
BOOK_REASONS = {
    "gap": Reason.BOOK_GAP,
    "checksum": Reason.CHECKSUM_FAIL,
    "crossed": Reason.CROSSED,
    "session": NO_REASON,
}


class Intake:
    """Stores facts and marks what they touch dirty; nothing is computed here.

    `handlers` has what takes each type of event. What does not concern a known instrument is counted and dropped.
    """

    def __init__(
        self, listing: Listing, account: AccountKeeper, alarms: Alarms, settings: EngineSettings, counters: Counter[str]
    ) -> None:
        self._listing = listing
        self._rows = listing.rows  # asked for every quote
        self._account = account
        self._alarms = alarms
        self._settings = settings
        self._counters = counters
        self.handlers: dict[type, Callable[[Any], None]] = {
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

    def _on_quote(self, quote: OptionQuote) -> None:
        found = self._rows.get((quote.venue, quote.instrument)) or self._listing.find(quote.venue, quote.instrument)
        if found is None:
            return
        expiry, row = found
        if quote.received.wall_ns >= expiry.key.expiry_ns:
            self._counters["quote_after_expiry"] += 1
            return
        forward, doubtful = quote.forward, False
        if not 0.0 < forward < math.inf:
            forward = self._forward_of_the_instant(expiry, quote.received)
        elif expiry.forward.is_doubtful(forward, quote.received):
            forward, doubtful = expiry.forward.value, True
        if not expiry.chain.store_quote(row, quote, forward, doubtful):
            self._counters["quote_out_of_order"] += 1
            return
        expiry.family.watch.quoted()
        expiry.family.index.update(quote.index, quote.exchange_ns, quote.received)
        expiry.forward.update(quote.forward, quote.index, quote.exchange_ns, quote.received)
        expiry.fresh_until = min(expiry.fresh_until, quote.received.mono_ns + self._settings.quote_max_age_ns)

    def _forward_of_the_instant(self, expiry: Expiry, received: Instant) -> float:
        """For a quote that brings none: the fresh one of its expiry, or NaN, for which put-call parity stands in."""
        known = expiry.published_forward(received, self._settings.forward_max_age_ns, self._settings.quote_max_age_ns)
        return known.value if known.status < Status.STALE else math.nan

    def _on_mark(self, mark: VenueMark) -> None:
        found = self._rows.get((mark.venue, mark.instrument)) or self._listing.find(mark.venue, mark.instrument)
        if found is not None:
            expiry, row = found
            expiry.chain.store_mark(row, mark)

    def _on_underlying(self, price: UnderlyingPrice) -> None:
        family = self._listing.family(price.venue, price.price_index)
        if price.kind == "future" and price.expiry_ns is not None and price.received.wall_ns >= price.expiry_ns:
            self._counters["future_after_expiry"] += 1
            return
        if price.kind == "index":
            family.watch.priced(price.exchange_ns, price.received)
            family.index.update(price.price, price.exchange_ns, price.received)
        elif price.kind == "perpetual":
            family.watch.quoted()
            family.store_perpetual(price)
        elif price.expiry_ns is not None and not family.store_future(price, price.expiry_ns):
            self._counters["too_many_futures"] += 1

    def _on_volatility_index(self, event: VolatilityIndex) -> None:
        family = self._listing.family(event.venue, event.price_index)
        family.volatility_index.update(event.volatility, event.exchange_ns, event.received)

    def _on_delivery_price(self, event: DeliveryPrice) -> None:
        if 0.0 < event.price < math.inf:
            self._listing.family(event.venue, event.price_index).settlement = event

    def _on_definition(self, event: InstrumentListed | InstrumentChanged) -> None:
        instrument = event.definition
        key = instrument.slice_key
        if instrument.kind != "option" or key is None:
            return
        if event.received.wall_ns >= key.expiry_ns:
            self._counters["listed_after_expiry"] += 1
            return
        if not self._listing.take(instrument, key):
            self._counters["bad_definition"] += 1

    def _on_expired(self, event: InstrumentExpired) -> None:
        expiry = self._listing.listed.get((event.venue, event.instrument))
        # At the expiry itself the time guard freezes the whole slice and shows it once more.
        if expiry is not None and event.received.wall_ns < expiry.key.expiry_ns:
            self._listing.delist(expiry, event.instrument)

    def _on_rejected(self, event: SubscriptionRejected) -> None:
        found = self._listing.find(event.venue, event.instrument)
        if found is not None:
            expiry, row = found
            expiry.chain.flag(row, Reason.NOT_TRADING)

    def _on_book_lost(self, event: BookLost) -> None:
        """Where quotes come from books, the row's last one holds no longer than its book did."""
        self._counters[f"book_lost.{event.reason}"] += 1
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
        self._counters[f"alarm.{event.kind}"] += 1
        self._alarms.say(
            event.kind, event.venue, event.received.mono_ns, "%s: the channel %s of %s brings nothing (%s)",
            event.venue, event.channel, event.connection, event.kind,
        )  # fmt: skip

    def _on_venue_state(self, event: VenueState) -> None:
        self._listing.venue(event.venue).state(event)

    def _on_venue_clock(self, event: VenueClock) -> None:
        self._listing.venue(event.venue).asked(event)

    def _on_feed(self, event: FeedStatus) -> None:
        watch = self._listing.venue(event.venue)
        if not watch.connection(event):
            return
        expiries = [expiry for expiry in self._listing.expiries.values() if expiry.key.venue == event.venue]
        if event.lost is None:
            for expiry in expiries:
                expiry.chain.suspect()
        else:
            self._suspect_rows(event.venue, event.lost)
        if not watch.is_connected:
            for (venue, _), family in self._listing.families.items():
                if venue == event.venue:
                    family.suspect()
            for expiry in expiries:
                expiry.suspect_underlying()

    def _suspect_rows(self, venue: str, names: Iterable[str]) -> None:
        """Only what one connection carried alone; names that are not listed were futures, or have ended."""
        self._listing.relist()
        rows: dict[Expiry, list[int]] = {}
        for name in names:
            found = self._rows.get((venue, name))
            if found is not None:
                rows.setdefault(found[0], []).append(found[1])
        for expiry, lost in rows.items():
            expiry.chain.suspect(np.array(lost, np.int64))


def _pass_over(event: AnyEvent) -> None:
    """Nothing of it is priced."""
