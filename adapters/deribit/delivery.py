"""What Deribit's expiries settle at (sheet 2, 5.1 and 5.5).

`estimated_expiration_price.{index}` repeats the index until the settlement window (07:30 to 08:00 UTC), in which it
turns into the average so far: only that is news. The final price stands in the tickers of the expired instruments,
whose `state` is then "closed"; the first of them tells it for all.
"""

from __future__ import annotations

import msgspec

from pricer.adapters.deribit.instruments import VENUE, settlement_near
from pricer.adapters.deribit.tickers import Amount
from pricer.adapters.events import DeliveryPrice
from pricer.adapters.fields import Fields
from pricer.clock import NS_PER_SECOND, Instant
from pricer.remembered import Remembered

# Of this many expiries it is remembered that their delivery price was told.
MOST_EXPIRIES = 256
# Estimates are made in the last half hour; a countdown of days is another unit.
LONGEST_COUNTDOWN_S = 7 * 86_400


class Expiration(msgspec.Struct, gc=False):
    """The fields of `estimated_expiration_price.*`; `seconds` counts down to the next expiry."""

    price: Amount | None = None
    seconds: Amount | None = None
    is_estimated: bool | None = None


class Delivered(msgspec.Struct, gc=False):
    """What an expired instrument's ticker says of its end."""

    timestamp: Amount | None = None
    delivery_price: Amount | None = None


EXPIRATIONS = Fields(Expiration, flags=("is_estimated",))
DELIVERED = Fields(Delivered)
KNOWN_FIELDS = frozenset((*Expiration.__struct_fields__, "left_ticks", "total_ticks"))


def estimate(index: str, message: Expiration, now: Instant) -> DeliveryPrice | None:
    """The average so far; None outside the settlement window, or without a price."""
    if message.is_estimated is not True or not message.price:
        return None
    seconds = message.seconds
    expiry_ns = None
    if seconds is not None and seconds <= LONGEST_COUNTDOWN_S:
        expiry_ns = settlement_near(now.wall_ns + int(seconds * NS_PER_SECOND))
    return DeliveryPrice(
        venue=VENUE, received=now, price_index=index, price=message.price, estimated=True, expiry_ns=expiry_ns
    )


class Deliveries:
    """The final prices, each told once."""

    def __init__(self) -> None:
        self._told = Remembered[tuple[str, int]](MOST_EXPIRIES)

    def is_known(self, index: str, expiry_ns: int) -> bool:
        """Whether this expiry's price was told."""
        return (index, expiry_ns) in self._told

    def final(self, index: str, expiry_ns: int, price: float, stamp: int | None, now: Instant) -> DeliveryPrice:
        """The price that an expired ticker names."""
        self._told.add((index, expiry_ns))
        return DeliveryPrice(
            venue=VENUE,
            received=now,
            exchange_ns=stamp,
            price_index=index,
            price=price,
            estimated=False,
            expiry_ns=expiry_ns,
        )
