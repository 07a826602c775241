"""One connection to Deribit as a whole: whether it stands and is heard, and why it has to be given up."""

from __future__ import annotations

from pricer.adapters.wire import Note
from pricer.clock import NS_PER_SECOND, Instant

# The reason when a test server answers where the real one was meant, or the reverse.
WRONG_ENVIRONMENT = "testnet_mismatch"


class Link:
    """`is_open` from the handshake to the end; `is_live` once all that is wanted has been answered.

    `heard_ns` is when the last frame came, whatever was in it. `given_up` is the first reason to connect anew.
    """

    __slots__ = ("_note", "_patience_ns", "given_up", "heard_ns", "is_live", "is_open")

    def __init__(self, heartbeat_s: int, note: Note) -> None:
        self.is_open = False
        self.is_live = False
        self.heard_ns = 0
        self.given_up: str | None = None
        # One heartbeat is due each interval; half another is grace. Any frame proves life as well.
        self._patience_ns = heartbeat_s * NS_PER_SECOND * 3 // 2
        self._note = note

    def opened(self, now: Instant) -> None:
        """A new connection stands."""
        self.is_open = True
        self.heard_ns = now.mono_ns

    def forget(self) -> None:
        """What was so on the last connection is so no more."""
        self.is_live = False
        self.given_up = None

    def give_up(self, reason: str) -> None:
        """The connection is of no use any more."""
        if self.given_up is None:
            self.given_up = reason
            self._note(reason)

    @property
    def in_use(self) -> bool:
        """Whether anything may still be sent."""
        return self.is_open and self.given_up is None

    @property
    def silent_at_ns(self) -> int:
        """When silence has lasted too long."""
        return self.heard_ns + self._patience_ns
