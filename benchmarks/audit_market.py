"""Every surface of a running market looked at for arbitrage: `python -m benchmarks.audit_market --minutes 10`.

The embedded venue runs in a process of its own and the pricer takes it over a real loopback WebSocket, as in
`volstream demo`. Each published surface is audited densely, on 8,001 points of |k| <= 4, slice by slice and pair by
pair: as it was fitted, where a slice or pair that it shares with the surface before is not looked at again, and as
`snapshot.surface` gives it, with every smile moved to that moment's ttm. Exit code 1 where there is arbitrage.

The engine hands every snapshot to the audit by itself: a reader's mailbox would skip some.
"""

from __future__ import annotations

import argparse
import asyncio
import queue
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

import pricer
from benchmarks.audit import Worst, smallest_g, smallest_gap
from benchmarks.sets import Floats
from pricer.adapters import ADAPTERS
from pricer.adapters.feed import Feed
from pricer.adapters.limits import FeedLimits
from pricer.clock import Instant, SystemClock
from pricer.conventions import NO_REASON, Reason, Status
from pricer.embedded import market_process
from pricer.engine import Engine
from pricer.snapshot import Snapshot
from pricer.streaming import Deliver, LiveStream, Recorder
from pricer.surfaces import SurfaceSlice, VolSurface

VENUE = "deribit"

_SAY_EVERY_S = 10.0
_WAITING = 5000  # snapshots at most that wait for the audit; they share what did not change


class Found:
    """What has been seen so far."""

    def __init__(self) -> None:
        self.surfaces = self.slices = self.pairs = self.violations = 0
        self.worst_g, self.worst_gap = Worst(), Worst()
        self.statuses: Counter[Status] = Counter()  # of the slices of every surface
        self.uncertified = 0
        self.examples: list[str] = []
        self._known: dict[int, SurfaceSlice] = {}
        self._known_pairs: set[tuple[int, int]] = set()

    def look(self, surface: VolSurface) -> None:
        """Audit what is new in a surface against the last one."""
        self.surfaces += 1
        self.statuses.update(part.status for part in surface.slices)
        self.uncertified += sum(part.smile is not None and not part.certificate.ok for part in surface.slices)
        parts = [part for part in surface.slices if part.smile is not None]
        # By the identity of their smiles, which are held so that no identity is given twice.
        known = {id(part.smile): part for part in parts}
        pairs = {(id(lower.smile), id(upper.smile)): (lower, upper) for lower, upper in pairwise(parts)}
        for key in known.keys() - self._known.keys():
            self._slice(known[key])
        for both in pairs.keys() - self._known_pairs:
            self._pair(*pairs[both])
        self._known, self._known_pairs = known, set(pairs)

    def _slice(self, part: SurfaceSlice) -> None:
        self.slices += 1
        worst = smallest_g(parameters(part))
        self.worst_g = min(self.worst_g, worst)
        if worst.value < 0.0:
            self._violation(f"g = {worst.value:.3g} at k = {worst.k:.4g}: {described(part)}")

    def _pair(self, lower: SurfaceSlice, upper: SurfaceSlice) -> None:
        self.pairs += 1
        worst = smallest_gap(parameters(lower), parameters(upper))
        self.worst_gap = min(self.worst_gap, worst)
        if worst.value < 0.0:
            text = f"gap = {worst.value:.3g} at k = {worst.k:.4g}: {described(lower)} under {described(upper)}"
            self._violation(text)

    def _violation(self, what: str) -> None:
        self.violations += 1
        if len(self.examples) < 5:
            self.examples.append(what)

    def lines(self) -> Iterator[str]:
        total = sum(self.statuses.values()) or 1
        shares = "  ".join(f"{status.name} {count / total:.2%}" for status, count in sorted(self.statuses.items()))
        yield f"{self.surfaces:,} surfaces, {self.slices:,} slices and {self.pairs:,} pairs audited"
        yield f"  smallest g {self.worst_g.value:.4g} at k = {self.worst_g.k:.4g}"
        yield f"  smallest gap {self.worst_gap.value:.4g} at k = {self.worst_gap.k:.4g}"
        yield f"  slices: {shares or 'none'}; without a certificate {self.uncertified}"
        yield from (f"  VIOLATION {example}" for example in self.examples)
        yield f"  {self.violations} violations"


def parameters(part: SurfaceSlice) -> Floats:
    assert part.svi is not None
    return np.array(part.svi.params)


def described(part: SurfaceSlice) -> str:
    figures = part.diagnostics
    reasons = part.reasons.name or "no reasons"
    return (
        f"{part.ttm * 365:.4g} days, {part.status.name} ({reasons}), {figures.path}, {figures.mids} mids,"
        f" certified {part.certificate.ok}, {parameters(part).tolist()}"
    )


class Auditor:
    """Looks at snapshots on a thread of its own; numpy leaves the engine's thread its turn."""

    def __init__(self) -> None:
        self.fitted, self.moved = Found(), Found()
        self.missed = 0
        self._waiting: queue.Queue[Snapshot | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        return self._waiting.qsize()

    def take(self, snapshot: Snapshot) -> None:
        try:
            self._waiting.put_nowait(snapshot)
        except queue.Full:
            self.missed += 1

    def close(self) -> None:
        """After everything that waits has been looked at."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (snapshot := self._waiting.get()) is not None:
            for surface in snapshot.surfaces.values():
                self.fitted.look(surface)
            moved = snapshot.surface
            if moved is not None:
                self.moved.look(moved)

    def report(self) -> list[str]:
        return [
            "as fitted",
            *self.fitted.lines(),
            "as a snapshot gives it, moved to its time",
            *self.moved.lines(),
            f"{self.missed} snapshots missed",
        ]

    @property
    def passed(self) -> bool:
        return self.fitted.surfaces > 0 and not (self.fitted.violations or self.moved.violations or self.missed)


class AuditedEngine(Engine):
    """The engine, which hands on what it publishes."""

    def __init__(self, auditor: Auditor, clock: SystemClock) -> None:
        super().__init__(clock=clock)
        self._auditor = auditor

    def price(self, now: Instant, informing: Reason = NO_REASON) -> Snapshot:
        snapshot = super().price(now, informing)
        self._auditor.take(snapshot)
        return snapshot


def audited_stream(url: str, auditor: Auditor) -> LiveStream:
    """`pricer.live` with that engine."""
    clock = SystemClock()

    def feed_of(deliver: Deliver, tap: Recorder | None) -> Feed:
        adapter = ADAPTERS[VENUE](("BTC",))
        return Feed(adapter, url, deliver=deliver, clock=clock, rng=random.Random(0), limits=FeedLimits(), tap=tap)

    return LiveStream(feed_of, AuditedEngine(auditor, clock), clock, "when_drained", 30.0)


async def audit(seconds: float, seed: int, auditor: Auditor) -> None:
    async with market_process(VENUE, seed) as market, audited_stream(market.url, auditor) as stream:
        started = said = time.monotonic()
        async for _ in stream:
            if market.watching.done():
                market.watching.result()
            now = time.monotonic()
            if now - started >= seconds:
                break
            if now - said >= _SAY_EVERY_S:
                said = now
                fitted, moved = auditor.fitted, auditor.moved
                print(
                    f"{now - started:6.0f} s  {fitted.surfaces:,} surfaces, {fitted.slices + moved.slices:,} slices,"
                    f" {fitted.violations + moved.violations} violations, {auditor.backlog} waiting",
                    file=sys.stderr,
                )


def main() -> None:
    arguments = parse(sys.argv[1:])
    pricer.warmup()
    auditor = Auditor()
    asyncio.run(audit(60.0 * arguments.minutes, arguments.seed, auditor))
    auditor.close()
    print("\n".join([f"{arguments.minutes:g} minutes, seed {arguments.seed}", *auditor.report()]))
    if not auditor.passed:
        raise SystemExit(1)


def parse(given: Sequence[str]) -> argparse.Namespace:
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit_market", description=description)
    parser.add_argument("--minutes", type=float, default=10.0, help="of the market's time, which is real time (10)")
    parser.add_argument("--seed", type=int, default=7, help="of the market (7)")
    return parser.parse_args(given)


if __name__ == "__main__":
    main()
