"""What every refusal over HTTP looks like: {"code": ..., "detail": ...}, one readable line, never our inside."""

from __future__ import annotations

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from pricer.sidecar.denied import Denied, deny
from pricer.sidecar.protocol import Refused
from pricer.sidecar.wording import described, value_shown

# By status, where nothing more precise is known.
CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    426: "upgrade_required",
    429: "rate_limited",
    500: "internal",
    501: "not_installed",
    503: "unavailable",
}
# Every code that a client may be answered with: docs/protocol.md lists them.
MEANINGS = {
    "bad_json": "400: the body is not JSON",
    "bad_request": "400: not HTTP, too many fields in the address, or a text that is no date (422)",
    "token_in_url": "400: a token is never part of an address",
    "unknown_subprotocol": "400: of a WebSocket, only subprotocols that there are not",
    "unauthorized": "401: a token is asked for, and there is none or a wrong one",
    "forbidden": "403: the token has not the scope",
    "unknown_host": "403: `Host` is not a name of this server",
    "foreign_origin": "403: `Origin` is another than this server, and not allowed",
    "not_found": "404: no such path, or nothing published under that name",
    "unknown_underlying": "404: neither configured nor seen",
    "unknown_venue": "404: this sidecar does not read it",
    "unknown_expiry": "404: nothing expires then (422 in `?expiries=`)",
    "unknown_instrument": "404: not listed",
    "unknown_schema": "404: `/schemas` lists those that there are",
    "method_not_allowed": "405: `allow` has the methods",
    "not_acceptable": "406: none of the formats asked for is one of these",
    "timeout": "408: the body did not come in time",
    "not_now": "409: of a control request, its `sent_ns` is too old or in the future",
    "nothing_to_read": "409: this sidecar was started without settings to read again",
    "repeated": "409: this control request was served before",
    "too_large": "413: a body of more than 256 KiB",
    "unsupported_media_type": "415: the body is not sent as application/json",
    "invalid": "422: a value cannot be",
    "unknown_parameter": "422: the path has no such parameter",
    "unknown_contract": "422: a contract is not listed, or its expiry has passed",
    "too_many_values": "422: more lists, fields, or contracts times cells than any legal request",
    "bad_settings": "422: the settings that were read again are refused",
    "upgrade_required": "426: `/v1/stream` is a WebSocket",
    "rate_limited": "429: `retry-after` has the seconds to wait",
    "internal": "500: our fault; the log says more",
    "not_installed": "501: the format needs a library that is not installed",
    "busy": "503: too many prices and scenarios wait already",
    "unavailable": "503: too much at once; come back",
    "too_many_streams": "503: all of `server.max_streams` are in use",
}
# What the hub refuses, as HTTP says it.
STATUSES = {"unknown_underlying": 404, "unknown_venue": 404, "too_many_streams": 503}

STREAM = "/v1/stream"


class Problem(BaseModel):
    """Why a request was not served."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(description="For programs: a word from a short list.")
    detail: str = Field(description="For people: one line.")


class Refusal(HTTPException):
    """A request that cannot be served; `code` for programs, `detail` for people."""

    def __init__(self, status: int, detail: str, code: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.code = code or code_of(status)


def code_of(status: int) -> str:
    """The word for a status."""
    return CODES.get(status, "error")


def refusal_of(refused: Refused) -> Refusal:
    """What the hub refused, over HTTP."""
    return Refusal(STATUSES.get(refused.code, 422), str(refused), refused.code)


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The answer that says why not; nobody on the way keeps it."""
    body = orjson.dumps({"code": code, "detail": detail})
    return Response(body, status, {"cache-control": "no-store"} | (headers or {}), "application/json")


def install(app: FastAPI) -> None:
    """All that goes wrong in `app` is told in this form."""
    app.router.default = _nothing_here
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _failed)


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """No path of ours. By itself Starlette answers a WebSocket with 403 and nothing else."""
    path = value_shown(scope["path"])
    if scope["type"] == "websocket":
        what = Denied(404, code_of(404), f"there is no WebSocket at {path}; it is at '{STREAM}'")
    elif scope["path"] == STREAM:
        upgrade = {"upgrade": "websocket", "connection": "upgrade"}
        what = Denied(426, code_of(426), f"'{STREAM}' is a WebSocket: ask for an upgrade", **upgrade)
    else:
        what = Denied(404, code_of(404), f"there is nothing at {path}; '/docs' lists the paths")
    await deny(what, scope, receive, send)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers, detail = dict(error.headers or {}), str(error.detail)
    if "Allow" in headers and "GET" in headers["Allow"] and "HEAD" not in headers["Allow"]:
        headers["Allow"] += ", HEAD"
    if error.status_code == 405:
        path, allowed = value_shown(request.url.path), headers.get("Allow", "another method")
        detail = f"{value_shown(request.method)} is not for {path}; {allowed} is"
    code = error.code if isinstance(error, Refusal) else code_of(error.status_code)
    return problem(error.status_code, code, detail, headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if faults[0]["loc"] == ("body",) and "json" not in request.headers.get("content-type", ""):
        return problem(415, "unsupported_media_type", "send the body as JSON, with content-type: application/json")
    if faults[0]["type"] == "json_invalid":
        return problem(400, "bad_json", f"the body is not JSON: {faults[0].get('ctx', {}).get('error', 'unreadable')}")
    return problem(422, "invalid", described(faults))


async def _failed(request: Request, error: Exception) -> Response:
    """The error itself goes on to the server, which logs it; the client learns that it was not its fault."""
    return problem(500, "internal", "an error in this sidecar; its log says more")
