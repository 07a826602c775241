"""What is listed and where it stands: venues, families, slices, and the row of each option."""

from __future__ import annotations

import math
from collections import Counter

from pricer.adapters.instruments import Instrument, SliceKey
from pricer.engine.market_state import Expiry, Family, parity_name
from pricer.engine.settings import EngineSettings
from pricer.engine.venue_health import VenueWatch
from pricer.errors import ConfigError
from pricer.snapshot import SliceDefinition


class Listing:
    """Everything the engine knows by name. A slice whose options change is rebuilt by `relist`, once for all changes.

    `rows` and `listed` are by venue and name: an option is in `listed` at once, and in `rows` with the next `relist`.
    """

    def __init__(self, settings: EngineSettings, counters: Counter[str]) -> None:
        self.families: dict[tuple[str, str], Family] = {}
        self.expiries: dict[SliceKey, Expiry] = {}
        self.rows: dict[tuple[str, str], tuple[Expiry, int]] = {}
        self.listed: dict[tuple[str, str], Expiry] = {}
        self.venues: dict[str, VenueWatch] = {}
        self.counters = counters
        self._settings = settings

    def family(self, venue: str, price_index: str) -> Family:
        """What the options on one index share; made when it is first heard of."""
        key = (venue, price_index)
        if key not in self.families:
            if any(price_index == known for _, known in self.families):
                raise ConfigError(f"two venues with a price index {price_index!r} need an engine each, not one")
            self.families[key] = Family(self.venue(venue), price_index, self._settings)
        return self.families[key]

    def venue(self, venue: str) -> VenueWatch:
        """What is known of a venue as a whole; made when it is first heard of."""
        watch = self.venues.get(venue)
        if watch is None:
            watch = self.venues[venue] = VenueWatch(venue)
        return watch

    def find(self, venue: str, name: str) -> tuple[Expiry, int] | None:
        """The row of a listed instrument, also where it was listed after the last `price`."""
        if (venue, name) in self.listed:
            self.relist()
        found = self.rows.get((venue, name))
        if found is None:
            self.counters["unknown_instrument"] += 1
        return found

    def take(self, option: Instrument, key: SliceKey) -> bool:
        """List an option, or what has changed of one; False where its definition cannot be right."""
        expiry = self.expiries.get(key)
        if not _is_sound(option) or (expiry is not None and not _belongs(option, expiry.chain.definition)):
            return False
        if expiry is None:
            expiry = self.expiries[key] = Expiry(key, self.family(key.venue, key.price_index), option)
        before = self.listed.get((option.venue, option.name))
        if before is not None and before is not expiry:
            self.delist(before, option.name)
        if expiry.instruments.get(option.name) != option:
            expiry.instruments[option.name] = option
            expiry.relisted = True
            expiry.chain.set_state(option.name, option.state)
            self.listed[option.venue, option.name] = expiry
        return True

    def relist(self) -> None:
        """Rebuild the columns of every slice whose list of instruments changed: once, however many were listed."""
        for expiry in [expiry for expiry in self.expiries.values() if expiry.relisted]:
            expiry.relisted = False
            self._forget_rows(expiry)
            if not expiry.instruments:
                self.remove(expiry)
                continue
            expiry.chain = expiry.chain.rebuilt(expiry.instruments.values())
            expiry.block = None
            for name, row in expiry.chain.definition.rows.items():
                self.rows[expiry.key.venue, name] = (expiry, row)

    def delist(self, expiry: Expiry, name: str) -> None:
        """The option leaves its slice before the expiry; its row goes with the next `relist`."""
        self.listed.pop((expiry.key.venue, name), None)
        expiry.instruments.pop(name, None)
        expiry.relisted = True

    def remove(self, expiry: Expiry) -> None:
        """The slice ends, with all of its options."""
        self._forget_rows(expiry)
        for name in expiry.instruments:
            self.listed.pop((expiry.key.venue, name), None)
        expiry.family.keeper.drop(expiry.key.expiry_ns)
        expiry.family.witnesses.forget(parity_name(expiry.key.expiry_ns))
        self.expiries.pop(expiry.key, None)

    def in_order(self) -> list[Expiry]:
        """All slices, by venue, index and expiry."""
        return [self.expiries[key] for key in sorted(self.expiries)]

    def _forget_rows(self, expiry: Expiry) -> None:
        for name in expiry.chain.definition.names:
            key = (expiry.key.venue, name)
            if key in self.rows and self.rows[key][0] is expiry:
                del self.rows[key]


def _is_sound(instrument: Instrument) -> bool:
    """Can an option with this definition be priced at all?"""
    return 0.0 < instrument.strike < math.inf and instrument.cp in (1, -1)


def _belongs(instrument: Instrument, definition: SliceDefinition) -> bool:
    """Options of one slice are settled alike and answer to one underlying."""
    inverse = instrument.settlement == "inverse"
    return (instrument.underlying, inverse) == (definition.underlying, definition.inverse)
