"""docs/configuration.md against the settings: its tables are generated, its file is read."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from pricer.config import Settings
from tests.data import CHECKOUT

PAGE = CHECKOUT / "docs" / "configuration.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_settings() -> None:
    wanted = runpy.run_path(str(PAGE.with_suffix(".py")))["page"]()
    assert wanted == TEXT, "run: python docs/configuration.py"


def test_the_example_is_a_file_that_is_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "volstream.toml").write_text(example)
    settings = Settings.load(tmp_path / "volstream.toml")
    assert settings.feed.underlyings == ("BTC", "ETH")
    assert (settings.engine.quote_max_age_s, settings.server.port) == (15.0, 9000)


def test_every_variable_of_the_tables_is_read_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = re.findall(r"^\| `(\w+)`(?: ↻)? \| `(.*?)` \|.*\| `(VOLSTREAM_\w+)` \|", TEXT, re.MULTILINE)
    assert len(rows) > 25
    for _, default, variable in rows:
        monkeypatch.setenv(variable, default.strip('[]"'))
    assert Settings.load(feed={"underlyings": ["BTC"]}) == Settings()
