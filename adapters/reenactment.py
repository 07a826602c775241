"""A feed's part played again, from its records."""

from __future__ import annotations

from collections.abc import Callable

from pricer.adapters.adapter import Adapter
from pricer.adapters.events import AnyEvent
from pricer.adapters.records import Closed, Connecting, Frame, Gap, Opened, PriceMark, Record, Timer, Wish
from pricer.adapters.relay import Relay


class Reenactment:
    """A feed's part, played from its records: the same calls, the same events; what would be sent is dropped.

    `adapter_of(lane)` makes an adapter set up as those of that lane were; there is one lane, 0, unless the recording's
    meta says otherwise ("lanes").
    """

    def __init__(self, adapter_of: Callable[[int], Adapter], lanes: int = 1) -> None:
        self._relays = [Relay(lambda lane=lane: adapter_of(lane)) for lane in range(lanes)]  # type: ignore[misc]

    def apply(self, record: Record) -> list[AnyEvent]:
        """The events of one record."""
        if isinstance(record, PriceMark | Gap):
            return []
        number = record.connection
        relay = self._relays[number % len(self._relays)]
        relay.adapter(number)  # a recording may begin, or go on after damage, in the middle of a connection
        match record:
            case Frame(data, instant):
                events = relay.frame(number, data, instant)
            case Timer(instant):
                events = relay.timer(number, instant)
            case Connecting(instant):
                return relay.connecting(number, instant)
            case Opened(instant):
                relay.opened(number, instant)
                events = []
            case Wish(names, instant):
                relay.wish(number, names, instant)
                events = []
            case Closed(instant, reason):
                return relay.closed(number, instant, reason)
        adapter = relay.adapter(number)
        while adapter.to_send(instant):
            pass
        return events


def apply_record(adapter: Adapter, record: Record) -> list[AnyEvent]:
    """The events of one record, for one adapter on one connection."""
    return Reenactment(lambda lane: adapter).apply(record)
