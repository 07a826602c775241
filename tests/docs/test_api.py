"""docs/api.md against the public list: each name once, with the parameters that it has."""

from __future__ import annotations

import inspect
import re

import pytest

import pricer
from tests.data import CHECKOUT

TEXT = (CHECKOUT / "docs" / "api.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)(\(.*?\))?` \| (.+) \|$", TEXT, re.MULTILINE)


def parameters(function: object) -> str:
    """The names of the parameters as the page writes them: (a, b, *, c)."""
    out: list[str] = []
    for parameter in inspect.signature(function).parameters.values():  # type: ignore[arg-type]
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in out:
            out.append("*")
        out.append(parameter.name)
    return f"({', '.join(out)})"


def test_every_public_name_has_one_line() -> None:
    assert sorted(name for name, _, _ in ROWS) == sorted(pricer.__all__)


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, call, _ in ROWS])
def test_functions_are_shown_with_their_parameters(name: str, call: str) -> None:
    thing = getattr(pricer, name)
    assert call == (parameters(thing) if inspect.isfunction(thing) else "")


@pytest.mark.parametrize("name", ["Snapshot", "Row", "Reason", "LiveStream", "NotTradable", "VenueError", "Engine"])
def test_the_members_that_a_line_names_exist(name: str) -> None:
    (line,) = [line for row, _, line in ROWS if row == name]
    members = re.findall(r"`\.?(\w+)(?:\(.*?\))?`", line)
    source = inspect.getsource(getattr(pricer, name))
    wrong = [member for member in members if member.islower() and not re.search(rf"\b{member}\b", source)]
    assert members
    assert wrong == []
