"""Every link between the project's pages leads to a file of the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.data import CHECKOUT

FOLDERS = ("docs", "benchmarks")
PAGES = sorted([*CHECKOUT.glob("*.md"), *(page for folder in FOLDERS for page in (CHECKOUT / folder).rglob("*.md"))])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)", text))
    assert [target for target in sorted(targets) if not (page.parent / target).exists()] == []
