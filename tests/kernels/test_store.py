"""FAULTS M13: whatever has happened to the files of compiled kernels, the result is right and nothing ends."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

from pricer.kernels import store
from pricer.kernels.store import KernelStore, sound_files
from tests.data import CHECKOUT

# The tiny kernel set of the processes below; every kernel of it is compiled for two types.
MODULE = """
import sys
from pathlib import Path
import numba, numpy as np
from pricer.kernels.store import KernelStore

def stored(function):
    dispatcher = numba.njit(function)
    dispatcher._cache = KernelStore(function, Path(sys.argv[1]))
    return dispatcher

@stored
def twice(x):
    return 2.0 * x

@stored
def total(values):
    sum = 0.0
    for value in values:
        sum += twice(value)
    return sum

results = total(np.arange(4.0)), total(np.arange(4)), twice(1.5), twice(3)
hits = sum(sum(kernel.stats.cache_hits.values()) for kernel in (total, twice))
print(*results, hits)
"""
RESULTS = "12.0 12.0 3.0 6.0"


def triple(x: float) -> float:
    return 3.0 * x


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_said", set())


def started(directory: Path, function: Callable[[float], float] = triple) -> Any:
    """`function` compiled as a new process would: nothing of it in memory, `directory` behind it."""
    dispatcher: Any = numba.njit(function)
    dispatcher._cache = KernelStore(function, directory)
    return dispatcher


def hits(dispatcher: Any) -> int:
    return sum(dispatcher.stats.cache_hits.values())


def the_file(directory: Path) -> Path:
    (file,) = directory.glob("*.nbc")
    return file


def flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_a_kernel_is_compiled_once_and_loaded_after(tmp_path: Path) -> None:
    first, second = started(tmp_path), started(tmp_path)
    assert first(2.0) == 6.0
    assert second(2.0) == 6.0
    assert (hits(first), hits(second)) == (0, 1)


def test_each_type_has_a_file_of_its_own(tmp_path: Path) -> None:
    first = started(tmp_path)
    assert (first(2.0), first(np.float32(2.0)), first(2)) == (6.0, 6.0, 6.0)
    assert len(list(tmp_path.glob("*.nbc"))) == 3
    again = started(tmp_path)
    assert (again(2), again(2.0)) == (6.0, 6.0)
    assert hits(again) == 2


def test_an_edited_source_is_compiled_anew(tmp_path: Path) -> None:
    results = []
    for factor in ("2.0", "5.0"):  # the byte code of both is the same
        source = tmp_path / "edited.py"
        source.write_text(f"def scaled(x):\n    return {factor} * x\n")
        names: dict[str, Any] = {"__name__": "edited"}
        exec(compile(source.read_text(), str(source), "exec"), names)
        store._source_digest.cache_clear()  # as it is in a new process
        results.append(started(tmp_path, names["scaled"])(1.0))
    assert results == [2.0, 5.0]


def test_a_function_without_a_source_is_compiled_but_not_kept(tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": "typed"}
    exec("def scaled(x):\n    return 7.0 * x\n", names)
    assert started(tmp_path, names["scaled"])(1.0) == 7.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        flip_a_bit,
        lambda content: b"\0" * 999,
    ],
    ids=["empty", "cut in its head", "cut by a byte", "one bit flipped", "zeros"],
)
def test_M13_a_damaged_file_is_compiled_again_and_said_once(
    tmp_path: Path, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    started(tmp_path)(2.0)
    file = the_file(tmp_path)
    good = file.read_bytes()
    file.write_bytes(damage(good))
    assert sound_files(tmp_path) == (0, 1)

    with caplog.at_level(logging.WARNING):
        rebuilt = started(tmp_path)
        assert rebuilt(2.0) == 6.0
        file.write_bytes(damage(good))
        assert started(tmp_path)(2.0) == 6.0
    assert hits(rebuilt) == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(file) in caplog.text

    healed = started(tmp_path)
    assert healed(2.0) == 6.0
    assert hits(healed) == 1
    assert sound_files(tmp_path) == (1, 0)


def test_M13_a_sound_file_under_another_kernels_name_is_not_run(tmp_path: Path) -> None:
    def fourfold(x: float) -> float:
        return 4.0 * x

    started(tmp_path)(2.0)
    thrice = the_file(tmp_path)
    content = thrice.read_bytes()
    thrice.unlink()
    started(tmp_path, fourfold)(2.0)
    the_file(tmp_path).write_bytes(content)
    assert started(tmp_path, fourfold)(2.0) == 8.0


def test_M13_code_of_another_processor_is_left_alone(tmp_path: Path) -> None:
    assert process(tmp_path, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == f"{RESULTS} 0"
    foreign = {file: file.read_bytes() for file in tmp_path.glob("*.nbc")}
    # None of its own yet, though `total` finds what it has compiled of `twice` itself.
    assert process(tmp_path).startswith(RESULTS)
    assert len(list(tmp_path.glob("*.nbc"))) == 2 * len(foreign)
    assert {file: file.read_bytes() for file in foreign} == foreign


def test_M13_two_processes_that_write_at_once_leave_whole_files(tmp_path: Path) -> None:
    both = [begin(tmp_path), begin(tmp_path)]
    for one in both:
        out, err = one.communicate(timeout=110)
        assert out.startswith(RESULTS), err
    assert process(tmp_path) == f"{RESULTS} 4"
    files = list(tmp_path.iterdir())
    assert sound_files(tmp_path) == (len(files), 0)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_M13_a_disk_that_takes_nothing_is_said_once(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(source: Any, target: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    with caplog.at_level(logging.WARNING):
        kernel = started(tmp_path)
        assert (kernel(2.0), kernel(2)) == (6.0, 6.0)
    assert len(caplog.records) == 1
    assert os.strerror(number) in caplog.text
    assert list(tmp_path.iterdir()) == []  # nothing half-written stays behind


def test_M13_a_directory_that_has_gone_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert started(tmp_path / "gone")(2.0) == 6.0
    assert len(caplog.records) == 1


def test_M13_a_file_that_cannot_be_read_is_compiled_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    started(tmp_path)(2.0)
    file = the_file(tmp_path)
    file.unlink()
    file.mkdir()  # root may read what nobody may; nobody can read a directory as a file
    with caplog.at_level(logging.WARNING):
        assert started(tmp_path)(2.0) == 6.0
    assert "cannot be read" in caplog.text


def test_flush_forgets_one_function_only(tmp_path: Path) -> None:
    def fourfold(x: float) -> float:
        return 4.0 * x

    kernel, other = started(tmp_path), started(tmp_path, fourfold)
    kernel(2.0), other(2.0)
    kernel._cache.flush()
    assert "fourfold" in the_file(tmp_path).name


def begin(directory: Path, **environment: str) -> subprocess.Popen[str]:
    program = directory.parent / "program.py"
    program.write_text(MODULE)
    return subprocess.Popen(
        [sys.executable, str(program), str(directory)],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def process(directory: Path, **environment: str) -> str:
    """What the tiny kernel set prints in a process of its own: its results and how many were loaded."""
    with begin(directory, **environment) as running:
        out, err = running.communicate(timeout=110)
    assert running.returncode == 0, err
    return out.strip()
