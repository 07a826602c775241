"""The HTTP paths under /v1 and /health, and /metrics. Bodies are those of `pricer.sidecar.wire`."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import orjson
from fastapi import APIRouter, HTTPException, Query, Response
from prometheus_client import CONTENT_TYPE_LATEST

from pricer.clock import Instant
from pricer.conventions import Reason, Status
from pricer.sidecar import wire
from pricer.sidecar.hub import Hub
from pricer.sidecar.protocol import Refused, StreamKey
from pricer.sidecar.readiness import readiness
from pricer.snapshot import ROW_PAIR, SliceBlock, Snapshot
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.svi import SviSmile

# The loop's publisher comes round every 250 ms; this long without means that it is stuck.
STUCK_S = 5.0

VENUE = Query(None, max_length=64, description="The venue; by default the configured one.")


def json(message: Any, status: int = 200) -> Response:
    """An answer that must not be kept by anybody on the way."""
    body = message if isinstance(message, bytes) else wire.encode(message)
    return Response(body, status, {"cache-control": "no-store"}, "application/json")


def health(hub: Hub) -> APIRouter:
    """Is the process alive, and may traffic be sent to it? Two questions."""
    router = APIRouter(tags=["health"])

    @router.get("/health/live")
    async def live() -> Response:
        """200 while the publisher comes round; 503 when it is stuck."""
        silent = (hub.clock.now().mono_ns - hub.turned_mono_ns) / 1e9
        return json({"live": silent < STUCK_S, "session": hub.metrics.session}, 200 if silent < STUCK_S else 503)

    @router.get("/health/ready")
    async def ready() -> Response:
        """200 when the index is fresh and 90 % of the expiries are covered; else 503 and what is missing."""
        state = readiness(hub.source.latest, hub.venue, hub.underlyings)
        return json({"ready": state.ready, "missing": state.missing}, 200 if state.ready else 503)

    @router.get("/metrics")
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(hub.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    return router


def data(hub: Hub) -> APIRouter:
    """The numbers: whole chains, surfaces, single instruments."""
    router = APIRouter(prefix="/v1", tags=["data"])

    @router.get("/underlyings")
    async def underlyings() -> Response:
        """What can be asked for, with the index and the number of options of each."""
        known = hub.known()
        return json({"underlyings": [_summary(hub, v, u) for v in sorted(known) for u in sorted(known[v])]})

    @router.get("/chain/{underlying}")
    async def chain(underlying: str, venue: str | None = VENUE) -> Response:
        """The whole chain as columns: values beside their statuses, ages at this moment, and the stream's `seq`."""
        key = StreamKey("chain", _checked(hub, venue, underlying), underlying)
        try:
            return json(hub.current(key).snapshot(ages=True))
        except Refused as refused:  # too many streams
            raise HTTPException(503, str(refused)) from None

    @router.get("/surface/{underlying}")
    async def surface(underlying: str, venue: str | None = VENUE) -> Response:
        """The published smile of each expiry: parameters, evidence against arbitrage, status and age."""
        where = _checked(hub, venue, underlying)
        return json(
            surface_body(hub.snapshot.of(underlying, where), where, underlying, hub.settings.significant_digits)
        )

    @router.get("/instrument/{name}")
    async def instrument(name: str, venue: str | None = VENUE) -> Response:
        """One option: every column, its expiry and its index."""
        found = _find(hub.snapshot, name, venue)
        if found is None:
            raise HTTPException(404, f"no instrument {name!r} among the {len(hub.snapshot)} options of this sidecar")
        return json(instrument_body(hub.snapshot, *found, hub.settings.significant_digits))

    return router


def _checked(hub: Hub, venue: str | None, underlying: str) -> str:
    """The venue to use; 404 where it or the underlying is unknown."""
    try:
        hub.check(venue or hub.venue, underlying)
    except Refused as refused:
        raise HTTPException(404, str(refused)) from None
    return venue or hub.venue


def _summary(hub: Hub, venue: str, underlying: str) -> wire.Message:
    part = hub.snapshot.of(underlying, venue)
    return {
        "venue": venue,
        "underlying": underlying,
        "expiries": len(part.blocks),
        "options": len(part),
        "index": wire.price(part.index, part.clock.now(), hub.settings.significant_digits),
    }


def surface_body(snapshot: Snapshot, venue: str, underlying: str, digits: int) -> wire.Message:
    """One underlying's smiles."""
    now = snapshot.clock.now()
    published = snapshot.smiles
    return {
        "venue": venue,
        "underlying": underlying,
        "version": snapshot.version,
        "surface_version": None if snapshot.surface is None else snapshot.surface.version,
        "computed_ns": snapshot.computed_ns,
        "sent_ns": now.wall_ns,
        "expiries": [
            _smile(piece, published.get(piece.block.key.expiry_ns), now, digits)
            for piece in wire.take_picture(snapshot, digits).slices
        ],
    }


def _smile(piece: wire.Slice, fit: SurfaceSlice | None, now: Instant, digits: int) -> wire.Message:
    block = piece.block
    status, reasons = slice_status(piece)
    body = wire.definition(block) | wire.expiry(block, now, digits)
    body |= {"status": status.name, "reasons": list(reasons.names)}
    if fit is None:
        return body | {"model": None, "params": None, "certificate": None, "k_min": None, "k_max": None}
    smile = fit.smile
    body["ttm"] = fit.ttm  # of the parameters, to the last digit
    return body | {
        "model": "svi" if isinstance(smile, SviSmile) else type(smile).__name__,
        "params": smile.params._asdict() if isinstance(smile, SviSmile) else None,
        "certificate": {name: _plain(value) for name, value in asdict(fit.certificate).items()},
        "k_min": wire.or_none(fit.k_min),
        "k_max": wire.or_none(fit.k_max),
    }


def slice_status(piece: wire.Slice) -> tuple[Status, Reason]:
    """What is true of every option of an expiry is true of its smile: the best status, and the reasons of all."""
    status, reasons = piece.status[ROW_PAIR], piece.reasons[ROW_PAIR]
    if not status.size:
        return Status.INVALID, Reason.NO_QUOTE
    return Status(int(status.min())), Reason(int(np.bitwise_and.reduce(reasons)))


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _find(snapshot: Snapshot, name: str, venue: str | None) -> tuple[SliceBlock, int] | None:
    for block in snapshot.blocks:
        if name in block.definition.rows and venue in (None, block.key.venue):
            return block, block.definition.rows[name]
    return None


def instrument_body(snapshot: Snapshot, block: SliceBlock, row: int, digits: int) -> wire.Message:
    """One row of a chain, and its expiry."""
    part = replace(snapshot.of(block.definition.underlying, block.key.venue), blocks=(block,))
    picture = wire.take_picture(part, digits)
    # Encoded columns are text: one row is read out of what a chain's message would say.
    columns = orjson.loads(wire.encode(wire.all_columns(picture) | wire.ages(picture)))
    body = wire.moment(picture, block.key.venue, digits)
    dynamic, _ = body.pop("expiries")[0], body.pop("reasons")
    option = {name: column[row] for name, column in columns.items()}
    return {
        "venue": block.key.venue,
        "underlying": block.definition.underlying,
        **option,
        "reasons": [*option["reasons"], *snapshot.reasons.names],
        "expiry": wire.definition(block) | dynamic,
        **body,
        "convention": asdict(snapshot.convention),
    }
