"""What can be quoted: the venue's own definition of an instrument, normalised."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

Kind = Literal["option", "future", "perpetual"]
Settlement = Literal["inverse", "linear"]


class SliceKey(NamedTuple):
    """All options of one expiry that share one forward."""

    venue: str
    price_index: str
    expiry_ns: int


class TickStep(msgspec.Struct, frozen=True):
    """From `above_price` upward prices are multiples of `tick_size`."""

    above_price: float
    tick_size: float


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One listed contract. Keyed by (venue, name), never by name alone.

    `underlying` is the family a user asks for: "BTC" is the coin-settled family of index `btc_usd`, "BTC_USDC" a family
    of its own. Prices are in `quote_currency` per one coin of the base; strikes in `counter_currency`.
    For futures and perpetuals `strike` is NaN and `cp` is 0; a perpetual has no `expiry_ns` (None).
    `instance` is the venue's own number of this contract, empty where it gives none: a name may be used again.
    """

    venue: str
    name: str
    kind: Kind
    underlying: str
    price_index: str
    expiry_ns: int | None
    strike: float
    cp: int
    settlement: Settlement
    quote_currency: str
    counter_currency: str
    settlement_currency: str
    contract_size: float
    min_amount: float
    tick_size: float
    tick_steps: tuple[TickStep, ...] = ()
    state: str = "open"
    instance: str = ""

    def tick_at(self, price: float) -> float:
        """The price step that applies at `price`."""
        tick = self.tick_size
        for step in self.tick_steps:
            if price >= step.above_price:
                tick = step.tick_size
        return tick

    def is_another_than(self, other: Instrument) -> bool:
        """Whether the two are different contracts under one name, by the venue's own numbers."""
        return bool(self.instance and other.instance) and self.instance != other.instance

    @property
    def slice_key(self) -> SliceKey | None:
        """Where an option belongs; None for anything without an expiry."""
        return None if self.expiry_ns is None else SliceKey(self.venue, self.price_index, self.expiry_ns)
