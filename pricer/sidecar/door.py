"""Every request passes here once: is there a token, is it valid, and is it good for this path?

HTTP shows it as `Authorization: Bearer`; so does a WebSocket's handshake, or its first message is
{"op": "auth", "token": ...}, since a browser cannot set the header. In an address a token would be kept by histories,
proxies and logs, so there it is refused. No, a wrong and an expired token get one and the same answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from pricer.clock import Clock
from pricer.config import ServerSection
from pricer.sidecar.auth import UNAUTHORIZED, Attempts, Authority, Scopes, Token, authority_of
from pricer.sidecar.denied import Denied, deny
from pricer.sidecar.encodings import JSON, Encoding
from pricer.sidecar.messages import Message
from pricer.sidecar.peer import peer_address

VISIT = "volstream.visit"  # in an ASGI scope: who asks; missing on a WebSocket that still has to say so
SCOPES = "volstream.scopes"  # beside it: the words of what he may do
UNAUTHORIZED_CLOSE = 4401
LONGEST_AUTH = 4096

# Pages and descriptions hold no number and no secret; a browser asks for them before it can show a token.
OPEN_PATHS = ("/", "/docs", "/openapi.json", "/asyncapi.json", "/volstream.proto", "/schemas", "/health/live")
OPEN_BELOW = ("/web/", "/schemas/")
IN_URL = frozenset(("token", "access_token", "bearer", "authorization", "api_key", "apikey"))


@dataclass(eq=False)
class Visit:
    """Somebody who was let in: what he may do, and the token, where one was asked for."""

    scopes: Scopes
    token: Token | None = None


class Door:
    """The tokens in force, who was wrong how often, and who is inside."""

    def __init__(self, settings: ServerSection, clock: Clock, counts: Counter[str] | None = None) -> None:
        self.settings = settings
        self.authority: Authority = authority_of(settings, clock)
        self.attempts = Attempts(settings.auth_failures_per_minute, clock)
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.unknown = 0
        self._clock = clock
        self._inside: dict[Visit, Callable[[int, str], None]] = {}

    def admit(self, token: str | None, address: str) -> Visit:
        """Let in whoever presents `token` from `address`, or raise `Denied`."""
        if not self.authority.asks:
            return Visit(self.authority.anonymous)
        wait_s = self.attempts.wait_s(address)
        if wait_s > 0:
            self.counts["auth_limited"] += 1
            detail = "too many tokens that are not valid came from this address"
            raise Denied(429, "rate_limited", detail, **{"retry-after": str(int(wait_s) + 1)})
        found = None if token is None else self.authority.find(token)
        if found is None:
            self.counts["auth_failures"] += 1
            if token is not None:  # one who shows none guesses nothing
                self.attempts.failed(address)
            raise Denied(401, "unauthorized", UNAUTHORIZED, **{"www-authenticate": 'Bearer realm="volstream"'})
        return Visit(found.scopes, found)

    def replace(self, settings: ServerSection, authority: Authority) -> None:
        """Other tokens and limits from now on; whoever is inside by a token that is gone is shown out."""
        if settings.auth_failures_per_minute != self.attempts.per_minute:
            self.attempts = Attempts(settings.auth_failures_per_minute, self._clock)
        self.settings, self.authority = settings, authority
        self.sweep()

    def enter(self, visit: Visit, hang_up: Callable[[int, str], None]) -> None:
        """A connection that lasts: it ends with its token, or when nobody may come in without one any more."""
        self._inside[visit] = hang_up

    def leave(self, visit: Visit) -> None:
        """It has ended."""
        self._inside.pop(visit, None)

    def sweep(self) -> None:
        """End what is open by a token that has expired or was taken away, or whose scopes are others now."""
        now_ns = self._clock.now().wall_ns
        for visit, hang_up in tuple(self._inside.items()):
            if not self._holds(visit, now_ns):
                del self._inside[visit]
                self.counts["auth_ended"] += 1
                hang_up(UNAUTHORIZED_CLOSE, "the token is not valid any more")

    def _holds(self, visit: Visit, now_ns: int) -> bool:
        if visit.token is None:
            return not self.authority.asks and visit.scopes == self.authority.anonymous
        return self.authority.holds(visit.token, now_ns)

    async def keep_swept(self, every_s: float = 1.0) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            self.sweep()


def needed(path: str) -> Scopes:
    """The scope that a path asks for; none for pages and descriptions."""
    if path in OPEN_PATHS or path.startswith(OPEN_BELOW):
        return Scopes(0)
    return Scopes.ADMIN if path.startswith("/v1/admin/") else Scopes.READ


def bearer(headers: Headers) -> str | None:
    """The token of the Authorization header; None where there is none, or more than one."""
    values = headers.getlist("authorization")
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return token.strip() or None if scheme.lower() == "bearer" else None


class Doorkeeper:
    """ASGI middleware: `Denied` as an answer, or the visit in the scope."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            try:
                self._look_at(scope)
            except Denied as denied:
                await deny(denied, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _look_at(self, scope: Scope) -> None:
        door, headers, wants = self._door, Headers(scope=scope), needed(scope["path"])
        if _names_a_token(scope.get("query_string", b"")):
            # Not kept anywhere: not by us, and uvicorn writes no access log.
            scope["query_string"] = b""
            raise Denied(400, "token_in_url", "a token is never part of an address: send Authorization: Bearer")
        if not wants:
            return
        if scope["type"] == "websocket" and door.authority.asks and "authorization" not in headers:
            return  # the first message has to show it
        visit = door.admit(bearer(headers), peer_address(scope, behind_proxy=door.settings.behind_proxy))
        if wants not in visit.scopes:
            door.counts["auth_forbidden"] += 1
            what = " and ".join(wants.words)
            hint = "" if door.authority.asks else "; this sidecar has no tokens: see server.tokens_file"
            raise Denied(403, "forbidden", f"this needs the scope {what}{hint}")
        scope[VISIT], scope[SCOPES] = visit, visit.scopes.words


def _names_a_token(query: bytes) -> bool:
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=64)
    except ValueError:  # more fields than anything here has
        raise Denied(400, "bad_request", "there are too many fields in the address") from None
    return any(name.lower() in IN_URL for name, _ in pairs)


async def introduced(websocket: WebSocket, door: Door, encoding: Encoding) -> Visit | None:
    """Who is at the other end of an accepted WebSocket; None where he was told `unauthorized` and closed with 4401.

    One who showed a valid header is let in at once; else the first message must be `auth`, in time.
    """
    visit = websocket.scope.get(VISIT)
    if visit is not None:
        assert isinstance(visit, Visit)
        return visit
    door.unknown += 1
    try:
        async with asyncio.timeout(door.settings.auth_timeout_s):
            message = await websocket.receive()
        if message["type"] != "websocket.receive":
            return None
        address = peer_address(websocket.scope, behind_proxy=door.settings.behind_proxy)
        visit = door.admit(_presented(message.get("text") or message.get("bytes") or b"", encoding), address)
        if Scopes.READ not in visit.scopes:
            raise Denied(403, "forbidden", "this needs the scope read")
        return visit
    except TimeoutError:
        door.counts["auth_late"] += 1
        denied = Denied(401, "unauthorized", UNAUTHORIZED)
    except Denied as refused:
        denied = refused
    finally:
        door.unknown -= 1
    await tell(websocket, encoding, denied.code, str(denied))
    await websocket.close(UNAUTHORIZED_CLOSE, denied.code)
    return None


async def tell(websocket: WebSocket, encoding: Encoding, code: str, why: str) -> None:
    """An `error` to somebody who is no client of the hub."""
    error = Message({"type": "error", "code": code, "message": why}).encoded(encoding)
    await (websocket.send_text(error.decode()) if encoding.is_text else websocket.send_bytes(error))


def _presented(message: str | bytes, encoding: Encoding) -> str | None:
    """The token of an `auth` message; None where it is none."""
    if len(message) > LONGEST_AUTH:
        return None
    try:
        request = encoding.decode_request(message) if isinstance(message, bytes) else JSON.decode_request(message)
    except ValueError:
        return None
    if request.get("op") != "auth":
        return None
    token = request.get("token")
    return token if isinstance(token, str) else None
