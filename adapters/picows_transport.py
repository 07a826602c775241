"""The fast transport, from the extra `[fast]`: `picows` on a socket of `Network`'s.

picows hands over frames, not messages, out of its own read buffer, and logs what it dislikes instead of raising. What
it leaves to its user is done here: joining fragments, the size of a message, extensions, a bounded queue, and pongs
that wait for room. It does not say how a stream ended, so that a reset is told as "eof", too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from pricer.adapters.inflate import EXTENSION, OFFER, Inflater
from pricer.adapters.limits import FeedLimits
from pricer.adapters.network import Network
from pricer.adapters.transport import Connection, ConnectionLost, closed_by_peer, closed_by_us, refused_upgrade
from pricer.adapters.websockets_transport import ended_without_goodbye, not_secured
from pricer.errors import ConfigError

if TYPE_CHECKING:
    from picows import WSFrame, WSTransport

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


class PicowsTransport:
    """Connections of `picows`; a `ConfigError` where it is not installed.

    `compression` offers permessage-deflate, with the same limits as in the default transport.
    """

    def __init__(
        self, limits: FeedLimits | None = None, *, network: Network | None = None, compression: bool = False
    ) -> None:
        try:
            import picows
        except ImportError as error:
            raise ConfigError("transport: picows is not installed: pip install 'volstream[fast]'") from error
        self._picows = picows
        self._limits = limits or FeedLimits()
        self._network = network or Network(self._limits)
        self._compression = compression

    async def connect(self, url: str) -> Connection:
        plain, tls = await self._network.socket_for(url, context="ssl_context")
        made = _PicowsConnection(self._picows, self._limits)
        try:
            await self._picows.ws_connect(
                lambda request, response: _listener(self._picows, made, response, self._compression),
                url,
                socket_factory=lambda parsed: plain,
                websocket_handshake_timeout=self._limits.open_timeout_s,
                logger_name=cast(Any, _Complaints(made)),
                max_frame_size=self._limits.max_frame_bytes,
                enable_auto_pong=False,
                max_redirects=0,
                extra_headers={"Sec-WebSocket-Extensions": OFFER} if self._compression else None,
                **tls,
            )
        except self._picows.WSHandshakeError as error:
            raise _not_upgraded(error) from error
        except (OSError, EOFError) as error:
            raise not_secured(error) from error
        except asyncio.CancelledError:
            # picows keeps its transport to itself until the upgrade is done; the end of the stream ends that, too.
            with contextlib.suppress(OSError):
                plain.shutdown(socket.SHUT_RDWR)
            raise
        if made.transport is None:
            raise ConnectionLost("eof", "the peer ended the stream during the upgrade")
        return made


def _not_upgraded(error: Any) -> ConnectionLost:
    """Why the upgrade failed."""
    response = error.response
    if response is None or response.status == 101:
        return ConnectionLost("bad_handshake", str(error))
    headers = response.headers
    return refused_upgrade(int(response.status), headers.get("Retry-After"), headers.get("Date"))


def _listener(picows: Any, made: _PicowsConnection, response: Any, compression: bool) -> Any:
    """What picows calls; its base class is known only once the library is loaded."""
    extensions = response.headers.getall("Sec-WebSocket-Extensions", [])
    if extensions:
        if not compression:
            raise picows.WSHandshakeError(f"{EXTENSION} was not offered")
        made.inflater = Inflater(", ".join(extensions))

    class Listener(picows.WSListener):  # type: ignore[misc]
        on_ws_connected = staticmethod(made.on_connected)
        on_ws_frame = staticmethod(made.on_frame)
        on_ws_disconnected = staticmethod(made.on_disconnected)
        pause_writing = staticmethod(made.pause_writing)
        resume_writing = staticmethod(made.resume_writing)

    return Listener()


class _Complaints:
    """In the place of a logger: what picows only logs as an error ends the connection at once, and nothing is printed.

    Its own way is to read on for a while after a frame that is too large, and that costs the memory of that frame.
    """

    def __init__(self, made: _PicowsConnection) -> None:
        self._made = made

    def isEnabledFor(self, level: int) -> bool:
        return False

    def error(self, message: str, *arguments: Any) -> None:
        (code, text), *_ = *arguments, (1002, message)
        self._made.fail(closed_by_us(int(getattr(code, "value", code)), str(text)))

    def exception(self, message: str, *arguments: Any) -> None:
        self._made.fail(closed_by_us(1011, message))

    def info(self, message: str, *arguments: Any) -> None: ...
    def warning(self, message: str, *arguments: Any) -> None: ...
    def log(self, level: int, message: str, *arguments: Any) -> None: ...


class _PicowsConnection:
    """The messages of one connection, in a queue that pauses reading when it is full."""

    def __init__(self, picows: Any, limits: FeedLimits) -> None:
        self._text = picows.WSMsgType.TEXT
        self._normal = picows.WSCloseCode.OK
        self._its_own = picows.WSError
        self.transport: WSTransport | None = None
        self.inflater: Inflater | None = None
        self._limits = limits
        self._messages: deque[bytes] = deque()
        self._news = asyncio.Event()  # a message, or the end
        self._room = asyncio.Event()
        self._room.set()
        self._lost: ConnectionLost | None = None
        self._reading = True
        self._fragments: bytearray | None = None  # of a message that is not complete
        self._deflated = False
        self._pings: deque[tuple[bytes, asyncio.Future[None]]] = deque(maxlen=8)
        self._pinged = 0

    # What picows calls

    def on_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        transport.underlying_transport.set_write_buffer_limits(self._limits.max_outbox_bytes // 4)

    def on_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self._lost is not None:
            return
        kind = int(frame.msg_type)  # type: ignore[call-overload]
        if kind <= BINARY:
            self._data(kind, frame)
        elif kind == PING:
            if self._room.is_set():  # RFC 6455 5.5.3: only the last ping needs its pong, and that one will come again
                transport.send_pong(frame.get_payload_as_bytes())
        elif kind == PONG:
            self._pong(frame.get_payload_as_bytes())
        elif kind == CLOSE:
            code = int(frame.get_close_code())  # type: ignore[call-overload]
            self.fail(closed_by_peer(code, (frame.get_close_message() or b"").decode(errors="replace")))

    def on_disconnected(self, transport: WSTransport) -> None:
        self._end(ended_without_goodbye(None))

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def fail(self, lost: ConnectionLost) -> None:
        """The connection is of no use any more."""
        self._end(lost)
        if self.transport is not None:
            self.transport.disconnect(False)

    # Messages out of frames

    def _data(self, kind: int, frame: WSFrame) -> None:
        deflated = bool(frame.rsv1)
        if frame.rsv2 or frame.rsv3 or (deflated and (self.inflater is None or kind == CONTINUATION)):
            return self.fail(closed_by_us(1002, "reserved bits are set"))
        if (kind == CONTINUATION) != (self._fragments is not None):
            return self.fail(closed_by_us(1002, "fragments out of order"))
        data = frame.get_payload_as_bytes()
        if self._fragments is None:
            self._deflated = deflated
            if frame.fin:
                return self._message(data)
            self._fragments = bytearray()
        self._fragments += data
        if len(self._fragments) > self._limits.max_frame_bytes:
            return self.fail(closed_by_us(1009, f"more than {self._limits.max_frame_bytes} bytes"))
        if frame.fin:
            data, self._fragments = bytes(self._fragments), None
            return self._message(data)
        return None

    def _message(self, data: bytes) -> None:
        if self._deflated and self.inflater is not None:
            try:
                data = self.inflater.message(data, self._limits.max_frame_bytes)
            except ConnectionLost as lost:
                return self.fail(lost)
        self._messages.append(data)
        self._news.set()
        if self._reading and len(self._messages) > self._limits.max_queue and self.transport is not None:
            self._reading = False
            self.transport.underlying_transport.pause_reading()
        return None

    def _pong(self, payload: bytes) -> None:
        """A pong answers its ping and all before it."""
        if any(sent == payload for sent, _ in self._pings):
            while self._pings:
                sent, answered = self._pings.popleft()
                if not answered.done():
                    answered.set_result(None)
                if sent == payload:
                    return

    def _end(self, lost: ConnectionLost) -> None:
        if self._lost is None:
            self._lost = lost
            for _, answered in self._pings:
                if not answered.done():
                    answered.cancel()
            self._news.set()
            self._room.set()

    # What the feed calls

    async def recv(self) -> bytes | str:
        while not self._messages:
            if self._lost is not None:
                raise self._lost
            self._news.clear()
            await self._news.wait()
        data = self._messages.popleft()
        if not self._reading and len(self._messages) <= self._limits.max_queue // 4 and self.transport is not None:
            self._reading = True
            with contextlib.suppress(RuntimeError):  # closed in the meantime
                self.transport.underlying_transport.resume_reading()
        return data

    async def send(self, text: str) -> None:
        self._use().send(self._text, text.encode())
        await self._room.wait()
        self._use()

    async def ping(self) -> None:
        self._pinged += 1
        payload = b"%d" % self._pinged
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._use().send_ping(payload)
        self._pings.append((payload, answered))
        await asyncio.wait([answered])
        self._use()

    async def abort(self) -> None:
        self._end(ConnectionLost("shutdown"))
        if self.transport is not None:
            self.transport.disconnect(False)
        await self._until_gone()

    async def close(self) -> None:
        if self.transport is not None and self._lost is None:
            self.transport.send_close(self._normal)
            self.transport.disconnect()
        await self._until_gone()

    async def _until_gone(self) -> None:
        """An error of ours in what picows calls comes out here, and must not be lost; its own has been told."""
        if self.transport is not None:
            with contextlib.suppress(TimeoutError, self._its_own):
                async with asyncio.timeout(self._limits.close_timeout_s):
                    await self.transport.wait_disconnected()

    def _use(self) -> WSTransport:
        if self._lost is not None or self.transport is None:
            raise self._lost or ConnectionLost("eof", "the connection is not open")
        return self.transport
