"""What is posted: contracts to price, and contracts to carry through scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, FailFast, Field

from pricer.conventions import Dynamics, Status
from pricer.sidecar.contracts import BadContract, Contract, Placed, placed
from pricer.sidecar.hub import Hub
from pricer.sidecar.messages import Head, Message
from pricer.sidecar.moment import names_of, or_null
from pricer.sidecar.rounding import round_significant
from pricer.sidecar.routes import asked, models
from pricer.sidecar.routes.documented import documented
from pricer.sidecar.routes.edge import Budgets
from pricer.sidecar.routes.errors import Refusal
from pricer.sidecar.routes.formats import Format
from pricer.sidecar.routes.posted import Posted, PostedRoute, unread
from pricer.sidecar.routes.steps import InPieces, encoded_in_steps, nested
from pricer.sidecar.routes.tables import as_lists
from pricer.sidecar.routes.views import FRESH, View, Views, chosen
from pricer.sidecar.routes.worker import Workers
from pricer.sidecar.scenarios import Axes, cells_of, costs, positions_of, revalued
from pricer.sidecar.valuation import Check, columns_of, valued

MOST_CONTRACTS = 1000  # no more than the first that is not as it should be is looked at closely
# Each takes an interpolation of its own, a few milliseconds at worst.
MOST_NEW_EXPIRIES = 32
MOST_POINTS = 101  # of an axis
# A million values would be a body of 60 MB: whoever wants so many asks for totals, or in parts.
MOST_VALUES = 100_000

Name = Annotated[str, Field(min_length=1, max_length=64)]


class Question(BaseModel):
    """What all posted questions share."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    underlying: Name | None = Field(None, description="By default the configured one, where there is one.")
    venue: Name | None = Field(None, description="By default the configured one.")


class PriceRequest(Question):
    """Contracts to price."""

    contracts: Annotated[tuple[Contract, ...], Field(min_length=1, max_length=MOST_CONTRACTS, strict=False), FailFast()]


class PositionRequest(Contract):
    """A contract and how many of it; negative is short."""

    quantity: Annotated[float, Field(ge=-1e12, le=1e12)] = Field(1.0, description="Contracts; negative is short.")


Move = Annotated[float, Field(gt=-0.99, le=10.0)]
Shift = Annotated[float, Field(ge=-5.0, le=5.0)]
Days = Annotated[float, Field(ge=0.0, le=36_500.0)]
POINTS = Field(min_length=1, max_length=MOST_POINTS, strict=False)


class ScenarioRequest(Question):
    """Positions, and the grid to carry them through; the cells are all combinations of the three axes."""

    contracts: Annotated[
        tuple[PositionRequest, ...], Field(min_length=1, max_length=MOST_CONTRACTS, strict=False), FailFast()
    ]
    forward_moves: Annotated[tuple[Move, ...], POINTS, FailFast()] = Field(
        (0.0,), description="Relative moves of every forward: -0.1 is a fall of a tenth."
    )
    vol_shifts: Annotated[tuple[Shift, ...], POINTS, FailFast()] = Field(
        (0.0,), description="Added to every volatility: 0.01 is one point."
    )
    days: Annotated[tuple[Days, ...], POINTS, FailFast()] = Field((0.0,), description="Days that have passed.")
    dynamics: Dynamics | None = Field(
        None, description="What a strike's volatility does when the forward moves; that of the Greeks by default."
    )
    totals_only: bool = Field(False, description="Leave out the values of the single contracts.")


def valuations(hub: Hub, views: Views, budgets: Budgets) -> APIRouter:
    """The two paths."""
    router = APIRouter(prefix="/v1", tags=["valuation"], route_class=PostedRoute)
    # Reading a large body is short, and does not wait until what others asked for has been made.
    readers, workers = Workers(jobs=1, waiting=8), Workers(jobs=1, waiting=8)

    @router.post("/price", **documented(models.Prices, posted=True))
    async def price(
        request: Request,
        posted: Annotated[Posted[PriceRequest], unread(PriceRequest), Body()],
        format: asked.Format = None,
    ) -> Response:
        """Volatility, price, Greeks and delta forms of any contracts, from the published surface.

        A listed option has its numbers of the chain; other strikes and expiries are read off the surface, and say
        `EXTRAPOLATED` outside what was quoted. `price` is in quote currency, `theo` in settlement currency.
        """
        address = budgets.address_of(request.scope)
        budgets.take(address, posted.cost)
        body = await posted.read(request, readers)
        view = _view(hub, views, body)
        new = len(_new_expiries(view, body.contracts))
        if new > MOST_NEW_EXPIRIES:
            raise Refusal(422, f"contracts: {new} different expiries that are not listed; at most {MOST_NEW_EXPIRIES}")
        budgets.take(address, len(body.contracts) / 100 + 4 * new, posted.cost)
        form = chosen(request)
        encoding = form.encoding()

        def made(check: Check) -> bytes:
            return encoded_in_steps(_prices(view, _placed(view, body.contracts), check), encoding, check)

        return InPieces(await workers.run(request, made), 200, FRESH, form.media_type)

    @router.post("/scenario", **documented(models.Scenario, posted=True))
    async def scenario(
        request: Request,
        posted: Annotated[Posted[ScenarioRequest], unread(ScenarioRequest), Body()],
        format: asked.Format = None,
    ) -> Response:
        """Value and profit of positions over a grid of forward moves, volatility shifts and days passed.

        Each strike's volatility moves with the forward by the rule `dynamics`, then the shift is added. Values come in
        quote currency and in settlement currency (`_settlement`), for every contract and in total; `cells` are the
        totals, and CSV and Arrow hold one row a cell and contract, or a cell with `totals_only`.
        """
        address = budgets.address_of(request.scope)
        budgets.take(address, posted.cost)
        body = await posted.read(request, readers)
        view = _view(hub, views, body)
        axes = Axes(body.forward_moves, body.vol_shifts, body.days)
        values = axes.cells * len(body.contracts)
        if values > MOST_VALUES:
            raise Refusal(422, f"contracts times cells is {values}; at most {MOST_VALUES}", "too_many_values")
        dynamics = body.dynamics or view.snapshot.convention.dynamics
        budgets.take(address, costs(len(body.contracts), axes, dynamics), posted.cost)
        form = chosen(request)
        encoding = form.encoding()

        def made(check: Check) -> bytes:
            contracts = _placed(view, body.contracts)
            message = _scenario(view, contracts, body, axes, dynamics, form, check)
            return encoded_in_steps(message, encoding, check)

        return InPieces(await workers.run(request, made), 200, FRESH, form.media_type)

    return router


def _view(hub: Hub, views: Views, body: PriceRequest | ScenarioRequest) -> View:
    """What the contracts are looked up in."""
    underlying = body.underlying or (hub.underlyings[0] if len(hub.underlyings) == 1 else None)
    if underlying is None:
        raise Refusal(422, f"underlying: name one of {', '.join(sorted(hub.underlyings))}")
    return views.of(body.venue, underlying)


def _new_expiries(view: View, contracts: Sequence[Contract]) -> set[Any]:
    """Those that are not listed."""
    return {each.expiry for each in contracts} - {piece.block.key.expiry_ns for piece in view.picture.slices} - {None}


def _placed(view: View, contracts: Sequence[Contract]) -> list[Placed]:
    """Every contract in its place; `Refusal` names the one that has none."""
    try:
        return placed(view.picture, contracts)
    except BadContract as error:
        raise Refusal(422, str(error), "unknown_contract") from None


def _head(view: View) -> Head:
    surface = view.snapshot.surface
    return view.head() | {
        "surface_version": None if surface is None else surface.version,
        "reasons": list(view.snapshot.reasons.names),
    }


def _prices(view: View, contracts: list[Placed], check: Check) -> Message:
    return Message(_head(view), columns_of(valued(view.picture, contracts, check), view.digits))


def _scenario(
    view: View,
    contracts: list[Placed],
    body: ScenarioRequest,
    axes: Axes,
    dynamics: Dynamics,
    form: Format,
    check: Check,
) -> Message:
    """The answer as it stands in one format: one that holds one table has the cells as that, or not at all."""
    base = valued(view.picture, contracts, check)
    found = revalued(base, [each.quantity for each in body.contracts], axes, dynamics, check)
    check()
    cells = cells_of(found, axes, view.digits)
    described = columns_of(base, view.digits)
    shown = {name: described[name] for name in ("name", "expiry_ns", "strike", "cp", "forward", "iv", "price", "theo")}
    now = {"value": found.quote_now, "value_settlement": found.settlement_now}
    head = _head(view) | {
        "dynamics": dynamics,
        "axes": {"forward_moves": list(axes.moves), "vol_shifts": list(axes.shifts), "days": list(axes.days)},
        "contracts": as_lists(shown | {name: round_significant(each, view.digits) for name, each in now.items()})
        | {
            "quantity": [each.quantity for each in body.contracts],
            "status": [Status(code).name for code in base.status.tolist()],
            "reasons": [list(names_of(mask)) for mask in base.reasons.tolist()],
            "valid_until_ns": [or_null(ns) for ns in base.valid_until_ns.tolist()],
            "settlement_currency": described["settlement_currency"],
        },
    }
    if not form.tabular:
        head["cells"] = nested(cells, form.encoding(), check)
    if body.totals_only:
        return Message(head, cells if form.tabular else None)
    check()
    return Message(head, positions_of(found, axes, view.digits))
