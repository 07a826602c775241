"""What a client makes of an HTTP answer in place of a WebSocket: refused for good, or not now."""

from __future__ import annotations

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response

from pricer.adapters.transport import LONGEST_DETAIL, retry_after_s
from pricer.errors import ConnectError
from pricer.sidecar.following import RequestRefused

# Whoever shows the same token again gets the same answer, and uses up the attempts of his address.
FINAL = {401: "unauthorized", 403: "forbidden"}
UNAUTHORIZED_CLOSE = 4401
STREAM_PATH = "/v1/stream"


class TurnedAway(ConnectError):
    """Somebody answered, and does not let us in; `retry_after_s` is how long he asks to wait, 0 where he does not."""

    retry_after_s = 0.0


class _Said(msgspec.Struct):
    """The body of every refusal of a sidecar."""

    code: str = ""
    detail: str = ""


def refusal(response: Response, where: str) -> RequestRefused | TurnedAway:
    """The error of an answer, in the words of who gave it; `where` is the address."""
    status, said = response.status_code, _said(response)
    if status in FINAL:
        words = said.detail or f"HTTP {status}; a sidecar's stream is at {STREAM_PATH}, and this was {where}"
        return RequestRefused(said.code or FINAL[status], words)
    error = TurnedAway(f"{where} answers HTTP {status}{': ' if said.detail else ''}{said.detail}")
    error.retry_after_s = retry_after_s(response.headers.get("Retry-After"), response.headers.get("Date"))
    return error


def shown_out(error: ConnectionClosed) -> RequestRefused | None:
    """The error of a connection that the sidecar ended because of its token; None where it ended otherwise."""
    close = error.rcvd
    if close is None or close.code != UNAUTHORIZED_CLOSE:
        return None
    return RequestRefused("unauthorized", _shown(close.reason) or "the token is not valid")


def _said(response: Response) -> _Said:
    try:
        said = msgspec.json.decode(bytes(response.body or b""), type=_Said)
    except (msgspec.DecodeError, UnicodeError, RecursionError):  # not from a sidecar
        return _Said()
    return _Said(_shown(said.code), _shown(said.detail))


def _shown(text: str) -> str:
    """What a peer says, on one line and no longer than a line."""
    return text.encode("unicode_escape").decode("ascii")[:LONGEST_DETAIL]
