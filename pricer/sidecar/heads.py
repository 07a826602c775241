"""The fields of a chain's messages as a client may rely on them: checked once, unknown ones left out.

A peer that sends something else gets a `ProtocolError` here, and nothing behind this point has to ask again.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from pricer.clock import Instant
from pricer.conventions import NO_REASON, NO_TIME, Dynamics, Reason, Status
from pricer.errors import ProtocolError
from pricer.sidecar.encodings.columns import mask_of
from pricer.sidecar.messages import Head
from pricer.sidecar.table import FURTHEST_NS
from pricer.snapshot import FeedHealth, ParityForward, UnderlyingValue

Ns = Annotated[int, Meta(ge=-FURTHEST_NS, le=FURTHEST_NS)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Word = Annotated[str, Meta(max_length=256)]
Names = Annotated[list[Word], Meta(max_length=64)]
StatusName = Literal["OK", "DEGRADED", "STALE", "INVALID"]
Crc = Annotated[int, Meta(ge=0, le=2**32 - 1)]


class Parity(msgspec.Struct, frozen=True):
    value: float | None
    error: float | None
    gap: float | None


class Price(msgspec.Struct, frozen=True):
    """An index, a forward or a perpetual."""

    value: float | None
    source: Word
    exchange_ns: Ns | None
    received_ns: Ns | None
    age_ns: Ns | None
    valid_until_ns: Ns | None
    status: StatusName
    reasons: Names
    bid: float | None = None
    ask: float | None = None
    funding: float | None = None
    error: float | None = None
    parity: Parity | None = None

    def underlying(self, now_mono: int) -> UnderlyingValue:
        """With its instants on the sidecar's clock, `now_mono` being that of the message."""
        parity = self.parity
        known = self.received_ns is not None and self.age_ns is not None
        return UnderlyingValue(
            value=_or_nan(self.value),
            source=self.source,
            exchange_ns=self.exchange_ns,
            received=Instant(self.received_ns or 0, now_mono - (self.age_ns or 0)) if known else None,
            valid_until_ns=instant_from(self.valid_until_ns),
            status=Status[self.status],
            reasons=reasons_from(self.reasons),
            bid=_or_nan(self.bid),
            ask=_or_nan(self.ask),
            funding=_or_nan(self.funding),
            error=_or_nan(self.error),
            parity=None if parity is None else ParityForward(*map(_or_nan, (parity.value, parity.error, parity.gap))),
        )


class Feed(msgspec.Struct, frozen=True):
    venue: Word
    connection: Word
    state: Word
    reason: Word
    since_ns: Ns

    def health(self) -> FeedHealth:
        return FeedHealth(self.venue, self.connection, self.state, self.reason, Instant(self.since_ns, 0))


class ExpiryMoment(msgspec.Struct, frozen=True):
    """What every message says of an expiry."""

    expiry_ns: Ns
    ttm: float | None
    forward: Price
    fitted_ns: Ns | None
    fit_age_ns: Ns | None
    valid_until_ns: Ns | None

    def fitted(self, now_mono: int) -> Instant | None:
        if self.fitted_ns is None or self.fit_age_ns is None:
            return None
        return Instant(self.fitted_ns, now_mono - self.fit_age_ns)


class Expiry(ExpiryMoment, frozen=True, kw_only=True):
    """What a snapshot says of it besides."""

    price_index: Word
    settlement: Word
    settlement_currency: Word
    quote_currency: Word
    options: Count


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a `delta`."""

    venue: Word
    underlying: Word
    version: Count
    computed_ns: Ns
    computed_age_ns: Ns
    mono_ns: Ns
    reasons: Names
    index: Price
    perpetual: Price
    feeds: Annotated[list[Feed], Meta(max_length=256)]
    expiries: Annotated[list[ExpiryMoment], Meta(max_length=1000)]


class Convention(msgspec.Struct, frozen=True):
    dynamics: Dynamics = "sticky_strike"


class Whole(Moment, frozen=True, kw_only=True):
    """The head of a `snapshot`."""

    expiries: Annotated[list[Expiry], Meta(max_length=1000)]  # type: ignore[assignment]  # each says more
    convention: Convention = Convention()


class About(msgspec.Struct, frozen=True):
    """What the rules of a stream look at, in whichever message."""

    type: Word
    seq: Count | None = None
    channel: Word | None = None
    venue: Word | None = None
    underlying: Word | None = None
    instrument: Word | None = None
    session: Word | None = None
    stream: Count | None = None
    protocol: Count | None = None
    mono_ns: Ns | None = None
    crc32: Crc | None = None
    first: Count | None = msgspec.field(name="from", default=None)
    last: Count | None = msgspec.field(name="to", default=None)
    code: Word | None = None
    message: Annotated[str, Meta(max_length=4096)] | None = None


Kind = TypeVar("Kind")


def read(head: Head, kind: type[Kind]) -> Kind:
    """A message's head as `kind`; `ProtocolError` where it is none."""
    try:
        return msgspec.convert(head, kind)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        raise ProtocolError(f"the sidecar sent a {str(head.get('type'))[:40]} that is none: {error}") from None


def reasons_from(names: list[str]) -> Reason:
    """A set of reasons from their names; a newer sidecar's names that we do not know are left out."""
    return Reason(mask_of(names)) if names else NO_REASON


def instant_from(ns: int | None) -> int:
    """An instant, NO_TIME for null."""
    return NO_TIME if ns is None else ns


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
