"""The engine's result: immutable, consistent, and honest about its age.

A `Snapshot` is a tuple of `SliceBlock`s, one an expiry. Blocks that did not change are shared by reference between
snapshots; their arrays are read-only. Ages are measured from monotonic instants, so a snapshot grows old by itself:
past `valid_until` a row refuses its numbers without anybody's help.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricer.adapters.events import AccountStatus, DeliveryPrice, Portfolio, Position
from pricer.adapters.instruments import SliceKey
from pricer.clock import Clock, Instant
from pricer.conventions import NO_REASON, NO_TIME, RAW_GREEKS, GreekConvention, Reason, Status, ttm_years
from pricer.errors import NotTradable, UnknownInstrument

if TYPE_CHECKING:
    import pandas as pd

    from pricer.surfaces.slices import SurfaceSlice
    from pricer.surfaces.surface import VolSurface

# The quote family is made at the quote's own instant; a forward tick does not change it.
VENUE_FIELDS = ("bid", "ask", "bid_size", "ask_size", "mark", "mark_iv")
QUOTE_IV_FIELDS = ("bid_iv", "ask_iv", "mid_iv")
# The model family is made at the published surface, with the forward and the time of the snapshot.
GREEK_FIELDS = (
    "price",
    "delta",
    "gamma",
    "vega",
    "theta",
    "rho",
    "vanna",
    "volga",
    "charm",
    "veta",
    "speed",
    "zomma",
    "color",
    "ultima",
)
DELTA_FORMS = (
    "delta_premium_adjusted",
    "delta_coin",
    "delta_cash",
    "delta_cash_premium_adjusted",
    "delta_spot",
    "vega_coin",
)
MODEL_FIELDS = ("theo", *GREEK_FIELDS, *DELTA_FORMS, "iv_error")
VALUE_FIELDS = (*VENUE_FIELDS, *QUOTE_IV_FIELDS, "iv", *MODEL_FIELDS)
FIELD_INDEX = {name: i for i, name in enumerate(VALUE_FIELDS)}
FIRST_QUOTE_IV = FIELD_INDEX["bid_iv"]
FIRST_MODEL = FIELD_INDEX["theo"]

# The four status pairs of a row, in the order of their arrays; the last is the row's own.
STATUS_PAIRS = ("bid_iv", "ask_iv", "mid_iv", "model")
ROW_PAIR = STATUS_PAIRS.index("model")

OK_ONLY = frozenset({Status.OK})
# Two fields may be absent from a row that is otherwise complete: without a fresh index, and without vega.
_WHY_ABSENT = {"delta_spot": Reason.NO_UNDERLYING, "iv_error": Reason.LOW_VEGA}

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class ParityForward(NamedTuple):
    """What put-call parity of the quotes said of a venue's forward when it was last asked, a second ago at most.

    `value` and its standard `error`; `gap` is the venue's forward of that moment less `value`.
    """

    value: float
    error: float
    gap: float


@dataclass(frozen=True, slots=True)
class UnderlyingValue:
    """An index, a forward or a perpetual with what is known of it; `value` is NaN where nothing is.

    `bid`, `ask` and `funding` are a perpetual's; `error` is the standard error of a forward made by parity; `parity` is
    what stands beside a venue's forward, None where the quotes say nothing.
    """

    value: float = np.nan
    source: str = "none"
    exchange_ns: int | None = None
    received: Instant | None = None
    valid_until_ns: int = NO_TIME
    status: Status = Status.INVALID
    reasons: Reason = Reason.NO_UNDERLYING
    bid: float = np.nan
    ask: float = np.nan
    funding: float = np.nan
    error: float = np.nan
    parity: ParityForward | None = None

    def age_ns(self, now: Instant) -> int | None:
        """Nanoseconds since the last message that confirmed the value; None where none came."""
        return None if self.received is None else now.mono_ns - self.received.mono_ns


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


@dataclass(frozen=True, slots=True)
class Row:
    """One option of a snapshot. Plain attributes give a number only while it is `OK` by the reader's own clock.

    `row.delta` raises `NotTradable` otherwise, and so does `hasattr(row, "delta")`: only an unknown field is absent.
    `row.get("delta", allow={Status.OK, Status.DEGRADED})` gives None. Rows of one snapshot are equal where they are the
    same option; they can be hashed, copied and pickled.
    """

    snapshot: Snapshot
    block: SliceBlock
    index: int

    @property
    def name(self) -> str:
        return self.block.definition.names[self.index]

    @property
    def strike(self) -> float:
        return float(self.block.definition.strike[self.index])

    @property
    def cp(self) -> int:
        return int(self.block.definition.cp[self.index])

    @property
    def expiry_ns(self) -> int:
        return self.block.key.expiry_ns

    @property
    def status(self) -> Status:
        """The status of `iv`, `theo` and the Greeks, by the clock of the reader."""
        return self.status_of("iv")[0]

    @property
    def reasons(self) -> Reason:
        return self.status_of("iv")[1]

    @property
    def valid_until_ns(self) -> int:
        """The monotonic instant after which the model numbers of this row must not be used."""
        return self.block.model_valid_until_ns

    def status_of(self, name: str) -> tuple[Status, Reason]:
        """Status and reasons of one field, now. An unknown field is an AttributeError."""
        _check_field(name)
        pair = QUOTE_IV_FIELDS.index(name) if name in QUOTE_IV_FIELDS else ROW_PAIR
        absent = np.isnan(self.block.values[FIELD_INDEX[name], self.index])
        if name in VENUE_FIELDS:
            # What the venue said is a fact; it is either there and fresh, or not.
            status, reasons = (Status.INVALID, Reason.NO_QUOTE) if absent else (Status.OK, NO_REASON)
        else:
            status = Status(int(self.block.status[pair, self.index]))
            reasons = Reason(int(self.block.reasons[pair, self.index]))
            if absent and status != Status.INVALID:
                status, reasons = Status.INVALID, reasons | _WHY_ABSENT.get(name, Reason.MODEL_LIMIT)
        of_model = pair == ROW_PAIR and name not in VENUE_FIELDS
        limit = self.block.model_valid_until_ns if of_model else int(self.block.quote_valid_until_ns[self.index])
        if status < Status.STALE and self.snapshot.clock.now().mono_ns > limit:
            status, reasons = (
                Status.STALE,
                reasons | (Reason.UNDERLYING_STALE if of_model else Reason.QUOTE_STALE),
            )
        return status, reasons | self.snapshot.reasons

    def age_ns(self, name: str = "iv") -> int | None:
        """Age of the oldest input of a field, in nanoseconds; None where an input never arrived."""
        _check_field(name)
        now = self.snapshot.clock.now()
        if name in VENUE_FIELDS or name in QUOTE_IV_FIELDS:
            mono = int(self.block.quote_mono_ns[self.index])
            return None if mono == NO_TIME else now.mono_ns - mono
        forward_age = self.block.forward.age_ns(now)
        fitted = self.block.fitted
        if forward_age is None or fitted is None:
            return forward_age
        return max(forward_age, now.mono_ns - fitted.mono_ns)

    def get(self, name: str, allow: Collection[Status] = OK_ONLY) -> float | None:
        """The field where its status is in `allow`, else None. An unknown field is an AttributeError."""
        status, _ = self.status_of(name)
        value = float(self.block.values[FIELD_INDEX[name], self.index])
        return None if status not in allow or np.isnan(value) else value

    def __getattr__(self, name: str) -> float:
        value = self.get(name)
        if value is None:
            status, reasons = self.status_of(name)
            raise NotTradable(f"{name} of {self.name}", status, reasons, self.age_ns(name))
        return value

    def __repr__(self) -> str:
        return f"<Row {self.name} {self.status.name} {self.reasons.label}>".replace(" >", ">")


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """One connection as the engine last heard of it."""

    venue: str
    connection: str
    state: str
    reason: str
    since: Instant


@dataclass(frozen=True, slots=True)
class VenueHealth:
    """One venue as a whole: how many connections are up, whether it trades, and how its clock and ours compare.

    `state` is "open", "locked" or "maintenance"; `closed_indices` are those that alone are not open. `skew_ns` is our
    wall clock less the venue's, right to half of `round_trip_ns`; `lag_ns` how late the newest price of an underlying
    came. Each is None while it is not known: a price from before it was so says nothing of lateness.
    """

    venue: str
    state: str = "open"
    closed_indices: tuple[str, ...] = ()
    connections: int = 0
    skew_ns: int | None = None
    round_trip_ns: int | None = None
    lag_ns: int | None = None
    reasons: Reason = NO_REASON


@dataclass(frozen=True, slots=True)
class AccountView:
    """The account as the venue tells of it: positions by instrument, portfolios by currency, in the venue's numbers.

    `status` is that of all of them: STALE after a logout, and after a login until the first private message; INVALID,
    and empty, where the venue refuses the login.
    """

    status: Status
    reasons: Reason
    login: AccountStatus
    positions: Mapping[str, Position]
    portfolios: Mapping[str, Portfolio]


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

    @property
    def computed_ns(self) -> int:
        """When the numbers were computed, UTC."""
        return self.computed.wall_ns

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
            raise ValueError(
                f"forwards of which underlying? .of(underlying) takes one of {', '.join(self.underlyings)}"
            )
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
        definitions = [block.definition for block in self.blocks]
        out: dict[str, NDArray[Any]] = {
            "name": np.array([name for d in definitions for name in d.names], dtype=object),
            "expiry_ns": self._spread(lambda block: block.key.expiry_ns, np.int64),
            "strike": _joined([d.strike for d in definitions], np.float64),
            "cp": _joined([d.cp for d in definitions], np.float64).astype(np.int8),
        }
        values = np.concatenate([b.values for b in self.blocks], axis=1) if self.blocks else _no_rows(np.float64)
        out.update({name: values[i] for name, i in FIELD_INDEX.items()})
        out.update(self._ages())
        out.update(self._statuses())
        out["tick_size"] = _joined([d.tick_size for d in definitions], np.float64)
        out["min_amount"] = _joined([d.min_amount for d in definitions], np.float64)
        out["contract_size"] = _joined([d.contract_size for d in definitions], np.float64)
        out["settlement_currency"] = self._spread(lambda block: block.definition.settlement_currency, object)
        return out

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

    def _ages(self) -> dict[str, NDArray[Any]]:
        now = self.clock.now()
        quotes = _joined([block.quote_mono_ns for block in self.blocks], np.int64)
        return {
            "quote_age_ns": np.where(quotes == NO_TIME, NO_TIME, now.mono_ns - quotes),
            "forward_age_ns": self._spread(lambda block: _or_no_time(block.forward.age_ns(now)), np.int64),
            "fit_age_ns": self._spread(
                lambda block: NO_TIME if block.fitted is None else now.mono_ns - block.fitted.mono_ns, np.int64
            ),
        }

    def _statuses(self) -> dict[str, NDArray[Any]]:
        """The four pairs, made STALE where the reader's clock has passed `valid_until`."""
        if not self.blocks:
            status, reasons = _no_rows(np.uint8), _no_rows(np.uint64)
        else:
            status = np.concatenate([block.status for block in self.blocks], axis=1)
            reasons = np.concatenate([block.reasons for block in self.blocks], axis=1) | np.uint64(self.reasons)
            now = self.clock.now().mono_ns
            limits = np.empty(status.shape, np.int64)
            limits[:ROW_PAIR] = _joined([block.quote_valid_until_ns for block in self.blocks], np.int64)
            limits[ROW_PAIR] = self._spread(lambda block: block.model_valid_until_ns, np.int64)
            late = (now > limits) & (status < Status.STALE)
            status[late] = Status.STALE
            reasons[:ROW_PAIR][late[:ROW_PAIR]] |= np.uint64(Reason.QUOTE_STALE)
            reasons[ROW_PAIR][late[ROW_PAIR]] |= np.uint64(Reason.UNDERLYING_STALE)
        out: dict[str, NDArray[Any]] = {}
        for i, pair in enumerate(STATUS_PAIRS):
            prefix = "" if i == ROW_PAIR else f"{pair}_"
            out[f"{prefix}status"] = status[i]
            out[f"{prefix}reasons"] = reasons[i]
        return out

    def _spread(self, value_of: Any, dtype: Any) -> NDArray[Any]:
        """One value a block, repeated over its rows."""
        out = np.empty(len(self), dtype)
        start = 0
        for block in self.blocks:
            stop = start + len(block.definition)
            out[start:stop] = value_of(block)
            start = stop
        return out


def _check_field(name: str) -> None:
    if name not in FIELD_INDEX:
        raise AttributeError(f"no field {name!r}; the fields are {', '.join(VALUE_FIELDS)}")


def _joined(parts: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _no_rows(dtype: Any) -> NDArray[Any]:
    return np.empty((max(len(VALUE_FIELDS), len(STATUS_PAIRS)), 0), dtype)


def _or_no_time(age_ns: int | None) -> int:
    return NO_TIME if age_ns is None else age_ns
