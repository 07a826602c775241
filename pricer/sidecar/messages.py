"""One message of a stream before it is text or bytes: plain fields, and columns whose dtype says what they mean.

| dtype | meaning | no value | JSON | binary encodings |
|---|---|---|---|---|
| float64 | a value, rounded already | NaN | number or null | 8 bytes each, NaN |
| int64 | an instant or a count | NO_TIME | integer or null | 8 bytes each |
| int8 | +1 a call, -1 a put | | integer | 1 byte each |
| uint8 | a `Status` | | its name | 1 byte each |
| uint64 | a mask of `Reason`s | | list of names | 8 bytes each |
| list of str | names | None | string or null | strings |

A message is encoded once for each encoding, whoever asks first, and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pricer.sidecar.framing import frame

if TYPE_CHECKING:
    from pricer.sidecar.encodings import Writer

Head = dict[str, Any]
Column = NDArray[Any] | list[str] | list[str | None]
Columns = Mapping[str, Column]


class Message:
    """`head` holds all fields but the table, in the order of the wire, reasons as tuples of names.

    `columns` is the table of a `snapshot` or a `delta`, None elsewhere; `rows` (int64) are the row numbers of a
    `delta`, None in a `snapshot`, whose columns hold every row.
    """

    __slots__ = ("_encoded", "_framed", "columns", "head", "rows")

    def __init__(self, head: Head, columns: Columns | None = None, rows: NDArray[np.int64] | None = None) -> None:
        self.head = head
        self.columns = columns
        self.rows = rows
        self._encoded: dict[str, bytes] = {}
        self._framed: dict[str, bytes] = {}

    @property
    def type(self) -> str:
        """snapshot, delta, gap, heartbeat, resumed, unsubscribed, pong, welcome, authorized or error."""
        kind: str = self.head["type"]
        return kind

    def encoded(self, encoding: Writer) -> bytes:
        """The payload of one WebSocket message or HTTP answer; made at the first call."""
        known = self._encoded.get(encoding.name)
        if known is None:
            known = self._encoded[encoding.name] = encoding.encode(self)
        return known

    def framed(self, encoding: Writer) -> bytes:
        """The same as one WebSocket frame, the same for every client; made at the first call."""
        known = self._framed.get(encoding.name)
        if known is None:
            known = self._framed[encoding.name] = frame(self.encoded(encoding), encoding.is_text)
        return known
