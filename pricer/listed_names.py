"""Which underlying an instrument is of, for those who know it by its name alone."""

from __future__ import annotations

from pricer.adapters.events import AnyEvent, InstrumentChanged, InstrumentExpired, InstrumentListed, UnderlyingPrice

# A venue lists some thousands.
MOST_NAMES = 20_000


class ListedNames:
    """The instruments of one venue by name: feed it all events, it takes what lists and ends them.

    A perpetual is not listed; it is known from its first price.
    """

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._underlyings: dict[str, str] = {}
        self._options: set[str] = set()
        self._families: dict[str, str] = {}  # by price index
        self.overflow = 0

    def __len__(self) -> int:
        return len(self._underlyings)

    def apply(self, event: AnyEvent) -> None:
        """Take in one event."""
        if isinstance(event, InstrumentListed | InstrumentChanged):
            definition = event.definition
            self._learn(definition.name, definition.underlying)
            if definition.cp and definition.name in self._underlyings:
                self._options.add(definition.name)
            if len(self._families) < self._most:
                self._families[definition.price_index] = definition.underlying
        elif isinstance(event, UnderlyingPrice):
            if event.instrument not in self._underlyings and event.price_index in self._families and event.instrument:
                self._learn(event.instrument, self._families[event.price_index])
        elif isinstance(event, InstrumentExpired):
            self._underlyings.pop(event.instrument, None)
            self._options.discard(event.instrument)

    def underlying_of(self, name: str) -> str | None:
        """The underlying of a living instrument; None where there is none of that name."""
        return self._underlyings.get(name)

    def is_option(self, name: str) -> bool:
        """Is it a living option?"""
        return name in self._options

    def _learn(self, name: str, underlying: str) -> None:
        if name in self._underlyings or len(self._underlyings) < self._most:
            self._underlyings[name] = underlying
        else:
            self.overflow += 1
