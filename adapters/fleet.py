"""Several connections of one venue as one feed: each with its share of the instruments, all into one `deliver`.

They have the venue's budget of connects in common, so that a drop of all at once is not answered by a stampede
(FAULTS T13); the feed of the lowest `priority` comes back first. Which instruments a lost connection carried alone its
adapter says, in `FeedStatus.lost`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Sequence

from pricer.adapters.feed import Feed
from pricer.errors import ConfigError


class Fleet:
    """Runs `feeds` together; an error that ends one of them ends all, and reaches the caller of `run`."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        if not feeds:
            raise ConfigError("connections: a fleet needs at least one")
        self._feeds = tuple(feeds)
        # Of all together.
        self.counters: Counter[str] = Counter()
        for feed in self._feeds:
            feed.counters = self.counters

    async def run(self) -> None:
        """Stay connected until `close` is called or this call is cancelled."""
        tasks = [asyncio.create_task(feed.run()) for feed in self._feeds]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            await asyncio.gather(*(feed.close() for feed in self._feeds))
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            task.result()

    def want_books(self, names: Collection[str]) -> None:
        """On whichever connection carries them."""
        for feed in self._feeds:
            feed.want_books(names)

    async def connected(self, timeout_s: float) -> None:
        """Wait until every one has a connection. `ConnectError` after `timeout_s`, while `run` goes on trying."""
        await asyncio.gather(*(feed.connected(timeout_s) for feed in self._feeds))

    async def close(self) -> None:
        """End `run`, from any state, and leave nothing behind."""
        await asyncio.gather(*(feed.close() for feed in self._feeds))
