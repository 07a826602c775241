"""A Deribit on the loopback: WebSocket at `/ws/api/v2`, REST under `/api/v2/{method}` on the same port.

`venue` is the venue; this file has the sockets and the pace: every 100 ms the market moves. A client that does
not read is cut off when its write buffer is full; the others do not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http
import logging
from collections.abc import Callable, Mapping

from websockets.asyncio.server import Server, ServerConnection, broadcast
from websockets.asyncio.server import serve as listen
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pricer.clock import Clock, SystemClock
from pricer.errors import ConfigError
from pricer.simulator.market import Market
from pricer.simulator.venues.deribit.faults import FaultyDeribit
from pricer.simulator.venues.deribit.rpc import Limits, Session
from pricer.simulator.venues.deribit.venue import REST_PREFIX, WS_PATH, DeribitVenue
from pricer.simulator.venues.socket_faults import SocketFaults

STEP_S = 0.1
CLOSE_S = 4.0

_log = logging.getLogger("volstream.simulator.deribit")


class DeribitServer:
    """The venue. `async with DeribitServer(seed=7) as server:` serves at `server.url` and `server.http_url`.

    The market starts at the clock's present time and moves by itself; with `step_s=None` it moves only on `tick()`.
    `accounts` are the API keys that may log in, `{client_id: client_secret}`. What `venue` can be told by hand
    (maintenance, halts, listings) can be told to the server. `compression` accepts permessage-deflate where a client
    offers it; whether the venue does is not known.
    """

    def __init__(
        self,
        market: Market | None = None,
        *,
        seed: int = 7,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        activity: float = 0.1,
        limits: Limits | None = None,
        testnet: bool = False,
        accounts: Mapping[str, str] | None = None,
        step_s: float | None = STEP_S,
        compression: bool = False,
    ) -> None:
        self.sessions: dict[ServerConnection, Session] = {}
        self.faults = SocketFaults(connections=self.sessions.keys())
        self.venue = DeribitVenue(
            market,
            clock=clock or SystemClock(),
            seed=seed,
            activity=activity,
            limits=limits,
            testnet=testnet,
            faults=self.faults,
            accounts=accounts,
        )
        self._served: DeribitVenue | FaultyDeribit = self.venue
        self.host, self.port = host, port
        self._step_s = step_s
        self._compression = compression
        self._connections: dict[Session, ServerConnection] = {}
        self._server: Server | None = None
        self._pacer: asyncio.Task[None] | None = None
        self._endings: set[asyncio.Task[None]] = set()

    @property
    def market(self) -> Market:
        """What is traded."""
        return self.venue.market

    @property
    def sent(self) -> int:
        """Notifications, counted once per subscriber."""
        return self.venue.sent

    @property
    def url(self) -> str:
        """The WebSocket address."""
        return f"ws://{self.host}:{self.port}{WS_PATH}"

    @property
    def http_url(self) -> str:
        """The REST address, to be followed by `/` and a method."""
        return f"http://{self.host}:{self.port}{REST_PREFIX.rstrip('/')}"

    def under_faults(self, seed: int = 0) -> FaultyDeribit:
        """Put a fault layer between the venue and its clients; what it draws comes from `seed`."""
        self._served = FaultyDeribit(self.venue, seed)
        return self._served

    async def __aenter__(self) -> DeribitServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen; ConfigError naming host and port when the port is taken or the host is not ours."""
        try:
            self._server = await listen(
                self._serve_client,
                self.host,
                self.port,
                process_request=self._before_handshake,
                compression="deflate" if self._compression else None,
                ping_interval=None,
                open_timeout=CLOSE_S / 2,  # else a connection that never asks for anything would hold up close()
                close_timeout=CLOSE_S / 2,
                max_size=1024 * 1024,  # larger than the venue's own limit, which is answered with an error
                logger=_log,
            )
        except OSError as error:
            reason = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
            raise ConfigError(f"cannot serve on {self.host} port {self.port}: {reason}") from error
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        if self._step_s is not None:
            self._pacer = asyncio.create_task(self._keep_pace(self._step_s), name="deribit-market")

    async def close(self) -> None:
        """Close all connections and stop, within 5 s."""
        if self._pacer is not None:
            self._pacer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pacer
            self._pacer = None
        if self._server is None:
            return
        self._server.close()
        try:
            await asyncio.wait_for(self._server.wait_closed(), CLOSE_S)
        except TimeoutError:  # clients that do not finish the closing handshake
            for connection in list(self.sessions):
                connection.transport.abort()
            await self._server.wait_closed()
        if self._endings:
            await asyncio.wait(self._endings)
        self._server = None

    def tick(self) -> None:
        """Move the market to the clock's time, send what is due, and end the sessions that have to end."""
        for session, frame in self._served.tick():
            # Asyncio would log each write to a connection that is lost already.
            if not (connection := self._connections[session]).transport.is_closing():
                broadcast((connection,), frame.decode())
        for connection, session in self.sessions.items():
            self._look_after(connection, session)

    def maintenance(self, on: bool, *, close: bool = False) -> None:
        """See `DeribitVenue.maintenance`."""
        self.venue.maintenance(on, close=close)

    def lock(self, index_name: str, on: bool) -> None:
        """See `DeribitVenue.lock`."""
        self.venue.lock(index_name, on)

    def halt(self, name: str, state: str = "halted") -> None:
        """See `DeribitVenue.halt`."""
        self.venue.halt(name, state)

    def list_strike(self, family: str, code: str, strike: float) -> tuple[str, str]:
        """See `DeribitVenue.list_strike`."""
        return self.venue.list_strike(family, code, strike)

    def expire(self, name: str) -> None:
        """See `DeribitVenue.expire`."""
        self.venue.expire(name)

    def announce_restart(self, after_s: float = 30.0) -> None:
        """See `DeribitVenue.announce_restart`."""
        self.venue.announce_restart(after_s)

    async def _keep_pace(self, step_s: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self.tick()
            # Steps missed while the machine was busy are left out, not made up for.
            due = max(due + step_s, loop.time())
            await asyncio.sleep(due - loop.time())

    # -- one client ---------------------------------------------------------------------------------------

    def _before_handshake(self, connection: ServerConnection, request: Request) -> Response | None:
        path, _, query = request.path.partition("?")
        if path.startswith(REST_PREFIX):
            return _json(*self._served.http(path, query, request.headers.get("Authorization", "")))
        if path != WS_PATH:
            return _json(404, b'{"error":"not found"}')
        refusal = self._served.refusal()
        return None if refusal is None else _json(*refusal)

    async def _serve_client(self, connection: ServerConnection) -> None:
        session = self.sessions[connection] = self._served.open()
        self._connections[session] = connection
        try:
            async for frame in connection:
                for answer in self._served.receive(session, frame):
                    await connection.send(answer.decode())
                if session.closing is not None:
                    session.ending = True
                    await connection.close(session.close_code, session.closing)
        except ConnectionClosed:
            _log.info("a client went without saying goodbye")
        finally:
            del self.sessions[connection], self._connections[session]
            self._served.close(session)

    def _look_after(self, connection: ServerConnection, session: Session) -> None:
        if connection.transport.get_write_buffer_size() > self.venue.limits.write_buffer_bytes:
            # A closing handshake would wait behind all that the client has not read.
            _log.info("a client was dropped: connection_too_slow")
            self._served.give_up(session, "connection_too_slow")
            session.ending = True
            connection.transport.abort()
        if session.closing is not None and not session.ending:
            session.ending = True
            self._end(connection, session)

    def _end(self, connection: ServerConnection, session: Session) -> None:
        """Close in the background: a client gets the time of a closing handshake, then is cut."""
        task = asyncio.create_task(connection.close(session.close_code, session.closing or ""), name="deribit-close")
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)


def _json(status: int, body: bytes, retry_after_s: int = 0) -> Response:
    headers = Headers()
    headers["Content-Type"] = "application/json"
    headers["Content-Length"] = str(len(body))
    if retry_after_s:
        headers["Retry-After"] = str(retry_after_s)
    return Response(status, http.HTTPStatus(status).phrase, headers, body)


async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    seed: int = 7,
    *,
    clock: Clock | None = None,
    activity: float = 0.1,
    ready: Callable[[DeribitServer], None] | None = None,
) -> None:
    """Serve the embedded market until cancelled; `ready` is called with the server once it listens."""
    async with DeribitServer(seed=seed, host=host, port=port, clock=clock, activity=activity) as server:
        if ready is not None:
            ready(server)
        await asyncio.get_running_loop().create_future()
