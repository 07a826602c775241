"""permessage-deflate (RFC 7692) for a transport whose library has none: offered, checked, and inflated to a limit."""

from __future__ import annotations

import zlib

from pricer.adapters.transport import ConnectionLost

EXTENSION = "permessage-deflate"
# We send in plain, which the extension allows; so the answer may say what it likes of our own direction.
OFFER = f"{EXTENSION}; client_no_context_takeover"
_TAIL = b"\x00\x00\xff\xff"
_PARAMETERS = {"client_no_context_takeover", "server_no_context_takeover", "client_max_window_bits"}


class Inflater:
    """One direction of one connection. `answer` is the venue's Sec-WebSocket-Extensions header.

    Anything but our own offer in it is a "bad_handshake".
    """

    def __init__(self, answer: str) -> None:
        name, *words = (word.strip() for word in answer.split(";"))
        self._forgets = "server_no_context_takeover" in words
        self._bits = 15
        for word in words:
            key, _, value = word.partition("=")
            if key == "server_max_window_bits" and value.strip('"').isdigit() and 8 <= int(value.strip('"')) <= 15:
                self._bits = int(value.strip('"'))
            elif key not in _PARAMETERS:
                raise ConnectionLost("bad_handshake", f"an extension that was not offered: {answer}")
        if name != EXTENSION:
            raise ConnectionLost("bad_handshake", f"an extension that was not offered: {answer}")
        self._stream = zlib.decompressobj(wbits=-self._bits)

    def message(self, data: bytes, limit: int) -> bytes:
        """A whole message inflated, to `limit` bytes and no further: then "oversize"."""
        if self._forgets:
            self._stream = zlib.decompressobj(wbits=-self._bits)
        try:
            # One byte more than allowed tells a message that is too long from one that just fits.
            inflated = self._stream.decompress(data + _TAIL, limit + 1)
        except zlib.error as error:
            raise ConnectionLost("bad_websocket", f"1002 {error}") from error
        if len(inflated) > limit:
            raise ConnectionLost("oversize", f"1009 inflates to more than {limit} bytes")
        return inflated
