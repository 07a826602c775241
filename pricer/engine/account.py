"""What the venue says of the account: positions and portfolios as they came, and whether they can be believed.

Read only, and apart from the prices: a login that fails takes nothing from the public numbers (FAULTS P09, Q03).

- before the first `AccountStatus` there is no account;
- logged out: the last positions stay, STALE; refused: INVALID, and nothing is shown;
- logged in again: the old positions are forgotten, since some may have been closed meanwhile; STALE with RESYNCING
  until the first private message, then OK.
"""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType

from pricer.adapters.events import AccountStatus, Portfolio, Position
from pricer.conventions import NO_REASON, Reason, Status
from pricer.snapshot import AccountView

MOST_POSITIONS = 10_000
MOST_PORTFOLIOS = 100


class AccountKeeper:
    """One engine's account. Views share their mappings with the one before while nothing changes."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._login: AccountStatus | None = None
        self._synced = False
        self._positions: dict[str, Position] = {}
        self._portfolios: dict[str, Portfolio] = {}
        self._view: AccountView | None = None

    def on_status(self, event: AccountStatus) -> None:
        """Logged in, logged out, or refused."""
        if event.state != "logged_out":
            self._positions, self._portfolios = {}, {}
        self._login, self._synced = event, False
        self._view = None

    def on_position(self, event: Position) -> None:
        """What is held of one instrument; nothing, where the size is zero."""
        if event.size == 0.0:
            self._positions.pop(event.instrument, None)
        elif event.instrument in self._positions or len(self._positions) < MOST_POSITIONS:
            self._positions[event.instrument] = event
        else:
            self._counters["too_many_positions"] += 1
        self._heard()

    def on_portfolio(self, event: Portfolio) -> None:
        """The account in one currency."""
        if event.currency in self._portfolios or len(self._portfolios) < MOST_PORTFOLIOS:
            self._portfolios[event.currency] = event
        else:
            self._counters["too_many_portfolios"] += 1
        self._heard()

    def published(self) -> AccountView | None:
        """For the snapshot; None where nobody has logged in."""
        if self._view is None and self._login is not None:
            status, reasons = self._rating(self._login)
            self._view = AccountView(
                status=status,
                reasons=reasons,
                login=self._login,
                positions=MappingProxyType(self._positions.copy()),
                portfolios=MappingProxyType(self._portfolios.copy()),
            )
        return self._view

    def _heard(self) -> None:
        self._synced = True
        self._view = None

    def _rating(self, login: AccountStatus) -> tuple[Status, Reason]:
        if login.state == "refused":
            return Status.INVALID, NO_REASON
        if login.state == "logged_out":
            return Status.STALE, Reason.RESYNCING
        return (Status.OK, NO_REASON) if self._synced else (Status.STALE, Reason.RESYNCING)
