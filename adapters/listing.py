"""Which instruments a venue has now: what is new, what changed, what has ended."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from pricer.adapters.events import InstrumentChanged, InstrumentExpired, InstrumentListed
from pricer.adapters.instruments import Instrument
from pricer.clock import Instant


class Listing:
    """The known instruments of one venue, by name. Outlives connections: definitions are facts, not a session's state.

    Our own wall clock ends an instrument at its expiry, whether or not the venue says so.
    """

    def __init__(self, venue: str, *, most: int) -> None:
        self._venue = venue
        self._most = most
        self._known: dict[str, Instrument] = {}
        self._announced: set[str] = set()
        self._expiries: list[tuple[int, str]] = []

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def get(self, name: str) -> Instrument | None:
        """The definition of a known instrument."""
        return self._known.get(name)

    @property
    def known(self) -> dict[str, Instrument]:
        """All definitions by name (a copy)."""
        return dict(self._known)

    @property
    def full(self) -> bool:
        """No further instrument is taken in: a flood of made-up names must not fill the memory."""
        return len(self._known) >= self._most

    @property
    def next_expiry_ns(self) -> int | None:
        """The wall time at which `expire` has something to do."""
        return self._expiries[0][0] if self._expiries else None

    def new_session(self) -> None:
        """On a new connection everything is announced again as it is met."""
        self._announced.clear()

    def replaced(self, definition: Instrument, now: Instant) -> list[InstrumentExpired]:
        """Asked before `learn`: where the venue gives a name to another contract, what had it so far is gone."""
        old = self._known.get(definition.name)
        return self.remove([old.name], now) if old is not None and definition.is_another_than(old) else []

    def learn(self, definition: Instrument, now: Instant) -> InstrumentListed | InstrumentChanged | None:
        """The venue says that `definition` is listed. Gives the news in that, if any; the caller asks `full` first."""
        name = definition.name
        old = self._known.get(name)
        self._known[name] = definition
        if definition.expiry_ns is not None and (old is None or old.expiry_ns != definition.expiry_ns):
            self._expect(definition.expiry_ns, name)
        changed = old is not None and old != definition
        if not changed and name in self._announced:
            return None
        self._announced.add(name)
        news = InstrumentChanged if changed else InstrumentListed
        return news(venue=self._venue, received=now, definition=definition)

    def remove(self, names: Iterable[str], now: Instant) -> list[InstrumentExpired]:
        """These are gone."""
        gone = [name for name in names if self._known.pop(name, None) is not None]
        self._announced.difference_update(gone)
        return [InstrumentExpired(venue=self._venue, received=now, instrument=name) for name in gone]

    def expire(self, now: Instant) -> list[InstrumentExpired]:
        """Remove what has reached its expiry."""
        due: list[str] = []
        while self._expiries and self._expiries[0][0] <= now.wall_ns:
            expiry_ns, name = heapq.heappop(self._expiries)
            known = self._known.get(name)
            if known is not None and known.expiry_ns == expiry_ns:
                due.append(name)
        return self.remove(due, now)

    def _expect(self, expiry_ns: int, name: str) -> None:
        heapq.heappush(self._expiries, (expiry_ns, name))
        if (
            len(self._expiries) > 2 * self._most
        ):  # expiries that were changed, or that ended early, leave entries behind
            pairs = ((known.expiry_ns, known.name) for known in self._known.values())
            self._expiries = [(at_ns, name) for at_ns, name in pairs if at_ns is not None]
            heapq.heapify(self._expiries)
