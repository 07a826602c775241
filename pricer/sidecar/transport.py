"""uvicorn's WebSocket protocol with one addition: a client that does not read can be ended.

The ASGI interface has no way to do that: its `send` waits until the client has read what was written before. Here the
close frame is put behind what waits, the client gets a moment to read it, and then the connection is cut and its memory
returned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from starlette.websockets import WebSocket
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

HANG_UP = "volstream.hang_up"
LINGER_S = 3.0

HangUp = Callable[[int, str], None]


class ClientProtocol(WebSocketsSansIOProtocol):
    """One connection; `hang_up(code, reason)` is handed to the application in the scope's extensions."""

    def handle_connect(self, event: Request) -> None:
        """The opening handshake: uvicorn makes the scope here, and starts the application after this returns."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["extensions"][HANG_UP] = self.hang_up  # type: ignore[assignment] # a plain dict, as made above

    def hang_up(self, code: int, reason: str) -> None:
        """Say why, stop reading, and cut the connection if the client does not take its leave in time."""
        if self.transport.is_closing():
            return
        self.stop_keepalive()
        if self.conn.state is State.OPEN:
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.loop.call_later(LINGER_S, self.transport.abort)

    async def send(self, message: ASGISendEvent) -> None:
        """As uvicorn's, but a write that waited while the client was hung up on is simply too late."""
        await self.writable.wait()
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)

    def keepalive_timeout(self) -> None:
        """No pong came: the peer is gone or does not read, so a close that waits for its buffer would wait for ever."""
        self.hang_up(1011, "keepalive ping timeout")


def hang_up_of(websocket: WebSocket) -> HangUp:
    """How to end this connection."""
    return cast(HangUp, websocket.scope["extensions"][HANG_UP])
