"""Whether Deribit as a whole can be traded: its notices (sheet 6), and what it refuses (3).

Maintenance is told by `platform_state`, or by error 11051 in answer to any call. The first lasts until it is told to be
over; the second, and either after a reconnection, until the venue answers a call again. The same holds for the switch
that shuts out those who are not logged in (`platform_state.public_methods_state`, error 11056). An index is locked by
itself. A new connection does not know of locks: the tickers' own states say what is still shut.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pricer.adapters.deribit.channels import PUBLIC_METHODS
from pricer.adapters.deribit.instruments import VENUE
from pricer.adapters.events import AnyEvent, VenueState
from pricer.adapters.fields import Fields
from pricer.adapters.wire import Note
from pricer.clock import Instant

MAINTENANCE_ERROR = 11051
LOGIN_ERROR = 11056
# Deribit has some thirty indices; a flood of made-up names must not fill the memory.
MOST_INDICES = 256

Hindrance = Literal["maintenance", "login_required"]
HINDRANCES: tuple[Hindrance, ...] = ("maintenance", "login_required")


class PlatformState(msgspec.Struct, gc=False):
    """Either of the two channels' data."""

    maintenance: bool | None = None
    price_index: str | None = None
    locked: bool | None = None
    allow_unauthenticated_public_requests: bool | None = None


_STATES = Fields(
    PlatformState,
    texts=("price_index",),
    flags=("maintenance", "locked", "allow_unauthenticated_public_requests"),
)


class Platform:
    """What hinders trading now, and the events of its changes."""

    def __init__(self, note: Note) -> None:
        self._note = note
        # Each with whether its end will be told.
        self._hindrances: dict[Hindrance, bool] = {}
        self._locked: dict[str, None] = {}
        self._state: Literal["open", Hindrance] = "open"

    @property
    def in_maintenance(self) -> bool:
        """Nothing is owed to us: prices may pause and calls be refused."""
        return "maintenance" in self._hindrances

    @property
    def refuses(self) -> bool:
        """The venue refuses calls in maintenance: nothing but a knock makes sense."""
        return self._hindrances.get("maintenance") is False

    def opened(self, now: Instant) -> list[AnyEvent]:
        """A new connection: what was told on the last one may be over."""
        self._hindrances = dict.fromkeys(self._hindrances, False)
        unlocked, self._locked = self._locked, {}
        return [_event("open", now, index) for index in unlocked]

    def notice(self, channel: str, data: msgspec.Raw, now: Instant, events: list[AnyEvent]) -> bool:
        """A message of either channel; False where it says nothing."""
        state = _STATES.read(data, self._note)
        if state is None:
            return self._bad()
        if channel == PUBLIC_METHODS:
            allowed = state.allow_unauthenticated_public_requests
            return self._bad() if allowed is None else self._told("login_required", not allowed, now, events)
        if state.maintenance is not None:
            self._told("maintenance", state.maintenance, now, events)
        if state.price_index and state.locked is not None:
            self._lock(state.price_index, state.locked, now, events)
        elif state.maintenance is None:
            return self._bad()
        return True

    def refused(self, code: int, now: Instant, events: list[AnyEvent]) -> None:
        """A call was answered with this error."""
        if code == MAINTENANCE_ERROR:
            self._hindrances["maintenance"] = False
        elif code == LOGIN_ERROR:
            self._hindrances["login_required"] = False
        self._tell(now, events)

    def answered(self, now: Instant, events: list[AnyEvent]) -> bool:
        """A call was answered well. Gives whether the venue had refused calls until now."""
        if not self._hindrances:
            return False
        refused = self.refuses
        self._hindrances = {key: told for key, told in self._hindrances.items() if told}
        self._tell(now, events)
        return refused

    def _told(self, hindrance: Hindrance, on: bool, now: Instant, events: list[AnyEvent]) -> bool:
        if on:
            self._hindrances[hindrance] = True
        else:
            self._hindrances.pop(hindrance, None)
        self._tell(now, events)
        return True

    def _lock(self, index: str, locked: bool, now: Instant, events: list[AnyEvent]) -> None:
        if locked is (index in self._locked):
            return
        if not locked:
            del self._locked[index]
        elif len(self._locked) < MOST_INDICES:
            self._locked[index] = None
        else:
            self._note("too_many_indices")
            return
        events.append(_event("locked" if locked else "open", now, index))

    def _tell(self, now: Instant, events: list[AnyEvent]) -> None:
        """One event for each change of the whole."""
        state: Literal["open", Hindrance] = "open"
        for hindrance in reversed(HINDRANCES):
            state = hindrance if hindrance in self._hindrances else state
        if state != self._state:
            self._state = state
            events.append(_event(state, now))

    def _bad(self) -> bool:
        self._note("bad_platform_state")
        return False


def _event(
    state: Literal["open", "locked", "maintenance", "login_required"], now: Instant, index: str = ""
) -> VenueState:
    return VenueState(venue=VENUE, received=now, state=state, price_index=index)
