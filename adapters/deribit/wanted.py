"""Which channels one connection to Deribit is to carry, and in which order they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pricer.adapters.deribit import channels
from pricer.adapters.deribit.books import DeribitBooks
from pricer.adapters.deribit.catalog import Catalog
from pricer.adapters.deribit.channels import Interval, QuoteSource
from pricer.adapters.deribit.instruments import VENUE, currency_of, index_of, is_option
from pricer.adapters.events import AnyEvent, InstrumentChanged, InstrumentListed
from pricer.adapters.instruments import Instrument
from pricer.adapters.planner import Share
from pricer.adapters.session import Priority, Session, State
from pricer.adapters.window import ROLL_MOVE, Roll, Window, distance
from pricer.adapters.wire import NAN
from pricer.clock import Instant
from pricer.errors import ConfigError

RAW = ".raw"


@dataclass(frozen=True, slots=True)
class Streams:
    """What is streamed beside the index, the perpetual and the news: the settings of `Deribit` that choose channels."""

    interval: Interval = "100ms"
    quotes: QuoteSource = "ticker"
    marks: bool = False
    trades: bool = False
    futures: bool = True
    volatility_index: bool = True
    delivery: bool = True

    def __post_init__(self) -> None:
        if self.interval not in channels.INTERVALS:
            raise ConfigError(f"interval: {self.interval!r} is none of {', '.join(map(repr, channels.INTERVALS))}")
        if self.quotes not in channels.QUOTE_SOURCES:
            raise ConfigError(f"quotes: {self.quotes!r} is none of {', '.join(map(repr, channels.QUOTE_SOURCES))}")

    def part(self, share: Share) -> Streams:
        """Of several connections the first alone carries what is not about single options: no trade is told twice."""
        if share.is_first:
            return self
        return replace(self, trades=False, futures=False, volatility_index=False, delivery=False)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The venue's words for what is listed."""
        return ("option", "future") if self.futures else ("option",)

    def prices(self, families: Sequence[str]) -> list[str]:
        """The underlyings: index and perpetual of each family."""
        pairs = (
            (channels.index(index_of(family)), channels.ticker(f"{family}-PERPETUAL", self.interval))
            for family in families
        )
        return [channel for pair in pairs for channel in pair]

    def news(self, families: Sequence[str]) -> list[str]:
        """What concerns more than one instrument."""
        currencies = dict.fromkeys(map(currency_of, families))
        indices = dict.fromkeys(map(index_of, families))
        wanted = [channels.PLATFORM, channels.PUBLIC_METHODS]
        wanted += [channel for currency in currencies for channel in channels.lifecycle(self.kinds, currency)]
        if self.volatility_index:
            wanted += map(channels.volatility_index, indices)
        if self.delivery:
            wanted += map(channels.expiration_price, indices)
        if self.trades:
            wanted += [
                channels.class_trades(kind, currency, self.interval) for kind in self.kinds for currency in currencies
            ]
        return wanted

    def quote(self, name: str) -> str:
        """The quotes of one instrument: futures are few, and their tickers say the most."""
        return channels.quotes(name, self.quotes if is_option(name) else "ticker", self.interval)


class Wanted:
    """Keeps the desired set of `session`: what is fixed, what is listed and inside the window, what is held.

    `families` None wants nothing, as for recordings. Raw channels are for those who have logged in (sheet 5): between
    `withhold_raw` and `release_raw` they wait here.
    """

    def __init__(
        self,
        session: Session,
        catalog: Catalog,
        families: Sequence[str] | None,
        streams: Streams,
        books: DeribitBooks,
        window: Window | None,
        share: Share,
    ) -> None:
        self._session = session
        self._catalog = catalog
        self._families = families
        self._streams = streams
        self._books = books
        self._is_first = share.is_first
        self._roll = None if window is None else Roll(window)
        self._announced: set[str] = set()  # of a window: what has been listed to the consumer on this connection
        self._positions: frozenset[str] = frozenset()
        self._money: dict[str, float] = {}  # by index; outlives connections, for the order of asking
        self._rolled_at: dict[str, float] = {}
        self._withheld: dict[str, float] | None = None
        if families is not None:
            self._ask(streams.prices(families), Priority.UNDERLYING)
            self._ask(streams.news(families), Priority.POSITION)
            if share.is_first:
                self._ask(books.fixed(f"{family}-PERPETUAL" for family in families), Priority.POSITION)

    def new_session(self) -> None:
        """What waited for a login waits for the next one; everything is announced again."""
        self.release_raw()
        self._announced.clear()

    # Listings

    def listed(self, news: list[AnyEvent], now: Instant) -> None:
        """Ask for what `news` lists; a window keeps back what is outside it, and adds what has entered."""
        if self._families is None:
            return
        listed = [each.definition for each in news if isinstance(each, InstrumentListed | InstrumentChanged)]
        if self._roll is None:
            self._want(listed)
        elif news:
            self._want(each for each in listed if not each.cp)
            self._choose(self._roll, now, news)

    def ended(self, name: str) -> None:
        """Nothing more is wanted of this instrument."""
        self._unwant(self._channels_of(name))

    def lists_complete(self) -> None:
        """Marks only once the lists are here: their first message names every option of the index, and only once."""
        if self._streams.marks and self._families is not None:
            self._ask([channels.option_marks(index_of(family)) for family in self._families], Priority.REST)

    def books(self, entering: Iterable[str], leaving: Iterable[str], now: Instant, events: list[AnyEvent]) -> None:
        """Books on demand: those that enter are asked for at once, or when their option is listed here."""
        if self._families is None:
            return
        known = self._catalog.known
        for name in entering:
            if name in known or (self._is_first and not is_option(name)):
                self._ask(self._books.channels((name,)), Priority.POSITION)
        for name in leaving:
            self._unwant([self._books.options.channel(name)])
            self._books.unsubscribed(name, now, events)

    def ask_again(self, now: Instant) -> None:
        """Subscribe anew to what has lost its thread: a book, or a ticker that stands still."""
        if asks := self._books.take_asks():
            book = self._books.options.channel
            again = [book(name) if kind == "book" else self._streams.quote(name) for kind, name in asks]
            self._session.resubscribe(again, now.mono_ns)

    # Order, and the window

    def hold(self, names: Iterable[str], now: Instant, events: list[AnyEvent]) -> None:
        """These are held: wanted whatever the window says, and before the others. Replaces those named before."""
        self._positions = frozenset(names)
        if self._roll is not None:
            self._choose(self._roll, now, events)
        self.rank()

    def rank(self) -> None:
        """Say anew what is near the money: the order matters when much is waiting to be asked for."""
        if self._families is not None:
            inside = None if self._roll is None else self._roll.inside
            known = self._catalog.known.values()
            self._want(each for each in known if inside is None or not each.cp or each.name in inside)

    def money(self, index: str, price: float, now: Instant, events: list[AnyEvent]) -> bool:
        """The price of an underlying. True where it has moved so far that the window may have rolled."""
        self._money[index] = price
        last = self._rolled_at.get(index)
        if self._families is None or (last is not None and abs(price - last) <= ROLL_MOVE * price):
            return False
        self._rolled_at[index] = price
        if self._roll is not None:
            self._choose(self._roll, now, events)
            return True
        if last is None:
            self.rank()
        return False

    @property
    def chosen(self) -> bool:
        """Whether all that is wanted is being asked for: a window needs a price first, and raw channels a login."""
        if self._withheld:
            return False
        if self._roll is None or not self._roll.window.needs_money:
            return True
        return all(index_of(family) in self._money for family in self._families or ())

    # Raw channels

    def withhold_raw(self) -> None:
        """Without a login nothing raw is asked for; what the venue may still send of it is unsubscribed."""
        if self._withheld is None:
            self._withheld = {}
        raw = [name for state in State for name in self._session.channels(state) if name.endswith(RAW)]
        self._withheld |= {name: self._session.priority(name) for name in raw}
        self._session.unwant(raw)

    def release_raw(self) -> None:
        """They may be had."""
        withheld, self._withheld = self._withheld or {}, None
        for name, priority in withheld.items():
            self._session.want((name,), priority)

    # Inside

    def _ask(self, names: Iterable[str], priority: float) -> None:
        for name in names:
            if self._withheld is not None and name.endswith(RAW):
                self._withheld[name] = priority
            else:
                self._session.want((name,), priority)

    def _unwant(self, names: list[str]) -> None:
        self._session.unwant(names)
        if self._withheld is not None:
            for name in names:
                self._withheld.pop(name, None)

    def _want(self, definitions: Iterable[Instrument]) -> None:
        for each in sorted(definitions, key=lambda definition: definition.expiry_ns or 0):
            self._ask(self._channels_of(each.name), self._priority(each))

    def _channels_of(self, name: str) -> list[str]:
        return [self._streams.quote(name), *self._books.channels((name,))]

    def _priority(self, instrument: Instrument) -> float:
        """Positions and futures first, then by the distance from the money; without a price all options are alike."""
        if not instrument.cp or instrument.name in self._positions:
            return Priority.POSITION
        money = self._money.get(instrument.price_index)
        if money is None:
            return Priority.REST
        away = distance(instrument, money)
        return Priority.NEAR + (away / (1.0 + away)) * (Priority.REST - Priority.NEAR)

    def _choose(self, roll: Roll, now: Instant, events: list[AnyEvent]) -> None:
        """Let the window roll; the consumer hears of an option when it enters for the first time."""
        before = roll.inside
        known = {name: each for name, each in self._catalog.known.items() if each.cp}
        chain = [*known.values(), *self._catalog.neighbours(now)]
        inside = roll.choose(chain, lambda option: self._money.get(option.price_index, NAN), self._positions)
        ours = inside | self._announced
        events[:] = [each for each in events if _option_in(each) is None or _option_in(each) in ours]
        told = {each.definition.name for each in events if isinstance(each, InstrumentListed)}
        events += [
            InstrumentListed(venue=VENUE, received=now, definition=each)
            for name, each in known.items()
            if name in inside and name not in self._announced and name not in told
        ]
        self._announced &= known.keys()
        self._announced |= inside
        for name in before - inside:
            self.ended(name)
            self._books.unsubscribed(name, now, events)
        self._want(each for name, each in known.items() if name in inside and name not in before)


def _option_in(event: AnyEvent) -> str | None:
    """The option that an event lists or changes."""
    if isinstance(event, InstrumentListed | InstrumentChanged) and event.definition.cp:
        return event.definition.name
    return None
