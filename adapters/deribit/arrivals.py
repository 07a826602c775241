"""What arrives on Deribit's channels: each message to the one who reads its kind, and what has to follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from pricer.adapters.deribit import channels
from pricer.adapters.deribit.books import DeribitBooks, book_subject
from pricer.adapters.deribit.catalog import Catalog
from pricer.adapters.deribit.market import Handler, Market
from pricer.adapters.deribit.platform import Platform
from pricer.adapters.deribit.private import Private
from pricer.adapters.deribit.roster import Roster
from pricer.adapters.deribit.wanted import Wanted
from pricer.adapters.events import AnyEvent, OptionQuote, UnderlyingPrice
from pricer.adapters.session import Session
from pricer.adapters.wire import Note
from pricer.clock import Instant

Plan = Callable[[Instant, list[AnyEvent] | None], None]
"""Something other than a price has changed: look again at what is owed. With events, "live" may be told, too."""


class Arrivals:
    """The handlers by the first word of a channel's name. `resume` is called when the venue answers calls again."""

    def __init__(
        self,
        families: Sequence[str] | None,
        session: Session,
        market: Market,
        *,
        catalog: Catalog,
        roster: Roster,
        wanted: Wanted,
        books: DeribitBooks,
        platform: Platform,
        private: Private,
        resume: Callable[[Instant], None],
        plan: Plan,
        note: Note,
    ) -> None:
        self._families = families
        self._session = session
        self._market = market
        self._catalog = catalog
        self._roster = roster
        self._wanted = wanted
        self._books = books
        self._platform = platform
        self._private = private
        self._resume = resume
        self._plan = plan
        self._note = note
        self._handlers: dict[str, Handler] = {
            **market.handlers,
            channels.INDEX: self._index,
            channels.INSTRUMENT: self._instrument,
            channels.PLATFORM: self._notice,
            channels.USER: self._account,
            channels.BOOK: self._book,
        }
        self.compare_quotes()

    def receive(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        """One message; what nobody reads is counted."""
        if channel.startswith("ticker."):  # nearly all: straight to its handler
            handler: Handler | None = self._ticker
        else:
            handler = self._handlers.get(channels.kind_of(channel))
        if handler is None:
            self._note("unknown_channel")
        elif handler(channel, data, now, events):
            self._session.saw(channel, now.mono_ns)

    def compare_quotes(self) -> None:
        """Quotes are held against books where there is any: nearly all frames are quotes."""
        for kind in channels.QUOTED:
            handler = self._market.handlers[kind]
            self._handlers[kind] = partial(self._quoted, handler) if self._books.any else handler
        self._ticker = self._handlers[channels.TICKER]

    # Quotes and books

    def _quoted(self, handler: Handler, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        """A channel of quotes: what its `handler` reads is held against the book of the instrument."""
        taken = handler(channel, data, now, events)
        for event in events:
            if isinstance(event, (OptionQuote, UnderlyingPrice)) and self._books.quote(event, now):
                self._plan(now, None)
        return taken

    def _book(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        name, grouped = book_subject(channel)
        if not self._is_wanted(channel) or not self._market.lives(name, now):
            self._note("unwanted")
            return False
        if self._books.receive(name, grouped, data, now, self._market.stamp, events):
            self._wanted.ask_again(now)
            self._plan(now, None)
        return True

    def _is_wanted(self, channel: str) -> bool:
        """Or is it the rest of what has been unsubscribed? A book must not begin anew by it."""
        return self._families is None or self._session.state(channel) is not None

    # The index: the money has moved

    def _index(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        taken = self._market.handlers[channels.INDEX](channel, data, now, events)
        price = events[-1] if taken else None
        self._private.follow(now)
        if isinstance(price, UnderlyingPrice) and self._wanted.money(price.price_index, price.price, now, events):
            self._plan(now, events)
        return taken

    # News

    def _instrument(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        if channel.startswith(channels.STATE):
            self._catalog.state_changed(data, now, events)
        elif channel.startswith(channels.CREATION):
            self._roster.created(data, now, events)
            self._plan(now, events)
        else:
            self._note("unknown_channel")
            return False
        return True

    def _notice(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        was_away = self._platform.in_maintenance
        taken = self._platform.notice(channel, data, now, events)
        if was_away and not self._platform.in_maintenance:
            self._resume(now)
        self._plan(now, events)
        return taken

    def _account(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        if not self._private.notification(channel, data, self._market.stamp, now, events):
            self._note("unwanted")
        return False  # these channels are the account's own
