"""A connection until its TLS handshake is done: it needs a place from its first moment on, as one without TLS does.

asyncio shakes hands with everybody who connects, and tells of a connection only afterwards. Strangers could hold as
many as they like, each for the time of a handshake (FAULTS V03, H04).
"""

from __future__ import annotations

import asyncio
import ssl
from asyncio.transports import BaseTransport
from typing import cast

from uvicorn.protocols.utils import get_remote_addr

from pricer.sidecar.transport import LINGER_S, HttpProtocol, cut


class TlsGate(asyncio.Protocol):
    """It takes a place, shakes hands, and leaves both the connection and the place to the protocol behind it."""

    def __init__(self, behind: HttpProtocol, context: ssl.SSLContext, handshake_s: float) -> None:
        self._behind = behind
        self._context = context
        self._handshake_s = handshake_s
        self._early = b""
        self._lost = asyncio.Event()

    def connection_made(self, transport: BaseTransport) -> None:
        """Before a byte is read, and without a word: nothing can be said before the handshake."""
        self._raw = cast(asyncio.Transport, transport)
        self._raw.pause_reading()  # what comes is for TLS
        admission, state = self._behind.admission, self._behind.server_state
        self._address = admission.address_of(get_remote_addr(self._raw))
        why = admission.http.take(self._address)
        if why:
            admission.refused[why] += 1
            cut(self._raw)
            return
        state.connections.add(self)  # type: ignore[arg-type] # asked no more than to shut down
        task = self._behind.loop.create_task(self._let_in(), name="sidecar-tls")
        state.tasks.add(task)
        task.add_done_callback(state.tasks.discard)

    def data_received(self, data: bytes) -> None:
        """What came in one piece with the handshake's last word."""
        self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer has left with the handshake's last word."""
        self._lost.set()

    def shutdown(self) -> None:
        """The sidecar ends."""
        cut(self._raw)

    async def _let_in(self) -> None:
        try:
            secured = await self._shake_hands()
            if secured is not None and secured.is_closing():
                await self._end()
        finally:
            self._behind.server_state.connections.discard(self)
            self._behind.admission.http.give_back(self._address)
        if secured is None or secured.is_closing():
            return
        secured.set_protocol(self._behind)
        self._behind.connection_made(secured)
        if self._early and not secured.is_closing():
            self._behind.data_received(self._early)

    async def _shake_hands(self) -> asyncio.Transport | None:
        """None where it failed, and asyncio has cut the connection. Nobody is told: strangers could fill the log."""
        if self._raw.is_closing():
            return None
        try:
            return await self._behind.loop.start_tls(
                self._raw,
                self,
                self._context,
                server_side=True,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=self._handshake_s,
            )
        except OSError:  # so are the errors of TLS
            return None

    async def _end(self) -> None:
        """TLS takes its leave of a peer that did."""
        try:
            async with asyncio.timeout(LINGER_S):
                await self._lost.wait()
        except TimeoutError:
            cut(self._raw)
