"""Which of Deribit's options and futures exist: the lists, asked for again and again, and the news between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

from pricer.adapters.budget import Budget
from pricer.adapters.deribit.instruments import VENUE, currency_of, instrument_from_wire, is_option, known_state
from pricer.adapters.deribit.limits import LIST
from pricer.adapters.events import AnyEvent, InstrumentExpired
from pricer.adapters.instruments import Instrument
from pricer.adapters.listing import Listing
from pricer.adapters.planner import Share
from pricer.adapters.session import SessionLimits
from pricer.adapters.wire import DECODE_ERRORS, Note, decode_items, decode_object, text
from pricer.clock import NS_PER_SECOND, Instant

# How soon a list that lacks something is asked for once more, before it is believed.
CONFIRM_NS = 5 * NS_PER_SECOND

# All of Deribit lists some 4 000 options; a flood of made-up names must not fill the memory.
MAX_INSTRUMENTS = 20_000
# Futures are few and their listings are told, too: their lists must not use up the budget of the options' lists.
FUTURES_REFRESH = 10


class _StateChange(msgspec.Struct, gc=False):
    instrument_name: str
    state: str


_decode_state = msgspec.json.Decoder(_StateChange).decode


@dataclass(slots=True)
class _List:
    """The list of one kind in one currency: when to ask for it next, and what it said last."""

    kind: str
    currency: str
    refresh_ns: int
    due_ns: int = 0
    failures: int = 0
    asked: bool = False
    complete: bool = False
    # Known, but not on the last list; gone, if the next one lacks them, too.
    missing: frozenset[str] = frozenset()
    # Most objects are the same, byte for byte, as a minute ago: each with its name, and its definition if it is for us.
    objects: dict[bytes, tuple[str, Instrument | None]] = field(default_factory=dict)

    @property
    def futures(self) -> bool:
        return self.kind == "future"


class Catalog:
    """The options of `families` (None: of all) as the venue lists them, on one connection; their futures, if asked for.

    `share` is of the options; futures are all of them or none. With `neighbours` the options of the other shares are
    remembered, too: what is near the money is a matter of the whole chain.

    Lists go by the venue's own names for such classes: "option.BTC", "future.USDC". One that is empty or cannot be read
    in part adds what it names and removes nothing. Even a whole one may have been cut short, or drawn up before the
    newest listing: what two lists running lack is gone.
    """

    def __init__(
        self,
        families: Sequence[str] | None,
        refresh_ns: int,
        limits: SessionLimits,
        note: Note,
        budget: Budget,
        share: Share | None = None,
        *,
        futures: bool,
        neighbours: bool = False,
    ) -> None:
        self._families = families
        self._futures = futures
        self._limits = limits
        self._note = note
        self._listing = Listing(VENUE, most=MAX_INSTRUMENTS)
        currencies = dict.fromkeys(map(currency_of, families or ()))
        lists = [_List("option", currency, refresh_ns) for currency in currencies]
        if futures:
            lists += [_List("future", currency, FUTURES_REFRESH * refresh_ns) for currency in currencies]
        self._lists = {f"{each.kind}.{each.currency}": each for each in lists}
        self._budget = budget
        self._share = share or Share()
        self._neighbours: dict[str, dict[str, Instrument]] | None = {} if neighbours else None  # by list

    def opened(self, now: Instant) -> None:
        """A new connection: everything is asked for again."""
        for each in self._lists.values():
            each.due_ns, each.asked, each.complete, each.missing = now.mono_ns, False, False, frozenset()

    def new_session(self) -> None:
        """Everything is announced again as it is met."""
        self._listing.new_session()

    def is_ours(self, family: str) -> bool:
        """Is `family` among those asked for?"""
        return self._families is None or family in self._families

    def carries(self, name: str) -> bool:
        """Is this instrument, if it is ours, with this connection?"""
        return self._share.takes(name) if is_option(name) else self._futures

    @property
    def known(self) -> dict[str, Instrument]:
        """The live instruments by name (a copy)."""
        return self._listing.known

    def neighbours(self, now: Instant) -> list[Instrument]:
        """The live options that other connections carry, as the last lists had them."""
        lists = (self._neighbours or {}).values()
        return [each for options in lists for each in options.values() if (each.expiry_ns or 0) > now.wall_ns]

    def get(self, name: str) -> Instrument | None:
        """The definition of a live instrument."""
        return self._listing.get(name)

    # News

    def learn(self, definition: Instrument, now: Instant, events: list[AnyEvent]) -> bool:
        """The venue says that `definition` exists: announce it, or what changed about it. False where it is refused."""
        if definition.expiry_ns is not None and definition.expiry_ns <= now.wall_ns:
            self._note("after_expiry")
            return False
        if self._listing.full and definition.name not in self._listing:
            self._note("too_many_instruments")
            return False
        events += self._listing.replaced(definition, now)
        news = self._listing.learn(definition, now)
        if news is not None:
            events.append(news)
        return True

    def expire(self, now: Instant) -> list[InstrumentExpired]:
        """What has reached its expiry by our own clock."""
        return self._listing.expire(now)

    def created(self, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        """`instrument.creation.*`: a whole definition."""
        name, definition = self._definition_in(decode_object(data) or {}, now)
        if not name:
            self._note("bad_instrument")
        if definition is not None and self.carries(name):
            self.learn(definition, now, events)

    def state_changed(self, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        """`instrument.state.*`."""
        try:
            change = _decode_state(data)
        except DECODE_ERRORS:
            self._note("bad_state")
            return
        definition = self._listing.get(change.instrument_name)
        state = known_state(change.state, self._note)
        if definition is not None and definition.state != state:
            self.learn(msgspec.structs.replace(definition, state=state), now, events)

    def listed(self, key: str | None, result: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        """An instrument list. A reply to our own request is complete, so what it lacks is gone; others only add."""
        items = [bytes(item) for item in decode_items(result)]
        last = {} if key is None else self._lists[key].objects
        objects: dict[bytes, tuple[str, Instrument | None]] = {}
        for item in items:
            objects[item] = last.get(item) or self._definition_in(decode_object(item) or {}, now)
            _, definition = objects[item]
            if definition is not None and self.carries(definition.name):
                self.learn(definition, now, events)
        if key is not None and self._neighbours is not None:
            others = (each for _, each in objects.values() if each is not None and not self.carries(each.name))
            self._neighbours[key] = {each.name: each for each in islice(others, MAX_INSTRUMENTS)}
        present = {name for name, _ in objects.values()}
        whole = bool(items) and "" not in present
        # A stablecoin may have no futures; no options at all is no list.
        if not whole and not (key is not None and self._lists[key].futures and not items):
            self._note("incomplete_list")
        if key is None:
            return
        each = self._lists[key]
        each.objects = objects
        each.due_ns, each.failures = now.mono_ns + each.refresh_ns, 0
        each.asked, each.complete = False, True
        if whole:
            missing = frozenset(name for name in self._listing if name not in present and self._is_of(name, each))
            gone = missing & each.missing
            events += self._listing.remove([name for name in self._listing if name in gone], now)
            each.missing = missing - gone
            if each.missing:
                each.due_ns = now.mono_ns + min(CONFIRM_NS, each.refresh_ns)

    # What is owed, and when

    @property
    def complete(self) -> bool:
        """Every list of options has come on this connection: futures are not worth waiting for."""
        return all(each.complete for each in self._lists.values() if not each.futures)

    def due(self, now_ns: int) -> str | None:
        """The list to be asked for now, if the venue's budget allows."""
        if self._budget.ready_ns(LIST, now_ns) > now_ns:
            return None
        return next((key for key, each in self._askable() if each.due_ns <= now_ns), None)

    def asked(self, key: str, now_ns: int) -> dict[str, Any]:
        """The request goes out now, with these parameters."""
        self._budget.take(LIST, now_ns)
        each = self._lists[key]
        each.asked = True
        return {"currency": each.currency, "kind": each.kind, "expired": False}

    def resume(self, now: Instant) -> None:
        """The venue answers again: what failed is asked for at once."""
        for each in self._lists.values():
            if each.failures:
                each.due_ns, each.failures = min(each.due_ns, now.mono_ns), 0

    def failed(self, key: str, now: Instant) -> None:
        """No list came: ask again, after a pause that grows."""
        each = self._lists[key]
        pause = min(self._limits.first_pause_ns << min(each.failures, 16), self._limits.longest_pause_ns)
        each.asked, each.due_ns, each.failures = False, now.mono_ns + pause, each.failures + 1

    def deadlines(self, now_ns: int) -> Iterator[int]:
        """When each list that nobody was asked for is due."""
        ready_ns = self._budget.ready_ns(LIST, now_ns)
        return (max(each.due_ns, ready_ns) for _, each in self._askable())

    def _askable(self) -> Iterator[tuple[str, _List]]:
        """Futures after the options: the budget is small, and other connections want their options from it, too."""
        complete = self.complete
        return ((key, each) for key, each in self._lists.items() if not each.asked and (complete or not each.futures))

    @property
    def next_expiry_ns(self) -> int | None:
        """The wall time at which `expire` has something to do."""
        return self._listing.next_expiry_ns

    def _definition_in(self, item: dict[str, Any], now: Instant) -> tuple[str, Instrument | None]:
        """The name in one instrument object, and its definition when it is one of ours."""
        name = text(item.get("instrument_name"))
        if not name or not self.is_ours(name.partition("-")[0]):
            return name, None
        if not self.carries(name) and (self._neighbours is None or not is_option(name)):
            return name, None
        return name, instrument_from_wire(item, now.wall_ns, self._note)

    def _is_of(self, name: str, each: _List) -> bool:
        """Whether this list is where `name` would stand."""
        return is_option(name) is not each.futures and currency_of(name.partition("-")[0]) == each.currency
