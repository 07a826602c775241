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


class VenueMark(Event, frozen=True, kw_only=True, gc=False):
    """The venue's own mark, volatilities and Greeks in the venue's own scales; kept apart from ours."""

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


class SubscriptionRejected(Event, frozen=True, kw_only=True, gc=False):
    """The venue refuses data for one instrument; the others are unaffected. `code` is the venue's own, or a word."""

    instrument: str
    channel: str
    code: str


class FeedStatus(Event, frozen=True, kw_only=True, gc=False):
    """One connection's state. `closed` means that what it carried is no longer known to be current.

    `reason` is a short word from a bounded set (for metrics); `detail` is for people.
    """

    connection: str
    state: Literal["connecting", "open", "live", "closed"]
    reason: str = ""
    detail: str = ""


AnyEvent = (
    OptionQuote
    | VenueMark
    | UnderlyingPrice
    | InstrumentListed
    | InstrumentChanged
    | InstrumentExpired
    | SubscriptionRejected
    | FeedStatus
)
