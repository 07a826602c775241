"""Rules that aim at nothing: a name of their scope is not in the chain, so they can never fire, or not for it.

A chain comes in pieces, and changes when options are listed; so it is looked at once it has stood still for a while.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import ConfigError
from pricer.expiries import expiry_label
from pricer.sidecar.alerts.language import Rule
from pricer.snapshot import SliceDefinition, Snapshot

log = logging.getLogger("pricer.sidecar.alerts")

SETTLED_NS = 5 * NS_PER_SECOND
MOST_NAMED = 20  # in one line


class Unaimed(NamedTuple):
    """A rule, and a name of its scope that is not in the chain."""

    rule: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule} ({self.what})"


class Aims:
    """Looks whenever rules or chain have changed, and tells the log what is newly aimed at nothing."""

    def __init__(self) -> None:
        self.missing: tuple[Unaimed, ...] = ()
        self._chain: tuple[SliceDefinition, ...] = ()
        self._since_ns = 0
        self._seen: tuple[Sequence[Rule], Sequence[SliceDefinition]] | None = None

    def look(self, rules: tuple[Rule, ...], snapshot: Snapshot, now: Instant) -> None:
        """The rules that hold at `now`, and the chain that the snapshot has."""
        chain = tuple(block.definition for block in snapshot.blocks)
        if chain != self._chain:  # definitions are shared between snapshots: a few comparisons of addresses
            self._chain, self._since_ns = chain, now.mono_ns
        if not chain or now.mono_ns - self._since_ns < SETTLED_NS or self._seen == (rules, chain):
            return
        self._seen = rules, chain
        before, self.missing = set(self.missing), unaimed(rules, chain)
        new = [str(each) for each in self.missing if each not in before]
        if new:
            more = f" and {len(new) - MOST_NAMED} more" if len(new) > MOST_NAMED else ""
            log.warning("alert rules that aim at what is not in the chain: %s", ", ".join(new[:MOST_NAMED]) + more)


def unaimed(rules: Iterable[Rule], chain: Iterable[SliceDefinition]) -> tuple[Unaimed, ...]:
    """What of the rules' scopes is not in `chain`."""
    chain = tuple(chain)
    underlyings = {each.underlying for each in chain}
    expiries = {each.key.expiry_ns for each in chain}
    names = {name for each in chain for name in each.names}
    found: list[Unaimed] = []
    for rule in rules:
        scope = rule.scope
        absent = [name for name in scope.underlyings if name not in underlyings]
        absent += [expiry_label(expiry) for expiry in scope.expiries if expiry not in expiries]
        absent += [name for name in scope.instruments if name not in names]
        if not absent and not any(scope.holds(each) for each in chain):
            absent = ["nothing is in all of its scope"]
        found += [Unaimed(rule.name, what) for what in absent]
    return tuple(found)


def check_underlyings(rules: Iterable[Rule], underlyings: Sequence[str]) -> None:
    """`ConfigError` where a rule names an underlying that is not priced here: it could never fire."""
    for rule in rules:
        for name in rule.scope.underlyings:
            if name not in underlyings:
                raise ConfigError(
                    f"alerts.rules.{rule.name}: {name!r} is not among feed.underlyings ({', '.join(underlyings)})"
                )
