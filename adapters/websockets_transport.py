"""The default transport: the `websockets` library on a socket of `Network`'s."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.protocol import State

from pricer.adapters.limits import FeedLimits
from pricer.adapters.network import Network
from pricer.adapters.transport import Connection, ConnectionLost, closed_by_peer, closed_by_us, refused_upgrade

# The library writes each frame to its log at the level DEBUG, logins included: never, whatever the others' level is.
_quiet = logging.getLogger("pricer.adapters.websockets_transport")
_quiet.setLevel(logging.INFO)


class WebSocketTransport:
    """Connections of `websockets`.

    Without `compression` by default: quotes are small. With it permessage-deflate is offered; then the size limit holds
    for a message as it comes and as it is inflated, and inflating stops there.
    """

    def __init__(
        self, limits: FeedLimits | None = None, *, network: Network | None = None, compression: bool = False
    ) -> None:
        self._limits = limits or FeedLimits()
        self._network = network or Network(self._limits)
        self._compression = compression

    async def connect(self, url: str) -> Connection:
        plain, tls = await self._network.socket_for(url, context="ssl")
        try:
            made = await self._upgraded(url, plain, tls)
        except (OSError, InvalidHandshake, EOFError) as error:
            raise _not_connected(error) from error
        return _WebSocket(made, self._limits.close_timeout_s)

    async def _upgraded(self, url: str, plain: socket.socket, tls: dict[str, Any]) -> _Client:
        made = await _Connect(
            url,
            sock=plain,  # owned by the loop from here on, in success and in failure
            compression="deflate" if self._compression else None,
            max_size=self._limits.max_frame_bytes,
            max_queue=self._limits.max_queue,
            open_timeout=self._limits.open_timeout_s,
            close_timeout=self._limits.close_timeout_s,
            # We ping ourselves: a peer that does not answer is dropped, not asked to close.
            ping_interval=None,
            create_connection=_Client,
            logger=_quiet,
            **tls,
        )
        assert isinstance(made, _Client)
        made.most_unsent = self._limits.max_outbox_bytes
        return made


class _Connect(connect):
    """Follows no redirect: who answers for the venue is configured, not told by whoever answers."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class _Client(ClientConnection):
    """Ends quickly, and never holds more than `most_unsent` bytes that the peer does not take."""

    most_unsent = 2**20
    is_stalled = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.protocol.state is State.CLOSING:
            # Begun by either side, the closing does not wait for the peer: the news is wanted at once.
            self.transport.close()
        # Pongs are written whether or not there is room: a flood of pings would fill the memory (FAULTS T05, W08).
        if self.paused and self.transport.get_write_buffer_size() > self.most_unsent:
            self.is_stalled = True
            self.transport.abort()


class _WebSocket:
    def __init__(self, made: _Client, close_timeout_s: float) -> None:
        self._socket = made
        self._close_timeout_s = close_timeout_s

    async def recv(self) -> bytes | str:
        try:
            # Bytes: the decoder wants them, and text that is no UTF-8 is the adapter's to count, not a reason to close.
            return await self._socket.recv(decode=False)
        except ConnectionClosed as closed:
            raise self._lost(closed) from closed

    async def send(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except ConnectionClosed as closed:
            raise self._lost(closed) from closed

    async def ping(self) -> None:
        try:
            await (await self._socket.ping())
        except ConnectionClosed as closed:
            raise self._lost(closed) from closed

    async def abort(self) -> None:
        self._socket.transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._close_timeout_s):
                await self._socket.wait_closed()

    async def close(self) -> None:
        await self._socket.close()

    def _lost(self, closed: ConnectionClosed) -> ConnectionLost:
        """Why an open connection ended, as a bounded word."""
        if self._socket.is_stalled:
            return ConnectionLost("write_stalled", "the peer takes nothing of what it is sent")
        if closed.sent is not None and not (closed.rcvd is not None and closed.rcvd_then_sent):
            return closed_by_us(closed.sent.code, closed.sent.reason)
        if closed.rcvd is not None:
            return closed_by_peer(closed.rcvd.code, closed.rcvd.reason)
        return ended_without_goodbye(closed.__cause__)


def ended_without_goodbye(cause: BaseException | None) -> ConnectionLost:
    """A stream that is over without a close frame; a message that had begun is dropped with it."""
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return ConnectionLost("reset", str(cause))
    return ConnectionLost("eof", "the peer ended the stream without a close frame")


def _not_connected(error: Exception) -> ConnectionLost:
    """Why no connection could be made, as a bounded word."""
    if isinstance(error, InvalidStatus):
        headers = error.response.headers
        return refused_upgrade(error.response.status_code, headers.get("Retry-After"), headers.get("Date"))
    if isinstance(error, InvalidHandshake):
        return ConnectionLost("bad_handshake", str(error))
    return not_secured(error)


def not_secured(error: Exception) -> ConnectionLost:
    """What went wrong between the socket and the upgrade."""
    reason = "network"
    if isinstance(error, TimeoutError):
        reason = "timeout"
    elif isinstance(error, ssl.SSLError):
        reason = "tls"
    elif isinstance(error, ConnectionResetError):
        reason = "reset"
    elif isinstance(error, EOFError | ConnectionAbortedError):
        reason = "eof"
    return ConnectionLost(reason, str(error))
