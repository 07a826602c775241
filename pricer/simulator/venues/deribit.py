"""A Deribit on the loopback: WebSocket at `/ws/api/v2`, REST under `/api/v2/{method}` on the same port.

`deribit_wire` has the JSON objects, `deribit_rpc` the methods and limits; this file has the sockets and the pace.
Every 100 ms the market moves and each requoted option that anyone subscribes to is encoded once, for all its
subscribers. A client that does not read is cut off when its write buffer is full; the others do not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import http
import logging
from collections.abc import Callable

from websockets.asyncio.server import Server, ServerConnection, broadcast
from websockets.asyncio.server import serve as listen
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pricer.clock import Clock, SystemClock
from pricer.errors import ConfigError
from pricer.simulator.faults import Faults
from pricer.simulator.market import Changes, Market
from pricer.simulator.venues import deribit_wire as wire
from pricer.simulator.venues.deribit_rpc import Limits, Rpc, Session, encode

WS_PATH = "/ws/api/v2"
REST_PREFIX = "/api/v2/"
STEP_S = 0.1
CLOSE_S = 4.0
_POLICY_VIOLATION = 1008  # the close code of sessions that the server ends; the venue's own is not known

Readers = dict[str, list[ServerConnection]]

_log = logging.getLogger("volstream.simulator.deribit")


class DeribitServer:
    """The venue. `async with DeribitServer(seed=7) as server:` serves at `server.url` and `server.http_url`.

    The market starts at the clock's present time and moves by itself; with `step_s=None` it moves only on `tick()`.
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
        step_s: float | None = STEP_S,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.market = market or Market(seed, self.clock.now().wall_ns, activity=activity)
        self.limits = limits or Limits()
        self.sessions: dict[ServerConnection, Session] = {}
        self.faults = Faults(self.sessions.keys())
        self.rpc = Rpc(self.market, self.clock, self.faults, self.limits, testnet)
        self.host, self.port = host, port
        self.sent = 0  # notifications, counted once per subscriber
        self._step_s = step_s
        self._readers: Readers | None = None  # by channel; None: to be made anew
        self._server: Server | None = None
        self._pacer: asyncio.Task[None] | None = None
        self._endings: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The WebSocket address."""
        return f"ws://{self.host}:{self.port}{WS_PATH}"

    @property
    def http_url(self) -> str:
        """The REST address, to be followed by `/` and a method."""
        return f"http://{self.host}:{self.port}{REST_PREFIX.rstrip('/')}"

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
                compression=None,
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
        now = self.clock.now()
        self.market.frozen = self.faults.freeze_index
        changes = self.market.step(now.wall_ns)
        if self.sessions:
            if not self.faults.stop_pushing:
                self._push(changes)
            self._look_after_sessions(now.mono_ns)

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
            return _json(*self.rpc.http(path, query))
        if path != WS_PATH:
            return _json(404, b'{"error":"not found"}')
        if self.faults.refuse_connections:
            return _json(503, b'{"error":"unavailable"}')
        if len(self.sessions) >= self.limits.connections:
            return _json(429, b'{"error":"too many connections"}')
        return None

    async def _serve_client(self, connection: ServerConnection) -> None:
        session = self.sessions[connection] = self.rpc.open()
        try:
            async for frame in connection:
                for answer in self.rpc.receive(session, frame):
                    if not self.faults.stop_answering:
                        await connection.send(answer.decode())
                self._readers = None
                if session.closing is not None:
                    session.ending = True
                    await connection.close(_POLICY_VIOLATION, session.closing)
        except ConnectionClosed:
            _log.info("a client went without saying goodbye")
        finally:
            del self.sessions[connection]
            self._readers = None

    def _look_after_sessions(self, mono_ns: int) -> None:
        for connection, session in self.sessions.items():
            if connection.transport.get_write_buffer_size() > self.limits.write_buffer_bytes:
                # A closing handshake would wait behind all that the client has not read.
                _log.info("a client was dropped: connection_too_slow")
                session.closing, session.ending, self._readers = "connection_too_slow", True, None
                connection.transport.abort()
            for beat in session.beat(mono_ns):
                broadcast((connection,), beat.decode())
            if session.closing is not None and not session.ending:
                session.ending = True
                self._readers = None
                self._end(connection, session.closing)

    def _end(self, connection: ServerConnection, reason: str) -> None:
        """Close in the background: a client gets the time of a closing handshake, then is cut."""
        task = asyncio.create_task(connection.close(_POLICY_VIOLATION, reason), name="deribit-close")
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    # -- notifications ------------------------------------------------------------------------------------

    def _push(self, changes: Changes) -> None:
        if self._readers is None:
            self._readers = self._readers_by_channel()
        readers = self._readers
        if changes.rolled:
            self._push_roll(readers, changes)
        for name, rows in changes.quoted.items():
            self._push_quotes(readers, name, rows)
        for name in () if self.faults.freeze_index else changes.indexes:
            chain = self.market.chains[name]
            self._send(readers, f"deribit_price_index.{chain.family.index_name}", wire.index_price(self.market, chain))

    def _readers_by_channel(self) -> Readers:
        readers: Readers = {}
        for connection, session in self.sessions.items():
            if session.closing is None:
                for channel in session.channels:
                    readers.setdefault(channel, []).append(connection)
        return readers

    def _push_quotes(self, readers: Readers, name: str, rows: list[int]) -> None:
        chain = self.market.chains[name]
        wanted = [row for row in rows if f"ticker.{chain.names[row]}.100ms" in readers]
        for ticker in wire.option_tickers(self.market, chain, wanted):
            self._send(readers, f"ticker.{ticker['instrument_name']}.100ms", ticker)
        for future in chain.futures.values():
            channel = f"ticker.{future.name}.100ms"
            if channel in readers:
                self._send(readers, channel, wire.future_ticker(self.market, chain, future))

    def _push_roll(self, readers: Readers, changes: Changes) -> None:
        """08:00: last tickers and states of what expired, then the new listings."""
        for name, chain in self.market.chains.items():
            if chain.past is not None:
                for row, option in enumerate(chain.past.names):
                    channel = f"ticker.{option}.100ms"
                    if channel in readers:
                        self._send(readers, channel, wire.closed_ticker(self.market, chain.past, row))
                    self._push_state(readers, chain.family.settlement, "option", option, "archivized")
                for future in chain.past.futures:
                    self._push_state(readers, chain.family.settlement, "future", future, "archivized")
            for option in changes.listed.get(name, ()):
                self._push_state(readers, chain.family.settlement, "option", option, "open")
                created = wire.option_instrument(chain, chain.row_of[option])
                self._send_lifecycle(readers, "creation", "option", chain.family.settlement, created)

    def _push_state(self, readers: Readers, currency: str, kind: str, name: str, state: str) -> None:
        data = wire.instrument_state(self.market, name, state)
        self._send_lifecycle(readers, "state", kind, currency, data)

    def _send_lifecycle(self, readers: Readers, event: str, kind: str, currency: str, data: wire.Json) -> None:
        for of_kind in (kind, "any"):
            for of_currency in (currency, "any"):
                self._send(readers, f"instrument.{event}.{of_kind}.{of_currency}", data)

    def _send(self, readers: Readers, channel: str, data: object) -> None:
        # Asyncio would log each write to a connection that is lost already.
        connections = [each for each in readers.get(channel, ()) if not each.transport.is_closing()]
        if connections:
            broadcast(connections, encode(channel, data).decode())
            self.sent += len(connections)


def _json(status: int, body: bytes) -> Response:
    headers = Headers()
    headers["Content-Type"] = "application/json"
    headers["Content-Length"] = str(len(body))
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
