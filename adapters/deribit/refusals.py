"""Which channels Deribit refuses: told once each, while the session asks again at its slow pace."""

from __future__ import annotations

from pricer.adapters.deribit import channels
from pricer.adapters.deribit.books import DeribitBooks
from pricer.adapters.deribit.instruments import VENUE
from pricer.adapters.events import AnyEvent, SubscriptionRejected
from pricer.adapters.wire import Note
from pricer.clock import Instant


class Refusals:
    """The last code of each instrument whose quotes are refused on this connection."""

    def __init__(self, books: DeribitBooks, note: Note) -> None:
        self._books = books
        self._note = note
        self._codes: dict[str, str] = {}

    def refused(self, names: list[str], code: str, now: Instant, events: list[AnyEvent]) -> None:
        """Tell of each refusal once, until its code changes; the retries are quiet."""
        for channel in names:
            self._note("rejected")
            if channels.kind_of(channel) == channels.BOOK:
                self._books.rejected(channel, now, events)  # the option's quotes are none the worse
                continue
            name = channels.subject(channel)
            if not name or channels.kind_of(channel) in channels.CONVENIENCES:
                continue
            if self._codes.get(name) != code:
                self._codes[name] = code
                events.append(
                    SubscriptionRejected(venue=VENUE, received=now, instrument=name, channel=channel, code=code)
                )

    def ended(self, name: str) -> None:
        """The instrument is gone."""
        self._codes.pop(name, None)

    def clear(self) -> None:
        """A new connection: what it refuses is news."""
        self._codes.clear()
