"""When may traffic be sent here? When the index is fresh and 90 % of the expiries are covered.

An expiry is covered with at least 3 OK options on each side of the forward, or with all its listed ones OK. One that
settles, whose numbers cannot be OK, is not asked for: a sidecar of few expiries would else be unready each morning.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from pricer.clock import NS_PER_SECOND, Instant
from pricer.conventions import Reason, Status
from pricer.sidecar.moment import status_of
from pricer.sidecar.slices import statuses_at
from pricer.snapshot import ROW_PAIR, SliceBlock, Snapshot

OK_OPTIONS_A_SIDE = 3
SHARE_OF_EXPIRIES = 0.9
LISTED_WITHIN_NS = 10 * NS_PER_SECOND  # a venue that is connected lists what it has in a second or two


@dataclass(frozen=True, slots=True)
class Readiness:
    """`missing` names, in words, all that stands between now and ready; empty when ready."""

    missing: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Nothing is missing."""
        return not self.missing


def readiness(snapshot: Snapshot | None, venue: str, underlyings: Collection[str]) -> Readiness:
    """The coverage of every configured underlying at this moment."""
    if snapshot is None:
        return Readiness((f"{venue}: nothing has been computed yet",))
    missing: list[str] = []
    for underlying in underlyings:
        own = snapshot.of(underlying, venue)
        lacks = _missing(own) if own.blocks else [_unlisted(snapshot, venue)]
        missing += [f"{venue} {underlying}: {what}" for what in lacks]
    return Readiness(tuple(_lost(snapshot, venue) + missing if missing else ()))


def _lost(snapshot: Snapshot, venue: str) -> list[str]:
    """The likely cause of all the rest."""
    return [
        f"{venue}: no connection ({feed.reason})"
        for feed in snapshot.feeds
        if feed.venue == venue and feed.state == "closed"
    ]


def _unlisted(snapshot: Snapshot, venue: str) -> str:
    """Of an underlying without options. A connection is live once its lists have come; one may also be refused."""
    feeds = [feed for feed in snapshot.feeds if feed.venue == venue]
    if feeds and all(feed.state == "live" for feed in feeds):
        return "the venue lists no options of it"
    now = snapshot.clock.now()
    connected = [feed for feed in feeds if feed.state in ("open", "live")]
    if any(now.mono_ns - feed.since.mono_ns > LISTED_WITHIN_NS for feed in connected):
        return f"the venue is connected and lists no options of it for {LISTED_WITHIN_NS // NS_PER_SECOND} s"
    return "no options are known yet"


def _missing(snapshot: Snapshot) -> list[str]:
    now = snapshot.clock.now()
    missing = []
    status, reasons = status_of(snapshot.index, now)
    if status != Status.OK:
        missing.append(f"the index is {status.name} ({reasons.label})")
    asked = [block for block in snapshot.blocks if not _settles(block)]
    uncovered = [(block, why) for block in asked if (why := _uncovered(block, now))]
    covered, total = len(asked) - len(uncovered), len(asked)
    needed = math.ceil(SHARE_OF_EXPIRIES * total)
    if covered < needed:
        missing.append(f"{covered} of {total} expiries are covered, {needed} are needed")
        missing += [f"{_date(block.key.expiry_ns)} has {why}" for block, why in uncovered]
    return missing


def _settles(block: SliceBlock) -> bool:
    return bool(np.all(block.reasons[ROW_PAIR] & np.uint64(Reason.SETTLING)))


def _uncovered(block: SliceBlock, now: Instant) -> str:
    """What an expiry lacks; empty when it is covered."""
    ok = statuses_at(block, now)[0][ROW_PAIR] == Status.OK
    if ok.size and ok.all():
        return ""
    if not math.isfinite(block.forward.value):
        return "no forward"
    strikes = block.definition.strike
    below = int(np.count_nonzero(ok & (strikes < block.forward.value)))
    above = int(np.count_nonzero(ok & (strikes >= block.forward.value)))
    if min(below, above) >= OK_OPTIONS_A_SIDE:
        return ""
    return f"{below} OK options below the forward and {above} above it, of {ok.size} listed"


def _date(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")
