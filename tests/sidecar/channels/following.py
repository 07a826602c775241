"""A consumer as simple as can be, in any language: a table of lists, changed as the messages say."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import orjson

from pricer.sidecar.channels import Content
from pricer.sidecar.encodings import JSON
from pricer.sidecar.messages import Message
from pricer.snapshot import VALUE_FIELDS

# The float64 columns that deltas may change: what docs/protocol.md says of each channel.
CHECKED: dict[str, frozenset[str]] = {
    "chain": frozenset(VALUE_FIELDS),
    "surface": frozenset({"ttm", "forward", "a", "b", "rho", "m", "sigma", "k_min", "k_max"})
    | {"atm_iv", "rr25", "bf25", "min_g", "min_calendar_gap"},
    "forward": frozenset({"ttm", "value", "bid", "ask", "funding", "basis", "parity", "parity_error", "parity_gap"}),
    "health": frozenset(),
    "trades": frozenset({"price", "amount", "iv", "index"}),
    "depth": frozenset({"bid_price", "bid_amount", "ask_price", "ask_amount"}),
}
NOTHING = struct.pack("<Q", 0x7FF8000000000000)


def read(content: Content) -> dict[str, Any]:
    """A message as a client reads it."""
    message: dict[str, Any] = orjson.loads(Message(content.head, content.columns, content.rows).encoded(JSON))
    return message


class Follower:
    """What a client of one stream has."""

    def __init__(self, channel: str) -> None:
        self._checked = CHECKED[channel]
        self.head: dict[str, Any] = {}
        self.columns: dict[str, list[Any]] = {}

    def begin(self, content: Content) -> None:
        """A snapshot."""
        message = read(content)
        assert "rows" not in message
        self.columns = message.pop("columns")
        self.head = message

    def change(self, content: Content) -> dict[str, Any]:
        """A delta, which is given as it was read."""
        message = read(content)
        columns, rows = message["columns"], message["rows"]
        assert len(set(rows)) == len(rows)
        for name, values in columns.items():
            for row, value in zip(rows, values, strict=True):
                self.columns[name][row] = value
        self.head |= {name: value for name, value in message.items() if name not in ("columns", "rows")}
        return message

    def crc32(self) -> int:
        """As the protocol says, number by number."""
        columns = [values for name, values in self.columns.items() if name in self._checked]
        rows = zip(*columns, strict=True)
        return zlib.crc32(b"".join(NOTHING if x is None else struct.pack("<d", x) for row in rows for x in row))
