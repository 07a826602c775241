"""One expiry's published smile on a grid, with its error band and density, and the quotes around it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Request, Response
from numpy.typing import NDArray

from pricer.conventions import Status
from pricer.expiries import expiry_iso
from pricer.sidecar.explain import Option, selection_is_of
from pricer.sidecar.messages import Columns, Head, Message
from pricer.sidecar.moment import definition, expiry, names_of, or_none
from pricer.sidecar.rounding import round_significant
from pricer.sidecar.routes import asked, models
from pricer.sidecar.routes.documented import documented
from pricer.sidecar.routes.errors import Refusal
from pricer.sidecar.routes.surface import certificate, model_name
from pricer.sidecar.routes.tables import as_lists
from pricer.sidecar.routes.views import View, Views, answer
from pricer.sidecar.slices import Slice, smile_status
from pricer.snapshot import FIELD_INDEX, QUOTE_IV_FIELDS, ROW_PAIR
from pricer.surfaces.quotes import WEIGHT, Role
from pricer.surfaces.slices import SurfaceSlice

# A grid reaches so many standard deviations, or the outermost listed strikes where those are nearer.
DEVIATIONS = 6.0
# Where an expiry has hardly any time left, so much log-moneyness is still shown.
LEAST_REACH = 0.01

Expiry = Annotated[
    str,
    Path(min_length=1, max_length=40, description="2026-12-25, 25DEC26 or 2026-12-25T08:00Z.", examples=["25DEC26"]),
]
Points = Annotated[int, Query(ge=2, le=1001, description="Points of the grid.")]
Table = Annotated[Literal["grid", "quotes"], Query(description="Which of the two tables, in CSV and Arrow.")]


def smiles(views: Views) -> APIRouter:
    """The path."""
    router = APIRouter(prefix="/v1", tags=["surface"])

    @router.get("/smile/{underlying}/{expiry}", **documented(models.SmileAnswer))
    async def smile(
        request: Request,
        underlying: asked.Underlying,
        expiry: Expiry,
        points: Points = 101,
        table: Table = "grid",
        venue: asked.Venue = None,
        format: asked.Format = None,
    ) -> Response:
        """An expiry's smile as published: k, strike, iv, w, density and error band on a grid; and its quotes.

        `band` is one standard error of iv. The smile is that of the chain's numbers: at a listed strike its iv is the
        option's. A quote's `role` and `weight` say how it entered the fit.
        """
        view = views.of(venue, underlying)
        piece = slice_of(view, expiry)
        tables = {"grid": grid, "quotes": quotes}
        what = ("smile", piece.block.key.expiry_ns, points)
        return answer(
            request,
            view,
            what,
            lambda: Message(smile_body(view, piece, points)),
            lambda: Message(view.head(), tables[table](view, piece, points)),
            table_name=table,
        )

    return router


def slice_of(view: View, text: str) -> Slice:
    """The slice of an expiry; `Refusal` 404 names those there are."""
    expiry_ns = asked.expiry_asked(text)
    for piece in view.picture.slices:
        if piece.block.key.expiry_ns == expiry_ns:
            return piece
    there = ", ".join(expiry_iso(piece.block.key.expiry_ns) for piece in view.picture.slices) or "none yet"
    raise Refusal(404, f"no expiry {expiry_iso(expiry_ns)} of {view.underlying}; there are {there}", "unknown_expiry")


def smile_body(view: View, piece: Slice, points: int) -> Head:
    """All of it."""
    block, fit = piece.block, published(piece)
    status, reasons = smile_status(piece.status, piece.reasons)
    body = view.head() | definition(block) | expiry(block, view.now, view.digits)
    return body | {
        "status": status.name,
        "reasons": list(reasons.names),
        "model": None if fit is None else model_name(fit),
        "params": None if fit is None or fit.svi is None else fit.svi.params._asdict(),
        "certificate": None if fit is None else certificate(fit),
        "k_min": None if fit is None else or_none(fit.k_min),
        "k_max": None if fit is None else or_none(fit.k_max),
        "grid": as_lists(grid(view, piece, points)),
        "quotes": quote_lists(view, piece),
    }


def published(piece: Slice) -> SurfaceSlice | None:
    """The smile at the forward and time of the slice's numbers; None where there is none."""
    block = piece.block
    if block.fit is None or block.fit.smile is None or not (block.forward.value > 0.0 and block.ttm > 0.0):
        return None
    return block.fit.at(block.forward.value, block.ttm)


def grid(view: View, piece: Slice, points: int) -> Columns:
    """k, strike, iv, w, density and band; no rows where there is no smile."""
    fit = published(piece)
    if fit is None or fit.smile is None:
        return {name: np.empty(0) for name in ("k", "strike", "iv", "w", "density", "band")}
    k = _reach(piece, fit, points)
    strike = fit.forward * np.exp(k)
    w = np.asarray(fit.smile.total_variance(k))
    found = {
        "k": k,
        "strike": strike,
        "iv": np.sqrt(np.where(w > 0.0, w, np.nan) / fit.ttm),
        "w": w,
        "density": np.asarray(fit.smile.density(strike)),
        "band": np.asarray(fit.band(k)),
    }
    return {name: round_significant(_finite(column), view.digits) for name, column in found.items()}


def _finite(column: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isfinite(column), column, np.nan)


def _reach(piece: Slice, fit: SurfaceSlice, points: int) -> NDArray[np.float64]:
    """Evenly spaced in k, over the listed strikes as far as a price can come."""
    assert fit.smile is not None
    reach = max(DEVIATIONS * math.sqrt(max(float(fit.smile.total_variance(0.0)), 0.0)), LEAST_REACH)
    listed = np.log(piece.block.definition.strike / fit.forward)
    low, high = max(float(listed.min()), -reach), min(float(listed.max()), reach)
    return np.linspace(min(low, -LEAST_REACH), max(high, LEAST_REACH), points)


def quotes(view: View, piece: Slice, points: int = 0) -> Columns:
    """Every option's quoted volatilities with their statuses, and how each entered the fit."""
    block, of = piece.block, piece.block.definition
    forward = block.forward.value
    with np.errstate(invalid="ignore"):
        k = np.log(of.strike / (forward if forward > 0.0 else np.nan))
    out: dict[str, Any] = {
        "name": list(of.names),
        "strike": of.strike,
        "cp": of.cp.astype(np.int8),
        "k": round_significant(k, view.digits),
    }
    for name in (*QUOTE_IV_FIELDS, "mark_iv", "iv"):
        out[name] = piece.values[FIELD_INDEX[name]]
        if name in QUOTE_IV_FIELDS or name == "iv":
            pair = QUOTE_IV_FIELDS.index(name) if name in QUOTE_IV_FIELDS else ROW_PAIR
            prefix = f"{name}_" if name in QUOTE_IV_FIELDS else ""
            out[f"{prefix}status"], out[f"{prefix}reasons"] = piece.status[pair], piece.reasons[pair]
    role, weight = _entered(view, piece)
    return out | {"role": role, "weight": weight}


def _entered(view: View, piece: Slice) -> tuple[list[str | None], NDArray[np.float64]]:
    """Each quote's role in the fit and its weight; None where that is not known."""
    fit, rows = piece.block.fit, len(piece.block.definition)
    weight = np.full(rows, np.nan)
    if fit is None or not rows or not selection_is_of(Option(view.snapshot, piece, 0, view.digits), fit):
        return [None] * rows, weight
    weight[fit.selection.row] = fit.selection.observations[:, WEIGHT]
    return [Role(int(role)).name.lower() for role in fit.selection.role], round_significant(weight, view.digits)


def quote_lists(view: View, piece: Slice) -> dict[str, list[Any]]:
    """The quotes as plain lists: names for statuses and reasons, None for what there is not."""
    columns = quotes(view, piece)
    plain = {name: column for name, column in columns.items() if not name.endswith(("status", "reasons"))}
    out: dict[str, list[Any]] = as_lists(plain)
    for name, column in columns.items():
        if name.endswith("status"):
            out[name] = status_names(column)
        elif name.endswith("reasons"):
            out[name] = [list(names_of(mask)) for mask in np.asarray(column).tolist()]
    return {name: out[name] for name in columns}


def status_names(column: Any) -> list[str]:
    """Statuses by name."""
    return [Status(code).name for code in np.asarray(column).tolist()]
