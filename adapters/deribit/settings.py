"""What a user may say of a connection to Deribit: checked when it is said, and never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pricer.adapters.deribit.books import ON_DEMAND_DEPTH, BookOptions, book_options
from pricer.adapters.deribit.channels import Interval, QuoteSource
from pricer.adapters.deribit.instruments import VENUE, is_family
from pricer.adapters.deribit.wanted import Streams
from pricer.adapters.planner import Share
from pricer.adapters.session import SessionLimits
from pricer.adapters.window import Window
from pricer.clock import NS_PER_SECOND
from pricer.errors import ConfigError

PRODUCTION_URL = "wss://www.deribit.com/ws/api/v2"
TEST_URL = "wss://test.deribit.com/ws/api/v2"
# The venue refuses a shorter one.
SHORTEST_HEARTBEAT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DeribitSettings:
    """What `Deribit` is to carry; ConfigError names the setting that cannot be.

    `underlyings` are families: "BTC" is coin-settled (index btc_usd), "BTC_USDC" is USDC-settled. None asks for nothing
    and takes everything: for recordings of unknown content.

    What is streamed beside the index, the perpetual and the news of instruments and of the platform:

    - `quotes`: from where an option's bid and ask come. "ticker" (the default) has the forward and the venue's own
      numbers, too, and is repeated every 5 s; "incremental" has the same as changes, at most one a second, and is
      silent for up to a minute where nothing changes; "quote" is bid and ask alone, so that forwards come from futures
      or parity.
    - `marks`: the venue's mark and volatility of the whole chain in one channel (`markprice.options.*`).
    - `trades`: public trades of the options and futures of each settlement currency.
    - `futures`: dated futures, listed and quoted: they are the forwards of their expiries.
    - `volatility_index`: the venue's own, where it has one.
    - `delivery`: what the next expiry would settle at, while its settlement window is open.

    `books` asks for order books, too: "all", names, or `BookOptions`; None for none. `interval` is how often tickers,
    trades and books come; "raw" needs a login. `heartbeat_s` and `list_refresh_s` are in seconds.

    `share` is the part of the options that this connection carries, of several. `window` narrows the chain to what lies
    around the money, and rolls with it.
    """

    underlyings: Sequence[str] | None = ("BTC",)
    interval: Interval = "100ms"
    quotes: QuoteSource = "ticker"
    marks: bool = False
    trades: bool = False
    futures: bool = True
    volatility_index: bool = True
    delivery: bool = True
    testnet: bool = False
    heartbeat_s: int = 10
    list_refresh_s: float = 60.0
    books: BookOptions | Sequence[str] | Literal["all"] | None = None
    limits: SessionLimits = field(default_factory=SessionLimits)
    share: Share = field(default_factory=Share)
    window: Window | None = None

    def __post_init__(self) -> None:
        for family in self.underlyings or ():
            if not is_family(family):
                raise ConfigError(f"underlyings: {family!r} is not spelled like 'BTC' or 'BTC_USDC'")
        self.streams()
        if self.heartbeat_s < SHORTEST_HEARTBEAT_S:
            raise ConfigError(f"heartbeat_s: {self.heartbeat_s} is below the venue's minimum of {SHORTEST_HEARTBEAT_S}")
        self.book_options()

    @property
    def families(self) -> tuple[str, ...] | None:
        """Each underlying once; None for all."""
        return None if self.underlyings is None else tuple(dict.fromkeys(self.underlyings))

    @property
    def url(self) -> str:
        """Where the venue, or its test environment, listens."""
        return TEST_URL if self.testnet else PRODUCTION_URL

    @property
    def connection(self) -> str:
        """What events call this connection."""
        parts = [VENUE, *(self.families or ("any",))]
        return "+".join([*parts, str(self.share)] if self.share.count > 1 else parts)

    @property
    def list_refresh_ns(self) -> int:
        """How often the lists are asked for again."""
        return int(self.list_refresh_s * NS_PER_SECOND)

    @property
    def needs_neighbours(self) -> bool:
        """Whether the options of other shares count, too: what is near the money is a matter of the whole chain."""
        return self.window is not None and self.share.count > 1

    def streams(self) -> Streams:
        """What this connection streams, of what was asked for."""
        asked = Streams(
            self.interval, self.quotes, self.marks, self.trades, self.futures, self.volatility_index, self.delivery
        )
        return asked.part(self.share)

    def book_options(self) -> BookOptions:
        """The books that are wanted; where none are, how those are that will be wanted on demand."""
        asked = book_options(self.books, self.interval)
        if asked is not None:
            return asked
        return BookOptions() if self.families is None else BookOptions((), self.interval, depth=ON_DEMAND_DEPTH)
