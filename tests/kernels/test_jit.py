"""Where compiled kernels are kept: an owner-only directory that changes with any kernel's source."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pricer.kernels import jit
from tests.data import CHECKOUT

CALLER = """
from pricer.kernels.jit import kernel
from pricer.kernels.settlement import delta_cash

@kernel
def hedge(delta, forward):
    return delta_cash(delta, forward)
"""

CALL = """
from pricer.surfaces.caller import hedge
print(hedge(0.5, 100.0), sum(hedge.stats.cache_hits.values()))
"""


def run(tree: Path, cache: Path, code: str = CALL) -> str:
    """What `code` prints in a process of its own that imports the packages of `tree`."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "VOLSTREAM_CACHE_DIR": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, env=environment, capture_output=True, text=True, check=True, timeout=110
    )
    return done.stdout.strip()


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache parent of this test's own; the process-wide choice is forgotten before and after."""
    monkeypatch.setenv("VOLSTREAM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(jit, "cache_directory", jit.cache_directory.__wrapped__)
    return tmp_path / "cache"


def test_an_edited_callee_invalidates_its_callers_in_other_files(tmp_path: Path) -> None:
    tree, cache = tmp_path / "tree", tmp_path / "cache"
    kernels = tree / "pricer" / "kernels"
    shutil.copytree(CHECKOUT / "pricer" / "kernels", kernels, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "pricer" / "__init__.py").touch()
    (tree / "pricer" / "surfaces").mkdir()
    (tree / "pricer" / "surfaces" / "__init__.py").touch()
    (tree / "pricer" / "surfaces" / "caller.py").write_text(CALLER)

    assert run(tree, cache) == "50.0 0"
    assert run(tree, cache) == "50.0 1"  # the cache works at all

    settlement = kernels / "settlement.py"
    source = settlement.read_text()
    edited = source.replace("return delta * forward\n", "return 1000.0 + delta * forward\n")
    assert edited != source
    settlement.write_text(edited)
    assert run(tree, cache) == "1050.0 0"


def test_importing_pricer_does_not_load_numba() -> None:
    assert run(CHECKOUT, Path("unused"), "import sys, pricer, pricer.kernels; print('numba' in sys.modules)") == "False"


def test_the_cache_directory_is_for_its_owner_only(private: Path) -> None:
    directory = jit.cache_directory()
    assert directory.parent == private
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert jit.cache_directory() == directory  # an existing good one is used again


def test_a_directory_open_to_others_is_not_used(private: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = jit.cache_directory()
    directory.chmod(0o770)
    other = jit.cache_directory()
    assert other != directory
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    assert "mode is 0770" in caplog.text


def test_a_directory_of_somebody_else_is_not_used(
    private: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = jit.cache_directory()
    monkeypatch.setattr(os, "getuid", lambda: directory.stat().st_uid + 1)
    assert jit.cache_directory() != directory
    assert "owned by another user" in caplog.text


def test_a_link_in_place_of_the_directory_is_not_followed(
    private: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = jit.cache_directory()
    directory.rmdir()
    directory.symlink_to(tmp_path)
    assert jit.cache_directory().parent != private
    assert "not a directory" in caplog.text


def test_a_parent_that_cannot_be_written_falls_back_with_a_warning(
    private: Path, caplog: pytest.LogCaptureFixture
) -> None:
    private.write_text("a file where the directory should be")
    assert jit.cache_directory().is_dir()
    assert "kept for this process only" in caplog.text


def test_the_parent_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOLSTREAM_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert jit.cache_parent() == Path("/xdg/volstream")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert jit.cache_parent() == Path.home() / ".cache" / "volstream"
    monkeypatch.setenv("VOLSTREAM_CACHE_DIR", "/chosen")
    assert jit.cache_parent() == Path("/chosen")


def test_old_caches_are_removed_when_a_new_one_is_made(private: Path) -> None:
    for i in range(jit.KEPT_CACHES + 3):
        old = private / f"kernels-{i}"
        old.mkdir(parents=True)
        os.utime(old, (i, i))
    kept = jit.cache_directory()
    assert len(list(private.iterdir())) == jit.KEPT_CACHES
    assert kept.is_dir()
    assert not (private / "kernels-0").exists()


def test_other_users_of_numba_keep_their_own_cache_directory() -> None:
    import numba

    before = numba.config.CACHE_DIR  # type: ignore[attr-defined] # set at run time from the environment

    def double(x: float) -> float:
        return 2.0 * x

    assert jit.kernel(double)(3.0) == 6.0
    assert before == numba.config.CACHE_DIR  # type: ignore[attr-defined]
