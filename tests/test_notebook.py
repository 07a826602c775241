"""Notebooks of `examples/` are their scripts, cell by cell, and valid nbformat 4.5."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.data import CHECKOUT
from tests.notebook import notebook_of

NOTEBOOKS = sorted((CHECKOUT / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_its_script(path: Path) -> None:
    script = path.with_suffix(".py").read_text(encoding="utf-8")
    book = json.loads(path.read_text(encoding="utf-8"))
    assert book == notebook_of(script), f"run: python -m tests.notebook examples/{path.stem}.py"
    code = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    assert len(code) > 5
    without_words = re.sub(r"^# %% \[markdown\]\n(#.*\n)+", "", script, flags=re.MULTILINE)
    assert "\n".join(code).split() == without_words.replace("# %%\n", "").split()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_valid_and_holds_no_outputs(path: Path) -> None:
    book = json.loads(path.read_text(encoding="utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert set(book) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    for cell in book["cells"]:
        wanted = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            wanted |= {"outputs", "execution_count"}
        else:
            assert cell["cell_type"] == "markdown"
        assert set(cell) == wanted
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell["id"])
    ids = [cell["id"] for cell in book["cells"]]
    assert len(set(ids)) == len(ids)


def test_the_research_notebook_is_there() -> None:
    assert "surface_research.ipynb" in [path.name for path in NOTEBOOKS]
