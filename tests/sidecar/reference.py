"""A sidecar whose every number is known beforehand: `python -m tests.sidecar.reference --port P` until it is killed.

Version v of run r has the same values in every process that asks, so that a client of another process can tell whether
it was ever given a number that does not belong to the version it came with.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pricer.clock import Clock, SystemClock
from pricer.config import Settings
from pricer.sidecar.app import bind, serve
from pricer.snapshot import FIELD_INDEX, SliceBlock, Snapshot
from tests.handmade import FORWARD_MAX_AGE
from tests.sidecar.serving import QUICK
from tests.sidecar.snapshots import Market, Source, forward_price

EVERY_S = 0.1
EXPIRIES, STRIKES = 2, 10
# Rows change by turns, so that most deltas leave most rows as they were: what is stale by mistake would be seen.
TURNS = 3


Values = NDArray[np.float64]


@functools.lru_cache(1024)
def values_of(version: int, rows: int) -> Values:
    """What every row of `rows` has as `bid` in a version; nine digits or fewer."""
    row = np.arange(rows)
    last = version - (version - row) % TURNS  # the last version in which it was the row's turn
    return np.round(np.maximum(last, 0) + row / 1000.0, 3)


class Reference(Market):
    """A chain whose bids say their version."""

    def __init__(self, clock: Clock, expiries: int = EXPIRIES, strikes: int = STRIKES) -> None:
        super().__init__(clock, expiries, strikes)
        self.version = -1

    def advance(self) -> Snapshot:
        """The next version."""
        return self.at(self.version + 1)

    def at(self, version: int) -> Snapshot:
        """A version, fresh."""
        bids = values_of(version, sum(len(d) for d in self.definitions))
        start = 0
        for i, block in enumerate(self.blocks):
            stop = start + len(block.definition)
            self.blocks[i] = self._moved(block, bids[start:stop])
            start = stop
        self.version = version - 1
        return self.snapshot()

    def _moved(self, block: SliceBlock, bids: Values) -> SliceBlock:
        now = self.clock.now()
        values = block.values.copy()
        values[FIELD_INDEX["bid"]] = bids
        return replace(
            block,
            values=values,
            forward=forward_price(block.forward.value, now),
            model_valid_until_ns=now.mono_ns + FORWARD_MAX_AGE,
            version=block.version + 1,
        )


def problem_of(snapshot: Snapshot) -> str:
    """What is wrong with a snapshot of a reference; empty where nothing is."""
    return difference(np.concatenate([block.column("bid") for block in snapshot.blocks]), snapshot.version)


def difference(bids: Values, version: int) -> str:
    """How bids are others than those of a version; empty where they are the same."""
    wanted = values_of(version, len(bids))
    if bids.tobytes() == wanted.tobytes():
        return ""
    wrong = np.flatnonzero(bids != wanted)
    row = wrong[0]
    return f"version {version}, row {row}: {bids[row]} for {wanted[row]}, {len(wrong)} wrong"


async def main(port: int, first: int) -> None:
    """Serve until killed, versions from `first` on."""
    market, source = Reference(SystemClock()), Source()
    source.publish(market.at(first))
    settings = Settings(server=QUICK | {"port": port})
    listener = bind(settings.server)
    serving = asyncio.create_task(serve(source, settings, listener, started=lambda _: print("ready", flush=True)))
    for _ in itertools.count():
        await asyncio.sleep(EVERY_S)
        if serving.done():
            await serving
            return
        source.publish(market.advance())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="the first version (0)")
    asked = parser.parse_args()
    asyncio.run(main(asked.port, asked.first))
