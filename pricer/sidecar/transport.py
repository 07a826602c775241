"""uvicorn's two protocols with what a server among strangers needs besides.

`HttpProtocol` is every connection at first: it is counted, has a deadline for each request, and a bounded head.
`ClientProtocol` is a WebSocket after its handshake. It is a `Link`: whole frames are written straight to the transport,
which tells at once when the peer has not taken all of one, and a client that does not read can be ended. ASGI has
neither: its `send` waits until the peer has read what was written before.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from asyncio.transports import BaseTransport
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import h11
from starlette.websockets import WebSocket
from uvicorn._types import ASGISendEvent
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from pricer.sidecar.admission import MALFORMED, TIMEOUT, TOO_LARGE, UNREAD, Admission
from pricer.sidecar.clients import Reader

LINK = "volstream.link"
LINGER_S = 3.0
HEAD_BYTES = 16 * 1024  # of a request line and headers, together
# Read in pieces, or a head of any size that comes in one piece would pass.
PIECE_BYTES = 4096
# What the kernel may hold back for a peer that does not read; beyond, it waits in our own queue, where it can be
# conflated. Without this some megabytes of old news would precede the newest.
UNSENT_BYTES = 128 * 1024
# Pings, pongs and pieces of messages, which no request limit counts; twice that at once.
CONTROL_FRAMES_PER_S = 50.0
PIECES = 1024  # of one message
RETRY_S = 2


def answer(status: int, why: str) -> bytes:
    """A whole HTTP answer that ends the connection."""
    phrase = HTTPStatus(status).phrase
    retry = f"retry-after: {RETRY_S}\r\n" if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    body = f'{{"code":"{phrase.lower().replace(" ", "_")}","detail":"{why}"}}'.encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"{retry}connection: close\r\n\r\n"
    )
    return head.encode() + body


def cut(transport: asyncio.Transport) -> None:
    """End a connection at once. The kernel forgets what it still has to send, too: the peer may never ask for it."""
    raw = transport.get_extra_info("socket")
    if raw is not None and raw.fileno() < 0:  # it has ended, and asyncio could not end it again
        return
    if raw is not None and raw.family != socket.AF_UNIX:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def tell_all_that_waits(transport: asyncio.WriteTransport) -> None:
    """From now on `pause_writing` tells of whatever is not sent at once. `high` is the most that may wait untold.

    With TLS 0 would tell it always. There asyncio tells nobody of the first 64 KiB of what is encrypted already.
    """
    transport.set_write_buffer_limits(high=0 if transport.get_extra_info("sslcontext") is None else 1, low=0)


class HttpProtocol(H11Protocol):
    """A connection until it is a WebSocket: refused when there are too many, cut when a request does not come."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        admission: Admission,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.admission = admission
        self._address = ""
        self._counted = False
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Before a byte is read: is there a place?"""
        super().connection_made(transport)
        tell_all_that_waits(transport)
        self._address = self.admission.address_of(self.client)
        why = self.admission.http.take(self._address)
        if why:
            self._refuse(why, HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
            return
        self._counted = True
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._end()

    def data_received(self, data: bytes) -> None:
        """In pieces, so that the bound of h11 for an unfinished head is one for every head."""
        if self._deadline is None and not self._is_serving():
            self._await_request()
        for start in range(0, len(data), PIECE_BYTES):
            if self.transport.is_closing() or self.transport.get_protocol() is not self:
                return
            super().data_received(data[start : start + PIECE_BYTES])
        if self._is_serving():
            self._clear_deadline()

    def on_response_complete(self) -> None:
        """The next request may have come with the one before, and its body not: that has a deadline, too."""
        super().on_response_complete()
        if self._deadline is None and self._is_receiving():
            self._await_request()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """A client to be: it needs a place of the other kind. Nothing is made for one that has none.

        Nor for one that has not read the answer before: it would begin behind.
        """
        if self.cycle is not None and self.flow.write_paused:
            self._refuse(UNREAD, HTTPStatus.BAD_REQUEST, "the answer before is not read yet")
            return
        places = self.admission.websockets(any(name == b"authorization" for name, _ in event.headers))
        why = places.take(self._address)
        if why:
            self._refuse(why, HTTPStatus.SERVICE_UNAVAILABLE, "too many clients")
            return
        super().handle_websocket_upgrade(event)
        client = self.transport.get_protocol()
        assert isinstance(client, ClientProtocol), "uvicorn has just put it there"
        client.places = places
        self._end()

    def send_400_response(self, msg: str) -> None:
        """What h11 refused, by its kind; called while its error is being handled."""
        error = sys.exception()
        if not isinstance(error, h11.RemoteProtocolError) or error.error_status_hint != 431:
            self._refuse(MALFORMED, HTTPStatus.BAD_REQUEST, "not an HTTP request")
        elif b"\n" in self.conn.trailing_data[0]:
            self._refuse(TOO_LARGE, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too long")
        else:
            self._refuse(TOO_LARGE, HTTPStatus.REQUEST_URI_TOO_LONG, "the URL is too long")

    def pause_writing(self) -> None:
        """An answer that the peer does not read is not kept for ever."""
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._forget_unread()

    def eof_received(self) -> None:
        """asyncio closes the transport when this returns; below TLS something may wait that was not told."""
        self._await_reading()

    def _is_serving(self) -> bool:
        """A request is complete, and its answer is not."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _is_receiving(self) -> bool:
        """A request has begun, and its body is not complete."""
        return self.cycle is not None and not self.cycle.response_complete and self.cycle.more_body

    def _await_request(self) -> None:
        self._deadline = self.loop.call_later(self.admission.settings.handshake_timeout_s, self._too_late)

    def _await_reading(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(self.admission.settings.slow_client_s, self._give_up)

    def _too_late(self) -> None:
        self._deadline = None
        if self.cycle is None or self.cycle.response_complete:
            self._refuse(TIMEOUT, HTTPStatus.REQUEST_TIMEOUT, "no whole request came in time")
        else:  # the body did not come, and the answer may have begun
            self.admission.refused[TIMEOUT] += 1
            cut(self.transport)

    def _refuse(self, why: str, status: HTTPStatus, detail: str) -> None:
        self.admission.refused[why] += 1
        if not self.transport.is_closing():
            self.transport.write(answer(status, detail))
            self.transport.close()

    def _give_up(self) -> None:
        self.admission.refused[UNREAD] += 1
        cut(self.transport)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _end(self) -> None:
        self._clear_deadline()
        self._forget_unread()
        if self._counted:
            self._counted = False
            self.admission.http.give_back(self._address)


class ClientProtocol(WebSocketsSansIOProtocol):
    """One WebSocket, and the `Link` to it; the application finds it in the scope's extensions."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        admission: Admission,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._admission = admission
        self.places = admission.clients  # where it has its own
        self._reader: Reader | None = None
        self._handshake: asyncio.TimerHandle | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._control_frames, self._control_since = 0.0, 0.0

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_protocol(self)  # uvicorn does so after the handshake, whose answer may wait, too
        tell_all_that_waits(self.transport)
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._handshake = self.loop.call_later(self._admission.settings.handshake_timeout_s, self._no_handshake)

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()
        self._end_handshake()
        self._end_lingering()
        self.places.give_back(self._admission.address_of(self.client))
        super().connection_lost(exc)

    def _no_handshake(self) -> None:
        """It is refused, or neither accepted nor answered."""
        if not self.handshake_complete:
            self._admission.refused[TIMEOUT] += 1
        if not self.handshake_complete or self.close_sent:
            cut(self.transport)

    def _end_handshake(self) -> None:
        if self._handshake is not None:
            self._handshake.cancel()
            self._handshake = None

    def is_known_now(self) -> bool:
        """Its token was shown and is right: it moves to a client's place; False where there is none."""
        clients, address = self._admission.clients, self._admission.address_of(self.client)
        if self.places is clients:
            return True
        why = clients.take(address)
        if why:
            self._admission.refused[why] += 1
            return False
        self.places.give_back(address)
        self.places = clients
        return True

    # ---- the link

    @property
    def write(self) -> Callable[[bytes], object]:
        """The transport's own: nothing is between a frame and the socket."""
        return self.transport.write

    def waiting(self) -> int:
        return self.transport.get_write_buffer_size()

    def is_cut(self) -> bool:
        return self.transport.is_closing()

    def attach(self, reader: Reader) -> None:
        self._reader = reader
        if not self.writable.is_set():  # the handshake is not sent yet, and nobody was there to be told
            reader.blocked()

    def hang_up(self, code: int, reason: str) -> None:
        """Say why, stop reading, and cut the connection if the client does not take its leave in time."""
        self._gone()
        self._linger()
        if self.transport.is_closing():
            return
        self.stop_keepalive()
        self.conn.data_to_send()  # pongs that nobody waits for any more
        if self.conn.state is State.OPEN:
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})

    def _linger(self) -> None:
        """The end has begun, and comes in time: what closes a transport waits until the peer has read everything."""
        if self._lingering is None and not self.disconnected:
            self._lingering = self.loop.call_later(LINGER_S, cut, self.transport)

    def _end_lingering(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def _gone(self) -> None:
        """No frame may be written after a close frame, or to nobody."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.lost()

    # ---- what uvicorn's protocol is told

    def handle_connect(self, event: Request) -> None:
        """The opening handshake: uvicorn makes the scope here, and starts the application after this returns."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["extensions"][LINK] = self  # type: ignore[assignment] # a plain dict, as made above

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake()
        if self.transport.is_closing():
            self._linger()

    def eof_received(self) -> None:
        """asyncio closes the transport when this returns."""
        self._gone()
        self._linger()

    async def run_asgi(self) -> None:
        """uvicorn closes the transport when the application has ended."""
        await super().run_asgi()
        self._linger()

    def _refuse_handshake(self) -> None:
        """The parser of the handshake is stricter than that of HTTP; its own answer, where it has one."""
        self._admission.refused[TOO_LARGE] += 1
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()) or answer(HTTPStatus.BAD_REQUEST, "no handshake"))
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._reader is not None:
            self._reader.blocked()

    def resume_writing(self) -> None:
        """In a turn of its own: asyncio ends a connection twice if a write fails while it calls this."""
        super().resume_writing()
        self.loop.call_soon(self._resumed)

    def _resumed(self) -> None:
        if self._reader is not None and self.writable.is_set():
            self._reader.writable()

    async def send(self, message: ASGISendEvent) -> None:
        """As uvicorn's, but a write that waited while the client was hung up on is simply too late.

        So is an answer to a handshake whose client has left: the application would go on with a client that is none.
        """
        await self.writable.wait()
        if self.close_sent or (not self.handshake_complete and self.transport.is_closing()):
            raise ClientDisconnected
        await super().send(message)
        if self.close_sent:
            self.handshake_complete = True  # a refusal is an answer; uvicorn would log that there was none
            self._linger()
        if self.handshake_complete:
            self._end_handshake()

    def send_receive_event_to_app(self) -> None:
        """A whole message. Text that is none is refused here: uvicorn writes a traceback for it."""
        if self.curr_msg_data_type == "text" and not self.close_sent:
            self.frames = [b"".join(self.frames)]
            try:
                self.frames[0].decode()
            except UnicodeDecodeError:
                self._admission.refused[MALFORMED] += 1
                self.hang_up(1007, "text that is not UTF-8")
                return
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        """Answered only while the peer reads: pongs must not heap up (RFC 6455, 5.5.3 wants the last one answered)."""
        if self._count_control_frame():
            output = b"".join(self.conn.data_to_send())
            if self.writable.is_set():
                self.transport.write(output)

    def handle_pong(self, event: Frame) -> None:
        if self._count_control_frame():
            super().handle_pong(event)

    def handle_cont(self, event: Frame) -> None:
        """Pieces of a message may be empty, so their bytes do not bound their number."""
        if len(self.frames) >= PIECES:
            self.hang_up(1009, f"a message in more than {PIECES} pieces")
        elif self._count_control_frame():
            super().handle_cont(event)

    def handle_close(self, event: Frame) -> None:
        self._gone()
        super().handle_close(event)

    def handle_parser_exception(self) -> None:
        self._gone()
        super().handle_parser_exception()

    def shutdown(self) -> None:
        self._gone()
        self._linger()
        super().shutdown()

    def keepalive_timeout(self) -> None:
        """No pong came. Where something still waits to be sent the pong may be behind it: then `slow_client_s` decides.

        Otherwise the peer is gone, and a close that waits for its answer would wait for ever.
        """
        self.pong_timer = None
        if self._reader is not None and self._reader.is_behind:
            self.pending_ping_payload = None
            self.schedule_ping()
            return
        self.hang_up(1011, "keepalive ping timeout")

    def _count_control_frame(self) -> bool:
        """A bucket that holds two seconds' worth; who overflows it is closed."""
        now = self.loop.time()
        self._control_frames = max(0.0, self._control_frames - (now - self._control_since) * CONTROL_FRAMES_PER_S) + 1
        self._control_since = now
        if self._control_frames <= 2 * CONTROL_FRAMES_PER_S:
            return True
        self.hang_up(1008, "too many control frames")
        return False


def link_of(websocket: WebSocket) -> ClientProtocol:
    """The connection below a WebSocket."""
    return cast(ClientProtocol, websocket.scope["extensions"][LINK])
