"""The HTTP paths under /v1/history: what charts begin with."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from pricer.expiries import expiry_iso
from pricer.sidecar.history import Columns, Ring
from pricer.sidecar.hub import Hub
from pricer.sidecar.messages import Message
from pricer.sidecar.routes import asked, models
from pricer.sidecar.routes.documented import documented
from pricer.sidecar.routes.edge import Budgets
from pricer.sidecar.routes.errors import Refusal
from pricer.sidecar.routes.views import Views, fresh

# Thirteen expiries of an hour each, every fifth second: about 1 MB of JSON, made in some milliseconds.
MOST_ROWS = 10_000
# So many rows are made in the time of a cheap answer.
ROWS_A_REQUEST = 1000

Name = Annotated[str, Path(min_length=1, max_length=64, description="As the venue names it.")]
Expiry = Annotated[
    str | None,
    Query(max_length=40, description="One expiry, as 2026-12-25 or 25DEC26; all by default.", examples=["25DEC26"]),
]
Since = Annotated[
    int | None, Query(ge=0, le=2**63 - 1, description="Only samples after this instant, UTC in nanoseconds.")
]


def history(hub: Hub, views: Views, budgets: Budgets) -> APIRouter:
    """The last hour, from memory."""
    router = APIRouter(prefix="/v1/history", tags=["history"])

    @router.get("/{underlying}", **documented(models.ExpiryHistory, tagged=False))
    async def expiries(
        request: Request,
        underlying: asked.Underlying,
        expiry: Expiry = None,
        since: Since = None,
        venue: asked.Venue = None,
        format: asked.Format = None,
    ) -> Response:
        """At-the-money volatility, 25-delta risk reversal and butterfly, forward and time to expiry, each second.

        At most 10,000 rows: where there are more, every second, third or n-th sample. No value (null) is a gap.
        """
        where = views.checked(venue, underlying)
        columns = hub.history.of_expiries(
            where,
            underlying,
            expiry_ns=_expiry(hub, where, underlying, expiry),
            since_ns=since,
            most=MOST_ROWS,
            digits=hub.settings.significant_digits,
        )
        message = _message(hub, where, {"underlying": underlying}, hub.history.expiry_ring, columns)
        budgets.take(budgets.address_of(request.scope), len(columns["time_ns"]) / ROWS_A_REQUEST)
        return fresh(request, message)

    @router.get("/{underlying}/{name}", **documented(models.OptionHistory, tagged=False))
    async def option(
        request: Request,
        underlying: asked.Underlying,
        name: Name,
        since: Since = None,
        venue: asked.Venue = None,
        format: asked.Format = None,
    ) -> Response:
        """Volatilities, delta, vega, value and mid of one option, every ten seconds; no value (null) is a gap."""
        where = views.checked(venue, underlying)
        columns = hub.history.of_option(where, underlying, name, since_ns=since, digits=hub.settings.significant_digits)
        if columns is None:
            raise Refusal(404, f"no history of an instrument {name!a} of {underlying} at {where}", "unknown_instrument")
        subject = {"underlying": underlying, "instrument": name}
        return fresh(request, _message(hub, where, subject, hub.history.option_ring, columns))

    return router


def _message(hub: Hub, venue: str, subject: dict[str, str], ring: Ring, columns: Columns) -> Message:
    now = hub.clock.now()
    head = {
        "venue": venue,
        **subject,
        "session": hub.metrics.session,
        "interval_ns": ring.interval_ns,
        "kept_ns": ring.interval_ns * ring.times.size,
        "sent_ns": now.wall_ns,
        "mono_ns": now.mono_ns,
    }
    return Message(head, columns)


def _expiry(hub: Hub, venue: str, underlying: str, text: str | None) -> int | None:
    """`Refusal` 422 for what is no expiry, 404 for one that is not recorded."""
    if text is None:
        return None
    expiry_ns, known = asked.expiry_asked(text), hub.history.expiries(venue, underlying)
    if expiry_ns not in known:
        there = ", ".join(map(expiry_iso, known)) or "none yet"
        what = f"no history of an expiry {text!a} of {underlying} at {venue}; there are {there}"
        raise Refusal(404, what, "unknown_expiry")
    return expiry_ns
