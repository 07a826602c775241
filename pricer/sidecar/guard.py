"""Who may talk to a server on somebody's own machine: any web page can try, so the browser's own words are checked.

`Host` must be a name of this server, or a page could reach it through a name that resolves to 127.0.0.1 (DNS
rebinding). `Origin`, which browsers send and programs do not, must be this very server or one of
`server.allowed_origins`, or a foreign page could open a WebSocket to it. Both are refused with 403 before anything else
is looked at, tokens included: a page must not even learn whether one is valid.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pricer.addresses import is_loopback
from pricer.config import ServerSection
from pricer.sidecar.denied import Denied, deny

# Nothing is loaded from elsewhere, nothing inline is run, and no other page may frame this one.
SECURITY_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


# What a page of an allowed origin may send and read.
CORS_HEADERS = (
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"authorization, content-type, accept, if-none-match"),
    (b"access-control-expose-headers", b"etag"),
    (b"access-control-max-age", b"600"),
)


class Guard:
    """ASGI middleware: the checks above, and the headers that every answer carries. Settings may be read again."""

    def __init__(self, app: ASGIApp, settings: Callable[[], ServerSection]) -> None:
        self._app = app
        self._current = settings

    @property
    def _settings(self) -> ServerSection:
        return self._current()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        denied = self._denied(headers.getlist("host"), origins)
        allowed = origins[0].lower() if origins and origins[0].lower() in self._allowed_origins() else ""
        more = [*SECURITY_HEADERS, *_cors("" if denied else allowed)]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *more]
            await send(message)

        if denied is not None:
            await deny(denied, scope, receive, send_with_headers)
            return
        if allowed and scope["type"] == "http" and scope["method"] == "OPTIONS":
            await Response(status_code=204)(scope, receive, send_with_headers)  # what may be sent, asked beforehand
            return
        await self._app(scope, receive, send_with_headers)

    def _denied(self, hosts: list[str], origins: list[str]) -> Denied | None:
        """Why a request is not served; None when it is."""
        if len(hosts) != 1 or not self._is_ours(_name(hosts[0])):
            what = "this server does not have the name in the Host header; see the setting server.allowed_hosts"
            return Denied(403, "unknown_host", what)
        if origins and (len(origins) != 1 or not self._may_talk(origins[0].lower(), hosts[0].lower())):
            what = "pages of another origin may not talk to this server; see the setting server.allowed_origins"
            return Denied(403, "foreign_origin", what)
        return None

    def _may_talk(self, origin: str, host: str) -> bool:
        try:
            return origin in self._allowed_origins() or urlsplit(origin).netloc == host
        except ValueError:  # an unfinished IPv6 address
            return False

    def _allowed_origins(self) -> frozenset[str]:
        return frozenset(origin.lower() for origin in self._settings.allowed_origins)

    def _is_ours(self, name: str) -> bool:
        settings = self._settings
        if name in {host.lower() for host in (settings.host, *settings.allowed_hosts)}:
            return True
        if is_loopback(name):
            return True
        # Behind a proxy the names are the proxy's to check, unless they are listed here.
        return settings.behind_proxy and not settings.allowed_hosts


def _cors(allowed: str) -> list[tuple[bytes, bytes]]:
    if not allowed:
        return []
    return [(b"access-control-allow-origin", allowed.encode("latin-1")), (b"vary", b"origin"), *CORS_HEADERS]


def _name(host: str) -> str:
    """The name in a Host header, lower case, without port and brackets; empty where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
