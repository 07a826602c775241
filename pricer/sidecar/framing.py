"""WebSocket data frames as a server sends them: not masked, so one serves every client (RFC 6455, section 5.2)."""

from __future__ import annotations

import struct

TEXT, BINARY = 0x81, 0x82  # FIN and the opcode


def frame(payload: bytes, is_text: bool) -> bytes:
    """A whole message as one frame, header and payload."""
    first, size = TEXT if is_text else BINARY, len(payload)
    if size < 126:
        return struct.pack(">BB", first, size) + payload
    if size < 65_536:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload
