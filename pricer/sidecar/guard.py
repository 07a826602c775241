"""Who may talk to a server on somebody's own machine: any web page can try, so the browser's own words are checked.

`Host` must be a name of this server, or a page could reach it through a name that resolves to 127.0.0.1 (DNS
rebinding). `Origin`, which browsers send and programs do not, must be this very server, or a foreign page could open a
WebSocket to it. Both are refused with 403 before anything else is looked at.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pricer.config import ServerSection, is_loopback

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


class Guard:
    """ASGI middleware: the checks above, and the headers that every answer carries."""

    def __init__(self, app: ASGIApp, settings: ServerSection) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(headers.getlist("host"), headers.getlist("origin"))
        if refusal:
            await _refuse(scope, receive, send, refusal)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *SECURITY_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _refusal(self, hosts: list[str], origins: list[str]) -> str:
        """Why a request is not served; empty when it is."""
        if len(hosts) != 1 or not self._is_ours(_name(hosts[0])):
            return "this server does not have the name in the Host header; see the setting server.allowed_hosts"
        if origins and (len(origins) != 1 or urlsplit(origins[0]).netloc.lower() != hosts[0].lower()):
            return "pages of another origin may not talk to this server"
        return ""

    def _is_ours(self, name: str) -> bool:
        settings = self._settings
        if name in {host.lower() for host in (settings.host, *settings.allowed_hosts)}:
            return True
        if is_loopback(name):
            return True
        # Behind a proxy the names are the proxy's to check, unless they are listed here.
        return settings.behind_proxy and not settings.allowed_hosts


def _name(host: str) -> str:
    """The name in a Host header, lower case, without port and brackets; empty where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


async def _refuse(scope: Scope, receive: Receive, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why})  # before acceptance: 403
        return
    await PlainTextResponse(why, 403)(scope, receive, send)
