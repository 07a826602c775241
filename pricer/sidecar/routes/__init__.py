"""The HTTP paths under /v1 and /health, and /metrics: one file an idea, put together here.

Errors are {"code", "detail"} everywhere, formats are chosen by `Accept` or `?format=`, and everything about an
underlying carries the `seq` of its chain, by which it is cached and revalidated.
"""

from __future__ import annotations

from fastapi import Depends, FastAPI

from pricer.sidecar.hub import Hub
from pricer.sidecar.routes import arrow, asked, errors
from pricer.sidecar.routes.chain import chains
from pricer.sidecar.routes.edge import Budgets, Edge
from pricer.sidecar.routes.forward import forwards
from pricer.sidecar.routes.health import health, liveness
from pricer.sidecar.routes.history import history
from pricer.sidecar.routes.instrument import instruments
from pricer.sidecar.routes.published import schemas
from pricer.sidecar.routes.shortcuts import Shortcuts
from pricer.sidecar.routes.smile import smiles
from pricer.sidecar.routes.surface import surfaces
from pricer.sidecar.routes.valuing import valuations
from pricer.sidecar.routes.views import Views


def install(app: FastAPI, hub: Hub) -> None:
    """Every path over one hub, and what happens to each request before it."""
    views, budgets = Views(hub), Budgets(hub.settings.max_http_per_s, hub.clock, behind_proxy=hub.settings.behind_proxy)
    # With a port of their own, health and metrics are nobody else's business here.
    app.include_router(health(hub) if hub.settings.metrics_port is None else liveness(hub))
    data = (chains(hub, views), surfaces(views), smiles(views), forwards(views), instruments(views))
    for router in (*data, valuations(hub, views, budgets), history(hub, views, budgets)):
        app.include_router(router, dependencies=[Depends(asked.only_known)])
    app.include_router(schemas())
    errors.install(app)
    arrow.load()
    app.add_middleware(Edge, budgets=budgets, shortcuts=Shortcuts())


__all__ = ["install"]
