"""One connected client: what it may do, what it reads, what it is still to be sent, and the way to its socket."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Protocol

from pricer.config import ServerSection
from pricer.sidecar.encodings import Encoding
from pricer.sidecar.outbox import Outbox
from pricer.sidecar.protocol import Session

if TYPE_CHECKING:
    from pricer.sidecar.stream import Stream


class Reader(Protocol):
    """What a link tells its client."""

    @property
    def is_behind(self) -> bool:
        """Is something waiting to be written? Then silence of the peer proves nothing yet."""

    def blocked(self) -> None:
        """The transport could not take all of a write."""

    def writable(self) -> None:
        """The transport is empty again."""

    def lost(self) -> None:
        """The connection has ended or is about to: nothing can be written any more."""


class Link(Protocol):
    """The way to one peer: a WebSocket of `pricer.sidecar.transport`, or a test."""

    @property
    def write(self) -> Callable[[bytes], object]:
        """Write whole frames. Where not all could be sent, `blocked` is called before it returns."""

    def waiting(self) -> int:
        """Bytes written that are not sent yet."""

    def is_cut(self) -> bool:
        """Has a write failed? `lost` follows in a moment; until then each further write would be a line in the log."""

    def hang_up(self, code: int, reason: str) -> None:
        """Say why, and cut the connection if the peer does not take its leave in time."""

    def attach(self, reader: Reader) -> None:
        """Tell `reader` what happens from now on."""


class Client:
    """`free`: nothing waits, so a frame may be written straight to the transport."""

    def __init__(
        self,
        link: Link,
        encoding: Encoding,
        settings: ServerSection,
        scopes: Collection[str] = (),
    ) -> None:
        self.encoding = encoding
        self.scopes = tuple(scopes)
        self.session = Session(settings, encoding)
        self.outbox = Outbox(settings.queue_soft_bytes, settings.queue_hard_bytes, round(settings.slow_client_s * 1e9))
        self.streams: dict[tuple[str, str, str, str], Stream] = {}
        self.link = link
        self.write = link.write
        self.free = True
        self.stuck = False  # the transport has not sent all that was written
        self.closing = False

    def hang_up(self, code: int, reason: str) -> None:
        """End the connection, once."""
        if not self.closing:
            self.end()
            self.link.hang_up(code, reason)

    def end(self) -> None:
        """Nothing is written any more."""
        self.closing, self.free = True, False
        self.outbox.clear()
