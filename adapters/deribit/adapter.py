"""Deribit's public market data over one WebSocket connection: https://docs.deribit.com/"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, Literal

import msgspec

from pricer.adapters.adapter import HttpGet, WsSend
from pricer.adapters.budget import Budget
from pricer.adapters.deribit import account, channels, rpc
from pricer.adapters.deribit.account import Account, Credentials
from pricer.adapters.deribit.books import (
    ON_DEMAND_DEPTH,
    BookOptions,
    DeribitBooks,
    book_options,
    book_subject,
)
from pricer.adapters.deribit.catalog import Catalog
from pricer.adapters.deribit.channels import Interval, QuoteSource
from pricer.adapters.deribit.holdings import Held
from pricer.adapters.deribit.instruments import VENUE, is_family
from pricer.adapters.deribit.limits import CALL, new_budget, rule_of
from pricer.adapters.deribit.market import Handler, Market
from pricer.adapters.deribit.platform import Platform
from pricer.adapters.deribit.upkeep import Upkeep
from pricer.adapters.deribit.wanted import Streams, Wanted
from pricer.adapters.events import (
    AccountStatus,
    AnyEvent,
    ChannelAlarm,
    FeedStatus,
    InstrumentExpired,
    OptionQuote,
    Position,
    SubscriptionRejected,
    UnderlyingPrice,
)
from pricer.adapters.instruments import Instrument
from pricer.adapters.liveness import Liveness
from pricer.adapters.planner import Share
from pricer.adapters.session import ORDINARY, Session, SessionLimits, State, Verdict
from pricer.adapters.window import Window
from pricer.adapters.wire import DECODE_ERRORS, decode_object
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import ConfigError

# A whole USDC list is about 2 MB; anything far beyond is not for us.
MAX_FRAME_BYTES = 8 * 2**20

# The reason when a test server answers where the real one was meant, or the reverse.
WRONG_ENVIRONMENT = "testnet_mismatch"

_NOTHING_TO_SEND: list[WsSend | HttpGet] = []


class Deribit:
    """Deribit's options with all that prices them: quotes, marks, the index, futures, the perpetual, trades.

    Prices are in the premium's currency (coin, or USDC); nothing here converts them. What the venue does oddly, section
    numbers being those of our protocol sheet:

    - An empty side is null or 0 (5.1): both become NaN, as do a `bid_iv`, `ask_iv` or `mark_iv` of 0. A zero size, open
      interest, mark (four decimals, far out of the money) or Greek is a real zero.
    - Tickers, trades and the volatility index give volatilities in percent (5.1, 5.5, 5.8), `markprice.options.*`
      fractions (5.4): events hold fractions.
    - Channels that the venue does not accept are left out of its reply, silently (3).
    - A frame above 32 kB is refused by an error without an id (3): a request without an answer is sent again in halves.
    - Exceeding the rate limits answers 10028 and closes the session (3): calls are paced by the venue's own accounting.
    - Objects of 2021 lack `price_index`, `instrument_type`, `counter_currency`, `settlement_currency`, `state` and
      `tick_size_steps` (recorded by cryptofeed): they are derived from the name.
    - `d` stands for a strike's decimal point, in lower case, so a name is never changed in case (2).
    - A listed name is not proof that the option lives: past its expiry an option is dropped by our own clock, whatever
      the venue still sends.

    `underlyings` are families: "BTC" is coin-settled (index btc_usd), "BTC_USDC" is USDC-settled. None asks for nothing
    and takes everything: for recordings of unknown content.

    What is streamed beside the index, the perpetual and the news of instruments and of the platform:

    - `quotes`: from where an option's bid and ask come. "ticker" (the default) has the forward and the venue's own
      numbers, too, and is repeated every 5 s; "incremental" has the same as changes, at most one a second, and is
      silent for up to a minute where nothing changes; "quote" is bid and ask alone, so that forwards come from futures
      or parity.
    - `marks`: the venue's mark and volatility of the whole chain in one channel (`markprice.options.*`).
    - `trades`: public trades of the options and futures of each settlement currency.
    - `futures`: dated futures, listed and quoted: they are the forwards of their expiries.
    - `volatility_index`: the venue's own, where it has one.
    - `delivery`: what the next expiry would settle at, while its settlement window is open.

    ConfigError names the setting that is not one of these.

    With `credentials` it logs in and reads the account: `AccountStatus`, `Position`, `Portfolio`, `Order`, `Fill`. The
    interval "raw" can then be had, too; it waits for the login. `nonce` gives the words that signatures need.

    `books` asks for order books, too: "all", names, or `BookOptions`; None for none.

    Several connections: give each the same `budget` and `held`, and another `share` of the options. Every one carries
    the index and the perpetual; futures, trades and what concerns the whole venue come with the first alone.

    `window` narrows the chain to what lies around the money, and rolls with it; what `hold` names stays in any case.
    """

    venue = VENUE
    production_url = "wss://www.deribit.com/ws/api/v2"
    test_url = "wss://test.deribit.com/ws/api/v2"

    def __init__(
        self,
        underlyings: Sequence[str] | None = ("BTC",),
        *,
        interval: Interval = "100ms",
        quotes: QuoteSource = "ticker",
        marks: bool = False,
        trades: bool = False,
        futures: bool = True,
        volatility_index: bool = True,
        delivery: bool = True,
        testnet: bool = False,
        heartbeat_s: int = 10,
        list_refresh_s: float = 60.0,
        books: BookOptions | Sequence[str] | Literal["all"] | None = None,
        limits: SessionLimits | None = None,
        credentials: Credentials | None = None,
        nonce: Callable[[], str] | None = None,
        budget: Budget | None = None,
        share: Share | None = None,
        window: Window | None = None,
        held: Held | None = None,
    ) -> None:
        for family in underlyings or ():
            if not is_family(family):
                raise ConfigError(f"underlyings: {family!r} is not spelled like 'BTC' or 'BTC_USDC'")
        self._share = share or Share()
        self._streams = Streams(interval, quotes, marks, trades, futures, volatility_index, delivery).part(self._share)
        if heartbeat_s < 10:
            raise ConfigError(f"heartbeat_s: {heartbeat_s} is below the venue's minimum of 10")
        self.url = self.test_url if testnet else self.production_url
        self.counters: Counter[str] = Counter()
        self._families = None if underlyings is None else tuple(dict.fromkeys(underlyings))
        self.connection = "+".join([VENUE, *(self._families or ("any",))])
        self._testnet = testnet
        self._heartbeat_s = heartbeat_s
        self._limits = limits or SessionLimits()
        self._budget = budget or new_budget()
        if self._share.count > 1:
            self.connection += f"+{self._share}"
        self._session = Session(self._budget, self._limits, Liveness(rule_of))
        refresh_ns = int(list_refresh_s * NS_PER_SECOND)
        self._catalog = Catalog(
            self._families,
            refresh_ns,
            self._limits,
            self._note,
            self._budget,
            self._share,
            futures=self._streams.futures,
            neighbours=window is not None and self._share.count > 1,
        )
        none = BookOptions() if self._families is None else BookOptions((), interval, depth=ON_DEMAND_DEPTH)
        self._books = DeribitBooks(book_options(books, interval) or none, self.counters)
        self._wanted = Wanted(
            self._session, self._catalog, self._families, self._streams, self._books, window, self._share
        )
        self._market = Market(self._catalog, self._families, self._learn, self._note)
        self._platform = Platform(self._note)
        self._upkeep = Upkeep(heartbeat_s, self._budget, self._note)
        # By the first word of a channel's name.
        self._handlers: dict[str, Handler] = {
            **self._market.handlers,
            channels.INDEX: self._index,
            channels.INSTRUMENT: self._lifecycle,
            channels.PLATFORM: self._platform_notice,
            channels.USER: self._private,
            channels.BOOK: self._book,
        }
        self._compare_quotes()
        self._calls = rpc.Calls(self._limits.request_timeout_ns)
        self._account: Account | None = None
        if credentials is not None:
            self._account = Account(
                credentials, testnet=testnet, timeout_ns=self._limits.request_timeout_ns, note=self._note, nonce=nonce
            )
        self._named: frozenset[str] = frozenset()  # held, as the user says
        self._holding = held or Held()  # held, as the account says, on whichever connection that is
        self._held: frozenset[str] = frozenset()  # the same, as far as it is acted upon here
        self._shown: frozenset[str] = frozenset()  # the same, as far as recorders know
        self._rejections: dict[str, str] = {}
        self._replies: list[WsSend | HttpGet] = []
        self._waiting: list[AnyEvent] = []
        self._open = False
        self._live = False
        self._reconnect: str | None = None
        self._last_frame_ns = 0
        self._send_due = False
        self._deadline_ns: int | None = None

    # The contract

    def opened(self, now: Instant) -> None:
        """A new connection: ask for everything again, as if for the first time."""
        self._forget_session()
        self._open = True
        self._last_frame_ns = now.mono_ns
        if self._families is not None:
            self._upkeep.opened(now)
        self._catalog.opened(now)
        # A recording that was cut may open twice without a close.
        lost = self._books.ended(now)
        self._waiting = [self._status("open", now), *lost, *self._catalog.expire(now), *self._platform.opened(now)]
        self._follow(self._waiting, now)
        if self._account is not None:
            self._account.opened(now)
            self._wanted.withhold_raw()
        self._wanted.rank()
        self._plan(now)

    def closed(self, now: Instant, reason: str) -> list[AnyEvent]:
        """The connection is gone, or could not be made; `reason` is a word, with details after a colon."""
        self._forget_session()
        self._open = False
        # A connection that ends before it was heard of never stood; what is so besides, such as an expiry, is told.
        events: list[AnyEvent] = [each for each in self._waiting if not isinstance(each, FeedStatus)]
        self._waiting = []
        word, _, detail = reason.partition(":")
        # A connection that has taken over carries the same books.
        lost = self._books.ended(now)
        events += [] if word.strip() == "rotated" else lost
        events.append(self._status("closed", now, word.strip(), detail.strip()))
        if self._account is not None:
            events += self._account.closed(now, replaced=word.strip() == "rotated")
        self._plan(now)
        return events

    def receive(self, frame: bytes | str, now: Instant) -> list[AnyEvent]:
        """The facts in one frame; what cannot be understood is counted and dropped."""
        self._last_frame_ns = now.mono_ns
        events: list[AnyEvent] = []
        if self._waiting:
            events, self._waiting = self._waiting, events
        if self._reconnect == WRONG_ENVIRONMENT:
            return events  # not one number of it
        if len(frame) > MAX_FRAME_BYTES:
            self.counters["oversize"] += 1
            return events
        try:
            envelope = rpc.decode_envelope(frame)
        except DECODE_ERRORS:
            self.counters["bad_frame"] += 1
            return events
        params = envelope.params
        if envelope.method == "subscription" and params is not None:
            channel = params.channel
            if channel.startswith("ticker."):  # nearly all: straight to its handler
                handler: Handler | None = self._ticker
            else:
                handler = self._handlers.get(channels.kind_of(channel))
            if handler is None:
                self.counters["unknown_channel"] += 1
            elif handler(channel, params.data, now, events):
                self._session.saw(channel, now.mono_ns)
            return events
        if envelope.method is None:
            self._reply(envelope, frame, now, events)
        elif envelope.method == "heartbeat" and params is not None:
            self._heartbeat(params.type, frame, now)
        else:
            self.counters["unknown_method"] += 1
        self._plan(now, events)
        return events

    def on_time(self, now: Instant) -> list[AnyEvent]:
        """What silence and the clock bring about: expiries, time-outs, a dead connection."""
        events, self._waiting = self._waiting, []
        ended: list[AnyEvent] = [*self._catalog.expire(now)]
        self._follow(ended, now)
        events += ended
        if self._open:
            self._judge(now, events)
            if now.mono_ns >= self._silent_at_ns:
                self._give_up("heartbeat_lost")
            unanswered = self._session.on_time(now.mono_ns) + self._drop_unanswered(now)
            if unanswered:
                self.counters["request_timeout"] += unanswered
            if self._account is not None:
                self._account.on_time(now, events)
                self._after_login(events, now)
            self._books.on_time(now, events)
            self._ask_again(now)
        self._plan(now, events)
        return events

    def next_deadline(self) -> int | None:
        return self._deadline_ns

    def to_send(self, now: Instant) -> list[WsSend | HttpGet]:
        """What is owed now: answers to the venue first, then as many calls as its limits allow."""
        if not self._send_due:
            return _NOTHING_TO_SEND
        self._send_due = False
        sends, self._replies = self._replies, []
        if self._open and self._reconnect is None:
            refuses = self._platform.refuses
            sends += [self._call(*each, now) for each in self._upkeep.due(now, refuses=refuses)]
            if not refuses:
                sends += self._due_calls(now)
        self._deadline_ns = self._earliest(now)
        return sends

    def _due_calls(self, now: Instant) -> list[WsSend | HttpGet]:
        """What is asked of a venue that answers: the account's calls, lists, subscriptions."""
        sends: list[WsSend | HttpGet] = []
        if self._account is not None:
            sends += self._account.to_send(now, self._budget)
        while (key := self._catalog.due(now.mono_ns)) is not None and self._budget.take(CALL, now.mono_ns):
            params = self._catalog.asked(key, now.mono_ns)
            sends.append(self._call("public/get_instruments", params, "list", now, key))
        while (request := self._session.next_request(now.mono_ns)) is not None:
            sends.append(rpc.request(request.id, f"public/{request.operation}", {"channels": request.channels}))
        return sends

    def to_show(self, frame: bytes | str) -> bytes | str:
        """The frame for recorders; of a private one only that the venue was alive, and what is held since."""
        if self._account is None or not self._account.is_private(frame):
            return frame
        if self._held == self._shown:
            return account.STAND_IN
        self._shown = self._held
        return account.stand_in(self._held)

    @property
    def wants_reconnect(self) -> str | None:
        return self._reconnect

    @property
    def wants_rotation(self) -> str | None:
        return None

    @property
    def silent_channels(self) -> list[str]:
        """What the venue has confirmed and does not bring: no readiness may count on it."""
        return self._session.channels(State.SILENT)

    @property
    def instruments(self) -> dict[str, Instrument]:
        """The live options and futures known now, by name (a copy)."""
        return self._catalog.known

    # Books

    def want_books(self, names: Collection[str], now: Instant) -> None:
        """These books are wanted besides those that `books` names; 20 levels a side, where it names none."""
        entering, leaving = self._books.wish(names)
        self._compare_quotes()
        self._wanted.books(entering, leaving, now, self._waiting)
        self._plan(now)

    def _compare_quotes(self) -> None:
        """Quotes are held against books where there is any: nearly all frames are quotes."""
        for kind in channels.QUOTED:
            handler = self._market.handlers[kind]
            self._handlers[kind] = partial(self._quoted, handler) if self._books.any else handler
        self._ticker = self._handlers[channels.TICKER]

    def _book(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        name, grouped = book_subject(channel)
        if not self._is_wanted(channel) or not self._market.lives(name, now):
            self.counters["unwanted"] += 1
            return False
        if self._books.receive(name, grouped, data, now, self._market.stamp, events):
            self._ask_again(now)
            self._plan(now)
        return True

    def _is_wanted(self, channel: str) -> bool:
        """Or is it the rest of what has been unsubscribed? A book must not begin anew by it."""
        return self._families is None or self._session.state(channel) is not None

    def _quoted(
        self,
        handler: Handler,
        channel: str,
        data: msgspec.Raw,
        now: Instant,
        events: list[AnyEvent],
    ) -> bool:
        """A channel of quotes: what its `handler` reads is held against the book of the instrument."""
        taken = handler(channel, data, now, events)
        for event in events:
            if isinstance(event, (OptionQuote, UnderlyingPrice)) and self._books.quote(event, now):
                self._plan(now)
        return taken

    def _ask_again(self, now: Instant) -> None:
        """Subscribe anew to what has lost its thread: a book, or a ticker that stands still."""
        if asks := self._books.take_asks():
            book = self._books.options.channel
            wanted = [book(name) if kind == "book" else self._streams.quote(name) for kind, name in asks]
            self._session.resubscribe(wanted, now.mono_ns)

    # Instruments

    def _lifecycle(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        if channel.startswith(channels.STATE):
            self._catalog.state_changed(data, now, events)
        elif channel.startswith(channels.CREATION):
            self._catalog.created(data, now, events)
            self._follow(events, now)
            self._plan(now, events)
        else:
            self.counters["unknown_channel"] += 1
            return False
        return True

    def _platform_notice(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        was_away = self._platform.in_maintenance
        taken = self._platform.notice(channel, data, now, events)
        if was_away and not self._platform.in_maintenance:
            self._resume(now)
        self._plan(now, events)
        return taken

    def _learn(self, definition: Instrument, now: Instant, events: list[AnyEvent]) -> bool:
        if not self._catalog.carries(definition.name):
            self.counters["other_share"] += 1
            return False
        news: list[AnyEvent] = []
        known = self._catalog.learn(definition, now, news)
        self._follow(news, now)
        events += news
        return known

    def _follow(self, news: list[AnyEvent], now: Instant) -> None:
        """Ask for nothing more of what has ended, and for the quotes of what is listed, be it under the same name."""
        for name in [each.instrument for each in news if isinstance(each, InstrumentExpired)]:
            self._wanted.ended(name)
            self._market.ended(name)
            self._books.drop((name,))
            self._rejections.pop(name, None)
        self._wanted.listed(news, now)

    def hold(self, names: Iterable[str], now: Instant) -> None:
        """These options are held: they are wanted whatever the window says, and asked for before the others.

        Replaces those named before; what the account holds is held besides. What enters by it is announced with the
        next events.
        """
        self._named = frozenset(names)
        self._hold(now)

    def _hold(self, now: Instant) -> None:
        self._wanted.hold(self._named | self._held, now, self._waiting)
        self._plan(now)

    def _index(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        taken = self._market.handlers[channels.INDEX](channel, data, now, events)
        price = events[-1] if taken else None
        self._mind_held(now)
        if isinstance(price, UnderlyingPrice) and self._wanted.money(price.price_index, price.price, now, events):
            self._plan(now, events)
        return taken

    # The account

    def _after_login(self, events: list[AnyEvent], now: Instant) -> None:
        """What a login or its end means for raw channels, and what is held for the order of asking."""
        held = set(self._holding.names)
        for event in list(events):
            if isinstance(event, AccountStatus) and event.state == "logged_in":
                self._wanted.release_raw()
            elif isinstance(event, AccountStatus) and event.state == "logged_out":
                self._wanted.withhold_raw()
                if self._books.options.interval == "raw":
                    events += self._books.ended(now)
            elif isinstance(event, Position):
                held = held | {event.instrument} if event.size else held - {event.instrument}
        self._holding.names = frozenset(held)
        self._mind_held(now)

    def _mind_held(self, now: Instant) -> None:
        """The account may have told another connection of what is held."""
        if self._holding.names != self._held:
            self._held = self._holding.names
            self._hold(now)

    def _private(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        if self._account is None:
            self.counters["unwanted"] += 1
        else:
            news = self._account.notification(channel, data, self._market.stamp, now)
            self._after_login(news, now)
            events += news
        return False  # these channels are the account's own

    # Silence

    def _judge(self, now: Instant, events: list[AnyEvent]) -> None:
        """What has stopped is asked for again, and told of; a connection that brings nothing is given up.

        In maintenance silence means nothing: the heartbeat alone is watched.
        """
        if self._platform.in_maintenance:
            self._session.excuse(now.mono_ns)
            return
        silences, give_up = self._session.judge(now.mono_ns)
        for channel, kind in silences:
            self.counters[f"alarm.{kind}"] += 1
            name = channels.subject(channel) if channels.is_of_instrument(channel) else ""
            events.append(
                ChannelAlarm(
                    venue=VENUE, received=now, connection=self.connection, channel=channel, kind=kind, instrument=name
                )
            )
        if give_up is not None:
            self._give_up(give_up)
        self._upkeep.probe(self._session.probe(now.mono_ns))

    # Replies and requests

    def _reply(self, envelope: rpc.Envelope, frame: bytes | str, now: Instant, events: list[AnyEvent]) -> None:
        if envelope.testnet is not None and envelope.testnet is not self._testnet:
            self._give_up(WRONG_ENVIRONMENT)
            if self._account is not None:
                self._account.wrong_environment(now, events)
            return
        if self._account is not None and self._account.owns(envelope.id):
            self._account.reply(envelope, frame, now, events)
            self._after_login(events, now)
            return
        if envelope.is_error:
            self._refused(envelope.id, decode_object(envelope.error) or {}, now, events)
            return
        if self._platform.answered(now, events):
            self._resume(now)
        call = self._calls.pop(envelope.id)
        try:
            if call is None:
                self._answered(envelope.id, envelope.result, now, events)
            elif call.purpose == "list":
                self._listed(call.about, envelope.result, now, events)
            else:
                self._upkeep.answered(call, envelope, now, events)
        except DECODE_ERRORS:
            self.counters["bad_reply"] += 1
            if call is not None and call.purpose == "list":
                self._catalog.failed(call.about, now)

    def _answered(self, request_id: int | None, result: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        """A reply to a subscription call, or to none of ours: in a recording it may be somebody else's list."""
        if request_id is not None and self._session.is_pending(request_id):
            # An answer that is no list leaves the request to its time-out.
            rejected = self._session.accepted(request_id, rpc.decode_names(result), now.mono_ns)
            self._rejected(rejected or [], "not_accepted", now, events)
        elif bytes(result).lstrip().startswith(b"[{"):
            self._listed(None, result, now, events)
        else:
            self.counters["unknown_id"] += 1

    def _listed(self, key: str | None, result: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        self._catalog.listed(key, result, now, events)
        self._follow(events, now)
        if self._catalog.complete:
            self._wanted.lists_complete()

    def _refused(self, request_id: int | None, error: dict[str, Any], now: Instant, events: list[AnyEvent]) -> None:
        code = error.get("code")
        code = code if type(code) is int else 0
        self.counters["error.too_many_requests" if code == 10028 else "error.other"] += 1
        self._platform.refused(code, now, events)
        if self._platform.refuses:
            self._upkeep.knock(now)
        if request_id is None:
            return  # an oversize frame: its request runs into its time-out
        call = self._calls.get(request_id)
        if code == 10028:
            # Whoever shares the pool has to wait: our reckoning of it was wrong.
            self._budget.drain(ORDINARY if call is None else CALL, now.mono_ns)
        if call is not None:
            self._call_refused(call, now)
            return
        passing, for_all = code in rpc.PASSING_ERRORS, code in rpc.ERRORS_FOR_ALL
        verdict: Verdict = "later" if passing else "reject" if for_all else "split"
        rejected = self._session.refused(request_id, verdict, now.mono_ns)
        self._rejected(rejected or [], str(code) if code else "error", now, events)

    def _call_refused(self, call: rpc.Call, now: Instant) -> None:
        if call.purpose != "heartbeat":  # that is asked again when its time is over, not at once
            self._calls.pop(call.id)
        if call.purpose == "list":
            self._catalog.failed(call.about, now)
        else:
            self._upkeep.refused(call)

    def _rejected(self, refused: list[str], code: str, now: Instant, events: list[AnyEvent]) -> None:
        """Tell of each refusal once, until its code changes; the retries are quiet."""
        for channel in refused:
            self.counters["rejected"] += 1
            if channels.kind_of(channel) == channels.BOOK:
                self._books.rejected(channel, now, events)  # the option's quotes are none the worse
                continue
            name = channels.subject(channel)
            if not name or channels.kind_of(channel) in channels.CONVENIENCES:
                continue
            if self._rejections.get(name) != code:
                self._rejections[name] = code
                events.append(
                    SubscriptionRejected(venue=VENUE, received=now, instrument=name, channel=channel, code=code)
                )

    def _heartbeat(self, kind: str, frame: bytes | str, now: Instant) -> None:
        if kind == account.HELD and self._account is None:  # in a recording
            self._holding.names = account.held_in(frame)
            self._mind_held(now)
        elif kind == "test_request":
            # Unpaced: without the answer the venue closes the connection.
            self._replies.append(self._call("public/test", {}, "test", now))
        elif kind != "heartbeat":
            self.counters["unknown_heartbeat"] += 1

    def _resume(self, now: Instant) -> None:
        """The venue answers again: nothing waits for a pause that was made while it did not."""
        self._session.resume(now.mono_ns)
        self._catalog.resume(now)

    def _drop_unanswered(self, now: Instant) -> int:
        overdue = self._calls.overdue(now.mono_ns)
        for call in overdue:
            if call.purpose == "list":
                self._catalog.failed(call.about, now)
            elif self._upkeep.unanswered(call):
                self._session.probe_now()
        if self._upkeep.is_unheard:
            self._give_up("silent")
        return len(overdue)

    def _call(self, method: str, params: dict[str, Any], purpose: rpc.Purpose, now: Instant, about: str = "") -> WsSend:
        request_id = self._session.new_id()
        self._calls.add(request_id, purpose, now.mono_ns, about)
        return rpc.request(request_id, method, params)

    # The connection as a whole

    def _plan(self, now: Instant, events: list[AnyEvent] | None = None) -> None:
        """After anything but a price: see what is owed, and when to look again."""
        self._send_due = True
        self._deadline_ns = self._earliest(now)
        ready = self._open and not self._live and self._session.settled and self._wanted.chosen
        if ready and events is not None and self._catalog.complete:
            self._live = True
            events.append(self._status("live", now))

    def _earliest(self, now: Instant) -> int | None:
        expiry_ns = self._catalog.next_expiry_ns
        times = [] if expiry_ns is None else [now.mono_ns + max(0, expiry_ns - now.wall_ns)]
        if self._waiting:
            times.append(now.mono_ns)
        if self._open and self._reconnect is None:
            refuses = self._platform.refuses
            times += [self._silent_at_ns, *self._calls.deadlines()]
            times += _known(self._upkeep.next_deadline(now, refuses=refuses))
            if not refuses:
                times += self._catalog.deadlines(now.mono_ns)
                times += _known(self._books.next_deadline())
                times += _known(self._session.next_deadline(now.mono_ns))
                times += _known(None if self._account is None else self._account.next_deadline(now, self._budget))
        return min(times, default=None)

    @property
    def _silent_at_ns(self) -> int:
        """One heartbeat is due each interval; half another is grace. Any frame proves life as well."""
        return self._last_frame_ns + self._heartbeat_s * NS_PER_SECOND * 3 // 2

    def _give_up(self, reason: str) -> None:
        if self._reconnect is None:
            self._reconnect = reason
            self.counters[reason] += 1

    def _forget_session(self) -> None:
        self._wanted.new_session()
        self._session.reset()
        self._calls.clear()
        self._catalog.new_session()
        self._market.new_session()
        self._upkeep.forget()
        self._rejections.clear()
        self._replies = []
        self._live = False
        self._reconnect = None

    @property
    def _carried(self) -> tuple[str, ...] | None:
        """Which instruments depend on this connection alone; None for all of the venue."""
        return None if self._share.count == 1 else tuple(self._catalog.known)

    def _status(
        self, state: Literal["open", "live", "closed"], now: Instant, reason: str = "", detail: str = ""
    ) -> FeedStatus:
        lost = self._carried if state == "closed" else None
        return FeedStatus(
            venue=VENUE, received=now, connection=self.connection, state=state, reason=reason, detail=detail, lost=lost
        )

    def _note(self, oddity: str) -> None:
        self.counters[oddity] += 1


def _known(at_ns: int | None) -> tuple[int, ...]:
    return () if at_ns is None else (at_ns,)
