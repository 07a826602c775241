"""docs/simulator.md against the faults that there are: its table is generated, its scripts are read."""

from __future__ import annotations

import re
import tomllib

import pytest

from pricer.simulator.faults import KINDS, MOMENTARY, parse_script
from tests.data import CHECKOUT

TEXT = (CHECKOUT / "docs" / "simulator.md").read_text(encoding="utf-8")


def row(name: str) -> str:
    """A fault's line of the table."""
    kind = KINDS[name]
    words: dict[object, str] = {None: "none", "": "any"}
    given = [f"`{key}` {words.get(value, str(value))}" for key, value in kind.defaults.items()]
    lasts = "at once" if name in MOMENTARY else "lasts"
    return f"| `{name}` | {kind.where} | {kind.what} | {lasts} | {', '.join(given)} |"


@pytest.mark.parametrize("name", KINDS)
def test_every_fault_stands_in_the_table_as_it_is(name: str) -> None:
    assert row(name) in TEXT.splitlines()


def test_the_table_names_no_fault_that_is_gone() -> None:
    named = re.findall(r"^\| `(\w+)` \| (?:path|venue|host) \|", TEXT, re.MULTILINE)
    assert named == list(KINDS)


def test_the_script_of_the_page_is_a_script() -> None:
    (block,) = re.findall(r"^    script = \[\n.*?^    \]", TEXT, re.MULTILINE | re.DOTALL)
    script = parse_script(tomllib.loads(block)["script"])
    assert [each.name for each in script] == ["latency", "zombie", "reset"]
