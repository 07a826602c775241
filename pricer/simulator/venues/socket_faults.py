"""The faults that need real sockets: connections cut without a word, and frames that no venue would send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Set
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection

from pricer.simulator.faults import Faults


@dataclass
class SocketFaults(Faults):
    """The switches, and two acts on the live connections."""

    connections: Set[ServerConnection] = field(default_factory=frozenset)

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
