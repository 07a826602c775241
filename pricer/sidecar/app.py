"""The sidecar's edge: FastAPI on uvicorn, one process, one loop.

listener = bind(settings.server)             # a port in use is an error before anything else starts
async with pricer.live(...) as stream:
    await serve(stream, settings, listener)  # until cancelled, SIGTERM or SIGINT
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import uvicorn
from fastapi import FastAPI, WebSocket
from starlette.responses import JSONResponse

from pricer.clock import Clock, SystemClock
from pricer.config import ServerSection, Settings
from pricer.sidecar import routes
from pricer.sidecar.admin import admin
from pricer.sidecar.admission import Admission
from pricer.sidecar.alerts.service import Alerts, check_rules, webhooks_of
from pricer.sidecar.auth import warn_if_none_is_valid
from pricer.sidecar.clients import Client
from pricer.sidecar.door import VISIT, Door, Doorkeeper, introduced, tell
from pricer.sidecar.encodings import ENCODINGS, JSON
from pricer.sidecar.guard import Guard
from pricer.sidecar.hub import Hub, SnapshotSource, first_error
from pricer.sidecar.listener import ACCEPTED_AT_ONCE, BACKLOG, address_of, bind, bind_port, most_connections, release
from pricer.sidecar.metrics import watch_the_alerts, watch_the_door
from pricer.sidecar.pages import pages
from pricer.sidecar.protocol import Refused, negotiate
from pricer.sidecar.reload import Reloader
from pricer.sidecar.routes.documented import Documented
from pricer.sidecar.routes.health import health
from pricer.sidecar.tls import server_context
from pricer.sidecar.tls_gate import TlsGate
from pricer.sidecar.transport import HEAD_BYTES, ClientProtocol, HttpProtocol, link_of
from pricer.sidecar.webhook_address import WebhookAddress
from pricer.signals import watching
from pricer.watchdog import LoopWatchdog

TRY_LATER = 1013

__all__ = ["address_of", "bind", "create_app", "serve"]


def create_app(hub: Hub, door: Door | None = None, reloader: Reloader | None = None) -> FastAPI:
    """All routes over one hub; by default `door` has the tokens of the hub's settings."""
    door = door or Door(hub.settings, hub.clock, hub.counts)
    hub.admission.asks = lambda: door.authority.asks
    app = Documented(
        asks=lambda: door.authority.asks,
        title="volstream",
        version=_version(),
        description="A live options pricer: implied volatility, Greeks and an arbitrage-checked surface on every tick.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    routes.install(app, hub)
    app.include_router(admin(reloader, hub.clock))
    app.include_router(pages(app))
    # Starlette's own route: FastAPI's would keep its injection of dependencies, some KiB a client, and there is none.
    app.router.add_websocket_route("/v1/stream", _stream(hub, door))
    app.add_middleware(Doorkeeper, door=door)
    app.add_middleware(Guard, settings=lambda: door.settings)
    return app


def prepare(app: FastAPI) -> None:
    """Make now what FastAPI makes when it first looks through its paths: a tenth of a second that all would wait."""
    for route in app.router.routes:
        route.matches({"type": "http", "method": "GET", "path": "/no/such/path", "root_path": "", "headers": []})


def _stream(hub: Hub, door: Door) -> Callable[[WebSocket], Awaitable[None]]:
    async def stream(websocket: WebSocket) -> None:
        """Known first: who shows no token in time has cost the hub nothing."""
        known = VISIT in websocket.scope
        try:
            encoding, subprotocol = negotiate(websocket.scope["subprotocols"], ENCODINGS, JSON)
        except Refused as refused:
            await websocket.send_denial_response(JSONResponse({"code": refused.code, "detail": str(refused)}, 400))
            return
        await websocket.accept(subprotocol)
        visit = await introduced(websocket, door, encoding)
        if visit is None:
            return
        link = link_of(websocket)
        if not link.is_known_now():
            await tell(websocket, encoding, "too_many_clients", "there is no place for one more client")
            await websocket.close(TRY_LATER)
            return
        client = hub.join(link, encoding, visit.scopes.words)
        door.enter(visit, client.hang_up)
        try:
            hub.greet(client, introduced=not known)
            await _read(websocket, hub, client)
        finally:
            door.leave(visit)
            hub.leave(client)

    return stream


async def _read(websocket: WebSocket, hub: Hub, client: Client) -> None:
    while not client.closing:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        hub.receive(client, message.get("bytes") or b"" if text is None else text)


class Server(uvicorn.Server):
    """uvicorn, but signals are the caller's, and clients are told with 1001 when it ends."""

    def __init__(
        self, config: uvicorn.Config, handshake_s: float, started: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(config)
        self._handshake_s = handshake_s
        self._started = started
        self.ending: Callable[[], object] = lambda: None  # called when it begins to end

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise the signal again at the end, and the process would end with 143."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's for sockets that listen already, with a gate before TLS: asyncio would let everybody in."""
        config, loop = self.config, asyncio.get_running_loop()

        def connection() -> asyncio.Protocol:
            http: HttpProtocol = config.http_protocol_class(  # type: ignore[call-arg, assignment] # see _uvicorn
                config=config, server_state=self.server_state, app_state={}
            )
            return http if config.ssl is None else TlsGate(http, config.ssl, self._handshake_s)

        self.servers = []
        for listener in sockets or ():
            self.servers.append(await loop.create_server(connection, sock=listener, backlog=ACCEPTED_AT_ONCE))
            listener.listen(BACKLOG)  # asyncio takes the one number for both
        self.started = True
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.ending()
        await super().shutdown(sockets)

    def stop(self) -> None:
        """End in good order; a second time: at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


async def serve(
    source: SnapshotSource,
    settings: Settings,
    listener: socket.socket | None = None,
    *,
    clock: Clock | None = None,
    started: Callable[[str], object] = lambda address: None,
    reread: Callable[[], Settings] | None = None,
    webhooks: Iterable[WebhookAddress] | None = None,
) -> None:
    """Serve until cancelled, SIGTERM or SIGINT; then close clients with 1001 and return.

    `started` is called with the address once connections are served. An error of the source ends the server and is
    raised here. `reread` gives the settings anew, on SIGHUP or POST /v1/admin/reload; clients stay connected.
    `webhooks` are where those of the settings lead, which `preflight.check` has looked up already.
    """
    own, clock = settings.server, clock or SystemClock()
    context = server_context(own)
    check_rules(settings.alerts, settings.feed.underlyings)
    hub = Hub(
        source,
        own,
        venue=settings.feed.venue,
        underlyings=settings.feed.underlyings,
        clock=clock,
        server=f"volstream {_version()}",
        admission=Admission(own, most_connections(own)),
    )
    door = Door(own, clock, hub.counts)
    warn_if_none_is_valid(door.authority)
    watch_the_door(hub.metrics.registry, door)
    with _listening(own, listener) as (main, beside):
        addresses = await webhooks_of(settings.alerts) if webhooks is None else webhooks
        alerts = hub.alerts = Alerts(settings.alerts, lambda: hub.snapshot, clock, settings.feed.underlyings, addresses)
        watch_the_alerts(hub.metrics.registry, alerts)
        reloader = None if reread is None else Reloader(settings, reread, door, hub, context, clock, alerts)
        address = address_of(main, secure=context is not None)
        app = create_app(hub, door, reloader)
        prepare(app)
        config = _uvicorn(app, hub, context)
        server = Server(config, own.handshake_timeout_s, lambda: started(address))
        server.ending = hub.close
        servers = {asyncio.create_task(server.serve([main]), name="sidecar-http"): server}
        if beside is not None:
            alone = Server(_uvicorn(health_app(hub), hub, None), own.handshake_timeout_s)
            servers[asyncio.create_task(alone.serve([beside]), name="sidecar-metrics")] = alone
        publishing = asyncio.create_task(hub.run(), name="sidecar-hub")
        beside_it = {
            asyncio.create_task(door.keep_swept(), name="sidecar-door"),
            asyncio.create_task(alerts.run(), name="sidecar-alerting"),
        }
        with (
            watching(server.stop, own.exit_s, _on_hang_up(reloader)),
            LoopWatchdog(hub.counts, "the sidecar's loop"),
        ):
            try:
                await asyncio.wait({*servers, publishing, *beside_it}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in servers.values():
                    each.should_exit = True
                await asyncio.wait(servers)
                for task in (publishing, *beside_it):
                    task.cancel()
                await asyncio.wait({publishing, *beside_it})
    _raise_errors(*servers, publishing, *beside_it)


@contextlib.contextmanager
def _listening(
    settings: ServerSection, listener: socket.socket | None
) -> Iterator[tuple[socket.socket, socket.socket | None]]:
    """The listener, the one for metrics where there is one; both are closed at the end, whatever happens."""
    with contextlib.ExitStack() as stack:
        main = listener or bind(settings)
        stack.callback(release, settings)
        stack.callback(main.close)
        beside = None
        if settings.metrics_port is not None:
            beside = bind_port("127.0.0.1", settings.metrics_port, "metrics_port")
            stack.callback(beside.close)
        yield main, beside


def _on_hang_up(reloader: Reloader | None) -> dict[signal.Signals, Callable[[], object]]:
    """SIGHUP reads the settings again; at a terminal it goes on meaning that the terminal has gone."""
    if reloader is None or sys.stdin is None or sys.stdin.isatty() or not hasattr(signal, "SIGHUP"):
        return {}
    return {signal.SIGHUP: reloader.on_signal}


def health_app(hub: Hub) -> FastAPI:
    """Health and metrics alone, for a port of their own that asks for no token."""
    app = FastAPI(title="volstream", version=_version(), docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(health(hub))
    app.add_middleware(Guard, settings=lambda: hub.settings)
    return app


def _raise_errors(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, BaseExceptionGroup):
            raise first_error(error) from error
        if error is not None:
            raise error


def _uvicorn(app: FastAPI, hub: Hub, context: ssl.SSLContext | None) -> uvicorn.Config:
    settings = hub.settings
    return uvicorn.Config(
        app,
        http=partial(HttpProtocol, admission=hub.admission),  # type: ignore[arg-type] # called like the class
        ws=partial(ClientProtocol, admission=hub.admission),  # type: ignore[arg-type] # the same
        # More than max_message_bytes, so that a client that sends too much is told so before it is closed.
        ws_max_size=4 * settings.max_message_bytes,
        ws_ping_interval=settings.ping_s,
        ws_ping_timeout=settings.ping_s,
        ws_per_message_deflate=False,  # it would cost each client's share of CPU and memory, on loopback for nothing
        lifespan="off",
        log_config=None,
        log_level="error",  # a line for every bad request would let strangers fill the log; they are counted
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=math.ceil(settings.handshake_timeout_s),
        timeout_graceful_shutdown=math.ceil(settings.shutdown_s),
        h11_max_incomplete_event_size=HEAD_BYTES,
        ssl_context_factory=None if context is None else lambda config, default: context,
    )


def _version() -> str:
    try:
        return version("volstream")
    except PackageNotFoundError:  # run from a tree that is not installed
        return "0"
