"""What an operator may do over HTTP. Each request is good once: a captured one that is sent again is refused.

A request carries the moment it was sent and a nonce of the sender's. The moment must be near ours and not before this
server's start; within that time every nonce is remembered.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from pricer.clock import NS_PER_SECOND, Clock
from pricer.errors import ConfigError
from pricer.sidecar.auth import Scopes
from pricer.sidecar.denied import Denied
from pricer.sidecar.door import VISIT
from pricer.sidecar.encodings import JSON
from pricer.sidecar.messages import Message
from pricer.sidecar.reload import Reloader
from pricer.sidecar.routes import models
from pricer.sidecar.routes.documented import documented

log = logging.getLogger("pricer.sidecar.admin")


class Control(BaseModel):
    """What every control request begins with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sent_ns: Annotated[int, Field(ge=0, le=2**63 - 1, description="When it was sent, UTC epoch nanoseconds.")]
    nonce: Annotated[str, Field(min_length=16, max_length=64, pattern=r"^[A-Za-z0-9_\-]+$", description="Never twice.")]


class Once:
    """Remembers the requests of the last `WINDOW_S` seconds."""

    WINDOW_S = 30
    MOST = 1024

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start_ns = clock.now().wall_ns
        self._seen: OrderedDict[str, int] = OrderedDict()  # nonce: when it may be forgotten, by the monotonic clock

    def take(self, control: Control) -> None:
        """Accept a request, for the first and only time; else `Denied`."""
        now = self._clock.now()
        window_ns = self.WINDOW_S * NS_PER_SECOND
        if abs(now.wall_ns - control.sent_ns) > window_ns or control.sent_ns < self._start_ns:
            raise Denied(409, "not_now", "sent_ns is not the time of now by this server's clock, or before its start")
        while self._seen and next(iter(self._seen.values())) <= now.mono_ns:
            self._seen.popitem(last=False)
        if control.nonce in self._seen:
            raise Denied(409, "repeated", "this request was served before")
        if len(self._seen) >= self.MOST:
            raise Denied(429, "rate_limited", f"at most {self.MOST} control requests in {self.WINDOW_S} s")
        # Twice: one that is dated ahead by the whole window can be sent again until the window behind has passed.
        self._seen[control.nonce] = now.mono_ns + 2 * window_ns


def admin(reloader: Reloader | None, clock: Clock) -> APIRouter:
    """The routes under /v1/admin; all of them need the scope admin."""
    router = APIRouter(prefix="/v1/admin", tags=["admin"])
    once = Once(clock)

    @router.post("/reload", **documented(models.Reloaded, plain=True, posted=True, also={409: None}))
    async def reload(control: Control, request: Request) -> Response:
        """Read the settings, the tokens and the certificate again; clients stay connected."""
        try:
            who = _checked(request)
            _take(once, control, who)
            if reloader is None:
                raise Denied(
                    409, "nothing_to_read", "this sidecar was started without a way to read its settings again"
                )
            return _reloaded(reloader, who)
        except Denied as denied:
            return denied.response()

    return router


def _checked(request: Request) -> str:
    """Who asks, for the log. The door has looked already; a route that is reached past it must not be open."""
    visit = request.scope.get(VISIT)
    if visit is None or Scopes.ADMIN not in visit.scopes:
        raise Denied(403, "forbidden", "this needs the scope admin")
    return "a client's certificate" if visit.token is None else f"the token {visit.token.name}"


def _take(once: Once, control: Control, who: str) -> None:
    """Accept a request once; one that is refused is told in the log."""
    try:
        once.take(control)
    except Denied as denied:
        log.warning("a control request by %s: %s: %s", who, denied.code, denied)
        raise


def _reloaded(reloader: Reloader, who: str) -> Response:
    try:
        outcome = reloader.reload(who)
    except ConfigError as error:
        raise Denied(422, "bad_settings", f"refused, and everything stays as it was: {error}") from None
    body = Message({"applied": list(outcome.applied), "needs_restart": list(outcome.needs_restart)}).encoded(JSON)
    return Response(body, 200, {"cache-control": "no-store"}, "application/json")
