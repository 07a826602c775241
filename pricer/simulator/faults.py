"""Faults that a test switches on and off while a venue runs; what they mean on the wire is the venue's file to say."""

from __future__ import annotations

import socket
import struct
from collections.abc import Set
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection


@dataclass
class Faults:
    """Switches, all off at first, and two acts on the live connections."""

    connections: Set[ServerConnection]
    refused: set[str] = field(default_factory=set)  # instruments left out of what a subscribe accepts
    stop_pushing: bool = False  # a zombie: requests and heartbeats are answered, nothing is pushed
    stop_answering: bool = False  # requests are read and dropped
    freeze_index: bool = False  # spot stands still and the index channel falls silent
    refuse_connections: bool = False  # new WebSocket connections get HTTP 503

    def drop_connections(self, *, reset: bool = False) -> int:
        """Cut every connection without a closing handshake, by FIN or, with `reset`, by RST; return how many."""
        dropped = list(self.connections)
        for connection in dropped:
            if reset:
                raw = connection.transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.transport.abort()
            else:
                connection.transport.close()
        return len(dropped)

    async def send_raw(self, frame: str | bytes) -> None:
        """Send any frame, well-formed or not, to every connection: str as text, bytes as binary."""
        for connection in list(self.connections):
            await connection.send(frame)
