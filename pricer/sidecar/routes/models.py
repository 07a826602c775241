"""The answers over HTTP as models: what OpenAPI publishes, and what tests hold real answers against.

Answers are written from columns, never through these. Fields may be added; who reads ignores those it does not know.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, create_model

from pricer.conventions import Dynamics, Reason, Status
from pricer.sidecar.history import EXPIRY_FIELDS, EXPIRY_STATUSES, OPTION_FIELDS, OPTION_STATUSES
from pricer.sidecar.valuation import FIELDS
from pricer.snapshot import STATUS_PAIRS, VALUE_FIELDS

StatusName = Literal["OK", "DEGRADED", "STALE", "INVALID"]
assert get_args(StatusName) == tuple(Status.__members__)
ReasonName = Annotated[str, Field(json_schema_extra={"enum": [str(reason.name) for reason in Reason]})]
Reasons = list[ReasonName]
Number = float | None
Instant = Annotated[int, Field(description="Nanoseconds: UTC, or the sidecar's monotonic clock (mono, valid_until).")]
MaybeInstant = int | None
Cp = Annotated[int, Field(description="+1 a call, -1 a put.", json_schema_extra={"enum": [1, -1]})]


class Record(BaseModel):
    """What all parts of answers share."""

    model_config = ConfigDict(extra="allow")


class Head(Record):
    """How every answer about an underlying begins."""

    seq: int = Field(description="Rises by one with each change of the underlying's chain.")
    session: str = Field(description="Another one is another process, whose `seq` begin anew.")
    venue: str
    underlying: str
    version: int = Field(description="The engine's snapshot.")
    computed_ns: Instant
    sent_ns: Instant
    mono_ns: Instant


class Price(Record):
    """An index, a perpetual or a forward."""

    value: Number
    source: str
    exchange_ns: MaybeInstant
    received_ns: MaybeInstant
    age_ns: MaybeInstant
    valid_until_ns: MaybeInstant
    status: StatusName
    reasons: Reasons


class Perpetual(Price):
    """The perpetual; `value` is its mid."""

    bid: Number
    ask: Number
    funding: Number


class Parity(Record):
    """What put-call parity of the quotes says of a forward."""

    value: Number
    error: Number
    gap: Number


class Forward(Price):
    """An expiry's forward."""

    parity: Parity | None
    error: Number = None


class Named(Price):
    """One price of /v1/forward."""

    name: str
    kind: Literal["index", "perpetual", "forward"]
    expiry_ns: MaybeInstant
    ttm: Number
    bid: Number
    ask: Number
    funding: Number
    basis: Number = Field(description="ln(F/index)/ttm.")
    parity: Parity | None
    error: Number


class Expiry(Record):
    """One expiry."""

    expiry_ns: Instant
    price_index: str
    settlement: Literal["inverse", "linear"]
    settlement_currency: str
    quote_currency: str
    options: int
    ttm: Number
    forward: Forward
    fitted_ns: MaybeInstant
    fit_age_ns: MaybeInstant
    valid_until_ns: MaybeInstant


class Svi(Record):
    """Raw SVI: w(k) = a + b·(rho·(k − m) + √((k − m)² + sigma²))."""

    a: float
    b: float
    rho: float
    m: float
    sigma: float


class Certificate(Record):
    """The evidence against arbitrage."""

    kind: str
    butterfly: bool
    calendar: bool
    min_g: Number
    at_k: Number
    min_calendar_gap: Number
    gap_at_k: Number


class Smile(Expiry):
    """One expiry's smile as parameters."""

    status: StatusName
    reasons: Reasons
    model: str | None
    params: Svi | None
    certificate: Certificate | None
    k_min: Number
    k_max: Number


class Feed(Record):
    """One connection."""

    venue: str
    connection: str
    state: str
    reason: str
    since_ns: Instant


class Convention(Record):
    """What the Greeks are."""

    greeks: str
    day_count: str
    dynamics: Dynamics
    theta: str
    value_currency: str


class Live(Record):
    """Does the loop turn?"""

    live: bool
    session: str


class Ready(Record):
    """May traffic be sent here?"""

    ready: bool
    missing: list[str]


class Summary(Record):
    """One underlying."""

    venue: str
    underlying: str
    expiries: int
    options: int
    index: Price


class Underlyings(Record):
    """What can be asked for."""

    underlyings: list[Summary]


class Surface(Head):
    """The smile of each expiry."""

    surface_version: int | None
    expiries: list[Smile]


class Forwards(Head):
    """Index, perpetual, and the forward of each expiry, in this order."""

    prices: list[Named]


_TEXTS, _NUMBERS, _INTS = (list[str], ...), (list[Number], ...), (list[MaybeInstant], ...)
_STATUSES, _REASONS = (list[StatusName], ...), (list[Reasons], ...)
_PREFIXES = [f"{name}_" for name in STATUS_PAIRS[:-1]]


def _model(name: str, doc: str, fields: dict[str, Any]) -> type[Record]:
    made: type[Record] = create_model(name, __base__=Record, __doc__=doc, **fields)
    return made


_IDENTITY = {"name": _TEXTS, "expiry_ns": (list[int], ...), "strike": (list[float], ...), "cp": (list[Cp], ...)}
_STATES = {
    f"{prefix}{kind}": column for prefix in _PREFIXES for kind, column in (("status", _STATUSES), ("reasons", _REASONS))
}
_OWN = {"status": _STATUSES, "reasons": _REASONS}

# A value column that was not asked for is absent, and so are its statuses.
ChainColumns = _model(
    "ChainColumns",
    "One list a column, and row i is the i-th entry of each.",
    _IDENTITY
    | {name: (list[Number] | None, None) for name in VALUE_FIELDS}
    | {name: (column[0] | None, None) for name, column in _STATES.items()}
    | _OWN,
)


class Chain(Head):
    """A chain, or a window of it."""

    type: Literal["snapshot"]
    channel: Literal["chain"]
    protocol: int
    stream: int = Field(description="Whose `seq` it is: a client may resume its subscription from here.")
    computed_age_ns: int
    reasons: Reasons
    index: Price
    perpetual: Perpetual
    feeds: list[Feed]
    expiries: list[Expiry]
    convention: Convention
    columns: ChainColumns  # type: ignore[valid-type] # made above


GridColumns = _model(
    "GridColumns",
    "The smile: log-moneyness, strike, volatility, total variance, density per unit of strike, one standard error.",
    {name: _NUMBERS for name in ("k", "strike", "iv", "w", "density", "band")},
)
QuoteColumns = _model(
    "QuoteColumns",
    "Every option of the expiry; role and weight say how its quote entered the fit.",
    {"name": _TEXTS, "strike": (list[float], ...), "cp": (list[Cp], ...), "k": _NUMBERS}
    | {name: _NUMBERS for name in ("bid_iv", "ask_iv", "mid_iv", "mark_iv", "iv", "weight")}
    | _STATES
    | _OWN
    | {"role": (list[str | None], ...)},
)


class SmileAnswer(Head, Smile):
    """One expiry's smile on a grid, and its quotes."""

    grid: GridColumns  # type: ignore[valid-type] # made above
    quotes: QuoteColumns  # type: ignore[valid-type] # made above


class Step(Record):
    """`value` is what `formula` gives of `inputs`; `published` is what the chain says, rounded."""

    symbol: str
    formula: str
    inputs: dict[str, float]
    value: float
    field: str | None = None
    published: Number = None


class Because(Record):
    """One reason."""

    reason: ReasonName
    means: str
    evidence: dict[str, Any]


class Why(Record):
    """Why something is not OK."""

    of: str
    status: StatusName
    because: list[Because]


class Explanation(Record):
    """How an option's numbers came about."""

    convention: dict[str, Any]
    forward: Forward
    time: dict[str, Any]
    surface: dict[str, Any] | None
    quotes: dict[str, Any]
    steps: list[Step]
    why: list[Why]


class _Instrument(Head):
    expiry: Expiry
    computed_age_ns: int
    index: Price
    perpetual: Perpetual
    feeds: list[Feed]
    convention: Convention
    explain: Explanation | None = None


Instrument: type[BaseModel] = create_model(
    "Instrument",
    __base__=_Instrument,
    __doc__="One option: every column of the chain, its expiry and its index.",
    **{"name": (str, ...), "expiry_ns": (int, ...), "strike": (float, ...), "cp": (Cp, ...)},
    **{name: (Number, ...) for name in VALUE_FIELDS},
    **{name: (StatusName if name.endswith("status") else Reasons, ...) for name in (*_STATES, "status", "reasons")},
)  # type: ignore[call-overload] # its fields are those of the chain

PriceColumns = _model(
    "PriceColumns",
    "One row a contract, in the order in which they were posted; `name` is null where it is not listed.",
    _IDENTITY
    | {"name": (list[str | None], ...), "ttm": _NUMBERS, "forward": _NUMBERS}
    | {name: _NUMBERS for name in FIELDS}
    | _OWN
    | {"valid_until_ns": _INTS, "settlement_currency": _TEXTS},
)


class Prices(Head):
    """Contracts with their numbers."""

    surface_version: int | None
    reasons: Reasons
    columns: PriceColumns  # type: ignore[valid-type] # made above


class AxesAnswer(Record):
    """The grid."""

    forward_moves: list[float]
    vol_shifts: list[float]
    days: list[float]


_CELL = {
    **{name: (list[float], ...) for name in ("forward_move", "vol_shift", "days")},
    **{name: _NUMBERS for name in ("value", "pnl", "value_settlement", "pnl_settlement")},
}
CellColumns = _model("CellColumns", "Totals, one row a cell: moves running slowest, days fastest.", _CELL)
PositionColumns = _model(
    "PositionColumns",
    "One row a cell and contract, contracts running fastest; `contract` is the index into `contracts`.",
    _CELL | {"contract": (list[int], ...)},
)
ScenarioContracts = _model(
    "ScenarioContracts",
    "The posted contracts as they are now.",
    _IDENTITY
    | {"name": (list[str | None], ...), "quantity": (list[float], ...)}
    | {name: _NUMBERS for name in ("forward", "iv", "price", "theo", "value", "value_settlement")}
    | _OWN
    | {"valid_until_ns": _INTS, "settlement_currency": _TEXTS},
)


class Scenario(Head):
    """Values in quote currency and, `_settlement`, in settlement currency; null where a contract has none."""

    surface_version: int | None
    reasons: Reasons
    dynamics: Dynamics
    axes: AxesAnswer
    contracts: ScenarioContracts  # type: ignore[valid-type] # made above
    cells: CellColumns  # type: ignore[valid-type] # made above
    columns: PositionColumns | None = None  # type: ignore[valid-type] # made above


_TIMES: dict[str, Any] = {"time_ns": (list[int], ...)}
ExpiryHistoryColumns = _model(
    "ExpiryHistoryColumns",
    "One expiry after the other, each in time.",
    _TIMES
    | {"expiry_ns": (list[int], ...)}
    | {each.name: _NUMBERS for each in EXPIRY_FIELDS}
    | dict.fromkeys(EXPIRY_STATUSES, _STATUSES),
)
OptionHistoryColumns = _model(
    "OptionHistoryColumns",
    "In time.",
    _TIMES | {each.name: _NUMBERS for each in OPTION_FIELDS} | dict.fromkeys(OPTION_STATUSES, _STATUSES),
)


class History(Record):
    """How every answer of /v1/history begins."""

    venue: str
    underlying: str
    session: str = Field(description="History is kept in memory: another session has begun anew.")
    interval_ns: int = Field(description="From one sample to the next.")
    kept_ns: int = Field(description="How far back samples are kept.")
    sent_ns: Instant
    mono_ns: Instant


class ExpiryHistory(History):
    """The last hour of an underlying's expiries."""

    columns: ExpiryHistoryColumns  # type: ignore[valid-type] # made above


class OptionHistory(History):
    """The last hour of one option."""

    instrument: str
    columns: OptionHistoryColumns  # type: ignore[valid-type] # made above


class Document(Record):
    """A JSON document."""


class SchemaFile(Record):
    """One published file."""

    name: str
    path: str = Field(description="Where it is served.")
    media_type: str
    bytes: int


class SchemaIndex(Record):
    """What is published of the protocol."""

    files: list[SchemaFile]


class Reloaded(Record):
    """What a reload did; keys as `section.key`."""

    applied: list[str]
    needs_restart: list[str] = Field(description="What has changed and waits for the next start.")
