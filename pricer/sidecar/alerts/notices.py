"""Many changes become few lines: one for each rule and direction, at most so many a second, and none lost uncounted.

FAULTS X06. A storm is told as what it is: `412 of rule "wild": BTC-25DEC26-100000-C at 1.31, ...`, and what finds no
room in one second stands in the next line's count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pricer.clock import NS_PER_SECOND, Instant
from pricer.sidecar.alerts.watch import Change, State

EXAMPLES = 5
PLACES = ("rule", "state", "metric", "count", "subjects", "value", "limit")


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told of one rule: `count` subjects changed to `state`; the first few by name, the first one's value."""

    rule: str
    state: State
    metric: str
    limit: str
    count: int
    subjects: tuple[str, ...]
    value: float
    at: Instant

    def text(self, template: str) -> str:
        """The template with its places filled: `{rule}` and so on. Only whole known places are; nothing is looked up.

        >>> from pricer.clock import EPOCH
        >>> Notice("wild", "raised", "iv", "> 1.2", 2, ("A", "B"), 1.31, EPOCH).text("{rule} {count} {rule.__class__}")
        'wild 2 {rule.__class__}'
        """
        named = ", ".join(self.subjects)
        more = f" and {self.count - len(self.subjects)} more" if self.count > len(self.subjects) else ""
        value = "no value" if math.isnan(self.value) else f"{self.value:.6g}"
        words = (self.rule, self.state, self.metric, str(self.count), named + more, value, self.limit)
        return _filled(template, dict(zip(PLACES, words, strict=True)))

    def as_json(self) -> dict[str, Any]:
        """What a webhook gets."""
        return {
            "rule": self.rule,
            "state": self.state,
            "metric": self.metric,
            "limit": self.limit,
            "count": self.count,
            "subjects": list(self.subjects),
            "value": None if math.isnan(self.value) else self.value,
            "at_ns": self.at.wall_ns,
        }


def _filled(template: str, words: Mapping[str, str]) -> str:
    """Each place once, from left to right: what is filled in is not searched again."""
    out, rest = [], template
    while rest:
        before, brace, after = rest.partition("{")
        place, closing, following = after.partition("}")
        out.append(before)
        if brace and closing and place in words:
            out.append(words[place])
            rest = following
        else:
            out.append(brace)
            rest = after
    return "".join(out)


@dataclass(slots=True)
class _Held:
    first: Change
    count: int = 0
    subjects: list[str] = field(default_factory=list)


class Notices:
    """Takes changes, gives notices: at most `per_second` of them, a second's worth at once."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._room = max(per_second, 1.0)
        self._most = max(per_second, 1.0)
        self._looked_ns: int | None = None
        self._held: dict[tuple[str, State], _Held] = {}

    def pace(self, per_second: float) -> None:
        """At most so many from now on."""
        self._rate, self._most = per_second, max(per_second, 1.0)
        self._room = min(self._room, self._most)

    @property
    def waiting(self) -> int:
        """Changes that have not been told yet."""
        return sum(held.count for held in self._held.values())

    def take(self, changes: Iterable[Change]) -> None:
        """Remember what is to be told: a count and a few names for each rule and direction."""
        for change in changes:
            held = self._held.setdefault((change.rule.name, change.state), _Held(change))
            held.count += 1
            if len(held.subjects) < EXAMPLES:
                held.subjects.append(change.subject)

    def due(self, now: Instant) -> list[Notice]:
        """What may be told now, the oldest first; when not all fits, the last one is for all the rest together."""
        if self._looked_ns is not None:
            passed = (now.mono_ns - self._looked_ns) / NS_PER_SECOND
            self._room = min(self._most, self._room + passed * self._rate)
        self._looked_ns = now.mono_ns
        room = int(self._room)
        if not self._held or not room:
            return []
        told = [self._notice(held) for held in self._held.values()]
        if len(told) > room:
            told = [*told[: room - 1], _together(told[room - 1 :])]
        self._held.clear()
        self._room -= len(told)
        return told

    @staticmethod
    def _notice(held: _Held) -> Notice:
        first, rule = held.first, held.first.rule
        words = rule.name, first.state, rule.metric_text, rule.limit_text
        return Notice(*words, held.count, tuple(held.subjects), first.value, first.at)


def _together(notices: list[Notice]) -> Notice:
    """One for many: their names are the rules'."""
    rules = [f"{each.rule} {each.state}" for each in notices]
    count, first = sum(each.count for each in notices), notices[0]
    return Notice(
        f"{len(notices)} rules", first.state, "several", "", count, tuple(rules[:EXAMPLES]), math.nan, first.at
    )
