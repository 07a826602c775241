"""What is an account's own on one connection to Deribit, and what it means there: raw channels, and what is held."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from pricer.adapters.adapter import WsSend
from pricer.adapters.budget import Budget
from pricer.adapters.deribit import account, rpc
from pricer.adapters.deribit.account import Account
from pricer.adapters.deribit.books import DeribitBooks
from pricer.adapters.deribit.holdings import Held, Stamp
from pricer.adapters.deribit.wanted import Wanted
from pricer.adapters.events import AccountStatus, AnyEvent, Position
from pricer.clock import Instant

Hold = Callable[[frozenset[str], Instant], None]


class Private:
    """The part of `who`, or of nobody: then another connection may still tell, by `held`, what the account holds.

    `hold` is told of all that is held whenever that changes: what the user names, and what the account has.
    """

    def __init__(self, who: Account | None, held: Held, wanted: Wanted, books: DeribitBooks, hold: Hold) -> None:
        self._account = who
        self._wanted = wanted
        self._books = books
        self._tell = hold
        self._named: frozenset[str] = frozenset()  # as the user says
        self._shared = held  # as the account says, on whichever connection that is
        self._held: frozenset[str] = frozenset()  # the same, as far as it is acted upon here
        self._shown: frozenset[str] = frozenset()  # the same, as far as recorders know

    # The session

    def opened(self, now: Instant) -> None:
        """A new connection: a login first, then what needs one."""
        if self._account is not None:
            self._account.opened(now)
            self._wanted.withhold_raw()

    def closed(self, now: Instant, *, replaced: bool) -> list[AnyEvent]:
        """The connection is gone; `replaced` where another carries on."""
        return [] if self._account is None else self._account.closed(now, replaced=replaced)

    def on_time(self, now: Instant, events: list[AnyEvent]) -> None:
        """What silence brings about, and the clock."""
        if self._account is not None:
            self._account.on_time(now, events)
            self._after(events, now)

    def next_deadline(self, now: Instant, budget: Budget) -> int | None:
        """When `on_time` or `to_send` has something to do."""
        return None if self._account is None else self._account.next_deadline(now, budget)

    def to_send(self, now: Instant, budget: Budget) -> list[WsSend]:
        """The calls that are due and can be paid for."""
        return [] if self._account is None else self._account.to_send(now, budget)

    # What comes

    def owns(self, request_id: int | None) -> bool:
        """Whether this reply is the account's."""
        return self._account is not None and self._account.owns(request_id)

    def reply(self, envelope: rpc.Envelope, frame: bytes | str, now: Instant, events: list[AnyEvent]) -> None:
        """A reply to one of its calls."""
        if self._account is not None:
            self._account.reply(envelope, frame, now, events)
            self._after(events, now)

    def notification(self, channel: str, data: msgspec.Raw, stamp: Stamp, now: Instant, events: list[AnyEvent]) -> bool:
        """A message of a private channel; False where nobody has asked for it."""
        if self._account is None:
            return False
        news = self._account.notification(channel, data, stamp, now)
        self._after(news, now)
        events += news
        return True

    def wrong_environment(self, now: Instant, events: list[AnyEvent]) -> None:
        """Another server than the one meant has answered: it gets no secret."""
        if self._account is not None:
            self._account.wrong_environment(now, events)

    # What is held

    def hold(self, names: Iterable[str], now: Instant) -> None:
        """The user holds these; replaces those named before. What the account holds is held besides."""
        self._named = frozenset(names)
        self._tell(self._named | self._held, now)

    def follow(self, now: Instant) -> None:
        """The account may have told another connection of what is held."""
        if self._shared.names != self._held:
            self._held = self._shared.names
            self._tell(self._named | self._held, now)

    def _after(self, events: list[AnyEvent], now: Instant) -> None:
        """What a login or its end means for raw channels, and what is held for the order of asking."""
        held = set(self._shared.names)
        for event in list(events):
            if isinstance(event, AccountStatus) and event.state == "logged_in":
                self._wanted.release_raw()
            elif isinstance(event, AccountStatus) and event.state == "logged_out":
                self._wanted.withhold_raw()
                if self._books.options.interval == "raw":
                    events += self._books.ended(now)
            elif isinstance(event, Position):
                held = held | {event.instrument} if event.size else held - {event.instrument}
        self._shared.names = frozenset(held)
        self.follow(now)

    # Recordings

    def to_show(self, frame: bytes | str) -> bytes | str:
        """The frame for recorders; of a private one only that the venue was alive, and what is held since."""
        if self._account is None or not self._account.is_private(frame):
            return frame
        if self._held == self._shown:
            return account.STAND_IN
        self._shown = self._held
        return account.stand_in(self._held)

    def replayed(self, frame: bytes | str, now: Instant) -> bool:
        """What was shown instead of a private frame says what is held; False where there is an account to say it."""
        if self._account is not None:
            return False
        self._shared.names = account.held_in(frame)
        self.follow(now)
        return True
