"""A network on virtual time: the feed's transport on one side, the embedded venue without sockets on the other.

Whole frames travel, over the same `Path` as the TCP proxy's bytes: late, held back, lost with their connection. The
venue's own clock is the loop's. What slicing does to bytes is for real sockets to show.
"""

from __future__ import annotations

import asyncio
from collections import deque

from pricer.adapters.transport import ConnectionLost
from pricer.simulator.path import End, Lane, Path
from pricer.simulator.venues.deribit.faults import FaultyDeribit
from pricer.simulator.venues.deribit.rpc import Session

STEP_S = 0.4

# Control frames: no text of a venue begins so.
PING, PONG, CLOSE = b"\x89", b"\x8a", b"\x88"
_CLOSE_WORDS = {1000: "closed_normal", 1001: "closed_going_away", 1008: "closed_policy", 1011: "closed_server_error"}
_CLOSE_WORDS |= {1012: "closed_restart", 1013: "closed_try_later"}


class SimulatedVenue:
    """The venue's end of every connection, and its pace."""

    def __init__(self, venue: FaultyDeribit, path: Path) -> None:
        self.venue, self.path = venue, path
        self.connections: dict[Session, SimulatedConnection] = {}
        self._loop = asyncio.get_running_loop()
        path.use_clock(self._loop.time)

    async def connect(self, url: str) -> SimulatedConnection:
        """The feed's `Transport`: a handshake, one and a half times there and back."""
        if self.path.weather.unreachable:
            raise ConnectionLost("refused", "nobody listens")
        for direction in ("up", "down", "up"):
            await asyncio.sleep(self.path.delay_s())
            if self.path.is_hole("up" if direction == "up" else "down"):
                await asyncio.sleep(3600.0)
        refusal = self.venue.refusal()
        if refusal is not None:
            raise ConnectionLost(f"http_{refusal.status // 100}xx", f"HTTP {refusal.status}", refusal.retry_after_s)
        session = self.venue.open()
        connection = self.connections[session] = SimulatedConnection(self, session)
        return connection

    async def keep_pace(self) -> None:
        """The market moves and the venue pushes, for ever."""
        while True:
            await asyncio.sleep(STEP_S)
            self.tick()

    def tick(self) -> None:
        """One step of the market."""
        for session, frame in self.venue.tick():
            self.connections[session].pushed(frame)
        for session, connection in list(self.connections.items()):
            if session.closing is not None:
                connection.say_goodbye(session.close_code)
            elif connection.is_left and not self.path.is_hole("up"):
                self.forget(session)

    def forget(self, session: Session) -> None:
        """The venue knows that a connection is gone."""
        if self.connections.pop(session, None) is not None:
            self.venue.close(session)


class SimulatedConnection:
    """Both ends of one connection: the feed's `Connection`, and what the venue reads and writes."""

    def __init__(self, network: SimulatedVenue, session: Session) -> None:
        self._network, self._session = network, session
        self._loop = asyncio.get_running_loop()
        self._link = network.path.join(self._cut, self._reschedule, whole=True)
        self._inbox: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._pongs: deque[asyncio.Future[None]] = deque()
        self._lost: ConnectionLost | None = None
        self._timers: dict[Lane, asyncio.TimerHandle] = {}
        self.is_left = False

    # The client's end

    async def recv(self) -> bytes:
        """The next frame; what has arrived is read before the end is noticed."""
        while not self._inbox:
            if self._lost is not None:
                raise self._lost
            self._arrived.clear()
            await self._arrived.wait()
        return self._inbox.popleft()

    async def send(self, text: str) -> None:
        """Waits while the way up is full."""
        await self._send(text.encode())

    async def ping(self) -> None:
        """Returns when the pong has come."""
        pong: asyncio.Future[None] = self._loop.create_future()
        self._pongs.append(pong)
        await self._send(PING)
        await pong

    async def abort(self) -> None:
        """Gone without a word: in a black hole the venue does not notice."""
        self._leave(ConnectionLost("aborted"))

    async def close(self) -> None:
        """Gone, and the venue knows."""
        self._leave(ConnectionLost("closed_normal"))
        self._network.forget(self._session)

    async def _send(self, frame: bytes) -> None:
        while self._link.up.is_full and self._lost is None:
            self._room.clear()
            await self._room.wait()
        if self._lost is not None:
            raise self._lost
        self._link.up.push(frame, self._loop.time())
        self._schedule(self._link.up)

    def _leave(self, why: ConnectionLost) -> None:
        """This end is over."""
        self._lost = self._lost or why
        self.is_left = True
        self._network.path.leave(self._link)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if not self._network.path.is_hole("up"):
            self._network.forget(self._session)
        self._arrived.set()
        self._room.set()
        while self._pongs:
            pong = self._pongs.popleft()
            if not pong.done():
                pong.set_exception(self._lost)
                pong.exception()

    # The venue's end

    def pushed(self, frame: bytes) -> None:
        """The venue sends; for a connection that its client has left nobody keeps it."""
        if self.is_left:
            return
        limit = self._network.venue.venue.limits.write_buffer_bytes
        if self._link.down.held_bytes > limit:
            self._network.venue.give_up(self._session, "connection_too_slow")
            return
        self._link.down.push(frame, self._loop.time())
        self._schedule(self._link.down)

    def say_goodbye(self, code: int) -> None:
        """The venue closes: behind all that it has sent."""
        self.pushed(CLOSE + str(code).encode())
        self._network.forget(self._session)

    # What lies between

    def _schedule(self, lane: Lane) -> None:
        if lane in self._timers or self.is_left:
            return
        due_s = lane.next_s(self._loop.time())
        if due_s is not None:
            self._timers[lane] = self._loop.call_at(due_s, self._arrive, lane)

    def _reschedule(self) -> None:
        """The weather is another."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for lane in (self._link.up, self._link.down):
            self._schedule(lane)

    def _arrive(self, lane: Lane) -> None:
        self._timers.pop(lane, None)
        is_up = lane is self._link.up
        for frame in lane.take(self._loop.time()):
            if self.is_left:
                return
            if is_up:
                self._at_venue(frame)
            else:
                self._at_client(frame)
        self._room.set()
        self._schedule(lane)

    def _at_venue(self, frame: bytes) -> None:
        if frame == PING:
            self.pushed(PONG)
        elif self._session in self._network.connections:
            for answer in self._network.venue.receive(self._session, frame):
                self.pushed(answer)

    def _at_client(self, frame: bytes) -> None:
        passed = self._link.passed_down(frame)
        if self._link.is_cut or len(passed) < len(frame):
            self._cut("fin")
        elif frame == PONG:
            if self._pongs and not (pong := self._pongs.popleft()).done():
                pong.set_result(None)
        elif frame.startswith(CLOSE):
            code = int(frame[1:])
            self._leave(ConnectionLost(_CLOSE_WORDS.get(code, "closed_other"), str(code)))
        else:
            self._inbox.append(frame)
            self._arrived.set()

    def _cut(self, how: End) -> None:
        self._leave(ConnectionLost("reset" if how == "reset" else "eof", "cut by the path"))
