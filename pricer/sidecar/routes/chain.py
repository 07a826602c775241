"""What there is, and whole chains or windows of them."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from pricer.sidecar.hub import Hub
from pricer.sidecar.messages import Head, Message
from pricer.sidecar.moment import price
from pricer.sidecar.routes import asked, models
from pricer.sidecar.routes.documented import documented
from pricer.sidecar.routes.tables import table_of
from pricer.sidecar.routes.views import View, Views, answer, fresh
from pricer.sidecar.slices import ages


def chains(hub: Hub, views: Views) -> APIRouter:
    """The paths."""
    router = APIRouter(prefix="/v1", tags=["chain"])

    @router.get("/underlyings", **documented(models.Underlyings))
    async def underlyings(request: Request, format: asked.Format = None) -> Response:
        """What can be asked for, with the index and the number of options of each."""
        known = hub.known()
        records = [_summary(hub, venue, each) for venue in sorted(known) for each in sorted(known[venue])]
        return fresh(request, Message({"underlyings": records}), lambda: table_of({}, records))

    @router.get("/chain/{underlying}", **documented(models.Chain))
    async def chain(
        request: Request,
        underlying: asked.Underlying,
        venue: asked.Venue = None,
        columns: asked.Columns = None,
        expiries: asked.Expiries = None,
        strikes: asked.Strikes = None,
        format: asked.Format = None,
    ) -> Response:
        """The chain as columns: values beside their statuses, ages at this moment, and the stream's `seq`.

        The filters are those of the WebSocket's channel `chain`.
        """
        where = views.checked(venue, underlying)
        key = asked.chain_key(views.hub.snapshot, where, underlying, columns, expiries, strikes)
        view = views.at(key)
        return answer(request, view, "chain", lambda: chain_message(view))

    return router


def chain_message(view: View) -> Message:
    """A stream's last picture with the ages at its moment."""
    whole = view.stream.snapshot()
    return Message(whole.head, {**(whole.columns or {}), **ages(view.picture)})


def _summary(hub: Hub, venue: str, underlying: str) -> Head:
    part = hub.snapshot.of(underlying, venue)
    return {
        "venue": venue,
        "underlying": underlying,
        "expiries": len(part.blocks),
        "options": len(part),
        "index": price(part.index, part.clock.now(), hub.settings.significant_digits),
    }
