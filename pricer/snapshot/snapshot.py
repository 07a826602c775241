"""The engine's result: immutable, consistent, and honest about its age.

A `Snapshot` is a tuple of `SliceBlock`s, one an expiry. Blocks that did not change are shared by reference between
snapshots; their arrays are read-only. Ages are measured from monotonic instants, so a snapshot grows old by itself:
past `valid_until` a row refuses its numbers without anybody's help.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pricer.adapters.events import DeliveryPrice
from pricer.clock import NS_PER_SECOND, Clock, Instant
from pricer.conventions import NO_REASON, RAW_GREEKS, GreekConvention, Reason, ttm_years
from pricer.errors import UnknownInstrument
from pricer.snapshot.block import SliceBlock
from pricer.snapshot.columns import columns_of
from pricer.snapshot.health import AccountView, FeedHealth, VenueHealth
from pricer.snapshot.row import Row
from pricer.snapshot.underlying import UnderlyingValue

if TYPE_CHECKING:
    import pandas as pd

    from pricer.surfaces.slices import SurfaceSlice
    from pricer.surfaces.surface import VolSurface


# An engine publishes silence too, four times a second: one that has published nothing for so long stands.
SILENT_NS = 2 * NS_PER_SECOND


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything the engine knows at `computed`, consistent under one `version`.

    `snapshot["BTC-27DEC26-100000-C"].delta` is a number that may be traded on, or an exception that says why not.
    """

    version: int
    computed: Instant
    blocks: tuple[SliceBlock, ...]
    indices: Mapping[str, UnderlyingValue]
    perpetuals: Mapping[str, UnderlyingValue]
    surfaces: Mapping[str, VolSurface]
    feeds: tuple[FeedHealth, ...]
    clock: Clock = field(repr=False)
    # Informing reasons that go with every row: REPLAY, CONFLATED, OVERLOADED.
    reasons: Reason = NO_REASON
    convention: GreekConvention = RAW_GREEKS
    # The surfaces before smoothing in time; the same values as `surfaces` where there is none.
    raw_surfaces: Mapping[str, VolSurface] = field(default_factory=dict)
    # By venue.
    health: Mapping[str, VenueHealth] = field(default_factory=dict)
    # By price index: the venue's own volatility index, and what the next expiry settles at as far as it is known.
    volatility_indices: Mapping[str, UnderlyingValue] = field(default_factory=dict)
    settlements: Mapping[str, DeliveryPrice] = field(default_factory=dict)
    # None where nobody has logged in. Not narrowed by `of`.
    account: AccountView | None = field(default=None, repr=False)
    # Of a sidecar's client: rises where what came before does not lead up to this without doubt, as after a gap, a
    # reconnection or a restart of the sidecar. `pricer.HedgeGate` waits after each.
    breaks: int = 0
    # Of a sidecar's client: the fields that `connect(columns=...)` left out: nothing is known of them.
    left_out: frozenset[str] = frozenset()

    @property
    def computed_ns(self) -> int:
        """When the numbers were computed, UTC."""
        return self.computed.wall_ns

    def is_silent(self, now: Instant, pace_ns: int = 0) -> bool:
        """The last word of an engine that stands; `pace_ns` is how long it waits after each by choice.

        What it kept beside its snapshots, as books and trades, is no more to be relied on either.
        """
        return now.mono_ns - self.computed.mono_ns > SILENT_NS + pace_ns

    @cached_property
    def _rows(self) -> dict[str, tuple[SliceBlock, int]]:
        return {name: (block, i) for block in self.blocks for name, i in block.definition.rows.items()}

    def __getitem__(self, name: str) -> Row:
        try:
            block, index = self._rows[name]
        except KeyError:
            raise UnknownInstrument(f"no instrument {name!r} among the {len(self._rows)} of this snapshot") from None
        return Row(self, block, index)

    def __repr__(self) -> str:
        of = ", ".join(self.underlyings) or "nothing yet"
        return f"<Snapshot {self.version}: {len(self)} options of {of}>"

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __len__(self) -> int:
        return sum(len(block.definition) for block in self.blocks)

    def __iter__(self) -> Iterator[Row]:
        for block in self.blocks:
            for index in range(len(block.definition)):
                yield Row(self, block, index)

    @property
    def underlyings(self) -> tuple[str, ...]:
        """The underlyings in this snapshot, sorted."""
        return tuple(sorted({block.definition.underlying for block in self.blocks}))

    def of(self, underlying: str, venue: str | None = None) -> Snapshot:
        """The same moment, one underlying (and one venue); empty where there is none."""
        blocks = tuple(
            block
            for block in self.blocks
            if block.definition.underlying == underlying and venue in (None, block.key.venue)
        )
        indices = {block.key.price_index for block in blocks}
        return replace(
            self,
            blocks=blocks,
            indices={k: v for k, v in self.indices.items() if k in indices},
            perpetuals={k: v for k, v in self.perpetuals.items() if k in indices},
            surfaces={k: v for k, v in self.surfaces.items() if k in indices},
            raw_surfaces={k: v for k, v in self.raw_surfaces.items() if k in indices},
            volatility_indices={k: v for k, v in self.volatility_indices.items() if k in indices},
            settlements={k: v for k, v in self.settlements.items() if k in indices},
        )

    @property
    def index(self) -> UnderlyingValue:
        """The spot index; with several underlyings use `.of(underlying).index`."""
        return self._only(self.indices, "index") or UnderlyingValue()

    @property
    def perpetual(self) -> UnderlyingValue:
        """The perpetual's bid, ask and funding; `value` is its mid."""
        return self._only(self.perpetuals, "perpetual") or UnderlyingValue()

    @cached_property
    def surface(self) -> VolSurface | None:
        """The published volatility surface at the forwards and time of this snapshot; None until one is fitted.

        Smiles are fixed in log-moneyness, so forwards and time move them along; that is done here, for who asks, and
        the certificates are made anew. `version` rises with each change of the surface; a forward tick is none.
        """
        return self._as_published(self._only(self.surfaces, "surface"))

    @cached_property
    def raw_surface(self) -> VolSurface | None:
        """`surface` before smoothing in time; the same where smoothing is off."""
        return self._as_published(self._only(self.raw_surfaces, "raw_surface"))

    @property
    def smiles(self) -> dict[int, SurfaceSlice]:
        """The slices of `surface` by `expiry_ns`; empty while there is none."""
        living, surface = self._living, self.surface
        if surface is None or len(living) != len(surface.slices):
            return {}
        return {block.key.expiry_ns: part for block, part in zip(living, surface.slices, strict=True)}

    @property
    def _living(self) -> list[SliceBlock]:
        return [block for block in self.blocks if block.fit is not None and not block.forward.reasons & Reason.EXPIRED]

    def _as_published(self, surface: VolSurface | None) -> VolSurface | None:
        living = self._living
        if surface is None or len(living) != len(surface.slices):
            return surface
        # One instant for all: a block that nothing touched was priced up to a second ago.
        ttms = [ttm_years(block.key.expiry_ns, self.computed.wall_ns) for block in living]
        return replace(surface.at(ttms, [block.forward.value for block in living]), version=surface.version)

    @property
    def forwards(self) -> dict[int, UnderlyingValue]:
        """By `expiry_ns`, in order of expiry; with several underlyings use `.of(underlying).forwards`."""
        if len(self.underlyings) > 1:
            raise self._ambiguous("forwards")
        return {block.key.expiry_ns: block.forward for block in self.blocks}

    def _ambiguous(self, what: str) -> ValueError:
        return ValueError(f"{what} of which underlying? .of(underlying) takes one of {', '.join(self.underlyings)}")

    def _only(self, values: Mapping[str, Any], what: str) -> Any:
        if len(values) > 1:
            raise self._ambiguous(what)
        return next(iter(values.values()), None)

    def columns(self) -> dict[str, NDArray[Any]]:
        """All rows as columns: raw values beside their statuses, ages at the moment of the call.

        Arrays are fresh copies of length `len(self)`. Absent values are NaN; absent ages are NO_TIME.
        """
        return columns_of(self)

    def to_pandas(self) -> pd.DataFrame:
        """`columns()` as a DataFrame indexed by name; statuses and reasons as integers beside their values."""
        columns = self.columns()  # first: loading pandas takes about as long as a forward lives
        import pandas as pd

        return pd.DataFrame(columns).set_index("name")

    def digest(self) -> str:
        """SHA-256 over every published number, status and instant. Equal inputs give equal digests on one platform.

        `REPLAY`, the account and the reader's clock are left out.
        """
        sha = hashlib.sha256(f"{self.version} {self.computed.wall_ns} {self.computed.mono_ns}".encode())
        for block in self.blocks:
            sha.update(repr((block.key, block.definition.names, block.forward, block.fitted, block.version)).encode())
            for array in (block.values, block.status, block.reasons, block.quote_mono_ns, block.quote_exchange_ns):
                sha.update(array.tobytes())
        sha.update(repr((dict(self.indices), dict(self.perpetuals), self.feeds)).encode())
        sha.update(repr((dict(self.health), dict(self.volatility_indices), dict(self.settlements))).encode())
        return sha.hexdigest()
