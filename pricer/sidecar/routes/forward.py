"""The index, the perpetual and the forward of each expiry, with sources, ages and what put-call parity says."""

from __future__ import annotations

import math

from fastapi import APIRouter, Request, Response

from pricer.expiries import expiry_iso
from pricer.sidecar import moment
from pricer.sidecar.messages import Head
from pricer.sidecar.rounding import rounded
from pricer.sidecar.routes import asked, models
from pricer.sidecar.routes.documented import documented
from pricer.sidecar.routes.views import View, Views, answer_of_records
from pricer.snapshot import SliceBlock


def forwards(views: Views) -> APIRouter:
    """The path."""
    router = APIRouter(prefix="/v1", tags=["forward"])

    @router.get("/forward/{underlying}", **documented(models.Forwards))
    async def forward(
        request: Request, underlying: asked.Underlying, venue: asked.Venue = None, format: asked.Format = None
    ) -> Response:
        """The index, the perpetual and each expiry's forward: value, source, age, status, basis, parity beside it."""
        return answer_of_records(request, views.of(venue, underlying), "forward", View.head, "prices", records)

    return router


def records(view: View) -> list[Head]:
    """One record a price."""
    snapshot, now, digits = view.snapshot, view.now, view.digits
    nothing = {"bid": None, "ask": None, "funding": None, "expiry_ns": None, "ttm": None, "basis": None}
    nothing |= {"error": None, "parity": None}
    perpetual = snapshot.perpetual
    sides = {name: rounded(getattr(perpetual, name), digits) for name in ("bid", "ask", "funding")}
    return [
        {"name": "index", "kind": "index", **moment.price(snapshot.index, now, digits), **nothing},
        {"name": "perpetual", "kind": "perpetual", **moment.price(perpetual, now, digits), **nothing, **sides},
        *(_completed(_forward(view, piece.block), nothing) for piece in view.picture.slices),
    ]


def _forward(view: View, block: SliceBlock) -> Head:
    return {
        "name": expiry_iso(block.key.expiry_ns),
        "kind": "forward",
        "expiry_ns": block.key.expiry_ns,
        "ttm": rounded(block.ttm, view.digits),
        "basis": rounded(basis(view.snapshot.index.value, block.forward.value, block.ttm), view.digits),
        **moment.forward(block.forward, view.now, view.digits),
    }


def _completed(record: Head, nothing: Head) -> Head:
    """The same fields in every record."""
    return {**record, **{name: value for name, value in nothing.items() if name not in record}}


def basis(index: float, forward: float, ttm: float) -> float:
    """ln(F/index)/ttm, a year; NaN where there is none."""
    if not (index > 0.0 and forward > 0.0 and ttm > 0.0):
        return math.nan
    return math.log(forward / index) / ttm
