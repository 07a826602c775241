"""docs/faults.md is what the tests' names say, and says nothing that they do not."""

from __future__ import annotations

from collections import Counter

import pytest

from tests import fault_table
from tests.fault_rows import COMPLETE, INVARIANTS, RELEASED, ROWS, SECTIONS
from tests.fault_table import ALLOWED_FOR_A, PAGE, REASONS, Named, coverage, ids_of, missing, page, problems, proof

COVERED = coverage()


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(COVERED), "run: python -m tests.fault_table"


def test_every_row_that_must_be_there_has_a_test_or_a_reason() -> None:
    assert [f"{row.id} ({row.severity}): {row.fault}" for row in missing(COVERED)] == []


def test_every_row_of_severity_a_has_a_test_but_for_what_was_put_off() -> None:
    without = [
        row.id
        for row in ROWS.values()
        if row.id[0] in COMPLETE + RELEASED and row.severity == "A" and row.id not in COVERED
    ]
    assert set(without) <= set(ALLOWED_FOR_A)
    assert set(ALLOWED_FOR_A) == {"C04", "C05"}


def test_no_test_bears_an_id_that_is_none_and_no_reason_is_out_of_date() -> None:
    rest = [each for each in problems(COVERED) if "has no test and no reason" not in each]
    assert rest == []


def test_the_catalogue_is_whole() -> None:
    counts = Counter(each[0] for each in ROWS)
    assert "".join(SECTIONS) == "TLWPSDNCMFEVXRHZQ"
    assert [counts[each] for each in SECTIONS] == [14, 4, 13, 18, 17, 15, 9, 12, 15, 14, 12, 16, 8, 15, 13, 20, 8]
    severities = Counter(row.severity for row in ROWS.values() if row.id[0] in COMPLETE)
    assert severities == {"A": 51, "B": 43, "C": 8}
    blocking = Counter(row.id[0] for row in ROWS.values() if row.id[0] in RELEASED and row.severity == "A")
    assert blocking == {"E": 6, "V": 10, "X": 3, "H": 4, "Z": 12}
    assert not INVARIANTS & set(ROWS)
    for row in ROWS.values():
        assert row.fault.strip() == row.fault
        assert "|" not in row.fault


def test_what_is_missing_is_told_and_never_shown_as_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = {"T01": [Named("test_T01_x", "tests/a.py")], "K07": [Named("test_K07_y", "tests/b.py")]}
    found = problems(made_up)
    assert any(each.startswith("T02 (A) has no test") for each in found)
    assert any(each.startswith("H03 (A) has no test") for each in found)
    assert not any(each.startswith(("H05", "R01")) for each in found), "of severity B, and of a later section"
    assert any("unknown id K07" in each for each in found)
    assert proof(ROWS["T02"], made_up) == "**missing**"
    assert "**missing**" in page(made_up)
    assert "test_T01_x" in page(made_up)
    monkeypatch.setitem(REASONS, "T02", "no time")
    monkeypatch.setitem(REASONS, "T01", "no time")
    found = fault_table.problems(made_up)
    assert "T02 is of severity A: its reason is not allowed" in found
    assert any(each.startswith("T01 has tests now") for each in found)


def test_ids_are_those_that_begin_a_name() -> None:
    assert ids_of("test_T02_T03_both_ways") == ["T02", "T03"]
    assert ids_of("test_a_T02_inside") == []
    assert ids_of("test_I7_same_bytes") == ["I7"]
