"""The sidecar's edge: FastAPI on uvicorn, one process, one loop.

listener = bind(settings.server)             # a port in use is an error before anything else starts
async with pricer.live(...) as stream:
    await serve(stream, settings, listener)  # until cancelled, SIGTERM or SIGINT
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version

import uvicorn
from fastapi import FastAPI, WebSocket
from starlette.responses import JSONResponse
from starlette.websockets import WebSocketDisconnect

from pricer.clock import Clock
from pricer.config import MIB, ServerSection, Settings
from pricer.errors import ConfigError
from pricer.sidecar.guard import Guard
from pricer.sidecar.hub import Client, Hub, SnapshotSource, first_error
from pricer.sidecar.pages import pages
from pricer.sidecar.protocol import Refused
from pricer.sidecar.routes import data, health
from pricer.sidecar.transport import ClientProtocol, hang_up_of

# A dead client is noticed after at most twice this, and then lingers a moment: FAULTS V02 wants 20 s.
PING_S = 8.0


def bind(settings: ServerSection) -> socket.socket:
    """A listening socket on the configured address; `ConfigError` names host and port where that cannot be had."""
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError(f"server.host: no such address {where}: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        what = "another program listens there already" if error.errno == errno.EADDRINUSE else error.strerror
        raise ConfigError(f"server.port: cannot listen on {where}: {what}") from error
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """The address for a browser, with the port that was really taken."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def create_app(hub: Hub) -> FastAPI:
    """All routes over one hub."""
    app = FastAPI(
        title="volstream",
        version=_version(),
        description="A live options pricer: implied volatility, Greeks and an arbitrage-checked surface on every tick.",
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(health(hub))
    app.include_router(data(hub))
    app.include_router(pages(app))
    app.add_api_websocket_route("/v1/stream", _stream(hub))
    app.add_middleware(Guard, settings=hub.settings)
    return app


def _stream(hub: Hub) -> Callable[[WebSocket], object]:
    async def stream(websocket: WebSocket) -> None:
        try:
            client = hub.join(hang_up_of(websocket))
        except Refused as refused:
            await websocket.send_denial_response(JSONResponse({"detail": str(refused)}, 503))
            return
        try:
            await websocket.accept()
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(_write(websocket, hub, client))
                await _read(websocket, hub, client)
                writing.cancel()
        finally:
            hub.leave(client)

    return stream


async def _read(websocket: WebSocket, hub: Hub, client: Client) -> None:
    while not client.closing:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        hub.receive(client, message.get("bytes") or b"" if text is None else text)


async def _write(websocket: WebSocket, hub: Hub, client: Client) -> None:
    try:
        while True:
            await client.wake.wait()
            client.wake.clear()
            while texts := hub.next_texts(client):
                for text in texts:
                    await websocket.send_text(text)
                client.outbox.written()
    except WebSocketDisconnect:
        return


class Server(uvicorn.Server):
    """uvicorn, but signals are the caller's, and clients are told with 1001 when it ends."""

    def __init__(self, config: uvicorn.Config, hub: Hub, started: Callable[[], object]) -> None:
        super().__init__(config)
        self._hub = hub
        self._started = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn would raise the signal again at the end, and the process would end with 143."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
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
) -> None:
    """Serve until cancelled, SIGTERM or SIGINT; then close clients with 1001 and return.

    `started` is called with the address once connections are served. An error of the source ends the server and is
    raised here.
    """
    listener = listener or bind(settings.server)
    address = address_of(listener)
    hub = Hub(source, settings.server, venue=settings.feed.venue, underlyings=settings.feed.underlyings, clock=clock)
    server = Server(_uvicorn(create_app(hub), settings.server), hub, lambda: started(address))
    with _signals(server.stop):
        serving = asyncio.create_task(server.serve([listener]), name="sidecar-http")
        publishing = asyncio.create_task(hub.run(), name="sidecar-hub")
        try:
            await asyncio.wait({serving, publishing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            server.should_exit = True
            await asyncio.wait({serving})
            publishing.cancel()
            await asyncio.wait({publishing})
            listener.close()
    _raise_errors(serving, publishing)


def _raise_errors(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, BaseExceptionGroup):
            raise first_error(error) from error
        if error is not None:
            raise error


def _uvicorn(app: FastAPI, settings: ServerSection) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ws=ClientProtocol,
        ws_max_size=MIB,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # it would cost each client's share of CPU and memory, on loopback for nothing
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=settings.max_clients + 100,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_s),
        h11_max_incomplete_event_size=16 * 1024,
    )


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call `stop`; only a main thread can have that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for number in before:
            loop.add_signal_handler(number, stop)
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _version() -> str:
    try:
        return version("volstream")
    except PackageNotFoundError:  # run from a tree that is not installed
        return "0"
