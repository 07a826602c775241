"""docs/faults.md: which rows of the fault catalogue have a test. `python -m tests.fault_table` writes it.

A test covers the rows whose ids begin its name, `test_T04_half_open` or `test_I10_R07_...`; the names are read from
the source, nothing is run. A row of the sections T to C, and one of severity A of E, V, X, H and Z, without a test
needs a reason below; where neither is there the page says so, and the command ends with status 1 and the list.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.data import CHECKOUT
from tests.fault_rows import COMPLETE, INVARIANTS, RELEASED, ROWS, SECTIONS, Row

PAGE = CHECKOUT / "docs" / "faults.md"
ID = re.compile(r"[A-Z]\d{1,2}")

# Why a row has no test. Severity A allows the reasons of ALLOWED_FOR_A only.
AVERAGE = "later work: inside the settlement average Greeks are `DEGRADED` with `SETTLING`"
WEIGHTS = "later work: time is ACT/365, no day counts less than another"
ALLOWED_FOR_A = {"C04": AVERAGE, "C05": WEIGHTS}
REASONS = {
    **ALLOWED_FOR_A,
    "D11": "one venue so far",
    "D12": "no curves yet: Deribit's forwards need none",
    "N09": "with the second venue: Deribit lists 3,700",
    "C10": "no event variance in the model yet",
    "P18": "lateness is told (T08); shedding channels for it is later work",
    "C06": "Deribit's expiries are at 08:00 UTC all year",
    "C09": "Deribit's tickers have no sequence: an older one is dropped by its stamp, and counted",
}

HEAD = """# Faults, and the tests that rehearse them

Written by `python -m tests.fault_table` from the names of the tests; a test compares. A row is a fault of the
project's catalogue, in a few words. Severity A must hold before a release, B before 1.0, C is wanted. A test injects
its row's fault and asserts the row's figure, on virtual time where the figure is in seconds.

Sections T to C of the catalogue are shown whole; of E, V, X, H and Z every row of severity A and what else has tests;
of the others the rows that have tests. What is not shown belongs to later work.

Invariants that tests name, too: {invariants}.
"""


class Named(NamedTuple):
    name: str
    file: str


def ids_of(name: str) -> list[str]:
    """The ids that begin a test's name.

    >>> ids_of("test_I10_R07_a_recording_holds_no_secret"), ids_of("test_iv_of_T04")
    (['I10', 'R07'], [])
    """
    found = []
    for word in name.removeprefix("test_").split("_"):
        if not ID.fullmatch(word):
            break
        found.append(word)
    return found


def named_tests() -> Iterator[Named]:
    """Every test of the project, by its source."""
    for path in sorted((CHECKOUT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                yield Named(node.name, path.relative_to(CHECKOUT).as_posix())


def coverage() -> dict[str, list[Named]]:
    """The tests of each id that any test bears."""
    found: dict[str, list[Named]] = {}
    for test in named_tests():
        for each in ids_of(test.name):
            found.setdefault(each, []).append(test)
    return found


def must_be_there(row: Row) -> bool:
    """Is a row to be shown whether it has tests or not?"""
    return row.id[0] in COMPLETE or (row.id[0] in RELEASED and row.severity == "A")


def missing(covered: dict[str, list[Named]]) -> list[Row]:
    """Rows that must be there with neither test nor reason."""
    return [row for row in ROWS.values() if must_be_there(row) and row.id not in covered and row.id not in REASONS]


def problems(covered: dict[str, list[Named]]) -> list[str]:
    """All that keeps the table from being true and complete, in words."""
    found = [f"{row.id} ({row.severity}) has no test and no reason: {row.fault}" for row in missing(covered)]
    unknown = sorted(set(covered) - set(ROWS) - INVARIANTS)
    found += [f"{covered[each][0].file}: {covered[each][0].name} bears the unknown id {each}" for each in unknown]
    found += [
        f"{each} has tests now: its reason in tests/fault_table.py has to go" for each in REASONS if each in covered
    ]
    weak = [each for each in REASONS if ROWS[each].severity == "A" and REASONS[each] != ALLOWED_FOR_A.get(each)]
    return found + [f"{each} is of severity A: its reason is not allowed" for each in weak]


def page(covered: dict[str, list[Named]]) -> str:
    """The page as it ought to be."""
    named = sorted(INVARIANTS & set(covered), key=lambda each: int(each[1:]))
    text = HEAD.format(invariants=", ".join(f"{each} ({len(covered[each])})" for each in named))
    for letter, title in SECTIONS.items():
        rows = [row for row in ROWS.values() if row.id[0] == letter]
        rows = [row for row in rows if must_be_there(row) or row.id in covered]
        if rows:
            lines = [f"| {row.id} | {row.severity} | {row.fault} | {proof(row, covered)} |" for row in rows]
            table = "\n".join(["| row | severity | fault | tests |", "|---|---|---|---|", *lines])
            text += f"\n## {letter}: {title}\n\n{summary(rows, covered)}\n\n{table}\n"
    return text


def summary(rows: list[Row], covered: dict[str, list[Named]]) -> str:
    """How many rows of a section have tests."""
    return f"{sum(row.id in covered for row in rows)} of {len(rows)} rows have tests."


def proof(row: Row, covered: dict[str, list[Named]]) -> str:
    """The tests of one row by file, or why there is none."""
    if row.id not in covered:
        return REASONS.get(row.id, "**missing**")
    files: dict[str, list[str]] = {}
    for test in covered[row.id]:
        files.setdefault(test.file, []).append(test.name)
    return "<br>".join(
        f"[{Path(file).name}](../{file}): " + ", ".join(f"`{n}`" for n in names) for file, names in files.items()
    )


def main() -> int:
    covered = coverage()
    PAGE.write_text(page(covered), encoding="utf-8")
    found = problems(covered)
    for problem in found:
        print(problem)
    shown = [row for row in ROWS.values() if must_be_there(row)]
    print(f"{PAGE.relative_to(CHECKOUT)}: {sum(row.id in covered for row in shown)} of {len(shown)} rows have tests")
    if found:
        print(f"the table is not complete: {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
