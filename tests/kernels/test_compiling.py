"""Helpers compile beside this process, and nothing is lost or left behind when they do not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pricer.kernels import compiling
from pricer.kernels import warmup as module
from pricer.kernels.compiling import Helper, HelperLost, helpers_possible
from tests.data import CHECKOUT

# Two modules of a kernel each. The front one, this process's, waits until a helper has compiled the other.
FRONT = """
import time
from pricer.kernels import behind, jit

@jit.kernel
def half(x):
    return 0.5 * x

def warmup_calls():
    def call():
        deadline = time.monotonic() + 100.0
        while not list(jit.cache_directory().glob("behind.*.nbc")) and time.monotonic() < deadline:
            time.sleep(0.01)
        half(1.0)
    return [("half", call)]
"""
BEHIND = """
import os, sys
from pricer.kernels.jit import kernel

IN_HELPER = len(sys.argv) == 2  # its argument is the import path

@kernel
def double(x):
    return 2.0 * x

def warmup_calls():
    def call():
        double(1.0)
        {then}
    return [("double", call)]
"""
PROGRAM = """
from pricer.kernels import behind, compiling, warmup
warmup.helpers_possible = lambda: 1
seen = []
try:
    warmup.warmup(lambda *step: seen.append(step))
except ValueError as error:
    print("heard:", error)
else:
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen), seen
    assert (seen[0][0], seen[-1]) == (0, (2, 2, "")), seen
    assert behind.double(3.0) == 6.0
    print("compiled by a helper:", sum(behind.double.stats.cache_hits.values()))
"""

WANTED = """
from pricer.kernels import warmup
warmup.helpers_possible = lambda: 1
print(warmup._helpers_wanted(warmup.warmup_calls()))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with the machinery and two tiny kernels only."""
    kernels = tmp_path / "pricer" / "kernels"
    kernels.mkdir(parents=True)
    for name in ("__init__", "jit", "store", "compiling", "warmup"):
        shutil.copy(CHECKOUT / "pricer" / "kernels" / f"{name}.py", kernels)
    shutil.copy(CHECKOUT / "pricer" / "errors.py", tmp_path / "pricer")
    for package in (tmp_path / "pricer", tmp_path / "pricer" / "surfaces"):
        package.mkdir(exist_ok=True)
        (package / "__init__.py").touch()
    (kernels / "abreast.py").write_text(FRONT)
    return tmp_path


def warmed(tree: Path, then: str) -> str:
    """What a warm-up in a process of its own says; `then` is what the helper's call does after compiling."""
    (tree / "pricer" / "kernels" / "behind.py").write_text(BEHIND.format(then=then))
    return run(tree, PROGRAM)


def run(tree: Path, program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tree), "VOLSTREAM_CACHE_DIR": str(tree / "cache")},
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_helper_compiles_what_this_process_then_loads(tree: Path) -> None:
    assert warmed(tree, then="pass") == "compiled by a helper: 1"
    # All is there now, and no helper would be started.
    assert run(tree, WANTED) == "0"


def test_what_a_lost_helper_leaves_is_done_here(tree: Path) -> None:
    assert warmed(tree, then="IN_HELPER and os._exit(3)") == "compiled by a helper: 1"


def test_an_error_in_a_helper_is_heard_here(tree: Path) -> None:
    assert warmed(tree, then="raise ValueError('no such number')") == "heard: no such number"


def test_a_stray_print_in_a_helper_is_not_an_answer(tree: Path) -> None:
    assert warmed(tree, then="IN_HELPER and print('behind.triple')") == "compiled by a helper: 1"


def test_a_helper_that_cannot_import_the_kernels_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    helper = Helper()
    with pytest.raises(HelperLost):
        helper.wait_until_ready()
    helper.close()


def test_an_interrupted_warm_up_ends_its_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Helper] = []

    class Watched(Helper):
        def __init__(self) -> None:
            super().__init__()
            started.append(self)

    def interrupt(done: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "Helper", Watched)
    calls: module.Calls = [("front.one", lambda: None), ("behind.two", lambda: None)]
    with pytest.raises(KeyboardInterrupt):
        module._share_out(calls, 2, module.Tally(2, interrupt))
    assert len(started) == 2
    assert all(helper._process.returncode is not None for helper in started)


def test_a_helper_ends_when_its_parent_is_killed() -> None:
    program = (
        "import time\nfrom pricer.kernels.compiling import Helper\nhelper = Helper()\nhelper.wait_until_ready()\n"
        "print(helper._process.pid, flush=True)\ntime.sleep(100)"
    )
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        helper = int(parent.stdout.readline())
        assert is_running(helper)
        parent.kill()
    deadline = time.monotonic() + 30.0
    while is_running(helper) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_running(helper)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # one that has ended and that nobody has asked about is still listed
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


def test_no_helper_where_the_interpreter_is_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    for executable in ("/usr/bin/uwsgi", "", r"C:\Program Files\Office\EXCEL.EXE"):
        monkeypatch.setattr(sys, "executable", executable)
        assert helpers_possible() == 0
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 4, 5, 6, 7}, raising=False)
    assert helpers_possible() == compiling.MOST_HELPERS
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5}, raising=False)
    assert helpers_possible() == 0
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert helpers_possible() == 0


def test_no_helper_where_it_could_not_hand_over_what_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "helpers_possible", lambda: 1)
    monkeypatch.setattr(module, "_warm", set())
    calls: module.Calls = [("made up.kernel", lambda: None)]  # of which no mark can be there
    assert module._helpers_wanted(calls) == 1
    monkeypatch.setattr(module, "_warm", {"made up.kernel"})
    assert module._helpers_wanted(calls) == 0
    monkeypatch.setattr(module, "_warm", set())
    monkeypatch.setattr(module, "cache_is_kept", lambda: False)
    assert module._helpers_wanted(calls) == 0


def test_a_machine_that_allows_no_more_processes_warms_up_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> Helper:
        raise OSError("Resource temporarily unavailable")

    made: list[str] = []
    monkeypatch.setattr(module, "Helper", refused)
    monkeypatch.setattr(module, "_warm", set())
    module._share_out([("one.kernel", lambda: made.append("one"))], 2, module.Tally(1, None))
    assert made == ["one"]


def test_a_helper_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    helper = Helper()
    try:
        helper.wait_until_ready()
        helper._process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(module, "Helper", lambda: helper)
        monkeypatch.setattr(Helper, "wait_until_ready", lambda self: None)
        monkeypatch.setattr(module, "PATIENCE_S", 0.2)
        monkeypatch.setattr(module, "_warm", set())
        tally = module.Tally(2, None)
        # While this process is busy with the first, the helper is told the second.
        module._share_out([("first.call", lambda: time.sleep(0.5)), ("publishing.call", lambda: None)], 1, tally)
        assert tally.finished == {"first.call"}
    finally:
        helper.close()
    assert helper._process.returncode is not None
