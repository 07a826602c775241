"""Deribit's public market data over one WebSocket connection: https://docs.deribit.com/

Here is the contract with the feed, and when what is due; the rest is asked of those who keep it:

- `DeribitSettings` is what the user wants, `Link` the state of the connection as a whole.
- `Arrivals` takes what comes on channels, `Requests` what is asked and answered, `Private` what is an account's own.
- `Roster` passes on which instruments come and go; `Catalog`, `Market` and `DeribitBooks` know what came of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal

from pricer.adapters.adapter import HttpGet, WsSend
from pricer.adapters.budget import Budget
from pricer.adapters.deribit import account, channels, rpc
from pricer.adapters.deribit.account import Account, Credentials
from pricer.adapters.deribit.arrivals import Arrivals
from pricer.adapters.deribit.books import BookOptions, DeribitBooks
from pricer.adapters.deribit.catalog import Catalog
from pricer.adapters.deribit.channels import Interval, QuoteSource
from pricer.adapters.deribit.holdings import Held
from pricer.adapters.deribit.instruments import VENUE
from pricer.adapters.deribit.limits import new_budget, rule_of
from pricer.adapters.deribit.link import WRONG_ENVIRONMENT, Link
from pricer.adapters.deribit.market import Market
from pricer.adapters.deribit.platform import Platform
from pricer.adapters.deribit.private import Private
from pricer.adapters.deribit.refusals import Refusals
from pricer.adapters.deribit.requests import Requests
from pricer.adapters.deribit.roster import Roster
from pricer.adapters.deribit.settings import PRODUCTION_URL, TEST_URL, DeribitSettings
from pricer.adapters.deribit.upkeep import Upkeep
from pricer.adapters.deribit.wanted import Wanted
from pricer.adapters.events import AnyEvent, ChannelAlarm, FeedStatus
from pricer.adapters.instruments import Instrument
from pricer.adapters.liveness import Liveness
from pricer.adapters.planner import Share
from pricer.adapters.session import Session, SessionLimits, State
from pricer.adapters.window import Window
from pricer.adapters.wire import DECODE_ERRORS
from pricer.clock import Instant

# A whole USDC list is about 2 MB; anything far beyond is not for us.
MAX_FRAME_BYTES = 8 * 2**20

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

    What each setting means stands in `DeribitSettings`; ConfigError names one that cannot be.

    With `credentials` it logs in and reads the account: `AccountStatus`, `Position`, `Portfolio`, `Order`, `Fill`. The
    interval "raw" can then be had, too; it waits for the login. `nonce` gives the words that signatures need.

    Several connections: give each the same `budget` and `held`, and another `share` of the options. Every one carries
    the index and the perpetual; futures, trades and what concerns the whole venue come with the first alone.

    `window` narrows the chain; what `hold` names stays in any case.
    """

    venue = VENUE
    production_url = PRODUCTION_URL
    test_url = TEST_URL

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
        self.settings = DeribitSettings(
            underlyings=underlyings,
            interval=interval,
            quotes=quotes,
            marks=marks,
            trades=trades,
            futures=futures,
            volatility_index=volatility_index,
            delivery=delivery,
            testnet=testnet,
            heartbeat_s=heartbeat_s,
            list_refresh_s=list_refresh_s,
            books=books,
            limits=limits or SessionLimits(),
            share=share or Share(),
            window=window,
        )
        self.url = self.settings.url
        self.connection = self.settings.connection
        self.counters: Counter[str] = Counter()
        self._budget = budget or new_budget()
        self._waiting: list[AnyEvent] = []
        self._send_due = False
        self._deadline_ns: int | None = None
        who = None
        if credentials is not None:
            timeout_ns = self.settings.limits.request_timeout_ns
            who = Account(credentials, testnet=testnet, timeout_ns=timeout_ns, note=self._note, nonce=nonce)
        self._assemble(who, held or Held())

    def _assemble(self, who: Account | None, held: Held) -> None:
        """Those who keep the state, each with those that it needs."""
        settings, note, families = self.settings, self._note, self.settings.families
        streams = settings.streams()
        self._link = Link(settings.heartbeat_s, note)
        self._session = Session(self._budget, settings.limits, Liveness(rule_of))
        self._catalog = Catalog(
            families,
            settings.list_refresh_ns,
            settings.limits,
            note,
            self._budget,
            settings.share,
            futures=streams.futures,
            neighbours=settings.needs_neighbours,
        )
        self._books = DeribitBooks(settings.book_options(), self.counters)
        self._wanted = Wanted(
            self._session, self._catalog, families, streams, self._books, settings.window, settings.share
        )
        self._refusals = Refusals(self._books, note)
        self._roster = Roster(self._catalog, self._wanted, note)
        self._market = Market(self._catalog, families, self._roster.learn, note)
        self._roster.when_ended += [self._market.ended, self._books.drop, self._refusals.ended]
        self._platform = Platform(note)
        self._upkeep = Upkeep(settings.heartbeat_s, self._budget, note)
        self._private = Private(who, held, self._wanted, self._books, self._hold)
        self._requests = Requests(
            self._session,
            self._catalog,
            self._upkeep,
            platform=self._platform,
            roster=self._roster,
            refusals=self._refusals,
            budget=self._budget,
            timeout_ns=settings.limits.request_timeout_ns,
            note=note,
        )
        self._arrivals = Arrivals(
            families,
            self._session,
            self._market,
            catalog=self._catalog,
            roster=self._roster,
            wanted=self._wanted,
            books=self._books,
            platform=self._platform,
            private=self._private,
            resume=self._requests.resume,
            plan=self._plan,
            note=note,
        )

    # The contract

    def opened(self, now: Instant) -> None:
        """A new connection: ask for everything again, as if for the first time."""
        self._forget_session()
        self._link.opened(now)
        if self.settings.families is not None:
            self._upkeep.opened(now)
        self._catalog.opened(now)
        # A recording that was cut may open twice without a close.
        lost = self._books.ended(now)
        self._waiting = [
            self._status("open", now),
            *lost,
            *self._catalog.expire(now),
            *self._platform.opened(now),
        ]
        self._roster.follow(self._waiting, now)
        self._private.opened(now)
        self._wanted.rank()
        self._plan(now)

    def closed(self, now: Instant, reason: str) -> list[AnyEvent]:
        """The connection is gone, or could not be made; `reason` is a word, with details after a colon."""
        self._forget_session()
        self._link.is_open = False
        # A connection that ends before it was heard of never stood; what is so besides, such as an expiry, is told.
        events: list[AnyEvent] = [each for each in self._waiting if not isinstance(each, FeedStatus)]
        self._waiting = []
        word, detail = (part.strip() for part in reason.partition(":")[::2])
        is_replaced = word == "rotated"
        # A connection that has taken over carries the same books.
        lost = self._books.ended(now)
        events += [] if is_replaced else lost
        events.append(self._status("closed", now, word, detail))
        events += self._private.closed(now, replaced=is_replaced)
        self._plan(now)
        return events

    def receive(self, frame: bytes | str, now: Instant) -> list[AnyEvent]:
        """The facts in one frame; what cannot be understood is counted and dropped."""
        self._link.heard_ns = now.mono_ns
        events: list[AnyEvent] = []
        if self._waiting:
            events, self._waiting = self._waiting, events
        if self._link.given_up == WRONG_ENVIRONMENT:
            return events  # not one number of it
        if len(frame) > MAX_FRAME_BYTES:
            self._note("oversize")
            return events
        try:
            envelope = rpc.decode_envelope(frame)
        except DECODE_ERRORS:
            self._note("bad_frame")
            return events
        params = envelope.params
        if envelope.method == "subscription" and params is not None:
            self._arrivals.receive(params.channel, params.data, now, events)
            return events
        if envelope.method is None:
            self._reply(envelope, frame, now, events)
        elif envelope.method == "heartbeat" and params is not None:
            self._heartbeat(params.type, frame, now)
        else:
            self._note("unknown_method")
        self._plan(now, events)
        return events

    def on_time(self, now: Instant) -> list[AnyEvent]:
        """What silence and the clock bring about: expiries, time-outs, a dead connection."""
        events, self._waiting = self._waiting, []
        events += self._roster.expired(now)
        if self._link.is_open:
            self._judge(now, events)
            if now.mono_ns >= self._link.silent_at_ns:
                self._link.give_up("heartbeat_lost")
            if unanswered := self._requests.on_time(now):
                self.counters["request_timeout"] += unanswered
            if self._upkeep.is_unheard:
                self._link.give_up("silent")
            self._private.on_time(now, events)
            self._books.on_time(now, events)
            self._wanted.ask_again(now)
        self._plan(now, events)
        return events

    def next_deadline(self) -> int | None:
        return self._deadline_ns

    def to_send(self, now: Instant) -> list[WsSend | HttpGet]:
        """What is owed now: answers to the venue first, then as many calls as its limits allow."""
        if not self._send_due:
            return _NOTHING_TO_SEND
        self._send_due = False
        sends: list[WsSend | HttpGet] = [*self._requests.answers()]
        if self._link.in_use:
            refuses = self._platform.refuses
            sends += self._requests.upkeep(now)
            if not refuses:
                sends += self._private.to_send(now, self._budget)
                sends += self._requests.due(now)
        self._deadline_ns = self._earliest(now)
        return sends

    def to_show(self, frame: bytes | str) -> bytes | str:
        """The frame for recorders; of a private one only that the venue was alive, and what is held since."""
        return self._private.to_show(frame)

    @property
    def wants_reconnect(self) -> str | None:
        return self._link.given_up

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

    # What the user wants while it runs

    def want_books(self, names: Collection[str], now: Instant) -> None:
        """These books are wanted besides those that `books` names; 20 levels a side, where it names none."""
        entering, leaving = self._books.wish(names)
        self._arrivals.compare_quotes()
        self._wanted.books(entering, leaving, now, self._waiting)
        self._plan(now)

    def hold(self, names: Iterable[str], now: Instant) -> None:
        """These options are held: they are wanted whatever the window says, and asked for before the others.

        Replaces those named before; what the account holds is held besides. What enters by it is announced with the
        next events.
        """
        self._private.hold(names, now)

    def _hold(self, names: frozenset[str], now: Instant) -> None:
        self._wanted.hold(names, now, self._waiting)
        self._plan(now)

    # What is no message of a channel

    def _reply(self, envelope: rpc.Envelope, frame: bytes | str, now: Instant, events: list[AnyEvent]) -> None:
        if envelope.testnet is not None and envelope.testnet is not self.settings.testnet:
            self._link.give_up(WRONG_ENVIRONMENT)
            self._private.wrong_environment(now, events)
        elif self._private.owns(envelope.id):
            self._private.reply(envelope, frame, now, events)
        else:
            self._requests.reply(envelope, now, events)

    def _heartbeat(self, kind: str, frame: bytes | str, now: Instant) -> None:
        if kind == account.HELD and self._private.replayed(frame, now):
            return
        if kind == "test_request":
            self._requests.answer_test(now)
        elif kind != "heartbeat":
            self._note("unknown_heartbeat")

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
            self._note(f"alarm.{kind}")
            name = channels.subject(channel) if channels.is_of_instrument(channel) else ""
            events.append(
                ChannelAlarm(
                    venue=VENUE, received=now, connection=self.connection, channel=channel, kind=kind, instrument=name
                )
            )
        if give_up is not None:
            self._link.give_up(give_up)
        self._upkeep.probe(self._session.probe(now.mono_ns))

    # What is owed, and when

    def _plan(self, now: Instant, events: list[AnyEvent] | None = None) -> None:
        """After anything but a price: see what is owed, and when to look again."""
        self._send_due = True
        self._deadline_ns = self._earliest(now)
        link = self._link
        ready = link.is_open and not link.is_live and self._session.settled and self._wanted.chosen
        if ready and events is not None and self._catalog.complete:
            link.is_live = True
            events.append(self._status("live", now))

    def _earliest(self, now: Instant) -> int | None:
        expiry_ns = self._catalog.next_expiry_ns
        times = [] if expiry_ns is None else [now.mono_ns + max(0, expiry_ns - now.wall_ns)]
        if self._waiting:
            times.append(now.mono_ns)
        if self._link.in_use:
            times += [self._link.silent_at_ns, *self._requests.deadlines(now)]
            if not self._platform.refuses:
                later = (self._books.next_deadline(), self._private.next_deadline(now, self._budget))
                times += [at_ns for at_ns in later if at_ns is not None]
        return min(times, default=None)

    def _forget_session(self) -> None:
        self._wanted.new_session()
        self._session.reset()
        self._requests.forget()
        self._catalog.new_session()
        self._market.new_session()
        self._upkeep.forget()
        self._refusals.clear()
        self._link.forget()

    def _status(
        self, state: Literal["open", "live", "closed"], now: Instant, reason: str = "", detail: str = ""
    ) -> FeedStatus:
        # What depended on this connection alone is lost with it; None is all of the venue.
        is_part = state == "closed" and self.settings.share.count > 1
        lost = tuple(self._catalog.known) if is_part else None
        return FeedStatus(
            venue=VENUE, received=now, connection=self.connection, state=state, reason=reason, detail=detail, lost=lost
        )

    def _note(self, oddity: str) -> None:
        self.counters[oddity] += 1
