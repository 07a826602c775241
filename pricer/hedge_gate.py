"""What a hedging loop asks before it acts: may these numbers be traded on, by everything that can be known here?

A status says whether one number is sound. A hedge also goes wrong on numbers that are sound and not comparable with
those before: after a gap, a reconnection or a restart, across a jump that nothing has confirmed yet, or so near to the
settlement that the payoff is an average already. `HedgeGate` knows what was accepted last, and refuses.

Without I/O and on an injected clock; the same for snapshots of `pricer.live` and of a sidecar's client. One gate serves
one loop: it is not meant to be shared by threads.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from pricer.clock import NS_PER_SECOND, Clock, Instant, SystemClock
from pricer.conventions import Reason, Status
from pricer.snapshot import FIELD_INDEX, OK_ONLY, FeedHealth, Row, Snapshot, not_subscribed

__all__ = ["Decision", "HedgeGate", "Refusal"]

# Twice what the largest venue lists: the references of options that nobody asks about any more are forgotten.
MOST_INSTRUMENTS = 8192
# Absolute for a delta per unit and for a volatility, relative for the forward: several times what a minute brings.
MAX_JUMP = MappingProxyType({"delta": 0.1, "iv": 0.05, "forward": 0.02})
FORWARD = "forward"
# A connection that has not brought everything yet.
COMING_UP = frozenset({"connecting", "open"})


class Refusal(StrEnum):
    """Why a gate is shut."""

    UNKNOWN = "unknown"  # no such instrument in this snapshot, or a number that the client did not subscribe to
    STATUS = "status"  # a number or the forward has a status that is not allowed
    AGE = "age"  # an input is older than the gate's own limit
    JUMP = "jump"  # a number is too far from the last one accepted, and has not stood long enough
    SETTLEMENT = "settlement"  # within the window before expiry, or after it
    FEED = "feed"  # no connection to the option's venue is live, or one is still coming up
    COOL_DOWN = "cool_down"  # too soon after a break (a gap, a reconnection, another session, a number not fit for use)
    REPLAY = "replay"  # these numbers are of another day


@dataclass(frozen=True, slots=True)
class Decision:
    """`allowed`: any order. `reduce_only`: orders that reduce the risk, and no others. Neither: none at all.

    `values` are the numbers that were judged, empty where there are none to use: take them from here, so that what is
    traded on is what was checked. `reasons` say what shut the gate, `detail` in words for a log.
    """

    allowed: bool
    reduce_only: bool
    reasons: tuple[Refusal, ...] = ()
    detail: str = ""
    values: Mapping[str, float] = field(default_factory=dict)

    def allows(self, *, reduces_risk: bool) -> bool:
        """Whether an order may go out, knowing what it does to the risk.

        >>> Decision(allowed=False, reduce_only=True).allows(reduces_risk=True)
        True
        """
        return self.allowed or (self.reduce_only and reduces_risk)


Refusals: TypeAlias = list[tuple[Refusal, str]]


class _Candidate(NamedTuple):
    """Numbers beyond a jump, and since when they have stood."""

    values: Mapping[str, float]
    since_ns: int


@dataclass(slots=True)
class _Known:
    """What a gate remembers of one instrument."""

    accepted: Mapping[str, float] | None = None
    candidate: _Candidate | None = None
    unfit_ns: int | None = None  # when its numbers were last not to be used


class HedgeGate:
    """Refuses what a hedge must not be made with; see the module. Times are in seconds, of `clock`.

    `fields` are the numbers that the loop trades on. They, those with a `max_jump`, and the expiry's forward must have
    one of `statuses` (`OK`); with one of `reduce_only` (`DEGRADED`) only orders that reduce risk are allowed.
    `max_age_s` bounds the age of the oldest input, beside the limits that made the status. `max_jump` bounds the
    distance from what was accepted last: absolute for fields, relative for "forward"; what is beyond is accepted once
    it has stood for `cool_down_s`. In the `settlement_s` before expiry, and after it, nothing is allowed. After a break
    nothing is allowed for `cool_down_s`: a gap, a reconnection of a feed or of the client, another session, or numbers
    that were `STALE` or `INVALID`.

    A sidecar's client that names `columns` must name all of these: with the default `max_jump` also `iv`.

    While a connection to the venue is coming up, or none is live, nothing is allowed. A fresh gate does not know what
    was before, so it waits for `cool_down_s` from its first look at a live feed. Where a snapshot has no feeds, as
    that of an engine of one's own, there is none to wait for.

    `stats` counts decisions by their reasons.

    >>> HedgeGate(max_age_s=1.0, cool_down_s=10.0)
    HedgeGate(fields=('delta', 'iv'), max_age_s=1.0, settlement_s=1800.0, cool_down_s=10.0)
    """

    def __init__(
        self,
        *,
        fields: Sequence[str] = ("delta",),
        max_age_s: float = 5.0,
        statuses: Collection[Status] = OK_ONLY,
        reduce_only: Collection[Status] = frozenset({Status.DEGRADED}),
        max_jump: Mapping[str, float] = MAX_JUMP,
        settlement_s: float = 1800.0,
        cool_down_s: float = 5.0,
        clock: Clock | None = None,
    ) -> None:
        """ValueError names what is impossible: a field that does not exist, or a limit that is none."""
        self.stats: Counter[str] = Counter()
        self.fields = tuple(dict.fromkeys((*fields, *(name for name in max_jump if name != FORWARD))))
        self._max_jump = dict(max_jump)
        self._statuses, self._reduce_only = frozenset(statuses), frozenset(reduce_only)
        self._seconds = {"max_age_s": max_age_s, "settlement_s": settlement_s, "cool_down_s": cool_down_s}
        _check(self.fields, self._max_jump, self._statuses | self._reduce_only, self._seconds)
        self._max_age_ns, self._settlement_ns, self._cool_down_ns = (_ns(each) for each in self._seconds.values())
        self._clock = clock or SystemClock()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._seen: tuple[int, tuple[FeedHealth, ...]] | None = None
        self._broken: tuple[int, str] | None = None  # when the last break was noticed, and which

    def __repr__(self) -> str:
        return f"HedgeGate(fields={self.fields}, {', '.join(f'{k}={v}' for k, v in self._seconds.items())})"

    def check(self, what: Snapshot | Row, name: str = "", now: Instant | None = None) -> Decision:
        """May an order go out on the option `name` of a snapshot, or on a row? `now` is the gate's clock's by default.

        Ask with every snapshot that is looked at, also where no order is due: a break is noticed by being seen.
        """
        now_ns = (now or self._clock.now()).mono_ns
        snapshot = what.snapshot if isinstance(what, Row) else what
        self._notice(snapshot, now_ns)
        missing = [name for name in self.fields if name in snapshot.left_out]
        if missing:
            said = [f"{name}, which this gate needs, is {not_subscribed(name)}" for name in missing]
            decision = _shut([(Refusal.UNKNOWN, text) for text in said])
        elif isinstance(what, Row):
            decision = self._judge(what, now_ns)
        elif name in what:
            decision = self._judge(what[name], now_ns)
        else:
            decision = _shut([(Refusal.UNKNOWN, f"no instrument {name!r}")])
        self.stats.update(decision.reasons or ("reduce_only" if decision.reduce_only else "allowed",))
        return decision

    def disturbed(self, now: Instant | None = None) -> None:
        """Something happened that the gate cannot see, such as a trade that was not ours: the cool-down begins."""
        self._broken = (now or self._clock.now()).mono_ns, "a disturbance"

    def _notice(self, snapshot: Snapshot, now_ns: int) -> None:
        """A break since the last look: of the client's stream, or of the feeds behind it. The first may follow one."""
        seen, self._seen = self._seen, (snapshot.breaks, snapshot.feeds)
        if seen is None:
            what = "the first look" if snapshot.feeds else ""
        elif seen[0] != snapshot.breaks:
            what = "a break of the stream"
        else:
            what = "" if seen[1] == snapshot.feeds else "a change of the feed"
        if what:
            self._broken = now_ns, what

    def _judge(self, row: Row, now_ns: int) -> Decision:
        known = self._remembered(row.name)
        against, reduces = self._unfit(row)
        if against:
            known.unfit_ns = now_ns
        values = {} if against else self._values(row)
        against += self._out_of_bounds(row)
        if values:
            against += self._jumps(known, values, now_ns)
        against += self._too_soon(known, now_ns)
        if against:
            return _shut(against)
        known.accepted = values
        return Decision(allowed=not reduces, reduce_only=reduces, values=MappingProxyType(values))

    def _unfit(self, row: Row) -> tuple[Refusals, bool]:
        """What is not to be used by its status or age; and whether it only reduces risk."""
        against: Refusals = []
        reduces = False
        for name, status, reasons, age_ns in self._inputs(row):
            reduces |= status in self._reduce_only
            if status not in self._statuses | self._reduce_only:
                against.append((Refusal.STATUS, f"{name} is {status.name} {reasons.label}".rstrip()))
            elif age_ns is None or age_ns > self._max_age_ns:
                shown = "unknown" if age_ns is None else f"{age_ns / NS_PER_SECOND:.3f} s"
                against.append((Refusal.AGE, f"the age of {name} is {shown}"))
        return against, reduces

    def _inputs(self, row: Row) -> Iterator[tuple[str, Status, Reason, int | None]]:
        for name in self.fields:
            yield name, *row.status_of(name), row.age_ns(name)
        forward, now = row.block.forward, row.snapshot.clock.now()
        late = forward.status < Status.STALE and now.mono_ns > forward.valid_until_ns
        yield FORWARD, Status.STALE if late else forward.status, forward.reasons, forward.age_ns(now)

    def _values(self, row: Row) -> dict[str, float]:
        allowed = self._statuses | self._reduce_only
        found = {name: row.get(name, allowed) for name in self.fields} | {FORWARD: row.block.forward.value}
        # A limit may have passed since the status was read: then there is no value, and nothing to trade on.
        return {name: math.nan if value is None else value for name, value in found.items()}

    def _out_of_bounds(self, row: Row) -> Refusals:
        against: Refusals = []
        if Reason.REPLAY in row.snapshot.reasons:
            against.append((Refusal.REPLAY, "the numbers are replayed"))
        against += _not_live([feed for feed in row.snapshot.feeds if feed.venue == row.block.key.venue])
        left_ns = row.expiry_ns - row.snapshot.clock.now().wall_ns
        if left_ns <= self._settlement_ns:
            against.append((Refusal.SETTLEMENT, f"the option expires in {left_ns / NS_PER_SECOND:.0f} s"))
        return against

    def _jumps(self, known: _Known, values: Mapping[str, float], now_ns: int) -> Refusals:
        """Against what was accepted last; and for how long the numbers have stood where they are now."""
        if not all(map(math.isfinite, values.values())):
            return [(Refusal.STATUS, "a value has just gone")]
        if known.accepted is None:
            return []
        far = self._far(known.accepted, values)
        if not far:
            known.candidate = None
            return []
        candidate = known.candidate
        if candidate is None or self._far(candidate.values, values):
            known.candidate = _Candidate(values, now_ns)
        elif now_ns - candidate.since_ns >= self._cool_down_ns:
            known.candidate = None
            return []
        return [(Refusal.JUMP, f"{name}: {known.accepted[name]:g} to {values[name]:g}") for name in far]

    def _far(self, old: Mapping[str, float], new: Mapping[str, float]) -> list[str]:
        """The numbers that are further apart than their limit; one that is none is far from any."""
        found = []
        for name, limit in self._max_jump.items():
            scale = abs(old[name]) if name == FORWARD else 1.0
            if not abs(new[name] - old[name]) <= limit * scale:
                found.append(name)
        return found

    def _too_soon(self, known: _Known, now_ns: int) -> Refusals:
        unfit = None if known.unfit_ns is None else (known.unfit_ns, "its numbers were not to be used")
        last = max(filter(None, (self._broken, unfit)), default=None)
        if last is None or now_ns - last[0] >= self._cool_down_ns:
            return []
        return [(Refusal.COOL_DOWN, f"{(now_ns - last[0]) / NS_PER_SECOND:.1f} s since {last[1]}")]

    def _remembered(self, name: str) -> _Known:
        known = self._known.setdefault(name, _Known())
        self._known.move_to_end(name)
        if len(self._known) > MOST_INSTRUMENTS:
            self._known.popitem(last=False)
        return known


def _not_live(feeds: Sequence[FeedHealth]) -> Refusals:
    """What one venue's connections have against an order: those that are lost made their own numbers STALE."""
    waited_for = [feed for feed in feeds if feed.state in COMING_UP]
    if feeds and not waited_for and not any(feed.state == "live" for feed in feeds):
        waited_for = [feeds[0]]
    return [(Refusal.FEED, f"the feed {feed.connection} is {feed.state}") for feed in waited_for[:1]]


def _shut(against: Refusals) -> Decision:
    reasons = tuple(dict.fromkeys(reason for reason, _ in against))
    return Decision(allowed=False, reduce_only=False, reasons=reasons, detail="; ".join(text for _, text in against))


def _check(
    fields: Sequence[str], max_jump: Mapping[str, float], statuses: Collection[Status], seconds: Mapping[str, float]
) -> None:
    for name in fields:
        if name not in FIELD_INDEX:
            raise ValueError(f"no field {name!r}; the fields are {', '.join(FIELD_INDEX)}, and {FORWARD} has a jump")
    for name, limit in (*max_jump.items(), *seconds.items()):
        if not (math.isfinite(limit) and limit >= 0):
            raise ValueError(f"{name} must be finite and not negative, not {limit!r}")
    if Status.INVALID in statuses:
        raise ValueError("what is INVALID has no value to act on")


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_SECOND)
