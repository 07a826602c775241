"""Deribit's marks of a whole chain, `markprice.options.{index}` (sheet 5.4).

The first message lists every option of the index, later ones those that changed: each is an upsert. Volatilities are
fractions here, though the tickers' are percent. Marks have four decimals of a coin, so that far out of the money only
`iv` says anything: 0 is a real mark.
"""

from __future__ import annotations

import msgspec

from pricer.adapters.deribit.instruments import VENUE
from pricer.adapters.deribit.tickers import Amount
from pricer.adapters.events import VenueMark
from pricer.adapters.fields import Fields
from pricer.adapters.wire import NAN, or_nan
from pricer.clock import Instant


class Mark(msgspec.Struct, gc=False):
    """One option's, in the order of the wire."""

    timestamp: Amount | None = None
    iv: Amount | None = None
    instrument_name: str | None = None
    mark_price: Amount | None = None


MARKS = Fields(Mark, texts=("instrument_name",))
KNOWN_FIELDS = frozenset(Mark.__struct_fields__)


def mark_event(mark: Mark, name: str, stamp: int | None, now: Instant) -> VenueMark:
    """What one entry says; a volatility of 0 is "no value"."""
    return VenueMark(
        venue=VENUE,
        received=now,
        exchange_ns=stamp,
        instrument=name,
        mark=or_nan(mark.mark_price),
        mark_iv=mark.iv or NAN,
    )
