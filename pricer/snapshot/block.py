"""One expiry at one moment: what does not change from tick to tick, and what does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pricer.adapters.instruments import SliceKey
from pricer.clock import Instant
from pricer.snapshot.fields import FIELD_INDEX
from pricer.snapshot.underlying import UnderlyingValue

if TYPE_CHECKING:
    from pricer.surfaces.slices import SurfaceSlice

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SliceDefinition:
    """What does not change from tick to tick: the options of one expiry, sorted by strike, calls before puts."""

    key: SliceKey
    underlying: str
    inverse: bool
    names: tuple[str, ...]
    rows: Mapping[str, int]
    strike: Floats
    cp: Floats
    tick_size: Floats
    min_amount: Floats
    contract_size: Floats
    settlement_currency: str
    quote_currency: str

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class SliceBlock:
    """One expiry at one moment.

    `values` is float64 [len(VALUE_FIELDS), row]; `status` uint8 and `reasons` uint64 are [len(STATUS_PAIRS), row]; the
    quote instants are int64 [row], NO_TIME where no quote came. `model_valid_until_ns` (monotonic) bounds the model
    numbers of all rows, `quote_valid_until_ns` those made from a row's own quote.
    """

    definition: SliceDefinition
    values: Floats
    status: NDArray[np.uint8]
    reasons: NDArray[np.uint64]
    quote_mono_ns: Ints
    quote_received_ns: Ints
    quote_exchange_ns: Ints
    quote_valid_until_ns: Ints
    model_valid_until_ns: int
    forward: UnderlyingValue
    fitted: Instant | None
    fit: SurfaceSlice | None
    computed: Instant
    ttm: float
    version: int

    @property
    def key(self) -> SliceKey:
        return self.definition.key

    def column(self, name: str) -> Floats:
        """One of VALUE_FIELDS for all rows; read-only."""
        view: Floats = self.values[FIELD_INDEX[name]]
        return view
