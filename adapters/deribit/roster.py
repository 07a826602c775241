"""Deribit's instruments as they come and go on one connection: whoever keeps something of one has to hear of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pricer.adapters.deribit.catalog import Catalog
from pricer.adapters.deribit.wanted import Wanted
from pricer.adapters.events import AnyEvent, InstrumentExpired
from pricer.adapters.instruments import Instrument
from pricer.adapters.wire import Note
from pricer.clock import Instant

Ended = Callable[[str], None]


class Roster:
    """Passes on what the catalog learns: to `wanted` what is listed, to each of `when_ended` the name of what ends."""

    def __init__(self, catalog: Catalog, wanted: Wanted, note: Note) -> None:
        self._catalog = catalog
        self._wanted = wanted
        self._note = note
        self.when_ended: list[Ended] = [wanted.ended]

    def learn(self, definition: Instrument, now: Instant, events: list[AnyEvent]) -> bool:
        """An option that no list has named yet. False where it is refused, or another connection's."""
        if not self._catalog.carries(definition.name):
            self._note("other_share")
            return False
        news: list[AnyEvent] = []
        known = self._catalog.learn(definition, now, news)
        self.follow(news, now)
        events += news
        return known

    def created(self, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        """`instrument.creation.*`."""
        self._catalog.created(data, now, events)
        self.follow(events, now)

    def listed(self, key: str | None, result: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        """An instrument list: the one that was asked for under `key`, or somebody else's in a recording."""
        self._catalog.listed(key, result, now, events)
        self.follow(events, now)
        if self._catalog.complete:
            self._wanted.lists_complete()

    def expired(self, now: Instant) -> list[AnyEvent]:
        """What has reached its expiry by our own clock."""
        events: list[AnyEvent] = [*self._catalog.expire(now)]
        self.follow(events, now)
        return events

    def follow(self, events: list[AnyEvent], now: Instant) -> None:
        """Ask for nothing more of what has ended, and for the quotes of what is listed, be it under the same name."""
        for name in [each.instrument for each in events if isinstance(each, InstrumentExpired)]:
            for ended in self.when_ended:
                ended(name)
        self._wanted.listed(events, now)
