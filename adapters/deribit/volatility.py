"""Deribit's volatility index, `deribit_volatility_index.{index}` (sheet 5.5), in percent on the wire."""

from __future__ import annotations

import msgspec

from pricer.adapters.deribit.instruments import VENUE
from pricer.adapters.deribit.tickers import Amount
from pricer.adapters.events import VolatilityIndex
from pricer.adapters.fields import Fields
from pricer.adapters.wire import NAN
from pricer.clock import Instant


class VolatilityMessage(msgspec.Struct, gc=False):
    """The fields we use."""

    timestamp: Amount | None = None
    volatility: Amount | None = None


VOLATILITIES = Fields(VolatilityMessage)
KNOWN_FIELDS = frozenset((*VolatilityMessage.__struct_fields__, "index_name"))


def fraction(message: VolatilityMessage) -> float:
    """The index as a fraction; NaN where there is none."""
    return (message.volatility or NAN) / 100.0


def volatility_event(index: str, level: float, stamp: int | None, now: Instant) -> VolatilityIndex:
    """What the channel says."""
    return VolatilityIndex(venue=VENUE, received=now, exchange_ns=stamp, price_index=index, volatility=level)
