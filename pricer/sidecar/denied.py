"""A request that is not served, wherever that is found out: {"code", "detail"}, like every refusal over HTTP.

A WebSocket is told so in place of the handshake's answer, and never opened.
"""

from __future__ import annotations

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket


class Denied(Exception):
    """Why not, as HTTP has it. The message never repeats what was presented."""

    def __init__(self, status: int, code: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.headers = status, code, headers

    def response(self) -> Response:
        """The answer; nobody on the way keeps it."""
        body = orjson.dumps({"code": self.code, "detail": str(self)})
        return Response(body, self.status, {"cache-control": "no-store", **self.headers}, "application/json")


async def deny(denied: Denied, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or a WebSocket's handshake."""
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(denied.response())
    else:
        await denied.response()(scope, receive, send)
