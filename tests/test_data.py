"""The helper that finds recorded data, or skips."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data import CHECKOUT, data_path, data_root


def test_the_environment_names_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VOLSTREAM_DATA", str(tmp_path))
    (tmp_path / "frames.txt").write_text("one\n")
    assert data_path("frames.txt").read_text() == "one\n"


def test_by_default_the_data_stands_beside_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOLSTREAM_DATA", raising=False)
    assert data_root() == CHECKOUT.parent / "shared" / "data"


def test_absent_data_skips_with_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VOLSTREAM_DATA", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match=r"no recorded data 'nothing\.csv'"):
        data_path("nothing.csv")
