"""The Adapter contract, sans-I/O: bytes and times in, events and messages out. Nothing awaits, sleeps or asks the time.

Rules, as `line.py` keeps them:

1. `opened` at each new connection: nothing of an older session survives it.
2. `receive` for every frame, stamped once at the socket read. It never raises on what a venue sends: bad frames are
   counted in `counters` and dropped.
3. `on_time` when `next_deadline` has come. Silence is an event, too.
4. `to_send` after each of the above, until it returns nothing.
5. `closed` once when the connection is gone, for whatever reason, and when one could not be made.
   `reason` is a word from a bounded set, with details for people after a colon.

Events come from `receive`, `on_time` and `closed` only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pricer.adapters.events import AnyEvent
from pricer.clock import Instant


@dataclass(frozen=True, slots=True)
class WsSend:
    """A text frame owed to the venue. `secret` frames are never recorded or logged."""

    text: str
    secret: bool = False

    def __repr__(self) -> str:
        return f"WsSend(text={'***' if self.secret else repr(self.text)}, secret={self.secret})"


@dataclass(frozen=True, slots=True)
class HttpGet:
    """A resource the adapter wants; its body comes back through `receive`."""

    path: str


class Adapter(Protocol):
    """One venue's protocol on one connection."""

    venue: str
    # What its `FeedStatus` events call the connection.
    connection: str
    # How often each oddity was met: "unknown_method", "bad_frame", "bad_field.<name>" ... keys are bounded.
    # "bad_frame" counts what could not be read at all: many in a row make the feed connect anew.
    counters: Counter[str]

    def opened(self, now: Instant) -> None: ...
    def closed(self, now: Instant, reason: str) -> list[AnyEvent]: ...
    def receive(self, frame: bytes | str, now: Instant) -> list[AnyEvent]: ...
    def on_time(self, now: Instant) -> list[AnyEvent]: ...
    def next_deadline(self) -> int | None:
        """The `mono_ns` at which `on_time` wants to be called; None when nothing is pending."""

    def to_send(self, now: Instant) -> list[WsSend | HttpGet]: ...

    @property
    def wants_reconnect(self) -> str | None:
        """Why this session must be given up (a missed heartbeat, a venue's order), or None."""

    @property
    def wants_rotation(self) -> str | None:
        """Why a second connection should take over before this one ends (a venue's notice), or None."""


@runtime_checkable
class KeepsPrivate(Protocol):
    """An adapter that gets frames which nobody but the account's owner may see: tokens, positions, orders."""

    def to_show(self, frame: bytes | str) -> bytes | str:
        """The frame as recorders may have it, asked after `receive`; something harmless instead of a private one."""


@runtime_checkable
class BooksOnDemand(Protocol):
    """An adapter whose books can be wanted, and not wanted any more, while it runs."""

    def want_books(self, names: Collection[str], now: Instant) -> None:
        """These books are wanted besides those it was made for; replaces the names given before.

        They outlive connections, as all that is wanted does. What it brings about is told with the next events.
        """


def take_frame(adapter: Adapter, frame: bytes | str, now: Instant) -> list[AnyEvent]:
    """What a frame brings, and before it whatever had fallen due: the feed and a replay share this order."""
    deadline_ns = adapter.next_deadline()
    if deadline_ns is None or deadline_ns > now.mono_ns:
        return adapter.receive(frame, now)
    return adapter.on_time(now) + adapter.receive(frame, now)
