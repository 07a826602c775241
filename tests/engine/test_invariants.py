"""Whatever a venue sends and however time passes: FAULTS.md section 0.2 holds after every `price`.

A seeded generator drives an engine with every event that there is, good and bad, on virtual time. A ledger of its own
remembers what was sent and knows nothing of the engine's fields; the checks compare what is published against it.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

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
from pricer.clock import Instant, ManualClock
from pricer.conventions import NS_PER_DAY, Status, ttm_years
from pricer.engine import EXPIRED_STAYS_NS, Engine
from pricer.errors import NotTradable
from pricer.pricing import price
from pricer.snapshot import MODEL_FIELDS, QUOTE_IV_FIELDS, VALUE_FIELDS, VENUE_FIELDS, Row, Snapshot
from tests.scene import SECOND, START, option, smirk

QUOTE_LIMIT = 12 * SECOND
FORWARD_LIMIT = 2 * SECOND
STEPS = 40
STRIKES = (80_000.0, 90_000.0, 95_000.0, 100_000.0, 105_000.0, 110_000.0, 125_000.0)
# The first passes during the run; the others are reached by a jump of the wall clock, or never.
EXPIRY_DAYS = (20 / 86_400, 0.5, 30.0, 200.0)
NO_PRICE = (math.nan, 0.0, -1.0, math.inf)
# Every good forward and index lies in here, and so must every one that is published.
LOWEST, HIGHEST = 60_000.0, 160_000.0


def options() -> list[Instrument]:
    """Two families: coin-settled, and linear on another index."""
    chosen = []
    for days in EXPIRY_DAYS:
        for strike in STRIKES:
            for cp in (1, -1):
                inverse = option(f"BTC-{days:g}-{strike:g}-{cp}", days, strike, cp)
                chosen.append(inverse)
                if days > 0.1 and strike < 106_000:
                    linear = {"name": f"LIN-{days:g}-{strike:g}-{cp}", "underlying": "LIN", "price_index": "lin_usdc"}
                    chosen.append(msgspec.structs.replace(inverse, **linear, settlement="linear"))
    return chosen


@dataclass
class Sent:
    """What an independent observer knows of one instrument."""

    quote: OptionQuote | None = None  # the newest by the venue's time
    lost: bool = False  # the connection closed after it
    had_forward: bool = False  # its own, or that of its expiry at that instant
    tradable: bool = True


@dataclass
class Ledger:
    """What was sent, and when; nothing of what the engine made of it."""

    listed: dict[str, Instrument] = field(default_factory=dict)
    sent: dict[str, Sent] = field(default_factory=dict)
    forward_mono: dict[SliceKey, int] = field(default_factory=dict)
    # The newest index of each name and forward of each slice since the connection was last closed.
    heard_mono: dict[str | SliceKey, int] = field(default_factory=dict)

    def note(self, event: AnyEvent) -> None:
        now = event.received.mono_ns
        match event:
            case InstrumentListed(definition=each) | InstrumentChanged(definition=each):
                self._note_definition(each)
            case InstrumentExpired(instrument=name):
                self.listed.pop(name, None)
                self.sent.pop(name, None)
            case SubscriptionRejected(instrument=name) if name in self.listed:
                self.sent[name].tradable = False
            case OptionQuote(instrument=name) if name in self.listed:
                self._note_quote(event, self.listed[name])
            case UnderlyingPrice(kind="index", price=value, price_index=name) if is_price(value):
                self.heard_mono[name] = now
            case FeedStatus(state="closed"):
                self.heard_mono.clear()
                for sent in self.sent.values():
                    sent.lost = True

    def _note_definition(self, each: Instrument) -> None:
        known = self.listed.get(each.name)
        self.listed[each.name] = each
        sent = self.sent.setdefault(each.name, Sent())
        if known != each:
            sent.tradable = each.state == "open"

    def _note_quote(self, quote: OptionQuote, instrument: Instrument) -> None:
        key = instrument.slice_key
        assert key is not None
        sent = self.sent[instrument.name]
        newest = sent.quote
        stamps = (quote.exchange_ns, newest.exchange_ns) if newest and not sent.lost else (None, None)
        older = bool(stamps[0] and stamps[1] and stamps[0] < stamps[1])
        if older or quote.received.wall_ns >= key.expiry_ns:
            return
        sent.quote, sent.lost, sent.tradable = quote, False, quote.state == "open"
        now = quote.received.mono_ns
        sent.had_forward = is_price(quote.forward) or self.forward_lives(key, now)
        if is_price(quote.index):
            self.heard_mono[key.price_index] = now
        if is_price(quote.forward):
            self.forward_mono[key] = self.heard_mono[key] = now

    def quote_lives(self, name: str, now: int) -> bool:
        """Is the instrument's last quote fresh and from this connection?"""
        sent = self.sent[name]
        return sent.quote is not None and not sent.lost and now - sent.quote.received.mono_ns <= QUOTE_LIMIT

    def two_sided(self, name: str) -> bool:
        quote = self.sent[name].quote
        sent = self.sent[name]
        return quote is not None and quote.bid <= quote.ask and sent.had_forward and sent.tradable

    def forward_lives(self, key: SliceKey, now: int) -> bool:
        """A forward or index of this connection within 2 s, and a forward of the expiry within a quote's life."""
        heard = max(self.heard_mono.get(each, -FORWARD_LIMIT) for each in (key, key.price_index))
        return now - heard <= FORWARD_LIMIT and now - self.forward_mono.get(key, -QUOTE_LIMIT) <= QUOTE_LIMIT

    def slice_lives(self, key: SliceKey, now: int) -> bool:
        """Does any two-sided, tradable quote of the slice live?"""
        names = [name for name, each in self.listed.items() if each.slice_key == key]
        return any(self.quote_lives(name, now) and self.two_sided(name) for name in names)


def is_price(value: float) -> bool:
    return math.isfinite(value) and value > 0.0


class Market:
    """Draws the next events: mostly a healthy venue, with every fault now and then."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.clock = ManualClock(START)
        self.forward = 100_000.0
        self.instruments = options()
        self.faults: list[Callable[[], list[AnyEvent]]] = [
            self.relist,
            self.delist,
            self.reject,
            self.reconnect,
            self.bad_index,
            self.out_of_order,
            self.wall_jump,
            self.silence,
            self.bad_quotes,
            self.marks,
            self.unlisted,
        ]

    def step(self) -> list[AnyEvent]:
        """The events of one step; time has moved on."""
        self.clock.advance(self.rng.choice((0, SECOND // 100, SECOND // 5, SECOND // 2, SECOND)))
        self.forward = min(max(self.forward * math.exp(self.rng.gauss(0.0, 0.002)), 80_000.0), 120_000.0)
        if self.rng.random() < 0.35:
            return self.rng.choice(self.faults)()
        return [*self.indices(), *self.quotes(self.rng.choice((0.05, 0.3, 1.0)))]

    def indices(self) -> list[AnyEvent]:
        return [self.index("btc_usd", self.forward * 0.999), self.index("lin_usdc", self.forward * 0.998)]

    def index(self, name: str, value: float) -> UnderlyingPrice:
        now = self.clock.now()
        stamp = self.rng.choice((now.wall_ns, now.wall_ns, None))
        return UnderlyingPrice(
            venue="deribit",
            received=now,
            exchange_ns=stamp,
            kind="index" if self.rng.random() < 0.7 else "perpetual",
            price_index=name,
            price=value,
        )

    def quotes(self, share: float) -> list[AnyEvent]:
        return [self.quote(each) for each in self.instruments if self.rng.random() < share]

    def quote(self, each: Instrument, **changes: object) -> OptionQuote:
        now = self.clock.now()
        assert each.expiry_ns is not None
        ttm = max(ttm_years(each.expiry_ns, now.wall_ns), 1e-9)
        sigma = max(smirk(math.log(each.strike / self.forward), max(ttm, 0.01)), 0.1)
        unit = self.forward if each.settlement == "inverse" else 1.0
        low, high = (float(price(self.forward, each.strike, ttm, sigma + d, each.cp)) / unit for d in (-0.01, 0.01))
        fields: dict[str, object] = {
            "venue": "deribit",
            "received": now,
            "exchange_ns": self.rng.choice((now.wall_ns, now.wall_ns, None)),
            "instrument": each.name,
            "bid": low if self.rng.random() < 0.9 else math.nan,
            "ask": high if self.rng.random() < 0.95 else math.nan,
            "bid_size": 1.0,
            "ask_size": 2.0,
            "forward": self.forward,
            "index": self.forward * 0.999,
        }
        return OptionQuote(**{**fields, **changes})  # type: ignore[arg-type]

    # Faults

    def some(self, share: float = 0.1) -> list[Instrument]:
        return [each for each in self.instruments if self.rng.random() < share]

    def listing(self, each: Instrument, **changes: object) -> InstrumentListed:
        definition = msgspec.structs.replace(each, **changes)
        return InstrumentListed(venue="deribit", received=self.clock.now(), definition=definition)

    def relist(self) -> list[AnyEvent]:
        state = self.rng.choice(("open", "open", "halted"))
        return [self.listing(each, state=state) for each in self.some(self.rng.choice((0.1, 1.0)))]

    def delist(self) -> list[AnyEvent]:
        now = self.clock.now()
        return [InstrumentExpired(venue="deribit", received=now, instrument=each.name) for each in self.some()]

    def reject(self) -> list[AnyEvent]:
        now = self.clock.now()
        return [
            SubscriptionRejected(venue="deribit", received=now, instrument=each.name, channel="ticker", code="no")
            for each in self.some()
        ]

    def feed(self, state: str) -> FeedStatus:
        return FeedStatus(venue="deribit", received=self.clock.now(), connection="0", state=state)  # type: ignore[arg-type]

    def reconnect(self) -> list[AnyEvent]:
        """The connection drops; perhaps it is back at once, with some or all of what it carried."""
        events: list[AnyEvent] = [self.feed("closed")]
        if self.rng.random() < 0.6:
            events += [self.feed("open"), *self.indices(), *self.quotes(self.rng.choice((0.1, 0.6, 1.0)))]
        return events

    def bad_index(self) -> list[AnyEvent]:
        bad = self.rng.choice(NO_PRICE)
        return [self.index("btc_usd", bad), *(self.quote(each, index=bad) for each in self.some())]

    def out_of_order(self) -> list[AnyEvent]:
        stamp = self.clock.now().wall_ns - self.rng.choice((1, SECOND, NS_PER_DAY))
        return [self.quote(each, exchange_ns=stamp) for each in self.some(0.3)]

    def wall_jump(self) -> list[AnyEvent]:
        """An NTP step; rarely one across an expiry."""
        now, jump = self.clock.now(), self.rng.choice((-3600, -2, 2, 3600, 50_000))
        self.clock.set(Instant(now.wall_ns + jump * SECOND, now.mono_ns))
        return self.indices()

    def silence(self) -> list[AnyEvent]:
        self.clock.advance(self.rng.choice((2 * SECOND + 1, 5 * SECOND, QUOTE_LIMIT, QUOTE_LIMIT + 1, 25 * SECOND)))
        return self.rng.choice(([], self.indices(), self.quotes(0.1)))

    def bad_quotes(self) -> list[AnyEvent]:
        wrong: tuple[dict[str, object], ...] = (
            {"bid": math.nan, "ask": math.nan},
            {"bid": 0.08, "ask": 0.06},
            {"bid": 0.05, "ask": 0.05},
            {"ask": 3.0},
            {"bid": -1.0},
            {"bid": math.inf, "ask": math.inf, "bid_size": math.inf},
            {"bid": 0.0, "ask": 0.0},
            {"state": "halted"},
            {"forward": self.rng.choice(NO_PRICE)},
            {"forward": self.rng.choice(NO_PRICE), "index": self.rng.choice(NO_PRICE)},
            {"index": math.inf},
            {"exchange_ns": 0},
        )
        return [self.quote(each, **self.rng.choice(wrong)) for each in self.some(0.3)]

    def marks(self) -> list[AnyEvent]:
        now, mark = self.clock.now(), self.rng.choice((0.05, math.nan, math.inf))
        return [VenueMark(venue="deribit", received=now, instrument=each.name, mark=mark) for each in self.some()]

    def unlisted(self) -> list[AnyEvent]:
        return [self.quote(option("BTC-NONE", 30.0, 100_000.0, 1))]


# Checks: every one takes what was published and the ledger.


def check_rows(snapshot: Snapshot, ledger: Ledger, now: Instant) -> None:
    columns = snapshot.columns()
    slices = {block.key for block in snapshot.blocks}
    forward_lives = {key: ledger.forward_lives(key, now.mono_ns) for key in slices}
    slice_lives = {key: ledger.slice_lives(key, now.mono_ns) for key in slices}
    for at, row in enumerate(snapshot):
        assert columns["name"][at] == row.name
        check_quote_numbers(row, ledger, now)
        for name, prefix in (("iv", ""), *((name, f"{name}_") for name in QUOTE_IV_FIELDS)):
            status, reasons = row.status_of(name)
            assert (columns[f"{prefix}status"][at], columns[f"{prefix}reasons"][at]) == (status, reasons)
            if status is Status.INVALID:
                assert math.isnan(columns[name][at]), (row, name)
        if row.status is Status.OK:
            sent = ledger.sent[row.name]
            assert forward_lives[row.block.key], row
            assert slice_lives[row.block.key], row
            assert sent.tradable, row
            assert now.wall_ns < row.expiry_ns, row
        if row.status is Status.INVALID:
            assert all(math.isnan(columns[name][at]) for name in MODEL_FIELDS), row


def check_quote_numbers(row: Row, ledger: Ledger, now: Instant) -> None:
    quote = ledger.sent[row.name].quote if row.name in ledger.sent else None
    for name in (*QUOTE_IV_FIELDS, "bid", "ask", "bid_size", "ask_size"):
        if row.status_of(name)[0] is Status.OK:
            assert ledger.quote_lives(row.name, now.mono_ns), (row, name)
            assert now.wall_ns < row.expiry_ns, (row, name)
    for name in QUOTE_IV_FIELDS:
        if row.status_of(name)[0] < Status.STALE:
            assert quote is not None
            assert ledger.sent[row.name].had_forward, (row, name)
            assert not quote.bid > quote.ask, (row, name)
            assert ledger.sent[row.name].tradable, (row, name)
    if quote is not None and row.status_of("mid_iv")[0] is not Status.INVALID:
        assert math.isfinite(quote.bid + quote.ask), "no mid is made from one side"


def check_refusals(snapshot: Snapshot) -> None:
    """What is OK is a number; what is not, `row.x` refuses."""
    for row in snapshot:
        for name in VALUE_FIELDS:
            status = row.status_of(name)[0]
            if status is Status.OK:
                assert math.isfinite(getattr(row, name)), (row, name)
            else:
                assert row.get(name) is None
                with pytest.raises(NotTradable):
                    getattr(row, name)


def check_underlyings(snapshot: Snapshot, ledger: Ledger, now: Instant) -> None:
    for block in snapshot.blocks:
        forward = block.forward
        assert math.isnan(forward.value) or LOWEST < forward.value < HIGHEST, block.key
        if forward.status is Status.OK:
            assert ledger.forward_lives(block.key, now.mono_ns), block.key
    for value in (*snapshot.indices.values(), *snapshot.perpetuals.values()):
        assert math.isnan(value.value) or LOWEST < value.value < HIGHEST
        assert (value.status is not Status.OK) or now.mono_ns <= value.valid_until_ns
    for name, value in snapshot.indices.items():
        if value.status is Status.OK:
            assert now.mono_ns - ledger.heard_mono[name] <= FORWARD_LIMIT


def check_until_the_deadline(snapshot: Snapshot, engine: Engine, clock: ManualClock) -> None:
    """Up to the last nanosecond before `next_deadline` nothing has grown old, by any reader's clock."""
    now, deadline = clock.now(), engine.next_deadline()
    assert deadline is not None
    assert now.mono_ns < deadline <= now.mono_ns + SECOND // 4
    before = {name: values for name, values in snapshot.columns().items() if name.endswith("status")}
    clock.advance(deadline - 1 - now.mono_ns)
    after = snapshot.columns()
    for name, values in before.items():
        assert np.array_equal(after[name], values), name
    for value in (*snapshot.indices.values(), *snapshot.perpetuals.values(), *(b.forward for b in snapshot.blocks)):
        assert value.status is not Status.OK or clock.now().mono_ns <= value.valid_until_ns
    clock.set(now)


def fingerprint(snapshot: Snapshot) -> str:
    """Everything that a published block holds."""
    sha = hashlib.sha256()
    for block in snapshot.blocks:
        for array in (block.values, block.status, block.reasons, block.quote_mono_ns, block.quote_valid_until_ns):
            sha.update(array.tobytes())
        sha.update(repr((block.forward, block.fitted, block.model_valid_until_ns, block.version)).encode())
    return sha.hexdigest()


def run(seed: int, *, checked: bool) -> Iterator[tuple[Snapshot, str]]:
    """Every snapshot of one schedule with its fingerprint; at the end all options have expired."""
    market, ledger = Market(seed), Ledger()
    clock, engine = market.clock, Engine(clock=market.clock)
    start: list[AnyEvent] = [market.listing(each) for each in market.instruments]
    for step in range(STEPS):
        for event in start if step == 0 else market.step():
            ledger.note(event)
            engine.apply(event)
        if market.rng.random() < 0.2:
            continue
        now = clock.now()
        snapshot = engine.price(now)
        if checked:
            check_rows(snapshot, ledger, now)
            check_underlyings(snapshot, ledger, now)
            check_until_the_deadline(snapshot, engine, clock)
            if step % 9 == 0:
                check_refusals(snapshot)
        yield snapshot, fingerprint(snapshot)
    for wait in (0, EXPIRED_STAYS_NS + 1):
        clock.set(Instant(START.wall_ns + 201 * NS_PER_DAY + wait, clock.now().mono_ns + SECOND + wait))
        snapshot = engine.price(clock.now())
        assert not any(row.status_of(name)[0] is Status.OK for row in snapshot for name in VALUE_FIELDS)
        yield snapshot, fingerprint(snapshot)
    assert_empty(engine)


def assert_empty(engine: Engine) -> None:
    families = engine._listing.families.values()
    held: list[Sized] = [
        engine._listing.rows,
        engine._listing.listed,
        engine._listing.expiries,
        *(family.keeper._states for family in families),
    ]
    assert [len(each) for each in held] == [0] * len(held)
    assert all(family.keeper.surface is None for family in families)


@pytest.mark.parametrize("seed", [*range(9), 57])
def test_I1_I7_I8_hold_after_every_price(seed: int) -> None:
    published = list(run(seed, checked=True))
    assert [fingerprint(snapshot) for snapshot, _ in published] == [before for _, before in published]
    if seed < 2:
        again = [snapshot.digest() for snapshot, _ in run(seed, checked=False)]
        assert again == [snapshot.digest() for snapshot, _ in published]


def test_the_schedules_reach_every_status_and_venue_field() -> None:
    """A generator that made nothing OK, or nothing STALE, would prove nothing."""
    statuses = {row.status for snapshot, _ in run(3, checked=False) for row in snapshot}
    assert statuses == set(Status)
    assert set(VENUE_FIELDS) < set(VALUE_FIELDS)
