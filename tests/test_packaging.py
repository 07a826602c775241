"""The wheel and the source distribution hold what the tree holds, `pricer` is the only name a wheel installs, and every
dependency is pinned.

An editable installation hides a package missing from `packages` in pyproject.toml, and a stale `build/` ships deleted
files, so both are built from a fresh copy of the tree. setuptools is called directly: environments of uv have no pip.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.data import CHECKOUT
from tests.tree import project_files

MOUNTS = {"pricer": "pricer", "surfaces": "pricer/surfaces", "adapters": "pricer/adapters"}


class Tree(NamedTuple):
    """A copy of the project, and the names of its files. Links are left out of `files`: a wheel has none."""

    root: Path
    files: list[Path]


def build(kind: str, source: Path, into: Path) -> Path:
    """What setuptools makes of `source`: kind `wheel` or `sdist`. Nothing is downloaded."""
    into.mkdir()
    program = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(into)]
    answer = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False, timeout=110)
    assert answer.returncode == 0, answer.stderr
    return into / answer.stdout.split()[-1]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """The project as a fresh clone would have it, links kept as links."""
    root = tmp_path_factory.mktemp("copy")
    names = project_files()
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / name, root / name, follow_symlinks=False)
    return Tree(root, [name for name in names if not (root / name).is_symlink()])


@pytest.fixture(scope="module")
def wheel(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return wheel_files(build("wheel", tree.root, tmp_path_factory.mktemp("wheel") / "out"))


@pytest.fixture(scope="module")
def unpacked_sdist(tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", tree.root, folder / "out")) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (root,) = (folder / "unpacked").iterdir()
    return root


def wheel_files(path: Path) -> dict[str, bytes]:
    """Every file of a wheel, without those that only describe it."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}


def is_installed(name: Path) -> bool:
    """Python sources, the marker for type checkers, everything the dashboard serves, and the examples of OpenAPI."""
    served = name.is_relative_to("pricer/sidecar/web") or name == Path("pricer/sidecar/routes/examples.json")
    return name.suffix == ".py" or name.name == "py.typed" or served


def mounted(name: Path) -> str:
    """Where a wheel holds the tree's file: `surfaces/svi.py` as `pricer/surfaces/svi.py`."""
    return "/".join((MOUNTS[name.parts[0]], *name.parts[1:]))


def test_the_wheel_holds_the_three_folders_at_their_mounts_and_nothing_else(
    tree: Tree, wheel: dict[str, bytes]
) -> None:
    sources = [name for name in tree.files if name.parts[0] in MOUNTS and is_installed(name)]
    assert wheel == {mounted(name): (tree.root / name).read_bytes() for name in sources}
    assert {"pricer/surfaces/__init__.py", "pricer/adapters/events.py", "pricer/py.typed"} <= set(wheel)


def test_pricer_is_the_only_top_level_name(wheel: dict[str, bytes]) -> None:
    assert {name.partition("/")[0] for name in wheel} == {"pricer"}


def test_the_source_distribution_holds_what_it_takes_to_work_on_the_project(tree: Tree, unpacked_sdist: Path) -> None:
    tops = {
        "Makefile",
        "Dockerfile",
        ".dockerignore",
        "constraints.txt",
        "conftest.py",
        "pyproject.toml",
        "MANIFEST.in",
        "LICENSE",
    }
    folders = {"adapters", "benchmarks", "deploy", "docs", "examples", "pricer", "surfaces", "tests", ".ci"}
    wanted = [name for name in tree.files if name.parts[0] in tops | folders or name.suffix == ".md"]
    assert [str(name) for name in wanted if not (unpacked_sdist / name).exists()] == []
    assert not (unpacked_sdist / "pricer" / "surfaces").exists(), "the mounted folders are stored twice"


def test_the_source_distribution_builds_the_same_wheel(
    unpacked_sdist: Path, wheel: dict[str, bytes], tmp_path: Path
) -> None:
    assert wheel_files(build("wheel", unpacked_sdist, tmp_path / "out")) == wheel


def pins() -> dict[str, str]:
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pinned}


def dependencies() -> list[Requirement]:
    """Everything that pyproject.toml asks for, to build, to run and for the extras."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    texts = [*project["build-system"]["requires"], *project["project"]["dependencies"], *(t for e in extras for t in e)]
    return [wanted for wanted in map(Requirement, texts) if wanted.name != "volstream"]


@pytest.mark.parametrize("wanted", dependencies(), ids=str)
def test_every_dependency_is_pinned_to_a_version_that_its_floor_allows(wanted: Requirement) -> None:
    assert pins()[canonicalize_name(wanted.name)] in wanted.specifier
