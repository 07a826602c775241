"""The adapters of one feed by the number of their connection: what they are told, and what of their events goes out.

The feed calls it as things happen, a replay calls it from the records of the same; so both make the same events.

1. Every connection number has an adapter of its own. A line that reconnects keeps its number and its adapter.
2. A second number is a successor: while both stand, and for `LINGER_NS` after, a trade goes out once, by the venue's
   id, and a book never goes back. (Quotes may come twice; the engine drops what is older than what it has.)
3. While one connection is live, the other's coming up is nobody's business and its loss harms nobody: it closes as
   "rotated", and nothing else of its closing goes out.
4. A line that the feed itself closes as "rotated" has been replaced, and its adapter is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from pricer.adapters.adapter import Adapter, BooksOnDemand, take_frame
from pricer.adapters.events import AnyEvent, BookDepth, FeedStatus, Trade
from pricer.clock import NS_PER_SECOND, Instant
from pricer.remembered import Remembered

ROTATED = "rotated"
# Longer than the two connections of one venue are apart.
LINGER_NS = 2 * NS_PER_SECOND
# Of each kind; a venue's options trade some hundred times a second at most.
MOST_REMEMBERED = 20_000


class Overlap:
    """What has gone out already while two connections bring the same."""

    def __init__(self) -> None:
        self._trades = Remembered[tuple[str, str]](MOST_REMEMBERED)
        self._books: dict[str, int] = {}
        self.dropped = 0

    def fresh(self, events: list[AnyEvent]) -> list[AnyEvent]:
        """`events` without what has gone out."""
        kept = [event for event in events if self._is_fresh(event)]
        self.dropped += len(events) - len(kept)
        return kept

    def _is_fresh(self, event: AnyEvent) -> bool:
        if isinstance(event, Trade):
            return self._trades.add((event.instrument, event.trade_id))
        if isinstance(event, BookDepth) and event.sequence:
            if event.sequence < self._books.get(event.instrument, 0):
                return False
            if event.instrument in self._books or len(self._books) < MOST_REMEMBERED:
                self._books[event.instrument] = event.sequence
        return True


class Relay:
    """The adapters of one feed; `adapter_of` makes one for each new connection number."""

    def __init__(self, adapter_of: Callable[[], Adapter]) -> None:
        self._adapter_of = adapter_of
        self._adapters: dict[int, Adapter] = {}
        self._live: set[int] = set()
        self._overlap: Overlap | None = None
        self._linger_until_ns: int | None = None
        self.duplicates = 0

    def adapter(self, connection: int) -> Adapter:
        """The adapter of that connection number; a new number gets a new one."""
        if connection not in self._adapters:
            self._adapters[connection] = self._adapter_of()
            if len(self._adapters) > 1:
                self._overlap = self._overlap or Overlap()
                self._linger_until_ns = None
        return self._adapters[connection]

    def is_live(self, connection: int) -> bool:
        """Whether its adapter has said so since it was opened."""
        return connection in self._live

    def connecting(self, connection: int, now: Instant) -> list[AnyEvent]:
        """An attempt begins."""
        adapter = self.adapter(connection)
        begun = FeedStatus(venue=adapter.venue, received=now, connection=adapter.connection, state="connecting")
        return self._out(connection, [begun], now)

    def opened(self, connection: int, now: Instant) -> None:
        """A connection stands."""
        self.adapter(connection).opened(now)

    def frame(self, connection: int, data: bytes | str, now: Instant) -> list[AnyEvent]:
        """A frame was received, or the body of what was asked for over HTTP."""
        events = take_frame(self._adapters[connection], data, now)
        if self._overlap is None and connection in self._live:  # nearly always, and some thousand times a second
            return events
        return self._out(connection, events, now)

    def timer(self, connection: int, now: Instant) -> list[AnyEvent]:
        """The adapter's deadline has come between two frames."""
        return self._out(connection, self.adapter(connection).on_time(now), now)

    def wish(self, connection: int, names: Collection[str], now: Instant) -> None:
        """The books that are wanted on demand are these; an adapter that has none on demand does not hear of it."""
        adapter = self.adapter(connection)
        if isinstance(adapter, BooksOnDemand):
            adapter.want_books(names, now)

    def closed(self, connection: int, now: Instant, reason: str) -> list[AnyEvent]:
        """The connection is gone, or could not be made."""
        adapter = self.adapter(connection)
        is_replaced = reason.partition(":")[0] == ROTATED
        self._live.discard(connection)
        if is_replaced:
            del self._adapters[connection]
            if len(self._adapters) == 1:
                self._linger_until_ns = now.mono_ns + LINGER_NS
        if not is_replaced and not self._live:
            return adapter.closed(now, reason)
        events = adapter.closed(now, reason if is_replaced else f"{ROTATED}: {reason}")
        return [event for event in events if isinstance(event, FeedStatus)]

    def _out(self, connection: int, events: list[AnyEvent], now: Instant) -> list[AnyEvent]:
        if connection not in self._live:
            self._notice_live(connection, events)
        if self._overlap is None:
            return events
        if self._linger_until_ns is not None and now.mono_ns >= self._linger_until_ns:
            self._overlap = self._linger_until_ns = None
            return events
        kept = self._overlap.fresh(events)
        self.duplicates += len(events) - len(kept)
        return [event for event in kept if not (self._live - {connection} and _is_coming_up(event))]

    def _notice_live(self, connection: int, events: list[AnyEvent]) -> None:
        if any(isinstance(event, FeedStatus) and event.state == "live" for event in events):
            self._live.add(connection)


def _is_coming_up(event: AnyEvent) -> bool:
    return isinstance(event, FeedStatus) and event.state in ("connecting", "open")
