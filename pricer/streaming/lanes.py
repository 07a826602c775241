"""The way to a venue: as many feeds as a plan has connections, over one network and within one budget of attempts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pricer.adapters.connects import ConnectBudget
from pricer.adapters.deribit import Deribit
from pricer.adapters.deribit.limits import CONNECTS
from pricer.adapters.feed import Feed
from pricer.adapters.fetching import Fetcher
from pricer.adapters.fleet import Fleet
from pricer.adapters.limits import FeedLimits
from pricer.adapters.line import Deliver, Tap
from pricer.adapters.network import Network
from pricer.adapters.transport import Transport
from pricer.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Lanes:
    """`count` connections, each with the adapter that `adapter_of` makes for it, at `url` or at the venue's own."""

    count: int
    adapter_of: Callable[[int], Deribit]
    url: str | None
    clock: Clock
    rng: random.Random
    limits: FeedLimits
    network: Network
    transport: Transport
    connects: ConnectBudget = field(default_factory=lambda: ConnectBudget(*CONNECTS))

    def fleet(self, deliver: Deliver, tap: Tap | None) -> Fleet:
        """All feeds, not yet running; `tap` hears what a recording keeps."""
        return Fleet([self._feed(lane, deliver, tap) for lane in range(self.count)])

    def to_meta(self) -> dict[str, Any]:
        """What a recording notes of them: it tells its frames apart by lane, and says when we priced."""
        return {"lanes": self.count, "price_marks": True}

    def _feed(self, lane: int, deliver: Deliver, tap: Tap | None) -> Feed:
        adapter = self.adapter_of(lane)
        return Feed(
            adapter,
            self.url or adapter.url,
            deliver=deliver,
            clock=self.clock,
            rng=random.Random(self.rng.random()),
            transport=self.transport,
            limits=self.limits,
            tap=tap,
            adapter_of=lambda: self.adapter_of(lane),
            fetcher=Fetcher(self.network, self.limits),
            budget=self.connects,
            priority=lane,
            lane=lane,
            lanes=self.count,
        )
