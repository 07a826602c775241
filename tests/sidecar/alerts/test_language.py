"""Rules are read as they are meant, and what is no rule is refused by name."""

from __future__ import annotations

import random
import string

import pytest

from pricer.expiries import parse_expiry
from pricer.sidecar.alerts.language import MOST_CHARACTERS, Comparison, RuleError, Scope, parse
from pricer.sidecar.alerts.metrics import METRICS


def test_a_whole_rule() -> None:
    rule = parse("wild", "iv > 120% for 1.5s clear <= 110% in BTC ETH nearest 3 calls delta 0.1..0.9 25DEC26")
    assert (rule.name, rule.metric, rule.absolute, rule.hold_ns) == ("wild", "iv", False, 1_500_000_000)
    assert rule.raised == Comparison(">", 1.2)
    assert rule.cleared == Comparison("<=", 1.1)
    assert rule.scope == Scope(("BTC", "ETH"), (), (parse_expiry("25DEC26"),), 1, 3, (0.1, 0.9))


@pytest.mark.parametrize(
    ("text", "limit"), [("rr25 < -12%", -0.12), ("rr25 < -.5", -0.5), ("index >= 1.5e5", 1.5e5), ("vega > +3", 3.0)]
)
def test_numbers(text: str, limit: float) -> None:
    assert parse("x", text).raised.limit == pytest.approx(limit, rel=1e-15)


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("30s", 30.0), ("2m", 120.0), ("1h", 3600.0)])
def test_ages_are_times(text: str, seconds: float) -> None:
    assert parse("x", f"quote_age > {text}").raised.limit == seconds


def test_instruments_expiries_and_underlyings_are_told_apart() -> None:
    scope = parse("x", "iv > 1 in BTC_USDC BTC-25DEC26-100000-C 2026-12-25 SOL_USDC-25DEC26-100d5-P").scope
    assert scope.underlyings == ("BTC_USDC",)
    assert scope.instruments == ("BTC-25DEC26-100000-C", "SOL_USDC-25DEC26-100d5-P")
    assert scope.expiries == (parse_expiry("2026-12-25"),)


def test_absolute_values() -> None:
    rule = parse("x", "abs(divergence) > 5%")
    assert (rule.metric, rule.absolute) == ("divergence", True)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "a metric is missing"),
        ("iv", "one of > >= < <= is missing"),
        ("iv >", "a number is missing"),
        ("iv > much", "'much' is not a number"),
        ("iv == 1", "'== 1' is no word"),
        ("iv > 10s", "this is not a time"),
        ("quote_age > 10", "write a time as 10s"),
        ("iv > 1 for 10", "write a time as 10s"),
        ("iv > 1 clear > 2", "points the same way"),
        ("iv > 1 clear < 1.5", "overlaps"),
        ("iv < 1 clear > 0.5", "overlaps"),
        ("iv > 1 in", "a scope is missing"),
        ("iv > 1 in delta 0.9..0.1", "ascend within 0 to 1"),
        ("iv > 1 in delta 0.1", "write a range"),
        ("iv > 1 in nearest 1.5", "a whole number"),
        ("iv > 1 until < 2", "'until' is not understood here"),
        ("abs(iv > 1", "a ) is missing"),
        ("rr25 < 0 in delta 0.1..0.9", "has no delta"),
        ("atm_iv > 1 in puts", "not a number of single options"),
        ("greek > 1", "there is no metric 'greek'; there are"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_reason(text: str, what: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse("x", text)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true') > 1",
        "iv.__class__ > 1",
        "().__class__.__bases__[0] > 1",
        "iv > 1 for 9e999s in BTC; iv > 2",
        "iv > (lambda: 1)()",
        "iv > 1e999999999",
        "${jndi:ldap://x} > 1",
        "iv > 1 in " + "BTC " * 1000,
        "(" * 200 + "iv > 1",
        "iv > 1\x00",
        "iv > １",
    ],
)
def test_Z14_hostile_rules_are_refused(text: str) -> None:
    with pytest.raises(RuleError):
        parse("x", text)


def test_Z14_no_text_does_anything_but_parse_or_be_refused() -> None:
    rng = random.Random(14)
    words = [
        *METRICS,
        "abs",
        "(",
        ")",
        ">",
        "<=",
        "1",
        "5%",
        "10s",
        "for",
        "clear",
        "in",
        "nearest",
        "delta",
        "..",
        "BTC",
    ]
    pieces = [*words, *string.punctuation, "\n", "é", "\u202e", "9" * 50]
    parsed = 0
    for _ in range(20_000):
        rest = " ".join(rng.choice(pieces if rng.random() < 0.2 else words) for _ in range(rng.randrange(8)))
        text = f"iv > 1 {rest}" if rng.random() < 0.5 else rest
        try:
            parsed += parse("x", text[:MOST_CHARACTERS]).metric in METRICS
        except RuleError:
            continue
    assert parsed > 100
