"""The published smiles as parameters and evidence, one record an expiry."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response

from pricer.sidecar.messages import Head
from pricer.sidecar.moment import definition, expiry, or_none
from pricer.sidecar.routes import asked, models
from pricer.sidecar.routes.documented import documented
from pricer.sidecar.routes.views import View, Views, answer_of_records
from pricer.sidecar.slices import Slice, smile_status
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.svi import SviSmile


def surfaces(views: Views) -> APIRouter:
    """The path."""
    router = APIRouter(prefix="/v1", tags=["surface"])

    @router.get("/surface/{underlying}", **documented(models.Surface))
    async def surface(
        request: Request, underlying: asked.Underlying, venue: asked.Venue = None, format: asked.Format = None
    ) -> Response:
        """The published smile of each expiry: parameters, evidence against arbitrage, status and age."""
        return answer_of_records(request, views.of(venue, underlying), "surface", surface_head, "expiries", records)

    return router


def surface_head(view: View) -> Head:
    """The fields around the expiries."""
    surface = view.snapshot.surface
    return view.head() | {"surface_version": None if surface is None else surface.version}


def records(view: View) -> list[Head]:
    """One underlying's smiles."""
    published = view.snapshot.smiles
    return [_smile(view, piece, published.get(piece.block.key.expiry_ns)) for piece in view.picture.slices]


def _smile(view: View, piece: Slice, fit: SurfaceSlice | None) -> Head:
    block = piece.block
    status, reasons = smile_status(piece.status, piece.reasons)
    body = definition(block) | expiry(block, view.now, view.digits)
    body |= {"status": status.name, "reasons": list(reasons.names)}
    if fit is None:
        return body | {"model": None, "params": None, "certificate": None, "k_min": None, "k_max": None}
    body["ttm"] = fit.ttm  # of the parameters, to the last digit
    return body | {
        "model": model_name(fit),
        "params": fit.svi.params._asdict() if fit.svi is not None else None,
        "certificate": certificate(fit),
        "k_min": or_none(fit.k_min),
        "k_max": or_none(fit.k_max),
    }


def model_name(fit: SurfaceSlice) -> str:
    """The name of a smile's parametrisation."""
    return "svi" if isinstance(fit.smile, SviSmile) else type(fit.smile).__name__


def certificate(fit: SurfaceSlice) -> dict[str, Any]:
    """The evidence against arbitrage."""
    return {name: _plain(value) for name, value in asdict(fit.certificate).items()}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
