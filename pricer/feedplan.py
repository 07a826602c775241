"""What is asked of a venue, as one value: `pricer.live` builds its adapters from it, and a recording keeps it, so that
a replay builds the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from pricer.adapters import ADAPTERS
from pricer.adapters.deribit import Credentials, Deribit
from pricer.adapters.deribit.holdings import Held
from pricer.adapters.deribit.limits import CONNECTIONS, new_budget
from pricer.adapters.planner import Share
from pricer.adapters.window import Window
from pricer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class FeedPlan:
    """One venue, some underlyings, and what is streamed of them beside quotes.

    `books`: "all", or names of instruments. `trades`: public trades. `strikes`: so many on each side of the money, and
    `expiries`: the nearest so many; None is all. `connections`: over so many the options are spread. ConfigError names
    what is impossible.
    """

    venue: str = "deribit"
    underlyings: tuple[str, ...] = ("BTC",)
    books: tuple[str, ...] | Literal["all"] | None = None
    trades: bool = False
    strikes: int | None = None
    expiries: int | None = None
    connections: int = 1

    def __post_init__(self) -> None:
        if self.venue not in ADAPTERS:
            raise ConfigError(f"venue {self.venue!r} is not known; known are {', '.join(sorted(ADAPTERS))}")
        most = CONNECTIONS.connections
        if not 1 <= self.connections <= most:
            raise ConfigError(f"connections: {self.connections} is not between 1 and the venue's limit of {most}")
        self.adapters()(0)  # what a lane refuses is refused now, not when it is first needed

    def window(self) -> Window | None:
        """The part of each chain that is wanted."""
        if self.strikes is None and self.expiries is None:
            return None
        return Window(strikes=self.strikes, expiries=self.expiries)

    def adapters(
        self, credentials: Credentials | None = None, nonce: Callable[[], str] | None = None
    ) -> Callable[[int], Deribit]:
        """Makes the adapter of a lane, 0 to `connections` - 1; all share the venue's budget, and what is held.

        The account is read on the first lane; what else concerns the whole venue the first share carries by itself.
        """
        budget, held = new_budget(), Held()

        def adapter_of(lane: int) -> Deribit:
            return ADAPTERS[self.venue](
                self.underlyings,
                books=self.books,
                trades=self.trades,
                window=self.window(),
                share=Share(lane, self.connections),
                budget=budget,
                credentials=credentials if lane == 0 else None,
                nonce=nonce,
                held=held,
            )

        return adapter_of

    def to_meta(self) -> dict[str, Any]:
        """What a recording writes down: nothing secret is in it."""
        return asdict(self)

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> FeedPlan:
        """From a recording's notes; those of earlier versions know less."""
        known = {each.name for each in fields(cls)}
        given: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in meta.items() if key in known
        }
        return cls(**given)
