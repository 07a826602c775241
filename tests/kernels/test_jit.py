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


def test_M13_a_parent_where_others_could_swap_the_directory_is_not_used(
    private: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = jit.cache_directory()
    private.chmod(0o707)
    assert jit.cache_directory() != directory
    assert not jit.cache_is_kept()
    assert f"{private}: mode is 0707, others may write" in caplog.text
    private.chmod(0o1777)  # sticky, as /tmp is: others may add to it but not rename what is ours
    assert jit.cache_directory() == directory
    assert jit.cache_is_kept()


def test_M13_a_parent_of_somebody_else_is_not_used(
    private: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    jit.cache_directory()
    stat_of = Path.stat

    def elsewhere(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = stat_of(path, follow_symlinks=follow_symlinks)
        return os.stat_result([*found[:4], os.getuid() + 1, *found[5:]]) if path == tmp_path else found

    monkeypatch.setattr(Path, "stat", elsewhere)
    assert jit.cache_directory().parent != private
    assert f"{tmp_path}: owned by another user" in caplog.text


def test_a_parent_that_a_group_may_write_is_used_if_the_group_is_the_users_own(
    private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = jit.cache_directory()
    private.chmod(0o770)
    for own in (True, False):
        monkeypatch.setattr(jit, "_is_own_group", lambda number, own=own: own)
        assert (jit.cache_directory() == directory) is own


def test_a_group_is_the_users_own_when_it_has_the_users_name_and_nobody_else() -> None:
    grp, pwd = pytest.importorskip("grp"), pytest.importorskip("pwd")
    me = pwd.getpwuid(os.getuid())
    mine = grp.getgrgid(me.pw_gid)
    alone = mine.gr_name == me.pw_name and not set(mine.gr_mem) - {me.pw_name}
    assert jit._is_own_group(me.pw_gid) == alone
    assert not jit._is_own_group(next(group.gr_gid for group in grp.getgrall() if group.gr_gid != me.pw_gid))
    assert not jit._is_own_group(2**31 - 7)  # of no name


def test_a_link_on_the_way_is_followed_once(private: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    private.symlink_to(real)
    assert jit.cache_directory().parent == real


def test_M13_a_directory_that_may_only_be_read_is_used_for_reading(private: Path) -> None:
    directory = jit.cache_directory()
    directory.chmod(0o500)
    assert jit.cache_directory() == directory


def test_M13_a_user_without_a_home_starts_all_the_same(
    monkeypatch: pytest.MonkeyPatch, private: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("VOLSTREAM_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    assert jit.cache_directory().is_dir()
    assert "home directory" in caplog.text


def test_a_temporary_directory_ends_with_the_process_that_made_it(tmp_path: Path) -> None:
    program = (
        "import os\nfrom pricer.kernels import jit\nprint(jit.cache_directory(), flush=True)\n"
        "child = os.fork()\n"
        "if child: assert os.waitpid(child, 0)[1] == 0\n"
        "assert jit.cache_directory().is_dir()\n"  # the child ends first, and leaves it
    )
    blocked = tmp_path / "a file"
    blocked.touch()
    directory = Path(run(CHECKOUT, blocked, program))
    assert directory.name.startswith("volstream-kernels-")
    assert not directory.exists()


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
