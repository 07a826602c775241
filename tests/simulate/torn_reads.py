"""`python -m tests.simulate.torn_reads --rows 10_000_000`: readers beside an engine that publishes (FAULTS E05).

Every quote of a version says the version, as its sizes and as its stamp, and every row of a version is quoted anew. So
a snapshot of which a part is older or younger than the rest has a row that says another number than the snapshot.
Readers are threads: they look at whatever is newest or wait at a mailbox, and read blocks, columns or rows. Threads
change places as often as Python allows. A read counts as raced where another version came while it went on.

Ends with status 1 at the first torn read.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec
import numpy as np

from pricer.engine import Engine
from pricer.mailbox import Mailbox
from pricer.snapshot import FIELD_INDEX, Snapshot
from tests.scene import START, Scene

READERS = 3
SIZES = [FIELD_INDEX["bid_size"], FIELD_INDEX["ask_size"]]
SWITCH_S = 1e-5  # how long a thread may run while others wait; Python's default is five milliseconds
Publish = Callable[[int], Snapshot]


class Torn(AssertionError):
    """A read that saw two versions at once."""


@dataclass
class Tally:
    """What the readers of a run saw."""

    rows: Counter[str] = field(default_factory=Counter)  # by how they were read
    reads: int = 0
    raced: int = 0
    versions: int = 0


def engine_of(scene: Scene) -> Publish:
    """An engine over a scene, as a function that quotes every option anew and gives the version asked for."""
    engine = Engine(clock=scene.clock)
    for event in (*scene.listings(), scene.index()):
        engine.apply(event)
    quotes = [scene.quote(instrument) for instrument in scene.instruments()]

    def publish(version: int) -> Snapshot:
        marks = {"bid_size": float(version), "ask_size": float(version), "exchange_ns": START.wall_ns + version}
        for quote in quotes:
            engine.apply(msgspec.structs.replace(quote, **marks))
        return engine.price(scene.clock.now())

    return publish


def check(state: Snapshot, how: str) -> None:
    """Raise `Torn` where a row is of another version than its snapshot; `how` is one of WAYS."""
    version = state.version
    stamp = START.wall_ns + version
    if how == "blocks":
        seen = all(
            (block.values[SIZES] == version).all() and (block.quote_exchange_ns == stamp).all()
            for block in state.blocks
        )
    elif how == "columns":
        columns = state.columns()
        seen = all((columns[name] == version).all() for name in ("bid_size", "ask_size"))
    else:
        seen = all(row.get("bid_size") == row.get("ask_size") == version for row in state)
    if not seen:
        raise Torn(f"version {version} by {how}: {sorted(set(np.ravel([b.values[SIZES] for b in state.blocks])))}")


WAYS = ("blocks", "columns", "blocks", "columns", "rows")


class Race:
    """Readers in threads of their own, until so many rows are read, and so many reads raced, or one is torn."""

    def __init__(self, rows: int, raced: int) -> None:
        self.tally = Tally()
        self.torn: Torn | None = None
        self.latest: Snapshot | None = None
        self._rows, self._raced = rows, raced
        self._mailbox = Mailbox()
        self._lock = threading.Lock()
        self._over = threading.Event()

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def put(self, state: Snapshot) -> None:
        """A new version for all readers."""
        self.tally.versions += 1
        self.latest = state
        self._mailbox.put(state)

    def poll(self) -> None:
        """Reads the newest, again and again, also while it is still the same."""
        while not self.is_over:
            if self.latest is not None:
                self._read(self.latest)

    def wait(self) -> None:
        """Reads each version that its mailbox brings."""
        while not self.is_over:
            state = self._mailbox.get(0.1)
            if state is not None:
                self._read(state)

    def _read(self, state: Snapshot) -> None:
        how = WAYS[self.tally.reads % len(WAYS)]
        try:
            check(state, how)
        except Torn as torn:
            self.torn = torn
            self._over.set()
            return
        with self._lock:
            tally = self.tally
            tally.reads += 1
            tally.raced += state is not self.latest
            tally.rows[how] += len(state)
            if tally.rows.total() >= self._rows and tally.raced >= self._raced:
                self._over.set()


@contextmanager
def eager_switches() -> Iterator[None]:
    """Threads change places far more often than usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def run(rows: int, publish: Publish, show: Callable[[Tally], None] = lambda tally: None, *, raced: int = 20) -> Tally:
    """Publish until the readers have read so many rows, `raced` of their reads or more beside a write.

    Raises `Torn` at the first that is.
    """
    race = Race(rows, raced)
    race.put(publish(1))
    threads = [threading.Thread(target=race.poll if i else race.wait) for i in range(READERS)]
    with eager_switches():
        for thread in threads:
            thread.start()
        while not race.is_over:
            race.put(publish(race.tally.versions + 1))
            show(race.tally)
        for thread in threads:
            thread.join()
    if race.torn is not None:
        raise race.torn
    return race.tally


def main() -> int:
    """The command; 0 where nothing was torn."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulate.torn_reads", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    asked = parser.parse_args()
    began_s = shown_s = time.monotonic()

    def show(tally: Tally) -> None:
        nonlocal shown_s
        if (now_s := time.monotonic()) - shown_s >= 5.0:
            shown_s = now_s
            print(f"{tally.rows.total():,} rows of {asked.rows:,}", file=sys.stderr, flush=True)

    try:
        tally = run(asked.rows, engine_of(Scene()), show)
    except Torn as torn:
        print(f"FAILED: {torn}")
        return 1
    ways = ", ".join(f"{rows:,} by {how}" for how, rows in tally.rows.most_common())
    print(f"{tally.rows.total():,} rows in {tally.reads:,} reads of {tally.versions:,} versions, none torn: {ways}")
    print(f"another version came during {tally.raced:,} of the reads; {time.monotonic() - began_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
