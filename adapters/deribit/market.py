"""What Deribit's public channels of prices and trades say, one handler a kind of channel.

A handler takes the channel, its data, the instant and the list to put events on, and gives whether it could use the
message: then the channel is live. What it cannot use is counted and dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from pricer.adapters.deribit import channels, delivery, marks, quotes, tickers, trades, volatility
from pricer.adapters.deribit.catalog import MAX_INSTRUMENTS, Catalog
from pricer.adapters.deribit.incremental import IncrementalTickers
from pricer.adapters.deribit.instruments import exchange_ns, index_of, instrument_from_name
from pricer.adapters.deribit.perpetuals import INTERESTS, interest_event
from pricer.adapters.deribit.perpetuals import KNOWN_FIELDS as INTEREST_FIELDS
from pricer.adapters.deribit.tickers import Ticker
from pricer.adapters.events import AnyEvent
from pricer.adapters.instruments import Instrument
from pricer.adapters.stamps import StampCheck
from pricer.adapters.wire import DECODE_ERRORS, NAN, Note, decode_items, decode_object
from pricer.clock import Instant

Handler = Callable[[str, msgspec.Raw, Instant, list[AnyEvent]], bool]
Learn = Callable[[Instrument, Instant, list[AnyEvent]], bool]


class Market:
    """The public channels of `families` (None: of all) on one connection.

    `learn` announces an option that no list has named yet, and says whether it was taken.
    """

    def __init__(self, catalog: Catalog, families: Sequence[str] | None, learn: Learn, note: Note) -> None:
        self._catalog = catalog
        self._indices = None if families is None else frozenset(map(index_of, families))
        self._learn = learn
        self._note = note
        self._incremental = IncrementalTickers(MAX_INSTRUMENTS, note)
        self._tape = trades.TradeTape(note)
        self._deliveries = delivery.Deliveries()
        self._stamps = StampCheck()
        self._sampled: set[str] = set()
        self.handlers: dict[str, Handler] = {
            channels.TICKER: self.ticker,
            channels.INCREMENTAL: self._incremental_ticker,
            channels.QUOTE: self._quote,
            channels.MARKS: self._marks,
            channels.TRADES: self._trades,
            channels.INDEX: self._index,
            channels.VOLATILITY: self._volatility,
            channels.EXPIRATION: self._expiration,
            channels.PERPETUAL: self._perpetual,
        }

    def new_session(self) -> None:
        """Nothing merged on an older connection counts."""
        self._incremental.clear()
        self._sampled.clear()

    def ended(self, name: str) -> None:
        """The instrument is gone."""
        self._incremental.forget(name)

    # Tickers: the hot path

    def ticker(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        """`ticker.{instrument}.{interval}`"""
        name = channel.split(".", 2)[1]
        definition = self._catalog.get(name)
        if definition is None:
            definition = self._unlisted(name, now, events)
            if definition is None:
                return False
        if definition.expiry_ns is not None and now.wall_ns >= definition.expiry_ns:
            self._expired(definition, data, now, events)
            return False
        if channels.TICKER not in self._sampled:
            self._sample(channels.TICKER, data, tickers.KNOWN_TICKER_FIELDS)
        ticker = tickers.decode_ticker(data, self._note)
        if ticker is None:
            self._note("bad_ticker")
            return False
        return self._tell(ticker, definition, now, events)

    def _tell(self, ticker: Ticker, definition: Instrument, now: Instant, events: list[AnyEvent]) -> bool:
        name = definition.name
        if ticker.instrument_name is not None and ticker.instrument_name != name:
            self._note("wrong_instrument")
            return False
        stamp = self.stamp(ticker.timestamp, now)
        if definition.cp:
            events.extend(tickers.quote_and_mark(ticker, name, stamp, now, self._note))
        else:
            events.append(tickers.future_price(ticker, definition, stamp, now))
        return True

    def stamp(self, milliseconds: float | None, now: Instant) -> int | None:
        """The venue's instant; None, and counted, where it is missing or cannot be true."""
        stamp = exchange_ns(milliseconds)
        if stamp is None or not self._stamps.accepts(stamp, now):
            self._note("bad_time")
            return None
        return stamp

    # Other quotes and marks

    def _incremental_ticker(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        definition = self._live(channels.subject(channel), now, events)
        if definition is None:
            return False
        self._sample(channels.INCREMENTAL, data, tickers.KNOWN_TICKER_FIELDS)
        ticker = self._incremental.merge(definition.name, data)
        return ticker is not None and self._tell(ticker, definition, now, events)

    def _quote(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        definition = self._live(channels.subject(channel), now, events)
        if definition is None:
            return False
        self._sample(channels.QUOTE, data, quotes.KNOWN_FIELDS)
        quote = quotes.QUOTES.read(data, self._note)
        if quote is None or quote.instrument_name not in (None, definition.name):
            self._note("bad_quote" if quote is None else "wrong_instrument")
            return False
        event = quotes.option_quote if definition.cp else quotes.underlying_quote
        events.append(event(quote, definition, self.stamp(quote.timestamp, now), now))
        return True

    def _marks(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        index = channels.subject(channel)
        if not self._is_our_index(index):
            return False
        found = marks.MARKS.read_all(data, self._note)
        if found is None:
            self._note("bad_marks")
            return False
        self._sample_first(channels.MARKS, data, marks.KNOWN_FIELDS)
        for mark in found:
            if mark is not None and not self._catalog.carries(mark.instrument_name or ""):
                continue  # another connection has it
            definition = None if mark is None else self._live(mark.instrument_name or "", now, events)
            if mark is None or definition is None or not definition.cp or definition.price_index != index:
                self._note("bad_mark")
                continue
            stamp = self.stamp(mark.timestamp, now)
            events.append(marks.mark_event(mark, definition.name, stamp, now))
        return True

    # Trades

    def _trades(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        found = trades.TRADES.read_all(data, self._note)
        if found is None:
            self._note("bad_trades")
            return False
        self._sample_first(channels.TRADES, data, trades.KNOWN_FIELDS)
        for trade in trades.flattened(found, self._note):
            if trade is None:
                self._note("bad_trade")
            else:
                self._trade(trade, now, events)
        return True

    def _trade(self, trade: trades.TradeMessage, now: Instant, events: list[AnyEvent]) -> None:
        """One trade on an instrument of ours; a class's channel brings those of its other families as well."""
        name = trade.instrument_name or ""
        definition = self._catalog.get(name) or instrument_from_name(name)
        if definition is None or not self._catalog.is_ours(definition.underlying):
            self._note("unwanted_trade")
        elif definition.expiry_ns is not None and now.wall_ns >= definition.expiry_ns:
            self._note("after_expiry")
        elif (event := trades.trade_event(trade, name, self.stamp(trade.timestamp, now), now)) is None:
            self._note("bad_trade")
        elif self._tape.is_new(event.trade_id):
            late = self._tape.is_late(name, event.sequence)
            events.append(msgspec.structs.replace(event, late=True) if late else event)

    # Indices and perpetuals

    def _index(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        index = channels.subject(channel)
        if not self._is_our_index(index):
            return False
        self._sample(channels.INDEX, data, tickers.KNOWN_INDEX_FIELDS)
        message = tickers.INDEX_PRICES.read(data, self._note)
        if message is None or not message.price:
            self._note("bad_index_price")  # rejected: the last one ages until a good one comes
            return False
        events.append(tickers.index_event(index, message.price, self.stamp(message.timestamp, now), now))
        return True

    def _volatility(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        index = channels.subject(channel)
        if not self._is_our_index(index):
            return False
        self._sample(channels.VOLATILITY, data, volatility.KNOWN_FIELDS)
        message = volatility.VOLATILITIES.read(data, self._note)
        level = NAN if message is None else volatility.fraction(message)
        if message is None or not level > 0.0:
            self._note("bad_volatility_index")
            return False
        events.append(volatility.volatility_event(index, level, self.stamp(message.timestamp, now), now))
        return True

    def _expiration(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        index = channels.subject(channel)
        if not self._is_our_index(index):
            return False
        self._sample(channels.EXPIRATION, data, delivery.KNOWN_FIELDS)
        message = delivery.EXPIRATIONS.read(data, self._note)
        if message is None or message.is_estimated is None or not message.price:
            self._note("bad_expiration_price")
            return False
        event = delivery.estimate(index, message, now)
        if event is not None:
            events.append(event)
        return True

    def _perpetual(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        definition = self._live(channels.subject(channel), now, events)
        if definition is None:
            return False
        self._sample(channels.PERPETUAL, data, INTEREST_FIELDS)
        message = INTERESTS.read(data, self._note)
        if message is None or message.interest is None or definition.kind != "perpetual":
            self._note("bad_perpetual")
            return False
        stamp = self.stamp(message.timestamp, now)
        events.append(interest_event(message.interest, definition, stamp, now))
        return True

    # What a message is about

    def _is_our_index(self, index: str) -> bool:
        ours = bool(index) and (self._indices is None or index in self._indices)
        if not ours:
            self._note("unwanted")
        return ours

    def lives(self, name: str, now: Instant) -> bool:
        """Is this an instrument of ours that has not expired? Listed, or by its name, as in recordings."""
        definition = self._catalog.get(name) or instrument_from_name(name)
        if definition is None or not self._catalog.is_ours(definition.underlying):
            return False
        return definition.expiry_ns is None or now.wall_ns < definition.expiry_ns

    def _live(self, name: str, now: Instant, events: list[AnyEvent]) -> Instrument | None:
        """The definition of a living instrument of ours; None, and counted, for all else."""
        definition = self._catalog.get(name) or self._unlisted(name, now, events)
        if definition is not None and definition.expiry_ns is not None and now.wall_ns >= definition.expiry_ns:
            self._note("after_expiry")
            return None
        return definition

    def _unlisted(self, name: str, now: Instant, events: list[AnyEvent]) -> Instrument | None:
        """What no list has named yet, as in recordings, by its name; a living option is announced."""
        definition = instrument_from_name(name)
        if definition is None or not self._catalog.is_ours(definition.underlying):
            self._note("unwanted")
            return None
        if definition.expiry_ns is None or now.wall_ns >= definition.expiry_ns or not definition.cp:
            return definition
        if not self._learn(definition, now, events):
            return None
        self._note("instrument_from_name")
        return definition

    def _expired(self, definition: Instrument, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        """Nothing of a ticker after the expiry counts but the price that the expiry was settled at."""
        self._note("after_expiry")
        expiry_ns = definition.expiry_ns
        if expiry_ns is None or self._deliveries.is_known(definition.price_index, expiry_ns):
            return
        message = delivery.DELIVERED.read(data, self._note)
        if message is not None and message.delivery_price:
            stamp = self.stamp(message.timestamp, now)
            events.append(self._deliveries.final(definition.price_index, expiry_ns, message.delivery_price, stamp, now))

    # Changes of the venue's that are worth knowing

    def _sample(self, kind: str, data: msgspec.Raw, known: frozenset[str]) -> None:
        """Once a session: whether the first message of a kind has a field that we have never heard of."""
        if kind not in self._sampled:
            self._sampled.add(kind)
            if not known.issuperset(decode_object(data) or ()):
                self._note(f"unknown_field.{kind}")

    def _sample_first(self, kind: str, data: msgspec.Raw, known: frozenset[str]) -> None:
        if kind in self._sampled:
            return
        try:
            items = decode_items(data)
        except DECODE_ERRORS:
            return
        if items:
            self._sample(kind, items[0], known)
