"""What is raised and what is cleared: rules over snapshots, with hysteresis in level and in time. Sans-I/O.

A subject (an option, an expiry, an underlying) is *beyond* while its number is on the wrong side of a rule's limit. It
is raised after it was beyond for the rule's `hold_ns` without a break, and cleared when its number is within the rule's
other limit. A number that nobody may act on (`STALE`, `INVALID`) decides nothing: what is raised stays raised, what is
only beyond starts again. A subject that no longer exists is `gone`.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricer.clock import Instant
from pricer.sidecar.alerts.language import Comparison, Rule, Scope
from pricer.sidecar.alerts.metrics import METRICS, Readings, expiry_name
from pricer.snapshot import SliceBlock, Snapshot

# Subjects that are beyond a limit, over all rules; further ones are counted and wait until there is room.
MOST_SUBJECTS = 20_000

_BEYOND: dict[str, Callable[[Any, float], Any]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}

State = Literal["raised", "cleared", "gone"]


@dataclass(frozen=True, slots=True)
class Change:
    """One alert begins or ends. `value` is NaN where there is none; `at` is the moment of the snapshot's reading."""

    rule: Rule
    subject: str
    state: State
    value: float
    at: Instant


class Active(NamedTuple):
    """An alert that is raised now; `value` is the newest that decided anything.

    `is_current` says whether that was the newest round's: else nobody may act on the number, or it has none.
    """

    rule: Rule
    subject: str
    value: float
    since: Instant
    is_current: bool = True


class _Beyond:
    """One subject of one rule since it went beyond the limit."""

    __slots__ = ("is_current", "raised", "since", "value")

    def __init__(self, since: Instant, value: float) -> None:
        self.since = since
        self.value = value
        self.raised: Instant | None = None
        self.is_current = True


class Values(NamedTuple):
    """The numbers of some subjects: names in the order of the values."""

    names: Sequence[str]
    values: NDArray[np.float64]


class Watch:
    """All rules, and what is beyond them. `look` may run on any one thread at a time."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self.counters: Counter[str] = Counter()
        self._beyond: dict[Rule, dict[str, _Beyond]] = {rule: {} for rule in self.rules}
        self._tracked = 0

    @property
    def active(self) -> list[Active]:
        """What is raised, in the order of the rules."""
        return [
            Active(rule, subject, each.value, each.raised, each.is_current)
            for rule, found in self._beyond.items()
            for subject, each in found.items()
            if each.raised is not None
        ]

    def replace(self, rules: Iterable[Rule], now: Instant) -> list[Change]:
        """Other rules from now on; those that stay keep what they know, and what others had raised is gone."""
        self.rules = tuple(rules)
        before, self._beyond = self._beyond, {rule: self._beyond.get(rule, {}) for rule in self.rules}
        ended = [(rule, tracked) for rule, tracked in before.items() if rule not in self._beyond]
        self._tracked -= sum(len(tracked) for _, tracked in ended)
        gone = [
            Change(rule, subject, "gone", math.nan, now)
            for rule, tracked in ended
            for subject, each in tracked.items()
            if each.raised is not None
        ]
        self.counters.update(change.state for change in gone)
        return gone

    def look(self, snapshot: Snapshot, now: Instant) -> list[Change]:
        """What begins and what ends at `now`, whose numbers the snapshot has."""
        readings = Readings(snapshot, now)
        changes: list[Change] = []
        for rule, tracked in self._beyond.items():
            changes += self._judge(rule, tracked, _values_of(rule, readings), now)
        self.counters.update(change.state for change in changes)
        return changes

    def _judge(
        self, rule: Rule, tracked: dict[str, _Beyond], found: Iterable[Values], now: Instant
    ) -> Iterator[Change]:
        before = list(tracked)
        seen: dict[str, float] = {}
        for names, signed in found:
            values = np.abs(signed) if rule.absolute else signed
            if before:
                seen.update(zip(names, values.tolist(), strict=True))
            for at in np.flatnonzero(_is(rule.raised, values)).tolist():
                yield from self._go_beyond(rule, tracked, names[at], float(values[at]), now)
        for subject in before:
            yield from self._come_back(rule, tracked, subject, seen.get(subject), now)

    def _go_beyond(
        self, rule: Rule, tracked: dict[str, _Beyond], subject: str, value: float, now: Instant
    ) -> Iterator[Change]:
        each = tracked.get(subject)
        if each is None:
            if self._tracked >= MOST_SUBJECTS:
                self.counters["untracked"] += 1
                return
            self._tracked += 1
            each = tracked[subject] = _Beyond(now, value)
        each.value, each.is_current = value, True
        if each.raised is None and now.mono_ns - each.since.mono_ns >= rule.hold_ns:
            each.raised = now
            yield Change(rule, subject, "raised", value, now)

    def _come_back(
        self, rule: Rule, tracked: dict[str, _Beyond], subject: str, value: float | None, now: Instant
    ) -> Iterator[Change]:
        each = tracked[subject]
        raised = each.raised is not None
        if value is None:
            ended: State | None = "gone"
        elif raised:
            ended = "cleared" if _is_over(rule, value) else None
        else:
            ended = None if _is(rule.raised, value) else "cleared"
        if ended is None:
            if value is not None:
                each.is_current = not math.isnan(value)
                each.value = value if each.is_current else each.value
            return
        del tracked[subject]
        self._tracked -= 1
        if raised:
            yield Change(rule, subject, ended, math.nan if value is None else value, now)


def _is_over(rule: Rule, value: float) -> bool:
    """Is what was raised within its limits again? NaN is not."""
    if rule.cleared is not None:
        return bool(_is(rule.cleared, value))
    return not math.isnan(value) and not _is(rule.raised, value)


def _is(comparison: Comparison, values: Any) -> Any:
    """True where a value is on that side; never for NaN."""
    return _BEYOND[comparison.sign](values, comparison.limit)


def _values_of(rule: Rule, readings: Readings) -> Iterator[Values]:
    """The numbers that a rule watches, by slice or all at once."""
    blocks = _in_scope(readings.snapshot, rule.scope)
    match METRICS[rule.metric].of:
        case "option":
            for block in blocks:
                yield _options(rule, block, readings)
        case "expiry":
            values = [readings.expiry(block, rule.metric) for block in blocks]
            yield Values([expiry_name(block) for block in blocks], np.array(values, np.float64))
        case "underlying":
            keys = sorted({(block.key.venue, block.definition.underlying) for block in blocks})
            values = [readings.underlying(*key, rule.metric) for key in keys]
            yield Values([f"{name} at {venue}" for venue, name in keys], np.array(values, np.float64))


def _options(rule: Rule, block: SliceBlock, readings: Readings) -> Values:
    names, values = block.definition.names, readings.options(block, rule.metric)
    scope = rule.scope
    if scope.instruments:
        rows = [block.definition.rows[name] for name in scope.instruments if name in block.definition.rows]
        return Values([names[row] for row in rows], values[rows])
    wanted = np.ones(len(names), np.bool_)
    if scope.cp:
        wanted &= block.definition.cp == scope.cp
    if scope.deltas is not None:
        delta = _deltas(rule, block, readings)
        unknown = np.isnan(delta)
        wanted &= unknown | ((delta >= scope.deltas[0]) & (delta <= scope.deltas[1]))
        # Nobody can say whether it is still meant: it decides nothing, and is not gone.
        values = np.where(unknown, np.nan, values)
    if wanted.all():
        return Values(names, values)
    rows_wanted = np.flatnonzero(wanted)
    return Values([names[row] for row in rows_wanted], values[rows_wanted])


def _deltas(rule: Rule, block: SliceBlock, readings: Readings) -> NDArray[np.float64]:
    """Absolute ones; for ages the last known, since what makes a quote old makes its delta STALE before."""
    last_known = METRICS[rule.metric].is_age
    return np.abs(block.column("delta") if last_known else readings.options(block, "delta"))


def _in_scope(snapshot: Snapshot, scope: Scope) -> list[SliceBlock]:
    blocks = [block for block in snapshot.blocks if scope.holds(block.definition)]
    if scope.nearest is None:
        return blocks
    nearest: dict[tuple[str, str], list[SliceBlock]] = {}
    for block in sorted(blocks, key=lambda each: each.key.expiry_ns):
        nearest.setdefault((block.key.venue, block.definition.underlying), []).append(block)
    return [block for ladder in nearest.values() for block in ladder[: scope.nearest]]
