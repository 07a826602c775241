"""The language of alert rules: one line that says which number, beyond which limit, for how long, and of what.

    rule       = metric comparison ["for" duration] ["clear" comparison] ["in" scope]
    comparison = (">" | ">=" | "<" | "<=") number
    scope      = {underlying | instrument | expiry | "calls" | "puts" | "nearest" count | "delta" number ".." number}

Numbers may end in `%` (12% is 0.12) or, as durations and ages, in ms, s, m or h. Examples:

    iv > 120% for 10s clear < 110% in BTC nearest 3
    abs(divergence) > 5% for 30s in BTC delta 0.1..0.9
    rr25 < -12% clear > -10% in 25DEC26
    quote_age > 30s in BTC-25DEC26-100000-C
    not_ok > 20% for 5s

A rule is text from a file, and nothing more: it is cut into words, looked up in lists, and never run (FAULTS Z14).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pricer.expiries import parse_expiry
from pricer.sidecar.alerts.metrics import METRICS
from pricer.snapshot import SliceDefinition

MOST_CHARACTERS = 300
_WORDS = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?)(?P<unit>%|ms|s|m|h)?(?![\w-])"
    r"|(?P<range>\.\.)|(?P<sign>[<>]=?)|(?P<bracket>[()])|(?P<word>[A-Za-z0-9_][\w.:/-]*))",
    re.ASCII | re.IGNORECASE,
)
_RANGE = re.compile(r"(?<=\d)\.\.(?=[\d.])")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_AN_INSTRUMENT = re.compile(r"[A-Z0-9_]+-\S+", re.IGNORECASE)


class RuleError(ValueError):
    """A rule cannot be read; the message names the place and what could stand there."""


Sign = Literal[">", ">=", "<", "<="]


class Comparison(NamedTuple):
    """A number is on one side of a limit."""

    sign: Sign
    limit: float


@dataclass(frozen=True, slots=True)
class Scope:
    """Which options, expiries or underlyings a rule watches; empty means all."""

    underlyings: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    expiries: tuple[int, ...] = ()
    cp: int = 0
    nearest: int | None = None
    deltas: tuple[float, float] | None = None

    def holds(self, definition: SliceDefinition) -> bool:
        """Whether something of an expiry is meant, as far as its listing can tell."""
        return (
            (not self.underlyings or definition.underlying in self.underlyings)
            and (not self.expiries or definition.key.expiry_ns in self.expiries)
            and (not self.instruments or any(name in definition.rows for name in self.instruments))
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: raised after `metric` has been beyond `raised` for `hold_ns`, cleared when it is within `cleared`.

    `cleared` None means: as soon as `raised` is no longer true.
    """

    name: str
    metric: str
    absolute: bool
    raised: Comparison
    hold_ns: int = 0
    cleared: Comparison | None = None
    scope: Scope = Scope()

    @property
    def metric_text(self) -> str:
        """As people read it: `abs(divergence)`."""
        return f"abs({self.metric})" if self.absolute else self.metric

    @property
    def limit_text(self) -> str:
        """As people read it: `> 1.2`."""
        return f"{self.raised.sign} {self.raised.limit:g}"


class _Word(NamedTuple):
    kind: str
    text: str
    value: float
    unit: str
    at: int


def parse(name: str, text: str) -> Rule:
    """The rule in a line; `RuleError` says where it is wrong.

    >>> rule = parse("wild", "iv > 120% for 10s clear < 110% in BTC nearest 3")
    >>> rule.raised, rule.hold_ns, rule.cleared, rule.scope.underlyings, rule.scope.nearest
    (Comparison(sign='>', limit=1.2), 10000000000, Comparison(sign='<', limit=1.1), ('BTC',), 3)
    >>> parse("wild", "iv >")
    Traceback (most recent call last):
        ...
    pricer.sidecar.alerts.language.RuleError: at the end: a number is missing
    """
    if len(text) > MOST_CHARACTERS:
        raise RuleError(f"a rule has at most {MOST_CHARACTERS} characters, not {len(text)}")
    return _Parser(_words(text)).rule(name)


def _words(text: str) -> list[_Word]:
    found: list[_Word] = []
    text = _RANGE.sub(" .. ", text).rstrip()
    at = 0
    while at < len(text):
        match = _WORDS.match(text, at)
        if match is None:
            raise RuleError(f"{text[at:].strip()[:20]!r} is no word of a rule")
        kind = str(match.lastgroup if match.lastgroup != "unit" else "number")
        unit = (match["unit"] or "").lower()
        found.append(_Word(kind, match[kind], float(match["number"]) if kind == "number" else 0.0, unit, at))
        at = match.end()
    return found


class _Parser:
    """Recursive descent over the words, one method a line of the grammar."""

    def __init__(self, words: list[_Word]) -> None:
        self._words = words
        self._next = 0

    def rule(self, name: str) -> Rule:
        metric, absolute = self._metric()
        is_age = METRICS[metric].is_age
        raised = self._comparison(is_age)
        hold_ns = round(self._number(True, "a duration") * 1e9) if self._took("for") else 0
        cleared = self._comparison(is_age) if self._took("clear") else None
        scope = self._scope() if self._took("in") else Scope()
        if self._next < len(self._words):
            raise RuleError(f"{self._words[self._next].text!r} is not understood here; there are for, clear and in")
        _check(raised, cleared)
        if scope.deltas is not None and METRICS[metric].of != "option":
            raise RuleError(f"{metric} has no delta to choose by")
        if (scope.instruments or scope.cp) and METRICS[metric].of != "option":
            raise RuleError(f"{metric} is not a number of single options")
        return Rule(name, metric, absolute, raised, hold_ns, cleared, scope)

    def _metric(self) -> tuple[str, bool]:
        first = self._take("a metric")
        absolute = first.text.lower() == "abs" and self._took("(")
        word = self._take("a metric") if absolute else first
        if word.text not in METRICS:
            raise RuleError(f"there is no metric {word.text!r}; there are {', '.join(METRICS)}")
        if absolute and not self._took(")"):
            raise RuleError(f"a ) is missing after {word.text!r}")
        return word.text, absolute

    def _comparison(self, is_age: bool) -> Comparison:
        sign = self._take("one of > >= < <=")
        if sign.kind != "sign":
            raise RuleError(f"{sign.text!r} is none of > >= < <=")
        return Comparison(sign.text, self._number(is_age, "a number"))  # type: ignore[arg-type] # one of four texts

    def _number(self, is_time: bool, what: str) -> float:
        word = self._take(what)
        if word.kind != "number":
            raise RuleError(f"{word.text!r} is not {what}")
        if is_time != (word.unit in _SECONDS):
            raise RuleError(f"{word.text}{word.unit}: {'write a time as 10s' if is_time else 'this is not a time'}")
        return word.value * (_SECONDS[word.unit] if is_time else 0.01 if word.unit == "%" else 1.0)

    def _scope(self) -> Scope:
        underlyings: list[str] = []
        instruments: list[str] = []
        expiries: list[int] = []
        cp, nearest, deltas = 0, None, None
        if self._next == len(self._words):
            raise RuleError("at the end: a scope is missing")
        while self._next < len(self._words):
            word = self._take("a scope")
            match word.text.lower():
                case "calls" | "puts":
                    cp = 1 if word.text.lower() == "calls" else -1
                case "nearest":
                    nearest = self._count()
                case "delta":
                    deltas = self._range()
                case _ if (expiry := _expiry(word.text)) is not None:
                    expiries.append(expiry)
                case _ if word.kind != "word":
                    raise RuleError(f"{word.text!r} names nothing")
                case _ if _AN_INSTRUMENT.fullmatch(word.text):
                    instruments.append(word.text)
                case _:
                    underlyings.append(word.text)
        return Scope(tuple(underlyings), tuple(instruments), tuple(expiries), cp, nearest, deltas)

    def _count(self) -> int:
        value = self._number(False, "a count")
        if value != int(value) or not 1 <= value <= 1000:
            raise RuleError(f"nearest {value:g}: a whole number from 1 to 1000 is needed")
        return int(value)

    def _range(self) -> tuple[float, float]:
        low = self._number(False, "a delta")
        if not self._took(".."):
            raise RuleError("write a range of deltas as 0.1..0.9")
        high = self._number(False, "a delta")
        if not 0 <= low < high <= 1:
            raise RuleError(f"delta {low:g}..{high:g}: absolute deltas ascend within 0 to 1")
        return low, high

    def _took(self, text: str) -> bool:
        """Go past a word if it stands here."""
        if self._next < len(self._words) and self._words[self._next].text.lower() == text:
            self._next += 1
            return True
        return False

    def _take(self, what: str) -> _Word:
        if self._next >= len(self._words):
            raise RuleError(f"at the end: {what} is missing")
        self._next += 1
        return self._words[self._next - 1]


def _expiry(text: str) -> int | None:
    try:
        return parse_expiry(text)
    except ValueError:
        return None


def _check(raised: Comparison, cleared: Comparison | None) -> None:
    """Hysteresis leaves a gap: what is cleared must not be raised at once."""
    if cleared is None:
        return
    above = raised.sign in (">", ">=")
    if above == (cleared.sign in (">", ">=")):
        raise RuleError(f"clear {cleared.sign} points the same way as {raised.sign}: it would never hold apart from it")
    if cleared.limit > raised.limit if above else cleared.limit < raised.limit:
        raise RuleError(f"clear {cleared.sign} {cleared.limit:g} overlaps {raised.sign} {raised.limit:g}")
