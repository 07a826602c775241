"""Deribit's public market data over one WebSocket connection: https://docs.deribit.com/"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from pricer.adapters.adapter import HttpGet, WsSend
from pricer.adapters.deribit_instruments import (
    VENUE,
    currency_of,
    exchange_ns,
    index_of,
    instrument_from_name,
    instrument_from_wire,
    is_family,
    known_state,
    parse_future_name,
    parse_option_name,
)
from pricer.adapters.deribit_tickers import (
    KNOWN_TICKER_FIELDS,
    Ticker,
    decode_index,
    decode_ticker,
    future_price,
    index_event,
    quote_and_mark,
)
from pricer.adapters.events import AnyEvent, FeedStatus, InstrumentExpired, SubscriptionRejected
from pricer.adapters.instruments import Instrument
from pricer.adapters.listing import Listing
from pricer.adapters.session import Session, SessionLimits, TokenBucket, Verdict
from pricer.adapters.wire import DECODE_ERRORS, decode_object, text
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import ConfigError

Interval = Literal["raw", "100ms", "agg2"]

# A whole USDC list is about 2 MB; anything far beyond is not for us.
MAX_FRAME_BYTES = 8 * 2**20
# All of Deribit lists some 4 000 options; a flood of made-up names must not fill the memory.
MAX_INSTRUMENTS = 20_000
# FAULTS C08: a stamp further off than this is a broken clock or unit, not an old quote.
PLAUSIBLE_SKEW_NS = 3_600 * NS_PER_SECOND

# The reason when a test server answers where the real one was meant, or the reverse.
WRONG_ENVIRONMENT = "testnet_mismatch"

INDEX_PREFIX = "deribit_price_index."
TICKER_PREFIX = "ticker."
STATE_PREFIX = "instrument.state."
CREATION_PREFIX = "instrument.creation."

# Errors that pass by themselves: the same is asked again later, on the same connection.
_PASSING_ERRORS = frozenset({10028, 10041, 10047, 10066, 11051})
# Errors that concern all channels alike, so that halving the request would find no culprit.
_ERRORS_FOR_ALL = frozenset({11056, 13009, 13778})

_NO_RAW = msgspec.Raw(b"")
_NOTHING_TO_SEND: list[WsSend | HttpGet] = []


class _StateChange(msgspec.Struct, gc=False):
    instrument_name: str
    state: str


class _Params(msgspec.Struct, gc=False):
    channel: str = ""
    type: str = ""
    data: msgspec.Raw = _NO_RAW


class _Envelope(msgspec.Struct, gc=False):
    """Any frame: a notification has a `method`, a reply has `result` or `error`."""

    method: str | None = None
    params: _Params | None = None
    id: int | None = None
    result: msgspec.Raw = _NO_RAW
    error: msgspec.Raw = _NO_RAW
    testnet: bool | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_state = msgspec.json.Decoder(_StateChange).decode


@dataclass(slots=True)
class _Call:
    """A request of ours, other than subscriptions, that waits for its reply."""

    purpose: Literal["heartbeat", "list", "test"]
    deadline_ns: int
    currency: str = ""


@dataclass(slots=True)
class _List:
    """One currency's instrument list: when to ask for it next, and what it said last."""

    due_ns: int = 0
    failures: int = 0
    asked: bool = False
    complete: bool = False
    # Most objects are the same, byte for byte, as a minute ago: each with its name, and its definition if it is for us.
    objects: dict[bytes, tuple[str, Instrument | None]] = field(default_factory=dict)


class Deribit:
    """Deribit options: public tickers, the price index and the perpetual.

    Prices are in the premium's currency (coin, or USDC); nothing here converts them. What the venue does oddly, section
    numbers being those of our protocol sheet:

    - An empty side is null or 0 (5.1): both become NaN, as do a `bid_iv`, `ask_iv` or `mark_iv` of 0. A zero size, open
      interest, mark (four decimals, far out of the money) or Greek is a real zero.
    - Tickers give volatilities in percent (5.1): events hold fractions.
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
    """

    venue = VENUE
    production_url = "wss://www.deribit.com/ws/api/v2"
    test_url = "wss://test.deribit.com/ws/api/v2"

    def __init__(
        self,
        underlyings: Sequence[str] | None = ("BTC",),
        *,
        interval: Interval = "100ms",
        testnet: bool = False,
        heartbeat_s: int = 10,
        list_refresh_s: float = 60.0,
        limits: SessionLimits | None = None,
    ) -> None:
        for family in underlyings or ():
            if not is_family(family):
                raise ConfigError(f"underlyings: {family!r} is not spelled like 'BTC' or 'BTC_USDC'")
        if interval not in ("raw", "100ms", "agg2"):
            raise ConfigError(f"interval: {interval!r} is none of 'raw', '100ms', 'agg2'")
        if heartbeat_s < 10:
            raise ConfigError(f"heartbeat_s: {heartbeat_s} is below the venue's minimum of 10")
        self.url = self.test_url if testnet else self.production_url
        self.counters: Counter[str] = Counter()
        self._families = None if underlyings is None else tuple(dict.fromkeys(underlyings))
        self.connection = "+".join([VENUE, *(self._families or ("any",))])
        self._interval = interval
        self._testnet = testnet
        self._heartbeat_s = heartbeat_s
        self._refresh_ns = int(list_refresh_s * NS_PER_SECOND)
        self._limits = limits or SessionLimits()
        # Section 3: credits for subscriptions and for other calls; the instrument list has a stricter rule of its own.
        self._session = Session(TokenBucket(30_000, 10_000, 3_000), self._limits)
        self._calls_bucket = TokenBucket(50_000, 10_000, 500)
        self._lists_bucket = TokenBucket(5, 0.1, 1)

        self._listing = Listing(VENUE, most=MAX_INSTRUMENTS)
        self._rejections: dict[str, str] = {}
        self._lists = {currency_of(family): _List() for family in self._families or ()}
        self._calls: dict[int, _Call] = {}
        self._replies: list[WsSend | HttpGet] = []
        self._waiting: list[AnyEvent] = []
        self._open = False
        self._live = False
        self._heartbeat_owed = False
        self._reconnect: str | None = None
        self._last_frame_ns = 0
        self._sample_fields = True
        self._send_due = False
        self._deadline_ns: int | None = None
        if self._families:
            self._session.want(self._fixed_channels(self._families))

    # The contract

    def opened(self, now: Instant) -> None:
        """A new connection: ask for everything again, as if for the first time."""
        self._forget_session()
        self._open = True
        self._heartbeat_owed = self._families is not None
        self._last_frame_ns = now.mono_ns
        self._sample_fields = True
        for each in self._lists.values():
            each.due_ns, each.asked, each.complete = now.mono_ns, False, False
        self._waiting = [self._status("open", now)]
        self._ended(self._listing.expire(now), self._waiting)
        self._plan(now)

    def closed(self, now: Instant, reason: str) -> list[AnyEvent]:
        """The connection is gone, or could not be made; `reason` is a word, with details after a colon."""
        self._forget_session()
        self._open = False
        self._waiting = []
        self._plan(now)
        word, _, detail = reason.partition(":")
        return [self._status("closed", now, word.strip(), detail.strip())]

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
            envelope = _decode_envelope(frame)
        except DECODE_ERRORS:
            self.counters["bad_frame"] += 1
            return events
        params = envelope.params
        if envelope.method == "subscription" and params is not None:
            if params.channel.startswith(TICKER_PREFIX):
                self._ticker(params.channel, params.data, now, events)
            elif params.channel.startswith(INDEX_PREFIX):
                self._index(params.channel, params.data, now, events)
            else:
                self._lifecycle(params.channel, params.data, now, events)
            return events
        if envelope.method is None:
            self._reply(envelope, now, events)
        elif envelope.method == "heartbeat" and params is not None:
            self._heartbeat(params.type, now)
        else:
            self.counters["unknown_method"] += 1
        self._plan(now, events)
        return events

    def on_time(self, now: Instant) -> list[AnyEvent]:
        """What silence and the clock bring about: expiries, time-outs, a dead connection."""
        events, self._waiting = self._waiting, []
        self._ended(self._listing.expire(now), events)
        if self._open:
            if now.mono_ns >= self._silent_at_ns:
                self._give_up("heartbeat_lost")
            unanswered = self._session.on_time(now.mono_ns) + self._drop_unanswered(now)
            if unanswered:
                self.counters["request_timeout"] += unanswered
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
            if self._heartbeat_owed and self._calls_bucket.take(now.mono_ns):
                self._heartbeat_owed = False
                interval = {"interval": self._heartbeat_s}
                sends.append(self._call("public/set_heartbeat", interval, "heartbeat", now))
            sends += self._due_lists(now)
            while (request := self._session.next_request(now.mono_ns)) is not None:
                sends.append(_rpc(request.id, f"public/{request.operation}", {"channels": request.channels}))
        self._deadline_ns = self._earliest(now)
        return sends

    @property
    def wants_reconnect(self) -> str | None:
        return self._reconnect

    @property
    def instruments(self) -> dict[str, Instrument]:
        """The live options known now, by name (a copy)."""
        return self._listing.known

    # Tickers and index prices: the hot path

    def _ticker(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        name = channel[len(TICKER_PREFIX) :].rpartition(".")[0]
        definition = self._listing.get(name)
        if definition is None:
            definition = self._unlisted(name, channel, data, now, events)
            if definition is None:
                return
        if definition.expiry_ns is not None and now.wall_ns >= definition.expiry_ns:
            self.counters["after_expiry"] += 1
            return
        ticker = self._decoded(data, definition.name)
        if ticker is not None:
            self._session.saw(channel)
            stamp = self._stamp(ticker.timestamp, now)
            events.extend(quote_and_mark(ticker, definition.name, stamp, now, self._note))

    def _decoded(self, data: msgspec.Raw, name: str) -> Ticker | None:
        if self._sample_fields:
            self._sample_fields = False
            self._count_unknown_fields(data)
        ticker = decode_ticker(data, self._note)
        if ticker is None:
            self.counters["bad_ticker"] += 1
        elif ticker.instrument_name is not None and ticker.instrument_name != name:
            self.counters["wrong_instrument"] += 1
            return None
        return ticker

    def _stamp(self, milliseconds: float | None, now: Instant) -> int | None:
        """The venue's instant; None, and counted, where it is missing or cannot be true."""
        stamp = exchange_ns(milliseconds)
        if stamp is None or abs(stamp - now.wall_ns) > PLAUSIBLE_SKEW_NS:
            self.counters["bad_time"] += 1
            return None
        return stamp

    def _index(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        index = channel[len(INDEX_PREFIX) :]
        if self._families is not None and index not in map(index_of, self._families):
            self.counters["unwanted"] += 1
            return
        message = decode_index(data, self._note)
        if message is None or not message.price:
            self.counters["bad_index_price"] += 1  # rejected: the last one ages until a good one comes
            return
        self._session.saw(channel)
        stamp = self._stamp(message.timestamp, now)
        events.append(index_event(index, message.price, stamp, now))

    def _future(self, name: str, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        parsed = parse_future_name(name)
        if parsed is None or not self._is_ours(parsed.family):
            self.counters["unwanted"] += 1
            return
        if parsed.expiry_ns is not None and now.wall_ns >= parsed.expiry_ns:
            self.counters["after_expiry"] += 1
            return
        ticker = self._decoded(data, name)
        if ticker is not None:
            self._session.saw(channel)
            events.append(future_price(ticker, name, parsed, self._stamp(ticker.timestamp, now), now))

    def _unlisted(
        self, name: str, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]
    ) -> Instrument | None:
        """An option that no list has named yet, as in recordings; futures are dealt with here."""
        parsed = parse_option_name(name)
        if parsed is None:
            self._future(name, channel, data, now, events)
            return None
        if not self._is_ours(parsed.family):
            self.counters["unwanted"] += 1
            return None
        if now.wall_ns >= parsed.expiry_ns:
            self.counters["after_expiry"] += 1
            return None
        definition = instrument_from_name(name)
        if definition is None or not self._learn(definition, now, events):
            return None
        self.counters["instrument_from_name"] += 1
        return definition

    def _count_unknown_fields(self, data: msgspec.Raw) -> None:
        """Once a session: a field we have never heard of is a change of the venue's worth knowing."""
        item = decode_object(data) or {}
        if not KNOWN_TICKER_FIELDS.issuperset(item):
            self.counters["unknown_field.ticker"] += 1

    # Instruments

    def _lifecycle(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        self._session.saw(channel)
        if channel.startswith(STATE_PREFIX):
            self._state_changed(data, now, events)
        elif channel.startswith(CREATION_PREFIX):
            name, definition = self._definition_in(decode_object(data) or {}, now)
            if not name:
                self.counters["bad_instrument"] += 1
            if definition is not None:
                self._learn(definition, now, events)
            self._plan(now, events)
        else:
            self.counters["unknown_channel"] += 1

    def _state_changed(self, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        try:
            change = _decode_state(data)
        except DECODE_ERRORS:
            self.counters["bad_state"] += 1
            return
        definition = self._listing.get(change.instrument_name)
        state = known_state(change.state, self._note)
        if definition is not None and definition.state != state:
            self._learn(msgspec.structs.replace(definition, state=state), now, events)

    def _listed(self, currency: str | None, result: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        """An instrument list. A reply to our own request is complete, so what it lacks is gone; others only add."""
        items = [bytes(item) for item in _decode_items(result)]
        last = {} if currency is None else self._lists[currency].objects
        objects: dict[bytes, tuple[str, Instrument | None]] = {}
        for item in items:
            objects[item] = last.get(item) or self._definition_in(decode_object(item) or {}, now)
            _, definition = objects[item]
            if definition is not None:
                self._learn(definition, now, events)
        present = {name for name, _ in objects.values()}
        if not items or "" in present:
            self.counters["incomplete_list"] += 1
        if currency is None:
            return
        self._lists[currency].objects = objects
        if not items or "" in present:
            return  # no reason to drop what it does not name
        self._remove([name for name in self._listing if _is_of(name, currency) and name not in present], now, events)

    def _definition_in(self, item: dict[str, Any], now: Instant) -> tuple[str, Instrument | None]:
        """The name in one instrument object, and its definition when it is one of ours."""
        name = text(item.get("instrument_name"))
        if not name or not self._is_ours(name.partition("-")[0]):
            return name, None
        return name, instrument_from_wire(item, now.wall_ns, self._note)

    def _learn(self, definition: Instrument, now: Instant, events: list[AnyEvent]) -> bool:
        """The venue says that `definition` exists: announce it or what changed about it, and ask for its quotes."""
        if definition.expiry_ns is not None and definition.expiry_ns <= now.wall_ns:
            self.counters["after_expiry"] += 1
            return False
        if self._listing.full and definition.name not in self._listing:
            self.counters["too_many_instruments"] += 1
            return False
        news = self._listing.learn(definition, now)
        if news is not None:
            events.append(news)
            if self._families is not None:
                self._session.want([self._ticker_channel(definition.name)])
        return True

    def _remove(self, names: list[str], now: Instant, events: list[AnyEvent]) -> None:
        self._ended(self._listing.remove(names, now), events)

    def _ended(self, news: list[InstrumentExpired], events: list[AnyEvent]) -> None:
        """Nothing more is wanted or taken of these."""
        if not news:
            return
        events += news
        self._session.unwant([self._ticker_channel(each.instrument) for each in news])
        for each in news:
            self._rejections.pop(each.instrument, None)

    # Replies and requests

    def _reply(self, envelope: _Envelope, now: Instant, events: list[AnyEvent]) -> None:
        if envelope.testnet is not None and envelope.testnet is not self._testnet:
            self._give_up(WRONG_ENVIRONMENT)
            return
        if envelope.error and bytes(envelope.error) != b"null":
            self._refused(envelope.id, decode_object(envelope.error) or {}, now, events)
            return
        call = self._calls.pop(envelope.id, None) if envelope.id is not None else None
        try:
            if call is not None:
                if call.purpose == "list":
                    self._listed(call.currency, envelope.result, now, events)
                    each = self._lists[call.currency]
                    each.due_ns, each.failures = now.mono_ns + self._refresh_ns, 0
                    each.asked, each.complete = False, True
            elif envelope.id is None or not self._accepted(envelope.id, envelope.result, now, events):
                self._unasked(envelope.result, now, events)
        except DECODE_ERRORS:
            self.counters["bad_reply"] += 1
            if call is not None and call.purpose == "list":
                self._list_failed(call.currency, now)

    def _accepted(self, request_id: int, result: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        if not self._session.is_pending(request_id):
            return False
        # An answer that is no list leaves the request to its time-out.
        rejected = self._session.accepted(request_id, _decode_names(result), now.mono_ns)
        self._rejected(rejected or [], "not_accepted", now, events)
        return True

    def _unasked(self, result: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> None:
        """A reply to no request of ours: in a recording it may be somebody else's instrument list."""
        if bytes(result).lstrip().startswith(b"[{"):
            self._listed(None, result, now, events)
        else:
            self.counters["unknown_id"] += 1

    def _refused(self, request_id: int | None, error: dict[str, Any], now: Instant, events: list[AnyEvent]) -> None:
        code = error.get("code")
        code = code if type(code) is int else 0
        self.counters["error.too_many_requests" if code == 10028 else "error.other"] += 1
        if request_id is None:
            return  # an oversize frame: its request runs into its time-out
        call = self._calls.pop(request_id, None)
        if call is not None:
            if call.purpose == "list":
                self._list_failed(call.currency, now)
            elif call.purpose == "heartbeat":
                self._calls[request_id] = call  # asked again when its time is over, not at once
            return
        verdict: Verdict = "later" if code in _PASSING_ERRORS else "reject" if code in _ERRORS_FOR_ALL else "split"
        rejected = self._session.refused(request_id, verdict, now.mono_ns)
        self._rejected(rejected or [], str(code) if code else "error", now, events)

    def _rejected(self, channels: list[str], code: str, now: Instant, events: list[AnyEvent]) -> None:
        """Tell of each refusal once, until its code changes; the retries are quiet."""
        for channel in channels:
            self.counters["rejected"] += 1
            if channel.startswith((STATE_PREFIX, CREATION_PREFIX)):
                continue  # a convenience: the list is asked for again in any case
            if channel.startswith(INDEX_PREFIX):
                name = channel[len(INDEX_PREFIX) :]
            else:
                name = channel[len(TICKER_PREFIX) :].rpartition(".")[0]
            if self._rejections.get(name) != code:
                self._rejections[name] = code
                events.append(
                    SubscriptionRejected(venue=VENUE, received=now, instrument=name, channel=channel, code=code)
                )

    def _heartbeat(self, kind: str, now: Instant) -> None:
        if kind == "test_request":
            # Unpaced: without the answer the venue closes the connection.
            self._replies.append(self._call("public/test", {}, "test", now))
        elif kind != "heartbeat":
            self.counters["unknown_heartbeat"] += 1

    def _due_lists(self, now: Instant) -> list[WsSend | HttpGet]:
        sends: list[WsSend | HttpGet] = []
        for currency, each in self._lists.items():
            if each.asked or each.due_ns > now.mono_ns:
                continue
            if self._lists_bucket.ready_ns(now.mono_ns) > now.mono_ns or not self._calls_bucket.take(now.mono_ns):
                break
            self._lists_bucket.take(now.mono_ns)
            each.asked = True
            params = {"currency": currency, "kind": "option", "expired": False}
            sends.append(self._call("public/get_instruments", params, "list", now, currency))
        return sends

    def _list_failed(self, currency: str, now: Instant) -> None:
        each = self._lists[currency]
        pause = min(self._limits.first_pause_ns << min(each.failures, 16), self._limits.longest_pause_ns)
        each.asked, each.due_ns, each.failures = False, now.mono_ns + pause, each.failures + 1

    def _drop_unanswered(self, now: Instant) -> int:
        overdue = [key for key, call in self._calls.items() if call.deadline_ns <= now.mono_ns]
        for key in overdue:
            call = self._calls.pop(key)
            if call.purpose == "list":
                self._list_failed(call.currency, now)
            elif call.purpose == "heartbeat":
                self._heartbeat_owed = True
        return len(overdue)

    def _call(
        self,
        method: str,
        params: dict[str, Any],
        purpose: Literal["heartbeat", "list", "test"],
        now: Instant,
        currency: str = "",
    ) -> WsSend:
        request_id = self._session.new_id()
        self._calls[request_id] = _Call(purpose, now.mono_ns + self._limits.request_timeout_ns, currency)
        return _rpc(request_id, method, params)

    # The connection as a whole

    def _plan(self, now: Instant, events: list[AnyEvent] | None = None) -> None:
        """After anything but a price: see what is owed, and when to look again."""
        self._send_due = True
        self._deadline_ns = self._earliest(now)
        ready = self._open and not self._live and self._session.settled
        if ready and events is not None and all(each.complete for each in self._lists.values()):
            self._live = True
            events.append(self._status("live", now))

    def _earliest(self, now: Instant) -> int | None:
        expiry_ns = self._listing.next_expiry_ns
        times = [] if expiry_ns is None else [now.mono_ns + max(0, expiry_ns - now.wall_ns)]
        if self._waiting:
            times.append(now.mono_ns)
        if self._open and self._reconnect is None:
            times.append(self._silent_at_ns)
            times += [call.deadline_ns for call in self._calls.values()]
            ready_ns = self._lists_bucket.ready_ns(now.mono_ns)
            times += [max(each.due_ns, ready_ns) for each in self._lists.values() if not each.asked]
            if (session_ns := self._session.next_deadline(now.mono_ns)) is not None:
                times.append(session_ns)
            if self._heartbeat_owed:
                times.append(self._calls_bucket.ready_ns(now.mono_ns))
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
        self._session.reset()
        self._calls.clear()
        self._listing.new_session()
        self._rejections.clear()
        self._replies = []
        self._live = False
        self._reconnect = None
        self._heartbeat_owed = False

    def _status(
        self, state: Literal["open", "live", "closed"], now: Instant, reason: str = "", detail: str = ""
    ) -> FeedStatus:
        return FeedStatus(
            venue=VENUE, received=now, connection=self.connection, state=state, reason=reason, detail=detail
        )

    def _fixed_channels(self, families: Sequence[str]) -> list[str]:
        """What is wanted before any list has come: prices first, then the news of listings."""
        currencies = dict.fromkeys(map(currency_of, families))
        prices = [
            channel
            for family in families
            for channel in (f"{INDEX_PREFIX}{index_of(family)}", self._ticker_channel(f"{family}-PERPETUAL"))
        ]
        news = [f"{prefix}option.{currency}" for currency in currencies for prefix in (STATE_PREFIX, CREATION_PREFIX)]
        return prices + news

    def _ticker_channel(self, name: str) -> str:
        return f"{TICKER_PREFIX}{name}.{self._interval}"

    def _is_ours(self, family: str) -> bool:
        return self._families is None or family in self._families

    def _note(self, oddity: str) -> None:
        self.counters[oddity] += 1


def _rpc(request_id: int, method: str, params: dict[str, Any]) -> WsSend:
    body = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return WsSend(msgspec.json.encode(body).decode())


def _is_of(name: str, currency: str) -> bool:
    return currency_of(name.partition("-")[0]) == currency
