"""What Deribit's public channels carry: the first message of a subscription, and what each step of the market adds.

`raw` and `100ms` channels speak at every step that concerns them, `agg2` once a second; of books, `raw` shows one side
after the other. Channels that are made of differences (`book`, `incremental_ticker`) keep what they sent last, so that
every reader of a channel, late ones too, is on the same chain.

Our choice, since no source says: `markprice.options` speaks at every step and repeats no full list; an `agg2` period is
one second; nested objects of an `incremental_ticker` are sent whole; `perpetual` repeats at every step.
"""

from __future__ import annotations

from collections.abc import Iterator

from pricer.simulator.books import Books, BookState, one_by_one
from pricer.simulator.faults import Faults
from pricer.simulator.market import Chain, Changes, Market
from pricer.simulator.trades import Trade
from pricer.simulator.venues.deribit import wire
from pricer.simulator.venues.deribit.channels import Channel, Wanted, classes
from pricer.simulator.venues.deribit.wire import Json

NS_PER_SECOND = 1_000_000_000
FULL_COPY_NS = 60 * NS_PER_SECOND  # an incremental ticker without a change for longer is sent whole

Notices = Iterator[tuple[str, object]]


class Stream:
    """The public channels of one market."""

    def __init__(self, market: Market, faults: Faults) -> None:
        self.market = market
        self.faults = faults
        self.books = Books(market)
        self.notices: list[tuple[str, object]] = []  # about the platform, to be sent with the next step
        self._books_sent: dict[str, BookState] = {}  # by channel
        self._tickers_sent: dict[str, tuple[int, Json]] = {}  # by channel: when, and what
        self._marks_sent: dict[str, dict[str, tuple[float, float]]] = {}  # by index, by option
        self._trades_held: dict[str, list[Trade]] = {}  # by agg2 channel
        self._touched: set[str] = set()  # instruments, since the last whole second
        self._second = market.now_ns // NS_PER_SECOND

    def first(self, channel: Channel) -> object | None:
        """What a new reader of a channel is sent at once; None for channels that wait for something to happen."""
        match channel.kind:
            case "ticker":
                return self.ticker(channel.subject)
            case "quote":
                return wire.quote(self.ticker(channel.subject))
            case "incremental_ticker":
                return {"type": "snapshot", **self._last_ticker(channel)}
            case "book":
                return self._first_book(channel)
            case "markprice.options":
                return self._first_marks(self._chain_of_index(channel.subject))
            case "deribit_price_index" | "deribit_volatility_index" | "estimated_expiration_price" as kind:
                return self._of_index(kind, self._chain_of_index(channel.subject))
            case "perpetual":
                return self._interest(channel.subject)
            case "platform_state.public_methods_state":
                return {"allow_unauthenticated_public_requests": True}
        return None

    def keep_only(self, wanted: Wanted) -> None:
        """Forget what was sent on channels that nobody reads any more."""
        for sent in (self._books_sent, self._tickers_sent, self._trades_held):
            for name in sent.keys() - wanted.names:
                del sent[name]
        for index_name in self._marks_sent.keys() - {c.subject for c in wanted.of_kind("markprice.options")}:
            del self._marks_sent[index_name]

    def due(self, changes: Changes, wanted: Wanted) -> Notices:
        """All that one step brings to the channels in `wanted`, in order."""
        yield from self._notices(wanted)
        second = changes.now_ns // NS_PER_SECOND
        whole_second, self._second = second != self._second, second
        yield from self._lifecycle(changes, wanted)
        for name, rows in changes.quoted.items():
            yield from self._quotes(self.market.chains[name], rows, changes, wanted)
        if whole_second:
            yield from self._each_second(wanted)
        yield from self._trades(changes, wanted, whole_second)
        for name in () if self.faults.freeze_index else changes.indexes:
            for kind in ("deribit_price_index", "deribit_volatility_index", "estimated_expiration_price"):
                yield from self._index(kind, self.market.chains[name], wanted)

    def platform_notices(self, wanted: Wanted) -> Notices:
        """What is sent even while nothing else is: notices about the platform itself."""
        return self._notices(wanted)

    def ticker(self, name: str) -> Json:
        """A listed instrument's ticker as of its last quote."""
        chain = self.market.chain_of(name)
        if chain is None:
            raise LookupError(name)
        if name in chain.futures:
            return wire.future_ticker(self.market, chain, chain.futures[name])
        return wire.option_tickers(self.market, chain, [chain.row_of[name]])[0]

    # -- quotes, books ------------------------------------------------------------------------------------

    def _quotes(self, chain: Chain, rows: list[int], changes: Changes, wanted: Wanted) -> Notices:
        """All channels of the instruments that were requoted or changed their state."""
        readers = wanted.of_instrument
        stopped = [chain.row_of[name] for name in changes.states if name in chain.row_of]
        mine = [row for row in dict.fromkeys((*rows, *stopped)) if chain.names[row] in readers]
        tickers = wire.option_tickers(self.market, chain, mine)
        moved = (f for f in chain.futures.values() if f.name not in self.market.states or f.name in changes.states)
        tickers += [wire.future_ticker(self.market, chain, future) for future in moved if future.name in readers]
        for ticker in tickers:
            name = ticker["instrument_name"]
            self._touched.add(name)
            for channel in readers[name]:
                if channel.interval != "agg2" and channel.kind != "incremental_ticker":
                    yield from self._of_instrument(channel, ticker)
        yield from self._marks(chain, rows, wanted)

    def _each_second(self, wanted: Wanted) -> Notices:
        """What is gathered for a second: `agg2`, and incremental tickers."""
        touched, self._touched = self._touched, set()
        for name in sorted(touched & wanted.of_instrument.keys()):
            channels = [channel for channel in wanted.of_instrument[name] if channel.interval == "agg2"]
            if channels and self.market.chain_of(name) is not None:
                ticker = self.ticker(name)
                for channel in channels:
                    yield from self._of_instrument(channel, ticker)
        for channel in wanted.of_kind("incremental_ticker"):
            if self.market.chain_of(channel.subject) is not None:
                yield from self._incremental(channel, touched)

    def _of_instrument(self, channel: Channel, ticker: Json) -> Notices:
        match channel.kind:
            case "ticker":
                yield channel.name, ticker
            case "quote":
                yield channel.name, wire.quote(ticker)
            case "book":
                yield from self._book(channel)
            case "perpetual":
                yield channel.name, self._interest(channel.subject)

    def _first_book(self, channel: Channel) -> Json:
        book = self._books_sent.setdefault(channel.name, self.books.state(channel.subject))
        if channel.depth:
            return wire.grouped_book(book, channel.step, channel.depth)
        return wire.book_snapshot(book)

    def _book(self, channel: Channel) -> Notices:
        book = self.books.state(channel.subject)
        sent = self._books_sent.get(channel.name)
        self._books_sent[channel.name] = book
        if sent is None or sent is book:
            return
        if channel.depth:
            new, old = (wire.grouped_book(each, channel.step, channel.depth) for each in (book, sent))
            if (new["bids"], new["asks"]) != (old["bids"], old["asks"]):
                yield channel.name, new
            return
        for step in one_by_one(sent, book) if channel.interval == "raw" else (book,):
            yield channel.name, wire.book_change(sent, step)
            sent = step

    def _last_ticker(self, channel: Channel) -> Json:
        if channel.name not in self._tickers_sent:
            self._tickers_sent[channel.name] = self.market.now_ns, self.ticker(channel.subject)
        return self._tickers_sent[channel.name][1]

    def _incremental(self, channel: Channel, touched: set[str]) -> Notices:
        sent_ns, sent = self._tickers_sent.get(channel.name, (0, {}))
        now_ns = self.market.now_ns
        if channel.subject in touched:
            ticker = self.ticker(channel.subject)
            changed = {name: value for name, value in ticker.items() if name not in sent or sent[name] != value}
            if changed.keys() - {"timestamp"}:
                self._tickers_sent[channel.name] = now_ns, ticker
                always = {"instrument_name": channel.subject, "timestamp": ticker["timestamp"]}
                yield channel.name, {"type": "change", **always, **changed}
                return
        if now_ns - sent_ns > FULL_COPY_NS:
            ticker = self.ticker(channel.subject)
            self._tickers_sent[channel.name] = now_ns, ticker
            yield channel.name, {"type": "snapshot", **ticker}

    def _interest(self, name: str) -> Json:
        chain = self.market.chain_of(name)
        if chain is None:
            raise LookupError(name)
        return wire.perpetual_interest(self.market, chain, chain.futures[name])

    def _first_marks(self, chain: Chain) -> list[Json]:
        marks = wire.option_marks(chain, range(len(chain.names)), self.market.now_ns // 1_000_000)
        known = {mark["instrument_name"]: (mark["mark_price"], mark["iv"]) for mark in marks}
        self._marks_sent.setdefault(chain.family.index_name, known)
        return marks

    def _marks(self, chain: Chain, rows: list[int], wanted: Wanted) -> Notices:
        """Of the requoted options, those whose mark or volatility differs from what was sent."""
        index_name = chain.family.index_name
        channels = [c for c in wanted.of_kind("markprice.options") if c.subject == index_name]
        if not channels:
            return
        known = self._marks_sent.setdefault(index_name, {})
        changed = []
        for mark in wire.option_marks(chain, rows, self.market.now_ns // 1_000_000):
            now = (mark["mark_price"], mark["iv"])
            if known.get(mark["instrument_name"]) != now:
                known[mark["instrument_name"]] = now
                changed.append(mark)
        if changed:
            yield channels[0].name, changed

    # -- trades -------------------------------------------------------------------------------------------

    def _trades(self, changes: Changes, wanted: Wanted, whole_second: bool) -> Notices:
        if not wanted.trades:
            return
        by_channel: dict[Channel, list[Trade]] = {}
        for trade in changes.trades:
            for subject in (trade.name, *classes(trade.kind, trade.family.settlement)):
                for channel in wanted.trades.get(subject, ()):
                    by_channel.setdefault(channel, []).append(trade)
        for channel, trades in by_channel.items():
            if channel.interval == "agg2":
                self._trades_held.setdefault(channel.name, []).extend(trades)
            else:
                yield channel.name, [wire.trade(trade) for trade in trades]
        if whole_second:
            held, self._trades_held = self._trades_held, {}
            yield from ((name, [wire.trade(trade) for trade in trades]) for name, trades in held.items())

    # -- instruments, indexes, platform -------------------------------------------------------------------

    def _lifecycle(self, changes: Changes, wanted: Wanted) -> Notices:
        """Last tickers and states of what expired, then the new listings, then states changed by hand."""
        for past in changes.gone.values():
            yield from self._farewell(past, wanted)
        for name, options in changes.listed.items():
            chain = self.market.chains[name]
            for option in options:
                created = wire.option_instrument(chain, chain.row_of[option])
                yield from self._listed(chain, "option", option, created, wanted)
            for future in changes.futures.get(name, ()):
                created = wire.future_instrument(chain, chain.futures[future])
                yield from self._listed(chain, "future", future, created, wanted)
        for name, state in changes.states.items():
            if (known := self.market.chain_of(name)) is not None:
                kind = "future" if name in known.futures else "option"
                yield from self._state(known, kind, name, state, wanted)

    def _farewell(self, past: Chain, wanted: Wanted) -> Notices:
        """Delivered, and in the same step put away; the venue takes longer in between."""
        names = (*((name, "option") for name in past.names), *((name, "future") for name in past.futures))
        self.books.forget(name for name, _ in names)
        for name, kind in names:
            for channel in wanted.of_instrument.get(name, ()) if kind == "option" else ():
                if channel.kind == "ticker":
                    yield channel.name, wire.closed_ticker(self.market, past, past.row_of[name])
            for state in ("delivered", "archivized"):
                yield from self._state(past, kind, name, state, wanted)
        if marks := self._marks_sent.get(past.family.index_name):
            for name in past.names:
                marks.pop(name, None)

    def _listed(self, chain: Chain, kind: str, name: str, created: Json, wanted: Wanted) -> Notices:
        yield from self._state(chain, kind, name, "open", wanted)
        yield from self._class_notice("instrument.creation", kind, chain, created, wanted)

    def _state(self, chain: Chain, kind: str, name: str, state: str, wanted: Wanted) -> Notices:
        data = wire.instrument_state(self.market, name, state)
        yield from self._class_notice("instrument.state", kind, chain, data, wanted)

    def _class_notice(self, event: str, kind: str, chain: Chain, data: Json, wanted: Wanted) -> Notices:
        for subject in classes(kind, chain.family.settlement):
            if f"{event}.{subject}" in wanted.names:
                yield f"{event}.{subject}", data

    def _index(self, kind: str, chain: Chain, wanted: Wanted) -> Notices:
        name = f"{kind}.{chain.family.index_name}"
        if name in wanted.names:
            yield name, self._of_index(kind, chain)

    def _of_index(self, kind: str, chain: Chain) -> Json:
        match kind:
            case "deribit_price_index":
                return wire.index_price(self.market, chain)
            case "deribit_volatility_index":
                return wire.volatility_index(self.market, chain)
        return wire.expiration_price(self.market, chain)

    def _chain_of_index(self, index_name: str) -> Chain:
        return next(c for c in self.market.chains.values() if c.family.index_name == index_name)

    def _notices(self, wanted: Wanted) -> Notices:
        notices, self.notices = self.notices, []
        yield from ((name, data) for name, data in notices if name in wanted.names)
