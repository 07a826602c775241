"""Is the process alive, and may traffic be sent to it? Two questions; and the metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from pricer.sidecar.encodings import JSON
from pricer.sidecar.hub import Hub
from pricer.sidecar.messages import Message
from pricer.sidecar.readiness import readiness
from pricer.sidecar.routes import models
from pricer.sidecar.routes.documented import documented

# The loop's publisher comes round every 250 ms; this long without means that it is stuck.
STUCK_S = 5.0


def json(message: dict[str, Any], status: int = 200) -> Response:
    """An answer that must not be kept by anybody on the way."""
    return Response(Message(message).encoded(JSON), status, {"cache-control": "no-store"}, "application/json")


def liveness(hub: Hub) -> APIRouter:
    """Is it alive? Whoever asks may know."""
    router = APIRouter(tags=["health"])

    @router.get("/health/live", **documented(models.Live, also={503: models.Live}, plain=True))
    async def live() -> Response:
        """200 while the publisher comes round; 503 when it is stuck, or the engine fails again and again."""
        silent = (hub.clock.now().mono_ns - hub.turned_mono_ns) / 1e9
        well = silent < STUCK_S and getattr(hub.source, "healthy", True)
        return json({"live": well, "session": hub.metrics.session}, 200 if well else 503)

    return router


def health(hub: Hub) -> APIRouter:
    """The paths of operators and their tools."""
    router = liveness(hub)

    @router.get("/health/ready", **documented(models.Ready, also={503: models.Ready}, plain=True))
    async def ready() -> Response:
        """200 when the index is fresh and 90 % of the expiries are covered; else 503 and what is missing."""
        state = readiness(hub.source.latest, hub.venue, hub.underlyings)
        return json({"ready": state.ready, "missing": state.missing}, 200 if state.ready else 503)

    @router.get("/metrics", **documented(None, document="text/plain", tagged=False))
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(hub.metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    return router
