"""Events are facts: frozen, slotted, never edited later.

Each carries two instants: `exchange_ns`, when it was so (UTC, None where the venue does not say), and `received`,
when we knew. "No value" is NaN, never 0: every adapter decides per venue field whether a zero is a market value.
Prices are in the settlement currency as the venue quotes them; volatilities are fractions (0.65 is 65 %).
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from pricer.adapters.instruments import Instrument
from pricer.clock import Instant

NAN = math.nan


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What every event has."""

    venue: str
    received: Instant
    exchange_ns: int | None = None


class OptionQuote(Event, frozen=True, kw_only=True, gc=False):
    """The best bid and ask of one option, with the underlying as the venue saw it at that very instant.

    `forward` is the venue's own forward of the expiry (`forward_index` names where it comes from), `index` the spot.
    `source` is what the quote was read from: one from a book is no better than its book.
    """

    instrument: str
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    forward: float = NAN
    forward_index: str = ""
    index: float = NAN
    state: str = "open"
    source: Literal["ticker", "quote", "book"] = "ticker"


class VenueMark(Event, frozen=True, kw_only=True, gc=False):
    """The venue's own mark, volatilities and Greeks in the venue's own scales; kept apart from ours.

    NaN is what the message did not tell: a channel may carry the mark and its volatility alone.
    """

    instrument: str
    mark: float = NAN
    mark_iv: float = NAN
    bid_iv: float = NAN
    ask_iv: float = NAN
    delta: float = NAN
    gamma: float = NAN
    vega: float = NAN
    theta: float = NAN
    rho: float = NAN
    open_interest: float = NAN


class UnderlyingPrice(Event, frozen=True, kw_only=True, gc=False):
    """A price of the underlying: an index, a listed future, or a perpetual (with its funding)."""

    kind: Literal["index", "future", "perpetual"]
    price_index: str
    price: float
    instrument: str = ""
    expiry_ns: int | None = None
    bid: float = NAN
    ask: float = NAN
    funding: float = NAN


class InstrumentListed(Event, frozen=True, kw_only=True, gc=False):
    """The instrument exists (first seen, or seen again on a new session with the same definition)."""

    definition: Instrument


class InstrumentChanged(Event, frozen=True, kw_only=True, gc=False):
    """The venue changed the definition or the state of a known instrument."""

    definition: Instrument


class InstrumentExpired(Event, frozen=True, kw_only=True, gc=False):
    """The venue delisted the instrument, or its expiry has passed."""

    instrument: str


class Trade(Event, frozen=True, kw_only=True, gc=False):
    """One public trade. Block, combo and liquidation trades are tagged, since they say little about the open book.

    `side` is the aggressor's. `sequence` counts per instrument where the venue counts: a jump means missed trades.
    `block` and `combo` are the venue's ids of what the trade was part of, empty where it stands alone. A trade is
    `late` when one that the venue counts after it was told before. `bust`: the venue takes back the trade of this id.
    """

    instrument: str
    trade_id: str
    price: float
    size: float
    side: Literal["buy", "sell"]
    sequence: int | None = None
    iv: float = NAN
    mark: float = NAN
    index: float = NAN
    block: str = ""
    combo: str = ""
    liquidation: str = ""
    late: bool = False
    bust: bool = False

    @property
    def is_open_market(self) -> bool:
        """Whether it was struck in the open book: neither a block nor part of a combo."""
        return not self.block and not self.combo


class BookDepth(Event, frozen=True, kw_only=True, gc=False):
    """The whole book of one instrument after a message, best levels first: (price, size) in the venue's units.

    At most as many levels a side as were asked for. `sequence` is the venue's number of this state.
    """

    instrument: str
    bids: tuple[tuple[float, float], ...]
    asks: tuple[tuple[float, float], ...]
    sequence: int = 0
    state: Literal["open", "crossed", "locked"] = "open"


LossReason = Literal["gap", "checksum", "crossed", "disagreement", "session", "rejected", "unsubscribed"]


class BookLost(Event, frozen=True, kw_only=True, gc=False):
    """The book of one instrument is not known to be right any more; a `BookDepth` will follow a new snapshot.

    `reason`: a message was missed, the checksum differs, the book stayed crossed, its best prices were not the
    ticker's, its connection is gone, the venue refuses it, or it is not asked for any more (outside of the window).
    """

    instrument: str
    reason: LossReason


class VolatilityIndex(Event, frozen=True, kw_only=True, gc=False):
    """The venue's own volatility index of an underlying, as a fraction."""

    price_index: str
    volatility: float


class DeliveryPrice(Event, frozen=True, kw_only=True, gc=False):
    """What an expiry settles at; while `estimated`, the average of the settlement window so far."""

    price_index: str
    price: float
    estimated: bool
    expiry_ns: int | None = None


class VenueState(Event, frozen=True, kw_only=True, gc=False):
    """The venue as a whole, or one index of it: trading, locked, or in maintenance.

    `login_required`: the venue has stopped answering those who are not logged in.
    """

    state: Literal["open", "locked", "maintenance", "login_required"]
    price_index: str = ""  # empty: all of the venue


class VenueClock(Event, frozen=True, kw_only=True, gc=False):
    """How far the venue's clock is ahead of ours, by its stamps on our last calls.

    The truth is within half of `round_trip_ns`: the shortest way out and the shortest way back among those calls.
    """

    offset_ns: int
    round_trip_ns: int


class ChannelAlarm(Event, frozen=True, kw_only=True, gc=False):
    """A confirmed channel does not bring what it owes; `connection` names where.

    `first_message`: nothing ever came. `silent`: it has stopped; it was asked for again. `checksum_mismatch`: no
    checksum agrees, so they are not checked any more. `checksum_removed`: the venue sends none any more.
    """

    connection: str
    channel: str
    kind: Literal["first_message", "silent", "checksum_mismatch", "checksum_removed"]
    instrument: str = ""


class AccountStatus(Event, frozen=True, kw_only=True, gc=False):
    """Whether private numbers can be had. After anything but `logged_in` positions are not known to be current.

    `reason` is a word from a bounded set; `detail` is for people, and holds no secret.
    """

    state: Literal["logged_in", "logged_out", "refused"]
    reason: str = ""
    detail: str = ""


class Position(Event, frozen=True, kw_only=True, gc=False):
    """What the account holds of one instrument; `size` is negative for a short. Greeks: the venue's, in total."""

    instrument: str
    size: float
    average_price: float = NAN
    mark: float = NAN
    profit_loss: float = NAN
    delta: float = NAN
    gamma: float = NAN
    vega: float = NAN
    theta: float = NAN


class Portfolio(Event, frozen=True, kw_only=True, gc=False):
    """The account in one currency, as the venue reckons it. Its `delta_total` of inverse products is the net
    transaction delta (premium-adjusted), unlike the ticker's.
    """

    currency: str
    equity: float = NAN
    balance: float = NAN
    margin_balance: float = NAN
    initial_margin: float = NAN
    maintenance_margin: float = NAN
    available_funds: float = NAN
    delta_total: float = NAN
    options_delta: float = NAN
    options_gamma: float = NAN
    options_vega: float = NAN
    options_theta: float = NAN
    options_value: float = NAN


class Order(Event, frozen=True, kw_only=True, gc=False):
    """One of the account's own orders, read only."""

    instrument: str
    order_id: str
    state: str
    side: Literal["buy", "sell"]
    price: float
    size: float
    filled: float
    label: str = ""


class Fill(Event, frozen=True, kw_only=True, gc=False):
    """One of the account's own trades."""

    instrument: str
    trade_id: str
    order_id: str
    side: Literal["buy", "sell"]
    price: float
    size: float
    fee: float = NAN


class SubscriptionRejected(Event, frozen=True, kw_only=True, gc=False):
    """The venue refuses data for one instrument; the others are unaffected. `code` is the venue's own, or a word."""

    instrument: str
    channel: str
    code: str


class FeedStatus(Event, frozen=True, kw_only=True, gc=False):
    """One connection's state. `closed` means that what it carried is no longer known to be current.

    `reason` is a short word from a bounded set (for metrics); `detail` is for people. A connection that was replaced by
    a newer one, which carries the same, closes as "rotated". `lost` names the instruments that a connection alone
    carried; None is all of the venue.
    """

    connection: str
    state: Literal["connecting", "open", "live", "closed"]
    reason: str = ""
    detail: str = ""
    lost: tuple[str, ...] | None = None


MarketEvent = (
    OptionQuote
    | VenueMark
    | UnderlyingPrice
    | InstrumentListed
    | InstrumentChanged
    | InstrumentExpired
    | SubscriptionRejected
    | FeedStatus
    | Trade
    | BookDepth
    | BookLost
    | VolatilityIndex
    | DeliveryPrice
    | VenueState
    | VenueClock
    | ChannelAlarm
)
AccountEvent = AccountStatus | Position | Portfolio | Order | Fill
AnyEvent = MarketEvent | AccountEvent
