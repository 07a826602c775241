"""A perpetual's interest, `perpetual.{instrument}.{interval}` (sheet 5.6, whose field names nobody has confirmed)."""

from __future__ import annotations

import msgspec

from pricer.adapters.deribit.instruments import VENUE
from pricer.adapters.deribit.tickers import Amount
from pricer.adapters.events import UnderlyingPrice
from pricer.adapters.fields import Fields
from pricer.adapters.instruments import Instrument
from pricer.adapters.wire import NAN
from pricer.clock import Instant


class Interest(msgspec.Struct, gc=False):
    """The fields we use; an interest may be negative."""

    timestamp: Amount | None = None
    interest: float | None = None


INTERESTS = Fields(Interest, signed=("interest",))
KNOWN_FIELDS = frozenset((*Interest.__struct_fields__, "index_price"))


def interest_event(interest: float, definition: Instrument, stamp: int | None, now: Instant) -> UnderlyingPrice:
    """The funding alone: the message has no price of the perpetual."""
    return UnderlyingPrice(
        venue=VENUE,
        received=now,
        exchange_ns=stamp,
        kind="perpetual",
        price_index=definition.price_index,
        price=NAN,
        instrument=definition.name,
        funding=interest,
    )
